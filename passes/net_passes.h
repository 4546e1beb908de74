/* net_passes.h - passes from net to net. Each keeps the values of the outputs, verifies before and
 * after in debug builds, and reports through diags; false after an error. */
#ifndef BF_PASSES_NET_PASSES_H
#define BF_PASSES_NET_PASSES_H

#include "ir/net.h"

bool bf_pass_fold(struct bf_net *net, struct bf_diags *diags);
bool bf_pass_simplify(struct bf_net *net, struct bf_diags *diags);
/* Gives results of transforms the exponent with which they are stored. */
bool bf_pass_exponents(struct bf_net *net, struct bf_diags *diags);

#endif
