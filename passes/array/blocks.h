/* blocks.h - shares of kernels whose output falls into independent blocks of columns.
 *
 *              blocks ->
 *     tiles    0 1 2 | 0 1 2 | ..      a round of blocks: one a PE of a group
 *       |      0 1 2 | 0 1 2 |         the groups of PEs work on different tiles of rows
 *
 * A share is a plan: `rounds` x `across` blocks from `first` on, for all tiles. What is left over
 * when the blocks are no multiple of the PEs is a share of its own, spread in its own way.
 */
#ifndef BF_PASSES_ARRAY_BLOCKS_H
#define BF_PASSES_ARRAY_BLOCKS_H

#include "ir/map.h"

struct bf_share {
    int64_t first;               /* block */
    int64_t across, rounds;      /* blocks at the same time, and how often */
    int64_t groups, tile_rounds; /* tiles of rows at the same time, and how often */
};

/* Tiles of V rows that an operand has in all samples. */
int64_t bf_share_tiles(const struct bf_map *map, const struct bf_operand *operand);
/* The share of a kernel that begins with block `first` of `blocks`, in the fewest rounds. A block
 * has `words` words of weights: those of a share, which are in the scratchpad together with those
 * of the next, leave room for operands and more. */
struct bf_share bf_share_of(const struct bf_map *map, const struct bf_poly_kernel *kernel,
                            int64_t first, int64_t blocks, int64_t words);
/* As plan numbers ("first_block", "across", ...) and back. */
void bf_share_save(struct bf_map *map, struct bf_plan *plan, const struct bf_share *share);
struct bf_share bf_share_load(const struct bf_plan *plan);
/* Block (in the first round) and tile (in the first round) of a PE; false if it has no work. */
bool bf_share_pe(const struct bf_share *share, unsigned pe, int64_t *block, int64_t *tile);
/* What the iteration registers of a LOAD or STORE add, for a launch of these trips whose levels
 * advance the address by these strides. */
void bf_share_deltas(const int64_t trips[3], const int64_t strides[3], int32_t deltas[3]);
/* Words from one tile of rows to the next. */
int64_t bf_share_tile_words(const struct bf_map *map, const struct bf_operand *operand);

#endif
