/* rows_compile.c - from the steps of a kernel to its passes: what runs once an element, before and
 * after.
 *
 * A step that reads no reduction runs in pass 0, one that reads a result of pass p in pass p + 1.
 * Row scalars stay in data RAM words from the pass that makes them on: the raw halves, for where
 * they are added, and scaled pieces, for where they multiply f32 values.
 */
#include <stdlib.h>

#include "passes/array/rows_gen.h"

/* ---- results ---- */

static bool in_loop(const struct bf_step *step) {
    return step->kind == BF_STEP_SUM || step->kind == BF_STEP_MAX || step->kind == BF_STEP_MAP;
}

/* Made of additions and shifts alone, which write no words. */
static bool is_simple(const struct bf_expr *e) {
    switch (e->kind) {
    case BF_EXPR_ARG:
    case BF_EXPR_ROW:
        return true;
    case BF_EXPR_ADD:
    case BF_EXPR_SUB:
        return is_simple(e->a) && is_simple(e->b);
    case BF_EXPR_SHIFT:
        return is_simple(e->a);
    default:
        return false;
    }
}

/* Instructions do not look beyond the value that they make: one that is held twice stays. */
void bf_rows_send(struct bf_rows_gen *g, value v, enum bf_rows_place place, int index) {
    struct bf_rows_ins *last = g->list->count ? &g->list->data[g->list->count - 1] : NULL;
    bool word = place != BF_IN_PART && place != BF_IN_ROW_ACC && place != BF_IN_TEMP_ACC;
    unsigned results = word ? BF_DST_RAM : BF_DST_ACC;
    bool own = last && v.at.place == BF_IN_TEMP_ACC && last->acc.place == BF_IN_TEMP_ACC &&
               last->acc.index == v.at.index && g->acc_holds[v.at.index] == 1 &&
               (bf_cal_results(last->op) & results);
    if (own && v.negative && last->op == BF_CAL_FMA) {
        last->negate_product = !last->negate_product;
        last->negate_addend = !last->negate_addend;
        v.negative = false;
    }
    if (!own || v.negative) {
        v = bf_rows_plain_fma(g, bf_rows_as_addend(g, v, false), at(BF_IN_NUMBER, BF_B_ONE),
                              bf_rows_zero());
        last = &g->list->data[g->list->count - 1];
    }
    last->acc.place = BF_IN_NONE;
    *(word ? &last->word : &last->acc) = (struct bf_rows_operand){place, index};
    bf_rows_release(g, v);
}

void bf_rows_store_pair(struct bf_rows_gen *g, value v, enum bf_rows_place place, int index) {
    for (int half = 0; half < 2; half++) {
        struct bf_rows_ins *ins = bf_push(g->list);
        memset(ins, 0, sizeof *ins);
        ins->op = half ? BF_CAL_STHI : BF_CAL_STLO;
        ins->a = v.at;
        ins->word = (struct bf_rows_operand){place, index + half};
    }
}

/* Puts word `index` of the kept ones in the place of a temporary, from instruction `first` on. */
static void rename_word(struct bf_rows_gen *g, size_t first, value temp, int index) {
    for (size_t i = first; i < g->list->count; i++) {
        struct bf_rows_ins *ins = &g->list->data[i];
        struct bf_rows_operand *operands[] = {&ins->a, &ins->b, &ins->c, &ins->word};
        for (int k = 0; k < 4; k++)
            if (operands[k]->place == temp.at.place && operands[k]->index == temp.at.index)
                *operands[k] = (struct bf_rows_operand){BF_IN_KEEP, index};
    }
    bf_rows_release(g, temp);
}

void bf_rows_store_factor(struct bf_rows_gen *g, value v, int index) {
    size_t first = g->list->count;
    value exponent, hi, lo;
    bf_rows_split(g, bf_rows_normalised(g, v, &exponent), &hi, &lo);
    rename_word(g, first, hi, index);
    rename_word(g, first, lo, index + 1);
    rename_word(g, first, exponent, index + 2);
}

/* The sum of squares of an f32 value d. Words of the loop are scaled by 2^-scale, so that its
 * pieces don't overflow, and so is the sum until finish: hi = d 2^-scale, lo = (d - hi 2^scale)
 * 2^-scale, part += d hi + d lo */
static void add_square(struct bf_rows_gen *g, const struct bf_expr *e, int index) {
    value part = at(BF_IN_PART, g->part[index]);
    int bound = bf_rows_bound(g, e), scale = bound > 15 ? bound - 15 : 0;
    value d = bf_rows_generate(g, e), hi = bf_rows_new_temp(g, true);
    g->list->data[g->list->count - 1].word = hi.at;
    g->pass->exponent = -scale;
    g->scale[index] = scale;
    bf_rows_hold(g, d);
    bf_rows_hold(g, d);
    bf_rows_hold(g, hi);
    value lo =
        bf_rows_op(g, BF_CAL_FMA, hi, bf_rows_factor(g, -(double)(INT64_C(1) << scale)), d, true);
    bf_rows_hold(g, d);
    bf_rows_send(g, bf_rows_plain_fma(g, d, hi, part), BF_IN_PART, part.at.index);
    bf_rows_send(g, bf_rows_plain_fma(g, d, lo, part), BF_IN_PART, part.at.index);
    bf_rows_release(g, d);
}

/* Whether a pass sums squares of one f32 value and nothing else: no other word is scaled then. */
static bool sums_squares(const struct bf_rows_gen *g, int index) {
    const struct bf_step *step = &g->kernel->steps.data[index];
    if (step->kind != BF_STEP_SUM || step->expr->kind != BF_EXPR_MUL ||
        !bf_rows_same_expr(step->expr->a, step->expr->b))
        return false;
    const struct bf_expr *d = step->expr->a;
    bool sum = (d->kind == BF_EXPR_ADD || d->kind == BF_EXPR_SUB) && bf_rows_bound(g, d) <= 30;
    for (int s = 0; s < (int)g->kernel->steps.count; s++)
        if (s != index && in_loop(&g->kernel->steps.data[s]) && g->ready[s] == g->ready[index])
            return false;
    return sum && is_simple(d->a) && is_simple(d->b);
}

static void loop_step(struct bf_rows_gen *g, int index) {
    const struct bf_step *step = &g->kernel->steps.data[index];
    value part = at(BF_IN_PART, g->part[index]);
    if (sums_squares(g, index)) {
        add_square(g, step->expr->a, index);
    } else if (step->kind == BF_STEP_MAP) {
        bf_rows_send(g, bf_rows_generate(g, step->expr), BF_IN_OUTPUT, step->index);
    } else if (step->kind == BF_STEP_MAX) {
        value a = bf_rows_as_addend(g, bf_rows_generate(g, step->expr), false);
        bf_rows_send(g, bf_rows_op(g, BF_CAL_MAX, a, nothing(), part, false), BF_IN_PART,
                     part.at.index);
    } else if (bf_rows_is_product(step->expr)) {
        bf_rows_send(g, bf_rows_generate_product(g, step->expr, false, part), BF_IN_PART,
                     part.at.index);
    } else {
        bf_rows_send(g, bf_rows_add(g, bf_rows_generate(g, step->expr), part), BF_IN_PART,
                     part.at.index);
    }
}

/* Keeps a row scalar, an accumulator, for later passes. */
static void keep(struct bf_rows_gen *g, int step, value v) {
    v = bf_rows_as_addend(g, v, false);
    if (v.negative)
        v = bf_rows_plain_fma(g, v, at(BF_IN_NUMBER, BF_B_ONE), bf_rows_zero());
    if (g->pair[step] >= 0)
        bf_rows_store_pair(g, v, BF_IN_KEEP, g->pair[step]);
    if (g->factor[step] < 0)
        bf_rows_release(g, v);
    else
        bf_rows_store_factor(g, v, g->factor[step]);
}

/* Adds (compares) the partial results in a fixed order. */
static value combine(struct bf_rows_gen *g, int step, int parts) {
    value part[8];
    bool max = g->kernel->steps.data[step].kind == BF_STEP_MAX;
    for (int i = 0; i < parts; i++)
        part[i] = at(BF_IN_PART, g->part[step] * parts + i);
    for (; parts > 1; parts /= 2)
        for (int i = 0; i < parts / 2; i++)
            part[i] =
                max ? bf_rows_op(g, BF_CAL_MAX, part[2 * i], nothing(), part[2 * i + 1], false)
                    : bf_rows_plain_fma(g, part[2 * i], at(BF_IN_NUMBER, BF_B_ONE),
                                        part[2 * i + 1]);
    return bf_rows_scaled(g, part[0], g->scale[step]);
}

/* ---- passes ---- */

static int last_ready(const struct bf_rows_gen *g, const struct bf_expr *e) {
    if (!e)
        return -1;
    int last = e->kind == BF_EXPR_ROW ? g->ready[e->index] : -1;
    int parts[] = {last_ready(g, e->a), last_ready(g, e->b), last_ready(g, e->c)};
    for (int i = 0; i < 3; i++)
        last = parts[i] > last ? parts[i] : last;
    return last;
}

/* Pass of a loop step; pass after which a row step is known. */
static void assign_passes(struct bf_rows_gen *g) {
    for (size_t s = 0; s < g->kernel->steps.count; s++) {
        const struct bf_step *step = &g->kernel->steps.data[s];
        int last = last_ready(g, step->expr);
        g->ready[s] = in_loop(step) ? last + 1 : last < 0 ? 0 : last;
        if (g->ready[s] + 1 > g->program->passes)
            g->program->passes = g->ready[s] + 1;
    }
}

static void mark_rows(struct bf_rows_gen *g, const struct bf_expr *e) {
    if (!e)
        return;
    if (e->kind == BF_EXPR_ROW)
        bf_rows_pair(g, e->index);
    mark_rows(g, e->a);
    mark_rows(g, e->b);
    mark_rows(g, e->c);
}

void bf_rows_begin(struct bf_rows_gen *g, int pass, struct bf_rows_list *list, bool row_level) {
    memset(g->acc_holds, 0, sizeof g->acc_holds);
    memset(g->word_holds, 0, sizeof g->word_holds);
    g->acc_peak = g->word_peak = 0;
    g->pass = &g->program->pass[pass];
    g->list = list;
    g->row_level = row_level;
}

static void generate_loop(struct bf_rows_gen *g, int p, const struct bf_machine *machine,
                          int *words) {
    struct bf_rows_pass *pass = &g->program->pass[p];
    bf_rows_begin(g, p, &pass->loop, false);
    for (int s = 0; s < BF_ROWS_STEPS; s++)
        g->row_acc[s] = -1;
    for (int s = 0; s < (int)g->kernel->steps.count; s++) {
        const struct bf_step *step = &g->kernel->steps.data[s];
        if (!in_loop(step) || g->ready[s] != p)
            continue;
        if (step->kind == BF_STEP_MAP)
            pass->outputs |= UINT64_C(1) << step->index;
        else
            g->part[s] = pass->reductions++;
        loop_step(g, s);
    }
    pass->temp_accs = g->acc_peak;
    pass->temp_words = g->word_peak;
    int passes = g->program->passes, most_stages = passes == 1 ? 4 : passes <= 3 ? 2 : 1;
    bf_rows_choose_body(machine, pass, most_stages, ((int)machine->code_words - 64) / passes);
    int temp_words = pass->temp_words * pass->unroll;
    *words = temp_words > *words ? temp_words : *words;
    memcpy(g->loop_acc[p], g->row_acc, sizeof g->row_acc);
    if (g->program->across > 1)
        return;
    bf_rows_begin(g, p, &pass->init, true);
    for (int s = 0; s < (int)g->kernel->steps.count; s++)
        if (g->row_acc[s] >= 0)
            bf_rows_load_pair(g, bf_rows_pair(g, s),
                              (struct bf_rows_operand){BF_IN_ROW_ACC, g->row_acc[s]});
}

/* Partial results begin at 0, or below every f32 that can come. */
void bf_rows_start_part(struct bf_rows_gen *g, int step, enum bf_rows_place place, int index) {
    value v = g->kernel->steps.data[step].kind == BF_STEP_MAX
                  ? bf_rows_scaled(g, bf_rows_constant(g, -65504), 100)
                  : bf_rows_plain_fma(g, bf_rows_constant(g, 1), at(BF_IN_NUMBER, BF_B_ZERO),
                                      bf_rows_zero());
    bf_rows_send(g, v, place, index);
}

static void generate_start(struct bf_rows_gen *g, int p) {
    struct bf_rows_pass *pass = &g->program->pass[p];
    bf_rows_begin(g, p, &pass->init, true);
    for (int s = 0; s < (int)g->kernel->steps.count; s++) {
        const struct bf_step *step = &g->kernel->steps.data[s];
        bool reduces = step->kind == BF_STEP_SUM || step->kind == BF_STEP_MAX;
        for (int i = 0; i < pass->parts && reduces && g->ready[s] == p; i++)
            bf_rows_start_part(g, s, BF_IN_PART, g->part[s] * pass->parts + i);
    }
}

static void generate_finish(struct bf_rows_gen *g, int p, int *words) {
    struct bf_rows_pass *pass = &g->program->pass[p];
    int before = g->acc_peak;
    bf_rows_begin(g, p, &pass->finish, true);
    for (int s = 0; s < (int)g->kernel->steps.count; s++) {
        const struct bf_step *step = &g->kernel->steps.data[s];
        if (g->ready[s] != p || step->kind == BF_STEP_MAP)
            continue;
        if (step->kind == BF_STEP_ROWMAP) {
            bf_rows_send(g, bf_rows_generate(g, step->expr), BF_IN_OUTPUT, step->index);
            pass->row_outputs |= UINT64_C(1) << step->index;
        } else {
            keep(g, s,
                 step->kind == BF_STEP_ROW ? bf_rows_generate(g, step->expr)
                                           : combine(g, s, pass->parts));
        }
    }
    pass->finish_accs = g->acc_peak > before ? g->acc_peak : before;
    *words = g->word_peak > *words ? g->word_peak : *words;
}

static bool too_big(const struct bf_map *map, const struct bf_rows_shape *shape,
                    struct bf_diags *diags, const char *what, int need, int limit) {
    return diags && bf_diag_error(diags, shape->kernel->loc,
                                  "cannot map %s on '%s': it needs %d %s, the array has %d",
                                  shape->kernel->what, map->machine.name, need, what, limit);
}

/* Accumulators that a pass needs at a time. */
static int accumulators_of(const struct bf_rows_program *program, int p) {
    const struct bf_rows_pass *pass = &program->pass[p];
    int fixed = pass->row_accs + pass->reductions * pass->parts;
    int loop = fixed + pass->unroll * pass->temp_accs, most;
    if (program->across == 1) {
        most = loop > fixed + pass->finish_accs ? loop : fixed + pass->finish_accs;
        return most > fixed ? most : fixed + 1; /* the start block's */
    }
    int init = pass->row_accs + pass->init_accs;
    most = loop > init ? loop : init;
    return most > pass->relay_accs ? most : pass->relay_accs;
}

static bool fits(const struct bf_map *map, const struct bf_rows_shape *shape,
                 const struct bf_rows_program *program, struct bf_diags *diags) {
    int accs = (int)map->machine.accumulators, lists = program->passes + (program->across > 1);
    for (int p = 0; p < lists; p++) {
        const struct bf_rows_pass *pass = &program->pass[p];
        if (accumulators_of(program, p) > accs)
            return too_big(map, shape, diags, "accumulators", accumulators_of(program, p), accs);
        if (pass->loop.count > BF_MAX_BODY)
            return too_big(map, shape, diags, "CAL words in a loop body", (int)pass->loop.count,
                           BF_MAX_BODY);
    }
    if (program->words >= BF_ROWS_WORDS || program->lanes >= BF_ROWS_LANES)
        return too_big(map, shape, diags, "constants", BF_ROWS_WORDS + 1, BF_ROWS_WORDS);
    return true;
}

/* Whether an expression of the kernel uses the special-function unit. */
static bool uses_special(const struct bf_rows_program *program) {
    for (int p = 0; p <= program->passes; p++) {
        const struct bf_rows_list *lists[] = {&program->pass[p].loop, &program->pass[p].finish,
                                              &program->pass[p].init};
        for (int l = 0; l < 3; l++)
            for (size_t i = 0; i < lists[l]->count; i++)
                if (bf_cal_special(lists[l]->data[i].op))
                    return true;
    }
    return false;
}

/* How many PEs share a tile, and how they exchange: along the rows of the mesh, then along its
 * columns. */
static void set_group(const struct bf_map *map, const struct bf_poly_kernel *kernel, int64_t group,
                      struct bf_rows_program *program) {
    int64_t cols = map->machine.cols, members[] = {group < cols ? group : cols, group / cols};
    bool reduces = false;
    for (size_t s = 0; s < kernel->steps.count; s++)
        reduces |=
            kernel->steps.data[s].kind == BF_STEP_SUM || kernel->steps.data[s].kind == BF_STEP_MAX;
    program->across = reduces ? (int)group : 1;
    for (int l = 0; l < 2 && program->across > 1; l++)
        if (members[l] > 1)
            program->members[program->levels++] = (int)members[l];
}

/* The last pass may write its only output over the first input that it reads. */
static int input_in_place(const struct bf_rows_shape *shape,
                          const struct bf_rows_program *program) {
    const struct bf_poly_kernel *kernel = shape->kernel;
    const struct bf_rows_pass *last = &program->pass[program->passes - 1];
    if (program->across == 1 || kernel->outputs.count != 1 || last->reductions || !last->outputs)
        return -1;
    for (int i = 0; i < (int)kernel->inputs.count; i++)
        if (bf_rows_class(shape, i) == BF_ROWS_FULL)
            return i;
    return -1;
}

static void generate_rows(struct bf_rows_gen *g) {
    struct bf_rows_program *program = g->program;
    for (int s = 0; s < (int)g->kernel->steps.count; s++)
        if (!in_loop(&g->kernel->steps.data[s]))
            mark_rows(g, g->kernel->steps.data[s].expr);
    for (int p = 0; p < program->passes; p++) {
        generate_start(g, p);
        generate_finish(g, p, &program->temp_words);
    }
}

bool bf_rows_compile(const struct bf_map *map, const struct bf_rows_shape *shape, int64_t group,
                     struct bf_rows_program *program, struct bf_diags *diags) {
    struct bf_rows_gen g = {.shape = shape, .kernel = shape->kernel, .program = program};
    g.lanes = map->machine.lanes;
    memset(program, 0, sizeof *program);
    set_group(map, shape->kernel, group, program);
    int steps = (int)shape->kernel->steps.count;
    if (steps > BF_ROWS_STEPS)
        return too_big(map, shape, diags, "steps", steps, BF_ROWS_STEPS);
    for (int s = 0; s < BF_ROWS_STEPS; s++)
        g.pair[s] = g.factor[s] = -1;
    memset(g.loop_acc, -1, sizeof g.loop_acc);
    assign_passes(&g);
    if (program->passes > BF_ROWS_PASSES)
        return too_big(map, shape, diags, "passes over its rows", program->passes, BF_ROWS_PASSES);
    for (int p = 0; p < program->passes; p++)
        generate_loop(&g, p, &map->machine, &program->temp_words);
    if (program->across > 1)
        bf_rows_generate_sums(&g);
    else
        generate_rows(&g);
    program->in_place = input_in_place(shape, program);
    if (!map->machine.special && uses_special(program))
        return diags && bf_diag_error(diags, shape->kernel->loc,
                                      "cannot map %s on '%s': it needs special functions (pe "
                                      "special_functions), the array has none",
                                      shape->kernel->what, map->machine.name);
    return fits(map, shape, program, diags);
}

void bf_rows_program_free(struct bf_rows_program *program) {
    for (int p = 0; p <= BF_ROWS_PASSES; p++) {
        struct bf_rows_pass *pass = &program->pass[p];
        free(pass->init.data);
        free(pass->loop.data);
        free(pass->finish.data);
        free(pass->send.data);
        free(pass->relay.data);
    }
    memset(program, 0, sizeof *program);
}
