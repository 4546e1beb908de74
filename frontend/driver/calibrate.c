/* calibrate.c - exponents of transforms from data.
 *
 *     samples --bf_net_eval--> largest |result| of each transform, in float64
 *             --> its `exponent` attribute, the smallest that keeps what is stored below 2^15
 *
 * fp16 ends just below 2^16, so that inputs may be twice as large as those seen. The attribute is
 * part of the net's text; passes/exponents.c turns it into types.
 */
#include "frontend/driver/compile.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { STORED_BITS = 15 };

/* An input of the net, and the tensor that holds its samples. */
struct source {
    const struct bf_value *input;
    const struct bf_tensor *tensor; /* NULL: not found yet */
    const char *path;
};

struct calibration {
    struct bf_compilation *c;
    struct source *sources; /* one an input */
    uint64_t samples;
    bool leading; /* tensors have the samples as their first axis */
    struct bf_tensor_file **files;
    double *largest; /* [ops] */
};

static const struct bf_loc nowhere = {0};

/* ---- reading samples ---- */

static bool fits(struct calibration *k, const struct source *source) {
    const struct bf_tensor *tensor = source->tensor;
    const struct bf_type *type = &source->input->type;
    unsigned more = tensor->rank - type->rank;
    bool same = tensor->rank >= type->rank && more <= 1;
    for (unsigned a = 0; same && a < type->rank; a++)
        same = tensor->dims[more + a] == (uint64_t)type->dims[a];
    bool ids = type->dtype == BF_I32 || type->dtype == BF_U8;
    if (!same || (ids && bf_element_is_float(tensor->type))) {
        struct bf_text shape = {0}, wanted = {0};
        bf_text_add_shape(&shape, tensor->rank, tensor->dims);
        bf_type_print(type, &wanted);
        bf_diag_error(k->c->diags, nowhere, "-calibrate: '%s' is %s%s in %s", tensor->name,
                      bf_element_name(tensor->type), shape.data, source->path);
        bf_diag_note(k->c->diags, source->input->loc,
                     "the input '%s' is %s; the samples may be a further first axis",
                     source->input->name, wanted.data);
        bf_text_free(&shape);
        bf_text_free(&wanted);
        return false;
    }
    uint64_t samples = more ? tensor->dims[0] : 1;
    if (k->samples && (samples != k->samples || (more == 1) != k->leading))
        return bf_diag_error(k->c->diags, nowhere,
                             "-calibrate: '%s' has %" PRIu64 " samples, others have %" PRIu64,
                             tensor->name, samples, k->samples);
    k->samples = samples;
    k->leading = more == 1;
    return samples ||
           bf_diag_error(k->c->diags, nowhere, "-calibrate: '%s' has no samples", tensor->name);
}

static bool has_prefix(const char *name) {
    return !strncmp(name, "input.", 6);
}

static bool take_tensor(struct calibration *k, const struct bf_tensor *tensor, const char *path) {
    const char *name = has_prefix(tensor->name) ? tensor->name + 6 : tensor->name;
    for (size_t i = 0; i < k->c->net->inputs.count; i++) {
        struct source *source = &k->sources[i];
        if (strcmp(source->input->name, name))
            continue;
        if (source->tensor)
            return bf_diag_error(k->c->diags, nowhere, "-calibrate: input '%s' is in %s and in %s",
                                 name, source->path, path);
        source->tensor = tensor;
        source->path = path;
        return fits(k, source);
    }
    return true;
}

/* As bfrun does: names are those of the inputs, or, if the file has any of these, such after
 * "input."; tensors that are no input don't matter here. */
static bool take_file(struct calibration *k, const struct bf_tensor_file *file, const char *path) {
    bool prefixed = false;
    for (size_t i = 0; i < file->tensor_count; i++)
        prefixed |= has_prefix(file->tensors[i].name);
    for (size_t i = 0; i < file->tensor_count; i++)
        if (has_prefix(file->tensors[i].name) == prefixed &&
            !take_tensor(k, &file->tensors[i], path))
            return false;
    return true;
}

static bool read_samples(struct calibration *k) {
    const struct bf_strings *paths = &k->c->options->calibrate;
    for (size_t i = 0; i < paths->count; i++) {
        struct bf_error error = {0};
        k->files[i] = bf_tensor_file_read(paths->data[i], &error);
        if (!k->files[i])
            return bf_diag_error(k->c->diags, nowhere, "-calibrate: %s", error.text);
        if (!take_file(k, k->files[i], paths->data[i]))
            return false;
    }
    for (size_t i = 0; i < k->c->net->inputs.count; i++)
        if (!k->sources[i].tensor)
            return bf_diag_error(k->c->diags, k->sources[i].input->loc,
                                 "-calibrate: no file has a tensor for the input '%s'",
                                 k->sources[i].input->name);
    return true;
}

/* ---- running ---- */

static void observe(void *user, const struct bf_op *op, const double *elements) {
    struct calibration *k = user;
    double *largest = &k->largest[op->result.index];
    if (!bf_takes_exponent(op))
        return;
    for (int64_t i = bf_type_elements(&op->result.type); i-- > 0;)
        if (!(fabs(elements[i]) <= *largest)) /* a NaN stays */
            *largest = fabs(elements[i]);
}

static bool run_sample(struct calibration *k, uint64_t sample, double **inputs, double **outputs) {
    struct bf_error error = {0};
    for (size_t i = 0; i < k->c->net->inputs.count; i++) {
        uint64_t count = (uint64_t)bf_type_elements(&k->sources[i].input->type);
        for (uint64_t e = 0; e < count; e++)
            inputs[i][e] = bf_tensor_double(k->sources[i].tensor, sample * count + e);
    }
    return bf_net_eval(k->c->net, k->c->weights, (const double *const *)inputs, outputs, observe, k,
                       &error) ||
           bf_diag_error(k->c->diags, nowhere, "-calibrate: %s", error.text);
}

static bool run_samples(struct calibration *k) {
    const struct bf_net *net = k->c->net;
    double **inputs = bf_alloc(net->inputs.count * sizeof *inputs);
    double **outputs = bf_alloc(net->outputs.count * sizeof *outputs);
    bool ok = true;
    for (size_t i = 0; i < net->inputs.count; i++)
        inputs[i] = bf_alloc((size_t)bf_type_elements(&net->inputs.data[i]->type) * sizeof(double));
    for (size_t i = 0; i < net->outputs.count; i++)
        outputs[i] =
            bf_alloc((size_t)bf_type_elements(&net->outputs.data[i].value->type) * sizeof(double));
    for (uint64_t s = 0; ok && s < k->samples; s++)
        ok = run_sample(k, s, inputs, outputs);
    for (size_t i = 0; i < net->inputs.count; i++)
        free(inputs[i]);
    for (size_t i = 0; i < net->outputs.count; i++)
        free(outputs[i]);
    free(inputs);
    free(outputs);
    return ok;
}

/* ---- choosing ---- */

/* "model.bfly:7:9", or "-". */
static void add_place(const struct calibration *k, struct bf_loc loc, struct bf_text *text) {
    if (loc.line && loc.file < k->c->diags->sources->count)
        bf_text_printf(text, "%s:%u:%u", k->c->diags->sources->data[loc.file].name, loc.line,
                       loc.column);
    else
        bf_text_add(text, "-");
}

static void say(const struct calibration *k, const struct bf_op *op, int before, int now) {
    struct bf_text place = {0};
    if (!k->c->options->verbose)
        return;
    add_place(k, op->loc, &place);
    fprintf(stderr, "bfcc: calibrate: %s: %s%s%s: largest %.3g, exponent %d", place.data, op->label,
            *op->label ? " " : "", bf_op_info(op->kind)->name, k->largest[op->result.index], now);
    if (before == now)
        fprintf(stderr, " as before\n");
    else
        fprintf(stderr, " instead of %d\n", before);
    bf_text_free(&place);
}

/* What must be stored as it is can only be warned of. */
static bool choose(struct calibration *k, struct bf_op *op, bool plain) {
    double largest = k->largest[op->result.index];
    int before = bf_transform_exponent(op), exponent = 0;
    if (!isfinite(largest))
        return bf_diag_error(k->c->diags, op->loc,
                             "-calibrate: results of this %s are not finite in float64",
                             bf_op_info(op->kind)->name);
    if (plain && largest > 65504)
        bf_diag(k->c->diags, BF_WARNING, op->loc, 0, 0,
                "results up to %.3g overflow fp16, which ends at 65504, and can have no exponent: "
                "an output, or what attention or a concatenation reads, is stored as it is; scale "
                "the operand",
                largest);
    if (plain)
        return true;
    while (exponent < 64 && largest >= ldexp(1, STORED_BITS + exponent))
        exponent++;
    bf_attrs_set_int(&op->attrs, op->kind, "exponent", exponent);
    say(k, op, before, exponent);
    return true;
}

static bool choose_all(struct calibration *k) {
    struct bf_net *net = k->c->net;
    bool *plain = bf_plain_values(net), ok = true;
    for (size_t i = 0; ok && i < net->ops.count; i++) {
        struct bf_op *op = net->ops.data[i];
        if (bf_takes_exponent(op) && !op->result.is_static)
            ok = choose(k, op, plain[i]);
    }
    free(plain);
    return ok;
}

bool bf_calibrate(struct bf_compilation *c) {
    if (!c->options->calibrate.count)
        return true;
    if (c->net->params.count && !c->weights)
        return bf_diag_error(c->diags, nowhere,
                             "-calibrate needs the weights of the network: give "
                             "-weights FILE or -random-weights SEED");
    struct calibration k = {
        .c = c,
        .sources = bf_alloc(c->net->inputs.count * sizeof *k.sources),
        .files = bf_alloc(c->options->calibrate.count * sizeof *k.files),
        .largest = bf_alloc(c->net->ops.count * sizeof *k.largest),
    };
    for (size_t i = 0; i < c->net->inputs.count; i++)
        k.sources[i].input = c->net->inputs.data[i];
    bool ok = read_samples(&k) && run_samples(&k) && choose_all(&k);
    for (size_t i = 0; i < c->options->calibrate.count; i++)
        bf_tensor_file_free(k.files[i]);
    free(k.files);
    free(k.sources);
    free(k.largest);
    return ok;
}
