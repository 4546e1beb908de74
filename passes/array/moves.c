/* moves.c - the DMA jobs that fill, load, store, gather and copy; see tasks.c. */
#include "passes/array/tasks.h"

static void push_dma(struct bf_tasks *s, const struct bf_dma *dma) {
    *bf_push(&s->dmas) = *dma;
}

void bf_move_fill(struct bf_tasks *s, int64_t spm, int64_t width, int64_t height, uint16_t value) {
    push_dma(s, &(struct bf_dma){.kind = BF_DMA_FILL,
                                 .rows = (uint32_t)height,
                                 .cols = (uint32_t)width,
                                 .spm = (uint32_t)spm,
                                 .width = (uint32_t)width,
                                 .value = value});
}

void bf_move_weights(struct bf_tasks *s, const struct bf_plan *plan) {
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

/* Moves a whole buffer: all rows at once where samples follow each other without a gap. */
static void move_buffer(struct bf_tasks *s, const struct bf_buffer *buffer, struct bf_dma dma,
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
static uint64_t dram_of(const struct bf_tasks *s, const struct bf_buffer *buffer,
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

void bf_move_tensor(struct bf_tasks *s, const struct bf_buffer *buffer, enum bf_dma_kind kind) {
    int64_t sample_bytes;
    struct bf_dma dma = {.kind = (uint8_t)kind,
                         .pad = kind == BF_DMA_LOAD,
                         .dram = dram_of(s, buffer, &sample_bytes),
                         .pitch = 2 * buffer->cols};
    move_buffer(s, buffer, dma, sample_bytes, 0);
}

/* A parameter used as an activation: its rows in the scratchpad. */
void bf_move_param(struct bf_tasks *s, const struct bf_buffer *buffer) {
    int recipe = bf_map_add_tensor(s->map, &buffer->view);
    struct bf_dma dma = {.kind = BF_DMA_LOAD,
                         .pad = true,
                         .dram = s->map->recipes.data[recipe].rodata,
                         .pitch = 2 * buffer->cols};
    move_buffer(s, buffer, dma, 2 * buffer->rows * buffer->cols, 0);
}

/* Rows of a table chosen by ids. */
static void gather(struct bf_tasks *s, const struct bf_plan *plan) {
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
static void move_operand(struct bf_tasks *s, const struct bf_operand *operand,
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
static void load_permuted(struct bf_tasks *s, const struct bf_plan *plan, uint64_t dram) {
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
static void load_samples(struct bf_tasks *s, const struct bf_plan *plan, uint64_t dram) {
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
static void move_slice(struct bf_tasks *s, const struct bf_plan *plan, enum bf_dma_kind kind) {
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
void bf_move_copy(struct bf_tasks *s, const struct bf_plan *plan) {
    if (bf_kernel_find_param(plan->kernel, "table")) {
        gather(s, plan);
        return;
    }
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
