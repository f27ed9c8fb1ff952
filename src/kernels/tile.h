/* acc += A . packed W with the accumulators in registers: the one inner loop, which product.h and weight_gradient.h
 * run over whole matrices.
 *
 * For every element, k ascends and there is one accumulator, whatever the tile, the blocking, the thread or the
 * instruction set: so a row has the same bits in every batch.  What hides the latency of a multiply-add are the
 * independent sums of several rows, groups and panels; k is never split. */

/* MAX_ROWS(nv): most rows of a tile of nv vectors.  AVX-512 and NEON have 32 registers, for 6 x 4 or 8 x 3
 * accumulators; AVX2 and SSE have 16, for 6 x 2 or 4 x 3, and for 3 x 4 where there are few rows.
 *
 * STRIP(nv): vectors in a strip of a panel of nv vectors.  With 2 of 4 vectors on AVX2 a strip that fits L1 is twice as
 * long in k, so the accumulators are loaded and stored half as often. */
#if defined(ISA_V4) || defined(ISA_NEON)
#define MAX_ROWS(nv) ((nv) == 4 ? 6 : 8)
#define STRIP(nv) (nv)
#else
#define MAX_ROWS(nv) ((nv) == 4 ? 3 : (nv) == 3 ? 4 : (nv) == 2 ? 6 : 8)
#define STRIP(nv) ((nv) == 4 ? 2 : (nv))
#endif
enum { TILE_LIMIT = 8, PANEL_LIMIT = 4 };       /* most rows, and most panels, of a tile */

/* What a tile reads and writes.  Strides are in elements.  For the weight gradient `a` is D, as `lay_out` wrote it, and
 * `w` is A, packed. */
typedef struct {
    const real *a; rc_idx lda;              /* element (r, k) at r*lda + k; weight gradient: at k*R + r */
    const real *w; rc_idx wstrip, wpanel;   /* strides of strip and panel, or to the next row's weights */
    rc_idx k;                               /* inner size */
    rc_idx wk;                              /* stride of k; a tile of a step knows it as a constant */
    real *c; rc_idx ldc, cv, cp;            /* strides of row, vector, panel */
    const real *from;                       /* weight gradient: the sums start from this, strides as C's; NULL: zero */
    int adds;                               /* vectors that start from what C holds (weight gradient: whether C is added
                                             * to the sums at the end) ... */
    const real *bias[RC_PANEL_VECTORS];     /* ... and what the others start from, in the first panel; NULL: zero */
    int lanes[RC_PANEL_VECTORS];            /* valid lanes of each vector, read where the panel has a part */
    /* Prefetch: every `prefetch_every` steps of k fetch `prefetch_bytes` at `prefetch`, then advance it by
     * `prefetch_stride`.  A tile of one row fetches nothing. */
    const char *prefetch;
    rc_idx prefetch_every, prefetch_bytes, prefetch_stride;
} tile_args;

/* R rows times NV vectors of each of NP panels.  All but t are constants where this is inlined.  `part`: a vector
 * has fewer than LANES units, so `lanes` of them are loaded and stored; there is then one panel.  `own`: each row has
 * weights of its own; there is one panel, and no bias. */
INLINE void tile(const tile_args *t, const int R, const int NV, const int NP, const int gradient, const int part,
                 const int own)
{
    static const vec zeros;
    vec acc[TILE_LIMIT][PANEL_LIMIT * RC_PANEL_VECTORS];
    real *const to = t->c;
    const rc_idx ldc = t->ldc, cv = t->cv, cp = t->cp;
    const real *start[RC_PANEL_VECTORS];        /* of each vector, and the strides of its rows and panels */
    rc_idx row[RC_PANEL_VECTORS], panel[RC_PANEL_VECTORS];
UNROLL
    for (int v = 0; v < NV; v++) {
        const real *s = gradient ? (t->from ? t->from + v * cv : NULL) : v < t->adds ? to + v * cv : t->bias[v];
        row[v] = s && (gradient || v < t->adds) ? ldc : 0;
        panel[v] = s ? cp : 0;
        start[v] = s ? s : (const real *)&zeros;        /* no branch: clang would keep the accumulators in memory */
    }
UNROLL
    for (int i = 0; i < R * NP * NV; i++) {
        const int r = i / (NP * NV), q = i % (NP * NV), v = q % NV;
        const real *s = start[v] + r * row[v] + q / NV * panel[v];
        acc[r][q] = part ? vload_n(s, t->lanes[v]) : vload(s);
    }
    const int strip = gradient ? NV : STRIP(NV);
    const real *a = t->a, *w = t->w;
    const rc_idx lda = t->lda, K = t->k, wstrip = gradient ? 0 : t->wstrip, wpanel = gradient ? 0 : t->wpanel;
    const rc_idx wk = gradient ? t->wk : 0, wrow = own ? t->wpanel : 0;
    const char *prefetch = t->prefetch;
    const rc_idx every = R > 1 ? t->prefetch_every : K, bytes = R > 1 ? t->prefetch_bytes : 0;
    const rc_idx stride = t->prefetch_stride;
    for (rc_idx k0 = 0; k0 < K; k0 += every) {
        const rc_idx k1 = K - k0 < every ? K : k0 + every;
        for (rc_idx b = 0; b < bytes; b += RC_CACHE_LINE)
            if (gradient) __builtin_prefetch(prefetch + b, 0, 3);      /* to L1: C is read at the end */
            else __builtin_prefetch(prefetch + b, 0, 2);               /* to L2: weights of the next k block */
        prefetch += stride;
UNROLL_TWICE
        for (rc_idx k = k0; k < k1; k++) {
            /* The smaller operand stays in registers, and the other goes through one register: 12 accumulators, 3
             * and 1 make AVX2's 16.  The other order spills, which is half as fast. */
            if (own) {
UNROLL
                for (int i = 0; i < R * NV; i++) {
                    const int r = i / NV, v = i % NV;
                    const vec wv = vload(w + r * wrow + v / strip * wstrip + v % strip * LANES);
                    acc[r][v] = vfma(vset(a[r * lda]), wv, acc[r][v]);
                }
            } else if (R <= NV * NP) {
                vec x[TILE_LIMIT], wv;
UNROLL
                for (int r = 0; r < R; r++) x[r] = vset(gradient ? a[r] : a[r * lda]);
UNROLL
                for (int i = 0; i < R * NP * NV; i++) {
                    const int q = i / R, r = i % R, v = q % NV;
                    if (r == 0) {
                        wv = vload(w + q / NV * wpanel + v / strip * wstrip + v % strip * LANES);
                        if (R > 1) wv = in_register(wv);
                    }
                    acc[r][q] = vfma(x[r], wv, acc[r][q]);
                    if (R > 1 && r == R - 1) acc[r][q] = before_next_load(acc[r][q], wv);
                }
            } else {
                vec wv[RC_PANEL_VECTORS], x;          /* one panel: more rows than vectors */
UNROLL
                for (int v = 0; v < NV; v++) wv[v] = vload(w + v / strip * wstrip + v % strip * LANES);
UNROLL
                for (int i = 0; i < R * NV; i++) {
                    const int r = i / NV, v = i % NV;
                    if (v == 0) x = vset(gradient ? a[r] : a[r * lda]);
                    acc[r][v] = vfma(x, wv[v], acc[r][v]);
                    if (i == R * NV - 1) acc[r][v] = before_next_load(acc[r][v], x);
                }
            }
            a += gradient ? R : 1;
            w += gradient ? wk : strip * LANES;
        }
    }
UNROLL
    for (int i = 0; i < R * NP * NV; i++) {
        const int r = i / (NP * NV), q = i % (NP * NV), v = q % NV;
        real *c = to + r * ldc + v * cv + q / NV * cp;
        vec sum = acc[r][q];
        if (gradient && t->adds) sum = (part ? vload_n(c, t->lanes[v]) : vload(c)) + sum;
        if (part) vstore_n(c, sum, t->lanes[v]);
        else vstore(c, sum);
    }
}

/* One function for each shape of a tile, tile_<kind>_<rows>x<vectors>_<panels>, and tables of them by shape. */
#define TILE_NAME(kind, r, nv, np) tile_##kind##_##r##x##nv##_##np
#define TILE(kind, r, nv, np, gradient)                                             \
    static void TILE_NAME(kind, r, nv, np)(const tile_args *t, int part)            \
    {                                                                               \
        if (part) tile(t, r, nv, 1, gradient, 1, 0);                                \
        else tile(t, r, nv, np, gradient, 0, 0);                                    \
    }
#define TILES_3(kind, nv, g) TILE(kind, 1, nv, 1, g) TILE(kind, 2, nv, 1, g) TILE(kind, 3, nv, 1, g)
#define TILES_4(kind, nv, g) TILES_3(kind, nv, g) TILE(kind, 4, nv, 1, g)
#define TILES_6(kind, nv, g) TILES_4(kind, nv, g) TILE(kind, 5, nv, 1, g) TILE(kind, 6, nv, 1, g)
#define TILES_8(kind, nv, g) TILES_6(kind, nv, g) TILE(kind, 7, nv, 1, g) TILE(kind, 8, nv, 1, g)
#define TABLE_3(kind, nv) NULL, TILE_NAME(kind, 1, nv, 1), TILE_NAME(kind, 2, nv, 1), TILE_NAME(kind, 3, nv, 1)
#define TABLE_4(kind, nv) TABLE_3(kind, nv), TILE_NAME(kind, 4, nv, 1)
#define TABLE_6(kind, nv) TABLE_4(kind, nv), TILE_NAME(kind, 5, nv, 1), TILE_NAME(kind, 6, nv, 1)
#define TABLE_8(kind, nv) TABLE_6(kind, nv), TILE_NAME(kind, 7, nv, 1), TILE_NAME(kind, 8, nv, 1)

typedef void (*tile_fn)(const tile_args *t, int part);
#if defined(ISA_V4) || defined(ISA_NEON)
TILES_8(step, 1, 0) TILES_8(step, 2, 0) TILES_8(step, 3, 0) TILES_6(step, 4, 0)
TILES_6(grad, 1, 1) TILES_6(grad, 2, 1) TILES_6(grad, 3, 1) TILES_6(grad, 4, 1)
static const tile_fn step_tiles[RC_PANEL_VECTORS + 1][TILE_LIMIT + 1] = {  /* [vectors][rows] */
    {NULL}, {TABLE_8(step, 1)}, {TABLE_8(step, 2)}, {TABLE_8(step, 3)}, {TABLE_6(step, 4)}};
static const tile_fn grad_tiles[RC_PANEL_VECTORS + 1][TILE_LIMIT + 1] = {
    {NULL}, {TABLE_6(grad, 1)}, {TABLE_6(grad, 2)}, {TABLE_6(grad, 3)}, {TABLE_6(grad, 4)}};
#else
TILES_8(step, 1, 0) TILES_6(step, 2, 0) TILES_4(step, 3, 0) TILES_3(step, 4, 0)
TILES_6(grad, 1, 1) TILES_6(grad, 2, 1)
static const tile_fn step_tiles[RC_PANEL_VECTORS + 1][TILE_LIMIT + 1] = {  /* [vectors][rows] */
    {NULL}, {TABLE_8(step, 1)}, {TABLE_6(step, 2)}, {TABLE_4(step, 3)}, {TABLE_3(step, 4)}};
static const tile_fn grad_tiles[RC_PANEL_VECTORS + 1][TILE_LIMIT + 1] = {
    {NULL}, {TABLE_6(grad, 1)}, {TABLE_6(grad, 2)}};
#endif

/* Several panels at once, where there is one row, or (with 32 registers) two: enough independent sums to hide the
 * latency of a multiply-add.  `most_panels` says how many: at most PANEL_LIMIT, and as many as keep all accumulators in
 * registers, 12 of 16 or 16 of 32. */
TILE(step, 1, 2, 2, 0) TILE(step, 1, 3, 2, 0) TILE(step, 1, 4, 2, 0)
TILE(step, 1, 2, 3, 0) TILE(step, 1, 3, 3, 0) TILE(step, 1, 4, 3, 0)
TILE(step, 1, 2, 4, 0) TILE(step, 1, 3, 4, 0)
#if defined(ISA_V4) || defined(ISA_NEON)
TILE(step, 1, 4, 4, 0)
TILE(step, 2, 2, 2, 0) TILE(step, 2, 3, 2, 0) TILE(step, 2, 4, 2, 0)
#define ONLY_32_REGISTERS(tile) tile
INLINE int most_panels(rc_idx rows, int nv) { return nv < 2 ? 1 : rows == 1 ? 4 : rows == 2 ? 2 : 1; }
#else
#define ONLY_32_REGISTERS(tile) NULL
INLINE int most_panels(rc_idx rows, int nv) { return nv < 2 || rows > 1 ? 1 : nv == 4 ? 3 : 4; }
#endif
static const tile_fn wide_tiles[3][RC_PANEL_VECTORS + 1][PANEL_LIMIT + 1] = {   /* [rows][vectors][panels] */
    {{NULL}},
    {{NULL}, {NULL},
     {NULL, NULL, TILE_NAME(step, 1, 2, 2), TILE_NAME(step, 1, 2, 3), TILE_NAME(step, 1, 2, 4)},
     {NULL, NULL, TILE_NAME(step, 1, 3, 2), TILE_NAME(step, 1, 3, 3), TILE_NAME(step, 1, 3, 4)},
     {NULL, NULL, TILE_NAME(step, 1, 4, 2), TILE_NAME(step, 1, 4, 3), ONLY_32_REGISTERS(TILE_NAME(step, 1, 4, 4))}},
    {{NULL}, {NULL},
     {NULL, NULL, ONLY_32_REGISTERS(TILE_NAME(step, 2, 2, 2))},
     {NULL, NULL, ONLY_32_REGISTERS(TILE_NAME(step, 2, 3, 2))},
     {NULL, NULL, ONLY_32_REGISTERS(TILE_NAME(step, 2, 4, 2))}}};

/* Two rows, each with weights of its own: the rows of two nets. */
#define TWO_NETS(nv)                                                                \
    static void tile_two_nets_##nv(const tile_args *t, int part)                    \
    {                                                                               \
        if (part) tile(t, 2, nv, 1, 0, 1, 1);                                       \
        else tile(t, 2, nv, 1, 0, 0, 1);                                            \
    }
TWO_NETS(1) TWO_NETS(2) TWO_NETS(3) TWO_NETS(4)
static const tile_fn two_nets_tiles[RC_PANEL_VECTORS + 1] = {
    NULL, tile_two_nets_1, tile_two_nets_2, tile_two_nets_3, tile_two_nets_4};

/* `rows` divided into tiles of at most `limit` rows, as evenly as possible: 16 = 6 + 5 + 5, not 6 + 6 + 4. */
typedef struct {
    rc_idx tiles, rows, longer;            /* the first `longer` tiles have one row more */
} division;

INLINE rc_idx rows_of_tile(const division *d, rc_idx i) { return d->rows + (i < d->longer); }

INLINE division divide(rc_idx rows, rc_idx limit)
{
    if (rows <= limit) return (division){1, rows, 0};
    const rc_idx tiles = (rows + limit - 1) / limit;
    return (division){tiles, rows / tiles, rows % tiles};
}
