/* The vector type V of this instruction set and REAL (32 or 64), and exp, sigmoid and tanh on it.
 * No include guard: included once per REAL, with ISA and WIDTH (bytes) set by the isa_*.c file.
 *
 * Every multiply-add is written `vfma`, so that AVX2, AVX-512 and NEON round alike (the build turns
 * the compiler's own contraction off); the base instruction set rounds twice.
 *
 * Sigmoid and tanh go through e = exp(-|x|) or expm1(-2|x|), so every denominator lies in (1, 2]:
 * nothing overflows.  One division each, which the divider does beside the multiply-adds (with it and
 * the shorter polynomials below 10 cycles a vector of floats on Zen 3, 18 with 7 multiply-adds in its place). */
#undef T
#undef TI
#undef V
#undef VI
#undef VU
#undef LANES
#undef EXP_LOWEST
#undef SIDE

#define CAT_(a, b, c) a##_##b##_##c
#define CAT(a, b, c) CAT_(a, b, c)
#define FN(name) CAT(name, REAL, ISA)

#if REAL == 32
#define T float
#define TI int32_t
#define EXP_LOWEST -87.3365402f         /* just above -126 ln 2: e^y is a normal number, and hardly more than the smallest */
#else
#define T double
#define TI int64_t
#define EXP_LOWEST -708.39641853226408
#endif
#define LANES (WIDTH / (int)sizeof(T))
#define V FN(vec)
#define VI FN(ivec)
#define VU FN(uvec)

typedef T V __attribute__((vector_size(WIDTH)));
typedef TI VI __attribute__((vector_size(WIDTH)));
typedef T VU __attribute__((vector_size(WIDTH), aligned(sizeof(T)), may_alias));

/* Loaded once: without it gcc reads the operand again for each of its uses (2 rows x 4 vectors: 10 loads for
 * 8 multiply-adds, and two loads a cycle are the limit). */
#undef IN_REGISTER
#if defined(__x86_64__)
#define IN_REGISTER(v) __asm__("" : "+v"(v))
#else
#define IN_REGISTER(v) ((void)0)
#endif

#define INLINE static inline __attribute__((always_inline, unused))

INLINE V FN(vload)(const T *p) { return *(const VU *)p; }
INLINE void FN(vstore)(T *p, V v) { *(VU *)p = v; }

#if defined(RNN_V4) && REAL == 32
INLINE V FN(vset)(T x) { return (V)_mm512_set1_ps(x); }
INLINE V FN(vfma)(V a, V b, V c) { return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
INLINE V FN(vload_part)(const T *p, int n) { return (V)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
INLINE void FN(vstore_part)(T *p, V v, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v); }
INLINE V FN(vmax)(V x, V y) { return (V)_mm512_max_ps((__m512)x, (__m512)y); }
INLINE V FN(vless)(V x, V y, V a, V b) { return (V)_mm512_mask_blend_ps(_mm512_cmp_ps_mask((__m512)x, (__m512)y, _CMP_LT_OQ), (__m512)b, (__m512)a); }
#elif defined(RNN_V4)
INLINE V FN(vset)(T x) { return (V)_mm512_set1_pd(x); }
INLINE V FN(vfma)(V a, V b, V c) { return (V)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
INLINE V FN(vload_part)(const T *p, int n) { return (V)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p); }
INLINE void FN(vstore_part)(T *p, V v, int n) { _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v); }
INLINE V FN(vmax)(V x, V y) { return (V)_mm512_max_pd((__m512d)x, (__m512d)y); }
INLINE V FN(vless)(V x, V y, V a, V b) { return (V)_mm512_mask_blend_pd(_mm512_cmp_pd_mask((__m512d)x, (__m512d)y, _CMP_LT_OQ), (__m512d)b, (__m512d)a); }
#elif defined(RNN_V3)
#if REAL == 32
static const int32_t FN(mask_bits)[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
INLINE V FN(vset)(T x) { return (V)_mm256_set1_ps(x); }
INLINE V FN(vfma)(V a, V b, V c) { return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
INLINE __m256i FN(mask)(int n) { return _mm256_loadu_si256((const __m256i *)(FN(mask_bits) + 8 - n)); }
INLINE V FN(vload_part)(const T *p, int n) { return (V)_mm256_maskload_ps(p, FN(mask)(n)); }
INLINE void FN(vstore_part)(T *p, V v, int n) { _mm256_maskstore_ps(p, FN(mask)(n), (__m256)v); }
INLINE V FN(vmax)(V x, V y) { return (V)_mm256_max_ps((__m256)x, (__m256)y); }
INLINE V FN(vless)(V x, V y, V a, V b) { return (V)_mm256_blendv_ps((__m256)b, (__m256)a, _mm256_cmp_ps((__m256)x, (__m256)y, _CMP_LT_OQ)); }
#else
static const int64_t FN(mask_bits)[8] = {-1, -1, -1, -1, 0, 0, 0, 0};
INLINE V FN(vset)(T x) { return (V)_mm256_set1_pd(x); }
INLINE V FN(vfma)(V a, V b, V c) { return (V)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
INLINE __m256i FN(mask)(int n) { return _mm256_loadu_si256((const __m256i *)(FN(mask_bits) + 4 - n)); }
INLINE V FN(vload_part)(const T *p, int n) { return (V)_mm256_maskload_pd(p, FN(mask)(n)); }
INLINE void FN(vstore_part)(T *p, V v, int n) { _mm256_maskstore_pd(p, FN(mask)(n), (__m256d)v); }
INLINE V FN(vmax)(V x, V y) { return (V)_mm256_max_pd((__m256d)x, (__m256d)y); }
INLINE V FN(vless)(V x, V y, V a, V b) { return (V)_mm256_blendv_pd((__m256d)b, (__m256d)a, _mm256_cmp_pd((__m256d)x, (__m256d)y, _CMP_LT_OQ)); }
#endif
#else /* the base: whatever 16-byte vectors the compiler offers */
INLINE V FN(vset)(T x)
{
    V v;
    for (int i = 0; i < LANES; i++) v[i] = x;
    return v;
}
#if defined(RNN_NEON)
#if REAL == 32
INLINE V FN(vfma)(V a, V b, V c) { return (V)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
#else
INLINE V FN(vfma)(V a, V b, V c) { return (V)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
#endif
#else
INLINE V FN(vfma)(V a, V b, V c) { return a * b + c; }
#endif
INLINE V FN(vload_part)(const T *p, int n)
{
    V v = {0};
    for (int i = 0; i < n; i++) v[i] = p[i];
    return v;
}
INLINE void FN(vstore_part)(T *p, V v, int n) { for (int i = 0; i < n; i++) p[i] = v[i]; }
INLINE V FN(vless)(V x, V y, V a, V b)      /* x < y ? a : b */
{
    VI m = x < y;
    return (V)((m & (VI)a) | (~m & (VI)b));
}
INLINE V FN(vmax)(V x, V y) { return FN(vless)(y, x, x, y); }   /* y where y is NaN */
#endif

/* Whole vectors take the plain road; `n` is a lane count. */
INLINE V FN(vload_n)(const T *p, rnn_idx n) { return n >= LANES ? FN(vload)(p) : FN(vload_part)(p, (int)n); }
INLINE void FN(vstore_n)(T *p, V v, rnn_idx n)
{
    if (n >= LANES) FN(vstore)(p, v);
    else FN(vstore_part)(p, v, (int)n);
}

/* The transpose works in pieces of 16 bytes: `vpieces` puts a piece of each of WIDTH / 16 rows, ld apart, side by side, and
 * `vlow` and `vhigh` interleave the halves of every piece.  AVX unpacks within 16 bytes and loads a piece into its place,
 * so nothing crosses over afterwards, and a block needs SIDE registers, not LANES. */
#define SIDE (16 / (int)sizeof(T))
#if defined(RNN_V4)
INLINE V FN(vpieces)(const T *p, rnn_idx ld)
{
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps((const float *)p));
    v = _mm512_insertf32x4(v, _mm_loadu_ps((const float *)(p + ld)), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps((const float *)(p + 2 * ld)), 2);
    return (V)_mm512_insertf32x4(v, _mm_loadu_ps((const float *)(p + 3 * ld)), 3);
}
#if REAL == 32
INLINE V FN(vlow)(V a, V b) { return (V)_mm512_unpacklo_ps((__m512)a, (__m512)b); }
INLINE V FN(vhigh)(V a, V b) { return (V)_mm512_unpackhi_ps((__m512)a, (__m512)b); }
#else
INLINE V FN(vlow)(V a, V b) { return (V)_mm512_unpacklo_pd((__m512d)a, (__m512d)b); }
INLINE V FN(vhigh)(V a, V b) { return (V)_mm512_unpackhi_pd((__m512d)a, (__m512d)b); }
#endif
#elif defined(RNN_V3)
INLINE V FN(vpieces)(const T *p, rnn_idx ld)
{
    return (V)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps((const float *)p)), _mm_loadu_ps((const float *)(p + ld)), 1);
}
#if REAL == 32
INLINE V FN(vlow)(V a, V b) { return (V)_mm256_unpacklo_ps((__m256)a, (__m256)b); }
INLINE V FN(vhigh)(V a, V b) { return (V)_mm256_unpackhi_ps((__m256)a, (__m256)b); }
#else
INLINE V FN(vlow)(V a, V b) { return (V)_mm256_unpacklo_pd((__m256d)a, (__m256d)b); }
INLINE V FN(vhigh)(V a, V b) { return (V)_mm256_unpackhi_pd((__m256d)a, (__m256d)b); }
#endif
#else
INLINE V FN(vpieces)(const T *p, rnn_idx ld) { (void)ld; return FN(vload)(p); }
#if REAL == 32                              /* the compiler makes one instruction of each */
INLINE V FN(vlow)(V a, V b) { return (V){a[0], b[0], a[1], b[1]}; }
INLINE V FN(vhigh)(V a, V b) { return (V){a[2], b[2], a[3], b[3]}; }
#else
INLINE V FN(vlow)(V a, V b) { return (V){a[0], b[0]}; }
INLINE V FN(vhigh)(V a, V b) { return (V){a[1], b[1]}; }
#endif
#endif

/* SIDE columns of LANES rows, ld apart, become vectors, `step` apart. */
INLINE void FN(vtranspose)(T *to, rnn_idx step, const T *from, rnn_idx ld)
{
    V a[SIDE], b[SIDE];
    for (int i = 0; i < SIDE; i++) a[i] = FN(vpieces)(from + i * ld, SIDE * ld);
    for (int round = 1; round < SIDE; round *= 2) {
        for (int i = 0; i < SIDE; i++) b[i] = i % 2 ? FN(vhigh)(a[i / 2], a[(i + SIDE) / 2]) : FN(vlow)(a[i / 2], a[(i + SIDE) / 2]);
        for (int i = 0; i < SIDE; i++) a[i] = b[i];
    }
    for (int i = 0; i < SIDE; i++) FN(vstore)(to + i * step, a[i]);
}

/* y <= 0: sets *scale = 2^n and returns p = expm1(r), y = n ln 2 + r.  NaN stays NaN.
 * Polynomials: Chebyshev fit of (expm1(r) - r) / r^2 on |r| <= 0.35, in pairs (Estrin), since the wait for
 * one multiply-add after the other is what an activation costs; relative error of expm1(r) 2.4e-8 (f32) and
 * 6e-19 (f64).  Where e^y itself is the answer (`far`: sigmoid of a very negative x), one product is too little in f32:
 * what ln 2 lacks there, 1.9e-9 n, is 4 ulp at sigmoid(-87).  Where a multiply-add is fused that much is put right beside the
 * polynomial, so nothing waits for it.  Elsewhere n ln 2 is rounded too (67 ulp), and ln 2 comes in two parts, the first of
 * so few bits that n times it is exact.  tanh is 1 long before that, and saves it. */
INLINE V FN(exp_parts)(V y, V *scale, const int far)
{
    y = FN(vmax)(FN(vset)(EXP_LOWEST), y);
#if REAL == 32
    const V magic = FN(vset)(12582912.0f);      /* 1.5 * 2^23: the sum's low bits are round(y log2 e) */
    const V m = FN(vfma)(y, FN(vset)(1.44269504f), magic), n = m - magic;
#if defined(RNN_V4) || defined(RNN_V3) || defined(RNN_NEON)
    const V r = FN(vfma)(n, FN(vset)(-0.693147180560f), y);
    const V all = far ? FN(vfma)(n, FN(vset)(1.9046542e-9f), r) : r;
#else
    const V r = far ? FN(vfma)(n, FN(vset)(2.12194440055e-4f), FN(vfma)(n, FN(vset)(-0.693359375f), y))
                    : FN(vfma)(n, FN(vset)(-0.693147180560f), y);
    const V all = r;
#endif
    const V r2 = r * r;
    *scale = (V)(((VI)m << 23) + ((VI){0} + 0x3F800000));
    const V c01 = FN(vfma)(FN(vset)(1.66665733819e-1f), r, FN(vset)(0.5f));
    const V c23 = FN(vfma)(FN(vset)(8.36377387441e-3f), r, FN(vset)(4.16665501103e-2f));
    const V q = FN(vfma)(FN(vfma)(FN(vset)(1.392692661402e-3f), r2, c23), r2, c01);
#else
    const V magic = FN(vset)(6755399441055744.0);   /* 1.5 * 2^52 */
    const V m = FN(vfma)(y, FN(vset)(1.4426950408889634), magic), n = m - magic;
    const V r = FN(vfma)(n, FN(vset)(-1.9082149292705878e-10), FN(vfma)(n, FN(vset)(-0x1.62e42fee00000p-1), y));
    const V r2 = r * r, r4 = r2 * r2, all = r;
    *scale = (V)(((VI)m << 52) + ((VI){0} + 0x3FF0000000000000));
    const V c01 = FN(vfma)(FN(vset)(1.6666666666666671438e-1), r, FN(vset)(0.5));
    const V c23 = FN(vfma)(FN(vset)(8.3333333333255446996e-3), r, FN(vset)(4.1666666666666670074e-2));
    const V c45 = FN(vfma)(FN(vset)(1.9841269876864354929e-4), r, FN(vset)(1.3888888888883326674e-3));
    const V c67 = FN(vfma)(FN(vset)(2.7557252833516909748e-6), r, FN(vset)(2.4801587327007186731e-5));
    const V c89 = FN(vfma)(FN(vset)(2.5106274733573294687e-8), r, FN(vset)(2.7557271810219799569e-7));
    const V c8to10 = FN(vfma)(FN(vset)(2.0915442297780115216e-9), r2, c89);
    const V q = FN(vfma)(FN(vfma)(c8to10, r4, FN(vfma)(c67, r2, c45)), r4, FN(vfma)(c23, r2, c01));
#endif
    return FN(vfma)(q, r2, all);
}

INLINE V FN(vsigmoid)(V x)
{
    const V zero = {0}, one = FN(vset)(1);
    V scale, p = FN(exp_parts)((V)((VI)x | (VI)FN(vset)((T)-0.0)), &scale, 1);
    V e = FN(vfma)(scale, p, scale);
    return FN(vless)(x, zero, e, one) / (one + e);
}

INLINE V FN(vtanh)(V x)
{
    const VI sign = (VI)FN(vset)((T)-0.0);
    V y = (V)((VI)(x + x) | sign);                  /* -2|x| */
    V scale, p = FN(exp_parts)(y, &scale, 0);
    V t = FN(vfma)(scale, p, scale - 1);            /* expm1(-2|x|), in (-1, 0] */
    V q = t / (t + 2);                              /* -tanh|x| */
    return (V)(((VI)q & ~sign) | ((VI)x & sign));
}
