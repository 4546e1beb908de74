/* host.c - finds libbfhost.so. See host.h. */
#define _GNU_SOURCE
#include "runtime/host.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static const char library[] = "libbfhost.so";

/* Tries FOLDER/libbfhost.so and FOLDER/../lib/libbfhost.so for the folder of the file `path`. */
static void *open_beside(const char *path) {
    const char *slash = path ? strrchr(path, '/') : NULL;
    static const char *const places[] = {"", "../lib/"};
    void *handle = NULL;
    for (int i = 0; slash && !handle && i < 2; i++) {
        struct bf_text text = {0};
        bf_text_printf(&text, "%.*s%s%s", (int)(slash + 1 - path), path, places[i], library);
        if (!access(text.data, R_OK)) /* so that the reason for another failure is kept */
            handle = dlopen(text.data, RTLD_NOW | RTLD_LOCAL);
        bf_text_free(&text);
    }
    return handle;
}

static void *open_library(void) {
    char path[4096];
    Dl_info self;
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    void *handle = NULL;
    if (dladdr(library, &self)) /* the shared library that holds this file, if one does */
        handle = open_beside(self.dli_fname);
    if (!handle)
        handle = open_beside(path);
    return handle ? handle : dlopen(library, RTLD_NOW | RTLD_LOCAL);
}

const struct bf_host_plugin *bf_host_load(struct bf_error *error) {
    void *handle = open_library();
    const struct bf_host_plugin *plugin = handle ? dlsym(handle, "bf_host_plugin") : NULL;
    if (!plugin) {
        const char *reason = dlerror();
        bf_fail(error, BF_ERROR_INPUT, "running the network itself needs %s: %s", library,
                reason ? reason : "it has no bf_host_plugin");
        return NULL;
    }
    if (strcmp(plugin->version, BF_VERSION) || plugin->schema() != bf_program_schema()) {
        bf_fail(error, BF_ERROR_INPUT, "%s is of another version than this one, %s", library,
                BF_VERSION);
        return NULL;
    }
    return plugin;
}
