/* rows_code.c - schedule of row kernels: blocks, tokens, the launch.
 *
 *   LOAD constants, operands -> CAL start | init | loop, rest of it | finish  -> STORE
 *                                          \------ of each pass -----/
 *
 * The launch is strict, so that CAL blocks run in the order of their numbers and need no tokens
 * among themselves: the first, which computes nothing, waits for the operands of the iteration.
 * Blocks of a pass exist in its phases, init in the first, finish in the last of them.
 */
#include <stdlib.h>

#include "passes/array/rows_code.h"
#include "passes/array/rows_values.h"

static int64_t lanes_of(const struct bf_rows_build *b) {
    return b->map->machine.lanes;
}

static int64_t region(const struct bf_rows_build *b, const char *name, int index) {
    char text[16];
    snprintf(text, sizeof text, index < 0 ? "%s" : "%s%d", name, index);
    return bf_plan_region(b->plan, text)->base;
}

/* ---- operands ---- */

/* Of which element of a body, and where the body begins. */
struct position {
    const struct bf_rows_pass *pass;
    int u, unroll;
    int64_t offset;
};

struct address {
    int64_t word;
    unsigned class;
};

static struct address ram_address(const struct bf_rows_build *b, struct bf_rows_operand o,
                                  const struct position *at) {
    unsigned own = b->program.across > 1 ? CONTEXT : FIXED; /* of what CAL keeps for itself */
    switch (o.place) {
    case BF_IN_INPUT:
        if (bf_rows_class(&b->shape, o.index) == BF_ROWS_FULL)
            return (struct address){region(b, "in", o.index) + at->offset + at->u, ELEMENT};
        return (struct address){region(b, "in", o.index), CONTEXT};
    case BF_IN_OUTPUT:
        if (!bf_rows_is_row_output(&b->shape, o.index))
            return (struct address){region(b, "out", o.index) + at->offset + at->u, ELEMENT};
        return (struct address){region(b, "out", o.index), CONTEXT};
    case BF_IN_CONSTANT:
        return (struct address){region(b, "const", -1) + o.index, CONTEXT};
    case BF_IN_KEEP:
        return (struct address){region(b, "keep", -1) + o.index, own};
    case BF_IN_EXCHANGE:
        return (struct address){region(b, "exchange", -1) + o.index, CONTEXT};
    default:
        return (struct address){region(b, "temp", -1) + o.index * at->unroll + at->u, own};
    }
}

static bool is_acc(struct bf_rows_operand o) {
    return o.place == BF_IN_TEMP_ACC || o.place == BF_IN_ROW_ACC || o.place == BF_IN_PART;
}

static unsigned acc_number(struct bf_rows_operand o, const struct position *at, bool row_level) {
    const struct bf_rows_pass *pass = at->pass;
    if (o.place == BF_IN_ROW_ACC)
        return (unsigned)o.index;
    if (o.place == BF_IN_PART)
        return (unsigned)(pass->row_accs +
                          (row_level ? o.index : o.index * pass->parts + at->u % pass->parts));
    return (unsigned)(pass->row_accs + pass->reductions * pass->parts + o.index * at->unroll +
                      at->u);
}

/* Weight word of a vector that an input supplies. */
static int64_t vector_word(const struct bf_rows_build *b, int number) {
    int64_t params = (int64_t)b->plan->kernel->params.count;
    return b->p.lane_words + b->p.param_words + (number - params) * b->p.vector_words;
}

/* Lane of its first element. */
static int64_t vector_lane(const struct bf_rows_build *b, int number) {
    int64_t v = lanes_of(b);
    if (number >= (int)b->plan->kernel->params.count)
        return vector_word(b, number) * v;
    return b->p.lane_words * v + (b->p.interleave > 1 ? number : number * b->p.vector_words * v);
}

static void set_b(const struct bf_rows_build *b, struct bf_cal *cal, struct bf_rows_operand o,
                  const struct position *at) {
    if (o.place == BF_IN_NUMBER) {
        cal->b_kind = BF_B_CONST;
        cal->b = (uint16_t)o.index;
    } else if (o.place == BF_IN_LANE) {
        cal->b_kind = BF_B_LANE;
        cal->b = (uint16_t)o.index;
        cal->b_class = FIXED;
    } else if (o.place == BF_IN_VECTOR) {
        bool moves = bf_rows_vector_moves(&b->shape, o.index);
        cal->b_kind = BF_B_LANE;
        cal->b = (uint16_t)(vector_lane(b, o.index) +
                            (moves ? (at->offset + at->u) * b->p.interleave : 0));
        cal->b_class = moves ? LANES : FIXED;
    } else {
        struct address address = ram_address(b, o, at);
        cal->b_kind = BF_B_DATA;
        cal->b = (uint16_t)address.word;
        cal->b_class = (uint8_t)address.class;
    }
}

static struct bf_cal encode(const struct bf_rows_build *b, const struct bf_rows_ins *ins,
                            const struct position *at, bool row_level) {
    struct bf_cal cal = {.op = (uint8_t)ins->op,
                         .negate_product = ins->negate_product,
                         .negate_addend = ins->negate_addend};
    unsigned reads = bf_cal_operands(ins->op);
    if ((reads & 1) && is_acc(ins->a)) {
        cal.a = (uint16_t)acc_number(ins->a, at, row_level);
        cal.a_class = BF_CLASS_SPECIAL;
    } else if (reads & 1) {
        struct address address = ram_address(b, ins->a, at);
        cal.a = (uint16_t)address.word;
        cal.a_class = (uint8_t)address.class;
    }
    if (reads & 2)
        set_b(b, &cal, ins->b, at);
    if ((reads & 4) && is_acc(ins->c)) {
        cal.c = (uint16_t)(BF_C_ACC << 8 | acc_number(ins->c, at, row_level));
        cal.c_class = BF_CLASS_SPECIAL;
    } else if ((reads & 4) && ins->c.place == BF_IN_NUMBER) {
        cal.c = (uint16_t)((ins->c.index ? BF_C_ONE : BF_C_ZERO) << 8);
        cal.c_class = BF_CLASS_SPECIAL;
    } else if ((reads & 4) && ins->c.place == BF_IN_VECTOR) {
        int64_t v = lanes_of(b); /* a lane of the word that B reads */
        cal.c = (uint16_t)(BF_C_LANE << 8 | ((ins->c.index - ins->b.index + v) % v));
        cal.c_class = BF_CLASS_SPECIAL;
    } else if (reads & 4) {
        struct address address = ram_address(b, ins->c, at);
        cal.c = (uint16_t)address.word;
        cal.c_class = (uint8_t)address.class;
    }
    if (ins->acc.place != BF_IN_NONE) {
        cal.dst |= BF_DST_ACC;
        cal.acc = (uint8_t)acc_number(ins->acc, at, row_level);
    }
    if (ins->word.place != BF_IN_NONE) {
        struct address address = ram_address(b, ins->word, at);
        cal.dst |= BF_DST_RAM;
        cal.d = (uint16_t)address.word;
        cal.d_class = (uint8_t)address.class;
    }
    return cal;
}

/* ---- phases ---- */

/* Whether some PEs are absent in the last round of outer tiles: then phases are iterations, and
 * tell nothing else apart. */
bool bf_rows_is_uneven(const struct bf_rows_build *b) {
    return b->p.rounds[3] > 1 && b->p.count[3] % b->p.groups[3] != 0;
}

uint8_t bf_rows_last_iteration(const struct bf_rows_build *b, unsigned pe) {
    int64_t group = pe / (b->p.groups[0] * b->p.groups[1] * b->p.groups[2]);
    int64_t rounds = (b->p.count[3] - group + b->p.groups[3] - 1) / b->p.groups[3];
    return (uint8_t)(rounds * b->p.rounds[2] - 1);
}

/* ---- CAL blocks ---- */

/* Phases of a pass: those of its chunks. */
static struct bf_rows_phases phases_of(const struct bf_rows_build *b, int pass) {
    int64_t chunks = b->p.rounds[0];
    if (b->period == 1 || bf_rows_is_uneven(b))
        return (struct bf_rows_phases){0, b->period - 1};
    return (struct bf_rows_phases){pass * chunks, (pass + 1) * chunks - 1};
}

/* The first and the last chunk of a pass; the same where there is one. */
static void ends_of(const struct bf_rows_build *b, int pass, struct bf_rows_phases *first,
                    struct bf_rows_phases *last) {
    *first = *last = phases_of(b, pass);
    if (bf_rows_is_uneven(b))
        return;
    first->last = first->first;
    last->first = last->last;
}

/* The chunks of a pass: all, or all but a shorter last one, or that one. */
struct part {
    struct bf_rows_phases phases;
    int64_t elements;
};

static int parts_of(const struct bf_rows_build *b, int pass, struct part parts[2]) {
    struct bf_rows_phases all = phases_of(b, pass);
    parts[0] = (struct part){all, b->p.chunk};
    if (b->p.last == b->p.chunk)
        return 1;
    parts[1] = (struct part){{all.last, all.last}, b->p.last};
    parts[0].phases.last--;
    return 2;
}

/* Data LOADs exist once for each pass if its chunks differ, else in all iterations. */
static int load_parts(const struct bf_rows_build *b, struct part parts[2 * BF_ROWS_PASSES]) {
    int count = 0;
    if (b->p.last == b->p.chunk) {
        parts[0] = (struct part){{0, b->period - 1}, b->p.chunk};
        return 1;
    }
    for (int p = 0; p < b->program.passes; p++)
        count += parts_of(b, p, parts + count);
    return count;
}

static struct bf_descriptor *cal_block(struct bf_rows_build *b, const struct bf_cal *body,
                                       int length, int64_t trips, int unroll,
                                       struct bf_rows_phases phases, struct bf_descriptor *d) {
    *d = bf_descriptor_new(BF_UNIT_CAL);
    d->first = (uint8_t)phases.first;
    d->last = (uint8_t)phases.last;
    d->trips[0] = (uint16_t)trips;
    d->cal.start = (uint8_t)bf_code_body(&b->code, body, (unsigned)length);
    d->cal.length = (uint8_t)length;
    d->cal.relative = 1 << ELEMENT | 1 << CONTEXT;
    for (int i = 0; i < length; i++)
        d->cal.uses_weights |= body[i].b_kind == BF_B_LANE && (bf_cal_operands(body[i].op) & 2);
    if (trips > 1) {
        d->cal.delta[ELEMENT][0] = (int16_t)unroll;
        d->cal.delta[LANES][0] = (int16_t)(unroll * b->p.interleave);
    }
    return d;
}

/* A block for the PEs that work; where these differ in how long, in its phases too. */
void bf_rows_emit(struct bf_rows_build *b, struct bf_descriptor *d, const char *name) {
    if (b->chain) {
        bf_rows_chain_add(b, d, name);
        return;
    }
    unsigned pes = b->next_cal < BF_FIRST_LOAD ? bf_machine_pes(&b->map->machine) : 0;
    for (unsigned pe = 0; pe < pes; pe++) {
        if (!(b->pes >> pe & 1))
            continue;
        if (bf_rows_is_uneven(b))
            d->last = bf_rows_last_iteration(b, pe);
        bf_code_block(&b->code, UINT64_C(1) << pe, (unsigned)b->next_cal, name, d);
    }
    b->next_cal++;
}

/* The first loop block of a pass runs its first statement. */
static void note(struct bf_rows_build *b, int pass) {
    const struct bf_poly_kernel *kernel = b->plan->kernel;
    for (int s = 0; s < (int)kernel->stmts.count; s++) {
        bool writes = kernel->stmts.data[s].kind == BF_STMT_POINT;
        bool here = writes ? b->program.pass[pass].outputs != 0
                           : kernel->stmts.data[s].kind == BF_STMT_REDUCE &&
                                 b->program.pass[pass].reductions > 0;
        if (!here)
            continue;
        *bf_push(&b->plan->notes) = (struct bf_block_note){
            b->next_cal + (b->chain ? b->chain->count : 0), s, 0,
            kernel->inputs.count ? "in0" : "const", writes ? "out0" : "keep"};
        return;
    }
}

/* Waits for the operands: an instruction whose result nothing reads. */
static void start_block(struct bf_rows_build *b) {
    struct bf_cal cal = {.op = BF_CAL_FMA,
                         .dst = BF_DST_ACC,
                         .acc = (uint8_t)(b->map->machine.accumulators - 1),
                         .a_class = CONTEXT,
                         .b_kind = BF_B_CONST,
                         .b = BF_B_ZERO,
                         .c_class = BF_CLASS_SPECIAL,
                         .c = BF_C_ZERO << 8};
    struct bf_descriptor d;
    cal_block(b, &cal, 1, 1, 1, (struct bf_rows_phases){0, b->period - 1}, &d);
    d.need = (uint16_t)b->loads;
    bf_rows_emit(b, &d, "start");
}

/* Code that runs once: in blocks of up to BF_MAX_BODY words. The last gives `targets` tokens. */
void bf_rows_row_blocks(struct bf_rows_build *b, const struct bf_rows_pass *pass,
                        const struct bf_rows_list *list, struct bf_rows_phases phases,
                        const char *name, const uint8_t targets[BF_TARGETS]) {
    struct position at = {pass, 0, 1, 0};
    for (size_t begin = 0; begin < list->count; begin += BF_MAX_BODY) {
        struct bf_rows_slot slots[BF_MAX_BODY];
        struct bf_cal body[BF_MAX_BODY];
        size_t length = list->count - begin < BF_MAX_BODY ? list->count - begin : BF_MAX_BODY;
        struct bf_descriptor d;
        for (size_t i = 0; i < length; i++)
            slots[i] = (struct bf_rows_slot){&list->data[begin + i], 0};
        if (b->chain)
            bf_rows_order(&b->map->machine, pass, slots, (int)length);
        for (size_t i = 0; i < length; i++)
            body[i] = encode(b, slots[i].ins, &at, true);
        cal_block(b, body, (int)length, 1, 1, phases, &d);
        if (begin + length == list->count)
            memcpy(d.target, targets, sizeof d.target);
        bf_rows_emit(b, &d, name);
    }
}

/* A block over groups of `unroll` elements, `trips` of them, from element `offset` on: of stages
 * first .. last, stage s (if `skewed`) s groups behind. */
struct loop {
    const struct bf_rows_pass *pass;
    int unroll, first, last;
    bool skewed;
    int64_t offset, trips;
    struct bf_rows_phases phases;
};

static void loop_block(struct bf_rows_build *b, const struct loop *loop,
                       const uint8_t targets[BF_TARGETS]) {
    const struct bf_rows_list *list = &loop->pass->loop;
    struct bf_rows_slot slots[BF_MAX_BODY];
    struct bf_cal body[BF_MAX_BODY];
    struct bf_descriptor d;
    int length = bf_rows_slots(list->data, (int)list->count, loop->first, loop->last, loop->skewed,
                               loop->unroll, slots);
    bf_rows_order(&b->map->machine, loop->pass, slots, length);
    for (int i = 0; i < length; i++) {
        int behind = loop->skewed ? slots[i].ins->stage * loop->unroll : 0;
        struct position at = {loop->pass, slots[i].u, loop->unroll, loop->offset - behind};
        body[i] = encode(b, slots[i].ins, &at, false);
    }
    cal_block(b, body, length, loop->trips, loop->unroll, loop->phases, &d);
    d.cal.exponent = (int8_t)loop->pass->exponent;
    memcpy(d.target, targets, sizeof d.target);
    bf_rows_emit(b, &d, "elements");
}

static const uint8_t no_targets[BF_TARGETS] = {BF_NO_BLOCK, BF_NO_BLOCK, BF_NO_BLOCK};

/* The loop over one part: with stages a block for each trip that fills or drains them; in the end
 * the elements that fill no group. Blocks are few: a shorter last chunk goes without stages. */
static void part_blocks(struct bf_rows_build *b, const struct bf_rows_pass *pass,
                        const struct part *part, bool staged, const uint8_t stores[BF_TARGETS]) {
    int unroll = pass->unroll, stages = pass->stages;
    int64_t groups = part->elements / unroll, rest = part->elements % unroll;
    const uint8_t *after_groups = rest ? no_targets : stores;
    struct loop loop = {pass, unroll, 0, stages - 1, false, 0, groups, part->phases};
    if (groups && (!staged || groups < stages)) {
        loop_block(b, &loop, after_groups);
    } else if (groups) {
        loop.skewed = true;
        for (int t = 0; t < 2 * stages - 1; t++) {
            bool main = t == stages - 1;
            loop.first = t < stages ? 0 : t - stages + 1;
            loop.last = t < stages ? t : stages - 1;
            loop.trips = main ? groups - stages + 1 : 1;
            loop.offset = (t < stages ? t : groups + t - stages) * unroll;
            loop_block(b, &loop, t == 2 * stages - 2 ? after_groups : no_targets);
        }
    }
    loop = (struct loop){pass, (int)rest,   0, stages - 1, false, part->elements - rest,
                         1,    part->phases};
    if (rest)
        loop_block(b, &loop, stores);
}

void bf_rows_loop_blocks(struct bf_rows_build *b, int p, const struct bf_rows_stores *stores) {
    const struct bf_rows_pass *pass = &b->program.pass[p];
    struct part parts[2];
    int count = parts_of(b, p, parts);
    note(b, p);
    for (int i = 0; i < count && pass->loop.count; i++)
        part_blocks(b, pass, &parts[i], i == 0, stores->part[i]);
}

static void pass_blocks(struct bf_rows_build *b, int p, const struct bf_rows_stores *stores) {
    const struct bf_rows_pass *pass = &b->program.pass[p];
    struct bf_rows_phases first, last;
    ends_of(b, p, &first, &last);
    bf_rows_row_blocks(b, pass, &pass->init, first, "init", no_targets);
    bf_rows_loop_blocks(b, p, stores);
    bf_rows_row_blocks(b, pass, &pass->finish, last, "finish", stores->finish);
}

/* ---- LOAD and STORE ---- */

/* The launch's levels: axes with more than one round, in order. */
static int levels_of(const struct bf_rows_build *b, int axes[BF_ROWS_AXES]) {
    int levels = 0;
    for (int a = 0; a < BF_ROWS_AXES; a++)
        if (b->p.rounds[a] > 1)
            axes[levels++] = a;
    return levels;
}

static void iteration_deltas(const struct bf_rows_build *b, const struct bf_rows_access *access,
                             int32_t deltas[BF_LEVELS]) {
    int axes[BF_ROWS_AXES], levels = levels_of(b, axes);
    int64_t travel = 0;
    for (int l = 0; l < levels; l++) {
        int64_t step = access->stride[axes[l]] * b->p.groups[axes[l]];
        deltas[l] = (int32_t)(step - travel);
        travel += step * (b->p.rounds[axes[l]] - 1);
    }
}

/* How far PE `pe`'s first tile is. */
static int64_t pe_offset(const struct bf_rows_build *b, const struct bf_rows_access *access,
                         unsigned pe) {
    int64_t offset = 0, rest = pe;
    for (int a = 0; a < BF_ROWS_AXES; a++) {
        offset += rest % b->p.groups[a] * access->stride[a];
        rest /= b->p.groups[a];
    }
    return offset;
}

bool bf_rows_works(const struct bf_rows_build *b, unsigned pe) {
    int64_t group = pe / (b->p.groups[0] * b->p.groups[1] * b->p.groups[2]);
    return group < b->p.groups[3] && group < b->p.count[3];
}

/* A LOAD or STORE for all PEs: `d` has everything but the tile's address. What all PEs of a group
 * hold the first one stores. */
static void memory_block(struct bf_rows_build *b, unsigned id, const char *name,
                         const struct bf_rows_access *access, int base, int64_t offset,
                         struct bf_descriptor *d) {
    bool first_only = b->program.across > 1 && base >= BF_ROWS_BASE_OUT &&
                      bf_rows_is_row_output(&b->shape, base - BF_ROWS_BASE_OUT);
    d->mem.base = (uint8_t)base;
    d->mem.row = access->row;
    iteration_deltas(b, access, d->mem.iteration_delta);
    for (unsigned pe = 0; pe < bf_machine_pes(&b->map->machine); pe++) {
        if (!bf_rows_works(b, pe) || (first_only && pe % b->p.groups[0]))
            continue;
        d->mem.spm = (uint32_t)(pe_offset(b, access, pe) + offset);
        if (bf_rows_is_uneven(b))
            d->last = bf_rows_last_iteration(b, pe);
        bf_code_block(&b->code, UINT64_C(1) << pe, id, name, d);
    }
}

/* Loops over `words` elements along the axis: with lanes along columns, rows of tiles. */
static void element_loops(const struct bf_rows_build *b, const struct bf_operand *operand,
                          int64_t words, struct bf_descriptor *d) {
    int64_t v = lanes_of(b), width = b->map->places[operand->buffer->index].width;
    int64_t ram[3] = {1, v, 0}, spm[3] = {b->shape.step, width, 0}, delta[3];
    bool tiles = b->shape.columns && words > v;
    d->trips[0] = (uint16_t)(tiles ? v : words);
    d->trips[1] = (uint16_t)(tiles ? (words + v - 1) / v : 1);
    bf_deltas(d->trips, ram, delta);
    for (int l = 0; l < BF_LEVELS; l++)
        d->mem.ram_delta[l] = (int16_t)delta[l];
    bf_deltas(d->trips, spm, delta);
    for (int l = 0; l < BF_LEVELS; l++)
        d->mem.spm_delta[l] = (int32_t)delta[l];
}

static void load_data(struct bf_rows_build *b, int input) {
    struct bf_rows_access access = bf_rows_input_access(b->map, &b->shape, &b->p, input);
    bool full = bf_rows_class(&b->shape, input) == BF_ROWS_FULL;
    struct part parts[2 * BF_ROWS_PASSES] = {{{0, b->period - 1}, 1}};
    int count = full ? load_parts(b, parts) : 1;
    for (int i = 0; i < count; i++) {
        struct bf_descriptor d = bf_descriptor_new(BF_UNIT_LOAD);
        d.first = (uint8_t)parts[i].phases.first;
        d.last = (uint8_t)parts[i].phases.last;
        d.target[0] = BF_FIRST_CAL;
        d.mem.relative = true;
        d.mem.ram = (uint16_t)region(b, "in", input);
        if (full)
            element_loops(b, &b->plan->inputs.data[input], parts[i].elements, &d);
        memory_block(b, (unsigned)b->next_load++, "load", &access, BF_ROWS_BASE_IN + input, 0, &d);
    }
    b->loads++;
}

/* Elements of a vector along the axis as lanes of weight words. */
static void load_vector(struct bf_rows_build *b, int input) {
    struct bf_rows_access access = bf_rows_input_access(b->map, &b->shape, &b->p, input);
    int64_t v = lanes_of(b);
    int64_t width = b->map->places[b->plan->inputs.data[input].buffer->index].width;
    int number = bf_rows_vector(&b->shape, input);
    bool moves = bf_rows_vector_moves(&b->shape, number);
    struct part parts[2 * BF_ROWS_PASSES] = {{{0, b->period - 1}, 1}};
    int count = moves ? load_parts(b, parts) : 1;
    for (int i = 0; i < count; i++) {
        struct bf_descriptor d = bf_descriptor_new(BF_UNIT_LOAD);
        d.first = (uint8_t)parts[i].phases.first;
        d.last = (uint8_t)parts[i].phases.last;
        d.trips[0] = (uint16_t)((parts[i].elements + v - 1) / v);
        d.mem.weights = true;
        d.mem.ram = (uint16_t)vector_word(b, number);
        d.mem.ram_delta[0] = d.trips[0] > 1;
        d.mem.spm_delta[0] = (int32_t)(d.trips[0] > 1 ? (access.row ? v : width) : 0);
        memory_block(b, (unsigned)--b->next_weight, "load vector", &access, BF_ROWS_BASE_IN + input,
                     0, &d);
    }
}

/* Constants and parameters: the first words of a set into the weight RAM, the rest into the
 * context. */
static void load_recipe(struct bf_rows_build *b) {
    int64_t constants = bf_plan_int(b->plan, "words");
    int64_t weights = b->p.set_words - constants;
    struct bf_rows_access access = {.row = true};
    if (constants) {
        struct bf_descriptor d = bf_descriptor_new(BF_UNIT_LOAD);
        d.last = (uint8_t)(b->period - 1);
        d.target[0] = BF_FIRST_CAL;
        d.trips[0] = (uint16_t)constants;
        d.mem.relative = true;
        d.mem.ram = (uint16_t)region(b, "const", -1);
        d.mem.ram_delta[0] = d.mem.spm_delta[0] = constants > 1;
        memory_block(b, (unsigned)b->next_load++, "load constants", &access, BF_ROWS_BASE_WEIGHTS,
                     weights, &d);
        b->loads++;
    }
    if (weights) {
        struct bf_descriptor d = bf_descriptor_new(BF_UNIT_LOAD);
        access.stride[0] = b->p.set_words;
        d.last = (uint8_t)(b->period - 1);
        d.trips[0] = (uint16_t)weights;
        d.mem.weights = true;
        d.mem.ram_delta[0] = d.mem.spm_delta[0] = weights > 1;
        memory_block(b, (unsigned)--b->next_weight, "load weights", &access, BF_ROWS_BASE_WEIGHTS,
                     0, &d);
    }
}

static void load_blocks(struct bf_rows_build *b) {
    load_recipe(b);
    for (int i = 0; i < (int)b->plan->kernel->inputs.count; i++) {
        enum bf_rows_class class = bf_rows_class(&b->shape, i);
        if (class == BF_ROWS_FULL || class == BF_ROWS_WORD)
            load_data(b, i);
        else
            load_vector(b, i);
    }
}

static void store_words(struct bf_rows_build *b, int output, int64_t from, int64_t words,
                        int64_t offset, struct bf_rows_phases phases, uint8_t targets[BF_TARGETS],
                        int *count) {
    struct bf_rows_access access = bf_rows_output_access(b->map, &b->shape, &b->p, output);
    struct bf_descriptor d = bf_descriptor_new(BF_UNIT_STORE);
    d.first = (uint8_t)phases.first;
    d.last = (uint8_t)phases.last;
    d.need = 1;
    d.mem.relative = true;
    d.mem.ram = (uint16_t)(region(b, "out", output) + from);
    element_loops(b, &b->plan->outputs.data[output], words, &d);
    if (*count < BF_TARGETS)
        targets[*count] = (uint8_t)b->next_store;
    ++*count;
    memory_block(b, (unsigned)b->next_store++, "store", &access, BF_ROWS_BASE_OUT + output, offset,
                 &d);
}

void bf_rows_store_blocks(struct bf_rows_build *b, int p, struct bf_rows_stores *stores) {
    struct bf_rows_phases first, last;
    struct part parts[2];
    int64_t v = lanes_of(b);
    ends_of(b, p, &first, &last);
    int parts_count = parts_of(b, p, parts), count[2] = {0, 0}, row_count = 0;
    memset(stores, BF_NO_BLOCK, sizeof *stores);
    for (int o = 0; o < (int)b->plan->kernel->outputs.count; o++) {
        int64_t width = b->map->places[b->plan->outputs.data[o].buffer->index].width;
        if (b->program.pass[p].row_outputs >> o & 1)
            store_words(b, o, 0, 1, 0, last, stores->finish, &row_count);
        for (int i = 0; i < parts_count && (b->program.pass[p].outputs >> o & 1); i++) {
            int64_t n = parts[i].elements, rest = b->shape.columns && n > v ? n % v : 0;
            store_words(b, o, 0, n - rest, 0, parts[i].phases, stores->part[i], &count[i]);
            if (rest)
                store_words(b, o, n - rest, rest, n / v * width, parts[i].phases, stores->part[i],
                            &count[i]);
        }
    }
}

/* ---- the launch ---- */

static struct bf_launch launch_of(const struct bf_rows_build *b) {
    int axes[BF_ROWS_AXES], levels = levels_of(b, axes);
    bool vary = bf_rows_weights_vary(&b->shape, &b->p);
    struct bf_launch launch = {
        .window = (uint8_t)b->plan->window,
        .strict = b->program.across == 1,
        .one_weight_set = !vary && bf_one_weight_set(&b->map->machine),
        .context_base = (uint16_t)b->plan->context_base,
        .context_size = (uint16_t)b->plan->context_size,
        .period = (uint16_t)b->period,
        .group_level = vary ? 0 : 3,
        .trips = {1, 1, 1},
    };
    for (int l = 0; l < levels; l++)
        launch.trips[l] = (uint32_t)b->p.rounds[axes[l]];
    for (int i = 0; i < (int)b->plan->inputs.count; i++)
        launch.base[BF_ROWS_BASE_IN + i] =
            (uint32_t)bf_rows_input_access(b->map, &b->shape, &b->p, i).base;
    for (int i = 0; i < (int)b->plan->outputs.count; i++)
        launch.base[BF_ROWS_BASE_OUT + i] =
            (uint32_t)bf_rows_output_access(b->map, &b->shape, &b->p, i).base;
    launch.base[BF_ROWS_BASE_WEIGHTS] =
        (uint32_t)(b->plan->weight_spm < 0 ? 0 : b->plan->weight_spm);
    return launch;
}

/* Phases tell the chunks and passes of a tile apart; independent chunks need none. */
static int64_t period_of(const struct bf_rows_build *b) {
    if (bf_rows_is_uneven(b))
        return b->p.rounds[2] * b->p.rounds[3];
    bool phased = b->program.passes > 1 || b->p.last != b->p.chunk;
    for (int p = 0; p < b->program.passes; p++)
        phased |= b->program.pass[p].reductions > 0;
    return phased ? b->p.rounds[0] * b->p.rounds[1] : 1;
}

static bool too_many(const struct bf_rows_build *b) {
    static const char *const what[] = {"CAL blocks", "LOAD blocks", "FLOW blocks", "STORE blocks"};
    int need[] = {b->next_cal - BF_FIRST_CAL,
                  b->next_load - BF_FIRST_LOAD + BF_FIRST_FLOW - b->next_weight,
                  b->next_flow - BF_FIRST_FLOW, b->next_store - BF_FIRST_STORE};
    int limit[] = {BF_FIRST_LOAD - BF_FIRST_CAL, BF_FIRST_FLOW - BF_FIRST_LOAD,
                   BF_FIRST_STORE - BF_FIRST_FLOW, BF_BLOCKS - BF_FIRST_STORE};
    for (int i = 0; i < 4; i++)
        if (need[i] > limit[i]) {
            bf_diag_error(b->diags, b->plan->kernel->loc,
                          "cannot map %s on '%s': it needs %d %s, a PE has %d",
                          b->plan->kernel->what, b->map->machine.name, need[i], what[i], limit[i]);
            return true;
        }
    return false;
}

bool bf_rows_schedule(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    struct bf_rows_build b = {.map = map, .plan = plan, .diags = diags};
    b.shape = bf_rows_shape(plan->kernel, map->machine.lanes);
    b.p = bf_rows_plan(&b.shape, plan, map->machine.lanes);
    if (!bf_rows_compile(map, &b.shape, b.p.groups[0], &b.program, diags))
        return false;
    b.period = period_of(&b);
    b.next_load = BF_FIRST_LOAD;
    b.next_weight = BF_FIRST_FLOW;
    b.next_store = BF_FIRST_STORE;
    b.next_flow = BF_FIRST_FLOW;
    for (unsigned pe = 0; pe < bf_machine_pes(&map->machine); pe++)
        if (bf_rows_works(&b, pe))
            b.pes |= UINT64_C(1) << pe;
    bf_code_begin(&b.code, map, plan);
    load_blocks(&b);
    if (b.program.across > 1)
        bf_rows_chains(&b);
    else
        start_block(&b);
    for (int p = 0; p < b.program.passes && b.program.across == 1; p++) {
        struct bf_rows_stores stores;
        bf_rows_store_blocks(&b, p, &stores);
        pass_blocks(&b, p, &stores);
    }
    bool ok = !too_many(&b);
    struct bf_launch launch = launch_of(&b);
    bf_rows_program_free(&b.program);
    if (!ok) {
        bf_code_abandon(&b.code);
        return false;
    }
    return bf_code_finish(&b.code, &launch, diags);
}
