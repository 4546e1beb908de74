/* rows_values.c - the value check of row kernels: the emitted words are run on drawn numbers, in
 * the array's arithmetic, and what is stored is compared with the kernel's steps in double.
 *
 * One lane of the first and of the last tile of every PE is computed; an exchanged word, a wrong
 * constant or stride gives another number. Where results go is followed for all tiles: every word
 * of every output is stored once. Exactness is not the subject here: numbers may differ by a few
 * percent.
 */
#include "passes/array/rows_values.h"

#include <math.h>
#include <stdlib.h>

#include "ir/isa/fp.h"
#include "ir/recipe.h"

/* ---- drawn numbers ---- */

/* Stored element of a buffer: of either sign, 1/4 to 8; 0 or 1 in masks. */
static double drawn(const struct bf_buffer *buffer, int64_t row, int64_t column) {
    uint64_t seed = (uint64_t)buffer->index << 48 ^ (uint64_t)row << 24 ^ (uint64_t)column;
    bf_random(&seed);
    uint64_t bits = bf_random(&seed) >> 20;
    if (buffer->dtype == BF_U8)
        return bits % 4 > 0;
    return bf_half_to_double((bf_half)(0x3400 + bits % 0x1400 + (bits >> 20 & 1) * 0x8000));
}

static struct bf_weights *draw_weights(const struct bf_poly_kernel *kernel) {
    struct bf_weights *weights = bf_weights_create("value check");
    uint64_t seed = 1;
    for (size_t p = 0; p < kernel->params.count; p++) {
        const struct bf_param *param = kernel->params.data[p].view.param;
        struct bf_error error = {0};
        if (bf_weights_find(weights, param->name))
            continue;
        int64_t count = bf_type_elements(&param->type);
        uint16_t *data = bf_arena_alloc(&weights->arena, (size_t)count * sizeof *data);
        for (int64_t e = 0; e < count; e++)
            data[e] = (uint16_t)(0x3400 + (bf_random(&seed) >> 40) % 0xc00);
        bf_weights_add(weights, param->name, BF_WEIGHT_F16, param->type.rank, param->type.dims,
                       data, &error);
    }
    return weights;
}

/* ---- what the steps say ---- */

/* `size` is what the value would be if nothing cancelled: rounding errors are small beside it. */
struct number {
    double value, size;
};

struct oracle {
    const struct bf_map *map;
    const struct bf_rows_shape *shape;
    const struct bf_weights *weights;
    int64_t sample, row, column; /* position now; along the worked axis it moves */
    int64_t head;                /* of a rope; `column` is the pair in it */
    struct number results[BF_ROWS_STEPS];
    int64_t known_sample, known_across; /* whose results these are */
};

static double input_element(const struct oracle *o, int index) {
    const struct bf_operand *operand = &o->shape->kernel->inputs.data[index];
    const struct bf_place_of_buffer *place = &o->map->places[operand->buffer->index];
    bool mask = bf_ints_find(&o->shape->kernel->attrs, "mask", -1) == index;
    int64_t row = mask ? 0 : o->row, column = mask ? o->row : o->column;
    int64_t sample = operand->buffer->samples > 1 ? o->sample : 0;
    row = operand->rows > 1 ? row : 0;
    column = operand->cols > 1 ? column : 0;
    column = column * o->shape->step + o->head * bf_rows_head_stride(o->shape, operand);
    return drawn(operand->buffer, sample * place->pitch + operand->row + row,
                 operand->col + column);
}

static double param_element(const struct oracle *o, int index) {
    const struct bf_param_view *view = &o->shape->kernel->params.data[index].view;
    int64_t at[BF_MAX_RANK] = {0};
    if (view->extent[view->rank - 1] > 1)
        at[view->rank - 1] = o->column;
    return bf_view_read(bf_weights_find(o->weights, view->param->name), view, at);
}

/* A function of a: an error of a comes through as it is, or shrinks. */
static struct number function_of(struct number a, double value) {
    return (struct number){value, fabs(value) + a.size - fabs(a.value)};
}

static struct number evaluate_function(enum bf_expr_kind kind, struct number x) {
    double a = x.value;
    switch (kind) {
    case BF_EXPR_EXP2:
        return (struct number){exp2(a), exp2(a) * (1 + x.size)};
    case BF_EXPR_RCP:
        return (struct number){1 / a, x.size / (a * a)};
    case BF_EXPR_RSQRT:
        return (struct number){1 / sqrt(a), x.size / (a * sqrt(a))};
    case BF_EXPR_ABS:
        return function_of(x, fabs(a));
    case BF_EXPR_NEG:
        return function_of(x, -a);
    case BF_EXPR_GELU:
        return function_of(x, 0.5 * a * erfc(-a * 0.70710678118654752440));
    case BF_EXPR_GELU_TANH:
        return function_of(x, 0.5 * a *
                                  (1 + tanh(0.79788456080286535588 * (a + 0.044715 * a * a * a))));
    case BF_EXPR_RELU:
        return function_of(x, fmax(a, 0));
    case BF_EXPR_SILU:
        return function_of(x, a / (1 + exp(-a)));
    case BF_EXPR_TANH:
        return function_of(x, tanh(a));
    case BF_EXPR_SIGMOID:
        return function_of(x, 1 / (1 + exp(-a)));
    default:
        return x;
    }
}

static struct number exact(double value) {
    return (struct number){value, fabs(value)};
}

static struct number evaluate(const struct oracle *o, const struct bf_expr *e) {
    struct number a = e->a ? evaluate(o, e->a) : exact(0), b = e->b ? evaluate(o, e->b) : exact(0);
    switch (e->kind) {
    case BF_EXPR_ARG:
        return exact(input_element(o, e->index));
    case BF_EXPR_PARAM:
        return exact(param_element(o, e->index));
    case BF_EXPR_ROW:
        return o->results[e->index];
    case BF_EXPR_CONST:
        return exact(e->value);
    case BF_EXPR_ADD:
        return (struct number){a.value + b.value, a.size + b.size};
    case BF_EXPR_SUB:
        return (struct number){a.value - b.value, a.size + b.size};
    case BF_EXPR_MUL:
        return (struct number){a.value * b.value, a.size * b.size};
    case BF_EXPR_SHIFT:
        return (struct number){ldexp(a.value, e->index), ldexp(a.size, e->index)};
    case BF_EXPR_MAX:
        return (struct number){fmax(a.value, b.value), fmax(a.size, b.size)};
    case BF_EXPR_SELECT:
        return a.value >= 0 ? b : evaluate(o, e->c);
    default:
        return evaluate_function(e->kind, a);
    }
}

/* Reductions and row scalars of the row (column) of the position. */
static void evaluate_rows(struct oracle *o) {
    const struct bf_poly_kernel *kernel = o->shape->kernel;
    int64_t *along = o->shape->columns ? &o->row : &o->column, kept = *along;
    int64_t across = o->shape->columns ? o->column : o->row;
    if (o->known_sample == o->sample && o->known_across == across)
        return;
    for (size_t s = 0; s < kernel->steps.count; s++) {
        const struct bf_step *step = &kernel->steps.data[s];
        bool max = step->kind == BF_STEP_MAX;
        if (step->kind == BF_STEP_ROW || step->kind == BF_STEP_ROWMAP)
            o->results[s] = evaluate(o, step->expr);
        if (step->kind != BF_STEP_SUM && !max)
            continue;
        struct number all = {max ? -INFINITY : 0, 0};
        for (*along = 0; *along < o->shape->n; ++*along) {
            struct number term = evaluate(o, step->expr);
            all.value = max ? fmax(all.value, term.value) : all.value + term.value;
            all.size = max ? fmax(all.size, term.size) : all.size + term.size;
        }
        o->results[s] = all;
        *along = kept;
    }
    o->known_sample = o->sample;
    o->known_across = across;
}

/* ---- the machine: one lane of every PE ---- */

struct pe {
    bf_half *ram, *weights; /* one lane; whole words */
    float accs[16];
    int64_t moved[BF_BLOCKS]; /* iteration registers */
};

struct machine {
    struct bf_map *map;
    const struct bf_plan *plan;
    const struct bf_kernel *code;
    const struct bf_launch *launch;
    struct bf_diags *diags;
    struct oracle oracle;
    const uint16_t *recipe; /* words of the plan's weight area */
    struct pe *pes;
    uint32_t *stored; /* by scratchpad word: how often */
    unsigned lane, pe;
    bf_half *ram, *weights; /* of the PE now */
    float *accs;
    struct bf_rows_plan p;
    int64_t chunk, head;    /* numbers of the iteration's chunk and head */
    int64_t sample, across; /* of the lane in the iteration's tile: its row, or its column */
};

/* Which buffer a scratchpad word belongs to, and the element in `lane` of it. */
struct element {
    const struct bf_operand *operand;
    int64_t row, column; /* of the buffer */
};

static bool find_element(const struct machine *m, const struct bf_operand *operand, int64_t word,
                         bool row_access, unsigned lane, struct element *element) {
    const struct bf_place_of_buffer *place = &m->map->places[operand->buffer->index];
    int64_t v = m->map->machine.lanes, at = word - place->spm, x = at % place->width;
    if (at < 0 || at >= place->height / v * place->width)
        return false;
    element->operand = operand;
    element->row = at / place->width * v + (row_access ? x % v : lane);
    element->column = row_access ? x / v * v + lane : x;
    return true;
}

static bf_half read_spm(const struct machine *m, int64_t word, bool row_access, unsigned lane) {
    int64_t v = m->map->machine.lanes;
    struct element element;
    if (m->plan->recipe >= 0) {
        int64_t at = word - m->plan->weight_spm;
        if (row_access && at >= 0 && at < bf_recipe_words(&m->map->recipes.data[m->plan->recipe]))
            return m->recipe[at * v + lane];
    }
    for (size_t i = 0; i < m->plan->inputs.count; i++)
        if (find_element(m, &m->plan->inputs.data[i], word, row_access, lane, &element))
            return bf_half_from_double(drawn(element.operand->buffer, element.row, element.column));
    return BF_HALF_POISON;
}

static bool wrong(const struct machine *m, const char *format, const char *name, int64_t sample,
                  int64_t row, int64_t column, double got, double want) {
    return bf_diag_error(m->diags, m->plan->kernel->loc, format, m->plan->name, name,
                         (long long)sample, (long long)row, (long long)column, got, want);
}

/* A stored element against the steps. */
static bool check_element(struct machine *m, int output, int64_t word, bool row_access,
                          bf_half got) {
    const struct bf_operand *operand = &m->plan->outputs.data[output];
    struct bf_rows_shape *shape = (struct bf_rows_shape *)m->oracle.shape;
    struct oracle *o = &m->oracle;
    struct element element;
    find_element(m, operand, word, row_access, m->lane, &element);
    int64_t pitch = m->map->places[operand->buffer->index].pitch;
    int64_t sample = element.row / pitch, row = element.row % pitch - operand->row;
    int64_t column = element.column - operand->col;
    if (sample >= operand->buffer->samples || row < 0 || row >= operand->rows || column < 0 ||
        column >= operand->cols)
        return true; /* padding */
    o->sample = sample;
    bool turned = bf_rows_is_row_output(shape, output) && !shape->columns && operand->rows == 1 &&
                  shape->rows > 1;
    o->row = turned ? column : row;
    o->column = turned ? 0 : column;
    if (shape->head) {
        o->head = column / shape->head;
        o->column = column % shape->head;
    }
    bool pairs = shape->head || shape->step > 1;
    if (pairs && (o->column % shape->step || o->column / shape->step >= shape->n))
        return wrong(m,
                     "map: plan %s: element of '%s' in sample %lld, row %lld, column %lld is "
                     "written, which no pair begins with: %g for %g",
                     operand->buffer->name, sample, row, column, bf_half_to_double(got), 0);
    o->column /= shape->step;
    evaluate_rows(o);
    struct number want = exact(0);
    for (size_t s = 0; s < shape->kernel->steps.count; s++) {
        const struct bf_step *step = &shape->kernel->steps.data[s];
        if (step->kind == BF_STEP_MAP && step->index == output)
            want = evaluate(o, step->expr);
        else if (step->kind == BF_STEP_ROWMAP && step->index == output)
            want = o->results[s];
    }
    double value = bf_half_to_double(got), limit = fabs(want.value) / 256 + want.size / 4096;
    if (fabs(value - want.value) <= limit + 0x1p-24 || !(fabs(want.value) < 60000))
        return true;
    return wrong(m,
                 "map: plan %s: element of '%s' in sample %lld, row %lld, column %lld is %g, "
                 "not %g",
                 operand->buffer->name, sample, row, column, value, want.value);
}

/* ---- blocks ---- */

static uint32_t ram_word(const struct machine *m, const struct bf_descriptor *d, unsigned class,
                         uint32_t address, const int64_t *offset) {
    int64_t base = d->cal.relative >> class & 1 ? m->launch->context_base : 0;
    return (uint32_t)(base + address + offset[class]) % m->map->machine.data_ram;
}

static size_t weight_lane(const struct machine *m, int64_t lane) {
    return (size_t)lane % (2 * (size_t)m->map->machine.weight_half * m->map->machine.lanes);
}

/* Operands B and C may be lanes of one weight word. */
static float read_b(const struct machine *m, const struct bf_descriptor *d,
                    const struct bf_cal *cal, const int64_t *offset, int64_t *lane) {
    static const float constants[] = {0, 1, 2, 0.5f};
    *lane = cal->b + offset[cal->b_class];
    if (cal->b_kind == BF_B_LANE)
        return bf_half_to_float(m->weights[weight_lane(m, *lane)]);
    if (cal->b_kind == BF_B_DATA)
        return bf_half_to_float(m->ram[ram_word(m, d, cal->b_class, cal->b, offset)]);
    return cal->b_kind == BF_B_CONST ? constants[cal->b & 3] : NAN;
}

static float read_c(const struct machine *m, const struct bf_descriptor *d,
                    const struct bf_cal *cal, const int64_t *offset, int64_t lane) {
    int64_t v = m->map->machine.lanes;
    if (cal->c_class != BF_CLASS_SPECIAL)
        return bf_half_to_float(m->ram[ram_word(m, d, cal->c_class, cal->c, offset)]);
    switch (cal->c >> 8) {
    case BF_C_ACC:
        return m->accs[cal->c & 15];
    case BF_C_LANE:
        return bf_half_to_float(
            m->weights[weight_lane(m, lane / v * v + (lane + (cal->c & 31)) % v)]);
    default:
        return cal->c >> 8 == BF_C_ONE ? 1.0f : 0.0f;
    }
}

static float operate(const struct bf_cal *cal, float a, float b, float c) {
    a = cal->negate_product ? -a : a;
    c = cal->negate_addend ? -c : c;
    switch ((enum bf_cal_op)cal->op) {
    case BF_CAL_FMA:
        return bf_fma32(a, b, c);
    case BF_CAL_MAX:
        return bf_max32(a, c);
    case BF_CAL_SEL:
        return bf_sel(a, b, c);
    case BF_CAL_FRAC:
        return bf_frac32(a);
    case BF_CAL_LDEXP:
        return bf_ldexp_lane(a, c);
    case BF_CAL_CVTF:
        return bf_cvt_i32_to_f32((int32_t)bf_float_bits(a));
    case BF_CAL_EXP2:
        return bf_exp2_32(a);
    case BF_CAL_RCP:
        return bf_rcp32(a);
    case BF_CAL_RSQRT:
        return bf_rsqrt32(a);
    default:
        return NAN;
    }
}

/* Raw halves of accumulators. */
static bool move_half(struct machine *m, const struct bf_descriptor *d, const struct bf_cal *cal,
                      const int64_t *offset) {
    int shift = cal->op == BF_CAL_STHI || cal->op == BF_CAL_LDHI ? 16 : 0;
    if (cal->op == BF_CAL_STLO || cal->op == BF_CAL_STHI) {
        m->ram[ram_word(m, d, cal->d_class, cal->d, offset)] =
            (bf_half)(bf_float_bits(m->accs[cal->a & 15]) >> shift);
    } else if (cal->op == BF_CAL_LDLO || cal->op == BF_CAL_LDHI) {
        uint32_t half = m->ram[ram_word(m, d, cal->c_class, cal->c, offset)];
        uint32_t kept = bf_float_bits(m->accs[cal->acc]) & ~(UINT32_C(0xffff) << shift);
        m->accs[cal->acc] = bf_bits_float(kept | half << shift);
    } else {
        return false;
    }
    return true;
}

static void execute(struct machine *m, const struct bf_descriptor *d, const struct bf_cal *cal,
                    const int64_t *offset) {
    unsigned reads = bf_cal_operands(cal->op);
    int64_t lane = 0;
    if (move_half(m, d, cal, offset))
        return;
    float b = reads & 2 ? read_b(m, d, cal, offset, &lane) : 0;
    float a = cal->a_class == BF_CLASS_SPECIAL
                  ? m->accs[cal->a & 15]
                  : bf_half_to_float(m->ram[ram_word(m, d, cal->a_class, cal->a, offset)]);
    float r = operate(cal, a, b, reads & 4 ? read_c(m, d, cal, offset, lane) : 0);
    if (cal->dst & BF_DST_RAM)
        m->ram[ram_word(m, d, cal->d_class, cal->d, offset)] = bf_round_exp(r, d->cal.exponent);
    if (cal->dst & BF_DST_ACC)
        m->accs[cal->acc] = r;
}

static void run_cal(struct machine *m, const struct bf_block *block) {
    const struct bf_descriptor *d = &block->d;
    int64_t offset[BF_CLASSES] = {0};
    for (unsigned trip = 0; trip < d->trips[0]; trip++) {
        for (unsigned i = 0; i < d->cal.length; i++) {
            struct bf_cal cal;
            if (bf_cal_decode(m->code->segments[0].words[d->cal.start + i], &cal, NULL))
                execute(m, d, &cal, offset);
        }
        for (int c = 0; c < BF_CLASSES; c++)
            offset[c] += d->cal.delta[c][0];
    }
}

static bool loads_right(const struct machine *m, int input, int64_t word,
                        const struct element *element);

/* A data word on its way into the RAM. */
static bool load_word(struct machine *m, const struct bf_descriptor *d, int64_t ram, int64_t word) {
    int input = d->mem.base - BF_ROWS_BASE_IN;
    m->ram[ram] = read_spm(m, word, d->mem.row, m->lane);
    if ((size_t)input >= m->plan->inputs.count)
        return true;
    struct element element;
    char name[16];
    snprintf(name, sizeof name, "in%d", input);
    const struct bf_region *region = bf_plan_region(m->plan, name);
    const struct bf_operand *operand = &m->plan->inputs.data[input];
    int64_t at = region ? ram - m->launch->context_base - region->base : -1;
    if (at >= 0 && at < region->words &&
        find_element(m, operand, word, d->mem.row, m->lane, &element) &&
        loads_right(m, input, at, &element))
        return true;
    return bf_diag_error(m->diags, m->plan->kernel->loc,
                         "map: plan %s: RAM word %lld gets another element of '%s' than it should",
                         m->plan->name, (long long)ram, operand->buffer->name);
}

static bool store_word(struct machine *m, const struct bf_descriptor *d, int64_t word,
                       bool computed, bf_half value) {
    int output = d->mem.base - BF_ROWS_BASE_OUT;
    struct element element;
    if (output < 0 || (size_t)output >= m->plan->outputs.count ||
        !find_element(m, &m->plan->outputs.data[output], word, d->mem.row, m->lane, &element))
        return bf_diag_error(m->diags, m->plan->kernel->loc,
                             "map: plan %s: scratchpad word %lld is stored and lies in no output",
                             m->plan->name, (long long)word);
    m->stored[word]++;
    return !computed || check_element(m, output, word, d->mem.row, value);
}

/* A LOAD or STORE in an iteration whose register stands at `moved`. */
static bool run_memory(struct machine *m, const struct bf_block *block, int64_t moved,
                       bool computed) {
    const struct bf_descriptor *d = &block->d;
    int64_t v = m->map->machine.lanes, word = (int64_t)m->launch->base[d->mem.base] + d->mem.spm;
    int64_t ram = d->mem.ram + (d->mem.relative ? m->launch->context_base : 0);
    int64_t words = d->mem.weights ? 2 * m->map->machine.weight_half : m->map->machine.data_ram;
    bool ok = true;
    word += moved;
    for (unsigned outer = 0; outer < d->trips[1] && ok; outer++)
        for (unsigned inner = 0; inner < d->trips[0] && ok; inner++) {
            bool more = inner + 1 < d->trips[0];
            int64_t at = (ram % words + words) % words;
            for (int64_t lane = 0; lane < v && d->mem.weights && computed; lane++)
                m->weights[at * v + lane] = read_spm(m, word, d->mem.row, (unsigned)lane);
            if (d->unit == BF_UNIT_LOAD && !d->mem.weights && computed)
                ok = load_word(m, d, at, word);
            if (d->unit == BF_UNIT_STORE)
                ok = store_word(m, d, word, computed, m->ram[at]);
            ram += more ? d->mem.ram_delta[0] : d->mem.ram_delta[1];
            word += more ? d->mem.spm_delta[0] : d->mem.spm_delta[1];
        }
    return ok;
}

/* ---- iterations ---- */

/* Which chunk and tile the PE works on in iteration i. */
static void find_position(struct machine *m, int64_t i) {
    const struct bf_rows_shape *shape = m->oracle.shape;
    int64_t v = m->map->machine.lanes, index[BF_ROWS_AXES], rest = m->pe;
    for (int a = 0; a < BF_ROWS_AXES; a++) {
        index[a] = rest % m->p.groups[a] + m->p.groups[a] * (i % m->p.rounds[a]);
        rest /= m->p.groups[a];
        i /= m->p.rounds[a];
    }
    int64_t inner = index[2], outer = m->p.first + index[3], tiles = (shape->rows + v - 1) / v;
    m->chunk = index[0];
    m->head = shape->head ? index[1] : 0;
    m->sample = shape->packed ? outer * v + m->lane : shape->by_sample ? outer : outer / tiles;
    m->across = shape->packed ? 0 : (shape->by_sample ? inner : outer % tiles) * v + m->lane;
}

/* Whether the word that a LOAD brings for word `word` of an input's region is the one that belongs
 * there: sums over many elements would hide it. */
static bool loads_right(const struct machine *m, int input, int64_t word,
                        const struct element *element) {
    const struct bf_rows_shape *shape = m->oracle.shape;
    const struct bf_operand *operand = element->operand;
    int64_t pitch = m->map->places[operand->buffer->index].pitch;
    int64_t sample = operand->buffer->samples > 1 ? m->sample : 0;
    bool full = bf_rows_class(shape, input) == BF_ROWS_FULL;
    int64_t along = full ? m->chunk * m->p.chunk + word : 0;
    int64_t row = shape->columns ? along : m->across, column = shape->columns ? m->across : along;
    column = column * shape->step + m->head * bf_rows_head_stride(shape, operand);
    return element->row == sample * pitch + operand->row + row &&
           element->column == operand->col + column;
}

/* What the iteration register of a block gains from iteration i - 1 to i. */
static int64_t step_of(const struct bf_launch *launch, const struct bf_descriptor *d, int64_t i) {
    int64_t below = launch->trips[0];
    if (i % below)
        return d->mem.iteration_delta[0];
    if (i % (below * launch->trips[1]))
        return d->mem.iteration_delta[1];
    return d->mem.iteration_delta[2];
}

/* Sends the words of a FLOW, in the lane that is computed. */
static bool run_flow(struct machine *m, const struct bf_descriptor *d) {
    uint32_t ram = m->map->machine.data_ram, context = m->launch->context_base;
    uint32_t from = d->flow.source + (d->flow.source_relative ? context : 0);
    uint32_t to = d->flow.destination + (d->flow.destination_relative ? context : 0);
    uint32_t field = (1u << d->flow.width) - 1, self = m->pe >> d->flow.shift & field;
    for (uint32_t k = 0; k < d->trips[1]; k++) {
        uint32_t other = (d->flow.mode == BF_FLOW_XOR ? k ^ self : k) & field;
        uint32_t receiver = (m->pe & ~(field << d->flow.shift)) | other << d->flow.shift;
        if (receiver >= bf_machine_pes(&m->map->machine))
            return false;
        for (uint32_t word = 0; word < d->trips[0]; word++) {
            uint32_t at = from + (uint32_t)(word * d->flow.source_delta[0]) +
                          (other << d->flow.destination_shift);
            uint32_t there =
                to + (uint32_t)(word * d->flow.destination_delta[0]) + (self << d->flow.self_shift);
            m->pes[receiver].ram[there % ram] = m->ram[at % ram];
        }
    }
    return true;
}

/* The FLOWs that a CAL block wakes, once all PEs have run it: they write what waits for them. */
static bool run_flows_after(struct machine *m, const struct bf_block *cal) {
    bool ok = true;
    for (size_t n = 0; n < m->code->block_count && ok; n++) {
        const struct bf_block *block = &m->code->blocks[n];
        bool woken = false;
        for (int t = 0; t < BF_TARGETS; t++)
            woken |= cal->d.target[t] == block->id;
        if (woken && block->d.unit == BF_UNIT_FLOW && (block->pes >> m->pe & 1))
            ok = run_flow(m, &block->d);
    }
    return ok || bf_diag_error(m->diags, m->plan->kernel->loc,
                               "map: plan %s: block %u (%s) sends words out of the mesh",
                               m->plan->name, cal->id, cal->name);
}

/* Block `block` of PE m->pe in iteration i. */
static bool run_one(struct machine *m, const struct bf_block *block, int64_t i, bool computed) {
    const struct bf_descriptor *d = &block->d;
    int64_t phase = i % m->launch->period, *moved = &m->pes[m->pe].moved[block->id];
    /* weights that are loaded once stay */
    bool once = d->mem.weights && m->launch->group_level == 3;
    if (i > 0 && d->unit != BF_UNIT_CAL && !once)
        *moved += step_of(m->launch, d, i);
    if (phase < d->first || phase > d->last)
        return true;
    if (d->unit != BF_UNIT_CAL)
        return run_memory(m, block, *moved, computed);
    if (computed)
        run_cal(m, block);
    return !computed || run_flows_after(m, block);
}

static void enter(struct machine *m, unsigned pe) {
    m->pe = pe;
    m->ram = m->pes[pe].ram;
    m->weights = m->pes[pe].weights;
    m->accs = m->pes[pe].accs;
}

/* Blocks of a unit in iteration i, in the order of their numbers, on all PEs; their registers step
 * on. */
static bool run_unit(struct machine *m, enum bf_unit unit, int64_t i, bool computed) {
    bool ok = true;
    for (unsigned id = 0; id < BF_BLOCKS && ok; id++) {
        if (bf_block_unit(id) != unit)
            continue;
        for (unsigned pe = 0; pe < bf_machine_pes(&m->map->machine) && ok; pe++)
            for (size_t n = 0; n < m->code->block_count && ok; n++) {
                const struct bf_block *block = &m->code->blocks[n];
                if (block->id != id || !(block->pes >> pe & 1))
                    continue;
                enter(m, pe);
                find_position(m, i);
                ok = run_one(m, block, i, computed);
            }
    }
    return ok;
}

/* Iterations of a tile: its chunks and passes, where phases tell these apart. */
static bool run_iterations(struct machine *m, int64_t tile) {
    const struct bf_launch *launch = m->launch;
    int64_t all = (int64_t)launch->trips[0] * launch->trips[1] * launch->trips[2];
    int64_t tiles = all / tile;
    bool ok = true;
    for (int64_t i = 0; i < all && ok; i++) {
        int64_t at = i / tile;
        bool computed = at == 0 || at >= tiles - 2;
        for (unsigned pe = 0; pe < bf_machine_pes(&m->map->machine); pe++)
            for (int64_t w = 0; w < m->plan->context_size; w++) /* contexts keep nothing */
                m->pes[pe].ram[m->plan->context_base + w] = BF_HALF_POISON;
        ok = run_unit(m, BF_UNIT_LOAD, i, computed) && run_unit(m, BF_UNIT_CAL, i, computed) &&
             run_unit(m, BF_UNIT_STORE, i, computed);
    }
    return ok;
}

/* ---- plans ---- */

static struct pe *poisoned(const struct bf_machine *machine) {
    size_t lanes = 2 * (size_t)machine->weight_half * machine->lanes;
    struct pe *pes = bf_alloc(bf_machine_pes(machine) * sizeof *pes);
    for (unsigned pe = 0; pe < bf_machine_pes(machine); pe++) {
        pes[pe].ram = bf_alloc(machine->data_ram * sizeof *pes[pe].ram);
        pes[pe].weights = bf_alloc(lanes * sizeof *pes[pe].weights);
        for (size_t w = 0; w < machine->data_ram; w++)
            pes[pe].ram[w] = BF_HALF_POISON;
        for (size_t w = 0; w < lanes; w++)
            pes[pe].weights[w] = BF_HALF_POISON;
        for (int a = 0; a < 16; a++)
            pes[pe].accs[a] = bf_bits_float(BF_FLOAT_POISON);
    }
    return pes;
}

/* Runs one plan on all PEs. */
static bool run_plan(struct bf_map *map, const struct bf_plan *plan, uint32_t *stored,
                     struct bf_diags *diags) {
    struct bf_rows_shape shape = bf_rows_shape(plan->kernel, map->machine.lanes);
    struct bf_rows_plan p = bf_rows_plan(&shape, plan, map->machine.lanes);
    size_t v = map->machine.lanes;
    struct machine m = {.map = map, .plan = plan, .diags = diags, .stored = stored};
    struct bf_weights *weights = draw_weights(plan->kernel);
    const struct bf_recipe *recipe = plan->recipe < 0 ? NULL : &map->recipes.data[plan->recipe];
    uint16_t *words = bf_alloc((recipe ? (size_t)bf_recipe_words(recipe) : 1) * v * sizeof *words);
    bool ok = !recipe || bf_recipe_rows(map, recipe, weights, words, diags);
    m.recipe = words;
    m.p = p;
    m.code = &map->program->kernels[plan->code];
    m.launch = &map->program->launches[plan->launch];
    m.oracle = (struct oracle){
        .map = map, .shape = &shape, .weights = weights, .known_sample = -1, .known_across = -1};
    int64_t across = shape.columns ? shape.cols : shape.packed ? shape.samples : shape.rows;
    m.lane = across > 1;
    m.pes = poisoned(&map->machine);
    ok = ok && run_iterations(&m, p.rounds[0] * p.rounds[1]);
    for (unsigned pe = 0; pe < bf_machine_pes(&map->machine); pe++) {
        free(m.pes[pe].ram);
        free(m.pes[pe].weights);
    }
    free(m.pes);
    bf_weights_free(weights);
    free(words);
    return ok;
}

/* Every word with an element of an output is stored once. */
static bool all_stored(struct bf_map *map, const struct bf_poly_kernel *kernel,
                       const uint32_t *stored, struct bf_diags *diags) {
    struct bf_rows_shape shape = bf_rows_shape(kernel, map->machine.lanes);
    for (size_t i = 0; i < kernel->outputs.count; i++) {
        const struct bf_operand *out = &kernel->outputs.data[i];
        bool turned = bf_rows_is_row_output(&shape, (int)i) && out->rows == 1 && shape.rows > 1;
        bool by_row = shape.columns || turned;
        int64_t v = map->machine.lanes, row_step = by_row ? 1 : v, column_step = by_row ? v : 1;
        for (int64_t s = 0; s < out->buffer->samples; s++)
            for (int64_t r = 0; r < out->rows; r += row_step)
                for (int64_t c = 0; c < out->cols; c += column_step) {
                    int64_t word = by_row ? bf_map_row_word(map, out, s, r, c)
                                          : bf_map_column_word(map, out, s, r, c);
                    if (stored[word] != 1)
                        return bf_diag_error(
                            diags, kernel->loc,
                            "map: kernel %s: row %lld, column %lld of sample %lld of '%s' is "
                            "stored %u times",
                            kernel->name, (long long)r, (long long)c, (long long)s,
                            out->buffer->name, stored[word]);
                }
    }
    return true;
}

bool bf_rows_check_values(struct bf_map *map, const struct bf_poly_kernel *kernel,
                          struct bf_diags *diags) {
    uint32_t *stored = bf_alloc(map->machine.spm_words * sizeof *stored);
    bool ok = true;
    for (size_t p = 0; p < map->plans.count && ok; p++)
        if (map->plans.data[p]->kernel == kernel)
            ok = run_plan(map, map->plans.data[p], stored, diags);
    ok = ok && all_stored(map, kernel, stored, diags);
    free(stored);
    return ok;
}
