/* stages_passes.c - FFTs in passes through the scratchpad.
 *
 *     N = n_0 n_1 ..    pass p: N / n_p transforms of n_p points, on single PEs
 *
 * A pass owns consecutive digits d<a> .. d<b>. The others have one value in a PE: it is (set << g)
 * + PE, and a set is a plan of its own. Between passes an element lies where it came from (digit
 * d<s> keeps the weight it has in the input), so a pass moves words that are a constant stride
 * apart; the last one sorts its digits and stores them in the order of the result.
 *
 * Lanes along columns: a buffer between passes holds the tiles of columns one after the other, each
 * V wide, so that consecutive rows are consecutive words. In the kernel's own operands rows lie V
 * in a tile; where stride and V don't go together (both odd multiples of a few), the rows are
 * packed into such a buffer first, or stored through one, by plans without a stage.
 */
#include "passes/array/stages.h"

#include <stdlib.h>

/* Stages of a pass of the digits d<a> .. d<b>. */
static int first_stage(const struct bf_stages_shape *shape, int a) {
    return a == 0 ? 1 : 1 + shape->before + a;
}

static int last_stage(const struct bf_stages_shape *shape, int b) {
    return b == shape->m - 1 ? shape->last : 1 + shape->before + b;
}

/* A pass of the digits d<a> .. d<b>: its points, or 0 where it does not fit. */
static int64_t points(const struct bf_machine *machine, const struct bf_stages_shape *shape, int a,
                      int b) {
    int64_t n = 1, lanes = 0;
    for (int k = a; k <= b; k++) {
        int64_t r = bf_stages_radix(shape, k);
        if (r > 2 && 4 * (r - 1) > BF_MAX_BODY)
            return 0;
        lanes += r == 2 ? 2 * n : 2 * r * (r - 1) * n;
        n *= r;
    }
    lanes += a == 0 ? 2 * n * shape->before : 0;
    lanes += b == shape->m - 1 ? 2 * n * shape->after : 0;
    bool fits = shape->buffers * shape->planes * n <= machine->data_ram &&
                lanes <= bf_stages_lanes_limit(machine) &&
                last_stage(shape, b) - first_stage(shape, a) < BF_FIRST_LOAD &&
                bf_stages_code_needed(machine, shape, first_stage(shape, a),
                                      last_stage(shape, b)) <= machine->code_words;
    return fits ? n : 0;
}

enum { LAUNCH_CYCLES = 500 }; /* weights, filling and draining of a launch */

/* Cycles of a pass over `tiles` tiles of lanes, in thousandths: computing and moving words overlap
 * as far as the window allows. */
static int64_t pass_cost(const struct bf_machine *machine, const struct bf_stages_shape *shape,
                         int a, int b, int64_t n, int64_t tiles) {
    int64_t slots = 0, window = machine->data_ram / (shape->buffers * shape->planes * n);
    int64_t pes = bf_machine_pes(machine), others = shape->n / n;
    for (int k = a; k <= b; k++) {
        int64_t r = bf_stages_radix(shape, k);
        slots += r == 2 ? 3 : 4 * (r - 1);
    }
    int64_t compute = 1000 * slots * shape->n / pes,
            move = 1250 * 4 * shape->n / machine->spm_ports;
    int64_t most = compute > move ? compute : move;
    int64_t one = window == 1 ? most * 7 / 5 : window == 2 ? most + most / 20 : most + most / 100;
    return tiles * one + 1000 * LAUNCH_CYCLES * ((others + pes - 1) / pes);
}

/* Moving all words once more. */
static int64_t copy_cost(const struct bf_machine *machine, const struct bf_stages_shape *shape,
                         int64_t planes, int64_t tiles) {
    return tiles * (1250 * 2 * planes * shape->n / machine->spm_ports) + 1000 * LAUNCH_CYCLES;
}

static int64_t count_tiles(const struct bf_machine *machine, const struct bf_poly_kernel *kernel) {
    const struct bf_operand *x = &kernel->inputs.data[0];
    int64_t lanes = kernel->lanes == BF_LANES_COLS ? x->cols : x->rows;
    return x->buffer->samples * (int64_t)bf_divide_up((uint64_t)lanes, machine->lanes);
}

/* Whether rows `stride` apart are few affine pieces of tiles of V rows. */
static bool goes_with_tiles(int64_t stride, int64_t n, int64_t v) {
    return stride % v == 0 || v % stride == 0 || n <= BF_MOST_STORES;
}

bool bf_stages_choose_passes(const struct bf_map *map, const struct bf_stages_shape *shape,
                             struct bf_stages_passes *passes) {
    const struct bf_machine *machine = &map->machine;
    const struct bf_poly_kernel *kernel = shape->kernel;
    bool columns = kernel->lanes == BF_LANES_COLS;
    int64_t tiles = count_tiles(machine, kernel), planes_in = (int64_t)kernel->inputs.count;
    int64_t planes_out = (int64_t)kernel->outputs.count;
    int64_t best[BF_MAX_PASS_DIGITS + 1] = {0}, before = 1; /* of the digits below; 0: none yet */
    int from[BF_MAX_PASS_DIGITS + 1];
    bool pack_in[BF_MAX_PASS_DIGITS + 1] = {false}, pack_out[BF_MAX_PASS_DIGITS + 1] = {false};
    if (shape->m > BF_MAX_PASS_DIGITS)
        return false;
    for (int a = 0; a < shape->m; before *= bf_stages_radix(shape, a), a++) {
        for (int b = a; b < shape->m && (a == 0 || best[a]); b++) {
            int64_t n = points(machine, shape, a, b);
            if (!n)
                break;
            int64_t after = shape->n / before / n;
            bool in = columns && a == 0 && !goes_with_tiles(after, n, machine->lanes);
            bool out = columns && b == shape->m - 1 && !goes_with_tiles(before, n, machine->lanes);
            int64_t cost = best[a] + pass_cost(machine, shape, a, b, n, tiles) +
                           (in ? copy_cost(machine, shape, planes_in, tiles) : 0) +
                           (out ? copy_cost(machine, shape, planes_out, tiles) : 0);
            if (best[b + 1] && best[b + 1] <= cost)
                continue;
            best[b + 1] = cost;
            from[b + 1] = a;
            pack_in[b + 1] = a == 0 ? in : pack_in[a];
            pack_out[b + 1] = out;
        }
    }
    if (!best[shape->m])
        return false;
    passes->count = 0;
    for (int b = shape->m; b > 0; b = from[b])
        passes->count++;
    int p = passes->count;
    for (int b = shape->m; b > 0; b = from[b])
        passes->ends[--p] = b - 1;
    passes->pack_input = pack_in[shape->m];
    passes->pack_output = pack_out[shape->m];
    return true;
}

/* Real and imaginary planes of a value. */
struct planes {
    struct bf_operand data[2];
    size_t count;
};

static struct planes between(struct bf_map *map, struct bf_poly_kernel *kernel, int64_t n,
                             size_t count) {
    const struct bf_operand *like = &kernel->inputs.data[0];
    int64_t v = map->machine.lanes;
    struct planes planes = {.count = count};
    for (size_t p = 0; p < count; p++) {
        struct bf_buffer *buffer =
            bf_poly_add_buffer(map->poly,
                               bf_arena_printf(&map->poly->arena, "%s.pass%zu.%s", kernel->name,
                                               map->poly->buffers.count - p, p ? "im" : "re"),
                               BF_BUFFER_TEMP);
        bool columns = kernel->lanes == BF_LANES_COLS;
        int64_t tiles = (int64_t)bf_divide_up((uint64_t)like->cols, (uint64_t)v);
        buffer->samples = like->buffer->samples * (columns ? tiles : 1);
        buffer->rows = columns ? n : like->buffer->rows;
        buffer->cols = columns ? v : n;
        buffer->loc = kernel->loc;
        planes.data[p] = bf_operand_whole(buffer);
    }
    return planes;
}

/* What the plans of a pass have in common. */
struct pass {
    int a, b;        /* own digits */
    int first, last; /* statements */
    bool sorted, copy, order_in, order_out;
    struct planes from, to;
};

static void add_pass(struct bf_map *map, struct bf_poly_kernel *kernel,
                     const struct bf_stages_shape *shape, const struct pass *pass) {
    int64_t n = 1, pes = bf_machine_pes(&map->machine);
    for (int k = pass->a; k <= pass->b; k++)
        n *= bf_stages_radix(shape, k);
    int64_t others = shape->n / n, g = 0;
    while (INT64_C(1) << g < others && INT64_C(1) << g < pes)
        g++;
    for (int64_t set = 0; set << g < others; set++) {
        struct bf_plan *plan = bf_stages_add_plan(map, kernel, 0, set, g, n);
        bf_plan_set(map, plan, "shared", 1);
        bf_plan_set(map, plan, "sorted", pass->sorted);
        bf_plan_set(map, plan, "copy", pass->copy);
        bf_plan_set(map, plan, "order_in", pass->order_in);
        bf_plan_set(map, plan, "order_out", pass->order_out);
        bf_plan_set(map, plan, "first_digit", pass->a);
        bf_plan_set(map, plan, "last_digit", pass->b);
        bf_plan_set(map, plan, "fields", others);
        plan->first = pass->first;
        plan->last = pass->last;
        for (size_t p = 0; p < pass->from.count; p++)
            *bf_push(&plan->inputs) = pass->from.data[p];
        for (size_t p = 0; p < pass->to.count; p++)
            *bf_push(&plan->outputs) = pass->to.data[p];
    }
}

static struct planes operands(const struct bf_operand *data, size_t count) {
    struct planes planes = {.count = count};
    for (size_t p = 0; p < count; p++)
        planes.data[p] = data[p];
    return planes;
}

/* Own digits of a plan that copies consecutive elements: as many as leave room for a window. */
static int copied_digits(const struct bf_map *map, const struct bf_stages_shape *shape, bool high) {
    int64_t n = 1;
    int count = 0;
    for (; count < shape->m; count++) {
        n *= bf_stages_radix(shape, high ? shape->m - 1 - count : count);
        if (8 * n > map->machine.data_ram)
            break;
    }
    return count ? count : 1;
}

void bf_stages_add_passes(struct bf_map *map, struct bf_poly_kernel *kernel,
                          const struct bf_stages_shape *shape,
                          const struct bf_stages_passes *passes) {
    struct planes from = operands(kernel->inputs.data, kernel->inputs.count);
    struct planes result = operands(kernel->outputs.data, kernel->outputs.count);
    int store = shape->last + 1, a = 0;
    if (passes->pack_input) {
        int own = copied_digits(map, shape, true);
        struct pass pass = {.a = shape->m - own, .b = shape->m - 1, .copy = true, .from = from};
        pass.to = from = between(map, kernel, shape->n, from.count);
        add_pass(map, kernel, shape, &pass);
    }
    for (int p = 0; p < passes->count; p++) {
        bool last = p == passes->count - 1;
        struct pass pass = {.a = a, .b = passes->ends[p], .sorted = last, .order_out = last};
        pass.first = p || passes->pack_input ? first_stage(shape, a) : 0;
        pass.last = last && !passes->pack_output ? store : last_stage(shape, pass.b);
        pass.from = from;
        if (!last)
            pass.to = between(map, kernel, shape->n, 2);
        else
            pass.to = passes->pack_output ? between(map, kernel, shape->n, result.count) : result;
        add_pass(map, kernel, shape, &pass);
        from = pass.to;
        a = passes->ends[p] + 1;
    }
    if (passes->pack_output) {
        struct pass pass = {.b = copied_digits(map, shape, false) - 1,
                            .first = store,
                            .last = store,
                            .copy = true,
                            .order_in = true,
                            .order_out = true,
                            .from = from,
                            .to = result};
        add_pass(map, kernel, shape, &pass);
    }
}
