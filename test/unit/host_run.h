/* host_run.h - a net with one output as code in memory, on each vector width that this machine has,
 * against the interpreter. Inputs and outputs end where readable memory ends, then again where it
 * begins. The file that includes it first defines _GNU_SOURCE. */
#ifndef BF_TEST_HOST_RUN_H
#define BF_TEST_HOST_RUN_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "backend/host/gen.h"
#include "backend/host/module.h"
#include "passes/host/host.h"
#include "passes/passes.h"

static const double tolerance = 2e-6; /* relative L2 */
static const char *const cpus[] = {
#ifdef __x86_64__
    "x86-64-v3",
#endif
    "native"};

/* ---- memory with a forbidden page before and after ---- */

enum { PAGE = 4096 };
struct guarded {
    char *pages;
    size_t size; /* of readable pages */
    void *data;
};

static struct guarded guard(size_t bytes, bool at_end) {
    struct guarded g = {.size = bf_round_up(bytes, PAGE)};
    g.pages =
        mmap(NULL, g.size + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(g.pages, MAP_FAILED);
    assert_int_equal(mprotect(g.pages, PAGE, PROT_NONE), 0);
    assert_int_equal(mprotect(g.pages + PAGE + g.size, PAGE, PROT_NONE), 0);
    g.data = g.pages + PAGE + (at_end ? g.size - bytes : 0);
    memset(g.data, 0xff, bytes); /* NaN */
    return g;
}
static void release(struct guarded *g) {
    munmap(g->pages, g->size + 2 * PAGE);
}

/* ---- a net with one output, on a CPU ---- */

struct values {
    double *of[4]; /* of each input, sample after sample */
};

static struct guarded input_of(const struct bf_type *type, const double *values, int64_t samples,
                               bool at_end) {
    int64_t count = bf_type_elements(type) * samples;
    bool bytes = type->dtype == BF_U8;
    struct guarded g = guard((size_t)count * (bytes ? 1 : 4), at_end);
    for (int64_t i = 0; i < count; i++)
        if (bytes)
            ((uint8_t *)g.data)[i] = (uint8_t)values[i];
        else
            ((float *)g.data)[i] = (float)values[i];
    return g;
}

static struct bf_host_plan *plan_of(struct bf_net *net, const struct bf_weights *weights,
                                    const char *cpu, struct bf_arena *arena,
                                    struct bf_sources *sources) {
    struct bf_diags diags = {.sources = sources, .out = stderr, .error_limit = 20};
    struct bf_error error = {0};
    struct bf_host_target target;
    if (!bf_host_target_find(&target, cpu, NULL, arena, &error))
        fail_msg("%s", error.text);
    struct bf_poly *poly = bf_pass_select(net, &diags);
    assert_non_null(poly);
    struct bf_host_plan *plan = bf_pass_host(poly, weights, &target, bf_host_generators, &diags);
    assert_non_null(plan);
    return plan;
}

static double error_of(const struct bf_net *net, const struct bf_weights *weights,
                       const struct values *values, const float *got) {
    const struct bf_output *out = &net->outputs.data[0];
    int64_t elements = bf_type_elements(&out->value->type);
    double *want = bf_alloc((size_t)elements * sizeof *want), top = 0, bottom = 1e-30;
    for (int64_t s = 0; s < net->header.batch; s++) {
        const double *in[4] = {0};
        struct bf_error error = {0};
        for (size_t i = 0; i < net->inputs.count; i++)
            in[i] = values->of[i] + s * bf_type_elements(&net->inputs.data[i]->type);
        if (!bf_net_eval(net, weights, in, &want, NULL, NULL, &error))
            fail_msg("%s", error.text);
        for (int64_t e = 0; e < elements; e++) {
            double d = (double)got[s * elements + e] - want[e];
            top += isnan(d) ? 1e18 : d * d;
            bottom += want[e] * want[e];
        }
    }
    free(want);
    return sqrt(top / bottom);
}

/* One run, with everything at the end (the start) of its pages. */
static double run_once(const struct bf_net *net, const struct bf_weights *weights,
                       const struct values *values, const struct bf_host_plan *plan,
                       const struct bf_host_jit *jit, bool at_end) {
    struct guarded inputs[4], output, workspace;
    const void *in[4] = {0};
    for (size_t i = 0; i < net->inputs.count; i++) {
        inputs[i] = input_of(&net->inputs.data[i]->type, values->of[i], net->header.batch, at_end);
        in[i] = inputs[i].data;
    }
    int64_t elements = bf_type_elements(&net->outputs.data[0].value->type) * net->header.batch;
    output = guard((size_t)elements * 4, at_end);
    workspace = guard(bf_round_up((size_t)bf_host_workspace(plan, 1), BF_HOST_ALIGN), at_end);
    assert_int_equal(bf_host_jit_run(jit, in, &output.data, workspace.data, NULL), 0);
    double error = error_of(net, weights, values, output.data);
    for (size_t i = 0; i < net->inputs.count; i++)
        release(&inputs[i]);
    release(&output);
    release(&workspace);
    return error;
}

static void run_on(struct bf_net *net, const struct bf_weights *weights,
                   const struct values *values, const char *cpu) {
    struct bf_arena arena = {0};
    struct bf_sources sources = {0};
    struct bf_error error = {0};
    struct bf_host_plan *plan = plan_of(net, weights, cpu, &arena, &sources);
    void *blob = bf_host_blob(plan, weights);
    struct bf_host_jit *jit = bf_host_jit_create(plan, &sources, blob, &error);
    if (!jit)
        fail_msg("%s", error.text);
    for (int at_end = 0; at_end < 2; at_end++) {
        double e = run_once(net, weights, values, plan, jit, at_end);
        if (e < tolerance)
            continue;
        struct bf_text text = {0};
        bf_net_print(net, &text);
        fail_msg("error %g on %s in\n%s", e, cpu, text.data);
    }
    bf_host_jit_free(jit);
    free(blob);
    bf_host_plan_free(plan);
    bf_sources_free(&sources);
    bf_arena_free(&arena);
}

/* Random inputs; masks hide a third. Frees the net and the weights. */
static void run_with(struct bf_net *net, struct bf_weights *weights, int64_t batch) {
    struct values values = {0};
    uint64_t random = 1;
    net->header.batch = batch;
    for (size_t i = 0; i < net->inputs.count; i++) {
        const struct bf_type *type = &net->inputs.data[i]->type;
        int64_t count = bf_type_elements(type) * batch;
        values.of[i] = bf_alloc((size_t)count * sizeof(double));
        for (int64_t e = 0; e < count; e++) {
            double value = (double)(float)((double)(bf_random(&random) >> 40) * 0x1p-23 - 1);
            values.of[i][e] = type->dtype == BF_U8 ? value > -0.3 : value;
        }
    }
    for (size_t c = 0; c < sizeof cpus / sizeof *cpus; c++)
        run_on(net, weights, &values, cpus[c]);
    bf_weights_free(weights);
    for (int i = 0; i < 4; i++)
        free(values.of[i]);
    bf_net_free(net);
}

static inline void run(struct bf_net *net, int64_t batch) {
    run_with(net, bf_weights_random(net, 1), batch);
}

/* ---- nets ---- */

static struct bf_diags quiet(void) {
    static struct bf_sources sources;
    return (struct bf_diags){.sources = &sources, .out = stderr, .error_limit = 20};
}

static struct bf_value *input(struct bf_net *net, const char *name, enum bf_dtype dtype,
                              unsigned rank, const int64_t *dims) {
    struct bf_diags diags = quiet();
    return bf_net_add_input(net, name, bf_type_make(dtype, rank, dims), (struct bf_loc){0}, &diags);
}

static inline struct bf_value *op(struct bf_net *net, enum bf_op_kind kind, struct bf_value **args,
                                  size_t count, const struct bf_attrs *attrs, const char *label) {
    struct bf_diags diags = quiet();
    struct bf_attrs none;
    memset(&none, 0, sizeof none);
    struct bf_value *y = bf_net_add_op(net, kind, args, (unsigned)count, attrs ? attrs : &none,
                                       label, (struct bf_loc){0}, &diags);
    assert_non_null(y);
    return y;
}

static void output(struct bf_net *net, struct bf_value *y) {
    struct bf_diags diags = quiet();
    assert_true(bf_net_add_output(net, "y", y, (struct bf_loc){0}, &diags));
}

#endif
