/* test_host_products.c - dense products, block-diagonal products and attention as code in memory,
 * against the interpreter: sizes around every tail. */
#define _GNU_SOURCE
#include "test/unit/host_run.h"

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
