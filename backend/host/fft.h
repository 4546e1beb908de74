/* fft.h - discrete Fourier transforms of vectors of complex numbers, for generators.
 *
 * Lanes are independent transforms; real and imaginary parts are vectors of their own. A transform
 * of n = r_0 r_1 .. points is one pass a radix (Stockham: results arise in natural order, nothing
 * is sorted). With s the product of the radices before a pass and m that of those after it,
 *
 *     for p < m, q < s:   x_k = in[q + s (p + m k)],  k < r
 *                         out[q + s (r p + j)] = w^(p j) DFT_r(x)_j,  w = exp(-2 pi i / (r m)),  j
 * < r
 *
 * The first pass loads by a function of the caller, the last one stores by one; what is between
 * them lies in scratch.
 */
#ifndef BF_HOST_FFT_H
#define BF_HOST_FFT_H

#include "backend/host/ll.h"

struct bf_complex {
    LLVMValueRef re, im; /* NULL: 0 */
};
struct bf_complex bf_complex_add(struct bf_ll *ll, struct bf_complex a, struct bf_complex b);
struct bf_complex bf_complex_sub(struct bf_ll *ll, struct bf_complex a, struct bf_complex b);
struct bf_complex bf_complex_mul(struct bf_ll *ll, struct bf_complex a, struct bf_complex b);
/* `lanes` real parts and after them as many imaginary ones, aligned to a vector; 0 for NULL. */
struct bf_complex bf_complex_load(struct bf_ll *ll, LLVMValueRef at, unsigned lanes);
/* Two floats, each in every lane. */
struct bf_complex bf_complex_load_splat(struct bf_ll *ll, LLVMValueRef at, unsigned lanes);
void bf_complex_store(struct bf_ll *ll, LLVMValueRef at, struct bf_complex value, unsigned lanes);
/* DFT of r points in registers, in natural order: r <= BF_FFT_LARGEST_RADIX with factors up to 7.
 */
void bf_fft_dft(struct bf_ll *ll, unsigned r, struct bf_complex *x);

enum { BF_FFT_MOST_PASSES = 16, BF_FFT_LARGEST_RADIX = 16 };
struct bf_fft {
    int64_t n;
    unsigned passes;
    unsigned radix[BF_FFT_MOST_PASSES];
};
/* The radices that cost least, none above `largest`. False if n has a prime factor above 7. */
bool bf_fft_plan(struct bf_fft *fft, int64_t n, unsigned largest);
/* Twiddles: pass after pass but the last, [p][j - 1][re, im]. */
int64_t bf_fft_twiddles(const struct bf_fft *fft); /* floats */
void bf_fft_pack(const struct bf_fft *fft, float *out);

/* Code for a transform of `strips` x `lanes` columns. */
struct bf_fft_columns {
    struct bf_ll *ll;
    const struct bf_fft *fft;
    unsigned lanes;
    LLVMValueRef strips;     /* NULL: one */
    LLVMValueRef twiddles;   /* as packed */
    LLVMValueRef scratch[2]; /* [point][strip][re, im][lane]; the second where there are 3 passes */
    int64_t pitch;           /* floats from a point to the next */
    struct bf_complex (*load)(void *user, LLVMValueRef point, LLVMValueRef strip);
    void (*store)(void *user, LLVMValueRef point, LLVMValueRef strip, struct bf_complex value);
    void *user;
};
void bf_fft_columns(const struct bf_fft_columns *columns);

/* A loop that is left out where it would run once. */
struct bf_fft_loop {
    bool used;
    LLVMValueRef index;
    struct bf_ll_loop loop;
};
void bf_fft_loop_begin(struct bf_ll *ll, struct bf_fft_loop *loop, int64_t count);
void bf_fft_loop_end(struct bf_ll *ll, struct bf_fft_loop *loop);

#endif
