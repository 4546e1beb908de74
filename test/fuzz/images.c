/* images.c - mutated .bfx files: `images [COUNT [SEED]]`. Each is either refused with a message or
 * runs on both devices, for a thousand cycles, to its end, a trap, a deadlock or the limit; build
 * it with the sanitizers. A run of more than 20 seconds counts as hanging. */
#define _POSIX_C_SOURCE 200809L
#include "ir/asm.h"
#include "runtime/check.h"
#include "runtime/device.h"
#include "runtime/image.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* Small arrays, so that a cycle is cheap, and between them every unit, job and kind of operand. */
static const char *const texts[] = {
    "bfcc asm 1 arch=small\n"
    "file 0 \"a.bfly\"\n"
    ".machine array rows=2 cols=2 lanes=4 retire_latency=2\n"
    ".machine pe data_ram=64 weight_half=8 code_words=32 accumulators=3\n"
    ".machine scratchpad words=1024 ports=2\n"
    ".machine dram setup=3\n"
    ".tensor input x f16[8,8]\n"
    ".tensor input ids i32[4]\n"
    ".tensor output y f16[8,8]\n"
    ".kernel k \"all units\" loc(0,1,2)\n"
    ".code\n"
    ".body scale\n"
    "  fma a0, r[1].1 <- -r[0] * l[0:1].2 + l+1\n"
    "  max r[2].1 <- a0, -r[0]\n"
    "  sel a1 <- r[1], w[1].3, a0\n"
    ".body finish\n"
    "  exp2 a2 <- -a1\n"
    "  fma r[4] <- a2 * 0.5 - a0\n"
    "  stlo r[6] <- a1\n"
    "  ldhi a1 <- r[6]\n"
    ".block load.0 trips=4 ram_stride=1 spm_stride=1 iteration_delta=4 relative=1 to=cal.0\n"
    ".block load.1 weights=1 trips=4 ram_stride=1 spm=64 iteration_delta=4\n"
    ".block cal.0 body=scale need=1 relative=0,1 weights=1 trips=2,2 stride0=1 chain=1 to=flow.0\n"
    ".block cal.1 body=finish relative=0 swap=0 exponent=-1\n"
    ".block flow.0 need=1 trips=1,4 width=2 source=4 destination=8 source_relative=1 "
    "destination_relative=1 token=store.0 self_shift=1 destination_delta=0,1\n"
    ".block store.0 need=4 trips=4 ram=8 relative=1 ram_stride=1 spm=128 spm_stride=1 "
    "iteration_delta=4 row=1 lanes=rest\n"
    ".launch kernel=k window=2 context=0,16 trips=2,2 group_level=1 base=0,4\n"
    ".launch kernel=k bank=1 window=3 context=4,16 trips=3 group_level=3 strict=1 "
    "one_weight_set=1\n"
    ".dma load dram=x rows=8 cols=8 width=8 pad=1\n"
    ".dma gather dram=w ids=ids rows=4 cols=5 limit=3 spm=64 width=8 row=1 col=2\n"
    ".dma fill rows=4 cols=4 width=4 spm=128 value=1.5\n"
    ".dma store dram=y rows=7 cols=8 width=8 spm=128\n"
    ".seq\n code 0 k\n dma 0\n dma 1\n dma 2\n waitd 3\n mark 0\n code 1 k\n launch 0\n"
    " waitd all\n launch 1\n mark 1\n waitk\n dma 3\n waitd all\n end\n"
    ".rodata\n.label w\n.half 1 2 3 0.25 -1 0x0001 65504 -0.5 0x4000 1 1 2 3 5 8 13\n",

    "bfcc asm 1 arch=line\n"
    ".machine array rows=1 cols=2 lanes=4 retire_latency=1\n"
    ".machine pe data_ram=64 weight_half=8 code_words=32\n"
    ".machine scratchpad words=512 ports=1\n"
    ".machine dram setup=0\n"
    ".tensor input x f32[4]\n"
    ".tensor output y f16[4,4]\n"
    ".kernel first\n"
    ".code pes=0\n.body b\n  frac r[1].3 <- r[0].1\n  ldexp a1 <- r[1], a0\n  cvti a0 <- a1\n"
    "  cvtf a1, r[2] <- a0\n"
    ".code pes=1\n.body c\n  rsqrt a1 <- r[0]\n  rcp a1 <- a1\n  fma r[2] <- r[0] * r[1] + 1\n"
    ".block load.0 row=1 reverse=2 trips=4 ram_stride=1 phases=0-1 to=cal.3\n"
    ".block load.1 spm=8 trips=2 ram_stride=1 phases=2 to=cal.4\n"
    ".block cal.3 pes=0 body=b need=1 phases=0-1 trips=1,2 stride1=0,3 to=flow.1,store.0\n"
    ".block cal.3 pes=1 body=c need=1 phases=0-1 to=flow.1,store.0\n"
    ".block cal.4 pes=0 body=b need=1 phases=2\n"
    ".block cal.4 pes=1 body=c need=1 phases=2\n"
    ".block flow.1 need=1 mode=abs shift=0 width=1 trips=1,2 destination=9 source=2 phases=0-1\n"
    ".block store.0 need=1 lanes=first spm=16 phases=0-1 ram=2 iteration_stride=4 "
    "iterations=5\n"
    ".kernel second\n"
    ".code\n.body b\n  fma r[3] <- r[0] * 2\n"
    ".block cal.0 body=b trips=7 delta0=1\n"
    ".launch kernel=first period=3 trips=5 window=4 context=0,16\n"
    ".launch kernel=second bank=1 trips=2\n"
    ".dma load dram=x pitch=0 rows=4 cols=4 width=4\n"
    ".dma store dram=y rows=4 cols=4 width=4 spm=16\n"
    ".seq\n dma 0\n code 0 first\n waitd all\n launch 0\n code 1 second\n waitd all\n launch 1\n"
    " waitk\n dma 1\n waitd all\n end\n",
};
enum { TEXTS = sizeof texts / sizeof *texts, CYCLES = 1000 };

struct image {
    uint8_t *bytes;
    size_t size;
};

static struct image assemble(const char *text) {
    struct bf_sources sources = {0};
    struct bf_diags diags = {.sources = &sources, .out = stderr};
    uint32_t file = bf_source_add(&sources, "seed", bf_strdup(text), strlen(text));
    struct bf_program *program = bf_asm_parse(text, strlen(text), file, &diags);
    if (!program)
        exit(1);
    struct image image;
    image.bytes = bf_program_write(program, &image.size);
    bf_program_free(program);
    bf_sources_free(&sources);
    return image;
}

/* ---- mutations ---- */

static uint64_t below(uint64_t *seed, uint64_t limit) {
    return bf_random(seed) % limit;
}

static uint64_t odd_value(uint64_t *seed) {
    static const uint64_t values[] = {
        0,       1,          2,          3,          7,          8,
        15,      16,         31,         63,         64,         255,
        256,     1023,       1024,       0x7fff,     0xffff,     0x3ffff,
        0x40000, 0x7fffffff, 0xffffffff, 0x3fffffff, UINT64_MAX, UINT64_C(1) << 63};
    return below(seed, 4) ? values[below(seed, sizeof values / sizeof *values)] : bf_random(seed);
}

/* Bits, numbers of 1 to 8 bytes, a cut, or a piece copied elsewhere. */
static void mutate_bytes(struct image *image, uint64_t *seed) {
    size_t at = (size_t)below(seed, image->size), left = image->size - at;
    uint64_t value = odd_value(seed), choice = below(seed, 16);
    if (choice < 8) {
        image->bytes[at] ^= (uint8_t)(1u << below(seed, 8));
    } else if (choice < 14) {
        size_t count = (size_t)1 << below(seed, 4);
        memcpy(image->bytes + at, &value, count < left ? count : left);
    } else if (choice == 14) {
        size_t from = (size_t)below(seed, image->size), count = (size_t)below(seed, 64);
        size_t room = image->size - (from > at ? from : at);
        memmove(image->bytes + at, image->bytes + from, count < room ? count : room);
    } else {
        image->size = at + 1;
    }
}

/* A program whose file is canonical whatever its numbers are: what the loader's last comparison
 * can't refuse. */
static void mutate_machine(struct bf_machine *machine, uint64_t *seed) {
    const struct bf_machine_number *number =
        &bf_machine_numbers[below(seed, bf_machine_number_count)];
    uint32_t value = (uint32_t)odd_value(seed);
    if (below(seed, 2)) {
        value = number->low + value % (number->high - number->low + 1);
        if (number->power_of_two)
            value = 1u << bf_log2_floor(value);
    }
    memcpy((char *)machine + number->offset, &value, sizeof value);
}

static void mutate_kernel(struct bf_program *p, uint64_t *seed) {
    struct bf_kernel *kernel = &p->kernels[below(seed, p->kernel_count)];
    struct bf_block *block = &kernel->blocks[below(seed, kernel->block_count)];
    struct bf_segment *segment = &kernel->segments[below(seed, kernel->segment_count)];
    uint64_t words[4];
    switch (below(seed, 6)) {
    case 0:
        segment->words[below(seed, segment->count)] ^= UINT64_C(1) << below(seed, 64);
        break;
    case 1:
        segment->start = (uint16_t)odd_value(seed);
        break;
    case 2:
        block->pes ^= UINT64_C(1) << below(seed, 4);
        break;
    default:
        bf_descriptor_encode(&block->d, words);
        words[below(seed, 4)] ^= UINT64_C(1) << below(seed, 64);
        bf_descriptor_decode(words, &block->d, NULL);
    }
}

#define CHANGE(field) ((field) = below(seed, 3) ? (field) ^ 1u << below(seed, 20) : odd_value(seed))

static void mutate_dma(struct bf_dma *dma, uint64_t *seed) {
    switch (below(seed, 8)) {
    case 0:
        dma->kind = (uint8_t)below(seed, 5);
        break;
    case 1:
        CHANGE(dma->dram);
        break;
    case 2:
        dma->pitch = (int64_t)odd_value(seed);
        break;
    case 3:
        CHANGE(dma->rows);
        break;
    case 4:
        CHANGE(dma->cols);
        break;
    case 5:
        CHANGE(dma->spm);
        break;
    case 6:
        CHANGE(dma->ids);
        break;
    default:
        CHANGE(dma->limit);
    }
}

static void mutate_launch(struct bf_launch *launch, uint64_t *seed) {
    switch (below(seed, 6)) {
    case 0:
        CHANGE(launch->trips[below(seed, 3)]);
        break;
    case 1:
        CHANGE(launch->base[below(seed, BF_BASES)]);
        break;
    case 2:
        launch->window = (uint8_t)below(seed, 10);
        break;
    case 3:
        launch->context_size = (uint16_t)odd_value(seed);
        break;
    case 4:
        launch->group_level = (uint8_t)below(seed, 5);
        launch->one_weight_set = below(seed, 2);
        break;
    default:
        CHANGE(launch->period);
    }
}

static void mutate_program(struct bf_program *p, uint64_t *seed) {
    switch (below(seed, 8)) {
    case 0:
        mutate_machine(&p->machine, seed);
        break;
    case 1:
        mutate_dma(&p->dmas[below(seed, p->dma_count)], seed);
        break;
    case 2:
        mutate_launch(&p->launches[below(seed, p->launch_count)], seed);
        break;
    case 3: {
        struct bf_seq *one = &p->sequence[below(seed, p->sequence_count)];
        struct bf_seq *other = &p->sequence[below(seed, p->sequence_count)];
        struct bf_seq kept = *one;
        *one = *other;
        *other = kept;
        break;
    }
    case 4:
        CHANGE(p->tensors[below(seed, p->tensor_count)].dram);
        break;
    default:
        mutate_kernel(p, seed);
    }
}

/* The unchanged images must run, or nothing is tested. */
static void check_seed(const struct image *image) {
    struct bf_error error = {0};
    struct bf_program *program = bf_image_load(image->bytes, image->size, &error);
    struct bf_device_options options = {.cycle_limit = CYCLES};
    for (int d = 0; program && d < 2; d++) {
        const struct bf_device *device = d ? &bf_device_sim : &bf_device_ref;
        struct bf_stats *stats = bf_stats_create(program);
        uint8_t *dram = bf_alloc(program->dram_size);
        device->run(program, dram, &options, stats, &error);
        free(dram);
        bf_stats_free(program, stats);
    }
    bf_program_free(program);
    if (*error.text) {
        printf("an unchanged image fails: %s\n", error.text);
        exit(1);
    }
}

static struct image mutant(const struct image *seeds, uint64_t *seed) {
    const struct image *from = &seeds[below(seed, TEXTS)];
    struct image image = {NULL, 0};
    uint64_t count = 1 + below(seed, 3);
    if (below(seed, 2)) {
        struct bf_program *program = bf_image_load(from->bytes, from->size, NULL);
        while (count--)
            mutate_program(program, seed);
        image.bytes = bf_program_write(program, &image.size);
        bf_program_free(program);
        return image;
    }
    image.size = from->size;
    image.bytes = malloc(image.size);
    memcpy(image.bytes, from->bytes, image.size);
    while (count--)
        mutate_bytes(&image, seed);
    image.bytes = bf_resize(image.bytes, image.size); /* so that reading behind the end is seen */
    return image;
}

/* ---- running ---- */

static uint64_t current, current_seed;

static void report(const char *what) {
    printf("%s: image %llu, seed %llu\n", what, (unsigned long long)current,
           (unsigned long long)current_seed);
    fflush(stdout);
}

static void hung(int signal) {
    (void)signal;
    report("hangs");
    abort();
}

static bool run_on(const struct bf_device *device, const struct bf_program *program,
                   uint8_t *dram) {
    struct bf_device_options options = {.cycle_limit = CYCLES};
    struct bf_stats *stats = bf_stats_create(program);
    struct bf_error error = {0};
    if (program->rodata_size)
        memcpy(dram, program->rodata, program->rodata_size);
    bool done = device->run(program, dram, &options, stats, &error);
    if (!done && !*error.text) {
        report("fails without a reason");
        abort();
    }
    bf_stats_free(program, stats);
    return done;
}

/* Did both reach the end? */
static bool run(const struct bf_program *program) {
    size_t size = program->dram_size;
    uint8_t *by_ref = bf_alloc(size), *by_sim = bf_alloc(size);
    bool done = run_on(&bf_device_ref, program, by_ref);
    done = run_on(&bf_device_sim, program, by_sim) && done;
    /* A program whose order is proved means the same on both. */
    if (done && memcmp(by_ref, by_sim, size) && bf_check_program(program, NULL)) {
        report("ref and sim differ");
        abort();
    }
    free(by_ref);
    free(by_sim);
    return done;
}

int main(int argc, char **argv) {
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1, accepted = 0, ended = 0;
    struct image seeds[TEXTS];
    for (int i = 0; i < TEXTS; i++) {
        seeds[i] = assemble(texts[i]);
        check_seed(&seeds[i]);
    }
    signal(SIGALRM, hung);
    for (uint64_t i = 0; i < count; i++) {
        current = i;
        current_seed = seed;
        alarm(20);
        struct image image = mutant(seeds, &seed);
        struct bf_error error = {0};
        struct bf_program *program = bf_image_load(image.bytes, image.size, &error);
        free(image.bytes);
        if (program) {
            accepted++;
            ended += run(program);
        } else if (!*error.text) {
            printf("refused without a reason\n");
            return 1;
        }
        bf_program_free(program);
    }
    for (int i = 0; i < TEXTS; i++)
        free(seeds[i].bytes);
    printf("%llu images, %llu accepted, %llu ran to the end on both devices\n",
           (unsigned long long)count, (unsigned long long)accepted, (unsigned long long)ended);
    return !count || ended ? 0 : 1;
}
