/* sim_report.c - traps, and what to say when the array waits for ever. */
#include <inttypes.h>

#include "runtime/sim.h"

/* ---- traps ---- */

void sim_trap(struct sim *sim, const char *format, ...) {
    struct bf_text text = {0};
    bf_text_printf(&text, "cycle %" PRIu64 ": ", sim->cycle);
    va_list args;
    va_start(args, format);
    bf_text_vprintf(&text, format, args);
    va_end(args);
    if (sim->error->code) { /* a reason from below: keep it, and say where */
        bf_text_printf(&text, ": %s", sim->error->text);
        sim->error->code = BF_OK;
    }
    bf_fail(sim->error, BF_ERROR_MACHINE, "%s", text.data);
    bf_text_free(&text);
    sim->failed = true;
}

static void describe_place(const struct sim *sim, const struct bf_place *place,
                           struct bf_text *text) {
    if (place->line && place->file < sim->program->file_count)
        bf_text_printf(text, " (%s:%u:%u)", sim->program->files[place->file], place->line,
                       place->column);
}

void sim_describe_block(const struct sim *sim, unsigned pe, unsigned id, struct bf_text *text) {
    const struct bf_block *block = NULL;
    for (size_t i = 0; i < sim->kernel->block_count && !block; i++)
        if (sim->kernel->blocks[i].id == id && sim->kernel->blocks[i].pes >> pe & 1)
            block = &sim->kernel->blocks[i];
    bf_text_printf(text, "block %u", id);
    if (block && block->name && *block->name)
        bf_text_printf(text, " \"%s\"", block->name);
    bf_text_printf(text, " of PE (%u,%u)", pe / sim->m->cols, pe % sim->m->cols);
    if (block)
        describe_place(sim, &block->place, text);
}

void sim_trap_block(struct sim *sim, unsigned pe, unsigned id, uint64_t iteration,
                    const char *format, ...) {
    struct bf_text text = {0};
    bf_text_printf(&text, "kernel %s, ", sim->kernel->name);
    sim_describe_block(sim, pe, id, &text);
    bf_text_printf(&text, ", iteration %" PRIu64 ": ", iteration);
    va_list args;
    va_start(args, format);
    bf_text_vprintf(&text, format, args);
    va_end(args);
    sim_trap(sim, "%s", text.data);
    bf_text_free(&text);
}

/* ---- waiting for ever ---- */

/* A block of a PE in its next iteration, as a node of the graph of who waits for whom. */
struct node {
    unsigned pe, id;
};

static bool waits(const struct sim *sim, struct node n) {
    const struct sim_block *b = &sim->pe[n.pe].block[n.id];
    return b->d && b->next < sim->low + sim->launch->window && !b->chained &&
           !(sim->pe[n.pe].weight_loads >> n.id & 1);
}

static unsigned slot_of(const struct sim *sim, uint64_t iteration) {
    return (unsigned)(iteration % sim->launch->window);
}

/* Does a FLOW block send words to a PE? */
static bool sends_to(const struct sim_block *b, unsigned from, unsigned to) {
    uint32_t field = (1u << b->d->flow.width) - 1, shift = b->d->flow.shift;
    if ((from ^ to) & ~(field << shift))
        return false;
    uint32_t self = from >> shift & field, target = to >> shift & field;
    for (unsigned n = 0; n < b->d->trips[1]; n++)
        if (((n ^ (b->d->flow.mode == BF_FLOW_XOR ? self : 0)) & field) == target)
            return true;
    return false;
}

/* Does block `from` give tokens to block `to`? */
static bool feeds(const struct sim *sim, struct node from, struct node to) {
    const struct sim_block *b = &sim->pe[from.pe].block[from.id];
    if (!b->d)
        return false;
    if (from.pe == to.pe)
        for (unsigned t = 0; t < BF_TARGETS; t++)
            if (b->d->target[t] == to.id)
                return true;
    return b->d->unit == BF_UNIT_FLOW && b->d->flow.token == to.id && sends_to(b, from.pe, to.pe);
}

/* Has `from` still to run in the iteration for which `to` waits? */
static bool owes(const struct sim *sim, struct node from, struct node to) {
    const struct sim_block *f = &sim->pe[from.pe].block[from.id];
    const struct sim_block *t = &sim->pe[to.pe].block[to.id];
    return feeds(sim, from, to) && f->next != SIM_NEVER && f->next <= t->next;
}

/* A block of a chain waits for the chain's first block. */
static struct node first_of_chain(const struct sim *sim, struct node n) {
    while (n.id && sim->pe[n.pe].block[n.id].chained)
        n.id--;
    return n;
}

static bool find_owing(const struct sim *sim, struct node to, struct node *owing) {
    for (unsigned p = 0; p < sim->pes; p++)
        for (unsigned id = 0; id < BF_BLOCKS; id++) {
            struct node from = {p, id};
            if (owes(sim, from, to)) {
                *owing = first_of_chain(sim, from);
                return true;
            }
        }
    return false;
}

/* A strict launch makes a block wait for those before it. */
static bool find_strict(const struct sim *sim, struct node n, struct node *before) {
    const struct sim_pe *pe = &sim->pe[n.pe];
    if (!sim->launch->strict || n.id >= BF_FIRST_LOAD)
        return false;
    for (unsigned id = 0; id < BF_FIRST_LOAD; id++) {
        const struct sim_block *b = &pe->block[id];
        if (b->d && !b->chained && id != n.id &&
            (b->next < pe->block[n.id].next || (b->next == pe->block[n.id].next && id < n.id))) {
            *before = (struct node){n.pe, id};
            return true;
        }
    }
    return false;
}

static void describe_wait(const struct sim *sim, struct node n, struct bf_text *text) {
    const struct sim_block *b = &sim->pe[n.pe].block[n.id];
    unsigned have = b->counter[slot_of(sim, b->next)];
    sim_describe_block(sim, n.pe, n.id, text);
    bf_text_printf(text, ", iteration %" PRIu64 ", ", b->next);
    if (have != b->d->need)
        bf_text_printf(text, "has %u of %u tokens", have, b->d->need);
    else if (b->next >= sim->low + sim->launch->window)
        bf_text_printf(text, "waits for iteration %" PRIu64 " to retire",
                       b->next - sim->launch->window);
    else
        bf_text_add(text, "has its tokens, but not its weights or its turn");
}

/* Follows what a block waits for until it comes back (a circle) or ends. */
static void describe_chain(const struct sim *sim, struct node n, struct bf_text *text) {
    struct node seen[16];
    unsigned count = 0;
    for (;;) {
        for (unsigned i = 0; i < count; i++)
            if (seen[i].pe == n.pe && seen[i].id == n.id) {
                sim_describe_block(sim, n.pe, n.id, text);
                bf_text_add(text, ": a circle");
                return;
            }
        describe_wait(sim, n, text);
        if (count == sizeof seen / sizeof *seen)
            return;
        seen[count++] = n;
        struct node next;
        if (!find_owing(sim, n, &next) && !find_strict(sim, n, &next)) {
            if (sim->pe[n.pe].block[n.id].counter[slot_of(sim, sim->pe[n.pe].block[n.id].next)] !=
                sim->pe[n.pe].block[n.id].d->need)
                bf_text_add(text, "; no block is left that would send one");
            return;
        }
        bf_text_add(text, "\n  and waits for ");
        n = next;
    }
}

void sim_report_stuck(struct sim *sim) {
    struct bf_text text = {0};
    bf_text_printf(&text, "deadlock in kernel %s, iterations %" PRIu64 " to %" PRIu64 ": ",
                   sim->kernel->name, sim->low, sim->low + sim->launch->window - 1);
    /* The oldest waiting block tells most: nothing younger can hold it up. */
    bool found = false;
    struct node first = {0, 0};
    unsigned count = 0;
    for (unsigned p = 0; p < sim->pes; p++)
        for (unsigned id = 0; id < BF_BLOCKS; id++) {
            struct node n = {p, id};
            if (!waits(sim, n))
                continue;
            count++;
            if (!found || sim->pe[p].block[id].next < sim->pe[first.pe].block[first.id].next)
                first = n;
            found = true;
        }
    bf_text_printf(&text, "%u blocks wait\n  ", count);
    if (found)
        describe_chain(sim, first, &text);
    sim_trap(sim, "%s", text.data);
    bf_text_free(&text);
}
