// The spectrum of a filter, in halves, in the order of the stages, with a power of two a channel.
#pragma once

#include "cuda/kernels/filter_transform.cuh"

namespace ffc::cuda {

struct SpectrumParameters {
  TapsView k, k_rev;
  FoldView fold;
  int pairs;       // s = 0: the taps as they are; else s = 1/4: lags below 0 as -i t[n - M]
  u32* spectrum;   // [channels][M]
  float* factors;  // [channels]
};

/// h[n] = t[n] - i t[n - M]
__device__ __forceinline__ float2 folded_tap(const SpectrumParameters& p, int channel, int n, int M) {
  float2 h{0, 0};
  auto below = [&](long long lag) {
    const long long i = p.fold.base + p.fold.sign * lag;
    return p.fold.from_reverse ? p.k_rev.get(channel, i) : p.k.get(channel, i);
  };
  if (n < p.fold.positive) h.x = p.k.get(channel, n);
  if (p.pairs) return h;
  if (n == 0 && p.fold.negative_hi == 0) h.x += below(0);  // reversed taps that begin at lag 0
  const long long lag = n - M;
  if (lag >= p.fold.negative_lo && lag <= p.fold.negative_hi) h.y = -below(lag);
  return h;
}

/// Part q of the frequencies, k = P k' + q: y[n] = sum_p h[n + p M / P] exp(-2 pi i (n + p M / P)(q - s) / M).
template <int ROW>
__device__ __forceinline__ void load_part(const SpectrumParameters& p, int channel, int part,
                                          const Points<FilterTransform<ROW>::N>& points) {
  using F = FilterTransform<ROW>;
  const int turn = 4 * part - (p.pairs ? 0 : 1);
  for (int n = threadIdx.x; n < F::N; n += blockDim.x) {
    float2 sum{0, 0};
#pragma unroll
    for (int i = 0; i < F::kParts; ++i) {
      const int m = n + i * F::N;
      sum = sum + folded_tap(p, channel, m, F::M) * fast_unit<false>(m * turn, 4 * F::M);
    }
    points[n] = sum;
  }
  __syncthreads();
}

/// Position of (k1, k2, k3) of the engine among the points of a part; the eight by eight (k4, k5) follow.
template <int ROW>
__device__ __forceinline__ int column_position(int k1, int k2, int k3) {
  using F = FilterTransform<ROW>;
  if constexpr (F::O == 1) return k3 * 64;
  if constexpr (F::O == 8) return (k1 * F::R + k3) * 64;
  return ((k1 / F::kParts * 8 + k2) * F::R + k3) * 64;
}

/// Writes a part, times `scale`.
template <int ROW>
__device__ __forceinline__ void store_part(const SpectrumParameters& p, int channel, int part, float scale,
                                           const Points<FilterTransform<ROW>::N>& points) {
  using F = FilterTransform<ROW>;
  u32* spectrum = p.spectrum + static_cast<long long>(channel) * F::M;
  auto two = [&](int k1, int k2, int k3, int lane) {
    const int at = column_position<ROW>(k1, k2, k3) + 2 * lane;
    const float2 a = points[at], b = points[at + 1];
    return uint2{pack(a.x * scale, b.x * scale), pack(a.y * scale, b.y * scale)};
  };
  for (int i = threadIdx.x; i < F::N / (F::O == 1 ? 2 : 4); i += blockDim.x) {
    const int lane = i & 31, k3 = (i >> 5) % F::R, unit = (i >> 5) / F::R;
    if constexpr (F::O == 1) {
      reinterpret_cast<uint2*>(spectrum)[i] = two(0, 0, k3, lane);
    } else {
      int pair = unit;  // of columns: (k1, k2 / 2), or k1 / 2
      if constexpr (F::kParts > 1) pair = ((unit >> 2) * F::kParts + part) * 4 + (unit & 3);
      uint2 v[2];
#pragma unroll
      for (int e = 0; e < 2; ++e)
        v[e] = F::O == 64 ? two(pair >> 2, 2 * (pair & 3) + e, k3, lane) : two(2 * pair + e, 0, k3, lane);
      reinterpret_cast<uint4*>(spectrum)[(pair * F::R + k3) * 32 + lane] = make_uint4(v[0].x, v[0].y, v[1].x, v[1].y);
    }
  }
}

template <int ROW>
__global__ void __launch_bounds__(FilterTransform<ROW>::kThreads) filter_spectrum(const SpectrumParameters p) {
  using F = FilterTransform<ROW>;
  extern __shared__ __align__(16) unsigned char shared[];
  const Points<F::N> points{reinterpret_cast<float2*>(shared)};
  float* scratch = reinterpret_cast<float*>(shared + Points<F::N>::kBytes);
  const int channel = blockIdx.x;
  constexpr float kGain = F::kGain, kSpectrumGain = F::kSpectrumGain;

  constexpr int kNoExponent = -100;  // of zeros: any will do
  int exponents[F::kParts];
  int exponent = kNoExponent;
#pragma unroll
  for (int part = 0; part < F::kParts; ++part) {
    load_part<ROW>(p, channel, part, points);
    filter_stages<false, F::kFirst, F::kTwo, F::R>(points, threadIdx.x, blockDim.x);
    float largest = 0;
    for (int i = threadIdx.x; i < F::N; i += blockDim.x) {
      const float2 z = points[i];
      const u32 bits = max(__float_as_uint(fabsf(z.x)), __float_as_uint(fabsf(z.y)));
      largest = __uint_as_float(max(bits, __float_as_uint(largest)));
    }
    const u32 magnitude = __float_as_uint(block_max(largest * kSpectrumGain, scratch));
    exponents[part] = magnitude == 0 ? kNoExponent : magnitude >= kInfinity ? 0 : top_of(magnitude) + 3;  // H at most 1
    exponent = max(exponent, exponents[part]);
    store_part<ROW>(p, channel, part, kSpectrumGain * power_of_two(-exponents[part]), points);
    __syncthreads();
  }
  if (exponent == kNoExponent) exponent = 0;
  if constexpr (F::kParts > 1) {
    // One scale for all: a part that was brought up further is brought down again.
    u32* spectrum = p.spectrum + static_cast<long long>(channel) * F::M;
    for (int i = threadIdx.x; i < F::M; i += blockDim.x) {
      const int k1 = i / (4 * 4 * 32 * F::R), part = k1 % F::kParts;
      const int down = (part == 0 ? exponents[0] : exponents[F::kParts - 1]) - exponent;
      if (down) spectrum[i] = mul(spectrum[i], half_power_of_two(down) * 0x10001u);
    }
  }
  if (threadIdx.x == 0) p.factors[channel] = kGain * power_of_two(exponent);
}

}  // namespace ffc::cuda
