/* stages_body.c - the CAL instructions of one stage. Unrolled butterflies are interleaved, so that
 * an accumulator is read fma_latency slots after it was written. */
#include "ir/scaled.h"
#include "ir/stages.h"
#include "passes/array/stages.h"

enum { DATA = 0, RESULT = 1, WEIGHT = 3 }; /* address classes */

struct body {
    struct bf_cal *cal;
    unsigned count;
};

static struct bf_cal *add(struct body *body, int64_t a, int64_t lane) {
    struct bf_cal *cal = &body->cal[body->count++];
    *cal = (struct bf_cal){
        .op = BF_CAL_FMA,
        .a = (uint16_t)a,
        .a_class = DATA,
        .b_kind = BF_B_LANE,
        .b = (uint16_t)lane,
        .b_class = WEIGHT,
        .c_class = BF_CLASS_SPECIAL,
        .c = BF_C_ZERO << 8,
    };
    return cal;
}

static void to_acc(struct bf_cal *cal, unsigned acc) {
    cal->dst |= BF_DST_ACC;
    cal->acc = (uint8_t)acc;
}

static void to_ram(struct bf_cal *cal, int64_t word, unsigned class) {
    cal->dst |= BF_DST_RAM;
    cal->d = (uint16_t)word;
    cal->d_class = (uint8_t)class;
}

static void plus_acc(struct bf_cal *cal, unsigned acc) {
    cal->c = (uint16_t)(BF_C_ACC << 8 | acc);
    cal->c_class = BF_CLASS_SPECIAL;
}

static void plus_word(struct bf_cal *cal, int64_t word) {
    cal->c = (uint16_t)word;
    cal->c_class = DATA;
}

/* Where a body finds its operands and puts its results. */
struct place {
    const struct bf_stage_order *order;
    int64_t unroll, words; /* butterflies a body; words a plane */
    int64_t from, to, lane;
};

static int64_t operand(const struct place *at, int64_t u, int64_t j) {
    return at->from + bf_stage_operand_word(at->order, u) + j * at->order->from_stride;
}

static int64_t result(const struct place *at, int64_t u, int64_t q) {
    return at->to + bf_stage_result_word(at->order, u) + q * at->order->to_stride;
}

/* y_i = w00 x_i + w01 x_j + b_i, y_j = w10 x_i + w11 x_j + b_j, in place. */
static void butterfly_body(struct body *body, const struct place *at, bool bias) {
    int64_t each = bias ? 6 : 4;
    for (int64_t u = 0; u < at->unroll; u++) {
        int64_t w = at->lane + each * u;
        for (int out = 0; out < 2; out++) {
            struct bf_cal *cal = add(body, operand(at, u, 0), w + out * (bias ? 2 : 1));
            to_acc(cal, (unsigned)(2 * u + out));
            if (bias)
                cal->c = BF_C_LANE << 8 | 1;
        }
    }
    for (int64_t u = 0; u < at->unroll; u++) {
        int64_t w = at->lane + each * u + (bias ? 4 : 2);
        for (int out = 0; out < 2; out++) {
            struct bf_cal *cal = add(body, operand(at, u, 1), w + out);
            plus_acc(cal, (unsigned)(2 * u + out));
            to_ram(cal, result(at, u, out), RESULT);
        }
    }
}

/* u = own + r partner, or partner + r own where the weight says so. */
static void scaled_body(struct body *body, const struct place *at) {
    for (int64_t u = 0; u < at->unroll; u++) {
        for (int out = 0; out < 2; out++) {
            struct bf_cal *cal = add(body, operand(at, u, 1 - out), at->lane + 2 * u + out);
            plus_word(cal, operand(at, u, out));
            to_ram(cal, result(at, u, out), RESULT);
        }
    }
}

/* y_i = x_i + W x_j, y_j = x_i - W x_j for W = 1 or, at odd quarters, -i (i). */
static void trivial_body(struct body *body, const struct place *at, bool im, bool inverse) {
    for (int e = 0; e < 2; e++) {
        for (int64_t u = 0; u < at->unroll; u++) {
            bool turned = bf_stage_is_quarter(at->order, u);
            for (int p = 0; p < (im ? 2 : 1); p++) {
                int64_t other = (turned ? 1 - p : p) * at->words;
                struct bf_cal *cal = add(body, operand(at, u, 1) + other, BF_B_ONE);
                cal->b_kind = BF_B_CONST;
                cal->b_class = 0;
                cal->negate_product = (e == 1) != (turned && (p == 1) != inverse);
                plus_word(cal, operand(at, u, 0) + p * at->words);
                to_ram(cal, result(at, u, e) + p * at->words, RESULT);
            }
        }
    }
}

/* y_i = x_i + W x_j, y_j = 2 x_i - y_i, into the other region. im: whether the imaginary part of
 * the result is wanted. */
static void fft2_body(struct body *body, const struct place *at, bool im) {
    int planes = im ? 2 : 1;
    for (int half = 0; half < 2; half++) {
        for (int64_t u = 0; u < at->unroll; u++) {
            for (int p = 0; p < planes; p++) {
                int64_t other = half ? (1 - p) * at->words : p * at->words;
                int64_t lane = at->lane + 2 * bf_stage_weight(at->order, u) + half;
                struct bf_cal *cal = add(body, operand(at, u, 1) + other, lane);
                unsigned acc = (unsigned)(2 * u + p);
                to_acc(cal, acc);
                if (half == 0) {
                    plus_word(cal, operand(at, u, 0) + p * at->words);
                } else {
                    cal->negate_product = p == 0; /* re -= w_im x_im, im += w_im x_re */
                    plus_acc(cal, acc);
                    to_ram(cal, result(at, u, 0) + p * at->words, RESULT);
                }
            }
        }
    }
    for (int64_t u = 0; u < at->unroll; u++) {
        for (int p = 0; p < planes; p++) {
            struct bf_cal *cal = add(body, operand(at, u, 0) + p * at->words, BF_B_TWO);
            cal->b_kind = BF_B_CONST;
            cal->b_class = 0;
            plus_acc(cal, (unsigned)(2 * u + p));
            cal->negate_addend = true;
            to_ram(cal, result(at, u, 1) + p * at->words, RESULT);
        }
    }
}

/* One term of a radix-r result: plane p of y += W x_j, half by half. */
static void odd_term(struct body *body, const struct place *at, int64_t u, int64_t j, int half,
                     int p) {
    const struct bf_stage_order *order = at->order;
    int64_t other = half ? (1 - p) * at->words : p * at->words;
    int64_t pair = bf_stage_weight(order, u) * (order->radix - 1) + j - 1;
    struct bf_cal *cal = add(body, operand(at, u, j) + other, at->lane + 2 * pair + half);
    unsigned acc = (unsigned)(2 * u + p);
    cal->negate_product = half == 1 && p == 0;
    if (j == 1 && half == 0)
        plus_word(cal, operand(at, u, 0) + p * at->words);
    else
        plus_acc(cal, acc);
    if (j == order->radix - 1 && half == 1)
        to_ram(cal, result(at, u, 0) + p * at->words, RESULT);
    else
        to_acc(cal, acc);
}

/* One result of radix-r butterflies: y_q = x_0 + sum over j of W x_j. Level 0 of the block counts
 * q. */
static void fft_odd_body(struct body *body, const struct place *at, bool im) {
    for (int64_t j = 1; j < at->order->radix; j++)
        for (int half = 0; half < 2; half++)
            for (int64_t u = 0; u < at->unroll; u++)
                for (int p = 0; p < (im ? 2 : 1); p++)
                    odd_term(body, at, u, j, half, p);
}

/* y = W x for every element: a stage without a digit. */
static void multiply_body(struct body *body, const struct place *at, bool im) {
    for (int half = 0; half < 2; half++) {
        for (int64_t u = 0; u < at->unroll; u++) {
            for (int p = 0; p < (im ? 2 : 1); p++) {
                int64_t other = half ? (1 - p) * at->words : p * at->words;
                int64_t lane = at->lane + 2 * bf_stage_weight(at->order, u) + half;
                struct bf_cal *cal = add(body, operand(at, u, 0) + other, lane);
                unsigned acc = (unsigned)(2 * u + p);
                cal->negate_product = half == 1 && p == 0;
                if (half == 0) {
                    to_acc(cal, acc);
                } else {
                    plus_acc(cal, acc);
                    to_ram(cal, result(at, u, 0) + p * at->words, RESULT);
                }
            }
        }
    }
}

unsigned bf_stages_body(const struct bf_plan *plan, int stmt, int64_t from, int64_t to,
                        struct bf_cal cal[BF_MAX_BODY]) {
    const struct bf_poly_kernel *kernel = plan->kernel;
    struct bf_stage_order order;
    bf_stage_order(plan, stmt, &order);
    struct place at = {.order = &order,
                       .unroll = order.low * order.high,
                       .words = bf_plan_int(plan, "words"),
                       .from = from,
                       .to = to,
                       .lane = bf_stage_lane_base(plan, stmt)};
    struct body body = {cal, 0};
    bool last = stmt == (int)kernel->stmts.count - 2, im = !last || kernel->outputs.count > 1;
    if (bf_scaled_form(kernel, stmt) == BF_FORM_SCALED)
        scaled_body(&body, &at);
    else if (kernel->kind == BF_KERNEL_BUTTERFLY)
        butterfly_body(&body, &at, bf_stage_has_bias(plan, stmt));
    else if (order.radix == 1)
        multiply_body(&body, &at, im);
    else if (order.trivial)
        trivial_body(&body, &at, im, bf_ints_get(&kernel->attrs, "inverse"));
    else if (order.radix == 2)
        fft2_body(&body, &at, im);
    else
        fft_odd_body(&body, &at, im);
    return body.count;
}
