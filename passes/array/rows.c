/* rows.c - how pointwise and row kernels lie on the array, up to their RAM regions.
 *
 * divide     which tiles, how long a chunk is, how many plans
 * partition  one layout: lanes, the axis worked along in the RAM, the rest in tiles
 * stream     RAM: what row scalars and elements keep | contexts: constants, operands, results
 *
 * Tiles go to PEs first by outer tiles (row tiles of all samples, or samples), then by inner ones,
 * then, where no reduction crosses them, by chunks. Where tiles do not come out even, some PEs are
 * absent in the last round of outer tiles, if a tile is one iteration; else the tiles that are left
 * are a plan of their own.
 */
#include "passes/array/rows.h"

struct division {
    struct bf_map *map;
    struct bf_poly_kernel *kernel;
    struct bf_rows_shape shape;
    struct bf_rows_program program;
    struct bf_diags *diags;
    int part;
};

static int64_t divide_up(int64_t x, int64_t by) {
    return (x + by - 1) / by;
}

static int64_t round_up(int64_t x, int64_t to) {
    return divide_up(x, to) * to;
}

static bool reduces(const struct bf_rows_program *program) {
    bool any = program->passes > 1;
    for (int p = 0; p < program->passes; p++)
        any |= program->pass[p].reductions > 0;
    return any;
}

/* ---- what fits ---- */

/* Words of a region of `chunk` elements: with lanes along columns rows come in tiles. */
static int64_t region_words(const struct bf_rows_shape *shape, int64_t chunk, int64_t lanes) {
    return shape->columns && chunk > lanes ? round_up(chunk, lanes) : chunk;
}

static int64_t context_words(const struct division *d, int64_t chunk) {
    int64_t words = d->program.words;
    int64_t full = region_words(&d->shape, chunk, d->map->machine.lanes);
    for (int i = 0; i < (int)d->kernel->inputs.count; i++) {
        enum bf_rows_class class = bf_rows_class(&d->shape, i);
        words += class == BF_ROWS_FULL ? full : class == BF_ROWS_WORD;
    }
    for (int i = 0; i < (int)d->kernel->outputs.count && d->program.in_place < 0; i++)
        words += bf_rows_is_row_output(&d->shape, i) ? 1 : full;
    if (d->program.across > 1)
        words += d->program.keep + d->program.temp_words + d->program.exchange_words;
    return words;
}

/* Words that iterations share. */
static int64_t fixed_words(const struct division *d) {
    return d->program.across > 1 ? 0 : d->program.keep + d->program.temp_words;
}

static int64_t weight_words(const struct division *d, int64_t chunk) {
    int64_t v = d->map->machine.lanes;
    int64_t params = (int64_t)d->kernel->params.count, stride = bf_rows_interleave(&d->shape, v);
    int64_t words =
        divide_up(d->program.lanes, v) + bf_rows_vectors(&d->shape) * divide_up(chunk, v);
    return stride > 1 ? words - params * divide_up(chunk, v) + divide_up(chunk * stride, v) : words;
}

/* Weight lanes that an address reaches: both halves as one, or one. */
static int64_t weight_limit(const struct bf_machine *machine, bool vary) {
    return vary || !bf_rows_one_set(machine) ? machine->weight_half : 2 * machine->weight_half;
}

static bool chunk_fits(const struct division *d, int64_t chunk, int64_t window) {
    const struct bf_machine *machine = &d->map->machine;
    int64_t v = machine->lanes, chunks = divide_up(d->shape.n, chunk);
    bool shared = d->program.across > 1; /* a chunk stays on its PE */
    bool vary = bf_rows_vectors(&d->shape) && ((chunks > 1 && !shared) || d->shape.by_sample);
    bool aligned = chunk % v == 0 || (!d->shape.columns && !bf_rows_vectors(&d->shape));
    bool whole = !d->shape.head || d->shape.n % chunk == 0; /* phases don't tell heads apart */
    return (chunks == 1 || aligned) && whole && chunk <= BF_MAX_TRIPS &&
           (!reduces(&d->program) || shared || chunks * d->program.passes <= BF_MAX_PERIOD) &&
           fixed_words(d) + window * context_words(d, chunk) <= machine->data_ram &&
           weight_words(d, chunk) <= weight_limit(machine, vary);
}

/* The whole axis, or the largest equal parts, if these are not many more than parts of which the
 * last is shorter; 0 if nothing fits. */
static int64_t largest_chunk(const struct division *d, int64_t window) {
    int64_t n = d->shape.n, v = d->map->machine.lanes, most = n;
    if (chunk_fits(d, n, window))
        return n;
    for (int64_t k = 2; d->shape.head && k <= n; k++)
        if (n % k == 0 && chunk_fits(d, n / k, window))
            return n / k;
    if (d->shape.head)
        return 0;
    for (most = n / v * v; most > 0 && !chunk_fits(d, most, window); most -= v)
        ;
    if (!most)
        return 0;
    int64_t parts = divide_up(n, most);
    for (int64_t k = parts; k <= 2 * parts; k++)
        if (n % k == 0 && chunk_fits(d, n / k, window))
            return n / k;
    return round_up(divide_up(n, parts), v);
}

/* Fits twice, so that the next chunk loads meanwhile, if possible; where chunks are independent and
 * PEs to spare, enough chunks for them. 0 if nothing fits. */
static int64_t choose_chunk(const struct division *d, int64_t tile_rounds, int64_t spare) {
    int64_t n = d->shape.n, best = tile_rounds == 1 && chunk_fits(d, n, 1) ? n : 0;
    if (!best)
        best = largest_chunk(d, 2);
    if (!best)
        best = largest_chunk(d, 1);
    if (!best || reduces(&d->program))
        return best;
    for (int64_t parts = spare; parts > 1; parts /= 2)
        for (int64_t k = parts; k <= 8 * parts; k += parts)
            if (n % k == 0 && n / k >= 8 && n / k <= best && chunk_fits(d, n / k, 2))
                return n / k;
    return best;
}

static int64_t power_of_two_dividing(int64_t n, int64_t limit) {
    int64_t p = 1;
    while (p * 2 <= limit && n % (p * 2) == 0)
        p *= 2;
    return p;
}

static bool refuse(const struct division *d, const char *what, int64_t need, int64_t limit) {
    return bf_diag_error(
        d->diags, d->kernel->loc, "cannot map %s on '%s': it needs %lld %s, the array has %lld",
        d->kernel->what, d->map->machine.name, (long long)need, what, (long long)limit);
}

static bool refuse_chunk(const struct division *d) {
    const struct bf_machine *machine = &d->map->machine;
    int64_t v = machine->lanes, n = d->shape.n, least = n < v ? n : v;
    int64_t ram = fixed_words(d) + context_words(d, least);
    if (ram > machine->data_ram)
        return refuse(d, "words of data RAM a PE", ram, machine->data_ram);
    if (weight_words(d, least) > machine->weight_half)
        return refuse(d, "weight words a PE", weight_words(d, least), machine->weight_half);
    return refuse(d, "iterations a tile", divide_up(n, least) * d->program.passes, BF_MAX_PERIOD);
}

/* ---- divide ---- */

static void save_constants(struct bf_map *map, struct bf_plan *plan, const char *name,
                           const uint16_t *bits, int count) {
    bf_plan_set(map, plan, bf_arena_printf(&map->arena, "%ss", name), count);
    for (int i = 0; i < count; i++)
        bf_plan_set(map, plan, bf_arena_printf(&map->arena, "%s%d", name, i), bits[i]);
}

static void add_plan(struct division *d, int64_t first, const int64_t count[BF_ROWS_AXES],
                     const int64_t groups[BF_ROWS_AXES], int64_t chunk) {
    struct bf_map *map = d->map;
    struct bf_plan *plan = bf_map_add_plan(map, d->kernel, d->part++);
    for (size_t i = 0; i < d->kernel->inputs.count; i++)
        *bf_push(&plan->inputs) = d->kernel->inputs.data[i];
    for (size_t i = 0; i < d->kernel->outputs.count; i++)
        *bf_push(&plan->outputs) = d->kernel->outputs.data[i];
    bf_plan_set(map, plan, "chunk", chunk);
    bf_plan_set(map, plan, "first", first);
    bf_plan_set(map, plan, "chunks", count[0]);
    bf_plan_set(map, plan, "passes", count[1]);
    bf_plan_set(map, plan, "inner", count[2]);
    bf_plan_set(map, plan, "outer", count[3]);
    bf_plan_set(map, plan, "interleave", bf_rows_interleave(&d->shape, map->machine.lanes));
    bf_plan_set(map, plan, "chunk_groups", groups[0]);
    if (d->shape.head)
        bf_plan_set(map, plan, "head_groups", groups[1]);
    bf_plan_set(map, plan, "inner_groups", groups[2]);
    bf_plan_set(map, plan, "outer_groups", groups[3]);
    save_constants(map, plan, "lane", d->program.lane, d->program.lanes);
    save_constants(map, plan, "word", d->program.word, d->program.words);
}

/* How a number of tiles can be spread over the PEs. */
struct spread {
    int64_t inner, inner_groups;
    int64_t outer, outer_groups; /* as many as one plan takes */
    int64_t chunk, chunks, chunk_groups;
    int64_t passes; /* that are iterations of their own, or heads */
    int64_t head_groups;
};

static bool spread_tiles(const struct division *d, int64_t inner, int64_t outer, int64_t groups,
                         struct spread *s) {
    int64_t pes = bf_machine_pes(&d->map->machine);
    s->inner = inner;
    s->outer_groups = groups;
    s->outer = outer < groups ? outer : outer / groups * groups;
    s->inner_groups = power_of_two_dividing(inner, pes / groups);
    s->head_groups = power_of_two_dividing(d->shape.heads, pes / (groups * s->inner_groups));
    int64_t spare = pes / (groups * s->inner_groups * s->head_groups);
    int64_t rounds = inner / s->inner_groups * divide_up(s->outer, groups);
    s->chunk = choose_chunk(d, rounds, spare);
    if (!s->chunk)
        return false;
    s->chunks = divide_up(d->shape.n, s->chunk);
    bool equal = d->shape.n % s->chunk == 0 && !reduces(&d->program);
    s->chunk_groups = equal ? power_of_two_dividing(s->chunks, spare) : 1;
    s->passes = s->chunks > 1 ? d->program.passes : 1;
    if (d->shape.head)
        s->passes = d->shape.heads;
    if (reduces(&d->program) && s->chunks == 1 &&
        inner / s->inner_groups * divide_up(outer, groups) <= BF_MAX_PERIOD)
        s->outer = outer; /* some PEs are absent in the last round */
    int levels = (s->chunks > s->chunk_groups) + (s->passes > s->head_groups) +
                 (inner > s->inner_groups) + (s->outer > groups);
    if (levels > BF_LEVELS)
        s->outer = outer < groups ? outer : groups;
    return true;
}

/* Estimated cycles: an element its instructions, an iteration and a launch what they wait. */
static int64_t cost_of(const struct division *d, const struct spread *s) {
    int64_t slots = 0, iterations = s->chunks / s->chunk_groups * (s->passes / s->head_groups) *
                                    (s->inner / s->inner_groups) *
                                    divide_up(s->outer, s->outer_groups);
    int64_t share = d->shape.head ? 1 : s->passes; /* of a pass in the slots */
    for (int p = 0; p < d->program.passes; p++)
        slots += (int64_t)d->program.pass[p].loop.count;
    return 300 + iterations * (s->chunk * (slots > 4 ? slots : 4) / share + 40);
}

/* The cheapest spread of the first of `outer` tiles, given that the rest is spread so too; its cost
 * with the rest's, 0 if nothing fits. Where reductions keep a tile on one PE, as many PEs as
 * possible. */
static int64_t choose_spread(const struct division *d, int64_t inner, int64_t outer,
                             struct spread *best) {
    int64_t pes = bf_machine_pes(&d->map->machine), least = 0;
    for (int64_t groups = pes; groups > 0; groups /= 2) {
        struct spread s, rest;
        if ((groups > 1 && groups / 2 >= outer) || !spread_tiles(d, inner, outer, groups, &s))
            continue;
        int64_t cost = cost_of(d, &s);
        if (s.outer < outer && !reduces(&d->program))
            cost += choose_spread(d, inner, outer - s.outer, &rest);
        if (least && cost >= least)
            continue;
        least = cost;
        *best = s;
        if (reduces(&d->program))
            break;
    }
    return least;
}

/* ---- reductions: on one PE, or across a group ---- */

static bool compile(struct division *d, int64_t group) {
    bf_rows_program_free(&d->program);
    return bf_rows_compile(d->map, &d->shape, group, &d->program, group > 1 ? NULL : d->diags);
}

/* Iterations in flight: 0 if not even one fits. */
static int64_t window_of(const struct division *d, int64_t chunk) {
    int64_t window = 0, most = d->map->machine.window;
    while (window < most && chunk_fits(d, chunk, window + 1))
        window++;
    return window;
}

/* Cycles that the ports of the scratchpad take for so many words: about three in four are used. */
static int64_t port_cycles(const struct division *d, int64_t words) {
    return words * 4 / (3 * (int64_t)d->map->machine.spm_ports);
}

/* Estimated cycles of a spread: filling, iterations, draining. Where the next iteration has no
 * room, loads wait; an exchange takes a while, which other iterations can use. */
static int64_t reduction_cost(const struct division *d, const struct spread *s) {
    enum { EXCHANGE = 40, LAUNCH = 100 };
    const struct bf_rows_program *program = &d->program;
    int64_t groups = s->outer < s->outer_groups ? s->outer : s->outer_groups, in = 0, out = 0;
    int64_t words = s->chunk * groups * s->inner_groups * s->chunk_groups, elements = 0, rows = 0;
    int64_t rounds = s->inner / s->inner_groups * divide_up(s->outer, s->outer_groups);
    int64_t iterations = s->chunks / s->chunk_groups * s->passes, exchanges = 0;
    for (int i = 0; i < (int)d->kernel->inputs.count; i++)
        in += bf_rows_class(&d->shape, i) == BF_ROWS_FULL;
    for (int i = 0; i < (int)d->kernel->outputs.count; i++)
        out += !bf_rows_is_row_output(&d->shape, i);
    for (int p = 0; p <= program->passes; p++) {
        const struct bf_rows_pass *pass = &program->pass[p];
        elements += (int64_t)pass->loop.count;
        rows +=
            (int64_t)(pass->init.count + pass->finish.count + pass->send.count + pass->relay.count);
        exchanges += pass->unit ? program->levels : 0;
    }
    int64_t cal = (s->chunk * elements + rows * 2) / s->passes, window = window_of(d, s->chunk);
    int64_t port = port_cycles(d, words * (in * s->passes + out) / s->passes);
    int64_t step = window < 2 ? cal + port : cal > port ? cal : port;
    step += exchanges * EXCHANGE / (window > 1 ? 2 * window : 1);
    return LAUNCH + port_cycles(d, words * (in + out)) + rounds * iterations * step;
}

/* A tile lies across `group` PEs, an equal share on each. */
static bool spread_across(const struct division *d, int64_t inner, int64_t outer, int64_t group,
                          struct spread *s) {
    int64_t places = bf_machine_pes(&d->map->machine) / group, groups = 1;
    while (groups < places && groups < outer)
        groups *= 2;
    *s = (struct spread){.inner = inner,
                         .outer_groups = groups,
                         .inner_groups = power_of_two_dividing(inner, places / groups),
                         .chunk = d->shape.n / group,
                         .chunks = group,
                         .chunk_groups = group,
                         .passes = 1,
                         .head_groups = 1};
    bool counted = inner / s->inner_groups * divide_up(outer, groups) <= BF_MAX_PERIOD;
    s->outer = counted || outer < groups ? outer : outer / groups * groups;
    return d->shape.n % group == 0 && d->program.across > 1 && window_of(d, s->chunk) > 0 &&
           4 * d->program.passes + d->program.levels * d->program.passes < BF_FIRST_LOAD &&
           d->program.levels * d->program.passes <= BF_FIRST_STORE - BF_FIRST_FLOW;
}

/* Replaces what one PE a tile costs where sharing costs less; leaves the program of the choice. */
static bool choose_group(struct division *d, int64_t inner, int64_t outer, struct spread *best,
                         bool fits) {
    int64_t least = fits ? reduction_cost(d, best) : 0, chosen = 1;
    for (int64_t group = 2; group <= bf_machine_pes(&d->map->machine); group *= 2) {
        struct spread s;
        if (!compile(d, group) || !spread_across(d, inner, outer, group, &s))
            continue;
        int64_t cost = reduction_cost(d, &s);
        if (least && cost >= least)
            continue;
        least = cost;
        chosen = group;
        *best = s;
    }
    return compile(d, chosen) && least > 0;
}

/* A plan of as many outer tiles from `first` on as come out even; returns how many, 0 if nothing
 * fits. */
static int64_t divide_outer(struct division *d, int64_t inner, int64_t first, int64_t outer) {
    struct spread s;
    bool fits = choose_spread(d, inner, outer, &s) > 0;
    if (reduces(&d->program))
        fits = choose_group(d, inner, outer, &s, fits);
    if (!fits)
        return 0;
    add_plan(d, first, (int64_t[]){s.chunks, s.passes, inner, s.outer},
             (int64_t[]){s.chunk_groups, s.head_groups, s.inner_groups, s.outer_groups}, s.chunk);
    return s.outer;
}

/* Words of V columns, and rows that a lane or a loop over tiles begins with, begin at a tile. */
static bool aligned(const struct division *d, const struct bf_operand *operand, bool row,
                    bool from_row_0) {
    int64_t v = d->map->machine.lanes;
    if ((!row || operand->col % v == 0) && (!from_row_0 || operand->row % v == 0))
        return true;
    return bf_diag_error(d->diags, d->kernel->loc,
                         "cannot map %s on '%s': it reads '%s' from row %lld, column %lld; slices "
                         "must begin at multiples of %lld here",
                         d->kernel->what, d->map->machine.name, operand->buffer->name,
                         (long long)operand->row, (long long)operand->col, (long long)v);
}

static bool operands_aligned(const struct division *d) {
    bool columns = d->shape.columns, ok = true;
    for (int i = 0; i < (int)d->kernel->inputs.count; i++) {
        const struct bf_operand *operand = &d->kernel->inputs.data[i];
        enum bf_rows_class class = bf_rows_class(&d->shape, i);
        bool full = class == BF_ROWS_FULL, data = full || class == BF_ROWS_WORD;
        bool by_column =
            data ? !columns : columns && operand->buffer->rows > 1 && operand->rows > 1;
        ok &= aligned(d, operand, !by_column, by_column || (full && columns && d->shape.n > 1));
    }
    return ok;
}

/* Samples of one row lie V to a tile: a plan stays in one. */
static int64_t samples_a_plan(const struct division *d) {
    bool single = false;
    for (size_t i = 0; i < d->kernel->inputs.count; i++)
        single |= d->kernel->inputs.data[i].buffer->rows == 1 &&
                  d->kernel->inputs.data[i].buffer->samples > 1;
    for (size_t i = 0; i < d->kernel->outputs.count; i++)
        single |= d->kernel->outputs.data[i].buffer->rows == 1 &&
                  d->kernel->outputs.data[i].buffer->samples > 1;
    return single ? d->map->machine.lanes : INT64_MAX;
}

static bool divide(struct division *d) {
    int64_t v = d->map->machine.lanes, inner = 1, outer = d->shape.samples;
    if (d->shape.columns)
        inner = divide_up(d->shape.cols, v);
    else if (d->shape.packed)
        outer = divide_up(d->shape.samples, v);
    else if (d->shape.by_sample)
        inner = d->shape.pitch / v;
    else
        outer = d->shape.samples * (d->shape.pitch / v);
    int64_t most = d->shape.by_sample ? samples_a_plan(d) : INT64_MAX;
    for (int64_t first = 0; first < outer;) {
        if (d->program.across > 1 && !compile(d, 1))
            return false;
        int64_t left = most == INT64_MAX ? outer - first : most - first % most;
        left = left < outer - first ? left : outer - first;
        int64_t done = divide_outer(d, inner, first, left);
        if (!done)
            return refuse_chunk(d);
        first += done;
    }
    return true;
}

static bool rows_divide(struct bf_map *map, struct bf_poly_kernel *kernel, struct bf_diags *diags) {
    struct division d = {.map = map, .kernel = kernel, .diags = diags};
    d.shape = bf_rows_shape(kernel, map->machine.lanes);
    bool ok =
        bf_rows_compile(map, &d.shape, 1, &d.program, diags) && operands_aligned(&d) && divide(&d);
    bf_rows_program_free(&d.program);
    return ok;
}

/* ---- partition ---- */

static bool rows_partition(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    (void)map, (void)diags;
    struct bf_layout layout = {.first = plan->first, .last = plan->last};
    bool columns = plan->kernel->lanes == BF_LANES_COLS;
    static const enum bf_where where[2][3] = {{BF_AT_TILE, BF_AT_LANE, BF_AT_LOCAL},
                                              {BF_AT_TILE, BF_AT_LOCAL, BF_AT_LANE}};
    for (int digit = 0; digit < 3; digit++)
        *bf_push(&layout.digits) = (struct bf_layout_digit){digit, where[columns][digit],
                                                            where[columns][digit] == BF_AT_LOCAL};
    if (plan->kernel->digits.count > 3) /* heads */
        *bf_push(&layout.digits) = (struct bf_layout_digit){3, BF_AT_TILE, 0};
    *bf_push(&plan->layouts) = layout;
    return true;
}

/* ---- stream ---- */

static void add_regions(struct bf_map *map, struct bf_plan *plan, const struct division *d,
                        int64_t chunk) {
    int64_t base = 0, full = region_words(&d->shape, chunk, map->machine.lanes), first = 0;
    bool across = d->program.across > 1; /* iterations overlap: nothing is theirs together */
    int64_t own[] = {d->program.keep, d->program.temp_words, d->program.exchange_words};
    static const char *const names[] = {"keep", "temp", "exchange"};
    for (int i = 0; i < (across ? 3 : 2); i++) {
        bf_plan_add_region(map, plan, names[i], across ? base : first, own[i], across);
        *(across ? &base : &first) += own[i];
    }
    bf_plan_add_region(map, plan, "const", base, d->program.words, true);
    base += d->program.words;
    for (int i = 0; i < (int)d->kernel->inputs.count; i++) {
        enum bf_rows_class class = bf_rows_class(&d->shape, i);
        if (class != BF_ROWS_FULL && class != BF_ROWS_WORD)
            continue;
        int64_t words = class == BF_ROWS_FULL ? full : 1;
        bf_plan_add_region(map, plan, bf_arena_printf(&map->arena, "in%d", i), base, words, true);
        if (i == d->program.in_place)
            bf_plan_add_region(map, plan, "out0", base, words, true);
        base += words;
    }
    for (int i = 0; i < (int)d->kernel->outputs.count && d->program.in_place < 0; i++) {
        int64_t words = bf_rows_is_row_output(&d->shape, i) ? 1 : full;
        bf_plan_add_region(map, plan, bf_arena_printf(&map->arena, "out%d", i), base, words, true);
        base += words;
    }
    plan->context_base = first;
    plan->context_size = base;
}

static bool rows_stream(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    struct division d = {.map = map, .kernel = plan->kernel, .diags = diags};
    d.shape = bf_rows_shape(plan->kernel, map->machine.lanes);
    struct bf_rows_plan p = bf_rows_plan(&d.shape, plan, map->machine.lanes);
    if (!bf_rows_compile(map, &d.shape, p.groups[0], &d.program, diags))
        return false;
    add_regions(map, plan, &d, p.chunk);
    int64_t window = (map->machine.data_ram - plan->context_base) / plan->context_size;
    int64_t iterations = p.rounds[0] * p.rounds[1] * p.rounds[2] * p.rounds[3];
    int64_t most = map->machine.window < BF_MAX_WINDOW ? map->machine.window : BF_MAX_WINDOW;
    window = window < most ? window : most;
    plan->window = window < iterations ? window : iterations;
    if (p.set_words)
        plan->recipe = bf_map_add_recipe(map, "rows", plan, p.count[0], 1, p.set_words);
    bf_rows_program_free(&d.program);
    return true;
}

const struct bf_family bf_family_rows = {
    rows_divide, NULL, rows_partition, rows_stream, bf_rows_schedule, bf_rows_verify,
};
