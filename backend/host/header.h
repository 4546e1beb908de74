/* header.h - texts that generated headers carry, embedded by the build. */
#ifndef BF_HOST_HEADER_H
#define BF_HOST_HEADER_H

#include <stddef.h>

struct bf_host_header_file {
    const char *name, *text;
};
extern const struct bf_host_header_file bf_host_header_files[]; /* runtime/bfhost/(name) */
extern const size_t bf_host_header_file_count;

#endif
