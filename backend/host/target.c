/* target.c - processors: names, vector widths, LLVM's machines. See module.h. */
#include "backend/host/module.h"

#include <pthread.h>
#include <llvm-c/Target.h>

/* What -march names. `triple` begins the triples it is for. */
static const struct processor {
    const char *march, *triple, *cpu, *features;
    unsigned lanes, registers;
} processors[] = {
    {"x86-64", "x86_64", "x86-64", "", 4, 16},
    {"x86-64-v2", "x86_64", "x86-64-v2", "", 4, 16},
    {"x86-64-v3", "x86_64", "x86-64-v3", "", 8, 16},
    {"x86-64-v4", "x86_64", "x86-64-v4", "", 16, 32},
    {"armv8-a", "aarch64", "generic", "+neon", 4, 32},
};
enum { PROCESSORS = sizeof processors / sizeof *processors };

static void initialize(void) {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    LLVMInitializeAArch64AsmParser();
}

static void prepare(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialize);
}

static bool is_for(const char *triple, const char *begin) {
    return !strncmp(triple, begin, strlen(begin));
}

static char *copy(struct bf_arena *arena, char *message) {
    char *text = bf_arena_strdup(arena, message);
    LLVMDisposeMessage(message);
    return text;
}

static bool has(const char *features, const char *feature) {
    size_t length = strlen(feature);
    for (const char *at = features; (at = strstr(at, feature)); at += length)
        if ((at[length] == ',' || !at[length]) && (at == features || at[-1] == ','))
            return true;
    return false;
}

static void find_native(struct bf_host_target *target, struct bf_arena *arena) {
    target->cpu = copy(arena, LLVMGetHostCPUName());
    target->features = copy(arena, LLVMGetHostCPUFeatures());
    bool wide = has(target->features, "+avx512f") && has(target->features, "+avx512vl");
    bool middle = has(target->features, "+avx2") && has(target->features, "+fma");
    bool arm = is_for(target->triple, "aarch64");
    target->lanes = wide ? 16 : middle ? 8 : 4;
    target->registers = wide || arm ? 32 : 16;
}

static bool find_named(struct bf_host_target *target, const char *march, struct bf_error *error) {
    for (int i = 0; i < PROCESSORS; i++) {
        const struct processor *p = &processors[i];
        if (strcmp(p->march, march))
            continue;
        if (!is_for(target->triple, p->triple))
            return bf_fail(error, BF_ERROR_INPUT, "-march=%s is not for the target '%s'", march,
                           target->triple);
        target->cpu = p->cpu;
        target->features = p->features;
        target->lanes = p->lanes;
        target->registers = p->registers;
        return true;
    }
    return bf_fail(error, BF_ERROR_INPUT,
                   "-march=%s is not known: native, x86-64, x86-64-v2, x86-64-v3, x86-64-v4 or "
                   "armv8-a",
                   march);
}

/* The processor that a triple has for sure; a triple that a processor suggests. */
static const char *plainest(const char *triple) {
    for (int i = 0; i < PROCESSORS; i++)
        if (is_for(triple, processors[i].triple))
            return processors[i].march;
    return NULL;
}
static const char *suggested(const char *march, const char *host) {
    for (int i = 0; i < PROCESSORS; i++)
        if (!strcmp(processors[i].march, march) && !is_for(host, processors[i].triple))
            return is_for(processors[i].triple, "aarch64") ? "aarch64-linux-gnu"
                                                           : "x86_64-pc-linux-gnu";
    return host;
}

bool bf_host_target_find(struct bf_host_target *target, const char *march, const char *triple,
                         struct bf_arena *arena, struct bf_error *error) {
    prepare();
    const char *host = copy(arena, LLVMGetDefaultTargetTriple());
    if (!march)
        march = triple ? plainest(triple) : "native";
    if (!march)
        return bf_fail(error, BF_ERROR_INPUT, "-target %s: only x86_64 and aarch64 are known",
                       triple);
    if (!triple)
        triple = strcmp(march, "native") ? suggested(march, host) : host;
    *target = (struct bf_host_target){
        .triple = bf_arena_strdup(arena, triple), .l1 = 32 << 10, .l2 = 1 << 20};
    if (strcmp(march, "native"))
        return find_named(target, march, error);
    if (strcmp(triple, host))
        return bf_fail(error, BF_ERROR_INPUT, "-march=native is for '%s', not for '%s'", host,
                       triple);
    find_native(target, arena);
    return true;
}

LLVMTargetMachineRef bf_host_machine(const struct bf_host_target *target, struct bf_error *error) {
    LLVMTargetRef found;
    char *message = NULL;
    prepare();
    if (LLVMGetTargetFromTriple(target->triple, &found, &message)) {
        bf_fail(error, BF_ERROR_INPUT, "%s", message);
        LLVMDisposeMessage(message);
        return NULL;
    }
    return LLVMCreateTargetMachine(found, target->triple, target->cpu, target->features,
                                   LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelDefault);
}
