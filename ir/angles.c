#include "ir/angles.h"

#include <stdbool.h>

/* cos and sin of |x| <= pi/4: Taylor series. */
static void small_angle(double x, double *c, double *s) {
    double x2 = x * x, term_c = 1, term_s = x, sum_c = 1, sum_s = x;
    for (int k = 1; k <= 10; k++) {
        term_c *= -x2 / ((2 * k - 1) * (2 * k));
        term_s *= -x2 / ((2 * k) * (2 * k + 1));
        sum_c += term_c;
        sum_s += term_s;
    }
    *c = sum_c;
    *s = sum_s;
}

/* From cos and sin of the angle inside its quarter of the circle. */
static void place_in_quarter(int64_t quarter, double cosine, double sine, double *c, double *s) {
    switch (quarter & 3) {
    case 0:
        *c = cosine, *s = sine;
        break;
    case 1:
        *c = -sine, *s = cosine;
        break;
    case 2:
        *c = -cosine, *s = -sine;
        break;
    default:
        *c = sine, *s = -cosine;
        break;
    }
}

void bf_root_of_unity(int64_t a, int64_t n, double *c, double *s) {
    int64_t eighth = 8 * a / n;        /* octant 0 .. 7 */
    int64_t rest = 8 * a - eighth * n; /* 2 pi a / n = (eighth + rest / n) pi / 4 */
    bool mirrored = eighth & 1;        /* pi/2 - angle */
    int64_t part = mirrored ? n - rest : rest;
    double cosine, sine;
    small_angle(0.78539816339744830961566 * (double)part / (double)n, &cosine, &sine);
    place_in_quarter(eighth / 2, mirrored ? sine : cosine, mirrored ? cosine : sine, c, s);
}

/* pi/2 in three pieces, of which the first two have 30 bits: their products with a number of
 * quarters below 2^22 are exact. */
void bf_cos_sin(double x, double *c, double *s) {
    static const double pieces[] = {0x1.921fb54p+0, 0x1.10b46118p-30, 0x1.313198a2e037p-61};
    int64_t quarter = (int64_t)(x * 0.63661977236758134308 + 0.5);
    double rest = x, cosine, sine;
    for (int i = 0; i < 3; i++)
        rest -= (double)quarter * pieces[i];
    small_angle(rest, &cosine, &sine);
    place_in_quarter(quarter, cosine, sine, c, s);
}

static const double ln_2 = 0.69314718055994530942;

/* 2 atanh((m - 1) / (m + 1)) + e ln 2, where x = m 2^e and m is near 1. */
static double logarithm(double x) {
    int e = 0;
    for (; x > 1.4142135623730951; x /= 2)
        e++;
    for (; x < 0.70710678118654757; x *= 2)
        e--;
    double z = (x - 1) / (x + 1), z2 = z * z, term = z, sum = 0;
    for (int k = 1; k < 50; k += 2, term *= z2)
        sum += term / k;
    return 2 * sum + e * ln_2;
}

static double exponential(double x) {
    int64_t e = (int64_t)(x / ln_2 + (x < 0 ? -0.5 : 0.5));
    double rest = x - (double)e * ln_2, term = 1, sum = 1;
    for (int k = 1; k < 22; k++) {
        term *= rest / k;
        sum += term;
    }
    for (; e > 0; e--)
        sum *= 2;
    for (; e < 0; e++)
        sum /= 2;
    return sum;
}

double bf_power(double base, double exponent) {
    double power = exponent * logarithm(base);
    return power < -700 ? 0 : exponential(power < 700 ? power : 700);
}
