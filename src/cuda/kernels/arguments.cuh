// What kernels are given, and the scale of a channel.
#pragma once

#include "cuda/kernels/cursor.cuh"
#include "cuda/kernels/rows.cuh"
#include "cuda/sizes.h"
#include "cuda/tile/stage.cuh"

namespace ffc::cuda {

struct ForwardParameters {
  RowsView u, pregate, postgate, y;  // null data: no such gate
  const u32* spectrum;               // [channels][M] complex halves, in the order of the stages
  const float* factors;              // [channels]
  const float* skip;                 // [channels] or null
  Work work;
  int length;
};

struct BackwardParameters {
  RowsView dy, u, pregate, postgate;  // null gates: none
  RowsView du, dpregate, dpostgate;   // null: not wanted
  const u32* spectrum;
  const float* factors;
  const float* skip;
  u32* sums;           // [splits][channels][M] complex halves, as spectra are stored; null: not wanted. Of kernels that
                       // keep their sums, and one split: it may be the spectrum
  float* sum_factors;  // [splits][channels]: the halves are times it
  uint4* kept;         // of each block, of kernels that go over a row twice
  Work work;
  int length;
};

/// Stages of radix 8 on the tensor cores in one direction.
constexpr int tensor_stages(const Size& size) { return size.outer == 64 ? 4 : size.outer == 8 ? 3 : 2; }

constexpr double power(double x, int n) { return n == 0 ? 1 : x * power(x, n - 1); }

/// Forward and inverse give M (kStage kRounding)^stages times what went in. The power of two of it is undone at the
/// end, by `gain`, which is part of a channel's factor; the rest in the filter's spectrum, stored as H spectrum_gain /
/// factor.
constexpr double gain(const Size& s) { return power(1 / kStage, 2 * tensor_stages(s)) / s.points; }
constexpr double spectrum_gain(const Size& s) { return gain(s) / power(kRounding, 2 * tensor_stages(s)); }

/// The spectrum of the filter with the skip term, which is a tap at lag 0. The stored H is at most 1; where the skip
/// term is larger both are brought down by a power of two, and the results up again.
struct ChannelScale {
  float skip = 0, down = 1, factor = 1;

  ChannelScale() = default;
  __device__ __forceinline__ ChannelScale(const float* factors, const float* skips, int h, float stored_gain)
      : ChannelScale(factors[h], skips, h, stored_gain) {}
  __device__ __forceinline__ ChannelScale(float stored_factor, const float* skips, int h, float stored_gain)
      : factor(stored_factor) {
    if (skips == nullptr) return;
    skip = skips[h] / factor * stored_gain;
    const int e = static_cast<int>(__float_as_uint(skip) >> 23 & 0xff) - 127;
    if (e > 0 && e < 127) down = power_of_two(-e), factor *= power_of_two(e);
    skip *= down;
  }
  template <int R, int COUNT>
  __device__ __forceinline__ void apply(Tile (&h)[COUNT][R]) const {
    if (skip == 0) return;
    const u32 down_twice = pack(down, down), skip_twice = pack(skip, skip);
#pragma unroll
    for (int i = 0; i < COUNT; ++i)
#pragma unroll
      for (int k3 = 0; k3 < R; ++k3)
        h[i][k3] = {fma(h[i][k3].re, down_twice, skip_twice), mul(h[i][k3].im, down_twice)};
  }
};

/// sum += G conj(X) scale, complex, of a tile's two columns: (re, im, re, im).
template <class Type>
__device__ __forceinline__ void accumulate(float4& sum, WideTile g, WideTile x, float scale) {
  const float2 gr = g.re, gi = g.im, xr = x.re, xi = x.im;
  sum.x += scale * (gr.x * xr.x + gi.x * xi.x), sum.y += scale * (gi.x * xr.x - gr.x * xi.x);
  sum.z += scale * (gr.y * xr.y + gi.y * xi.y), sum.w += scale * (gi.y * xr.y - gr.y * xi.y);
}
/// G conj(X)
__device__ __forceinline__ Tile product_of_halves(Tile g, Tile x) { return times_conjugate(g, {x.re, x.im}); }
/// Of halves. Of half-precision rows the product is one too: a spectrum of 8192 points is at most 0.61 sqrt(3 M) = 96
/// (rows.cuh), so it fits, and its rounding is one of a row among many. Rows of bfloat16 near its end are larger.
template <class Type>
__device__ __forceinline__ void accumulate(float4& sum, Tile g, Tile x, float scale) {
  if constexpr (!Type::kIsHalf) {
    const WideTile wide_g{Half::wide(g.re), Half::wide(g.im)}, wide_x{Half::wide(x.re), Half::wide(x.im)};
    accumulate<Type>(sum, wide_g, wide_x, scale);
  } else {
    const Tile product = product_of_halves(g, x);
    const float2 re = Half::wide(product.re), im = Half::wide(product.im);
    sum.x += scale * re.x, sum.y += scale * im.x;
    sum.z += scale * re.y, sum.w += scale * im.y;
  }
}

/// The same of many tiles of a row: its products, halves, times `scale`, a power of two. Where halves hold it the
/// tensor cores add them, times a matrix with the scale on its diagonal: an instruction a tile instead of eight.
template <class Type>
struct SumOfProducts {
  float scale;
  bool in_halves;
  u32 diagonal;

  /// `products_fit`: they are halves.
  __device__ __forceinline__ SumOfProducts(float own_scale, bool products_fit, int lane)
      : scale(own_scale), in_halves(products_fit && scale >= 0x1p-14f && scale <= 0x1p15f) {
    const int above = (lane >> 2) - 2 * (lane & 3);  // the row of the matrix in the lane's low half
    diagonal = (above & ~1) != 0 ? 0 : pack(scale, scale) & (above ? 0xffff0000u : 0xffffu);
  }
  template <int R>
  __device__ __forceinline__ void add(float4 (&a)[R], float4 (&b)[R], const Tile (&g)[2][R],
                                      const Tile (&x)[2][R]) const {
    if (in_halves) {
#pragma unroll
      for (int k3 = 0; k3 < R; ++k3) add(a[k3], g[0][k3], x[0][k3]), add(b[k3], g[1][k3], x[1][k3]);
    } else {
#pragma unroll
      for (int k3 = 0; k3 < R; ++k3)
        accumulate<Type>(a[k3], g[0][k3], x[0][k3], scale), accumulate<Type>(b[k3], g[1][k3], x[1][k3], scale);
    }
  }

 private:
  __device__ __forceinline__ void add(float4& sum, Tile g, Tile x) const {
    const Tile product = product_of_halves(g, x);
    mma_16x8x8_add(sum.x, sum.z, sum.y, sum.w, product.re, product.im, diagonal);
  }
};

}  // namespace ffc::cuda
