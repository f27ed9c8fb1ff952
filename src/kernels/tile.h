/* acc += A . packed W with the accumulators in registers, and what is built on it: the product of a
 * step, the weight gradient, and the packing of both.
 *
 * The order over k is ascending with one accumulator an element, whatever the tile, the blocking, the
 * thread or the instruction set: that is what keeps a row's bits.  Independent chains come from rows,
 * gates and panels, never from splitting k. */

/* Rows of a register tile for nv vectors, and the tiles to compile.
 * AVX-512 and NEON have 32 registers: 6 x 4 or 8 x 3 accumulators; AVX2 and SSE 16: 3 x 4 or 4 x 3. */
#undef MAX_ROWS
#undef TILES
#if defined(RNN_V4) || defined(RNN_NEON)
#define MAX_ROWS(nv) ((nv) == 4 ? 6 : 8)
#define TILES(kind, gradient) \
    TO_8(kind, 1, gradient) TO_8(kind, 2, gradient) TO_8(kind, 3, gradient) TO_6(kind, 4, gradient)
#else
#define MAX_ROWS(nv) ((nv) == 4 ? 3 : (nv) == 3 ? 4 : (nv) == 2 ? 6 : 8)
#define TILES(kind, gradient) \
    TO_8(kind, 1, gradient) TO_6(kind, 2, gradient) TO_4(kind, 3, gradient) TO_3(kind, 4, gradient)
#endif
#define TILE_LIMIT 8

/* Bytes of a packed panel that should stay in L1 while all rows pass over it. */
#define L1_PANEL 16384
/* Bytes of weights from which on they are taken to stream from beyond L2. */
#define L2_WEIGHTS (1 << 20)

typedef struct {
    const T *a; rnn_idx lda;                /* forward: element (r, k) at r*lda + k; gradient: k*lda + r */
    const T *w; rnn_idx wpanel, k;          /* panel stride (elements), inner size */
    T *c; rnn_idx ldc, cv, cp;              /* strides of row, vector, panel */
    const T *start[RNN_MAX_SLOTS];          /* per vector of the first panel */
    rnn_idx ldstart[RNN_MAX_SLOTS];
    int lanes[RNN_MAX_SLOTS];               /* valid lanes of each vector */
} FN(tile_args);

INLINE void FN(tile)(const FN(tile_args) *t, const int R, const int NV, const int NP, const int gradient, const int part)
{
    V acc[TILE_LIMIT][4 * RNN_MAX_SLOTS];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int p = 0; p < NP; p++)
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) {
                const T *s = t->start[v];
                acc[r][p * NV + v] = !s ? (V){0}
                    : part ? FN(vload_n)(s + r * t->ldstart[v], t->lanes[v])
                    : FN(vload)(s + r * t->ldstart[v] + p * t->cp);
            }
    const T *a = t->a, *w = t->w;
    const rnn_idx lda = t->lda, K = t->k, wpanel = t->wpanel;
    for (rnn_idx k = 0; k < K; k++) {
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
                    const V wv = FN(vload)(w + p * wpanel + v * LANES);
#pragma GCC unroll 8
                    for (int r = 0; r < R; r++) acc[r][p * NV + v] = FN(vfma)(x[r], wv, acc[r][p * NV + v]);
                }
        } else {
            V wv[4 * RNN_MAX_SLOTS];
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) wv[v] = FN(vload)(w + v * LANES);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) {
                const V x = FN(vset)(gradient ? a[r] : a[r * lda]);
#pragma GCC unroll 4
                for (int v = 0; v < NV; v++) acc[r][v] = FN(vfma)(x, wv[v], acc[r][v]);
            }
        }
        a += gradient ? lda : 1;
        w += NV * LANES;
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int p = 0; p < NP; p++)
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) {
                T *c = t->c + r * t->ldc + v * t->cv;
                if (part) FN(vstore_n)(c, acc[r][p * NV + v], t->lanes[v]);
                else FN(vstore)(c + p * t->cp, acc[r][p * NV + v]);
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
TILES(step, 0)
TILES(grad, 1)
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
#define TILE_TABLE(kind) {{NULL}, {ROW_8(kind, 1)}, {ROW_8(kind, 2)}, {ROW_8(kind, 3)}, {ROW_6(kind, 4)}}
#else
#define TILE_TABLE(kind) {{NULL}, {ROW_8(kind, 1)}, {ROW_6(kind, 2)}, {ROW_4(kind, 3)}, {ROW_3(kind, 4)}}
#endif
static const FN(tile_fn) FN(step_tiles)[5][TILE_LIMIT + 1] = TILE_TABLE(step);
static const FN(tile_fn) FN(grad_tiles)[5][TILE_LIMIT + 1] = TILE_TABLE(grad);
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

/* ---- packing ---------------------------------------------------------------------------------- */

INLINE rnn_idx FN(panel_units)(const rnn_pack *p) { return p->groups > 1 ? LANES : RNN_PLAIN * LANES; }
INLINE rnn_idx FN(panels)(const rnn_pack *p) { return (p->n + FN(panel_units)(p) - 1) / FN(panel_units)(p); }
/* vectors of panel i */
INLINE int FN(panel_vectors)(const rnn_pack *p, rnn_idx i)
{
    if (p->groups > 1) return p->groups;
    const rnn_idx left = (p->n - i * RNN_PLAIN * LANES + LANES - 1) / LANES;
    return left < RNN_PLAIN ? (int)left : RNN_PLAIN;
}
/* where panel i starts; only the last one can be narrower */
INLINE rnn_idx FN(panel_offset)(const rnn_pack *p, rnn_idx i)
{
    return i * p->k * LANES * (p->groups > 1 ? p->groups : RNN_PLAIN);
}

static rnn_idx FN(pack_size)(rnn_idx n, rnn_idx k, int groups)
{
    return (n + LANES - 1) / LANES * LANES * k * groups;
}

static void FN(pack)(const rnn_pack *p, const void *const *src, rnn_idx ld)
{
    for (rnn_idx i = 0; i < FN(panels)(p); i++) {
        const int nv = FN(panel_vectors)(p, i);
        T *w = (T *)p->w + FN(panel_offset)(p, i);
        for (int v = 0; v < nv; v++) {
            const rnn_idx u0 = i * FN(panel_units)(p) + (p->groups > 1 ? 0 : v * LANES);
            const T *s = (const T *)src[p->groups > 1 ? v : 0] + u0 * ld;
            const rnn_idx lanes = p->n - u0 < LANES ? p->n - u0 : LANES;
            for (rnn_idx l = 0; l < LANES; l++)
                for (rnn_idx k = 0; k < p->k; k++)
                    w[(k * nv + v) * LANES + l] = l < lanes ? s[l * ld + k] : 0;
        }
    }
}

static void FN(pack_rows)(const rnn_pack *p, rnn_idx k0, rnn_idx rows, const void *src, rnn_idx ld)
{
    const T *s = src;
    for (rnn_idx k = k0; k < k0 + rows; k++, s += ld)
        for (rnn_idx i = 0; i < FN(panels)(p); i++) {
            const int nv = FN(panel_vectors)(p, i);
            T *w = (T *)p->w + FN(panel_offset)(p, i) + k * nv * LANES;
            for (int v = 0; v < nv; v++) {
                const rnn_idx u = (i * RNN_PLAIN + v) * LANES;
                FN(vstore)(w + v * LANES, FN(vload_n)(s + u, p->n - u));
            }
        }
}

/* ---- the product of a step -------------------------------------------------------------------- */

/* While a tile runs, bring what the next ones read: the next rows of A into L1, and a share of the weights
 * that come after this block of k into L2.  Large matrices stream from L3, where the first tile of every
 * block otherwise waits (LSTM 50,64,512 forward: 86 % of the peak without). */
INLINE void FN(bring)(const T *a, rnn_idx rows, rnn_idx ld, rnn_idx k, const char *w, rnn_idx bytes)
{
    for (rnn_idx r = 0; r < rows; r++)
        for (rnn_idx i = 0; i < k; i += 64 / (rnn_idx)sizeof(T)) __builtin_prefetch(a + r * ld + i, 0, 3);
    for (rnn_idx i = 0; i < bytes; i += 64) __builtin_prefetch(w + i, 0, 2);
}

/* Rows r0 .. r1 over one block of k, divided evenly (16 = 6 + 5 + 5, not 6 + 6 + 4). */
INLINE void FN(row_tiles)(FN(tile_args) *t, const FN(tile_fn) *tiles, rnn_idx rows, rnn_idx limit, const int gradient,
                          int part, rnn_idx next_bytes)
{
    const rnn_idx count = (rows + limit - 1) / limit, row_step = gradient ? 1 : t->lda;
    const char *next = (const char *)t->w + next_bytes;         /* blocks are packed one after the other */
    for (rnn_idx i = 0; i < count; i++) {
        const rnn_idx r = rows / count + (i < rows % count);
        if (next_bytes)
            FN(bring)(t->a + r * row_step, gradient || i + 1 == count ? 0 : r, t->lda, t->k,
                      next + i * next_bytes / count, next_bytes / count);
        tiles[r](t, part);
        t->a += r * row_step;
        t->c += r * t->ldc;
        for (int v = 0; v < RNN_MAX_SLOTS; v++)
            if (t->start[v]) t->start[v] += r * t->ldstart[v];
    }
}

static void FN(product)(const rnn_product *p, rnn_idx row0, rnn_idx row1, rnn_idx panel0, rnn_idx panel1)
{
    const rnn_pack *pk = p->pack;
    const rnn_idx rows = row1 - row0, units = FN(panel_units)(pk);
    const int plain = pk->groups == 1;
    const int far = pk->n * pk->k * (plain ? 1 : pk->groups) * (rnn_idx)sizeof(T) > L2_WEIGHTS;
    if (rows <= 0) return;
    for (rnn_idx i = panel0, taken; i < panel1; i += taken) {
        const int nv = FN(panel_vectors)(pk, i);
        FN(tile_args) t;
        const rnn_idx u = i * units;
        const int whole = u + (plain ? nv * LANES : LANES) <= pk->n;
        t.lda = p->lda;
        t.wpanel = pk->k * nv * LANES;
        t.ldc = p->ldc;
        t.cv = plain ? LANES : p->gc;
        t.cp = units;
        taken = 1;
        for (int v = 0; v < nv; v++) {
            const rnn_idx left = pk->n - u - (plain ? v * LANES : 0);
            t.lanes[v] = left < LANES ? (int)left : LANES;
        }
        rnn_idx block = pk->k;
        const rnn_idx limit = MAX_ROWS(nv);
        if (rows > limit) {                     /* several passes over a panel: keep it in L1 */
            const rnn_idx fit = L1_PANEL / (nv * WIDTH);
            const rnn_idx blocks = (pk->k + fit - 1) / fit;
            if (blocks > 1) block = (pk->k + blocks - 1) / blocks;
        } else if (whole) {                     /* few rows: several panels at once */
            rnn_idx more = FN(wide)(rows, nv);
            while (more > 1 && (i + more > panel1 || (i + more - 1) * units + (plain ? nv * LANES : LANES) > pk->n)) more--;
            if (more > 1 && FN(wide_tiles)[rows][nv][more]) taken = more;
        }
        rnn_idx k = 0;
        do {
            t.k = pk->k - k < block ? pk->k - k : block;
            t.a = (const T *)p->a + row0 * p->lda + k;
            t.w = (const T *)pk->w + FN(panel_offset)(pk, i) + k * nv * LANES;
            t.c = (T *)p->c + row0 * p->ldc + u;
            for (int v = 0; v < RNN_MAX_SLOTS; v++) {
                const int g = plain ? 0 : v;
                t.start[v] = NULL;
                if (v >= nv) continue;
                if (k > 0) {
                    t.start[v] = t.c + v * t.cv;
                    t.ldstart[v] = t.ldc;
                } else if (p->start[g]) {
                    t.ldstart[v] = p->ldstart[g];
                    t.start[v] = (const T *)p->start[g] + row0 * p->ldstart[g] + u + (plain ? v * LANES : 0);
                }
            }
            if (taken > 1) FN(wide_tiles)[rows][nv][taken](&t, 0);
            else FN(row_tiles)(&t, FN(step_tiles)[nv], rows, limit, 0, !whole,
                               rows > limit && far ? t.k * nv * WIDTH : 0);
            k += block;
        } while (k < pk->k);
    }
}

/* ---- the weight gradient ---------------------------------------------------------------------- */

static void FN(outer)(const rnn_outer *p, rnn_idx m0, rnn_idx m1)
{
    const rnn_pack *pk = p->pack;
    if (m1 <= m0) return;
    for (rnn_idx i = 0; i < FN(panels)(pk); i++) {
        const int nv = FN(panel_vectors)(pk, i);
        const rnn_idx u = i * RNN_PLAIN * LANES;
        FN(tile_args) t;
        t.lda = p->ldd;
        t.wpanel = 0;
        t.ldc = p->ldc;
        t.cv = LANES;
        t.cp = 0;
        for (int v = 0; v < nv; v++) {
            const rnn_idx left = pk->n - u - v * LANES;
            t.lanes[v] = left < LANES ? (int)left : LANES;
        }
        const rnn_idx fit = L1_PANEL / (nv * WIDTH), blocks = (pk->k + fit - 1) / fit;
        const rnn_idx block = blocks > 1 ? (pk->k + blocks - 1) / blocks : pk->k;
        for (rnn_idx k = 0; k < pk->k; k += block) {
            t.k = pk->k - k < block ? pk->k - k : block;
            t.a = (const T *)p->d + k * p->ldd + m0;
            t.w = (const T *)pk->w + FN(panel_offset)(pk, i) + k * nv * LANES;
            t.c = (T *)p->c + m0 * p->ldc + u;
            for (int v = 0; v < RNN_MAX_SLOTS; v++) {
                t.start[v] = v < nv ? t.c + v * LANES : NULL;
                t.ldstart[v] = p->ldc;
            }
            FN(row_tiles)(&t, FN(grad_tiles)[nv], m1 - m0, MAX_ROWS(nv), 1, u + nv * LANES > pk->n, 0);
        }
    }
}

static void FN(column_sums)(void *sum, const void *d, rnn_idx ldd, rnn_idx rows, rnn_idx m0, rnn_idx m1)
{
    for (rnn_idx m = m0; m < m1; m += LANES) {
        T *s = (T *)sum + m;
        V acc = FN(vload_n)(s, m1 - m);
        const T *x = (const T *)d + m;
        for (rnn_idx q = 0; q < rows; q++, x += ldd) acc += FN(vload_n)(x, m1 - m);
        FN(vstore_n)(s, acc, m1 - m);
    }
}

static void FN(activation)(int f, const void *x, void *out, rnn_idx n)
{
    for (rnn_idx i = 0; i < n; i += LANES) {
        const V v = FN(vload_n)((const T *)x + i, n - i);
        FN(vstore_n)((T *)out + i, f ? FN(vtanh)(v) : FN(vsigmoid)(v), n - i);
    }
}
