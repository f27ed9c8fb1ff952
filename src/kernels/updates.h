/* What an update of the weights does with each parameter: elementwise, in the order of operations that torch has and
 * without fused multiply-add, so that all instruction sets round alike. */

#if REAL == 32
INLINE real square_root(real x) { return __builtin_sqrtf(x); }
#else
INLINE real square_root(real x) { return __builtin_sqrt(x); }
#endif

static void sgd(const rc_sgd *o, void *value, const void *grad, void *momentum, rc_idx n)
{
    const real lr = (real)o->lr, mu = (real)o->momentum, decay = (real)o->weight_decay;
    real *restrict w = (real *)value, *restrict m = (real *)momentum;
    const real *restrict g = (const real *)grad;
    if (!m)
        for (rc_idx i = 0; i < n; i++) w[i] -= (decay != 0 ? w[i] * decay + g[i] : g[i]) * lr;
    else
        for (rc_idx i = 0; i < n; i++) {
            const real d = decay != 0 ? w[i] * decay + g[i] : g[i];
            m[i] = m[i] * mu + d;
            w[i] -= (o->nesterov ? d + mu * m[i] : m[i]) * lr;
        }
}

static void adam(const rc_adam *o, void *value, const void *grad, void *exp_avg, void *exp_avg_sq, rc_idx n)
{
    const real keep = (real)o->keep, decay = (real)o->weight_decay, eps = (real)o->eps, step = (real)o->step;
    const real of_grad = (real)o->of_grad, beta2 = (real)o->beta2, of_square = (real)o->of_square;
    const real root = (real)o->root;
    real *restrict w = (real *)value, *restrict m = (real *)exp_avg, *restrict v = (real *)exp_avg_sq;
    const real *restrict d = (const real *)grad;
    for (rc_idx i = 0; i < n; i++) {
        const real before = keep != 1 ? w[i] * keep : w[i], g = decay != 0 ? d[i] + decay * before : d[i];
        m[i] += (g - m[i]) * of_grad;
        v[i] = v[i] * beta2 + g * g * of_square;
        w[i] = before - m[i] / (square_root(v[i]) / root + eps) * step;
    }
}

/* The sum of the squares of n values in float64, in SQUARES accumulators that take them in turns. */
static double sum_of_squares(const void *values, rc_idx n)
{
    enum { SQUARES = 16 };
    const real *x = (const real *)values;
    double sums[SQUARES] = {0};
    rc_idx i = 0;
    for (; i + SQUARES <= n; i += SQUARES)
        for (int j = 0; j < SQUARES; j++) sums[j] += (double)x[i + j] * (double)x[i + j];
    for (int j = 0; i + j < n; j++) sums[j] += (double)x[i + j] * (double)x[i + j];
    for (int half = SQUARES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++) sums[j] += sums[j + half];
    return sums[0];
}

static void scale(void *values, rc_idx n, double factor)
{
    real *x = (real *)values;
    for (rc_idx i = 0; i < n; i++) x[i] *= (real)factor;
}

/* sum = the rows of d with these numbers, added up in float64 in the order in which they are given, and rounded once */
static void sum_rows(void *sum, const void *d, rc_idx ldd, const rc_idx *rows, rc_idx count, rc_idx n)
{
    enum { COLUMNS = 64 };
    for (rc_idx first = 0; first < n; first += COLUMNS) {
        const rc_idx width = n - first < COLUMNS ? n - first : COLUMNS;
        double sums[COLUMNS] = {0};
        for (rc_idx q = 0; q < count; q++) {
            const real *x = (const real *)d + rows[q] * ldd + first;
            for (rc_idx i = 0; i < width; i++) sums[i] += (double)x[i];
        }
        for (rc_idx i = 0; i < width; i++) ((real *)sum)[first + i] = (real)sums[i];
    }
}
