// The gradients of filter and skip term: C = inverse(sum of the splits), then the fold's adjoint,
// dk[j] = Re C[j], lags below 0 from -Im C[M + lag], dskip = Re C[0].
//
// Where a transform of M points is too long for a block, it makes the even and the odd parts of C one after the other,
// each of N = M / 2 points: n = 2 n' + q, and with frequencies k' + N r and s the shift
//
//   F[k'] = S[k'] + (-1)^q S[k' + N],   C[n] = exp(-2 pi i n s / M) sum over k' of exp(2 pi i k' (n / 2) / N) F[k']
//
// F is summed while S is loaded; n / 2 takes the place of n in the transform (filter_transform.cuh). The even part
// waits in shared memory, so that neighbouring taps are written together.
#pragma once

#include "cuda/kernels/filter_transform.cuh"

namespace ffc::cuda {

struct GradientParameters {
  const u32* sums;       // [splits][channels][M] complex halves, as spectra (sums.cuh)
  const float* factors;  // [splits][channels]
  int splits, channels;
  TapsView dk, dk_rev;  // null data: not wanted
  FoldView fold;
  long long filter, filter_reverse;
  int pairs;
  float* dskip;
};

template <int ROW>
struct FilterGradient {
  using F = FilterTransform<ROW, gradient_parts(kSizes[ROW].points)>;
  static_assert(F::kParts <= 2, "all, or the even and the odd ones");
  static constexpr int kEvenBytes = (F::kParts - 1) * F::N * static_cast<int>(sizeof(float));
  static constexpr int kSharedBytes = F::kPointsBytes + kEvenBytes;
};

/// Two neighbouring k5 of one column or of two: words of real parts, and of imaginary parts.
template <int COLUMNS>
struct __align__(8 * COLUMNS) ColumnWords {
  uint2 of[COLUMNS];
};

/// F of a part, of the sums of all splits. Where there are columns, 16 bytes are two k5 of two rows, one of either
/// column; else 8 bytes, of one row. Loads begin before all points of the part before have been read; a barrier.
template <class F>
__device__ __forceinline__ void load_sums(const GradientParameters& p, int channel, int part, float2* points) {
  constexpr int P = F::kParts, kColumns = F::O > 1 ? 2 : 1;
  using Words = ColumnWords<kColumns>;
  constexpr int kLanes = 4 / P;                // share a row; the next ones have the next rows, which are other banks
  constexpr int kRows = F::kThreads / kLanes;  // at a time
  constexpr int kNext = P * F::R3 / 8;         // k5 is kc / kNext
  constexpr int kSteps = F::N / F::R3 / kColumns / kRows * kNext;
  static_assert(kSteps * kRows * kColumns * F::R3 == F::N * kNext, "threads share the rows evenly");
  auto row_of = [](int i) { return kColumns == 2 ? F::row_of_even_column(i) : i; };
  auto row_of_step = [&](int step) { return row_of(step / kNext * kRows); };
  const int row = row_of(threadIdx.x / kLanes), k5 = threadIdx.x % kLanes * 2;

#pragma unroll 1
  for (int split = 0; split < p.splits; ++split) {
    const long long of_split = static_cast<long long>(split) * p.channels + channel;
    const float factor = p.factors[of_split], other = part ? -factor : factor;
    const Words* sums =
        reinterpret_cast<const Words*>(p.sums + of_split * F::M) + F::pairs_before(F::frequency(row)) + k5 / 2;
    Words words[kSteps][P];
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
#pragma unroll
      for (int r = 0; r < P; ++r)
        words[step][r] = sums[F::pairs_before(F::frequency(row_of_step(step))) +
                              F::pairs_before(step % kNext * (F::N / F::R3) + F::N * r)];
    if (split == 0) __syncthreads();
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
#pragma unroll
      for (int e = 0; e < kColumns; ++e) {
        float2* to = points + F::place(row + row_of_step(step) + e * F::kToOddColumn, kNext * k5 + step % kNext);
        float2 sum[2]{};
        if (split > 0) sum[0] = to[0], sum[1] = to[kNext];
#pragma unroll
        for (int r = 0; r < P; ++r) {
          const float2 re = Half::wide(words[step][r].of[e].x), im = Half::wide(words[step][r].of[e].y);
          const float f = r ? other : factor;
          sum[0] = {fmaf(f, re.x, sum[0].x), fmaf(f, im.x, sum[0].y)};
          sum[1] = {fmaf(f, re.y, sum[1].x), fmaf(f, im.y, sum[1].y)};
        }
        to[0] = sum[0], to[kNext] = sum[1];
      }
  }
  if (p.splits == 0) {  // a batch of no rows
    __syncthreads();
    for (int i = threadIdx.x; i < F::N / F::R3 * (F::R3 + 1); i += F::kThreads) points[i] = {0, 0};
  }
}

/// Whether lags below 0 add to dk.
__device__ __forceinline__ bool wrapped(const GradientParameters& p) {
  return p.dk.data && !p.pairs && !p.fold.from_reverse && p.fold.negative_lo <= p.fold.negative_hi;
}

template <class T>
struct __align__(2 * sizeof(T)) TwoTaps {
  T of[2];
};

__device__ __forceinline__ float real_of_product(float2 a, float2 b) { return a.x * b.x - a.y * b.y; }

/// dk[n] = Re C[n], and zeros from M on, of a butterfly of the last part: C = c turn, n = P (i + a N / R1) + part, of
/// which `turned(take)` calls take(a, c, turn). WHOLE: all are wanted, and can be written together.
template <class F, class T, bool WHOLE, class Turned>
__device__ __forceinline__ void store_taps(const GradientParameters& p, T* dk, int i, const float* even,
                                           Turned&& turned) {
  constexpr int P = F::kParts, kStep = F::N / F::R1;
  dk += P * i;
  const int end = static_cast<int>(min(p.filter, static_cast<long long>(F::M))) - P * i;
  const int positive = static_cast<int>(p.fold.positive) - P * i;
  turned([&](int a, float2 c, float2 turn) {
    const int n = P * a * kStep;
    float real[2];
    if (P == 2) real[0] = even[i + a * kStep];
    real[P - 1] = real_of_product(c, turn);
    T taps[2];
#pragma unroll
    for (int q = 0; q < P; ++q) assign(taps[q], WHOLE || n + q < positive ? real[q] : 0.f);
    if (WHOLE && P == 2)
      reinterpret_cast<TwoTaps<T>*>(dk)[n / 2] = {{taps[0], taps[1]}};
    else
#pragma unroll
      for (int q = 0; q < P; ++q)
        if (WHOLE || n + q < end) dk[n + q] = taps[q];
  });
  for (long long n = P * i + F::M; n < p.filter; n += P * kStep)
    for (int q = 0; q < P; ++q)
      if (n + q < p.filter) assign(dk[n + q - P * i], 0.f);
}

/// Of reversed taps, which run backwards, dk_rev at lag n - M = -Im C[n], and zeros beyond lag -M. Lag 0 coincides with
/// tap 0 of the others.
template <class F, class T, class Turned>
__device__ __forceinline__ void store_reversed_taps(const GradientParameters& p, T* dk_rev, int part, int i,
                                                    Turned&& turned) {
  constexpr int M = F::M, kStep = M / F::R1;
  const int first = F::kParts * i + part;
  const long long at = p.fold.base + M - first;  // of n = first
  turned([&](int a, float2 c, float2 turn) {
    const long long j = at - a * kStep;
    const int lag = first + a * kStep - M;
    const bool stands = lag >= p.fold.negative_lo && lag <= p.fold.negative_hi;
    if (j >= 0 && j < p.filter_reverse) assign(dk_rev[j], stands ? -(c.x * turn.y + c.y * turn.x) : 0.f);
    if (a == 0 && first == 0 && p.fold.base == 0) assign(dk_rev[0], real_of_product(c, turn));
  });
  for (long long j = p.fold.base + M + 1 + first; j < p.filter_reverse; j += kStep) assign(dk_rev[j], 0.f);
}

/// What C of a part, in shared memory, adds to taps on a circle: dk[j] = Re C[j] - Im C[M + lag], both of any part. The
/// first part clears; a thread has the same taps of every part. (Taps in halves are rounded in between, if the two are
/// of different parts.)
template <class F, class T>
__device__ __forceinline__ void add_taps(const GradientParameters& p, T* dk, int part, const float2* points) {
#pragma unroll 1
  for (long long j = threadIdx.x; j < p.filter; j += F::kThreads) {
    const long long lag = (j - p.fold.base) * p.fold.sign, n = lag + F::M;
    const bool first = j < p.fold.positive && j % F::kParts == part;
    const bool second = lag >= p.fold.negative_lo && lag <= p.fold.negative_hi && n % F::kParts == part;
    float sum = part > 0 ? to_float(dk[j]) : 0.f;
    if (first) sum += points[F::place(static_cast<int>(j) / F::kParts)].x;
    if (second) sum -= points[F::place(static_cast<int>(n) / F::kParts)].y;
    if (part == 0 || first || second) assign(dk[j], sum);
  }
}

template <int ROW>
__global__ void __launch_bounds__(FilterGradient<ROW>::F::kThreads, FilterGradient<ROW>::F::kBlocks)
    filter_gradient(const GradientParameters p) {
  using F = typename FilterGradient<ROW>::F;
  constexpr int P = F::kParts;
  extern __shared__ __align__(16) unsigned char shared[];
  float2* points = reinterpret_cast<float2*>(shared);
  float* even = reinterpret_cast<float*>(shared + F::kPointsBytes);
  const int channel = blockIdx.x, shift = F::shift(p.pairs);
  const bool gathers = wrapped(p);
  const auto type_of_taps = (p.dk.data ? p.dk : p.dk_rev).type;
  wait_for_kernel_before();  // the sums
#pragma unroll 1
  for (int part = 0; part < P; ++part) {
    load_sums<F>(p, channel, part, points);
    __syncthreads();
    for_butterflies<F, F::R3>([&](int row, int) {
      float2 x[F::R3];
      load_points(points, F::place(row, 0), 1, x);
      twisted_transform<true>(x, P > 1 ? unit<true>(part, P * F::R3) : float2{1, 0});
      store_points(points, F::place(row, 0), 1, x);
    });
    __syncwarp();
    second_pass<true, F>(points, [&](int, int c) { return unit<true>(P * c + part, P * F::R2 * F::R3); });
    __syncthreads();
    for_butterflies<F, F::R1>([&](int i, int) {
      constexpr int kPlaceStep = F::N / F::R1 / F::R3 * (F::R3 + 1);
      const int n = P * i + part;
      float2 x[F::R1];
      load_points(points, F::place(i), kPlaceStep, x);
      twisted_transform<true>(x, unit<true>(n, F::M));
      const float scale = F::kGain * F::kSpectrumGain;
      const float2 first = unit<false>(n * shift, 4 * F::M), step = unit<false>(shift, 4 * F::R1);
      auto turned = [&](auto&& take) {
        float2 turn{first.x * scale, first.y * scale};
#pragma unroll
        for (int a = 0; a < F::R1; ++a) take(a, x[a], turn), turn = turn * step;
      };
      if (p.dskip && n == 0) p.dskip[channel] = real_of_product(x[0], first) * scale;
      if (gathers)
        return turned([&](int a, float2 c, float2 turn) { points[F::place(i) + a * kPlaceStep] = c * turn; });
      if (part + 1 < P)
        turned([&](int a, float2 c, float2 turn) { even[i + a * (F::N / F::R1)] = real_of_product(c, turn); });
      with_type(type_of_taps, [&](auto type) {
        using T = decltype(type);
        if (p.dk.data && part + 1 == P) {
          T* dk = p.dk.row<T>(channel);
          const bool together = P == 1 || reinterpret_cast<std::uintptr_t>(dk) % sizeof(TwoTaps<T>) == 0;
          if (together && p.filter >= F::M && p.fold.positive >= F::M)
            store_taps<F, T, true>(p, dk, i, even, turned);
          else
            store_taps<F, T, false>(p, dk, i, even, turned);
        }
        if (p.dk_rev.data) store_reversed_taps<F>(p, p.dk_rev.row<T>(channel), part, i, turned);
      });
    });
    if (gathers) {
      __syncthreads();
      with_type(type_of_taps, [&](auto type) {
        using T = decltype(type);
        add_taps<F>(p, p.dk.row<T>(channel), part, points);
      });
    }
  }
}

}  // namespace ffc::cuda
