/* test_agree.c - the check against the devices: small programs are changed at random; what the
 * check lets pass must give the same bytes on ref and, with any latencies and queues, on sim. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "runtime/check.h"
#include "test/unit/mini.h"

enum { PROGRAMS = 3000 };

static unsigned below(uint64_t *random, unsigned n) {
    return (unsigned)(bf_random(random) % n);
}

static struct mini *base_program(unsigned which) {
    switch (which) {
    case 0:
        return mini_doubling();
    case 1:
        return mini_all_to_all();
    case 2:
        return mini_weighted();
    case 3:
        return mini_two_exchanges(true);
    case 4:
        return mini_two_blocks(true, false);
    case 5:
        return mini_two_blocks(false, true);
    default: {
        struct mini *m = mini_pairs(true);
        m->launch[0].window = 1;
        return m;
    }
    }
}

static struct bf_block *any_block(struct mini *m, uint64_t *random) {
    return &m->blocks[below(random, (unsigned)m->kernel.block_count)];
}

/* Takes a token away or gives one, on both sides, so that the counts stay right. */
static void change_token(struct mini *m, uint64_t *random) {
    struct bf_block *from = any_block(m, random), *to = any_block(m, random);
    uint8_t *target = &from->d.target[below(random, BF_TARGETS)];
    for (size_t b = 0; b < m->kernel.block_count; b++)
        if (m->blocks[b].id == *target && m->blocks[b].pes & from->pes && m->blocks[b].d.need)
            m->blocks[b].d.need--;
    *target = BF_NO_BLOCK;
    if (below(random, 2) || to->pes != from->pes)
        return;
    *target = to->id;
    to->d.need++;
}

static void change_address(struct mini *m, uint64_t *random) {
    struct bf_block *block = any_block(m, random);
    int step = below(random, 2) ? 1 : -1;
    switch (block->d.unit) {
    case BF_UNIT_CAL: {
        struct bf_cal cal;
        uint64_t *word = &m->words[block->d.cal.start];
        if (!bf_cal_decode(*word, &cal, NULL))
            return;
        if (below(random, 2))
            cal.d = (uint16_t)((cal.d + step) & 1023);
        else if (cal.a_class != BF_CLASS_SPECIAL)
            cal.a = (uint16_t)((cal.a + step) & 1023);
        *word = bf_cal_encode(&cal);
        break;
    }
    case BF_UNIT_FLOW:
        block->d.flow.destination = (uint16_t)((block->d.flow.destination + step) & 1023);
        break;
    default:
        if (below(random, 2))
            block->d.mem.ram = (uint16_t)((block->d.mem.ram + step) & 1023);
        else
            block->d.mem.spm = (block->d.mem.spm + (uint32_t)(4 * step)) & 0x3ffff;
    }
}

static void change_loops(struct mini *m, uint64_t *random) {
    struct bf_block *block = any_block(m, random);
    unsigned level = below(random, BF_LEVELS);
    switch (below(random, 3)) {
    case 0:
        block->d.trips[level] = (uint16_t)(1 + below(random, 5));
        break;
    case 1:
        if (block->d.unit == BF_UNIT_LOAD || block->d.unit == BF_UNIT_STORE)
            block->d.mem.iteration_delta[level] = (int32_t)below(random, 9) - 4;
        break;
    default:
        block->d.first = 0;
        block->d.last = (uint8_t)(m->launch[0].period - 1);
    }
}

static void change_launch(struct mini *m, uint64_t *random) {
    struct bf_launch *launch = &m->launch[0];
    switch (below(random, 4)) {
    case 0:
        launch->window = (uint8_t)(1 + below(random, 8));
        break;
    case 1:
        launch->context_size = (uint16_t)(4 + below(random, 40));
        break;
    case 2:
        launch->strict = !launch->strict;
        break;
    default:
        launch->trips[below(random, BF_LEVELS)] = 1 + below(random, 4);
    }
}

/* The output buffer over the input's, or near it; blocks that forget to wait for weights. */
static void change_buffers(struct mini *m, uint64_t *random) {
    uint32_t from = m->dmas[m->program.dma_count - 1].spm, to = 4 * below(random, 5);
    bool forget = below(random, 4) == 0;
    for (size_t b = 0; b < m->kernel.block_count; b++) {
        struct bf_descriptor *d = &m->blocks[b].d;
        if (forget && d->unit == BF_UNIT_CAL)
            d->cal.uses_weights = !d->cal.uses_weights;
        else if (!forget && d->unit == BF_UNIT_STORE)
            d->mem.spm = d->mem.spm - from + to;
    }
    if (!forget)
        m->dmas[m->program.dma_count - 1].spm = to;
}

static void change(struct mini *m, uint64_t *random) {
    for (unsigned k = below(random, 4); k > 0; k--)
        switch (below(random, 9)) {
        case 0:
        case 1:
        case 2:
            change_token(m, random);
            break;
        case 3:
        case 4:
            change_address(m, random);
            break;
        case 5:
            change_loops(m, random);
            break;
        case 6:
            change_buffers(m, random);
            break;
        default:
            change_launch(m, random);
        }
}

/* Latencies and queues only: none may change a result. */
static void change_times(struct bf_machine *machine, uint64_t *random) {
    machine->fma_latency = 2 + below(random, 8);
    machine->spm_latency = 1 + below(random, 20);
    machine->retire_latency = 1 + below(random, 40);
    machine->ram_banks = 1u << below(random, 5);
    machine->spm_ports = 1u << below(random, 4);
    machine->router_queue = 1 + below(random, 5);
    machine->eject_queue = 1 + below(random, 3);
    machine->request_queue = 1 + below(random, 5);
    machine->response_queue = 1 + below(random, 8);
    machine->special_latency = 4 + below(random, 20);
    machine->dma_setup = below(random, 60);
    machine->dram_tenth_bytes = 40 + below(random, 1000);
}

static void run(const struct bf_device *device, struct mini *m, const uint8_t *input, uint8_t *dram,
                uint64_t seed) {
    struct bf_error error = {0};
    struct bf_device_options options = {.cycle_limit = 100000};
    struct bf_stats *stats = bf_stats_create(&m->program);
    memcpy(dram, input, MINI_DRAM);
    if (!device->run(&m->program, dram, &options, stats, &error))
        fail_msg("program %llu on %s: %s", (unsigned long long)seed, device->name, error.text);
    bf_stats_free(&m->program, stats);
}

/* One program; true if the check let it pass. */
static bool try_program(uint64_t seed) {
    static uint8_t input[MINI_DRAM], first[MINI_DRAM], other[MINI_DRAM];
    uint64_t random = seed;
    struct mini *m = base_program(below(&random, 7));
    change(m, &random);
    for (unsigned k = 0; k < 2000; k++)
        mini_put(m, 0, k, (double)below(&random, 2000) / 16 - 60);
    memcpy(input, m->dram, MINI_DRAM);
    struct bf_error error = {0};
    bool passed = bf_program_check(&m->program, &error) && bf_check_program(&m->program, &error);
    if (passed) {
        run(&bf_device_ref, m, input, first, seed);
        for (unsigned k = 0; k < 4; k++) {
            run(&bf_device_sim, m, input, other, seed);
            if (memcmp(first, other, MINI_DRAM) != 0)
                fail_msg("program %llu: ref and sim differ", (unsigned long long)seed);
            change_times(&m->program.machine, &random);
        }
    }
    free(m);
    return passed;
}

static void what_passes_agrees(void **state) {
    (void)state;
    unsigned passed = 0;
    for (uint64_t seed = 0; seed < PROGRAMS; seed++)
        passed += try_program(seed);
    print_message("%u of %u programs passed the check\n", passed, PROGRAMS);
    assert_true(passed > PROGRAMS / 5 && passed < PROGRAMS * 4 / 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_passes_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
