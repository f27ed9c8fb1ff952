/* x86-64-v4: AVX-512 (F, DQ, BW, VL).  dispatch.c asks for the same features. */
#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512dq,avx512bw,avx512vl"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avx512f,avx512dq,avx512bw,avx512vl")
#endif
#define ISA_V4
#define ISA_NAME "v4"
#define WIDTH 64
#include "isa_body.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
