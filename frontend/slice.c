/* slice.c - x[...]: parts of tensors, elements of lists. */
#include "frontend/sema.h"

bool fe_axis(struct fe_sema *sema, struct fe_frame *frame, struct ast_span span, int64_t axis,
             unsigned rank, unsigned *result) {
    int64_t from_front = axis < 0 ? axis + (int64_t)rank : axis;
    if (from_front >= 0 && from_front < (int64_t)rank) {
        *result = (unsigned)from_front;
        return true;
    }
    if (rank == 0)
        fe_wrong(sema, frame, span, "a scalar has no axes");
    else
        fe_wrong(sema, frame, span, "axis %lld of a tensor with %u ax%ss; there are %d to %u",
                 (long long)axis, rank, rank == 1 ? "i" : "e", -(int)rank, rank - 1);
    return false;
}

/* What is taken of a tensor. */
struct part {
    int64_t begin[BF_MAX_RANK], end[BF_MAX_RANK];
    bool dropped[BF_MAX_RANK]; /* a single index removes its axis */
};

static bool is_rest(const struct ast_index *index) {
    return index->range && !index->low && !index->high;
}

static bool bound(struct fe_sema *sema, struct fe_frame *frame, const struct ast_expr *expr,
                  int64_t size, int64_t *value) {
    if (!fe_eval_int(sema, frame, expr, "an index", value))
        return false;
    if (*value < 0)
        *value += size;
    return true;
}

static bool take(struct fe_sema *sema, struct fe_frame *frame, const struct ast_index *index,
                 unsigned axis, int64_t size, struct part *part) {
    int64_t *begin = &part->begin[axis], *end = &part->end[axis];
    *begin = 0;
    *end = size;
    if ((index->low && !bound(sema, frame, index->low, size, begin)) ||
        (index->high && !bound(sema, frame, index->high, size, end)))
        return false;
    if (!index->range) {
        part->dropped[axis] = true;
        *end = *begin + 1;
        if (*begin >= 0 && *begin < size)
            return true;
        fe_wrong(sema, frame, index->span, "index %lld is outside of axis %u, whose size is %lld",
                 (long long)*begin, axis, (long long)size);
        return false;
    }
    if (*begin >= 0 && *begin < *end && *end <= size)
        return true;
    fe_wrong(sema, frame, index->span, "%lld .. %lld is %s axis %u, whose size is %lld",
             (long long)*begin, (long long)*end,
             *begin >= *end ? "an empty range of" : "not within", axis, (long long)size);
    return false;
}

/* One `..` alone stands for all axes that the other indices leave over; where there are several,
 * each stands for one axis. Axes that are not mentioned at the end are taken whole. */
static bool take_all(struct fe_sema *sema, struct fe_frame *frame, const struct ast_expr *expr,
                     const struct bf_type *type, struct part *part) {
    unsigned count = 0, rests = 0, axis = 0;
    for (const struct ast_index *i = expr->indices; i; i = i->next) {
        count++;
        rests += is_rest(i);
    }
    unsigned needed = rests == 1 ? count - 1 : count;
    if (needed > type->rank) {
        fe_wrong(sema, frame, expr->span, "%u indices for a tensor %s", needed,
                 bf_type_text(&sema->arena, type));
        return false;
    }
    for (const struct ast_index *i = expr->indices; i; i = i->next) {
        unsigned width = rests == 1 && is_rest(i) ? type->rank - needed : 1;
        for (; width > 0; width--, axis++)
            if (!take(sema, frame, i, axis, type->dims[axis], part))
                return false;
    }
    for (; axis < type->rank; axis++)
        part->end[axis] = type->dims[axis];
    return true;
}

static struct fe_value slice(struct fe_sema *sema, struct fe_frame *frame,
                             const struct ast_expr *expr, struct bf_value *tensor) {
    struct part part = {0};
    struct bf_type type = tensor->type;
    if (!take_all(sema, frame, expr, &type, &part))
        return fe_broken();
    int64_t kept[BF_MAX_RANK];
    unsigned rank = 0;
    bool whole = true;
    for (unsigned i = 0; i < type.rank; i++) {
        whole &= part.end[i] - part.begin[i] == type.dims[i];
        if (!part.dropped[i])
            kept[rank++] = part.end[i] - part.begin[i];
    }
    struct fe_value result = fe_tensor(tensor);
    struct bf_attrs attrs = {0};
    if (!whole) {
        bf_attrs_set_ints(&attrs, BF_OP_SLICE, "begin", part.begin, type.rank);
        bf_attrs_set_ints(&attrs, BF_OP_SLICE, "end", part.end, type.rank);
        result = fe_append(sema, frame, BF_OP_SLICE, &tensor, 1, &attrs, NULL, expr->span);
    }
    if (rank == type.rank || result.kind != FE_TENSOR)
        return result;
    attrs = (struct bf_attrs){0};
    bf_attrs_set_ints(&attrs, BF_OP_RESHAPE, "shape", kept, rank);
    return fe_append(sema, frame, BF_OP_RESHAPE, &result.tensor, 1, &attrs, NULL, expr->span);
}

static struct fe_value element(struct fe_sema *sema, struct fe_frame *frame,
                               const struct ast_expr *expr, const struct fe_value *list) {
    const struct ast_index *index = expr->indices;
    int64_t i, size = (int64_t)list->list.count;
    if (index->next || index->range) {
        fe_wrong(sema, frame, index->span, "a list takes one index");
        return fe_broken();
    }
    if (!bound(sema, frame, index->low, size, &i))
        return fe_broken();
    if (i >= 0 && i < size)
        return list->list.items[i];
    fe_wrong(sema, frame, index->span, "index %lld is outside of a list of %lld", (long long)i,
             (long long)size);
    return fe_broken();
}

struct fe_value fe_eval_index(struct fe_sema *sema, struct fe_frame *frame,
                              const struct ast_expr *expr) {
    struct fe_value value = fe_eval_one(sema, frame, expr->left);
    if (value.kind == FE_TENSOR)
        return slice(sema, frame, expr, value.tensor);
    if (value.kind == FE_LIST)
        return element(sema, frame, expr, &value);
    if (value.kind != FE_BROKEN)
        fe_wrong(sema, frame, expr->span, "only tensors and lists have indices, not %s",
                 fe_describe(sema, &value));
    return fe_broken();
}
