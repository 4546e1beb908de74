/* gen_attention.c - softmax(q k^T / sqrt(d)) v, head by head, scores never in memory but for a
 * tile.
 *
 *     for head, for block of queries (a unit), for block of keys:
 *         k -> kt, v -> vp           scratch: columns x keys in panels, keys x columns
 *         for tile of queries:
 *             p   = q kt             tile x keys, masked; the maximum of each row on the way
 *             p   = 2^(p - maximum)  and its sum
 *             o   = o 2^(old maximum - maximum) + p vp
 *     y = o / sum
 *
 * (Milakov, Gimelshein 2018; Dao et al. 2022.) With one block of keys nothing has to be rescaled
 * and the tile goes straight to y. Powers of two: log2 e is a part of the scale. A hidden key has
 * score -inf; maxima begin with a finite number, so that a row that sees no key gives zeros.
 */
#include "backend/host/gen_tile.h"

#include <math.h>

#include "ir/recipe.h"

enum {
    MOST_KEYS = 512,    /* in a block */
    USUAL_QUERIES = 128 /* in a unit: packing k and v is a small part of its work */
};
#define LOWEST (-3e38) /* what maxima begin with */

/* ---- shapes ---- */

struct attention {
    struct bf_gen *gen;
    struct bf_ll *ll;
    struct bf_host_operand q, k, v, y, mask;
    int64_t heads, group, width; /* group: query heads that share a key head */
    int64_t queries, keys, window;
    bool causal, masked;
    int64_t lanes, wide; /* wide: keys in a panel */
    int64_t height;      /* rows of a tile */
    int64_t tiles;       /* of a unit */
    int64_t unit_count;  /* of a head */
    int64_t key_block;   /* keys in a block */
    bool one_block;
    int64_t columns; /* width rounded up to lanes */
    int64_t p_pitch;
    /* Scratch, in floats from its start. */
    int64_t kt, vp, p, o, maxima, peaks, sums, factors, size;
    double scale, out_scale;

    /* Of the unit that is generated. */
    LLVMValueRef q_at, k_at, v_at, y_at, mask_at; /* the head's first elements */
    LLVMValueRef first_row, end_row;              /* queries of the unit */
    LLVMValueRef first_key, end_key;              /* keys of the block */
};

/* Offsets of what scratch holds, each a whole number of lines. */
static void place(struct attention *a) {
    int64_t at = 0, rows = a->tiles * a->height;
    struct {
        int64_t *offset, floats;
    } parts[] = {
        {&a->kt, a->width * a->key_block},
        {&a->vp, a->columns * a->key_block},
        {&a->p, a->height * a->p_pitch},
        {&a->peaks, a->height * a->lanes}, /* the maximum of each lane of a row of p */
        {&a->factors, a->height},
        {&a->maxima, a->one_block ? a->height : rows},
        {&a->sums, a->one_block ? a->height : rows},
        {&a->o, a->one_block ? 0 : rows * a->columns},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i].offset = at;
        at += (int64_t)bf_round_up((uint64_t)parts[i].floats, BF_HOST_ALIGN / sizeof(float));
    }
    a->size = at;
}

static struct attention describe(const struct bf_poly *poly, const struct bf_poly_kernel *kernel,
                                 const struct bf_host_target *target) {
    const struct bf_operand *in = kernel->inputs.data, *out = kernel->outputs.data;
    int64_t heads = bf_ints_get(&kernel->attrs, "heads");
    struct attention a = {
        .q = bf_host_operand(poly, &in[0]),
        .k = bf_host_operand(poly, &in[1]),
        .v = bf_host_operand(poly, &in[2]),
        .y = bf_host_operand(poly, &out[0]),
        .heads = heads,
        .group = heads / bf_ints_get(&kernel->attrs, "kv_heads"),
        .width = in[0].cols / heads,
        .queries = in[0].rows,
        .keys = in[1].rows,
        .causal = bf_ints_get(&kernel->attrs, "causal"),
        .window = bf_ints_get(&kernel->attrs, "window"),
        .masked = kernel->inputs.count > 3,
        .lanes = target->lanes,
        .wide = 2 * (int64_t)target->lanes,
    };
    if (a.masked)
        a.mask = bf_host_operand(poly, &in[3]);
    int64_t blocks = bf_tile_divide_up(a.keys, MOST_KEYS);
    int64_t per_block = bf_tile_divide_up(a.keys, blocks);
    a.one_block = blocks == 1;
    a.key_block = (int64_t)bf_round_up((uint64_t)per_block, (uint64_t)a.wide);
    a.columns = (int64_t)bf_round_up((uint64_t)a.width, (uint64_t)a.lanes);
    a.p_pitch = a.key_block + BF_HOST_ALIGN / (int64_t)sizeof(float);

    int64_t most = bf_tile_most_rows(target, 2), tiles = bf_tile_divide_up(a.queries, most);
    a.height = bf_tile_divide_up(a.queries, tiles);
    tiles = bf_tile_divide_up(a.queries, a.height);
    a.unit_count = bf_tile_divide_up(a.queries, USUAL_QUERIES);
    a.tiles = bf_tile_divide_up(tiles, a.unit_count);
    a.unit_count = bf_tile_divide_up(tiles, a.tiles);
    int exponent = in[0].buffer->exponent + in[1].buffer->exponent;
    a.scale = bf_power_of_two(exponent) * 1.4426950408889634 / sqrt((double)a.width);
    a.out_scale = bf_power_of_two(in[2].buffer->exponent - out[0].buffer->exponent);
    place(&a);
    return a;
}

static bool choose(const struct bf_host_site *site, struct bf_host_choice *choice) {
    struct attention a = describe(site->poly, site->kernels[0], site->target);
    if (a.q.element != BF_HOST_F32 || a.k.element != BF_HOST_F32 || a.v.element != BF_HOST_F32 ||
        a.y.element != BF_HOST_F32)
        return false;
    choice->units = a.y.samples * a.heads * a.unit_count;
    choice->scratch = a.size * (int64_t)sizeof(float);
    int64_t work = 2 * a.tiles * a.height * a.keys * a.width;
    choice->grain = 1 + (1 << 20) / work;
    return true;
}

/* ---- small pieces ---- */

static LLVMValueRef scratch(struct attention *a, int64_t offset) {
    return bf_ll_at_int(a->ll, a->gen->scratch, offset);
}

/* An i64 in every lane, as i32. */
static LLVMValueRef splat_int(struct attention *a, LLVMValueRef value) {
    struct bf_ll *ll = a->ll;
    LLVMTypeRef type = LLVMVectorType(ll->i32, (unsigned)a->lanes);
    LLVMValueRef first = LLVMConstInt(ll->i32, 0, false);
    value = LLVMBuildTrunc(ll->builder, value, ll->i32, "");
    value = LLVMBuildInsertElement(ll->builder, LLVMGetPoison(type), value, first, "");
    return LLVMBuildShuffleVector(ll->builder, value, LLVMGetPoison(type), LLVMConstNull(type), "");
}

/* first, first + 1, .. as i32. */
static LLVMValueRef ramp(struct attention *a, LLVMValueRef first) {
    struct bf_ll *ll = a->ll;
    LLVMValueRef steps[64];
    for (int64_t i = 0; i < a->lanes; i++)
        steps[i] = LLVMConstInt(ll->i32, (unsigned long long)i, false);
    return LLVMBuildAdd(ll->builder, splat_int(a, first),
                        LLVMConstVector(steps, (unsigned)a->lanes), "");
}

/* Whether keys lie before (SLT) or after (SGT) query + distance. */
static LLVMValueRef compare(struct attention *a, LLVMIntPredicate predicate, LLVMValueRef keys,
                            LLVMValueRef query, int64_t distance) {
    LLVMValueRef bound = splat_int(a, bf_ll_add_int(a->ll, query, distance));
    return LLVMBuildICmp(a->ll->builder, predicate, keys, bound, "");
}

static LLVMValueRef either(struct attention *a, LLVMValueRef x, LLVMValueRef y) {
    return x && y ? LLVMBuildOr(a->ll->builder, x, y, "") : x ? x : y;
}

/* ---- packing k and v ---- */

/* Keys [key, key + rows) of k and columns [col, col + cols) into the panel at `to`. */
static void transpose_piece(struct attention *a, LLVMValueRef key, int64_t rows, LLVMValueRef col,
                            int64_t cols, LLVMValueRef to) {
    struct bf_ll *ll = a->ll;
    LLVMValueRef from = bf_ll_add(ll, bf_ll_mul_int(ll, key, a->k.pitch), col);
    from = bf_ll_at(ll, a->k_at, from);
    to = bf_ll_at_row(ll, to, col, a->wide);
    bf_tile_transpose(ll, from, a->k.pitch, rows, cols, a->lanes, to, a->wide);
}

/* One panel of kt: `count` keys from `key` on. */
static void pack_keys(struct attention *a, LLVMValueRef key, int64_t count) {
    struct bf_ll *ll = a->ll;
    LLVMValueRef offset = bf_ll_mul_int(ll, bf_ll_sub(ll, key, a->first_key), a->width);
    LLVMValueRef to = bf_ll_at(ll, scratch(a, a->kt), offset);
    int64_t rest = a->width % a->lanes, full = a->width - rest;
    for (int64_t half = 0; half * a->lanes < a->wide; half++) {
        LLVMValueRef first = bf_ll_add_int(ll, key, half * a->lanes);
        LLVMValueRef half_to = bf_ll_at_int(ll, to, half * a->lanes);
        int64_t rows = bf_tile_larger(bf_tile_smaller(count - half * a->lanes, a->lanes), 0);
        if (full) {
            struct bf_ll_loop loop;
            bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), bf_ll_int(ll, full), a->lanes);
            transpose_piece(a, first, rows, loop.index, a->lanes, half_to);
            bf_ll_loop_end(ll, &loop);
        }
        if (rest)
            transpose_piece(a, first, rows, bf_ll_int(ll, full), rest, half_to);
    }
}

static void copy_vector(struct attention *a, LLVMValueRef from, LLVMValueRef to, int64_t count) {
    LLVMValueRef value = bf_ll_load(a->ll, from, (unsigned)count, 4);
    value = bf_tile_widen(a->ll, value, (unsigned)a->lanes);
    bf_ll_store(a->ll, value, to, (unsigned)a->lanes * 4);
}

static void pack_values(struct attention *a) {
    struct bf_ll *ll = a->ll;
    int64_t rest = a->width % a->lanes, full = a->width - rest;
    struct bf_ll_loop keys, cols;
    bf_ll_loop_begin(ll, &keys, a->first_key, a->end_key, 1);
    LLVMValueRef from = bf_ll_at(ll, a->v_at, bf_ll_mul_int(ll, keys.index, a->v.pitch));
    LLVMValueRef row = bf_ll_mul_int(ll, bf_ll_sub(ll, keys.index, a->first_key), a->columns);
    LLVMValueRef to = bf_ll_at(ll, scratch(a, a->vp), row);
    if (full) {
        bf_ll_loop_begin(ll, &cols, bf_ll_int(ll, 0), bf_ll_int(ll, full), a->lanes);
        LLVMValueRef source = bf_ll_at(ll, from, cols.index);
        copy_vector(a, source, bf_ll_at(ll, to, cols.index), a->lanes);
        bf_ll_loop_end(ll, &cols);
    }
    if (rest) {
        from = bf_ll_at_int(ll, from, full);
        copy_vector(a, from, bf_ll_at_int(ll, to, full), rest);
    }
    bf_ll_loop_end(ll, &keys);
}

/* Calls `each` for the panels of keys [first, end), and for the panel that is not full. */
typedef void panel_function(struct attention *a, void *user, LLVMValueRef key, int64_t count);
static void each_panel(struct attention *a, LLVMValueRef first, LLVMValueRef end,
                       panel_function *each, void *user) {
    struct bf_ll *ll = a->ll;
    int64_t rest = a->keys % a->wide, full = a->keys - rest;
    struct bf_ll_loop loop;
    bf_ll_loop_begin(ll, &loop, first, bf_ll_min(ll, end, bf_ll_int(ll, full)), a->wide);
    each(a, user, loop.index, a->wide);
    bf_ll_loop_end(ll, &loop);
    if (!rest)
        return;
    struct bf_ll_if branch;
    first = bf_ll_max(ll, first, bf_ll_int(ll, full)); /* beyond the end if there are no keys */
    bf_ll_if_begin(ll, &branch, bf_ll_less(ll, first, end));
    each(a, user, bf_ll_int(ll, full), rest);
    bf_ll_if_end(ll, &branch);
}

static void pack_panel(struct attention *a, void *user, LLVMValueRef key, int64_t count) {
    (void)user;
    pack_keys(a, key, count);
}

/* ---- a tile of queries against a block of keys ---- */

struct rows {
    int64_t count;
    LLVMValueRef first;    /* query */
    LLVMValueRef from, to; /* keys of the block that some query of the tile sees */
    LLVMValueRef state;    /* number of its first row in maxima, sums and o */
};

/* Which of `count` keys from `key` on query `query` does not see; NULL: it sees all. */
static LLVMValueRef hidden(struct attention *a, LLVMValueRef query, LLVMValueRef key,
                           int64_t count) {
    struct bf_ll *ll = a->ll;
    LLVMValueRef keys = ramp(a, key), result = NULL;
    if (a->causal)
        result = compare(a, LLVMIntSGT, keys, query, 0);
    if (a->window > 0) {
        LLVMValueRef before = compare(a, LLVMIntSLT, keys, query, a->causal - a->window);
        result = either(a, result, before);
        if (!a->causal)
            result = either(a, result, compare(a, LLVMIntSGT, keys, query, a->window));
    }
    if (count < a->lanes) {
        LLVMValueRef missing[64];
        for (int64_t i = 0; i < a->lanes; i++)
            missing[i] = LLVMConstInt(ll->i1, i >= count, false);
        result = either(a, result, LLVMConstVector(missing, (unsigned)a->lanes));
    }
    if (a->masked) {
        LLVMValueRef at = key;
        if (a->mask.rows > 1)
            at = bf_ll_add(ll, bf_ll_mul_int(ll, query, a->mask.pitch), key);
        at = bf_gen_element(ll, &a->mask, a->mask_at, at);
        LLVMValueRef keep = bf_ll_load_element(ll, a->mask.element, at, (unsigned)count);
        keep = bf_tile_widen(ll, keep, (unsigned)a->lanes);
        LLVMValueRef zero = bf_ll_const(ll, (unsigned)a->lanes, 0);
        result = either(a, result, LLVMBuildFCmp(ll->builder, LLVMRealOEQ, keep, zero, ""));
    }
    return result;
}

/* Scores of one panel: p, and the largest of each lane so far. */
static void scores(struct attention *a, void *user, LLVMValueRef key, int64_t count) {
    struct bf_ll *ll = a->ll;
    struct rows *rows = user;
    unsigned lanes = (unsigned)a->lanes;
    LLVMValueRef panel = bf_ll_sub(ll, key, a->first_key), sums[BF_TILE_SUMS];
    LLVMValueRef x = bf_ll_at_row(ll, a->q_at, rows->first, a->q.pitch);
    LLVMValueRef w = bf_ll_at_row(ll, scratch(a, a->kt), panel, a->width);
    struct bf_tile product = {
        .rows = rows->count,
        .vectors = bf_tile_divide_up(count, a->lanes),
        .lanes = a->lanes,
        .x = x,
        .w = w,
        .x_pitch = a->q.pitch,
        .w_pitch = a->wide,
    };
    for (int64_t s = 0; s < product.rows * product.vectors; s++)
        sums[s] = bf_ll_const(ll, lanes, 0);
    bf_tile_multiply(ll, &product, bf_ll_int(ll, 0), bf_ll_int(ll, a->width), a->width, sums);
    for (int64_t r = 0; r < product.rows; r++) {
        LLVMValueRef peak_at = scratch(a, a->peaks + r * a->lanes);
        LLVMValueRef peak = bf_ll_load(ll, peak_at, lanes, lanes * 4);
        LLVMValueRef to = bf_ll_at(ll, scratch(a, a->p + r * a->p_pitch), panel);
        for (int64_t v = 0; v < product.vectors; v++) {
            LLVMValueRef score =
                bf_ll_fmul(ll, sums[r * product.vectors + v], bf_ll_const(ll, lanes, a->scale));
            LLVMValueRef query = bf_ll_add_int(ll, rows->first, r);
            LLVMValueRef hide = hidden(a, query, bf_ll_add_int(ll, key, v * a->lanes),
                                       bf_tile_smaller(count - v * a->lanes, a->lanes));
            if (hide)
                score = LLVMBuildSelect(ll->builder, hide, bf_ll_const(ll, lanes, -INFINITY), score,
                                        "");
            peak = bf_ll_fmax(ll, score, peak);
            bf_ll_store(ll, score, bf_ll_at_int(ll, to, v * a->lanes), lanes * 4);
        }
        bf_ll_store(ll, peak, peak_at, lanes * 4);
    }
}

static LLVMValueRef load_one(struct attention *a, int64_t part, LLVMValueRef index) {
    return bf_ll_load(a->ll, bf_ll_at(a->ll, scratch(a, part), index), 1, 4);
}
static void store_one(struct attention *a, int64_t part, LLVMValueRef index, LLVMValueRef value) {
    bf_ll_store(a->ll, value, bf_ll_at(a->ll, scratch(a, part), index), 4);
}

/* Scores become powers; maxima, sums and factors of the rows. */
static void powers(struct attention *a, const struct rows *rows) {
    struct bf_ll *ll = a->ll;
    unsigned lanes = (unsigned)a->lanes;
    struct bf_ll_loop row, keys;
    bf_ll_loop_begin(ll, &row, bf_ll_int(ll, 0), bf_ll_int(ll, rows->count), 1);
    LLVMValueRef peak_at = bf_ll_at_row(ll, scratch(a, a->peaks), row.index, a->lanes);
    LLVMValueRef state = bf_ll_add(ll, rows->state, row.index);
    LLVMValueRef old = a->one_block ? bf_ll_const(ll, 1, LOWEST) : load_one(a, a->maxima, state);
    LLVMValueRef peak = bf_ll_maximum(ll, bf_ll_load(ll, peak_at, lanes, lanes * 4));
    peak = bf_ll_fmax(ll, peak, old);
    LLVMValueRef spread = bf_ll_splat(ll, peak, lanes);
    LLVMValueRef p = bf_ll_at_row(ll, scratch(a, a->p), row.index, a->p_pitch);

    LLVMValueRef from = bf_ll_sub(ll, rows->from, a->first_key);
    bf_ll_loop_begin(ll, &keys, from, bf_ll_sub(ll, rows->to, a->first_key), a->lanes);
    bf_ll_carry(ll, &keys, bf_ll_const(ll, lanes, 0));
    LLVMValueRef at = bf_ll_at(ll, p, keys.index);
    LLVMValueRef power =
        bf_gen_exp2(ll, bf_ll_fsub(ll, bf_ll_load(ll, at, lanes, lanes * 4), spread));
    bf_ll_store(ll, power, at, lanes * 4);
    keys.next[0] = bf_ll_fadd(ll, keys.carried[0], power);
    bf_ll_loop_end(ll, &keys);

    LLVMValueRef sum = bf_ll_sum(ll, keys.carried[0]);
    if (!a->one_block) {
        LLVMValueRef factor = bf_gen_exp2(ll, bf_ll_fsub(ll, old, peak));
        sum = bf_ll_fma(ll, load_one(a, a->sums, state), factor, sum);
        store_one(a, a->factors, row.index, factor);
        store_one(a, a->maxima, state, peak);
    }
    store_one(a, a->sums, state, sum);
    bf_ll_loop_end(ll, &row);
}

/* out_scale / sum, or 0 for a row that saw no key. */
static LLVMValueRef over_sum(struct attention *a, LLVMValueRef state) {
    struct bf_ll *ll = a->ll;
    LLVMValueRef sum = load_one(a, a->sums, state), zero = bf_ll_const(ll, 1, 0);
    LLVMValueRef inverse = bf_ll_fdiv(ll, bf_ll_const(ll, 1, a->out_scale), sum);
    LLVMValueRef none = LLVMBuildFCmp(ll->builder, LLVMRealOEQ, sum, zero, "");
    return LLVMBuildSelect(ll->builder, none, zero, inverse, "");
}

/* `vectors` vectors of columns from `col` on of p v; only `cols` columns exist. */
static void weigh(struct attention *a, const struct rows *rows, LLVMValueRef col, int64_t vectors,
                  int64_t cols) {
    struct bf_ll *ll = a->ll;
    unsigned lanes = (unsigned)a->lanes;
    LLVMValueRef sums[BF_TILE_SUMS];
    LLVMValueRef o = bf_ll_at_row(ll, scratch(a, a->o), rows->state, a->columns);
    LLVMValueRef y = bf_ll_at(ll, a->y_at, bf_ll_mul_int(ll, rows->first, a->y.pitch));
    o = bf_ll_at(ll, o, col);
    y = bf_ll_at(ll, y, col);
    for (int64_t r = 0; r < rows->count; r++) {
        LLVMValueRef factor = a->one_block ? NULL : load_one(a, a->factors, bf_ll_int(ll, r));
        for (int64_t v = 0; v < vectors; v++) {
            LLVMValueRef at = bf_ll_at_int(ll, o, r * a->columns + v * a->lanes);
            LLVMValueRef *sum = &sums[r * vectors + v];
            *sum = bf_ll_const(ll, lanes, 0);
            if (!a->one_block) {
                *sum = bf_ll_load(ll, at, lanes, lanes * 4);
                *sum = bf_ll_fmul(ll, *sum, bf_ll_splat(ll, factor, lanes));
            }
        }
    }
    LLVMValueRef p = scratch(a, a->p), v_at = bf_ll_at(ll, scratch(a, a->vp), col);
    struct bf_tile product = {
        .rows = rows->count,
        .vectors = vectors,
        .lanes = a->lanes,
        .x = p,
        .w = v_at,
        .x_pitch = a->p_pitch,
        .w_pitch = a->columns,
    };
    LLVMValueRef from = bf_ll_sub(ll, rows->from, a->first_key);
    bf_tile_multiply(ll, &product, from, bf_ll_sub(ll, rows->to, a->first_key), 0, sums);
    for (int64_t r = 0; r < rows->count; r++) {
        LLVMValueRef factor =
            a->one_block ? bf_ll_splat(ll, over_sum(a, bf_ll_int(ll, r)), lanes) : NULL;
        for (int64_t v = 0; v < vectors; v++) {
            LLVMValueRef sum = sums[r * vectors + v];
            unsigned count = (unsigned)bf_tile_smaller(cols - v * a->lanes, a->lanes);
            if (!factor) {
                bf_ll_store(ll, sum, bf_ll_at_int(ll, o, r * a->columns + v * a->lanes), lanes * 4);
                continue;
            }
            sum = bf_tile_narrow(ll, bf_ll_fmul(ll, sum, factor), count);
            bf_ll_store(ll, sum, bf_ll_at_int(ll, y, r * a->y.pitch + v * a->lanes), 4);
        }
    }
}

static void tile(struct attention *a, struct rows *rows) {
    struct bf_ll *ll = a->ll;
    unsigned lanes = (unsigned)a->lanes;
    int64_t panels = a->width / a->wide, rest = a->width % a->wide;
    for (int64_t r = 0; r < rows->count; r++)
        bf_ll_store(ll, bf_ll_const(ll, lanes, LOWEST), scratch(a, a->peaks + r * a->lanes),
                    lanes * 4);
    each_panel(a, rows->from, rows->to, scores, rows);
    powers(a, rows);
    if (panels) {
        struct bf_ll_loop loop;
        bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), bf_ll_int(ll, panels * a->wide), a->wide);
        weigh(a, rows, loop.index, 2, a->wide);
        bf_ll_loop_end(ll, &loop);
    }
    if (rest)
        weigh(a, rows, bf_ll_int(ll, panels * a->wide), bf_tile_divide_up(rest, a->lanes), rest);
}

/* ---- units ---- */

/* The keys that queries [first, end) see, from a panel's first on; empty: end <= first. */
static void visible(struct attention *a, LLVMValueRef first, LLVMValueRef end, LLVMValueRef *from,
                    LLVMValueRef *to) {
    struct bf_ll *ll = a->ll;
    *from = bf_ll_int(ll, 0);
    *to = bf_ll_int(ll, a->keys);
    if (a->causal)
        *to = bf_ll_min(ll, *to, end);
    if (a->window <= 0)
        return;
    if (!a->causal)
        *to = bf_ll_min(ll, *to, bf_ll_add_int(ll, end, a->window));
    *from = bf_ll_max(ll, bf_ll_add_int(ll, first, a->causal - a->window), *from);
    *from = bf_ll_mul_int(ll, bf_ll_div_int(ll, *from, a->wide), a->wide);
}

/* `number` is the tile's in the head. */
static void tile_of(struct attention *a, LLVMValueRef number, int64_t count) {
    struct bf_ll *ll = a->ll;
    struct rows rows = {.count = count, .first = bf_ll_mul_int(ll, number, a->height)};
    visible(a, rows.first, bf_ll_add_int(ll, rows.first, count), &rows.from, &rows.to);
    rows.from = bf_ll_max(ll, rows.from, a->first_key);
    rows.to = bf_ll_min(ll, rows.to, a->end_key);
    rows.state = a->one_block ? bf_ll_int(ll, 0) : bf_ll_sub(ll, rows.first, a->first_row);
    struct bf_ll_if branch;
    if (!a->one_block)
        bf_ll_if_begin(ll, &branch, bf_ll_less(ll, rows.from, rows.to));
    tile(a, &rows);
    if (!a->one_block)
        bf_ll_if_end(ll, &branch);
}

static void key_block(struct attention *a) {
    struct bf_ll *ll = a->ll;
    int64_t rest = a->queries % a->height, full = a->queries / a->height;
    each_panel(a, a->first_key, a->end_key, pack_panel, NULL);
    pack_values(a);
    LLVMValueRef end = bf_ll_div_int(ll, a->end_row, a->height); /* whole tiles before it */
    struct bf_ll_loop loop;
    bf_ll_loop_begin(ll, &loop, bf_ll_div_int(ll, a->first_row, a->height), end, 1);
    tile_of(a, loop.index, a->height);
    bf_ll_loop_end(ll, &loop);
    if (!rest)
        return;
    struct bf_ll_if branch;
    bf_ll_if_begin(ll, &branch, bf_ll_less(ll, bf_ll_int(ll, full * a->height), a->end_row));
    tile_of(a, bf_ll_int(ll, full), rest);
    bf_ll_if_end(ll, &branch);
}

/* Before the first block of keys. */
static void clear_rows(struct attention *a) {
    struct bf_ll *ll = a->ll;
    unsigned lanes = (unsigned)a->lanes;
    struct bf_ll_loop row, cols;
    LLVMValueRef zero = bf_ll_int(ll, 0);
    bf_ll_loop_begin(ll, &row, zero, bf_ll_sub(ll, a->end_row, a->first_row), 1);
    store_one(a, a->maxima, row.index, bf_ll_const(ll, 1, LOWEST));
    store_one(a, a->sums, row.index, bf_ll_const(ll, 1, 0));
    LLVMValueRef o = bf_ll_at_row(ll, scratch(a, a->o), row.index, a->columns);
    bf_ll_loop_begin(ll, &cols, zero, bf_ll_int(ll, a->columns), a->lanes);
    bf_ll_store(ll, bf_ll_const(ll, lanes, 0), bf_ll_at(ll, o, cols.index), lanes * 4);
    bf_ll_loop_end(ll, &cols);
    bf_ll_loop_end(ll, &row);
}

/* After the last one. */
static void divide_rows(struct attention *a) {
    struct bf_ll *ll = a->ll;
    struct bf_ll_loop row;
    bf_ll_loop_begin(ll, &row, bf_ll_int(ll, 0), bf_ll_sub(ll, a->end_row, a->first_row), 1);
    LLVMValueRef factor = over_sum(a, row.index);
    LLVMValueRef o = bf_ll_at_row(ll, scratch(a, a->o), row.index, a->columns);
    LLVMValueRef query = bf_ll_add(ll, a->first_row, row.index);
    LLVMValueRef y = bf_ll_at(ll, a->y_at, bf_ll_mul_int(ll, query, a->y.pitch));
    for (int64_t c = 0; c < a->width; c += a->lanes) {
        unsigned count = (unsigned)bf_tile_smaller(a->width - c, a->lanes);
        LLVMValueRef value = bf_ll_load(ll, bf_ll_at_int(ll, o, c), count, 4);
        value = bf_ll_fmul(ll, value, bf_ll_splat(ll, factor, count));
        bf_ll_store(ll, value, bf_ll_at_int(ll, y, c), 4);
    }
    bf_ll_loop_end(ll, &row);
}

/* Address of a head's columns in a sample. */
static LLVMValueRef head_at(struct attention *a, const struct bf_host_operand *operand,
                            LLVMValueRef pointer, LLVMValueRef sample, LLVMValueRef head) {
    LLVMValueRef col = bf_ll_mul_int(a->ll, head, a->width);
    return bf_ll_at(a->ll, pointer,
                    bf_gen_offset(a->ll, operand, sample, bf_ll_int(a->ll, 0), col));
}

static void begin_unit(struct attention *a, LLVMValueRef unit) {
    struct bf_ll *ll = a->ll;
    struct bf_gen *gen = a->gen;
    LLVMValueRef number = bf_ll_rem_int(ll, unit, a->unit_count);
    LLVMValueRef head = bf_ll_div_int(ll, unit, a->unit_count);
    LLVMValueRef sample = bf_ll_div_int(ll, head, a->heads);
    head = bf_ll_rem_int(ll, head, a->heads);
    LLVMValueRef kv_head = bf_ll_div_int(ll, head, a->group);
    a->q_at = head_at(a, &a->q, bf_gen_input(gen, 0), sample, head);
    a->k_at = head_at(a, &a->k, bf_gen_input(gen, 1), sample, kv_head);
    a->v_at = head_at(a, &a->v, bf_gen_input(gen, 2), sample, kv_head);
    a->y_at = head_at(a, &a->y, bf_gen_output(gen, 0), sample, head);
    if (a->masked) {
        LLVMValueRef zero = bf_ll_int(ll, 0);
        LLVMValueRef at = bf_gen_offset(ll, &a->mask, sample, zero, zero);
        a->mask_at = bf_gen_element(ll, &a->mask, bf_gen_input(gen, 3), at);
    }
    a->first_row = bf_ll_mul_int(ll, number, a->tiles * a->height);
    a->end_row = bf_ll_add_int(ll, a->first_row, a->tiles * a->height);
    a->end_row = bf_ll_min(ll, a->end_row, bf_ll_int(ll, a->queries));
}

static void generate(struct bf_gen *gen) {
    struct bf_ll *ll = gen->ll;
    struct attention a = describe(gen->poly, gen->first, gen->target);
    a.gen = gen;
    a.ll = ll;
    struct bf_ll_loop units, blocks;
    bf_ll_loop_begin(ll, &units, gen->begin, gen->end, 1);
    begin_unit(&a, units.index);
    LLVMValueRef from, to;
    visible(&a, a.first_row, a.end_row, &from, &to);
    if (a.one_block) {
        a.first_key = from;
        a.end_key = to;
        key_block(&a);
    } else {
        clear_rows(&a);
        bf_ll_loop_begin(ll, &blocks, from, to, a.key_block);
        a.first_key = blocks.index;
        a.end_key = bf_ll_min(ll, bf_ll_add_int(ll, blocks.index, a.key_block), to);
        key_block(&a);
        bf_ll_loop_end(ll, &blocks);
        divide_rows(&a);
    }
    bf_ll_loop_end(ll, &units);
}

const struct bf_host_generator bf_gen_attention = {"attention", BF_KERNEL_ATTENTION, choose,
                                                   generate};
