/* attention.c - which PE works on which heads and queries when, and what lies where in the RAM. */
#include "passes/array/attention.h"

#include <stdlib.h>

static const char *const dim_names[BF_JOB_DIMS] = {"head", "group", "tile", "sample", "batch"};

static int64_t round_up(int64_t n, int64_t to) {
    return (n + to - 1) / to * to;
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* ---- shape ---- */

struct bf_key_chunk bf_attention_chunk(const struct bf_attention *a, int64_t chunk) {
    int64_t key = chunk * a->unroll;
    return (struct bf_key_chunk){key, smaller(a->keys - key, a->unroll)};
}

/* In the order of the lanes, then of the words: phases of one lane range follow each other. */
int64_t bf_attention_columns(const struct bf_attention *a, int64_t offset,
                             struct bf_column_chunk chunks[BF_ATTENTION_COLUMNS]) {
    int64_t n = 0, words = (offset + a->columns + a->lanes - 1) / a->lanes;
    for (int64_t lane = 0; lane < a->lanes; lane++) {
        for (int64_t word = 0; word < words; word++) {
            int64_t begin = word ? 0 : offset;
            int64_t end = smaller(offset + a->columns - word * a->lanes, a->lanes);
            int64_t column = word * a->lanes + lane - offset;
            if (lane < begin || lane >= end || (lane - begin) % a->unroll ||
                column < a->first_column || column >= a->end_column)
                continue;
            if (n < BF_ATTENTION_COLUMNS)
                chunks[n] = (struct bf_column_chunk){word, lane, smaller(end - lane, a->unroll)};
            n++;
        }
    }
    return n;
}

/* Lanes before the first column of a head in its first word. */
static int64_t head_offset(const struct bf_attention *a, const struct bf_operand *operand,
                           int64_t head) {
    return (operand->col + head * a->columns) % a->lanes;
}

/* The window lies between the number of chunks and 8 and divides the period, whose idle phases are
 * as few as possible. */
static void choose_window(struct bf_attention *a) {
    int64_t phases = a->chunks + a->column_phases;
    a->period = INT64_MAX;
    for (int64_t w = BF_MAX_WINDOW; w >= a->chunks && w >= 1; w--) {
        if (round_up(phases, w) >= a->period)
            continue;
        a->period = round_up(phases, w);
        a->window = w;
    }
}

static void lay_out_ram(struct bf_attention *a) {
    bool parts = !(a->begins && a->ends);
    a->constant_words = parts ? BF_CONST_WORDS : BF_CONST_SHRINK;
    a->constants = 2 * a->unroll;
    a->state_words = a->constants + a->constant_words;
    a->row_words = a->state_words + (parts ? 4 : 0);
    a->table_words = a->row_words + (a->row_mask ? a->unroll : 0);
    a->y_words = a->table_words + (a->table ? a->unroll : 0);
    a->context_size = a->y_words + (parts ? 2 * a->unroll : a->unroll);
    a->q_words = 0;
    a->inverse = a->columns;
    a->context_base = a->inverse + 3;
}

/* Of `keys` keys from `first_key` on, and of some of the output's columns; keys 0: as many as one
 * part can have; columns 0: all. */
static struct bf_attention shape_of(const struct bf_map *map, const struct bf_poly_kernel *kernel,
                                    int64_t first_key, int64_t keys, int64_t first_column,
                                    int64_t columns) {
    struct bf_attention a = {.q = &kernel->inputs.data[0],
                             .k = &kernel->inputs.data[1],
                             .v = &kernel->inputs.data[2],
                             .mask = kernel->inputs.count > 3 ? &kernel->inputs.data[3] : NULL,
                             .y = &kernel->outputs.data[0],
                             .lanes = map->machine.lanes,
                             .heads = bf_ints_get(&kernel->attrs, "heads"),
                             .kv_heads = bf_ints_get(&kernel->attrs, "kv_heads")};
    a.all_keys = a.k->rows;
    a.first_key = first_key;
    a.first_column = first_column;
    a.queries = a.q->rows;
    a.columns = a.q->cols / a.heads;
    a.end_column = columns ? first_column + columns : a.columns;
    a.lane_mask = a.mask && a.mask->rows == 1;
    a.row_mask = a.mask && !a.lane_mask;
    a.table = bf_ints_get(&kernel->attrs, "causal") || bf_ints_get(&kernel->attrs, "window") > 0;
    for (int64_t h = 0; h < a.kv_heads; h++) {
        int64_t words = (head_offset(&a, a.k, h) + a.columns + a.lanes - 1) / a.lanes;
        a.cover = words > a.cover ? words : a.cover;
    }
    a.unroll = smaller(8, a.lanes);
    while (a.unroll > 4 && a.unroll * (a.cover + a.lane_mask) > map->machine.weight_half)
        a.unroll /= 2;
    int64_t most =
        smaller(a.unroll * BF_ATTENTION_CHUNKS, map->machine.weight_half / a.lanes * a.lanes);
    a.keys = keys ? keys : smaller(a.all_keys, most);
    a.begins = first_key == 0;
    a.ends = first_key + a.keys == a.all_keys;
    a.chunks = (a.keys + a.unroll - 1) / a.unroll;
    for (int64_t h = 0; h < a.kv_heads; h++) {
        struct bf_column_chunk chunks[BF_ATTENTION_COLUMNS];
        int64_t n = bf_attention_columns(&a, head_offset(&a, a.v, h), chunks);
        a.column_phases = n > a.column_phases ? n : a.column_phases;
    }
    choose_window(&a);
    lay_out_ram(&a);
    return a;
}

struct bf_attention bf_attention_of(const struct bf_map *map, const struct bf_plan *plan) {
    struct bf_attention a =
        shape_of(map, plan->kernel, bf_plan_int(plan, "first_key"), bf_plan_int(plan, "keys"),
                 bf_plan_int(plan, "first_column"), bf_plan_int(plan, "output_columns"));
    if (!a.ends)
        a.state = &plan->outputs.data[0];
    else if (!a.begins)
        a.state = &plan->inputs.data[plan->inputs.count - 1];
    return a;
}

/* ---- what does not fit ---- */

static bool refuse(const struct bf_map *map, const struct bf_poly_kernel *kernel,
                   struct bf_diags *diags, const char *need) {
    return bf_diag_error(diags, kernel->loc, "cannot map %s on '%s': %s", kernel->what,
                         map->machine.name, need);
}

static bool check_machine(const struct bf_map *map, const struct bf_poly_kernel *kernel,
                          const struct bf_attention *a, struct bf_diags *diags) {
    const struct bf_machine *m = &map->machine;
    char text[256];
    int64_t set = a->unroll * (a->cover + a->lane_mask), values = round_up(a->keys, a->lanes);
    int64_t ram = a->context_base + a->window * a->context_size;
    if (!m->special)
        return refuse(map, kernel, diags, "softmax needs special functions, the array has none");
    if (m->accumulators < 8)
        snprintf(text, sizeof text, "it needs 8 accumulators, the array has %u", m->accumulators);
    else if (set > m->weight_half)
        snprintf(
            text, sizeof text,
            "%lld keys of a head of %lld columns need %lld words of weight RAM, half of it has "
            "%u",
            (long long)a->unroll, (long long)a->columns, (long long)set, m->weight_half);
    else if (!a->keys)
        snprintf(text, sizeof text,
                 "a tile of %lld keys needs as many words of weight RAM, half of it has %u",
                 (long long)a->lanes, m->weight_half);
    else if (values > m->weight_half)
        snprintf(text, sizeof text, "%lld keys need %lld words of weight RAM, half of it has %u",
                 (long long)a->keys, (long long)values, m->weight_half);
    else if (a->column_phases > BF_ATTENTION_COLUMNS || a->columns > BF_MAX_TRIPS)
        snprintf(text, sizeof text, "a head has %lld columns, at most %lld are possible",
                 (long long)a->columns, (long long)(BF_ATTENTION_COLUMNS - 1) * a->unroll);
    else if (ram > m->data_ram)
        snprintf(text, sizeof text, "it needs %lld words of data RAM a PE, the array has %u",
                 (long long)ram, m->data_ram);
    else
        return true;
    return refuse(map, kernel, diags, text);
}

/* Samples of single rows share tiles: then lanes are not the queries of one sample. */
static bool packed(const struct bf_operand *operand) {
    return operand->buffer->rows == 1 && operand->buffer->samples > 1;
}

static bool check_operands(const struct bf_map *map, const struct bf_poly_kernel *kernel,
                           const struct bf_attention *a, struct bf_diags *diags) {
    if (packed(a->q) || packed(a->k) || packed(a->v) || packed(a->y))
        return refuse(map, kernel, diags, "a batch of samples with a single query or key");
    const struct bf_operand *all[] = {a->q, a->k, a->v, a->y, a->mask};
    for (int i = 0; i < 5; i++)
        if (all[i] && all[i]->row % a->lanes)
            return refuse(map, kernel, diags, "an operand whose rows do not begin at a tile");
    if (a->mask && a->mask->buffer->samples != 1 &&
        a->mask->buffer->samples != a->y->buffer->samples)
        return refuse(map, kernel, diags, "a mask for each head");
    return true;
}

/* ---- divide: spread jobs over PEs, rounds and plans ---- */

void bf_jobs_save(struct bf_map *map, struct bf_plan *plan, const struct bf_jobs *jobs) {
    char name[32];
    for (int d = 0; d < BF_JOB_DIMS; d++) {
        snprintf(name, sizeof name, "%s_across", dim_names[d]);
        bf_plan_set(map, plan, bf_arena_strdup(&map->arena, name), jobs->across[d]);
        snprintf(name, sizeof name, "%s_rounds", dim_names[d]);
        bf_plan_set(map, plan, bf_arena_strdup(&map->arena, name), jobs->rounds[d]);
        snprintf(name, sizeof name, "%s_first", dim_names[d]);
        bf_plan_set(map, plan, bf_arena_strdup(&map->arena, name), jobs->first[d]);
    }
    bf_plan_set(map, plan, "level1", jobs->level1);
    bf_plan_set(map, plan, "level2", jobs->level2);
}

struct bf_jobs bf_jobs_load(const struct bf_plan *plan) {
    struct bf_jobs jobs;
    char name[32];
    for (int d = 0; d < BF_JOB_DIMS; d++) {
        snprintf(name, sizeof name, "%s_across", dim_names[d]);
        jobs.across[d] = bf_plan_int(plan, name);
        snprintf(name, sizeof name, "%s_rounds", dim_names[d]);
        jobs.rounds[d] = bf_plan_int(plan, name);
        snprintf(name, sizeof name, "%s_first", dim_names[d]);
        jobs.first[d] = bf_plan_int(plan, name);
    }
    jobs.level1 = (int)bf_plan_int(plan, "level1");
    jobs.level2 = (int)bf_plan_int(plan, "level2");
    return jobs;
}

struct spread {
    int64_t count[BF_JOB_DIMS], pes;
    bool one_head; /* at a time */
    struct bf_jobs now, best;
    int64_t cost; /* rounds of the best */
};

/* All ways of giving each number a divisor of itself, at most `pes` PEs in all. */
static void try_spread(struct spread *s, int dim, int64_t pes, int64_t rounds) {
    if (dim == BF_JOB_DIMS) {
        if (rounds < s->cost) {
            s->cost = rounds;
            s->best = s->now;
        }
        return;
    }
    for (int64_t across = 1; across <= pes && across <= s->count[dim]; across++) {
        if (s->count[dim] % across || (dim == BF_JOB_HEAD && s->one_head && across > 1))
            continue;
        s->now.across[dim] = across;
        s->now.rounds[dim] = s->count[dim] / across;
        try_spread(s, dim + 1, pes / across, rounds * s->now.rounds[dim]);
    }
}

/* A way of dividing a kernel: `one_head` at a time, so that all PEs share bodies; `columns` of the
 * output a plan, so that it has fewer blocks. */
struct division {
    struct bf_map *map;
    struct bf_poly_kernel *kernel;
    struct bf_attention a;
    bool one_head;
    int64_t columns;
    int part; /* plans so far */
};

static struct spread spread_jobs(const struct division *v, int64_t samples, int64_t batches) {
    const struct bf_attention *a = &v->a;
    struct spread s = {.count = {a->kv_heads, a->heads / a->kv_heads,
                                 (a->queries + a->lanes - 1) / a->lanes, samples, batches},
                       .pes = bf_machine_pes(&v->map->machine),
                       .one_head = v->one_head,
                       .cost = INT64_MAX};
    try_spread(&s, 0, s.pes, 1);
    return s;
}

/* Whether rounds of a number can be a level of a launch: addresses must advance by a constant, and
 * lanes stay where they are. */
static bool affine(const struct bf_attention *a, const struct bf_jobs *jobs, int dim) {
    if (dim == BF_JOB_HEAD && jobs->across[dim] * a->columns % a->lanes)
        return false;
    if (dim == BF_JOB_SAMPLE && a->lane_mask && a->mask->buffer->samples > 1)
        return false;
    return jobs->rounds[dim] > 1;
}

static int most_rounds(const struct bf_attention *a, const struct bf_jobs *jobs, int except) {
    int best = -1;
    for (int d = 0; d < BF_JOB_DIMS; d++)
        if (d != except && affine(a, jobs, d) && (best < 0 || jobs->rounds[d] > jobs->rounds[best]))
            best = d;
    return best;
}

static struct bf_buffer *add_state(struct division *v) {
    struct bf_poly *poly = v->map->poly;
    const char *name = bf_arena_printf(&poly->arena, "%s.state", v->kernel->name);
    struct bf_buffer *state = bf_poly_find_buffer(poly, name);
    if (state)
        return state;
    state = bf_poly_add_buffer(poly, name, BF_BUFFER_TEMP);
    state->dtype = BF_F16;
    state->samples = v->a.y->buffer->samples;
    state->rows = v->a.queries;
    state->cols = v->a.heads * (2 * v->a.columns + 4);
    state->loc = v->kernel->loc;
    return state;
}

/* Some keys for some columns of the output; the state goes from part to part. */
static void add_plan(struct division *v, const struct bf_jobs *jobs, int64_t first_key,
                     int64_t keys, int64_t column) {
    struct bf_plan *plan = bf_map_add_plan(v->map, v->kernel, v->part++);
    bf_jobs_save(v->map, plan, jobs);
    bf_plan_set(v->map, plan, "first_key", first_key);
    bf_plan_set(v->map, plan, "keys", keys);
    bf_plan_set(v->map, plan, "first_column", column);
    bf_plan_set(v->map, plan, "output_columns", smaller(v->columns, v->a.columns - column));
    for (size_t i = 0; i < v->kernel->inputs.count; i++)
        *bf_push(&plan->inputs) = v->kernel->inputs.data[i];
    if (first_key)
        *bf_push(&plan->inputs) = bf_operand_whole(add_state(v));
    *bf_push(&plan->outputs) = first_key + keys == v->a.all_keys ? v->kernel->outputs.data[0]
                                                                 : bf_operand_whole(add_state(v));
}

/* Parts of equal size, but for the last; they begin at a tile of keys. */
static void add_parts(struct division *v, const struct bf_jobs *jobs) {
    int64_t all = v->a.all_keys, parts = (all + v->a.keys - 1) / v->a.keys;
    int64_t size = parts == 1 ? all : round_up((all + parts - 1) / parts, v->a.lanes);
    for (int64_t column = 0; column < v->a.columns; column += v->columns) {
        int64_t columns = smaller(v->columns, v->a.columns - column);
        if (!shape_of(v->map, v->kernel, 0, 0, column, columns).column_phases)
            continue; /* all of them belong to phases that begin before */
        for (int64_t first = 0; first < all; first += size)
            add_plan(v, jobs, first, smaller(size, all - first), column);
    }
}

/* Plans for each round of the numbers that no level counts. */
static void add_rounds(struct division *v, struct bf_jobs jobs, int dim) {
    if (dim == BF_JOB_DIMS) {
        add_parts(v, &jobs);
        return;
    }
    if (dim == jobs.level1 || dim == jobs.level2) {
        add_rounds(v, jobs, dim + 1);
        return;
    }
    int64_t rounds = jobs.rounds[dim], first = jobs.first[dim];
    jobs.rounds[dim] = 1;
    for (int64_t r = 0; r < rounds; r++) {
        jobs.first[dim] = first + r * jobs.across[dim];
        add_rounds(v, jobs, dim + 1);
    }
}

static void add_samples(struct division *v, int64_t first, int64_t samples, int64_t batches) {
    struct bf_jobs jobs = spread_jobs(v, samples, batches).best;
    jobs.level1 = most_rounds(&v->a, &jobs, -1);
    jobs.level2 = jobs.level1 < 0 ? -1 : most_rounds(&v->a, &jobs, jobs.level1);
    jobs.first[BF_JOB_SAMPLE] = first;
    add_rounds(v, jobs, 0);
}

/* Splits off a few samples if the others can be spread better without them. */
static void divide_samples(struct division *v, int64_t first, int64_t samples) {
    int64_t best = 0, cost = INT64_MAX;
    for (int64_t rest = 0; rest < samples && rest < bf_machine_pes(&v->map->machine); rest++) {
        int64_t c = spread_jobs(v, samples - rest, 1).cost;
        c += rest ? spread_jobs(v, rest, 1).cost : 0;
        if (c < cost) {
            best = rest;
            cost = c;
        }
    }
    add_samples(v, first, samples - best, 1);
    if (best)
        add_samples(v, first + samples - best, best, 1);
}

/* V samples of a mask with one row each share a tile: each is a lane of its words. */
static void divide_jobs(struct division *v) {
    int64_t samples = v->a.y->buffer->samples, first = 0;
    if (v->a.lane_mask && v->a.mask->buffer->samples > 1 && samples >= v->a.lanes) {
        add_samples(v, 0, v->a.lanes, samples / v->a.lanes);
        first = samples / v->a.lanes * v->a.lanes;
    }
    if (first < samples)
        divide_samples(v, first, samples - first);
}

static bool fits(struct bf_map *map, size_t first) {
    for (size_t p = first; p < map->plans.count; p++)
        if (!bf_attention_fits(map, map->plans.data[p]))
            return false;
    return true;
}

/* The first way that fits. If none does, schedule reports what the last one needs. */
static bool divide(struct bf_map *map, struct bf_poly_kernel *kernel, struct bf_diags *diags) {
    struct bf_attention a = shape_of(map, kernel, 0, 0, 0, 0);
    size_t before = map->plans.count;
    if (!check_operands(map, kernel, &a, diags) || !check_machine(map, kernel, &a, diags))
        return false;
    for (int64_t split = 1; split <= 8; split *= 2) {
        for (int one_head = 0; one_head < 2; one_head++) {
            struct division v = {map, kernel, a, one_head, (a.columns + split - 1) / split, 0};
            map->plans.count = before;
            divide_jobs(&v);
            if (fits(map, before))
                return true;
        }
    }
    return true;
}

/* ---- tile, stream ---- */

static bool tile(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    (void)diags;
    struct bf_attention a = bf_attention_of(map, plan);
    bf_plan_set(map, plan, "columns", a.columns);
    bf_plan_set(map, plan, "unroll", a.unroll);
    bf_plan_set(map, plan, "chunks", a.chunks);
    bf_plan_set(map, plan, "column_phases", a.column_phases);
    bf_plan_set(map, plan, "period", a.period);
    return true;
}

static bool stream(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    (void)diags;
    struct bf_attention a = bf_attention_of(map, plan);
    plan->window = a.window;
    plan->context_base = a.context_base;
    plan->context_size = a.context_size;
    bf_plan_add_region(map, plan, "q", a.q_words, a.columns, false);
    bf_plan_add_region(map, plan, "inverse", a.inverse, 3, false);
    bf_plan_add_region(map, plan, "scores", 0, 2 * a.unroll, true);
    bf_plan_add_region(map, plan, "constants", a.constants, a.constant_words, true);
    if (a.state)
        bf_plan_add_region(map, plan, "state", a.state_words, 4, true);
    if (a.row_mask)
        bf_plan_add_region(map, plan, "mask", a.row_words, a.unroll, true);
    if (a.table)
        bf_plan_add_region(map, plan, "positions", a.table_words, a.unroll, true);
    bf_plan_add_region(map, plan, "y", a.y_words, a.context_size - a.y_words, true);
    int64_t positions = a.table ? round_up(a.queries, a.lanes) + a.keys : 0;
    plan->recipe = bf_map_add_recipe(map, "attention", plan, 1, 1, BF_CONST_WORDS + positions);
    return true;
}

const struct bf_family bf_family_attention = {
    divide, tile, NULL, stream, bf_attention_schedule, bf_attention_verify};
