/* butterfly.c - passes, tiles and what is pruned. See butterfly.h; weights: pack_butterfly.c. */
#include "backend/host/butterfly.h"

#include <stdlib.h>

/* The code of a pass is straight: this bounds it. */
enum { MOST_STAGES = 16 };

unsigned bf_butterfly_digit(const struct bf_butterfly *b, unsigned stage) {
    unsigned block = stage / b->bits, at = stage % b->bits;
    return b->shape.increasing == (block % 2 == 0) ? at : b->bits - 1 - at;
}

unsigned bf_butterfly_partner(const struct bf_butterfly *b, unsigned stage, unsigned vector) {
    unsigned digit = bf_butterfly_digit(b, stage);
    return digit < b->lane_bits ? vector : vector ^ 1u << (digit - b->lane_bits);
}

int64_t bf_butterfly_outputs(const struct bf_butterfly *b, int which) {
    return which ? b->shape.out - (b->shape.stacks - 1) * b->shape.n : b->shape.n;
}

/* ---- passes ---- */

/* As many stages as fit a tile of 2^width vectors. */
static struct bf_butterfly_pass next_pass(const struct bf_butterfly *b, unsigned first,
                                          unsigned width) {
    struct bf_butterfly_pass pass = {first, first, 0, 0};
    unsigned low = b->bits, high = 0; /* digits of the vector number [low, high) */
    for (; pass.last < b->stages && pass.last - first < MOST_STAGES; pass.last++) {
        unsigned digit = bf_butterfly_digit(b, pass.last);
        if (digit >= b->lane_bits) {
            digit -= b->lane_bits;
            unsigned new_low = digit < low ? digit : low;
            unsigned new_high = digit + 1 > high ? digit + 1 : high;
            if (new_high - new_low > width)
                break;
            low = new_low;
            high = new_high;
        }
    }
    if (low < high) {
        pass.digit = low;
        pass.width = high - low;
    }
    return pass;
}

static void plan_passes(struct bf_butterfly *b, unsigned width) {
    b->passes = bf_alloc(b->stages * sizeof *b->passes);
    for (unsigned stage = 0; stage < b->stages; stage = b->passes[b->pass_count - 1].last)
        b->passes[b->pass_count++] = next_pass(b, stage, width);
}

static bool *row_of(const struct bf_butterfly *b, bool *rows, unsigned stage) {
    return rows + (size_t)stage * b->vectors;
}

/* Zeros spread forward, needs backward; both along the pairs of a stage. */
static void spread(const struct bf_butterfly *b, unsigned stage, const bool *from, bool *to) {
    for (unsigned v = 0; v < b->vectors; v++)
        to[v] = from[v] || from[bf_butterfly_partner(b, stage, v)];
}

static void find_pruned(struct bf_butterfly *b) {
    size_t size = (size_t)(b->stages + 1) * b->vectors;
    b->live = bf_alloc(size);
    for (unsigned v = 0; v < b->vectors; v++)
        b->live[v] = (int64_t)v * b->lanes < b->shape.in;
    for (unsigned s = 0; s < b->stages; s++)
        spread(b, s, row_of(b, b->live, s), row_of(b, b->live, s + 1));
    for (int which = 0; which < 2; which++) {
        b->need[which] = bf_alloc(size);
        for (unsigned v = 0; v < b->vectors; v++)
            row_of(b, b->need[which], b->stages)[v] =
                (int64_t)v * b->lanes < bf_butterfly_outputs(b, which);
        for (unsigned s = b->stages; s-- > 0;)
            spread(b, s, row_of(b, b->need[which], s + 1), row_of(b, b->need[which], s));
    }
}

struct bf_butterfly *bf_butterfly_create(const struct bf_butterfly_shape *shape, unsigned lanes,
                                         unsigned width) {
    struct bf_butterfly *b = bf_alloc(sizeof *b);
    b->shape = *shape;
    b->bits = bf_log2_floor((uint64_t)shape->n);
    b->lane_bits = bf_log2_floor(lanes);
    if (b->lane_bits > b->bits)
        b->lane_bits = b->bits;
    b->lanes = 1u << b->lane_bits;
    b->vectors = 1u << (b->bits - b->lane_bits);
    b->stages = b->bits * (unsigned)shape->blocks;
    b->full = bf_alloc(b->stages);
    b->full[b->stages - 1] = true;
    plan_passes(b, width);
    find_pruned(b);
    return b;
}

void bf_butterfly_free(struct bf_butterfly *b) {
    free(b->full);
    free(b->passes);
    free(b->live);
    free(b->need[0]);
    free(b->need[1]);
    free(b);
}

/* ---- tiles ---- */

int64_t bf_butterfly_tiles(const struct bf_butterfly *b, unsigned pass) {
    return b->vectors >> b->passes[pass].width;
}

/* The bits of the tile number around those of r. */
unsigned bf_butterfly_vector(const struct bf_butterfly *b, unsigned pass, int64_t tile,
                             unsigned r) {
    unsigned digit = b->passes[pass].digit, width = b->passes[pass].width;
    unsigned low = (unsigned)tile & ((1u << digit) - 1), high = (unsigned)tile >> digit;
    return high << (digit + width) | r << digit | low;
}

enum bf_butterfly_op bf_butterfly_op(const struct bf_butterfly *b, int which, unsigned stage,
                                     unsigned vector) {
    const bool *live = row_of(b, b->live, stage);
    bool own = live[vector], partner = live[bf_butterfly_partner(b, stage, vector)];
    if (!row_of(b, b->need[which], stage + 1)[vector] || (!own && !partner))
        return BF_BUTTERFLY_NONE;
    bool full = b->full[stage];
    if (own && partner)
        return full ? BF_BUTTERFLY_FULL : BF_BUTTERFLY_RATIO;
    if (own)
        return full ? BF_BUTTERFLY_SCALE_OWN : BF_BUTTERFLY_COPY_OWN;
    return full ? BF_BUTTERFLY_SCALE_PARTNER : BF_BUTTERFLY_COPY_PARTNER;
}

unsigned bf_butterfly_op_weights(enum bf_butterfly_op op) {
    switch (op) {
    case BF_BUTTERFLY_FULL:
        return 2;
    case BF_BUTTERFLY_RATIO:
    case BF_BUTTERFLY_SCALE_OWN:
    case BF_BUTTERFLY_SCALE_PARTNER:
        return 1;
    default:
        return 0;
    }
}

static bool live_and_needed(const struct bf_butterfly *b, int which, unsigned stage,
                            unsigned vector) {
    return row_of(b, b->live, stage)[vector] && row_of(b, b->need[which], stage)[vector];
}

bool bf_butterfly_reads(const struct bf_butterfly *b, int which, unsigned pass, unsigned vector) {
    return live_and_needed(b, which, b->passes[pass].first, vector);
}

bool bf_butterfly_writes(const struct bf_butterfly *b, int which, unsigned pass, unsigned vector) {
    return live_and_needed(b, which, b->passes[pass].last, vector);
}

/* ---- segments ---- */

/* Columns of a vector that exist: `lanes` but at the end of a row. */
static int64_t columns(const struct bf_butterfly *b, unsigned vector, int64_t end) {
    int64_t left = end - (int64_t)vector * b->lanes;
    return left > b->lanes ? b->lanes : left;
}

/* Whether the same code does for two tiles. */
static bool same_tiles(const struct bf_butterfly *b, int which, unsigned p, int64_t one,
                       int64_t two) {
    const struct bf_butterfly_pass *pass = &b->passes[p];
    for (unsigned r = 0; r < 1u << pass->width; r++) {
        unsigned v = bf_butterfly_vector(b, p, one, r), w = bf_butterfly_vector(b, p, two, r);
        bool reads = bf_butterfly_reads(b, which, p, v);
        bool writes = bf_butterfly_writes(b, which, p, v);
        if (reads != bf_butterfly_reads(b, which, p, w) ||
            writes != bf_butterfly_writes(b, which, p, w))
            return false;
        if (p == 0 && reads && columns(b, v, b->shape.in) != columns(b, w, b->shape.in))
            return false;
        int64_t outputs = bf_butterfly_outputs(b, which);
        if (p + 1 == b->pass_count && writes && columns(b, v, outputs) != columns(b, w, outputs))
            return false;
        for (unsigned s = pass->first; s < pass->last; s++)
            if (bf_butterfly_op(b, which, s, v) != bf_butterfly_op(b, which, s, w))
                return false;
    }
    return true;
}

static void count_vectors(const struct bf_butterfly *b, int which, unsigned p,
                          struct bf_butterfly_segment *segment) {
    const struct bf_butterfly_pass *pass = &b->passes[p];
    segment->weights = segment->outputs = 0;
    for (unsigned r = 0; r < 1u << pass->width; r++) {
        unsigned v = bf_butterfly_vector(b, p, segment->first, r);
        segment->outputs += bf_butterfly_writes(b, which, p, v);
        for (unsigned s = pass->first; s < pass->last; s++)
            segment->weights += bf_butterfly_op_weights(bf_butterfly_op(b, which, s, v));
    }
}

bool bf_butterfly_next_segment(const struct bf_butterfly *b, int which, unsigned pass,
                               struct bf_butterfly_segment *segment) {
    segment->first += segment->count;
    int64_t tiles = bf_butterfly_tiles(b, pass), end = segment->first + 1;
    if (segment->first >= tiles)
        return false;
    while (end < tiles && same_tiles(b, which, pass, segment->first, end))
        end++;
    segment->count = end - segment->first;
    count_vectors(b, which, pass, segment);
    return true;
}

int64_t bf_butterfly_weights(const struct bf_butterfly *b, int which, bool bias) {
    int64_t vectors = 0;
    for (unsigned p = 0; p < b->pass_count; p++) {
        struct bf_butterfly_segment segment = {0};
        while (bf_butterfly_next_segment(b, which, p, &segment)) {
            vectors += segment.count * segment.weights;
            if (bias && p + 1 == b->pass_count)
                vectors += segment.count * segment.outputs;
        }
    }
    return vectors;
}
