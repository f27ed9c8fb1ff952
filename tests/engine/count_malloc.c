/* Counts a process's allocations; preloaded by test_memory.py. glibc only: its own names are called below. */
#include <errno.h>
#include <malloc.h>
#include <stddef.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static long calls, live, peak;

static void *counted(void *p)
{
    if (!p) return p;
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    long now = __atomic_add_fetch(&live, (long)malloc_usable_size(p), __ATOMIC_RELAXED);
    long old = __atomic_load_n(&peak, __ATOMIC_RELAXED);
    while (now > old && !__atomic_compare_exchange_n(&peak, &old, now, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    return p;
}

static void forget(void *p)
{
    if (p) __atomic_sub_fetch(&live, (long)malloc_usable_size(p), __ATOMIC_RELAXED);
}

void *malloc(size_t n) { return counted(__libc_malloc(n)); }
void *calloc(size_t k, size_t n) { return counted(__libc_calloc(k, n)); }
void *realloc(void *p, size_t n) { forget(p); return counted(__libc_realloc(p, n)); }
void *memalign(size_t a, size_t n) { return counted(__libc_memalign(a, n)); }
void *aligned_alloc(size_t a, size_t n) { return counted(__libc_memalign(a, n)); }
int posix_memalign(void **p, size_t a, size_t n)
{
    return (*p = counted(__libc_memalign(a, n))) || !n ? 0 : ENOMEM;
}
void free(void *p) { forget(p); __libc_free(p); }

long count_calls(void) { return calls; }
long count_live(void) { return live; }
long count_peak(void) { return peak; }
void count_reset_peak(void) { peak = live; }
