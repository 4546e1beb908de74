/* image.c - the loader. libelf finds the sections; what is in them is read here, each number with
 * a check that it is there. See image.h and, for the records, docs/format.md. */
#include "runtime/image.h"

#include "runtime/safetensors.h"

#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>

enum section {
    ARCH,
    SEQ,
    CODE,
    RODATA,
    LAYOUT,
    PROV,
    NET,
    WEIGHTS,
    VALUES,
    SYMTAB,
    STRTAB,
    NOTE,
    SHSTRTAB,
    SECTIONS
};
static const char *const section_names[SECTIONS] = {
    [ARCH] = ".bf.arch",      [SEQ] = ".bf.seq",    [CODE] = ".bf.code",  [RODATA] = ".bf.rodata",
    [LAYOUT] = ".bf.layout",  [PROV] = ".bf.prov",  [NET] = ".bf.net",    [WEIGHTS] = ".bf.weights",
    [VALUES] = ".bf.values",  [SYMTAB] = ".symtab", [STRTAB] = ".strtab", [NOTE] = ".note.bfcc",
    [SHSTRTAB] = ".shstrtab",
};

struct content {
    const uint8_t *data; /* NULL: there is no such section */
    size_t size;
};

struct loader {
    struct content sections[SECTIONS];
    struct bf_program *program;
    struct bf_error *error;
};

/* ---- reading one section ---- */

struct reader {
    const uint8_t *at, *end;
    const char *section;
    struct bf_error *error;
    bool failed;
};

static struct reader open_section(struct loader *l, enum section section) {
    const struct content *content = &l->sections[section];
    return (struct reader){content->data, content->data + content->size, section_names[section],
                           l->error, false};
}

static bool refuse(struct reader *r, const char *reason) {
    r->failed = true;
    return bf_fail(r->error, BF_ERROR_INPUT, "not a valid image: %s: %s", r->section, reason);
}

static size_t left(const struct reader *r) {
    return (size_t)(r->end - r->at);
}

/* After a failure every number is 0. */
static uint64_t get(struct reader *r, unsigned bytes) {
    if (!r->failed && left(r) < bytes)
        refuse(r, "it ends too early");
    if (r->failed)
        return 0;
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)r->at[i] << 8 * i;
    r->at += bytes;
    return value;
}

/* A number of records of at least `size` bytes each, which must all be there. */
static size_t get_count(struct reader *r, unsigned bytes, size_t size) {
    uint64_t count = get(r, bytes);
    if (!r->failed && count > left(r) / size)
        refuse(r, "it promises more records than it has");
    return r->failed ? 0 : (size_t)count;
}

static char *get_string(struct reader *r) {
    size_t length = get_count(r, 4, 1), padded = bf_round_up(length, 4);
    if (!r->failed && padded > left(r))
        refuse(r, "a string ends too late");
    if (!r->failed && memchr(r->at, 0, length))
        refuse(r, "a string has a zero byte");
    if (r->failed)
        return bf_strdup("");
    char *s = bf_strndup((const char *)r->at, length);
    r->at += padded;
    return s;
}

static struct bf_place get_place(struct reader *r) {
    struct bf_place place;
    place.file = (uint32_t)get(r, 4);
    place.line = (uint32_t)get(r, 4);
    place.column = (uint32_t)get(r, 4);
    return place;
}

static bool at_end(struct reader *r) {
    return !r->failed && (r->at == r->end || refuse(r, "it has bytes left over"));
}

/* ---- the sections ---- */

static bool load_note(struct loader *l) {
    struct reader r = open_section(l, NOTE);
    static const uint8_t owner[8] = "bfcc";
    uint64_t name_size = get(&r, 4);
    get(&r, 4);
    uint64_t type = get(&r, 4);
    if (!r.failed && (name_size != 5 || type != 1 || left(&r) < 8 || memcmp(r.at, owner, 8)))
        return refuse(&r, "it was not written by bfcc");
    get(&r, 8);
    uint64_t version = get(&r, 4);
    if (!r.failed && version != BF_PROGRAM_VERSION)
        return bf_fail(l->error, BF_ERROR_INPUT,
                       "the image has format version %llu; this bfcc reads %d",
                       (unsigned long long)version, BF_PROGRAM_VERSION);
    struct bf_program *p = l->program;
    p->batch = (uint32_t)get(&r, 4);
    if (get(&r, 8) != bf_program_schema() && !r.failed)
        return bf_fail(l->error, BF_ERROR_INPUT,
                       "the image is for another instruction set than this bfcc's");
    p->weights_hash = get(&r, 8);
    uint64_t optimize = get(&r, 4), resident = get(&r, 4);
    if (!r.failed && (optimize > 9 || resident > 1))
        return refuse(&r, "an option is out of range");
    p->optimize = (uint8_t)optimize;
    p->resident = resident;
    return !r.failed;
}

static bool load_arch(struct loader *l) {
    struct reader r = open_section(l, ARCH);
    struct bf_machine *machine = &l->program->machine;
    if (left(&r) < BF_MACHINE_NAME)
        return refuse(&r, "it ends too early");
    if (!memchr(r.at, 0, BF_MACHINE_NAME))
        return refuse(&r, "the machine's name does not end");
    memset(machine, 0, sizeof *machine);
    memcpy(machine->name, r.at, BF_MACHINE_NAME);
    r.at += BF_MACHINE_NAME;
    for (size_t i = 0; i < bf_machine_number_count; i++) {
        uint32_t value = (uint32_t)get(&r, 4);
        memcpy((char *)machine + bf_machine_numbers[i].offset, &value, sizeof value);
    }
    return at_end(&r);
}

static void load_dma(struct reader *r, struct bf_dma *dma) {
    dma->kind = (uint8_t)get(r, 1);
    uint64_t pad = get(r, 1);
    if (pad > 1)
        refuse(r, "a flag is neither 0 nor 1");
    dma->pad = pad;
    dma->value = (uint16_t)get(r, 2);
    dma->rows = (uint32_t)get(r, 4);
    dma->cols = (uint32_t)get(r, 4);
    dma->spm = (uint32_t)get(r, 4);
    dma->width = (uint32_t)get(r, 4);
    dma->row = (uint32_t)get(r, 4);
    dma->col = (uint32_t)get(r, 4);
    dma->limit = (uint32_t)get(r, 4);
    dma->dram = get(r, 8);
    dma->pitch = (int64_t)get(r, 8);
    dma->ids = get(r, 8);
}

static void load_launch(struct reader *r, struct bf_launch *launch) {
    launch->kernel = (uint32_t)get(r, 4);
    launch->bank = (uint8_t)get(r, 1);
    launch->window = (uint8_t)get(r, 1);
    uint64_t flags = get(r, 1);
    if (flags > 3)
        refuse(r, "unknown flags of a launch");
    launch->strict = flags & 1;
    launch->one_weight_set = flags & 2;
    launch->group_level = (uint8_t)get(r, 1);
    launch->context_base = (uint16_t)get(r, 2);
    launch->context_size = (uint16_t)get(r, 2);
    launch->period = (uint16_t)get(r, 2);
    get(r, 2);
    for (int i = 0; i < BF_LEVELS; i++)
        launch->trips[i] = (uint32_t)get(r, 4);
    for (int i = 0; i < BF_BASES; i++)
        launch->base[i] = (uint32_t)get(r, 4);
    get(r, 4);
}

enum { SEQ_BYTES = 8, DMA_BYTES = 56, LAUNCH_BYTES = 96 };

static bool load_seq(struct loader *l) {
    struct reader r = open_section(l, SEQ);
    struct bf_program *p = l->program;
    uint64_t count = get(&r, 4), dmas = get(&r, 4), launches = get(&r, 4);
    get(&r, 4);
    if (!r.failed && count * SEQ_BYTES + dmas * DMA_BYTES + launches * LAUNCH_BYTES != left(&r))
        return refuse(&r, "its size does not follow from its counts");
    if (r.failed)
        return false;
    p->sequence = bf_alloc(count * sizeof *p->sequence);
    p->dmas = bf_alloc(dmas * sizeof *p->dmas);
    p->launches = bf_alloc(launches * sizeof *p->launches);
    p->sequence_count = count;
    p->dma_count = dmas;
    p->launch_count = launches;
    for (size_t i = 0; i < count; i++) {
        uint64_t word = get(&r, 8);
        if (word >> 32 & 0xffff)
            return refuse(&r, "unused bits of an instruction must be 0");
        p->sequence[i] = (struct bf_seq){
            .op = (uint8_t)(word >> 56), .x = (uint8_t)(word >> 48), .y = (uint32_t)word};
    }
    for (size_t i = 0; i < dmas; i++)
        load_dma(&r, &p->dmas[i]);
    for (size_t i = 0; i < launches; i++)
        load_launch(&r, &p->launches[i]);
    return at_end(&r);
}

static bool load_segment(struct reader *r, struct bf_segment *segment) {
    segment->pes = get(r, 8);
    segment->start = (uint16_t)get(r, 2);
    size_t count = (size_t)get(r, 2);
    get(r, 4);
    if (!r->failed && count > left(r) / 8)
        refuse(r, "a code segment ends too early");
    if (r->failed)
        return false;
    segment->words = bf_alloc(count * sizeof *segment->words);
    segment->count = (uint16_t)count;
    for (size_t w = 0; w < count; w++)
        segment->words[w] = get(r, 8);
    return true;
}

static bool load_block(struct reader *r, struct bf_block *block) {
    block->pes = get(r, 8);
    uint64_t id = get(r, 8), words[4];
    for (int w = 0; w < 4; w++)
        words[w] = get(r, 8);
    if (r->failed)
        return false;
    if (id >= BF_BLOCKS)
        return refuse(r, "there is no such block id");
    block->id = (uint8_t)id;
    struct bf_error reason = {0};
    return bf_descriptor_decode(words, &block->d, &reason) || refuse(r, reason.text);
}

static bool load_kernel(struct reader *r, struct bf_kernel *kernel) {
    uint64_t segments = get(r, 4), blocks = get(r, 4);
    if (!r->failed && segments * 16 + blocks * 48 > left(r))
        refuse(r, "a kernel ends too early");
    if (r->failed)
        return false;
    kernel->segments = bf_alloc(segments * sizeof *kernel->segments);
    kernel->segment_count = segments;
    kernel->blocks = bf_alloc(blocks * sizeof *kernel->blocks);
    kernel->block_count = blocks;
    for (size_t i = 0; i < segments; i++)
        if (!load_segment(r, &kernel->segments[i]))
            return false;
    for (size_t i = 0; i < blocks; i++)
        if (!load_block(r, &kernel->blocks[i]))
            return false;
    return true;
}

static bool load_code(struct loader *l) {
    struct reader r = open_section(l, CODE);
    size_t count = get_count(&r, 8, 8);
    l->program->kernels = bf_alloc(count * sizeof *l->program->kernels);
    l->program->kernel_count = count;
    for (size_t i = 0; i < count; i++)
        if (!load_kernel(&r, &l->program->kernels[i]))
            return false;
    return at_end(&r);
}

static bool load_layout(struct loader *l) {
    struct reader r = open_section(l, LAYOUT);
    struct content names = l->sections[STRTAB];
    struct bf_program *p = l->program;
    p->dram_size = get(&r, 8);
    size_t count = get_count(&r, 8, 40);
    p->tensors = bf_alloc(count * sizeof *p->tensors);
    p->tensor_count = count;
    for (size_t i = 0; i < count; i++) {
        struct bf_tensor_place *tensor = &p->tensors[i];
        tensor->kind = (uint8_t)get(&r, 1);
        tensor->dtype = (uint8_t)get(&r, 1);
        uint64_t rank = get(&r, 2);
        tensor->rank = (uint8_t)(rank > 255 ? 255 : rank);
        size_t name = (size_t)get(&r, 4);
        for (int d = 0; d < BF_TENSOR_RANK; d++)
            tensor->dims[d] = (uint32_t)get(&r, 4);
        tensor->dram = get(&r, 8);
        tensor->size = get(&r, 8);
        if (name >= names.size || !memchr(names.data + name, 0, names.size - name))
            return refuse(&r, "the name of a tensor is not in .strtab");
        tensor->name = bf_strdup((const char *)names.data + name);
    }
    return at_end(&r);
}

/* Needs the kernels. */
static bool load_prov(struct loader *l) {
    struct reader r = open_section(l, PROV);
    struct bf_program *p = l->program;
    free(p->network);
    p->network = get_string(&r);
    size_t files = get_count(&r, 4, 4);
    p->files = bf_alloc(files * sizeof *p->files);
    p->file_count = files;
    for (size_t i = 0; i < files; i++)
        p->files[i] = get_string(&r);
    for (size_t k = 0; k < p->kernel_count && !r.failed; k++) {
        struct bf_kernel *kernel = &p->kernels[k];
        kernel->name = get_string(&r);
        kernel->what = get_string(&r);
        kernel->place = get_place(&r);
        for (size_t i = 0; i < kernel->block_count && !r.failed; i++) {
            kernel->blocks[i].name = get_string(&r);
            kernel->blocks[i].place = get_place(&r);
        }
    }
    return at_end(&r);
}

static bool load_data(struct loader *l) {
    struct content rodata = l->sections[RODATA], net = l->sections[NET];
    struct bf_program *p = l->program;
    p->rodata = bf_alloc(rodata.size);
    p->rodata_size = rodata.size;
    if (rodata.size)
        memcpy(p->rodata, rodata.data, rodata.size);
    if (!net.data)
        return true;
    struct reader r = open_section(l, NET);
    if (memchr(net.data, 0, net.size))
        return refuse(&r, "it has a zero byte");
    p->net = bf_strndup((const char *)net.data, net.size);
    return true;
}

/* A tensor file in canonical form; the network says what must be in it, which only the compiler can
 * read. */
static bool load_weights(struct loader *l) {
    struct content weights = l->sections[WEIGHTS];
    struct bf_program *p = l->program;
    struct bf_error reason = {0};
    if (!weights.data)
        return true;
    struct bf_tensor_file *file =
        bf_tensor_file_parse(weights.data, weights.size, section_names[WEIGHTS], &reason);
    if (!file)
        return bf_fail(l->error, BF_ERROR_INPUT, "not a valid image: %s", reason.text);
    size_t size;
    p->net_weights =
        bf_tensor_file_encode(file->tensors, file->tensor_count, NULL, 0, &size, &reason);
    p->net_weights_size = size;
    bf_tensor_file_free(file);
    return p->net_weights ||
           bf_fail(l->error, BF_ERROR_INPUT, "not a valid image: %s", reason.text);
}

static bool load_values(struct loader *l) {
    struct bf_program *p = l->program;
    if (!l->sections[VALUES].data)
        return true;
    struct reader r = open_section(l, VALUES);
    size_t count = get_count(&r, 8, 36);
    p->values = bf_alloc(count * sizeof *p->values);
    p->value_count = count;
    for (size_t i = 0; i < count; i++) {
        struct bf_value_place *value = &p->values[i];
        value->name = get_string(&r);
        value->launch = (uint32_t)get(&r, 4);
        value->samples = (uint32_t)get(&r, 4);
        value->rows = (uint32_t)get(&r, 4);
        value->cols = (uint32_t)get(&r, 4);
        value->word = (uint32_t)get(&r, 4);
        value->width = (uint32_t)get(&r, 4);
        value->pitch = (uint32_t)get(&r, 4);
        value->exponent = (int8_t)get(&r, 4);
    }
    return at_end(&r);
}

/* ---- ELF ---- */

static bool broken(struct loader *l) {
    return bf_fail(l->error, BF_ERROR_INPUT, "not a valid image: the ELF structure is broken");
}

static bool take_section(struct loader *l, const char *name, const GElf_Shdr *header,
                         const uint8_t *bytes, size_t size) {
    if (!name || header->sh_type == SHT_NOBITS || header->sh_offset > size ||
        header->sh_size > size - header->sh_offset)
        return broken(l);
    int s = 0;
    while (s < SECTIONS && strcmp(name, section_names[s]))
        s++;
    if (s == SECTIONS || l->sections[s].data)
        return bf_fail(l->error, BF_ERROR_INPUT, "not a valid image: section '%.40s' is %s", name,
                       s == SECTIONS ? "unknown" : "there twice");
    l->sections[s] = (struct content){bytes + header->sh_offset, header->sh_size};
    return true;
}

static bool find_sections(struct loader *l, Elf *elf, const uint8_t *bytes, size_t size) {
    size_t names, count;
    GElf_Ehdr header;
    if (elf_kind(elf) != ELF_K_ELF || gelf_getclass(elf) != ELFCLASS64 ||
        !gelf_getehdr(elf, &header) || header.e_ident[EI_DATA] != ELFDATA2LSB ||
        elf_getshdrstrndx(elf, &names) || elf_getshdrnum(elf, &count))
        return broken(l);
    if (header.e_shoff >= size)
        return bf_fail(l->error, BF_ERROR_INPUT, "not a valid image: the file is cut short");
    if (count < 2 || count > SECTIONS + 1)
        return bf_fail(l->error, BF_ERROR_INPUT, "not a valid image: it has %zu sections", count);
    for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section));) {
        GElf_Shdr shdr;
        if (!gelf_getshdr(section, &shdr))
            return broken(l);
        if (!take_section(l, elf_strptr(elf, names, shdr.sh_name), &shdr, bytes, size))
            return false;
    }
    for (int s = 0; s < SECTIONS; s++)
        if ((s < NET || s > VALUES) && !l->sections[s].data)
            return bf_fail(l->error, BF_ERROR_INPUT, "not a valid image: section '%s' is missing",
                           section_names[s]);
    return true;
}

static bool open_elf(struct loader *l, const uint8_t *bytes, size_t size) {
    if (elf_version(EV_CURRENT) == EV_NONE)
        return bf_fail(l->error, BF_ERROR_INTERNAL, "libelf does not know this ELF version");
    /* libelf takes a plain pointer, but only reads. */
    Elf *elf = elf_memory((char *)(uintptr_t)bytes, size);
    bool good = elf ? find_sections(l, elf, bytes, size) : broken(l);
    elf_end(elf);
    return good;
}

static bool is_canonical(const struct loader *l, const uint8_t *bytes, size_t size) {
    size_t again_size;
    uint8_t *again = bf_program_write(l->program, &again_size);
    bool equal = again_size == size && !memcmp(again, bytes, size);
    free(again);
    return equal || bf_fail(l->error, BF_ERROR_INPUT,
                            "not a valid image: it is not in canonical form (sections, padding or "
                            "symbols differ from what its contents give)");
}

bool bf_image_is_elf(const void *bytes, size_t size) {
    return size >= SELFMAG && !memcmp(bytes, ELFMAG, SELFMAG);
}

struct bf_program *bf_image_load(const void *bytes, size_t size, struct bf_error *error) {
    struct bf_error own = {0};
    struct loader l = {.program = bf_program_create(), .error = error ? error : &own};
    bool good = bf_image_is_elf(bytes, size) ||
                bf_fail(l.error, BF_ERROR_INPUT, "not a valid image: it is no ELF file");
    good = good && open_elf(&l, bytes, size) && load_note(&l) && load_arch(&l) && load_seq(&l) &&
           load_code(&l) && load_layout(&l) && load_prov(&l) && load_data(&l) && load_weights(&l) &&
           load_values(&l) && bf_program_check(l.program, l.error) && is_canonical(&l, bytes, size);
    if (good)
        return l.program;
    bf_program_free(l.program);
    return NULL;
}
