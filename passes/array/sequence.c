/* sequence.c - the sequencer program and its DMA jobs: the last part of schedule.
 *
 *   fill zeros and ones; inputs                       | CODE k0, weights k0
 *   wait; LAUNCH k0 | CODE k1 (other bank), weights k1 while k0 runs
 *   wait; LAUNCH k1 | ...
 *   wait for the array; outputs; wait; END
 *
 * A LAUNCH waits until the array is idle, so a job that is queued after LAUNCH i may overwrite what
 * plan i - 1 used. A resident network brings in everything first and marks the time of its kernels.
 */
#include "passes/passes.h"

#include <stdlib.h>

struct sequence {
    struct bf_map *map;
    uint32_t jobs;   /* DMA jobs queued so far */
    uint32_t waited; /* jobs known to have completed */
    int bank[2];     /* program kernel in each instruction bank, -1 if none */
    int next_bank;
    bool array_busy; /* a kernel may be running */
};

static void push(struct sequence *s, enum bf_seq_op op, unsigned x, uint32_t y) {
    struct bf_program *program = s->map->program;
    program->sequence =
        bf_resize(program->sequence, (program->sequence_count + 1) * sizeof *program->sequence);
    program->sequence[program->sequence_count++] = (struct bf_seq){(uint8_t)op, (uint8_t)x, y};
    if (op == BF_SEQ_CODE || op == BF_SEQ_DMA)
        s->jobs++;
}

static void wait_jobs(struct sequence *s) {
    if (s->waited != s->jobs)
        push(s, BF_SEQ_WAITD, 0, s->jobs);
    s->waited = s->jobs;
}

static void wait_array(struct sequence *s) {
    if (s->array_busy)
        push(s, BF_SEQ_WAITK, 0, 0);
    s->array_busy = false;
}

static void push_dma(struct sequence *s, const struct bf_dma *dma) {
    struct bf_program *program = s->map->program;
    program->dmas = bf_resize(program->dmas, (program->dma_count + 1) * sizeof *program->dmas);
    program->dmas[program->dma_count] = *dma;
    push(s, BF_SEQ_DMA, 0, (uint32_t)program->dma_count++);
}

static void fill(struct sequence *s, int64_t spm, int64_t width, int64_t height, uint16_t value) {
    push_dma(s, &(struct bf_dma){.kind = BF_DMA_FILL,
                                 .rows = (uint32_t)height,
                                 .cols = (uint32_t)width,
                                 .spm = (uint32_t)spm,
                                 .width = (uint32_t)width,
                                 .value = value});
}

static void load_weights(struct sequence *s, const struct bf_plan *plan) {
    if (plan->recipe < 0)
        return;
    const struct bf_recipe *recipe = &s->map->recipes.data[plan->recipe];
    uint32_t v = s->map->machine.lanes;
    push_dma(s, &(struct bf_dma){.kind = BF_DMA_LOAD,
                                 .pad = true,
                                 .dram = recipe->rodata,
                                 .pitch = 2 * v,
                                 .rows = (uint32_t)bf_recipe_words(recipe),
                                 .cols = v,
                                 .spm = (uint32_t)plan->weight_spm,
                                 .width = v});
}

static void load_code(struct sequence *s, const struct bf_plan *plan) {
    if (plan->code < 0 || s->bank[0] == plan->code || s->bank[1] == plan->code)
        return;
    push(s, BF_SEQ_CODE, (unsigned)s->next_bank, (uint32_t)plan->code);
    s->bank[s->next_bank] = plan->code;
}

/* Moves a whole buffer: all rows at once where samples follow each other without a gap. */
static void move_buffer(struct sequence *s, const struct bf_buffer *buffer, struct bf_dma dma,
                        int64_t sample_bytes, int64_t sample_ids) {
    const struct bf_place_of_buffer *place = &s->map->places[buffer->index];
    bool dense = place->pitch == buffer->rows && sample_bytes == buffer->rows * dma.pitch;
    int64_t samples = dense ? 1 : buffer->samples;
    dma.rows = (uint32_t)(dense ? buffer->samples * buffer->rows : buffer->rows);
    dma.cols = (uint32_t)buffer->cols;
    dma.spm = (uint32_t)place->spm;
    dma.width = (uint32_t)place->width;
    bool pad = dma.pad;
    for (int64_t i = 0; i < samples; i++) {
        dma.row = (uint32_t)(i * place->pitch);
        dma.pad = pad && dma.row % s->map->machine.lanes == 0; /* the first to touch its tiles */
        push_dma(s, &dma);
        dma.dram += (uint64_t)sample_bytes;
        dma.ids += (uint64_t)sample_ids;
    }
}

static const struct bf_tensor_place *find_tensor(const struct bf_program *program, const char *name,
                                                 enum bf_tensor_kind kind) {
    for (size_t i = 0; i < program->tensor_count; i++)
        if (program->tensors[i].kind == kind && !strcmp(program->tensors[i].name, name))
            return &program->tensors[i];
    return NULL;
}

/* Elements of one sample of a tensor. */
static int64_t sample_elements(const struct bf_tensor_place *tensor) {
    int64_t n = 1;
    for (int a = 0; a < tensor->rank; a++)
        n *= tensor->dims[a];
    return n;
}

/* Where the elements of a buffer lie in DRAM, and how far samples are apart. */
static uint64_t dram_of(const struct sequence *s, const struct bf_buffer *buffer,
                        int64_t *sample_bytes) {
    int64_t packed = 2 * buffer->rows * buffer->cols;
    *sample_bytes = packed;
    if (buffer->kind == BF_BUFFER_TEMP)
        return find_tensor(s->map->program, buffer->name, BF_TENSOR_SPILL)->dram;
    const struct bf_tensor_place *tensor =
        find_tensor(s->map->program, buffer->tensor,
                    buffer->kind == BF_BUFFER_INPUT ? BF_TENSOR_INPUT : BF_TENSOR_OUTPUT);
    int64_t batch = s->map->poly->header.batch, inner = buffer->samples / batch;
    if (inner == 1) /* with leading axes, samples of the buffer are packed */
        *sample_bytes = 2 * sample_elements(tensor);
    return tensor->dram + 2 * (uint64_t)buffer->origin;
}

static void move_tensor(struct sequence *s, const struct bf_buffer *buffer, enum bf_dma_kind kind) {
    int64_t sample_bytes;
    struct bf_dma dma = {.kind = (uint8_t)kind,
                         .pad = kind == BF_DMA_LOAD,
                         .dram = dram_of(s, buffer, &sample_bytes),
                         .pitch = 2 * buffer->cols};
    move_buffer(s, buffer, dma, sample_bytes, 0);
}

/* A parameter used as an activation: its rows in the scratchpad. */
static void load_param(struct sequence *s, const struct bf_buffer *buffer) {
    int recipe = bf_map_add_tensor(s->map, &buffer->view);
    struct bf_dma dma = {.kind = BF_DMA_LOAD,
                         .pad = true,
                         .dram = s->map->recipes.data[recipe].rodata,
                         .pitch = 2 * buffer->cols};
    move_buffer(s, buffer, dma, 2 * buffer->rows * buffer->cols, 0);
}

/* Rows of a table chosen by ids. */
static void gather(struct sequence *s, const struct bf_plan *plan) {
    const struct bf_param_view *table = &bf_kernel_find_param(plan->kernel, "table")->view;
    const struct bf_buffer *ids = plan->inputs.data[0].buffer, *to = plan->outputs.data[0].buffer;
    const struct bf_tensor_place *tensor =
        find_tensor(s->map->program, ids->tensor, BF_TENSOR_INPUT);
    int recipe = bf_map_add_tensor(s->map, table);
    const struct bf_place_of_buffer *place = &s->map->places[to->index];
    struct bf_dma dma = {.kind = BF_DMA_GATHER,
                         .pad = true,
                         .dram = s->map->recipes.data[recipe].rodata,
                         .pitch = 2 * to->cols,
                         .cols = (uint32_t)to->cols,
                         .spm = (uint32_t)place->spm,
                         .width = (uint32_t)place->width,
                         .ids = tensor->dram,
                         .limit = (uint32_t)table->extent[0]};
    int64_t samples = place->pitch == to->rows ? 1 : to->samples;
    dma.rows = (uint32_t)(samples == 1 ? to->samples * to->rows : to->rows);
    for (int64_t i = 0; i < samples; i++) {
        push_dma(s, &dma);
        dma.row += (uint32_t)place->pitch;
        dma.ids += 4 * (uint64_t)to->rows;
    }
}

/* Moves a rectangle of every sample between the scratchpad and packed elements in DRAM; `shared`:
 * every sample gets the same ones. */
static void move_operand(struct sequence *s, const struct bf_operand *operand,
                         enum bf_dma_kind kind, uint64_t dram, bool shared) {
    const struct bf_buffer *buffer = operand->buffer;
    const struct bf_place_of_buffer *place = &s->map->places[buffer->index];
    bool whole = operand->rows == buffer->rows && operand->cols == buffer->cols;
    bool dense = operand->rows == place->pitch && !shared;
    int64_t samples = dense ? 1 : buffer->samples;
    struct bf_dma dma = {.kind = (uint8_t)kind,
                         .pad = kind == BF_DMA_LOAD && whole,
                         .dram = dram,
                         .pitch = 2 * operand->cols,
                         .rows =
                             (uint32_t)(dense ? buffer->samples * operand->rows : operand->rows),
                         .cols = (uint32_t)operand->cols,
                         .spm = (uint32_t)place->spm,
                         .width = (uint32_t)place->width,
                         .row = (uint32_t)operand->row,
                         .col = (uint32_t)operand->col};
    bool pad = dma.pad;
    for (int64_t i = 0; i < samples; i++) {
        dma.pad = pad && dma.row % s->map->machine.lanes == 0; /* the first to touch its tiles */
        push_dma(s, &dma);
        dma.row += (uint32_t)place->pitch;
        dma.dram += shared ? 0 : 2 * (uint64_t)(operand->rows * operand->cols);
    }
}

/* Packed elements to a whole buffer in another order: columns stay next to each other, the rows and
 * samples of the buffer (of each sample of the batch, `inner` at a time) have strides of their own.
 */
static void load_permuted(struct sequence *s, const struct bf_plan *plan, uint64_t dram) {
    const struct bf_ints *attrs = &plan->kernel->attrs;
    const struct bf_buffer *to = plan->outputs.data[0].buffer;
    const struct bf_place_of_buffer *place = &s->map->places[to->index];
    int64_t inner = bf_ints_get(attrs, "inner"), outer = bf_ints_get(attrs, "outer");
    int64_t each = bf_ints_find(attrs, "sample_stride", inner * outer * to->rows * to->cols);
    dram += 2 * (uint64_t)bf_ints_find(attrs, "start", 0);
    struct bf_dma dma = {.kind = BF_DMA_LOAD,
                         .pad = place->pitch > 1,
                         .pitch = 2 * bf_ints_get(attrs, "pitch"),
                         .rows = (uint32_t)to->rows,
                         .cols = (uint32_t)to->cols,
                         .spm = (uint32_t)place->spm,
                         .width = (uint32_t)place->width};
    for (int64_t i = 0; i < to->samples; i++) {
        int64_t at = i % inner * bf_ints_get(attrs, "inner_stride") +
                     i / inner % outer * bf_ints_get(attrs, "outer_stride") +
                     i / inner / outer * each;
        dma.dram = dram + 2 * (uint64_t)at;
        dma.row = (uint32_t)(i * place->pitch);
        push_dma(s, &dma);
    }
}

/* Packed samples to some of those of a buffer: `to_inner` of them in every `to_stride`. Fewer than
 * there is room for are repeated. */
static void load_samples(struct sequence *s, const struct bf_plan *plan, uint64_t dram) {
    const struct bf_ints *attrs = &plan->kernel->attrs;
    const struct bf_operand *from = &plan->inputs.data[0], *to = &plan->outputs.data[0];
    const struct bf_place_of_buffer *place = &s->map->places[to->buffer->index];
    int64_t inner = bf_ints_get(attrs, "to_inner"), stride = bf_ints_get(attrs, "to_stride");
    struct bf_dma dma = {.kind = BF_DMA_LOAD,
                         .pitch = 2 * to->cols,
                         .rows = (uint32_t)to->rows,
                         .cols = (uint32_t)to->cols,
                         .spm = (uint32_t)place->spm,
                         .width = (uint32_t)place->width};
    for (int64_t i = 0; i < to->buffer->samples / stride * inner; i++) {
        int64_t sample = bf_ints_get(attrs, "to_first") + i / inner * stride + i % inner;
        dma.row = (uint32_t)(sample * place->pitch);
        dma.dram = dram + 2 * (uint64_t)(i % from->buffer->samples * to->rows * to->cols);
        push_dma(s, &dma);
    }
}

/* A rectangle of some samples of a buffer in DRAM to or from one in the scratchpad. */
static void move_slice(struct sequence *s, const struct bf_plan *plan, enum bf_dma_kind kind) {
    bool load = kind == BF_DMA_LOAD;
    const struct bf_operand *far = load ? &plan->inputs.data[0] : &plan->outputs.data[0];
    const struct bf_operand *near = load ? &plan->outputs.data[0] : &plan->inputs.data[0];
    const struct bf_place_of_buffer *place = &s->map->places[near->buffer->index];
    int64_t sample_bytes, first = bf_ints_find(&plan->kernel->attrs, "sample", 0);
    uint64_t dram = dram_of(s, far->buffer, &sample_bytes);
    int64_t pitch = 2 * far->buffer->cols;
    struct bf_dma dma = {.kind = (uint8_t)kind,
                         .pad = load,
                         .dram = dram +
                                 (uint64_t)(first * sample_bytes + far->row * pitch + 2 * far->col),
                         .pitch = pitch,
                         .rows = (uint32_t)near->rows,
                         .cols = (uint32_t)near->cols,
                         .spm = (uint32_t)place->spm,
                         .width = (uint32_t)place->width,
                         .row = (uint32_t)near->row,
                         .col = (uint32_t)near->col};
    int64_t samples = near->buffer->samples;
    if (place->pitch == near->rows && sample_bytes == near->rows * pitch) {
        dma.rows *= (uint32_t)samples;
        samples = 1;
    }
    for (int64_t i = 0; i < samples; i++) {
        dma.pad = load && dma.row % s->map->machine.lanes == 0; /* the first to touch its tiles */
        push_dma(s, &dma);
        dma.row += (uint32_t)place->pitch;
        dma.dram += (uint64_t)sample_bytes;
    }
}

/* Row-major elements in, row-major elements out: a slice of rows, a part of a concatenation, a new
 * shape. */
static void copy(struct sequence *s, const struct bf_plan *plan) {
    if (plan->inputs.data[0].buffer->in_dram) {
        move_slice(s, plan, BF_DMA_LOAD);
        return;
    }
    if (plan->outputs.data[0].buffer->in_dram) {
        move_slice(s, plan, BF_DMA_STORE);
        return;
    }
    uint64_t dram = find_tensor(s->map->program, plan->name, BF_TENSOR_SPILL)->dram;
    const struct bf_operand *from = &plan->inputs.data[0], *to = &plan->outputs.data[0];
    move_operand(s, from, BF_DMA_STORE, dram, false);
    wait_jobs(s);
    if (bf_ints_find(&plan->kernel->attrs, "inner", 0)) {
        load_permuted(s, plan, dram);
        return;
    }
    if (bf_ints_find(&plan->kernel->attrs, "to_stride", 0)) {
        load_samples(s, plan, dram);
        return;
    }
    move_operand(s, to, BF_DMA_LOAD, dram,
                 from->buffer->samples < to->buffer->samples &&
                     from->rows * from->cols == to->rows * to->cols);
}

bool bf_place_has_pads(const struct bf_map *map, const struct bf_buffer *buffer);

/* What plan p needs that is not there yet: parameters, zeros around results, weights, code. */
static void bring_in(struct sequence *s, size_t p) {
    const struct bf_map *map = s->map;
    for (size_t b = 0; b < map->poly->buffers.count; b++) {
        const struct bf_buffer *buffer = map->poly->buffers.data[b];
        const struct bf_place_of_buffer *place = &map->places[b];
        int first =
            map->poly->header.resident || place->first <= 0 ? place->first : place->first + 1;
        if (place->first < 0 || first != (int)p || buffer->kind == BF_BUFFER_INPUT)
            continue;
        if (buffer->kind == BF_BUFFER_PARAM)
            load_param(s, buffer);
        else if (bf_place_has_pads(map, buffer))
            fill(s, place->spm, place->width, place->height, 0);
    }
    load_weights(s, map->plans.data[p]);
}

static void load_inputs(struct sequence *s) {
    const struct bf_map *map = s->map;
    uint32_t v = map->machine.lanes;
    fill(s, map->zero_spm, v, v, 0);
    fill(s, map->one_spm, v, v, 0x3c00);
    for (size_t b = 0; b < map->poly->buffers.count; b++) {
        const struct bf_buffer *buffer = map->poly->buffers.data[b];
        if (buffer->kind == BF_BUFFER_INPUT && map->places[b].first >= 0)
            move_tensor(s, buffer, BF_DMA_LOAD);
    }
}

static void store_outputs(struct sequence *s) {
    for (size_t b = 0; b < s->map->poly->buffers.count; b++) {
        const struct bf_buffer *buffer = s->map->poly->buffers.data[b];
        if (buffer->kind == BF_BUFFER_OUTPUT && s->map->places[b].first >= 0)
            move_tensor(s, buffer, BF_DMA_STORE);
    }
}

static void run_plan(struct sequence *s, size_t p) {
    const struct bf_plan *plan = s->map->plans.data[p];
    if (plan->code < 0) {
        wait_array(s);
        wait_jobs(s); /* fills of its result */
        if (bf_kernel_find_param(plan->kernel, "table"))
            gather(s, plan);
        else
            copy(s, plan);
        wait_jobs(s);
        return;
    }
    load_code(s, plan);
    wait_jobs(s);
    if (p == 0 && s->map->poly->header.resident)
        push(s, BF_SEQ_MARK, 0, 0);
    push(s, BF_SEQ_LAUNCH, 0, (uint32_t)plan->launch);
    s->array_busy = true;
    struct bf_launch *launch = &s->map->program->launches[plan->launch];
    launch->bank = (uint8_t)(s->bank[0] == plan->code ? 0 : 1);
    s->next_bank = !launch->bank;
}

bool bf_sequence(struct bf_map *map, struct bf_diags *diags) {
    (void)diags;
    struct sequence s = {.map = map, .bank = {-1, -1}};
    bool resident = map->poly->header.resident;
    load_inputs(&s);
    for (size_t p = 0; p < map->plans.count; p++)
        if (resident || p == 0)
            bring_in(&s, p);
    for (size_t p = 0; p < map->plans.count; p++) {
        run_plan(&s, p);
        if (p + 1 < map->plans.count && !resident)
            bring_in(&s, p + 1);
        if (p + 1 < map->plans.count)
            load_code(&s, map->plans.data[p + 1]);
    }
    wait_array(&s);
    if (resident)
        push(&s, BF_SEQ_MARK, 0, 1);
    store_outputs(&s);
    wait_jobs(&s);
    push(&s, BF_SEQ_END, 0, 0);
    return true;
}
