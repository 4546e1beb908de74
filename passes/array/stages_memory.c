/* stages_memory.c - which words of a PE one LOAD or STORE block can move.
 *
 * Words lie in the order of the layout, elements in the order of the operand. Where lanes are rows,
 * an element is a word of the scratchpad further; where lanes are columns, row r of a buffer is
 * word (r / V) width + r mod V of its tile column, so that a walk along the rows breaks at every
 * tile. A block has three nested loops. Tried in this order:
 *
 *   digits    a loop a digit (of joined ones), bit-reversed by LOAD where that makes fewer loops
 *   boxes     the words in their order, cut into pieces of up to two loops
 *   combs     every c-th word, each such comb cut where its steps change
 */
#include "passes/array/stages.h"

#include <stdlib.h>

#include "ir/stages.h"

/* Words from element 0 to element `index` of an operand that begins at a row of tiles. */
static int64_t far_word(const struct bf_map *map, const struct bf_plan *plan,
                        const struct bf_operand *operand, int64_t index) {
    int64_t v = map->machine.lanes;
    if (plan->kernel->lanes == BF_LANES_ROWS)
        return index;
    int64_t width = (int64_t)bf_round_up((uint64_t)operand->buffer->cols, (uint64_t)v);
    return index / v * width + index % v;
}

static const struct bf_layout *layout_of(const struct bf_plan *plan, enum bf_role role) {
    return &plan->layouts.data[role == BF_READ ? 0 : plan->layouts.count - 1];
}

static int64_t element_of(const struct bf_plan *plan, unsigned field, int64_t word,
                          enum bf_role role) {
    int64_t digits[BF_MAX_DIGITS];
    bf_stage_digits(plan, layout_of(plan, role), field, word, digits);
    return bf_stage_element(plan, digits, role);
}

int64_t bf_stages_inside(const struct bf_plan *plan, unsigned field,
                         const struct bf_operand *operand, enum bf_role role) {
    int64_t extent = plan->kernel->lanes == BF_LANES_ROWS ? operand->cols : operand->rows;
    int64_t inside = 0, words = bf_plan_int(plan, "words");
    while (inside < words && element_of(plan, field, inside, role) < extent)
        inside++;
    return inside;
}

/* ---- digits ---- */

struct loop {
    int64_t radix, near, far;
};

/* Joins loops that continue each other; returns how many are left. */
static int join(struct loop *loops, int count) {
    int kept = 0;
    for (int i = 0; i < count; i++) {
        struct loop *before = kept ? &loops[kept - 1] : NULL;
        if (loops[i].radix == 1)
            continue;
        if (before && loops[i].near == before->near * before->radix &&
            loops[i].far == before->far * before->radix)
            before->radix *= loops[i].radix;
        else
            loops[kept++] = loops[i];
    }
    return kept;
}

/* Loops over the local digits, smallest stride first. With `reverse` the radix-2 digits, which have
 * the smallest strides, come in opposite order, as LOAD's bit reversal wants them. */
static int digit_loops(const struct bf_plan *plan, enum bf_role role, bool reverse,
                       struct loop loops[BF_MAX_DIGITS], int *reversed) {
    const struct bf_layout *layout = layout_of(plan, role);
    int count = 0, twos = 0;
    for (size_t i = 0; i < layout->digits.count; i++) {
        const struct bf_layout_digit *at = &layout->digits.data[i];
        if (at->where != BF_AT_LOCAL)
            continue;
        int64_t digits[BF_MAX_DIGITS] = {0};
        int64_t zero = bf_stage_element(plan, digits, role);
        digits[at->digit] = 1;
        struct loop loop = {plan->kernel->digits.data[at->digit].radix, at->position,
                            bf_stage_element(plan, digits, role) - zero};
        int j = count++;
        for (; j > 0 && loops[j - 1].near > loop.near; j--)
            loops[j] = loops[j - 1];
        loops[j] = loop;
    }
    while (twos < count && loops[twos].radix == 2)
        twos++;
    for (int i = 0; reverse && i < twos / 2; i++) {
        int64_t far = loops[i].far;
        loops[i].far = loops[twos - 1 - i].far;
        loops[twos - 1 - i].far = far;
    }
    *reversed = reverse && twos > 1 ? twos : 0;
    return count;
}

static int64_t reversed_low(int64_t x, int bits) {
    int64_t low = 0;
    for (int b = 0; b < bits; b++)
        low |= (x >> b & 1) << (bits - 1 - b);
    return (x >> bits << bits) | low;
}

/* Whether the loops of a piece meet exactly address[word] for all `count` words. */
static bool meets(const struct bf_stages_piece *piece, const int64_t *address, int64_t count) {
    int64_t seen = 0;
    for (int64_t i2 = 0; i2 < piece->trips[2]; i2++)
        for (int64_t i1 = 0; i1 < piece->trips[1]; i1++)
            for (int64_t i0 = 0; i0 < piece->trips[0]; i0++, seen++) {
                const int64_t at[] = {i0, i1, i2};
                int64_t near = 0, far = piece->far;
                for (int l = 0; l < BF_LEVELS; l++) {
                    near += at[l] * piece->near_stride[l];
                    far += at[l] * piece->far_stride[l];
                }
                near = reversed_low(near, piece->reverse);
                if (near >= count || address[near] != far)
                    return false;
            }
    return seen == count;
}

static bool by_digits(const struct bf_map *map, const struct bf_plan *plan,
                      const struct bf_operand *operand, enum bf_role role, bool reverse,
                      const int64_t *address, int64_t count, struct bf_stages_piece *piece) {
    struct loop loops[BF_MAX_DIGITS];
    int reversed, digits = digit_loops(plan, role, reverse, loops, &reversed);
    for (int i = 0; i < digits; i++)
        loops[i].far = far_word(map, plan, operand, loops[i].far);
    digits = join(loops, digits);
    if (digits > BF_LEVELS)
        return false;
    *piece = (struct bf_stages_piece){
        .far = address[0], .levels = digits, .trips = {1, 1, 1}, .reverse = (uint8_t)reversed};
    for (int l = 0; l < digits; l++) {
        piece->trips[l] = loops[l].radix;
        piece->near_stride[l] = loops[l].near;
        piece->far_stride[l] = loops[l].far;
    }
    return meets(piece, address, count);
}

/* ---- boxes and combs ---- */

/* Steps of equal length from `at` on, every `every`-th word. */
static int64_t run_length(const int64_t *address, int64_t count, int64_t at, int64_t every) {
    int64_t n = 1;
    while (at + n * every < count &&
           (n == 1 || address[at + n * every] - address[at + (n - 1) * every] ==
                          address[at + every] - address[at]))
        n++;
    return n;
}

/* How many runs of `length` words, each like the first, follow each other with equal steps. */
static int64_t equal_runs(const int64_t *address, int64_t count, int64_t at, int64_t length) {
    int64_t runs = 1, step = at + length < count ? address[at + length] - address[at] : 0;
    for (; at + (runs + 1) * length <= count; runs++)
        for (int64_t i = 0; i < length; i++)
            if (address[at + runs * length + i] != address[at + i] + runs * step)
                return runs;
    return runs;
}

/* The piece of `runs` runs of `length` words from `at` on. */
static struct bf_stages_piece box(const int64_t *address, int64_t at, int64_t length,
                                  int64_t runs) {
    return (struct bf_stages_piece){
        .word = at,
        .far = address[at],
        .levels = 2,
        .trips = {length, runs, 1},
        .near_stride = {1, length, 0},
        .far_stride = {length > 1 ? address[at + 1] - address[at] : 0,
                       runs > 1 ? address[at + length] - address[at] : 0, 0}};
}

/* The fewest boxes from a word to the end, and the first of them. */
struct cover {
    int boxes;
    int64_t length, runs;
};

static void cover_from(const int64_t *address, int64_t count, int64_t at, struct cover *covers) {
    struct cover *best = &covers[at];
    int64_t longest = run_length(address, count, at, 1);
    *best = (struct cover){1, longest, 1};
    if (at + longest == count)
        return;
    best->boxes = INT32_MAX;
    for (int64_t length = 1; length <= longest; length++) {
        const int64_t runs[] = {equal_runs(address, count, at, length), 1};
        for (int i = 0; i < 2; i++) {
            int boxes = 1 + covers[at + length * runs[i]].boxes;
            if (boxes < best->boxes)
                *best = (struct cover){boxes, length, runs[i]};
        }
    }
}

static int by_boxes(const int64_t *address, int64_t count, struct bf_stages_piece *pieces,
                    int most) {
    struct cover *covers = bf_alloc((size_t)(count + 1) * sizeof *covers);
    for (int64_t at = count - 1; at >= 0; at--)
        cover_from(address, count, at, covers);
    int used = covers[0].boxes <= most ? 0 : -1;
    for (int64_t at = 0; at < count && used >= 0;) {
        pieces[used++] = box(address, at, covers[at].length, covers[at].runs);
        at += covers[at].length * covers[at].runs;
    }
    free(covers);
    return used;
}

static int by_combs(const int64_t *address, int64_t count, int64_t every,
                    struct bf_stages_piece *pieces, int most) {
    int used = 0;
    for (int64_t first = 0; first < every; first++) {
        for (int64_t at = first; at < count;) {
            int64_t n = run_length(address, count, at, every);
            if (used == most)
                return -1;
            pieces[used++] = (struct bf_stages_piece){
                .word = at,
                .far = address[at],
                .levels = 1,
                .trips = {n, 1, 1},
                .near_stride = {every, 0, 0},
                .far_stride = {n > 1 ? address[at + every] - address[at] : 0, 0, 0}};
            at += n * every;
        }
    }
    return used;
}

int bf_stages_pieces(const struct bf_map *map, const struct bf_plan *plan, unsigned field,
                     const struct bf_operand *operand, enum bf_role role,
                     struct bf_stages_piece *pieces, int most) {
    int64_t count = bf_stages_inside(plan, field, operand, role);
    if (!count)
        return 0;
    int64_t *address = bf_alloc((size_t)count * sizeof *address);
    for (int64_t w = 0; w < count; w++)
        address[w] = far_word(map, plan, operand, element_of(plan, field, w, role));
    int used = 1;
    bool found =
        by_digits(map, plan, operand, role, false, address, count, pieces) ||
        (role == BF_READ && by_digits(map, plan, operand, role, true, address, count, pieces));
    if (!found)
        used = by_boxes(address, count, pieces, most);
    for (int64_t every = 2; used < 0 && every <= most; every++)
        used = by_combs(address, count, every, pieces, most);
    free(address);
    return used;
}
