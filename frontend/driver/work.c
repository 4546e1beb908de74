/* work.c - what a launch asks of the array. See explain.h.
 *
 * Nothing is run: trips are constants, so instructions can be counted. A block exists in the
 * iterations whose phase (iteration modulo period) lies in its range, weights are loaded once a
 * group of iterations.
 */
#include "frontend/driver/explain.h"

/* Of `iterations`, those whose phase lies in first .. last. */
static uint64_t in_phases(uint64_t iterations, uint64_t period, uint64_t first, uint64_t last) {
    uint64_t rest = iterations % period, phases = last - first + 1;
    uint64_t left = rest <= first ? 0 : rest > last ? phases : rest - first;
    return iterations / period * phases + left;
}

static uint64_t groups_of(const struct bf_launch *launch) {
    uint64_t groups = 1;
    for (unsigned level = launch->group_level; level < BF_LEVELS; level++)
        groups *= launch->trips[level];
    return groups;
}

static uint64_t runs_of(const struct bf_launch *launch, const struct bf_block *block,
                        uint64_t iterations) {
    if (block->d.unit == BF_UNIT_LOAD && block->d.mem.weights)
        return groups_of(launch);
    return in_phases(iterations, launch->period, block->d.first, block->d.last);
}

static unsigned count_pes(uint64_t mask) {
    unsigned count = 0;
    for (; mask; mask &= mask - 1)
        count++;
    return count;
}

/* Special functions in a body. */
static uint64_t special_of(const struct bf_kernel *kernel, const struct bf_block *block) {
    uint64_t special = 0;
    for (size_t s = 0; s < kernel->segment_count; s++) {
        const struct bf_segment *segment = &kernel->segments[s];
        if (!(segment->pes & block->pes))
            continue;
        for (unsigned i = 0; i < block->d.cal.length; i++) {
            unsigned address = block->d.cal.start + i;
            struct bf_cal cal;
            if (address >= segment->start && address < (unsigned)segment->start + segment->count &&
                bf_cal_decode(segment->words[address - segment->start], &cal, NULL))
                special += bf_cal_special(cal.op);
        }
        return special;
    }
    return 0;
}

struct bf_work bf_work_of(const struct bf_program *program, size_t index) {
    const struct bf_launch *launch = &program->launches[index];
    const struct bf_kernel *kernel = &program->kernels[launch->kernel];
    struct bf_work work = {.iterations = 1};
    uint64_t cal[64] = {0};
    for (int level = 0; level < BF_LEVELS; level++)
        work.iterations *= launch->trips[level];
    for (size_t b = 0; b < kernel->block_count; b++) {
        const struct bf_block *block = &kernel->blocks[b];
        uint64_t trips = runs_of(launch, block, work.iterations), pes = count_pes(block->pes);
        for (int level = 0; level < BF_LEVELS; level++)
            trips *= block->d.trips[level];
        uint64_t words = block->d.unit == BF_UNIT_CAL ? trips * block->d.cal.length : trips;
        work.issued[block->d.unit] += words * pes;
        /* PEs that share a LOAD read the same words, which the scratchpad may send to all at once.
         */
        if (block->d.unit == BF_UNIT_LOAD)
            work.spm_words += words;
        if (block->d.unit == BF_UNIT_STORE)
            work.spm_words += words * pes;
        if (block->d.unit != BF_UNIT_CAL)
            continue;
        work.special += trips * pes * special_of(kernel, block);
        for (unsigned pe = 0; pe < 64; pe++)
            cal[pe] += block->pes >> pe & 1 ? words : 0;
    }
    for (unsigned pe = 0; pe < 64; pe++) {
        work.most_cal = cal[pe] > work.most_cal ? cal[pe] : work.most_cal;
        work.busy_pes += cal[pe] > 0;
    }
    return work;
}
