/* Softmax cross-entropy: the loss of each row of logits and its gradient.
 *
 * With p = softmax(x), the target t of a row, and the weights that the struct has, the loss of a row and its gradient are
 *
 *     L = step (own_t (-log p_t) + sum_c every_c (-log p_c))
 *     scale dL/dx_c = scale step ((own_t + sum every) p_c - own_t [c = t] - every_c)
 *
 * A sum over the classes has SUM_LANES accumulators, as many as the widest vector has lanes: class c is added to number
 * c % SUM_LANES, whatever the instruction set.  After SUM_CLASSES classes the accumulators are added up in pairs, and the
 * result is added to the sum in float64, so that its error does not grow with the number of classes.
 *
 * (Built-in functions stand for those of the C library, whose headers WebAssembly does not have.) */
enum { SUM_LANES = 64 / sizeof(real), SUM_VECTORS = SUM_LANES / LANES, SUM_CLASSES = 32 * SUM_LANES };

/* A vector of which the lanes from n on are `fill`. */
INLINE vec vload_filled(const real *p, rc_idx n, real fill)
{
    if (n >= LANES) return vload(p);
    real lanes[LANES];
    for (int i = 0; i < LANES; i++) lanes[i] = i < n ? p[i] : fill;
    return vload(lanes);
}

INLINE real add_lanes(const vec *accumulators)
{
    real x[SUM_LANES];
    for (int v = 0; v < SUM_VECTORS; v++) vstore(x + v * LANES, accumulators[v]);
    for (int half = SUM_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) x[i] += x[i + half];
    return x[0];
}

/* The largest of n values that is not NaN; the order of the comparisons does not matter. */
INLINE real largest_of(const real *x, rc_idx n)
{
    vec a = vset(-(real)__builtin_inf()), b = a;
    rc_idx c = 0;
    for (; c + 2 * LANES <= n; c += 2 * LANES) {
        a = vmax(vload(x + c), a);
        b = vmax(vload(x + c + LANES), b);
    }
    for (; c < n; c += LANES) a = vmax(vload_filled(x + c, n - c, -(real)__builtin_inf()), a);
    real lanes[LANES];
    vstore(lanes, vmax(a, b));
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] = lanes[i + half] > lanes[i] ? lanes[i + half] : lanes[i];
    return lanes[0];
}

/* The classes c .. c + SUM_LANES of a row, of which `left` exist; see `exponentials`.  `whole`: all of them do. */
INLINE void add_group(const real *x, rc_idx left, real top, real *e, const real *every, vec *sums, vec *dots,
                      const int whole)
{
#pragma GCC unroll 4
    for (int v = 0; v < SUM_VECTORS; v++, x += LANES, left -= LANES) {
        if (!whole && left <= 0) break;
        const vec z = (whole ? vload(x) : vload_filled(x, left, -(real)__builtin_inf())) - top;
        const vec y = vselect_less(z, vset(EXP_LOWEST), (vec){0}, vexp(z));
        if (e && whole) vstore(e + v * LANES, y);
        else if (e) vstore_n(e + v * LANES, y, left);
        sums[v] += y;
        if (!every) continue;
        const vec weights = whole ? vload(every + v * LANES) : vload_n(every + v * LANES, left);
        dots[v] = vfma(weights, (whole ? vload(x) : vload_n(x, left)) - top, dots[v]);
    }
}

/* e^(x - top) of every class goes to `e` (NULL: not wanted).  Returns their sum; *dot is the sum of every_c (x_c - top),
 * where there are such weights. */
INLINE double exponentials(const real *x, rc_idx n, real top, real *e, const real *every, double *dot)
{
    double total = 0, weighted = 0;
    for (rc_idx c = 0; c < n;) {
        const rc_idx end = n - c < SUM_CLASSES ? n : c + SUM_CLASSES;
        vec sums[SUM_VECTORS], dots[SUM_VECTORS];
        for (int v = 0; v < SUM_VECTORS; v++) sums[v] = dots[v] = (vec){0};
        for (; c + SUM_LANES <= end; c += SUM_LANES)
            add_group(x + c, SUM_LANES, top, e ? e + c : NULL, every ? every + c : NULL, sums, dots, 1);
        if (c < end) add_group(x + c, end - c, top, e ? e + c : NULL, every ? every + c : NULL, sums, dots, 0);
        c = end;
        total += (double)add_lanes(sums);
        if (every) weighted += (double)add_lanes(dots);
    }
    *dot = weighted;
    return total;
}

/* The gradient of one row from its exponentials, in place: e_c * of_each - every_c * of_every. */
INLINE void softmax_gradient(real *g, rc_idx n, const real *every, real of_each, real of_every)
{
    for (rc_idx c = 0; c < n; c += LANES) {
        vec y = vload_n(g + c, n - c) * of_each;
        if (every) y -= vload_n(every + c, n - c) * of_every;
        vstore_n(g + c, y, n - c);
    }
}

static void cross_entropy(const rc_cross_entropy *p, rc_idx row0, rc_idx row1)
{
    const real *every = (const real *)p->every;
    const rc_idx n = p->classes;
    for (rc_idx row = row0; row < row1; row++) {
        const real *x = (const real *)p->logits + row * n;
        real *g = p->grad ? (real *)p->grad + row * n : NULL;
        const rc_idx t = p->target[row];
        if (t < 0) {
            p->loss[row] = 0;
            if (g) __builtin_memset(g, 0, (size_t)n * sizeof(real));
            continue;
        }
        const real top = largest_of(x, n);
        double dot;
        const double total = exponentials(x, n, top, g, every, &dot), log_total = __builtin_log(total);
        const double own = p->own ? p->own[t] : 1, step = p->step ? p->step[row] : 1;
        const double of_target = log_total - ((double)x[t] - (double)top);
        p->loss[row] = step * (every ? own * of_target + (p->every_sum * log_total - dot) : own * of_target);
        if (!g) continue;
        const double of_step = p->scale * step, of_each = of_step * (own + p->every_sum) / total;
        double at_target = (double)g[t] * of_each - own * of_step;
        if (every) at_target -= (double)every[t] * of_step;
        softmax_gradient(g, n, every, (real)of_each, (real)of_step);
        g[t] = (real)at_target;
    }
}
