/* sequence.c - the sequencer program: the last part of schedule.
 *
 *   jobs for k0 | LAUNCH k0 | jobs for k1, then for k2 .. | wait for those of k1; LAUNCH k1 | ..
 *
 * tasks.c has the launches and DMA jobs in a sequential order. Launches keep it; a job is queued as
 * soon as no earlier task that it conflicts with is left: behind LAUNCH i once LAUNCH i - 1 has
 * made sure that i - 1 kernels are over, or behind a WAITK. Jobs run in the order in which they are
 * queued, so those that the next launch wants go first, then results on their way out, then what
 * later launches want, for about as long as the kernel runs: the queue must not hold up the
 * sequencer. A launch waits for the last job that it conflicts with, not for all.
 */
#include "passes/array/tasks.h"
#include "passes/passes.h"

#include <stdlib.h>

enum { AHEAD = 12 }; /* launches for which jobs are queued early */

struct sequence {
    struct bf_map *map;
    struct bf_tasks *tasks;
    size_t *launches; /* task of each launch */
    size_t low;       /* tasks before it have been queued */
    size_t *queued;   /* DMA tasks in the order in which they were queued */
    size_t queued_count;
    uint32_t jobs, waited; /* queued; known to be complete */
    int over;              /* launches known to be complete */
    int issued;            /* launches issued */
    /* About when: the DMA is done with what is queued, the running kernel ends. */
    uint64_t dma_free, kernel_end;
};

static void push(struct sequence *s, enum bf_seq_op op, unsigned x, uint32_t y) {
    struct bf_program *program = s->map->program;
    program->sequence =
        bf_resize(program->sequence, (program->sequence_count + 1) * sizeof *program->sequence);
    program->sequence[program->sequence_count++] = (struct bf_seq){(uint8_t)op, (uint8_t)x, y};
    if (op == BF_SEQ_CODE || op == BF_SEQ_DMA)
        s->jobs++;
}

static void push_dma(struct sequence *s, const struct bf_dma *dma) {
    struct bf_program *program = s->map->program;
    program->dmas = bf_resize(program->dmas, (program->dma_count + 1) * sizeof *program->dmas);
    program->dmas[program->dma_count] = *dma;
    push(s, BF_SEQ_DMA, 0, (uint32_t)program->dma_count++);
}

static void wait_jobs(struct sequence *s, uint32_t jobs) {
    if (s->waited >= jobs)
        return;
    push(s, BF_SEQ_WAITD, 0, jobs);
    s->waited = jobs;
}

static void wait_array(struct sequence *s) {
    if (s->over < s->issued)
        push(s, BF_SEQ_WAITK, 0, 0);
    s->over = s->issued;
}

static struct bf_task *task_at(const struct sequence *s, size_t index) {
    return &s->tasks->tasks.data[index];
}

/* Nothing that must come before the task is left. */
static bool is_ready(const struct sequence *s, size_t index) {
    const struct bf_task *task = task_at(s, index);
    for (size_t i = s->low; i < index; i++)
        if (!task_at(s, i)->launch && !task_at(s, i)->queued &&
            bf_tasks_conflict(s->tasks, task_at(s, i), task))
            return false;
    for (int launch = task->position - 1; launch >= s->over; launch--)
        if (bf_tasks_conflict(s->tasks, task_at(s, s->launches[launch]), task))
            return false;
    return true;
}

static void queue(struct sequence *s, size_t index) {
    struct bf_task *task = task_at(s, index);
    if (task->code >= 0)
        push(s, BF_SEQ_CODE, task->bank, (uint32_t)task->code);
    for (size_t i = task->dmas; i < task->dma_end; i++)
        push_dma(s, &s->tasks->dmas.data[i]);
    task->queued = true;
    task->done = s->jobs;
    s->queued[s->queued_count++] = index;
    s->dma_free += task->cycles;
    while (s->low < s->tasks->tasks.count &&
           (task_at(s, s->low)->launch || task_at(s, s->low)->queued))
        s->low++;
}

/* Marks the tasks not queued that must be over before task `index`, by themselves or through
 * others. */
static void mark_wanted(const struct sequence *s, size_t index) {
    for (size_t i = index; i-- > s->low;) {
        struct bf_task *task = task_at(s, i);
        task->wanted = false;
        if (task->launch || task->queued)
            continue;
        task->wanted = bf_tasks_conflict(s->tasks, task, task_at(s, index));
        for (size_t j = i + 1; j < index && !task->wanted; j++)
            task->wanted = task_at(s, j)->wanted && !task_at(s, j)->launch &&
                           !task_at(s, j)->queued &&
                           bf_tasks_conflict(s->tasks, task, task_at(s, j));
    }
}

/* Queues what is ready of the wanted tasks before `end`; `early`: while the kernel runs. */
static void queue_wanted(struct sequence *s, size_t end, bool early) {
    for (size_t i = s->low; i < end; i++) {
        const struct bf_task *task = task_at(s, i);
        if (early && s->dma_free >= s->kernel_end)
            return;
        if (!task->launch && !task->queued && task->wanted && is_ready(s, i))
            queue(s, i);
    }
}

/* Queues all tasks before `end`, in order, that are ready; `early` as above. */
static void queue_all(struct sequence *s, size_t end, bool early) {
    for (size_t i = s->low; i < end; i++)
        if (!task_at(s, i)->launch)
            task_at(s, i)->wanted = true;
    queue_wanted(s, end, early);
}

/* While launch number `launch` runs. */
static void queue_ahead(struct sequence *s, int launch) {
    size_t here = s->launches[launch];
    if (launch + 1 < s->tasks->launches) {
        mark_wanted(s, s->launches[launch + 1]);
        queue_wanted(s, s->launches[launch + 1], false);
    }
    queue_all(s, here, true);
    for (int next = launch + 2; next < s->tasks->launches && next <= launch + AHEAD; next++) {
        if (s->dma_free >= s->kernel_end)
            return;
        mark_wanted(s, s->launches[next]);
        queue_wanted(s, s->launches[next], true);
    }
}

static void launch(struct sequence *s, int number) {
    size_t index = s->launches[number];
    const struct bf_task *task = task_at(s, index);
    mark_wanted(s, index);
    queue_wanted(s, index, false);
    for (size_t i = s->low; i < index; i++)
        if (!task_at(s, i)->launch && !task_at(s, i)->queued && task_at(s, i)->wanted) {
            wait_array(s);
            queue_wanted(s, index, false);
            break;
        }
    uint32_t jobs = 0;
    for (size_t i = s->queued_count; i-- > 0 && task_at(s, s->queued[i])->done > s->waited;)
        if (!jobs && bf_tasks_conflict(s->tasks, task_at(s, s->queued[i]), task))
            jobs = task_at(s, s->queued[i])->done;
    wait_jobs(s, jobs);
    push(s, BF_SEQ_LAUNCH, 0, (uint32_t)s->map->plans.data[task->plan]->launch);
    s->over = s->issued;
    s->issued = number + 1;
    uint64_t start = jobs && s->dma_free > s->kernel_end ? s->dma_free : s->kernel_end;
    s->dma_free = s->dma_free > start ? s->dma_free : start;
    s->kernel_end = start + task->cycles;
}

/* Tasks from `first` on are those of outputs. */
static void finish(struct sequence *s, size_t first) {
    wait_array(s);
    queue_all(s, first, false);
    if (s->map->poly->header.resident) {
        wait_jobs(s, s->jobs);
        push(s, BF_SEQ_MARK, 0, 1);
    }
    queue_all(s, s->tasks->tasks.count, false);
    wait_jobs(s, s->jobs);
    push(s, BF_SEQ_END, 0, 0);
}

static void run(struct sequence *s) {
    size_t count = s->tasks->tasks.count, first_output = count;
    if (s->map->poly->header.resident) {
        for (size_t i = 0; i < count; i++)
            task_at(s, i)->wanted = task_at(s, i)->setup;
        queue_wanted(s, count, false);
        wait_jobs(s, s->jobs);
        push(s, BF_SEQ_MARK, 0, 0);
    }
    for (int i = 0; i < s->tasks->launches; i++) {
        launch(s, i);
        queue_ahead(s, i);
    }
    while (first_output > 0 && task_at(s, first_output - 1)->plan < 0 &&
           !task_at(s, first_output - 1)->setup)
        first_output--;
    finish(s, first_output);
}

bool bf_sequence(struct bf_map *map, struct bf_diags *diags) {
    (void)diags;
    struct sequence s = {.map = map, .tasks = bf_tasks_create(map)};
    size_t count = s.tasks->tasks.count;
    s.launches = bf_alloc(((size_t)s.tasks->launches + 1) * sizeof *s.launches);
    s.queued = bf_alloc((count + 1) * sizeof *s.queued);
    for (size_t i = 0; i < count; i++)
        if (s.tasks->tasks.data[i].launch)
            s.launches[s.tasks->tasks.data[i].position] = i;
    run(&s);
    free(s.launches);
    free(s.queued);
    bf_tasks_free(s.tasks);
    return true;
}
