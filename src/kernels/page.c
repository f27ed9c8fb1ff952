/* The kernels as the debugger's page calls them: the base instruction set in float32, compiled to WebAssembly.
 *
 * viz/page has the loops over time, in TypeScript.  A network there is what a layer is in the engine: packed weights and
 * calls of one step.  The page runs one sequence, so that a step of forward has one row; backward has one, or one for
 * each cotangent of a Jacobian.  Every argument is a number or an address, since that is all that JavaScript can pass;
 * arrays are contiguous.  Elsewhere than in WebAssembly this file is empty. */
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

/* The weights of one layer.  The packed matrices and the bias of each slot lie behind it in memory. */
typedef struct {
    const rc_cell *cell;
    rc_idx I, H;
    page_matrix of_x, of_h[RC_MAX_STAGES];
    real *bias;
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
/* Lays out a matrix of `blocks` blocks of n rows and k columns; packs it unless src is NULL. */
static void pack_matrix(page_matrix *m, uintptr_t *at, const real *src, const int *order, int blocks, rc_idx n, rc_idx k)
{
    const void *block[RC_MAX_SLOTS];
    m->w = (rc_pack){.n = n, .k = k, .groups = blocks};
    m->wt = (rc_pack){.n = k, .k = n * blocks, .groups = 1};
    m->forward.count = m->backward.count = 0;
    m->w.w = take_bytes(at, pack_size(n, k, blocks) * (rc_idx)sizeof(real));
    m->wt.w = take_bytes(at, pack_size(k, n * blocks, 1) * (rc_idx)sizeof(real));
    if (!src) return;
    for (int g = 0; g < blocks; g++) block[g] = src + order[g] * n * k;
    pack(&m->w, block, k, 0, n);
    for (int g = 0; g < blocks; g++) pack_rows(&m->wt, g * n, n, block[g], k);
}

static page_layer counted_layer;
static page_matrix counted_matrix;

/* Lays a layer out at an address, and returns where it ends. */
static uintptr_t place_layer(uintptr_t at, int cell, rc_idx I, rc_idx H, const real *w_ih, const real *w_hh)
{
    page_layer *l = at ? (page_layer *)at : &counted_layer;
    take_bytes(&at, sizeof(page_layer));
    l->cell = cells + cell, l->I = I, l->H = H;
    l->bias = take_bytes(&at, l->cell->slots * H * (rc_idx)sizeof(real));
    pack_matrix(&l->of_x, &at, w_ih, l->cell->x_order, l->cell->blocks, H, I);
    for (int s = 0, block = 0; s < l->cell->stages; block += l->cell->stage[s++].groups)
        pack_matrix(&l->of_h[s], &at, w_hh, l->cell->h_order + block, l->cell->stage[s].groups, H, H);
    return at;
}

EXPORT uintptr_t layer_bytes(int cell, rc_idx I, rc_idx H) { return place_layer(0, cell, I, H, NULL, NULL); }

static void add_bias(real *sum, const real *bias, rc_idx H)
{
    for (rc_idx u = 0; u < H; u++) sum[u] = sum[u] + bias[u];
}

/* Weights and biases are torch's; both biases are given, or none. */
EXPORT void layer_pack(page_layer *l, int cell, rc_idx I, rc_idx H, const real *w_ih, const real *w_hh,
                       const real *b_ih, const real *b_hh)
{
    const rc_cell *c = cells + cell;
    place_layer((uintptr_t)l, cell, I, H, w_ih, w_hh);
    zero(l->bias, c->slots * H);
    if (!b_ih) return;
    for (int g = 0; g < c->blocks; g++) add_bias(l->bias + (c->x_slot + g) * H, b_ih + c->x_order[g] * H, H);
    for (int s = 0, block = 0; s < c->stages; s++)
        for (int g = 0; g < c->stage[s].groups; g++, block++)
            add_bias(l->bias + (c->stage[s].slot + g) * H, b_hh + c->h_order[block] * H, H);
}

/* A matrix of its own, for the output of a network. */
static uintptr_t place_matrix(uintptr_t at, rc_idx n, rc_idx k, const real *w)
{
    static const int first[] = {0};
    page_matrix *m = at ? (page_matrix *)at : &counted_matrix;
    take_bytes(&at, sizeof(page_matrix));
    pack_matrix(m, &at, w, first, 1, n, k);
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
    rc_product p = {.pack = &l->of_x.w, .a = x, .lda = l->I, .c = slots + l->cell->x_slot * H,
                    .ldc = l->cell->slots * H, .gc = H, .steps = 1};
    for (int g = 0; g < l->cell->blocks; g++) p.bias[g] = l->bias + (l->cell->x_slot + g) * H;
    product(&p, 0, T, 0, H);
}

/* One step: slots (slots, H), where `project` has been; h before the step; h and (LSTM) c after it; carried: c, in and
 * out, then r h of a GRU that resets before the product, (2, H). */
EXPORT void forward_step(page_layer *l, real *slots, const real *h_before, real *h, real *c, real *carried)
{
    const rc_idx H = l->H;
    const rc_cell *cell = l->cell;
    const rc_step step = {.h_size = H, .slots_wanted = 1, .slots = slots, .ldslots = cell->slots * H,
                          .prev = h_before, .ldprev = H, .h = h, .c = carried, .h_out = h, .ldout = H, .c_out = c,
                          .aux = carried + H};
    for (int s = 0; s < cell->stages; s++) {
        const rc_stage *stage = cell->stage + s;
        const int held = cell->x_slot + cell->blocks - stage->slot;     /* slots that hold the product with the input */
        rc_product p = {.pack = &l->of_h[s].w, .a = stage->from_aux ? step.aux : h_before, .lda = H,
                        .c = slots + stage->slot * H, .ldc = cell->slots * H, .gc = H,
                        .adds = held < 0 ? 0 : held < stage->groups ? held : stage->groups, .steps = 1,
                        .prepared = &l->of_h[s].forward};
        for (int g = 0; g < stage->groups; g++) p.bias[g] = l->bias + (stage->slot + g) * H;
        product(&p, 0, 1, 0, H);
        stage->forward(&step, 0, 1, 0, H);
    }
}

/* ---------------------------------------------------------------- backward */
/* One step back, of `rows` rows of gradients of one sequence.  slots: as forward left them; before: the state before the
 * step, c of an LSTM and h of the others; state: c (LSTM) or h after it; grad_out (rows, H), NULL: none; carry: dh, dc
 * and scratch, (3, rows, H), in and out; delta (rows, slots, H): gradients of the pre-activations; total_h, total_c
 * (rows, H): dL/dh and dL/dc, NULL: not wanted. */
EXPORT void backward_step(page_layer *l, rc_idx rows, const real *slots, const real *before, const real *state,
                          const real *grad_out, real *carry, real *delta, real *total_h, real *total_c)
{
    const rc_idx H = l->H, width = l->cell->slots * H;
    const rc_cell *cell = l->cell;
    const rc_step step = {.h_size = H, .tape_rows = 1, .active = 1, .continued = 1, .slots = (void *)slots,
                          .ldslots = width, .prev = before, .ldprev = H, .first = before, .state = state, .ldstate = H,
                          .grad_out = grad_out, .ldgout = H, .dh = carry, .dc = carry + rows * H, .delta = delta,
                          .lddelta = width, .total_h = total_h, .total_c = total_c, .daux = carry + 2 * rows * H};
    for (int s = cell->stages - 1; s >= 0; s--) {
        const rc_stage *stage = cell->stage + s;
        stage->backward(&step, 0, rows, 0, H);
        const rc_product p = {.pack = &l->of_h[s].wt, .a = delta + stage->slot * H, .lda = width,
                              .c = stage->from_aux ? step.daux : step.dh, .ldc = H, .adds = !stage->from_aux,
                              .steps = 1, .prepared = &l->of_h[s].backward};
        product(&p, 0, rows, 0, H);
    }
}

/* dL/dx (rows, I) of delta (rows, slots, H) */
EXPORT void input_gradient(page_layer *l, rc_idx rows, const real *delta, real *grad_x)
{
    const rc_product p = {.pack = &l->of_x.wt, .a = delta + l->cell->x_slot * l->H, .lda = l->cell->slots * l->H,
                          .c = grad_x, .ldc = l->I, .steps = 1};
    product(&p, 0, rows, 0, l->I);
}
#else
typedef int rc_page_is_empty;       /* ISO C has no empty translation unit */
#endif
