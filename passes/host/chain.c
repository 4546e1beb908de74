/* chain.c - which calls run tile of rows by tile of rows, so that what lies between them stays in
 * the cache. See host.h.
 *
 *     butterfly + gelu --v4--> butterfly --v5--> layernorm        v4, v5: 24 rows at a time, in
 *          6 x 24 rows         11 x 12 rows      128 x 1 rows     scratch memory
 *
 * A call joins the chain before it if it works row by row on equally many rows, reads what the
 * chain writes row by row too, and if the weights of all and a tile of all results fit half the
 * cache.
 */
#include "passes/host/host.h"

enum { LEAST_ROWS = 16 };

struct chain {
    struct bf_host_plan *plan;
    size_t first, end; /* calls */
    int64_t rows;      /* of each operand, all samples */
    int64_t unit;      /* common multiple of the unit rows */
    int64_t weights;   /* bytes */
    int64_t row_bytes; /* of all results */
};

static const struct bf_poly_kernel *writer(const struct bf_host_call *call) {
    return call->epilogue ? call->epilogue->kernel : call->kernels[call->choice->kernels - 1];
}

static struct bf_host_operand shape(const struct chain *chain, const struct bf_operand *operand) {
    return bf_host_operand(chain->plan->poly, operand);
}

static int64_t rows_of(const struct chain *chain, const struct bf_host_call *call) {
    struct bf_host_operand out = shape(chain, &writer(call)->outputs.data[0]);
    return out.samples * out.rows;
}

static int64_t common_multiple(int64_t a, int64_t b) {
    int64_t x = a, y = b;
    while (y) {
        int64_t rest = x % y;
        x = y;
        y = rest;
    }
    return a / x * b;
}

static bool writes(const struct chain *chain, const struct bf_buffer *buffer) {
    for (size_t c = chain->first; c < chain->end; c++) {
        const struct bf_poly_kernel *kernel = writer(&chain->plan->calls.data[c]);
        for (size_t o = 0; o < kernel->outputs.count; o++)
            if (kernel->outputs.data[o].buffer == buffer)
                return true;
    }
    return false;
}

/* Whether input `index` of the kernel is read row by row, as the results are written. */
static bool row_by_row(const struct chain *chain, const struct bf_poly_kernel *kernel,
                       size_t index) {
    struct bf_host_operand x = shape(chain, &kernel->inputs.data[index]);
    bool any = kernel->kind == BF_KERNEL_ROWS || kernel->kind == BF_KERNEL_FFT;
    return (any || index == 0) && x.linear && x.samples * x.rows == chain->rows;
}

static bool reads_rows(const struct chain *chain, const struct bf_poly_kernel *kernel) {
    for (size_t i = 0; i < kernel->inputs.count; i++)
        if (writes(chain, kernel->inputs.data[i].buffer) && !row_by_row(chain, kernel, i))
            return false;
    return true;
}

static int64_t pack_bytes(const struct bf_host_call *call) {
    int64_t bytes = 0;
    for (size_t i = 0; i < call->choice->packs.count; i++)
        bytes += call->choice->packs.data[i].size;
    return bytes;
}

static int64_t result_bytes(const struct bf_host_call *call) {
    int64_t bytes = 0;
    for (size_t i = 0; i < writer(call)->outputs.count; i++)
        bytes += writer(call)->outputs.data[i].buffer->cols * 4;
    return bytes;
}

static int64_t tile_rows(const struct chain *chain) {
    return (int64_t)bf_round_up(LEAST_ROWS, (uint64_t)chain->unit);
}

static bool is_linear(const struct chain *chain, const struct bf_host_call *call) {
    for (size_t o = 0; o < writer(call)->outputs.count; o++)
        if (!shape(chain, &writer(call)->outputs.data[o]).linear)
            return false;
    return call->choice->unit_rows > 0;
}

/* Adds call `end` if it can follow the others. */
static bool extend(struct chain *chain) {
    const struct bf_host_call *call = &chain->plan->calls.data[chain->end];
    struct chain longer = *chain;
    if (!is_linear(chain, call) || rows_of(chain, call) != chain->rows)
        return false;
    if (!reads_rows(chain, call->kernels[0]) ||
        (call->epilogue && !reads_rows(chain, call->epilogue->kernel)))
        return false;
    longer.unit = common_multiple(chain->unit, call->choice->unit_rows);
    longer.weights += pack_bytes(call);
    longer.row_bytes += result_bytes(call);
    longer.end++;
    int64_t half = chain->plan->target.l2 / 2;
    if (longer.weights > half || tile_rows(&longer) * longer.row_bytes > half)
        return false;
    *chain = longer;
    return true;
}

/* Whether all who read or write the buffer are calls of the chain. */
static bool only_in(const struct chain *chain, const struct bf_buffer *buffer) {
    for (size_t c = 0; c < chain->plan->calls.count; c++) {
        const struct bf_host_call *call = &chain->plan->calls.data[c];
        if (c >= chain->first && c < chain->end)
            continue;
        for (size_t o = 0; o < call->operands.count; o++)
            if (call->operands.data[o].buffer == buffer)
                return false;
    }
    return buffer->kind == BF_BUFFER_TEMP && writes(chain, buffer);
}

static int64_t place_tiles(struct chain *chain) {
    int64_t at = 0;
    for (size_t c = chain->first; c < chain->end; c++) {
        const struct bf_host_call *call = &chain->plan->calls.data[c];
        for (size_t o = 0; o < call->operands.count; o++) {
            const struct bf_buffer *buffer = call->operands.data[o].buffer;
            struct bf_host_temp *temp = buffer ? &chain->plan->temps[buffer->index] : NULL;
            if (!temp || temp->in_chain || !only_in(chain, buffer))
                continue;
            *temp = (struct bf_host_temp){at, true};
            at += (int64_t)bf_round_up((uint64_t)(tile_rows(chain) * buffer->cols * 4),
                                       BF_HOST_ALIGN);
        }
    }
    return at;
}

static struct chain begin(struct bf_host_plan *plan, size_t first) {
    const struct bf_host_call *call = &plan->calls.data[first];
    struct chain chain = {.plan = plan, .first = first, .end = first, .unit = 1};
    chain.rows = rows_of(&chain, call);
    return chain;
}

void bf_host_chain(struct bf_host_plan *plan) {
    for (size_t c = 0; c < plan->calls.count;) {
        struct chain chain = begin(plan, c);
        while (chain.end < plan->calls.count && extend(&chain))
            ;
        if (chain.end <= c + 1 || chain.rows <= tile_rows(&chain) || !place_tiles(&chain)) {
            c++;
            continue;
        }
        for (size_t i = c; i < chain.end; i++)
            plan->calls.data[i].length = 0;
        plan->calls.data[c].length = chain.end - c;
        plan->calls.data[c].chain_rows = tile_rows(&chain);
        c = chain.end;
    }
}
