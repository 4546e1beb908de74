/* alike.h - kernels whose code, plans and operands are those of an earlier kernel, moved. */
#ifndef BF_PASSES_ARRAY_ALIKE_H
#define BF_PASSES_ARRAY_ALIKE_H

#include "ir/map.h"

/* All plans of one kernel: map->plans[first .. end - 1]. */
struct bf_kernel_plans {
    size_t first, end;
    /* By plan and base register: which of the plan's areas its LOADs and STOREs touch through it;
     * BF_NO_AREA: none; empty if some register leads to several areas, or outside of them. */
    int8_t (*areas)[BF_BASES];
};
enum { BF_NO_AREA = -1 };

/* The plans of the kernel of map->plans[first]. */
struct bf_kernel_plans bf_kernel_plans_at(const struct bf_map *map, size_t first);
/* Fills `areas`; false, and leaves it NULL, if that can't be done. The caller frees it. */
bool bf_kernel_plans_areas(const struct bf_map *map, struct bf_kernel_plans *plans);
/* Whether every word that `b` moves and every value that it computes is that of `a`, with the
 * places of a's operands and weights exchanged for those of b's. `a` has areas. Code, plans,
 * statements, shapes and launches are compared; nothing is concluded from names. */
bool bf_kernel_plans_alike(const struct bf_map *map, const struct bf_kernel_plans *a,
                           const struct bf_kernel_plans *b);

#endif
