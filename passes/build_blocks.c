/* build_blocks.c - kernels over blocks of columns: block-diagonal products, sums of butterflies,
 * and transposition. */
#include "passes/build.h"

static int add_digit(const struct bf_build *build, struct bf_poly_kernel *kernel, const char *name,
                     int64_t radix, int64_t weight, int64_t out_weight) {
    *bf_push(&kernel->digits) =
        (struct bf_digit){bf_arena_strdup(&build->poly->arena, name), radix, weight, out_weight};
    return (int)kernel->digits.count - 1;
}

static uint64_t bit(int digit) {
    return UINT64_C(1) << digit;
}

static struct bf_poly_kernel *begin(const struct bf_build *build, enum bf_kernel_kind kind,
                                    const struct bf_operand *x, const struct bf_operand *y) {
    struct bf_poly_kernel *kernel = bf_poly_add_kernel(build->poly, kind);
    kernel->what = bf_arena_strdup(&build->poly->arena, build->what);
    kernel->loc = build->loc;
    kernel->lanes = BF_LANES_ROWS;
    *bf_push(&kernel->inputs) = *x;
    *bf_push(&kernel->outputs) = *y;
    return kernel;
}

static void add_params(const struct bf_build *build, struct bf_poly_kernel *kernel,
                       const char *role, const struct bf_param_view *view,
                       const struct bf_param_view *bias) {
    struct bf_poly *poly = build->poly;
    *bf_push(&kernel->params) =
        (struct bf_kernel_param){bf_arena_strdup(&poly->arena, role), bf_poly_view(poly, view)};
    if (bias)
        *bf_push(&kernel->params) = (struct bf_kernel_param){"bias", bf_poly_view(poly, bias)};
}

static void set_attr(const struct bf_build *build, struct bf_poly_kernel *kernel, const char *name,
                     int64_t value) {
    bf_ints_set(&kernel->attrs, &build->poly->arena, name, value);
}

struct bf_poly_kernel *bf_build_block_dense(const struct bf_build *build, struct bf_operand x,
                                            struct bf_operand y, const struct bf_param_view *weight,
                                            const struct bf_param_view *bias) {
    struct bf_poly *poly = build->poly;
    struct bf_poly_kernel *kernel = begin(build, BF_KERNEL_BLOCK_DENSE, &x, &y);
    int64_t blocks = weight->extent[0], outputs = weight->extent[1], columns = weight->extent[2];
    add_params(build, kernel, "weight", weight, bias);
    set_attr(build, kernel, "blocks", blocks);

    int s = add_digit(build, kernel, "s", x.buffer->samples, 1, 1);
    int t = add_digit(build, kernel, "t", x.rows, 1, 1);
    int b = add_digit(build, kernel, "b", blocks, columns, 1);
    int o = add_digit(build, kernel, "o", outputs, 0, blocks);
    int k = add_digit(build, kernel, "k", columns, 1, 0);
    uint64_t row = bit(s) | bit(t), all = row | bit(b) | bit(o) | bit(k);

    struct bf_stmt *dot = bf_poly_add_stmt(poly, kernel, "P", BF_STMT_DOT, all);
    bf_poly_add_boundary(poly, kernel, dot, BF_READ, &x, s, bit(t), bit(b) | bit(k));
    bf_poly_add_access(poly, kernel, dot, BF_READ, "W", bit(b) | bit(o) | bit(k), 1, -1, 0);
    bf_poly_add_access(poly, kernel, dot, BF_WRITE, "Y", all, 0, -1, 0);

    struct bf_stmt *store = bf_poly_add_stmt(poly, kernel, "S", BF_STMT_STORE, all & ~bit(k));
    bf_poly_add_access(poly, kernel, store, BF_READ, "Y", all, 0, k, columns - 1);
    bf_poly_add_boundary(poly, kernel, store, BF_WRITE, &y, s, bit(t), bit(b) | bit(o));
    bf_poly_compute_deps(poly, kernel);
    return kernel;
}

/* Both operands of a 2 x 2 matrix along the acted digit. */
static void pair_access(const struct bf_build *build, struct bf_poly_kernel *kernel,
                        struct bf_stmt *stmt, enum bf_role role, int index, uint64_t mask) {
    const char *array = bf_arena_printf(&build->poly->arena, "X%d", index);
    for (int e = 0; e < 2; e++)
        bf_poly_add_access(build->poly, kernel, stmt, role, array, mask, e, stmt->digit, e);
}

struct bf_poly_kernel *bf_build_block_butterfly(const struct bf_build *build, struct bf_operand x,
                                                struct bf_operand y,
                                                const struct bf_param_view *twiddle,
                                                const struct bf_param_view *bias, bool increasing) {
    struct bf_poly *poly = build->poly;
    struct bf_poly_kernel *kernel = begin(build, BF_KERNEL_BLOCK_BUTTERFLY, &x, &y);
    int64_t rows = twiddle->extent[0], cols = twiddle->extent[1];
    int m = (int)twiddle->extent[3];
    add_params(build, kernel, "twiddle", twiddle, bias);
    set_attr(build, kernel, "tile", INT64_C(1) << m);
    set_attr(build, kernel, "increasing", increasing);

    int s = add_digit(build, kernel, "s", x.buffer->samples, 1, 1);
    int t = add_digit(build, kernel, "t", x.rows, 1, 1);
    int o = add_digit(build, kernel, "o", rows, 0, INT64_C(1) << m);
    int i = add_digit(build, kernel, "i", cols, INT64_C(1) << m, 0);
    int top = (int)kernel->digits.count; /* of d<m-1>; d<k> is digit top + m - 1 - k */
    for (int k = m - 1; k >= 0; k--)
        add_digit(build, kernel, bf_arena_printf(&poly->arena, "d%d", k), 2, INT64_C(1) << k,
                  INT64_C(1) << k);
    uint64_t element = (bit(m) - 1) << top, read = bit(s) | bit(t) | bit(i) | element;
    uint64_t all = read | bit(o);

    struct bf_stmt *load = bf_poly_add_stmt(poly, kernel, "L", BF_STMT_LOAD, read);
    bf_poly_add_boundary(poly, kernel, load, BF_READ, &x, s, bit(t), bit(i) | element);
    bf_poly_add_access(poly, kernel, load, BF_WRITE, "X0", read, 0, -1, 0);
    for (int stage = 0; stage < m; stage++) {
        int acted = top + m - 1 - (increasing ? stage : m - 1 - stage);
        struct bf_stmt *stmt =
            bf_poly_add_stmt(poly, kernel, bf_arena_printf(&poly->arena, "B%d", stage),
                             BF_STMT_BPMM, all & ~bit(acted));
        stmt->digit = acted;
        stmt->stage = stage;
        pair_access(build, kernel, stmt, BF_READ, stage, stage ? all : read);
        bf_poly_add_access(poly, kernel, stmt, BF_READ, bf_arena_printf(&poly->arena, "W%d", stage),
                           (element | bit(o) | bit(i)) & ~bit(acted), 0, -1, 0);
        pair_access(build, kernel, stmt, BF_WRITE, stage + 1, all);
    }
    struct bf_stmt *sum = bf_poly_add_stmt(poly, kernel, "A", BF_STMT_REDUCE, all);
    bf_poly_add_access(poly, kernel, sum, BF_READ, bf_arena_printf(&poly->arena, "X%d", m), all, 0,
                       -1, 0);
    bf_poly_add_access(poly, kernel, sum, BF_WRITE, "Y", all, 0, -1, 0);

    struct bf_stmt *store = bf_poly_add_stmt(poly, kernel, "S", BF_STMT_STORE, all & ~bit(i));
    bf_poly_add_access(poly, kernel, store, BF_READ, "Y", all, 0, i, cols - 1);
    bf_poly_add_boundary(poly, kernel, store, BF_WRITE, &y, s, bit(t), bit(o) | element);
    bf_poly_compute_deps(poly, kernel);
    return kernel;
}

struct bf_poly_kernel *bf_build_transpose(const struct bf_build *build, struct bf_operand x,
                                          struct bf_operand y) {
    struct bf_poly *poly = build->poly;
    struct bf_poly_kernel *kernel = begin(build, BF_KERNEL_TRANSPOSE, &x, &y);
    int s = add_digit(build, kernel, "s", x.buffer->samples, 1, 1);
    int t = add_digit(build, kernel, "t", x.rows, 1, 1),
        c = add_digit(build, kernel, "c", x.cols, 1, 1);
    struct bf_stmt *copy =
        bf_poly_add_stmt(poly, kernel, "C", BF_STMT_COPY, bit(s) | bit(t) | bit(c));
    bf_poly_add_boundary(poly, kernel, copy, BF_READ, &x, s, bit(t), bit(c));
    bf_poly_add_boundary(poly, kernel, copy, BF_WRITE, &y, s, bit(c), bit(t));
    bf_poly_compute_deps(poly, kernel);
    return kernel;
}
