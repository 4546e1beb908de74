/* files.c - the main file and what it includes, each once. */
#include "frontend/library.h"
#include "frontend/parse.h"
#include "frontend/sema.h"

#include <stdlib.h>

/* A file that was read. `key` tells files apart: the shipped name in <>, or the path. */
struct loaded {
    const char *key;
    uint32_t file;
    bool open; /* its includes are being read: including it again is a cycle */
};

struct loader {
    struct fe_sema *sema;
    struct {
        struct loaded *data;
        size_t count, capacity;
    } files;
    bool failed;
};

/* "a/./b/../c.bfly" -> "a/c.bfly": without looking at the disk, so that messages do not depend on
 * where things are mounted. */
static const char *normal_path(struct bf_arena *arena, const char *path) {
    char *copy = bf_arena_strdup(arena, path), *out = copy, *root = copy;
    const char *in = path;
    if (*in == '/') {
        *out++ = *in++;
        root = out;
    }
    while (*in) {
        size_t length = strcspn(in, "/");
        bool last = !in[length];
        if (!length || (length == 1 && in[0] == '.')) {
        } else if (length == 2 && !memcmp(in, "..", 2) && out > root &&
                   !(out - root >= 3 && !memcmp(out - 3, "../", 3))) {
            out--;
            while (out > root && out[-1] != '/')
                out--;
        } else {
            memmove(out, in, length);
            out += length;
            if (!last)
                *out++ = '/';
        }
        in += length + !last;
    }
    *out = '\0';
    return copy;
}

static const char *folder_of(struct bf_arena *arena, const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = bf_arena_strdup(arena, path);
    folder[slash ? slash - path + 1 : 0] = '\0';
    return folder;
}

static void load_file(struct loader *loader, const char *key, const char *name, char *text,
                      size_t size, unsigned depth);

static const struct loaded *find_loaded(const struct loader *loader, const char *key) {
    for (size_t i = 0; i < loader->files.count; i++)
        if (!strcmp(loader->files.data[i].key, key))
            return &loader->files.data[i];
    return NULL;
}

/* "a.bfly includes b.bfly includes a.bfly", from the open files. */
static void report_cycle(struct loader *loader, const struct loaded *again, struct ast_span span) {
    struct bf_text text = {0};
    const struct bf_sources *sources = loader->sema->report.sources;
    const struct loaded *end = loader->files.data + loader->files.count;
    for (const struct loaded *at = again; at < end; at++)
        if (at->open)
            bf_text_printf(&text, "'%s' includes ", sources->data[at->file].name);
    fe_error(&loader->sema->report, span, "include cycle: %s'%s'", text.data,
             sources->data[again->file].name);
    bf_text_free(&text);
    loader->failed = true;
}

/* True if the file is there already; then nothing is left to do. */
static bool is_known(struct loader *loader, const char *key, struct ast_span span) {
    const struct loaded *known = find_loaded(loader, key);
    if (known && known->open)
        report_cycle(loader, known, span);
    return known;
}

/* A file of BFCC_PATH stands for a shipped one of its name, or is one more; texts call it by that
 * name, as where it lies is no matter of theirs. */
static bool include_from_path(struct loader *loader, const struct ast_include *include,
                              unsigned depth) {
    struct bf_text found = {0};
    struct bf_error error = {0};
    struct bf_arena *arena = &loader->sema->arena;
    if (!bf_search_path(include->path, &found))
        return false;
    const char *key = normal_path(arena, found.data);
    const char *name = bf_arena_printf(arena, "<%s>", include->path);
    bf_text_free(&found);
    if (is_known(loader, key, include->span))
        return true;
    size_t size;
    char *text = bf_read_file(key, &size, &error);
    if (text)
        load_file(loader, key, name, text, size, depth);
    else
        fe_error(&loader->sema->report, include->span, "%s", error.text);
    loader->failed |= !text;
    return true;
}

static void include_shipped(struct loader *loader, const struct ast_include *include,
                            unsigned depth) {
    const char *best = NULL;
    if (include_from_path(loader, include, depth))
        return;
    for (size_t i = 0; i < bf_library_file_count; i++) {
        const struct bf_library_file *file = &bf_library_files[i];
        if (strcmp(file->name, include->path)) {
            fe_suggest(include->path, file->name, &best);
            continue;
        }
        const char *key = bf_arena_printf(&loader->sema->arena, "<%s>", file->name);
        if (!is_known(loader, key, include->span))
            load_file(loader, key, key, bf_strdup(file->text), strlen(file->text), depth);
        return;
    }
    struct bf_text there = {0};
    for (size_t i = 0; i < bf_library_file_count; i++)
        bf_text_printf(&there, "%s<%s>", i ? ", " : "", bf_library_files[i].name);
    if (best)
        fe_error(&loader->sema->report, include->span,
                 "no file <%s> is shipped with bfcc; did you mean <%s>?", include->path, best);
    else
        fe_error(&loader->sema->report, include->span,
                 "no file <%s> is shipped with bfcc; there is %s", include->path,
                 there.length ? there.data : "none");
    bf_text_free(&there);
    loader->failed = true;
}

/* Where includes are looked for: on the disk, and how its files are called in messages and in the
 * file tables of texts: relative to the main file's folder, so that nothing depends on the
 * directory bfcc is run in. Both end in '/' or are empty. */
struct place {
    const char *folder, *shown;
};

/* Tries one place; true if the file is there (read, or known already). */
static bool include_from(struct loader *loader, struct place place,
                         const struct ast_include *include, unsigned depth) {
    struct bf_arena *arena = &loader->sema->arena;
    bool absolute = include->path[0] == '/';
    const char *key = normal_path(
        arena, bf_arena_printf(arena, "%s%s", absolute ? "" : place.folder, include->path));
    const char *name = normal_path(
        arena, bf_arena_printf(arena, "%s%s", absolute ? "" : place.shown, include->path));
    if (is_known(loader, key, include->span))
        return true;
    struct bf_error error = {0};
    size_t size;
    char *text = strcmp(key, "-") ? bf_read_file(key, &size, &error) : NULL;
    if (!text)
        return false;
    load_file(loader, key, name, text, size, depth);
    return true;
}

static void report_missing(struct loader *loader, const struct ast_include *include) {
    bool shipped = false;
    for (size_t i = 0; i < bf_library_file_count; i++)
        shipped |= !strcmp(bf_library_files[i].name, include->path);
    if (shipped)
        fe_error(&loader->sema->report, include->span,
                 "cannot read '%s'; the file shipped with bfcc is written <%s>", include->path,
                 include->path);
    else
        fe_error(&loader->sema->report, include->span, "cannot read '%s'", include->path);
    loader->failed = true;
}

static void include_file(struct loader *loader, const struct ast_include *include,
                         struct place place, unsigned depth) {
    const struct bf_frontend_options *options = loader->sema->options;
    if (depth > FE_MAX_CALLS) {
        fe_error(&loader->sema->report, include->span, "files are included deeper than %d levels",
                 FE_MAX_CALLS);
        loader->failed = true;
        return;
    }
    if (include->shipped) {
        include_shipped(loader, include, depth);
        return;
    }
    bool found = include_from(loader, place, include, depth);
    for (size_t i = 0; !found && i < options->include_dir_count; i++) {
        place.folder = bf_arena_printf(&loader->sema->arena, "%s/", options->include_dirs[i]);
        place.shown = "";
        found = include_from(loader, place, include, depth);
    }
    if (!found)
        report_missing(loader, include);
}

static void load_file(struct loader *loader, const char *key, const char *name, char *text,
                      size_t size, unsigned depth) {
    struct fe_sema *sema = loader->sema;
    struct ast_file ast;
    uint32_t file = bf_source_add(sema->report.sources, name, text, size);
    size_t index = loader->files.count;
    *bf_push(&loader->files) = (struct loaded){key, file, true};
    if (sema->files && key[0] != '<' && strcmp(key, "-"))
        *bf_push(&sema->files->paths) = bf_strdup(key);
    if (!fe_parse_file(&sema->arena, &sema->report, file, &ast))
        loader->failed = true;
    struct place place = {folder_of(&sema->arena, key), file ? folder_of(&sema->arena, name) : ""};
    for (const struct ast_include *i = ast.includes; i; i = i->next)
        include_file(loader, i, place, depth + 1);
    loader->files.data[index].open = false;
    for (struct ast_decl *decl = ast.decls; decl; decl = decl->next) {
        if (decl->kind == AST_DECL_CONST)
            *bf_push(&sema->constants) = (struct fe_constant){.decl = decl};
        *bf_push(&sema->decls) = decl;
    }
}

bool fe_load(struct fe_sema *sema) {
    const struct bf_frontend_options *options = sema->options;
    struct loader loader = {.sema = sema};
    struct bf_error error = {0};
    size_t size = options->size;
    char *text;
    if (options->text) {
        text = bf_alloc(size + 1);
        memcpy(text, options->text, size);
    } else {
        text = bf_read_file(options->name, &size, &error);
    }
    if (!text)
        return bf_diag_error(sema->report.diags, (struct bf_loc){0}, "%s", error.text);
    const char *name = strcmp(options->name, "-") ? options->name : "<stdin>";
    load_file(&loader, normal_path(&sema->arena, options->name), name, text, size, 0);
    free(loader.files.data);
    return !loader.failed;
}

void bf_frontend_files_free(struct bf_frontend_files *files) {
    for (size_t i = 0; i < files->paths.count; i++)
        free(files->paths.data[i]);
    free(files->paths.data);
    *files = (struct bf_frontend_files){0};
}
