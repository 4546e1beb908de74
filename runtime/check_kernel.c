/* check_kernel.c - order and storage of one launch: tokens, deadlock, data RAM, weight RAM,
 * accumulators.
 *
 * Data RAM. Two accesses to a word, one of them a write, must be ordered. Then all legal orders
 * give each read the same last writer, and the order that bf_walk_run happens to take shows whether
 * a read comes before any write (for which it would not do if they raced).
 *
 * Enough iterations. Instances W or more apart are ordered by retirement. Which words an instance
 * touches depends on its slot, i mod W; whether it exists and what is ordered against it on its
 * phase, i mod P. So a pair (x in i, y in i + d), d < W, meets the same judgement for all i that
 * are equal modulo L = lcm(W, P), and i < L shows all of them. What is initialised only grows, so
 * that the first L iterations hold the first, worst, read of every kind too.
 */
#include "runtime/check_parts.h"

#include <stdlib.h>

static uint64_t cycle_of(const struct bf_order *order) {
    uint64_t a = order->window, b = order->launch->period;
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    uint64_t cycle = (uint64_t)order->window * order->launch->period / a;
    return cycle < order->iterations ? cycle : order->iterations;
}

/* ---- data RAM: races ---- */

struct party {
    struct bf_accessor accessor;
    struct bf_touch **touch; /* by slot */
};

struct race {
    struct bf_kernel_check *check;
    unsigned pe;
    struct party *parties; /* all that touch the RAM of this PE */
    unsigned count;
};

/* Does a writer of `word` come before instance y? */
static bool has_producer(const struct race *race, const struct party *y, uint64_t j, int word) {
    struct bf_order *order = race->check->order;
    for (unsigned k = 0; k < race->count; k++) {
        const struct party *x = &race->parties[k];
        for (uint64_t i = j < order->window ? 0 : j - order->window + 1; i <= j; i++)
            if ((x != y || i != j) && bf_order_exists(order, x->accessor.node, i) &&
                bf_set_has(&x->touch[i % order->window]->writes, (uint32_t)word) &&
                bf_order_before(order, x->accessor, i, y->accessor, j))
                return true;
    }
    return false;
}

static bool report_race(const struct race *race, const struct party *x, uint64_t i,
                        const struct party *y, uint64_t j, int word, struct bf_error *error) {
    struct bf_order *order = race->check->order;
    if (!bf_set_has(&x->touch[i % order->window]->writes, (uint32_t)word)) {
        const struct party *writer = y;
        uint64_t written = j;
        y = x, j = i, x = writer, i = written;
    }
    bool reads = bf_set_has(&y->touch[j % order->window]->reads, (uint32_t)word);
    struct bf_label writer = bf_instance_label(order, x->accessor.node, i);
    struct bf_label other = bf_instance_label(order, y->accessor.node, j);
    struct bf_label pe = bf_pe_label(order->program, race->pe);
    struct bf_label from = bf_pe_label(order->program, order->nodes[x->accessor.node].pe);
    const char *of = x->accessor.arrival == BF_NO_NODE ? "" : " of ";
    if (x->accessor.arrival == BF_NO_NODE)
        from.text[0] = '\0';
    if (reads && !has_producer(race, y, j, word))
        return bf_fail(error, BF_ERROR_MACHINE,
                       "%s: order: RAM word %d of %s is read by %s, and nothing orders that after "
                       "%s%s%s, which writes it",
                       order->kernel->name, word, pe.text, other.text, writer.text, of, from.text);
    return bf_fail(error, BF_ERROR_MACHINE,
                   "%s: storage: RAM word %d of %s is written by %s%s%s while %s may still %s it: "
                   "no token, chain or retirement orders them",
                   order->kernel->name, word, pe.text, writer.text, of, from.text, other.text,
                   reads ? "read" : "write");
}

/* A word that both touch and one writes, or -1. */
static int conflict(const struct bf_touch *x, const struct bf_touch *y) {
    uint64_t any = 0;
    for (unsigned k = 0; k < BF_SET_WORDS; k++)
        any |= (x->writes.bits[k] & (y->reads.bits[k] | y->writes.bits[k])) |
               (x->reads.bits[k] & y->writes.bits[k]);
    if (!any)
        return -1;
    int word = bf_set_common(&x->writes, &y->reads);
    if (word < 0)
        word = bf_set_common(&x->reads, &y->writes);
    return word < 0 ? bf_set_common(&x->writes, &y->writes) : word;
}

/* x in the iterations of a slot against y `distance` later. */
static bool check_pair(const struct race *race, const struct party *x, unsigned slot,
                       const struct party *y, unsigned distance, struct bf_error *error) {
    struct bf_order *order = race->check->order;
    unsigned window = order->window;
    int word = conflict(x->touch[slot], y->touch[(slot + distance) % window]);
    if (word < 0)
        return true;
    uint64_t end = cycle_of(order);
    for (uint64_t i = slot; i < end; i += window) {
        uint64_t j = i + distance;
        if (j >= order->iterations || !bf_order_exists(order, x->accessor.node, i) ||
            !bf_order_exists(order, y->accessor.node, j))
            continue;
        if (!bf_order_before(order, x->accessor, i, y->accessor, j) &&
            !bf_order_before(order, y->accessor, j, x->accessor, i))
            return report_race(race, x, i, y, j, word, error);
    }
    return true;
}

static bool check_parties(const struct race *race, struct bf_budget *budget,
                          struct bf_error *error) {
    unsigned window = race->check->order->window;
    uint64_t pairs = (uint64_t)race->count * race->count * window * window;
    if (!bf_budget_spend(budget, pairs * 4, error))
        return false;
    for (unsigned distance = 0; distance < window; distance++)
        for (unsigned a = 0; a < race->count; a++)
            for (unsigned b = distance ? 0 : a + 1; b < race->count; b++)
                for (unsigned slot = 0; slot < window; slot++)
                    if (!check_pair(race, &race->parties[a], slot, &race->parties[b], distance,
                                    error))
                        return false;
    return true;
}

static bool check_ram(struct bf_kernel_check *check, struct bf_budget *budget,
                      struct bf_error *error) {
    const struct bf_order *order = check->order;
    struct party *parties = bf_alloc((order->node_count + order->arrival_count) * sizeof *parties);
    bool ok = true;
    for (unsigned p = 0; ok && p < order->pes; p++) {
        struct race race = {check, p, parties, 0};
        for (unsigned n = 0; n < order->node_count; n++)
            if (order->nodes[n].pe == p)
                parties[race.count++] =
                    (struct party){{n, BF_NO_NODE}, check->touch + (size_t)n * order->window};
        for (size_t a = 0; a < order->arrival_count; a++)
            if (order->arrivals[a].receiver == p)
                parties[race.count++] = (struct party){{order->arrivals[a].node, (uint32_t)a},
                                                       check->arrival + a * order->window};
        ok = check_parties(&race, budget, error);
    }
    free(parties);
    return ok;
}

/* ---- deadlock, and reads of what was never written ---- */

struct wetting {
    struct bf_kernel_check *check;
    struct bf_set *written; /* by PE */
    struct bf_error dry;    /* the first read of a word that nothing has written */
};

static bool wet(void *user, struct bf_walk *walk, unsigned pe, const struct bf_block *block,
                uint64_t iteration, struct bf_error *error) {
    struct wetting *wetting = user;
    const struct bf_order *order = wetting->check->order;
    if (bf_is_weight_load(block))
        return true;
    unsigned n = order->node_of[pe][block->id], slot = (unsigned)(iteration % order->window);
    const struct bf_touch *touch = wetting->check->touch[(size_t)n * order->window + slot];
    int word = bf_set_missing(&touch->exposed, &wetting->written[pe]);
    if (word >= 0)
        bf_fail(&wetting->dry, BF_ERROR_MACHINE,
                "%s: uninitialised: RAM word %d of %s is read by %s, and nothing in this kernel "
                "writes it before",
                order->kernel->name, word, bf_pe_label(order->program, pe).text,
                bf_instance_label(order, n, iteration).text);
    for (unsigned k = 0; k < BF_SET_WORDS; k++)
        wetting->written[pe].bits[k] |= touch->writes.bits[k];
    for (unsigned a = 0; a < order->nodes[n].arrivals; a++) {
        size_t arrival = order->nodes[n].first_arrival + a;
        unsigned receiver = order->arrivals[arrival].receiver;
        touch = wetting->check->arrival[arrival * order->window + slot];
        for (unsigned k = 0; k < BF_SET_WORDS; k++)
            wetting->written[receiver].bits[k] |= touch->writes.bits[k];
        if (!bf_walk_tokens(walk, receiver, block->d.flow.token, iteration,
                            order->arrivals[arrival].words, error))
            return false;
    }
    return true;
}

static bool check_walk(struct bf_kernel_check *check, uint32_t launch, struct bf_budget *budget,
                       struct bf_error *dry, struct bf_error *error) {
    const struct bf_order *order = check->order;
    uint64_t cycle = cycle_of(order);
    if (!bf_budget_spend(budget, cycle * (order->node_count + order->arrival_count) * 32, error))
        return false;
    struct wetting wetting = {.check = check,
                              .written = bf_alloc(order->pes * sizeof *wetting.written)};
    struct bf_walk *walk = bf_walk_create(order->program, launch);
    walk->run = wet;
    walk->user = &wetting;
    bool ok = bf_walk_run(walk, cycle, error);
    *dry = wetting.dry;
    bf_walk_free(walk);
    free(wetting.written);
    return ok;
}

/* ---- weight RAM ----
 * Weight sets are ordered by the machine: a set is complete before its users begin, and a half is
 * loaded again only when all iterations of the group that used it have retired. What is left: users
 * must say that they are, and each word must have been loaded. */

static bool guarded(const struct bf_order *order, const struct bf_order_node *node) {
    unsigned id = node->block->id;
    for (const struct bf_block *block = node->block;;) {
        if (block->d.cal.uses_weights)
            return true;
        unsigned before = id > 0 ? order->node_of[node->pe][--id] : BF_NO_NODE;
        if (before == BF_NO_NODE || !order->nodes[before].block->d.cal.chain)
            return false;
        block = order->nodes[before].block;
    }
}

/* Adds what the weight LOADs of a PE load for a group that begins in `phase`. */
static bool load_weights(const struct bf_order *order, unsigned pe, unsigned phase,
                         struct bf_set *loaded, struct bf_budget *budget, struct bf_error *error) {
    uint32_t words = order->program->machine.weight_half << order->launch->one_weight_set;
    for (size_t b = 0; b < order->kernel->block_count; b++) {
        const struct bf_block *block = &order->kernel->blocks[b];
        const struct bf_descriptor *d = &block->d;
        if (!(block->pes >> pe & 1) || !bf_is_weight_load(block) ||
            !bf_block_in_phase(block, phase))
            continue;
        if (!bf_budget_spend(budget, (uint64_t)d->trips[0] * d->trips[1] * d->trips[2], error))
            return false;
        uint32_t offset = 0;
        struct bf_loop loop = {{0}};
        for (int level = 0; level >= 0;) {
            bf_set_add(loaded, bf_mem_ram(order->launch, d, 0, offset, words));
            level = bf_loop_next(&loop, d->trips);
            if (level >= 0)
                offset += (uint32_t)(int32_t)d->mem.ram_delta[level];
        }
    }
    return true;
}

static bool in_group(const struct bf_order *order, const struct bf_block *block, uint64_t group,
                     uint64_t length) {
    uint64_t first = group * length, phases = order->launch->period;
    for (uint64_t k = 0; k < length && k < phases; k++)
        if (bf_block_in_phase(block, bf_launch_phase(order->launch, first + k)))
            return true;
    return false;
}

static bool check_weight_users(struct bf_kernel_check *check, unsigned pe, uint64_t group,
                               uint64_t length, const struct bf_set *loaded,
                               struct bf_error *error) {
    const struct bf_order *order = check->order;
    for (unsigned n = 0; n < order->node_count; n++) {
        const struct bf_order_node *node = &order->nodes[n];
        if (node->pe != pe || node->block->d.unit != BF_UNIT_CAL ||
            !in_group(order, node->block, group, length))
            continue;
        static const struct bf_set nothing;
        const struct bf_set *used = &check->touch[(size_t)n * order->window]->weights;
        int word = bf_set_missing(used, &nothing);
        if (word >= 0 && !guarded(order, node))
            return bf_fail(error, BF_ERROR_MACHINE,
                           "%s: order: weight word %d of %s is read by %s, which does not wait for "
                           "its weight set",
                           order->kernel->name, word, bf_pe_label(order->program, pe).text,
                           bf_block_label(order->program, node->block).text);
        word = bf_set_missing(used, loaded);
        if (word >= 0)
            return bf_fail(error, BF_ERROR_MACHINE,
                           "%s: uninitialised: weight word %d of %s is read by %s in group %llu, "
                           "and nothing in this kernel loads it",
                           order->kernel->name, word, bf_pe_label(order->program, pe).text,
                           bf_block_label(order->program, node->block).text,
                           (unsigned long long)group);
    }
    return true;
}

/* Groups beyond 2 P repeat: half and phase of their first iteration are those of an earlier one. */
static bool check_weights(struct bf_kernel_check *check, struct bf_budget *budget,
                          struct bf_error *error) {
    const struct bf_order *order = check->order;
    uint64_t length = bf_launch_group(order->launch);
    uint64_t groups = bf_divide_up(order->iterations, length);
    if (groups > 2 * (uint64_t)order->launch->period)
        groups = 2 * (uint64_t)order->launch->period;
    if (!bf_budget_spend(budget, order->pes * groups * order->node_count, error))
        return false;
    for (unsigned p = 0; p < order->pes; p++) {
        struct bf_set half[2] = {0};
        for (uint64_t group = 0; group < groups; group++) {
            struct bf_set *loaded = &half[order->launch->one_weight_set ? 0 : group % 2];
            unsigned phase = bf_launch_phase(order->launch, group * length);
            if (!load_weights(order, p, phase, loaded, budget, error) ||
                !check_weight_users(check, p, group, length, loaded, error))
                return false;
        }
    }
    return true;
}

/* ---- accumulators ----
 * They belong to the PE, not to an iteration. Blocks of the CAL unit do not overlap, so one that
 * writes an accumulator before it reads it is safe. A value lives on only inside a chain, or from
 * block to block of a strict launch, where all CAL blocks have one order. */

static bool report_acc(const struct bf_order *order, unsigned n, uint32_t exposed,
                       struct bf_error *error) {
    unsigned acc = bf_log2_floor(exposed & (~exposed + 1)) / 2;
    struct bf_label pe = bf_pe_label(order->program, order->nodes[n].pe);
    struct bf_label block = bf_block_label(order->program, order->nodes[n].block);
    if (order->launch->strict)
        return bf_fail(error, BF_ERROR_MACHINE,
                       "%s: uninitialised: accumulator %u of %s is read by %s, and no block before "
                       "it in strict order writes it",
                       order->kernel->name, acc, pe.text, block.text);
    return bf_fail(error, BF_ERROR_MACHINE,
                   "%s: storage: accumulator %u of %s is read by %s before the block writes it: "
                   "across the end of a block only a chain or a strict launch keeps it",
                   order->kernel->name, acc, pe.text, block.text);
}

static bool check_chain(struct bf_kernel_check *check, unsigned n, struct bf_error *error) {
    const struct bf_order *order = check->order;
    uint32_t written = 0;
    for (;;) {
        const struct bf_order_node *node = &order->nodes[n];
        const struct bf_touch *touch = check->touch[(size_t)n * order->window];
        if (touch->acc_exposed & ~written)
            return report_acc(order, n, touch->acc_exposed & ~written, error);
        written |= touch->acc_written;
        if (!node->block->d.cal.chain || node->block->id + 1 >= BF_FIRST_LOAD)
            return true;
        n = order->node_of[node->pe][node->block->id + 1];
        if (n == BF_NO_NODE)
            return true;
    }
}

static bool check_strict_accs(struct bf_kernel_check *check, unsigned pe, struct bf_error *error) {
    const struct bf_order *order = check->order;
    uint32_t written = 0;
    for (uint64_t i = 0; i < order->launch->period && i < order->iterations; i++)
        for (unsigned id = 0; id < BF_FIRST_LOAD; id++) {
            unsigned n = order->node_of[pe][id];
            if (n == BF_NO_NODE || !bf_order_exists(order, n, i))
                continue;
            const struct bf_touch *touch = check->touch[(size_t)n * order->window];
            if (touch->acc_exposed & ~written)
                return report_acc(order, n, touch->acc_exposed & ~written, error);
            written |= touch->acc_written;
        }
    return true;
}

static bool check_accs(struct bf_kernel_check *check, struct bf_error *error) {
    const struct bf_order *order = check->order;
    for (unsigned p = 0; p < order->pes; p++) {
        if (order->launch->strict) {
            if (!check_strict_accs(check, p, error))
                return false;
            continue;
        }
        for (unsigned id = 0; id < BF_FIRST_LOAD; id++) {
            unsigned n = order->node_of[p][id];
            unsigned before = id ? order->node_of[p][id - 1] : BF_NO_NODE;
            bool entered = before != BF_NO_NODE && order->nodes[before].block->d.cal.chain;
            if (n != BF_NO_NODE && !entered && !check_chain(check, n, error))
                return false;
        }
    }
    return true;
}

/* ---- all of it ---- */

bool bf_check_launch(const struct bf_program *program, uint32_t launch, struct bf_budget *budget,
                     struct bf_error *error) {
    struct bf_error dry = {0};
    struct bf_kernel_check check = {.order = bf_order_create(program, &program->launches[launch])};
    bool ok = bf_order_tokens(check.order, error) && bf_touch_kernel(&check, budget, error) &&
              check_walk(&check, launch, budget, &dry, error) && check_ram(&check, budget, error) &&
              check_weights(&check, budget, error) && check_accs(&check, error);
    if (ok && dry.code != BF_OK)
        ok = bf_fail(error, dry.code, "%s", dry.text);
    bf_arena_free(&check.arena);
    bf_order_free(check.order);
    return ok;
}
