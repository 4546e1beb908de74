#include "ir/scaled.h"

#include <math.h>
#include <stdlib.h>

#include "ir/isa/fp.h"
#include "ir/recipe.h"

enum { SWAP = 0x4000 };

/* Bound of |input| where none is known, and of what a stage may store. */
static const double most_input = 512, most_stored = 32768;

static const char *const names[] = {NULL, "scaled", "slots"};

static void attr_name(char name[32], enum bf_stage_form form, int stmt) {
    snprintf(name, 32, "%s%d", names[form], stmt - 1);
}

enum bf_stage_form bf_scaled_form(const struct bf_poly_kernel *kernel, int stmt) {
    char name[32];
    for (int form = BF_FORM_SCALED; form <= BF_FORM_SLOTS; form++) {
        attr_name(name, (enum bf_stage_form)form, stmt);
        if (bf_ints_find(&kernel->attrs, name, -1) >= 0)
            return (enum bf_stage_form)form;
    }
    return BF_FORM_PLAIN;
}

bool bf_scaled_kernel(const struct bf_poly_kernel *kernel) {
    for (size_t i = 0; i < kernel->attrs.count; i++)
        if (!strncmp(kernel->attrs.data[i].name, "scaled", 6))
            return true;
    return false;
}

void bf_scaled_set(struct bf_poly *poly, struct bf_poly_kernel *kernel, int stmt,
                   enum bf_stage_form form, int shift) {
    char name[32];
    attr_name(name, form, stmt);
    bf_ints_set(&kernel->attrs, &poly->arena, bf_arena_strdup(&poly->arena, name), shift);
    kernel->stmts.data[stmt].shift = shift;
}

void bf_scaled_clear(struct bf_poly_kernel *kernel, int stmt) {
    char name[32];
    for (int form = BF_FORM_SCALED; form <= BF_FORM_SLOTS; form++) {
        attr_name(name, (enum bf_stage_form)form, stmt);
        for (size_t i = 0; i < kernel->attrs.count; i++) {
            if (strcmp(kernel->attrs.data[i].name, name))
                continue;
            memmove(&kernel->attrs.data[i], &kernel->attrs.data[i + 1],
                    (--kernel->attrs.count - i) * sizeof *kernel->attrs.data);
            kernel->stmts.data[stmt].shift = 0;
        }
    }
}

void bf_scaled_copy(struct bf_poly *poly, struct bf_poly_kernel *kernel,
                    const struct bf_poly_kernel *like) {
    for (size_t i = 0; i < like->attrs.count; i++) {
        const struct bf_named_int *attr = &like->attrs.data[i];
        if (!strncmp(attr->name, "scaled", 6) || !strncmp(attr->name, "slots", 5))
            bf_ints_set(&kernel->attrs, &poly->arena, attr->name, attr->value);
    }
}

int bf_scaled_shift(const struct bf_poly_kernel *kernel, int stmt) {
    char name[32];
    enum bf_stage_form form = bf_scaled_form(kernel, stmt);
    if (form == BF_FORM_PLAIN)
        return 0;
    attr_name(name, form, stmt);
    return (int)bf_ints_get(&kernel->attrs, name);
}

/* ---- one stack ---- */

/* Of an element: its true value is scale x 2^(shift so far) x what is stored. Relative to inputs of
 * variance 1 and of magnitude at most 1: the variance of value / scale, and a bound of it. */
struct element {
    double scale, variance, bound;
};

/* Of a result: the coefficients of u_own and u_partner in its true value. */
struct pair {
    double own, partner;
};

struct work {
    const struct bf_poly_kernel *kernel;
    const struct bf_weight *twiddle;
    int64_t first; /* element of the tensor with which the stack begins */
    struct element *now, *next;
    struct bf_scaled *out;
};

static int64_t stride_of(const struct work *w, int stage) {
    return w->kernel->digits.data[w->kernel->stmts.data[1 + stage].digit].weight;
}

static struct pair coefficients(const struct work *w, int stage, int64_t e) {
    const struct bf_stmt *stmt = &w->kernel->stmts.data[1 + stage];
    int64_t stride = stride_of(w, stage), partner = e ^ stride;
    int64_t low = e < partner ? e : partner, out = e == low ? 0 : 1;
    int64_t q = low / (2 * stride) * stride + low % stride;
    int64_t stages = w->twiddle->dims[2], half = w->twiddle->dims[3];
    int64_t at = w->first + 4 * ((stmt->block * stages + stmt->stage) * half + q) + 2 * out;
    return (struct pair){bf_weight_read(w->twiddle, at + out) * w->now[e].scale,
                         bf_weight_read(w->twiddle, at + 1 - out) * w->now[partner].scale};
}

static double larger(double a, double b) {
    return fabs(a) > fabs(b) ? a : b;
}

/* One slot: the pivot is the operand with the larger coefficient; its own where they are equal. */
static void scaled_result(struct work *w, int stage, int64_t e) {
    struct pair c = coefficients(w, stage, e);
    bool swap = fabs(c.partner) > fabs(c.own);
    double p = swap ? c.partner : c.own, q = swap ? c.own : c.partner;
    const struct element *own = &w->now[e], *partner = &w->now[e ^ stride_of(w, stage)];
    const struct element *a = swap ? partner : own, *b = swap ? own : partner;
    uint16_t word = q == 0 ? 0 : bf_half_from_double(q / p);
    double r = bf_half_to_double(word);
    struct element *to = &w->next[e];
    to->variance = a->variance + r * r * b->variance;
    to->bound = a->bound + fabs(r) * b->bound;
    /* Least squares: the scale absorbs half of what rounding the ratio lost. */
    to->scale = p == 0              ? 0
                : to->variance == 0 ? p
                                    : (p * a->variance + q * r * b->variance) / to->variance;
    w->out->words[2 * (stage * w->out->n + e)] = (uint16_t)(word | (swap ? SWAP : 0));
}

/* 2^round(log2(x) / 2), exact; 0 for 0. */
static double half_power(double x) {
    int exponent;
    if (x == 0)
        return 0;
    frexp(x, &exponent); /* x = m 2^exponent, 1/2 <= m < 1 */
    return bf_power_of_two((exponent - 1 + (exponent > 0)) / 2);
}

static void two_slots(struct work *w, int stage, int64_t e) {
    struct pair c = coefficients(w, stage, e);
    double scale = half_power(fabs(larger(c.own, c.partner)));
    const struct element *own = &w->now[e], *partner = &w->now[e ^ stride_of(w, stage)];
    uint16_t *word = &w->out->words[2 * (stage * w->out->n + e)];
    word[0] = scale == 0 ? 0 : bf_half_from_double(c.own / scale);
    word[1] = scale == 0 ? 0 : bf_half_from_double(c.partner / scale);
    double a = bf_half_to_double(word[0]), b = bf_half_to_double(word[1]);
    w->next[e] = (struct element){scale, a * a * own->variance + b * b * partner->variance,
                                  fabs(a) * own->bound + fabs(b) * partner->bound};
}

/* What the outputs say: their largest gain (rms for inputs of rms 1), the largest coefficient, and
 * what coefficients below the normal fp16 numbers add to the error. */
struct outputs {
    double gain, coefficient, power;
};

static struct outputs outputs_of(const struct work *w) {
    struct outputs o = {0, 0, 0};
    int last = w->out->stages - 1;
    for (int64_t e = 0; e < w->out->n; e++) {
        struct pair c = coefficients(w, last, e);
        double variance = c.own * c.own * w->now[e].variance +
                          c.partner * c.partner * w->now[e ^ stride_of(w, last)].variance;
        double most = fabs(larger(c.own, c.partner));
        o.power += variance;
        o.gain = variance > o.gain ? variance : o.gain;
        o.coefficient = most > o.coefficient ? most : o.coefficient;
    }
    o.gain = sqrt(o.gain);
    return o;
}

/* The squared error that subnormal coefficients of the last stage add when they are multiplied by
 * 2^exponent: a rounding of 2^-25, whatever their size. */
static double subnormal_error(const struct work *w, int exponent) {
    double sum = 0, factor = bf_power_of_two(exponent), unit = 0x1p-50 / 3 / (factor * factor);
    int last = w->out->stages - 1;
    for (int64_t e = 0; e < w->out->n; e++) {
        struct pair c = coefficients(w, last, e);
        if (c.own != 0 && fabs(c.own) * factor < 0x1p-14)
            sum += w->now[e].variance * unit;
        if (c.partner != 0 && fabs(c.partner) * factor < 0x1p-14)
            sum += w->now[e ^ stride_of(w, last)].variance * unit;
    }
    return sum;
}

/* The least exponents: no stored value may pass `most_stored` for inputs up to the bound. */
static void choose_exponents(const struct work *w, const double *bounds) {
    struct bf_scaled *out = w->out;
    struct outputs o = outputs_of(w);
    double input = o.gain > 0 && 8 * 65504 / o.gain < most_input ? 8 * 65504 / o.gain : most_input;
    int exponent = 0;
    for (int i = 0; i < out->stages - 1; i++) {
        while (bounds[i] * input > most_stored * bf_power_of_two(exponent))
            exponent++;
        out->least[i] = exponent;
    }
    for (int raised = 0; raised < 8 && out->stages > 1; raised++) {
        bool lost = subnormal_error(w, exponent) > 0x1p-26 * o.power;
        if (!lost || o.coefficient * bf_power_of_two(exponent + 1) > 32768)
            break;
        out->least[out->stages - 2] = ++exponent;
    }
}

/* The last stage: two slots, which absorb the scales and the shifts of all stages before. */
static void last_stage(const struct work *w) {
    struct bf_scaled *out = w->out;
    int last = out->stages - 1, exponent = 0;
    for (int i = 0; i < last; i++)
        exponent += w->kernel->stmts.data[1 + i].shift;
    double factor = bf_power_of_two(exponent);
    out->fits = true;
    for (int64_t e = 0; e < out->n; e++) {
        struct pair c = coefficients(w, last, e);
        uint16_t *word = &out->words[2 * (last * out->n + e)];
        word[0] = bf_half_from_double(c.own * factor);
        word[1] = bf_half_from_double(c.partner * factor);
        out->fits &= fabs(larger(c.own, c.partner)) * factor < 65520;
    }
}

static void begin(struct work *w) {
    int64_t in = w->kernel->inputs.data[0].cols;
    for (int64_t e = 0; e < w->out->n; e++) {
        double there = e < in ? 1 : 0;
        w->now[e] = (struct element){there, there, there};
    }
}

struct bf_scaled bf_scaled_compute(const struct bf_poly_kernel *kernel,
                                   const struct bf_weights *weights, int64_t stack) {
    const struct bf_param_view *view = &bf_kernel_find_param(kernel, "twiddle")->view;
    struct bf_scaled out = {.stages = (int)kernel->stmts.count - 2,
                            .n = bf_ints_get(&kernel->attrs, "n")};
    size_t n = (size_t)out.n, stages = (size_t)out.stages;
    out.words = bf_alloc(2 * stages * n * sizeof *out.words);
    out.least = bf_alloc((stages + 1) * sizeof *out.least);
    struct work w = {.kernel = kernel,
                     .twiddle = bf_weights_find(weights, view->param->name),
                     .now = bf_alloc(n * sizeof *w.now),
                     .next = bf_alloc(n * sizeof *w.next),
                     .out = &out};
    w.first =
        4 * (view->begin[0] + stack) * w.twiddle->dims[1] * w.twiddle->dims[2] * w.twiddle->dims[3];
    double *bounds = bf_alloc((stages + 1) * sizeof *bounds);
    begin(&w);
    for (int i = 0; i + 1 < out.stages; i++) {
        bool one = bf_scaled_form(kernel, 1 + i) == BF_FORM_SCALED;
        for (int64_t e = 0; e < out.n; e++) {
            if (one)
                scaled_result(&w, i, e);
            else
                two_slots(&w, i, e);
            if (w.next[e].bound > bounds[i])
                bounds[i] = w.next[e].bound;
        }
        struct element *swap = w.now;
        w.now = w.next;
        w.next = swap;
    }
    if (out.stages) {
        choose_exponents(&w, bounds);
        last_stage(&w);
    }
    free(bounds);
    free(w.now);
    free(w.next);
    return out;
}

void bf_scaled_free(struct bf_scaled *scaled) {
    free(scaled->words);
    free(scaled->least);
}
