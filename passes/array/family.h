/* family.h - what each family of kernels supplies to the map passes. One file (or two) a family:
 * stages.c (butterfly, fft), dense.c, rows.c, attention.c, block_dense.c, block_butterfly.c,
 * transpose.c. */
#ifndef BF_PASSES_ARRAY_FAMILY_H
#define BF_PASSES_ARRAY_FAMILY_H

#include "ir/map.h"

struct bf_family {
    /* Adds the plans of a kernel (bf_map_add_plan), with their statements, operands and new TEMP
     * buffers; or refuses with the resource, the need and the limit, at the kernel's place. */
    bool (*divide)(struct bf_map *map, struct bf_poly_kernel *kernel, struct bf_diags *diags);
    /* Each fills its part of one plan; the plan's operands have pitch, width and height by then. */
    bool (*tile)(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags);
    bool (*partition)(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags);
    bool (*stream)(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags);
    /* Emits blocks, bodies, the launch, and (stream or schedule) the recipe; addresses are final.
     */
    bool (*schedule)(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags);
    /* The value check: every dependence of the plan's statements has a carrier in the emitted code.
     */
    bool (*verify)(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags);
};

extern const struct bf_family bf_family_butterfly, bf_family_fft, bf_family_dense, bf_family_rows,
    bf_family_attention, bf_family_block_dense, bf_family_block_butterfly, bf_family_transpose;

/* NULL for COPY kernels, which are DMA alone. */
const struct bf_family *bf_family_of(enum bf_kernel_kind kind);

#endif
