/* angles.h - cosines, sines and powers from additions, multiplications and divisions in double: the
 * same bits on every machine, as libm's are not. All are exact to a few units in the last place. */
#ifndef BF_ANGLES_H
#define BF_ANGLES_H

#include <stdint.h>

/* cos and sin of 2 pi a / n, 0 <= a < n; folded to the first octant in integers. */
void bf_root_of_unity(int64_t a, int64_t n, double *c, double *s);

/* cos and sin of 0 <= x < 2^31; the error is that of x itself, about x 2^-53. */
void bf_cos_sin(double x, double *c, double *s);

/* base^exponent, base > 0. */
double bf_power(double base, double exponent);

#endif
