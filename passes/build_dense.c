/* build_dense.c - matrix products: P[.., k + 1] = P[.., k] + x[k] w[o, k], from the bias on. */
#include "passes/build.h"

static int add_digit(const struct bf_build *build, struct bf_poly_kernel *kernel, const char *name,
                     int64_t radix) {
    *bf_push(&kernel->digits) =
        (struct bf_digit){bf_arena_strdup(&build->poly->arena, name), radix, 1, 1};
    return (int)kernel->digits.count - 1;
}

static uint64_t bit(int digit) {
    return UINT64_C(1) << digit;
}

struct bf_poly_kernel *bf_build_dense(const struct bf_build *build, struct bf_operand x,
                                      struct bf_operand y, const struct bf_param_view *weight,
                                      const struct bf_param_view *bias) {
    struct bf_poly *poly = build->poly;
    struct bf_poly_kernel *kernel = bf_poly_add_kernel(poly, BF_KERNEL_DENSE);
    kernel->what = bf_arena_strdup(&poly->arena, build->what);
    kernel->loc = build->loc;
    kernel->lanes = BF_LANES_ROWS;
    *bf_push(&kernel->inputs) = x;
    *bf_push(&kernel->outputs) = y;
    *bf_push(&kernel->params) = (struct bf_kernel_param){"weight", bf_poly_view(poly, weight)};
    if (bias)
        *bf_push(&kernel->params) = (struct bf_kernel_param){"bias", bf_poly_view(poly, bias)};

    /* Sums are multiplied by 2^exponent before they are rounded. */
    bf_ints_set(&kernel->attrs, &poly->arena, "exponent", x.buffer->exponent - y.buffer->exponent);

    if (bf_poly_share_structure(poly, kernel))
        return kernel;
    int s = add_digit(build, kernel, "s", x.buffer->samples);
    int t = add_digit(build, kernel, "t", x.rows), o = add_digit(build, kernel, "o", y.cols);
    int k = add_digit(build, kernel, "k", x.cols);
    uint64_t row = bit(s) | bit(t);

    struct bf_stmt *dot = bf_poly_add_stmt(poly, kernel, "P", BF_STMT_DOT, row | bit(o) | bit(k));
    bf_poly_add_boundary(poly, kernel, dot, BF_READ, &x, s, bit(t), bit(k));
    bf_poly_add_access(poly, kernel, dot, BF_READ, "W", bit(o) | bit(k), 1, -1, 0);
    bf_poly_add_access(poly, kernel, dot, BF_WRITE, "Y", row | bit(o) | bit(k), 0, -1, 0);

    struct bf_stmt *store = bf_poly_add_stmt(poly, kernel, "S", BF_STMT_STORE, row | bit(o));
    bf_poly_add_access(poly, kernel, store, BF_READ, "Y", row | bit(o) | bit(k), 0, k, x.cols - 1);
    bf_poly_add_boundary(poly, kernel, store, BF_WRITE, &y, s, bit(t), bit(o));
    bf_poly_compute_deps(poly, kernel);
    return kernel;
}
