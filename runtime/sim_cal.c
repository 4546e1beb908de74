/* sim_cal.c - the CAL unit: hazards, bank conflicts, operand reads, execution, RAM writes (C1 to
 * C8).
 *
 * The value of an instruction is computed when its last operand has been read. Accumulators take
 * it at once: the scoreboard lets no later instruction read it too early, and instructions read in
 * program order. RAM takes it in the cycle of the write, because FLOW and STORE may look before. */
#include "runtime/sim.h"

static const float constants[4][BF_MAX_LANES] = {
#define LANES4(x) x, x, x, x
#define LANES(x)                                                                                   \
    {LANES4(x), LANES4(x), LANES4(x), LANES4(x), LANES4(x), LANES4(x), LANES4(x), LANES4(x)}
    LANES(0.0F),
    LANES(1.0F),
    LANES(2.0F),
    LANES(0.5F),
};

static bf_half *ram_word(const struct sim *sim, const struct sim_pe *pe, uint32_t word) {
    return pe->ram + (size_t)word * sim->v;
}

static const bf_half *weight_word(const struct sim *sim, const struct sim_pe *pe, uint32_t lane) {
    return pe->weights + (size_t)(lane / sim->v) * sim->v;
}

static struct sim_flight *flight_at(struct sim_pe *pe, uint32_t count) {
    return &pe->flight[count % SIM_FLIGHTS];
}

/* ---- issue ---- */

enum { OPERAND_A, OPERAND_C, OPERAND_B };

static bool may_swap(const struct sim_unit *unit, const struct sim_op *op) {
    return unit->block->d->cal.swap && op->b_kind == SIM_LANE;
}

static bool acc_hazard(const struct sim *sim, const struct sim_pe *pe, const struct sim_op *op) {
    uint64_t now = sim->cycle;
    if (op->a_kind == SIM_ACC && now < pe->acc_ready[op->a])
        return true;
    if (op->c_kind == SIM_ACC && now < pe->acc_ready[op->c])
        return true;
    if (!op->to_acc)
        return false;
    if (op->raw && now < pe->acc_ready[op->acc])
        return true;
    uint32_t latency = op->special ? sim->m->special_latency : sim->m->fma_latency;
    return now + latency <= pe->acc_ready[op->acc];
}

/* Is a RAM write to one of the operands still further away than the next cycle? (C4) */
static bool ram_hazard(const struct sim *sim, struct sim_pe *pe, const struct sim_op *op,
                       const struct sim_flight *f) {
    uint16_t keep = (uint16_t)~f->swap;
    for (uint32_t i = pe->flight_write; i != pe->flight_tail; i++) {
        const struct sim_flight *w = flight_at(pe, i);
        if (!w->op->to_ram || w->write_at <= sim->cycle + 1)
            continue;
        if ((op->a_kind == SIM_RAM && (w->d & keep) == (f->a & keep)) ||
            (op->c_kind == SIM_RAM && (w->d & keep) == (f->c & keep)) ||
            (op->b_kind == SIM_RAM && w->d == f->b))
            return true;
    }
    return false;
}

static uint16_t bank_bit(const struct sim *sim, uint32_t word) {
    return (uint16_t)(1u << sim->ram_bank[word]);
}

/* Distributes the RAM operands over read cycles (C6); an instruction that may swap claims the
 * banks of both addresses, so that timing never depends on data. */
static void plan_reads(const struct sim *sim, const struct sim_op *op, struct sim_flight *f) {
    const uint8_t kinds[3] = {op->a_kind, op->c_kind, op->b_kind};
    const uint16_t words[3] = {f->a, f->c, f->b};
    f->extra = 0;
    f->claims[0] = f->claims[1] = f->claims[2] = 0;
    for (unsigned i = 0; i < 3; i++) {
        f->step[i] = 0;
        if (kinds[i] != SIM_RAM)
            continue;
        bool same = false;
        for (unsigned j = 0; j < i && !same; j++) {
            if (kinds[j] != SIM_RAM)
                continue;
            if (words[j] == words[i]) {
                f->step[i] = f->step[j];
                same = true;
            } else if (sim->ram_bank[words[j]] == sim->ram_bank[words[i]] &&
                       f->step[j] >= f->step[i]) {
                f->step[i] = (uint8_t)(f->step[j] + 1);
            }
        }
        f->claims[f->step[i]] |= bank_bit(sim, words[i]);
        if (f->swap && i != OPERAND_B)
            f->claims[f->step[i]] |= bank_bit(sim, (words[i] ^ f->swap) & sim->ram_mask);
        if (f->step[i] > f->extra)
            f->extra = f->step[i];
    }
}

static void fill_flight(const struct sim *sim, const struct sim_unit *unit, const struct sim_op *op,
                        struct sim_flight *f) {
    const uint32_t *offset = unit->offset;
    f->op = op;
    f->a = (uint16_t)((op->a + offset[op->a_class]) & sim->ram_mask);
    f->c = (uint16_t)((op->c + offset[op->c_class]) & sim->ram_mask);
    f->d = (uint16_t)((op->d + offset[op->d_class]) & sim->ram_mask);
    f->b = 0;
    if (op->b_kind == SIM_RAM)
        f->b = (uint16_t)((op->b + offset[op->b_class]) & sim->ram_mask);
    else if (op->b_kind == SIM_LANE)
        f->weight = unit->weight_base + ((op->b + offset[op->b_class]) & unit->weight_mask);
    else if (op->b_kind == SIM_WEIGHT)
        f->weight =
            unit->weight_base + (((op->b + offset[op->b_class]) * sim->v) & unit->weight_mask);
    f->swap = 0;
    if (may_swap(unit, op))
        f->swap = (uint16_t)((1u << (unit->block->d->cal.swap - 1)) & sim->ram_mask);
}

/* The instruction leaves the issue stage in this cycle. */
static void issue(struct sim *sim, struct sim_pe *pe, struct sim_flight *f) {
    struct sim_unit *unit = &pe->unit[BF_UNIT_CAL];
    const struct sim_op *op = f->op;
    const struct bf_descriptor *d = unit->block->d;
    sim_issued(sim, BF_UNIT_CAL);
    if (op->special) {
        sim->ks->special++;
        pe->special_free = sim->cycle + sim->m->special_interval;
    }
    if (op->to_acc)
        pe->acc_ready[op->acc] =
            sim->cycle + (op->special ? sim->m->special_latency : sim->m->fma_latency);
    if (sim->trace)
        sim_note(sim, pe->number, SIM_TRACE_CAL, SIM_EVENT_ISSUE, "issue block=%u.%llu pc=%u",
                 unit->id, (unsigned long long)unit->iteration, d->cal.start + unit->position);
    f->last = false;
    if (++unit->position < d->cal.length)
        return;
    unit->position = 0;
    int level = sim_advance(unit);
    if (level >= 0) {
        for (unsigned c = 0; c < BF_CLASSES; c++)
            unit->offset[c] += (uint32_t)(int32_t)d->cal.delta[c][level];
        return;
    }
    f->last = true;
    sim_end_block(sim, pe, BF_UNIT_CAL);
}

/* One cycle of a CAL unit that has a block. */
void sim_cal_issue(struct sim *sim, struct sim_pe *pe) {
    struct sim_unit *unit = &pe->unit[BF_UNIT_CAL];
    if (pe->hold) {
        if (--pe->hold)
            sim_stall(sim, pe, BF_UNIT_CAL, BF_STALL_BANK);
        else
            issue(sim, pe, flight_at(pe, pe->flight_tail - 1));
        return;
    }
    const struct sim_op *op = &unit->block->body[unit->position];
    struct sim_flight *f = flight_at(pe, pe->flight_tail);
    fill_flight(sim, unit, op, f);
    if (acc_hazard(sim, pe, op) || ram_hazard(sim, pe, op, f)) {
        sim_stall(sim, pe, BF_UNIT_CAL, BF_STALL_HAZARD);
        return;
    }
    if (op->special && sim->cycle < pe->special_free) {
        sim_stall(sim, pe, BF_UNIT_CAL, BF_STALL_SPECIAL);
        return;
    }
    plan_reads(sim, op, f);
    f->start = sim->cycle;
    f->write_at = sim->cycle + f->extra + 3 + sim->m->fma_latency;
    f->id = unit->id;
    f->slot = unit->slot;
    f->exponent = unit->block->d->cal.exponent;
    pe->flight_tail++;
    pe->hold = f->extra;
    if (f->extra)
        sim_stall(sim, pe, BF_UNIT_CAL, BF_STALL_BANK);
    else
        issue(sim, pe, f);
}

/* ---- reads ---- */

static void read_weights(struct sim *sim, struct sim_pe *pe, struct sim_flight *f) {
    const struct sim_op *op = f->op;
    if (op->b_kind != SIM_LANE && op->b_kind != SIM_WEIGHT)
        return;
    sim->ks->ram_words++;
    if (!sim->values)
        return;
    const bf_half *word = weight_word(sim, pe, f->weight);
    unsigned lane = op->b_kind == SIM_LANE ? f->weight % sim->v : 0;
    f->lane = word[lane];
    if (op->c_kind == SIM_LANE)
        f->c_lane = word[(lane + op->c) % sim->v];
    if (f->swap) {
        if (f->lane & 0x4000) {
            f->a = (f->a ^ f->swap) & (uint16_t)sim->ram_mask;
            f->c = (f->c ^ f->swap) & (uint16_t)sim->ram_mask;
        }
        f->lane &= (bf_half)~0x4000;
    }
    if (f->extra && op->b_kind == SIM_WEIGHT)
        memcpy(pe->held_weight, word, sim->v * sizeof *word);
}

static void hold_operands(const struct sim *sim, struct sim_pe *pe, const struct sim_flight *f,
                          unsigned step) {
    const uint8_t kinds[3] = {f->op->a_kind, f->op->c_kind, f->op->b_kind};
    const uint16_t words[3] = {f->a, f->c, f->b};
    for (unsigned i = 0; i < 3; i++)
        if (kinds[i] == SIM_RAM && f->step[i] == step)
            memcpy(pe->held[i], ram_word(sim, pe, words[i]), sim->v * sizeof(bf_half));
}

/* The read stage, from two cycles after an instruction's start on. */
void sim_cal_read(struct sim *sim, struct sim_pe *pe) {
    if (pe->flight_read == pe->flight_tail)
        return;
    struct sim_flight *f = flight_at(pe, pe->flight_read);
    if (sim->cycle < f->start + 2)
        return;
    unsigned step = (unsigned)(sim->cycle - f->start - 2);
    pe->read_claims |= f->claims[step];
    if (!step)
        read_weights(sim, pe, f);
    if (f->extra && sim->values)
        hold_operands(sim, pe, f, step);
    if (step == f->extra) {
        sim_execute(sim, pe, f);
        pe->flight_read++;
    }
}

/* ---- execution ---- */

/* Distinct RAM words that an instruction reads. */
static unsigned words_read(const struct sim_flight *f) {
    const struct sim_op *op = f->op;
    bool a = op->a_kind == SIM_RAM, c = op->c_kind == SIM_RAM, b = op->b_kind == SIM_RAM;
    return a + (c && !(a && f->c == f->a)) + (b && !(a && f->b == f->a) && !(c && f->b == f->c));
}

static const bf_half *operand_word(const struct sim *sim, const struct sim_pe *pe,
                                   const struct sim_flight *f, unsigned which, uint16_t word) {
    return f->extra ? pe->held[which] : ram_word(sim, pe, word);
}

static const float *operand_a(struct sim *sim, struct sim_pe *pe, const struct sim_flight *f,
                              float *space) {
    if (f->op->a_kind == SIM_ACC)
        return pe->acc[f->op->a];
    if (f->op->a_kind == SIM_RAM)
        sim->lanes->half_to_float(space, operand_word(sim, pe, f, OPERAND_A, f->a), sim->v);
    return space;
}

static const float *operand_b(struct sim *sim, struct sim_pe *pe, const struct sim_flight *f,
                              float *space) {
    const struct bf_lane_ops *lanes = sim->lanes;
    switch (f->op->b_kind) {
    case SIM_CONST:
        return constants[f->op->b];
    case SIM_LANE:
        lanes->splat(space, f->lane, sim->v);
        break;
    case SIM_WEIGHT:
        lanes->half_to_float(space, f->extra ? pe->held_weight : weight_word(sim, pe, f->weight),
                             sim->v);
        break;
    case SIM_RAM:
        lanes->half_to_float(space, operand_word(sim, pe, f, OPERAND_B, f->b), sim->v);
        break;
    }
    return space;
}

static const float *operand_c(struct sim *sim, struct sim_pe *pe, const struct sim_flight *f,
                              float *space) {
    switch (f->op->c_kind) {
    case SIM_ZERO:
        return constants[0];
    case SIM_ONE:
        return constants[1];
    case SIM_ACC:
        return pe->acc[f->op->c];
    case SIM_LANE:
        sim->lanes->splat(space, f->c_lane, sim->v);
        break;
    case SIM_RAM:
        sim->lanes->half_to_float(space, operand_word(sim, pe, f, OPERAND_C, f->c), sim->v);
        break;
    }
    return space;
}

/* Moves of raw halves; false if the operation is not one. */
static bool execute_raw(struct sim *sim, struct sim_pe *pe, struct sim_flight *f) {
    const struct sim_op *op = f->op;
    switch (op->op) {
    case BF_CAL_STLO:
    case BF_CAL_STHI:
        sim->lanes->split(f->result, pe->acc[op->a], op->op == BF_CAL_STHI, sim->v);
        return true;
    case BF_CAL_LDLO:
    case BF_CAL_LDHI:
        sim->lanes->join(pe->acc[op->acc], operand_word(sim, pe, f, OPERAND_C, f->c),
                         op->op == BF_CAL_LDHI, sim->v);
        return true;
    default:
        return false;
    }
}

void sim_execute(struct sim *sim, struct sim_pe *pe, struct sim_flight *f) {
    const struct sim_op *op = f->op;
    const struct bf_lane_ops *lanes = sim->lanes;
    unsigned v = sim->v;
    sim->ks->ram_words += words_read(f);
    if (!sim->values || execute_raw(sim, pe, f))
        return;
    float space[4][BF_MAX_LANES];
    const float *a = operand_a(sim, pe, f, space[0]);
    const float *b = operand_b(sim, pe, f, space[1]);
    const float *c = operand_c(sim, pe, f, space[2]);
    float *d = op->to_acc ? pe->acc[op->acc] : space[3];
    switch (op->op) {
    case BF_CAL_FMA:
        lanes->fma(d, a, b, c, op->flags, v);
        break;
    case BF_CAL_MAX:
        lanes->max(d, a, c, op->flags, v);
        break;
    case BF_CAL_SEL:
        lanes->sel(d, a, b, c, op->flags, v);
        break;
    case BF_CAL_FRAC:
        lanes->frac(d, a, op->flags, v);
        break;
    case BF_CAL_LDEXP:
        lanes->ldexp(d, a, c, op->flags, v);
        break;
    case BF_CAL_CVTI:
        lanes->cvti(d, a, op->flags, v);
        break;
    case BF_CAL_CVTF:
        lanes->cvtf(d, a, v);
        break;
    case BF_CAL_EXP2:
        lanes->special(BF_SPECIAL_EXP2, d, a, op->flags, v);
        break;
    case BF_CAL_RCP:
        lanes->special(BF_SPECIAL_RCP, d, a, op->flags, v);
        break;
    case BF_CAL_RSQRT:
        lanes->special(BF_SPECIAL_RSQRT, d, a, op->flags, v);
        break;
    }
    if (op->to_ram)
        lanes->round(f->result, d, f->exponent, v);
}

/* ---- writes ---- */

void sim_cal_write(struct sim *sim, struct sim_pe *pe) {
    if (pe->flight_write == pe->flight_read)
        return;
    struct sim_flight *f = flight_at(pe, pe->flight_write);
    if (f->write_at != sim->cycle)
        return;
    pe->flight_write++;
    if (f->op->to_ram) {
        pe->write_claims |= bank_bit(sim, f->d);
        if (sim->values)
            memcpy(ram_word(sim, pe, f->d), f->result, sim->v * sizeof(bf_half));
        sim->ks->ram_words++;
        if (sim->trace)
            sim_note(sim, pe->number, SIM_TRACE_CAL, SIM_EVENT_WRITE, "write ram=%u", f->d);
    }
    if (f->last)
        sim_complete(sim, pe, f->id, f->slot);
}
