/* program_check.c - what a device may rely on. See bf_program_check.
 *
 * Kernels are checked per PE: the masks of segments and blocks are unfolded into one code store and
 * one table of blocks a PE, and every reference is followed there. Work and memory are bounded by
 * the size of the program, which has bounds of its own (enum limit).
 */
#include "ir/isa/program.h"

#include <inttypes.h>
#include <stdlib.h>

enum limit {
    MAX_BATCH = 1 << 16,
    MAX_ITEMS = 1 << 24,  /* files, kernels, launches, DMA records, tensors, sequence: each */
    MAX_TRIPS = 1 << 20,  /* a level of a launch */
    MAX_ADDRESS = 1 << 18 /* scratchpad words of any machine */
};
static const uint64_t max_iterations = UINT64_C(1) << 31;
static const uint64_t max_dram = UINT64_C(1) << 30;
static const int64_t max_pitch = INT64_C(1) << 32;

struct unfolded {
    uint64_t code[BF_MAX_PES][256];
    bool loaded[BF_MAX_PES][256];
    const struct bf_block *block[BF_MAX_PES][BF_BLOCKS];
};

struct check {
    const struct bf_program *program;
    const struct bf_machine *machine;
    const struct bf_kernel *kernel; /* being checked */
    struct unfolded *at;
    uint64_t pes; /* that exist */
    struct bf_program_part part;
    struct bf_error *error;
};

static bool fail(struct check *c, const char *format, ...) BF_PRINTF(2, 3);
static bool fail(struct check *c, const char *format, ...) {
    char reason[512];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    const struct bf_program_part *p = &c->part;
    switch (p->kind) {
    case BF_PART_WORD:
        return bf_fail(c->error, BF_ERROR_INPUT, "kernel %s, CAL word %zu: %s", c->kernel->name,
                       c->kernel->segments[p->item].start + p->word, reason);
    case BF_PART_SEGMENT:
        return bf_fail(c->error, BF_ERROR_INPUT, "kernel %s, code segment %zu: %s", c->kernel->name,
                       p->item, reason);
    case BF_PART_BLOCK:
        return bf_fail(c->error, BF_ERROR_INPUT, "kernel %s, block %u: %s", c->kernel->name,
                       c->kernel->blocks[p->item].id, reason);
    default: {
        static const char *const names[] = {
            [BF_PART_FILE] = "file",         [BF_PART_KERNEL] = "kernel",
            [BF_PART_LAUNCH] = "launch",     [BF_PART_DMA] = "DMA record",
            [BF_PART_TENSOR] = "tensor",     [BF_PART_SEQ] = "sequencer instruction",
            [BF_PART_VALUE] = "stored value"};
        if (p->kind == BF_PART_WHOLE)
            return bf_fail(c->error, BF_ERROR_INPUT, "%s", reason);
        return bf_fail(c->error, BF_ERROR_INPUT, "%s %zu: %s", names[p->kind], p->index, reason);
    }
    }
}

/* ---- code and blocks of one kernel ---- */

static bool check_pes(struct check *c, uint64_t pes) {
    if (!pes)
        return fail(c, "it belongs to no PE");
    if (pes & ~c->pes)
        return fail(c, "it names a PE that '%s' does not have", c->machine->name);
    return true;
}

static bool check_place(struct check *c, const struct bf_place *place) {
    if (!place->line)
        return (!place->file && !place->column) || fail(c, "its source place has no line");
    return place->file < c->program->file_count ||
           fail(c, "its source place is in file %u, which does not exist", place->file);
}

static bool check_word(struct check *c, uint64_t word) {
    struct bf_cal cal;
    struct bf_error error = {0};
    if (!bf_cal_decode(word, &cal, &error) || !bf_cal_check(&cal, c->machine, &error))
        return fail(c, "%s", error.text);
    return true;
}

static bool check_segment(struct check *c, const struct bf_segment *segment) {
    if (!check_pes(c, segment->pes))
        return false;
    if (!segment->count || segment->start + segment->count > c->machine->code_words)
        return fail(c, "words %u .. %d are not inside the code store of %u", segment->start,
                    segment->start + segment->count - 1, c->machine->code_words);
    for (unsigned w = 0; w < segment->count; w++) {
        unsigned address = segment->start + w;
        c->part.kind = BF_PART_WORD;
        c->part.word = w;
        if (!check_word(c, segment->words[w]))
            return false;
        for (unsigned pe = 0; pe < BF_MAX_PES; pe++) {
            if (!(segment->pes >> pe & 1))
                continue;
            if (c->at->loaded[pe][address])
                return fail(c, "PE %u has two words at this address", pe);
            c->at->loaded[pe][address] = true;
            c->at->code[pe][address] = segment->words[w];
        }
    }
    return true;
}

/* Puts the block into the tables; what it refers to is checked when all are there. */
static bool place_block(struct check *c, const struct bf_block *block) {
    struct bf_error error = {0};
    if (block->id >= BF_BLOCKS)
        return fail(c, "there is no such block id");
    if (!block->name)
        return fail(c, "it has no name, not even an empty one");
    if (!check_pes(c, block->pes) || !check_place(c, &block->place))
        return false;
    if (block->d.unit != bf_block_unit(block->id))
        return fail(c, "its id is that of another unit");
    if (!bf_descriptor_fits(&block->d, &error))
        return fail(c, "%s", error.text);
    for (unsigned pe = 0; pe < BF_MAX_PES; pe++) {
        if (!(block->pes >> pe & 1))
            continue;
        if (c->at->block[pe][block->id])
            return fail(c, "PE %u has two blocks of this id", pe);
        c->at->block[pe][block->id] = block;
    }
    return true;
}

static bool check_body(struct check *c, const struct bf_descriptor *d, unsigned pe) {
    if (d->cal.start + d->cal.length > (int)c->machine->code_words)
        return fail(c, "its body ends behind the code store");
    for (unsigned w = d->cal.start; w < (unsigned)d->cal.start + d->cal.length; w++) {
        if (!c->at->loaded[pe][w])
            return fail(c, "its body needs CAL word %u, which PE %u does not have", w, pe);
        struct bf_cal cal;
        if (!bf_cal_decode(c->at->code[pe][w], &cal, c->error))
            return false;
        bool weight =
            (bf_cal_operands(cal.op) & 2) && (cal.b_kind == BF_B_LANE || cal.b_kind == BF_B_WEIGHT);
        if (weight && (d->cal.relative >> cal.b_class & 1))
            return fail(c,
                        "class %u is relative to the context, but CAL word %u uses it for a "
                        "weight",
                        cal.b_class, w);
    }
    return true;
}

/* Rule B6 of docs/machine.md. */
static bool check_chain(struct check *c, const struct bf_block *block, unsigned pe) {
    const struct bf_block *next =
        block->id + 1 < BF_FIRST_LOAD ? c->at->block[pe][block->id + 1] : NULL;
    if (!next)
        return fail(c, "it chains to block %u, which PE %u does not have", block->id + 1, pe);
    if (next->d.first != block->d.first || next->d.last != block->d.last)
        return fail(c, "it chains to block %u, which exists in other phases", next->id);
    if (next->d.need)
        return fail(c, "it chains to block %u, which waits for tokens", next->id);
    const struct bf_block *head = block;
    while (head->id && c->at->block[pe][head->id - 1] &&
           c->at->block[pe][head->id - 1]->d.cal.chain)
        head = c->at->block[pe][head->id - 1];
    if (next->d.cal.uses_weights && !head->d.cal.uses_weights)
        return fail(c, "it chains to block %u, which uses weights when the chain begins without",
                    next->id);
    return true;
}

static bool check_token(struct check *c, const struct bf_block *from, unsigned pe, unsigned id) {
    const struct bf_block *to = c->at->block[pe][id];
    if (!to)
        return fail(c, "it gives a token to block %u, which PE %u does not have", id, pe);
    if (to->d.first > from->d.first || to->d.last < from->d.last)
        return fail(c, "it gives a token to block %u, which does not exist in all its phases", id);
    if (!to->d.need)
        return fail(c, "it gives a token to block %u, which needs none", id);
    return true;
}

static bool check_flow(struct check *c, const struct bf_block *block, unsigned pe) {
    const struct bf_descriptor *d = &block->d;
    unsigned mask = (1u << d->flow.width) - 1, self = pe >> d->flow.shift & mask;
    unsigned counts = d->trips[1] <= mask ? d->trips[1] : mask + 1;
    if (d->flow.source >= c->machine->data_ram || d->flow.destination >= c->machine->data_ram)
        return fail(c, "it begins outside the data RAM of %u words", c->machine->data_ram);
    for (unsigned i = 0; i < counts; i++) {
        unsigned k = d->flow.mode == BF_FLOW_XOR ? i ^ self : i;
        unsigned to = (pe & ~(mask << d->flow.shift)) | k << d->flow.shift;
        if (to >= bf_machine_pes(c->machine))
            return fail(c, "PE %u would send to PE %u, which does not exist", pe, to);
        if (d->flow.token != BF_NO_BLOCK && !check_token(c, block, to, d->flow.token))
            return false;
    }
    return true;
}

static bool check_mem(struct check *c, const struct bf_descriptor *d) {
    unsigned size = d->mem.weights ? 2 * c->machine->weight_half : c->machine->data_ram;
    if (d->mem.ram >= size)
        return fail(c, "it begins at word %u of a RAM of %u", d->mem.ram, size);
    if (d->unit == BF_UNIT_LOAD && d->mem.reverse > bf_log2_floor(c->machine->data_ram))
        return fail(c, "it reverses %u bits, more than a RAM address has", d->mem.reverse);
    return true;
}

static bool check_block(struct check *c, const struct bf_block *block) {
    const struct bf_descriptor *d = &block->d;
    if (d->unit == BF_UNIT_CAL && d->cal.swap > bf_log2_floor(c->machine->data_ram))
        return fail(c, "it swaps by bit %u, which a RAM address does not have", d->cal.swap - 1);
    if ((d->unit == BF_UNIT_LOAD || d->unit == BF_UNIT_STORE) && !check_mem(c, d))
        return false;
    for (unsigned pe = 0; pe < BF_MAX_PES; pe++) {
        if (!(block->pes >> pe & 1))
            continue;
        for (int i = 0; i < BF_TARGETS; i++)
            if (d->target[i] != BF_NO_BLOCK && !check_token(c, block, pe, d->target[i]))
                return false;
        if (d->unit == BF_UNIT_CAL && !check_body(c, d, pe))
            return false;
        if (d->unit == BF_UNIT_CAL && d->cal.chain && !check_chain(c, block, pe))
            return false;
        if (d->unit == BF_UNIT_FLOW && !check_flow(c, block, pe))
            return false;
    }
    return true;
}

static bool check_kernel(struct check *c, size_t index) {
    const struct bf_kernel *kernel = c->kernel = &c->program->kernels[index];
    c->part = (struct bf_program_part){.kind = BF_PART_KERNEL, .index = index};
    if (!kernel->name || !*kernel->name || !kernel->what)
        return fail(c, "it has no name");
    if (!check_place(c, &kernel->place))
        return false;
    memset(c->at, 0, sizeof *c->at);
    for (size_t i = 0; i < kernel->segment_count; i++) {
        c->part = (struct bf_program_part){BF_PART_SEGMENT, index, i, 0};
        if (!check_segment(c, &kernel->segments[i]))
            return false;
    }
    for (size_t i = 0; i < kernel->block_count; i++) {
        c->part = (struct bf_program_part){BF_PART_BLOCK, index, i, 0};
        if (!place_block(c, &kernel->blocks[i]))
            return false;
    }
    for (size_t i = 0; i < kernel->block_count; i++) {
        c->part = (struct bf_program_part){BF_PART_BLOCK, index, i, 0};
        if (!check_block(c, &kernel->blocks[i]))
            return false;
    }
    return true;
}

/* ---- launches and DMA ---- */

static bool check_launch_numbers(struct check *c, const struct bf_launch *launch) {
    const struct bf_machine *m = c->machine;
    uint64_t iterations = 1;
    for (int l = 0; l < BF_LEVELS; l++) {
        if (launch->trips[l] < 1 || launch->trips[l] > MAX_TRIPS)
            return fail(c, "trips are 1 .. %d", MAX_TRIPS);
        iterations *= launch->trips[l];
        if (iterations >= max_iterations)
            return fail(c, "it has 2^31 or more iterations");
    }
    for (int b = 0; b < BF_BASES; b++)
        if (launch->base[b] >= MAX_ADDRESS)
            return fail(c, "base register %d does not fit 18 bits", b);
    if (launch->window < 1 || launch->window > BF_MAX_WINDOW)
        return fail(c, "the window is 1 .. %d", BF_MAX_WINDOW);
    if (launch->context_base + (uint64_t)launch->window * launch->context_size > m->data_ram)
        return fail(c, "%u contexts of %u words from %u on do not fit the data RAM of %u",
                    launch->window, launch->context_size, launch->context_base, m->data_ram);
    if (launch->context_base >= m->data_ram)
        return fail(c, "the contexts begin outside the data RAM");
    if (launch->period < 1 || launch->period > BF_MAX_PERIOD)
        return fail(c, "the period is 1 .. %d", BF_MAX_PERIOD);
    if (launch->group_level > BF_LEVELS)
        return fail(c, "group_level is 0 .. 3");
    if (launch->one_weight_set && launch->group_level != BF_LEVELS)
        return fail(c, "one_weight_set needs group_level 3");
    if (launch->one_weight_set && 2 * m->weight_half * m->lanes > 2048)
        return fail(c, "one_weight_set: both weight halves have more lanes than 11 bits address");
    return true;
}

static bool check_launch(struct check *c, const struct bf_launch *launch) {
    if (launch->kernel >= c->program->kernel_count)
        return fail(c, "there is no kernel %u", launch->kernel);
    if (launch->bank > 1)
        return fail(c, "there is no code bank %u", launch->bank);
    if (!check_launch_numbers(c, launch))
        return false;
    const struct bf_kernel *kernel = &c->program->kernels[launch->kernel];
    for (size_t i = 0; i < kernel->block_count; i++)
        if (kernel->blocks[i].d.last >= launch->period)
            return fail(c, "block %u of kernel %s exists in phase %u of a period of %u",
                        kernel->blocks[i].id, kernel->name, kernel->blocks[i].d.last,
                        launch->period);
    return true;
}

/* Rows first .. last of `bytes` bytes each, from `dram` on, `pitch` apart. */
static bool check_rows(struct check *c, uint64_t dram, int64_t pitch, uint64_t rows,
                       uint64_t bytes) {
    int64_t size = (int64_t)c->program->dram_size;
    if (dram > max_dram || pitch > max_pitch || pitch < -max_pitch)
        return fail(c, "its DRAM address or pitch is too large");
    int64_t first = (int64_t)dram, last = first + (int64_t)(rows - 1) * pitch;
    int64_t low = first < last ? first : last, high = first < last ? last : first;
    if (low < 0 || high + (int64_t)bytes > size)
        return fail(c, "it reaches bytes %" PRId64 " .. %" PRId64 " of a DRAM of %" PRId64, low,
                    high + (int64_t)bytes - 1, size);
    if (dram % 2 || pitch % 2)
        return fail(c, "DRAM address and pitch must be even");
    return true;
}

static bool check_dma_unused(struct check *c, const struct bf_dma *dma) {
    bool fill = dma->kind == BF_DMA_FILL, gather = dma->kind == BF_DMA_GATHER;
    if (dma->kind > BF_DMA_FILL)
        return fail(c, "unknown kind %u", dma->kind);
    if ((fill && (dma->dram || dma->pitch)) || (!gather && (dma->ids || dma->limit)) ||
        (!fill && dma->value) || (dma->kind == BF_DMA_STORE && dma->pad))
        return fail(c, "a field that this kind does not use must be 0");
    return true;
}

static bool check_dma(struct check *c, const struct bf_dma *dma) {
    uint32_t v = c->machine->lanes, words = c->machine->spm_words;
    if (!check_dma_unused(c, dma))
        return false;
    if (!dma->rows || !dma->cols)
        return fail(c, "it moves nothing");
    if (!dma->width || dma->width % v || dma->spm % v)
        return fail(c, "width and spm must be multiples of %u lanes, and width not 0", v);
    if ((uint64_t)dma->col + dma->cols > dma->width)
        return fail(c, "columns %u .. %" PRIu64 " do not fit a width of %u", dma->col,
                    (uint64_t)dma->col + dma->cols - 1, dma->width);
    uint64_t tiles = bf_divide_up((uint64_t)dma->row + dma->rows, v);
    if (dma->spm > words || tiles > words || dma->width > words ||
        dma->spm + tiles * dma->width > words)
        return fail(c, "its buffer does not fit the scratchpad of %u words", words);
    if (dma->kind == BF_DMA_FILL)
        return true;
    if (dma->kind != BF_DMA_GATHER)
        return check_rows(c, dma->dram, dma->pitch, dma->rows, 2 * (uint64_t)dma->cols);
    if (!dma->limit || dma->limit > INT32_MAX)
        return fail(c, "limit must be 1 .. 2^31 - 1");
    if (dma->ids % 4 || dma->ids > c->program->dram_size ||
        4 * (uint64_t)dma->rows > c->program->dram_size - dma->ids)
        return fail(c, "its ids are not aligned, or not inside DRAM");
    /* max_pitch x limit must not overflow. */
    if (dma->pitch > (int64_t)max_dram || dma->pitch < -(int64_t)max_dram)
        return fail(c, "its pitch is too large");
    return check_rows(c, dma->dram, dma->pitch, dma->limit, 2 * (uint64_t)dma->cols);
}

/* ---- tensors ---- */

static bool check_tensor(struct check *c, const struct bf_tensor_place *tensor) {
    uint64_t limit = c->program->dram_size, bytes = tensor->dtype == BF_I32 ? 4 : 2;
    uint64_t size = bytes;
    if (!tensor->name || !*tensor->name)
        return fail(c, "it has no name");
    if (tensor->kind > BF_TENSOR_SPILL || tensor->dtype > BF_U8 || tensor->rank > BF_TENSOR_RANK)
        return fail(c, "its kind, type or rank is unknown");
    bool bound = tensor->kind == BF_TENSOR_INPUT || tensor->kind == BF_TENSOR_OUTPUT;
    if (bound)
        size *= c->program->batch;
    for (int i = 0; i < BF_TENSOR_RANK; i++) {
        if (i < tensor->rank ? !tensor->dims[i] : tensor->dims[i])
            return fail(c, "a dimension is 0, or beyond its rank and not 0");
        size = i < tensor->rank ? size * tensor->dims[i] : size;
        if (size > max_dram)
            return fail(c, "it is larger than any DRAM");
    }
    if (bound && tensor->size != size)
        return fail(c, "its shape needs %" PRIu64 " bytes, not %" PRIu64, size, tensor->size);
    if (tensor->dram > limit || tensor->size > limit - tensor->dram)
        return fail(c, "it does not lie inside DRAM");
    return tensor->dram % bytes == 0 || fail(c, "its address is not aligned");
}

static int by_kind_and_name(const void *a, const void *b) {
    const struct bf_tensor_place *x = *(const struct bf_tensor_place *const *)a;
    const struct bf_tensor_place *y = *(const struct bf_tensor_place *const *)b;
    return x->kind != y->kind ? x->kind - y->kind : strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const struct bf_kernel *const *)a)->name,
                  (*(const struct bf_kernel *const *)b)->name);
}

static bool names_differ(struct check *c) {
    const struct bf_program *p = c->program;
    bool good = true;
    const struct bf_kernel **kernels = bf_alloc(p->kernel_count * sizeof(void *));
    const struct bf_tensor_place **tensors = bf_alloc(p->tensor_count * sizeof(void *));
    for (size_t i = 0; i < p->kernel_count; i++)
        kernels[i] = &p->kernels[i];
    for (size_t i = 0; i < p->tensor_count; i++)
        tensors[i] = &p->tensors[i];
    qsort(kernels, p->kernel_count, sizeof *kernels, by_name);
    qsort(tensors, p->tensor_count, sizeof *tensors, by_kind_and_name);
    for (size_t i = 1; good && i < p->kernel_count; i++)
        if (!by_name(&kernels[i - 1], &kernels[i])) {
            c->part = (struct bf_program_part){.kind = BF_PART_KERNEL,
                                               .index = (size_t)(kernels[i] - p->kernels)};
            good = fail(c, "another one is called %s, too", kernels[i]->name);
        }
    for (size_t i = 1; good && i < p->tensor_count; i++)
        if (!by_kind_and_name(&tensors[i - 1], &tensors[i])) {
            c->part = (struct bf_program_part){.kind = BF_PART_TENSOR,
                                               .index = (size_t)(tensors[i] - p->tensors)};
            good = fail(c, "another one is called %s, too", tensors[i]->name);
        }
    free(kernels);
    free(tensors);
    return good;
}

/* ---- the sequencer ---- */

/* What is known for certain before an instruction, whatever time jobs and kernels take. */
struct known {
    uint64_t jobs, complete; /* queued so far; complete at least */
    uint64_t code_job[2];    /* job that loads the bank last, counted from 1; 0: none */
    uint32_t code_kernel[2];
    int running; /* bank of the kernel that may be running, -1: none */
    bool mark_begin, mark_end;
};

static bool check_code(struct check *c, const struct bf_seq *seq, struct known *known) {
    if (seq->x > 1)
        return fail(c, "there is no code bank %u", seq->x);
    if (seq->y >= c->program->kernel_count)
        return fail(c, "there is no kernel %u", seq->y);
    if (known->running == seq->x)
        return fail(c, "it overwrites bank %u while a kernel may run from it; waitk is missing",
                    seq->x);
    known->code_job[seq->x] = ++known->jobs;
    known->code_kernel[seq->x] = seq->y;
    return true;
}

static bool check_start(struct check *c, const struct bf_seq *seq, struct known *known) {
    if (seq->y >= c->program->launch_count)
        return fail(c, "there is no launch %u", seq->y);
    const struct bf_launch *launch = &c->program->launches[seq->y];
    uint64_t job = known->code_job[launch->bank];
    if (!job || known->code_kernel[launch->bank] != launch->kernel)
        return fail(c, "bank %u does not hold kernel %s", launch->bank,
                    c->program->kernels[launch->kernel].name);
    if (job > known->complete)
        return fail(c, "the code of kernel %s may not be loaded yet; waitd %" PRIu64 " is missing",
                    c->program->kernels[launch->kernel].name, job);
    known->running = launch->bank;
    return true;
}

static bool check_mark(struct check *c, const struct bf_seq *seq, struct known *known) {
    bool *mark = seq->y ? &known->mark_end : &known->mark_begin;
    if (seq->y > 1)
        return fail(c, "mark is 0 or 1");
    if (*mark || (seq->y && !known->mark_begin))
        return fail(c, "mark 0 and mark 1 come once each, in this order");
    *mark = true;
    return true;
}

static bool check_end(struct check *c, bool last, const struct known *known) {
    if (!last)
        return fail(c, "nothing may follow end");
    if (known->running >= 0)
        return fail(c, "a kernel may still run; waitk is missing");
    if (known->complete < known->jobs)
        return fail(c, "DMA jobs may still run; waitd %" PRIu64 " is missing", known->jobs);
    return known->mark_begin == known->mark_end || fail(c, "mark 1 is missing");
}

static bool check_seq(struct check *c, size_t index, struct known *known) {
    const struct bf_seq *seq = &c->program->sequence[index];
    c->part = (struct bf_program_part){.kind = BF_PART_SEQ, .index = index};
    if (!bf_seq_name(seq->op))
        return fail(c, "unknown operation %u", seq->op);
    bool uses_y = seq->op != BF_SEQ_END && seq->op != BF_SEQ_WAITK;
    if ((seq->x && seq->op != BF_SEQ_CODE) || (seq->y && !uses_y))
        return fail(c, "a field that %s does not use must be 0", bf_seq_name(seq->op));
    switch (seq->op) {
    case BF_SEQ_CODE:
        return check_code(c, seq, known);
    case BF_SEQ_DMA:
        known->jobs++;
        return seq->y < c->program->dma_count || fail(c, "there is no DMA record %u", seq->y);
    case BF_SEQ_WAITD:
        if (seq->y > known->jobs)
            return fail(c, "it waits for %u DMA jobs when only %" PRIu64 " are queued", seq->y,
                        known->jobs);
        known->complete = seq->y > known->complete ? seq->y : known->complete;
        return true;
    case BF_SEQ_LAUNCH:
        return check_start(c, seq, known);
    case BF_SEQ_WAITK:
        known->running = -1;
        return true;
    case BF_SEQ_MARK:
        return check_mark(c, seq, known);
    default:
        return check_end(c, index + 1 == c->program->sequence_count, known);
    }
}

static bool check_sequence(struct check *c) {
    const struct bf_program *p = c->program;
    struct known known = {.running = -1};
    for (size_t i = 0; i < p->sequence_count; i++)
        if (!check_seq(c, i, &known))
            return false;
    c->part = (struct bf_program_part){.kind = BF_PART_WHOLE};
    return (p->sequence_count && p->sequence[p->sequence_count - 1].op == BF_SEQ_END) ||
           fail(c, "the sequence does not end with end");
}

/* ---- all of it ---- */

static bool check_whole(struct check *c) {
    const struct bf_program *p = c->program;
    if (!bf_machine_check(c->machine, c->error))
        return false;
    if (!p->network || p->batch < 1 || p->batch > MAX_BATCH || p->optimize > 9)
        return fail(c, "name of the network, batch or optimisation level is out of range");
    if (p->dram_size > max_dram || p->rodata_size > p->dram_size)
        return fail(c,
                    "%" PRIu64 " bytes of rodata, %" PRIu64 " of DRAM: at most 1 GiB, rodata "
                    "inside",
                    p->rodata_size, p->dram_size);
    if (p->rodata_size && !p->rodata)
        return fail(c, "the rodata is missing");
    size_t counts[] = {p->file_count, p->kernel_count, p->sequence_count,
                       p->dma_count,  p->launch_count, p->tensor_count};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i] > MAX_ITEMS)
            return fail(c, "more than %d items of a kind", MAX_ITEMS);
    for (size_t i = 0; i < p->file_count; i++) {
        c->part = (struct bf_program_part){.kind = BF_PART_FILE, .index = i};
        if (!p->files[i])
            return fail(c, "it has no name");
    }
    unsigned pes = bf_machine_pes(c->machine);
    c->pes = pes == 64 ? UINT64_MAX : (UINT64_C(1) << pes) - 1;
    return true;
}

/* Readers of the scratchpad between launches rely on it. */
static bool check_value(struct check *c, const struct bf_value_place *value) {
    uint64_t v = c->machine->lanes, most = MAX_ADDRESS * v;
    if (!value->name || !*value->name)
        return fail(c, "it has no name");
    if (value->launch >= c->program->launch_count)
        return fail(c, "there is no launch %u", value->launch);
    if (!value->samples || !value->rows || !value->cols)
        return fail(c, "it has no elements");
    if (value->cols > value->width || value->width % v)
        return fail(c, "its width must be a multiple of %u and hold %u columns", c->machine->lanes,
                    value->cols);
    if (value->samples > most || value->rows > most || value->pitch > most ||
        (value->samples > 1 && value->pitch < value->rows))
        return fail(c, "samples of %u rows do not fit a pitch of %u", value->rows, value->pitch);
    uint64_t last = (uint64_t)(value->samples - 1) * value->pitch + value->rows - 1;
    if (value->word % v || last / v > MAX_ADDRESS ||
        value->word + last / v * value->width + value->cols > c->machine->spm_words)
        return fail(c, "it does not lie in the %u words of the scratchpad", c->machine->spm_words);
    return true;
}

static bool check_embedded(struct check *c) {
    const struct bf_program *p = c->program;
    c->part = (struct bf_program_part){.kind = BF_PART_WHOLE};
    if (!p->net && (p->net_weights || p->value_count))
        return fail(c, "weights or stored values of a network that is not embedded");
    if (p->value_count > MAX_ITEMS)
        return fail(c, "too many stored values");
    for (size_t i = 0; i < p->value_count; i++) {
        c->part = (struct bf_program_part){.kind = BF_PART_VALUE, .index = i};
        if (!check_value(c, &p->values[i]))
            return false;
    }
    return true;
}

static bool check_items(struct check *c) {
    const struct bf_program *p = c->program;
    for (size_t i = 0; i < p->kernel_count; i++)
        if (!check_kernel(c, i))
            return false;
    for (size_t i = 0; i < p->launch_count; i++) {
        c->part = (struct bf_program_part){.kind = BF_PART_LAUNCH, .index = i};
        if (!check_launch(c, &p->launches[i]))
            return false;
    }
    for (size_t i = 0; i < p->dma_count; i++) {
        c->part = (struct bf_program_part){.kind = BF_PART_DMA, .index = i};
        if (!check_dma(c, &p->dmas[i]))
            return false;
    }
    for (size_t i = 0; i < p->tensor_count; i++) {
        c->part = (struct bf_program_part){.kind = BF_PART_TENSOR, .index = i};
        if (!check_tensor(c, &p->tensors[i]))
            return false;
    }
    return names_differ(c) && check_sequence(c) && check_embedded(c);
}

bool bf_program_check_part(const struct bf_program *program, struct bf_program_part *part,
                           struct bf_error *error) {
    struct bf_error own = {0};
    struct check c = {.program = program,
                      .machine = &program->machine,
                      .at = bf_alloc(sizeof(struct unfolded)),
                      .error = error ? error : &own};
    bool good = check_whole(&c) && check_items(&c);
    free(c.at);
    *part = good ? (struct bf_program_part){0} : c.part;
    return good;
}

bool bf_program_check(const struct bf_program *program, struct bf_error *error) {
    struct bf_program_part part;
    return bf_program_check_part(program, &part, error);
}
