/* native.c - what -emit obj, header and host leave: host code of the poly, through LLVM.
 *
 *     poly --bf_pass_host--> plan --> text | header | module --> object --cc -shared--> .so
 */
#define _POSIX_C_SOURCE 200809L
#include "frontend/driver/compile.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/host/gen.h"
#include "backend/host/module.h"
#include "passes/host/host.h"

extern char **environ;

void bf_drop_exponents(struct bf_net *net) {
    for (size_t i = 0; i < net->ops.count; i++)
        net->ops.data[i]->result.type.exponent = 0;
}

/* Runs the system's C compiler, as a linker. */
static bool link_shared(const char *object, const char *path, struct bf_error *error) {
    const char *cc = getenv("CC");
    char *arguments[] = {(char *)(cc && *cc ? cc : "cc"),
                         "-shared",
                         "-o",
                         (char *)path,
                         (char *)object,
                         "-lm",
                         NULL};
    pid_t child;
    int status = 0;
    int failed = posix_spawnp(&child, arguments[0], NULL, NULL, arguments, environ);
    if (failed)
        return bf_fail(error, BF_ERROR_INPUT, "cannot run '%s': %s", arguments[0],
                       strerror(failed));
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return status == 0 ||
           bf_fail(error, BF_ERROR_INPUT, "'%s -shared' failed, see above", arguments[0]);
}

/* The object goes to a file beside the result, which the linker reads. */
static bool write_shared(struct bf_host_module *module, const char *path, struct bf_error *error) {
    struct bf_text object = {0};
    bf_text_printf(&object, "%s.%ld.o", path, (long)getpid());
    bool ok =
        bf_host_write_object(module, object.data, error) && link_shared(object.data, path, error);
    unlink(object.data);
    bf_text_free(&object);
    return ok;
}

static bool write_object(struct bf_compilation *c, const struct bf_host_plan *plan,
                         const char *path, struct bf_error *error) {
    const char *weights_file = c->options->weights_out;
    struct bf_host_module module = {0};
    void *blob = bf_host_blob(plan, c->weights);
    bool ok =
        (!weights_file || bf_write_file(weights_file, blob, (size_t)plan->blob_size, error)) &&
        bf_host_module_build(&module, plan, c->diags->sources,
                             weights_file ? BF_WEIGHTS_GIVEN : BF_WEIGHTS_EMBEDDED, blob, error) &&
        (c->options->shared ? write_shared(&module, path, error)
                            : bf_host_write_object(&module, path, error));
    bf_host_module_free(&module);
    free(blob);
    return ok;
}

static bool write_text(struct bf_compilation *c, const struct bf_host_plan *plan, const char *path,
                       struct bf_error *error) {
    struct bf_text text = {0};
    if (c->options->emit == BF_EMIT_HOST)
        bf_host_plan_print(plan, &text);
    else
        bf_host_header(plan, c->options->weights_out ? BF_WEIGHTS_GIVEN : BF_WEIGHTS_EMBEDDED,
                       &text);
    bool ok = bf_write_file(path, text.data, text.length, error);
    bf_text_free(&text);
    return ok;
}

bool bf_emit_host(struct bf_compilation *c, const char *path) {
    struct bf_error error = {0};
    struct bf_arena arena = {0};
    struct bf_host_target target;
    struct bf_host_plan *plan = NULL;
    bool ok = bf_host_target_find(&target, c->options->march, c->options->target, &arena, &error);
    if (ok) {
        plan = bf_pass_host(c->poly, c->weights, &target, bf_host_generators, c->diags);
        c->poly = NULL; /* the plan's now */
        ok = plan && (c->options->emit == BF_EMIT_OBJ ? write_object(c, plan, path, &error)
                                                      : write_text(c, plan, path, &error));
    }
    if (error.code) {
        c->internal = error.code == BF_ERROR_INTERNAL;
        bf_diag_error(c->diags, (struct bf_loc){0}, "%s", error.text);
    }
    bf_host_plan_free(plan);
    bf_arena_free(&arena);
    return ok;
}
