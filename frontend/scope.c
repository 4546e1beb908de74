/* scope.c - names of a block instance, and label paths of the whole network. */
#include "frontend/sema.h"

#include <stdlib.h>

struct fe_binding *fe_find(struct fe_frame *frame, const char *name) {
    for (size_t i = 0; frame && i < frame->bindings.count; i++)
        if (!strcmp(frame->bindings.data[i].name, name))
            return &frame->bindings.data[i];
    return NULL;
}

void fe_bind(struct fe_frame *frame, const char *name, struct fe_value value, struct ast_span span,
             bool constant) {
    struct fe_binding *binding = fe_find(frame, name);
    if (!binding)
        binding = bf_push(&frame->bindings);
    *binding = (struct fe_binding){name, value, span, constant, true};
}

struct fe_path_entry {
    const char *path; /* NULL: free */
    struct ast_span span;
};

static struct fe_path_entry *slot_of(struct fe_paths *paths, const char *path) {
    size_t mask = paths->capacity - 1;
    size_t i = (size_t)bf_hash(BF_HASH_START, path, strlen(path)) & mask;
    while (paths->entries[i].path && strcmp(paths->entries[i].path, path))
        i = (i + 1) & mask;
    return &paths->entries[i];
}

static void enlarge(struct fe_paths *paths) {
    struct fe_paths larger = {.count = paths->count,
                              .capacity = paths->capacity ? 2 * paths->capacity : 256};
    larger.entries = bf_alloc(larger.capacity * sizeof *larger.entries);
    for (size_t i = 0; i < paths->capacity; i++)
        if (paths->entries[i].path)
            *slot_of(&larger, paths->entries[i].path) = paths->entries[i];
    free(paths->entries);
    *paths = larger;
}

const struct ast_span *fe_path_claim(struct fe_paths *paths, const char *path,
                                     struct ast_span span) {
    if (2 * paths->count >= paths->capacity)
        enlarge(paths);
    struct fe_path_entry *slot = slot_of(paths, path);
    if (slot->path)
        return &slot->span;
    *slot = (struct fe_path_entry){path, span};
    paths->count++;
    return NULL;
}

void fe_paths_free(struct fe_paths *paths) {
    free(paths->entries);
}
