/* fft_row.h - the transform of one row, whose points lie in the lanes of vectors.
 *
 * H = A lanes points: lane l of vector a is point a lanes + l. A transform over a = a0 + rb j (over
 * j < ra, then over a0; A = ra rb) moves no lane; a factor w_H^(l ka) in each lane follows; then
 * lanes x lanes elements are transposed and transformed over l. Point ka + A kl of the result is in
 * lane ka of vector kl: in order. A row stays in the first-level cache.
 */
#ifndef BF_HOST_FFT_ROW_H
#define BF_HOST_FFT_ROW_H

#include "backend/host/fft.h"

struct bf_fft_row {
    unsigned lanes;
    int64_t points, vectors; /* H, A */
    unsigned ra, rb;
};
/* False if H is no multiple of the lanes, or A no product of two radices up to `largest`. `even`:
 * ra must be even and at most 8. */
bool bf_fft_row_plan(struct bf_fft_row *row, int64_t points, unsigned lanes, unsigned largest,
                     bool even);

/* Twiddles, [a0][j' - 1][re, im] of w_A^(a0 j'), and factors, [ka][re, im][l] of w_H^(l ka) x
 * scale. */
int64_t bf_fft_row_twiddles(const struct bf_fft_row *row); /* floats */
int64_t bf_fft_row_factors(const struct bf_fft_row *row);
void bf_fft_row_pack_twiddles(const struct bf_fft_row *row, float *out);
void bf_fft_row_pack_factors(const struct bf_fft_row *row, double scale, float *out);

struct bf_fft_row_code {
    struct bf_ll *ll;
    const struct bf_fft_row *row;
    LLVMValueRef twiddles, factors;
    LLVMValueRef scratch; /* bf_fft_row_scratch floats */
    bool real;            /* only real parts of the result are wanted */
    /* Vector a0 + rb j of the row. */
    struct bf_complex (*load)(void *user, LLVMValueRef a0, unsigned j);
    /* `count` results from column `col` on (the other lanes are none); `first`: col may be 0. */
    void (*store)(void *user, LLVMValueRef col, bool first, struct bf_complex value,
                  unsigned count);
    void *user;
};
int64_t bf_fft_row_scratch(const struct bf_fft_row *row);
void bf_fft_row(const struct bf_fft_row_code *code);

#endif
