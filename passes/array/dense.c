/* dense.c - matrix products on the array.
 *
 * Lanes are rows. A PE computes `unroll` outputs of a tile at a time, one accumulator each, from
 * words x[k] that all PEs of its group load (the scratchpad multicasts them). The PEs of a group
 * take neighbouring outputs, the groups different tiles; a plan is one block of across x unroll
 * outputs.
 *
 *   iteration = (tile round, chunk of k):  LOAD x, weights -> acc += x[k] w[k] .. -> finish ->
 * STORE
 *
 * The kernel is strict: accumulators live from the first chunk to the last. A chunk is a weight set
 * of its own, loaded while the one before is in use; a single chunk stays for all tiles.
 *
 * Numbers of a plan: "unroll", "across" PEs a group, "first_output", "chunk" columns, "chunks", and
 * the tiles.
 */
#include <stdlib.h>

#include "passes/array/blocks.h"
#include "passes/array/family.h"
#include "passes/array/tiles.h"
#include "passes/array/values.h"

enum { BASE_IN = 0, BASE_OUT = 2, BASE_WEIGHTS = 4 };
enum { DATA = 0, WEIGHT = 3 };
enum { FIRST_CHUNK = 0, NEXT_CHUNK, REST, LAST_REST, FINISH };
enum { LOAD_FIRST = BF_FIRST_LOAD, LOAD_NEXT, LOAD_LAST, LOAD_WEIGHTS = BF_FIRST_FLOW - 1 };

/* ---- divide: choose outputs a PE and PEs a group, then a plan for each block of outputs ---- */

struct choice {
    int64_t unroll, across, cost;
};

static int64_t tile_count(const struct bf_map *map, const struct bf_operand *x) {
    int64_t v = map->machine.lanes;
    int64_t pitch =
        x->buffer->rows == 1 ? 1 : (int64_t)bf_round_up((uint64_t)x->buffer->rows, (uint64_t)v);
    return (int64_t)bf_divide_up((uint64_t)(x->buffer->samples * pitch), (uint64_t)v);
}

/* Slots of CAL: an accumulator is used again after fma_latency slots at the earliest. */
static struct choice choose(const struct bf_map *map, const struct bf_poly_kernel *kernel) {
    const struct bf_machine *machine = &map->machine;
    int64_t outputs = kernel->outputs.data[0].cols, pes = bf_machine_pes(machine);
    int64_t tiles = tile_count(map, &kernel->inputs.data[0]);
    struct choice best = {.cost = INT64_MAX};
    int64_t most =
        machine->accumulators < machine->lanes / 2 ? machine->accumulators : machine->lanes / 2;
    for (int64_t unroll = 1; unroll <= most && unroll <= 8; unroll *= 2) {
        for (int64_t across = 1; across <= pes; across *= 2) {
            /* Weights of two plans lie in the scratchpad at a time, next to the activations. */
            int64_t words = across * unroll * kernel->inputs.data[0].cols / machine->lanes;
            if (across * unroll > 1 && words > machine->spm_words / 8)
                continue;
            int64_t groups = pes / across;
            while (tiles % groups)
                groups /= 2;
            int64_t blocks = (outputs + across * unroll - 1) / (across * unroll);
            int64_t slots = unroll > machine->fma_latency ? unroll : machine->fma_latency;
            int64_t cost = blocks * (tiles / groups) * slots;
            if (cost <= best.cost)
                best = (struct choice){unroll, across, cost};
        }
    }
    return best;
}

static bool divide(struct bf_map *map, struct bf_poly_kernel *kernel, struct bf_diags *diags) {
    (void)diags;
    struct choice choice = choose(map, kernel);
    int64_t outputs = kernel->outputs.data[0].cols, block = choice.across * choice.unroll;
    for (int64_t first = 0; first < outputs; first += block) {
        struct bf_plan *plan = bf_map_add_plan(map, kernel, (int)(first / block));
        bf_plan_set(map, plan, "unroll", choice.unroll);
        bf_plan_set(map, plan, "across", choice.across);
        bf_plan_set(map, plan, "first_output", first);
        *bf_push(&plan->inputs) = kernel->inputs.data[0];
        *bf_push(&plan->outputs) = kernel->outputs.data[0];
    }
    return true;
}

/* ---- tile: groups that divide the tiles, since phases count chunks here ---- */

static bool tile(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    (void)diags;
    int64_t groups = bf_machine_pes(&map->machine) / bf_plan_int(plan, "across");
    int64_t count = tile_count(map, &plan->inputs.data[0]);
    while (count % groups)
        groups /= 2;
    struct bf_tiles tiles = bf_tiles_assign(map, BF_LANES_ROWS, &plan->inputs.data[0], groups);
    bf_tiles_save(map, plan, &tiles);
    return true;
}

/* ---- stream: chunks of k that fit half a weight RAM and the window ---- */

static int64_t weight_words(const struct bf_map *map, int64_t chunk, int64_t unroll) {
    return 1 + (int64_t)bf_divide_up((uint64_t)((chunk - 1) * unroll), map->machine.lanes);
}

static bool stream(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    const struct bf_machine *machine = &map->machine;
    int64_t unroll = bf_plan_int(plan, "unroll"), k = plan->inputs.data[0].cols;
    int64_t most = 1 + (machine->weight_half - 1) * (int64_t)machine->lanes / unroll;
    int64_t fits = machine->data_ram / 2 - unroll;
    most = most < fits ? most : fits;
    most = most < BF_MAX_TRIPS ? most : BF_MAX_TRIPS;
    int64_t chunks = (k + most - 1) / most, chunk = (k + chunks - 1) / chunks;
    chunks = (k + chunk - 1) / chunk;
    if (chunks > BF_MAX_PERIOD)
        return bf_diag_error(
            diags, plan->kernel->loc,
            "cannot map %s on '%s': its %lld columns are %lld chunks, a kernel has "
            "%d phases",
            plan->kernel->what, machine->name, (long long)k, (long long)chunks, BF_MAX_PERIOD);
    struct bf_tiles tiles = bf_tiles_load(plan);
    int64_t iterations = bf_tiles_iterations(&tiles) * chunks;
    plan->context_size = chunk + unroll;
    plan->window = machine->data_ram / plan->context_size;
    plan->window = plan->window < machine->window ? plan->window : machine->window;
    plan->window = plan->window < iterations ? plan->window : iterations;
    bf_plan_set(map, plan, "chunk", chunk);
    bf_plan_set(map, plan, "chunks", chunks);
    bf_plan_add_region(map, plan, "x", 0, chunk, true);
    bf_plan_add_region(map, plan, "y", chunk, unroll, true);
    plan->recipe = bf_map_add_recipe(map, "dense", plan, chunks, bf_plan_int(plan, "across"),
                                     weight_words(map, chunk, unroll));
    return true;
}

/* ---- schedule ---- */

struct build {
    struct bf_map *map;
    struct bf_plan *plan;
    struct bf_code code;
    struct bf_tiles tiles;
    int64_t unroll, across, chunk, chunks, last; /* last: columns of the last chunk */
    bool bias;
};

static struct bf_descriptor block(enum bf_unit unit, int64_t first, int64_t last) {
    struct bf_descriptor d = bf_descriptor_new(unit);
    d.first = (uint8_t)first;
    d.last = (uint8_t)last;
    return d;
}

/* Level 0 of the iteration counter steps through chunks, level 1 through tile rounds. */
static void follow(const struct build *b, struct bf_descriptor *d, const struct bf_operand *operand,
                   int64_t chunk_stride, int64_t group) {
    struct bf_tile_stride stride = bf_tile_stride(b->map, BF_LANES_ROWS, operand);
    int64_t step = b->tiles.outer_groups * stride.outer;
    d->mem.spm += (uint32_t)bf_tile_offset(&b->tiles, stride, group);
    d->mem.iteration_delta[0] = (int32_t)(b->chunks > 1 ? chunk_stride : 0);
    d->mem.iteration_delta[1] =
        (int32_t)(b->tiles.outer_rounds > 1 ? step - (b->chunks - 1) * chunk_stride : 0);
}

static void load_x(struct build *b, unsigned pe, unsigned id, int64_t first, int64_t last,
                   int64_t words, uint8_t target) {
    struct bf_descriptor d = block(BF_UNIT_LOAD, first, last);
    d.trips[0] = (uint16_t)words;
    d.target[0] = target;
    d.mem.relative = true;
    d.mem.ram_delta[0] = words > 1;
    d.mem.spm_delta[0] = words > 1;
    d.mem.base = BASE_IN;
    follow(b, &d, &b->plan->inputs.data[0], b->chunk, pe / b->across);
    bf_code_block(&b->code, UINT64_C(1) << pe, id, "load x", &d);
}

static void load_weights(struct build *b, unsigned pe) {
    const struct bf_recipe *recipe = &b->map->recipes.data[b->plan->recipe];
    struct bf_descriptor d = block(BF_UNIT_LOAD, 0, b->chunks - 1);
    int64_t set = recipe->pes * recipe->words;
    d.trips[0] = (uint16_t)recipe->words;
    d.mem.weights = d.mem.row = true;
    d.mem.ram_delta[0] = d.mem.spm_delta[0] = recipe->words > 1;
    d.mem.spm = (uint32_t)(pe % b->across * recipe->words);
    d.mem.base = BASE_WEIGHTS;
    if (b->chunks > 1) {
        d.mem.iteration_delta[0] = (int32_t)set;
        d.mem.iteration_delta[1] =
            (int32_t)(b->tiles.outer_rounds > 1 ? -(b->chunks - 1) * set : 0);
    }
    bf_code_block(&b->code, UINT64_C(1) << pe, LOAD_WEIGHTS, "load weights", &d);
}

static struct bf_cal product(int64_t word, int64_t lane, unsigned acc) {
    return (struct bf_cal){.op = BF_CAL_FMA,
                           .dst = BF_DST_ACC,
                           .acc = (uint8_t)acc,
                           .a = (uint16_t)word,
                           .a_class = DATA,
                           .b_kind = BF_B_LANE,
                           .b = (uint16_t)lane,
                           .b_class = WEIGHT,
                           .c = (uint16_t)(BF_C_ACC << 8 | acc),
                           .c_class = BF_CLASS_SPECIAL};
}

static void cal_block(struct build *b, unsigned pe, unsigned id, const char *name,
                      const struct bf_cal *body, struct bf_descriptor *d) {
    d->cal.length = (uint8_t)b->unroll;
    d->cal.start = (uint8_t)bf_code_body(&b->code, body, (unsigned)b->unroll);
    d->cal.relative = 1 << DATA;
    bf_code_block(&b->code, UINT64_C(1) << pe, id, name, d);
}

/* Column k0 of a chunk: of the first one it begins the sums with the bias. */
static void first_column(struct build *b, unsigned pe, unsigned id, int64_t first, int64_t last) {
    struct bf_cal body[BF_MAX_BODY];
    for (int64_t u = 0; u < b->unroll; u++) {
        body[u] = product(0, u, (unsigned)u);
        if (id == FIRST_CHUNK)
            body[u].c = (uint16_t)(b->bias ? BF_C_LANE << 8 | b->unroll : BF_C_ZERO << 8);
    }
    struct bf_descriptor d = block(BF_UNIT_CAL, first, last);
    d.need = 1;
    d.cal.uses_weights = true;
    cal_block(b, pe, id, "first column", body, &d);
}

static void more_columns(struct build *b, unsigned pe, unsigned id, int64_t first, int64_t last,
                         int64_t columns) {
    struct bf_cal body[BF_MAX_BODY];
    if (columns < 1)
        return;
    for (int64_t u = 0; u < b->unroll; u++)
        body[u] = product(1, b->map->machine.lanes + u, (unsigned)u);
    struct bf_descriptor d = block(BF_UNIT_CAL, first, last);
    d.trips[0] = (uint16_t)columns;
    d.cal.uses_weights = true;
    if (columns > 1) {
        d.cal.delta[DATA][0] = 1;
        d.cal.delta[WEIGHT][0] = (int16_t)b->unroll;
    }
    cal_block(b, pe, id, "columns", body, &d);
}

static void finish(struct build *b, unsigned pe) {
    struct bf_cal body[BF_MAX_BODY];
    for (int64_t u = 0; u < b->unroll; u++)
        body[u] = (struct bf_cal){.op = BF_CAL_FMA,
                                  .dst = BF_DST_RAM,
                                  .d = (uint16_t)(b->chunk + u),
                                  .d_class = DATA,
                                  .a = (uint16_t)u,
                                  .a_class = BF_CLASS_SPECIAL,
                                  .b_kind = BF_B_CONST,
                                  .b = BF_B_ONE,
                                  .c = BF_C_ZERO << 8,
                                  .c_class = BF_CLASS_SPECIAL};
    struct bf_descriptor d = block(BF_UNIT_CAL, b->chunks - 1, b->chunks - 1);
    d.target[0] = BF_FIRST_STORE;
    d.cal.exponent = (int8_t)bf_ints_get(&b->plan->kernel->attrs, "exponent");
    cal_block(b, pe, FINISH, "round", body, &d);
}

static void store_y(struct build *b, unsigned pe, int64_t column, int64_t outputs) {
    struct bf_descriptor d = block(BF_UNIT_STORE, b->chunks - 1, b->chunks - 1);
    d.need = 1;
    d.trips[0] = (uint16_t)outputs;
    d.mem.relative = true;
    d.mem.ram = (uint16_t)b->chunk;
    d.mem.ram_delta[0] = d.mem.spm_delta[0] = outputs > 1;
    d.mem.spm = (uint32_t)column;
    d.mem.base = BASE_OUT;
    follow(b, &d, &b->plan->outputs.data[0], 0, pe / b->across);
    bf_code_block(&b->code, UINT64_C(1) << pe, BF_FIRST_STORE, "store y", &d);
}

static void pe_blocks(struct build *b, unsigned pe) {
    int64_t column = pe % b->across * b->unroll;
    int64_t total = b->plan->outputs.data[0].cols - bf_plan_int(b->plan, "first_output");
    int64_t outputs = total - column < b->unroll ? total - column : b->unroll;
    if (outputs <= 0 || pe / b->across >= b->tiles.outer_groups)
        return;
    int64_t end = b->chunks - 1;
    if (end > 0)
        load_x(b, pe, LOAD_FIRST, 0, 0, b->chunk, FIRST_CHUNK);
    if (end > 1)
        load_x(b, pe, LOAD_NEXT, 1, end - 1, b->chunk, NEXT_CHUNK);
    load_x(b, pe, LOAD_LAST, end, end, b->last, end > 0 ? NEXT_CHUNK : FIRST_CHUNK);
    load_weights(b, pe);
    first_column(b, pe, FIRST_CHUNK, 0, 0);
    if (end > 0) {
        first_column(b, pe, NEXT_CHUNK, 1, end);
        more_columns(b, pe, REST, 0, end - 1, b->chunk - 1);
    }
    more_columns(b, pe, LAST_REST, end, end, b->last - 1);
    finish(b, pe);
    store_y(b, pe, column, outputs);
}

static bool schedule(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    struct build b = {.map = map,
                      .plan = plan,
                      .tiles = bf_tiles_load(plan),
                      .unroll = bf_plan_int(plan, "unroll"),
                      .across = bf_plan_int(plan, "across"),
                      .chunk = bf_plan_int(plan, "chunk"),
                      .chunks = bf_plan_int(plan, "chunks"),
                      .bias = bf_kernel_find_param(plan->kernel, "bias") != NULL};
    b.last = plan->inputs.data[0].cols - (b.chunks - 1) * b.chunk;
    bf_code_begin(&b.code, map, plan);
    for (unsigned pe = 0; pe < bf_machine_pes(&map->machine); pe++)
        pe_blocks(&b, pe);
    struct bf_launch launch = {.window = (uint8_t)plan->window,
                               .strict = true,
                               .context_size = (uint16_t)plan->context_size,
                               .period = (uint16_t)b.chunks,
                               .group_level = b.chunks > 1 ? 0 : 3,
                               .trips = {(uint32_t)b.chunks, (uint32_t)b.tiles.outer_rounds, 1}};
    launch.base[BASE_IN] = (uint32_t)bf_map_column_word(map, &plan->inputs.data[0], 0, 0, 0);
    launch.base[BASE_OUT] = (uint32_t)bf_map_column_word(map, &plan->outputs.data[0], 0, 0,
                                                         bf_plan_int(plan, "first_output"));
    launch.base[BASE_WEIGHTS] = (uint32_t)plan->weight_spm;
    return bf_code_finish(&b.code, &launch, diags);
}

/* ---- verify ---- */

/* y[o] = (sum of x[k] w[o][k]) x 2^shift + bias. */
static uint32_t result(const struct bf_poly_kernel *kernel, const struct bf_weights *weights,
                       int64_t tile, int64_t output) {
    const struct bf_kernel_param *weight = bf_kernel_find_param(kernel, "weight");
    int shift = kernel->inputs.data[0].buffer->exponent - kernel->outputs.data[0].buffer->exponent;
    uint32_t sum = 0;
    for (int64_t k = 0; k < kernel->inputs.data[0].cols; k++)
        sum = bf_field_add(
            sum, bf_field_multiply(bf_values_input(tile, k),
                                   bf_values_param(weights, weight, (int64_t[]){output, k})));
    return bf_field_add(bf_field_multiply(sum, bf_field_power_of_two(shift)),
                        bf_values_param(weights, bf_kernel_find_param(kernel, "bias"), &output));
}

/* What a plan computes in its first and its last round. */
static void add_results(const struct bf_map *map, const struct bf_plan *plan,
                        const struct bf_weights *weights, uint32_t *want) {
    int64_t columns = plan->outputs.data[0].cols, first = bf_plan_int(plan, "first_output");
    int64_t end = first + bf_plan_int(plan, "across") * bf_plan_int(plan, "unroll");
    int64_t tiles = tile_count(map, &plan->inputs.data[0]);
    int64_t groups = bf_plan_int(plan, "outer_groups");
    int64_t rounds = (tiles + groups - 1) / groups;
    for (int64_t tile = 0; tile < tiles; tile++)
        for (int64_t o = first; o < end && o < columns; o++)
            if (tile < groups || tile >= (rounds - 1) * groups)
                want[tile * columns + o] = result(plan->kernel, weights, tile, o);
}

/* Numbers that a text may have changed. */
static bool is_sane(const struct bf_map *map, const struct bf_plan *plan) {
    int64_t groups = bf_plan_int(plan, "outer_groups"), outputs = plan->outputs.data[0].cols;
    int64_t across = bf_plan_int(plan, "across"), unroll = bf_plan_int(plan, "unroll");
    int64_t first = bf_plan_int(plan, "first_output"), pes = bf_machine_pes(&map->machine);
    return groups >= 1 && groups <= pes && across >= 1 && across <= pes && unroll >= 1 &&
           unroll <= map->machine.lanes && first >= 0 && first < outputs &&
           bf_share_tiles(map, &plan->outputs.data[0]) == tile_count(map, &plan->inputs.data[0]);
}

static bool verify(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    if (!is_sane(map, plan))
        return bf_diag_error(diags, plan->kernel->loc,
                             "map: plan %s: its numbers and its operands do not fit together",
                             plan->name);
    bool last = plan->index + 1 == map->plans.count ||
                map->plans.data[plan->index + 1]->kernel != plan->kernel;
    if (!last)
        return true;
    struct bf_weights *weights = bf_values_weights(plan->kernel);
    int64_t results = tile_count(map, &plan->inputs.data[0]) * plan->outputs.data[0].cols;
    uint32_t *want = bf_alloc((size_t)results * sizeof *want);
    size_t first = plan->index;
    while (first > 0 && map->plans.data[first - 1]->kernel == plan->kernel)
        first--;
    for (size_t p = first; p <= plan->index; p++)
        if (!bf_values_repeats(map, map->plans.data[p]))
            add_results(map, map->plans.data[p], weights, want);
    bool ok = bf_values_verify(map, map->plans.data[first], want, weights, 1, diags);
    free(want);
    bf_weights_free(weights);
    return ok;
}

const struct bf_family bf_family_dense = {divide, tile, NULL, stream, schedule, verify};
