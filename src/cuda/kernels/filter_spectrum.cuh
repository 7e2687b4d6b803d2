// The spectrum of a filter, in halves, in the order of the stages, with a power of two a channel.
#pragma once

#include <type_traits>

#include "cuda/kernels/filter_transform.cuh"

namespace ffc::cuda {

struct SpectrumParameters {
  TapsView k, k_rev;
  FoldView fold;
  int pairs;       // s = 0: the taps as they are; else s = 1/4: lags below 0 as -i t[n - M]
  u32* spectrum;   // [channels][M]
  float* factors;  // [channels]
};

/// The inputs of a butterfly of part q: x[i] = sum_p h[m] exp(-2 pi i p (q - s) / P), m = first + i step + p N, of
/// h[m] = t[m] - i t[m - M].
template <class F, class T, int COUNT>
__device__ __forceinline__ void load_taps(const SpectrumParameters& p, int channel, int part, int first,
                                          float2 (&x)[COUNT]) {
  constexpr int kStep = F::N / COUNT;
  const float2 half = F::kParts > 1 ? unit<false>(4 * part - F::shift(p.pairs), 4 * F::kParts) : float2{0, 0};
  const T* k = p.k.row<T>(channel) + first;
  const int positive = static_cast<int>(p.fold.positive) - first;
#pragma unroll
  for (int i = 0; i < COUNT; ++i) {
    const float t = i * kStep < positive ? to_float(k[i * kStep]) : 0.f;
    x[i] = {t, 0};
    if constexpr (F::kParts > 1) {
      const float other = i * kStep + F::N < positive ? to_float(k[i * kStep + F::N]) : 0.f;
      x[i] = {fmaf(half.x, other, t), half.y * other};
    }
  }
  if (p.pairs || p.fold.negative_hi < p.fold.negative_lo) return;

  const T* source = (p.fold.from_reverse ? p.k_rev : p.k).row<T>(channel) + p.fold.base;  // of lag 0
  if (first == 0 && p.fold.negative_hi == 0) x[0].x += to_float(source[0]);  // reversed taps that begin at lag 0
  const int from_lowest = first - F::M - static_cast<int>(p.fold.negative_lo);
  const unsigned span = static_cast<unsigned>(p.fold.negative_hi - p.fold.negative_lo);
  auto add_below_zero = [&](auto sign) {  // a constant: so are the distances of the taps
    constexpr int kSign = decltype(sign)::value;
    const T* below = source + kSign * (first - F::M);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      if (static_cast<unsigned>(from_lowest + i * kStep) <= span) x[i].y -= to_float(below[kSign * i * kStep]);
      if (F::kParts > 1 && static_cast<unsigned>(from_lowest + i * kStep + F::N) <= span)
        x[i] = multiply_add(half, {0.f, -to_float(below[kSign * (i * kStep + F::N)])}, x[i]);
    }
  };
  if (p.fold.sign > 0)
    add_below_zero(std::integral_constant<int, 1>());
  else
    add_below_zero(std::integral_constant<int, -1>());
}

/// A block's part of a spectrum in shared memory: 16 bytes are two neighbouring positions of two neighbouring columns,
/// as the engine reads them. Turned so that writing 8 bytes a butterfly and reading 16 a lane spread over the banks.
template <class F>
struct StagedSpectrum {
  uint4* data;

  __device__ static __forceinline__ unsigned turned(unsigned i) { return i ^ ((i >> 5 ^ i >> 6) & 7); }
  __device__ __forceinline__ uint4& operator[](unsigned i) const { return data[turned(i)]; }
  /// Index, in 8 bytes, of positions p and p + 1, p even, of a column. Every bit of p makes bits of its own, so index(p
  /// | q) = index(p) ^ index(q) where p & q = 0.
  __device__ static __forceinline__ unsigned index(unsigned p) {
    constexpr unsigned kColumn = F::R * 64, kPair = 2 * kColumn;
    const unsigned i = F::O > 1 ? p / kPair * kColumn + p % kColumn / 2 * 2 + p / kColumn % 2 : p / 2;
    return turned(i / 2) * 2 + i % 2;
  }
  __device__ __forceinline__ uint2& two(unsigned at) const { return reinterpret_cast<uint2*>(data)[at]; }
};

template <int ROW>
__global__ void __launch_bounds__(FilterTransform<ROW>::kThreads, FilterTransform<ROW>::kBlocks)
    filter_spectrum(const SpectrumParameters p) {
  using F = FilterTransform<ROW>;
  let_next_kernel_start();
  extern __shared__ __align__(16) unsigned char shared[];
  float2* points = reinterpret_cast<float2*>(shared);
  const StagedSpectrum<F> staged{reinterpret_cast<uint4*>(shared)};
  u32* scratch = reinterpret_cast<u32*>(shared + F::kPointsBytes);
  const int channel = blockIdx.x, shift = F::shift(p.pairs);
  uint4* spectrum = reinterpret_cast<uint4*>(p.spectrum + static_cast<long long>(channel) * F::M);

  const int zero =
      p.pairs >> 31;  // which the compiler must not know: it would make addresses of all taps ahead, and spill
  constexpr int kNoExponent = -126;  // of zeros: any will do
  int exponent = kNoExponent, first_exponent = kNoExponent;
#pragma unroll 1
  for (int part = 0; part < F::kParts; ++part) {
    for_butterflies<F, F::R1>([&](int i, int) {
      float2 x[F::R1];
      with_type(p.k.type, [&](auto type) { load_taps<F, decltype(type)>(p, channel, part, i + (part & zero), x); });
      twisted_transform<false>(x, unit<false>(4 * part - shift, 4 * F::kParts * F::R1));
      store_points(points, F::place(i), F::N / F::R1 / F::R3 * (F::R3 + 1), x);
    });
    __syncthreads();
    second_pass<false, F>(points, [&](int ka, int) {
      return unit<false>(4 * (F::kParts * ka + part) - shift, 4 * F::kParts * F::R1 * F::R2);
    });
    __syncwarp();

    constexpr int kMine = F::kHeld / F::R3;
    float2 x[kMine][F::R3];
    float largest = 0;
    u32 magnitude = 0;
    for_butterflies<F, F::R3>([&](int row, int q) {
      const int k = F::frequency(row);
      load_points(points, F::place(row, 0), 1, x[q]);
      twisted_transform<false>(x[q], unit<false>(4 * (F::kParts * k + part) - shift, 4 * F::M));
#pragma unroll
      for (int i = 0; i < F::R3; ++i) largest = fmaxf(largest, fmaxf(fabsf(x[q][i].x), fabsf(x[q][i].y)));
      magnitude = max(magnitude,
                      __float_as_uint(fabsf(
                          x[q][0].x * F::kSpectrumGain)));  // NaN of any tap is in all frequencies, and fmaxf drops it
    });
    magnitude = block_max(max(magnitude, __float_as_uint(largest * F::kSpectrumGain)), scratch);
    if (magnitude != 0) exponent = max(exponent, magnitude >= kInfinity ? 0 : top_of(magnitude) + 3);  // H at most 1
    if (part == 0) first_exponent = exponent;

    const float scale = F::kSpectrumGain * power_of_two(-exponent);
    for_butterflies<F, F::R3>([&](int row, int q) {
      constexpr int kNext = F::R3 / 8;  // k5 is kc / kNext
      const unsigned at = staged.index(F::position(F::frequency(row)));
#pragma unroll
      for (int i = 0; i < F::R3 / 2; ++i) {
        const int kc = i / kNext * 2 * kNext + i % kNext;
        const float2 a = x[q][kc], b = x[q][kc + kNext];
        staged.two(at ^ staged.index(F::position(F::R1 * F::R2 * kc))) =
            uint2{pack(a.x * scale, b.x * scale), pack(a.y * scale, b.y * scale)};
      }
    });
    __syncthreads();
#pragma unroll 4
    for (int i = threadIdx.x; i < F::N / 4; i += F::kThreads) spectrum[F::template whole<4>(part, i)] = staged[i];
    if (part + 1 < F::kParts) __syncthreads();
  }
  if constexpr (F::kParts > 1) {
    // One scale for all: the first part, where it was brought up further, is brought down again by who wrote it.
    if (first_exponent != exponent && first_exponent != kNoExponent) {
      const u32 down = half_power_of_two(first_exponent - exponent) * 0x10001u;
      for (int i = threadIdx.x; i < F::N / 4; i += F::kThreads) {
        uint4& v = spectrum[F::template whole<4>(0, i)];
        v = make_uint4(mul(v.x, down), mul(v.y, down), mul(v.z, down), mul(v.w, down));
      }
    }
  }
  if (threadIdx.x == 0) p.factors[channel] = F::kGain * power_of_two(exponent == kNoExponent ? 0 : exponent);
}

}  // namespace ffc::cuda
