#include "backend/encode.h"

#include <stdlib.h>

#include "ir/scaled.h"

/* Infinities among the fp16 words of a recipe: a weight above 65504. The ratios of a scaled
 * butterfly, whose swap bits look like large exponents, are at most 1. */
static bool finite(const struct bf_map *map, const struct bf_recipe *recipe, const uint16_t *words,
                   int64_t count) {
    if (recipe->plan >= 0 && bf_scaled_kernel(map->plans.data[recipe->plan]->kernel))
        return true;
    for (int64_t i = 0; i < count; i++)
        if ((words[i] & 0x7c00) == 0x7c00)
            return false;
    return true;
}

bool bf_encode(struct bf_map *map, const struct bf_weights *weights, struct bf_diags *diags) {
    struct bf_program *program = map->program;
    bool ok = true;
    bf_program_set_header(program, map->poly->name, &map->poly->header);
    program->rodata = bf_alloc(program->rodata_size);
    for (size_t r = 0; r < map->recipes.count && ok; r++) {
        const struct bf_recipe *recipe = &map->recipes.data[r];
        int64_t count = bf_recipe_words(recipe) * map->machine.lanes;
        uint16_t *out = bf_alloc((size_t)count * sizeof *out);
        ok = bf_recipe_evaluate(map, recipe, weights, out, diags);
        if (ok && !finite(map, recipe, out, count))
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
