/* block_cycles.c - when blocks ran. See block_cycles.h; docs/profile.md describes the file. */
#include "frontend/driver/block_cycles.h"

#include <jansson.h>
#include <stdlib.h>

struct bf_block_cycles {
    json_t *root;
};

static int64_t integer(const json_t *array, size_t index) {
    return json_integer_value(json_array_get(array, index));
}

struct bf_block_cycles *bf_cycles_read(const struct bf_program *program, const char *path,
                                       struct bf_error *error) {
    size_t size;
    char *text = bf_read_file(path, &size, error);
    if (!text)
        return NULL;
    json_error_t reason;
    json_t *root = json_loadb(text, size, 0, &reason);
    free(text);
    const json_t *kernels = json_object_get(root, "kernels");
    const char *network = json_string_value(json_object_get(root, "network"));
    bool profile = json_object_get(root, "profile");
    if (!profile || !network || strcmp(network, program->network) ||
        json_array_size(kernels) != program->kernel_count) {
        bf_fail(error, BF_ERROR_INPUT,
                profile ? "%s is the profile of another program%s%s"
                        : "%s is not what bfrun -profile writes%s%s",
                path, root ? "" : ": ", root ? "" : reason.text);
        json_decref(root);
        return NULL;
    }
    struct bf_block_cycles *cycles = bf_alloc(sizeof *cycles);
    cycles->root = root;
    return cycles;
}

void bf_cycles_free(struct bf_block_cycles *cycles) {
    if (cycles)
        json_decref(cycles->root);
    free(cycles);
}

/* The block of the profile: blocks that differ only in their PEs are one there. */
static const json_t *find_block(const json_t *blocks, const struct bf_block *block, size_t *index) {
    const json_t *found = NULL;
    for (size_t i = 0; i < json_array_size(blocks) && !found; i++) {
        const json_t *at = json_array_get(blocks, i);
        const char *name = json_string_value(json_object_get(at, "name"));
        if (json_integer_value(json_object_get(at, "id")) == block->id && name &&
            !strcmp(name, block->name)) {
            found = at;
            *index = i;
        }
    }
    return found;
}

void bf_cycles_add(const struct bf_block_cycles *cycles, size_t k, const struct bf_block *block,
                   struct bf_text *out) {
    const json_t *kernel = json_array_get(json_object_get(cycles->root, "kernels"), k);
    size_t index = 0;
    const json_t *found = find_block(json_object_get(kernel, "blocks"), block, &index);
    if (!found) {
        bf_text_add(out, ", did not run");
        return;
    }
    bf_text_printf(out, ", held its unit for %lld PE-cycles",
                   (long long)json_integer_value(json_object_get(found, "held")));
    const json_t *detail = json_object_get(kernel, "detail");
    const json_t *slices = json_object_get(detail, "slices");
    int64_t first = INT64_MAX, last = 0;
    for (size_t i = 0; i + 4 < json_array_size(slices); i += 5) {
        if (integer(slices, i + 1) != (int64_t)index)
            continue;
        int64_t begin = integer(slices, i + 2), end = begin + integer(slices, i + 3);
        first = begin < first ? begin : first;
        last = end > last ? end : last;
    }
    if (!last)
        return;
    int64_t launch = json_integer_value(json_object_get(detail, "launch"));
    const json_t *when = json_array_get(json_object_get(cycles->root, "launches"), (size_t)launch);
    bf_text_printf(out, ", in launch %lld in cycles %lld-%lld", (long long)launch,
                   (long long)(integer(when, 1) + first), (long long)(integer(when, 1) + last - 1));
}

static int more_first(const void *a, const void *b) {
    const struct bf_line_cycles *x = a, *y = b;
    if (x->cycles != y->cycles)
        return x->cycles < y->cycles ? 1 : -1;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

struct bf_line_cycles *bf_cycles_of_lines(const struct bf_block_cycles *cycles, size_t *count) {
    const json_t *lines = json_object_get(cycles->root, "lines");
    struct bf_line_cycles *result = bf_alloc(json_array_size(lines) * sizeof *result);
    *count = json_array_size(lines);
    for (size_t i = 0; i < *count; i++) {
        const json_t *line = json_array_get(lines, i);
        result[i] = (struct bf_line_cycles){(uint32_t)integer(line, 0), (uint32_t)integer(line, 1),
                                            (uint64_t)integer(line, 2)};
    }
    qsort(result, *count, sizeof *result, more_first);
    return result;
}
