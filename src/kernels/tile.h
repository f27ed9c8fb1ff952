/* acc += A . packed W with the accumulators in registers: the one inner loop, which product.h runs over matrices.
 *
 * The order over k is ascending with one accumulator an element, whatever the tile, the blocking, the
 * thread or the instruction set: that is what keeps a row's bits.  Independent chains come from rows,
 * gates and panels, never from splitting k. */

/* Rows of a register tile for nv vectors, and the tiles to compile.
 * AVX-512 and NEON have 32 registers: 6 x 4 or 8 x 3 accumulators; AVX2 and SSE 16: 6 x 2 or 4 x 3, and 3 x 4
 * where there are few rows.
 *
 * STRIP: vectors of a panel that lie side by side for each k.  A strip is what many rows pass over: with 2 of
 * 4 vectors on AVX2 it holds twice the k in the same L1, so a tile is loaded and stored half as often. */
#undef MAX_ROWS
#undef STRIP
#undef STEP_TILES
#undef GRADIENT_TILES
#undef STEP_TABLE
#undef GRADIENT_TABLE
#if defined(RNN_V4) || defined(RNN_NEON)
#define MAX_ROWS(nv) ((nv) == 4 ? 6 : 8)
#define STRIP(nv) (nv)
#define STEP_TILES TO_8(step, 1, 0) TO_8(step, 2, 0) TO_8(step, 3, 0) TO_6(step, 4, 0)
#define GRADIENT_TILES TO_6(grad, 1, 1) TO_6(grad, 2, 1) TO_6(grad, 3, 1) TO_6(grad, 4, 1)
#else
#define MAX_ROWS(nv) ((nv) == 4 ? 3 : (nv) == 3 ? 4 : (nv) == 2 ? 6 : 8)
#define STRIP(nv) ((nv) == 4 ? 2 : (nv))
#define STEP_TILES TO_8(step, 1, 0) TO_6(step, 2, 0) TO_4(step, 3, 0) TO_3(step, 4, 0)
#define GRADIENT_TILES TO_6(grad, 1, 1) TO_6(grad, 2, 1)
#endif
#define TILE_LIMIT 8

typedef struct {
    const T *a; rnn_idx lda;                /* forward: element (r, k) at r*lda + k; gradient: k*R + r */
    const T *w; rnn_idx wstrip, wpanel, k;  /* strides of strip and panel (elements), inner size */
    rnn_idx wk;                             /* stride of k; a step's tile knows it */
    T *c; rnn_idx ldc, cv, cp;              /* strides of row, vector, panel */
    int adds;                               /* vectors that start from what C holds ... */
    const T *bias[RNN_MAX_SLOTS];           /* ... and what the others start from, in the first panel; NULL: zero */
    int lanes[RNN_MAX_SLOTS];               /* valid lanes of each vector */
    const char *next;                       /* what is wanted soon: `ahead` bytes of it every `turn` steps of k, each */
    rnn_idx turn, ahead, stride;            /* time `stride` bytes further on; a tile of one row leaves it alone */
} FN(tile_args);

INLINE void FN(tile)(const FN(tile_args) *t, const int R, const int NV, const int NP, const int gradient, const int part)
{
    V acc[TILE_LIMIT][4 * RNN_MAX_SLOTS];
    T *const to = t->c;
    const rnn_idx ldc = t->ldc, cv = t->cv, cp = t->cp;
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) {
        const T *s = v < t->adds ? to + v * cv : t->bias[v];
        const rnn_idx ld = v < t->adds ? ldc : 0;
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
#pragma GCC unroll 4
            for (int p = 0; p < NP; p++)
                acc[r][p * NV + v] = !s ? (V){0} : part ? FN(vload_n)(s + r * ld, t->lanes[v]) : FN(vload)(s + r * ld + p * cp);
    }
    const int strip = gradient ? NV : STRIP(NV);
    const T *a = t->a, *w = t->w;
    const rnn_idx lda = t->lda, K = t->k, wstrip = gradient ? 0 : t->wstrip, wpanel = gradient ? 0 : t->wpanel;
    const rnn_idx wk = gradient ? t->wk : 0;
    const char *next = t->next;
    const rnn_idx turn = R > 1 ? t->turn : K, ahead = R > 1 ? t->ahead : 0, stride = t->stride;
    for (rnn_idx k0 = 0; k0 < K; k0 += turn) {
        const rnn_idx k1 = K - k0 < turn ? K : k0 + turn;
        for (rnn_idx b = 0; b < ahead; b += 64)
            if (gradient) __builtin_prefetch(next + b, 0, 3);
            else __builtin_prefetch(next + b, 0, 2);
        next += stride;
#pragma GCC unroll 2
        for (rnn_idx k = k0; k < k1; k++) {
            /* The smaller side sits in registers, the other passes through one: 12 accumulators, 3 and 1
             * are AVX2's 16 registers, and the other order spills (2x slower). */
            if (R <= NV * NP) {
                V x[TILE_LIMIT];
#pragma GCC unroll 8
                for (int r = 0; r < R; r++) x[r] = FN(vset)(gradient ? a[r] : a[r * lda]);
#pragma GCC unroll 4
                for (int p = 0; p < NP; p++)
#pragma GCC unroll 4
                    for (int v = 0; v < NV; v++) {
                        V wv = FN(vload)(w + p * wpanel + v / strip * wstrip + v % strip * LANES);
                        if (R > 1) IN_REGISTER(wv);
#pragma GCC unroll 8
                        for (int r = 0; r < R; r++) acc[r][p * NV + v] = FN(vfma)(x[r], wv, acc[r][p * NV + v]);
                    }
            } else {
                V wv[4 * RNN_MAX_SLOTS];
#pragma GCC unroll 4
                for (int v = 0; v < NV; v++) wv[v] = FN(vload)(w + v / strip * wstrip + v % strip * LANES);
#pragma GCC unroll 8
                for (int r = 0; r < R; r++) {
                    const V x = FN(vset)(gradient ? a[r] : a[r * lda]);
#pragma GCC unroll 4
                    for (int v = 0; v < NV; v++) acc[r][v] = FN(vfma)(x, wv[v], acc[r][v]);
                }
            }
            a += gradient ? R : 1;
            w += gradient ? wk : strip * LANES;
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int p = 0; p < NP; p++)
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) {
                T *c = to + r * ldc + v * cv;
                if (part) FN(vstore_n)(c, acc[r][p * NV + v], t->lanes[v]);
                else FN(vstore)(c + p * cp, acc[r][p * NV + v]);
            }
}

/* One function per tile shape; `part` (a panel that runs over the end) is a branch outside the k loop. */
#define TILE_NAME(kind, r, nv, np) FN(CAT(tile_##kind, r##x##nv, np))
#define TILE(kind, r, nv, np, gradient)                                             \
    static void TILE_NAME(kind, r, nv, np)(const FN(tile_args) *t, int part)        \
    {                                                                               \
        if (part) FN(tile)(t, r, nv, 1, gradient, 1);                               \
        else FN(tile)(t, r, nv, np, gradient, 0);                                   \
    }
#define TO_3(kind, nv, g) TILE(kind, 1, nv, 1, g) TILE(kind, 2, nv, 1, g) TILE(kind, 3, nv, 1, g)
#define TO_4(kind, nv, g) TO_3(kind, nv, g) TILE(kind, 4, nv, 1, g)
#define TO_6(kind, nv, g) TO_4(kind, nv, g) TILE(kind, 5, nv, 1, g) TILE(kind, 6, nv, 1, g)
#define TO_8(kind, nv, g) TO_6(kind, nv, g) TILE(kind, 7, nv, 1, g) TILE(kind, 8, nv, 1, g)
STEP_TILES
GRADIENT_TILES
TILE(step, 1, 2, 2, 0) TILE(step, 1, 3, 2, 0) TILE(step, 1, 4, 2, 0)
TILE(step, 1, 2, 4, 0) TILE(step, 1, 3, 4, 0) TILE(step, 1, 4, 4, 0)
TILE(step, 2, 2, 2, 0) TILE(step, 2, 3, 2, 0) TILE(step, 2, 4, 2, 0)
TILE(step, 1, 2, 3, 0) TILE(step, 1, 3, 3, 0) TILE(step, 1, 4, 3, 0)

typedef void (*FN(tile_fn))(const FN(tile_args) *t, int part);
#define ROW_3(kind, nv) NULL, TILE_NAME(kind, 1, nv, 1), TILE_NAME(kind, 2, nv, 1), TILE_NAME(kind, 3, nv, 1)
#define ROW_4(kind, nv) ROW_3(kind, nv), TILE_NAME(kind, 4, nv, 1)
#define ROW_6(kind, nv) ROW_4(kind, nv), TILE_NAME(kind, 5, nv, 1), TILE_NAME(kind, 6, nv, 1)
#define ROW_8(kind, nv) ROW_6(kind, nv), TILE_NAME(kind, 7, nv, 1), TILE_NAME(kind, 8, nv, 1)
#if defined(RNN_V4) || defined(RNN_NEON)
#define STEP_TABLE {{NULL}, {ROW_8(step, 1)}, {ROW_8(step, 2)}, {ROW_8(step, 3)}, {ROW_6(step, 4)}}
#define GRADIENT_TABLE {{NULL}, {ROW_6(grad, 1)}, {ROW_6(grad, 2)}, {ROW_6(grad, 3)}, {ROW_6(grad, 4)}}
#else
#define STEP_TABLE {{NULL}, {ROW_8(step, 1)}, {ROW_6(step, 2)}, {ROW_4(step, 3)}, {ROW_3(step, 4)}}
#define GRADIENT_TABLE {{NULL}, {ROW_6(grad, 1)}, {ROW_6(grad, 2)}}
#endif
static const FN(tile_fn) FN(step_tiles)[5][TILE_LIMIT + 1] = STEP_TABLE;
static const FN(tile_fn) FN(grad_tiles)[5][TILE_LIMIT + 1] = GRADIENT_TABLE;
/* several panels for one or two rows: enough chains to hide the latency of a multiply-add */
static const FN(tile_fn) FN(wide_tiles)[3][5][5] = {
    {{NULL}},
    {{NULL}, {NULL},
     {NULL, NULL, TILE_NAME(step, 1, 2, 2), TILE_NAME(step, 1, 2, 3), TILE_NAME(step, 1, 2, 4)},
     {NULL, NULL, TILE_NAME(step, 1, 3, 2), TILE_NAME(step, 1, 3, 3), TILE_NAME(step, 1, 3, 4)},
     {NULL, NULL, TILE_NAME(step, 1, 4, 2), TILE_NAME(step, 1, 4, 3), TILE_NAME(step, 1, 4, 4)}},
    {{NULL}, {NULL},
     {NULL, NULL, TILE_NAME(step, 2, 2, 2), NULL, NULL},
     {NULL, NULL, TILE_NAME(step, 2, 3, 2), NULL, NULL},
     {NULL, NULL, TILE_NAME(step, 2, 4, 2), NULL, NULL}}};

/* Panels at once: within the registers, 12 accumulators on AVX2 and 16 on AVX-512. */
INLINE int FN(wide)(rnn_idx rows, int nv)
{
#if defined(RNN_V4) || defined(RNN_NEON)
    return rows == 1 && nv >= 2 ? 4 : rows == 2 && nv >= 2 ? 2 : 1;
#else
    return rows == 1 && nv >= 2 ? (nv == 2 ? 4 : nv == 3 ? 4 : 3) : 1;
#endif
}

/* Rows over tiles of at most `limit`, evenly: 16 = 6 + 5 + 5, not 6 + 6 + 4. */
typedef struct {
    rnn_idx tiles, rows, longer;            /* the first `longer` have a row more */
} FN(division);

INLINE FN(division) FN(divide)(rnn_idx rows, rnn_idx limit)
{
    if (rows <= limit) return (FN(division)){1, rows, 0};
    const rnn_idx tiles = (rows + limit - 1) / limit;
    return (FN(division)){tiles, rows / tiles, rows % tiles};
}
