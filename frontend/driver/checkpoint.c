/* checkpoint.c - reads safetensors files and indexes of shards. See checkpoint.h. */
#define _POSIX_C_SOURCE 200809L
#include "frontend/driver/checkpoint.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- one file ---- */

/* The bytes of a regular file that is not empty; NULL: read it another way. */
static void *map_file(const char *path, size_t *size) {
    struct stat status;
    void *bytes = MAP_FAILED;
    int fd = strcmp(path, "-") ? open(path, O_RDONLY) : -1;
    if (fd < 0)
        return NULL;
    if (!fstat(fd, &status) && S_ISREG(status.st_mode) && status.st_size > 0) {
        *size = (size_t)status.st_size;
        bytes = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    close(fd);
    return bytes == MAP_FAILED ? NULL : bytes;
}

/* NULL on error. The file belongs to the checkpoint. */
static const struct bf_tensor_file *open_tensors(struct bf_checkpoint *c, const char *path,
                                                 struct bf_error *error) {
    struct bf_checkpoint_file opened = {.path = path};
    opened.mapped = map_file(path, &opened.size);
    if (opened.mapped)
        opened.file = bf_tensor_file_parse(opened.mapped, opened.size, path, error);
    else
        opened.file = bf_tensor_file_read(path, error);
    *bf_push(&c->files) = opened;
    *bf_push(&c->paths) = path;
    return opened.file;
}

static void add_tensor(struct bf_checkpoint *c, const struct bf_tensor *tensor, const char *path) {
    *bf_push(&c->tensors) = (struct bf_checkpoint_tensor){tensor, path, tensor->name, false};
}

static bool read_single(struct bf_checkpoint *c, const char *path, struct bf_error *error) {
    const struct bf_tensor_file *file = open_tensors(c, path, error);
    for (size_t i = 0; file && i < file->tensor_count; i++)
        add_tensor(c, &file->tensors[i], strcmp(path, "-") ? path : "<stdin>");
    return file != NULL;
}

/* ---- an index ---- */

/* A line of the weight map. */
struct line {
    const char *tensor, *shard;
};

struct index {
    struct bf_checkpoint *checkpoint;
    const char *path;
    struct line *lines; /* by shard, then by name */
    size_t count;
    bool allow_unused;
    struct bf_error *error;
};

static int by_shard(const void *a, const void *b) {
    const struct line *x = a, *y = b;
    int order = strcmp(x->shard, y->shard);
    return order ? order : strcmp(x->tensor, y->tensor);
}

/* Names are shown in messages and must not command a terminal. */
static bool printable(const char *name) {
    for (; *name; name++)
        if ((unsigned char)*name < 0x20 || *name == 0x7f)
            return false;
    return true;
}

/* A shard is a file of the same folder: a path could lead anywhere. */
static bool is_file_name(const char *name) {
    return *name && *name != '.' && !strpbrk(name, "/\\");
}

static bool read_line(struct index *x, const char *tensor, const json_t *value) {
    const char *shard = json_string_value(value);
    struct bf_arena *arena = &x->checkpoint->arena;
    if (!printable(tensor) || (shard && !printable(shard)))
        return bf_fail(x->error, BF_ERROR_INPUT, "%s: a name has control characters in it",
                       x->path);
    if (!shard)
        return bf_fail(x->error, BF_ERROR_INPUT, "%s: \"weight_map\" gives no file for '%s'",
                       x->path, tensor);
    if (!is_file_name(shard))
        return bf_fail(x->error, BF_ERROR_INPUT,
                       "%s: '%s' is said to be in '%s': a shard is a file beside its index",
                       x->path, tensor, shard);
    x->lines[x->count++] =
        (struct line){bf_arena_strdup(arena, tensor), bf_arena_strdup(arena, shard)};
    return true;
}

static bool read_map(struct index *x, const json_t *root) {
    json_t *map = json_object_get(root, "weight_map"), *value;
    const char *tensor;
    if (!json_is_object(map))
        return bf_fail(x->error, BF_ERROR_INPUT,
                       "%s: no index of safetensors files: it has no object \"weight_map\"",
                       x->path);
    if (!json_object_size(map))
        return bf_fail(x->error, BF_ERROR_INPUT, "%s: \"weight_map\" is empty", x->path);
    x->lines = bf_alloc(json_object_size(map) * sizeof *x->lines);
    json_object_foreach(map, tensor, value) {
        if (!read_line(x, tensor, value))
            return false;
    }
    qsort(x->lines, x->count, sizeof *x->lines, by_shard);
    return true;
}

static bool parse_index(struct index *x) {
    size_t size;
    char *text = bf_read_file(x->path, &size, x->error);
    if (!text)
        return false;
    json_error_t where;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
    bool ok = false;
    if (root) {
        ok = read_map(x, root);
    } else {
        for (char *at = where.text; *at; at++) /* it quotes the file */
            *at = (unsigned char)*at < 0x20 || *at == 0x7f ? '?' : *at;
        bf_fail(x->error, BF_ERROR_INPUT, "%s:%d:%d: %s", x->path, where.line, where.column,
                where.text);
    }
    json_decref(root);
    free(text);
    return ok;
}

/* The shard's tensors and the lines of the index are both in order of name. */
static bool compare_shard(struct index *x, const struct line *lines, size_t count,
                          const struct bf_tensor_file *file, const char *path) {
    for (size_t i = 0; i < count; i++) {
        const struct bf_tensor *tensor = bf_tensor_file_find(file, lines[i].tensor);
        if (!tensor)
            return bf_fail(x->error, BF_ERROR_INPUT, "%s says that '%s' is in %s, but it is not",
                           x->path, lines[i].tensor, path);
        add_tensor(x->checkpoint, tensor, path);
    }
    for (size_t i = 0, line = 0; !x->allow_unused && i < file->tensor_count; i++) {
        if (line < count && !strcmp(lines[line].tensor, file->tensors[i].name))
            line++;
        else
            return bf_fail(x->error, BF_ERROR_INPUT,
                           "%s has '%s', but %s does not say so (-allow-unused ignores it)", path,
                           file->tensors[i].name, x->path);
    }
    return true;
}

static bool read_shards(struct index *x) {
    struct bf_checkpoint *c = x->checkpoint;
    const char *slash = strrchr(x->path, '/');
    int folder = slash ? (int)(slash + 1 - x->path) : 0;
    for (size_t first = 0, end; first < x->count; first = end) {
        const char *shard = x->lines[first].shard;
        for (end = first + 1; end < x->count && !strcmp(x->lines[end].shard, shard);)
            end++;
        const char *path = bf_arena_printf(&c->arena, "%.*s%s", folder, x->path, shard);
        struct bf_error reason = {0};
        const struct bf_tensor_file *file = open_tensors(c, path, &reason);
        if (!file)
            return bf_fail(x->error, BF_ERROR_INPUT, "%s (a shard of %s)", reason.text, x->path);
        if (!compare_shard(x, x->lines + first, end - first, file, path))
            return false;
    }
    return true;
}

static bool has_suffix(const char *path, const char *suffix) {
    size_t length = strlen(path), tail = strlen(suffix);
    return length > tail && !strcmp(path + length - tail, suffix);
}

bool bf_checkpoint_read(struct bf_checkpoint *c, const char *path, bool allow_unused,
                        struct bf_error *error) {
    if (!has_suffix(path, ".json"))
        return read_single(c, path, error);
    struct index x = {.checkpoint = c, .path = path, .allow_unused = allow_unused, .error = error};
    *bf_push(&c->paths) = path;
    bool ok = parse_index(&x) && read_shards(&x);
    free(x.lines);
    return ok;
}

void bf_checkpoint_free(struct bf_checkpoint *c) {
    for (size_t i = 0; i < c->files.count; i++) {
        bf_tensor_file_free(c->files.data[i].file);
        if (c->files.data[i].mapped)
            munmap(c->files.data[i].mapped, c->files.data[i].size);
    }
    free(c->files.data);
    free(c->tensors.data);
    free(c->paths.data);
    bf_arena_free(&c->arena);
}

/* ---- names ---- */

/* The most similar start (for prefixes) or whole of a name, or NULL. */
static const char *nearest(struct bf_checkpoint *c, const char *wanted, bool start) {
    const char *found = NULL;
    size_t best = strlen(wanted) / 4 + 2;
    for (size_t i = 0; i < c->tensors.count; i++) {
        const char *name = c->tensors.data[i].name;
        if (start && strlen(name) > strlen(wanted))
            name = bf_arena_printf(&c->arena, "%.*s", (int)strlen(wanted), name);
        size_t distance = bf_edit_distance(wanted, name, best);
        found = distance < best ? name : found;
        best = distance < best ? distance : best;
    }
    return found;
}

static bool strip(struct bf_checkpoint *c, const char *prefix, struct bf_error *error) {
    size_t length = strlen(prefix), count = 0;
    const char *dot = length && prefix[length - 1] == '.' ? "" : ".";
    const char *whole = bf_arena_printf(&c->arena, "%s%s", prefix, dot);
    length = strlen(whole);
    for (size_t i = 0; i < c->tensors.count; i++) {
        struct bf_checkpoint_tensor *tensor = &c->tensors.data[i];
        if (strncmp(tensor->name, whole, length) || !tensor->name[length])
            continue;
        tensor->name += length;
        tensor->touched = true;
        count++;
    }
    if (count)
        return true;
    const char *other = nearest(c, whole, true);
    return bf_fail(error, BF_ERROR_INPUT, "-weights-prefix '%s': no name begins so%s%s%s", whole,
                   other ? "; did you mean '" : "", other ? other : "", other ? "'?" : "");
}

static bool rename_all(struct bf_checkpoint *c, const char *rename, struct bf_error *error) {
    size_t count = 0;
    for (size_t i = 0; i < c->tensors.count; i++) {
        struct bf_checkpoint_tensor *tensor = &c->tensors.data[i];
        const char *name = bf_rename_apply(rename, tensor->name, &c->arena);
        if (!name)
            continue;
        tensor->name = name;
        tensor->touched = true;
        count++;
    }
    if (count)
        return true;
    const char *from = bf_arena_printf(&c->arena, "%.*s", (int)strcspn(rename, "="), rename);
    const char *other = strchr(from, '*') ? NULL : nearest(c, from, false);
    return bf_fail(error, BF_ERROR_INPUT, "-weights-rename '%s': no tensor is called '%s'%s%s%s",
                   rename, from, other ? "; did you mean '" : "", other ? other : "",
                   other ? "'?" : "");
}

bool bf_checkpoint_rename(struct bf_checkpoint *c, const char *prefix,
                          const struct bf_strings *renames, struct bf_error *error) {
    if (prefix && !strip(c, prefix, error))
        return false;
    for (size_t i = 0; i < renames->count; i++)
        if (!bf_rename_check(renames->data[i], error) || !rename_all(c, renames->data[i], error))
            return false;
    return true;
}
