/* test_bfrt.c - libbfrt: loading, describing, binding, running in groups, fetching, statistics. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <unistd.h>

#include "runtime/bfrt.h"
#include "runtime/report.h"
#include "runtime/safetensors.h"
#include "test/unit/mini.h"

/* y = 2 x for 4 samples of 16 numbers. Two more inputs come back as outputs that lie in the same
 * bytes of DRAM: what binding made of them can be seen there. */
enum { BATCH = 4, WIDTH = 16, X_AT = 0, Y_AT = 4096, MASK_AT = 8192, IDS_AT = 8448 };

static struct bf_tensor_place place(const char *name, enum bf_tensor_kind kind, enum bf_dtype type,
                                    uint32_t width, uint64_t dram) {
    return (struct bf_tensor_place){.name = (char *)name,
                                    .kind = (uint8_t)kind,
                                    .dtype = (uint8_t)type,
                                    .rank = 1,
                                    .dims = {width},
                                    .dram = dram,
                                    .size = (uint64_t)BATCH * width * (type == BF_I32 ? 4 : 2)};
}

static uint8_t *doubling_image(size_t *size, bool with_more_inputs) {
    struct mini *m = mini_doubling();
    struct bf_tensor_place tensors[] = {
        place("x", BF_TENSOR_INPUT, BF_F16, WIDTH, X_AT),
        place("y", BF_TENSOR_OUTPUT, BF_F32, WIDTH, Y_AT),
        place("mask", BF_TENSOR_INPUT, BF_U8, 2, MASK_AT),
        place("mask_seen", BF_TENSOR_OUTPUT, BF_U8, 2, MASK_AT),
        place("ids", BF_TENSOR_INPUT, BF_I32, 3, IDS_AT),
        place("ids_seen", BF_TENSOR_OUTPUT, BF_I32, 3, IDS_AT),
    };
    char *files[] = {(char *)"mini.bfly"};
    m->program.tensors = tensors;
    m->program.tensor_count = with_more_inputs ? 6 : 2;
    m->program.files = files;
    m->program.file_count = 1;
    m->program.batch = BATCH;
    m->kernel.what = (char *)"ffn.fc1 doubling";
    m->kernel.place = (struct bf_place){0, 2, 5};
    m->blocks[2].place = (struct bf_place){0, 3, 9}; /* the store */
    struct bf_error error = {0};
    if (!bf_program_check(&m->program, &error))
        fail_msg("%s", error.text);
    uint8_t *bytes = bf_program_write(&m->program, size);
    free(m);
    return bytes;
}

static struct bfrt_model *doubling(bool with_more_inputs) {
    size_t size;
    uint8_t *bytes = doubling_image(&size, with_more_inputs);
    struct bfrt_error error = {0};
    struct bfrt_model *model = bfrt_load_memory(bytes, size, "mini.bfx", &error);
    free(bytes);
    if (!model)
        fail_msg("%s", error.text);
    return model;
}

static struct bfrt_session *session_of(const struct bfrt_model *model, const char *device) {
    struct bfrt_error error = {0};
    struct bfrt_session *session = bfrt_session_create(model, device, NULL, &error);
    if (!session)
        fail_msg("%s", error.text);
    return session;
}

static void must_say(const struct bfrt_error *error, const char *text) {
    assert_int_equal(error->code, BFRT_ERROR_INPUT);
    if (!strstr(error->text, text))
        fail_msg("no '%s' in: %s", text, error->text);
}

static void a_model_describes_itself(void **state) {
    (void)state;
    struct bfrt_model *model = doubling(true);
    assert_int_equal(bfrt_input_count(model), 3);
    assert_int_equal(bfrt_output_count(model), 3);
    const struct bfrt_tensor *x = bfrt_input(model, 0);
    assert_string_equal(x->name, "x");
    assert_int_equal(x->type, BFRT_F16);
    assert_int_equal(x->rank, 1);
    assert_int_equal(x->dims[0], WIDTH);
    assert_int_equal(bfrt_input(model, 1)->type, BFRT_U8);
    assert_int_equal(bfrt_output(model, 0)->type, BFRT_F32);
    assert_int_equal(bfrt_output(model, 2)->type, BFRT_I32);
    assert_null(bfrt_input(model, 3));
    const struct bfrt_info *info = bfrt_info(model);
    assert_string_equal(info->network, "mini");
    assert_int_equal(info->batch, BATCH);
    assert_int_equal(info->rows, 2);
    assert_int_equal(info->lanes, 4);
    assert_int_equal(info->kernel_count, 1);
    assert_int_equal(info->launch_count, 1);
    const struct bfrt_kernel *kernel = bfrt_kernel(model, 0);
    assert_string_equal(kernel->what, "ffn.fc1 doubling");
    assert_string_equal(kernel->place.file, "mini.bfly");
    assert_int_equal(kernel->place.line, 2);
    assert_int_equal(kernel->blocks, 3);
    assert_int_equal(kernel->cal_words, 1);
    assert_int_equal(kernel->launches, 1);
    assert_true(bfrt_check(model, NULL));

    struct bf_text text = {0};
    bf_describe(&text, model);
    assert_non_null(strstr(text.data, "network  mini   batch 4"));
    assert_non_null(strstr(text.data, "input    x          f16[16]\n"));
    assert_non_null(strstr(text.data, "output   ids_seen   i32[3]\n") ||
                    strstr(text.data, "output   ids_seen  i32[3]\n"));
    assert_non_null(strstr(text.data, "mini.bfly:2:5"));
    bf_text_free(&text);
    bfrt_model_free(model);
}

static void what_is_no_model_is_refused(void **state) {
    (void)state;
    struct bfrt_error error = {0};
    assert_null(bfrt_load_memory("hello", 5, "hello.bfx", &error));
    must_say(&error, "hello.bfx: ");
    error.code = 0;
    assert_null(bfrt_load("/nowhere/model.bfx", &error));
    must_say(&error, "/nowhere/model.bfx");
    assert_null(bfrt_load("/nowhere/model.bfx", NULL));
    struct bfrt_model *model = doubling(false);
    error.code = 0;
    assert_null(bfrt_session_create(model, "fpga", NULL, &error));
    must_say(&error, "there is no device 'fpga', but 'ref', 'sim'");
    bfrt_model_free(model);
}

/* One to nine samples: less than a group, whole groups, and groups that are not full. */
static void samples_go_through_in_groups(const char *device) {
    struct bfrt_model *model = doubling(false);
    struct bfrt_session *session = session_of(model, device);
    float x[9 * WIDTH], y[9 * WIDTH];
    for (int i = 0; i < 9 * WIDTH; i++)
        x[i] = (float)i - 50;
    for (uint64_t n = 1; n <= 9; n++) {
        struct bfrt_error error = {0};
        assert_true(bfrt_bind(session, "x", BFRT_F32, 2, (uint64_t[]){n, WIDTH}, x, &error));
        if (!bfrt_run(session, &error))
            fail_msg("%s", error.text);
        memset(y, 0xff, sizeof y);
        assert_true(bfrt_fetch(session, "y", BFRT_F32, y, n * WIDTH, &error));
        for (uint64_t i = 0; i < n * WIDTH; i++)
            assert_true(y[i] == 2 * x[i]);
        if (n < 9)
            assert_true(isnan(y[n * WIDTH])); /* nothing is written beyond */
        uint64_t dims[BFRT_MAX_RANK + 1];
        assert_int_equal(bfrt_output_shape(session, 0, dims), 2);
        assert_int_equal(dims[0], n);
        assert_int_equal(dims[1], WIDTH);
        const struct bfrt_stats *stats = bfrt_stats(session);
        assert_int_equal(stats->samples, n);
        assert_int_equal(stats->groups, (n + BATCH - 1) / BATCH);
        assert_int_equal(stats->kernels[0].runs, stats->groups);
        assert_int_equal(stats->kernels[0].issued[BFRT_CAL], 16 * stats->groups);
        assert_int_equal(stats->infinities + stats->nans, 0);
    }
    bfrt_session_free(session);
    bfrt_model_free(model);
}

static void groups_on_ref(void **state) {
    (void)state;
    samples_go_through_in_groups("ref");
}

static void groups_on_sim(void **state) {
    (void)state;
    samples_go_through_in_groups("sim");
}

static void one_sample_needs_no_leading_dimension(void **state) {
    (void)state;
    struct bfrt_model *model = doubling(false);
    struct bfrt_session *session = session_of(model, "ref");
    double x[WIDTH];
    for (int i = 0; i < WIDTH; i++)
        x[i] = i + 0x1p-20; /* rounds to i */
    struct bfrt_error error = {0};
    assert_true(bfrt_bind(session, "x", BFRT_F64, 1, (uint64_t[]){WIDTH}, x, &error));
    assert_true(bfrt_run(session, &error));
    uint16_t y[WIDTH];
    assert_true(bfrt_fetch(session, "y", BFRT_F16, y, WIDTH, &error));
    for (int i = 1; i < WIDTH; i++)
        assert_int_equal(y[i], bf_half_from_double(2.0 * i));
    uint64_t dims[BFRT_MAX_RANK + 1];
    assert_int_equal(bfrt_output_shape(session, 0, dims), 1);
    assert_int_equal(dims[0], WIDTH);
    bfrt_session_free(session);
    bfrt_model_free(model);
}

static void masks_and_ids_arrive(void **state) {
    (void)state;
    struct bfrt_model *model = doubling(true);
    struct bfrt_session *session = session_of(model, "ref");
    const float x[5 * WIDTH] = {0};
    const uint8_t mask[5][2] = {{1, 0}, {0, 1}, {1, 1}, {0, 0}, {0, 1}};
    const int64_t ids[5][3] = {{1, 2, 3}, {-4, 5, 6}, {7, 8, 9}, {10, 11, 12}, {13, INT32_MAX, 15}};
    struct bfrt_error error = {0};
    assert_true(bfrt_bind(session, "x", BFRT_F32, 2, (uint64_t[]){5, WIDTH}, x, &error));
    assert_true(bfrt_bind(session, "mask", BFRT_BOOL, 2, (uint64_t[]){5, 2}, mask, &error));
    assert_true(bfrt_bind(session, "ids", BFRT_I64, 2, (uint64_t[]){5, 3}, ids, &error));
    assert_true(bfrt_run(session, &error));
    uint16_t half[10];
    int32_t back[15];
    assert_true(bfrt_fetch(session, "mask_seen", BFRT_F16, half, 10, &error));
    assert_true(bfrt_fetch(session, "ids_seen", BFRT_I32, back, 15, &error));
    for (int i = 0; i < 10; i++)
        assert_int_equal(half[i], mask[i / 2][i % 2] ? 0x3c00 : 0);
    for (int i = 0; i < 15; i++)
        assert_int_equal(back[i], ids[i / 3][i % 3]);
    assert_false(bfrt_fetch(session, "ids_seen", BFRT_F16, half, 15, &error));
    must_say(&error, "output 'ids_seen' is i32 and cannot be fetched as f16");
    bfrt_session_free(session);
    bfrt_model_free(model);
}

static void mistakes_name_both_sides(void **state) {
    (void)state;
    struct bfrt_model *model = doubling(true);
    struct bfrt_session *session = session_of(model, "ref");
    const float x[2 * WIDTH] = {0};
    const int64_t ids[] = {1, 2, INT64_C(1) << 40};
    struct bfrt_error error = {0};
    assert_false(bfrt_bind(session, "z", BFRT_F32, 1, (uint64_t[]){WIDTH}, x, &error));
    must_say(&error, "has no input 'z'; its inputs: x f16[16], mask u8[2], ids i32[3]");
    error.code = 0;
    assert_false(bfrt_bind(session, "x", BFRT_F32, 2, (uint64_t[]){WIDTH, 2}, x, &error));
    must_say(&error, "'x' is [16, 2]");
    must_say(&error, "is f16[16], or [N, 16] of N samples");
    error.code = 0;
    assert_false(bfrt_bind(session, "x", BFRT_F32, 2, (uint64_t[]){0, WIDTH}, x, &error));
    must_say(&error, "'x' has no samples");
    error.code = 0;
    assert_false(bfrt_bind(session, "ids", BFRT_I64, 1, (uint64_t[]){3}, ids, &error));
    must_say(&error, "'ids'[2] is 1099511627776");
    error.code = 0;
    assert_false(bfrt_bind(session, "ids", BFRT_F32, 1, (uint64_t[]){3}, x, &error));
    must_say(&error, "'ids' holds F32");
    error.code = 0;
    assert_false(bfrt_run(session, &error));
    must_say(&error, "x f16[16], mask u8[2], ids i32[3]");

    error.code = 0;
    const uint8_t mask[] = {0, 1, 1, 0, 0, 0};
    assert_true(bfrt_bind(session, "x", BFRT_F32, 2, (uint64_t[]){2, WIDTH}, x, &error));
    assert_true(bfrt_bind(session, "mask", BFRT_U8, 2, (uint64_t[]){3, 2}, mask, &error));
    assert_true(
        bfrt_bind(session, "ids", BFRT_I64, 1, (uint64_t[]){3}, (int64_t[]){1, 2, 3}, &error));
    assert_false(bfrt_run(session, &error));
    must_say(&error, "input 'x' has 2 samples, but 'mask' has 3");
    error.code = 0;
    assert_true(bfrt_bind(session, "mask", BFRT_U8, 2, (uint64_t[]){2, 2}, mask, &error));
    assert_false(bfrt_run(session, &error));
    must_say(&error, "'ids' has 1 without a leading dimension");
    error.code = 0;
    float y[WIDTH];
    assert_false(bfrt_fetch(session, "y", BFRT_F32, y, WIDTH, &error));
    must_say(&error, "no values before a run");
    bfrt_session_free(session);
    bfrt_model_free(model);
}

static void infinities_are_found_with_their_place(void **state) {
    (void)state;
    struct bfrt_model *model = doubling(false);
    static const char *const devices[] = {"ref", "sim"}; /* those that execute the program */
    for (int d = 0; d < 2; d++) {
        struct bfrt_session *session = session_of(model, devices[d]);
        float x[BATCH * WIDTH] = {[3] = 40000, [20] = 1e6f, [33] = NAN, [34] = -INFINITY};
        struct bfrt_error error = {0};
        assert_true(bfrt_bind(session, "x", BFRT_F32, 2, (uint64_t[]){BATCH, WIDTH}, x, &error));
        struct bfrt_range range = bfrt_input_range(session, 0);
        assert_int_equal(range.overflowed, 1);
        assert_int_equal(range.infinities, 1);
        assert_int_equal(range.nans, 1);
        assert_int_equal(range.first, 20);
        assert_true(bfrt_run(session, &error));
        assert_int_equal(bfrt_stats(session)->infinities, 3);
        assert_int_equal(bfrt_stats(session)->nans, 1);
        assert_int_equal(bfrt_finding_count(session), 1);
        const struct bfrt_finding *finding = bfrt_finding(session, 0);
        assert_int_equal(finding->infinities, 3);
        assert_int_equal(finding->nans, 1);
        assert_string_equal(finding->place.file, "mini.bfly");
        assert_int_equal(finding->place.line, 3);
        assert_string_equal(finding->block, "store");
        bfrt_session_free(session);
    }
    bfrt_model_free(model);
}

static void write_tensors(const char *path, const struct bf_tensor *tensors, size_t count) {
    struct bf_error error = {0};
    if (!bf_tensor_file_write(path, tensors, count, NULL, 0, &error))
        fail_msg("%s", error.text);
}

static void files_go_in_and_out(void **state) {
    (void)state;
    char path[] = "/tmp/bf_bfrt_XXXXXX";
    close(mkstemp(path));
    struct bfrt_model *model = doubling(false);
    struct bfrt_session *session = session_of(model, "ref");
    bf_half x[WIDTH];
    for (int i = 0; i < WIDTH; i++)
        x[i] = bf_half_from_double(i);
    struct bf_tensor tensors[] = {
        {.name = "input.x", .rank = 1, .dims = {WIDTH}, .data = x, .size = sizeof x},
        {.name = "weight", .rank = 1, .dims = {WIDTH}, .data = x, .size = sizeof x},
    };
    /* With a name that begins with "input.", the others are not for us. */
    write_tensors(path, tensors, 2);
    struct bfrt_error error = {0};
    if (!bfrt_bind_file(session, path, &error) || !bfrt_run(session, &error) ||
        !bfrt_write_file(session, path, &error))
        fail_msg("%s", error.text);
    struct bf_tensor_file *file = bf_tensor_file_read(path, NULL);
    assert_non_null(file);
    assert_int_equal(file->tensor_count, 1);
    assert_string_equal(file->tensors[0].name, "y");
    assert_int_equal(file->tensors[0].type, BF_ELEMENT_F32); /* as declared */
    assert_int_equal(file->tensors[0].rank, 1);
    assert_true(bf_tensor_double(&file->tensors[0], 5) == 10);
    bf_tensor_file_free(file);

    /* Without, each must be an input. */
    tensors[0].name = "x";
    write_tensors(path, tensors, 2);
    struct bfrt_session *other = session_of(model, "ref");
    assert_false(bfrt_bind_file(other, path, &error));
    must_say(&error, "'weight' [16] is no input of network 'mini'\nits inputs: x f16[16]");
    assert_non_null(strstr(error.text, path));
    error.code = 0;
    tensors[1].name = "X";
    write_tensors(path, &tensors[1], 1);
    assert_false(bfrt_bind_file(other, path, &error));
    must_say(&error, "; did you mean 'x'?");
    bfrt_session_free(other);
    bfrt_session_free(session);
    bfrt_model_free(model);
    unlink(path);
}

static void *run_many(void *argument) {
    const struct bfrt_model *model = argument;
    for (int n = 0; n < 20; n++) {
        struct bfrt_session *session =
            bfrt_session_create(model, n % 2 ? "ref" : "sim", NULL, NULL);
        float x[WIDTH], y[WIDTH];
        for (int i = 0; i < WIDTH; i++)
            x[i] = (float)(n * i);
        bool good = bfrt_bind(session, "x", BFRT_F32, 1, (uint64_t[]){WIDTH}, x, NULL) &&
                    bfrt_run(session, NULL) && bfrt_fetch(session, "y", BFRT_F32, y, WIDTH, NULL);
        for (int i = 0; good && i < WIDTH; i++)
            good = y[i] == 2 * x[i];
        bfrt_session_free(session);
        if (!good)
            return "wrong";
    }
    return NULL;
}

static void threads_share_a_model(void **state) {
    (void)state;
    struct bfrt_model *model = doubling(false);
    pthread_t threads[4];
    for (int t = 0; t < 4; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, run_many, model), 0);
    for (int t = 0; t < 4; t++) {
        void *result;
        pthread_join(threads[t], &result);
        assert_null(result);
    }
    bfrt_model_free(model);
}

static void reports_add_up(void **state) {
    (void)state;
    struct bfrt_model *model = doubling(false);
    struct bfrt_session *session = session_of(model, "sim");
    const float x[6 * WIDTH] = {0};
    struct bfrt_error error = {0};
    assert_true(bfrt_bind(session, "x", BFRT_F32, 2, (uint64_t[]){6, WIDTH}, x, &error));
    assert_true(bfrt_run(session, &error));
    const struct bfrt_stats *stats = bfrt_stats(session);
    assert_true(stats->timed);
    assert_true(stats->cycles > 0 && stats->kernels[0].cycles <= stats->cycles);
    assert_true(stats->kernels[0].bound > 0 && stats->kernels[0].bound <= stats->kernels[0].cycles);
    assert_true(stats->energy > 0);
    /* Every cycle of a PE's unit is an issue or has a cause. */
    for (int u = 0; u < BFRT_UNITS; u++) {
        uint64_t slots = stats->kernels[0].issued[u];
        for (int s = 1; s < BFRT_STALLS; s++)
            slots += stats->kernels[0].stalled[u][s];
        assert_int_equal(slots, stats->kernels[0].cycles * 4);
    }
    struct bf_text text = {0};
    bf_report_text(&text, model, "sim", stats);
    assert_ptr_equal(strstr(text.data, "mini  6 samples in 2 groups  2x2 PEs x 4 lanes @ 1 GHz"),
                     text.data);
    assert_non_null(strstr(text.data, "ffn.fc1  doubling"));
    assert_non_null(strstr(text.data, "0 infinities   0 NaNs"));
    bf_text_free(&text);
    bf_report_json(&text, model, "sim", session, NULL);
    assert_non_null(strstr(text.data, "\"samples\": 6,\n"));
    bf_text_free(&text);
    bfrt_session_free(session);
    bfrt_model_free(model);
}

static void numbers_are_readable(void **state) {
    (void)state;
    static const struct {
        double amount;
        const char *text;
    } amounts[] = {{0, "0 J"},           {1, "1.00 J"},      {0.0031, "3.10 mJ"},
                   {34000, "34.0 kJ"},   {999499, "999 kJ"}, {999500, "1.00 MJ"},
                   {1.23e-9, "1.23 nJ"}, {123.4, "123 J"},   {99.96, "100 J"}};
    for (size_t i = 0; i < sizeof amounts / sizeof *amounts; i++) {
        struct bf_text text = {0};
        bf_text_add_amount(&text, amounts[i].amount, "J");
        assert_string_equal(text.data, amounts[i].text);
        bf_text_free(&text);
    }
    struct bf_text text = {0};
    bf_text_add_count(&text, 1033412);
    bf_text_add(&text, "|");
    bf_text_add_count(&text, 999);
    assert_string_equal(text.data, "1 033 412|999");
    bf_text_free(&text);
    bf_text_add(&text, "a\033[2J\nb\xc2\x9b\xc3\xa9");
    bf_text_make_printable(&text);
    assert_string_equal(text.data, "a?[2J\nb??\xc3\xa9");
    bf_text_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_describes_itself),
        cmocka_unit_test(what_is_no_model_is_refused),
        cmocka_unit_test(groups_on_ref),
        cmocka_unit_test(groups_on_sim),
        cmocka_unit_test(one_sample_needs_no_leading_dimension),
        cmocka_unit_test(masks_and_ids_arrive),
        cmocka_unit_test(mistakes_name_both_sides),
        cmocka_unit_test(infinities_are_found_with_their_place),
        cmocka_unit_test(files_go_in_and_out),
        cmocka_unit_test(threads_share_a_model),
        cmocka_unit_test(reports_add_up),
        cmocka_unit_test(numbers_are_readable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
