/* tiles.h - which PEs work on which tiles of lanes, and when.
 *
 * The lanes of a kernel come in tiles of V. Tiles are counted by two numbers, inner and outer,
 * whose scratchpad addresses each advance by a constant:
 *
 *   lanes along rows     inner: 1               outer: row tiles of all samples
 *   lanes along columns  inner: column tiles    outer: samples
 *
 * The PEs form `groups` groups that work on different tiles at the same time; the iteration counter
 * runs over inner rounds (level 0), then outer rounds (level 1). Where the outer count is no
 * multiple of the groups, the groups left over are absent in the last outer round.
 */
#ifndef BF_PASSES_ARRAY_TILES_H
#define BF_PASSES_ARRAY_TILES_H

#include "ir/map.h"

struct bf_tiles {
    int64_t inner, outer;               /* how many tiles */
    int64_t inner_groups, outer_groups; /* how many at the same time: powers of two */
    int64_t inner_rounds, outer_rounds;
};

/* For a kernel with operand `like`, on at most `groups` groups (a power of two). */
struct bf_tiles bf_tiles_assign(const struct bf_map *map, enum bf_lane_axis lanes,
                                const struct bf_operand *like, int64_t groups);
/* As plan numbers ("inner", "outer", ...) and back. */
void bf_tiles_save(struct bf_map *map, struct bf_plan *plan, const struct bf_tiles *tiles);
struct bf_tiles bf_tiles_load(const struct bf_plan *plan);

/* How far tile (inner 1 or outer 1) is from tile 0 in an operand's buffer, in words. */
struct bf_tile_stride {
    int64_t inner, outer;
};
struct bf_tile_stride bf_tile_stride(const struct bf_map *map, enum bf_lane_axis lanes,
                                     const struct bf_operand *operand);
/* Word offset of a group's first tile. */
int64_t bf_tile_offset(const struct bf_tiles *tiles, struct bf_tile_stride stride, int64_t group);
/* Iteration deltas of a LOAD or STORE that follows the tiles. */
void bf_tile_deltas(const struct bf_tiles *tiles, struct bf_tile_stride stride, int32_t deltas[3]);

int64_t bf_tiles_iterations(const struct bf_tiles *tiles);
/* How many iterations, from the first on, a group has work in. */
int64_t bf_tiles_present(const struct bf_tiles *tiles, int64_t group);
/* The kernel's period: 1 if every group is always present (or never), else all iterations. */
int64_t bf_tiles_period(const struct bf_tiles *tiles);

#endif
