#include "kernels.h"
#define REAL 32
#define KERNELS rc_kernels_v3_f32
#include "isa_v3.h"
