/* pack_dense.h - constant matrices in the order in which generated code reads them.
 *
 * A dense product's weight [out, in] becomes panels of `wide` outputs (the last may be narrower):
 *
 *     bias of the panel's outputs, then for each input k: weight[o, k] of the panel's outputs o
 *
 * so that a panel is one run of (in + 1) x wide floats. Outputs beyond the last are zero, which
 * makes every load a whole vector.
 */
#ifndef BF_HOST_PACK_DENSE_H
#define BF_HOST_PACK_DENSE_H

#include "ir/host.h"

struct bf_panels {
    int64_t inputs, outputs;
    int64_t wide;   /* outputs of a full panel: a multiple of lanes */
    int64_t full;   /* full panels */
    int64_t narrow; /* outputs of the last panel, rounded up to lanes; 0: none */
};
struct bf_panels bf_panels(int64_t inputs, int64_t outputs, int64_t vectors, int64_t lanes);
int64_t bf_panels_size(const struct bf_panels *panels); /* floats */
/* Floats from the start of the pack to that of a panel; full panels come first. */
int64_t bf_panel_offset(const struct bf_panels *panels, int64_t panel);

/* `fill` of a pack of params weight [out, in] and bias [out], if there is one. Reads the choice's
 * params "vectors" and "lanes". */
void bf_pack_dense(const struct bf_host_pack *pack, const struct bf_weights *values, void *out);
/* A block-diagonal product's weight [blocks, out, in] has `lanes` blocks side by side in a vector.
 * For each vector of blocks, for each group of `group` outputs (the last may be smaller):
 *
 *     bias of the group's outputs, then for each input k: weight[b, o, k] of the group's outputs o
 */
struct bf_block_groups {
    int64_t blocks, outputs, inputs;
    int64_t lanes, group;
};
int64_t bf_block_groups_size(const struct bf_block_groups *groups); /* floats */
/* Floats from the start of a vector of blocks to the next; from group to group. */
int64_t bf_block_groups_stride(const struct bf_block_groups *groups);
int64_t bf_block_group_stride(const struct bf_block_groups *groups);

/* `fill` of such a pack. Reads "lanes" and "group". */
void bf_pack_block_dense(const struct bf_host_pack *pack, const struct bf_weights *values,
                         void *out);

#endif
