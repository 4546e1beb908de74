/* arch.h - machine descriptions: .arch files (YAML) and the ones bfcc carries inside. */
#ifndef BF_ARCH_H
#define BF_ARCH_H

#include "ir/isa/machine.h"

/* Generated from ir/arch/; ends in an entry of NULLs. */
struct bf_arch_file {
    const char *name; /* "default.arch" */
    const char *text;
};
extern const struct bf_arch_file bf_arch_files[];
extern const size_t bf_arch_file_count;

/* `arch` is a path or a name ("mlx-full"): NAME.arch in a folder of BFCC_PATH, else a shipped
 * description. Adds the path of the file that was read to `path` unless that is NULL; nothing for a
 * shipped one. Errors name file, line and key; an unknown name gets a suggestion. */
bool bf_arch_load(const char *arch, struct bf_machine *machine, struct bf_text *path,
                  struct bf_error *error);
/* The same from text; `file` is for messages. */
bool bf_arch_parse(const char *file, const char *text, size_t size, struct bf_machine *machine,
                   struct bf_error *error);
/* As YAML that bf_arch_parse reads back unchanged, with units and meanings as comments. */
void bf_arch_print(const struct bf_machine *machine, struct bf_text *text);

#endif
