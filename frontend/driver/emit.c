/* emit.c - what a compilation leaves: texts, the .bfx file, dependencies for
 * make. */
#define _POSIX_C_SOURCE 200809L
#include "frontend/driver/compile.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ir/asm.h"

void bf_print_level(const struct bf_compilation *c, struct bf_text *text) {
    if (c->program)
        bf_asm_print(c->program, text);
    else if (c->map)
        bf_map_print(c->map, text);
    else if (c->poly)
        bf_poly_print(c->poly, text);
    else if (c->net)
        bf_net_print(c->net, text);
}

/* Where the output goes: -o; standard output for the text of a level, and where
 * the input came from a pipe; else a file named after the input, where bfcc
 * runs. */
static const char *output_name(const struct bf_options *options, struct bf_text *name) {
    static const char *const suffixes[] = {".bfx", ".net",  ".poly", ".map",
                                           ".bfs", ".host", ".o",    ".h"};
    if (options->output)
        return options->output;
    if (options->text_to_stdout || !strcmp(options->input, "-"))
        return "-";
    const char *slash = strrchr(options->input, '/');
    const char *base = slash ? slash + 1 : options->input, *dot = strrchr(base, '.');
    size_t length = dot && dot != base ? (size_t)(dot - base) : strlen(base);
    bf_text_printf(name, "%.*s%s", (int)length, base,
                   options->shared ? ".so" : suffixes[options->emit]);
    return name->data;
}

/* Also when the two have different names. */
static bool same_file(const char *a, const char *b) {
    struct stat x, y;
    return strcmp(a, "-") && strcmp(b, "-") && !stat(a, &x) && !stat(b, &y) && S_ISREG(x.st_mode) &&
           x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The input or a weight file that writing `path` would destroy. */
static const char *overwritten(const struct bf_compilation *c, const char *path) {
    if (same_file(path, c->options->input))
        return c->options->input;
    for (size_t i = 0; i < c->checkpoint.paths.count; i++)
        if (same_file(path, c->checkpoint.paths.data[i]))
            return c->checkpoint.paths.data[i];
    for (size_t i = 0; i < c->options->calibrate.count; i++)
        if (same_file(path, c->options->calibrate.data[i]))
            return c->options->calibrate.data[i];
    return NULL;
}

/* Names in a makefile: spaces and '#' are quoted with a backslash, '$' doubled.
 */
static void add_make_name(struct bf_text *text, const char *name) {
    for (; *name; name++) {
        if (*name == ' ' || *name == '#')
            bf_text_add(text, "\\");
        if (*name == '$')
            bf_text_add(text, "$");
        bf_text_add_bytes(text, name, 1);
    }
}

/* The output depends on the sources, the machine's description and the weight files, shards of an
 * index too; with -MP each also gets an empty rule, so that a file that is gone is no error. */
static bool write_dependencies(struct bf_compilation *c, const char *output) {
    const struct bf_options *o = c->options;
    struct bf_text text = {0}, path = {0}, rules = {0};
    add_make_name(&text, output);
    bf_text_add(&text, ":");
    const struct bf_strings *weights = &c->checkpoint.paths, *samples = &o->calibrate;
    struct bf_strings names = {0};
    for (size_t i = 0; i < c->files.paths.count; i++)
        *bf_push(&names) = c->files.paths.data[i];
    for (size_t i = 0; i < weights->count; i++)
        *bf_push(&names) = weights->data[i];
    for (size_t i = 0; i < samples->count; i++)
        *bf_push(&names) = samples->data[i];
    if (c->arch_path.length)
        *bf_push(&names) = c->arch_path.data;
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.data[i];
        bf_text_add(&text, " ");
        add_make_name(&text, name);
        if (!o->phony_dependencies)
            continue;
        add_make_name(&rules, name);
        bf_text_add(&rules, ":\n");
    }
    free(names.data);
    bf_text_add(&text, "\n");
    if (rules.data)
        bf_text_add(&text, rules.data);
    if (o->dependency_file)
        bf_text_add(&path, o->dependency_file);
    else
        bf_text_printf(&path, "%s.d", output);
    struct bf_error error = {0};
    bool ok = bf_write_file(path.data, text.data, text.length, &error);
    if (!ok)
        bf_diag_error(c->diags, (struct bf_loc){0}, "%s", error.text);
    bf_text_free(&text);
    bf_text_free(&path);
    bf_text_free(&rules);
    return ok;
}

static bool write_output(struct bf_compilation *c, const char *path) {
    struct bf_error error = {0};
    bool ok;
    if (bf_emits_host(c->options->emit)) {
        return bf_emit_host(c, path);
    } else if (c->options->emit == BF_EMIT_BFX) {
        size_t size;
        uint8_t *bytes = bf_program_write(c->program, &size);
        ok = bf_write_file(path, bytes, size, &error);
        free(bytes);
    } else {
        struct bf_text text = {0};
        bf_print_level(c, &text);
        ok = bf_write_file(path, text.data, text.length, &error);
        bf_text_free(&text);
    }
    return ok || bf_diag_error(c->diags, (struct bf_loc){0}, "%s", error.text);
}

bool bf_emit(struct bf_compilation *c) {
    if (c->options->emit == BF_EMIT_NOTHING)
        return true;
    struct bf_text name = {0};
    const char *path = output_name(c->options, &name);
    const char *lost = overwritten(c, path);
    bool ok, standard = !strcmp(path, "-");
    if (lost)
        ok = bf_diag_error(c->diags, (struct bf_loc){0},
                           "the output '%s' would overwrite the input '%s'", path, lost);
    else if (standard && (c->options->emit == BF_EMIT_BFX || c->options->emit == BF_EMIT_OBJ) &&
             isatty(1))
        ok = bf_diag_error(c->diags, (struct bf_loc){0},
                           "a .bfx or object file is not for a terminal: give -o FILE");
    else if (standard && c->options->make_dependencies && !c->options->dependency_file)
        ok = bf_diag_error(c->diags, (struct bf_loc){0},
                           "-MD needs -o FILE or -MF FILE when the output is standard output");
    else
        /* Dependencies first: an output without them would be taken for up to date. */
        ok = (!c->options->make_dependencies || write_dependencies(c, path)) &&
             write_output(c, path);
    bf_text_free(&name);
    return ok;
}
