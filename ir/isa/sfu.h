/* sfu.h - the special functions EXP2, RCP and RSQRT: f32 to f32, by one small integer datapath.
 *
 * The argument is reduced to a table index i (5 bit) and an offset d (16 bit) inside segment i.
 * With the three coefficients of the segment, all shifts arithmetic, the result's significand is
 *
 *     y = c0[i] + (((c1[i] + ((c2[i] x d) >> 16)) x d) >> 12),        2^23 <= y <= 2^24
 *
 * in units of 2^-23 (EXP2, which lies in [1, 2)) or 2^-24 (the others, in (1/2, 1]). Every
 * intermediate fits 32 bits; the products are 11 x 16 and 16 x 16 bit. docs/numbers.md has the
 * reductions, the special cases and the measured errors, all below 2^-17 relative.
 * EXP2 of an integer and RCP of a power of two are exact, RSQRT of a power of four too.
 */
#ifndef BF_ISA_SFU_H
#define BF_ISA_SFU_H

#include <stdint.h>

enum bf_special { BF_SPECIAL_EXP2, BF_SPECIAL_RCP, BF_SPECIAL_RSQRT };
enum { BF_SPECIALS = 3, BF_SPECIAL_SEGMENTS = 32 };

struct bf_special_table {
    int32_t c0[BF_SPECIAL_SEGMENTS]; /* 25 bit, unsigned: the function at the segment's start */
    int32_t c1[BF_SPECIAL_SEGMENTS]; /* 16 bit, signed; unit 16 times that of c0 */
    int32_t c2[BF_SPECIAL_SEGMENTS]; /* 11 bit, unsigned; unit that of c1 */
};
extern const struct bf_special_table bf_special_tables[BF_SPECIALS]; /* by enum bf_special */

float bf_exp2_32(float x); /* 2^x: 0 far below, infinity from 128 on */
float bf_rcp32(float x);   /* 1/x: +-0 gives +-infinity and back */
float bf_rsqrt32(float x); /* 1/sqrt(x): +-0 gives +-infinity, other negative x NaN */
float bf_special(enum bf_special op, float x);

#endif
