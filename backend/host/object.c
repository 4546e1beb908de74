/* object.c - a module as a file. See module.h. */
#include "backend/host/module.h"

static bool write_as(struct bf_host_module *module, LLVMCodeGenFileType type, const char *path,
                     struct bf_error *error) {
    LLVMMemoryBufferRef buffer;
    char *message = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(module->machine, module->module, type, &message,
                                            &buffer)) {
        bf_fail(error, BF_ERROR_INTERNAL, "%s", message);
        LLVMDisposeMessage(message);
        return false;
    }
    bool ok = bf_write_file(path, LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer), error);
    LLVMDisposeMemoryBuffer(buffer);
    return ok;
}

bool bf_host_write_object(struct bf_host_module *module, const char *path, struct bf_error *error) {
    return write_as(module, LLVMObjectFile, path, error);
}

bool bf_host_write_assembly(struct bf_host_module *module, const char *path,
                            struct bf_error *error) {
    return write_as(module, LLVMAssemblyFile, path, error);
}
