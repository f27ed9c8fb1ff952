/* The kernels as the debugger's page calls them: the base instruction set in float32, compiled to WebAssembly.
 *
 * viz/page has the loops over time, in TypeScript.  A network there is what a layer is in the engine: packed weights and
 * calls of one step.  The page runs one sequence, so that a step of forward has one row; backward has one, or one for
 * each cotangent of a Jacobian.  Every argument is a number or an address, since that is all that JavaScript can pass;
 * arrays are contiguous.  Elsewhere than in WebAssembly this file is empty.
 *
 * Sizes: I inputs, H units, and h of P values: P is H unless the layer has a projection. */
#if defined(__wasm__)
#include "kernels.h"
#define REAL 32
#define KERNELS rc_kernels_page     /* nothing refers to it, so that the linker leaves out what only the table reaches */
#include "isa_base.h"

#define EXPORT __attribute__((visibility("default"), used))

/* One product y = W x + b, and its adjoint. */
typedef struct {
    rc_pack w, wt;
    rc_prepared forward, backward;
} page_matrix;

/* The weights of one layer and direction.  The vectors and the packed matrices lie behind it in memory. */
typedef struct {
    rc_cell cell;               /* the row of the table, for a variant with the functions of variants */
    rc_variant variant;
    rc_idx I, H, P;
    page_matrix of_x, of_h[RC_MAX_STAGES], of_m;    /* of_m: the projection's, if P < H */
    real *bias, *peepholes;     /* of each slot; RC_PEEPHOLES blocks */
} page_layer;

/* ---------------------------------------------------------------- memory: JavaScript gives it out from here on */
extern char __heap_base;
EXPORT char *heap_base(void) { return &__heap_base; }

/* Takes bytes at an address, and moves it on.  What is laid out from address 0 on is only counted. */
static void *take_bytes(uintptr_t *at, rc_idx bytes)
{
    void *p = (void *)*at;
    *at += ((uintptr_t)bytes + 15) / 16 * 16;
    return p;
}

static real *take_reals(uintptr_t *at, rc_idx n) { return take_bytes(at, n * (rc_idx)sizeof(real)); }

static void zero(real *p, rc_idx n)
{
    for (rc_idx i = 0; i < n; i++) p[i] = 0;
}

/* ---------------------------------------------------------------- cells */
EXPORT int cell_count(void)
{
    int n = 0;
    while (cells[n].name) n++;
    return n;
}
EXPORT const char *cell_name(int i) { return cells[i].name; }
EXPORT int cell_slots(int i) { return cells[i].slots; }
EXPORT int cell_states(int i) { return cells[i].states; }
EXPORT int cell_blocks(int i) { return cells[i].blocks; }

/* ---------------------------------------------------------------- packing */
static const int only[] = {0};      /* the order of the blocks of a matrix that has one */

/* Lays out a matrix of `blocks` blocks of n rows and k columns; packs it unless src is NULL. */
static void pack_matrix(page_matrix *m, uintptr_t *at, const real *src, const int *order, int blocks, rc_idx n, rc_idx k)
{
    const void *block[RC_MAX_SLOTS];
    m->w = (rc_pack){.n = n, .k = k, .groups = blocks};
    m->wt = (rc_pack){.n = k, .k = n * blocks, .groups = 1};
    m->forward.count = m->backward.count = 0;
    m->w.w = take_reals(at, pack_size(n, k, blocks));
    m->wt.w = take_reals(at, pack_size(k, n * blocks, 1));
    if (!src) return;
    for (int g = 0; g < blocks; g++) block[g] = src + order[g] * n * k;
    pack(&m->w, block, k, 0, n);
    for (int g = 0; g < blocks; g++) pack_rows(&m->wt, g * n, n, block[g], k);
}

static page_layer counted_layer;
static page_matrix counted_matrix;

/* Lays a layer out at an address, and returns where it ends. */
static uintptr_t place_layer(uintptr_t at, int cell, rc_idx I, rc_idx H, rc_idx P, const real *w_ih, const real *w_hh,
                             const real *w_hr)
{
    page_layer *l = at ? (page_layer *)at : &counted_layer;
    take_bytes(&at, sizeof(page_layer));
    l->cell = cells[cell], l->I = I, l->H = H, l->P = P;
    l->bias = take_reals(&at, l->cell.slots * H);
    l->peepholes = take_reals(&at, RC_PEEPHOLES * H);
    pack_matrix(&l->of_x, &at, w_ih, l->cell.x_order, l->cell.blocks, H, I);
    for (int s = 0, block = 0; s < l->cell.stages; block += l->cell.stage[s++].groups)
        pack_matrix(&l->of_h[s], &at, w_hh, l->cell.h_order + block, l->cell.stage[s].groups, H, P);
    if (P < H) pack_matrix(&l->of_m, &at, w_hr, only, 1, P, H);
    return at;
}

EXPORT uintptr_t layer_bytes(int cell, rc_idx I, rc_idx H, rc_idx P)
{
    return place_layer(0, cell, I, H, P, NULL, NULL, NULL);
}

static void add_bias(real *sum, const real *bias, rc_idx H)
{
    for (rc_idx u = 0; u < H; u++) sum[u] = sum[u] + bias[u];
}

/* Weights and biases are torch's; both biases are given, or none, and w_hr if P < H. */
EXPORT void layer_pack(page_layer *l, int cell, rc_idx I, rc_idx H, rc_idx P, const real *w_ih, const real *w_hh,
                       const real *b_ih, const real *b_hh, const real *w_hr)
{
    place_layer((uintptr_t)l, cell, I, H, P, w_ih, w_hh, w_hr);
    const rc_cell *c = &l->cell;
    zero(l->bias, c->slots * H);
    if (!b_ih) return;
    for (int g = 0; g < c->blocks; g++) add_bias(l->bias + (c->x_slot + g) * H, b_ih + c->x_order[g] * H, H);
    for (int s = 0, block = 0; s < c->stages; s++)
        for (int g = 0; g < c->stage[s].groups; g++, block++)
            add_bias(l->bias + (c->stage[s].slot + g) * H, b_hh + c->h_order[block] * H, H);
}

/* Makes a layer that is packed a variant of its cell.  options: gate_clip, cell_clip, whether the gates are coupled, and
 * of each activation its kind, alpha and beta; peepholes: those of i, f and o, or NULL. */
EXPORT void layer_vary(page_layer *l, const real *options, const real *peepholes)
{
    l->variant = (rc_variant){.gate_clip = options[0], .cell_clip = options[1], .coupled = (int)options[2]};
    for (int n = 0; n < RC_MAX_ACTIVATIONS; n++) {
        const real *given = options + 3 + 3 * n;
        l->variant.activation[n] = (rc_activation){.kind = (int)given[0], .alpha = given[1], .beta = given[2]};
    }
    for (int s = 0; s < l->cell.stages; s++) {
        rc_stage *stage = l->cell.stage + s;
        stage->forward = stage->variant_forward, stage->backward = stage->variant_backward;
    }
    if (!peepholes) return;
    for (rc_idx i = 0; i < RC_PEEPHOLES * l->H; i++) l->peepholes[i] = peepholes[i];
    l->variant.peepholes = l->peepholes;
}

/* The slopes of a variant's first activation where its values are y, n of them. */
EXPORT void layer_slopes(page_layer *l, rc_idx n, const real *y, real *slopes)
{
    const rc_step step = {.variant = &l->variant};
    const activation f = activation_of(&step, 0);
    for (rc_idx i = 0; i < n; i += LANES) {
        const rc_idx count = n - i < LANES ? n - i : LANES;
        vstore_n(slopes + i, slope_from(&f, vload_n(y + i, count)), count);
    }
}

/* A matrix of its own, for the output of a network. */
static uintptr_t place_matrix(uintptr_t at, rc_idx n, rc_idx k, const real *w)
{
    page_matrix *m = at ? (page_matrix *)at : &counted_matrix;
    take_bytes(&at, sizeof(page_matrix));
    pack_matrix(m, &at, w, only, 1, n, k);
    return at;
}

EXPORT uintptr_t matrix_bytes(rc_idx n, rc_idx k) { return place_matrix(0, n, k, NULL); }
EXPORT void matrix_pack(page_matrix *m, rc_idx n, rc_idx k, const real *w) { place_matrix((uintptr_t)m, n, k, w); }

/* y = x W^T + bias, for `rows` rows */
EXPORT void matrix_times(page_matrix *m, rc_idx rows, const real *x, const real *bias, real *y)
{
    const rc_product p = {.pack = &m->w, .a = x, .lda = m->w.k, .c = y, .ldc = m->w.n, .bias = {bias}, .steps = 1};
    product(&p, 0, rows, 0, m->w.n);
}

/* x = y W */
EXPORT void matrix_adjoint(page_matrix *m, rc_idx rows, const real *y, real *x)
{
    const rc_product p = {.pack = &m->wt, .a = y, .lda = m->wt.k, .c = x, .ldc = m->wt.n, .steps = 1};
    product(&p, 0, rows, 0, m->wt.n);
}

/* ---------------------------------------------------------------- forward */
/* The product of the input with its weights, and the bias, for all steps: x (T, I) into slots (T, slots, H). */
EXPORT void project(page_layer *l, rc_idx T, const real *x, real *slots)
{
    const rc_idx H = l->H;
    rc_product p = {.pack = &l->of_x.w, .a = x, .lda = l->I, .c = slots + l->cell.x_slot * H,
                    .ldc = l->cell.slots * H, .gc = H, .steps = 1};
    for (int g = 0; g < l->cell.blocks; g++) p.bias[g] = l->bias + (l->cell.x_slot + g) * H;
    product(&p, 0, T, 0, H);
}

/* One step: slots (slots, H), where `project` has been; h before the step; h and (LSTM) c after it; carried: c, in and
 * out, then H numbers of scratch: r h of a GRU that resets before the product, or what is projected. */
EXPORT void forward_step(page_layer *l, real *slots, const real *h_before, real *h, real *c, real *carried)
{
    const rc_idx H = l->H, P = l->P;
    const rc_cell *cell = &l->cell;
    real *scratch = carried + H, *of_units = P < H ? scratch : h;
    const rc_step step = {.h_size = H, .slots_wanted = 1, .slots = slots, .ldslots = cell->slots * H,
                          .prev = h_before, .ldprev = P, .h = of_units, .c = carried, .h_out = of_units, .ldout = H,
                          .c_out = c, .aux = scratch, .variant = &l->variant};
    for (int s = 0; s < cell->stages; s++) {
        const rc_stage *stage = cell->stage + s;
        const int held = cell->x_slot + cell->blocks - stage->slot;     /* slots that hold the product with the input */
        rc_product p = {.pack = &l->of_h[s].w, .a = stage->from_aux ? step.aux : h_before, .lda = P,
                        .c = slots + stage->slot * H, .ldc = cell->slots * H, .gc = H,
                        .adds = held < 0 ? 0 : held < stage->groups ? held : stage->groups, .steps = 1,
                        .prepared = &l->of_h[s].forward};
        for (int g = 0; g < stage->groups; g++) p.bias[g] = l->bias + (stage->slot + g) * H;
        product(&p, 0, 1, 0, H);
        stage->forward(&step, 0, 1, 0, H);
    }
    if (P == H) return;
    const rc_product p = {.pack = &l->of_m.w, .a = scratch, .lda = H, .c = h, .ldc = P, .steps = 1,
                          .prepared = &l->of_m.forward};
    product(&p, 0, 1, 0, P);
}

/* ---------------------------------------------------------------- backward */
/* One step back, of `rows` rows of gradients of one sequence.  slots: as forward left them; before: the state before the
 * step, c of an LSTM and h of the others; state: c (LSTM) or h after it; grad_out (rows, P), NULL: none; carry: dh
 * (rows, P), dc and scratch (rows, H), one after the other, in and out; delta (rows, slots, H): gradients of the
 * pre-activations; total_h (rows, P) and total_c (rows, H): dL/dh and dL/dc, NULL: not wanted. */
EXPORT void backward_step(page_layer *l, rc_idx rows, const real *slots, const real *before, const real *state,
                          const real *grad_out, real *carry, real *delta, real *total_h, real *total_c)
{
    const rc_idx H = l->H, P = l->P, width = l->cell.slots * H;
    const rc_cell *cell = &l->cell;
    real *dc = carry + rows * P, *scratch = dc + rows * H;
    rc_step step = {.h_size = H, .tape_rows = 1, .active = 1, .continued = 1, .slots = (void *)slots,
                    .ldslots = width, .prev = before, .ldprev = H, .first = before, .state = state, .ldstate = H,
                    .grad_out = grad_out, .ldgout = P, .dh = carry, .dc = dc, .delta = delta, .lddelta = width,
                    .total_h = total_h, .total_c = total_c, .daux = scratch, .variant = &l->variant};
    if (P < H) {                /* the gradient on h goes to the projection, and the cell's equations get that of m */
        rc_step projection = step;
        projection.h_size = P;
        projection.total_h = total_h ? total_h : delta;     /* which the cell's equations overwrite */
        projected_backward(&projection, 0, rows, 0, P);
        const rc_product p = {.pack = &l->of_m.wt, .a = projection.total_h, .lda = P, .c = scratch, .ldc = H,
                              .steps = 1, .prepared = &l->of_m.backward};
        product(&p, 0, rows, 0, H);
        step.dh = scratch, step.grad_out = NULL;
        if (total_h) step.total_h = scratch;
    }
    for (int s = cell->stages - 1; s >= 0; s--) {
        const rc_stage *stage = cell->stage + s;
        stage->backward(&step, 0, rows, 0, H);
        const rc_product p = {.pack = &l->of_h[s].wt, .a = delta + stage->slot * H, .lda = width,
                              .c = stage->from_aux ? scratch : carry, .ldc = P, .adds = !stage->from_aux, .steps = 1,
                              .prepared = &l->of_h[s].backward};
        product(&p, 0, rows, 0, P);
    }
}

/* dL/dx (rows, I) of delta (rows, slots, H); with `adds` it is added to what grad_x holds. */
EXPORT void input_gradient(page_layer *l, rc_idx rows, const real *delta, real *grad_x, int adds)
{
    const rc_product p = {.pack = &l->of_x.wt, .a = delta + l->cell.x_slot * l->H, .lda = l->cell.slots * l->H,
                          .c = grad_x, .ldc = l->I, .adds = adds, .steps = 1};
    product(&p, 0, rows, 0, l->I);
}
#else
typedef int rc_page_is_empty;       /* ISO C has no empty translation unit */
#endif
