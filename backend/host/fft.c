/* fft.c - radices, twiddles and the passes of a transform. See fft.h. */
#include "backend/host/fft.h"

#include "ir/angles.h"

/* ---- radices ---- */

/* Arithmetic and traffic of a pass, per point: a guess that prefers few passes of at most 8. */
static int64_t cost_of(unsigned radix) {
    static const int64_t costs[BF_FFT_LARGEST_RADIX + 1] = {
        [2] = 135, [3] = 165,  [4] = 170,  [5] = 200,  [6] = 200,  [7] = 240, [8] = 205,
        [9] = 270, [10] = 280, [12] = 280, [14] = 320, [15] = 330, [16] = 290};
    return costs[radix];
}

/* The twiddles of a larger radix do not fit the registers beside its values. */
enum { LARGEST_WITH_TWIDDLES = 8 };

/* The cheapest product of radices, each at most `largest`, smaller ones first. */
static int64_t search(int64_t n, unsigned largest, struct bf_fft *fft) {
    *fft = (struct bf_fft){.n = n};
    if (n == 1)
        return 0;
    int64_t best = INT64_MAX;
    for (unsigned r = largest; r >= 2; r--) {
        struct bf_fft rest;
        if (n % r || !cost_of(r))
            continue;
        int64_t cost = search(n / r, r < LARGEST_WITH_TWIDDLES ? r : LARGEST_WITH_TWIDDLES, &rest);
        if (cost < INT64_MAX && cost + cost_of(r) < best && rest.passes < BF_FFT_MOST_PASSES) {
            best = cost + cost_of(r);
            *fft = rest;
            fft->n = n;
            fft->radix[fft->passes++] = r;
        }
    }
    return best;
}

bool bf_fft_plan(struct bf_fft *fft, int64_t n, unsigned largest) {
    int64_t rest = n;
    for (unsigned f = 2; f <= 7; f++)
        while (rest % f == 0)
            rest /= f;
    return rest == 1 && search(n, largest, fft) < INT64_MAX;
}

/* ---- twiddles ---- */

int64_t bf_fft_twiddles(const struct bf_fft *fft) {
    int64_t floats = 0, m = fft->n;
    for (unsigned t = 0; t + 1 < fft->passes; t++) {
        m /= fft->radix[t];
        floats += m * (fft->radix[t] - 1) * 2;
    }
    return floats;
}

void bf_fft_pack(const struct bf_fft *fft, float *out) {
    int64_t m = fft->n;
    for (unsigned t = 0; t + 1 < fft->passes; t++) {
        int64_t points = m;
        m /= fft->radix[t];
        for (int64_t p = 0; p < m; p++)
            for (int64_t j = 1; j < fft->radix[t]; j++) {
                double c, s;
                bf_root_of_unity(p * j % points, points, &c, &s);
                *out++ = (float)c;
                *out++ = (float)-s;
            }
    }
}

/* ---- passes ---- */

void bf_fft_loop_begin(struct bf_ll *ll, struct bf_fft_loop *loop, int64_t count) {
    loop->used = count != 1;
    loop->index = bf_ll_int(ll, 0);
    if (loop->used) {
        bf_ll_loop_begin(ll, &loop->loop, bf_ll_int(ll, 0), bf_ll_int(ll, count), 1);
        loop->index = loop->loop.index;
    }
}

void bf_fft_loop_end(struct bf_ll *ll, struct bf_fft_loop *loop) {
    if (loop->used)
        bf_ll_loop_end(ll, &loop->loop);
}

struct pass {
    const struct bf_fft_columns *columns;
    unsigned number, radix;
    int64_t m, s;
    LLVMValueRef p, q, strip, twiddles;
};

static LLVMValueRef scratch_at(const struct pass *pass, unsigned buffer, LLVMValueRef point) {
    const struct bf_fft_columns *c = pass->columns;
    LLVMValueRef at = bf_ll_dot(c->ll, point, c->pitch, pass->strip, 2 * c->lanes);
    return bf_ll_at(c->ll, c->scratch[buffer], at);
}

static struct bf_complex load(const struct pass *pass, LLVMValueRef point) {
    const struct bf_fft_columns *c = pass->columns;
    if (pass->number == 0)
        return c->load(c->user, point, pass->strip);
    return bf_complex_load(c->ll, scratch_at(pass, (pass->number - 1) % 2, point), c->lanes);
}

static void store(const struct pass *pass, LLVMValueRef point, struct bf_complex value) {
    const struct bf_fft_columns *c = pass->columns;
    if (pass->number + 1 >= c->fft->passes) {
        c->store(c->user, point, pass->strip, value);
        return;
    }
    bf_complex_store(c->ll, scratch_at(pass, pass->number % 2, point), value, c->lanes);
}

static struct bf_complex twiddle(const struct pass *pass, unsigned j) {
    const struct bf_fft_columns *c = pass->columns;
    LLVMValueRef at = bf_ll_at_int(c->ll, pass->twiddles, 2 * ((int64_t)j - 1));
    return bf_complex_load_splat(c->ll, at, c->lanes);
}

/* One butterfly of a pass. */
static void generate_dft(const struct pass *pass) {
    struct bf_ll *ll = pass->columns->ll;
    struct bf_complex x[BF_FFT_LARGEST_RADIX];
    LLVMValueRef in = bf_ll_add(ll, pass->q, bf_ll_mul_int(ll, pass->p, pass->s));
    LLVMValueRef out = bf_ll_add(ll, pass->q, bf_ll_mul_int(ll, pass->p, pass->s * pass->radix));
    for (unsigned k = 0; k < pass->radix; k++)
        x[k] = load(pass, bf_ll_add_int(ll, in, pass->s * pass->m * k));
    bf_fft_dft(ll, pass->radix, x);
    for (unsigned j = 0; j < pass->radix; j++) {
        if (j && pass->m > 1)
            x[j] = bf_complex_mul(ll, x[j], twiddle(pass, j));
        store(pass, bf_ll_add_int(ll, out, pass->s * j), x[j]);
    }
}

static void generate_strips(struct pass *pass) {
    const struct bf_fft_columns *c = pass->columns;
    struct bf_ll_loop strips;
    pass->strip = bf_ll_int(c->ll, 0);
    if (c->strips) {
        bf_ll_loop_begin(c->ll, &strips, pass->strip, c->strips, 1);
        pass->strip = strips.index;
    }
    generate_dft(pass);
    if (c->strips)
        bf_ll_loop_end(c->ll, &strips);
}

/* Gives the floats of twiddles that the pass has. */
static int64_t generate_pass(struct pass *pass, LLVMValueRef twiddles) {
    struct bf_ll *ll = pass->columns->ll;
    int64_t each = 2 * ((int64_t)pass->radix - 1);
    struct bf_fft_loop outer, inner;
    bf_fft_loop_begin(ll, &outer, pass->m);
    pass->p = outer.index;
    pass->twiddles = bf_ll_at(ll, twiddles, bf_ll_mul_int(ll, outer.index, each));
    bf_fft_loop_begin(ll, &inner, pass->s);
    pass->q = inner.index;
    generate_strips(pass);
    bf_fft_loop_end(ll, &inner);
    bf_fft_loop_end(ll, &outer);
    return pass->m * each;
}

void bf_fft_columns(const struct bf_fft_columns *c) {
    struct pass pass = {.columns = c, .radix = 1, .m = c->fft->n, .s = 1};
    LLVMValueRef twiddles = c->twiddles;
    pass.p = pass.q = bf_ll_int(c->ll, 0);
    if (!c->fft->passes) /* one point */
        generate_strips(&pass);
    for (; pass.number < c->fft->passes; pass.number++) {
        pass.radix = c->fft->radix[pass.number];
        pass.m /= pass.radix;
        twiddles = bf_ll_at_int(c->ll, twiddles, generate_pass(&pass, twiddles));
        pass.s *= pass.radix;
    }
}
