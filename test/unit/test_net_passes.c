/* test_net_passes.c - fold, simplify and exponents, each on the smallest network that shows a rule;
 * and weights: look-up, binding, random ones. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ir/weights.h"
#include "passes/passes.h"

struct fixture {
    struct bf_sources sources;
    struct bf_diags diags;
    char *messages;
    size_t size;
};

static int set_up(void **state) {
    struct fixture *f = bf_alloc(sizeof *f);
    f->diags = (struct bf_diags){.sources = &f->sources};
    f->diags.out = open_memstream(&f->messages, &f->size);
    bf_source_add(&f->sources, "test.net", NULL, 0);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    fclose(f->diags.out);
    free(f->messages);
    bf_sources_free(&f->sources);
    free(f);
    return 0;
}

static struct bf_net *parse(struct fixture *f, const char *body) {
    struct bf_text text = {0};
    bf_text_printf(
        &text,
        "bfcc net 1 arch=default:0000000000000000 batch=1 opt=2 resident=0 weights=none\n"
        "file 0 \"a.bfly\"\nnet n\n%s",
        body);
    struct bf_net *net = bf_net_parse(text.data, text.length, 0, &f->diags);
    bf_text_free(&text);
    fflush(f->diags.out);
    if (!net)
        fail_msg("%s", f->messages);
    return net;
}

typedef bool pass(struct bf_net *net, struct bf_diags *diags);

/* Runs passes on `before`; the body of the result, with runs of blanks as one, is `after`. */
static void check(struct fixture *f, pass *first, pass *second, const char *before,
                  const char *after) {
    struct bf_net *net = parse(f, before);
    assert_true(first(net, &f->diags));
    assert_true(!second || second(net, &f->diags));
    if (!bf_net_verify(net, &f->diags)) {
        fflush(f->diags.out);
        fail_msg("%s", f->messages);
    }
    struct bf_text text = {0}, squeezed = {0};
    bf_net_print(net, &text);
    for (const char *s = strstr(text.data, "\ninput") + 1; *s; s++)
        if (*s != ' ' || s[1] != ' ')
            bf_text_add_bytes(&squeezed, s, 1);
    assert_string_equal(squeezed.data, after);
    bf_text_free(&text);
    bf_text_free(&squeezed);
    bf_net_free(net);
}

static void arithmetic_with_constants(void **state) {
    check(*state, bf_pass_fold, bf_pass_simplify,
          "input %x f16[4,8]\n"
          "%1 = constant value=3 shape=[] f16[]\n"
          "%2 = constant value=4 shape=[] f16[]\n"
          "%3 = mul %1, %2 f16[]\n"
          "%4 = mul %x, %3 f16[4,8]\n"
          "%5 = relu %4 f16[4,8]\n"
          "%6 = div %5, %2 f16[4,8]\n"
          "%7 = sub %1, %1 f16[]\n"
          "%8 = add %7, %6 f16[4,8]\n"
          "output y = %8 f16[4,8]\n",
          "input %x f16[4,8]\n"
          "%1 = scale %x by=12 f16[4,8]\n"
          "%2 = relu %1 f16[4,8]\n"
          "%3 = scale %2 by=0.25 f16[4,8]\n"
          "output y = %3 f16[4,8]\n");
}

static void constants_that_change_the_shape_stay(void **state) {
    check(*state, bf_pass_fold, bf_pass_simplify,
          "input %x f16[8]\n"
          "%1 = constant value=1 shape=[4,8] f16[4,8]\n"
          "%2 = mul %x, %1 f16[4,8]\n"
          "%3 = constant value=0 shape=[] f16[]\n"
          "%4 = div %2, %3 f16[4,8]\n"
          "output y = %4 f16[4,8]\n",
          "input %x f16[8]\n"
          "%1 = constant value=1 shape=[4,8] f16[4,8]\n"
          "%2 = mul %x, %1 f16[4,8]\n"
          "%3 = constant value=0 shape=[] f16[]\n"
          "%4 = div %2, %3 f16[4,8]\n"
          "output y = %4 f16[4,8]\n");
}

static void reductions_and_moves_of_constants(void **state) {
    check(*state, bf_pass_fold, bf_pass_simplify,
          "input %x f16[4]\n"
          "%1 = constant value=0.5 shape=[4,8] f16[4,8]\n"
          "%2 = transpose %1 axes=[1,0] f16[8,4]\n"
          "%3 = sum %2 axis=0 f16[4]\n"
          "%4 = add %x, %3 f16[4]\n"
          "output y = %4 f16[4]\n",
          "input %x f16[4]\n"
          "%1 = constant value=4 shape=[4] f16[4]\n"
          "%2 = add %x, %1 f16[4]\n"
          "output y = %2 f16[4]\n");
}

static void chains_merge_and_identities_go(void **state) {
    check(*state, bf_pass_simplify, NULL,
          "input %x f16[8,4]\n"
          "%1 = scale %x by=2 f16[8,4]\n"
          "%2 = scale %1 by=3 f16[8,4]\n"
          "%3 = transpose %2 axes=[1,0] f16[4,8]\n"
          "%4 = transpose %3 axes=[1,0] f16[8,4]\n"
          "%5 = slice %4 begin=[1,0] end=[8,4] f16[7,4]\n"
          "%6 = slice %5 begin=[2,0] end=[4,4] f16[2,4]\n"
          "%7 = reshape %6 shape=[8] f16[8]\n"
          "%8 = reshape %7 shape=[2,4] f16[2,4]\n"
          "%9 = scale %8 by=1 f16[2,4]\n"
          "%10 = slice %9 begin=[0,0] end=[2,4] f16[2,4]\n"
          "%11 = concat %10 axis=0 f16[2,4]\n"
          "output y = %11 f16[2,4]\n",
          "input %x f16[8,4]\n"
          "%1 = scale %x by=6 f16[8,4]\n"
          "%2 = slice %1 begin=[3,0] end=[5,4] f16[2,4]\n"
          "output y = %2 f16[2,4]\n");
}

static void values_of_another_type_stay(void **state) {
    check(*state, bf_pass_simplify, NULL,
          "input %x f32[4]\n"
          "%1 = scale %x by=1 f16[4]\n"
          "%2 = fourier %1 axes=[0] f16[4]*2^1\n"
          "%3 = scale %2 by=1 f16[4]\n"
          "output y = %3 f16[4]\n",
          "input %x f32[4]\n"
          "%1 = scale %x by=1 f16[4]\n"
          "%2 = fourier %1 axes=[0] f16[4]*2^1\n"
          "%3 = scale %2 by=1 f16[4]\n"
          "output y = %3 f16[4]\n");
}

static void equal_operators_become_one(void **state) {
    check(*state, bf_pass_simplify, NULL,
          "input %x f16[4,8]\n"
          "param w.weight f16[8,8]\n"
          "param v.weight f16[8,8]\n"
          "%1 = linear %x @w out=8 f16[4,8]\n"
          "%2 = linear %x @v out=8 f16[4,8]\n"
          "%3 = linear %x @w out=8 f16[4,8]\n"
          "%4 = gelu %1 approximate=none f16[4,8]\n"
          "%5 = gelu %3 approximate=none f16[4,8]\n"
          "%6 = gelu %3 approximate=tanh f16[4,8]\n"
          "%7 = add %4, %5 f16[4,8]\n"
          "%8 = add %6, %2 f16[4,8]\n"
          "output y = %7 f16[4,8]\n"
          "output z = %8 f16[4,8]\n",
          "input %x f16[4,8]\n"
          "param w.weight f16[8,8]\n"
          "param v.weight f16[8,8]\n"
          "%1 = linear %x @w out=8 f16[4,8]\n"
          "%2 = linear %x @v out=8 f16[4,8]\n"
          "%3 = gelu %1 approximate=none f16[4,8]\n"
          "%4 = gelu %1 approximate=tanh f16[4,8]\n"
          "%5 = add %3, %3 f16[4,8]\n"
          "%6 = add %4, %2 f16[4,8]\n"
          "output y = %5 f16[4,8]\n"
          "output z = %6 f16[4,8]\n");
}

static void dead_operators_go_parameters_stay(void **state) {
    check(*state, bf_pass_simplify, NULL,
          "input %x f16[4,8]\n"
          "input %unused f16[4]\n"
          "param w.weight f16[8,8]\n"
          "%1 = linear %x @w out=8 f16[4,8]\n"
          "%2 = relu %1 f16[4,8]\n"
          "output y = %x f16[4,8]\n",
          "input %x f16[4,8]\n"
          "input %unused f16[4]\n"
          "param w.weight f16[8,8]\n"
          "output y = %x f16[4,8]\n");
}

static void transforms_get_exponents(void **state) {
    check(*state, bf_pass_exponents, NULL,
          "input %x f16[128,768]\n"
          "%1 = fourier %x axes=[0,1] f16[128,768]\n"
          "%2 = transpose %1 axes=[1,0] f16[768,128]\n"
          "%3 = transpose %2 axes=[1,0] f16[128,768]\n"
          "%4 = add %x, %3 f16[128,768]\n"
          "%5 = fourier %4 axes=[1] f16[128,768]\n"
          "%6 = slice %5 begin=[0,0] end=[1,768] f16[1,768]\n"
          "output y = %6 f16[1,768]\n",
          "input %x f16[128,768]\n"
          "%1 = fourier %x axes=[0,1] f16[128,768]*2^7\n"
          "%2 = transpose %1 axes=[1,0] f16[768,128]*2^7\n"
          "%3 = transpose %2 axes=[1,0] f16[128,768]*2^7\n"
          "%4 = add %x, %3 f16[128,768]\n"
          "%5 = fourier %4 axes=[1] f16[128,768]\n"
          "%6 = slice %5 begin=[0,0] end=[1,768] f16[1,768]\n"
          "output y = %6 f16[1,768]\n");
}

/* An exponent that is given, by the source or by calibration, stays in the text. */
static void given_exponents_are_kept(void **state) {
    static const char net[] = "input %x f16[128,768]\n"
                              "%1 = fourier %x axes=[0,1] exponent=9 f16[128,768]*2^9\n"
                              "%2 = fourier %x axes=[0,1] f16[128,768]*2^7\n"
                              "%3 = fourier %x axes=[0,1] exponent=0 f16[128,768]\n"
                              "%4 = add %1, %2 f16[128,768]\n"
                              "%5 = add %4, %3 f16[128,768]\n"
                              "output y = %5 f16[128,768]\n";
    check(*state, bf_pass_exponents, bf_pass_simplify, net, net);
    check(*state, bf_pass_exponents, NULL,
          "input %x f16[2,8]\n"
          "%1 = fft %x axis=1 exponent=3 f16[2,8]\n"
          "output y = %1 f16[2,8]\n",
          "input %x f16[2,8]\n"
          "%1 = fft %x axis=1 exponent=3 f16[2,8]\n"
          "output y = %1 f16[2,8]\n");
}

/* ---- weights ---- */

static const char linear_net[] = "input %x f16[4,8]\n"
                                 "param fc.weight f16[2,8] loc(0,7,3)\n"
                                 "param fc.bias f16[2] loc(0,7,3)\n"
                                 "%1 = linear %x @fc out=2 bias f16[4,2] loc(0,7,3)\n"
                                 "output y = %1 f16[4,2]\n";

static void elements_of_every_type(void **state) {
    (void)state;
    static const unsigned char bytes[] = {0x00, 0xc0, 0x40, 0xc0, 0, 0, 0, 0};
    static const struct {
        enum bf_weight_type type;
        double value;
    } cases[] = {
        {BF_WEIGHT_F16, -2},          {BF_WEIGHT_BF16, -2},        {BF_WEIGHT_F32, -3.01171875},
        {BF_WEIGHT_I32, -1069498368}, {BF_WEIGHT_I64, 3225468928}, {BF_WEIGHT_U8, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bf_weight weight = {.name = "w", .type = cases[i].type, .data = bytes};
        assert_true(bf_weight_read(&weight, 0) == cases[i].value);
    }
    static const unsigned char third[] = {9, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0xd5, 0x3f};
    struct bf_weight weight = {
        .name = "w", .type = BF_WEIGHT_F64, .data = third + 1}; /* not aligned */
    assert_true(bf_weight_read(&weight, 0) == 1.0 / 3);
}

static void tensors_are_found_by_name(void **state) {
    (void)state;
    struct bf_weights *weights = bf_weights_create("w.safetensors");
    struct bf_error error = {0};
    assert_null(bf_weights_find(weights, "a"));
    for (int64_t i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", (int)i);
        assert_true(bf_weights_add(weights, name, BF_WEIGHT_F32, 1, &i, "", &error));
    }
    assert_int_equal(bf_weights_find(weights, "t0")->dims[0], 0);
    assert_int_equal(bf_weights_find(weights, "t999")->dims[0], 999);
    assert_null(bf_weights_find(weights, "t1000"));
    assert_false(bf_weights_add(weights, "t7", BF_WEIGHT_F32, 0, NULL, "", &error));
    assert_string_equal(error.text, "w.safetensors: tensor 't7' is there twice");
    bf_weights_free(weights);
}

static void binding_names_both_sides(void **state) {
    struct fixture *f = *state;
    struct bf_net *net = parse(f, linear_net);
    struct bf_weights *weights = bf_weights_create("w.safetensors");
    static const uint16_t data[16];
    const int64_t good[] = {2, 8}, bad[] = {8, 2};
    bf_weights_add(weights, "fc.weight", BF_WEIGHT_F16, 2, bad, data, NULL);
    bf_weights_add(weights, "fc.bais", BF_WEIGHT_F16, 1, good, data, NULL);
    assert_false(bf_weights_bind(net, weights, false, &f->diags));
    fflush(f->diags.out);
    assert_string_equal(f->messages,
                        "bfcc: error: 'fc.weight' is [8, 2] in w.safetensors\n"
                        "a.bfly:7:3: note: this linear(8 -> 2) needs [2, 8]\n"
                        "bfcc: error: 'fc.bias' is not in w.safetensors; did you mean 'fc.bais'?\n"
                        "a.bfly:7:3: note: this linear(8 -> 2) needs [2]\n"
                        "bfcc: error: 'fc.bais' [2] of w.safetensors belongs to no operator of "
                        "'n'; did you mean 'fc.bias'? (-allow-unused ignores it)\n"
                        "a.bfly:7:3: note: this linear(8 -> 2) needs [2]\n");
    bf_weights_free(weights);

    weights = bf_weights_create("w.safetensors");
    bf_weights_add(weights, "fc.weight", BF_WEIGHT_F16, 2, good, data, NULL);
    bf_weights_add(weights, "fc.bias", BF_WEIGHT_F16, 1, good, data, NULL);
    assert_true(bf_weights_bind(net, weights, false, &f->diags));
    bf_weights_add(weights, "more", BF_WEIGHT_F16, 1, good, data, NULL);
    assert_true(bf_weights_bind(net, weights, true, &f->diags));
    bf_weights_free(weights);
    bf_net_free(net);
}

static void hash_sees_every_change(void **state) {
    struct fixture *f = *state;
    struct bf_net *net = parse(f, linear_net);
    struct bf_weights *a = bf_weights_random(net, 1), *b = bf_weights_random(net, 1);
    uint64_t hash = bf_weights_hash(net, a);
    assert_true(hash == bf_weights_hash(net, b));
    assert_true(bf_weights_bind(net, b, false, &f->diags));
    bf_weights_add(b, "other", BF_WEIGHT_F16, 0, NULL, "ab", NULL);
    assert_true(hash == bf_weights_hash(net, b));
    ((unsigned char *)bf_weights_find(b, "fc.weight")->data)[31] ^= 1;
    assert_true(hash != bf_weights_hash(net, b));
    struct bf_weights *c = bf_weights_random(net, 2);
    assert_true(hash != bf_weights_hash(net, c));
    bf_weights_free(a);
    bf_weights_free(b);
    bf_weights_free(c);
    bf_net_free(net);
}

/* Mean and variance of the parameter `name` with random weights. */
static void moments(const struct bf_weights *weights, const char *name, double *mean,
                    double *variance) {
    const struct bf_weight *weight = bf_weights_find(weights, name);
    assert_non_null(weight);
    int64_t count = bf_weight_elements(weight);
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < count; i++) {
        double x = bf_weight_read(weight, i);
        sum += x;
        squares += x * x;
    }
    *mean = sum / (double)count;
    *variance = squares / (double)count - *mean * *mean;
}

static void random_weights_have_the_right_size(void **state) {
    struct fixture *f = *state;
    struct bf_net *net = parse(f, "input %x f16[4,1024]\n"
                                  "param n.weight f16[1024]\n"
                                  "param n.bias f16[1024]\n"
                                  "param b.twiddle f16[1,1,10,512,2,2]\n"
                                  "param l.weight f16[64,1024]\n"
                                  "%1 = layernorm %x @n eps=1e-5 affine f16[4,1024]\n"
                                  "%2 = butterfly %1 @b out=1024 nblocks=1 f16[4,1024]\n"
                                  "%3 = linear %2 @l out=64 f16[4,64]\n"
                                  "output y = %3 f16[4,64]\n");
    struct bf_weights *weights = bf_weights_random(net, 3);
    static const struct {
        const char *name;
        double mean, variance, slack;
    } cases[] = {
        {"n.weight", 1, 0.01, 0.02},
        {"n.bias", 0, 0.01, 0.02},
        {"b.twiddle", 0, 0.5, 0.02},
        {"l.weight", 0, 1.0 / 1024, 0.001},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double mean, variance;
        moments(weights, cases[i].name, &mean, &variance);
        assert_true(mean > cases[i].mean - cases[i].slack);
        assert_true(mean < cases[i].mean + cases[i].slack);
        assert_true(variance > 0.9 * cases[i].variance);
        assert_true(variance < 1.1 * cases[i].variance);
    }
    bf_weights_free(weights);
    bf_net_free(net);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(arithmetic_with_constants),
        TEST(constants_that_change_the_shape_stay),
        TEST(reductions_and_moves_of_constants),
        TEST(chains_merge_and_identities_go),
        TEST(values_of_another_type_stay),
        TEST(equal_operators_become_one),
        TEST(dead_operators_go_parameters_stay),
        TEST(transforms_get_exponents),
        TEST(given_exponents_are_kept),
        TEST(elements_of_every_type),
        TEST(tensors_are_found_by_name),
        TEST(binding_names_both_sides),
        TEST(hash_sees_every_change),
        TEST(random_weights_have_the_right_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
