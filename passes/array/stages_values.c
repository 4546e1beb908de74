/* stages_values.c - the other half of the value check of butterflies and FFTs: not only which words
 * a result is computed from (stages_verify.c proves that in isl), but with which weights, and that
 * LOAD and STORE connect every word with the scratchpad word of its element.
 *
 * Both walk through the emitted instructions of one iteration. A block is computed symbolically: a
 * value is a sum of terms weight x word, so that the k-th butterfly of a radix-2 stage must leave
 *
 *     y_i = l[b] x_i + l[b + 2] x_j        b: first lane of the k-th butterfly; the order of lanes
 *     y_j = l[b + 1] x_i + l[b + 3] x_j       is that of ir/stages.h
 *
 * and in a scaled stage u_i = x_i + l[b] x_j, u_j = x_j + l[b + 1] x_i, where the swap bit
 * exchanges the two operands, whose addresses differ in the bit of the stage alone.
 */
#include <stdlib.h>

#include "ir/scaled.h"
#include "ir/stages.h"
#include "passes/array/stages.h"
#include "passes/array/tiles.h"

enum { NO_LANE = -1, NO_WORD = -1, MOST_TERMS = 80 };

struct values {
    const struct bf_map *map;
    const struct bf_plan *plan;
    const struct bf_kernel *code;
    struct bf_diags *diags;
    int64_t words, planes;
};

/* ---- sums ---- */

struct term {
    int64_t word; /* of the data RAM, NO_WORD: a bias */
    int64_t lane; /* of the weight RAM, NO_LANE: 1 */
    int factor;
};
struct sum {
    struct term terms[MOST_TERMS];
    int count;
};

static void add_term(struct sum *sum, int64_t word, int64_t lane, int factor) {
    for (int i = 0; i < sum->count; i++) {
        struct term *term = &sum->terms[i];
        if (term->word != word || term->lane != lane)
            continue;
        term->factor += factor;
        if (!term->factor)
            *term = sum->terms[--sum->count];
        return;
    }
    if (sum->count < MOST_TERMS)
        sum->terms[sum->count++] = (struct term){word, lane, factor};
}

static void add_sum(struct sum *sum, const struct sum *more, int factor) {
    for (int i = 0; i < more->count; i++)
        add_term(sum, more->terms[i].word, more->terms[i].lane, factor * more->terms[i].factor);
}

static bool same_sum(const struct sum *a, const struct sum *b) {
    struct sum difference = *a;
    add_sum(&difference, b, -1);
    return difference.count == 0;
}

static void print_sum(const struct sum *sum, struct bf_text *text) {
    for (int i = 0; i < sum->count; i++) {
        const struct term *t = &sum->terms[i];
        bf_text_add(text, t->factor < 0 ? (i ? " - " : "-") : i ? " + " : "");
        if (abs(t->factor) != 1)
            bf_text_printf(text, "%d ", abs(t->factor));
        if (t->lane != NO_LANE)
            bf_text_printf(text, "l%lld%s", (long long)t->lane, t->word != NO_WORD ? " " : "");
        if (t->word != NO_WORD)
            bf_text_printf(text, "r%lld", (long long)t->word);
    }
    bf_text_add(text, sum->count ? "" : "nothing");
}

/* ---- messages ---- */

void bf_stages_add_element(const struct bf_plan *plan, const struct bf_layout *layout, unsigned pe,
                           int64_t word, struct bf_text *text) {
    const struct bf_poly_kernel *kernel = plan->kernel;
    int64_t digits[BF_MAX_DIGITS];
    bf_stage_digits(plan, layout, pe, word, digits);
    bf_text_printf(text, "element %lld (", (long long)bf_stage_index(kernel, digits, BF_READ));
    const char *blank = "";
    for (size_t d = 0; d < kernel->digits.count; d++) {
        if (kernel->digits.data[d].name[0] != 'd')
            continue;
        bf_text_printf(text, "%s%s=%lld", blank, kernel->digits.data[d].name, (long long)digits[d]);
        blank = " ";
    }
    bf_text_printf(text, "), word %lld of PE %u", (long long)word, pe);
}

static bool wrong(const struct values *v, struct bf_text *what) {
    bf_diag_error(v->diags, v->plan->kernel->loc, "value check of %s (%s): %s", v->plan->name,
                  v->plan->kernel->what, what->data);
    bf_text_free(what);
    return false;
}

/* ---- what a block computes ---- */

/* Offsets of the four address classes, stepped through the loops of a block. */
struct walk {
    unsigned counter[BF_LEVELS];
    int64_t offset[BF_CLASSES];
};

static bool step(struct walk *walk, const struct bf_descriptor *d) {
    for (int l = 0; l < BF_LEVELS; l++) {
        if (++walk->counter[l] < d->trips[l]) {
            for (int c = 0; c < BF_CLASSES; c++)
                walk->offset[c] += d->cal.delta[c][l];
            return true;
        }
        walk->counter[l] = 0;
    }
    return false;
}

/* Only what bodies of stages are made of: FMA of a word with a lane or a constant. */
static bool product(const struct bf_cal *cal, const struct walk *walk, struct sum *value) {
    int sign = cal->negate_product ? -1 : 1;
    if (cal->op != BF_CAL_FMA || cal->a_class == BF_CLASS_SPECIAL)
        return false;
    int64_t word = (cal->a + walk->offset[cal->a_class]) & 1023;
    if (cal->b_kind == BF_B_LANE)
        add_term(value, word, (cal->b + walk->offset[cal->b_class]) & 2047, sign);
    else if (cal->b_kind == BF_B_CONST && (cal->b == BF_B_ONE || cal->b == BF_B_TWO))
        add_term(value, word, NO_LANE, cal->b == BF_B_TWO ? 2 * sign : sign);
    else
        return false;
    return true;
}

static bool addend(const struct bf_cal *cal, const struct walk *walk, const struct sum accs[16],
                   struct sum *value) {
    int sign = cal->negate_addend ? -1 : 1;
    if (cal->c_class != BF_CLASS_SPECIAL) {
        add_term(value, (cal->c + walk->offset[cal->c_class]) & 1023, NO_LANE, sign);
        return true;
    }
    switch (cal->c >> 8) {
    case BF_C_ACC:
        add_sum(value, &accs[cal->c & 15], sign);
        return true;
    case BF_C_ZERO:
        return true;
    case BF_C_LANE:
        add_term(value, NO_WORD, ((cal->b + walk->offset[cal->b_class]) & 2047) + (cal->c & 31),
                 sign);
        return true;
    default:
        return false;
    }
}

/* One instruction; what is wrong with it, or NULL. Words of `ram` that were written have terms. */
static const char *execute(const struct bf_cal *cal, const struct walk *walk, struct sum accs[16],
                           struct sum *ram) {
    struct sum value = {.count = 0};
    if (!product(cal, walk, &value) || !addend(cal, walk, accs, &value))
        return "does what no stage does";
    bool stale = ram[(cal->a + walk->offset[cal->a_class]) & 1023].count > 0;
    if (cal->c_class != BF_CLASS_SPECIAL)
        stale |= ram[(cal->c + walk->offset[cal->c_class]) & 1023].count > 0;
    if (stale)
        return "reads a word that it has overwritten";
    if (cal->dst & BF_DST_ACC)
        accs[cal->acc] = value;
    if (cal->dst & BF_DST_RAM) {
        struct sum *word = &ram[(cal->d + walk->offset[cal->d_class]) & 1023];
        if (word->count)
            return "writes a word twice";
        *word = value;
    }
    return NULL;
}

/* What each word of the RAM holds after the block. */
static const char *compute(const struct values *v, const struct bf_block *block, struct sum *ram) {
    struct sum *accs = bf_alloc(16 * sizeof *accs);
    struct walk walk = {{0}, {0}};
    const uint64_t *words = v->code->segments[0].words + block->d.cal.start;
    const char *wrong = NULL;
    do {
        for (unsigned i = 0; i < block->d.cal.length && !wrong; i++) {
            struct bf_cal cal;
            struct bf_error error = {0};
            wrong = bf_cal_decode(words[i], &cal, &error) ? execute(&cal, &walk, accs, ram)
                                                          : "holds what is no instruction";
        }
    } while (!wrong && step(&walk, &block->d));
    free(accs);
    return wrong;
}

/* ---- what it should compute ---- */

/* A stage, and one butterfly of it: the word of its operand 0. */
struct stage {
    const struct values *v;
    int stmt, acted;
    struct bf_stage_order order;
    const struct bf_layout *before, *behind; /* layouts of what it reads and writes */
    int64_t from, to;
};

/* Which weights the butterfly has among those of the stage. */
static int64_t weights_of(const struct stage *s, int64_t word) {
    const struct bf_stage_order *o = &s->order;
    const struct bf_stage_loop *in = &o->inner, *out = &o->outer;
    int64_t i = in->trips > 1 ? word / in->from % in->trips : 0;
    int64_t h = out->trips > 1 ? word / out->from % out->trips : 0;
    int64_t wide = in->weighted ? o->low : 1, bodies = in->weighted ? o->trips_low : 1;
    int64_t body = (out->weighted ? h / o->high * bodies : 0) + (in->weighted ? i / o->low : 0);
    int64_t inside = (out->weighted ? h % o->high * wide : 0) + (in->weighted ? i % o->low : 0);
    return body * bf_stage_body_weights(o) + inside;
}

/* Whether the weights that were packed for a butterfly at `packed` are those of the one at `word`:
 * its own, or the root of unity of the same frequency. */
static bool same_weights(const struct stage *s, int64_t packed, int64_t word) {
    const struct bf_poly_kernel *kernel = s->v->plan->kernel;
    int64_t a[BF_MAX_DIGITS], b[BF_MAX_DIGITS];
    if (s->order.trivial)
        return true;
    if (packed == word || s->acted < 0 || kernel->kind == BF_KERNEL_BUTTERFLY)
        return packed == word;
    bf_stage_digits(s->v->plan, s->before, 0, packed, a);
    bf_stage_digits(s->v->plan, s->before, 0, word, b);
    for (int d = s->acted + 1; d < (int)kernel->digits.count; d++)
        if (kernel->digits.data[d].out_weight < kernel->digits.data[s->acted].out_weight &&
            a[d] != b[d])
            return false;
    return true;
}

/* First lane of the weights of result e. */
static int64_t lane_of(const struct stage *s, int64_t k, int64_t e) {
    int64_t each = bf_stage_lanes(s->v->plan, s->stmt), r = s->order.radix;
    int64_t lane = bf_stage_lane_base(s->v->plan, s->stmt);
    if (r <= 2)
        return lane + k * each;
    int64_t body = bf_stage_body_weights(&s->order), one = 2 * (r - 1);
    return lane + k / body * body * each + (e * body + k % body) * one;
}

/* Result e (plane p) of the butterfly at `word`. */
static void wanted(const struct stage *s, int64_t word, int64_t e, int64_t p, struct sum *sum) {
    int64_t r = s->order.radix, stride = s->order.from_stride, words = s->v->words;
    int64_t lane = lane_of(s, weights_of(s, word), e), x = s->from + word, other = (1 - p) * words;
    sum->count = 0;
    if (bf_scaled_form(s->v->plan->kernel, s->stmt) == BF_FORM_SCALED) {
        add_term(sum, x + e * stride, NO_LANE, 1);
        add_term(sum, x + (1 - e) * stride, lane + e, 1);
        return;
    }
    if (s->v->plan->kernel->kind == BF_KERNEL_BUTTERFLY) {
        bool bias = bf_stage_has_bias(s->v->plan, s->stmt);
        add_term(sum, x, lane + (bias ? 2 * e : e), 1);
        add_term(sum, x + stride, lane + (bias ? 4 : 2) + e, 1);
        if (bias)
            add_term(sum, NO_WORD, lane + 2 * e + 1, 1);
        return;
    }
    if (s->acted < 0) {
        add_term(sum, x + p * words, lane, 1);
        add_term(sum, x + other, lane + 1, p ? 1 : -1);
        return;
    }
    add_term(sum, x + p * words, NO_LANE, 1);
    if (s->order.trivial) {
        bool turned = s->order.quarter && word / s->order.quarter % 2;
        bool inverse = bf_ints_get(&s->v->plan->kernel->attrs, "inverse");
        int sign = turned && (p == 1) != inverse ? -1 : 1;
        add_term(sum, x + stride + (turned ? other : p * words), NO_LANE, e ? -sign : sign);
        return;
    }
    int sign = r == 2 && e ? -1 : 1;
    for (int64_t j = 1; j < r; j++, lane += 2) {
        add_term(sum, x + j * stride + p * words, lane, sign);
        add_term(sum, x + j * stride + other, lane + 1, p ? sign : -sign);
    }
}

/* Word of result e in the layout of results. */
static int64_t result_word(const struct stage *s, int64_t word, int64_t e) {
    int64_t digits[BF_MAX_DIGITS], result = 0;
    bf_stage_digits(s->v->plan, s->before, 0, word, digits);
    if (s->acted >= 0)
        digits[s->acted] = e;
    for (size_t i = 0; i < s->behind->digits.count; i++) {
        const struct bf_layout_digit *at = &s->behind->digits.data[i];
        if (at->where == BF_AT_LOCAL)
            result += digits[at->digit] * at->position;
    }
    return result;
}

static bool check_butterfly(const struct stage *s, const struct bf_block *block, int64_t word,
                            int64_t planes, const struct sum *ram) {
    struct bf_text text = {0};
    int64_t k = weights_of(s, word);
    if (!same_weights(s, bf_stage_weight_word(&s->order, k), word)) {
        bf_text_printf(&text, "stage \"%s\" has the weights of another butterfly packed for ",
                       block->name);
        bf_stages_add_element(s->v->plan, s->before, 0, word, &text);
        return wrong(s->v, &text);
    }
    for (int64_t i = 0; i < s->order.radix * planes; i++) {
        int64_t e = i % s->order.radix, p = i / s->order.radix, to = result_word(s, word, e);
        const struct sum *got = &ram[(s->to + to + p * s->v->words) & 1023];
        struct sum want;
        wanted(s, word, e, p, &want);
        if (same_sum(got, &want))
            continue;
        bf_text_printf(&text, "block \"%s\" leaves in ", block->name);
        bf_stages_add_element(s->v->plan, s->behind, 0, to, &text);
        bf_text_add(&text, p ? ", imaginary part: " : ": ");
        print_sum(got, &text);
        bf_text_add(&text, "; it should be ");
        print_sum(&want, &text);
        return wrong(s->v, &text);
    }
    return true;
}

/* The bit of a RAM address that a scaled stage swaps by must be that of its digit wherever the
 * context of an iteration begins. */
static const char *check_swap(const struct stage *s, const struct bf_block *block) {
    const struct bf_plan *plan = s->v->plan;
    int64_t stride = s->order.from_stride;
    if (bf_scaled_form(plan->kernel, s->stmt) != BF_FORM_SCALED)
        return block->d.cal.swap ? "swaps words" : NULL;
    if (block->d.cal.swap != bf_log2_floor((uint64_t)stride) + 1 || stride & (stride - 1) ||
        s->from % (2 * stride) || plan->context_base % (2 * stride) ||
        plan->context_size % (2 * stride))
        return "swaps the wrong words";
    return NULL;
}

static bool check_stage(const struct values *v, const struct bf_block_note *note,
                        const struct bf_block *block, struct sum *ram) {
    const struct bf_poly_kernel *kernel = v->plan->kernel;
    struct stage s = {.v = v,
                      .stmt = note->stmt,
                      .acted = kernel->stmts.data[note->stmt].digit,
                      .before = bf_stage_layout(v->plan, note->stmt),
                      .behind = bf_stage_result_layout(v->plan, note->stmt),
                      .from = bf_plan_region(v->plan, note->from)->base,
                      .to = bf_plan_region(v->plan, note->to)->base};
    struct bf_text text = {0};
    const char *odd = bf_stage_order(v->plan, note->stmt, &s.order)
                          ? check_swap(&s, block)
                          : "runs a stage of more than two loops";
    if (!odd)
        odd = compute(v, block, ram);
    if (!odd && block->d.cal.exponent != -kernel->stmts.data[note->stmt].shift)
        odd = "does not shift its results as the stage does";
    if (odd) {
        bf_text_printf(&text, "block \"%s\" %s", block->name, odd);
        return wrong(v, &text);
    }
    bool last = note->stmt == (int)kernel->stmts.count - 2;
    int64_t planes = last ? (int64_t)kernel->outputs.count : v->planes;
    for (int64_t word = 0; word < v->words; word++)
        if (word / s.order.from_stride % s.order.radix == 0 &&
            !check_butterfly(&s, block, word, planes, ram))
            return false;
    return true;
}

/* ---- LOAD and STORE ---- */

/* The words of a PE that a plane's blocks have met so far. */
struct side {
    const struct values *v;
    const struct bf_layout *layout;
    const struct bf_region *region;
    struct bf_tiles tiles;
    enum bf_role role; /* READ: loads */
    unsigned pe, field;
    int64_t group;
    unsigned *met; /* [planes x words] */
};

/* Scratchpad word of the element in a word; -1: outside of the operand, where zeros are read. */
static int64_t element_address(const struct side *s, int64_t plane, int64_t word) {
    const struct bf_plan *plan = s->v->plan;
    const struct bf_poly_kernel *kernel = plan->kernel;
    bool load = s->role == BF_READ, rows = kernel->lanes == BF_LANES_ROWS;
    if ((size_t)plane >= (load ? plan->inputs.count : plan->outputs.count))
        return -1;
    const struct bf_operand *operand =
        load ? &plan->inputs.data[plane] : &plan->outputs.data[plane];
    int64_t digits[BF_MAX_DIGITS];
    bf_stage_digits(plan, s->layout, s->field, word, digits);
    int64_t index = bf_stage_element(plan, digits, s->role);
    if (index >= (rows ? operand->cols : operand->rows))
        return -1;
    struct bf_tile_stride stride = bf_stages_tile_stride(s->v->map, plan, operand);
    int64_t tile = bf_tile_offset(&s->tiles, stride, s->group);
    return tile + (rows ? bf_map_column_word(s->v->map, operand, 0, 0, index)
                        : bf_map_row_word(s->v->map, operand, 0, index, 0));
}

static uint32_t reversed_low(uint32_t x, unsigned bits) {
    uint32_t low = 0;
    for (unsigned b = 0; b < bits; b++)
        low |= (x >> b & 1) << (bits - 1 - b);
    return (x >> bits << bits) | low;
}

static bool misses(const struct side *s, const struct bf_block *block, int64_t plane, int64_t word,
                   int64_t address, int64_t right) {
    struct bf_text text = {0};
    bf_text_printf(&text, "block \"%s\" %s scratchpad word %lld for ", block->name,
                   s->role == BF_READ ? "reads" : "writes", (long long)address);
    bf_stages_add_element(s->v->plan, s->layout, s->field, word, &text);
    bf_text_add(&text, plane ? ", imaginary part" : "");
    if (right < 0)
        bf_text_add(&text, ", which lies outside of the operand");
    else
        bf_text_printf(&text, ", which lies in word %lld", (long long)right);
    return wrong(s->v, &text);
}

static bool check_moved(struct side *s, const struct bf_block *block, int64_t ram,
                        int64_t address) {
    int64_t at = ram - s->region->base, words = s->v->words;
    if (at < 0 || at >= words * s->v->planes || s->met[at]++) {
        struct bf_text text = {0};
        bf_text_printf(&text,
                       "block \"%s\" moves word %lld of PE %u, which is none of '%s' or "
                       "moved twice",
                       block->name, (long long)ram, s->pe, s->region->name);
        return wrong(s->v, &text);
    }
    int64_t right = element_address(s, at / words, at % words), zeros = s->v->map->zero_spm;
    bool zero = right < 0 && s->role == BF_READ && address >= zeros &&
                address < zeros + s->v->map->machine.lanes;
    return address == right || zero || misses(s, block, at / words, at % words, address, right);
}

static bool check_block(struct side *s, const struct bf_block *block) {
    const struct bf_descriptor *d = &block->d;
    const struct bf_launch *launch = &s->v->map->program->launches[s->v->plan->launch];
    int64_t ram = 0, spm = 0;
    unsigned counter[BF_LEVELS] = {0};
    bool more = true;
    while (more) {
        uint32_t offset = (uint32_t)ram & 1023;
        if (s->role == BF_READ)
            offset = reversed_low(offset, d->mem.reverse);
        if (!check_moved(s, block, (d->mem.ram + offset) & 1023,
                         (launch->base[d->mem.base] + d->mem.spm + spm) & 0x3ffff))
            return false;
        more = false;
        for (int l = 0; l < BF_LEVELS && !more; l++) {
            more = ++counter[l] < d->trips[l];
            if (more) {
                ram += d->mem.ram_delta[l];
                spm += d->mem.spm_delta[l];
            } else {
                counter[l] = 0;
            }
        }
    }
    return true;
}

/* Every word comes from, or goes to, where its element lies. */
static bool check_side(struct side *s) {
    int64_t words = s->v->words, planes = s->v->planes;
    enum bf_unit unit = s->role == BF_READ ? BF_UNIT_LOAD : BF_UNIT_STORE;
    s->met = bf_alloc((size_t)(words * planes) * sizeof *s->met);
    bool ok = true;
    for (size_t i = 0; i < s->v->code->block_count && ok; i++) {
        const struct bf_block *block = &s->v->code->blocks[i];
        bool moves = block->d.unit == unit && !block->d.mem.weights && block->pes >> s->pe & 1;
        ok = !moves || check_block(s, block);
    }
    for (int64_t w = 0; w < words * planes && ok; w++) {
        bool must = s->role == BF_READ || element_address(s, w / words, w % words) >= 0;
        if (!must || s->met[w])
            continue;
        struct bf_text text = {0};
        bf_text_printf(&text, "nothing %s ", s->role == BF_READ ? "loads" : "stores");
        bf_stages_add_element(s->v->plan, s->layout, s->field, w % words, &text);
        ok = wrong(s->v, &text);
    }
    free(s->met);
    return ok;
}

static bool check_memory(const struct values *v, const struct bf_block_note *store) {
    const struct bf_plan *plan = v->plan;
    struct bf_tiles tiles = bf_tiles_load(plan);
    int64_t g = bf_plan_int(plan, "pe_bits");
    bool ok = true;
    for (unsigned pe = 0; pe < bf_machine_pes(&v->map->machine) && ok; pe++) {
        if (!bf_tiles_present(&tiles, pe >> g) || !bf_stages_present(plan, pe & ((1u << g) - 1)))
            continue;
        struct side side = {.v = v,
                            .layout = &plan->layouts.data[0],
                            .region = &plan->regions.data[0],
                            .tiles = tiles,
                            .role = BF_READ,
                            .pe = pe,
                            .field = pe & ((1u << g) - 1),
                            .group = pe >> g};
        ok = check_side(&side);
        side.role = BF_WRITE;
        side.layout = &plan->layouts.data[plan->layouts.count - 1];
        side.region = bf_plan_region(plan, store->from);
        ok = ok && check_side(&side);
    }
    return ok;
}

/* ---- the weights of a PE ---- */

/* Whether word w of the weight RAM gets word w of the PE's part of the weight area. */
static bool loads_weights(const struct values *v, unsigned pe, const struct bf_descriptor *d) {
    const struct bf_launch *launch = &v->map->program->launches[v->plan->launch];
    const struct bf_recipe *recipe = &v->map->recipes.data[v->plan->recipe];
    int64_t field = pe & ((1u << bf_plan_int(v->plan, "pe_bits")) - 1);
    int64_t area = v->plan->weight_spm + (recipe->pes > 1 ? field * recipe->words : 0);
    int64_t at = (int64_t)launch->base[d->mem.base] + d->mem.spm;
    bool ok = d->mem.row && !d->mem.relative && !d->mem.reverse && at - area == d->mem.ram;
    for (int level = 0; level < BF_LEVELS && ok; level++)
        ok = (d->trips[level] == 1 || d->mem.spm_delta[level] == d->mem.ram_delta[level]) &&
             (level < launch->group_level || launch->trips[level] == 1 ||
              d->mem.iteration_delta[level] == 0);
    return ok;
}

static bool check_weights(const struct values *v) {
    for (size_t b = 0; b < v->code->block_count; b++) {
        const struct bf_block *block = &v->code->blocks[b];
        if (block->d.unit != BF_UNIT_LOAD || !block->d.mem.weights)
            continue;
        for (unsigned pe = 0; pe < bf_machine_pes(&v->map->machine); pe++)
            if ((block->pes >> pe & 1) &&
                (v->plan->recipe < 0 || !loads_weights(v, pe, &block->d))) {
                struct bf_text text = {0};
                bf_text_printf(&text, "block %u of PE %u loads other words than its weights",
                               block->id, pe);
                return wrong(v, &text);
            }
    }
    return true;
}

/* ---- a plan ---- */

bool bf_stages_check_memory(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    struct values v = {map,
                       plan,
                       &map->program->kernels[plan->code],
                       diags,
                       bf_plan_int(plan, "words"),
                       bf_plan_int(plan, "planes")};
    if (!check_weights(&v))
        return false;
    for (size_t i = 0; i < plan->notes.count; i++)
        if (plan->notes.data[i].id == BF_FIRST_STORE)
            return check_memory(&v, &plan->notes.data[i]);
    struct bf_text text = {0};
    bf_text_add(&text, "nothing stores its results");
    return wrong(&v, &text);
}

bool bf_stages_check_products(struct bf_map *map, struct bf_plan *plan,
                              const struct bf_block_note *note, const struct bf_block *block,
                              struct bf_diags *diags) {
    struct values v = {map,
                       plan,
                       &map->program->kernels[plan->code],
                       diags,
                       bf_plan_int(plan, "words"),
                       bf_plan_int(plan, "planes")};
    struct sum *ram = bf_alloc(1024 * sizeof *ram);
    bool ok = check_stage(&v, note, block, ram);
    free(ram);
    return ok;
}
