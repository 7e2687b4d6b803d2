// The gradients of filter and skip term: C = inverse(sum of the parts), then the fold's adjoint,
// dk[j] = Re C[j], lags below 0 from -Im C[M + lag], dskip = Re C[0].
#pragma once

#include "cuda/kernels/filter_transform.cuh"

namespace ffc::cuda {

struct GradientParameters {
  const float2* sums;  // [parts][channels][M]
  int parts, channels;
  TapsView dk, dk_rev;  // null data: not wanted
  FoldView fold;
  long long filter, filter_reverse;
  int pairs;
  float* dskip;
};

template <int ROW>
__global__ void __launch_bounds__(FilterTransform<ROW>::kThreads) filter_gradient(const GradientParameters p) {
  using F = FilterTransform<ROW>;
  static_assert(F::kParts == 1, "a transform that shared memory holds");
  extern __shared__ __align__(16) unsigned char shared[];
  const Points<F::N> points{reinterpret_cast<float2*>(shared)};
  const int channel = blockIdx.x;

  for (int i = threadIdx.x; i < F::M; i += blockDim.x) {
    float2 sum{0, 0};
    for (int part = 0; part < p.parts; ++part)
      sum = sum + p.sums[(static_cast<long long>(part) * p.channels + channel) * F::M + i];
    points[i] = sum;
  }
  __syncthreads();
  filter_stages<true, F::kFirst, F::kTwo, F::R>(points, threadIdx.x, blockDim.x);
  for (int n = threadIdx.x; n < F::M; n += blockDim.x) {
    const float scale = F::kGain * F::kSpectrumGain;
    float2 c = points[n];
    if (!p.pairs) c = c * fast_unit<false>(n, 4 * F::M);
    points[n] = {c.x * scale, c.y * scale};
  }
  __syncthreads();

  // The imaginary part at lag, if a tap stands there.
  auto below_zero = [&](long long lag) {
    return !p.pairs && lag >= p.fold.negative_lo && lag <= p.fold.negative_hi ? -points[static_cast<int>(lag + F::M)].y
                                                                              : 0.f;
  };
  if (p.dk.data)
    for (long long j = threadIdx.x; j < p.filter; j += blockDim.x) {
      float d = j < p.fold.positive ? points[static_cast<int>(j)].x : 0.f;
      if (!p.fold.from_reverse && p.fold.sign != 0) d += below_zero((j - p.fold.base) * p.fold.sign);
      p.dk.set(channel, j, d);
    }
  if (p.dk_rev.data)
    for (long long j = threadIdx.x; j < p.filter_reverse; j += blockDim.x) {
      const long long lag = (j - p.fold.base) * p.fold.sign;
      // Lag 0 of the reversed taps coincides with tap 0 of the others.
      p.dk_rev.set(channel, j, lag == 0 ? points[0].x : below_zero(lag));
    }
  if (p.dskip && threadIdx.x == 0) p.dskip[channel] = points[0].x;
}

}  // namespace ffc::cuda
