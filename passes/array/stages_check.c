/* stages_check.c - whether the numbers, layouts and notes of a plan of stages fit each other, so
 * that the value check and the recipes may compute with them. Those that passes made do; a map that
 * was read may hold anything. */
#include "ir/stages.h"
#include "passes/array/stages.h"

static bool wrong(const struct bf_plan *plan, const char *what, const char *which,
                  struct bf_diags *diags) {
    return bf_diag_error(diags, plan->kernel->loc, "map: plan %s (%s): %s (%s)", plan->name,
                         plan->kernel->what, what, which);
}

/* Numbers of a plan and the range each must be in. */
static const struct range {
    const char *name;
    int64_t low, high;
} ranges[] = {
    {"pe_bits", 0, 6},
    {"stack", 0, 1 << 20},
    {"set", 0, 1 << 24},
    {"words", 1, 1024},
    {"planes", 1, 2},
    {"unroll", 1, 16},
    {"inner", 1, 1 << 24},
    {"outer", 1, 1 << 24},
    {"inner_groups", 1, 64},
    {"outer_groups", 1, 64},
    {"inner_rounds", 1, 1 << 20},
    {"outer_rounds", 1, 1 << 20},
    {"first_digit", 0, 47},
    {"last_digit", 0, 47},
    {"fields", 1, 1 << 24},
};
enum { RANGES = sizeof ranges / sizeof *ranges };

static bool check_numbers(const struct bf_map *map, const struct bf_plan *plan,
                          struct bf_diags *diags) {
    for (int i = 0; i < RANGES; i++) {
        int64_t value = bf_ints_find(&plan->ints, ranges[i].name, ranges[i].low);
        if (value < ranges[i].low || value > ranges[i].high)
            return wrong(plan, "a number is out of range", ranges[i].name, diags);
    }
    int64_t across = INT64_C(1) << bf_plan_int(plan, "pe_bits");
    int64_t groups = bf_plan_int(plan, "inner_groups") * bf_plan_int(plan, "outer_groups");
    if (across * groups > bf_machine_pes(&map->machine))
        return wrong(plan, "it has more PEs than the array", "pe_bits", diags);
    int64_t size = bf_plan_int(plan, "words") * bf_plan_int(plan, "planes");
    for (size_t i = 0; i < plan->regions.count; i++)
        if (plan->regions.data[i].words < size)
            return wrong(plan, "a region is too small", plan->regions.data[i].name, diags);
    return true;
}

/* The words of a layout are 0 .. words - 1, every stage acts along a local digit. */
static bool check_layouts(const struct bf_plan *plan, struct bf_diags *diags) {
    int64_t words = bf_plan_int(plan, "words");
    bool sorted = bf_ints_find(&plan->ints, "sorted", 0);
    if (!plan->layouts.count || plan->regions.count < (sorted ? 1 : plan->layouts.count))
        return wrong(plan, "layouts or regions are missing", "layout", diags);
    for (size_t l = 0; l < plan->layouts.count; l++) {
        const struct bf_layout *layout = &plan->layouts.data[l];
        int64_t last = 0;
        for (size_t i = 0; i < layout->digits.count; i++)
            if (layout->digits.data[i].where == BF_AT_LOCAL)
                last += (plan->kernel->digits.data[layout->digits.data[i].digit].radix - 1) *
                        layout->digits.data[i].position;
        if (last >= words)
            return wrong(plan, "a layout has more words than the plan", "layout", diags);
    }
    for (int s = plan->first; s <= plan->last; s++) {
        const struct bf_stmt *stmt = &plan->kernel->stmts.data[s];
        if (stmt->digit < 0)
            continue;
        const struct bf_layout *layout = bf_stage_layout(plan, s);
        if (!layout || bf_stage_stride(layout, stmt->digit) < 1 ||
            bf_stage_stride(bf_stage_result_layout(plan, s), stmt->digit) < 1)
            return wrong(plan, "a stage acts along a digit that is not local", stmt->name, diags);
    }
    return true;
}

static bool check_notes(const struct bf_map *map, const struct bf_plan *plan,
                        struct bf_diags *diags) {
    const struct bf_kernel *code = &map->program->kernels[plan->code];
    bool computes = false;
    for (size_t i = 0; i < plan->notes.count; i++) {
        const struct bf_block_note *note = &plan->notes.data[i];
        bool stage = note->stmt >= 0 && note->id < BF_FIRST_LOAD;
        bool inside = note->stmt >= plan->first && note->stmt <= plan->last;
        computes |= stage;
        if (stage && (!inside || !bf_stage_computes(plan, note->stmt)))
            return wrong(plan, "a block computes what is no stage of the plan", "does", diags);
        if ((stage || note->stmt < 0) && (!*note->from || !*note->to))
            return wrong(plan, "a block has no source or no result", "does", diags);
        if (note->stmt >= 0 && note->id >= BF_FIRST_STORE && !*note->from)
            return wrong(plan, "a block stores nothing", "does", diags);
    }
    return !computes || code->segment_count > 0 ||
           wrong(plan, "its kernel has no code", code->name, diags);
}

static bool check_recipe(const struct bf_map *map, const struct bf_plan *plan,
                         struct bf_diags *diags) {
    int64_t lanes = bf_stage_lane_base(plan, plan->last + 1);
    if (!lanes && plan->recipe < 0)
        return true;
    if (plan->recipe < 0)
        return wrong(plan, "it has no weights", "recipe", diags);
    const struct bf_recipe *recipe = &map->recipes.data[plan->recipe];
    bool fits = recipe->plan >= 0 && bf_plan_same_weights(map->plans.data[recipe->plan], plan) &&
                recipe->sets == 1 && recipe->pes <= INT64_C(1) << bf_plan_int(plan, "pe_bits") &&
                recipe->words * map->machine.lanes >= lanes;
    return fits || wrong(plan, "its recipe is not of the size of its weights", "recipe", diags);
}

bool bf_stages_check(const struct bf_map *map, const struct bf_plan *plan, struct bf_diags *diags) {
    return check_numbers(map, plan, diags) && check_layouts(plan, diags) &&
           check_notes(map, plan, diags) && check_recipe(map, plan, diags);
}
