/* pipeline.c - the passes in order, and which of them run.
 *
 *     source --> net: fold simplify axes exponents --> poly: select rewrite -->
 *     map: divide tile partition stream place schedule verify --> program: encode
 *
 * A net text enters at the first pass (running the net passes again changes nothing), a poly text
 * behind select, a map text behind the pass that it names, but never behind verify.
 */
#define _POSIX_C_SOURCE 200809L
#include "frontend/driver/compile.h"

#include <stdlib.h>
#include <time.h>

#include "backend/encode.h"
#include "frontend/driver/dump.h"
#include "passes/array/stages.h"
#include "runtime/check.h"

typedef bool pass_function(struct bf_compilation *c);

static bool run_fold(struct bf_compilation *c) {
    return bf_pass_fold(c->net, c->diags);
}
static bool run_simplify(struct bf_compilation *c) {
    return bf_pass_simplify(c->net, c->diags);
}
static bool run_axes(struct bf_compilation *c) {
    return bf_pass_axes(c->net, c->diags);
}
static bool run_exponents(struct bf_compilation *c) {
    return bf_calibrate(c) && bf_pass_exponents(c->net, c->diags);
}
static bool run_select(struct bf_compilation *c) {
    if (bf_emits_host(c->options->emit))
        bf_drop_exponents(c->net);
    return (c->poly = bf_pass_select(c->net, c->diags)) != NULL;
}
static bool run_rewrite(struct bf_compilation *c) {
    return bf_pass_rewrite(c->poly, c->weights, c->diags);
}
static bool run_slice(struct bf_compilation *c) {
    return bf_pass_slice(c->poly, &c->machine, c->diags);
}
static bool run_divide(struct bf_compilation *c) {
    c->map = bf_map_create(c->poly, &c->machine);
    c->poly = NULL;
    return bf_pass_divide(c->map, c->diags);
}
static bool run_tile(struct bf_compilation *c) {
    return bf_pass_tile(c->map, c->diags);
}
static bool run_partition(struct bf_compilation *c) {
    return bf_pass_partition(c->map, c->diags);
}
static bool run_stream(struct bf_compilation *c) {
    return bf_pass_stream(c->map, c->diags);
}
static bool run_place(struct bf_compilation *c) {
    return bf_pass_place(c->map, c->diags);
}
static bool run_schedule(struct bf_compilation *c) {
    return bf_pass_schedule(c->map, c->diags);
}

/* A finding names its kernel first: "k3: storage: ...". */
static const struct bf_plan *plan_of_finding(const struct bf_map *map, const char *finding) {
    for (size_t p = 0; p < map->plans.count; p++) {
        const struct bf_plan *plan = map->plans.data[p];
        bool coded = plan->code >= 0 && plan->code < (int)map->program->kernel_count;
        const char *name = coded ? map->program->kernels[plan->code].name : "";
        size_t length = strlen(name);
        if (length && !strncmp(finding, name, length) && finding[length] == ':')
            return plan;
    }
    return NULL;
}

/* Which element lies in the RAM word that a finding is about, in each region that has the word. */
static void note_elements(struct bf_compilation *c, const struct bf_plan *plan,
                          const char *finding) {
    const char *word = strstr(finding, "RAM word ");
    int at, row, column;
    bool stages = plan->kernel->kind == BF_KERNEL_BUTTERFLY || plan->kernel->kind == BF_KERNEL_FFT;
    if (!stages || !word || sscanf(word, "RAM word %d of PE (%d,%d)", &at, &row, &column) != 3)
        return;
    unsigned pe = (unsigned)(row * (int)c->map->machine.cols + column);
    unsigned field = pe & ((1u << bf_plan_int(plan, "pe_bits")) - 1);
    for (size_t i = 0; i < plan->regions.count; i++) {
        const struct bf_region *region = &plan->regions.data[i];
        size_t layout = i * plan->layouts.count / plan->regions.count;
        if (at < region->base || at >= region->base + region->words)
            continue;
        struct bf_text text = {0};
        bf_stages_add_element(plan, &plan->layouts.data[layout], field,
                              (at - region->base) % bf_plan_int(plan, "words"), &text);
        bf_diag_note(c->diags, plan->kernel->loc,
                     "RAM word %d is in region '%s' (stages %s to %s): %s", at, region->name,
                     plan->kernel->stmts.data[plan->layouts.data[layout].first].name,
                     plan->kernel->stmts.data[plan->layouts.data[layout].last].name, text.data);
        bf_text_free(&text);
    }
}

static void report_finding(struct bf_compilation *c, const char *finding) {
    const struct bf_plan *plan = plan_of_finding(c->map, finding);
    bf_diag_error(c->diags, plan ? plan->kernel->loc : (struct bf_loc){0}, "%s", finding);
    if (plan)
        note_elements(c, plan, finding);
}

/* The three checks: value here, order and storage on the words. What fails was made by bfcc, unless
 * the map was read. */
static bool run_verify(struct bf_compilation *c) {
    struct bf_program *program = c->map->program;
    struct bf_error error = {0};
    program->rodata = bf_alloc(program->rodata_size); /* values come later, and don't matter here */
    bool legal = bf_program_check(program, &error);
    bool ok = legal && bf_pass_verify(c->map, c->diags) && bf_check_program(program, &error);
    if (error.code)
        report_finding(c, error.text);
    free(program->rodata);
    program->rodata = NULL;
    c->internal = !ok && c->level < BF_LEVEL_MAP;
    return ok;
}

static bool run_encode(struct bf_compilation *c) {
    struct bf_error error = {0};
    if (!bf_encode(c->map, c->weights, c->diags))
        return false;
    bf_embed_finish(c);
    if (bf_program_check(c->map->program, &error))
        return true;
    c->internal = true;
    return bf_diag_error(c->diags, (struct bf_loc){0}, "%s", error.text);
}

/* In the order in which they run. */
static const struct pass {
    struct bf_pass_info info;
    enum bf_level to; /* level of the result */
    pass_function *run;
} passes[] = {
    {{"fold", "constants are folded", "net", true}, BF_LEVEL_NET, run_fold},
    {{"simplify", "identities, common subexpressions and dead operators go", "net", true},
     BF_LEVEL_NET,
     run_simplify},
    {{"axes", "operators along an axis before the last two get it among these", "net", false},
     BF_LEVEL_NET,
     run_axes},
    {{"exponents", "results of transforms get the power of two they are stored with", "net", false},
     BF_LEVEL_NET,
     run_exponents},
    {{"select", "operators become kernels, elementwise ones join them", "poly", false},
     BF_LEVEL_POLY,
     run_select},
    {{"rewrite", "values of weights may change the form of a kernel", "poly", true},
     BF_LEVEL_POLY,
     run_rewrite},
    {{"slice", "activations that exceed the scratchpad are cut, kernels run a slice at a time",
      "poly", false},
     BF_LEVEL_POLY,
     run_slice},
    {{"divide", "kernels become parts that fit the array", "map", false}, BF_LEVEL_MAP, run_divide},
    {{"tile", "which PE works on which rows when", "map", false}, BF_LEVEL_MAP, run_tile},
    {{"partition", "which digit lies across PEs, which in the RAM; exchanges", "map", false},
     BF_LEVEL_MAP,
     run_partition},
    {{"stream", "RAM regions, contexts and the window", "map", false}, BF_LEVEL_MAP, run_stream},
    {{"place", "scratchpad and DRAM addresses", "map", false}, BF_LEVEL_MAP, run_place},
    {{"schedule", "blocks, bodies, tokens, launches, DMA jobs", "map", false},
     BF_LEVEL_MAP,
     run_schedule},
    {{"verify", "every dependence has a carrier; order and storage hold", "map", false},
     BF_LEVEL_MAP,
     run_verify},
    {{"encode", "weights are packed, the program is complete", "asm", false},
     BF_LEVEL_PROGRAM,
     run_encode},
};
enum { PASS_COUNT = sizeof passes / sizeof *passes };

const struct bf_pass_info *bf_pass_list(void) {
    static struct bf_pass_info list[PASS_COUNT + 1];
    for (size_t i = 0; i < PASS_COUNT; i++)
        list[i] = passes[i].info;
    return list;
}

static int find_pass(const char *name, size_t length) {
    for (int i = 0; i < PASS_COUNT; i++)
        if (strlen(passes[i].info.name) == length && !strncmp(passes[i].info.name, name, length))
            return i;
    return -1;
}

static bool check_name(const char *option, const char *name, size_t length,
                       struct bf_diags *diags) {
    if (find_pass(name, length) >= 0)
        return true;
    struct bf_arena arena = {0};
    const char *word = bf_arena_printf(&arena, "%.*s", (int)length, name), *near = NULL;
    size_t least = 4;
    for (int i = 0; i < PASS_COUNT; i++) {
        size_t distance = bf_edit_distance(word, passes[i].info.name, least);
        near = distance < least ? passes[i].info.name : near;
        least = distance < least ? distance : least;
    }
    bf_diag_error(diags, (struct bf_loc){0}, "%s: there is no pass '%s'%s%s%s", option, word,
                  near ? "; did you mean '" : " (-list-passes lists them)", near ? near : "",
                  near ? "'?" : "");
    bf_arena_free(&arena);
    return false;
}

bool bf_pass_names_check(const struct bf_options *options, struct bf_diags *diags) {
    bool ok = true;
    const struct bf_strings *lists[] = {&options->print_before, &options->print_after};
    for (size_t l = 0; l < 2; l++) {
        for (size_t i = 0; i < lists[l]->count; i++) {
            const char *name = lists[l]->data[i];
            if (strcmp(name, "all"))
                ok &= check_name(l ? "-print-after" : "-print-before", name, strlen(name), diags);
        }
    }
    if (options->crash_after)
        ok &= check_name("-crash-after", options->crash_after, strlen(options->crash_after), diags);
    for (const char *at = options->passes; at && *at;) {
        size_t length = strcspn(at, ",");
        ok &= check_name("-passes", at, length, diags);
        at += length + (at[length] == ',');
    }
    return ok;
}

/* Passes that a host has no use for. */
static bool serves_array(const struct pass *pass) {
    return pass->run == run_exponents || pass->run == run_rewrite || pass->run == run_slice;
}

/* Whether -passes, if given, names the pass; those that are not optional always run. */
static bool wanted(const struct bf_options *options, const struct pass *pass) {
    const struct bf_pass_info *info = &pass->info;
    if (serves_array(pass) && bf_emits_host(options->emit))
        return false;
    if (!info->optional || !options->passes)
        return true;
    for (const char *at = options->passes; *at;) {
        size_t length = strcspn(at, ",");
        if (strlen(info->name) == length && !strncmp(info->name, at, length))
            return true;
        at += length + (at[length] == ',');
    }
    return false;
}

/* ---- running ---- */

/* The level that -emit needs. */
static enum bf_level target_of(const struct bf_options *options) {
    switch (options->emit) {
    case BF_EMIT_NET:
        return BF_LEVEL_NET;
    case BF_EMIT_POLY:
    case BF_EMIT_HOST:
    case BF_EMIT_OBJ:
    case BF_EMIT_HEADER:
        return BF_LEVEL_POLY;
    case BF_EMIT_MAP:
        return BF_LEVEL_MAP;
    case BF_EMIT_NOTHING:
        return BF_LEVEL_SOURCE;
    default:
        return BF_LEVEL_PROGRAM;
    }
}

/* First pass for what was read; `after` is what a map text names. */
static int first_pass(enum bf_level level, const char *after) {
    int verify = find_pass("verify", 6);
    switch (level) {
    case BF_LEVEL_SOURCE:
    case BF_LEVEL_NET:
        return 0;
    case BF_LEVEL_POLY:
        return find_pass("select", 6) + 1;
    case BF_LEVEL_MAP: {
        int next = find_pass(after, strlen(after)) + 1;
        return next && next <= verify ? next : verify;
    }
    default:
        return PASS_COUNT;
    }
}

static bool after_is_right(struct bf_compilation *c) {
    int pass = find_pass(c->map->after, strlen(c->map->after));
    return (pass >= 0 && passes[pass].to == BF_LEVEL_MAP) ||
           bf_diag_error(c->diags, (struct bf_loc){0},
                         "the map says 'after %s', and no pass of maps has that name",
                         c->map->after);
}

/* Whether no further pass of the same level runs. */
static bool last_of_level(const struct bf_options *options, int number) {
    for (int i = number + 1; i < PASS_COUNT && passes[i].to == passes[number].to; i++)
        if (wanted(options, &passes[i]))
            return false;
    return true;
}

/* A level is verified when its last pass has run; -verify-each does it after each. */
static bool verify_level(struct bf_compilation *c, int number) {
    bool ok = true;
    if (!c->options->verify_each && !last_of_level(c->options, number))
        return true;
    if (passes[number].to == BF_LEVEL_NET)
        ok = bf_net_verify(c->net, c->diags);
    if (passes[number].to == BF_LEVEL_POLY)
        ok = bf_poly_verify(c->poly, c->diags);
    c->internal |= !ok;
    return ok;
}

static double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static bool run_pass(struct bf_compilation *c, struct bf_dumps *dumps, int number) {
    const struct pass *pass = &passes[number];
    if (!bf_dump_before(c, dumps, &pass->info))
        return false;
    double start = milliseconds();
    bool ok = pass->run(c);
    bf_times_add(&c->times, pass->info.name);
    ok = ok && verify_level(c, number);
    if (pass->to < BF_LEVEL_MAP)
        bf_times_add(&c->times, pass->to == BF_LEVEL_NET ? "verify net" : "verify poly");
    if (!ok)
        return false;
    if (c->map)
        c->map->after = pass->info.name;
    if (c->options->verbose)
        fprintf(stderr, "bfcc: %-10s %7.1f ms  %s\n", pass->info.name, milliseconds() - start,
                pass->info.sentence);
    if (pass->to == BF_LEVEL_PROGRAM)
        c->program = c->map->program;
    if (!bf_dump_after(c, dumps, &pass->info, number + 1))
        return false;
    if (c->options->crash_after && !strcmp(c->options->crash_after, pass->info.name))
        abort();
    return true;
}

static bool run_what_is_left(struct bf_compilation *c) {
    enum bf_level target = target_of(c->options);
    struct bf_dumps dumps = {0};
    bool ok = true;
    for (int i = first_pass(c->level, c->map ? c->map->after : ""); ok && i < PASS_COUNT; i++) {
        if (passes[i].to > target || !wanted(c->options, &passes[i]))
            continue;
        ok = (passes[i].to != BF_LEVEL_POLY || bf_embed_net(c)) && run_pass(c, &dumps, i);
    }
    bf_dumps_free(&dumps);
    return ok;
}

/* A poly or map that was read may lack numbers that the passes of this bfcc put there. */
static bool resume(struct bf_compilation *c) {
    struct bf_ints_guard guard;
    bf_ints_set_guard(&guard);
    bool ok = false;
    if (setjmp(guard.target) == 0)
        ok = run_what_is_left(c);
    else
        bf_diag_error(
            c->diags, (struct bf_loc){0},
            "the text is not complete: there is no number '%s' where one must be; another "
            "version of bfcc made it, or it was changed",
            guard.missing);
    bf_ints_set_guard(NULL);
    return ok;
}

bool bf_run_passes(struct bf_compilation *c) {
    if (c->level < BF_LEVEL_POLY)
        return run_what_is_left(c);
    return (!c->map || after_is_right(c)) && resume(c);
}

void bf_pass_plan_print(const struct bf_options *options, enum bf_level level, FILE *out) {
    enum bf_level target = target_of(options);
    const char *before = "";
    for (int i = first_pass(level, "verify"); i < PASS_COUNT; i++) {
        if (passes[i].to > target || !wanted(options, &passes[i]))
            continue;
        if (strcmp(before, passes[i].info.level))
            fprintf(out, "%s%6s:", *before ? "\n" : "", passes[i].info.level);
        before = passes[i].info.level;
        fprintf(out, " %s", passes[i].info.name);
    }
    fputs(*before ? "\n" : "", out);
}
