/* select_rope.c - rotary embedding becomes a ROWS kernel over pairs of columns.
 *
 *     x   | a a a b b b | a a a b b b |     y_a = x_a cos - x_b sin      pairs (i, i + h/2); or
 *           head 0        head 1            y_b = x_b cos + x_a sin      interleaved: a b a b a b
 *
 * x and y are each two operands of one buffer, from the first a and from the first b on; their
 * columns are counted by head and pair. So are those of the table of cosines and sines, in which
 * all heads have the same: it is computed when the program is encoded, a row for each position.
 */
#include "passes/select.h"

/* The rows of the table that the tokens need; with one token a sample, a copy for each sample, as
 * the lanes are samples then. */
static struct bf_operand table_of(struct bf_select *select, const struct bf_op *op, int64_t head,
                                  int64_t tokens, int64_t samples) {
    struct bf_poly *poly = select->poly;
    struct bf_rotary rotary = {bf_op_float(op, "base"), bf_op_bool(op, "interleaved")};
    int64_t offset = bf_op_int(op, "offset"), positions = offset + tokens;
    struct bf_text name = {0};
    bf_text_printf(&name, "rope %lld x %lld base ", (long long)positions, (long long)head);
    bf_text_add_double(&name, rotary.base);
    bf_text_add(&name, rotary.interleaved ? " interleaved" : "");
    struct bf_param param = {.name = name.data,
                             .type = bf_type_make(BF_F16, 2, (int64_t[]){positions, head}),
                             .loc = op->loc,
                             .owner = "rope",
                             .rotary = &rotary};
    struct bf_buffer *buffer = bf_poly_add_buffer(
        poly, bf_arena_printf(&poly->arena, "v%u.angles", op->result.index), BF_BUFFER_PARAM);
    buffer->rows = tokens;
    buffer->cols = head;
    buffer->view =
        (struct bf_param_view){bf_poly_param(poly, &param), 2, {offset, 0}, {tokens, head}};
    buffer->loc = op->loc;
    bf_text_free(&name);
    if (tokens > 1 || samples == 1)
        return bf_operand_whole(buffer);
    struct bf_buffer *copies = bf_poly_add_buffer(
        poly, bf_arena_printf(&poly->arena, "v%u.copies", op->result.index), BF_BUFFER_TEMP);
    copies->samples = samples;
    copies->cols = head;
    copies->loc = op->loc;
    bf_select_add_copy(select, op, bf_operand_whole(buffer), bf_operand_whole(copies));
    return bf_operand_whole(copies);
}

/* `columns` columns of an operand, `from` its first. */
static struct bf_operand columns_from(struct bf_operand operand, int64_t from, int64_t columns) {
    operand.col += from;
    operand.cols = columns;
    return operand;
}

static struct bf_expr *operand_expr(struct bf_poly *poly, int index) {
    struct bf_expr *expr = bf_expr_new(poly, BF_EXPR_ARG, NULL, NULL);
    expr->index = index;
    return expr;
}

/* (operand i) x cos + or - (operand j) x sin, stored as it is. */
static void add_step(struct bf_poly *poly, struct bf_poly_kernel *kernel, int output,
                     enum bf_expr_kind sign, int i, int j) {
    struct bf_expr *a =
        bf_expr_new(poly, BF_EXPR_MUL, operand_expr(poly, i), operand_expr(poly, 2));
    struct bf_expr *b =
        bf_expr_new(poly, BF_EXPR_MUL, operand_expr(poly, j), operand_expr(poly, 3));
    struct bf_expr *sum = bf_expr_new(poly, sign, a, b);
    int exponent = kernel->inputs.data[0].buffer->exponent;
    if (exponent) {
        sum = bf_expr_new(poly, BF_EXPR_SHIFT, sum, NULL);
        sum->index = exponent;
    }
    *bf_push(&kernel->steps) = (struct bf_step){BF_STEP_MAP, sum, output};
}

bool bf_select_rope(struct bf_select *select, const struct bf_op *op) {
    struct bf_poly *poly = select->poly;
    struct bf_build build = bf_select_build(select, op);
    struct bf_operand x;
    if (!bf_select_operand(select, bf_op_arg(op, "x"), &x) || !bf_select_whole(select, op, &x))
        return false;
    int64_t heads = bf_op_int(op, "heads"), head = x.cols / heads;
    bool interleaved = bf_op_bool(op, "interleaved");
    struct bf_operand y = bf_select_result(select, &op->result);
    if (x.buffer->samples != y.buffer->samples)
        return bf_diag_error(select->diags, op->loc,
                             "cannot map this on an array: a parameter in the place of x, for "
                             "several samples");
    struct bf_operand table = table_of(select, op, head, x.rows, x.buffer->samples);
    int64_t second = interleaved ? 1 : head / 2; /* of a pair, after the first */
    struct bf_poly_kernel *kernel = bf_poly_add_kernel(poly, BF_KERNEL_ROWS);
    kernel->lanes = BF_LANES_ROWS;
    bf_ints_set(&kernel->attrs, &poly->arena, "heads", heads);
    bf_ints_set(&kernel->attrs, &poly->arena, "head", head);
    bf_ints_set(&kernel->attrs, &poly->arena, "step", interleaved ? 2 : 1);
    for (int from = 0; from < 2; from++)
        *bf_push(&kernel->inputs) = columns_from(x, from * second, x.cols - second);
    for (int from = 0; from < 2; from++)
        *bf_push(&kernel->inputs) = columns_from(table, from * second, head - second);
    for (int from = 0; from < 2; from++)
        *bf_push(&kernel->outputs) = columns_from(y, from * second, y.cols - second);
    add_step(poly, kernel, 0, BF_EXPR_SUB, 0, 1);
    add_step(poly, kernel, 1, BF_EXPR_ADD, 1, 0);
    bf_build_rows(&build, kernel);
    return true;
}
