/* ref_walk.c - one legal order of the block instances of a launch. See ref.h. */
#include "runtime/ref.h"

#include <stdlib.h>

/* ---- names ---- */

struct bf_label bf_block_label(const struct bf_program *program, const struct bf_block *block) {
    struct bf_label label;
    int n = snprintf(label.text, sizeof label.text, "block %d", block->id);
    if (block->name && block->name[0])
        n += snprintf(label.text + n, sizeof label.text - (size_t)n, " \"%.60s\"", block->name);
    const struct bf_place *place = &block->place;
    if (place->line && place->file < program->file_count)
        snprintf(label.text + n, sizeof label.text - (size_t)n, " (%.80s:%u:%u)",
                 program->files[place->file], place->line, place->column);
    return label;
}

struct bf_label bf_pe_label(const struct bf_program *program, unsigned pe) {
    struct bf_label label;
    unsigned cols = program->machine.cols;
    snprintf(label.text, sizeof label.text, "PE (%u,%u)", pe / cols, pe % cols);
    return label;
}

/* ---- launches and addresses ---- */

uint64_t bf_launch_iterations(const struct bf_launch *launch) {
    return (uint64_t)launch->trips[0] * launch->trips[1] * launch->trips[2];
}

uint64_t bf_launch_group(const struct bf_launch *launch) {
    uint64_t iterations = 1;
    for (unsigned level = 0; level < launch->group_level && level < BF_LEVELS; level++)
        iterations *= launch->trips[level];
    return iterations;
}

/* A counter of the levels first .. 2 stands at `number`: level l has advanced as often as it
 * changed without a higher level changing, number / (trips below) - number / (trips below and l).
 */
uint32_t bf_mem_start(const struct bf_launch *launch, const struct bf_descriptor *d,
                      uint64_t number) {
    unsigned first = d->unit == BF_UNIT_LOAD && d->mem.weights ? launch->group_level : 0;
    uint64_t reg = 0;
    for (unsigned level = first; level < BF_LEVELS; level++) {
        uint64_t above = level + 1 < BF_LEVELS ? number / launch->trips[level] : 0;
        reg += (number - above) * (uint64_t)(int64_t)d->mem.iteration_delta[level];
        number = above;
    }
    return (uint32_t)((launch->base[d->mem.base] + d->mem.spm + reg) & BF_SPM_MASK);
}

int bf_loop_next(struct bf_loop *loop, const uint16_t trips[BF_LEVELS]) {
    for (int level = 0; level < BF_LEVELS; level++) {
        if (++loop->at[level] < trips[level])
            return level;
        loop->at[level] = 0;
    }
    return -1;
}

static uint32_t reverse_low(uint32_t x, unsigned bits) {
    uint32_t reversed = 0;
    for (unsigned bit = 0; bit < bits; bit++)
        reversed |= (x >> bit & 1) << (bits - 1 - bit);
    return (x >> bits << bits) | reversed;
}

uint32_t bf_mem_ram(const struct bf_launch *launch, const struct bf_descriptor *d,
                    uint64_t iteration, uint32_t offset, uint32_t words) {
    offset %= words;
    if (d->unit == BF_UNIT_LOAD)
        offset = reverse_low(offset, d->mem.reverse);
    uint32_t start = d->mem.relative ? bf_context(launch, iteration) : 0;
    return (start + d->mem.ram + offset) % words;
}

struct bf_hop bf_flow_hop(const struct bf_program *program, const struct bf_launch *launch,
                          const struct bf_descriptor *d, unsigned sender, uint64_t iteration,
                          const struct bf_loop *loop, uint32_t source, uint32_t destination) {
    uint32_t field = (1u << d->flow.width) - 1;
    uint32_t self = sender >> d->flow.shift & field;
    uint32_t k = loop->at[1];
    if (d->flow.mode == BF_FLOW_XOR)
        k ^= self;
    k &= field;
    uint32_t context = bf_context(launch, iteration), words = program->machine.data_ram;
    source += (d->flow.source_relative ? context : 0) + d->flow.source;
    destination += (d->flow.destination_relative ? context : 0) + d->flow.destination;
    return (struct bf_hop){
        .receiver = (sender & ~(field << d->flow.shift)) | k << d->flow.shift,
        .source = (source + (k << d->flow.destination_shift)) % words,
        .destination = (destination + (self << d->flow.self_shift)) % words,
    };
}

/* ---- the walk ---- */

static unsigned slot_of(const struct bf_walk *walk, uint64_t iteration) {
    return (unsigned)(iteration % walk->launch->window);
}

static uint64_t newest(const struct bf_walk *walk) { /* one past the newest iteration in flight */
    uint64_t end = walk->low + walk->launch->window;
    return end < walk->iterations ? end : walk->iterations;
}

static void open_slot(struct bf_walk *walk, uint64_t iteration) {
    unsigned slot = slot_of(walk, iteration), phase = bf_launch_phase(walk->launch, iteration);
    for (unsigned p = 0; p < walk->pes; p++) {
        struct bf_walk_pe *pe = &walk->pe[p];
        uint64_t present = 0, full = 0, chains = 0;
        for (unsigned id = 0; id < BF_BLOCKS; id++) {
            const struct bf_block *block = pe->block[id];
            if (!block || bf_is_weight_load(block) || !bf_block_in_phase(block, phase))
                continue;
            present |= UINT64_C(1) << id;
            if (block->d.need == 0)
                full |= UINT64_C(1) << id;
            if (block->d.unit == BF_UNIT_CAL && block->d.cal.chain)
                chains |= UINT64_C(1) << id;
        }
        pe->present[slot] = present;
        pe->entered[slot] = chains << 1;
        pe->full[slot] = full;
        pe->chosen[slot] = 0;
        memset(pe->tokens[slot], 0, sizeof pe->tokens[slot]);
    }
}

struct bf_walk *bf_walk_create(const struct bf_program *program, uint32_t launch) {
    struct bf_walk *walk = bf_alloc(sizeof *walk);
    walk->program = program;
    walk->launch = &program->launches[launch];
    walk->kernel = &program->kernels[walk->launch->kernel];
    walk->pes = bf_machine_pes(&program->machine);
    walk->iterations = bf_launch_iterations(walk->launch);
    walk->group = bf_launch_group(walk->launch);
    walk->pe = bf_alloc(walk->pes * sizeof *walk->pe);
    for (size_t b = 0; b < walk->kernel->block_count; b++) {
        const struct bf_block *block = &walk->kernel->blocks[b];
        uint64_t bit = UINT64_C(1) << block->id;
        for (unsigned p = 0; p < walk->pes; p++) {
            if (!(block->pes >> p & 1))
                continue;
            walk->pe[p].block[block->id] = block;
            if (bf_is_weight_load(block))
                walk->pe[p].weight_loads |= bit;
            if (block->d.unit == BF_UNIT_CAL && block->d.cal.uses_weights)
                walk->pe[p].with_weights |= bit;
        }
    }
    return walk;
}

void bf_walk_free(struct bf_walk *walk) {
    if (walk)
        free(walk->pe);
    free(walk);
}

bool bf_walk_tokens(struct bf_walk *walk, unsigned p, unsigned id, uint64_t iteration,
                    uint32_t count, struct bf_error *error) {
    struct bf_walk_pe *pe = &walk->pe[p];
    unsigned slot = slot_of(walk, iteration);
    uint64_t bit = UINT64_C(1) << id;
    if (!(pe->present[slot] & bit))
        return bf_fail(error, BF_ERROR_MACHINE,
                       "%s: trap: %s gets a token for block %u, which is absent in iteration %llu",
                       walk->kernel->name, bf_pe_label(walk->program, p).text, id,
                       (unsigned long long)iteration);
    unsigned need = pe->block[id]->d.need;
    if ((pe->chosen[slot] & bit) || pe->tokens[slot][id] + count > need)
        return bf_fail(error, BF_ERROR_MACHINE,
                       "%s: trap: %s of %s gets too many tokens in iteration %llu: it needs %u",
                       walk->kernel->name, bf_block_label(walk->program, pe->block[id]).text,
                       bf_pe_label(walk->program, p).text, (unsigned long long)iteration, need);
    pe->tokens[slot][id] += (uint16_t)count;
    if (pe->tokens[slot][id] == need)
        pe->full[slot] |= bit;
    return true;
}

/* Runs a block, gives its tokens, and goes on with the block it chains to. */
static bool run_block(struct bf_walk *walk, unsigned p, unsigned id, uint64_t iteration,
                      struct bf_error *error) {
    struct bf_walk_pe *pe = &walk->pe[p];
    unsigned slot = slot_of(walk, iteration);
    for (;; id++) {
        const struct bf_block *block = pe->block[id];
        pe->chosen[slot] |= UINT64_C(1) << id;
        if (!walk->run(walk->user, walk, p, block, iteration, error))
            return false;
        for (unsigned t = 0; t < BF_TARGETS; t++)
            if (block->d.target[t] != BF_NO_BLOCK &&
                !bf_walk_tokens(walk, p, block->d.target[t], iteration, 1, error))
                return false;
        if (block->d.unit != BF_UNIT_CAL || !block->d.cal.chain)
            return true;
        if (id + 1 >= BF_FIRST_LOAD || !(pe->present[slot] >> (id + 1) & 1))
            return bf_fail(error, BF_ERROR_MACHINE,
                           "%s: trap: %s of %s chains to block %u, which is absent in iteration "
                           "%llu",
                           walk->kernel->name, bf_block_label(walk->program, block).text,
                           bf_pe_label(walk->program, p).text, id + 1,
                           (unsigned long long)iteration);
    }
}

static const uint64_t cal_ids = (UINT64_C(1) << BF_FIRST_LOAD) - 1;

/* Ids of a PE that may start in a slot, but for the order between iterations [B3, B5]. */
static uint64_t startable(const struct bf_walk *walk, const struct bf_walk_pe *pe,
                          uint64_t iteration, bool *strict_done) {
    unsigned slot = slot_of(walk, iteration);
    uint64_t open = pe->present[slot] & ~pe->chosen[slot];
    uint64_t ready = open & pe->full[slot] & ~pe->entered[slot];
    if (pe->next_group <= iteration / walk->group)
        ready &= ~pe->with_weights;
    if (walk->launch->strict && (open & cal_ids)) {
        uint64_t first = open & cal_ids & (~(open & cal_ids) + 1);
        ready &= *strict_done ? ~cal_ids : first | ~cal_ids;
        *strict_done = true;
    }
    return ready;
}

/* Loads the next weight set if an iteration in flight wants it and its half is free [G1, G2]. */
static bool load_weights(struct bf_walk *walk, unsigned p, bool *progress, struct bf_error *error) {
    struct bf_walk_pe *pe = &walk->pe[p];
    uint64_t group = pe->next_group, first = group * walk->group;
    if (walk->low >= walk->iterations || group > (newest(walk) - 1) / walk->group ||
        (group >= 2 && walk->low < first - walk->group))
        return true;
    unsigned phase = bf_launch_phase(walk->launch, first);
    for (unsigned id = BF_BLOCKS; id-- > 0;)
        if ((pe->weight_loads >> id & 1) && bf_block_in_phase(pe->block[id], phase) &&
            !walk->run(walk->user, walk, p, pe->block[id], group, error))
            return false;
    pe->next_group++;
    *progress = true;
    return true;
}

/* Runs what can run in one PE, until nothing can. */
static bool run_pe(struct bf_walk *walk, unsigned p, bool *progress, struct bf_error *error) {
    struct bf_walk_pe *pe = &walk->pe[p];
    if (!load_weights(walk, p, progress, error))
        return false;
    for (bool again = true; again;) {
        again = false;
        uint64_t in_order = ~UINT64_C(0); /* ids chosen in all older iterations */
        bool strict_done = false;
        for (uint64_t i = walk->low; i < newest(walk) && !again; i++) {
            uint64_t ready = startable(walk, pe, i, &strict_done) & in_order;
            if (ready) {
                if (!run_block(walk, p, bf_log2_floor(ready), i, error))
                    return false;
                again = *progress = true;
            }
            in_order &= pe->chosen[slot_of(walk, i)] | ~pe->present[slot_of(walk, i)];
        }
    }
    return true;
}

static bool retire(struct bf_walk *walk) {
    unsigned slot = slot_of(walk, walk->low);
    for (unsigned p = 0; p < walk->pes; p++)
        if (walk->pe[p].chosen[slot] != walk->pe[p].present[slot])
            return false;
    walk->low++;
    uint64_t next = walk->low + walk->launch->window - 1;
    if (next < walk->iterations)
        open_slot(walk, next);
    return true;
}

bool bf_walk_run(struct bf_walk *walk, uint64_t limit, struct bf_error *error) {
    if (walk->iterations > limit)
        walk->iterations = limit;
    for (uint64_t i = 0; i < newest(walk); i++)
        open_slot(walk, i);
    while (walk->low < walk->iterations) {
        bool progress = false;
        for (unsigned p = 0; p < walk->pes; p++)
            if (!run_pe(walk, p, &progress, error))
                return false;
        while (walk->low < walk->iterations && retire(walk))
            progress = true;
        if (!progress)
            return bf_walk_deadlock(walk, error);
    }
    return true;
}
