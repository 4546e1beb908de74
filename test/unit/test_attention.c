/* test_attention.c - attention through all passes onto the devices, against the interpreter. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "test/unit/compile.h"

/* Half of what the reference cases allow for a whole attention layer. */
static const double tolerance = 6.5e-4;

enum mask { NONE, KEYS, PAIRS };

struct shape {
    int64_t queries, keys, heads, kv_heads, columns, batch;
    enum mask mask;
    bool causal;
    int64_t window;
    double scale;  /* of the scores */
    double values; /* of v */
};

static struct bf_net *build(const struct shape *s, struct bf_diags *diags) {
    struct bf_net *net = bf_net_create("attention");
    struct bf_loc loc = {0};
    struct bf_value *args[4] = {0};
    static const char *const names[] = {"q", "k", "v"};
    for (int i = 0; i < 3; i++)
        args[i] =
            bf_net_add_input(net, names[i],
                             bf_type_make(BF_F16, 2,
                                          (int64_t[]){i ? s->keys : s->queries,
                                                      (i ? s->kv_heads : s->heads) * s->columns}),
                             loc, diags);
    if (s->mask != NONE) {
        int64_t dims[] = {s->queries, s->keys};
        struct bf_type type =
            bf_type_make(BF_U8, s->mask == KEYS ? 1 : 2, s->mask == KEYS ? dims + 1 : dims);
        args[3] = bf_net_add_input(net, "mask", type, loc, diags);
    }
    struct bf_attrs attrs;
    memset(&attrs, 0, sizeof attrs);
    bf_attrs_set_int(&attrs, BF_OP_ATTENTION, "heads", s->heads);
    bf_attrs_set_int(&attrs, BF_OP_ATTENTION, "kv_heads", s->kv_heads);
    bf_attrs_set_bool(&attrs, BF_OP_ATTENTION, "causal", s->causal);
    bf_attrs_set_int(&attrs, BF_OP_ATTENTION, "window", s->window);
    struct bf_value *y =
        bf_net_add_op(net, BF_OP_ATTENTION, args, s->mask ? 4 : 3, &attrs, "attn", loc, diags);
    assert_non_null(y);
    assert_true(bf_net_add_output(net, "y", y, loc, diags));
    return net;
}

/* Values of the inputs; a mask hides about a third, and in sample 0 everything from one query. */
static void fill(const struct shape *s, double *inputs[4]) {
    int64_t samples = s->batch;
    int64_t q = samples * s->queries * s->heads * s->columns;
    int64_t k = samples * s->keys * s->kv_heads * s->columns;
    inputs[0] = random_tensor(q, 1);
    inputs[1] = random_tensor(k, 2);
    inputs[2] = random_tensor(k, 3);
    for (int64_t i = 0; i < q; i++)
        inputs[0][i] = bf_half_to_double(bf_half_from_double(inputs[0][i] * s->scale));
    for (int64_t i = 0; i < k; i++)
        inputs[2][i] = bf_half_to_double(bf_half_from_double(inputs[2][i] * s->values));
    int64_t values = samples * s->keys * (s->mask == PAIRS ? s->queries : 1);
    inputs[3] = random_tensor(values, 4);
    for (int64_t i = 0; i < values; i++)
        inputs[3][i] = inputs[3][i] > -0.4 && (s->mask == KEYS || i >= s->keys);
}

/* Cycles of the array, 0 on a device without. */
static uint64_t on_device(const struct shape *s, const struct bf_machine *machine,
                          const struct bf_device *device) {
    struct bf_sources sources = {0};
    struct bf_diags diags = test_diags(&sources);
    struct bf_net *net = build(s, &diags);
    struct compiled c;
    double *inputs[4];
    assert_true(compile_net(&c, net, machine, s->batch, 1));
    fill(s, inputs);
    struct bf_stats *stats = NULL;
    double error = run_net(&c, net, device, inputs, 0, &stats);
    if (!(error < tolerance))
        fail_msg("%lld queries, %lld keys, %lld of %lld heads of %lld, batch %lld on '%s', %s: "
                 "error %g",
                 (long long)s->queries, (long long)s->keys, (long long)s->kv_heads,
                 (long long)s->heads, (long long)s->columns, (long long)s->batch, machine->name,
                 device->name, error);
    uint64_t cycles = 0;
    for (size_t k = 0; k < c.map->program->kernel_count; k++)
        cycles += stats->kernels[k].cycles;
    bf_stats_free(c.map->program, stats);
    for (int i = 0; i < 4; i++)
        free(inputs[i]);
    compiled_free(&c);
    bf_net_free(net);
    return cycles;
}

static void run(const struct shape *s, const struct bf_machine *machine) {
    on_device(s, machine, &bf_device_ref);
}

static struct bf_machine machine_of(unsigned lanes) {
    struct bf_machine m = bf_machine_default();
    m.lanes = lanes;
    return m;
}

static void as_in_the_reference_cases(void **state) {
    (void)state;
    struct bf_machine m = machine_of(16);
    run(&(struct shape){64, 64, 4, 4, 32, 1, NONE, false, 0, 1, 1}, &m);
    run(&(struct shape){64, 64, 4, 4, 32, 1, KEYS, false, 0, 1, 1}, &m);
    run(&(struct shape){16, 16, 4, 4, 16, 7, NONE, false, 0, 1, 1}, &m);
}

static void with_masks(void **state) {
    (void)state;
    struct bf_machine m = machine_of(16);
    run(&(struct shape){64, 64, 4, 4, 32, 1, PAIRS, false, 0, 1, 1}, &m);
    run(&(struct shape){64, 64, 8, 2, 16, 1, NONE, true, 0, 1, 1}, &m);
    run(&(struct shape){64, 64, 4, 2, 16, 2, KEYS, true, 0, 1, 1}, &m);
    run(&(struct shape){50, 50, 2, 2, 16, 2, PAIRS, true, 20, 1, 1}, &m);
    run(&(struct shape){48, 48, 2, 2, 16, 1, NONE, false, 5, 1, 1}, &m);
    run(&(struct shape){20, 30, 2, 1, 16, 37, KEYS, false, 0, 1, 1}, &m);
}

static void of_any_size(void **state) {
    (void)state;
    struct bf_machine m = machine_of(16);
    static const int64_t keys[] = {2, 7, 8, 9, 17, 24, 33, 40, 47, 48, 55, 63, 64};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        run(&(struct shape){19, keys[i], 2, 2, 16, 1, NONE, false, 0, 1, 1}, &m);
        run(&(struct shape){33, keys[i], 2, 1, 16, 2, KEYS, false, 0, 1, 1}, &m);
    }
    static const int64_t columns[] = {1, 2, 5, 8, 12, 20, 24, 40, 48, 64, 72, 128};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        run(&(struct shape){17, 40, 3, 3, columns[i], 1, NONE, false, 0, 1, 1}, &m);
    run(&(struct shape){1, 1, 2, 2, 16, 1, NONE, false, 0, 1, 1}, &m);
}

static void on_any_machine(void **state) {
    (void)state;
    static const unsigned lanes[] = {4, 8, 16, 32};
    for (int i = 0; i < 4; i++) {
        struct bf_machine m = machine_of(lanes[i]);
        run(&(struct shape){64, 32, 4, 4, 16, 1, KEYS, false, 0, 1, 1}, &m);
        run(&(struct shape){30, 30, 3, 3, 32, 3, NONE, true, 0, 1, 1}, &m);
        run(&(struct shape){16, 29, 4, 2, 10, 3, PAIRS, false, 0, 1, 1}, &m);
        m.rows = 2, m.cols = 1;
        run(&(struct shape){40, 20, 4, 2, 16, 3, NONE, false, 0, 1, 1}, &m);
        m.rows = m.cols = 8;
        run(&(struct shape){64, 32, 6, 6, 16, 3, NONE, false, 0, 1, 1}, &m);
    }
}

/* More keys than a PE has room for: parts, whose results are joined. */
static void in_parts(void **state) {
    (void)state;
    struct bf_machine m = machine_of(16);
    run(&(struct shape){64, 128, 4, 4, 32, 1, NONE, false, 0, 1, 1}, &m);
    run(&(struct shape){64, 128, 4, 4, 32, 1, NONE, false, 0, 6, 1}, &m);
    run(&(struct shape){32, 197, 4, 2, 64, 2, NONE, false, 0, 1, 1}, &m);
    run(&(struct shape){128, 128, 4, 4, 16, 1, NONE, false, 16, 1, 1}, &m);
    run(&(struct shape){128, 128, 4, 4, 16, 1, NONE, true, 32, 1, 1}, &m);
    run(&(struct shape){30, 300, 2, 2, 24, 3, KEYS, false, 0, 1, 1}, &m);
    run(&(struct shape){80, 80, 2, 2, 32, 1, PAIRS, true, 0, 1, 1}, &m);
    run(&(struct shape){16, 1000, 1, 1, 16, 1, NONE, false, 0, 1, 1}, &m);
    run(&(struct shape){16, 200, 2, 2, 16, 1, KEYS, false, 0, 0, 1}, &m);
    run(&(struct shape){16, 200, 2, 2, 16, 1, KEYS, false, 0, 500, 1}, &m);
    run(&(struct shape){16, 300, 2, 2, 16, 1, NONE, false, 0, 8, 0.01}, &m);
    run(&(struct shape){16, 300, 2, 2, 16, 1, NONE, false, 0, 0.1, 10000}, &m);
    for (unsigned lanes = 4; lanes <= 32; lanes *= 2) {
        m = machine_of(lanes);
        run(&(struct shape){40, 150, 2, 2, 32, 1, KEYS, false, 0, 1, 1}, &m);
    }
}

/* Scores far beyond the range of exp, and equal ones. */
static void with_any_scores(void **state) {
    (void)state;
    struct bf_machine m = machine_of(16);
    run(&(struct shape){16, 64, 2, 2, 16, 1, KEYS, false, 0, 0, 1}, &m);
    run(&(struct shape){16, 64, 2, 2, 16, 1, KEYS, false, 0, 4, 1}, &m);
    run(&(struct shape){16, 64, 2, 2, 16, 1, KEYS, false, 0, 500, 1}, &m);
}

static void in_cycles(void **state) {
    (void)state;
    struct bf_machine m = machine_of(16);
    struct shape shapes[] = {{64, 64, 4, 4, 32, 1, NONE, false, 0, 1, 1},
                             {64, 64, 4, 4, 32, 1, KEYS, false, 0, 1, 1},
                             {16, 16, 4, 4, 16, 16, NONE, false, 0, 1, 1},
                             {64, 64, 4, 4, 64, 4, NONE, false, 0, 1, 1}};
    static const uint64_t slots[] = {64 * 64, 64 * 64, 4 * 16 * 32, 4 * 64 * 128};
    for (int i = 0; i < 4; i++)
        if (on_device(&shapes[i], &m, &bf_device_sim) > 2 * slots[i])
            fail_msg("case %d takes more than twice its multiplications", i);
}

/* Whether the value check refuses a map whose block (or, for CAL blocks with one trip, word) was
 * changed. */
static void caught(struct compiled *c, const char *what) {
    FILE *out = c->diags.out;
    c->diags.out = tmpfile();
    bool right = bf_pass_verify(c->map, &c->diags);
    fclose(c->diags.out);
    c->diags.out = out;
    if (right)
        fail_msg("a fault in \"%s\" is not caught", what);
}

/* Blocks one by one, then CAL words. */
static void plant(struct compiled *c, struct bf_kernel *kernel) {
    for (size_t i = 0; i < kernel->block_count; i++) {
        struct bf_block *block = &kernel->blocks[i];
        struct bf_descriptor before = block->d;
        if (block->id == BF_FIRST_LOAD + 1)
            continue; /* any word will do */
        if (block->d.unit != BF_UNIT_CAL)
            block->d.mem.spm++;
        else if (block->d.trips[0] > 1)
            block->d.trips[0]--;
        else
            continue;
        caught(c, block->name);
        block->d = before;
    }
    for (unsigned w = 0; w < kernel->segments[0].count; w++) {
        uint64_t *word = &kernel->segments[0].words[w], before = *word;
        struct bf_cal cal;
        struct bf_error error;
        char what[64];
        assert_true(bf_cal_decode(before, &cal, &error));
        if (cal.b_kind == BF_B_CONST && cal.b == BF_B_ZERO && bf_cal_operands(cal.op) & 2)
            continue; /* what is multiplied by 0 may be anything */
        if (bf_cal_operands(cal.op) & 2 && cal.b_kind == BF_B_LANE)
            cal.b ^= 1;
        else if (cal.dst == BF_DST_ACC)
            cal.acc ^= 1;
        else
            cal.d ^= 1;
        *word = bf_cal_encode(&cal);
        snprintf(what, sizeof what, "word %u, %s", w, bf_cal_name((enum bf_cal_op)cal.op));
        caught(c, what);
        *word = before;
    }
}

static void faults_are_caught(void **state) {
    (void)state;
    struct bf_machine m = machine_of(16);
    static const struct shape shapes[] = {{44, 44, 2, 2, 24, 1, KEYS, true, 0, 1, 1},
                                          {16, 140, 2, 1, 16, 1, NONE, false, 0, 1, 1}};
    for (int i = 0; i < 2; i++) {
        struct bf_sources sources = {0};
        struct bf_diags diags = test_diags(&sources);
        struct bf_net *net = build(&shapes[i], &diags);
        struct compiled c;
        assert_true(compile_net(&c, net, &m, 1, 1));
        c.diags.error_limit = 0;
        assert_int_equal(c.map->program->kernel_count, i ? 3 : 1);
        for (size_t k = 0; k < c.map->program->kernel_count; k++)
            plant(&c, &c.map->program->kernels[k]);
        assert_true(bf_pass_verify(c.map, &c.diags));
        compiled_free(&c);
        bf_net_free(net);
    }
}

/* q, k and v are columns of one tensor, as a packed projection gives them; 20 columns a head. */
static void of_a_packed_tensor(void **state) {
    (void)state;
    struct bf_machine m = machine_of(16);
    struct bf_sources sources = {0};
    struct bf_diags diags = test_diags(&sources);
    struct bf_net *net = bf_net_create("packed");
    struct bf_loc loc = {0};
    struct bf_value *x =
        bf_net_add_input(net, "x", bf_type_make(BF_F16, 2, (int64_t[]){40, 180}), loc, &diags);
    struct bf_value *args[3];
    for (int i = 0; i < 3; i++) {
        struct bf_attrs attrs;
        memset(&attrs, 0, sizeof attrs);
        bf_attrs_set_ints(&attrs, BF_OP_SLICE, "begin", (int64_t[]){0, 60 * i}, 2);
        bf_attrs_set_ints(&attrs, BF_OP_SLICE, "end", (int64_t[]){40, 60 * (i + 1)}, 2);
        args[i] = bf_net_add_op(net, BF_OP_SLICE, &x, 1, &attrs, "", loc, &diags);
    }
    struct bf_attrs attrs;
    memset(&attrs, 0, sizeof attrs);
    bf_attrs_set_int(&attrs, BF_OP_ATTENTION, "heads", 3);
    struct bf_value *y = bf_net_add_op(net, BF_OP_ATTENTION, args, 3, &attrs, "attn", loc, &diags);
    assert_true(bf_net_add_output(net, "y", y, loc, &diags));
    struct compiled c;
    assert_true(compile_net(&c, net, &m, 2, 1));
    double *input = random_tensor(2 * 40 * 180, 5);
    assert_true(run_net(&c, net, &bf_device_ref, &input, 0, NULL) < tolerance);
    free(input);
    compiled_free(&c);
    bf_net_free(net);
}

/* What is said when a machine is too small. */
static void refused(const struct shape *s, const struct bf_machine *machine, const char *reason) {
    struct bf_sources sources = {0};
    struct bf_diags diags = test_diags(&sources);
    struct bf_net *net = build(s, &diags);
    struct bf_weights *weights = bf_weights_random(net, 1);
    char *text = NULL;
    size_t size = 0;
    diags.out = open_memstream(&text, &size);
    net->header.batch = s->batch;
    struct bf_map *map = bf_map_create(bf_pass_select(net, &diags), machine);
    assert_false(bf_pass_divide(map, &diags));
    fclose(diags.out);
    if (!strstr(text, reason))
        fail_msg("\"%s\" does not say \"%s\"", text, reason);
    free(text);
    bf_map_free(map);
    bf_weights_free(weights);
    bf_net_free(net);
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    struct shape s = {16, 16, 2, 2, 16, 1, NONE, false, 0, 1, 1};
    struct bf_machine m = machine_of(16);
    m.accumulators = 4;
    refused(&s, &m, "it needs 8 accumulators, the array has 4");
    m = machine_of(16);
    m.special = 0;
    refused(&s, &m, "softmax needs special functions");
    m = machine_of(16);
    m.data_ram = 64;
    refused(&s, &m, "words of data RAM a PE, the array has 64");
    m = machine_of(16);
    s.columns = 300;
    refused(&s, &m, "words of weight RAM, half of it has 64");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_in_the_reference_cases),
        cmocka_unit_test(with_masks),
        cmocka_unit_test(of_any_size),
        cmocka_unit_test(on_any_machine),
        cmocka_unit_test(in_parts),
        cmocka_unit_test(with_any_scores),
        cmocka_unit_test(of_a_packed_tensor),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(in_cycles),
        cmocka_unit_test(faults_are_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
