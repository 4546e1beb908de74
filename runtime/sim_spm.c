/* sim_spm.c - the scratchpad: storage in V x V tiles (W3), arbitration and multicast (S1 to S3). */
#include "runtime/sim.h"

/* ---- storage ---- */

void sim_spm_read(const struct sim *sim, uint32_t word, bool row, bf_half *data) {
    uint32_t v = sim->v;
    const bf_half *tile = sim->spm + (size_t)(word / v) * v * v;
    if (!row) {
        memcpy(data, tile + (size_t)(word % v) * v, v * sizeof *data);
        return;
    }
    for (uint32_t c = 0; c < v; c++)
        data[c] = tile[c * v + word % v];
}

void sim_spm_write(struct sim *sim, uint32_t word, bool row, unsigned first, unsigned count,
                   const bf_half *data) {
    uint32_t v = sim->v;
    bf_half *tile = sim->spm + (size_t)(word / v) * v * v;
    if (!row) {
        memcpy(tile + (size_t)(word % v) * v + first, data + first, count * sizeof *data);
        return;
    }
    for (uint32_t c = first; c < first + count; c++)
        tile[c * v + word % v] = data[c];
}

/* ---- arbitration ---- */

/* Requesters of a bank's round robin: 2p: LOAD of PE p, 2p + 1: its STORE, 2 x PEs: the DMA. */
struct winner {
    uint16_t distance; /* from the bank's pointer; the smallest wins */
    uint16_t requester;
};

static void compete(const struct sim *sim, struct winner *winners, unsigned bank,
                    unsigned requester) {
    unsigned count = 2 * sim->pes + 1, pointer = sim->pointer[bank];
    unsigned distance = requester >= pointer ? requester - pointer : requester + count - pointer;
    if (distance < winners[bank].distance) {
        winners[bank].distance = (uint16_t)distance;
        winners[bank].requester = (uint16_t)requester;
    }
}

static const struct sim_request *head(const struct sim_requests *queue) {
    return &queue->entry[queue->head];
}

static void note_grant(struct sim *sim, unsigned p, unsigned unit, uint32_t spm) {
    if (sim->trace)
        sim_note(sim, (int)p, unit, SIM_EVENT_GRANT, "grant spm=%u", spm);
}

static void grant_load(struct sim *sim, unsigned p) {
    struct sim_pe *pe = &sim->pe[p];
    const struct sim_request *r = head(&pe->load_queue);
    struct sim_response *to =
        &pe->response[(pe->response_head + pe->response_count++) % SIM_RESPONSES];
    to->at = sim->cycle + 1 + sim->m->spm_latency;
    to->ram = r->ram;
    to->weights = r->weights;
    to->last = r->last;
    to->id = r->id;
    to->slot = r->slot;
    if (sim->values)
        sim_spm_read(sim, r->spm, r->row, to->data);
    pe->active |= SIM_BUSY;
    sim->load_pops |= UINT64_C(1) << p;
    note_grant(sim, p, SIM_TRACE_LOAD, r->spm);
}

/* All heads that ask for the winner's word (S2). */
static void multicast(struct sim *sim, unsigned winner) {
    const struct sim_request *r = head(&sim->pe[winner].load_queue);
    uint32_t spm = r->spm;
    bool row = r->row;
    sim->ks->spm_words++;
    for (uint64_t left = sim->load_heads; left; left &= left - 1) {
        unsigned p = (unsigned)__builtin_ctzll(left);
        const struct sim_request *other = head(&sim->pe[p].load_queue);
        if (other->spm == spm && other->row == row)
            grant_load(sim, p);
    }
}

/* Writes the lanes that a STORE writes, and counts what is not finite among them. */
static void store_values(struct sim *sim, const struct sim_block *block,
                         const struct sim_request *r) {
    unsigned lanes = block->d->mem.reverse, v = sim->v;
    unsigned first = lanes == BF_LANES_REST, count = lanes == BF_LANES_FIRST ? 1 : v - first;
    sim_spm_write(sim, r->spm, r->row, first, count, r->data);
    struct bf_block_stats *stats = &sim->block_stats[block->index];
    uint64_t infinities = 0, nans = 0;
    if (count == v) {
        sim->lanes->count(r->data, v, &infinities, &nans);
    } else {
        for (unsigned i = first; i < first + count; i++) {
            infinities += bf_half_is_infinity(r->data[i]);
            nans += bf_half_is_nan(r->data[i]);
        }
    }
    stats->infinities += infinities;
    stats->nans += nans;
    sim->ks->infinities += infinities;
    sim->ks->nans += nans;
}

static void grant_store(struct sim *sim, unsigned p) {
    struct sim_pe *pe = &sim->pe[p];
    const struct sim_request *r = head(&pe->store_queue);
    const struct sim_block *block = &pe->block[r->id];
    sim->ks->spm_words++;
    if (sim->values)
        store_values(sim, block, r);
    if (r->last)
        sim_complete(sim, pe, r->id, r->slot);
    sim->store_pops |= UINT64_C(1) << p;
    note_grant(sim, p, SIM_TRACE_STORE, r->spm);
}

void sim_spm_cycle(struct sim *sim) {
    bool dma = sim->dma.word.valid;
    if (!(sim->load_heads | sim->store_heads) && !dma)
        return;
    struct winner winners[64];
    uint32_t banks = sim->m->spm_ports;
    for (uint32_t b = 0; b < banks; b++)
        winners[b].distance = UINT16_MAX;
    for (uint64_t left = sim->load_heads; left; left &= left - 1) {
        unsigned p = (unsigned)__builtin_ctzll(left);
        compete(sim, winners, head(&sim->pe[p].load_queue)->bank, 2 * p);
    }
    for (uint64_t left = sim->store_heads; left; left &= left - 1) {
        unsigned p = (unsigned)__builtin_ctzll(left);
        compete(sim, winners, head(&sim->pe[p].store_queue)->bank, 2 * p + 1);
    }
    if (dma)
        compete(sim, winners, sim->spm_bank[sim->dma.word.spm / sim->v], 2 * sim->pes);
    for (uint32_t b = 0; b < banks; b++) {
        if (winners[b].distance == UINT16_MAX)
            continue;
        unsigned r = winners[b].requester;
        sim->pointer[b] = (uint8_t)(r == 2 * sim->pes ? 0 : r + 1);
        if (r == 2 * sim->pes)
            sim_dma_grant(sim);
        else if (r & 1)
            grant_store(sim, r / 2);
        else
            multicast(sim, r / 2);
    }
}

static void pop(struct sim_requests *queue, uint64_t *heads, unsigned p) {
    queue->head = (uint8_t)((queue->head + 1) % SIM_QUEUE);
    if (!--queue->count)
        *heads &= ~(UINT64_C(1) << p);
}

void sim_spm_commit(struct sim *sim) {
    for (uint64_t left = sim->load_pops; left; left &= left - 1) {
        unsigned p = (unsigned)__builtin_ctzll(left);
        pop(&sim->pe[p].load_queue, &sim->load_heads, p);
    }
    for (uint64_t left = sim->store_pops; left; left &= left - 1) {
        unsigned p = (unsigned)__builtin_ctzll(left);
        pop(&sim->pe[p].store_queue, &sim->store_heads, p);
    }
    sim->load_pops = sim->store_pops = 0;
}
