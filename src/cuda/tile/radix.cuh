// Transforms of 2, 4 and 8 points between registers: the digit is the index of the tile, every lane for itself.
#pragma once

#include "cuda/tile/tile.cuh"

namespace ffc::cuda {

/// z times -i (forward) or i (inverse).
template <bool INVERSE, class T>
__device__ __forceinline__ T quarter_turn(T z) {
  return INVERSE ? T{negated(z.im), z.re} : T{z.im, negated(z.re)};
}

/// a +- sqrt(1/2) b
__device__ __forceinline__ u32 add_half_root(u32 a, u32 b) { return fma(b, 0x39a839a8u, a); }
__device__ __forceinline__ u32 sub_half_root(u32 a, u32 b) { return fma(b, 0xb9a8b9a8u, a); }
__device__ __forceinline__ float2 add_half_root(float2 a, float2 b) { return add(a, mul(b, 0.70710678f)); }
__device__ __forceinline__ float2 sub_half_root(float2 a, float2 b) { return sub(a, mul(b, 0.70710678f)); }

template <class T>
__device__ __forceinline__ void dft2(T& a, T& b) {
  const T s = add(a, b);
  b = sub(a, b), a = s;
}

/// Natural order in and out.
template <bool INVERSE, class T>
__device__ __forceinline__ void dft4(T& a, T& b, T& c, T& d) {
  dft2(a, c);
  dft2(b, d);
  d = quarter_turn<INVERSE>(d);
  dft2(a, b);  // outputs 0, 2
  dft2(c, d);  // outputs 1, 3
  const T second = b;
  b = c, c = second;
}

/// a + w b and a - w b, w = exp(-+ 2 pi i / 8).
template <bool INVERSE, class T>
__device__ __forceinline__ void dft2_eighth(T& a, T& b) {
  const T turned = INVERSE ? T{sub(b.re, b.im), add(b.im, b.re)} : T{add(b.re, b.im), sub(b.im, b.re)};
  b = {sub_half_root(a.re, turned.re), sub_half_root(a.im, turned.im)};
  a = {add_half_root(a.re, turned.re), add_half_root(a.im, turned.im)};
}

/// The odd outputs take x[5] w +- x[7] w^3 = w (x[5] -+ i x[7]), so w waits for the last additions.
template <bool INVERSE, class T>
__device__ __forceinline__ void dft8(T (&x)[8]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) dft2(x[i], x[i + 4]);
  dft4<INVERSE>(x[0], x[1], x[2], x[3]);  // outputs 0, 2, 4, 6
  x[6] = quarter_turn<INVERSE>(x[6]);
  x[7] = quarter_turn<INVERSE>(x[7]);
  dft2(x[4], x[6]);
  dft2(x[5], x[7]);
  x[7] = quarter_turn<INVERSE>(x[7]);
  dft2_eighth<INVERSE>(x[4], x[5]);  // outputs 1, 5
  dft2_eighth<INVERSE>(x[6], x[7]);  // outputs 3, 7
  const T y[8] = {x[0], x[4], x[1], x[6], x[2], x[5], x[3], x[7]};
#pragma unroll
  for (int i = 0; i < 8; ++i) x[i] = y[i];
}

template <class T, int R>
__device__ __forceinline__ void swap_halves(T (&x)[R]) {
#pragma unroll
  for (int i = 0; i < R / 2; ++i) {
    const T low = x[i];
    x[i] = x[i + R / 2], x[i + R / 2] = low;
  }
}

/// X[k] = sum_n x[n] exp(-+ 2 pi i n k / R), unscaled; the spectrum's digit counts from -R/2, the samples' from 0.
template <bool INVERSE, class T, int R>
__device__ __forceinline__ void dft_registers(T (&x)[R]) {
  static_assert(R == 1 || R == 2 || R == 4 || R == 8, "a radix between registers is 1, 2, 4 or 8");
  if constexpr (INVERSE) swap_halves(x);
  if constexpr (R == 2) dft2(x[0], x[1]);
  if constexpr (R == 4) dft4<INVERSE>(x[0], x[1], x[2], x[3]);
  if constexpr (R == 8) dft8<INVERSE>(x);
  if constexpr (!INVERSE) swap_halves(x);
}

}  // namespace ffc::cuda
