/* What every CPU of the architecture has: SSE2 on x86-64; elsewhere the compiler's 16-byte vectors (not arm64). */
#if !defined(__aarch64__)
#define ISA_NAME "base"
#define WIDTH 16
#include "isa_body.h"
#endif
