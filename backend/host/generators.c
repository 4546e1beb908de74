/* generators.c - every generator; for one kind, the first that takes a site gets it. */
#include "backend/host/gen.h"

extern const struct bf_host_generator bf_gen_attention;
extern const struct bf_host_generator bf_gen_block_butterfly;
extern const struct bf_host_generator bf_gen_block_dense;
extern const struct bf_host_generator bf_gen_butterfly;
extern const struct bf_host_generator bf_gen_copy;
extern const struct bf_host_generator bf_gen_dense;
extern const struct bf_host_generator bf_gen_fft;
extern const struct bf_host_generator bf_gen_fft_row;
extern const struct bf_host_generator bf_gen_fourier_columns;
extern const struct bf_host_generator bf_gen_fourier_rows;
extern const struct bf_host_generator bf_gen_gather;
extern const struct bf_host_generator bf_gen_matrix_block_butterfly;
extern const struct bf_host_generator bf_gen_matrix_butterfly;
extern const struct bf_host_generator bf_gen_matrix_fft;
extern const struct bf_host_generator bf_gen_rope;
extern const struct bf_host_generator bf_gen_rows;
extern const struct bf_host_generator bf_gen_transpose;

const struct bf_host_generator *const bf_host_generators[] = {
    &bf_gen_attention,
    &bf_gen_block_butterfly,
    &bf_gen_block_dense,
    &bf_gen_butterfly,
    &bf_gen_fourier_columns, /* before transforms along one axis */
    &bf_gen_fourier_rows,
    &bf_gen_fft_row, /* before transforms of any length */
    &bf_gen_fft,
    &bf_gen_gather, /* before copies of other kinds */
    &bf_gen_copy,
    &bf_gen_dense,
    &bf_gen_rope,
    &bf_gen_rows,
    &bf_gen_transpose,
    /* what takes any of their kinds */
    &bf_gen_matrix_block_butterfly,
    &bf_gen_matrix_butterfly,
    &bf_gen_matrix_fft,
    NULL,
};
