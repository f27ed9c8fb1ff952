/* Everything, once per type, for the instruction set of the including isa_*.c file. */
#define REAL 32
#include "simd.h"
#include "tile.h"
#include "product.h"
#include "cell.h"
#include "table.h"
#undef REAL
#define REAL 64
#include "simd.h"
#include "tile.h"
#include "product.h"
#include "cell.h"
#include "table.h"
#undef REAL
