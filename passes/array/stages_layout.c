/* stages_layout.c - partition of butterflies and FFTs: where every digit lies while a stage runs.
 *
 *     N = 512, g = 4       PE        local              PE        local
 *     segment 0  B0..B4  d8 d7 d6 d5 | d4 d3 d2 d1 d0
 *     exchange           {d8 d7 d6 d5} <-> {d3 d2 d1 d0}
 *     segment 1  B5..B8                               d3 d2 d1 d0 | d8 d7 d6 d5 d4
 *
 * A pass through the scratchpad has one segment: its own digits are local, the others have the
 * value of (set << g) + PE. The last pass of an FFT sorts: each stage reads one layout and writes
 * the next,
 *
 *     before stage s   d<b> .. d<s> count time, in the order of the operand | d<s-1> .. d<a>
 * frequency
 *
 * so that what is stored lies in the order of the result.
 */
#include "passes/array/stages.h"

#include "ir/stages.h"

uint64_t bf_stages_first_pes(const struct bf_stages_shape *shape, int g) {
    uint64_t ones = (UINT64_C(1) << g) - 1;
    int first = bf_stages_acted(shape, 1), lowest = shape->m - shape->twos;
    bool high = first < lowest + shape->twos / 2;
    return ones << (high ? shape->m - g : lowest);
}

uint64_t bf_stages_next_pes(const struct bf_stages_shape *shape, int g, uint64_t pe) {
    uint64_t ones = (UINT64_C(1) << g) - 1;
    uint64_t low = ones << (shape->m - shape->twos), high = ones << (shape->m - g);
    return pe == high ? low : high;
}

static void place_digit(struct bf_layout *layout, int digit, enum bf_where where,
                        int64_t position) {
    *bf_push(&layout->digits) = (struct bf_layout_digit){digit, where, position};
}

static struct bf_layout new_layout(const struct bf_stages_shape *shape, int first, int last) {
    struct bf_layout layout = {.first = first, .last = last};
    for (int d = 0; d < shape->top; d++)
        place_digit(&layout, d, BF_AT_TILE, 0);
    return layout;
}

static int digit_of(const struct bf_stages_shape *shape, int k) {
    return shape->top + shape->m - 1 - k;
}

/* PE digits `pe`, local ones `local`, those of radix 2 first; the others fixed by the set. */
static void add_layout(struct bf_plan *plan, const struct bf_stages_shape *shape, int first,
                       int last, uint64_t pe, uint64_t local) {
    struct bf_layout layout = new_layout(shape, first, last);
    int64_t bit = 0, stride = 1, fixed = INT64_C(1) << __builtin_popcountll(pe);
    for (int i = 0; i < shape->m; i++) {
        int k = (i + shape->m - shape->twos) % shape->m, digit = digit_of(shape, k);
        if (pe >> k & 1) {
            place_digit(&layout, digit, BF_AT_PE, bit++);
        } else if (local >> k & 1) {
            place_digit(&layout, digit, BF_AT_LOCAL, stride);
            stride *= bf_stages_radix(shape, k);
        } else {
            place_digit(&layout, digit, BF_AT_TILE, fixed);
            fixed *= bf_stages_radix(shape, k);
        }
    }
    *bf_push(&plan->layouts) = layout;
}

/* A pass of a butterfly: the lowest digits that it leaves alone lie across the PEs. */
static void partition_pass(struct bf_plan *plan, const struct bf_stages_shape *shape) {
    uint64_t local = 0, pe = 0;
    int64_t g = bf_plan_int(plan, "pe_bits");
    for (int s = plan->first; s <= plan->last; s++)
        if (shape->kernel->stmts.data[s].digit >= 0)
            local |= UINT64_C(1) << bf_stages_acted(shape, s);
    for (int k = 0; k < shape->m && g > 0; k++) {
        if (!(local >> k & 1)) {
            pe |= UINT64_C(1) << k;
            g--;
        }
    }
    add_layout(plan, shape, plan->first, plan->last, pe, local);
}

/* A pass of an FFT with own digits d<a> .. d<b>, of which those before d<s> are sorted to the
 * front: they count frequency. */
static void add_pass_layout(struct bf_plan *plan, const struct bf_stages_shape *shape, int first,
                            int last, int a, int b, int s) {
    struct bf_layout layout = new_layout(shape, first, last);
    int64_t stride = 1, fixed = 1;
    for (int k = a; k < s; k++) {
        place_digit(&layout, digit_of(shape, k), BF_AT_LOCAL, stride);
        stride *= bf_stages_radix(shape, k);
    }
    for (int k = b; k >= s; k--) {
        place_digit(&layout, digit_of(shape, k), BF_AT_LOCAL, stride);
        stride *= bf_stages_radix(shape, k);
    }
    for (int k = 0; k < shape->m; k++) {
        if (k >= a && k <= b)
            continue;
        place_digit(&layout, digit_of(shape, k), BF_AT_TILE, fixed);
        fixed *= bf_stages_radix(shape, k);
    }
    *bf_push(&plan->layouts) = layout;
}

static void partition_fft_pass(struct bf_plan *plan, const struct bf_stages_shape *shape) {
    int a = (int)bf_plan_int(plan, "first_digit"), b = (int)bf_plan_int(plan, "last_digit");
    if (!bf_plan_int(plan, "sorted")) {
        bool sorted = bf_ints_find(&plan->ints, "order_in", 0);
        add_pass_layout(plan, shape, plan->first, plan->last, a, b, sorted ? b + 1 : a);
        return;
    }
    int stage = 1 + shape->before; /* of d0 */
    for (int k = a; k <= b; k++)
        add_pass_layout(plan, shape, k == a ? plan->first : stage + k, stage + k, a, b, k);
    add_pass_layout(plan, shape, stage + b + 1, shape->last + 1, a, b, b + 1);
}

bool bf_stages_partition(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    (void)map, (void)diags;
    struct bf_stages_shape shape = bf_stages_shape_of(plan->kernel);
    int last = (int)plan->kernel->stmts.count - 1, g = (int)bf_plan_int(plan, "pe_bits");
    if (bf_ints_find(&plan->ints, "sorted", -1) >= 0) {
        partition_fft_pass(plan, &shape);
        return true;
    }
    if (plan->first > 0 || plan->last < last) {
        partition_pass(plan, &shape);
        return true;
    }
    uint64_t all = (UINT64_C(1) << shape.m) - 1, pe = bf_stages_first_pes(&shape, g);
    int first = 0;
    for (int s = 1; s < last; s++) {
        if (pe >> bf_stages_acted(&shape, s) & 1) {
            add_layout(plan, &shape, first, s - 1, pe, all & ~pe);
            pe = bf_stages_next_pes(&shape, g, pe);
            first = s;
        }
    }
    add_layout(plan, &shape, first, last, pe, all & ~pe);
    return true;
}
