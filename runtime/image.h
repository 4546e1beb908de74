/* image.h - .bfx files to programs. docs/format.md describes the file. */
#ifndef BF_RUNTIME_IMAGE_H
#define BF_RUNTIME_IMAGE_H

#include "ir/isa/program.h"

/* Trusts nothing: every offset, count and index is checked, the words are decoded and
 * bf_program_check is run, and at last the program is written again and must give the same bytes,
 * so that a file that loads is canonical. NULL with the reason on error. The bytes are not needed
 * afterwards; the caller frees the program with bf_program_free. */
struct bf_program *bf_image_load(const void *bytes, size_t size, struct bf_error *error);

/* Is it an ELF file at all? For tools that take either a text or an image. */
bool bf_image_is_elf(const void *bytes, size_t size);

#endif
