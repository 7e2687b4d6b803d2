// The second half of dweight and dbias: the splits' sums added up, in their order.
#pragma once

#include "cuda/short/parameters.cuh"

namespace ffc::cuda {

inline constexpr int kSumRows = 16;

/// A block takes 32 channels of one tap (tap `taps` is the bias); its rows of threads every kSumRows-th split. Shared
/// memory: [kSumRows][32] floats.
template <class Type>
__global__ void __launch_bounds__(32 * kSumRows) add_splits(const SumsParameters p) {
  extern __shared__ __align__(16) unsigned char shared[];
  float* scratch = reinterpret_cast<float*>(shared);
  const int lane = threadIdx.x % 32, row = threadIdx.x / 32;
  const int j = blockIdx.x / p.channel_blocks, d = (blockIdx.x - j * p.channel_blocks) * 32 + lane;
  float sum = 0;
  if (d < p.channels) {
    const float* from = p.sums + (static_cast<long long>(j) * p.channels + d);
    const long long stride = static_cast<long long>(p.taps + 1) * p.channels;
#pragma unroll 4
    for (int split = row; split < p.splits; split += kSumRows) sum += __ldcs(from + split * stride);
  }
  scratch[threadIdx.x] = sum;
  __syncthreads();
  if (row != 0 || d >= p.channels) return;
  for (int i = 1; i < kSumRows; ++i) sum += scratch[32 * i + lane];
  void* to = j < p.taps ? p.dweight.data : p.dbias;
  const long long at = j < p.taps ? d * p.dweight.channel_stride + j * p.dweight.tap_stride : d;
  if (to == nullptr) return;
  if (p.single)
    static_cast<float*>(to)[at] = sum;
  else
    static_cast<Stored<Type>*>(to)[at] = narrow<Type>(sum);
}

}  // namespace ffc::cuda
