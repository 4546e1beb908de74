/* transpose.c - swaps rows and columns. No PE computes: a tile of V x V elements is loaded column
 * by column and stored row by row, so that lanes change from rows to columns on the way.
 *
 *   x   | tile (r, c) | --LOAD, lanes along rows--> V words --STORE, lanes along columns--> y tile
 * (c, r)
 *
 * A job is a run of columns of a row of tiles of one sample; the jobs of a plan are a box of rows
 * of tiles, samples and runs, whose numbers are spread over PEs and counted by a level of the
 * launch each.
 *
 * Numbers of a plan: "columns" of a run, "first_column", and for each of tile, sample, run how many
 * at the same time ("tile_across") and how often ("tile_rounds").
 */
#include "passes/array/blocks.h"
#include "passes/array/family.h"
#include "passes/array/values.h"

enum { BASE_IN = 0, BASE_OUT = 2 };
enum { TILE = 0, SAMPLE, RUN, DIMS };
static const char *const across_names[] = {"tile_across", "sample_across", "run_across"};
static const char *const rounds_names[] = {"tile_rounds", "sample_rounds", "run_rounds"};

/* ---- divide: a plan for the runs of full length, one for the rest ---- */

/* Gives each number a divisor of itself, at most `pes` PEs in all, in the fewest rounds. */
static void spread(const int64_t count[DIMS], int64_t pes, int64_t across[DIMS]) {
    int64_t best = 0;
    for (int64_t t = 1; t <= pes && t <= count[TILE]; t++)
        for (int64_t s = 1; count[TILE] % t == 0 && t * s <= pes && s <= count[SAMPLE]; s++)
            for (int64_t r = 1; count[SAMPLE] % s == 0 && t * s * r <= pes && r <= count[RUN]; r++)
                if (count[RUN] % r == 0 && t * s * r > best) {
                    best = t * s * r;
                    across[TILE] = t;
                    across[SAMPLE] = s;
                    across[RUN] = r;
                }
}

static void add_plan(struct bf_map *map, struct bf_poly_kernel *kernel, int64_t first,
                     int64_t columns, int64_t runs) {
    const struct bf_operand *x = &kernel->inputs.data[0];
    int64_t v = map->machine.lanes, across[DIMS];
    int64_t count[DIMS] = {(x->rows + v - 1) / v, x->buffer->samples, runs};
    struct bf_plan *plan = bf_map_add_plan(map, kernel, first > 0);
    spread(count, bf_machine_pes(&map->machine), across);
    bf_plan_set(map, plan, "columns", columns);
    bf_plan_set(map, plan, "first_column", first);
    for (int d = 0; d < DIMS; d++) {
        bf_plan_set(map, plan, across_names[d], across[d]);
        bf_plan_set(map, plan, rounds_names[d], count[d] / across[d]);
    }
    *bf_push(&plan->inputs) = *x;
    *bf_push(&plan->outputs) = kernel->outputs.data[0];
}

/* Runs of whole tiles, as long as four fit the RAM; shorter ones if that gives more PEs work. */
static int64_t choose_columns(const struct bf_map *map, const struct bf_poly_kernel *kernel) {
    const struct bf_operand *x = &kernel->inputs.data[0];
    int64_t v = map->machine.lanes, pes = bf_machine_pes(&map->machine);
    int64_t most = map->machine.data_ram / 4 / v, tiles = (x->cols + v - 1) / v;
    int64_t jobs = (x->rows + v - 1) / v * x->buffer->samples;
    most = most < tiles ? most : tiles;
    while (most > 1 && jobs * (tiles / most) < pes)
        most--;
    return (most > 0 ? most : 1) * v;
}

static bool divide(struct bf_map *map, struct bf_poly_kernel *kernel, struct bf_diags *diags) {
    int64_t columns = choose_columns(map, kernel), all = kernel->inputs.data[0].cols;
    if (columns > map->machine.data_ram)
        return bf_diag_error(diags, kernel->loc,
                             "cannot map %s on '%s': a tile needs %lld words of data RAM, a PE has "
                             "%u",
                             kernel->what, map->machine.name, (long long)columns,
                             map->machine.data_ram);
    int64_t runs = all / columns, rest = all % columns;
    if (runs > 0)
        add_plan(map, kernel, 0, columns, runs);
    if (rest > 0)
        add_plan(map, kernel, runs * columns, rest, 1);
    return true;
}

/* ---- stream ---- */

static bool stream(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    (void)diags;
    int64_t iterations = 1, columns = bf_plan_int(plan, "columns");
    for (int d = 0; d < DIMS; d++)
        iterations *= bf_plan_int(plan, rounds_names[d]);
    plan->context_size = columns;
    plan->window = map->machine.data_ram / columns;
    plan->window = plan->window < map->machine.window ? plan->window : map->machine.window;
    plan->window = plan->window < iterations ? plan->window : iterations;
    bf_plan_add_region(map, plan, "x", 0, columns, true);
    return true;
}

/* ---- schedule ---- */

struct build {
    struct bf_map *map;
    struct bf_plan *plan;
    struct bf_code code;
    int64_t across[DIMS], rounds[DIMS], columns;
};

/* How far the numbers of a job move a LOAD or STORE. */
static void follow(const struct build *b, struct bf_descriptor *d, unsigned pe,
                   const int64_t strides[DIMS]) {
    int64_t steps[DIMS], left = pe, at = 0;
    for (int i = 0; i < DIMS; i++) {
        at += left % b->across[i] * strides[i];
        left /= b->across[i];
        steps[i] = b->across[i] * strides[i];
    }
    d->mem.spm += (uint32_t)at;
    bf_share_deltas(b->rounds, steps, d->mem.iteration_delta);
}

static int64_t sample_words(const struct build *b, const struct bf_operand *operand) {
    const struct bf_place_of_buffer *place = &b->map->places[operand->buffer->index];
    return place->pitch / b->map->machine.lanes * place->width;
}

static void load_columns(struct build *b, unsigned pe, uint8_t targets[2]) {
    const struct bf_operand *x = &b->plan->inputs.data[0];
    struct bf_descriptor d = bf_descriptor_new(BF_UNIT_LOAD);
    d.trips[0] = (uint16_t)b->columns;
    d.target[0] = targets[0];
    d.target[1] = targets[1];
    d.mem.relative = true;
    d.mem.ram_delta[0] = d.mem.spm_delta[0] = b->columns > 1;
    d.mem.base = BASE_IN;
    follow(b, &d, pe, (int64_t[]){bf_share_tile_words(b->map, x), sample_words(b, x), b->columns});
    bf_code_block(&b->code, UINT64_C(1) << pe, BF_FIRST_LOAD, "load columns", &d);
}

/* `tiles` tiles of `columns` columns, the first at word `ram`: rows of y. */
static void store_rows(struct build *b, unsigned pe, unsigned id, int64_t ram, int64_t columns,
                       int64_t tiles) {
    const struct bf_operand *y = &b->plan->outputs.data[0];
    struct bf_descriptor d = bf_descriptor_new(BF_UNIT_STORE);
    int64_t v = b->map->machine.lanes, width = bf_share_tile_words(b->map, y), deltas[BF_LEVELS];
    d.need = 1;
    d.trips[0] = (uint16_t)columns;
    d.trips[1] = (uint16_t)tiles;
    bf_deltas(d.trips, (int64_t[]){1, v, 0}, deltas);
    for (int l = 0; l < BF_LEVELS; l++)
        d.mem.ram_delta[l] = (int16_t)deltas[l];
    bf_deltas(d.trips, (int64_t[]){1, width, 0}, deltas);
    for (int l = 0; l < BF_LEVELS; l++)
        d.mem.spm_delta[l] = (int32_t)deltas[l];
    d.mem.row = d.mem.relative = true;
    d.mem.ram = (uint16_t)ram;
    d.mem.base = BASE_OUT;
    d.mem.spm = (uint32_t)(ram / v * width);
    follow(b, &d, pe, (int64_t[]){v, sample_words(b, y), b->columns / v * width});
    bf_code_block(&b->code, UINT64_C(1) << pe, id, "store rows", &d);
}

static void pe_blocks(struct build *b, unsigned pe) {
    int64_t v = b->map->machine.lanes, whole = b->columns / v, rest = b->columns % v;
    uint8_t targets[2] = {BF_NO_BLOCK, BF_NO_BLOCK};
    int count = 0;
    if (whole)
        targets[count++] = BF_FIRST_STORE;
    if (rest)
        targets[count] = BF_FIRST_STORE + 1;
    load_columns(b, pe, targets);
    if (whole)
        store_rows(b, pe, BF_FIRST_STORE, 0, v, whole);
    if (rest)
        store_rows(b, pe, BF_FIRST_STORE + 1, whole * v, rest, 1);
}

static bool schedule(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    struct build b = {.map = map, .plan = plan, .columns = bf_plan_int(plan, "columns")};
    unsigned pes = 1;
    for (int d = 0; d < DIMS; d++) {
        b.across[d] = bf_plan_int(plan, across_names[d]);
        b.rounds[d] = bf_plan_int(plan, rounds_names[d]);
        pes *= (unsigned)b.across[d];
    }
    bf_code_begin(&b.code, map, plan);
    for (unsigned pe = 0; pe < pes; pe++)
        pe_blocks(&b, pe);
    struct bf_launch launch = {
        .window = (uint8_t)plan->window,
        .context_size = (uint16_t)plan->context_size,
        .period = 1,
        .group_level = 3,
        .trips = {(uint32_t)b.rounds[0], (uint32_t)b.rounds[1], (uint32_t)b.rounds[2]}};
    int64_t first = bf_plan_int(plan, "first_column");
    launch.base[BASE_IN] = (uint32_t)bf_map_column_word(map, &plan->inputs.data[0], 0, 0, first);
    launch.base[BASE_OUT] = (uint32_t)bf_map_row_word(map, &plan->outputs.data[0], 0, first, 0);
    return bf_code_finish(&b.code, &launch, diags);
}

static bool verify(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    return !bf_values_first(map, plan) || bf_values_verify_transpose(map, plan, diags);
}

const struct bf_family bf_family_transpose = {divide, NULL, NULL, stream, schedule, verify};
