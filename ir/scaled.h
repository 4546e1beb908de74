/* scaled.h - butterflies with one multiplication an output instead of two.
 *
 * A stage y_i = a x_i + b x_j is stored as u_i with y_i = s_i u_i: the operand with the larger
 * coefficient is the pivot p, the other one q, and
 *
 *     u_i = u_p + r u_q,   r = Q / P, |r| <= 1,   P, Q = coefficients x scales of the operands
 *
 * The scale s_i goes into the coefficients of the next stage, so that only the last stage has two
 * slots an output and absorbs what is left. In the spirit of the ratio form of FFT butterflies
 * (Linzer and Feig, 1993), with a pivot for every output: no weight, however small, zero or large,
 * needs another form. All of it is computed in double from the weights as given.
 *
 * The form of a kernel is a part of its attributes: "scaled<i>" = h says that stage i is scaled and
 * its stored results are divided by 2^h, "slots<i>" = h the same for a stage of two slots whose
 * results have powers of two as scales. A stage without either is as in the plain form.
 */
#ifndef BF_SCALED_H
#define BF_SCALED_H

#include "ir/poly.h"
#include "ir/weights.h"

enum bf_stage_form {
    BF_FORM_PLAIN,  /* the last stage, or all: two slots an output; results are not scaled before */
    BF_FORM_SCALED, /* one slot: ratio, and bit 14 set where the partner is the pivot */
    BF_FORM_SLOTS,  /* two slots, scales are powers of two */
};

/* Of statement `stmt`, a stage of a butterfly; and by how much its results are shifted more than
 * the plain form does. */
enum bf_stage_form bf_scaled_form(const struct bf_poly_kernel *kernel, int stmt);
int bf_scaled_shift(const struct bf_poly_kernel *kernel, int stmt);
/* Whether any stage is scaled: such a kernel works from one region into another. */
bool bf_scaled_kernel(const struct bf_poly_kernel *kernel);
void bf_scaled_set(struct bf_poly *poly, struct bf_poly_kernel *kernel, int stmt,
                   enum bf_stage_form form, int shift);
/* Takes the form of a stage back. */
void bf_scaled_clear(struct bf_poly_kernel *kernel, int stmt);
/* Gives a kernel that is being built, and has no statements yet, the form of another one. */
void bf_scaled_copy(struct bf_poly *poly, struct bf_poly_kernel *kernel,
                    const struct bf_poly_kernel *like);

/* One stack as the array uses it. */
struct bf_scaled {
    int stages; /* stage i is statement 1 + i */
    int64_t n;
    /* words[2 (i n + e)]: of result e of stage i: the ratio with its swap bit (SCALED), or the
     * coefficients of its own and the partner's operand. fp16 bits. */
    uint16_t *words;
    int *least; /* of stage i: by what power of two all results so far must be divided, at least */
    bool fits;  /* the coefficients of the last stage are fp16 numbers */
};
/* The caller frees it with bf_scaled_free. Ratios follow from the forms, and coefficients of the
 * last stage from the shifts that the statements have. */
struct bf_scaled bf_scaled_compute(const struct bf_poly_kernel *kernel,
                                   const struct bf_weights *weights, int64_t stack);
void bf_scaled_free(struct bf_scaled *scaled);

#endif
