/* recipe_rows.c - weight words of row kernels: for each chunk of the axis a set of
 *
 *     constants in lanes | parameters: chunk elements, then zeros | constants, each in all lanes
 *
 * Parameters come one after the other, each from a new word on, or ("interleave" n > 1) element by
 * element, n lanes apart. One that is a single number is its first element alone.
 */
#include "ir/recipe.h"

#include "ir/isa/fp.h"

static uint16_t constant(const struct bf_plan *plan, const char *name, int64_t index) {
    char text[24];
    snprintf(text, sizeof text, "%s%d", name, (int)index);
    return (uint16_t)bf_plan_int(plan, text);
}

static void pack_vector(const struct bf_kernel_param *param, const struct bf_weights *weights,
                        int64_t first, int64_t chunk, int64_t stride, uint16_t *out) {
    const struct bf_weight *tensor = bf_weights_find(weights, param->view.param->name);
    int64_t index[BF_MAX_RANK] = {0};
    unsigned axis = param->view.rank - 1;
    for (int64_t i = 0; i < chunk && first + i < param->view.extent[axis]; i++) {
        index[axis] = first + i;
        out[i * stride] = bf_half_from_double(bf_view_read(tensor, &param->view, index));
    }
}

bool bf_recipe_rows(const struct bf_map *map, const struct bf_recipe *recipe,
                    const struct bf_weights *weights, uint16_t *out, struct bf_diags *diags) {
    (void)diags;
    const struct bf_plan *plan = map->plans.data[recipe->plan];
    int64_t v = map->machine.lanes, chunk = bf_plan_int(plan, "chunk");
    int64_t lanes = bf_plan_int(plan, "lanes"), words = bf_plan_int(plan, "words");
    int64_t stride = bf_plan_int(plan, "interleave"), lane_words = (lanes + v - 1) / v;
    int64_t vector = (chunk + v - 1) / v * v; /* lanes from one parameter to the next */
    if (stride > 1)
        vector = 1;
    for (int64_t set = 0; set < recipe->sets; set++, out += recipe->words * v) {
        for (int64_t i = 0; i < lanes; i++)
            out[i] = constant(plan, "lane", i);
        uint16_t *to = out + lane_words * v;
        for (size_t p = 0; p < plan->kernel->params.count; p++) {
            const struct bf_kernel_param *param = &plan->kernel->params.data[p];
            bool single = param->view.extent[param->view.rank - 1] == 1;
            pack_vector(param, weights, single ? 0 : set * chunk, single ? 1 : chunk, stride,
                        to + (int64_t)p * vector);
        }
        to += stride > 1 ? (chunk * stride + v - 1) / v * v
                         : (int64_t)plan->kernel->params.count * vector;
        for (int64_t i = 0; i < words * v; i++)
            to[i] = constant(plan, "word", i / v);
    }
    return true;
}
