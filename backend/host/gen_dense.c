/* gen_dense.c - y = x W^T + b with constant, packed weights.
 *
 *     for block of rows, for panel of outputs, for block of inputs, for tile of rows:
 *
 *              k ->                wide
 *          +----------+          +------+        A tile x panel of y stays in registers while one
 *     rows |  x  tile |    k |   | pack |        input after the other is multiplied: `vectors`
 *          +----------+      v   |      |        loads of weights and `height` broadcasts of x for
 *                                +------+        height x vectors FMAs.
 *
 * A block of a panel (depth x wide floats) stays in the first-level cache while the tiles pass, and
 * the next one, which follows it in memory, is prefetched meanwhile; x of a block of rows stays in
 * the second-level cache. Sums of all blocks of inputs but the last wait in y. Tiles have equal
 * heights, so that the last one is no slower than the others. Few rows: wider panels, which are
 * then the units of work.
 */
#include "backend/host/gen_tile.h"
#include "backend/host/pack_dense.h"

enum {
    WORTH = 1 << 20, /* FMAs that are worth waking a thread for */
    PIECE_ROWS = 64  /* rows that are worth reading the weights for */
};

/* ---- shapes ---- */

struct shape {
    struct bf_host_operand x, y;
    int64_t samples, rows; /* rows that one matrix has, and how many such matrices there are */
};

static struct shape shape_of(const struct bf_poly *poly, const struct bf_poly_kernel *kernel) {
    struct shape s = {bf_host_operand(poly, &kernel->inputs.data[0]),
                      bf_host_operand(poly, &kernel->outputs.data[0]), 0, 0};
    bool linear = s.x.linear && s.y.linear;
    s.samples = linear ? 1 : s.y.samples;
    s.rows = linear ? s.y.samples * s.y.rows : s.y.rows;
    return s;
}

/* Few rows: as many vectors as hide the latency of an FMA and fit in registers. */
static int64_t choose_vectors(const struct bf_host_target *target, int64_t rows, int64_t outputs) {
    int64_t most = bf_tile_divide_up(outputs, target->lanes);
    int64_t usual = target->lanes == 4 && target->registers == 32 ? 3 : 2;
    int64_t hiding = bf_tile_smaller(bf_tile_divide_up(BF_TILE_CHAINS + 4, rows),
                                     ((int64_t)target->registers - 2) / (rows + 1));
    return bf_tile_smaller(bf_tile_smaller(bf_tile_larger(usual, hiding), BF_TILE_VECTORS), most);
}

static bool choose(const struct bf_host_site *site, struct bf_host_choice *choice) {
    const struct bf_poly_kernel *kernel = site->kernels[0];
    const struct bf_host_target *target = site->target;
    struct shape s = shape_of(site->poly, kernel);
    int64_t vectors = choose_vectors(target, s.rows, s.y.cols);
    int64_t most = bf_tile_most_rows(target, vectors);
    int64_t tiles = bf_tile_divide_up(s.rows, most), height = bf_tile_divide_up(s.rows, tiles);
    struct bf_panels panels = bf_panels(s.x.cols, s.y.cols, vectors, target->lanes);
    int64_t panel_count = panels.full + (panels.narrow > 0);
    bool by_panels = tiles * s.samples == 1 && height * s.x.cols * s.y.cols > 2 * WORTH;

    bf_ints_set(&choice->params, site->arena, "vectors", vectors);
    bf_ints_set(&choice->params, site->arena, "lanes", target->lanes);
    bf_ints_set(&choice->params, site->arena, "height", height);
    bf_ints_set(&choice->params, site->arena, "by_panels", by_panels);
    choice->units = by_panels ? panel_count : s.samples * bf_tile_divide_up(s.rows, height);
    choice->unit_rows = by_panels || s.samples > 1 ? 0 : height;
    int64_t work = s.x.cols * s.y.cols * s.rows * s.samples / choice->units;
    choice->grain = 1 + WORTH / (work + 1);
    if (!by_panels) /* each piece reads all weights */
        choice->grain = bf_tile_larger(choice->grain, bf_tile_divide_up(PIECE_ROWS, height));
    choice->scratch = height * panels.wide * (int64_t)sizeof(float);
    choice->epilogue = true;
    *bf_push(&choice->packs) = (struct bf_host_pack){
        .size = bf_panels_size(&panels) * (int64_t)sizeof(float), .fill = bf_pack_dense};
    return true;
}

/* ---- code ---- */

struct dense {
    struct bf_gen *gen;
    struct bf_ll *ll;
    struct shape shape;
    struct bf_panels panels;
    int64_t lanes, height, tiles; /* tiles: of one matrix */
    int64_t depth;                /* most inputs in a block */
    int64_t y_pitch, y_stride;
    bool by_panels;
    LLVMValueRef begin, end; /* units of the block of rows */
};

/* A block of inputs: [first, end), of which the last block has some and so has the first. */
struct block {
    LLVMValueRef first, end;
    int64_t count; /* inputs in it */
    bool is_first, is_last;
};

/* A tile of y: `rows` rows from `row` on, `vectors` vectors of columns from `col` on, of which only
 * `cols` columns exist. */
struct tile {
    LLVMValueRef x, y;     /* elements (row, 0) and (row, col) */
    LLVMValueRef row, col; /* row: of all samples' rows */
    LLVMValueRef weights;  /* the panel: biases first */
    LLVMValueRef ahead;    /* what to prefetch, a line an input; NULL: nothing */
    int64_t rows, vectors, cols;
};

/* Columns of vector v that exist. */
static unsigned lanes_of(const struct dense *d, const struct tile *t, int64_t v) {
    return (unsigned)bf_tile_smaller(d->lanes, t->cols - v * d->lanes);
}

/* What sums begin with: biases, or the sums of earlier blocks. */
static void begin_sums(struct dense *d, const struct tile *t, const struct block *block,
                       LLVMValueRef *sums) {
    struct bf_ll *ll = d->ll;
    unsigned lanes = (unsigned)d->lanes;
    for (int64_t v = 0; v < t->vectors; v++) {
        LLVMValueRef bias =
            block->is_first
                ? bf_ll_load(ll, bf_ll_at_int(ll, t->weights, v * d->lanes), lanes, lanes * 4)
                : NULL;
        for (int64_t r = 0; r < t->rows; r++)
            sums[r * t->vectors + v] =
                bias ? bias
                     : bf_tile_widen(
                           ll,
                           bf_ll_load(ll, bf_ll_at_int(ll, t->y, r * d->y_pitch + v * d->lanes),
                                      lanes_of(d, t, v), 4),
                           lanes);
    }
}

static void accumulate(struct dense *d, const struct tile *t, const struct block *block,
                       LLVMValueRef *sums) {
    struct bf_tile product = {
        .rows = t->rows,
        .vectors = t->vectors,
        .lanes = d->lanes,
        .x = t->x,
        .w = bf_ll_at_int(d->ll, t->weights, t->vectors * d->lanes),
        .x_pitch = d->shape.x.pitch,
        .w_pitch = t->vectors * d->lanes,
        .ahead = t->ahead,
    };
    bf_tile_multiply(d->ll, &product, block->first, block->end, block->count, sums);
}

static void store_sums(struct dense *d, const struct tile *t, LLVMValueRef *sums, LLVMValueRef to,
                       int64_t pitch) {
    for (int64_t r = 0; r < t->rows; r++)
        for (int64_t v = 0; v < t->vectors; v++) {
            LLVMValueRef sum = bf_tile_narrow(d->ll, sums[r * t->vectors + v], lanes_of(d, t, v));
            bf_ll_store(d->ll, sum, bf_ll_at_int(d->ll, to, r * pitch + v * d->lanes), 4);
        }
}

/* The epilogue takes registers of its own, so the tile goes through memory, row by row. */
static void finish(struct dense *d, const struct tile *t, LLVMValueRef *sums) {
    struct bf_ll *ll = d->ll;
    struct bf_host_operand y = bf_gen_output_shape(d->gen, 0);
    int64_t wide = t->vectors * d->lanes;
    store_sums(d, t, sums, d->gen->scratch, wide);
    struct bf_ll_loop loop;
    bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), bf_ll_int(ll, t->rows), 1);
    LLVMValueRef from = bf_ll_at(ll, d->gen->scratch, bf_ll_mul_int(ll, loop.index, wide));
    LLVMValueRef offset = bf_ll_mul_int(ll, loop.index, d->y_pitch);
    LLVMValueRef row = bf_ll_add(ll, t->row, loop.index);
    for (int64_t v = 0; v < t->vectors; v++) {
        LLVMValueRef value =
            bf_ll_load(ll, bf_ll_at_int(ll, from, v * d->lanes), lanes_of(d, t, v), 4);
        value = bf_gen_epilogue(d->gen, value, row, bf_ll_add_int(ll, t->col, v * d->lanes));
        LLVMValueRef at = bf_ll_add_int(ll, offset, v * d->lanes);
        bf_ll_store_element(ll, y.element, value, bf_gen_element(ll, &y, t->y, at));
    }
    bf_ll_loop_end(ll, &loop);
}

/* A line an input is a part of the next block: the first tiles fetch one part each, later ones
 * touch what is there. */
static LLVMValueRef ahead(struct dense *d, const struct tile *t, const struct block *block,
                          LLVMValueRef number) {
    struct bf_ll *ll = d->ll;
    int64_t wide = t->vectors * d->lanes, parts = wide * (int64_t)sizeof(float) / BF_TILE_LINE;
    if (d->by_panels || !parts)
        return NULL;
    LLVMValueRef at = bf_ll_mul_int(ll, bf_ll_add_int(ll, block->first, block->count), wide * 4);
    LLVMValueRef part =
        bf_ll_mul_int(ll, bf_ll_sub(ll, number, d->begin), block->count * BF_TILE_LINE);
    LLVMValueRef fetches = bf_ll_less(ll, part, bf_ll_int(ll, parts * block->count * BF_TILE_LINE));
    at = bf_ll_add(ll, at, part);
    at = bf_ll_sub(ll, at, bf_ll_mul_int(ll, block->first, BF_TILE_LINE));
    at = LLVMBuildSelect(ll->builder, fetches, at, bf_ll_int(ll, 0), "");
    return bf_ll_at_byte(ll, t->weights, at);
}

static void tile(struct dense *d, const struct tile *t, const struct block *block) {
    LLVMValueRef sums[BF_TILE_SUMS];
    begin_sums(d, t, block, sums);
    accumulate(d, t, block, sums);
    if (block->is_last && d->gen->function->epilogue)
        finish(d, t, sums);
    else
        store_sums(d, t, sums, t->y, d->y_pitch);
}

/* The tile of unit `unit` (tile after tile, matrix after matrix) of one panel. */
static void unit(struct dense *d, LLVMValueRef index, struct tile t, const struct block *block) {
    struct bf_ll *ll = d->ll;
    struct bf_host_operand out = bf_gen_output_shape(d->gen, 0);
    LLVMValueRef sample = bf_ll_div_int(ll, index, d->tiles);
    LLVMValueRef number = bf_ll_rem_int(ll, index, d->tiles);
    if (d->shape.samples == 1)
        sample = bf_ll_int(ll, 0), number = index;
    LLVMValueRef row = bf_ll_mul_int(ll, number, d->height);
    LLVMValueRef x = bf_ll_dot(ll, sample, d->shape.x.stride, row, d->shape.x.pitch);
    LLVMValueRef y = bf_ll_dot(ll, sample, d->y_stride, row, d->y_pitch);
    t.x = bf_ll_at(ll, bf_gen_input(d->gen, 0), x);
    y = bf_ll_add(ll, y, t.col);
    t.y = bf_gen_element(ll, &out, bf_gen_output(d->gen, 0), y);
    t.row = bf_ll_add(ll, bf_ll_mul_int(ll, sample, d->shape.rows), row);
    t.ahead = ahead(d, &t, block, index);

    int64_t rest = d->shape.rows % d->height;
    LLVMValueRef last = bf_ll_int(ll, d->shape.rows / d->height);
    struct bf_ll_if branch;
    t.rows = d->height;
    if (rest)
        bf_ll_if_begin(ll, &branch, bf_ll_less(ll, number, last));
    tile(d, &t, block);
    if (!rest)
        return;
    bf_ll_if_end(ll, &branch);
    t.rows = rest;
    bf_ll_if_begin(ll, &branch,
                   bf_ll_less(ll, bf_ll_int(ll, d->shape.rows / d->height - 1), number));
    tile(d, &t, block);
    bf_ll_if_end(ll, &branch);
}

/* All tiles of one block of inputs of a panel. */
static void tiles(struct dense *d, const struct tile *t, struct block block) {
    struct bf_ll_loop loop;
    bf_ll_loop_begin(d->ll, &loop, d->begin, d->end, 1);
    unit(d, loop.index, *t, &block);
    bf_ll_loop_end(d->ll, &loop);
}

static void panel(struct dense *d, LLVMValueRef index, int64_t vectors, int64_t cols) {
    struct bf_ll *ll = d->ll;
    int64_t inputs = d->panels.inputs, blocks = bf_tile_divide_up(inputs, d->depth);
    int64_t depth = bf_tile_divide_up(bf_tile_divide_up(inputs, blocks), 8) * 8,
            last = (blocks - 1) * depth;
    int64_t floats = (inputs + 1) * d->panels.wide;
    struct tile t = {.vectors = vectors, .cols = cols};
    t.col = bf_ll_mul_int(ll, index, d->panels.wide);
    t.weights = bf_ll_at(ll, bf_gen_pack(d->gen, 0), bf_ll_mul_int(ll, index, floats));
    LLVMValueRef zero = bf_ll_int(ll, 0), end = bf_ll_int(ll, inputs);
    if (blocks == 1) {
        tiles(d, &t, (struct block){zero, end, inputs, true, true});
        return;
    }
    tiles(d, &t, (struct block){zero, bf_ll_int(ll, depth), depth, true, false});
    if (blocks > 2) {
        struct bf_ll_loop loop;
        bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, depth), bf_ll_int(ll, last), depth);
        LLVMValueRef next = bf_ll_add_int(ll, loop.index, depth);
        tiles(d, &t, (struct block){loop.index, next, depth, false, false});
        bf_ll_loop_end(ll, &loop);
    }
    tiles(d, &t, (struct block){bf_ll_int(ll, last), end, inputs - last, false, true});
}

static void all_panels(struct dense *d) {
    struct bf_ll *ll = d->ll;
    const struct bf_panels *p = &d->panels;
    LLVMValueRef full = bf_ll_int(ll, p->full), begin = bf_ll_int(ll, 0), end = full;
    if (d->by_panels)
        begin = d->gen->begin, end = bf_ll_min(ll, d->gen->end, full);
    if (p->full) {
        struct bf_ll_loop loop;
        bf_ll_loop_begin(ll, &loop, begin, end, 1);
        panel(d, loop.index, p->wide / d->lanes, p->wide);
        bf_ll_loop_end(ll, &loop);
    }
    if (!p->narrow)
        return;
    struct bf_ll_if branch;
    if (d->by_panels)
        bf_ll_if_begin(ll, &branch, bf_ll_less(ll, full, d->gen->end));
    panel(d, full, p->narrow / d->lanes, p->outputs - p->full * p->wide);
    if (d->by_panels)
        bf_ll_if_end(ll, &branch);
}

static void generate(struct bf_gen *gen) {
    struct bf_ll *ll = gen->ll;
    struct bf_host_operand y = bf_gen_output_shape(gen, 0);
    struct dense d = {
        .gen = gen,
        .ll = ll,
        .shape = shape_of(gen->poly, gen->first),
        .lanes = bf_gen_param(gen, "lanes"),
        .height = bf_gen_param(gen, "height"),
        .by_panels = bf_gen_param(gen, "by_panels"),
        .y_pitch = y.pitch,
        .y_stride = y.stride,
        .begin = gen->begin,
        .end = gen->end,
    };
    d.panels = bf_panels(d.shape.x.cols, d.shape.y.cols, bf_gen_param(gen, "vectors"), d.lanes);
    d.tiles = bf_tile_divide_up(d.shape.rows, d.height);
    /* Sums can wait in y only if it holds floats. */
    d.depth = y.element == BF_HOST_F32 ? gen->target->l1 / (d.panels.wide * (int64_t)sizeof(float))
                                       : d.shape.x.cols;
    if (d.by_panels) {
        d.begin = bf_ll_int(ll, 0);
        d.end = bf_ll_int(ll, d.shape.samples * d.tiles);
        all_panels(&d);
        return;
    }
    int64_t x_bytes = d.height * d.shape.x.cols * (int64_t)sizeof(float);
    int64_t most = bf_tile_larger(gen->target->l2 / 2 / x_bytes, 1);
    int64_t blocks = bf_tile_divide_up(gen->choice->units, most);
    struct bf_ll_loop loop;
    bf_ll_loop_begin(ll, &loop, gen->begin, gen->end,
                     bf_tile_divide_up(gen->choice->units, blocks));
    d.begin = loop.index;
    d.end = bf_ll_min(ll, bf_ll_add_int(ll, loop.index, loop.step), gen->end);
    all_panels(&d);
    bf_ll_loop_end(ll, &loop);
}

const struct bf_host_generator bf_gen_dense = {"dense", BF_KERNEL_DENSE, choose, generate};
