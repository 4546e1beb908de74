/* exponents.c - chooses the exponents with which results of transforms are stored.
 *
 * Requires  a network that the verifier accepts, without exponents or with those of this pass.
 * Keeps     the value of every output; types but for their exponents.
 * Breaks    nothing.
 *
 *     %1 = fourier %x    f16[128,768]           %1 = fourier %x    f16[128,768]*2^7
 *     %2 = add %x, %1    f16[128,768]     ->    %2 = add %x, %1    f16[128,768]
 *
 * A transform of length n shifts right by one after every second radix-2 stage, so that its results
 * grow no faster than those of independent rows (by sqrt(n)); what is stored is the result over
 * 2^floor(log2(n)/2) an axis. Consumers undo the exponent in the accumulator. A value that must be
 * stored unshifted is: a network output, what attention reads, a part of a concatenation, and
 * whatever is only moved on the way to one of these. Elsewhere an `exponent` attribute, from the
 * source or from calibration, decides.
 */
#include "passes/passes.h"

#include <stdlib.h>

int bf_transform_exponent(const struct bf_op *op) {
    const struct bf_type *type = &op->result.type;
    const struct bf_attr *given = bf_op_attr(op, "exponent");
    int exponent = 0;
    if (given->type == BF_ATTR_INT)
        return (int)given->i;
    if (op->kind == BF_OP_FFT)
        return bf_fourier_exponent(type->dims[bf_op_int(op, "axis")]);
    const struct bf_attr *axes = bf_op_attr(op, "axes");
    for (unsigned i = 0; i < axes->ints.count; i++)
        exponent += bf_fourier_exponent(type->dims[axes->ints.v[i]]);
    return exponent;
}

/* Whether `op` needs its operands as they are, given whether its result is needed so. */
static bool needs_plain(const struct bf_op *op, bool result_plain) {
    if (bf_op_info(op->kind)->class == BF_CLASS_ATTENTION || op->kind == BF_OP_CONCAT)
        return true;
    return bf_op_info(op->kind)->class == BF_CLASS_LAYOUT && result_plain;
}

bool bf_takes_exponent(const struct bf_op *op) {
    return (op->kind == BF_OP_FOURIER || op->kind == BF_OP_FFT) && !op->result.type.acc;
}

bool *bf_plain_values(const struct bf_net *net) {
    bool *plain = bf_alloc(net->ops.count * sizeof *plain);
    for (size_t i = 0; i < net->outputs.count; i++)
        if (net->outputs.data[i].value->op)
            plain[net->outputs.data[i].value->index] = true;
    for (size_t i = net->ops.count; i-- > 0;) {
        struct bf_op *op = net->ops.data[i];
        for (unsigned j = 0; needs_plain(op, plain[i]) && j < op->arg_count; j++)
            if (op->args[j] && op->args[j]->op)
                plain[op->args[j]->index] = true;
    }
    return plain;
}

static void warn_unused(const struct bf_op *op, struct bf_diags *diags) {
    const struct bf_attr *given = bf_op_attr(op, "exponent");
    struct bf_loc loc = given->loc.line ? given->loc : op->loc;
    if (given->type == BF_ATTR_INT && given->i)
        bf_diag(diags, BF_WARNING, loc, given->length, given->caret,
                "exponent = %d is not used: the result is stored as it is, because it is an output "
                "or read by attention or a concatenation",
                (int)given->i);
}

/* The largest exponent that a result can need: no operand is above 2^16 times its own. */
static int most_exponent(const struct bf_op *op) {
    const struct bf_type *type = &op->result.type;
    int64_t points = 1;
    if (op->kind == BF_OP_FFT)
        points = type->dims[bf_op_int(op, "axis")];
    for (unsigned i = 0; op->kind == BF_OP_FOURIER && i < bf_op_attr(op, "axes")->ints.count; i++)
        points *= type->dims[bf_op_attr(op, "axes")->ints.v[i]];
    return op->args[0]->type.exponent + (int)bf_log2_floor((uint64_t)points) + 2;
}

static bool check_given(const struct bf_op *op, struct bf_diags *diags) {
    const struct bf_attr *given = bf_op_attr(op, "exponent");
    int most = most_exponent(op);
    if (given->type != BF_ATTR_INT || given->i <= most)
        return true;
    bf_diag(diags, BF_ERROR, given->loc.line ? given->loc : op->loc, given->length, given->caret,
            "%s: exponent = %d, but its results never need more than %d",
            bf_op_info(op->kind)->name, (int)given->i, most);
    return false;
}

bool bf_pass_exponents(struct bf_net *net, struct bf_diags *diags) {
    bool *plain = bf_plain_values(net), ok = true;
    for (size_t i = 0; i < net->ops.count; i++) {
        struct bf_op *op = net->ops.data[i];
        if (bf_op_info(op->kind)->class == BF_CLASS_LAYOUT) {
            op->result.type.exponent = op->args[0]->type.exponent;
            continue;
        }
        if (!bf_takes_exponent(op))
            continue;
        if (plain[i])
            warn_unused(op, diags);
        else
            ok &= check_given(op, diags);
        op->result.type.exponent = plain[i] ? 0 : bf_transform_exponent(op);
    }
    free(plain);
    return ok;
}
