/* test_stages.c - butterflies, FFTs and matrix products: compiled, proved and run, against the
 * float64 interpreter; and faults planted in their code, which the checks must name. */
#define _POSIX_C_SOURCE 200809L

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "test/unit/compile.h"

static struct bf_value *input(struct bf_net *net, const char *name, unsigned rank,
                              const int64_t *dims, struct bf_diags *diags) {
    return bf_net_add_input(net, name, bf_type_make(BF_F16, rank, dims), (struct bf_loc){0}, diags);
}

static size_t plans; /* of the last network */

static double run_one(struct bf_net *net, const struct bf_machine *machine, int64_t batch,
                      double *x) {
    struct compiled c;
    double error = 1e9;
    if (compile_net(&c, net, machine, batch, 1))
        error = run_net(&c, net, &bf_device_ref, &x, 0, NULL);
    plans = c.map ? c.map->plans.count : 0;
    compiled_free(&c);
    return error;
}

static double butterfly(const struct bf_machine *machine, int64_t batch, int64_t rows, int64_t in,
                        int64_t out, bool increasing, int64_t blocks, bool bias) {
    struct bf_sources sources = {0};
    struct bf_diags diags = test_diags(&sources);
    struct bf_net *net = bf_net_create("b");
    struct bf_value *x = input(net, "x", 2, (int64_t[]){rows, in}, &diags);
    struct bf_attrs attrs = {0};
    bf_attrs_set_int(&attrs, BF_OP_BUTTERFLY, "out", out);
    bf_attrs_set_bool(&attrs, BF_OP_BUTTERFLY, "bias", bias);
    bf_attrs_set_bool(&attrs, BF_OP_BUTTERFLY, "increasing", increasing);
    bf_attrs_set_int(&attrs, BF_OP_BUTTERFLY, "nblocks", blocks);
    struct bf_value *y =
        bf_net_add_op(net, BF_OP_BUTTERFLY, &x, 1, &attrs, "b", (struct bf_loc){0}, &diags);
    bf_net_add_output(net, "y", y, (struct bf_loc){0}, &diags);
    double *data = random_tensor(batch * rows * in, 7);
    double error = run_one(net, machine, batch, data);
    free(data);
    bf_net_free(net);
    return error;
}

static void butterflies(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    assert_true(butterfly(&machine, 1, 32, 64, 64, true, 1, false) < 1.2e-3);
    assert_true(butterfly(&machine, 1, 32, 64, 64, false, 1, false) < 1.2e-3);
    assert_true(butterfly(&machine, 1, 32, 64, 64, true, 2, true) < 1.5e-3);
    assert_true(butterfly(&machine, 1, 32, 512, 512, true, 1, true) < 1.5e-3);
    assert_true(butterfly(&machine, 1, 32, 512, 512, false, 1, true) < 1.5e-3);
    assert_true(butterfly(&machine, 3, 20, 40, 100, true, 1, true) < 1.5e-3);
    assert_true(butterfly(&machine, 1, 32, 768, 3072, true, 1, true) < 1.5e-3);
    assert_true(butterfly(&machine, 1, 32, 3072, 768, true, 1, true) < 1.7e-3);
    assert_true(butterfly(&machine, 1, 5, 2, 2, true, 1, true) < 1.2e-3);
    assert_true(butterfly(&machine, 1, 5, 3, 9, true, 1, true) < 1.2e-3);
    assert_true(butterfly(&machine, 1, 4, 16384, 16384, true, 1, true) < 2e-3);
    assert_true(plans > 1);
}

static double dense(const struct bf_machine *machine, int64_t batch, int64_t rows, int64_t in,
                    int64_t out, bool bias) {
    struct bf_sources sources = {0};
    struct bf_diags diags = test_diags(&sources);
    struct bf_net *net = bf_net_create("d");
    struct bf_value *x = input(net, "x", 2, (int64_t[]){rows, in}, &diags);
    struct bf_attrs attrs = {0};
    bf_attrs_set_int(&attrs, BF_OP_LINEAR, "out", out);
    bf_attrs_set_bool(&attrs, BF_OP_LINEAR, "bias", bias);
    struct bf_value *y =
        bf_net_add_op(net, BF_OP_LINEAR, &x, 1, &attrs, "d", (struct bf_loc){0}, &diags);
    bf_net_add_output(net, "y", y, (struct bf_loc){0}, &diags);
    double *data = random_tensor(batch * rows * in, 9);
    double error = run_one(net, machine, batch, data);
    free(data);
    bf_net_free(net);
    return error;
}

static void products(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    assert_true(dense(&machine, 1, 64, 128, 256, true) < 4e-4);
    assert_true(dense(&machine, 1, 5, 1, 1, false) < 4e-4);
    assert_true(dense(&machine, 2, 17, 300, 10, true) < 4e-4);
    assert_true(dense(&machine, 1, 128, 512, 200, true) < 4e-4);
}

static double fourier(const struct bf_machine *machine, int64_t batch, int64_t rows, int64_t cols) {
    struct bf_sources sources = {0};
    struct bf_diags diags = test_diags(&sources);
    struct bf_net *net = bf_net_create("f");
    struct bf_value *x = input(net, "x", 2, (int64_t[]){rows, cols}, &diags);
    struct bf_value *y =
        bf_net_add_op(net, BF_OP_FOURIER, &x, 1, NULL, "", (struct bf_loc){0}, &diags);
    bf_net_add_output(net, "y", y, (struct bf_loc){0}, &diags);
    double *data = random_tensor(batch * rows * cols, 11);
    double error = run_one(net, machine, batch, data);
    free(data);
    bf_net_free(net);
    return error;
}

static void mixing(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    assert_true(fourier(&machine, 1, 16, 16) < 1.5e-3);
    assert_true(fourier(&machine, 1, 64, 64) < 1.5e-3);
    assert_true(fourier(&machine, 3, 16, 64) < 1.5e-3);
    assert_true(fourier(&machine, 1, 128, 768) < 1.8e-3);
    assert_true(fourier(&machine, 1, 197, 192) < 2.2e-3);
    assert_true(fourier(&machine, 2, 50, 33) < 2.2e-3);
}

/* A complex network of one transform along the rows (axis 1) or columns (axis 2). */
static struct bf_net *transform_net(int64_t rows, int64_t cols, int axis, bool inverse) {
    struct bf_sources sources = {0};
    struct bf_diags diags = test_diags(&sources);
    struct bf_net *net = bf_net_create("f");
    struct bf_value *x = input(net, "x", 3, (int64_t[]){2, rows, cols}, &diags);
    struct bf_attrs attrs = {0};
    bf_attrs_set_int(&attrs, BF_OP_FFT, "axis", axis);
    bf_attrs_set_bool(&attrs, BF_OP_FFT, "inverse", inverse);
    struct bf_value *y =
        bf_net_add_op(net, BF_OP_FFT, &x, 1, &attrs, "", (struct bf_loc){0}, &diags);
    bf_net_add_output(net, "y", y, (struct bf_loc){0}, &diags);
    return net;
}

static double transform(const struct bf_machine *machine, int64_t batch, int64_t n, int64_t lanes,
                        int axis, bool inverse) {
    struct bf_net *net =
        axis == 1 ? transform_net(n, lanes, axis, inverse) : transform_net(lanes, n, axis, inverse);
    double *data = random_tensor(batch * 2 * n * lanes, 5);
    double error = run_one(net, machine, batch, data);
    free(data);
    bf_net_free(net);
    return error;
}

/* Lengths that are no multiple of the lanes, along the rows: pieces of tiles. */
static void rows_of_any_length(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    static const int64_t lengths[] = {2, 3, 7, 20, 48, 96, 100, 243};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        assert_true(transform(&machine, 1, lengths[i], 20, 1, i & 1) < 1.2e-3);
        assert_int_equal(plans, 1);
    }
    assert_true(transform(&machine, 1, 375, 300, 1, false) < 1.2e-3); /* packed rows */
    assert_true(plans > 2);
    assert_true(transform(&machine, 2, 270, 16, 1, true) < 1.2e-3);
    assert_true(plans > 1);
}

static void passes(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    static const int64_t lengths[] = {1000, 2187, 4096};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        assert_true(transform(&machine, 1, lengths[i], 2, 1 + (i & 1), i & 1) < 1.5e-3);
        assert_true(plans > 1);
    }
}

static void prime_lengths(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    static const int64_t lengths[] = {11, 97, 149, 331};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        assert_true(transform(&machine, 1, lengths[i], 6, 2 - (i & 1), i > 1) < 2e-3);
}

/* Arrays of other sizes. */
static void machines(void **state) {
    (void)state;
    static const struct {
        unsigned rows, cols, lanes, ram, half, accumulators, latency;
    } arrays[] = {
        {1, 1, 4, 128, 16, 2, 2}, {8, 8, 32, 1024, 32, 16, 9}, {2, 1, 8, 256, 64, 4, 4},
        {4, 2, 16, 128, 8, 8, 5}, {1, 8, 32, 512, 16, 6, 3},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        struct bf_machine machine = bf_machine_default();
        machine.rows = arrays[i].rows;
        machine.cols = arrays[i].cols;
        machine.lanes = arrays[i].lanes;
        machine.data_ram = arrays[i].ram;
        machine.weight_half = arrays[i].half;
        machine.accumulators = arrays[i].accumulators;
        machine.fma_latency = arrays[i].latency;
        assert_true(transform(&machine, 1, 60, 37, 1, false) < 1.2e-3);
        assert_true(transform(&machine, 2, 96, 9, 2, true) < 1.2e-3);
        assert_true(transform(&machine, 1, 11, 9, 1, false) < 1.5e-3);
        assert_true(butterfly(&machine, 1, 9, 100, 130, true, 2, true) < 2e-3);
    }
}

/* Too small for a stage: refused with the resource, the need and the limit. */
static void refusals(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    machine.weight_half = 8;
    machine.lanes = 4;
    char *text = NULL;
    size_t size = 0;
    struct bf_net *net = transform_net(4, 14, 2, false);
    struct compiled c = {0};
    FILE *saved = stderr, *out = open_memstream(&text, &size);
    stderr = out; /* compile_net reports there */
    bool mapped = compile_net(&c, net, &machine, 1, 1);
    stderr = saved;
    fclose(out);
    assert_false(mapped);
    assert_non_null(strstr(text,
                           "cannot map fft(14) on 'default': a stage of radix 7 needs 84 weights "
                           "a PE, the array has 64"));
    free(text);
    compiled_free(&c);
    bf_net_free(net);
}

/* ---- planted faults ---- */

struct planted {
    struct compiled c;
    struct bf_net *net;
    struct bf_kernel *code; /* of the first plan */
    FILE *out;
    char *text;
    size_t size;
};

static void plant_begin(struct planted *p, struct bf_net *net, const struct bf_machine *machine) {
    memset(p, 0, sizeof *p);
    p->net = net;
    assert_true(compile_net(&p->c, net, machine, 1, 1));
    p->code = &p->c.map->program->kernels[p->c.map->plans.data[0]->code];
    p->out = open_memstream(&p->text, &p->size);
    p->c.diags.out = p->out;
}

static struct bf_block *block_of(struct planted *p, const char *name, unsigned pe) {
    for (size_t i = 0; i < p->code->block_count; i++)
        if (!strcmp(p->code->blocks[i].name, name) && p->code->blocks[i].pes >> pe & 1)
            return &p->code->blocks[i];
    fail_msg("no block %s", name);
    return NULL;
}

/* The value check refuses and says so in these words. */
static void plant_end(struct planted *p, const char *words) {
    assert_false(bf_pass_verify(p->c.map, &p->c.diags));
    fflush(p->out);
    if (!strstr(p->text, "value check of k0") || !strstr(p->text, words))
        fail_msg("expected '%s' in: %s", words, p->text);
    fclose(p->out);
    free(p->text);
    compiled_free(&p->c);
    bf_net_free(p->net);
}

static void dropped_exchange(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    struct planted p;
    plant_begin(&p, transform_net(16, 64, 2, false), &machine);
    block_of(&p, "exchange", 0)->id++;
    plant_end(&p, "no exchange brings element ");
}

static void exchange_of_the_wrong_words(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    struct planted p;
    plant_begin(&p, transform_net(16, 64, 2, false), &machine);
    block_of(&p, "exchange", 0)->d.flow.destination_shift++;
    plant_end(&p, "no exchange brings element ");
}

static void swapped_bodies(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    struct planted p;
    plant_begin(&p, transform_net(100, 20, 1, false), &machine);
    struct bf_block *f1 = block_of(&p, "F1", 0), *f2 = block_of(&p, "F2", 0);
    uint8_t start = f1->d.cal.start;
    f1->d.cal.start = f2->d.cal.start;
    f2->d.cal.start = start;
    uint8_t length = f1->d.cal.length;
    f1->d.cal.length = f2->d.cal.length;
    f2->d.cal.length = length;
    plant_end(&p, "element ");
}

/* The first two instructions of a body that write the RAM write each other's words. */
static void swapped_words(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    struct planted p;
    struct bf_error error = {0};
    plant_begin(&p, transform_net(96, 20, 1, false), &machine);
    const struct bf_descriptor *d = &block_of(&p, "F3", 0)->d;
    struct bf_cal cal[BF_MAX_BODY];
    int first = -1, second = -1;
    for (int i = 0; i < d->cal.length; i++) {
        assert_true(bf_cal_decode(p.code->segments[0].words[d->cal.start + i], &cal[i], &error));
        if (cal[i].dst & BF_DST_RAM && first < 0)
            first = i;
        else if (cal[i].dst & BF_DST_RAM && second < 0)
            second = i;
    }
    assert_true(second > first && first >= 0);
    uint16_t word = cal[first].d;
    cal[first].d = cal[second].d;
    cal[second].d = word;
    p.code->segments[0].words[d->cal.start + first] = bf_cal_encode(&cal[first]);
    p.code->segments[0].words[d->cal.start + second] = bf_cal_encode(&cal[second]);
    plant_end(&p, "block \"F3\" leaves in element ");
}

static void wrong_weights(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    struct planted p;
    plant_begin(&p, transform_net(96, 20, 1, false), &machine);
    block_of(&p, "F3", 0)->d.cal.delta[3][0] += 2;
    plant_end(&p, "it should be ");
}

static void wrong_shift(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    struct planted p;
    plant_begin(&p, transform_net(11, 20, 1, false), &machine);
    block_of(&p, "C0", 0)->d.cal.exponent--;
    plant_end(&p, "does not shift its results as the stage does");
}

static void wrong_piece(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    struct planted p;
    plant_begin(&p, transform_net(100, 20, 1, false), &machine);
    block_of(&p, "load x", 0)->d.mem.spm_delta[1]++;
    plant_end(&p, "block \"load x\" reads scratchpad word ");
}

static void missing_piece(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    struct planted p;
    plant_begin(&p, transform_net(100, 20, 1, false), &machine);
    struct bf_block *store = block_of(&p, "store y", 0);
    store->d.trips[1]--;
    plant_end(&p, "nothing stores element ");
}

/* Contexts of two iterations that overlap: storage, not value. */
static void overlapping_contexts(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    machine.rows = machine.cols = 1;
    struct compiled c;
    struct bf_net *net = transform_net(96, 100, 1, false);
    assert_true(compile_net(&c, net, &machine, 1, 1));
    struct bf_error error = {0};
    assert_true(bf_check_program(c.map->program, &error));
    struct bf_launch *launch = &c.map->program->launches[0];
    assert_true(launch->window > 1);
    launch->context_size /= 2;
    assert_false(bf_check_program(c.map->program, &error));
    if (!strstr(error.text, "storage: RAM word"))
        fail_msg("%s", error.text);
    compiled_free(&c);
    bf_net_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(butterflies),
        cmocka_unit_test(products),
        cmocka_unit_test(mixing),
        cmocka_unit_test(rows_of_any_length),
        cmocka_unit_test(passes),
        cmocka_unit_test(prime_lengths),
        cmocka_unit_test(machines),
        cmocka_unit_test(refusals),
        cmocka_unit_test(dropped_exchange),
        cmocka_unit_test(exchange_of_the_wrong_words),
        cmocka_unit_test(swapped_bodies),
        cmocka_unit_test(swapped_words),
        cmocka_unit_test(wrong_weights),
        cmocka_unit_test(wrong_shift),
        cmocka_unit_test(wrong_piece),
        cmocka_unit_test(missing_piece),
        cmocka_unit_test(overlapping_contexts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
