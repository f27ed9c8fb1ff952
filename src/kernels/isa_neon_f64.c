#include "kernels.h"
#define REAL 64
#define KERNELS rc_kernels_neon_f64
#include "isa_neon.h"
