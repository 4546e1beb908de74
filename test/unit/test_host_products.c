/* test_host_products.c - dense products, block-diagonal products and attention as code in memory,
 * against the interpreter: sizes around every tail, each vector width that this machine has. Inputs
 * and outputs end where readable memory ends, then again where it begins. */
#define _GNU_SOURCE
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

/* Random inputs; masks hide a third. Frees the net. */
static void run(struct bf_net *net, int64_t batch) {
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
    struct bf_weights *weights = bf_weights_random(net, 1);
    for (size_t c = 0; c < sizeof cpus / sizeof *cpus; c++)
        run_on(net, weights, &values, cpus[c]);
    bf_weights_free(weights);
    for (int i = 0; i < 4; i++)
        free(values.of[i]);
    bf_net_free(net);
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

static struct bf_value *op(struct bf_net *net, enum bf_op_kind kind, struct bf_value **args,
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

/* y = x W + b; with `epilogue` y = x + gelu(x W + b). */
static void linear(int64_t rows, int64_t in, int64_t out, bool bias, bool epilogue, int64_t batch) {
    struct bf_net *net = bf_net_create("linear");
    struct bf_value *x = input(net, "x", BF_F32, 2, (int64_t[]){rows, in});
    struct bf_attrs attrs;
    memset(&attrs, 0, sizeof attrs);
    bf_attrs_set_int(&attrs, BF_OP_LINEAR, "out", out);
    bf_attrs_set_bool(&attrs, BF_OP_LINEAR, "bias", bias);
    struct bf_value *y = op(net, BF_OP_LINEAR, &x, 1, &attrs, "fc");
    if (epilogue) {
        struct bf_value *pair[] = {x, op(net, BF_OP_GELU, &y, 1, NULL, NULL)};
        y = op(net, BF_OP_ADD, pair, 2, NULL, NULL);
    }
    output(net, y);
    run(net, batch);
}

static void products_of_any_size(void **state) {
    (void)state;
    static const int64_t rows[] = {1, 2, 3, 5, 7, 13, 14, 15, 29};
    static const int64_t outs[] = {1, 2, 7, 16, 17, 31, 33, 47, 64, 100, 130};
    int64_t in = 1;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t o = r % 3; o < sizeof outs / sizeof *outs; o += 3, in = in * 7 % 101)
            linear(rows[r], in, outs[o], o % 2, false, 1 + (int64_t)(r + o) % 2);
}

static void products_with_long_sums(void **state) {
    (void)state;
    linear(1, 1000, 300, true, false, 1);
    linear(6, 1001, 40, true, false, 1);
    linear(20, 2500, 70, false, false, 1);
    linear(150, 900, 33, true, false, 2);
    linear(1, 1200, 2000, true, false, 1); /* panels are the units */
}

static void products_with_epilogues(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 5, 16, 33, 100, 500};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int64_t rows = 1; rows < 40; rows = rows * 3 + 1)
            linear(rows, sizes[i], sizes[i], i % 2, true, 1 + rows % 2);
}

static void monarch(int64_t rows, int64_t r, bool bias, int64_t batch) {
    struct bf_net *net = bf_net_create("monarch");
    struct bf_value *x = input(net, "x", BF_F32, 2, (int64_t[]){rows, r * r});
    struct bf_attrs attrs;
    memset(&attrs, 0, sizeof attrs);
    bf_attrs_set_bool(&attrs, BF_OP_MONARCH, "bias", bias);
    struct bf_value *y = op(net, BF_OP_MONARCH, &x, 1, &attrs, "m");
    output(net, op(net, BF_OP_RELU, &y, 1, NULL, NULL));
    run(net, batch);
}

static void monarch_matrices(void **state) {
    (void)state;
    static const int64_t widths[] = {1, 2, 3, 4, 7, 8, 15, 16, 17, 20, 32};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        monarch(1 + 5 * (int64_t)i % 23, widths[i], i % 2, 1 + (int64_t)i % 3);
}

struct shape {
    int64_t queries, keys, heads, kv_heads, width, batch, mask_rank;
    bool causal;
    int64_t window;
};

static void attention(const struct shape *s) {
    struct bf_net *net = bf_net_create("attention");
    int64_t q[] = {s->queries, s->heads * s->width}, k[] = {s->keys, s->kv_heads * s->width};
    int64_t mask[] = {s->heads, s->queries, s->keys};
    struct bf_value *args[4] = {input(net, "q", BF_F32, 2, q), input(net, "k", BF_F32, 2, k),
                                input(net, "v", BF_F32, 2, k)};
    if (s->mask_rank)
        args[3] =
            input(net, "mask", BF_U8, (unsigned)s->mask_rank, mask + 3 - (size_t)s->mask_rank);
    struct bf_attrs attrs;
    memset(&attrs, 0, sizeof attrs);
    bf_attrs_set_int(&attrs, BF_OP_ATTENTION, "heads", s->heads);
    bf_attrs_set_int(&attrs, BF_OP_ATTENTION, "kv_heads", s->kv_heads);
    bf_attrs_set_bool(&attrs, BF_OP_ATTENTION, "causal", s->causal);
    bf_attrs_set_int(&attrs, BF_OP_ATTENTION, "window", s->window);
    output(net, op(net, BF_OP_ATTENTION, args, s->mask_rank ? 4 : 3, &attrs, "a"));
    run(net, s->batch);
}

static void attention_of_any_size(void **state) {
    (void)state;
    static const struct shape shapes[] = {
        {1, 1, 1, 1, 1, 1, 0, false, 0},      {5, 7, 2, 1, 3, 2, 1, false, 0},
        {16, 16, 2, 2, 16, 3, 0, true, 0},    {33, 33, 3, 1, 20, 1, 0, true, 5},
        {47, 47, 4, 2, 33, 2, 2, false, 0},   {29, 61, 4, 2, 64, 2, 3, false, 0},
        {40, 40, 2, 2, 8, 2, 1, false, 3},    {1, 600, 2, 1, 32, 2, 0, false, 0},
        {128, 128, 2, 2, 24, 1, 0, false, 0}, {1, 9, 3, 3, 4, 2, 3, false, 0},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        attention(&shapes[i]);
}

static void attention_in_blocks_of_keys(void **state) {
    (void)state;
    static const struct shape shapes[] = {
        {530, 530, 1, 1, 17, 1, 0, true, 0},   {60, 1100, 2, 1, 24, 1, 1, false, 0},
        {530, 530, 1, 1, 20, 1, 2, false, 30}, {1030, 1030, 1, 1, 8, 1, 0, true, 100},
        {30, 1500, 2, 2, 33, 1, 3, false, 0},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        attention(&shapes[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_any_size),    cmocka_unit_test(products_with_long_sums),
        cmocka_unit_test(products_with_epilogues), cmocka_unit_test(monarch_matrices),
        cmocka_unit_test(attention_of_any_size),   cmocka_unit_test(attention_in_blocks_of_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
