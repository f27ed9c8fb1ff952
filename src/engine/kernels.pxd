# The kernels' interface for Cython; kernels.h says what everything means.

cdef extern from "kernels.h" nogil:
    ctypedef Py_ssize_t idx "rnn_idx"

    ctypedef struct rnn_pack:
        void *w
        idx n
        idx k
        int groups

    ctypedef struct rnn_kept:
        int count

    ctypedef struct rnn_product:
        const rnn_pack *pack
        const void *a
        idx lda
        void *c
        idx ldc, gc
        int adds
        const void *bias[4]
        idx steps, step_a, step_c
        int downward
        rnn_kept *kept

    ctypedef struct rnn_outer:
        const void *d
        idx ldd
        const rnn_pack *pack[2]
        void *c[2]
        idx ldc[2]
        int fresh

    ctypedef struct rnn_step:
        idx h_size, tape_rows
        const idx *lengths
        idx t
        int reverse, keep
        void *gates
        idx ldgates
        const void *prev
        const void *first
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

    ctypedef void (*rnn_step_fn)(const rnn_step *s, idx row0, idx row1, idx unit0, idx unit1) noexcept nogil

    ctypedef struct rnn_stage:
        int slot, groups, from_aux
        rnn_step_fn forward
        rnn_step_fn backward

    ctypedef struct rnn_cell:
        const char *name
        int gates, slots, keep, states, x_slot
        int x_order[4]
        int h_order[4]
        int stages
        rnn_stage stage[2]

    ctypedef struct rnn_kernels:
        const char *isa
        int bits, lanes
        idx tile_rows
        idx (*pack_size)(idx n, idx k, int groups) noexcept nogil
        void (*pack)(const rnn_pack *p, const void *const *src, idx ld, idx unit0, idx unit1) noexcept nogil
        void (*pack_rows)(const rnn_pack *p, idx k0, idx rows, const void *src, idx ld) noexcept nogil
        void (*product)(const rnn_product *p, idx row0, idx row1, idx unit0, idx unit1) noexcept nogil
        void (*outer)(const rnn_outer *p, idx m0, idx m1) noexcept nogil
        void (*column_sums)(void *sum, const void *d, idx ldd, idx rows, idx m0, idx m1) noexcept nogil
        void (*activation)(int f, const void *x, void *out, idx n) noexcept nogil
        const rnn_cell *cells

    const rnn_kernels *rnn_kernels_for(const char *isa, int bits)
    const char *rnn_best_isa()
    int rnn_isa_compiled(const char *isa)

    ctypedef void (*rnn_pool_fn)(void *context, int thread, int threads) noexcept nogil
    ctypedef struct rnn_barrier:
        pass
    void rnn_pool_run(rnn_pool_fn f, void *context, int threads)
    long long rnn_now()
    int rnn_barrier_wait(rnn_barrier *b, int threads, int may_shrink)
    int rnncore_get_num_threads()
    void rnncore_set_num_threads(int n)
