/* module.h - the LLVM module of a network: kernels, NAME_run, data. Products are made from it.
 *
 *     plan --bf_host_module--> module --bf_host_optimize--> --object.c--> object file
 *                                                           --jit.c-----> code in memory
 */
#ifndef BF_HOST_MODULE_H
#define BF_HOST_MODULE_H

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

#include "ir/host.h"

enum bf_host_weights {
    BF_WEIGHTS_EMBEDDED, /* read-only data of the module */
    BF_WEIGHTS_EXTERNAL, /* a symbol NAME.weights that whoever loads the module defines */
    BF_WEIGHTS_GIVEN,    /* the last member of struct NAME_in points to them */
};

/* The network's name as a C identifier: what is none of [A-Za-z0-9_] becomes '_'. */
const char *bf_host_symbol(struct bf_arena *arena, const char *network);

/* Numbers that header and description have, too. */
int64_t bf_host_workspace(const struct bf_host_plan *plan, int64_t threads);

/* Nonzero results of NAME_run. */
enum { BF_RUN_NULL = 1, BF_RUN_MISALIGNED = 2, BF_RUN_ID = 3 };

struct bf_host_module {
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMTargetMachineRef machine;
};

/* False with an error in `error`, which the caller frees. `blob` (embedded weights only) must stay
 * until the module is written. */
bool bf_host_module_build(struct bf_host_module *module, const struct bf_host_plan *plan,
                          const struct bf_sources *sources, enum bf_host_weights weights,
                          const void *blob, struct bf_error *error);
void bf_host_module_free(struct bf_host_module *module);

/* ---- target.c ---- */

/* What -march and -target mean: `march` native, x86-64[-v2|-v3|-v4] or armv8-a; NULL: native, or
 * the plainest of the triple. Strings are in `arena`. */
bool bf_host_target_find(struct bf_host_target *target, const char *march, const char *triple,
                         struct bf_arena *arena, struct bf_error *error);
/* The machine for a target. NULL with an error. */
LLVMTargetMachineRef bf_host_machine(const struct bf_host_target *target, struct bf_error *error);

/* ---- object.c ---- */

bool bf_host_write_object(struct bf_host_module *module, const char *path, struct bf_error *error);
/* Assembly as a text, for tests and people. */
bool bf_host_write_assembly(struct bf_host_module *module, const char *path,
                            struct bf_error *error);

/* ---- header.c ---- */

void bf_host_header(const struct bf_host_plan *plan, enum bf_host_weights weights,
                    struct bf_text *text);

/* ---- jit.c ---- */

struct bf_host_jit;
/* Code in memory for this machine. NULL with an error. The blob is copied from nowhere: it must
 * stay. */
struct bf_host_jit *bf_host_jit_create(const struct bf_host_plan *plan,
                                       const struct bf_sources *sources, const void *blob,
                                       struct bf_error *error);
void bf_host_jit_free(struct bf_host_jit *jit);
/* NAME_run_on: arrays of pointers in the order of the network. */
int bf_host_jit_run(const struct bf_host_jit *jit, const void *const *inputs, void *const *outputs,
                    void *workspace, const void *executor);

#endif
