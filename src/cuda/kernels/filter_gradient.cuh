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

#include "cuda/kernels/real_taps.cuh"

namespace ffc::cuda {

struct GradientParameters {
  const u32* sums;       // [splits][channels][M] complex halves, as spectra (sums.cuh)
  const float* factors;  // [splits][channels]
  int splits, channels;
  TapsView dk, dk_rev;  // null data: not wanted
  FoldView fold;
  long long filter, filter_reverse;
  float* dskip;
};

template <int ROW, bool PAIRS>
struct FilterGradient {
  static constexpr bool kReal = PAIRS && real_gradient_pays(kSizes[ROW].points);
  using F = FilterTransform<ROW, gradient_parts(kSizes[ROW].points / (1 + kReal)), PAIRS, kReal>;
  static_assert(F::kParts <= 2, "all, or the even and the odd ones");
  static constexpr int kEvenBytes = (F::kParts - 1) * F::N * static_cast<int>(sizeof(float));
  static constexpr int kSharedBytes = F::kPointsBytes + kEvenBytes;
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
  return p.dk.data && !p.fold.from_reverse && p.fold.negative_lo <= p.fold.negative_hi;
}

__device__ __forceinline__ float real_of_product(float2 a, float2 b) { return a.x * b.x - a.y * b.y; }

/// dk[n], and zeros from M on, of a butterfly: EACH neighbours, n = EACH (i + a N / R1) + 0, .., EACH - 1, of which
/// `each(take)` calls take(a, taps). WHOLE: all are wanted, and can be written together.
template <class F, class T, bool WHOLE, int EACH, class Each>
__device__ __forceinline__ void store_taps(const GradientParameters& p, T* dk, int i, Each&& each) {
  constexpr int kStep = EACH * (F::N / F::R1);
  dk += EACH * i;
  const int end = static_cast<int>(min(p.filter, static_cast<long long>(F::M))) - EACH * i;
  const int positive = static_cast<int>(p.fold.positive) - EACH * i;
  each([&](int a, const float (&real)[EACH]) {
    const int n = a * kStep;
    T taps[EACH];
#pragma unroll
    for (int q = 0; q < EACH; ++q) assign(taps[q], WHOLE || n + q < positive ? real[q] : 0.f);
    if constexpr (WHOLE && EACH == 2)
      reinterpret_cast<TwoTaps<T>*>(dk)[n / 2] = {{taps[0], taps[1]}};
    else
#pragma unroll
      for (int q = 0; q < EACH; ++q)
        if (WHOLE || n + q < end) dk[n + q] = taps[q];
  });
  for (long long n = EACH * i + F::M; n < p.filter; n += kStep)
    for (int q = 0; q < EACH; ++q)
      if (n + q < p.filter) assign(dk[n + q - EACH * i], 0.f);
}
template <class F, class T, int EACH, class Each>
__device__ __forceinline__ void store_taps(const GradientParameters& p, T* dk, int i, Each&& each) {
  const bool together = EACH == 1 || reinterpret_cast<std::uintptr_t>(dk) % sizeof(TwoTaps<T>) == 0;
  if (together && p.filter >= F::M && p.fold.positive >= F::M)
    store_taps<F, T, true, EACH>(p, dk, i, each);
  else
    store_taps<F, T, false, EACH>(p, dk, i, each);
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

/// C of a butterfly: x[a], a = 0 .. R1 - 1, times first step^a.
template <class F>
struct TurnedPoints {
  float2 x[F::R1], first, step;

  /// take(a, x[a], what it is times)
  template <class Take>
  __device__ __forceinline__ void operator()(Take&& take) const {
    float2 turn = first;
#pragma unroll
    for (int a = 0; a < F::R1; ++a) take(a, x[a], turn), turn = turn * step;
  }
};

/// The passes for the second and the first digit: body(i, C scale of butterfly i).
template <class F, class Body>
__device__ __forceinline__ void last_passes(float2* points, int part, float scale, Body body) {
  constexpr int P = F::kParts;
  __syncwarp();
  second_pass<true, F>(points, [&](int, int c) { return unit<true>(P * c + part, P * F::R2 * F::R3); });
  __syncthreads();
  for_butterflies<F, F::R1>([&](int i, int) {
    const int n = P * i + part;
    TurnedPoints<F> c;
    load_points(points, F::place(i), F::kPlaceStep, c.x);
    twisted_transform<true>(c.x, unit<true>(n, F::kPoints));
    const float2 first = unit<false>(n * F::kShift, 4 * F::kPoints);
    c.first = {first.x * scale, first.y * scale}, c.step = unit<false>(F::kShift, 4 * F::R1);
    body(i, c);
  });
}

/// The parts one after the other.
template <class F>
  requires(!F::kReal)
__device__ __forceinline__ void write_gradient(const GradientParameters& p, int channel, unsigned char* shared) {
  constexpr int P = F::kParts;
  float2* points = reinterpret_cast<float2*>(shared);
  float* even = reinterpret_cast<float*>(shared + F::kPointsBytes);
  const bool gathers = !F::kPairs && wrapped(p);
  const auto type_of_taps = (p.dk.data ? p.dk : p.dk_rev).type;
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
    last_passes<F>(points, part, F::kGain * F::kSpectrumGain, [&](int i, const TurnedPoints<F>& turned) {
      if (p.dskip && part + i == 0) p.dskip[channel] = real_of_product(turned.x[0], turned.first);
      if (gathers)
        return turned([&](int a, float2 c, float2 turn) { points[F::place(i) + a * F::kPlaceStep] = c * turn; });
      if (part + 1 < P)
        turned([&](int a, float2 c, float2 turn) { even[i + a * (F::N / F::R1)] = real_of_product(c, turn); });
      with_type(type_of_taps, [&](auto type) {
        using T = decltype(type);
        if (p.dk.data && part + 1 == P)
          store_taps<F, T, P>(p, p.dk.row<T>(channel), i, [&](auto&& take) {
            turned([&](int a, float2 c, float2 turn) {
              float taps[P];
              if (P == 2) taps[0] = even[i + a * (F::N / F::R1)];
              taps[P - 1] = real_of_product(c, turn);
              take(a, taps);
            });
          });
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

/// Real taps: dk[2 n] + i dk[2 n + 1] = C[n] (real_taps.cuh).
template <class F>
  requires(F::kReal)
__device__ __forceinline__ void write_gradient(const GradientParameters& p, int channel, unsigned char* shared) {
  float2* points = reinterpret_cast<float2*>(shared);
  const StagedSums<F> staged{reinterpret_cast<u32*>(shared)};
  float2 z[F::kHeld / F::R3][F::R3]{};
  auto add = [&](auto at_once, int split) {
    const long long of_split = static_cast<long long>(split) * p.channels + channel;
    staged.template load<at_once>(p.sums + of_split * F::M);
    __syncthreads();
    for_butterflies<F, F::R3>([&](int row, int q) { staged.add_to(opaque(row), p.factors[of_split], z[q]); });
  };
  if (p.splits > 0) add(std::integral_constant<int, 8>(), 0);
#pragma unroll 1
  for (int split = 1; split < p.splits; ++split) {
    __syncthreads();
    add(std::integral_constant<int, 2>(), split);  // sums are in registers, which leaves few
  }
  __syncthreads();  // all sums have been read: points take their place
  for_butterflies<F, F::R3>([&](int row, int q) {
    twisted_transform<true>(z[q], float2{1, 0});
    store_points(points, F::place(row, 0), 1, z[q]);
  });
  last_passes<F>(points, 0, 0.5f * F::kGain * F::kSpectrumGain, [&](int i, const TurnedPoints<F>& turned) {
    if (p.dskip && i == 0) p.dskip[channel] = real_of_product(turned.x[0], turned.first);
    if (!p.dk.data) return;
    with_type(p.dk.type, [&](auto type) {
      using T = decltype(type);
      store_taps<F, T, 2>(p, p.dk.row<T>(channel), i, [&](auto&& take) {
        turned([&](int a, float2 c, float2 turn) {
          c = c * turn;
          take(a, {c.x, c.y});
        });
      });
    });
  });
}

template <int ROW, bool PAIRS>
__global__ void __launch_bounds__(FilterGradient<ROW, PAIRS>::F::kThreads, FilterGradient<ROW, PAIRS>::F::kBlocks)
    filter_gradient(const GradientParameters p) {
  extern __shared__ __align__(16) unsigned char shared[];
  wait_for_kernel_before();  // the sums
  write_gradient<typename FilterGradient<ROW, PAIRS>::F>(p, blockIdx.x, shared);
}

}  // namespace ffc::cuda
