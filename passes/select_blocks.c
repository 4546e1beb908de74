/* select_blocks.c - operators over blocks of rows or columns.
 *
 *   monarch          x --R--> mid --L--> y     two block-diagonal products; each deals its results
 *                                              out over the blocks, which is the permutation P
 *   block_butterfly  one kernel
 *   transpose        one kernel for the last two axes; other axes change places in copies
 *   fft_compress     x, chunk by chunk --fft--> re, im --copies--> low bins --inverse--> y
 */
#include "passes/select.h"

static bool unsupported(struct bf_select *select, struct bf_loc loc, const char *what) {
    return bf_diag_error(select->diags, loc, "cannot map this on an array: %s", what);
}

static struct bf_operand new_temp(struct bf_select *select, const struct bf_op *op,
                                  const char *part, int64_t samples, int64_t rows, int64_t cols,
                                  int exponent) {
    struct bf_poly *poly = select->poly;
    struct bf_buffer *buffer = bf_poly_add_buffer(
        poly, bf_arena_printf(&poly->arena, "v%u.%s", op->result.index, part), BF_BUFFER_TEMP);
    buffer->samples = samples;
    buffer->rows = rows;
    buffer->cols = cols;
    buffer->exponent = exponent;
    buffer->loc = op->loc;
    return bf_operand_whole(buffer);
}

/* The operand x, whole rows of as many samples as the result has. */
static bool operand_x(struct bf_select *select, const struct bf_op *op, struct bf_operand *x) {
    if (!bf_select_operand(select, bf_op_arg(op, "x"), x) || !bf_select_whole(select, op, x))
        return false;
    if (x->buffer->dtype == BF_I32)
        return unsupported(select, op->loc, "arithmetic on integers");
    int64_t samples = select->poly->header.batch;
    const struct bf_type *type = &bf_op_arg(op, "x")->type;
    for (unsigned a = 0; a + 2 < type->rank; a++)
        samples *= type->dims[a];
    return x->buffer->samples == samples ||
           unsupported(select, op->loc, "a parameter in the place of x, for several samples");
}

/* ---- linear maps ---- */

bool bf_select_monarch(struct bf_select *select, const struct bf_op *op) {
    struct bf_build build = bf_select_build(select, op);
    struct bf_param_view right, left, bias;
    struct bf_operand x;
    if (!operand_x(select, op, &x))
        return false;
    if (!bf_op_weight_view(op, "blkdiag1", &right) || !bf_op_weight_view(op, "blkdiag2", &left))
        return unsupported(select, op->loc, "a weight that is not a parameter or a slice of one");
    bool has_bias = bf_op_weight_view(op, "bias", &bias);
    struct bf_operand mid =
        new_temp(select, op, "mid", x.buffer->samples, x.rows, x.cols, x.buffer->exponent);
    bf_build_block_dense(&build, x, mid, &right, NULL);
    struct bf_operand y = bf_select_result(select, &op->result);
    bf_build_block_dense(&build, mid, y, &left, has_bias ? &bias : NULL);
    return true;
}

bool bf_select_block_butterfly(struct bf_select *select, const struct bf_op *op) {
    struct bf_build build = bf_select_build(select, op);
    struct bf_param_view twiddle, bias;
    struct bf_operand x;
    if (!operand_x(select, op, &x))
        return false;
    if (!bf_op_weight_view(op, "twiddle", &twiddle))
        return unsupported(select, op->loc, "a weight that is not a parameter or a slice of one");
    bool has_bias = bf_op_weight_view(op, "bias", &bias);
    struct bf_operand y = bf_select_result(select, &op->result);
    bf_build_block_butterfly(&build, x, y, &twiddle, has_bias ? &bias : NULL,
                             bf_op_bool(op, "increasing"));
    return true;
}

/* ---- transpose ---- */

/* Whether only the last two axes change their places. */
static bool swaps_last_two(const int64_t *axes, unsigned rank) {
    for (unsigned a = 0; a + 2 < rank; a++)
        if (axes[a] != a)
            return false;
    return rank >= 2 && axes[rank - 1] == rank - 2;
}

/* Whether the elements stay in their order: axes longer than 1 keep their places. */
static bool keeps_order(const int64_t *axes, const struct bf_type *type) {
    int64_t last = -1;
    for (unsigned a = 0; a < type->rank; a++) {
        if (type->dims[axes[a]] == 1)
            continue;
        if (axes[a] < last)
            return false;
        last = axes[a];
    }
    return true;
}

/* The type whose axis a is axis axes[a] of `type`. */
static struct bf_type permuted(const struct bf_type *type, const int64_t *axes) {
    struct bf_type result = *type;
    for (unsigned a = 0; a < type->rank; a++)
        result.dims[a] = type->dims[axes[a]];
    return result;
}

/* Elements from one index of an axis to the next; 0 if the axis does not exist. */
static int64_t stride_of(const struct bf_type *type, const int64_t *axes, int axis) {
    int64_t stride = 1;
    if (axis < 0)
        return 0;
    for (int64_t a = axes[axis] + 1; a < type->rank; a++)
        stride *= type->dims[a];
    return stride;
}

/* A copy through DRAM: the last axis stays, rows and what is above them come in another order. */
static void copy_permuted(struct bf_select *select, const struct bf_op *op, struct bf_operand x,
                          const struct bf_type *type, const int64_t *axes, struct bf_operand y) {
    struct bf_poly *poly = select->poly;
    int rank = (int)type->rank;
    struct bf_type result = permuted(type, axes);
    bf_select_add_copy(select, op, x, y);
    if (keeps_order(axes, type))
        return;
    struct bf_ints *attrs = &poly->kernels.data[poly->kernels.count - 1]->attrs;
    bf_ints_set(attrs, &poly->arena, "pitch", stride_of(type, axes, rank - 2));
    bf_ints_set(attrs, &poly->arena, "inner", rank > 2 ? result.dims[rank - 3] : 1);
    bf_ints_set(attrs, &poly->arena, "inner_stride", stride_of(type, axes, rank - 3));
    bf_ints_set(attrs, &poly->arena, "outer", rank > 3 ? result.dims[rank - 4] : 1);
    bf_ints_set(attrs, &poly->arena, "outer_stride", stride_of(type, axes, rank - 4));
}

static struct bf_operand step_result(struct bf_select *select, const struct bf_op *op,
                                     const char *part, const struct bf_type *type, int exponent) {
    int64_t samples = select->poly->header.batch;
    for (unsigned a = 0; a + 2 < type->rank; a++)
        samples *= type->dims[a];
    return new_temp(select, op, part, samples, type->dims[type->rank - 2],
                    type->dims[type->rank - 1], exponent);
}

/* The last two axes swap; where one of them is 1 the elements stay in their order. */
static void swap(struct bf_select *select, const struct bf_op *op, struct bf_operand x,
                 struct bf_operand y) {
    struct bf_build build = bf_select_build(select, op);
    if (x.rows == 1 || x.cols == 1)
        bf_select_add_copy(select, op, x, y);
    else
        bf_build_transpose(&build, x, y);
}

/* Another axis becomes the last one:
 *
 *   .. last .. inner  --copy-->  .. last inner  --swap-->  .. inner last  --copy-->  .. inner ..
 * last
 */
static void transpose_in_steps(struct bf_select *select, const struct bf_op *op,
                               struct bf_operand x, const struct bf_type *type,
                               const int64_t *axes) {
    unsigned rank = type->rank, at = 0;
    int64_t before[BF_MAX_RANK], after[BF_MAX_RANK], swapped[BF_MAX_RANK];
    for (unsigned a = 0; a + 1 < rank; a++)
        if (axes[a] != rank - 1)
            before[at++] = axes[a];
    before[at] = axes[rank - 1];
    before[at + 1] = rank - 1;
    struct bf_type middle = permuted(type, before);
    if (before[rank - 2] != rank - 2 || !keeps_order(before, type)) {
        struct bf_operand moved = step_result(select, op, "moved", &middle, x.buffer->exponent);
        copy_permuted(select, op, x, type, before, moved);
        x = moved;
    }
    at = 0;
    for (unsigned a = 0; a < rank; a++)
        swapped[a] = a + 2 < rank ? a : rank - 1 - (a + 2 - rank);
    for (unsigned a = 0; a + 1 < rank; a++)
        after[a] = axes[a] == rank - 1 ? rank - 2 : at++;
    after[rank - 1] = rank - 1;
    middle = permuted(&middle, swapped);
    if (keeps_order(after, &middle) && after[rank - 2] == rank - 2) {
        swap(select, op, x, bf_select_result(select, &op->result));
        return;
    }
    struct bf_operand turned = step_result(select, op, "turned", &middle, x.buffer->exponent);
    swap(select, op, x, turned);
    copy_permuted(select, op, turned, &middle, after, bf_select_result(select, &op->result));
}

bool bf_select_transpose(struct bf_select *select, const struct bf_op *op) {
    const int64_t *axes = bf_op_attr(op, "axes")->ints.v;
    const struct bf_type *type = &bf_op_arg(op, "x")->type;
    struct bf_operand x;
    if (!operand_x(select, op, &x))
        return false;
    if (keeps_order(axes, type))
        bf_select_add_copy(select, op, x, bf_select_result(select, &op->result));
    else if (swaps_last_two(axes, type->rank))
        swap(select, op, x, bf_select_result(select, &op->result));
    else if (axes[type->rank - 1] == type->rank - 1)
        copy_permuted(select, op, x, type, axes, bf_select_result(select, &op->result));
    else
        transpose_in_steps(select, op, x, type, axes);
    return true;
}

/* ---- fft_compress ---- */

struct compress {
    struct bf_select *select;
    const struct bf_op *op;
    struct bf_build build;
    int64_t chunks, chunk, keep, cols; /* chunks of all samples */
};

/* A network input comes in by chunks; anything else is copied into chunks. */
static struct bf_operand chunks_of(struct compress *c, struct bf_operand x) {
    struct bf_poly *poly = c->select->poly;
    const struct bf_value *value = bf_op_arg(c->op, "x");
    if (c->chunk == x.rows)
        return x;
    if (value->op) {
        struct bf_operand chunks =
            new_temp(c->select, c->op, "chunks", c->chunks, c->chunk, c->cols, x.buffer->exponent);
        bf_select_add_copy(c->select, c->op, x, chunks);
        return chunks;
    }
    const char *name = bf_arena_printf(&poly->arena, "%s.by%lld", value->name, (long long)c->chunk);
    struct bf_buffer *buffer = bf_poly_find_buffer(poly, name);
    if (!buffer) {
        buffer = bf_poly_add_buffer(poly, name, BF_BUFFER_INPUT);
        buffer->samples = c->chunks;
        buffer->rows = c->chunk;
        buffer->cols = c->cols;
        buffer->dtype = value->type.dtype;
        buffer->exponent = value->type.exponent;
        buffer->tensor = bf_arena_strdup(&poly->arena, value->name);
        buffer->loc = value->loc;
    }
    return bf_operand_whole(buffer);
}

static struct bf_operand rows_of(struct bf_operand operand, int64_t row, int64_t rows) {
    operand.row = row;
    operand.rows = rows;
    return operand;
}

static void copy_rows(struct compress *c, struct bf_operand from, int64_t row, struct bf_operand to,
                      int64_t at, int64_t rows) {
    if (rows > 0)
        bf_select_add_copy(c->select, c->op, rows_of(from, row, rows), rows_of(to, at, rows));
}

/* The bins that are kept. The imaginary part of bin 0 of a real transform is 0: lowpass takes it
 * for that of bin keep/2. */
static struct bf_operand low_bins(struct compress *c, struct bf_operand from, bool imaginary,
                                  int exponent) {
    struct bf_operand to = new_temp(c->select, c->op, imaginary ? "low.im" : "low.re", c->chunks,
                                    c->keep, c->cols, exponent);
    int64_t half = c->keep / 2;
    if (strcmp(bf_op_word(c->op, "mode"), "lowpass")) {
        copy_rows(c, from, 0, to, 0, c->keep);
        return to;
    }
    copy_rows(c, from, 0, to, 0, imaginary ? half : half + 1);
    if (imaginary)
        copy_rows(c, from, 0, to, half, 1);
    copy_rows(c, from, c->chunk - half + 1, to, half + 1, half - 1);
    return to;
}

/* y = x times a number below 1, where the chunk is no power of two. */
static void scale_rows(struct compress *c, struct bf_operand x, struct bf_operand y, double by) {
    struct bf_poly *poly = c->select->poly;
    struct bf_poly_kernel *kernel = bf_poly_add_kernel(poly, BF_KERNEL_ROWS);
    kernel->what = bf_arena_strdup(&poly->arena, c->build.what);
    kernel->loc = c->op->loc;
    kernel->lanes = BF_LANES_ROWS;
    *bf_push(&kernel->inputs) = x;
    *bf_push(&kernel->outputs) = y;
    struct bf_expr *value = bf_expr_new(poly, BF_EXPR_ARG, NULL, NULL);
    struct bf_expr *number = bf_expr_new(poly, BF_EXPR_CONST, NULL, NULL);
    number->value = by;
    *bf_push(&kernel->steps) =
        (struct bf_step){BF_STEP_MAP, bf_expr_new(poly, BF_EXPR_MUL, value, number), 0};
    bf_build_rows(&c->build, kernel);
}

/* The network output that a value is, if that is all it is. */
static const struct bf_output *only_output(const struct bf_net *net, const struct bf_value *value) {
    const struct bf_output *found = NULL;
    for (size_t i = 0; i < net->outputs.count; i++) {
        if (net->outputs.data[i].value != value)
            continue;
        if (found)
            return NULL;
        found = &net->outputs.data[i];
    }
    for (size_t i = value->index + 1; i < net->ops.count; i++)
        for (unsigned a = 0; a < net->ops.data[i]->arg_count; a++)
            if (net->ops.data[i]->args[a] == value)
                return NULL;
    return found;
}

/* Where the chunks of the result go: straight into a network output, or to be copied together. */
static struct bf_operand result_chunks(struct compress *c, bool *joined) {
    const struct bf_output *output = only_output(c->select->net, &c->op->result);
    *joined = output || c->chunk == bf_op_arg(c->op, "x")->type.dims[0];
    struct bf_operand y;
    if (*joined)
        y = bf_select_result(c->select, &c->op->result);
    else
        y = new_temp(c->select, c->op, "short", c->chunks, c->keep, c->cols, 0);
    if (output) {
        y.buffer->samples = c->chunks;
        y.buffer->rows = c->keep;
        y = c->select->values[c->op->result.index].re = bf_operand_whole(y.buffer);
    }
    return y;
}

/* `last` is what the inverse transform gives, times 2^shift / chunk: in y at once or scaled. */
static void finish(struct compress *c, struct bf_operand re, const struct bf_operand *im,
                   double gain) {
    bool joined;
    struct bf_operand y = result_chunks(c, &joined), last = y;
    if (gain != 1)
        last = new_temp(c->select, c->op, "unscaled", c->chunks, c->keep, c->cols, 0);
    if (c->keep > 1)
        bf_build_fft(&c->build, BF_LANES_COLS, &re, im, &last, NULL, true);
    else
        bf_select_add_copy(c->select, c->op, re, last);
    if (gain != 1)
        scale_rows(c, last, y, gain);
    if (!joined)
        bf_select_add_copy(c->select, c->op, y, bf_select_result(c->select, &c->op->result));
}

/* The transform is stored over 2^shift, shift = floor(log2(chunk)), and taken for the transform
 * over the chunk; where that is a power of two it is. */
bool bf_select_fft_compress(struct bf_select *select, const struct bf_op *op) {
    struct bf_operand x;
    if (!operand_x(select, op, &x) || !bf_select_all(select, op, &x))
        return false;
    struct compress c = {.select = select,
                         .op = op,
                         .build = bf_select_build(select, op),
                         .chunks = x.buffer->samples * (x.rows / bf_op_int(op, "chunk")),
                         .chunk = bf_op_int(op, "chunk"),
                         .keep = bf_op_int(op, "keep"),
                         .cols = x.cols};
    if (c.chunk == 1) {
        bf_select_add_copy(select, op, x, bf_select_result(select, &op->result));
        return true;
    }
    struct bf_operand from = chunks_of(&c, x);
    int shift = (int)bf_log2_floor((uint64_t)c.chunk), exponent = x.buffer->exponent;
    double gain = (double)(INT64_C(1) << shift) / (double)c.chunk;
    struct bf_operand re = new_temp(select, op, "re", c.chunks, c.chunk, c.cols, exponent + shift);
    struct bf_operand im = new_temp(select, op, "im", c.chunks, c.chunk, c.cols, exponent + shift);
    bf_build_fft(&c.build, BF_LANES_COLS, &from, NULL, &re, &im, false);
    struct bf_operand low_re = low_bins(&c, re, false, exponent);
    if (c.keep == 1) {
        finish(&c, low_re, NULL, gain);
        return true;
    }
    struct bf_operand low_im = low_bins(&c, im, true, exponent);
    finish(&c, low_re, &low_im, gain);
    return true;
}
