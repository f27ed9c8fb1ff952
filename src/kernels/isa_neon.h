/* arm64: NEON is part of the architecture, so this is its base. */
#if defined(__aarch64__)
#include <arm_neon.h>
#define ISA_NEON
#define ISA_NAME "neon"
#define WIDTH 16
#include "isa_body.h"
#endif
