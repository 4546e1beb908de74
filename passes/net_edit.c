/* net_edit.c - see net_edit.h. */
#include "passes/net_edit.h"

#include <stdlib.h>

void bf_net_rewrite(struct bf_net *net, bf_net_rule *rule, void *user) {
    struct bf_value **now = bf_alloc(net->ops.count * sizeof *now);
    for (size_t i = 0; i < net->ops.count; i++) {
        struct bf_op *op = net->ops.data[i];
        for (unsigned j = 0; j < op->arg_count; j++)
            if (op->args[j] && op->args[j]->op)
                op->args[j] = now[op->args[j]->index];
        now[i] = rule(net, op, user);
    }
    for (size_t i = 0; i < net->outputs.count; i++)
        if (net->outputs.data[i].value->op)
            net->outputs.data[i].value = now[net->outputs.data[i].value->index];
    free(now);
}

void bf_net_sweep(struct bf_net *net) {
    bool *used = bf_alloc(net->ops.count * sizeof *used);
    for (size_t i = 0; i < net->outputs.count; i++)
        if (net->outputs.data[i].value->op)
            used[net->outputs.data[i].value->index] = true;
    for (size_t i = net->ops.count; i-- > 0;) {
        struct bf_op *op = net->ops.data[i];
        for (unsigned j = 0; used[i] && j < op->arg_count; j++)
            if (op->args[j] && op->args[j]->op)
                used[op->args[j]->index] = true;
    }
    size_t count = 0;
    for (size_t i = 0; i < net->ops.count; i++)
        if (used[i])
            net->ops.data[count++] = net->ops.data[i];
    net->ops.count = count;
    bf_net_renumber(net);
    free(used);
}

void bf_op_become(struct bf_op *op, enum bf_op_kind kind, unsigned arg_count) {
    op->kind = kind;
    op->arg_count = arg_count;
    op->attrs = (struct bf_attrs){.length = op->attrs.length};
    memset(op->params, 0, sizeof op->params);
}
