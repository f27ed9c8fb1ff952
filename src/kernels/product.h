/* Rows times a packed matrix; and `row_tiles`, which the weight gradient uses as well. */

/* Bytes of weights above which they are assumed not to fit in L2, and are prefetched into it. */
enum { L2_WEIGHTS = 1 << 20 };

/* All rows with one strip and one k block, tile after tile.
 *
 * While the tiles run they prefetch what is needed next, a little in each round of the loop.  Asked for all at once,
 * the lines would fill the queue of outstanding misses, and the tile's own loads would wait behind them.  The tiles of
 * the weight gradient fetch the rows of C to which they add at the end (Zen 5, training LSTM 25,128,1024: 1.05x).  Those of
 * a step fetch the weights of the next k block, for which the first tile of that block would otherwise wait (LSTM
 * forward on Zen 3, 25,128,1024: 1.06x; spread out, on Zen 5, 50,16,512: another 1.09x, and 50,64,512 on two threads:
 * 1.07x).  Fetching the next rows of A as well costs more than it saves. */
INLINE void row_tiles(tile_args *t, const tile_fn *tiles, const division *d, const int gradient, int part)
{
    const rc_idx row_step = gradient ? t->k : t->lda;
    const rc_idx fetches = gradient ? 0 : (t->k + t->prefetch_every - 1) / t->prefetch_every;
    for (rc_idx i = 0; i < d->tiles; i++) {
        const rc_idx r = rows_of_tile(d, i);
        if (gradient) t->prefetch = (const char *)t->c;
        tiles[r](t, part);
        t->a += r * row_step;
        t->c += r * t->ldc;
        if (gradient && t->from) t->from += r * t->ldc;
        t->prefetch += fetches * t->prefetch_stride;
    }
}

/* Fills in the arguments of a tile that follow from its weights: vectors v0 .. v0+nv of a panel, in the k block that
 * begins at k.  The caller sets A, C, their strides, and what the sums start from.  Returns whether a vector is a
 * part. */
INLINE int strip_args(tile_args *t, const rc_pack *p, rc_idx panel, int v0, int nv, rc_idx k, rc_idx k_block)
{
    const int panel_nv = panel_vectors(p, panel);
    const rc_idx units = panel_units(p), left = p->n - panel * units;
    int part = 0;
    if (left < units)
        for (int v = 0; v < nv; v++) {
            const rc_idx lanes = left - (p->groups > 1 ? 0 : (v0 + v) * LANES);
            t->lanes[v] = lanes < LANES ? (int)lanes : LANES;
            part |= lanes < LANES;
        }
    t->k = t->prefetch_every = p->k - k < k_block ? p->k - k : k_block;
    t->wk = STRIP(panel_nv) * LANES;
    t->wstrip = p->k * t->wk;
    t->wpanel = p->k * panel_nv * LANES;
    t->w = (const real *)p->w + vector_offset(p, panel, panel_nv, v0) + k * t->wk;
    t->prefetch = (const char *)t->w;
    t->prefetch_bytes = t->prefetch_stride = 0;
    return part;
}

/* Length of the k blocks whose share of nv vectors stays in L1; only the last block may be shorter. */
INLINE rc_idx k_block_for(rc_idx k, int nv)
{
    const division d = divide(k, RC_L1_BYTES / (nv * WIDTH));
    return rows_of_tile(&d, 0);
}

/* Vectors that a tile takes of a panel of nv: a strip, unless that leaves tiles of so few rows that there would be too
 * few accumulators to hide the latency of a multiply-add: 4 cycles, two of them issued in each. */
INLINE int tile_vectors(rc_idx rows, int nv)
{
    enum { ACCUMULATORS = 8 };
    const int strip = STRIP(nv);
    return strip < nv && divide(rows, MAX_ROWS(strip)).rows * strip < ACCUMULATORS ? nv : strip;
}

/* How many of the panels first .. end one tile takes, from the first on or (downward) from the last: several where
 * there are few rows and all these panels are whole. */
INLINE rc_idx panels_at_once(const rc_product *p, rc_idx rows, int nv, rc_idx first, rc_idx end)
{
    const rc_idx units = panel_units(p->pack), n = p->pack->n;
    rc_idx most = most_panels(rows, nv);
    if (most > end - first) most = end - first;
    if (p->downward && end * units > n) most = 1;
    while (most > 1 && (first + most) * units > n && !p->downward) most--;
    return most > 1 && wide_tiles[rows][nv][most] ? most : 1;
}

typedef struct {
    tile_args t;                            /* all but A and C */
    tile_fn one;                            /* takes all rows; NULL: `tiles` do, by `rows` */
    const tile_fn *tiles;
    division rows;
    rc_idx a_offset, c_offset;
    rc_idx prefetch_bytes;                  /* of the weights of the next k block: see row_tiles */
    int part;
} sweep;
_Static_assert(sizeof(sweep) <= RC_SWEEP_BYTES, "RC_SWEEP_BYTES is too small for a sweep");

/* One step of a sweep; a and c are those of its first row. */
INLINE void run_step(sweep *s, const real *a, real *c, rc_idx prefetch_bytes)
{
    s->t.a = a + s->a_offset;
    s->t.c = c + s->c_offset;
    s->t.prefetch = (const char *)(s->t.w + s->t.k * s->t.wk);          /* k blocks are packed one after the other */
    s->t.prefetch_bytes = s->t.prefetch_stride = prefetch_bytes;
    if (s->one) s->one(&s->t, s->part);
    else row_tiles(&s->t, s->tiles, &s->rows, 0, s->part);
}

INLINE void run_sweep(const rc_product *p, sweep *s, rc_idx row0)
{
    const real *a = (const real *)p->a + row0 * p->lda;
    real *c = (real *)p->c + row0 * p->ldc;
    for (rc_idx q = 0; q < p->steps; q++) run_step(s, a + q * p->step_a, c + q * p->step_c, q == 0 ? s->prefetch_bytes : 0);
}

static void product_again(const rc_product *p, rc_idx row0)
{
    sweep *s = (sweep *)p->prepared->sweeps, *const end = s + p->prepared->count;
    const real *const a = (const real *)p->a + row0 * p->lda;
    real *const c = (real *)p->c + row0 * p->ldc;
    for (; s < end; s++) run_step(s, a, c, s->prefetch_bytes);
}

static void product_of_two(const rc_product *p, const rc_product *q)
{
    sweep *s = (sweep *)p->prepared->sweeps;
    const sweep *const other = (const sweep *)q->prepared->sweeps;
    if (p->prepared->count > 1 || s->one != s->tiles[1]) {      /* several sweeps, or panels in a tile */
        product_again(p, 0);
        product_again(q, 0);
        return;
    }
    tile_args *t = &s->t;
    t->a = (const real *)p->a + s->a_offset;
    t->c = (real *)p->c + s->c_offset;
    t->lda = (const real *)q->a + s->a_offset - t->a;
    t->ldc = (real *)q->c + s->c_offset - t->c;
    t->wpanel = other->t.w - t->w;
    two_nets_tiles[(s->tiles - step_tiles[0]) / (TILE_LIMIT + 1)](t, s->part);
}

static void product(const rc_product *p, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    const rc_pack *pk = p->pack;
    rc_prepared *prepared = p->prepared;
    sweep *const sweeps = prepared ? (sweep *)prepared->sweeps : NULL;
    sweep unprepared;                                           /* where there is no room for it */
    if (prepared && prepared->count && prepared->row0 == row0 && prepared->row1 == row1 && prepared->unit0 == unit0 &&
        prepared->unit1 == unit1) {
        for (int i = 0; i < prepared->count; i++) run_sweep(p, sweeps + i, row0);
        return;
    }
    const rc_idx rows = row1 - row0, units = panel_units(pk);
    const int one_group = pk->groups == 1;
    const int beyond_l2 = pk->n * pk->k * pk->groups * (rc_idx)sizeof(real) > L2_WEIGHTS;
    if (rows <= 0) return;
    int panel_nv = 0, nv = 0, again = 0, count = 0;             /* all panels but the last have the same panel_nv */
    rc_idx k_block = 0, prefetch_every = 0, prefetch_bytes = 0;
    division rows_of = {0};
    for (rc_idx first = panels(pk, unit0), end = panels(pk, unit1); first < end;) {
        const int its_nv = panel_vectors(pk, p->downward ? end - 1 : first);
        if (its_nv != panel_nv) {
            panel_nv = its_nv;
            nv = tile_vectors(rows, panel_nv);
            rows_of = divide(rows, MAX_ROWS(nv));
            again = rows_of.tiles * p->steps > 1;       /* the same weights serve several tiles: keep them in L1 */
            k_block = again ? k_block_for(pk->k, nv) : pk->k;
            prefetch_every = k_block, prefetch_bytes = 0;
            if (again && beyond_l2) {
                /* The tiles of one k block together prefetch the next one.  Every so many steps of k (an even number,
                 * since the loop is unrolled by two) a tile fetches its share of that many steps, about a line. */
                const rc_idx even = rows_of.tiles * RC_CACHE_LINE / (nv * WIDTH) / 2 * 2;
                prefetch_every = even < 8 ? 8 : even;
                const rc_idx share = prefetch_every * nv * WIDTH / rows_of.tiles;
                prefetch_bytes = (share + RC_CACHE_LINE - 1) / RC_CACHE_LINE * RC_CACHE_LINE;
            }
        }
        const rc_idx taken = panels_at_once(p, rows, nv, first, end);
        const rc_idx i = p->downward ? end - taken : first, u = i * units;
        if (p->downward) end = i;
        else first += taken;
        for (int v0 = 0; v0 < panel_nv; v0 += nv)
            for (rc_idx k = 0; k == 0 || k < pk->k; k += k_block) {
                sweep *s = sweeps && count < RC_MAX_SWEEPS ? sweeps + count : &unprepared;
                count++;
                s->part = strip_args(&s->t, pk, i, v0, nv, k, k_block);
                s->t.lda = p->lda;
                s->t.ldc = p->ldc;
                s->t.cv = one_group ? LANES : p->gc;
                s->t.cp = units;
                /* a negative number means none */
                s->t.adds = k > 0 || (one_group && p->adds) ? nv : p->adds - v0;
                for (int v = 0; v < nv; v++) {
                    const real *bias = p->bias[one_group ? 0 : v0 + v];
                    s->t.bias[v] = bias ? bias + u + (one_group ? (v0 + v) * LANES : 0) : NULL;
                }
                s->a_offset = k;
                s->c_offset = u + v0 * s->t.cv;
                s->t.prefetch_every = prefetch_every;
                s->prefetch_bytes = prefetch_bytes;
                s->rows = rows_of;
                s->tiles = step_tiles[nv];
                s->one = taken > 1 ? wide_tiles[rows][nv][taken] : rows_of.tiles == 1 ? s->tiles[rows] : NULL;
                run_sweep(p, s, row0);
            }
    }
    if (prepared) {
        prepared->row0 = row0, prepared->row1 = row1, prepared->unit0 = unit0, prepared->unit1 = unit1;
        prepared->count = count <= RC_MAX_SWEEPS ? count : 0;
    }
}

/* How many panels `sums_of_row` takes next, where `units` units are left: all of them, if they are at most `most`.  Otherwise
 * it takes one fewer than `most`, so that the last call never has a single panel, whose sums would wait for each other. */
INLINE rc_idx panels_at_a_time(rc_idx units, rc_idx most)
{
    const rc_idx left = (units + LANES - 1) / LANES;
    return left > most ? most - 1 : left;
}

/* The sums of one row for NP panels of NV vectors each, from unit u on; they stay in registers.  The first ADDS groups
 * start from what C holds, `c` being its row, and the others from the bias. */
INLINE void sums_of_row(vec *acc, const rc_product *p, const real *a, const real *c, rc_idx u, const int NV,
                        const int NP, const int ADDS)
{
    const rc_pack *pack = p->pack;
    const int strip = STRIP(NV);
    const rc_idx K = pack->k, left = pack->n - u, wstrip = K * strip * LANES, wpanel = K * NV * LANES;
    const real *w = (const real *)pack->w + u / LANES * wpanel;
UNROLL
    for (int i = 0; i < NP * NV; i++) {
        const int q = i / NV, v = i % NV;
        const real *from = (v < ADDS ? c + v * p->gc : (const real *)p->bias[v]) + u + q * LANES;
        acc[i] = vload_n(from, q < NP - 1 ? LANES : left - q * LANES);
    }
UNROLL_TWICE
    for (rc_idx k = 0; k < K; k++) {
        const vec x = vset(a[k]);
UNROLL
        for (int i = 0; i < NP * NV; i++) {
            const int q = i / NV, v = i % NV;
#if defined(__clang__) && defined(__x86_64__)
            const real *const strip_k = in_address(w + q * wpanel + v / strip * wstrip + k * strip * LANES);
            acc[i] = vfma(x, vload(strip_k + v % strip * LANES), acc[i]);
#else
            acc[i] = vfma(x, vload(w + q * wpanel + v / strip * wstrip + (v % strip + k * strip) * LANES), acc[i]);
#endif
        }
    }
}
