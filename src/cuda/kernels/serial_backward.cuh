// Gradients for rows of which shared memory holds one exchange, but not two; as in
// staged_backward.cuh, with x = pregate u, g = postgate dy, one after the other:
//
//   x -> exchange -> X, which waits
//   g -> exchange -> G,   sums += G conj(X)   (X H in place of X, in registers)
//   dx = inverse(G conj(H)) -> exchange -> du = pregate dx, dpregate = u dx
//   c = inverse(X H)        -> exchange -> dpostgate = dy c
//
// X waits in registers, the sums in shared memory. Samples come straight from device memory; what is needed next is
// asked into the second-level cache a step ahead.
#pragma once

#include "cuda/kernels/staged.cuh"
#include "cuda/kernels/stored_outer.cuh"
#include "cuda/tile/inner.cuh"

namespace ffc::cuda {

template <int ROW, bool PAIRS, class Type, class Access>
struct SerialBackward {
  using At = Layout<ROW>;
  using Row = Samples<At, PAIRS, Type, Access>;
  using InnerTables = Inner<At::R, true, PAIRS>;
  using Outer = OuterTables<At, PAIRS, true>;
  static constexpr int kRows = Row::kRows, R = At::R;
  static constexpr int kThreads = At::kThreads, kBlocks = 1;

  using Stored = StoredOuter<Outer, false>;
  static constexpr int kTableBytes = InnerTables::kTableBytes + Outer::kTableBytes + Stored::kBytes;
  static constexpr int kSumsBytes = 8 * At::M;
  static_assert(kTableBytes % 128 == 0, "the exchange begins at a multiple of 128");
  static constexpr int kScaleBytes = (Row::kScaleBytes + 15) / 16 * 16;
  static constexpr int kSharedBytes = kTableBytes + 2 * At::kPlane + kSumsBytes + kScaleBytes;
  static_assert(kSharedBytes <= 227 * 1024, "a block's shared memory");
  static constexpr float kSpectrumGain = static_cast<float>(spectrum_gain(kSizes[ROW]));
  static constexpr int kPairs = At::kColumnsPerWarp;  // of columns, a warp's
  static constexpr int kAhead = 2;  // factors of results on their way, in 16 bytes a thread; more would spill
};

template <int ROW, bool PAIRS, class Type, class Access>
__global__ void __launch_bounds__(SerialBackward<ROW, PAIRS, Type, Access>::kThreads,
                                  SerialBackward<ROW, PAIRS, Type, Access>::kBlocks)
    serial_backward(const BackwardParameters p) {
  using Kernel = SerialBackward<ROW, PAIRS, Type, Access>;
  using At = typename Kernel::At;
  using Row = typename Kernel::Row;
  constexpr int kRows = Kernel::kRows, R = Kernel::R, kPairs = Kernel::kPairs;
  let_next_kernel_start();

  extern __shared__ __align__(128) unsigned char shared[];
  int thread = threadIdx.x, warp = thread >> 5, lane = thread & 31;
  // A new step: addresses are computed anew, which costs less than the registers to keep them.
  auto step = [&] { thread = opaque(thread) & (At::kThreads - 1), warp = thread >> 5, lane = thread & 31; };
  unsigned char* exchange = shared + Kernel::kTableBytes;
  float4* const sums = reinterpret_cast<float4*>(exchange + 2 * At::kPlane);
  Scale* scales = reinterpret_cast<Scale*>(exchange + 2 * At::kPlane + Kernel::kSumsBytes);
  const u32 memory = shared_address(exchange);
  auto rows = [&]() -> Row { return {SamplePlaces<At>(memory, thread), scales, p.work.batch, p.length}; };
  auto places = [&] { return ExchangePlaces<At>(memory, thread); };
  const bool pregated = p.pregate.data != nullptr, postgated = p.postgate.data != nullptr;
  const bool want_dx = p.du.data || p.dpregate.data, want_c = p.dpostgate.data != nullptr,
             want_sums = p.sums != nullptr;
  const float nan = __int_as_float(0x7fffffff);
  auto sync = [] { __syncthreads(); };

  const u32 zero = p.work.batch >> 31;
  const typename Kernel::InnerTables inner(lane, warp, zero, shared);
  unsigned char* outer_tables = shared + Kernel::InnerTables::kTableBytes;
  typename Kernel::Outer outer(lane, warp, zero, outer_tables);
  const typename Kernel::Stored stored(outer_tables + Kernel::Outer::kTableBytes, warp);
  stored.set(outer, lane);
  auto tile_of = [&](int pair, int e, int k3) { return (((warp * kPairs + pair) * 2 + e) * R + k3) * 32 + lane; };

  auto prefetch = [&](const RowsView& view, int b, int h) { rows().prefetch(view, b, h, thread); };
  // The outer transform of rows u gate: a barrier before it, one within, and one after. Rows that stay out of `mask`,
  // and in pairs those that are not finite, travel as zeros.
  auto outer_forward_of = [&](const RowsView& u, const RowsView& gate, bool gated, int b, int h, int mask,
                              RowScales<kRows>& scale) {
    sync();  // the exchange is free
    step();
    rows().template prepare<false>(u, gate, gated, 0, b, h, thread);
    sync();
    step();
    bool raw;
    scale = rows().row_scales(lane, raw);
    if constexpr (PAIRS) {
      bool cleared = false;
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        if (scale.finite[r] && (mask >> r & 1)) continue;
        cleared = true;
        for (int group = 0; group < At::kChunksPerThread / Row::kTogether; ++group) rows().put(r, group, {});
      }
      if (cleared) sync();
    }
    rows().template outer<false>(outer, inner.dft8, rows().unit(0), scale, raw, warp, lane, places());
    sync();
    step();
  };
  auto outer_inverse_of_all = [&] {
    sync();
    step();
    stored.get_inverse(outer, lane);
#pragma unroll
    for (int i = 0; i < At::kUnitsPerWarp; ++i) outer_inverse<At, PAIRS>(outer, inner.dft8, outer.last, i, places());
    sync();
    step();
  };

  wait_for_kernel_before();  // the spectrum
  const long long items = static_cast<long long>(p.work.channels) * p.work.splits;
  for (long long item = blockIdx.x; item < items; item += gridDim.x) {
    const int h = static_cast<int>(item / p.work.splits), split = static_cast<int>(item % p.work.splits);
    const u32* spectrum = p.spectrum + static_cast<long long>(h) * At::M;
    const ChannelScale channel(p.factors, p.skip, h, Kernel::kSpectrumGain);
    float4* const item_sums = p.sums + (static_cast<long long>(split) * p.work.channels + h) * (At::M / 2);
    if (want_sums)
#pragma unroll
      for (int i = 0; i < 2 * kPairs * R; ++i) sums[tile_of(0, 0, i)] = make_float4(0, 0, 0, 0);

    for (int b = split * kRows; b < p.work.batch; b += p.work.splits * kRows) {
      // The sums of a pair have one scale, so its rows go together only if theirs agree.
      for (int mask = 3;;) {
        RowScales<kRows> of_x, of_g;
        outer_forward_of(p.u, p.pregate, pregated, b, h, mask, of_x);
        prefetch(p.dy, b, h), prefetch(p.postgate, b, h);
        Tile x[kPairs][2][R];
        auto place_of = [&](int i, int k3) { return ((warp * kPairs + i) * R + k3) * 32 + lane; };
#pragma unroll
        for (int i = 0; i < kPairs; ++i) {
          load_columns<At>(places(), i, x[i]);
          inner.forward(x[i]);
        }
        // H of two columns and k3, still without the skip term.
        auto load_filter = [&](int i, int k3, Tile(&H)[2][1]) {
          split_columns(reinterpret_cast<const uint4*>(spectrum)[place_of(i, k3)], H[0][0], H[1][0]);
        };
        outer_forward_of(p.dy, p.postgate, postgated, b, h, mask, of_g);
        if (PAIRS && mask == 3 && of_x.exponent[0] + of_g.exponent[0] != of_x.exponent[1] + of_g.exponent[1]) {
          mask = 1;
          continue;
        }
        float product = product_scale(of_x, of_g, PAIRS && mask == 2);
#pragma unroll
        for (int r = 0; r < kRows; ++r)
          if ((mask >> r & 1) && !(of_x.finite[r] && of_g.finite[r])) product = nan;

#pragma unroll
        for (int i = 0; i < kPairs; ++i) {
          Tile g[2][R];
          load_columns<At>(places(), i, g);
          inner.forward(g);
#pragma unroll
          for (int k3 = 0; k3 < R; ++k3) {
            Tile H[2][1];
            load_filter(i, k3, H);
            channel.apply(H);
#pragma unroll
            for (int e = 0; e < 2; ++e) {
              Tile& X = x[i][e][k3];
              if (want_sums) accumulate<Type>(sums[tile_of(i, e, k3)], g[e][k3], X, product);
              X = times(X, {H[e][0].re, H[e][0].im});
              g[e][k3] = times_conjugate(g[e][k3], {H[e][0].re, H[e][0].im});
            }
          }
          if (want_dx) {
            inner.inverse(g);
            store_columns<At>(places(), i, g);
          }
        }

        // The results of rows in the exchange, times their channel's factor and `first_factor` (where there is one) or
        // `second_factor`, to one or two tensors. The factors of a row are on their way at once.
        auto write = [&](const RowScales<kRows>& scale, const RowsView& first, const RowsView& first_factor,
                         const RowsView& second, const RowsView& second_factor) {
          constexpr int kAhead = Kernel::kAhead;
          auto load = [&](const RowsView& view, int r, int from, uint4(&v)[kAhead]) {
#pragma unroll
            for (int j = 0; j < kAhead; ++j)
              v[j] = Access::load(Access::row(view, b + r, h) + 8 * thread, 8 * At::kThreads * (from + j),
                                  p.length - 8 * thread);
          };
          auto store = [&](const Finish<Type>& finish, const RowsView& to, int r, int j, uint4 v, uint4 f) {
            u32 words[4] = {v.x, v.y, v.z, v.w};
            const u32 factors[4] = {f.x, f.y, f.z, f.w};
            finish.apply(words, factors);
            Access::store(Access::row(to, b + r, h) + 8 * thread, 8 * At::kThreads * j, p.length - 8 * thread,
                          make_uint4(words[0], words[1], words[2], words[3]));
          };
#pragma unroll
          for (int r = 0; r < kRows; ++r) {
            if (b + r >= p.work.batch || !(mask >> r & 1)) continue;
            const float channel_factor = scale.finite[r] || !PAIRS ? channel.factor : nan;
            auto to_tensor = [&](const RowsView& to, const RowsView& factor) {
              if (to.data == nullptr) return;
              const bool gated = factor.data != nullptr;
              const Finish<Type> finish(scale.exponent[r], channel_factor, gated);
#pragma unroll
              for (int from = 0; from < At::kChunksPerThread; from += kAhead) {
                uint4 f[kAhead];
                if (gated) load(factor, r, from, f);
#pragma unroll
                for (int j = 0; j < kAhead; ++j) {
                  const uint4 v = shared_at<uint4>(places().result(from + j) + r * At::kPlane);
                  store(finish, to, r, from + j, v, f[j]);
                }
              }
            };
            to_tensor(first, first_factor);
            to_tensor(second, second_factor);
          }
        };
        if (want_dx) {
          outer_inverse_of_all();
          write(of_g, p.du, p.pregate, p.dpregate, p.u);
          if (want_c) sync();
        }
        const int next = b + p.work.splits * kRows;
        if (next < p.work.batch) prefetch(p.u, next, h), prefetch(p.pregate, next, h);
        if (want_c) {
          if (!want_dx) sync();
#pragma unroll
          for (int i = 0; i < kPairs; ++i) {
            inner.inverse(x[i]);
            store_columns<At>(places(), i, x[i]);
          }
          outer_inverse_of_all();
          write(of_x, p.dpostgate, p.dy, {}, {});
        }
        if (mask != 1) break;
        mask = 2;
      }
    }
    if (want_sums)
#pragma unroll
      for (int i = 0; i < 2 * kPairs * R; ++i) item_sums[tile_of(0, 0, i)] = sums[tile_of(0, 0, i)];
  }
}

}  // namespace ffc::cuda
