/* page.h - the parts of the report page, runtime/report/. The array is generated from them and ends
 * in an entry of NULLs. */
#ifndef BF_RUNTIME_PAGE_H
#define BF_RUNTIME_PAGE_H

#include <stddef.h>

struct bf_page_file {
    const char *name; /* "report.css" */
    const char *text;
};
extern const struct bf_page_file bf_page_files[];
extern const size_t bf_page_file_count;

#endif
