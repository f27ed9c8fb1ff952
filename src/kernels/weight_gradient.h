/* The weight gradient, and the sums for the biases. */

/* Bytes of D that `lay_out` copies at once; on the stack. */
enum { GRADIENT_BYTES = 1 << 16 };
/* If one laid-out part of D adds to more bytes of C than this, in each of the two matrices, those rows are assumed to
 * have left L2 by the time they are needed again, and are prefetched. */
enum { L2_GRADIENT = 1 << 18 };

/* Copies the first columns of D in the order that tiles of so many rows read them: [tile][k][row].  It writes whole
 * vectors, so up to one vector beyond the end. */
INLINE void lay_out(real *to, const real *d, rc_idx ldd, rc_idx k, const division *rows)
{
    for (rc_idx i = 0; i < rows->tiles; i++) {
        const rc_idx r = rows_of_tile(rows, i);
        for (rc_idx q = 0; q < k; q++, to += r)
            for (rc_idx j = 0; j < r; j += LANES) vstore(to + j, vload_n(d + q * ldd + j, r - j));
        d += r;
    }
}

/* For one matrix: adds the products of the laid-out columns `d`, over one k block, to their rows of C. */
INLINE void add_to_rows(const rc_pack *pk, real *c, rc_idx ldc, const real *d, const division *rows, rc_idx k,
                        rc_idx k_block, int overwrite)
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
            t.adds = overwrite ? 0 : nv;
            for (int v = 0; v < nv; v++) t.bias[v] = NULL;
            if (beyond_l2) {
                t.prefetch_every = (t.k / most + 2) / 2 * 2;
                t.prefetch_bytes = nv * WIDTH;
                t.prefetch_stride = ldc * (rc_idx)sizeof(real);
            }
            row_tiles(&t, grad_tiles[nv], rows, 1, part);
        }
    }
}

/* D is laid out for one k block and as many columns as fit GRADIENT_BYTES.  Read where it lies, each k would be on a
 * memory page of its own, and D would be read again for every strip (training LSTM 50,64,512, whose matrix products
 * then ran at 73 % of the speed of the forward pass). */
static void weight_gradient(const rc_weight_gradient *p, rc_idx m0, rc_idx m1)
{
    const rc_idx all_k = p->pack[p->pack[0] ? 0 : 1]->k, limit = MAX_ROWS(STRIP(RC_PANEL_VECTORS));
    const rc_idx most_k = k_block_for(all_k, STRIP(RC_PANEL_VECTORS));
    const rc_idx most = GRADIENT_BYTES / (rc_idx)sizeof(real) / (most_k * limit) * limit;
    real d[GRADIENT_BYTES / sizeof(real) + LANES];
    for (rc_idx m = m0; m < m1; m += most)
        for (rc_idx k = 0; k < all_k; k += most_k) {
            const division rows = divide(m1 - m < most ? m1 - m : most, limit);
            const rc_idx k_block = all_k - k < most_k ? all_k - k : most_k;
            lay_out(d, (const real *)p->d + k * p->ldd + m, p->ldd, k_block, &rows);
            for (int i = 0; i < 2; i++)
                if (p->pack[i])
                    add_to_rows(p->pack[i], (real *)p->c[i] + m * p->ldc[i], p->ldc[i], d, &rows, k, k_block,
                                p->overwrite && k == 0);
        }
}

static void column_sums(void *sum, const void *d, rc_idx ldd, rc_idx rows, rc_idx m0, rc_idx m1)
{
    for (rc_idx m = m0; m < m1; m += LANES) {
        real *s = (real *)sum + m;
        vec acc = vload_n(s, m1 - m);
        const real *x = (const real *)d + m;
        for (rc_idx q = 0; q < rows; q++, x += ldd) acc += vload_n(x, m1 - m);
        vstore_n(s, acc, m1 - m);
    }
}
