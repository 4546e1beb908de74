#include "backend/encode.h"

#include <stdlib.h>

static void copy_header(struct bf_map *map) {
    const struct bf_header *header = &map->poly->header;
    struct bf_program *program = map->program;
    program->network = bf_strdup(map->poly->name);
    program->batch = (uint32_t)header->batch;
    program->optimize = (uint8_t)header->opt;
    program->resident = header->resident;
    program->weights_hash = header->bound ? header->weights_hash : 0;
    program->file_count = header->file_count;
    program->files = bf_alloc(header->file_count * sizeof *program->files);
    for (size_t i = 0; i < header->file_count; i++)
        program->files[i] = bf_strdup(header->files[i]);
}

/* Infinities among the fp16 words of a recipe: a weight above 65504. */
static bool finite(const uint16_t *words, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if ((words[i] & 0x7c00) == 0x7c00)
            return false;
    return true;
}

bool bf_encode(struct bf_map *map, const struct bf_weights *weights, struct bf_diags *diags) {
    struct bf_program *program = map->program;
    bool ok = true;
    copy_header(map);
    program->rodata = bf_alloc(program->rodata_size);
    for (size_t r = 0; r < map->recipes.count && ok; r++) {
        const struct bf_recipe *recipe = &map->recipes.data[r];
        int64_t count = bf_recipe_words(recipe) * map->machine.lanes;
        uint16_t *out = bf_alloc((size_t)count * sizeof *out);
        ok = bf_recipe_evaluate(map, recipe, weights, out, diags);
        if (ok && !finite(out, count))
            bf_diag(diags, BF_WARNING, (struct bf_loc){0}, 0, 0,
                    "weights of '%s' are infinite, not a number, or above the largest fp16 (65504)",
                    recipe->name);
        for (int64_t i = 0; i < count; i++) { /* little-endian on any host */
            program->rodata[recipe->rodata + 2 * (uint64_t)i] = (uint8_t)out[i];
            program->rodata[recipe->rodata + 2 * (uint64_t)i + 1] = (uint8_t)(out[i] >> 8);
        }
        free(out);
    }
    return ok;
}
