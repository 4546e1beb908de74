/* provenance.c - from source lines to words of a program and back. See provenance.h.
 *
 * Section .bf.code, which addresses are offsets in: a count of 8 bytes; for each kernel 8 bytes,
 * its segments (16 bytes, then 8 a word) and its blocks (48 each); docs/format.md.
 */
#include "frontend/driver/provenance.h"

#include <inttypes.h>
#include <stdlib.h>

#include "frontend/library.h"
#include "frontend/driver/block_cycles.h"
#include "ir/asm.h"

enum { COUNT_BYTES = 8, KERNEL_BYTES = 8, SEGMENT_BYTES = 16, WORD_BYTES = 8, BLOCK_BYTES = 48 };

/* ---- pieces of answers ---- */

/* "0-3,8" */
static void add_pes(uint64_t pes, struct bf_text *out) {
    const char *between = "";
    for (unsigned first = 0; first < 64; first++) {
        if (!(pes >> first & 1))
            continue;
        unsigned last = first;
        while (last < 63 && pes >> (last + 1) & 1)
            last++;
        bf_text_printf(out, "%s%u", between, first);
        if (last > first)
            bf_text_printf(out, "-%u", last);
        between = ",";
        first = last;
    }
}

/* The text of a source: shipped with bfcc, or a file where bfdis runs; NULL if it is neither. */
static char *read_source(const char *name) {
    size_t length = strlen(name), size;
    for (size_t i = 0; name[0] == '<' && i < bf_library_file_count; i++)
        if (strlen(bf_library_files[i].name) == length - 2 &&
            !strncmp(bf_library_files[i].name, name + 1, length - 2))
            return bf_strdup(bf_library_files[i].text);
    return name[0] == '<' ? NULL : bf_read_file(name, &size, NULL);
}

/* "fabnet.bfly:9:14: h = fc1: butterfly(x, inner);" */
static void add_source(const struct bf_program *program, struct bf_place place, bool column,
                       struct bf_text *out) {
    const char *name = program->files[place.file];
    bf_text_printf(out, "%s:%u", name, place.line);
    if (column)
        bf_text_printf(out, ":%u", place.column);
    char *text = read_source(name);
    const char *at = text;
    for (uint32_t i = 1; at && i < place.line; i++)
        at = (at = strchr(at, '\n')) ? at + 1 : NULL;
    if (at) {
        at += strspn(at, " \t");
        bf_text_printf(out, ": %.*s", (int)strcspn(at, "\r\n"), at);
    }
    bf_text_add(out, "\n");
    free(text);
}

static void add_kernel(const struct bf_program *program, size_t k, struct bf_text *out) {
    const struct bf_kernel *kernel = &program->kernels[k];
    bf_text_printf(out, "%s, %s, launch", kernel->name, kernel->what);
    size_t count = 0;
    for (size_t l = 0; l < program->launch_count; l++)
        count += program->launches[l].kernel == k;
    bf_text_add(out, count == 1 ? "" : "es");
    for (size_t l = 0; l < program->launch_count; l++)
        if (program->launches[l].kernel == k)
            bf_text_printf(out, " %zu", l);
}

static uint64_t kernel_size(const struct bf_kernel *kernel) {
    uint64_t size = KERNEL_BYTES + kernel->block_count * BLOCK_BYTES;
    for (size_t s = 0; s < kernel->segment_count; s++)
        size += SEGMENT_BYTES + kernel->segments[s].count * WORD_BYTES;
    return size;
}

/* ---- from a line ---- */

static bool same_block(const struct bf_block *a, const struct bf_block *b) {
    return a->id == b->id && a->place.file == b->place.file && a->place.line == b->place.line &&
           !strcmp(a->name, b->name);
}

/* The words of a CAL block, with their addresses; copies of a body on other PEs are not repeated.
 */
static void add_words(const struct bf_program *program, const struct bf_kernel *kernel,
                      uint64_t base, const struct bf_block *block, struct bf_text *out) {
    uint64_t at = base + KERNEL_BYTES;
    for (size_t s = 0; s < kernel->segment_count; s++) {
        const struct bf_segment *segment = &kernel->segments[s];
        unsigned first = block->d.cal.start, count = block->d.cal.length;
        at += SEGMENT_BYTES;
        if (segment->pes & block->pes && first >= segment->start &&
            first + count <= (unsigned)segment->start + segment->count) {
            for (unsigned i = 0; i < count; i++) {
                unsigned index = first - segment->start + i;
                bf_text_printf(out, "        0x%04" PRIx64 "  ", at + index * WORD_BYTES);
                bf_asm_print_cal(segment->words[index], &program->machine, out);
                bf_text_add(out, "\n");
            }
            return;
        }
        at += segment->count * WORD_BYTES;
    }
}

static void add_block(const struct bf_program *program, size_t k, uint64_t base, size_t b,
                      const struct bf_block_cycles *cycles, struct bf_text *out) {
    const struct bf_kernel *kernel = &program->kernels[k];
    const struct bf_block *block = &kernel->blocks[b];
    uint64_t pes = 0;
    for (size_t i = 0; i < kernel->block_count; i++)
        pes |= same_block(&kernel->blocks[i], block) ? kernel->blocks[i].pes : 0;
    bf_text_add(out, "    ");
    bf_asm_print_block_id(block->id, out);
    bf_text_printf(out, " \"%s\" on PEs ", block->name);
    add_pes(pes, out);
    bf_text_printf(out, ", trips %u x %u x %u", block->d.trips[0], block->d.trips[1],
                   block->d.trips[2]);
    if (cycles)
        bf_cycles_add(cycles, k, block, out);
    bf_text_add(out, "\n");
    if (block->d.unit == BF_UNIT_CAL)
        add_words(program, kernel, base, block, out);
}

static bool find_file(const struct bf_program *program, const char *name, size_t length,
                      uint32_t *file) {
    for (size_t i = 0; i < program->file_count; i++) {
        const char *known = program->files[i];
        bool shipped = known[0] == '<' && strlen(known) == length + 2;
        if ((strlen(known) == length && !strncmp(known, name, length)) ||
            (shipped && !strncmp(known + 1, name, length))) {
            *file = (uint32_t)i;
            return true;
        }
    }
    return false;
}

/* Adds the lines of a file that have code, in order. */
static void add_lines(const struct bf_program *program, uint32_t file, struct bf_text *out) {
    for (uint32_t before = 0, next;; before = next) {
        next = UINT32_MAX;
        for (size_t k = 0; k < program->kernel_count; k++) {
            for (size_t b = 0; b < program->kernels[k].block_count; b++) {
                const struct bf_place *at = &program->kernels[k].blocks[b].place;
                if (at->file == file && at->line > before && at->line < next)
                    next = at->line;
            }
        }
        if (next == UINT32_MAX)
            return;
        if (before)
            bf_text_printf(out, ", %u", next);
        else
            bf_text_printf(out, "%s%s:%u", out->length ? ", " : "", program->files[file], next);
    }
}

/* Which lines have code, for those who ask for another. */
static bool no_code(const struct bf_program *program, struct bf_place place,
                    struct bf_error *error) {
    struct bf_text text = {0};
    for (size_t i = 0; i < program->file_count; i++)
        add_lines(program, (uint32_t)i, &text);
    bf_fail(error, BF_ERROR_INPUT, "no code came from line %u of %s; lines with code: %s",
            place.line, program->files[place.file], text.data ? text.data : "none");
    bf_text_free(&text);
    return false;
}

static bool parse_line(const struct bf_program *program, const char *text, struct bf_place *place,
                       struct bf_error *error) {
    const char *colon = strrchr(text, ':'), *digits = colon ? colon + 1 : text;
    char *end;
    unsigned long line = strtoul(digits, &end, 10);
    *place = (struct bf_place){.line = (uint32_t)line};
    if (end == digits || *end || !line || line > UINT32_MAX)
        return bf_fail(error, BF_ERROR_INPUT, "-line needs LINE or FILE:LINE, not '%s'", text);
    if (program->file_count &&
        (!colon || find_file(program, text, (size_t)(colon - text), &place->file)))
        return true;
    struct bf_text files = {0};
    for (size_t i = 0; i < program->file_count; i++)
        bf_text_printf(&files, "%s%s", i ? ", " : "", program->files[i]);
    bf_fail(error, BF_ERROR_INPUT, "'%s' is no source of the program: %s", text,
            files.data ? files.data : "it names none");
    bf_text_free(&files);
    return false;
}

static bool already_shown(const struct bf_kernel *kernel, size_t b) {
    for (size_t i = 0; i < b; i++)
        if (same_block(&kernel->blocks[i], &kernel->blocks[b]))
            return true;
    return false;
}

bool bf_provenance_line(const struct bf_program *program, const char *line, const char *profile,
                        struct bf_text *out, struct bf_error *error) {
    struct bf_place place;
    struct bf_block_cycles *cycles = NULL;
    if (!parse_line(program, line, &place, error))
        return false;
    if (profile && !(cycles = bf_cycles_read(program, profile, error)))
        return false;
    add_source(program, place, false, out);
    uint64_t base = COUNT_BYTES;
    bool any = false;
    for (size_t k = 0; k < program->kernel_count; base += kernel_size(&program->kernels[k++])) {
        const struct bf_kernel *kernel = &program->kernels[k];
        bool named = false;
        for (size_t b = 0; b < kernel->block_count; b++) {
            const struct bf_place *at = &kernel->blocks[b].place;
            if (at->file != place.file || at->line != place.line || already_shown(kernel, b))
                continue;
            if (!named) {
                bf_text_add(out, "  ");
                add_kernel(program, k, out);
                bf_text_add(out, "\n");
            }
            named = any = true;
            add_block(program, k, base, b, cycles, out);
        }
    }
    bf_cycles_free(cycles);
    return any || no_code(program, place, error);
}

bool bf_provenance_lines(const struct bf_program *program, const char *profile, struct bf_text *out,
                         struct bf_error *error) {
    struct bf_block_cycles *cycles = bf_cycles_read(program, profile, error);
    if (!cycles)
        return false;
    size_t count;
    uint64_t all = 0;
    struct bf_line_cycles *lines = bf_cycles_of_lines(cycles, &count);
    for (size_t i = 0; i < count; i++)
        all += lines[i].cycles;
    for (size_t i = 0; i < count; i++) {
        if (lines[i].file >= program->file_count || !lines[i].line)
            continue;
        uint64_t tenths = lines[i].cycles * 1000 / all;
        bf_text_printf(out, "%3" PRIu64 ".%" PRIu64 " %%  ", tenths / 10, tenths % 10);
        add_source(program, (struct bf_place){lines[i].file, lines[i].line, 0}, false, out);
    }
    free(lines);
    bf_cycles_free(cycles);
    return true;
}

/* ---- from a word ---- */

static void answer_word(const struct bf_program *program, size_t k,
                        const struct bf_segment *segment, unsigned index, struct bf_text *out) {
    const struct bf_kernel *kernel = &program->kernels[k];
    unsigned address = segment->start + index;
    bf_text_printf(out, "CAL word %u of ", address);
    add_kernel(program, k, out);
    bf_text_add(out, ", PEs ");
    add_pes(segment->pes, out);
    bf_text_add(out, "\n  ");
    bf_asm_print_cal(segment->words[index], &program->machine, out);
    bf_text_add(out, "\n");
    for (size_t b = 0; b < kernel->block_count; b++) {
        const struct bf_block *block = &kernel->blocks[b];
        unsigned start = block->d.cal.start;
        if (block->d.unit != BF_UNIT_CAL || !(block->pes & segment->pes) || address < start ||
            address >= start + block->d.cal.length || already_shown(kernel, b))
            continue;
        bf_text_printf(out, "  word %u of %u in block ", address - start + 1, block->d.cal.length);
        bf_asm_print_block_id(block->id, out);
        bf_text_printf(out, " \"%s\"\n    ", block->name);
        add_source(program, block->place, true, out);
    }
}

static void answer_block(const struct bf_program *program, size_t k, const struct bf_block *block,
                         struct bf_text *out) {
    bf_text_add(out, "descriptor of block ");
    bf_asm_print_block_id(block->id, out);
    bf_text_printf(out, " \"%s\" of ", block->name);
    add_kernel(program, k, out);
    bf_text_add(out, ", PEs ");
    add_pes(block->pes, out);
    bf_text_add(out, "\n    ");
    add_source(program, block->place, true, out);
}

bool bf_provenance_word(const struct bf_program *program, const char *address, struct bf_text *out,
                        struct bf_error *error) {
    char *end;
    uint64_t asked = strtoull(address, &end, 0), at = COUNT_BYTES;
    if (end == address || *end || *address == '-')
        return bf_fail(error, BF_ERROR_INPUT, "-word needs an address in .bf.code, not '%s'",
                       address);
    bf_text_printf(out, ".bf.code 0x%04" PRIx64 ": ", asked);
    for (size_t k = 0; k < program->kernel_count; k++) {
        const struct bf_kernel *kernel = &program->kernels[k];
        at += KERNEL_BYTES;
        for (size_t s = 0; s < kernel->segment_count; s++) {
            const struct bf_segment *segment = &kernel->segments[s];
            uint64_t words = at + SEGMENT_BYTES;
            at = words + segment->count * (uint64_t)WORD_BYTES;
            if (asked >= words && asked < at) {
                answer_word(program, k, segment, (unsigned)((asked - words) / WORD_BYTES), out);
                return true;
            }
        }
        for (size_t b = 0; b < kernel->block_count; b++, at += BLOCK_BYTES) {
            if (asked >= at && asked < at + BLOCK_BYTES) {
                answer_block(program, k, &kernel->blocks[b], out);
                return true;
            }
        }
        if (asked < at) {
            bf_text_add(out, "counts and sizes of ");
            add_kernel(program, k, out);
            bf_text_add(out, "\n");
            return true;
        }
    }
    return bf_fail(error, BF_ERROR_INPUT, "%s is behind the end of .bf.code, 0x%" PRIx64, address,
                   at);
}
