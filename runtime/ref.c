/* ref.c - the functional device: what a program means, without time.
 *
 * The sequencer runs in order; a DMA job is done as soon as it is issued, a launch before the next
 * instruction. Whether a program waits where it must is the business of the checks in check.h. */
#include "runtime/ref_device.h"

#include <stdlib.h>

/* ---- storage, poisoned [W1] ---- */

static bf_half *poisoned_words(size_t words, unsigned lanes) {
    bf_half *storage = bf_alloc(words * lanes * sizeof *storage);
    for (size_t k = 0; k < words * lanes; k++)
        storage[k] = BF_HALF_POISON;
    return storage;
}

static void create(struct bf_ref *ref, const struct bf_program *program, uint8_t *dram,
                   const struct bf_device_options *options, struct bf_stats *stats) {
    const struct bf_machine *machine = &program->machine;
    size_t pes = bf_machine_pes(machine), lanes = machine->lanes;
    *ref = (struct bf_ref){.program = program,
                           .machine = machine,
                           .options = options,
                           .ops = options->portable ? bf_lane_ops_portable() : bf_lane_ops(),
                           .lanes = machine->lanes,
                           .lane_bits = bf_log2_floor(machine->lanes),
                           .dram = dram,
                           .stats = stats};
    ref->spm = poisoned_words(bf_round_up(machine->spm_words, lanes), machine->lanes);
    ref->ram = poisoned_words(pes * machine->data_ram, machine->lanes);
    ref->weights = poisoned_words(pes * 2 * machine->weight_half, machine->lanes);
    size_t acc = pes * machine->accumulators * lanes;
    ref->acc = bf_alloc(acc * sizeof *ref->acc);
    uint32_t poison = BF_FLOAT_POISON;
    for (size_t k = 0; k < acc; k++)
        memcpy(&ref->acc[k], &poison, sizeof poison);
    ref->code = bf_alloc(program->kernel_count * sizeof *ref->code);
}

static void destroy(struct bf_ref *ref) {
    for (size_t k = 0; k < ref->program->kernel_count; k++) {
        free(ref->code[k].words);
        free(ref->code[k].at);
    }
    free(ref->code);
    free(ref->acc);
    free(ref->weights);
    free(ref->ram);
    free(ref->spm);
}

/* ---- code ---- */

static bool decode(struct bf_ref *ref, uint32_t index, struct bf_error *error) {
    const struct bf_kernel *kernel = &ref->program->kernels[index];
    struct bf_ref_code *code = &ref->code[index];
    size_t pes = bf_machine_pes(ref->machine), words = 0, store = ref->machine->code_words;
    if (code->at)
        return true;
    for (size_t s = 0; s < kernel->segment_count; s++)
        words += kernel->segments[s].count;
    code->words = bf_alloc(words * sizeof *code->words);
    code->at = bf_alloc(pes * store * sizeof *code->at);
    struct bf_ref_word *next = code->words;
    for (size_t s = 0; s < kernel->segment_count; s++) {
        const struct bf_segment *segment = &kernel->segments[s];
        for (size_t w = 0; w < segment->count; w++, next++) {
            if (!bf_cal_decode(segment->words[w], &next->cal, error))
                return false;
            next->reads = (uint8_t)bf_cal_operands(next->cal.op);
            next->special = bf_cal_special(next->cal.op);
            for (size_t p = 0; p < pes; p++)
                if ((segment->pes >> p & 1) && segment->start + w < store)
                    code->at[p * store + segment->start + w] = next;
        }
    }
    return true;
}

static uint64_t code_bytes(const struct bf_kernel *kernel) {
    uint64_t bytes = 32 * (uint64_t)kernel->block_count;
    for (size_t s = 0; s < kernel->segment_count; s++)
        bytes += 8 * (uint64_t)kernel->segments[s].count;
    return bytes;
}

/* ---- kernels ---- */

/* Only for what the array could not do in cycle_limit cycles either: it issues at most four
 * instructions a cycle and PE, and retires one iteration a cycle. */
static bool too_long(const struct bf_ref *ref, const struct bf_kernel *kernel,
                     struct bf_error *error) {
    return bf_fail(error, BF_ERROR_MACHINE, "%s: it would take more than %llu cycles", kernel->name,
                   (unsigned long long)ref->options->cycle_limit);
}

static bool run_block(void *user, struct bf_walk *walk, unsigned pe, const struct bf_block *block,
                      uint64_t number, struct bf_error *error) {
    struct bf_ref *ref = user;
    uint64_t limit = ref->options->cycle_limit;
    ref->issued += (uint64_t)block->d.trips[0] * block->d.trips[1] * block->d.trips[2] *
                   (block->d.unit == BF_UNIT_CAL ? block->d.cal.length : 1);
    if (limit && ref->issued / (4 * walk->pes) >= limit)
        return too_long(ref, walk->kernel, error);
    switch ((enum bf_unit)block->d.unit) {
    case BF_UNIT_CAL:
        return bf_ref_cal(ref, walk, pe, block, number, error);
    case BF_UNIT_FLOW:
        return bf_ref_flow(ref, walk, pe, block, number, error);
    default:
        return bf_ref_mem(ref, walk, pe, block, number, error);
    }
}

static bool launch(struct bf_ref *ref, uint32_t index, struct bf_error *error) {
    uint32_t kernel = ref->program->launches[index].kernel;
    if (!decode(ref, kernel, error))
        return false;
    if (ref->options->cycle_limit &&
        bf_launch_iterations(&ref->program->launches[index]) > ref->options->cycle_limit)
        return too_long(ref, &ref->program->kernels[kernel], error);
    ref->kernel = kernel;
    ref->kernel_stats = &ref->stats->kernels[kernel];
    ref->block_stats = ref->stats->blocks[kernel];
    ref->kernel_stats->runs++;
    struct bf_walk *walk = bf_walk_create(ref->program, index);
    walk->run = run_block;
    walk->user = ref;
    bool ok = bf_walk_run(walk, UINT64_MAX, error);
    bf_walk_free(walk);
    if (ok && ref->options->launched)
        ref->options->launched(ref->options->launched_user, index, ref->spm);
    return ok;
}

/* ---- the sequencer ---- */

struct sequencer {
    uint64_t jobs;        /* issued, and so complete */
    int64_t bank[2];      /* kernel, or -1 */
    uint64_t dram_before; /* traffic at the first mark */
    bool marked, measuring;
};

static uint64_t traffic(const struct bf_ref *ref) {
    return ref->stats->dram_read + ref->stats->dram_written;
}

static bool step(struct bf_ref *ref, struct sequencer *state, const struct bf_seq *seq,
                 struct bf_error *error) {
    const struct bf_launch *record;
    switch ((enum bf_seq_op)seq->op) {
    case BF_SEQ_CODE:
        state->jobs++;
        state->bank[seq->x & 1] = seq->y;
        ref->stats->dram_read += code_bytes(&ref->program->kernels[seq->y]);
        return true;
    case BF_SEQ_DMA:
        state->jobs++;
        return bf_ref_dma(ref, seq->y, error);
    case BF_SEQ_WAITD:
        if (seq->y > state->jobs)
            return bf_fail(error, BF_ERROR_MACHINE,
                           "sequencer: deadlock: waits for %u DMA jobs, %llu were issued", seq->y,
                           (unsigned long long)state->jobs);
        return true;
    case BF_SEQ_LAUNCH:
        record = &ref->program->launches[seq->y];
        if (state->bank[record->bank] != record->kernel)
            return bf_fail(error, BF_ERROR_MACHINE,
                           "sequencer: trap: launch %u: bank %u does not hold kernel %s", seq->y,
                           record->bank, ref->program->kernels[record->kernel].name);
        return launch(ref, seq->y, error);
    case BF_SEQ_MARK:
        if (seq->y == 0) {
            state->marked = state->measuring = true;
            state->dram_before = traffic(ref);
        } else if (state->measuring) {
            state->measuring = false;
            ref->stats->dram_measured = traffic(ref) - state->dram_before;
        }
        return true;
    case BF_SEQ_WAITK:
    case BF_SEQ_END:
        return true;
    }
    return bf_fail(error, BF_ERROR_INPUT, "sequencer: unknown instruction %u", seq->op);
}

static bool run_program(struct bf_ref *ref, struct bf_error *error) {
    struct sequencer state = {.bank = {-1, -1}};
    const struct bf_program *program = ref->program;
    for (size_t pc = 0; pc < program->sequence_count; pc++) {
        if (!step(ref, &state, &program->sequence[pc], error))
            return false;
        if (ref->options->progress)
            ref->options->progress(ref->options->user,
                                   (double)(pc + 1) / (double)program->sequence_count);
        if (program->sequence[pc].op == BF_SEQ_END)
            break;
    }
    if (!state.marked)
        ref->stats->dram_measured = traffic(ref);
    return true;
}

static bool run(const struct bf_program *program, uint8_t *dram,
                const struct bf_device_options *options, struct bf_stats *stats,
                struct bf_error *error) {
    static const struct bf_device_options defaults;
    struct bf_ref ref;
    struct bf_fp_environment environment;
    create(&ref, program, dram, options ? options : &defaults, stats);
    stats->timed = false;
    bf_fp_begin(&environment);
    bool ok = run_program(&ref, error);
    bf_fp_end(&environment);
    destroy(&ref);
    return ok;
}

const struct bf_device bf_device_ref = {
    .name = "ref",
    .what = "what the program means, without time",
    .observable = true,
    .run = run,
};
