// The kernels of short convolutions that compute in double, once per instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/simd/short_double.cpp"
// Must come first: it includes this file again for every instruction set but one.
#include "hwy/foreach_target.h"

// And then the kernels themselves.
#include "cpu/simd/short-inl.h"

#if HWY_ONCE
#define FFC_KERNELS ShortKernels<double>
#define FFC_KERNELS_HERE short_kernels_here<double>
#include "cpu/simd/targets.h"
#endif
