/* Rows that are copied into another order. */

INLINE void copy_row(real *restrict to, const real *restrict from, rc_idx n)
{
    rc_idx i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        const vec a = vload(from + i), b = vload(from + i + LANES);
        const vec c = vload(from + i + 2 * LANES), d = vload(from + i + 3 * LANES);
        vstore(to + i, a), vstore(to + i + LANES, b), vstore(to + i + 2 * LANES, c), vstore(to + i + 3 * LANES, d);
    }
    for (; i + LANES <= n; i += LANES) vstore(to + i, vload(from + i));
    if (i == n) return;
    if (n >= LANES) vstore(to + n - LANES, vload(from + n - LANES));    /* some values twice: quicker than a mask */
    else for (; i < n; i++) to[i] = from[i];
}

INLINE void clear_row(real *to, rc_idx n)
{
    rc_idx i = 0;
    for (; i + LANES <= n; i += LANES) vstore(to + i, (vec){0});
    if (i == n) return;
    if (n >= LANES) vstore(to + n - LANES, (vec){0});
    else for (; i < n; i++) to[i] = 0;
}

/* Row to_row[r] of `to` = row from_row[r] of `from`, n values; see `rc_kernels`.  (RNN 1000,8,32 with lengths: a library
 * call for every row takes twice as long as copying it.) */
static void copy_rows(void *to, rc_idx ldto, const rc_idx *to_row, const void *from, rc_idx ldfrom,
                      const rc_idx *from_row, rc_idx count, rc_idx n)
{
    for (rc_idx r = 0; r < count; r++) {
        real *row = (real *)to + (to_row ? to_row[r] : r) * ldto;
        if (from) copy_row(row, (const real *)from + (from_row ? from_row[r] : r) * ldfrom, n);
        else clear_row(row, n);
    }
}
