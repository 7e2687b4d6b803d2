// Gradients for rows that need an exchange, in one pass over the data; with x = pregate u, g = postgate dy:
//
//   X, G = outer and inner forward of x and g,   sums += G conj(X)
//   dx = inverse(G conj(H)),  du = pregate dx,  dpregate = u dx
//   c = inverse(X H),         dpostgate = dy c
//
// Only what is wanted is computed. The sums of a team stay in registers, those of a block's teams meet in shared
// memory.
//
// u, dy and the gates stay in shared memory as they are until the gradients have been multiplied by them, so each
// crosses device memory once; x and g are formed in the exchanges. A thread's samples are its own from copy to
// gradient: it may ask for the next row's as soon as it has used them.
#pragma once

#include "cuda/kernels/staged.cuh"
#include "cuda/kernels/stored_outer.cuh"
#include "cuda/kernels/sums.cuh"
#include "cuda/tile/inner.cuh"

namespace ffc::cuda {

/// The tensors of a row, in the order in which they get room in shared memory.
enum BackwardTensor { kTensorU, kTensorDy, kTensorPregate, kTensorPostgate, kTensors };

/// How a row's gradients come out.
struct RowOutcome {
  int exponent;
  float factor;  // NaN if the row is not finite
};

template <int ROW, bool PAIRS, class Type, class Access>
struct StagedBackward {
  using At = Layout<ROW>;
  using Row = Samples<At, PAIRS, Type, Access>;
  static constexpr int kRows = Row::kRows, R = At::R;

  static constexpr int kTeams = At::W >= 8 ? 1 : 8 / At::W;
  static constexpr int kThreads = kTeams * At::kThreads;
  static constexpr int kBlocks = At::W > 8 ? 1 : 2;
  using InnerTables = Inner<R, true>;
  using Outer = OuterTables<At, PAIRS, true>;
  using Stored = StoredOuter<Outer, true>;
  static constexpr bool kSharedSpectrum = At::O == 8;
  static constexpr int kSpectrumBytes = kSharedSpectrum ? 4 * At::M : 0;
  static constexpr int kScratchBytes = 128;  // of block_max
  static constexpr int kTableBytes =
      InnerTables::kTableBytes + Outer::kTableBytes + Stored::kBytes + kSpectrumBytes + kScratchBytes;
  static_assert(kTableBytes % 128 == 0, "exchanges begin at a multiple of 128");
  static constexpr int kScaleBytes = (2 * Row::kScaleBytes + 2 * kRows * int{sizeof(RowOutcome)} + 127) / 128 * 128;
  // Samples of this row and the next; of one row at a time; or of some tensors only, the rest from device memory.
  static constexpr int kRoom = (226 * 1024 / kBlocks - kTableBytes) / kTeams - 4 * At::kPlane - kScaleBytes;
  static constexpr int kSets = kRoom >= 2 * kTensors * Row::kBytes ? 2 : 1;
  static constexpr int kKept = kRoom >= kTensors * Row::kBytes ? int{kTensors} : kRoom / Row::kBytes;
  static_assert(kRoom >= 0, "shared memory holds two exchanges");
  static constexpr int kSetBytes = kKept * Row::kBytes;
  static constexpr int kTeamBytes = 4 * At::kPlane + kSets * kSetBytes + kScaleBytes;
  static constexpr int kSharedBytes = kTableBytes + kTeams * kTeamBytes;
  static constexpr float kSpectrumGain = static_cast<float>(spectrum_gain(kSizes[ROW]));

  // x and g are formed where the outer transform turns them into columns; of one row's results none lie in the second
  // plane, so there the next row need not wait for them.
  static constexpr int kFormed = PAIRS ? 0 : At::kPlane;

  static constexpr int kColumns = 2 * At::kColumnsPerWarp;
  static_assert(kColumns * R <= 8, "the sums stay in registers");
  // Of the sums a warp of the block stores so many tiles, of two columns each.
  static constexpr int kTiles = At::kColumns * R, kTilesPerWarp = (kTiles + kThreads / 32 - 1) / (kThreads / 32);
  static constexpr bool kSpectrumHeld = !kSharedSpectrum;
  static constexpr bool kByStage = !PAIRS && At::O == 64;
  static constexpr bool kFull = PAIRS || At::O == 8;  // no register is left for addresses
};

template <int ROW, bool PAIRS, class Type, class Access>
__global__ void __launch_bounds__(StagedBackward<ROW, PAIRS, Type, Access>::kThreads,
                                  StagedBackward<ROW, PAIRS, Type, Access>::kBlocks)
    staged_backward(const BackwardParameters p) {
  using Kernel = StagedBackward<ROW, PAIRS, Type, Access>;
  using At = typename Kernel::At;
  using Row = typename Kernel::Row;
  let_next_kernel_start();
  constexpr int kRows = Kernel::kRows, R = Kernel::R, kGroup = Row::kTogether;

  extern __shared__ __align__(128) unsigned char shared[];
  const int team = Kernel::kTeams > 1 ? threadIdx.x / At::kThreads : 0;
  int thread = threadIdx.x % At::kThreads, warp = thread >> 5, lane = thread & 31;
  // A new step: addresses are computed anew, which costs less than the registers to keep them.
  auto step = [&] {
    if (Kernel::kFull) thread = opaque(thread) & (At::kThreads - 1), warp = thread >> 5, lane = thread & 31;
  };
  unsigned char* const team_memory = shared + Kernel::kTableBytes + team * Kernel::kTeamBytes;
  constexpr int kToG = 2 * At::kPlane;             // from the exchange of x to that of g
  const u32 memory = shared_address(team_memory);  // the exchanges
  u32 samples = memory + 2 * kToG;                 // of this row: [kept tensor]
  u32 samples_next = samples + (Kernel::kSets - 1) * Kernel::kSetBytes;
  // Places are kept where registers suffice.
  const ExchangePlaces<At> kept_exchange = kept(ExchangePlaces<At>(memory, thread));
  const SamplePlaces<At> kept_samples = kept(SamplePlaces<At>(memory + Kernel::kFormed, thread));
  auto places_x = [&] { return Kernel::kFull ? ExchangePlaces<At>(memory, thread) : kept_exchange; };
  auto places_g = [&] { return places_x().moved(kToG); };
  auto samples_of_x = [&] { return Kernel::kFull ? SamplePlaces<At>(memory + Kernel::kFormed, thread) : kept_samples; };
  Scale* scales = reinterpret_cast<Scale*>(team_memory + 4 * At::kPlane + Kernel::kSets * Kernel::kSetBytes);
  RowOutcome* outcomes = reinterpret_cast<RowOutcome*>(scales + 2 * kRows * Row::kGroups);  // x, g
  const bool pregated = p.pregate.data != nullptr, postgated = p.postgate.data != nullptr;
  const bool want_dx = p.du.data || p.dpregate.data, want_c = p.dpostgate.data != nullptr,
             want_sums = p.sums != nullptr;
  const float nan = __int_as_float(0x7fffffff);
  auto sync = [&] { barrier(team + 1, At::kThreads); };

  auto view = [&](BackwardTensor tensor) -> const RowsView& {
    return tensor == kTensorU ? p.u : tensor == kTensorDy ? p.dy : tensor == kTensorPregate ? p.pregate : p.postgate;
  };
  // The tensors whose samples the gradients are multiplied by; the others' are done with once x and g are formed.
  constexpr int kAll = (1 << kTensors) - 1;
  const int late = (p.dpregate.data ? 1 << kTensorU : 0) | (want_c ? 1 << kTensorDy : 0) |
                   (pregated && p.du.data ? 1 << kTensorPregate : 0);
  auto place = [&](u32 set, int tensor, int r, int chunk) {
    return set + tensor * Row::kBytes + r * At::kPlane + 16 * (chunk * At::kThreads + thread);
  };
  auto fetch = [&](const Cursor& at, int tensors, u32 to) {
    if (!at.done())
#pragma unroll
      for (int i = 0; i < Kernel::kKept; ++i) {
        const RowsView& rows = view(static_cast<BackwardTensor>(i));
        if (!(tensors >> i & 1) || rows.data == nullptr) continue;
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          const bool present = at.b + r < p.work.batch;
          const std::uint16_t* row = Access::row(rows, present ? at.b + r : at.b, at.h);
#pragma unroll
          for (int j = 0; j < At::kChunksPerThread; ++j)
            Access::copy(place(to, i, r, j), row, 8 * (j * At::kThreads + thread), present ? p.length : 0);
        }
      }
    copy_async_commit();
  };

  Cursor at(p.work, blockIdx.x, gridDim.x, team, Kernel::kTeams, kRows);
  fetch(at, kAll, samples);
  const u32 zero = p.work.batch >> 31;
  const typename Kernel::InnerTables inner(lane, warp, zero, shared);
  typename Kernel::Outer outer(lane, warp, zero, shared + Kernel::InnerTables::kTableBytes);
  unsigned char* stored_memory = shared + Kernel::InnerTables::kTableBytes + Kernel::Outer::kTableBytes;
  const typename Kernel::Stored stored(stored_memory, warp);
  uint4* const shared_spectrum = reinterpret_cast<uint4*>(stored_memory + Kernel::Stored::kBytes);
  u32* const scratch = reinterpret_cast<u32*>(shared + Kernel::kTableBytes - Kernel::kScratchBytes);
  stored.set(outer, lane);
  __syncthreads();
  Tile held[Kernel::kSpectrumHeld ? Kernel::kColumns : 1][R];
  float4 sums[Kernel::kColumns][R];

  wait_for_kernel_before();  // the spectrum
  const long long items = static_cast<long long>(p.work.channels) * p.work.splits;
  for (long long item = blockIdx.x; item < items; item += gridDim.x) {
    const int h = static_cast<int>(item / p.work.splits);
    const u32* spectrum = p.spectrum + static_cast<long long>(h) * At::M;
    const ChannelScale channel(p.factors, p.skip, h, Kernel::kSpectrumGain);
    if constexpr (Kernel::kSpectrumHeld) {
      load_spectrum<R>(spectrum, warp * At::kColumnsPerWarp, lane, held);
      channel.apply(held);
    }
    if constexpr (Kernel::kSharedSpectrum) {
      __syncthreads();  // all teams have done with the one before
      if (team == 0)
#pragma unroll
        for (int i = 0; i < At::kColumnsPerWarp; ++i) {
          Tile H[2][R];
          load_spectrum<R>(spectrum, warp * At::kColumnsPerWarp + i, lane, H);
          channel.apply(H);
#pragma unroll
          for (int k3 = 0; k3 < R; ++k3)
            shared_spectrum[((warp * At::kColumnsPerWarp + i) * R + k3) * 32 + lane] =
                make_uint4(H[0][k3].re, H[0][k3].im, H[1][k3].re, H[1][k3].im);
        }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < Kernel::kColumns; ++i)
#pragma unroll
      for (int k3 = 0; k3 < R; ++k3) sums[i][k3] = make_float4(0, 0, 0, 0);

    while (!at.done() && at.item == item) {
      const int b = at.b;
      // Words of chunks [kGroup * group, ..) of this thread of row r.
      auto read = [&](BackwardTensor tensor, int r, int group, u32(&words)[4 * kGroup]) {
#pragma unroll
        for (int j = 0; j < kGroup; ++j) {
          const int chunk = group * kGroup + j;
          uint4 v = make_uint4(0, 0, 0, 0);
          if (tensor < Kernel::kKept)
            v = shared_at<uint4>(place(samples, tensor, r, chunk));
          else if (b + r < p.work.batch)
            v = Access::load(Access::row(view(tensor), b + r, h), 8 * (chunk * At::kThreads + thread), p.length);
          words[4 * j] = v.x, words[4 * j + 1] = v.y, words[4 * j + 2] = v.z, words[4 * j + 3] = v.w;
        }
      };
      auto rows_x = [&]() -> Row { return {samples_of_x(), scales, p.work.batch, p.length}; };
      auto rows_g = [&]() -> Row {
        return {samples_of_x().moved(kToG), scales + kRows * Row::kGroups, p.work.batch, p.length};
      };
      auto form = [&](BackwardTensor tensor, BackwardTensor gate, bool gated, const Row& rows) {
#pragma unroll
        for (int r = 0; r < kRows; ++r)
#pragma unroll
          for (int group = 0; group < At::kChunksPerThread / kGroup; ++group) {
            u32 x[4 * kGroup], f[4 * kGroup];
            read(tensor, r, group, x);
            if (gated) read(gate, r, group, f);
            const Scale scale = to_halves<Type, PAIRS>(x, f, gated);
            rows.put(r, group, x);
            rows.set_scale(r, group, thread, scale);
          }
      };
      auto prepare = [&] {
        if (PAIRS) sync();  // the results before have left the exchanges
        form(kTensorU, kTensorPregate, pregated, rows_x());
        form(kTensorDy, kTensorPostgate, postgated, rows_g());
        sync();
      };
      step();
      copy_async_wait();
      at.advance();
      if (Kernel::kSets == 2) fetch(at, kAll, samples_next);
      // The sums of a pair have one scale, so its rows go together only if theirs agree.
      for (int mask = 3;;) {
        prepare();
        float product;
        step();
        {
          bool raw_x, raw_g;
          const RowScales<kRows> of_x = rows_x().row_scales(lane, raw_x), of_g = rows_g().row_scales(lane, raw_g);
          if (PAIRS && mask == 3 && of_x.exponent[0] + of_g.exponent[0] != of_x.exponent[1] + of_g.exponent[1])
            mask = 1;
          product = product_scale(of_x, of_g, PAIRS && mask == 2);
#pragma unroll
          for (int r = 0; r < kRows; ++r)
            if ((mask >> r & 1) && !(of_x.finite[r] && of_g.finite[r])) product = nan;
          if (thread == 0)
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
              outcomes[r] = {of_x.exponent[r], of_x.finite[r] || !PAIRS ? channel.factor : nan};
              outcomes[kRows + r] = {of_g.exponent[r], of_g.finite[r] || !PAIRS ? channel.factor : nan};
            }
          if constexpr (PAIRS) {
            // A row that goes alone, and one that is not finite, which must not reach its partner.
            bool cleared = false;
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
              auto clear = [&](const Row& rows, bool finite) {
                if (finite && (mask >> r & 1)) return;
                cleared = true;
#pragma unroll
                for (int group = 0; group < At::kChunksPerThread / kGroup; ++group) rows.put(r, group, {});
              };
              clear(rows_x(), of_x.finite[r]);
              clear(rows_g(), of_g.finite[r]);
            }
            if (cleared) sync();
          }
          stored.get_forward(outer, lane);
          rows_x().template outer<Kernel::kByStage>(outer, inner.dft8, rows_x().unit(0), of_x, raw_x, warp, lane,
                                                    places_x());
          rows_g().template outer<Kernel::kByStage>(outer, inner.dft8, rows_g().unit(0), of_g, raw_g, warp, lane,
                                                    places_g());
        }
        sync();
        if (Kernel::kSets == 1 && mask != 1) fetch(at, kAll & ~late, samples);

        step();
#pragma unroll
        for (int i = 0; i < Kernel::kColumns; i += 2) {
          const int pair = warp * At::kColumnsPerWarp + i / 2;
          Tile x[2][R], g[2][R], H[2][R];
          load_columns<At>(places_x(), i / 2, x);
          inner.forward(x);
          load_columns<At>(places_g(), i / 2, g);
          inner.forward(g);
          if constexpr (Kernel::kSharedSpectrum) {
#pragma unroll
            for (int k3 = 0; k3 < R; ++k3)
              split_columns(shared_spectrum[(pair * R + k3) * 32 + lane], H[0][k3], H[1][k3]);
          } else if constexpr (!Kernel::kSpectrumHeld) {
            load_spectrum<R>(spectrum, pair, lane, H);
            channel.apply(H);
          }
#pragma unroll
          for (int e = 0; e < 2; ++e)
#pragma unroll
            for (int k3 = 0; k3 < R; ++k3) {
              const Tile spectral = Kernel::kSpectrumHeld ? held[i + e][k3] : H[e][k3];
              if (want_sums) accumulate<Type>(sums[i + e][k3], g[e][k3], x[e][k3], product);
              x[e][k3] = times(x[e][k3], {spectral.re, spectral.im});
              g[e][k3] = times_conjugate(g[e][k3], {spectral.re, spectral.im});
            }
          if (want_c) {
            inner.inverse(x);
            store_columns<At>(places_x(), i / 2, x);
          }
          if (want_dx) {
            inner.inverse(g);
            store_columns<At>(places_g(), i / 2, g);
          }
        }
        sync();
        step();
        stored.get_inverse(outer, lane);
#pragma unroll
        for (int i = 0; i < At::kUnitsPerWarp; ++i) {
          if (want_c) outer_inverse<At, PAIRS>(outer, inner.dft8, outer.last, i, places_x());
          if (want_dx) outer_inverse<At, PAIRS>(outer, inner.dft8, outer.last, i, places_g());
        }
        sync();

        step();
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          if (b + r >= p.work.batch || !(mask >> r & 1)) continue;
          // result times factor, where gated, to rows; null rows: not wanted. A result has up to two factors.
          auto write = [&](const ExchangePlaces<At>& exchange, const RowOutcome& outcome, const RowsView& first_rows,
                           BackwardTensor first_factor, bool first_gated, const RowsView* second_rows,
                           BackwardTensor second_factor) {
            Finish<Type> finish(outcome.exponent, outcome.factor, true);
#pragma unroll
            for (int group = 0; group < At::kChunksPerThread / kGroup; ++group) {
              u32 v[4 * kGroup];
#pragma unroll
              for (int j = 0; j < kGroup; ++j) {
                const uint4 chunk = shared_at<uint4>(exchange.result(group * kGroup + j) + r * At::kPlane);
                v[4 * j] = chunk.x, v[4 * j + 1] = chunk.y, v[4 * j + 2] = chunk.z, v[4 * j + 3] = chunk.w;
              }
              auto times_factor = [&](const RowsView& rows, BackwardTensor factor, bool gated) {
                if (rows.data == nullptr) return;
                u32 f[4 * kGroup], y[4 * kGroup];
                if (gated) read(factor, r, group, f);
#pragma unroll
                for (int i = 0; i < 4 * kGroup; ++i) y[i] = v[i];
                finish.gated = gated;
                finish.apply(y, f);
                std::uint16_t* to = Access::row(rows, b + r, h);
#pragma unroll
                for (int j = 0; j < kGroup; ++j)
                  Access::store(to, 8 * ((group * kGroup + j) * At::kThreads + thread), p.length,
                                make_uint4(y[4 * j], y[4 * j + 1], y[4 * j + 2], y[4 * j + 3]));
              };
              times_factor(first_rows, first_factor, first_gated);
              if (second_rows) times_factor(*second_rows, second_factor, true);
            }
          };
          if (want_dx) write(places_g(), outcomes[kRows + r], p.du, kTensorPregate, pregated, &p.dpregate, kTensorU);
          if (want_c) write(places_x(), outcomes[r], p.dpostgate, kTensorDy, true, nullptr, kTensorDy);
        }
        if (mask != 1) break;
        mask = 2;
      }
      if (Kernel::kSets == 1) {
        fetch(at, late, samples);
      } else {
        const u32 used = samples;
        samples = samples_next, samples_next = used;
      }
    }

    // Sums of pairs of columns, a tile (k3) of each: this team's, or those of all teams in the same order every time.
    if (!want_sums) continue;
    step();
    constexpr int kTilesPerWarp = Kernel::kTilesPerWarp;
    const int first_tile = (team * At::W + warp) * kTilesPerWarp;
    float4 total[kTilesPerWarp][2];
    u32 largest = 0;
    __syncthreads();  // results have left the exchanges
    if constexpr (Kernel::kTeams > 1) {
      float4* const of_team = reinterpret_cast<float4*>(team_memory);  // [pair][k3][column][lane]
#pragma unroll
      for (int i = 0; i < Kernel::kColumns; ++i)
#pragma unroll
        for (int k3 = 0; k3 < R; ++k3)
          of_team[(((warp * At::kColumnsPerWarp + i / 2) * R + k3) * 2 + i % 2) * 32 + lane] = sums[i][k3];
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < kTilesPerWarp; ++i)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        if constexpr (Kernel::kTeams > 1) {
          total[i][e] = make_float4(0, 0, 0, 0);
          if (first_tile + i < Kernel::kTiles)
#pragma unroll
            for (int t = 0; t < Kernel::kTeams; ++t) {
              const float4 sum = reinterpret_cast<const float4*>(
                  shared + Kernel::kTableBytes + t * Kernel::kTeamBytes)[((first_tile + i) * 2 + e) * 32 + lane];
              total[i][e].x += sum.x, total[i][e].y += sum.y, total[i][e].z += sum.z, total[i][e].w += sum.w;
            }
        } else {
          total[i][e] = sums[i / R * 2 + e][i % R];
        }
        largest = max(largest, largest_magnitude(total[i][e]));
      }
    const SumScale scale(block_max(largest, scratch));
    const long long at = item % p.work.splits * p.work.channels + h;
    uint4* const to = reinterpret_cast<uint4*>(p.sums + at * At::M);
#pragma unroll
    for (int i = 0; i < kTilesPerWarp; ++i) {
      const Tile a = scale.halves(total[i][0]), b = scale.halves(total[i][1]);
      if (first_tile + i < Kernel::kTiles) to[(first_tile + i) * 32 + lane] = make_uint4(a.re, a.im, b.re, b.im);
    }
    if (threadIdx.x == 0) p.sum_factors[at] = scale.factor;
  }
}

}  // namespace ffc::cuda
