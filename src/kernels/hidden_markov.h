/* One time step of a hidden Markov model (Rabiner 1989), on vectors of four states; float64 only.
 * `rc_hidden_markov` in kernels.h says what every function computes.
 *
 * The vectors have RC_STATE_VECTOR = 4 lanes with every instruction set, and sums over states run in four chains in a
 * fixed order, so that AVX2, AVX-512 and NEON give the same bits; the base instruction set rounds each multiply-add
 * twice. */
#pragma GCC diagnostic ignored "-Wpsabi"   /* of vectors as arguments: all functions that have them are inlined */
typedef double state_vec __attribute__((vector_size(8 * RC_STATE_VECTOR), aligned(8), may_alias));
typedef uint64_t state_mask __attribute__((vector_size(8 * RC_STATE_VECTOR), aligned(8), may_alias));
_Static_assert(RC_STATE_VECTOR == 4, "the loops below are unrolled for four states");

INLINE state_vec load_states(const double *p) { return *(const state_vec *)p; }
INLINE void store_states(double *p, state_vec v) { *(state_vec *)p = v; }
INLINE state_vec all_states(double x) { return (state_vec){x, x, x, x}; }

INLINE state_vec state_fma(state_vec a, state_vec b, state_vec c)
{
#if defined(ISA_V3) || defined(ISA_V4)
    return (state_vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(ISA_NEON)
    for (int i = 0; i < RC_STATE_VECTOR; i++) c[i] = __builtin_fma(a[i], b[i], c[i]);
    return c;
#else
    return a * b + c;
#endif
}

INLINE state_vec state_max(state_vec a, state_vec b)
{
    const state_mask greater = (state_mask)(a > b);
    return (state_vec)((greater & (state_mask)a) | (~greater & (state_mask)b));
}

/* x . M for the four columns of M that begin at `m`; M is (n, n). */
INLINE state_vec dot_columns(const double *x, const double *m, rc_idx n)
{
    state_vec s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    for (rc_idx i = 0; i < n; i += 4, m += 4 * n) {
        s0 = state_fma(all_states(x[i]), load_states(m), s0);
        s1 = state_fma(all_states(x[i + 1]), load_states(m + n), s1);
        s2 = state_fma(all_states(x[i + 2]), load_states(m + 2 * n), s2);
        s3 = state_fma(all_states(x[i + 3]), load_states(m + 3 * n), s3);
    }
    return (s0 + s1) + (s2 + s3);
}

/* The scale comes last, so that the division that made it runs beside the product. */
static double hmm_forward(const double *u, double scale, const double *trans, const double *b, rc_idx n, double *next)
{
    state_vec total = {0};
    for (rc_idx j = 0; j < n; j += 4) {
        const state_vec s = dot_columns(u, trans + j, n) * load_states(b + j) * scale;
        store_states(next + j, s);
        total += s;
    }
    return (total[0] + total[1]) + (total[2] + total[3]);
}

static void hmm_backward(const double *w, const double *trans_t, const double *b, double scale, rc_idx n, double *u,
                         double *gamma, double *w_before)
{
    for (rc_idx j = 0; j < n; j += 4) {
        const state_vec beta = dot_columns(w, trans_t + j, n), alpha = load_states(u + j) * scale;
        store_states(u + j, alpha);
        store_states(gamma + j, alpha * beta);
        store_states(w_before + j, load_states(b + j) * beta * scale);
    }
}

static void hmm_viterbi(const double *v, const double *log_trans, const double *log_b, rc_idx n, double *next)
{
    for (rc_idx j = 0; j < n; j += 4) {
        const double *m = log_trans + j;
        state_vec best = v[0] + load_states(m);
        for (rc_idx i = 1; i < n; i++) best = state_max(v[i] + load_states(m + i * n), best);
        store_states(next + j, best + load_states(log_b + j));
    }
}

static void hmm_outer(rc_idx steps, const double *x, rc_idx ldx, rc_idx p, const double *y, rc_idx n, double *sums)
{
    rc_idx k = 0;
    for (; k + 4 <= p; k += 4)
        for (rc_idx j = 0; j < n; j += 4) {
            double *out = sums + k * n + j;
            state_vec s0 = load_states(out), s1 = load_states(out + n);
            state_vec s2 = load_states(out + 2 * n), s3 = load_states(out + 3 * n);
            for (rc_idx t = 0; t < steps; t++) {
                const double *row = x + t * ldx + k;
                const state_vec right = load_states(y + t * n + j);
                s0 = state_fma(all_states(row[0]), right, s0);
                s1 = state_fma(all_states(row[1]), right, s1);
                s2 = state_fma(all_states(row[2]), right, s2);
                s3 = state_fma(all_states(row[3]), right, s3);
            }
            store_states(out, s0);
            store_states(out + n, s1);
            store_states(out + 2 * n, s2);
            store_states(out + 3 * n, s3);
        }
    for (; k < p; k++)
        for (rc_idx j = 0; j < n; j += 4) {
            state_vec s = load_states(sums + k * n + j);
            for (rc_idx t = 0; t < steps; t++) s = state_fma(all_states(x[t * ldx + k]), load_states(y + t * n + j), s);
            store_states(sums + k * n + j, s);
        }
}

static void hmm_moments(const double *x, const double *mean, const double *gamma, rc_idx features, int full, rc_idx n,
                        double *sums)
{
    for (rc_idx j = 0; j < n; j += 4) {
        const state_vec g = load_states(gamma + j);
        double *first = sums + j, *second = sums + (1 + features) * n + j;
        store_states(first, load_states(first) + g);
        for (rc_idx f = 0; f < features; f++) {
            const state_vec d = g * (x[f] - load_states(mean + f * n + j));
            first += n;
            store_states(first, load_states(first) + d);
            for (rc_idx e = full ? 0 : f; e <= f; e++, second += n)
                store_states(second, state_fma(d, x[e] - load_states(mean + e * n + j), load_states(second)));
        }
    }
}

static void hmm_gaussian(const double *x, const double *mean, const double *whiten, const double *constant,
                         rc_idx features, int full, rc_idx n, double *density)
{
    for (rc_idx j = 0; j < n; j += 4) {
        const double *row = whiten + j;
        state_vec square = {0};
        for (rc_idx f = 0; f < features; f++) {
            state_vec y = {0};
            for (rc_idx e = full ? 0 : f; e <= f; e++, row += n)
                y = state_fma(load_states(row), x[e] - load_states(mean + e * n + j), y);
            square = state_fma(y, y, square);
        }
        store_states(density + j, state_fma(all_states(-0.5), square, load_states(constant + j)));
    }
}

static double hmm_subtract_max(double *x, rc_idx n)
{
    state_vec best = load_states(x);
    for (rc_idx j = 4; j < n; j += 4) best = state_max(load_states(x + j), best);
    double top = best[0];
    for (int i = 1; i < 4; i++) top = best[i] > top ? best[i] : top;
    if (top == -__builtin_inf()) return 0;
    for (rc_idx j = 0; j < n; j += 4) store_states(x + j, load_states(x + j) - top);
    return top;
}

/* Above -708 vexp is exact to its last place or two; EXP_LOWEST lies a little lower. */
static void hmm_exp(double *x, rc_idx n)
{
    const vec zero = {0}, lowest = vset(-708);
    for (rc_idx i = 0; i < n; i += LANES) {
        const vec y = vload_n(x + i, n - i);
        vstore_n(x + i, vselect_less(lowest, y, vexp(y), zero), n - i);
    }
}

static const rc_hidden_markov hidden_markov = {
    .forward = hmm_forward, .backward = hmm_backward, .viterbi = hmm_viterbi, .outer = hmm_outer,
    .moments = hmm_moments, .gaussian = hmm_gaussian, .subtract_max = hmm_subtract_max, .exp = hmm_exp,
};
