/* stages.h - the family of butterflies and FFTs, split by pass. */
#ifndef BF_PASSES_ARRAY_STAGES_H
#define BF_PASSES_ARRAY_STAGES_H

#include "passes/array/family.h"

bool bf_stages_divide(struct bf_map *map, struct bf_poly_kernel *kernel, struct bf_diags *diags);
bool bf_stages_tile(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags);
bool bf_stages_partition(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags);
bool bf_stages_stream(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags);
bool bf_stages_schedule(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags);
bool bf_stages_verify(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags);

/* The body of a stage (stages_body.c): CAL instructions of its unrolled butterflies, and how
 * many. `from` and `to` are the words of its source and result regions. */
unsigned bf_stages_body(const struct bf_plan *plan, int stmt, int64_t from, int64_t to,
                        struct bf_cal body[BF_MAX_BODY]);

/* The plain half of the value check (stages_values.c): which weights a stage's block uses, and
 * where LOAD and STORE meet the scratchpad. */
bool bf_stages_check_products(struct bf_map *map, struct bf_plan *plan,
                              const struct bf_block_note *note, const struct bf_block *block,
                              struct bf_diags *diags);
bool bf_stages_check_memory(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags);
/* "element 5 (d2=1 d1=0 d0=1), word 1 of PE 2": what lies there in a layout. */
void bf_stages_add_element(const struct bf_plan *plan, const struct bf_layout *layout, unsigned pe,
                           int64_t word, struct bf_text *text);

#endif
