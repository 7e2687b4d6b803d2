// y = postgate * (conv(pregate * u, k) + skip pregate * u) for rows that need an exchange (512 points and more).
//
//   x = pregate u -> outer forward -> exchange -> inner forward, times H, inner inverse -> exchange -> outer inverse ->
//   y
//
// The spectrum of the channel stays in registers where there is room, the next row is on its way from memory meanwhile.
#pragma once

#include "cuda/kernels/columns.cuh"
#include "cuda/kernels/staged.cuh"
#include "cuda/tile/inner.cuh"

namespace ffc::cuda {

/// Warps that share a row, and blocks that a multiprocessor holds; and how a launch is spread over blocks (launch.h).
struct Share {
  int warps, blocks, splits = 1;
  bool one_item = false;
};
/// Smaller blocks wait less for one another, as far as their registers and shared memory suffice.
constexpr Share blocks_of_forward(const Size& size, bool pairs, bool gated) {
  if (size.points == 1024 && pairs && !gated) return {size.warps, 3};
  if (size.points == 8192 && !(pairs && gated)) return {8, pairs || gated ? 2 : 3};
  if (size.points == 16384 && !pairs && !gated) return {8, 2};
  return {size.warps, size.warps > 8 ? 1 : 2};
}
/// Of two blocks that go on from item to item, both load, and both compute, at the same time; new blocks do not: 2 to
/// 9 % faster from 4096 points on. Blocks that share a channel share its spectrum in the cache, which gated rows of
/// 16384 points and more fill: 4 to 8 %.
constexpr Share forward_share(const Size& size, bool pairs, bool gated) {
  Share share = blocks_of_forward(size, pairs, gated);
  share.one_item = size.outer == 64 && share.blocks > 1;
  if (share.one_item && !pairs) share.splits = 2;
  if (gated && size.points >= 16384) share.splits = 4;
  return share;
}

/// GATED: with a pregate, a postgate, or both.
template <int ROW, bool PAIRS, bool GATED, class Type, class Access>
struct StagedForward {
  static constexpr Share kShare = forward_share(kSizes[ROW], PAIRS, GATED);
  using At = Layout<ROW, kShare.warps, (kSizes[ROW].points < 32768)>;
  using Row = Samples<At, PAIRS, Type, Access>;
  static constexpr int kRows = Row::kRows, R = At::R;

  static constexpr int kTeams = At::W >= 8 ? 1 : 8 / At::W;
  static constexpr int kThreads = kTeams * At::kThreads;
  static constexpr int kBlocks = kShare.blocks;
  // Constants of every column, one copy for the teams of a block: two products a point less, and more to read. It was
  // slower of 4096 points (pairs: 0.33 ms instead of 0.30) and of 1024 in single rows (0.111 instead of 0.104).
  static constexpr bool kColumned = At::O == 8 && (PAIRS || At::M > 1024);
  // Pairs have the larger errors; of bfloat16 they are those of its last bit.
  using InnerTables = Inner<R, R == 8, PAIRS && At::M >= 8192 && Type::kIsHalf>;
  // Of plain right-angle rows a multiprocessor has two or three blocks of 8192 and 16384 points, and each few
  // registers.
  using Outer = OuterTables<At, PAIRS, kFolds<At>, !PAIRS && !GATED && (At::M == 8192 || At::M == 16384)>;
  using ColumnTables = ColumnInner<At, PAIRS>;
  static constexpr int kColumnBytes = kColumned ? ColumnTables::kTableBytes : 0;
  static constexpr int kTableBytes = kColumned ? 0 : InnerTables::kTableBytes + Outer::kTableBytes;
  // Samples and gates of a row are on their way while the one before is computed (longer rows: streamed.cuh).
  static constexpr int kRoom =
      (225 * 1024 / kBlocks - kColumnBytes) / kTeams - 2 * At::kPlane - Row::kScaleBytes - kTableBytes;
  static constexpr int kInputs = GATED ? 2 : 1, kStaged = GATED ? 3 : 1;
  static constexpr int kStagedBytes = kStaged * Row::kBytes;
  static_assert(kRoom >= kStagedBytes, "a row that does not stream");
  // Two exchanges, taken in turn, save the barrier between a row's results and the next row.
  static constexpr int kExchanges = kRoom >= kStagedBytes + 2 * At::kPlane ? 2 : 1;
  // Two sets of inputs: the next ones start while this row's are still read (shorter rows: 5 % slower).
  static constexpr int kSetBytes = kInputs * Row::kBytes;
  static constexpr int kSets =
      At::O == 64 && kExchanges == 2 && kRoom >= kStagedBytes + 2 * At::kPlane + kSetBytes ? 2 : 1;
  static constexpr int kTeamBytes = kExchanges * 2 * At::kPlane + kStagedBytes + (kSets - 1) * kSetBytes + kTableBytes +
                                    (Row::kScaleBytes + 127) / 128 * 128;
  static constexpr int kSharedBytes = kTeams * kTeamBytes + kColumnBytes;
  static constexpr bool kByStage = !GATED && Type::kIsHalf;  // the results' scales
  // The energies of the next row are found while this one is turned back, where registers suffice.
  static constexpr bool kAhead = !GATED && Type::kIsHalf && (PAIRS || At::M != 16384);
  static constexpr float kSpectrumGain = static_cast<float>(spectrum_gain(kSizes[ROW]));

  static constexpr int kColumns = 2 * At::kColumnsPerWarp;
  static constexpr bool kHeld = kColumns * R <= 8;  // the spectrum, in registers
  static constexpr int kAtOnce = kHeld || 2 * R < 8 ? 8 / R < kColumns ? 8 / R : kColumns : 2;  // columns in hand
  static constexpr int kTogether = 2;  // chunks of results in hand
};

template <int ROW, bool PAIRS, bool GATED, class Type, class Access>
__global__ void __launch_bounds__(StagedForward<ROW, PAIRS, GATED, Type, Access>::kThreads,
                                  StagedForward<ROW, PAIRS, GATED, Type, Access>::kBlocks)
    staged_forward(const ForwardParameters p) {
  using Kernel = StagedForward<ROW, PAIRS, GATED, Type, Access>;
  using At = typename Kernel::At;
  using Row = typename Kernel::Row;
  constexpr int kRows = Kernel::kRows, R = Kernel::R, kAtOnce = Kernel::kAtOnce;

  extern __shared__ __align__(128) unsigned char shared[];
  const int team = Kernel::kTeams > 1 ? threadIdx.x / At::kThreads : 0, thread = threadIdx.x % At::kThreads;
  const int warp = thread >> 5, lane = thread & 31;
  unsigned char* const team_memory = shared + team * Kernel::kTeamBytes;
  unsigned char* const tables = team_memory + Kernel::kExchanges * 2 * At::kPlane + Kernel::kStagedBytes +
                                (Kernel::kSets - 1) * Kernel::kSetBytes;
  const u32 first_exchange = shared_address(team_memory);
  const u32 staged = first_exchange + Kernel::kExchanges * 2 * At::kPlane;
  constexpr int kPregate = Row::kBytes, kPostgate = Kernel::kSetBytes;  // past the samples
  const int chunk = opaque(thread);                                     // the first of this thread
  const ExchangePlaces<At> places = kept(ExchangePlaces<At>(first_exchange, thread));
  const Row first_set{kept(SamplePlaces<At>(staged, thread)), reinterpret_cast<Scale*>(tables + Kernel::kTableBytes),
                      p.work.batch, p.length};
  const bool pregated = GATED && p.pregate.data != nullptr, postgated = GATED && p.postgate.data != nullptr;
  auto sync = [&] { team_barrier<At::kThreads>(team); };
  auto fetch = [&](const Cursor& at, const Row& row) {
    if (!at.done()) {
      row.fetch(p.u, at.b, at.h, chunk, 0);
      if (pregated) row.fetch(p.pregate, at.b, at.h, chunk, kPregate);
    }
    copy_async_commit();
  };
  // Each thread multiplies by what it has fetched itself: waiting for its copies is enough.
  auto fetch_postgate = [&](const Cursor& at) {
    if (postgated && !at.done()) first_set.fetch(p.postgate, at.b, at.h, chunk, kPostgate);
    copy_async_commit();
  };

  auto prepare = [&](const Cursor& at, const Row& row) {
    copy_async_wait();
    if (!at.done()) row.prepare(pregated, kPregate, thread);
  };

  Cursor at(p.work, blockIdx.x, gridDim.x, team, Kernel::kTeams, kRows);
  fetch(at, first_set);
  fetch_postgate(at);
  const u32 zero = p.work.batch >> 31;
  const auto inner = [&] {
    if constexpr (Kernel::kColumned)
      return ColumnInner<At, PAIRS>(lane, warp, team == 0, zero, shared + Kernel::kTeams * Kernel::kTeamBytes);
    else
      return typename Kernel::InnerTables(lane, warp, zero, tables);
  }();
  const auto outer = [&] {
    if constexpr (Kernel::kColumned)
      return ColumnOuter<At, PAIRS>(lane, warp, zero);
    else
      return typename Kernel::Outer(lane, warp, zero, tables + Kernel::InnerTables::kTableBytes);
  }();
  if (Kernel::kColumned && Kernel::kTeams > 1) __syncthreads();  // the first team's tables are everyone's
  Tile held[Kernel::kHeld ? Kernel::kColumns : 2][R];
  ChannelScale channel;
  int channel_held = -1, turn = 0, set = 0;  // 0, or the bytes to the second exchange, to the second set
  prepare(at, first_set);
  sync();
  wait_for_kernel_before();  // the spectrum

  while (!at.done()) {
    const int b = at.b, h = at.h;
    const u32* spectrum = p.spectrum + static_cast<long long>(h) * At::M;
    if (h != channel_held) {
      channel = ChannelScale(p.factors, p.skip, h, Kernel::kSpectrumGain);
      channel_held = h;
      if constexpr (Kernel::kHeld) {
        load_spectrum<R>(spectrum, warp * At::kColumnsPerWarp, lane, held);
        channel.apply(held);
      }
    }
    const Row row = first_set.moved(set);
    if (Kernel::kSets == 2) set = Kernel::kStagedBytes - set;
    const Row next_row = first_set.moved(set);
    if constexpr (Kernel::kSets == 2) {
      at.advance();
      fetch(at, next_row);
    }
    const typename Row::Unit unit = row.unit(0);
    bool raw;
    const RowScales<kRows> scale = row.row_scales(lane, raw);
    const ExchangePlaces<At> exchange = places.moved(turn);
    row.template outer<true, false>(outer, inner.dft8, unit, scale, raw, warp, lane, exchange);
    sync();
    if constexpr (Kernel::kSets == 1) {
      at.advance();
      fetch(at, next_row);
    }

#pragma unroll 1  // the instruction cache is small: 2 to 4 % from 8192 points on
    for (int i = 0; i < Kernel::kColumns; i += kAtOnce) {
      const int pair = warp * At::kColumnsPerWarp + i / 2;
      Tile x[kAtOnce][R];
      load_columns<At>(exchange, i / 2, x);
      inner.forward(x, 2 * pair);
      if constexpr (Kernel::kHeld) {
        multiply<R>(x, held);
      } else {
        Tile H[kAtOnce][R];
        load_spectrum<R>(spectrum, pair, lane, H);
        channel.apply(H);
        multiply<R>(x, H);
      }
      inner.inverse(x, 2 * pair);
      store_columns<At>(exchange, i / 2, x);
    }

    auto finish = [&](int r) { return Finish<Type, Kernel::kByStage>(scale.exponent[r], channel.factor, postgated); };
    Stacked last = outer.last;
    if constexpr (Kernel::kByStage) last = scaled(last, finish(0).by_stage(), finish(kRows - 1).by_stage());
    sync();
    typename Row::Energies ahead;
    if constexpr (Kernel::kAhead) {
      copy_async_wait();
      ahead = next_row.energies();  // whatever lies there after the last row
    }
#pragma unroll
    for (int i = 0; i < At::kUnitsPerWarp; ++i) outer_inverse<At, PAIRS>(outer, inner.dft8, last, i, exchange);
    if constexpr (Kernel::kAhead) {
      if (!at.done()) next_row.prepare(ahead, thread);
    } else {
      prepare(at, next_row);
    }
    sync();

#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (b + r >= p.work.batch) break;
      std::uint16_t* y = Access::row(p.y, b + r, h) + 8 * chunk;
#pragma unroll
      for (int j = 0; j < At::kChunksPerThread; j += Kernel::kTogether) {
        u32 words[4 * Kernel::kTogether], factors[4 * Kernel::kTogether]{};
#pragma unroll
        for (int i = 0; i < Kernel::kTogether; ++i) {
          split(shared_at<uint4>(exchange.result(j + i) + r * At::kPlane), words, i);
          if (postgated)
            split(shared_at<uint4>(first_set.places.own_chunk(j + i) + kPostgate + r * At::kPlane), factors, i);
        }
        finish(r).apply(words, factors);
        if (PAIRS && !scale.finite[r])
#pragma unroll
          for (u32& word : words) word = ~0u;  // NaN
#pragma unroll
        for (int i = 0; i < Kernel::kTogether; ++i)
          Access::store(y, 8 * At::kThreads * (j + i), p.length - 8 * chunk,
                        make_uint4(words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]));
      }
    }
    fetch_postgate(at);
    if (Kernel::kExchanges == 2)
      turn = 2 * At::kPlane - turn;
    else
      sync();
  }
}

}  // namespace ffc::cuda
