#include "ir/stages.h"

void bf_stage_digits(const struct bf_plan *plan, const struct bf_layout *layout, unsigned pe,
                     int64_t word, int64_t values[BF_MAX_DIGITS]) {
    memset(values, 0, BF_MAX_DIGITS * sizeof *values);
    int64_t set = bf_plan_int(plan, "set");
    for (size_t i = 0; i < layout->digits.count; i++) {
        const struct bf_layout_digit *at = &layout->digits.data[i];
        int64_t radix = plan->kernel->digits.data[at->digit].radix;
        switch (at->where) {
        case BF_AT_LANE:
            break;
        case BF_AT_TILE:
            if (at->position > 0)
                values[at->digit] = set / at->position % radix;
            break;
        case BF_AT_PE:
            values[at->digit] = pe >> at->position & 1;
            break;
        case BF_AT_LOCAL:
            values[at->digit] = word / at->position % radix;
            break;
        }
    }
}

int64_t bf_stage_index(const struct bf_poly_kernel *kernel, const int64_t values[BF_MAX_DIGITS],
                       enum bf_role role) {
    int64_t index = 0;
    for (size_t d = 0; d < kernel->digits.count; d++) {
        const struct bf_digit *digit = &kernel->digits.data[d];
        index += values[d] * (role == BF_READ ? digit->weight : digit->out_weight);
    }
    return index;
}

const struct bf_layout *bf_stage_layout(const struct bf_plan *plan, int stmt) {
    for (size_t i = 0; i < plan->layouts.count; i++)
        if (plan->layouts.data[i].first <= stmt && stmt <= plan->layouts.data[i].last)
            return &plan->layouts.data[i];
    return NULL;
}

int64_t bf_stage_stride(const struct bf_layout *layout, int digit) {
    for (size_t i = 0; i < layout->digits.count; i++)
        if (layout->digits.data[i].digit == digit && layout->digits.data[i].where == BF_AT_LOCAL)
            return layout->digits.data[i].position;
    return -1;
}

struct bf_stage_order bf_stage_order(const struct bf_plan *plan, int stmt) {
    int digit = plan->kernel->stmts.data[stmt].digit;
    struct bf_stage_order order;
    order.radix = plan->kernel->digits.data[digit].radix;
    order.stride = bf_stage_stride(bf_stage_layout(plan, stmt), digit);
    int64_t high = bf_plan_int(plan, "words") / (order.stride * order.radix);
    int64_t unroll = order.radix == 2 ? bf_plan_int(plan, "unroll") : 1;
    for (;; unroll /= 2) {
        order.low = unroll < order.stride ? unroll : order.stride;
        order.high = unroll / order.low;
        if (order.stride % order.low == 0 && order.low * order.high == unroll &&
            high % order.high == 0)
            break;
    }
    order.trips_low = order.stride / order.low;
    order.trips_high = high / order.high;
    return order;
}

int64_t bf_stage_word(const struct bf_stage_order *order, int64_t k) {
    int64_t body = order->low * order->high;
    int64_t u = k % body, l = k / body % order->trips_low, h = k / body / order->trips_low;
    return (h * order->high + u / order->low) * order->stride * order->radix + l * order->low +
           u % order->low;
}

bool bf_stage_has_bias(const struct bf_plan *plan, int stmt) {
    const struct bf_poly_kernel *kernel = plan->kernel;
    return kernel->kind == BF_KERNEL_BUTTERFLY && stmt == (int)kernel->stmts.count - 2 &&
           bf_kernel_find_param(kernel, "bias");
}

int64_t bf_stage_lanes(const struct bf_plan *plan, int stmt) {
    const struct bf_poly_kernel *kernel = plan->kernel;
    const struct bf_stmt *s = &kernel->stmts.data[stmt];
    if (s->kind == BF_STMT_BPMM)
        return bf_stage_has_bias(plan, stmt) ? 6 : 4;
    if (s->kind != BF_STMT_FFT)
        return 0;
    int64_t radix = kernel->digits.data[s->digit].radix;
    return radix == 2 ? 2 : 2 * radix * (radix - 1);
}

int64_t bf_stage_lane_base(const struct bf_plan *plan, int stmt) {
    int64_t lanes = 0, words = bf_plan_int(plan, "words");
    for (int s = plan->first; s < stmt; s++) {
        if (bf_stage_lanes(plan, s)) {
            int digit = plan->kernel->stmts.data[s].digit;
            lanes += words / plan->kernel->digits.data[digit].radix * bf_stage_lanes(plan, s);
        }
    }
    return lanes;
}
