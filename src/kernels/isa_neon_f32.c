#include "kernels.h"
#define REAL 32
#define KERNELS rc_kernels_neon_f32
#include "isa_neon.h"
