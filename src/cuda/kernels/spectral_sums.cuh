// The sums of a filter's gradient from the spectra of x and g that two passes have left in device memory:
//
//   sums[h][k] = sum_rows G[k] conj(X[k]) 2^(exponents of x and g)
//
// Of a pair Z = X0 + i X1 travels, and G likewise. Where the rows' scales agree G conj(Z) is as good as the sum of the
// two products: the rest is imaginary in the time domain. Where they do not, X0 and X1 are told apart, by
//
//   X0[k] = (Z[k] + conj Z[-k]) / 2,   i X1[k] = (Z[k] - conj Z[-k]) / 2
//
// A thread has four frequencies of a channel, 16 bytes of a spectrum.
#pragma once

#include "cuda/kernels/filter_transform.cuh"

namespace ffc::cuda {

struct SumsParameters {
  const uint4 *x, *g;                    // [channels][rows that travel together][M/4]
  const int *x_exponents, *g_exponents;  // [channels][batch]
  float4* sums;                          // [channels][M/2]
  int batch;
  bool adds;  // to what is there
};

template <int ROW>
struct SpectralSums {
  static constexpr int kThreads = 256, kBlocksPerChannel = kSizes[ROW].points / 4 / kThreads;
};

/// Numbers that are neighbours in a spectrum, of column e of the two.
__device__ __forceinline__ WideTile column_of(uint4 v, int e) {
  return {Half::wide(e ? v.z : v.x), Half::wide(e ? v.w : v.y)};
}

/// conj Z[-k] of the frequencies k of column e of number i of a spectrum.
///
/// Samples 64 n3 + 8 n4 are counted from (-R/2, 0) where the outer transform turns (outer.cuh), from (0, -4) in the
/// inner one. So spectra travel times exp(-2 pi i (32 - 32 R) K / M), K = k1 + 8 k2 of a column. -K is that of another
/// column, but for K = -32, the first, whose mirror image is itself.
template <int ROW>
__device__ __forceinline__ WideTile mirrored(const uint4* spectrum, int i, int e) {
  using F = FilterTransform<ROW>;
  constexpr int M = F::M, R = F::R;
  static_assert(F::O == 64, "a column has k1 and k2");
  const std::uint16_t* halves = reinterpret_cast<const std::uint16_t*>(spectrum);
  const int column = i / (32 * R) * 2 + e, k3 = i / 32 % R, k4 = i % 32 / 4, k5 = i % 4 * 2;
  u32 re = 0, im = 0;
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int k = column / 8 + column % 8 * 8 + 64 * (k3 + R * k4 + 8 * R * (k5 + j));
    const int to = (2 * F::kFirstFrequency - k) & (M - 1);  // 0 is frequency -kFirstFrequency
    const int to_column = to % 8 * 8 + to / 8 % 8, to_k3 = to / 64 % R, to_k4 = to / 64 / R % 8,
              to_k5 = to / 64 / R / 8;
    const int at = ((to_column / 2 * R + to_k3) * 32 + to_k4 * 4 + to_k5 / 2) * 8 + to_column % 2 * 4 + to_k5 % 2;
    re |= static_cast<u32>(halves[at]) << 16 * j;
    im |= static_cast<u32>(halves[at + 2]) << 16 * j;
  }
  const WideTile z{Half::wide(re), negated(Half::wide(im))};
  constexpr int kTurn = -2 * 32 * (32 - 32 * R);
  return column == 0 ? times(z, wide_phases(kTurn, kTurn, M)) : z;
}

template <int ROW, bool PAIRS>
__global__ void __launch_bounds__(SpectralSums<ROW>::kThreads, 4) spectral_sums(const SumsParameters p) {
  using Kernel = SpectralSums<ROW>;
  constexpr int M = kSizes[ROW].points, R = kSizes[ROW].radix, kRows = PAIRS ? 2 : 1;
  let_next_kernel_start();
  const int h = blockIdx.x / Kernel::kBlocksPerChannel;
  const int i = blockIdx.x % Kernel::kBlocksPerChannel * Kernel::kThreads + threadIdx.x;
  const int groups = (p.batch + kRows - 1) / kRows;
  const long long first = static_cast<long long>(h) * groups * (M / 4);
  const int* x_exponents = p.x_exponents + static_cast<long long>(h) * p.batch;
  const int* g_exponents = p.g_exponents + static_cast<long long>(h) * p.batch;
  float4* sums = p.sums + static_cast<long long>(h) * (M / 2) + i / 32 / R * 2 * R * 32 + i / 32 % R * 32 + i % 32;
  wait_for_kernel_before();

  float4 sum[2];
#pragma unroll
  for (int e = 0; e < 2; ++e) sum[e] = p.adds ? sums[e * R * 32] : make_float4(0, 0, 0, 0);
  auto scale_of = [&](int row) {
    const int x = x_exponents[row], g = g_exponents[row];
    if (x == kNotFinite || g == kNotFinite) return __int_as_float(0x7fffffff);
    // What stands in place of a row of zeros is the rounding error of its partner.
    return x == kSilent || g == kSilent ? 0.f : power_of_two(x) * power_of_two(g);
  };
#pragma unroll 4
  for (int group = 0; group < groups; ++group) {
    const long long at = first + static_cast<long long>(group) * (M / 4) + i;
    const uint4 x = p.x[at], g = p.g[at];
    const int row = kRows * group;
    const float scale = scale_of(row);
    if constexpr (PAIRS) {
      const float other = row + 1 < p.batch ? scale_of(row + 1) : scale;
      if (other != scale) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const WideTile z = column_of(x, e), mirror = mirrored<ROW>(p.x + (at - i), i, e);
          accumulate<Half>(sum[e], column_of(g, e), add(z, mirror), 0.5f * scale);
          accumulate<Half>(sum[e], column_of(g, e), sub(z, mirror), 0.5f * other);
        }
        continue;
      }
    }
#pragma unroll
    for (int e = 0; e < 2; ++e) accumulate<Half>(sum[e], column_of(g, e), column_of(x, e), scale);
  }
#pragma unroll
  for (int e = 0; e < 2; ++e) sums[e * R * 32] = sum[e];
}

}  // namespace ffc::cuda
