/* attention_code.c - blocks and bodies of attention. See attention.h for where things lie and
 * docs/machine.md for the rules the comments name.
 *
 *   scores    acc[u] = 0, or -2^30 where a mask hides key u; += q[c] k[u][c] over c
 *   softmax   m = max; p = exp2((s - m) h (1 + e)); sum of p as rounded; inverse = 1 / sum, hi and
 * lo values    acc[u] += p[key] v[key][c0 + u] over keys; y = acc x inverse, one rounding
 *
 * With parts m is an integer in units of log2, the larger of this part's and the state's; sums of
 * the state are multiplied by 2^(m before - m), and what is not finished goes back to the state.
 *
 * Accumulators in the softmax: 0 .. 3 four keys, 4 maximum, 5 maximum x h, 6 and 7 sum.
 */
#include "passes/array/attention_code.h"

#include <stdlib.h>

enum { MAXIMUM = 4, SCALED = 5, SUM = 6 };

/* ---- instructions ---- */

struct source {
    uint16_t address;
    uint8_t class;
};

static struct source ram(int class, int64_t word) {
    return (struct source){(uint16_t)word, (uint8_t)class};
}

static struct source acc(int64_t number) {
    return (struct source){(uint16_t)number, BF_CLASS_SPECIAL};
}

static struct source zero(void) {
    return (struct source){BF_C_ZERO << 8, BF_CLASS_SPECIAL};
}

static struct bf_cal *push(struct bf_attention_build *b, enum bf_cal_op op) {
    struct bf_cal *cal = &b->body[b->length++];
    memset(cal, 0, sizeof *cal);
    cal->op = (uint8_t)op;
    return cal;
}

/* D = A x (B: one) + C to an accumulator; B is set by the caller afterwards. */
static struct bf_cal *fma_acc(struct bf_attention_build *b, int64_t to, struct source x,
                              struct source c) {
    struct bf_cal *cal = push(b, BF_CAL_FMA);
    cal->dst = BF_DST_ACC;
    cal->acc = (uint8_t)to;
    cal->a = x.address;
    cal->a_class = x.class;
    cal->b_kind = BF_B_CONST;
    cal->b = BF_B_ONE;
    cal->c = c.address;
    cal->c_class = c.class;
    return cal;
}

static struct bf_cal *fma_ram(struct bf_attention_build *b, struct source to, struct source x,
                              struct source c) {
    struct bf_cal *cal = fma_acc(b, 0, x, c);
    cal->dst = BF_DST_RAM;
    cal->d = to.address;
    cal->d_class = to.class;
    return cal;
}

static void by_lane(struct bf_cal *cal, int64_t lane) {
    cal->b_kind = BF_B_LANE;
    cal->b = (uint16_t)lane;
    cal->b_class = BF_CLASS_WEIGHT;
}

static void by_word(struct bf_cal *cal, struct source word) {
    cal->b_kind = BF_B_DATA;
    cal->b = word.address;
    cal->b_class = word.class;
}

static void by_const(struct bf_cal *cal, enum bf_b_const value) {
    cal->b = (uint16_t)value;
}

static void max_acc(struct bf_attention_build *b, int64_t to, int64_t x, struct source c) {
    struct bf_cal *cal = push(b, BF_CAL_MAX);
    cal->dst = BF_DST_ACC;
    cal->acc = (uint8_t)to;
    cal->a = (uint16_t)x;
    cal->a_class = BF_CLASS_SPECIAL;
    cal->c = c.address;
    cal->c_class = c.class;
}

static void unary(struct bf_attention_build *b, enum bf_cal_op op, int64_t to, int64_t from) {
    struct bf_cal *cal = push(b, op);
    cal->dst = BF_DST_ACC;
    cal->acc = (uint8_t)to;
    cal->a = (uint16_t)from;
    cal->a_class = BF_CLASS_SPECIAL;
}

/* acc x 2^word. */
static void ldexp_acc(struct bf_attention_build *b, int64_t to, struct source word) {
    unary(b, BF_CAL_LDEXP, to, to);
    b->body[b->length - 1].c = word.address;
    b->body[b->length - 1].c_class = word.class;
}

/* acc = high + low of a number that is kept as two fp16 words. */
static void join_sum(struct bf_attention_build *b, int64_t to, int64_t word) {
    fma_acc(b, to, ram(BF_CLASS_OWN, word), zero());
    fma_acc(b, to, ram(BF_CLASS_OWN, word + 1), acc(to));
}

/* Back, from accumulators `from` .. on; all first words before the second ones, which read them. */
static void split_sums(struct bf_attention_build *b, int64_t from, int64_t count, int64_t word) {
    for (int64_t u = 0; u < count; u++)
        fma_ram(b, ram(BF_CLASS_OWN, word + 2 * u), acc(from + u), zero());
    for (int64_t u = 0; u < count; u++)
        fma_ram(b, ram(BF_CLASS_OWN, word + 2 * u + 1), acc(from + u),
                ram(BF_CLASS_OWN, word + 2 * u))
            ->negate_addend = true;
}

static void join(struct bf_attention_build *b, enum bf_cal_op half, int64_t to,
                 struct source word) {
    struct bf_cal *cal = push(b, half);
    cal->dst = BF_DST_ACC;
    cal->acc = (uint8_t)to;
    cal->c = word.address;
    cal->c_class = word.class;
}

static void split(struct bf_attention_build *b, enum bf_cal_op half, int64_t from,
                  struct source word) {
    struct bf_cal *cal = push(b, half);
    cal->dst = BF_DST_RAM;
    cal->a = (uint16_t)from;
    cal->a_class = BF_CLASS_SPECIAL;
    cal->d = word.address;
    cal->d_class = word.class;
}

static struct source constant(const struct bf_attention_build *b, int which) {
    return ram(BF_CLASS_OWN, b->a.constants + which);
}

/* ---- blocks ---- */

static void loop_class(struct bf_descriptor *d, int class, int64_t s0, int64_t s1, int64_t s2) {
    int64_t deltas[BF_LEVELS];
    bf_deltas(d->trips, (int64_t[]){s0, s1, s2}, deltas);
    for (int l = 0; l < BF_LEVELS; l++)
        d->cal.delta[class][l] = (int16_t)deltas[l];
}

/* Ends the body: a CAL block with the next id, which runs after those before. Returns the id. */
static unsigned end_block(struct bf_attention_build *b, const char *name, struct bf_descriptor *d) {
    d->cal.relative = 1 << BF_CLASS_OWN;
    d->cal.length = (uint8_t)b->length;
    d->cal.start = (uint8_t)bf_code_body(&b->code, b->body, b->length);
    b->length = 0;
    if (b->cal < BF_FIRST_LOAD)
        bf_code_block(&b->code, UINT64_C(1) << b->pe, b->cal, name, d);
    return b->cal++;
}

/* ---- scores ---- */

/* An instruction that does nothing, where only the order matters. */
static void nothing(struct bf_attention_build *b, int word) {
    by_const(fma_acc(b, 0, constant(b, word), zero()), BF_B_ZERO);
}

/* The job before has read its last q when this runs; then q may be loaded. */
static void start_job(struct bf_attention_build *b) {
    struct bf_descriptor d = bf_attention_block(BF_UNIT_CAL, 0, 0);
    d.need = 1;
    d.target[0] = BF_LOAD_Q;
    nothing(b, 0);
    bf_attention_load_constants(b, BF_LOAD_START, 0, 0, BF_CONST_BIG, 0, 1,
                                end_block(b, "start", &d));
    d.target[0] = BF_NO_BLOCK;
    nothing(b, 0);
    bf_attention_load_q(b, end_block(b, "q is there", &d));
}

static bool masked(const struct bf_attention_build *b) {
    return b->a.lane_mask || b->a.row_mask || b->a.table;
}

/* Waits for the words of masks. */
static void await_masks(struct bf_attention_build *b) {
    struct bf_descriptor d = bf_attention_block(BF_UNIT_CAL, 0, b->a.chunks - 1);
    d.need = (uint16_t)(1 + b->a.row_mask + b->a.table);
    nothing(b, BF_CONST_BIG);
    unsigned id = end_block(b, "masks are there", &d);
    bf_attention_load_constants(b, BF_LOAD_BIG, 0, b->a.chunks - 1, BF_CONST_BIG, BF_CONST_BIG, 1,
                                id);
    if (b->a.row_mask)
        bf_attention_load_word_mask(b, false, id);
    if (b->a.table)
        bf_attention_load_word_mask(b, true, id);
    if (b->a.lane_mask)
        bf_attention_load_lane_mask(b);
}

/* acc[u] = 2^15 visible - 2^15, or a first product of two masks. Where samples share a mask's
 * words, the body runs twice: for lane 0, then for that of the sample, so that PEs can share it. */
static void first_mask(struct bf_attention_build *b, struct bf_descriptor *d, int64_t count,
                       bool both) {
    struct source big = constant(b, BF_CONST_BIG);
    d->cal.uses_weights = b->a.lane_mask;
    for (int64_t u = 0; u < count; u++) {
        struct source row = ram(BF_CLASS_OWN, b->a.row_words + u);
        struct source table = ram(BF_CLASS_OWN, b->a.table_words + u);
        struct bf_cal *cal = fma_acc(b, u, both ? table : big, both ? zero() : big);
        cal->negate_addend = !both;
        if (b->a.lane_mask)
            by_lane(cal, (b->a.unroll * b->a.cover + u) * b->a.lanes);
        else
            by_word(cal, b->a.row_mask ? row : table);
    }
    int64_t lane = b->a.lane_mask ? bf_attention_mask_lane(b) : 0;
    if (lane) {
        bf_attention_trips(d, 2, 1, 1);
        loop_class(d, BF_CLASS_WEIGHT, lane, 0, 0);
    }
}

/* acc[u] = 0, or -2^30 where a mask hides key u: 2^15 (2^15 visible - 2^15). */
static void hide(struct bf_attention_build *b, int64_t first, int64_t last, int64_t count) {
    struct bf_descriptor d = bf_attention_block(BF_UNIT_CAL, first, last);
    struct source big = constant(b, BF_CONST_BIG);
    bool both = b->a.table && (b->a.lane_mask || b->a.row_mask);
    first_mask(b, &d, count, both);
    if (b->a.lane_mask && b->a.mask->buffer->samples > 1) {
        end_block(b, "mask", &d);
        d = bf_attention_block(BF_UNIT_CAL, first, last);
    }
    for (int64_t u = 0; u < count && both; u++) {
        struct bf_cal *cal = fma_acc(b, u, acc(u), big);
        cal->negate_addend = true;
        by_word(cal, big);
    }
    for (int64_t u = 0; u < count; u++)
        by_word(fma_acc(b, u, acc(u), zero()), big);
    end_block(b, "hide", &d);
}

static void dot(struct bf_attention_build *b, int64_t first, int64_t last, int64_t count,
                int64_t from, int64_t columns) {
    struct bf_descriptor d = bf_attention_block(BF_UNIT_CAL, first, last);
    if (columns < 1)
        return;
    d.cal.uses_weights = true;
    bf_attention_trips(&d, columns, 1, 1);
    loop_class(&d, BF_CLASS_STEP, 1, 0, 0);
    loop_class(&d, BF_CLASS_WEIGHT, 1, 0, 0);
    bool begins = from == 0 && !masked(b);
    for (int64_t u = 0; u < count; u++)
        by_lane(fma_acc(b, u, ram(BF_CLASS_STEP, b->a.q_words + from), begins ? zero() : acc(u)),
                u * b->a.cover * b->a.lanes + b->k_offset + from);
    end_block(b, begins ? "first column" : "scores", &d);
}

/* The scores of `count` keys in phases first .. last. */
static void score_chunk(struct bf_attention_build *b, int64_t first, int64_t last, int64_t count) {
    if (first > last)
        return;
    if (masked(b)) {
        hide(b, first, last, count);
        dot(b, first, last, count, 0, b->a.columns);
    } else {
        dot(b, first, last, count, 0, 1);
        dot(b, first, last, count, 1, b->a.columns - 1);
    }
    struct bf_descriptor d = bf_attention_block(BF_UNIT_CAL, first, last);
    for (int64_t u = 0; u < count; u++) {
        split(b, BF_CAL_STLO, u, ram(BF_CLASS_OWN, 2 * u));
        split(b, BF_CAL_STHI, u, ram(BF_CLASS_OWN, 2 * u + 1));
    }
    end_block(b, "keep scores", &d);
}

/* ---- softmax ---- */

static int64_t score_word(const struct bf_attention_build *b, int64_t chunk) {
    return b->a.context_base + chunk * b->a.context_size;
}

static void load_scores(struct bf_attention_build *b, int64_t word, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        join(b, BF_CAL_LDLO, i, ram(BF_CLASS_STEP, word + 2 * i));
    for (int64_t i = 0; i < count; i++)
        join(b, BF_CAL_LDHI, i, ram(BF_CLASS_STEP, word + 2 * i + 1));
}

/* A block over all keys of whole chunks, four a time, and one over the keys of the last, one a
 * time. */
static void over_keys(struct bf_attention_build *b, const char *name,
                      void (*body)(struct bf_attention_build *b, int64_t word, int64_t count)) {
    int64_t whole = b->a.keys / b->a.unroll, rest = b->a.keys % b->a.unroll, at = b->a.chunks;
    struct bf_descriptor d = bf_attention_block(BF_UNIT_CAL, at, at);
    if (whole) {
        body(b, score_word(b, 0), 4);
        bf_attention_trips(&d, b->a.unroll / 4, whole, 1);
        loop_class(&d, BF_CLASS_STEP, 8, b->a.context_size, 0);
        end_block(b, name, &d);
    }
    if (rest) {
        body(b, score_word(b, whole), 1);
        bf_attention_trips(&d, rest, 1, 1);
        loop_class(&d, BF_CLASS_STEP, 2, 0, 0);
        end_block(b, name, &d);
    }
}

static void max_body(struct bf_attention_build *b, int64_t word, int64_t count) {
    load_scores(b, word, count);
    for (int64_t i = 0; i < count; i++)
        max_acc(b, MAXIMUM + i, MAXIMUM + i, acc(i));
}

static void exp_body(struct bf_attention_build *b, int64_t word, int64_t count) {
    load_scores(b, word, count);
    for (int64_t i = 0; i < count; i++) {
        struct bf_cal *cal = fma_acc(b, i, acc(i), acc(SCALED));
        by_word(cal, constant(b, BF_CONST_HIGH));
        cal->negate_addend = true;
    }
    for (int64_t i = 0; i < count; i++)
        by_word(fma_acc(b, i, acc(i), acc(i)), constant(b, BF_CONST_EPSILON));
    for (int64_t i = 0; i < count; i++)
        unary(b, BF_CAL_EXP2, i, i);
    for (int64_t i = 0; i < count; i++)
        fma_ram(b, ram(BF_CLASS_STEP, word + 2 * i), acc(i), zero());
    for (int64_t i = 0; i < count; i++)
        fma_acc(b, SUM + i % 2, ram(BF_CLASS_STEP, word + 2 * i), acc(SUM + i % 2));
}

/* The maximum of no keys: below every score, above every hidden one. */
static void begin_softmax(struct bf_attention_build *b) {
    struct bf_descriptor d = bf_attention_block(BF_UNIT_CAL, b->a.chunks, b->a.chunks);
    d.need = b->a.begins ? 1 : 2;
    for (int i = 0; i < 4; i++) {
        struct bf_cal *cal = fma_acc(b, MAXIMUM + i, constant(b, BF_CONST_BIG), zero());
        by_word(cal, constant(b, BF_CONST_BIG));
        cal->negate_product = true;
    }
    for (int i = 0; i < 4; i++)
        by_const(fma_acc(b, MAXIMUM + i, acc(MAXIMUM + i), zero()), BF_B_HALF);
    unsigned id = end_block(b, "begin softmax", &d);
    bf_attention_load_constants(b, BF_LOAD_SOFTMAX, b->a.chunks, b->a.chunks, 0, 0,
                                b->a.constant_words, id);
    if (!b->a.begins)
        bf_attention_load_state(b, BF_LOAD_STATE, b->a.chunks, b->a.chunks, 0, 0, 4,
                                b->a.state_words, id);
}

/* A word to be multiplied by 0: p of the first key is finite, whatever the inputs are. */
static void clear(struct bf_attention_build *b, int64_t to) {
    by_const(fma_acc(b, to, ram(BF_CLASS_FIXED, score_word(b, 0)), zero()), BF_B_ZERO);
}

/* Of the state: the maximum before, and what its sums are multiplied by; 2^10 undoes their scale.
 */
static void join_maxima(struct bf_attention_build *b) {
    struct source shift = ram(BF_CLASS_FIXED, b->a.inverse + 2);
    join_sum(b, 0, b->a.state_words);
    max_acc(b, SCALED, SCALED, acc(0));
    fma_ram(b, shift, acc(0), acc(SCALED))->negate_addend = true;
    join_sum(b, SUM, b->a.state_words + 2);
    ldexp_acc(b, SUM, shift);
}

/* m of parts, an integer and above every hidden score; then m / (1 + e), which exp_body expects. */
static void scale_maximum(struct bf_attention_build *b) {
    by_word(fma_acc(b, SCALED, acc(MAXIMUM), zero()), constant(b, BF_CONST_HIGH));
    if (!b->a.state)
        return;
    by_word(fma_acc(b, SCALED, acc(SCALED), acc(SCALED)), constant(b, BF_CONST_EPSILON));
    unary(b, BF_CAL_CVTI, SCALED, SCALED);
    unary(b, BF_CAL_CVTF, SCALED, SCALED);
    max_acc(b, SCALED, SCALED, constant(b, BF_CONST_BIG));
    b->body[b->length - 1].negate_addend = true;
    if (!b->a.begins)
        join_maxima(b);
    if (!b->a.ends)
        split_sums(b, SCALED, 1, b->a.state_words);
    struct bf_cal *shrink = fma_acc(b, SCALED, acc(SCALED), acc(SCALED));
    by_word(shrink, constant(b, BF_CONST_SHRINK));
    shrink->negate_product = true;
}

static void end_maximum(struct bf_attention_build *b) {
    struct bf_descriptor d = bf_attention_block(BF_UNIT_CAL, b->a.chunks, b->a.chunks);
    max_acc(b, MAXIMUM, MAXIMUM, acc(MAXIMUM + 1));
    max_acc(b, MAXIMUM + 2, MAXIMUM + 2, acc(MAXIMUM + 3));
    max_acc(b, MAXIMUM, MAXIMUM, acc(MAXIMUM + 2));
    scale_maximum(b);
    for (int i = b->a.begins ? 0 : 1; i < 2; i++)
        by_const(fma_acc(b, SUM + i, constant(b, 0), zero()), BF_B_ZERO);
    end_block(b, "end maximum", &d);
}

/* A visible key has p = 1, in parts the sum is 2/5 at least: less is no keys, and then y is 0. */
static void invert_sum(struct bf_attention_build *b) {
    struct source high = ram(BF_CLASS_FIXED, b->a.inverse);
    struct source low = ram(BF_CLASS_FIXED, b->a.inverse + 1);
    struct source one = {BF_C_ONE << 8, BF_CLASS_SPECIAL};
    max_acc(b, SUM, SUM, b->a.state ? constant(b, BF_CONST_LEAST) : one);
    unary(b, BF_CAL_RCP, SUM, SUM);
    fma_ram(b, high, acc(SUM), zero());
    fma_ram(b, low, high, acc(SUM))->negate_product = true;
}

/* e = log2(sum), roughly, rounded up: maximum + e and sum x 2^-e say the same as before. The bits
 * of a float, as an integer, are its logarithm to within 0.09. */
static void keep_sum(struct bf_attention_build *b, struct bf_descriptor *d) {
    struct source shift = ram(BF_CLASS_FIXED, b->a.inverse);
    int64_t e = SUM + 1, maximum = 0;
    unary(b, BF_CAL_CVTF, e, SUM);
    struct bf_cal *log2 = fma_acc(b, e, acc(e), constant(b, BF_CONST_BIAS));
    by_word(log2, constant(b, BF_CONST_BITS));
    log2->negate_addend = true;
    unary(b, BF_CAL_CVTI, e, e);
    unary(b, BF_CAL_CVTF, e, e);
    fma_ram(b, shift, acc(e), zero())->negate_product = true;
    join_sum(b, maximum, b->a.state_words);
    fma_acc(b, maximum, acc(maximum), acc(e));
    split_sums(b, maximum, 1, b->a.state_words);
    ldexp_acc(b, SUM, shift);
    split_sums(b, SUM, 1, b->a.state_words + 2);
    d->target[0] = (uint8_t)b->store;
    bf_attention_store(b, b->a.state, b->a.chunks, b->a.chunks, 0, 0, 4, b->a.state_words);
}

static void end_sum(struct bf_attention_build *b) {
    struct bf_descriptor d = bf_attention_block(BF_UNIT_CAL, b->a.chunks, b->a.chunks);
    fma_acc(b, SUM, acc(SUM), acc(SUM + 1));
    if (b->a.ends)
        invert_sum(b);
    else
        keep_sum(b, &d);
    for (int64_t u = 0; u < b->a.unroll; u++)
        clear(b, u);
    end_block(b, b->a.ends ? "invert sum" : "keep sum", &d);
}

/* ---- values ---- */

/* Lanes of the weight set: row = key, from column `lane` of the word on. */
static void value_keys(struct bf_attention_build *b, struct bf_descriptor d, int64_t chunk,
                       int64_t lane, int64_t columns) {
    int64_t row = bf_attention_chunk(&b->a, chunk).key * b->a.lanes + lane;
    d.cal.uses_weights = true;
    for (int64_t u = 0; u < columns; u++)
        by_lane(fma_acc(b, u, ram(BF_CLASS_STEP, score_word(b, chunk)), acc(u)), row + u);
    end_block(b, "values", &d);
}

/* All keys: those of whole chunks, then those of the last. */
static void value_blocks(struct bf_attention_build *b, int64_t first, int64_t last, int64_t lane,
                         int64_t columns) {
    int64_t v = b->a.lanes, u = b->a.unroll, whole = b->a.keys / u, rest = b->a.keys % u;
    struct bf_descriptor d = bf_attention_block(BF_UNIT_CAL, first, last);
    if (whole) {
        bf_attention_trips(&d, u, whole, 1);
        loop_class(&d, BF_CLASS_STEP, 2, b->a.context_size, 0);
        loop_class(&d, BF_CLASS_WEIGHT, v, u * v, 0);
        value_keys(b, d, 0, lane, columns);
    }
    if (rest) {
        bf_attention_trips(&d, rest, 1, 1);
        loop_class(&d, BF_CLASS_STEP, 2, 0, 0);
        loop_class(&d, BF_CLASS_WEIGHT, v, 0, 0);
        value_keys(b, d, whole, lane, columns);
    }
}

/* The columns that phases `first` .. `last` compute: of the head, and how far apart. */
struct column_run {
    int64_t first, last, column, step, count;
};

/* Takes up the sums of the parts before. */
static void resume_columns(struct bf_attention_build *b, const struct column_run *r) {
    struct bf_descriptor d = bf_attention_block(BF_UNIT_CAL, r->first, r->last);
    d.need = 1;
    for (int64_t u = 0; u < r->count; u++)
        fma_acc(b, u, ram(BF_CLASS_OWN, b->a.y_words + 2 * u), zero());
    for (int64_t u = 0; u < r->count; u++)
        fma_acc(b, u, ram(BF_CLASS_OWN, b->a.y_words + 2 * u + 1), acc(u));
    for (int64_t u = 0; u < r->count; u++)
        ldexp_acc(b, u, ram(BF_CLASS_FIXED, b->a.inverse + 2));
    bf_attention_load_state(b, b->load++, r->first, r->last, 4 + 2 * r->column, 2 * r->step,
                            2 * r->count, b->a.y_words, end_block(b, "resume", &d));
}

/* y = acc x (hi + lo), of which the smaller product goes first. */
static void divide_columns(struct bf_attention_build *b, int64_t count) {
    struct source high = ram(BF_CLASS_FIXED, b->a.inverse);
    struct source low = ram(BF_CLASS_FIXED, b->a.inverse + 1);
    for (int64_t u = 0; u < count; u++)
        by_word(fma_ram(b, ram(BF_CLASS_OWN, b->a.y_words + u), acc(u), zero()), low);
    for (int64_t u = 0; u < count; u++) {
        struct source y = ram(BF_CLASS_OWN, b->a.y_words + u);
        by_word(fma_ram(b, y, acc(u), y), high);
    }
}

/* Results leave, or the sums do until the next part; then acc = 0 for the next phase. */
static void finish_columns(struct bf_attention_build *b, const struct column_run *r) {
    struct bf_descriptor d = bf_attention_block(BF_UNIT_CAL, r->first, r->last);
    d.target[0] = (uint8_t)b->store;
    if (b->a.ends) {
        divide_columns(b, r->count);
        bf_attention_store(b, b->a.y, r->first, r->last, r->column, r->step, r->count,
                           b->a.y_words);
    } else {
        for (int64_t u = 0; u < r->count; u++)
            ldexp_acc(b, u, ram(BF_CLASS_FIXED, b->a.inverse));
        split_sums(b, 0, r->count, b->a.y_words);
        bf_attention_store(b, b->a.state, r->first, r->last, 4 + 2 * r->column, 2 * r->step,
                           2 * r->count, b->a.y_words);
    }
    for (int64_t u = 0; u < r->count && b->a.begins; u++)
        clear(b, u);
    end_block(b, b->a.ends ? "divide by sum" : "keep", &d);
}

static void column_blocks(struct bf_attention_build *b) {
    int64_t word[BF_ATTENTION_COLUMNS], key[BF_ATTENTION_COLUMNS], step;
    for (int64_t i = 0; i < b->column_count; i++) {
        word[i] = b->columns[i].word;
        key[i] = b->columns[i].lane * BF_MAX_BODY + b->columns[i].count;
    }
    for (int64_t i = 0, n; i < b->column_count; i += n) {
        n = bf_attention_run(word, key, i, b->column_count, &step);
        const struct bf_column_chunk *c = &b->columns[i];
        struct column_run r = {.first = b->a.chunks + i,
                               .last = b->a.chunks + i + n - 1,
                               .column = c->word * b->a.lanes + c->lane - b->v_offset,
                               .step = step * b->a.lanes,
                               .count = c->count};
        if (!b->a.begins)
            resume_columns(b, &r);
        bf_attention_load_values(b, r.first, n, c->word, step);
        value_blocks(b, r.first, r.last, c->lane, c->count);
        finish_columns(b, &r);
    }
}

/* ---- a PE ---- */

static bool place_pe(struct bf_attention_build *b, unsigned pe) {
    int64_t rest = pe;
    for (int d = 0; d < BF_JOB_DIMS; d++) {
        b->index[d] = rest % b->jobs.across[d];
        rest /= b->jobs.across[d];
    }
    int64_t head = b->jobs.first[BF_JOB_HEAD] + b->index[BF_JOB_HEAD];
    b->pe = pe;
    b->k_offset = (b->a.k->col + head * b->a.columns) % b->a.lanes;
    b->v_offset = (b->a.v->col + head * b->a.columns) % b->a.lanes;
    b->column_count = bf_attention_columns(&b->a, b->v_offset, b->columns);
    b->cal = BF_FIRST_CAL;
    b->load = BF_LOAD_FREE;
    b->store = BF_FIRST_STORE;
    return rest == 0;
}

static void emit_pe(struct bf_attention_build *b) {
    int64_t whole = b->a.keys / b->a.unroll;
    start_job(b);
    if (masked(b))
        await_masks(b);
    bf_attention_load_keys(b);
    score_chunk(b, 0, whole - 1, b->a.unroll);
    score_chunk(b, whole, b->a.chunks - 1, b->a.keys % b->a.unroll);
    begin_softmax(b);
    over_keys(b, "maximum", max_body);
    end_maximum(b);
    over_keys(b, "exponentials", exp_body);
    end_sum(b);
    column_blocks(b);
}

static bool enough_blocks(const struct bf_attention_build *b) {
    return b->cal <= BF_FIRST_LOAD && b->load <= BF_FIRST_FLOW && b->store <= BF_BLOCKS;
}

/* All PEs; false after the first that needs more blocks than there are. */
static bool emit(struct bf_attention_build *b) {
    bf_code_begin(&b->code, b->map, b->plan);
    for (unsigned pe = 0; pe < bf_machine_pes(&b->map->machine); pe++) {
        if (!place_pe(b, pe))
            continue;
        emit_pe(b);
        if (!enough_blocks(b))
            return false;
    }
    return true;
}

/* Addresses do not matter here, so buffers without a place may have any. */
bool bf_attention_fits(struct bf_map *map, struct bf_plan *plan) {
    struct bf_attention_build b = {
        .map = map, .plan = plan, .a = bf_attention_of(map, plan), .jobs = bf_jobs_load(plan)};
    struct bf_place_of_buffer *none = NULL;
    if (!map->places)
        map->places = none = bf_alloc(map->poly->buffers.count * sizeof *none);
    bool fits = emit(&b) && b.code.words <= map->machine.code_words;
    bf_code_abandon(&b.code);
    if (none) {
        free(none);
        map->places = NULL;
    }
    return fits;
}

bool bf_attention_schedule(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    struct bf_attention_build b = {
        .map = map, .plan = plan, .a = bf_attention_of(map, plan), .jobs = bf_jobs_load(plan)};
    if (!emit(&b)) {
        bf_code_abandon(&b.code);
        return bf_diag_error(
            diags, plan->kernel->loc,
            "cannot map %s on '%s': it needs %u CAL, %u LOAD and %u STORE blocks, a PE "
            "has %d, %d and %d",
            plan->kernel->what, map->machine.name, b.cal, b.load - BF_FIRST_LOAD,
            b.store - BF_FIRST_STORE, BF_FIRST_LOAD, BF_FIRST_FLOW - BF_FIRST_LOAD,
            BF_BLOCKS - BF_FIRST_STORE);
    }
    struct bf_launch launch = {
        .window = (uint8_t)b.a.window,
        .strict = true,
        .context_base = (uint16_t)b.a.context_base,
        .context_size = (uint16_t)b.a.context_size,
        .period = (uint16_t)b.a.period,
        .group_level = 0,
        .trips = {(uint32_t)b.a.period,
                  (uint32_t)(b.jobs.level1 < 0 ? 1 : b.jobs.rounds[b.jobs.level1]),
                  (uint32_t)(b.jobs.level2 < 0 ? 1 : b.jobs.rounds[b.jobs.level2])}};
    bf_attention_bases(&b, &launch);
    return bf_code_finish(&b.code, &launch, diags);
}
