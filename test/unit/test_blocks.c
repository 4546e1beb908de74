/* test_blocks.c - Monarch matrices, block butterflies, transposition and FFT compression, through
 * all passes onto the devices, against the interpreter. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "test/unit/compile.h"

/* Limits of the relative error, of a sum that is rounded once, and of one whose terms went through
 * log2(tile) roundings or a transform and its inverse (the reference cases have 1.1e-3 and 1.4e-3).
 */
static const double once = 4e-4, stages = 8e-4, transforms = 1e-3;

static struct bf_net *begin(struct bf_value **x, unsigned rank, const int64_t *dims) {
    struct bf_sources sources = {0};
    struct bf_diags diags = test_diags(&sources);
    struct bf_net *net = bf_net_create("blocks");
    *x = bf_net_add_input(net, "x", bf_type_make(BF_F16, rank, dims), (struct bf_loc){0}, &diags);
    assert_non_null(*x);
    return net;
}

static struct bf_value *add(struct bf_net *net, enum bf_op_kind kind, struct bf_value *x,
                            const struct bf_attrs *attrs) {
    struct bf_sources sources = {0};
    struct bf_diags diags = test_diags(&sources);
    struct bf_value *y =
        bf_net_add_op(net, kind, &x, 1, attrs, "block", (struct bf_loc){0}, &diags);
    assert_non_null(y);
    return y;
}

static void run(struct bf_net *net, struct bf_value *y, const struct bf_machine *machine,
                int64_t batch, const struct bf_device *device, double limit) {
    struct bf_sources sources = {0};
    struct bf_diags diags = test_diags(&sources);
    struct compiled c;
    struct bf_stats *stats = NULL;
    assert_true(bf_net_add_output(net, "y", y, (struct bf_loc){0}, &diags));
    assert_true(compile_net(&c, net, machine, batch, 1));
    const struct bf_type *type = &net->inputs.data[0]->type;
    double *inputs[] = {random_tensor(bf_type_elements(type) * batch, 7)};
    double error = run_net(&c, net, device, inputs, 0, &stats);
    if (getenv("SHOW"))
        for (size_t k = 0; k < c.map->program->launch_count; k++)
            printf("error %g, plan %zu of %zu: %llu cycles\n", error, k, c.map->plans.count,
                   (unsigned long long)stats->kernels[c.map->program->launches[k].kernel].cycles);
    if (!(error < limit)) {
        struct bf_text text = {0};
        bf_net_print(net, &text);
        fail_msg("batch %lld on '%s' with %u lanes: error %g in\n%s", (long long)batch,
                 machine->name, machine->lanes, error, text.data);
    }
    bf_stats_free(c.map->program, stats);
    free(inputs[0]);
    compiled_free(&c);
    bf_net_free(net);
}

static struct bf_machine machine_of(unsigned lanes, unsigned rows, unsigned cols) {
    struct bf_machine m = bf_machine_default();
    m.lanes = lanes;
    m.rows = rows;
    m.cols = cols;
    return m;
}

/* ---- monarch ---- */

static void monarch(int64_t tokens, int64_t r, bool bias, int64_t batch,
                    const struct bf_machine *machine, const struct bf_device *device) {
    struct bf_value *x;
    struct bf_net *net = begin(&x, 2, (int64_t[]){tokens, r * r});
    struct bf_attrs attrs;
    memset(&attrs, 0, sizeof attrs);
    bf_attrs_set_bool(&attrs, BF_OP_MONARCH, "bias", bias);
    run(net, add(net, BF_OP_MONARCH, x, &attrs), machine, batch, device, once);
}

static void monarch_of_any_size(void **state) {
    (void)state;
    struct bf_machine m = machine_of(16, 4, 4);
    static const int64_t r[] = {1, 2, 3, 5, 7, 8, 9, 13, 16, 17, 20, 31};
    monarch(32, 16, true, 1, &m, &bf_device_sim);
    for (size_t i = 0; i < sizeof r / sizeof *r; i++)
        monarch(7 + (int64_t)i * 5, r[i], i % 2, 1 + (int64_t)i % 3, &m, &bf_device_ref);
    monarch(1, 6, true, 5, &m, &bf_device_ref);
}

static void monarch_on_any_machine(void **state) {
    (void)state;
    for (unsigned v = 4; v <= 32; v *= 2) {
        struct bf_machine m = machine_of(v, 2, 1);
        monarch(40, 9, true, 1, &m, &bf_device_ref);
        m = machine_of(v, 8, 8);
        monarch(40, 12, true, 2, &m, &bf_device_ref);
        m = machine_of(v, 1, 1);
        m.accumulators = 2;
        m.data_ram = 64;
        monarch(24, 11, true, 1, &m, &bf_device_sim);
    }
}

/* ---- block butterflies ---- */

static void butterfly(int64_t tokens, int64_t in, int64_t out, int64_t tile, bool increasing,
                      int64_t batch, const struct bf_machine *machine,
                      const struct bf_device *device) {
    struct bf_value *x;
    struct bf_net *net = begin(&x, 2, (int64_t[]){tokens, in});
    struct bf_attrs attrs;
    memset(&attrs, 0, sizeof attrs);
    bf_attrs_set_int(&attrs, BF_OP_BLOCK_BUTTERFLY, "out", out);
    bf_attrs_set_int(&attrs, BF_OP_BLOCK_BUTTERFLY, "tile", tile);
    bf_attrs_set_bool(&attrs, BF_OP_BLOCK_BUTTERFLY, "increasing", increasing);
    bf_attrs_set_bool(&attrs, BF_OP_BLOCK_BUTTERFLY, "bias", increasing);
    run(net, add(net, BF_OP_BLOCK_BUTTERFLY, x, &attrs), machine, batch, device, stages);
}

static void butterflies_of_any_size(void **state) {
    (void)state;
    struct bf_machine m = machine_of(16, 4, 4);
    butterfly(32, 256, 256, 32, true, 1, &m, &bf_device_sim);
    for (int64_t tile = 2; tile <= 64; tile *= 2) {
        butterfly(20, tile, tile, tile, true, 1, &m, &bf_device_ref);
        butterfly(20, 2 * tile, 3 * tile, tile, false, 1, &m, &bf_device_ref);
        butterfly(33, 3 * tile, 2 * tile, tile, true, 2, &m, &bf_device_ref);
        butterfly(17, 4 * tile, 17 * tile, tile, true, 1, &m, &bf_device_ref);
        butterfly(1, 5 * tile, 5 * tile, tile, false, 3, &m, &bf_device_ref);
    }
    static const int64_t columns[] = {5, 9, 17, 25, 26, 27, 50, 131};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        for (int64_t tile = 2; tile <= 16; tile *= 2)
            butterfly(3, tile * columns[i], 2 * tile, tile, true, 1, &m, &bf_device_ref);
    butterfly(16, 1024, 64, 32, true, 1, &m, &bf_device_ref);
    butterfly(16, 4096, 8, 4, true, 1, &m, &bf_device_ref);
}

static void butterflies_on_any_machine(void **state) {
    (void)state;
    for (unsigned v = 4; v <= 32; v *= 2) {
        struct bf_machine m = machine_of(v, 2, 1);
        butterfly(40, 48, 32, 16, true, 1, &m, &bf_device_ref);
        m = machine_of(v, 8, 8);
        butterfly(40, 48, 64, 8, false, 2, &m, &bf_device_ref);
        m = machine_of(v, 1, 1);
        m.accumulators = 2;
        m.data_ram = 64;
        butterfly(24, 48, 16, 16, true, 1, &m, &bf_device_sim);
    }
}

/* ---- transpose ---- */

static void transpose(unsigned rank, const int64_t *dims, int64_t batch,
                      const struct bf_machine *machine, const struct bf_device *device) {
    struct bf_value *x;
    struct bf_net *net = begin(&x, rank, dims);
    run(net, add(net, BF_OP_TRANSPOSE, x, NULL), machine, batch, device, 1e-12);
}

static void transposes(void **state) {
    (void)state;
    static const int64_t dims[][3] = {{1, 16, 16}, {1, 128, 400}, {1, 7, 45}, {3, 20, 33},
                                      {5, 64, 64}, {2, 1, 9},     {2, 9, 1},  {4, 17, 16}};
    for (unsigned v = 4; v <= 32; v *= 2) {
        struct bf_machine m = machine_of(v, v == 4 ? 8 : 4, v == 8 ? 1 : 4);
        for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
            transpose(3, dims[i], 1 + (int64_t)i % 2, &m, &bf_device_ref);
            if (dims[i][0] == 1)
                transpose(2, dims[i] + 1, 3, &m, i ? &bf_device_ref : &bf_device_sim);
        }
    }
}

/* The permutation of 0 .. rank - 1 with this number. */
static void nth_permutation(unsigned rank, int number, int64_t axes[4]) {
    bool used[4] = {false};
    for (unsigned a = 0; a < rank; a++) {
        int left = number % (int)(rank - a), axis = 0;
        number /= (int)(rank - a);
        for (; used[axis] || left > 0; axis++)
            left -= !used[axis];
        used[axis] = true;
        axes[a] = axis;
    }
}

static void any_axes(void **state) {
    (void)state;
    static const int64_t dims[][4] = {{3, 5, 18, 7}, {2, 1, 4, 20}, {1, 6, 1, 3}};
    struct bf_machine m = machine_of(8, 2, 2);
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        for (int number = 0; number < 24 + 6; number++) {
            unsigned rank = number < 24 ? 4 : 3;
            int64_t axes[4];
            struct bf_attrs attrs;
            struct bf_value *x;
            struct bf_net *net = begin(&x, rank, dims[i]);
            memset(&attrs, 0, sizeof attrs);
            nth_permutation(rank, number % 24, axes);
            bf_attrs_set_ints(&attrs, BF_OP_TRANSPOSE, "axes", axes, rank);
            run(net, add(net, BF_OP_TRANSPOSE, x, &attrs), &m, 1 + number % 2, &bf_device_ref,
                1e-12);
        }
    }
}

/* ---- fft_compress ---- */

static void compress(int64_t seq, int64_t hidden, int64_t chunk, int64_t keep, const char *mode,
                     bool inside, int64_t batch, const struct bf_machine *machine,
                     const struct bf_device *device) {
    struct bf_value *x;
    struct bf_net *net = begin(&x, 2, (int64_t[]){seq, hidden});
    struct bf_attrs attrs;
    memset(&attrs, 0, sizeof attrs);
    bf_attrs_set_int(&attrs, BF_OP_FFT_COMPRESS, "chunk", chunk);
    bf_attrs_set_int(&attrs, BF_OP_FFT_COMPRESS, "keep", keep);
    bf_attrs_set_string(&attrs, BF_OP_FFT_COMPRESS, "mode", mode);
    if (inside)
        x = add(net, BF_OP_TRANSPOSE, add(net, BF_OP_TRANSPOSE, x, NULL), NULL);
    struct bf_value *y = add(net, BF_OP_FFT_COMPRESS, x, &attrs);
    run(net, y, machine, batch, device, transforms);
}

static void compressions(void **state) {
    (void)state;
    struct bf_machine m = machine_of(16, 4, 4);
    static const char *const modes[] = {"lowpass", "leading"};
    for (int i = 0; i < 2; i++) {
        compress(256, 64, 64, 32, modes[i], false, 1, &m, &bf_device_sim);
        compress(64, 20, 16, 4, modes[i], false, 2, &m, &bf_device_ref);
        compress(32, 16, 8, 2, modes[i], false, 1, &m, &bf_device_ref);
        compress(32, 16, 8, 8, modes[i], false, 1, &m, &bf_device_ref);
        compress(64, 32, 64, 16, modes[i], false, 1, &m, &bf_device_ref);
    }
    compress(192, 16, 96, 24, "lowpass", false, 1, &m, &bf_device_ref);
    compress(60, 16, 20, 6, "leading", true, 2, &m, &bf_device_ref);
    compress(64, 16, 16, 8, "lowpass", true, 1, &m, &bf_device_ref);
    compress(32, 16, 8, 1, "leading", false, 1, &m, &bf_device_ref);
    compress(32, 16, 1, 1, "leading", false, 1, &m, &bf_device_ref);
}

/* Activations that exceed the scratchpad, a slice at a time. */
static void in_slices(void **state) {
    (void)state;
    struct bf_machine m = machine_of(16, 4, 4);
    m.spm_words = 24576;
    compress(256, 480, 256, 64, "lowpass", false, 1, &m, &bf_device_ref);
    compress(256, 480, 32, 8, "leading", false, 2, &m, &bf_device_ref);
    monarch(700, 16, true, 1, &m, &bf_device_ref);
    monarch(200, 16, true, 4, &m, &bf_device_ref);
    butterfly(1500, 256, 128, 32, true, 1, &m, &bf_device_ref);
    butterfly(300, 256, 128, 32, true, 4, &m, &bf_device_ref);
}

/* ---- planted faults ---- */

static struct compiled planted;
static unsigned checked;

static void expect_found(const char *what, size_t kernel, size_t at) {
    checked++;
    planted.diags = test_diags(&planted.sources);
    planted.diags.out = tmpfile();
    assert_non_null(planted.diags.out);
    bool found = !bf_pass_verify(planted.map, &planted.diags);
    fclose(planted.diags.out);
    if (!found)
        fail_msg("kernel %zu, %zu: %s is not found (fault %u)", kernel, at, what, checked);
}

/* Every operand and sign of every instruction, one at a time. */
static void change_instructions(size_t k) {
    struct bf_kernel *kernel = &planted.map->program->kernels[k];
    for (size_t i = 0; kernel->segment_count && i < kernel->segments[0].count; i++) {
        uint64_t *word = &kernel->segments[0].words[i], right = *word;
        struct bf_cal cal, changed;
        struct bf_error error = {0};
        assert_true(bf_cal_decode(right, &cal, &error));
        unsigned reads = bf_cal_operands(cal.op);
        bool applies[] = {reads & 1,
                          reads & 2,
                          reads & 4 && cal.c != BF_C_ZERO << 8,
                          cal.dst & BF_DST_RAM,
                          cal.dst & BF_DST_ACC,
                          cal.op == BF_CAL_FMA};
        for (size_t f = 0; f < sizeof applies / sizeof *applies; f++) {
            changed = cal;
            changed.a ^= f == 0;
            changed.b ^= f == 1;
            changed.c ^= f == 2;
            changed.d ^= f == 3;
            changed.acc ^= f == 4;
            changed.negate_product ^= f == 5;
            *word = bf_cal_encode(&changed);
            if (applies[f])
                expect_found("a changed instruction", k, i);
        }
        *word = right;
    }
}

static void change_loops(size_t k, struct bf_descriptor *d, const struct bf_launch *launch) {
    struct bf_descriptor right = *d;
    bool memory = d->unit != BF_UNIT_CAL;
    for (int level = 0; level < BF_LEVELS; level++) {
        if (right.trips[level] > 1) {
            d->trips[level]--;
            expect_found("a run fewer", k, (size_t)level);
            *d = right;
            if (memory)
                d->mem.spm_delta[level]++;
            else
                d->cal.delta[0][level]++;
            expect_found("another stride", k, (size_t)level);
            *d = right;
        }
        int steps = d->mem.weights ? launch->group_level : 0;
        if (memory && level >= steps && launch->trips[level] > 1) {
            d->mem.iteration_delta[level]++;
            expect_found("another iteration stride", k, (size_t)level);
            *d = right;
        }
    }
}

static void change_blocks(size_t k, const struct bf_launch *launch) {
    struct bf_kernel *kernel = &planted.map->program->kernels[k];
    for (size_t i = 0; i < kernel->block_count; i++) {
        struct bf_descriptor *d = &kernel->blocks[i].d, right = *d;
        uint64_t pes = kernel->blocks[i].pes;
        change_loops(k, d, launch);
        if (d->unit == BF_UNIT_CAL) {
            d->cal.exponent++;
            if (d->target[0] != BF_NO_BLOCK)
                expect_found("another exponent", k, i);
        } else {
            d->mem.spm++;
            expect_found("another scratchpad word", k, i);
            *d = right;
            d->mem.ram++;
            expect_found("another RAM word", k, i);
        }
        *d = right;
        kernel->blocks[i].pes &= kernel->blocks[i].pes - 1;
        expect_found("a block fewer", k, i);
        kernel->blocks[i].pes = pes;
    }
}

static void plant_in(enum bf_op_kind kind, const struct bf_attrs *attrs, int64_t tokens,
                     int64_t columns) {
    struct bf_value *x;
    struct bf_machine m = machine_of(8, 2, 1);
    struct bf_sources sources = {0};
    struct bf_diags diags = test_diags(&sources);
    struct bf_net *net = begin(&x, 2, (int64_t[]){tokens, columns});
    struct bf_value *y = add(net, kind, x, attrs);
    assert_true(bf_net_add_output(net, "y", y, (struct bf_loc){0}, &diags));
    assert_true(compile_net(&planted, net, &m, 1, 1));
    struct bf_program *program = planted.map->program;
    for (size_t l = 0; l < program->launch_count; l++) {
        change_instructions(program->launches[l].kernel);
        change_blocks(program->launches[l].kernel, &program->launches[l]);
    }
    compiled_free(&planted);
    bf_net_free(net);
}

static void faults_are_found(void **state) {
    (void)state;
    struct bf_attrs attrs;
    memset(&attrs, 0, sizeof attrs);
    plant_in(BF_OP_MONARCH, &attrs, 24, 49);
    plant_in(BF_OP_TRANSPOSE, NULL, 20, 33);
    bf_attrs_set_int(&attrs, BF_OP_BLOCK_BUTTERFLY, "out", 24);
    bf_attrs_set_int(&attrs, BF_OP_BLOCK_BUTTERFLY, "tile", 8);
    plant_in(BF_OP_BLOCK_BUTTERFLY, &attrs, 24, 40);
    plant_in(BF_OP_BLOCK_BUTTERFLY, &attrs, 24, 200);
    assert_true(checked > 500);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monarch_of_any_size),
        cmocka_unit_test(monarch_on_any_machine),
        cmocka_unit_test(butterflies_of_any_size),
        cmocka_unit_test(butterflies_on_any_machine),
        cmocka_unit_test(transposes),
        cmocka_unit_test(compressions),
        cmocka_unit_test(any_axes),
        cmocka_unit_test(in_slices),
        cmocka_unit_test(faults_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
