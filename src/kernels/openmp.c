/* The threads of the OpenMP runtime that torch uses, where torch is in the process.
 *
 * They spin for some milliseconds after each parallel operation of torch, each on a CPU that a worker of our own pool
 * would then have to share with it.  While they do, a call uses them instead of the pool's: they are awake, so that a
 * parallel region begins and ends within a microsecond.  Once they sleep, the pool's own workers are the better ones:
 * those of OpenMP are woken on the CPU of the caller, where both take turns until the scheduler moves one of them.
 *
 * Whether they spin is seen from the CPU time of the one that helped first in the last region: whose clock goes on is
 * running.  A thread of the program has OpenMP threads of its own, and so has what is noted here.  Which they are is known
 * only after a region: the program's main thread begins one, since torch would make the same threads there; other threads
 * stay with the pool, as each would get OpenMP threads that torch may never have needed.
 *
 * libgomp and LLVM's runtime both have these functions.  The runtime is found through torch's library, of which it is a
 * dependency: there may be others in the process, and none is ever loaded. */
#if defined(__linux__)
#define _GNU_SOURCE             /* dl_iterate_phdr */
#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "pool.h"

static struct {
    unsigned long long loaded;  /* how many libraries had ever been loaded when we looked for torch's */
    void (*parallel)(void (*f)(void *), void *data, unsigned threads, unsigned flags);
    int (*thread)(void), (*threads)(void), (*most)(void);
} omp;
static _Thread_local long helper;       /* the id of thread 1 of this thread's last region; 0: none */

/* Callbacks of dl_iterate_phdr. */
static int count_loaded(struct dl_phdr_info *info, size_t size, void *count)
{
    (void)size;
    *(unsigned long long *)count = info->dlpi_adds;
    return 1;                           /* the first library tells it: no need to see the others */
}

static int find_torch(struct dl_phdr_info *info, size_t size, void *path)
{
    (void)size;
    if (!info->dlpi_name || !strstr(info->dlpi_name, "libtorch_cpu.so")) return 0;
    *(const char **)path = info->dlpi_name;
    return 1;
}

static void find_runtime(void)
{
    const char *path = NULL;
    void *library = NULL;
    if (dl_iterate_phdr(find_torch, &path) && path) library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    if (!library) return;
    *(void **)&omp.thread = dlsym(library, "omp_get_thread_num");
    *(void **)&omp.threads = dlsym(library, "omp_get_num_threads");
    *(void **)&omp.most = dlsym(library, "omp_get_max_threads");
    *(void **)&omp.parallel = omp.thread && omp.threads && omp.most ? dlsym(library, "GOMP_parallel") : NULL;
}

/* The CPU time of a thread of this process in ns; -1: there is no such thread any more. */
static long long cpu_time(long thread)
{
    struct timespec t;
    enum { OF_A_THREAD = 4, BY_SCHEDULER = 2 };         /* as in pthread_getcpuclockid, which needs a thread that lives */
    const clockid_t clock = (clockid_t)(~(unsigned)thread << 3 | OF_A_THREAD | BY_SCHEDULER);
    return clock_gettime(clock, &t) ? -1 : t.tv_sec * 1000000000LL + t.tv_nsec;
}

int rc_openmp_is_awake(void)
{
    unsigned long long loaded = 0;
    if (!omp.parallel) {
        dl_iterate_phdr(count_loaded, &loaded);
        if (loaded == omp.loaded) return 0;
        omp.loaded = loaded;
        find_runtime();
        if (!omp.parallel) return 0;
    }
    if (omp.most() < 2) return 0;
    const long long before = helper ? cpu_time(helper) : -1;
    return before < 0 ? syscall(SYS_gettid) == getpid() : cpu_time(helper) > before;
}

typedef struct {
    void (*f)(int thread, int threads);
    long helper;
} region_t;

static void region(void *data)
{
    region_t *r = data;
    const int thread = omp.thread();
    if (thread == 1) r->helper = syscall(SYS_gettid);
    r->f(thread, omp.threads());
}

void rc_openmp_run(void (*f)(int thread, int threads))
{
    region_t r = {f, 0};
    omp.parallel(region, &r, 0, 0);
    helper = r.helper;
}
#else
#include "pool.h"
int rc_openmp_is_awake(void) { return 0; }
void rc_openmp_run(void (*f)(int thread, int threads)) { f(0, 1); }
#endif
