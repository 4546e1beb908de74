/* select.h - shared by the files of select: which buffer holds the value of which operator. */
#ifndef BF_PASSES_SELECT_H
#define BF_PASSES_SELECT_H

#include "passes/build.h"
#include "passes/passes.h"

struct bf_selected {
    struct bf_operand re, im; /* buffer NULL: not stored (yet); im only of complex values */
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
/* A new buffer for a result (the network's output if it is one). */
struct bf_operand bf_select_result(struct bf_select *select, const struct bf_value *value);
struct bf_build bf_select_build(struct bf_select *select, const struct bf_op *op);

/* A COPY kernel between two operands with as many elements, row-major. */
void bf_select_add_copy(struct bf_select *select, const struct bf_op *op, struct bf_operand from,
                        struct bf_operand to);

/* select_blocks.c */
bool bf_select_monarch(struct bf_select *select, const struct bf_op *op);
bool bf_select_block_butterfly(struct bf_select *select, const struct bf_op *op);
bool bf_select_transpose(struct bf_select *select, const struct bf_op *op);
bool bf_select_fft_compress(struct bf_select *select, const struct bf_op *op);

/* select_rope.c */
bool bf_select_rope(struct bf_select *select, const struct bf_op *op);

/* select_rows.c: elementwise operators, row operators and reductions. */
bool bf_select_rows(struct bf_select *select, const struct bf_op *op);
/* A pointwise kernel that copies a value to the output's buffer. */
bool bf_select_copy(struct bf_select *select, const struct bf_output *output);

#endif
