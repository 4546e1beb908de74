/* select_layout.c - slices, reshapes, concatenations, and copies that change a shape.
 *
 *   slice     of the last two axes   a view               of others   a copy of what is kept
 *   reshape   of a network input     a buffer of another shape for the same elements
 *             of anything else       the buffer itself if its shape stays, else a copy
 *   concat    a copy of each part
 *
 * A part of a network input that lies in one piece is a buffer of its own, too. Copies go through
 * DRAM, where the elements of an operand are packed: from there they are taken with strides.
 */
#include "passes/select.h"

/* Elements of axes `from` .. rank - 1. */
static int64_t product(const struct bf_type *type, unsigned from) {
    int64_t n = 1;
    for (unsigned a = from; a < type->rank; a++)
        n *= type->dims[a];
    return n;
}

/* Axes before the last two, counted as samples. */
static int64_t leading(const struct bf_type *type, unsigned from, unsigned to) {
    int64_t n = 1;
    for (unsigned a = from; a < to && a + 2 < type->rank; a++)
        n *= type->dims[a];
    return n;
}

static struct bf_buffer *new_temp(struct bf_select *select, const struct bf_op *op,
                                  const struct bf_buffer *like) {
    struct bf_poly *poly = select->poly;
    struct bf_buffer *buffer = bf_poly_add_buffer(
        poly, bf_arena_printf(&poly->arena, "v%u.copy%zu", op->result.index, poly->buffers.count),
        BF_BUFFER_TEMP);
    buffer->dtype = like->dtype;
    buffer->exponent = like->exponent;
    buffer->loc = op->loc;
    return buffer;
}

/* samples x rows x cols of a tensor. */
static void set_shape(struct bf_buffer *buffer, unsigned rank, const int64_t *dims, int64_t batch) {
    buffer->cols = rank > 0 ? dims[rank - 1] : 1;
    buffer->rows = rank > 1 ? dims[rank - 2] : 1;
    buffer->samples = batch;
    for (unsigned a = 0; a + 2 < rank; a++)
        buffer->samples *= dims[a];
}

/* ---- copies with strides ---- */

struct bf_operand bf_select_gather(struct bf_select *select, const struct bf_op *op,
                                   struct bf_operand from, unsigned rank, const int64_t *dims,
                                   struct bf_gather gather) {
    struct bf_poly *poly = select->poly;
    struct bf_buffer *buffer = new_temp(select, op, from.buffer);
    set_shape(buffer, rank, dims, poly->header.batch);
    bf_select_add_copy(select, op, from, bf_operand_whole(buffer));
    struct bf_ints *attrs = &poly->kernels.data[poly->kernels.count - 1]->attrs;
    bf_ints_set(attrs, &poly->arena, "start", gather.start);
    bf_ints_set(attrs, &poly->arena, "pitch", gather.row_stride);
    bf_ints_set(attrs, &poly->arena, "inner", rank > 2 ? dims[rank - 3] : 1);
    bf_ints_set(attrs, &poly->arena, "inner_stride", gather.stride[1]);
    bf_ints_set(attrs, &poly->arena, "outer", rank > 3 ? dims[rank - 4] : 1);
    bf_ints_set(attrs, &poly->arena, "outer_stride", gather.stride[0]);
    bf_ints_set(attrs, &poly->arena, "sample_stride", gather.sample_stride);
    return bf_operand_whole(buffer);
}

/* Elements of one sample of the batch in an operand of a value of this type; 0 if all samples of
 * the batch have the same. */
static int64_t batch_stride(const struct bf_select *select, const struct bf_type *type,
                            const struct bf_operand *operand) {
    int64_t samples = leading(type, 0, type->rank);
    bool shared = select->poly->header.batch > 1 && operand->buffer->samples == samples;
    return shared ? 0 : product(type, 0);
}

struct bf_operand bf_select_spread(struct bf_select *select, const struct bf_op *op,
                                   const struct bf_value *value, struct bf_operand operand,
                                   const struct bf_type *type) {
    const struct bf_type *own = &value->type;
    int64_t dims[BF_MAX_RANK];
    struct bf_gather gather = {.row_stride = operand.cols,
                               .sample_stride = batch_stride(select, own, &operand)};
    unsigned rank = type->rank;
    for (unsigned back = 3; back <= rank && back <= 4; back++) { /* axis rank - back */
        dims[rank - back] = type->dims[rank - back];
        bool has = own->rank >= back && own->dims[own->rank - back] > 1;
        gather.stride[4 - back] = has ? product(own, own->rank - back + 1) : 0;
    }
    dims[rank - 2] = operand.rows;
    dims[rank - 1] = operand.cols;
    return bf_select_gather(select, op, operand, rank, dims, gather);
}

/* The value as it lies in a copy. One of several samples that all of the batch share, a parameter,
 * is repeated for each of them first. */
static bool operand_to_copy(struct bf_select *select, const struct bf_op *op,
                            const struct bf_value *value, struct bf_operand *operand) {
    if (!bf_select_operand(select, value, operand))
        return false;
    if (operand->buffer->samples > 1 && !batch_stride(select, &value->type, operand))
        *operand = bf_select_spread(select, op, value, *operand, &value->type);
    return true;
}

/* ---- slices ---- */

/* One index of each leading axis of a network input: elements in one piece. */
static struct bf_operand part_of_input(struct bf_select *select, const struct bf_value *x,
                                       int64_t origin) {
    struct bf_poly *poly = select->poly;
    const char *name = bf_arena_printf(&poly->arena, "%s.at%lld", x->name, (long long)origin);
    struct bf_buffer *buffer = bf_poly_find_buffer(poly, name);
    if (!buffer) {
        buffer = bf_poly_add_buffer(poly, name, BF_BUFFER_INPUT);
        set_shape(buffer, 2, x->type.dims + x->type.rank - 2, poly->header.batch);
        buffer->dtype = x->type.dtype;
        buffer->exponent = x->type.exponent;
        buffer->tensor = bf_arena_strdup(&poly->arena, x->name);
        buffer->origin = origin;
        buffer->loc = x->loc;
    }
    return bf_operand_whole(buffer);
}

/* The indices of the axes before the last two that a slice keeps. */
static bool cut_leading(struct bf_select *select, const struct bf_op *op,
                        struct bf_operand *operand) {
    const struct bf_value *x = bf_op_arg(op, "x");
    const struct bf_type *type = &x->type, *result = &op->result.type;
    const struct bf_attr *begin = bf_op_attr(op, "begin");
    unsigned rank = type->rank;
    int64_t dims[BF_MAX_RANK], kept = leading(result, 0, rank);
    struct bf_gather gather = {.row_stride = type->dims[rank - 1]};
    for (unsigned a = 0; a + 2 < rank; a++) {
        int64_t stride = product(type, a + 1);
        gather.start += begin->ints.v[a] * stride;
        gather.stride[a + 4 - rank] = stride;
        dims[a] = result->dims[a];
    }
    if (!x->op && kept == 1) {
        *operand = part_of_input(select, x, gather.start);
        return true;
    }
    if (!bf_select_operand(select, x, operand))
        return false;
    dims[rank - 2] = operand->rows;
    dims[rank - 1] = operand->cols;
    gather.sample_stride = batch_stride(select, type, operand);
    *operand = bf_select_gather(select, op, *operand, rank, dims, gather);
    return true;
}

bool bf_select_slice(struct bf_select *select, const struct bf_op *op, struct bf_operand *operand) {
    const struct bf_value *x = bf_op_arg(op, "x");
    const struct bf_attr *begin = bf_op_attr(op, "begin");
    const struct bf_type *result = &op->result.type;
    unsigned rank = x->type.rank;
    bool cut = leading(result, 0, rank) != leading(&x->type, 0, rank);
    if (!(cut ? cut_leading(select, op, operand) : bf_select_operand(select, x, operand)))
        return false;
    if (rank > 0) {
        operand->col += begin->ints.v[rank - 1];
        operand->cols = result->dims[rank - 1];
    }
    if (rank > 1) {
        operand->row += begin->ints.v[rank - 2];
        operand->rows = result->dims[rank - 2];
    }
    return true;
}

/* ---- reshape ---- */

static struct bf_operand input_as(struct bf_select *select, const struct bf_value *x,
                                  const struct bf_type *type) {
    struct bf_poly *poly = select->poly;
    struct bf_buffer shape = {0};
    set_shape(&shape, type->rank, type->dims, poly->header.batch);
    const char *name =
        bf_arena_printf(&poly->arena, "%s.as%lldx%lldx%lld", x->name, (long long)shape.samples,
                        (long long)shape.rows, (long long)shape.cols);
    struct bf_buffer *buffer = bf_poly_find_buffer(poly, name);
    if (!buffer) {
        buffer = bf_poly_add_buffer(poly, name, BF_BUFFER_INPUT);
        buffer->samples = shape.samples;
        buffer->rows = shape.rows;
        buffer->cols = shape.cols;
        buffer->dtype = x->type.dtype;
        buffer->exponent = x->type.exponent;
        buffer->tensor = bf_arena_strdup(&poly->arena, x->name);
        buffer->loc = x->loc;
    }
    return bf_operand_whole(buffer);
}

static bool is_output(const struct bf_net *net, const struct bf_value *value) {
    for (size_t i = 0; i < net->outputs.count; i++)
        if (net->outputs.data[i].value == value)
            return true;
    return false;
}

bool bf_select_reshape(struct bf_select *select, const struct bf_op *op) {
    const struct bf_value *x = bf_op_arg(op, "x");
    struct bf_buffer shape = {0};
    struct bf_operand from;
    bool stored = is_output(select->net, &op->result); /* in a buffer of its own, then */
    if (!x->op && !stored && x->type.dtype != BF_I32) {
        select->values[op->result.index].re = input_as(select, x, &op->result.type);
        return true;
    }
    if (!operand_to_copy(select, op, x, &from))
        return false;
    set_shape(&shape, op->result.type.rank, op->result.type.dims, select->poly->header.batch);
    if (!stored && shape.samples == from.buffer->samples && shape.rows == from.rows &&
        shape.cols == from.cols)
        select->values[op->result.index].re = from;
    else
        bf_select_add_copy(select, op, from, bf_select_result(select, &op->result));
    return true;
}

/* ---- parts of samples ---- */

/* Samples of `from` become some of those of `to`: `inner` after `first` in every `stride`. */
static void copy_samples(struct bf_select *select, const struct bf_op *op, struct bf_operand from,
                         struct bf_operand to, int64_t first, int64_t inner, int64_t stride) {
    struct bf_poly *poly = select->poly;
    bf_select_add_copy(select, op, from, to);
    struct bf_ints *attrs = &poly->kernels.data[poly->kernels.count - 1]->attrs;
    bf_ints_set(attrs, &poly->arena, "to_first", first);
    bf_ints_set(attrs, &poly->arena, "to_inner", inner);
    bf_ints_set(attrs, &poly->arena, "to_stride", stride);
}

/* Each part goes to its columns, rows or samples of the result. */
bool bf_select_concat(struct bf_select *select, const struct bf_op *op) {
    const struct bf_type *type = &op->result.type;
    int64_t axis = bf_op_int(op, "axis"), at = 0;
    int64_t below = leading(type, (unsigned)axis + 1, type->rank);
    bool columns = axis == (int64_t)type->rank - 1, rows = axis == (int64_t)type->rank - 2;
    struct bf_operand whole = bf_select_result(select, &op->result);
    for (unsigned i = 0; i < op->arg_count; i++) {
        struct bf_operand from, to = whole;
        int64_t length = op->args[i]->type.dims[axis];
        if (!operand_to_copy(select, op, op->args[i], &from))
            return false;
        if (!columns && !rows) {
            copy_samples(select, op, from, to, at * below, length * below,
                         type->dims[axis] * below);
        } else {
            *(columns ? &to.col : &to.row) = at;
            *(columns ? &to.cols : &to.rows) = length;
            bf_select_add_copy(select, op, from, to);
        }
        at += length;
    }
    return true;
}

/* ---- complex values ---- */

bool bf_select_planes(struct bf_select *select, const struct bf_value *value, struct bf_operand *re,
                      struct bf_operand *im) {
    if (!value->op) {
        *re = bf_select_input_plane(select, value, 0);
        *im = bf_select_input_plane(select, value, 1);
        return true;
    }
    struct bf_selected *selected = &select->values[value->index];
    struct bf_operand both;
    if (selected->im.buffer) {
        *re = selected->re;
        *im = selected->im;
        return true;
    }
    if (!bf_select_operand(select, value, &both))
        return false;
    const struct bf_type *type = &value->type;
    struct bf_gather gather = {.row_stride = product(type, type->rank - 1),
                               .sample_stride = batch_stride(select, type, &both)};
    for (unsigned a = 1; a + 2 < type->rank; a++)
        gather.stride[a + 4 - type->rank] = product(type, a + 1);
    *re = bf_select_gather(select, value->op, both, type->rank - 1, type->dims + 1, gather);
    gather.start = product(type, 1);
    *im = bf_select_gather(select, value->op, both, type->rank - 1, type->dims + 1, gather);
    return true;
}

struct bf_operand bf_select_joined(struct bf_select *select, const struct bf_value *value) {
    struct bf_selected *selected = &select->values[value->index];
    const struct bf_type *type = &value->type;
    if (selected->joined.buffer)
        return selected->joined;
    struct bf_buffer *buffer = new_temp(select, value->op, selected->re.buffer);
    set_shape(buffer, type->rank, type->dims, select->poly->header.batch);
    struct bf_operand whole = bf_operand_whole(buffer);
    int64_t inner = leading(type, 1, type->rank);
    for (int plane = 0; plane < 2; plane++) {
        struct bf_operand to = whole;
        if (type->rank == 2) {
            to.row = plane;
            to.rows = 1;
            bf_select_add_copy(select, value->op, plane ? selected->im : selected->re, to);
        } else {
            copy_samples(select, value->op, plane ? selected->im : selected->re, to, plane * inner,
                         inner, 2 * inner);
        }
    }
    return selected->joined = whole;
}
