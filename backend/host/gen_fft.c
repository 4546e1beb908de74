/* gen_fft.c - code for FFT kernels of any size.
 *
 *   along rows' columns (lanes = rows)     a unit is `lanes` rows: transposed into scratch,
 *                                          transformed there, transposed back
 *   along the rows (lanes = columns)       a unit is some columns of a sample, used as they lie
 *
 * Sizes with a prime factor above 7 (Bluestein, 1970):
 *
 *   y[k] = c[k] sum over n of (x[n] c[n]) w[k - n],  c[n] = exp(-pi i n^2 / N),  w = 1 / c
 *
 * a convolution, by transforms of M >= 2 N - 1 points. poly has them as two kernels with a buffer
 * of M points between them; here the pair is one function.
 *
 * An inverse transform is a forward one of (im, re) in place of (re, im), on both sides.
 */
#include <stdlib.h>

#include "backend/host/fft.h"
#include "backend/host/gen.h"
#include "ir/angles.h"
#include "ir/recipe.h"

/* ---- what there is to do ---- */

struct transform {
    bool rows;         /* lanes are rows */
    int64_t n, padded; /* points; M of a chirp transform, else 0 */
    bool inverse;
    struct bf_fft fft; /* of n or M points */
    int64_t strips;    /* vectors of columns a unit: 1 for lanes = rows */
    unsigned lanes;
};

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

/* As many columns as keep the scratch in the L2 cache, and lines of rows whole. */
static int64_t strips_of(const struct transform *t, int64_t cols) {
    if (t->rows || t->padded)
        return 1;
    int64_t most = 16384 / (t->n * t->lanes), all = cols / t->lanes;
    most = most > 4 ? 4 : most;
    most = most > all ? all : most;
    return most > 1 ? most : 1;
}

static struct transform transform_of(const struct bf_poly_kernel *kernel, unsigned lanes,
                                     unsigned largest) {
    struct transform t = {.rows = kernel->lanes == BF_LANES_ROWS, .lanes = lanes};
    int64_t chirp = bf_ints_find(&kernel->attrs, "chirp", 0);
    t.n = chirp ? chirp : bf_ints_get(&kernel->attrs, "n");
    t.inverse = bf_ints_get(&kernel->attrs, chirp ? "chirp_inverse" : "inverse") != 0;
    if (!bf_fft_plan(&t.fft, t.n, largest)) {
        t.padded = padded_points(2 * t.n - 1);
        bf_fft_plan(&t.fft, t.padded, largest);
    }
    t.strips = strips_of(&t, kernel->inputs.data[0].cols);
    return t;
}

/* Floats of scratch from a point to the next. */
static int64_t pitch_of(const struct transform *t) {
    return 2 * t->lanes * t->strips;
}

/* Buffers of `fft.n` points: two between the passes; one more for transposing, two for a chirp. */
static int64_t buffers_of(const struct transform *t) {
    return 2 + (t->rows ? 1 : 0) + (t->padded ? 2 : 0);
}

/* ---- packs: 0 twiddles; 1 chirp c[n]; 2 transform of w, over M ---- */

static struct transform transform_of_pack(const struct bf_host_pack *pack) {
    return transform_of(pack->kernel, (unsigned)bf_ints_get(&pack->choice->params, "lanes"),
                        (unsigned)bf_ints_get(&pack->choice->params, "largest"));
}

static void fill_twiddles(const struct bf_host_pack *pack, const struct bf_weights *values,
                          void *out) {
    (void)values;
    struct transform t = transform_of_pack(pack);
    bf_fft_pack(&t.fft, out);
}

static void fill_chirp(const struct bf_host_pack *pack, const struct bf_weights *values,
                       void *out) {
    (void)values;
    struct transform t = transform_of_pack(pack);
    float *to = out;
    for (int64_t i = 0; i < t.n; i++) {
        double c, s;
        bf_root_of_unity(i * i % (2 * t.n), 2 * t.n, &c, &s);
        *to++ = (float)c;
        *to++ = (float)-s;
    }
}

/* H[k] = (w[0] + sum over 0 < n < N of 2 w[n] cos(2 pi n k / M)) / M: w is even. */
static void fill_filter(const struct bf_host_pack *pack, const struct bf_weights *values,
                        void *out) {
    (void)values;
    struct transform t = transform_of_pack(pack);
    int64_t points = t.padded;
    double *cosine = bf_alloc((size_t)points * sizeof *cosine), unused;
    double *w = bf_alloc((size_t)t.n * 2 * sizeof *w);
    float *to = out;
    for (int64_t i = 0; i < points; i++)
        bf_root_of_unity(i, points, &cosine[i], &unused);
    for (int64_t i = 0; i < t.n; i++)
        bf_root_of_unity(i * i % (2 * t.n), 2 * t.n, &w[2 * i], &w[2 * i + 1]);
    for (int64_t k = 0; k < points; k++) {
        double re = w[0], im = w[1];
        for (int64_t i = 1, at = k; i < t.n; i++) {
            re += 2 * w[2 * i] * cosine[at];
            im += 2 * w[2 * i + 1] * cosine[at];
            at = (at + k) % points;
        }
        *to++ = (float)(re / (double)points);
        *to++ = (float)(im / (double)points);
    }
    free(w);
    free(cosine);
}

static void add_pack(struct bf_host_choice *choice, int64_t floats,
                     void (*fill)(const struct bf_host_pack *, const struct bf_weights *, void *)) {
    *bf_push(&choice->packs) = (struct bf_host_pack){
        .size = (floats > 0 ? floats : 1) * (int64_t)sizeof(float), .fill = fill};
}

/* ---- the choice ---- */

/* The second kernel of a chirp transform; NULL if it is none, or something else reads between. */
static const struct bf_poly_kernel *last_kernel(const struct bf_host_site *site) {
    const struct bf_poly_kernel *first = site->kernels[0];
    if (!bf_ints_find(&first->attrs, "chirp", 0))
        return first;
    if (site->count < 2 || bf_ints_find(&first->attrs, "chirp_part", 0) != 1)
        return NULL;
    const struct bf_poly_kernel *second = site->kernels[1];
    bool pair = second->kind == BF_KERNEL_FFT && second->inputs.count == 2 &&
                bf_ints_find(&second->attrs, "chirp_part", 0) == 2;
    for (size_t i = 0; pair && i < 2; i++)
        pair = second->inputs.data[i].buffer == first->outputs.data[i].buffer &&
               bf_host_only_reader(site->poly, first->outputs.data[i].buffer, second);
    return pair ? second : NULL;
}

static bool all_linear(const struct bf_host_site *site, const struct bf_poly_kernel *last) {
    const struct bf_poly_kernel *first = site->kernels[0];
    bool linear = true;
    for (size_t i = 0; i < first->inputs.count; i++)
        linear &= bf_host_operand(site->poly, &first->inputs.data[i]).linear;
    for (size_t i = 0; i < last->outputs.count; i++)
        linear &= bf_host_operand(site->poly, &last->outputs.data[i]).linear;
    return linear;
}

/* Units of a sample for lanes = columns. */
static int64_t chunks_of(const struct transform *t, int64_t cols) {
    int64_t wide = t->lanes * t->strips;
    return (cols + wide - 1) / wide;
}

static bool choose(const struct bf_host_site *site, struct bf_host_choice *choice) {
    const struct bf_poly_kernel *first = site->kernels[0], *last = last_kernel(site);
    unsigned lanes = site->target->lanes;
    unsigned largest = site->target->registers >= 32 ? 16 : 8;
    if (!last || (first->lanes == BF_LANES_ROWS && !all_linear(site, last)))
        return false;
    struct transform t = transform_of(first, lanes, largest);
    struct bf_host_operand x = bf_host_operand(site->poly, &first->inputs.data[0]);
    choice->kernels = last == first ? 1 : 2;
    if (t.rows) {
        choice->unit_rows = lanes;
        choice->units = (x.samples * x.rows + lanes - 1) / lanes;
    } else {
        choice->units = x.samples * chunks_of(&t, x.cols);
    }
    choice->scratch = buffers_of(&t) * t.fft.n * pitch_of(&t) * (int64_t)sizeof(float);
    choice->epilogue = last->outputs.count == 1;
    bf_ints_set(&choice->params, site->arena, "lanes", lanes);
    bf_ints_set(&choice->params, site->arena, "largest", largest);
    add_pack(choice, bf_fft_twiddles(&t.fft), fill_twiddles);
    if (t.padded) {
        add_pack(choice, 2 * t.n, fill_chirp);
        add_pack(choice, 2 * t.padded, fill_filter);
    }
    return true;
}

/* ---- code ---- */

struct state {
    struct bf_gen *gen;
    struct bf_ll *ll;
    struct transform t;
    double scale;
    unsigned valid;           /* lanes that exist */
    LLVMValueRef sample, row; /* lanes = columns: the sample; lanes = rows: the first row of all */
    LLVMValueRef col;         /* lanes = columns: the first */
    LLVMValueRef strips;      /* their count; NULL: 1 */
};

/* Number `index` of the buffers of scratch. */
static LLVMValueRef buffer(const struct state *s, int64_t index) {
    return bf_ll_at_int(s->ll, s->gen->scratch, index * s->t.fft.n * pitch_of(&s->t));
}

static LLVMValueRef buffer_at(const struct state *s, LLVMValueRef base, LLVMValueRef point,
                              LLVMValueRef strip) {
    LLVMValueRef at = bf_ll_dot(s->ll, point, pitch_of(&s->t), strip, 2 * s->t.lanes);
    return bf_ll_at(s->ll, base, at);
}

static struct bf_complex load_pair(const struct state *s, LLVMValueRef at) {
    return bf_complex_load(s->ll, at, s->t.lanes);
}
static void store_pair(const struct state *s, LLVMValueRef at, struct bf_complex value) {
    bf_complex_store(s->ll, at, value, s->t.lanes);
}

static struct bf_complex swapped(struct bf_complex x, bool swap) {
    return swap ? (struct bf_complex){x.im, x.re} : x;
}

/* Where lanes are rows they are counted through all samples. */
static LLVMValueRef offset_of(const struct state *s, const struct bf_host_operand *shape,
                              LLVMValueRef row, LLVMValueRef col) {
    if (s->t.rows)
        return bf_ll_add(s->ll, bf_ll_mul_int(s->ll, row, shape->pitch), col);
    return bf_gen_offset(s->ll, shape, s->sample, row, col);
}

/* Plane `plane` of an operand, `count` columns from (row of the sample, col) on. */
static LLVMValueRef load_plane(struct state *s, unsigned plane, LLVMValueRef row, LLVMValueRef col,
                               unsigned count) {
    struct bf_host_operand shape = bf_gen_input_shape(s->gen, plane);
    LLVMValueRef at = offset_of(s, &shape, row, col);
    LLVMValueRef pointer = bf_gen_element(s->ll, &shape, bf_gen_input(s->gen, plane), at);
    return bf_ll_resize(s->ll, bf_ll_load_element(s->ll, shape.element, pointer, count),
                        s->t.lanes);
}

static void store_plane(struct state *s, unsigned plane, LLVMValueRef row, LLVMValueRef col,
                        unsigned count, LLVMValueRef value) {
    struct bf_host_operand shape = bf_gen_output_shape(s->gen, plane);
    if (s->scale != 1)
        value = bf_ll_fmul(s->ll, value, bf_ll_const(s->ll, bf_ll_lanes(value), s->scale));
    value = bf_ll_resize(s->ll, value, count);
    if (s->gen->last->outputs.count == 1) {
        LLVMValueRef all = bf_ll_add(s->ll, bf_ll_mul_int(s->ll, s->sample, shape.rows), row);
        value = bf_gen_epilogue(s->gen, value, all, col);
    }
    LLVMValueRef at = offset_of(s, &shape, row, col);
    LLVMValueRef pointer = bf_gen_element(s->ll, &shape, bf_gen_output(s->gen, plane), at);
    bf_ll_store_element(s->ll, shape.element, value, pointer);
}

/* ---- lanes = columns: points are rows ---- */

static struct bf_complex load_column(void *user, LLVMValueRef point, LLVMValueRef strip) {
    struct state *s = user;
    LLVMValueRef col = bf_ll_add(s->ll, s->col, bf_ll_mul_int(s->ll, strip, s->t.lanes));
    struct bf_complex x = {load_plane(s, 0, point, col, s->valid), NULL};
    if (s->gen->first->inputs.count > 1)
        x.im = load_plane(s, 1, point, col, s->valid);
    return swapped(x, s->t.inverse);
}

static void store_column(void *user, LLVMValueRef point, LLVMValueRef strip,
                         struct bf_complex value) {
    struct state *s = user;
    LLVMValueRef col = bf_ll_add(s->ll, s->col, bf_ll_mul_int(s->ll, strip, s->t.lanes));
    LLVMValueRef zero = bf_ll_const(s->ll, s->t.lanes, 0);
    value = swapped(value, s->t.inverse);
    store_plane(s, 0, point, col, s->valid, value.re ? value.re : zero);
    if (s->gen->last->outputs.count > 1)
        store_plane(s, 1, point, col, s->valid, value.im ? value.im : zero);
}

/* ---- lanes = rows: points are columns, in buffer 2 ---- */

static struct bf_complex load_point(void *user, LLVMValueRef point, LLVMValueRef strip) {
    struct state *s = user;
    struct bf_complex x = load_pair(s, buffer_at(s, buffer(s, 2), point, strip));
    if (s->gen->first->inputs.count == 1)
        x.im = NULL;
    return swapped(x, s->t.inverse);
}

static void store_point(void *user, LLVMValueRef point, LLVMValueRef strip,
                        struct bf_complex value) {
    struct state *s = user;
    store_pair(s, buffer_at(s, buffer(s, 2), point, strip), swapped(value, s->t.inverse));
}

/* `count` columns from `col` on of the unit's rows, a plane: one way, or back. */
static void transpose_in(struct state *s, unsigned plane, LLVMValueRef col, unsigned count) {
    LLVMValueRef rows[64], zero = bf_ll_const(s->ll, s->t.lanes, 0);
    LLVMValueRef to = buffer_at(s, buffer(s, 2), col, bf_ll_int(s->ll, 0));
    for (unsigned r = 0; r < s->t.lanes; r++)
        rows[r] =
            r < s->valid ? load_plane(s, plane, bf_ll_add_int(s->ll, s->row, r), col, count) : zero;
    bf_ll_transpose(s->ll, rows, s->t.lanes);
    for (unsigned c = 0; c < count; c++)
        bf_ll_store(s->ll, rows[c],
                    bf_ll_at_int(s->ll, to, c * pitch_of(&s->t) + plane * s->t.lanes),
                    s->t.lanes * 4);
}

static void transpose_out(struct state *s, unsigned plane, LLVMValueRef col, unsigned count) {
    LLVMValueRef rows[64], zero = bf_ll_const(s->ll, s->t.lanes, 0);
    LLVMValueRef from = buffer_at(s, buffer(s, 2), col, bf_ll_int(s->ll, 0));
    for (unsigned c = 0; c < s->t.lanes; c++)
        rows[c] =
            c < count
                ? bf_ll_load(s->ll,
                             bf_ll_at_int(s->ll, from, c * pitch_of(&s->t) + plane * s->t.lanes),
                             s->t.lanes, s->t.lanes * 4)
                : zero;
    bf_ll_transpose(s->ll, rows, s->t.lanes);
    for (unsigned r = 0; r < s->valid; r++)
        store_plane(s, plane, bf_ll_add_int(s->ll, s->row, r), col, count, rows[r]);
}

static void transpose_all(struct state *s, unsigned planes,
                          void (*move)(struct state *, unsigned, LLVMValueRef, unsigned)) {
    int64_t whole = s->t.n / s->t.lanes * s->t.lanes;
    struct bf_ll_loop cols;
    bf_ll_loop_begin(s->ll, &cols, bf_ll_int(s->ll, 0), bf_ll_int(s->ll, whole), s->t.lanes);
    for (unsigned plane = 0; plane < planes; plane++)
        move(s, plane, cols.index, s->t.lanes);
    bf_ll_loop_end(s->ll, &cols);
    for (unsigned plane = 0; plane < planes && whole < s->t.n; plane++)
        move(s, plane, bf_ll_int(s->ll, whole), (unsigned)(s->t.n - whole));
}

/* ---- transforms ---- */

typedef struct bf_complex load_function(void *user, LLVMValueRef point, LLVMValueRef strip);
typedef void store_function(void *user, LLVMValueRef point, LLVMValueRef strip,
                            struct bf_complex value);

static void generate_passes(struct state *s, load_function *load, store_function *store) {
    LLVMValueRef first = buffer(s, 0), second = buffer(s, 1);
    struct bf_fft_columns columns = {.ll = s->ll,
                                     .fft = &s->t.fft,
                                     .lanes = s->t.lanes,
                                     .strips = s->strips,
                                     .twiddles = bf_gen_pack(s->gen, 0),
                                     .scratch = {first, second},
                                     .pitch = pitch_of(&s->t),
                                     .load = load,
                                     .store = store,
                                     .user = s};
    bf_fft_columns(&columns);
}

/* Element `point` of a pack of complex numbers, in every lane. */
static struct bf_complex factor(struct state *s, unsigned pack, LLVMValueRef point) {
    LLVMValueRef at = bf_ll_at(s->ll, bf_gen_pack(s->gen, pack), bf_ll_mul_int(s->ll, point, 2));
    return bf_complex_load_splat(s->ll, at, s->t.lanes);
}

/* Chirps use the last two buffers: X of what is transformed, Y of the product with the filter. */
static LLVMValueRef chirp_at(struct state *s, int which, LLVMValueRef point) {
    LLVMValueRef base = buffer(s, buffers_of(&s->t) - 2 + which);
    return buffer_at(s, base, point, bf_ll_int(s->ll, 0));
}

static struct bf_complex load_x(void *user, LLVMValueRef point, LLVMValueRef strip) {
    (void)strip;
    return load_pair(user, chirp_at(user, 0, point));
}
static struct bf_complex load_y(void *user, LLVMValueRef point, LLVMValueRef strip) {
    (void)strip;
    return swapped(load_pair(user, chirp_at(user, 1, point)), true);
}
static void store_y(void *user, LLVMValueRef point, LLVMValueRef strip, struct bf_complex value) {
    struct state *s = user;
    (void)strip;
    value = bf_complex_mul(s->ll, value, factor(s, 2, point));
    store_pair(s, chirp_at(s, 1, point), value);
}
static void store_x(void *user, LLVMValueRef point, LLVMValueRef strip, struct bf_complex value) {
    (void)strip;
    value = swapped(value, true);
    store_pair(user, chirp_at(user, 0, point), value);
}

static void generate_chirp(struct state *s, load_function *load, store_function *store) {
    struct bf_ll_loop loop;
    LLVMValueRef zero = bf_ll_int(s->ll, 0), n = bf_ll_int(s->ll, s->t.n);
    bf_ll_loop_begin(s->ll, &loop, zero, n, 1);
    struct bf_complex x = load(s, loop.index, zero);
    x = bf_complex_mul(s->ll, x, factor(s, 1, loop.index));
    store_pair(s, chirp_at(s, 0, loop.index), x);
    bf_ll_loop_end(s->ll, &loop);
    bf_ll_loop_begin(s->ll, &loop, n, bf_ll_int(s->ll, s->t.padded), 1);
    store_pair(s, chirp_at(s, 0, loop.index), (struct bf_complex){NULL, NULL});
    bf_ll_loop_end(s->ll, &loop);
    generate_passes(s, load_x, store_y);
    generate_passes(s, load_y, store_x);
    bf_ll_loop_begin(s->ll, &loop, zero, n, 1);
    x = load_pair(s, chirp_at(s, 0, loop.index));
    store(s, loop.index, zero, bf_complex_mul(s->ll, x, factor(s, 1, loop.index)));
    bf_ll_loop_end(s->ll, &loop);
}

static void generate_transform(struct state *s, load_function *load, store_function *store) {
    if (s->t.padded)
        generate_chirp(s, load, store);
    else
        generate_passes(s, load, store);
}

static void generate_rows(struct state *s, unsigned valid) {
    s->valid = valid;
    transpose_all(s, (unsigned)s->gen->first->inputs.count, transpose_in);
    generate_transform(s, load_point, store_point);
    transpose_all(s, (unsigned)s->gen->last->outputs.count, transpose_out);
}

/* Units before `end` with all lanes, and the one after it with `rest` of them. */
static void generate_row_units(struct state *s) {
    struct bf_ll *ll = s->ll;
    struct bf_host_operand x = bf_gen_input_shape(s->gen, 0);
    int64_t lanes = s->t.lanes, whole = x.samples * x.rows / lanes;
    int64_t rest = x.samples * x.rows % lanes;
    struct bf_ll_loop units;
    /* Rows are counted through all samples: linear operands have no need of the sample. */
    s->sample = bf_ll_int(ll, 0);
    bf_ll_loop_begin(ll, &units, s->gen->begin, bf_ll_min(ll, s->gen->end, bf_ll_int(ll, whole)),
                     1);
    s->row = bf_ll_mul_int(ll, units.index, lanes);
    generate_rows(s, (unsigned)lanes);
    bf_ll_loop_end(ll, &units);
    if (!rest)
        return;
    bf_ll_loop_begin(ll, &units, bf_ll_max(ll, s->gen->begin, bf_ll_int(ll, whole)), s->gen->end,
                     1);
    s->row = bf_ll_mul_int(ll, units.index, lanes);
    generate_rows(s, (unsigned)rest);
    bf_ll_loop_end(ll, &units);
}

static void generate_column_units(struct state *s) {
    struct bf_ll *ll = s->ll;
    struct bf_host_operand x = bf_gen_input_shape(s->gen, 0);
    int64_t lanes = s->t.lanes, strips = x.cols / lanes, rest = x.cols % lanes;
    int64_t chunks = chunks_of(&s->t, x.cols);
    struct bf_ll_loop units;
    struct bf_ll_if branch;
    bf_ll_loop_begin(ll, &units, s->gen->begin, s->gen->end, 1);
    s->sample = bf_ll_div_int(ll, units.index, chunks);
    LLVMValueRef chunk = bf_ll_rem_int(ll, units.index, chunks);
    LLVMValueRef first = bf_ll_mul_int(ll, chunk, s->t.strips);
    s->col = bf_ll_mul_int(ll, first, lanes);
    if (strips) {
        s->valid = (unsigned)lanes;
        LLVMValueRef left = bf_ll_sub(ll, bf_ll_int(ll, strips), first);
        s->strips = s->t.strips > 1 ? bf_ll_min(ll, bf_ll_int(ll, s->t.strips), left) : NULL;
        bf_ll_if_begin(ll, &branch, bf_ll_less(ll, bf_ll_int(ll, 0), left));
        generate_transform(s, load_column, store_column);
        bf_ll_if_end(ll, &branch);
    }
    if (rest) {
        bf_ll_if_begin(ll, &branch, bf_ll_less(ll, bf_ll_int(ll, chunks - 2), chunk));
        s->valid = (unsigned)rest;
        s->strips = NULL;
        s->col = bf_ll_int(ll, strips * lanes);
        generate_transform(s, load_column, store_column);
        bf_ll_if_end(ll, &branch);
    }
    bf_ll_loop_end(ll, &units);
}

static void generate(struct bf_gen *gen) {
    struct state s = {
        .gen = gen,
        .ll = gen->ll,
        .t = transform_of(gen->first, gen->target->lanes, (unsigned)bf_gen_param(gen, "largest")),
        .scale = bf_gen_scale(gen)};
    if (s.t.rows)
        generate_row_units(&s);
    else
        generate_column_units(&s);
}

const struct bf_host_generator bf_gen_fft = {"fft", BF_KERNEL_FFT, choose, generate};
