/* test_pool.c - the thread pool: each index once, workers of their own, several callers, sleep. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "runtime/bfhost/executor.h"
#include "runtime/pool/bfpool.h"

enum { MOST_THREADS = 5, MOST_COUNT = 3000 };

struct check {
    unsigned threads;
    unsigned seen[MOST_COUNT];      /* times an index came; each is one task's own */
    atomic_bool busy[MOST_THREADS]; /* workers */
    unsigned long done_by[MOST_THREADS];
    atomic_uint faults;
};

static void task(void *argument, unsigned worker, int64_t index) {
    struct check *check = argument;
    if (worker >= check->threads || atomic_exchange(&check->busy[worker], true))
        atomic_fetch_add(&check->faults, 1);
    check->seen[index]++;
    check->done_by[worker]++; /* a race, should two have the same number */
    atomic_store(&check->busy[worker], false);
}

/* Faults of a run of `count` indices. */
static unsigned faults(const struct bf_executor *executor, int64_t count) {
    struct check *check = calloc(1, sizeof *check);
    check->threads = executor->threads;
    executor->run(executor->self, task, check, count);
    unsigned result = check->faults;
    for (int64_t i = 0; i < MOST_COUNT; i++)
        result += check->seen[i] != (i < count);
    free(check);
    return result;
}

static void test_each_index_once(void **state) {
    (void)state;
    for (unsigned threads = 1; threads <= MOST_THREADS; threads++) {
        struct bf_pool *pool = bf_pool_create(threads);
        const struct bf_executor *executor = bf_pool_executor(pool);
        assert_int_equal(executor->threads, threads);
        for (int64_t count = 0; count <= MOST_COUNT; count = count * 3 + 1)
            for (int round = 0; round < 20; round++)
                assert_int_equal(faults(executor, count), 0);
        bf_pool_free(pool);
    }
}

static void *caller(void *argument) {
    const struct bf_executor *executor = argument;
    uintptr_t result = 0;
    for (int round = 0; round < 200; round++)
        result += faults(executor, 1 + round * 7 % MOST_COUNT);
    return (void *)result;
}

static void test_callers_share(void **state) {
    (void)state;
    struct bf_pool *pool = bf_pool_create(3);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, caller, (void *)bf_pool_executor(pool));
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
    bf_pool_free(pool);
}

static void wait_for_all(void *argument, unsigned worker, int64_t index) {
    (void)worker;
    (void)index;
    atomic_uint *here = argument;
    struct timespec end, now;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += 20;
    atomic_fetch_add(here, 1);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while (atomic_load(here) < 3 && now.tv_sec < end.tv_sec);
}

/* Three tasks that wait for each other: threads really run at once, also after they slept. */
static void test_threads_run_at_once(void **state) {
    (void)state;
    struct bf_pool *pool = bf_pool_create(3);
    for (int round = 0; round < 3; round++) {
        atomic_uint here = 0;
        bf_pool_executor(pool)->run(bf_pool_executor(pool)->self, wait_for_all, &here, 3);
        assert_int_equal(here, 3);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    bf_pool_free(pool);
}

static double seconds_used(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void test_idle_threads_sleep(void **state) {
    (void)state;
    struct bf_pool *pool = bf_pool_create(4);
    assert_int_equal(faults(bf_pool_executor(pool), 100), 0);
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    double start = seconds_used();
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    assert_true(seconds_used() - start < 0.02);
    bf_pool_free(pool);
}

static void test_nothing(void **state) {
    (void)state;
    bf_pool_free(NULL);
    struct bf_pool *pool = bf_pool_create(0);
    assert_true(bf_pool_executor(pool)->threads >= 1);
    bf_pool_free(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_index_once),
        cmocka_unit_test(test_callers_share),
        cmocka_unit_test(test_threads_run_at_once),
        cmocka_unit_test(test_idle_threads_sleep),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
