#include "passes/array/values.h"

#include <stdarg.h>
#include <stdlib.h>

#include "ir/recipe.h"
#include "passes/array/blocks.h"

enum { PRIME = 2147483647 }; /* 2^31 - 1 */

uint32_t bf_field_add(uint32_t a, uint32_t b) {
    return (uint32_t)(((uint64_t)a + b) % PRIME);
}

uint32_t bf_field_multiply(uint32_t a, uint32_t b) {
    return (uint32_t)((uint64_t)a * b % PRIME);
}

static uint32_t negate(uint32_t a) {
    return a ? PRIME - a : 0;
}

/* 2^31 is 1. */
uint32_t bf_field_power_of_two(int exponent) {
    return UINT32_C(1) << (exponent % 31 + 31) % 31;
}

uint32_t bf_field_of_half(uint16_t half) {
    int exponent = half >> 10 & 31;
    uint32_t digits = (half & 1023u) | (exponent ? 1024u : 0);
    uint32_t value =
        bf_field_multiply(digits, bf_field_power_of_two(exponent ? exponent - 25 : -24));
    return half >> 15 ? negate(value) : value;
}

static uint32_t drawn(uint64_t seed) {
    bf_random(&seed);
    return (uint32_t)((bf_random(&seed) >> 20) % PRIME);
}

uint32_t bf_values_input(int64_t tile, int64_t column) {
    return drawn((uint64_t)tile << 32 ^ (uint64_t)column);
}

/* ---- weights ---- */

struct bf_weights *bf_values_weights(const struct bf_poly_kernel *kernel) {
    struct bf_weights *weights = bf_weights_create("value check");
    uint64_t seed = 1;
    for (size_t p = 0; p < kernel->params.count; p++) {
        const struct bf_param *param = kernel->params.data[p].view.param;
        struct bf_error error = {0};
        if (bf_weights_find(weights, param->name))
            continue;
        int64_t count = bf_type_elements(&param->type);
        uint16_t *data = bf_arena_alloc(&weights->arena, (size_t)count * sizeof *data);
        for (int64_t e = 0; e < count; e++) /* normal numbers: no recipe rounds them */
            data[e] = (uint16_t)(0x2000 + (bf_random(&seed) >> 40) % 0x3c00);
        bf_weights_add(weights, param->name, BF_WEIGHT_F16, param->type.rank, param->type.dims,
                       data, &error);
    }
    return weights;
}

uint32_t bf_values_param(const struct bf_weights *weights, const struct bf_kernel_param *param,
                         const int64_t *index) {
    if (!param)
        return 0;
    const struct bf_weight *tensor = bf_weights_find(weights, param->view.param->name);
    int64_t flat = 0;
    for (unsigned a = 0; a < param->view.rank; a++)
        flat = flat * tensor->dims[a] + param->view.begin[a] + index[a];
    uint16_t half;
    memcpy(&half, (const char *)tensor->data + 2 * flat, 2);
    return bf_field_of_half(half);
}

/* ---- running a PE ---- */

/* A RAM word: a number, or half of the bits of one; EMPTY: nothing was written. */
enum content { EMPTY, NUMBER, LOW_HALF, HIGH_HALF };
struct word {
    uint32_t value;
    enum content content;
};
struct accumulator {
    struct word low, high; /* of one number, unless a program mixes halves */
};

struct run {
    struct bf_map *map;
    const struct bf_plan *plan;
    struct bf_diags *diags;
    const struct bf_kernel *code;
    const struct bf_launch *launch;
    const uint32_t *want; /* NULL: transposition */
    uint8_t *stored;      /* how often each result was */
    int64_t columns;      /* results of a tile */
    uint16_t *packed;     /* words of the plan's recipe */
    uint32_t *weights;    /* lanes of both halves */
    struct word *ram;
    struct accumulator acc[16];
    uint32_t count[BF_LEVELS]; /* the iteration */
    int tile_level;
    bool repeats; /* values are those of an earlier plan */
    unsigned pe;
    const struct bf_block *blocks[BF_BLOCKS]; /* of the PE, in order of id */
    unsigned block_count;
};

static bool wrong(const struct run *r, const struct bf_block *block, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool wrong(const struct run *r, const struct bf_block *block, const char *format, ...) {
    char text[192];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return bf_diag_error(r->diags, r->plan->kernel->loc,
                         "value check of %s (%s): block \"%s\" of PE %u, iteration %u %u %u: %s",
                         r->plan->name, r->plan->kernel->what, block->name, r->pe, r->count[0],
                         r->count[1], r->count[2], text);
}

/* How often the iteration number has advanced at a level. */
static int64_t advances(const struct run *r, int level) {
    int64_t above = 0;
    for (int l = BF_LEVELS - 1; l > level; l--)
        above = above * r->launch->trips[l] + r->count[l];
    return above * (r->launch->trips[level] - 1) + r->count[level];
}

/* Scratchpad address at the start of a block. */
static int64_t start_address(const struct run *r, const struct bf_descriptor *d) {
    int64_t at = (int64_t)r->launch->base[d->mem.base] + d->mem.spm;
    for (int l = d->mem.weights ? r->launch->group_level : 0; l < BF_LEVELS; l++)
        at += advances(r, l) * d->mem.iteration_delta[l];
    return at & 0x3ffff;
}

static int64_t context(const struct run *r) {
    uint64_t i = r->count[0] +
                 r->launch->trips[0] * (r->count[1] + (uint64_t)r->launch->trips[1] * r->count[2]);
    return r->launch->context_base + (int64_t)(i % r->launch->window) * r->launch->context_size;
}

/* The level that advances after a run of a block, -1 after the last. */
static int next(const struct bf_descriptor *d, unsigned counters[BF_LEVELS]) {
    for (int l = 0; l < BF_LEVELS; l++) {
        if (++counters[l] < d->trips[l])
            return l;
        counters[l] = 0;
    }
    return -1;
}

static struct word *ram_word(const struct run *r, int64_t address) {
    return &r->ram[address & (r->map->machine.data_ram - 1)];
}

/* ---- LOAD, STORE ---- */

/* Tile of rows and word in it of an address in the operand's buffer. */
static bool locate(const struct run *r, const struct bf_operand *operand, int64_t address,
                   int64_t *tile, int64_t *at) {
    const struct bf_place_of_buffer *place = &r->map->places[operand->buffer->index];
    int64_t offset = address - place->spm;
    *tile = offset / place->width;
    *at = offset % place->width;
    return offset >= 0 && offset < place->width * place->height / r->map->machine.lanes;
}

static bool load_word(struct run *r, const struct bf_block *block, int64_t spm, int64_t ram) {
    const struct bf_operand *x = &r->plan->inputs.data[0];
    int64_t tile, at;
    if (block->d.mem.row || !locate(r, x, spm, &tile, &at) || at < x->col || at >= x->col + x->cols)
        return wrong(r, block, "scratchpad word %lld is no column of '%s'", (long long)spm,
                     x->buffer->name);
    *ram_word(r, ram) = (struct word){bf_values_input(tile, at - x->col), NUMBER};
    return true;
}

static bool load_weight(struct run *r, const struct bf_block *block, int64_t spm, int64_t word) {
    const struct bf_recipe *recipe =
        r->plan->recipe < 0 ? NULL : &r->map->recipes.data[r->plan->recipe];
    int64_t from = spm - r->plan->weight_spm, v = r->map->machine.lanes;
    if (!block->d.mem.row || !recipe || from < 0 || from >= bf_recipe_words(recipe))
        return wrong(r, block, "scratchpad word %lld holds no weights of the kernel",
                     (long long)spm);
    int64_t half = r->map->machine.weight_half, group = 0;
    for (int l = BF_LEVELS - 1; l >= r->launch->group_level; l--)
        group = group * r->launch->trips[l] + r->count[l];
    word =
        r->launch->one_weight_set ? word & (2 * half - 1) : (word & (half - 1)) + group % 2 * half;
    for (int64_t lane = 0; lane < v; lane++)
        r->weights[word * v + lane] = bf_field_of_half(r->packed[from * v + lane]);
    return true;
}

/* Where a stored word belongs, as an index of `stored`, and what it should be. */
static bool result_at(const struct run *r, const struct bf_block *block, int64_t spm, int64_t *slot,
                      uint32_t *want) {
    const struct bf_operand *x = &r->plan->inputs.data[0], *y = &r->plan->outputs.data[0];
    int64_t tile, at, v = r->map->machine.lanes;
    if (!locate(r, y, spm, &tile, &at))
        return false;
    if (r->want) {
        *slot = tile * r->columns + at - y->col;
        if (block->d.mem.row || at < y->col || at >= y->col + y->cols)
            return false;
        *want = r->want[*slot];
        return true;
    }
    int64_t pitch = r->map->places[y->buffer->index].pitch, row = tile * v + at % v;
    int64_t tiles = r->map->places[x->buffer->index].pitch / v, column = row % pitch;
    *slot = row / pitch * r->columns + column * tiles + at / v;
    *want = bf_values_input(row / pitch * tiles + at / v, column);
    return block->d.mem.row && column < y->rows && at / v < tiles &&
           row / pitch < y->buffer->samples;
}

/* `computed`: the values of this iteration were. */
static bool store_word(struct run *r, const struct bf_block *block, int64_t spm, int64_t ram,
                       bool computed) {
    const struct word *word = ram_word(r, ram);
    int64_t slot;
    uint32_t want;
    if (!result_at(r, block, spm, &slot, &want))
        return wrong(r, block, "scratchpad word %lld is no part of '%s'", (long long)spm,
                     r->plan->outputs.data[0].buffer->name);
    if (r->stored[slot]++)
        return wrong(r, block, "scratchpad word %lld is written a second time", (long long)spm);
    if (computed && (word->content != NUMBER || word->value != want))
        return wrong(r, block, "RAM word %lld is not what belongs into scratchpad word %lld",
                     (long long)ram, (long long)spm);
    return true;
}

static bool run_memory(struct run *r, const struct bf_block *block, bool computed) {
    const struct bf_descriptor *d = &block->d;
    int64_t spm = start_address(r, d), ram = d->mem.ram + (d->mem.relative ? context(r) : 0);
    unsigned counters[BF_LEVELS] = {0};
    for (int level = 0; level >= 0;) {
        bool ok = d->unit == BF_UNIT_STORE ? store_word(r, block, spm, ram, computed)
                  : d->mem.weights         ? load_weight(r, block, spm, ram)
                                           : load_word(r, block, spm, ram);
        if (!ok)
            return false;
        level = next(d, counters);
        if (level >= 0) {
            spm = (spm + d->mem.spm_delta[level]) & 0x3ffff;
            ram += d->mem.ram_delta[level];
        }
    }
    return true;
}

/* ---- CAL ---- */

struct operands {
    const struct run *run;
    const struct bf_descriptor *d;
    int64_t offset[BF_CLASSES];
    bool ok; /* all were numbers */
};

static int64_t ram_address(const struct operands *o, unsigned address, unsigned class) {
    return address + o->offset[class] + (o->d->cal.relative >> class & 1 ? context(o->run) : 0);
}

static uint32_t read_ram(struct operands *o, unsigned address, unsigned class) {
    const struct word *word = ram_word(o->run, ram_address(o, address, class));
    o->ok = o->ok && word->content == NUMBER;
    return word->value;
}

static uint32_t read_acc(struct operands *o, unsigned number) {
    const struct accumulator *acc = &o->run->acc[number & 15];
    o->ok = o->ok && acc->low.content != EMPTY && acc->high.content != EMPTY &&
            acc->low.value == acc->high.value;
    return acc->low.value;
}

static int64_t lane_of(const struct operands *o, const struct bf_cal *cal) {
    const struct run *r = o->run;
    int64_t half = (int64_t)r->map->machine.weight_half * r->map->machine.lanes, group = 0;
    int64_t lane = cal->b + o->offset[cal->b_class];
    for (int l = BF_LEVELS - 1; l >= r->launch->group_level; l--)
        group = group * r->launch->trips[l] + r->count[l];
    return r->launch->one_weight_set ? lane & (2 * half - 1)
                                     : (lane & (half - 1)) + group % 2 * half;
}

static uint32_t read_b(struct operands *o, const struct bf_cal *cal) {
    static const int constants[] = {0, 0, 1, -1};
    if (cal->b_kind == BF_B_LANE)
        return o->run->weights[lane_of(o, cal)];
    if (cal->b_kind == BF_B_DATA)
        return read_ram(o, cal->b, cal->b_class);
    o->ok = o->ok && cal->b_kind == BF_B_CONST;
    return cal->b == BF_B_ZERO ? 0 : bf_field_power_of_two(constants[cal->b & 3]);
}

static uint32_t read_c(struct operands *o, const struct bf_cal *cal) {
    int64_t v = o->run->map->machine.lanes, lane;
    if (cal->c_class != BF_CLASS_SPECIAL)
        return read_ram(o, cal->c, cal->c_class);
    switch (cal->c >> 8) {
    case BF_C_ACC:
        return read_acc(o, cal->c);
    case BF_C_LANE:
        lane = lane_of(o, cal);
        return o->run->weights[lane / v * v + (lane + (cal->c & 31)) % v];
    default:
        return cal->c >> 8 == BF_C_ONE;
    }
}

static bool multiply_add(struct run *r, struct operands *o, const struct bf_cal *cal) {
    uint32_t a =
        cal->a_class == BF_CLASS_SPECIAL ? read_acc(o, cal->a) : read_ram(o, cal->a, cal->a_class);
    uint32_t product = bf_field_multiply(a, read_b(o, cal)), addend = read_c(o, cal);
    uint32_t value = bf_field_add(cal->negate_product ? negate(product) : product,
                                  cal->negate_addend ? negate(addend) : addend);
    if (cal->dst & BF_DST_ACC)
        r->acc[cal->acc].low = r->acc[cal->acc].high = (struct word){value, NUMBER};
    if (cal->dst & BF_DST_RAM)
        *ram_word(r, ram_address(o, cal->d, cal->d_class)) = (struct word){
            bf_field_multiply(value, bf_field_power_of_two(o->d->cal.exponent)), NUMBER};
    return o->ok;
}

static bool move_half(struct run *r, struct operands *o, const struct bf_cal *cal) {
    bool high = cal->op == BF_CAL_STHI || cal->op == BF_CAL_LDHI;
    enum content content = high ? HIGH_HALF : LOW_HALF;
    if (cal->op == BF_CAL_STLO || cal->op == BF_CAL_STHI) {
        *ram_word(r, ram_address(o, cal->d, cal->d_class)) =
            (struct word){read_acc(o, cal->a), content};
        return o->ok;
    }
    const struct word *word = ram_word(r, ram_address(o, cal->c, cal->c_class));
    *(high ? &r->acc[cal->acc].high : &r->acc[cal->acc].low) = *word;
    return word->content == content;
}

static bool run_instruction(struct run *r, struct operands *o, const struct bf_cal *cal) {
    switch (cal->op) {
    case BF_CAL_FMA:
        return multiply_add(r, o, cal);
    case BF_CAL_STLO:
    case BF_CAL_STHI:
    case BF_CAL_LDLO:
    case BF_CAL_LDHI:
        return move_half(r, o, cal);
    default:
        return false;
    }
}

static bool run_cal(struct run *r, const struct bf_block *block) {
    const struct bf_descriptor *d = &block->d;
    struct operands o = {.run = r, .d = d, .ok = d->cal.swap == 0};
    unsigned counters[BF_LEVELS] = {0};
    struct bf_cal body[BF_MAX_BODY];
    struct bf_error error = {0};
    if (!r->code->segment_count || d->cal.start + d->cal.length > r->code->segments[0].count)
        return wrong(r, block, "its body is not in the code");
    for (unsigned i = 0; i < d->cal.length; i++)
        if (!bf_cal_decode(r->code->segments[0].words[d->cal.start + i], &body[i], &error))
            return wrong(r, block, "%s", error.text);
    for (int level = 0; level >= 0;) {
        for (unsigned i = 0; i < d->cal.length; i++)
            if (!run_instruction(r, &o, &body[i]))
                return wrong(r, block, "instruction %u works on what is no number", i);
        level = next(d, counters);
        for (int c = 0; level >= 0 && c < BF_CLASSES; c++)
            o.offset[c] += d->cal.delta[c][level];
    }
    return true;
}

/* ---- running plans ---- */

static bool exists(const struct run *r, const struct bf_block *block) {
    uint64_t i = r->count[0] +
                 r->launch->trips[0] * (r->count[1] + (uint64_t)r->launch->trips[1] * r->count[2]);
    unsigned phase = (unsigned)(i % r->launch->period);
    return phase >= block->d.first && phase <= block->d.last;
}

/* Weights come first, whenever they really do: that they are there in time, and that blocks run in
 * this order, is the order check's part. */
static bool run_unit(struct run *r, enum bf_unit unit, bool weights, bool computed) {
    for (unsigned b = 0; b < r->block_count; b++) {
        const struct bf_block *block = r->blocks[b];
        if (block->d.unit != unit || !exists(r, block) ||
            (unit != BF_UNIT_CAL && block->d.mem.weights != weights))
            continue;
        if (!(unit == BF_UNIT_CAL ? run_cal(r, block) : run_memory(r, block, computed)))
            return false;
    }
    return true;
}

static void find_blocks(struct run *r) {
    const struct bf_block *by_id[BF_BLOCKS] = {NULL};
    for (size_t b = 0; b < r->code->block_count; b++)
        if (r->code->blocks[b].pes >> r->pe & 1)
            by_id[r->code->blocks[b].id % BF_BLOCKS] = &r->code->blocks[b];
    r->block_count = 0;
    for (unsigned id = 0; id < BF_BLOCKS; id++)
        if (by_id[id])
            r->blocks[r->block_count++] = by_id[id];
}

static bool run_iteration(struct run *r) {
    bool begins = true, computed = true;
    for (int l = 0; l < r->launch->group_level && l < BF_LEVELS; l++)
        begins = begins && r->count[l] == 0;
    if (r->tile_level >= 0)
        computed = r->count[r->tile_level] == 0 ||
                   r->count[r->tile_level] == r->launch->trips[r->tile_level] - 1;
    computed = computed && !r->repeats;
    if (begins && !r->repeats && !run_unit(r, BF_UNIT_LOAD, true, true))
        return false;
    if (computed &&
        (!run_unit(r, BF_UNIT_LOAD, false, true) || !run_unit(r, BF_UNIT_CAL, false, true)))
        return false;
    return run_unit(r, BF_UNIT_STORE, false, computed);
}

static bool run_pe(struct run *r) {
    const struct bf_machine *machine = &r->map->machine;
    memset(r->ram, 0, machine->data_ram * sizeof *r->ram);
    memset(r->acc, 0, sizeof r->acc);
    memset(r->count, 0, sizeof r->count);
    find_blocks(r);
    for (int level = r->block_count ? 0 : BF_LEVELS; level < BF_LEVELS;) {
        if (!run_iteration(r))
            return false;
        for (level = 0; level < BF_LEVELS && ++r->count[level] == r->launch->trips[level]; level++)
            r->count[level] = 0;
    }
    return true;
}

static bool run_plan(struct run *r, const struct bf_weights *weights) {
    const struct bf_machine *machine = &r->map->machine;
    const struct bf_program *program = r->map->program;
    if (r->plan->code < 0 || r->plan->launch < 0)
        return bf_diag_error(r->diags, r->plan->kernel->loc, "value check of %s: it has no code",
                             r->plan->name);
    r->code = &program->kernels[r->plan->code];
    r->launch = &program->launches[r->plan->launch];
    bool ok = true;
    r->packed = NULL;
    r->repeats = bf_values_repeats(r->map, r->plan);
    if (r->plan->recipe >= 0 && !r->repeats) {
        const struct bf_recipe *recipe = &r->map->recipes.data[r->plan->recipe];
        r->packed = bf_alloc((size_t)bf_recipe_words(recipe) * machine->lanes * sizeof *r->packed);
        ok = bf_recipe_evaluate(r->map, recipe, weights, r->packed, r->diags);
    }
    for (r->pe = 0; r->pe < bf_machine_pes(machine) && ok; r->pe++)
        ok = run_pe(r);
    free(r->packed);
    return ok;
}

bool bf_values_first(const struct bf_map *map, const struct bf_plan *plan) {
    return plan->index == 0 || map->plans.data[plan->index - 1]->kernel != plan->kernel;
}

/* The recipe of a plan, if it is one for this plan's weights. */
static const struct bf_recipe *own_recipe(const struct bf_map *map, const struct bf_plan *plan) {
    const struct bf_recipe *recipe = plan->recipe < 0 ? NULL : &map->recipes.data[plan->recipe];
    bool own =
        recipe && recipe->plan >= 0 && bf_plan_same_weights(map->plans.data[recipe->plan], plan);
    return own ? recipe : NULL;
}

static bool same_loads(const struct bf_map *map, const struct bf_plan *a, const struct bf_plan *b) {
    const struct bf_launch *x = &map->program->launches[a->launch];
    const struct bf_launch *y = &map->program->launches[b->launch];
    const struct bf_kernel *code = &map->program->kernels[a->code];
    bool same = x->kernel == y->kernel && x->window == y->window && x->strict == y->strict &&
                x->one_weight_set == y->one_weight_set && x->context_base == y->context_base &&
                x->context_size == y->context_size && x->period == y->period &&
                x->group_level == y->group_level && !memcmp(x->trips, y->trips, sizeof x->trips);
    for (size_t i = 0; i < code->block_count && same; i++) {
        const struct bf_descriptor *d = &code->blocks[i].d;
        int64_t here = x->base[d->mem.base], there = y->base[d->mem.base];
        if (d->unit == BF_UNIT_LOAD && d->mem.weights)
            same = here - a->weight_spm == there - b->weight_spm;
        else if (d->unit == BF_UNIT_LOAD)
            same = here == there;
    }
    return same;
}

bool bf_values_repeats(const struct bf_map *map, const struct bf_plan *plan) {
    const struct bf_recipe *recipe = own_recipe(map, plan);
    bool last = plan->index + 1 == map->plans.count ||
                map->plans.data[plan->index + 1]->kernel != plan->kernel;
    if (last || !recipe || plan->code < 0 || plan->launch < 0)
        return false;
    for (size_t p = plan->index; p-- > 0 && map->plans.data[p]->kernel == plan->kernel;) {
        const struct bf_plan *other = map->plans.data[p];
        const struct bf_recipe *of = own_recipe(map, other);
        if (of && !strcmp(of->kind, recipe->kind) && of->sets == recipe->sets &&
            of->pes == recipe->pes && of->words == recipe->words && other->code == plan->code &&
            other->launch >= 0 && same_loads(map, other, plan) &&
            other->inputs.count == plan->inputs.count &&
            other->inputs.data[0].buffer == plan->inputs.data[0].buffer)
            return true;
    }
    return false;
}

bool bf_values_compared(const struct bf_map *map, const struct bf_plan *plan, int64_t tile) {
    for (size_t p = plan->index; p < map->plans.count; p++) {
        if (map->plans.data[p]->kernel != plan->kernel)
            break;
        struct bf_share share = bf_share_load(map->plans.data[p]);
        if (tile < share.groups || tile >= share.groups * (share.tile_rounds - 1))
            return true;
    }
    return false;
}

static bool run_kernel(struct run *r, const struct bf_plan *plan, int64_t results,
                       const struct bf_weights *weights) {
    struct bf_map *map = r->map;
    r->stored = bf_alloc((size_t)results);
    r->ram = bf_alloc(map->machine.data_ram * sizeof *r->ram);
    r->weights =
        bf_alloc(2 * (size_t)map->machine.weight_half * map->machine.lanes * sizeof *r->weights);
    bool ok = true;
    for (size_t p = plan->index; p < map->plans.count && ok; p++) {
        r->plan = map->plans.data[p];
        if (r->plan->kernel != plan->kernel)
            break;
        ok = run_plan(r, weights);
    }
    for (int64_t i = 0; i < results && ok; i++)
        if (!r->stored[i])
            ok = bf_diag_error(r->diags, plan->kernel->loc,
                               "value check of %s (%s): element %lld of '%s' is stored by no plan",
                               plan->kernel->name, plan->kernel->what, (long long)i,
                               plan->outputs.data[0].buffer->name);
    free(r->weights);
    free(r->ram);
    free(r->stored);
    return ok;
}

bool bf_values_verify(struct bf_map *map, const struct bf_plan *plan, const uint32_t *want,
                      const struct bf_weights *weights, int tile_level, struct bf_diags *diags) {
    const struct bf_operand *y = &plan->outputs.data[0];
    struct run r = {
        .map = map, .diags = diags, .want = want, .columns = y->cols, .tile_level = tile_level};
    return run_kernel(&r, plan, bf_share_tiles(map, y) * y->cols, weights);
}

bool bf_values_verify_transpose(struct bf_map *map, const struct bf_plan *plan,
                                struct bf_diags *diags) {
    const struct bf_operand *x = &plan->inputs.data[0];
    int64_t tiles = (int64_t)bf_divide_up((uint64_t)x->rows, map->machine.lanes);
    struct run r = {.map = map, .diags = diags, .columns = x->cols * tiles, .tile_level = -1};
    return run_kernel(&r, plan, x->buffer->samples * r.columns, NULL);
}
