/* axes.c - operators along an axis before the last two get it among these.
 *
 * Requires  a network that the verifier accepts.
 * Keeps     the value of every output, inputs and parameters.
 * Breaks    types between: operators that work along an axis find it among the last two, and a
 *           reduction of more than two axes keeps its axis.
 *
 *     %1 = softmax %x axis=0   f16[3,12,24]   ->   %1 = reshape %x            f16[1,3,288]
 *                                                  %2 = softmax %1 axis=1     f16[1,3,288]
 *                                                  %3 = reshape %2            f16[3,12,24]
 *     %2 = fourier %x axes=[0,1]              ->   transpose, fourier axes=[1,2], transpose
 *     %3 = sum %x axis=1       f16[3,24]      ->   %3 = sum %x axis=1 keep    f16[3,1,24]
 *                                                  %4 = reshape %3            f16[3,24]
 */
#include "passes/passes.h"

#include <stdlib.h>

struct edit {
    struct bf_net *net;
    struct bf_diags *diags;
    const struct bf_op *op; /* whose label and place new operators have */
};

static struct bf_value *add(const struct edit *e, enum bf_op_kind kind, const char *attr,
                            struct bf_value *x, unsigned count, const int64_t *ints) {
    struct bf_attrs attrs = {0};
    bf_attrs_set_ints(&attrs, kind, attr, ints, count);
    return bf_net_add_op(e->net, kind, &x, 1, &attrs, e->op->label, e->op->loc, e->diags);
}

static struct bf_value *reshaped(const struct edit *e, struct bf_value *x, unsigned rank,
                                 const int64_t *dims) {
    return add(e, BF_OP_RESHAPE, "shape", x, rank, dims);
}

/* `op` itself again, with operand x: its type follows. */
static struct bf_value *again(const struct edit *e, struct bf_op *op, struct bf_value *x) {
    op->args[0] = x;
    *bf_push(&e->net->ops) = op;
    return x && bf_net_infer(e->net, op, e->diags) ? &op->result : NULL;
}

/* Axis `axis` between all before it and all behind it, axes before `first` kept. */
static struct bf_value *collected(const struct edit *e, struct bf_op *op, unsigned first,
                                  unsigned axis) {
    const struct bf_type *type = &op->args[0]->type;
    int64_t dims[4] = {1, 1, 1, 1};
    unsigned rank = 0;
    for (; rank < first; rank++)
        dims[rank] = type->dims[rank];
    for (unsigned a = first; a < type->rank; a++)
        dims[rank + (a < axis ? 0 : a == axis ? 1 : 2)] *= type->dims[a];
    return again(e, op, reshaped(e, op->args[0], rank + 3, dims));
}

/* Along one axis, attribute `name`: another position, and the old shape behind. */
static struct bf_value *along(const struct edit *e, struct bf_op *op, unsigned first, int64_t axis,
                              const char *name) {
    struct bf_type type = op->result.type;
    int64_t at = first + 1;
    if (!strcmp(name, "axes"))
        bf_attrs_set_ints(&op->attrs, op->kind, name, &at, 1);
    else
        bf_attrs_set_int(&op->attrs, op->kind, name, at);
    struct bf_value *y = collected(e, op, first, (unsigned)axis);
    return y ? reshaped(e, y, type.rank, type.dims) : NULL;
}

/* Two axes: they become the last ones and go back. */
static struct bf_value *turned(const struct edit *e, struct bf_op *op, int64_t a, int64_t b) {
    unsigned rank = op->result.type.rank, at = 0;
    int64_t there[BF_MAX_RANK], back[BF_MAX_RANK], last[] = {rank - 2, rank - 1};
    for (int64_t i = 0; i < rank; i++)
        if (i != a && i != b)
            there[at++] = i;
    there[at] = a;
    there[at + 1] = b;
    for (unsigned i = 0; i < rank; i++)
        back[there[i]] = i;
    bf_attrs_set_ints(&op->attrs, op->kind, "axes", last, 2);
    struct bf_value *x = add(e, BF_OP_TRANSPOSE, "axes", op->args[0], rank, there);
    struct bf_value *y = again(e, op, x);
    return y ? add(e, BF_OP_TRANSPOSE, "axes", y, rank, back) : NULL;
}

static struct bf_value *reduced(const struct edit *e, struct bf_op *op, int64_t axis) {
    struct bf_type type = op->result.type;
    unsigned rank = op->args[0]->type.rank;
    bool keep = bf_op_bool(op, "keep");
    bf_attrs_set_bool(&op->attrs, op->kind, "keep", true);
    if (axis + 2 < (int64_t)rank) {
        bf_attrs_set_int(&op->attrs, op->kind, "axis", 1);
        struct bf_value *y = collected(e, op, 0, (unsigned)axis);
        return y ? reshaped(e, y, type.rank, type.dims) : NULL;
    }
    struct bf_value *y = again(e, op, op->args[0]);
    return y && !keep ? reshaped(e, y, type.rank, type.dims) : y;
}

/* The value that readers of `op` read now; NULL after an error. */
static struct bf_value *moved(const struct edit *e, struct bf_op *op) {
    int64_t rank = op->arg_count && op->args[0] ? op->args[0]->type.rank : 0;
    switch (op->kind) {
    case BF_OP_SUM:
    case BF_OP_MEAN:
    case BF_OP_MAX:
        if (rank > 2)
            return reduced(e, op, bf_op_int(op, "axis"));
        break;
    case BF_OP_SOFTMAX:
        if (bf_op_int(op, "axis") + 2 < rank)
            return along(e, op, 0, bf_op_int(op, "axis"), "axis");
        break;
    case BF_OP_FFT:
        if (bf_op_int(op, "axis") + 2 < rank)
            return along(e, op, 1, bf_op_int(op, "axis"), "axis");
        break;
    case BF_OP_FOURIER: {
        const struct bf_attr *axes = bf_op_attr(op, "axes");
        if (axes->ints.v[0] + 2 < rank)
            return axes->ints.count == 1 ? along(e, op, 0, axes->ints.v[0], "axes")
                                         : turned(e, op, axes->ints.v[0], axes->ints.v[1]);
        break;
    }
    default:
        break;
    }
    *bf_push(&e->net->ops) = op;
    return &op->result;
}

bool bf_pass_axes(struct bf_net *net, struct bf_diags *diags) {
    struct bf_op **old = net->ops.data;
    size_t count = net->ops.count;
    struct bf_value **now = bf_alloc(count * sizeof *now);
    bool ok = true;
    memset(&net->ops, 0, sizeof net->ops);
    for (size_t i = 0; i < count && ok; i++) {
        struct edit e = {net, diags, old[i]};
        for (unsigned j = 0; j < old[i]->arg_count; j++)
            if (old[i]->args[j] && old[i]->args[j]->op)
                old[i]->args[j] = now[old[i]->args[j]->index];
        now[i] = moved(&e, old[i]);
        ok = now[i];
    }
    for (size_t i = 0; i < net->outputs.count && ok; i++)
        if (net->outputs.data[i].value->op)
            net->outputs.data[i].value = now[net->outputs.data[i].value->index];
    bf_net_renumber(net);
    free(now);
    free(old);
    return ok;
}
