/* One time step of a hidden Markov lattice, on vectors of four states.
 *
 * n is the number of states padded to a multiple of 4. Padded rows and columns hold probability 0
 * (log -inf), so that no loop has a tail. Sums over states run in four chains in a fixed order and
 * nothing is contracted, so every instruction set gives the same bits.
 */
#ifndef RNNCORE_LATTICE_H
#define RNNCORE_LATTICE_H

#include <math.h>
#include <stddef.h>
#include <time.h>

/* The same C compiled for several instruction sets; the loader picks one. Needs ifunc (gcc and glibc). */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && !defined(RNNCORE_DEBUG)
#define LATTICE_KERNEL __attribute__((noinline, target_clones("avx2", "default"))) static
#else
#define LATTICE_KERNEL static
#endif

typedef double lattice_v4 __attribute__((vector_size(32), aligned(8), may_alias));
typedef unsigned long long lattice_m4 __attribute__((vector_size(32), aligned(8), may_alias));

#define V4(p) (*(lattice_v4 *)(p))
#define CV4(p) (*(const lattice_v4 *)(p))
#define V4_SUM(v) (((v)[0] + (v)[1]) + ((v)[2] + (v)[3]))
#define V4_MAX(a, b, out)                                                             \
    do {                                                                              \
        lattice_m4 more_ = (lattice_m4)((a) > (b));                                   \
        (out) = (lattice_v4)((more_ & (lattice_m4)(a)) | (~more_ & (lattice_m4)(b))); \
    } while (0)

/* s = x . M for the four columns of M that start at `m`. */
#define LATTICE_DOT(s, x, m, n)                              \
    do {                                                     \
        lattice_v4 s0_ = {0}, s1_ = {0}, s2_ = {0}, s3_ = {0}; \
        const double *m_ = (m);                              \
        for (ptrdiff_t i_ = 0; i_ < (n); i_ += 4) {          \
            s0_ += (x)[i_] * CV4(m_);                        \
            s1_ += (x)[i_ + 1] * CV4(m_ + (n));              \
            s2_ += (x)[i_ + 2] * CV4(m_ + 2 * (n));          \
            s3_ += (x)[i_ + 3] * CV4(m_ + 3 * (n));          \
            m_ += 4 * (n);                                   \
        }                                                    \
        (s) = (s0_ + s1_) + (s2_ + s3_);                     \
    } while (0)

/* The counter's value, and one more for whoever asks next, in whatever thread. */
static inline ptrdiff_t lattice_take(ptrdiff_t *counter)
{
    return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static inline long long lattice_now(void)       /* ns of a clock that only goes on */
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* next = scale * (u . A) * b; returns the sum of next. The scale comes last, so that the division
 * that made it runs beside the product. */
LATTICE_KERNEL double lattice_forward(const double *u, double scale, const double *trans,
                                      const double *b, ptrdiff_t n, double *next)
{
    lattice_v4 total = {0};
    for (ptrdiff_t j = 0; j < n; j += 4) {
        lattice_v4 s;
        LATTICE_DOT(s, u, trans + j, n);
        s = s * CV4(b + j) * scale;
        V4(next + j) = s;
        total += s;
    }
    return V4_SUM(total);
}

/* beta = w . A'; alpha = u * scale; gamma = alpha * beta; w_before = b * beta * scale.
 * w_before may be b itself, alpha is u. */
LATTICE_KERNEL void lattice_backward(const double *w, const double *trans_t, const double *b,
                                     double scale, ptrdiff_t n, double *u, double *gamma,
                                     double *w_before)
{
    for (ptrdiff_t j = 0; j < n; j += 4) {
        lattice_v4 beta, alpha = CV4(u + j) * scale;
        LATTICE_DOT(beta, w, trans_t + j, n);
        V4(u + j) = alpha;
        V4(gamma + j) = alpha * beta;
        V4(w_before + j) = CV4(b + j) * beta * scale;
    }
}

/* next = max_i(v_i + log A_i.) + log b */
LATTICE_KERNEL void lattice_viterbi(const double *v, const double *log_trans, const double *log_b,
                                    ptrdiff_t n, double *next)
{
    for (ptrdiff_t j = 0; j < n; j += 4) {
        const double *m = log_trans + j;
        lattice_v4 best = v[0] + CV4(m);
        for (ptrdiff_t i = 1; i < n; i++) {
            lattice_v4 s = v[i] + CV4(m + i * n);
            V4_MAX(s, best, best);
        }
        V4(next + j) = best + CV4(log_b + j);
    }
}

/* sums[k, :] += sum_t x[t, k] y[t, :] for t in order; x is (steps, p), y and sums are n wide. */
LATTICE_KERNEL void lattice_outer(ptrdiff_t steps, const double *x, ptrdiff_t ldx, ptrdiff_t p,
                                  const double *y, ptrdiff_t n, double *sums)
{
    ptrdiff_t k = 0;
    for (; k + 4 <= p; k += 4)
        for (ptrdiff_t j = 0; j < n; j += 4) {
            double *out = sums + k * n + j;
            lattice_v4 s0 = V4(out), s1 = V4(out + n), s2 = V4(out + 2 * n), s3 = V4(out + 3 * n);
            for (ptrdiff_t t = 0; t < steps; t++) {
                const double *row = x + t * ldx + k;
                lattice_v4 right = CV4(y + t * n + j);
                s0 += row[0] * right;
                s1 += row[1] * right;
                s2 += row[2] * right;
                s3 += row[3] * right;
            }
            V4(out) = s0, V4(out + n) = s1, V4(out + 2 * n) = s2, V4(out + 3 * n) = s3;
        }
    for (; k < p; k++)
        for (ptrdiff_t j = 0; j < n; j += 4) {
            lattice_v4 s = V4(sums + k * n + j);
            for (ptrdiff_t t = 0; t < steps; t++)
                s += x[t * ldx + k] * CV4(y + t * n + j);
            V4(sums + k * n + j) = s;
        }
}

/* sums (rows, n) += g, g d_f, and g d_f² or g d_f d_e for e <= f, with d = x - mean_j and g =
 * gamma[j]: 1 + features rows, then for every feature f its products. */
LATTICE_KERNEL void lattice_moments(const double *x, const double *mean, const double *gamma,
                                    ptrdiff_t features, int full, ptrdiff_t n, double *sums)
{
    for (ptrdiff_t j = 0; j < n; j += 4) {
        const lattice_v4 g = CV4(gamma + j);
        double *first = sums + j, *second = sums + (1 + features) * n + j;
        V4(first) += g;
        for (ptrdiff_t f = 0; f < features; f++) {
            lattice_v4 d = g * (x[f] - CV4(mean + f * n + j));
            V4(first += n) += d;
            for (ptrdiff_t e = full ? 0 : f; e <= f; e++, second += n)
                V4(second) += d * (x[e] - CV4(mean + e * n + j));
        }
    }
}

/* density[j] = constant[j] - |W_j (x - mean_j)|^2 / 2;
 * mean (features, n); whiten: for every feature f its row of W, (0 .. f) when full, else (f, f). */
LATTICE_KERNEL void lattice_gaussian(const double *x, const double *mean, const double *whiten,
                                     const double *constant, ptrdiff_t features, int full,
                                     ptrdiff_t n, double *density)
{
    for (ptrdiff_t j = 0; j < n; j += 4) {
        const double *row = whiten + j;
        lattice_v4 square = {0};
        for (ptrdiff_t f = 0; f < features; f++) {
            lattice_v4 y = {0};
            for (ptrdiff_t g = full ? 0 : f; g <= f; g++, row += n)
                y += CV4(row) * (x[g] - CV4(mean + g * n + j));
            square += y * y;
        }
        V4(density + j) = CV4(constant + j) - 0.5 * square;
    }
}

/* x -= its largest, which is returned; a row of nothing but -inf stays as it is, and returns 0. */
LATTICE_KERNEL double lattice_off_top(double *x, ptrdiff_t n)
{
    lattice_v4 best = CV4(x);
    for (ptrdiff_t j = 4; j < n; j += 4) V4_MAX(CV4(x + j), best, best);
    double top = best[0];
    for (int q = 1; q < 4; q++) top = best[q] > top ? best[q] : top;
    if (top == -INFINITY) return 0;
    for (ptrdiff_t j = 0; j < n; j += 4) V4(x + j) -= top;
    return top;
}

/* x = exp(x) for x <= 0, n a multiple of 4; 0 below -708. x = k ln 2 + r with |r| <= ln 2 / 2, and
 * the series of exp(r) to r^13, whose rest is 4e-18. The compiler's own exp is one lane at a time. */
LATTICE_KERNEL void lattice_exp(double *x, ptrdiff_t n)
{
    static const double series[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800,
                                    1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
                                    1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0};
    const double magic = 6755399441055744.0; /* 1.5 * 2^52: the sum's low bits are round(x / ln 2) */
    for (ptrdiff_t i = 0; i < n; i += 4) {
        lattice_v4 y = CV4(x + i);
        lattice_m4 keep = (lattice_m4)(y >= -708.0);
        y = (lattice_v4)(keep & (lattice_m4)y);
        lattice_v4 m = y * 1.4426950408889634 + magic, k = m - magic;
        lattice_v4 r = (y - k * 0x1.62e42fee00000p-1) - k * 1.9082149292705878e-10;
        lattice_v4 p = r * series[0] + series[1];
        for (int q = 2; q < 14; q++) p = p * r + series[q];
        lattice_m4 scale = ((lattice_m4)m << 52) + 0x3FF0000000000000;
        V4(x + i) = (lattice_v4)(keep & (lattice_m4)(p * (lattice_v4)scale));
    }
}

#endif
