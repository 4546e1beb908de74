/* stages_body.c - the CAL instructions of one stage. Unrolled butterflies are interleaved, so that an
 * accumulator is read fma_latency slots after it was written. */
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

/* y_i = w00 x_i + w01 x_j + b_i, y_j = w10 x_i + w11 x_j + b_j, in place. */
static void butterfly_body(struct body *body, const struct bf_stage_order *order, int64_t unroll,
                           int64_t from, int64_t to, int64_t lane, bool bias) {
    int64_t each = bias ? 6 : 4;
    for (int64_t u = 0; u < unroll; u++) {
        int64_t i = from + bf_stage_word(order, u), w = lane + each * u;
        for (int out = 0; out < 2; out++) {
            struct bf_cal *cal = add(body, i, w + out * (bias ? 2 : 1));
            to_acc(cal, (unsigned)(2 * u + out));
            if (bias)
                cal->c = BF_C_LANE << 8 | 1;
        }
    }
    for (int64_t u = 0; u < unroll; u++) {
        int64_t word = bf_stage_word(order, u), w = lane + each * u + (bias ? 4 : 2);
        for (int out = 0; out < 2; out++) {
            struct bf_cal *cal = add(body, from + word + order->stride, w + out);
            plus_acc(cal, (unsigned)(2 * u + out));
            to_ram(cal, to + word + out * order->stride, DATA);
        }
    }
}

/* y_i = x_i + W x_j, y_j = 2 x_i - y_i, into the other region. im: whether the imaginary part of the
 * result is wanted. */
static void fft2_body(struct body *body, const struct bf_stage_order *order, int64_t unroll,
                      int64_t words, int64_t from, int64_t to, int64_t lane, bool im) {
    int planes = im ? 2 : 1;
    for (int half = 0; half < 2; half++) {
        for (int64_t u = 0; u < unroll; u++) {
            for (int p = 0; p < planes; p++) {
                int64_t i = bf_stage_word(order, u), j = i + order->stride;
                int64_t other = half ? (1 - p) * words : p * words;
                struct bf_cal *cal = add(body, from + j + other, lane + 2 * u + half);
                unsigned acc = (unsigned)(2 * u + p);
                to_acc(cal, acc);
                if (half == 0) {
                    plus_word(cal, from + i + p * words);
                } else {
                    cal->negate_product = p == 0; /* re -= w_im x_im, im += w_im x_re */
                    plus_acc(cal, acc);
                    to_ram(cal, to + i + p * words, DATA);
                }
            }
        }
    }
    for (int64_t u = 0; u < unroll; u++) {
        for (int p = 0; p < planes; p++) {
            int64_t i = bf_stage_word(order, u);
            struct bf_cal *cal = add(body, from + i + p * words, BF_B_TWO);
            cal->b_kind = BF_B_CONST;
            cal->b_class = 0;
            plus_acc(cal, (unsigned)(2 * u + p));
            cal->negate_addend = true;
            to_ram(cal, to + i + order->stride + p * words, DATA);
        }
    }
}

/* One result of a radix-r butterfly: y_q = x_0 + sum over j of W x_j. Level 0 of the block counts q. */
static void fft_odd_body(struct body *body, const struct bf_stage_order *order, int64_t words,
                         int64_t from, int64_t to, int64_t lane, bool im) {
    int planes = im ? 2 : 1;
    for (int64_t j = 1; j < order->radix; j++) {
        for (int half = 0; half < 2; half++) {
            for (int p = 0; p < planes; p++) {
                int64_t other = half ? (1 - p) * words : p * words;
                struct bf_cal *cal =
                    add(body, from + j * order->stride + other, lane + 2 * (j - 1) + half);
                cal->negate_product = half == 1 && p == 0;
                if (j == 1 && half == 0)
                    plus_word(cal, from + p * words);
                else
                    plus_acc(cal, (unsigned)p);
                if (j == order->radix - 1 && half == 1)
                    to_ram(cal, to + p * words, RESULT);
                else
                    to_acc(cal, (unsigned)p);
            }
        }
    }
}

unsigned bf_stages_body(const struct bf_plan *plan, int stmt, int64_t from, int64_t to,
                        struct bf_cal cal[BF_MAX_BODY]) {
    const struct bf_poly_kernel *kernel = plan->kernel;
    struct bf_stage_order order = bf_stage_order(plan, stmt);
    int64_t lane = bf_stage_lane_base(plan, stmt), unroll = order.low * order.high;
    int64_t words = bf_plan_int(plan, "words");
    struct body body = {cal, 0};
    bool last = stmt == (int)kernel->stmts.count - 2;
    if (kernel->kind == BF_KERNEL_BUTTERFLY)
        butterfly_body(&body, &order, unroll, from, to, lane, bf_stage_has_bias(plan, stmt));
    else if (order.radix == 2)
        fft2_body(&body, &order, unroll, words, from, to, lane, !last || kernel->outputs.count > 1);
    else
        fft_odd_body(&body, &order, words, from, to, lane, !last || kernel->outputs.count > 1);
    return body.count;
}
