/* asm.c - reading assembly text: header, tensors, launches, DMA, sequencer, data; then the names
 * are resolved and the program is checked. Statements of kernels are in asm_kernel.c. See asm.h. */
#include "ir/asm_read.h"

#include "ir/arch.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- header ---- */

static bool read_hash(struct bf_asm *a, uint64_t *hash) {
    bf_asm_blanks(a);
    const char *from = a->at, *word = bf_asm_word(a);
    char *stop = NULL;
    if (word && strlen(word) == 16 && strspn(word, "0123456789abcdef") == 16) {
        *hash = strtoull(word, &stop, 16);
        return true;
    }
    return bf_asm_error(a, from, "expected 16 hexadecimal digits");
}

/* The numbers of a shipped description are where .machine starts from. */
static void load_shipped(struct bf_asm *a, const char *name) {
    const char *file = bf_arena_printf(&a->arena, "%s.arch", name);
    for (size_t i = 0; i < bf_arch_file_count; i++)
        if (!strcmp(bf_arch_files[i].name, file))
            a->has_numbers =
                bf_arch_parse(file, bf_arch_files[i].text, strlen(bf_arch_files[i].text),
                              &a->program->machine, NULL);
}

static bool read_arch(struct bf_asm *a) {
    bf_asm_blanks(a);
    struct bf_machine *machine = &a->program->machine;
    const char *from = a->at;
    bool quoted = a->at < a->end && *a->at == '"';
    const char *name = quoted ? bf_asm_string(a) : bf_asm_word(a);
    if (!name || !*name || strlen(name) >= BF_MACHINE_NAME)
        return bf_asm_error(a, from, "expected the name of a machine, of at most %d letters",
                            BF_MACHINE_NAME - 1);
    load_shipped(a, name);
    memset(machine->name, 0, sizeof machine->name);
    memcpy(machine->name, name, strlen(name));
    if (!bf_asm_accept(a, ":"))
        return true;
    a->has_hash = true;
    return read_hash(a, &a->arch_hash);
}

static bool read_header_attribute(struct bf_asm *a) {
    const char *from = a->at, *key = bf_asm_key(a);
    int64_t value;
    if (!key)
        return false;
    if (!strcmp(key, "arch"))
        return read_arch(a);
    if (!strcmp(key, "weights"))
        return bf_asm_accept(a, "none") || read_hash(a, &a->program->weights_hash);
    if (!strcmp(key, "batch")) {
        if (!bf_asm_number(a, key, 1, 1 << 16, &value))
            return false;
        a->program->batch = (uint32_t)value;
        return true;
    }
    if (!strcmp(key, "opt")) {
        if (!bf_asm_number(a, key, 0, 9, &value))
            return false;
        a->program->optimize = (uint8_t)value;
        return true;
    }
    if (!strcmp(key, "resident")) {
        if (!bf_asm_number(a, key, 0, 1, &value))
            return false;
        a->program->resident = value;
        return true;
    }
    return bf_asm_error(a, from,
                        "unknown attribute '%s'; there are arch, batch, opt, resident, "
                        "weights",
                        key);
}

static bool read_header(struct bf_asm *a) {
    int64_t version;
    if (!bf_asm_accept(a, "bfcc") || !bf_asm_accept(a, "asm"))
        return bf_asm_error(a, a->at, "assembly text begins 'bfcc asm 1'");
    bf_asm_blanks(a);
    const char *from = a->at;
    if (!bf_asm_number(a, "the version", 0, INT32_MAX, &version))
        return false;
    if (version != BF_PROGRAM_VERSION)
        return bf_asm_error(a, from, "this bfcc reads version %d", BF_PROGRAM_VERSION);
    while (!bf_asm_line_end(a))
        if (!read_header_attribute(a))
            return false;
    return true;
}

static bool read_file(struct bf_asm *a) {
    int64_t index;
    bf_asm_blanks(a);
    const char *from = a->at;
    if (!bf_asm_number(a, "the number of a file", 0, INT32_MAX, &index))
        return false;
    if ((size_t)index != a->files.count)
        return bf_asm_error(a, from, "expected file %zu", a->files.count);
    const char *name = bf_asm_string(a);
    if (!name)
        return false;
    *bf_push(&a->files) = bf_strdup(name);
    return true;
}

static bool read_network(struct bf_asm *a) {
    const char *name = bf_asm_string(a);
    if (!name)
        return false;
    free(a->program->network);
    a->program->network = bf_strdup(name);
    return true;
}

static const struct bf_machine_number *find_number(const char *group, const char *key) {
    for (size_t i = 0; i < bf_machine_number_count; i++)
        if (!strcmp(bf_machine_numbers[i].group, group) &&
            (!key || !strcmp(bf_machine_numbers[i].key, key)))
            return &bf_machine_numbers[i];
    return NULL;
}

static bool read_machine(struct bf_asm *a) {
    bf_asm_blanks(a);
    const char *from = a->at, *group = bf_asm_word(a);
    if (!group || !find_number(group, NULL))
        return bf_asm_error(a, from,
                            "expected a group of machine numbers: array, pe, mesh, "
                            "scratchpad, dram, energy");
    if (a->kernels.count)
        return bf_asm_error(a, a->line_start, ".machine belongs before the kernels");
    a->has_numbers = true;
    while (!bf_asm_line_end(a)) {
        from = a->at;
        const char *key = bf_asm_key(a);
        const struct bf_machine_number *number = key ? find_number(group, key) : NULL;
        int64_t value;
        if (!key)
            return false;
        if (!number)
            return bf_asm_error(a, from, "there is no number '%s' in group '%s'", key, group);
        if (!bf_asm_number(a, key, number->low, number->high, &value))
            return false;
        if (number->power_of_two && !bf_is_power_of_two((uint64_t)value))
            return bf_asm_error(a, from, "%s must be a power of two", key);
        uint32_t u32 = (uint32_t)value;
        memcpy((char *)&a->program->machine + number->offset, &u32, sizeof u32);
    }
    return true;
}

static bool read_dram(struct bf_asm *a) {
    int64_t size;
    if (!bf_asm_number(a, "the size of DRAM", 0, 1 << 30, &size))
        return false;
    a->program->dram_size = (uint64_t)size;
    a->dram_given = true;
    return true;
}

/* Map texts only: how much rodata there will be. */
static bool read_rodata_size(struct bf_asm *a) {
    int64_t size;
    if (!bf_asm_number(a, "the size of rodata", 0, 1 << 30, &size))
        return false;
    a->program->rodata_size = (uint64_t)size;
    return true;
}

/* ---- tensors ---- */

static bool read_choice(struct bf_asm *a, const char *const *words, const char *what,
                        uint8_t *choice) {
    bf_asm_blanks(a);
    for (uint8_t i = 0; words[i]; i++)
        if (bf_asm_accept(a, words[i])) {
            *choice = i;
            return true;
        }
    struct bf_text list = {0};
    for (int i = 0; words[i]; i++)
        bf_text_printf(&list, "%s%s", i ? ", " : "", words[i]);
    bf_asm_error(a, a->at, "expected %s: %s", what, list.data);
    bf_text_free(&list);
    return false;
}

/* "f16[128,768]": the bytes it needs in `size`, limited so that nothing overflows. */
static bool read_shape(struct bf_asm *a, struct bf_tensor_place *tensor) {
    if (!read_choice(a, bf_asm_dtypes, "a type", &tensor->dtype) || !bf_asm_expect(a, "["))
        return false;
    tensor->size = tensor->dtype == BF_I32 ? 4 : 2;
    if (tensor->kind == BF_TENSOR_INPUT || tensor->kind == BF_TENSOR_OUTPUT)
        tensor->size *= a->program->batch;
    if (bf_asm_accept(a, "]"))
        return true;
    do {
        int64_t dimension;
        if (tensor->rank == BF_TENSOR_RANK)
            return bf_asm_error(a, a->at, "a tensor has at most %d dimensions", BF_TENSOR_RANK);
        if (!bf_asm_number(a, "a dimension", 1, 1 << 30, &dimension))
            return false;
        tensor->dims[tensor->rank++] = (uint32_t)dimension;
        tensor->size *= (uint64_t)dimension;
        if (tensor->size > UINT64_C(1) << 31)
            tensor->size = UINT64_C(1) << 31;
    } while (bf_asm_accept(a, ","));
    return bf_asm_expect(a, "]");
}

static bool read_tensor(struct bf_asm *a) {
    struct bf_tensor_place tensor = {0};
    bool placed = false;
    const char *name;
    int64_t value;
    if (!read_choice(a, bf_asm_tensor_kinds, "a kind of tensor", &tensor.kind) ||
        !(name = bf_asm_name(a, "the name of the tensor")) || !read_shape(a, &tensor))
        return false;
    while (!bf_asm_line_end(a)) {
        const char *from = a->at, *key = bf_asm_key(a);
        if (!key)
            return false;
        bool is_dram = !strcmp(key, "dram");
        if (!is_dram && strcmp(key, "size"))
            return bf_asm_error(a, from, "unknown attribute '%s'; there are dram and size", key);
        if (!bf_asm_number(a, key, 0, 1 << 30, &value))
            return false;
        placed = placed || is_dram;
        *(is_dram ? &tensor.dram : &tensor.size) = (uint64_t)value;
    }
    bf_asm_add_part(a, BF_PART_TENSOR, a->tensors.count, 0, 0);
    tensor.name = bf_strdup(name);
    *bf_push(&a->tensors) = tensor;
    *bf_push(&a->tensor_placed) = placed;
    return true;
}

/* ---- launches and DMA ---- */

/* A name with "+BYTES" behind it, or a number. */
static bool read_reference(struct bf_asm *a, const char *what, enum bf_asm_use use, size_t index,
                           int64_t high, int64_t *number) {
    bf_asm_blanks(a);
    if (bf_asm_at_number(a))
        return bf_asm_number(a, what, 0, high, number);
    struct bf_loc loc = bf_asm_loc(a, a->at);
    const char *name = bf_asm_name(a, what);
    int64_t addend = 0;
    if (!name || (bf_asm_accept(a, "+") && !bf_asm_number(a, what, 0, 1 << 30, &addend)))
        return false;
    *number = 0;
    *bf_push(&a->fixups) = (struct bf_asm_fixup){use, index, name, (uint64_t)addend, loc};
    return true;
}

static bool read_label(struct bf_asm *a, enum bf_asm_symbol_kind kind, uint64_t value) {
    bf_asm_blanks(a);
    const char *from = a->at, *name = bf_asm_name(a, "a label");
    if (!name)
        return false;
    for (size_t i = 0; i < a->symbols.count; i++)
        if (a->symbols.data[i].kind == kind && !strcmp(a->symbols.data[i].name, name))
            return bf_asm_error(a, from, "there is a label '%s' already", name);
    *bf_push(&a->symbols) = (struct bf_asm_symbol){kind, name, value};
    return true;
}

static bool read_launch(struct bf_asm *a) {
    struct bf_launch launch = {0};
    bf_asm_fields_init(bf_asm_launch_fields, 0, &launch);
    while (!bf_asm_line_end(a)) {
        const char *from = a->at, *key = bf_asm_key(a);
        const struct bf_asm_field *field =
            key ? bf_asm_field_find(bf_asm_launch_fields, 0, key) : NULL;
        int64_t number;
        bool good = key != NULL;
        if (field) {
            good = bf_asm_field_read(a, field, &launch);
        } else if (key && !strcmp(key, "label")) {
            good = read_label(a, BF_SYMBOL_LAUNCH, a->launches.count);
        } else if (key && !strcmp(key, "kernel")) {
            good = read_reference(a, "a kernel", BF_USE_LAUNCH_KERNEL, a->launches.count,
                                  UINT32_MAX, &number);
            launch.kernel = good ? (uint32_t)number : 0;
        } else if (key) {
            good = bf_asm_unknown_key(a, from, key, bf_asm_launch_fields, 0);
        }
        if (!good)
            return false;
    }
    bf_asm_add_part(a, BF_PART_LAUNCH, a->launches.count, 0, 0);
    *bf_push(&a->launches) = launch;
    return true;
}

static bool read_dma_attribute(struct bf_asm *a, struct bf_dma *dma, bool *pitch) {
    const char *from = a->at, *key = bf_asm_key(a);
    if (!key)
        return false;
    if (!strcmp(key, "label"))
        return read_label(a, BF_SYMBOL_DMA, a->dmas.count);
    const struct bf_asm_field *field = bf_asm_field_find(bf_asm_dma_fields, 0, key);
    if (!field)
        return bf_asm_unknown_key(a, from, key, bf_asm_dma_fields, 0);
    *pitch = *pitch || !strcmp(key, "pitch");
    if (field->kind != BF_FIELD_ADDRESS)
        return bf_asm_field_read(a, field, dma);
    int64_t address;
    enum bf_asm_use use = !strcmp(key, "ids") ? BF_USE_DMA_IDS : BF_USE_DMA_DRAM;
    if (!read_reference(a, "a DRAM address", use, a->dmas.count, field->high, &address))
        return false;
    bf_asm_field_set(field, dma, 0, address);
    return true;
}

static bool read_dma(struct bf_asm *a) {
    struct bf_dma dma = {0};
    bool pitch = false;
    bf_asm_fields_init(bf_asm_dma_fields, 0, &dma);
    if (!read_choice(a, bf_asm_dma_kinds, "a kind of DMA job", &dma.kind))
        return false;
    while (!bf_asm_line_end(a))
        if (!read_dma_attribute(a, &dma, &pitch))
            return false;
    if (!pitch && dma.kind != BF_DMA_FILL)
        dma.pitch = 2 * (int64_t)dma.cols;
    bf_asm_add_part(a, BF_PART_DMA, a->dmas.count, 0, 0);
    *bf_push(&a->dmas) = dma;
    return true;
}

/* ---- sequencer ---- */

static bool read_seq_operands(struct bf_asm *a, struct bf_seq *seq) {
    int64_t x = 0, y = 0;
    switch (seq->op) {
    case BF_SEQ_CODE:
        if (!bf_asm_number(a, "a code bank", 0, 1, &x) ||
            !read_reference(a, "a kernel", BF_USE_SEQ, a->sequence.count, UINT32_MAX, &y))
            return false;
        a->jobs++;
        break;
    case BF_SEQ_DMA:
    case BF_SEQ_LAUNCH:
        if (!read_reference(a, "a record", BF_USE_SEQ, a->sequence.count, UINT32_MAX, &y))
            return false;
        a->jobs += seq->op == BF_SEQ_DMA;
        break;
    case BF_SEQ_WAITD:
        y = (int64_t)a->jobs;
        if (!bf_asm_accept(a, "all") && !bf_asm_number(a, "a count", 0, UINT32_MAX, &y))
            return false;
        break;
    case BF_SEQ_MARK:
        if (!bf_asm_number(a, "mark", 0, 1, &y))
            return false;
        break;
    default:
        break;
    }
    seq->x = (uint8_t)x;
    seq->y = (uint32_t)y;
    return true;
}

static bool read_seq(struct bf_asm *a) {
    bf_asm_blanks(a);
    const char *from = a->at, *name = bf_asm_word(a);
    struct bf_seq seq = {0};
    unsigned op = 0;
    while (op < 256 && !(name && bf_seq_name(op) && !strcmp(bf_seq_name(op), name)))
        op++;
    if (op == 256)
        return bf_asm_error(a, from, "expected an instruction of the sequencer");
    seq.op = (uint8_t)op;
    if (!read_seq_operands(a, &seq))
        return false;
    bf_asm_add_part(a, BF_PART_SEQ, a->sequence.count, 0, 0);
    *bf_push(&a->sequence) = seq;
    return true;
}

/* ---- data ---- */

enum { MAX_RODATA = 1 << 30 };

/* What .hex and .zero add to. */
static struct bf_text *data_of(struct bf_asm *a) {
    return a->mode == BF_IN_WEIGHTS ? &a->weights : &a->rodata;
}

static void add_bytes(struct bf_asm *a, uint64_t value, unsigned count) {
    char little[8];
    for (unsigned i = 0; i < count; i++)
        little[i] = (char)(value >> 8 * i);
    bf_text_add_bytes(&a->rodata, little, count);
}

static bool add_zeros(struct bf_asm *a, uint64_t count) {
    static const char zeros[4096];
    struct bf_text *data = data_of(a);
    if (data->length + count > MAX_RODATA)
        return bf_asm_error(a, a->line_start, "data is limited to 1 GiB");
    for (; count; count -= count < sizeof zeros ? count : sizeof zeros)
        bf_text_add_bytes(data, zeros, count < sizeof zeros ? count : sizeof zeros);
    return true;
}

static int nibble(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(struct bf_asm *a) {
    while (!bf_asm_line_end(a)) {
        int high = nibble(*a->at), low = a->end - a->at > 1 ? nibble(a->at[1]) : -1;
        if (high < 0 || low < 0)
            return bf_asm_error(a, a->at, "expected bytes of two hexadecimal digits each");
        char byte = (char)(high * 16 + low);
        bf_text_add_bytes(data_of(a), &byte, 1);
        a->at += 2;
    }
    return true;
}

static bool read_data(struct bf_asm *a, const char *directive) {
    int64_t value;
    uint16_t half;
    if (!strcmp(directive, ".hex"))
        return read_hex(a);
    if (!strcmp(directive, ".label"))
        return read_label(a, BF_SYMBOL_DATA, a->rodata.length);
    if (!strcmp(directive, ".zero"))
        return bf_asm_number(a, "a number of bytes", 0, MAX_RODATA, &value) &&
               add_zeros(a, (uint64_t)value);
    if (!strcmp(directive, ".align"))
        return bf_asm_number(a, "a number of bytes", 1, 1 << 20, &value) &&
               add_zeros(a, bf_round_up(a->rodata.length, (uint64_t)value) - a->rodata.length);
    bool is_half = !strcmp(directive, ".half");
    while (!bf_asm_line_end(a)) {
        if (is_half ? !bf_asm_half(a, &half)
                    : !bf_asm_number(a, "an int32", INT32_MIN, UINT32_MAX, &value))
            return false;
        add_bytes(a, is_half ? half : (uint64_t)value, is_half ? 2 : 4);
        bf_asm_accept(a, ",");
    }
    return true;
}

static bool read_net(struct bf_asm *a) {
    const char *line = bf_asm_string(a);
    if (!line)
        return false;
    bf_text_add(&a->net, line);
    a->has_net = true;
    return true;
}

static bool read_value(struct bf_asm *a) {
    struct bf_value_place value = {0};
    const char *name = bf_asm_name(a, "the name of the value");
    if (!name)
        return false;
    bf_asm_fields_init(bf_asm_value_fields, 0, &value);
    while (!bf_asm_line_end(a)) {
        const char *from = a->at, *key = bf_asm_key(a);
        if (!key)
            return false;
        const struct bf_asm_field *field = bf_asm_field_find(bf_asm_value_fields, 0, key);
        if (!field)
            return bf_asm_unknown_key(a, from, key, bf_asm_value_fields, 0);
        if (!bf_asm_field_read(a, field, &value))
            return false;
    }
    bf_asm_add_part(a, BF_PART_VALUE, a->values.count, 0, 0);
    value.name = bf_strdup(name);
    *bf_push(&a->values) = value;
    return true;
}

static bool read_weights(struct bf_asm *a) {
    bf_asm_end_kernel(a);
    a->mode = BF_IN_WEIGHTS;
    return a->has_weights = true;
}

/* ---- statements ---- */

static bool enter(struct bf_asm *a, int mode) {
    bf_asm_end_kernel(a);
    a->mode = mode;
    return true;
}

static const struct statement {
    const char *name;
    bool (*read)(struct bf_asm *a);
    bool in_kernel;
    enum { IN_ALL, IN_WHOLE, IN_BODY } texts;
} statements[] = {
    {"file", read_file, false, IN_WHOLE},
    {".network", read_network, false, IN_ALL},
    {".machine", read_machine, false, IN_ALL},
    {".dram", read_dram, false, IN_ALL},
    {".rodata_size", read_rodata_size, false, IN_BODY},
    {".tensor", read_tensor, false, IN_ALL},
    {".kernel", bf_asm_kernel, true, IN_ALL},
    {".code", bf_asm_code, true, IN_ALL},
    {".body", bf_asm_body, true, IN_ALL},
    {".block", bf_asm_block, true, IN_ALL},
    {".launch", read_launch, false, IN_ALL},
    {".dma", read_dma, false, IN_ALL},
    {".net", read_net, false, IN_WHOLE},
    {".value", read_value, false, IN_WHOLE},
    {".weights", read_weights, false, IN_WHOLE},
};

static bool is_data(const char *word) {
    static const char *const names[] = {".hex", ".zero", ".half", ".word", ".align", ".label"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(word, names[i]))
            return true;
    return false;
}

static bool read_statement(struct bf_asm *a) {
    const char *from = a->at;
    if (*from == '.')
        a->at++;
    const char *rest = bf_asm_word(a);
    const char *word =
        bf_arena_printf(&a->arena, "%s%s", *from == '.' ? "." : "", rest ? rest : "");
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        const struct statement *s = &statements[i];
        if (strcmp(word, s->name) || s->texts == (a->whole ? IN_BODY : IN_WHOLE))
            continue;
        if (!s->in_kernel)
            bf_asm_end_segment(a);
        return s->read(a);
    }
    if (!strcmp(word, ".seq"))
        return enter(a, BF_IN_SEQ);
    if (!strcmp(word, ".rodata") && a->whole)
        return enter(a, BF_IN_RODATA);
    if (a->mode == BF_IN_WEIGHTS && (!strcmp(word, ".hex") || !strcmp(word, ".zero")))
        return read_data(a, word);
    if (a->mode == BF_IN_RODATA && is_data(word))
        return read_data(a, word);
    if (*from == '.' || a->mode == BF_IN_TOP || a->mode >= BF_IN_RODATA)
        return bf_asm_error(a, from, "unknown statement");
    a->at = from;
    return a->mode == BF_IN_SEQ ? read_seq(a) : bf_asm_instruction(a);
}

/* Moves to the next line; false at the end of the text. */
static bool next_line(struct bf_asm *a) {
    const char *stop = a->at < a->end ? memchr(a->at, '\n', (size_t)(a->end - a->at)) : NULL;
    a->at = stop ? stop + 1 : a->end;
    a->line_start = a->at;
    a->line++;
    return stop != NULL;
}

static void read_lines(struct bf_asm *a) {
    bool header = a->whole;
    do {
        if (bf_asm_line_end(a))
            continue;
        size_t fixups = a->fixups.count;
        bool good = header ? read_header(a) : read_statement(a);
        if (!good)
            a->fixups.count = fixups; /* what they belong to does not exist */
        if (good && !bf_asm_line_end(a))
            bf_asm_error(a, a->at, "unexpected text at the end of the line");
        if (header && !good)
            return; /* not such a text at all, or of another version */
        header = false;
    } while (next_line(a) && !a->diags->stopped);
    if (header)
        bf_asm_error(a, a->at, "the text is empty; it begins 'bfcc asm 1'");
}

static bool read_program(struct bf_asm *a) {
    unsigned errors = a->diags->errors;
    read_lines(a);
    bf_asm_end_kernel(a);
    bf_asm_finish(a, errors);
    free(a->tensor_placed.data);
    free(a->labels.data);
    free(a->body_uses.data);
    free(a->symbols.data);
    free(a->fixups.data);
    free(a->parts.data);
    bf_arena_free(&a->arena);
    return a->diags->errors == errors && !a->diags->stopped;
}

static struct bf_asm reader(const char *text, size_t size, uint32_t file, uint32_t line,
                            struct bf_program *program, struct bf_diags *diags) {
    return (struct bf_asm){.program = program,
                           .diags = diags,
                           .at = text,
                           .end = text + size,
                           .line_start = text,
                           .file = file,
                           .line = line};
}

struct bf_program *bf_asm_parse(const char *text, size_t size, uint32_t file,
                                struct bf_diags *diags) {
    struct bf_asm a = reader(text, size, file, 1, bf_program_create(), diags);
    a.whole = true;
    if (read_program(&a))
        return a.program;
    bf_program_free(a.program);
    return NULL;
}

bool bf_asm_parse_body(const char *text, size_t size, uint32_t file, uint32_t line,
                       struct bf_program *program, struct bf_diags *diags) {
    struct bf_asm a = reader(text, size, file, line, program, diags);
    return read_program(&a);
}
