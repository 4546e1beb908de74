#include "ir/stages.h"

#include "ir/scaled.h"

void bf_stage_digits(const struct bf_plan *plan, const struct bf_layout *layout, unsigned pe,
                     int64_t word, int64_t values[BF_MAX_DIGITS]) {
    memset(values, 0, BF_MAX_DIGITS * sizeof *values);
    int64_t fixed = (bf_plan_int(plan, "set") << bf_plan_int(plan, "pe_bits")) + pe;
    for (size_t i = 0; i < layout->digits.count; i++) {
        const struct bf_layout_digit *at = &layout->digits.data[i];
        int64_t radix = plan->kernel->digits.data[at->digit].radix;
        switch (at->where) {
        case BF_AT_LANE:
            break;
        case BF_AT_TILE:
            if (at->position > 0)
                values[at->digit] = fixed / at->position % radix;
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

int64_t bf_stage_element(const struct bf_plan *plan, const int64_t values[BF_MAX_DIGITS],
                         enum bf_role role) {
    const char *order = role == BF_READ ? "order_in" : "order_out";
    if (!bf_ints_find(&plan->ints, order, 0))
        return bf_stage_index(plan->kernel, values, BF_READ);
    return bf_stage_index(plan->kernel, values, BF_WRITE) +
           bf_plan_int(plan, "stack") * bf_ints_get(&plan->kernel->attrs, "n");
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

const struct bf_layout *bf_stage_result_layout(const struct bf_plan *plan, int stmt) {
    const struct bf_layout *layout = bf_stage_layout(plan, stmt);
    bool sorts = bf_ints_find(&plan->ints, "sorted", 0) && stmt == layout->last &&
                 layout + 1 < plan->layouts.data + plan->layouts.count;
    return sorts ? layout + 1 : layout;
}

/* A digit that a stage leaves alone. */
struct kept {
    int64_t radix, from, to;
    bool weighted;
};

/* The root of unity that a stage multiplies by: any, or among 1 and -i (i). */
enum roots { ROOTS_ANY, ROOTS_ONE, ROOTS_QUARTER };

/* Twiddles depend on the digits that already count frequency. */
static bool is_weighted(const struct bf_plan *plan, int acted, int digit, enum roots roots) {
    const struct bf_poly_kernel *kernel = plan->kernel;
    if (roots != ROOTS_ANY)
        return roots == ROOTS_QUARTER && kernel->digits.data[digit].out_weight == 1;
    return kernel->kind != BF_KERNEL_FFT || acted < 0 || !bf_ints_find(&plan->ints, "shared", 0) ||
           kernel->digits.data[digit].out_weight < kernel->digits.data[acted].out_weight;
}

/* The local digits but the acted one, in order of their stride, joined where they continue each
 * other in both regions. */
static int kept_digits(const struct bf_plan *plan, int stmt, enum roots roots,
                       struct kept kept[BF_MAX_DIGITS]) {
    const struct bf_layout *from = bf_stage_layout(plan, stmt);
    const struct bf_layout *to = bf_stage_result_layout(plan, stmt);
    int acted = plan->kernel->stmts.data[stmt].digit, count = 0, joined = 0;
    for (size_t i = 0; i < from->digits.count; i++) {
        const struct bf_layout_digit *at = &from->digits.data[i];
        if (at->where != BF_AT_LOCAL || at->digit == acted)
            continue;
        struct kept k = {plan->kernel->digits.data[at->digit].radix, at->position,
                         bf_stage_stride(to, at->digit),
                         is_weighted(plan, acted, at->digit, roots)};
        int j = count++;
        for (; j > 0 && kept[j - 1].from > k.from; j--)
            kept[j] = kept[j - 1];
        kept[j] = k;
    }
    for (int i = 0; i < count; i++) {
        struct kept *before = joined ? &kept[joined - 1] : NULL;
        if (before && kept[i].from == before->from * before->radix &&
            kept[i].to == before->to * before->radix && kept[i].weighted == before->weighted)
            before->radix *= kept[i].radix;
        else
            kept[joined++] = kept[i];
    }
    return joined;
}

/* The most butterflies a body may have, taken from the inner loop first. */
static void unroll(struct bf_stage_order *order, int64_t most) {
    for (int64_t u = most;; u /= 2) {
        for (order->low = u; order->low >= 1; order->low /= 2) {
            order->high = u / order->low;
            if (order->inner.trips % order->low == 0 && order->outer.trips % order->high == 0)
                return;
        }
    }
}

static bool order_with(const struct bf_plan *plan, int stmt, enum roots roots,
                       struct bf_stage_order *order) {
    int digit = plan->kernel->stmts.data[stmt].digit;
    struct kept kept[BF_MAX_DIGITS];
    int count = kept_digits(plan, stmt, roots, kept);
    memset(order, 0, sizeof *order);
    order->radix = order->from_stride = order->to_stride = 1;
    if (digit >= 0) {
        order->radix = plan->kernel->digits.data[digit].radix;
        order->from_stride = bf_stage_stride(bf_stage_layout(plan, stmt), digit);
        order->to_stride = bf_stage_stride(bf_stage_result_layout(plan, stmt), digit);
    }
    order->inner = order->outer = (struct bf_stage_loop){1, 0, 0, false};
    if (count > 0)
        order->inner =
            (struct bf_stage_loop){kept[0].radix, kept[0].from, kept[0].to, kept[0].weighted};
    if (count > 1)
        order->outer =
            (struct bf_stage_loop){kept[1].radix, kept[1].from, kept[1].to, kept[1].weighted};
    int64_t most = bf_plan_int(plan, "unroll"), slots = 4 * (order->radix - 1);
    while (order->radix > 2 && most > 1 && most * slots > BF_MAX_BODY)
        most /= 2;
    if (order->outer.weighted && roots == ROOTS_QUARTER) {
        order->low = most > 2 && order->inner.trips % (most / 2) == 0 ? most / 2 : 1;
        order->high = 2;
    } else {
        unroll(order, most);
    }
    order->trips_low = order->inner.trips / order->low;
    order->trips_high = order->outer.trips / order->high;
    return count <= 2;
}

/* Stride of the digit that says whether the root of a second stage is 1 or -i; -1: not local. */
static int64_t quarter_stride(const struct bf_plan *plan, int stmt) {
    const struct bf_poly_kernel *kernel = plan->kernel;
    for (size_t d = 0; d < kernel->digits.count; d++)
        if (kernel->digits.data[d].name[0] == 'd' && kernel->digits.data[d].out_weight == 1 &&
            kernel->digits.data[d].radix == 2)
            return bf_stage_stride(bf_stage_layout(plan, stmt), (int)d);
    return -1;
}

static bool trivial_order(const struct bf_plan *plan, int stmt, struct bf_stage_order *order) {
    const struct bf_poly_kernel *kernel = plan->kernel;
    int acted = kernel->stmts.data[stmt].digit;
    if (kernel->kind != BF_KERNEL_FFT || acted < 0 || kernel->digits.data[acted].radix != 2)
        return false;
    int64_t done = kernel->digits.data[acted].out_weight;
    int64_t quarter = done == 2 ? quarter_stride(plan, stmt) : 0;
    if (done > 2 || quarter < 0)
        return false;
    if (!order_with(plan, stmt, quarter ? ROOTS_QUARTER : ROOTS_ONE, order))
        return false;
    order->trivial = true;
    order->quarter = quarter;
    return !quarter || (order->inner.weighted && order->trips_low == 1) ||
           (order->outer.weighted && order->trips_high == 1);
}

bool bf_stage_order(const struct bf_plan *plan, int stmt, struct bf_stage_order *order) {
    return trivial_order(plan, stmt, order) || order_with(plan, stmt, ROOTS_ANY, order);
}

bool bf_stage_is_quarter(const struct bf_stage_order *order, int64_t u) {
    return order->quarter && bf_stage_operand_word(order, u) / order->quarter % 2;
}

bool bf_stage_computes(const struct bf_plan *plan, int stmt) {
    enum bf_stmt_kind kind = plan->kernel->stmts.data[stmt].kind;
    return kind == BF_STMT_BPMM || kind == BF_STMT_FFT;
}

int64_t bf_stage_operand_word(const struct bf_stage_order *order, int64_t u) {
    return u / order->low * order->outer.from + u % order->low * order->inner.from;
}

int64_t bf_stage_result_word(const struct bf_stage_order *order, int64_t u) {
    return u / order->low * order->outer.to + u % order->low * order->inner.to;
}

int64_t bf_stage_weight(const struct bf_stage_order *order, int64_t u) {
    int64_t wide = order->inner.weighted ? order->low : 1;
    return (order->outer.weighted ? u / order->low * wide : 0) +
           (order->inner.weighted ? u % order->low : 0);
}

int64_t bf_stage_body_weights(const struct bf_stage_order *order) {
    return (order->inner.weighted ? order->low : 1) * (order->outer.weighted ? order->high : 1);
}

int64_t bf_stage_weight_bodies(const struct bf_stage_order *order) {
    return (order->inner.weighted ? order->trips_low : 1) *
           (order->outer.weighted ? order->trips_high : 1);
}

int64_t bf_stage_weight_word(const struct bf_stage_order *order, int64_t k) {
    int64_t each = bf_stage_body_weights(order), body = k / each, v = k % each;
    int64_t wide = order->inner.weighted ? order->low : 1;
    int64_t trips = order->inner.weighted ? order->trips_low : 1;
    int64_t l = body % trips * order->low + v % wide;
    int64_t h = body / trips * order->high + v / wide;
    return h * order->outer.from + l * order->inner.from;
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
        return bf_scaled_form(kernel, stmt) == BF_FORM_SCALED ? 2
               : bf_stage_has_bias(plan, stmt)                ? 6
                                                              : 4;
    if (s->kind != BF_STMT_FFT)
        return 0;
    struct bf_stage_order order;
    if (trivial_order(plan, stmt, &order))
        return 0;
    int64_t radix = s->digit < 0 ? 2 : kernel->digits.data[s->digit].radix;
    return radix == 2 ? 2 : 2 * radix * (radix - 1);
}

int64_t bf_stage_lane_base(const struct bf_plan *plan, int stmt) {
    int64_t lanes = 0;
    for (int s = plan->first; s < stmt; s++) {
        struct bf_stage_order order;
        if (bf_stage_lanes(plan, s) && bf_stage_order(plan, s, &order))
            lanes += bf_stage_weight_bodies(&order) * bf_stage_body_weights(&order) *
                     bf_stage_lanes(plan, s);
    }
    return lanes;
}
