/* block_butterfly.c - a matrix of butterflies: y[o] = sum over i of butterfly[o][i] x[i].
 *
 * Lanes are rows. A PE owns a row o of tiles and walks along it, `steps` groups of `merge` tiles a
 * phase, with the weights of the next phase on their way. A tile is all in the PE: nothing is
 * exchanged.
 *
 *   phase   LOAD x[i] -> first stages, in place -> sums += last stage of every tile
 *                                                   last phase: y = sums x scale + bias -> STORE
 *
 * The last stage adds the products of a group to the sums, a chunk of `pairs` pairs at a time: two
 * accumulators a pair. Between groups the sums are kept as pairs of RAM words, the raw halves of
 * their f32. The kernel is strict, since the sums of one phase are read in the next. scale is 2^k
 * where x is stored shifted by k.
 *
 * Numbers of a plan: "merge", "steps", "phases", "unroll" butterflies a body of the first stages,
 * "pairs", "finish_lane" (of the scale and biases of chunk 0), "finish_stride", the share of tile
 * rows.
 */
#include <stdlib.h>

#include "passes/array/blocks.h"
#include "passes/array/family.h"
#include "passes/array/values.h"

enum { BASE_IN = 0, BASE_OUT = 2, BASE_WEIGHTS = 4 };
/* Address classes: words of the own context | sums | scale and biases | 2 x 2 matrices. */
enum { DATA = 0, SUMS = 1, FINISH = 2, WEIGHT = 3 };
enum { STAGES = 0, REST_STAGES = 8 };
/* Groups of a phase: the first of the first phase, its others, those of phases in between, those of
 * the last phase but the last, the last. */
enum { FIRST_GROUP = 16, FIRST_REST, NEXT_GROUPS, LAST_REST, LAST_GROUP };
enum { LOAD_X = BF_FIRST_LOAD, LOAD_REST, LOAD_WEIGHTS = BF_FIRST_FLOW - 1 };

struct shape {
    int64_t tile, stages, columns; /* columns: tiles in a row */
    int64_t merge, steps, phases, unroll, pairs;
    int64_t finish_lane, finish_stride, words; /* words of a weight set */
    int64_t sums, window;                      /* RAM words of the sums; 0 if there is one group */
    bool increasing;
};

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* ---- divide: how many tiles a phase, then a plan a share of rows ---- */

static int64_t divide_up(int64_t n, int64_t by) {
    return (n + by - 1) / by;
}

static void lay_out(const struct bf_machine *machine, struct shape *s, int64_t merge,
                    int64_t steps) {
    int64_t v = machine->lanes, half = s->tile / 2;
    s->merge = merge;
    s->steps = steps;
    s->phases = divide_up(s->columns, steps * merge);
    s->finish_lane = divide_up(s->stages * steps * merge * 4 * half, v) * v;
    s->finish_stride = s->pairs == 2 ? 8 : 4;
    s->words = divide_up(s->finish_lane + half / s->pairs * s->finish_stride, v);
    s->sums = s->columns > merge ? 2 * s->tile : 0;
    s->window = (machine->data_ram - s->sums) / (steps * merge * s->tile);
}

static bool has_room(const struct bf_machine *machine, const struct shape *s, int64_t window) {
    return s->words <= machine->weight_half && s->window >= window;
}

/* Enough groups for phases of some 500 slots, which hide how long a phase takes to begin and to
 * retire, and for no more phases than a kernel may have. */
static void choose_steps(const struct bf_machine *machine, struct shape *s) {
    int64_t slots = 2 * s->tile * s->stages * s->merge + 4 * s->tile;
    int64_t groups = divide_up(s->columns, s->merge), steps = divide_up(500, slots);
    if (divide_up(groups, steps) > BF_MAX_PERIOD)
        steps = divide_up(groups, BF_MAX_PERIOD);
    for (steps = smaller(steps, groups); steps > 1; steps--) {
        int64_t phases = divide_up(groups, steps);
        lay_out(machine, s, s->merge, divide_up(groups, phases));
        if (has_room(machine, s, smaller(2, phases)))
            return;
    }
    lay_out(machine, s, s->merge, 1);
}

static struct shape shape_of(const struct bf_map *map, const struct bf_poly_kernel *kernel) {
    const struct bf_machine *machine = &map->machine;
    struct shape s = {.tile = bf_ints_get(&kernel->attrs, "tile"),
                      .increasing = bf_ints_get(&kernel->attrs, "increasing") != 0};
    s.stages = (int64_t)bf_log2_floor((uint64_t)s.tile);
    s.columns = kernel->inputs.data[0].cols / s.tile;
    s.pairs = machine->accumulators >= 4 && machine->lanes >= 8 && s.tile >= 4 ? 2 : 1;
    s.unroll = machine->accumulators >= 8 ? 4 : machine->accumulators >= 4 ? 2 : 1;
    s.unroll = smaller(s.unroll, s.tile / 2);
    /* Two tiles a group halve the reads and writes of sums; a body has room for no more. */
    lay_out(machine, &s, smaller(2, s.columns), 1);
    if (s.merge > 1 && !has_room(machine, &s, 2))
        lay_out(machine, &s, 1, 1);
    choose_steps(machine, &s);
    return s;
}

static bool fits(const struct bf_map *map, const struct bf_poly_kernel *kernel,
                 const struct shape *s, struct bf_diags *diags) {
    const struct bf_machine *machine = &map->machine;
    char text[160];
    if (s->words > machine->weight_half)
        snprintf(text, sizeof text,
                 "a tile of %lld needs %lld words of weight RAM, half of it has %u",
                 (long long)s->tile, (long long)s->words, machine->weight_half);
    else if (s->window < 1)
        snprintf(text, sizeof text, "a tile of %lld needs %lld words of data RAM, a PE has %u",
                 (long long)s->tile, (long long)(s->sums + s->tile), machine->data_ram);
    else if (s->phases > BF_MAX_PERIOD)
        snprintf(text, sizeof text, "a row of %lld tiles needs %lld phases, a kernel has %d",
                 (long long)s->columns, (long long)s->phases, BF_MAX_PERIOD);
    else
        return true;
    return bf_diag_error(diags, kernel->loc, "cannot map %s on '%s': %s", kernel->what,
                         machine->name, text);
}

static bool divide(struct bf_map *map, struct bf_poly_kernel *kernel, struct bf_diags *diags) {
    struct shape s = shape_of(map, kernel);
    if (!fits(map, kernel, &s, diags))
        return false;
    int64_t rows = kernel->outputs.data[0].cols / s.tile;
    int part = 0;
    for (int64_t first = 0; first < rows;) {
        struct bf_share share = bf_share_of(map, kernel, first, rows, s.phases * s.words);
        struct bf_plan *plan = bf_map_add_plan(map, kernel, part++);
        bf_share_save(map, plan, &share);
        bf_plan_set(map, plan, "merge", s.merge);
        bf_plan_set(map, plan, "steps", s.steps);
        bf_plan_set(map, plan, "phases", s.phases);
        bf_plan_set(map, plan, "unroll", s.unroll);
        bf_plan_set(map, plan, "pairs", s.pairs);
        bf_plan_set(map, plan, "finish_lane", s.finish_lane);
        bf_plan_set(map, plan, "finish_stride", s.finish_stride);
        *bf_push(&plan->inputs) = kernel->inputs.data[0];
        *bf_push(&plan->outputs) = kernel->outputs.data[0];
        first += share.rounds * share.across;
    }
    return true;
}

/* ---- stream ---- */

static bool stream(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    (void)diags;
    struct shape s = shape_of(map, plan->kernel);
    struct bf_share share = bf_share_load(plan);
    plan->window = smaller(smaller(s.window, map->machine.window),
                           s.phases * share.tile_rounds * share.rounds);
    plan->context_base = s.sums;
    plan->context_size = s.steps * s.merge * s.tile;
    if (s.sums)
        bf_plan_add_region(map, plan, "sums", 0, s.sums, false);
    bf_plan_add_region(map, plan, "x", 0, plan->context_size, true);
    plan->recipe = bf_map_add_recipe(map, "block_butterfly", plan, share.rounds * s.phases,
                                     share.across, s.words);
    return true;
}

/* ---- schedule ---- */

struct build {
    struct bf_map *map;
    struct bf_plan *plan;
    struct bf_code code;
    struct shape s;
    struct bf_share share;
    int64_t trips[BF_LEVELS]; /* phases, tiles of rows, rows of tiles */
    int64_t each, last;       /* tiles of a phase, of the last one */
    int64_t last_groups;      /* of the last phase */
    int64_t block, tile;      /* of the PE */
    unsigned pe;
};

static void add_block(struct build *b, unsigned id, const char *name,
                      const struct bf_descriptor *d) {
    bf_code_block(&b->code, UINT64_C(1) << b->pe, id, name, d);
}

static struct bf_descriptor new_block(enum bf_unit unit, int64_t first, int64_t last) {
    struct bf_descriptor d = bf_descriptor_new(unit);
    d.first = (uint8_t)first;
    d.last = (uint8_t)last;
    return d;
}

/* The block that reads the words of a phase first, where there are no first stages. */
static unsigned first_groups(const struct build *b, int64_t phase) {
    bool ends = phase == b->s.phases - 1;
    if (phase == 0 && !(ends && b->last_groups == 1))
        return FIRST_GROUP;
    if (!ends)
        return NEXT_GROUPS;
    return b->last_groups > 1 ? LAST_REST : LAST_GROUP;
}

static void load_x(struct build *b, unsigned id, int64_t first, int64_t last, int64_t tiles,
                   unsigned target) {
    struct bf_descriptor d = new_block(BF_UNIT_LOAD, first, last);
    int64_t tile = bf_share_tile_words(b->map, &b->plan->inputs.data[0]);
    d.trips[0] = (uint16_t)(tiles * b->s.tile);
    d.target[0] = (uint8_t)target;
    d.mem.relative = true;
    d.mem.ram_delta[0] = d.mem.spm_delta[0] = 1;
    d.mem.base = BASE_IN;
    d.mem.spm = (uint32_t)(b->tile * tile);
    bf_share_deltas(b->trips, (int64_t[]){b->each * b->s.tile, b->share.groups * tile, 0},
                    d.mem.iteration_delta);
    add_block(b, id, "load x", &d);
}

static void load_weights(struct build *b) {
    const struct bf_recipe *recipe = &b->map->recipes.data[b->plan->recipe];
    struct bf_descriptor d = new_block(BF_UNIT_LOAD, 0, b->s.phases - 1);
    int64_t set = recipe->pes * recipe->words;
    d.trips[0] = (uint16_t)recipe->words;
    d.mem.weights = d.mem.row = true;
    d.mem.ram_delta[0] = d.mem.spm_delta[0] = recipe->words > 1;
    d.mem.spm = (uint32_t)(b->block * recipe->words);
    d.mem.base = BASE_WEIGHTS;
    bf_share_deltas(b->trips, (int64_t[]){set, 0, b->s.phases * set}, d.mem.iteration_delta);
    add_block(b, LOAD_WEIGHTS, "load weights", &d);
}

static void store_y(struct build *b) {
    struct bf_descriptor d = new_block(BF_UNIT_STORE, b->s.phases - 1, b->s.phases - 1);
    int64_t tile = bf_share_tile_words(b->map, &b->plan->outputs.data[0]);
    d.need = 1;
    d.trips[0] = (uint16_t)b->s.tile;
    d.mem.relative = true;
    d.mem.ram = (uint16_t)((b->last_groups - 1) * b->s.merge * b->s.tile);
    d.mem.ram_delta[0] = d.mem.spm_delta[0] = 1;
    d.mem.base = BASE_OUT;
    d.mem.spm = (uint32_t)(b->tile * tile + b->block * b->s.tile);
    bf_share_deltas(b->trips, (int64_t[]){0, b->share.groups * tile, b->share.across * b->s.tile},
                    d.mem.iteration_delta);
    add_block(b, BF_FIRST_STORE, "store y", &d);
}

struct body {
    struct bf_cal cal[2 * BF_MAX_BODY];
    unsigned length;
};

static struct bf_cal *push(struct body *body, enum bf_cal_op op) {
    struct bf_cal *cal = &body->cal[body->length++];
    memset(cal, 0, sizeof *cal);
    cal->op = (uint8_t)op;
    return cal;
}

/* acc = x[word] w[lane] + (acc or 0) */
static struct bf_cal *product(struct body *body, int64_t acc, int64_t word, int64_t lane,
                              bool first) {
    struct bf_cal *cal = push(body, BF_CAL_FMA);
    cal->dst = BF_DST_ACC;
    cal->acc = (uint8_t)acc;
    cal->a = (uint16_t)word;
    cal->a_class = DATA;
    cal->b_kind = BF_B_LANE;
    cal->b = (uint16_t)lane;
    cal->b_class = WEIGHT;
    cal->c = (uint16_t)(first ? BF_C_ZERO << 8 : BF_C_ACC << 8 | acc);
    cal->c_class = BF_CLASS_SPECIAL;
    return cal;
}

static void to_ram(struct bf_cal *cal, int64_t word, unsigned class) {
    cal->dst = BF_DST_RAM;
    cal->acc = 0;
    cal->d = (uint16_t)word;
    cal->d_class = (uint8_t)class;
}

static int64_t stride_of(const struct build *b, int64_t stage) {
    return INT64_C(1) << (b->s.increasing ? stage : b->s.stages - 1 - stage);
}

/* Word of the low element of pair k. */
static int64_t pair_word(int64_t k, int64_t stride) {
    return k / stride * 2 * stride + k % stride;
}

static void set_deltas(struct bf_descriptor *d, int class, int64_t s0, int64_t s1, int64_t s2) {
    int64_t deltas[BF_LEVELS];
    bf_deltas(d->trips, (int64_t[]){s0, s1, s2}, deltas);
    for (int l = 0; l < BF_LEVELS; l++)
        d->cal.delta[class][l] = (int16_t)deltas[l];
}

/* Loops over `pairs` pairs of a stage, `unroll` of them a body, `times` times `step` words on. */
static void pair_loops(struct bf_descriptor *d, int64_t pairs, int64_t unroll, int64_t stride,
                       int64_t times, int64_t step) {
    int64_t low = stride > unroll ? stride / unroll : 1;
    int64_t high = stride > unroll ? 2 * stride : 2 * unroll;
    d->trips[0] = (uint16_t)low;
    d->trips[1] = (uint16_t)(pairs / unroll / low);
    d->trips[2] = (uint16_t)times;
    set_deltas(d, DATA, unroll, high, step);
    set_deltas(d, SUMS, unroll, high, 0);
}

/* Lanes of the weights of all these loops follow each other. */
static void lane_loops(struct bf_descriptor *d, int class, int64_t lanes) {
    int64_t high = lanes * d->trips[0];
    set_deltas(d, class, lanes, high, high * d->trips[1]);
}

static void end_block(struct build *b, unsigned id, const char *name, const struct body *body,
                      struct bf_descriptor *d) {
    d->cal.length = (uint8_t)body->length;
    d->cal.start = (uint8_t)bf_code_body(&b->code, body->cal, body->length);
    d->cal.relative = 1 << DATA;
    d->cal.uses_weights = true;
    add_block(b, id, name, d);
}

/* y_i = w00 x_i + w01 x_j, y_j = w10 x_i + w11 x_j, in place, of all tiles of a phase. */
static void stage_block(struct build *b, unsigned id, int64_t stage, int64_t first, int64_t last,
                        int64_t tiles) {
    struct body body = {.length = 0};
    int64_t stride = stride_of(b, stage), unroll = b->s.unroll;
    int64_t lane = stage * b->each * 2 * b->s.tile;
    for (int64_t u = 0; u < unroll; u++)
        for (int64_t out = 0; out < 2; out++)
            product(&body, 2 * u + out, pair_word(u, stride), lane + 4 * u + out, true);
    for (int64_t u = 0; u < unroll; u++)
        for (int64_t out = 0; out < 2; out++) {
            int64_t i = pair_word(u, stride);
            to_ram(product(&body, 2 * u + out, i + stride, lane + 4 * u + 2 + out, false),
                   i + out * stride, DATA);
        }
    struct bf_descriptor d = new_block(BF_UNIT_CAL, first, last);
    d.need = stage == 0;
    pair_loops(&d, tiles * b->s.tile / 2, unroll, stride, 1, 0);
    lane_loops(&d, WEIGHT, 4 * unroll);
    end_block(b, id, "stage", &body, &d);
}

/* Accumulator a of a chunk belongs to output a mod 2 of pair a / 2. */
static int64_t sum_word(const struct build *b, int64_t a) {
    int64_t stride = stride_of(b, b->s.stages - 1);
    return pair_word(a / 2, stride) + a % 2 * stride;
}

static void read_sums(struct build *b, struct body *body) {
    for (int half = 0; half < 2; half++)
        for (int64_t a = 0; a < 2 * b->s.pairs; a++) {
            struct bf_cal *cal = push(body, half ? BF_CAL_LDHI : BF_CAL_LDLO);
            cal->dst = BF_DST_ACC;
            cal->acc = (uint8_t)a;
            cal->c = (uint16_t)(half * b->s.tile + sum_word(b, a));
            cal->c_class = SUMS;
        }
}

static void write_sums(struct build *b, struct body *body) {
    for (int half = 0; half < 2; half++)
        for (int64_t a = 0; a < 2 * b->s.pairs; a++) {
            struct bf_cal *cal = push(body, half ? BF_CAL_STHI : BF_CAL_STLO);
            cal->a = (uint16_t)a;
            cal->a_class = BF_CLASS_SPECIAL;
            to_ram(cal, half * b->s.tile + sum_word(b, a), SUMS);
        }
}

/* y = acc x scale + bias, from word `word` on. */
static void finish_sums(struct build *b, struct body *body, int64_t word) {
    for (int64_t a = 0; a < 2 * b->s.pairs; a++) {
        struct bf_cal *cal = product(body, 0, a, b->s.finish_lane, false);
        cal->a_class = BF_CLASS_SPECIAL;
        cal->b_class = FINISH;
        cal->c = (uint16_t)(BF_C_LANE << 8 | (1 + a));
        to_ram(cal, word + sum_word(b, a), DATA);
    }
}

/* Groups `group` .. `group` + `groups` - 1 of phases first .. last, `tiles` tiles each. */
static void sum_block(struct build *b, unsigned id, int64_t first, int64_t last, int64_t group,
                      int64_t groups, int64_t tiles) {
    struct body body = {.length = 0};
    int64_t stage = b->s.stages - 1, stride = stride_of(b, stage), pairs = b->s.pairs;
    int64_t step = b->s.merge * b->s.tile, word = group * step;
    int64_t lane = stage * b->each * 2 * b->s.tile + 2 * word;
    bool begins = first == 0 && group == 0;
    if (groups < 1 || first > last)
        return;
    if (!begins)
        read_sums(b, &body);
    for (int64_t g = 0; g < tiles; g++)
        for (int in = 0; in < 2; in++)
            for (int64_t a = 0; a < 2 * pairs; a++)
                product(&body, a, word + g * b->s.tile + pair_word(a / 2, stride) + in * stride,
                        lane + (g * pairs + a / 2) * 4 + 2 * in + a % 2,
                        begins && g == 0 && in == 0);
    if (id == LAST_GROUP)
        finish_sums(b, &body, word);
    else
        write_sums(b, &body);
    struct bf_descriptor d = new_block(BF_UNIT_CAL, first, last);
    d.need = b->s.stages == 1 && first_groups(b, first) == id;
    pair_loops(&d, b->s.tile / 2, pairs, stride, groups, step);
    lane_loops(&d, WEIGHT, 4 * b->s.merge * pairs);
    lane_loops(&d, FINISH, b->s.finish_stride);
    if (id == LAST_GROUP)
        d.target[0] = BF_FIRST_STORE;
    end_block(b, id, id == LAST_GROUP ? "last sums" : "sums", &body, &d);
}

/* The LOAD and first stages of phases first .. last, which work on as many tiles each. */
static void phase_blocks(struct build *b, unsigned stages, unsigned load, int64_t first,
                         int64_t last, int64_t tiles) {
    if (first > last)
        return;
    for (int64_t stage = 0; stage + 1 < b->s.stages; stage++)
        stage_block(b, stages + (unsigned)stage, stage, first, last, tiles);
    if (b->s.stages > 1) {
        load_x(b, load, first, last, tiles, stages);
        return;
    }
    for (int64_t phase = first; phase <= last; load += 2) {
        int64_t end = phase;
        while (end < last && first_groups(b, end + 1) == first_groups(b, phase))
            end++;
        load_x(b, load, phase, end, tiles, first_groups(b, phase));
        phase = end + 1;
    }
}

static void pe_blocks(struct build *b) {
    int64_t end = b->s.phases - 1, steps = b->s.steps, merge = b->s.merge;
    bool equal = b->last == b->each;
    phase_blocks(b, STAGES, LOAD_X, 0, equal ? end : end - 1, b->each);
    if (!equal)
        phase_blocks(b, REST_STAGES, LOAD_REST, end, end, b->last);
    int64_t before = b->last_groups - 1; /* groups before the last, in the last phase */
    sum_block(b, FIRST_GROUP, 0, 0, 0, end > 0 || before > 0, merge);
    sum_block(b, FIRST_REST, 0, end > 0 ? 0 : -1, 1, steps - 1, merge);
    sum_block(b, NEXT_GROUPS, 1, end - 1, 0, steps, merge);
    sum_block(b, LAST_REST, end, end, end == 0, before - (end == 0), merge);
    sum_block(b, LAST_GROUP, end, end, before, 1, b->last - before * merge);
    load_weights(b);
    store_y(b);
}

/* How long weights last: a phase; all tiles of rows where there is one phase; for good. */
static uint8_t group_level(const struct build *b) {
    return b->s.phases > 1 ? 0 : b->share.rounds > 1 ? 2 : 3;
}

static bool schedule(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    struct build b = {
        .map = map, .plan = plan, .s = shape_of(map, plan->kernel), .share = bf_share_load(plan)};
    b.each = b.s.steps * b.s.merge;
    b.last = b.s.columns - (b.s.phases - 1) * b.each;
    b.last_groups = divide_up(b.last, b.s.merge);
    b.trips[0] = b.s.phases;
    b.trips[1] = b.share.tile_rounds;
    b.trips[2] = b.share.rounds;
    bf_code_begin(&b.code, map, plan);
    for (b.pe = 0; b.pe < bf_machine_pes(&map->machine); b.pe++)
        if (bf_share_pe(&b.share, b.pe, &b.block, &b.tile))
            pe_blocks(&b);
    struct bf_launch launch = {
        .window = (uint8_t)plan->window,
        .strict = true,
        .context_base = (uint16_t)plan->context_base,
        .context_size = (uint16_t)plan->context_size,
        .period = (uint16_t)b.s.phases,
        .group_level = group_level(&b),
        .trips = {(uint32_t)b.trips[0], (uint32_t)b.trips[1], (uint32_t)b.trips[2]}};
    launch.base[BASE_IN] = (uint32_t)bf_map_column_word(map, &plan->inputs.data[0], 0, 0, 0);
    launch.base[BASE_OUT] =
        (uint32_t)bf_map_column_word(map, &plan->outputs.data[0], 0, 0, b.share.first * b.s.tile);
    launch.base[BASE_WEIGHTS] = (uint32_t)plan->weight_spm;
    return bf_code_finish(&b.code, &launch, diags);
}

/* ---- verify ---- */

struct definition {
    const struct bf_poly_kernel *kernel;
    const struct bf_weights *weights;
    int64_t tile, stages, columns;
    bool increasing;
};

/* The 2 x 2 matrices of butterfly [row, column], stage by stage. */
static void read_matrices(const struct definition *f, int64_t row, int64_t column, uint32_t *w) {
    const struct bf_kernel_param *twiddle = bf_kernel_find_param(f->kernel, "twiddle");
    for (int64_t stage = 0; stage < f->stages; stage++)
        for (int64_t q = 0; q < f->tile / 2; q++)
            for (int e = 0; e < 4; e++)
                *w++ = bf_values_param(f->weights, twiddle,
                                       (int64_t[]){row, column, 0, stage, q, e / 2, e % 2});
}

/* x <- the stages with these matrices of x. */
static void apply(const struct definition *f, const uint32_t *w, uint32_t *x) {
    for (int64_t stage = 0; stage < f->stages; stage++) {
        int64_t stride = INT64_C(1) << (f->increasing ? stage : f->stages - 1 - stage);
        for (int64_t q = 0; q < f->tile / 2; q++, w += 4) {
            uint32_t *low = &x[pair_word(q, stride)], *high = low + stride, a = *low, b = *high;
            *low = bf_field_add(bf_field_multiply(w[0], a), bf_field_multiply(w[1], b));
            *high = bf_field_add(bf_field_multiply(w[2], a), bf_field_multiply(w[3], b));
        }
    }
}

/* Tile row `row` of the results of all tiles of rows whose values are compared. */
static void define_row(const struct definition *f, const struct bf_map *map,
                       const struct bf_plan *plan, int64_t row, int64_t tiles, uint32_t *want) {
    const struct bf_kernel_param *bias = bf_kernel_find_param(f->kernel, "bias");
    int shift =
        f->kernel->inputs.data[0].buffer->exponent - f->kernel->outputs.data[0].buffer->exponent;
    int64_t width = plan->outputs.data[0].cols;
    uint32_t scale = bf_field_power_of_two(shift);
    uint32_t *w = bf_alloc((size_t)(2 * f->tile * f->stages) * sizeof *w);
    uint32_t *x = bf_alloc((size_t)f->tile * sizeof *x);
    for (int64_t t = 0; t < tiles; t++)
        for (int64_t at = row * f->tile; at < (row + 1) * f->tile; at++)
            want[t * width + at] = bf_values_param(f->weights, bias, &at);
    for (int64_t column = 0; column < f->columns; column++) {
        read_matrices(f, row, column, w);
        for (int64_t t = 0; t < tiles; t++) {
            if (!bf_values_compared(map, plan, t))
                continue;
            for (int64_t e = 0; e < f->tile; e++)
                x[e] = bf_field_multiply(scale, bf_values_input(t, column * f->tile + e));
            apply(f, w, x);
            for (int64_t e = 0; e < f->tile; e++) {
                uint32_t *sum = &want[t * width + row * f->tile + e];
                *sum = bf_field_add(*sum, x[e]);
            }
        }
    }
    free(x);
    free(w);
}

static bool verify(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    if (!bf_values_first(map, plan))
        return true;
    const struct bf_operand *y = &plan->outputs.data[0];
    struct bf_weights *weights = bf_values_weights(plan->kernel);
    struct definition f = {.kernel = plan->kernel,
                           .weights = weights,
                           .tile = bf_ints_get(&plan->kernel->attrs, "tile"),
                           .increasing = bf_ints_get(&plan->kernel->attrs, "increasing") != 0};
    f.stages = (int64_t)bf_log2_floor((uint64_t)f.tile);
    f.columns = plan->inputs.data[0].cols / f.tile;
    int64_t tiles = bf_share_tiles(map, y);
    uint32_t *want = bf_alloc((size_t)(tiles * y->cols) * sizeof *want);
    for (int64_t row = 0; row < y->cols / f.tile; row++)
        define_row(&f, map, plan, row, tiles, want);
    bool ok = bf_values_verify(map, plan, want, weights, 1, diags);
    free(want);
    bf_weights_free(weights);
    return ok;
}

const struct bf_family bf_family_block_butterfly = {divide, NULL, NULL, stream, schedule, verify};
