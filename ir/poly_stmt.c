/* poly_stmt.c - statements, accesses and dependences of a kernel as isl objects, built by the API
 * (parsing the same text costs twenty times as much). Every object is one space and, but for
 * dependences with several carriers, one basic map without divs. */
#include "ir/poly.h"

#include <isl/constraint.h>
#include <isl/local_space.h>
#include <isl/space.h>
#include <stdlib.h>

static bool has(uint64_t mask, size_t digit) {
    return mask >> digit & 1;
}

static unsigned count_bits(uint64_t mask) {
    unsigned n = 0;
    for (; mask; mask &= mask - 1)
        n++;
    return n;
}

/* Position of a digit in a tuple over `mask`. */
static unsigned position(uint64_t mask, int digit) {
    return count_bits(mask & ((UINT64_C(1) << digit) - 1));
}

static __isl_give isl_space *name_digits(__isl_take isl_space *space, enum isl_dim_type type,
                                         const struct bf_poly_kernel *kernel, uint64_t mask) {
    unsigned at = 0;
    for (size_t d = 0; d < kernel->digits.count; d++)
        if (has(mask, d))
            space = isl_space_set_dim_name(space, type, at++, kernel->digits.data[d].name);
    return space;
}

static __isl_give isl_set *box(struct bf_poly *poly, const struct bf_poly_kernel *kernel,
                               const char *name, uint64_t mask) {
    isl_space *space = isl_space_set_alloc(poly->isl, 0, count_bits(mask));
    space = name_digits(space, isl_dim_set, kernel, mask);
    space = isl_space_set_tuple_name(space, isl_dim_set, name);
    isl_set *set = isl_set_universe(space);
    unsigned at = 0;
    for (size_t d = 0; d < kernel->digits.count; d++) {
        if (!has(mask, d))
            continue;
        set = isl_set_lower_bound_si(set, isl_dim_set, at, 0);
        set = isl_set_upper_bound_si(set, isl_dim_set, at, (int)kernel->digits.data[d].radix - 1);
        at++;
    }
    return set;
}

struct bf_stmt *bf_poly_add_stmt(struct bf_poly *poly, struct bf_poly_kernel *kernel,
                                 const char *name, enum bf_stmt_kind kind, uint64_t mask) {
    struct bf_stmt *stmt = bf_push(&kernel->stmts);
    memset(stmt, 0, sizeof *stmt);
    stmt->name = bf_arena_strdup(&poly->arena, name);
    stmt->kind = kind;
    stmt->digit = -1;
    stmt->step = -1;
    stmt->loc = kernel->loc;
    stmt->domain = box(poly, kernel, name, mask);
    return stmt;
}

/* Which digits a statement has, from its domain's dimension names. */
static uint64_t stmt_mask(const struct bf_poly_kernel *kernel, const struct bf_stmt *stmt) {
    uint64_t mask = 0;
    isl_size n = isl_set_dim(stmt->domain, isl_dim_set);
    for (isl_size i = 0; i < n; i++) {
        const char *name = isl_set_get_dim_name(stmt->domain, isl_dim_set, (unsigned)i);
        for (size_t d = 0; name && d < kernel->digits.count; d++)
            if (!strcmp(kernel->digits.data[d].name, name))
                mask |= UINT64_C(1) << d;
    }
    return mask;
}

static void push_access(struct bf_poly *poly, struct bf_stmt *stmt, enum bf_role role,
                        const char *array, int operand, __isl_take isl_map *map) {
    *bf_push(&stmt->accesses) =
        (struct bf_access){role, bf_arena_strdup(&poly->arena, array), operand, map};
}

void bf_poly_add_access(struct bf_poly *poly, struct bf_poly_kernel *kernel, struct bf_stmt *stmt,
                        enum bf_role role, const char *array, uint64_t mask, int operand,
                        int fixed_digit, int64_t fixed) {
    uint64_t own = stmt_mask(kernel, stmt);
    isl_set *elements = box(poly, kernel, array, mask);
    isl_map *map = isl_map_from_domain_and_range(isl_set_copy(stmt->domain), elements);
    for (size_t d = 0; d < kernel->digits.count; d++) {
        if (!has(mask, d))
            continue;
        unsigned out = position(mask, (int)d);
        if ((int)d == fixed_digit)
            map = isl_map_fix_si(map, isl_dim_out, out, (int)fixed);
        else if (has(own, d))
            map = isl_map_equate(map, isl_dim_in, position(own, (int)d), isl_dim_out, out);
    }
    push_access(poly, stmt, role, array, operand, map);
}

/* sum of weight x digit over `mask`, as coefficients of the statement's dimensions. */
static __isl_give isl_constraint *add_digits(__isl_take isl_constraint *c,
                                             const struct bf_poly_kernel *kernel, uint64_t own,
                                             uint64_t mask, enum bf_role role, int sign) {
    for (size_t d = 0; d < kernel->digits.count; d++) {
        const struct bf_digit *digit = &kernel->digits.data[d];
        int64_t weight = role == BF_READ ? digit->weight : digit->out_weight;
        if (has(mask & own, d))
            c = isl_constraint_set_coefficient_si(c, isl_dim_in, (int)position(own, (int)d),
                                                  sign * (int)weight);
    }
    return c;
}

/* Largest sum of weight x digit. */
static int64_t largest(const struct bf_poly_kernel *kernel, uint64_t mask, enum bf_role role) {
    int64_t sum = 0;
    for (size_t d = 0; d < kernel->digits.count; d++) {
        const struct bf_digit *digit = &kernel->digits.data[d];
        if (has(mask, d))
            sum += (digit->radix - 1) * (role == BF_READ ? digit->weight : digit->out_weight);
    }
    return sum;
}

/* out[at] = origin + sum, and sum < extent unless it always is. If the statement has none of the
 * digits (it reduces along that axis), out[at] is free within the extent. */
static __isl_give isl_map *linear_axis(__isl_take isl_map *map, const struct bf_poly_kernel *kernel,
                                       uint64_t own, uint64_t mask, enum bf_role role, int at,
                                       int64_t origin, int64_t extent) {
    if (mask && !(mask & own)) {
        map = isl_map_lower_bound_si(map, isl_dim_out, (unsigned)at, (int)origin);
        return isl_map_upper_bound_si(map, isl_dim_out, (unsigned)at, (int)(origin + extent - 1));
    }
    isl_local_space *space = isl_local_space_from_space(isl_map_get_space(map));
    isl_constraint *equal = isl_constraint_alloc_equality(isl_local_space_copy(space));
    equal = add_digits(equal, kernel, own, mask, role, 1);
    equal = isl_constraint_set_coefficient_si(equal, isl_dim_out, at, -1);
    equal = isl_constraint_set_constant_si(equal, (int)origin);
    map = isl_map_add_constraint(map, equal);
    if (largest(kernel, mask & own, role) < extent) {
        isl_local_space_free(space);
        return map;
    }
    isl_constraint *guard = isl_constraint_alloc_inequality(space);
    guard = add_digits(guard, kernel, own, mask, role, -1);
    guard = isl_constraint_set_constant_si(guard, (int)extent - 1);
    return isl_map_add_constraint(map, guard);
}

static bool same_rectangle(const struct bf_operand *a, const struct bf_operand *b) {
    return a->buffer == b->buffer && a->row == b->row && a->col == b->col && a->rows == b->rows &&
           a->cols == b->cols;
}

bool bf_is_boundary(const char *array) {
    size_t word = !strncmp(array, "in", 2) ? 2 : !strncmp(array, "out", 3) ? 3 : 0;
    return word && array[word] >= '0' && array[word] <= '9';
}

/* "in0": the number of an operand among the kernel's inputs or outputs. */
static const char *boundary_name(struct bf_poly *poly, const struct bf_poly_kernel *kernel,
                                 enum bf_role role, const struct bf_operand *operand) {
    size_t count = role == BF_READ ? kernel->inputs.count : kernel->outputs.count, i = 0;
    const struct bf_operand *operands =
        role == BF_READ ? kernel->inputs.data : kernel->outputs.data;
    while (i < count && !same_rectangle(&operands[i], operand))
        i++;
    return bf_arena_printf(&poly->arena, "%s%zu", role == BF_READ ? "in" : "out", i);
}

/* The same relation as isl has it after reading its text, so that printing it is a fixpoint. */
static __isl_give isl_map *as_read(struct bf_poly *poly, __isl_take isl_map *map) {
    char *text = isl_map_to_str(map);
    isl_map *read = text ? isl_map_read_from_str(poly->isl, text) : NULL;
    free(text);
    isl_map_free(map);
    return read;
}

void bf_poly_add_boundary(struct bf_poly *poly, struct bf_poly_kernel *kernel, struct bf_stmt *stmt,
                          enum bf_role role, const struct bf_operand *operand, int sample,
                          uint64_t row_mask, uint64_t column_mask) {
    uint64_t own = stmt_mask(kernel, stmt);
    const char *array = boundary_name(poly, kernel, role, operand);
    isl_space *range = isl_space_set_alloc(poly->isl, 0, 3);
    range = isl_space_set_tuple_name(range, isl_dim_set, array);
    isl_map *map =
        isl_map_from_domain_and_range(isl_set_copy(stmt->domain), isl_set_universe(range));
    if (sample >= 0 && has(own, (size_t)sample))
        map = isl_map_equate(map, isl_dim_in, position(own, sample), isl_dim_out, 0);
    else
        map = isl_map_fix_si(map, isl_dim_out, 0, 0);
    map = linear_axis(map, kernel, own, row_mask, role, 1, operand->row, operand->rows);
    map = linear_axis(map, kernel, own, column_mask, role, 2, operand->col, operand->cols);
    map = isl_map_coalesce(isl_map_remove_redundancies(as_read(poly, map)));
    push_access(poly, stmt, role, array, 0, map);
}

__isl_give isl_map *bf_stmt_accesses(const struct bf_stmt *stmt, enum bf_role role,
                                     const char *array) {
    isl_map *all = NULL;
    for (size_t a = 0; a < stmt->accesses.count; a++) {
        const struct bf_access *access = &stmt->accesses.data[a];
        if (access->role != role || strcmp(access->array, array))
            continue;
        isl_map *map = isl_map_copy(access->map);
        all = all ? isl_map_coalesce(isl_map_union(all, map)) : map;
    }
    return all;
}

static void add_dep(struct bf_poly_kernel *kernel, int from, int to, const char *array,
                    __isl_take isl_map *write) {
    isl_map *read = bf_stmt_accesses(&kernel->stmts.data[to], BF_READ, array);
    if (!read) {
        isl_map_free(write);
        return;
    }
    isl_map *dep = isl_map_apply_range(write, isl_map_reverse(read));
    if (isl_map_is_empty(dep) == isl_bool_true) {
        isl_map_free(dep);
        return;
    }
    *bf_push(&kernel->deps) = (struct bf_dep){from, to, array, isl_map_coalesce(dep)};
}

/* Whether an earlier access of the same statement writes the same array. */
static bool seen_before(const struct bf_stmt *stmt, size_t access) {
    for (size_t a = 0; a < access; a++)
        if (stmt->accesses.data[a].role == BF_WRITE &&
            !strcmp(stmt->accesses.data[a].array, stmt->accesses.data[access].array))
            return true;
    return false;
}

void bf_poly_compute_deps(struct bf_poly *poly, struct bf_poly_kernel *kernel) {
    (void)poly;
    for (size_t s = 0; s < kernel->stmts.count; s++) {
        struct bf_stmt *stmt = &kernel->stmts.data[s];
        for (size_t a = 0; a < stmt->accesses.count; a++) {
            const char *array = stmt->accesses.data[a].array;
            if (stmt->accesses.data[a].role != BF_WRITE || bf_is_boundary(array) ||
                seen_before(stmt, a))
                continue;
            for (size_t r = 0; r < kernel->stmts.count; r++)
                add_dep(kernel, (int)s, (int)r, array, bf_stmt_accesses(stmt, BF_WRITE, array));
        }
    }
}
