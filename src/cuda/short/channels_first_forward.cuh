// Forward, bhl, rows of whole chunks of 16 bytes: y[o] = act(bias + sum_j w[j] x[o + j - LEFT]).
//
// A thread takes UNROLL chunks of one row and, for each, the chunks beside it that its taps reach: those come from L1,
// which its neighbours fill at the same time. No thread waits for another. With W = kChunk, chunk c of y needs
// x[W c - LEFT, W c + W - 1 - LEFT + TAPS): chunks c - BEFORE to c + AFTER, from element BEFORE W - LEFT on.
#pragma once

#include "cuda/short/parameters.cuh"

namespace ffc::cuda {

/// The chunks that TAPS taps from -LEFT on reach from one chunk.
template <class Type, int TAPS, int LEFT>
struct Reach {
  static constexpr int W = kChunk<Type>;
  static constexpr int kBefore = (LEFT + W - 1) / W, kAfter = (TAPS - 1 - LEFT + W - 1) / W;
  static constexpr int kReach = LEFT, kWindow = TAPS - 1 + W;
  static constexpr int kChunks = kBefore + 1 + kAfter, kFirst = kBefore * W - LEFT;
  using Chunk = Samples<Type, W>;

  /// Chunks chunk - kBefore .. of a row of `count` chunks; zeros outside.
  __device__ __forceinline__ static void load(Chunk (&to)[kChunks], const Stored<Type>* row, int chunk, int count) {
#pragma unroll
    for (int n = 0; n < kChunks; ++n) {
      const int at = chunk + n - kBefore;
      to[n].clear();
      if (static_cast<unsigned>(at) < static_cast<unsigned>(count)) to[n].load(row + static_cast<long long>(at) * W);
    }
  }
  /// window[m] = element W chunk - LEFT + m.
  __device__ __forceinline__ static void widen(const Chunk (&from)[kChunks], float (&window)[kWindow]) {
    float all[kChunks * W];
#pragma unroll
    for (int n = 0; n < kChunks; ++n) from[n].widen(all + n * W);
#pragma unroll
    for (int m = 0; m < kWindow; ++m) window[m] = all[kFirst + m];
  }
};

template <class Type, int TAPS, int LEFT, bool ACTIVE, int UNROLL, int THREADS, int BLOCKS>
__global__ void __launch_bounds__(THREADS, BLOCKS) channels_first_forward(const ChannelsFirstForward p) {
  using R = Reach<Type, TAPS, LEFT>;
  constexpr int W = R::W;
  const unsigned thread = blockIdx.x * THREADS + threadIdx.x, unit = thread >> p.lane_bits;
  if (unit >= p.units) return;
  const int lanes = 1 << p.lane_bits, lane = thread & (lanes - 1);
  const unsigned row = p.segments(unit), b = p.channels(row);
  const int d = row - b * p.channel_count;
  const int first = (unit - row * p.segment_count) * UNROLL * lanes + lane;
  const Stored<Type>* x = static_cast<const Stored<Type>*>(p.x.data) + (b * p.x.batch_stride + d * p.x.row_stride);
  Stored<Type>* y = static_cast<Stored<Type>*>(p.y.data) + (b * p.y.batch_stride + d * p.y.row_stride);

  typename R::Chunk chunks[UNROLL][R::kChunks];
#pragma unroll
  for (int i = 0; i < UNROLL; ++i) R::load(chunks[i], x, first + i * lanes, p.x_chunks);
  float w[TAPS];
  p.weights.load<Type>(d, w);
  const float bias = p.weights.bias_of<Type>(d);

#pragma unroll
  for (int i = 0; i < UNROLL; ++i) {
    float window[R::kWindow], sum[W];
    R::widen(chunks[i], window);
#pragma unroll
    for (int o = 0; o < W; ++o) {
      sum[o] = bias;
#pragma unroll
      for (int j = 0; j < TAPS; ++j) sum[o] += w[j] * window[o + j];
    }
    if (ACTIVE) activate(sum, p.activation);
    typename R::Chunk result;
    result.narrow(sum);
    const int chunk = first + i * lanes;
    if (chunk < p.y_chunks) result.store(y + static_cast<long long>(chunk) * W);
  }
}

}  // namespace ffc::cuda
