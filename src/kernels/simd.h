/* The vector type `vec` of this instruction set and type, and the operations that the kernels are written with.
 *
 *   vset(x)                  x in every lane
 *   vfma(a, b, c)            a * b + c
 *   vmax(x, y)               the larger; y where one of them is NaN
 *   vselect_less(x, y, a, b) x < y ? a : b
 *   vsub_unless_less(x, y, a, b)     x < y ? 0 : a - b
 *   vcopysign(x, y)          |x|, with the sign of y
 *   vload, vstore            a whole vector, at any address
 *   vload_part, vstore_part  n lanes, 0 <= n <= LANES; the others are read as 0 and not written
 *
 * Every multiply-add is written `vfma`, so that AVX2, AVX-512 and NEON round alike: the build turns the compiler's
 * own contraction off.  The base instruction set has no fused multiply-add and rounds twice. */
#define INLINE static inline __attribute__((always_inline, unused))

/* Before a loop of a constant number of rounds, at most 32, which are written out, so that an array that the loop indexes
 * can be kept in registers; and before one of which two rounds are done at a time.  clang follows gcc's pragma too late:
 * the accumulators of a tile are in memory by then, which halves the speed of a forward pass (clang 14). */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define UNROLL_TWICE _Pragma("clang loop unroll_count(2)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#define UNROLL_TWICE _Pragma("GCC unroll 2")
#endif

#if REAL == 32
typedef float real;
typedef int32_t real_bits;
#else
typedef double real;
typedef int64_t real_bits;
#endif
enum { LANES = WIDTH / sizeof(real) };

typedef real vec __attribute__((vector_size(WIDTH)));
typedef real_bits ivec __attribute__((vector_size(WIDTH)));
typedef real unaligned_vec __attribute__((vector_size(WIDTH), aligned(sizeof(real)), may_alias));

/* Forces a value into a register.  Without it gcc reads a loaded operand again from memory for each of its uses (2 rows
 * x 4 vectors: 8 loads of weights and 2 broadcasts for 8 multiply-adds, where a CPU loads twice a cycle).  On arm64
 * instructions have no operands in memory. */
INLINE vec in_register(vec v)
{
#if defined(__x86_64__)
    __asm__("" : "+v"(v));
#endif
    return v;
}

/* A sum after its multiply-add with v.  For clang, no load that follows in the source moves before this point, and v keeps
 * its register until here.  A tile of AVX2 has 12 sums and 4 operands in 16 registers: one load too early (clang 19), or
 * a sum that takes over the register of its operand (clang 14 and 19), puts sums on the stack in every round (4 rows x 3
 * vectors: 1.5 times as long, Xeon with AVX-512).  gcc keeps the order as it is, and AVX-512 has registers to spare. */
INLINE vec before_next_load(vec sum, vec v)
{
#if defined(__clang__) && defined(__x86_64__) && !defined(ISA_V4)
    __asm__ volatile("" : "+v"(sum) : "v"(v) : "memory");
#else
    (void)v;
#endif
    return sum;
}

#if defined(__clang__) && defined(__x86_64__)
/* Forces an address into a register.  Without it clang adds a base and an index in every load, for which an Intel CPU
 * splits a multiply-add with an operand in memory in two (one row of 32 units: LSTM 1.07 times as long). */
INLINE const real *in_address(const real *p)
{
    __asm__("" : "+r"(p));
    return p;
}
#endif

INLINE vec vload(const real *p) { return *(const unaligned_vec *)p; }
INLINE void vstore(real *p, vec v) { *(unaligned_vec *)p = v; }

#if defined(ISA_V4) && REAL == 32
INLINE vec vset(real x) { return (vec)_mm512_set1_ps(x); }
INLINE vec vfma(vec a, vec b, vec c) { return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
INLINE vec vload_part(const real *p, int n) { return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
INLINE void vstore_part(real *p, vec v, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v); }
INLINE vec vmax(vec x, vec y) { return (vec)_mm512_max_ps((__m512)x, (__m512)y); }
INLINE vec vselect_less(vec x, vec y, vec a, vec b)
{
    return (vec)_mm512_mask_blend_ps(_mm512_cmp_ps_mask((__m512)x, (__m512)y, _CMP_LT_OQ), (__m512)b, (__m512)a);
}
#elif defined(ISA_V4)
INLINE vec vset(real x) { return (vec)_mm512_set1_pd(x); }
INLINE vec vfma(vec a, vec b, vec c) { return (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
INLINE vec vload_part(const real *p, int n) { return (vec)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p); }
INLINE void vstore_part(real *p, vec v, int n) { _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v); }
INLINE vec vmax(vec x, vec y) { return (vec)_mm512_max_pd((__m512d)x, (__m512d)y); }
INLINE vec vselect_less(vec x, vec y, vec a, vec b)
{
    return (vec)_mm512_mask_blend_pd(_mm512_cmp_pd_mask((__m512d)x, (__m512d)y, _CMP_LT_OQ), (__m512d)b, (__m512d)a);
}
#elif defined(ISA_V3)
/* A part is loaded and stored in pieces, the largest of 16 bytes.  After a masked store, which takes 12 cycles on Zen 3, a load
 * waits until the store has reached L1; the load of a piece gets its values from the store of the same piece (Zen 3,
 * LSTM forward 833,4,12: 1.29x). */
#if REAL == 32
INLINE vec vset(real x) { return (vec)_mm256_set1_ps(x); }
INLINE vec vfma(vec a, vec b, vec c) { return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
INLINE __m128 vload_few(const real *p, int n)       /* n < 4 */
{
    if (n == 0) return _mm_setzero_ps();
    if (n == 1) return _mm_load_ss(p);
    const __m128 two = _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)p));
    return n == 2 ? two : _mm_insert_ps(two, _mm_load_ss(p + 2), 2 << 4);
}
INLINE void vstore_few(real *p, __m128 v, int n)
{
    if (n == 1) _mm_store_ss(p, v);
    if (n >= 2) _mm_storel_epi64((__m128i *)p, _mm_castps_si128(v));
    if (n == 3) _mm_store_ss(p + 2, _mm_movehl_ps(v, v));
}
INLINE vec vload_part(const real *p, int n)
{
    if (n < 4) return (vec)_mm256_zextps128_ps256(vload_few(p, n));
    return (vec)_mm256_set_m128(vload_few(p + 4, n - 4), _mm_loadu_ps(p));
}
INLINE void vstore_part(real *p, vec v, int n)
{
    const __m128 low = _mm256_castps256_ps128((__m256)v);
    if (n < 4) {
        vstore_few(p, low, n);
        return;
    }
    _mm_storeu_ps(p, low);
    vstore_few(p + 4, _mm256_extractf128_ps((__m256)v, 1), n - 4);
}
INLINE vec vmax(vec x, vec y) { return (vec)_mm256_max_ps((__m256)x, (__m256)y); }
INLINE vec vselect_less(vec x, vec y, vec a, vec b)
{
    return (vec)_mm256_blendv_ps((__m256)b, (__m256)a, _mm256_cmp_ps((__m256)x, (__m256)y, _CMP_LT_OQ));
}
#else
INLINE vec vset(real x) { return (vec)_mm256_set1_pd(x); }
INLINE vec vfma(vec a, vec b, vec c) { return (vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
INLINE __m128d vload_few(const real *p, int n) { return n ? _mm_load_sd(p) : _mm_setzero_pd(); }        /* n < 2 */
INLINE vec vload_part(const real *p, int n)
{
    if (n < 2) return (vec)_mm256_zextpd128_pd256(vload_few(p, n));
    return (vec)_mm256_set_m128d(vload_few(p + 2, n - 2), _mm_loadu_pd(p));
}
INLINE void vstore_part(real *p, vec v, int n)
{
    const __m128d low = _mm256_castpd256_pd128((__m256d)v);
    if (n >= 2) _mm_storeu_pd(p, low);
    if (n == 1) _mm_store_sd(p, low);
    if (n == 3) _mm_store_sd(p + 2, _mm256_extractf128_pd((__m256d)v, 1));
}
INLINE vec vmax(vec x, vec y) { return (vec)_mm256_max_pd((__m256d)x, (__m256d)y); }
INLINE vec vselect_less(vec x, vec y, vec a, vec b)
{
    return (vec)_mm256_blendv_pd((__m256d)b, (__m256d)a, _mm256_cmp_pd((__m256d)x, (__m256d)y, _CMP_LT_OQ));
}
#endif
#else       /* base and NEON: the 16-byte vectors that the compiler offers */
INLINE vec vset(real x)
{
    vec v;
    for (int i = 0; i < LANES; i++) v[i] = x;
    return v;
}
#if defined(ISA_NEON)
#if REAL == 32
INLINE vec vfma(vec a, vec b, vec c) { return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
#else
INLINE vec vfma(vec a, vec b, vec c) { return (vec)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
#endif
#else
INLINE vec vfma(vec a, vec b, vec c) { return a * b + c; }
#endif
INLINE vec vload_part(const real *p, int n)
{
    vec v = {0};
    for (int i = 0; i < n; i++) v[i] = p[i];
    return v;
}
INLINE void vstore_part(real *p, vec v, int n) { for (int i = 0; i < n; i++) p[i] = v[i]; }
INLINE vec vselect_less(vec x, vec y, vec a, vec b)
{
    ivec m = x < y;
    return (vec)((m & (ivec)a) | (~m & (ivec)b));
}
INLINE vec vmax(vec x, vec y) { return vselect_less(y, x, x, y); }
#endif

INLINE vec vcopysign(vec x, vec y)
{
    const ivec sign = (ivec)vset((real)-0.0);
#if defined(ISA_V4) && REAL == 32
    return (vec)_mm512_ternarylogic_epi32((__m512i)sign, (__m512i)y, (__m512i)x, 0xCA);
#elif defined(ISA_V4)
    return (vec)_mm512_ternarylogic_epi64((__m512i)sign, (__m512i)y, (__m512i)x, 0xCA);
#else
    return (vec)(((ivec)x & ~sign) | ((ivec)y & sign));
#endif
}

INLINE vec vsub_unless_less(vec x, vec y, vec a, vec b)
{
#if defined(ISA_V4) && REAL == 32           /* one instruction after the comparison, which gcc does not make of a select */
    const __mmask16 m = _mm512_cmp_ps_mask((__m512)x, (__m512)y, _CMP_NLT_UQ);
    return (vec)_mm512_maskz_sub_ps(m, (__m512)a, (__m512)b);
#else
    return vselect_less(x, y, (vec){0}, a - b);
#endif
}

/* n lanes, or a whole vector where n is LANES or more. */
INLINE vec vload_n(const real *p, rc_idx n) { return n >= LANES ? vload(p) : vload_part(p, (int)n); }
INLINE void vstore_n(real *p, vec v, rc_idx n)
{
    if (n >= LANES) vstore(p, v);
    else vstore_part(p, v, (int)n);
}

/* For the transpose, a vector is WIDTH / 16 pieces of 16 bytes, SIDE values each.  `vpieces` loads piece j from row j
 * (the rows are `apart` apart); `vlow` and `vhigh` interleave the lower, and the upper, halves of the pieces of two
 * vectors.
 * After log2(SIDE) rounds, vector k holds value k of every row.  AVX interleaves within pieces only, so nothing has to
 * cross between them, and SIDE registers are enough. */
enum { SIDE = 16 / sizeof(real) };
#if defined(ISA_V4)
INLINE vec vpieces(const real *p, rc_idx apart)
{
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps((const float *)p));
    v = _mm512_insertf32x4(v, _mm_loadu_ps((const float *)(p + apart)), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps((const float *)(p + 2 * apart)), 2);
    return (vec)_mm512_insertf32x4(v, _mm_loadu_ps((const float *)(p + 3 * apart)), 3);
}
#if REAL == 32
INLINE vec vlow(vec a, vec b) { return (vec)_mm512_unpacklo_ps((__m512)a, (__m512)b); }
INLINE vec vhigh(vec a, vec b) { return (vec)_mm512_unpackhi_ps((__m512)a, (__m512)b); }
#else
INLINE vec vlow(vec a, vec b) { return (vec)_mm512_unpacklo_pd((__m512d)a, (__m512d)b); }
INLINE vec vhigh(vec a, vec b) { return (vec)_mm512_unpackhi_pd((__m512d)a, (__m512d)b); }
#endif
#elif defined(ISA_V3)
INLINE vec vpieces(const real *p, rc_idx apart)
{
    const __m256 first = _mm256_castps128_ps256(_mm_loadu_ps((const float *)p));
    return (vec)_mm256_insertf128_ps(first, _mm_loadu_ps((const float *)(p + apart)), 1);
}
#if REAL == 32
INLINE vec vlow(vec a, vec b) { return (vec)_mm256_unpacklo_ps((__m256)a, (__m256)b); }
INLINE vec vhigh(vec a, vec b) { return (vec)_mm256_unpackhi_ps((__m256)a, (__m256)b); }
#else
INLINE vec vlow(vec a, vec b) { return (vec)_mm256_unpacklo_pd((__m256d)a, (__m256d)b); }
INLINE vec vhigh(vec a, vec b) { return (vec)_mm256_unpackhi_pd((__m256d)a, (__m256d)b); }
#endif
#else
INLINE vec vpieces(const real *p, rc_idx apart) { (void)apart; return vload(p); }
#if REAL == 32                              /* the compiler makes one instruction of each */
INLINE vec vlow(vec a, vec b) { return (vec){a[0], b[0], a[1], b[1]}; }
INLINE vec vhigh(vec a, vec b) { return (vec){a[2], b[2], a[3], b[3]}; }
#else
INLINE vec vlow(vec a, vec b) { return (vec){a[0], b[0]}; }
INLINE vec vhigh(vec a, vec b) { return (vec){a[1], b[1]}; }
#endif
#endif

/* Transposes LANES rows of SIDE values: rows are `ld` apart in `from`, the SIDE vectors `step` apart in `to`. */
INLINE void vtranspose(real *to, rc_idx step, const real *from, rc_idx ld)
{
    vec a[SIDE], b[SIDE];
    for (int i = 0; i < SIDE; i++) a[i] = vpieces(from + i * ld, SIDE * ld);
    for (int round = 1; round < SIDE; round *= 2) {
        for (int i = 0; i < SIDE; i++)
            b[i] = i % 2 ? vhigh(a[i / 2], a[(i + SIDE) / 2]) : vlow(a[i / 2], a[(i + SIDE) / 2]);
        for (int i = 0; i < SIDE; i++) a[i] = b[i];
    }
    for (int i = 0; i < SIDE; i++) vstore(to + i * step, a[i]);
}

