/* test_host_stages.c - butterflies and Fourier transforms as code in memory, against the
 * interpreter: every shape of padding and pruning, weights that the short form of a stage can't
 * have, lengths with small and large primes. */
#define _GNU_SOURCE
#include "test/unit/host_run.h"

#include "backend/host/butterfly.h"

/* ---- butterflies ---- */

struct shape {
    int64_t rows, in, out, blocks;
    bool decreasing, plain; /* plain: without bias */
};

enum kind { RANDOM, ZEROS, WIDE, ZERO_OWN, NEGATIVE_ZERO, PERMUTED, KINDS, HUGE_RATIOS = KINDS };

/* A weight of the kind; `own` is on the diagonal of its 2 x 2 matrix. */
static double weight_of(enum kind kind, bool own, uint64_t *random) {
    double value = (double)(bf_random(random) >> 40) * 0x1p-23 - 1;
    uint64_t dice = bf_random(random);
    switch (kind) {
    case ZEROS:
        return dice % 3 ? value : 0;
    case WIDE:
        return ldexp(value, (int)(dice % 15) - 9);
    case HUGE_RATIOS: /* only to be looked at: no result would fit f32 */
        return ldexp(value, (int)(dice % 50) - 25);
    case ZERO_OWN:
        return own ? 0 : value;
    case NEGATIVE_ZERO:
        return own && dice % 2 ? -0.0 : value;
    case PERMUTED:
        return own ? 0 : 1;
    default:
        return value;
    }
}

/* All parameters of the net as f64. */
static struct bf_weights *weights_of(const struct bf_net *net, enum kind kind) {
    struct bf_weights *weights = bf_weights_create("test");
    uint64_t random = 7;
    for (size_t p = 0; p < net->params.count; p++) {
        const struct bf_param *param = net->params.data[p];
        int64_t count = bf_type_elements(&param->type);
        double *values = bf_arena_alloc(&weights->arena, (size_t)count * sizeof *values);
        for (int64_t i = 0; i < count; i++)
            values[i] = (double)(float)weight_of(param->type.rank > 1 ? kind : RANDOM,
                                                 i % 4 == 0 || i % 4 == 3, &random);
        assert_true(bf_weights_add(weights, param->name, BF_WEIGHT_F64, param->type.rank,
                                   param->type.dims, values, NULL));
    }
    return weights;
}

/* With `epilogue` y = gelu(butterfly(x)) + r for another input r. */
static void butterfly(const struct shape *s, enum kind kind, bool epilogue, int64_t batch) {
    struct bf_net *net = bf_net_create("butterfly");
    struct bf_value *x = input(net, "x", BF_F32, 2, (int64_t[]){s->rows, s->in});
    struct bf_attrs attrs;
    memset(&attrs, 0, sizeof attrs);
    bf_attrs_set_int(&attrs, BF_OP_BUTTERFLY, "out", s->out);
    bf_attrs_set_int(&attrs, BF_OP_BUTTERFLY, "nblocks", s->blocks);
    bf_attrs_set_bool(&attrs, BF_OP_BUTTERFLY, "increasing", !s->decreasing);
    bf_attrs_set_bool(&attrs, BF_OP_BUTTERFLY, "bias", !s->plain);
    struct bf_value *y = op(net, BF_OP_BUTTERFLY, &x, 1, &attrs, "fc");
    if (epilogue) {
        struct bf_value *pair[] = {op(net, BF_OP_GELU, &y, 1, NULL, NULL),
                                   input(net, "r", BF_F32, 2, (int64_t[]){s->rows, s->out})};
        y = op(net, BF_OP_ADD, pair, 2, NULL, NULL);
    }
    output(net, y);
    run_with(net, weights_of(net, kind), batch);
}

static const struct shape shapes[] = {
    {3, 2, 2, 1, false, false},        {5, 3, 4, 1, true, true},
    {5, 5, 13, 1, false, false},       {3, 10, 40, 2, false, false},
    {9, 64, 64, 3, true, false},       {25, 100, 30, 1, false, false},
    {7, 128, 1, 1, true, false},       {10, 300, 700, 2, false, true},
    {27, 256, 256, 1, false, false},   {30, 768, 3072, 1, false, false},
    {13, 3072, 768, 1, false, false},  {13, 3072, 768, 1, true, false},
    {2, 4096, 4096, 1, false, false},  {3, 2048, 1500, 1, true, true},
    {1, 1024, 1024, 1, false, false},  {2, 640, 2560, 1, false, false},
    {1, 16384, 16384, 1, false, true},
};

static void butterflies_of_any_shape(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        butterfly(&shapes[i], RANDOM, false, 1 + (int64_t)i % 2);
}

static void butterflies_with_epilogues(void **state) {
    (void)state;
    static const struct shape fused[] = {{26, 64, 64, 1, false, false},
                                         {26, 96, 384, 1, false, false},
                                         {13, 384, 96, 1, false, true},
                                         {5, 2048, 2048, 1, false, false},
                                         {5, 9, 21, 2, true, false}};
    for (size_t i = 0; i < sizeof fused / sizeof *fused; i++)
        butterfly(&fused[i], RANDOM, true, 1 + (int64_t)i % 2);
}

/* The short form divides by a weight: these have none to divide by, or none that is safe. */
static void butterflies_with_hostile_weights(void **state) {
    (void)state;
    static const struct shape hostile[] = {{5, 64, 64, 1, false, false},
                                           {5, 96, 384, 2, false, false},
                                           {5, 384, 96, 1, true, true},
                                           {2, 1000, 3000, 1, false, false}};
    for (enum kind kind = RANDOM; kind < KINDS; kind++)
        for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++)
            butterfly(&hostile[i], kind, false, 1);
}

/* Which stages are in full form, of a butterfly of 64 points in one stack. */
static unsigned full_stages(enum kind kind) {
    struct bf_net *net = bf_net_create("butterfly");
    struct bf_value *x = input(net, "x", BF_F32, 2, (int64_t[]){1, 64});
    output(net, op(net, BF_OP_BUTTERFLY, &x, 1, NULL, "fc"));
    struct bf_weights *weights = weights_of(net, kind);
    struct bf_param_view view = {.param = net->params.data[0],
                                 .rank = net->params.data[0]->type.rank};
    memcpy(view.extent, view.param->type.dims, sizeof view.extent);
    struct bf_butterfly_shape shape = {64, 1, 1, 64, 64, true, 1, 1};
    struct bf_butterfly *b = bf_butterfly_create(&shape, 16, 3);
    bf_butterfly_choose_forms(b, weights, &view);
    unsigned full = 0;
    for (unsigned s = 0; s < b->stages; s++)
        full |= (unsigned)b->full[s] << s;
    bf_butterfly_free(b);
    bf_weights_free(weights);
    bf_net_free(net);
    return full;
}

static void only_stages_that_must_are_full(void **state) {
    (void)state;
    assert_int_equal(full_stages(RANDOM), 0x20); /* the last one always is */
    assert_int_equal(full_stages(ZERO_OWN), 0x3f);
    assert_int_equal(full_stages(NEGATIVE_ZERO), 0x3f);
    assert_int_not_equal(full_stages(HUGE_RATIOS), 0x20);
}

static void block_butterflies(void **state) {
    (void)state;
    static const int64_t cases[][4] = {/* rows, tile, in, out */
                                       {5, 2, 6, 8},      {67, 32, 64, 160},  {10, 16, 64, 48},
                                       {7, 8, 320, 24},   {3, 128, 256, 128}, {3, 256, 512, 256},
                                       {2, 64, 2560, 64}, {1, 4, 8, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (enum kind kind = RANDOM; kind <= ZEROS; kind++) {
            struct bf_net *net = bf_net_create("blocks");
            struct bf_value *x = input(net, "x", BF_F32, 2, (int64_t[]){cases[i][0], cases[i][2]});
            struct bf_attrs attrs;
            memset(&attrs, 0, sizeof attrs);
            bf_attrs_set_int(&attrs, BF_OP_BLOCK_BUTTERFLY, "tile", cases[i][1]);
            bf_attrs_set_int(&attrs, BF_OP_BLOCK_BUTTERFLY, "out", cases[i][3]);
            bf_attrs_set_bool(&attrs, BF_OP_BLOCK_BUTTERFLY, "increasing", i % 2);
            bf_attrs_set_bool(&attrs, BF_OP_BLOCK_BUTTERFLY, "bias", i % 3);
            struct bf_value *y = op(net, BF_OP_BLOCK_BUTTERFLY, &x, 1, &attrs, "m");
            output(net, op(net, BF_OP_RELU, &y, 1, NULL, NULL));
            run_with(net, weights_of(net, kind), 1 + (int64_t)i % 2);
        }
}

/* ---- transforms ---- */

static void fft(int64_t rows, int64_t cols, int64_t axis, bool inverse, int64_t batch) {
    struct bf_net *net = bf_net_create("fft");
    struct bf_value *z = input(net, "z", BF_F32, 3, (int64_t[]){2, rows, cols});
    struct bf_attrs attrs;
    memset(&attrs, 0, sizeof attrs);
    bf_attrs_set_int(&attrs, BF_OP_FFT, "axis", axis);
    bf_attrs_set_bool(&attrs, BF_OP_FFT, "inverse", inverse);
    output(net, op(net, BF_OP_FFT, &z, 1, &attrs, NULL));
    run(net, batch);
}

static void transforms_of_any_length(void **state) {
    (void)state;
    static const int64_t lengths[] = {2,  3,  4,  5,  7,  9,  11, 12,  14,
                                      16, 17, 20, 25, 30, 64, 97, 105, 128};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        fft(1 + (int64_t)i * 5 % 37, lengths[i], 2, i % 2, 1 + (int64_t)i % 3);
        fft(lengths[i], 1 + (int64_t)i * 7 % 75, 1, i % 3 == 0, 1 + (int64_t)i % 2);
    }
    fft(3, 1024, 2, false, 1);
    fft(2, 768, 2, true, 2);
    fft(1, 320, 2, false, 2);
    fft(768, 5, 1, true, 1);
    fft(2, 1009, 2, false, 1);
}

/* With `epilogue` y = x + fourier(x). */
static void fourier(int64_t rows, int64_t cols, bool epilogue, int64_t batch) {
    struct bf_net *net = bf_net_create("fourier");
    struct bf_value *x = input(net, "x", BF_F32, 2, (int64_t[]){rows, cols});
    struct bf_value *y = op(net, BF_OP_FOURIER, &x, 1, NULL, NULL);
    if (epilogue) {
        struct bf_value *pair[] = {x, y};
        y = op(net, BF_OP_ADD, pair, 2, NULL, NULL);
    }
    output(net, y);
    run(net, batch);
}

static void mixing_of_any_size(void **state) {
    (void)state;
    static const int64_t sizes[][2] = {{1, 64},   {2, 32},   {3, 64},  {8, 256}, {16, 48},
                                       {30, 96},  {7, 320},  {25, 64}, {64, 64}, {20, 80},
                                       {12, 384}, {128, 96}, {17, 64}, {9, 21},  {13, 33},
                                       {64, 1},   {1, 7},    {512, 32}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        fourier(sizes[i][0], sizes[i][1], i % 2, 1 + (int64_t)i % 2);
}

static void compression(int64_t rows, int64_t cols, int64_t chunk, int64_t keep, bool leading) {
    struct bf_net *net = bf_net_create("compress");
    struct bf_value *x = input(net, "x", BF_F32, 2, (int64_t[]){rows, cols});
    struct bf_attrs attrs;
    memset(&attrs, 0, sizeof attrs);
    bf_attrs_set_int(&attrs, BF_OP_FFT_COMPRESS, "chunk", chunk);
    bf_attrs_set_int(&attrs, BF_OP_FFT_COMPRESS, "keep", keep);
    if (leading)
        bf_attrs_set_string(&attrs, BF_OP_FFT_COMPRESS, "mode", "leading");
    output(net, op(net, BF_OP_FFT_COMPRESS, &x, 1, &attrs, NULL));
    run(net, 2);
}

static void compressions(void **state) {
    (void)state;
    compression(64, 20, 64, 32, false);
    compression(64, 33, 16, 4, false);
    compression(60, 20, 20, 10, true);
    compression(22, 5, 11, 4, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(butterflies_of_any_shape),
        cmocka_unit_test(butterflies_with_epilogues),
        cmocka_unit_test(butterflies_with_hostile_weights),
        cmocka_unit_test(only_stages_that_must_are_full),
        cmocka_unit_test(block_butterflies),
        cmocka_unit_test(transforms_of_any_length),
        cmocka_unit_test(mixing_of_any_size),
        cmocka_unit_test(compressions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
