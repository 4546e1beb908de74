/* pack_butterfly.c - weights of butterflies: which form each stage takes, and the packed values. */
#include <math.h>
#include <stdlib.h>

#include "backend/host/butterfly.h"

/* Scales, ratios and gains stay far inside the range of f32, so that inputs of any usual size do,
 * too. 2^60; 2^80. */
static const double LARGEST_SCALE = 0x1p60, LARGEST_GAIN = 0x1p80;

/* The twiddle of one stack: [block][stage][pair][out][in]. */
struct twiddle {
    const struct bf_butterfly *b;
    double *values;
    int64_t size;
    const struct bf_weight *whole; /* the tensor, if the view is all of it */
};

static bool is_whole(const struct bf_param_view *view) {
    for (unsigned a = 0; a < view->rank; a++)
        if (view->extent[a] != view->param->type.dims[a])
            return false;
    return true;
}

static struct twiddle twiddle_create(const struct bf_butterfly *b) {
    int64_t size = (int64_t)b->stages * b->shape.n / 2 * 4;
    return (struct twiddle){b, bf_alloc((size_t)size * sizeof(double)), size, NULL};
}

static void twiddle_read(struct twiddle *t, const struct bf_weights *values,
                         const struct bf_param_view *view, int64_t stack) {
    if (!t->whole && is_whole(view))
        t->whole = bf_weights_find(values, view->param->name);
    for (int64_t i = 0; i < t->size; i++) {
        int64_t at = stack * t->size + i;
        t->values[i] = t->whole ? bf_weight_read(t->whole, at) : bf_host_read(values, view, at);
    }
}

/* What results of a stage are made of: y_i = own x_i + other x_j. */
struct pair {
    int64_t partner;
    double own, other;
};

static struct pair pair_of(const struct twiddle *t, unsigned stage, int64_t i) {
    unsigned digit = bf_butterfly_digit(t->b, stage);
    int64_t low = i & ((INT64_C(1) << digit) - 1), e = i >> digit & 1;
    int64_t number = i >> (digit + 1) << digit | low;
    const double *matrix = t->values + ((int64_t)stage * t->b->shape.n / 2 + number) * 4;
    return (struct pair){i ^ INT64_C(1) << digit, matrix[2 * e + e], matrix[2 * e + 1 - e]};
}

/* State before a stage, by element: x = sigma u, |u| <= gain max|input|. */
struct scales {
    double *sigma, *gain, *next_sigma, *next_gain;
    double *own, *other; /* [stage][element]: weights of the op; NULL: only forms are wanted */
};

static struct scales scales_create(const struct bf_butterfly *b, bool weights) {
    size_t n = (size_t)b->shape.n * sizeof(double), all = n * b->stages;
    return (struct scales){bf_alloc(n),
                           bf_alloc(n),
                           bf_alloc(n),
                           bf_alloc(n),
                           weights ? bf_alloc(all) : NULL,
                           weights ? bf_alloc(all) : NULL};
}

static void scales_free(struct scales *s) {
    free(s->sigma);
    free(s->gain);
    free(s->next_sigma);
    free(s->next_gain);
    free(s->own);
    free(s->other);
}

static bool in_range(double x, double largest) {
    double size = fabs(x);
    return size >= 1 / largest && size <= largest;
}

/* One element of a stage. False if the stage must be in full form. */
static bool scale_element(const struct twiddle *t, struct scales *s, unsigned stage, int64_t i,
                          enum bf_butterfly_op op) {
    const struct bf_butterfly *b = t->b;
    struct pair pair = pair_of(t, stage, i);
    int64_t j = pair.partner;
    double own = pair.own * s->sigma[i], other = pair.other * s->sigma[j];
    double sigma = 1, gain = 1;
    bool fits = true;
    switch (op) {
    case BF_BUTTERFLY_NONE:
        break;
    case BF_BUTTERFLY_RATIO:
        sigma = own;
        other /= own;
        gain = s->gain[i] + fabs(other) * s->gain[j];
        fits = in_range(sigma, LARGEST_SCALE) && gain <= LARGEST_GAIN &&
               (other == 0 || in_range(other, LARGEST_SCALE));
        break;
    case BF_BUTTERFLY_COPY_OWN:
        sigma = own;
        gain = s->gain[i];
        fits = own == 0 || in_range(own, LARGEST_SCALE);
        break;
    case BF_BUTTERFLY_COPY_PARTNER:
        sigma = other;
        gain = s->gain[j];
        fits = other == 0 || in_range(other, LARGEST_SCALE);
        break;
    case BF_BUTTERFLY_SCALE_OWN:
        gain = fabs(own) * s->gain[i];
        break;
    case BF_BUTTERFLY_SCALE_PARTNER:
        gain = fabs(other) * s->gain[j];
        break;
    case BF_BUTTERFLY_FULL:
        gain = fabs(own) * s->gain[i] + fabs(other) * s->gain[j];
        break;
    }
    s->next_sigma[i] = sigma;
    s->next_gain[i] = gain;
    if (s->own) {
        double last = stage + 1 == b->stages ? b->shape.scale : 1;
        s->own[(int64_t)stage * b->shape.n + i] = own * last;
        s->other[(int64_t)stage * b->shape.n + i] = other * last;
    }
    return fits;
}

static bool scale_stage(const struct twiddle *t, struct scales *s, int which, unsigned stage) {
    const struct bf_butterfly *b = t->b;
    bool fits = true;
    for (int64_t i = 0; i < b->shape.n; i++) {
        unsigned vector = (unsigned)(i >> b->lane_bits);
        fits &= scale_element(t, s, stage, i, bf_butterfly_op(b, which, stage, vector));
    }
    return fits;
}

static void next_stage(struct scales *s) {
    double *sigma = s->sigma, *gain = s->gain;
    s->sigma = s->next_sigma;
    s->gain = s->next_gain;
    s->next_sigma = sigma;
    s->next_gain = gain;
}

/* All stages of one stack. Stages that do not fit become full (`forms`), or must not arise. */
static bool scale_stack(const struct twiddle *t, struct scales *s, int which, bool *forms) {
    bool changed = false;
    for (int64_t i = 0; i < t->b->shape.n; i++)
        s->sigma[i] = s->gain[i] = 1;
    for (unsigned stage = 0; stage < t->b->stages; stage++) {
        if (!scale_stage(t, s, which, stage) && forms) {
            forms[stage] = changed = true;
            scale_stage(t, s, which, stage);
        }
        next_stage(s);
    }
    return changed;
}

static int kind_of(const struct bf_butterfly *b, int64_t stack) {
    return stack == b->shape.stacks - 1;
}

/* A stage that becomes full changes the scales after it, of every stack: until nothing changes. */
void bf_butterfly_choose_forms(struct bf_butterfly *b, const struct bf_weights *values,
                               const struct bf_param_view *view) {
    struct twiddle t = twiddle_create(b);
    struct scales s = scales_create(b, false);
    bool changed = b->stages > 1;
    while (changed) {
        changed = false;
        for (int64_t stack = 0; stack < b->shape.stacks; stack++) {
            twiddle_read(&t, values, view, stack);
            changed |= scale_stack(&t, &s, kind_of(b, stack), b->full);
        }
    }
    scales_free(&s);
    free(t.values);
}

enum { FORMS_A_WORD = 60 };

static const char *forms_name(unsigned stage, char name[32]) {
    snprintf(name, 32, "full%u", stage / FORMS_A_WORD);
    return name;
}

void bf_butterfly_save_forms(const struct bf_butterfly *b, struct bf_ints *params,
                             struct bf_arena *arena) {
    char name[32];
    for (unsigned first = 0; first < b->stages; first += FORMS_A_WORD) {
        int64_t bits = 0;
        for (unsigned s = first; s < b->stages && s < first + FORMS_A_WORD; s++)
            bits |= (int64_t)b->full[s] << (s - first);
        bf_ints_set(params, arena, forms_name(first, name), bits);
    }
}

void bf_butterfly_load_forms(struct bf_butterfly *b, const struct bf_ints *params) {
    char name[32];
    for (unsigned s = 0; s < b->stages; s++)
        b->full[s] = bf_ints_get(params, forms_name(s, name)) >> s % FORMS_A_WORD & 1;
}

/* ---- packing ---- */

static float *pack_vector(const struct bf_butterfly *b, const double *values, unsigned stage,
                          unsigned vector, float *out) {
    const double *from = values + (int64_t)stage * b->shape.n + (int64_t)vector * b->lanes;
    for (unsigned l = 0; l < b->lanes; l++)
        *out++ = (float)from[l];
    return out;
}

static float *pack_op(const struct bf_butterfly *b, const struct scales *s, enum bf_butterfly_op op,
                      unsigned stage, unsigned vector, float *out) {
    if (op == BF_BUTTERFLY_FULL || op == BF_BUTTERFLY_SCALE_OWN)
        out = pack_vector(b, s->own, stage, vector, out);
    if (op == BF_BUTTERFLY_FULL || op == BF_BUTTERFLY_RATIO || op == BF_BUTTERFLY_SCALE_PARTNER)
        out = pack_vector(b, s->other, stage, vector, out);
    return out;
}

struct bias {
    const struct bf_weights *values;
    const struct bf_param_view *view;
    int64_t first, end; /* columns of the stack */
    double scale;
};

static float *pack_bias(const struct bf_butterfly *b, const struct bias *bias, unsigned vector,
                        float *out) {
    for (unsigned l = 0; l < b->lanes; l++) {
        int64_t col = bias->first + (int64_t)vector * b->lanes + l;
        *out++ = col < bias->end
                     ? (float)(bias->scale * bf_host_read(bias->values, bias->view, col))
                     : 0;
    }
    return out;
}

static float *pack_tile(const struct bf_butterfly *b, const struct scales *s,
                        const struct bias *bias, int which, unsigned p, int64_t tile, float *out) {
    const struct bf_butterfly_pass *pass = &b->passes[p];
    for (unsigned stage = pass->first; stage < pass->last; stage++)
        for (unsigned r = 0; r < 1u << pass->width; r++) {
            unsigned vector = bf_butterfly_vector(b, p, tile, r);
            out = pack_op(b, s, bf_butterfly_op(b, which, stage, vector), stage, vector, out);
        }
    for (unsigned r = 0; bias->view && p + 1 == b->pass_count && r < 1u << pass->width; r++) {
        unsigned vector = bf_butterfly_vector(b, p, tile, r);
        if (bf_butterfly_writes(b, which, p, vector))
            out = pack_bias(b, bias, vector, out);
    }
    return out;
}

void bf_butterfly_pack(const struct bf_butterfly *b, const struct bf_weights *values,
                       const struct bf_param_view *twiddle, const struct bf_param_view *view,
                       int64_t stack, int which, float *out) {
    struct twiddle t = twiddle_create(b);
    struct scales s = scales_create(b, true);
    struct bias bias = {values, view, stack * b->shape.n,
                        stack * b->shape.n + bf_butterfly_outputs(b, which), b->shape.bias_scale};
    twiddle_read(&t, values, twiddle, stack);
    scale_stack(&t, &s, which, NULL);
    for (unsigned p = 0; p < b->pass_count; p++)
        for (int64_t tile = 0; tile < bf_butterfly_tiles(b, p); tile++)
            out = pack_tile(b, &s, &bias, which, p, tile, out);
    scales_free(&s);
    free(t.values);
}
