/* test_rows.c - pointwise and row kernels, from net text to numbers: each network is compiled,
 * proved free of races, run on ref and sim, and compared with the interpreter in double. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>

#include "backend/encode.h"
#include "ir/isa/fp.h"
#include "passes/passes.h"
#include "runtime/check.h"
#include "runtime/device.h"

/* ---- compiling ---- */

struct work {
    struct bf_sources sources;
    struct bf_diags diags;
    char *messages;
    size_t size;
    struct bf_net *net;
    struct bf_weights *weights;
    struct bf_map *map;
};

static struct work *begin(const char *body, int batch) {
    struct work *w = bf_alloc(sizeof *w);
    struct bf_text text = {0};
    w->diags = (struct bf_diags){.sources = &w->sources};
    w->diags.out = open_memstream(&w->messages, &w->size);
    bf_source_add(&w->sources, "test.net", NULL, 0);
    bf_text_printf(&text,
                   "bfcc net 1 arch=default:0000000000000000 batch=%d opt=1 resident=0 "
                   "weights=none\nfile 0 \"a.bfly\"\nnet n\n%s",
                   batch, body);
    w->net = bf_net_parse(text.data, text.length, 0, &w->diags);
    bf_text_free(&text);
    fflush(w->diags.out);
    if (!w->net)
        fail_msg("%s", w->messages);
    return w;
}

static void end(struct work *w) {
    fclose(w->diags.out);
    free(w->messages);
    bf_map_free(w->map);
    bf_weights_free(w->weights);
    bf_net_free(w->net);
    bf_sources_free(&w->sources);
    free(w);
}

static bool passes(struct work *w, const struct bf_machine *machine) {
    struct bf_diags *d = &w->diags;
    if (!bf_pass_fold(w->net, d) || !bf_pass_simplify(w->net, d) || !bf_pass_axes(w->net, d) ||
        !bf_pass_exponents(w->net, d))
        return false;
    w->weights = bf_weights_random(w->net, 7);
    struct bf_poly *poly = bf_pass_select(w->net, d);
    if (!poly)
        return false;
    w->map = bf_map_create(poly, machine);
    return bf_poly_verify(poly, d) && bf_pass_divide(w->map, d) && bf_pass_tile(w->map, d) &&
           bf_pass_partition(w->map, d) && bf_pass_stream(w->map, d) && bf_pass_place(w->map, d) &&
           bf_pass_schedule(w->map, d) && bf_pass_verify(w->map, d) &&
           bf_encode(w->map, w->weights, d);
}

static struct work *compile_for(const char *body, int batch, const struct bf_machine *machine) {
    struct work *w = begin(body, batch);
    struct bf_error error = {0};
    bool ok = passes(w, machine);
    fflush(w->diags.out);
    if (!ok)
        fail_msg("%s", w->messages);
    if (!bf_program_check(w->map->program, &error) || !bf_check_program(w->map->program, &error))
        fail_msg("%s", error.text);
    return w;
}

static struct work *compile(const char *body, int batch) {
    struct bf_machine machine = bf_machine_default();
    return compile_for(body, batch, &machine);
}

/* ---- running ---- */

static const struct bf_tensor_place *tensor_of(const struct work *w, const char *name) {
    for (size_t i = 0; i < w->map->program->tensor_count; i++)
        if (!strcmp(w->map->program->tensors[i].name, name) &&
            w->map->program->tensors[i].kind != BF_TENSOR_WEIGHT)
            return &w->map->program->tensors[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

/* Number `i` of input `input`. */
typedef double filler(int input, int64_t i);

static uint64_t mix(int input, int64_t i) {
    uint64_t state = (uint64_t)i * 8 + (uint64_t)input;
    return bf_random(&state);
}

/* Sums of twelve uniform numbers, rounded to fp16; masks get 0 and 1 by their type. */
static double normal(int input, int64_t i) {
    double sum = -6;
    for (int k = 0; k < 12; k++)
        sum += (double)(mix(input, 12 * i + k) >> 11) * 0x1p-53;
    return bf_half_to_double(bf_half_from_double(sum));
}

static double *input_data(const struct bf_value *value, int input, int64_t count, filler *fill) {
    double *data = bf_alloc((size_t)count * sizeof *data);
    for (int64_t i = 0; i < count; i++)
        data[i] = value->type.dtype == BF_U8 ? (double)(mix(input, i) % 3 > 0) : fill(input, i);
    return data;
}

static uint8_t *run_on(const struct work *w, const struct bf_device *device,
                       double *const *inputs) {
    const struct bf_program *program = w->map->program;
    struct bf_device_options options = {0};
    struct bf_error error = {0};
    struct bf_stats *stats = bf_stats_create(program);
    uint8_t *dram = bf_alloc(program->dram_size);
    memcpy(dram, program->rodata, program->rodata_size);
    for (size_t i = 0; i < w->net->inputs.count; i++) {
        const struct bf_tensor_place *tensor = tensor_of(w, w->net->inputs.data[i]->name);
        bf_half *to = (bf_half *)(void *)(dram + tensor->dram);
        for (uint64_t e = 0; e < tensor->size / 2; e++)
            to[e] = bf_half_from_double(inputs[i][e]);
    }
    if (!device->run(program, dram, &options, stats, &error))
        fail_msg("%s: %s", device->name, error.text);
    bf_stats_free(program, stats);
    return dram;
}

/* Error in units of the last place of an fp16 number near `want`; infinities where they belong. */
static double ulps(double got, double want) {
    double size = fabs(want) < 0x1p-14 ? 0x1p-14 : fabs(want);
    if (size >= 65520)
        return isinf(got) && (got > 0) == (want > 0) ? 0 : INFINITY;
    int exponent;
    frexp(size, &exponent);
    double error = fabs(got - want) / ldexp(1, exponent - 11);
    return isnan(error) ? INFINITY : error;
}

struct errors {
    double ulp;      /* largest */
    double relative; /* l2 norm of the error over that of the result */
};

static struct errors compare(const struct work *w, double *const *inputs, const uint8_t *dram) {
    const struct bf_output *output = &w->net->outputs.data[0];
    const struct bf_tensor_place *tensor = tensor_of(w, output->name);
    const bf_half *got = (const bf_half *)(const void *)(dram + tensor->dram);
    int64_t count = bf_type_elements(&output->value->type);
    double *want = bf_alloc((size_t)count * sizeof *want), error = 0, norm = 0;
    const double **sample = bf_alloc(w->net->inputs.count * sizeof *sample);
    struct errors errors = {0, 0};
    struct bf_error failure = {0};
    for (int64_t s = 0; s < w->net->header.batch; s++) {
        for (size_t i = 0; i < w->net->inputs.count; i++)
            sample[i] = inputs[i] + s * bf_type_elements(&w->net->inputs.data[i]->type);
        assert_true(bf_net_eval(w->net, w->weights, sample, &want, NULL, NULL, &failure));
        for (int64_t e = 0; e < count; e++) {
            double value = bf_half_to_double(got[s * count + e]);
            errors.ulp = fmax(errors.ulp, ulps(value, want[e]));
            error += isfinite(value) ? (value - want[e]) * (value - want[e]) : 0;
            norm += want[e] * want[e];
        }
    }
    errors.relative = sqrt(error / (norm > 0 ? norm : 1));
    free(sample);
    free(want);
    return errors;
}

/* Runs on both devices: equal bits, and the errors against the interpreter. */
static struct errors run(struct work *w, filler *fill) {
    double **inputs = bf_alloc((w->net->inputs.count + 1) * sizeof *inputs);
    for (size_t i = 0; i < w->net->inputs.count; i++)
        inputs[i] = input_data(
            w->net->inputs.data[i], (int)i,
            bf_type_elements(&w->net->inputs.data[i]->type) * w->net->header.batch, fill);
    uint8_t *ref = run_on(w, &bf_device_ref, inputs), *sim = run_on(w, &bf_device_sim, inputs);
    assert_memory_equal(ref, sim, w->map->program->dram_size);
    struct errors errors = compare(w, inputs, ref);
    for (size_t i = 0; i < w->net->inputs.count; i++)
        free(inputs[i]);
    free(inputs);
    free(ref);
    free(sim);
    return errors;
}

static void check_on(const char *body, int batch, filler *fill, double relative,
                     const struct bf_machine *machine) {
    struct work *w = compile_for(body, batch, machine);
    struct errors errors = run(w, fill);
    if (!(errors.relative <= relative))
        fail_msg("relative error %g, more than %g, of\n%s", errors.relative, relative, body);
    end(w);
}

static void check(const char *body, int batch, filler *fill, double relative) {
    struct bf_machine machine = bf_machine_default();
    check_on(body, batch, fill, relative, &machine);
}

/* ---- functions: every fp16 number ---- */

static double every_half(int input, int64_t i) {
    (void)input;
    double x = bf_half_to_double((bf_half)i);
    return isfinite(x) ? x : 0;
}

static void check_function(const char *op, double limit) {
    char body[256];
    snprintf(body, sizeof body,
             "input %%x f16[256,256]\n%%1 = %s f16[256,256]\noutput y = %%1 f16[256,256]\n", op);
    struct work *w = compile(body, 1);
    struct errors errors = run(w, every_half);
    if (!(errors.ulp <= limit))
        fail_msg("%s: %g ulp", op, errors.ulp);
    end(w);
}

static void functions_of_every_half(void **state) {
    (void)state;
    check_function("relu %x", 0);
    check_function("gelu %x", 0.7);
    check_function("gelu %x approximate=tanh", 0.95); /* one of its coefficients has 11 bits */
    check_function("silu %x", 0.55);
    check_function("tanh %x", 0.6);
    check_function("sigmoid %x", 0.55);
    check_function("scale %x by=0.1", 0.51);
    check_function("scale %x by=1000000", 0.51);
    check_function("scale %x by=0.0000001", 0.51);
}

/* ---- rows ---- */

/* Rows of 768: a mean of 120 and a small deviation, a large one, a mean of 500, all equal, a tiny
 * one, zeros, half the range of fp16. */
static double hard_row(int input, int64_t i) {
    static const double mean[] = {120, 0, 500, 7, 0, 0, 0};
    static const double deviation[] = {0.25, 1000, 1, 0, 1e-3, 0, 8000};
    int64_t row = i / 768;
    return bf_half_to_double(bf_half_from_double(mean[row] + deviation[row] * normal(input, i)));
}

static void layernorm_of_hard_rows(void **state) {
    (void)state;
    check("input %x f16[7,768]\n%1 = layernorm %x f16[7,768]\n"
          "output y = %1 f16[7,768]\n",
          1, hard_row, 2.4e-4);
    check("input %x f16[7,768]\n%1 = layernorm %x eps=1e-12 f16[7,768]\n"
          "output y = %1 f16[7,768]\n",
          1, hard_row, 2.4e-4);
    check("input %x f16[7,768]\n%1 = rmsnorm %x f16[7,768]\n"
          "output y = %1 f16[7,768]\n",
          1, hard_row, 2.4e-4);
}

static void norms_with_weights_and_residual(void **state) {
    (void)state;
    check("input %x f16[40,768]\ninput %f f16[40,768]\n"
          "param norm.weight f16[768]\nparam norm.bias f16[768]\n"
          "%1 = add %x, %f f16[40,768]\n"
          "%2 = layernorm %1 @norm affine f16[40,768]\noutput y = %2 f16[40,768]\n",
          1, normal, 2.4e-4);
    check("input %x f16[20,3072]\nparam norm.weight f16[3072]\n"
          "%1 = rmsnorm %x @norm affine f16[20,3072]\noutput y = %1 f16[20,3072]\n",
          1, normal, 2.4e-4);
}

/* From -60000 to 60000, and what normal gives. */
static double ramp(int input, int64_t i) {
    return i < 64 ? bf_half_to_double(bf_half_from_double(-60000 + 120000.0 * (double)i / 63))
                  : 4 * normal(input, i);
}

static void softmax_of_hard_rows(void **state) {
    (void)state;
    check("input %x f16[64,64]\n%1 = softmax %x axis=1 f16[64,64]\noutput y = %1 f16[64,64]\n", 1,
          ramp, 2.4e-4);
    check("input %x f16[64,64]\n%1 = softmax %x axis=0 f16[64,64]\noutput y = %1 f16[64,64]\n", 1,
          ramp, 2.4e-4);
    check("input %x f16[24,40]\ninput %m u8[40]\n"
          "%1 = softmax %x mask=%m axis=1 f16[24,40]\noutput y = %1 f16[24,40]\n",
          19, normal, 2.4e-4);
    check("input %x f16[24,40]\ninput %m u8[24]\n"
          "%1 = softmax %x mask=%m axis=0 f16[24,40]\noutput y = %1 f16[24,40]\n",
          3, normal, 2.4e-4);
}

/* Axes that do not fit the data RAM, one of them a prime. */
static void long_axes(void **state) {
    (void)state;
    check("input %x f16[20,1009]\n%1 = softmax %x f16[20,1009]\noutput y = %1 f16[20,1009]\n", 1,
          normal, 2.4e-4);
    check("input %x f16[4096,20]\n%1 = mean %x axis=0 f16[20]\noutput y = %1 f16[20]\n", 1, normal,
          5e-4);
    check("input %x f16[40,3072]\n%1 = gelu %x f16[40,3072]\noutput y = %1 f16[40,3072]\n", 1,
          normal, 2.4e-4);
}

static void check_reduction(const char *op, int axis, bool keep, bool mask, int batch) {
    char body[400], masked[32] = "";
    const char *shape = keep ? axis ? "24,1" : "1,40" : axis ? "24" : "40";
    if (mask)
        snprintf(masked, sizeof masked, "input %%m u8[%d]\n", axis ? 40 : 24);
    snprintf(body, sizeof body,
             "input %%x f16[24,40]\n%s%%1 = %s %%x%s axis=%d%s f16[%s]\noutput y = %%1 f16[%s]\n",
             masked, op, mask ? " mask=%m" : "", axis, keep ? " keep" : "", shape, shape);
    check(body, batch, normal, 4e-4);
}

static void reductions(void **state) {
    (void)state;
    for (int i = 0; i < 8; i++) {
        check_reduction("mean", i & 1, i & 2, i & 4, 1);
        check_reduction("mean", i & 1, i & 2, i & 4, 18);
        check_reduction("sum", i & 1, i & 2, i & 4, 3);
        check_reduction("max", i & 1, i & 2, i & 4, 1);
    }
}

/* ---- element by element ---- */

static void broadcasting(void **state) {
    (void)state;
    static const char *const other[] = {"24,40", "40", "1,40", "24,1", "1", "1,1"};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        for (int batch = 1; batch <= 18; batch += 17) {
            char body[256];
            snprintf(body, sizeof body,
                     "input %%x f16[24,40]\ninput %%z f16[%s]\n"
                     "%%1 = mul %%x, %%z f16[24,40]\n%%2 = sub %%1, %%z f16[24,40]\n"
                     "output y = %%2 f16[24,40]\n",
                     other[i]);
            check(body, batch, normal, 2.4e-4);
        }
    check("input %x f16[24,1]\ninput %z f16[40]\n%1 = add %x, %z f16[24,40]\n"
          "output y = %1 f16[24,40]\n",
          3, normal, 2.4e-4);
}

static void parameters_and_slices(void **state) {
    (void)state;
    check("input %x f16[24,40]\nparam p f16[24,40]\nparam q f16[40]\n"
          "%1 = param name=\"p\" shape=[24,40] f16[24,40]\n%2 = add %x, %1 f16[24,40]\n"
          "%3 = param name=\"q\" shape=[40] f16[40]\n%4 = mul %2, %3 f16[24,40]\n"
          "output y = %4 f16[24,40]\n",
          5, normal, 2.6e-4);
    check("input %x f16[64,40]\n%1 = slice %x begin=[16,3] end=[48,30] f16[32,27]\n"
          "%2 = relu %1 f16[32,27]\noutput y = %2 f16[32,27]\n",
          2, normal, 0);
    check("input %x f16[24,40]\n%1 = slice %x begin=[3,0] end=[4,40] f16[1,40]\n"
          "%2 = layernorm %1 f16[1,40]\noutput y = %2 f16[1,40]\n",
          18, normal, 2.4e-4);
}

static void products_of_sums(void **state) {
    (void)state;
    check("input %x f16[24,40]\ninput %z f16[24,40]\n%1 = add %x, %z f16[24,40]\n"
          "%2 = sub %x, %z f16[24,40]\n%3 = mul %1, %2 f16[24,40]\noutput y = %3 f16[24,40]\n",
          1, normal, 2.4e-4);
    check("input %x f16[24,40]\ninput %z f16[24,40]\n%1 = mul %z, %z f16[24,40]\n"
          "%2 = constant value=1 shape=[] f16[]\n%3 = add %1, %2 f16[24,40]\n"
          "%4 = div %x, %3 f16[24,40]\noutput y = %4 f16[24,40]\n",
          1, normal, 4e-4);
}

static void every_description(void **state) {
    (void)state;
    static const struct {
        uint32_t rows, lanes, ram, latency, accumulators;
    } machines[] = {{2, 8, 512, 4, 8}, {1, 32, 512, 6, 16}, {8, 4, 1024, 2, 6}};
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        struct bf_machine machine = bf_machine_default();
        machine.rows = machine.cols = machines[i].rows;
        machine.lanes = machines[i].lanes;
        machine.data_ram = machines[i].ram;
        machine.fma_latency = machines[i].latency;
        machine.accumulators = machines[i].accumulators;
        check_on("input %x f16[70,300]\ninput %f f16[70,300]\n"
                 "param norm.weight f16[300]\nparam norm.bias f16[300]\n"
                 "%1 = add %x, %f f16[70,300]\n"
                 "%2 = layernorm %1 @norm affine f16[70,300]\noutput y = %2 f16[70,300]\n",
                 2, normal, 2.4e-4, &machine);
        check_on("input %x f16[70,300]\n%1 = softmax %x axis=0 f16[70,300]\n"
                 "output y = %1 f16[70,300]\n",
                 3, normal, 2.4e-4, &machine);
    }
}

/* ---- what select decides ---- */

static size_t kernels_of(const char *body) {
    struct work *w = compile(body, 1);
    size_t count = w->map->poly->kernels.count;
    end(w);
    return count;
}

static void who_joins_whom(void **state) {
    (void)state;
    /* A sum with one reader is never stored; one with two readers, or one that is an output, is. */
    assert_int_equal(kernels_of("input %x f16[8,32]\ninput %f f16[8,32]\n"
                                "%1 = add %x, %f f16[8,32]\n"
                                "%2 = softmax %1 f16[8,32]\noutput y = %2 f16[8,32]\n"),
                     1);
    assert_int_equal(kernels_of("input %x f16[8,32]\ninput %f f16[8,32]\n"
                                "%1 = add %x, %f f16[8,32]\n%2 = softmax %1 f16[8,32]\n"
                                "%3 = mul %1, %2 f16[8,32]\noutput y = %3 f16[8,32]\n"),
                     3);
    assert_int_equal(kernels_of("input %x f16[8,32]\ninput %f f16[8,32]\n"
                                "%1 = add %x, %f f16[8,32]\n%2 = softmax %1 f16[8,32]\n"
                                "output y = %2 f16[8,32]\noutput z = %1 f16[8,32]\n"),
                     2);
    /* gelu evaluates its argument several times. */
    assert_int_equal(kernels_of("input %x f16[8,32]\ninput %f f16[8,32]\n"
                                "%1 = add %x, %f f16[8,32]\n%2 = gelu %1 f16[8,32]\n"
                                "output y = %2 f16[8,32]\n"),
                     2);
}

/* ---- refusals ---- */

static void check_refused(const char *body, const struct bf_machine *machine, const char *why) {
    struct work *w = begin(body, 1);
    assert_false(passes(w, machine));
    fflush(w->diags.out);
    if (!strstr(w->messages, why))
        fail_msg("'%s' does not say '%s'", w->messages, why);
    end(w);
}

static void refusals_name_the_resource(void **state) {
    (void)state;
    const char *gelu = "input %x f16[8,32]\n%1 = gelu %x f16[8,32]\noutput y = %1 f16[8,32]\n";
    struct bf_machine machine = bf_machine_default();
    machine.special = 0;
    check_refused(gelu, &machine, "it needs special functions");
    machine = bf_machine_default();
    machine.accumulators = 2;
    check_refused("input %x f16[8,32]\n%1 = layernorm %x f16[8,32]\n"
                  "output y = %1 f16[8,32]\n",
                  &machine, "accumulators, the array has 2");
}

/* ---- the value check ---- */

/* Drops the first block of a name; the check must say what is read before it is written. An axis
 * of 1009 elements lies on one PE, one of 1024 across PEs. */
static void check_without(int axis, const char *name, const char *finding) {
    char body[128];
    snprintf(body, sizeof body,
             "input %%x f16[8,%d]\n%%1 = layernorm %%x f16[8,%d]\noutput y = %%1 f16[8,%d]\n", axis,
             axis, axis);
    struct work *w = compile(body, 1);
    struct bf_kernel *kernel = &w->map->program->kernels[0];
    for (size_t i = 0; i < kernel->block_count; i++)
        if (!strcmp(kernel->blocks[i].name, name)) {
            kernel->blocks[i].pes = 0;
            break;
        }
    assert_false(bf_pass_verify(w->map, &w->diags));
    fflush(w->diags.out);
    if (!strstr(w->messages, finding))
        fail_msg("'%s' does not say '%s'", w->messages, finding);
    end(w);
}

static void a_missing_block_is_found(void **state) {
    (void)state;
    check_without(1009, "load", "reads RAM word");
    check_without(1009, "init", "reads accumulator");
    check_without(1009, "finish", "before anything writes it");
    check_without(1024, "load", "reads RAM word");
    check_without(1024, "init", "reads accumulator");
    check_without(1024, "send", "(relay) reads RAM word");
    check_without(1024, "exchange", "(relay) reads RAM word");
    check_without(1024, "relay", "(sums) reads RAM word");
    check_without(1024, "sums", "reads accumulator");
}

/* ---- the value check, fault by fault ---- */

/* Whether verify, or the check of order and storage, refuses the program as it is now; diagnostics
 * go nowhere. */
static bool is_refused(struct work *w) {
    struct bf_sources sources = {0};
    struct bf_error error = {0};
    struct bf_diags diags = {.sources = &sources, .out = fopen("/dev/null", "w")};
    bool refused = !bf_pass_verify(w->map, &diags);
    fclose(diags.out);
    return refused || !bf_check_program(w->map->program, &error);
}

enum { CAL_FAULTS = 8, MEMORY_FAULTS = 6, FLOW_FAULTS = 9 };

/* Changes one thing in a CAL word; false if the word has not got it. */
static bool change_word(struct bf_cal *cal, int fault) {
    unsigned reads = bf_cal_operands(cal->op);
    switch (fault) {
    case 0:
        cal->a ^= 1;
        return reads & 1;
    case 1:
        cal->b ^= 1;
        return (reads & 2) && cal->b_kind != BF_B_CONST;
    case 2:
        cal->c ^= 1;
        return (reads & 4) && (cal->c_class != BF_CLASS_SPECIAL || cal->c >> 8 == BF_C_ACC);
    case 3:
        cal->d ^= 1;
        return cal->dst & BF_DST_RAM;
    case 4:
        cal->acc ^= 1;
        return cal->dst & BF_DST_ACC;
    case 5:
        cal->negate_product = !cal->negate_product;
        return true;
    case 6:
        cal->negate_addend = !cal->negate_addend;
        return (reads & 4) && !(cal->c_class == BF_CLASS_SPECIAL && cal->c >> 8 == BF_C_ZERO);
    default:
        cal->op = cal->op == BF_CAL_FMA ? BF_CAL_MAX : BF_CAL_FMA;
        return true;
    }
}

static bool change_memory(struct bf_descriptor *d, int fault) {
    switch (fault) {
    case 0:
        d->mem.ram ^= 1;
        return true;
    case 1:
        d->mem.spm += 1;
        return true;
    case 2:
        d->mem.ram_delta[0] ^= 3;
        return d->trips[0] > 1;
    case 3:
        d->mem.spm_delta[0] ^= 3;
        return d->trips[0] > 1;
    case 4:
        d->trips[0]--;
        return d->trips[0] > 0;
    default:
        d->mem.row = !d->mem.row;
        return d->trips[0] > 1;
    }
}

static bool change_flow(struct bf_descriptor *d, int fault) {
    switch (fault) {
    case 0:
        d->flow.source ^= 1;
        return true;
    case 1:
        d->flow.destination ^= 1;
        return true;
    case 2:
        d->flow.source_delta[0] ^= 3;
        return true;
    case 3:
        d->flow.destination_delta[0] ^= 3;
        return true;
    case 4:
        d->flow.shift ^= 1;
        return true;
    case 5:
        d->flow.self_shift++;
        return true;
    case 6:
        d->flow.token ^= 1;
        return true;
    case 7:
        d->trips[1]--;
        return true;
    default:
        d->flow.destination_shift = 1;
        return true;
    }
}

struct count {
    int planted, missed;
};

/* Every fault in every word. Some change nothing: the sign of 0, the second piece of a factor. */
static struct count plant_in_words(struct work *w) {
    struct bf_segment *segment = &w->map->program->kernels[0].segments[0];
    struct count count = {0, 0};
    for (unsigned i = 0; i < segment->count; i++)
        for (int fault = 0; fault < CAL_FAULTS; fault++) {
            struct bf_cal cal;
            uint64_t word = segment->words[i];
            assert_true(bf_cal_decode(word, &cal, NULL));
            if (!change_word(&cal, fault))
                continue;
            segment->words[i] = bf_cal_encode(&cal);
            count.planted++;
            count.missed += !is_refused(w);
            segment->words[i] = word;
        }
    return count;
}

static struct count plant_in_blocks(struct work *w) {
    struct bf_kernel *kernel = &w->map->program->kernels[0];
    struct count count = {0, 0};
    for (size_t i = 0; i < kernel->block_count; i++)
        for (int fault = 0; fault < MEMORY_FAULTS + FLOW_FAULTS; fault++) {
            struct bf_descriptor d = kernel->blocks[i].d, *now = &kernel->blocks[i].d;
            bool flow = d.unit == BF_UNIT_FLOW, mine = flow == (fault >= MEMORY_FAULTS);
            if (d.unit != BF_UNIT_CAL && mine &&
                (flow ? change_flow(now, fault - MEMORY_FAULTS) : change_memory(now, fault))) {
                count.planted++;
                count.missed += !is_refused(w);
            }
            kernel->blocks[i].d = d;
        }
    return count;
}

static void plant(const char *body, int planted_least) {
    struct work *w = compile(body, 1);
    assert_false(is_refused(w));
    struct count words = plant_in_words(w), blocks = plant_in_blocks(w);
    if (words.planted < planted_least || words.missed * 3 > words.planted || blocks.missed)
        fail_msg("%d of %d faults in words, %d of %d in blocks go unnoticed, of\n%s", words.missed,
                 words.planted, blocks.missed, blocks.planted, body);
    end(w);
}

static void planted_faults_are_found(void **state) {
    (void)state;
    plant("input %x f16[40,64]\ninput %f f16[40,64]\n"
          "param norm.weight f16[64]\nparam norm.bias f16[64]\n"
          "%1 = add %x, %f f16[40,64]\n%2 = layernorm %1 @norm affine f16[40,64]\n"
          "output y = %2 f16[40,64]\n",
          400);
    plant("input %x f16[40,1009]\n%1 = softmax %x axis=1 f16[40,1009]\n"
          "output y = %1 f16[40,1009]\n",
          300);
    plant("input %x f16[40,64]\nparam norm.weight f16[64]\n"
          "%1 = rmsnorm %x @norm affine f16[40,64]\noutput y = %1 f16[40,64]\n",
          150);
    plant("input %x f16[16,512]\n%1 = softmax %x axis=1 f16[16,512]\noutput y = %1 f16[16,512]\n",
          300);
    plant("input %x f16[40,64]\n%1 = gelu %x f16[40,64]\noutput y = %1 f16[40,64]\n", 300);
    plant("input %x f16[300,40]\ninput %m u8[300]\n%1 = mean %x mask=%m axis=0 f16[40]\n"
          "output y = %1 f16[40]\n",
          100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_of_every_half),
        cmocka_unit_test(layernorm_of_hard_rows),
        cmocka_unit_test(norms_with_weights_and_residual),
        cmocka_unit_test(softmax_of_hard_rows),
        cmocka_unit_test(long_axes),
        cmocka_unit_test(reductions),
        cmocka_unit_test(broadcasting),
        cmocka_unit_test(parameters_and_slices),
        cmocka_unit_test(products_of_sums),
        cmocka_unit_test(every_description),
        cmocka_unit_test(who_joins_whom),
        cmocka_unit_test(refusals_name_the_resource),
        cmocka_unit_test(a_missing_block_is_found),
        cmocka_unit_test(planted_faults_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
