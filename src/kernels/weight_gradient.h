/* The weight gradient, and the sums for the biases: over blocks of rows, see `rc_blocks`. */

/* Bytes of D that `lay_out` copies at once; on the stack. */
enum { GRADIENT_BYTES = 1 << 16 };
/* If one laid-out part of D adds to more bytes of C than this, in each of the two matrices, those rows are assumed to
 * have left L2 by the time they are needed again, and are prefetched. */
enum { L2_GRADIENT = 1 << 18 };

/* Copies the first columns of D in the order that tiles of so many rows read them: [tile][k][row].  (Whole vectors, each
 * over the end of the one before, are stores across cache lines: training GRU 64,32,64,128 on a Xeon 1.04x without.) */
INLINE void lay_out(real *to, const real *d, rc_idx ldd, rc_idx k, const division *rows)
{
    for (rc_idx i = 0; i < rows->tiles; i++) {
        const rc_idx r = rows_of_tile(rows, i);
        for (rc_idx q = 0; q < k; q++, to += r)
            for (rc_idx j = 0; j < r; j += LANES) vstore_n(to + j, vload_n(d + q * ldd + j, r - j), r - j);
        d += r;
    }
}

/* For one matrix and one block, of k_block rows from k on: the products of the laid-out columns `d`, and of the rows of
 * `from` (NULL: zero) as what they start from, go to the same rows of C. */
INLINE void add_to_rows(const rc_pack *pk, const real *from, real *c, rc_idx ldc, int adds, const real *d,
                        const division *rows, rc_idx k, rc_idx k_block)
{
    const int strip = STRIP(RC_PANEL_VECTORS);
    const rc_idx end = panels(pk, pk->n);
    const rc_idx most = rows_of_tile(rows, 0);                  /* one row of C is fetched at a time */
    const int beyond_l2 = (rows->tiles * rows->rows + rows->longer) * pk->n * (rc_idx)sizeof(real) > L2_GRADIENT;
    for (rc_idx i = 0; i < end; i++) {
        const int panel_nv = panel_vectors(pk, i);
        for (int v0 = 0, nv; v0 < panel_nv; v0 += nv) {
            nv = panel_nv - v0 < strip ? panel_nv - v0 : strip;
            tile_args t;
            const int part = strip_args(&t, pk, i, v0, nv, k, k_block);
            t.ldc = ldc;
            t.cv = LANES;
            t.cp = 0;
            t.a = d;
            t.c = c + (i * RC_PANEL_VECTORS + v0) * LANES;
            t.from = from ? from + (i * RC_PANEL_VECTORS + v0) * LANES : NULL;
            t.adds = adds;
            if (beyond_l2) {
                t.prefetch_every = (t.k / most + 2) / 2 * 2;
                t.prefetch_bytes = nv * WIDTH;
                t.prefetch_stride = ldc * (rc_idx)sizeof(real);
            }
            row_tiles(&t, grad_tiles[nv], rows, 1, part);
        }
    }
}

/* One block of a call's rows. */
typedef struct {
    rc_idx row, rows;           /* where it begins, and how many rows it has; 0: there is none */
    int resumes, pauses, adds;  /* adds: its result is added to the sum, and does not replace it */
} sum_block;

INLINE void set_end(sum_block *b, const rc_blocks *blocks, rc_idx rows, rc_idx most)
{
    b->rows = rows - b->row < most ? rows - b->row : most;
    b->pauses = blocks->pauses && b->row + b->rows == rows;
}

INLINE sum_block first_block(const rc_blocks *blocks, rc_idx rows)
{
    sum_block b = {.row = 0, .resumes = blocks->resumes};
    set_end(&b, blocks, rows, blocks->first);
    b.adds = !blocks->overwrite && !b.pauses;
    return b;
}

INLINE void next_block(sum_block *b, const rc_blocks *blocks, rc_idx rows)
{
    b->row += b->rows;
    b->resumes = 0;
    set_end(b, blocks, rows, RC_SUM_ROWS);
    b->adds = !b->pauses;       /* the block before was complete */
}

/* D is laid out for one block and as many columns as fit GRADIENT_BYTES.  Read where it lies, each k would be on a
 * memory page of its own, and D would be read again for every strip (training LSTM 50,64,512, whose matrix products
 * then ran at 73 % of the speed of the forward pass). */
static void weight_gradient(const rc_weight_gradient *p, rc_idx m0, rc_idx m1)
{
    const rc_idx all_k = p->pack[p->pack[0] ? 0 : 1]->k, limit = MAX_ROWS(STRIP(RC_PANEL_VECTORS));
    const rc_idx most = GRADIENT_BYTES / (rc_idx)sizeof(real) / (RC_SUM_ROWS * limit) * limit;
    real d[GRADIENT_BYTES / sizeof(real)];
    for (rc_idx m = m0; m < m1; m += most) {
        const division rows = divide(m1 - m < most ? m1 - m : most, limit);
        sum_block b = first_block(p->blocks, all_k);
        for (; b.rows > 0; next_block(&b, p->blocks, all_k)) {
            lay_out(d, (const real *)p->d + b.row * p->ldd + m, p->ldd, b.rows, &rows);
            for (int i = 0; i < 2; i++) {
                if (!p->pack[i]) continue;
                const rc_idx at = m * p->ldc[i];
                real *partial = (real *)p->partial[i] + at;
                add_to_rows(p->pack[i], b.resumes ? partial : NULL, b.pauses ? partial : (real *)p->c[i] + at,
                            p->ldc[i], b.adds, d, &rows, b.row, b.rows);
            }
        }
    }
}

static void column_sums(void *sum, void *partial, const void *d, rc_idx ldd, rc_idx rows, const rc_blocks *blocks,
                        rc_idx m0, rc_idx m1)
{
    for (rc_idx m = m0; m < m1; m += LANES) {
        real *s = (real *)sum + m, *p = (real *)partial + m;
        const real *x = (const real *)d + m;
        sum_block b = first_block(blocks, rows);
        for (; b.rows > 0; next_block(&b, blocks, rows)) {
            vec acc = b.resumes ? vload_n(p, m1 - m) : (vec){0};
            for (rc_idx q = 0; q < b.rows; q++, x += ldd) acc += vload_n(x, m1 - m);
            if (b.adds) acc = vload_n(s, m1 - m) + acc;
            vstore_n(b.pauses ? p : s, acc, m1 - m);
        }
    }
}

static void add_to_total(double *total, const void *c, rc_idx n, int overwrite)
{
    const real *x = (const real *)c;
    if (overwrite)
        for (rc_idx i = 0; i < n; i++) total[i] = (double)x[i];
    else
        for (rc_idx i = 0; i < n; i++) total[i] += (double)x[i];
}

static void round_total(void *c, const double *total, rc_idx n)
{
    real *x = (real *)c;
    for (rc_idx i = 0; i < n; i++) x[i] = (real)(total[i] + (double)x[i]);
}
