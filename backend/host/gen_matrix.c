/* gen_matrix.c - a structured linear kernel as a product with its matrix, written out: what serves
 * where no better generator takes the kernel (block butterflies of large tiles, planes of complex
 * tensors whose samples are apart).
 *
 *   along rows     y[r][o] = bias[o] + sum over planes and k of x[r][k] m[k][o]
 *                  a unit is 4 rows; tiles of columns o, vectors along o
 *   along columns  y[o][c] = sum over planes and k of m[k][o] x[k][c]
 *                  a unit is a tile of columns c, vectors along c; o by fours
 *
 * Planes are the real and the imaginary part of a transform.
 */
#include "backend/host/gen.h"

#include "backend/host/matrix.h"

enum { ROWS = 4, VECTORS = 3 };

struct product {
    struct bf_gen *gen;
    struct bf_ll *ll;
    struct bf_host_matrix shape;
    struct bf_host_operand in, out; /* the same for both planes */
    bool has_bias;
};

static int64_t tile_columns(const struct bf_host_target *target) {
    return VECTORS * target->lanes;
}

static bool choose(const struct bf_host_site *site, struct bf_host_choice *choice) {
    struct bf_host_matrix shape;
    const struct bf_host_target *target = site->target;
    if (!bf_host_matrix(site, &shape))
        return false;
    const struct bf_poly_kernel *first = site->kernels[0];
    const struct bf_poly_kernel *last = site->kernels[shape.kernels - 1];
    struct bf_host_operand in = bf_host_operand(site->poly, &first->inputs.data[0]);
    struct bf_host_operand out = bf_host_operand(site->poly, &last->outputs.data[0]);
    choice->kernels = shape.kernels;
    if (shape.along_rows) {
        choice->units = (int64_t)bf_divide_up((uint64_t)(in.samples * in.rows), ROWS);
        choice->unit_rows = in.linear && out.linear ? ROWS : 0;
        choice->epilogue = shape.out_planes == 1;
    } else {
        choice->units =
            in.samples * (int64_t)bf_divide_up((uint64_t)in.cols, (uint64_t)tile_columns(target));
    }
    bf_ints_set(&choice->params, site->arena, "in", shape.in);
    bf_ints_set(&choice->params, site->arena, "out", shape.out);
    bf_ints_set(&choice->params, site->arena, "in_planes", shape.in_planes);
    bf_ints_set(&choice->params, site->arena, "out_planes", shape.out_planes);
    bf_ints_set(&choice->params, site->arena, "along_rows", shape.along_rows);
    bf_ints_set(&choice->params, site->arena, "padded",
                (int64_t)bf_round_up((uint64_t)shape.out, target->lanes));
    bf_host_matrix_packs(site, choice);
    return true;
}

static LLVMValueRef matrix_at(struct product *p, int to, int from, LLVMValueRef k, LLVMValueRef o) {
    struct bf_ll *ll = p->ll;
    int64_t padded = bf_gen_param(p->gen, "padded");
    LLVMValueRef pack = bf_gen_pack(p->gen, (unsigned)(to * p->shape.in_planes + from));
    return bf_ll_at(ll, pack, bf_ll_add(ll, bf_ll_mul_int(ll, k, padded), o));
}

/* ---- along rows ---- */

/* Where the rows of the unit are: the last one again where there are less than four. */
struct place {
    LLVMValueRef row[ROWS], in[ROWS], out[ROWS];
};

static void find_rows(struct product *p, LLVMValueRef unit, struct place *place) {
    struct bf_ll *ll = p->ll;
    LLVMValueRef last = bf_ll_int(ll, p->in.samples * p->in.rows - 1);
    for (int i = 0; i < ROWS; i++) {
        LLVMValueRef row = bf_ll_add_int(ll, bf_ll_mul_int(ll, unit, ROWS), i);
        row = bf_ll_min(ll, row, last);
        LLVMValueRef sample = bf_ll_div_int(ll, row, p->in.rows);
        LLVMValueRef inside = bf_ll_rem_int(ll, row, p->in.rows), zero = bf_ll_int(ll, 0);
        place->row[i] = row;
        place->in[i] = bf_gen_offset(ll, &p->in, sample, inside, zero);
        place->out[i] = bf_gen_offset(ll, &p->out, sample, inside, zero);
    }
}

/* Four rows, columns [col, col + vectors x lanes) of which the last vector keeps `last` lanes. */
static void row_tile(struct product *p, const struct place *place, int plane, LLVMValueRef col,
                     unsigned vectors, unsigned last) {
    struct bf_ll *ll = p->ll;
    unsigned lanes = p->gen->target->lanes;
    struct bf_ll_loop loop;
    LLVMValueRef start[VECTORS];
    unsigned packs = (unsigned)(p->shape.in_planes * p->shape.out_planes);
    for (unsigned v = 0; v < vectors; v++) {
        LLVMValueRef at = bf_ll_add_int(ll, col, v * (int64_t)lanes);
        start[v] = bf_ll_const(ll, lanes, 0);
        if (p->has_bias)
            start[v] = bf_ll_load(ll, bf_ll_at(ll, bf_gen_pack(p->gen, packs), at), lanes, 4);
    }
    bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), bf_ll_int(ll, p->shape.in), 1);
    for (unsigned i = 0; i < ROWS * vectors; i++)
        bf_ll_carry(ll, &loop, start[i % vectors]);
    for (int from = 0; from < p->shape.in_planes; from++) {
        LLVMValueRef weights = matrix_at(p, plane, from, loop.index, col), w[VECTORS];
        for (unsigned v = 0; v < vectors; v++)
            w[v] = bf_ll_load(ll, bf_ll_at_int(ll, weights, v * (int64_t)lanes), lanes, 4);
        for (int r = 0; r < ROWS; r++) {
            LLVMValueRef at = bf_ll_add(ll, place->in[r], loop.index);
            at = bf_gen_element(ll, &p->in, bf_gen_input(p->gen, (unsigned)from), at);
            LLVMValueRef x = bf_ll_load_element(ll, p->in.element, at, 1);
            x = bf_ll_splat(ll, x, lanes);
            for (unsigned v = 0; v < vectors; v++) {
                LLVMValueRef *sum = &loop.next[(unsigned)r * vectors + v];
                *sum = bf_ll_fma(ll, x, w[v], *sum);
            }
        }
    }
    bf_ll_loop_end(ll, &loop);
    for (unsigned i = 0; i < ROWS * vectors; i++) {
        unsigned r = i / vectors, v = i % vectors;
        LLVMValueRef value = loop.carried[i], at = bf_ll_add_int(ll, col, v * (int64_t)lanes);
        if (v == vectors - 1 && last < lanes)
            value = bf_ll_first(ll, value, last);
        if (plane == 0)
            value = bf_gen_epilogue(p->gen, value, place->row[r], at);
        at = bf_ll_add(ll, place->out[r], at);
        at = bf_gen_element(ll, &p->out, bf_gen_output(p->gen, (unsigned)plane), at);
        bf_ll_store_element(ll, p->out.element, value, at);
    }
}

static void along_rows(struct product *p) {
    struct bf_ll *ll = p->ll;
    int64_t lanes = p->gen->target->lanes, width = VECTORS * lanes, out = p->shape.out;
    int64_t whole = out / width * width, rest = out - whole;
    struct bf_ll_loop loop, tiles;
    struct place place;
    bf_ll_loop_begin(ll, &loop, p->gen->begin, p->gen->end, 1);
    find_rows(p, loop.index, &place);
    for (int plane = 0; plane < p->shape.out_planes; plane++) {
        if (whole) {
            bf_ll_loop_begin(ll, &tiles, bf_ll_int(ll, 0), bf_ll_int(ll, whole), width);
            row_tile(p, &place, plane, tiles.index, VECTORS, (unsigned)lanes);
            bf_ll_loop_end(ll, &tiles);
        }
        if (rest) {
            unsigned vectors = (unsigned)((rest + lanes - 1) / lanes);
            row_tile(p, &place, plane, bf_ll_int(ll, whole), vectors,
                     (unsigned)(rest - (vectors - 1) * lanes));
        }
    }
    bf_ll_loop_end(ll, &loop);
}

/* ---- along columns ---- */

/* Rows o .. o + 3 (the last one again at the end) of `count` columns in vectors of `lanes`. */
static void column_tile(struct product *p, LLVMValueRef sample, LLVMValueRef col, LLVMValueRef o,
                        unsigned count, int plane) {
    struct bf_ll *ll = p->ll;
    LLVMValueRef row[ROWS], last = bf_ll_int(ll, p->shape.out - 1);
    struct bf_ll_loop loop;
    for (int i = 0; i < ROWS; i++)
        row[i] = bf_ll_min(ll, bf_ll_add_int(ll, o, i), last);
    bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), bf_ll_int(ll, p->shape.in), 1);
    for (int i = 0; i < ROWS; i++)
        bf_ll_carry(ll, &loop, bf_ll_const(ll, count, 0));
    for (int from = 0; from < p->shape.in_planes; from++) {
        LLVMValueRef at = bf_gen_offset(ll, &p->in, sample, loop.index, col);
        LLVMValueRef x = bf_gen_load(ll, &p->in, bf_gen_input(p->gen, (unsigned)from), at, count);
        for (int i = 0; i < ROWS; i++) {
            LLVMValueRef m =
                bf_ll_load_splat(ll, matrix_at(p, plane, from, loop.index, row[i]), count);
            loop.next[i] = bf_ll_fma(ll, x, m, loop.next[i]);
        }
    }
    bf_ll_loop_end(ll, &loop);
    for (int i = 0; i < ROWS; i++) {
        LLVMValueRef at = bf_gen_offset(ll, &p->out, sample, row[i], col);
        at = bf_gen_element(ll, &p->out, bf_gen_output(p->gen, (unsigned)plane), at);
        bf_ll_store_element(ll, p->out.element, loop.carried[i], at);
    }
}

static void column_tiles(struct product *p, LLVMValueRef sample, LLVMValueRef col, unsigned count) {
    struct bf_ll *ll = p->ll;
    struct bf_ll_loop loop;
    for (int plane = 0; plane < p->shape.out_planes; plane++) {
        bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), bf_ll_int(ll, p->shape.out), ROWS);
        column_tile(p, sample, col, loop.index, count, plane);
        bf_ll_loop_end(ll, &loop);
    }
}

static void along_columns(struct product *p) {
    struct bf_ll *ll = p->ll;
    int64_t width = tile_columns(p->gen->target), whole = p->in.cols / width;
    unsigned rest = (unsigned)(p->in.cols % width);
    int64_t tiles = whole + (rest > 0);
    struct bf_ll_loop loop;
    struct bf_ll_if branch;
    bf_ll_loop_begin(ll, &loop, p->gen->begin, p->gen->end, 1);
    LLVMValueRef sample = bf_ll_div_int(ll, loop.index, tiles);
    LLVMValueRef tile = bf_ll_rem_int(ll, loop.index, tiles);
    LLVMValueRef col = bf_ll_mul_int(ll, tile, width);
    if (whole) {
        bf_ll_if_begin(ll, &branch, bf_ll_less(ll, tile, bf_ll_int(ll, whole)));
        column_tiles(p, sample, col, (unsigned)width);
        bf_ll_if_end(ll, &branch);
    }
    if (rest) {
        bf_ll_if_begin(ll, &branch, bf_ll_less(ll, bf_ll_int(ll, whole - 1), tile));
        column_tiles(p, sample, col, rest);
        bf_ll_if_end(ll, &branch);
    }
    bf_ll_loop_end(ll, &loop);
}

static void generate(struct bf_gen *gen) {
    struct product p = {
        .gen = gen,
        .ll = gen->ll,
        .shape = {.in = bf_gen_param(gen, "in"),
                  .out = bf_gen_param(gen, "out"),
                  .in_planes = (int)bf_gen_param(gen, "in_planes"),
                  .out_planes = (int)bf_gen_param(gen, "out_planes"),
                  .along_rows = bf_gen_param(gen, "along_rows")},
        .in = bf_gen_input_shape(gen, 0),
        .out = bf_gen_output_shape(gen, 0),
        .has_bias = bf_kernel_find_param(gen->last, "bias") != NULL,
    };
    if (p.shape.along_rows)
        along_rows(&p);
    else
        along_columns(&p);
}

const struct bf_host_generator bf_gen_matrix_butterfly = {"matrix", BF_KERNEL_BUTTERFLY, choose,
                                                          generate};
const struct bf_host_generator bf_gen_matrix_fft = {"matrix", BF_KERNEL_FFT, choose, generate};
const struct bf_host_generator bf_gen_matrix_block_butterfly = {"matrix", BF_KERNEL_BLOCK_BUTTERFLY,
                                                                choose, generate};
