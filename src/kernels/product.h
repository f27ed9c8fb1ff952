/* What is built on the tile: matrices packed for it, the product of a step, the weight gradient. */

/* Bytes of a packed strip that should stay in L1 while all rows pass over it. */
#define L1_PANEL 16384
/* Bytes of gates' gradients that are laid out at once for the weight gradient; on the stack. */
#define GRADIENT_BYTES 65536
/* Bytes of weights from which on they are taken to stream from beyond L2. */
#define L2_WEIGHTS (1 << 20)
/* ... and of the rows of a weight gradient that one lay-out of D meets: two such matrices fill L2. */
#define L2_GRADIENT (1 << 18)

/* ---- packing ---------------------------------------------------------------------------------- */

INLINE rnn_idx FN(panel_units)(const rnn_pack *p) { return p->groups > 1 ? LANES : RNN_PLAIN * LANES; }
/* panels that units 0 .. u take (a division by a constant: this runs twice a step) */
INLINE rnn_idx FN(panels)(const rnn_pack *p, rnn_idx u)
{
    return p->groups > 1 ? (u + LANES - 1) / LANES : (u + RNN_PLAIN * LANES - 1) / (RNN_PLAIN * LANES);
}
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

/* ... and where its vector v does */
INLINE rnn_idx FN(vector_offset)(const rnn_pack *p, rnn_idx i, int nv, int v)
{
    const int strip = STRIP(nv);
    const rnn_idx within = nv == strip ? v : v / STRIP(4) * p->k * STRIP(4) + v % STRIP(4);
    return FN(panel_offset)(p, i) + within * LANES;
}

static rnn_idx FN(pack_size)(rnn_idx n, rnn_idx k, int groups)
{
    return (n + LANES - 1) / LANES * LANES * k * groups;
}

/* A vector of units takes 1 KB of its rows at a time: so much of each that the prefetcher follows (64 bytes take 1.4 times
 * as long in L2, 256 bytes 1.5 times beyond it), and still in L1 when the strip's next vector writes beside it. */
static void FN(pack)(const rnn_pack *p, const void *const *src, rnn_idx ld, rnn_idx unit0, rnn_idx unit1)
{
    enum { COLUMNS = 1024 / sizeof(T) };
    const rnn_idx end = FN(panels)(p, unit1);
    for (rnn_idx i = FN(panels)(p, unit0); i < end; i++) {
        const int nv = FN(panel_vectors)(p, i);
        const rnn_idx step = STRIP(nv) * LANES;
        for (rnn_idx first = 0; first < p->k; first += COLUMNS) {
            const rnn_idx count = p->k - first < COLUMNS ? p->k - first : COLUMNS;
            for (int v = 0; v < nv; v++) {
                T *w = (T *)p->w + FN(vector_offset)(p, i, nv, v) + first * step;
                const rnn_idx u0 = i * FN(panel_units)(p) + (p->groups > 1 ? 0 : v * LANES);
                const T *s = (const T *)src[p->groups > 1 ? v : 0] + u0 * ld + first;
                const rnn_idx lanes = p->n - u0, whole = lanes < LANES ? 0 : count / SIDE * SIDE;
                rnn_idx k = 0;
                for (; k < whole; k += SIDE, s += SIDE, w += SIDE * step) FN(vtranspose)(w, step, s, ld);
                for (; k < count; k++, s++, w += step)
                    for (int l = 0; l < LANES; l++) w[l] = l < lanes ? s[l * ld] : 0;
            }
        }
    }
}

/* A whole panel takes all its vectors of a row at once (vector after vector, 1.4 times as long). */
static void FN(pack_rows)(const rnn_pack *p, rnn_idx k0, rnn_idx rows, const void *src, rnn_idx ld)
{
    enum { ROWS = 8 };
    const rnn_idx panels = FN(panels)(p, p->n), units = RNN_PLAIN * LANES;
    for (rnn_idx first = 0; first < rows; first += ROWS) {
        const rnn_idx count = rows - first < ROWS ? rows - first : ROWS;
        for (rnn_idx i = 0; i < panels; i++) {
            const int nv = FN(panel_vectors)(p, i);
            const rnn_idx step = STRIP(nv) * LANES, left = p->n - i * units;
            const T *s = (const T *)src + first * ld + i * units;
            T *w = (T *)p->w + FN(panel_offset)(p, i) + (k0 + first) * step;
            for (rnn_idx k = 0; k < count; k++, s += ld, w += step)
                if (left >= units)
                    for (int v = 0; v < RNN_PLAIN; v++)
                        FN(vstore)(w + FN(vector_offset)(p, 0, RNN_PLAIN, v), FN(vload)(s + v * LANES));
                else
                    for (int v = 0; v < nv; v++)
                        FN(vstore)(w + FN(vector_offset)(p, 0, nv, v), FN(vload_n)(s + v * LANES, left - v * LANES));
        }
    }
}

/* ---- the product of a step -------------------------------------------------------------------- */

/* All rows over one block of k.
 *
 * While tiles run they bring what is wanted next into cache, a little at a time: asked for all at once, it fills the
 * queue of misses and the tile's own loads wait behind it.  The gradient's tiles bring the rows of C below them (Zen 5,
 * training LSTM 25,128,1024: 1.05), a step's the weights that come after this block, which otherwise are waited
 * for by the first tile of each block (LSTM forward on Zen 3, 25,128,1024: 1.06; spread out on Zen 5, 50,16,512:
 * 1.08 more, 50,64,512 on two threads: 1.07).  Bringing A's next rows as well costs more than it saves. */
INLINE void FN(row_tiles)(FN(tile_args) *t, const FN(tile_fn) *tiles, const FN(division) *d, const int gradient, int part)
{
    const rnn_idx row_step = gradient ? t->k : t->lda, turns = gradient ? 0 : (t->k + t->turn - 1) / t->turn;
    for (rnn_idx i = 0; i < d->tiles; i++) {
        const rnn_idx r = d->rows + (i < d->longer);
        if (gradient) t->next = (const char *)(t->c + r * t->ldc);
        tiles[r](t, part);
        t->a += r * row_step;
        t->c += r * t->ldc;
        t->next += turns * t->stride;
    }
}

/* What `nv` vectors from v0 on of a panel, and steps of k, take: all of the tile's arguments but A, C and what it starts from.
 * Returns whether they run over the end of the units. */
INLINE int FN(strip)(FN(tile_args) *t, const rnn_pack *p, rnn_idx panel, int v0, int nv, rnn_idx k, rnn_idx block)
{
    const int panel_nv = FN(panel_vectors)(p, panel);
    const rnn_idx units = FN(panel_units)(p), left = p->n - panel * units;
    int part = 0;
    if (left < units)
        for (int v = 0; v < nv; v++) {
            const rnn_idx lanes = left - (p->groups > 1 ? 0 : (v0 + v) * LANES);
            t->lanes[v] = lanes < LANES ? (int)lanes : LANES;
            part |= lanes < LANES;
        }
    t->k = t->turn = p->k - k < block ? p->k - k : block;
    t->wk = STRIP(panel_nv) * LANES;
    t->wstrip = p->k * t->wk;
    t->wpanel = p->k * panel_nv * LANES;
    t->w = (const T *)p->w + FN(vector_offset)(p, panel, panel_nv, v0) + k * t->wk;
    t->next = (const char *)t->w;
    t->ahead = t->stride = 0;
    return part;
}

/* Steps of k whose share of `nv` vectors stays in L1, all of about one size. */
INLINE rnn_idx FN(k_block)(rnn_idx k, int nv)
{
    const FN(division) d = FN(divide)(k, L1_PANEL / (nv * WIDTH));
    return d.rows + (d.longer > 0);
}

/* Vectors that a tile takes of a panel's nv: a strip, unless that leaves tiles of too few rows, whose
 * accumulators would be too few to hide the latency of a multiply-add. */
INLINE int FN(tile_vectors)(rnn_idx rows, int nv)
{
    const int strip = STRIP(nv);
    return strip < nv && FN(divide)(rows, MAX_ROWS(strip)).rows * strip < 8 ? nv : strip;
}

/* Of panels first .. end, those that one tile takes, from the first on or (downward) from the last: several where
 * there are few rows, if all of them are whole. */
INLINE rnn_idx FN(panels_at_once)(const rnn_product *p, rnn_idx rows, int nv, rnn_idx first, rnn_idx end)
{
    const rnn_idx units = FN(panel_units)(p->pack), n = p->pack->n;
    rnn_idx most = FN(wide)(rows, nv);
    if (most > end - first) most = end - first;
    if (p->downward && end * units > n) most = 1;
    while (most > 1 && (first + most) * units > n && !p->downward) most--;
    return most > 1 && FN(wide_tiles)[rows][nv][most] ? most : 1;
}

/* All rows over some vectors of a panel and a block of k. */
typedef struct {
    FN(tile_args) t;                        /* all but A and C */
    FN(tile_fn) one;                        /* takes all rows; NULL: `tiles` by `rows` do */
    const FN(tile_fn) *tiles;
    FN(division) rows;
    rnn_idx k, c;                           /* where it starts in A and C */
    rnn_idx ahead;                          /* of the weights that come after: see row_tiles */
    int part;
} FN(pass);
_Static_assert(sizeof(FN(pass)) <= RNN_PASS_BYTES, "a pass that product keeps");

INLINE void FN(run)(const rnn_product *p, FN(pass) *s, rnn_idx row0)
{
    for (rnn_idx q = 0; q < p->steps; q++) {
        s->t.a = (const T *)p->a + q * p->step_a + row0 * p->lda + s->k;
        s->t.c = (T *)p->c + q * p->step_c + row0 * p->ldc + s->c;
        s->t.next = (const char *)(s->t.w + s->t.k * s->t.wk);      /* blocks are packed one after the other */
        s->t.ahead = s->t.stride = q == 0 ? s->ahead : 0;
        if (s->one) s->one(&s->t, s->part);
        else FN(row_tiles)(&s->t, s->tiles, &s->rows, 0, s->part);
    }
}

static void FN(product)(const rnn_product *p, rnn_idx row0, rnn_idx row1, rnn_idx unit0, rnn_idx unit1)
{
    const rnn_pack *pk = p->pack;
    rnn_kept *kept = p->kept;
    FN(pass) *const passes = kept ? (FN(pass) *)kept->passes : NULL, other;
    if (kept && kept->count && kept->row0 == row0 && kept->row1 == row1 && kept->unit0 == unit0 && kept->unit1 == unit1) {
        for (int i = 0; i < kept->count; i++) FN(run)(p, passes + i, row0);
        return;
    }
    const rnn_idx rows = row1 - row0, units = FN(panel_units)(pk);
    const int plain = pk->groups == 1;
    const int far = pk->n * pk->k * pk->groups * (rnn_idx)sizeof(T) > L2_WEIGHTS;
    if (rows <= 0) return;
    int panel_nv = 0, nv = 0, again = 0, count = 0;             /* of the panels up to the last, which can be narrower */
    rnn_idx block = 0, turn = 0, ahead = 0;
    FN(division) rows_of = {0};
    for (rnn_idx first = FN(panels)(pk, unit0), end = FN(panels)(pk, unit1); first < end;) {
        const int its_nv = FN(panel_vectors)(pk, p->downward ? end - 1 : first);
        if (its_nv != panel_nv) {
            panel_nv = its_nv;
            nv = FN(tile_vectors)(rows, panel_nv);
            rows_of = FN(divide)(rows, MAX_ROWS(nv));
            again = rows_of.tiles * p->steps > 1;   /* several tiles over the same weights: those stay in L1 */
            block = again ? FN(k_block)(pk->k, nv) : pk->k;
            turn = block, ahead = 0;
            if (again && far) {
                const rnn_idx even = rows_of.tiles * 64 / (nv * WIDTH) / 2 * 2;     /* a cache line a turn ... */
                turn = even < 8 ? 8 : even;                                         /* ... or as many as it takes */
                ahead = (turn * nv * WIDTH / rows_of.tiles + 63) / 64 * 64;
            }
        }
        const rnn_idx taken = FN(panels_at_once)(p, rows, nv, first, end), i = p->downward ? end - taken : first, u = i * units;
        if (p->downward) end = i;
        else first += taken;
        for (int v0 = 0; v0 < panel_nv; v0 += nv)
            for (rnn_idx k = 0; k == 0 || k < pk->k; k += block) {
                FN(pass) *s = passes && count < RNN_PASSES ? passes + count : &other;
                count++;
                s->part = FN(strip)(&s->t, pk, i, v0, nv, k, block);
                s->t.lda = p->lda;
                s->t.ldc = p->ldc;
                s->t.cv = plain ? LANES : p->gc;
                s->t.cp = units;
                s->t.adds = k > 0 || (plain && p->adds) ? nv : p->adds - v0;
                for (int v = 0; v < nv; v++) {
                    const T *bias = p->bias[plain ? 0 : v0 + v];
                    s->t.bias[v] = bias ? bias + u + (plain ? (v0 + v) * LANES : 0) : NULL;
                }
                s->k = k;
                s->c = u + v0 * s->t.cv;
                s->t.turn = turn;
                s->ahead = ahead;
                s->rows = rows_of;
                s->tiles = FN(step_tiles)[nv];
                s->one = taken > 1 ? FN(wide_tiles)[rows][nv][taken] : rows_of.tiles == 1 ? s->tiles[rows] : NULL;
                FN(run)(p, s, row0);
            }
    }
    if (kept) {
        kept->row0 = row0, kept->row1 = row1, kept->unit0 = unit0, kept->unit1 = unit1;
        kept->count = count <= RNN_PASSES ? count : 0;
    }
}

/* ---- the weight gradient ---------------------------------------------------------------------- */

/* The first columns of D as tiles of so many rows want them: [tile][k][row].  Writes whole
 * vectors, so up to one beyond the end. */
INLINE void FN(pack_tiles)(T *to, const T *d, rnn_idx ldd, rnn_idx k, const FN(division) *rows)
{
    for (rnn_idx i = 0; i < rows->tiles; i++) {
        const rnn_idx r = rows->rows + (i < rows->longer);
        for (rnn_idx q = 0; q < k; q++, to += r)
            for (rnn_idx j = 0; j < r; j += LANES) FN(vstore)(to + j, FN(vload_n)(d + q * ldd + j, r - j));
        d += r;
    }
}

/* One matrix, with rows m of C and k of its pack: D laid out in `d`. */
INLINE void FN(outer_block)(const rnn_pack *pk, T *c, rnn_idx ldc, const T *d, const FN(division) *rows, rnn_idx k,
                            rnn_idx block, int fresh)
{
    const int strip = STRIP(RNN_PLAIN);
    const rnn_idx panels = FN(panels)(pk, pk->n);
    const rnn_idx most = rows->rows + (rows->longer > 0);       /* of a tile: each turn brings one of the rows below it */
    const int far = (rows->tiles * rows->rows + rows->longer) * pk->n * (rnn_idx)sizeof(T) > L2_GRADIENT;
    for (rnn_idx i = 0; i < panels; i++) {
        const int panel_nv = FN(panel_vectors)(pk, i);
        for (int v0 = 0, nv; v0 < panel_nv; v0 += nv) {
            nv = panel_nv - v0 < strip ? panel_nv - v0 : strip;
            FN(tile_args) t;
            const int part = FN(strip)(&t, pk, i, v0, nv, k, block);
            t.ldc = ldc;
            t.cv = LANES;
            t.cp = 0;
            t.a = d;
            t.c = c + (i * RNN_PLAIN + v0) * LANES;
            t.adds = fresh ? 0 : nv;
            for (int v = 0; v < nv; v++) t.bias[v] = NULL;
            if (far) {
                t.turn = (t.k / most + 2) / 2 * 2;
                t.ahead = nv * WIDTH;
                t.stride = ldc * (rnn_idx)sizeof(T);
            }
            FN(row_tiles)(&t, FN(grad_tiles)[nv], rows, 1, part);
        }
    }
}

/* D is laid out for a block of k and as many columns as GRADIENT_BYTES take: read where it lies, each k is on
 * a page of its own, and again for every strip (LSTM 50,64,512: 73 % of the forward's speed). */
static void FN(outer)(const rnn_outer *p, rnn_idx m0, rnn_idx m1)
{
    const rnn_idx all = p->pack[p->pack[0] ? 0 : 1]->k, limit = MAX_ROWS(STRIP(RNN_PLAIN));
    const rnn_idx most_k = FN(k_block)(all, STRIP(RNN_PLAIN));
    const rnn_idx most = GRADIENT_BYTES / (rnn_idx)sizeof(T) / (most_k * limit) * limit;
    T d[GRADIENT_BYTES / sizeof(T) + LANES];
    for (rnn_idx m = m0; m < m1; m += most)
        for (rnn_idx k = 0; k < all; k += most_k) {
            const FN(division) rows = FN(divide)(m1 - m < most ? m1 - m : most, limit);
            const rnn_idx block = all - k < most_k ? all - k : most_k;
            FN(pack_tiles)(d, (const T *)p->d + k * p->ldd + m, p->ldd, block, &rows);
            for (int i = 0; i < 2; i++)
                if (p->pack[i])
                    FN(outer_block)(p->pack[i], (T *)p->c[i] + m * p->ldc[i], p->ldc[i], d, &rows, k, block, p->fresh && k == 0);
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
