/* sim_trace.c - the cycle trace (docs/machine.md, 16): the lines of a cycle are collected, sorted
 * into their fixed order, and written. */
#include <inttypes.h>
#include <stdlib.h>

#include "runtime/sim.h"

struct line {
    uint32_t key, number; /* number: order of arrival */
    size_t text;          /* offset */
};

struct sim_trace {
    struct {
        struct line *data;
        size_t count, capacity;
    } lines;
    struct bf_text text; /* of one cycle; lines end in NUL */
};

static const char *const units[] = {"pe", "cal", "load", "flow", "store", "array", "dma", "seq"};
static const char *const causes[BF_STALL_COUNT] = {
    [BF_STALL_NONE] = "none",       [BF_STALL_IDLE] = "idle",     [BF_STALL_TOKEN] = "token",
    [BF_STALL_WEIGHTS] = "weights", [BF_STALL_HAZARD] = "hazard", [BF_STALL_BANK] = "bank",
    [BF_STALL_SPECIAL] = "special", [BF_STALL_QUEUE] = "queue",   [BF_STALL_PORT] = "port",
};

void sim_trace_create(struct sim *sim) {
    sim->trace = bf_alloc(sizeof *sim->trace);
}

void sim_trace_free(struct sim *sim) {
    bf_text_free(&sim->trace->text);
    free(sim->trace->lines.data);
    free(sim->trace);
}

void sim_note(struct sim *sim, int pe, unsigned unit, unsigned event, const char *format, ...) {
    struct sim_trace *trace = sim->trace;
    uint32_t place = pe < 0 ? BF_MAX_PES : (uint32_t)pe;
    *bf_push(&trace->lines) = (struct line){.key = place << 16 | unit << 8 | event,
                                            .number = (uint32_t)trace->lines.count,
                                            .text = trace->text.length};
    if (pe < 0)
        bf_text_printf(&trace->text, "- %s ", units[unit]);
    else
        bf_text_printf(&trace->text, "%d %s ", pe, units[unit]);
    va_list args;
    va_start(args, format);
    bf_text_vprintf(&trace->text, format, args);
    va_end(args);
    bf_text_add_bytes(&trace->text, "", 1);
}

void sim_note_stall(struct sim *sim, const struct sim_pe *pe, unsigned u, enum bf_stall cause) {
    const struct sim_unit *unit = &pe->unit[u];
    if (unit->block)
        sim_note(sim, pe->number, SIM_TRACE_CAL + u, SIM_EVENT_ISSUE, "stall %s block=%u.%" PRIu64,
                 causes[cause], unit->id, unit->iteration);
    else
        sim_note(sim, pe->number, SIM_TRACE_CAL + u, SIM_EVENT_ISSUE, "wait %s", causes[cause]);
}

static int compare(const void *a, const void *b) {
    const struct line *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

void sim_trace_flush(struct sim *sim) {
    struct sim_trace *trace = sim->trace;
    if (!trace->lines.count)
        return;
    qsort(trace->lines.data, trace->lines.count, sizeof *trace->lines.data, compare);
    for (size_t i = 0; i < trace->lines.count; i++)
        fprintf(sim->options->trace, "%" PRIu64 " %s\n", sim->cycle,
                trace->text.data + trace->lines.data[i].text);
    trace->lines.count = 0;
    trace->text.length = 0;
}
