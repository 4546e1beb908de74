/* simplify.c - identities, chains, common subexpressions and dead operators go.
 *
 * Requires  a network that the verifier accepts; best after fold.
 * Keeps     the value of every output, inputs, the list of parameters, the types of what stays.
 * Breaks    labels: of two equal operators the first one's label stays.
 *
 *     %2 = add %1, 0                       (readers of %2 read %1)
 *     %3 = scale %2 by=2
 *     %4 = scale %3 by=3         ->        %4 = scale %1 by=6
 *     %5 = transpose %4 [1,0]
 *     %6 = transpose %5 [1,0]              (readers of %6 read %4)
 *     %7 = slice %6 [0,0] [8,4]
 *     %8 = slice %7 [2,0] [4,4]            %8 = slice %4 [2,0] [4,4]
 *     %9 = slice %4 [2,0] [4,4]            (readers of %9 read %8)
 *
 * A value is only replaced by one of exactly the same type, exponent included. Chains are merged
 * through values that are stored as they are (no exponent, not in the accumulator).
 */
#include "passes/passes.h"

#include <stdlib.h>

#include "passes/net_edit.h"

struct simplify {
    struct bf_op **slots; /* hash table of the operators that stay, for common subexpressions */
    size_t slot_count;
};

/* ---- identities and chains ---- */

static bool is_constant(const struct bf_value *value, double number) {
    return value->op && value->op->kind == BF_OP_CONSTANT &&
           bf_op_float(value->op, "value") == number;
}

/* The operator of `kind` that makes value, if its result is stored as it is. */
static struct bf_op *made_by(const struct bf_value *value, enum bf_op_kind kind) {
    bool plain = !value->type.acc && !value->type.exponent;
    return value->op && value->op->kind == kind && plain ? value->op : NULL;
}

static struct bf_value *same_type_or(struct bf_value *replacement, struct bf_op *op) {
    return bf_type_equal(&replacement->type, &op->result.type) ? replacement : &op->result;
}

static struct bf_value *simplify_scale(struct bf_op *op) {
    struct bf_op *inner = made_by(op->args[0], BF_OP_SCALE);
    if (inner) {
        double by = bf_op_float(op, "by") * bf_op_float(inner, "by");
        if (by - by == 0) {
            bf_attrs_set_float(&op->attrs, BF_OP_SCALE, "by", by);
            op->args[0] = inner->args[0];
        }
    }
    return bf_op_float(op, "by") == 1 ? same_type_or(op->args[0], op) : &op->result;
}

static struct bf_value *simplify_reshape(struct bf_op *op) {
    struct bf_op *inner = made_by(op->args[0], BF_OP_RESHAPE);
    if (inner)
        op->args[0] = inner->args[0];
    return same_type_or(op->args[0], op);
}

static struct bf_value *simplify_slice(struct bf_op *op) {
    struct bf_op *inner = made_by(op->args[0], BF_OP_SLICE);
    if (inner) {
        const struct bf_attr *first = bf_op_attr(inner, "begin");
        struct bf_attr begin = *bf_op_attr(op, "begin"), end = *bf_op_attr(op, "end");
        for (unsigned i = 0; i < first->ints.count; i++) {
            begin.ints.v[i] += first->ints.v[i];
            end.ints.v[i] += first->ints.v[i];
        }
        bf_attrs_set_ints(&op->attrs, BF_OP_SLICE, "begin", begin.ints.v, begin.ints.count);
        bf_attrs_set_ints(&op->attrs, BF_OP_SLICE, "end", end.ints.v, end.ints.count);
        op->args[0] = inner->args[0];
    }
    return same_type_or(op->args[0], op); /* a slice of the same shape takes all */
}

static struct bf_value *simplify_transpose(struct bf_op *op) {
    struct bf_op *inner = made_by(op->args[0], BF_OP_TRANSPOSE);
    struct bf_attr axes = *bf_op_attr(op, "axes");
    bool identity = true;
    for (unsigned i = 0; i < axes.ints.count; i++) {
        if (inner)
            axes.ints.v[i] = bf_op_attr(inner, "axes")->ints.v[axes.ints.v[i]];
        identity = identity && axes.ints.v[i] == (int64_t)i;
    }
    if (inner) {
        bf_attrs_set_ints(&op->attrs, BF_OP_TRANSPOSE, "axes", axes.ints.v, axes.ints.count);
        op->args[0] = inner->args[0];
    }
    return identity ? same_type_or(op->args[0], op) : &op->result;
}

static struct bf_value *simplify_one(struct bf_op *op) {
    switch (op->kind) {
    case BF_OP_ADD:
        if (is_constant(op->args[0], 0))
            return same_type_or(op->args[1], op);
        /* fall through */
    case BF_OP_SUB:
        return is_constant(op->args[1], 0) ? same_type_or(op->args[0], op) : &op->result;
    case BF_OP_MUL:
        if (is_constant(op->args[0], 1))
            return same_type_or(op->args[1], op);
        /* fall through */
    case BF_OP_DIV:
        return is_constant(op->args[1], 1) ? same_type_or(op->args[0], op) : &op->result;
    case BF_OP_SCALE:
        return simplify_scale(op);
    case BF_OP_RESHAPE:
        return simplify_reshape(op);
    case BF_OP_SLICE:
        return simplify_slice(op);
    case BF_OP_TRANSPOSE:
        return simplify_transpose(op);
    case BF_OP_CONCAT:
        return op->arg_count == 1 ? same_type_or(op->args[0], op) : &op->result;
    case BF_OP_RELU:
        return made_by(op->args[0], BF_OP_RELU) ? same_type_or(op->args[0], op) : &op->result;
    default:
        return &op->result;
    }
}

/* ---- common subexpressions ---- */

static bool same_attrs(const struct bf_op *a, const struct bf_op *b) {
    for (unsigned i = 0; i < bf_op_info(a->kind)->attr_count; i++) {
        const struct bf_attr *x = &a->attrs.v[i], *y = &b->attrs.v[i];
        bool same = x->type == BF_ATTR_UNSET || y->type == BF_ATTR_UNSET ? x->type == y->type
                    : x->type == BF_ATTR_INT                             ? x->i == y->i
                    : x->type == BF_ATTR_FLOAT ? !memcmp(&x->f, &y->f, sizeof x->f)
                    : x->type == BF_ATTR_BOOL  ? x->b == y->b
                    : x->type == BF_ATTR_INTS
                        ? x->ints.count == y->ints.count &&
                              !memcmp(x->ints.v, y->ints.v, x->ints.count * sizeof *x->ints.v)
                        : !strcmp(x->s, y->s);
        if (x->type != y->type || !same)
            return false;
    }
    return true;
}

static bool same_op(const struct bf_op *a, const struct bf_op *b) {
    return a->kind == b->kind && a->arg_count == b->arg_count &&
           !memcmp(a->args, b->args, a->arg_count * sizeof *a->args) &&
           !memcmp(a->params, b->params, sizeof a->params) && same_attrs(a, b) &&
           bf_type_equal(&a->result.type, &b->result.type);
}

/* Over kind, operands and parameters by their numbers: no address decides anything. */
static uint64_t hash_op(const struct bf_op *op) {
    uint64_t hash = bf_hash(BF_HASH_START, &op->kind, sizeof op->kind);
    for (unsigned i = 0; i < op->arg_count; i++) {
        unsigned key[2] = {0, 0};
        if (op->args[i]) {
            key[0] = op->args[i]->op ? 2 : 1;
            key[1] = op->args[i]->index;
        }
        hash = bf_hash(hash, key, sizeof key);
    }
    for (unsigned i = 0; i < BF_MAX_PARAMS; i++)
        if (op->params[i])
            hash = bf_hash(hash, &op->params[i]->index, sizeof op->params[i]->index);
    return hash;
}

/* An equal operator met before, or `op` itself, which is then remembered. */
static struct bf_op *first_equal(struct simplify *s, struct bf_op *op) {
    size_t at = hash_op(op) & (s->slot_count - 1);
    while (s->slots[at] && !same_op(s->slots[at], op))
        at = (at + 1) & (s->slot_count - 1);
    if (!s->slots[at])
        s->slots[at] = op;
    return s->slots[at];
}

static struct bf_value *simplify(struct bf_net *net, struct bf_op *op, void *user) {
    (void)net;
    struct bf_value *value = simplify_one(op);
    return value == &op->result ? &first_equal(user, op)->result : value;
}

bool bf_pass_simplify(struct bf_net *net, struct bf_diags *diags) {
    (void)diags;
    struct simplify s = {.slot_count = 16};
    while (s.slot_count < 2 * net->ops.count)
        s.slot_count *= 2;
    s.slots = bf_alloc(s.slot_count * sizeof *s.slots);
    bf_net_rewrite(net, simplify, &s);
    free(s.slots);
    bf_net_sweep(net);
    return true;
}
