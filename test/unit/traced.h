/* traced.h - running a small program on the cycle-level device and looking at its trace. A file
 * that includes it must define _POSIX_C_SOURCE for open_memstream. */
#ifndef BF_TEST_TRACED_H
#define BF_TEST_TRACED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test/unit/mini.h"

struct traced {
    struct mini *m;
    char *text;
    bool ok;
    struct bf_error error;
};

/* Every unit of every PE has one state in each cycle of a kernel. */
static inline void check_accounts(const struct mini *m) {
    const struct bf_kernel_stats *k = &m->kernel_stats;
    for (unsigned u = 0; u < 4; u++) {
        uint64_t sum = 0;
        for (unsigned c = 0; c < BF_STALL_COUNT; c++)
            sum += k->stalled[u][c];
        assert_int_equal(sum, k->cycles * bf_machine_pes(&m->program.machine));
        assert_int_equal(k->stalled[u][BF_STALL_NONE], k->issued[u]);
    }
}

static inline struct traced run_any(struct mini *m) {
    struct traced t = {.m = m};
    size_t size;
    FILE *file = open_memstream(&t.text, &size);
    struct bf_device_options options = {.trace = file, .cycle_limit = 1000000};
    t.ok = bf_device_sim.run(&m->program, m->dram, &options, &m->stats, &t.error);
    fclose(file);
    return t;
}

static inline struct traced run(struct mini *m) {
    struct traced t = run_any(m);
    if (!t.ok)
        fail_msg("%s", t.error.text);
    check_accounts(m);
    return t;
}

static inline void end(struct traced *t) {
    free(t->text);
    free(t->m);
}

static inline void must_fail(struct mini *m, const char *first, const char *second) {
    struct traced t = run_any(m);
    assert_false(t.ok);
    assert_int_equal(t.error.code, BF_ERROR_MACHINE);
    if (!strstr(t.error.text, first) || !strstr(t.error.text, second))
        fail_msg("no '%s' or no '%s' in: %s", first, second, t.error.text);
    end(&t);
}

/* Cycle of the nth line (from 0) that goes on with `event` after its cycle; -1: none. */
static inline long find(const struct traced *t, const char *event, unsigned nth) {
    for (const char *line = t->text; line && *line;) {
        char *rest;
        long cycle = strtol(line, &rest, 10);
        const char *newline = strchr(rest, '\n');
        size_t length = strlen(event);
        if (!strncmp(rest + 1, event, length) &&
            (rest[1 + length] == ' ' || rest[1 + length] == '\n') && !nth--)
            return cycle;
        line = newline ? newline + 1 : NULL;
    }
    return -1;
}

static inline long at(const struct traced *t, const char *event, unsigned nth) {
    long cycle = find(t, event, nth);
    if (cycle < 0)
        fail_msg("no line %u '%s' in the trace:\n%s", nth, event, t->text);
    return cycle;
}

/* One PE with a CAL block of the words given, after a LOAD of 16 words. */
static inline struct mini *cal_program(const struct bf_cal *words, unsigned count) {
    struct mini *m = mini_create();
    m->program.machine.rows = m->program.machine.cols = 1;
    mini_load(m, 32, 0, 0, 16)->target[0] = 0;
    struct bf_descriptor *d = mini_block(m, 0, "body");
    d->need = 1;
    for (unsigned i = 0; i < count; i++)
        mini_cal(m, words[i]);
    for (unsigned b = 0; b < m->kernel.block_count; b++)
        m->blocks[b].pes = 1;
    m->segment.pes = 1;
    mini_dma(m, BF_DMA_LOAD, 0, 0, 4, 16);
    mini_sequence(m, 1);
    for (unsigned k = 0; k < 64; k++)
        mini_put(m, 0, k, 1);
    return m;
}

#endif
