/* recipe_attention.c - the constants of passes/array/attention.c, a word each, equal in all lanes:
 *
 *   word 0, 1   | h, e | with h (1 + e) = log2(e) / sqrt(columns of a head)
 *   word 2      | 2^15: its square is the distance between hidden and visible scores |
 *   word 3..    | which queries (lanes) see a key: word 3 + n is for first query - key = n - keys +
 * 1 |
 *
 * The last part is there for causal and windowed attention only.
 */
#include <math.h>
#include <stdlib.h>

#include "ir/isa/fp.h"
#include "ir/recipe.h"

static const double log2_e = 1.44269504088896340736;

static uint16_t *fill(uint16_t *out, int64_t lanes, double value) {
    for (int64_t l = 0; l < lanes; l++)
        out[l] = bf_half_from_double(value);
    return out + lanes;
}

/* As the operator defines it: query - key. */
static bool sees(bool causal, int64_t window, int64_t distance) {
    if (causal)
        return distance >= 0 && (window <= 0 || distance < window);
    return window <= 0 || llabs(distance) <= window;
}

bool bf_recipe_attention(const struct bf_map *map, const struct bf_recipe *recipe,
                         const struct bf_weights *weights, uint16_t *out, struct bf_diags *diags) {
    (void)weights, (void)diags;
    const struct bf_plan *plan = map->plans.data[recipe->plan];
    const struct bf_ints *attrs = &plan->kernel->attrs;
    int64_t lanes = map->machine.lanes;
    int64_t last_key = bf_plan_int(plan, "first_key") + bf_plan_int(plan, "keys") - 1;
    bool causal = bf_ints_get(attrs, "causal");
    int64_t window = bf_ints_get(attrs, "window");
    /* sqrt is rounded correctly everywhere, so these bytes are the same everywhere. */
    double scale = log2_e / sqrt((double)bf_plan_int(plan, "columns"));
    double high = bf_half_to_double(bf_half_from_double(scale));
    out = fill(out, lanes, high);
    double epsilon = bf_half_to_double(bf_half_from_double(scale / high - 1));
    out = fill(out, lanes, epsilon);
    out = fill(out, lanes, 32768);
    out = fill(out, lanes, 1 - 1 / (1 + epsilon));
    out = fill(out, lanes, 0.0625);
    out = fill(out, lanes, 1.0 / 8388608);
    out = fill(out, lanes, 126.5);
    for (int64_t n = 0; n + 7 < recipe->words; n++)
        for (int64_t l = 0; l < lanes; l++)
            *out++ = sees(causal, window, n - last_key + l) ? BF_HALF_ONE : BF_HALF_ZERO;
    return true;
}
