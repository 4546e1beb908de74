/* Four threads run two networks at once on one pool; each result must be that of a run alone. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encoder.h"
#include "mixer.h"

#include "bfpool.h"

enum { ROUNDS = 20 };
static struct bf_pool *pool;

static void *allocate(size_t size) {
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!memory)
        abort();
    return memory;
}

static float *input(size_t count, unsigned seed) {
    float *x = allocate(count * sizeof *x);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(seed = seed * 1664525 + 1013904223) / 2147483648.0f - 1;
    return x;
}

/* Runs NAME on the pool again and again; gives the number of results that differ. */
#define RUNS(name, NAME)                                                                           \
    static void *run_##name(void *argument) {                                                      \
        const struct bf_executor *executor = bf_pool_executor(pool);                               \
        float *x = input(NAME##_X_SIZE, (unsigned)(size_t)argument);                               \
        float *want = allocate(NAME##_Y_SIZE * sizeof *want);                                      \
        float *got = allocate(NAME##_Y_SIZE * sizeof *got);                                        \
        void *alone = allocate(NAME##_WORKSPACE_SIZE);                                             \
        void *workspace = allocate((size_t)name##_workspace_size(executor->threads));              \
        struct name##_in in = {.x = x};                                                            \
        size_t bad = name##_run(&in, &(struct name##_out){.y = want}, alone) != 0;                 \
        for (int i = 0; i < ROUNDS; i++) {                                                         \
            memset(got, 0, NAME##_Y_SIZE * sizeof *got);                                           \
            bad += name##_run_on(&in, &(struct name##_out){.y = got}, workspace, executor) != 0;   \
            bad += memcmp(got, want, NAME##_Y_SIZE * sizeof *got) != 0;                            \
        }                                                                                          \
        free(x), free(want), free(got), free(alone), free(workspace);                              \
        return (void *)bad;                                                                        \
    }
RUNS(encoder, ENCODER)
RUNS(mixer, MIXER)

int main(void) {
    pthread_t threads[4];
    size_t bad = 0;
    pool = bf_pool_create(3);
    for (size_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, i % 2 ? run_mixer : run_encoder, (void *)(i + 1));
    for (size_t i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        bad += (size_t)result;
    }
    bf_pool_free(pool);
    printf("%zu bad results\n", bad);
    return bad != 0;
}
