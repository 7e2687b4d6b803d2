// The spectrum of a filter, in halves, in the order of the stages, with a power of two a channel.
//
// A block makes a part of it (filter_transform.cuh). The power of two is that of sum |h|, which is at least max |H|:
// every part has all taps, and so the same.
#pragma once

#include <type_traits>

#include "cuda/kernels/real_taps.cuh"

namespace ffc::cuda {

struct SpectrumParameters {
  TapsView k, k_rev;
  FoldView fold;
  u32* spectrum;   // [channels][M]
  float* factors;  // [channels]
};

/// The inputs of a butterfly of part q: x[i] = sum_r h[m] exp(-2 pi i r (q - s) / P), m = first + i step + r N, of
/// h[m] = t[m] - i t[m - M]. Returns sum |t|. WHOLE: there are taps at lags 0 to M - 1, and no others.
template <class F, class T, bool WHOLE, int COUNT>
__device__ __forceinline__ float load_taps(const SpectrumParameters& p, int channel, int part, int first,
                                           float2 (&x)[COUNT]) {
  constexpr int P = F::kParts, kStep = F::N / COUNT;
  const float2 step = unit<false>(4 * part - F::kShift, 4 * P);
  const T* k = p.k.row<T>(channel) + first;
  int positive = static_cast<int>(p.fold.positive) - first;
  float sum = 0;
#pragma unroll
  for (int i = 0; i < COUNT; ++i) {
    const float t = WHOLE || i * kStep < positive ? to_float(k[i * kStep]) : 0.f;
    x[i] = {t, 0}, sum += fabsf(t);
  }
  float2 turn = step;
#pragma unroll 1
  for (int r = 1; r < P; ++r) {
    k += F::N, positive -= F::N;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      const float t = WHOLE || i * kStep < positive ? to_float(k[i * kStep]) : 0.f;
      x[i] = {fmaf(turn.x, t, x[i].x), fmaf(turn.y, t, x[i].y)}, sum += fabsf(t);
    }
    turn = turn * step;
  }
  if (WHOLE || F::kPairs || p.fold.negative_hi < p.fold.negative_lo) return sum;

  const T* source = (p.fold.from_reverse ? p.k_rev : p.k).row<T>(channel) + p.fold.base;  // of lag 0
  if (first == 0 && p.fold.negative_hi == 0) {  // reversed taps that begin at lag 0
    const float t = to_float(source[0]);
    x[0].x += t, sum += fabsf(t);
  }
  const unsigned span = static_cast<unsigned>(p.fold.negative_hi - p.fold.negative_lo);
  auto add_below_zero = [&](auto sign) {  // a constant: so are the distances of the taps
    constexpr int kSign = decltype(sign)::value;
    const T* below = source + kSign * (first - F::M);
    int from_lowest = first - F::M - static_cast<int>(p.fold.negative_lo);
    float2 turn{1, 0};
#pragma unroll 1
    for (int r = 0; r < P; ++r) {
#pragma unroll
      for (int i = 0; i < COUNT; ++i) {
        const bool stands = static_cast<unsigned>(from_lowest + i * kStep) <= span;
        const float t = stands ? to_float(below[kSign * i * kStep]) : 0.f;
        x[i] = {fmaf(turn.y, t, x[i].x), fmaf(-turn.x, t, x[i].y)}, sum += fabsf(t);
      }
      below += kSign * F::N, from_lowest += F::N, turn = turn * step;
    }
  };
  if (p.fold.sign > 0)
    add_below_zero(std::integral_constant<int, 1>());
  else
    add_below_zero(std::integral_constant<int, -1>());
  return sum;
}

/// Two k5 each of H scale.
template <class F>
__device__ __forceinline__ void spectrum(const float2 (&x)[F::R3], float scale, uint2 (&halves)[F::R3 / 2]) {
#pragma unroll
  for (int i = 0; i < F::R3 / 2; ++i) {
    const int kc = first_of_two<F>(i);
    halves[i] = two_halves(x[kc], x[kc + kNextK5<F>], scale);
  }
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

template <int ROW, bool PAIRS>
struct FilterSpectrum {
  static constexpr bool kReal = PAIRS && real_spectrum_pays(kSizes[ROW].points);
  using F = FilterTransform<ROW, spectrum_parts(kSizes[ROW].points / (1 + kReal)), PAIRS, kReal>;
  static constexpr int kFactor = F::kPointsBytes + 32 * static_cast<int>(sizeof(float));  // behind points and sums
  static constexpr int kSharedBytes = kFactor + 16;
};

/// The sum over a warp: the same in all lanes.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(~0u, x, lanes);
  return x;
}

/// A part of a channel's spectrum, to shared memory: FilterSpectrum's kSharedBytes; and what a channel's results are
/// times, to `factor`, if that is not null.
template <class F>
__device__ __forceinline__ void stage_spectrum(const SpectrumParameters& p, int channel, int part,
                                               unsigned char* shared, float* factor) {
  float2* points = reinterpret_cast<float2*>(shared);
  const StagedSpectrum<F> staged{reinterpret_cast<uint4*>(shared)};
  float* sums = reinterpret_cast<float*>(shared + F::kPointsBytes);  // of |t|, of every warp

  // Of few taps it does not pay to know that they are whole.
  const bool whole = !F::kOneWarp && p.fold.positive == F::M &&
                     (F::kReal ? p.k.stride % 2 == 0 && reinterpret_cast<std::uintptr_t>(p.k.data) % 8 == 0
                               : F::kPairs || p.fold.negative_hi < p.fold.negative_lo);
  float sum = 0;
  for_butterflies<F, F::R1>([&](int i, int) {
    float2 x[F::R1];
    with_type(p.k.type, [&](auto type) {
      using T = decltype(type);
      if constexpr (F::kReal)
        sum += whole ? load_real_taps<F, T, true>(p.k.row<T>(channel), p.fold.positive, part, i, x)
                     : load_real_taps<F, T, false>(p.k.row<T>(channel), p.fold.positive, part, i, x);
      else
        sum += whole ? load_taps<F, T, true>(p, channel, part, i, x) : load_taps<F, T, false>(p, channel, part, i, x);
    });
    twisted_transform<false>(x, unit<false>(4 * part - F::kShift, 4 * F::kParts * F::R1));
    store_points(points, F::place(i), F::kPlaceStep, x);
  });
  sum = warp_sum(sum);
  if (F::thread() % 32 == 0) sums[F::thread() / 32] = sum;
  F::synchronize();
  second_pass<false, F>(points, [&](int ka, int) {
    return unit<false>(4 * (F::kParts * ka + part) - F::kShift, 4 * F::kParts * F::R1 * F::R2);
  });
  __syncwarp();

  float2 x[F::kHeld / F::R3][F::R3];
  for_butterflies<F, F::R3>([&](int row, int q) {
    load_points(points, F::place(row, 0), 1, x[q]);
    twisted_transform<false>(x[q], unit<false>(4 * (F::kParts * F::frequency(row) + part) - F::kShift, 4 * F::kPoints));
    if constexpr (F::kReal) store_points(points, F::place(row, 0), 1, x[q]);
  });
  // |H| is at most 1; of taps that are not finite H is not finite either.
  const int lane = F::thread() % 32;
  const u32 magnitude = __float_as_uint(warp_sum(lane < F::kThreads / 32 ? sums[lane] : 0.f) * F::kSpectrumGain);
  const int exponent = magnitude == 0 || magnitude >= kInfinity ? 0 : min(top_of(magnitude) + 3, 126);
  const float scale = F::kSpectrumGain * power_of_two(-exponent);
  if (factor && F::thread() == 0) *factor = F::kGain * power_of_two(exponent);
  constexpr int kEach = F::kFrequencies / F::N;
  uint2 halves[F::kHeld / F::R3][kEach * F::R3 / 2];
  // Always. What stands behind a branch is not computed before it, for which there are no registers.
  const bool holds = !F::kReal || p.fold.positive >= 0;
  F::synchronize();
  for_butterflies<F, F::R3>([&](int row, int q) {
    if constexpr (F::kReal) {
      if (holds) real_spectrum<F>(points, part, opaque(row), 0.5f * scale, halves[q]);
    } else {
      spectrum<F>(x[q], scale, halves[q]);
    }
  });
  if (F::kReal) F::synchronize();  // all points have been read: halves take their place
  for_butterflies<F, F::R3>([&](int row, int q) {
    if (!holds) return;
    const unsigned at = staged.index(F::position(F::frequency(opaque(row))));
#pragma unroll
    for (int i = 0; i < F::R3 / 2; ++i)
#pragma unroll
      for (int e = 0; e < kEach; ++e)
        staged.two(at ^ staged.index(F::position(F::R1 * F::R2 * first_of_two<F>(i) + e * F::N))) =
            halves[q][kEach * i + e];
  });
  F::synchronize();
}

template <int ROW, bool PAIRS>
__global__ void __launch_bounds__(FilterSpectrum<ROW, PAIRS>::F::kThreads, FilterSpectrum<ROW, PAIRS>::F::kBlocks)
    filter_spectrum(const SpectrumParameters p) {
  using F = typename FilterSpectrum<ROW, PAIRS>::F;
  let_next_kernel_start();
  extern __shared__ __align__(16) unsigned char shared[];
  const int channel = blockIdx.x / F::kParts, part = blockIdx.x % F::kParts;
  stage_spectrum<F>(p, channel, part, shared, part == 0 ? p.factors + channel : nullptr);
  const StagedSpectrum<F> staged{reinterpret_cast<uint4*>(shared)};
  uint4* spectrum = reinterpret_cast<uint4*>(p.spectrum + static_cast<long long>(channel) * F::M);
#pragma unroll 4
  for (int i = threadIdx.x; i < F::kFrequencies / 4; i += F::kThreads)
    spectrum[F::template whole<4>(part, i)] = staged[i];
}

}  // namespace ffc::cuda
