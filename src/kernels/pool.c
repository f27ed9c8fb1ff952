/* A small pool of threads for one parallel call at a time.
 *
 * Inside a call the threads spin at barriers (a step can be a microsecond); outside they sleep on a
 * condition, so nothing spins after the call returns.  Our own because libgomp's and libomp's threads
 * spin on after a region (about 1 ms and more) and hang in a forked child that uses them again: here a
 * child starts with no workers and makes its own when it needs them.
 *
 * Contract: `rc_pool_run` may be called from any thread.  While another call has the pool, f runs on the caller alone;
 * where workers cannot be made, on those that there are.  f must give the same bits on any number of threads. */
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
EXPORT int rnncore_get_num_threads(void) { return atomic_load(&num_threads); }
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
    int threads;
    atomic_int running;
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
        atomic_fetch_sub_explicit(&call.running, 1, memory_order_release);
    }
    return NULL;
}

static void forget_workers(void)
{
    pthread_mutex_init(&busy, NULL);
    worker_count = 0;           /* the parent's threads don't exist here; their few bytes stay */
}

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
    static int registered;
    if (!registered) {
        pthread_atfork(NULL, NULL, forget_workers);
        registered = 1;
    }
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

void rc_pool_run(rc_pool_fn f, void *context, int threads)
{
    if (threads <= 1 || pthread_mutex_trylock(&busy)) {
        f(context, 0, 1);
        return;
    }
    const int helpers = grow(threads - 1);
    place(helpers);
    call.f = f;
    call.context = context;
    call.threads = helpers + 1;
    atomic_store_explicit(&call.running, helpers, memory_order_relaxed);
    for (int i = 0; i < helpers; i++) {
        pthread_mutex_lock(&workers[i]->lock);
        workers[i]->call++;
        pthread_cond_signal(&workers[i]->wake);
        pthread_mutex_unlock(&workers[i]->lock);
    }
    f(context, 0, helpers + 1);
    for (int spins = 0; atomic_load_explicit(&call.running, memory_order_acquire) > 0;) spin(&spins);
    pthread_mutex_unlock(&busy);
}

long long rc_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Where other processes have taken a core, every step waits for a time slice: 0.4 ms instead of a few us
 * (measured at a load of 16 on 2 cores). Since bits do not depend on threads, such a call is better off
 * on one: after LATE_LIMIT waits of over 0.03 ms that took longer than the work before, thread 0 finishes it. */
enum { LATE_LIMIT = 2, LATE_NS = 30000 };

int rc_barrier_wait(rc_barrier *b, int threads, int may_shrink)
{
    if (threads <= 1) return 0;
    const int phase = __atomic_load_n(&b->phase, __ATOMIC_RELAXED);
    const long long opened = b->opened;         /* the last to arrive writes it, so read it first */
    if (__atomic_add_fetch(&b->count, 1, __ATOMIC_ACQ_REL) == threads) {
        b->count = 0;
        if (may_shrink && __atomic_load_n(&b->late, __ATOMIC_RELAXED) >= LATE_LIMIT) b->solo = 1;
        b->opened = rc_now();
        __atomic_store_n(&b->phase, phase + 1, __ATOMIC_RELEASE);
    } else {
        long long arrived = 0;
        for (int spins = 0; __atomic_load_n(&b->phase, __ATOMIC_ACQUIRE) == phase;) {
            spin(&spins);
            if (spins == 64) arrived = rc_now();       /* only long waits look at the clock, so it is a little late */
        }
        if (arrived && opened) {
            const long long waited = rc_now() - arrived;
            if (waited > LATE_NS && waited > arrived - opened) __atomic_add_fetch(&b->late, 1, __ATOMIC_RELAXED);
        }
    }
    return b->solo;
}
