/* select_rows.c - pointwise operators, operators along rows and reductions become ROWS kernels.
 *
 *     add --> layernorm          one kernel: x + f is recomputed in each pass over the row, in f32,
 *      ^ only reader             and never stored
 *
 * An elementwise operator whose only reader is such an operator of the same shape joins it, if that
 * costs the reader's loops only a few slots. Everything else that is read is a buffer, a vector of
 * parameters along the columns, or a constant.
 */
#include "passes/select.h"

#include <stdlib.h>

#include "ir/isa/fp.h"

enum { MOST_INPUTS = 8, MOST_STEPS = 8 };

/* A kernel in the making: it is appended when its operands exist. */
struct rows {
    struct bf_select *select;
    const struct bf_op *op;
    enum bf_lane_axis lanes;
    struct bf_operand inputs[MOST_INPUTS];
    struct bf_kernel_param params[MOST_INPUTS];
    struct bf_step steps[MOST_STEPS];
    int input_count, param_count, step_count;
    int mask;                   /* input that masks the axis worked along and lies across it; -1 */
    const struct bf_type *type; /* of what is computed, or reduced */
    int64_t samples;            /* of the kernel */
    bool unpacked;              /* some operand is one row of samples with several */
    bool ok;
};

static bool unsupported(struct rows *rows, const char *what) {
    rows->ok = false;
    return bf_diag_error(rows->select->diags, rows->op->loc, "cannot map this on an array: %s",
                         what);
}

/* ---- who joins whom ---- */

static bool is_elementwise(const struct bf_op *op) {
    return bf_op_info(op->kind)->class == BF_CLASS_ELEMENTWISE;
}

/* Functions that evaluate their argument several times want it as a stored number. */
static bool wants_stored(const struct bf_op *op) {
    return op->kind == BF_OP_GELU || op->kind == BF_OP_SILU || op->kind == BF_OP_TANH;
}

/* Slots of an element that the operators which join a reader may cost; -1: none may join. */
static int room_in(const struct bf_op *reader) {
    switch (reader->kind) {
    case BF_OP_SOFTMAX:
        return 3;
    case BF_OP_LAYERNORM:
    case BF_OP_RMSNORM:
        return 2; /* no products: their squares would be scaled for the largest possible ones */
    case BF_OP_MEAN:
    case BF_OP_SUM:
    case BF_OP_MAX:
        return 8;
    default:
        return is_elementwise(reader) && !wants_stored(reader) ? 12 : -1;
    }
}

/* A number that is no fp16 number is added in two pieces, a small one is put together first. */
static int slots_of_number(double x) {
    double size = x < 0 ? -x : x;
    if (bf_half_to_double(bf_half_from_double(x)) == x)
        return 1;
    return size >= 0.125 ? 2 : 4;
}

static int slots_of(const struct bf_op *op) {
    switch (op->kind) {
    case BF_OP_GELU:
        return 15;
    case BF_OP_TANH:
        return 20;
    case BF_OP_SILU:
        return 8;
    case BF_OP_SIGMOID:
        return 5;
    case BF_OP_DIV:
    case BF_OP_MUL:
    case BF_OP_SCALE:
        return 3;
    case BF_OP_ADD:
    case BF_OP_SUB:
        for (unsigned a = 0; a < op->arg_count; a++)
            if (op->args[a]->op && op->args[a]->op->kind == BF_OP_CONSTANT)
                return slots_of_number(bf_op_float(op->args[a]->op, "value"));
        return 1;
    default:
        return 1;
    }
}

/* The only reader of a value; NULL if there are several, or if it is an output. */
static const struct bf_op *only_reader(const struct bf_net *net, const struct bf_value *value) {
    const struct bf_op *reader = NULL;
    for (size_t i = 0; i < net->outputs.count; i++)
        if (net->outputs.data[i].value == value)
            return NULL;
    for (size_t i = value->index + 1; i < net->ops.count; i++) {
        const struct bf_op *op = net->ops.data[i];
        for (unsigned a = 0; a < op->arg_count; a++) {
            if (op->args[a] != value)
                continue;
            if (reader)
                return NULL;
            reader = op;
        }
    }
    return reader;
}

/* Slots of an operator that is computed inside its reader's kernel, with those that join itself; 0
 * if it is not. */
static int joined_slots(const struct bf_net *net, const struct bf_value *value) {
    if (!value->op || !is_elementwise(value->op) || value->type.exponent)
        return 0;
    const struct bf_op *reader = only_reader(net, value);
    if (!reader)
        return 0;
    const struct bf_value *mask = is_elementwise(reader) ? NULL : bf_op_arg(reader, "mask");
    bool reduces = bf_op_info(reader->kind)->class == BF_CLASS_REDUCTION;
    const struct bf_type *shape = reduces ? &reader->args[0]->type : &reader->result.type;
    if (value == mask || room_in(reader) < 0 || !bf_type_same_shape(shape, &value->type))
        return 0;
    int slots = slots_of(value->op);
    for (unsigned a = 0; a < value->op->arg_count; a++)
        slots += joined_slots(net, value->op->args[a]);
    return slots <= room_in(reader) ? slots : 0;
}

static bool joins(const struct bf_net *net, const struct bf_value *value) {
    return joined_slots(net, value) > 0;
}

/* ---- expressions ---- */

static struct bf_expr *node(struct rows *rows, enum bf_expr_kind kind, struct bf_expr *a,
                            struct bf_expr *b) {
    return bf_expr_new(rows->select->poly, kind, a, b);
}

static struct bf_expr *indexed(struct rows *rows, enum bf_expr_kind kind, int index) {
    struct bf_expr *expr = node(rows, kind, NULL, NULL);
    expr->index = index;
    return expr;
}

static struct bf_expr *number(struct rows *rows, double value) {
    struct bf_expr *expr = node(rows, BF_EXPR_CONST, NULL, NULL);
    expr->value = value;
    return expr;
}

static struct bf_expr *shifted(struct rows *rows, struct bf_expr *expr, int by) {
    if (expr->kind == BF_EXPR_SHIFT)
        return shifted(rows, expr->a, expr->index + by);
    if (!by)
        return expr;
    struct bf_expr *shift = node(rows, BF_EXPR_SHIFT, expr, NULL);
    shift->index = by;
    return shift;
}

static int add_step(struct rows *rows, enum bf_step_kind kind, struct bf_expr *expr, int index) {
    rows->steps[rows->step_count] = (struct bf_step){kind, expr, index};
    return rows->step_count++;
}

static struct bf_expr *row(struct rows *rows, enum bf_step_kind kind, struct bf_expr *expr) {
    return indexed(rows, BF_EXPR_ROW, add_step(rows, kind, expr, 0));
}

static bool same_operand(const struct bf_operand *a, const struct bf_operand *b) {
    return a->buffer == b->buffer && a->row == b->row && a->col == b->col && a->rows == b->rows &&
           a->cols == b->cols;
}

static int add_input(struct rows *rows, struct bf_operand operand) {
    for (int i = 0; i < rows->input_count; i++)
        if (same_operand(&rows->inputs[i], &operand))
            return i;
    if (operand.buffer->dtype == BF_I32)
        unsupported(rows, "arithmetic on integers");
    if (operand.buffer->samples != 1 && operand.buffer->samples != rows->samples)
        unsupported(rows, "samples of two numbers");
    if (rows->input_count == MOST_INPUTS) {
        unsupported(rows, "an expression of more than 8 operands");
        return 0;
    }
    rows->inputs[rows->input_count] = operand;
    return rows->input_count++;
}

static struct bf_expr *param_vector(struct rows *rows, const char *role,
                                    const struct bf_param_view *view) {
    struct bf_poly *poly = rows->select->poly;
    if (rows->param_count == MOST_INPUTS) {
        unsupported(rows, "an expression of more than 8 parameters");
        return number(rows, 0);
    }
    if (!role)
        role = bf_arena_printf(&poly->arena, "p%d", rows->param_count);
    rows->params[rows->param_count] = (struct bf_kernel_param){role, bf_poly_view(poly, view)};
    return indexed(rows, BF_EXPR_PARAM, rows->param_count++);
}

/* A vector along the columns, or one number. */
static bool is_vector(const struct bf_param_view *view) {
    for (unsigned a = 0; a + 1 < view->rank; a++)
        if (view->extent[a] != 1)
            return false;
    return view->rank > 0;
}

/* An operand as the kernel can read it. Leading axes that broadcast are repeated where samples
 * would not correspond; what does not begin at a tile of the widest array is copied. */
static struct bf_operand adapted(struct rows *rows, const struct bf_value *value,
                                 struct bf_operand operand) {
    enum { WIDEST = 32 };
    const struct bf_type *type = rows->type;
    bool single = type->rank < 2 || type->dims[type->rank - 2] == 1;
    if (operand.buffer->samples != 1 && operand.buffer->samples != rows->samples)
        return bf_select_spread(rows->select, rows->op, value, operand, type);
    bool columns = rows->lanes == BF_LANES_COLS;
    bool vector = operand.rows == 1 && (!single || operand.buffer->samples < rows->samples);
    bool aligned = (operand.rows == 1 || operand.row % WIDEST == 0) &&
                   ((!columns && !vector) || operand.col % WIDEST == 0);
    if (!aligned)
        bf_select_copy_out(rows->select, rows->op, &operand);
    return operand;
}

static struct bf_expr *leaf(struct rows *rows, const struct bf_value *value) {
    struct bf_param_view view;
    struct bf_operand operand;
    if (value->op && value->op->kind == BF_OP_CONSTANT)
        return number(rows, bf_op_float(value->op, "value"));
    if (rows->lanes == BF_LANES_ROWS && bf_value_param_view(value, &view) && is_vector(&view))
        return param_vector(rows, NULL, &view);
    if (!bf_select_operand(rows->select, value, &operand)) {
        rows->ok = false;
        return number(rows, 0);
    }
    operand = adapted(rows, value, operand);
    if (operand.rows == 1 && operand.buffer->rows > 1)
        rows->unpacked = true;
    struct bf_expr *arg = indexed(rows, BF_EXPR_ARG, add_input(rows, operand));
    return shifted(rows, arg, operand.buffer->exponent);
}

static struct bf_expr *elementwise(struct rows *rows, const struct bf_op *op);

static struct bf_expr *value_of(struct rows *rows, const struct bf_value *value) {
    return joins(rows->select->net, value) ? elementwise(rows, value->op) : leaf(rows, value);
}

static struct bf_expr *quotient(struct rows *rows, struct bf_expr *x, struct bf_expr *y) {
    if (y->kind == BF_EXPR_CONST && y->value != 0)
        return node(rows, BF_EXPR_MUL, x, number(rows, 1 / y->value));
    return node(rows, BF_EXPR_MUL, x, node(rows, BF_EXPR_RCP, y, NULL));
}

static struct bf_expr *elementwise(struct rows *rows, const struct bf_op *op) {
    struct bf_expr *x = value_of(rows, op->args[0]);
    struct bf_expr *y = op->arg_count > 1 ? value_of(rows, op->args[1]) : NULL;
    switch (op->kind) {
    case BF_OP_ADD:
        return node(rows, BF_EXPR_ADD, x, y);
    case BF_OP_SUB:
        return node(rows, BF_EXPR_SUB, x, y);
    case BF_OP_MUL:
        return node(rows, BF_EXPR_MUL, x, y);
    case BF_OP_DIV:
        return quotient(rows, x, y);
    case BF_OP_SCALE:
        return node(rows, BF_EXPR_MUL, x, number(rows, bf_op_float(op, "by")));
    case BF_OP_RELU:
        return node(rows, BF_EXPR_RELU, x, NULL);
    case BF_OP_SILU:
        return node(rows, BF_EXPR_SILU, x, NULL);
    case BF_OP_TANH:
        return node(rows, BF_EXPR_TANH, x, NULL);
    case BF_OP_SIGMOID:
        return node(rows, BF_EXPR_SIGMOID, x, NULL);
    case BF_OP_GELU:
        return node(
            rows, strcmp(bf_op_word(op, "approximate"), "tanh") ? BF_EXPR_GELU : BF_EXPR_GELU_TANH,
            x, NULL);
    default:
        unsupported(rows, bf_op_info(op->kind)->name);
        return x;
    }
}

/* ---- operators along rows ---- */

/* Length of the axis worked along. */
static int64_t length_of(const struct bf_type *type, int64_t axis) {
    return type->rank ? type->dims[axis] : 1;
}

static struct bf_expr *mask_of(struct rows *rows) {
    const struct bf_value *mask = bf_op_arg(rows->op, "mask");
    struct bf_operand operand;
    if (!mask || !bf_select_operand(rows->select, mask, &operand))
        return NULL;
    int index = add_input(rows, adapted(rows, mask, operand));
    if (rows->lanes == BF_LANES_COLS)
        rows->mask = index;
    return indexed(rows, BF_EXPR_ARG, index);
}

/* x where the mask is 1, the lowest fp16 elsewhere. */
static struct bf_expr *kept(struct rows *rows, struct bf_expr *x, struct bf_expr *mask) {
    if (!mask)
        return x;
    struct bf_expr *select =
        node(rows, BF_EXPR_SELECT, node(rows, BF_EXPR_SUB, mask, number(rows, 0.5)), x);
    select->c = number(rows, -65504);
    return select;
}

/* sum / n. The quotient by the rounded 1 / n is corrected once by its remainder, so that the mean
 * of equal elements is that element. */
static struct bf_expr *mean_of(struct rows *rows, struct bf_expr *sum, int64_t n) {
    struct bf_expr *inverse = number(rows, 1.0 / (double)n);
    struct bf_expr *mean = row(rows, BF_STEP_ROW, node(rows, BF_EXPR_MUL, sum, inverse));
    if (bf_is_power_of_two((uint64_t)n))
        return mean;
    struct bf_expr *rest =
        node(rows, BF_EXPR_SUB, sum, node(rows, BF_EXPR_MUL, mean, number(rows, (double)n)));
    return row(rows, BF_STEP_ROW,
               node(rows, BF_EXPR_ADD, mean, node(rows, BF_EXPR_MUL, rest, inverse)));
}

static void layernorm(struct rows *rows, int64_t n) {
    const struct bf_op *op = rows->op;
    struct bf_expr *x = value_of(rows, op->args[0]), *d = x;
    struct bf_param_view view;
    if (op->kind == BF_OP_LAYERNORM) {
        struct bf_expr *sum = row(rows, BF_STEP_SUM, x);
        d = node(rows, BF_EXPR_SUB, x, mean_of(rows, sum, n));
    }
    struct bf_expr *square = row(rows, BF_STEP_SUM, node(rows, BF_EXPR_MUL, d, d));
    struct bf_expr *variance =
        node(rows, BF_EXPR_ADD, node(rows, BF_EXPR_MUL, square, number(rows, 1.0 / (double)n)),
             number(rows, bf_op_float(op, "eps")));
    struct bf_expr *rstd = row(rows, BF_STEP_ROW, node(rows, BF_EXPR_RSQRT, variance, NULL));
    struct bf_expr *y = node(rows, BF_EXPR_MUL, d, rstd);
    if (bf_op_weight_view(op, "weight", &view))
        y = node(rows, BF_EXPR_MUL, y, param_vector(rows, "gamma", &view));
    if (op->kind == BF_OP_LAYERNORM && bf_op_weight_view(op, "bias", &view))
        y = node(rows, BF_EXPR_ADD, y, param_vector(rows, "beta", &view));
    add_step(rows, BF_STEP_MAP, y, 0);
}

static void softmax(struct rows *rows) {
    struct bf_expr *mask = mask_of(rows);
    struct bf_expr *x = kept(rows, value_of(rows, rows->op->args[0]), mask);
    struct bf_expr *max = row(rows, BF_STEP_MAX, x);
    struct bf_expr *log2_e = number(rows, 1.4426950408889634074);
    struct bf_expr *e = node(
        rows, BF_EXPR_EXP2, node(rows, BF_EXPR_MUL, node(rows, BF_EXPR_SUB, x, max), log2_e), NULL);
    if (mask)
        e = node(rows, BF_EXPR_MUL, e, mask);
    struct bf_expr *sum = row(rows, BF_STEP_SUM, e);
    struct bf_expr *rcp = row(rows, BF_STEP_ROW, node(rows, BF_EXPR_RCP, sum, NULL));
    add_step(rows, BF_STEP_MAP, node(rows, BF_EXPR_MUL, e, rcp), 0);
}

static void reduction(struct rows *rows, int64_t n) {
    struct bf_expr *mask = mask_of(rows);
    struct bf_expr *x = value_of(rows, rows->op->args[0]), *y;
    if (rows->op->kind == BF_OP_MAX) {
        y = row(rows, BF_STEP_MAX, kept(rows, x, mask));
    } else {
        y = row(rows, BF_STEP_SUM, mask ? node(rows, BF_EXPR_MUL, x, mask) : x);
        if (rows->op->kind == BF_OP_MEAN && !mask)
            y = node(rows, BF_EXPR_MUL, y, number(rows, 1.0 / (double)n));
        else if (rows->op->kind == BF_OP_MEAN)
            y = node(rows, BF_EXPR_MUL, y,
                     node(rows, BF_EXPR_RCP, row(rows, BF_STEP_SUM, mask), NULL));
    }
    add_step(rows, BF_STEP_ROWMAP, y, 0);
}

/* ---- kernels ---- */

static void finish(struct rows *rows, struct bf_build *build, struct bf_operand result) {
    struct bf_poly *poly = rows->select->poly;
    struct bf_step *last = &rows->steps[rows->step_count - 1];
    last->expr = shifted(rows, last->expr, -result.buffer->exponent);
    struct bf_poly_kernel *kernel = bf_poly_add_kernel(poly, BF_KERNEL_ROWS);
    kernel->lanes = rows->lanes;
    for (int i = 0; i < rows->input_count; i++)
        *bf_push(&kernel->inputs) = rows->inputs[i];
    *bf_push(&kernel->outputs) = result;
    for (int i = 0; i < rows->param_count; i++)
        *bf_push(&kernel->params) = rows->params[i];
    for (int i = 0; i < rows->step_count; i++)
        *bf_push(&kernel->steps) = rows->steps[i];
    if (rows->mask >= 0)
        bf_ints_set(&kernel->attrs, &poly->arena, "mask", rows->mask);
    bf_build_rows(build, kernel);
}

static int64_t samples_of(const struct bf_select *select, const struct bf_type *type) {
    int64_t samples = select->poly->header.batch;
    for (unsigned a = 0; a + 2 < type->rank; a++)
        samples *= type->dims[a];
    return samples;
}

/* Operands that are one row of larger samples become buffers of their own, row by row: lanes along
 * rows want equal samples. */
static void pack_inputs(struct rows *rows) {
    struct bf_select *select = rows->select;
    for (int i = 0; i < rows->input_count; i++) {
        struct bf_operand *from = &rows->inputs[i];
        if (from->rows != 1 || from->buffer->rows == 1)
            continue;
        struct bf_buffer *buffer = bf_poly_add_buffer(
            select->poly,
            bf_arena_printf(&select->poly->arena, "v%u.row%d", rows->op->result.index, i),
            BF_BUFFER_TEMP);
        buffer->samples = from->buffer->samples;
        buffer->cols = from->cols;
        buffer->dtype = from->buffer->dtype;
        buffer->exponent = from->buffer->exponent;
        buffer->loc = rows->op->loc;
        struct rows copy = {.select = select, .op = rows->op, .lanes = BF_LANES_COLS, .mask = -1};
        struct bf_build build = bf_select_build(select, rows->op);
        copy.inputs[copy.input_count++] = *from;
        struct bf_expr *x = indexed(&copy, BF_EXPR_ARG, 0);
        add_step(&copy, BF_STEP_MAP, shifted(&copy, x, buffer->exponent), 0);
        finish(&copy, &build, bf_operand_whole(buffer));
        *from = bf_operand_whole(buffer);
    }
}

static bool choose_lanes(struct rows *rows, const struct bf_type *type, int64_t axis) {
    if (axis == (int64_t)type->rank - 1 || type->rank == 0)
        rows->lanes = BF_LANES_ROWS;
    else if (axis == (int64_t)type->rank - 2)
        rows->lanes = BF_LANES_COLS;
    else
        return unsupported(rows, "a reduction along an axis before the last two");
    return true;
}

static void add_steps(struct rows *rows, const struct bf_type *type, int64_t axis) {
    switch (rows->op->kind) {
    case BF_OP_LAYERNORM:
    case BF_OP_RMSNORM:
        layernorm(rows, length_of(type, (int64_t)type->rank - 1));
        break;
    case BF_OP_SOFTMAX:
        softmax(rows);
        break;
    case BF_OP_MEAN:
    case BF_OP_SUM:
    case BF_OP_MAX:
        reduction(rows, length_of(type, axis));
        break;
    default:
        add_step(rows, BF_STEP_MAP, elementwise(rows, rows->op), 0);
    }
}

bool bf_select_rows(struct bf_select *select, const struct bf_op *op) {
    enum bf_op_class class = bf_op_info(op->kind)->class;
    if (joins(select->net, &op->result))
        return true;
    struct rows rows = {.select = select, .op = op, .mask = -1, .ok = true};
    bool known = class == BF_CLASS_ELEMENTWISE || class == BF_CLASS_REDUCTION ||
                 op->kind == BF_OP_SOFTMAX || op->kind == BF_OP_LAYERNORM ||
                 op->kind == BF_OP_RMSNORM;
    if (!known)
        return unsupported(&rows, bf_op_info(op->kind)->name);
    struct bf_build build = bf_select_build(select, op);
    const struct bf_type *type =
        class == BF_CLASS_REDUCTION ? &op->args[0]->type : &op->result.type;
    int64_t axis = (int64_t)type->rank - 1;
    if (class == BF_CLASS_REDUCTION || op->kind == BF_OP_SOFTMAX)
        axis = bf_op_int(op, "axis");
    rows.samples = samples_of(select, type);
    rows.type = type;
    if (!choose_lanes(&rows, type, axis))
        return false;
    add_steps(&rows, type, axis);
    if (rows.ok && rows.unpacked && class == BF_CLASS_ELEMENTWISE &&
        (type->rank < 2 || type->dims[type->rank - 2] == 1)) {
        rows = (struct rows){.select = select,
                             .op = op,
                             .lanes = BF_LANES_COLS,
                             .mask = -1,
                             .type = type,
                             .samples = rows.samples,
                             .ok = true};
        add_steps(&rows, type, axis);
    } else if (rows.ok && rows.unpacked && rows.lanes == BF_LANES_ROWS) {
        pack_inputs(&rows);
    }
    if (!rows.ok)
        return false;
    if (samples_of(select, &op->result.type) != rows.samples)
        return unsupported(&rows, "a reduction that leaves out an axis of more than two");
    finish(&rows, &build, bf_select_result(select, &op->result));
    return true;
}

bool bf_select_copy(struct bf_select *select, const struct bf_output *output) {
    const struct bf_value *value = output->value;
    struct bf_op stand_in = {.kind = BF_OP_SCALE, .label = "", .loc = output->loc};
    struct rows rows = {.select = select,
                        .op = value->op ? value->op : &stand_in,
                        .mask = -1,
                        .type = &value->type,
                        .samples = samples_of(select, &value->type),
                        .ok = true};
    struct bf_build build = {select->poly, "output", output->loc};
    struct bf_expr *x = leaf(&rows, value);
    if (rows.ok && rows.unpacked) {
        rows.lanes = BF_LANES_COLS;
        rows.input_count = 0;
        x = leaf(&rows, value);
    }
    if (!rows.ok)
        return false;
    unsigned rank = value->type.rank;
    struct bf_buffer *buffer = bf_poly_add_buffer(select->poly, output->name, BF_BUFFER_OUTPUT);
    buffer->samples = rows.samples;
    buffer->rows = rank > 1 ? value->type.dims[rank - 2] : 1;
    buffer->cols = rank > 0 ? value->type.dims[rank - 1] : 1;
    buffer->dtype = value->type.dtype;
    buffer->exponent = value->type.exponent;
    buffer->tensor = buffer->name;
    buffer->loc = output->loc;
    add_step(&rows, BF_STEP_MAP, x, 0);
    finish(&rows, &build, bf_operand_whole(buffer));
    return true;
}
