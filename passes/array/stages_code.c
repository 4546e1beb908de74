/* stages_code.c - schedule of butterflies and FFTs: blocks, tokens, the launch.
 *
 *   LOAD x [, zeros] -> CAL stage -> CAL stage -> FLOW all-to-all -> CAL stage -> .. -> STORE y
 *
 * A stage is one block; each gives one token to the next. A FLOW sends every word of the segment to
 * the PE where its digits lie in the next one, a token a word. A stage works in place or, of an FFT
 * or scaled, from one region of its segment into the other. Requires final addresses.
 */
#include "passes/array/stages.h"

#include "ir/scaled.h"
#include "ir/stages.h"
#include "passes/array/tiles.h"

enum { BASE_IN = 0, BASE_OUT = 2, BASE_WEIGHTS = 4, BASE_ZERO = 5 };
enum { WEIGHT_LOAD = BF_FIRST_FLOW - 1 };

/* A loop over words of a region and where they lie elsewhere. */
struct run {
    int64_t radix, near, far; /* stride in the region; in the scratchpad or the other region */
};

struct build {
    struct bf_map *map;
    struct bf_plan *plan;
    struct bf_code code;
    struct bf_tiles tiles;
    struct bf_diags *diags;
    int64_t words, planes, g;
    int stages; /* number of stage blocks; block s runs statement first_stage + s */
    int first_stage;
    int loads;    /* LOAD blocks of this PE so far */
    uint8_t next; /* which block waits for them */
};

/* Joins loops that continue each other; false if more than `most` are left. */
static int join_runs(struct run *runs, int count) {
    int kept = 0;
    for (int i = 0; i < count; i++) {
        if (runs[i].radix == 1)
            continue;
        struct run *before = kept ? &runs[kept - 1] : NULL;
        if (before && runs[i].near == before->near * before->radix &&
            runs[i].far == before->far * before->radix)
            before->radix *= runs[i].radix;
        else
            runs[kept++] = runs[i];
    }
    return kept;
}

static bool too_many(struct build *b, const char *what, const char *of, int most) {
    return bf_diag_error(
        b->diags, b->plan->kernel->loc,
        "cannot map %s on '%s': the words of its %s need more %s than the %d there "
        "are",
        b->plan->kernel->what, b->map->machine.name, what, of, most);
}

static unsigned pe_count(const struct build *b) {
    return bf_machine_pes(&b->map->machine);
}

static unsigned pe_field(const struct build *b, unsigned pe) {
    return pe & ((1u << b->g) - 1);
}

/* Blocks of one PE: present while its group has tiles. */
static bool phases_of(const struct build *b, unsigned pe, struct bf_descriptor *d) {
    int64_t present = bf_tiles_present(&b->tiles, pe >> b->g);
    int64_t period = bf_tiles_period(&b->tiles);
    d->first = 0;
    d->last = (uint8_t)(period == 1 ? 0 : present - 1);
    return present > 0;
}

/* ---- LOAD and STORE ---- */

static int64_t operand_base(const struct build *b, const struct bf_operand *operand) {
    return b->plan->kernel->lanes == BF_LANES_ROWS ? bf_map_column_word(b->map, operand, 0, 0, 0)
                                                   : bf_map_row_word(b->map, operand, 0, 0, 0);
}

/* Where PE 0 begins: sets differ in nothing else where their digits go together with those on PEs,
 * so that they share their code. */
static int64_t first_word(const struct build *b, const struct bf_operand *operand,
                          enum bf_role role) {
    struct bf_stages_piece pieces[BF_MOST_LOADS];
    int count = bf_stages_pieces(b->map, b->plan, 0, operand, role, pieces, BF_MOST_LOADS);
    return count > 0 && bf_plan_int(b->plan, "set") > 0 ? pieces[0].far : 0;
}

/* The loops of a LOAD or STORE that moves a piece, and how it follows the tiles. */
static void move_piece(const struct build *b, struct bf_descriptor *d, unsigned pe,
                       const struct bf_operand *operand, enum bf_role role,
                       const struct bf_stages_piece *piece) {
    int64_t delta[3];
    for (int l = 0; l < BF_LEVELS; l++)
        d->trips[l] = (uint16_t)piece->trips[l];
    bf_deltas(d->trips, piece->near_stride, delta);
    for (int l = 0; l < BF_LEVELS; l++)
        d->mem.ram_delta[l] = (int16_t)delta[l];
    bf_deltas(d->trips, piece->far_stride, delta);
    for (int l = 0; l < BF_LEVELS; l++)
        d->mem.spm_delta[l] = (int32_t)delta[l];
    struct bf_tile_stride stride = bf_stages_tile_stride(b->map, b->plan, operand);
    int64_t far = piece->far - first_word(b, operand, role);
    d->mem.row = b->plan->kernel->lanes == BF_LANES_COLS;
    d->mem.spm = (uint32_t)(far + bf_tile_offset(&b->tiles, stride, pe >> b->g)) & 0x3ffff;
    bf_tile_deltas(&b->tiles, stride, d->mem.iteration_delta);
    d->mem.relative = true;
    d->mem.reverse = piece->reverse;
}

static void note(struct build *b, int id, int stmt, int layout, const char *from, const char *to) {
    *bf_push(&b->plan->notes) =
        (struct bf_block_note){id, stmt, layout, bf_arena_strdup(&b->map->arena, from),
                               bf_arena_strdup(&b->map->arena, to)};
}

static void load_block(struct build *b, unsigned pe, const char *name, struct bf_descriptor *d) {
    d->target[0] = b->next;
    bf_code_block(&b->code, UINT64_C(1) << pe, (unsigned)(BF_FIRST_LOAD + b->loads++), name, d);
}

static void load_zeros(struct build *b, unsigned pe, int64_t inside, int64_t ram) {
    struct bf_descriptor d = bf_descriptor_new(BF_UNIT_LOAD);
    phases_of(b, pe, &d);
    d.trips[0] = (uint16_t)(b->words - inside);
    d.mem.relative = true;
    d.mem.ram = (uint16_t)(ram + inside);
    d.mem.ram_delta[0] = d.trips[0] > 1;
    d.mem.base = BASE_ZERO;
    load_block(b, pe, "load zeros", &d);
}

/* Loads one plane of one PE. */
static bool load_plane(struct build *b, unsigned pe, int plane) {
    int64_t ram = bf_plan_region(b->plan, "x0")->base + plane * b->words, inside = 0;
    unsigned field = pe_field(b, pe);
    if ((size_t)plane < b->plan->inputs.count) {
        const struct bf_operand *operand = &b->plan->inputs.data[plane];
        struct bf_stages_piece pieces[BF_MOST_LOADS];
        int count =
            bf_stages_pieces(b->map, b->plan, field, operand, BF_READ, pieces, BF_MOST_LOADS);
        if (count < 0)
            return too_many(b, "input", "LOAD blocks", BF_MOST_LOADS);
        for (int i = 0; i < count; i++) {
            struct bf_descriptor d = bf_descriptor_new(BF_UNIT_LOAD);
            phases_of(b, pe, &d);
            move_piece(b, &d, pe, operand, BF_READ, &pieces[i]);
            d.mem.ram = (uint16_t)(ram + pieces[i].word);
            d.mem.base = (uint8_t)(BASE_IN + plane);
            load_block(b, pe, "load x", &d);
        }
        inside = bf_stages_inside(b->plan, field, operand, BF_READ);
    }
    if (inside < b->words)
        load_zeros(b, pe, inside, ram);
    return true;
}

static void load_weights(struct build *b, unsigned pe) {
    if (b->plan->recipe < 0)
        return;
    const struct bf_recipe *recipe = &b->map->recipes.data[b->plan->recipe];
    struct bf_descriptor d = bf_descriptor_new(BF_UNIT_LOAD);
    phases_of(b, pe, &d);
    d.trips[0] = (uint16_t)recipe->words;
    d.mem.weights = true;
    d.mem.row = true;
    d.mem.base = BASE_WEIGHTS;
    d.mem.ram_delta[0] = d.mem.spm_delta[0] = recipe->words > 1;
    d.mem.spm = (uint32_t)(recipe->pes > 1 ? pe_field(b, pe) * recipe->words : 0);
    bf_code_block(&b->code, UINT64_C(1) << pe, WEIGHT_LOAD, "load weights", &d);
}

/* ---- CAL ---- */

/* The loops of a stage block around its body; level 0 counts the results of an odd radix. */
static void stage_loops(const struct bf_stage_order *order, int64_t each, struct bf_descriptor *d) {
    bool odd = order->radix > 2;
    int low = odd ? 1 : 0;
    int64_t data[3] = {0}, result[3] = {0}, lane[3] = {0}, delta[3];
    const int64_t *strides[BF_CLASSES] = {data, result, NULL, lane};
    int64_t lanes = bf_stage_body_weights(order) * (odd ? 2 * (order->radix - 1) : each);
    if (odd) {
        d->trips[0] = (uint16_t)order->radix;
        result[0] = order->to_stride;
        lane[0] = lanes;
        lanes *= order->radix;
    }
    d->trips[low] = (uint16_t)order->trips_low;
    d->trips[low + 1] = (uint16_t)order->trips_high;
    data[low] = order->low * order->inner.from;
    data[low + 1] = order->high * order->outer.from;
    result[low] = order->low * order->inner.to;
    result[low + 1] = order->high * order->outer.to;
    lane[low] = order->inner.weighted ? lanes : 0;
    lane[low + 1] =
        order->outer.weighted ? lanes * (order->inner.weighted ? order->trips_low : 1) : 0;
    for (int c = 0; c < BF_CLASSES; c++) {
        if (!strides[c])
            continue;
        bf_deltas(d->trips, strides[c], delta);
        for (int l = 0; l < BF_LEVELS; l++)
            d->cal.delta[c][l] = (int16_t)delta[l];
    }
    d->cal.relative = 3;
}

static void stage_block(struct build *b, int stage, const struct bf_region *from,
                        const struct bf_region *to, uint16_t need, const uint8_t targets[2],
                        unsigned pe) {
    int stmt = b->first_stage + stage;
    struct bf_cal body[BF_MAX_BODY];
    struct bf_stage_order order;
    struct bf_descriptor d = bf_descriptor_new(BF_UNIT_CAL);
    phases_of(b, pe, &d);
    bf_stage_order(b->plan, stmt, &order);
    d.need = need;
    d.target[0] = targets[0];
    d.target[1] = targets[1];
    d.cal.length = (uint8_t)bf_stages_body(b->plan, stmt, from->base, to->base, body);
    d.cal.start = (uint8_t)bf_code_body(&b->code, body, d.cal.length);
    d.cal.uses_weights = bf_stage_lanes(b->plan, stmt) > 0;
    if (bf_scaled_form(b->plan->kernel, stmt) == BF_FORM_SCALED)
        d.cal.swap = (uint8_t)(bf_log2_floor((uint64_t)order.from_stride) + 1);
    d.cal.exponent = (int8_t)-b->plan->kernel->stmts.data[stmt].shift;
    stage_loops(&order, bf_stage_lanes(b->plan, stmt), &d);
    bf_code_block(&b->code, UINT64_C(1) << pe, (unsigned)(BF_FIRST_CAL + stage),
                  b->plan->kernel->stmts.data[stmt].name, &d);
}

/* ---- FLOW ---- */

/* Loops over the digits that stay local across the exchange, and the plane. */
static int kept_runs(const struct build *b, const struct bf_layout *from,
                     const struct bf_layout *to, struct run runs[BF_MAX_DIGITS]) {
    int count = 0;
    for (size_t i = 0; i < from->digits.count; i++) {
        const struct bf_layout_digit *at = &from->digits.data[i];
        int64_t far = at->where == BF_AT_LOCAL ? bf_stage_stride(to, at->digit) : -1;
        if (far >= 0)
            runs[count++] =
                (struct run){b->plan->kernel->digits.data[at->digit].radix, at->position, far};
    }
    runs[count++] = (struct run){b->planes, b->words, b->words};
    return join_runs(runs, count);
}

/* log2 of the stride that the digit on PE bit 0 of layout `pe` has in `local`. */
static unsigned pe_digit_shift(const struct bf_layout *pe, const struct bf_layout *local) {
    for (size_t i = 0; i < pe->digits.count; i++)
        if (pe->digits.data[i].where == BF_AT_PE && pe->digits.data[i].position == 0)
            return bf_log2_floor((uint64_t)bf_stage_stride(local, pe->digits.data[i].digit));
    return 0;
}

static bool flow_block(struct build *b, int segment, const struct bf_region *from,
                       const struct bf_region *to, uint8_t receiver, unsigned pe) {
    const struct bf_layout *source = &b->plan->layouts.data[segment], *next = source + 1;
    struct run runs[BF_MAX_DIGITS];
    int count = kept_runs(b, source, next, runs);
    if (count > 2)
        return too_many(b, "exchange", "loops", BF_LEVELS);
    struct bf_descriptor d = bf_descriptor_new(BF_UNIT_FLOW);
    phases_of(b, pe, &d);
    d.need = 1;
    int64_t near[3] = {0}, far[3] = {0}, delta[3];
    d.trips[1] = (uint16_t)(1u << b->g);
    for (int r = 0; r < count; r++) {
        d.trips[2 * r] = (uint16_t)runs[r].radix;
        near[2 * r] = runs[r].near;
        far[2 * r] = runs[r].far;
    }
    bf_deltas(d.trips, near, delta);
    for (int l = 0; l < BF_LEVELS; l++)
        d.flow.source_delta[l] = (int16_t)delta[l];
    bf_deltas(d.trips, far, delta);
    for (int l = 0; l < BF_LEVELS; l++)
        d.flow.destination_delta[l] = (int16_t)delta[l];
    d.flow.source_relative = d.flow.destination_relative = true;
    d.flow.source = (uint16_t)from->base;
    d.flow.destination = (uint16_t)to->base;
    d.flow.mode = BF_FLOW_XOR;
    d.flow.width = (uint8_t)b->g;
    d.flow.destination_shift = (uint8_t)pe_digit_shift(next, source);
    d.flow.self_shift = (uint8_t)pe_digit_shift(source, next);
    d.flow.token = receiver;
    bf_code_block(&b->code, UINT64_C(1) << pe, (unsigned)(BF_FIRST_FLOW + segment), "exchange", &d);
    return true;
}

/* ---- STORE ---- */

/* Stores one plane; the first piece waits for `need` tokens, the others for the one before. Adds
 * the first block to `targets`. */
static bool store_plane(struct build *b, unsigned pe, int plane, const struct bf_region *from,
                        uint16_t need, uint8_t targets[2]) {
    const struct bf_operand *operand = &b->plan->outputs.data[plane];
    struct bf_stages_piece pieces[BF_MOST_STORES];
    int count = bf_stages_pieces(b->map, b->plan, pe_field(b, pe), operand, BF_WRITE, pieces,
                                 BF_MOST_STORES);
    if (count < 0)
        return too_many(b, "result", "STORE blocks", BF_MOST_STORES);
    for (int i = 0; i < count; i++) {
        struct bf_descriptor d = bf_descriptor_new(BF_UNIT_STORE);
        unsigned id = (unsigned)(BF_FIRST_STORE + plane + 2 * i);
        phases_of(b, pe, &d);
        move_piece(b, &d, pe, operand, BF_WRITE, &pieces[i]);
        d.need = i ? 1 : need;
        if (i + 1 < count)
            d.target[0] = (uint8_t)(id + 2);
        d.mem.ram = (uint16_t)(from->base + plane * b->words + pieces[i].word);
        d.mem.base = (uint8_t)(BASE_OUT + plane);
        bf_code_block(&b->code, UINT64_C(1) << pe, id, "store y", &d);
    }
    if (count)
        targets[targets[0] == BF_NO_BLOCK ? 0 : 1] = (uint8_t)(BF_FIRST_STORE + plane);
    return true;
}

/* ---- one PE, all of its blocks ---- */

/* The region a stage writes: the same, or the segment's other one. */
static const struct bf_region *result_region(const struct build *b, int stmt,
                                             const struct bf_region *from) {
    if (bf_stages_in_place(b->plan->kernel, stmt))
        return from;
    return (size_t)(from - b->plan->regions.data) % 2 ? from - 1 : from + 1;
}

static const struct bf_region *segment_region(const struct build *b, size_t segment) {
    return &b->plan->regions.data[segment * (size_t)bf_stages_buffers(b->plan->kernel)];
}

static int layout_index(const struct build *b, int stmt) {
    return (int)(bf_stage_layout(b->plan, stmt) - b->plan->layouts.data);
}

/* The exchange after a stage; the next one waits for its words. */
static bool exchange(struct build *b, unsigned pe, int stage, int segment,
                     const struct bf_region **from, bool notes) {
    const struct bf_region *received = segment_region(b, (size_t)segment + 1);
    if (!flow_block(b, segment, *from, received, (uint8_t)(BF_FIRST_CAL + stage + 1), pe))
        return false;
    if (notes)
        note(b, BF_FIRST_FLOW + segment, -1, segment, (*from)->name, received->name);
    *from = received;
    return true;
}

/* Stages, exchanges and stores; `tokens` is what the first stage waits for. */
static bool compute_blocks(struct build *b, unsigned pe, int tokens, bool notes) {
    bool sorted = bf_ints_find(&b->plan->ints, "sorted", 0);
    const struct bf_region *from = segment_region(b, 0);
    uint16_t need = (uint16_t)tokens;
    for (int stage = 0; stage < b->stages; stage++) {
        int stmt = b->first_stage + stage, segment = layout_index(b, stmt);
        const struct bf_region *to = result_region(b, stmt, from);
        uint8_t targets[2] = {(uint8_t)(BF_FIRST_CAL + stage + 1), BF_NO_BLOCK};
        bool last = stage == b->stages - 1;
        bool ends = !last && !sorted && stmt == b->plan->layouts.data[segment].last;
        if (last) {
            targets[0] = BF_NO_BLOCK;
            for (size_t p = 0; p < b->plan->outputs.count; p++)
                if (!store_plane(b, pe, (int)p, to, 1, targets))
                    return false;
        } else if (ends) {
            targets[0] = (uint8_t)(BF_FIRST_FLOW + segment);
        }
        stage_block(b, stage, from, to, need, targets, pe);
        if (notes)
            note(b, BF_FIRST_CAL + stage, stmt, segment, from->name, to->name);
        need = 1;
        from = to;
        if (ends && !exchange(b, pe, stage, segment, &from, notes))
            return false;
        if (ends)
            need = (uint16_t)(b->planes * b->words);
    }
    if (notes)
        note(b, BF_FIRST_STORE, b->plan->last, (int)b->plan->layouts.count - 1, from->name, "");
    return true;
}

/* A plan without a stage: every plane is stored when it is loaded. */
static bool copy_blocks(struct build *b, unsigned pe, bool notes) {
    const struct bf_region *region = segment_region(b, 0);
    for (int plane = 0; plane < b->planes; plane++) {
        uint8_t targets[2] = {BF_NO_BLOCK, BF_NO_BLOCK};
        int before = b->loads;
        bool inside =
            bf_stages_inside(b->plan, pe_field(b, pe), &b->plan->outputs.data[plane], BF_WRITE) > 0;
        b->next = inside ? BF_FIRST_STORE + plane : BF_NO_BLOCK; /* else all of it is padding */
        if (!load_plane(b, pe, plane) ||
            !store_plane(b, pe, plane, region, (uint16_t)(b->loads - before), targets))
            return false;
    }
    if (notes)
        note(b, BF_FIRST_STORE, b->plan->last, 0, region->name, "");
    return true;
}

static bool pe_blocks(struct build *b, unsigned pe, bool notes) {
    b->loads = 0;
    b->next = BF_FIRST_CAL;
    if (!b->stages)
        return copy_blocks(b, pe, notes);
    for (int plane = 0; plane < b->planes; plane++)
        if (!load_plane(b, pe, plane))
            return false;
    load_weights(b, pe);
    return compute_blocks(b, pe, b->loads, notes);
}

static struct bf_launch launch_of(const struct build *b) {
    struct bf_launch launch = {
        .window = (uint8_t)b->plan->window,
        .one_weight_set = bf_one_weight_set(&b->map->machine),
        .context_base = (uint16_t)b->plan->context_base,
        .context_size = (uint16_t)b->plan->context_size,
        .period = (uint16_t)bf_tiles_period(&b->tiles),
        .group_level = 3,
        .trips = {(uint32_t)b->tiles.inner_rounds, (uint32_t)b->tiles.outer_rounds, 1},
    };
    for (size_t i = 0; i < b->plan->inputs.count; i++)
        launch.base[BASE_IN + i] = (uint32_t)(operand_base(b, &b->plan->inputs.data[i]) +
                                              first_word(b, &b->plan->inputs.data[i], BF_READ));
    for (size_t i = 0; i < b->plan->outputs.count; i++)
        launch.base[BASE_OUT + i] = (uint32_t)(operand_base(b, &b->plan->outputs.data[i]) +
                                               first_word(b, &b->plan->outputs.data[i], BF_WRITE));
    launch.base[BASE_WEIGHTS] = (uint32_t)(b->plan->weight_spm < 0 ? 0 : b->plan->weight_spm);
    launch.base[BASE_ZERO] = (uint32_t)b->map->zero_spm;
    return launch;
}

bool bf_stages_schedule(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    struct build b = {.map = map, .plan = plan, .diags = diags, .tiles = bf_tiles_load(plan)};
    b.words = bf_plan_int(plan, "words");
    b.planes = bf_plan_int(plan, "planes");
    b.g = bf_plan_int(plan, "pe_bits");
    int last_stmt = (int)plan->kernel->stmts.count - 1;
    b.first_stage = plan->first == 0 ? 1 : plan->first;
    b.stages = (plan->last == last_stmt ? last_stmt - 1 : plan->last) - b.first_stage + 1;
    bf_code_begin(&b.code, map, plan);
    bool notes = true, ok = true;
    for (unsigned pe = 0; pe < pe_count(&b) && ok; pe++) {
        if (!bf_tiles_present(&b.tiles, pe >> b.g) || !bf_stages_present(plan, pe_field(&b, pe)))
            continue;
        ok = pe_blocks(&b, pe, notes);
        notes = false;
    }
    if (!ok) {
        bf_code_abandon(&b.code);
        return false;
    }
    struct bf_launch launch = launch_of(&b);
    return bf_code_finish(&b.code, &launch, diags);
}
