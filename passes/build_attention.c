/* build_attention.c - attention as statements over (sample, head, query, key, column).
 *
 *   QK   P[.., j, c] += q[t, c] k[j, c]         scores of query t and key j
 *   MX   M[.., j] = max over keys, of visible ones
 *   EX   E[.., j] = exp(scale (P - M)), 0 where hidden
 *   SM   Z[.., j] += E[.., j]
 *   AV   O[.., c, j] += E[.., j] v[j, c]
 *   NR   y[t, c] = O / Z
 *
 * Sums are in SSA form: element j (or c) holds the sum up to it. A query head is two digits, the
 * key head h that it reads and its number g among the heads that read it.
 */
#include "passes/build.h"

enum { S, H, G, T, J, C };

static uint64_t bit(int digit) {
    return UINT64_C(1) << digit;
}

static void add_digit(const struct bf_build *build, struct bf_poly_kernel *kernel, const char *name,
                      int64_t radix, int64_t weight) {
    *bf_push(&kernel->digits) =
        (struct bf_digit){bf_arena_strdup(&build->poly->arena, name), radix, weight, weight};
}

static void add_attr(const struct bf_build *build, struct bf_poly_kernel *kernel, const char *name,
                     int64_t value) {
    bf_ints_set(&kernel->attrs, &build->poly->arena, name, value);
}

/* Keys or values: head h alone says where the columns begin. */
static void read_keys(struct bf_poly *poly, struct bf_poly_kernel *kernel, struct bf_stmt *stmt,
                      const struct bf_operand *operand) {
    struct bf_digit *head = &kernel->digits.data[H];
    int64_t weight = head->weight;
    head->weight = kernel->digits.data[G].weight;
    bf_poly_add_boundary(poly, kernel, stmt, BF_READ, operand,
                         operand->buffer->samples > 1 ? S : -1, bit(J), bit(H) | bit(C));
    head->weight = weight;
}

/* A mask of one row a sample, one row a query, or one row a query and head. */
static void read_mask(struct bf_poly *poly, struct bf_poly_kernel *kernel, struct bf_stmt *stmt,
                      const struct bf_operand *mask) {
    if (mask)
        bf_poly_add_boundary(poly, kernel, stmt, BF_READ, mask, mask->buffer->samples > 1 ? S : -1,
                             mask->rows > 1 ? bit(T) : 0, bit(J));
}

static void scores(const struct bf_build *build, struct bf_poly_kernel *kernel,
                   const struct bf_operand *q, const struct bf_operand *k,
                   const struct bf_operand *mask) {
    struct bf_poly *poly = build->poly;
    uint64_t row = bit(S) | bit(H) | bit(G) | bit(T), pair = row | bit(J), all = pair | bit(C);
    int64_t last_column = kernel->digits.data[C].radix - 1;
    int64_t last_key = kernel->digits.data[J].radix - 1;

    struct bf_stmt *qk = bf_poly_add_stmt(poly, kernel, "QK", BF_STMT_DOT, all);
    bf_poly_add_boundary(poly, kernel, qk, BF_READ, q, q->buffer->samples > 1 ? S : -1, bit(T),
                         bit(H) | bit(G) | bit(C));
    read_keys(poly, kernel, qk, k);
    bf_poly_add_access(poly, kernel, qk, BF_WRITE, "P", all, 0, -1, 0);

    struct bf_stmt *mx = bf_poly_add_stmt(poly, kernel, "MX", BF_STMT_REDUCE, pair);
    bf_poly_add_access(poly, kernel, mx, BF_READ, "P", all, 0, C, last_column);
    read_mask(poly, kernel, mx, mask);
    bf_poly_add_access(poly, kernel, mx, BF_WRITE, "M", pair, 0, -1, 0);

    struct bf_stmt *ex = bf_poly_add_stmt(poly, kernel, "EX", BF_STMT_POINT, pair);
    bf_poly_add_access(poly, kernel, ex, BF_READ, "P", all, 0, C, last_column);
    bf_poly_add_access(poly, kernel, ex, BF_READ, "M", pair, 1, J, last_key);
    read_mask(poly, kernel, ex, mask);
    bf_poly_add_access(poly, kernel, ex, BF_WRITE, "E", pair, 0, -1, 0);

    struct bf_stmt *sm = bf_poly_add_stmt(poly, kernel, "SM", BF_STMT_REDUCE, pair);
    bf_poly_add_access(poly, kernel, sm, BF_READ, "E", pair, 0, -1, 0);
    bf_poly_add_access(poly, kernel, sm, BF_WRITE, "Z", pair, 0, -1, 0);
}

static void values(const struct bf_build *build, struct bf_poly_kernel *kernel,
                   const struct bf_operand *v, const struct bf_operand *y) {
    struct bf_poly *poly = build->poly;
    uint64_t row = bit(S) | bit(H) | bit(G) | bit(T), pair = row | bit(J), all = pair | bit(C);
    int64_t last_key = kernel->digits.data[J].radix - 1;

    struct bf_stmt *av = bf_poly_add_stmt(poly, kernel, "AV", BF_STMT_DOT, all);
    bf_poly_add_access(poly, kernel, av, BF_READ, "E", pair, 0, -1, 0);
    read_keys(poly, kernel, av, v);
    bf_poly_add_access(poly, kernel, av, BF_WRITE, "O", all, 0, -1, 0);

    struct bf_stmt *nr = bf_poly_add_stmt(poly, kernel, "NR", BF_STMT_STORE, row | bit(C));
    bf_poly_add_access(poly, kernel, nr, BF_READ, "O", all, 0, J, last_key);
    bf_poly_add_access(poly, kernel, nr, BF_READ, "Z", pair, 1, J, last_key);
    bf_poly_add_boundary(poly, kernel, nr, BF_WRITE, y, S, bit(T), bit(H) | bit(G) | bit(C));
}

struct bf_poly_kernel *bf_build_attention(const struct bf_build *build, struct bf_operand q,
                                          struct bf_operand k, struct bf_operand v,
                                          const struct bf_operand *mask, struct bf_operand y,
                                          int64_t heads, int64_t kv_heads, bool causal,
                                          int64_t window) {
    struct bf_poly *poly = build->poly;
    struct bf_poly_kernel *kernel = bf_poly_add_kernel(poly, BF_KERNEL_ATTENTION);
    int64_t columns = q.cols / heads, group = heads / kv_heads;
    kernel->what = bf_arena_strdup(&poly->arena, build->what);
    kernel->loc = build->loc;
    kernel->lanes = BF_LANES_ROWS;
    *bf_push(&kernel->inputs) = q;
    *bf_push(&kernel->inputs) = k;
    *bf_push(&kernel->inputs) = v;
    if (mask)
        *bf_push(&kernel->inputs) = *mask;
    *bf_push(&kernel->outputs) = y;
    add_attr(build, kernel, "heads", heads);
    add_attr(build, kernel, "kv_heads", kv_heads);
    add_attr(build, kernel, "causal", causal);
    add_attr(build, kernel, "window", window > 0 ? window : -1);

    if (bf_poly_share_structure(poly, kernel))
        return kernel;
    add_digit(build, kernel, "s", y.buffer->samples, 1);
    add_digit(build, kernel, "h", kv_heads, group * columns);
    add_digit(build, kernel, "g", group, columns);
    add_digit(build, kernel, "t", q.rows, 1);
    add_digit(build, kernel, "j", k.rows, 1);
    add_digit(build, kernel, "c", columns, 1);
    scores(build, kernel, &q, &k, mask);
    values(build, kernel, &v, &y);
    bf_poly_compute_deps(poly, kernel);
    return kernel;
}
