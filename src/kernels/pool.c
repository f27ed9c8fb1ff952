/* A small pool of threads for one parallel call at a time.
 *
 * Inside a call the threads spin at barriers (a step can be a microsecond); outside they sleep on a
 * condition, so nothing spins after the call returns.  Our own because libgomp's and libomp's threads
 * spin on after a region (about 1 ms and more) and hang in a forked child that uses them again: here a
 * child starts with no workers and makes its own when it needs them.  Where torch's OpenMP threads are in
 * the process and spin already, a call uses those, since ours would have to share CPUs with them: openmp.c.
 *
 * Contract: `rc_pool_run` may be called from any thread.  While another call has the pool, and while calls give way (see
 * below), f runs on the caller alone; where workers cannot be made, on those that there are.  f must give the same bits
 * on any number of threads. */
#if defined(__linux__)
#define _GNU_SOURCE             /* CPU sets */
#endif
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include "kernels.h"
#include "pool.h"

#if defined(__x86_64__)
#define RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define RELAX() __asm__ __volatile__("yield")
#else
#define RELAX() ((void)0)
#endif
enum { MAX_WORKERS = RC_MAX_THREADS - 1, SPINS = 1000 };

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    unsigned long call;         /* the number of the call that the worker is to serve */
    pthread_t thread;
#if defined(__linux__)
    cpu_set_t cpus;             /* where it may run: the caller's, less the one that the caller is on */
#endif
} worker_t;

/* The one setting for threads.  Exported, so that threadpoolctl can see and control it. */
#define EXPORT __attribute__((visibility("default")))
static atomic_int num_threads = 1;
static _Thread_local int most_threads = RC_MAX_THREADS;     /* for calls of this thread */
EXPORT int rnncore_get_num_threads(void)
{
    const int n = atomic_load(&num_threads);
    return n < most_threads ? n : most_threads;
}
int rc_set_most_threads(int n)
{
    const int before = most_threads;
    most_threads = n < 1 ? 1 : n;
    return before;
}
EXPORT void rnncore_set_num_threads(int n)
{
    atomic_store(&num_threads, n < 1 ? 1 : n > RC_MAX_THREADS ? RC_MAX_THREADS : n);
}

static pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER;
static worker_t *workers[MAX_WORKERS];
static int worker_count;
static struct {
    rc_pool_fn f;
    void *context;
    int threads;                /* as many as wanted, or as there are workers */
    atomic_int finished;        /* how many helpers have */
    long long began;            /* ns */
    atomic_llong waited;        /* ns that thread 0 has waited for the others; it alone writes this */
    int even;                   /* the threads have equal shares of the work */
    long long shared;           /* ns that thread 0 worked until it went on alone; 0: it did not */
} call;

/* Spin for a while, then let others have the core (more threads than cores). */
static void spin(int *spins)
{
    if (++*spins < SPINS) RELAX();
    else sched_yield();
}

static void *work(void *arg)
{
    const int me = (int)(intptr_t)arg;
    worker_t *w = workers[me];
    unsigned long seen = 0;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        while (w->call == seen) pthread_cond_wait(&w->wake, &w->lock);
        seen = w->call;
        pthread_mutex_unlock(&w->lock);
        call.f(call.context, me + 1, call.threads);
        atomic_fetch_add_explicit(&call.finished, 1, memory_order_release);
    }
    return NULL;
}

static int is_forked;           /* OpenMP's threads, too, are the parent's */

static void forget_workers(void)
{
    pthread_mutex_init(&busy, NULL);
    worker_count = 0;           /* the parent's threads don't exist here; their few bytes stay */
    is_forked = 1;
}

/* When the library is loaded: a child may be forked before the first call. */
__attribute__((constructor)) static void at_load(void) { pthread_atfork(NULL, NULL, forget_workers); }

/* A worker blocks every signal: they are for the program's own threads, which may have masked some. */
static int start(worker_t *w, int me)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&w->thread, NULL, work, (void *)(intptr_t)me);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

/* Makes workers until there are as many as wanted; returns how many of those there are. */
static int grow(int wanted)
{
    if (wanted > MAX_WORKERS) wanted = MAX_WORKERS;
    while (worker_count < wanted) {
        worker_t *w = calloc(1, sizeof *w);
        if (!w) break;
        pthread_mutex_init(&w->lock, NULL);
        pthread_cond_init(&w->wake, NULL);
        workers[worker_count] = w;
        if (start(w, worker_count)) {
            free(w);
            break;
        }
        pthread_detach(w->thread);
        worker_count++;
    }
    return worker_count < wanted ? worker_count : wanted;
}

/* A worker is woken by the caller, and the scheduler likes to wake it on the caller's CPU, where both then
 * spin in turns; a call is over before the other CPU's idle balancing notices. So workers keep off the
 * CPU that the caller is on. Costs one or two system calls where nothing changed. */
static void place(int helpers)
{
#if defined(__linux__)
    cpu_set_t cpus;
    const int here = sched_getcpu();
    if (here < 0 || sched_getaffinity(0, sizeof cpus, &cpus)) return;
    if (CPU_COUNT(&cpus) > 1) CPU_CLR(here, &cpus);
    for (int i = 0; i < helpers; i++)
        if (!CPU_EQUAL(&cpus, &workers[i]->cpus) && !pthread_setaffinity_np(workers[i]->thread, sizeof cpus, &cpus))
            workers[i]->cpus = cpus;
#else
    (void)helpers;
#endif
}

/* Other programs on the cores.
 *
 * A thread that has lost its core comes back after a time slice, some milliseconds, while a step takes microseconds, so
 * a call on several threads can take many times as long as on one.  Thread 0 keeps an account of each call: on one
 * thread its own work would have taken as many times as long as there are threads, so where it has waited longer than
 * the others' shares could have taken, threads have cost time, the loss.
 *
 * - Within a call: once the loss is above LOSS_NS, thread 0 finishes the call alone, from the next barrier on.
 * - Afterwards: calls run on one thread until they have taken GIVE_WAY times the loss, MOST_NS at most, so that on a
 *   machine that stays busy threads cost about a fraction 1 / GIVE_WAY more than one.  Where threads help there is no
 *   loss.
 *
 * SLACK_NS of a loss are forgiven, since sleeping threads take so long to wake.  Calls whose threads take portions of
 * unequal size have no account, since their waiting says nothing.  (Measured: make busy, docs/engine.md.) */
enum { LOSS_NS = 100000, SLACK_NS = 20000, GIVE_WAY = 16, MOST_NS = 500000000 };
static atomic_llong give_way;   /* ns for which calls still run on one thread */

long long rc_pool_give_way(long long ns)
{
    return atomic_fetch_add_explicit(&give_way, ns, memory_order_relaxed) + ns;
}

/* The loss of the call so far, if thread 0 has worked for so long while the others did. */
static long long loss(long long shared, int threads)
{
    return atomic_load_explicit(&call.waited, memory_order_relaxed) - (threads - 1) * shared;
}

static void run_alone(rc_pool_fn f, void *context)
{
    const long long began = rc_now();
    f(context, 0, 1);
    rc_pool_give_way(began - rc_now());
}

/* Thread 0's part of a call that the others have begun, or are about to. */
static void lead(int threads)
{
    call.began = rc_now();
    call.f(call.context, 0, threads);
    const long long done = rc_now();
    if (!call.shared) call.shared = done - call.began - atomic_load_explicit(&call.waited, memory_order_relaxed);
    for (int spins = 0; atomic_load_explicit(&call.finished, memory_order_acquire) < threads - 1;) spin(&spins);
    atomic_fetch_add_explicit(&call.waited, rc_now() - done, memory_order_relaxed);
    const long long lost = loss(call.shared, threads) - SLACK_NS;
    if (call.even && lost > 0)
        atomic_store_explicit(&give_way, lost < MOST_NS / GIVE_WAY ? lost * GIVE_WAY : MOST_NS, memory_order_relaxed);
}

static void lead_workers(int helpers)
{
    place(helpers);
    call.threads = helpers + 1;
    for (int i = 0; i < helpers; i++) {
        pthread_mutex_lock(&workers[i]->lock);
        workers[i]->call++;
        pthread_cond_signal(&workers[i]->wake);
        pthread_mutex_unlock(&workers[i]->lock);
    }
    lead(helpers + 1);
}

/* One of the threads of OpenMP, of which there may be more than are wanted, or fewer. */
static void as_one_of(int thread, int team)
{
    const int threads = team < call.threads ? team : call.threads;
    if (thread == 0) {
        lead(threads);
    } else if (thread < threads) {
        call.f(call.context, thread, threads);
        atomic_fetch_add_explicit(&call.finished, 1, memory_order_release);
    }
}

static void run(rc_pool_fn f, void *context, int threads, int even)
{
    if (threads <= 1 || pthread_mutex_trylock(&busy)) {
        f(context, 0, 1);
        return;
    }
    call.f = f;
    call.context = context;
    call.threads = threads;
    call.even = even;
    call.shared = 0;
    atomic_store_explicit(&call.waited, 0, memory_order_relaxed);
    atomic_store_explicit(&call.finished, 0, memory_order_relaxed);
    if (!is_forked && rc_openmp_is_awake()) rc_openmp_run(as_one_of);
    else lead_workers(grow(threads - 1));
    pthread_mutex_unlock(&busy);
}

void rc_pool_run(rc_pool_fn f, void *context, int threads)
{
    if (threads > 1 && atomic_load_explicit(&give_way, memory_order_relaxed) > 0) run_alone(f, context);
    else run(f, context, threads, 1);
}

void rc_pool_run_portions(rc_pool_fn f, void *context, int threads) { run(f, context, threads, 0); }

long long rc_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int rc_barrier_wait(rc_barrier *b, int thread, int threads, int may_shrink)
{
    if (threads <= 1) return 0;
    const int phase = __atomic_load_n(&b->phase, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&b->count, 1, __ATOMIC_ACQ_REL) == threads) {
        b->count = 0;
        const long long waited = atomic_load_explicit(&call.waited, memory_order_relaxed);
        if (may_shrink && waited > LOSS_NS && loss(rc_now() - call.began - waited, threads) > LOSS_NS) b->solo = 1;
        __atomic_store_n(&b->phase, phase + 1, __ATOMIC_RELEASE);
    } else {
        long long arrived = 0;
        for (int spins = 0; __atomic_load_n(&b->phase, __ATOMIC_ACQUIRE) == phase;) {
            spin(&spins);
            if (spins == 64 && thread == 0) arrived = rc_now();     /* only long waits look at the clock */
        }
        if (arrived) atomic_fetch_add_explicit(&call.waited, rc_now() - arrived, memory_order_relaxed);
    }
    if (b->solo && thread == 0 && !call.shared)
        call.shared = rc_now() - call.began - atomic_load_explicit(&call.waited, memory_order_relaxed);
    return b->solo;
}
