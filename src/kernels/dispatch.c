/* Which table of kernels serves an instruction set, if this CPU has it. */
#include <string.h>
#include "kernels.h"

typedef struct {
    const char *name;
    const rc_kernels *f32, *f64;
} isa_entry;

#if defined(__x86_64__)
extern const rc_kernels rc_kernels_base_f32, rc_kernels_base_f64, rc_kernels_v3_f32, rc_kernels_v3_f64,
    rc_kernels_v4_f32, rc_kernels_v4_f64;
static const isa_entry isas[] = {      /* best first */
    {"v4", &rc_kernels_v4_f32, &rc_kernels_v4_f64},
    {"v3", &rc_kernels_v3_f32, &rc_kernels_v3_f64},
    {"base", &rc_kernels_base_f32, &rc_kernels_base_f64},
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
extern const rc_kernels rc_kernels_neon_f32, rc_kernels_neon_f64;
static const isa_entry isas[] = {{"neon", &rc_kernels_neon_f32, &rc_kernels_neon_f64}, {NULL, NULL, NULL}};
static int cpu_has(const char *isa) { (void)isa; return 1; }
#else
extern const rc_kernels rc_kernels_base_f32, rc_kernels_base_f64;
static const isa_entry isas[] = {{"base", &rc_kernels_base_f32, &rc_kernels_base_f64}, {NULL, NULL, NULL}};
static int cpu_has(const char *isa) { (void)isa; return 1; }
#endif

static const isa_entry *find(const char *isa)
{
    for (const isa_entry *e = isas; e->name; e++)
        if (!strcmp(e->name, isa)) return e;
    return NULL;
}

int rc_isa_compiled(const char *isa) { return find(isa) != NULL; }

const rc_kernels *rc_kernels_for(const char *isa, int bits)
{
    const isa_entry *e = find(isa);
    if (!e || !cpu_has(isa)) return NULL;
    return bits == 32 ? e->f32 : bits == 64 ? e->f64 : NULL;
}

const char *rc_best_isa(void)
{
    const isa_entry *e = isas;
    while (e[1].name && !cpu_has(e->name)) e++;
    return e->name;
}
