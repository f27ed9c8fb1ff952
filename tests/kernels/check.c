/* The kernels of one architecture against those of another, without Python.
 *
 *     check > here.txt            every kernel on random numbers, results as hexadecimal floats
 *     check here.txt              the same again, compared with a file from another build
 *
 * RNNCORE_ISA=base|v3|v4 chooses among those that the architecture has.
 *
 * pytest judges the kernels on the machine it runs on; this carries that verdict to an instruction
 * set that only an emulator has (`make arm64`). AVX2, AVX-512 and NEON round alike, so results are
 * equal to the bit between them. The base instruction set of x86-64 has no fused multiply-add;
 * against it an array may differ by the rounding of its longest sum, relative to its largest value. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kernels.h"

enum { B = 7, I = 5, LONG = 1200 };
static const rc_idx HIDDEN[] = {1, 13, 37, 64};        /* parts of a vector, whole ones, several panels */

static const rc_kernels *K;
static FILE *reference;
static int fused;                       /* both sides have fused multiply-add */
static int arrays, unequal, failed;

/* ---- arrays of the type of K ------------------------------------------------------------------ */

static double get(const void *a, rc_idx i) { return K->bits == 32 ? ((const float *)a)[i] : ((const double *)a)[i]; }

static void set(void *a, rc_idx i, double x)
{
    if (K->bits == 32) ((float *)a)[i] = (float)x;
    else ((double *)a)[i] = x;
}

/* uniform in (-2, 2), multiples of 2^-20: exact in both types, the same on every machine */
static double uniform(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return ((double)(state >> 42) - 2097152.0) / 1048576.0;
}

static void *zeros(rc_idx n)
{
    void *a = aligned_alloc(64, (size_t)(n * K->bits / 8 + 127) / 64 * 64);
    if (!a) abort();
    return memset(a, 0, (size_t)n * K->bits / 8);
}

static void *random_array(rc_idx n)
{
    void *a = zeros(n);
    for (rc_idx i = 0; i < n; i++) set(a, i, uniform());
    return a;
}

/* Print an array, or compare it with the same one of the reference. */
static void result(const char *what, const char *of, rc_idx h_size, const void *a, rc_idx n, rc_idx sum)
{
    char name[96], expected_name[96];
    snprintf(name, sizeof name, "f%d/%s/%s/%d", K->bits, of, what, (int)h_size);
    arrays++;
    if (!reference) {
        printf("%s %td\n", name, n);
        for (rc_idx i = 0; i < n; i++) printf("%a\n", get(a, i));
        return;
    }
    rc_idx expected_n;
    if (fscanf(reference, "%95s %td", expected_name, &expected_n) != 2 || strcmp(name, expected_name) || n != expected_n) {
        fprintf(stderr, "check: %s is not what the reference has next: of another version?\n", name);
        exit(2);
    }
    double largest = 0, difference = 0;
    for (rc_idx i = 0; i < n; i++) {
        double x;
        if (fscanf(reference, "%la", &x) != 1) exit(2);
        const double d = fabs(x - get(a, i));
        if (!(d <= difference)) difference = d;         /* NaN too */
        if (fabs(x) > largest) largest = fabs(x);
    }
    if (difference == 0) return;
    unequal++;
    const double epsilon = K->bits == 32 ? 0x1p-23 : 0x1p-52;
    if (!fused && difference <= (double)(sum + 16) * epsilon * largest) return;
    failed++;
    fprintf(stderr, "check: %s differs by %g, largest value %g\n", name, difference, largest);
}

/* ---- kernels ---------------------------------------------------------------------------------- */

static rc_pack packed(rc_idx n, rc_idx k, int groups)
{
    rc_pack p = {.w = zeros(K->pack_size(n, k, groups)), .n = n, .k = k, .groups = groups};
    return p;
}

/* Rows are shared out to the threads of the pool, with a barrier before and after. */
typedef struct {
    const rc_product *product;
    rc_barrier barrier;
} shared_product;

static void multiply(void *context, int thread, int threads)
{
    shared_product *s = context;
    rc_barrier_wait(&s->barrier, thread, threads, 0);
    K->product(s->product, B * thread / threads, B * (thread + 1) / threads, 0, s->product->pack->n);
    rc_barrier_wait(&s->barrier, thread, threads, 0);
}

static void check_products(rc_idx n, rc_idx k)
{
    for (int groups = 1; groups <= RC_MAX_SLOTS; groups++) {
        rc_pack p = packed(n, k, groups);
        const void *blocks[RC_MAX_SLOTS];
        for (int g = 0; g < groups; g++) blocks[g] = random_array(n * k);
        K->pack(&p, blocks, k, 0, n);
        rc_product product = {.pack = &p, .a = random_array(B * k), .lda = k, .c = zeros(B * groups * n),
                               .ldc = groups * n, .gc = n, .steps = 1, .downward = groups % 2};
        product.bias[0] = random_array(n);      /* the other groups start from 0 */
        shared_product s = {.product = &product};
        for (int threads = 1; threads <= 3; threads++) {
            char name[32];
            snprintf(name, sizeof name, "%d_groups_on_%d_threads", groups, threads);
            memset(product.c, 0, (size_t)(B * groups * n) * K->bits / 8);
            rc_pool_run(multiply, &s, threads);
            result(name, "product", n, product.c, B * groups * n, k);
        }
    }
}

static void check_gradients(rc_idx n, rc_idx k)
{
    rc_pack p = packed(n, k, 1);
    K->pack_rows(&p, 0, k / 2, random_array(k * n), n);
    K->pack_rows(&p, k / 2, k - k / 2, random_array(k * n), n);
    const rc_idx m = 11;
    void *d = random_array(k * m);
    for (int variant = 0; variant < 8; variant++) {
        const rc_blocks blocks = {.first = k < 5 ? k : 5, .resumes = variant & 1, .pauses = variant >> 1 & 1,
                                  .overwrite = variant >> 2};
        rc_weight_gradient g = {.d = d, .ldd = m, .pack = {&p, &p}, .ldc = {n, n + 1}, .blocks = &blocks,
                                .c = {random_array(m * n), random_array(m * (n + 1))},
                                .partial = {random_array(m * n), random_array(m * (n + 1))}};
        K->weight_gradient(&g, 0, 4);
        K->weight_gradient(&g, 4, m);
        result("outer_x", "gradient", n, g.c[0], m * n, k);
        result("outer_h", "gradient", n, g.c[1], m * (n + 1), k);
        result("partial_x", "gradient", n, g.partial[0], m * n, k);
        result("partial_h", "gradient", n, g.partial[1], m * (n + 1), k);
        void *sums = random_array(m), *partial = random_array(m);
        K->column_sums(sums, partial, d, m, k, &blocks, 0, m);
        result("sums", "gradient", n, sums, m, k);
        result("partial_sums", "gradient", n, partial, m, k);
    }
    double *total = calloc((size_t)m, sizeof *total);
    void *sums = random_array(m);
    K->add_to_total(total, sums, m, 1);
    K->add_to_total(total, sums, m, 0);
    K->round_total(sums, total, m);
    result("total", "gradient", n, sums, m, 3);
}

/* Softmax cross-entropy of rows of n classes, with all weights and with none; the last row does not count. */
static void check_losses(rc_idx n)
{
    const rc_idx target[B] = {0, n - 1, n / 2, 0, n / 3, n - 1, -1};
    double step[B], *own = calloc((size_t)n, sizeof *own), loss[B];
    for (int row = 0; row < B; row++) step[row] = 1 + 0.25 * row;
    for (rc_idx i = 0; i < n; i++) own[i] = fabs(uniform());
    rc_cross_entropy p = {.classes = n, .logits = random_array(B * n), .target = target, .scale = 0.125, .loss = loss,
                          .grad = zeros(B * n)};
    for (int weighted = 0; weighted < 2; weighted++) {
        if (weighted) p.step = step, p.own = own, p.every = random_array(n), p.every_sum = 0.75;
        K->cross_entropy(&p, 0, 3);
        K->cross_entropy(&p, 3, B);
        result(weighted ? "weighted_gradient" : "gradient", "cross_entropy", n, p.grad, B * n, n);
        void *losses = zeros(B);
        for (int row = 0; row < B; row++) set(losses, row, (float)loss[row]);   /* log is that of the C library */
        result(weighted ? "weighted_loss" : "loss", "cross_entropy", n, losses, B, n);
    }
}

/* Updates of n values, the sum of their squares, and sums of chosen rows, n wide. */
static void check_updates(rc_idx n)
{
    const rc_sgd of_sgd = {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = 1};
    const rc_adam of_adam = {.keep = 0.99, .weight_decay = 0.01, .of_grad = 0.1, .beta2 = 0.999, .of_square = 0.001,
                             .root = 0.03, .eps = 1e-8, .step = 0.01};
    void *value = random_array(n), *grad = random_array(n), *first = random_array(n), *second = zeros(n);
    K->sgd(&of_sgd, value, grad, NULL, n);
    K->sgd(&of_sgd, value, grad, first, n);
    result("sgd", "updates", n, value, n, 4);
    K->adam(&of_adam, value, grad, first, second, n);
    result("adam", "updates", n, value, n, 16);
    result("exp_avg_sq", "updates", n, second, n, 4);
    void *sum = zeros(1), *rows = random_array(B * n);
    set(sum, 0, K->sum_of_squares(value, n));
    result("squares", "updates", n, sum, 1, 16);
    K->scale(value, n, 0.3);
    result("scale", "updates", n, value, n, 1);
    const rc_idx chosen[4] = {5, 0, 5, 3};
    K->sum_rows(value, rows, n, chosen, 4, n);
    result("sum_rows", "updates", n, value, n, 4);
}

/* Rows of n values in another order, and zeros in the place of some. */
static void check_rows(rc_idx n)
{
    const rc_idx from_row[4] = {5, 0, 5, 3}, to_row[4] = {2, 6, 0, 5};
    void *from = random_array(B * n), *to = random_array(B * n);
    rc_copy copy = {.to = to, .from = from, .ldto = n, .ldfrom = n, .from_row = from_row, .count = 3, .n = n, .steps = 1};
    K->copy_rows(&copy);
    copy.to_row = to_row, copy.from_row = NULL, copy.count = 4;
    K->copy_rows(&copy);
    copy.to_row = NULL, copy.count = 1, copy.steps = 2, copy.step_to = 3 * n, copy.step_from = 2 * n;
    K->copy_rows(&copy);
    copy.to_row = from_row + 3, copy.from = NULL, copy.steps = 1;
    K->copy_rows(&copy);
    result("copy_rows", "rows", n, to, B * n, 0);
}

static void check_activations(void)
{
    enum { N = 2001 };
    void *x = zeros(N), *out = zeros(N);
    for (rc_idx i = 0; i < N; i++) set(x, i, (double)(i - N / 2) / 8 + uniform() / 64);
    K->sigmoid(x, out, N);
    result("sigmoid", "activation", N, out, N, 8);
    K->tanh(x, out, N);
    result("tanh", "activation", N, out, N, 8);
    for (int kind = RC_SIGMOID; kind <= RC_SOFTPLUS; kind++) {
        char name[32];
        snprintf(name, sizeof name, "kind_%d", kind);
        const rc_activation f = {.kind = kind, .alpha = 0.3, .beta = 0.6};
        K->activation(&f, x, out, N);
        result(name, "activation", N, out, N, 8);
    }
}

static void check_projection(rc_idx P)
{
    static const rc_idx out_row[B] = {3, 6, 2, 1, 0, 4, 5}, tape_row[B] = {4, 0, 6, 2, 5, 1, 3};
    rc_step s = {.h_size = P, .tape_rows = B, .tape_row = tape_row, .active = 6, .out_row = out_row,
                  .grad_out = random_array(B * P), .ldgout = P, .dh = random_array(B * P), .total_h = zeros(B * P)};
    K->projected_backward(&s, 0, B, 0, P);
    result("dh", "projection", P, s.dh, B * P, 8);
    result("total_h", "projection", P, s.total_h, B * P, 8);
}

/* One step forward and one backward, every array random: equations need no sensible state.  With `variant`, of a
 * variant whose activations begin with this kind. */
static void check_cell(const rc_cell *cell, rc_idx H, int variant)
{
    char of[48];
    if (variant < 0) snprintf(of, sizeof of, "%s", cell->name);
    else snprintf(of, sizeof of, "%s_variant_%d", cell->name, variant);
    const rc_variant v = {.activation = {{variant, 0.3, 0.6}, {RC_TANH, 0, 0}, {RC_SOFTSIGN, 0, 0}}, .gate_clip = 1.5,
                          .cell_clip = 1.25, .coupled = variant % 2, .peepholes = random_array(RC_PEEPHOLES * H)};
    static const rc_idx out_row[B] = {3, 6, 2, 1, 0, 4, 5}, tape_row[B] = {4, 0, 6, 2, 5, 1, 3};
    const rc_idx wide = cell->slots * H;
    rc_step s = {.h_size = H, .tape_rows = B, .tape_row = tape_row, .active = 6, .continued = 3, .out_row = out_row,
                  .slots_wanted = cell->slots_on_tape,
                  .slots = random_array(B * wide), .ldslots = wide, .prev = random_array(B * H),
                  .first = random_array(B * H), .ldprev = H, .h = random_array(B * H), .c = random_array(B * H),
                  .h_out = zeros(B * H), .ldout = H, .c_out = zeros(B * H), .aux = zeros(B * H),
                  .variant = &v};
    for (int i = 0; i < cell->stages; i++)
        (variant < 0 ? cell->stage[i].forward : cell->stage[i].variant_forward)(&s, 0, B, 0, H);
    if (cell->slots_on_tape) result("gates", of, H, s.slots, B * wide, 8);
    result("h", of, H, s.h, B * H, 8);
    result("h_out", of, H, s.h_out, B * H, 8);
    if (cell->states == 2) result("c_out", of, H, s.c_out, B * H, 8);

    s.state = cell->states == 2 ? s.c_out : s.h_out, s.ldstate = H;
    s.grad_out = random_array(B * H), s.ldgout = H;
    s.dh = random_array(B * H), s.dc = random_array(B * H), s.daux = random_array(B * H);
    s.delta = zeros(B * wide), s.lddelta = wide;
    s.total_h = zeros(B * H), s.total_c = zeros(B * H), s.aux_out = zeros(B * H);
    if (cell->states == 2 && variant >= 0) s.peephole_terms = zeros(B * RC_PEEPHOLES * H);
    for (int i = cell->stages; i-- > 0;)
        (variant < 0 ? cell->stage[i].backward : cell->stage[i].variant_backward)(&s, 0, B, 0, H);
    result("delta", of, H, s.delta, B * wide, 8);
    result("dh", of, H, s.dh, B * H, 8);
    result("total_h", of, H, s.total_h, B * H, 8);
    if (cell->states == 2) result("dc", of, H, s.dc, B * H, 8);
    if (s.peephole_terms) result("peephole_terms", of, H, s.peephole_terms, B * RC_PEEPHOLES * H, 8);
    if (cell->stages == 2 || cell->states == 2) result("aux_out", of, H, s.aux_out, B * H, 8);
}

static void *copy_of(const void *a, rc_idx n) { return memcpy(zeros(n), a, (size_t)n * K->bits / 8); }

/* Several steps of the second of two rows, in one call and step by step, which must be equal to the bit. */
static void check_steps(const rc_cell *cell, rc_idx H, int slots_wanted)
{
    enum { STEPS = 3, ROWS = 2 };
    const rc_stage *stage = &cell->stage[0];
    const rc_idx bytes = K->bits / 8, wide = cell->slots * H + 3, out = H + 1, of_blocks = cell->x_slot + cell->blocks;
    rc_pack pack = packed(H, H, stage->groups);
    const void *blocks[RC_MAX_SLOTS];
    rc_product product = {.pack = &pack, .lda = H, .ldc = wide, .gc = H, .steps = 1};
    product.adds = of_blocks - stage->slot < stage->groups ? of_blocks - stage->slot : stage->groups;
    for (int g = 0; g < stage->groups; g++) blocks[g] = random_array(H * H), product.bias[g] = random_array(H);
    K->pack(&pack, blocks, H, 0, H);
    rc_step ways[2] = {{.h_size = H, .slots_wanted = slots_wanted, .slots = random_array(STEPS * ROWS * wide),
                        .ldslots = wide, .prev = random_array(ROWS * H), .ldprev = H, .c = random_array(ROWS * H),
                        .ldout = out}};
    ways[1] = ways[0];
    ways[1].slots = copy_of(ways[0].slots, STEPS * ROWS * wide), ways[1].c = copy_of(ways[0].c, ROWS * H);
    for (int way = 0; way < 2; way++) {
        ways[way].h = zeros(ROWS * H), ways[way].h_out = zeros(STEPS * ROWS * out);
        ways[way].c_out = zeros(STEPS * ROWS * H);
    }
    rc_step s = ways[0];
    cell->steps(&product, &s, 1, STEPS, ROWS * wide * bytes, ROWS * out * bytes, ROWS * H * bytes);
    s = ways[1];
    for (int t = 0; t < STEPS; t++) {
        product.a = s.prev, product.c = (char *)s.slots + stage->slot * H * bytes;
        K->product(&product, 1, ROWS, 0, H);
        stage->forward(&s, 1, ROWS, 0, H);
        s.prev = s.h, s.h = zeros(ROWS * H);
        s.slots = (char *)s.slots + ROWS * wide * bytes, s.h_out = (char *)s.h_out + ROWS * out * bytes;
        s.c_out = (char *)s.c_out + ROWS * H * bytes;
    }
    const struct { const char *what; const void *a, *b; rc_idx n; int wanted; } both[] = {
        {"h_out of some steps", ways[0].h_out, ways[1].h_out, STEPS * ROWS * out, 1},
        {"h after some steps", ways[0].h, s.prev, ROWS * H, 1},
        {"c after some steps", ways[0].c, ways[1].c, ROWS * H, cell->states == 2},
        {"c of some steps", ways[0].c_out, ways[1].c_out, STEPS * ROWS * H, cell->states == 2 && slots_wanted},
        {"slots of some steps", ways[0].slots, ways[1].slots, STEPS * ROWS * wide, slots_wanted},
    };
    for (size_t i = 0; i < sizeof both / sizeof *both; i++)
        if (both[i].wanted && memcmp(both[i].a, both[i].b, (size_t)(both[i].n * bytes))) {
            failed++;
            fprintf(stderr, "check: f%d/%s/%td: %s differ from step by step\n", K->bits, cell->name, H, both[i].what);
        }
    result(slots_wanted ? "steps_recorded" : "steps", cell->name, H, ways[0].h_out, STEPS * ROWS * out, STEPS * (H + 8));
}

static double *positive(rc_idx n)
{
    double *a = random_array(n);
    for (rc_idx i = 0; i < n; i++) a[i] = a[i] * a[i] + 0.01;
    return a;
}

/* Every kernel of hidden Markov models, on n states. */
static void check_hidden_markov(rc_idx n)
{
    enum { STEPS = 9, F = 3, PAIRS = F * (F + 1) / 2 };
    const rc_hidden_markov *hmm = K->hidden_markov;
    double *u = positive(n), *b = positive(STEPS * n), *gamma = zeros(n), *next = zeros(n), *trans = positive(n * n);
    double total = hmm->forward(u, 0.7, trans, b, n, next);
    result("total", "hidden_markov", n, &total, 1, n);
    result("forward", "hidden_markov", n, next, n, n);
    hmm->backward(next, trans, b, 0.3, n, u, gamma, next);
    result("gamma", "hidden_markov", n, gamma, n, n);
    result("backward", "hidden_markov", n, next, n, n);
    double *log_trans = random_array(n * n), *log_b = random_array(n);
    hmm->viterbi(u, log_trans, log_b, n, next);
    result("viterbi", "hidden_markov", n, next, n, 2);
    double *sums = zeros((F + 4) * n), *x = random_array(STEPS * (F + 4));
    hmm->outer(STEPS, x, F + 4, F + 4, b, n, sums);         /* four rows at once, and one at a time */
    result("outer", "hidden_markov", n, sums, (F + 4) * n, STEPS);
    for (int full = 0; full < 2; full++) {
        double *mean = random_array(F * n), *moments = zeros((1 + F + PAIRS) * n);
        hmm->moments(x, mean, gamma, F, full, n, moments);
        result(full ? "moments_full" : "moments", "hidden_markov", n, moments, (1 + F + (full ? PAIRS : F)) * n, F);
        double *whiten = random_array(PAIRS * n), *constant = random_array(n);
        hmm->gaussian(x, mean, whiten, constant, F, full, n, next);
        result(full ? "gaussian_full" : "gaussian", "hidden_markov", n, next, n, F * F);
    }
    total = hmm->subtract_max(next, n);
    result("max", "hidden_markov", n, &total, 1, F * F);
    for (rc_idx i = 0; i < n; i++) next[i] *= 100;
    hmm->exp(next, n);
    result("exp", "hidden_markov", n, next, n, 200);
}

int main(int argc, char **argv)
{
    const char *isa = getenv("RNNCORE_ISA") ? getenv("RNNCORE_ISA") : rc_best_isa();
    char other[16] = "";
    if (!rc_kernels_for(isa, 32)) {
        fprintf(stderr, "check: this CPU or this build has no %s\n", isa);
        return 2;
    }
    if (argc > 1) {
        reference = fopen(argv[1], "r");
        if (!reference || fscanf(reference, "%15s", other) != 1) {
            fprintf(stderr, "check: no reference in %s: write one with `check > %s`\n", argv[1], argv[1]);
            return 2;
        }
        fused = strcmp(isa, "base") && strcmp(other, "base");
    } else printf("%s\n", isa);

    for (int bits = 32; bits <= 64; bits += 32) {
        K = rc_kernels_for(isa, bits);
        check_activations();
        for (size_t i = 0; i < sizeof HIDDEN / sizeof *HIDDEN; i++) {
            const rc_idx H = HIDDEN[i];
            check_products(H, H);
            check_products(H, I);
            check_gradients(H, 29);
            check_losses(H);
            check_updates(H);
            check_rows(H);
            check_projection(H);
            for (const rc_cell *cell = K->cells; cell->name; cell++) check_cell(cell, H, -1);
            for (const rc_cell *cell = K->cells; cell->name; cell++)
                for (int wanted = 0; cell->steps && wanted < 2; wanted++) check_steps(cell, H, wanted);
            for (const rc_cell *cell = K->cells; cell->name; cell++)
                for (int kind = RC_SIGMOID; cell->stage[0].variant_forward && kind <= RC_SOFTPLUS; kind++)
                    check_cell(cell, H, kind);
        }
        check_products(13, LONG);               /* k in blocks */
        check_losses(LONG);                     /* classes in blocks */
        for (rc_idx n = RC_STATE_VECTOR; K->hidden_markov && n <= 6 * RC_STATE_VECTOR; n += 2 * RC_STATE_VECTOR)
            check_hidden_markov(n);
    }
    if (!reference) return failed > 0;
    printf("%s against %s: %d arrays, %d equal to the bit, %d differ too much\n", isa, other, arrays,
           arrays - unequal, failed);
    return failed > 0;
}
