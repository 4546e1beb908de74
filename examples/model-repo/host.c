/* host.c - iris.o, the network as code for this computer: nothing else is needed. It takes
 * IRIS_BATCH flowers at a time; the last batch is filled up with zeros. */
#include "flowers.h"

#include <stdalign.h>
#include <stdio.h>
#include <string.h>

#include "iris.h"

bool classify(size_t count, const float *flowers, float *scores) {
    static alignas(IRIS_WORKSPACE_ALIGN) char workspace[IRIS_WORKSPACE_SIZE];
    for (size_t i = 0; i < count; i += IRIS_BATCH) {
        float in[IRIS_BATCH * LENGTHS] = {0}, out[IRIS_BATCH * KINDS];
        size_t now = count - i < IRIS_BATCH ? count - i : IRIS_BATCH;
        memcpy(in, flowers + i * LENGTHS, now * LENGTHS * sizeof *in);
        int error = iris_run(&(struct iris_in){in}, &(struct iris_out){out}, workspace);
        if (error) {
            fprintf(stderr, "iris: iris_run says %d\n", error);
            return false;
        }
        memcpy(scores + i * KINDS, out, now * KINDS * sizeof *out);
    }
    return true;
}
