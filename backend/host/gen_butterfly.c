/* gen_butterfly.c - code for butterfly kernels: the passes of butterfly.h over a unit of rows.
 *
 *     for each stack:                                    out of x, into its columns of y
 *       for each pass:                                   x -> scratch -> ... -> scratch -> y
 *         for each tile of the pass:                     weights of the tile stay in the L1 cache
 *           for each group of `tokens` rows:             a weight vector is read once for all
 *             the vectors of the tile through the stages of the pass, in registers
 *
 * Rows of scratch lie 64 bytes further apart than a power of two, so that they do not fall on the
 * same lines of a cache.
 */
#include <stdlib.h>

#include "backend/host/gen_butterfly.h"
#include "backend/host/gen.h"
#include "ir/recipe.h"

enum { MOST_TOKENS = 2 };

/* ---- the choice ---- */

static struct bf_butterfly *plan_of(const struct bf_poly_kernel *kernel,
                                    const struct bf_host_target *target, int64_t width) {
    const struct bf_buffer *x = kernel->inputs.data[0].buffer, *y = kernel->outputs.data[0].buffer;
    struct bf_butterfly_shape shape = {
        .n = bf_ints_get(&kernel->attrs, "n"),
        .blocks = bf_ints_get(&kernel->attrs, "blocks"),
        .stacks = bf_ints_get(&kernel->attrs, "stacks"),
        .in = kernel->inputs.data[0].cols,
        .out = kernel->outputs.data[0].cols,
        .increasing = bf_ints_get(&kernel->attrs, "increasing") != 0,
        .scale = bf_power_of_two(x->exponent - y->exponent),
        .bias_scale = bf_power_of_two(-y->exponent),
    };
    return bf_butterfly_create(&shape, target->lanes, (unsigned)width);
}

static const struct bf_param_view *view_of(const struct bf_poly_kernel *kernel, const char *role) {
    const struct bf_kernel_param *param = bf_kernel_find_param(kernel, role);
    return param ? &param->view : NULL;
}

static void fill(const struct bf_host_pack *pack, const struct bf_weights *values, void *out) {
    const struct bf_poly_kernel *kernel = pack->kernel;
    struct bf_host_target target = {.lanes = (unsigned)bf_ints_get(&pack->choice->params, "lanes")};
    struct bf_butterfly *b = plan_of(kernel, &target, bf_ints_get(&pack->choice->params, "width"));
    const struct bf_param_view *bias = view_of(kernel, "bias");
    bf_butterfly_load_forms(b, &pack->choice->params);
    float *to = out;
    for (int64_t stack = 0; stack < b->shape.stacks; stack++) {
        int which = stack == b->shape.stacks - 1;
        bf_butterfly_pack(b, values, view_of(kernel, "twiddle"), bias, stack, which, to);
        to += bf_butterfly_weights(b, which, bias != NULL) * b->lanes;
    }
    bf_butterfly_free(b);
}

static int64_t pack_size(const struct bf_butterfly *b, bool bias) {
    int64_t vectors =
        (b->shape.stacks - 1) * bf_butterfly_weights(b, 0, bias) + bf_butterfly_weights(b, 1, bias);
    return vectors * b->lanes * (int64_t)sizeof(float);
}

/* Floats from a row of scratch to the next. */
static int64_t scratch_pitch(const struct bf_butterfly *b) {
    return b->shape.n + BF_HOST_ALIGN / (int64_t)sizeof(float);
}

/* Rows that share a weight in registers: while the weights are in the L1 cache anyway, reading them
 * again costs less than keeping the vectors of several rows. */
static int64_t tokens_of(const struct bf_butterfly *b) {
    return b->shape.n < 1024 ? 2 : 1;
}

/* Rows of a unit: more rows use the weights of a tile more often, fewer stay in the caches. */
static int64_t unit_of(const struct bf_butterfly *b) {
    int64_t n = b->shape.n, unit = n < 1024 ? 6 : 49152 / n / 2 * 2;
    if (b->pass_count == 1 || unit > 24)
        return 24;
    return unit < 6 ? 6 : unit;
}

/* The last pass of a long row would store lines whose distance is a large power of two, which all
 * fall into the same sets of the caches. It stores in scratch then, and rows are copied. */
static bool is_copied(const struct bf_butterfly *b) {
    return b->shape.n >= 2048 && bf_butterfly_outputs(b, 1) > b->shape.n / 4;
}

static void choose_units(const struct bf_butterfly *b, int64_t rows,
                         struct bf_host_choice *choice) {
    int64_t unit = unit_of(b), small = 32768 / (unit * b->shape.n);
    choice->unit_rows = rows < unit ? rows : unit;
    choice->units = (rows + choice->unit_rows - 1) / choice->unit_rows;
    choice->grain = small > 1 ? small : 1;
    if (b->pass_count > 1 || is_copied(b))
        choice->scratch = choice->unit_rows * scratch_pitch(b) * (int64_t)sizeof(float);
}

static bool choose(const struct bf_host_site *site, struct bf_host_choice *choice) {
    const struct bf_poly_kernel *kernel = site->kernels[0];
    struct bf_host_operand x = bf_host_operand(site->poly, &kernel->inputs.data[0]);
    struct bf_host_operand y = bf_host_operand(site->poly, &kernel->outputs.data[0]);
    if (!x.linear || !y.linear)
        return false;
    int64_t width = site->target->registers >= 32 ? 3 : 2, rows = x.samples * x.rows;
    struct bf_butterfly *b = plan_of(kernel, site->target, width);
    bf_butterfly_choose_forms(b, site->weights, view_of(kernel, "twiddle"));
    choose_units(b, rows, choice);
    choice->epilogue = true;
    bf_ints_set(&choice->params, site->arena, "lanes", site->target->lanes);
    bf_ints_set(&choice->params, site->arena, "width", width);
    bf_ints_set(&choice->params, site->arena, "tokens", rows < 2 ? 1 : tokens_of(b));
    bf_butterfly_save_forms(b, &choice->params, site->arena);
    *bf_push(&choice->packs) =
        (struct bf_host_pack){.size = pack_size(b, view_of(kernel, "bias") != NULL), .fill = fill};
    bf_butterfly_free(b);
    return true;
}

/* ---- one tile ---- */

/* Rows that a pass reads or writes. */
struct place {
    enum bf_host_element element;
    LLVMValueRef base; /* row 0 of the unit, column 0 of the stack */
    int64_t pitch;     /* elements */
    int64_t end;       /* columns that exist */
};

struct state {
    struct bf_gen *gen;
    struct bf_ll *ll;
    const struct bf_butterfly *b;
    int which; /* kind of stack */
    bool bias, copied;
    LLVMValueRef unit_row, unit_rows; /* the first of all rows; their count */
    LLVMValueRef stack_column;        /* of y */
    LLVMValueRef stack_weights;
    unsigned p; /* pass */
    const struct bf_butterfly_pass *pass;
    struct bf_butterfly_segment segment;
    struct place from, to;
    LLVMValueRef column, weights; /* of the tile */
    LLVMValueRef row;             /* in the unit, of the group */
    LLVMValueRef source, target;  /* row `row`, the tile's first column */
    unsigned tokens;
    LLVMValueRef values[MOST_TOKENS][BF_BUTTERFLY_MOST_VECTORS];
};

static LLVMValueRef at(struct bf_ll *ll, const struct place *place, LLVMValueRef base,
                       LLVMValueRef index) {
    int64_t size = (int64_t)bf_host_element_size(place->element);
    return bf_ll_at_byte(ll, base, bf_ll_mul_int(ll, index, size));
}

static unsigned vector_of(const struct state *s, unsigned r) {
    return bf_butterfly_vector(s->b, s->p, s->segment.first, r);
}

static bool is_last(const struct state *s) {
    return s->p + 1 == s->b->pass_count;
}

/* Columns of vector r that exist. */
static unsigned columns_of(const struct state *s, const struct place *place, unsigned r) {
    int64_t left = place->end - (int64_t)vector_of(s, r) * s->b->lanes;
    return left < s->b->lanes ? (unsigned)left : s->b->lanes;
}

/* Floats from the first vector of a tile to vector r, t rows down. */
static LLVMValueRef element_at(struct state *s, const struct place *place, LLVMValueRef base,
                               unsigned t, unsigned r) {
    int64_t index = t * place->pitch + (int64_t)(r << s->pass->digit) * s->b->lanes;
    return at(s->ll, place, base, bf_ll_int(s->ll, index));
}

static void load_tile(struct state *s) {
    for (unsigned r = 0; r < 1u << s->pass->width; r++)
        for (unsigned t = 0; t < s->tokens; t++) {
            s->values[t][r] = NULL;
            if (!bf_butterfly_reads(s->b, s->which, s->p, vector_of(s, r)))
                continue;
            LLVMValueRef value =
                bf_ll_load_element(s->ll, s->from.element, element_at(s, &s->from, s->source, t, r),
                                   columns_of(s, &s->from, r));
            s->values[t][r] = bf_ll_resize(s->ll, value, s->b->lanes);
        }
}

static void store_vector(struct state *s, unsigned r) {
    if (!bf_butterfly_writes(s->b, s->which, s->p, vector_of(s, r)))
        return;
    for (unsigned t = 0; t < s->tokens; t++) {
        LLVMValueRef value = bf_ll_resize(s->ll, s->values[t][r], columns_of(s, &s->to, r));
        if (is_last(s) && !s->copied) {
            int64_t offset = (int64_t)(r << s->pass->digit) * s->b->lanes;
            LLVMValueRef col = bf_ll_add(s->ll, s->stack_column, s->column);
            LLVMValueRef row = bf_ll_add(s->ll, s->unit_row, s->row);
            row = bf_ll_add_int(s->ll, row, t);
            value = bf_gen_epilogue(s->gen, value, row, bf_ll_add_int(s->ll, col, offset));
        }
        bf_ll_store_element(s->ll, s->to.element, value, element_at(s, &s->to, s->target, t, r));
    }
}

/* Weights of a tile lie in the order of stages and vectors, biases after them. */
static LLVMValueRef load_weight(struct state *s, int64_t vector) {
    return bf_ll_load(s->ll, bf_ll_at_int(s->ll, s->weights, vector * s->b->lanes), s->b->lanes,
                      s->b->lanes * (unsigned)sizeof(float));
}

static LLVMValueRef load_bias(struct state *s, unsigned r) {
    int64_t vector = s->segment.weights;
    for (unsigned i = 0; i < r; i++)
        vector += bf_butterfly_writes(s->b, s->which, s->p, vector_of(s, i));
    return load_weight(s, vector);
}

static struct bf_butterfly_weights load_weights(struct state *s, unsigned stage, unsigned r) {
    int64_t vector = 0;
    for (unsigned before = s->pass->first; before <= stage; before++)
        for (unsigned i = 0; i < (before < stage ? 1u << s->pass->width : r); i++)
            vector +=
                bf_butterfly_op_weights(bf_butterfly_op(s->b, s->which, before, vector_of(s, i)));
    struct bf_butterfly_weights w = {.op = bf_butterfly_op(s->b, s->which, stage, vector_of(s, r))};
    if (w.op == BF_BUTTERFLY_FULL || w.op == BF_BUTTERFLY_SCALE_OWN)
        w.own = load_weight(s, vector++);
    if (w.op == BF_BUTTERFLY_FULL || w.op == BF_BUTTERFLY_RATIO ||
        w.op == BF_BUTTERFLY_SCALE_PARTNER)
        w.other = load_weight(s, vector);
    if (s->bias && w.op != BF_BUTTERFLY_NONE && stage + 1 == s->b->stages)
        w.bias = load_bias(s, r);
    return w;
}

static void lane_stage(struct state *s, unsigned stage, unsigned digit) {
    for (unsigned r = 0; r < 1u << s->pass->width; r++) {
        struct bf_butterfly_weights w = load_weights(s, stage, r);
        for (unsigned t = 0; t < s->tokens; t++) {
            LLVMValueRef own = s->values[t][r];
            s->values[t][r] =
                w.op ? bf_butterfly_apply(s->ll, &w, own, bf_butterfly_swap(s->ll, own, digit))
                     : NULL;
        }
        if (stage + 1 == s->pass->last)
            store_vector(s, r);
    }
}

static void vector_stage(struct state *s, unsigned stage, unsigned bit) {
    for (unsigned r = 0; r < 1u << s->pass->width; r++) {
        if (r & bit)
            continue;
        struct bf_butterfly_weights low = load_weights(s, stage, r),
                                    high = load_weights(s, stage, r | bit);
        for (unsigned t = 0; t < s->tokens; t++) {
            LLVMValueRef *row = s->values[t], a = row[r], b = row[r | bit];
            row[r] = bf_butterfly_apply(s->ll, &low, a, b);
            row[r | bit] = bf_butterfly_apply(s->ll, &high, b, a);
        }
        if (stage + 1 == s->pass->last) {
            store_vector(s, r);
            store_vector(s, r | bit);
        }
    }
}

static void generate_tile(struct state *s) {
    load_tile(s);
    for (unsigned stage = s->pass->first; stage < s->pass->last; stage++) {
        unsigned digit = bf_butterfly_digit(s->b, stage);
        if (digit < s->b->lane_bits)
            lane_stage(s, stage, digit);
        else
            vector_stage(s, stage, 1u << (digit - s->b->lane_bits - s->pass->digit));
    }
}

/* ---- loops ---- */

static void generate_rows(struct state *s, LLVMValueRef begin, LLVMValueRef end, int64_t tokens) {
    struct bf_ll_loop loop;
    bf_ll_loop_begin(s->ll, &loop, begin, end, tokens);
    s->row = loop.index;
    s->tokens = (unsigned)tokens;
    for (int side = 0; side < 2; side++) {
        struct place *place = side ? &s->to : &s->from;
        LLVMValueRef index =
            bf_ll_add(s->ll, bf_ll_mul_int(s->ll, loop.index, place->pitch), s->column);
        *(side ? &s->target : &s->source) = at(s->ll, place, place->base, index);
    }
    generate_tile(s);
    bf_ll_loop_end(s->ll, &loop);
}

/* Groups of `tokens` rows, then single ones, if the count of all rows leaves any. */
static void generate_groups(struct state *s) {
    int64_t tokens = bf_gen_param(s->gen, "tokens");
    struct bf_host_operand x = bf_gen_input_shape(s->gen, 0);
    LLVMValueRef whole = bf_ll_mul_int(s->ll, bf_ll_div_int(s->ll, s->unit_rows, tokens), tokens);
    generate_rows(s, bf_ll_int(s->ll, 0), whole, tokens);
    if (x.samples * x.rows % tokens)
        generate_rows(s, whole, s->unit_rows, 1);
}

/* First column of a tile: the bits of its number around those inside a tile. */
static LLVMValueRef first_column(struct state *s, LLVMValueRef tile) {
    unsigned digit = s->pass->digit, width = s->pass->width;
    LLVMValueRef low = bf_ll_rem_int(s->ll, tile, INT64_C(1) << digit);
    LLVMValueRef high = bf_ll_div_int(s->ll, tile, INT64_C(1) << digit);
    LLVMValueRef vector =
        bf_ll_add(s->ll, bf_ll_mul_int(s->ll, high, INT64_C(1) << (digit + width)), low);
    return bf_ll_mul_int(s->ll, vector, s->b->lanes);
}

/* Gives the vectors of weights of the segment's tiles, which begin at `weights`. */
static int64_t generate_segment(struct state *s, int64_t weights) {
    int64_t each = s->segment.weights + (s->bias && is_last(s) ? s->segment.outputs : 0);
    if (!s->segment.outputs)
        return 0;
    struct bf_ll_loop loop;
    bf_ll_loop_begin(s->ll, &loop, bf_ll_int(s->ll, 0), bf_ll_int(s->ll, s->segment.count), 1);
    s->column = first_column(s, bf_ll_add_int(s->ll, loop.index, s->segment.first));
    LLVMValueRef vector = bf_ll_add_int(s->ll, bf_ll_mul_int(s->ll, loop.index, each), weights);
    s->weights = bf_ll_at(s->ll, s->stack_weights, bf_ll_mul_int(s->ll, vector, s->b->lanes));
    generate_groups(s);
    bf_ll_loop_end(s->ll, &loop);
    return each * s->segment.count;
}

static struct place scratch_of(const struct state *s) {
    return (struct place){BF_HOST_F32, s->gen->scratch, scratch_pitch(s->b), s->b->shape.n};
}

static struct place operand_of(struct state *s, LLVMValueRef pointer, struct bf_host_operand shape,
                               LLVMValueRef column, int64_t end) {
    struct place place = {shape.element, NULL, shape.pitch, end};
    LLVMValueRef index = bf_ll_add(s->ll, bf_ll_mul_int(s->ll, s->unit_row, shape.pitch), column);
    place.base = at(s->ll, &place, pointer, index);
    return place;
}

static struct place result_of(struct state *s) {
    return operand_of(s, bf_gen_output(s->gen, 0), bf_gen_output_shape(s->gen, 0), s->stack_column,
                      bf_butterfly_outputs(s->b, s->which));
}

/* Columns [col, col + count) of row `row` of the unit: scratch -> y. */
static void copy_columns(struct state *s, LLVMValueRef row, LLVMValueRef col, unsigned count) {
    struct place from = scratch_of(s);
    LLVMValueRef source = bf_ll_add(s->ll, bf_ll_mul_int(s->ll, row, from.pitch), col);
    LLVMValueRef target = bf_ll_add(s->ll, bf_ll_mul_int(s->ll, row, s->to.pitch), col);
    LLVMValueRef value = bf_ll_load(s->ll, bf_ll_at(s->ll, from.base, source), count, 4);
    row = bf_ll_add(s->ll, s->unit_row, row);
    value = bf_gen_epilogue(s->gen, value, row, bf_ll_add(s->ll, s->stack_column, col));
    bf_ll_store_element(s->ll, s->to.element, value, at(s->ll, &s->to, s->to.base, target));
}

enum { COPY_VECTORS = 4 };

/* What the last pass left in scratch, row by row. */
static void generate_copy(struct state *s) {
    struct bf_ll_loop rows, cols;
    int64_t lanes = s->b->lanes, step = COPY_VECTORS * lanes;
    int64_t columns = bf_butterfly_outputs(s->b, s->which), col = columns / step * step;
    bf_ll_loop_begin(s->ll, &rows, bf_ll_int(s->ll, 0), s->unit_rows, 1);
    bf_ll_loop_begin(s->ll, &cols, bf_ll_int(s->ll, 0), bf_ll_int(s->ll, col), step);
    for (int64_t v = 0; v < COPY_VECTORS; v++)
        copy_columns(s, rows.index, bf_ll_add_int(s->ll, cols.index, v * lanes), (unsigned)lanes);
    bf_ll_loop_end(s->ll, &cols);
    for (; col < columns; col += lanes)
        copy_columns(s, rows.index, bf_ll_int(s->ll, col),
                     (unsigned)(columns - col < lanes ? columns - col : lanes));
    bf_ll_loop_end(s->ll, &rows);
}

static void generate_stack(struct state *s) {
    int64_t weights = 0;
    for (s->p = 0; s->p < s->b->pass_count; s->p++) {
        s->pass = &s->b->passes[s->p];
        s->from = s->p ? scratch_of(s)
                       : operand_of(s, bf_gen_input(s->gen, 0), bf_gen_input_shape(s->gen, 0),
                                    bf_ll_int(s->ll, 0), s->b->shape.in);
        s->to = is_last(s) && !s->copied ? result_of(s) : scratch_of(s);
        s->segment = (struct bf_butterfly_segment){0};
        while (bf_butterfly_next_segment(s->b, s->which, s->p, &s->segment))
            weights += generate_segment(s, weights);
    }
    if (s->copied) {
        s->to = result_of(s);
        generate_copy(s);
    }
}

/* Stacks [begin, end), all of kind `which`. */
static void generate_stacks(struct state *s, int which, int64_t begin, int64_t end) {
    struct bf_ll_loop loop;
    int64_t weights = bf_butterfly_weights(s->b, which, s->bias) * s->b->lanes;
    int64_t first = begin * bf_butterfly_weights(s->b, 0, s->bias) * s->b->lanes;
    s->which = which;
    bf_ll_loop_begin(s->ll, &loop, bf_ll_int(s->ll, 0), bf_ll_int(s->ll, end - begin), 1);
    s->stack_column = bf_ll_mul_int(s->ll, bf_ll_add_int(s->ll, loop.index, begin), s->b->shape.n);
    s->stack_weights =
        bf_ll_at(s->ll, bf_gen_pack(s->gen, 0),
                 bf_ll_add_int(s->ll, bf_ll_mul_int(s->ll, loop.index, weights), first));
    generate_stack(s);
    bf_ll_loop_end(s->ll, &loop);
}

static void generate(struct bf_gen *gen) {
    struct bf_ll *ll = gen->ll;
    struct bf_butterfly *b = plan_of(gen->first, gen->target, bf_gen_param(gen, "width"));
    bf_butterfly_load_forms(b, &gen->choice->params);
    struct state s = {.gen = gen,
                      .ll = ll,
                      .b = b,
                      .bias = view_of(gen->first, "bias") != NULL,
                      .copied = is_copied(b)};
    struct bf_host_operand x = bf_gen_input_shape(gen, 0);
    int64_t stacks = b->shape.stacks, unit = gen->choice->unit_rows;
    bool equal = bf_butterfly_outputs(b, 1) == b->shape.n;
    struct bf_ll_loop loop;
    bf_ll_loop_begin(ll, &loop, gen->begin, gen->end, 1);
    s.unit_row = bf_ll_mul_int(ll, loop.index, unit);
    s.unit_rows = bf_ll_min(ll, bf_ll_int(ll, unit),
                            bf_ll_sub(ll, bf_ll_int(ll, x.samples * x.rows), s.unit_row));
    generate_stacks(&s, 0, 0, equal ? stacks : stacks - 1);
    if (!equal)
        generate_stacks(&s, 1, stacks - 1, stacks);
    bf_ll_loop_end(ll, &loop);
    bf_butterfly_free(b);
}

const struct bf_host_generator bf_gen_butterfly = {"butterfly", BF_KERNEL_BUTTERFLY, choose,
                                                   generate};
