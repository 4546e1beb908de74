/* check.c - the order of sequencer, DMA and launches; the rest is in check_*.c.
 *
 * DMA jobs run one after the other in the order in which they were issued, so that they are ordered
 * among themselves. A launch waits until the array is idle, so launches are too. Job and launch
 * overlap unless `waitd` has counted the job before the launch, or `waitk` (or a later launch)
 * stands between the launch and the job; then they must not touch the same words, one of them
 * writing.
 */
#include "runtime/check_parts.h"

#include <stdlib.h>

struct sequence {
    const struct bf_program *program;
    struct bf_budget budget;
    struct bf_spm_check spm;
    uint32_t *jobs; /* what was issued, in order: DMA descriptor, or CODE_JOB */
    uint64_t issued, waited;
    int64_t kernel[2];  /* in the instruction banks, or -1 */
    uint64_t loaded[2]; /* jobs that must have completed for that */
    uint32_t *proved;   /* by kernel: 1 + the last launch that was found right, or 0 */
    uint32_t *before;   /* by such a launch: the one before it, likewise */
};
#define CODE_JOB UINT32_MAX

/* Has a launch with the same parameters been found right, but for the scratchpad? */
static bool is_proved(const struct sequence *s, const struct bf_launch *launch) {
    uint32_t at = s->proved[launch->kernel];
    while (at && !bf_launch_alike(launch, &s->program->launches[at - 1]))
        at = s->before[at - 1];
    return at != 0;
}

static bool check_code(struct sequence *s, const struct bf_seq *seq, struct bf_error *error) {
    unsigned bank = seq->x & 1;
    const struct bf_launch *running = &s->program->launches[s->spm.launch];
    if (s->spm.running && running->bank == bank)
        return bf_fail(error, BF_ERROR_MACHINE,
                       "%s: order: its code in bank %u is overwritten by that of %s while it may "
                       "still run: no waitk stands between",
                       s->program->kernels[running->kernel].name, bank,
                       s->program->kernels[seq->y].name);
    s->jobs[s->issued++] = CODE_JOB;
    s->kernel[bank] = seq->y;
    s->loaded[bank] = s->issued;
    return true;
}

static bool check_job(struct sequence *s, uint32_t job, struct bf_error *error) {
    s->jobs[s->issued++] = job;
    if (s->spm.running && !bf_spm_against_job(&s->spm, job, false, error))
        return false;
    return bf_spm_job(&s->spm, job, error);
}

static bool check_launch(struct sequence *s, uint32_t index, struct bf_error *error) {
    const struct bf_launch *launch = &s->program->launches[index];
    const char *name = s->program->kernels[launch->kernel].name;
    if (s->kernel[launch->bank] != launch->kernel)
        return bf_fail(error, BF_ERROR_MACHINE, "%s: order: bank %u does not hold its code", name,
                       launch->bank);
    if (s->loaded[launch->bank] > s->waited)
        return bf_fail(error, BF_ERROR_MACHINE,
                       "%s: order: it is launched while its code may still be loading: no waitd "
                       "stands between",
                       name);
    if (!is_proved(s, launch)) {
        if (!bf_check_launch(s->program, index, &s->budget, error))
            return false;
        s->before[index] = s->proved[launch->kernel];
        s->proved[launch->kernel] = index + 1;
    }
    if (!bf_spm_launch(&s->spm, index, error))
        return false;
    for (uint64_t j = s->waited; j < s->issued; j++)
        if (s->jobs[j] != CODE_JOB && !bf_spm_against_job(&s->spm, s->jobs[j], true, error))
            return false;
    return true;
}

static bool check_step(struct sequence *s, const struct bf_seq *seq, struct bf_error *error) {
    switch ((enum bf_seq_op)seq->op) {
    case BF_SEQ_CODE:
        return check_code(s, seq, error);
    case BF_SEQ_DMA:
        return check_job(s, seq->y, error);
    case BF_SEQ_WAITD:
        if (seq->y > s->issued)
            return bf_fail(error, BF_ERROR_MACHINE,
                           "sequencer: deadlock: it waits for %u jobs, and %llu were issued",
                           seq->y, (unsigned long long)s->issued);
        if (seq->y > s->waited)
            s->waited = seq->y;
        return true;
    case BF_SEQ_LAUNCH:
        return check_launch(s, seq->y, error);
    case BF_SEQ_WAITK:
        s->spm.running = false;
        return true;
    case BF_SEQ_MARK:
        return true;
    case BF_SEQ_END:
        if (s->waited < s->issued || s->spm.running)
            return bf_fail(error, BF_ERROR_MACHINE,
                           "sequencer: order: the program may end while %s",
                           s->spm.running ? "the array runs: no waitk stands before"
                                          : "a DMA job runs: no waitd stands before");
        return true;
    }
    return bf_fail(error, BF_ERROR_INPUT, "sequencer: unknown instruction %u", seq->op);
}

bool bf_check_program(const struct bf_program *program, struct bf_error *error) {
    uint32_t words = (uint32_t)bf_round_up(program->machine.spm_words, program->machine.lanes);
    struct sequence s = {.program = program,
                         .budget = {UINT64_C(1) << 30},
                         .jobs = bf_alloc(program->sequence_count * sizeof *s.jobs),
                         .kernel = {-1, -1},
                         .proved = bf_alloc(program->kernel_count * sizeof *s.proved),
                         .before = bf_alloc(program->launch_count * sizeof *s.before)};
    s.spm = (struct bf_spm_check){
        .program = program,
        .budget = &s.budget,
        .words = words,
        .initialised = bf_alloc(words * sizeof(uint32_t)),
        .read = bf_alloc(words * sizeof(uint32_t)),
        .written = bf_alloc(words * sizeof(uint32_t)),
        .footprints = bf_alloc(program->kernel_count * sizeof(struct bf_footprint *))};
    bool ok = true;
    for (size_t pc = 0; ok && pc < program->sequence_count; pc++) {
        ok = check_step(&s, &program->sequence[pc], error);
        if (program->sequence[pc].op == BF_SEQ_END)
            break;
    }
    free(s.spm.initialised);
    free(s.spm.read);
    free(s.spm.written);
    free(s.spm.footprints);
    bf_arena_free(&s.spm.arena);
    free(s.proved);
    free(s.before);
    free(s.jobs);
    return ok;
}
