/* Matrices packed for the tiles: [panel][strip][k][vector of the strip][lane].  See the glossary in kernels.h. */
_Static_assert(RC_MAX_SLOTS == 4 && RC_PANEL_VECTORS == 4, "the tables of tiles are made for up to four vectors");

INLINE rc_idx panel_units(const rc_pack *p) { return p->groups > 1 ? LANES : RC_PANEL_VECTORS * LANES; }

/* Panels that units 0 .. u take.  (It divides by one of two constants, not by panel_units: it runs twice a step.) */
INLINE rc_idx panels(const rc_pack *p, rc_idx u)
{
    enum { UNITS = RC_PANEL_VECTORS * LANES };
    return p->groups > 1 ? (u + LANES - 1) / LANES : (u + UNITS - 1) / UNITS;
}

/* Vectors in panel i. */
INLINE int panel_vectors(const rc_pack *p, rc_idx i)
{
    if (p->groups > 1) return p->groups;
    const rc_idx left = (p->n - i * RC_PANEL_VECTORS * LANES + LANES - 1) / LANES;
    return left < RC_PANEL_VECTORS ? (int)left : RC_PANEL_VECTORS;
}

/* Where panel i begins, in elements.  Only the last panel can be narrower. */
INLINE rc_idx panel_offset(const rc_pack *p, rc_idx i)
{
    return i * p->k * LANES * (p->groups > 1 ? p->groups : RC_PANEL_VECTORS);
}

/* Where vector v begins in panel i, a panel of nv vectors. */
INLINE rc_idx vector_offset(const rc_pack *p, rc_idx i, int nv, int v)
{
    const int strip = STRIP(nv);
    enum { HALF = STRIP(RC_PANEL_VECTORS) };        /* a panel of several strips has RC_PANEL_VECTORS vectors */
    const rc_idx within = nv == strip ? v : v / HALF * p->k * HALF + v % HALF;
    return panel_offset(p, i) + within * LANES;
}

static rc_idx pack_size(rc_idx n, rc_idx k, int groups) { return (n + LANES - 1) / LANES * LANES * k * groups; }

/* For each vector of units, 1 KB of the matrix row of every unit is packed at a time: enough that the hardware
 * prefetcher follows (64 bytes at a time take 1.4 times as long in L2, 256 bytes 1.5 times as long beyond it), and
 * little enough
 * that the packed lines are still in L1 when the strip's next vector writes beside them. */
static void pack(const rc_pack *p, const void *const *src, rc_idx ld, rc_idx unit0, rc_idx unit1)
{
    enum { COLUMNS = 1024 / sizeof(real) };
    const rc_idx end = panels(p, unit1);
    for (rc_idx i = panels(p, unit0); i < end; i++) {
        const int nv = panel_vectors(p, i);
        const rc_idx step = STRIP(nv) * LANES;
        for (rc_idx first = 0; first < p->k; first += COLUMNS) {
            const rc_idx count = p->k - first < COLUMNS ? p->k - first : COLUMNS;
            for (int v = 0; v < nv; v++) {
                real *w = (real *)p->w + vector_offset(p, i, nv, v) + first * step;
                const rc_idx u0 = i * panel_units(p) + (p->groups > 1 ? 0 : v * LANES);
                const real *s = (const real *)src[p->groups > 1 ? v : 0] + u0 * ld + first;
                const rc_idx lanes = p->n - u0, whole = lanes < LANES ? 0 : count / SIDE * SIDE;
                rc_idx k = 0;
                for (; k < whole; k += SIDE, s += SIDE, w += SIDE * step) vtranspose(w, step, s, ld);
                for (; k < count; k++, s++, w += step)
                    for (int l = 0; l < LANES; l++) w[l] = l < lanes ? s[l * ld] : 0;
            }
        }
    }
}

/* `count` rows of a panel of `nv` vectors, a constant, of which the last one has `last` values. */
INLINE void pack_panel_rows(const rc_pack *p, real *w, const real *s, rc_idx count, rc_idx ld, const int nv, int last)
{
    const rc_idx step = STRIP(nv) * LANES;
    rc_idx at[RC_PANEL_VECTORS];
UNROLL
    for (int v = 0; v < nv; v++) at[v] = vector_offset(p, 0, nv, v);
    for (rc_idx k = 0; k < count; k++, s += ld, w += step) {
UNROLL
        for (int v = 0; v < nv - 1; v++) vstore(w + at[v], vload(s + v * LANES));
        const real *const end = s + (nv - 1) * LANES;
        vstore(w + at[nv - 1], last == LANES ? vload(end) : vload_part(end, last));
    }
}

/* All vectors of a row are packed before the next row (one vector after the other for all rows takes 1.4 times as
 * long), and of several panels ROWS rows of each before the next ROWS, while their lines are in L1.  That the number of
 * vectors is a constant in the loop halves the time for matrices of one panel (128 rows of 32 values, Xeon). */
static void pack_rows(const rc_pack *p, rc_idx k0, rc_idx rows, const void *src, rc_idx ld)
{
    enum { ROWS = 8 };
    const rc_idx end = panels(p, p->n), units = RC_PANEL_VECTORS * LANES, at_once = end > 1 ? ROWS : rows;
    for (rc_idx first = 0; first < rows; first += at_once) {
        const rc_idx count = rows - first < at_once ? rows - first : at_once;
        for (rc_idx i = 0; i < end; i++) {
            const int nv = panel_vectors(p, i), last = i < end - 1 ? LANES : (int)(p->n - i * units - (nv - 1) * LANES);
            const real *const s = (const real *)src + first * ld + i * units;
            real *const w = (real *)p->w + panel_offset(p, i) + (k0 + first) * STRIP(nv) * LANES;
            switch (nv) {
            case 1: pack_panel_rows(p, w, s, count, ld, 1, last); break;
            case 2: pack_panel_rows(p, w, s, count, ld, 2, last); break;
            case 3: pack_panel_rows(p, w, s, count, ld, 3, last); break;
            default: pack_panel_rows(p, w, s, count, ld, 4, last);
            }
        }
    }
}
