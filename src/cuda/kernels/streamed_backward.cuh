// Gradients for the longest rows (streamed.cuh), in two passes over each row; with g = postgate dy and x = pregate u:
//
//   G = forward of g,  dx = inverse(G conj(H)),  du = pregate dx,  dpregate = u dx
//   X = forward of x,  c = inverse(X H),         dpostgate = dy c
//
// The second pass finds u and pregate in the cache. X and G wait in device memory until spectral_sums.cuh sums G
// conj(X) over the rows. Only what is wanted is computed, stored and read. Both passes are the same instructions: with
// a copy for each the kernel took twice as long at 32768 points, for its instructions alone.
#pragma once

#include "cuda/kernels/streamed.cuh"

namespace ffc::cuda {

/// Blocks that share a channel share its spectrum in the cache; and small items end together (2 to 10 %).
inline constexpr int kBackwardSplits = 8;

template <int ROW, bool PAIRS, class Type, class Access>
using StreamedBackward = Streamed<ROW, PAIRS, Type, Access, 2, 2>;

/// What is read and written, in the pass of g (0) and that of x (1).
struct BackwardViews {
  const StreamedBackwardParameters& p;

  __device__ __forceinline__ bool sums() const { return p.spectra[0] != nullptr; }
  __device__ __forceinline__ bool results(int pass) const {
    return pass ? p.dpostgate.data != nullptr : p.du.data != nullptr || p.dpregate.data != nullptr;
  }
  __device__ __forceinline__ Passes passes() const {
    return {results(0) || sums() ? 0 : 1, results(1) || sums() ? 1 : 0};
  }

  /// Samples and their gate; the factors of the first result and of the second.
  template <int I>
  __device__ __forceinline__ RowsView get(int pass) const {
    if (I == 0) return pass ? p.u : p.dy;
    if (I == 1) return pass ? p.pregate : p.postgate;
    if (I == 2) return !first(pass).data ? RowsView{} : pass ? p.dy : p.pregate;
    return !second(pass).data ? RowsView{} : p.u;
  }
  __device__ __forceinline__ RowsView first(int pass) const { return pass ? p.dpostgate : p.du; }
  __device__ __forceinline__ RowsView second(int pass) const { return pass ? RowsView{} : p.dpregate; }
};

template <int ROW, bool PAIRS, class Type, class Access>
__global__ void __launch_bounds__(StreamedBackward<ROW, PAIRS, Type, Access>::kThreads, 1)
    streamed_backward(const StreamedBackwardParameters p) {
  using Kernel = StreamedBackward<ROW, PAIRS, Type, Access>;
  constexpr int kRows = Kernel::kRows, R = Kernel::R, kWords = Kernel::kWords;
  let_next_kernel_start();
  extern __shared__ __align__(128) unsigned char shared[];
  const int thread = opaque(static_cast<int>(threadIdx.x));
  const BackwardViews views{p};
  Ring<typename Kernel::At, Access, typename Kernel::Shape, BackwardViews> ring(
      views, Cursor(p.work, blockIdx.x, gridDim.x, 0, 1, kRows), p.length, shared_address(shared) + Kernel::kFixedBytes,
      thread);
  Kernel rows(shared, thread, p.work.batch >> 31, p.work.batch, p.length);
  __syncthreads();
  wait_for_kernel_before();  // the spectrum; sums of earlier rows, which read where spectra go

  for (; !ring.done(); ring.advance()) {
    const int b = ring.item.b, h = ring.item.h, pass = ring.item.pass, which = 1 - pass;
    const u32* spectrum = p.spectrum + static_cast<long long>(h) * Kernel::At::M;
    const ChannelScale channel(p.factors, p.skip, h, Kernel::kSpectrumGain);
    const bool wanted = views.results(pass);
    const u32 conjugated = pass ? 0 : 0x80008000u;

    float energy[kRows]{};
    const bool gated = (pass ? p.pregate : p.postgate).data != nullptr;
    const RowScales<kRows> scale = rows.form(ring, gated, energy);
    if (views.sums() && thread == 0)
#pragma unroll
      for (int r = 0; r < kRows; ++r)
        if (b + r < p.work.batch)
          p.exponents[which][static_cast<long long>(h) * p.work.batch + b + r] = !scale.finite[r] ? kNotFinite
                                                                                 : energy[r] == 0 ? kSilent
                                                                                                  : scale.exponent[r];
    const long long group = static_cast<long long>(h) * ((p.work.batch + kRows - 1) / kRows) + b / kRows;
    rows.columns([&](int pair, Tile(&x)[2][R]) {
      if (views.sums()) store_spectrum<R>(p.spectra[which] + group * (Kernel::At::M / 4), pair, rows.lane, x);
      if (!wanted) return false;
      Tile H[2][R];
      load_spectrum<R>(spectrum, pair, rows.lane, H);
      channel.apply(H);
      conjugate<R>(H, conjugated);
      multiply<R>(x, H);
      return true;
    });
    if (wanted) rows.back(rows.outer.last);
    rows.results(ring, [&](int r, int group, const auto& results, const auto& factors) {
      // Results times a factor, if there is one, to a tensor, if it is wanted.
      auto write = [&](const RowsView& to, bool factored, const u32(&factor)[kWords]) {
        if (to.data == nullptr || b + r >= p.work.batch) return;
        u32 words[kWords];
#pragma unroll
        for (int i = 0; i < kWords; ++i) words[i] = results[i];
        Finish<Type>(scale.exponent[r], channel.factor, factored).apply(words, factor);
        rows.store(to, b + r, h, group, words, scale.finite[r]);
      };
      write(views.first(pass), pass || p.pregate.data, factors[0]);
      write(views.second(pass), true, factors[1]);
    });
  }
}

}  // namespace ffc::cuda
