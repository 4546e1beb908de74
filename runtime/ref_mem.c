/* ref_mem.c - LOAD, STORE, FLOW and DMA of the functional device [M, F, D]. */
#include "runtime/ref_device.h"

/* One lane of a scratchpad word. The array holds column words; lane l of row word w of a tile is
 * lane w of its column word l [W3]. */
static bf_half *spm_lane(struct bf_ref *ref, uint64_t address, bool row, unsigned lane) {
    unsigned v = ref->lanes;
    return row ? &ref->spm[(address / v * v + lane) * v + address % v]
               : &ref->spm[address * v + lane];
}

static void spm_read(struct bf_ref *ref, uint32_t address, bool row, bf_half *word) {
    for (unsigned lane = 0; lane < ref->lanes; lane++)
        word[lane] = *spm_lane(ref, address, row, lane);
}

static void spm_write(struct bf_ref *ref, uint32_t address, bool row, unsigned first, unsigned end,
                      const bf_half *word) {
    for (unsigned lane = first; lane < end; lane++)
        *spm_lane(ref, address, row, lane) = word[lane];
}

/* The word that a LOAD or STORE moves, in the RAM. */
static bf_half *mem_word(struct bf_ref *ref, const struct bf_walk *walk, unsigned pe,
                         const struct bf_descriptor *d, uint64_t number, uint32_t offset) {
    const struct bf_launch *launch = walk->launch;
    if (d->mem.weights) {
        uint32_t words = ref->machine->weight_half << launch->one_weight_set;
        return bf_ref_weights(ref, launch, pe, number,
                              bf_mem_ram(launch, d, number, offset, words));
    }
    return bf_ref_ram(ref, pe, bf_mem_ram(launch, d, number, offset, ref->machine->data_ram));
}

static void store(struct bf_ref *ref, const struct bf_block *block, uint32_t address,
                  const bf_half *word) {
    unsigned lanes = block->d.mem.reverse;
    unsigned first = lanes == BF_LANES_REST ? 1 : 0;
    unsigned end = lanes == BF_LANES_FIRST ? 1 : ref->lanes;
    spm_write(ref, address, block->d.mem.row, first, end, word);
    struct bf_block_stats *stats =
        &ref->block_stats[block - ref->program->kernels[ref->kernel].blocks];
    for (unsigned lane = first; lane < end; lane++) {
        stats->infinities += bf_half_is_infinity(word[lane]);
        ref->kernel_stats->infinities += bf_half_is_infinity(word[lane]);
        stats->nans += bf_half_is_nan(word[lane]);
        ref->kernel_stats->nans += bf_half_is_nan(word[lane]);
    }
}

bool bf_ref_mem(struct bf_ref *ref, struct bf_walk *walk, unsigned pe, const struct bf_block *block,
                uint64_t number, struct bf_error *error) {
    const struct bf_descriptor *d = &block->d;
    uint32_t address = bf_mem_start(walk->launch, d, number), offset = 0;
    struct bf_loop loop = {{0}};
    for (int level = 0; level >= 0;) {
        if (address >= ref->machine->spm_words)
            return bf_fail(error, BF_ERROR_MACHINE,
                           "%s: trap: %s of %s, iteration %llu: scratchpad word %u is outside its "
                           "%u words",
                           walk->kernel->name, bf_block_label(walk->program, block).text,
                           bf_pe_label(walk->program, pe).text, (unsigned long long)number, address,
                           ref->machine->spm_words);
        bf_half *word = mem_word(ref, walk, pe, d, number, offset);
        if (d->unit == BF_UNIT_LOAD)
            spm_read(ref, address, d->mem.row, word);
        else
            store(ref, block, address, word);
        ref->kernel_stats->issued[d->unit]++;
        ref->kernel_stats->ram_words++;
        ref->kernel_stats->spm_words++;
        level = bf_loop_next(&loop, d->trips);
        if (level >= 0) {
            address = (address + (uint32_t)d->mem.spm_delta[level]) & BF_SPM_MASK;
            offset += (uint32_t)(int32_t)d->mem.ram_delta[level];
        }
    }
    return true;
}

static unsigned distance(const struct bf_machine *machine, unsigned from, unsigned to) {
    int rows = (int)(from / machine->cols) - (int)(to / machine->cols);
    int cols = (int)(from % machine->cols) - (int)(to % machine->cols);
    return (unsigned)((rows < 0 ? -rows : rows) + (cols < 0 ? -cols : cols));
}

bool bf_ref_flow(struct bf_ref *ref, struct bf_walk *walk, unsigned pe,
                 const struct bf_block *block, uint64_t iteration, struct bf_error *error) {
    const struct bf_descriptor *d = &block->d;
    uint32_t source = 0, destination = 0;
    struct bf_loop loop = {{0}};
    for (int level = 0; level >= 0;) {
        struct bf_hop hop =
            bf_flow_hop(ref->program, walk->launch, d, pe, iteration, &loop, source, destination);
        if (hop.receiver >= walk->pes)
            return bf_fail(error, BF_ERROR_MACHINE,
                           "%s: trap: %s of %s sends to PE %u, which does not exist",
                           walk->kernel->name, bf_block_label(walk->program, block).text,
                           bf_pe_label(walk->program, pe).text, hop.receiver);
        bf_half word[BF_MAX_LANES];
        memcpy(word, bf_ref_ram(ref, pe, hop.source), ref->lanes * sizeof *word);
        memcpy(bf_ref_ram(ref, hop.receiver, hop.destination), word, ref->lanes * sizeof *word);
        ref->kernel_stats->issued[BF_UNIT_FLOW]++;
        ref->kernel_stats->ram_words += 2;
        ref->kernel_stats->hops += distance(ref->machine, pe, hop.receiver);
        if (d->flow.token != BF_NO_BLOCK &&
            !bf_walk_tokens(walk, hop.receiver, d->flow.token, iteration, 1, error))
            return false;
        level = bf_loop_next(&loop, d->trips);
        if (level >= 0) {
            source += (uint32_t)(int32_t)d->flow.source_delta[level];
            destination += (uint32_t)(int32_t)d->flow.destination_delta[level];
        }
    }
    return true;
}

/* ---- DMA ---- */

static bool trap(struct bf_error *error, uint32_t job, const char *what) {
    return bf_fail(error, BF_ERROR_MACHINE, "dma %u: trap: %s", job, what);
}

/* DRAM byte at which row r begins. */
static bool dram_row(struct bf_ref *ref, const struct bf_dma *dma, uint32_t job, uint32_t r,
                     uint64_t *start, struct bf_error *error) {
    uint64_t size = ref->program->dram_size;
    uint64_t row = r;
    if (dma->kind == BF_DMA_GATHER) {
        int32_t id;
        if (dma->ids > size || size - dma->ids < 4 * ((uint64_t)r + 1))
            return trap(error, job, "the ids lie outside DRAM");
        memcpy(&id, ref->dram + dma->ids + 4 * (uint64_t)r, sizeof id);
        ref->stats->dram_read += 4;
        if (id < 0 || (uint32_t)id >= dma->limit)
            return bf_fail(error, BF_ERROR_MACHINE, "dma %u: trap: id %d is not in 0 .. %u - 1",
                           job, id, dma->limit);
        row = (uint32_t)id;
    }
    *start = dma->dram + row * (uint64_t)dma->pitch;
    uint64_t bytes = 2 * (uint64_t)dma->cols;
    if (*start > size || size - *start < bytes)
        return trap(error, job, "a row lies outside DRAM");
    return true;
}

/* An element of a job's buffer; NULL if it lies outside the scratchpad. */
static bf_half *spm_element(struct bf_ref *ref, const struct bf_dma *dma, uint64_t row,
                            uint64_t column) {
    unsigned v = ref->lanes;
    uint64_t address = dma->spm + row / v * dma->width + column / v * v + row % v;
    return address < ref->machine->spm_words ? spm_lane(ref, address, true, column % v) : NULL;
}

static bool pad_tiles(struct bf_ref *ref, const struct bf_dma *dma, uint32_t job,
                      struct bf_error *error) {
    uint64_t v = ref->lanes;
    uint64_t end_row = bf_round_up((uint64_t)dma->row + dma->rows, v);
    uint64_t end_col = bf_round_up((uint64_t)dma->col + dma->cols, v);
    for (uint64_t r = dma->row / v * v; r < end_row; r++)
        for (uint64_t c = dma->col / v * v; c < end_col; c++) {
            bf_half *element = spm_element(ref, dma, r, c);
            if (!element)
                return trap(error, job, "a word lies outside the scratchpad");
            *element = BF_HALF_ZERO;
        }
    return true;
}

bool bf_ref_dma(struct bf_ref *ref, uint32_t job, struct bf_error *error) {
    const struct bf_dma *dma = &ref->program->dmas[job];
    if (dma->pad && dma->kind != BF_DMA_STORE && !pad_tiles(ref, dma, job, error))
        return false;
    uint64_t moved = dma->kind == BF_DMA_FILL ? 0 : 2 * (uint64_t)dma->cols;
    for (uint32_t r = 0; r < dma->rows; r++) {
        uint64_t start = 0;
        if (dma->kind != BF_DMA_FILL && !dram_row(ref, dma, job, r, &start, error))
            return false;
        bf_half *element = NULL; /* inside a tile a row goes on V halves further */
        for (uint32_t c = 0; c < dma->cols; c++) {
            uint64_t column = (uint64_t)dma->col + c;
            element = element && column % ref->lanes
                          ? element + ref->lanes
                          : spm_element(ref, dma, (uint64_t)dma->row + r, column);
            if (!element)
                return trap(error, job, "a word lies outside the scratchpad");
            if (dma->kind == BF_DMA_STORE)
                memcpy(ref->dram + start + 2 * (uint64_t)c, element, 2);
            else if (dma->kind == BF_DMA_FILL)
                *element = dma->value;
            else
                memcpy(element, ref->dram + start + 2 * (uint64_t)c, 2);
        }
        *(dma->kind == BF_DMA_STORE ? &ref->stats->dram_written : &ref->stats->dram_read) += moved;
    }
    return true;
}
