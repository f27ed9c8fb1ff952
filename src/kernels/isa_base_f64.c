#include "kernels.h"
#define REAL 64
#define KERNELS rc_kernels_base_f64
#include "isa_base.h"
