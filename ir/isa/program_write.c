/* program_write.c - the canonical bytes of a .bfx file. docs/format.md draws every record.
 *
 *     ELF header | .bf.arch | .bf.seq | .bf.code | .bf.rodata | .bf.layout | .bf.prov | .bf.net |
 *     .bf.weights | .bf.values | .symtab | .strtab | .note.bfcc | .shstrtab | section headers
 *
 * Every section begins at a multiple of 8 and is followed by zeros up to the next; .bf.net and
 * the two behind it are there only if the program has them. All numbers are little-endian, whatever
 * machine writes them.
 */
#include "ir/isa/program.h"

#include <elf.h>
#include <inttypes.h>
#include <stdlib.h>

/* ---- little-endian numbers and strings ---- */

static void put(struct bf_text *out, uint64_t value, unsigned bytes) {
    char little[8];
    for (unsigned i = 0; i < bytes; i++)
        little[i] = (char)(value >> 8 * i);
    bf_text_add_bytes(out, little, bytes);
}

static void put_zeros(struct bf_text *out, size_t to) {
    while (out->length % to)
        put(out, 0, 1);
}

/* Length, bytes, zeros up to a multiple of 4. */
static void put_string(struct bf_text *out, const char *s) {
    size_t length = strlen(s);
    put(out, length, 4);
    bf_text_add_bytes(out, s, length);
    put(out, 0, (4 - length % 4) % 4);
}

static void put_place(struct bf_text *out, const struct bf_place *place) {
    put(out, place->file, 4);
    put(out, place->line, 4);
    put(out, place->column, 4);
}

/* ---- contents of the sections ---- */

static void put_arch(struct bf_text *out, const struct bf_machine *machine) {
    char name[BF_MACHINE_NAME] = {0};
    memcpy(name, machine->name, strlen(machine->name));
    bf_text_add_bytes(out, name, sizeof name);
    for (size_t i = 0; i < bf_machine_number_count; i++) {
        uint32_t value;
        memcpy(&value, (const char *)machine + bf_machine_numbers[i].offset, sizeof value);
        put(out, value, 4);
    }
}

static void put_dma(struct bf_text *out, const struct bf_dma *dma) {
    put(out, dma->kind, 1);
    put(out, dma->pad, 1);
    put(out, dma->value, 2);
    put(out, dma->rows, 4);
    put(out, dma->cols, 4);
    put(out, dma->spm, 4);
    put(out, dma->width, 4);
    put(out, dma->row, 4);
    put(out, dma->col, 4);
    put(out, dma->limit, 4);
    put(out, dma->dram, 8);
    put(out, (uint64_t)dma->pitch, 8);
    put(out, dma->ids, 8);
}

static void put_launch(struct bf_text *out, const struct bf_launch *launch) {
    put(out, launch->kernel, 4);
    put(out, launch->bank, 1);
    put(out, launch->window, 1);
    put(out, launch->strict | launch->one_weight_set << 1, 1);
    put(out, launch->group_level, 1);
    put(out, launch->context_base, 2);
    put(out, launch->context_size, 2);
    put(out, launch->period, 2);
    put(out, 0, 2);
    for (int l = 0; l < BF_LEVELS; l++)
        put(out, launch->trips[l], 4);
    for (int b = 0; b < BF_BASES; b++)
        put(out, launch->base[b], 4);
    put(out, 0, 4);
}

static void put_seq(struct bf_text *out, const struct bf_program *program) {
    put(out, program->sequence_count, 4);
    put(out, program->dma_count, 4);
    put(out, program->launch_count, 4);
    put(out, 0, 4);
    for (size_t i = 0; i < program->sequence_count; i++) {
        const struct bf_seq *seq = &program->sequence[i];
        put(out, (uint64_t)seq->op << 56 | (uint64_t)seq->x << 48 | seq->y, 8);
    }
    for (size_t i = 0; i < program->dma_count; i++)
        put_dma(out, &program->dmas[i]);
    for (size_t i = 0; i < program->launch_count; i++)
        put_launch(out, &program->launches[i]);
}

static void put_kernel(struct bf_text *out, const struct bf_kernel *kernel) {
    put(out, kernel->segment_count, 4);
    put(out, kernel->block_count, 4);
    for (size_t i = 0; i < kernel->segment_count; i++) {
        const struct bf_segment *segment = &kernel->segments[i];
        put(out, segment->pes, 8);
        put(out, segment->start, 2);
        put(out, segment->count, 2);
        put(out, 0, 4);
        for (unsigned w = 0; w < segment->count; w++)
            put(out, segment->words[w], 8);
    }
    for (size_t i = 0; i < kernel->block_count; i++) {
        uint64_t words[4];
        bf_descriptor_encode(&kernel->blocks[i].d, words);
        put(out, kernel->blocks[i].pes, 8);
        put(out, kernel->blocks[i].id, 8);
        for (int w = 0; w < 4; w++)
            put(out, words[w], 8);
    }
}

static void put_code(struct bf_text *out, const struct bf_program *program) {
    put(out, program->kernel_count, 8);
    for (size_t i = 0; i < program->kernel_count; i++)
        put_kernel(out, &program->kernels[i]);
}

/* `names` grows by the tensors' names: it becomes .strtab. */
static void put_layout(struct bf_text *out, struct bf_text *names,
                       const struct bf_program *program) {
    put(out, program->dram_size, 8);
    put(out, program->tensor_count, 8);
    for (size_t i = 0; i < program->tensor_count; i++) {
        const struct bf_tensor_place *tensor = &program->tensors[i];
        put(out, tensor->kind, 1);
        put(out, tensor->dtype, 1);
        put(out, tensor->rank, 2);
        put(out, names->length, 4);
        for (int d = 0; d < BF_TENSOR_RANK; d++)
            put(out, tensor->dims[d], 4);
        put(out, tensor->dram, 8);
        put(out, tensor->size, 8);
        bf_text_add_bytes(names, tensor->name, strlen(tensor->name) + 1);
    }
}

static void put_prov(struct bf_text *out, const struct bf_program *program) {
    put_string(out, program->network);
    put(out, program->file_count, 4);
    for (size_t i = 0; i < program->file_count; i++)
        put_string(out, program->files[i]);
    for (size_t k = 0; k < program->kernel_count; k++) {
        const struct bf_kernel *kernel = &program->kernels[k];
        put_string(out, kernel->name);
        put_string(out, kernel->what);
        put_place(out, &kernel->place);
        for (size_t i = 0; i < kernel->block_count; i++) {
            put_string(out, kernel->blocks[i].name);
            put_place(out, &kernel->blocks[i].place);
        }
    }
}

static void put_values(struct bf_text *out, const struct bf_program *program) {
    put(out, program->value_count, 8);
    for (size_t i = 0; i < program->value_count; i++) {
        const struct bf_value_place *value = &program->values[i];
        put_string(out, value->name);
        put(out, value->launch, 4);
        put(out, value->samples, 4);
        put(out, value->rows, 4);
        put(out, value->cols, 4);
        put(out, value->word, 4);
        put(out, value->width, 4);
        put(out, value->pitch, 4);
        put(out, (uint64_t)(int64_t)value->exponent, 4);
    }
}

/* Inputs, outputs and weights; the value is the DRAM address. */
static void put_symbols(struct bf_text *out, const struct bf_program *program) {
    size_t name = 1;
    put(out, 0, 8);
    put(out, 0, 8);
    put(out, 0, 8);
    for (size_t i = 0; i < program->tensor_count; i++) {
        const struct bf_tensor_place *tensor = &program->tensors[i];
        if (tensor->kind != BF_TENSOR_SPILL) {
            put(out, name, 4);
            put(out, ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT), 1);
            put(out, STV_DEFAULT, 1);
            put(out, SHN_ABS, 2);
            put(out, tensor->dram, 8);
            put(out, tensor->size, 8);
        }
        name += strlen(tensor->name) + 1;
    }
}

static void put_note(struct bf_text *out, const struct bf_program *program) {
    struct bf_text header = {0};
    bf_program_header(program, &header);
    size_t text = bf_round_up(header.length + 1, 4);
    put(out, sizeof "bfcc", 4);
    put(out, 32 + text, 4);
    put(out, 1, 4);
    bf_text_add_bytes(out, "bfcc\0\0\0", 8);
    put(out, BF_PROGRAM_VERSION, 4);
    put(out, program->batch, 4);
    put(out, bf_program_schema(), 8);
    put(out, program->weights_hash, 8);
    put(out, program->optimize, 4);
    put(out, program->resident, 4);
    bf_text_add_bytes(out, header.data, header.length + 1);
    put_zeros(out, 4);
    bf_text_free(&header);
}

/* ---- the ELF file ---- */

enum { SECTIONS = 15 };

struct writer {
    struct bf_text file, names; /* names: .shstrtab */
    Elf64_Shdr headers[SECTIONS];
    unsigned count;
};

static Elf64_Shdr *add_section(struct writer *w, const char *name, unsigned type,
                               const struct bf_text *content) {
    put_zeros(&w->file, 8);
    Elf64_Shdr *header = &w->headers[w->count++];
    *header = (Elf64_Shdr){.sh_name = (Elf64_Word)w->names.length,
                           .sh_type = type,
                           .sh_offset = w->file.length,
                           .sh_size = content->length,
                           .sh_addralign = 8};
    bf_text_add_bytes(&w->names, name, strlen(name) + 1);
    bf_text_add_bytes(&w->file, content->data, content->length);
    return header;
}

/* Adds the section and empties `content`. */
static Elf64_Shdr *move_section(struct writer *w, const char *name, unsigned type,
                                struct bf_text *content) {
    Elf64_Shdr *header = add_section(w, name, type, content);
    bf_text_free(content);
    return header;
}

static void add_symbols(struct writer *w, const struct bf_program *program, struct bf_text *names) {
    struct bf_text content = {0};
    put_symbols(&content, program);
    Elf64_Shdr *header = move_section(w, ".symtab", SHT_SYMTAB, &content);
    header->sh_link = w->count; /* .strtab comes next */
    header->sh_info = 1;        /* the first that is not local */
    header->sh_entsize = sizeof(Elf64_Sym);
    move_section(w, ".strtab", SHT_STRTAB, names)->sh_addralign = 1;
}

static void add_embedded(struct writer *w, const struct bf_program *program) {
    struct bf_text content = {0};
    if (program->net) {
        bf_text_add(&content, program->net);
        move_section(w, ".bf.net", SHT_PROGBITS, &content);
    }
    if (program->net_weights) {
        struct bf_text weights = {(char *)program->net_weights, program->net_weights_size, 0};
        add_section(w, ".bf.weights", SHT_PROGBITS, &weights);
    }
    if (program->value_count) {
        put_values(&content, program);
        move_section(w, ".bf.values", SHT_PROGBITS, &content);
    }
}

static void add_sections(struct writer *w, const struct bf_program *program) {
    struct bf_text content = {0}, names = {0};
    put_arch(&content, &program->machine);
    move_section(w, ".bf.arch", SHT_PROGBITS, &content);
    put_seq(&content, program);
    move_section(w, ".bf.seq", SHT_PROGBITS, &content);
    put_code(&content, program);
    move_section(w, ".bf.code", SHT_PROGBITS, &content);
    struct bf_text rodata = {(char *)program->rodata, program->rodata_size, 0};
    add_section(w, ".bf.rodata", SHT_PROGBITS, &rodata);
    put(&names, 0, 1);
    put_layout(&content, &names, program);
    move_section(w, ".bf.layout", SHT_PROGBITS, &content);
    put_prov(&content, program);
    move_section(w, ".bf.prov", SHT_PROGBITS, &content);
    add_embedded(w, program);
    add_symbols(w, program, &names);
    put_note(&content, program);
    move_section(w, ".note.bfcc", SHT_NOTE, &content)->sh_addralign = 4;
    /* .shstrtab holds its own name, which add_section would add too late. */
    struct bf_text all = {0};
    bf_text_add_bytes(&all, w->names.data, w->names.length);
    bf_text_add_bytes(&all, ".shstrtab", sizeof ".shstrtab");
    move_section(w, ".shstrtab", SHT_STRTAB, &all)->sh_addralign = 1;
}

static void put_section_header(struct bf_text *out, const Elf64_Shdr *h) {
    put(out, h->sh_name, 4);
    put(out, h->sh_type, 4);
    put(out, h->sh_flags, 8);
    put(out, h->sh_addr, 8);
    put(out, h->sh_offset, 8);
    put(out, h->sh_size, 8);
    put(out, h->sh_link, 4);
    put(out, h->sh_info, 4);
    put(out, h->sh_addralign, 8);
    put(out, h->sh_entsize, 8);
}

static void put_elf_header(struct bf_text *out, uint64_t section_headers, unsigned count) {
    static const char ident[EI_NIDENT] = {ELFMAG0,    ELFMAG1,     ELFMAG2,    ELFMAG3,
                                          ELFCLASS64, ELFDATA2LSB, EV_CURRENT, ELFOSABI_NONE};
    bf_text_add_bytes(out, ident, sizeof ident);
    put(out, ET_REL, 2);
    put(out, EM_NONE, 2);
    put(out, EV_CURRENT, 4);
    put(out, 0, 8); /* entry */
    put(out, 0, 8); /* program headers */
    put(out, section_headers, 8);
    put(out, 0, 4); /* flags */
    put(out, sizeof(Elf64_Ehdr), 2);
    put(out, 0, 2);
    put(out, 0, 2);
    put(out, sizeof(Elf64_Shdr), 2);
    put(out, count, 2);
    put(out, count - 1, 2); /* .shstrtab */
}

uint8_t *bf_program_write(const struct bf_program *program, size_t *size) {
    struct writer w = {.count = 1};
    put_elf_header(&w.file, 0, 2); /* keeps the room; written again below */
    put(&w.names, 0, 1);
    add_sections(&w, program);
    put_zeros(&w.file, 8);
    struct bf_text header = {0};
    put_elf_header(&header, w.file.length, w.count);
    memcpy(w.file.data, header.data, header.length);
    for (unsigned i = 0; i < w.count; i++)
        put_section_header(&w.file, &w.headers[i]);
    bf_text_free(&header);
    bf_text_free(&w.names);
    *size = w.file.length;
    return (uint8_t *)w.file.data;
}

/* ---- header line and schema ---- */

static void add_quoted(struct bf_text *text, const char *s) {
    bf_text_add(text, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            bf_text_printf(text, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            bf_text_printf(text, "\\x%02x", c);
        else
            bf_text_add_bytes(text, s, 1);
    }
    bf_text_add(text, "\"");
}

/* As a word, or quoted where it would not read as one. */
static void add_name(struct bf_text *text, const char *name) {
    bool letter = (*name | 32) >= 'a' && (*name | 32) <= 'z';
    if (letter || *name == '_')
        bf_text_add(text, name);
    else
        add_quoted(text, name);
}

void bf_program_header(const struct bf_program *program, struct bf_text *text) {
    bf_text_add(text, "bfcc asm 1 arch=");
    add_name(text, program->machine.name);
    bf_text_printf(text, ":%016" PRIx64 " batch=%u opt=%u resident=%d weights=",
                   bf_machine_hash(&program->machine), program->batch, program->optimize,
                   program->resident);
    if (program->weights_hash)
        bf_text_printf(text, "%016" PRIx64 "\n", program->weights_hash);
    else
        bf_text_add(text, "none\n");
    for (size_t i = 0; i < program->file_count; i++) {
        bf_text_printf(text, "file %zu ", i);
        add_quoted(text, program->files[i]);
        bf_text_add(text, "\n");
    }
}

static const char schema[] =
#define BF_CAL(NAME, code, text, operands, result, what)                                           \
    "cal " text " " #code " " #operands " " #result "\n"
#define BF_SEQ(NAME, code, text, what) "seq " text " " #code "\n"
#include "ir/isa/opcodes.def"
#define BF_GROUP(group, what)                                            "group " #group "\n"
#define BF_NUMBER(group, field, key, value, low, high, kind, unit, what) "number " #key "\n"
#include "ir/isa/machine.def"
    "cal word 5 1 1 2 4 10 2 10 2 10 2 2 11 2\n"
    "block 2 3x10 10 8 8 3x7, cal 8 5 4 1 12x11 4 5 1, mem 1 1 4 1 10 3x10 18 3x18 3x18 4, "
    "flow 1 1 10 10 3x10 3x10 2 3 3 4 4 7\n"
    "records 1\n";

uint64_t bf_program_schema(void) {
    return bf_hash(BF_HASH_START, schema, sizeof schema - 1);
}
