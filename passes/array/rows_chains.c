/* rows_chains.c - blocks of row kernels whose tiles lie across PEs.
 *
 *     LOAD -> CAL init | loop | send -> FLOW => CAL relay -> FLOW => CAL init | loop ..  -> STORE
 *
 * Iterations overlap, so the launch is not strict: what runs from one exchange to the next is a
 * chain, in which accumulators live on. A chain waits for the words of the exchange before it.
 */
#include "passes/array/rows_code.h"

static const uint8_t no_targets[BF_TARGETS] = {BF_NO_BLOCK, BF_NO_BLOCK, BF_NO_BLOCK};

void bf_rows_chain_add(struct bf_rows_build *b, const struct bf_descriptor *d, const char *name) {
    int at = b->chain->count++;
    if (at >= BF_FIRST_LOAD)
        return;
    b->chain->blocks[at] = *d;
    b->chain->names[at] = name;
}

/* Row outputs are stored by the first PE of a group: for the others nobody waits. */
static void drop_row_stores(const struct bf_rows_build *b, unsigned pe, struct bf_descriptor *d) {
    for (int t = 0; t < BF_TARGETS; t++)
        if (pe % b->p.groups[0] && d->target[t] < BF_BLOCKS && b->row_stores >> d->target[t] & 1)
            d->target[t] = BF_NO_BLOCK;
}

/* Emits a chain, which waits for `need` tokens; its last block gives one to `target`. */
static void end_chain(struct bf_rows_build *b, int64_t need, int target) {
    struct bf_rows_chain *chain = b->chain;
    int count = chain->count < BF_FIRST_LOAD ? chain->count : BF_FIRST_LOAD;
    bool weights = false;
    for (int i = 0; i < count; i++)
        weights |= chain->blocks[i].cal.uses_weights;
    for (int i = 0; i < count && b->next_cal + i < BF_FIRST_LOAD; i++) {
        struct bf_descriptor *d = &chain->blocks[i];
        d->cal.uses_weights = weights;
        d->cal.chain = i + 1 < count;
        d->need = (uint16_t)(i ? 0 : need);
        if (i + 1 == count && target >= 0)
            d->target[0] = (uint8_t)target;
        for (unsigned pe = 0; pe < bf_machine_pes(&b->map->machine); pe++) {
            struct bf_descriptor own = *d;
            if (!bf_rows_works(b, pe))
                continue;
            drop_row_stores(b, pe, &own);
            if (bf_rows_is_uneven(b))
                own.last = bf_rows_last_iteration(b, pe);
            bf_code_block(&b->code, UINT64_C(1) << pe, (unsigned)(b->next_cal + i), chain->names[i],
                          &own);
        }
    }
    b->next_cal += chain->count;
    chain->count = 0;
}

static int log2_of(int64_t x) {
    int log = 0;
    while (x > 1) {
        x /= 2;
        log++;
    }
    return log;
}

/* Sends the pairs of a pass to the PEs of a row (level 0), or a column: to the next CAL block. */
static void exchange(struct bf_rows_build *b, const struct bf_rows_pass *pass, int level) {
    int64_t words = bf_plan_region(b->plan, "exchange")->base + pass->exchange[level], delta[3];
    int members = b->program.members[level];
    struct bf_descriptor d = bf_descriptor_new(BF_UNIT_FLOW);
    d.last = (uint8_t)(b->period - 1);
    d.need = 1;
    d.trips[0] = (uint16_t)pass->unit;
    d.trips[1] = (uint16_t)members;
    d.flow.source_relative = d.flow.destination_relative = true;
    d.flow.source = (uint16_t)words;
    d.flow.destination = (uint16_t)(words + pass->unit);
    bf_deltas(d.trips, (int64_t[]){1, 0, 0}, delta);
    for (int l = 0; l < BF_LEVELS; l++)
        d.flow.source_delta[l] = d.flow.destination_delta[l] = (int16_t)delta[l];
    d.flow.mode = BF_FLOW_XOR;
    d.flow.shift = (uint8_t)(level ? log2_of(b->program.members[0]) : 0);
    d.flow.width = (uint8_t)log2_of(members);
    d.flow.destination_shift = 10; /* all get the same words: no address has more bits */
    d.flow.self_shift = (uint8_t)log2_of(pass->unit);
    d.flow.token = (uint8_t)b->next_cal;
    for (unsigned pe = 0; pe < bf_machine_pes(&b->map->machine); pe++) {
        if (!bf_rows_works(b, pe))
            continue;
        if (bf_rows_is_uneven(b))
            d.last = bf_rows_last_iteration(b, pe);
        if (b->next_flow < BF_FIRST_STORE && b->next_cal < BF_FIRST_LOAD)
            bf_code_block(&b->code, UINT64_C(1) << pe, (unsigned)b->next_flow, "exchange", &d);
    }
    b->next_flow++;
}

/* Temporaries of code between loops lie where partial results do. */
static struct bf_rows_pass between(const struct bf_rows_pass *pass, int row_accs) {
    struct bf_rows_pass view = *pass;
    view.row_accs = row_accs;
    view.reductions = 0;
    view.parts = 1;
    return view;
}

/* From the tokens of `need` to the end of pass p; the last one has no loop. */
static void pass_chain(struct bf_rows_build *b, int p, struct bf_rows_phases phases, int64_t need) {
    const struct bf_rows_pass *pass = &b->program.pass[p];
    struct bf_rows_pass view = between(pass, pass->row_accs);
    struct bf_rows_stores stores;
    int first_store = b->next_store;
    bf_rows_store_blocks(b, p, &stores);
    for (int id = first_store; id < b->next_store && pass->row_outputs; id++)
        b->row_stores |= UINT64_C(1) << id;
    bf_rows_row_blocks(b, &view, &pass->init, phases, p ? "sums" : "init", stores.finish);
    if (p < b->program.passes)
        bf_rows_loop_blocks(b, p, &stores);
    view = *pass;
    view.parts = 1;
    bf_rows_row_blocks(b, &view, &pass->send, phases, "send", no_targets);
    end_chain(b, need, pass->unit ? b->next_flow : -1);
}

void bf_rows_chains(struct bf_rows_build *b) {
    struct bf_rows_chain chain = {.count = 0};
    struct bf_rows_phases phases = {0, b->period - 1};
    int64_t need = b->loads;
    b->chain = &chain;
    for (int p = 0; p <= b->program.passes; p++) {
        const struct bf_rows_pass *pass = &b->program.pass[p];
        if (p == b->program.passes && !pass->init.count)
            break;
        pass_chain(b, p, phases, need);
        for (int l = 0; l < b->program.levels && pass->unit; l++) {
            struct bf_rows_pass view = between(pass, 0);
            exchange(b, pass, l);
            need = (int64_t)pass->unit * b->program.members[l];
            if (l + 1 == b->program.levels)
                break;
            bf_rows_row_blocks(b, &view, &pass->relay, phases, "relay", no_targets);
            end_chain(b, need, b->next_flow);
        }
    }
    b->chain = NULL;
}
