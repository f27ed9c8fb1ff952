#include "kernels.h"
#define REAL 32
#define KERNELS rc_kernels_base_f32
#include "isa_base.h"
