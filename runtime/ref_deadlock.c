/* ref_deadlock.c - says why nothing can run: follows "waits for" from block to block until it comes
 * back to one it has seen (a circle) or to one that waits for nobody. */
#include "runtime/ref.h"

#include <stdlib.h>

struct instance {
    unsigned pe, id;
    uint64_t iteration;
};
typedef struct {
    struct instance *data;
    size_t count, capacity;
} trail;

static unsigned slot_of(const struct bf_walk *walk, uint64_t iteration) {
    return (unsigned)(iteration % walk->launch->window);
}

static bool is_open(const struct bf_walk *walk, struct instance x) {
    const struct bf_walk_pe *pe = &walk->pe[x.pe];
    unsigned slot = slot_of(walk, x.iteration);
    return (pe->present[slot] & ~pe->chosen[slot]) >> x.id & 1;
}

/* Tokens that a FLOW of `sender` sends to `receiver`. */
static uint32_t words_to(const struct bf_walk *walk, const struct bf_block *block, unsigned sender,
                         uint64_t iteration, unsigned receiver) {
    uint32_t words = 0;
    for (unsigned k = 0; k < block->d.trips[1]; k++) {
        struct bf_loop loop = {{0, (uint16_t)k, 0}};
        struct bf_hop hop =
            bf_flow_hop(walk->program, walk->launch, &block->d, sender, iteration, &loop, 0, 0);
        if (hop.receiver == receiver)
            words += (uint32_t)block->d.trips[0] * block->d.trips[2];
    }
    return words;
}

/* A block that has not run and whose token `x` lacks. */
static bool find_giver(const struct bf_walk *walk, struct instance x, struct instance *giver) {
    for (unsigned p = 0; p < walk->pes; p++)
        for (unsigned id = 0; id < BF_BLOCKS; id++) {
            struct instance g = {p, id, x.iteration};
            if (!is_open(walk, g))
                continue;
            const struct bf_block *block = walk->pe[p].block[id];
            bool gives = block->d.unit == BF_UNIT_FLOW && block->d.flow.token == x.id &&
                         words_to(walk, block, p, x.iteration, x.pe);
            for (unsigned t = 0; t < BF_TARGETS; t++)
                gives |= p == x.pe && block->d.target[t] == x.id;
            if (gives) {
                *giver = g;
                return true;
            }
        }
    return false;
}

/* Any block that keeps iterations first .. end - 1 from retiring. */
static bool find_open(const struct bf_walk *walk, uint64_t first, uint64_t end,
                      struct instance *found) {
    for (uint64_t i = first > walk->low ? first : walk->low; i < end; i++)
        for (unsigned p = 0; p < walk->pes; p++)
            for (unsigned id = 0; id < BF_BLOCKS; id++) {
                *found = (struct instance){p, id, i};
                if (is_open(walk, *found))
                    return true;
            }
    return false;
}

/* Appends why x waits; false if it is for no other block. */
static bool explain(const struct bf_walk *walk, struct instance x, struct instance *next,
                    struct bf_text *text) {
    const struct bf_walk_pe *pe = &walk->pe[x.pe];
    unsigned slot = slot_of(walk, x.iteration);
    uint64_t bit = UINT64_C(1) << x.id;
    const struct bf_block *block = pe->block[x.id];
    *next = x;
    if (pe->entered[slot] & bit) {
        bf_text_printf(text, "waits for the block that chains to it");
        next->id = x.id - 1;
        return is_open(walk, *next);
    }
    if (!(pe->full[slot] & bit)) {
        bf_text_printf(text, "has %u of %u tokens", pe->tokens[slot][x.id], block->d.need);
        if (find_giver(walk, x, next))
            return true;
        bf_text_printf(text, " and nobody is left to send more");
        return false;
    }
    for (uint64_t i = walk->low; i < x.iteration; i++) {
        next->iteration = i;
        if (is_open(walk, *next)) {
            bf_text_printf(text, "waits for itself in iteration %llu", (unsigned long long)i);
            return true;
        }
    }
    uint64_t group = x.iteration / walk->group;
    if ((pe->with_weights & bit) && pe->next_group <= group) {
        bf_text_printf(text, "waits for weight set %llu", (unsigned long long)group);
        return group >= 2 && find_open(walk, 0, (group - 1) * walk->group, next);
    }
    if (walk->launch->strict && x.id < BF_FIRST_LOAD)
        for (uint64_t i = walk->low; i <= x.iteration; i++)
            for (unsigned id = 0; id < (i < x.iteration ? (unsigned)BF_FIRST_LOAD : x.id); id++) {
                *next = (struct instance){x.pe, id, i};
                if (is_open(walk, *next)) {
                    bf_text_printf(text, "comes after another in strict order");
                    return true;
                }
            }
    bf_text_printf(text, "is ready"); /* cannot be: it would have run */
    return false;
}

static bool same(struct instance a, struct instance b) {
    return a.pe == b.pe && a.id == b.id && a.iteration == b.iteration;
}

bool bf_walk_deadlock(struct bf_walk *walk, struct bf_error *error) {
    trail seen = {0};
    struct bf_text text = {0};
    struct instance x;
    if (!find_open(walk, walk->low, walk->low + walk->launch->window, &x))
        return bf_fail(error, BF_ERROR_INTERNAL, "%s: nothing is left to wait for",
                       walk->kernel->name);
    for (;;) {
        bool again = false;
        for (size_t k = 0; k < seen.count; k++)
            again |= same(seen.data[k], x);
        bf_text_printf(&text, "\n  %s of %s in iteration %llu",
                       bf_block_label(walk->program, walk->pe[x.pe].block[x.id]).text,
                       bf_pe_label(walk->program, x.pe).text, (unsigned long long)x.iteration);
        if (again) {
            bf_text_printf(&text, ": a circle");
            break;
        }
        *bf_push(&seen) = x;
        bf_text_add(&text, " ");
        struct instance next;
        if (!explain(walk, x, &next, &text))
            break;
        bf_text_add(&text, "; it waits for");
        x = next;
    }
    bf_fail(error, BF_ERROR_MACHINE, "%s: deadlock:%s", walk->kernel->name, text.data);
    free(seen.data);
    bf_text_free(&text);
    return false;
}
