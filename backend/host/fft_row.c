/* fft_row.c - see fft_row.h. */
#include "backend/host/fft_row.h"

#include "ir/angles.h"

/* ---- the plan and its tables ---- */

/* Whether one pass of radix r can do it, which must fit the registers where it has twiddles. */
static bool is_radix(int64_t r, unsigned largest) {
    struct bf_fft fft;
    return r == 1 || (r <= largest && bf_fft_plan(&fft, r, largest) && fft.passes == 1);
}

bool bf_fft_row_plan(struct bf_fft_row *row, int64_t points, unsigned lanes, unsigned largest,
                     bool even) {
    *row = (struct bf_fft_row){.lanes = lanes, .points = points, .vectors = points / lanes};
    if (points % lanes || lanes > largest)
        return false;
    for (unsigned ra = 1; ra <= (even ? 8 : largest); ra++) {
        bool fits = row->vectors % ra == 0 && is_radix(ra, largest) &&
                    is_radix(row->vectors / ra, largest) && (!even || ra % 2 == 0);
        /* 8, or the largest below it; more only where it must be */
        if (fits && (ra <= 8 || !row->ra)) {
            row->ra = ra;
            row->rb = (unsigned)(row->vectors / ra);
        }
    }
    return row->ra != 0;
}

int64_t bf_fft_row_twiddles(const struct bf_fft_row *row) {
    return 2 * (int64_t)row->rb * (row->ra - 1);
}
int64_t bf_fft_row_factors(const struct bf_fft_row *row) {
    return 2 * row->points;
}
int64_t bf_fft_row_scratch(const struct bf_fft_row *row) {
    return 4 * row->points;
}

void bf_fft_row_pack_twiddles(const struct bf_fft_row *row, float *out) {
    for (int64_t a = 0; a < row->rb; a++)
        for (int64_t j = 1; j < row->ra; j++) {
            double c, s;
            bf_root_of_unity(a * j % row->vectors, row->vectors, &c, &s);
            *out++ = (float)c;
            *out++ = (float)-s;
        }
}

void bf_fft_row_pack_factors(const struct bf_fft_row *row, double scale, float *out) {
    int64_t lanes = row->lanes;
    for (int64_t ka = 0; ka < row->vectors; ka++)
        for (int64_t l = 0; l < lanes; l++) {
            double c, s;
            bf_root_of_unity(l * ka % row->points, row->points, &c, &s);
            out[2 * ka * lanes + l] = (float)(c * scale);
            out[(2 * ka + 1) * lanes + l] = (float)(-s * scale);
        }
}

/* ---- code ---- */

/* Vector pair number `pair` from base on. */
static LLVMValueRef pair_at(const struct bf_fft_row_code *r, LLVMValueRef base, LLVMValueRef pair) {
    return bf_ll_at(r->ll, base, bf_ll_mul_int(r->ll, pair, 2 * r->row->lanes));
}

static struct bf_complex splat(const struct bf_fft_row_code *r, LLVMValueRef at) {
    return bf_complex_load_splat(r->ll, at, r->row->lanes);
}

/* Over j of a = a0 + rb j, for each a0: to halves[j'][a0]. */
static void first_pass(const struct bf_fft_row_code *r, LLVMValueRef halves) {
    struct bf_ll *ll = r->ll;
    unsigned ra = r->row->ra, rb = r->row->rb;
    struct bf_complex x[BF_FFT_LARGEST_RADIX];
    struct bf_fft_loop loop;
    bf_fft_loop_begin(ll, &loop, rb);
    for (unsigned j = 0; j < ra; j++)
        x[j] = r->load(r->user, loop.index, j);
    bf_fft_dft(ll, ra, x);
    LLVMValueRef twiddles =
        bf_ll_at(ll, r->twiddles, bf_ll_mul_int(ll, loop.index, 2 * ((int64_t)ra - 1)));
    for (unsigned j = 0; j < ra; j++) {
        if (j && rb > 1)
            x[j] = bf_complex_mul(ll, x[j], splat(r, bf_ll_at_int(ll, twiddles, 2 * (j - 1))));
        bf_complex_store(ll, pair_at(r, halves, bf_ll_add_int(ll, loop.index, j * rb)), x[j],
                         r->row->lanes);
    }
    bf_fft_loop_end(ll, &loop);
}

/* Over a0, for each j': ka = j' + ra k0, times the lanes' factors: to full[ka]. */
static void second_pass(const struct bf_fft_row_code *r, LLVMValueRef halves, LLVMValueRef full) {
    struct bf_ll *ll = r->ll;
    unsigned ra = r->row->ra, rb = r->row->rb, lanes = r->row->lanes;
    struct bf_complex x[BF_FFT_LARGEST_RADIX];
    struct bf_fft_loop loop;
    bf_fft_loop_begin(ll, &loop, ra);
    LLVMValueRef first = bf_ll_mul_int(ll, loop.index, rb);
    for (unsigned a = 0; a < rb; a++)
        x[a] = bf_complex_load(ll, pair_at(r, halves, bf_ll_add_int(ll, first, a)), lanes);
    bf_fft_dft(ll, rb, x);
    for (unsigned k = 0; k < rb; k++) {
        LLVMValueRef ka = bf_ll_add_int(ll, loop.index, k * ra);
        struct bf_complex factor = bf_complex_load(ll, pair_at(r, r->factors, ka), lanes);
        factor = bf_complex_mul(ll, x[k], factor);
        bf_complex_store(ll, pair_at(r, full, ka), factor, lanes);
    }
    bf_fft_loop_end(ll, &loop);
}

/* Vectors ka = [first, first + count): transposed, and transformed over the lanes they had. */
static void last_pass(const struct bf_fft_row_code *r, LLVMValueRef full, LLVMValueRef first,
                      unsigned count) {
    struct bf_ll *ll = r->ll;
    unsigned lanes = r->row->lanes;
    struct bf_complex x[BF_FFT_LARGEST_RADIX];
    for (unsigned plane = 0; plane < 2; plane++) {
        LLVMValueRef rows[BF_FFT_LARGEST_RADIX];
        for (unsigned i = 0; i < lanes; i++) {
            LLVMValueRef at = pair_at(r, full, bf_ll_add_int(ll, first, i));
            rows[i] = i < count
                          ? bf_ll_load(ll, bf_ll_at_int(ll, at, plane * lanes), lanes, 4 * lanes)
                          : bf_ll_const(ll, lanes, 0);
        }
        bf_ll_transpose(ll, rows, lanes);
        for (unsigned l = 0; l < lanes; l++)
            *(plane ? &x[l].im : &x[l].re) = rows[l];
    }
    bf_fft_dft(ll, lanes, x);
    for (unsigned kl = 0; kl < lanes; kl++) {
        if (r->real)
            x[kl].im = NULL;
        r->store(r->user, bf_ll_add_int(ll, first, kl * r->row->vectors), kl == 0, x[kl], count);
    }
}

void bf_fft_row(const struct bf_fft_row_code *r) {
    struct bf_ll *ll = r->ll;
    int64_t lanes = r->row->lanes, whole = r->row->vectors / lanes * lanes;
    LLVMValueRef full = bf_ll_at_int(ll, r->scratch, 2 * r->row->points);
    struct bf_ll_loop loop;
    first_pass(r, r->scratch);
    second_pass(r, r->scratch, full);
    bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), bf_ll_int(ll, whole), lanes);
    last_pass(r, full, loop.index, (unsigned)lanes);
    bf_ll_loop_end(ll, &loop);
    if (whole < r->row->vectors)
        last_pass(r, full, bf_ll_int(ll, whole), (unsigned)(r->row->vectors - whole));
}
