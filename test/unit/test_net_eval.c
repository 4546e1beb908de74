/* test_net_eval.c - the interpreter in double against numbers worked out by hand. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>

#include "ir/weights.h"

/* Parses a body, evaluates it, compares the only output with `want`, and returns the error text (in
 * static memory), "" if there was none. Weights: `count` tensors in f32. */
struct tensor {
    const char *name;
    unsigned rank;
    int64_t dims[6];
    const float *data;
};

static const char *evaluate(const char *body, const struct tensor *tensors, size_t count,
                            const double *const *inputs, const double *want) {
    static struct bf_error error;
    struct bf_sources sources = {0};
    struct bf_diags diags = {.sources = &sources, .out = stderr};
    struct bf_text text = {0};
    error = (struct bf_error){0};
    bf_source_add(&sources, "test.net", NULL, 0);
    bf_text_printf(&text,
                   "bfcc net 1 arch=default:0000000000000000 batch=1 opt=2 resident=0 "
                   "weights=none\nnet n\n%s",
                   body);
    struct bf_net *net = bf_net_parse(text.data, text.length, 0, &diags);
    assert_non_null(net);
    struct bf_weights *weights = bf_weights_create("w");
    for (size_t i = 0; i < count; i++)
        assert_true(bf_weights_add(weights, tensors[i].name, BF_WEIGHT_F32, tensors[i].rank,
                                   tensors[i].dims, tensors[i].data, &error));
    int64_t elements = bf_type_elements(&net->outputs.data[0].value->type);
    double *output = bf_alloc((size_t)elements * sizeof *output);
    bool ok = bf_net_eval(net, weights, inputs, &output, NULL, NULL, &error);
    assert_int_equal(ok, !*error.text);
    for (int64_t i = 0; ok && i < elements; i++)
        if (fabs(output[i] - want[i]) > 1e-12)
            fail_msg("element %d is %.17g, not %.17g", (int)i, output[i], want[i]);
    free(output);
    bf_weights_free(weights);
    bf_net_free(net);
    bf_text_free(&text);
    bf_sources_free(&sources);
    return error.text;
}

#define IN(...)                                                                                    \
    (const double *const[]) {                                                                      \
        (const double[]) {                                                                         \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define WANT(...) ((const double[]){__VA_ARGS__})
#define DATA(...) ((const float[]){__VA_ARGS__})

static void linear_adds_its_bias(void **state) {
    (void)state;
    const struct tensor w[] = {{"weight", 2, {2, 3}, DATA(1, 2, 3, -1, 0, 1)},
                               {"bias", 1, {2}, DATA(10, 20)}};
    assert_string_equal(evaluate("input %x f16[1,3]\n"
                                 "param weight f16[2,3]\n"
                                 "param bias f16[2]\n"
                                 "%1 = linear %x out=2 bias f16[1,2]\n"
                                 "output y = %1 f16[1,2]\n",
                                 w, 2, IN(1, 1, 2), WANT(19, 21)),
                        "");
}

/* N = 4, stage of stride 1, then of stride 2; x = (1, 2, 3, 0): the input of width 3 is padded.
 * Stage 0: pairs (0,1), (2,3): y0 = 1*1+2*2 = 5, y1 = 3*1+4*2 = 11, y2 = 5*3 = 15, y3 = 7*3 = 21.
 * Stage 1: pairs (0,2), (1,3): z0 = 5+15 = 20, z2 = 5-15 = -10, z1 = 11+2*21 = 53, z3 = 11. */
static void butterfly_pads_and_truncates(void **state) {
    (void)state;
    const struct tensor w[] = {
        {"twiddle",
         6,
         {1, 1, 2, 2, 2, 2},
         DATA(1, 2, 3, 4, 5, 6, 7, 8, /* stage 0 */ 1, 1, 1, -1, 1, 2, 1, 0 /* stage 1 */)}};
    assert_string_equal(evaluate("input %x f16[3]\n"
                                 "param twiddle f16[1,1,2,2,2,2]\n"
                                 "%1 = butterfly %x out=3 increasing nblocks=1 f16[3]\n"
                                 "output y = %1 f16[3]\n",
                                 w, 1, IN(1, 2, 3), WANT(20, 53, -10)),
                        "");
    /* Decreasing: the first stage has stride 2, the second stride 1.
     * y0 = 1*1+2*3 = 7, y2 = 3*1+4*3 = 15, y1 = 5*2 = 10, y3 = 7*2 = 14; 7+10, 7-10, 15+2*14. */
    assert_string_equal(evaluate("input %x f16[3]\n"
                                 "param twiddle f16[1,1,2,2,2,2]\n"
                                 "%1 = butterfly %x out=3 nblocks=1 f16[3]\n"
                                 "output y = %1 f16[3]\n",
                                 w, 1, IN(1, 2, 3), WANT(17, -3, 43)),
                        "");
}

/* x = delta at (1, 1) of 2 x 3: Y[u, v] = cos(pi u + 2 pi v / 3). */
static void fourier_of_an_impulse(void **state) {
    (void)state;
    assert_string_equal(evaluate("input %x f16[2,3]\n"
                                 "%1 = fourier %x axes=[0,1] f16[2,3]\n"
                                 "output y = %1 f16[2,3]\n",
                                 NULL, 0, IN(0, 0, 0, 0, 1, 0), WANT(1, -0.5, -0.5, -1, 0.5, 0.5)),
                        "");
}

/* i at index 1 of 4: Z[k] = i (-i)^k; the inverse of that is 4 times the input. */
static void fft_and_its_inverse(void **state) {
    (void)state;
    assert_string_equal(evaluate("input %x f16[2,4]\n"
                                 "%1 = fft %x axis=1 f16[2,4]\n"
                                 "output y = %1 f16[2,4]\n",
                                 NULL, 0, IN(0, 0, 0, 0, 0, 1, 0, 0),
                                 WANT(0, 1, 0, -1, 1, 0, -1, 0)),
                        "");
    assert_string_equal(evaluate("input %x f16[2,4]\n"
                                 "%1 = fft %x axis=1 f16[2,4]\n"
                                 "%2 = fft %1 axis=1 inverse f16[2,4]\n"
                                 "output y = %2 f16[2,4]\n",
                                 NULL, 0, IN(1, 2, 3, 4, 5, 6, 7, 8),
                                 WANT(4, 8, 12, 16, 20, 24, 28, 32)),
                        "");
}

/* Scores of query 1 are 0 and log 3 (h = 1): weights 1/4 and 3/4. The third key is masked. */
static void attention_weighs_values(void **state) {
    (void)state;
    const double q[] = {1}, k[] = {0, log(3), 5}, v[] = {4, 8, 100}, mask[] = {1, 1, 0};
    const double *inputs[] = {q, k, v, mask};
    assert_string_equal(evaluate("input %q f16[1,1]\ninput %k f16[3,1]\ninput %v f16[3,1]\n"
                                 "input %m u8[3]\n"
                                 "%1 = attention %q, %k, %v mask=%m heads=1 kv_heads=1 f16[1,1]\n"
                                 "output y = %1 f16[1,1]\n",
                                 NULL, 0, inputs, WANT(7)),
                        "");
}

static void causal_windows_hide_keys(void **state) {
    (void)state;
    const double zeros[4] = {0}, v[] = {1, 2, 3, 4};
    const double *inputs[] = {zeros, v};
    assert_string_equal(evaluate("input %q f16[4,1]\ninput %v f16[4,1]\n"
                                 "%1 = attention %q, %q, %v heads=1 causal window=2 f16[4,1]\n"
                                 "output y = %1 f16[4,1]\n",
                                 NULL, 0, inputs, WANT(1, 1.5, 2.5, 3.5)),
                        "");
    assert_string_equal(evaluate("input %q f16[4,1]\ninput %v f16[4,1]\n"
                                 "%1 = attention %q, %q, %v heads=1 window=1 f16[4,1]\n"
                                 "output y = %1 f16[4,1]\n",
                                 NULL, 0, inputs, WANT(1.5, 2, 3, 3.5)),
                        "");
}

static void rows_are_normalised(void **state) {
    (void)state;
    const struct tensor w[] = {{"weight", 1, {2}, DATA(2, 3)}, {"bias", 1, {2}, DATA(1, 0)}};
    assert_string_equal(evaluate("input %x f16[1,2]\n"
                                 "param weight f16[2]\nparam bias f16[2]\n"
                                 "%1 = layernorm %x eps=0 affine f16[1,2]\n"
                                 "output y = %1 f16[1,2]\n",
                                 w, 2, IN(10, 14), WANT(-1, 3)),
                        "");
    assert_string_equal(evaluate("input %x f16[1,2]\n"
                                 "%1 = rmsnorm %x eps=1 f16[1,2]\n"
                                 "output y = %1 f16[1,2]\n",
                                 NULL, 0, IN(sqrt(2), 2), WANT(sqrt(2) / 2, 1)),
                        "");
}

static void reductions_and_broadcasts(void **state) {
    (void)state;
    const double x[] = {1, 2, 3, 4, 50, 60}, mask[] = {1, 1, 0};
    const double *inputs[] = {x, mask};
    assert_string_equal(evaluate("input %x f16[3,2]\ninput %m u8[3]\n"
                                 "%1 = mean %x mask=%m axis=0 f16[2]\n"
                                 "%2 = max %x axis=1 keep f16[3,1]\n"
                                 "%3 = add %1, %2 f16[3,2]\n"
                                 "output y = %3 f16[3,2]\n",
                                 NULL, 0, inputs, WANT(4, 5, 6, 7, 62, 63)),
                        "");
}

static void layout_moves_elements(void **state) {
    (void)state;
    assert_string_equal(evaluate("input %x f16[2,3]\n"
                                 "%1 = transpose %x axes=[1,0] f16[3,2]\n"
                                 "%2 = slice %1 begin=[1,0] end=[3,2] f16[2,2]\n"
                                 "%3 = concat %2, %x axis=1 f16[2,5]\n"
                                 "%4 = reshape %3 shape=[10] f16[10]\n"
                                 "output y = %4 f16[10]\n",
                                 NULL, 0, IN(1, 2, 3, 4, 5, 6), WANT(2, 5, 1, 2, 3, 3, 6, 4, 5, 6)),
                        "");
}

static void what_is_missing_is_an_error(void **state) {
    (void)state;
    static const char body[] = "input %x i32[2]\n"
                               "param e.weight f16[2,1]\n"
                               "%1 = embedding %x @e num=2 dim=1 f16[2,1]\n"
                               "output y = %1 f16[2,1]\n";
    const struct tensor w[] = {{"e.weight", 2, {2, 1}, DATA(7, 8)}};
    assert_string_equal(evaluate(body, w, 1, IN(1, 0), WANT(8, 7)), "");
    assert_string_equal(evaluate(body, w, 1, IN(1, 2), NULL),
                        "id 2 is outside of an embedding of 2 rows");
    assert_string_equal(evaluate(body, w, 1, IN(-1, 0), NULL),
                        "id -1 is outside of an embedding of 2 rows");
    assert_string_equal(evaluate(body, NULL, 0, IN(1, 0), NULL),
                        "there are no weights for 'e.weight'");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_adds_its_bias),    cmocka_unit_test(butterfly_pads_and_truncates),
        cmocka_unit_test(fourier_of_an_impulse),   cmocka_unit_test(fft_and_its_inverse),
        cmocka_unit_test(attention_weighs_values), cmocka_unit_test(causal_windows_hide_keys),
        cmocka_unit_test(rows_are_normalised),     cmocka_unit_test(reductions_and_broadcasts),
        cmocka_unit_test(layout_moves_elements),   cmocka_unit_test(what_is_missing_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
