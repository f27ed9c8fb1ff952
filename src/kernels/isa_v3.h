/* x86-64-v3: AVX2 and FMA. */
#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define ISA_V3
#define ISA_NAME "v3"
#define WIDTH 32
#include "isa_body.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
