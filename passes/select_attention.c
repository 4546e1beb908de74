/* select_attention.c - attention is a kernel; with a mask for each head, one a head.
 *
 * A sample of one row shares its tile with others, and lanes are the queries of one sample: such
 * operands are copied to buffers whose samples have room for two rows, and begin at a tile each.
 */
#include "passes/select.h"

static bool is_packed(const struct bf_operand *operand) {
    return operand->buffer->rows == 1 && operand->buffer->samples > 1;
}

/* The first row of samples with two. */
static struct bf_operand roomy(struct bf_select *select, const struct bf_op *op, int64_t samples,
                               int64_t cols, int exponent) {
    struct bf_poly *poly = select->poly;
    struct bf_buffer *buffer = bf_poly_add_buffer(
        poly, bf_arena_printf(&poly->arena, "v%u.room%zu", op->result.index, poly->buffers.count),
        BF_BUFFER_TEMP);
    buffer->samples = samples;
    buffer->rows = 2;
    buffer->cols = cols;
    buffer->exponent = exponent;
    buffer->loc = op->loc;
    struct bf_operand operand = bf_operand_whole(buffer);
    operand.rows = 1;
    return operand;
}

static bool operand_of(struct bf_select *select, const struct bf_op *op, const char *name,
                       struct bf_operand *operand) {
    if (!bf_select_operand(select, bf_op_arg(op, name), operand) ||
        !bf_select_whole(select, op, operand))
        return false;
    if (is_packed(operand)) {
        struct bf_operand room =
            roomy(select, op, operand->buffer->samples, operand->cols, operand->buffer->exponent);
        bf_select_add_copy(select, op, *operand, room);
        *operand = room;
    }
    return true;
}

static struct bf_operand columns_of(struct bf_operand operand, int64_t head, int64_t width) {
    operand.col += head * width;
    operand.cols = width;
    return operand;
}

struct attention {
    struct bf_operand q, k, v, y;
    int64_t heads, kv_heads, window;
    bool causal;
};

/* One head after another, each with its own mask [queries, keys]. */
static void each_head(struct bf_select *select, const struct bf_op *op,
                      const struct bf_build *build, const struct attention *a,
                      struct bf_operand masks) {
    const struct bf_type *type = &bf_op_arg(op, "mask")->type;
    int64_t width = a->q.cols / a->heads, group = a->heads / a->kv_heads;
    int64_t elements = type->dims[1] * type->dims[2];
    for (int64_t head = 0; head < a->heads; head++) {
        struct bf_gather gather = {.start = head * elements,
                                   .row_stride = type->dims[2],
                                   .sample_stride = a->heads * elements};
        struct bf_operand mask = bf_select_gather(select, op, masks, 2, type->dims + 1, gather);
        bf_build_attention(build, columns_of(a->q, head, width),
                           columns_of(a->k, head / group, width),
                           columns_of(a->v, head / group, width), &mask,
                           columns_of(a->y, head, width), 1, 1, a->causal, a->window);
    }
}

bool bf_select_attention(struct bf_select *select, const struct bf_op *op) {
    struct bf_build build = bf_select_build(select, op);
    const struct bf_value *mask_value = bf_op_arg(op, "mask");
    struct bf_operand mask;
    struct attention a = {.heads = bf_op_int(op, "heads"),
                          .kv_heads = bf_op_int(op, "kv_heads"),
                          .window = bf_op_int(op, "window"),
                          .causal = bf_op_bool(op, "causal")};
    if (!operand_of(select, op, "q", &a.q) || !operand_of(select, op, "k", &a.k) ||
        !operand_of(select, op, "v", &a.v) ||
        (mask_value &&
         (!bf_select_operand(select, mask_value, &mask) || !bf_select_all(select, op, &mask))))
        return false;
    struct bf_operand result = bf_select_result(select, &op->result);
    bool packed = is_packed(&result);
    a.y = packed ? roomy(select, op, result.buffer->samples, result.cols, 0) : result;
    if (mask_value && mask_value->type.rank == 3 && a.heads > 1)
        each_head(select, op, &build, &a, mask);
    else
        bf_build_attention(&build, a.q, a.k, a.v, mask_value ? &mask : NULL, a.y, a.heads,
                           a.kv_heads, a.causal, a.window);
    if (packed)
        bf_select_add_copy(select, op, a.y, result);
    return true;
}
