/* The interface between the engine (typed Cython) and the kernels (plain C).
 *
 * A kernel works on one step, for a range of rows and a range of hidden units, and knows nothing of
 * Python, of time or of threads.  The engine's loops call it through one table of function pointers
 * per instruction set and type.
 *
 * Names: B rows, I inputs, H hidden units.  A `slot` is one row-long strip of H values that a cell
 * keeps for a step (a gate, or the recurrent part of the GRU's candidate).  Activations are dense:
 * row r of a step holds its slots one after the other, [slot][H].
 */
#ifndef RNN_KERNELS_H
#define RNN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef ptrdiff_t rnn_idx;

enum { RNN_MAX_SLOTS = 4, RNN_MAX_STAGES = 2, RNN_PLAIN = 4 };

/* A matrix packed for `product`: [panel][k][vector][lane], zeros beyond n.
 * groups > 1: a panel holds one vector of units of each group (the gates of a strip of units).
 * groups == 1: a panel holds RNN_PLAIN vectors of neighbouring units, the last panel what is left. */
typedef struct {
    void *w;
    rnn_idx n;      /* units of a group */
    rnn_idx k;      /* inner size */
    int groups;
} rnn_pack;

/* What `product` works out before it multiplies, kept for the next step of the same product (RNN H 32, B 1: 1.18x
 * forward).  Set `count` to 0 to begin; of the product only A and C may change after that. */
enum { RNN_PASSES = 16, RNN_PASS_BYTES = 256 };
typedef struct {
    rnn_idx row0, row1, unit0, unit1;       /* the call it is for */
    int count;                              /* 0: none yet, or too many */
    _Alignas(16) char passes[RNN_PASSES * RNN_PASS_BYTES];
} rnn_kept;

/* C[r, g, u] = start + sum_k A[r, k] W[g, u, k], k ascending, one accumulator an element; start is what C holds
 * for the first `adds` groups, and a bias for the others. */
typedef struct {
    const rnn_pack *pack;
    const void *a;                          /* A, row stride lda, k contiguous */
    rnn_idx lda;
    void *c;                                /* C, row stride ldc, group stride gc */
    rnn_idx ldc, gc;
    int adds;
    const void *bias[RNN_MAX_SLOTS];        /* per group, n values; NULL: zero */
    rnn_idx steps, step_a, step_c;          /* the same rows so many times, A and C that far further on */
    int downward;                           /* last panel first: what the call before left in cache comes first */
    rnn_kept *kept;                         /* one for each value of `downward`; NULL: none */
} rnn_product;

/* C[m, n] += sum_q D[q, m] A[q, n], q in the order of the rows: the weight gradient, for the two matrices (of the
 * input and of the state) that a slot's gradients D meet. */
typedef struct {
    const void *d;                          /* row stride ldd, may be negative */
    rnn_idx ldd;
    const rnn_pack *pack[2];                /* A by `pack_rows`: n units, k rows, the same k; NULL: none */
    void *c[2];
    rnn_idx ldc[2];
    int fresh;                              /* C = instead of C += */
} rnn_outer;

/* One step of one layer and direction.  Forward reads pre-activations in `gates` and leaves the
 * values there; backward reads values and writes gradients of the pre-activations into `delta`. */
typedef struct {
    rnn_idx h_size;
    rnn_idx tape_rows;          /* B: row r (of K*B) reads the tape's row r % B */
    const rnn_idx *lengths;     /* NULL: every row is on */
    rnn_idx t;                  /* a row is off when t >= lengths[row] */
    int reverse;                /* reverse: a row's first step is t == lengths[row] - 1 */
    int keep;                   /* forward: a recorded pass, whose slots and c are read again */

    void *gates;                /* [B][slots][H] */
    rnn_idx ldgates;
    const void *prev;           /* state before the step, per row: h (forward, RNN, GRU) or c (LSTM backward) */
    const void *first;          /* backward: the initial state, for a row whose first step this is */
    rnn_idx ldprev;
    const void *state;          /* backward: the tape's c (LSTM) or h (RNN) after the step */
    rnn_idx ldstate;

    void *h;                    /* forward: carried h after the step, row stride H */
    void *c;                    /* forward: carried c, in and out, row stride H */
    void *h_out;                /* forward: outputs (0 for a row that is off), row stride ldout */
    rnn_idx ldout;
    void *c_out;                /* forward: the tape's c, row stride H; NULL: not kept */
    void *aux;                  /* reset before the product: r*h (forward), row stride H */

    const void *grad_out;       /* backward: gradient on h from above, row stride ldgout; NULL: none */
    rnn_idx ldgout;
    void *dh, *dc;              /* backward: carried gradients, in and out, row stride H */
    void *delta;                /* backward: gradients of the slots, row stride slots*H */
    rnn_idx lddelta;
    void *total_h, *total_c;    /* backward: dL/dh_t and dL/dc_t, row stride H; NULL: not kept */
    void *daux;                 /* reset before the product: gradient of r*h, row stride H */
    void *aux_out;              /* reset before the product: r*h again, for the weight gradient; NULL */
} rnn_step;

typedef void (*rnn_step_fn)(const rnn_step *s, rnn_idx row0, rnn_idx row1, rnn_idx unit0, rnn_idx unit1);

/* One recurrent product of a step and the equations that follow it. */
typedef struct {
    int slot, groups;           /* the slots that the product adds to */
    int from_aux;               /* its input: 0 the carried h, 1 `aux` */
    rnn_step_fn forward, backward;
} rnn_stage;

/* A cell type: one row of the table. */
typedef struct {
    const char *name;
    int gates;                  /* blocks of H rows in a weight matrix, torch's order */
    int slots;                  /* strips a step keeps */
    int keep;                   /* 1: the slots are on the tape (0: only h is needed again) */
    int states;                 /* 1: h; 2: h and c */
    int x_slot;                 /* input product adds to slots x_slot .. x_slot + gates */
    int x_order[RNN_MAX_SLOTS]; /* block of weight_ih for each of these slots */
    int h_order[RNN_MAX_SLOTS]; /* block of weight_hh for each slot of the stages, in order */
    int stages;
    rnn_stage stage[RNN_MAX_STAGES];
} rnn_cell;

typedef struct {
    const char *isa;
    int bits, lanes;
    rnn_idx tile_rows;          /* rows a register tile holds at most */
    rnn_idx (*pack_size)(rnn_idx n, rnn_idx k, int groups);     /* elements */
    /* from a matrix by units: element (g, u, k) is src[g][u*ld + k].  Here and in `product` unit0 and unit1 (or it is n)
     * are where a panel begins: multiples of `lanes`, of RNN_PLAIN * lanes where there is one group */
    void (*pack)(const rnn_pack *p, const void *const *src, rnn_idx ld, rnn_idx unit0, rnn_idx unit1);
    /* a plain pack by k: its rows k0 .. k0+rows are rows of `src`, row stride ld (may be negative) */
    void (*pack_rows)(const rnn_pack *p, rnn_idx k0, rnn_idx rows, const void *src, rnn_idx ld);
    void (*product)(const rnn_product *p, rnn_idx row0, rnn_idx row1, rnn_idx unit0, rnn_idx unit1);
    void (*outer)(const rnn_outer *p, rnn_idx m0, rnn_idx m1);
    void (*column_sums)(void *sum, const void *d, rnn_idx ldd, rnn_idx rows, rnn_idx m0, rnn_idx m1);
    /* out = f(x), n values; f: 0 sigmoid, 1 tanh (for the accuracy tests) */
    void (*activation)(int f, const void *x, void *out, rnn_idx n);
    const rnn_cell *cells;      /* ends with a NULL name */
} rnn_kernels;

/* dispatch.c */
const rnn_kernels *rnn_kernels_for(const char *isa, int bits);  /* NULL: not compiled in, or not on this CPU */
const char *rnn_best_isa(void);
int rnn_isa_compiled(const char *isa);

/* pool.c */
typedef void (*rnn_pool_fn)(void *context, int thread, int threads);
typedef struct {
    _Alignas(64) int count;
    _Alignas(64) int phase;
    int late;                   /* times that a thread waited far longer than it had worked */
    int solo;                   /* the call goes on with thread 0 alone */
    long long opened;           /* ns: when the barrier last opened */
} rnn_barrier;
void rnn_pool_run(rnn_pool_fn f, void *context, int threads);
long long rnn_now(void);        /* ns of a clock that only goes on */
int rnncore_get_num_threads(void);
void rnncore_set_num_threads(int n);
/* `may_shrink`: a place where thread 0 could go on alone. Returns whether it does from here on. */
int rnn_barrier_wait(rnn_barrier *b, int threads, int may_shrink);

#endif
