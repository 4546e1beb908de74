/* sim_block.c - which block runs when: choice (B2 to B7), completion and tokens (B8 to B10), retire
 * and the window (L4 to L7), weight sets (G1 to G3). */
#include "runtime/sim.h"

static const uint64_t unit_blocks[4] = {
    [BF_UNIT_CAL] = UINT64_C(0x00000000ffffffff),
    [BF_UNIT_LOAD] = UINT64_C(0x0000ffff00000000),
    [BF_UNIT_FLOW] = UINT64_C(0x00ff000000000000),
    [BF_UNIT_STORE] = UINT64_C(0xff00000000000000),
};

static uint64_t bit(unsigned id) {
    return UINT64_C(1) << id;
}

static unsigned phase_of(const struct sim *sim, uint64_t iteration) {
    return sim->launch->period == 1 ? 0 : (unsigned)(iteration % sim->launch->period);
}

static bool present(const struct sim *sim, const struct bf_descriptor *d, uint64_t iteration) {
    unsigned phase = phase_of(sim, iteration);
    return phase >= d->first && phase <= d->last;
}

static bool is_weight_load(const struct bf_descriptor *d) {
    return d->unit == BF_UNIT_LOAD && d->mem.weights;
}

/* First iteration (weight LOAD: group) not before `from` in which the block exists. */
uint64_t sim_next_present(const struct sim *sim, const struct bf_descriptor *d, uint64_t from) {
    if (is_weight_load(d)) {
        uint64_t groups = sim->total / sim->group_size;
        for (uint64_t tried = 0; from < groups && tried <= sim->launch->period; from++, tried++)
            if (present(sim, d, from * sim->group_size))
                return from;
        return SIM_NEVER;
    }
    unsigned phase = phase_of(sim, from);
    if (phase < d->first)
        from += d->first - phase;
    else if (phase > d->last)
        from += sim->launch->period - phase + d->first;
    if (from >= sim->total || d->first >= sim->launch->period)
        return SIM_NEVER;
    return from;
}

/* The iteration in the window that runs in a slot; it may lie beyond the last. */
uint64_t sim_slot_iteration(const struct sim *sim, unsigned slot) {
    unsigned w = sim->launch->window, low = (unsigned)(sim->low % w);
    return sim->low + (slot + w - low) % w;
}

/* ---- weight sets ---- */

static unsigned loads_of_group(const struct sim *sim, const struct sim_pe *pe, uint64_t group) {
    unsigned count = 0;
    for (uint64_t left = pe->weight_loads; left; left &= left - 1)
        count += present(sim, pe->block[__builtin_ctzll(left)].d, group * sim->group_size);
    return count;
}

bool sim_weights_complete(const struct sim *sim, const struct sim_pe *pe, uint64_t group) {
    return !pe->weight_loads || pe->set_done[group & 1] == group + 1 ||
           !loads_of_group(sim, pe, group);
}

static bool half_is_free(const struct sim *sim, const struct sim_pe *pe, uint64_t group) {
    return group < 2 || pe->retired >= (group - 1) * sim->group_size;
}

/* ---- ready ---- */

/* Brings the ready bit of a block up to date; makes its unit look again if its wait may have
 * changed. */
void sim_update_ready(struct sim *sim, struct sim_pe *pe, unsigned id) {
    const struct sim_block *b = &pe->block[id];
    const struct bf_descriptor *d = b->d;
    bool ready = false, news = false;
    if (b->next == SIM_NEVER || b->chained) {
        ready = false;
    } else if (is_weight_load(d)) {
        ready = news = half_is_free(sim, pe, b->next);
    } else if (b->next < sim->low + sim->launch->window) {
        news = b->counter[b->next % sim->launch->window] == d->need;
        ready = news && (d->unit != BF_UNIT_CAL || !d->cal.uses_weights ||
                         sim_weights_complete(sim, pe, sim_group(sim, b->next)));
    }
    pe->ready = ready ? pe->ready | bit(id) : pe->ready & ~bit(id);
    if (news)
        pe->active |= SIM_CHOOSE << d->unit;
}

static void update_weight_users(struct sim *sim, struct sim_pe *pe) {
    for (uint64_t left = pe->present & unit_blocks[BF_UNIT_CAL]; left; left &= left - 1) {
        unsigned id = (unsigned)__builtin_ctzll(left);
        if (pe->block[id].d->cal.uses_weights)
            sim_update_ready(sim, pe, id);
    }
}

/* ---- choice ---- */

static struct sim_block *oldest(struct sim_pe *pe, uint64_t mask) {
    struct sim_block *best = NULL;
    for (; mask; mask &= mask - 1) {
        struct sim_block *b = &pe->block[__builtin_ctzll(mask)];
        if (!best || b->next <= best->next)
            best = b;
    }
    return best;
}

/* B5: the one block that a strict launch may start. */
static uint64_t strict_candidate(const struct sim_pe *pe) {
    uint64_t best = 0, next = SIM_NEVER;
    for (uint64_t left = pe->present & unit_blocks[BF_UNIT_CAL]; left; left &= left - 1) {
        unsigned id = (unsigned)__builtin_ctzll(left);
        if (!pe->block[id].chained && pe->block[id].next < next) {
            next = pe->block[id].next;
            best = bit(id);
        }
    }
    return best;
}

/* G2: a weight LOAD counts as one of its group's first iteration, the last of them. */
static struct sim_block *choose_load(struct sim *sim, struct sim_pe *pe, uint64_t mask) {
    struct sim_block *data = oldest(pe, mask & ~pe->weight_loads);
    struct sim_block *weights = oldest(pe, mask & pe->weight_loads);
    if (!data || !weights)
        return data ? data : weights;
    return weights->next * sim->group_size < data->next ? weights : data;
}

/* B4, G2; NULL if no block is ready. */
struct sim_block *sim_choose(struct sim *sim, struct sim_pe *pe, unsigned unit) {
    uint64_t mask = pe->ready & unit_blocks[unit];
    if (!mask)
        return NULL;
    if (unit == BF_UNIT_CAL && sim->launch->strict)
        mask &= strict_candidate(pe);
    return unit == BF_UNIT_LOAD ? choose_load(sim, pe, mask) : oldest(pe, mask);
}

/* ---- starting a block ---- */

/* The iteration register (M2) on arrival at iteration i: each passage added the delta of the
 * highest level that advanced. `from`: levels that count. */
static uint32_t iteration_offset(const struct sim *sim, const struct bf_descriptor *d, uint64_t i,
                                 unsigned from) {
    uint64_t t0 = sim->launch->trips[0], t1 = sim->launch->trips[1];
    uint64_t advanced[BF_LEVELS] = {i - i / t0, i / t0 - i / t0 / t1, i / t0 / t1};
    uint32_t offset = 0;
    for (unsigned l = from; l < BF_LEVELS; l++)
        offset += (uint32_t)advanced[l] * (uint32_t)d->mem.iteration_delta[l];
    return offset;
}

uint32_t sim_iteration_offset(const struct sim *sim, const struct bf_descriptor *d, uint64_t i) {
    bool weights = is_weight_load(d);
    unsigned from = weights && sim->launch->group_level < BF_LEVELS ? sim->launch->group_level : 0;
    return iteration_offset(sim, d, weights ? i * sim->group_size : i, from);
}

static void begin_weight_load(struct sim *sim, struct sim_pe *pe, struct sim_unit *unit) {
    uint64_t group = unit->iteration;
    unsigned half = group & 1;
    if (pe->set_group[half] != group + 1) {
        pe->set_group[half] = group + 1;
        pe->set_left[half] = (uint8_t)loads_of_group(sim, pe, group);
    }
    uint32_t words = sim->m->weight_half;
    unit->weight_base = sim->launch->one_weight_set ? 0 : half * words;
    unit->weight_mask = (sim->launch->one_weight_set ? 2 * words : words) - 1;
}

static void begin_mem(struct sim *sim, struct sim_unit *unit, const struct bf_descriptor *d) {
    unit->spm = sim->launch->base[d->mem.base & (BF_BASES - 1)] + d->mem.spm +
                sim_iteration_offset(sim, d, unit->iteration);
}

static uint32_t context(const struct sim *sim, unsigned slot) {
    return sim->launch->context_base + slot * (uint32_t)sim->launch->context_size;
}

static void begin_cal(struct sim *sim, struct sim_unit *unit, const struct bf_descriptor *d) {
    uint64_t group = sim_group(sim, unit->iteration);
    uint32_t half = sim->m->weight_half * sim->v;
    unit->weight_base = sim->launch->one_weight_set || !(group & 1) ? 0 : half;
    unit->weight_mask = (sim->launch->one_weight_set ? 2 * half : half) - 1;
    unit->position = 0;
    for (unsigned c = 0; c < BF_CLASSES; c++)
        unit->offset[c] = d->cal.relative >> c & 1 ? context(sim, unit->slot) : 0;
}

/* Makes `block` the unit's; its first issue is in the next cycle. */
void sim_begin(struct sim *sim, struct sim_pe *pe, unsigned u, struct sim_block *block) {
    struct sim_unit *unit = &pe->unit[u];
    const struct bf_descriptor *d = block->d;
    if (!unit->block)
        sim_waited(sim, pe, u, unit->cause, sim->cycle + 1 - unit->since);
    unit->block = block;
    unit->begun = sim->cycle + 1;
    unit->id = (uint8_t)(block - pe->block);
    unit->iteration = block->next;
    unit->slot = (uint8_t)(is_weight_load(d) ? block->next & 1 : block->next % sim->launch->window);
    memset(unit->level, 0, sizeof unit->level);
    if (u == BF_UNIT_CAL) {
        begin_cal(sim, unit, d);
    } else {
        memset(unit->offset, 0, sizeof unit->offset);
        if (u != BF_UNIT_FLOW)
            begin_mem(sim, unit, d);
        if (is_weight_load(d))
            begin_weight_load(sim, pe, unit);
    }
    if (!is_weight_load(d))
        block->counter[unit->slot] = 0;
    block->next = sim_next_present(sim, d, block->next + 1);
    sim_update_ready(sim, pe, unit->id);
    pe->active |= SIM_BUSY;
    if (sim->trace)
        sim_note(sim, pe->number, SIM_TRACE_CAL + u, SIM_EVENT_CHOOSE, "choose block=%u.%llu",
                 unit->id, (unsigned long long)unit->iteration);
}

/* The cycle of a block's last issue. */
void sim_end_block(struct sim *sim, struct sim_pe *pe, unsigned u) {
    struct sim_unit *unit = &pe->unit[u];
    if (sim->recorder)
        bf_record_block(sim->recorder, pe->number, unit->block->index, unit->iteration, unit->begun,
                        sim->cycle);
    struct sim_block *next =
        u == BF_UNIT_CAL && unit->block->d->cal.chain ? unit->block + 1 : sim_choose(sim, pe, u);
    if (next) {
        sim_begin(sim, pe, u, next);
        return;
    }
    unit->block = NULL;
    unit->since = sim->cycle + 1;
    unit->cause = BF_STALL_NONE;
    pe->active |= SIM_CHOOSE << u;
}

/* ---- waiting ---- */

static bool load_waits_for_half(const struct sim_pe *pe) {
    for (uint64_t left = pe->weight_loads; left; left &= left - 1)
        if (pe->block[__builtin_ctzll(left)].next != SIM_NEVER)
            return true;
    return false;
}

static enum bf_stall wait_cause(const struct sim *sim, const struct sim_pe *pe, unsigned u) {
    bool token = false, weights = false;
    uint64_t end = sim->low + sim->launch->window;
    for (uint64_t left = pe->present & unit_blocks[u] & ~pe->weight_loads; left; left &= left - 1) {
        const struct sim_block *b = &pe->block[__builtin_ctzll(left)];
        if (b->next >= end || b->chained)
            continue;
        if (b->counter[b->next % sim->launch->window] != b->d->need)
            token = true;
        else if (!(pe->ready & bit((unsigned)(b - pe->block))))
            weights = true;
        else
            token = true; /* strict: it waits for the blocks before it */
    }
    if (u == BF_UNIT_LOAD)
        return token ? BF_STALL_TOKEN : load_waits_for_half(pe) ? BF_STALL_WEIGHTS : BF_STALL_IDLE;
    return weights ? BF_STALL_WEIGHTS : token ? BF_STALL_TOKEN : BF_STALL_IDLE;
}

/* A unit without a block looks for one, or says why it waits. */
void sim_wait(struct sim *sim, struct sim_pe *pe, unsigned u) {
    struct sim_unit *unit = &pe->unit[u];
    struct sim_block *block = sim_choose(sim, pe, u);
    if (block) {
        if (unit->cause == BF_STALL_NONE)
            unit->cause = BF_STALL_TOKEN;
        sim_begin(sim, pe, u, block);
        return;
    }
    enum bf_stall cause = wait_cause(sim, pe, u);
    if (cause == unit->cause && unit->since <= sim->cycle && sim->cycle != sim->launched + 1)
        return;
    sim_waited(sim, pe, u, unit->cause, sim->cycle - unit->since);
    unit->since = sim->cycle;
    unit->cause = cause;
    if (sim->trace)
        sim_note_stall(sim, pe, u, cause);
}

void sim_flush_waits(struct sim *sim) {
    for (unsigned p = 0; p < sim->pes; p++)
        for (unsigned u = 0; u < 4; u++) {
            struct sim_unit *unit = &sim->pe[p].unit[u];
            if (!unit->block && unit->since <= sim->cycle) {
                enum bf_stall cause = unit->cause ? unit->cause : BF_STALL_IDLE;
                sim_waited(sim, &sim->pe[p], u, cause, sim->cycle + 1 - unit->since);
            }
        }
}

/* ---- completion, tokens ---- */

void sim_complete(struct sim *sim, struct sim_pe *pe, unsigned id, unsigned slot) {
    sim->events[sim->event_count++] = (struct sim_event){
        .pe = pe->number, .id = (uint8_t)id, .slot = (uint8_t)slot, .completion = true};
}

void sim_token(struct sim *sim, unsigned pe, unsigned id, unsigned slot) {
    sim->events[sim->event_count++] =
        (struct sim_event){.pe = (uint8_t)pe, .id = (uint8_t)id, .slot = (uint8_t)slot};
}

static void commit_token(struct sim *sim, unsigned p, unsigned id, unsigned slot) {
    struct sim_pe *pe = &sim->pe[p];
    uint64_t iteration = sim_slot_iteration(sim, slot);
    struct sim_block *b = &pe->block[id];
    if (!b->d) {
        sim_trap_block(sim, p, id, iteration, "a token, but this PE has no such block");
    } else if (iteration >= sim->total || !present(sim, b->d, iteration)) {
        sim_trap_block(sim, p, id, iteration, "a token, but the block is absent in this iteration");
    } else if (b->next > iteration || b->counter[slot] >= b->d->need) {
        sim_trap_block(sim, p, id, iteration, "more tokens than the %u it needs", b->d->need);
    } else {
        b->counter[slot]++;
        if (b->counter[slot] == b->d->need)
            sim_update_ready(sim, pe, id);
    }
}

static void complete_weight_load(struct sim *sim, struct sim_pe *pe, unsigned half) {
    if (--pe->set_left[half])
        return;
    pe->set_done[half] = pe->set_group[half];
    update_weight_users(sim, pe);
}

static void commit_completion(struct sim *sim, const struct sim_event *event) {
    struct sim_pe *pe = &sim->pe[event->pe];
    const struct bf_descriptor *d = pe->block[event->id].d;
    if (is_weight_load(d)) {
        complete_weight_load(sim, pe, event->slot);
        return;
    }
    if (!--pe->remaining[event->slot])
        pe->active |= SIM_RETIRE;
    for (unsigned t = 0; t < BF_TARGETS; t++)
        if (d->target[t] != BF_NO_BLOCK)
            commit_token(sim, event->pe, d->target[t] & (BF_BLOCKS - 1), event->slot);
}

/* ---- retire, window ---- */

static void retire(struct sim *sim, struct sim_pe *pe) {
    pe->active &= ~(uint32_t)SIM_RETIRE;
    unsigned slot = (unsigned)(pe->retired % sim->launch->window);
    if (pe->retired >= sim->total || pe->retired >= sim->low + sim->launch->window ||
        pe->remaining[slot])
        return;
    if (sim->trace)
        sim_note(sim, pe->number, SIM_TRACE_PE, SIM_EVENT_RETIRE, "retire iteration=%llu",
                 (unsigned long long)pe->retired);
    pe->retired++;
    pe->active |= SIM_RETIRE; /* the next may be complete too */
    for (uint64_t left = pe->weight_loads; left; left &= left - 1)
        sim_update_ready(sim, pe, (unsigned)__builtin_ctzll(left));
    if (++sim->retire_count[slot] == sim->pes) {
        sim->retire_count[slot] = 0;
        unsigned tail = (sim->pulse_head + sim->pulse_count++) % BF_MAX_WINDOW;
        sim->pulse[tail] = sim->cycle + sim->m->retire_latency;
    }
}

static void enter_iteration(struct sim *sim, struct sim_pe *pe, uint64_t iteration) {
    unsigned slot = (unsigned)(iteration % sim->launch->window);
    if (iteration < sim->total)
        pe->remaining[slot] = pe->present_count[phase_of(sim, iteration)];
    for (uint64_t left = pe->present & ~pe->weight_loads; left; left &= left - 1) {
        unsigned id = (unsigned)__builtin_ctzll(left);
        if (pe->block[id].next == iteration)
            sim_update_ready(sim, pe, id);
    }
    pe->active |= SIM_RETIRE | SIM_CHOOSE << BF_UNIT_CAL | SIM_CHOOSE << BF_UNIT_LOAD |
                  SIM_CHOOSE << BF_UNIT_FLOW | SIM_CHOOSE << BF_UNIT_STORE;
}

static void advance_window(struct sim *sim) {
    if (!sim->pulse_count || sim->pulse[sim->pulse_head] != sim->cycle)
        return;
    sim->pulse_head = (sim->pulse_head + 1) % BF_MAX_WINDOW;
    sim->pulse_count--;
    sim->low++;
    if (sim->trace)
        sim_note(sim, -1, SIM_TRACE_ARRAY, 0, "advance low=%llu", (unsigned long long)sim->low);
    for (unsigned p = 0; p < sim->pes; p++)
        enter_iteration(sim, &sim->pe[p], sim->low + sim->launch->window - 1);
    sim_watch_advance(sim);
}

void sim_commit_blocks(struct sim *sim) {
    for (unsigned p = 0; p < sim->pes; p++)
        if (sim->pe[p].active & SIM_RETIRE)
            retire(sim, &sim->pe[p]);
    for (uint32_t i = 0; i < sim->event_count && !sim->failed; i++) {
        const struct sim_event *event = &sim->events[i];
        if (event->completion)
            commit_completion(sim, event);
        else
            commit_token(sim, event->pe, event->id, event->slot);
    }
    sim->event_count = 0;
    advance_window(sim);
}
