/* check_footprint.c - what a launch touches in the scratchpad, kept for launches of the same
 * kernel.
 *
 * Layers and slices launch one kernel many times, with nothing different but the base registers.
 * Addresses are base register + something that does not depend on it, so that what an earlier
 * launch touched through a register, moved by the difference of the two bases, is what this one
 * touches through it (given equal bases modulo V, since row access looks at the address modulo V).
 * Only how the registers' words lie to each other is new, and that is compared in runs of words.
 */
#include <stdlib.h>

#include "runtime/check_parts.h"

bool bf_launch_alike(const struct bf_launch *a, const struct bf_launch *b) {
    return a->kernel == b->kernel && a->window == b->window && a->strict == b->strict &&
           a->one_weight_set == b->one_weight_set && a->context_base == b->context_base &&
           a->context_size == b->context_size && a->period == b->period &&
           a->group_level == b->group_level && memcmp(a->trips, b->trips, sizeof a->trips) == 0;
}

static bool same_in_tiles(const struct bf_launch *a, const struct bf_launch *b, uint32_t v) {
    for (unsigned base = 0; base < BF_BASES; base++)
        if (a->base[base] % v != b->base[base] % v)
            return false;
    return true;
}

const struct bf_footprint *bf_footprint_find(const struct bf_spm_check *check,
                                             const struct bf_launch *launch) {
    const struct bf_footprint *at = check->footprints[launch->kernel];
    while (at && !(bf_launch_alike(at->launch, launch) &&
                   same_in_tiles(at->launch, launch, check->program->machine.lanes)))
        at = at->next;
    return at;
}

struct runs {
    struct bf_run *data;
    size_t count, capacity;
};

static void add_runs(struct runs *runs, const uint32_t *lanes, uint32_t words, unsigned base,
                     int64_t origin, bool write) {
    for (uint32_t from = 0, to; lanes && from < words; from = to) {
        for (to = from + 1; to < words && lanes[to] == lanes[from];)
            to++;
        if (lanes[from])
            *bf_push(runs) = (struct bf_run){(int64_t)from - origin, to - from, lanes[from],
                                             (uint8_t)base, write};
    }
}

void bf_footprint_keep(struct bf_spm_check *check, const struct bf_launch *launch,
                       uint32_t *const read[BF_BASES], uint32_t *const written[BF_BASES]) {
    struct runs runs = {0};
    for (unsigned base = 0; base < BF_BASES; base++) {
        add_runs(&runs, read[base], check->words, base, launch->base[base], false);
        add_runs(&runs, written[base], check->words, base, launch->base[base], true);
    }
    struct bf_footprint *footprint = bf_arena_alloc(&check->arena, sizeof *footprint);
    *footprint =
        (struct bf_footprint){launch, check->footprints[launch->kernel], runs.count,
                              bf_arena_alloc(&check->arena, (runs.count + 1) * sizeof *runs.data)};
    if (runs.count)
        memcpy(footprint->runs, runs.data, runs.count * sizeof *runs.data);
    check->footprints[launch->kernel] = footprint;
    free(runs.data);
}

/* Writes first, so that a read sees all of them. */
static bool mark_run(struct bf_spm_check *check, const struct bf_run *run, uint32_t word) {
    uint32_t taken = 0, lacking = 0;
    for (uint32_t w = word; w < word + run->count; w++) {
        taken |= check->written[w];
        if (run->write)
            check->written[w] |= run->lanes;
        else
            lacking |= run->lanes & ~check->initialised[w], check->read[w] |= run->lanes;
    }
    return !(taken & run->lanes) && !lacking;
}

bool bf_footprint_mark(struct bf_spm_check *check, const struct bf_footprint *footprint,
                       const struct bf_launch *launch) {
    for (int write = 1; write >= 0; write--)
        for (size_t i = 0; i < footprint->count; i++) {
            const struct bf_run *run = &footprint->runs[i];
            int64_t word = run->word + launch->base[run->base];
            if (run->write != (write == 1))
                continue;
            if (word < 0 || word + run->count > check->program->machine.spm_words)
                return false;
            uint32_t first = (uint32_t)word, end = first + run->count;
            check->first = first < check->first ? first : check->first;
            check->end = end > check->end ? end : check->end;
            if (!mark_run(check, run, first))
                return false;
        }
    return true;
}
