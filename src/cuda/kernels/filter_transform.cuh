// Transforms of filters, in fp32: a block owns a channel. The stages have the radices of the engine, in its order, each
// in place, so position p = ((digits k1, k2, k3) * 8 + k4) * 8 + k5 of the result is where the engine has it.
//
//   forward   h = fold(k, k_rev), h[n] exp(2 pi i n s / M), n1 -> k1, .. n5 -> k5
//   inverse   the conjugates in reverse order, C[n], and the fold's adjoint
//
// Shared memory holds 16384 points; of 32768 the even and the odd frequencies are made one after the other.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "cuda/kernels/arguments.cuh"

namespace ffc::cuda {

/// Taps of any floating type, as fp32.
struct TapsView {
  void* data = nullptr;
  long long stride = 0;  // elements from channel to channel
  int type = 0;          // as DType: 0 fp16, 1 bf16, 2 fp32, 3 fp64

  __device__ __forceinline__ float get(long long channel, long long i) const {
    const long long at = channel * stride + i;
    switch (type) {
      case 0: return __half2float(static_cast<const __half*>(data)[at]);
      case 1: return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[at]);
      case 2: return static_cast<const float*>(data)[at];
      default: return static_cast<float>(static_cast<const double*>(data)[at]);
    }
  }
  __device__ __forceinline__ void set(long long channel, long long i, float value) const {
    const long long at = channel * stride + i;
    switch (type) {
      case 0: static_cast<__half*>(data)[at] = __float2half_rn(value); break;
      case 1: static_cast<__nv_bfloat16*>(data)[at] = __float2bfloat16_rn(value); break;
      case 2: static_cast<float*>(data)[at] = value; break;
      default: static_cast<double*>(data)[at] = value;
    }
  }
};

/// Which taps stand at which lags: algo/fold.h, for the device.
struct FoldView {
  long long positive, negative_lo, negative_hi, base, sign;
  bool from_reverse;
};

__device__ __forceinline__ float2 operator+(float2 a, float2 b) { return {a.x + b.x, a.y + b.y}; }
__device__ __forceinline__ float2 operator-(float2 a, float2 b) { return {a.x - b.x, a.y - b.y}; }
__device__ __forceinline__ float2 operator*(float2 a, float2 b) {
  return {a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x};
}

/// exp(-+ 2 pi i numerator / denominator), good to 5e-7; denominator a power of two.
template <bool INVERSE>
__device__ __forceinline__ float2 fast_unit(int numerator, int denominator) {
  const int half = denominator / 2, n = ((numerator + half) & (denominator - 1)) - half;
  float s, c;
  __sincosf(6.283185307f / denominator * n, &s, &c);
  return {c, INVERSE ? s : -s};
}

template <bool INVERSE>
__device__ __forceinline__ float2 quarter(float2 a) {
  return INVERSE ? float2{-a.y, a.x} : float2{a.y, -a.x};
}
template <bool INVERSE>
__device__ __forceinline__ void dft(float2 (&x)[2]) {
  const float2 a = x[0];
  x[0] = a + x[1], x[1] = a - x[1];
}
template <bool INVERSE>
__device__ __forceinline__ void dft(float2 (&x)[4]) {
  float2 even[2] = {x[0], x[2]}, odd[2] = {x[1], x[3]};
  dft<INVERSE>(even), dft<INVERSE>(odd);
  odd[1] = quarter<INVERSE>(odd[1]);
  x[0] = even[0] + odd[0], x[1] = even[1] + odd[1], x[2] = even[0] - odd[0], x[3] = even[1] - odd[1];
}
template <bool INVERSE>
__device__ __forceinline__ void dft(float2 (&x)[8]) {
  constexpr float kHalfRoot = 0.70710678f;
  float2 even[4] = {x[0], x[2], x[4], x[6]}, odd[4] = {x[1], x[3], x[5], x[7]};
  dft<INVERSE>(even), dft<INVERSE>(odd);
  odd[1] = odd[1] * float2{kHalfRoot, INVERSE ? kHalfRoot : -kHalfRoot};
  odd[2] = quarter<INVERSE>(odd[2]);
  odd[3] = odd[3] * float2{-kHalfRoot, INVERSE ? kHalfRoot : -kHalfRoot};
#pragma unroll
  for (int i = 0; i < 4; ++i) x[i] = even[i] + odd[i], x[i + 4] = even[i] - odd[i];
}

/// Shared memory of N complex points, padded against bank conflicts.
template <int N>
struct Points {
  float2* data;
  static constexpr int kBytes = (N + N / 8) * static_cast<int>(sizeof(float2));
  __device__ __forceinline__ float2& operator[](int i) const { return data[i + (i >> 3)]; }
};

/// One stage of radix R over blocks of LENGTH points.
template <bool INVERSE, int R, int LENGTH, int N>
__device__ __forceinline__ void filter_stage(const Points<N>& points, int thread, int threads) {
  constexpr int kStep = LENGTH / R;
  for (int i = thread; i < N / R; i += threads) {
    const int j = i % kStep, first = i / kStep * LENGTH + j;
    float2 x[R], w[R];
    w[1] = fast_unit<INVERSE>(j, LENGTH);
#pragma unroll
    for (int k = 2; k < R; ++k) w[k] = w[k / 2] * w[k - k / 2];
#pragma unroll
    for (int d = 0; d < R; ++d) x[d] = points[first + d * kStep];
    if (INVERSE)
#pragma unroll
      for (int k = 1; k < R; ++k) x[k] = x[k] * w[k];
    dft<INVERSE>(x);
    if (!INVERSE)
#pragma unroll
      for (int k = 1; k < R; ++k) x[k] = x[k] * w[k];
#pragma unroll
    for (int d = 0; d < R; ++d) points[first + d * kStep] = x[d];
  }
  __syncthreads();
}

/// All stages: radix FIRST, then 8 if the outer transform has two, then RADIX, then 8 and 8. N = their product.
template <bool INVERSE, int FIRST, bool TWO, int RADIX, int N>
__device__ __forceinline__ void filter_stages(const Points<N>& p, int thread, int threads) {
  constexpr int kAfterFirst = N / FIRST, kAfterSecond = kAfterFirst / (TWO ? 8 : 1);
  if constexpr (!INVERSE) {
    if constexpr (FIRST > 1) filter_stage<false, FIRST, N>(p, thread, threads);
    if constexpr (TWO) filter_stage<false, 8, kAfterFirst>(p, thread, threads);
    if constexpr (RADIX > 1) filter_stage<false, RADIX, kAfterSecond>(p, thread, threads);
    filter_stage<false, 8, 64>(p, thread, threads);
    filter_stage<false, 8, 8>(p, thread, threads);
  } else {
    filter_stage<true, 8, 8>(p, thread, threads);
    filter_stage<true, 8, 64>(p, thread, threads);
    if constexpr (RADIX > 1) filter_stage<true, RADIX, kAfterSecond>(p, thread, threads);
    if constexpr (TWO) filter_stage<true, 8, kAfterFirst>(p, thread, threads);
    if constexpr (FIRST > 1) filter_stage<true, FIRST, N>(p, thread, threads);
  }
}

template <int ROW>
struct FilterTransform {
  static constexpr int M = kSizes[ROW].points, O = kSizes[ROW].outer, R = kSizes[ROW].radix;
  static constexpr int kParts = M > 16384 ? 2 : 1;  // frequencies k = kParts k' + part
  static constexpr int N = M / kParts;
  static constexpr int kFirst = (O > 1 ? 8 : 1) / kParts;
  static constexpr bool kTwo = O == 64;
  static constexpr float kGain = static_cast<float>(gain(kSizes[ROW]));
  static constexpr float kSpectrumGain = static_cast<float>(spectrum_gain(kSizes[ROW]) / gain(kSizes[ROW]));
  static constexpr int kThreads = N / 8 < 32 ? 32 : N / 8 > 1024 ? 1024 : N / 8;
  static constexpr int kSharedBytes = Points<N>::kBytes + 32 * static_cast<int>(sizeof(float));
};

/// The largest of a value over the block; `scratch` holds 32 floats. NaN wins.
__device__ __forceinline__ float block_max(float value, float* scratch) {
  const u32 bits = __reduce_max_sync(~0u, __float_as_uint(value));  // magnitudes order as integers, NaN last
  if ((threadIdx.x & 31) == 0) scratch[threadIdx.x >> 5] = __uint_as_float(bits);
  __syncthreads();
  const int warps = blockDim.x >> 5, lane = threadIdx.x & 31;
  const u32 all = __reduce_max_sync(~0u, lane < warps ? __float_as_uint(scratch[lane]) : 0u);
  __syncthreads();
  return __uint_as_float(all);
}

}  // namespace ffc::cuda
