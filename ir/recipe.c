#include "ir/recipe.h"

#include "ir/isa/fp.h"

double bf_rotary_read(const struct bf_param_view *view, const int64_t *index) {
    const struct bf_rotary *rotary = view->param->rotary;
    int64_t h = view->param->type.dims[1], column = view->begin[1] + index[1];
    bool second = rotary->interleaved ? column % 2 : column >= h / 2;
    int64_t pair = rotary->interleaved ? column / 2 : column % (h / 2);
    double c, s, turn = bf_power(rotary->base, -2.0 * (double)pair / (double)h);
    bf_cos_sin((double)(view->begin[0] + index[0]) * turn, &c, &s);
    return second ? s : c;
}

/* The elements of a view, row-major, as fp16. */
static bool recipe_tensor(const struct bf_map *map, const struct bf_recipe *recipe,
                          const struct bf_weights *weights, uint16_t *out, struct bf_diags *diags) {
    const struct bf_param_view *view = &recipe->view;
    const struct bf_weight *tensor =
        view->param->rotary ? NULL : bf_weights_find(weights, view->param->name);
    int64_t index[BF_MAX_RANK] = {0}, elements = 1;
    for (unsigned a = 0; a < view->rank; a++)
        elements *= view->extent[a];
    if (elements > recipe->words * map->machine.lanes)
        return bf_diag_error(diags, view->param->loc,
                             "map: the recipe of '%s' has %lld words, too few for %lld elements",
                             view->param->name, (long long)recipe->words, (long long)elements);
    for (int64_t e = 0; e < elements; e++) {
        double value =
            view->param->rotary ? bf_rotary_read(view, index) : bf_view_read(tensor, view, index);
        out[e] = bf_half_from_double(value);
        for (unsigned a = view->rank; a-- > 0 && ++index[a] == view->extent[a];)
            index[a] = 0;
    }
    return true;
}

static const struct {
    const char *kind;
    bf_recipe_function *function;
} recipes[] = {
    {"tensor", recipe_tensor},
    {"butterfly", bf_recipe_butterfly},
    {"twiddle", bf_recipe_twiddle},
    {"dense", bf_recipe_dense},
    {"rows", bf_recipe_rows},
    {"attention", bf_recipe_attention},
    {"block_dense", bf_recipe_block_dense},
    {"block_butterfly", bf_recipe_block_butterfly},
};

double bf_view_read(const struct bf_weight *tensor, const struct bf_param_view *view,
                    const int64_t *index) {
    int64_t flat = 0;
    for (unsigned a = 0; a < view->rank; a++) {
        if (index[a] < 0 || index[a] >= view->extent[a])
            return 0;
        flat = flat * tensor->dims[a] + view->begin[a] + index[a];
    }
    return bf_weight_read(tensor, flat);
}

double bf_power_of_two(int exponent) {
    double result = 1, factor = exponent < 0 ? 0.5 : 2;
    for (int i = exponent < 0 ? -exponent : exponent; i > 0; i--)
        result *= factor;
    return result;
}

bool bf_recipe_evaluate(const struct bf_map *map, const struct bf_recipe *recipe,
                        const struct bf_weights *weights, uint16_t *out, struct bf_diags *diags) {
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        if (!strcmp(recipes[i].kind, recipe->kind))
            return recipes[i].function(map, recipe, weights, out, diags);
    return bf_diag_error(diags, (struct bf_loc){0}, "unknown weight recipe '%s'", recipe->kind);
}
