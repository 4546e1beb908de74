/* rows_verify.c - the value check of row kernels: in the order of a strict launch, every RAM word
 * and accumulator that a block reads was written before, by a LOAD of the iteration, or by CAL.
 *
 * It walks one tile: the phases of the period, CAL blocks in the order of their numbers. Words of a
 * context are forgotten from iteration to iteration; what row scalars keep, and accumulators, are
 * forgotten at a tile's end. Across PEs, what one PE sends after a chain the others send too; then
 * accumulators are forgotten.
 */
#include "passes/array/rows_values.h"

#include <stdlib.h>

struct known {
    const struct bf_plan *plan;
    const struct bf_kernel *code;
    const struct bf_machine *machine;
    struct bf_diags *diags;
    bool *ram; /* context addresses after `context_base` absolute ones */
    uint16_t accs;
    unsigned pe;
    bool overlapped; /* iterations are: accumulators live in a chain only */
};

static bool wrong(const struct known *k, const struct bf_block *block, const char *what,
                  unsigned index) {
    return bf_diag_error(k->diags, k->plan->kernel->loc,
                         "map: plan %s: block %u (%s) reads %s %u before anything writes it",
                         k->plan->name, block->id, block->name, what, index);
}

static uint32_t word_of(const struct known *k, const struct bf_descriptor *d, unsigned class,
                        uint32_t address, const int64_t *offset) {
    int64_t at = address + offset[class];
    if (d->cal.relative >> class & 1)
        at += k->plan->context_base;
    return (uint32_t)at % k->machine->data_ram;
}

static bool read_word(const struct known *k, const struct bf_block *block, uint32_t word) {
    return k->ram[word] || wrong(k, block, "RAM word", word);
}

static bool execute(struct known *k, const struct bf_block *block, const struct bf_cal *cal,
                    const int64_t *offset) {
    const struct bf_descriptor *d = &block->d;
    unsigned reads = bf_cal_operands(cal->op);
    bool ok = true;
    if ((reads & 1) && cal->a_class == BF_CLASS_SPECIAL)
        ok &= (k->accs >> (cal->a & 15) & 1) || wrong(k, block, "accumulator", cal->a & 15);
    else if (reads & 1)
        ok &= read_word(k, block, word_of(k, d, cal->a_class, cal->a, offset));
    if ((reads & 2) && cal->b_kind == BF_B_DATA)
        ok &= read_word(k, block, word_of(k, d, cal->b_class, cal->b, offset));
    if ((reads & 4) && cal->c_class != BF_CLASS_SPECIAL)
        ok &= read_word(k, block, word_of(k, d, cal->c_class, cal->c, offset));
    else if ((reads & 4) && cal->c >> 8 == BF_C_ACC)
        ok &= (k->accs >> (cal->c & 15) & 1) || wrong(k, block, "accumulator", cal->c & 15);
    if (cal->dst & BF_DST_RAM)
        k->ram[word_of(k, d, cal->d_class, cal->d, offset)] = true;
    if (cal->dst & BF_DST_ACC)
        k->accs |= (uint16_t)(1u << cal->acc);
    return ok;
}

static bool run_block(struct known *k, const struct bf_block *block) {
    const struct bf_descriptor *d = &block->d;
    int64_t offset[BF_CLASSES] = {0};
    bool ok = true;
    for (unsigned trip = 0; trip < d->trips[0] && ok; trip++) {
        for (unsigned i = 0; i < d->cal.length && ok; i++) {
            struct bf_cal cal;
            ok = bf_cal_decode(k->code->segments[0].words[d->cal.start + i], &cal, NULL) &&
                 execute(k, block, &cal, offset);
        }
        for (int c = 0; c < BF_CLASSES; c++)
            offset[c] += d->cal.delta[c][0];
    }
    return ok;
}

static void load_or_check(struct known *k, const struct bf_block *block, bool *ok) {
    const struct bf_descriptor *d = &block->d;
    int64_t at = k->plan->context_base + d->mem.ram;
    for (unsigned outer = 0; outer < d->trips[1]; outer++) {
        for (unsigned inner = 0; inner < d->trips[0]; inner++) {
            uint32_t word = (uint32_t)at % k->machine->data_ram;
            if (d->unit == BF_UNIT_LOAD)
                k->ram[word] = true;
            else
                *ok = *ok && read_word(k, block, word);
            at += inner + 1 < d->trips[0] ? d->mem.ram_delta[0] : d->mem.ram_delta[1];
        }
    }
}

/* Words that a FLOW reads, and those that come from all members in their places. */
static bool run_flow(struct known *k, const struct bf_descriptor *d, const struct bf_block *block) {
    unsigned ram = k->machine->data_ram, members = 1u << d->flow.width;
    uint32_t from = (uint32_t)k->plan->context_base + d->flow.source;
    uint32_t to = (uint32_t)k->plan->context_base + d->flow.destination;
    bool ok = d->flow.source_relative && d->flow.destination_relative;
    for (unsigned word = 0; word < d->trips[0] && ok; word++) {
        ok = read_word(k, block, (from + word) % ram);
        for (unsigned m = 0; m < members; m++)
            k->ram[(to + word + (m << d->flow.self_shift)) % ram] = true;
    }
    return ok;
}

/* The FLOWs that wait for a CAL block. */
static bool run_flows_after(struct known *k, const struct bf_block *cal) {
    bool ok = true;
    for (size_t i = 0; i < k->code->block_count && ok; i++) {
        const struct bf_block *block = &k->code->blocks[i];
        bool waits = false;
        for (int t = 0; t < BF_TARGETS; t++)
            waits |= cal->d.target[t] == block->id;
        if (block->d.unit == BF_UNIT_FLOW && waits && (block->pes >> k->pe & 1))
            ok = run_flow(k, &block->d, block);
    }
    if (k->overlapped && !cal->d.cal.chain)
        k->accs = 0;
    return ok;
}

/* Blocks of one unit in a phase, in the order of their numbers. */
static bool run_unit(struct known *k, enum bf_unit unit, int phase) {
    bool ok = true;
    for (unsigned id = 0; id < BF_BLOCKS && ok; id++)
        for (size_t i = 0; i < k->code->block_count && ok; i++) {
            const struct bf_block *block = &k->code->blocks[i];
            if (block->id != id || !(block->pes >> k->pe & 1) || block->d.unit != unit ||
                phase < block->d.first || phase > block->d.last)
                continue;
            if (unit == BF_UNIT_CAL)
                ok = run_block(k, block) && run_flows_after(k, block);
            else if (!block->d.mem.weights)
                load_or_check(k, block, &ok);
        }
    return ok;
}

/* Exchanges go along rows of the mesh or along columns, inside a group: sums would hide it. */
static bool exchange_is_sane(const struct bf_map *map, const struct bf_plan *plan,
                             const struct bf_descriptor *d) {
    int64_t group = bf_plan_int(plan, "chunk_groups"), cols = map->machine.cols;
    int64_t reach = (int64_t)1 << (d->flow.shift + d->flow.width);
    return d->trips[1] == 1u << d->flow.width && reach <= group &&
           (d->flow.shift == 0 ? reach <= cols || cols == 1 : (int64_t)1 << d->flow.shift == cols);
}

/* A plan that was read from a text may say anything. */
static bool is_sane(const struct bf_map *map, const struct bf_plan *plan) {
    static const char *const positive[] = {"chunk",        "chunks",       "passes",
                                           "inner",        "outer",        "chunk_groups",
                                           "inner_groups", "outer_groups", "interleave"};
    const struct bf_launch *launch = &map->program->launches[plan->launch];
    const struct bf_kernel *code = &map->program->kernels[plan->code];
    bool sane = (launch->strict || bf_plan_int(plan, "chunk_groups") > 1) && launch->period > 0 &&
                code->segment_count == 1 && code->segments[0].start == 0 &&
                plan->context_base == launch->context_base &&
                plan->context_size == launch->context_size &&
                plan->context_base + plan->context_size <= map->machine.data_ram;
    sane = sane && bf_ints_find(&plan->ints, "head_groups", 1) > 0;
    for (size_t i = 0; i < sizeof positive / sizeof *positive; i++)
        sane = sane && bf_plan_int(plan, positive[i]) > 0;
    for (size_t i = 0; i < code->block_count; i++)
        sane = sane && code->blocks[i].d.trips[2] == 1 &&
               (code->blocks[i].d.unit != BF_UNIT_FLOW ||
                exchange_is_sane(map, plan, &code->blocks[i].d)) &&
               (code->blocks[i].d.unit != BF_UNIT_CAL ||
                (code->blocks[i].d.trips[1] == 1 &&
                 code->blocks[i].d.cal.start + code->blocks[i].d.cal.length <=
                     code->segments[0].count));
    return sane;
}

bool bf_rows_verify(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    if (!is_sane(map, plan))
        return bf_diag_error(diags, plan->kernel->loc,
                             "map: plan %s: its numbers, its launch and its blocks do not fit "
                             "together",
                             plan->name);
    const struct bf_launch *launch = &map->program->launches[plan->launch];
    struct known k = {.plan = plan, .machine = &map->machine, .diags = diags};
    k.code = &map->program->kernels[plan->code];
    k.overlapped = !launch->strict;
    k.ram = bf_alloc(map->machine.data_ram * sizeof *k.ram);
    bool ok = true;
    for (int phase = 0; phase < launch->period && ok; phase++) {
        memset(k.ram + plan->context_base, 0, (size_t)plan->context_size * sizeof *k.ram);
        ok = run_unit(&k, BF_UNIT_LOAD, phase) && run_unit(&k, BF_UNIT_CAL, phase) &&
             run_unit(&k, BF_UNIT_STORE, phase);
    }
    free(k.ram);
    bool last = plan->index + 1 == map->plans.count ||
                map->plans.data[plan->index + 1]->kernel != plan->kernel;
    return ok && (!last || bf_rows_check_values(map, plan->kernel, diags));
}
