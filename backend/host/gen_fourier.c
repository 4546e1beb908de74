/* gen_fourier.c - Fourier mixing, the real part of a transform along rows and columns, in two
 * functions for the two kernels that poly has for it. Half of the work goes twice.
 *
 * Real input x[S][H]. Two columns make a complex one: z[:, h] = x[:, h] + i x[:, h + H/2], h < H/2.
 * With Z the transform of z along S = r1 s2 rows, n = p + s2 j, k = j' + r1 k2:
 *
 *   first function    for each p < s2: rows p + s2 j of z, transformed over j < r1, times
 *                     w_S^(p j'), to row j' s2 + p of the buffer between
 *   second function   for each pair of blocks j' and r1 - j': the s2 rows of each transformed over
 *                     p: rows k and S - k of Z are there, in the L2 cache
 *     for each pair of rows: 2 X[k, h] = Z[k] + conj Z[S-k], 2 X[k, h + H/2] = (Z[k] - conj Z[S-k])
 * / i are the transform of x; Y[k] is that of X[k] along H; then y[k, h] = Re Y[k, h],  y[S-k, h] =
 * Re Y[k, H - h]
 *
 * Along a row: fft_row.h.
 *
 * The buffer between holds, for each row, [strip of columns][re, im][lane]: as many floats as x.
 */
#include <stdlib.h>

#include "backend/host/fft_row.h"
#include "backend/host/gen.h"
#include "ir/angles.h"
#include "ir/recipe.h"

/* ---- the plan, of both kernels ---- */

struct mixing {
    int64_t samples, rows, cols;  /* S, H */
    struct bf_fft across, inside; /* over r1, over s2 */
    struct bf_fft_row row;        /* along H */
    unsigned lanes;
};

enum { MOST_BLOCK = 65536 }; /* floats: two of them stay in the L2 cache */

/* r1 and s2: few passes, and blocks that fit. */
static bool split_rows(struct mixing *m, unsigned largest) {
    int64_t best = INT64_MAX;
    for (int64_t r1 = 1; r1 <= m->rows; r1++) {
        struct bf_fft across, inside;
        if (m->rows % r1 || m->rows / r1 * m->cols > MOST_BLOCK ||
            !bf_fft_plan(&across, r1, largest) || !bf_fft_plan(&inside, m->rows / r1, largest))
            continue;
        int64_t cost = 10 * (int64_t)(across.passes + inside.passes);
        cost += (r1 < 4 ? 10 : 0) + (r1 > 8 ? 3 : 0);
        if (cost < best) {
            best = cost;
            m->across = across;
            m->inside = inside;
        }
    }
    return best < INT64_MAX;
}

/* ra is even: the first radix 2 of it is what makes X from Z. */
static bool split(struct mixing *m, unsigned largest) {
    return m->cols % (2 * m->lanes) == 0 && split_rows(m, largest) &&
           bf_fft_row_plan(&m->row, m->cols, m->lanes, largest, true);
}

static bool is_mixing(const struct bf_poly *poly, const struct bf_poly_kernel *first,
                      const struct bf_poly_kernel *second) {
    bool fits = first->kind == BF_KERNEL_FFT && second->kind == BF_KERNEL_FFT &&
                first->lanes == BF_LANES_COLS && second->lanes == BF_LANES_ROWS &&
                first->inputs.count == 1 && first->outputs.count == 2 &&
                second->inputs.count == 2 && second->outputs.count == 1;
    for (size_t i = 0; fits && i < 2; i++) {
        const struct bf_buffer *between = first->outputs.data[i].buffer;
        const struct bf_poly_kernel *kernel = i ? second : first;
        fits = second->inputs.data[i].buffer == between &&
               bf_host_only_reader(poly, between, second) &&
               between->rows == first->inputs.data[0].rows &&
               between->cols == first->inputs.data[0].cols &&
               !bf_ints_find(&kernel->attrs, "chirp", 0) && !bf_ints_get(&kernel->attrs, "inverse");
    }
    return fits;
}

static bool mixing_of(const struct bf_poly *poly, const struct bf_poly_kernel *first,
                      const struct bf_poly_kernel *second, unsigned lanes, unsigned largest,
                      struct mixing *m) {
    if (!is_mixing(poly, first, second))
        return false;
    const struct bf_operand *x = &first->inputs.data[0];
    *m = (struct mixing){
        .samples = x->buffer->samples, .rows = x->rows, .cols = x->cols, .lanes = lanes};
    return split(m, largest);
}

static unsigned largest_of(const struct bf_host_target *target) {
    return target->registers >= 32 ? 16 : 8;
}

/* The plan that a choice was made for, from its numbers: packs know nothing else. */
static void save(const struct bf_host_site *site, const struct mixing *m,
                 struct bf_host_choice *choice) {
    bf_ints_set(&choice->params, site->arena, "rows", m->rows);
    bf_ints_set(&choice->params, site->arena, "cols", m->cols);
    bf_ints_set(&choice->params, site->arena, "samples", m->samples);
    bf_ints_set(&choice->params, site->arena, "lanes", m->lanes);
    bf_ints_set(&choice->params, site->arena, "largest", largest_of(site->target));
}

static struct mixing saved(const struct bf_ints *params) {
    struct mixing m = {.rows = bf_ints_get(params, "rows"),
                       .cols = bf_ints_get(params, "cols"),
                       .samples = bf_ints_get(params, "samples"),
                       .lanes = (unsigned)bf_ints_get(params, "lanes")};
    split(&m, (unsigned)bf_ints_get(params, "largest"));
    return m;
}

static void add_pack(struct bf_host_choice *choice, int64_t floats,
                     void (*fill)(const struct bf_host_pack *, const struct bf_weights *, void *)) {
    *bf_push(&choice->packs) = (struct bf_host_pack){
        .size = (floats > 0 ? floats : 1) * (int64_t)sizeof(float), .fill = fill};
}

/* ---- the first function: packs 0 twiddles over r1; 1 w_S^(p j'), [p][j'] ---- */

static void fill_across(const struct bf_host_pack *pack, const struct bf_weights *values,
                        void *out) {
    (void)values;
    struct mixing m = saved(&pack->choice->params);
    bf_fft_pack(&m.across, out);
}

static void fill_factors(const struct bf_host_pack *pack, const struct bf_weights *values,
                         void *out) {
    (void)values;
    struct mixing m = saved(&pack->choice->params);
    float *to = out;
    for (int64_t p = 0; p < m.inside.n; p++)
        for (int64_t j = 0; j < m.across.n; j++) {
            double c, s;
            bf_root_of_unity(p * j % m.rows, m.rows, &c, &s);
            *to++ = (float)c;
            *to++ = (float)-s;
        }
}

static const struct bf_poly_kernel *reader_of(const struct bf_poly *poly,
                                              const struct bf_buffer *buffer) {
    for (size_t k = 0; k < poly->kernels.count; k++)
        for (size_t i = 0; i < poly->kernels.data[k]->inputs.count; i++)
            if (poly->kernels.data[k]->inputs.data[i].buffer == buffer)
                return poly->kernels.data[k];
    return NULL;
}

static bool choose_columns(const struct bf_host_site *site, struct bf_host_choice *choice) {
    struct mixing m;
    const struct bf_poly_kernel *first = site->kernels[0];
    const struct bf_poly_kernel *second = reader_of(site->poly, first->outputs.data[0].buffer);
    if (!second ||
        !mixing_of(site->poly, first, second, site->target->lanes, largest_of(site->target), &m))
        return false;
    choice->units = m.samples * m.inside.n;
    choice->scratch = m.across.passes > 1 ? 2 * m.across.n * m.cols * (int64_t)sizeof(float) : 0;
    save(site, &m, choice);
    add_pack(choice, bf_fft_twiddles(&m.across), fill_across);
    add_pack(choice, 2 * m.rows, fill_factors);
    return true;
}

struct columns {
    struct bf_gen *gen;
    struct bf_ll *ll;
    struct mixing m;
    LLVMValueRef sample, p;
};

static struct bf_complex load_columns(void *user, LLVMValueRef point, LLVMValueRef strip) {
    struct columns *c = user;
    struct bf_host_operand x = bf_gen_input_shape(c->gen, 0);
    LLVMValueRef row = bf_ll_add(c->ll, c->p, bf_ll_mul_int(c->ll, point, c->m.inside.n));
    LLVMValueRef col = bf_ll_mul_int(c->ll, strip, c->m.lanes);
    LLVMValueRef re = bf_gen_offset(c->ll, &x, c->sample, row, col);
    LLVMValueRef im = bf_ll_add_int(c->ll, re, c->m.cols / 2);
    LLVMValueRef base = bf_gen_input(c->gen, 0);
    struct bf_complex value = {.re = bf_gen_load(c->ll, &x, base, re, c->m.lanes)};
    value.im = bf_gen_load(c->ll, &x, base, im, c->m.lanes);
    return value;
}

static bool is_zero(LLVMValueRef value) {
    return LLVMIsAConstantInt(value) && LLVMConstIntGetZExtValue(value) == 0;
}

static void store_columns(void *user, LLVMValueRef point, LLVMValueRef strip,
                          struct bf_complex value) {
    struct columns *c = user;
    struct bf_ll *ll = c->ll;
    if (!is_zero(point)) {
        LLVMValueRef index = bf_ll_add(ll, bf_ll_mul_int(ll, c->p, c->m.across.n), point);
        LLVMValueRef at = bf_ll_at(ll, bf_gen_pack(c->gen, 1), bf_ll_mul_int(ll, index, 2));
        value = bf_complex_mul(ll, value, bf_complex_load_splat(ll, at, c->m.lanes));
    }
    LLVMValueRef row = bf_ll_add(ll, bf_ll_mul_int(ll, point, c->m.inside.n), c->p);
    row = bf_ll_add(ll, bf_ll_mul_int(ll, c->sample, c->m.rows), row);
    LLVMValueRef to = bf_ll_dot(ll, row, c->m.cols, strip, 2 * c->m.lanes);
    to = bf_ll_at(ll, bf_gen_output(c->gen, 0), to);
    bf_complex_store(ll, to, value, c->m.lanes);
}

static void generate_columns(struct bf_gen *gen) {
    struct columns c = {.gen = gen, .ll = gen->ll, .m = saved(&gen->choice->params)};
    struct bf_fft_columns fft = {
        .ll = gen->ll,
        .fft = &c.m.across,
        .lanes = c.m.lanes,
        .strips = bf_ll_int(gen->ll, c.m.row.vectors / 2),
        .twiddles = bf_gen_pack(gen, 0),
        .scratch = {gen->scratch, bf_ll_at_int(gen->ll, gen->scratch, c.m.across.n * c.m.cols)},
        .pitch = c.m.cols,
        .load = load_columns,
        .store = store_columns,
        .user = &c};
    struct bf_ll_loop units;
    bf_ll_loop_begin(gen->ll, &units, gen->begin, gen->end, 1);
    c.sample = bf_ll_div_int(gen->ll, units.index, c.m.inside.n);
    c.p = bf_ll_rem_int(gen->ll, units.index, c.m.inside.n);
    bf_fft_columns(&fft);
    bf_ll_loop_end(gen->ll, &units);
}

/* ---- the second function: packs 0 twiddles over s2; 1, 2 tables of the row, halved ---- */

static void fill_inside(const struct bf_host_pack *pack, const struct bf_weights *values,
                        void *out) {
    (void)values;
    struct mixing m = saved(&pack->choice->params);
    bf_fft_pack(&m.inside, out);
}

static void fill_twiddles(const struct bf_host_pack *pack, const struct bf_weights *values,
                          void *out) {
    (void)values;
    struct mixing m = saved(&pack->choice->params);
    bf_fft_row_pack_twiddles(&m.row, out);
}

/* What untangles the rows doubles them; exponents are undone, too. */
static void fill_row_factors(const struct bf_host_pack *pack, const struct bf_weights *values,
                             void *out) {
    (void)values;
    struct mixing m = saved(&pack->choice->params);
    int exponent = (int)bf_ints_get(&pack->choice->params, "exponent");
    bf_fft_row_pack_factors(&m.row, bf_power_of_two(exponent - 1), out);
}

/* Rows of a block lie 128 bytes further apart than the columns need. */
static int64_t block_pitch(const struct mixing *m) {
    return m->cols + 2 * BF_HOST_ALIGN / (int64_t)sizeof(float);
}

/* Scratch: two blocks, two buffers between passes over s2, two rows. */
static int64_t block_size(const struct mixing *m) {
    return m->inside.n * block_pitch(m);
}

static const struct bf_poly_kernel *writer_of(const struct bf_poly *poly,
                                              const struct bf_buffer *buffer) {
    for (size_t k = 0; k < poly->kernels.count; k++)
        for (size_t i = 0; i < poly->kernels.data[k]->outputs.count; i++)
            if (poly->kernels.data[k]->outputs.data[i].buffer == buffer)
                return poly->kernels.data[k];
    return NULL;
}

/* The kernel before must have been planned by choose_columns: the same question, the same answer.
 */
static bool choose_rows(const struct bf_host_site *site, struct bf_host_choice *choice) {
    struct mixing m;
    const struct bf_poly_kernel *second = site->kernels[0];
    const struct bf_poly_kernel *first = writer_of(site->poly, second->inputs.data[0].buffer);
    if (!first ||
        !mixing_of(site->poly, first, second, site->target->lanes, largest_of(site->target), &m))
        return false;
    choice->units = m.samples * (m.across.n / 2 + 1);
    int64_t buffers = m.inside.passes > 2 ? 4 : m.inside.passes > 1 ? 3 : 2;
    choice->scratch =
        (buffers * block_size(&m) + bf_fft_row_scratch(&m.row)) * (int64_t)sizeof(float);
    choice->epilogue = true;
    save(site, &m, choice);
    /* What is between has none, whatever its buffer says. */
    bf_ints_set(&choice->params, site->arena, "exponent",
                first->inputs.data[0].buffer->exponent - second->outputs.data[0].buffer->exponent);
    add_pack(choice, bf_fft_twiddles(&m.inside), fill_inside);
    add_pack(choice, bf_fft_row_twiddles(&m.row), fill_twiddles);
    add_pack(choice, bf_fft_row_factors(&m.row), fill_row_factors);
    return true;
}

struct rows {
    struct bf_gen *gen;
    struct bf_ll *ll;
    struct mixing m;
    LLVMValueRef sample, from; /* of the buffer between: the block's first row */
    LLVMValueRef block;        /* where the block goes */
    LLVMValueRef row_scratch;
    LLVMValueRef row, mate;           /* of y: k and S - k */
    LLVMValueRef source, source_mate; /* Z[k], Z[S - k] */
};

/* Vector pair number `pair` from base on. */
static LLVMValueRef pair_at(struct rows *r, LLVMValueRef base, LLVMValueRef pair) {
    return bf_ll_at(r->ll, base, bf_ll_mul_int(r->ll, pair, 2 * r->m.lanes));
}

static struct bf_complex load_inside(void *user, LLVMValueRef point, LLVMValueRef strip) {
    struct rows *r = user;
    LLVMValueRef row = bf_ll_at(r->ll, r->from, bf_ll_mul_int(r->ll, point, r->m.cols));
    return bf_complex_load(r->ll, pair_at(r, row, strip), r->m.lanes);
}

static void store_inside(void *user, LLVMValueRef point, LLVMValueRef strip,
                         struct bf_complex value) {
    struct rows *r = user;
    LLVMValueRef row = bf_ll_at(r->ll, r->block, bf_ll_mul_int(r->ll, point, block_pitch(&r->m)));
    bf_complex_store(r->ll, pair_at(r, row, strip), value, r->m.lanes);
}

/* Block `number` of the buffer between, transformed over its rows. */
static void transform_block(struct rows *r, LLVMValueRef number, int64_t place) {
    struct bf_ll *ll = r->ll;
    LLVMValueRef scratch = r->gen->scratch;
    LLVMValueRef row = bf_ll_dot(ll, r->sample, r->m.rows, number, r->m.inside.n);
    r->from = bf_ll_at(ll, bf_gen_input(r->gen, 0), bf_ll_mul_int(ll, row, r->m.cols));
    r->block = bf_ll_at_int(ll, scratch, place * block_size(&r->m));
    LLVMValueRef first = bf_ll_at_int(ll, scratch, 2 * block_size(&r->m));
    LLVMValueRef second = bf_ll_at_int(ll, scratch, 3 * block_size(&r->m));
    struct bf_fft_columns fft = {.ll = ll,
                                 .fft = &r->m.inside,
                                 .lanes = r->m.lanes,
                                 .strips = bf_ll_int(ll, r->m.row.vectors / 2),
                                 .twiddles = bf_gen_pack(r->gen, 0),
                                 .scratch = {first, second},
                                 .pitch = block_pitch(&r->m),
                                 .load = load_inside,
                                 .store = store_inside,
                                 .user = r};
    bf_fft_columns(&fft);
}

/* ---- one pair of rows ---- */

/* X of columns h or h + H/2, doubled, from Z[k] and Z[S - k] of column h. */
static struct bf_complex untangle(void *user, LLVMValueRef a0, unsigned j) {
    struct rows *r = user;
    struct bf_ll *ll = r->ll;
    unsigned half = r->m.row.ra / 2;
    LLVMValueRef strip = bf_ll_add_int(ll, a0, (int64_t)(j % half) * r->m.row.rb);
    struct bf_complex z = bf_complex_load(ll, pair_at(r, r->source, strip), r->m.lanes);
    struct bf_complex c = bf_complex_load(ll, pair_at(r, r->source_mate, strip), r->m.lanes);
    LLVMValueRef re = j < half ? bf_ll_fadd(ll, z.re, c.re) : bf_ll_fadd(ll, z.im, c.im);
    LLVMValueRef im = j < half ? bf_ll_fsub(ll, z.im, c.im) : bf_ll_fsub(ll, c.re, z.re);
    return (struct bf_complex){re, im};
}

static void store_result(struct rows *r, LLVMValueRef row, LLVMValueRef col, LLVMValueRef value) {
    struct bf_ll *ll = r->ll;
    struct bf_host_operand y = bf_gen_output_shape(r->gen, 0);
    LLVMValueRef all = bf_ll_add(ll, bf_ll_mul_int(ll, r->sample, y.rows), row);
    value = bf_gen_epilogue(r->gen, value, all, col);
    LLVMValueRef at = bf_gen_offset(ll, &y, r->sample, row, col);
    bf_ll_store_element(ll, y.element, value, bf_gen_element(ll, &y, bf_gen_output(r->gen, 0), at));
}

/* Lanes `first` .. `count` - 1 in opposite order. */
static LLVMValueRef reversed(struct bf_ll *ll, LLVMValueRef value, unsigned first, unsigned count) {
    int picks[64];
    if (count - first == 1)
        return bf_ll_extract(ll, value, first);
    for (unsigned l = 0; l < count - first; l++)
        picks[l] = (int)(count - 1 - l);
    return bf_ll_shuffle(ll, value, NULL, picks, count - first);
}

/* Columns [col, col + count) of row k, and (H - those) mod H of its mate. Column 0 is its own
 * mirror image. */
static void store_both(void *user, LLVMValueRef col, bool may_be_first, struct bf_complex value,
                       unsigned count) {
    struct rows *r = user;
    struct bf_ll *ll = r->ll;
    LLVMValueRef end = bf_ll_sub(ll, bf_ll_int(ll, r->m.cols), col);
    unsigned first = may_be_first ? 1 : 0;
    store_result(r, r->row, col, bf_ll_resize(ll, value.re, count));
    if (may_be_first) {
        LLVMValueRef at = bf_ll_rem_int(ll, end, r->m.cols);
        store_result(r, r->mate, at, bf_ll_extract(ll, value.re, 0));
    }
    if (count > first) {
        LLVMValueRef at = bf_ll_add_int(ll, end, 1 - (int64_t)count);
        store_result(r, r->mate, at, reversed(ll, value.re, first, count));
    }
}

static void transform_row(struct rows *r) {
    struct bf_fft_row_code code = {.ll = r->ll,
                                   .row = &r->m.row,
                                   .twiddles = bf_gen_pack(r->gen, 1),
                                   .factors = bf_gen_pack(r->gen, 2),
                                   .scratch = r->row_scratch,
                                   .real = true,
                                   .load = untangle,
                                   .store = store_both,
                                   .user = r};
    bf_fft_row(&code);
}

/* ---- pairs of blocks ---- */

static LLVMValueRef select(struct bf_ll *ll, LLVMValueRef condition, LLVMValueRef a,
                           LLVMValueRef b) {
    return LLVMBuildSelect(ll->builder, condition, a, b, "");
}

/* Rows k2 of block j and their mates: k = j + r1 k2; S - k is row s2 - 1 - k2 of block r1 - j, or
 * of block 0 row (s2 - k2) mod s2. A block that is its own mate has each pair only once. */
static void transform_rows(struct rows *r, LLVMValueRef block, LLVMValueRef mate,
                           LLVMValueRef alone) {
    struct bf_ll *ll = r->ll;
    int64_t s2 = r->m.inside.n, r1 = r->m.across.n, pitch = block_pitch(&r->m);
    LLVMValueRef zero = bf_ll_int(ll, 0), scratch = r->gen->scratch;
    LLVMValueRef is_first = LLVMBuildICmp(ll->builder, LLVMIntEQ, block, zero, "");
    LLVMValueRef half =
        select(ll, is_first, bf_ll_int(ll, s2 / 2 + 1), bf_ll_int(ll, (s2 + 1) / 2));
    LLVMValueRef mates =
        bf_ll_at(ll, scratch, select(ll, alone, zero, bf_ll_int(ll, block_size(&r->m))));
    struct bf_ll_loop loop;
    bf_ll_loop_begin(ll, &loop, zero, select(ll, alone, half, bf_ll_int(ll, s2)), 1);
    LLVMValueRef last = bf_ll_sub(ll, bf_ll_int(ll, s2 - 1), loop.index);
    LLVMValueRef other =
        select(ll, is_first, bf_ll_rem_int(ll, bf_ll_add_int(ll, last, 1), s2), last);
    r->source = bf_ll_at(ll, scratch, bf_ll_mul_int(ll, loop.index, pitch));
    r->source_mate = bf_ll_at(ll, mates, bf_ll_mul_int(ll, other, pitch));
    r->row = bf_ll_add(ll, block, bf_ll_mul_int(ll, loop.index, r1));
    r->mate = bf_ll_add(ll, mate, bf_ll_mul_int(ll, other, r1));
    transform_row(r);
    bf_ll_loop_end(ll, &loop);
}

static void generate_rows(struct bf_gen *gen) {
    struct bf_ll *ll = gen->ll;
    struct rows r = {.gen = gen, .ll = ll, .m = saved(&gen->choice->params)};
    int64_t r1 = r.m.across.n, units = r1 / 2 + 1;
    int64_t buffers = r.m.inside.passes > 2 ? 4 : r.m.inside.passes > 1 ? 3 : 2;
    r.row_scratch = bf_ll_at_int(ll, gen->scratch, buffers * block_size(&r.m));
    struct bf_ll_loop loop;
    struct bf_ll_if branch;
    bf_ll_loop_begin(ll, &loop, gen->begin, gen->end, 1);
    r.sample = bf_ll_div_int(ll, loop.index, units);
    LLVMValueRef block = bf_ll_rem_int(ll, loop.index, units);
    LLVMValueRef mate = bf_ll_rem_int(ll, bf_ll_sub(ll, bf_ll_int(ll, r1), block), r1);
    LLVMValueRef alone = LLVMBuildICmp(ll->builder, LLVMIntEQ, block, mate, "");
    transform_block(&r, block, 0);
    bf_ll_if_begin(ll, &branch, LLVMBuildNot(ll->builder, alone, ""));
    transform_block(&r, mate, 1);
    bf_ll_if_end(ll, &branch);
    transform_rows(&r, block, mate, alone);
    bf_ll_loop_end(ll, &loop);
}

const struct bf_host_generator bf_gen_fourier_columns = {"fourier.columns", BF_KERNEL_FFT,
                                                         choose_columns, generate_columns};
const struct bf_host_generator bf_gen_fourier_rows = {"fourier.rows", BF_KERNEL_FFT, choose_rows,
                                                      generate_rows};
