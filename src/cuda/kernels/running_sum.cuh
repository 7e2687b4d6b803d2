// The sum of G conj(X) over the rows of a split, in halves in device memory, to which every group of rows (a row, or a
// pair) adds as it passes. With 2^e the scale of a group's product and 2^top that of the sum so far:
//
//   S <- S 2^(top - top') + G conj(X) 2^(e - top' - room),   top' = max(top, e)
//
// `room` leaves a sum of so many products of the largest size within half precision. The rounding of n additions is
// sqrt(n / 2) of one rounding for rows that differ, and for equal ones up to n / 4: a split has kMostInSum groups where
// memory has room for so many splits.
//
// Of a pair Z = X0 + i X1 travels, and W = G0 + i G1. Where the two rows' scales agree W conj(Z) is as good as the sum
// of the two products: the rest is imaginary in the time domain. Where they do not, 2^e W is replaced by
//
//   2^e0 G0 + 2^e1 i G1,   G0[k] = (W[k] + conj W[-k]) / 2,   i G1[k] = (W[k] - conj W[-k]) / 2
#pragma once

#include "cuda/kernels/filter_transform.cuh"
#include "cuda/kernels/staged.cuh"

namespace ffc::cuda {

/// Groups of rows that a sum in halves takes: sixteen equal ones leave an error of 1.5e-3.
inline constexpr int kMostInSum = 16;

/// What a row is times in the transform, as an exponent; or one of the following.
inline constexpr int kSilent = -(1 << 16), kNotFinite = 1 << 16;  // a row of zeros; one that is NaN

__device__ __forceinline__ float float_power_of_two(int e) { return e > -126 ? power_of_two(e) : 0.f; }

/// The exponents of rows as they travel. `energy` is 0 for a row of zeros.
template <int ROWS>
struct RowExponents {
  int of[ROWS];

  RowExponents() = default;
  __device__ __forceinline__ RowExponents(const RowScales<ROWS>& scale, const float (&energy)[ROWS]) {
#pragma unroll
    for (int r = 0; r < ROWS; ++r) of[r] = !scale.finite[r] ? kNotFinite : energy[r] == 0 ? kSilent : scale.exponent[r];
  }
};

/// How a group adds to a sum: S <- S 2^keep + product 2^add.
struct Addition {
  bool first;  // there is no sum yet
  int keep, add;
  bool agree;                // of a pair; else W becomes
  float same, mirror_image;  // same W[k] + mirror_image conj W[-k]
};

/// The scale of a sum, the same in all threads.
struct RunningScale {
  static constexpr int kNone = -(1 << 20);
  int top = kNone, room = 0;
  bool finite = true;

  RunningScale() = default;
  /// A sum of so many groups begins.
  __device__ __forceinline__ explicit RunningScale(int groups) {
    while (1 << room < groups) ++room;
  }

  /// As 16 bytes, and back.
  __device__ __forceinline__ uint4 words() const {
    return make_uint4(static_cast<u32>(top), static_cast<u32>(room), finite, 0);
  }
  __device__ __forceinline__ explicit RunningScale(uint4 words)
      : top(static_cast<int>(words.x)), room(static_cast<int>(words.y)), finite(words.z != 0) {}

  template <int ROWS>
  __device__ __forceinline__ Addition add(const RowExponents<ROWS>& x, const RowExponents<ROWS>& g) {
    bool nothing[ROWS];
    int e[ROWS], excess = 0;
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      if (x.of[r] == kNotFinite || g.of[r] == kNotFinite) finite = false;
      // What stands in place of a row of zeros is the rounding error of its partner, which must not meet a loud row.
      nothing[r] = x.of[r] == kSilent && g.of[r] == kSilent;
      e[r] = x.of[r] == kSilent || g.of[r] == kSilent ? kNone : x.of[r] + g.of[r];
      // Rows of bfloat16 near its end are up to 2^8 above the others.
      excess = max(excess, 8 * ((x.of[r] == kLargestExponent) + (g.of[r] == kLargestExponent)));
    }
    if constexpr (ROWS == 2) e[0] = nothing[0] ? e[1] : e[0], e[1] = nothing[1] ? e[0] : e[1];
    const int loudest = max(e[0], e[ROWS - 1]), before = top;
    top = loudest == kNone ? before : max(before, loudest + excess);
    const float first = float_power_of_two(e[0] - loudest), second = float_power_of_two(e[ROWS - 1] - loudest);
    return {before == kNone,
            before - top,
            loudest == kNone ? kNone : loudest - top - room,
            e[0] == e[ROWS - 1],
            0.5f * (first + second),
            0.5f * (first - second)};
  }
  /// What the sum is times.
  __device__ __forceinline__ float factor() const {
    if (!finite) return __int_as_float(0x7fffffff);
    return top == kNone ? 0.f : power_of_two(top >> 1) * power_of_two(room) * power_of_two(top - (top >> 1));
  }
};

/// W[k] <- same W[k] + mirror_image conj W[-k] of a spectrum in memory, by all threads of the block. Barriers must
/// stand before and after.
///
/// Samples 64 n3 + 8 n4 are counted from (-R/2, 0) where the outer transform turns (outer.cuh), from (0, -4) in the
/// inner one. So spectra travel times exp(-2 pi i (32 - 32 R) K / M), K = k1 + 8 k2 of a column. -K is that of another
/// column, but for K = -32, the first, whose mirror image is itself.
template <int ROW>
__device__ __forceinline__ void mix_with_mirror_image(uint4* spectrum, float same, float mirror_image) {
  using F = FilterTransform<ROW>;
  constexpr int M = F::M, R = F::R;
  static_assert(F::O == 64, "a column has k1 and k2");
  std::uint16_t* halves = reinterpret_cast<std::uint16_t*>(spectrum);
  // The real part of frequency k; the imaginary part is two halves on.
  auto place = [&](int k) {
    const int column = k % 8 * 8 + k / 8 % 8, k3 = k / 64 % R, k4 = k / 64 / R % 8, k5 = k / 64 / R / 8;
    return halves + ((column / 2 * R + k3) * 32 + k4 * 4 + k5 / 2) * 8 + column % 2 * 4 + k5 % 2;
  };
  auto get = [](const std::uint16_t* at) { return float2{Half::wide(at[0]).x, Half::wide(at[2]).x}; };
  auto put = [](std::uint16_t* at, float2 z) {
    const u32 both = pack(z.x, z.y);
    at[0] = static_cast<std::uint16_t>(both), at[2] = static_cast<std::uint16_t>(both >> 16);
  };
  const float2 turn = unit(-2 * 32 * (32 - 32 * R), M);
#pragma unroll 1
  for (int k = threadIdx.x; k < M; k += blockDim.x) {
    const int mirror = (2 * F::kFirstFrequency - k) & (M - 1);  // 0 is frequency -kFirstFrequency
    if (mirror < k) continue;                                   // its thread does both
    const float2 here = get(place(k)), there = get(place(mirror));
    auto mixed = [&](float2 z, float2 image) {
      image.y = -image.y;
      if (k % 64 == 0) image = image * turn;
      return float2{same * z.x + mirror_image * image.x, same * z.y + mirror_image * image.y};
    };
    put(place(k), mixed(here, there));
    if (mirror != k) put(place(mirror), mixed(there, here));
  }
}

/// Columns `x` of number i of a spectrum meet those of `spectrum_of_g` and add to the sum. Of half-precision rows the
/// product is one too: a spectrum of 32768 points is at most 0.61 sqrt(3 M) = 191 (rows.cuh), so it fits, and its
/// rounding is one of a group among many. Rows of bfloat16 near its end are larger.
template <class Type>
__device__ __forceinline__ void add_to_sum(uint4* sums, const uint4* spectrum_of_g, int i, const Tile (&x)[2],
                                           const Addition& addition) {
  const uint4 of_g = spectrum_of_g[i], sum = addition.first ? make_uint4(0, 0, 0, 0) : sums[i];
  Tile g[2], s[2];
  split_columns(of_g, g[0], g[1]), split_columns(sum, s[0], s[1]);
#pragma unroll
  for (int e = 0; e < 2; ++e) {
    if constexpr (Type::kIsHalf) {
      const u32 add = half_power_of_two(addition.add) * 0x10001u, keep = half_power_of_two(addition.keep) * 0x10001u;
      const Tile product = times_conjugate(g[e], {x[e].re, x[e].im});
      s[e] = {fma(product.re, add, mul(s[e].re, keep)), fma(product.im, add, mul(s[e].im, keep))};
    } else {
      const float2 re = Half::wide(s[e].re), im = Half::wide(s[e].im);
      const float keep = float_power_of_two(addition.keep);
      float4 total = make_float4(keep * re.x, keep * im.x, keep * re.y, keep * im.y);
      accumulate<Type>(total, g[e], x[e], float_power_of_two(addition.add));
      s[e] = {pack(total.x, total.z), pack(total.y, total.w)};
    }
  }
  sums[i] = make_uint4(s[0].re, s[0].im, s[1].re, s[1].im);
}

/// The sums of two blocks of a cluster, added by both, each a half (`second`: which), and the factor of the total. The
/// room of each is that for the products of both.
template <int M, int THREADS>
__device__ __forceinline__ void add_sums(uint4* to, float* factor, const uint4* own, RunningScale scale,
                                         const uint4* others, const RunningScale& of_others, bool second) {
  const int top = max(scale.top, of_others.top);
  auto down = [top](int own_top) { return half_power_of_two(own_top == top ? 0 : own_top - top) * 0x10001u; };
  const u32 a = down(scale.top), b = down(of_others.top);
  constexpr int kEach = M / 8 / THREADS, kAtOnce = kEach < 4 ? kEach : 4;
  static_assert(kEach % kAtOnce == 0, "threads share the sums evenly");
#pragma unroll 1
  for (int i = 0; i < kEach; i += kAtOnce) {
    const int from = second * (M / 8) + i * THREADS + threadIdx.x;
    uint4 mine[kAtOnce], other[kAtOnce];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j)
      mine[j] = own[from + j * THREADS], other[j] = load_of_cluster(others + from + j * THREADS);
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      const uint4 x = mine[j], y = other[j];
      to[from + j * THREADS] = make_uint4(fma(x.x, a, mul(y.x, b)), fma(x.y, a, mul(y.y, b)), fma(x.z, a, mul(y.z, b)),
                                          fma(x.w, a, mul(y.w, b)));
    }
  }
  if (threadIdx.x == 0 && !second) {
    scale.top = top, scale.finite &= of_others.finite;
    *factor = scale.factor();
  }
}

}  // namespace ffc::cuda
