/* demo.c - runs the test images through the cycle simulator and judges what comes out.
 *
 *     demo MODEL.bfx TEST.safetensors
 *
 * TEST has the images (input.image), what they show (label) and the logits that the network gives
 * in float64 (reference.logits). Exits 1 unless the array agrees with the reference: the same digit
 * for all images but one in 200, and no logit further away than TOLERANCE. */
#define _POSIX_C_SOURCE 200809L
#include <bfrt.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Twice the largest error of this network when numpy computes it in fp16 with f32 sums. */
static const double TOLERANCE = 0.052;

/* ---- the test file ---- */

/* safetensors: the length of the header in 8 bytes, a header in JSON, then the data. */
struct test {
    char *bytes;
    json_t *header;
    const char *data;
    size_t count, classes;
    const int32_t *labels;  /* [count] */
    const float *reference; /* [count][classes] */
};

static bool read_whole(const char *path, char **bytes, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    fseek(file, 0, SEEK_END);
    long end = ftell(file);
    rewind(file);
    *bytes = malloc(end > 0 ? (size_t)end : 1);
    *size = *bytes && end > 0 ? fread(*bytes, 1, (size_t)end, file) : 0;
    fclose(file);
    return *size >= 8;
}

/* The data of a tensor whose type and number of elements must be these. */
static const void *tensor(const struct test *test, size_t size, const char *name, const char *type,
                          size_t count) {
    json_t *entry = json_object_get(test->header, name);
    const char *found = json_string_value(json_object_get(entry, "dtype"));
    json_t *place = json_object_get(entry, "data_offsets");
    json_int_t begin = json_integer_value(json_array_get(place, 0));
    json_int_t end = json_integer_value(json_array_get(place, 1));
    size_t room = size - (size_t)(test->data - test->bytes);
    if (!found || strcmp(found, type) || begin < 0 || end < begin || (uint64_t)end > room ||
        (uint64_t)(end - begin) != 4 * count || begin % 4)
        return NULL;
    return test->data + begin;
}

static bool read_test(struct test *test, const char *path) {
    size_t size = 0;
    uint64_t length = 0;
    if (!read_whole(path, &test->bytes, &size))
        return false;
    memcpy(&length, test->bytes, 8); /* the hosts that libbfrt runs on are little-endian */
    if (length > size - 8)
        return false;
    test->header = json_loadb(test->bytes + 8, length, 0, NULL);
    test->data = test->bytes + 8 + length;
    json_t *shape = json_object_get(json_object_get(test->header, "reference.logits"), "shape");
    test->count = (size_t)json_integer_value(json_array_get(shape, 0));
    test->classes = (size_t)json_integer_value(json_array_get(shape, 1));
    if (!test->count || test->count > 1000000 || !test->classes || test->classes > 1000)
        return false;
    test->labels = tensor(test, size, "label", "I32", test->count);
    test->reference = tensor(test, size, "reference.logits", "F32", test->count * test->classes);
    return test->labels && test->reference;
}

static void free_test(struct test *test) {
    json_decref(test->header);
    free(test->bytes);
}

/* ---- progress ---- */

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

struct progress {
    double start;
    size_t images;
};

static void bar(const struct progress *progress, double done, const char *before,
                const char *after) {
    char marks[31] = "                              ";
    memset(marks, '#', (size_t)(30 * done));
    printf("%sdigits  %zu images  [%s]  %zu/%zu  %5.1f s%s", before, progress->images, marks,
           (size_t)(done * (double)progress->images), progress->images, seconds() - progress->start,
           after);
    fflush(stdout);
}

static void show_progress(void *user, double done) {
    if (isatty(STDOUT_FILENO))
        bar(user, done < 0 ? 0 : done > 1 ? 1 : done, "\r", "");
}

/* ---- the verdict ---- */

struct verdict {
    size_t correct, agree;
    double worst; /* largest distance of a logit from its reference */
};

static size_t largest(const float *row, size_t count) {
    size_t best = 0;
    for (size_t i = 1; i < count; i++)
        if (row[i] > row[best])
            best = i;
    return best;
}

static struct verdict judge(const struct test *test, const float *logits) {
    struct verdict verdict = {0};
    for (size_t i = 0; i < test->count; i++) {
        const float *got = logits + i * test->classes;
        const float *want = test->reference + i * test->classes;
        verdict.correct += largest(got, test->classes) == (size_t)test->labels[i];
        verdict.agree += largest(got, test->classes) == largest(want, test->classes);
        for (size_t c = 0; c < test->classes; c++) {
            double distance = fabs((double)got[c] - (double)want[c]);
            if (!(distance <= verdict.worst)) /* a NaN stays */
                verdict.worst = distance;
        }
    }
    return verdict;
}

/* ---- where the cycles went ---- */

enum kind { FOURIER, BUTTERFLY, ATTENTION, DENSE, ELEMENTWISE, START, KINDS };
static const char *const kind_names[KINDS] = {"fourier", "butterfly",   "attention",
                                              "dense",   "elementwise", "start-up, DMA"};

/* By the operator, the last word of what a kernel does: "blocks.0.ffn.up butterfly". */
static enum kind kind_of(const struct bfrt_kernel *kernel) {
    const char *space = strrchr(kernel->what, ' ');
    const char *operation = space ? space + 1 : kernel->what;
    if (!strcmp(operation, "fourier") || !strcmp(operation, "fft"))
        return FOURIER;
    if (!strcmp(operation, "butterfly"))
        return BUTTERFLY;
    if (!strcmp(operation, "attention"))
        return ATTENTION;
    return strcmp(operation, "linear") ? ELEMENTWISE : DENSE;
}

static void print_cycles(const struct bfrt_model *model, const struct bfrt_stats *stats) {
    uint64_t cycles[KINDS] = {0};
    uint64_t running = 0;
    for (size_t k = 0; k < stats->kernel_count; k++) {
        cycles[kind_of(bfrt_kernel(model, k))] += stats->kernels[k].cycles;
        running += stats->kernels[k].cycles;
    }
    cycles[START] = stats->cycles > running ? stats->cycles - running : 0;
    printf("where the cycles went\n");
    for (int kind = 0; kind < KINDS; kind++) {
        char marks[51] = "";
        double share = (double)cycles[kind] / (double)stats->cycles;
        memset(marks, '#', (size_t)(50 * share + 0.5));
        printf("  %-13s %5.1f %%  %s\n", kind_names[kind], 100 * share, marks);
    }
}

static double occupancy(const struct bfrt_model *model, const struct bfrt_stats *stats) {
    const struct bfrt_info *info = bfrt_info(model);
    uint64_t issued = 0;
    for (size_t k = 0; k < stats->kernel_count; k++)
        issued += stats->kernels[k].issued[BFRT_CAL];
    return 100 * (double)issued / ((double)stats->cycles * info->rows * info->cols);
}

static void report(const struct bfrt_model *model, const struct bfrt_stats *stats,
                   const struct test *test, struct verdict verdict) {
    double images = (double)test->count, cycles = (double)stats->cycles / images;
    double cal = occupancy(model, stats);
    printf(
        "accuracy %.1f %%   agrees with the reference on %zu of %zu   largest logit error %.3g\n",
        100 * (double)verdict.correct / images, verdict.agree, test->count, verdict.worst);
    printf("%.0f cycles/image   CAL %.1f %%   DRAM %.2f KB/image   %.2f uJ/image\n", cycles, cal,
           (double)(stats->dram_read + stats->dram_written) / images / 1e3,
           stats->energy / images * 1e6);
    print_cycles(model, stats);
    printf("demo: %zu images, %zu correct, %zu agree, %.0f cycles/image, %.0f %% CAL\n",
           test->count, verdict.correct, verdict.agree, cycles, cal);
}

/* ---- running ---- */

static bool run(const struct bfrt_model *model, const char *path, const struct test *test,
                struct bfrt_error *error) {
    struct progress progress = {seconds(), test->count};
    struct bfrt_options options = {.progress = show_progress, .user = &progress};
    struct bfrt_session *session = bfrt_session_create(model, "sim", &options, error);
    size_t count = test->count * test->classes;
    float *logits = calloc(count, sizeof *logits);
    bool ok = session && logits && bfrt_bind_file(session, path, error) &&
              bfrt_run(session, error) &&
              bfrt_fetch(session, "logits", BFRT_F32, logits, count, error);
    if (ok) {
        bar(&progress, 1, isatty(STDOUT_FILENO) ? "\r" : "", "\n");
        struct verdict verdict = judge(test, logits);
        report(model, bfrt_stats(session), test, verdict);
        ok = verdict.agree + test->count / 200 >= test->count && verdict.worst <= TOLERANCE;
        if (!ok)
            fprintf(stderr, "demo: the array does not agree with the reference\n");
    }
    free(logits);
    bfrt_session_free(session);
    return ok;
}

int main(int argc, char **argv) {
    struct test test = {0};
    struct bfrt_error error = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: demo MODEL.bfx TEST.safetensors\n");
        return 1;
    }
    bool ok = read_test(&test, argv[2]);
    if (!ok)
        fprintf(stderr, "demo: %s has no labels and reference logits\n", argv[2]);
    struct bfrt_model *model = ok ? bfrt_load(argv[1], &error) : NULL;
    ok = model && run(model, argv[2], &test, &error);
    if (error.code)
        fprintf(stderr, "demo: %s\n", error.text);
    bfrt_model_free(model);
    free_test(&test);
    return ok ? 0 : 1;
}
