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

/// Taps that a thread has under way.
template <class T>
inline constexpr int kInFlight = sizeof(T) == 8 ? 8 : 32;

/// The inputs of a butterfly of part q: x[i] = sum_p h[m] exp(-2 pi i p (q - s) / P), m = first + i step + p N, of
/// h[m] = t[m] - i t[m - M].
template <class F, class T, int COUNT>
__device__ __forceinline__ void load_taps(const SpectrumParameters& p, int channel, int part, int first, int step,
                                          float2 (&x)[COUNT]) {
  const float2 half = F::kParts > 1 ? unit<false>(4 * part - (p.pairs ? 0 : 1), 4 * F::kParts) : float2{0, 0};
  const T* k = p.k.row<T>(channel);
  const int positive = static_cast<int>(p.fold.positive);
  // tap(m) goes to every x[i] through add(i, p, tap), m = first + i step + p N.
  auto for_taps = [&](auto tap, auto add) {
#pragma unroll
    for (int piece = 0; piece < F::kParts; ++piece)
#pragma unroll
      for (int i = 0; i < COUNT; ++i) {
        // Beyond so many taps in flight the registers are too few.
        if (piece * COUNT + i > 0 && i % kInFlight<T> == 0) asm volatile("" ::: "memory");
        add(i, piece, tap(first + i * step + piece * F::N));
      }
  };
  for_taps([&](int m) { return m < positive ? to_float(k[m]) : 0.f; },
           [&](int i, int piece, float t) {
             x[i] = piece == 0 ? float2{t, 0} : float2{fmaf(half.x, t, x[i].x), half.y * t};
           });
  if (p.pairs || p.fold.negative_hi < p.fold.negative_lo) return;

  const T* source = (p.fold.from_reverse ? p.k_rev : p.k).row<T>(channel) + p.fold.base;  // of lag 0
  if (first == 0 && p.fold.negative_hi == 0) x[0].x += to_float(source[0]);  // reversed taps that begin at lag 0
  const int low = static_cast<int>(p.fold.negative_lo), high = static_cast<int>(max(p.fold.negative_hi, -F::M - 1ll));
  const int sign = static_cast<int>(p.fold.sign);
  for_taps([&](int m) { return m - F::M >= low && m - F::M <= high ? to_float(source[sign * (m - F::M)]) : 0.f; },
           [&](int i, int piece, float t) {
             x[i] = piece == 0 ? float2{x[i].x, x[i].y - t} : multiply_add(half, {0.f, -t}, x[i]);
           });
}

/// A block's part of a spectrum in shared memory: 16 bytes are two neighbouring positions of two neighbouring columns,
/// as the engine reads them. Turned so that writing 8 bytes a butterfly and reading 16 a lane spread over the banks.
template <class F>
struct StagedSpectrum {
  uint4* data;

  __device__ static __forceinline__ int turned(int i) { return i ^ ((i >> 5 ^ i >> 6) & 7); }
  __device__ __forceinline__ uint4& operator[](int i) const { return data[turned(i)]; }
  /// Positions p and p + 1, p even, of a column.
  __device__ __forceinline__ uint2& two(int p) const {
    constexpr int kColumn = F::R * 64;
    int i = p / 2;
    if constexpr (F::O > 1) i = (p / (2 * kColumn) * kColumn / 2 + p % kColumn / 2) * 2 + p / kColumn % 2;
    return reinterpret_cast<uint2*>(data + turned(i / 2))[i % 2];
  }
};

/// Index of 16 bytes of a part in the spectrum of all parts.
template <class F>
__device__ __forceinline__ int whole_index(int part, int i) {
  constexpr int kRun = F::M / 8 / 4;  // frequencies of the same k1, and k1 = kParts k1' + part
  return F::kParts == 1 ? i : (i / kRun * F::kParts + part) * kRun + i % kRun;
}

template <int ROW>
__global__ void __launch_bounds__(FilterTransform<ROW>::kThreads, FilterTransform<ROW>::kBlocks)
    filter_spectrum(const SpectrumParameters p) {
  using F = FilterTransform<ROW>;
  extern __shared__ __align__(16) unsigned char shared[];
  float2* points = reinterpret_cast<float2*>(shared);
  const StagedSpectrum<F> staged{reinterpret_cast<uint4*>(shared)};
  float* scratch = reinterpret_cast<float*>(shared + F::kPointsBytes);
  const int channel = blockIdx.x, shift = p.pairs ? 0 : 1;  // 4 s
  uint4* spectrum = reinterpret_cast<uint4*>(p.spectrum + static_cast<long long>(channel) * F::M);

  constexpr int kNoExponent = -126;  // of zeros: any will do
  int exponent = kNoExponent, first_exponent = kNoExponent;
#pragma unroll 1
  for (int part = 0; part < F::kParts; ++part) {
    for_butterflies<F, F::R1>([&](int i, int) {
      float2 x[F::R1];
      with_type(p.k.type, [&](auto type) { load_taps<F, decltype(type)>(p, channel, part, i, F::N / F::R1, x); });
      twisted_transform<false>(x, unit<false>(4 * part - shift, 4 * F::kParts * F::R1));
      store_points(points, F::place(i), F::N / F::R1 / F::R3 * (F::R3 + 1), x);
    });
    __syncthreads();
    second_pass<false, F>(points, [&](int ka, int) {
      return unit<false>(4 * (F::kParts * ka + part) - shift, 4 * F::kParts * F::R1 * F::R2);
    });

    constexpr int kMine = F::kHeld / F::R3;
    float2 x[kMine][F::R3];
    u32 largest = 0;
    for_butterflies<F, F::R3>([&](int row, int q) {
      const int k = row / F::R2 + F::R1 * (row % F::R2);
      load_points(points, F::place(row, 0), 1, x[q]);
      twisted_transform<false>(x[q], unit<false>(4 * (F::kParts * k + part) - shift, 4 * F::M));
#pragma unroll
      for (int i = 0; i < F::R3; ++i) {
        const float2 z = x[q][i];
        largest = max(largest, max(__float_as_uint(fabsf(z.x)), __float_as_uint(fabsf(z.y))));
      }
    });
    const u32 magnitude = __float_as_uint(block_max(__uint_as_float(largest) * F::kSpectrumGain, scratch));
    if (magnitude != 0) exponent = max(exponent, magnitude >= kInfinity ? 0 : top_of(magnitude) + 3);  // H at most 1
    if (part == 0) first_exponent = exponent;

    const float scale = F::kSpectrumGain * power_of_two(-exponent);
    for_butterflies<F, F::R3>([&](int row, int q) {
      constexpr int kNext = F::R3 / 8;  // k5 is kc / kNext
      const int k = row / F::R2 + F::R1 * (row % F::R2);
#pragma unroll
      for (int i = 0; i < F::R3 / 2; ++i) {
        const int kc = i / kNext * 2 * kNext + i % kNext;
        const float2 a = x[q][kc], b = x[q][kc + kNext];
        staged.two(F::position(k) + F::position(F::R1 * F::R2 * kc)) =
            uint2{pack(a.x * scale, b.x * scale), pack(a.y * scale, b.y * scale)};
      }
    });
    __syncthreads();
#pragma unroll 4
    for (int i = threadIdx.x; i < F::N / 4; i += F::kThreads) spectrum[whole_index<F>(part, i)] = staged[i];
    if (part + 1 < F::kParts) __syncthreads();
  }
  if constexpr (F::kParts > 1) {
    // One scale for all: the first part, where it was brought up further, is brought down again by who wrote it.
    if (first_exponent != exponent && first_exponent != kNoExponent) {
      const u32 down = half_power_of_two(first_exponent - exponent) * 0x10001u;
      for (int i = threadIdx.x; i < F::N / 4; i += F::kThreads) {
        uint4& v = spectrum[whole_index<F>(0, i)];
        v = make_uint4(mul(v.x, down), mul(v.y, down), mul(v.z, down), mul(v.w, down));
      }
    }
  }
  if (threadIdx.x == 0) p.factors[channel] = F::kGain * power_of_two(exponent == kNoExponent ? 0 : exponent);
}

}  // namespace ffc::cuda
