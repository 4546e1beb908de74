/* runner.c - the C side of the benchmark: timing loops, what the machine can do, FFTW. Python loads
 * it; see bench.py. Times are seconds. */
#define _GNU_SOURCE
#include <complex.h>
#include <fftw3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(int cpu) {
    struct timespec t;
    clock_gettime(cpu ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the machine ---- */

#ifdef __AVX512F__
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#ifdef __x86_64__
#define REGISTER(v) "x"(v)
#else
#define REGISTER(v) "w"(v)
#endif
typedef float vector __attribute__((vector_size(BYTES)));

/* Twelve chains of FMAs in registers: floating-point operations a second of one core. */
double fma_peak(void) {
    enum { ROUNDS = 2000000 };
    vector a = {0}, b = {0};
    for (unsigned i = 0; i < BYTES / 4; i++)
        a[i] = 0.5f, b[i] = 1.0f;
    /* Different starts, or the compiler would make one chain of all. */
    vector v0 = a, v1 = v0 + b, v2 = v1 + b, v3 = v2 + b, v4 = v3 + b, v5 = v4 + b, v6 = v5 + b,
           v7 = v6 + b, v8 = v7 + b, v9 = v8 + b, v10 = v9 + b, v11 = v10 + b;
    double start = now(1);
    for (int i = 0; i < ROUNDS; i++) {
        v0 = v0 * a + b, v1 = v1 * a + b, v2 = v2 * a + b, v3 = v3 * a + b;
        v4 = v4 * a + b, v5 = v5 * a + b, v6 = v6 * a + b, v7 = v7 * a + b;
        v8 = v8 * a + b, v9 = v9 * a + b, v10 = v10 * a + b, v11 = v11 * a + b;
        __asm__ volatile("" : "+" REGISTER(a), "+" REGISTER(b));
    }
    double time = now(1) - start;
    vector sum = v0 + v1 + v2 + v3 + v4 + v5 + v6 + v7 + v8 + v9 + v10 + v11;
    __asm__ volatile("" : : REGISTER(sum));
    return 2.0 * 12 * (BYTES / 4) * ROUNDS / time;
}

/* Bytes a second, read and written, of copying `size` bytes again and again. */
double copy_rate(int64_t size) {
    int64_t rounds = (INT64_C(1) << 29) / size + 1;
    char *from = aligned_alloc(4096, (size_t)size), *to = aligned_alloc(4096, (size_t)size);
    memset(from, 1, (size_t)size);
    memset(to, 2, (size_t)size);
    double start = now(1);
    for (int64_t r = 0; r < rounds; r++) {
        memcpy(to, from, (size_t)size);
        __asm__ volatile("" : : "r"(to), "r"(from) : "memory");
    }
    double time = now(1) - start;
    free(from);
    free(to);
    return 2.0 * (double)size * (double)rounds / time;
}

/* Seconds that a cache line takes to another core and back. On a virtual machine it tells whether
 * the two processors are on one chip at the moment. */
static _Alignas(64) _Atomic long ball;

static void *player(void *argument) {
    for (long turn = 1; ball >= 0; turn += 2) {
        while (ball >= 0 && ball != turn)
            ;
        if (ball == turn)
            ball = turn + 1;
    }
    return argument;
}

double round_trip(void) {
    enum { TURNS = 500, ROUNDS = 20 };
    pthread_t other;
    double best = 1, end = now(0) + 0.2;
    long turn = 0;
    ball = 0;
    if (pthread_create(&other, NULL, player, NULL))
        return best;
    for (int round = 0; round < ROUNDS && now(0) < end; round++) {
        double start = now(0);
        for (int i = 0; i < TURNS; i++, turn += 2) {
            ball = turn + 1;
            while (ball != turn + 2)
                ;
        }
        double time = (now(0) - start) / TURNS;
        best = time < best ? time : best;
    }
    ball = -1;
    pthread_join(other, NULL);
    return best;
}

/* Empties the caches. */
void go_cold(void) {
    enum { SIZE = 96 << 20 };
    static char *memory;
    if (!memory)
        memory = malloc(SIZE);
    memset(memory, 1, SIZE);
    __asm__ volatile("" : : "r"(memory) : "memory");
}

/* ---- runs ---- */

typedef int network(const void *in, const void *out, void *workspace, const void *executor);
/* Mean time of a run: of the processor (all threads) or of the clock on the wall. */
double time_network(network *run, const void *in, const void *out, void *workspace,
                    const void *executor, int64_t runs, int cpu) {
    double start = now(cpu);
    for (int64_t i = 0; i < runs; i++)
        if (run(in, out, workspace, executor))
            abort();
    return (now(cpu) - start) / (double)runs;
}

/* ---- FFTW: y = Re(FFT along both axes of x) ---- */

struct mixing {
    int64_t rows, cols;
    float *x;
    fftwf_complex *half;
    float *y;
    fftwf_plan plan;
};

struct mixing *mixing_plan(int64_t rows, int64_t cols, const float *x, int threads) {
    static int ready;
    if (!ready++)
        fftwf_init_threads();
    struct mixing *m = malloc(sizeof *m);
    size_t count = (size_t)(rows * cols);
    *m = (struct mixing){.rows = rows, .cols = cols};
    m->x = fftwf_alloc_real(count);
    m->y = fftwf_alloc_real(count);
    m->half = fftwf_alloc_complex((size_t)(rows * (cols / 2 + 1)));
    fftwf_plan_with_nthreads(threads);
    m->plan = fftwf_plan_dft_r2c_2d((int)rows, (int)cols, m->x, m->half, FFTW_MEASURE);
    memcpy(m->x, x, count * sizeof *x);
    return m;
}

static void extract(const struct mixing *m) {
    int64_t half = m->cols / 2;
    for (int64_t r = 0; r < m->rows; r++) {
        const fftwf_complex *here = m->half + r * (half + 1);
        const fftwf_complex *mirror = m->half + (r ? m->rows - r : 0) * (half + 1);
        float *y = m->y + r * m->cols;
        for (int64_t c = 0; c <= half; c++)
            y[c] = crealf(here[c]);
        for (int64_t c = half + 1; c < m->cols; c++)
            y[c] = crealf(mirror[m->cols - c]);
    }
}

double time_mixing(struct mixing *m, int whole, int64_t runs, int cpu) {
    double start = now(cpu);
    for (int64_t i = 0; i < runs; i++) {
        fftwf_execute(m->plan);
        if (whole)
            extract(m);
    }
    return (now(cpu) - start) / (double)runs;
}

const float *mixing_result(struct mixing *m) {
    fftwf_execute(m->plan);
    extract(m);
    return m->y;
}

void mixing_free(struct mixing *m) {
    fftwf_destroy_plan(m->plan);
    fftwf_free(m->x);
    fftwf_free(m->y);
    fftwf_free(m->half);
    free(m);
}
