#include "passes/array/tiles.h"

static int64_t power_of_two_dividing(int64_t n, int64_t limit) {
    int64_t p = 1;
    while (p * 2 <= limit && n % (p * 2) == 0)
        p *= 2;
    return p;
}

int64_t bf_tiles_iterations(const struct bf_tiles *tiles) {
    return tiles->inner_rounds * tiles->outer_rounds;
}

/* Whether some group works in some iterations and not in others. */
static bool uneven(const struct bf_tiles *tiles) {
    return tiles->outer > tiles->outer_groups && tiles->outer % tiles->outer_groups != 0;
}

struct bf_tiles bf_tiles_assign(const struct bf_map *map, enum bf_lane_axis lanes,
                                const struct bf_operand *like, int64_t groups) {
    const struct bf_place_of_buffer *place = &map->places[like->buffer->index];
    int64_t v = map->machine.lanes;
    struct bf_tiles tiles;
    tiles.inner = lanes == BF_LANES_ROWS ? 1 : (int64_t)bf_divide_up((uint64_t)like->cols, v);
    tiles.outer = lanes == BF_LANES_ROWS ? place->height / v : like->buffer->samples;
    tiles.inner_groups = power_of_two_dividing(tiles.inner, groups);
    tiles.outer_groups = groups / tiles.inner_groups;
    tiles.inner_rounds = tiles.inner / tiles.inner_groups;
    for (;;) {
        tiles.outer_rounds =
            (int64_t)bf_divide_up((uint64_t)tiles.outer, (uint64_t)tiles.outer_groups);
        if (!uneven(&tiles) || bf_tiles_iterations(&tiles) <= BF_MAX_PERIOD)
            return tiles;
        tiles.outer_groups /= 2; /* ends at 1 at the latest: 1 divides everything */
    }
}

void bf_tiles_save(struct bf_map *map, struct bf_plan *plan, const struct bf_tiles *tiles) {
    bf_plan_set(map, plan, "inner", tiles->inner);
    bf_plan_set(map, plan, "outer", tiles->outer);
    bf_plan_set(map, plan, "inner_groups", tiles->inner_groups);
    bf_plan_set(map, plan, "outer_groups", tiles->outer_groups);
    bf_plan_set(map, plan, "inner_rounds", tiles->inner_rounds);
    bf_plan_set(map, plan, "outer_rounds", tiles->outer_rounds);
}

struct bf_tiles bf_tiles_load(const struct bf_plan *plan) {
    return (struct bf_tiles){
        bf_plan_int(plan, "inner"),        bf_plan_int(plan, "outer"),
        bf_plan_int(plan, "inner_groups"), bf_plan_int(plan, "outer_groups"),
        bf_plan_int(plan, "inner_rounds"), bf_plan_int(plan, "outer_rounds"),
    };
}

struct bf_tile_stride bf_tile_stride(const struct bf_map *map, enum bf_lane_axis lanes,
                                     const struct bf_operand *operand) {
    const struct bf_place_of_buffer *place = &map->places[operand->buffer->index];
    int64_t v = map->machine.lanes;
    if (lanes == BF_LANES_ROWS)
        return (struct bf_tile_stride){0, place->width};
    int64_t sample = operand->buffer->samples == 1 ? 0 : place->pitch / v * place->width;
    return (struct bf_tile_stride){v, sample};
}

int64_t bf_tile_offset(const struct bf_tiles *tiles, struct bf_tile_stride stride, int64_t group) {
    return group % tiles->inner_groups * stride.inner + group / tiles->inner_groups * stride.outer;
}

void bf_tile_deltas(const struct bf_tiles *tiles, struct bf_tile_stride stride, int32_t deltas[3]) {
    int64_t inner = tiles->inner_groups * stride.inner;
    int64_t outer = tiles->outer_groups * stride.outer;
    deltas[0] = (int32_t)(tiles->inner_rounds > 1 ? inner : 0);
    deltas[1] = (int32_t)(tiles->outer_rounds > 1 ? outer - (tiles->inner_rounds - 1) * inner : 0);
    deltas[2] = 0;
}

int64_t bf_tiles_present(const struct bf_tiles *tiles, int64_t group) {
    int64_t first = group / tiles->inner_groups;
    if (first >= tiles->outer || first >= tiles->outer_groups)
        return 0;
    int64_t rounds = (tiles->outer - first + tiles->outer_groups - 1) / tiles->outer_groups;
    return rounds * tiles->inner_rounds;
}

int64_t bf_tiles_period(const struct bf_tiles *tiles) {
    return uneven(tiles) ? bf_tiles_iterations(tiles) : 1;
}
