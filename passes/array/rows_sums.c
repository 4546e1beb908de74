/* rows_sums.c - what runs once a row where its axis lies across PEs.
 *
 *     loop | send: partial sum, a pair of words ==> all PEs of the mesh row
 *          | relay: their sum                   ==> all PEs of the mesh column
 *          | init of the next pass: their sum, row scalars, partial sums of the next loop
 *
 * A pair is the raw halves of an f32. Every PE adds what it received in the same order. Row scalars
 * that the next loop wants are computed into its accumulators; those that come later are kept in
 * words of the context: iterations overlap.
 */
#include "passes/array/rows_gen.h"

static const struct bf_step *step_of(const struct bf_rows_gen *g, int step) {
    return &g->kernel->steps.data[step];
}

static bool is_reduction(const struct bf_step *step) {
    return step->kind == BF_STEP_SUM || step->kind == BF_STEP_MAX;
}

static bool mentions(const struct bf_expr *e, int step) {
    return e && ((e->kind == BF_EXPR_ROW && e->index == step) || mentions(e->a, step) ||
                 mentions(e->b, step) || mentions(e->c, step));
}

/* Whether code between passes reads step `step` in the list of pass `ready`, from step `from` on.
 */
static bool is_read(const struct bf_rows_gen *g, int step, int from, int ready) {
    for (int s = from; s < (int)g->kernel->steps.count; s++) {
        bool between = step_of(g, s)->kind == BF_STEP_ROW || step_of(g, s)->kind == BF_STEP_ROWMAP;
        if (between && g->ready[s] == ready && mentions(step_of(g, s)->expr, step))
            return true;
    }
    return false;
}

/* Words for scalars that are wanted later than in what follows their sum at once. */
static void mark_pairs(struct bf_rows_gen *g) {
    for (int s = 0; s < (int)g->kernel->steps.count; s++)
        for (int p = g->ready[s] + 1; p < g->program->passes; p++)
            if ((p > g->ready[s] + 1 && g->loop_acc[p][s] >= 0) || is_read(g, s, s + 1, p))
                bf_rows_pair(g, s);
}

/* ---- exchanges ---- */

static void add_exchanges(struct bf_rows_program *program) {
    for (int p = 0; p < program->passes; p++) {
        struct bf_rows_pass *pass = &program->pass[p];
        pass->unit = pass->reductions ? 2 : 0;
        while (pass->unit < 2 * pass->reductions)
            pass->unit *= 2;
        for (int l = 0; l < program->levels && pass->unit; l++) {
            pass->exchange[l] = program->exchange_words;
            program->exchange_words += pass->unit * (1 + program->members[l]);
        }
    }
}

static value joined(struct bf_rows_gen *g, int step, value a, value b) {
    return step_of(g, step)->kind == BF_STEP_MAX
               ? bf_rows_op(g, BF_CAL_MAX, a, bf_rows_number(0), b, false)
               : bf_rows_plain_fma(g, a, at(BF_IN_NUMBER, BF_B_ONE), b);
}

/* What members first .. first + count - 1 sent, neighbours first. */
static value received(struct bf_rows_gen *g, int step, int level, int first, int count) {
    const struct bf_rows_pass *pass = &g->program->pass[g->ready[step]];
    if (count > 1) {
        value a = received(g, step, level, first, count / 2);
        value b = received(g, step, level, first + count / 2, count / 2);
        return joined(g, step, a, b);
    }
    value v = bf_rows_new_temp(g, false);
    int word = pass->exchange[level] + pass->unit * (1 + first) + 2 * g->part[step];
    for (int half = 0; half < 2; half++) {
        struct bf_rows_ins *ins = bf_push(g->list);
        memset(ins, 0, sizeof *ins);
        ins->op = half ? BF_CAL_LDHI : BF_CAL_LDLO;
        ins->c = (struct bf_rows_operand){BF_IN_EXCHANGE, word + half};
        ins->acc = v.at;
    }
    return v;
}

static void send_pair(struct bf_rows_gen *g, int step, int level, value v) {
    int word = g->program->pass[g->ready[step]].exchange[level];
    bf_rows_store_pair(g, v, BF_IN_EXCHANGE, word + 2 * g->part[step]);
    bf_rows_release(g, v);
}

/* The partial results of the loop, joined in their own accumulators. */
static void generate_send(struct bf_rows_gen *g, int p) {
    struct bf_rows_pass *pass = &g->program->pass[p];
    bf_rows_begin(g, p, &pass->send, true);
    for (int s = 0; s < (int)g->kernel->steps.count; s++) {
        if (!is_reduction(step_of(g, s)) || g->ready[s] != p)
            continue;
        int first = g->part[s] * pass->parts;
        for (int apart = 1; apart < pass->parts; apart *= 2)
            for (int i = 0; i < pass->parts; i += 2 * apart)
                bf_rows_send(
                    g, joined(g, s, at(BF_IN_PART, first + i), at(BF_IN_PART, first + i + apart)),
                    BF_IN_PART, first + i);
        send_pair(g, s, 0, at(BF_IN_PART, first));
    }
}

static void generate_relay(struct bf_rows_gen *g, int p) {
    struct bf_rows_pass *pass = &g->program->pass[p];
    bf_rows_begin(g, p, &pass->relay, true);
    for (int s = 0; s < (int)g->kernel->steps.count && g->program->levels > 1; s++)
        if (is_reduction(step_of(g, s)) && g->ready[s] == p)
            send_pair(g, s, 1, received(g, s, 0, 0, g->program->members[0]));
    pass->relay_accs = g->acc_peak;
}

/* ---- between the passes ---- */

/* Puts a row scalar where it is wanted. */
static void deliver(struct bf_rows_gen *g, int step, int next, value v) {
    v = bf_rows_as_addend(g, v, false);
    int acc = g->loop_acc[next][step];
    if (acc >= 0) {
        bf_rows_send(g, v, BF_IN_ROW_ACC, acc);
        v = at(BF_IN_ROW_ACC, acc);
    } else if (v.negative) {
        v = bf_rows_plain_fma(g, v, at(BF_IN_NUMBER, BF_B_ONE), bf_rows_zero());
    }
    if (g->pair[step] >= 0)
        bf_rows_store_pair(g, v, BF_IN_KEEP, g->pair[step]);
    if (g->factor[step] >= 0) {
        bf_rows_hold(g, v);
        bf_rows_store_factor(g, v, g->factor[step]);
    }
    g->live[step] = v;
}

/* Accumulators of scalars that nothing reads any more. */
static void release_dead(struct bf_rows_gen *g, int next, int step) {
    for (int s = 0; s <= step; s++)
        if (g->live[s].at.place == BF_IN_TEMP_ACC && !is_read(g, s, step + 1, next - 1)) {
            bf_rows_release(g, g->live[s]);
            g->live[s] = bf_rows_number(0);
        }
}

static void generate_steps(struct bf_rows_gen *g, int next) {
    struct bf_rows_pass *pass = &g->program->pass[next];
    for (int s = 0; s < (int)g->kernel->steps.count; s++) {
        const struct bf_step *step = step_of(g, s);
        if (g->ready[s] != next - 1 || step->kind == BF_STEP_MAP)
            continue;
        if (step->kind == BF_STEP_ROWMAP) {
            bf_rows_send(g, bf_rows_generate(g, step->expr), BF_IN_OUTPUT, step->index);
            pass->row_outputs |= UINT64_C(1) << step->index;
        } else if (step->kind == BF_STEP_ROW) {
            deliver(g, s, next, bf_rows_generate(g, step->expr));
        } else {
            int last = g->program->levels - 1;
            value v = received(g, s, last, 0, g->program->members[last]);
            deliver(g, s, next, bf_rows_scaled(g, v, g->scale[s]));
        }
        release_dead(g, next, s);
    }
}

/* Accumulators of a loop's row scalars come first, then those of its partial results, which
 * temporaries use before. */
static void generate_init(struct bf_rows_gen *g, int next) {
    struct bf_rows_pass *pass = &g->program->pass[next];
    int steps = (int)g->kernel->steps.count;
    bf_rows_begin(g, next, &pass->init, true);
    memset(g->live, 0, sizeof g->live);
    if (next > 0)
        generate_steps(g, next);
    for (int s = 0; s < steps; s++)
        if (g->loop_acc[next][s] >= 0 && g->ready[s] != next - 1)
            bf_rows_load_pair(g, bf_rows_pair(g, s),
                              (struct bf_rows_operand){BF_IN_ROW_ACC, g->loop_acc[next][s]});
    for (int s = 0; s < steps; s++)
        for (int i = 0; i < pass->parts && is_reduction(step_of(g, s)) && g->ready[s] == next; i++)
            bf_rows_start_part(g, s, BF_IN_TEMP_ACC, g->part[s] * pass->parts + i);
    pass->init_accs = g->acc_peak;
}

void bf_rows_generate_sums(struct bf_rows_gen *g) {
    add_exchanges(g->program);
    mark_pairs(g);
    for (int p = 0; p < g->program->passes; p++) {
        generate_send(g, p);
        generate_relay(g, p);
    }
    for (int p = 0; p <= g->program->passes; p++) {
        generate_init(g, p);
        if (g->word_peak > g->program->temp_words)
            g->program->temp_words = g->word_peak;
    }
}
