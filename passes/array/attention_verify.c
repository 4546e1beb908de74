/* attention_verify.c - the value check of attention: every PE's emitted words are run on symbols.
 *
 * A scratchpad word stands for elements of q, k, v, a mask or y; a RAM word for what the CAL words
 * make of them; an accumulator for a partial result with the set of columns (keys) it has summed:
 *
 *   q[c] k[key][c] -> SCORE(key, columns) -> MAX(keys), X, EXP(key) -> P(key) -> SUM(keys) ->
 * INVERSE P(key) v[key][c] -> OUT(c, keys) -> Y(c) -> y
 *
 * In parts the state is joined to maximum, sum and outputs, and what goes back to it is checked
 * likewise. An operand that is not what the step needs, a column or key summed twice or not at all,
 * a hidden term left out, a word stored at a wrong place: each is reported with PE, phase and
 * block. The first and last jobs of every PE are run; in between addresses advance by constants.
 */
#include "passes/array/attention.h"

#include <stdlib.h>

enum tag {
    NOTHING,
    ZERO,
    Q,
    K,
    V,
    CONSTANT,
    LANE_MASK,
    ROW_MASK,
    POSITIONS,
    VISIBLE,
    HIDE,
    HIDDEN,
    SCORE,
    LOW,
    HIGH,
    FLOOR,
    MAXIMUM,
    SCALED,
    LOG2,
    INTEGER_BITS,
    INTEGER,
    WHOLE_MAXIMUM,
    SHIFT,     /* from the maximum before to this one */
    KEEP_HALF, /* the maximum, read again */
    BITS,      /* logarithm of the sum, */
    LOG2_SUM,
    EXPONENT_BITS,
    EXPONENT,  /* as an integer */
    SHIFT_OUT, /* and its negative */
    SHIFTED_MAXIMUM,
    X_FIRST,
    X,
    EXP,
    P,
    SUM,
    BOUNDED,
    INVERSE,
    INVERSE_HIGH,
    INVERSE_LOW,
    OUT,
    FIRST_Y,
    Y,
    STATE,      /* a word of the state before */
    STATE_HALF, /* the first of its two words */
    STATE_SUM,  /* both; index: 0 maximum, 1 sum, 2 + column */
    KEEP,       /* a word of the state after */
};
enum { SET_WORDS = BF_MAX_TRIPS / 64 };

struct value {
    enum tag tag;
    int64_t index;  /* key, column, or which constant */
    int64_t column; /* K, V: of lane 0, from the head's first on; masks: sample of lane 0 */
    unsigned masks; /* VISIBLE, HIDE, HIDDEN, SCORE: bit 0 lanes, 1 rows, 2 positions, 3 of another
                       sample */
    bool joined;    /* what the state had is in it */
    bool shifted;   /* by the logarithm of the sum */
    uint64_t set[SET_WORDS]; /* columns or keys summed so far */
};

struct verify {
    struct bf_map *map;
    struct bf_plan *plan;
    struct bf_attention a;
    struct bf_jobs jobs;
    const struct bf_kernel *code;
    const struct bf_launch *launch;
    struct bf_diags *diags;
    const struct bf_block *block[BF_BLOCKS];
    unsigned pe;
    int64_t phase, round1, round2;
    int64_t head, group, tile, sample; /* of the job */
    unsigned id;
    struct value *ram, *weights, acc[16];
    uint64_t stored[2 * SET_WORDS + 1]; /* columns of y or of the state */
};

static bool wrong(struct verify *v, const char *what) {
    return bf_diag_error(v->diags, v->plan->kernel->loc,
                         "mapping of %s: PE %u, phase %lld, block %u \"%s\": %s",
                         v->plan->kernel->what, v->pe, (long long)v->phase, v->id,
                         v->block[v->id] ? v->block[v->id]->name : "", what);
}

static bool has(const struct value *x, int64_t member) {
    return x->set[member / 64] >> member % 64 & 1;
}

static bool full(const struct value *x, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (!has(x, i))
            return false;
    return true;
}

static bool add_set(struct value *x, const struct value *y) {
    for (int w = 0; w < SET_WORDS; w++) {
        if (x->set[w] & y->set[w])
            return false;
        x->set[w] |= y->set[w];
    }
    return true;
}

static void add_member(struct value *x, int64_t member) {
    x->set[member / 64] |= UINT64_C(1) << member % 64;
}

static unsigned wanted_masks(const struct verify *v) {
    return (unsigned)v->a.lane_mask | (unsigned)v->a.row_mask << 1 | (unsigned)v->a.table << 2;
}

/* ---- LOAD, STORE ---- */

static int64_t iteration_register(const struct verify *v, const struct bf_descriptor *d) {
    int64_t period = v->launch->trips[0], rounds = v->launch->trips[1];
    int64_t jobs = v->round1 + v->round2 * rounds;
    return (jobs * (period - 1) + v->phase) * d->mem.iteration_delta[0] +
           (v->round2 * (rounds - 1) + v->round1) * d->mem.iteration_delta[1] +
           v->round2 * d->mem.iteration_delta[2];
}

struct element {
    int64_t sample, row, column;
};

/* Which element of the operand lane 0 of a scratchpad word is; false if it is none of its buffer.
 */
static bool element_at(const struct verify *v, const struct bf_operand *operand, int64_t spm,
                       bool row, struct element *e) {
    const struct bf_place_of_buffer *place = &v->map->places[operand->buffer->index];
    int64_t lanes = v->a.lanes, at = spm - place->spm;
    if (at < 0 || at >= place->width * place->height / lanes)
        return false;
    int64_t r = at / place->width * lanes + (row ? at % lanes : 0);
    int64_t c = row ? at % place->width / lanes * lanes : at % place->width;
    *e = (struct element){r / place->pitch, r % place->pitch - operand->row, c - operand->col};
    return true;
}

static bool of_sample(const struct verify *v, const struct bf_operand *operand,
                      const struct element *e) {
    return e->sample == (operand->buffer->samples > 1 ? v->sample : 0);
}

/* q, y, mask of queries: the column, if it is of the job's tile. */
static bool query_column(const struct verify *v, const struct bf_operand *operand, int64_t spm,
                         int64_t *column) {
    struct element e;
    if (!element_at(v, operand, spm, false, &e) || !of_sample(v, operand, &e) ||
        e.row != v->tile * v->a.lanes)
        return false;
    *column = e.column;
    return true;
}

/* First column of the job's head. */
static int64_t query_head(const struct verify *v, const struct bf_operand *operand) {
    return (v->head * (v->a.heads / v->a.kv_heads) + v->group) * (operand->cols / v->a.heads);
}

/* What a word of the constants is to this job. */
static struct value constant_at(const struct verify *v, int64_t word) {
    if (word < BF_CONST_WORDS)
        return (struct value){.tag = CONSTANT, .index = word};
    int64_t key = v->tile * v->a.lanes - (word - BF_CONST_WORDS - v->a.keys + 1);
    return (struct value){.tag = POSITIONS, .index = key};
}

static struct value loaded(const struct verify *v, const struct bf_descriptor *d, int64_t spm) {
    struct value none = {.tag = NOTHING};
    struct element e;
    int64_t column;
    if (d->mem.weights) {
        for (int i = 0; i < 2; i++) {
            const struct bf_operand *operand = i ? v->a.v : v->a.k;
            bool use = d->mem.row && i == (v->phase >= v->a.chunks);
            if (use && element_at(v, operand, spm, true, &e) && of_sample(v, operand, &e))
                return (struct value){.tag = i ? V : K,
                                      .index = e.row - v->a.first_key,
                                      .column = e.column - v->head * v->a.columns};
        }
        if (v->a.lane_mask && !d->mem.row && element_at(v, v->a.mask, spm, false, &e))
            return (struct value){
                .tag = LANE_MASK, .index = e.column - v->a.first_key, .column = e.sample};
        return none;
    }
    if (d->mem.row)
        return constant_at(v, spm - v->plan->weight_spm);
    if (v->a.row_mask && query_column(v, v->a.mask, spm, &column))
        return (struct value){.tag = ROW_MASK, .index = column - v->a.first_key};
    if (query_column(v, v->a.q, spm, &column))
        return (struct value){.tag = Q, .index = column - query_head(v, v->a.q)};
    if (!v->a.begins && query_column(v, v->a.state, spm, &column))
        return (struct value){.tag = STATE, .index = column - query_head(v, v->a.state)};
    return none;
}

static int64_t context(const struct verify *v) {
    return v->launch->context_base + v->phase % v->launch->window * v->launch->context_size;
}

static bool store(struct verify *v, int64_t ram, int64_t spm) {
    int64_t column;
    const struct value *x = &v->ram[ram];
    const struct bf_operand *to = v->a.ends ? v->a.y : v->a.state;
    if (!query_column(v, to, spm, &column))
        return wrong(v, "it stores to a place that is not of its queries");
    column -= query_head(v, to);
    if (x->tag != (v->a.ends ? Y : KEEP) || x->index != column || x->shifted != !v->a.ends)
        return wrong(v, "it stores a word that is not this column");
    if (v->stored[column / 64] >> column % 64 & 1)
        return wrong(v, "it stores a column twice");
    v->stored[column / 64] |= UINT64_C(1) << column % 64;
    return true;
}

static bool move(struct verify *v, const struct bf_descriptor *d) {
    int64_t ram = d->mem.ram + (d->mem.relative ? context(v) : 0);
    int64_t spm = v->launch->base[d->mem.base] + d->mem.spm + iteration_register(v, d);
    int64_t size = d->mem.weights ? v->map->machine.weight_half : v->map->machine.data_ram;
    for (int64_t i2 = 0; i2 < d->trips[2]; i2++) {
        for (int64_t i1 = 0; i1 < d->trips[1]; i1++) {
            for (int64_t i0 = 0; i0 < d->trips[0]; i0++) {
                int64_t word = ((ram % size) + size) % size, at = spm & ((1 << 18) - 1);
                if (d->unit == BF_UNIT_STORE && !store(v, word, at))
                    return false;
                if (d->unit == BF_UNIT_LOAD)
                    (d->mem.weights ? v->weights : v->ram)[word] = loaded(v, d, at);
                int l = i0 + 1 < d->trips[0] ? 0 : i1 + 1 < d->trips[1] ? 1 : 2;
                ram += d->mem.ram_delta[l];
                spm += d->mem.spm_delta[l];
            }
        }
    }
    return true;
}

/* ---- CAL ---- */

struct operands {
    struct value a, b, c;
};

/* One lane of a weight word: a column of a key, a sample of a mask. */
static struct value weight_lane(const struct verify *v, int64_t lane) {
    struct value x = v->weights[lane / v->a.lanes % v->map->machine.weight_half];
    x.column += lane % v->a.lanes;
    if (x.tag == LANE_MASK && x.column != (v->a.mask->buffer->samples > 1 ? v->sample : 0))
        x.masks = 8;
    return x;
}

static bool is(const struct value *x, enum tag tag) {
    return x->tag == tag;
}

static bool constant(const struct value *x, int which) {
    return x->tag == CONSTANT && x->index == which;
}

/* A factor of "visible": which mask. 0: none. */
static unsigned mask_of(const struct value *x) {
    switch (x->tag) {
    case LANE_MASK:
        return 1 | x->masks;
    case ROW_MASK:
        return 2;
    case POSITIONS:
        return 4;
    case VISIBLE:
        return x->masks;
    default:
        return 0;
    }
}

/* + q[c] k[key][c]. */
static const char *score(const struct verify *v, const struct operands *o, struct value *d) {
    int64_t c = o->b.column, key = o->b.index;
    if (!is(&o->a, Q) || o->a.index != c)
        return "it multiplies a key's column with another column of q";
    if (c < 0 || c >= v->a.columns || key < 0 || key >= v->a.keys)
        return "it uses a key or column that does not exist";
    *d = (struct value){.tag = SCORE, .index = key};
    if (is(&o->c, SCORE) || is(&o->c, HIDDEN)) {
        if (o->c.index != key)
            return "it adds to another key's score";
        *d = o->c;
        d->tag = SCORE;
    } else if (!is(&o->c, ZERO)) {
        return "a score does not begin with zero";
    }
    if (has(d, c))
        return "a column is summed twice";
    add_member(d, c);
    return NULL;
}

/* + p[key] v[key][c]. */
static const char *output(const struct verify *v, const struct operands *o, struct value *d) {
    int64_t c = o->b.column, key = o->b.index;
    if (!is(&o->a, P) || o->a.index != key)
        return "it multiplies a value with another key's weight";
    if (c < 0 || c >= v->a.columns || key < 0 || key >= v->a.keys)
        return "it uses a key or column that does not exist";
    *d = (struct value){.tag = OUT, .index = c};
    if (is(&o->c, OUT)) {
        if (o->c.index != c)
            return "it adds to another column";
        *d = o->c;
    } else if (!is(&o->c, ZERO)) {
        return "a sum of values does not begin with zero";
    }
    if (has(d, key))
        return "a key is summed twice";
    add_member(d, key);
    return NULL;
}

/* Masks: visible = product; 2^15 visible - 2^15; its product with 2^15. */
static const char *hide(const struct operands *o, const struct bf_cal *cal, struct value *d) {
    const struct value *x = mask_of(&o->a) ? &o->a : &o->b, *y = x == &o->a ? &o->b : &o->a;
    unsigned masks = mask_of(x);
    if (is(&o->a, HIDE)) {
        *d = o->a;
        d->tag = HIDDEN;
        return constant(&o->b, BF_CONST_BIG) && is(&o->c, ZERO) ? NULL : "it hides nothing";
    }
    *d = (struct value){.tag = HIDE, .index = x->index, .masks = masks};
    if (constant(y, BF_CONST_BIG))
        return constant(&o->c, BF_CONST_BIG) && cal->negate_addend ? NULL : "it hides nothing";
    if (!mask_of(y) || mask_of(y) & masks || y->index != x->index || !is(&o->c, ZERO))
        return "masks of different keys are joined";
    d->tag = VISIBLE;
    d->masks |= mask_of(y);
    return NULL;
}

static bool whole_score(const struct verify *v, const struct value *x) {
    return is(x, SCORE) && full(x, v->a.columns) && x->masks == wanted_masks(v);
}

/* Whether the state before is in x, where there is one. */
static bool joined(const struct verify *v, const struct value *x) {
    return v->a.begins || x->joined;
}

/* x, then x less that, to the two words of the state after. The maximum is read again in between.
 */
static const char *keep(const struct verify *v, const struct operands *o, const struct bf_cal *cal,
                        struct value *d) {
    bool maximum = is(&o->a, WHOLE_MAXIMUM) || is(&o->a, SHIFTED_MAXIMUM);
    int64_t column = maximum ? 0 : is(&o->a, SUM) ? 2 : 4 + 2 * o->a.index;
    if (!joined(v, &o->a) || (!maximum && (!full(&o->a, v->a.keys) || !o->a.shifted)))
        return "it keeps what is not whole";
    *d = (struct value){
        .tag = KEEP, .index = column, .joined = true, .shifted = !is(&o->a, WHOLE_MAXIMUM)};
    if (is(&o->c, ZERO))
        return NULL;
    d->index++;
    return is(&o->c, KEEP) && o->c.index == column && o->c.shifted == d->shifted &&
                   cal->negate_addend
               ? NULL
               : "it keeps parts of two numbers";
}

/* The maximum, kept for a while without the logarithm of the sum, is joined and the two are added.
 */
static const char *shift_maximum(const struct operands *o, struct value *d) {
    if (is(&o->a, KEEP) && is(&o->c, ZERO)) {
        *d = (struct value){.tag = KEEP_HALF};
        return o->a.index == 0 && !o->a.shifted ? NULL : "it reads what is no maximum";
    }
    if (is(&o->a, KEEP)) {
        *d = (struct value){.tag = WHOLE_MAXIMUM, .joined = true};
        return is(&o->c, KEEP_HALF) && o->a.index == 1 && !o->a.shifted
                   ? NULL
                   : "it reads what is no maximum";
    }
    *d = (struct value){.tag = SHIFTED_MAXIMUM, .joined = true};
    return NULL;
}

static const char *by_constant(const struct verify *v, const struct operands *o,
                               const struct bf_cal *cal, struct value *d) {
    *d = o->a;
    if (constant(&o->b, BF_CONST_BIG) && constant(&o->a, BF_CONST_BIG) && is(&o->c, ZERO)) {
        d->tag = FLOOR;
        return cal->negate_product ? NULL : "the maximum begins above the scores";
    }
    if (constant(&o->b, BF_CONST_HIGH) && is(&o->a, MAXIMUM) && is(&o->c, ZERO)) {
        *d = (struct value){.tag = SCALED};
        return full(&o->a, v->a.keys) ? NULL : "the maximum is not over all keys";
    }
    if (constant(&o->b, BF_CONST_HIGH) && whole_score(v, &o->a) && is(&o->c, SCALED)) {
        d->tag = X_FIRST;
        if (v->a.state && o->c.index != BF_CONST_SHRINK)
            return "the maximum is not the one of all parts so far";
        return cal->negate_addend ? NULL : "the maximum is not subtracted";
    }
    if (constant(&o->b, BF_CONST_EPSILON) && is(&o->a, SCALED) && is(&o->c, SCALED)) {
        d->tag = LOG2;
        return NULL;
    }
    if (constant(&o->b, BF_CONST_SHRINK) && is(&o->a, WHOLE_MAXIMUM) && is(&o->c, WHOLE_MAXIMUM)) {
        *d = (struct value){.tag = SCALED, .index = BF_CONST_SHRINK};
        return cal->negate_product && joined(v, &o->a) ? NULL : "it is not the whole maximum";
    }
    if (constant(&o->b, BF_CONST_EPSILON) && is(&o->a, X_FIRST) && is(&o->c, X_FIRST)) {
        d->tag = X;
        return o->a.index == o->c.index ? NULL : "two keys' scores are mixed";
    }
    if (constant(&o->b, BF_CONST_BITS) && is(&o->a, BITS)) {
        d->tag = LOG2_SUM;
        return constant(&o->c, BF_CONST_BIAS) && cal->negate_addend ? NULL : "it has no bias";
    }
    return "it multiplies by a constant that does not belong there";
}

static const char *by_inverse(const struct verify *v, const struct operands *o, struct value *d) {
    if (!is(&o->a, OUT) || !full(&o->a, v->a.keys) || !joined(v, &o->a))
        return "what is divided by the sum is not the sum over all keys";
    *d = (struct value){.tag = is(&o->b, INVERSE_LOW) ? FIRST_Y : Y, .index = o->a.index};
    if (is(&o->b, INVERSE_LOW))
        return is(&o->c, ZERO) ? NULL : "y does not begin with zero";
    return is(&o->c, FIRST_Y) && o->c.index == o->a.index ? NULL : "two columns of y are mixed";
}

/* A x 1 + C, of the state. NULL and NOTHING: it is not of the state. */
static const char *add_state(const struct verify *v, const struct operands *o,
                             const struct bf_cal *cal, struct value *d) {
    *d = (struct value){.tag = NOTHING};
    if (is(&o->a, STATE) && is(&o->c, ZERO)) {
        *d = (struct value){.tag = STATE_HALF, .index = o->a.index};
        return o->a.index % 2 == 0 ? NULL : "a number of the state begins with its second word";
    }
    if (is(&o->a, STATE)) {
        *d = (struct value){.tag = STATE_SUM, .index = o->c.index / 2};
        return is(&o->c, STATE_HALF) && o->a.index == o->c.index + 1
                   ? NULL
                   : "two numbers of the state are mixed";
    }
    if (is(&o->a, STATE_SUM)) {
        *d = (struct value){.tag = SHIFT};
        return o->a.index == 0 && is(&o->c, WHOLE_MAXIMUM) && o->c.joined && cal->negate_addend
                   ? NULL
                   : "it compares what are no maxima";
    }
    if (is(&o->a, EXPONENT)) {
        *d = (struct value){.tag = SHIFT_OUT};
        return is(&o->c, ZERO) && cal->negate_product ? NULL : "it shifts the wrong way";
    }
    if (is(&o->a, KEEP) || (is(&o->a, WHOLE_MAXIMUM) && is(&o->c, EXPONENT)))
        return shift_maximum(o, d);
    if (is(&o->a, WHOLE_MAXIMUM) || is(&o->a, SHIFTED_MAXIMUM) ||
        ((is(&o->a, SUM) || is(&o->a, OUT)) && o->a.shifted))
        return keep(v, o, cal, d);
    return NULL;
}

/* A x 1 + C. */
static const char *add(const struct verify *v, const struct operands *o, const struct bf_cal *cal,
                       struct value *d) {
    const char *reason = add_state(v, o, cal, d);
    if (reason || !is(d, NOTHING))
        return reason;
    *d = o->a;
    if (is(&o->a, EXP) && is(&o->c, ZERO)) {
        d->tag = P;
        return NULL;
    }
    if (is(&o->a, P) && (is(&o->c, SUM) || is(&o->c, ZERO))) {
        *d = o->c;
        d->tag = SUM;
        if (has(d, o->a.index))
            return "a key is summed twice";
        add_member(d, o->a.index);
        return NULL;
    }
    if (is(&o->a, SUM) && (is(&o->c, SUM) || is(&o->c, ZERO))) {
        d->joined |= o->c.joined;
        return add_set(d, &o->c) ? NULL : "a key is summed twice";
    }
    if (is(&o->a, INVERSE) && is(&o->c, ZERO)) {
        d->tag = INVERSE_HIGH;
        return NULL;
    }
    if (is(&o->a, INVERSE_HIGH) && is(&o->c, INVERSE) && cal->negate_product) {
        d->tag = INVERSE_LOW;
        return NULL;
    }
    return "it adds what does not belong together";
}

static const char *multiply_add(const struct verify *v, const struct bf_cal *cal,
                                const struct operands *o, struct value *d) {
    if (cal->b_kind == BF_B_CONST && cal->b == BF_B_ZERO) {
        *d = (struct value){.tag = ZERO};
        return is(&o->c, ZERO) && !is(&o->a, NOTHING) ? NULL : "it reads what nothing has written";
    }
    if (cal->b_kind == BF_B_CONST && cal->b == BF_B_HALF) {
        *d = (struct value){.tag = MAXIMUM};
        return is(&o->a, FLOOR) && is(&o->c, ZERO) ? NULL : "it halves what is no first maximum";
    }
    if (cal->b_kind == BF_B_CONST)
        return add(v, o, cal, d);
    if (is(&o->b, K))
        return score(v, o, d);
    if (is(&o->b, V))
        return output(v, o, d);
    if (mask_of(&o->a) || mask_of(&o->b) || is(&o->a, HIDE))
        return hide(o, cal, d);
    if (is(&o->b, INVERSE_HIGH) || is(&o->b, INVERSE_LOW))
        return by_inverse(v, o, d);
    return by_constant(v, o, cal, d);
}

static const char *maximum(const struct verify *v, const struct operands *o,
                           const struct bf_cal *cal, struct value *d) {
    *d = o->a;
    if (is(&o->a, SUM)) {
        d->tag = BOUNDED;
        return constant(&o->c, v->a.state ? BF_CONST_LEAST : -1) ? NULL : "the sum has no bound";
    }
    if (is(&o->a, INTEGER)) {
        d->tag = WHOLE_MAXIMUM;
        return constant(&o->c, BF_CONST_BIG) && cal->negate_addend ? NULL
                                                                   : "the maximum has no bound";
    }
    if (is(&o->a, WHOLE_MAXIMUM)) {
        d->joined = true;
        return is(&o->c, STATE_SUM) && o->c.index == 0 ? NULL : "it is not the maximum before";
    }
    if (!is(&o->a, MAXIMUM))
        return "it takes the maximum of other things than scores";
    if (is(&o->c, MAXIMUM))
        return add_set(d, &o->c) ? NULL : "a key's score is compared twice";
    if (!whole_score(v, &o->c) || has(d, o->c.index))
        return "it takes the maximum of a score that is not whole, or twice";
    add_member(d, o->c.index);
    return NULL;
}

/* What the state had is brought to the new maximum; what leaves, to a sum near 1. */
static const char *shift(const struct value *a, const struct value *c, struct value *d) {
    if (is(c, SHIFT_OUT)) {
        d->shifted = true;
        return (is(a, SUM) || is(a, OUT)) && !a->shifted ? NULL : "it shifts what is no sum";
    }
    *d = (struct value){.tag = a->index == 1 ? SUM : OUT, .index = a->index - 2, .joined = true};
    return is(a, STATE_SUM) && a->index > 0 && is(c, SHIFT)
               ? NULL
               : "it shifts what is no sum of the state";
}

static const char *operate(const struct verify *v, const struct bf_cal *cal,
                           const struct operands *o, struct value *d) {
    *d = o->a;
    switch (cal->op) {
    case BF_CAL_FMA:
        return multiply_add(v, cal, o, d);
    case BF_CAL_MAX:
        return maximum(v, o, cal, d);
    case BF_CAL_EXP2:
        d->tag = EXP;
        return is(&o->a, X) ? NULL : "the exponential of what is no score less the maximum";
    case BF_CAL_RCP:
        d->tag = INVERSE;
        return is(&o->a, BOUNDED) && full(&o->a, v->a.keys) && joined(v, &o->a)
                   ? NULL
                   : "the sum is not over all keys";
    case BF_CAL_CVTI:
        d->tag = is(&o->a, LOG2) ? INTEGER_BITS : EXPONENT_BITS;
        return is(&o->a, LOG2) || is(&o->a, LOG2_SUM)
                   ? NULL
                   : "it makes an integer of what is no logarithm";
    case BF_CAL_CVTF:
        d->tag = is(&o->a, INTEGER_BITS) ? INTEGER : is(&o->a, EXPONENT_BITS) ? EXPONENT : BITS;
        return !is(d, BITS) || (is(&o->a, SUM) && full(&o->a, v->a.keys) && joined(v, &o->a))
                   ? NULL
                   : "it reads what is no integer and no whole sum";
    case BF_CAL_LDEXP:
        return shift(&o->a, &o->c, d);
    case BF_CAL_STLO:
    case BF_CAL_STHI:
        d->tag = cal->op == BF_CAL_STLO ? LOW : HIGH;
        return whole_score(v, &o->a) ? NULL : "a score is kept that is not whole";
    case BF_CAL_LDLO:
        *d = o->c;
        return is(d, LOW) ? NULL : "it reads what is no score";
    case BF_CAL_LDHI: {
        const struct value *low = &v->acc[cal->acc];
        *d = o->c;
        d->tag = SCORE;
        return is(&o->c, HIGH) && is(low, LOW) && low->index == o->c.index
                   ? NULL
                   : "halves of two scores are joined";
    }
    default:
        return "an operation that attention does not have";
    }
}

/* RAM word of an operand in this run of the body. */
static int64_t word_of(const struct verify *v, const struct bf_descriptor *d, unsigned class,
                       int64_t address, const int64_t offset[BF_CLASSES]) {
    int64_t size = v->map->machine.data_ram;
    int64_t word = address + offset[class] + (d->cal.relative >> class & 1 ? context(v) : 0);
    return (word % size + size) % size;
}

static struct operands operands_of(const struct verify *v, const struct bf_descriptor *d,
                                   const struct bf_cal *cal, const int64_t offset[BF_CLASSES]) {
    static const struct value nothing = {.tag = ZERO}, one = {.tag = CONSTANT, .index = -1};
    struct operands o = {nothing, nothing, nothing};
    unsigned reads = bf_cal_operands((enum bf_cal_op)cal->op);
    if (reads & 1)
        o.a = cal->a_class == BF_CLASS_SPECIAL
                  ? v->acc[cal->a & 15]
                  : v->ram[word_of(v, d, cal->a_class, cal->a, offset)];
    if (reads & 2 && cal->b_kind == BF_B_LANE)
        o.b = weight_lane(v, cal->b + offset[cal->b_class]);
    if (reads & 2 && cal->b_kind == BF_B_DATA)
        o.b = v->ram[word_of(v, d, cal->b_class, cal->b, offset)];
    if (reads & 4 && cal->c_class != BF_CLASS_SPECIAL)
        o.c = v->ram[word_of(v, d, cal->c_class, cal->c, offset)];
    else if (reads & 4 && cal->c >> 8 == BF_C_ACC)
        o.c = v->acc[cal->c & 15];
    else if (reads & 4 && cal->c >> 8 == BF_C_ONE)
        o.c = one;
    return o;
}

static bool run_body(struct verify *v, const struct bf_descriptor *d,
                     const int64_t offset[BF_CLASSES]) {
    for (int w = 0; w < d->cal.length; w++) {
        struct bf_cal cal;
        struct bf_error error;
        struct value result;
        if (!bf_cal_decode(v->code->segments[0].words[d->cal.start + w], &cal, &error))
            return wrong(v, error.text);
        struct operands o = operands_of(v, d, &cal, offset);
        const char *reason = operate(v, &cal, &o, &result);
        if (reason)
            return wrong(v, reason);
        if (cal.dst & BF_DST_ACC)
            v->acc[cal.acc] = result;
        if (cal.dst & BF_DST_RAM)
            v->ram[word_of(v, d, cal.d_class, cal.d, offset)] = result;
    }
    return true;
}

static bool run_cal(struct verify *v, const struct bf_descriptor *d) {
    int64_t offset[BF_CLASSES] = {0};
    for (int64_t i2 = 0; i2 < d->trips[2]; i2++) {
        for (int64_t i1 = 0; i1 < d->trips[1]; i1++) {
            for (int64_t i0 = 0; i0 < d->trips[0]; i0++) {
                if (!run_body(v, d, offset))
                    return false;
                int l = i0 + 1 < d->trips[0] ? 0 : i1 + 1 < d->trips[1] ? 1 : 2;
                for (int c = 0; c < BF_CLASSES; c++)
                    offset[c] += d->cal.delta[c][l];
            }
        }
    }
    return true;
}

/* ---- a job ---- */

/* Blocks of a phase in an order in which they can run: LOAD, CAL by index, STORE. q is loaded
 * between CAL blocks, but its words are not touched by those before. */
static bool run_phase(struct verify *v) {
    static const unsigned order[] = {BF_FIRST_LOAD, BF_FIRST_FLOW,  0,
                                     BF_FIRST_LOAD, BF_FIRST_STORE, BF_BLOCKS};
    memset(v->weights, 0, v->map->machine.weight_half * sizeof *v->weights);
    for (int o = 0; o < 6; o += 2) {
        for (v->id = order[o]; v->id < order[o + 1]; v->id++) {
            const struct bf_block *block = v->block[v->id];
            if (!block || v->phase < block->d.first || v->phase > block->d.last)
                continue;
            if (!(block->d.unit == BF_UNIT_CAL ? run_cal(v, &block->d) : move(v, &block->d)))
                return false;
        }
    }
    return true;
}

static int64_t job_index(const struct verify *v, int dim, int64_t place) {
    int64_t round = dim == v->jobs.level1 ? v->round1 : dim == v->jobs.level2 ? v->round2 : 0;
    return v->jobs.first[dim] + place + round * v->jobs.across[dim];
}

/* Whether every column that the plan is for was stored (in the state: both words of each, and those
 * of maximum and sum). */
static bool all_stored(struct verify *v) {
    struct bf_column_chunk chunks[BF_ATTENTION_COLUMNS];
    int64_t offset = (v->a.v->col + v->head * v->a.columns) % v->a.lanes;
    int64_t n = bf_attention_columns(&v->a, offset, chunks);
    v->id = BF_FIRST_STORE;
    for (int64_t c = 0; c < 4 && !v->a.ends; c++)
        if (!(v->stored[0] >> c & 1))
            return wrong(v, "maximum or sum is not stored");
    for (int64_t i = 0; i < n; i++) {
        int64_t first = chunks[i].word * v->a.lanes + chunks[i].lane - offset;
        int64_t begin = v->a.ends ? first : 4 + 2 * first;
        int64_t end = begin + chunks[i].count * (v->a.ends ? 1 : 2);
        for (int64_t c = begin; c < end; c++)
            if (!(v->stored[c / 64] >> c % 64 & 1))
                return wrong(v, "a column is not stored");
    }
    return true;
}

static bool run_job(struct verify *v) {
    int64_t rest = v->pe, index[BF_JOB_DIMS];
    for (int d = 0; d < BF_JOB_DIMS; d++) {
        index[d] = job_index(v, d, rest % v->jobs.across[d]);
        rest /= v->jobs.across[d];
    }
    v->head = index[BF_JOB_HEAD];
    v->group = index[BF_JOB_GROUP];
    v->tile = index[BF_JOB_TILE];
    v->sample = index[BF_JOB_SAMPLE] + v->a.lanes * index[BF_JOB_BATCH];
    memset(v->ram, 0, v->map->machine.data_ram * sizeof *v->ram);
    memset(v->acc, 0, sizeof v->acc);
    memset(v->stored, 0, sizeof v->stored);
    for (v->phase = 0; v->phase < v->launch->period; v->phase++)
        if (!run_phase(v))
            return false;
    return all_stored(v);
}

static bool run_pe(struct verify *v) {
    int64_t rounds1 = v->launch->trips[1], rounds2 = v->launch->trips[2];
    memset(v->block, 0, sizeof v->block);
    for (size_t i = 0; i < v->code->block_count; i++)
        if (v->code->blocks[i].pes >> v->pe & 1)
            v->block[v->code->blocks[i].id] = &v->code->blocks[i];
    int64_t corners[3][2] = {{0, 0}, {rounds1 - 1, 0}, {rounds1 - 1, rounds2 - 1}};
    for (int i = 0; i < 3; i++) {
        v->round1 = corners[i][0];
        v->round2 = corners[i][1];
        if ((i == 0 || v->round1 || v->round2) && !run_job(v))
            return false;
    }
    return true;
}

bool bf_attention_verify(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    struct verify v = {.map = map,
                       .plan = plan,
                       .a = bf_attention_of(map, plan),
                       .jobs = bf_jobs_load(plan),
                       .code = &map->program->kernels[plan->code],
                       .launch = &map->program->launches[plan->launch],
                       .diags = diags};
    int64_t pes = 1;
    bool ok = true;
    for (int d = 0; d < BF_JOB_DIMS; d++)
        pes *= v.jobs.across[d];
    v.ram = bf_alloc(map->machine.data_ram * sizeof *v.ram);
    v.weights = bf_alloc(map->machine.weight_half * sizeof *v.weights);
    if (v.launch->period % v.launch->window)
        ok = wrong(&v, "the window does not divide the period");
    for (v.pe = 0; v.pe < pes && ok; v.pe++)
        ok = run_pe(&v);
    free(v.ram);
    free(v.weights);
    return ok;
}
