/* sfu.c - the special-function unit in integers: tables, argument reductions, packing. */
#include "ir/isa/sfu.h"

#include "ir/isa/fp.h"

/* Each segment's parabola goes through the function at the segment's start, middle and end: with
 * f0, fm, f1 there, c0 = floor(f0 + 1/2), c1 = floor(-3 f0 + 4 fm - f1 + 5/4) and
 * c2 = floor(2 f0 - 4 fm + 2 f1 + 1/2), in their units. The additional 3/4 of c1 makes up for the
 * floor of (c2 x d) >> 16 and keeps y in its range up to the end of the last segment.
 * Segments: EXP2 [i, i + 1) / 32 of the fraction; RCP 1 + [i, i + 1) / 32 of the mantissa;
 * RSQRT (1 + [i mod 16, i mod 16 + 1) / 16) x (1 or, from i = 16 on, 2).
 * test/unit/test_sfu.c computes all of them again. */
const struct bf_special_table bf_special_tables[BF_SPECIALS] = {
    [BF_SPECIAL_EXP2] =
        {
            .c0 = {8388608,  8572295,  8760003,  8951823,  9147842,  9348154,  9552851,  9762032,
                   9975792,  10194234, 10417458, 10645571, 10878679, 11116891, 11360319, 11609078,
                   11863283, 12123055, 12388516, 12659789, 12937002, 13220286, 13509772, 13805598,
                   14107901, 14416824, 14732511, 15055111, 15384775, 15721658, 16065917, 16417715},
            .c1 = {11357, 11605, 11860, 12119, 12385, 12656, 12933, 13216, 13505, 13801, 14103,
                   14412, 14728, 15050, 15380, 15717, 16061, 16412, 16772, 17139, 17514, 17898,
                   18290, 18690, 19099, 19518, 19945, 20382, 20828, 21284, 21750, 22226},
            .c2 = {124, 127, 130, 133, 136, 139, 142, 145, 148, 151, 154, 158, 161, 165, 168, 172,
                   176, 180, 184, 188, 192, 196, 200, 205, 209, 214, 218, 223, 228, 233, 238, 243},
        },
    [BF_SPECIAL_RCP] =
        {
            .c0 = {16777216, 16268816, 15790321, 15339169, 14913081, 14510025, 14128182, 13765921,
                   13421773, 13094412, 12782641, 12485370, 12201612, 11930465, 11671107, 11422785,
                   11184811, 10956549, 10737418, 10526881, 10324441, 10129640, 9942054,  9761289,
                   9586981,  9418788,  9256395,  9099507,  8947849,  8801162,  8659208,  8521761},
            .c1 = {-32752, -30798, -29014, -27380, -25880, -24501, -23229, -22053,
                   -20964, -19955, -19016, -18142, -17327, -16565, -15853, -15186,
                   -14560, -13972, -13418, -12897, -12406, -11943, -11504, -11090,
                   -10697, -10325, -9972,  -9637,  -9319,  -9016,  -8727,  -8452},
            .c2 = {978, 893, 817, 750, 690, 636, 588, 545, 505, 470, 437, 408, 381, 356, 334, 313,
                   294, 277, 261, 246, 232, 219, 207, 196, 186, 177, 168, 159, 152, 144, 137, 131},
        },
    [BF_SPECIAL_RSQRT] =
        {
            .c0 = {16777216, 16276290, 15817711, 15395829, 15005998, 14644355, 14307658, 13993165,
                   13698540, 13421773, 13161131, 12915107, 12682383, 12461803, 12252346, 12053108,
                   11863283, 11509075, 11184811, 10886495, 10610843, 10355123, 10117042, 9894662,
                   9686330,  9490627,  9306325,  9132360,  8967799,  8811826,  8663717,  8522834},
            .c1 = {-32730, -29889, -27436, -25301, -23429, -21777, -20310, -19001,
                   -17827, -16768, -15811, -14941, -14148, -13423, -12758, -12146,
                   -23144, -21134, -19400, -17890, -16567, -15398, -14361, -13436,
                   -12605, -11857, -11180, -10565, -10004, -9491,  -9021,  -8588},
            .c2 = {1423, 1228, 1069, 937, 827, 734,  655, 588, 530, 479, 435,
                   397,  363,  333,  306, 282, 1006, 869, 756, 663, 585, 519,
                   463,  416,  374,  339, 308, 281,  257, 235, 217, 200},
        },
};

enum { FRACTION = 0x7fffff, INFINITE = 0x7f800000 };

static int32_t evaluate(enum bf_special op, uint32_t index, uint32_t offset) {
    const struct bf_special_table *table = &bf_special_tables[op];
    int32_t d = (int32_t)offset;
    int32_t slope = table->c1[index] + ((table->c2[index] * d) >> 16);
    return table->c0[index] + ((slope * d) >> 12);
}

/* y x 2^(exponent - 23), 2^23 <= y <= 2^24, rounded to nearest even where it is subnormal. */
static uint32_t pack(uint32_t y, int exponent) {
    if (exponent > 127)
        return INFINITE;
    int biased = exponent + 127;
    if (biased >= 1) /* y = 2^24 carries into the exponent, up to infinity */
        return ((uint32_t)(biased - 1) << 23) + y;
    int shift = 1 - biased;
    if (shift > 25)
        return 0;
    uint32_t kept = y >> shift, lost = y & ((1u << shift) - 1), half = 1u << (shift - 1);
    return kept + (lost > half || (lost == half && (kept & 1)));
}

/* x = +-mantissa x 2^(exponent - 23), mantissa in [2^23, 2^24); x finite, not 0. */
static uint32_t normalise(uint32_t magnitude, int *exponent) {
    if (magnitude >> 23) {
        *exponent = (int)(magnitude >> 23) - 127;
        return (magnitude & FRACTION) | 0x800000;
    }
    int shift = __builtin_clz(magnitude) - 8;
    *exponent = -126 - shift;
    return magnitude << shift;
}

float bf_exp2_32(float x) {
    uint32_t bits = bf_float_bits(x), magnitude = bits & 0x7fffffff;
    if (magnitude > INFINITE)
        return bf_bits_float(BF_FLOAT_NAN);
    if (magnitude >= 0x43800000) /* |x| >= 256 */
        return bf_bits_float(bits >> 31 ? 0 : INFINITE);
    /* |x| in units of 2^-21, cut off towards 0 */
    int exponent = (int)(magnitude >> 23) - 127;
    uint32_t mantissa = (magnitude & FRACTION) | 0x800000;
    int32_t fixed = exponent >= 2    ? (int32_t)(mantissa << (exponent - 2))
                    : exponent > -22 ? (int32_t)(mantissa >> (2 - exponent))
                                     : 0;
    if (bits >> 31)
        fixed = -fixed;
    int whole = fixed >> 21;
    uint32_t fraction = (uint32_t)fixed & 0x1fffff;
    int32_t y = evaluate(BF_SPECIAL_EXP2, fraction >> 16, fraction & 0xffff);
    return bf_bits_float(pack((uint32_t)y, whole));
}

float bf_rcp32(float x) {
    uint32_t bits = bf_float_bits(x), magnitude = bits & 0x7fffffff, sign = bits & 0x80000000;
    if (magnitude > INFINITE)
        return bf_bits_float(BF_FLOAT_NAN);
    if (magnitude == INFINITE)
        return bf_bits_float(sign);
    if (magnitude == 0)
        return bf_bits_float(sign | INFINITE);
    int exponent;
    uint32_t mantissa = normalise(magnitude, &exponent);
    int32_t y = evaluate(BF_SPECIAL_RCP, mantissa >> 18 & 31, mantissa >> 2 & 0xffff);
    return bf_bits_float(sign | pack((uint32_t)y, -exponent - 1));
}

float bf_rsqrt32(float x) {
    uint32_t bits = bf_float_bits(x), magnitude = bits & 0x7fffffff, sign = bits & 0x80000000;
    if (magnitude == 0)
        return bf_bits_float(sign | INFINITE);
    if (magnitude > INFINITE || sign)
        return bf_bits_float(BF_FLOAT_NAN);
    if (magnitude == INFINITE)
        return bf_bits_float(0);
    int exponent;
    uint32_t mantissa = normalise(magnitude, &exponent);
    uint32_t odd = (uint32_t)exponent & 1;
    int32_t y =
        evaluate(BF_SPECIAL_RSQRT, odd << 4 | (mantissa >> 19 & 15), mantissa >> 3 & 0xffff);
    return bf_bits_float(pack((uint32_t)y, -((exponent - (int)odd) / 2) - 1));
}

float bf_special(enum bf_special op, float x) {
    switch (op) {
    case BF_SPECIAL_EXP2:
        return bf_exp2_32(x);
    case BF_SPECIAL_RCP:
        return bf_rcp32(x);
    case BF_SPECIAL_RSQRT:
        break;
    }
    return bf_rsqrt32(x);
}
