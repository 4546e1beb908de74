/* filter.c - what of a text is about one kernel. See dump.h.
 *
 * Texts of poly and map have a line for each thing and indented lines for its parts; an array
 * program's kernel goes on to the first line that is none of its code; a net has a line an
 * operator, with the path of its labels behind an '@'.
 */
#include "frontend/driver/dump.h"

/* Whether a word is `name`, or begins with it and a dot: "k3.1", "encoder.0.ffn". */
static bool names(const char *word, const char *name) {
    size_t length = strlen(name);
    return !strncmp(word, name, length) && strchr(". \"\n", word[length]);
}

static bool starts(const char *line, const char *word) {
    return !strncmp(line, word, strlen(word));
}

/* `kernel k3 "encoder.0.ffn.fc1 butterfly" ..`: by its name or what it is. */
static bool kernel_matches(const char *line, const char *name) {
    const char *word = strchr(line, ' '), *end = line + strcspn(line, "\n");
    const char *quote = strchr(line, '"');
    return (word && names(word + 1, name)) || (quote && quote < end && names(quote + 1, name));
}

static bool operator_matches(const char *line, const char *name) {
    const char *label = memchr(line, '@', strcspn(line, "\n"));
    return label && names(label + 1, name);
}

/* The kernel that a plan belongs to, found again by its name: plans come behind all kernels. */
struct kept {
    const char *kernel; /* its line */
};

static bool plan_of(const char *line, const struct kept *kept) {
    const char *plan = line + strlen("plan "), *kernel = kept->kernel;
    size_t length = strcspn(plan, ". ");
    kernel = kernel ? strchr(kernel, ' ') : NULL;
    return kernel && !strncmp(plan, kernel + 1, length) && kernel[1 + length] == ' ';
}

void bf_filter_kernel(const char *text, const char *name, struct bf_text *out) {
    bool keep = false;
    struct kept kept = {0};
    for (const char *line = text; *line;) {
        size_t length = strcspn(line, "\n");
        length += line[length] == '\n';
        if (starts(line, "kernel ") || starts(line, ".kernel ")) {
            keep = kernel_matches(line, name);
            kept.kernel = keep ? line : kept.kernel;
        } else if (starts(line, "plan ")) {
            keep = names(line + strlen("plan "), name) || plan_of(line, &kept);
        } else if (*line == '%') {
            keep = operator_matches(line, name);
        } else if (*line != ' ' && !starts(line, ".code ") && !starts(line, ".body ") &&
                   !starts(line, ".block ")) {
            keep = false;
        }
        if (keep)
            bf_text_add_bytes(out, line, length);
        line += length;
    }
}
