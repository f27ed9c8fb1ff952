/* Steps of one row of a net whose units fit into one vector, with AVX-512 and float32: at most 16 units.
 *
 * Nothing but latency counts here: a step is one chain of operations, from the first term of the sums to the new h, with
 * which the next step begins.  docs/kernels.md counts its cycles.  What makes it short:
 *
 * - h and c stay in registers.  Broadcasting a lane of h from there takes 3 cycles; from a whole vector that has just been
 *   stored it takes 7, and from a part of a vector 18.
 * - Quotients are computed for the lower half of the units, then for the upper one.  Dividing half a vector takes 12
 *   cycles instead of 18, and the divider is free again after 5 instead of 10; c' waits for three quotients.  The upper
 *   half comes later by as much, but the next step's sums begin with the terms of the lower half, and need it 8 terms
 *   (32 cycles) later.
 * - exp has its bound beside the chain: see `late` in curves.h.
 *
 * docs/engine.md tells what it gained. */
#if defined(ISA_V4) && REAL == 32
#define NARROW_UNITS LANES
enum { HALF_LANES = LANES / 2 };

/* a / b of the lower half; what is in the upper one does not matter. */
INLINE vec half_quotient(vec a, vec b)
{
    const __m256 q = _mm256_div_ps(_mm512_castps512_ps256((__m512)a), _mm512_castps512_ps256((__m512)b));
    return (vec)_mm512_castps256_ps512(q);
}

INLINE vec upper_half(vec v) { return (vec)_mm512_castpd256_pd512(_mm512_extractf64x4_pd((__m512d)v, 1)); }

INLINE vec broadcast_lane(vec v, ivec lane) { return (vec)_mm512_permutexvar_ps((__m512i)lane, (__m512)v); }

/* How many of the units are in a half. */
INLINE rc_idx half_units(rc_idx units, int half)
{
    return half ? units - HALF_LANES : units < HALF_LANES ? units : HALF_LANES;
}

INLINE vec load_half(const real *p, rc_idx units, int half)
{
    const rc_idx n = half_units(units, half);
    p += half * HALF_LANES;
    return n < HALF_LANES ? vload_part(p, (int)n) : (vec)_mm512_castps256_ps512(_mm256_loadu_ps(p));
}

INLINE void store_half(real *p, vec v, rc_idx units, int half)
{
    const rc_idx n = half_units(units, half);
    p += half * HALF_LANES;
    if (n < HALF_LANES) vstore_part(p, v, (int)n);
    else _mm256_storeu_ps(p, _mm512_castps512_ps256((__m512)v));
}

/* Adds the terms of the units of one half, whose weights begin at w. */
INLINE void add_half(vec *acc, const real *w, vec h, rc_idx terms, const int NV)
{
    ivec lane = {0};
UNROLL
    for (rc_idx k = 0; k < terms; k++, lane += 1, w += NV * LANES) {
        const vec x = broadcast_lane(h, lane);
UNROLL
        for (int v = 0; v < NV; v++) acc[v] = vfma(x, vload(w + v * LANES), acc[v]);
    }
}

/* The sums of one row, as `sums_of_row` computes them, from h in halves. */
INLINE void sums_of_narrow_row(vec *acc, const rc_product *p, const vec *h, const real *c, const int NV, const int ADDS,
                               const int HALVES)
{
    const rc_idx units = p->pack->k;
    const real *w = (const real *)p->pack->w;
UNROLL
    for (int v = 0; v < NV; v++)
        acc[v] = vload_n(v < ADDS ? c + v * p->gc : (const real *)p->bias[v], units);
    add_half(acc, w, h[0], half_units(units, 0), NV);
    if (HALVES == 2) add_half(acc, w + HALF_LANES * NV * LANES, h[1], half_units(units, 1), NV);
}
_Static_assert(STRIP(RC_PANEL_VECTORS) == RC_PANEL_VECTORS, "weights of one k must lie side by side");

/* Begins an `rc_steps_fn`: units that fit into one vector, or into half of one, are left to the narrow kernel `f`. */
#define IF_NARROW(f)                                                   \
    if (s->h_size <= HALF_LANES) {                                     \
        f(of_h, s, row, steps, slots_step, out_step, c_step, 1);       \
        return;                                                        \
    }                                                                  \
    if (s->h_size <= NARROW_UNITS) {                                   \
        f(of_h, s, row, steps, slots_step, out_step, c_step, 2);       \
        return;                                                        \
    }
#else
#define IF_NARROW(f)
#endif
