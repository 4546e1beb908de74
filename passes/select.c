/* select.c - operators become kernels.
 *
 * Requires a verified net with exponents; gives a poly with a buffer for every value that is stored
 * and kernels in the order of execution. Keeps the meaning of every output.
 *
 *   linear, butterfly, fft, attention, embedding   a kernel each; fourier two, along the rows first
 *   layernorm, softmax, reductions                 a ROWS kernel with its steps
 *   elementwise operators                          join their only reader if that is a ROWS kernel
 *                                                  of the same shape (prologue), else a ROWS kernel
 *   slices                                         views of the buffer
 *   parameters used as values                      PARAM buffers, or vectors of a ROWS kernel
 */
#include "passes/select.h"

#include <stdlib.h>

/* ---- buffers ---- */

/* samples x rows x cols of a value's type. */
static void shape_buffer(struct bf_buffer *buffer, const struct bf_type *type, int64_t batch,
                         unsigned skip) {
    buffer->samples = batch;
    buffer->rows = buffer->cols = 1;
    unsigned rank = type->rank;
    if (rank > skip)
        buffer->cols = type->dims[rank - 1];
    if (rank > skip + 1)
        buffer->rows = type->dims[rank - 2];
    for (unsigned a = skip; a + 2 < rank; a++)
        buffer->samples *= type->dims[a];
}

static struct bf_buffer *new_buffer(struct bf_select *select, const struct bf_value *value,
                                    const char *name, enum bf_buffer_kind kind, unsigned skip) {
    struct bf_buffer *buffer = bf_poly_add_buffer(select->poly, name, kind);
    shape_buffer(buffer, &value->type, select->poly->header.batch, skip);
    buffer->dtype = value->type.dtype;
    buffer->exponent = value->type.exponent;
    buffer->loc = value->loc;
    return buffer;
}

/* The network output that names a value, or NULL. */
static const struct bf_output *output_of(const struct bf_net *net, const struct bf_value *value) {
    for (size_t i = 0; i < net->outputs.count; i++)
        if (net->outputs.data[i].value == value)
            return &net->outputs.data[i];
    return NULL;
}

/* "v12" for the value of operator 12, unless the network calls an input or output so. */
static const char *temp_name(struct bf_select *select, const struct bf_value *value) {
    const struct bf_net *net = select->net;
    const char *name = bf_arena_printf(&select->poly->arena, "v%u", value->index);
    bool taken = false;
    for (size_t i = 0; i < net->inputs.count; i++)
        taken |= !strcmp(net->inputs.data[i]->name, name);
    for (size_t i = 0; i < net->outputs.count; i++)
        taken |= !strcmp(net->outputs.data[i].name, name);
    return taken ? bf_arena_printf(&select->poly->arena, "%s.", name) : name;
}

struct bf_operand bf_select_result(struct bf_select *select, const struct bf_value *value) {
    const struct bf_output *output = output_of(select->net, value);
    struct bf_buffer *buffer;
    if (output) {
        buffer = new_buffer(select, value, output->name, BF_BUFFER_OUTPUT, 0);
        buffer->tensor = buffer->name;
    } else {
        buffer = new_buffer(select, value, temp_name(select, value), BF_BUFFER_TEMP, 0);
    }
    return select->values[value->index].re = bf_operand_whole(buffer);
}

/* Real and imaginary plane of a complex result [2, ..]. */
static void complex_result(struct bf_select *select, const struct bf_value *value) {
    const struct bf_output *output = output_of(select->net, value);
    struct bf_selected *selected = &select->values[value->index];
    for (int plane = 0; plane < 2; plane++) {
        const char *base =
            output ? output->name : bf_arena_printf(&select->poly->arena, "v%u", value->index);
        struct bf_buffer *buffer =
            new_buffer(select, value,
                       bf_arena_printf(&select->poly->arena, "%s.%s", base, plane ? "im" : "re"),
                       output ? BF_BUFFER_OUTPUT : BF_BUFFER_TEMP, 1);
        if (output) {
            buffer->tensor = bf_arena_strdup(&select->poly->arena, output->name);
            buffer->origin = plane * bf_type_elements(&value->type) / 2;
        }
        *(plane ? &selected->im : &selected->re) = bf_operand_whole(buffer);
    }
}

/* Whether an embedding reads a network input as ids, or anything else as numbers. */
static bool is_read(const struct bf_net *net, const struct bf_value *value, bool as_ids) {
    for (size_t i = 0; i < net->ops.count; i++) {
        const struct bf_op *op = net->ops.data[i];
        for (unsigned a = 0; a < op->arg_count; a++)
            if (op->args[a] == value && (op->kind == BF_OP_EMBEDDING) == as_ids)
                return true;
    }
    for (size_t i = 0; i < net->outputs.count && !as_ids; i++)
        if (net->outputs.data[i].value == value)
            return true;
    return false;
}

/* Bytes that choose rows of a table come in as integers, those of a mask as 0 and 1 in fp16. */
static enum bf_dtype input_dtype(const struct bf_net *net, const struct bf_value *value) {
    bool ids = value->type.dtype == BF_U8 && is_read(net, value, true);
    return ids ? BF_I32 : value->type.dtype;
}

static struct bf_operand input_operand(struct bf_select *select, const struct bf_value *value) {
    struct bf_buffer *buffer = bf_poly_find_buffer(select->poly, value->name);
    if (!buffer) {
        buffer = new_buffer(select, value, value->name, BF_BUFFER_INPUT, 0);
        buffer->tensor = buffer->name;
        buffer->dtype = input_dtype(select->net, value);
    }
    return bf_operand_whole(buffer);
}

/* One plane of a complex network input: a buffer of its own. */
struct bf_operand bf_select_input_plane(struct bf_select *select, const struct bf_value *value,
                                        int plane) {
    const char *name =
        bf_arena_printf(&select->poly->arena, "%s.%s", value->name, plane ? "im" : "re");
    struct bf_buffer *buffer = bf_poly_find_buffer(select->poly, name);
    if (!buffer) {
        buffer = new_buffer(select, value, name, BF_BUFFER_INPUT, 1);
        buffer->tensor = bf_arena_strdup(&select->poly->arena, value->name);
        buffer->origin = plane * bf_type_elements(&value->type) / 2;
    }
    return bf_operand_whole(buffer);
}

static struct bf_operand param_operand(struct bf_select *select, const struct bf_value *value,
                                       const struct bf_param_view *view) {
    struct bf_buffer *buffer =
        bf_poly_add_buffer(select->poly,
                           bf_arena_printf(&select->poly->arena, "p%zu.%s",
                                           select->poly->buffers.count, view->param->name),
                           BF_BUFFER_PARAM);
    shape_buffer(buffer, &value->type, 1, 0);
    buffer->view = bf_poly_view(select->poly, view);
    buffer->loc = value->loc;
    return bf_operand_whole(buffer);
}

static bool unsupported(struct bf_select *select, struct bf_loc loc, const char *what) {
    return bf_diag_error(select->diags, loc, "cannot map this on an array: %s", what);
}

bool bf_select_operand(struct bf_select *select, const struct bf_value *value,
                       struct bf_operand *operand) {
    struct bf_param_view view;
    if (!value->op) {
        *operand = input_operand(select, value);
        return true;
    }
    struct bf_selected *selected = &select->values[value->index];
    if (selected->re.buffer) {
        *operand = selected->im.buffer ? bf_select_joined(select, value) : selected->re;
        return true;
    }
    bool ok = true;
    if (bf_value_param_view(value, &view))
        selected->re = param_operand(select, value, &view);
    else if (value->op->kind == BF_OP_SLICE)
        ok = bf_select_slice(select, value->op, &selected->re);
    else
        ok = unsupported(select, value->loc, bf_op_info(value->op->kind)->name);
    *operand = selected->re;
    return ok;
}

/* ---- kernels ---- */

struct bf_build bf_select_build(struct bf_select *select, const struct bf_op *op) {
    const char *name = bf_op_info(op->kind)->name;
    const char *what =
        *op->label ? bf_arena_printf(&select->poly->arena, "%s %s", op->label, name) : name;
    return (struct bf_build){select->poly, what, op->loc};
}

void bf_select_add_copy(struct bf_select *select, const struct bf_op *op, struct bf_operand from,
                        struct bf_operand to) {
    struct bf_build build = bf_select_build(select, op);
    struct bf_poly_kernel *kernel = bf_poly_add_kernel(select->poly, BF_KERNEL_COPY);
    kernel->what = build.what;
    kernel->loc = build.loc;
    *bf_push(&kernel->inputs) = from;
    *bf_push(&kernel->outputs) = to;
}

bool bf_select_copy_out(struct bf_select *select, const struct bf_op *op,
                        struct bf_operand *operand) {
    const struct bf_buffer *from = operand->buffer;
    struct bf_buffer *buffer =
        bf_poly_add_buffer(select->poly,
                           bf_arena_printf(&select->poly->arena, "v%u.rows%zu", op->result.index,
                                           select->poly->buffers.count),
                           BF_BUFFER_TEMP);
    buffer->samples = from->samples;
    buffer->rows = operand->rows;
    buffer->cols = operand->cols;
    buffer->dtype = from->dtype;
    buffer->exponent = from->exponent;
    buffer->loc = op->loc;
    struct bf_operand to = bf_operand_whole(buffer);
    bf_select_add_copy(select, op, *operand, to);
    *operand = to;
    return true;
}

/* Kernels take the rows of a buffer as they are, whole samples: a slice of rows is copied out. */
bool bf_select_whole(struct bf_select *select, const struct bf_op *op, struct bf_operand *operand) {
    bool whole = operand->row == 0 && operand->rows == operand->buffer->rows;
    return whole || bf_select_copy_out(select, op, operand);
}

/* Lanes along the columns begin at the first one of a buffer. */
bool bf_select_all(struct bf_select *select, const struct bf_op *op, struct bf_operand *operand) {
    bool all = operand->row == 0 && operand->rows == operand->buffer->rows && operand->col == 0 &&
               operand->cols == operand->buffer->cols;
    return all || bf_select_copy_out(select, op, operand);
}

static bool select_linear(struct bf_select *select, const struct bf_op *op) {
    struct bf_build build = bf_select_build(select, op);
    struct bf_operand x;
    if (!bf_select_operand(select, bf_op_arg(op, "x"), &x) || !bf_select_whole(select, op, &x))
        return false;
    struct bf_operand y = bf_select_result(select, &op->result);
    struct bf_param_view weight, bias;
    bool has_bias = bf_op_weight_view(op, "bias", &bias);
    bool butterfly = op->kind == BF_OP_BUTTERFLY;
    if (!bf_op_weight_view(op, butterfly ? "twiddle" : "weight", &weight))
        return unsupported(select, op->loc, "a weight that is not a parameter or a slice of one");
    if (butterfly)
        bf_build_butterfly(&build, x, y, &weight, has_bias ? &bias : NULL,
                           bf_op_bool(op, "increasing"), NULL);
    else
        bf_build_dense(&build, x, y, &weight, has_bias ? &bias : NULL);
    return true;
}

/* A buffer between the two transforms of a fourier. */
static struct bf_operand half_way(struct bf_select *select, const struct bf_op *op,
                                  const char *plane, int exponent) {
    struct bf_buffer *buffer =
        new_buffer(select, &op->result,
                   bf_arena_printf(&select->poly->arena, "v%u.%s", op->result.index, plane),
                   BF_BUFFER_TEMP, 0);
    buffer->exponent = exponent;
    return bf_operand_whole(buffer);
}

/* floor(log2(n) / 2): how far a transform of n points is shifted. */
static int shift_of(int64_t n) {
    return (int)bf_log2_floor((uint64_t)n) / 2;
}

static bool axis_lanes(struct bf_select *select, const struct bf_op *op, int64_t axis,
                       unsigned rank, enum bf_lane_axis *lanes) {
    if (axis == (int64_t)rank - 1)
        *lanes = BF_LANES_ROWS;
    else if (axis == (int64_t)rank - 2)
        *lanes = BF_LANES_COLS;
    else
        return unsupported(select, op->loc, "a transform along an axis before the last two");
    return true;
}

/* Rows first: real input, complex in between; then columns, of which only the real part is kept. */
static bool select_fourier(struct bf_select *select, const struct bf_op *op) {
    struct bf_build build = bf_select_build(select, op);
    const struct bf_value *x = bf_op_arg(op, "x");
    const struct bf_attr *axes = bf_op_attr(op, "axes");
    struct bf_operand from;
    if (!bf_select_operand(select, x, &from) || !bf_select_whole(select, op, &from))
        return false;
    int64_t axis[2];
    unsigned count = 0;
    for (unsigned a = 0; a < axes->ints.count; a++)
        if (x->type.dims[axes->ints.v[a]] > 1)
            axis[count++] = axes->ints.v[a];
    if (count == 0) { /* transforms of one point change nothing */
        select->values[op->result.index].re = from;
        return true;
    }
    if (count == 1) {
        enum bf_lane_axis lanes = BF_LANES_ROWS;
        if (!axis_lanes(select, op, axis[0], x->type.rank, &lanes))
            return false;
        if (lanes == BF_LANES_COLS && !bf_select_all(select, op, &from))
            return false;
        struct bf_operand y = bf_select_result(select, &op->result);
        bf_build_fft(&build, lanes, &from, NULL, &y, NULL, false);
        return true;
    }
    if (!bf_select_all(select, op, &from))
        return false;
    /* What is stored half-way must fit, too, where the exponent of the result comes from data. */
    int exponent = x->type.exponent + shift_of(from.rows);
    int needed = op->result.type.exponent - (int)bf_log2_floor((uint64_t)from.cols);
    if (needed > exponent)
        exponent = needed;
    struct bf_operand re = half_way(select, op, "re", exponent);
    struct bf_operand im = half_way(select, op, "im", exponent);
    struct bf_operand y = bf_select_result(select, &op->result);
    bf_build_fft(&build, BF_LANES_COLS, &from, NULL, &re, &im, false);
    bf_build_fft(&build, BF_LANES_ROWS, &re, &im, &y, NULL, false);
    return true;
}

static bool select_fft(struct bf_select *select, const struct bf_op *op) {
    struct bf_build build = bf_select_build(select, op);
    const struct bf_value *z = bf_op_arg(op, "z");
    struct bf_operand re, im;
    enum bf_lane_axis lanes = BF_LANES_ROWS;
    if (!axis_lanes(select, op, bf_op_int(op, "axis"), z->type.rank, &lanes) ||
        !bf_select_planes(select, z, &re, &im))
        return false;
    if (z->type.dims[bf_op_int(op, "axis")] == 1) {
        select->values[op->result.index] = (struct bf_selected){.re = re, .im = im};
        return true;
    }
    complex_result(select, &op->result);
    const struct bf_selected *y = &select->values[op->result.index];
    bf_build_fft(&build, lanes, &re, &im, &y->re, &y->im, bf_op_bool(op, "inverse"));
    return true;
}

static bool select_embedding(struct bf_select *select, const struct bf_op *op) {
    struct bf_build build = bf_select_build(select, op);
    struct bf_operand ids;
    struct bf_param_view table;
    const struct bf_value *ids_value = bf_op_arg(op, "ids");
    if (ids_value->op)
        return unsupported(select, op->loc, "ids that are not a network input");
    if (ids_value->type.dtype == BF_U8 && is_read(select->net, ids_value, false))
        return bf_diag_error(select->diags, op->loc,
                             "cannot map this on an array: '%s' holds ids here and is a mask "
                             "elsewhere; make it two inputs",
                             ids_value->name);
    if (!bf_select_operand(select, ids_value, &ids))
        return false;
    if (!bf_op_weight_view(op, "weight", &table))
        return unsupported(select, op->loc, "a table that is not a parameter or a slice of one");
    struct bf_operand y = bf_select_result(select, &op->result);
    struct bf_poly_kernel *kernel = bf_poly_add_kernel(select->poly, BF_KERNEL_COPY);
    kernel->what = build.what;
    kernel->loc = build.loc;
    *bf_push(&kernel->inputs) = ids;
    *bf_push(&kernel->outputs) = y;
    *bf_push(&kernel->params) =
        (struct bf_kernel_param){"table", bf_poly_view(select->poly, &table)};
    return true;
}

static bool select_op(struct bf_select *select, const struct bf_op *op) {
    switch (op->kind) {
    case BF_OP_PARAM:
    case BF_OP_CONSTANT:
    case BF_OP_SLICE:
        return true; /* made where they are read */
    case BF_OP_LINEAR:
    case BF_OP_BUTTERFLY:
        return select_linear(select, op);
    case BF_OP_MONARCH:
        return bf_select_monarch(select, op);
    case BF_OP_BLOCK_BUTTERFLY:
        return bf_select_block_butterfly(select, op);
    case BF_OP_TRANSPOSE:
        return bf_select_transpose(select, op);
    case BF_OP_FFT_COMPRESS:
        return bf_select_fft_compress(select, op);
    case BF_OP_FOURIER:
        return select_fourier(select, op);
    case BF_OP_FFT:
        return select_fft(select, op);
    case BF_OP_ATTENTION:
        return bf_select_attention(select, op);
    case BF_OP_ROPE:
        return bf_select_rope(select, op);
    case BF_OP_EMBEDDING:
        return select_embedding(select, op);
    case BF_OP_RESHAPE:
        return bf_select_reshape(select, op);
    case BF_OP_CONCAT:
        return bf_select_concat(select, op);
    default:
        return bf_select_rows(select, op);
    }
}

static void copy_tensors(struct bf_poly *poly, const struct bf_net *net) {
    for (size_t i = 0; i < net->params.count; i++)
        bf_poly_param(poly, net->params.data[i]);
    for (size_t i = 0; i < net->inputs.count; i++) {
        struct bf_poly_tensor *tensor = bf_push(&poly->tensors);
        *tensor = (struct bf_poly_tensor){bf_arena_strdup(&poly->arena, net->inputs.data[i]->name),
                                          false, net->inputs.data[i]->type};
        tensor->type.dtype = input_dtype(net, net->inputs.data[i]);
    }
    for (size_t i = 0; i < net->outputs.count; i++)
        *bf_push(&poly->tensors) =
            (struct bf_poly_tensor){bf_arena_strdup(&poly->arena, net->outputs.data[i].name), true,
                                    net->outputs.data[i].value->type};
}

/* Outputs whose value is an input, or has two names, or is a view: copied by a pointwise kernel. */
static bool copy_outputs(struct bf_select *select) {
    const struct bf_net *net = select->net;
    for (size_t i = 0; i < net->outputs.count; i++) {
        const struct bf_output *output = &net->outputs.data[i];
        if (!bf_poly_find_buffer(select->poly, output->name) &&
            !bf_poly_find_buffer(select->poly,
                                 bf_arena_printf(&select->poly->arena, "%s.re", output->name)) &&
            !bf_select_copy(select, output))
            return false;
    }
    return true;
}

struct bf_poly *bf_pass_select(const struct bf_net *net, struct bf_diags *diags) {
    struct bf_poly *poly = bf_poly_create(net->name);
    struct bf_select select = {.net = net, .poly = poly, .diags = diags};
    bf_poly_set_header(poly, &net->header);
    select.values = bf_alloc((net->ops.count + 1) * sizeof *select.values);
    copy_tensors(poly, net);
    bool ok = true;
    for (size_t i = 0; i < net->ops.count; i++)
        ok &= select_op(&select, net->ops.data[i]);
    ok = ok && copy_outputs(&select);
    free(select.values);
    if (!ok) {
        bf_poly_free(poly);
        return NULL;
    }
    return poly;
}
