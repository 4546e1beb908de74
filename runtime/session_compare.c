/* session_compare.c - the array beside the network itself: finds where precision is lost.
 *
 *     ref --launched--> copies of stored values, as fp16     |
 *         --its DRAM--> those that are never whole elsewhere |-> sums of errors, an operator each
 *     libbfhost --observe--> the same results in float64     |
 *
 * See bfrt_compare in bfrt.h and, for the places of stored values, docs/format.md.
 */
#include "runtime/host.h"
#include "runtime/session.h"

#include <math.h>
#include <stdlib.h>

/* A stored value that is the result of an operator, and its elements in the group. */
struct capture {
    const struct bf_value_place *place;  /* in the scratchpad, */
    const struct bf_tensor_place *spill; /* or in DRAM */
    int exponent;
    size_t op;
    int64_t offset; /* of its plane in the result */
    int64_t count;  /* elements a sample */
    bf_half *halves;
};

struct sums {
    double error, value; /* squares */
};

struct bf_comparison {
    const struct bf_host_plugin *plugin;
    struct bf_host_net *net;
    struct capture *captures;
    size_t capture_count;
    struct bfrt_layer *layers; /* operators, then outputs */
    struct sums *sums;
    size_t layer_count; /* those shown: `shown` has their numbers */
    size_t *shown;
    uint32_t sample; /* of the group, while it is computed */
};

void bf_comparison_free(struct bf_comparison *c) {
    if (!c)
        return;
    if (c->net)
        c->plugin->close(c->net);
    for (size_t i = 0; i < c->capture_count; i++)
        free(c->captures[i].halves);
    free(c->captures);
    free(c->layers);
    free(c->sums);
    free(c->shown);
    free(c);
}

/* ---- which operator a stored value belongs to ---- */

/* "v12" gives 12 and "", "v12.im" 12 and ".im"; an output's name its operator. -1: none. */
static int64_t find_op(const struct bf_host_net *net, const char *name, const char **suffix) {
    char *end = NULL;
    for (size_t i = 0; i < net->output_count; i++) {
        size_t length = strlen(net->outputs[i].name);
        *suffix = name + length;
        if (!strncmp(name, net->outputs[i].name, length) && (!**suffix || **suffix == '.'))
            return net->outputs[i].op;
    }
    if (*name != 'v' || name[1] < '0' || name[1] > '9')
        return -1;
    unsigned long long number = strtoull(name + 1, &end, 10);
    *suffix = end;
    return number < net->op_count ? (int64_t)number : -1;
}

static void add_capture(struct bf_comparison *c, struct capture capture, const char *name,
                        int64_t all, uint32_t batch) {
    const char *suffix;
    int64_t op = find_op(c->net, name, &suffix);
    if (op < 0 || all % batch)
        return;
    int64_t count = all / batch;
    int64_t elements = c->net->ops[op].elements, offset = 0;
    bool plane = !strcmp(suffix, ".re") || !strcmp(suffix, ".im");
    if (plane ? 2 * count != elements : *suffix || count != elements)
        return; /* a step on the way to a result */
    if (!strcmp(suffix, ".im"))
        offset = count;
    capture.op = (size_t)op;
    capture.offset = offset;
    capture.count = count;
    capture.exponent = capture.place ? capture.place->exponent : c->net->ops[op].exponent;
    capture.halves = bf_alloc((size_t)all * sizeof(bf_half));
    c->captures[c->capture_count++] = capture;
    c->layers[op].stored = true;
}

static void add_captures(struct bf_comparison *c, const struct bf_program *program) {
    for (size_t i = 0; i < program->value_count; i++) {
        const struct bf_value_place *place = &program->values[i];
        add_capture(c, (struct capture){.place = place}, place->name,
                    (int64_t)place->samples * place->rows * place->cols, program->batch);
    }
    for (size_t i = 0; i < program->tensor_count; i++) {
        const struct bf_tensor_place *spill = &program->tensors[i];
        if (spill->kind == BF_TENSOR_SPILL && spill->dtype == BF_F16)
            add_capture(c, (struct capture){.spill = spill}, spill->name,
                        (int64_t)(spill->size / sizeof(bf_half)), program->batch);
    }
}

static struct bf_comparison *create(const struct bf_program *program, struct bf_error *error) {
    if (!program->net) {
        bf_fail(error, BF_ERROR_INPUT,
                "network '%s' has nothing to compare with: compile it with -embed-net",
                program->network);
        return NULL;
    }
    struct bf_comparison *c = bf_alloc(sizeof *c);
    c->plugin = bf_host_load(error);
    c->net = c->plugin ? c->plugin->open(program, error) : NULL;
    if (!c->net) {
        bf_comparison_free(c);
        return NULL;
    }
    size_t count = c->net->op_count + c->net->output_count;
    c->layers = bf_alloc(count * sizeof *c->layers);
    c->sums = bf_alloc(count * sizeof *c->sums);
    c->shown = bf_alloc(count * sizeof *c->shown);
    c->captures = bf_alloc((program->value_count + program->tensor_count) * sizeof *c->captures);
    add_captures(c, program);
    return c;
}

/* ---- while a group runs ---- */

void bf_comparison_launched(void *user, uint32_t launch, const bf_half *scratchpad) {
    struct bfrt_session *session = user;
    struct bf_comparison *c = session->comparison;
    unsigned v = session->model->program->machine.lanes;
    for (size_t i = 0; i < c->capture_count; i++) {
        const struct bf_value_place *place = c->captures[i].place;
        bf_half *out = c->captures[i].halves;
        if (!place || place->launch != launch)
            continue;
        for (uint32_t s = 0; s < place->samples; s++)
            for (uint32_t r = 0; r < place->rows; r++) {
                uint64_t row = (uint64_t)s * place->pitch + r;
                uint64_t word = place->word + row / v * place->width;
                for (uint32_t col = 0; col < place->cols; col++)
                    *out++ = scratchpad[(word + col) * v + row % v];
            }
    }
}

static void compare(struct bfrt_layer *layer, struct sums *sums, double got, double exact) {
    if (fabs(exact) > layer->largest)
        layer->largest = fabs(exact);
    if (isnan(got))
        layer->nans++;
    else if (isinf(got))
        layer->infinities++;
    else {
        double error = got - exact;
        if (!(fabs(error) <= layer->max_error))
            layer->max_error = fabs(error);
        sums->error += error * error;
        sums->value += exact * exact;
    }
}

static void observe(void *user, size_t op, const double *elements) {
    struct bf_comparison *c = user;
    for (size_t i = 0; i < c->capture_count; i++) {
        const struct capture *capture = &c->captures[i];
        if (capture->op != op)
            continue;
        const bf_half *got = capture->halves + (int64_t)c->sample * capture->count;
        for (int64_t e = 0; e < capture->count; e++)
            compare(&c->layers[op], &c->sums[op],
                    ldexp(bf_half_to_double(got[e]), capture->exponent),
                    elements[capture->offset + e]);
    }
}

/* The input of a sample as the array sees it. */
static double *input_of(const struct bfrt_session *session, const char *name, int64_t elements,
                        uint64_t sample) {
    size_t index = bf_ports_find(&session->model->inputs, name);
    double *values = bf_alloc((size_t)elements * sizeof *values);
    struct bf_tensor tensor = {.type = session->model->inputs.tensors[index].type == BFRT_I32
                                           ? BF_ELEMENT_I32
                                           : BF_ELEMENT_F16,
                               .data = session->bindings[index].data};
    for (int64_t e = 0; e < elements; e++)
        values[e] = bf_tensor_double(&tensor, sample * (uint64_t)elements + (uint64_t)e);
    return values;
}

static void compare_output(struct bfrt_session *session, size_t number, uint64_t sample,
                           const double *exact) {
    struct bf_comparison *c = session->comparison;
    const struct bf_host_port *output = &c->net->outputs[number];
    size_t index = bf_ports_find(&session->model->outputs, output->name);
    size_t layer = c->net->op_count + number;
    struct bf_tensor tensor = {.type = session->model->outputs.tensors[index].type == BFRT_I32
                                           ? BF_ELEMENT_I32
                                           : BF_ELEMENT_F16,
                               .data = session->outputs[index]};
    for (int64_t e = 0; e < output->elements; e++)
        compare(&c->layers[layer], &c->sums[layer],
                bf_tensor_double(&tensor, sample * (uint64_t)output->elements + (uint64_t)e),
                exact[e]);
}

static bool run_sample(struct bfrt_session *session, uint64_t sample, struct bf_error *error) {
    struct bf_comparison *c = session->comparison;
    const struct bf_host_net *net = c->net;
    double **inputs = bf_alloc(net->input_count * sizeof *inputs);
    double **outputs = bf_alloc(net->output_count * sizeof *outputs);
    for (size_t i = 0; i < net->input_count; i++)
        inputs[i] = input_of(session, net->inputs[i].name, net->inputs[i].elements, sample);
    for (size_t i = 0; i < net->output_count; i++)
        outputs[i] = bf_alloc((size_t)net->outputs[i].elements * sizeof **outputs);
    bool ok = c->plugin->run(c->net, (const double *const *)inputs, outputs, observe, c, error);
    for (size_t i = 0; i < net->output_count; i++) {
        if (ok)
            compare_output(session, i, sample, outputs[i]);
        free(outputs[i]);
    }
    for (size_t i = 0; i < net->input_count; i++)
        free(inputs[i]);
    free(inputs);
    free(outputs);
    return ok;
}

bool bf_comparison_group(struct bfrt_session *session, struct bf_error *error) {
    struct bf_comparison *c = session->comparison;
    uint32_t batch = session->model->program->batch;
    for (size_t i = 0; i < c->capture_count; i++) {
        const struct capture *capture = &c->captures[i];
        if (capture->spill)
            memcpy(capture->halves, session->dram + capture->spill->dram,
                   (size_t)capture->count * batch * sizeof(bf_half));
    }
    for (c->sample = 0; c->sample < batch; c->sample++) {
        uint64_t sample = session->group * batch + c->sample;
        if (sample < session->samples && !run_sample(session, sample, error))
            return false;
    }
    return true;
}

/* ---- the results ---- */

/* What the operand numbered `op` brings: its own error if it is stored, else the most of what it
 * reads. Operators come in order, so that `brings` has all that are asked for. */
static void judge(struct bf_comparison *c, size_t number, const int64_t *args, size_t count,
                  double *brings, bool *special) {
    struct bfrt_layer *layer = &c->layers[number];
    const struct sums *sums = &c->sums[number];
    bool specials = false;
    for (size_t a = 0; a < count; a++) {
        layer->operands = fmax(layer->operands, brings[args[a]]);
        specials |= special[args[a]];
    }
    brings[number] = layer->operands;
    special[number] = specials;
    if (!layer->stored)
        return;
    if (sums->error > 0)
        layer->relative_l2 = sqrt(sums->error / sums->value); /* infinite if all should be 0 */
    bool own = layer->infinities || layer->nans;
    layer->loses = (own && !specials) ||
                   (layer->relative_l2 > 0x1p-9 && layer->relative_l2 > 4 * layer->operands);
    brings[number] = layer->relative_l2;
    special[number] = own;
}

static struct bfrt_place place_of(const struct bf_program *program, struct bf_place place) {
    bool known = place.line && place.file < program->file_count;
    return (struct bfrt_place){known ? program->files[place.file] : "", known ? place.line : 0,
                               known ? place.column : 0};
}

static void describe(struct bfrt_layer *layer, const struct bf_program *program,
                     const struct bf_host_op *op) {
    layer->kind = op->kind;
    layer->label = op->label;
    layer->place = place_of(program, op->place);
    layer->rank = op->rank;
    for (unsigned a = 0; a < op->rank; a++)
        layer->dims[a] = (uint64_t)op->dims[a];
}

static void finish(struct bfrt_session *session) {
    struct bf_comparison *c = session->comparison;
    const struct bf_host_net *net = c->net;
    const struct bf_program *program = session->model->program;
    size_t count = net->op_count + net->output_count;
    double *brings = bf_alloc(count * sizeof *brings);
    bool *special = bf_alloc(count * sizeof *special);
    for (size_t i = 0; i < net->op_count; i++) {
        describe(&c->layers[i], program, &net->ops[i]);
        judge(c, i, net->ops[i].args, net->ops[i].arg_count, brings, special);
        if (!net->ops[i].is_static)
            c->shown[c->layer_count++] = i;
    }
    for (size_t i = 0; i < net->output_count; i++) {
        size_t number = net->op_count + i;
        const struct bf_host_port *output = &net->outputs[i];
        const struct bfrt_tensor *declared =
            &session->model->outputs.tensors[bf_ports_find(&session->model->outputs, output->name)];
        struct bfrt_layer *layer = &c->layers[number];
        layer->kind = "output";
        layer->label = declared->name;
        layer->rank = declared->rank;
        memcpy(layer->dims, declared->dims, sizeof declared->dims);
        layer->stored = true;
        if (output->op >= 0)
            layer->place = place_of(program, net->ops[output->op].place);
        judge(c, number, &output->op, output->op >= 0, brings, special);
        c->shown[c->layer_count++] = number;
    }
    free(brings);
    free(special);
}

static bool run(struct bfrt_session *session, struct bf_error *error) {
    bf_comparison_free(session->comparison);
    session->comparison = NULL;
    if (!session->device->observable)
        return bf_fail(error, BF_ERROR_INPUT,
                       "device '%s' does not show its values; comparing needs the device 'ref'",
                       session->device->name);
    session->comparison = create(session->model->program, error);
    if (!session->comparison || !bf_session_run(session, error))
        return false;
    finish(session);
    return true;
}

bool bfrt_compare(struct bfrt_session *session, struct bfrt_error *error) {
    struct bf_entry entry;
    bool ok = !BF_ENTER(entry, error) && run(session, &entry.error);
    bf_session_drop(session, !ok);
    return bf_leave(&entry, ok);
}

size_t bfrt_layer_count(const struct bfrt_session *session) {
    return session->comparison ? session->comparison->layer_count : 0;
}

const struct bfrt_layer *bfrt_layer(const struct bfrt_session *session, size_t index) {
    const struct bf_comparison *c = session->comparison;
    return c && index < c->layer_count ? &c->layers[c->shown[index]] : NULL;
}
