/* block_cycles.h - when blocks of a program ran, out of a profile that bfrun -profile wrote. */
#ifndef BF_DRIVER_BLOCK_CYCLES_H
#define BF_DRIVER_BLOCK_CYCLES_H

#include "ir/isa/program.h"

struct bf_block_cycles;

/* NULL after an error: the file is no profile, or of another program. */
struct bf_block_cycles *bf_cycles_read(const struct bf_program *program, const char *path,
                                       struct bf_error *error);
void bf_cycles_free(struct bf_block_cycles *cycles); /* NULL is fine */
/* ", 3 runs in cycles 120-340 of launch 4, 1024 PE-cycles in all" for a block of kernel k. */
void bf_cycles_add(const struct bf_block_cycles *cycles, size_t k, const struct bf_block *block,
                   struct bf_text *out);
/* PE-cycles of each source line, the most first: "lines" of the profile. The caller frees them. */
struct bf_line_cycles {
    uint32_t file, line;
    uint64_t cycles;
};
struct bf_line_cycles *bf_cycles_of_lines(const struct bf_block_cycles *cycles, size_t *count);

#endif
