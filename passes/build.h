/* build.h - how select makes the poly kernel of an operator: one builder a family. Each appends a
 * kernel with digits, statements, accesses and dependences; operands are whole buffers or views. */
#ifndef BF_PASSES_BUILD_H
#define BF_PASSES_BUILD_H

#include "ir/poly.h"

struct bf_build {
    struct bf_poly *poly;
    const char *what; /* "encoder.0.ffn.fc1 butterfly" */
    struct bf_loc loc;
};

/* y = butterfly(x) + bias along the columns; `bias` may be NULL. Twiddle [stacks, blocks, m, n/2,
 * 2, 2]. The form of the stages is that of `like`; NULL: plain. */
struct bf_poly_kernel *bf_build_butterfly(const struct bf_build *build, struct bf_operand x,
                                          struct bf_operand y, const struct bf_param_view *twiddle,
                                          const struct bf_param_view *bias, bool increasing,
                                          const struct bf_poly_kernel *like);

/* Unnormalised DFT of `n` points along the axis that `lanes` leaves: rows of re + i im (im NULL:
 * real input) to out_re + i out_im (out_im NULL: only the real part is wanted). Buffer exponents
 * say how far results are shifted; shifts are spread over the stages (floor(log2(R) / 2) after
 * radices R). */
struct bf_poly_kernel *bf_build_fft(const struct bf_build *build, enum bf_lane_axis lanes,
                                    const struct bf_operand *re, const struct bf_operand *im,
                                    const struct bf_operand *out_re,
                                    const struct bf_operand *out_im, bool inverse);

/* A slice of the FFT kernel `like`: the same transform, of other rows or columns. */
struct bf_poly_kernel *bf_build_fft_like(const struct bf_build *build,
                                         const struct bf_poly_kernel *like,
                                         const struct bf_operand *re, const struct bf_operand *im,
                                         const struct bf_operand *out_re,
                                         const struct bf_operand *out_im);

/* y = x W^T + bias; weight [out, in], bias [out] or NULL. */
struct bf_poly_kernel *bf_build_dense(const struct bf_build *build, struct bf_operand x,
                                      struct bf_operand y, const struct bf_param_view *weight,
                                      const struct bf_param_view *bias);

/* Columns fall into blocks: block b of x gives, for each output o, column o x blocks + b of y.
 * weight [blocks, out, in] (Monarch's factors: Dao et al., 2022), bias [out x blocks] or NULL. */
struct bf_poly_kernel *bf_build_block_dense(const struct bf_build *build, struct bf_operand x,
                                            struct bf_operand y, const struct bf_param_view *weight,
                                            const struct bf_param_view *bias);

/* Tile o of y is the sum over i of the butterfly [o, i] of tile i of x, plus bias (NULL: none).
 * Twiddle [out tiles, in tiles, 1, m, tile/2, 2, 2]. */
struct bf_poly_kernel *bf_build_block_butterfly(const struct bf_build *build, struct bf_operand x,
                                                struct bf_operand y,
                                                const struct bf_param_view *twiddle,
                                                const struct bf_param_view *bias, bool increasing);

/* y = x with rows and columns swapped, sample by sample. */
struct bf_poly_kernel *bf_build_transpose(const struct bf_build *build, struct bf_operand x,
                                          struct bf_operand y);

/* softmax(q k^T / sqrt(d) + mask) v, head by head; mask NULL, or a buffer of 0 and 1 a key. */
struct bf_poly_kernel *bf_build_attention(const struct bf_build *build, struct bf_operand q,
                                          struct bf_operand k, struct bf_operand v,
                                          const struct bf_operand *mask, struct bf_operand y,
                                          int64_t heads, int64_t kv_heads, bool causal,
                                          int64_t window);

/* A pointwise or row kernel: the caller has filled inputs, outputs, params and steps of `kernel`
 * (made by bf_poly_add_kernel); adds digits, statements and dependences. */
void bf_build_rows(const struct bf_build *build, struct bf_poly_kernel *kernel);

#endif
