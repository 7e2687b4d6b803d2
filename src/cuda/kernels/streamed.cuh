// A transform and back of rows that leave shared memory no room for all of their tensors beside the exchange: these
// stream through a ring (ring.cuh) as they are used. One block of a multiprocessor has a row, or a pair, at a time:
//
//   form     x = samples, or samples gate -> outer forward -> exchange
//   columns  inner forward: X, what is made of it, inner inverse -> exchange
//   back     outer inverse -> exchange
//   results  times their factors, to memory
//
// with a barrier after every step. The first segment of the ring has the samples and their gate, the second the
// factors.
#pragma once

#include "cuda/kernels/ring.cuh"
#include "cuda/tile/inner.cuh"

namespace ffc::cuda {

/// Whether a forward pass streams: the exchange, and all tensors of a row, or a pair, that are read.
constexpr bool streams(const Size& size, bool pairs, bool gated) {
  return 4 * size.points + (pairs ? 2 : 1) * 2 * size.points * (gated ? 3 : 1) > 225 * 1024;
}

template <int ROW, bool PAIRS, class Type, class Access, int... TENSORS>
struct Streamed {
  using At = Layout<ROW>;
  using Row = Samples<At, PAIRS, Type, Access>;
  static constexpr int kRows = Row::kRows, R = At::R, kThreads = At::kThreads;
  using InnerTables = Inner<R, R == 8, PAIRS>;  // pairs have the larger errors
  using Outer = OuterTables<At, PAIRS>;
  static constexpr int kTableBytes = InnerTables::kTableBytes + Outer::kTableBytes;
  static constexpr int kFixedBytes = (2 * At::kPlane + kTableBytes + Row::kScaleBytes + 127) / 128 * 128;
  using Shape = RingShape<At, Row, 227 * 1024 - kFixedBytes, TENSORS...>;
  static constexpr int kSharedBytes = kFixedBytes + Shape::kBytes;
  static constexpr float kSpectrumGain = static_cast<float>(spectrum_gain(kSizes[ROW]));
  static constexpr int kWords = 4 * Row::kTogether;

  int thread, warp, lane;
  ExchangePlaces<At> exchange;
  Row row;
  InnerTables inner;
  Outer outer;

  /// A barrier must follow: tables are in shared memory.
  __device__ __forceinline__ Streamed(unsigned char* shared, int own_thread, u32 zero, int batch, int length)
      : thread(own_thread),
        warp(threadIdx.x >> 5),
        lane(threadIdx.x & 31),
        exchange(kept(ExchangePlaces<At>(shared_address(shared), own_thread))),
        row{kept(SamplePlaces<At>(shared_address(shared), own_thread)),
            reinterpret_cast<Scale*>(shared + 2 * At::kPlane + kTableBytes), batch, length},
        inner(lane, warp, zero, shared + 2 * At::kPlane),
        outer(lane, warp, zero, shared + 2 * At::kPlane + InnerTables::kTableBytes) {}

  /// A new step: addresses are computed anew, which costs less than the registers to keep them.
  __device__ __forceinline__ void renew() {
    exchange = kept(exchange), row.places = kept(row.places), thread = opaque(thread);
  }

  /// The samples, times their gate if `gated`, as columns in the exchange. `energy`: 0 for a row of zeros.
  template <class Ring>
  __device__ __forceinline__ RowScales<kRows> form(Ring& ring, bool gated, float (&energy)[kRows]) {
    renew();
    constexpr int kTensors = Shape::tensors_of(0);
    unrolled<Shape::kPieces>([&](auto piece) {
      constexpr int r = piece.value / Shape::kGroups, group = piece.value % Shape::kGroups;
      u32 x[kTensors][kWords];
      ring.take(x);
      const Scale scale = to_halves<Type, PAIRS>(x[0], x[kTensors - 1], gated);
      row.put(r, group, x[0]);
      row.set_scale(r, group, thread, scale);
      ring.template refill<kTensors, Shape::first_step(0, r, group)>();
    });
    __syncthreads();
    bool raw;
    const RowScales<kRows> scale = row.row_scales(lane, raw, energy);
    row.template outer<true>(outer, inner.dft8, row.unit(0), scale, raw, warp, lane, exchange);
    __syncthreads();
    return scale;
  }

  /// body(pair, X) makes of the spectrum of a pair of columns, in place, what is transformed back; or returns false.
  template <class Body>
  __device__ __forceinline__ void columns(Body body) {
    renew();
#pragma unroll 1  // the instruction cache is small: 30 % of a backward pass of 32768 points
    for (int i = 0; i < At::kColumnsPerWarp; ++i) {
      const int pair = warp * At::kColumnsPerWarp + i;
      Tile x[2][R];
      load_columns<At>(exchange, i, x);
      inner.forward(x);
      if (!body(pair, x)) continue;
      inner.inverse(x);
      store_columns<At>(exchange, i, x);
    }
    __syncthreads();
  }

  /// `last`: that of the outer tables, times what the results are scaled by.
  __device__ __forceinline__ void back(const Stacked& last) {
    renew();
#pragma unroll
    for (int i = 0; i < At::kUnitsPerWarp; ++i) outer_inverse<At, PAIRS>(outer, inner.dft8, last, i, exchange);
    __syncthreads();
  }

  /// write(r, group, results, factors), piece by piece.
  template <class Ring, class Write>
  __device__ __forceinline__ void results(Ring& ring, Write write) {
    renew();
    constexpr int kTensors = Shape::tensors_of(1);
    unrolled<Shape::kPieces>([&](auto piece) {
      constexpr int r = piece.value / Shape::kGroups, group = piece.value % Shape::kGroups;
      u32 factors[kTensors][kWords], words[kWords];
      ring.take(factors);
      get_results(r, group, words);
      write(r, group, words, factors);
      ring.template refill<kTensors, Shape::first_step(1, r, group)>();
    });
    __syncthreads();
  }
  /// The same of results without factors.
  template <class Write>
  __device__ __forceinline__ void plain_results(Write write) {
    renew();
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int group = 0; group < Shape::kGroups; ++group) {
        u32 words[kWords];
        get_results(r, group, words);
        write(r, group, words);
      }
    __syncthreads();
  }

  /// A piece of row b of a tensor. `finite`: else all of it is NaN.
  __device__ __forceinline__ void store(const RowsView& to, int b, int h, int group, u32 (&words)[kWords],
                                        bool finite) const {
    if (PAIRS && !finite)
#pragma unroll
      for (u32& word : words) word = ~0u;
    std::uint16_t* y = Access::row(to, b, h) + 8 * thread;
#pragma unroll
    for (int j = 0; j < Row::kTogether; ++j)
      Access::store(y, 8 * kThreads * (group * Row::kTogether + j), row.length - 8 * thread,
                    make_uint4(words[4 * j], words[4 * j + 1], words[4 * j + 2], words[4 * j + 3]));
  }

 private:
  __device__ __forceinline__ void get_results(int r, int group, u32 (&words)[kWords]) const {
#pragma unroll
    for (int j = 0; j < Row::kTogether; ++j)
      split(shared_at<uint4>(exchange.result(group * Row::kTogether + j) + r * At::kPlane), words, j);
  }
};

}  // namespace ffc::cuda
