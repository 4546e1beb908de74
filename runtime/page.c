/* page.c - the report: one HTML file that holds style, script and a profile, and loads nothing. */
#include <stdlib.h>

#include "runtime/page.h"
#include "runtime/profile.h"

static const char *part(const char *name) {
    for (size_t i = 0; i < bf_page_file_count; i++)
        if (!strcmp(bf_page_files[i].name, name))
            return bf_page_files[i].text;
    return "";
}

/* Text inside <script> ends at any `</script`: in JSON every `<` can be an escape. */
static void add_json(struct bf_text *page, json_t *profile) {
    char *dump = json_dumps(profile, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (!dump)
        bf_out_of_memory(0);
    for (const char *at = dump, *next; *at; at = next) {
        next = at + strcspn(at, "<");
        bf_text_add_bytes(page, at, (size_t)(next - at));
        if (*next) {
            bf_text_add(page, "\\u003c");
            next++;
        }
    }
    free(dump);
}

static void add_escaped(struct bf_text *page, const char *text) {
    for (; *text; text++)
        if (strchr("<>&\"'", *text))
            bf_text_printf(page, "&#%d;", *text);
        else
            bf_text_add_bytes(page, text, 1);
}

static void add_part(struct bf_text *page, const char *name, json_t *profile) {
    const char *network = json_string_value(json_object_get(profile, "network"));
    if (!strcmp(name, "profile"))
        add_json(page, profile);
    else if (!strcmp(name, "network"))
        add_escaped(page, network ? network : "");
    else
        bf_text_add(page, part(name));
}

/* The template, with each @{name} replaced. */
bool bf_page_write(const char *path, json_t *profile, struct bf_error *error) {
    struct bf_text page = {0};
    for (const char *at = part("report.html"), *next; *at; at = next) {
        next = strstr(at, "@{");
        const char *end = next ? strchr(next, '}') : NULL;
        if (!end) {
            bf_text_add(&page, at);
            break;
        }
        char name[32];
        snprintf(name, sizeof name, "%.*s", (int)(end - next - 2), next + 2);
        bf_text_add_bytes(&page, at, (size_t)(next - at));
        add_part(&page, name, profile);
        next = end + 1;
    }
    bool ok = bf_write_file(path, page.data, page.length, error);
    bf_text_free(&page);
    json_decref(profile);
    return ok;
}
