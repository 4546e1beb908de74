/* gen_tile.h - a tile of a matrix product in registers: what dense products and attention share.
 *
 *     sums[r][v] += x[r][k] w[k][v]      for rows r, vectors v of columns, inputs k
 *
 * An input costs `vectors` loads of w and `rows` broadcasts of x for rows x vectors FMAs.
 */
#ifndef BF_HOST_GEN_TILE_H
#define BF_HOST_GEN_TILE_H

#include "backend/host/gen.h"

enum {
    BF_TILE_VECTORS = 8, /* most in a tile */
    BF_TILE_ROWS = 14,
    BF_TILE_SUMS = 64,  /* room for the sums of a tile, and for chains of them */
    BF_TILE_CHAINS = 8, /* FMAs in flight that fill the pipes */
    BF_TILE_LINE = 64,  /* bytes of a cache line */
};

struct bf_tile {
    int64_t rows, vectors, lanes;
    LLVMValueRef x, w;        /* at k = 0 */
    int64_t x_pitch, w_pitch; /* from row to row of x, from k to k of w */
    LLVMValueRef ahead;       /* a line is prefetched from here at k = 0, the next at k = 1, ..;
                                 NULL: none */
};

/* Registers that are left for sums beside the vectors of one input and a broadcast. */
int64_t bf_tile_most_rows(const struct bf_host_target *target, int64_t vectors);
/* For k in [first, end). `count` is end - first if it is known: then a tile of few sums gets more,
 * each for every second (fourth, ..) k, so that FMAs need not wait for one another; 0 if unknown.
 * `sums` has room for BF_TILE_SUMS. */
void bf_tile_multiply(struct bf_ll *ll, const struct bf_tile *tile, LLVMValueRef first,
                      LLVMValueRef end, int64_t count, LLVMValueRef *sums);

/* The first `count` lanes; a vector of `count` lanes that begins with these (the rest is zero). */
LLVMValueRef bf_tile_narrow(struct bf_ll *ll, LLVMValueRef vector, unsigned count);
LLVMValueRef bf_tile_widen(struct bf_ll *ll, LLVMValueRef vector, unsigned count);

/* A piece of `rows` rows (pitch from one to the next) and `cols` columns, both at most `lanes`,
 * read at `from` and written with rows as lanes: column c, zero beyond `rows`, at `to` + c x
 * to_pitch, aligned to a vector. */
void bf_tile_transpose(struct bf_ll *ll, LLVMValueRef from, int64_t pitch, int64_t rows,
                       int64_t cols, int64_t lanes, LLVMValueRef to, int64_t to_pitch);

static inline int64_t bf_tile_smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t bf_tile_larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}
static inline int64_t bf_tile_divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

#endif
