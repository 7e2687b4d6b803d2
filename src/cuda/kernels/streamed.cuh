// A transform and back of rows that leave shared memory no room for all of their tensors beside the exchange: these
// stream through a ring (ring.cuh) as they are used. One block of a multiprocessor has a row, or a pair, at a time:
//
//   form     x = samples, or samples gate -> exchange
//   columns  outer forward; inner forward: X, what is made of it, inner inverse; outer inverse -> exchange
//   results  times their factors, to memory
//
// Each has its segment of the ring. Of a single row samples lie in the second plane of the exchange, results in the
// first: the next row need not wait for them.
#pragma once

#include "cuda/kernels/ring.cuh"
#include "cuda/tile/inner.cuh"

namespace ffc::cuda {

/// Whether a forward pass streams: the exchange, and all tensors of a row, or a pair, that are read.
constexpr bool streams(const Size& size, bool pairs, bool gated) {
  return 4 * size.points + (pairs ? 2 : 1) * 2 * size.points * (gated ? 3 : 1) > 225 * 1024;
}

/// FRUGAL: constants of the way back are made of those of the way there, and where things lie is found anew at every
/// step, which takes instructions for registers. OWN_BYTES: of shared memory that the kernel has for itself, from
/// kFixedBytes on.
template <int ROW, bool PAIRS, class Type, class Access, bool FRUGAL, int OWN_BYTES, int... TENSORS>
struct Streamed {
  using At = Layout<ROW, kSizes[ROW].warps, true>;
  using Row = Samples<At, PAIRS, Type, Access>;
  static constexpr int kRows = Row::kRows, R = At::R, kThreads = At::kThreads;
  // Pairs have the larger errors; of bfloat16 they are those of its last bit.
  using InnerTables = Inner<R, R == 8, PAIRS && Type::kIsHalf>;
  using Outer = OuterTables<At, PAIRS, true, FRUGAL>;
  // The matrices of the shifted stage, the same for all warps, are taken from shared memory when their turn comes.
  static constexpr int kStageBytes = 2 * 32 * static_cast<int>(sizeof(Phases));
  static constexpr int kTableBytes = InnerTables::kTableBytes + Outer::kTableBytes + kStageBytes;
  static constexpr int kRowTableBytes = 4 * 16 * (8 * kRows + 3);  // of the ring, with up to eight tensors
  static constexpr int kRowTable = (2 * At::kPlane + kTableBytes + Row::kScaleBytes + 15) / 16 * 16;
  static constexpr int kFixedBytes = (kRowTable + kRowTableBytes + 127) / 128 * 128;
  static constexpr int kRingOffset = kFixedBytes + OWN_BYTES;
  using Shape = RingShape<At, Row, 227 * 1024 - kRingOffset, TENSORS...>;
  static constexpr int kSharedBytes = kRingOffset + Shape::kBytes;
  static constexpr float kSpectrumGain = static_cast<float>(spectrum_gain(kSizes[ROW]));
  static constexpr int kWords = 4 * Row::kTogether;
  static constexpr int kFormed = PAIRS ? 0 : At::kPlane;  // where samples lie in the exchange

  u32 memory;
  int thread;
  ExchangePlaces<At> exchange;
  Row row;
  InnerTables inner;
  Outer outer;
  Phases* stages;

  __device__ __forceinline__ int warp() const { return thread >> 5; }
  __device__ __forceinline__ int lane() const { return thread & 31; }

  /// A barrier must follow: tables are in shared memory.
  __device__ __forceinline__ Streamed(unsigned char* shared, int own_thread, u32 zero, int batch, int length)
      : memory(shared_address(shared)),
        thread(own_thread),
        exchange(kept(ExchangePlaces<At>(shared_address(shared), own_thread))),
        row{kept(SamplePlaces<At>(shared_address(shared) + kFormed, own_thread)),
            reinterpret_cast<Scale*>(shared + 2 * At::kPlane + kTableBytes), batch, length},
        inner(lane(), warp(), zero, shared + 2 * At::kPlane),
        outer(lane(), warp(), zero, shared + 2 * At::kPlane + InnerTables::kTableBytes),
        stages(reinterpret_cast<Phases*>(shared + 2 * At::kPlane + InnerTables::kTableBytes + Outer::kTableBytes)) {
    if (warp() == 0)
      stages[lane()] = {outer.first.c, outer.first.s}, stages[32 + lane()] = {outer.last.c, outer.last.s};
  }

  /// The samples, the first segment of the ring, times their gate if `gated`, into the exchange.
  template <class Ring>
  __device__ __forceinline__ void form(Ring& ring, bool gated) {
    renew(ring);
    constexpr int kTensors = Shape::tensors_of(0);
    u32 others = 0;
    unrolled<Shape::kPieces>([&](auto piece) {
      constexpr int r = piece.value / Shape::kGroups, group = piece.value % Shape::kGroups;
      constexpr int kStep = Shape::first_step(0, r, group);
      u32 x[kTensors][kWords];
      ring.template take<kTensors, kStep>(x);
      others |= form_piece(r, group, x[0], x[kTensors - 1], gated);
      row.put(r, group, x[0]);
      ring.template refill<kTensors, kStep>();
    });
    form_others<0>(ring, others, gated);
    __syncthreads();
  }
  /// x, or x gate, as halves; and whether, as a bit, the piece is not ordinary: form_others must follow.
  __device__ __forceinline__ u32 form_piece(int r, int group, u32 (&x)[kWords], const u32 (&gate)[kWords],
                                            bool gated) const {
    const int energy = to_ordinary_halves<Type>(x, gate, gated);
    row.set_scale(r, group, thread, {energy, 0});
    return static_cast<u32>(!is_ordinary(energy)) << (r * Shape::kGroups + group);
  }
  /// Pieces that are not ordinary, of tensor TENSOR and its gate, the next one, once more.
  template <int TENSOR, class Ring>
  __device__ __forceinline__ void form_others(const Ring& ring, u32 others, bool gated) const {
#pragma unroll 1
    for (; others != 0; others &= others - 1) {
      const int piece = __ffs(others) - 1, r = piece / Shape::kGroups, group = piece % Shape::kGroups;
      u32 x[kWords]{}, gate[kWords]{};
      ring.load(TENSOR, r, group, x);
      if (gated) ring.load(TENSOR + 1, r, group, gate);
      const Scale scale = to_scaled_halves<Type, PAIRS>(x, gate, gated);
      row.put(r, group, x);
      row.set_scale(r, group, thread, scale);
    }
  }

  /// What has been formed, as columns in the exchange. `energy`: 0 for a row of zeros.
  __device__ __forceinline__ RowScales<kRows> outer_forward(float (&energy)[kRows]) {
    bool raw;
    outer.first = stacked(stages[lane()], outer.zero);
    const RowScales<kRows> scale = row.row_scales(lane(), raw, energy);
    if (PAIRS && !raw) {
      row.rescale(scale, thread);
      __syncthreads();
    }
    row.template outer<true, PAIRS>(outer, inner.dft8, row.unit(0), scale, raw, warp(), lane(), exchange);
    __syncthreads();
    return scale;
  }

  /// body(pair, X) makes of the spectrum of a pair of columns, in place, what is transformed back; or returns false.
  template <class Body>
  __device__ __forceinline__ void columns(Body body) {
    renew();
#pragma unroll 1  // the instruction cache is small: 30 % of a backward pass of 32768 points
    for (int i = 0; i < At::kColumnsPerWarp; ++i) {
      const int pair = warp() * At::kColumnsPerWarp + i;
      Tile x[2][R];
      load_columns<At>(exchange, i, x);
      inner.forward(x);
      if (!body(pair, x)) continue;
      inner.inverse(x);
      store_columns<At>(exchange, i, x);
    }
    __syncthreads();
  }

  __device__ __forceinline__ Stacked last_stage() const { return stacked(stages[32 + lane()], outer.zero); }
  /// `last`: the last stage, times what the results are scaled by.
  __device__ __forceinline__ void outer_back(const Stacked& last) {
    renew();
#pragma unroll
    for (int i = 0; i < At::kUnitsPerWarp; ++i) outer_inverse<At, PAIRS>(outer, inner.dft8, last, i, exchange);
    __syncthreads();
  }

  /// Results of a row of the item: times a factor, where `factored`, to a tensor, if it is wanted.
  struct Output {
    int tensor, factor;  // of the views
    bool factored;
  };
  /// The results of row r times factors, a segment of the ring, to COUNT tensors. each(group, factors) follows a piece.
  template <int SEGMENT, int R_OF_PAIR, bool BY_STAGE, int COUNT, class Ring, class Each>
  __device__ __forceinline__ void results(const Ring& ring, const Output (&outputs)[COUNT],
                                          const Finish<Type, BY_STAGE>& how, Each each) const {
    constexpr int kTensors = Shape::tensors_of(SEGMENT), r = R_OF_PAIR;
    std::uint16_t* to[COUNT];
#pragma unroll
    for (int i = 0; i < COUNT; ++i) to[i] = ring.row(outputs[i].tensor, r);
    u32 others = 0;
    unrolled<Shape::kGroups>([&](auto group) {
      constexpr int kStep = Shape::first_step(SEGMENT, r, group.value);
      u32 factors[kTensors][kWords], words[kWords];
      ring.template take<kTensors, kStep>(factors);
      get_results(r, group.value, words);
#pragma unroll
      for (int i = 0; i < COUNT; ++i)
        others |= write(ring, to[i], outputs[i].factored, group.value, words, factors[i], how) << group.value;
      each(group.value, factors);
      ring.template refill<kTensors, kStep>();
    });
    write_others(ring, others, outputs, r, how);
  }
  /// The same without factors.
  template <int R_OF_PAIR, bool BY_STAGE, class Ring>
  __device__ __forceinline__ void plain_results(const Ring& ring, const Output (&outputs)[1],
                                                const Finish<Type, BY_STAGE>& how) const {
    std::uint16_t* const to = ring.row(outputs[0].tensor, R_OF_PAIR);
    u32 others = 0;
#pragma unroll
    for (int group = 0; group < Shape::kGroups; ++group) {
      u32 words[kWords];
      get_results(R_OF_PAIR, group, words);
      others |= write(ring, to, false, group, words, words, how) << group;
    }
    write_others(ring, others, outputs, R_OF_PAIR, how);
  }
  /// Of a pair the next one is formed where results have been.
  __device__ __forceinline__ void end_of_results() const {
    if (PAIRS) __syncthreads();
  }

  /// A new step. Addresses are computed anew from where things lie, which costs less than the registers to keep them.
  __device__ __forceinline__ void renew() {
    thread = opaque(thread);
    if constexpr (FRUGAL)
      exchange = named(ExchangePlaces<At>(memory, thread)),
      row.places = named(SamplePlaces<At>(memory + kFormed, thread));
    else
      exchange = kept(exchange), row.places = kept(row.places);
  }
  /// The same where the ring is used. Its own addresses may stay where registers suffice: 4 % of 16384 points.
  template <class Ring>
  __device__ __forceinline__ void renew(Ring& ring) {
    renew();
    if constexpr (R == 8) ring.renew(thread);
  }

 private:
  __device__ __forceinline__ void get_results(int r, int group, u32 (&words)[kWords]) const {
#pragma unroll
    for (int j = 0; j < Row::kTogether; ++j)
      split(shared_at<uint4>(exchange.result(group * Row::kTogether + j) + r * At::kPlane), words, j);
  }

  /// A piece of results; 1 if halves do not suffice: write_others must follow.
  template <class Ring, bool BY_STAGE>
  __device__ __forceinline__ u32 write(const Ring& ring, std::uint16_t* to, bool factored, int group,
                                       const u32 (&results)[kWords], const u32 (&factor)[kWords],
                                       Finish<Type, BY_STAGE> how) const {
    if (to == nullptr) return 0;
    how.gated = factored;
    u32 words[kWords];
#pragma unroll
    for (int i = 0; i < kWords; ++i) words[i] = results[i];
    if constexpr (Type::kIsHalf) {
      if (!how.apply_in_halves(words, factor)) return 1;
    } else {
      how.apply_in_floats(words, factor);
    }
    ring.store(to, group, words);
    return 0;
  }
  /// Pieces of results once more, in floats.
  template <class Ring, bool BY_STAGE, int COUNT>
  __device__ __forceinline__ void write_others(const Ring& ring, u32 others, const Output (&outputs)[COUNT], int r,
                                               Finish<Type, BY_STAGE> how) const {
#pragma unroll 1
    for (; others != 0; others &= others - 1) {
      const int group = __ffs(others) - 1;
#pragma unroll 1
      for (int i = 0; i < COUNT; ++i) {
        const Output output = COUNT == 1 || i == 0 ? outputs[0] : outputs[COUNT - 1];
        std::uint16_t* const to = ring.row(output.tensor, r);
        if (to == nullptr) continue;
        how.gated = output.factored;
        u32 words[kWords], factor[kWords]{};
        get_results(r, group, words);
        if (how.gated) ring.load(output.factor, r, group, factor);
        how.apply_in_floats(words, factor);
        ring.store(to, group, words);
      }
    }
  }
};

}  // namespace ffc::cuda
