/* butterfly.h - a butterfly map as passes over vectors of a row, and the weights of each.
 *
 * A row of n elements is n / lanes vectors. A stage acts along one binary digit of the element
 * number: a low one lies inside a vector (the partner is another lane), a high one between two
 * vectors. A pass takes tiles of 2^width vectors through several stages in registers:
 *
 *     n = 1024, 16 lanes, increasing:   pass 0  stages 0..6  lanes and digits 4 5 6
 *                                       pass 1  stages 7..9  digits 7 8 9
 *
 * Rescaled weights. A pair costs four multiplications; two of them go if each result is divided by
 * its own weight and the factor is put into the weights of the next stage:
 *
 *     y_i = a x_i + b x_j,  x = sigma u   ->   v_i = u_i + r u_j,  r = b sigma_j / (a sigma_i),
 *                                              sigma'_i = a sigma_i
 *
 * The last stage is done in full with the scales in its weights, where the bias is added, too. A
 * stage is also done in full (its results have scale 1) if any of its own weights is 0, or a ratio
 * or scale leaves the range in which f32 is safe: decided from the values, for all stacks at once.
 *
 * Vectors that hold only padding are known zeros, those that no output depends on are not computed.
 */
#ifndef BF_HOST_BUTTERFLY_H
#define BF_HOST_BUTTERFLY_H

#include "ir/host.h"

enum { BF_BUTTERFLY_MOST_VECTORS = 16 }; /* in a tile */

struct bf_butterfly_pass {
    unsigned first, last;  /* stages [first, last) */
    unsigned digit, width; /* a tile: digits [digit, digit + width) of the vector number */
};

/* How one vector of results arises from its own vector and its partner. */
enum bf_butterfly_op {
    BF_BUTTERFLY_NONE,          /* not needed, or known to be 0 */
    BF_BUTTERFLY_COPY_OWN,      /* u */
    BF_BUTTERFLY_COPY_PARTNER,  /* p */
    BF_BUTTERFLY_SCALE_OWN,     /* w u */
    BF_BUTTERFLY_SCALE_PARTNER, /* w p */
    BF_BUTTERFLY_RATIO,         /* u + w p */
    BF_BUTTERFLY_FULL,          /* w u + w' p */
};

struct bf_butterfly_shape {
    int64_t n, blocks, stacks; /* n: 2 or more */
    int64_t in, out;           /* columns read; columns of all stacks together */
    bool increasing;
    double scale, bias_scale; /* of results and of the bias: undo exponents */
};
struct bf_butterfly {
    struct bf_butterfly_shape shape;
    unsigned bits, lane_bits; /* log2 of n; of the lanes of a vector */
    unsigned lanes, vectors;
    unsigned stages;
    bool *full; /* by stage */
    unsigned pass_count;
    struct bf_butterfly_pass *passes;
    /* [stage][vector], stages + 1 rows: not a known zero before the stage; some output depends on
     * it. The last stack may have fewer outputs and has a `need` of its own, need[1]. */
    bool *live, *need[2];
};

/* Plans the passes: at most 2^width vectors a tile. Every stage but the last is rescaled until
 * bf_butterfly_choose_forms or bf_butterfly_load_forms. */
struct bf_butterfly *bf_butterfly_create(const struct bf_butterfly_shape *shape, unsigned lanes,
                                         unsigned width);
void bf_butterfly_free(struct bf_butterfly *b);
void bf_butterfly_choose_forms(struct bf_butterfly *b, const struct bf_weights *values,
                               const struct bf_param_view *twiddle);
/* The forms as numbers of a choice. */
void bf_butterfly_save_forms(const struct bf_butterfly *b, struct bf_ints *params,
                             struct bf_arena *arena);
void bf_butterfly_load_forms(struct bf_butterfly *b, const struct bf_ints *params);

unsigned bf_butterfly_digit(const struct bf_butterfly *b, unsigned stage);
/* Outputs of a stack of kind 0 (all but the last), 1 (the last). */
int64_t bf_butterfly_outputs(const struct bf_butterfly *b, int which);
int64_t bf_butterfly_tiles(const struct bf_butterfly *b, unsigned pass);
/* Number of vector r of a tile. */
unsigned bf_butterfly_vector(const struct bf_butterfly *b, unsigned pass, int64_t tile, unsigned r);
unsigned bf_butterfly_partner(const struct bf_butterfly *b, unsigned stage, unsigned vector);
enum bf_butterfly_op bf_butterfly_op(const struct bf_butterfly *b, int which, unsigned stage,
                                     unsigned vector);
unsigned bf_butterfly_op_weights(enum bf_butterfly_op op);
/* Whether a pass reads (writes) a vector. */
bool bf_butterfly_reads(const struct bf_butterfly *b, int which, unsigned pass, unsigned vector);
bool bf_butterfly_writes(const struct bf_butterfly *b, int which, unsigned pass, unsigned vector);

/* Tiles [first, first + count) that do the same; weights[pass][segment][tile] follow each other. */
struct bf_butterfly_segment {
    int64_t first, count;
    int64_t weights; /* vectors of weights a tile, without biases */
    int64_t outputs; /* vectors a tile writes */
};
/* False after the last segment; start with *segment zeroed. */
bool bf_butterfly_next_segment(const struct bf_butterfly *b, int which, unsigned pass,
                               struct bf_butterfly_segment *segment);
/* Vectors of weights of a stack, and of biases. */
int64_t bf_butterfly_weights(const struct bf_butterfly *b, int which, bool bias);

/* Writes the weights of a stack in the order in which its tiles use them: for each stage, for each
 * vector, those of its op, then (last stage; `bias` not NULL) its bias. `stack` counts within the
 * twiddle; kind `which`. */
void bf_butterfly_pack(const struct bf_butterfly *b, const struct bf_weights *values,
                       const struct bf_param_view *twiddle, const struct bf_param_view *bias,
                       int64_t stack, int which, float *out);

#endif
