// Transforms of 2, 4 and 8 points between registers: the digit is the index of the tile, every lane for itself.
#pragma once

#include "cuda/tile/tile.cuh"

namespace ffc::cuda {

/// z times -i (forward) or i (inverse).
template <bool INVERSE, class T>
__device__ __forceinline__ T quarter_turn(T z) {
  return INVERSE ? T{negated(z.im), z.re} : T{z.im, negated(z.re)};
}

/// z times exp(-+ 2 pi i / 8).
template <bool INVERSE>
__device__ __forceinline__ Tile eighth_turn(Tile z) {
  const u32 half_root = 0x39a839a8u;  // sqrt(1/2), twice
  const u32 sum = mul(add(z.re, z.im), half_root);
  return INVERSE ? Tile{mul(sub(z.re, z.im), half_root), sum} : Tile{sum, mul(sub(z.im, z.re), half_root)};
}
template <bool INVERSE>
__device__ __forceinline__ WideTile eighth_turn(WideTile z) {
  const float half_root = 0.70710678f;
  const float2 sum = mul(add(z.re, z.im), half_root);
  return INVERSE ? WideTile{mul(sub(z.re, z.im), half_root), sum} : WideTile{sum, mul(sub(z.im, z.re), half_root)};
}

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

template <bool INVERSE, class T>
__device__ __forceinline__ void dft8(T (&x)[8]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) dft2(x[i], x[i + 4]);
  x[5] = eighth_turn<INVERSE>(x[5]);
  x[6] = quarter_turn<INVERSE>(x[6]);
  x[7] = quarter_turn<INVERSE>(eighth_turn<INVERSE>(x[7]));
  dft4<INVERSE>(x[0], x[1], x[2], x[3]);  // outputs 0, 2, 4, 6
  dft4<INVERSE>(x[4], x[5], x[6], x[7]);  // outputs 1, 3, 5, 7
  const T y[8] = {x[0], x[4], x[1], x[5], x[2], x[6], x[3], x[7]};
#pragma unroll
  for (int i = 0; i < 8; ++i) x[i] = y[i];
}

/// X[k] = sum_n x[n] exp(-+ 2 pi i n k / R), unscaled.
template <bool INVERSE, class T, int R>
__device__ __forceinline__ void dft_registers(T (&x)[R]) {
  static_assert(R == 1 || R == 2 || R == 4 || R == 8, "a radix between registers is 1, 2, 4 or 8");
  if constexpr (R == 2) dft2(x[0], x[1]);
  if constexpr (R == 4) dft4<INVERSE>(x[0], x[1], x[2], x[3]);
  if constexpr (R == 8) dft8<INVERSE>(x);
}

}  // namespace ffc::cuda
