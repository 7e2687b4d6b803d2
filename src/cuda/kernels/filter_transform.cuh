// Transforms of filters, in fp32: a block owns a channel, and a thread computes whole butterflies of 8 to 32 points in
// registers. N = R1 R2 R3 points, one pass over shared memory for each:
//
//   n = a N/R1 + b R3 + c,   k = ka + R1 kb + R1 R2 kc,   phase n (k - s) / N
//   forward   a -> ka with w = exp(2 pi i s / R1), b -> kb with exp(-2 pi i (ka - s) / (R1 R2)),
//             c -> kc with exp(-2 pi i (ka + R1 kb - s) / N)
//   inverse   kc -> c with w = 1, kb -> b with exp(2 pi i c / (R2 R3)), ka -> a with exp(2 pi i n / N),
//             and exp(-2 pi i n s / N) at the end
//
// where "with w" is the twisted transform below: the twiddles cost nothing beyond its butterflies. Between the passes a
// value stands at row R2 a + b, column c, each digit in place. The engine has frequency k at position(k), the digits
// of its own stages; the top six bits of k are its last two digits for every size.
//
// Of long filters a block makes a part q of P, N = M / P points: of a spectrum the frequencies k = P k' + q, with
// k' - (s - q) / P in place of k - s above; of a gradient the taps n = P n' + q, with n / P in place of n.
//
// Real taps of circles (REAL) go two as one complex number, t[2n] + i t[2n + 1], through a transform of M / 2 points.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "cuda/kernels/arguments.cuh"

namespace ffc::cuda {

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(__half x) { return __half2float(x); }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ void assign(float& to, float x) { to = x; }
__device__ __forceinline__ void assign(__half& to, float x) { to = __float2half_rn(x); }
__device__ __forceinline__ void assign(__nv_bfloat16& to, float x) { to = __float2bfloat16_rn(x); }

/// Taps of any floating type.
struct TapsView {
  void* data = nullptr;
  long long stride = 0;  // elements from channel to channel
  int type = 0;          // as DType: 0 fp16, 1 bf16, 2 fp32; the plan takes no other

  template <class T>
  __device__ __forceinline__ T* row(int channel) const {
    return static_cast<T*>(data) + channel * stride;
  }
};

/// body(T{}) with the type of the taps: one branch, outside the loops.
template <class Body>
__device__ __forceinline__ void with_type(int type, Body body) {
  switch (type) {
    case 0: body(__half{}); break;
    case 1: body(__nv_bfloat16{}); break;
    default: body(float{});
  }
}

/// Which taps stand at which lags: algo/fold.h, for the device.
struct FoldView {
  long long positive, negative_lo, negative_hi, base, sign;
  bool from_reverse;
};

__device__ __forceinline__ float2 operator*(float2 a, float2 b) {
  return {a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x};
}
/// sum + f x
__device__ __forceinline__ float2 multiply_add(float2 f, float2 x, float2 sum) {
  return {fmaf(-f.y, x.y, fmaf(f.x, x.x, sum.x)), fmaf(f.y, x.x, fmaf(f.x, x.y, sum.y))};
}

/// exp(-+ 2 pi i numerator / denominator) as in tile.cuh. Its powers up to 31 serve as twiddles, far better than halves
/// need.
template <bool INVERSE>
__device__ __forceinline__ float2 unit(int numerator, int denominator) {
  const float2 u = unit(numerator, denominator);
  return {u.x, INVERSE ? -u.y : u.y};
}
/// exp(-+ 2 pi i i / 32) for 0 <= i <= 8: no instructions where i is known.
template <bool INVERSE>
__device__ __forceinline__ float2 root_of_32(int i) {
  return {cosine_of_32(i), INVERSE ? cosine_of_32(8 - i) : -cosine_of_32(8 - i)};
}

/// y[k] = sum_d x[d] w^d exp(-+ 2 pi i d k / R), in natural order. With E and O the same of the even and odd points for
/// w^2, y[k] = E[k] + f O[k] and y[k + R/2] = E[k] - f O[k], f = w exp(-+ 2 pi i k / R): six instructions for the two.
template <bool INVERSE, int R>
__device__ __forceinline__ void twisted_transform(float2 (&x)[R], float2 w) {
  if constexpr (R > 1) {
    float2 even[R / 2], odd[R / 2];
#pragma unroll
    for (int i = 0; i < R / 2; ++i) even[i] = x[2 * i], odd[i] = x[2 * i + 1];
    twisted_transform<INVERSE>(even, w * w), twisted_transform<INVERSE>(odd, w * w);
#pragma unroll
    for (int k = 0; k < R / 2; ++k) {
      const int within = R < 4 ? k : k % (R / 4);
      float2 f = within == 0 ? w : w * root_of_32<INVERSE>(within * 32 / R);
      if (k != within) f = INVERSE ? float2{-f.y, f.x} : float2{f.y, -f.x};
      x[k] = multiply_add(f, odd[k], even[k]);
      x[k + R / 2] = {fmaf(2.f, even[k].x, -x[k].x), fmaf(2.f, even[k].y, -x[k].y)};
    }
  }
}

/// Two neighbouring taps.
template <class T>
struct __align__(2 * sizeof(T)) TwoTaps {
  T of[2];
};

/// Two neighbouring k5 of one column or of two: words of real parts, and of imaginary parts.
template <int COLUMNS>
struct __align__(8 * COLUMNS) ColumnWords {
  uint2 of[COLUMNS];
};

constexpr int larger(int a, int b) { return a > b ? a : b; }

/// Parts of a spectrum, each for a block of its own, and of a gradient, one after the other in a block. A
/// multiprocessor holds two blocks of 8192 points, of which one computes while the other loads or stores, but one of
/// 16384. On the other hand every part reads all taps or sums of the channel, if not the first from the second-level
/// cache; and where taps of some parts are written together, those of all but the last wait in shared memory. So a
/// spectrum's parts have 8192 points, which is 5 to 8 % faster, and a gradient of 32768 has two; of 16384 it is 7 %
/// faster whole, with the sums of four splits 33 %.
constexpr int spectrum_parts(int points) { return points > 8192 ? points / 8192 : 1; }
constexpr int gradient_parts(int points) { return points > 16384 ? 2 : 1; }

/// From which sizes on real taps go two as one complex number. That halves the transform, but is a pass more: one H200
/// (768 channels) gains a tenth of a spectrum of 1024 points and a fifth of one of 32768, of a gradient a fifth of 8192
/// points and a third of 32768; below these it takes longer.
constexpr bool real_spectrum_pays(int points) { return points >= 1024; }
constexpr bool real_gradient_pays(int points) { return points >= 8192; }

/// PAIRS: of a circle, s = 0; else s = 1/4, and lags below 0 stand as -i t[n - M].
template <int ROW, int PARTS = 1, bool PAIRS = false, bool REAL = false>
struct FilterTransform {
  static constexpr int M = kSizes[ROW].points, O = kSizes[ROW].outer, R = kSizes[ROW].radix;
  static constexpr int kParts = PARTS;
  static constexpr bool kPairs = PAIRS, kReal = REAL;
  static_assert(!REAL || PAIRS, "real taps of circles");
  static constexpr int kPoints = REAL ? M / 2 : M;  // of the transform
  static constexpr int N = kPoints / kParts;
  static constexpr int kFrequencies = M / kParts;  // of a part
  static constexpr int R1 = N >= 8192 ? 32 : N >= 4096 || N == 256 || N == 128 ? 16 : 8;
  static constexpr int R3 = N <= 128 || N == 512 ? 8 : 16;
  static constexpr int R2 = N / R1 / R3;
  static constexpr int kHeld = larger(R1, larger(R2, R3));  // points of a thread
  static constexpr int kThreads = larger(32, N / kHeld);
  // 64 registers a thread for 16 points (80 where their spectrum is taken apart), 128 for 32.
  static constexpr int kBlocks = (kHeld == 32 ? 512 : REAL ? 768 : 1024) / kThreads;
  static constexpr float kGain = static_cast<float>(gain(kSizes[ROW]));
  static constexpr float kSpectrumGain = static_cast<float>(spectrum_gain(kSizes[ROW]) / gain(kSizes[ROW]));
  /// A warp makes short transforms alone, in a block of its own or of others too.
  static constexpr bool kOneWarp = kThreads == 32;
  __device__ static __forceinline__ int thread() { return kOneWarp ? threadIdx.x % 32 : threadIdx.x; }
  __device__ static __forceinline__ void synchronize() {
    if constexpr (kOneWarp)
      __syncwarp();
    else
      __syncthreads();
  }
  static constexpr int kPointsBytes = (N + N / R3) * static_cast<int>(sizeof(float2));

  /// The engine's digits k2, k4 and k5 count from -4, k3 from -R/2: position 0 holds frequency -kFirstFrequency, and
  /// position(k) frequency k - s with this in s, four times which is the shift.
  static constexpr int kFirstFrequency = M / 2 + M / 16 + O * (R / 2) + (O > 8 ? 32 : 0);
  static constexpr int kShift = 4 * kFirstFrequency + (PAIRS ? 0 : 1);

  /// Where a value stands in shared memory: a word of padding after every row, against bank conflicts.
  __device__ static __forceinline__ int place(int row, int column) { return row * (R3 + 1) + column; }
  __device__ static __forceinline__ int place(int n) { return n + n / R3; }
  static constexpr int kPlaceStep = N / R1 / R3 * (R3 + 1);  // of a

  /// ka + R1 kb of a row.
  __device__ static __forceinline__ int frequency(int row) { return row / R2 + R1 * (row % R2); }
  /// Position of frequency k' among those of its part.
  __device__ static __forceinline__ int position(int k) {
    constexpr int kFirst = O > 1 ? 8 / kParts : 1, kSecond = O > 8 ? 8 : 1;
    const int k1 = k % kFirst, k2 = k / kFirst % kSecond, k3 = k / (kFirst * kSecond) % R;
    const int k4 = k / (kFrequencies / 64) % 8, k5 = k / (kFrequencies / 8);
    return (((k1 * kSecond + k2) * R + k3) * 8 + k4) * 8 + k5;
  }
  /// Of a frequency k of all parts with even column and even k5: how many such pairs of k5 stand before its own in a
  /// spectrum, where those of two neighbouring columns stand side by side. Every bit of k makes a bit of its own.
  __device__ static __forceinline__ int pairs_before(int k) {
    constexpr int kFirst = O > 1 ? 8 : 1, kSecond = O > 8 ? 8 : 1;
    const int k1 = k % kFirst, k2 = k / kFirst % kSecond, k3 = k / O % R, k4 = k / (M / 64) % 8, k5 = k / (M / 8);
    return (((k1 * kSecond + k2) / 2 * R + k3) * 8 + k4) * 4 + k5 / 2;
  }
  /// The rows whose frequencies have even columns, neighbours in kb one after another; the row of the column beside it.
  static constexpr int kColumnStep = O > 8 ? 8 : 1;  // of ka
  static constexpr int kToOddColumn = kColumnStep * R2;
  __device__ static __forceinline__ int row_of_even_column(int i) {
    return i / kToOddColumn * 2 * kToOddColumn + i % kToOddColumn;
  }
  /// Position among those of all parts, in units of COUNT positions.
  template <int COUNT = 1>
  __device__ static __forceinline__ int whole(int part, int i) {
    constexpr int kRun = M / 8 / COUNT;  // frequencies of the same k1, and k1 = kParts k1' + part
    return kParts == 1 ? i : (i / kRun * kParts + part) * kRun + i % kRun;
  }
};

/// body(i, q): butterfly i is number q of this thread, of those of `radix` points. A warp's butterflies are neighbours.
template <class F, int RADIX, class Body>
__device__ __forceinline__ void for_butterflies(Body body) {
  constexpr int kCount = F::N / RADIX, kEach = (kCount + F::kThreads - 1) / F::kThreads;
#pragma unroll
  for (int q = 0; q < kEach; ++q) {
    const int i = (F::thread() / 32 * kEach + q) * 32 + F::thread() % 32;
    if (kCount % F::kThreads == 0 || i < kCount) body(i, q);
  }
}

/// Butterfly of COUNT points at data[first + i step].
template <int COUNT>
__device__ __forceinline__ void load_points(const float2* data, int first, int step, float2 (&x)[COUNT]) {
#pragma unroll
  for (int i = 0; i < COUNT; ++i) x[i] = data[first + i * step];
}
template <int COUNT>
__device__ __forceinline__ void store_points(float2* data, int first, int step, const float2 (&x)[COUNT]) {
#pragma unroll
  for (int i = 0; i < COUNT; ++i) data[first + i * step] = x[i];
}

/// The second digit, in place; w(ka, c) is its twist. A warp has the whole of some ka here and in the pass for the
/// third digit: between the two nobody waits for other warps.
template <bool INVERSE, class F, class Twist>
__device__ __forceinline__ void second_pass(float2* points, Twist twist) {
  static_assert(F::R2 == 1 || 32 * F::kHeld % (F::R2 * F::R3) == 0, "a warp has the whole of some ka");
  if constexpr (F::R2 > 1) {
    for_butterflies<F, F::R2>([&](int i, int) {
      const int ka = i / F::R3, c = i % F::R3;
      float2 x[F::R2];
      load_points(points, F::place(ka * F::R2, c), F::R3 + 1, x);
      twisted_transform<INVERSE>(x, twist(ka, c));
      store_points(points, F::place(ka * F::R2, c), F::R3 + 1, x);
    });
  }
}

}  // namespace ffc::cuda
