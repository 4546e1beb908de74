/* fold.c - constants are computed, and arithmetic with them takes one form.
 *
 * Requires  a network that the verifier accepts.
 * Keeps     the value of every output (a product of constants is taken in double), types, order.
 * Breaks    nothing; operators that nobody reads any more are left for simplify.
 *
 *     %1 = constant 3                      %1 = constant 3
 *     %2 = constant 4                      %2 = constant 4
 *     %3 = mul %1, %2          ->          %3 = constant 12
 *     %4 = mul %x, %3                      %4 = scale %x by=12
 *     %5 = div %4, %2                      %5 = scale %4 by=0.25
 *
 * Only arithmetic that is exactly defined is done here (no functions of libm). Layout operators and
 * reductions of a constant are constants.
 */
#include "passes/passes.h"

#include "passes/net_edit.h"

static bool is_constant(const struct bf_value *value) {
    return value->op && value->op->kind == BF_OP_CONSTANT;
}

static double constant_of(const struct bf_value *value) {
    return bf_op_float(value->op, "value");
}

static bool is_finite(double x) {
    return x - x == 0;
}

static struct bf_value *make_constant(struct bf_op *op, double value) {
    const struct bf_type *type = &op->result.type;
    if (!is_finite(value))
        return &op->result;
    bf_op_become(op, BF_OP_CONSTANT, 0);
    bf_attrs_set_float(&op->attrs, BF_OP_CONSTANT, "value", value);
    bf_attrs_set_ints(&op->attrs, BF_OP_CONSTANT, "shape", type->dims, type->rank);
    return &op->result;
}

static struct bf_value *make_scale(struct bf_op *op, struct bf_value *x, double by) {
    if (!is_finite(by) || !bf_type_same_shape(&x->type, &op->result.type))
        return &op->result;
    bf_op_become(op, BF_OP_SCALE, 1);
    op->args[0] = x;
    bf_attrs_set_float(&op->attrs, BF_OP_SCALE, "by", by);
    return &op->result;
}

static struct bf_value *fold_binary(struct bf_op *op) {
    struct bf_value *x = op->args[0], *y = op->args[1];
    bool cx = is_constant(x), cy = is_constant(y);
    if (cx && cy) {
        double a = constant_of(x), b = constant_of(y);
        return make_constant(op, op->kind == BF_OP_ADD   ? a + b
                                 : op->kind == BF_OP_SUB ? a - b
                                 : op->kind == BF_OP_MUL ? a * b
                                                         : a / b);
    }
    if (op->kind == BF_OP_MUL && cy)
        return make_scale(op, x, constant_of(y));
    if (op->kind == BF_OP_MUL && cx)
        return make_scale(op, y, constant_of(x));
    if (op->kind == BF_OP_DIV && cy)
        return make_scale(op, x, 1 / constant_of(y));
    return &op->result;
}

static struct bf_value *fold_concat(struct bf_op *op) {
    for (unsigned i = 0; i < op->arg_count; i++)
        if (!is_constant(op->args[i]) || constant_of(op->args[i]) != constant_of(op->args[0]))
            return &op->result;
    return make_constant(op, constant_of(op->args[0]));
}

static struct bf_value *fold_reduction(struct bf_op *op) {
    struct bf_value *x = op->args[0];
    if (op->args[1] || !is_constant(x))
        return &op->result;
    double value = constant_of(x);
    if (op->kind == BF_OP_SUM)
        value *= (double)x->type.dims[bf_op_int(op, "axis")];
    return make_constant(op, value);
}

static struct bf_value *fold(struct bf_net *net, struct bf_op *op, void *user) {
    (void)net, (void)user;
    /* A type with an exponent or in the accumulator is one that a constant can't have. */
    if (op->result.type.acc || op->result.type.exponent)
        return &op->result;
    switch (op->kind) {
    case BF_OP_ADD:
    case BF_OP_SUB:
    case BF_OP_MUL:
    case BF_OP_DIV:
        return fold_binary(op);
    case BF_OP_SCALE:
        return is_constant(op->args[0])
                   ? make_constant(op, constant_of(op->args[0]) * bf_op_float(op, "by"))
                   : &op->result;
    case BF_OP_RELU:
        if (!is_constant(op->args[0]))
            return &op->result;
        return make_constant(op, constant_of(op->args[0]) > 0 ? constant_of(op->args[0]) : 0);
    case BF_OP_SLICE:
    case BF_OP_RESHAPE:
    case BF_OP_TRANSPOSE:
        return is_constant(op->args[0]) ? make_constant(op, constant_of(op->args[0])) : &op->result;
    case BF_OP_CONCAT:
        return fold_concat(op);
    case BF_OP_MEAN:
    case BF_OP_SUM:
    case BF_OP_MAX:
        return fold_reduction(op);
    default:
        return &op->result;
    }
}

bool bf_pass_fold(struct bf_net *net, struct bf_diags *diags) {
    (void)diags;
    bf_net_rewrite(net, fold, NULL);
    return true;
}
