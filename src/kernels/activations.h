/* The activation functions of variants of cells: ONNX's, of a pre-activation that lies within a bound.
 *
 * Sigmoid and tanh are computed in line, the others by a call.  The slope of an activation is computed from its value,
 * which is all that a tape keeps; so LeakyRelu and Elu need alpha >= 0, or one value would have two slopes. */

/* In the page a small file counts for more than fast variants. */
#if defined(__wasm__)
#define INLINE_ACTIVATION static __attribute__((noinline))
#else
#define INLINE_ACTIVATION INLINE
#endif

/* The coefficients of an activation, in every lane, and its values at both ends of the bound. */
typedef struct {
    int kind;
    vec alpha, beta, bound, at_high, at_low;
} activation;

/* Within +-bound; NaN stays NaN. */
INLINE vec bounded(vec a, vec bound)
{
    a = vselect_less(bound, a, bound, a);
    return vselect_less(a, -bound, -bound, a);
}

/* d, or zero where the mask is set */
INLINE vec zero_where(ivec mask, vec d) { return (vec)((ivec)d & ~mask); }

INLINE vec vabs(vec x) { return (vec)((ivec)x & ~(ivec)vset((real)-0.0)); }

/* e^x - 1 for x <= 0 */
INLINE vec vexpm1(vec x)
{
    vec scale, p = exp_parts(x, 1, &scale, 1, 0);
    return vfma(scale, p, scale - 1);
}

/* log(1 + u) for 0 <= u <= 1: with s = u / (2 + u) it is 2 artanh(s) = 2 (s + s^3/3 + s^5/5 + ...), and s <= 1/3.
 * The terms that are left out are below 2^-29 (float32) and 2^-58 (float64) of the sum. */
INLINE vec vlog1p(vec u)
{
    const int terms = REAL == 32 ? 7 : 16;
    const vec s = u / (u + 2), s2 = s * s;
    vec q = vset((real)(1.0 / (2 * terms + 1)));
    for (int n = terms - 1; n > 0; n--) q = vfma(q, s2, vset((real)(1.0 / (2 * n + 1))));
    return 2 * vfma(q * s2, s, s);
}

static __attribute__((noinline)) vec other_activation(const activation *f, vec a)
{
    const vec zero = {0}, one = vset(1);
    switch (f->kind) {
    case RC_RELU: return vselect_less(a, zero, zero, a);
    case RC_AFFINE: return vfma(f->alpha, a, f->beta);
    case RC_LEAKY_RELU: return vselect_less(a, zero, f->alpha * a, a);
    case RC_THRESHOLDED_RELU: return vselect_less(a, f->alpha, zero, a);
    case RC_SCALED_TANH: return f->alpha * vtanh(f->beta * a);
    case RC_HARD_SIGMOID: {
        const vec line = vfma(f->alpha, a, f->beta), below = vselect_less(one, line, one, line);
        return vselect_less(below, zero, zero, below);
    }
    case RC_ELU: return vselect_less(a, zero, f->alpha * vexpm1(-vabs(a)), a);
    case RC_SOFTSIGN: return a / (one + vabs(a));
    default: return vlog1p(vexp(-vabs(a))) + vselect_less(a, zero, zero, a);        /* RC_SOFTPLUS */
    }
}

static __attribute__((noinline)) vec other_slope(const activation *f, vec y)
{
    const vec zero = {0}, one = vset(1);
    switch (f->kind) {
    case RC_RELU: return vselect_less(zero, y, one, zero);
    case RC_AFFINE: return f->alpha;
    case RC_LEAKY_RELU: return vselect_less(zero, y, one, f->alpha);
    case RC_THRESHOLDED_RELU: return zero_where(y == zero, one);
    case RC_SCALED_TANH: {
        const vec t = zero_where(f->alpha == zero, y / f->alpha);       /* where alpha is 0, the factor before it is */
        return f->alpha * f->beta * vfma(-t, t, one);
    }
    case RC_HARD_SIGMOID: return vselect_less(zero, y, vselect_less(y, one, f->alpha, zero), zero);
    case RC_ELU: return vselect_less(zero, y, one, y + f->alpha);
    case RC_SOFTSIGN: {
        const vec rest = one - vabs(y);
        return rest * rest;
    }
    default: return -vexpm1(-y);                                        /* RC_SOFTPLUS: 1 - e^-y */
    }
}

/* y(a), with a within the bound */
INLINE_ACTIVATION vec activated(const activation *f, vec a)
{
    a = bounded(a, f->bound);
    return f->kind == RC_SIGMOID ? vsigmoid(a) : f->kind == RC_TANH ? vtanh(a) : other_activation(f, a);
}

/* y'(a) from y(a); zero where a was beyond the bound, or so near to it that y(a) rounds to the same value. */
INLINE_ACTIVATION vec slope_from(const activation *f, vec y)
{
    const vec one = vset(1);
    const vec slope = f->kind == RC_SIGMOID ? y * (one - y)
                    : f->kind == RC_TANH ? vfma(-y, y, one) : other_slope(f, y);
    return zero_where((y == f->at_high) | (y == f->at_low), slope);
}

INLINE_ACTIVATION activation activation_within(const rc_activation *given, double bound)
{
    activation f = {.kind = given->kind, .alpha = vset((real)given->alpha), .beta = vset((real)given->beta),
                    .bound = vset((real)bound)};
    f.at_high = activated(&f, f.bound);
    f.at_low = activated(&f, -f.bound);
    return f;
}

/* Activation `which` of the variant. */
INLINE activation activation_of(const rc_step *s, int which)
{
    return activation_within(&s->variant->activation[which], s->variant->gate_clip);
}

/* Of a whole array, for the tests of accuracy. */
static void activation_array(const rc_activation *given, const void *x, void *out, rc_idx n)
{
    const activation f = activation_within(given, __builtin_inf());
    for (rc_idx i = 0; i < n; i += LANES)
        vstore_n((real *)out + i, activated(&f, vload_n((const real *)x + i, n - i)), n - i);
}
