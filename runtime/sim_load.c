/* sim_load.c - from the words of a kernel to what the units run, and the start of a launch. */
#include <stdlib.h>

#include "runtime/sim.h"

/* ---- decoding ---- */

static uint8_t b_kind(const struct bf_cal *cal) {
    switch (cal->b_kind) {
    case BF_B_LANE:
        return SIM_LANE;
    case BF_B_DATA:
        return SIM_RAM;
    case BF_B_WEIGHT:
        return SIM_WEIGHT;
    default:
        return SIM_CONST;
    }
}

static uint8_t c_kind(const struct bf_cal *cal) {
    if (cal->c_class != BF_CLASS_SPECIAL)
        return SIM_RAM;
    switch (cal->c >> 8 & 3) {
    case BF_C_ACC:
        return SIM_ACC;
    case BF_C_ZERO:
        return SIM_ZERO;
    case BF_C_ONE:
        return SIM_ONE;
    default:
        return SIM_LANE;
    }
}

static struct sim_op decode_op(const struct bf_cal *cal) {
    unsigned operands = bf_cal_operands(cal->op);
    struct sim_op op = {
        .op = cal->op,
        .flags = (uint8_t)((cal->negate_product ? BF_NEGATE_A : 0) |
                           (cal->negate_addend ? BF_NEGATE_C : 0)),
        .valid = true,
        .special = bf_cal_special(cal->op),
        .to_acc = cal->dst & BF_DST_ACC,
        .to_ram = cal->dst & BF_DST_RAM,
        .raw = cal->op == BF_CAL_LDLO || cal->op == BF_CAL_LDHI,
        .acc = cal->acc & 15,
        .d = cal->d,
        .d_class = cal->d_class & 3,
    };
    if (operands & 1) {
        op.a_kind = cal->a_class == BF_CLASS_SPECIAL ? SIM_ACC : SIM_RAM;
        op.a = op.a_kind == SIM_ACC ? cal->a & 15 : cal->a;
        op.a_class = cal->a_class & 3;
    }
    if (operands & 2) {
        op.b_kind = b_kind(cal);
        op.b = op.b_kind == SIM_CONST ? cal->b & 3 : cal->b;
        op.b_class = cal->b_class & 3;
    }
    if (operands & 4) {
        op.c_kind = c_kind(cal);
        op.c = op.c_kind == SIM_ACC ? cal->c & 15 : op.c_kind == SIM_LANE ? cal->c & 31 : cal->c;
        op.c_class = cal->c_class & 3;
    }
    return op;
}

static bool same_segments(const struct bf_kernel *kernel, unsigned a, unsigned b) {
    for (size_t s = 0; s < kernel->segment_count; s++)
        if ((kernel->segments[s].pes >> a & 1) != (kernel->segments[s].pes >> b & 1))
            return false;
    return true;
}

static bool decode_image(struct sim *sim, const struct bf_kernel *kernel, unsigned pe,
                         struct sim_image *image) {
    uint32_t words = sim->m->code_words;
    image->ops = bf_alloc(words * sizeof *image->ops);
    for (size_t s = 0; s < kernel->segment_count; s++) {
        const struct bf_segment *segment = &kernel->segments[s];
        if (!(segment->pes >> pe & 1))
            continue;
        for (unsigned i = 0; i < segment->count && segment->start + i < words; i++) {
            struct bf_cal cal;
            if (!bf_cal_decode(segment->words[i], &cal, sim->error) ||
                !bf_cal_check(&cal, sim->m, sim->error)) {
                sim_trap(sim, "kernel %s, CAL word %u", kernel->name, segment->start + i);
                return false;
            }
            image->ops[segment->start + i] = decode_op(&cal);
        }
    }
    return true;
}

bool sim_decode_kernel(struct sim *sim, uint32_t index) {
    struct sim_kernel *decoded = &sim->kernels[index];
    const struct bf_kernel *kernel = &sim->program->kernels[index];
    if (decoded->decoded)
        return true;
    decoded->decoded = true;
    decoded->images = bf_alloc(sim->pes * sizeof *decoded->images);
    for (unsigned pe = 0; pe < sim->pes; pe++) {
        unsigned other = 0;
        while (other < pe && !same_segments(kernel, pe, other))
            other++;
        if (other < pe) {
            decoded->image_of[pe] = decoded->image_of[other];
            continue;
        }
        decoded->image_of[pe] = (uint8_t)decoded->image_count;
        if (!decode_image(sim, kernel, pe, &decoded->images[decoded->image_count++]))
            return false;
    }
    return true;
}

/* ---- what a block must keep to beyond its fields ---- */

static const char *bad_body(const struct sim *sim, const struct bf_descriptor *d,
                            const struct sim_op *ops) {
    if ((unsigned)d->cal.start + d->cal.length > sim->m->code_words)
        return "its body ends outside the code store";
    for (unsigned i = 0; i < d->cal.length; i++) {
        const struct sim_op *op = &ops[d->cal.start + i];
        if (!op->valid)
            return "its body has words that were not loaded";
        if ((op->b_kind == SIM_LANE || op->b_kind == SIM_WEIGHT) &&
            (d->cal.relative >> op->b_class & 1))
            return "a weight operand has a relative class";
    }
    return NULL;
}

static const char *bad_block(const struct sim *sim, unsigned id, const struct bf_descriptor *d,
                             const struct sim_op *ops) {
    if (d->unit != bf_block_unit(id))
        return "its id belongs to another unit";
    for (int l = 0; l < BF_LEVELS; l++)
        if (!d->trips[l])
            return "it runs no times";
    if (d->unit == BF_UNIT_CAL)
        return d->cal.swap > 10 ? "its swap bit lies outside the RAM" : bad_body(sim, d, ops);
    if (d->unit == BF_UNIT_FLOW)
        return 1u << (d->flow.shift + d->flow.width) > sim->pes
                   ? "its PE field lies outside the mesh"
                   : NULL;
    if (d->unit == BF_UNIT_STORE)
        return d->mem.weights ? "a STORE cannot reach the weight RAM" : NULL;
    if (d->mem.weights && (d->need || d->mem.relative || d->target[0] != BF_NO_BLOCK ||
                           d->target[1] != BF_NO_BLOCK || d->target[2] != BF_NO_BLOCK))
        return "a weight LOAD has no tokens, no targets and no context";
    return NULL;
}

/* B6 */
static const char *bad_chain(const struct sim_pe *pe, unsigned id) {
    const struct bf_descriptor *d = pe->block[id].d, *next;
    if (d->unit != BF_UNIT_CAL || !d->cal.chain)
        return NULL;
    if (id + 1 >= BF_FIRST_LOAD || !(next = pe->block[id + 1].d))
        return "it chains to a block that does not exist";
    if (next->first != d->first || next->last != d->last)
        return "it chains to a block of other phases";
    if (next->need)
        return "it chains to a block that waits for tokens";
    if (next->cal.uses_weights && !d->cal.uses_weights)
        return "it chains to a block that uses weights, and uses none itself";
    return NULL;
}

/* ---- launch ---- */

static void count_present(struct sim *sim, struct sim_pe *pe) {
    memset(pe->present_count, 0, sizeof pe->present_count);
    for (uint64_t left = pe->present & ~pe->weight_loads; left; left &= left - 1) {
        const struct bf_descriptor *d = pe->block[__builtin_ctzll(left)].d;
        for (unsigned phase = d->first; phase <= d->last && phase < sim->launch->period; phase++)
            pe->present_count[phase]++;
    }
}

static bool install_blocks(struct sim *sim) {
    const struct sim_kernel *decoded = &sim->kernels[sim->launch->kernel];
    for (size_t i = 0; i < sim->kernel->block_count; i++) {
        const struct bf_block *block = &sim->kernel->blocks[i];
        for (uint64_t left = block->pes; left; left &= left - 1) {
            unsigned p = (unsigned)__builtin_ctzll(left);
            if (p >= sim->pes || block->id >= BF_BLOCKS)
                break;
            struct sim_pe *pe = &sim->pe[p];
            const struct sim_op *ops = decoded->images[decoded->image_of[p]].ops;
            struct sim_block *b = &pe->block[block->id];
            b->d = &block->d;
            b->index = (uint32_t)i;
            const char *reason = bad_block(sim, block->id, b->d, ops);
            if (reason) {
                sim_trap_block(sim, p, block->id, 0, "%s", reason);
                return false;
            }
            if (b->d->unit == BF_UNIT_CAL)
                b->body = ops + b->d->cal.start;
            pe->present |= UINT64_C(1) << block->id;
            if (b->d->unit == BF_UNIT_LOAD && b->d->mem.weights)
                pe->weight_loads |= UINT64_C(1) << block->id;
        }
    }
    return true;
}

static bool start_pe(struct sim *sim, struct sim_pe *pe) {
    count_present(sim, pe);
    for (uint64_t left = pe->present; left; left &= left - 1) {
        unsigned id = (unsigned)__builtin_ctzll(left);
        struct sim_block *b = &pe->block[id];
        const char *reason = bad_chain(pe, id);
        if (reason) {
            sim_trap_block(sim, pe->number, id, 0, "%s", reason);
            return false;
        }
        if (b->d->unit == BF_UNIT_CAL && b->d->cal.chain)
            pe->block[id + 1].chained = true;
        b->next = sim_next_present(sim, b->d, 0);
    }
    for (uint64_t i = 0; i < sim->launch->window && i < sim->total; i++)
        pe->remaining[i] = pe->present_count[i % sim->launch->period];
    for (uint64_t left = pe->present; left; left &= left - 1)
        sim_update_ready(sim, pe, (unsigned)__builtin_ctzll(left));
    for (unsigned u = 0; u < 4; u++) {
        pe->unit[u].since = sim->cycle + 1;
        pe->unit[u].cause = BF_STALL_IDLE;
        pe->active |= SIM_CHOOSE << u;
    }
    pe->active |= SIM_RETIRE;
    return true;
}

/* L3: everything but RAM and accumulators. */
static void clear_pe(struct sim_pe *pe) {
    uint8_t number = pe->number;
    bf_half *ram = pe->ram, *weights = pe->weights;
    size_t kept = offsetof(struct sim_pe, acc);
    memset(pe, 0, kept);
    pe->number = number;
    pe->ram = ram;
    pe->weights = weights;
}

static bool set_groups(struct sim *sim, const struct bf_launch *launch) {
    static const uint64_t limit = UINT64_C(1) << 20;
    if (launch->window < 1 || launch->window > BF_MAX_WINDOW || launch->period < 1 ||
        launch->period > BF_MAX_PERIOD || launch->group_level > BF_LEVELS)
        return false;
    if (launch->one_weight_set && launch->group_level != BF_LEVELS)
        return false;
    sim->total = 1;
    sim->group_size = 1;
    for (unsigned l = 0; l < BF_LEVELS; l++) {
        if (!launch->trips[l] || launch->trips[l] > limit)
            return false;
        sim->total *= launch->trips[l];
        if (l < launch->group_level)
            sim->group_size *= launch->trips[l];
    }
    return true;
}

bool sim_launch(struct sim *sim, const struct bf_launch *launch) {
    sim->launch = launch;
    sim->kernel = &sim->program->kernels[launch->kernel];
    sim->ks = &sim->stats->kernels[launch->kernel];
    sim->block_stats = sim->stats->blocks[launch->kernel];
    if (!set_groups(sim, launch)) {
        sim_trap(sim, "kernel %s: its launch record is out of range", sim->kernel->name);
        return false;
    }
    sim->ks->runs++;
    sim->launched = sim->cycle;
    sim->low = 0;
    memset(sim->retire_count, 0, sizeof sim->retire_count);
    sim->pulse_count = 0;
    memset(sim->pointer, 0, sizeof sim->pointer);
    sim_mesh_reset(sim);
    for (unsigned p = 0; p < sim->pes; p++)
        clear_pe(&sim->pe[p]);
    if (!install_blocks(sim))
        return false;
    for (unsigned p = 0; p < sim->pes; p++)
        if (!start_pe(sim, &sim->pe[p]))
            return false;
    if (sim_memo_launch(sim))
        return true;
    sim_watch_launch(sim);
    sim->running = true;
    return true;
}
