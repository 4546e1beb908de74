/* net_shape.c - shape inference: from operands and attributes of an operator to its type, with all
 * attributes filled in, and to the shapes of its parameters. See net.h and net_ops.def. */
#include "ir/net.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

struct infer {
    struct bf_net *net;
    struct bf_op *op;
    const struct bf_op_info *info;
    struct bf_diags *diags;
};

/* ---- messages ---- */

/* At the operator, or at the attribute called `attr` if the call gives it. Starts "name: ". */
static bool BF_PRINTF(3, 4) fail(struct infer *in, const char *attr, const char *format, ...) {
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    struct bf_loc loc = in->op->loc;
    unsigned length = in->op->attrs.length, caret = 0;
    int i = attr ? bf_op_attr_index(in->info, attr) : -1;
    if (i >= 0 && in->op->attrs.v[i].loc.line) {
        loc = in->op->attrs.v[i].loc;
        length = in->op->attrs.v[i].length;
        caret = in->op->attrs.v[i].caret;
    }
    bf_diag(in->diags, BF_ERROR, loc, length, caret, "%s: %s", in->info->name, message);
    return false;
}

/* "the width 64 comes from here", where operand `value` was made. Returns false. */
static bool came_from(struct infer *in, const struct bf_value *value, const char *what,
                      int64_t size) {
    if (value->loc.line)
        bf_diag_note(in->diags, value->loc, "the %s %" PRId64 " comes from here", what, size);
    return false;
}
static bool type_came_from(struct infer *in, const struct bf_value *value) {
    if (value->loc.line)
        bf_diag_note(in->diags, value->loc, "%s comes from here",
                     bf_type_text(&in->net->arena, &value->type));
    return false;
}

static const char *show(struct infer *in, const struct bf_value *value) {
    return bf_type_text(&in->net->arena, &value->type);
}

/* ---- attributes ---- */

static struct bf_attr *attr(struct infer *in, const char *name) {
    int i = bf_op_attr_index(in->info, name);
    assert(i >= 0);
    return &in->op->attrs.v[i];
}

static int64_t get(struct infer *in, const char *name) {
    return attr(in, name)->i;
}

static void set(struct infer *in, const char *name, int64_t value) {
    attr(in, name)->type = BF_ATTR_INT;
    attr(in, name)->i = value;
}

static bool is_set(struct infer *in, const char *name) {
    return attr(in, name)->type != BF_ATTR_UNSET;
}

static void set_default(struct bf_attr *a, const struct bf_attr_info *info) {
    a->type = info->type;
    switch (info->type) {
    case BF_ATTR_INT:
        a->i = strtoll(info->initial, NULL, 10);
        break;
    case BF_ATTR_FLOAT:
        a->f = strtod(info->initial, NULL);
        break;
    case BF_ATTR_BOOL:
        a->b = !strcmp(info->initial, "true");
        break;
    case BF_ATTR_INTS: /* the only default of a list is the empty one */
        a->ints.count = 0;
        break;
    default:
        a->s = info->initial;
    }
}

/* Whether `word` is one of "a|b|c". */
static bool is_choice(const char *choices, const char *word) {
    size_t length = strlen(word);
    for (const char *at = choices;; at++) {
        size_t next = strcspn(at, "|");
        if (next == length && !memcmp(at, word, length))
            return true;
        at += next;
        if (!*at)
            return false;
    }
}

/* Fills in defaults; what is required must be there, and words must be among their choices. */
static bool complete(struct infer *in) {
    for (unsigned i = 0; i < in->info->attr_count; i++) {
        const struct bf_attr_info *info = &in->info->attrs[i];
        struct bf_attr *a = &in->op->attrs.v[i];
        if (info->presence == BF_DERIVED || info->presence == BF_HIDDEN) {
            *a = (struct bf_attr){.type = info->type};
            continue;
        }
        if (a->type == BF_ATTR_UNSET && info->presence == BF_REQUIRED)
            return fail(in, NULL, "'%s' is missing", info->name);
        if (a->type == BF_ATTR_UNSET && *info->initial)
            set_default(a, info);
        if (a->type == BF_ATTR_UNSET)
            continue;
        if (a->type != info->type)
            return fail(in, info->name, "'%s' has the wrong type", info->name);
        if (a->type == BF_ATTR_WORD && !is_choice(info->choices, a->s))
            return fail(in, info->name, "%s = %s, must be one of %s", info->name, a->s,
                        info->choices);
        if (a->type == BF_ATTR_FLOAT && !(a->f - a->f == 0))
            return fail(in, info->name, "'%s' is not a finite number", info->name);
    }
    return true;
}

static bool positive(struct infer *in, const char *name) {
    int64_t value = get(in, name);
    if (value < 1 || value > INT32_MAX)
        return fail(in, name, "%s = %" PRId64 ", must be 1 or more%s", name, value,
                    value < 1 ? "" : " and below 2^31");
    return true;
}

/* Turns a negative axis into a positive one. */
static bool normal_axis(struct infer *in, const char *name, int64_t *axis, unsigned rank) {
    if (*axis < -(int64_t)rank || *axis >= (int64_t)rank)
        return fail(in, name, "%s %" PRId64 " is outside of %u ax%ss", name, *axis, rank,
                    rank == 1 ? "i" : "e");
    if (*axis < 0)
        *axis += rank;
    return true;
}

/* ---- operands ---- */

static struct bf_value *arg(struct infer *in, const char *name) {
    return bf_op_arg(in->op, name);
}

static const char *arg_name(struct infer *in, unsigned i) {
    return in->info->args[in->info->args[0].presence == BF_VARIADIC ? 0 : i].name;
}

static bool need_rank(struct infer *in, const char *name, unsigned low, unsigned high) {
    struct bf_value *value = arg(in, name);
    unsigned rank = value->type.rank;
    if (rank >= low && rank <= high)
        return true;
    if (low == high)
        fail(in, NULL, "%s is %s, must have %u ax%ss", name, show(in, value), low,
             low == 1 ? "i" : "e");
    else if (rank < low)
        fail(in, NULL, "%s is %s, needs at least %u ax%ss", name, show(in, value), low,
             low == 1 ? "i" : "e");
    else
        fail(in, NULL, "%s is %s, can have at most %u axes", name, show(in, value), high);
    return type_came_from(in, value);
}

static bool is_float(const struct bf_value *value) {
    return value->type.dtype == BF_F16 || value->type.dtype == BF_F32;
}

/* Operands are numbers, masks are u8, ids are integers; none has more axes than a value may. */
static bool check_operands(struct infer *in) {
    for (unsigned i = 0; i < in->op->arg_count; i++) {
        struct bf_value *value = in->op->args[i];
        if (!value)
            continue;
        const char *name = arg_name(in, i);
        bool ok = is_float(value);
        const char *need = "f16 or f32";
        if (in->info->class == BF_CLASS_LAYOUT) {
            ok = true;
        } else if (!strcmp(name, "mask")) {
            ok = value->type.dtype == BF_U8;
            need = "u8";
        } else if (!strcmp(name, "ids")) {
            ok = !is_float(value);
            need = "i32 or u8";
        }
        if (!ok) {
            fail(in, NULL, "%s is %s, must be %s", name, show(in, value), need);
            return type_came_from(in, value);
        }
        if (value->type.rank > BF_VALUE_RANK && in->op->kind != BF_OP_SLICE &&
            strcmp(name, "twiddle"))
            return fail(in, NULL, "%s has %u axes, the limit is %d", name, value->type.rank,
                        BF_VALUE_RANK);
    }
    return true;
}

/* An optional operand that stands for a parameter: [d0, d1, ..] as in `want`. */
static bool check_weight(struct infer *in, const char *name, unsigned rank, const int64_t *want) {
    struct bf_value *value = arg(in, name);
    struct bf_type type = bf_type_make(BF_F16, rank, want);
    struct bf_param_view view;
    if (!value)
        return true;
    if (!bf_value_param_view(value, &view)) {
        fail(in, NULL, "%s must be a parameter, or a slice of one", name);
        return type_came_from(in, value);
    }
    if (!bf_type_same_shape(&value->type, &type)) {
        fail(in, NULL, "%s is %s, must be %s", name, show(in, value),
             bf_type_text(&in->net->arena, &type));
        return type_came_from(in, value);
    }
    return true;
}

/* A bias operand takes the place of the parameter. */
static bool check_bias(struct infer *in, int64_t out) {
    if (arg(in, "bias"))
        attr(in, "bias")->b = false;
    return check_weight(in, "bias", 1, &out);
}

static void give(struct infer *in, unsigned rank, const int64_t *dims) {
    in->op->result.type = bf_type_make(BF_F16, rank, dims);
}

/* The shape of x with `size` as length of `axis`. */
static void give_like(struct infer *in, const struct bf_value *x, unsigned axis, int64_t size) {
    give(in, x->type.rank, x->type.dims);
    if (x->type.rank)
        in->op->result.type.dims[axis] = size;
}

static int64_t width(const struct bf_value *x) {
    return x->type.dims[x->type.rank - 1];
}

/* ---- sources ---- */

static bool infer_source(struct infer *in) {
    const struct bf_attr *shape = attr(in, "shape");
    unsigned limit = in->op->kind == BF_OP_PARAM ? BF_MAX_RANK : BF_VALUE_RANK;
    if (shape->ints.count > limit)
        return fail(in, "shape", "%u axes, the limit is %u", shape->ints.count, limit);
    for (unsigned i = 0; i < shape->ints.count; i++)
        if (shape->ints.v[i] < 1 || shape->ints.v[i] > INT32_MAX)
            return fail(in, "shape", "axis %u has length %" PRId64 ", must be 1 or more%s", i,
                        shape->ints.v[i], shape->ints.v[i] < 1 ? "" : " and below 2^31");
    if (in->op->kind == BF_OP_PARAM && !*bf_op_word(in->op, "name"))
        return fail(in, "name", "the name is empty");
    give(in, shape->ints.count, shape->ints.v);
    return true;
}

/* ---- linear maps ---- */

static bool infer_linear(struct infer *in) {
    struct bf_value *x = arg(in, "x"), *weight = arg(in, "weight");
    if (!need_rank(in, "x", 1, BF_VALUE_RANK))
        return false;
    set(in, "in", width(x));
    if (weight && weight->type.rank == 2 && !is_set(in, "out"))
        set(in, "out", weight->type.dims[0]);
    if (!is_set(in, "out"))
        return weight ? need_rank(in, "weight", 2, 2) : fail(in, NULL, "'out' is missing");
    int64_t out = get(in, "out"), want[] = {out, width(x)};
    if (!positive(in, "out") || !check_weight(in, "weight", 2, want) || !check_bias(in, out))
        return false;
    give_like(in, x, x->type.rank - 1, out);
    return true;
}

static bool infer_butterfly(struct infer *in) {
    struct bf_value *x = arg(in, "x");
    if (!need_rank(in, "x", 1, BF_VALUE_RANK))
        return false;
    if (width(x) < 2) {
        fail(in, NULL, "the width of x is 1, must be 2 or more");
        return type_came_from(in, x);
    }
    if (!is_set(in, "out"))
        set(in, "out", width(x));
    if (!positive(in, "out") || !positive(in, "nblocks"))
        return false;
    int64_t m = 1, out = get(in, "out");
    while (INT64_C(1) << m < width(x))
        m++;
    int64_t n = INT64_C(1) << m, stacks = (out + n - 1) / n;
    set(in, "in", width(x));
    set(in, "m", m);
    set(in, "n", n);
    set(in, "stacks", stacks);
    int64_t twiddle[] = {stacks, get(in, "nblocks"), m, n / 2, 2, 2};
    if (!check_weight(in, "twiddle", 6, twiddle) || !check_bias(in, out))
        return false;
    give_like(in, x, x->type.rank - 1, out);
    return true;
}

static bool infer_block_butterfly(struct infer *in) {
    struct bf_value *x = arg(in, "x");
    if (!need_rank(in, "x", 1, BF_VALUE_RANK) || !positive(in, "out"))
        return false;
    int64_t tile = get(in, "tile"), out = get(in, "out");
    if (tile < 2 || !bf_is_power_of_two((uint64_t)tile))
        return fail(in, "tile", "tile = %" PRId64 ", must be a power of two, 2 or more", tile);
    if (width(x) % tile) {
        fail(in, "tile", "tile = %" PRId64 " does not divide the width %" PRId64 " of x", tile,
             width(x));
        return came_from(in, x, "width", width(x));
    }
    if (out % tile)
        return fail(in, "tile", "tile = %" PRId64 " does not divide out = %" PRId64, tile, out);
    set(in, "in", width(x));
    set(in, "rows", out / tile);
    set(in, "cols", width(x) / tile);
    set(in, "m", bf_log2_floor((uint64_t)tile));
    if (!check_bias(in, out))
        return false;
    give_like(in, x, x->type.rank - 1, out);
    return true;
}

static bool infer_monarch(struct infer *in) {
    struct bf_value *x = arg(in, "x");
    if (!need_rank(in, "x", 1, BF_VALUE_RANK))
        return false;
    int64_t r = 1;
    while (r * r < width(x))
        r++;
    if (r * r != width(x)) {
        fail(in, NULL, "the width %" PRId64 " of x is not a square", width(x));
        return came_from(in, x, "width", width(x));
    }
    set(in, "r", r);
    set(in, "in", width(x));
    if (!check_bias(in, width(x)))
        return false;
    give_like(in, x, x->type.rank - 1, width(x));
    return true;
}

/* ---- transforms ---- */

/* The largest exponent that texts have. */
static bool good_exponent(struct infer *in) {
    int64_t exponent = get(in, "exponent");
    if (!is_set(in, "exponent") || (exponent >= 0 && exponent <= 64))
        return true;
    return fail(in, "exponent", "exponent = %" PRId64 ", must be 0 to 64", exponent);
}

static bool infer_fourier(struct infer *in) {
    struct bf_value *x = arg(in, "x");
    struct bf_attr *axes = attr(in, "axes");
    unsigned rank = x->type.rank;
    if (!need_rank(in, "x", 1, BF_VALUE_RANK) || !good_exponent(in))
        return false;
    if (!is_set(in, "axes")) {
        axes->type = BF_ATTR_INTS;
        axes->ints.count = rank > 1 ? 2 : 1;
        axes->ints.v[0] = rank > 1 ? rank - 2 : 0;
        axes->ints.v[1] = rank - 1;
    }
    if (axes->ints.count < 1 || axes->ints.count > 2)
        return fail(in, "axes", "%u axes are given, must be one or two", axes->ints.count);
    for (unsigned i = 0; i < axes->ints.count; i++)
        if (!normal_axis(in, "axes", &axes->ints.v[i], rank))
            return false;
    int64_t a = axes->ints.v[0], b = axes->ints.v[1];
    if (axes->ints.count == 2 && a == b)
        return fail(in, "axes", "axis %" PRId64 " is given twice", a);
    if (axes->ints.count == 2 && a > b) {
        axes->ints.v[0] = b;
        axes->ints.v[1] = a;
    }
    give(in, rank, x->type.dims);
    return true;
}

static bool infer_fft(struct infer *in) {
    struct bf_value *z = arg(in, "z");
    if (!need_rank(in, "z", 2, BF_VALUE_RANK) || !good_exponent(in))
        return false;
    if (z->type.dims[0] != 2) {
        fail(in, NULL, "z is %s, its first axis must be 2 (real and imaginary plane)", show(in, z));
        return type_came_from(in, z);
    }
    if (!normal_axis(in, "axis", &attr(in, "axis")->i, z->type.rank))
        return false;
    if (!get(in, "axis"))
        return fail(in, "axis", "axis 0 holds the real and the imaginary plane");
    give(in, z->type.rank, z->type.dims);
    return true;
}

static bool infer_fft_compress(struct infer *in) {
    struct bf_value *x = arg(in, "x");
    if (!need_rank(in, "x", 2, 2) || !positive(in, "chunk") || !positive(in, "keep"))
        return false;
    int64_t chunk = get(in, "chunk"), keep = get(in, "keep"), seq = x->type.dims[0];
    if (seq % chunk) {
        fail(in, "chunk", "chunk = %" PRId64 " does not divide the sequence length %" PRId64, chunk,
             seq);
        return came_from(in, x, "sequence length", seq);
    }
    if (keep > chunk)
        return fail(in, "keep", "keep = %" PRId64 " is above chunk = %" PRId64, keep, chunk);
    if (keep % 2 && !strcmp(bf_op_word(in->op, "mode"), "lowpass"))
        return fail(in, "keep", "keep = %" PRId64 ", must be even for lowpass", keep);
    give_like(in, x, 0, seq / chunk * keep);
    return true;
}

/* ---- attention ---- */

static bool check_attention_mask(struct infer *in, int64_t heads, int64_t queries, int64_t keys) {
    struct bf_value *mask = arg(in, "mask");
    if (!mask)
        return true;
    int64_t want[] = {heads, queries, keys};
    unsigned rank = mask->type.rank;
    bool ok = rank >= 1 && rank <= 3;
    for (unsigned i = 0; ok && i < rank; i++)
        ok = mask->type.dims[i] == want[3 - rank + i];
    if (ok)
        return true;
    fail(in, NULL,
         "mask is %s, must be u8[%" PRId64 "], u8[%" PRId64 ",%" PRId64 "] or u8[%" PRId64
         ",%" PRId64 ",%" PRId64 "] (heads, queries, keys)",
         show(in, mask), keys, queries, keys, heads, queries, keys);
    return type_came_from(in, mask);
}

static bool check_heads(struct infer *in) {
    struct bf_value *q = arg(in, "q"), *k = arg(in, "k");
    if (!positive(in, "heads"))
        return false;
    int64_t heads = get(in, "heads");
    if (width(q) % heads) {
        fail(in, "heads", "heads = %" PRId64 " does not divide the query width %" PRId64, heads,
             width(q));
        return came_from(in, q, "width", width(q));
    }
    if (!is_set(in, "kv_heads"))
        set(in, "kv_heads", heads);
    if (!positive(in, "kv_heads"))
        return false;
    int64_t kv_heads = get(in, "kv_heads"), h = width(q) / heads;
    if (heads % kv_heads)
        return fail(in, "kv_heads", "kv_heads = %" PRId64 " does not divide heads = %" PRId64,
                    kv_heads, heads);
    if (width(k) != kv_heads * h) {
        fail(in, "kv_heads",
             "the key width is %" PRId64 ", but %" PRId64
             " heads as wide as those of the query (%" PRId64 ") need %" PRId64,
             width(k), kv_heads, h, kv_heads * h);
        return came_from(in, k, "width", width(k));
    }
    return true;
}

static bool infer_attention(struct infer *in) {
    struct bf_value *q = arg(in, "q"), *k = arg(in, "k"), *v = arg(in, "v");
    if (!need_rank(in, "q", 2, 2) || !need_rank(in, "k", 2, 2) || !need_rank(in, "v", 2, 2) ||
        !check_heads(in))
        return false;
    if (!bf_type_same_shape(&k->type, &v->type)) {
        fail(in, NULL, "k is %s and v is %s, must be of one shape", show(in, k), show(in, v));
        type_came_from(in, k);
        return type_came_from(in, v);
    }
    int64_t queries = q->type.dims[0], keys = k->type.dims[0];
    if (get(in, "window") < 0)
        return fail(in, "window", "window = %" PRId64 ", must be 0 or more", get(in, "window"));
    const char *square = attr(in, "causal")->b ? "causal" : get(in, "window") ? "window" : NULL;
    if (square && queries != keys)
        return fail(in, square,
                    "%s needs as many queries as keys, not %" PRId64 " and %" PRId64
                    "; give a mask instead",
                    square, queries, keys);
    if (!check_attention_mask(in, get(in, "heads"), queries, keys))
        return false;
    give(in, 2, q->type.dims);
    return true;
}

static bool infer_rope(struct infer *in) {
    struct bf_value *x = arg(in, "x");
    if (!need_rank(in, "x", 2, BF_VALUE_RANK) || !positive(in, "heads"))
        return false;
    int64_t heads = get(in, "heads");
    if (width(x) % heads || width(x) / heads % 2) {
        fail(in, "heads",
             "the width %" PRId64 " of x is not heads = %" PRId64 " times an even number", width(x),
             heads);
        return came_from(in, x, "width", width(x));
    }
    if (get(in, "offset") < 0 || get(in, "offset") > INT32_MAX - x->type.dims[x->type.rank - 2])
        return fail(in, "offset", "offset = %" PRId64 " is out of range", get(in, "offset"));
    if (!(attr(in, "base")->f >= 1 && attr(in, "base")->f <= BF_ROTARY_BASE))
        return fail(in, "base", "base must be 1 to 1e12");
    give(in, x->type.rank, x->type.dims);
    return true;
}

/* ---- rows, elements, reductions ---- */

static bool check_axis_mask(struct infer *in, int64_t length) {
    struct bf_value *mask = arg(in, "mask");
    if (!mask || (mask->type.rank == 1 && mask->type.dims[0] == length))
        return true;
    fail(in, NULL, "mask is %s, must be u8[%" PRId64 "] as the axis", show(in, mask), length);
    return type_came_from(in, mask);
}

static bool infer_softmax(struct infer *in) {
    struct bf_value *x = arg(in, "x");
    if (!need_rank(in, "x", 1, BF_VALUE_RANK) ||
        !normal_axis(in, "axis", &attr(in, "axis")->i, x->type.rank) ||
        !check_axis_mask(in, x->type.dims[get(in, "axis")]))
        return false;
    give(in, x->type.rank, x->type.dims);
    return true;
}

static bool infer_norm(struct infer *in) {
    struct bf_value *x = arg(in, "x");
    if (!need_rank(in, "x", 1, BF_VALUE_RANK))
        return false;
    if (attr(in, "eps")->f < 0)
        return fail(in, "eps", "eps must not be negative");
    set(in, "dim", width(x));
    give(in, x->type.rank, x->type.dims);
    return true;
}

bool bf_broadcast(const struct bf_type *a, const struct bf_type *b, struct bf_type *result) {
    unsigned rank = a->rank > b->rank ? a->rank : b->rank;
    *result = (struct bf_type){.dtype = BF_F16, .rank = rank};
    for (unsigned i = 1; i <= rank; i++) {
        int64_t m = i <= a->rank ? a->dims[a->rank - i] : 1;
        int64_t n = i <= b->rank ? b->dims[b->rank - i] : 1;
        if (m != n && m != 1 && n != 1)
            return false;
        result->dims[rank - i] = m == 1 ? n : m;
    }
    return true;
}

static bool infer_elementwise(struct infer *in) {
    struct bf_value *x = in->op->args[0], *y = in->op->arg_count > 1 ? in->op->args[1] : x;
    if (bf_broadcast(&x->type, &y->type, &in->op->result.type))
        return true;
    fail(in, NULL, "the shapes of %s and %s do not fit", show(in, x), show(in, y));
    type_came_from(in, x);
    return type_came_from(in, y);
}

static bool infer_reduction(struct infer *in) {
    struct bf_value *x = arg(in, "x");
    if (!need_rank(in, "x", 1, BF_VALUE_RANK) ||
        !normal_axis(in, "axis", &attr(in, "axis")->i, x->type.rank))
        return false;
    unsigned axis = (unsigned)get(in, "axis"), rank = x->type.rank;
    if (!check_axis_mask(in, x->type.dims[axis]))
        return false;
    give_like(in, x, axis, 1);
    if (!attr(in, "keep")->b) {
        int64_t *dims = in->op->result.type.dims;
        memmove(dims + axis, dims + axis + 1, (rank - axis - 1) * sizeof *dims);
        dims[rank - 1] = 0;
        in->op->result.type.rank = rank - 1;
    }
    return true;
}

static bool infer_embedding(struct infer *in) {
    struct bf_value *ids = arg(in, "ids"), *weight = arg(in, "weight");
    if (!need_rank(in, "ids", 0, BF_VALUE_RANK - 1))
        return false;
    if (weight && !need_rank(in, "weight", 2, 2))
        return false;
    if (weight && !is_set(in, "num"))
        set(in, "num", weight->type.dims[0]);
    if (weight && !is_set(in, "dim"))
        set(in, "dim", weight->type.dims[1]);
    if (!is_set(in, "num") || !is_set(in, "dim"))
        return fail(in, NULL, "'%s' is missing", is_set(in, "num") ? "dim" : "num");
    int64_t want[] = {get(in, "num"), get(in, "dim")};
    if (!positive(in, "num") || !positive(in, "dim") || !check_weight(in, "weight", 2, want))
        return false;
    give(in, ids->type.rank, ids->type.dims);
    in->op->result.type.dims[in->op->result.type.rank++] = want[1];
    return true;
}

/* ---- layout: the element type and the exponent stay ---- */

static void keep_element(struct infer *in, const struct bf_value *x) {
    struct bf_type *type = &in->op->result.type;
    type->dtype = x->type.dtype == BF_F32 ? BF_F16 : x->type.dtype;
    type->exponent = x->type.exponent;
}

static bool infer_slice(struct infer *in) {
    struct bf_value *x = arg(in, "x");
    const struct bf_attr *begin = attr(in, "begin"), *end = attr(in, "end");
    unsigned rank = x->type.rank;
    int64_t dims[BF_MAX_RANK];
    if (begin->ints.count != rank || end->ints.count != rank)
        return fail(in, "begin", "begin and end need %u entries, one an axis of %s", rank,
                    show(in, x));
    for (unsigned i = 0; i < rank; i++) {
        int64_t b = begin->ints.v[i], e = end->ints.v[i];
        if (b < 0 || b >= e || e > x->type.dims[i]) {
            fail(in, NULL, "%" PRId64 " .. %" PRId64 " is no range inside axis %u of %s", b, e, i,
                 show(in, x));
            return type_came_from(in, x);
        }
        dims[i] = e - b;
    }
    give(in, rank, dims);
    keep_element(in, x);
    return true;
}

static bool infer_concat(struct infer *in) {
    struct bf_value *first = in->op->args[0];
    unsigned rank = first->type.rank;
    if (!rank)
        return fail(in, NULL, "a scalar has no axis to join along");
    if (!normal_axis(in, "axis", &attr(in, "axis")->i, rank))
        return false;
    unsigned axis = (unsigned)get(in, "axis");
    int64_t total = 0;
    for (unsigned i = 0; i < in->op->arg_count; i++) {
        struct bf_value *x = in->op->args[i];
        bool ok = x->type.rank == rank && is_float(x) == is_float(first) &&
                  (is_float(x) || x->type.dtype == first->type.dtype) &&
                  x->type.exponent == first->type.exponent;
        for (unsigned j = 0; ok && j < rank; j++)
            ok = j == axis || x->type.dims[j] == first->type.dims[j];
        if (!ok) {
            fail(in, NULL, "%s does not fit %s along axis %u", show(in, x), show(in, first), axis);
            type_came_from(in, first);
            return type_came_from(in, x);
        }
        total += x->type.dims[axis];
    }
    if (total > INT32_MAX)
        return fail(in, NULL, "the result is too large");
    give_like(in, first, axis, total);
    keep_element(in, first);
    return true;
}

static bool infer_reshape(struct infer *in) {
    struct bf_value *x = arg(in, "x");
    struct bf_attr *shape = attr(in, "shape");
    int64_t elements = bf_type_elements(&x->type), known = 1;
    int open = -1;
    if (shape->ints.count > BF_VALUE_RANK)
        return fail(in, "shape", "%u axes, the limit is %d", shape->ints.count, BF_VALUE_RANK);
    for (unsigned i = 0; i < shape->ints.count; i++) {
        int64_t size = shape->ints.v[i];
        if (size == -1 && open < 0)
            open = (int)i;
        else if (size < 1 || size > elements)
            return fail(in, "shape",
                        "axis %u is %" PRId64 ", which does not fit the %" PRId64 " elements of %s",
                        i, size, elements, show(in, x));
        else if (__builtin_mul_overflow(known, size, &known) || known > elements)
            return fail(in, "shape", "%s has fewer elements than the new shape", show(in, x));
    }
    if (open >= 0 && known <= elements && elements % known == 0) {
        shape->ints.v[open] = elements / known;
        known = elements;
    }
    if (known != elements) {
        fail(in, "shape", "%s has %" PRId64 " elements, which the new shape does not hold",
             show(in, x), elements);
        return type_came_from(in, x);
    }
    give(in, shape->ints.count, shape->ints.v);
    keep_element(in, x);
    return true;
}

static bool infer_transpose(struct infer *in) {
    struct bf_value *x = arg(in, "x");
    struct bf_attr *axes = attr(in, "axes");
    unsigned rank = x->type.rank, seen = 0;
    int64_t dims[BF_MAX_RANK];
    if (!is_set(in, "axes")) {
        if (!need_rank(in, "x", 2, BF_VALUE_RANK))
            return false;
        axes->type = BF_ATTR_INTS;
        axes->ints.count = rank;
        for (unsigned i = 0; i < rank; i++)
            axes->ints.v[i] = i < rank - 2 ? i : i == rank - 2 ? rank - 1 : rank - 2;
    }
    if (axes->ints.count != rank)
        return fail(in, "axes", "%u axes are given, %s has %u", axes->ints.count, show(in, x),
                    rank);
    for (unsigned i = 0; i < rank; i++) {
        if (!normal_axis(in, "axes", &axes->ints.v[i], rank))
            return false;
        if (seen & 1u << axes->ints.v[i])
            return fail(in, "axes", "axis %" PRId64 " is given twice", axes->ints.v[i]);
        seen |= 1u << axes->ints.v[i];
        dims[i] = x->type.dims[axes->ints.v[i]];
    }
    give(in, rank, dims);
    keep_element(in, x);
    return true;
}

/* ---- all of them ---- */

static bool (*const infer_functions[])(struct infer *) = {
    [BF_OP_PARAM] = infer_source,
    [BF_OP_CONSTANT] = infer_source,
    [BF_OP_LINEAR] = infer_linear,
    [BF_OP_BUTTERFLY] = infer_butterfly,
    [BF_OP_BLOCK_BUTTERFLY] = infer_block_butterfly,
    [BF_OP_MONARCH] = infer_monarch,
    [BF_OP_FOURIER] = infer_fourier,
    [BF_OP_FFT] = infer_fft,
    [BF_OP_FFT_COMPRESS] = infer_fft_compress,
    [BF_OP_ATTENTION] = infer_attention,
    [BF_OP_ROPE] = infer_rope,
    [BF_OP_SOFTMAX] = infer_softmax,
    [BF_OP_LAYERNORM] = infer_norm,
    [BF_OP_RMSNORM] = infer_norm,
    [BF_OP_ADD] = infer_elementwise,
    [BF_OP_SUB] = infer_elementwise,
    [BF_OP_MUL] = infer_elementwise,
    [BF_OP_DIV] = infer_elementwise,
    [BF_OP_SCALE] = infer_elementwise,
    [BF_OP_GELU] = infer_elementwise,
    [BF_OP_RELU] = infer_elementwise,
    [BF_OP_SILU] = infer_elementwise,
    [BF_OP_TANH] = infer_elementwise,
    [BF_OP_SIGMOID] = infer_elementwise,
    [BF_OP_MEAN] = infer_reduction,
    [BF_OP_SUM] = infer_reduction,
    [BF_OP_MAX] = infer_reduction,
    [BF_OP_EMBEDDING] = infer_embedding,
    [BF_OP_SLICE] = infer_slice,
    [BF_OP_CONCAT] = infer_concat,
    [BF_OP_RESHAPE] = infer_reshape,
    [BF_OP_TRANSPOSE] = infer_transpose,
};
_Static_assert(sizeof infer_functions / sizeof *infer_functions == BF_OP_COUNT,
               "every operator has a shape rule");

bool bf_net_infer(struct bf_net *net, struct bf_op *op, struct bf_diags *diags) {
    struct infer in = {net, op, bf_op_info(op->kind), diags};
    if (!complete(&in) || !check_operands(&in) || !infer_functions[op->kind](&in))
        return false;
    if (bf_type_elements(&op->result.type) > BF_MAX_ELEMENTS)
        return fail(&in, NULL, "the result %s is too large",
                    bf_type_text(&net->arena, &op->result.type));
    return true;
}

/* ---- parameters ---- */

/* One factor of a shape rule: an integer, an attribute, or an attribute over an integer. */
static int64_t rule_term(const struct bf_op *op, const char *term, size_t length) {
    char name[32];
    assert(length < sizeof name);
    memcpy(name, term, length);
    name[length] = 0;
    char *slash = strchr(name, '/');
    int64_t divisor = 1;
    if (slash) {
        divisor = strtoll(slash + 1, NULL, 10);
        *slash = 0;
    }
    if (*name >= '0' && *name <= '9')
        return strtoll(name, NULL, 10);
    return bf_op_int(op, name) / divisor;
}

bool bf_net_param_type(const struct bf_op *op, unsigned slot, struct bf_type *type) {
    const struct bf_op_info *info = bf_op_info(op->kind);
    if (op->kind == BF_OP_PARAM && slot == 0) {
        const struct bf_attr *shape = bf_op_attr(op, "shape");
        *type = bf_type_make(BF_F16, shape->ints.count, shape->ints.v);
        return true;
    }
    if (slot >= info->param_count)
        return false;
    const struct bf_param_info *param = &info->params[slot];
    if (bf_op_arg(op, param->name) || (*param->condition && !bf_op_bool(op, param->condition)))
        return false;
    *type = (struct bf_type){.dtype = BF_F16};
    for (const char *at = param->shape; *at;) {
        size_t length = strcspn(at, ", ");
        type->dims[type->rank++] = rule_term(op, at, length);
        at += length;
        at += strspn(at, ", ");
    }
    return true;
}

int bf_fourier_exponent(int64_t n) {
    return n < 1 ? 0 : (int)bf_log2_floor((uint64_t)n) / 2;
}
