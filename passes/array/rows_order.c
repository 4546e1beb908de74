/* rows_order.c - the order of the instructions of a loop body.
 *
 * CAL issues in order and stalls until operands are there: an accumulator after fma_latency (or
 * special_latency) cycles, a RAM word two cycles later than that. The body's elements are
 * independent, so that a list scheduler fills the wait of one with work of the others: of the
 * instructions whose predecessors have issued it takes the one that can go first, then the one
 * with the longest way to the end. It does not see the next trip of the loop, which can begin
 * while the last results of this one are still to come: where special functions bind, instructions
 * are then moved one at a time, in a fixed pseudo-random order, as long as a trip gets no longer.
 */
#include "passes/array/rows.h"

/* Resources of an instruction: what it reads as A, B, C, writes, and keeps the other half of. */
enum { READ_A, READ_B, READ_C, WRITE_ACC, WRITE_WORD, READ_HALF, RESOURCES };

struct graph {
    const struct bf_machine *machine;
    int count;
    bool special[BF_MAX_BODY];
    int resource[BF_MAX_BODY][RESOURCES];
    int latency[BF_MAX_BODY][2];           /* of its accumulator, of its word */
    int8_t wait[BF_MAX_BODY][BF_MAX_BODY]; /* cycles from i to j, if j comes after i; 0: none */
    int height[BF_MAX_BODY];
};

/* What an operand names that a body can write: elements and partial results apart; -1: nothing. */
static int resource(const struct bf_rows_pass *pass, struct bf_rows_operand o, int u) {
    switch (o.place) {
    case BF_IN_PART:
        u %= pass->parts;
        break;
    case BF_IN_TEMP_ACC:
    case BF_IN_TEMP_WORD:
    case BF_IN_OUTPUT:
    case BF_IN_ROW_ACC:
    case BF_IN_KEEP:
    case BF_IN_EXCHANGE:
        break;
    default:
        return -1;
    }
    return (int)o.place * 65536 + o.index * 32 + u;
}

static int most(int a, int b) {
    return a > b ? a : b;
}

static bool reads(const int *resources, int resource_id) {
    return resources[READ_A] == resource_id || resources[READ_B] == resource_id ||
           resources[READ_C] == resource_id || resources[READ_HALF] == resource_id;
}

/* Cycles that instruction j must come after instruction i, if it is later. */
static int wait_of(const struct graph *g, int i, int j) {
    const int *from = g->resource[i], *to = g->resource[j];
    int wait = 0;
    for (int word = 0; word < 2; word++) {
        int written = from[WRITE_ACC + word], later = to[WRITE_ACC + word];
        if (written >= 0 && reads(to, written))
            wait = most(wait, g->latency[i][word]);
        if (written >= 0 && written == later)
            wait = most(wait, most(1, g->latency[i][word] - g->latency[j][word] + 1));
        if (later >= 0 && reads(from, later))
            wait = most(wait, 1);
    }
    return wait;
}

static void build(struct graph *g, const struct bf_rows_pass *pass,
                  const struct bf_rows_slot *slots) {
    int fma = (int)g->machine->fma_latency;
    for (int i = 0; i < g->count; i++) {
        const struct bf_rows_ins *ins = slots[i].ins;
        bool half = ins->op == BF_CAL_LDLO || ins->op == BF_CAL_LDHI;
        const struct bf_rows_operand operands[] = {
            ins->a,   ins->b,    ins->c,
            ins->acc, ins->word, half ? ins->acc : (struct bf_rows_operand){0}};
        for (int k = 0; k < RESOURCES; k++)
            g->resource[i][k] = resource(pass, operands[k], slots[i].u);
        g->special[i] = bf_cal_special(ins->op);
        g->latency[i][0] = g->special[i] ? (int)g->machine->special_latency : fma;
        g->latency[i][1] = fma + 2;
    }
    for (int i = g->count - 1; i >= 0; i--) {
        g->height[i] = 0;
        for (int j = 0; j < g->count; j++) {
            g->wait[i][j] = (int8_t)wait_of(g, i, j);
            if (j > i && g->wait[i][j])
                g->height[i] = most(g->height[i], g->wait[i][j] + g->height[j]);
        }
    }
}

/* First cycle in which j can issue; INT_MAX while a predecessor has not. */
static int earliest(const struct graph *g, int j, const int *issued, int special_free) {
    int at = g->special[j] ? special_free : 0;
    for (int i = 0; i < j; i++) {
        if (!g->wait[i][j])
            continue;
        if (issued[i] < 0)
            return INT32_MAX;
        at = most(at, issued[i] + g->wait[i][j]);
    }
    return at;
}

static void schedule(const struct graph *g, int *order) {
    int issued[BF_MAX_BODY], special_free = 0;
    for (int i = 0; i < g->count; i++)
        issued[i] = -1;
    for (int n = 0, now = 0; n < g->count; n++) {
        int best = -1, best_at = INT32_MAX;
        for (int j = 0; j < g->count; j++) {
            if (issued[j] >= 0)
                continue;
            int at = earliest(g, j, issued, special_free);
            at = at == INT32_MAX ? at : most(at, now);
            if (at < best_at || (at == best_at && best >= 0 && g->height[j] > g->height[best])) {
                best = j;
                best_at = at;
            }
        }
        issued[best] = best_at;
        now = best_at + 1;
        if (g->special[best])
            special_free = best_at + (int)g->machine->special_interval;
        order[n] = best;
    }
}

/* Cycles of a trip in the long run: the difference between two trips, each instruction waiting for
 * what it depends on in its own trip and in the one before. */
static int cycles(const struct graph *g, const int *order) {
    int last[BF_MAX_BODY] = {0}, now = 0, ends[4], special_free = 0;
    for (int trip = 0; trip < 4; trip++) {
        int issued[BF_MAX_BODY];
        for (int n = 0; n < g->count; n++) {
            int j = order[n], at = now;
            for (int m = 0; m < g->count; m++) {
                int i = order[m];
                if (m < n && i < j && g->wait[i][j])
                    at = most(at, issued[i] + g->wait[i][j]);
                else if (m >= n && trip > 0)
                    at = most(at, last[i] + g->wait[i][j]);
            }
            if (g->special[j]) {
                at = most(at, special_free);
                special_free = at + (int)g->machine->special_interval;
            }
            issued[j] = at;
            now = at + 1;
        }
        memcpy(last, issued, sizeof last);
        ends[trip] = now;
    }
    return ends[3] - ends[2];
}

/* Moves the instruction at `from` to `to`; false if one that waits for another would overtake it.
 */
static bool move(const struct graph *g, int *order, int from, int to) {
    int moved = order[from], step = from < to ? 1 : -1;
    for (int n = from + step; n != to + step; n += step) {
        int other = order[n];
        if (step > 0 ? moved < other && g->wait[moved][other]
                     : other < moved && g->wait[other][moved])
            return false;
    }
    for (int n = from; n != to; n += step)
        order[n] = order[n + step];
    order[to] = moved;
    return true;
}

/* Returns the length of a trip. */
static int improve(const struct graph *g, int *order, int length) {
    enum { TRIES = 400 };
    int trial[BF_MAX_BODY], specials = 0;
    uint32_t random = 1;
    for (int i = 0; i < g->count; i++)
        specials += g->special[i];
    int least = specials * (int)g->machine->special_interval;
    for (int try = 0; least >= g->count && try < TRIES && length > least; try++) {
        random = random * 1664525 + 1013904223;
        int from = (int)(random >> 24) % g->count, to = (int)(random >> 16 & 0xff) % g->count;
        memcpy(trial, order, sizeof trial);
        if (from == to || !move(g, trial, from, to))
            continue;
        int now = cycles(g, trial);
        if (now > length)
            continue;
        length = now;
        memcpy(order, trial, sizeof trial);
    }
    return length;
}

int bf_rows_order(const struct bf_machine *machine, const struct bf_rows_pass *pass,
                  struct bf_rows_slot *slots, int count) {
    struct graph g = {.machine = machine, .count = count};
    struct bf_rows_slot sorted[BF_MAX_BODY];
    int order[BF_MAX_BODY] = {0};
    build(&g, pass, slots);
    schedule(&g, order);
    int length = improve(&g, order, cycles(&g, order));
    for (int n = 0; n < count; n++)
        sorted[n] = slots[order[n]];
    memcpy(slots, sorted, (size_t)count * sizeof *slots);
    return length;
}
