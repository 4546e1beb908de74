/* matrix.c - matrices of linear kernels. See matrix.h. */
#include "backend/host/matrix.h"

#include <stdlib.h>

#include "ir/recipe.h"

bool bf_host_matrix(const struct bf_host_site *site, struct bf_host_matrix *matrix) {
    const struct bf_poly_kernel *first = site->kernels[0], *last = first;
    *matrix = (struct bf_host_matrix){.kernels = 1, .in_planes = 1, .out_planes = 1};
    if (first->kind == BF_KERNEL_FFT) {
        if (bf_ints_find(&first->attrs, "chirp", 0)) {
            if (bf_ints_get(&first->attrs, "chirp_part") != 1 || site->count < 2)
                return false;
            matrix->kernels = 2;
            last = site->kernels[1];
        }
        matrix->in_planes = (int)first->inputs.count;
        matrix->out_planes = (int)last->outputs.count;
    }
    matrix->along_rows = first->lanes == BF_LANES_ROWS;
    const struct bf_operand *x = &first->inputs.data[0], *y = &last->outputs.data[0];
    matrix->in = matrix->along_rows ? x->cols : x->rows;
    matrix->out = matrix->along_rows ? y->cols : y->rows;
    return true;
}

/* A matrix to be filled: element [k][o], packed with `padded` floats a row. */
struct filler {
    const struct bf_host_pack *pack;
    const struct bf_weights *values;
    const struct bf_poly_kernel *kernel;
    const struct bf_param_view *view; /* of the weights */
    int64_t in, out, padded;
    double scale;
    float *to;
};

static void set(struct filler *f, int64_t k, int64_t o, double value) {
    f->to[k * f->padded + o] = (float)(value * f->scale);
}

/* A DFT of n points: e^(-+ 2 pi i k o / n); plane 0 real, 1 imaginary. */
static void fill_fft(struct filler *f) {
    const struct bf_ints *attrs = &f->kernel->attrs;
    int64_t n = bf_ints_find(attrs, "chirp", bf_ints_get(attrs, "n"));
    bool inverse = bf_ints_find(attrs, "chirp_inverse", bf_ints_get(attrs, "inverse"));
    int planes = (int)f->kernel->inputs.count;
    int to = f->pack->index / planes, from = f->pack->index % planes;
    for (int64_t k = 0; k < f->in; k++)
        for (int64_t o = 0; o < f->out; o++) {
            double c, s;
            bf_root_of_unity(k * o % n, n, &c, &s);
            s = inverse ? s : -s;
            set(f, k, o, to == from ? c : to ? s : -s);
        }
}

/* x becomes the butterfly of x; twiddle is [blocks][m][n/2][2][2]. */
static void unit_butterfly(const double *twiddle, int64_t n, int m, int blocks, bool increasing,
                           double *x) {
    for (int i = 0; i < m * blocks; i++) {
        int block = i / m, stage = i % m;
        int bit = increasing == (block % 2 == 0) ? stage : m - 1 - stage;
        int64_t stride = INT64_C(1) << bit;
        const double *w = twiddle + (int64_t)i * n * 2;
        for (int64_t p = 0; p < n / 2; p++) {
            int64_t low = p / stride * 2 * stride + p % stride, high = low + stride;
            double a = x[low], b = x[high];
            x[low] = w[4 * p] * a + w[4 * p + 1] * b;
            x[high] = w[4 * p + 2] * a + w[4 * p + 3] * b;
        }
    }
}

static double *read_all(struct filler *f) {
    int64_t elements = 1;
    for (unsigned a = 0; a < f->view->rank; a++)
        elements *= f->view->extent[a];
    double *all = bf_alloc((size_t)elements * sizeof *all);
    for (int64_t i = 0; i < elements; i++)
        all[i] = bf_host_read(f->values, f->view, i);
    return all;
}

static void fill_butterfly(struct filler *f) {
    const struct bf_ints *attrs = &f->kernel->attrs;
    int64_t n = bf_ints_get(attrs, "n"), stacks = bf_ints_get(attrs, "stacks");
    int blocks = (int)bf_ints_get(attrs, "blocks"), m = (int)f->view->extent[2];
    double *twiddle = read_all(f), *x = bf_alloc((size_t)n * sizeof *x);
    for (int64_t k = 0; k < f->in; k++)
        for (int64_t j = 0; j < stacks; j++) {
            memset(x, 0, (size_t)n * sizeof *x);
            x[k] = 1;
            unit_butterfly(twiddle + j * blocks * m * n * 2, n, m, blocks,
                           bf_ints_get(attrs, "increasing"), x);
            for (int64_t o = j * n; o < f->out && o < (j + 1) * n; o++)
                set(f, k, o, x[o - j * n]);
        }
    free(twiddle);
    free(x);
}

static void fill_block_butterfly(struct filler *f) {
    const struct bf_ints *attrs = &f->kernel->attrs;
    int64_t tile = bf_ints_get(attrs, "tile"), cols = f->view->extent[1];
    int m = (int)f->view->extent[3];
    double *twiddle = read_all(f), *x = bf_alloc((size_t)tile * sizeof *x);
    for (int64_t k = 0; k < f->in; k++)
        for (int64_t o = 0; o < f->out; o += tile) {
            memset(x, 0, (size_t)tile * sizeof *x);
            x[k % tile] = 1;
            int64_t block = o / tile * cols + k / tile;
            unit_butterfly(twiddle + block * m * tile * 2, tile, m, 1,
                           bf_ints_get(attrs, "increasing"), x);
            for (int64_t i = 0; i < tile; i++)
                set(f, k, o + i, x[i]);
        }
    free(twiddle);
    free(x);
}

static void fill(const struct bf_host_pack *pack, const struct bf_weights *values, void *out) {
    const struct bf_poly_kernel *kernel = pack->kernel;
    const struct bf_ints *params = &pack->choice->params;
    struct filler f = {
        .pack = pack,
        .values = values,
        .kernel = kernel,
        .view = kernel->params.count ? &kernel->params.data[0].view : NULL,
        .in = bf_ints_get(params, "in"),
        .out = bf_ints_get(params, "out"),
        .padded = bf_ints_get(params, "padded"),
        .scale = bf_power_of_two((int)bf_ints_get(params, "exponent")),
        .to = out,
    };
    switch (kernel->kind) {
    case BF_KERNEL_BUTTERFLY:
        fill_butterfly(&f);
        break;
    case BF_KERNEL_BLOCK_BUTTERFLY:
        fill_block_butterfly(&f);
        break;
    default:
        fill_fft(&f);
    }
}

static void fill_bias(const struct bf_host_pack *pack, const struct bf_weights *values, void *out) {
    const struct bf_param_view *view = &bf_kernel_find_param(pack->kernel, "bias")->view;
    float *to = out;
    for (int64_t i = 0; i < bf_ints_get(&pack->choice->params, "out"); i++)
        to[i] = (float)bf_host_read(values, view, i);
}

void bf_host_matrix_packs(const struct bf_host_site *site, struct bf_host_choice *choice) {
    const struct bf_poly_kernel *first = site->kernels[0];
    const struct bf_poly_kernel *last = site->kernels[choice->kernels - 1];
    struct bf_ints *params = &choice->params;
    int64_t padded = bf_ints_get(params, "padded");
    int64_t count = bf_ints_get(params, "in_planes") * bf_ints_get(params, "out_planes");
    bf_ints_set(params, site->arena, "exponent",
                first->inputs.data[0].buffer->exponent - last->outputs.data[0].buffer->exponent);
    for (int64_t i = 0; i < count; i++)
        *bf_push(&choice->packs) = (struct bf_host_pack){
            .size = bf_ints_get(params, "in") * padded * 4, .fill = fill, .index = (int)i};
    if (bf_kernel_find_param(last, "bias"))
        *bf_push(&choice->packs) = (struct bf_host_pack){.size = padded * 4, .fill = fill_bias};
}
