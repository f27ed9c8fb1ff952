# The kernels' interface for Cython: the fields that the engine uses. kernels.h says what everything means, and the C
# compiler reads the real declarations there: sizes, offsets and constants come from the header.

cdef extern from "kernels.h" nogil:
    ctypedef Py_ssize_t idx "rc_idx"

    enum:
        RC_MAX_SLOTS
        RC_MAX_STAGES
        RC_MAX_ACTIVATIONS
        RC_PEEPHOLES
        RC_SIGMOID
        RC_TANH
        RC_RELU
        RC_AFFINE
        RC_LEAKY_RELU
        RC_THRESHOLDED_RELU
        RC_SCALED_TANH
        RC_HARD_SIGMOID
        RC_ELU
        RC_SOFTSIGN
        RC_SOFTPLUS
        RC_PANEL_VECTORS
        RC_L1_BYTES
        RC_CACHE_LINE
        RC_SUM_ROWS
        RC_MAX_THREADS
        RC_STATE_VECTOR

    ctypedef struct rc_pack:
        void *w
        idx n
        idx k
        int groups

    ctypedef struct rc_prepared:
        idx row1
        int count

    ctypedef struct rc_product:
        const rc_pack *pack
        const void *a
        idx lda
        void *c
        idx ldc, gc
        int adds
        const void *bias[RC_MAX_SLOTS]
        idx steps, step_a, step_c
        int downward
        rc_prepared *prepared

    ctypedef struct rc_blocks:
        idx first
        int resumes, pauses, overwrite

    ctypedef struct rc_weight_gradient:
        const void *d
        idx ldd
        const rc_pack *pack[2]
        void *c[2]
        void *partial[2]
        idx ldc[2]
        const rc_blocks *blocks

    ctypedef struct rc_copy:
        void *to
        const void *from_ "from"
        idx ldto, ldfrom
        const idx *to_row
        const idx *from_row
        idx count, n, steps, step_to, step_from

    ctypedef struct rc_activation:
        int kind
        double alpha, beta

    ctypedef struct rc_variant:
        rc_activation activation[RC_MAX_ACTIVATIONS]
        double gate_clip, cell_clip
        int coupled
        const void *peepholes

    ctypedef struct rc_step:
        idx h_size, tape_rows
        const idx *tape_row
        idx active, continued
        const idx *out_row
        int slots_wanted
        void *slots
        idx ldslots
        const void *prev
        const void *first
        const unsigned char *was_reset
        const void *zeros
        idx ldprev
        const void *state
        idx ldstate
        void *h
        void *c
        void *h_out
        idx ldout
        void *c_out
        void *aux
        const void *grad_out
        idx ldgout
        void *dh
        void *dc
        void *delta
        idx lddelta
        void *total_h
        void *total_c
        void *daux
        void *aux_out
        const rc_variant *variant
        void *peephole_terms

    ctypedef void (*rc_step_fn)(const rc_step *s, idx row0, idx row1, idx unit0, idx unit1) noexcept nogil

    ctypedef void (*rc_steps_fn)(const rc_product *of_h, rc_step *s, idx row, idx steps, idx slots_step, idx out_step,
                                 idx c_step) noexcept nogil

    ctypedef struct rc_stage:
        int slot, groups, from_aux
        rc_step_fn forward
        rc_step_fn backward
        rc_step_fn variant_forward
        rc_step_fn variant_backward

    ctypedef struct rc_cell:
        const char *name
        int blocks, slots, slots_on_tape, states, x_slot
        int x_order[RC_MAX_SLOTS]
        int h_order[RC_MAX_SLOTS]
        int stages
        rc_stage stage[RC_MAX_STAGES]
        rc_steps_fn steps

    ctypedef struct rc_hidden_markov:
        double (*forward)(const double *u, double scale, const double *trans, const double *b, idx n,
                          double *next) noexcept nogil
        void (*backward)(const double *w, const double *trans_t, const double *b, double scale, idx n, double *u,
                         double *gamma, double *w_before) noexcept nogil
        void (*viterbi)(const double *v, const double *log_trans, const double *log_b, idx n,
                        double *next) noexcept nogil
        void (*outer)(idx steps, const double *x, idx ldx, idx p, const double *y, idx n, double *sums) noexcept nogil
        void (*moments)(const double *x, const double *mean, const double *gamma, idx features, int full, idx n,
                        double *sums) noexcept nogil
        void (*gaussian)(const double *x, const double *mean, const double *whiten, const double *constant,
                         idx features, int full, idx n, double *density) noexcept nogil
        double (*subtract_max)(double *x, idx n) noexcept nogil
        void (*exp)(double *x, idx n) noexcept nogil

    ctypedef struct rc_cross_entropy:
        idx classes
        const void *logits
        const idx *target
        const double *step
        const double *own
        const void *every
        double every_sum
        double scale
        double *loss
        void *grad

    ctypedef struct rc_sgd:
        double lr, momentum, weight_decay
        int nesterov

    ctypedef struct rc_adam:
        double keep, weight_decay, of_grad, beta2, of_square, root, eps, step

    ctypedef struct rc_kernels:
        const char *isa
        int bits, lanes
        idx tile_rows
        idx (*pack_size)(idx n, idx k, int groups) noexcept nogil
        void (*pack)(const rc_pack *p, const void *const *src, idx ld, idx unit0, idx unit1) noexcept nogil
        void (*pack_rows)(const rc_pack *p, idx k0, idx rows, const void *src, idx ld) noexcept nogil
        void (*copy_rows)(const rc_copy *c) noexcept nogil
        void (*product)(const rc_product *p, idx row0, idx row1, idx unit0, idx unit1) noexcept nogil
        void (*product_again)(const rc_product *p, idx row0) noexcept nogil
        void (*product_of_two)(const rc_product *p, const rc_product *q) noexcept nogil
        void (*weight_gradient)(const rc_weight_gradient *p, idx m0, idx m1) noexcept nogil
        void (*column_sums)(void *sum, void *partial, const void *d, idx ldd, idx rows, const rc_blocks *blocks,
                            idx m0, idx m1) noexcept nogil
        void (*add_to_total)(double *total, const void *c, idx n, int overwrite) noexcept nogil
        void (*round_total)(void *c, const double *total, idx n) noexcept nogil
        void (*cross_entropy)(const rc_cross_entropy *p, idx row0, idx row1) noexcept nogil
        void (*sgd)(const rc_sgd *o, void *value, const void *grad, void *momentum, idx n) noexcept nogil
        void (*adam)(const rc_adam *o, void *value, const void *grad, void *exp_avg, void *exp_avg_sq,
                     idx n) noexcept nogil
        double (*sum_of_squares)(const void *x, idx n) noexcept nogil
        void (*scale)(void *x, idx n, double factor) noexcept nogil
        void (*sum_rows)(void *sum, const void *d, idx ldd, const idx *rows, idx count, idx n) noexcept nogil
        void (*sigmoid)(const void *x, void *out, idx n) noexcept nogil
        void (*tanh)(const void *x, void *out, idx n) noexcept nogil
        rc_step_fn projected_backward
        void (*activation)(const rc_activation *f, const void *x, void *out, idx n) noexcept nogil
        const rc_cell *cells
        const rc_hidden_markov *hidden_markov

    const rc_kernels *rc_kernels_for(const char *isa, int bits)
    const char *rc_best_isa()
    int rc_isa_compiled(const char *isa)

    ctypedef void (*rc_pool_fn)(void *context, int thread, int threads) noexcept nogil
    ctypedef struct rc_barrier:
        pass
    void rc_pool_run(rc_pool_fn f, void *context, int threads)
    void rc_pool_run_portions(rc_pool_fn f, void *context, int threads)
    long long rc_now()
    int rc_barrier_wait(rc_barrier *b, int thread, int threads, int may_shrink)
    long long rc_pool_give_way(long long ns)
    int rnncore_get_num_threads()
    void rnncore_set_num_threads(int n)

    ctypedef struct rc_shared:
        const rc_hidden_markov *hidden_markov
        void (*pool_run)(rc_pool_fn f, void *context, int threads) noexcept nogil
        long long (*now)() noexcept nogil


cdef extern from "pool.h" nogil:
    int rc_set_most_threads(int n)
