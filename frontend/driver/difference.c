/* difference.c - which lines of a text changed (Myers, 1986: an O(ND) difference algorithm).
 *
 * Diagonal k holds the pairs of lines x of a and y of b with x - y = k; furthest[k] is the largest
 * x that d changes reach on it. The path is found again from the furthest points of every d.
 */
#include "frontend/driver/dump.h"

#include <stdlib.h>

/* Beyond that many changes, texts are told apart whole: what matters then is that they differ. */
enum { MOST_CHANGES = 2000 };

struct lines {
    const char **data; /* where each begins */
    size_t count, capacity;
};

static struct lines split(const char *text) {
    struct lines lines = {0};
    for (const char *at = text; *at; at += *at == '\n') {
        *bf_push(&lines) = at;
        at += strcspn(at, "\n");
    }
    return lines;
}

static bool same(const char *a, const char *b) {
    size_t length = strcspn(a, "\n");
    return length == strcspn(b, "\n") && !memcmp(a, b, length);
}

struct differ {
    struct lines a, b;
    long na, nb; /* lines between what both begin and end with */
    size_t start;
    long *trace;        /* of each d: furthest[-d .. d] */
    bool *gone, *added; /* of each line of a and b */
    struct bf_difference result;
};

static long *row(const struct differ *differ, long d) {
    return differ->trace + d * d + d; /* rows of 2 i + 1 before it, then its middle */
}

static bool line_same(const struct differ *differ, long x, long y) {
    return same(differ->a.data[differ->start + (size_t)x],
                differ->b.data[differ->start + (size_t)y]);
}

/* Whether change d on the way to diagonal k removes a line of a (it comes from k - 1) or adds one
 * of b (from k + 1): whichever gets further. */
static bool removes(const struct differ *differ, long d, long k) {
    const long *before = row(differ, d - 1);
    return k != -d && (k == d || before[k - 1] >= before[k + 1]);
}

/* Number of changes, -1 if they are too many. */
static long search(struct differ *differ) {
    long limit = differ->na + differ->nb < MOST_CHANGES ? differ->na + differ->nb : MOST_CHANGES;
    differ->trace = bf_alloc((size_t)((limit + 1) * (limit + 1)) * sizeof *differ->trace);
    for (long d = 0; d <= limit; d++) {
        for (long k = -d; k <= d; k += 2) {
            long x = 0;
            if (d)
                x = removes(differ, d, k) ? row(differ, d - 1)[k - 1] + 1
                                          : row(differ, d - 1)[k + 1];
            long y = x - k;
            while (x >= 0 && y >= 0 && x < differ->na && y < differ->nb && line_same(differ, x, y))
                x++, y++;
            row(differ, d)[k] = x;
            if (x >= differ->na && y >= differ->nb)
                return d;
        }
    }
    return -1;
}

static void trace_back(struct differ *differ, long d) {
    long x = differ->na, y = differ->nb;
    for (; d > 0; d--) {
        long k = x - y;
        bool removed = removes(differ, d, k);
        long from = removed ? k - 1 : k + 1;
        x = row(differ, d - 1)[from];
        y = x - from;
        if (removed)
            differ->gone[differ->start + (size_t)x] = true;
        else
            differ->added[differ->start + (size_t)y] = true;
    }
}

static void mark(struct differ *differ) {
    size_t a = differ->a.count, b = differ->b.count, end = 0;
    while (differ->start < a && differ->start < b &&
           same(differ->a.data[differ->start], differ->b.data[differ->start]))
        differ->start++;
    while (a - end > differ->start && b - end > differ->start &&
           same(differ->a.data[a - end - 1], differ->b.data[b - end - 1]))
        end++;
    differ->na = (long)(a - end - differ->start);
    differ->nb = (long)(b - end - differ->start);
    long changes = search(differ);
    if (changes >= 0) {
        trace_back(differ, changes);
        return;
    }
    memset(differ->gone + differ->start, true, (size_t)differ->na);
    memset(differ->added + differ->start, true, (size_t)differ->nb);
}

static void add_line(struct bf_text *out, const char *sign, const char *line) {
    if (!out)
        return;
    bf_text_add(out, sign);
    bf_text_add_bytes(out, line, strcspn(line, "\n"));
    bf_text_add(out, "\n");
}

static void write(struct differ *differ, struct bf_text *out) {
    bool inside = false;
    for (size_t x = 0, y = 0; x < differ->a.count || y < differ->b.count;) {
        bool gone = x < differ->a.count && differ->gone[x];
        bool added = !gone && y < differ->b.count && differ->added[y];
        if ((gone || added) && !inside && out)
            bf_text_printf(out, "@ line %zu\n", y + 1);
        inside = gone || added;
        if (gone)
            add_line(out, "- ", differ->a.data[x]);
        if (added)
            add_line(out, "+ ", differ->b.data[y]);
        differ->result.gone += gone;
        differ->result.added += added;
        x += !added;
        y += !gone;
    }
}

struct bf_difference bf_differ(const char *before, const char *after, struct bf_text *out) {
    struct differ differ = {.a = split(before), .b = split(after)};
    differ.gone = bf_alloc(differ.a.count + 1);
    differ.added = bf_alloc(differ.b.count + 1);
    mark(&differ);
    write(&differ, out);
    free(differ.a.data);
    free(differ.b.data);
    free(differ.trace);
    free(differ.gone);
    free(differ.added);
    return differ.result;
}
