/* asm_print.c - printing a program as assembly text, always in the same form. See asm.h. */
#include "ir/asm_read.h"
#include "ir/header.h"

#include <inttypes.h>
#include <stdlib.h>

static void print_place(const struct bf_place *place, struct bf_text *text) {
    if (place->line)
        bf_text_printf(text, " loc(%u,%u,%u)", place->file, place->line, place->column);
}

static void print_machine(const struct bf_machine *machine, struct bf_text *text) {
    const char *group = "";
    for (size_t i = 0; i < bf_machine_number_count; i++) {
        const struct bf_machine_number *number = &bf_machine_numbers[i];
        uint32_t value;
        memcpy(&value, (const char *)machine + number->offset, sizeof value);
        if (strcmp(group, number->group))
            bf_text_printf(text, "%s.machine %s", *group ? "\n" : "", number->group);
        bf_text_printf(text, " %s=%u", number->key, value);
        group = number->group;
    }
    bf_text_add(text, "\n");
}

static void print_tensor(const struct bf_tensor_place *tensor, struct bf_text *text) {
    bf_text_printf(text, ".tensor %s ", bf_asm_tensor_kinds[tensor->kind]);
    bf_text_add_name(text, tensor->name);
    bf_text_printf(text, " %s[", bf_asm_dtypes[tensor->dtype]);
    for (int i = 0; i < tensor->rank; i++)
        bf_text_printf(text, "%s%u", i ? "," : "", tensor->dims[i]);
    bf_text_printf(text, "] dram=%" PRIu64 " size=%" PRIu64 "\n", tensor->dram, tensor->size);
}

static bool starts_body(const struct bf_kernel *kernel, unsigned address) {
    for (size_t i = 0; i < kernel->block_count; i++)
        if (kernel->blocks[i].d.unit == BF_UNIT_CAL && kernel->blocks[i].d.cal.start == address)
            return true;
    return false;
}

/* Masks as block attributes print them. */
static void print_pes(uint64_t pes, struct bf_text *text) {
    struct bf_block block = {.pes = pes};
    struct bf_asm_field fields[2] = {bf_asm_block_fields[0], {.key = NULL}};
    bf_asm_fields_print(fields, 0, &block, text);
}

static void print_segment(const struct bf_program *program, const struct bf_kernel *kernel,
                          const struct bf_segment *segment, struct bf_text *text) {
    bf_text_add(text, ".code");
    print_pes(segment->pes, text);
    bf_text_printf(text, " start=%u\n", segment->start);
    for (unsigned i = 0; i < segment->count; i++) {
        unsigned address = segment->start + i;
        if (starts_body(kernel, address))
            bf_text_printf(text, ".body b%u\n", address);
        bf_text_add(text, "  ");
        bf_asm_print_cal(segment->words[i], &program->machine, text);
        bf_text_add(text, "\n");
    }
}

static void print_block(const struct bf_block *block, struct bf_text *text) {
    bf_text_add(text, ".block ");
    bf_asm_print_block_id(block->id, text);
    if (block->d.unit == BF_UNIT_CAL)
        bf_text_printf(text, " body=b%u", block->d.cal.start);
    bf_asm_fields_print(bf_asm_block_fields, block->d.unit, block, text);
    if (*block->name) {
        bf_text_add(text, " name=");
        bf_text_add_quoted(text, block->name);
    }
    print_place(&block->place, text);
    bf_text_add(text, "\n");
}

static void print_kernel(const struct bf_program *program, const struct bf_kernel *kernel,
                         struct bf_text *text) {
    bf_text_add(text, ".kernel ");
    bf_text_add_name(text, kernel->name);
    if (*kernel->what) {
        bf_text_add(text, " ");
        bf_text_add_quoted(text, kernel->what);
    }
    print_place(&kernel->place, text);
    bf_text_add(text, "\n");
    for (size_t i = 0; i < kernel->segment_count; i++)
        print_segment(program, kernel, &kernel->segments[i], text);
    for (size_t i = 0; i < kernel->block_count; i++)
        print_block(&kernel->blocks[i], text);
}

static void print_seq(const struct bf_program *program, const struct bf_seq *seq,
                      struct bf_text *text) {
    bf_text_printf(text, "  %s", bf_seq_name(seq->op));
    if (seq->op == BF_SEQ_CODE) {
        bf_text_printf(text, " %u ", seq->x);
        bf_text_add_name(text, program->kernels[seq->y].name);
    } else if (seq->op != BF_SEQ_END && seq->op != BF_SEQ_WAITK) {
        bf_text_printf(text, " %u", seq->y);
    }
    bf_text_add(text, "\n");
}

static void print_launch(const struct bf_program *program, const struct bf_launch *launch,
                         struct bf_text *text) {
    bf_text_add(text, ".launch kernel=");
    bf_text_add_name(text, program->kernels[launch->kernel].name);
    bf_asm_fields_print(bf_asm_launch_fields, 0, launch, text);
    bf_text_add(text, "\n");
}

void bf_asm_print_body(const struct bf_program *program, struct bf_text *text) {
    bf_text_add(text, ".network ");
    bf_text_add_quoted(text, program->network);
    bf_text_add(text, "\n");
    print_machine(&program->machine, text);
    bf_text_printf(text, ".dram %" PRIu64 "\n", program->dram_size);
    if (!program->rodata && program->rodata_size)
        bf_text_printf(text, ".rodata_size %" PRIu64 "\n", program->rodata_size);
    for (size_t i = 0; i < program->tensor_count; i++)
        print_tensor(&program->tensors[i], text);
    for (size_t i = 0; i < program->kernel_count; i++)
        print_kernel(program, &program->kernels[i], text);
    for (size_t i = 0; i < program->launch_count; i++)
        print_launch(program, &program->launches[i], text);
    for (size_t i = 0; i < program->dma_count; i++) {
        bf_text_printf(text, ".dma %s", bf_asm_dma_kinds[program->dmas[i].kind]);
        bf_asm_fields_print(bf_asm_dma_fields, 0, &program->dmas[i], text);
        bf_text_add(text, "\n");
    }
    bf_text_add(text, ".seq\n");
    for (size_t i = 0; i < program->sequence_count; i++)
        print_seq(program, &program->sequence[i], text);
}

/* ---- data ---- */

enum { LINE = 32 };

static bool all_zero(const uint8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (bytes[i])
            return false;
    return true;
}

/* Lines of 32 bytes; two or more lines of zeros become one .zero. */
static void print_bytes(const uint8_t *bytes, uint64_t size, struct bf_text *text) {
    static const char digits[] = "0123456789abcdef";
    uint64_t at = 0;
    while (at < size) {
        uint64_t zeros = 0;
        while (at + zeros < size) {
            uint64_t count = size - at - zeros < LINE ? size - at - zeros : LINE;
            if (!all_zero(bytes + at + zeros, count))
                break;
            zeros += count;
        }
        if (zeros > LINE) {
            bf_text_printf(text, ".zero %" PRIu64 "\n", zeros);
            at += zeros;
            continue;
        }
        char line[2 * LINE];
        unsigned count = size - at < LINE ? (unsigned)(size - at) : LINE;
        for (unsigned i = 0; i < count; i++) {
            line[2 * i] = digits[bytes[at + i] >> 4];
            line[2 * i + 1] = digits[bytes[at + i] & 15];
        }
        bf_text_add(text, ".hex ");
        bf_text_add_bytes(text, line, 2 * count);
        bf_text_add(text, "\n");
        at += count;
    }
}

static void print_net(const char *net, struct bf_text *text) {
    do {
        const char *stop = strchr(net, '\n');
        size_t length = stop ? (size_t)(stop - net) + 1 : strlen(net);
        char *line = bf_strndup(net, length);
        bf_text_add(text, ".net ");
        bf_text_add_quoted(text, line);
        bf_text_add(text, "\n");
        free(line);
        net += length;
    } while (*net);
}

static void print_values(const struct bf_program *program, struct bf_text *text) {
    for (size_t i = 0; i < program->value_count; i++) {
        bf_text_add(text, ".value ");
        bf_text_add_quoted(text, program->values[i].name);
        bf_asm_fields_print(bf_asm_value_fields, 0, &program->values[i], text);
        bf_text_add(text, "\n");
    }
}

void bf_asm_print(const struct bf_program *program, struct bf_text *text) {
    bf_program_header(program, text);
    bf_asm_print_body(program, text);
    if (program->rodata_size)
        bf_text_add(text, ".rodata\n");
    print_bytes(program->rodata, program->rodata_size, text);
    if (program->net)
        print_net(program->net, text);
    print_values(program, text);
    if (program->net_weights)
        bf_text_add(text, ".weights\n");
    print_bytes(program->net_weights, program->net_weights_size, text);
}
