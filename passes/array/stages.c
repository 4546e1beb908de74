/* stages.c - how butterflies and FFTs lie on the array, up to their RAM regions.
 *
 * divide     one plan a stack; where one pass does not fit, passes through the scratchpad, one plan
 *            a pass and set of digits (stages_passes.c for FFTs)
 * tile       PE groups of 2^g PEs; each works on its own tiles of lanes
 * partition  where the digits are (stages_layout.c)
 * stream     a region a segment (two where stages can't work in place), the window
 *
 * Numbers of a plan: "stack", "set" and "pe_bits" g (digits that lie neither on PE digits nor local
 * have the value of (set << g) + PE), "words" a plane and PE, "planes" (2: re, im), "unroll"
 * butterflies a body, "shared" (butterflies with equal twiddles read the same lanes), "sorted"
 * (every stage writes the layout of the next one), "order_in", "order_out" (1: the operand read,
 * written has the order of the kernel's results), in passes of an FFT "first_digit" and
 * "last_digit" of its own ones and "copy" (no stage, only a change of place) and "fields" (how many
 * values the other digits have), and the tiles (passes/array/tiles.h).
 */
#include "passes/array/stages.h"

#include <stdlib.h>

#include "ir/scaled.h"
#include "ir/stages.h"
#include "passes/array/tiles.h"

bool bf_stages_in_place(const struct bf_poly_kernel *kernel, int stmt) {
    return kernel->kind == BF_KERNEL_BUTTERFLY && bf_scaled_form(kernel, stmt) != BF_FORM_SCALED;
}

int64_t bf_stages_buffers(const struct bf_poly_kernel *kernel) {
    return kernel->kind == BF_KERNEL_FFT || bf_scaled_kernel(kernel) ? 2 : 1;
}

struct bf_stages_shape bf_stages_shape_of(const struct bf_poly_kernel *kernel) {
    struct bf_stages_shape shape = {.kernel = kernel};
    bool fft = kernel->kind == BF_KERNEL_FFT;
    shape.n = bf_ints_get(&kernel->attrs, "n");
    for (size_t d = kernel->digits.count; d-- > 0 && kernel->digits.data[d].name[0] == 'd';) {
        shape.top = (int)d;
        shape.m++;
        shape.twos += kernel->digits.data[d].radix == 2;
    }
    shape.planes = fft ? 2 : 1;
    shape.buffers = bf_stages_buffers(kernel);
    shape.last = (int)kernel->stmts.count - 2;
    shape.before = shape.last > 0 && kernel->stmts.data[1].digit < 0;
    shape.after = shape.last > 0 && kernel->stmts.data[shape.last].digit < 0;
    return shape;
}

int bf_stages_acted(const struct bf_stages_shape *shape, int stmt) {
    return shape->top + shape->m - 1 - shape->kernel->stmts.data[stmt].digit;
}

int64_t bf_stages_radix(const struct bf_stages_shape *shape, int k) {
    return shape->kernel->digits.data[shape->top + shape->m - 1 - k].radix;
}

static int log2_of(int64_t x) {
    return (int)bf_log2_floor((uint64_t)x);
}

/* ---- one pass or several ---- */

static int count_segments(const struct bf_stages_shape *shape, int g) {
    uint64_t pe = bf_stages_first_pes(shape, g);
    int segments = 1;
    for (int s = 1; s <= shape->last; s++) {
        if (pe >> bf_stages_acted(shape, s) & 1) {
            pe = bf_stages_next_pes(shape, g, pe);
            segments++;
        }
    }
    return segments;
}

static int spread_bits(const struct bf_map *map, const struct bf_stages_shape *shape) {
    int pe_bits = log2_of(bf_machine_pes(&map->machine)), most = shape->twos / 2;
    return pe_bits < most ? pe_bits : most;
}

int64_t bf_stages_lanes_limit(const struct bf_machine *machine) {
    return bf_weight_set_lanes(machine);
}

int64_t bf_stages_unroll(const struct bf_machine *machine) {
    int64_t unroll = 1;
    while (2 * unroll < machine->fma_latency && 4 * unroll <= machine->accumulators &&
           12 * unroll <= BF_MAX_BODY)
        unroll *= 2;
    return unroll;
}

int64_t bf_stages_code_needed(const struct bf_machine *machine, const struct bf_stages_shape *shape,
                              int first, int last) {
    int64_t words = 0, unroll = bf_stages_unroll(machine);
    for (int s = first; s <= last; s++) {
        if (shape->kernel->stmts.data[s].digit < 0) {
            words += 4 * unroll;
            continue;
        }
        int64_t slots = 4 * (bf_stages_radix(shape, bf_stages_acted(shape, s)) - 1);
        if (shape->planes == 1)
            words += (bf_stages_in_place(shape->kernel, s) ? 4 : 2) * unroll;
        else if (slots == 4)
            words += 6 * unroll;
        else
            words += BF_MAX_BODY / slots < unroll ? BF_MAX_BODY : slots * unroll;
    }
    return words;
}

/* Weight lanes of a PE for the stages first .. last when it holds `words` words a plane. */
static int64_t lanes_needed(const struct bf_stages_shape *shape, int first, int last,
                            int64_t words) {
    int64_t lanes = 0;
    for (int s = first; s <= last; s++) {
        int64_t radix = shape->kernel->digits.data[shape->kernel->stmts.data[s].digit].radix;
        int64_t each = shape->planes == 1 ? (bf_stages_in_place(shape->kernel, s) ? 4 : 2)
                       : radix == 2       ? 2
                                          : 2 * radix * (radix - 1);
        lanes += words / radix * each;
    }
    if (last == shape->last && bf_kernel_find_param(shape->kernel, "bias"))
        lanes += words;
    return lanes;
}

static int64_t context_needed(const struct bf_stages_shape *shape, int segments, int64_t words) {
    return segments * shape->buffers * shape->planes * words;
}

struct bf_plan *bf_stages_add_plan(struct bf_map *map, struct bf_poly_kernel *kernel, int64_t stack,
                                   int64_t set, int64_t g, int64_t words) {
    int part = 0;
    for (size_t i = 0; i < map->plans.count; i++)
        part += map->plans.data[i]->kernel == kernel;
    struct bf_plan *plan = bf_map_add_plan(map, kernel, part);
    bf_plan_set(map, plan, "stack", stack);
    bf_plan_set(map, plan, "set", set);
    bf_plan_set(map, plan, "pe_bits", g);
    bf_plan_set(map, plan, "words", words);
    return plan;
}

static void add_whole(struct bf_map *map, struct bf_poly_kernel *kernel, int64_t stack, int64_t g,
                      int64_t words) {
    struct bf_plan *plan = bf_stages_add_plan(map, kernel, stack, 0, g, words);
    bf_plan_set(map, plan, "order_out", 1);
    for (size_t i = 0; i < kernel->inputs.count; i++)
        *bf_push(&plan->inputs) = kernel->inputs.data[i];
    for (size_t i = 0; i < kernel->outputs.count; i++)
        *bf_push(&plan->outputs) = kernel->outputs.data[i];
}

/* Whether the stages first .. last, which act along `digits`, fit a pass of single PEs. */
static bool fits_pass(const struct bf_map *map, const struct bf_stages_shape *shape, int first,
                      int last, uint64_t digits) {
    int64_t words = INT64_C(1) << __builtin_popcountll(digits);
    return last - first < BF_FIRST_LOAD &&
           lanes_needed(shape, first, last, words) <= bf_stages_lanes_limit(&map->machine) &&
           bf_stages_code_needed(&map->machine, shape, first, last) <= map->machine.code_words;
}

/* Passes: consecutive stages whose digits (at most `bits` of them) are local to a PE. Returns how
 * many passes, 0 if a stage alone does not fit; ends[p] is the last stage of pass p. */
static int split_stages(const struct bf_map *map, const struct bf_stages_shape *shape, int bits,
                        int *ends) {
    int passes = 0, first = 1;
    uint64_t seen = 0;
    for (int s = 1; s <= shape->last; s++) {
        uint64_t own = UINT64_C(1) << bf_stages_acted(shape, s);
        if (!fits_pass(map, shape, s, s, own))
            return 0;
        if (__builtin_popcountll(seen | own) > bits ||
            !fits_pass(map, shape, first, s, seen | own)) {
            ends[passes++] = s - 1;
            first = s;
            seen = 0;
        }
        seen |= own;
    }
    ends[passes++] = shape->last;
    return passes;
}

/* Fewest passes first, then the most even ones: the smallest number of local digits that gives as
 * many; 0 if there is none. Two iterations shall fit the RAM. */
static int choose_pass_bits(const struct bf_map *map, const struct bf_stages_shape *shape,
                            int *ends) {
    int best = 0, fewest = INT32_MAX;
    for (int bits = 1; bits <= shape->m; bits++) {
        if (2 * context_needed(shape, 1, INT64_C(1) << bits) > map->machine.data_ram)
            break;
        int passes = split_stages(map, shape, bits, ends);
        if (passes && passes < fewest) {
            best = bits;
            fewest = passes;
        }
    }
    return best;
}

static struct bf_buffer *between_passes(struct bf_map *map, struct bf_poly_kernel *kernel,
                                        int64_t n) {
    const struct bf_buffer *like = kernel->inputs.data[0].buffer;
    struct bf_buffer *buffer = bf_poly_add_buffer(
        map->poly,
        bf_arena_printf(&map->poly->arena, "%s.pass%zu", kernel->name, map->poly->buffers.count),
        BF_BUFFER_TEMP);
    buffer->samples = like->samples;
    buffer->rows = like->rows;
    buffer->cols = n;
    buffer->loc = kernel->loc;
    return buffer;
}

static bool lacks(struct bf_map *map, const struct bf_stages_shape *shape, const char *what,
                  int64_t need, int64_t limit, struct bf_diags *diags) {
    bool fft = shape->kernel->kind == BF_KERNEL_FFT;
    return bf_diag_error(diags, shape->kernel->loc,
                         "cannot map %s(%lld) on '%s': a stage of radix %lld needs %lld %s, the "
                         "array has %lld",
                         fft ? "fft" : "butterfly", (long long)shape->n, map->machine.name,
                         (long long)bf_stages_radix(shape, 0), (long long)need, what,
                         (long long)limit);
}

/* Not even a pass of one stage fits; the first digit has the largest radix. */
static bool refuse(struct bf_map *map, const struct bf_stages_shape *shape,
                   struct bf_diags *diags) {
    int64_t radix = bf_stages_radix(shape, 0), ram = context_needed(shape, 1, radix);
    int first = 1 + shape->before;
    int64_t lanes = lanes_needed(shape, first, first, radix) + 2 * radix * shape->before;
    int64_t code = bf_stages_code_needed(&map->machine, shape, 1, first);
    if (ram > map->machine.data_ram)
        return lacks(map, shape, "words of data RAM a PE", ram, map->machine.data_ram, diags);
    if (4 * (radix - 1) > BF_MAX_BODY)
        return lacks(map, shape, "CAL words a body", 4 * (radix - 1), BF_MAX_BODY, diags);
    if (code > map->machine.code_words)
        return lacks(map, shape, "CAL words of code", code, map->machine.code_words, diags);
    return lacks(map, shape, "weights a PE", lanes, bf_stages_lanes_limit(&map->machine), diags);
}

/* In passes, each through a buffer of all n columns; a plan for every pass and set. */
static bool divide_in_passes(struct bf_map *map, struct bf_poly_kernel *kernel,
                             const struct bf_stages_shape *shape, int64_t stack, int *ends,
                             struct bf_diags *diags) {
    int bits = choose_pass_bits(map, shape, ends);
    if (!bits)
        return refuse(map, shape, diags);
    int passes = split_stages(map, shape, bits, ends), first = 1;
    struct bf_operand from = kernel->inputs.data[0];
    for (int p = 0; p < passes; p++) {
        bool last = p == passes - 1;
        struct bf_operand to = last ? kernel->outputs.data[0]
                                    : bf_operand_whole(between_passes(map, kernel, shape->n));
        uint64_t own = 0;
        for (int s = first; s <= ends[p]; s++)
            own |= UINT64_C(1) << bf_stages_acted(shape, s);
        int local = __builtin_popcountll(own), rest = shape->m - local;
        int pe_bits = log2_of(bf_machine_pes(&map->machine));
        int g = rest < pe_bits ? rest : pe_bits;
        for (int64_t set = 0; set < INT64_C(1) << (rest - g); set++) {
            struct bf_plan *plan =
                bf_stages_add_plan(map, kernel, stack, set, g, INT64_C(1) << local);
            bf_plan_set(map, plan, "order_out", last);
            plan->first = p == 0 ? 0 : first;
            plan->last = last ? shape->last + 1 : ends[p];
            *bf_push(&plan->inputs) = from;
            *bf_push(&plan->outputs) = to;
        }
        from = to;
        first = ends[p] + 1;
    }
    return true;
}

/* Whether LOAD and STORE blocks can move all words of an FFT in one pass: those of every PE, in few
 * enough pieces. */
static bool few_pieces(struct bf_map *map, const struct bf_stages_shape *shape, int64_t g) {
    struct bf_plan plan = {.kernel = (struct bf_poly_kernel *)shape->kernel,
                           .last = shape->last + 1};
    bf_plan_set(map, &plan, "stack", 0);
    bf_plan_set(map, &plan, "set", 0);
    bf_plan_set(map, &plan, "pe_bits", g);
    bf_plan_set(map, &plan, "words", shape->n >> g);
    bf_plan_set(map, &plan, "order_out", 1);
    bf_stages_partition(map, &plan, NULL);
    struct bf_stages_piece pieces[BF_MOST_LOADS];
    bool few = true;
    for (unsigned field = 0; field < 1u << g && few; field++)
        few = bf_stages_pieces(map, &plan, field, &plan.kernel->inputs.data[0], BF_READ, pieces,
                               BF_MOST_LOADS) > 0 &&
              bf_stages_pieces(map, &plan, field, &plan.kernel->outputs.data[0], BF_WRITE, pieces,
                               BF_MOST_STORES) > 0;
    for (size_t i = 0; i < plan.layouts.count; i++)
        free(plan.layouts.data[i].digits.data);
    free(plan.layouts.data);
    free(plan.ints.data);
    return few;
}

/* Words of V columns begin at a tile. */
static bool columns_begin_at_tiles(const struct bf_map *map, const struct bf_poly_kernel *kernel,
                                   struct bf_diags *diags) {
    int64_t v = map->machine.lanes;
    for (size_t i = 0; kernel->lanes == BF_LANES_COLS && i < kernel->inputs.count; i++)
        if (kernel->inputs.data[i].col % v != 0)
            return bf_diag_error(diags, kernel->loc,
                                 "cannot map %s on '%s': it reads '%s' from column %lld; slices "
                                 "must begin at multiples of %lld here",
                                 kernel->what, map->machine.name,
                                 kernel->inputs.data[i].buffer->name,
                                 (long long)kernel->inputs.data[i].col, (long long)v);
    return true;
}

bool bf_stages_divide(struct bf_map *map, struct bf_poly_kernel *kernel, struct bf_diags *diags) {
    if (!columns_begin_at_tiles(map, kernel, diags))
        return false;
    struct bf_stages_shape shape = bf_stages_shape_of(kernel);
    const struct bf_machine *machine = &map->machine;
    int g = spread_bits(map, &shape);
    int64_t words = shape.n >> g, stacks = bf_ints_find(&kernel->attrs, "stacks", 1);
    int64_t context = shape.before ? 0 : context_needed(&shape, count_segments(&shape, g), words);
    bool fft = kernel->kind == BF_KERNEL_FFT;
    bool fits = !shape.before && context <= machine->data_ram &&
                lanes_needed(&shape, 1, shape.last, words) <= bf_stages_lanes_limit(machine) &&
                shape.last <= BF_FIRST_LOAD &&
                bf_stages_code_needed(machine, &shape, 1, shape.last) <= machine->code_words &&
                (!fft || few_pieces(map, &shape, g));
    struct bf_stages_passes passes;
    bool alone = fits && (!fft || 2 * context <= machine->data_ram);
    if (fft && !alone && bf_stages_choose_passes(map, &shape, &passes)) {
        bf_stages_add_passes(map, kernel, &shape, &passes);
        return true;
    }
    if (fft && !fits)
        return refuse(map, &shape, diags);
    int *ends = bf_alloc((size_t)(shape.last + 1) * sizeof *ends);
    bool ok = true;
    /* A single iteration in flight leaves the array idle while it loads. */
    if (fits && 2 * context > machine->data_ram && choose_pass_bits(map, &shape, ends))
        fits = false;
    for (int64_t stack = 0; stack < stacks && ok; stack++) {
        if (fits)
            add_whole(map, kernel, stack, g, words);
        else
            ok = divide_in_passes(map, kernel, &shape, stack, ends, diags);
    }
    free(ends);
    return ok;
}

bool bf_stages_present(const struct bf_plan *plan, unsigned field) {
    int64_t fields = bf_ints_find(&plan->ints, "fields", INT64_MAX);
    return (bf_plan_int(plan, "set") << bf_plan_int(plan, "pe_bits")) + field < fields;
}

/* ---- tile ---- */

bool bf_stages_tile(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    (void)diags;
    int64_t groups = bf_machine_pes(&map->machine) >> bf_plan_int(plan, "pe_bits");
    struct bf_tiles tiles =
        bf_tiles_assign(map, plan->kernel->lanes, &plan->kernel->inputs.data[0], groups);
    bf_tiles_save(map, plan, &tiles);
    return true;
}

/* A pass between buffers that hold one tile of columns after the other, each V wide. */
struct bf_tile_stride bf_stages_tile_stride(const struct bf_map *map, const struct bf_plan *plan,
                                            const struct bf_operand *operand) {
    int64_t inner = bf_plan_int(plan, "inner"), pitch = map->places[operand->buffer->index].pitch;
    if (plan->kernel->lanes == BF_LANES_COLS && inner > 1 &&
        operand->buffer->cols == map->machine.lanes)
        return (struct bf_tile_stride){pitch, inner * pitch};
    return bf_tile_stride(map, plan->kernel->lanes, operand);
}

/* ---- stream ---- */

bool bf_stages_stream(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    struct bf_stages_shape shape = bf_stages_shape_of(plan->kernel);
    const struct bf_machine *machine = &map->machine;
    int64_t words = bf_plan_int(plan, "words"), size = shape.planes * words, base = 0;
    int64_t buffers = shape.buffers;
    size_t segments = bf_ints_find(&plan->ints, "sorted", 0) ? 1 : plan->layouts.count;
    if (bf_ints_find(&plan->ints, "copy", 0)) {
        size = (int64_t)plan->outputs.count * words;
        buffers = 1;
    }
    bf_plan_set(map, plan, "planes", size / words);
    bf_plan_set(map, plan, "unroll", bf_stages_unroll(machine));
    for (size_t i = 0; i < segments; i++) {
        for (int64_t b = 0; b < buffers; b++, base += size)
            bf_plan_add_region(map, plan, bf_arena_printf(&map->arena, "x%zu%s", i, b ? "'" : ""),
                               base, size, true);
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
        bool equal = bf_ints_find(&plan->ints, "first_digit", -1) == 0 && !shape.before;
        int64_t across = equal ? 1 : INT64_C(1) << bf_plan_int(plan, "pe_bits");
        plan->recipe = bf_map_add_recipe(map, kind, plan, 1, across,
                                         (int64_t)bf_divide_up((uint64_t)lanes, machine->lanes));
    }
    return true;
}

const struct bf_family bf_family_butterfly = {
    bf_stages_divide, bf_stages_tile,     bf_stages_partition,
    bf_stages_stream, bf_stages_schedule, bf_stages_verify,
};
const struct bf_family bf_family_fft = {
    bf_stages_divide, bf_stages_tile,     bf_stages_partition,
    bf_stages_stream, bf_stages_schedule, bf_stages_verify,
};
