// Radix-8 stages on the tensor cores. The complex 8 x 8 matrix F = C + i S of a stage, stacked to the real 16 x 16
// matrix [C -S; S C], times a tile's (re, im) is one instruction, and its result is a tile again: nothing is converted,
// shuffled or stored between two stages.
#pragma once

#include "cuda/tile/tile.cuh"

namespace ffc::cuda {

/// Entries of every stage: 1/4 for scale, and a factor with which 1 and sqrt(1/2) both round well in half precision
/// (errors of 5e-5 become 1e-7). Spectra of filters are divided by it, once a stage.
inline constexpr float kRounding = 0.9619140625f;
inline constexpr float kStage = 0.25f;

/// A stage's matrix, real part C and imaginary part S. Lane 4g + t holds entries (row g, columns 2t, 2t + 1), as the
/// stacked matrix of the stage, [C -S; S C], or of its conjugate, [C S; -S C]. The tensor core wants the four in
/// neighbouring registers; halves of the quads serve where the matrix stands on the right.
struct Stacked {
  u32 c, s, n, d;  // (C, S, -S, C), or conjugate (C, -S, S, C)
};

/// A copy that is a register of its own to the compiler, which would otherwise share C and move it before every
/// product. `zero` is 0, and the compiler must not know.
__device__ __forceinline__ u32 own(u32 value, u32 zero) { return value ^ zero; }

__device__ __forceinline__ Stacked stacked(Phases p, u32 zero) { return {p.c, p.s, negated(p.s), own(p.c, zero)}; }
__device__ __forceinline__ Stacked stacked_conjugate(Phases p, u32 zero) {
  return {own(p.c, zero << 1), own(negated(p.s), zero), own(p.s, zero), own(p.c, zero << 2)};
}

/// The matrix times diag(a, b): what it makes of real parts is times a, of imaginary parts times b. Powers of two.
__device__ __forceinline__ Stacked scaled(const Stacked& f, u32 a, u32 b) {
  return {mul(f.c, a), mul(f.s, a), mul(f.n, b), mul(f.d, b)};
}

/// Digits of eight, of samples and of frequencies, count from -4: it keeps the angles between stages small, and with
/// them the rounding of the smaller product in (c + i s) z. The first digit of the outer transform's frequencies counts
/// from 0: there it was worse for one row, and no better for pairs. A transform from sample -a and frequency -b on is
/// that from 0 on with its spectrum turned by exp(2 pi i a k / M), which the inverse takes back, and shifted by b
/// (filter_transform.cuh).
inline constexpr int kMiddle = 4;

/// exp(-2 pi i (row - 4) (column - 4) / 8): symmetric, so it serves on either side.
struct Dft8 {
  Stacked forward, inverse;

  __device__ __forceinline__ Dft8(int lane, u32 zero) {
    const int g = (lane >> 2) - kMiddle, t = 2 * (lane & 3) - kMiddle;
    const Phases p = phases(g * t, g * (t + 1), 8, kStage * kRounding);
    forward = stacked(p, zero), inverse = stacked_conjugate(p, zero);
  }
};

/// Sums over the columns: the new digit becomes the rows, the old rows become the columns. D[k, r] = sum_c F[k, c] x[r,
/// c].
__device__ __forceinline__ Tile sum_columns(const Stacked& f, Tile x) {
  Tile d;
  mma_16x8x16(d.re, d.im, f.c, f.s, f.n, f.d, x.re, x.im);
  return d;
}
__device__ __forceinline__ WideTile wide_sum_columns(const Stacked& f, Tile x) {
  WideTile d;
  mma_16x8x16_wide(d.re.x, d.re.y, d.im.x, d.im.y, f.c, f.s, f.n, f.d, x.re, x.im);
  return d;
}
/// The same of a real tile.
__device__ __forceinline__ Tile sum_columns_real(const Stacked& f, u32 x) {
  Tile d;
  mma_16x8x8(d.re, d.im, f.c, f.s, x);
  return d;
}

/// Sums over the columns of two tiles; the rows stay and the new digit becomes the columns. D[r, k] = sum_c x[r, c]
/// F[k, c].
__device__ __forceinline__ void sum_columns_in_place(const Dft8& f, Tile& x, Tile& y) {
  Tile a, b;
  mma_16x8x16(a.re, b.re, x.re, y.re, x.im, y.im, f.inverse.c, f.inverse.s);
  mma_16x8x16(a.im, b.im, x.re, y.re, x.im, y.im, f.inverse.n, f.inverse.d);
  x = a, y = b;
}
__device__ __forceinline__ void wide_sum_columns_in_place(const Dft8& f, Tile x, Tile y, WideTile& a, WideTile& b) {
  mma_16x8x16_wide(a.re.x, a.re.y, b.re.x, b.re.y, x.re, y.re, x.im, y.im, f.inverse.c, f.inverse.s);
  mma_16x8x16_wide(a.im.x, a.im.y, b.im.x, b.im.y, x.re, y.re, x.im, y.im, f.inverse.n, f.inverse.d);
}
/// Real and imaginary parts of the same with conj(F): re C + im S, im C - re S. `f` is stacked, not its conjugate.
__device__ __forceinline__ void real_of_conjugate_sum(const Stacked& f, Tile x, Tile y, u32& real_x, u32& real_y) {
  mma_16x8x16(real_x, real_y, x.re, y.re, x.im, y.im, f.c, f.s);
}
__device__ __forceinline__ void imaginary_of_conjugate_sum(const Stacked& f, Tile x, Tile y, u32& im_x, u32& im_y) {
  mma_16x8x16(im_x, im_y, x.re, y.re, x.im, y.im, f.n, f.d);
}

}  // namespace ffc::cuda
