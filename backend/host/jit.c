/* jit.c - a network as code in this process, through LLVM's ORC. See module.h. */
#include "backend/host/module.h"

#include <stdlib.h>
#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>

typedef int run_function(const void *in, const void *out, void *workspace, const void *executor);

struct bf_host_jit {
    LLVMOrcLLJITRef jit;
    run_function *run;
};

static bool failed(LLVMErrorRef problem, struct bf_error *error) {
    if (!problem)
        return false;
    char *message = LLVMGetErrorMessage(problem);
    bf_fail(error, BF_ERROR_INTERNAL, "%s", message);
    LLVMDisposeErrorMessage(message);
    return true;
}

/* Hands the module over as an object file: code as -emit obj makes it. */
static bool add_module(struct bf_host_jit *jit, struct bf_host_module *module,
                       struct bf_error *error) {
    LLVMMemoryBufferRef buffer;
    char *message = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(module->machine, module->module, LLVMObjectFile,
                                            &message, &buffer)) {
        bf_fail(error, BF_ERROR_INTERNAL, "%s", message);
        LLVMDisposeMessage(message);
        return false;
    }
    LLVMOrcJITDylibRef main = LLVMOrcLLJITGetMainJITDylib(jit->jit);
    return !failed(LLVMOrcLLJITAddObjectFile(jit->jit, main, buffer), error);
}

static bool define_weights(struct bf_host_jit *jit, const char *name, const void *blob,
                           struct bf_error *error) {
    LLVMOrcCSymbolMapPair pair = {
        .Name = LLVMOrcLLJITMangleAndIntern(jit->jit, name),
        .Sym = {.Address = (LLVMOrcExecutorAddress)(uintptr_t)blob,
                .Flags = {.GenericFlags = LLVMJITSymbolGenericFlagsExported}},
    };
    LLVMOrcMaterializationUnitRef unit = LLVMOrcAbsoluteSymbols(&pair, 1);
    return !failed(LLVMOrcJITDylibDefine(LLVMOrcLLJITGetMainJITDylib(jit->jit), unit), error);
}

/* What code may call of libc: memcpy and the like. */
static bool add_process(struct bf_host_jit *jit, struct bf_error *error) {
    LLVMOrcDefinitionGeneratorRef generator;
    char prefix = LLVMOrcLLJITGetGlobalPrefix(jit->jit);
    if (failed(LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(&generator, prefix, NULL, NULL),
               error))
        return false;
    LLVMOrcJITDylibAddGenerator(LLVMOrcLLJITGetMainJITDylib(jit->jit), generator);
    return true;
}

static bool start(struct bf_host_jit *jit, const struct bf_host_plan *plan,
                  struct bf_host_module *module, const void *blob, struct bf_error *error) {
    struct bf_arena arena = {0};
    const char *name = bf_host_symbol(&arena, plan->poly->name);
    LLVMOrcExecutorAddress address = 0;
    bool ok =
        !failed(LLVMOrcCreateLLJIT(&jit->jit, LLVMOrcCreateLLJITBuilder()), error) &&
        add_process(jit, error) &&
        (!plan->blob_size ||
         define_weights(jit, bf_arena_printf(&arena, "%s.weights", name), blob, error)) &&
        add_module(jit, module, error) &&
        !failed(LLVMOrcLLJITLookup(jit->jit, &address, bf_arena_printf(&arena, "%s_run_on", name)),
                error);
    void *pointer = (void *)(uintptr_t)address; /* POSIX: functions have addresses like data */
    memcpy(&jit->run, &pointer, sizeof pointer);
    bf_arena_free(&arena);
    return ok;
}

struct bf_host_jit *bf_host_jit_create(const struct bf_host_plan *plan,
                                       const struct bf_sources *sources, const void *blob,
                                       struct bf_error *error) {
    struct bf_host_module module;
    struct bf_host_jit *jit = bf_alloc(sizeof *jit);
    bool ok = bf_host_module_build(&module, plan, sources, BF_WEIGHTS_EXTERNAL, blob, error) &&
              start(jit, plan, &module, blob, error);
    bf_host_module_free(&module);
    if (ok)
        return jit;
    bf_host_jit_free(jit);
    return NULL;
}

void bf_host_jit_free(struct bf_host_jit *jit) {
    if (!jit)
        return;
    if (jit->jit)
        LLVMConsumeError(LLVMOrcDisposeLLJIT(jit->jit));
    free(jit);
}

int bf_host_jit_run(const struct bf_host_jit *jit, const void *const *inputs, void *const *outputs,
                    void *workspace, const void *executor) {
    return jit->run(inputs, outputs, workspace, executor);
}
