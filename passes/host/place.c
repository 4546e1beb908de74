/* place.c - where TEMP buffers lie in the workspace: each from its first writer to its last reader,
 * at the lowest offset that is free all that time. See host.h. */
#include "passes/host/host.h"

#include <stdlib.h>

/* Calls [first, last] during which the buffer at [begin, end) is in use. */
struct span {
    const struct bf_buffer *buffer;
    size_t first, last;
    int64_t size, begin;
    bool placed;
};

static int64_t size_of(const struct bf_buffer *buffer) {
    int64_t size = buffer->samples * buffer->rows * buffer->cols * 4;
    return (int64_t)bf_round_up((uint64_t)size, BF_HOST_ALIGN);
}

/* The calls of a chain run at one time. */
static void find_group(const struct bf_host_plan *plan, size_t call, size_t *first, size_t *last) {
    *first = call;
    while (plan->calls.data[*first].length == 0)
        (*first)--;
    *last = *first + plan->calls.data[*first].length - 1;
}

static struct span *find_spans(const struct bf_host_plan *plan) {
    size_t buffers = plan->poly->buffers.count;
    struct span *spans = bf_alloc(buffers * sizeof *spans);
    for (size_t c = 0; c < plan->calls.count; c++) {
        const struct bf_host_call *call = &plan->calls.data[c];
        size_t first, last;
        find_group(plan, c, &first, &last);
        for (size_t o = 0; o < call->operands.count; o++) {
            const struct bf_buffer *buffer = call->operands.data[o].buffer;
            if (!buffer || buffer->kind != BF_BUFFER_TEMP || plan->temps[buffer->index].in_chain)
                continue;
            struct span *span = &spans[buffer->index];
            if (!span->buffer)
                *span = (struct span){.buffer = buffer, .first = first, .size = size_of(buffer)};
            span->last = last;
        }
    }
    return spans;
}

/* The lowest place that none of the spans that are placed and live at the same time occupies. */
static int64_t free_place(const struct span *spans, size_t count, const struct span *span) {
    int64_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (size_t i = 0; i < count; i++) {
            const struct span *other = &spans[i];
            bool together =
                other->placed && other->first <= span->last && span->first <= other->last;
            if (together && at < other->begin + other->size && other->begin < at + span->size) {
                at = other->begin + other->size;
                moved = true;
            }
        }
    }
    return at;
}

/* The largest first: fewer gaps. */
static struct span *largest(struct span *spans, size_t count) {
    struct span *best = NULL;
    for (size_t i = 0; i < count; i++)
        if (spans[i].buffer && !spans[i].placed && (!best || spans[i].size > best->size))
            best = &spans[i];
    return best;
}

/* Tiles of a chain's buffers come first in its scratch memory. */
static int64_t scratch_of(const struct bf_host_plan *plan, size_t call) {
    size_t first, last;
    find_group(plan, call, &first, &last);
    int64_t most = 0, tiles = 0;
    for (size_t c = first; c <= last; c++) {
        const struct bf_host_call *member = &plan->calls.data[c];
        if (member->choice->scratch > most)
            most = member->choice->scratch;
        for (size_t o = 0; o < member->operands.count; o++) {
            const struct bf_buffer *buffer = member->operands.data[o].buffer;
            const struct bf_host_temp *temp = buffer ? &plan->temps[buffer->index] : NULL;
            if (!temp || !temp->in_chain)
                continue;
            int64_t end = temp->offset + plan->calls.data[first].chain_rows * buffer->cols * 4;
            tiles = end > tiles ? end : tiles;
        }
    }
    return (int64_t)(bf_round_up((uint64_t)tiles, BF_HOST_ALIGN) +
                     bf_round_up((uint64_t)most, BF_HOST_ALIGN));
}

void bf_host_place(struct bf_host_plan *plan) {
    size_t count = plan->poly->buffers.count;
    struct span *spans = find_spans(plan);
    for (struct span *span; (span = largest(spans, count));) {
        span->begin = free_place(spans, count, span);
        span->placed = true;
        plan->temps[span->buffer->index].offset = span->begin;
        if (span->begin + span->size > plan->temp_bytes)
            plan->temp_bytes = span->begin + span->size;
    }
    free(spans);
    for (size_t c = 0; c < plan->calls.count; c++) {
        int64_t scratch = scratch_of(plan, c);
        plan->scratch = scratch > plan->scratch ? scratch : plan->scratch;
    }
}
