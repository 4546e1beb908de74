/* map_verify.c - what a map text must satisfy before passes, checks and recipes may rely on it.
 * What the code computes is not looked at here: that is what `verify` proves. */
#include <stdlib.h>

#include "ir/map.h"

struct verifier {
    const struct bf_map *map;
    struct bf_diags *diags;
    const struct bf_plan *plan;
    int rank; /* how many of the passes have run */
};

/* The passes that fill a map, in order. */
static const char *const filled_by[] = {"divide", "tile",     "partition", "stream",
                                        "place",  "schedule", "verify"};
enum { TILE = 2, STREAM = 4, PLACE = 5, SCHEDULE = 6, PASSES = 7 };

static bool wrong(struct verifier *v, const char *what, const char *which) {
    struct bf_loc loc = v->plan ? v->plan->kernel->loc : (struct bf_loc){0};
    return bf_diag_error(v->diags, loc, "map: %s%s: %s (%s)", v->plan ? "plan " : "",
                         v->plan ? v->plan->name : "places", what, which);
}

static bool between(int64_t value, int64_t low, int64_t high) {
    return value >= low && value <= high;
}

/* ---- places ---- */

static bool check_place(struct verifier *v, size_t index) {
    const struct bf_buffer *buffer = v->map->poly->buffers.data[index];
    const struct bf_place_of_buffer *place = &v->map->places[index];
    int64_t lanes = v->map->machine.lanes, words = v->map->machine.spm_words;
    int64_t end = (int64_t)v->map->plans.count;
    if (!between(place->width, lanes, 1 << 24) || place->width % lanes ||
        !between(place->pitch, 1, INT32_MAX) || !between(place->height, lanes, INT32_MAX) ||
        place->height % lanes)
        return wrong(v, "its size is none of a buffer", buffer->name);
    if (!between(place->first, -1, end) || !between(place->last, -1, end))
        return wrong(v, "it is alive outside of the program", buffer->name);
    if (v->rank < PLACE || place->first < 0)
        return true;
    if (!between(place->spm, 0, words) || place->height / lanes > words / place->width + 1 ||
        place->spm + place->width * (place->height / lanes) > words)
        return wrong(v, "it leaves the scratchpad", buffer->name);
    return true;
}

static bool check_places(struct verifier *v) {
    const struct bf_map *map = v->map;
    if (v->rank < TILE)
        return true;
    if (!map->places)
        return wrong(v, "they are missing", "place");
    for (size_t b = 0; b < map->poly->buffers.count; b++)
        if (!check_place(v, b))
            return false;
    int64_t last = (int64_t)map->machine.spm_words - map->machine.lanes;
    if (v->rank >= PLACE && (!between(map->zero_spm, 0, last) || !between(map->one_spm, 0, last)))
        return wrong(v, "the constants leave the scratchpad", "constants");
    return true;
}

/* ---- plans ---- */

static bool check_operand(struct verifier *v, const struct bf_operand *operand) {
    return bf_operand_inside(operand) ||
           wrong(v, "an operand leaves its buffer", operand->buffer->name);
}

static bool check_operands(struct verifier *v) {
    const struct bf_plan *plan = v->plan;
    bool needs_input = plan->kernel->inputs.count > 0;
    if ((needs_input && !plan->inputs.count) || !plan->outputs.count ||
        plan->inputs.count > plan->kernel->inputs.count + 1 ||
        plan->outputs.count > plan->kernel->outputs.count + 1)
        return wrong(v, "it has not the operands of its kernel", plan->kernel->name);
    for (size_t i = 0; i < plan->inputs.count; i++)
        if (!check_operand(v, &plan->inputs.data[i]))
            return false;
    for (size_t i = 0; i < plan->outputs.count; i++)
        if (!check_operand(v, &plan->outputs.data[i]))
            return false;
    return true;
}

/* Every digit at most once, in PEs and words that there are. */
static bool check_layout(struct verifier *v, const struct bf_layout *layout) {
    const struct bf_poly_kernel *kernel = v->plan->kernel;
    uint64_t seen = 0, pes = 0;
    int64_t words = 1;
    if (!between(layout->first, 0, (int64_t)kernel->stmts.count - 1) ||
        !between(layout->last, layout->first, (int64_t)kernel->stmts.count - 1))
        return wrong(v, "a layout is of statements that are not there", "layout");
    for (size_t i = 0; i < layout->digits.count; i++) {
        const struct bf_layout_digit *at = &layout->digits.data[i];
        int64_t radix = kernel->digits.data[at->digit].radix;
        const char *name = kernel->digits.data[at->digit].name;
        if (seen >> at->digit & 1)
            return wrong(v, "a layout has a digit twice", name);
        seen |= UINT64_C(1) << at->digit;
        if (at->where == BF_AT_PE && (radix != 2 || pes >> at->position & 1))
            return wrong(v, "two digits on one bit of the PE number, or one of another radix",
                         name);
        if (at->where == BF_AT_PE)
            pes |= UINT64_C(1) << at->position;
        if (at->where == BF_AT_LOCAL && !between(at->position, 1, 1 << 16))
            return wrong(v, "a digit lies outside of the RAM", name);
        if (at->where == BF_AT_LOCAL)
            words += (radix - 1) * at->position;
        if (words > 1 << 16)
            return wrong(v, "a layout needs more words than a RAM has", name);
    }
    return true;
}

static bool check_regions(struct verifier *v) {
    const struct bf_plan *plan = v->plan;
    int64_t ram = v->map->machine.data_ram;
    if (!between(plan->window, 1, BF_MAX_WINDOW) || !between(plan->context_base, 0, ram) ||
        !between(plan->context_size, 0, ram))
        return wrong(v, "window or context are not of this machine", "window");
    for (size_t i = 0; i < plan->regions.count; i++) {
        const struct bf_region *region = &plan->regions.data[i];
        if (!between(region->base, 0, ram) || !between(region->words, 0, ram - region->base))
            return wrong(v, "a region leaves the RAM", region->name);
    }
    return true;
}

static bool check_note(struct verifier *v, const struct bf_block_note *note) {
    const struct bf_plan *plan = v->plan;
    int64_t layouts = (int64_t)plan->layouts.count;
    if (note->stmt < 0 && !between(note->layout, 0, layouts - 2))
        return wrong(v, "a block moves words to a layout that is not there", "does");
    if (!between(note->layout, 0, layouts ? layouts - 1 : 0))
        return wrong(v, "a block works in a layout that is not there", "does");
    bool stages = plan->kernel->kind == BF_KERNEL_BUTTERFLY || plan->kernel->kind == BF_KERNEL_FFT;
    if (stages && ((*note->from && !bf_plan_region(plan, note->from)) ||
                   (*note->to && !bf_plan_region(plan, note->to))))
        return wrong(v, "a block reads or writes a region that is not there", "does");
    return true;
}

static bool check_code(struct verifier *v) {
    const struct bf_plan *plan = v->plan;
    int64_t kernels = (int64_t)v->map->program->kernel_count;
    int64_t launches = (int64_t)v->map->program->launch_count;
    bool dma = plan->kernel->kind == BF_KERNEL_COPY;
    if (!between(plan->code, dma ? -1 : 0, dma ? -1 : kernels - 1) ||
        !between(plan->launch, dma ? -1 : 0, dma ? -1 : launches - 1))
        return wrong(v, "its code or launch is not there", "code, launch");
    const struct bf_launch *launch = dma ? NULL : &v->map->program->launches[plan->launch];
    if (launch &&
        (launch->kernel != (uint32_t)plan->code || launch->window != plan->window ||
         launch->context_base != plan->context_base || launch->context_size != plan->context_size))
        return wrong(v, "its launch has another code, window or context", "launch");
    for (size_t i = 0; i < plan->notes.count; i++)
        if (!check_note(v, &plan->notes.data[i]))
            return false;
    return true;
}

static bool check_plan(struct verifier *v) {
    const struct bf_plan *plan = v->plan;
    if (!between(plan->recipe, -1, (int64_t)v->map->recipes.count - 1))
        return wrong(v, "its recipe is not there", "recipe");
    if (v->rank >= PLACE && plan->recipe >= 0 &&
        !between(plan->weight_spm, 0, v->map->machine.spm_words))
        return wrong(v, "its weights leave the scratchpad", "weights");
    if (!check_operands(v))
        return false;
    for (size_t i = 0; i < plan->layouts.count; i++)
        if (!check_layout(v, &plan->layouts.data[i]))
            return false;
    if (plan->kernel->kind != BF_KERNEL_COPY && v->rank >= STREAM && !check_regions(v))
        return false;
    return v->rank < SCHEDULE || check_code(v);
}

/* A recipe is that of its plan, and packs for its kind of kernel. */
static bool check_recipe(struct verifier *v, size_t index) {
    static const struct {
        const char *kind;
        enum bf_kernel_kind kernel;
    } kinds[] = {{"butterfly", BF_KERNEL_BUTTERFLY},
                 {"twiddle", BF_KERNEL_FFT},
                 {"dense", BF_KERNEL_DENSE},
                 {"rows", BF_KERNEL_ROWS},
                 {"attention", BF_KERNEL_ATTENTION}};
    const struct bf_recipe *recipe = &v->map->recipes.data[index];
    v->plan = recipe->plan < 0 ? NULL : v->map->plans.data[recipe->plan];
    if (!v->plan)
        return !strcmp(recipe->kind, "tensor") || wrong(v, "a recipe has no plan", recipe->kind);
    if (v->plan->recipe != (int)index)
        return wrong(v, "a recipe is of another plan", recipe->kind);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(recipe->kind, kinds[i].kind) && v->plan->kernel->kind != kinds[i].kernel)
            return wrong(v, "a recipe is for another kind of kernel", recipe->kind);
    return true;
}

bool bf_map_verify(const struct bf_map *map, struct bf_diags *diags) {
    struct verifier v = {.map = map, .diags = diags};
    for (int i = 0; i < PASSES; i++)
        if (!strcmp(map->after, filled_by[i]))
            v.rank = i + 1;
    if (!v.rank)
        return bf_diag_error(diags, (struct bf_loc){0},
                             "map: it does not say which pass made it (after '%s')", map->after);
    for (size_t p = 0; p < map->plans.count; p++) {
        v.plan = map->plans.data[p];
        if (!check_plan(&v))
            return false;
    }
    for (size_t r = 0; r < map->recipes.count; r++)
        if (!check_recipe(&v, r))
            return false;
    v.plan = NULL;
    return check_places(&v);
}
