/* gen_block_dense.c - a block-diagonal product whose results are dealt out over the blocks:
 *
 *     y[o x blocks + b] = bias + sum over k of w[b, o, k] x[b x inputs + k]
 *
 * (Half of a Monarch matrix.) Lanes are blocks, which makes runs of y of what belongs together. x
 * is transposed on the way in: xt[vector of blocks][k][row of the tile][lane] in scratch. Then, for
 * each vector of blocks and each group of outputs, a tile of rows x group sums stays in registers:
 * an input costs `group` loads of weights and a load of x a row.
 */
#include "backend/host/gen_tile.h"
#include "backend/host/pack_dense.h"

/* ---- shapes ---- */

struct block_dense {
    struct bf_gen *gen;
    struct bf_ll *ll;
    struct bf_host_operand x, y;
    struct bf_block_groups groups;
    int64_t samples, rows; /* rows that one matrix has, and how many such matrices there are */
    int64_t height, tiles; /* of a matrix */
    int64_t vectors;       /* of blocks */
    int64_t xt_size;       /* floats; then comes a tile of sums */

    /* Of the tile that is generated. */
    LLVMValueRef x_at, y_at; /* its first row */
    LLVMValueRef row;        /* of all samples' rows */
    int64_t count;           /* rows */
};

static struct block_dense describe(const struct bf_poly *poly, const struct bf_poly_kernel *kernel,
                                   const struct bf_host_target *target) {
    const struct bf_param_view *view = &bf_kernel_find_param(kernel, "weight")->view;
    struct block_dense d = {
        .x = bf_host_operand(poly, &kernel->inputs.data[0]),
        .y = bf_host_operand(poly, &kernel->outputs.data[0]),
        .groups = {view->extent[0], view->extent[1], view->extent[2], 1,
                   target->registers == 32 ? 3 : 2},
    };
    while (d.groups.lanes < target->lanes && d.groups.lanes < d.groups.blocks)
        d.groups.lanes *= 2;
    int64_t most = target->registers == 32 ? 8 : 5;
    bool linear = d.x.linear && d.y.linear;
    d.samples = linear ? 1 : d.y.samples;
    d.rows = linear ? d.y.samples * d.y.rows : d.y.rows;
    d.height = bf_tile_divide_up(d.rows, bf_tile_divide_up(d.rows, most));
    d.tiles = bf_tile_divide_up(d.rows, d.height);
    d.vectors = bf_tile_divide_up(d.groups.blocks, d.groups.lanes);
    uint64_t floats = (uint64_t)(d.vectors * d.groups.inputs * d.height * d.groups.lanes);
    d.xt_size = (int64_t)bf_round_up(floats, BF_HOST_ALIGN / sizeof(float));
    return d;
}

static bool choose(const struct bf_host_site *site, struct bf_host_choice *choice) {
    struct block_dense d = describe(site->poly, site->kernels[0], site->target);
    bf_ints_set(&choice->params, site->arena, "lanes", d.groups.lanes);
    bf_ints_set(&choice->params, site->arena, "group", d.groups.group);
    choice->units = d.samples * d.tiles;
    choice->unit_rows = d.samples > 1 ? 0 : d.height;
    int64_t work = d.height * d.groups.blocks * d.groups.outputs * d.groups.inputs;
    choice->grain = 1 + (1 << 20) / work;
    choice->scratch = (d.xt_size + d.height * d.groups.group * d.groups.lanes) * 4;
    choice->epilogue = true;
    *bf_push(&choice->packs) = (struct bf_host_pack){.size = bf_block_groups_size(&d.groups) * 4,
                                                     .fill = bf_pack_block_dense};
    return true;
}

/* ---- code ---- */

/* Blocks in vector `vector` of them: all but the last are full. */
typedef void vector_function(struct block_dense *d, LLVMValueRef vector, int64_t blocks);
static void each_vector(struct block_dense *d, vector_function *each) {
    struct bf_ll *ll = d->ll;
    int64_t full = d->groups.blocks / d->groups.lanes, rest = d->groups.blocks % d->groups.lanes;
    if (full) {
        struct bf_ll_loop loop;
        bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), bf_ll_int(ll, full), 1);
        each(d, loop.index, d->groups.lanes);
        bf_ll_loop_end(ll, &loop);
    }
    if (rest)
        each(d, bf_ll_int(ll, full), rest);
}

static LLVMValueRef xt_at(struct block_dense *d, LLVMValueRef vector) {
    int64_t floats = d->groups.inputs * d->count * d->groups.lanes;
    return bf_ll_at(d->ll, d->gen->scratch, bf_ll_mul_int(d->ll, vector, floats));
}

static void transpose_piece(struct block_dense *d, LLVMValueRef from, LLVMValueRef to,
                            LLVMValueRef input, int64_t blocks, int64_t inputs) {
    struct bf_ll *ll = d->ll;
    int64_t to_pitch = d->count * d->groups.lanes;
    from = bf_ll_at(ll, from, input);
    to = bf_ll_at_row(ll, to, input, to_pitch);
    bf_tile_transpose(ll, from, d->groups.inputs, blocks, inputs, d->groups.lanes, to, to_pitch);
}

/* xt of one vector of blocks. */
static void transpose(struct block_dense *d, LLVMValueRef vector, int64_t blocks) {
    struct bf_ll *ll = d->ll;
    int64_t lanes = d->groups.lanes, rest = d->groups.inputs % lanes;
    struct bf_ll_loop rows, loop;
    bf_ll_loop_begin(ll, &rows, bf_ll_int(ll, 0), bf_ll_int(ll, d->count), 1);
    LLVMValueRef at = bf_ll_dot(ll, vector, lanes * d->groups.inputs, rows.index, d->x.pitch);
    LLVMValueRef from = bf_ll_at(ll, d->x_at, at);
    LLVMValueRef to = bf_ll_at_row(ll, xt_at(d, vector), rows.index, lanes);
    LLVMValueRef whole = bf_ll_int(ll, d->groups.inputs - rest);
    if (d->groups.inputs >= lanes) {
        bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), whole, lanes);
        transpose_piece(d, from, to, loop.index, blocks, lanes);
        bf_ll_loop_end(ll, &loop);
    }
    if (rest)
        transpose_piece(d, from, to, whole, blocks, rest);
    bf_ll_loop_end(ll, &rows);
}

/* sums[row][output] of one group. */
static void multiply(struct block_dense *d, LLVMValueRef xt, LLVMValueRef weights, int64_t outputs,
                     LLVMValueRef *sums) {
    struct bf_ll *ll = d->ll;
    unsigned lanes = (unsigned)d->groups.lanes;
    struct bf_ll_loop loop;
    bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), bf_ll_int(ll, d->groups.inputs), 1);
    for (int64_t s = 0; s < d->count * outputs; s++)
        bf_ll_carry(ll, &loop, sums[s]);
    LLVMValueRef x = bf_ll_at(ll, xt, bf_ll_mul_int(ll, loop.index, d->count * lanes));
    LLVMValueRef w = bf_ll_add_int(ll, loop.index, 1), weight[8];
    w = bf_ll_at(ll, weights, bf_ll_mul_int(ll, w, outputs * lanes));
    for (int64_t o = 0; o < outputs; o++)
        weight[o] = bf_ll_load(ll, bf_ll_at_int(ll, w, o * lanes), lanes, lanes * 4);
    for (int64_t r = 0; r < d->count; r++) {
        LLVMValueRef value = bf_ll_load(ll, bf_ll_at_int(ll, x, r * lanes), lanes, lanes * 4);
        for (int64_t o = 0; o < outputs; o++)
            loop.next[r * outputs + o] =
                bf_ll_fma(ll, value, weight[o], loop.carried[r * outputs + o]);
    }
    bf_ll_loop_end(ll, &loop);
    for (int64_t s = 0; s < d->count * outputs; s++)
        sums[s] = loop.carried[s];
}

/* From the tile of sums in scratch to y, through the epilogue. `output` is the group's first. */
static void store(struct block_dense *d, LLVMValueRef from, LLVMValueRef vector,
                  LLVMValueRef output, int64_t outputs, int64_t blocks) {
    struct bf_ll *ll = d->ll;
    struct bf_host_operand y = bf_gen_output_shape(d->gen, 0);
    int64_t lanes = d->groups.lanes;
    struct bf_ll_loop rows;
    bf_ll_loop_begin(ll, &rows, bf_ll_int(ll, 0), bf_ll_int(ll, d->count), 1);
    LLVMValueRef sums = bf_ll_at(ll, from, bf_ll_mul_int(ll, rows.index, outputs * lanes));
    for (int64_t o = 0; o < outputs; o++) {
        LLVMValueRef col = bf_ll_mul_int(ll, bf_ll_add_int(ll, output, o), d->groups.blocks);
        col = bf_ll_add(ll, col, bf_ll_mul_int(ll, vector, lanes));
        LLVMValueRef value = bf_ll_load(ll, bf_ll_at_int(ll, sums, o * lanes), (unsigned)blocks, 4);
        value = bf_gen_epilogue(d->gen, value, bf_ll_add(ll, d->row, rows.index), col);
        LLVMValueRef at = bf_ll_add(ll, bf_ll_mul_int(ll, rows.index, y.pitch), col);
        bf_ll_store_element(ll, y.element, value, bf_gen_element(ll, &y, d->y_at, at));
    }
    bf_ll_loop_end(ll, &rows);
}

static void group(struct block_dense *d, LLVMValueRef vector, LLVMValueRef index, int64_t outputs,
                  int64_t blocks) {
    struct bf_ll *ll = d->ll;
    unsigned lanes = (unsigned)d->groups.lanes;
    LLVMValueRef sums[BF_TILE_SUMS];
    LLVMValueRef at = bf_ll_dot(ll, vector, bf_block_groups_stride(&d->groups), index,
                                bf_block_group_stride(&d->groups));
    LLVMValueRef weights = bf_ll_at(ll, bf_gen_pack(d->gen, 0), at);
    LLVMValueRef tile = bf_ll_at_int(ll, d->gen->scratch, d->xt_size);
    for (int64_t o = 0; o < outputs; o++) {
        LLVMValueRef bias = bf_ll_load(ll, bf_ll_at_int(ll, weights, o * lanes), lanes, lanes * 4);
        for (int64_t r = 0; r < d->count; r++)
            sums[r * outputs + o] = bias;
    }
    multiply(d, xt_at(d, vector), weights, outputs, sums);
    for (int64_t s = 0; s < d->count * outputs; s++)
        bf_ll_store(ll, sums[s], bf_ll_at_int(ll, tile, s * lanes), lanes * 4);
    store(d, tile, vector, bf_ll_mul_int(ll, index, d->groups.group), outputs, blocks);
}

static void products(struct block_dense *d, LLVMValueRef vector, int64_t blocks) {
    struct bf_ll *ll = d->ll;
    int64_t full = d->groups.outputs / d->groups.group, rest = d->groups.outputs % d->groups.group;
    if (full) {
        struct bf_ll_loop loop;
        bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), bf_ll_int(ll, full), 1);
        group(d, vector, loop.index, d->groups.group, blocks);
        bf_ll_loop_end(ll, &loop);
    }
    if (rest)
        group(d, vector, bf_ll_int(ll, full), rest, blocks);
}

static void tile(struct block_dense *d, int64_t count) {
    d->count = count;
    each_vector(d, transpose);
    each_vector(d, products);
}

static void unit(struct block_dense *d, LLVMValueRef index) {
    struct bf_ll *ll = d->ll;
    struct bf_gen *gen = d->gen;
    struct bf_host_operand out = bf_gen_output_shape(gen, 0);
    LLVMValueRef sample = d->samples == 1 ? bf_ll_int(ll, 0) : bf_ll_div_int(ll, index, d->tiles);
    LLVMValueRef number = d->samples == 1 ? index : bf_ll_rem_int(ll, index, d->tiles);
    LLVMValueRef row = bf_ll_mul_int(ll, number, d->height);
    LLVMValueRef x = bf_ll_dot(ll, sample, d->x.stride, row, d->x.pitch);
    LLVMValueRef y = bf_ll_dot(ll, sample, out.stride, row, out.pitch);
    d->x_at = bf_ll_at(ll, bf_gen_input(gen, 0), x);
    d->y_at = bf_gen_element(ll, &out, bf_gen_output(gen, 0), y);
    d->row = bf_ll_add(ll, bf_ll_mul_int(ll, sample, d->rows), row);

    int64_t full = d->rows / d->height, rest = d->rows % d->height;
    struct bf_ll_if branch;
    bf_ll_if_begin(ll, &branch, bf_ll_less(ll, number, bf_ll_int(ll, full)));
    tile(d, d->height);
    bf_ll_if_end(ll, &branch);
    if (!rest)
        return;
    bf_ll_if_begin(ll, &branch, bf_ll_less(ll, bf_ll_int(ll, full - 1), number));
    tile(d, rest);
    bf_ll_if_end(ll, &branch);
}

static void generate(struct bf_gen *gen) {
    struct block_dense d = describe(gen->poly, gen->first, gen->target);
    d.gen = gen;
    d.ll = gen->ll;
    struct bf_ll_loop loop;
    bf_ll_loop_begin(d.ll, &loop, gen->begin, gen->end, 1);
    unit(&d, loop.index);
    bf_ll_loop_end(d.ll, &loop);
}

const struct bf_host_generator bf_gen_block_dense = {"block_dense", BF_KERNEL_BLOCK_DENSE, choose,
                                                     generate};
