/* rows_pipeline.c - the shape of a loop body: how many elements, how many partial results, and in
 * how many stages they go through it.
 *
 * A long chain of dependent instructions leaves CAL waiting, and a body is too short for elements
 * enough to fill the gaps. Cut in stages, a trip works on several groups of elements at once:
 *
 *     trip           0       1       2       3   ..
 *     stage 0      group 0   1       2       3          first half of the chain
 *     stage 1              group 0   1       2          second half
 *
 * In the body the last stage comes first: it reads what the stage before it wrote a trip ago,
 * before that is written again. A value may go from a stage to the next; one that goes further must
 * be cheap to compute again (one instruction of operands that no instruction writes). The
 * temporaries of every stage are its own.
 */
#include "passes/array/rows.h"

#include <stdlib.h>

enum { MOST_STAGES = 4, MOST_ITEMS = BF_MAX_BODY };

/* A loop cut in stages. */
struct cut {
    int stages, begin[MOST_STAGES]; /* first instruction of each stage */
    struct bf_rows_ins items[MOST_ITEMS];
    int definer[MOST_ITEMS][3]; /* item that wrote operand a, b, c; -1: no temporary */
    int count, accs, words;
};

static bool is_temp(struct bf_rows_operand o) {
    return o.place == BF_IN_TEMP_ACC || o.place == BF_IN_TEMP_WORD;
}

static struct bf_rows_operand *operand(struct bf_rows_ins *ins, int k) {
    return k == 0 ? &ins->a : k == 1 ? &ins->b : &ins->c;
}

static int stage_of(const struct cut *cut, int instruction) {
    int stage = 0;
    while (stage + 1 < cut->stages && instruction >= cut->begin[stage + 1])
        stage++;
    return stage;
}

/* Which instruction wrote each operand of each. */
static void find_definers(const struct bf_rows_list *loop, int definer[MOST_ITEMS][3]) {
    int acc[16], word[16];
    memset(acc, -1, sizeof acc);
    memset(word, -1, sizeof word);
    for (int i = 0; i < (int)loop->count; i++) {
        struct bf_rows_ins *ins = &loop->data[i];
        for (int k = 0; k < 3; k++) {
            struct bf_rows_operand o = *operand(ins, k);
            definer[i][k] = !is_temp(o)                 ? -1
                            : o.place == BF_IN_TEMP_ACC ? acc[o.index]
                                                        : word[o.index];
        }
        if (ins->acc.place == BF_IN_TEMP_ACC)
            acc[ins->acc.index] = i;
        if (ins->word.place == BF_IN_TEMP_WORD)
            word[ins->word.index] = i;
    }
}

static bool can_repeat(const struct bf_rows_ins *ins) {
    bool one = (ins->acc.place == BF_IN_TEMP_ACC && ins->word.place == BF_IN_NONE) ||
               (ins->acc.place == BF_IN_NONE && ins->word.place == BF_IN_TEMP_WORD);
    return one && !is_temp(ins->a) && !is_temp(ins->b) && !is_temp(ins->c) &&
           ins->c.place != BF_IN_PART;
}

/* Fills items stage by stage, what a stage computes again before its own. False if a value goes too
 * far or the items are too many. */
static bool place_items(const struct bf_rows_list *loop, int definer[MOST_ITEMS][3],
                        struct cut *cut) {
    int item_of[MOST_ITEMS], again[MOST_ITEMS];
    cut->count = 0;
    for (int stage = 0; stage < cut->stages; stage++) {
        memset(again, -1, sizeof again);
        for (int own = 0; own < 2; own++)
            for (int i = 0; i < (int)loop->count; i++) {
                if (stage_of(cut, i) != stage)
                    continue;
                for (int k = 0; k < 3 && !own; k++) {
                    int d = definer[i][k];
                    if (d < 0 || stage - stage_of(cut, d) < 2 || again[d] >= 0)
                        continue;
                    if (!can_repeat(&loop->data[d]) || cut->count == MOST_ITEMS)
                        return false;
                    again[d] = cut->count;
                    memset(cut->definer[cut->count], -1, sizeof cut->definer[0]);
                    cut->items[cut->count] = loop->data[d];
                    cut->items[cut->count++].stage = stage;
                }
                if (!own)
                    continue;
                if (cut->count == MOST_ITEMS)
                    return false;
                for (int k = 0; k < 3; k++) {
                    int d = definer[i][k];
                    cut->definer[cut->count][k] = d < 0           ? -1
                                                  : again[d] >= 0 ? again[d]
                                                                  : item_of[d];
                }
                item_of[i] = cut->count;
                cut->items[cut->count] = loop->data[i];
                cut->items[cut->count++].stage = stage;
            }
    }
    return true;
}

/* Last item that reads item d's result; one of a later stage keeps it to the end of its own. */
static int last_use(const struct cut *cut, int d) {
    int last = d;
    for (int i = d + 1; i < cut->count; i++)
        for (int k = 0; k < 3; k++)
            if (cut->definer[i][k] == d)
                last = cut->items[i].stage == cut->items[d].stage ? i : MOST_ITEMS;
    return last;
}

/* Numbers temporaries of one kind anew, so that every stage has its own; returns how many. */
static int number_temps(struct cut *cut, bool word) {
    int index_of[MOST_ITEMS], total = 0;
    enum bf_rows_place place = word ? BF_IN_TEMP_WORD : BF_IN_TEMP_ACC;
    for (int i = 0, stage = -1, base = 0, until[16]; i < cut->count; i++) {
        struct bf_rows_ins *ins = &cut->items[i];
        if (ins->stage != stage) {
            stage = ins->stage;
            base = total;
            memset(until, -1, sizeof until);
        }
        for (int k = 0; k < 3; k++)
            if (operand(ins, k)->place == place)
                operand(ins, k)->index = index_of[cut->definer[i][k]];
        struct bf_rows_operand *to = word ? &ins->word : &ins->acc;
        if (to->place != place)
            continue;
        int t = 0;
        while (t < 15 && until[t] > i)
            t++;
        until[t] = last_use(cut, i);
        index_of[i] = to->index = base + t;
        total = base + t + 1 > total ? base + t + 1 : total;
    }
    return total;
}

static bool make_cut(const struct bf_rows_list *loop, int definer[MOST_ITEMS][3], struct cut *cut) {
    if (!place_items(loop, definer, cut))
        return false;
    cut->accs = number_temps(cut, false);
    cut->words = number_temps(cut, true);
    return true;
}

/* ---- choosing ---- */

struct choice {
    struct cut cut;
    int unroll, parts;
    int64_t cycles; /* of 840 elements: 840 is a multiple of 1 .. 8 */
};

int bf_rows_slots(const struct bf_rows_ins *items, int count, int first, int last, bool skewed,
                  int unroll, struct bf_rows_slot slots[BF_MAX_BODY]) {
    int length = 0;
    for (int n = first; n <= last; n++) {
        int stage = skewed ? last + first - n : n;
        for (int i = 0; i < count; i++)
            for (int u = 0; u < unroll && items[i].stage == stage; u++)
                slots[length++] = (struct bf_rows_slot){&items[i], u};
    }
    return length;
}

/* Tries a cut with every number of elements and parts that fits. */
static void try_cut(const struct bf_machine *machine, struct bf_rows_pass *pass,
                    const struct cut *cut, int budget, struct choice *best) {
    for (int unroll = 1; unroll <= 8 && unroll * cut->count <= BF_MAX_BODY; unroll++)
        for (int parts = 1; parts <= (pass->reductions ? 8 : 1); parts *= 2) {
            struct bf_rows_slot slots[BF_MAX_BODY];
            int accs = pass->row_accs + pass->reductions * parts + unroll * cut->accs;
            if (accs > (int)machine->accumulators || unroll % parts ||
                (cut->stages > 1 && (cut->stages + 1) * unroll * cut->count > budget))
                continue;
            /* no body takes fewer cycles than it has instructions */
            if (best->cycles && (int64_t)cut->count * 840 >= best->cycles)
                continue;
            pass->parts = parts;
            int length =
                bf_rows_slots(cut->items, cut->count, 0, cut->stages - 1, true, unroll, slots);
            int64_t cycles = bf_rows_order(machine, pass, slots, length) * 840 / unroll;
            /* stages cost code and blocks: they must save a twentieth */
            if (best->cycles &&
                cycles * (cut->stages > best->cut.stages ? 20 : 19) >= best->cycles * 19)
                continue;
            *best = (struct choice){*cut, unroll, parts, cycles};
        }
}

/* Everything that choosing needs. */
struct search {
    const struct bf_machine *machine;
    struct bf_rows_pass *pass;
    int definer[MOST_ITEMS][3];
    int most_stages, budget;
    struct cut cut;
    struct choice best;
};

/* All cuts whose first stages begin as cut->begin says: no further one, then one more. */
static void try_cuts(struct search *s, int stages) {
    int count = (int)s->pass->loop.count, begin[MOST_STAGES];
    memcpy(begin, s->cut.begin, sizeof begin);
    s->cut = (struct cut){.stages = stages};
    memcpy(s->cut.begin, begin, sizeof begin);
    if (make_cut(&s->pass->loop, s->definer, &s->cut))
        try_cut(s->machine, s->pass, &s->cut, s->budget, &s->best);
    /* Many stages pay where a special function keeps the rest waiting: in short chains. */
    if (stages == s->most_stages || count < 6 || (stages == 3 && count > 12))
        return;
    for (int next = count - 1; next > begin[stages - 1]; next--) {
        memcpy(s->cut.begin, begin, sizeof begin);
        s->cut.begin[stages] = next;
        try_cuts(s, stages + 1);
    }
}

void bf_rows_choose_body(const struct bf_machine *machine, struct bf_rows_pass *pass,
                         int most_stages, int budget) {
    struct search *search = bf_alloc(sizeof *search);
    struct choice *best = &search->best;
    search->machine = machine;
    search->pass = pass;
    search->most_stages = most_stages;
    search->budget = budget;
    pass->unroll = pass->parts = pass->stages = 1;
    if (pass->loop.count > 0 && pass->loop.count <= MOST_ITEMS) {
        find_definers(&pass->loop, search->definer);
        try_cuts(search, 1);
    }
    if (best->cycles) {
        pass->unroll = best->unroll;
        pass->parts = best->parts;
        pass->stages = best->cut.stages;
        pass->temp_accs = best->cut.accs;
        pass->temp_words = best->cut.words;
        pass->loop.count = 0;
        for (int i = 0; i < best->cut.count; i++)
            *bf_push(&pass->loop) = best->cut.items[i];
    }
    free(search);
}
