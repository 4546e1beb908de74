/* asm.h - the text of an array program (.bfs): what bfdis prints and bfas reads. docs/asm.md
 * describes it. Printing then reading gives the same program, byte for byte in the .bfx file. */
#ifndef BF_ASM_H
#define BF_ASM_H

#include "ir/diag.h"
#include "ir/isa/program.h"

/* The canonical text. The program must pass bf_program_check. */
void bf_asm_print(const struct bf_program *program, struct bf_text *text);

/* `file` was obtained from bf_source_add. The program passes bf_program_check; what does not is
 * reported at its line. NULL after errors. The caller frees it with bf_program_free. */
struct bf_program *bf_asm_parse(const char *text, size_t size, uint32_t file,
                                struct bf_diags *diags);

/* For map texts, which have a header of their own and no values: everything but header line, file
 * table, rodata and net. Reading begins at line `line` of `file` and adds to `program`, whose name
 * of the machine, options and files are already there; bf_program_check is not run. False after
 * errors. */
void bf_asm_print_body(const struct bf_program *program, struct bf_text *text);
bool bf_asm_parse_body(const char *text, size_t size, uint32_t file, uint32_t line,
                       struct bf_program *program, struct bf_diags *diags);

/* Names of blocks as the text has them: "cal.3", "store.0". */
void bf_asm_print_block_id(unsigned id, struct bf_text *text);
/* One instruction: "fma  r[1] <- r[0] * 2 + 0". The word must decode. */
void bf_asm_print_cal(uint64_t word, const struct bf_machine *machine, struct bf_text *text);

#endif
