/* ref_cal.c - CAL blocks of the functional device [C1-C3]. */
#include "runtime/ref_device.h"

/* What is the same for every instruction of a block instance. */
struct body {
    struct bf_ref *ref;
    const struct bf_launch *launch;
    const struct bf_descriptor *d;
    unsigned pe;
    uint64_t group;
    uint32_t start[BF_CLASSES];  /* of each class: context base + loop offset */
    uint32_t offset[BF_CLASSES]; /* loop offset alone: what weight addresses follow */
};

enum { READS_A = 1, READS_B = 2, READS_C = 4 };

static uint32_t ram_word(const struct body *body, unsigned class, uint32_t address) {
    return (body->start[class] + address) & (body->ref->machine->data_ram - 1);
}

/* The weight word that B reads, and which of its lanes. */
static const bf_half *weight_word(const struct body *body, const struct bf_cal *cal,
                                  unsigned *lane) {
    uint32_t at = cal->b + body->offset[cal->b_class];
    unsigned lanes = body->ref->lanes;
    *lane = cal->b_kind == BF_B_LANE ? at & (lanes - 1) : 0;
    uint32_t word = cal->b_kind == BF_B_LANE ? at >> body->ref->lane_bits : at;
    return bf_ref_weights(body->ref, body->launch, body->pe, body->group, word);
}

/* Reads operand B; the weight word it came from, or NULL; sets what a swap inverts. */
static const bf_half *read_b(const struct body *body, const struct bf_cal *cal, float *b,
                             unsigned *lane, uint32_t *invert) {
    static const bf_half constants[4] = {BF_HALF_ZERO, BF_HALF_ONE, 0x4000, 0x3800};
    const struct bf_lane_ops *ops = body->ref->ops;
    unsigned lanes = body->ref->lanes;
    const bf_half *word = NULL;
    switch ((enum bf_b_kind)cal->b_kind) {
    case BF_B_LANE: {
        word = weight_word(body, cal, lane);
        bf_half value = word[*lane];
        if (body->d->cal.swap) {
            if (value & 0x4000)
                *invert = 1u << (body->d->cal.swap - 1);
            value &= 0xbfff;
        }
        ops->splat(b, value, lanes);
        break;
    }
    case BF_B_WEIGHT:
        word = weight_word(body, cal, lane);
        ops->half_to_float(b, word, lanes);
        break;
    case BF_B_DATA:
        ops->half_to_float(b, bf_ref_ram(body->ref, body->pe, ram_word(body, cal->b_class, cal->b)),
                           lanes);
        break;
    case BF_B_CONST:
        ops->splat(b, constants[cal->b & 3], lanes);
        break;
    }
    return word;
}

static float *accumulator(const struct body *body, unsigned number) {
    return body->ref->acc +
           ((size_t)body->pe * body->ref->machine->accumulators + number) * body->ref->lanes;
}

/* Operand C: the accumulator itself, or widened into `c`. */
static const float *read_c(const struct body *body, const struct bf_cal *cal, float *c,
                           uint32_t invert, const bf_half *weights, unsigned lane) {
    const struct bf_lane_ops *ops = body->ref->ops;
    unsigned lanes = body->ref->lanes;
    if (cal->c_class != BF_CLASS_SPECIAL) {
        uint32_t word = ram_word(body, cal->c_class, cal->c) ^ invert;
        ops->half_to_float(c, bf_ref_ram(body->ref, body->pe, word), lanes);
        return c;
    }
    switch ((enum bf_c_kind)(cal->c >> 8)) {
    case BF_C_ACC:
        return accumulator(body, cal->c & 15);
    case BF_C_ZERO:
        ops->splat(c, BF_HALF_ZERO, lanes);
        break;
    case BF_C_ONE:
        ops->splat(c, BF_HALF_ONE, lanes);
        break;
    case BF_C_LANE: /* the loader has seen to it that B reads a weight word */
        ops->splat(c, weights ? weights[(lane + (cal->c & 31)) % lanes] : BF_HALF_POISON, lanes);
        break;
    }
    return c;
}

/* Operands in f32, result in f32; halves moved raw are not for here. */
static void operate(const struct bf_lane_ops *ops, const struct bf_cal *cal, float *r,
                    const float *a, const float *b, const float *c, unsigned lanes) {
    unsigned flags =
        (cal->negate_product ? BF_NEGATE_A : 0) | (cal->negate_addend ? BF_NEGATE_C : 0);
    switch ((enum bf_cal_op)cal->op) {
    case BF_CAL_FMA:
        ops->fma(r, a, b, c, flags, lanes);
        break;
    case BF_CAL_MAX:
        ops->max(r, a, c, flags, lanes);
        break;
    case BF_CAL_SEL:
        ops->sel(r, a, b, c, flags, lanes);
        break;
    case BF_CAL_FRAC:
        ops->frac(r, a, flags, lanes);
        break;
    case BF_CAL_LDEXP:
        ops->ldexp(r, a, c, flags, lanes);
        break;
    case BF_CAL_CVTI:
        ops->cvti(r, a, flags, lanes);
        break;
    case BF_CAL_CVTF:
        ops->cvtf(r, a, lanes);
        break;
    case BF_CAL_EXP2:
        ops->special(BF_SPECIAL_EXP2, r, a, flags, lanes);
        break;
    case BF_CAL_RCP:
        ops->special(BF_SPECIAL_RCP, r, a, flags, lanes);
        break;
    case BF_CAL_RSQRT:
        ops->special(BF_SPECIAL_RSQRT, r, a, flags, lanes);
        break;
    case BF_CAL_STLO:
    case BF_CAL_STHI:
    case BF_CAL_LDLO:
    case BF_CAL_LDHI:
        break;
    }
}

/* STLO, STHI, LDLO, LDHI: raw halves of accumulators. */
static bool move_half(const struct body *body, const struct bf_cal *cal) {
    struct bf_ref *ref = body->ref;
    bool high = cal->op == BF_CAL_STHI || cal->op == BF_CAL_LDHI;
    if (cal->op == BF_CAL_STLO || cal->op == BF_CAL_STHI)
        ref->ops->split(bf_ref_ram(ref, body->pe, ram_word(body, cal->d_class, cal->d)),
                        accumulator(body, cal->a & 15), high, ref->lanes);
    else if (cal->op == BF_CAL_LDLO || cal->op == BF_CAL_LDHI)
        ref->ops->join(accumulator(body, cal->acc),
                       bf_ref_ram(ref, body->pe, ram_word(body, cal->c_class, cal->c)), high,
                       ref->lanes);
    else
        return false;
    ref->kernel_stats->ram_words++;
    return true;
}

static void execute(const struct body *body, const struct bf_ref_word *word) {
    const struct bf_cal *cal = &word->cal;
    if (move_half(body, cal))
        return;
    struct bf_ref *ref = body->ref;
    const struct bf_lane_ops *ops = ref->ops;
    unsigned lanes = ref->lanes, lane = 0;
    float buffer[4][BF_MAX_LANES];
    const float *a = buffer[0], *c = buffer[2];
    const bf_half *weights = NULL;
    uint32_t invert = 0;
    if (word->reads & READS_B)
        weights = read_b(body, cal, buffer[1], &lane, &invert);
    if ((word->reads & READS_A) && cal->a_class == BF_CLASS_SPECIAL)
        a = accumulator(body, cal->a & 15);
    else if (word->reads & READS_A)
        ops->half_to_float(buffer[0],
                           bf_ref_ram(ref, body->pe, ram_word(body, cal->a_class, cal->a) ^ invert),
                           lanes);
    if (word->reads & READS_C)
        c = read_c(body, cal, buffer[2], invert, weights, lane);
    float *result = cal->dst & BF_DST_ACC ? accumulator(body, cal->acc) : buffer[3];
    operate(ops, cal, result, a, buffer[1], c, lanes);
    if (cal->dst & BF_DST_RAM)
        ops->round(bf_ref_ram(ref, body->pe, ram_word(body, cal->d_class, cal->d)), result,
                   body->d->cal.exponent, lanes);
}

/* RAM words read and written by an instruction whose halves are not moved raw; equal operand
 * addresses are one read. */
static unsigned words_moved(const struct body *body, const struct bf_ref_word *word) {
    const struct bf_cal *cal = &word->cal;
    unsigned reads = word->reads, words = 0;
    bool a = (reads & READS_A) && cal->a_class != BF_CLASS_SPECIAL;
    bool c = (reads & READS_C) && cal->c_class != BF_CLASS_SPECIAL;
    bool b = (reads & READS_B) && cal->b_kind == BF_B_DATA;
    uint32_t at_a = a ? ram_word(body, cal->a_class, cal->a) : 0;
    uint32_t at_c = c ? ram_word(body, cal->c_class, cal->c) : 0;
    uint32_t at_b = b ? ram_word(body, cal->b_class, cal->b) : 0;
    words += a;
    words += c && !(a && at_c == at_a);
    words += b && !(a && at_b == at_a) && !(c && at_b == at_c);
    words += (reads & READS_B) && (cal->b_kind == BF_B_LANE || cal->b_kind == BF_B_WEIGHT);
    return words + (cal->dst & BF_DST_RAM ? 1 : 0);
}

static void run_body(struct body *body, const struct bf_ref_word *const *code) {
    struct bf_kernel_stats *stats = body->ref->kernel_stats;
    for (unsigned k = 0; k < body->d->cal.length; k++) {
        if (code[k]->cal.op < BF_CAL_STLO)
            stats->ram_words += words_moved(body, code[k]);
        stats->special += code[k]->special;
        execute(body, code[k]);
    }
    stats->issued[BF_UNIT_CAL] += body->d->cal.length;
}

bool bf_ref_cal(struct bf_ref *ref, struct bf_walk *walk, unsigned pe, const struct bf_block *block,
                uint64_t iteration, struct bf_error *error) {
    const struct bf_descriptor *d = &block->d;
    struct body body = {
        .ref = ref, .launch = walk->launch, .d = d, .pe = pe, .group = iteration / walk->group};
    uint32_t context = bf_context(walk->launch, iteration);
    for (unsigned c = 0; c < BF_CLASSES; c++)
        body.start[c] = d->cal.relative >> c & 1 ? context : 0;
    const struct bf_ref_word *const *code =
        (const struct bf_ref_word *const *)ref->code[walk->launch->kernel].at +
        (size_t)pe * ref->machine->code_words + d->cal.start;
    for (unsigned k = 0; k < d->cal.length; k++)
        if (d->cal.start + k >= ref->machine->code_words || !code[k])
            return bf_fail(error, BF_ERROR_MACHINE, "%s: trap: %s of %s: no CAL word %u is loaded",
                           walk->kernel->name, bf_block_label(walk->program, block).text,
                           bf_pe_label(walk->program, pe).text, d->cal.start + k);
    struct bf_loop loop = {{0}};
    for (int level = 0; level >= 0;) {
        run_body(&body, code);
        level = bf_loop_next(&loop, d->trips);
        for (unsigned c = 0; level >= 0 && c < BF_CLASSES; c++) {
            body.start[c] += (uint32_t)(int32_t)d->cal.delta[c][level];
            body.offset[c] += (uint32_t)(int32_t)d->cal.delta[c][level];
        }
    }
    return true;
}
