/* Which table of kernels serves an instruction set, if this CPU has it. */
#include <string.h>
#include "kernels.h"

typedef struct {
    const char *name;
    const rnn_kernels *f32, *f64;
} isa_entry;

#if defined(__x86_64__)
extern const rnn_kernels rnn_kernels_32_base, rnn_kernels_64_base, rnn_kernels_32_v3, rnn_kernels_64_v3,
    rnn_kernels_32_v4, rnn_kernels_64_v4;
static const isa_entry isas[] = {      /* best first */
    {"v4", &rnn_kernels_32_v4, &rnn_kernels_64_v4},
    {"v3", &rnn_kernels_32_v3, &rnn_kernels_64_v3},
    {"base", &rnn_kernels_32_base, &rnn_kernels_64_base},
    {NULL, NULL, NULL}};

static int cpu_has(const char *isa)
{
    __builtin_cpu_init();
    if (!strcmp(isa, "v4"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (!strcmp(isa, "v3")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return 1;
}
#elif defined(__aarch64__)
extern const rnn_kernels rnn_kernels_32_neon, rnn_kernels_64_neon;
static const isa_entry isas[] = {{"neon", &rnn_kernels_32_neon, &rnn_kernels_64_neon}, {NULL, NULL, NULL}};
static int cpu_has(const char *isa) { (void)isa; return 1; }
#else
extern const rnn_kernels rnn_kernels_32_base, rnn_kernels_64_base;
static const isa_entry isas[] = {{"base", &rnn_kernels_32_base, &rnn_kernels_64_base}, {NULL, NULL, NULL}};
static int cpu_has(const char *isa) { (void)isa; return 1; }
#endif

static const isa_entry *find(const char *isa)
{
    for (const isa_entry *e = isas; e->name; e++)
        if (!strcmp(e->name, isa)) return e;
    return NULL;
}

int rnn_isa_compiled(const char *isa) { return find(isa) != NULL; }

const rnn_kernels *rnn_kernels_for(const char *isa, int bits)
{
    const isa_entry *e = find(isa);
    if (!e || !cpu_has(isa)) return NULL;
    return bits == 32 ? e->f32 : bits == 64 ? e->f64 : NULL;
}

const char *rnn_best_isa(void)
{
    const isa_entry *e = isas;
    while (e[1].name && !cpu_has(e->name)) e++;
    return e->name;
}
