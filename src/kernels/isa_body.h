/* All kernels for one instruction set and one type.
 *
 * Each isa_<set>_f<bits>.c is a translation unit of its own that sets REAL (32 or 64) and the name of its table
 * (KERNELS); isa_<set>.h sets ISA_NAME and WIDTH (bytes of a vector).  Every function below is static, so that all
 * units have functions of the same plain names, which editors, ctags and debuggers find: `break lstm_forward` in gdb
 * stops in whichever of them runs.  The system's headers come first, then the target pragma, then this file. */
#include "simd.h"
#include "curves.h"
#include "tile.h"
#include "pack.h"
#include "rows.h"
#include "product.h"
#include "weight_gradient.h"
#include "softmax.h"
#include "updates.h"
#include "cell.h"
#include "narrow.h"
#include "projection.h"
#if REAL == 64
#include "hidden_markov.h"
#endif
#include "table.h"
