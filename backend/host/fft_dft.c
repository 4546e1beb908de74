/* fft_dft.c - small transforms in registers. See fft.h. */
#include "backend/host/fft.h"
#include "ir/angles.h"

static LLVMValueRef negated(struct bf_ll *ll, LLVMValueRef a) {
    return a ? bf_ll_fneg(ll, a) : NULL;
}

static LLVMValueRef add(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b) {
    if (!a || !b)
        return a ? a : b;
    return bf_ll_fadd(ll, a, b);
}

static LLVMValueRef sub(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b) {
    if (!a || !b)
        return a ? a : negated(ll, b);
    return bf_ll_fsub(ll, a, b);
}

static LLVMValueRef constant(struct bf_ll *ll, LLVMValueRef like, double value) {
    return bf_ll_const(ll, bf_ll_lanes(like), value);
}

/* a x factor + b */
static LLVMValueRef scale_add(struct bf_ll *ll, LLVMValueRef a, double factor, LLVMValueRef b) {
    if (!a)
        return b;
    LLVMValueRef f = constant(ll, a, factor);
    return b ? bf_ll_fma(ll, a, f, b) : bf_ll_fmul(ll, a, f);
}

struct bf_complex bf_complex_add(struct bf_ll *ll, struct bf_complex a, struct bf_complex b) {
    a.re = add(ll, a.re, b.re);
    a.im = add(ll, a.im, b.im);
    return a;
}

struct bf_complex bf_complex_sub(struct bf_ll *ll, struct bf_complex a, struct bf_complex b) {
    a.re = sub(ll, a.re, b.re);
    a.im = sub(ll, a.im, b.im);
    return a;
}

/* a - i b, a + i b */
static struct bf_complex minus_i(struct bf_ll *ll, struct bf_complex a, struct bf_complex b) {
    a.re = add(ll, a.re, b.im);
    a.im = sub(ll, a.im, b.re);
    return a;
}
static struct bf_complex plus_i(struct bf_ll *ll, struct bf_complex a, struct bf_complex b) {
    a.re = sub(ll, a.re, b.im);
    a.im = add(ll, a.im, b.re);
    return a;
}

/* a b - c d, a b + c d, where a product with NULL is 0 */
static LLVMValueRef products(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c,
                             LLVMValueRef d, bool minus) {
    LLVMValueRef first = a && b ? bf_ll_fmul(ll, a, b) : NULL;
    if (!c || !d)
        return first;
    if (minus)
        c = bf_ll_fneg(ll, c);
    return first ? bf_ll_fma(ll, c, d, first) : bf_ll_fmul(ll, c, d);
}

struct bf_complex bf_complex_mul(struct bf_ll *ll, struct bf_complex a, struct bf_complex b) {
    struct bf_complex c = {.re = products(ll, a.re, b.re, a.im, b.im, true)};
    c.im = products(ll, a.re, b.im, a.im, b.re, false);
    return c;
}

struct bf_complex bf_complex_load(struct bf_ll *ll, LLVMValueRef at, unsigned lanes) {
    unsigned align = lanes * (unsigned)sizeof(float);
    struct bf_complex value = {.re = bf_ll_load(ll, at, lanes, align)};
    value.im = bf_ll_load(ll, bf_ll_at_int(ll, at, lanes), lanes, align);
    return value;
}

struct bf_complex bf_complex_load_splat(struct bf_ll *ll, LLVMValueRef at, unsigned lanes) {
    struct bf_complex value = {.re = bf_ll_load_splat(ll, at, lanes)};
    value.im = bf_ll_load_splat(ll, bf_ll_at_int(ll, at, 1), lanes);
    return value;
}

void bf_complex_store(struct bf_ll *ll, LLVMValueRef at, struct bf_complex value, unsigned lanes) {
    unsigned align = lanes * (unsigned)sizeof(float);
    LLVMValueRef zero = bf_ll_const(ll, lanes, 0);
    bf_ll_store(ll, value.re ? value.re : zero, at, align);
    bf_ll_store(ll, value.im ? value.im : zero, bf_ll_at_int(ll, at, lanes), align);
}

static struct bf_complex scaled(struct bf_ll *ll, struct bf_complex a, double factor,
                                struct bf_complex b) {
    a.re = scale_add(ll, a.re, factor, b.re);
    a.im = scale_add(ll, a.im, factor, b.im);
    return a;
}

/* -i a */
static struct bf_complex turned(struct bf_ll *ll, struct bf_complex a) {
    return (struct bf_complex){a.im, negated(ll, a.re)};
}

static void dft2(struct bf_ll *ll, struct bf_complex *a, struct bf_complex *b) {
    struct bf_complex sum = bf_complex_add(ll, *a, *b);
    *b = bf_complex_sub(ll, *a, *b);
    *a = sum;
}

static void dft4(struct bf_ll *ll, struct bf_complex *x) {
    dft2(ll, &x[0], &x[2]);
    dft2(ll, &x[1], &x[3]);
    struct bf_complex even = x[2], odd = x[3], one = x[1];
    x[2] = bf_complex_sub(ll, x[0], one);
    x[0] = bf_complex_add(ll, x[0], one);
    x[1] = minus_i(ll, even, odd);
    x[3] = plus_i(ll, even, odd);
}

/* y_k = x_0 + sum over j of (x_j + x_(p-j)) cos(2 pi j k / p) - i (x_j - x_(p-j)) sin(2 pi j k /
 * p), y_(p-k) with + i. */
static void dft_odd(struct bf_ll *ll, unsigned p, struct bf_complex *x) {
    struct bf_complex sum[BF_FFT_LARGEST_RADIX / 2], difference[BF_FFT_LARGEST_RADIX / 2];
    struct bf_complex zero = x[0];
    for (unsigned j = 1; j <= p / 2; j++) {
        sum[j - 1] = bf_complex_add(ll, x[j], x[p - j]);
        difference[j - 1] = bf_complex_sub(ll, x[j], x[p - j]);
        x[0] = bf_complex_add(ll, x[0], sum[j - 1]);
    }
    for (unsigned k = 1; k <= p / 2; k++) {
        struct bf_complex even = zero, odd = {NULL, NULL};
        for (unsigned j = 1; j <= p / 2; j++) {
            double c, s;
            bf_root_of_unity(j * k % p, p, &c, &s);
            even = scaled(ll, sum[j - 1], c, even);
            odd = scaled(ll, difference[j - 1], s, odd);
        }
        odd = turned(ll, odd);
        x[k] = bf_complex_add(ll, even, odd);
        x[p - k] = bf_complex_sub(ll, even, odd);
    }
}

/* a + w b and a - w b for w = exp(-2 pi i k / r), 0 <= k < r / 2. With w = c (1 - i t), t = tan:
 * w b = c ((b.re + t b.im) + i (b.im - t b.re)), six FMAs in all (Linzer and Feig, 1993). */
static void combine(struct bf_ll *ll, unsigned k, unsigned r, struct bf_complex *a,
                    struct bf_complex *b) {
    if (k == 0 || 4 * k == r) {
        if (k)
            *b = turned(ll, *b);
        dft2(ll, a, b);
        return;
    }
    double c, s;
    bf_root_of_unity(k, r, &c, &s);
    double t = s / c;
    struct bf_complex u;
    if (8 * k == r) { /* t = 1 */
        u = minus_i(ll, *b, *b);
    } else if (8 * k == 3 * r) { /* -1 */
        u = plus_i(ll, *b, *b);
    } else {
        u.re = scale_add(ll, b->im, t, b->re);
        u.im = scale_add(ll, b->re, -t, b->im);
    }
    *b = scaled(ll, u, -c, *a);
    *a = scaled(ll, u, c, *a);
}

/* r = 2 h: transforms of the even and the odd points. */
static void dft_even(struct bf_ll *ll, unsigned r, struct bf_complex *x) {
    struct bf_complex even[BF_FFT_LARGEST_RADIX / 2], odd[BF_FFT_LARGEST_RADIX / 2];
    for (unsigned k = 0; k < r / 2; k++) {
        even[k] = x[2 * k];
        odd[k] = x[2 * k + 1];
    }
    bf_fft_dft(ll, r / 2, even);
    bf_fft_dft(ll, r / 2, odd);
    for (unsigned k = 0; k < r / 2; k++) {
        combine(ll, k, r, &even[k], &odd[k]);
        x[k] = even[k];
        x[k + r / 2] = odd[k];
    }
}

/* r = 3 b, odd: n = b n1 + n2, k = k1 + 3 k2. */
static void dft_thirds(struct bf_ll *ll, unsigned r, struct bf_complex *x) {
    struct bf_complex column[3][BF_FFT_LARGEST_RADIX / 3];
    unsigned b = r / 3;
    for (unsigned n2 = 0; n2 < b; n2++) {
        struct bf_complex y[3] = {x[n2], x[b + n2], x[2 * b + n2]};
        dft_odd(ll, 3, y);
        for (unsigned k1 = 0; k1 < 3; k1++) {
            double c, s;
            bf_root_of_unity(n2 * k1 % r, r, &c, &s);
            column[k1][n2] = y[k1];
            if (n2 && k1) {
                struct bf_complex t = scaled(ll, turned(ll, y[k1]), s, (struct bf_complex){0});
                column[k1][n2] = scaled(ll, y[k1], c, t);
            }
        }
    }
    for (unsigned k1 = 0; k1 < 3; k1++) {
        bf_fft_dft(ll, b, column[k1]);
        for (unsigned k2 = 0; k2 < b; k2++)
            x[k1 + 3 * k2] = column[k1][k2];
    }
}

void bf_fft_dft(struct bf_ll *ll, unsigned r, struct bf_complex *x) {
    if (r == 2)
        dft2(ll, &x[0], &x[1]);
    else if (r == 4)
        dft4(ll, x);
    else if (r % 2 == 0)
        dft_even(ll, r, x);
    else if (r % 3 == 0 && r > 3)
        dft_thirds(ll, r, x);
    else if (r > 2)
        dft_odd(ll, r, x);
}
