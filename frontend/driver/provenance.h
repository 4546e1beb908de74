/* provenance.h - from source lines to words of a program and back, for bfdis. */
#ifndef BF_DRIVER_PROVENANCE_H
#define BF_DRIVER_PROVENANCE_H

#include "ir/isa/program.h"

/* What a source line became: kernels, blocks, their PEs and words. `line` is "12" or "FILE:12", of
 * the main file without a name. `profile` is what bfrun -profile wrote of this program, or NULL:
 * with it each block has its cycles. False after an error; also if no code came from the line. */
bool bf_provenance_line(const struct bf_program *program, const char *line, const char *profile,
                        struct bf_text *out, struct bf_error *error);
/* All lines with code, those that cost most first: "38.2 %  FILE:LINE: source". */
bool bf_provenance_lines(const struct bf_program *program, const char *profile, struct bf_text *out,
                         struct bf_error *error);
/* What the byte at `address` of section .bf.code belongs to. */
bool bf_provenance_word(const struct bf_program *program, const char *address, struct bf_text *out,
                        struct bf_error *error);

#endif
