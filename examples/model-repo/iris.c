/* iris.c - names the kind of each flower on the command line:
 *
 *     iris 5.1 3.5 1.4 0.2  6.7 3.1 4.7 1.5 ..
 *
 * Four lengths a flower in cm: of the sepal, its width, of the petal, its width. */
#include <bfrt.h>
#include <stdlib.h>

static const char *const kinds[] = {"setosa", "versicolor", "virginica"};
enum { LENGTHS = 4, KINDS = 3 };

/* Scores [count][KINDS] of flowers [count][LENGTHS], computed by the functional device. */
static bool classify(const struct bfrt_model *model, size_t count, const float *flowers,
                     float *scores, struct bfrt_error *error) {
    struct bfrt_session *session = bfrt_session_create(model, "ref", NULL, error);
    uint64_t shape[] = {count, LENGTHS};
    bool ok = session && bfrt_bind(session, "flower", BFRT_F32, 2, shape, flowers, error) &&
              bfrt_run(session, error) &&
              bfrt_fetch(session, "scores", BFRT_F32, scores, count * KINDS, error);
    bfrt_session_free(session);
    return ok;
}

static void print_kind(const float *scores) {
    int best = 0;
    for (int i = 1; i < KINDS; i++)
        if (scores[i] > scores[best])
            best = i;
    printf("%-11s (%.1f %.1f %.1f)\n", kinds[best], (double)scores[0], (double)scores[1],
           (double)scores[2]);
}

int main(int argc, char **argv) {
    size_t count = (size_t)(argc - 1) / LENGTHS;
    if (!count || (argc - 1) % LENGTHS) {
        fprintf(stderr, "usage: iris LENGTH LENGTH LENGTH LENGTH ..\n");
        return 1;
    }
    float *flowers = calloc(count, LENGTHS * sizeof *flowers);
    float *scores = calloc(count, KINDS * sizeof *scores);
    for (size_t i = 0; flowers && i < count * LENGTHS; i++)
        flowers[i] = strtof(argv[i + 1], NULL);

    struct bfrt_error error = {0};
    struct bfrt_model *model = bfrt_load("iris.bfx", &error);
    bool ok = flowers && scores && model && classify(model, count, flowers, scores, &error);
    for (size_t i = 0; ok && i < count; i++)
        print_kind(scores + i * KINDS);
    if (!ok)
        fprintf(stderr, "iris: %s\n", error.code ? error.text : "no memory");
    bfrt_model_free(model);
    free(flowers);
    free(scores);
    return ok ? 0 : 1;
}
