/* stages.h - the family of butterflies and FFTs, split by pass. */
#ifndef BF_PASSES_ARRAY_STAGES_H
#define BF_PASSES_ARRAY_STAGES_H

#include "passes/array/family.h"
#include "passes/array/tiles.h"

/* What the plans of a kernel are made of. Digit d<k> is digit top + m - 1 - k of the kernel; those
 * of radix 2 are the last ones, d<m-twos> .. d<m-1>. */
struct bf_stages_shape {
    const struct bf_poly_kernel *kernel;
    int top, m, twos;
    int last;          /* last stage; statement 0 loads, last + 1 stores */
    int before, after; /* stages without a digit before the first, after the last one */
    int64_t n, planes; /* planes: 2 if complex */
    int64_t buffers;   /* regions a segment: 2 where stages can't work in place */
};
struct bf_stages_shape bf_stages_shape_of(const struct bf_poly_kernel *kernel);
/* Number k of the digit d<k> that a stage acts along; radix of d<k>. */
int bf_stages_acted(const struct bf_stages_shape *shape, int stmt);
int64_t bf_stages_radix(const struct bf_stages_shape *shape, int k);

/* The radix-2 digits that lie on PEs (a mask over k) at first, and after an exchange, when g of
 * them are spread: the highest or the lowest ones. */
uint64_t bf_stages_first_pes(const struct bf_stages_shape *shape, int g);
uint64_t bf_stages_next_pes(const struct bf_stages_shape *shape, int g, uint64_t pe);

/* Regions a segment of a kernel has: the second one is where stages that can't work in place put
 * their results, and the other way round. */
int64_t bf_stages_buffers(const struct bf_poly_kernel *kernel);
/* Whether a stage works in place. */
bool bf_stages_in_place(const struct bf_poly_kernel *kernel, int stmt);
/* Butterflies a body; CAL words of the stages first .. last; weight lanes that can be addressed. */
int64_t bf_stages_unroll(const struct bf_machine *machine);
int64_t bf_stages_code_needed(const struct bf_machine *machine, const struct bf_stages_shape *shape,
                              int first, int last);
int64_t bf_stages_lanes_limit(const struct bf_machine *machine);

/* Whether the PEs of a field have elements: not all do where a set is not full. */
bool bf_stages_present(const struct bf_plan *plan, unsigned field);
/* Adds a plan with its numbers and without operands. */
struct bf_plan *bf_stages_add_plan(struct bf_map *map, struct bf_poly_kernel *kernel, int64_t stack,
                                   int64_t set, int64_t g, int64_t words);
/* An FFT in passes through the scratchpad (stages_passes.c). False if it cannot be divided. */
enum { BF_MAX_PASS_DIGITS = 32 };
struct bf_stages_passes {
    int count, ends[BF_MAX_PASS_DIGITS]; /* pass p ends with digit d<ends[p]> */
    bool pack_input, pack_output;
};
bool bf_stages_choose_passes(const struct bf_map *map, const struct bf_stages_shape *shape,
                             struct bf_stages_passes *passes);
void bf_stages_add_passes(struct bf_map *map, struct bf_poly_kernel *kernel,
                          const struct bf_stages_shape *shape,
                          const struct bf_stages_passes *passes);

/* Words of a PE that one LOAD or STORE block moves: loops over words of the region (near) and of
 * the scratchpad (far). */
struct bf_stages_piece {
    int64_t word, far; /* first ones; far from the operand's element 0 on */
    int levels;
    int64_t trips[BF_LEVELS], near_stride[BF_LEVELS], far_stride[BF_LEVELS];
    uint8_t reverse;
};
enum { BF_MOST_LOADS = 6, BF_MOST_STORES = 4 }; /* pieces a plane */
/* The pieces of a plane's words that lie inside the operand, for the PEs whose field is `field`;
 * -1 if more than `most` are needed. */
int bf_stages_pieces(const struct bf_map *map, const struct bf_plan *plan, unsigned field,
                     const struct bf_operand *operand, enum bf_role role,
                     struct bf_stages_piece *pieces, int most);
/* How many words of a PE lie inside: they come first. */
int64_t bf_stages_inside(const struct bf_plan *plan, unsigned field,
                         const struct bf_operand *operand, enum bf_role role);
/* As bf_tile_stride, for the buffers between the passes of a kernel too. */
struct bf_tile_stride bf_stages_tile_stride(const struct bf_map *map, const struct bf_plan *plan,
                                            const struct bf_operand *operand);

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

/* Whether numbers, layouts, notes and recipe fit each other (stages_check.c); reports. */
bool bf_stages_check(const struct bf_map *map, const struct bf_plan *plan, struct bf_diags *diags);
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
