/* array.c - iris.bfx on a simulated array, by libbfrt. "ref" is the functional device; with "sim"
 * the same program runs cycle by cycle. */
#include "flowers.h"

#include <bfrt.h>

bool classify(size_t count, const float *flowers, float *scores) {
    struct bfrt_error error = {0};
    struct bfrt_model *model = bfrt_load("iris.bfx", &error);
    struct bfrt_session *session = model ? bfrt_session_create(model, "ref", NULL, &error) : NULL;
    uint64_t shape[] = {count, LENGTHS};
    bool ok = session && bfrt_bind(session, "flower", BFRT_F32, 2, shape, flowers, &error) &&
              bfrt_run(session, &error) &&
              bfrt_fetch(session, "scores", BFRT_F32, scores, count * KINDS, &error);
    if (!ok)
        fprintf(stderr, "iris: %s\n", error.text);
    bfrt_session_free(session);
    bfrt_model_free(model);
    return ok;
}
