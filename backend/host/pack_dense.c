/* pack_dense.c - see pack_dense.h. */
#include "backend/host/pack_dense.h"

#include "ir/recipe.h"

struct bf_panels bf_panels(int64_t inputs, int64_t outputs, int64_t vectors, int64_t lanes) {
    int64_t wide = vectors * lanes;
    int64_t rest = outputs % wide;
    return (struct bf_panels){inputs, outputs, wide, outputs / wide,
                              (int64_t)bf_round_up((uint64_t)rest, (uint64_t)lanes)};
}

int64_t bf_panels_size(const struct bf_panels *panels) {
    return (panels->inputs + 1) * (panels->full * panels->wide + panels->narrow);
}

int64_t bf_panel_offset(const struct bf_panels *panels, int64_t panel) {
    return (panels->inputs + 1) * panel * panels->wide;
}

/* A view whose tensor is looked up once. */
struct tensor {
    const struct bf_weight *weight;
    int64_t start, stride[BF_MAX_RANK];
    double scale;
};

static struct tensor tensor_of(const struct bf_host_pack *pack, const char *role,
                               const struct bf_weights *values, int exponent) {
    const struct bf_kernel_param *param = bf_kernel_find_param(pack->kernel, role);
    struct tensor t = {0};
    if (!param)
        return t;
    const struct bf_param_view *view = &param->view;
    t.weight = bf_weights_find(values, view->param->name);
    t.scale = bf_power_of_two(exponent);
    int64_t stride = 1;
    for (unsigned a = view->rank; a-- > 0;) {
        t.stride[a] = stride;
        t.start += view->begin[a] * stride;
        stride *= view->param->type.dims[a];
    }
    return t;
}

/* Stored results are true ones / 2^exponent of their buffer: weights and bias carry the factor. */
static struct tensor weight_of(const struct bf_host_pack *pack, const struct bf_weights *values) {
    const struct bf_poly_kernel *kernel = pack->kernel;
    return tensor_of(pack, "weight", values,
                     kernel->inputs.data[0].buffer->exponent -
                         kernel->outputs.data[0].buffer->exponent);
}
static struct tensor bias_of(const struct bf_host_pack *pack, const struct bf_weights *values) {
    return tensor_of(pack, "bias", values, -pack->kernel->outputs.data[0].buffer->exponent);
}

static float element(const struct tensor *t, int64_t at) {
    return (float)(bf_weight_read(t->weight, t->start + at) * t->scale);
}

static void fill_panel(float *out, const struct tensor *weight, const struct tensor *bias,
                       int64_t inputs, int64_t first, int64_t count, int64_t wide) {
    for (int64_t o = 0; bias->weight && o < count; o++)
        out[o] = element(bias, (first + o) * bias->stride[0]);
    for (int64_t o = 0; o < count; o++)
        for (int64_t k = 0; k < inputs; k++)
            out[(k + 1) * wide + o] =
                element(weight, (first + o) * weight->stride[0] + k * weight->stride[1]);
}

void bf_pack_dense(const struct bf_host_pack *pack, const struct bf_weights *values, void *out) {
    const struct bf_param_view *view = &bf_kernel_find_param(pack->kernel, "weight")->view;
    struct tensor weight = weight_of(pack, values), bias = bias_of(pack, values);
    struct bf_panels panels =
        bf_panels(view->extent[1], view->extent[0], bf_ints_get(&pack->choice->params, "vectors"),
                  bf_ints_get(&pack->choice->params, "lanes"));
    for (int64_t p = 0; p * panels.wide < panels.outputs; p++) {
        int64_t first = p * panels.wide;
        bool full = p < panels.full;
        fill_panel((float *)out + bf_panel_offset(&panels, p), &weight, &bias, panels.inputs, first,
                   full ? panels.wide : panels.outputs - first, full ? panels.wide : panels.narrow);
    }
}

int64_t bf_block_group_stride(const struct bf_block_groups *groups) {
    return (groups->inputs + 1) * groups->group * groups->lanes;
}
int64_t bf_block_groups_stride(const struct bf_block_groups *groups) {
    return (groups->inputs + 1) * groups->outputs * groups->lanes;
}
int64_t bf_block_groups_size(const struct bf_block_groups *groups) {
    uint64_t vectors = bf_divide_up((uint64_t)groups->blocks, (uint64_t)groups->lanes);
    return (int64_t)vectors * bf_block_groups_stride(groups);
}

void bf_pack_block_dense(const struct bf_host_pack *pack, const struct bf_weights *values,
                         void *out) {
    const struct bf_param_view *view = &bf_kernel_find_param(pack->kernel, "weight")->view;
    struct tensor weight = weight_of(pack, values), bias = bias_of(pack, values);
    struct bf_block_groups g = {view->extent[0], view->extent[1], view->extent[2],
                                bf_ints_get(&pack->choice->params, "lanes"),
                                bf_ints_get(&pack->choice->params, "group")};
    for (int64_t b = 0; b < g.blocks; b++)
        for (int64_t o = 0; o < g.outputs; o++) {
            int64_t first = o / g.group * g.group, rest = g.outputs - first;
            int64_t size = rest < g.group ? rest : g.group; /* of this group */
            float *to = (float *)out + b / g.lanes * bf_block_groups_stride(&g) +
                        o / g.group * bf_block_group_stride(&g) + (o - first) * g.lanes +
                        b % g.lanes;
            if (bias.weight)
                *to = element(&bias, (o * g.blocks + b) * bias.stride[0]);
            for (int64_t k = 0; k < g.inputs; k++)
                to[(k + 1) * size * g.lanes] = element(
                    &weight, b * weight.stride[0] + o * weight.stride[1] + k * weight.stride[2]);
        }
}
