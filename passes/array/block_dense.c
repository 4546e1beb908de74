/* block_dense.c - products with a block-diagonal matrix, whose results are dealt out over the
 * blocks.
 *
 * Lanes are rows. A PE takes one block and `unroll` of its outputs at a time, one accumulator each,
 * and runs all tiles of rows with the same weights before it goes on.
 *
 *   iteration = (tile, outputs, block):  LOAD x -> acc = x[0] w[0]; acc += x[k] w[k] .. ;
 *                                        y = acc x scale + bias -> STORE
 *
 * The kernel is strict: accumulators live from the first column to the last. scale is 2^k where x
 * is stored shifted by k.
 *
 * Numbers of a plan: "unroll", "first_output", "output_groups" of `unroll` outputs, the share of
 * blocks.
 */
#include <stdlib.h>

#include "passes/array/blocks.h"
#include "passes/array/family.h"
#include "passes/array/values.h"

enum { BASE_IN = 0, BASE_OUT = 2, BASE_WEIGHTS = 4 };
enum { DATA = 0, WEIGHT = 3 };
enum { FIRST_COLUMN = 0, COLUMNS, FINISH };
enum { LOAD_X = BF_FIRST_LOAD, LOAD_WEIGHTS = BF_FIRST_FLOW - 1 };

/* ---- divide: a plan a share of blocks and a run of equally many outputs ---- */

static int64_t columns_in(const struct bf_poly_kernel *kernel) {
    return kernel->inputs.data[0].cols / bf_ints_get(&kernel->attrs, "blocks");
}

static int64_t columns_out(const struct bf_poly_kernel *kernel) {
    return kernel->outputs.data[0].cols / bf_ints_get(&kernel->attrs, "blocks");
}

/* Word 0 holds the scale and the biases. */
static int64_t weight_words(const struct bf_map *map, int64_t columns, int64_t unroll) {
    return 1 + (int64_t)bf_divide_up((uint64_t)(columns * unroll), map->machine.lanes);
}

static int64_t choose_unroll(const struct bf_map *map, const struct bf_poly_kernel *kernel) {
    const struct bf_machine *machine = &map->machine;
    int64_t outputs = columns_out(kernel), columns = columns_in(kernel);
    int64_t most = machine->accumulators < 8 ? machine->accumulators : 8;
    most = most < (int64_t)machine->lanes - 1 ? most : (int64_t)machine->lanes - 1;
    while (most > 1 && (weight_words(map, columns, most) > machine->weight_half ||
                        columns + most > machine->data_ram))
        most--;
    int64_t groups = (outputs + most - 1) / most;
    return (outputs + groups - 1) / groups;
}

static bool fits(const struct bf_map *map, const struct bf_poly_kernel *kernel,
                 struct bf_diags *diags) {
    const struct bf_machine *machine = &map->machine;
    int64_t columns = columns_in(kernel), words = weight_words(map, columns, 1);
    if (words > machine->weight_half)
        return bf_diag_error(diags, kernel->loc,
                             "cannot map %s on '%s': blocks of %lld columns need %lld words of "
                             "weight RAM, half of it has %u",
                             kernel->what, machine->name, (long long)columns, (long long)words,
                             machine->weight_half);
    if (columns + 1 > machine->data_ram || columns > BF_MAX_TRIPS)
        return bf_diag_error(
            diags, kernel->loc,
            "cannot map %s on '%s': blocks of %lld columns need %lld words of data "
            "RAM, a PE has %u",
            kernel->what, machine->name, (long long)columns, (long long)columns + 1,
            machine->data_ram);
    return true;
}

static void add_plan(struct bf_map *map, struct bf_poly_kernel *kernel,
                     const struct bf_share *share, int64_t first_output, int64_t unroll,
                     int64_t groups, int *part) {
    struct bf_plan *plan = bf_map_add_plan(map, kernel, (*part)++);
    bf_share_save(map, plan, share);
    bf_plan_set(map, plan, "unroll", unroll);
    bf_plan_set(map, plan, "first_output", first_output);
    bf_plan_set(map, plan, "output_groups", groups);
    *bf_push(&plan->inputs) = kernel->inputs.data[0];
    *bf_push(&plan->outputs) = kernel->outputs.data[0];
}

static bool divide(struct bf_map *map, struct bf_poly_kernel *kernel, struct bf_diags *diags) {
    if (!fits(map, kernel, diags))
        return false;
    int64_t blocks = bf_ints_get(&kernel->attrs, "blocks"), outputs = columns_out(kernel);
    int64_t unroll = choose_unroll(map, kernel), groups = outputs / unroll;
    int64_t words = groups * weight_words(map, columns_in(kernel), unroll);
    int part = 0;
    for (int64_t first = 0; first < blocks;) {
        struct bf_share share = bf_share_of(map, kernel, first, blocks, words);
        add_plan(map, kernel, &share, 0, unroll, groups, &part);
        if (outputs % unroll)
            add_plan(map, kernel, &share, groups * unroll, outputs % unroll, 1, &part);
        first += share.rounds * share.across;
    }
    return true;
}

/* ---- stream ---- */

static bool stream(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    (void)diags;
    const struct bf_machine *machine = &map->machine;
    struct bf_share share = bf_share_load(plan);
    int64_t unroll = bf_plan_int(plan, "unroll"), groups = bf_plan_int(plan, "output_groups");
    int64_t columns = columns_in(plan->kernel);
    int64_t iterations = share.tile_rounds * share.rounds * groups;
    plan->context_size = columns + unroll;
    plan->window = machine->data_ram / plan->context_size;
    plan->window = plan->window < machine->window ? plan->window : machine->window;
    plan->window = plan->window < iterations ? plan->window : iterations;
    bf_plan_add_region(map, plan, "x", 0, columns, true);
    bf_plan_add_region(map, plan, "y", columns, unroll, true);
    plan->recipe = bf_map_add_recipe(map, "block_dense", plan, share.rounds * groups, share.across,
                                     weight_words(map, columns, unroll));
    return true;
}

/* ---- schedule ---- */

struct build {
    struct bf_map *map;
    struct bf_plan *plan;
    struct bf_code code;
    struct bf_share share;
    int64_t blocks, columns, unroll, groups;
    int64_t trips[BF_LEVELS]; /* tiles, groups of outputs, blocks */
    int64_t block, tile;      /* of the PE */
    unsigned pe;
};

static void add_block(struct build *b, unsigned id, const char *name,
                      const struct bf_descriptor *d) {
    bf_code_block(&b->code, UINT64_C(1) << b->pe, id, name, d);
}

static void load_x(struct build *b) {
    struct bf_descriptor d = bf_descriptor_new(BF_UNIT_LOAD);
    int64_t tile = bf_share_tile_words(b->map, &b->plan->inputs.data[0]);
    d.trips[0] = (uint16_t)b->columns;
    d.target[0] = FIRST_COLUMN;
    d.mem.relative = true;
    d.mem.ram_delta[0] = d.mem.spm_delta[0] = b->columns > 1;
    d.mem.base = BASE_IN;
    d.mem.spm = (uint32_t)(b->tile * tile + b->block * b->columns);
    bf_share_deltas(b->trips, (int64_t[]){b->share.groups * tile, 0, b->share.across * b->columns},
                    d.mem.iteration_delta);
    add_block(b, LOAD_X, "load x", &d);
}

static void load_weights(struct build *b) {
    const struct bf_recipe *recipe = &b->map->recipes.data[b->plan->recipe];
    struct bf_descriptor d = bf_descriptor_new(BF_UNIT_LOAD);
    int64_t set = recipe->pes * recipe->words;
    d.trips[0] = (uint16_t)recipe->words;
    d.mem.weights = d.mem.row = true;
    d.mem.ram_delta[0] = d.mem.spm_delta[0] = recipe->words > 1;
    d.mem.spm = (uint32_t)(b->block * recipe->words);
    d.mem.base = BASE_WEIGHTS;
    bf_share_deltas(b->trips, (int64_t[]){0, set, b->groups * set}, d.mem.iteration_delta);
    add_block(b, LOAD_WEIGHTS, "load weights", &d);
}

static void cal_block(struct build *b, unsigned id, const char *name, const struct bf_cal *body,
                      struct bf_descriptor *d) {
    d->cal.length = (uint8_t)b->unroll;
    d->cal.start = (uint8_t)bf_code_body(&b->code, body, (unsigned)b->unroll);
    d->cal.relative = 1 << DATA;
    d->cal.uses_weights = true;
    add_block(b, id, name, d);
}

/* acc[u] = x[column] w[u][column], or += for the columns after the first. */
static void columns(struct build *b, unsigned id, int64_t column, int64_t count, uint16_t need) {
    struct bf_cal body[BF_MAX_BODY];
    int64_t lane = b->map->machine.lanes + column * b->unroll;
    if (count < 1)
        return;
    for (int64_t u = 0; u < b->unroll; u++)
        body[u] = (struct bf_cal){
            .op = BF_CAL_FMA,
            .dst = BF_DST_ACC,
            .acc = (uint8_t)u,
            .a = (uint16_t)column,
            .a_class = DATA,
            .b_kind = BF_B_LANE,
            .b = (uint16_t)(lane + u),
            .b_class = WEIGHT,
            .c = (uint16_t)(id == FIRST_COLUMN ? BF_C_ZERO << 8 : BF_C_ACC << 8 | u),
            .c_class = BF_CLASS_SPECIAL};
    struct bf_descriptor d = bf_descriptor_new(BF_UNIT_CAL);
    d.trips[0] = (uint16_t)count;
    d.need = need;
    if (count > 1) {
        d.cal.delta[DATA][0] = 1;
        d.cal.delta[WEIGHT][0] = (int16_t)b->unroll;
    }
    cal_block(b, id, id == FIRST_COLUMN ? "first column" : "columns", body, &d);
}

static void finish(struct build *b) {
    struct bf_cal body[BF_MAX_BODY];
    for (int64_t u = 0; u < b->unroll; u++)
        body[u] = (struct bf_cal){.op = BF_CAL_FMA,
                                  .dst = BF_DST_RAM,
                                  .d = (uint16_t)(b->columns + u),
                                  .d_class = DATA,
                                  .a = (uint16_t)u,
                                  .a_class = BF_CLASS_SPECIAL,
                                  .b_kind = BF_B_LANE,
                                  .b = 0,
                                  .b_class = WEIGHT,
                                  .c = (uint16_t)(BF_C_LANE << 8 | (1 + u)),
                                  .c_class = BF_CLASS_SPECIAL};
    struct bf_descriptor d = bf_descriptor_new(BF_UNIT_CAL);
    d.target[0] = BF_FIRST_STORE;
    cal_block(b, FINISH, "bias and round", body, &d);
}

/* Output o of block c is column o x blocks + c. */
static void store_y(struct build *b) {
    struct bf_descriptor d = bf_descriptor_new(BF_UNIT_STORE);
    int64_t tile = bf_share_tile_words(b->map, &b->plan->outputs.data[0]);
    d.need = 1;
    d.trips[0] = (uint16_t)b->unroll;
    d.mem.relative = true;
    d.mem.ram = (uint16_t)b->columns;
    d.mem.ram_delta[0] = b->unroll > 1;
    d.mem.spm_delta[0] = (int32_t)(b->unroll > 1 ? b->blocks : 0);
    d.mem.base = BASE_OUT;
    d.mem.spm = (uint32_t)(b->tile * tile + b->block);
    bf_share_deltas(b->trips,
                    (int64_t[]){b->share.groups * tile, b->unroll * b->blocks, b->share.across},
                    d.mem.iteration_delta);
    add_block(b, BF_FIRST_STORE, "store y", &d);
}

static void pe_blocks(struct build *b) {
    load_x(b);
    load_weights(b);
    columns(b, FIRST_COLUMN, 0, 1, 1);
    columns(b, COLUMNS, 1, b->columns - 1, 0);
    finish(b);
    store_y(b);
}

static bool schedule(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    struct build b = {.map = map,
                      .plan = plan,
                      .share = bf_share_load(plan),
                      .blocks = bf_ints_get(&plan->kernel->attrs, "blocks"),
                      .columns = columns_in(plan->kernel),
                      .unroll = bf_plan_int(plan, "unroll"),
                      .groups = bf_plan_int(plan, "output_groups")};
    b.trips[0] = b.share.tile_rounds;
    b.trips[1] = b.groups;
    b.trips[2] = b.share.rounds;
    bf_code_begin(&b.code, map, plan);
    for (b.pe = 0; b.pe < bf_machine_pes(&map->machine); b.pe++)
        if (bf_share_pe(&b.share, b.pe, &b.block, &b.tile))
            pe_blocks(&b);
    struct bf_launch launch = {
        .window = (uint8_t)plan->window,
        .strict = true,
        .context_size = (uint16_t)plan->context_size,
        .period = 1,
        .group_level = b.groups * b.share.rounds > 1 ? 1 : 3,
        .trips = {(uint32_t)b.trips[0], (uint32_t)b.trips[1], (uint32_t)b.trips[2]}};
    launch.base[BASE_IN] =
        (uint32_t)bf_map_column_word(map, &plan->inputs.data[0], 0, 0, b.share.first * b.columns);
    launch.base[BASE_OUT] =
        (uint32_t)bf_map_column_word(map, &plan->outputs.data[0], 0, 0,
                                     bf_plan_int(plan, "first_output") * b.blocks + b.share.first);
    launch.base[BASE_WEIGHTS] = (uint32_t)plan->weight_spm;
    return bf_code_finish(&b.code, &launch, diags);
}

/* ---- verify ---- */

/* y[o x blocks + b] = sum of x[b][k] w[b][o][k] x 2^shift + bias. */
static uint32_t result(const struct bf_poly_kernel *kernel, const struct bf_weights *weights,
                       int64_t tile, int64_t column) {
    int64_t blocks = bf_ints_get(&kernel->attrs, "blocks"), columns = columns_in(kernel);
    const struct bf_kernel_param *weight = bf_kernel_find_param(kernel, "weight");
    int shift = kernel->inputs.data[0].buffer->exponent - kernel->outputs.data[0].buffer->exponent;
    int64_t block = column % blocks;
    uint32_t sum = 0;
    for (int64_t k = 0; k < columns; k++) {
        int64_t at[] = {block, column / blocks, k};
        sum = bf_field_add(sum, bf_field_multiply(bf_values_input(tile, block * columns + k),
                                                  bf_values_param(weights, weight, at)));
    }
    return bf_field_add(bf_field_multiply(sum, bf_field_power_of_two(shift)),
                        bf_values_param(weights, bf_kernel_find_param(kernel, "bias"), &column));
}

static bool verify(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    if (!bf_values_first(map, plan))
        return true;
    const struct bf_operand *y = &plan->outputs.data[0];
    struct bf_weights *weights = bf_values_weights(plan->kernel);
    int64_t tiles = bf_share_tiles(map, y);
    uint32_t *want = bf_alloc((size_t)(tiles * y->cols) * sizeof *want);
    for (int64_t i = 0; i < tiles * y->cols; i++)
        if (bf_values_compared(map, plan, i / y->cols))
            want[i] = result(plan->kernel, weights, i / y->cols, i % y->cols);
    bool ok = bf_values_verify(map, plan, want, weights, 0, diags);
    free(want);
    bf_weights_free(weights);
    return ok;
}

const struct bf_family bf_family_block_dense = {divide, NULL, NULL, stream, schedule, verify};
