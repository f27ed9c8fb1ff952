/* The interface between the engine (typed Cython) and the kernels (plain C).
 *
 * The kernels of a cell compute one time step, for a range of rows and a range of hidden units; others pack matrices,
 * multiply, and sum.  No kernel calls Python, starts threads, or runs the recurrence over time: the engine's loops do,
 * and call the kernels through one table of function pointers for each instruction set and type (`rc_kernels`).
 * docs/kernels.md tells how a kernel is built, tested and measured.
 *
 * Sizes: B rows, I inputs, H hidden units.  A shape in a comment, such as "LSTM 50,16,512", is T,B,H with I = H, or
 * T,B,I,H.  CPUs: Zen 3 has AVX2, Zen 5 AVX-512; where a comment names none, it was Zen 3.
 *
 * Glossary
 *   row      a sequence of the batch; in backward one of K * B rows of gradients, K for each sequence.
 *   unit     one of the H values of a state.
 *   block    H rows of a weight matrix as torch stores it: the weights of one gate.
 *   lane     one value of a vector register; a vector has LANES of them (AVX2: 8 float32, 4 float64).
 *   slot     H values for each row of a step, in which the products add up and which the equations then replace: a
 *            gate, or a sum that is needed again (the recurrent part of the GRU's candidate).  A row of a step holds
 *            its slots one after the other: [slot][H].
 *   pre-activation  the sum in a slot before its curve, a_i in the equations; to squash it is to apply the curve.
 *   projection  the product with W_hr that follows all stages where h is narrower than the cell state: what the cell's
 *            equations leave as h, H wide, then goes through it, and P values are carried and put out.
 *   variant  a cell with other activations, bounds, peepholes or coupled gates (`rc_variant`): the same slots and
 *            products, and equations of its own.
 *   stage    one recurrent product of a step and the equations that follow it.  Most cells have one; a GRU that
 *            resets before the product has two, since the second product reads what the first one's gates made (`aux`).
 *   tape     what a recorded pass leaves for backward.  Row r of the gradients belongs to row r % B of the tape.
 *   carried  passed on from step to step: h and c in forward, their gradients in backward.
 *   active   a row is at the steps that it has.  A batch of sequences of unequal length is sorted, the longest first, so
 *            that the active rows of a step are its first ones, and only these are computed and stored.  Where backward
 *            is given others too, these are held: they keep what they carry.
 *   group    one of the matrices that a product multiplies in one call: the blocks of a stage.
 *   panel    the part of a packed matrix that belongs to a few neighbouring units: one vector of units of each group
 *            or, where there is one group, RC_PANEL_VECTORS vectors.
 *   strip    the vectors of a panel that lie side by side in memory for each k.  All rows are multiplied with one
 *            strip while it stays in L1.
 *   tile     the accumulators that the inner loop holds in registers: a few rows times a few vectors.
 *   k block  a range of the inner index k, so short that its share of a strip stays in L1; all of k where the weights
 *            serve only one tile.
 *   sweep    all rows of a call with one strip (or one or several whole panels) and one k block.
 *   chunk    the time steps that are multiplied together outside the recurrence: in forward their products with the
 *            input, in backward the gradients of the input and of the weights (src/engine).
 *   sum block   some rows of a chunk, whose terms of a gradient are added up before the result joins the sum.
 *   part     the last vector of a row where H is not a multiple of LANES, of which only some lanes exist; the units
 *            before it are whole.
 */
#ifndef RC_KERNELS_H
#define RC_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef ptrdiff_t rc_idx;

enum {
    RC_MAX_SLOTS = 4,           /* most slots of a cell, most groups of a product */
    RC_MAX_STAGES = 2,          /* most stages of a cell */
    RC_MAX_ACTIVATIONS = 3,     /* most activation functions of a cell */
    RC_PEEPHOLES = 3,           /* blocks of H peephole weights: of i, f and o */
    RC_PANEL_VECTORS = 4,       /* vectors in a panel of a matrix with one group */
    RC_L1_BYTES = 16384,        /* data that should stay in L1 while it is used again: half of the smallest L1 in use */
    RC_CACHE_LINE = 64,         /* bytes */
    RC_SUM_ROWS = 64,           /* rows of a block of a sum: see `rc_blocks` */
    RC_MAX_THREADS = 256,
};

/* A matrix packed for `product`: [panel][strip][k][vector of the strip][lane], with zeros beyond n.
 * groups > 1: a panel holds one vector of units of each group (the gates of the same units).
 * groups == 1: a panel holds RC_PANEL_VECTORS vectors of neighbouring units; the last panel holds what is left. */
typedef struct {
    void *w;
    rc_idx n;                   /* units of a group */
    rc_idx k;                   /* inner size */
    int groups;
} rc_pack;

/* What `product` works out for each sweep, kept so that the next call with the same product only runs the sweeps (RNN
 * 1000,1,8,32 forward: 1.18x).  Set `count` to 0 to begin.  Between two calls that share this struct only the addresses
 * `a` and `c`, and `steps` with its strides, may change; for another range of rows or units all is worked out anew. */
enum { RC_MAX_SWEEPS = 16, RC_SWEEP_BYTES = 256 };
typedef struct {
    rc_idx row0, row1, unit0, unit1;        /* the ranges that the sweeps were made for */
    int count;                              /* 0: none yet, or more than there is room for */
    /* an array of `sweep` (product.h), whose layout depends on the type */
    _Alignas(16) char sweeps[RC_MAX_SWEEPS * RC_SWEEP_BYTES];
} rc_prepared;

/* C[r, g, u] = start + sum_k A[r, k] W[g, u, k], with k ascending and one accumulator for each element.  `start` is
 * what C holds for the first `adds` groups, and a bias for the others. */
typedef struct {
    const rc_pack *pack;
    const void *a;                          /* A, row stride lda, k contiguous */
    rc_idx lda;
    void *c;                                /* C, row stride ldc, group stride gc */
    rc_idx ldc, gc;
    int adds;
    const void *bias[RC_MAX_SLOTS];         /* n values for each group; NULL: zero */
    rc_idx steps, step_a, step_c;           /* repeat for this many steps, A and C this much further on each time */
    int downward;                           /* from the last panel to the first: see forward.pxi */
    rc_prepared *prepared;                  /* one for each value of `downward`; NULL: prepare at every call */
} rc_product;

/* How a sum over the rows of a call is divided: into blocks, each of which is added up from zero, in one accumulator,
 * before it is added to the sum.  So a float32 sum of many rows stays exact: see src/engine/sums.pxi.  A call may begin
 * and end inside a block; what it has of an incomplete one is then in `partial`, which is laid out as the sum. */
typedef struct {
    rc_idx first;               /* rows of the first block; the others have RC_SUM_ROWS, and the last what is left */
    int resumes;                /* the first block goes on from `partial` */
    int pauses;                 /* the last block is incomplete, and goes to `partial` */
    int overwrite;              /* the first block that is complete replaces the sum, which need not be initialised */
} rc_blocks;

/* The weight gradient C[m, n] += sum_q D[q, m] A[q, n], over the rows q of a chunk in the order in which they are
 * packed.  D is the gradient of one slot; A is the input (0) or the state (1), each with a C of its own. */
typedef struct {
    const void *d;                          /* row stride ldd, may be negative */
    rc_idx ldd;
    const rc_pack *pack[2];                 /* A from `pack_rows`: n columns; its k is the range of q; NULL: none */
    void *c[2], *partial[2];
    rc_idx ldc[2];
    const rc_blocks *blocks;
} rc_weight_gradient;

/* Copies of rows of n values: row to_row[r] of `to` = row from_row[r] of `from`, for r in 0 .. count.  Where an array of
 * numbers is NULL, row r is taken; where `from` is NULL, zeros are written; where `to` is NULL, the rows of one step are
 * only fetched into L2. */
typedef struct {
    void *to;
    const void *from;
    rc_idx ldto, ldfrom;                    /* row strides */
    const rc_idx *to_row, *from_row;
    rc_idx count, n;
    rc_idx steps, step_to, step_from;       /* the same for this many steps, each array so much further on each time */
} rc_copy;

/* The activation functions of ONNX, y(a), with what alpha and beta do in each: see activations.h. */
enum {
    RC_SIGMOID,
    RC_TANH,
    RC_RELU,
    RC_AFFINE,                  /* alpha a + beta */
    RC_LEAKY_RELU,              /* a, or alpha a where a < 0 */
    RC_THRESHOLDED_RELU,        /* a, or 0 where a < alpha */
    RC_SCALED_TANH,             /* alpha tanh(beta a) */
    RC_HARD_SIGMOID,            /* alpha a + beta, between 0 and 1 */
    RC_ELU,                     /* a, or alpha (e^a - 1) where a < 0 */
    RC_SOFTSIGN,                /* a / (1 + |a|) */
    RC_SOFTPLUS                 /* log(1 + e^a) */
};
typedef struct {
    int kind;
    double alpha, beta;
} rc_activation;

/* A variant of a cell.  Its equations read these, and are slower than those of the cell itself. */
typedef struct {
    rc_activation activation[RC_MAX_ACTIVATIONS];   /* in ONNX's order: LSTM f g h, GRU f g, RNN f */
    double gate_clip;           /* the sums that go into activations lie within +-gate_clip; infinity: anywhere */
    double cell_clip;           /* so does c' within +-cell_clip */
    int coupled;                /* f = 1 - i */
    const void *peepholes;      /* [RC_PEEPHOLES][H], for i, f, o; NULL: there are none */
} rc_variant;

/* One step of one layer and direction.  Forward reads pre-activations from `slots` and, with `slots_wanted`, leaves the
 * slots' values there (otherwise what it leaves is undefined); backward reads the values and writes the gradients of
 * the pre-activations into `delta`.  Strides (ld…) are in elements and may include a gap. */
typedef struct {
    rc_idx h_size;
    rc_idx tape_rows;           /* backward: B; row r of its K*B rows belongs to row r % B of the batch */
    const rc_idx *tape_row;     /* backward: which row of the tape's step holds a row of the batch; NULL: the same */
    rc_idx active;              /* backward: rows of the tape that have this step; the others are held */
    rc_idx continued;           /* backward: rows of the tape that have the step before, in the order of the pass; the
                                 * others begin here, from the initial state */
    const rc_idx *out_row;      /* which row of h_out, in backward of grad_out, is a row's; NULL: the same */
    int slots_wanted;           /* forward: the slots and c_out are read again, by backward or by the tape */

    void *slots;                /* [B][slots][H] */
    rc_idx ldslots;
    const void *prev;           /* the state before the step: h in forward and in the GRU's backward, c in the LSTM's
                                 * backward; the RNN's backward does not read it */
    const void *first;          /* backward: the initial state, row stride H */
    const unsigned char *was_reset;     /* backward: whether a row of the tape was reset before the step, so that the
                                         * state before it was zero; NULL: none was */
    const void *zeros;          /* H of them, read where was_reset */
    rc_idx ldprev;
    const void *state;          /* backward: the tape's c (LSTM) or h (RNN) after the step */
    rc_idx ldstate;

    void *h;                    /* forward: carried h after the step (before a projection: m), row stride H */
    void *c;                    /* forward: carried c, in and out, row stride H */
    void *h_out;                /* forward: outputs, row stride ldout */
    rc_idx ldout;
    void *c_out;                /* forward: the tape's c, row stride H; NULL only without `slots_wanted` */
    void *aux;                  /* two stages, forward: r*h, which the second product reads, row stride H */

    const void *grad_out;       /* backward: gradient on h from above, row stride ldgout; NULL: none */
    rc_idx ldgout;
    void *dh, *dc;              /* backward: carried gradients, in and out, row stride H */
    void *delta;                /* backward: gradients of the slots, row stride lddelta */
    rc_idx lddelta;
    void *total_h, *total_c;    /* backward: dL/dh_t and dL/dc_t, row stride H; NULL: not wanted (an LSTM: neither) */
    void *daux;                 /* two stages, backward: gradient of r*h, row stride H */
    void *aux_out;              /* backward: what another product than the first stage's read, again, for its weight
                                 * gradient: r*h, or before a projection the LSTM's o tanh(c'); NULL: not wanted */
    const rc_variant *variant;  /* read by the equations of variants only */
    void *peephole_terms;       /* backward: what each row adds to the gradients of the peepholes, row stride
                                 * RC_PEEPHOLES * H; NULL: not wanted */
} rc_step;

typedef void (*rc_step_fn)(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1);
/* Some steps of one row, products included.  `s` is the first of them, and moves on: from step to step the slots, h_out
 * and c_out lie so many bytes further on.  Except before the first, h is read from the h_out of the step before, or kept
 * in a register.  Where the units take more than one vector, the first units of the new h are written before the sums of
 * the last ones read the old h, so that neither h nor h_out may be where `prev` is, nor h_out where that of the step
 * before is. */
typedef void (*rc_steps_fn)(const rc_product *of_h, rc_step *s, rc_idx row, rc_idx steps, rc_idx slots_step,
                            rc_idx out_step, rc_idx c_step);

typedef struct {
    int slot, groups;           /* the slots that the product adds to */
    int from_aux;               /* what the product reads: 0 the carried h, 1 `aux` */
    rc_step_fn forward, backward;
    rc_step_fn variant_forward, variant_backward;       /* the same of variants; NULL: the cell has none */
} rc_stage;

/* A type of cell: one row of the table in table.h. */
typedef struct {
    const char *name;
    int blocks;                 /* of H rows in each weight matrix, in torch's order */
    int slots;
    int slots_on_tape;          /* 1: backward reads the slots; 0: it needs only h */
    int states;                 /* 1: h; 2: h and c */
    int x_slot;                 /* the product with the input, and the bias, fill slots x_slot .. x_slot + blocks - 1 */
    int x_order[RC_MAX_SLOTS];  /* block of weight_ih for each of these slots */
    int h_order[RC_MAX_SLOTS];  /* block of weight_hh for each slot of the stages, in order */
    int stages;
    rc_stage stage[RC_MAX_STAGES];
    rc_steps_fn steps;          /* for small nets, whose sums go from registers into the equations; NULL: there is none */
} rc_cell;

/* The kernels of hidden Markov models: one time step of all n states (`outer`: many steps), in float64.
 *
 * n is the number of states padded to a multiple of RC_STATE_VECTOR.  Padded states have probability 0 (log -inf), so
 * that no loop needs a part.  Sums over states run in an order that does not depend on the instruction set. */
enum { RC_STATE_VECTOR = 4 };
typedef struct {
    /* next = (u . trans) * b * scale; returns the sum of next */
    double (*forward)(const double *u, double scale, const double *trans, const double *b, rc_idx n, double *next);
    /* beta = w . trans_t; alpha = u * scale; gamma = alpha * beta; w_before = b * beta * scale.
     * alpha is written over u; w_before may be b itself. */
    void (*backward)(const double *w, const double *trans_t, const double *b, double scale, rc_idx n, double *u,
                     double *gamma, double *w_before);
    /* next = max_i(v_i + log_trans[i, :]) + log_b */
    void (*viterbi)(const double *v, const double *log_trans, const double *log_b, rc_idx n, double *next);
    /* sums[k, :] += sum_t x[t, k] y[t, :], t ascending; x is (steps, p) with row stride ldx, y and sums are n wide */
    void (*outer)(rc_idx steps, const double *x, rc_idx ldx, rc_idx p, const double *y, rc_idx n, double *sums);
    /* Moments about each state's mean.  With d = x - mean_j and g = gamma[j], adds to the rows of sums (rows, n): g;
     * then g d_f for every feature f; then g d_f^2 for every f or, if full, g d_f d_e for every f and every e <= f. */
    void (*moments)(const double *x, const double *mean, const double *gamma, rc_idx features, int full, rc_idx n,
                    double *sums);
    /* density[j] = constant[j] - |W_j (x - mean_j)|^2 / 2.  mean is (features, n); `whiten` holds W by rows: for every
     * feature f the elements (f, 0 .. f) if full, otherwise only (f, f). */
    void (*gaussian)(const double *x, const double *mean, const double *whiten, const double *constant,
                     rc_idx features, int full, rc_idx n, double *density);
    /* x -= max(x); returns that maximum.  A row of nothing but -inf stays as it is, and 0 is returned. */
    double (*subtract_max)(double *x, rc_idx n);
    /* x = exp(x) for n values x <= 0; 0 for x <= -708 and for NaN */
    void (*exp)(double *x, rc_idx n);
} rc_hidden_markov;

/* Softmax cross-entropy of rows of logits, which are contiguous: see softmax.h. */
typedef struct {
    rc_idx classes;
    const void *logits;
    const rc_idx *target;       /* of each row; negative: the row does not count, its loss and gradient are 0 */
    const double *step;         /* the weight of each row; NULL: 1 */
    const double *own;          /* by class: the weight of -log p of the target; NULL: 1 */
    const void *every;          /* of each class: the weight of -log p whatever the target is; NULL: 0 */
    double every_sum;
    double scale;               /* of the gradient */
    double *loss;               /* of each row, not scaled */
    void *grad;                 /* laid out as the logits; NULL: not wanted */
} rc_cross_entropy;

/* The constants of one update; `adam` also computes AdamW. */
typedef struct {
    double lr, momentum, weight_decay;
    int nesterov;
} rc_sgd;
typedef struct {
    double keep;                /* what the weights are multiplied by first (decoupled decay); 1: they are not */
    double weight_decay;        /* of the weights, added to the gradient */
    double of_grad, beta2, of_square;       /* 1 - beta1, beta2, 1 - beta2 */
    double root, eps, step;     /* sqrt(1 - beta2^t), eps, lr / (1 - beta1^t) */
} rc_adam;

typedef struct {
    const char *isa;
    int bits, lanes;
    rc_idx tile_rows;           /* rows of a tile, one group: ranges of rows should begin at a multiple of it */
    rc_idx (*pack_size)(rc_idx n, rc_idx k, int groups);        /* in elements */
    /* Pack a matrix stored by units: element (g, u, k) is src[g][u*ld + k].  Here and in `product`, unit0 and unit1
     * must be where a panel begins (multiples of `lanes`, or of RC_PANEL_VECTORS * lanes for one group), or n. */
    void (*pack)(const rc_pack *p, const void *const *src, rc_idx ld, rc_idx unit0, rc_idx unit1);
    /* Pack a matrix stored by k, one group: its rows k0 .. k0+rows are rows of `src`; ld may be negative. */
    void (*pack_rows)(const rc_pack *p, rc_idx k0, rc_idx rows, const void *src, rc_idx ld);
    void (*copy_rows)(const rc_copy *c);
    void (*product)(const rc_product *p, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1);
    /* The same for one step and the ranges of rows and units for which `p->prepared` was made; its count is not 0. */
    void (*product_again)(const rc_product *p, rc_idx row0);
    /* The same for the only rows of two nets of one shape, both prepared, whose sums start from C or from zero.  The sums
     * of one row have to wait for each other; those of another net fill that time.  It leaves other strides in
     * p->prepared, which no other product must use afterwards. */
    void (*product_of_two)(const rc_product *p, const rc_product *q);
    void (*weight_gradient)(const rc_weight_gradient *p, rc_idx m0, rc_idx m1);     /* rows m0 .. m1 of C */
    /* sum[m] += sum_q d[q, m], q ascending */
    void (*column_sums)(void *sum, void *partial, const void *d, rc_idx ldd, rc_idx rows, const rc_blocks *blocks,
                        rc_idx m0, rc_idx m1);
    /* total += c, or with `overwrite` total = c; and c = total + c, rounded once; n values */
    void (*add_to_total)(double *total, const void *c, rc_idx n, int overwrite);
    void (*round_total)(void *c, const double *total, rc_idx n);
    void (*cross_entropy)(const rc_cross_entropy *p, rc_idx row0, rc_idx row1);
    /* updates.h; `momentum` NULL: there is none */
    void (*sgd)(const rc_sgd *o, void *value, const void *grad, void *momentum, rc_idx n);
    void (*adam)(const rc_adam *o, void *value, const void *grad, void *exp_avg, void *exp_avg_sq, rc_idx n);
    double (*sum_of_squares)(const void *x, rc_idx n);
    void (*scale)(void *x, rc_idx n, double factor);
    /* sum = the rows of d with these numbers, n values wide, added up in float64 in their order, and rounded once */
    void (*sum_rows)(void *sum, const void *d, rc_idx ldd, const rc_idx *rows, rc_idx count, rc_idx n);
    rc_step_fn projected_backward;      /* projection.h */
    /* out = curve(x), n values, for the tests of accuracy */
    void (*sigmoid)(const void *x, void *out, rc_idx n);
    void (*tanh)(const void *x, void *out, rc_idx n);
    void (*activation)(const rc_activation *f, const void *x, void *out, rc_idx n);
    const rc_cell *cells;       /* ends with a NULL name */
    const rc_hidden_markov *hidden_markov;      /* NULL for float32 */
} rc_kernels;

/* dispatch.c */
const rc_kernels *rc_kernels_for(const char *isa, int bits);    /* NULL: not compiled in, or not on this CPU */
const char *rc_best_isa(void);
int rc_isa_compiled(const char *isa);

/* pool.c */
typedef void (*rc_pool_fn)(void *context, int thread, int threads);
typedef struct {
    _Alignas(RC_CACHE_LINE) int count;      /* threads that have arrived */
    _Alignas(RC_CACHE_LINE) int phase;      /* how often it has opened */
    int solo;                   /* thread 0 finishes the call alone */
} rc_barrier;
void rc_pool_run(rc_pool_fn f, void *context, int threads);             /* threads have equal shares of the work */
void rc_pool_run_portions(rc_pool_fn f, void *context, int threads);    /* threads take portions as they go */
long long rc_now(void);         /* ns, of a clock that never goes back */
int rnncore_get_num_threads(void);
void rnncore_set_num_threads(int n);
/* `may_shrink`: thread 0 could go on alone from here.  Returns whether it does. */
int rc_barrier_wait(rc_barrier *b, int thread, int threads, int may_shrink);
/* Adds ns to the time for which calls run on one thread (see pool.c); returns what it is then. */
long long rc_pool_give_way(long long ns);

/* What the second compiled module (src/engine/_hidden_markov.pyx) uses of the first: handed over in a capsule, so that
 * there is one pool of threads and one copy of the kernels. */
typedef struct {
    const rc_hidden_markov *hidden_markov;
    void (*pool_run)(rc_pool_fn f, void *context, int threads);
    long long (*now)(void);
} rc_shared;

#endif
