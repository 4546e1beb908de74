/* asm_finish.c - after the last line of an assembly text: tensors get their places, names their
 * values, and the program is filled and checked. */
#include "ir/asm_read.h"

#include <inttypes.h>
#include <stdlib.h>

static bool find_data(const struct bf_asm *a, const char *name, uint64_t *address) {
    for (size_t i = 0; i < a->tensors.count; i++)
        if (!strcmp(a->tensors.data[i].name, name)) {
            *address = a->tensors.data[i].dram;
            return true;
        }
    for (size_t i = 0; i < a->symbols.count; i++)
        if (a->symbols.data[i].kind == BF_SYMBOL_DATA && !strcmp(a->symbols.data[i].name, name)) {
            *address = a->symbols.data[i].value;
            return true;
        }
    return false;
}

static bool find_kernel(const struct bf_asm *a, const char *name, uint64_t *index) {
    for (size_t i = 0; i < a->kernels.count; i++)
        if (!strcmp(a->kernels.data[i].name, name)) {
            *index = i;
            return true;
        }
    return false;
}

static bool find_record(const struct bf_asm *a, const char *name, enum bf_asm_symbol_kind kind,
                        uint64_t *index) {
    for (size_t i = 0; i < a->symbols.count; i++)
        if (a->symbols.data[i].kind == kind && !strcmp(a->symbols.data[i].name, name)) {
            *index = a->symbols.data[i].value;
            return true;
        }
    return false;
}

static void resolve(struct bf_asm *a, const struct bf_asm_fixup *fixup) {
    uint64_t value = 0;
    const char *what = "tensor or label";
    bool found;
    if (fixup->use == BF_USE_SEQ && a->sequence.data[fixup->index].op != BF_SEQ_CODE) {
        bool dma = a->sequence.data[fixup->index].op == BF_SEQ_DMA;
        what = dma ? "DMA record" : "launch";
        found = find_record(a, fixup->name, dma ? BF_SYMBOL_DMA : BF_SYMBOL_LAUNCH, &value);
    } else if (fixup->use == BF_USE_SEQ || fixup->use == BF_USE_LAUNCH_KERNEL) {
        what = "kernel";
        found = find_kernel(a, fixup->name, &value);
    } else {
        found = find_data(a, fixup->name, &value);
    }
    if (!found) {
        bf_diag(a->diags, BF_ERROR, fixup->loc, (unsigned)strlen(fixup->name), 0,
                "there is no %s '%s'", what, fixup->name);
        return;
    }
    value += fixup->addend;
    if (fixup->use == BF_USE_SEQ)
        a->sequence.data[fixup->index].y = (uint32_t)value;
    else if (fixup->use == BF_USE_LAUNCH_KERNEL)
        a->launches.data[fixup->index].kernel = (uint32_t)value;
    else if (fixup->use == BF_USE_DMA_DRAM)
        a->dmas.data[fixup->index].dram = value;
    else
        a->dmas.data[fixup->index].ids = value;
}

/* Tensors without an address follow rodata and the tensors before them. */
static void place_tensors(struct bf_asm *a) {
    uint64_t end = a->rodata.length;
    for (size_t i = 0; i < a->tensors.count; i++) {
        struct bf_tensor_place *tensor = &a->tensors.data[i];
        if (!a->tensor_placed.data[i])
            tensor->dram = bf_round_up(end, 64);
        uint64_t stop = tensor->dram + tensor->size;
        end = stop > end ? stop : end;
    }
    if (!a->dram_given)
        a->program->dram_size = end;
}

static void check_machine(struct bf_asm *a) {
    uint64_t hash = bf_machine_hash(&a->program->machine);
    if (!a->has_numbers && strcmp(a->program->machine.name, "default"))
        bf_diag_error(a->diags, (struct bf_loc){a->file, 1, 1},
                      "there is no machine '%s', and no .machine line gives its numbers",
                      a->program->machine.name);
    if (a->has_hash && hash != a->arch_hash)
        bf_diag_error(a->diags, (struct bf_loc){a->file, 1, 1},
                      "the machine '%s' of this text is another one: its numbers give the hash "
                      "%016" PRIx64,
                      a->program->machine.name, hash);
}

#define MOVE(vector, array, number)                                                                \
    (program->array = (vector).data ? (vector).data : bf_alloc(0), program->number = (vector).count)

/* Hands everything over, also after errors, so that it is freed with the program. */
static void fill_program(struct bf_asm *a) {
    struct bf_program *program = a->program;
    MOVE(a->kernels, kernels, kernel_count);
    MOVE(a->sequence, sequence, sequence_count);
    MOVE(a->launches, launches, launch_count);
    MOVE(a->dmas, dmas, dma_count);
    MOVE(a->tensors, tensors, tensor_count);
    if (!a->whole)
        return;
    MOVE(a->files, files, file_count);
    program->rodata = (uint8_t *)(a->rodata.data ? a->rodata.data : bf_alloc(0));
    program->rodata_size = a->rodata.length;
    if (a->has_net)
        program->net = a->net.data;
    if (a->has_weights)
        program->net_weights = (uint8_t *)(a->weights.data ? a->weights.data : bf_alloc(0));
    program->net_weights_size = a->weights.length;
    MOVE(a->values, values, value_count);
}

static void check(struct bf_asm *a) {
    struct bf_program_part part;
    struct bf_error error = {0};
    if (bf_program_check_part(a->program, &part, &error))
        return;
    struct bf_loc loc = {a->file, 1, 0};
    for (size_t i = 0; i < a->parts.count; i++) {
        const struct bf_program_part *p = &a->parts.data[i].part;
        if (p->kind == part.kind && p->index == part.index && p->item == part.item &&
            p->word == part.word)
            loc = a->parts.data[i].loc;
    }
    bf_diag_error(a->diags, loc, "%s", error.text);
}

void bf_asm_finish(struct bf_asm *a, unsigned errors) {
    place_tensors(a);
    for (size_t i = 0; i < a->fixups.count; i++)
        resolve(a, &a->fixups.data[i]);
    fill_program(a);
    if (a->whole && a->diags->errors == errors)
        check_machine(a);
    if (a->whole && a->diags->errors == errors)
        check(a);
}
