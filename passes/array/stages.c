/* stages.c - how butterflies and FFTs lie on the array, up to their RAM regions.
 *
 * divide     one plan a stack; where one pass does not fit, one a pass and set of digits
 * tile       PE groups of 2^g PEs; each works on its own tiles of lanes
 * partition  segments between exchanges:
 *
 *     N = 512, g = 4       PE        local              PE        local
 *     segment 0  B0..B4  d8 d7 d6 d5 | d4 d3 d2 d1 d0
 *     exchange           {d8 d7 d6 d5} <-> {d3 d2 d1 d0}
 *     segment 1  B5..B8                               d3 d2 d1 d0 | d8 d7 d6 d5 d4
 *
 *            A pass through the scratchpad has one segment: its own digits are local, others are
 *            spread over PEs, and the rest number the sets, each a plan of its own.
 * stream     a region a segment (two for an FFT, which can't work in place), the window
 *
 * Numbers of a plan: "stack", "set" (value of the digits that are fixed), "pe_bits" g, "words" a plane
 * and PE, "planes" (2: re, im), "unroll" butterflies a body, and the tiles (passes/array/tiles.h).
 */
#include "passes/array/stages.h"

#include <stdlib.h>

#include "ir/stages.h"
#include "passes/array/tiles.h"

/* What a kernel's parts are made of. */
struct shape {
    const struct bf_poly_kernel *kernel;
    int top;           /* digit d<m-1>; d<k> is digit top + m - 1 - k */
    int m;
    int twos;          /* how many radix-2 digits: d0 .. d<twos-1> */
    int64_t n, planes, buffers; /* buffers: regions a segment */
};

static struct shape shape_of(const struct bf_poly_kernel *kernel) {
    struct shape shape = {.kernel = kernel};
    bool fft = kernel->kind == BF_KERNEL_FFT;
    shape.n = bf_ints_get(&kernel->attrs, "n");
    for (size_t d = kernel->digits.count; d-- > 0 && kernel->digits.data[d].name[0] == 'd';) {
        shape.top = (int)d;
        shape.m++;
        shape.twos += kernel->digits.data[d].radix == 2;
    }
    shape.planes = fft ? 2 : 1;
    shape.buffers = fft ? 2 : 1;
    return shape;
}

/* Number k of the digit d<k> that a statement acts along. */
static int acted(const struct shape *shape, int stmt) {
    return shape->top + shape->m - 1 - shape->kernel->stmts.data[stmt].digit;
}

/* First and last stage statements (the load is 0, the store comes last). */
static int last_stage(const struct bf_poly_kernel *kernel) {
    return (int)kernel->stmts.count - 2;
}

static int log2_of(int64_t x) {
    return (int)bf_log2_floor((uint64_t)x);
}

/* ---- one pass or several ---- */

/* How often the PE digits are exchanged when g of them are spread: greedily, a segment runs until
 * a stage acts along a PE digit. Digits are those of d<k>; pe: mask over k. */
static uint64_t initial_pe_mask(const struct shape *shape, int g) {
    uint64_t low = (UINT64_C(1) << g) - 1, high = low << (shape->twos - g);
    int first = acted(shape, 1);
    return g == 0 ? 0 : first < shape->twos / 2 ? high : low;
}

static uint64_t exchanged_pe_mask(const struct shape *shape, int g, uint64_t pe) {
    uint64_t low = (UINT64_C(1) << g) - 1, high = low << (shape->twos - g);
    return pe == high ? low : high;
}

static int count_segments(const struct shape *shape, int g) {
    uint64_t pe = initial_pe_mask(shape, g);
    int segments = 1;
    for (int s = 1; s <= last_stage(shape->kernel); s++) {
        if (pe >> acted(shape, s) & 1) {
            pe = exchanged_pe_mask(shape, g, pe);
            segments++;
        }
    }
    return segments;
}

static int spread_bits(const struct bf_map *map, const struct shape *shape) {
    int pe_bits = log2_of(bf_machine_pes(&map->machine)), most = shape->twos / 2;
    return pe_bits < most ? pe_bits : most;
}

static int64_t lanes_limit(const struct bf_machine *machine) {
    int64_t lanes = 2 * (int64_t)machine->weight_half * machine->lanes;
    return lanes < 2048 ? lanes : 2048; /* a lane address has 11 bits */
}

/* Weight lanes of a PE for the stages first .. last when it holds `words` words a plane. */
static int64_t lanes_needed(const struct shape *shape, int first, int last, int64_t words) {
    int64_t lanes = 0;
    for (int s = first; s <= last; s++) {
        int64_t radix = shape->kernel->digits.data[shape->kernel->stmts.data[s].digit].radix;
        int64_t each = shape->planes == 1 ? 4 : radix == 2 ? 2 : 2 * radix * (radix - 1);
        lanes += words / radix * each;
    }
    if (last == last_stage(shape->kernel) && bf_kernel_find_param(shape->kernel, "bias"))
        lanes += words;
    return lanes;
}

static int64_t context_needed(const struct shape *shape, int segments, int64_t words) {
    return segments * shape->buffers * shape->planes * words;
}

static struct bf_plan *add_part(struct bf_map *map, struct bf_poly_kernel *kernel, int *part,
                                int64_t stack, int64_t set, int g, int64_t words) {
    struct bf_plan *plan = bf_map_add_plan(map, kernel, (*part)++);
    bf_plan_set(map, plan, "stack", stack);
    bf_plan_set(map, plan, "set", set);
    bf_plan_set(map, plan, "pe_bits", g);
    bf_plan_set(map, plan, "words", words);
    return plan;
}

static void copy_operands(struct bf_plan *plan) {
    for (size_t i = 0; i < plan->kernel->inputs.count; i++)
        *bf_push(&plan->inputs) = plan->kernel->inputs.data[i];
    for (size_t i = 0; i < plan->kernel->outputs.count; i++)
        *bf_push(&plan->outputs) = plan->kernel->outputs.data[i];
}

/* Passes: consecutive stages whose digits (at most `bits` of them) are local to a PE. Returns how
 * many passes; ends[p] is the last stage of pass p. */
static int split_stages(const struct shape *shape, int bits, int ends[64]) {
    int passes = 0;
    uint64_t seen = 0;
    for (int s = 1; s <= last_stage(shape->kernel); s++) {
        uint64_t with = seen | UINT64_C(1) << acted(shape, s);
        if (__builtin_popcountll(with) > bits) {
            ends[passes++] = s - 1;
            with = UINT64_C(1) << acted(shape, s);
        }
        seen = with;
    }
    ends[passes++] = last_stage(shape->kernel);
    return passes;
}

/* Fewest passes first, then the most even ones: the smallest `bits` that gives that many. */
static int choose_pass_bits(const struct bf_map *map, const struct shape *shape) {
    int most = 0, ends[64];
    for (int bits = 1; bits <= shape->m; bits++) {
        int64_t words = INT64_C(1) << bits;
        if (2 * context_needed(shape, 1, words) <= map->machine.data_ram &&
            2 * words * bits * (shape->planes == 1 ? 2 : 1) + words <= lanes_limit(&map->machine))
            most = bits;
    }
    if (!most)
        return 0;
    int fewest = split_stages(shape, most, ends);
    while (most > 1 && split_stages(shape, most - 1, ends) == fewest)
        most--;
    return most;
}

static struct bf_buffer *between_passes(struct bf_map *map, struct bf_poly_kernel *kernel, int part,
                                        int64_t n) {
    const struct bf_buffer *like = kernel->inputs.data[0].buffer;
    struct bf_buffer *buffer = bf_poly_add_buffer(
        map->poly, bf_arena_printf(&map->poly->arena, "%s.pass%d", kernel->name, part),
        BF_BUFFER_TEMP);
    buffer->samples = like->samples;
    buffer->rows = like->rows;
    buffer->cols = n;
    buffer->loc = kernel->loc;
    return buffer;
}

static bool refuse(struct bf_map *map, const struct shape *shape, struct bf_diags *diags) {
    int g = spread_bits(map, shape);
    int64_t words = shape->n >> g;
    int segments = count_segments(shape, g);
    const struct bf_poly_kernel *kernel = shape->kernel;
    const char *name = kernel->kind == BF_KERNEL_FFT ? "fft" : "butterfly";
    int64_t ram = context_needed(shape, segments, words);
    if (ram > map->machine.data_ram)
        return bf_diag_error(diags, kernel->loc,
                             "cannot map %s(%lld) on '%s': it needs %lld words of data RAM a PE, "
                             "the array has %u",
                             name, (long long)shape->n, map->machine.name, (long long)ram,
                             map->machine.data_ram);
    return bf_diag_error(
        diags, kernel->loc,
        "cannot map %s(%lld) on '%s': it needs %lld weights a PE, the weight RAM addresses %lld",
        name, (long long)shape->n, map->machine.name,
        (long long)lanes_needed(shape, 1, last_stage(kernel), words),
        (long long)lanes_limit(&map->machine));
}

/* In passes, each through a buffer of all n columns; a plan for every pass and set. */
static bool divide_in_passes(struct bf_map *map, struct bf_poly_kernel *kernel,
                             const struct shape *shape, int64_t stack, int *part,
                             struct bf_diags *diags) {
    int bits = choose_pass_bits(map, shape), ends[64];
    if (kernel->kind == BF_KERNEL_FFT || !bits)
        return refuse(map, shape, diags);
    int passes = split_stages(shape, bits, ends), first = 1;
    struct bf_operand from = kernel->inputs.data[0];
    for (int p = 0; p < passes; p++) {
        bool last = p == passes - 1;
        struct bf_operand to =
            last ? kernel->outputs.data[0]
                 : bf_operand_whole(between_passes(map, kernel, *part, shape->n));
        uint64_t own = 0;
        for (int s = first; s <= ends[p]; s++)
            own |= UINT64_C(1) << acted(shape, s);
        int local = __builtin_popcountll(own), rest = shape->m - local;
        int pe_bits = log2_of(bf_machine_pes(&map->machine));
        int g = rest < pe_bits ? rest : pe_bits;
        for (int64_t set = 0; set < INT64_C(1) << (rest - g); set++) {
            struct bf_plan *plan =
                add_part(map, kernel, part, stack, set, g, INT64_C(1) << local);
            plan->first = p == 0 ? 0 : first;
            plan->last = last ? last_stage(kernel) + 1 : ends[p];
            *bf_push(&plan->inputs) = from;
            *bf_push(&plan->outputs) = to;
        }
        from = to;
        first = ends[p] + 1;
    }
    return true;
}

bool bf_stages_divide(struct bf_map *map, struct bf_poly_kernel *kernel, struct bf_diags *diags) {
    struct shape shape = shape_of(kernel);
    int g = spread_bits(map, &shape), part = 0;
    int64_t words = shape.n >> g, stacks = bf_ints_find(&kernel->attrs, "stacks", 1);
    bool fits = context_needed(&shape, count_segments(&shape, g), words) <= map->machine.data_ram &&
                lanes_needed(&shape, 1, last_stage(kernel), words) <= lanes_limit(&map->machine) &&
                last_stage(kernel) <= BF_FIRST_LOAD;
    for (int64_t stack = 0; stack < stacks; stack++) {
        if (fits)
            copy_operands(add_part(map, kernel, &part, stack, 0, g, words));
        else if (!divide_in_passes(map, kernel, &shape, stack, &part, diags))
            return false;
    }
    return true;
}

/* ---- tile ---- */

bool bf_stages_tile(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    (void)diags;
    int64_t groups = bf_machine_pes(&map->machine) >> bf_plan_int(plan, "pe_bits");
    struct bf_tiles tiles =
        bf_tiles_assign(map, plan->kernel->lanes, &plan->inputs.data[0], groups);
    bf_tiles_save(map, plan, &tiles);
    return true;
}

/* ---- partition ---- */

static void place_digit(struct bf_layout *layout, int digit, enum bf_where where,
                        int64_t position) {
    *bf_push(&layout->digits) = (struct bf_layout_digit){digit, where, position};
}

/* PE digits `pe`, local ones `local`, the others fixed by the set; in order of their size. */
static void add_layout(struct bf_plan *plan, const struct shape *shape, int first, int last,
                       uint64_t pe, uint64_t local) {
    struct bf_layout layout = {.first = first, .last = last};
    for (int d = 0; d < shape->top; d++)
        place_digit(&layout, d, BF_AT_TILE, 0);
    int64_t bit = 0, stride = 1, set = 1;
    for (int k = 0; k < shape->m; k++) {
        int digit = shape->top + shape->m - 1 - k;
        int64_t radix = shape->kernel->digits.data[digit].radix;
        if (pe >> k & 1) {
            place_digit(&layout, digit, BF_AT_PE, bit++);
        } else if (local >> k & 1) {
            place_digit(&layout, digit, BF_AT_LOCAL, stride);
            stride *= radix;
        } else {
            place_digit(&layout, digit, BF_AT_TILE, set);
            set *= radix;
        }
    }
    *bf_push(&plan->layouts) = layout;
}

/* A pass: one segment, the lowest digits that it leaves alone across the PEs. */
static void partition_pass(struct bf_plan *plan, const struct shape *shape) {
    uint64_t local = 0, pe = 0;
    int64_t g = bf_plan_int(plan, "pe_bits");
    for (int s = plan->first; s <= plan->last; s++)
        if (shape->kernel->stmts.data[s].digit >= 0)
            local |= UINT64_C(1) << acted(shape, s);
    for (int k = 0; k < shape->m && g > 0; k++) {
        if (!(local >> k & 1)) {
            pe |= UINT64_C(1) << k;
            g--;
        }
    }
    add_layout(plan, shape, plan->first, plan->last, pe, local);
}

bool bf_stages_partition(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    (void)map, (void)diags;
    struct shape shape = shape_of(plan->kernel);
    int last = (int)plan->kernel->stmts.count - 1, g = (int)bf_plan_int(plan, "pe_bits");
    if (plan->first > 0 || plan->last < last) {
        partition_pass(plan, &shape);
        return true;
    }
    uint64_t all = (UINT64_C(1) << shape.m) - 1, pe = initial_pe_mask(&shape, g);
    int first = 0;
    for (int s = 1; s < last; s++) {
        if (pe >> acted(&shape, s) & 1) {
            add_layout(plan, &shape, first, s - 1, pe, all & ~pe);
            pe = exchanged_pe_mask(&shape, g, pe);
            first = s;
        }
    }
    add_layout(plan, &shape, first, last, pe, all & ~pe);
    return true;
}

/* ---- stream ---- */

static int64_t choose_unroll(const struct bf_machine *machine) {
    int64_t unroll = 1;
    while (2 * unroll < machine->fma_latency && 4 * unroll <= machine->accumulators &&
           12 * unroll <= BF_MAX_BODY)
        unroll *= 2;
    return unroll;
}

bool bf_stages_stream(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    struct shape shape = shape_of(plan->kernel);
    const struct bf_machine *machine = &map->machine;
    int64_t words = bf_plan_int(plan, "words"), size = shape.planes * words, base = 0;
    bf_plan_set(map, plan, "planes", shape.planes);
    bf_plan_set(map, plan, "unroll", choose_unroll(machine));
    for (size_t i = 0; i < plan->layouts.count; i++) {
        for (int64_t b = 0; b < shape.buffers; b++, base += size)
            bf_plan_add_region(map, plan,
                               bf_arena_printf(&map->arena, "x%zu%s", i, b ? "'" : ""), base, size,
                               true);
    }
    struct bf_tiles tiles = bf_tiles_load(plan);
    int64_t iterations = bf_tiles_iterations(&tiles), window = machine->data_ram / base;
    if (window < 1)
        return refuse(map, &shape, diags);
    window = window < machine->window ? window : machine->window;
    plan->window = window < iterations ? window : iterations;
    plan->context_base = 0;
    plan->context_size = base;
    int64_t lanes = bf_stage_lane_base(plan, plan->last + 1);
    if (lanes) {
        const char *kind = plan->kernel->kind == BF_KERNEL_FFT ? "twiddle" : "butterfly";
        int64_t across = INT64_C(1) << bf_plan_int(plan, "pe_bits");
        plan->recipe = bf_map_add_recipe(
            map, kind, plan, 1, across,
            (int64_t)bf_divide_up((uint64_t)lanes, machine->lanes));
    }
    return true;
}

const struct bf_family bf_family_butterfly = {
    bf_stages_divide, bf_stages_tile,    bf_stages_partition,
    bf_stages_stream, bf_stages_schedule, bf_stages_verify,
};
const struct bf_family bf_family_fft = {
    bf_stages_divide, bf_stages_tile,    bf_stages_partition,
    bf_stages_stream, bf_stages_schedule, bf_stages_verify,
};
