/* trace.c - a recorded run in Chrome trace event format, for Perfetto and chrome://tracing.
 *
 *     process "network"   threads: kernels, DMA; counters: units, DRAM, scratchpad, mesh
 *     process "PE (r,c)"  threads: CAL, LOAD, FLOW, STORE
 *
 * Times are microseconds of the array's clock. One event a line, so that text tools can read it.
 */
#include "runtime/profile.h"

#include <inttypes.h>

enum { NETWORK = 1, FIRST_PE = 10, KERNELS = 1, DMA = 2 };

static void put_string(FILE *out, const char *s) {
    fputc('"', out);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 32 || c >= 127)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

struct trace {
    const struct bf_recorder *r;
    FILE *out;
};

static double micros(const struct trace *t, uint64_t cycles) {
    return (double)cycles / t->r->program->machine.clock_mhz;
}

static void put_name(const struct trace *t, const char *kind, unsigned pid, unsigned tid,
                     const char *name) {
    fprintf(t->out, "{\"ph\":\"M\",\"pid\":%u,\"tid\":%u,\"name\":\"%s\",\"args\":{\"name\":", pid,
            tid, kind);
    put_string(t->out, name);
    fputs("}},\n", t->out);
}

static void put_tracks(const struct trace *t) {
    static const char *const units[] = {"CAL", "LOAD", "FLOW", "STORE"};
    const struct bf_machine *m = &t->r->program->machine;
    put_name(t, "process_name", NETWORK, 0, t->r->program->network);
    put_name(t, "thread_name", NETWORK, KERNELS, "kernels");
    put_name(t, "thread_name", NETWORK, DMA, "DMA");
    for (unsigned p = 0; p < bf_machine_pes(m); p++) {
        char name[32];
        snprintf(name, sizeof name, "PE (%u,%u)", p / m->cols, p % m->cols);
        put_name(t, "process_name", FIRST_PE + p, 0, name);
        for (unsigned u = 0; u < 4; u++)
            put_name(t, "thread_name", FIRST_PE + p, u + 1, units[u]);
    }
}

static void begin_slice(const struct trace *t, unsigned pid, unsigned tid, uint64_t begin,
                        uint64_t length) {
    fprintf(t->out, "{\"ph\":\"X\",\"pid\":%u,\"tid\":%u,\"ts\":%.3f,\"dur\":%.3f,\"name\":", pid,
            tid, micros(t, begin), micros(t, length));
}

/* "F0 fabnet.bfly:12" */
static void put_label(const struct trace *t, const char *what, const struct bf_place *place) {
    const struct bf_program *program = t->r->program;
    struct bf_text text = {0};
    bf_text_add(&text, what);
    if (place->line && place->file < program->file_count)
        bf_text_printf(&text, " %s:%u", program->files[place->file], place->line);
    put_string(t->out, text.data);
    bf_text_free(&text);
}

static bool outside(const struct bf_recorder *r, uint64_t begin, uint64_t end) {
    return end <= r->from || (r->to && begin >= r->to);
}

/* "wait: tokens", between the blocks of a unit. */
static void put_waits(const struct trace *t, const struct bf_launch_run *run) {
    for (size_t i = run->first_wait; i < run->first_wait + run->wait_count; i++) {
        const struct bf_wait *wait = &t->r->waits.data[i];
        begin_slice(t, FIRST_PE + wait->pe, wait->unit + 1u, wait->begin, wait->length);
        fprintf(t->out, "\"wait: %s\",\"cname\":\"grey\"},\n",
                bfrt_stall_name((enum bfrt_stall)wait->cause));
    }
}

static void put_launch(const struct trace *t, size_t number) {
    const struct bf_launch_run *run = &t->r->runs[number];
    const struct bf_program *program = t->r->program;
    const struct bf_kernel *kernel = &program->kernels[program->launches[run->launch].kernel];
    if (outside(t->r, run->begin, run->end))
        return;
    begin_slice(t, NETWORK, KERNELS, run->begin, run->end - run->begin);
    put_label(t, *kernel->what ? kernel->what : kernel->name, &kernel->place);
    fprintf(t->out, ",\"args\":{\"launch\":%zu,\"blocks shown\":%zu,\"of\":%" PRIu64 "}},\n",
            number, run->slice_count, run->needs);
    for (size_t i = run->first; i < run->first + run->slice_count; i++) {
        const struct bf_slice *slice = &t->r->slices.data[i];
        const struct bf_block *block = &kernel->blocks[slice->block];
        begin_slice(t, FIRST_PE + slice->pe, slice->unit + 1u, slice->begin, slice->length);
        put_label(t, block->name, block->place.line ? &block->place : &kernel->place);
        fprintf(t->out, ",\"args\":{\"iteration\":%" PRIu64 "}},\n", slice->iteration);
    }
    put_waits(t, run);
}

static void put_job(const struct trace *t, const struct bf_job_run *job) {
    static const char *const kinds[] = {"load", "store", "gather", "fill"};
    const struct bf_program *program = t->r->program;
    const struct bf_seq *seq = &program->sequence[job->position];
    if (outside(t->r, job->begin, job->end))
        return;
    begin_slice(t, NETWORK, DMA, job->begin, job->end - job->begin);
    if (seq->op == BF_SEQ_CODE)
        put_label(t, "code", &program->kernels[seq->y].place);
    else
        put_string(t->out, kinds[program->dmas[seq->y].kind & 3]);
    fprintf(t->out, ",\"args\":{\"bytes\":%" PRIu64 "}},\n", job->bytes);
}

static void put_counter(const struct trace *t, uint64_t cycle, const char *name, double value) {
    fprintf(t->out,
            "{\"ph\":\"C\",\"pid\":%u,\"ts\":%.3f,\"name\":\"%s\",\"args\":{\"value\":%.4g}},\n",
            (unsigned)NETWORK, micros(t, cycle), name, value);
}

static void put_counters(const struct trace *t) {
    static const char *const names[BF_SERIES] = {"CAL busy %",
                                                 "LOAD busy %",
                                                 "FLOW busy %",
                                                 "STORE busy %",
                                                 "DRAM read B/cycle",
                                                 "DRAM written B/cycle",
                                                 "scratchpad words/cycle",
                                                 "mesh hops/cycle"};
    const struct bf_recorder *r = t->r;
    unsigned pes = bf_machine_pes(&r->program->machine);
    for (size_t i = 0; i < r->sample_count; i++) {
        uint64_t begin = i * r->interval, end = begin + r->interval;
        uint64_t cycles = end < r->end ? r->interval : r->end - begin;
        if (outside(r, begin, end) || begin >= r->end)
            continue;
        for (unsigned s = 0; s < BF_SERIES; s++) {
            double value = (double)r->samples[i].series[s] / (double)cycles;
            put_counter(t, begin, names[s], s < 4 ? 100 * value / pes : value);
        }
    }
    for (unsigned s = 0; s < BF_SERIES && !r->to; s++)
        put_counter(t, r->end, names[s], 0);
}

bool bf_trace_write(const struct bf_recorder *recorder, FILE *out) {
    struct trace t = {recorder, out};
    fputs("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n", out);
    put_tracks(&t);
    put_counters(&t);
    for (size_t i = 0; i < recorder->jobs.count; i++)
        put_job(&t, &recorder->jobs.data[i]);
    for (size_t i = 0; i < recorder->run_count; i++)
        put_launch(&t, i);
    fprintf(out,
            "{\"ph\":\"i\",\"pid\":%u,\"tid\":%u,\"ts\":%.3f,\"s\":\"g\",\"name\":\"end\"}\n]}\n",
            (unsigned)NETWORK, (unsigned)KERNELS, micros(&t, recorder->end));
    return !ferror(out);
}
