/* check_spm.c - order and storage of the scratchpad: inside a launch, and between launches and DMA
 * jobs.
 *
 * A launch's LOADs and STOREs are run through their address generators once, over all iterations.
 * Mostly nothing it reads is written and nothing is written twice. Only where that is not so, the
 * accesses to the words in question are listed, and pairs less than W iterations apart are looked
 * up in the happens-before relation.
 */
#include "runtime/check_parts.h"

#include <stdlib.h>

/* ---- accesses of a launch ---- */

/* One word access. `visit` gets it as lanes of column words. */
struct access {
    unsigned node;   /* BF_NO_NODE: a weight LOAD, of ... */
    uint64_t number; /* ... this group; else the iteration */
    bool write;
    uint8_t base; /* the register that the address began with */
};

struct scan {
    struct bf_spm_check *check;
    struct bf_order *order;
    bool (*visit)(struct scan *scan, const struct access *access, uint32_t word, uint32_t lanes,
                  struct bf_error *error);
    uint32_t *dirty;                              /* lanes accessed both ways, or written twice */
    uint32_t *read[BF_BASES], *written[BF_BASES]; /* through a base register; made on demand */
    struct {                                      /* for report_access */
        uint32_t word, lanes, job;
        bool write, before;
    } wanted;
    struct {
        struct record {
            uint32_t word, lanes;
            unsigned node;
            uint64_t number;
            bool write;
        } *data;
        size_t count, capacity;
    } records;
};

static uint32_t all_lanes(const struct bf_spm_check *check) {
    return (uint32_t)((UINT64_C(1) << check->program->machine.lanes) - 1);
}

static bool visit_word(struct scan *scan, const struct access *access,
                       const struct bf_descriptor *d, uint32_t address, struct bf_error *error) {
    uint32_t v = scan->check->program->machine.lanes, lanes = all_lanes(scan->check);
    if (d->unit == BF_UNIT_STORE && d->mem.reverse == BF_LANES_FIRST)
        lanes = 1;
    if (d->unit == BF_UNIT_STORE && d->mem.reverse == BF_LANES_REST)
        lanes &= ~1u;
    if (!d->mem.row)
        return scan->visit(scan, access, address, lanes, error);
    for (uint32_t lane = 0; lane < v; lane++)
        if ((lanes >> lane & 1) &&
            !scan->visit(scan, access, address / v * v + lane, 1u << address % v, error))
            return false;
    return true;
}

static bool scan_block(struct scan *scan, const struct access *access, unsigned pe,
                       const struct bf_block *block, struct bf_error *error) {
    const struct bf_descriptor *d = &block->d;
    const struct bf_program *program = scan->check->program;
    uint32_t address = bf_mem_start(scan->order->launch, d, access->number);
    struct bf_loop loop = {{0}};
    for (int level = 0; level >= 0;) {
        if (address >= program->machine.spm_words)
            return bf_fail(error, BF_ERROR_MACHINE,
                           "%s: storage: %s of %s uses scratchpad word %u of %u in %s %llu",
                           scan->order->kernel->name, bf_block_label(program, block).text,
                           bf_pe_label(program, pe).text, address, program->machine.spm_words,
                           access->node == BF_NO_NODE ? "group" : "iteration",
                           (unsigned long long)access->number);
        if (!visit_word(scan, access, d, address, error))
            return false;
        level = bf_loop_next(&loop, d->trips);
        if (level >= 0)
            address = (address + (uint32_t)d->mem.spm_delta[level]) & BF_SPM_MASK;
    }
    return true;
}

static uint64_t cost(const struct bf_spm_check *check, const struct bf_descriptor *d) {
    return (uint64_t)d->trips[0] * d->trips[1] * d->trips[2] *
           (d->mem.row ? check->program->machine.lanes : 1);
}

static bool scan_weights(struct scan *scan, struct bf_error *error) {
    const struct bf_order *order = scan->order;
    uint64_t length = bf_launch_group(order->launch);
    uint64_t groups = bf_divide_up(order->iterations, length);
    for (size_t b = 0; b < order->kernel->block_count; b++) {
        const struct bf_block *block = &order->kernel->blocks[b];
        if (!bf_is_weight_load(block))
            continue;
        for (uint64_t group = 0; group < groups; group++) {
            unsigned phase = bf_launch_phase(order->launch, group * length);
            struct access access = {BF_NO_NODE, group, false, block->d.mem.base};
            if (!bf_budget_spend(scan->check->budget, 1, error))
                return false;
            if (!bf_block_in_phase(block, phase))
                continue;
            if (!bf_budget_spend(scan->check->budget, cost(scan->check, &block->d), error) ||
                !scan_block(scan, &access, (unsigned)bf_log2_floor(block->pes), block, error))
                return false;
        }
    }
    return true;
}

static bool scan_launch(struct scan *scan, struct bf_error *error) {
    const struct bf_order *order = scan->order;
    for (unsigned n = 0; n < order->node_count; n++) {
        const struct bf_block *block = order->nodes[n].block;
        bool write = block->d.unit == BF_UNIT_STORE;
        if (!write && block->d.unit != BF_UNIT_LOAD)
            continue;
        if (order->iterations > scan->check->budget->steps)
            return bf_budget_spend(scan->check->budget, order->iterations, error);
        for (uint64_t i = 0; i < order->iterations; i++) {
            struct access access = {n, i, write, block->d.mem.base};
            if (bf_order_exists(order, n, i) &&
                (!bf_budget_spend(scan->check->budget, cost(scan->check, &block->d), error) ||
                 !scan_block(scan, &access, order->nodes[n].pe, block, error)))
                return false;
        }
    }
    return scan_weights(scan, error);
}

static struct bf_label access_label(const struct scan *scan, unsigned node, uint64_t number) {
    struct bf_label label;
    if (node != BF_NO_NODE)
        return bf_instance_label(scan->order, node, number);
    snprintf(label.text, sizeof label.text, "the weight LOAD of group %llu",
             (unsigned long long)number);
    return label;
}

/* ---- inside a launch ---- */

static bool first_look(struct scan *scan, const struct access *access, uint32_t word,
                       uint32_t lanes, struct bf_error *error) {
    (void)error;
    struct bf_spm_check *check = scan->check;
    uint32_t **seen = access->write ? &scan->written[access->base] : &scan->read[access->base];
    if (!*seen)
        *seen = bf_alloc(check->words * sizeof **seen);
    (*seen)[word] |= lanes;
    if (access->write) {
        scan->dirty[word] |= check->written[word] & lanes;
        check->written[word] |= lanes;
    } else {
        check->read[word] |= lanes;
    }
    return true;
}

static bool second_look(struct scan *scan, const struct access *access, uint32_t word,
                        uint32_t lanes, struct bf_error *error) {
    (void)error;
    lanes &= scan->dirty[word];
    if (lanes)
        *bf_push(&scan->records) =
            (struct record){word, lanes, access->node, access->number, access->write};
    return true;
}

static int compare(const void *a, const void *b) {
    const struct record *x = a, *y = b;
    if (x->word != y->word)
        return x->word < y->word ? -1 : 1;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    return x->lanes < y->lanes ? -1 : x->lanes > y->lanes;
}

static bool ordered(const struct scan *scan, const struct record *x, const struct record *y) {
    if (x->node == BF_NO_NODE || y->node == BF_NO_NODE)
        return false;
    return bf_order_before(scan->order, (struct bf_accessor){x->node, BF_NO_NODE}, x->number,
                           (struct bf_accessor){y->node, BF_NO_NODE}, y->number);
}

static bool check_records(const struct scan *scan, const struct record *x, const struct record *y,
                          struct bf_error *error) {
    bool same = x->node == y->node && x->number == y->number;
    if ((!x->write && !y->write) || same || !(x->lanes & y->lanes) || ordered(scan, x, y) ||
        ordered(scan, y, x))
        return true;
    const struct record *writer = x->write ? x : y, *other = x->write ? y : x;
    return bf_fail(
        error, BF_ERROR_MACHINE,
        "%s: storage: scratchpad word %u is written by %s while %s may still %s it: no "
        "token, chain or retirement orders them",
        scan->order->kernel->name, x->word, access_label(scan, writer->node, writer->number).text,
        access_label(scan, other->node, other->number).text, other->write ? "write" : "read");
}

static bool dry(const struct scan *scan, unsigned node, uint64_t number, uint32_t word,
                struct bf_error *error) {
    return bf_fail(error, BF_ERROR_MACHINE,
                   "%s: uninitialised: scratchpad word %u is read by %s, and nothing writes all of "
                   "its lanes before",
                   scan->order->kernel->name, word, access_label(scan, node, number).text);
}

/* The records of one word, by iteration. */
static bool check_word(const struct scan *scan, const struct record *records, size_t count,
                       struct bf_error *error) {
    unsigned window = scan->order->window;
    for (size_t k = 0; k < count; k++) {
        const struct record *x = &records[k];
        if (!bf_budget_spend(scan->check->budget, count, error))
            return false;
        uint32_t lacking = x->write ? 0 : x->lanes & ~scan->check->initialised[x->word];
        for (size_t m = 0; m < count; m++) {
            const struct record *y = &records[m];
            bool near =
                x->node == BF_NO_NODE || y->node == BF_NO_NODE || y->number < x->number + window;
            if (m > k && near && !check_records(scan, x, y, error))
                return false;
            if (y->write && lacking && m != k && (ordered(scan, y, x)))
                lacking &= ~y->lanes;
        }
        if (lacking)
            return dry(scan, x->node, x->number, x->word, error);
    }
    return true;
}

static bool check_dirty(struct scan *scan, struct bf_error *error) {
    scan->visit = second_look;
    if (!scan_launch(scan, error))
        return false;
    struct record *data = scan->records.data;
    size_t count = scan->records.count;
    if (count)
        qsort(data, count, sizeof *data, compare);
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first; end < count && data[end].word == data[first].word;)
            end++;
        if (!check_word(scan, data + first, end - first, error))
            return false;
    }
    return true;
}

/* Finds who reads what nothing has written, for the message. */
static bool find_dry(struct scan *scan, const struct access *access, uint32_t word, uint32_t lanes,
                     struct bf_error *error) {
    const struct bf_spm_check *check = scan->check;
    if (!access->write && (lanes & ~(check->initialised[word] | check->written[word])))
        return dry(scan, access->node, access->number, word, error);
    return true;
}

static void clear(struct bf_spm_check *check) {
    if (check->first < check->end) {
        size_t size = (check->end - check->first) * sizeof *check->read;
        memset(check->read + check->first, 0, size);
        memset(check->written + check->first, 0, size);
    }
    check->first = check->words, check->end = 0;
}

/* Every access of the launch. */
static bool walk_accesses(struct scan *scan, struct bf_error *error) {
    struct bf_spm_check *check = scan->check;
    check->first = 0, check->end = check->words;
    bool ok = scan_launch(scan, error), dirty = false, missing = false;
    for (uint32_t w = 0; ok && w < check->words; w++) {
        scan->dirty[w] |= check->read[w] & check->written[w];
        dirty |= scan->dirty[w] != 0;
        missing |= (check->read[w] & ~(check->initialised[w] | check->written[w])) != 0;
    }
    if (ok && missing) {
        scan->visit = find_dry;
        ok = scan_launch(scan, error);
    }
    if (ok && dirty)
        return check_dirty(scan, error);
    if (ok)
        bf_footprint_keep(check, scan->order->launch, scan->read, scan->written);
    return ok;
}

bool bf_spm_launch(struct bf_spm_check *check, uint32_t launch, struct bf_error *error) {
    const struct bf_launch *of = &check->program->launches[launch];
    const struct bf_footprint *footprint = bf_footprint_find(check, of);
    clear(check);
    check->launch = launch;
    check->running = true;
    bool ok = footprint && bf_footprint_mark(check, footprint, of);
    if (!ok) {
        struct scan scan = {.check = check,
                            .order = bf_order_create(check->program, of),
                            .visit = first_look,
                            .dirty = bf_alloc(check->words * sizeof *scan.dirty)};
        clear(check);
        ok = walk_accesses(&scan, error);
        for (unsigned base = 0; base < BF_BASES; base++) {
            free(scan.read[base]);
            free(scan.written[base]);
        }
        free(scan.records.data);
        free(scan.dirty);
        bf_order_free(scan.order);
    }
    for (uint32_t w = check->first; w < check->end; w++)
        check->initialised[w] |= check->written[w];
    return ok;
}

/* ---- DMA jobs ---- */

/* Calls `visit` for the lanes of each column word that a job touches. */
static bool each_job_word(struct bf_spm_check *check, uint32_t job, bool padded,
                          bool (*visit)(struct bf_spm_check *check, uint32_t job, uint32_t word,
                                        uint32_t lanes, struct bf_error *error),
                          struct bf_error *error) {
    const struct bf_dma *dma = &check->program->dmas[job];
    uint64_t v = check->program->machine.lanes;
    uint64_t top = dma->row, bottom = top + dma->rows, left = dma->col, right = left + dma->cols;
    if (padded) {
        top = top / v * v, bottom = bf_round_up(bottom, v);
        left = left / v * v, right = bf_round_up(right, v);
    }
    if (!bf_budget_spend(check->budget, bf_divide_up(dma->rows + v, v) * (right - left), error))
        return false;
    for (uint64_t tile = top / v; tile * v < bottom; tile++) {
        uint64_t first = tile * v < top ? top % v : 0;
        uint64_t end = bottom < (tile + 1) * v ? bottom - tile * v : v;
        uint32_t lanes = (uint32_t)(((UINT64_C(1) << end) - 1) & ~((UINT64_C(1) << first) - 1));
        for (uint64_t c = left; c < right; c++) {
            uint64_t word = dma->spm + tile * dma->width + c;
            if (word >= check->program->machine.spm_words)
                return bf_fail(error, BF_ERROR_MACHINE,
                               "dma %u: storage: it uses a scratchpad word outside the %u words",
                               job, check->program->machine.spm_words);
            if (!visit(check, job, (uint32_t)word, lanes, error))
                return false;
        }
    }
    return true;
}

static bool job_pads(const struct bf_dma *dma) {
    return dma->pad && dma->kind != BF_DMA_STORE;
}

static bool find_access(struct scan *scan, const struct access *access, uint32_t word,
                        uint32_t lanes, struct bf_error *error) {
    if (word != scan->wanted.word || !(lanes & scan->wanted.lanes) ||
        access->write != scan->wanted.write)
        return true;
    bool job_reads = scan->check->program->dmas[scan->wanted.job].kind == BF_DMA_STORE;
    return bf_fail(error, BF_ERROR_MACHINE,
                   "%s: order: scratchpad word %u is %s by %s while dma %u may still %s it: %s",
                   scan->order->kernel->name, word, access->write ? "written" : "read",
                   access_label(scan, access->node, access->number).text, scan->wanted.job,
                   job_reads ? "read" : "write",
                   scan->wanted.before ? "no waitd stands between job and launch"
                                       : "no waitk stands between launch and job");
}

/* Names an access of the running launch to a word that a job touches too. */
static bool report_access(struct bf_spm_check *check, uint32_t job, uint32_t word, uint32_t lanes,
                          bool write, bool before, struct bf_error *error) {
    struct scan scan = {
        .check = check,
        .order = bf_order_create(check->program, &check->program->launches[check->launch]),
        .visit = find_access,
        .wanted = {word, lanes, job, write, before}};
    bool ok = scan_launch(&scan, error);
    bf_order_free(scan.order);
    return ok;
}

static bool against(struct bf_spm_check *check, uint32_t job, uint32_t word, uint32_t lanes,
                    bool before, struct bf_error *error) {
    bool reads = check->program->dmas[job].kind == BF_DMA_STORE;
    if (lanes & check->written[word])
        return report_access(check, job, word, lanes & check->written[word], true, before, error);
    if (!reads && (lanes & check->read[word]))
        return report_access(check, job, word, lanes & check->read[word], false, before, error);
    return true;
}

static bool against_earlier(struct bf_spm_check *check, uint32_t job, uint32_t word, uint32_t lanes,
                            struct bf_error *error) {
    return against(check, job, word, lanes, true, error);
}
static bool against_later(struct bf_spm_check *check, uint32_t job, uint32_t word, uint32_t lanes,
                          struct bf_error *error) {
    return against(check, job, word, lanes, false, error);
}

bool bf_spm_against_job(struct bf_spm_check *check, uint32_t job, bool before,
                        struct bf_error *error) {
    return each_job_word(check, job, job_pads(&check->program->dmas[job]),
                         before ? against_earlier : against_later, error);
}

static bool job_word(struct bf_spm_check *check, uint32_t job, uint32_t word, uint32_t lanes,
                     struct bf_error *error) {
    if (check->program->dmas[job].kind != BF_DMA_STORE)
        check->initialised[word] |= lanes;
    else if (lanes & ~check->initialised[word])
        return bf_fail(
            error, BF_ERROR_MACHINE,
            "dma %u: uninitialised: it stores scratchpad word %u, and nothing writes all "
            "of that before",
            job, word);
    return true;
}

bool bf_spm_job(struct bf_spm_check *check, uint32_t job, struct bf_error *error) {
    return each_job_word(check, job, job_pads(&check->program->dmas[job]), job_word, error);
}
