/* library.h - the .bfly files that bfcc carries inside, for `include <transformer.bfly>;`. The
 * array is generated from frontend/library/ and ends in an entry of NULLs. */
#ifndef BF_FRONTEND_LIBRARY_H
#define BF_FRONTEND_LIBRARY_H

#include <stddef.h>

struct bf_library_file {
    const char *name; /* "transformer.bfly" */
    const char *text;
};

extern const struct bf_library_file bf_library_files[];
extern const size_t bf_library_file_count;

#endif
