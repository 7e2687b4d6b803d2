// The gradients of filter and skip term: C = inverse(sum of the splits), then the fold's adjoint,
// dk[j] = Re C[j], lags below 0 from -Im C[M + lag], dskip = Re C[0].
//
// Of 32768 points the frequencies k = 2 k' + part of a part give c[part] of N = M / 2 points, and with s the shift
//
//   d[part][n] = exp(2 pi i n (part - s) / M) c[part][n],   C[n] = d[0] + d[1],   C[n + N] = exp(-pi i s) (d[0] - d[1])
//
// d[0] waits, and where lags below 0 are wanted C lies, in place of the channel's sums, which have been read.
#pragma once

#include "cuda/kernels/filter_transform.cuh"

namespace ffc::cuda {

struct GradientParameters {
  float2* sums;  // [splits][channels][M]
  int splits, channels;
  TapsView dk, dk_rev;  // null data: not wanted
  FoldView fold;
  long long filter, filter_reverse;
  int pairs;
  float* dskip;
};

/// A part of the sums of all splits, by the warp that transforms them: four lanes load a row, 16 bytes at a time.
template <class F>
__device__ __forceinline__ void load_sums(const GradientParameters& p, int channel, int part, float2* points) {
  constexpr int kNext = F::R3 / 8;  // k5 is kc / kNext: two neighbours are 16 bytes
  constexpr int kRows = F::N / F::R3 < 32 * F::kHeld / F::R3 ? F::N / F::R3 : 32 * F::kHeld / F::R3;  // of a warp
  constexpr int kSteps = kRows / 8;
  const int row = threadIdx.x / 32 * kRows + threadIdx.x % 32 / 4, pair = threadIdx.x % 4;
  const int at = F::whole(part, F::position(F::frequency(row)) + 2 * pair);
#pragma unroll 1
  for (int split = 0; split < p.splits; ++split) {
    const float2* sums = p.sums + (static_cast<long long>(split) * p.channels + channel) * F::M + at;
    float4 two[kSteps][kNext];
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
#pragma unroll
      for (int i = 0; i < kNext; ++i)
        two[step][i] = *reinterpret_cast<const float4*>(
            sums + F::whole(0, F::position(F::frequency(8 * step) + i * F::R1 * F::R2)));
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
#pragma unroll
      for (int i = 0; i < kNext; ++i) {
        float2 *to = points + F::place(row + 8 * step, 2 * kNext * pair + i), a{}, b{};
        if (split > 0) a = to[0], b = to[kNext];
        to[0] = {a.x + two[step][i].x, a.y + two[step][i].y};
        to[kNext] = {b.x + two[step][i].z, b.y + two[step][i].w};
      }
  }
  if (p.splits == 0)  // a batch of no rows
#pragma unroll 1
    for (int i = threadIdx.x % 32; i < kRows * (F::R3 + 1); i += 32)
      points[F::place(threadIdx.x / 32 * kRows, 0) + i] = {0, 0};
  __syncwarp();
}

/// Whether lags below 0 add to dk.
__device__ __forceinline__ bool wrapped(const GradientParameters& p) {
  return !p.pairs && !p.fold.from_reverse && p.fold.sign != 0;
}

/// dk[n] = Re C[n], n = first + i step, and zeros from M on: all there is to do where no tap stands below lag 0. Of two
/// parts c has Re C[n] and Re C[n + N].
template <class F, class T, int COUNT>
__device__ __forceinline__ void store_gradient(const GradientParameters& p, int channel, int first,
                                               const float2 (&c)[COUNT]) {
  constexpr int kStep = F::N / COUNT;
  T* dk = p.dk.row<T>(channel) + first;
  const long long end = p.filter - first;
  const int positive = static_cast<int>(p.fold.positive) - first;
#pragma unroll
  for (int i = 0; i < COUNT; ++i)
    if (i * kStep < end) assign(dk[i * kStep], i * kStep < positive ? c[i].x : 0.f);
  if constexpr (F::kParts > 1)
#pragma unroll
    for (int i = 0; i < COUNT; ++i)
      if (i * kStep + F::N < end) assign(dk[i * kStep + F::N], i * kStep + F::N < positive ? c[i].y : 0.f);
  for (long long i = F::M; i < end; i += kStep) assign(dk[i], 0.f);
}

/// dk and dk_rev from C, which lies where `place` says.
template <class F, class T, class Place>
__device__ __forceinline__ void store_gradients(const GradientParameters& p, int channel, const float2* points,
                                                Place place) {
  const int sign = static_cast<int>(p.fold.sign);
  // The imaginary part at lag, if a tap stands there.
  auto below_zero = [&](long long lag) {
    return !p.pairs && lag >= p.fold.negative_lo && lag <= p.fold.negative_hi
               ? -points[place(static_cast<int>(lag + F::M))].y
               : 0.f;
  };
  if (p.dk.data) {
    T* dk = p.dk.row<T>(channel);
    const int positive = static_cast<int>(p.fold.positive);
#pragma unroll 4
    for (long long j = threadIdx.x; j < p.filter; j += F::kThreads) {
      float d = j < positive ? points[place(static_cast<int>(j))].x : 0.f;
      if (wrapped(p)) d += below_zero((j - p.fold.base) * sign);
      assign(dk[j], d);
    }
  }
  if (p.dk_rev.data) {
    T* dk_rev = p.dk_rev.row<T>(channel);
#pragma unroll 4
    for (long long j = threadIdx.x; j < p.filter_reverse; j += F::kThreads) {
      const long long lag = (j - p.fold.base) * sign;
      // Lag 0 of the reversed taps coincides with tap 0 of the others.
      assign(dk_rev[j], lag == 0 ? points[0].x : below_zero(lag));
    }
  }
}

template <int ROW>
__global__ void __launch_bounds__(FilterTransform<ROW>::kThreads, FilterTransform<ROW>::kBlocks)
    filter_gradient(const GradientParameters p) {
  using F = FilterTransform<ROW>;
  static_assert(F::kParts <= 2, "halves of a transform");
  extern __shared__ __align__(16) unsigned char shared[];
  float2* points = reinterpret_cast<float2*>(shared);
  const int channel = blockIdx.x, shift = F::shift(p.pairs);
  float2* own = p.sums + static_cast<long long>(channel) * F::M;
  const bool direct = p.dk.data && !p.dk_rev.data && !wrapped(p);

  const int zero = p.pairs >> 31;  // which the compiler must not know: it would make addresses of all parts ahead
  wait_for_kernel_before();        // the sums
#pragma unroll 1
  for (int part = 0; part < F::kParts; ++part) {
    load_sums<F>(p, channel, part, points);
    for_butterflies<F, F::R3>([&](int row, int) {
      float2 x[F::R3];
      load_points(points, F::place(row, 0), 1, x);
      twisted_transform<true>(x, {1, 0});
      store_points(points, F::place(row, 0), 1, x);
    });
    __syncwarp();
    second_pass<true, F>(points, [](int, int c) { return unit<true>(c, F::R2 * F::R3); });
    __syncthreads();
    for_butterflies<F, F::R1>([&](int thread, int) {
      const int n = thread + (part & zero);
      constexpr int kStep = F::N / F::R1, kPlaceStep = kStep / F::R3 * (F::R3 + 1);
      float2 x[F::R1];
      load_points(points, F::place(n), kPlaceStep, x);
      twisted_transform<true>(x, unit<true>(n, F::N));
      const float scale = F::kGain * F::kSpectrumGain;
      float2 turn = unit<false>(n * (shift - 4 * part), 4 * F::M);
      turn = {turn.x * scale, turn.y * scale};
      const float2 step = unit<false>(shift - 4 * part, 4 * F::kParts * F::R1);
#pragma unroll
      for (int a = 0; a < F::R1; ++a) x[a] = x[a] * turn, turn = turn * step;
      if constexpr (F::kParts > 1) {
        float2 *low = own + F::whole(0, n), *high = own + F::whole(1, n);
        if (part == 0) {
#pragma unroll
          for (int a = 0; a < F::R1; ++a) low[F::whole(0, a * kStep)] = x[a];
          return;
        }
        const float2 half = unit<false>(shift, 4 * F::kParts);
        auto combine = [&](auto&& take) {
#pragma unroll
          for (int a = 0; a < F::R1; ++a) {
            const float2 d = low[F::whole(0, a * kStep)];
            take(a, float2{d.x + x[a].x, d.y + x[a].y}, float2{d.x - x[a].x, d.y - x[a].y} * half);
          }
        };
        if (direct)
          combine([&](int a, float2 c, float2 other) { x[a] = {c.x, other.x}; });
        else
          combine([&](int a, float2 c, float2 other) {
            low[F::whole(0, a * kStep)] = c, high[F::whole(0, a * kStep)] = other;
            if (a == 0) x[a] = c;
          });
      }
      if (p.dskip && n == 0) p.dskip[channel] = x[0].x;
      if (direct)
        with_type(p.dk.type, [&](auto type) { store_gradient<F, decltype(type)>(p, channel, n, x); });
      else if constexpr (F::kParts == 1)
        store_points(points, F::place(n), kPlaceStep, x);
    });
    if (part + 1 < F::kParts) __syncthreads();
  }
  if (direct) return;
  __syncthreads();
  with_type((p.dk.data ? p.dk : p.dk_rev).type, [&](auto type) {
    if constexpr (F::kParts > 1)
      store_gradients<F, decltype(type)>(p, channel, own, [](int n) { return F::whole(n / F::N, n % F::N); });
    else
      store_gradients<F, decltype(type)>(p, channel, points, [](int n) { return F::place(n); });
  });
}

}  // namespace ffc::cuda
