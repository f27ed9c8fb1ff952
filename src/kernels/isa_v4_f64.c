#include "kernels.h"
#define REAL 64
#define KERNELS rc_kernels_v4_f64
#include "isa_v4.h"
