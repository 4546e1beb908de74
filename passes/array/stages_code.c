/* stages_code.c - schedule of butterflies and FFTs: blocks, tokens, the launch.
 *
 *   LOAD x [, zeros] -> CAL stage -> CAL stage -> FLOW all-to-all -> CAL stage -> .. -> STORE y
 *
 * A stage is one block; each gives one token to the next. A FLOW sends every word of the segment to
 * the PE where its digits lie in the next one, a token a word. Butterflies work in place; an FFT
 * alternates between the two regions of its segment. Requires final addresses.
 */
#include "passes/array/stages.h"

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
    int stages;              /* number of stage blocks; block s runs statement first_stage + s */
    int first_stage;
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

static bool too_many_loops(struct build *b, const char *what, int count, int most) {
    return bf_diag_error(b->diags, b->plan->kernel->loc,
                         "cannot map %s on '%s': the words of its %s lie in %d nested loops, a "
                         "block has %d",
                         b->plan->kernel->what, b->map->machine.name, what, count, most);
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

/* ---- scratchpad side of LOAD and STORE ---- */

/* Words from element 0 to element `index` of the transformed axis in an operand. */
static int64_t element_word(const struct build *b, const struct bf_operand *operand,
                            int64_t index) {
    if (b->plan->kernel->lanes == BF_LANES_ROWS)
        return index;
    return bf_map_row_word(b->map, operand, 0, index, 0) -
           bf_map_row_word(b->map, operand, 0, 0, 0);
}

static int64_t operand_base(const struct build *b, const struct bf_operand *operand) {
    return b->plan->kernel->lanes == BF_LANES_ROWS
               ? bf_map_column_word(b->map, operand, 0, 0, 0)
               : bf_map_row_word(b->map, operand, 0, 0, 0);
}

/* Element of word `word` of a PE; for the kernel's own result with the stack's first column. */
static int64_t element_of(const struct build *b, const struct bf_layout *layout, unsigned field,
                          int64_t word, enum bf_role role) {
    int64_t digits[BF_MAX_DIGITS];
    const struct bf_poly_kernel *kernel = b->plan->kernel;
    bf_stage_digits(b->plan, layout, field, word, digits);
    int64_t index = bf_stage_index(kernel, digits, role);
    if (role == BF_WRITE && b->plan->last == (int)kernel->stmts.count - 1)
        index += bf_plan_int(b->plan, "stack") * bf_ints_get(&kernel->attrs, "n");
    return index;
}

static int64_t extent(const struct build *b, const struct bf_operand *operand) {
    return b->plan->kernel->lanes == BF_LANES_ROWS ? operand->cols : operand->rows;
}

/* How many words of a PE lie inside the operand: they come first. */
static int64_t words_inside(const struct build *b, const struct bf_layout *layout, unsigned field,
                            const struct bf_operand *operand, enum bf_role role) {
    int64_t inside = 0;
    while (inside < b->words &&
           element_of(b, layout, field, inside, role) < extent(b, operand))
        inside++;
    return inside;
}

/* Loops over the local digits, smallest stride first. With `reversed` the radix-2 digits come in
 * opposite order, as LOAD's bit reversal wants them; returns their number. */
static int local_runs(const struct build *b, const struct bf_layout *layout,
                      const struct bf_operand *operand, enum bf_role role, bool reversed,
                      struct run runs[BF_MAX_DIGITS], int *count) {
    const struct bf_poly_kernel *kernel = b->plan->kernel;
    int twos = 0;
    *count = 0;
    for (size_t i = 0; i < layout->digits.count; i++) {
        const struct bf_layout_digit *at = &layout->digits.data[i];
        if (at->where != BF_AT_LOCAL)
            continue;
        const struct bf_digit *digit = &kernel->digits.data[at->digit];
        int64_t weight = role == BF_READ ? digit->weight : digit->out_weight;
        runs[(*count)++] =
            (struct run){digit->radix, at->position, element_word(b, operand, weight)};
        twos += digit->radix == 2;
    }
    if (reversed && twos > 1) {
        for (int i = 0; i < twos / 2; i++) {
            int64_t far = runs[i].far;
            runs[i].far = runs[twos - 1 - i].far;
            runs[twos - 1 - i].far = far;
        }
    } else {
        twos = 0;
    }
    *count = join_runs(runs, *count);
    return twos;
}

/* Fills the loops of a LOAD or STORE that moves `inside` words of `all`. */
static bool memory_loops(struct build *b, struct bf_descriptor *d, const struct run *runs,
                         int count, int64_t inside, const char *what) {
    int64_t near[3] = {0}, far[3] = {0}, delta[3];
    if (inside < b->words && count > 1)
        return too_many_loops(b, what, count, 1);
    if (count > BF_LEVELS)
        return too_many_loops(b, what, count, BF_LEVELS);
    for (int l = 0; l < count; l++) {
        d->trips[l] = (uint16_t)(inside < b->words ? inside : runs[l].radix);
        near[l] = runs[l].near;
        far[l] = runs[l].far;
    }
    bf_deltas(d->trips, near, delta);
    for (int l = 0; l < BF_LEVELS; l++)
        d->mem.ram_delta[l] = (int16_t)delta[l];
    bf_deltas(d->trips, far, delta);
    for (int l = 0; l < BF_LEVELS; l++)
        d->mem.spm_delta[l] = (int32_t)delta[l];
    return true;
}

/* The words must lie where the loops say: digits that carry across a tile would not. */
static bool loops_are_exact(struct build *b, const struct bf_layout *layout, unsigned field,
                            const struct bf_operand *operand, enum bf_role role) {
    struct run runs[BF_MAX_DIGITS];
    int count = 0;
    local_runs(b, layout, operand, role, false, runs, &count);
    int64_t origin = element_word(b, operand, element_of(b, layout, field, 0, role));
    for (int64_t w = 0; w < b->words; w++) {
        int64_t sum = origin;
        for (int r = 0; r < count; r++)
            sum += w / runs[r].near % runs[r].radix * runs[r].far;
        if (sum != element_word(b, operand, element_of(b, layout, field, w, role)))
            return bf_diag_error(b->diags, b->plan->kernel->loc,
                                 "cannot map %s on '%s': rows of length %lld cross the tiles of "
                                 "%u lanes; a length that is a power of two would fit",
                                 b->plan->kernel->what, b->map->machine.name,
                                 (long long)extent(b, operand), b->map->machine.lanes);
    }
    return true;
}

static void follow_tiles(const struct build *b, struct bf_descriptor *d, unsigned pe,
                         const struct bf_operand *operand, int64_t element) {
    struct bf_tile_stride stride = bf_tile_stride(b->map, b->plan->kernel->lanes, operand);
    d->mem.row = b->plan->kernel->lanes == BF_LANES_COLS;
    d->mem.spm = (uint32_t)(element_word(b, operand, element) +
                            bf_tile_offset(&b->tiles, stride, pe >> b->g));
    bf_tile_deltas(&b->tiles, stride, d->mem.iteration_delta);
}

static void note(struct build *b, int id, int stmt, int layout, const char *from, const char *to) {
    *bf_push(&b->plan->notes) = (struct bf_block_note){
        id, stmt, layout, bf_arena_strdup(&b->map->arena, from), bf_arena_strdup(&b->map->arena, to)};
}

/* ---- LOAD ---- */

static void load_zeros(struct build *b, unsigned pe, int plane, int64_t inside, int64_t ram) {
    struct bf_descriptor d = bf_descriptor_new(BF_UNIT_LOAD);
    phases_of(b, pe, &d);
    d.trips[0] = (uint16_t)(b->words - inside);
    d.target[0] = BF_FIRST_CAL;
    d.mem.relative = true;
    d.mem.ram = (uint16_t)(ram + inside);
    d.mem.ram_delta[0] = d.trips[0] > 1;
    d.mem.base = BASE_ZERO;
    bf_code_block(&b->code, UINT64_C(1) << pe, (unsigned)(BF_FIRST_LOAD + 2 * plane + 1),
                  "load zeros", &d);
}

/* Loads one plane of one PE; returns the number of blocks, -1 after an error. */
static int load_plane(struct build *b, unsigned pe, int plane) {
    const struct bf_layout *layout = &b->plan->layouts.data[0];
    int64_t ram = bf_plan_region(b->plan, "x0")->base + plane * b->words;
    if ((size_t)plane >= b->plan->inputs.count) {
        load_zeros(b, pe, plane, 0, ram);
        return 1;
    }
    const struct bf_operand *operand = &b->plan->inputs.data[plane];
    unsigned field = pe_field(b, pe);
    int64_t inside = words_inside(b, layout, field, operand, BF_READ);
    int blocks = 0, count;
    if (inside > 0) {
        struct bf_descriptor d = bf_descriptor_new(BF_UNIT_LOAD);
        struct run runs[BF_MAX_DIGITS];
        phases_of(b, pe, &d);
        bool fft = b->plan->kernel->kind == BF_KERNEL_FFT;
        d.mem.reverse = (uint8_t)local_runs(b, layout, operand, BF_READ, fft, runs, &count);
        if (!memory_loops(b, &d, runs, count, inside, "input") ||
            !loops_are_exact(b, layout, field, operand, BF_READ))
            return -1;
        d.target[0] = BF_FIRST_CAL;
        d.mem.relative = true;
        d.mem.ram = (uint16_t)ram;
        d.mem.base = (uint8_t)(BASE_IN + plane);
        follow_tiles(b, &d, pe, operand, element_of(b, layout, field, 0, BF_READ));
        bf_code_block(&b->code, UINT64_C(1) << pe, (unsigned)(BF_FIRST_LOAD + 2 * plane), "load x",
                      &d);
        blocks++;
    }
    if (inside < b->words) {
        load_zeros(b, pe, plane, inside, ram);
        blocks++;
    }
    return blocks;
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
    d.mem.spm = (uint32_t)(pe_field(b, pe) * recipe->words);
    bf_code_block(&b->code, UINT64_C(1) << pe, WEIGHT_LOAD, "load weights", &d);
}

/* ---- CAL ---- */

/* The loops of a stage block around its body. */
static void stage_loops(const struct build *b, int stmt, struct bf_descriptor *d) {
    struct bf_stage_order order = bf_stage_order(b->plan, stmt);
    bool odd = order.radix != 2;
    int low = odd ? 1 : 0;
    int64_t data[3] = {0}, result[3] = {0}, delta[3];
    if (odd)
        d->trips[0] = (uint16_t)order.radix;
    result[0] = odd ? order.stride : 0;
    d->trips[low] = (uint16_t)order.trips_low;
    d->trips[low + 1] = (uint16_t)order.trips_high;
    data[low] = order.low;
    data[low + 1] = order.high * order.stride * order.radix;
    if (odd) {
        result[1] = data[1];
        result[2] = data[2];
    }
    bf_deltas(d->trips, data, delta);
    for (int l = 0; l < BF_LEVELS; l++)
        d->cal.delta[0][l] = (int16_t)delta[l];
    if (odd) {
        bf_deltas(d->trips, result, delta);
        for (int l = 0; l < BF_LEVELS; l++)
            d->cal.delta[1][l] = (int16_t)delta[l];
        d->cal.relative |= 2;
    }
    int64_t lanes = bf_stage_lanes(b->plan, stmt);
    lanes = odd ? lanes / order.radix : lanes * order.low * order.high;
    for (int l = 0; l < BF_LEVELS; l++)
        d->cal.delta[3][l] = (int16_t)(d->trips[l] > 1 ? lanes : 0);
}

static void stage_block(struct build *b, int stage, const struct bf_region *from,
                        const struct bf_region *to, uint16_t need, const uint8_t targets[2],
                        unsigned pe) {
    int stmt = b->first_stage + stage;
    struct bf_cal body[BF_MAX_BODY];
    struct bf_descriptor d = bf_descriptor_new(BF_UNIT_CAL);
    phases_of(b, pe, &d);
    d.need = need;
    d.target[0] = targets[0];
    d.target[1] = targets[1];
    d.cal.length = (uint8_t)bf_stages_body(b->plan, stmt, from->base, to->base, body);
    d.cal.start = (uint8_t)bf_code_body(&b->code, body, d.cal.length);
    d.cal.relative = 1;
    d.cal.uses_weights = true;
    d.cal.exponent = (int8_t)-b->plan->kernel->stmts.data[stmt].shift;
    stage_loops(b, stmt, &d);
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
            return bf_log2_floor(
                (uint64_t)bf_stage_stride(local, pe->digits.data[i].digit));
    return 0;
}

static bool flow_block(struct build *b, int segment, const struct bf_region *from,
                       const struct bf_region *to, uint8_t receiver, unsigned pe) {
    const struct bf_layout *source = &b->plan->layouts.data[segment], *next = source + 1;
    struct run runs[BF_MAX_DIGITS];
    int count = kept_runs(b, source, next, runs);
    if (count > 2)
        return too_many_loops(b, "exchange", count + 1, BF_LEVELS);
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

static int store_plane(struct build *b, unsigned pe, int plane, const struct bf_region *from) {
    int last = (int)b->plan->layouts.count - 1, count;
    const struct bf_layout *layout = &b->plan->layouts.data[last];
    const struct bf_operand *operand = &b->plan->outputs.data[plane];
    unsigned field = pe_field(b, pe);
    int64_t inside = words_inside(b, layout, field, operand, BF_WRITE);
    if (!inside)
        return 0;
    struct bf_descriptor d = bf_descriptor_new(BF_UNIT_STORE);
    struct run runs[BF_MAX_DIGITS];
    phases_of(b, pe, &d);
    local_runs(b, layout, operand, BF_WRITE, false, runs, &count);
    if (!memory_loops(b, &d, runs, count, inside, "result") ||
        !loops_are_exact(b, layout, field, operand, BF_WRITE))
        return -1;
    d.need = 1;
    d.mem.relative = true;
    d.mem.ram = (uint16_t)(from->base + plane * b->words);
    d.mem.base = (uint8_t)(BASE_OUT + plane);
    follow_tiles(b, &d, pe, operand, element_of(b, layout, field, 0, BF_WRITE));
    bf_code_block(&b->code, UINT64_C(1) << pe, (unsigned)(BF_FIRST_STORE + plane), "store y", &d);
    return 1;
}

/* ---- one PE, all of its blocks ---- */

/* The region a stage writes: the same, or an FFT's other one. */
static const struct bf_region *result_region(const struct build *b, const struct bf_region *from) {
    if (b->plan->kernel->kind != BF_KERNEL_FFT)
        return from;
    return (size_t)(from - b->plan->regions.data) % 2 ? from - 1 : from + 1;
}

static const struct bf_region *segment_region(const struct build *b, size_t segment) {
    size_t each = b->plan->kernel->kind == BF_KERNEL_FFT ? 2 : 1;
    return &b->plan->regions.data[segment * each];
}

/* Stages, exchanges and stores; `tokens` is what the first stage waits for. */
static bool compute_blocks(struct build *b, unsigned pe, int tokens, bool notes) {
    size_t segment = 0;
    const struct bf_region *from = segment_region(b, 0);
    uint16_t need = (uint16_t)tokens;
    for (int stage = 0; stage < b->stages; stage++) {
        int stmt = b->first_stage + stage;
        const struct bf_layout *layout = &b->plan->layouts.data[segment];
        const struct bf_region *to = result_region(b, from);
        uint8_t targets[2] = {(uint8_t)(BF_FIRST_CAL + stage + 1), BF_NO_BLOCK};
        bool last = stage == b->stages - 1, ends = !last && stmt == layout->last;
        if (last) {
            targets[0] = BF_NO_BLOCK;
            for (size_t p = 0, t = 0; p < b->plan->outputs.count; p++) {
                int stored = store_plane(b, pe, (int)p, to);
                if (stored < 0)
                    return false;
                if (stored)
                    targets[t++] = (uint8_t)(BF_FIRST_STORE + p);
            }
        } else if (ends) {
            targets[0] = (uint8_t)(BF_FIRST_FLOW + segment);
        }
        stage_block(b, stage, from, to, need, targets, pe);
        if (notes)
            note(b, BF_FIRST_CAL + stage, stmt, (int)segment, from->name, to->name);
        need = 1;
        from = to;
        if (ends) {
            const struct bf_region *received = segment_region(b, segment + 1);
            if (!flow_block(b, (int)segment, from, received, (uint8_t)(BF_FIRST_CAL + stage + 1),
                            pe))
                return false;
            if (notes)
                note(b, BF_FIRST_FLOW + (int)segment, -1, (int)segment, from->name,
                     received->name);
            need = (uint16_t)(b->planes * b->words);
            from = received;
            segment++;
        }
    }
    if (notes)
        note(b, BF_FIRST_STORE, b->plan->last, (int)segment, from->name, "");
    return true;
}

static bool pe_blocks(struct build *b, unsigned pe, bool notes) {
    int tokens = 0;
    for (int plane = 0; plane < b->planes; plane++) {
        int blocks = load_plane(b, pe, plane);
        if (blocks < 0)
            return false;
        tokens += blocks;
    }
    load_weights(b, pe);
    return compute_blocks(b, pe, tokens, notes);
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
        launch.base[BASE_IN + i] = (uint32_t)operand_base(b, &b->plan->inputs.data[i]);
    for (size_t i = 0; i < b->plan->outputs.count; i++)
        launch.base[BASE_OUT + i] = (uint32_t)operand_base(b, &b->plan->outputs.data[i]);
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
        if (!bf_tiles_present(&b.tiles, pe >> b.g))
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
