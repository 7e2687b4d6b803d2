// Real taps of a circle, two of them as one complex number, z[n] = t[2 n] + i t[2 n + 1], in a transform of M / 2
// points (filter_transform.cuh with REAL). With E and O the spectra of the even and the odd taps,
//
//   E[k] = (Z[k] + conj Z[-k]) / 2,   O[k] = (Z[k] - conj Z[-k]) / 2i,
//   H[k] = E[k] + exp(-2 pi i k / M) O[k],   H[k + M / 2] = E[k] - exp(-2 pi i k / M) O[k]
//
// and back, for the real part of the inverse transform of any S:
//
//   A = S[k] + conj S[-k],   B = S[k + M / 2] + conj S[-k - M / 2],
//   Z[k] = (A + B + i exp(2 pi i k / M) (A - B)) / 2
//
// Indices count frequencies from -kFirstFrequency on: -k is at 2 kFirstFrequency - k.
#pragma once

#include "cuda/kernels/filter_transform.cuh"

namespace ffc::cuda {

/// kc of a thread's frequencies number i: of two neighbouring k5 the first. The other is kc + kNextK5<F>.
template <class F>
inline constexpr int kNextK5 = F::R3 * (F::kFrequencies / F::N) / 8;
template <class F>
__device__ __forceinline__ int first_of_two(int i) {
  return i / kNextK5<F> * 2 * kNextK5<F> + i % kNextK5<F>;
}
__device__ __forceinline__ uint2 two_halves(float2 a, float2 b, float scale) {
  return {pack(a.x * scale, b.x * scale), pack(a.y * scale, b.y * scale)};
}

/// The inputs of a butterfly of part q: x[i] = sum_r z[m] exp(-2 pi i r q' / P), m = first + i step + r N, of taps k,
/// of which there are `positive`; q' is the frequency of q. Returns sum |t|. WHOLE: all M, two at an aligned address.
template <class F, class T, bool WHOLE, int COUNT>
__device__ __forceinline__ float load_real_taps(const T* k, long long positive, int part, int first,
                                                float2 (&x)[COUNT]) {
  constexpr int kStep = F::N / COUNT;
  const float2 step = unit<false>(part - F::kFirstFrequency, F::kParts);
  int left = static_cast<int>(positive) - 2 * first;
  k += 2 * first;
  float sum = 0;
  float2 turn{1, 0};
#pragma unroll 1
  for (int r = 0; r < F::kParts; ++r) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      const int n = 2 * i * kStep;
      float2 t;
      if constexpr (WHOLE) {
        const TwoTaps<T> two = reinterpret_cast<const TwoTaps<T>*>(k)[n / 2];
        t = {to_float(two.of[0]), to_float(two.of[1])};
      } else {
        t = {n < left ? to_float(k[n]) : 0.f, n + 1 < left ? to_float(k[n + 1]) : 0.f};
      }
      sum += fabsf(t.x) + fabsf(t.y);
      x[i] = r == 0 ? t : multiply_add(turn, t, x[i]);
    }
    k += 2 * F::N, left -= 2 * F::N, turn = turn * step;
  }
  return sum;
}

/// Where -k stands, for the frequencies k = frequency(row) + kColumn kc of a row: in the row `row` with `kc - kc of k`
/// in place of kc, modulo COUNT of them.
template <class F, int COUNT>
struct MirrorImage {
  int row, kc;

  /// `last`: 2 kFirstFrequency, in steps of a part.
  __device__ __forceinline__ MirrorImage(int last, int row_of_k) {
    constexpr int kColumn = F::R1 * F::R2;
    const int k = (last - F::frequency(row_of_k)) & (COUNT * kColumn - 1);
    row = k % F::R1 * F::R2 + k % kColumn / F::R1, kc = k / kColumn;
  }
  __device__ __forceinline__ int kc_of(int kc_of_k) const { return (kc - kc_of_k) & (COUNT - 1); }
};

/// exp(-+ 2 pi i (k + kColumn kc) / M), `first` that of k.
template <bool INVERSE, class F>
__device__ __forceinline__ float2 turned_by(float2 first, int kc) {
  const float2 turn = first * root_of_32<INVERSE>(kc % (F::R3 / 2) * 16 / F::R3);
  return kc < F::R3 / 2 ? turn : INVERSE ? float2{-turn.y, turn.x} : float2{turn.y, -turn.x};
}

/// Of a row of the points Z, all of which are in shared memory: two k5 each of 2 H scale, those of frequency k first,
/// then those of k + M / 2.
template <class F>
__device__ __forceinline__ void real_spectrum(const float2* points, int part, int row, float scale,
                                              uint2 (&halves)[F::R3]) {
  const MirrorImage<F, F::R3> image(2 * (F::kFirstFrequency - part) / F::kParts, row);
  const float2 first = unit<false>(F::kParts * F::frequency(row) + part - F::kFirstFrequency, F::M);
  auto both = [&](int kc, float2(&h)[2]) {
    const float2 z = points[F::place(row, kc)], other = points[F::place(image.row, image.kc_of(kc))];
    const float2 even{z.x + other.x, z.y - other.y}, odd{z.y + other.y, other.x - z.x};
    h[0] = multiply_add(turned_by<false, F>(first, kc), odd, even);
    h[1] = {fmaf(2.f, even.x, -h[0].x), fmaf(2.f, even.y, -h[0].y)};
  };
#pragma unroll
  for (int i = 0; i < F::R3 / 2; ++i) {
    const int kc = first_of_two<F>(i);
    float2 a[2], b[2];
    both(kc, a), both(kc + kNextK5<F>, b);
#pragma unroll
    for (int e = 0; e < 2; ++e) halves[2 * i + e] = two_halves(a[e], b[e], scale);
  }
}

/// Sums in shared memory, a word a frequency: row by row, kc from 0 to 2 R3 - 1.
template <class F>
struct StagedSums {
  u32* words;

  __device__ __forceinline__ u32& at(int row, int kc) const { return words[row * (2 * F::R3 + 1) + kc]; }
  /// All of a channel, by all threads.
  template <int AT_ONCE>
  __device__ __forceinline__ void load(const u32* sums) const {
    constexpr int kColumns = F::O > 1 ? 2 : 1, kColumn = F::R1 * F::R2;
    constexpr int kFirst = F::O > 1 ? 8 : 1, kSecond = F::O > 8 ? 8 : 1;
#pragma unroll AT_ONCE
    for (int i = threadIdx.x; i < F::M / 2 / kColumns; i += F::kThreads) {
      const ColumnWords<kColumns> words = reinterpret_cast<const ColumnWords<kColumns>*>(sums)[i];
      const int k3 = i / 32 % F::R, column = i / 32 / F::R * kColumns;
      const int first =
          column / kSecond + column % kSecond * kFirst + k3 * F::O + i / 4 % 8 * (F::M / 64) + i % 4 * (F::M / 4);
#pragma unroll
      for (int e = 0; e < kColumns; ++e)
#pragma unroll
        for (int next = 0; next < 2; ++next) {
          const uint2 w = words.of[e];
          const int k = first + e * F::kColumnStep, k_of_column = k % kColumn;
          at(k_of_column % F::R1 * F::R2 + k_of_column / F::R1, k / kColumn + next * (F::R3 / 4)) =
              next ? pack_high(w.x, w.y) : pack_low(w.x, w.y);
        }
    }
  }
  /// z += factor 2 Z of a row.
  __device__ __forceinline__ void add_to(int row, float factor, float2 (&z)[F::R3]) const {
    const MirrorImage<F, 2 * F::R3> image(2 * F::kFirstFrequency, row);
    const float2 first = unit<true>(F::frequency(row) - F::kFirstFrequency, F::M);
#pragma unroll
    for (int kc = 0; kc < F::R3; ++kc) {
      auto real_part = [&](int kc) {
        const float2 s = Half::wide(at(row, kc)), other = Half::wide(at(image.row, image.kc_of(kc)));
        return float2{s.x + other.x, s.y - other.y};
      };
      const float2 a = real_part(kc), b = real_part(kc + F::R3);
      const float2 odd = turned_by<true, F>(first, kc) * sub(a, b);
      z[kc] = {fmaf(factor, a.x + b.x - odd.y, z[kc].x), fmaf(factor, a.y + b.y + odd.x, z[kc].y)};
    }
  }
};

}  // namespace ffc::cuda
