/* ll.c - integers, pointers, control flow. See ll.h; floats are in ll_float.c. */
#include "backend/host/ll.h"

#include <string.h>

static unsigned intrinsic(const char *name) {
    return LLVMLookupIntrinsicID(name, strlen(name));
}

static LLVMMetadataRef string_node(struct bf_ll *ll, const char *text) {
    LLVMMetadataRef string = LLVMMDStringInContext2(ll->context, text, strlen(text));
    return LLVMMDNodeInContext2(ll->context, &string, 1);
}

/* A loop's metadata is a node that begins with itself; a shared one serves every loop. */
static LLVMValueRef make_loop_metadata(struct bf_ll *ll) {
    LLVMMetadataRef self = LLVMTemporaryMDNode(ll->context, NULL, 0);
    LLVMMetadataRef items[] = {self, string_node(ll, "llvm.loop.unroll.disable"),
                               string_node(ll, "llvm.loop.mustprogress")};
    LLVMMetadataRef node = LLVMMDNodeInContext2(ll->context, items, 3);
    LLVMMetadataReplaceAllUsesWith(self, node);
    return LLVMMetadataAsValue(ll->context, node);
}

void bf_ll_init(struct bf_ll *ll, LLVMContextRef context, LLVMModuleRef module,
                LLVMBuilderRef builder) {
    *ll = (struct bf_ll){
        .context = context,
        .module = module,
        .builder = builder,
        .i1 = LLVMInt1TypeInContext(context),
        .i8 = LLVMInt8TypeInContext(context),
        .i32 = LLVMInt32TypeInContext(context),
        .i64 = LLVMInt64TypeInContext(context),
        .f32 = LLVMFloatTypeInContext(context),
        .ptr = LLVMPointerTypeInContext(context, 0),
        .nothing = LLVMVoidTypeInContext(context),
        .fma_id = intrinsic("llvm.fma"),
        .fabs_id = intrinsic("llvm.fabs"),
        .sqrt_id = intrinsic("llvm.sqrt"),
        .floor_id = intrinsic("llvm.floor"),
    };
    ll->loop_metadata = make_loop_metadata(ll);
}

/* ---- integers and pointers ---- */

LLVMValueRef bf_ll_int(struct bf_ll *ll, int64_t value) {
    return LLVMConstInt(ll->i64, (unsigned long long)value, true);
}
LLVMValueRef bf_ll_add(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildNSWAdd(ll->builder, a, b, "");
}
LLVMValueRef bf_ll_sub(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildNSWSub(ll->builder, a, b, "");
}
LLVMValueRef bf_ll_mul(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildNSWMul(ll->builder, a, b, "");
}
LLVMValueRef bf_ll_add_int(struct bf_ll *ll, LLVMValueRef a, int64_t b) {
    return b ? bf_ll_add(ll, a, bf_ll_int(ll, b)) : a;
}
LLVMValueRef bf_ll_mul_int(struct bf_ll *ll, LLVMValueRef a, int64_t b) {
    return b == 1 ? a : bf_ll_mul(ll, a, bf_ll_int(ll, b));
}
LLVMValueRef bf_ll_div_int(struct bf_ll *ll, LLVMValueRef a, int64_t b) {
    return b == 1 ? a : LLVMBuildUDiv(ll->builder, a, bf_ll_int(ll, b), "");
}
LLVMValueRef bf_ll_rem_int(struct bf_ll *ll, LLVMValueRef a, int64_t b) {
    return b == 1 ? bf_ll_int(ll, 0) : LLVMBuildURem(ll->builder, a, bf_ll_int(ll, b), "");
}
LLVMValueRef bf_ll_dot(struct bf_ll *ll, LLVMValueRef a, int64_t a_factor, LLVMValueRef b,
                       int64_t b_factor) {
    a = bf_ll_mul_int(ll, a, a_factor);
    return bf_ll_add(ll, a, bf_ll_mul_int(ll, b, b_factor));
}
LLVMValueRef bf_ll_less(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildICmp(ll->builder, LLVMIntSLT, a, b, "");
}
LLVMValueRef bf_ll_min(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildSelect(ll->builder, bf_ll_less(ll, a, b), a, b, "");
}
LLVMValueRef bf_ll_max(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildSelect(ll->builder, bf_ll_less(ll, a, b), b, a, "");
}

/* Not inbounds: the tile of a chain may stand for rows that begin before it. */
LLVMValueRef bf_ll_at(struct bf_ll *ll, LLVMValueRef pointer, LLVMValueRef index) {
    return LLVMBuildGEP2(ll->builder, ll->f32, pointer, &index, 1, "");
}
LLVMValueRef bf_ll_at_int(struct bf_ll *ll, LLVMValueRef pointer, int64_t index) {
    return index ? bf_ll_at(ll, pointer, bf_ll_int(ll, index)) : pointer;
}
LLVMValueRef bf_ll_at_row(struct bf_ll *ll, LLVMValueRef pointer, LLVMValueRef row, int64_t pitch) {
    return bf_ll_at(ll, pointer, bf_ll_mul_int(ll, row, pitch));
}
LLVMValueRef bf_ll_at_byte(struct bf_ll *ll, LLVMValueRef pointer, LLVMValueRef offset) {
    return LLVMBuildGEP2(ll->builder, ll->i8, pointer, &offset, 1, "");
}

/* ---- the stack ---- */

LLVMValueRef bf_ll_local(struct bf_ll *ll, LLVMTypeRef type, const char *name) {
    LLVMBasicBlockRef here = LLVMGetInsertBlock(ll->builder);
    LLVMBasicBlockRef entry = LLVMGetEntryBasicBlock(LLVMGetBasicBlockParent(here));
    LLVMValueRef first = LLVMGetFirstInstruction(entry);
    if (first)
        LLVMPositionBuilderBefore(ll->builder, first);
    else
        LLVMPositionBuilderAtEnd(ll->builder, entry);
    LLVMValueRef local = LLVMBuildAlloca(ll->builder, type, name);
    LLVMSetAlignment(local, BF_HOST_ALIGN);
    LLVMPositionBuilderAtEnd(ll->builder, here);
    return local;
}

/* ---- control flow ---- */

static LLVMBasicBlockRef new_block(struct bf_ll *ll, const char *name) {
    LLVMValueRef function = LLVMGetBasicBlockParent(LLVMGetInsertBlock(ll->builder));
    return LLVMAppendBasicBlockInContext(ll->context, function, name);
}

/*   before: begin < end ? body : done        body: ..., index + step < end ? body : done   */
void bf_ll_loop_begin(struct bf_ll *ll, struct bf_ll_loop *loop, LLVMValueRef begin,
                      LLVMValueRef end, int64_t step) {
    loop->before = LLVMGetInsertBlock(ll->builder);
    loop->body = new_block(ll, "body");
    loop->done = new_block(ll, "done");
    loop->end = end;
    loop->step = step;
    loop->carried_count = 0;
    LLVMBuildCondBr(ll->builder, bf_ll_less(ll, begin, end), loop->body, loop->done);
    LLVMPositionBuilderAtEnd(ll->builder, loop->body);
    loop->index = LLVMBuildPhi(ll->builder, ll->i64, "i");
    LLVMAddIncoming(loop->index, &begin, &loop->before, 1);
}

unsigned bf_ll_carry(struct bf_ll *ll, struct bf_ll_loop *loop, LLVMValueRef start) {
    unsigned number = loop->carried_count++;
    LLVMValueRef phi = LLVMBuildPhi(ll->builder, LLVMTypeOf(start), "");
    LLVMAddIncoming(phi, &start, &loop->before, 1);
    loop->start[number] = start;
    loop->carried[number] = loop->next[number] = phi;
    return number;
}

void bf_ll_loop_end(struct bf_ll *ll, struct bf_ll_loop *loop) {
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(ll->builder);
    LLVMValueRef next = bf_ll_add_int(ll, loop->index, loop->step);
    LLVMValueRef branch =
        LLVMBuildCondBr(ll->builder, bf_ll_less(ll, next, loop->end), loop->body, loop->done);
    LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(ll->context, "llvm.loop", 9),
                    ll->loop_metadata);
    LLVMAddIncoming(loop->index, &next, &latch, 1);
    LLVMPositionBuilderAtEnd(ll->builder, loop->done);
    for (unsigned i = 0; i < loop->carried_count; i++) {
        LLVMAddIncoming(loop->carried[i], &loop->next[i], &latch, 1);
        LLVMValueRef phi = LLVMBuildPhi(ll->builder, LLVMTypeOf(loop->start[i]), "");
        LLVMAddIncoming(phi, &loop->start[i], &loop->before, 1);
        LLVMAddIncoming(phi, &loop->next[i], &latch, 1);
        loop->carried[i] = phi;
    }
}

void bf_ll_if_begin(struct bf_ll *ll, struct bf_ll_if *branch, LLVMValueRef condition) {
    LLVMBasicBlockRef yes = new_block(ll, "yes");
    branch->done = new_block(ll, "done");
    LLVMBuildCondBr(ll->builder, condition, yes, branch->done);
    LLVMPositionBuilderAtEnd(ll->builder, yes);
}

void bf_ll_if_end(struct bf_ll *ll, struct bf_ll_if *branch) {
    LLVMBuildBr(ll->builder, branch->done);
    LLVMPositionBuilderAtEnd(ll->builder, branch->done);
}
