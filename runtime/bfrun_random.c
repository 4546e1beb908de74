/* bfrun_random.c - `-random-inputs SEED`: something to run a network on before there is data. */
#include <stdlib.h>

#include "runtime/bfrun_options.h"

/* About normal: the sum of twelve uniform numbers less six. */
static float draw(uint64_t *seed) {
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += (double)(bf_random(seed) >> 11) / 9007199254740992.0;
    return (float)sum;
}

static bool bind_one(struct bfrt_session *session, const struct bfrt_tensor *tensor,
                     uint64_t samples, uint64_t *seed, struct bfrt_error *error) {
    uint64_t dims[BFRT_MAX_RANK + 1], count = samples;
    unsigned rank = 0;
    if (samples > 1)
        dims[rank++] = samples;
    for (unsigned a = 0; a < tensor->rank; a++) {
        dims[rank++] = tensor->dims[a];
        count *= tensor->dims[a];
    }
    if (tensor->type == BFRT_I32 || tensor->type == BFRT_U8) { /* small ids; nothing is masked */
        int32_t *values = bf_alloc(count * sizeof *values);
        for (uint64_t i = 0; i < count; i++)
            values[i] = tensor->type == BFRT_U8 ? 1 : (int32_t)(bf_random(seed) & 1);
        bool ok = bfrt_bind(session, tensor->name, BFRT_I32, rank, dims, values, error);
        free(values);
        return ok;
    }
    float *values = bf_alloc(count * sizeof *values);
    for (uint64_t i = 0; i < count; i++)
        values[i] = draw(seed);
    bool ok = bfrt_bind(session, tensor->name, BFRT_F32, rank, dims, values, error);
    free(values);
    return ok;
}

bool bf_bind_random(struct bfrt_session *session, const struct bfrt_model *model, uint64_t seed,
                    struct bfrt_error *error) {
    for (size_t i = 0; i < bfrt_input_count(model); i++)
        if (!bind_one(session, bfrt_input(model, i), bfrt_info(model)->batch, &seed, error))
            return false;
    return true;
}
