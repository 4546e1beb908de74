/* bfpool.c - see bfpool.h.
 *
 * Whoever runs a network puts a job on the list and then takes indices from it like the pool's
 * threads do. The job lives on its caller's stack, so the caller takes it off the list and waits
 * until no thread is at it any more.
 *
 * The indices are cut into a share for each worker, who takes its own from the front, then those of
 * others from the back. So equal rows of one call after the other, and of one run after the other,
 * mostly go to the same core, whose cache has them:
 *
 *     | worker 0 ->            <- others | worker 1 ->            <- others |
 *
 * Networks hand out work every few microseconds, waking a thread takes about as long. So a thread
 * that runs out of work looks for more for a short while before it sleeps, and so does a caller
 * that waits for the last indices.
 */
#define _GNU_SOURCE /* sched_getaffinity */
#include "runtime/pool/bfpool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/bfhost/executor.h"

enum {
    PATIENCE = 50000 /* ns before sleeping */,
    LOOKS = 64 /* between two looks at the clock; at a lock */
};

enum { MOST_SHARES = 32, LINE = 64 };
#define MOST_INDICES (INT64_C(1) << 31) /* of a job */

struct job {
    void (*task)(void *argument, unsigned worker, int64_t index);
    void *argument;
    int64_t first; /* index of the task = first + index of the job */
    unsigned share_count;
    struct job *following;
    _Alignas(LINE) _Atomic unsigned active; /* threads of the pool that are at it */
    struct share {
        _Alignas(LINE) _Atomic uint64_t range; /* what nobody has taken: begin + (end << 32) */
    } shares[MOST_SHARES];
};

/* What threads look at again and again has a cache line of its own. */
struct bf_pool {
    struct bf_executor executor;
    struct worker {
        struct bf_pool *pool;
        pthread_t thread;
        unsigned number; /* from 1 on: 0 is the caller */
    } *workers;
    _Alignas(LINE) _Atomic unsigned posts; /* changes with every job */
    _Alignas(LINE) pthread_mutex_t lock;
    pthread_cond_t posted, left; /* a job came; a job has no active thread any more */
    struct job *jobs;            /* oldest first */
    unsigned sleepers, waiters;  /* on `posted`, on `left` */
    bool stopping;
};

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Locks are held for a few instructions, far shorter than going to sleep takes. */
static void lock(struct bf_pool *pool) {
    for (int i = 0; i < LOOKS; i++) {
        if (!pthread_mutex_trylock(&pool->lock))
            return;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
}

/* Whether *value becomes equal (different) to `wanted` before patience ends. */
static bool await(_Atomic unsigned *value, unsigned wanted, bool equal) {
    int64_t end = nanoseconds() + PATIENCE;
    do {
        for (int i = 0; i < LOOKS; i++) {
            if ((atomic_load_explicit(value, memory_order_acquire) == wanted) == equal)
                return true;
            relax();
        }
    } while (nanoseconds() < end);
    return false;
}

/* An index of the share, its first or its last; -1: it is empty. */
static int64_t take(struct share *share, bool front) {
    uint64_t range = atomic_load_explicit(&share->range, memory_order_relaxed);
    for (;;) {
        uint64_t begin = range & UINT32_MAX, end = range >> 32;
        if (begin == end)
            return -1;
        uint64_t rest = front ? range + 1 : range - (UINT64_C(1) << 32);
        if (atomic_compare_exchange_weak_explicit(&share->range, &range, rest, memory_order_relaxed,
                                                  memory_order_relaxed))
            return (int64_t)(front ? begin : end - 1);
    }
}

static void work(struct job *job, unsigned worker) {
    for (unsigned i = 0; i < job->share_count; i++) {
        struct share *share = &job->shares[(worker + i) % job->share_count];
        for (int64_t index; (index = take(share, i == 0)) >= 0;)
            job->task(job->argument, worker, job->first + index);
    }
}

static bool has_work(struct job *job) {
    for (unsigned i = 0; i < job->share_count; i++) {
        uint64_t range = atomic_load_explicit(&job->shares[i].range, memory_order_relaxed);
        if ((range & UINT32_MAX) != range >> 32)
            return true;
    }
    return false;
}

static struct job *find_job(struct bf_pool *pool) {
    struct job *job = pool->jobs;
    while (job && !has_work(job))
        job = job->following;
    return job;
}

/* Waits for a job; NULL: the pool is stopping. The lock is held before and after. */
static struct job *next_job(struct bf_pool *pool) {
    for (;;) {
        struct job *job = find_job(pool);
        if (job || pool->stopping)
            return job;
        unsigned posts = atomic_load_explicit(&pool->posts, memory_order_relaxed);
        pthread_mutex_unlock(&pool->lock);
        bool more = await(&pool->posts, posts, false);
        lock(pool);
        if (more || posts != atomic_load_explicit(&pool->posts, memory_order_relaxed))
            continue;
        pool->sleepers++;
        pthread_cond_wait(&pool->posted, &pool->lock);
        pool->sleepers--;
    }
}

static void *thread(void *argument) {
    struct worker *worker = argument;
    struct bf_pool *pool = worker->pool;
    struct job *job;
    lock(pool);
    while ((job = next_job(pool))) {
        atomic_fetch_add_explicit(&job->active, 1, memory_order_relaxed);
        pthread_mutex_unlock(&pool->lock);
        work(job, worker->number);
        lock(pool);
        /* From here on the job may be gone. */
        if (atomic_fetch_sub_explicit(&job->active, 1, memory_order_release) == 1 && pool->waiters)
            pthread_cond_broadcast(&pool->left);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static void post(struct bf_pool *pool, struct job *job) {
    struct job **end = &pool->jobs;
    lock(pool);
    while (*end)
        end = &(*end)->following;
    *end = job;
    atomic_fetch_add_explicit(&pool->posts, 1, memory_order_release);
    if (pool->sleepers)
        pthread_cond_broadcast(&pool->posted);
    pthread_mutex_unlock(&pool->lock);
}

static void withdraw(struct bf_pool *pool, struct job *job) {
    struct job **at = &pool->jobs;
    lock(pool);
    while (*at != job)
        at = &(*at)->following;
    *at = job->following;
    pthread_mutex_unlock(&pool->lock);
    if (await(&job->active, 0, true))
        return;
    lock(pool);
    pool->waiters++;
    while (atomic_load_explicit(&job->active, memory_order_acquire))
        pthread_cond_wait(&pool->left, &pool->lock);
    pool->waiters--;
    pthread_mutex_unlock(&pool->lock);
}

static void run_job(struct bf_pool *pool, struct job *job, int64_t count) {
    int64_t shares = pool->executor.threads < MOST_SHARES ? pool->executor.threads : MOST_SHARES;
    job->share_count = (unsigned)shares;
    for (int64_t i = 0; i < shares; i++) {
        uint64_t begin = (uint64_t)(count * i / shares), end = (uint64_t)(count * (i + 1) / shares);
        atomic_init(&job->shares[i].range, begin + (end << 32));
    }
    post(pool, job);
    work(job, 0);
    withdraw(pool, job);
}

static void run(void *self, void (*task)(void *argument, unsigned worker, int64_t index),
                void *argument, int64_t count) {
    struct bf_pool *pool = self;
    if (count < 2 || pool->executor.threads < 2) {
        for (int64_t i = 0; i < count; i++)
            task(argument, 0, i);
        return;
    }
    for (int64_t first = 0; first < count; first += MOST_INDICES) {
        struct job job;
        job.task = task;
        job.argument = argument;
        job.first = first;
        job.following = NULL;
        atomic_init(&job.active, 0);
        run_job(pool, &job, count - first < MOST_INDICES ? count - first : MOST_INDICES);
    }
}

static unsigned processors(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set))
        return 1;
    return (unsigned)CPU_COUNT(&set);
}

struct bf_pool *bf_pool_create(unsigned threads) {
    if (!threads)
        threads = processors();
    struct bf_pool *pool = aligned_alloc(LINE, sizeof *pool);
    struct worker *workers = calloc(threads, sizeof *workers);
    if (!pool || !workers) {
        free(pool);
        free(workers);
        return NULL;
    }
    memset(pool, 0, sizeof *pool);
    pool->workers = workers;
    pool->executor = (struct bf_executor){pool, 1, run};
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->posted, NULL);
    pthread_cond_init(&pool->left, NULL);
    while (pool->executor.threads < threads) {
        struct worker *worker = &workers[pool->executor.threads];
        *worker = (struct worker){.pool = pool, .number = pool->executor.threads};
        if (pthread_create(&worker->thread, NULL, thread, worker))
            break;
        pool->executor.threads++;
    }
    return pool;
}

void bf_pool_free(struct bf_pool *pool) {
    if (!pool)
        return;
    lock(pool);
    pool->stopping = true;
    atomic_fetch_add_explicit(&pool->posts, 1, memory_order_release);
    pthread_cond_broadcast(&pool->posted);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 1; i < pool->executor.threads; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->left);
    pthread_cond_destroy(&pool->posted);
    pthread_mutex_destroy(&pool->lock);
    free(pool->workers);
    free(pool);
}

const struct bf_executor *bf_pool_executor(const struct bf_pool *pool) {
    return &pool->executor;
}
