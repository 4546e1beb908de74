/* gen_fft_row.c - code for FFT kernels along the columns, one row after the other: for rows long
 * enough that transposing many of them (gen_fft.c) would leave the first-level cache. */
#include "backend/host/fft_row.h"
#include "backend/host/gen.h"
#include "ir/recipe.h"

struct transform {
    struct bf_fft_row row;
    bool inverse;
    int64_t rows; /* of all samples */
};

static bool transform_of(const struct bf_poly_kernel *kernel, unsigned lanes, unsigned largest,
                         struct transform *t) {
    const struct bf_operand *x = &kernel->inputs.data[0];
    if (kernel->lanes != BF_LANES_ROWS || bf_ints_find(&kernel->attrs, "chirp", 0))
        return false;
    t->inverse = bf_ints_get(&kernel->attrs, "inverse") != 0;
    t->rows = x->buffer->samples * x->rows;
    return bf_fft_row_plan(&t->row, x->cols, lanes, largest, false) && t->row.vectors >= lanes;
}

static unsigned largest_of(const struct bf_host_target *target) {
    return target->registers >= 32 ? 16 : 8;
}

/* ---- packs: 0 twiddles, 1 factors ---- */

static struct transform transform_of_pack(const struct bf_host_pack *pack) {
    struct transform t;
    transform_of(pack->kernel, (unsigned)bf_ints_get(&pack->choice->params, "lanes"),
                 (unsigned)bf_ints_get(&pack->choice->params, "largest"), &t);
    return t;
}

static void fill_twiddles(const struct bf_host_pack *pack, const struct bf_weights *values,
                          void *out) {
    (void)values;
    struct transform t = transform_of_pack(pack);
    bf_fft_row_pack_twiddles(&t.row, out);
}

static void fill_factors(const struct bf_host_pack *pack, const struct bf_weights *values,
                         void *out) {
    (void)values;
    struct transform t = transform_of_pack(pack);
    int exponent = pack->kernel->inputs.data[0].buffer->exponent -
                   pack->kernel->outputs.data[0].buffer->exponent;
    bf_fft_row_pack_factors(&t.row, bf_power_of_two(exponent), out);
}

static bool all_linear(const struct bf_poly *poly, const struct bf_poly_kernel *kernel) {
    bool linear = true;
    for (size_t i = 0; i < kernel->inputs.count; i++)
        linear &= bf_host_operand(poly, &kernel->inputs.data[i]).linear;
    for (size_t i = 0; i < kernel->outputs.count; i++)
        linear &= bf_host_operand(poly, &kernel->outputs.data[i]).linear;
    return linear;
}

static bool choose(const struct bf_host_site *site, struct bf_host_choice *choice) {
    const struct bf_poly_kernel *kernel = site->kernels[0];
    struct transform t;
    if (!transform_of(kernel, site->target->lanes, largest_of(site->target), &t) ||
        !all_linear(site->poly, kernel))
        return false;
    choice->units = t.rows;
    choice->unit_rows = 1;
    choice->grain = 1 + 8192 / t.row.points;
    choice->scratch = bf_fft_row_scratch(&t.row) * (int64_t)sizeof(float);
    choice->epilogue = kernel->outputs.count == 1;
    bf_ints_set(&choice->params, site->arena, "lanes", site->target->lanes);
    bf_ints_set(&choice->params, site->arena, "largest", largest_of(site->target));
    *bf_push(&choice->packs) = (struct bf_host_pack){
        .size = (bf_fft_row_twiddles(&t.row) + 1) * (int64_t)sizeof(float), .fill = fill_twiddles};
    *bf_push(&choice->packs) = (struct bf_host_pack){
        .size = bf_fft_row_factors(&t.row) * (int64_t)sizeof(float), .fill = fill_factors};
    return true;
}

/* ---- code ---- */

struct state {
    struct bf_gen *gen;
    struct bf_ll *ll;
    struct transform t;
    LLVMValueRef row; /* of all samples */
};

static LLVMValueRef address(struct state *s, struct bf_host_operand shape, LLVMValueRef pointer,
                            LLVMValueRef col) {
    LLVMValueRef at = bf_ll_add(s->ll, bf_ll_mul_int(s->ll, s->row, shape.pitch), col);
    return bf_gen_element(s->ll, &shape, pointer, at);
}

static struct bf_complex load(void *user, LLVMValueRef a0, unsigned j) {
    struct state *s = user;
    LLVMValueRef planes[2] = {NULL, NULL};
    LLVMValueRef vector = bf_ll_add_int(s->ll, a0, (int64_t)j * s->t.row.rb);
    LLVMValueRef col = bf_ll_mul_int(s->ll, vector, s->t.row.lanes);
    for (unsigned p = 0; p < s->gen->first->inputs.count; p++) {
        struct bf_host_operand x = bf_gen_input_shape(s->gen, p);
        planes[p] = bf_ll_load_element(s->ll, x.element,
                                       address(s, x, bf_gen_input(s->gen, p), col), s->t.row.lanes);
    }
    /* An inverse transform is a forward one of (im, re) in place of (re, im), on both sides. */
    return (struct bf_complex){planes[s->t.inverse], planes[!s->t.inverse]};
}

static void store(void *user, LLVMValueRef col, bool first, struct bf_complex value,
                  unsigned count) {
    struct state *s = user;
    (void)first;
    LLVMValueRef planes[2] = {s->t.inverse ? value.im : value.re,
                              s->t.inverse ? value.re : value.im};
    for (unsigned p = 0; p < s->gen->last->outputs.count; p++) {
        struct bf_host_operand y = bf_gen_output_shape(s->gen, p);
        LLVMValueRef plane = bf_ll_resize(s->ll, planes[p], count);
        if (s->gen->last->outputs.count == 1)
            plane = bf_gen_epilogue(s->gen, plane, s->row, col);
        bf_ll_store_element(s->ll, y.element, plane, address(s, y, bf_gen_output(s->gen, p), col));
    }
}

static void generate(struct bf_gen *gen) {
    struct state s = {.gen = gen, .ll = gen->ll};
    transform_of(gen->first, gen->target->lanes, (unsigned)bf_gen_param(gen, "largest"), &s.t);
    struct bf_fft_row_code code = {.ll = gen->ll,
                                   .row = &s.t.row,
                                   .twiddles = bf_gen_pack(gen, 0),
                                   .factors = bf_gen_pack(gen, 1),
                                   .scratch = gen->scratch,
                                   .real = gen->last->outputs.count == 1 && !s.t.inverse,
                                   .load = load,
                                   .store = store,
                                   .user = &s};
    struct bf_ll_loop rows;
    bf_ll_loop_begin(gen->ll, &rows, gen->begin, gen->end, 1);
    s.row = rows.index;
    bf_fft_row(&code);
    bf_ll_loop_end(gen->ll, &rows);
}

const struct bf_host_generator bf_gen_fft_row = {"fft.row", BF_KERNEL_FFT, choose, generate};
