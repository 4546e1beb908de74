/* Tests of the .bfx file: what is written loads again, and what is not as written is refused. */
#include "ir/isa/program.h"
#include "runtime/image.h"
#include "runtime/safetensors.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

/* A program with at least one of everything: each PE loads a word, doubles it, passes it to its
 * neighbour and stores it. */
static struct bf_descriptor descriptor(unsigned unit) {
    struct bf_descriptor d;
    memset(&d, 0, sizeof d);
    d.unit = (uint8_t)unit;
    for (int i = 0; i < 3; i++) {
        d.trips[i] = 1;
        d.target[i] = BF_NO_BLOCK;
    }
    d.flow.token = BF_NO_BLOCK;
    d.cal.length = 1;
    return d;
}

static struct bf_block block(unsigned id, const char *name) {
    struct bf_block b = {.pes = 0xffff, .id = (uint8_t)id, .name = bf_strdup(name)};
    b.d = descriptor(bf_block_unit(id));
    b.place = (struct bf_place){0, 3, 7};
    return b;
}

static void add_kernel(struct bf_program *p) {
    struct bf_kernel *k = p->kernels = bf_alloc(sizeof *k);
    p->kernel_count = 1;
    k->name = bf_strdup("k0");
    k->what = bf_strdup("double and \"pass\"");
    k->segments = bf_alloc(sizeof *k->segments);
    k->segment_count = 1;
    k->segments[0] = (struct bf_segment){0xffff, 0, 1, bf_alloc(8)};
    struct bf_cal cal = {.op = BF_CAL_FMA,
                         .dst = BF_DST_RAM,
                         .d = 1,
                         .b_kind = BF_B_CONST,
                         .b = BF_B_TWO,
                         .c_class = 3,
                         .c = BF_C_ZERO << 8};
    k->segments[0].words[0] = bf_cal_encode(&cal);
    k->blocks = bf_alloc(4 * sizeof *k->blocks);
    k->block_count = 4;
    k->blocks[0] = block(32, "in");
    k->blocks[0].d.target[0] = 0;
    k->blocks[1] = block(0, "double");
    k->blocks[1].d.need = 1;
    k->blocks[1].d.target[0] = 48;
    k->blocks[2] = block(48, "pass");
    k->blocks[2].d.need = 1;
    k->blocks[2].d.flow.source = 1;
    k->blocks[2].d.flow.destination = 2;
    k->blocks[2].d.flow.width = 2;
    k->blocks[2].d.flow.mode = BF_FLOW_XOR;
    k->blocks[2].d.trips[1] = 4;
    k->blocks[2].d.flow.destination_delta[1] = -1;
    k->blocks[2].d.flow.token = 56;
    k->blocks[3] = block(56, "out");
    k->blocks[3].d.need = 4;
    k->blocks[3].d.mem.ram = 2;
    k->blocks[3].d.mem.spm = 16;
}

static void add_embedded(struct bf_program *p) {
    static const struct bf_tensor weight = {"w", BF_ELEMENT_BF16, 1, {3}, "abcdef", 6};
    size_t size;
    p->net_weights = bf_tensor_file_encode(&weight, 1, NULL, 0, &size, NULL);
    p->net_weights_size = size;
    p->value_count = 1;
    p->values = bf_alloc(sizeof *p->values);
    *p->values = (struct bf_value_place){.name = bf_strdup("v0"),
                                         .samples = 2,
                                         .rows = 3,
                                         .cols = 5,
                                         .word = 16,
                                         .width = 16,
                                         .pitch = 16,
                                         .exponent = -3};
}

static struct bf_program *sample(void) {
    struct bf_program *p = bf_program_create();
    free(p->network);
    p->network = bf_strdup("sample");
    p->file_count = 1;
    p->files = bf_alloc(sizeof *p->files);
    p->files[0] = bf_strdup("a \"b\".bfly");
    add_kernel(p);
    static const struct bf_seq sequence[] = {
        {BF_SEQ_CODE, 1, 0},   {BF_SEQ_DMA, 0, 0},   {BF_SEQ_WAITD, 0, 2}, {BF_SEQ_MARK, 0, 0},
        {BF_SEQ_LAUNCH, 0, 0}, {BF_SEQ_WAITK, 0, 0}, {BF_SEQ_MARK, 0, 1},  {BF_SEQ_DMA, 0, 1},
        {BF_SEQ_WAITD, 0, 3},  {BF_SEQ_END, 0, 0}};
    p->sequence_count = sizeof sequence / sizeof *sequence;
    p->sequence = bf_alloc(sizeof sequence);
    memcpy(p->sequence, sequence, sizeof sequence);
    p->launch_count = 1;
    p->launches = bf_alloc(sizeof *p->launches);
    *p->launches = (struct bf_launch){.bank = 1,
                                      .window = 2,
                                      .context_size = 4,
                                      .period = 1,
                                      .trips = {2, 1, 1},
                                      .base = {[3] = 32}};
    p->dma_count = 2;
    p->dmas = bf_alloc(2 * sizeof *p->dmas);
    p->dmas[0] = (struct bf_dma){.kind = BF_DMA_LOAD,
                                 .pad = true,
                                 .dram = 64,
                                 .pitch = 32,
                                 .rows = 3,
                                 .cols = 16,
                                 .width = 16};
    p->dmas[1] = (struct bf_dma){.kind = BF_DMA_STORE,
                                 .dram = 160,
                                 .pitch = 32,
                                 .rows = 1,
                                 .cols = 16,
                                 .spm = 16,
                                 .width = 16};
    p->tensor_count = 3;
    p->tensors = bf_alloc(3 * sizeof *p->tensors);
    p->tensors[0] =
        (struct bf_tensor_place){bf_strdup("x"), BF_TENSOR_INPUT, BF_F16, 2, {3, 16}, 64, 96};
    p->tensors[1] =
        (struct bf_tensor_place){bf_strdup("y"), BF_TENSOR_OUTPUT, BF_F32, 1, {16}, 160, 32};
    p->tensors[2] =
        (struct bf_tensor_place){bf_strdup("w"), BF_TENSOR_WEIGHT, BF_F16, 1, {5}, 0, 10};
    p->rodata_size = 11;
    p->rodata = bf_alloc(11);
    memcpy(p->rodata, "0123456789a", 11);
    p->dram_size = 4096;
    p->net = bf_strdup("net sample\n");
    add_embedded(p);
    return p;
}

static void loads_what_was_written(void **state) {
    (void)state;
    struct bf_program *p = sample();
    struct bf_error error = {0};
    if (!bf_program_check(p, &error))
        fail_msg("%s", error.text);
    size_t size, again_size;
    uint8_t *bytes = bf_program_write(p, &size);
    struct bf_program *q = bf_image_load(bytes, size, &error);
    if (!q)
        fail_msg("%s", error.text);
    uint8_t *again = bf_program_write(q, &again_size);
    assert_int_equal(size, again_size);
    assert_memory_equal(bytes, again, size);
    assert_string_equal(q->kernels[0].what, "double and \"pass\"");
    assert_int_equal(q->kernels[0].blocks[2].d.flow.destination_delta[1], -1);
    assert_int_equal(q->tensors[1].dram, 160);
    assert_string_equal(q->net, p->net);
    assert_true(q->launches[0].base[3] == 32);
    assert_int_equal(q->net_weights_size, p->net_weights_size);
    assert_int_equal(q->value_count, 1);
    assert_string_equal(q->values[0].name, "v0");
    assert_int_equal(q->values[0].exponent, -3);
    FILE *file = getenv("BF_KEEP") ? fopen(getenv("BF_KEEP"), "wb") : NULL;
    if (file) {
        fwrite(bytes, 1, size, file);
        fclose(file);
    }
    free(bytes);
    free(again);
    bf_program_free(p);
    bf_program_free(q);
}

/* Every prefix, and every byte changed in every bit, must be refused: the file has no slack. */
static void refuses_any_other_bytes(void **state) {
    (void)state;
    struct bf_program *p = sample();
    size_t size;
    uint8_t *bytes = bf_program_write(p, &size);
    for (size_t cut = 0; cut < size; cut += 1 + cut / 64) {
        uint8_t *part = malloc(cut ? cut : 1); /* exact, for AddressSanitizer */
        memcpy(part, bytes, cut);
        assert_null(bf_image_load(part, cut, NULL));
        free(part);
    }
    size_t accepted = 0;
    for (size_t i = 0; i < size * 8; i++) {
        bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        struct bf_program *q = bf_image_load(bytes, size, NULL);
        if (q) { /* a number inside its limits: the program says another thing, and says it
                    canonically */
            size_t again_size;
            uint8_t *again = bf_program_write(q, &again_size);
            assert_int_equal(size, again_size);
            assert_memory_equal(bytes, again, size);
            free(again);
            accepted++;
        }
        bf_program_free(q);
        bytes[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    assert_in_range(accepted, 1, size * 8 / 4);
    free(bytes);
    bf_program_free(p);
}

/* What is embedded must be usable: stored values inside the scratchpad, weights a canonical file.
 */
static void checks_what_is_embedded(void **state) {
    (void)state;
    static const struct {
        struct bf_value_place value;
        const char *message;
    } bad[] = {
        {{NULL, 1, 1, 1, 1, 0, 16, 1, 0}, "there is no launch 1"},
        {{NULL, 0, 0, 1, 1, 0, 16, 1, 0}, "it has no elements"},
        {{NULL, 0, 1, 1, 17, 0, 16, 1, 0},
         "its width must be a multiple of 16 and hold 17 columns"},
        {{NULL, 0, 1, 1, 1, 0, 24, 1, 0}, "its width must be a multiple of 16"},
        {{NULL, 0, 2, 4, 1, 0, 16, 3, 0}, "samples of 4 rows do not fit a pitch of 3"},
        {{NULL, 0, 1, 1, 1, 1, 16, 1, 0}, "it does not lie in the"},
        {{NULL, 0, 1, 1, 1, 131072, 16, 1, 0}, "it does not lie in the"},
        {{NULL, 0, 1, 131073 * 16, 1, 0, 16, 1, 0}, "it does not lie in the"},
        {{NULL, 0, UINT32_MAX, UINT32_MAX, 1, 0, 0xfffffff0, UINT32_MAX, 0}, "do not fit"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct bf_program *p = sample();
        struct bf_error error = {0};
        free(p->values[0].name);
        p->values[0] = bad[i].value;
        p->values[0].name = bf_strdup("v0");
        assert_false(bf_program_check(p, &error));
        if (!strstr(error.text, bad[i].message))
            fail_msg("%s", error.text);
        bf_program_free(p);
    }
    struct bf_program *p = sample();
    struct bf_error error = {0};
    free(p->net);
    p->net = NULL;
    assert_false(bf_program_check(p, &error));
    bf_program_free(p);
    p = sample();
    p->net_weights[p->net_weights_size - 7] = '0'; /* in place of the padding or the last '}' */
    size_t size;
    uint8_t *bytes = bf_program_write(p, &size);
    assert_null(bf_image_load(bytes, size, &error));
    free(bytes);
    bf_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_what_was_written),
        cmocka_unit_test(refuses_any_other_bytes),
        cmocka_unit_test(checks_what_is_embedded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
