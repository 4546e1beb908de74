/* debug.c - line tables that point into the network's source: every function has the place of its
 * kernel, every call in NAME_run that of its operator. Names are those of the sources as they were
 * given; no folder of this machine gets in. */
#include "backend/host/build.h"

static LLVMMetadataRef file_of(struct bf_build_module *b, uint32_t file) {
    if (file >= b->sources->count)
        file = 0;
    if (!b->sources->count)
        return LLVMDIBuilderCreateFile(b->debug, "network", 7, ".", 1);
    if (!b->files[file]) {
        const char *name = b->sources->data[file].name;
        b->files[file] = LLVMDIBuilderCreateFile(b->debug, name, strlen(name), ".", 1);
    }
    return b->files[file];
}

static void add_flag(struct bf_build_module *b, const char *name, unsigned value) {
    LLVMMetadataRef number = LLVMValueAsMetadata(LLVMConstInt(b->ll.i32, value, false));
    LLVMAddModuleFlag(b->ll.module, LLVMModuleFlagBehaviorWarning, name, strlen(name), number);
}

void bf_debug_begin(struct bf_build_module *b) {
    static const char producer[] = "bfcc " BF_VERSION;
    b->debug = LLVMCreateDIBuilder(b->ll.module);
    b->files = bf_arena_alloc(&b->arena, (b->sources->count + 1) * sizeof *b->files);
    b->unit = LLVMDIBuilderCreateCompileUnit(b->debug, LLVMDWARFSourceLanguageC, file_of(b, 0),
                                             producer, sizeof producer - 1, true, "", 0, 0, "", 0,
                                             LLVMDWARFEmissionFull, 0, false, false, "", 0, "", 0);
    b->subroutine =
        LLVMDIBuilderCreateSubroutineType(b->debug, file_of(b, 0), NULL, 0, LLVMDIFlagZero);
    add_flag(b, "Debug Info Version", LLVMDebugMetadataVersion());
    add_flag(b, "Dwarf Version", 4);
}

void bf_debug_function(struct bf_build_module *b, LLVMValueRef function, const char *name,
                       struct bf_loc loc) {
    if (!loc.line)
        return;
    LLVMMetadataRef file = file_of(b, loc.file);
    LLVMMetadataRef scope = LLVMDIBuilderCreateFunction(b->debug, file, name, strlen(name), name,
                                                        strlen(name), file, loc.line, b->subroutine,
                                                        true, true, loc.line, LLVMDIFlagZero, true);
    LLVMSetSubprogram(function, scope);
}

/* A place in another file than the function's needs a scope of that file. */
void bf_build_place(struct bf_build_module *b, LLVMValueRef function, struct bf_loc loc) {
    LLVMMetadataRef scope = LLVMGetSubprogram(function), file = file_of(b, loc.file);
    if (!scope) {
        LLVMSetCurrentDebugLocation2(b->ll.builder, NULL);
        return;
    }
    if (LLVMDIScopeGetFile(scope) != file)
        scope = LLVMDIBuilderCreateLexicalBlockFile(b->debug, scope, file, 0);
    LLVMSetCurrentDebugLocation2(
        b->ll.builder,
        LLVMDIBuilderCreateDebugLocation(b->ll.context, loc.line, loc.column, scope, NULL));
}
