/* gen_butterfly_op.c - see gen_butterfly.h. */
#include "backend/host/gen_butterfly.h"

static LLVMValueRef scaled(struct bf_ll *ll, LLVMValueRef weight, LLVMValueRef value,
                           LLVMValueRef bias) {
    return bias ? bf_ll_fma(ll, weight, value, bias) : bf_ll_fmul(ll, weight, value);
}

LLVMValueRef bf_butterfly_apply(struct bf_ll *ll, const struct bf_butterfly_weights *w,
                                LLVMValueRef own, LLVMValueRef partner) {
    switch (w->op) {
    case BF_BUTTERFLY_COPY_OWN:
        return own;
    case BF_BUTTERFLY_COPY_PARTNER:
        return partner;
    case BF_BUTTERFLY_SCALE_OWN:
        return scaled(ll, w->own, own, w->bias);
    case BF_BUTTERFLY_SCALE_PARTNER:
        return scaled(ll, w->other, partner, w->bias);
    case BF_BUTTERFLY_RATIO:
        return bf_ll_fma(ll, w->other, partner, own);
    case BF_BUTTERFLY_FULL:
        return bf_ll_fma(ll, w->other, partner, scaled(ll, w->own, own, w->bias));
    default:
        return NULL;
    }
}

LLVMValueRef bf_butterfly_swap(struct bf_ll *ll, LLVMValueRef value, unsigned digit) {
    int picks[64];
    unsigned lanes = bf_ll_lanes(value);
    for (unsigned l = 0; l < lanes; l++)
        picks[l] = (int)(l ^ 1u << digit);
    return bf_ll_shuffle(ll, value, NULL, picks, lanes);
}
