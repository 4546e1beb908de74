/* check_words.c - which RAM words, weight words and accumulators a block touches, found by running
 * its address generators through all its trips, for each slot of the window. */
#include "runtime/check_parts.h"

#include <stdlib.h>

int bf_set_common(const struct bf_set *a, const struct bf_set *b) {
    for (unsigned k = 0; k < BF_SET_WORDS; k++)
        if (a->bits[k] & b->bits[k])
            return (int)(64 * k + bf_log2_floor((a->bits[k] & b->bits[k]) &
                                                (~(a->bits[k] & b->bits[k]) + 1)));
    return -1;
}

int bf_set_missing(const struct bf_set *a, const struct bf_set *b) {
    struct bf_set other;
    for (unsigned k = 0; k < BF_SET_WORDS; k++)
        other.bits[k] = ~b->bits[k];
    return bf_set_common(a, &other);
}

bool bf_budget_spend(struct bf_budget *budget, uint64_t steps, struct bf_error *error) {
    if (steps > budget->steps) {
        budget->steps = 0;
        return bf_fail(error, BF_ERROR_MACHINE, "the program is too large for the order check");
    }
    budget->steps -= steps;
    return true;
}

static uint64_t runs(const struct bf_descriptor *d) {
    return (uint64_t)d->trips[0] * d->trips[1] * d->trips[2];
}

static void read_word(struct bf_touch *touch, uint32_t word) {
    bf_set_add(&touch->reads, word);
    if (!bf_set_has(&touch->writes, word))
        bf_set_add(&touch->exposed, word);
}

/* ---- CAL ---- */

struct addresses {
    const struct bf_machine *machine;
    const struct bf_launch *launch;
    const struct bf_descriptor *d;
    uint32_t start[BF_CLASSES], offset[BF_CLASSES];
    struct bf_touch *touch;
};

static uint32_t ram_word(const struct addresses *at, unsigned class, uint32_t address) {
    return (at->start[class] + address) % at->machine->data_ram;
}

/* Operand A or C in RAM. Where the instruction may swap, either of two words may be read. */
static void read_operand(const struct addresses *at, unsigned class, uint32_t address,
                         bool may_swap) {
    uint32_t word = ram_word(at, class, address);
    read_word(at->touch, word);
    if (may_swap)
        read_word(at->touch, (word ^ 1u << (at->d->cal.swap - 1)) % at->machine->data_ram);
}

static void read_acc(struct bf_touch *touch, unsigned acc, uint32_t halves) {
    touch->acc_exposed |= halves << 2 * acc & ~touch->acc_written;
}

static void read_weights(const struct addresses *at, const struct bf_cal *cal) {
    uint32_t word = cal->b + at->offset[cal->b_class];
    if (cal->b_kind == BF_B_LANE)
        word /= at->machine->lanes;
    uint32_t words = at->machine->weight_half << at->launch->one_weight_set;
    bf_set_add(&at->touch->weights, word % words);
}

static void touch_instruction(const struct addresses *at, const struct bf_cal *cal) {
    struct bf_touch *touch = at->touch;
    unsigned reads = bf_cal_operands(cal->op);
    bool weight = (reads & 2) && (cal->b_kind == BF_B_LANE || cal->b_kind == BF_B_WEIGHT);
    bool may_swap = at->d->cal.swap && (reads & 2) && cal->b_kind == BF_B_LANE;
    if (weight)
        read_weights(at, cal);
    if ((reads & 2) && cal->b_kind == BF_B_DATA)
        read_word(touch, ram_word(at, cal->b_class, cal->b));
    if ((reads & 1) && cal->a_class == BF_CLASS_SPECIAL)
        read_acc(touch, cal->a & 15, cal->op == BF_CAL_STLO ? 1 : cal->op == BF_CAL_STHI ? 2 : 3);
    else if (reads & 1)
        read_operand(at, cal->a_class, cal->a, may_swap);
    if ((reads & 4) && cal->c_class != BF_CLASS_SPECIAL)
        read_operand(at, cal->c_class, cal->c, may_swap);
    else if ((reads & 4) && cal->c >> 8 == BF_C_ACC)
        read_acc(touch, cal->c & 15, 3);
    if (cal->dst & BF_DST_RAM)
        bf_set_add(&touch->writes, ram_word(at, cal->d_class, cal->d));
    if (cal->dst & BF_DST_ACC)
        touch->acc_written |= (cal->op == BF_CAL_LDLO   ? 1u
                               : cal->op == BF_CAL_LDHI ? 2u
                                                        : 3u)
                              << 2 * cal->acc;
}

static bool touch_cal(const struct bf_kernel_check *check, const struct bf_order_node *node,
                      unsigned slot, struct bf_touch *touch, struct bf_error *error) {
    const struct bf_order *order = check->order;
    const struct bf_descriptor *d = &node->block->d;
    struct addresses at = {&order->program->machine, order->launch, d, {0}, {0}, touch};
    uint32_t context = bf_context(order->launch, slot);
    for (unsigned c = 0; c < BF_CLASSES; c++)
        at.start[c] = d->cal.relative >> c & 1 ? context : 0;
    struct bf_cal body[BF_MAX_BODY];
    const uint64_t *const *code =
        (const uint64_t *const *)check->code + (size_t)node->pe * at.machine->code_words;
    for (unsigned k = 0; k < d->cal.length && k < BF_MAX_BODY; k++) {
        unsigned pc = d->cal.start + k;
        if (pc >= at.machine->code_words || !code[pc])
            return bf_fail(error, BF_ERROR_INPUT, "%s: %s of %s: no CAL word %u is loaded",
                           order->kernel->name, bf_block_label(order->program, node->block).text,
                           bf_pe_label(order->program, node->pe).text, pc);
        if (!bf_cal_decode(*code[pc], &body[k], error))
            return false;
    }
    struct bf_loop loop = {{0}};
    for (int level = 0; level >= 0;) {
        for (unsigned k = 0; k < d->cal.length && k < BF_MAX_BODY; k++)
            touch_instruction(&at, &body[k]);
        level = bf_loop_next(&loop, d->trips);
        for (unsigned c = 0; level >= 0 && c < BF_CLASSES; c++) {
            at.start[c] += (uint32_t)(int32_t)d->cal.delta[c][level];
            at.offset[c] += (uint32_t)(int32_t)d->cal.delta[c][level];
        }
    }
    return true;
}

/* ---- LOAD, STORE, FLOW ---- */

static void touch_mem(const struct bf_order *order, const struct bf_order_node *node, unsigned slot,
                      struct bf_touch *touch) {
    const struct bf_descriptor *d = &node->block->d;
    uint32_t offset = 0;
    struct bf_loop loop = {{0}};
    for (int level = 0; level >= 0;) {
        uint32_t word =
            bf_mem_ram(order->launch, d, slot, offset, order->program->machine.data_ram);
        if (d->unit == BF_UNIT_LOAD)
            bf_set_add(&touch->writes, word);
        else
            read_word(touch, word);
        level = bf_loop_next(&loop, d->trips);
        if (level >= 0)
            offset += (uint32_t)(int32_t)d->mem.ram_delta[level];
    }
}

static void touch_flow(struct bf_kernel_check *check, const struct bf_order_node *node,
                       unsigned slot, struct bf_touch *touch) {
    const struct bf_order *order = check->order;
    const struct bf_descriptor *d = &node->block->d;
    struct bf_touch *arrivals[BF_MAX_PES] = {0};
    for (unsigned k = 0; k < node->arrivals; k++) {
        size_t a = node->first_arrival + k;
        struct bf_touch *arrival = bf_arena_alloc(&check->arena, sizeof *arrival);
        check->arrival[a * order->window + slot] = arrivals[order->arrivals[a].receiver] = arrival;
    }
    uint32_t source = 0, destination = 0;
    struct bf_loop loop = {{0}};
    for (int level = 0; level >= 0;) {
        struct bf_hop hop = bf_flow_hop(order->program, order->launch, d, node->pe, slot, &loop,
                                        source, destination);
        read_word(touch, hop.source);
        if (hop.receiver < order->pes)
            bf_set_add(&arrivals[hop.receiver]->writes, hop.destination);
        level = bf_loop_next(&loop, d->trips);
        if (level >= 0) {
            source += (uint32_t)(int32_t)d->flow.source_delta[level];
            destination += (uint32_t)(int32_t)d->flow.destination_delta[level];
        }
    }
}

/* ---- all blocks of a kernel ---- */

static void find_code(struct bf_kernel_check *check) {
    const struct bf_order *order = check->order;
    size_t store = order->program->machine.code_words;
    check->code = bf_arena_alloc(&check->arena, order->pes * store * sizeof *check->code);
    for (size_t s = 0; s < order->kernel->segment_count; s++) {
        const struct bf_segment *segment = &order->kernel->segments[s];
        for (unsigned p = 0; p < order->pes; p++)
            for (unsigned w = 0; (segment->pes >> p & 1) && w < segment->count; w++)
                if (segment->start + w < store)
                    check->code[p * store + segment->start + w] = &segment->words[w];
    }
}

/* Do a block's addresses not depend on which of the two PEs runs it? */
static bool same_touch(const struct bf_kernel_check *check, const struct bf_order_node *a,
                       const struct bf_order_node *b) {
    size_t store = check->order->program->machine.code_words;
    const struct bf_descriptor *d = &a->block->d;
    if (a->block != b->block || d->unit == BF_UNIT_FLOW)
        return false;
    return d->unit != BF_UNIT_CAL || d->cal.start + d->cal.length > store ||
           memcmp(&check->code[a->pe * store + d->cal.start],
                  &check->code[b->pe * store + d->cal.start],
                  d->cal.length * sizeof *check->code) == 0;
}

bool bf_touch_kernel(struct bf_kernel_check *check, struct bf_budget *budget,
                     struct bf_error *error) {
    struct bf_order *order = check->order;
    unsigned window = order->window, last[BF_BLOCKS];
    find_code(check);
    check->touch =
        bf_arena_alloc(&check->arena, (size_t)order->node_count * window * sizeof *check->touch);
    check->arrival =
        bf_arena_alloc(&check->arena, order->arrival_count * window * sizeof *check->arrival);
    memset(last, 0xff, sizeof last);
    for (unsigned n = 0; n < order->node_count; n++) {
        const struct bf_order_node *node = &order->nodes[n];
        unsigned *like = &last[node->block->id];
        bool copy = *like != BF_NO_NODE && same_touch(check, &order->nodes[*like], node);
        uint64_t length = node->block->d.unit == BF_UNIT_CAL ? node->block->d.cal.length : 1;
        for (unsigned slot = 0; slot < window; slot++) {
            struct bf_touch **touch = &check->touch[(size_t)n * window + slot];
            if (copy) {
                *touch = check->touch[(size_t)*like * window + slot];
                continue;
            }
            *touch = bf_arena_alloc(&check->arena, sizeof **touch);
            if (!bf_budget_spend(budget, runs(&node->block->d) * length, error))
                return false;
            if (node->block->d.unit == BF_UNIT_FLOW)
                touch_flow(check, node, slot, *touch);
            else if (node->block->d.unit != BF_UNIT_CAL)
                touch_mem(order, node, slot, *touch);
            else if (!touch_cal(check, node, slot, *touch, error))
                return false;
        }
        *like = n;
    }
    return true;
}
