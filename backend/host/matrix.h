/* matrix.h - a linear kernel as a matrix, in f64, when compiling. */
#ifndef BF_HOST_MATRIX_H
#define BF_HOST_MATRIX_H

#include "ir/host.h"

/* y = M x + bias along one axis, for each pair of an output plane and an input plane. */
struct bf_host_matrix {
    int64_t in, out;
    int in_planes, out_planes; /* 2: real and imaginary part */
    bool along_rows;           /* x lies along a row of its operand; else along a column */
    size_t kernels;            /* 2 for a transform by chirps */
};

/* False for kernels that are not linear maps of one kind of operand. */
bool bf_host_matrix(const struct bf_host_site *site, struct bf_host_matrix *matrix);
/* Packs [out plane][in plane], each [in][out padded to choice->params "padded"]; then the bias,
 * padded likewise, if there is one. Sets them after params are set. */
void bf_host_matrix_packs(const struct bf_host_site *site, struct bf_host_choice *choice);

#endif
