/* net_edit.h - what passes from net to net share: one walk with replacement, and a sweep. */
#ifndef BF_PASSES_NET_EDIT_H
#define BF_PASSES_NET_EDIT_H

#include "ir/net.h"

/* Called for each operator in SSA order, its operands already replaced. The rule returns the value
 * that all readers shall read from now on: op->result (perhaps after changing `op` in place, type
 * and position kept), or an earlier value of exactly the same type. */
typedef struct bf_value *bf_net_rule(struct bf_net *net, struct bf_op *op, void *user);

void bf_net_rewrite(struct bf_net *net, bf_net_rule *rule, void *user);

/* Removes operators that no output depends on. Inputs and parameters stay. */
void bf_net_sweep(struct bf_net *net);

/* `op` becomes another operator with the same result: attributes are set by the caller. */
void bf_op_become(struct bf_op *op, enum bf_op_kind kind, unsigned arg_count);

#endif
