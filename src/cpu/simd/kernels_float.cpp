// The kernels that compute in float, once per instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/simd/kernels_float.cpp"
// Must come first: it includes this file again for every instruction set but one.
#include "hwy/foreach_target.h"

// And then the kernels themselves.
#include "cpu/simd/table-inl.h"

#if HWY_ONCE
#define FFC_KERNELS Kernels<float>
#define FFC_KERNELS_HERE kernels_here<float>
#include "cpu/simd/targets.h"
#endif
