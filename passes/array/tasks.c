/* tasks.c - the sequential program: launches, and the DMA jobs before each.
 *
 *   zeros, ones | for each plan: parameters, zeros around results, inputs, weights, code; LAUNCH
 *               | or, for a COPY, its jobs | outputs
 *
 * Each task knows what it reads and writes, so that sequence.c may queue it earlier or later.
 * Weights that an earlier plan has left where this one wants them are not loaded again.
 */
#include "passes/array/tasks.h"

#include <stdlib.h>

bool bf_place_has_pads(const struct bf_map *map, const struct bf_buffer *buffer);

/* Weights in the scratchpad. */
struct resident {
    int recipe;
    int64_t first, end;
};

struct builder {
    struct bf_tasks *tasks;
    bool *touched; /* by buffer index */
    int bank[2];   /* kernel in each, -1: none */
    unsigned last_bank;
    struct {
        struct resident *data;
        size_t count, capacity;
    } residents;
};

/* ---- accesses ---- */

static void access_words(struct bf_tasks *t, int64_t first, int64_t words, bool write) {
    *bf_push(&t->accesses) = (struct bf_task_access){
        .space = BF_SPACE_SPM, .write = write, .first = first, .end = first + words};
}

static void access_bank(struct bf_tasks *t, unsigned bank, bool write) {
    *bf_push(&t->accesses) = (struct bf_task_access){
        .space = BF_SPACE_BANK, .write = write, .first = bank, .end = bank + 1};
}

static void access_dram(struct bf_tasks *t, const struct bf_operand *operand, int64_t sample,
                        int64_t samples, bool write) {
    *bf_push(&t->accesses) = (struct bf_task_access){.space = BF_SPACE_DRAM,
                                                     .write = write,
                                                     .buffer = operand->buffer,
                                                     .first = sample,
                                                     .end = sample + samples,
                                                     .row = operand->row,
                                                     .row_end = operand->row + operand->rows,
                                                     .col = operand->col,
                                                     .col_end = operand->col + operand->cols};
}

/* An operand in the scratchpad, in whole tiles: words are written with all their lanes. */
static void access_spm(struct bf_tasks *t, const struct bf_operand *operand, bool write) {
    const struct bf_place_of_buffer *place = &t->map->places[operand->buffer->index];
    int64_t v = t->map->machine.lanes;
    struct bf_task_access access = {
        .space = BF_SPACE_SPM,
        .write = write,
        .buffer = operand->buffer,
        .first = place->spm,
        .end = place->spm + place->width * place->height / v,
        .row_end = place->height,
        .col = operand->col / v * v,
        .col_end = (int64_t)bf_round_up((uint64_t)(operand->col + operand->cols), (uint64_t)v)};
    if (operand->buffer->samples == 1) {
        access.row = operand->row / v * v;
        access.row_end =
            (int64_t)bf_round_up((uint64_t)(operand->row + operand->rows), (uint64_t)v);
    }
    *bf_push(&t->accesses) = access;
}

static void access_buffer(struct bf_tasks *t, const struct bf_buffer *buffer, bool write) {
    struct bf_operand whole = bf_operand_whole((struct bf_buffer *)buffer);
    access_spm(t, &whole, write);
}

static bool meet(int64_t first, int64_t end, int64_t other, int64_t other_end) {
    return first < other_end && other < end;
}

static bool accesses_conflict(const struct bf_task_access *a, const struct bf_task_access *b) {
    if (a->space != b->space || (!a->write && !b->write))
        return false;
    if (a->space == BF_SPACE_DRAM && a->buffer != b->buffer)
        return false;
    if (!meet(a->first, a->end, b->first, b->end))
        return false;
    return !a->buffer || a->buffer != b->buffer ||
           (meet(a->row, a->row_end, b->row, b->row_end) &&
            meet(a->col, a->col_end, b->col, b->col_end));
}

bool bf_tasks_conflict(const struct bf_tasks *tasks, const struct bf_task *a,
                       const struct bf_task *b) {
    for (size_t i = a->accesses; i < a->access_end; i++)
        for (size_t j = b->accesses; j < b->access_end; j++)
            if (accesses_conflict(&tasks->accesses.data[i], &tasks->accesses.data[j]))
                return true;
    return false;
}

/* ---- tasks ---- */

static struct bf_task begin(const struct builder *b, int plan) {
    return (struct bf_task){.plan = plan,
                            .position = b->tasks->launches,
                            .code = -1,
                            .dmas = b->tasks->dmas.count,
                            .accesses = b->tasks->accesses.count};
}

/* Weights that the task overwrites are gone. */
static void forget_overwritten(struct builder *b, const struct bf_task *task) {
    for (size_t i = task->accesses; i < task->access_end; i++) {
        const struct bf_task_access *access = &b->tasks->accesses.data[i];
        for (size_t r = 0; r < b->residents.count;) {
            const struct resident *at = &b->residents.data[r];
            if (access->space == BF_SPACE_SPM && access->write &&
                meet(access->first, access->end, at->first, at->end))
                b->residents.data[r] = b->residents.data[--b->residents.count];
            else
                r++;
        }
    }
}

/* Setup, and a word a cycle or what DRAM gives. */
static uint64_t job_cycles(const struct bf_machine *machine, const struct bf_dma *dma) {
    uint64_t elements = (uint64_t)dma->rows * dma->cols;
    uint64_t words = bf_divide_up(elements, machine->lanes);
    uint64_t bytes = dma->kind == BF_DMA_FILL ? 0 : 2 * elements;
    uint64_t moving = bf_divide_up(10 * bytes, machine->dram_tenth_bytes);
    return machine->dma_setup + (words > moving ? words : moving);
}

static uint64_t code_cycles(const struct bf_machine *machine, const struct bf_kernel *kernel) {
    uint64_t bytes = 32 * kernel->block_count;
    for (size_t i = 0; i < kernel->segment_count; i++)
        bytes += 8 * (uint64_t)kernel->segments[i].count;
    return machine->dma_setup + bf_divide_up(10 * bytes, machine->dram_tenth_bytes);
}

/* CAL slots of the average PE: what a launch takes at least. */
static uint64_t launch_cycles(const struct bf_program *program, const struct bf_launch *launch) {
    const struct bf_kernel *kernel = &program->kernels[launch->kernel];
    const struct bf_machine *machine = &program->machine;
    uint64_t slots = 0, pes = (uint64_t)machine->rows * machine->cols, iterations = 1;
    for (size_t i = 0; i < kernel->block_count; i++) {
        const struct bf_descriptor *d = &kernel->blocks[i].d;
        uint64_t length = d->unit == BF_UNIT_CAL ? d->cal.length : 0;
        for (unsigned level = 0; level < BF_LEVELS; level++)
            length *= d->trips[level];
        slots += length * (uint64_t)__builtin_popcountll(kernel->blocks[i].pes) *
                 (d->last - d->first + 1u);
    }
    for (unsigned level = 0; level < BF_LEVELS; level++)
        iterations *= launch->trips[level];
    return slots * iterations / pes / (launch->period ? launch->period : 1);
}

static void end(struct builder *b, struct bf_task task) {
    struct bf_tasks *t = b->tasks;
    const struct bf_program *program = t->map->program;
    task.dma_end = t->dmas.count;
    task.access_end = t->accesses.count;
    for (size_t i = task.dmas; i < task.dma_end; i++)
        task.cycles += job_cycles(&t->map->machine, &t->dmas.data[i]);
    if (task.code >= 0)
        task.cycles = code_cycles(&t->map->machine, &program->kernels[task.code]);
    forget_overwritten(b, &task);
    *bf_push(&t->tasks) = task;
}

static void fill_tile(struct builder *b, int64_t spm, uint16_t value) {
    int64_t v = b->tasks->map->machine.lanes;
    struct bf_task task = begin(b, -1);
    task.setup = true;
    bf_move_fill(b->tasks, spm, v, v, value);
    access_words(b->tasks, spm, v, true);
    end(b, task);
}

/* What must be there before a buffer is used for the first time: an input, a parameter, zeros
 * around what its producer writes. */
static void first_touch(struct builder *b, int plan, const struct bf_buffer *buffer) {
    struct bf_tasks *t = b->tasks;
    const struct bf_place_of_buffer *place = &t->map->places[buffer->index];
    if (buffer->in_dram || place->first < 0 || b->touched[buffer->index])
        return;
    b->touched[buffer->index] = true;
    struct bf_task task = begin(b, plan);
    task.setup = t->map->poly->header.resident;
    if (buffer->kind == BF_BUFFER_INPUT)
        bf_move_tensor(t, buffer, BF_DMA_LOAD);
    else if (buffer->kind == BF_BUFFER_PARAM)
        bf_move_param(t, buffer);
    else if (bf_place_has_pads(t->map, buffer))
        bf_move_fill(t, place->spm, place->width, place->height, 0);
    else
        return;
    access_buffer(t, buffer, true);
    end(b, task);
}

static void first_touches(struct builder *b, int p) {
    const struct bf_plan *plan = b->tasks->map->plans.data[p];
    for (size_t i = 0; i < plan->inputs.count; i++)
        first_touch(b, p, plan->inputs.data[i].buffer);
    for (size_t i = 0; i < plan->outputs.count; i++)
        first_touch(b, p, plan->outputs.data[i].buffer);
}

static void weights(struct builder *b, int p) {
    const struct bf_map *map = b->tasks->map;
    const struct bf_plan *plan = map->plans.data[p];
    if (plan->recipe < 0)
        return;
    int64_t words = bf_recipe_words(&map->recipes.data[plan->recipe]);
    for (size_t r = 0; r < b->residents.count; r++)
        if (b->residents.data[r].recipe == plan->recipe &&
            b->residents.data[r].first == plan->weight_spm)
            return;
    struct bf_task task = begin(b, p);
    task.setup = map->poly->header.resident;
    bf_move_weights(b->tasks, plan);
    access_words(b->tasks, plan->weight_spm, words, true);
    end(b, task);
    *bf_push(&b->residents) =
        (struct resident){plan->recipe, plan->weight_spm, plan->weight_spm + words};
}

/* The bank that holds the kernel; it is loaded into the one that the last launch did not use. */
static unsigned code(struct builder *b, int p) {
    int wanted = b->tasks->map->plans.data[p]->code;
    for (unsigned bank = 0; bank < 2; bank++)
        if (b->bank[bank] == wanted)
            return bank;
    struct bf_task task = begin(b, p);
    task.code = wanted;
    task.bank = !b->last_bank;
    access_bank(b->tasks, task.bank, true);
    end(b, task);
    b->bank[task.bank] = wanted;
    return task.bank;
}

static void launch(struct builder *b, int p) {
    struct bf_tasks *t = b->tasks;
    const struct bf_map *map = t->map;
    const struct bf_plan *plan = map->plans.data[p];
    struct bf_launch *launch = &map->program->launches[plan->launch];
    b->last_bank = code(b, p);
    launch->bank = (uint8_t)b->last_bank;
    struct bf_task task = begin(b, p);
    task.launch = true;
    task.cycles = launch_cycles(map->program, launch);
    access_words(t, map->zero_spm, map->machine.lanes, false);
    access_words(t, map->one_spm, map->machine.lanes, false);
    access_bank(t, b->last_bank, false);
    if (plan->recipe >= 0)
        access_words(t, plan->weight_spm, bf_recipe_words(&map->recipes.data[plan->recipe]), false);
    for (size_t i = 0; i < plan->inputs.count; i++)
        access_spm(t, &plan->inputs.data[i], false);
    for (size_t i = 0; i < plan->outputs.count; i++)
        access_spm(t, &plan->outputs.data[i], true);
    end(b, task);
    t->launches++;
}

static void copy(struct builder *b, int p) {
    struct bf_tasks *t = b->tasks;
    const struct bf_plan *plan = t->map->plans.data[p];
    const struct bf_operand *from = &plan->inputs.data[0], *to = &plan->outputs.data[0];
    int64_t sample = bf_ints_find(&plan->kernel->attrs, "sample", 0);
    struct bf_task task = begin(b, p);
    bf_move_copy(t, plan);
    if (from->buffer->in_dram)
        access_dram(t, from, sample, to->buffer->samples, false);
    else if (from->buffer->dtype != BF_I32)
        access_spm(t, from, false);
    if (to->buffer->in_dram)
        access_dram(t, to, sample, from->buffer->samples, true);
    else
        access_spm(t, to, true);
    end(b, task);
}

static void store_outputs(struct builder *b) {
    struct bf_tasks *t = b->tasks;
    for (size_t i = 0; i < t->map->poly->buffers.count; i++) {
        const struct bf_buffer *buffer = t->map->poly->buffers.data[i];
        if (buffer->kind != BF_BUFFER_OUTPUT || t->map->places[i].first < 0)
            continue;
        struct bf_task task = begin(b, -1);
        bf_move_tensor(t, buffer, BF_DMA_STORE);
        access_buffer(t, buffer, false);
        end(b, task);
    }
}

/* A resident network brings in everything first. */
static void set_up(struct builder *b) {
    const struct bf_map *map = b->tasks->map;
    fill_tile(b, map->zero_spm, 0);
    fill_tile(b, map->one_spm, 0x3c00);
    if (!map->poly->header.resident)
        return;
    for (size_t i = 0; i < map->poly->buffers.count; i++)
        first_touch(b, -1, map->poly->buffers.data[i]);
    for (size_t p = 0; p < map->plans.count; p++)
        weights(b, (int)p);
}

struct bf_tasks *bf_tasks_create(struct bf_map *map) {
    struct bf_tasks *tasks = bf_alloc(sizeof *tasks);
    tasks->map = map;
    struct builder b = {.tasks = tasks,
                        .touched = bf_alloc(map->poly->buffers.count * sizeof *b.touched),
                        .bank = {-1, -1},
                        .last_bank = 1};
    set_up(&b);
    for (int p = 0; p < (int)map->plans.count; p++) {
        first_touches(&b, p);
        if (map->plans.data[p]->code < 0) {
            copy(&b, p);
            continue;
        }
        weights(&b, p);
        launch(&b, p);
    }
    store_outputs(&b);
    free(b.touched);
    free(b.residents.data);
    return tasks;
}

void bf_tasks_free(struct bf_tasks *tasks) {
    free(tasks->tasks.data);
    free(tasks->accesses.data);
    free(tasks->dmas.data);
    free(tasks);
}
