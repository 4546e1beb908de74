/* rename.c - FROM=TO with stars: how names of a checkpoint become those of the network. */
#include "frontend/driver/checkpoint.h"

/* What the stars stood for. */
struct pieces {
    struct piece {
        const char *text;
        size_t length;
    } data[BF_RENAME_STARS];
    unsigned count;
};

static unsigned stars(const char *from, const char *end) {
    unsigned count = 0;
    for (; from < end; from++)
        count += *from == '*';
    return count;
}

bool bf_rename_check(const char *rename, struct bf_error *error) {
    const char *equal = strchr(rename, '=');
    if (!equal || equal == rename || !equal[1])
        return bf_fail(error, BF_ERROR_INPUT,
                       "option '-weights-rename' needs the form FROM=TO, not '%s'", rename);
    unsigned from = stars(rename, equal), to = stars(equal, equal + strlen(equal));
    if (from != to)
        return bf_fail(error, BF_ERROR_INPUT,
                       "-weights-rename '%s': %u '*' before the '=' and %u behind it; they "
                       "must be as many",
                       rename, from, to);
    if (from > BF_RENAME_STARS)
        return bf_fail(error, BF_ERROR_INPUT, "-weights-rename '%s': more than %d '*'", rename,
                       BF_RENAME_STARS);
    return true;
}

/* Whether from .. end is the whole of `name`; tries the shortest piece for each star first. */
static bool match(const char *from, const char *end, const char *name, struct pieces *pieces) {
    for (; from < end && *from != '*'; from++, name++)
        if (*from != *name)
            return false;
    if (from == end)
        return !*name;
    struct piece *piece = &pieces->data[pieces->count++];
    piece->text = name;
    for (piece->length = 1; piece->length <= strlen(name); piece->length++)
        if (match(from + 1, end, name + piece->length, pieces))
            return true;
    pieces->count--;
    return false;
}

const char *bf_rename_apply(const char *rename, const char *name, struct bf_arena *arena) {
    const char *equal = strchr(rename, '=');
    struct pieces pieces = {0};
    if (!match(rename, equal, name, &pieces))
        return NULL;
    struct bf_text text = {0};
    unsigned star = 0;
    for (const char *to = equal + 1; *to; to++) {
        const struct piece *piece = &pieces.data[star];
        if (*to == '*') {
            bf_text_add_bytes(&text, piece->text, piece->length);
            star++;
        } else {
            bf_text_add_bytes(&text, to, 1);
        }
    }
    const char *result = bf_arena_strdup(arena, text.data);
    bf_text_free(&text);
    return result;
}
