/* check_order.c - happens-before between the block instances of a launch.
 *
 * Events and the arrows between them, iteration to iteration:
 *
 *   start x -> end x                      start x -> arrival x,q
 *   end x -> start t                      for each target t of x, same iteration
 *   arrival x,q -> start t                for the block t of q that x's words give tokens to
 *   start x -> start x', end x -> end x', arrival -> arrival'
 *                                         x' follows x in the same unit, where that is certain: the
 *                                         same block in its next iteration, the block it chains
 *                                         to, the next CAL block of a strict launch
 *
 * That tokens make arrows needs every counter to get exactly `need` tokens, which is checked first.
 * Units work in order, hence end -> end; words of one sender to one receiver keep their order,
 * hence arrival -> arrival. In one unit two blocks never overlap, so that start x -> start y means
 * all of x issues before y; as each unit's effects come in the order of its issues (inside CAL by
 * interlock), accesses of one unit need only that.
 *
 * Retirement (end x of iteration i -> start y of iteration i + W) is left out of the graph: every
 * arrow leads to the same or a later iteration, so paths between instances less than W iterations
 * apart cannot use it, and instances further apart are ordered by it alone. (An arrival comes
 * before the retirement, since the block that gets its tokens ends after it.) So is the loading of
 * weight sets, which only adds order.
 *
 * Everything depends on the phase of the iteration only; what can be reached from an event is
 * computed for each phase once, over W iterations.
 */
#include "runtime/check_parts.h"

#include <stdlib.h>

/* ---- building ---- */

static void add_nodes(struct bf_order *order) {
    for (unsigned p = 0; p < order->pes; p++)
        for (unsigned id = 0; id < BF_BLOCKS; id++)
            order->node_of[p][id] = BF_NO_NODE;
    for (size_t b = 0; b < order->kernel->block_count; b++)
        if (!bf_is_weight_load(&order->kernel->blocks[b]))
            for (unsigned p = 0; p < order->pes; p++)
                if (order->kernel->blocks[b].pes >> p & 1)
                    order->node_of[p][order->kernel->blocks[b].id] = (unsigned)b;
    order->nodes = bf_alloc((size_t)order->pes * BF_BLOCKS * sizeof *order->nodes);
    for (unsigned p = 0; p < order->pes; p++)
        for (unsigned id = 0; id < BF_BLOCKS; id++)
            if (order->node_of[p][id] != BF_NO_NODE) {
                const struct bf_block *block = &order->kernel->blocks[order->node_of[p][id]];
                order->node_of[p][id] = order->node_count;
                order->nodes[order->node_count++] = (struct bf_order_node){.pe = p, .block = block};
            }
}

/* Words each PE gets from a FLOW; the iteration does not matter. */
static void count_words(const struct bf_order *order, const struct bf_order_node *node,
                        uint32_t words[BF_MAX_PES]) {
    const struct bf_descriptor *d = &node->block->d;
    memset(words, 0, BF_MAX_PES * sizeof *words);
    for (unsigned k = 0; k < d->trips[1]; k++) {
        struct bf_loop loop = {{0, (uint16_t)k, 0}};
        struct bf_hop hop = bf_flow_hop(order->program, order->launch, d, node->pe, 0, &loop, 0, 0);
        if (hop.receiver < order->pes)
            words[hop.receiver] += (uint32_t)d->trips[0] * d->trips[2];
    }
}

static void add_arrivals(struct bf_order *order) {
    struct {
        struct bf_order_arrival *data;
        size_t count, capacity;
    } list = {0};
    for (unsigned n = 0; n < order->node_count; n++) {
        struct bf_order_node *node = &order->nodes[n];
        node->first_arrival = (unsigned)list.count;
        uint32_t words[BF_MAX_PES];
        if (node->block->d.unit != BF_UNIT_FLOW)
            continue;
        count_words(order, node, words);
        for (unsigned q = 0; q < order->pes; q++)
            if (words[q])
                *bf_push(&list) = (struct bf_order_arrival){n, q, words[q]};
        node->arrivals = (unsigned)list.count - node->first_arrival;
    }
    order->arrivals = list.data;
    order->arrival_count = list.count;
}

struct bf_order *bf_order_create(const struct bf_program *program, const struct bf_launch *launch) {
    struct bf_order *order = bf_alloc(sizeof *order);
    order->program = program;
    order->launch = launch;
    order->kernel = &program->kernels[launch->kernel];
    order->pes = bf_machine_pes(&program->machine);
    order->window = launch->window;
    order->iterations = bf_launch_iterations(launch);
    order->node_of = bf_alloc(order->pes * sizeof *order->node_of);
    add_nodes(order);
    add_arrivals(order);
    size_t events = 2 * (size_t)order->node_count + order->arrival_count;
    order->reached = bf_alloc(events * launch->period * sizeof *order->reached);
    order->visited = bf_alloc(events * order->window);
    return order;
}

void bf_order_free(struct bf_order *order) {
    if (!order)
        return;
    bf_arena_free(&order->arena);
    free(order->visited);
    free(order->reached);
    free(order->arrivals);
    free(order->nodes);
    free(order->node_of);
    free(order);
}

/* ---- reachability ---- */

struct search {
    struct bf_order *order;
    unsigned phase; /* of the source's iteration */
    struct {
        struct {
            uint32_t event;
            unsigned distance; /* iterations after the source */
        } *data;
        size_t count, capacity;
    } pending;
};

static uint32_t end_event(const struct bf_order *order, unsigned node) {
    return order->node_count + node;
}
static uint32_t arrival_event(const struct bf_order *order, uint32_t arrival) {
    return 2 * order->node_count + arrival;
}

static bool exists_at(const struct search *search, unsigned node, unsigned distance) {
    const struct bf_order *order = search->order;
    unsigned phase = (search->phase + distance) % order->launch->period;
    return bf_block_in_phase(order->nodes[node].block, phase);
}

static void visit(struct search *search, uint32_t event, unsigned distance) {
    uint8_t *seen = &search->order->visited[(size_t)event * search->order->window + distance];
    if (*seen)
        return;
    *seen = 1;
    bf_push(&search->pending)->event = event;
    search->pending.data[search->pending.count - 1].distance = distance;
}

/* The next CAL block of a strict launch. */
static bool strict_next(const struct search *search, unsigned node, unsigned *distance,
                        unsigned *next) {
    const struct bf_order *order = search->order;
    unsigned pe = order->nodes[node].pe, id = order->nodes[node].block->id + 1u;
    for (unsigned at = *distance; at < order->window; at++, id = 0)
        for (; id < BF_FIRST_LOAD; id++) {
            *next = order->node_of[pe][id];
            if (*next != BF_NO_NODE && exists_at(search, *next, at)) {
                *distance = at;
                return true;
            }
        }
    return false;
}

/* From an event of `node` to the same event of the instances that follow in its unit. `base` makes
 * the event's number from the node's. */
static void visit_followers(struct search *search, unsigned node, unsigned distance,
                            uint32_t base) {
    const struct bf_order *order = search->order;
    const struct bf_descriptor *d = &order->nodes[node].block->d;
    for (unsigned at = distance + 1; at < order->window; at++)
        if (exists_at(search, node, at)) {
            visit(search, base + node, at);
            break;
        }
    if (d->unit != BF_UNIT_CAL)
        return;
    unsigned next = order->nodes[node].block->id + 1u;
    if (d->cal.chain && next < BF_FIRST_LOAD &&
        order->node_of[order->nodes[node].pe][next] != BF_NO_NODE)
        visit(search, base + order->node_of[order->nodes[node].pe][next], distance);
    unsigned at = distance;
    if (order->launch->strict && strict_next(search, node, &at, &next))
        visit(search, base + next, at);
}

static void visit_start(struct search *search, unsigned pe, unsigned id, unsigned distance) {
    unsigned node = search->order->node_of[pe][id];
    if (node != BF_NO_NODE)
        visit(search, node, distance);
}

static void expand(struct search *search, uint32_t event, unsigned distance) {
    const struct bf_order *order = search->order;
    if (event < order->node_count) {
        const struct bf_order_node *node = &order->nodes[event];
        visit(search, end_event(order, event), distance);
        for (unsigned k = 0; k < node->arrivals; k++)
            visit(search, arrival_event(order, node->first_arrival + k), distance);
        visit_followers(search, event, distance, 0);
    } else if (event < 2 * order->node_count) {
        unsigned node = event - order->node_count;
        const struct bf_block *block = order->nodes[node].block;
        for (unsigned t = 0; t < BF_TARGETS; t++)
            if (block->d.target[t] != BF_NO_BLOCK)
                visit_start(search, order->nodes[node].pe, block->d.target[t], distance);
        visit_followers(search, node, distance, order->node_count);
    } else {
        const struct bf_order_arrival *arrival = &order->arrivals[event - 2 * order->node_count];
        const struct bf_block *block = order->nodes[arrival->node].block;
        if (block->d.flow.token != BF_NO_BLOCK)
            visit_start(search, arrival->receiver, block->d.flow.token, distance);
        for (unsigned at = distance + 1; at < order->window; at++)
            if (exists_at(search, arrival->node, at)) {
                visit(search, event, at);
                break;
            }
    }
}

/* Bits [node x window + distance] of the starts that come after `event` in an iteration of `phase`.
 */
static const uint64_t *reached_from(struct bf_order *order, uint32_t event, unsigned phase) {
    uint64_t **memo = &order->reached[(size_t)event * order->launch->period + phase];
    if (*memo)
        return *memo;
    size_t starts = (size_t)order->node_count * order->window;
    *memo = bf_arena_alloc(&order->arena, bf_divide_up(starts, 64) * sizeof **memo);
    memset(order->visited, 0,
           (2 * (size_t)order->node_count + order->arrival_count) * order->window);
    struct search search = {.order = order, .phase = phase};
    visit(&search, event, 0);
    while (search.pending.count) {
        search.pending.count--;
        expand(&search, search.pending.data[search.pending.count].event,
               search.pending.data[search.pending.count].distance);
    }
    free(search.pending.data);
    for (size_t bit = 0; bit < starts; bit++)
        (*memo)[bit / 64] |= (uint64_t)order->visited[bit] << bit % 64;
    return *memo;
}

bool bf_order_before(struct bf_order *order, struct bf_accessor x, uint64_t i, struct bf_accessor y,
                     uint64_t j) {
    if (j < i)
        return false;
    if (j - i >= order->window)
        return true;
    const struct bf_order_node *a = &order->nodes[x.node], *b = &order->nodes[y.node];
    bool own = x.arrival == BF_NO_NODE && y.arrival == BF_NO_NODE;
    bool same_route = x.arrival != BF_NO_NODE && y.arrival != BF_NO_NODE;
    uint32_t event = end_event(order, x.node);
    if (a->pe == b->pe && a->block->d.unit == b->block->d.unit && (own || same_route))
        event = x.node;
    else if (x.arrival != BF_NO_NODE)
        event = arrival_event(order, x.arrival);
    const uint64_t *reached = reached_from(order, event, bf_launch_phase(order->launch, i));
    size_t bit = (size_t)y.node * order->window + (j - i);
    return reached[bit / 64] >> bit % 64 & 1;
}

struct bf_label bf_instance_label(const struct bf_order *order, unsigned node, uint64_t iteration) {
    struct bf_label label = bf_block_label(order->program, order->nodes[node].block);
    size_t length = strlen(label.text);
    snprintf(label.text + length, sizeof label.text - length, " in iteration %llu",
             (unsigned long long)iteration);
    return label;
}

/* ---- tokens ---- */

static bool give(const struct bf_order *order, unsigned from, unsigned pe, unsigned id,
                 unsigned phase, uint32_t count, uint64_t *tokens, struct bf_error *error) {
    unsigned node = order->node_of[pe][id];
    if (node == BF_NO_NODE || !bf_block_in_phase(order->nodes[node].block, phase))
        return bf_fail(error, BF_ERROR_MACHINE,
                       "%s: order: %s of %s gives a token to block %u of %s, which is absent in "
                       "phase %u",
                       order->kernel->name,
                       bf_block_label(order->program, order->nodes[from].block).text,
                       bf_pe_label(order->program, order->nodes[from].pe).text, id,
                       bf_pe_label(order->program, pe).text, phase);
    tokens[node] += count;
    return true;
}

static bool give_all(const struct bf_order *order, unsigned n, unsigned phase, uint64_t *tokens,
                     struct bf_error *error) {
    const struct bf_order_node *node = &order->nodes[n];
    const struct bf_descriptor *d = &node->block->d;
    for (unsigned t = 0; t < BF_TARGETS; t++)
        if (d->target[t] != BF_NO_BLOCK &&
            !give(order, n, node->pe, d->target[t], phase, 1, tokens, error))
            return false;
    if (d->unit == BF_UNIT_FLOW && d->flow.token == BF_NO_BLOCK)
        return bf_fail(error, BF_ERROR_MACHINE,
                       "%s: order: %s of %s gives no token for its words: nothing says when they "
                       "have arrived",
                       order->kernel->name, bf_block_label(order->program, node->block).text,
                       bf_pe_label(order->program, node->pe).text);
    for (unsigned k = 0; k < node->arrivals; k++) {
        const struct bf_order_arrival *arrival = &order->arrivals[node->first_arrival + k];
        if (!give(order, n, arrival->receiver, d->flow.token, phase, arrival->words, tokens, error))
            return false;
    }
    return true;
}

bool bf_order_tokens(const struct bf_order *order, struct bf_error *error) {
    uint64_t *tokens = bf_alloc(order->node_count * sizeof *tokens);
    bool ok = true;
    unsigned phases = order->launch->period;
    for (unsigned phase = 0; ok && phase < phases && phase < order->iterations; phase++) {
        memset(tokens, 0, order->node_count * sizeof *tokens);
        for (unsigned n = 0; ok && n < order->node_count; n++)
            if (bf_block_in_phase(order->nodes[n].block, phase))
                ok = give_all(order, n, phase, tokens, error);
        for (unsigned n = 0; ok && n < order->node_count; n++) {
            const struct bf_block *block = order->nodes[n].block;
            if (bf_block_in_phase(block, phase) && tokens[n] != block->d.need)
                ok = bf_fail(error, BF_ERROR_MACHINE,
                             "%s: order: %s of %s needs %u tokens and gets %llu in phase %u: a "
                             "token is %s",
                             order->kernel->name, bf_block_label(order->program, block).text,
                             bf_pe_label(order->program, order->nodes[n].pe).text, block->d.need,
                             (unsigned long long)tokens[n], phase,
                             tokens[n] < block->d.need ? "missing" : "too many");
        }
    }
    free(tokens);
    return ok;
}
