/* net_eval.c - a network computed in double, one sample at a time: short, slow, obvious. Nothing is
 * rounded, so that its results are what devices are compared with, layer by layer. See net.h.
 *
 * Types matter only for shapes here: exponents and accumulators say how a value is stored, not what
 * it is.
 */
#include <math.h>
#include <stdlib.h>

#include "ir/weights.h"

struct eval {
    const struct bf_net *net;
    const struct bf_weights *weights;
    const double *const *inputs;
    double **values; /* of operators, by index; freed after the last reader */
    struct bf_error *error;
};

static double *new_elements(int64_t count) {
    return bf_alloc((size_t)count * sizeof(double));
}

static const double *elements(const struct eval *e, const struct bf_value *value) {
    return value->op ? e->values[value->index] : e->inputs[value->index];
}

static const double *arg(const struct eval *e, const struct bf_op *op, const char *name) {
    const struct bf_value *value = bf_op_arg(op, name);
    return value ? elements(e, value) : NULL;
}

static int64_t width(const struct bf_type *type) {
    return type->rank ? type->dims[type->rank - 1] : 1;
}

static int64_t rows(const struct bf_type *type) {
    return bf_type_elements(type) / width(type);
}

/* ---- parameters ---- */

static double *read_param(const struct eval *e, const struct bf_param *param) {
    const struct bf_weight *weight = e->weights ? bf_weights_find(e->weights, param->name) : NULL;
    if (!weight || bf_weight_elements(weight) != bf_type_elements(&param->type)) {
        bf_fail(e->error, BF_ERROR_INPUT, "there are no weights for '%s'", param->name);
        return NULL;
    }
    int64_t count = bf_type_elements(&param->type);
    double *data = new_elements(count);
    for (int64_t i = 0; i < count; i++)
        data[i] = bf_weight_read(weight, i);
    return data;
}

/* The tensor an operator uses as `name`: its own parameter, the operand of that name, or `count`
 * times `absent` if it has neither. The caller frees it; NULL after an error. */
static double *tensor(const struct eval *e, const struct bf_op *op, const char *name, int64_t count,
                      double absent) {
    const struct bf_param *param = bf_op_param(op, name);
    if (param)
        return read_param(e, param);
    const double *given = arg(e, op, name);
    double *data = new_elements(count);
    for (int64_t i = 0; i < count; i++)
        data[i] = given ? given[i] : absent;
    return data;
}

/* ---- sources ---- */

static bool eval_param(const struct eval *e, const struct bf_op *op, double *out) {
    double *data = read_param(e, op->params[0]);
    if (data)
        memcpy(out, data, (size_t)bf_type_elements(&op->result.type) * sizeof *out);
    free(data);
    return data;
}

static bool eval_constant(const struct eval *e, const struct bf_op *op, double *out) {
    (void)e;
    for (int64_t i = bf_type_elements(&op->result.type); i-- > 0;)
        out[i] = bf_op_float(op, "value");
    return true;
}

/* ---- linear maps ---- */

/* y = M x for one row, and the bias of all rows. */
typedef void row_map(const struct bf_op *op, const double *const *tensors, const double *x,
                     double *y);

/* Runs `map` over all rows; the tensors are those of `names` (absent ones may not occur). */
static bool map_rows(const struct eval *e, const struct bf_op *op, const char *const *names,
                     row_map *map, double *out) {
    const struct bf_type *type = &op->result.type;
    int64_t in = bf_op_int(op, "in"), wide = width(type);
    double *tensors[2] = {0};
    double *bias = tensor(e, op, "bias", wide, 0);
    bool ok = bias;
    for (unsigned i = 0; ok && i < 2 && names[i]; i++) {
        const struct bf_value *given = bf_op_arg(op, names[i]);
        tensors[i] = tensor(e, op, names[i], given ? bf_type_elements(&given->type) : 0, 0);
        ok = tensors[i];
    }
    const double *x = elements(e, op->args[0]);
    for (int64_t r = 0; ok && r < rows(type); r++) {
        map(op, (const double *const *)tensors, x + r * in, out + r * wide);
        for (int64_t i = 0; i < wide; i++)
            out[r * wide + i] += bias[i];
    }
    free(tensors[0]);
    free(tensors[1]);
    free(bias);
    return ok;
}

static void row_linear(const struct bf_op *op, const double *const *tensors, const double *x,
                       double *y) {
    int64_t in = bf_op_int(op, "in"), out = bf_op_int(op, "out");
    for (int64_t o = 0; o < out; o++) {
        y[o] = 0;
        for (int64_t i = 0; i < in; i++)
            y[o] += tensors[0][o * in + i] * x[i];
    }
}

/* The m stages of one butterfly on v[n]; w is [m, n/2, 2, 2] in order of application. */
static void butterfly(double *v, const double *w, int64_t m, bool increasing) {
    int64_t n = INT64_C(1) << m;
    for (int64_t s = 0; s < m; s++) {
        int64_t stride = INT64_C(1) << (increasing ? s : m - 1 - s);
        for (int64_t q = 0; q < n / 2; q++, w += 4) {
            int64_t i = q / stride * 2 * stride + q % stride, j = i + stride;
            double a = v[i], b = v[j];
            v[i] = w[0] * a + w[1] * b;
            v[j] = w[2] * a + w[3] * b;
        }
    }
}

static void row_butterfly(const struct bf_op *op, const double *const *tensors, const double *x,
                          double *y) {
    int64_t in = bf_op_int(op, "in"), out = bf_op_int(op, "out"), n = bf_op_int(op, "n");
    int64_t m = bf_op_int(op, "m"), blocks = bf_op_int(op, "nblocks");
    const double *w = tensors[0];
    double *v = new_elements(n);
    for (int64_t stack = 0; stack * n < out; stack++) {
        for (int64_t i = 0; i < n; i++)
            v[i] = i < in ? x[i] : 0;
        for (int64_t block = 0; block < blocks; block++, w += m * n * 2)
            butterfly(v, w, m, bf_op_bool(op, "increasing") != (block % 2 == 1));
        for (int64_t i = 0; i < n && stack * n + i < out; i++)
            y[stack * n + i] = v[i];
    }
    free(v);
}

static void row_block_butterfly(const struct bf_op *op, const double *const *tensors,
                                const double *x, double *y) {
    int64_t tile = bf_op_int(op, "tile"), m = bf_op_int(op, "m");
    int64_t out_tiles = bf_op_int(op, "rows"), in_tiles = bf_op_int(op, "cols");
    double *v = new_elements(tile);
    for (int64_t o = 0; o < out_tiles; o++) {
        for (int64_t i = 0; i < tile; i++)
            y[o * tile + i] = 0;
        for (int64_t c = 0; c < in_tiles; c++) {
            memcpy(v, x + c * tile, (size_t)tile * sizeof *v);
            butterfly(v, tensors[0] + (o * in_tiles + c) * m * tile * 2, m,
                      bf_op_bool(op, "increasing"));
            for (int64_t i = 0; i < tile; i++)
                y[o * tile + i] += v[i];
        }
    }
    free(v);
}

static void row_monarch(const struct bf_op *op, const double *const *tensors, const double *x,
                        double *y) {
    int64_t r = bf_op_int(op, "r");
    double *mid = new_elements(r * r); /* mid[b, j] */
    for (int64_t b = 0; b < r; b++)
        for (int64_t j = 0; j < r; j++)
            for (int64_t i = 0; i < r; i++)
                mid[b * r + j] += tensors[0][(b * r + j) * r + i] * x[b * r + i];
    for (int64_t k = 0; k < r; k++)
        for (int64_t j = 0; j < r; j++) {
            y[k * r + j] = 0;
            for (int64_t b = 0; b < r; b++)
                y[k * r + j] += tensors[1][(j * r + k) * r + b] * mid[b * r + j];
        }
    free(mid);
}

static bool eval_linear(const struct eval *e, const struct bf_op *op, double *out) {
    return map_rows(e, op, (const char *const[]){"weight", NULL}, row_linear, out);
}
static bool eval_butterfly(const struct eval *e, const struct bf_op *op, double *out) {
    return map_rows(e, op, (const char *const[]){"twiddle", NULL}, row_butterfly, out);
}
static bool eval_block_butterfly(const struct eval *e, const struct bf_op *op, double *out) {
    return map_rows(e, op, (const char *const[]){"twiddle", NULL}, row_block_butterfly, out);
}
static bool eval_monarch(const struct eval *e, const struct bf_op *op, double *out) {
    return map_rows(e, op, (const char *const[]){"blkdiag1", "blkdiag2"}, row_monarch, out);
}

/* ---- Fourier ---- */

struct complex {
    double re, im;
};

/* out[k] = sum_j in[j * stride] exp(sign 2 pi i j k / n), by the smallest factor of n. `roots`
 * holds exp(sign 2 pi i j / total) and n divides total. */
static void dft(const struct complex *in, int64_t stride, struct complex *out, int64_t n,
                const struct complex *roots, int64_t total) {
    int64_t r = 2;
    if (n == 1) {
        out[0] = in[0];
        return;
    }
    while (n % r)
        r++;
    int64_t m = n / r;
    struct complex *parts = bf_alloc((size_t)n * sizeof *parts);
    for (int64_t j = 0; j < r; j++)
        dft(in + j * stride, stride * r, parts + j * m, m, roots, total);
    for (int64_t k = 0; k < n; k++) {
        out[k] = (struct complex){0, 0};
        for (int64_t j = 0; j < r; j++) {
            struct complex w = roots[j * k % n * (total / n)], p = parts[j * m + k % m];
            out[k].re += w.re * p.re - w.im * p.im;
            out[k].im += w.re * p.im + w.im * p.re;
        }
    }
    free(parts);
}

static void transform(struct complex *v, int64_t n, bool inverse) {
    struct complex *roots = bf_alloc((size_t)n * sizeof *roots);
    struct complex *result = bf_alloc((size_t)n * sizeof *result);
    for (int64_t j = 0; j < n; j++) {
        double angle = 2 * 3.14159265358979323846 * (double)j / (double)n;
        roots[j] = (struct complex){cos(angle), inverse ? sin(angle) : -sin(angle)};
    }
    dft(v, 1, result, n, roots, n);
    memcpy(v, result, (size_t)n * sizeof *v);
    free(roots);
    free(result);
}

/* Transforms re and im (of shape `dims`) along an axis, in place. */
static void transform_axis(double *re, double *im, const int64_t *dims, unsigned rank,
                           unsigned axis, bool inverse) {
    int64_t n = dims[axis], inner = 1, outer = 1;
    for (unsigned i = 0; i < rank; i++)
        *(i < axis ? &outer : &inner) *= i == axis ? 1 : dims[i];
    struct complex *v = bf_alloc((size_t)n * sizeof *v);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            int64_t base = o * n * inner + i;
            for (int64_t j = 0; j < n; j++)
                v[j] = (struct complex){re[base + j * inner], im[base + j * inner]};
            transform(v, n, inverse);
            for (int64_t j = 0; j < n; j++) {
                re[base + j * inner] = v[j].re;
                im[base + j * inner] = v[j].im;
            }
        }
    free(v);
}

static bool eval_fourier(const struct eval *e, const struct bf_op *op, double *out) {
    const struct bf_type *type = &op->result.type;
    const struct bf_attr *axes = bf_op_attr(op, "axes");
    int64_t count = bf_type_elements(type);
    double *im = new_elements(count);
    memcpy(out, elements(e, op->args[0]), (size_t)count * sizeof *out);
    for (unsigned i = 0; i < axes->ints.count; i++)
        transform_axis(out, im, type->dims, type->rank, (unsigned)axes->ints.v[i], false);
    free(im);
    return true;
}

static bool eval_fft(const struct eval *e, const struct bf_op *op, double *out) {
    const struct bf_type *type = &op->result.type;
    int64_t count = bf_type_elements(type);
    memcpy(out, elements(e, op->args[0]), (size_t)count * sizeof *out);
    transform_axis(out, out + count / 2, type->dims + 1, type->rank - 1,
                   (unsigned)bf_op_int(op, "axis") - 1, bf_op_bool(op, "inverse"));
    return true;
}

static bool eval_fft_compress(const struct eval *e, const struct bf_op *op, double *out) {
    const double *x = elements(e, op->args[0]);
    const struct bf_type *type = &op->args[0]->type;
    int64_t chunk = bf_op_int(op, "chunk"), keep = bf_op_int(op, "keep"), hidden = width(type);
    bool lowpass = !strcmp(bf_op_word(op, "mode"), "lowpass");
    struct complex *v = bf_alloc((size_t)chunk * sizeof *v);
    for (int64_t c = 0; c < type->dims[0] / chunk; c++)
        for (int64_t h = 0; h < hidden; h++) {
            for (int64_t t = 0; t < chunk; t++)
                v[t] = (struct complex){x[(c * chunk + t) * hidden + h], 0};
            transform(v, chunk, false);
            if (lowpass) { /* bins -keep/2 < f < keep/2, and the real part of bin keep/2 */
                memmove(v + keep / 2 + 1, v + chunk - keep / 2 + 1,
                        (size_t)(keep / 2 - 1) * sizeof *v);
                v[keep / 2].im = 0;
            }
            transform(v, keep, true);
            for (int64_t t = 0; t < keep; t++)
                out[(c * keep + t) * hidden + h] = v[t].re / (double)chunk;
        }
    free(v);
    return true;
}

/* ---- attention ---- */

/* In place on n scores with stride; -INFINITY marks hidden ones, and all hidden give zeros. */
static void softmax(double *v, int64_t n, int64_t stride) {
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        max = fmax(max, v[i * stride]);
    for (int64_t i = 0; i < n; i++) {
        v[i * stride] = max == -INFINITY ? 0 : exp(v[i * stride] - max);
        sum += v[i * stride];
    }
    for (int64_t i = 0; sum > 0 && i < n; i++)
        v[i * stride] /= sum;
}

static bool hidden_key(const struct bf_op *op, const double *mask, int64_t head, int64_t i,
                       int64_t j) {
    const struct bf_value *value = bf_op_arg(op, "mask");
    int64_t window = bf_op_int(op, "window"), distance = i - j;
    if (bf_op_bool(op, "causal") && (distance < 0 || (window && distance >= window)))
        return true;
    if (window && llabs(distance) > window)
        return true;
    if (!mask)
        return false;
    int64_t keys = width(&value->type), queries = op->args[0]->type.dims[0];
    int64_t row = value->type.rank == 1 ? 0 : value->type.rank == 2 ? i : head * queries + i;
    return mask[row * keys + j] == 0;
}

static bool eval_attention(const struct eval *e, const struct bf_op *op, double *out) {
    const double *q = arg(e, op, "q"), *k = arg(e, op, "k"), *v = arg(e, op, "v");
    const double *mask = arg(e, op, "mask");
    int64_t heads = bf_op_int(op, "heads"), kv_heads = bf_op_int(op, "kv_heads");
    int64_t queries = op->args[0]->type.dims[0], keys = op->args[1]->type.dims[0];
    int64_t wide = width(&op->args[0]->type), kv_wide = width(&op->args[1]->type), h = wide / heads;
    double *scores = new_elements(keys);
    for (int64_t head = 0; head < heads; head++) {
        int64_t kv = head / (heads / kv_heads) * h;
        for (int64_t i = 0; i < queries; i++) {
            for (int64_t j = 0; j < keys; j++) {
                double sum = 0;
                for (int64_t d = 0; d < h; d++)
                    sum += q[i * wide + head * h + d] * k[j * kv_wide + kv + d];
                scores[j] = hidden_key(op, mask, head, i, j) ? -INFINITY : sum / sqrt((double)h);
            }
            softmax(scores, keys, 1);
            for (int64_t d = 0; d < h; d++) {
                double sum = 0;
                for (int64_t j = 0; j < keys; j++)
                    sum += scores[j] * v[j * kv_wide + kv + d];
                out[i * wide + head * h + d] = sum;
            }
        }
    }
    free(scores);
    return true;
}

static bool eval_rope(const struct eval *e, const struct bf_op *op, double *out) {
    const double *x = elements(e, op->args[0]);
    const struct bf_type *type = &op->result.type;
    int64_t wide = width(type), h = wide / bf_op_int(op, "heads");
    bool interleaved = bf_op_bool(op, "interleaved");
    int64_t seq = type->dims[type->rank - 2];
    for (int64_t t = 0; t < rows(type); t++)
        for (int64_t start = 0; start < wide; start += h)
            for (int64_t i = 0; i < h / 2; i++) {
                double angle = (double)(t % seq + bf_op_int(op, "offset")) *
                               pow(bf_op_float(op, "base"), -2.0 * (double)i / (double)h);
                int64_t a = t * wide + start + (interleaved ? 2 * i : i);
                int64_t b = interleaved ? a + 1 : a + h / 2;
                out[a] = x[a] * cos(angle) - x[b] * sin(angle);
                out[b] = x[b] * cos(angle) + x[a] * sin(angle);
            }
    return true;
}

/* ---- along an axis ---- */

struct axis {
    int64_t outer, length, inner;
};

static struct axis split_axis(const struct bf_type *type, int64_t axis) {
    struct axis a = {1, type->dims[axis], 1};
    for (unsigned i = 0; i < type->rank; i++)
        *((int64_t)i < axis ? &a.outer : &a.inner) *= (int64_t)i == axis ? 1 : type->dims[i];
    return a;
}

static bool eval_softmax(const struct eval *e, const struct bf_op *op, double *out) {
    const double *x = elements(e, op->args[0]), *mask = arg(e, op, "mask");
    struct axis a = split_axis(&op->result.type, bf_op_int(op, "axis"));
    for (int64_t o = 0; o < a.outer; o++)
        for (int64_t i = 0; i < a.inner; i++) {
            int64_t base = o * a.length * a.inner + i;
            for (int64_t j = 0; j < a.length; j++)
                out[base + j * a.inner] = mask && !mask[j] ? -INFINITY : x[base + j * a.inner];
            softmax(out + base, a.length, a.inner);
        }
    return true;
}

static bool eval_norm(const struct eval *e, const struct bf_op *op, double *out) {
    const double *x = elements(e, op->args[0]);
    int64_t n = width(&op->result.type);
    bool center = op->kind == BF_OP_LAYERNORM;
    double *weight = tensor(e, op, "weight", n, 1), *bias = tensor(e, op, "bias", n, 0);
    bool ok = weight && bias;
    for (int64_t r = 0; ok && r < rows(&op->result.type); r++, x += n, out += n) {
        double mean = 0, square = 0;
        for (int64_t i = 0; center && i < n; i++)
            mean += x[i] / (double)n;
        for (int64_t i = 0; i < n; i++)
            square += (x[i] - mean) * (x[i] - mean) / (double)n;
        for (int64_t i = 0; i < n; i++)
            out[i] = (x[i] - mean) / sqrt(square + bf_op_float(op, "eps")) * weight[i] + bias[i];
    }
    free(weight);
    free(bias);
    return ok;
}

static bool eval_reduction(const struct eval *e, const struct bf_op *op, double *out) {
    const double *x = elements(e, op->args[0]), *mask = arg(e, op, "mask");
    struct axis a = split_axis(&op->args[0]->type, bf_op_int(op, "axis"));
    for (int64_t o = 0; o < a.outer; o++)
        for (int64_t i = 0; i < a.inner; i++) {
            double sum = 0, max = -INFINITY, count = 0;
            for (int64_t j = 0; j < a.length; j++) {
                double value = x[(o * a.length + j) * a.inner + i];
                if (mask && !mask[j])
                    continue;
                sum += value;
                max = fmax(max, value);
                count++;
            }
            out[o * a.inner + i] = op->kind == BF_OP_MAX    ? max
                                   : op->kind == BF_OP_MEAN ? sum / count
                                                            : sum;
        }
    return true;
}

/* ---- element by element ---- */

/* The element of `type` that broadcasting puts at element `index` of `result`. */
static int64_t broadcast_index(const struct bf_type *result, const struct bf_type *type,
                               int64_t index) {
    int64_t at = 0, stride = 1;
    for (unsigned i = 1; i <= result->rank; i++) {
        int64_t size = result->dims[result->rank - i], digit = index % size;
        index /= size;
        if (i > type->rank)
            continue;
        if (type->dims[type->rank - i] > 1)
            at += digit * stride;
        stride *= type->dims[type->rank - i];
    }
    return at;
}

static double apply(const struct bf_op *op, double x, double y) {
    switch (op->kind) {
    case BF_OP_ADD:
        return x + y;
    case BF_OP_SUB:
        return x - y;
    case BF_OP_MUL:
        return x * y;
    case BF_OP_DIV:
        return x / y;
    case BF_OP_SCALE:
        return x * bf_op_float(op, "by");
    case BF_OP_RELU:
        return x > 0 ? x : 0;
    case BF_OP_SILU:
        return x / (1 + exp(-x));
    case BF_OP_TANH:
        return tanh(x);
    case BF_OP_SIGMOID:
        return 1 / (1 + exp(-x));
    default:
        if (!strcmp(bf_op_word(op, "approximate"), "tanh"))
            return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
        return 0.5 * x * erfc(-x * 0.70710678118654752440);
    }
}

static bool eval_elementwise(const struct eval *e, const struct bf_op *op, double *out) {
    const struct bf_type *type = &op->result.type;
    const struct bf_value *x = op->args[0], *y = op->args[op->arg_count - 1];
    for (int64_t i = bf_type_elements(type); i-- > 0;)
        out[i] = apply(op, elements(e, x)[broadcast_index(type, &x->type, i)],
                       elements(e, y)[broadcast_index(type, &y->type, i)]);
    return true;
}

/* ---- gather and layout ---- */

static bool eval_embedding(const struct eval *e, const struct bf_op *op, double *out) {
    const double *ids = elements(e, op->args[0]);
    int64_t num = bf_op_int(op, "num"), dim = bf_op_int(op, "dim");
    double *weight = tensor(e, op, "weight", num * dim, 0);
    bool ok = weight;
    for (int64_t i = 0; ok && i < bf_type_elements(&op->args[0]->type); i++) {
        if (!(ids[i] >= 0 && ids[i] < (double)num)) {
            ok = bf_fail(e->error, BF_ERROR_INPUT, "id %g is outside of an embedding of %lld rows",
                         ids[i], (long long)num);
            break;
        }
        memcpy(out + i * dim, weight + (int64_t)ids[i] * dim, (size_t)dim * sizeof *out);
    }
    free(weight);
    return ok;
}

/* Slice and transpose: result index -> coordinates -> operand index. */
static bool eval_move(const struct eval *e, const struct bf_op *op, double *out) {
    const struct bf_type *type = &op->result.type, *from = &op->args[0]->type;
    const double *x = elements(e, op->args[0]);
    int64_t strides[BF_MAX_RANK], stride = 1;
    for (unsigned i = from->rank; i-- > 0; stride *= from->dims[i])
        strides[i] = stride;
    for (int64_t index = 0; index < bf_type_elements(type); index++) {
        int64_t rest = index, at = 0;
        for (unsigned i = type->rank; i-- > 0; rest /= type->dims[i]) {
            int64_t digit = rest % type->dims[i];
            at += op->kind == BF_OP_SLICE
                      ? (digit + bf_op_attr(op, "begin")->ints.v[i]) * strides[i]
                      : digit * strides[bf_op_attr(op, "axes")->ints.v[i]];
        }
        out[index] = x[at];
    }
    return true;
}

static bool eval_reshape(const struct eval *e, const struct bf_op *op, double *out) {
    memcpy(out, elements(e, op->args[0]), (size_t)bf_type_elements(&op->result.type) * sizeof *out);
    return true;
}

static bool eval_concat(const struct eval *e, const struct bf_op *op, double *out) {
    struct axis all = split_axis(&op->result.type, bf_op_int(op, "axis"));
    int64_t done = 0;
    for (unsigned k = 0; k < op->arg_count; k++) {
        struct axis part = split_axis(&op->args[k]->type, bf_op_int(op, "axis"));
        int64_t size = part.length * part.inner;
        for (int64_t o = 0; o < part.outer; o++)
            memcpy(out + o * all.length * all.inner + done, elements(e, op->args[k]) + o * size,
                   (size_t)size * sizeof *out);
        done += size;
    }
    return true;
}

/* ---- all of them ---- */

static bool (*const eval_functions[])(const struct eval *, const struct bf_op *, double *) = {
    [BF_OP_PARAM] = eval_param,
    [BF_OP_CONSTANT] = eval_constant,
    [BF_OP_LINEAR] = eval_linear,
    [BF_OP_BUTTERFLY] = eval_butterfly,
    [BF_OP_BLOCK_BUTTERFLY] = eval_block_butterfly,
    [BF_OP_MONARCH] = eval_monarch,
    [BF_OP_FOURIER] = eval_fourier,
    [BF_OP_FFT] = eval_fft,
    [BF_OP_FFT_COMPRESS] = eval_fft_compress,
    [BF_OP_ATTENTION] = eval_attention,
    [BF_OP_ROPE] = eval_rope,
    [BF_OP_SOFTMAX] = eval_softmax,
    [BF_OP_LAYERNORM] = eval_norm,
    [BF_OP_RMSNORM] = eval_norm,
    [BF_OP_ADD] = eval_elementwise,
    [BF_OP_SUB] = eval_elementwise,
    [BF_OP_MUL] = eval_elementwise,
    [BF_OP_DIV] = eval_elementwise,
    [BF_OP_SCALE] = eval_elementwise,
    [BF_OP_GELU] = eval_elementwise,
    [BF_OP_RELU] = eval_elementwise,
    [BF_OP_SILU] = eval_elementwise,
    [BF_OP_TANH] = eval_elementwise,
    [BF_OP_SIGMOID] = eval_elementwise,
    [BF_OP_MEAN] = eval_reduction,
    [BF_OP_SUM] = eval_reduction,
    [BF_OP_MAX] = eval_reduction,
    [BF_OP_EMBEDDING] = eval_embedding,
    [BF_OP_SLICE] = eval_move,
    [BF_OP_CONCAT] = eval_concat,
    [BF_OP_RESHAPE] = eval_reshape,
    [BF_OP_TRANSPOSE] = eval_move,
};
_Static_assert(sizeof eval_functions / sizeof *eval_functions == BF_OP_COUNT,
               "every operator can be evaluated");

/* last[i]: index of the last operator that reads value i; values that are output are read last. */
static size_t *last_readers(const struct bf_net *net) {
    size_t *last = bf_alloc(net->ops.count * sizeof *last);
    for (size_t i = 0; i < net->ops.count; i++) {
        const struct bf_op *op = net->ops.data[i];
        last[i] = i;
        for (unsigned j = 0; j < op->arg_count; j++)
            if (op->args[j] && op->args[j]->op)
                last[op->args[j]->index] = i;
    }
    for (size_t i = 0; i < net->outputs.count; i++)
        if (net->outputs.data[i].value->op)
            last[net->outputs.data[i].value->index] = SIZE_MAX;
    return last;
}

static void free_read(struct eval *e, const struct bf_op *op, const size_t *last, size_t now) {
    for (unsigned j = 0; j < op->arg_count; j++) {
        if (!op->args[j] || !op->args[j]->op || last[op->args[j]->index] != now)
            continue;
        free(e->values[op->args[j]->index]);
        e->values[op->args[j]->index] = NULL;
    }
}

bool bf_net_eval(const struct bf_net *net, const struct bf_weights *weights,
                 const double *const *inputs, double *const *outputs,
                 void (*observe)(void *user, const struct bf_op *op, const double *elements),
                 void *user, struct bf_error *error) {
    struct eval e = {net, weights, inputs, NULL, error};
    size_t *last = last_readers(net);
    bool ok = true;
    e.values = bf_alloc(net->ops.count * sizeof *e.values);
    for (size_t i = 0; ok && i < net->ops.count; i++) {
        const struct bf_op *op = net->ops.data[i];
        e.values[i] = new_elements(bf_type_elements(&op->result.type));
        ok = eval_functions[op->kind](&e, op, e.values[i]);
        if (ok && observe)
            observe(user, op, e.values[i]);
        free_read(&e, op, last, i);
    }
    for (size_t i = 0; ok && i < net->outputs.count; i++) {
        const struct bf_value *value = net->outputs.data[i].value;
        memcpy(outputs[i], elements(&e, value),
               (size_t)bf_type_elements(&value->type) * sizeof(double));
    }
    for (size_t i = 0; i < net->ops.count; i++)
        free(e.values[i]);
    free(e.values);
    free(last);
    return ok;
}
