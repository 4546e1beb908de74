/* test_scaled.c - scaled butterflies: families of weights that are hard for them, compiled and run,
 * against the float64 interpreter and against the plain form. */
#define _POSIX_C_SOURCE 200809L

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "ir/scaled.h"
#include "test/unit/compile.h"

static uint64_t seed;

static double uniform(void) {
    return (double)(bf_random(&seed) >> 11) / 9007199254740992.0;
}

static double normal(void) {
    double sum = 0;
    for (int k = 0; k < 12; k++)
        sum += uniform();
    return sum - 6;
}

/* ---- families: w[out][in] of one pair ---- */

typedef void family(double w[2][2]);

static void fill(double w[2][2], double a, double b, double c, double d) {
    w[0][0] = a, w[0][1] = b, w[1][0] = c, w[1][1] = d;
}

static void normals(double w[2][2]) {
    fill(w, normal() / sqrt(2), normal() / sqrt(2), normal() / sqrt(2), normal() / sqrt(2));
}
static void rotations(double w[2][2]) {
    double angle = 6.283185307179586 * uniform();
    fill(w, cos(angle), -sin(angle), sin(angle), cos(angle));
}
static void identities(double w[2][2]) {
    fill(w, 1, 0, 0, 1);
}
static void permutations(double w[2][2]) {
    bool swap = uniform() < 0.5;
    fill(w, !swap, swap, swap, !swap);
}
static void hadamard(double w[2][2]) {
    fill(w, 1, 1, 1, -1);
}
static void averages(double w[2][2]) {
    fill(w, 0.5, 0.5, 0.5, 0.5);
}
static void pruned(double w[2][2]) {
    normals(w);
    for (int e = 0; e < 4; e++)
        if (uniform() < 0.6)
            w[e / 2][e % 2] = 0;
}
static void self_zero(double w[2][2]) {
    normals(w);
    if (uniform() < 0.2)
        w[0][0] = w[1][0] = 0;
}
static void dead_outputs(double w[2][2]) {
    normals(w);
    if (uniform() < 0.05)
        w[1][0] = w[1][1] = 0;
}
static void log_normal(double w[2][2]) {
    for (int e = 0; e < 4; e++)
        w[e / 2][e % 2] = (uniform() < 0.5 ? -0.5 : 0.5) * exp(1.0 * normal());
}
static void same_pivot(double w[2][2]) {
    fill(w, 1, 0.1 * normal(), -0.9, 0.1 * normal());
}
static void singular(double w[2][2]) {
    double a = normal() / 2, b = normal() / 2;
    fill(w, a, b, a * 1.0005, b * 0.9995);
}
static void negative_zeros(double w[2][2]) {
    fill(w, -0.0, 1, 1, -0.0);
}

static family *family_now;

/* Every tensor is a twiddle: 2 x 2 matrices. */
static void change(struct bf_weights *weights) {
    seed = 5;
    for (size_t t = 0; t < weights->tensors.count; t++) {
        struct bf_weight *tensor = &weights->tensors.data[t];
        int64_t count = bf_weight_elements(tensor);
        float *data = bf_arena_alloc(&weights->arena, (size_t)count * sizeof *data);
        for (int64_t i = 0; i + 3 < count; i += 4) {
            double w[2][2];
            family_now(w);
            for (int e = 0; e < 4; e++)
                data[i + e] = (float)w[e / 2][e % 2];
        }
        tensor->type = BF_WEIGHT_F32;
        tensor->data = data;
    }
}

/* ---- one network ---- */

struct outcome {
    double error;
    bool scaled;
};

static struct outcome run(int64_t in, int64_t out, bool increasing, int64_t blocks, bool plain) {
    struct bf_machine machine = bf_machine_default();
    struct bf_sources sources = {0};
    struct bf_diags diags = test_diags(&sources);
    struct bf_net *net = bf_net_create("s");
    struct bf_value *x = bf_net_add_input(net, "x", bf_type_make(BF_F16, 2, (int64_t[]){20, in}),
                                          (struct bf_loc){0}, &diags);
    struct bf_attrs attrs = {0};
    bf_attrs_set_int(&attrs, BF_OP_BUTTERFLY, "out", out);
    bf_attrs_set_bool(&attrs, BF_OP_BUTTERFLY, "bias", false);
    bf_attrs_set_bool(&attrs, BF_OP_BUTTERFLY, "increasing", increasing);
    bf_attrs_set_int(&attrs, BF_OP_BUTTERFLY, "nblocks", blocks);
    struct bf_value *y =
        bf_net_add_op(net, BF_OP_BUTTERFLY, &x, 1, &attrs, "b", (struct bf_loc){0}, &diags);
    bf_net_add_output(net, "y", y, (struct bf_loc){0}, &diags);
    double *data = random_tensor(20 * in, 7);
    struct compiled c;
    struct outcome result = {1e9, false};
    without_rewrite = plain;
    if (compile_net(&c, net, &machine, 1, 1)) {
        result.error = run_net(&c, net, &bf_device_ref, &data, 0, NULL);
        result.scaled = bf_scaled_kernel(c.map->poly->kernels.data[0]);
    }
    compiled_free(&c);
    free(data);
    bf_net_free(net);
    return result;
}

/* The scaled form is used and at most 1.6 times as far from float64 as the plain one, which rounds
 * both weights of an output. */
static void check(const char *name, family *family, int64_t in, int64_t out, bool increasing,
                  int64_t blocks) {
    family_now = family;
    change_weights = change;
    struct outcome scaled = run(in, out, increasing, blocks, false);
    struct outcome plain = run(in, out, increasing, blocks, true);
    if (!scaled.scaled || plain.scaled)
        fail_msg("%s %d -> %d: the form is not the expected one", name, (int)in, (int)out);
    if (!(scaled.error <= 1.6 * plain.error + 2e-4))
        fail_msg("%s %d -> %d: error %g, plain %g", name, (int)in, (int)out, scaled.error,
                 plain.error);
}

static void families(void **state) {
    (void)state;
    static const struct {
        const char *name;
        family *family;
    } all[] = {
        {"normals", normals},
        {"rotations", rotations},
        {"identities", identities},
        {"permutations", permutations},
        {"hadamard", hadamard},
        {"averages", averages},
        {"pruned", pruned},
        {"self zero", self_zero},
        {"dead outputs", dead_outputs},
        {"log-normal", log_normal},
        {"same pivot", same_pivot},
        {"singular", singular},
        {"negative zeros", negative_zeros},
    };
    for (size_t f = 0; f < sizeof all / sizeof *all; f++) {
        check(all[f].name, all[f].family, 8, 8, true, 1);
        check(all[f].name, all[f].family, 64, 64, false, 1);
        check(all[f].name, all[f].family, 512, 512, true, 1);
    }
}

static void shapes(void **state) {
    (void)state;
    check("two blocks", normals, 64, 64, true, 2);
    check("padded", normals, 40, 100, true, 1);
    check("stacks", rotations, 100, 300, false, 1);
    check("in passes", normals, 4096, 4096, true, 1);
    check("in passes, padded", rotations, 3072, 768, true, 1);
    check("many digits", normals, 2048, 2048, false, 1);
}

/* A mean through Hadamard-like stages grows 2^m: stored results are divided on the way. */
static void large_gain(double w[2][2]) {
    fill(w, 1, 1, 1, 1);
}

static void exponents(void **state) {
    (void)state;
    check("large gain", large_gain, 512, 512, true, 1);
}

/* Weights that fp16 does not have keep the plain form, which reports them. */
static void huge(double w[2][2]) {
    fill(w, 1e30, 1, 1, 1e30);
}

static void unfit(void **state) {
    (void)state;
    family_now = huge;
    change_weights = change;
    assert_false(run(64, 64, true, 1, false).scaled);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families),
        cmocka_unit_test(shapes),
        cmocka_unit_test(exponents),
        cmocka_unit_test(unfit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
