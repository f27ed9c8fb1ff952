#include "kernels.h"
#define REAL 64
#define KERNELS rc_kernels_v3_f64
#include "isa_v3.h"
