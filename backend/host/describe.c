/* describe.c - NAME_describe: a constant struct bf_network_description (see header.c). */
#include "backend/host/build.h"

static LLVMValueRef text(struct bf_build_module *b, const char *string) {
    struct bf_ll *ll = &b->ll;
    LLVMValueRef value = LLVMConstStringInContext2(ll->context, string, strlen(string), false);
    LLVMValueRef global = LLVMAddGlobal(ll->module, LLVMTypeOf(value),
                                        bf_arena_printf(&b->arena, "%s.text", b->name));
    LLVMSetInitializer(global, value);
    LLVMSetGlobalConstant(global, true);
    LLVMSetLinkage(global, LLVMPrivateLinkage);
    return global;
}

static LLVMValueRef constant(struct bf_build_module *b, const char *name, LLVMValueRef value) {
    LLVMValueRef global = LLVMAddGlobal(b->ll.module, LLVMTypeOf(value),
                                        bf_arena_printf(&b->arena, "%s.%s", b->name, name));
    LLVMSetInitializer(global, value);
    LLVMSetGlobalConstant(global, true);
    LLVMSetLinkage(global, LLVMPrivateLinkage);
    return global;
}

/* struct bf_tensor_description { const char *name; int type; unsigned rank; int64_t dims[8]; } */
static LLVMValueRef describe_tensor(struct bf_build_module *b,
                                    const struct bf_poly_tensor *tensor) {
    struct bf_ll *ll = &b->ll;
    const struct bf_type *type = &tensor->type;
    LLVMValueRef dims[8];
    for (unsigned a = 0; a < 8; a++)
        dims[a] = bf_ll_int(ll, a < type->rank ? type->dims[a] : 0);
    unsigned kind = type->dtype == BF_U8 ? 2 : type->dtype == BF_I32 ? 1 : 0;
    LLVMValueRef members[] = {text(b, tensor->name), LLVMConstInt(ll->i32, kind, false),
                              LLVMConstInt(ll->i32, type->rank, false),
                              LLVMConstArray2(ll->i64, dims, 8)};
    return LLVMConstStructInContext(ll->context, members, 4, false);
}

static LLVMValueRef describe_ports(struct bf_build_module *b, bool output, uint64_t *count) {
    const struct bf_poly *poly = b->plan->poly;
    LLVMValueRef *members = bf_arena_alloc(&b->arena, (poly->tensors.count + 1) * sizeof *members);
    *count = 0;
    for (size_t i = 0; i < poly->tensors.count; i++)
        if (poly->tensors.data[i].output == output)
            members[(*count)++] = describe_tensor(b, &poly->tensors.data[i]);
    if (!*count)
        return LLVMConstNull(b->ll.ptr);
    LLVMValueRef array = LLVMConstArray2(LLVMTypeOf(members[0]), members, *count);
    return constant(b, output ? "outputs" : "inputs", array);
}

void bf_build_describe(struct bf_build_module *b) {
    struct bf_ll *ll = &b->ll;
    const struct bf_host_plan *plan = b->plan;
    uint64_t inputs, outputs;
    LLVMValueRef in = describe_ports(b, false, &inputs), out = describe_ports(b, true, &outputs);
    LLVMValueRef members[] = {
        text(b, plan->poly->name),
        text(b, plan->target.cpu),
        bf_ll_int(ll, plan->poly->header.batch),
        bf_ll_int(ll, (int64_t)inputs),
        bf_ll_int(ll, (int64_t)outputs),
        in,
        out,
        bf_ll_int(ll, bf_host_workspace(plan, 1)),
        bf_ll_int(ll, BF_HOST_ALIGN),
        bf_ll_int(ll, plan->blob_size),
    };
    LLVMValueRef all =
        constant(b, "description", LLVMConstStructInContext(ll->context, members, 10, false));
    bf_build_function(b, bf_arena_printf(&b->arena, "%s_describe", b->name),
                      LLVMFunctionType(ll->ptr, NULL, 0, false), true, (struct bf_loc){0});
    LLVMBuildRet(ll->builder, all);
}
