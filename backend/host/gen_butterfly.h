/* gen_butterfly.h - one vector of a butterfly stage, for the generators of butterflies. */
#ifndef BF_HOST_GEN_BUTTERFLY_H
#define BF_HOST_GEN_BUTTERFLY_H

#include "backend/host/butterfly.h"
#include "backend/host/ll.h"

/* An op and what it needs; `bias`, which is added, may be NULL. */
struct bf_butterfly_weights {
    enum bf_butterfly_op op;
    LLVMValueRef own, other, bias;
};
/* NULL for BF_BUTTERFLY_NONE. */
LLVMValueRef bf_butterfly_apply(struct bf_ll *ll, const struct bf_butterfly_weights *weights,
                                LLVMValueRef own, LLVMValueRef partner);
/* Lane l gets lane l ^ 2^digit. */
LLVMValueRef bf_butterfly_swap(struct bf_ll *ll, LLVMValueRef value, unsigned digit);

#endif
