/* exp, sigmoid and tanh of a vector.
 *
 * Sigmoid and tanh go through e = exp(-|x|) or expm1(-2|x|), so every denominator lies in [1, 2] and nothing overflows.
 * Each takes one division, which the divider computes beside the multiply-adds of other vectors (Zen 3, a vector of
 * floats: 10 cycles; 18 when the division was replaced by 7 multiply-adds). */
#if REAL == 32
#define EXP_LOWEST -87.3365402f         /* just above -126 ln 2, so that e^y is a normal number */
#define EXP_LOWEST_R 0x26p-23f          /* e^EXP_LOWEST is 2^-126 (1 + this) */
#else
#define EXP_LOWEST -708.39641853226408
#endif

/* For x <= 0, with y = times x = n ln 2 + r: returns expm1(r) and sets *scale = 2^n.  NaN stays NaN.  `times` is a power
 * of two, so that y is exact, and what follows need not wait for it.
 *
 * The polynomials are Chebyshev fits of (expm1(r) - r) / r^2 on |r| <= 0.35, evaluated in pairs (Estrin), since
 * the cost is the latency of a chain of multiply-adds.  The relative error of expm1(r) is 2.1e-8 in float32 and 7e-19
 * in float64, for |r| <= ln 2 / 2.
 *
 * `full_range`: e^y itself is the answer (sigmoid of a very negative x), and then n times one float32 constant for ln 2
 * is not accurate enough: the constant is off by 1.9e-9, which at sigmoid(-87) is 4 ulp.  Where a multiply-add is
 * fused, the difference is added beside the polynomial, so that nothing waits for it.  Without fused multiply-add
 * n ln 2 is rounded as well (67 ulp), and ln 2 is taken in two parts, the first with so few bits that n times it is
 * exact.  tanh is 1 long before that, and does without.  float64 always takes ln 2 in two parts.
 *
 * A y below EXP_LOWEST counts as EXP_LOWEST.  Either the chain of operations begins with that bound, which takes the fewest
 * instructions; or with `late`, for float32 alone, the chain runs without it, and where y is below it, n, y and the scale
 * are replaced as soon as they are there, in instructions for which nothing has to wait.  All 2^32 values of x have the
 * same bits either way. */
INLINE vec exp_parts(vec x, real times, vec *scale, const int full_range, const int late)
{
    const vec lowest = vset(EXP_LOWEST);
    if (!late) x = vmax(vset(EXP_LOWEST / times), x);
    vec y = x * times;
#if REAL == 32
    const vec magic = vset(12582912.0f);      /* 1.5 * 2^23: the sum's low bits are round(y log2 e) */
    const vec m = vfma(x, vset(times * 1.44269504f), magic);
    const vec n = late ? vsub_unless_less(y, lowest, m, magic) : m - magic;
    *scale = (vec)(((ivec)m << 23) + ((ivec){0} + 0x3F800000));
    if (late) {
        *scale = vselect_less(y, lowest, vset(0x1p-126f), *scale);
        y = vselect_less(y, lowest, vset(EXP_LOWEST_R), y);
    }
#if defined(ISA_V4) || defined(ISA_V3) || defined(ISA_NEON)
    const vec r = vfma(n, vset(-0.693147180560f), y);
    const vec r_exact = full_range ? vfma(n, vset(1.9046542e-9f), r) : r;
#else
    const vec r = full_range ? vfma(n, vset(2.12194440055e-4f), vfma(n, vset(-0.693359375f), y))
                    : vfma(n, vset(-0.693147180560f), y);
    const vec r_exact = r;
#endif
    const vec r2 = r * r;
    const vec c01 = vfma(vset(1.66665733819e-1f), r, vset(0.5f));
    const vec c23 = vfma(vset(8.36377387441e-3f), r, vset(4.16665501103e-2f));
    const vec q = vfma(vfma(vset(1.392692661402e-3f), r2, c23), r2, c01);
#else
    const vec magic = vset(6755399441055744.0);   /* 1.5 * 2^52 */
    const vec m = vfma(x, vset(times * 1.4426950408889634), magic), n = m - magic;
    const vec r = vfma(n, vset(-1.9082149292705878e-10), vfma(n, vset(-0x1.62e42fee00000p-1), y));
    const vec r2 = r * r, r4 = r2 * r2, r_exact = r;
    (void)full_range, (void)lowest;
    *scale = (vec)(((ivec)m << 52) + ((ivec){0} + 0x3FF0000000000000));
    const vec c01 = vfma(vset(1.6666666666666671438e-1), r, vset(0.5));
    const vec c23 = vfma(vset(8.3333333333255446996e-3), r, vset(4.1666666666666670074e-2));
    const vec c45 = vfma(vset(1.9841269876864354929e-4), r, vset(1.3888888888883326674e-3));
    const vec c67 = vfma(vset(2.7557252833516909748e-6), r, vset(2.4801587327007186731e-5));
    const vec c89 = vfma(vset(2.5106274733573294687e-8), r, vset(2.7557271810219799569e-7));
    const vec c8to10 = vfma(vset(2.0915442297780115216e-9), r2, c89);
    const vec q = vfma(vfma(c8to10, r4, vfma(c67, r2, c45)), r4, vfma(c23, r2, c01));
#endif
    return vfma(q, r2, r_exact);
}

/* e^x for x <= 0; a lower x counts as EXP_LOWEST */
INLINE vec vexp(vec x)
{
    vec scale, p = exp_parts(x, 1, &scale, 1, 0);
    return vfma(scale, p, scale);
}

/* sigmoid(x) and tanh(x) as a quotient: these return the numerator. */
INLINE vec sigmoid_parts(vec x, vec *denominator, const int late)
{
    const vec zero = {0}, one = vset(1);
    vec scale, p = exp_parts((vec)((ivec)x | (ivec)vset((real)-0.0)), 1, &scale, 1, late);
    const vec e = vfma(scale, p, scale);                /* exp(-|x|) */
    *denominator = one + e;
    return vselect_less(x, zero, e, one);
}

INLINE vec tanh_parts(vec x, vec *denominator, const int late)
{
    vec scale, p = exp_parts((vec)((ivec)x | (ivec)vset((real)-0.0)), 2, &scale, 0, late);
    const vec t = vfma(scale, p, scale - 1);            /* expm1(-2|x|), in [-1, 0] */
    *denominator = t + 2;
    return vcopysign(t, x);                             /* t / (t + 2) is -tanh|x| */
}

INLINE vec vsigmoid(vec x)
{
    vec denominator, numerator = sigmoid_parts(x, &denominator, 0);
    return numerator / denominator;
}

INLINE vec vtanh(vec x)
{
    vec denominator, numerator = tanh_parts(x, &denominator, 0);
    return numerator / denominator;
}

/* The curves of whole arrays, for the tests of accuracy. */
static void sigmoid_array(const void *x, void *out, rc_idx n)
{
    for (rc_idx i = 0; i < n; i += LANES)
        vstore_n((real *)out + i, vsigmoid(vload_n((const real *)x + i, n - i)), n - i);
}

static void tanh_array(const void *x, void *out, rc_idx n)
{
    for (rc_idx i = 0; i < n; i += LANES)
        vstore_n((real *)out + i, vtanh(vload_n((const real *)x + i, n - i)), n - i);
}
