/* explain.c - why a network is mapped as it is. See explain.h.
 *
 * What is printed are counts: from the plans what was chosen, from the descriptors what each
 * resource has to do. A launch takes at least as many cycles as its busiest resource; what it takes
 * beyond that, bfrun measures.
 */
#include "frontend/driver/explain.h"

#include <inttypes.h>
#include <stdlib.h>

#include "frontend/driver/options.h"
#include "ir/scaled.h"

/* ---- what binds ---- */

struct resource {
    const char *what;
    uint64_t cycles;
};
enum { RESOURCES = 7, MOST_DATA_RAM = 1024 /* that a description may have */ };

static void sort(struct resource *resources) {
    for (int i = 1; i < RESOURCES; i++)
        for (int j = i; j > 0 && resources[j].cycles > resources[j - 1].cycles; j--) {
            struct resource swap = resources[j];
            resources[j] = resources[j - 1];
            resources[j - 1] = swap;
        }
}

static uint64_t weight_bytes(const struct bf_map *map, const struct bf_plan *plan) {
    if (plan->recipe < 0)
        return 0;
    const struct bf_recipe *recipe = &map->recipes.data[plan->recipe];
    return (uint64_t)(bf_recipe_words(recipe) * map->machine.lanes * 2);
}

/* Cycles that a launch needs of each resource, the most first. */
static void resources_of(const struct bf_map *map, const struct bf_plan *plan,
                         const struct bf_work *work, struct resource resources[RESOURCES]) {
    const struct bf_machine *m = &map->machine;
    uint64_t pes = bf_machine_pes(m);
    resources[0] = (struct resource){"CAL", work->most_cal};
    resources[1] = (struct resource){"LOAD", bf_divide_up(work->issued[BF_UNIT_LOAD], pes)};
    resources[2] = (struct resource){"FLOW", bf_divide_up(work->issued[BF_UNIT_FLOW], pes)};
    resources[3] = (struct resource){"STORE", bf_divide_up(work->issued[BF_UNIT_STORE], pes)};
    resources[4] = (struct resource){"special functions",
                                     bf_divide_up(work->special * m->special_interval, pes)};
    resources[5] =
        (struct resource){"scratchpad ports", bf_divide_up(work->spm_words, m->spm_ports)};
    resources[6] = (struct resource){
        "weights from DRAM", bf_divide_up(weight_bytes(map, plan) * 10, m->dram_tenth_bytes)};
    sort(resources);
}

static void add_bound(const struct resource *resources, struct bf_text *out) {
    uint64_t most = resources[0].cycles;
    bf_text_printf(out, "    binds   %s, at least %" PRIu64 " cycles", resources[0].what, most);
    const char *between = "; then ";
    for (int i = 1; i < RESOURCES && most; i++) {
        uint64_t percent = resources[i].cycles * 100 / most;
        if (percent)
            bf_text_printf(out, "%s%s %" PRIu64 " %%", between, resources[i].what, percent);
        between = percent ? ", " : between;
    }
    bf_text_add(out, "\n");
}

/* ---- what was chosen ---- */

static void add_digits(const struct bf_poly_kernel *kernel, const struct bf_layout *layout,
                       enum bf_where where, const char *name, struct bf_text *out) {
    bool any = false;
    for (size_t i = layout->digits.count; i-- > 0;) {
        const struct bf_layout_digit *digit = &layout->digits.data[i];
        if (digit->where != where)
            continue;
        bf_text_printf(out, "%s%s", any ? " " : name, kernel->digits.data[digit->digit].name);
        any = true;
    }
}

static void add_layouts(const struct bf_plan *plan, struct bf_text *out) {
    const struct bf_poly_kernel *kernel = plan->kernel;
    for (size_t l = 0; l < plan->layouts.count; l++) {
        const struct bf_layout *layout = &plan->layouts.data[l];
        bf_text_printf(out, "    %s  %s", l ? "       then" : "lies  ",
                       kernel->stmts.data[layout->first].name);
        if (layout->last > layout->first)
            bf_text_printf(out, " to %s", kernel->stmts.data[layout->last].name);
        bf_text_add(out, ":");
        add_digits(kernel, layout, BF_AT_LANE, " lanes ", out);
        add_digits(kernel, layout, BF_AT_PE, " PEs ", out);
        add_digits(kernel, layout, BF_AT_LOCAL, " words ", out);
        bf_text_add(out, "\n");
    }
}

/* Which stages of a butterfly take one multiplication an output, two otherwise. */
static void add_form(const struct bf_plan *plan, bool weights, struct bf_text *out) {
    const struct bf_poly_kernel *kernel = plan->kernel;
    unsigned stages = 0, scaled = 0;
    for (int s = plan->first; s <= plan->last && kernel->kind == BF_KERNEL_BUTTERFLY; s++) {
        if (kernel->stmts.data[s].kind != BF_STMT_BPMM)
            continue;
        stages++;
        scaled += bf_scaled_form(kernel, s) != BF_FORM_PLAIN;
    }
    if (stages)
        bf_text_printf(
            out, "    form    %u of %u stages scaled: one multiplication an output, not two%s\n",
            scaled, stages, weights ? "" : " (none is without -weights)");
}

static void add_memory(const struct bf_map *map, const struct bf_plan *plan, struct bf_text *out) {
    const struct bf_machine *m = &map->machine;
    const struct bf_kernel *code = &map->program->kernels[plan->code];
    unsigned words = 0;
    for (size_t s = 0; s < code->segment_count; s++) {
        unsigned end = (unsigned)code->segments[s].start + code->segments[s].count;
        words = end > words ? end : words;
    }
    bf_text_printf(
        out, "    fills   data RAM %" PRId64 " of %u words a PE (window %" PRId64 " x %" PRId64 ")",
        plan->context_base + plan->window * plan->context_size, m->data_ram, plan->window,
        plan->context_size);
    if (plan->recipe >= 0)
        bf_text_printf(out, ", weight RAM %" PRId64 " of %u", map->recipes.data[plan->recipe].words,
                       map->program->launches[plan->launch].one_weight_set ? 2 * m->weight_half
                                                                           : m->weight_half);
    bf_text_printf(out, ", code %u of %u\n", words, m->code_words);
}

/* ---- what would help ---- */

static void help(struct bf_text *out, const char *format, ...) BF_PRINTF(2, 3);
static void help(struct bf_text *out, const char *format, ...) {
    va_list args;
    va_start(args, format);
    bf_text_add(out, "    helps   ");
    bf_text_vprintf(out, format, args);
    bf_text_add(out, "\n");
    va_end(args);
}

static void add_help(const struct bf_map *map, const struct bf_plan *plan,
                     const struct bf_work *work, const struct resource *resources,
                     struct bf_text *out) {
    const struct bf_machine *m = &map->machine;
    const struct bf_operand *in = plan->inputs.count ? &plan->inputs.data[0] : NULL;
    int64_t lanes = m->lanes, across = !in                                    ? 0
                                       : plan->kernel->lanes == BF_LANES_ROWS ? in->rows
                                                                              : in->cols;
    if (work->iterations <= 2 * (uint64_t)plan->window)
        help(out,
             "more rows or a larger -batch: of %" PRIu64 " iterations a launch %" PRId64
             " are in flight, so that its start and end are hardly hidden",
             work->iterations, plan->window);
    if (across && across % lanes)
        help(out, "%s that are a multiple of %" PRId64 ": %" PRId64 " leave lanes idle",
             plan->kernel->lanes == BF_LANES_ROWS ? "rows" : "columns", lanes, across);
    if (work->busy_pes < bf_machine_pes(m))
        help(out, "more to do at once: %u of %u PEs compute", work->busy_pes, bf_machine_pes(m));
    else if (work->most_cal * bf_machine_pes(m) * 10 > work->issued[BF_UNIT_CAL] * 11)
        help(out, "an even share: the busiest PE has %" PRIu64 " %% of the average",
             work->most_cal * bf_machine_pes(m) * 100 / work->issued[BF_UNIT_CAL]);
    int64_t need = plan->context_base + m->window * plan->context_size;
    if (plan->window < m->window && need > m->data_ram && need <= MOST_DATA_RAM)
        help(out, "an -arch with data_ram >= %" PRId64 ": a window of %u instead of %" PRId64, need,
             m->window, plan->window);
    if (!strcmp(resources[0].what, "scratchpad ports"))
        help(out, "an -arch with more scratchpad ports than %u", m->spm_ports);
    if (!strcmp(resources[0].what, "weights from DRAM"))
        help(out, "more rows or a larger -batch: weights are used once they are loaded");
}

/* ---- the answer ---- */

static void add_plan(const struct bf_map *map, const struct bf_plan *plan, struct bf_text *out) {
    if (plan->launch < 0) {
        bf_text_printf(out, "  %s: DMA alone\n", plan->name);
        return;
    }
    struct bf_work work = bf_work_of(map->program, (size_t)plan->launch);
    struct resource resources[RESOURCES];
    resources_of(map, plan, &work, resources);
    bf_text_printf(out, "  %s: launch %d of code %s, %" PRIu64 " iteration%s, window %" PRId64 "\n",
                   plan->name, plan->launch, map->program->kernels[plan->code].name,
                   work.iterations, work.iterations == 1 ? "" : "s", plan->window);
    add_form(plan, map->poly->header.bound, out);
    add_layouts(plan, out);
    add_memory(map, plan, out);
    add_bound(resources, out);
    add_help(map, plan, &work, resources, out);
}

static void add_operands(const struct bf_poly_kernel *kernel, struct bf_text *out) {
    const struct bf_operand *in = kernel->inputs.count ? &kernel->inputs.data[0] : NULL;
    const struct bf_operand *to = kernel->outputs.count ? &kernel->outputs.data[0] : NULL;
    if (in && to)
        bf_text_printf(out, ": %" PRId64 " x %" PRId64 " -> %" PRId64 " x %" PRId64, in->rows,
                       in->cols, to->rows, to->cols);
    bf_text_printf(out, ", lanes along %s\n", kernel->lanes == BF_LANES_ROWS ? "rows" : "columns");
}

static void add_kernel(const struct bf_compilation *c, const struct bf_poly_kernel *kernel,
                       struct bf_text *out) {
    const struct bf_map *map = c->map;
    bf_text_printf(out, "%s %s", kernel->name, kernel->what);
    if (kernel->loc.line)
        bf_text_printf(out, " (%s:%u:%u)", c->diags->sources->data[kernel->loc.file].name,
                       kernel->loc.line, kernel->loc.column);
    add_operands(kernel, out);
    size_t same = 0;
    const struct bf_plan *before = NULL;
    for (size_t p = 0; p < map->plans.count; p++) {
        const struct bf_plan *plan = map->plans.data[p];
        if (plan->kernel != kernel)
            continue;
        if (before && plan->code == before->code && plan->code >= 0) {
            same++; /* the same code on other weights or columns */
            continue;
        }
        if (same)
            bf_text_printf(out, "  and %zu more launches of that code\n", same);
        add_plan(map, plan, out);
        same = 0;
        before = plan;
    }
    if (same)
        bf_text_printf(out, "  and %zu more launches of that code\n", same);
}

/* "k3", a label that the kernel came from, "12" or "FILE:12". */
static bool matches(const struct bf_compilation *c, const struct bf_poly_kernel *kernel,
                    const char *what) {
    size_t length = strlen(what);
    if (!length || !strcmp(kernel->name, what))
        return true;
    if (!strncmp(kernel->what, what, length) && strchr(". ", kernel->what[length]))
        return true;
    const char *colon = strrchr(what, ':'), *digits = colon ? colon + 1 : what;
    char *end;
    unsigned long line = strtoul(digits, &end, 10);
    if (end == digits || *end || line != kernel->loc.line)
        return false;
    const char *file = c->diags->sources->data[kernel->loc.file].name;
    size_t name = colon ? (size_t)(colon - what) : 0, known = strlen(file);
    return colon ? known >= name && (!strncmp(file, what, name) || !strncmp(file + 1, what, name))
                 : kernel->loc.file == 0;
}

bool bf_explain(const struct bf_compilation *c, const char *what, struct bf_text *out) {
    const struct bf_poly *poly = c->map->poly;
    bool any = false;
    for (size_t k = 0; k < poly->kernels.count; k++) {
        if (!matches(c, poly->kernels.data[k], what))
            continue;
        any = true;
        add_kernel(c, poly->kernels.data[k], out);
    }
    return any || bf_diag_error(c->diags, (struct bf_loc){0},
                                "-explain: '%s' is no kernel, label or line that became one; "
                                "-explain alone shows all",
                                what);
}

/* ---- refusals ---- */

/* Whether it compiles with other options or another machine; errors are not shown. */
static bool fits(const struct bf_options *options) {
    struct bf_sources sources = {0};
    struct bf_compilation c = {.options = options};
    FILE *nowhere = fopen("/dev/null", "w");
    if (!nowhere)
        return false;
    struct bf_diags diags = {.sources = &sources, .out = nowhere, .error_limit = 1};
    bool ok = bf_compile(&c, options, &diags);
    bf_compilation_free(&c);
    bf_sources_free(&sources);
    fclose(nowhere);
    return ok;
}

/* The smallest of doubled values of one number that fits. */
static bool try_more(const struct bf_options *base, const struct bf_machine *machine,
                     uint32_t *number, uint32_t limit, const char *what, struct bf_text *out) {
    struct bf_options options = *base;
    uint32_t before = *number;
    bool ok = false;
    options.machine = machine;
    while (!ok && *number < limit) {
        *number = *number * 2 < limit ? *number * 2 : limit;
        ok = fits(&options);
    }
    if (ok)
        bf_text_printf(out, "would fit: an -arch with %s: %u (now %u)\n", what, *number, before);
    *number = before;
    return ok;
}

static bool try_batch(const struct bf_options *base, struct bf_text *out) {
    struct bf_options options = *base;
    for (options.batch = base->batch / 2; options.batch; options.batch /= 2) {
        if (!fits(&options))
            continue;
        bf_text_printf(out, "would fit: -batch %" PRId64 "\n", options.batch);
        return true;
    }
    return false;
}

void bf_explain_refusal(const struct bf_options *given, const struct bf_machine *machine,
                        struct bf_text *out) {
    struct bf_options options = *given;
    struct bf_machine other = *machine;
    options.explain = options.dump_dir = NULL;
    options.print_after.count = options.print_before.count = 0;
    options.print_changed = options.verbose = false;
    if (!strcmp(options.input, "-"))
        return; /* it can't be read again */
    static const char *const shipped[] = {"default", "mlx-reduced", "mlx-full", "mesh8x8"};
    bool any = try_batch(&options, out);
    any |= try_more(&options, &other, &other.data_ram, MOST_DATA_RAM, "data_ram", out);
    any |= try_more(&options, &other, &other.weight_half, 64, "weight_half", out);
    any |= try_more(&options, &other, &other.code_words, 256, "code_words", out);
    any |= try_more(&options, &other, &other.spm_words, 262144, "scratchpad words", out);
    for (size_t i = 0; i < sizeof shipped / sizeof *shipped; i++) {
        options.arch = shipped[i];
        if (!strcmp(shipped[i], machine->name) || !fits(&options))
            continue;
        bf_text_printf(out, "would fit: -arch %s\n", shipped[i]);
        any = true;
    }
    if (!any)
        bf_text_add(out, "no single change of batch, memory or machine makes it fit\n");
}
