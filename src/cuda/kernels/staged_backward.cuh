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

#include "cuda/kernels/row_places.cuh"
#include "cuda/kernels/staged.cuh"
#include "cuda/kernels/stored_outer.cuh"
#include "cuda/kernels/sums.cuh"
#include "cuda/tile/inner.cuh"

namespace ffc::cuda {

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
  // Pairs have the larger errors; of 4096 points at float16 they were up to 1 % beyond their bound. It costs 4 %.
  using InnerTables = Inner<R, true, PAIRS && At::M == 4096 && Type::kIsHalf>;
  using Outer = OuterTables<At, PAIRS, true>;
  using Stored = StoredOuter<Outer>;
  static constexpr bool kSharedSpectrum = At::O == 8;
  static constexpr int kSpectrumBytes = kSharedSpectrum ? 4 * At::M : 0;
  static constexpr int kScratchBytes = 128;  // of block_max, which has a word of every warp, and as many for items
  static_assert(kThreads / 32 <= 16, "a block has up to 16 warps");
  static constexpr int kTableBytes =
      InnerTables::kTableBytes + Outer::kTableBytes + Stored::kBytes + kSpectrumBytes + kScratchBytes;
  static_assert(kTableBytes % 128 == 0, "exchanges begin at a multiple of 128");
  // Of a team beside its rows: their places, scales and outcomes.
  static constexpr int kPlacesBytes = RowPlaces<Access, kRows, 2>::kBytes;
  static constexpr int kOwnBytes =
      (kPlacesBytes + 2 * Row::kScaleBytes + (2 * kRows + 1) * int{sizeof(RowOutcome)} + 127) / 128 * 128;
  // Samples of this row and the next, or of one row at a time.
  static constexpr int kSetBytes = kRead * Row::kBytes;
  static constexpr int kRoom = (226 * 1024 / kBlocks - kTableBytes) / kTeams - 4 * At::kPlane - kOwnBytes;
  static constexpr int kSets = kRoom >= 2 * kSetBytes ? 2 : 1;
  static_assert(kRoom >= kSetBytes, "shared memory holds two exchanges and a row's samples");
  using Places = RowPlaces<Access, kRows, kSets>;
  static constexpr int kTeamBytes = 4 * At::kPlane + kSets * kSetBytes + kOwnBytes;
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
  // Pairs have no register left for addresses (4096 points: 1.60 x the floor instead of 1.38, by spills), those of an
  // outer 64 none for constants of the first stage with a row's scale.
  static constexpr bool kAnew = PAIRS;
  static constexpr bool kByStage = !PAIRS || At::O == 8;
};

template <int ROW, bool PAIRS, class Type, class Access>
__global__ void __launch_bounds__(StagedBackward<ROW, PAIRS, Type, Access>::kThreads,
                                  StagedBackward<ROW, PAIRS, Type, Access>::kBlocks)
    staged_backward(const __grid_constant__ BackwardParameters p) {
  using Kernel = StagedBackward<ROW, PAIRS, Type, Access>;
  using At = typename Kernel::At;
  using Row = typename Kernel::Row;
  using Places = typename Kernel::Places;
  let_next_kernel_start();
  constexpr int kRows = Kernel::kRows, R = Kernel::R, kGroups = Row::kGroupsPerThread, kWords = 4 * Row::kTogether;

  extern __shared__ __align__(128) unsigned char shared[];
  const int team = Kernel::kTeams > 1 ? threadIdx.x / At::kThreads : 0;
  int thread = threadIdx.x % At::kThreads, warp = thread >> 5, lane = thread & 31;
  unsigned char* const team_memory = shared + Kernel::kTableBytes + team * Kernel::kTeamBytes;
  constexpr int kToG = 2 * At::kPlane;             // from the exchange of x to that of g
  const u32 memory = shared_address(team_memory);  // the exchanges
  u32 samples = memory + 2 * kToG;                 // of this row: [tensor][r]
  u32 samples_next = samples + (Kernel::kSets - 1) * Kernel::kSetBytes;
  // Places are kept where registers suffice; else a new step computes them anew, which costs less than to spill them.
  const ExchangePlaces<At> kept_exchange = kept(ExchangePlaces<At>(memory, thread));
  const SamplePlaces<At> kept_samples = kept(SamplePlaces<At>(memory + Kernel::kFormed, thread));
  auto places_x = [&] { return Kernel::kAnew ? ExchangePlaces<At>(memory, thread) : kept_exchange; };
  auto places_g = [&] { return places_x().moved(kToG); };
  auto samples_of_x = [&] { return Kernel::kAnew ? SamplePlaces<At>(memory + Kernel::kFormed, thread) : kept_samples; };
  auto step = [&] {
    if (Kernel::kAnew) thread = opaque(thread) & (At::kThreads - 1), warp = thread >> 5, lane = thread & 31;
  };
  const u32 own_memory = memory + 4 * At::kPlane + Kernel::kSets * Kernel::kSetBytes;
  const Places row_places{own_memory};
  Scale* scales = reinterpret_cast<Scale*>(team_memory + (own_memory - memory) + Kernel::kPlacesBytes);
  RowOutcome* outcomes = reinterpret_cast<RowOutcome*>(scales + 2 * kRows * Row::kGroups);  // x, g
  float& channel_factor = outcomes[2 * kRows].factor;                                       // thread 0's
  const bool pregated = p.pregate.data != nullptr, postgated = p.postgate.data != nullptr;
  const bool want_dx = p.du.data || p.dpregate.data, want_c = p.dpostgate.data != nullptr,
             want_sums = p.sums != nullptr;
  const float nan = __int_as_float(0x7fffffff);
  auto sync = [&] { team_barrier<At::kThreads>(team); };

  // The tensors whose samples the gradients are multiplied by; the others' are done with once x and g are formed.
  constexpr int kAll = (1 << kRead) - 1;
  const int late =
      (p.dpregate.data ? 1 << kU : 0) | (want_c ? 1 << kDy : 0) | (pregated && p.du.data ? 1 << kPregate : 0);
  auto place = [&](u32 set, int tensor, int r, int chunk) {
    return set + tensor * Row::kBytes + r * At::kPlane + 16 * (chunk * At::kThreads + thread);
  };
  // Of the row whose places have been looked up.
  auto fetch = [&](int tensors, u32 to) {
    const bool wanted[kRead] = {true, true, pregated, postgated};
    const int length = row_places.item_ahead() < p.work.channels * p.work.splits ? p.length - 8 * thread : 0;
    const std::uint16_t* rows[kRead][kRows];
#pragma unroll
    for (int i = 0; i < kRead; ++i)
#pragma unroll
      for (int r = 0; r < kRows; ++r) rows[i][r] = row_places.row(i, r);
#pragma unroll
    for (int i = 0; i < kRead; ++i) {
      if (!(tensors >> i & 1) || !wanted[i]) continue;
#pragma unroll
      for (int r = 0; r < kRows; ++r)
#pragma unroll
        for (int j = 0; j < At::kChunksPerThread; ++j)
          Access::copy(place(to, i, r, j), rows[i][r] + 8 * thread, 8 * j * At::kThreads,
                       r == 0 || rows[i][r] ? length : 0);
    }
    copy_async_commit();
  };

  const Cursor first(p.work, blockIdx.x, gridDim.x, team, Kernel::kTeams, kRows);
  row_places.set_first(p, first, thread);
  sync();
  fetch(kAll, samples);
  if (Kernel::kSets == 2) {
    sync();
    row_places.set_second(p, first, thread);
  }
  const u32 zero = p.work.batch >> 31;
  const typename Kernel::InnerTables inner(lane, warp, zero, shared);
  unsigned char* const outer_memory = shared + Kernel::InnerTables::kTableBytes;
  unsigned char* const stored_memory = outer_memory + Kernel::Outer::kTableBytes;
  const typename Kernel::Stored stored(stored_memory, typename Kernel::Outer(lane, warp, zero, outer_memory), warp,
                                       lane);
  uint4* const shared_spectrum = reinterpret_cast<uint4*>(stored_memory + Kernel::Stored::kBytes);
  u32* const scratch = reinterpret_cast<u32*>(shared + Kernel::kTableBytes - Kernel::kScratchBytes);
  __syncthreads();
  Tile held[Kernel::kSpectrumHeld ? Kernel::kColumns : 1][R];
  float4 sums[Kernel::kColumns][R];

  wait_for_kernel_before();  // the spectrum
  // The item in hand; of pairs, where registers are few, a warp has it in shared memory.
  int held_item = 0;
  auto item = [&] { return Kernel::kAnew ? reinterpret_cast<const int&>(scratch[16 + threadIdx.x / 32]) : held_item; };
  auto begin = [&](int next) {
    if constexpr (Kernel::kAnew) {
      __syncwarp();
      if (threadIdx.x % 32 == 0) scratch[16 + threadIdx.x / 32] = static_cast<u32>(next);
      __syncwarp();
    } else {
      held_item = next;
    }
  };
  for (begin(blockIdx.x); item() < p.work.channels * p.work.splits; begin(item() + gridDim.x)) {
    const int h = item() / p.work.splits;
    const u32* spectrum = p.spectrum + static_cast<long long>(h) * At::M;
    const ChannelScale channel(p.factors, p.skip, h, Kernel::kSpectrumGain);
    if (thread == 0) channel_factor = channel.factor;
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

    while (row_places.item() == item()) {
      // Words of a tensor: a piece, chunks of this thread that share a scale, of row r.
      auto read = [&](int tensor, int r, int group, u32(&words)[kWords]) {
#pragma unroll
        for (int j = 0; j < Row::kTogether; ++j)
          split(shared_at<uint4>(place(samples, tensor, r, group * Row::kTogether + j)), words, j);
      };
      auto rows_x = [&]() -> Row { return {samples_of_x(), scales, p.work.batch, p.length}; };
      auto rows_g = [&]() -> Row {
        return {samples_of_x().moved(kToG), scales + kRows * Row::kGroups, p.work.batch, p.length};
      };
      // Pieces that are not ordinary, a bit each, follow in a loop that is not unrolled: code and registers are few.
      auto form = [&](const Row& rows, BackwardTensor tensor, BackwardTensor gate, bool gated) {
        u32 others = 0;
#pragma unroll
        for (int r = 0; r < kRows; ++r)
#pragma unroll
          for (int group = 0; group < kGroups; ++group) {
            u32 x[kWords], f[kWords];
            read(tensor, r, group, x);
            if (gated) read(gate, r, group, f);
            const int energy = to_ordinary_halves<Type>(x, f, gated);
            rows.put(r, group, x);
            rows.set_scale(r, group, thread, {energy, 0});
            others |= static_cast<u32>(!is_ordinary(energy)) << (r * kGroups + group);
          }
        return others;
      };
      auto form_others = [&](u32 others) {
#pragma unroll 1
        for (; others != 0; others &= others - 1) {
          const int piece = __ffs(others) - 1, r = piece / kGroups % kRows, group = piece % kGroups;
          const bool of_x = piece < kRows * kGroups, gated = of_x ? pregated : postgated;
          const Row rows = of_x ? rows_x() : rows_g();
          u32 x[kWords], f[kWords];
          read(of_x ? kU : kDy, r, group, x);
          if (gated) read(of_x ? kPregate : kPostgate, r, group, f);
          const Scale scale = to_scaled_halves<Type, PAIRS>(x, f, gated);
          rows.put(r, group, x);
          rows.set_scale(r, group, thread, scale);
        }
      };
      auto prepare = [&] {
        if (PAIRS) sync();  // the results before have left the exchanges
        const u32 of_x = form(rows_x(), kU, kPregate, pregated), of_g = form(rows_g(), kDy, kPostgate, postgated);
        form_others(of_x | of_g << (kRows * kGroups));
        sync();
      };
      step();
      copy_async_wait();
      if (Kernel::kSets == 2) fetch(kAll, samples_next);
      // The sums of a pair have one scale, so its rows go together only if theirs agree.
      for (int mask = 3;;) {
        prepare();
        step();
        if (mask != 2) row_places.set_next(p, first, thread);
        float product;
        bool products_fit = true;  // in halves: rows of bfloat16 near its end are larger (arguments.cuh)
        {
          bool raw_x, raw_g;
          const RowScales<kRows> of_x = rows_x().row_scales(lane, raw_x), of_g = rows_g().row_scales(lane, raw_g);
          if (PAIRS && mask == 3 && of_x.exponent[0] + of_g.exponent[0] != of_x.exponent[1] + of_g.exponent[1])
            mask = 1;
          product = product_scale(of_x, of_g, PAIRS && mask == 2);
          if constexpr (!Type::kIsHalf)
#pragma unroll
            for (int r = 0; r < kRows; ++r)
              products_fit &= of_x.exponent[r] < kLargestExponent && of_g.exponent[r] < kLargestExponent;
          int bad_x = 0, bad_g = 0;  // rows that are not finite
#pragma unroll
          for (int r = 0; r < kRows; ++r) bad_x |= !of_x.finite[r] << r, bad_g |= !of_g.finite[r] << r;
          if ((bad_x | bad_g) & mask) product = nan;
          if (thread == 0)
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
              outcomes[r] = {of_x.exponent[r], of_x.finite[r] || !PAIRS ? channel_factor : nan};
              outcomes[kRows + r] = {of_g.exponent[r], of_g.finite[r] || !PAIRS ? channel_factor : nan};
            }
          if (PAIRS && (mask != 3 || bad_x || bad_g)) {
            // A row that goes alone, and one that is not finite, which must not reach its partner.
#pragma unroll 1
            for (int i = 0; i < kRows * kGroups; ++i) {
              const int r = i / kGroups;
              if ((~mask | bad_x) >> r & 1) rows_x().put(r, i % kGroups, {});
              if ((~mask | bad_g) >> r & 1) rows_g().put(r, i % kGroups, {});
            }
            sync();
          }
          if (!raw_x || !raw_g) {
            if (!raw_x) rows_x().rescale(of_x, thread);
            if (!raw_g) rows_g().rescale(of_g, thread);
            sync();
          }
          const auto forward = stored.forward(zero, lane);
          rows_x().template outer<Kernel::kByStage, true>(forward, inner.dft8, rows_x().unit(0), of_x, raw_x, warp,
                                                          lane, places_x());
          rows_g().template outer<Kernel::kByStage, true>(forward, inner.dft8, rows_g().unit(0), of_g, raw_g, warp,
                                                          lane, places_g());
        }
        sync();
        if (Kernel::kSets == 1 && mask != 1) fetch(kAll & ~late, samples);

        step();
        const SumOfProducts<Type> products(product, products_fit, lane);
#pragma unroll
        for (int i = 0; i < Kernel::kColumns; i += 2) {
          const int pair = warp * At::kColumnsPerWarp + i / 2;
          Tile x[2][R], g[2][R], H[2][R];
          load_columns<At>(places_x(), i / 2, x);
          inner.forward(x);
          load_columns<At>(places_g(), i / 2, g);
          inner.forward(g);
          if (want_sums) products.add(sums[i], sums[i + 1], g, x);
          if constexpr (Kernel::kSharedSpectrum) {
#pragma unroll
            for (int k3 = 0; k3 < R; ++k3)
              split_columns(shared_spectrum[(pair * R + k3) * 32 + lane], H[0][k3], H[1][k3]);
          }
#pragma unroll
          for (int e = 0; e < 2; ++e)
#pragma unroll
            for (int k3 = 0; k3 < R; ++k3) {
              const Tile spectral = Kernel::kSpectrumHeld ? held[i + e][k3] : H[e][k3];
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
        {
          const auto inverse = stored.inverse(zero, lane);
#pragma unroll
          for (int i = 0; i < At::kUnitsPerWarp; ++i) {
            if (want_c) outer_inverse<At, PAIRS>(inverse, inner.dft8, inverse.last, i, places_x());
            if (want_dx) outer_inverse<At, PAIRS>(inverse, inner.dft8, inverse.last, i, places_g());
          }
        }
        sync();

        step();
        // A piece of a result, of the exchange of x or g, times a factor, where gated.
        auto get = [&](const ExchangePlaces<At>& exchange, int r, int group, u32(&v)[kWords]) {
#pragma unroll
          for (int j = 0; j < Row::kTogether; ++j)
            split(shared_at<uint4>(exchange.result(group * Row::kTogether + j) + r * At::kPlane), v, j);
        };
        auto put = [&](std::uint16_t* to, int group, const u32(&v)[kWords]) {
#pragma unroll
          for (int j = 0; j < Row::kTogether; ++j)
            Access::store(to + 8 * thread, 8 * At::kThreads * (group * Row::kTogether + j), p.length - 8 * thread,
                          make_uint4(v[4 * j], v[4 * j + 1], v[4 * j + 2], v[4 * j + 3]));
        };
        auto finish_of = [&](int tensor, int r) {
          const RowOutcome outcome = outcomes[tensor == kDpostgate ? r : kRows + r];
          return Finish<Type>(outcome.exponent, outcome.factor, tensor != kDu || pregated);
        };
        auto factor_of = [](int tensor) { return tensor == kDu ? kPregate : tensor == kDpregate ? kU : kDy; };
        u32 others = 0;
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          if (!(mask >> r & 1)) continue;
          auto write = [&](int tensor, int group, const u32(&v)[kWords], const Finish<Type>& finish) {
            std::uint16_t* const to = row_places.row(tensor, r);
            u32 f[kWords], y[kWords];
            if (finish.gated) read(factor_of(tensor), r, group, f);
#pragma unroll
            for (int i = 0; i < kWords; ++i) y[i] = v[i];
            if constexpr (Type::kIsHalf) {
              if (!finish.apply_in_halves(y, f)) {
                others |= 1u << (((tensor - kDu) * kRows + r) * kGroups + group);
                return;
              }
            } else {
              finish.apply_in_floats(y, f);
            }
            if (r == 0 || to) put(to, group, y);
          };
          if (want_dx) {
            const Finish<Type> du = finish_of(kDu, r), dpregate = finish_of(kDpregate, r);
#pragma unroll
            for (int group = 0; group < kGroups; ++group) {
              u32 v[kWords];
              get(places_g(), r, group, v);
              if (p.du.data) write(kDu, group, v, du);
              if (p.dpregate.data) write(kDpregate, group, v, dpregate);
            }
          }
          if (want_c) {
            const Finish<Type> dpostgate = finish_of(kDpostgate, r);
#pragma unroll
            for (int group = 0; group < kGroups; ++group) {
              u32 v[kWords];
              get(places_x(), r, group, v);
              write(kDpostgate, group, v, dpostgate);
            }
          }
        }
        if constexpr (Type::kIsHalf)
#pragma unroll 1
          for (; others != 0; others &= others - 1) {
            const int piece = __ffs(others) - 1, tensor = kDu + piece / (kRows * kGroups);
            const int r = piece / kGroups % kRows, group = piece % kGroups;
            std::uint16_t* const to = row_places.row(tensor, r);
            if (to == nullptr) continue;
            const Finish<Type> finish = finish_of(tensor, r);
            u32 v[kWords], f[kWords];
            get(places_x().moved(tensor == kDpostgate ? 0 : kToG), r, group, v);
            if (finish.gated) read(factor_of(tensor), r, group, f);
            finish.apply_in_floats(v, f);
            put(to, group, v);
          }
        if (mask != 1) break;
        mask = 2;
      }
      if (Kernel::kSets == 1) {
        fetch(late, samples);
      } else {
        const u32 used = samples;
        samples = samples_next, samples_next = used;
      }
    }

    // Sums of pairs of columns, a tile (k3) of each: this team's, or those of all teams in the same order every time.
    if (!want_sums) continue;
    constexpr int kTilesPerWarp = Kernel::kTilesPerWarp;
    const int first_tile = (team * At::W + warp) * kTilesPerWarp;
    float4 total[kTilesPerWarp][2];
    u32 largest = 0;
    barrier_of_teams<Kernel::kTeams>();  // results have left the exchanges
    if constexpr (Kernel::kTeams > 1) {
      float4* const of_team = reinterpret_cast<float4*>(team_memory);  // [pair][k3][column][lane]
#pragma unroll
      for (int i = 0; i < Kernel::kColumns; ++i)
#pragma unroll
        for (int k3 = 0; k3 < R; ++k3)
          of_team[(((warp * At::kColumnsPerWarp + i / 2) * R + k3) * 2 + i % 2) * 32 + lane] = sums[i][k3];
      barrier_of_teams<Kernel::kTeams>();
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
    const SumScale scale(block_max(largest, scratch, [] { barrier_of_teams<Kernel::kTeams>(); }));
    const int ended = opaque(item());  // so that no quotient is kept
    const long long at = static_cast<long long>(ended % p.work.splits) * p.work.channels + ended / p.work.splits;
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
