/* module.c - builds the module of a network: weights, kernels, and what run.c and describe.c add.
 * See module.h. */
#include "backend/host/module.h"

#include <ctype.h>
#include <stdlib.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include "backend/host/build.h"
#include "backend/host/gen.h"

const char *bf_host_symbol(struct bf_arena *arena, const char *network) {
    char *name =
        bf_arena_printf(arena, "%s%s", isdigit((unsigned char)network[0]) ? "_" : "", network);
    for (char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c))
            *c = '_';
    return name;
}

int64_t bf_host_workspace(const struct bf_host_plan *plan, int64_t threads) {
    int64_t bytes = plan->temp_bytes + plan->scratch * threads;
    return bytes > BF_HOST_ALIGN ? bytes : BF_HOST_ALIGN;
}

/* ---- functions ---- */

static void set_attribute(struct bf_build_module *b, LLVMValueRef function, const char *name,
                          const char *value) {
    LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex,
                            LLVMCreateStringAttribute(b->ll.context, name, (unsigned)strlen(name),
                                                      value, (unsigned)strlen(value)));
}

LLVMValueRef bf_build_function(struct bf_build_module *b, const char *name, LLVMTypeRef type,
                               bool external, struct bf_loc loc) {
    LLVMValueRef function = LLVMAddFunction(b->ll.module, name, type);
    LLVMSetLinkage(function, external ? LLVMExternalLinkage : LLVMInternalLinkage);
    if (b->plan->target.lanes == 16) /* where the CPU's own preference is half a register */
        set_attribute(b, function, "prefer-vector-width", "512");
    set_attribute(b, function, "frame-pointer", "none");
    unsigned nounwind = LLVMGetEnumAttributeKindForName("nounwind", 8);
    LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(b->ll.context, nounwind, 0));
    bf_debug_function(b, function, name, loc);
    LLVMPositionBuilderAtEnd(b->ll.builder,
                             LLVMAppendBasicBlockInContext(b->ll.context, function, "entry"));
    bf_build_place(b, function, loc);
    return function;
}

/* Pointers do not alias, apart from inputs of one buffer: an output is nowhere read by its kernel.
 */
static void set_arguments(struct bf_build_module *b, LLVMValueRef function) {
    unsigned noalias = LLVMGetEnumAttributeKindForName("noalias", 7);
    for (unsigned i = 1; i <= 2; i++)
        LLVMAddAttributeAtIndex(function, i, LLVMCreateEnumAttribute(b->ll.context, noalias, 0));
}

static size_t operand_count(const struct bf_host_function *function) {
    const struct bf_host_epilogue *epilogue = function->epilogue;
    const struct bf_poly_kernel *last = function->kernels[function->choice->kernels - 1];
    size_t outputs = epilogue ? epilogue->kernel->outputs.count : last->outputs.count;
    size_t fused =
        epilogue ? epilogue->kernel->inputs.count - 1 + epilogue->choice->packs.count : 0;
    return outputs + function->kernels[0]->inputs.count + function->choice->packs.count + fused;
}

static void build_kernel(struct bf_build_module *b, const struct bf_host_function *function) {
    struct bf_ll *ll = &b->ll;
    const char *name = bf_arena_printf(&b->arena, "%s.%s", b->name, function->name);
    LLVMValueRef self = bf_build_function(b, name, b->kernel_type, false, function->loc);
    set_arguments(b, self);
    b->kernels[function->index] = self;
    struct bf_gen gen = {
        .ll = ll,
        .build = b,
        .poly = b->plan->poly,
        .target = &b->plan->target,
        .function = function,
        .first = function->kernels[0],
        .last = function->kernels[function->choice->kernels - 1],
        .choice = function->choice,
        .self = self,
        .scratch = LLVMGetParam(self, 1),
        .begin = LLVMGetParam(self, 2),
        .end = LLVMGetParam(self, 3),
    };
    size_t count = operand_count(function);
    gen.pointers = bf_arena_alloc(&b->arena, (count + 1) * sizeof *gen.pointers);
    for (size_t i = 0; i < count; i++) {
        LLVMValueRef at = bf_ll_at_byte(ll, LLVMGetParam(self, 0), bf_ll_int(ll, (int64_t)i * 8));
        gen.pointers[i] = LLVMBuildLoad2(ll->builder, ll->ptr, at, "");
    }
    function->generator->generate(&gen);
    LLVMBuildRetVoid(ll->builder);
}

/* ---- data ---- */

static void build_weights(struct bf_build_module *b, const void *blob) {
    struct bf_ll *ll = &b->ll;
    size_t size = (size_t)b->plan->blob_size;
    if (b->weights == BF_WEIGHTS_GIVEN || !size)
        return;
    const char *name = bf_arena_printf(&b->arena, "%s.weights", b->name);
    LLVMTypeRef type = LLVMArrayType2(ll->i8, size);
    b->weights_global = LLVMAddGlobal(ll->module, type, name);
    LLVMSetAlignment(b->weights_global, BF_HOST_ALIGN);
    LLVMSetGlobalConstant(b->weights_global, true);
    if (b->weights == BF_WEIGHTS_EMBEDDED) {
        LLVMSetLinkage(b->weights_global, LLVMInternalLinkage);
        LLVMSetInitializer(b->weights_global,
                           LLVMConstStringInContext2(ll->context, blob, size, true));
    }
}

/* ---- all of it ---- */

/* Only what cleans up: no unrolling, no vectorizer, no hoisting of what a tile keeps in registers.
 */
static bool optimize(struct bf_host_module *module, struct bf_error *error) {
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef failed = LLVMRunPasses(module->module, "function(sroa,early-cse,simplifycfg,dce)",
                                        module->machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (!failed)
        return true;
    char *message = LLVMGetErrorMessage(failed);
    bf_fail(error, BF_ERROR_INTERNAL, "%s", message);
    LLVMDisposeErrorMessage(message);
    return false;
}

static bool verify(struct bf_host_module *module, struct bf_error *error) {
    char *message = NULL;
    bool ok = !LLVMVerifyModule(module->module, LLVMReturnStatusAction, &message);
    if (!ok)
        bf_fail(error, BF_ERROR_INTERNAL, "the generated module is wrong: %s", message);
    LLVMDisposeMessage(message);
    return ok;
}

static void build(struct bf_build_module *b, const void *blob) {
    struct bf_ll *ll = &b->ll;
    LLVMTypeRef arguments[] = {ll->ptr, ll->ptr, ll->i64, ll->i64};
    b->kernel_type = LLVMFunctionType(ll->nothing, arguments, 4, false);
    b->kernels = bf_arena_alloc(&b->arena, (b->plan->functions.count + 1) * sizeof *b->kernels);
    bf_debug_begin(b);
    build_weights(b, blob);
    for (size_t f = 0; f < b->plan->functions.count; f++)
        build_kernel(b, b->plan->functions.data[f]);
    bf_build_dispatch(b);
    bf_build_run(b);
    bf_build_describe(b);
    LLVMDIBuilderFinalize(b->debug);
    LLVMDisposeDIBuilder(b->debug);
}

bool bf_host_module_build(struct bf_host_module *module, const struct bf_host_plan *plan,
                          const struct bf_sources *sources, enum bf_host_weights weights,
                          const void *blob, struct bf_error *error) {
    *module = (struct bf_host_module){.machine = bf_host_machine(&plan->target, error)};
    if (!module->machine)
        return false;
    module->context = LLVMContextCreate();
    module->module = LLVMModuleCreateWithNameInContext(plan->poly->name, module->context);
    LLVMSetTarget(module->module, plan->target.triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(module->machine);
    LLVMSetModuleDataLayout(module->module, layout);
    LLVMDisposeTargetData(layout);
    struct bf_build_module b = {.plan = plan, .sources = sources, .weights = weights};
    b.name = bf_host_symbol(&b.arena, plan->poly->name);
    LLVMBuilderRef builder = LLVMCreateBuilderInContext(module->context);
    bf_ll_init(&b.ll, module->context, module->module, builder);
    build(&b, blob);
    LLVMDisposeBuilder(builder);
    free(b.chains.data);
    bf_arena_free(&b.arena);
    return verify(module, error) && optimize(module, error);
}

void bf_host_module_free(struct bf_host_module *module) {
    if (module->module)
        LLVMDisposeModule(module->module);
    if (module->machine)
        LLVMDisposeTargetMachine(module->machine);
    if (module->context)
        LLVMContextDispose(module->context);
    *module = (struct bf_host_module){0};
}
