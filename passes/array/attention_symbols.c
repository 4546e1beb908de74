/* attention_symbols.c - what an instruction of attention makes of symbols.
 *
 *   q[c] k[key][c] -> score(key, columns) -> maximum(keys) -> x(key) -> exp(key) -> p(key)
 *   p(key) -> sum(keys) -> inverse;    p(key) v[key][c] -> out(c, keys) -> y(c)
 *
 * An operand that is not what the step needs, a column or key summed twice, a hidden term left out:
 * each is an error.
 */
#include "passes/array/attention_verify.h"

static bool has(const struct bf_symbol *x, int64_t member) {
    return x->set[member / 64] >> member % 64 & 1;
}

static bool full(const struct bf_symbol *x, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (!has(x, i))
            return false;
    return true;
}

static bool add_set(struct bf_symbol *x, const struct bf_symbol *y) {
    for (int w = 0; w < BF_SET_OF_COLUMNS; w++) {
        if (x->set[w] & y->set[w])
            return false;
        x->set[w] |= y->set[w];
    }
    return true;
}

static void add_member(struct bf_symbol *x, int64_t member) {
    x->set[member / 64] |= UINT64_C(1) << member % 64;
}

static unsigned wanted_masks(const struct bf_attention_check *v) {
    return (unsigned)v->a.lane_mask | (unsigned)v->a.row_mask << 1 | (unsigned)v->a.table << 2;
}

static bool is(const struct bf_symbol *x, enum bf_symbol_tag tag) {
    return x->tag == tag;
}

static bool constant(const struct bf_symbol *x, int which) {
    return x->tag == BF_SYM_CONSTANT && x->index == which;
}

/* A factor of "visible": which mask. 0: none. */
static unsigned mask_of(const struct bf_symbol *x) {
    switch (x->tag) {
    case BF_SYM_LANE_MASK:
        return 1 | x->masks;
    case BF_SYM_ROW_MASK:
        return 2;
    case BF_SYM_POSITIONS:
        return 4;
    case BF_SYM_VISIBLE:
        return x->masks;
    default:
        return 0;
    }
}

/* + q[c] k[key][c]. */
static const char *score(const struct bf_attention_check *v, const struct bf_symbols *o,
                         struct bf_symbol *d) {
    int64_t c = o->b.column, key = o->b.index;
    if (!is(&o->a, BF_SYM_Q) || o->a.index != c)
        return "it multiplies a key's column with another column of q";
    if (c < 0 || c >= v->a.columns || key < 0 || key >= v->a.keys)
        return "it uses a key or column that does not exist";
    *d = (struct bf_symbol){.tag = BF_SYM_SCORE, .index = key};
    if (is(&o->c, BF_SYM_SCORE) || is(&o->c, BF_SYM_HIDDEN)) {
        if (o->c.index != key)
            return "it adds to another key's score";
        *d = o->c;
        d->tag = BF_SYM_SCORE;
    } else if (!is(&o->c, BF_SYM_ZERO)) {
        return "a score does not begin with zero";
    }
    if (has(d, c))
        return "a column is summed twice";
    add_member(d, c);
    return NULL;
}

/* + p[key] v[key][c]. */
static const char *output(const struct bf_attention_check *v, const struct bf_symbols *o,
                          struct bf_symbol *d) {
    int64_t c = o->b.column, key = o->b.index;
    if (!is(&o->a, BF_SYM_P) || o->a.index != key)
        return "it multiplies a value with another key's weight";
    if (c < 0 || c >= v->a.columns || key < 0 || key >= v->a.keys)
        return "it uses a key or column that does not exist";
    *d = (struct bf_symbol){.tag = BF_SYM_OUT, .index = c};
    if (is(&o->c, BF_SYM_OUT)) {
        if (o->c.index != c)
            return "it adds to another column";
        *d = o->c;
    } else if (!is(&o->c, BF_SYM_ZERO)) {
        return "a sum of values does not begin with zero";
    }
    if (has(d, key))
        return "a key is summed twice";
    add_member(d, key);
    return NULL;
}

/* Masks: visible = product; 2^15 visible - 2^15; its product with 2^15. */
static const char *hide(const struct bf_symbols *o, const struct bf_cal *cal, struct bf_symbol *d) {
    const struct bf_symbol *x = mask_of(&o->a) ? &o->a : &o->b, *y = x == &o->a ? &o->b : &o->a;
    unsigned masks = mask_of(x);
    if (is(&o->a, BF_SYM_HIDE)) {
        *d = o->a;
        d->tag = BF_SYM_HIDDEN;
        return constant(&o->b, BF_CONST_BIG) && is(&o->c, BF_SYM_ZERO) ? NULL : "it hides nothing";
    }
    *d = (struct bf_symbol){.tag = BF_SYM_HIDE, .index = x->index, .masks = masks};
    if (constant(y, BF_CONST_BIG))
        return constant(&o->c, BF_CONST_BIG) && cal->negate_addend ? NULL : "it hides nothing";
    if (!mask_of(y) || mask_of(y) & masks || y->index != x->index || !is(&o->c, BF_SYM_ZERO))
        return "masks of different keys are joined";
    d->tag = BF_SYM_VISIBLE;
    d->masks |= mask_of(y);
    return NULL;
}

static bool whole_score(const struct bf_attention_check *v, const struct bf_symbol *x) {
    return is(x, BF_SYM_SCORE) && full(x, v->a.columns) && x->masks == wanted_masks(v);
}

/* Whether the state before is in x, where there is one. */
static bool joined(const struct bf_attention_check *v, const struct bf_symbol *x) {
    return v->a.begins || x->joined;
}

/* x, then x less that, to the two words of the state after. The maximum is read again in between.
 */
static const char *keep(const struct bf_attention_check *v, const struct bf_symbols *o,
                        const struct bf_cal *cal, struct bf_symbol *d) {
    bool maximum = is(&o->a, BF_SYM_WHOLE_MAXIMUM) || is(&o->a, BF_SYM_SHIFTED_MAXIMUM);
    int64_t column = maximum ? 0 : is(&o->a, BF_SYM_SUM) ? 2 : 4 + 2 * o->a.index;
    if (!joined(v, &o->a) || (!maximum && (!full(&o->a, v->a.keys) || !o->a.shifted)))
        return "it keeps what is not whole";
    *d = (struct bf_symbol){.tag = BF_SYM_KEEP,
                            .index = column,
                            .joined = true,
                            .shifted = !is(&o->a, BF_SYM_WHOLE_MAXIMUM)};
    if (is(&o->c, BF_SYM_ZERO))
        return NULL;
    d->index++;
    return is(&o->c, BF_SYM_KEEP) && o->c.index == column && o->c.shifted == d->shifted &&
                   cal->negate_addend
               ? NULL
               : "it keeps parts of two numbers";
}

/* The maximum, kept for a while without the logarithm of the sum, is joined and the two are added.
 */
static const char *shift_maximum(const struct bf_symbols *o, struct bf_symbol *d) {
    if (is(&o->a, BF_SYM_KEEP) && is(&o->c, BF_SYM_ZERO)) {
        *d = (struct bf_symbol){.tag = BF_SYM_KEEP_HALF};
        return o->a.index == 0 && !o->a.shifted ? NULL : "it reads what is no maximum";
    }
    if (is(&o->a, BF_SYM_KEEP)) {
        *d = (struct bf_symbol){.tag = BF_SYM_WHOLE_MAXIMUM, .joined = true};
        return is(&o->c, BF_SYM_KEEP_HALF) && o->a.index == 1 && !o->a.shifted
                   ? NULL
                   : "it reads what is no maximum";
    }
    *d = (struct bf_symbol){.tag = BF_SYM_SHIFTED_MAXIMUM, .joined = true};
    return NULL;
}

static const char *by_constant(const struct bf_attention_check *v, const struct bf_symbols *o,
                               const struct bf_cal *cal, struct bf_symbol *d) {
    *d = o->a;
    if (constant(&o->b, BF_CONST_BIG) && constant(&o->a, BF_CONST_BIG) && is(&o->c, BF_SYM_ZERO)) {
        d->tag = BF_SYM_FLOOR;
        return cal->negate_product ? NULL : "the maximum begins above the scores";
    }
    if (constant(&o->b, BF_CONST_HIGH) && is(&o->a, BF_SYM_MAXIMUM) && is(&o->c, BF_SYM_ZERO)) {
        *d = (struct bf_symbol){.tag = BF_SYM_SCALED};
        return full(&o->a, v->a.keys) ? NULL : "the maximum is not over all keys";
    }
    if (constant(&o->b, BF_CONST_HIGH) && whole_score(v, &o->a) && is(&o->c, BF_SYM_SCALED)) {
        d->tag = BF_SYM_X_FIRST;
        if (v->a.state && o->c.index != BF_CONST_SHRINK)
            return "the maximum is not the one of all parts so far";
        return cal->negate_addend ? NULL : "the maximum is not subtracted";
    }
    if (constant(&o->b, BF_CONST_EPSILON) && is(&o->a, BF_SYM_SCALED) && is(&o->c, BF_SYM_SCALED)) {
        d->tag = BF_SYM_LOG2;
        return NULL;
    }
    if (constant(&o->b, BF_CONST_SHRINK) && is(&o->a, BF_SYM_WHOLE_MAXIMUM) &&
        is(&o->c, BF_SYM_WHOLE_MAXIMUM)) {
        *d = (struct bf_symbol){.tag = BF_SYM_SCALED, .index = BF_CONST_SHRINK};
        return cal->negate_product && joined(v, &o->a) ? NULL : "it is not the whole maximum";
    }
    if (constant(&o->b, BF_CONST_EPSILON) && is(&o->a, BF_SYM_X_FIRST) &&
        is(&o->c, BF_SYM_X_FIRST)) {
        d->tag = BF_SYM_X;
        return o->a.index == o->c.index ? NULL : "two keys' scores are mixed";
    }
    if (constant(&o->b, BF_CONST_BITS) && is(&o->a, BF_SYM_BITS)) {
        d->tag = BF_SYM_LOG2_SUM;
        return constant(&o->c, BF_CONST_BIAS) && cal->negate_addend ? NULL : "it has no bias";
    }
    return "it multiplies by a constant that does not belong there";
}

static const char *by_inverse(const struct bf_attention_check *v, const struct bf_symbols *o,
                              struct bf_symbol *d) {
    if (!is(&o->a, BF_SYM_OUT) || !full(&o->a, v->a.keys) || !joined(v, &o->a))
        return "what is divided by the sum is not the sum over all keys";
    *d = (struct bf_symbol){.tag = is(&o->b, BF_SYM_INVERSE_LOW) ? BF_SYM_FIRST_Y : BF_SYM_Y,
                            .index = o->a.index};
    if (is(&o->b, BF_SYM_INVERSE_LOW))
        return is(&o->c, BF_SYM_ZERO) ? NULL : "y does not begin with zero";
    return is(&o->c, BF_SYM_FIRST_Y) && o->c.index == o->a.index ? NULL
                                                                 : "two columns of y are mixed";
}

/* A x 1 + C, of the state. NULL and NOTHING: it is not of the state. */
static const char *add_state(const struct bf_attention_check *v, const struct bf_symbols *o,
                             const struct bf_cal *cal, struct bf_symbol *d) {
    *d = (struct bf_symbol){.tag = BF_SYM_NOTHING};
    if (is(&o->a, BF_SYM_STATE) && is(&o->c, BF_SYM_ZERO)) {
        *d = (struct bf_symbol){.tag = BF_SYM_STATE_HALF, .index = o->a.index};
        return o->a.index % 2 == 0 ? NULL : "a number of the state begins with its second word";
    }
    if (is(&o->a, BF_SYM_STATE)) {
        *d = (struct bf_symbol){.tag = BF_SYM_STATE_SUM, .index = o->c.index / 2};
        return is(&o->c, BF_SYM_STATE_HALF) && o->a.index == o->c.index + 1
                   ? NULL
                   : "two numbers of the state are mixed";
    }
    if (is(&o->a, BF_SYM_STATE_SUM)) {
        *d = (struct bf_symbol){.tag = BF_SYM_SHIFT};
        return o->a.index == 0 && is(&o->c, BF_SYM_WHOLE_MAXIMUM) && o->c.joined &&
                       cal->negate_addend
                   ? NULL
                   : "it compares what are no maxima";
    }
    if (is(&o->a, BF_SYM_EXPONENT)) {
        *d = (struct bf_symbol){.tag = BF_SYM_SHIFT_OUT};
        return is(&o->c, BF_SYM_ZERO) && cal->negate_product ? NULL : "it shifts the wrong way";
    }
    if (is(&o->a, BF_SYM_KEEP) || (is(&o->a, BF_SYM_WHOLE_MAXIMUM) && is(&o->c, BF_SYM_EXPONENT)))
        return shift_maximum(o, d);
    if (is(&o->a, BF_SYM_WHOLE_MAXIMUM) || is(&o->a, BF_SYM_SHIFTED_MAXIMUM) ||
        ((is(&o->a, BF_SYM_SUM) || is(&o->a, BF_SYM_OUT)) && o->a.shifted))
        return keep(v, o, cal, d);
    return NULL;
}

/* A x 1 + C. */
static const char *add(const struct bf_attention_check *v, const struct bf_symbols *o,
                       const struct bf_cal *cal, struct bf_symbol *d) {
    const char *reason = add_state(v, o, cal, d);
    if (reason || !is(d, BF_SYM_NOTHING))
        return reason;
    *d = o->a;
    if (is(&o->a, BF_SYM_EXP) && is(&o->c, BF_SYM_ZERO)) {
        d->tag = BF_SYM_P;
        return NULL;
    }
    if (is(&o->a, BF_SYM_P) && (is(&o->c, BF_SYM_SUM) || is(&o->c, BF_SYM_ZERO))) {
        *d = o->c;
        d->tag = BF_SYM_SUM;
        if (has(d, o->a.index))
            return "a key is summed twice";
        add_member(d, o->a.index);
        return NULL;
    }
    if (is(&o->a, BF_SYM_SUM) && (is(&o->c, BF_SYM_SUM) || is(&o->c, BF_SYM_ZERO))) {
        d->joined |= o->c.joined;
        return add_set(d, &o->c) ? NULL : "a key is summed twice";
    }
    if (is(&o->a, BF_SYM_INVERSE) && is(&o->c, BF_SYM_ZERO)) {
        d->tag = BF_SYM_INVERSE_HIGH;
        return NULL;
    }
    if (is(&o->a, BF_SYM_INVERSE_HIGH) && is(&o->c, BF_SYM_INVERSE) && cal->negate_product) {
        d->tag = BF_SYM_INVERSE_LOW;
        return NULL;
    }
    return "it adds what does not belong together";
}

static const char *multiply_add(const struct bf_attention_check *v, const struct bf_cal *cal,
                                const struct bf_symbols *o, struct bf_symbol *d) {
    if (cal->b_kind == BF_B_CONST && cal->b == BF_B_ZERO) {
        *d = (struct bf_symbol){.tag = BF_SYM_ZERO};
        return is(&o->c, BF_SYM_ZERO) && !is(&o->a, BF_SYM_NOTHING)
                   ? NULL
                   : "it reads what nothing has written";
    }
    if (cal->b_kind == BF_B_CONST && cal->b == BF_B_HALF) {
        *d = (struct bf_symbol){.tag = BF_SYM_MAXIMUM};
        return is(&o->a, BF_SYM_FLOOR) && is(&o->c, BF_SYM_ZERO)
                   ? NULL
                   : "it halves what is no first maximum";
    }
    if (cal->b_kind == BF_B_CONST)
        return add(v, o, cal, d);
    if (is(&o->b, BF_SYM_K))
        return score(v, o, d);
    if (is(&o->b, BF_SYM_V))
        return output(v, o, d);
    if (mask_of(&o->a) || mask_of(&o->b) || is(&o->a, BF_SYM_HIDE))
        return hide(o, cal, d);
    if (is(&o->b, BF_SYM_INVERSE_HIGH) || is(&o->b, BF_SYM_INVERSE_LOW))
        return by_inverse(v, o, d);
    return by_constant(v, o, cal, d);
}

static const char *maximum(const struct bf_attention_check *v, const struct bf_symbols *o,
                           const struct bf_cal *cal, struct bf_symbol *d) {
    *d = o->a;
    if (is(&o->a, BF_SYM_SUM)) {
        d->tag = BF_SYM_BOUNDED;
        return constant(&o->c, v->a.state ? BF_CONST_LEAST : -1) ? NULL : "the sum has no bound";
    }
    if (is(&o->a, BF_SYM_INTEGER)) {
        d->tag = BF_SYM_WHOLE_MAXIMUM;
        return constant(&o->c, BF_CONST_BIG) && cal->negate_addend ? NULL
                                                                   : "the maximum has no bound";
    }
    if (is(&o->a, BF_SYM_WHOLE_MAXIMUM)) {
        d->joined = true;
        return is(&o->c, BF_SYM_STATE_SUM) && o->c.index == 0 ? NULL
                                                              : "it is not the maximum before";
    }
    if (!is(&o->a, BF_SYM_MAXIMUM))
        return "it takes the maximum of other things than scores";
    if (is(&o->c, BF_SYM_MAXIMUM))
        return add_set(d, &o->c) ? NULL : "a key's score is compared twice";
    if (!whole_score(v, &o->c) || has(d, o->c.index))
        return "it takes the maximum of a score that is not whole, or twice";
    add_member(d, o->c.index);
    return NULL;
}

/* What the state had is brought to the new maximum; what leaves, to a sum near 1. */
static const char *shift(const struct bf_symbol *a, const struct bf_symbol *c,
                         struct bf_symbol *d) {
    if (is(c, BF_SYM_SHIFT_OUT)) {
        d->shifted = true;
        return (is(a, BF_SYM_SUM) || is(a, BF_SYM_OUT)) && !a->shifted ? NULL
                                                                       : "it shifts what is no sum";
    }
    *d = (struct bf_symbol){
        .tag = a->index == 1 ? BF_SYM_SUM : BF_SYM_OUT, .index = a->index - 2, .joined = true};
    return is(a, BF_SYM_STATE_SUM) && a->index > 0 && is(c, BF_SYM_SHIFT)
               ? NULL
               : "it shifts what is no sum of the state";
}

const char *bf_attention_operate(const struct bf_attention_check *v, const struct bf_cal *cal,
                                 const struct bf_symbols *o, struct bf_symbol *d) {
    *d = o->a;
    switch (cal->op) {
    case BF_CAL_FMA:
        return multiply_add(v, cal, o, d);
    case BF_CAL_MAX:
        return maximum(v, o, cal, d);
    case BF_CAL_EXP2:
        d->tag = BF_SYM_EXP;
        return is(&o->a, BF_SYM_X) ? NULL : "the exponential of what is no score less the maximum";
    case BF_CAL_RCP:
        d->tag = BF_SYM_INVERSE;
        return is(&o->a, BF_SYM_BOUNDED) && full(&o->a, v->a.keys) && joined(v, &o->a)
                   ? NULL
                   : "the sum is not over all keys";
    case BF_CAL_CVTI:
        d->tag = is(&o->a, BF_SYM_LOG2) ? BF_SYM_INTEGER_BITS : BF_SYM_EXPONENT_BITS;
        return is(&o->a, BF_SYM_LOG2) || is(&o->a, BF_SYM_LOG2_SUM)
                   ? NULL
                   : "it makes an integer of what is no logarithm";
    case BF_CAL_CVTF:
        d->tag = is(&o->a, BF_SYM_INTEGER_BITS)    ? BF_SYM_INTEGER
                 : is(&o->a, BF_SYM_EXPONENT_BITS) ? BF_SYM_EXPONENT
                                                   : BF_SYM_BITS;
        return !is(d, BF_SYM_BITS) ||
                       (is(&o->a, BF_SYM_SUM) && full(&o->a, v->a.keys) && joined(v, &o->a))
                   ? NULL
                   : "it reads what is no integer and no whole sum";
    case BF_CAL_LDEXP:
        return shift(&o->a, &o->c, d);
    case BF_CAL_STLO:
    case BF_CAL_STHI:
        d->tag = cal->op == BF_CAL_STLO ? BF_SYM_LOW : BF_SYM_HIGH;
        return whole_score(v, &o->a) ? NULL : "a score is kept that is not whole";
    case BF_CAL_LDLO:
        *d = o->c;
        return is(d, BF_SYM_LOW) ? NULL : "it reads what is no score";
    case BF_CAL_LDHI: {
        const struct bf_symbol *low = &v->acc[cal->acc];
        *d = o->c;
        d->tag = BF_SYM_SCORE;
        return is(&o->c, BF_SYM_HIGH) && is(low, BF_SYM_LOW) && low->index == o->c.index
                   ? NULL
                   : "halves of two scores are joined";
    }
    default:
        return "an operation that attention does not have";
    }
}
