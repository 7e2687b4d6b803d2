// Gradients for the longest rows (streamed.cuh), in two passes over each row; with g = postgate dy and x = pregate u:
//
//   G = forward of g, which waits;     dx = inverse(G conj(H)),  du = pregate dx,  dpregate = u dx
//   X = forward of x,  S += G conj(X),  c = inverse(X H),         dpostgate = dy c
//
// u and pregate come once: where dx becomes du and dpregate, x is formed. The sum S lies in halves in memory of the
// block (running_sum.cuh); when its item ends it goes where the split's sum goes, which may be the place of the
// channel's filter, if no other split needs that. Two blocks, a cluster, may share an item, and so the filter's
// spectrum; in the end they add their sums. Only what is wanted is computed, stored and read. Both passes are the same
// instructions: with a copy for each the kernel took twice as long at 32768 points, for its instructions alone.
#pragma once

#include "cuda/kernels/running_sum.cuh"
#include "cuda/kernels/streamed.cuh"

namespace ffc::cuda {

/// Whether a block has room for the spectrum G in its shared memory; else it lies in device memory.
constexpr bool keeps_in_shared_memory(const Size& size) { return size.points <= 16384; }

inline constexpr int kBlocksTogether = 2;  // that may share an item

/// Device memory of a block: its sum, as spectra are stored; G, where shared memory has no room for it; the sum's
/// scale.
template <int ROW>
struct KeptSum {
  static constexpr int kPoints = kSizes[ROW].points * (keeps_in_shared_memory(kSizes[ROW]) ? 1 : 2);
  static constexpr int kBytes = 4 * kPoints + 128;  // whole lines
  uint4 *sums, *scale;

  __device__ __forceinline__ KeptSum(uint4* kept, int block)
      : sums(kept + static_cast<long long>(block) * (kBytes / 16)), scale(sums + kPoints / 4) {}
};

/// Kernels that spill less if they keep few constants and addresses (streamed.cuh), up to 5 % faster; the others are up
/// to 3 % slower if they do.
constexpr bool is_frugal(const Size& size, bool pairs, bool half) { return size.points > 16384 || (pairs && !half); }

template <int ROW, bool PAIRS, class Type, class Access>
using StreamedBackward = Streamed<ROW, PAIRS, Type, Access, is_frugal(kSizes[ROW], PAIRS, Type::kIsHalf),
                                  keeps_in_shared_memory(kSizes[ROW]) ? 4 * kSizes[ROW].points : 0, 2, 2, 1>;

/// What is read: dy and its gate; u and its gate; dy again. What is written.
struct BackwardViews {
  enum { kDy, kPostgate, kU, kPregate, kDyAgain, kDpregate, kDu, kDpostgate };
  static constexpr int kRead = 5, kWritten = 3;
  const BackwardParameters& p;

  __device__ __forceinline__ bool sums() const { return p.sums != nullptr; }
  __device__ __forceinline__ bool dx() const { return p.du.data != nullptr || p.dpregate.data != nullptr; }
  __device__ __forceinline__ bool c() const { return p.dpostgate.data != nullptr; }
  __device__ __forceinline__ RowsView of(int i) const {
    auto where = [](bool wanted, const RowsView& rows) { return wanted ? rows : RowsView{}; };
    switch (i) {
      case kDy: return where(sums() || dx(), p.dy);
      case kPostgate: return where(sums() || dx(), p.postgate);
      case kU: return where(sums() || c() || p.dpregate.data, p.u);
      case kPregate: return where(sums() || c() || p.du.data, p.pregate);
      case kDyAgain: return where(c(), p.dy);
      case kDpregate: return p.dpregate;
      case kDu: return p.du;
      default: return p.dpostgate;
    }
  }
};

template <int ROW, bool PAIRS, class Type, class Access>
__global__ void __launch_bounds__(StreamedBackward<ROW, PAIRS, Type, Access>::kThreads, 1)
    streamed_backward(const BackwardParameters p) {
  using Kernel = StreamedBackward<ROW, PAIRS, Type, Access>;
  using Shape = typename Kernel::Shape;
  constexpr int kRows = Kernel::kRows, R = Kernel::R, M = Kernel::At::M, kWords = Kernel::kWords;
  let_next_kernel_start();
  extern __shared__ __align__(128) unsigned char shared[];
  const int thread = opaque(static_cast<int>(threadIdx.x));
  const BackwardViews views{p};
  Kernel rows(shared, thread, p.work.batch >> 31, p.work.batch, p.length);
  Ring<typename Kernel::At, Access, Shape, BackwardViews> ring(
      views,
      Cursor(p.work, blockIdx.x / p.work.together, gridDim.x / p.work.together, blockIdx.x % p.work.together,
             p.work.together, kRows),
      p.length, shared_address(shared) + Kernel::kRingOffset, shared_address(shared) + Kernel::kRowTable, thread);
  static_assert(decltype(ring)::kTableBytes <= Kernel::kRowTableBytes, "the tables fit");
  wait_for_kernel_before();  // the spectrum

  // What the second pass and the next row have to know, in shared memory: registers are few.
  struct State {
    RunningScale sum;
    int summed;  // the item of the sum
    RowExponents<kRows> of_g;
  };
  if (thread == 0) ring.template state_before<State>().summed = -1;
  // Where the channel's things lie is looked up anew at every step of 32768 points; of 16384 there are registers to
  // keep it (3 %).
  constexpr bool kAnew = R == 8;
  const KeptSum<ROW> kept(p.kept, blockIdx.x);
  uint4* const own_sums = kept.sums;
  uint4* const spectrum_of_g = [&] {
    if constexpr (keeps_in_shared_memory(kSizes[ROW]))
      return reinterpret_cast<uint4*>(shared + Kernel::kFixedBytes);
    else
      return own_sums + M / 4;
  }();
  auto spectrum = [&] { return p.spectrum + static_cast<long long>(ring.item().channel) * M; };
  auto split = [&] {
    return static_cast<long long>(ring.item().index % p.work.splits) * p.work.channels + ring.item().channel;
  };
  auto channel = [&] { return ChannelScale(p.factors, p.skip, ring.item().channel, Kernel::kSpectrumGain); };
  for (; ring.item().index >= 0; ring.advance()) {
    RowScales<kRows> scale{};
    const u32* const item_spectrum = spectrum();
    const ChannelScale item_channel = channel();
    // A row of a pair that is not finite has travelled as zeros.
    auto finish = [&](int r) {
      const float factor = PAIRS && !scale.finite[r] ? __int_as_float(0x7fffffff) : item_channel.factor;
      return Finish<Type>(scale.exponent[r], factor, true);
    };
#pragma unroll 1
    for (int pass = 0; pass < 2; ++pass) {
      if (pass == 0) {
        if (!views.sums() && !views.dx()) {
          ring.template skip<0>();
          continue;
        }
        rows.form(ring, p.postgate.data != nullptr);
      } else {
        const bool gated = p.pregate.data != nullptr;
        u32 others = 0;
        rows.renew(ring);
        unrolled<kRows>([&](auto r) {
          // Samples of a pair go where its results have been, once all have been read.
          constexpr int kWaiting = PAIRS ? Shape::kGroups : 1;
          u32 x[kWaiting][kWords];
          rows.template results<1, r.value>(ring,
                                            {{BackwardViews::kDpregate, BackwardViews::kU, true},
                                             {BackwardViews::kDu, BackwardViews::kPregate, gated}},
                                            finish(r.value), [&](int group, const auto& factors) {
                                              u32(&formed)[kWords] = x[group % kWaiting];
#pragma unroll
                                              for (int i = 0; i < kWords; ++i) formed[i] = factors[0][i];
                                              others |= rows.form_piece(r.value, group, formed, factors[1], gated);
                                              if (!PAIRS) rows.row.put(r.value, group, formed);
                                            });
          if constexpr (PAIRS) {
            __syncthreads();
#pragma unroll
            for (int group = 0; group < Shape::kGroups; ++group) rows.row.put(r.value, group, x[group]);
          }
        });
        rows.template form_others<BackwardViews::kU>(ring, others, gated);
        __syncthreads();
        if (!views.sums() && !views.c()) break;
      }
      float energy[kRows];
      scale = rows.outer_forward(energy);
      const RowExponents<kRows> exponents(scale, energy);
      if (pass == 0 && rows.thread == 0) ring.template state<State>().of_g = exponents;
      Addition addition{};
      if (pass == 1 && views.sums()) {
        const State& before = ring.template state_before<State>();
        const int groups = (p.work.batch + kRows - 1) / kRows;
        RunningScale sum = before.summed == ring.item().index
                               ? before.sum
                               : RunningScale((groups + p.work.splits - 1) / p.work.splits);
        addition = sum.add(exponents, ring.template state<State>().of_g);
        if (rows.thread == 0) {
          ring.template state<State>().sum = sum, ring.template state<State>().summed = ring.item().index;
          if (p.work.together == 1) p.sum_factors[split()] = sum.factor();
        }
        if (PAIRS && !addition.agree) {
          mix_with_mirror_image<ROW>(spectrum_of_g, addition.same, addition.mirror_image);
          __syncthreads();
        }
      }
      const bool wanted = pass == 0 ? views.dx() : views.c();
      const u32 conjugated = pass == 0 ? 0x80008000u : 0;
      const u32* const own_spectrum = kAnew ? spectrum() : item_spectrum;
      const ChannelScale own_channel = kAnew ? channel() : item_channel;
      rows.columns([&](int pair, Tile(&x)[2][R]) {
        if (views.sums()) {
          if (pass == 0)
            store_spectrum<R>(spectrum_of_g, pair, rows.lane(), x);
          else
#pragma unroll
            for (int k3 = 0; k3 < R; ++k3)
              add_to_sum<Type>(own_sums, spectrum_of_g, (pair * R + k3) * 32 + rows.lane(), {x[0][k3], x[1][k3]},
                               addition);
        }
        if (!wanted) return false;
        Tile H[2][R];
        load_lasting_spectrum<R>(own_spectrum, pair, rows.lane(), H);
        own_channel.apply(H);
        conjugate<R>(H, conjugated);
        multiply<R>(x, H);
        return true;
      });
      if (wanted) rows.outer_back(rows.last_stage());
    }
    if (views.sums() && ring.item_ends()) {
      uint4* const to = reinterpret_cast<uint4*>(p.sums) + split() * (M / 4);
      if (p.work.together == 1) {  // every thread stores what it has added, and only it has read H there
        const int from = rows.warp() * Kernel::At::kColumnsPerWarp * R * 32 + rows.lane();
#pragma unroll
        for (int i = 0; i < Kernel::At::kColumnsPerWarp * R; ++i) to[from + 32 * i] = own_sums[from + 32 * i];
      } else {
        const RunningScale sum = ring.template state<State>().sum;
        if (rows.thread == 0) *kept.scale = sum.words();
        cluster_arrive(), cluster_wait();  // both have done with H, and their sums are there
        const KeptSum<ROW> other(p.kept, blockIdx.x ^ 1);
        add_sums<M, Kernel::kThreads>(to, p.sum_factors + split(), kept.sums, sum, other.sums,
                                      RunningScale(load_of_cluster(other.scale)), blockIdx.x % 2 == 1);
        cluster_arrive(), cluster_wait();  // and have been read
      }
    }
    if (!views.c()) {
      ring.template skip<2>();
      continue;
    }
    rows.renew(ring);
    unrolled<kRows>([&](auto r) {
      rows.template results<2, r.value>(ring, {{BackwardViews::kDpostgate, BackwardViews::kDyAgain, true}},
                                        finish(r.value), [](auto...) {});
    });
    rows.end_of_results();
  }
}

}  // namespace ffc::cuda
