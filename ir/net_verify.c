/* net_verify.c - whether a network is well formed. See net.h.
 *
 * Run after parsing a text, and after every pass in debug builds and tests. An error here that does
 * not come from a text is a mistake of bfcc.
 */
#include "ir/net.h"

#include <stdlib.h>

struct verify {
    struct bf_net *net;
    struct bf_diags *diags;
};

bool bf_net_type_allowed(const struct bf_op *op, const struct bf_type *inferred,
                         const struct bf_type *type) {
    enum bf_op_class class = bf_op_info(op->kind)->class;
    bool computes = class != BF_CLASS_LAYOUT && class != BF_CLASS_SOURCE;
    if (!bf_type_same_shape(inferred, type))
        return false;
    if (type->acc)
        return computes && inferred->dtype == BF_F16 && type->dtype == BF_F32 && !type->exponent;
    if (type->dtype != inferred->dtype)
        return false;
    return type->exponent == inferred->exponent || (computes && type->dtype == BF_F16);
}

static bool fail(struct verify *v, const struct bf_op *op, const char *what) {
    return bf_diag_error(v->diags, op->loc, "net: %%%u (%s): %s", op->result.index + 1,
                         bf_op_info(op->kind)->name, what);
}

/* Whether a value is an input, or the result of an operator before `limit`. */
static bool is_defined(const struct bf_net *net, const struct bf_value *value, size_t limit) {
    if (!value->op)
        return value->index < net->inputs.count && net->inputs.data[value->index] == value;
    return value->index < limit && net->ops.data[value->index] == value->op &&
           &value->op->result == value;
}

static bool check_operands(struct verify *v, const struct bf_op *op) {
    for (unsigned i = 0; i < op->arg_count; i++)
        if (op->args[i] && !is_defined(v->net, op->args[i], op->result.index))
            return fail(v, op, "reads a value that is not defined before it");
    return true;
}

static bool same_attr(const struct bf_attr *a, const struct bf_attr *b) {
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case BF_ATTR_UNSET:
        return true;
    case BF_ATTR_INT:
        return a->i == b->i;
    case BF_ATTR_FLOAT:
        return a->f == b->f;
    case BF_ATTR_BOOL:
        return a->b == b->b;
    case BF_ATTR_INTS:
        return a->ints.count == b->ints.count &&
               !memcmp(a->ints.v, b->ints.v, a->ints.count * sizeof *a->ints.v);
    default:
        return !strcmp(a->s, b->s);
    }
}

static bool check_type(struct verify *v, const struct bf_op *op) {
    const struct bf_op_info *info = bf_op_info(op->kind);
    struct bf_op again = *op;
    if (!bf_net_infer(v->net, &again, v->diags))
        return false;
    for (unsigned i = 0; i < info->attr_count; i++)
        if (!same_attr(&again.attrs.v[i], &op->attrs.v[i]))
            return fail(v, op, "its attributes are not in normal form");
    if (!bf_net_type_allowed(op, &again.result.type, &op->result.type))
        return fail(v, op, "its type is not what its operands give");
    return true;
}

static bool check_params(struct verify *v, const struct bf_op *op) {
    for (unsigned slot = 0; slot < BF_MAX_PARAMS; slot++) {
        struct bf_type type;
        const struct bf_param *param = op->params[slot];
        if (bf_net_param_type(op, slot, &type) != (param != NULL))
            return fail(v, op, "has a parameter too many or too few");
        if (!param)
            continue;
        if (param->index >= v->net->params.count || v->net->params.data[param->index] != param)
            return fail(v, op, "has a parameter that the network does not list");
        if (!bf_type_equal(&param->type, &type))
            return fail(v, op, "has a parameter of another shape");
    }
    return true;
}

static bool check_op(struct verify *v, const struct bf_op *op, size_t index) {
    if (op->result.index != index || op->result.op != op)
        return fail(v, op, "is not where its result says");
    if (!check_operands(v, op) || !check_type(v, op) || !check_params(v, op))
        return false;
    bool is_static = op->kind != BF_OP_EMBEDDING;
    for (unsigned i = 0; i < op->arg_count; i++) {
        if (!op->args[i])
            continue;
        is_static = is_static && op->args[i]->is_static;
        if (op->args[i]->type.acc && bf_op_info(op->kind)->class == BF_CLASS_LAYOUT)
            return fail(v, op, "moves a value that is never stored");
    }
    if (is_static != op->result.is_static)
        return fail(v, op, "is wrong about being static");
    return true;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const struct bf_param *const *)a)->name,
                  (*(const struct bf_param *const *)b)->name);
}

static bool check_param_names(struct verify *v) {
    size_t count = v->net->params.count;
    const struct bf_param **sorted = bf_alloc(count * sizeof *sorted);
    bool ok = true;
    for (size_t i = 0; i < count; i++)
        sorted[i] = v->net->params.data[i];
    qsort(sorted, count, sizeof *sorted, by_name);
    for (size_t i = 1; ok && i < count; i++)
        if (!strcmp(sorted[i - 1]->name, sorted[i]->name))
            ok = bf_diag_error(v->diags, sorted[i]->loc, "net: the parameter '%s' is listed twice",
                               sorted[i]->name);
    free(sorted);
    return ok;
}

static bool check_outputs(struct verify *v) {
    struct bf_net *net = v->net;
    for (size_t i = 0; i < net->outputs.count; i++) {
        const struct bf_output *output = &net->outputs.data[i];
        if (!is_defined(net, output->value, net->ops.count))
            return bf_diag_error(v->diags, output->loc, "net: output '%s' is not defined",
                                 output->name);
        if (output->value->type.acc)
            return bf_diag_error(v->diags, output->loc, "net: output '%s' is never stored",
                                 output->name);
        for (size_t j = 0; j < i; j++)
            if (!strcmp(output->name, net->outputs.data[j].name))
                return bf_diag_error(v->diags, output->loc, "net: output '%s' is defined twice",
                                     output->name);
    }
    return true;
}

bool bf_net_verify(struct bf_net *net, struct bf_diags *diags) {
    struct verify v = {net, diags};
    for (size_t i = 0; i < net->inputs.count; i++) {
        const struct bf_value *input = net->inputs.data[i];
        if (input->index != i || input->op || input->is_static || input->type.acc)
            return bf_diag_error(diags, input->loc, "net: input '%s' is malformed", input->name);
        for (size_t j = 0; j < i; j++)
            if (!strcmp(input->name, net->inputs.data[j]->name))
                return bf_diag_error(diags, input->loc, "net: input '%s' is listed twice",
                                     input->name);
    }
    if (!check_param_names(&v))
        return false;
    for (size_t i = 0; i < net->ops.count; i++)
        if (!check_op(&v, net->ops.data[i], i))
            return false;
    return check_outputs(&v);
}
