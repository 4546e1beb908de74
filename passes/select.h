/* select.h - shared by the files of select: which buffer holds the value of which operator. */
#ifndef BF_PASSES_SELECT_H
#define BF_PASSES_SELECT_H

#include "passes/build.h"
#include "passes/passes.h"

struct bf_selected {
    struct bf_operand re, im; /* buffer NULL: not stored (yet); im only of complex values */
    struct bf_operand joined; /* of a complex value: both planes in one buffer, if that is read */
};

struct bf_select {
    const struct bf_net *net;
    struct bf_poly *poly;
    struct bf_diags *diags;
    struct bf_selected *values; /* by value->index of operator results */
};

/* Where a value can be read; makes views and PARAM buffers as needed. */
bool bf_select_operand(struct bf_select *select, const struct bf_value *value,
                       struct bf_operand *operand);
/* Replaces a slice of the rows of a buffer by a copy, as kernels take whole samples. */
bool bf_select_whole(struct bf_select *select, const struct bf_op *op, struct bf_operand *operand);
/* The same for any slice, for kernels whose lanes run along the columns. */
bool bf_select_all(struct bf_select *select, const struct bf_op *op, struct bf_operand *operand);
/* The operand copied to a buffer of its own. */
bool bf_select_copy_out(struct bf_select *select, const struct bf_op *op,
                        struct bf_operand *operand);
/* A new buffer for a result (the network's output if it is one). */
struct bf_operand bf_select_result(struct bf_select *select, const struct bf_value *value);
struct bf_build bf_select_build(struct bf_select *select, const struct bf_op *op);

/* A COPY kernel between two operands with as many elements, row-major. */
void bf_select_add_copy(struct bf_select *select, const struct bf_op *op, struct bf_operand from,
                        struct bf_operand to);

/* select_layout.c */
/* Elements of a packed operand that become samples, rows and columns of a buffer: `start` the
 * first, the others apart; 0 repeats. */
struct bf_gather {
    int64_t start, row_stride;
    int64_t stride[2]; /* of leading axes, the outer one first */
    int64_t sample_stride;
};
/* A copy with a shape of its own: `dims` of one sample, up to two axes before the last two. */
struct bf_operand bf_select_gather(struct bf_select *select, const struct bf_op *op,
                                   struct bf_operand from, unsigned rank, const int64_t *dims,
                                   struct bf_gather gather);
/* The operand of a value with its leading axes repeated so that they are those of `type`. */
struct bf_operand bf_select_spread(struct bf_select *select, const struct bf_op *op,
                                   const struct bf_value *value, struct bf_operand operand,
                                   const struct bf_type *type);
bool bf_select_slice(struct bf_select *select, const struct bf_op *op, struct bf_operand *operand);
bool bf_select_reshape(struct bf_select *select, const struct bf_op *op);
bool bf_select_concat(struct bf_select *select, const struct bf_op *op);
/* Real and imaginary plane of [2, ..], whoever supplies it; the other way round. */
bool bf_select_planes(struct bf_select *select, const struct bf_value *value, struct bf_operand *re,
                      struct bf_operand *im);
struct bf_operand bf_select_joined(struct bf_select *select, const struct bf_value *value);
/* One plane of a complex network input: a buffer of its own. */
struct bf_operand bf_select_input_plane(struct bf_select *select, const struct bf_value *value,
                                        int plane);

/* select_blocks.c */
bool bf_select_monarch(struct bf_select *select, const struct bf_op *op);
bool bf_select_block_butterfly(struct bf_select *select, const struct bf_op *op);
bool bf_select_transpose(struct bf_select *select, const struct bf_op *op);
bool bf_select_fft_compress(struct bf_select *select, const struct bf_op *op);

/* select_attention.c */
bool bf_select_attention(struct bf_select *select, const struct bf_op *op);

/* select_rope.c */
bool bf_select_rope(struct bf_select *select, const struct bf_op *op);

/* select_rows.c: elementwise operators, row operators and reductions. */
bool bf_select_rows(struct bf_select *select, const struct bf_op *op);
/* A pointwise kernel that copies a value to the output's buffer. */
bool bf_select_copy(struct bf_select *select, const struct bf_output *output);

#endif
