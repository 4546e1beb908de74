/* gen_block_butterfly.c - code for block butterflies: tile o of y is the sum over i of butterfly
 * [o, i] of tile i of x.
 *
 *     for each tile o, for some rows:                       a unit
 *       for some butterflies of tile o at a time:           their weights stay in the L1 cache
 *         for each group of rows:                           tiles of x and of the sum in registers
 *           for each of the butterflies: all its stages, the last one into the sum
 *
 * A butterfly of up to 8 vectors is one pass (butterfly.h). Larger ones are left to others.
 */
#include <stdlib.h>

#include "backend/host/gen.h"
#include "backend/host/gen_butterfly.h"
#include "ir/recipe.h"

enum { MOST_TOKENS = 8, MOST_WIDTH = 3, UNIT_ROWS = 64, CACHED_WEIGHTS = 24576 };

struct blocks {
    struct bf_butterfly *b; /* of one tile; stacks: [o][i] */
    int64_t tile, tiles_out, tiles_in;
    int64_t rows, unit, tokens, group; /* group: butterflies at a time */
    bool bias;
};

static const struct bf_param_view *view_of(const struct bf_poly_kernel *kernel, const char *role) {
    const struct bf_kernel_param *param = bf_kernel_find_param(kernel, role);
    return param ? &param->view : NULL;
}

static int64_t weight_vectors(const struct blocks *k) {
    return bf_butterfly_weights(k->b, 0, false);
}

static struct blocks blocks_of(const struct bf_poly_kernel *kernel, unsigned lanes,
                               unsigned registers) {
    const struct bf_operand *x = &kernel->inputs.data[0];
    const struct bf_param_view *twiddle = view_of(kernel, "twiddle");
    struct blocks k = {.tile = bf_ints_get(&kernel->attrs, "tile"),
                       .tiles_out = twiddle->extent[0],
                       .tiles_in = twiddle->extent[1],
                       .rows = x->buffer->samples * x->rows,
                       .bias = view_of(kernel, "bias") != NULL};
    int64_t stacks = k.tiles_out * k.tiles_in;
    struct bf_butterfly_shape shape = {
        .n = k.tile,
        .blocks = 1,
        .stacks = stacks,
        .in = k.tile,
        .out = stacks * k.tile,
        .increasing = bf_ints_get(&kernel->attrs, "increasing") != 0,
        .scale = bf_power_of_two(x->buffer->exponent - kernel->outputs.data[0].buffer->exponent),
    };
    k.b = bf_butterfly_create(&shape, lanes, MOST_WIDTH);
    int64_t vectors = 2 * (int64_t)k.b->vectors, fit = registers * 3 / 4 / vectors;
    k.tokens = fit < 1 ? 1 : fit > MOST_TOKENS ? MOST_TOKENS : fit;
    k.tokens = k.tokens > k.rows ? k.rows : k.tokens;
    k.unit = UNIT_ROWS / k.tokens * k.tokens;
    int64_t bytes = weight_vectors(&k) * k.b->lanes * (int64_t)sizeof(float);
    k.group = bytes < CACHED_WEIGHTS ? CACHED_WEIGHTS / bytes : 1;
    k.group = k.group > k.tiles_in ? k.tiles_in : k.group;
    return k;
}

static int64_t row_units(const struct blocks *k) {
    return (k->rows + k->unit - 1) / k->unit;
}

/* ---- packs: 0 weights [o][i]; 1 biases, whole tiles ---- */

static struct blocks blocks_of_pack(const struct bf_host_pack *pack) {
    const struct bf_ints *params = &pack->choice->params;
    struct blocks k = blocks_of(pack->kernel, (unsigned)bf_ints_get(params, "lanes"),
                                (unsigned)bf_ints_get(params, "registers"));
    bf_butterfly_load_forms(k.b, params);
    return k;
}

static void fill_weights(const struct bf_host_pack *pack, const struct bf_weights *values,
                         void *out) {
    struct blocks k = blocks_of_pack(pack);
    float *to = out;
    for (int64_t stack = 0; stack < k.b->shape.stacks; stack++) {
        bf_butterfly_pack(k.b, values, view_of(pack->kernel, "twiddle"), NULL, stack, 0, to);
        to += weight_vectors(&k) * k.b->lanes;
    }
    bf_butterfly_free(k.b);
}

static void fill_bias(const struct bf_host_pack *pack, const struct bf_weights *values, void *out) {
    const struct bf_poly_kernel *kernel = pack->kernel;
    double scale = bf_power_of_two(-kernel->outputs.data[0].buffer->exponent);
    float *to = out;
    for (int64_t col = 0; col < kernel->outputs.data[0].cols; col++)
        to[col] = (float)(scale * bf_host_read(values, view_of(kernel, "bias"), col));
}

static bool choose(const struct bf_host_site *site, struct bf_host_choice *choice) {
    const struct bf_poly_kernel *kernel = site->kernels[0];
    const struct bf_host_target *target = site->target;
    if (!bf_host_operand(site->poly, &kernel->inputs.data[0]).linear ||
        !bf_host_operand(site->poly, &kernel->outputs.data[0]).linear)
        return false;
    struct blocks k = blocks_of(kernel, target->lanes, target->registers);
    bool fits = k.b->pass_count == 1;
    if (fits) {
        bf_butterfly_choose_forms(k.b, site->weights, view_of(kernel, "twiddle"));
        choice->units = k.tiles_out * row_units(&k);
        choice->scratch = k.unit * k.tile * (int64_t)sizeof(float);
        choice->epilogue = true;
        bf_ints_set(&choice->params, site->arena, "lanes", target->lanes);
        bf_ints_set(&choice->params, site->arena, "registers", target->registers);
        bf_butterfly_save_forms(k.b, &choice->params, site->arena);
        int64_t floats = k.b->shape.stacks * weight_vectors(&k) * k.b->lanes;
        *bf_push(&choice->packs) =
            (struct bf_host_pack){.size = floats * (int64_t)sizeof(float), .fill = fill_weights};
        if (k.bias)
            *bf_push(&choice->packs) =
                (struct bf_host_pack){.size = k.tiles_out * k.tile * (int64_t)sizeof(float),
                                      .fill = fill_bias,
                                      .index = 1};
    }
    bf_butterfly_free(k.b);
    return fits;
}

/* ---- code ---- */

struct state {
    struct bf_gen *gen;
    struct bf_ll *ll;
    struct blocks k;
    LLVMValueRef tile;     /* o */
    LLVMValueRef unit_row; /* the unit's first row, of all */
    LLVMValueRef row;      /* of the group, in the unit */
    LLVMValueRef weights;  /* of the butterfly */
    unsigned tokens;
};

/* Butterflies at a time, and whether they are the first or the last of their tile. */
struct group {
    LLVMValueRef first;
    int64_t count;
    bool is_first, is_last;
};

typedef LLVMValueRef vectors_of_rows[MOST_TOKENS][1 << MOST_WIDTH];

/* Tile i of x. */
static void load_x(struct state *s, LLVMValueRef i, vectors_of_rows x) {
    struct bf_ll *ll = s->ll;
    struct bf_host_operand shape = bf_gen_input_shape(s->gen, 0);
    unsigned lanes = s->k.b->lanes;
    LLVMValueRef row = bf_ll_add(ll, s->unit_row, s->row);
    LLVMValueRef first = bf_ll_dot(ll, row, shape.pitch, i, s->k.tile);
    for (unsigned t = 0; t < s->tokens; t++)
        for (unsigned r = 0; r < s->k.b->vectors; r++) {
            LLVMValueRef at = bf_ll_add_int(ll, first, t * shape.pitch + r * lanes);
            at = bf_gen_element(ll, &shape, bf_gen_input(s->gen, 0), at);
            x[t][r] = bf_ll_load_element(ll, shape.element, at, lanes);
        }
}

static LLVMValueRef next_weight(struct state *s, int64_t *vector) {
    unsigned lanes = s->k.b->lanes;
    return bf_ll_load(s->ll, bf_ll_at_int(s->ll, s->weights, (*vector)++ * lanes), lanes,
                      lanes * (unsigned)sizeof(float));
}

static struct bf_butterfly_weights next_weights(struct state *s, unsigned stage, unsigned r,
                                                int64_t *vector) {
    struct bf_butterfly_weights w = {.op = bf_butterfly_op(s->k.b, 0, stage, r)};
    if (w.op == BF_BUTTERFLY_FULL)
        w.own = next_weight(s, vector);
    w.other = next_weight(s, vector);
    return w;
}

/* All stages of one butterfly; the results of the last one are added to `sum`. */
static void generate_butterfly(struct state *s, vectors_of_rows x, vectors_of_rows sum) {
    const struct bf_butterfly *b = s->k.b;
    int64_t vector = 0;
    for (unsigned stage = 0; stage < b->stages; stage++) {
        unsigned digit = bf_butterfly_digit(b, stage);
        vectors_of_rows y;
        for (unsigned r = 0; r < b->vectors; r++) {
            struct bf_butterfly_weights w = next_weights(s, stage, r, &vector);
            for (unsigned t = 0; t < s->tokens; t++) {
                LLVMValueRef partner = digit < b->lane_bits
                                           ? bf_butterfly_swap(s->ll, x[t][r], digit)
                                           : x[t][bf_butterfly_partner(b, stage, r)];
                w.bias = stage + 1 == b->stages ? sum[t][r] : NULL;
                y[t][r] = bf_butterfly_apply(s->ll, &w, x[t][r], partner);
            }
        }
        memcpy(stage + 1 == b->stages ? sum : x, y, sizeof y);
    }
}

static LLVMValueRef partial_at(struct state *s, unsigned t, unsigned r) {
    LLVMValueRef at = bf_ll_mul_int(s->ll, s->row, s->k.tile);
    at = bf_ll_add_int(s->ll, at, t * s->k.tile + r * s->k.b->lanes);
    return bf_ll_at(s->ll, s->gen->scratch, at);
}

static void store_y(struct state *s, vectors_of_rows sum) {
    struct bf_ll *ll = s->ll;
    struct bf_host_operand y = bf_gen_output_shape(s->gen, 0);
    LLVMValueRef row = bf_ll_add(ll, s->unit_row, s->row);
    LLVMValueRef tile = bf_ll_mul_int(ll, s->tile, s->k.tile);
    for (unsigned t = 0; t < s->tokens; t++)
        for (unsigned r = 0; r < s->k.b->vectors; r++) {
            LLVMValueRef col = bf_ll_add_int(ll, tile, r * s->k.b->lanes);
            LLVMValueRef at_row = bf_ll_add_int(ll, row, t);
            LLVMValueRef value = bf_gen_epilogue(s->gen, sum[t][r], at_row, col);
            LLVMValueRef at = bf_ll_add(ll, bf_ll_mul_int(ll, at_row, y.pitch), col);
            bf_ll_store_element(ll, y.element, value,
                                bf_gen_element(ll, &y, bf_gen_output(s->gen, 0), at));
        }
}

/* The sum so far: biases, or what earlier butterflies left in scratch. */
static void load_sum(struct state *s, bool first, vectors_of_rows sum) {
    unsigned lanes = s->k.b->lanes;
    for (unsigned t = 0; t < s->tokens; t++)
        for (unsigned r = 0; r < s->k.b->vectors; r++) {
            LLVMValueRef at = partial_at(s, t, r);
            if (first && s->k.bias)
                at = bf_ll_at(
                    s->ll, bf_gen_pack(s->gen, 1),
                    bf_ll_add_int(s->ll, bf_ll_mul_int(s->ll, s->tile, s->k.tile), r * lanes));
            sum[t][r] = first && !s->k.bias ? bf_ll_const(s->ll, lanes, 0)
                                            : bf_ll_load(s->ll, at, lanes, 4);
        }
}

/* The sums of a group of rows as one list, which a loop carries. */
static LLVMValueRef *sum_at(struct state *s, vectors_of_rows sum, unsigned v) {
    return &sum[v / s->k.b->vectors][v % s->k.b->vectors];
}

/* Butterflies [first, first + count) on one group of rows. */
static void generate_group(struct state *s, const struct group *g) {
    struct bf_ll *ll = s->ll;
    vectors_of_rows x, sum;
    struct bf_ll_loop loop;
    unsigned sums = s->tokens * s->k.b->vectors;
    load_sum(s, g->is_first, sum);
    bf_ll_loop_begin(ll, &loop, g->first, bf_ll_add_int(ll, g->first, g->count), 1);
    for (unsigned v = 0; v < sums; v++)
        *sum_at(s, sum, v) = loop.carried[bf_ll_carry(ll, &loop, *sum_at(s, sum, v))];
    LLVMValueRef stack = bf_ll_add(ll, bf_ll_mul_int(ll, s->tile, s->k.tiles_in), loop.index);
    s->weights = bf_ll_at(ll, bf_gen_pack(s->gen, 0),
                          bf_ll_mul_int(ll, stack, weight_vectors(&s->k) * s->k.b->lanes));
    load_x(s, loop.index, x);
    generate_butterfly(s, x, sum);
    for (unsigned v = 0; v < sums; v++)
        loop.next[v] = *sum_at(s, sum, v);
    bf_ll_loop_end(ll, &loop);
    for (unsigned v = 0; v < sums; v++)
        *sum_at(s, sum, v) = loop.carried[v];
    if (g->is_last)
        store_y(s, sum);
    for (unsigned v = 0; v < sums && !g->is_last; v++)
        bf_ll_store(ll, *sum_at(s, sum, v), partial_at(s, v / s->k.b->vectors, v % s->k.b->vectors),
                    4);
}

/* Groups of `tokens` rows, then single ones. */
static void generate_rows(struct state *s, LLVMValueRef rows, const struct group *g) {
    int64_t tokens = s->k.tokens;
    LLVMValueRef whole = bf_ll_mul_int(s->ll, bf_ll_div_int(s->ll, rows, tokens), tokens);
    for (int pass = 0; pass < (s->k.rows % tokens ? 2 : 1); pass++) {
        struct bf_ll_loop loop;
        s->tokens = pass ? 1 : (unsigned)tokens;
        bf_ll_loop_begin(s->ll, &loop, pass ? whole : bf_ll_int(s->ll, 0), pass ? rows : whole,
                         s->tokens);
        s->row = loop.index;
        generate_group(s, g);
        bf_ll_loop_end(s->ll, &loop);
    }
}

/* The first group takes the bias, the last one stores y. */
static void generate_unit(struct state *s, LLVMValueRef rows) {
    int64_t group = s->k.group, count = (s->k.tiles_in + group - 1) / group;
    struct group g = {bf_ll_int(s->ll, 0), group, true, false};
    if (count > 1) {
        generate_rows(s, rows, &g);
        g.is_first = false;
    }
    if (count > 2) {
        struct bf_ll_loop loop;
        bf_ll_loop_begin(s->ll, &loop, bf_ll_int(s->ll, group),
                         bf_ll_int(s->ll, (count - 1) * group), group);
        g.first = loop.index;
        generate_rows(s, rows, &g);
        bf_ll_loop_end(s->ll, &loop);
    }
    g.first = bf_ll_int(s->ll, (count - 1) * group);
    g.count = s->k.tiles_in - (count - 1) * group;
    g.is_last = true;
    generate_rows(s, rows, &g);
}

static void generate(struct bf_gen *gen) {
    struct bf_ll *ll = gen->ll;
    struct state s = {.gen = gen, .ll = ll};
    s.k = blocks_of(gen->first, gen->target->lanes, gen->target->registers);
    bf_butterfly_load_forms(s.k.b, &gen->choice->params);
    struct bf_ll_loop units;
    bf_ll_loop_begin(ll, &units, gen->begin, gen->end, 1);
    s.tile = bf_ll_div_int(ll, units.index, row_units(&s.k));
    s.unit_row = bf_ll_mul_int(ll, bf_ll_rem_int(ll, units.index, row_units(&s.k)), s.k.unit);
    LLVMValueRef left = bf_ll_sub(ll, bf_ll_int(ll, s.k.rows), s.unit_row);
    generate_unit(&s, bf_ll_min(ll, bf_ll_int(ll, s.k.unit), left));
    bf_ll_loop_end(ll, &units);
    bf_butterfly_free(s.k.b);
}

const struct bf_host_generator bf_gen_block_butterfly = {
    "block_butterfly", BF_KERNEL_BLOCK_BUTTERFLY, choose, generate};
