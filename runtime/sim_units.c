/* sim_units.c - LOAD, FLOW and STORE (M1 to M8, F1, F2), the RAM write ports (P2), and one cycle of
 * a PE. */
#include "runtime/sim.h"

static uint16_t bank_bit(const struct sim *sim, uint32_t word) {
    return (uint16_t)(1u << sim->ram_bank[word]);
}

static void note_issue(struct sim *sim, const struct sim_pe *pe, unsigned u, const char *rest) {
    const struct sim_unit *unit = &pe->unit[u];
    sim_note(sim, pe->number, SIM_TRACE_CAL + u, SIM_EVENT_ISSUE, "issue block=%u.%llu %s",
             unit->id, (unsigned long long)unit->iteration, rest);
}

static void note_mem(struct sim *sim, const struct sim_pe *pe, unsigned u, uint32_t ram,
                     uint32_t spm) {
    char text[40];
    snprintf(text, sizeof text, "ram=%u spm=%u", ram, spm);
    note_issue(sim, pe, u, text);
}

/* ---- addresses ---- */

static uint32_t context_of(const struct sim *sim, const struct sim_unit *unit, bool relative) {
    if (!relative)
        return 0;
    return sim->launch->context_base + unit->slot * (uint32_t)sim->launch->context_size;
}

/* M3 */
static uint32_t reverse_bits(uint32_t x, unsigned width) {
    uint32_t low = 0;
    for (unsigned i = 0; i < width; i++)
        low = low << 1 | (x >> i & 1);
    return x >> width << width | low;
}

/* The scratchpad word of the unit's current trip; false and a trap if there is none. */
static bool spm_address(struct sim *sim, const struct sim_pe *pe, const struct sim_unit *unit,
                        uint32_t *spm) {
    *spm = (unit->spm + unit->offset[1]) & 0x3ffff;
    if (*spm < sim->m->spm_words)
        return true;
    sim_trap_block(sim, pe->number, unit->id, unit->iteration,
                   "scratchpad word %u, the scratchpad has %u", *spm, sim->m->spm_words);
    return false;
}

/* After an issue of LOAD or STORE: the next trip; true if that was the last. */
static bool advance_mem(struct sim_unit *unit) {
    const struct bf_descriptor *d = unit->block->d;
    int level = sim_advance(unit);
    if (level < 0)
        return true;
    unit->offset[0] += (uint32_t)(int32_t)d->mem.ram_delta[level];
    unit->offset[1] += (uint32_t)d->mem.spm_delta[level];
    return false;
}

/* ---- LOAD ---- */

static void load_issue(struct sim *sim, struct sim_pe *pe) {
    struct sim_unit *unit = &pe->unit[BF_UNIT_LOAD];
    const struct bf_descriptor *d = unit->block->d;
    struct sim_requests *queue = &pe->load_queue;
    if (queue->count >= sim->m->request_queue || pe->outstanding >= sim->m->response_queue) {
        sim_stall(sim, pe, BF_UNIT_LOAD, BF_STALL_QUEUE);
        return;
    }
    uint32_t spm;
    if (!spm_address(sim, pe, unit, &spm))
        return;
    uint32_t offset = reverse_bits(unit->offset[0] & sim->ram_mask, d->mem.reverse), ram;
    if (d->mem.weights)
        ram = unit->weight_base + ((d->mem.ram + offset) & unit->weight_mask);
    else
        ram = (context_of(sim, unit, d->mem.relative) + d->mem.ram + offset) & sim->ram_mask;
    struct sim_request *r = &queue->entry[(queue->head + queue->count++) % SIM_QUEUE];
    r->spm = spm;
    r->bank = sim->spm_bank[spm / sim->v];
    r->row = d->mem.row;
    r->ram = (uint16_t)ram;
    r->weights = d->mem.weights;
    r->id = unit->id;
    r->slot = unit->slot;
    sim->load_heads |= UINT64_C(1) << pe->number;
    pe->outstanding++;
    sim_issued(sim, BF_UNIT_LOAD);
    if (sim->trace)
        note_mem(sim, pe, BF_UNIT_LOAD, ram, spm);
    r->last = advance_mem(unit);
    if (r->last)
        sim_end_block(sim, pe, BF_UNIT_LOAD);
}

/* ---- STORE ---- */

/* Moves the word behind the read register on; BF_STALL_NONE if the register is free afterwards. */
static enum bf_stall store_read(struct sim *sim, struct sim_pe *pe) {
    struct sim_register *reg = &pe->store;
    if (!reg->valid)
        return BF_STALL_NONE;
    struct sim_requests *queue = &pe->store_queue;
    if (queue->count >= sim->m->request_queue)
        return BF_STALL_QUEUE;
    if (pe->read_claims & bank_bit(sim, reg->ram))
        return BF_STALL_PORT;
    pe->read_claims |= bank_bit(sim, reg->ram);
    struct sim_request *r = &queue->entry[(queue->head + queue->count++) % SIM_QUEUE];
    r->spm = reg->spm;
    r->bank = sim->spm_bank[reg->spm / sim->v];
    r->row = pe->block[reg->id].d->mem.row;
    r->id = reg->id;
    r->slot = reg->slot;
    r->last = reg->last;
    if (sim->values)
        memcpy(r->data, pe->ram + (size_t)reg->ram * sim->v, sim->v * sizeof(bf_half));
    sim->store_heads |= UINT64_C(1) << pe->number;
    sim->ks->ram_words++;
    reg->valid = false;
    if (sim->trace)
        sim_note(sim, pe->number, SIM_TRACE_STORE, SIM_EVENT_READ, "read ram=%u", reg->ram);
    return BF_STALL_NONE;
}

static void store_issue(struct sim *sim, struct sim_pe *pe) {
    struct sim_unit *unit = &pe->unit[BF_UNIT_STORE];
    const struct bf_descriptor *d = unit->block->d;
    uint32_t spm;
    if (!spm_address(sim, pe, unit, &spm))
        return;
    uint32_t ram = context_of(sim, unit, d->mem.relative) + d->mem.ram + unit->offset[0];
    pe->store = (struct sim_register){.valid = true,
                                      .id = unit->id,
                                      .slot = unit->slot,
                                      .ram = (uint16_t)(ram & sim->ram_mask),
                                      .spm = spm};
    sim_issued(sim, BF_UNIT_STORE);
    if (sim->trace)
        note_mem(sim, pe, BF_UNIT_STORE, pe->store.ram, spm);
    pe->store.last = advance_mem(unit);
    if (pe->store.last)
        sim_end_block(sim, pe, BF_UNIT_STORE);
}

/* ---- FLOW ---- */

static enum bf_stall flow_read(struct sim *sim, struct sim_pe *pe) {
    struct sim_register *reg = &pe->flow;
    if (!reg->valid)
        return BF_STALL_NONE;
    if (sim->mesh.router[pe->number].count[SIM_LOCAL] >= sim->router_depth)
        return BF_STALL_QUEUE;
    if (pe->read_claims & bank_bit(sim, reg->ram))
        return BF_STALL_PORT;
    pe->read_claims |= bank_bit(sim, reg->ram);
    struct sim_word *word = sim_mesh_inject(sim, pe->number);
    word->to = reg->to;
    word->token = reg->token;
    word->slot = reg->slot;
    word->ram = reg->destination;
    if (sim->values)
        memcpy(word->data, pe->ram + (size_t)reg->ram * sim->v, sim->v * sizeof(bf_half));
    sim->ks->ram_words++;
    reg->valid = false;
    if (reg->last)
        sim_complete(sim, pe, reg->id, reg->slot);
    if (sim->trace)
        sim_note(sim, pe->number, SIM_TRACE_FLOW, SIM_EVENT_READ, "read ram=%u", reg->ram);
    return BF_STALL_NONE;
}

/* F1 */
static void flow_issue(struct sim *sim, struct sim_pe *pe) {
    struct sim_unit *unit = &pe->unit[BF_UNIT_FLOW];
    const struct bf_descriptor *d = unit->block->d;
    uint32_t field = (1u << d->flow.width) - 1;
    uint32_t self = pe->number >> d->flow.shift & field;
    uint32_t k = (unit->level[1] ^ (d->flow.mode == BF_FLOW_XOR ? self : 0)) & field;
    uint32_t source = context_of(sim, unit, d->flow.source_relative) + d->flow.source +
                      unit->offset[0] + (k << d->flow.destination_shift);
    uint32_t destination = context_of(sim, unit, d->flow.destination_relative) +
                           d->flow.destination + unit->offset[1] + (self << d->flow.self_shift);
    uint32_t to = (pe->number & ~(field << d->flow.shift)) | k << d->flow.shift;
    if (to >= sim->pes) {
        sim_trap_block(sim, pe->number, unit->id, unit->iteration, "a word for PE %u", to);
        return;
    }
    pe->flow = (struct sim_register){.valid = true,
                                     .id = unit->id,
                                     .slot = unit->slot,
                                     .ram = (uint16_t)(source & sim->ram_mask),
                                     .destination = (uint16_t)(destination & sim->ram_mask),
                                     .to = (uint8_t)to,
                                     .token = d->flow.token};
    sim_issued(sim, BF_UNIT_FLOW);
    if (sim->trace) {
        char text[40];
        snprintf(text, sizeof text, "ram=%u to=%u", pe->flow.ram, to);
        note_issue(sim, pe, BF_UNIT_FLOW, text);
    }
    int level = sim_advance(unit);
    if (level >= 0) {
        unit->offset[0] += (uint32_t)(int32_t)d->flow.source_delta[level];
        unit->offset[1] += (uint32_t)(int32_t)d->flow.destination_delta[level];
        return;
    }
    pe->flow.last = true;
    sim_end_block(sim, pe, BF_UNIT_FLOW);
}

/* ---- RAM writes ---- */

static void eject(struct sim *sim, struct sim_pe *pe) {
    if (!pe->eject_count)
        return;
    uint16_t index = pe->eject[pe->eject_head];
    const struct sim_word *word = &sim->mesh.words[index];
    if (pe->write_claims & bank_bit(sim, word->ram))
        return;
    pe->write_claims |= bank_bit(sim, word->ram);
    if (sim->values)
        memcpy(pe->ram + (size_t)word->ram * sim->v, word->data, sim->v * sizeof(bf_half));
    sim->ks->ram_words++;
    if (word->token != BF_NO_BLOCK)
        sim_token(sim, pe->number, word->token & (BF_BLOCKS - 1), word->slot);
    if (sim->trace && word->token != BF_NO_BLOCK)
        sim_note(sim, pe->number, SIM_TRACE_FLOW, SIM_EVENT_WRITE, "arrive ram=%u token=%u",
                 word->ram, word->token);
    else if (sim->trace)
        sim_note(sim, pe->number, SIM_TRACE_FLOW, SIM_EVENT_WRITE, "arrive ram=%u", word->ram);
    sim_mesh_release(sim, index);
    pe->eject_head = (uint8_t)((pe->eject_head + 1) % SIM_QUEUE);
    pe->eject_count--;
}

/* The weight write of the cycle before: CAL's reads of this cycle, which stand for weight reads of
 * the cycle before, have been done. */
static void late_write(struct sim *sim, struct sim_pe *pe) {
    if (sim->values)
        memcpy(pe->weights + (size_t)pe->late.word * sim->v, pe->late.data,
               sim->v * sizeof(bf_half));
    pe->active &= ~(uint32_t)SIM_WEIGHT_WRITE;
}

static void respond(struct sim *sim, struct sim_pe *pe) {
    if (!pe->response_count)
        return;
    const struct sim_response *r = &pe->response[pe->response_head];
    if (r->at > sim->cycle)
        return;
    if (r->weights) {
        pe->late.word = r->ram;
        if (sim->values)
            memcpy(pe->late.data, r->data, sim->v * sizeof(bf_half));
        pe->active |= SIM_WEIGHT_WRITE;
    } else {
        if (pe->write_claims & bank_bit(sim, r->ram))
            return;
        if (sim->values)
            memcpy(pe->ram + (size_t)r->ram * sim->v, r->data, sim->v * sizeof(bf_half));
    }
    sim->ks->ram_words++;
    if (sim->trace)
        sim_note(sim, pe->number, SIM_TRACE_LOAD, SIM_EVENT_WRITE, "write %s=%u",
                 r->weights ? "weight" : "ram", r->ram);
    if (r->last)
        sim_complete(sim, pe, r->id, r->slot);
    pe->response_head = (uint8_t)((pe->response_head + 1) % SIM_RESPONSES);
    pe->response_count--;
    pe->outstanding--;
}

/* ---- one cycle of a PE ---- */

/* Lets a unit issue, stall or look for a block. `blocked`: why its read register is not free. */
static void unit_cycle(struct sim *sim, struct sim_pe *pe, unsigned u, enum bf_stall blocked,
                       void (*issue)(struct sim *, struct sim_pe *)) {
    if (pe->unit[u].block) {
        if (blocked)
            sim_stall(sim, pe, u, blocked);
        else
            issue(sim, pe);
    } else if (pe->active & SIM_CHOOSE << u) {
        pe->active &= ~((uint32_t)SIM_CHOOSE << u);
        sim_wait(sim, pe, u);
    }
}

static bool busy(const struct sim_pe *pe) {
    return pe->unit[0].block || pe->unit[1].block || pe->unit[2].block || pe->unit[3].block ||
           pe->flight_write != pe->flight_tail || pe->flow.valid || pe->store.valid ||
           pe->response_count || pe->eject_count;
}

void sim_pe_cycle(struct sim *sim, struct sim_pe *pe) {
    pe->read_claims = pe->write_claims = 0;
    sim_cal_read(sim, pe);
    unit_cycle(sim, pe, BF_UNIT_FLOW, flow_read(sim, pe), flow_issue);
    unit_cycle(sim, pe, BF_UNIT_STORE, store_read(sim, pe), store_issue);
    unit_cycle(sim, pe, BF_UNIT_LOAD, BF_STALL_NONE, load_issue);
    unit_cycle(sim, pe, BF_UNIT_CAL, BF_STALL_NONE, sim_cal_issue);
    if (pe->active & SIM_WEIGHT_WRITE)
        late_write(sim, pe);
    sim_cal_write(sim, pe);
    eject(sim, pe);
    respond(sim, pe);
    if (!busy(pe))
        pe->active &= ~(uint32_t)(SIM_BUSY | SIM_EJECT);
}
