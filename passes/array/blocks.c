#include "passes/array/blocks.h"

int64_t bf_share_tiles(const struct bf_map *map, const struct bf_operand *operand) {
    uint64_t v = map->machine.lanes, rows = (uint64_t)operand->buffer->rows;
    uint64_t pitch = rows == 1 ? 1 : bf_round_up(rows, v);
    return (int64_t)bf_divide_up((uint64_t)operand->buffer->samples * pitch, v);
}

static int64_t largest_divisor(int64_t n, int64_t limit) {
    int64_t d = limit < n ? limit : n;
    while (n % d)
        d--;
    return d;
}

static int64_t buffer_words(const struct bf_map *map, const struct bf_operand *operand) {
    uint64_t width = bf_round_up((uint64_t)operand->buffer->cols, map->machine.lanes);
    return bf_share_tiles(map, operand) * (int64_t)width;
}

struct bf_share bf_share_of(const struct bf_map *map, const struct bf_poly_kernel *kernel,
                            int64_t first, int64_t blocks, int64_t words) {
    const struct bf_operand *x = &kernel->inputs.data[0], *y = &kernel->outputs.data[0];
    int64_t pes = bf_machine_pes(&map->machine), left = blocks - first, best = INT64_MAX;
    int64_t tiles = bf_share_tiles(map, x), spm = map->machine.spm_words;
    int64_t room = spm - buffer_words(map, x) - buffer_words(map, y);
    int64_t most = (room / 3 < spm / 8 ? room / 3 : spm / 8) / words;
    struct bf_share share = {.first = first};
    most = most > 1 ? most : 1;
    for (int64_t across = 1; across <= pes && across <= left && across <= most; across++) {
        int64_t groups = largest_divisor(tiles, pes / across);
        int64_t cost = (left + across - 1) / across * (tiles / groups);
        if (cost >= best)
            continue;
        best = cost;
        share.across = across;
        share.groups = groups;
    }
    /* Short shares let weights arrive while the one before runs. */
    share.rounds = spm / 8 / words / share.across;
    share.rounds = share.rounds > 1 ? share.rounds : 1;
    if (share.rounds > left / share.across)
        share.rounds = left / share.across;
    share.tile_rounds = tiles / share.groups;
    return share;
}

void bf_share_save(struct bf_map *map, struct bf_plan *plan, const struct bf_share *share) {
    bf_plan_set(map, plan, "first_block", share->first);
    bf_plan_set(map, plan, "across", share->across);
    bf_plan_set(map, plan, "rounds", share->rounds);
    bf_plan_set(map, plan, "groups", share->groups);
    bf_plan_set(map, plan, "tile_rounds", share->tile_rounds);
}

struct bf_share bf_share_load(const struct bf_plan *plan) {
    return (struct bf_share){
        bf_plan_int(plan, "first_block"), bf_plan_int(plan, "across"),
        bf_plan_int(plan, "rounds"),      bf_plan_int(plan, "groups"),
        bf_plan_int(plan, "tile_rounds"),
    };
}

bool bf_share_pe(const struct bf_share *share, unsigned pe, int64_t *block, int64_t *tile) {
    *block = pe % share->across;
    *tile = pe / share->across;
    return *tile < share->groups;
}

void bf_share_deltas(const int64_t trips[3], const int64_t strides[3], int32_t deltas[3]) {
    int64_t travel = 0;
    for (int l = 0; l < BF_LEVELS; l++) {
        deltas[l] = (int32_t)(trips[l] > 1 ? strides[l] - travel : 0);
        travel += (trips[l] - 1) * strides[l];
    }
}

int64_t bf_share_tile_words(const struct bf_map *map, const struct bf_operand *operand) {
    return map->places[operand->buffer->index].width;
}
