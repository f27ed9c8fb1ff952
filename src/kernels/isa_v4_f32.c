#include "kernels.h"
#define REAL 32
#define KERNELS rc_kernels_v4_f32
#include "isa_v4.h"
