/* encode.h - the last step of the compiler: a map and its weights become a complete program. */
#ifndef BF_BACKEND_ENCODE_H
#define BF_BACKEND_ENCODE_H

#include "ir/recipe.h"

/* Evaluates the recipes into the rodata of map->program and completes its header fields. `weights`
 * holds every parameter the map names. Reports weights that overflow fp16. */
bool bf_encode(struct bf_map *map, const struct bf_weights *weights, struct bf_diags *diags);

#endif
