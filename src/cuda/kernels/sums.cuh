// The sums of a filter's gradient on their way from the kernels of the rows to filter_gradient.cuh: complex halves,
// stored as filters' spectra are (staged.cuh, warp_transform.cuh), times a power of two for every split of a channel.
#pragma once

#include "cuda/kernels/rows.cuh"

namespace ffc::cuda {

/// Of (re, im, re, im), a lane's sums of a tile (arguments.cuh). NaN is the largest of all.
__device__ __forceinline__ u32 largest_magnitude(float4 sum) {
  auto bits = [](float x) { return __float_as_uint(fabsf(x)); };
  return max(max(bits(sum.x), bits(sum.y)), max(bits(sum.z), bits(sum.w)));
}

/// The largest of a magnitude over the block, with its barrier; `scratch` holds 32 words. NaN wins.
template <class Barrier>
__device__ __forceinline__ u32 block_max(u32 magnitude, u32* scratch, Barrier barrier) {
  const u32 of_warp = __reduce_max_sync(~0u, magnitude);  // magnitudes order as integers, NaN last
  if ((threadIdx.x & 31) == 0) scratch[threadIdx.x >> 5] = of_warp;
  barrier();
  const int warps = blockDim.x >> 5, lane = threadIdx.x & 31;
  return __reduce_max_sync(~0u, lane < warps ? scratch[lane] : 0u);
}

/// The power of two that brings the largest of a channel's sums into [2^13, 2^14): so the small ones keep their digits,
/// down to 2^-27 of it. If one is not finite the factor is NaN, and the gradient with it.
struct SumScale {
  float down, factor;

  /// `magnitude`: of the largest.
  __device__ __forceinline__ explicit SumScale(u32 magnitude) {
    const int exponent = max(top_of(magnitude) - 11, -126);
    down = power_of_two(-exponent);
    factor = magnitude < kInfinity ? power_of_two(exponent) : __int_as_float(0x7fffffff);
  }
  /// (re, im) of a tile's two columns, as halves.
  __device__ __forceinline__ Tile halves(float4 sum) const {
    return {pack(sum.x * down, sum.z * down), pack(sum.y * down, sum.w * down)};
  }
};

}  // namespace ffc::cuda
