/* gen_tile.c - see gen_tile.h. */
#include "backend/host/gen_tile.h"

int64_t bf_tile_most_rows(const struct bf_host_target *target, int64_t vectors) {
    int64_t rows = ((int64_t)target->registers - vectors - 2) / vectors;
    return bf_tile_larger(bf_tile_smaller(rows, BF_TILE_ROWS), 1);
}

/* One input; x and w point at it, next are the sums after it. */
static void multiply(struct bf_ll *ll, const struct bf_tile *t, LLVMValueRef x, LLVMValueRef w,
                     const LLVMValueRef *sums, LLVMValueRef *next) {
    unsigned lanes = (unsigned)t->lanes;
    LLVMValueRef weights[BF_TILE_VECTORS];
    for (int64_t v = 0; v < t->vectors; v++)
        weights[v] = bf_ll_load(ll, bf_ll_at_int(ll, w, v * t->lanes), lanes, lanes * 4);
    for (int64_t r = 0; r < t->rows; r++) {
        LLVMValueRef splat = bf_ll_load_splat(ll, bf_ll_at_int(ll, x, r * t->x_pitch), lanes);
        for (int64_t v = 0; v < t->vectors; v++) {
            int64_t s = r * t->vectors + v;
            next[s] = bf_ll_fma(ll, splat, weights[v], sums[s]);
        }
    }
}

/* `step` inputs a round, each into sums of its own. */
static void multiply_loop(struct bf_ll *ll, const struct bf_tile *t, LLVMValueRef first,
                          LLVMValueRef end, int64_t step, LLVMValueRef *sums) {
    struct bf_ll_loop loop;
    int64_t count = t->rows * t->vectors;
    bf_ll_loop_begin(ll, &loop, first, end, step);
    for (int64_t s = 0; s < count * step; s++)
        bf_ll_carry(ll, &loop, sums[s]);
    LLVMValueRef x = bf_ll_at(ll, t->x, loop.index);
    LLVMValueRef w = bf_ll_at(ll, t->w, bf_ll_mul_int(ll, loop.index, t->w_pitch));
    if (t->ahead) {
        LLVMValueRef line = bf_ll_mul_int(ll, loop.index, BF_TILE_LINE);
        bf_ll_prefetch(ll, bf_ll_at_byte(ll, t->ahead, line));
    }
    for (int64_t i = 0; i < step; i++) {
        LLVMValueRef xi = bf_ll_at_int(ll, x, i), wi = bf_ll_at_int(ll, w, i * t->w_pitch);
        multiply(ll, t, xi, wi, loop.carried + i * count, loop.next + i * count);
    }
    bf_ll_loop_end(ll, &loop);
    for (int64_t s = 0; s < count * step; s++)
        sums[s] = loop.carried[s];
}

void bf_tile_multiply(struct bf_ll *ll, const struct bf_tile *tile, LLVMValueRef first,
                      LLVMValueRef end, int64_t count, LLVMValueRef *sums) {
    int64_t size = tile->rows * tile->vectors, step = 1;
    while (size * step < BF_TILE_CHAINS && 2 * step <= count)
        step *= 2;
    for (int64_t s = size; s < size * step; s++)
        sums[s] = bf_ll_const(ll, (unsigned)tile->lanes, 0);
    LLVMValueRef whole = bf_ll_add_int(ll, end, -(count % step));
    multiply_loop(ll, tile, first, whole, step, sums);
    for (int64_t width = step / 2; width; width /= 2)
        for (int64_t s = 0; s < size * width; s++)
            sums[s] = bf_ll_fadd(ll, sums[s], sums[s + size * width]);
    if (count % step)
        multiply_loop(ll, tile, whole, end, 1, sums);
}

LLVMValueRef bf_tile_narrow(struct bf_ll *ll, LLVMValueRef vector, unsigned count) {
    int picks[64];
    if (bf_ll_lanes(vector) == count)
        return vector;
    if (count == 1)
        return bf_ll_extract(ll, vector, 0);
    for (unsigned i = 0; i < count; i++)
        picks[i] = (int)i;
    return bf_ll_shuffle(ll, vector, NULL, picks, count);
}

LLVMValueRef bf_tile_widen(struct bf_ll *ll, LLVMValueRef vector, unsigned count) {
    int picks[64];
    unsigned lanes = bf_ll_lanes(vector);
    if (lanes == count)
        return vector;
    if (lanes == 1)
        return bf_ll_insert(ll, bf_ll_const(ll, count, 0), vector, 0);
    for (unsigned i = 0; i < count; i++)
        picks[i] = (int)(i < lanes ? i : lanes);
    return bf_ll_shuffle(ll, vector, bf_ll_const(ll, lanes, 0), picks, count);
}

void bf_tile_transpose(struct bf_ll *ll, LLVMValueRef from, int64_t pitch, int64_t rows,
                       int64_t cols, int64_t lanes, LLVMValueRef to, int64_t to_pitch) {
    LLVMValueRef piece[64];
    unsigned count = (unsigned)lanes;
    for (int64_t r = 0; r < lanes; r++) {
        piece[r] = bf_ll_const(ll, count, 0);
        if (r >= rows)
            continue;
        LLVMValueRef at = bf_ll_at_int(ll, from, r * pitch);
        piece[r] = bf_tile_widen(ll, bf_ll_load(ll, at, (unsigned)cols, 4), count);
    }
    bf_ll_transpose(ll, piece, count);
    for (int64_t c = 0; c < cols; c++)
        bf_ll_store(ll, piece[c], bf_ll_at_int(ll, to, c * to_pitch), count * 4);
}
