/* main.c - names the kind of each flower on the command line:
 *
 *     iris-array 5.1 3.5 1.4 0.2  6.7 3.1 4.7 1.5 ..
 *
 * Four lengths a flower in cm: of the sepal, its width, of the petal, its width. */
#include <stdio.h>
#include <stdlib.h>

#include "flowers.h"

static void print_kind(const float *scores) {
    static const char *const kinds[] = {"setosa", "versicolor", "virginica"};
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
        fprintf(stderr, "usage: %s LENGTH LENGTH LENGTH LENGTH ..\n", argv[0]);
        return 1;
    }
    float *flowers = calloc(count, LENGTHS * sizeof *flowers);
    float *scores = calloc(count, KINDS * sizeof *scores);
    for (size_t i = 0; flowers && i < count * LENGTHS; i++)
        flowers[i] = strtof(argv[i + 1], NULL);
    bool ok = flowers && scores && classify(count, flowers, scores);
    for (size_t i = 0; ok && i < count; i++)
        print_kind(scores + i * KINDS);
    free(flowers);
    free(scores);
    return ok ? 0 : 1;
}
