/* build_stages.c - butterfly and FFT kernels: a load, one statement a stage, a store.
 *
 *   buffer --L--> X0 --B0--> X1 --B1--> ... --> Xm --S--> buffer
 *
 * The elements of every array are tuples of digits; a stage acts along one and leaves the others.
 */
#include "passes/build.h"

#include <stdlib.h>

#include "ir/scaled.h"

static int add_digit(struct bf_build build, struct bf_poly_kernel *kernel, const char *name,
                     int64_t radix, int64_t weight, int64_t out_weight) {
    *bf_push(&kernel->digits) =
        (struct bf_digit){bf_arena_strdup(&build.poly->arena, name), radix, weight, out_weight};
    return (int)kernel->digits.count - 1;
}

static uint64_t bit(int digit) {
    return digit < 0 ? 0 : UINT64_C(1) << digit;
}

static struct bf_poly_kernel *begin(const struct bf_build *build, enum bf_kernel_kind kind,
                                    enum bf_lane_axis lanes) {
    struct bf_poly_kernel *kernel = bf_poly_add_kernel(build->poly, kind);
    kernel->what = bf_arena_strdup(&build->poly->arena, build->what);
    kernel->loc = build->loc;
    kernel->lanes = lanes;
    return kernel;
}

static void add_param(const struct bf_build *build, struct bf_poly_kernel *kernel, const char *role,
                      const struct bf_param_view *view) {
    *bf_push(&kernel->params) = (struct bf_kernel_param){bf_arena_strdup(&build->poly->arena, role),
                                                         bf_poly_view(build->poly, view)};
}

static void set_attr(const struct bf_build *build, struct bf_poly_kernel *kernel, const char *name,
                     int64_t value) {
    bf_ints_set(&kernel->attrs, &build->poly->arena, name, value);
}

/* X<index>[mask] is read (or written) by a stage: one access an operand of the digit. */
static void stage_access(const struct bf_build *build, struct bf_poly_kernel *kernel,
                         struct bf_stmt *stmt, enum bf_role role, const char *plane, int index,
                         uint64_t mask) {
    char array[32];
    snprintf(array, sizeof array, "%s%d", plane, index);
    for (int64_t e = 0; e < kernel->digits.data[stmt->digit].radix; e++)
        bf_poly_add_access(build->poly, kernel, stmt, role, array, mask, (int)e, stmt->digit, e);
}

struct bf_poly_kernel *bf_build_butterfly(const struct bf_build *build, struct bf_operand x,
                                          struct bf_operand y, const struct bf_param_view *twiddle,
                                          const struct bf_param_view *bias, bool increasing,
                                          const struct bf_poly_kernel *like) {
    struct bf_poly *poly = build->poly;
    struct bf_poly_kernel *kernel = begin(build, BF_KERNEL_BUTTERFLY, BF_LANES_ROWS);
    int64_t stacks = twiddle->extent[0], blocks = twiddle->extent[1];
    int m = (int)twiddle->extent[2];
    *bf_push(&kernel->inputs) = x;
    *bf_push(&kernel->outputs) = y;
    add_param(build, kernel, "twiddle", twiddle);
    if (bias)
        add_param(build, kernel, "bias", bias);
    set_attr(build, kernel, "n", INT64_C(1) << m);
    set_attr(build, kernel, "stacks", stacks);
    set_attr(build, kernel, "blocks", blocks);
    set_attr(build, kernel, "increasing", increasing);
    if (like)
        bf_scaled_copy(poly, kernel, like);

    if (bf_poly_share_structure(poly, kernel))
        return kernel;
    int s = add_digit(*build, kernel, "s", x.buffer->samples, 1, 1);
    int t = add_digit(*build, kernel, "t", x.rows, 1, 1);
    int j = stacks > 1 ? add_digit(*build, kernel, "j", stacks, 0, INT64_C(1) << m) : -1;
    int top = (int)kernel->digits.count; /* of d<m-1>; d<k> is digit top + m - 1 - k */
    for (int k = m - 1; k >= 0; k--)
        add_digit(*build, kernel, bf_arena_printf(&poly->arena, "d%d", k), 2, INT64_C(1) << k,
                  INT64_C(1) << k);
    uint64_t element = (bit(m) - 1) << top, whole = bit(s) | bit(t) | element;

    struct bf_stmt *load = bf_poly_add_stmt(poly, kernel, "L", BF_STMT_LOAD, whole);
    bf_poly_add_boundary(poly, kernel, load, BF_READ, &x, s, bit(t), element);
    bf_poly_add_access(poly, kernel, load, BF_WRITE, "X0", whole, 0, -1, 0);
    int steps = m * (int)blocks;
    for (int i = 0; i < steps; i++) {
        int block = i / m, stage = i % m;
        int k = increasing == (block % 2 == 0) ? stage : m - 1 - stage;
        int acted = top + m - 1 - k;
        uint64_t mask = (whole | bit(j)) & ~bit(acted);
        struct bf_stmt *stmt = bf_poly_add_stmt(
            poly, kernel, bf_arena_printf(&poly->arena, "B%d", i), BF_STMT_BPMM, mask);
        stmt->digit = acted;
        stmt->block = block;
        stmt->stage = stage;
        stmt->shift = bf_scaled_shift(kernel, 1 + i);
        stage_access(build, kernel, stmt, BF_READ, "X", i, i ? whole | bit(j) : whole);
        bf_poly_add_access(poly, kernel, stmt, BF_READ, bf_arena_printf(&poly->arena, "W%d", i),
                           (element | bit(j)) & ~bit(acted), 0, -1, 0);
        stage_access(build, kernel, stmt, BF_WRITE, "X", i + 1, whole | bit(j));
    }
    if (steps) /* the last rounding undoes the exponent of the input */
        kernel->stmts.data[steps].shift = y.buffer->exponent - x.buffer->exponent;
    struct bf_stmt *store = bf_poly_add_stmt(poly, kernel, "S", BF_STMT_STORE, whole | bit(j));
    bf_poly_add_access(poly, kernel, store, BF_READ, bf_arena_printf(&poly->arena, "X%d", steps),
                       steps ? whole | bit(j) : whole, 0, -1, 0);
    bf_poly_add_boundary(poly, kernel, store, BF_WRITE, &y, s, bit(t), element | bit(j));
    bf_poly_compute_deps(poly, kernel);
    return kernel;
}

/* Prime factors in the order in which the stages run, the largest first: early stages need few
 * different twiddles, and those of a large radix are many. */
static int factors_of(int64_t n, int64_t factors[64]) {
    int count = 0;
    for (int64_t f = 2; n > 1; f += f == 2 ? 1 : 2)
        for (; n % f == 0; n /= f)
            factors[count++] = f;
    for (int i = 0; i < count / 2; i++) {
        int64_t f = factors[i];
        factors[i] = factors[count - 1 - i];
        factors[count - 1 - i] = f;
    }
    return count;
}

/* floor(log2(r) / 2): the largest h with 4^h <= r. */
static int half_log2(int64_t r) {
    int h = 0;
    while (r >= 4) {
        r /= 4;
        h++;
    }
    return h;
}

/* What a transform is made of. */
struct transform {
    enum bf_lane_axis lanes;
    struct bf_operand re, im, out_re, out_im;
    bool complex_in, complex_out;
    int64_t n;
    bool inverse;
    /* A chirp transform of `chirp` points (0: none): its first part multiplies before it
     * transforms, its second one before and after. */
    int64_t chirp;
    int part, chirp_shift; /* its result arises over 2^chirp_shift */
    bool chirp_inverse;
};

/* X<i>, Y<i> times a factor of each element give X<i + 1>, Y<i + 1>. */
static struct bf_stmt *add_factors(const struct bf_build *build, struct bf_poly_kernel *kernel,
                                   const char *name, uint64_t whole, int i, bool complex) {
    struct bf_poly *poly = build->poly;
    struct bf_stmt *stmt = bf_poly_add_stmt(poly, kernel, name, BF_STMT_FFT, whole);
    for (int plane = 0; plane < 2; plane++) {
        char from[32], to[32];
        snprintf(from, sizeof from, "%c%d", "XY"[plane], i);
        snprintf(to, sizeof to, "%c%d", "XY"[plane], i + 1);
        bf_poly_add_access(poly, kernel, stmt, BF_READ, from, whole, plane, -1, 0);
        if (!plane || complex)
            bf_poly_add_access(poly, kernel, stmt, BF_WRITE, to, whole, plane, -1, 0);
    }
    return stmt;
}

static void set_attrs(const struct bf_build *build, struct bf_poly_kernel *kernel,
                      const struct transform *x) {
    set_attr(build, kernel, "n", x->n);
    set_attr(build, kernel, "inverse", x->inverse);
    if (x->chirp) {
        set_attr(build, kernel, "chirp", x->chirp);
        set_attr(build, kernel, "chirp_part", x->part);
        set_attr(build, kernel, "chirp_shift", x->chirp_shift);
        set_attr(build, kernel, "chirp_inverse", x->chirp_inverse);
    }
}

/* Least h with 2^h >= r. */
static int log2_up(int64_t r) {
    return r > 1 ? (int)bf_log2_floor((uint64_t)(r - 1)) + 1 : 0;
}

/* How far results are shifted after the stages that make transforms of `product` points. Sums of
 * independent numbers grow like the root of their count, but those of equal ones like the count: if
 * the whole result is known to need more, the stages before it must leave at most what the rest of
 * them can add. */
static int shift_after(int64_t n, int64_t product, int total) {
    int most = total - log2_up(n / product), usual = half_log2(product);
    return most > usual ? most : usual;
}

/* Decimation in time. Digit d<s> is the s-th to be transformed: it counts time with weight N / M_s
 * before stage s and frequency with weight M_(s-1) after it, M_s being the product of the first s +
 * 1 radices; so the digits of the result are those of the input reversed. */
static struct bf_poly_kernel *build_transform(const struct bf_build *build,
                                              const struct transform *x) {
    struct bf_poly *poly = build->poly;
    enum bf_lane_axis lanes = x->lanes;
    struct bf_poly_kernel *kernel = begin(build, BF_KERNEL_FFT, lanes);
    const struct bf_operand *re = &x->re, *im = x->complex_in ? &x->im : NULL;
    const struct bf_operand *out_re = &x->out_re, *out_im = x->complex_out ? &x->out_im : NULL;
    int64_t n = x->n;
    int64_t factors[64];
    int m = factors_of(n, factors);
    *bf_push(&kernel->inputs) = *re;
    if (im)
        *bf_push(&kernel->inputs) = *im;
    *bf_push(&kernel->outputs) = *out_re;
    if (out_im)
        *bf_push(&kernel->outputs) = *out_im;
    set_attrs(build, kernel, x);

    if (bf_poly_share_structure(poly, kernel))
        return kernel;
    int s = add_digit(*build, kernel, "s", re->buffer->samples, 1, 1);
    int t = lanes == BF_LANES_ROWS ? add_digit(*build, kernel, "t", re->rows, 1, 1)
                                   : add_digit(*build, kernel, "c", re->cols, 1, 1);
    int top = (int)kernel->digits.count;
    int64_t below = n; /* M_s, from the last stage down */
    for (int k = m - 1; k >= 0; k--) {
        add_digit(*build, kernel, bf_arena_printf(&poly->arena, "d%d", k), factors[k], n / below,
                  below / factors[k]);
        below /= factors[k];
    }
    uint64_t element = (bit(m) - 1) << top, whole = bit(s) | bit(t) | element;
    uint64_t rows = lanes == BF_LANES_ROWS ? bit(t) : element;
    uint64_t cols = lanes == BF_LANES_ROWS ? element : bit(t);

    struct bf_stmt *load = bf_poly_add_stmt(poly, kernel, "L", BF_STMT_LOAD, whole);
    bf_poly_add_boundary(poly, kernel, load, BF_READ, re, s, rows, cols);
    bf_poly_add_access(poly, kernel, load, BF_WRITE, "X0", whole, 0, -1, 0);
    if (im)
        bf_poly_add_boundary(poly, kernel, load, BF_READ, im, s, rows, cols);
    bf_poly_add_access(poly, kernel, load, BF_WRITE, "Y0", whole, 1, -1, 0);
    int before = x->chirp ? 1 : 0, after = x->part == 2 ? 1 : 0, stages = before + m + after;
    if (before)
        add_factors(build, kernel, "C0", whole, 0, true);
    int64_t product = 1;
    int total = out_re->buffer->exponent - re->buffer->exponent, done = 0;
    for (int k = 0; k < m; k++) {
        int acted = top + m - 1 - k, i = before + k;
        struct bf_stmt *stmt =
            bf_poly_add_stmt(poly, kernel, bf_arena_printf(&poly->arena, "F%d", k), BF_STMT_FFT,
                             whole & ~bit(acted));
        stmt->digit = acted;
        stmt->stage = k;
        product *= factors[k];
        int want = k == m - 1 && !after ? total
                   : before || after    ? half_log2(product)
                                        : shift_after(n, product, total);
        stmt->shift = want - done;
        done = want;
        stage_access(build, kernel, stmt, BF_READ, "X", i, whole);
        stage_access(build, kernel, stmt, BF_READ, "Y", i, whole);
        stage_access(build, kernel, stmt, BF_WRITE, "X", i + 1, whole);
        if (out_im || i + 1 < stages)
            stage_access(build, kernel, stmt, BF_WRITE, "Y", i + 1, whole);
    }
    if (after) /* the input came over 2^half_log2(n), as the factors of C0 know */
        add_factors(build, kernel, "C1", whole, before + m, out_im)->shift =
            total + half_log2(n) - x->chirp_shift;
    struct bf_stmt *store = bf_poly_add_stmt(poly, kernel, "S", BF_STMT_STORE, whole);
    bf_poly_add_access(poly, kernel, store, BF_READ, bf_arena_printf(&poly->arena, "X%d", stages),
                       whole, 0, -1, 0);
    bf_poly_add_boundary(poly, kernel, store, BF_WRITE, out_re, s, rows, cols);
    if (out_im) {
        bf_poly_add_access(poly, kernel, store, BF_READ,
                           bf_arena_printf(&poly->arena, "Y%d", stages), whole, 1, -1, 0);
        bf_poly_add_boundary(poly, kernel, store, BF_WRITE, out_im, s, rows, cols);
    }
    bf_poly_compute_deps(poly, kernel);
    return kernel;
}

/* ---- lengths with a prime factor above 7 (Bluestein, 1970) ----
 *
 *   y[k] = c[k] sum over n of (x[n] c[n]) w[k - n],   c[n] = exp(-pi i n^2 / N),  w = 1 / c
 *
 * is a convolution: transform x c, padded to M >= 2 N - 1 points, multiply by the transform of w,
 * transform back, multiply by c. Two kernels with a buffer of M points between them.
 */

enum { LARGEST_RADIX = 7 };

static bool has_large_factor(int64_t n) {
    for (int64_t f = 2; f <= LARGEST_RADIX; f++)
        while (n % f == 0)
            n /= f;
    return n > 1;
}

/* The least of 2^k, 3 2^k, 5 2^k that is not below `least`. */
static int64_t padded_points(int64_t least) {
    int64_t best = INT64_MAX;
    for (int64_t odd = 1; odd <= 5; odd += 2) {
        int64_t n = odd;
        while (n < least)
            n *= 2;
        best = n < best ? n : best;
    }
    return best;
}

static struct bf_operand chirp_buffer(const struct bf_build *build, const struct transform *x,
                                      int64_t points, const char *plane) {
    const struct bf_buffer *like = x->re.buffer;
    struct bf_buffer *buffer = bf_poly_add_buffer(
        build->poly,
        bf_arena_printf(&build->poly->arena, "k%zu.chirp.%s", build->poly->kernels.count, plane),
        BF_BUFFER_TEMP);
    buffer->samples = like->samples;
    buffer->rows = x->lanes == BF_LANES_ROWS ? x->re.rows : points;
    buffer->cols = x->lanes == BF_LANES_ROWS ? points : x->re.cols;
    buffer->exponent = like->exponent + half_log2(points);
    buffer->loc = build->loc;
    return bf_operand_whole(buffer);
}

static struct bf_poly_kernel *build_chirp(const struct bf_build *build, struct transform x) {
    int64_t points = padded_points(2 * x.n - 1);
    struct bf_operand re = chirp_buffer(build, &x, points, "re");
    struct bf_operand im = chirp_buffer(build, &x, points, "im");
    struct transform first = x, second = x;
    first.n = second.n = points;
    first.chirp = second.chirp = x.n;
    first.chirp_inverse = second.chirp_inverse = x.inverse;
    int shift = x.out_re.buffer->exponent - x.re.buffer->exponent;
    first.chirp_shift = second.chirp_shift = shift > half_log2(x.n) ? shift : half_log2(x.n);
    first.part = 1;
    first.inverse = false;
    first.out_re = re;
    first.out_im = im;
    first.complex_out = true;
    second.part = 2;
    second.inverse = true;
    second.re = re;
    second.im = im;
    second.complex_in = true;
    build_transform(build, &first);
    return build_transform(build, &second);
}

static struct transform transform_of(enum bf_lane_axis lanes, const struct bf_operand *re,
                                     const struct bf_operand *im, const struct bf_operand *out_re,
                                     const struct bf_operand *out_im) {
    struct transform x = {.lanes = lanes,
                          .re = *re,
                          .out_re = *out_re,
                          .complex_in = im != NULL,
                          .complex_out = out_im != NULL};
    if (im)
        x.im = *im;
    if (out_im)
        x.out_im = *out_im;
    return x;
}

struct bf_poly_kernel *bf_build_fft(const struct bf_build *build, enum bf_lane_axis lanes,
                                    const struct bf_operand *re, const struct bf_operand *im,
                                    const struct bf_operand *out_re,
                                    const struct bf_operand *out_im, bool inverse) {
    struct transform x = transform_of(lanes, re, im, out_re, out_im);
    x.n = lanes == BF_LANES_ROWS ? re->cols : re->rows;
    x.inverse = inverse;
    return has_large_factor(x.n) ? build_chirp(build, x) : build_transform(build, &x);
}

/* A part of a chirp transform has fewer elements on one side than points. */
struct bf_poly_kernel *bf_build_fft_like(const struct bf_build *build,
                                         const struct bf_poly_kernel *like,
                                         const struct bf_operand *re, const struct bf_operand *im,
                                         const struct bf_operand *out_re,
                                         const struct bf_operand *out_im) {
    struct transform x = transform_of(like->lanes, re, im, out_re, out_im);
    x.n = bf_ints_get(&like->attrs, "n");
    x.inverse = bf_ints_get(&like->attrs, "inverse") != 0;
    x.chirp = bf_ints_find(&like->attrs, "chirp", 0);
    x.part = (int)bf_ints_find(&like->attrs, "chirp_part", 0);
    x.chirp_shift = (int)bf_ints_find(&like->attrs, "chirp_shift", 0);
    x.chirp_inverse = bf_ints_find(&like->attrs, "chirp_inverse", 0) != 0;
    return build_transform(build, &x);
}
