/* Rows that are copied into another order, rows of zeros, and rows that will be copied soon. */

/* `vectors` vectors, a constant. */
INLINE void copy_vectors(real *restrict to, const real *restrict from, const int vectors)
{
    vec v[RC_PANEL_VECTORS];
UNROLL
    for (int i = 0; i < vectors; i++) v[i] = vload(from + i * LANES);
UNROLL
    for (int i = 0; i < vectors; i++) vstore(to + i * LANES, v[i]);
}

INLINE void copy_row(real *restrict to, const real *restrict from, rc_idx n)
{
    rc_idx i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) copy_vectors(to + i, from + i, 4);
    for (; i + LANES <= n; i += LANES) vstore(to + i, vload(from + i));
    if (i == n) return;
    if (n >= LANES) vstore(to + n - LANES, vload(from + n - LANES));    /* some values twice: quicker than a mask */
    else vstore_part(to, vload_part(from, (int)n), (int)n);
}

/* gcc must not see that it writes zeros: it would call the library for every row. */
INLINE void clear_row(real *to, rc_idx n)
{
    const vec zero = in_register((vec){0});
    rc_idx i = 0;
    for (; i + LANES <= n; i += LANES) vstore(to + i, zero);
    if (i == n) return;
    if (n >= LANES) vstore(to + n - LANES, zero);
    else vstore_part(to, zero, (int)n);
}

/* `vectors`: of which each row has so many, a constant; 0: rows have any n values. */
INLINE void copy_all(const rc_copy *c, const int vectors)
{
    const rc_idx *const to_row = c->to_row, *const from_row = c->from_row, count = c->count, n = c->n;
    const rc_idx ldto = c->ldto, ldfrom = c->ldfrom;
    real *to = (real *)c->to;
    const real *from = (const real *)c->from;
    for (rc_idx step = 0; step < c->steps; step++, to += c->step_to, from += c->step_from)
        for (rc_idx r = 0; r < count; r++) {
            real *const t = to + (to_row ? to_row[r] : r) * ldto;
            const real *const f = from + (from_row ? from_row[r] : r) * ldfrom;
            if (vectors) copy_vectors(t, f, vectors);
            else copy_row(t, f, n);
        }
}

static void clear_all(const rc_copy *c)
{
    real *to = (real *)c->to;
    for (rc_idx step = 0; step < c->steps; step++, to += c->step_to)
        for (rc_idx r = 0; r < c->count; r++) clear_row(to + (c->to_row ? c->to_row[r] : r) * c->ldto, c->n);
}

/* Into L2. */
static void fetch_all(const rc_copy *c)
{
    for (rc_idx r = 0; r < c->count; r++) {
        const char *row = (const char *)((const real *)c->from + (c->from_row ? c->from_row[r] : r) * c->ldfrom);
        for (rc_idx b = 0; b < c->n * (rc_idx)sizeof(real); b += RC_CACHE_LINE) __builtin_prefetch(row + b, 0, 2);
    }
}

/* See `rc_copy`.  (RNN 1000,8,32 with lengths: a library call for every row takes twice as long as copying it.) */
static void copy_rows(const rc_copy *c)
{
    if (!c->from) clear_all(c);
    else if (!c->to) fetch_all(c);
    else
        switch (c->n % LANES ? 0 : c->n / LANES) {
        case 1: copy_all(c, 1); break;
        case 2: copy_all(c, 2); break;
        case 4: copy_all(c, 4); break;
        default: copy_all(c, 0);
        }
}
