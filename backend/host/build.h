/* build.h - what the files that build a module share. */
#ifndef BF_HOST_BUILD_H
#define BF_HOST_BUILD_H

#include "backend/host/ll.h"
#include "backend/host/module.h"

/* A module in the making. */
struct bf_build_module {
    struct bf_ll ll;
    const struct bf_host_plan *plan;
    const struct bf_sources *sources;
    enum bf_host_weights weights;
    const char *name; /* a C identifier */
    struct bf_arena arena;
    LLVMDIBuilderRef debug;
    LLVMMetadataRef *files; /* by bf_loc.file; NULL: not made yet */
    LLVMMetadataRef unit, subroutine;
    LLVMTypeRef kernel_type;     /* void (ptr operands, ptr scratch, i64 begin, i64 end) */
    LLVMValueRef *kernels;       /* by function->index */
    LLVMValueRef weights_global; /* NULL: given */
    LLVMValueRef dispatch;
    struct {
        struct bf_chain_made {
            const char *key;
            LLVMValueRef function;
        } *data;
        size_t count, capacity;
    } chains;
};

/* A function with an entry block, where the builder then is. External: seen outside the module. One
 * of no place (line 0) has no lines for debuggers. */
LLVMValueRef bf_build_function(struct bf_build_module *b, const char *name, LLVMTypeRef type,
                               bool external, struct bf_loc loc);
/* Later instructions belong to this place of the source. */
void bf_build_place(struct bf_build_module *b, LLVMValueRef function, struct bf_loc loc);

/* debug.c */
void bf_debug_begin(struct bf_build_module *b);
void bf_debug_function(struct bf_build_module *b, LLVMValueRef function, const char *name,
                       struct bf_loc loc);

/* chain.c: the function of calls[0 .. length), and how many units it has. */
LLVMValueRef bf_build_chain(struct bf_build_module *b, const struct bf_host_call *calls,
                            int64_t *units);

/* run.c */
void bf_build_dispatch(struct bf_build_module *b);
void bf_build_run(struct bf_build_module *b);
/* describe.c */
void bf_build_describe(struct bf_build_module *b);

#endif
