// Forward, bhl, rows of whole chunks of 16 bytes: y[o] = act(bias + sum_j w[j] x[o + j - LEFT]).
//
// A thread takes UNROLL chunks of one row. With W = kChunk, chunk c of y needs x[W c - LEFT, W c + W - 1 - LEFT +
// TAPS): chunks c - BEFORE to c + AFTER, from element BEFORE W - LEFT on. Those beside its own a thread has from the
// threads beside it where a whole warp lies in the row, else from memory.
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
  using Chunk = SampleVector<Type, W>;

  /// Words, 1, 2 or 4, that hold so many samples.
  static constexpr int words_of(int samples) {
    const int words = (samples + kPerWord<Type> - 1) / kPerWord<Type>;
    return words > 2 ? 4 : words;
  }
  /// What the taps reach of the first chunk before and of the last one after: its last and its first words.
  static constexpr int kLastWords = words_of(kBefore ? W - kFirst : W);
  static constexpr int kFirstWords = words_of(kAfter ? TAPS - 1 - LEFT - (kAfter - 1) * W : W);

  /// Chunks chunk - kBefore .. of a row of `count` chunks; zeros outside. `here`: where chunk `chunk` lies.
  __device__ __forceinline__ static void load(Chunk (&to)[kChunks], const Stored<Type>* here, int chunk, int count) {
#pragma unroll
    for (int n = 0; n < kChunks; ++n) {
      const Stored<Type>* from = here + (n - kBefore) * W;
      to[n].clear();
      if (static_cast<unsigned>(chunk + n - kBefore) >= static_cast<unsigned>(count)) continue;
      if (kBefore > 0 && n == 0)
        to[n].template load_part<4 - kLastWords, kLastWords>(from);
      else if (kAfter > 0 && n == kChunks - 1)
        to[n].template load_part<0, kFirstWords>(from);
      else
        to[n].load(from);
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

/// to[m] = bias + sum_j w[j] samples[m + j].
template <int COUNT, int TAPS, int SAMPLES>
__device__ __forceinline__ void correlate_window(float (&to)[COUNT], const float (&w)[TAPS][1], float bias,
                                                 const float (&samples)[SAMPLES]) {
#pragma unroll
  for (int m = 0; m < COUNT; ++m) {
    to[m] = bias;
#pragma unroll
    for (int j = 0; j < TAPS; ++j) to[m] += w[j][0] * samples[m + j];
  }
}
/// COUNT chunks of y, `stride` chunks from one to the next, wherever they lie; x and y: where chunk `first` lies.
template <class Type, int TAPS, int LEFT, bool ACTIVE, int COUNT>
struct ForwardChunks {
  using R = Reach<Type, TAPS, LEFT>;
  static constexpr int W = R::W;
  typename R::Chunk chunks[COUNT][R::kChunks];

  __device__ __forceinline__ void load(const ChannelsFirstForward& p, const Stored<Type>* x, int first, int stride) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) R::load(chunks[i], x + i * stride * W, first + i * stride, p.x_chunks);
  }
  __device__ __forceinline__ void store(const ChannelsFirstForward& p, Stored<Type>* y, int first, int stride,
                                        const float (&w)[TAPS][1], float bias) const {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      if (first + i * stride >= p.y_chunks) return;
      float window[R::kWindow], sum[W];
      R::widen(chunks[i], window);
      correlate_window(sum, w, bias, window);
      if (ACTIVE) activate(sum, p.activation);
      typename R::Chunk result;
      result.narrow(sum);
      result.store(y + i * stride * W);
    }
  }
};
/// COUNT * 32 chunks of y that a warp takes, all of them in both rows: lane l has chunks l, 32 + l, ... What lies
/// beside a chunk comes from the lanes beside, what lies beside the warp's first and last chunk from memory: the last
/// lane keeps the one before, lane 0 the one after.
template <class Type, int TAPS, int LEFT, bool ACTIVE, int COUNT>
struct WarpChunks {
  using R = Reach<Type, TAPS, LEFT>;
  static constexpr int W = R::W, kWords = R::Chunk::kWords;
  static constexpr int kBefore = R::kBefore, kAfter = R::kAfter;
  static_assert(kBefore < 32 && kAfter < 32);
  typename R::Chunk own[COUNT], before, after;

  /// x: where the lane's first chunk lies.
  __device__ __forceinline__ void load(const ChannelsFirstForward& p, const Stored<Type>* x, int first, int lane) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) own[i].load(x + i * 32 * W);
    if (kBefore > 0) {
      before.clear();
      if (lane >= 32 - kBefore && first >= 32) {
        if (kBefore == 1)
          before.template load_part<4 - R::kLastWords, R::kLastWords>(x - 32 * W);
        else
          before.load(x - 32 * W);
      }
    }
    if (kAfter > 0) {
      after.clear();
      if (lane < kAfter && first + COUNT * 32 < p.x_chunks) {
        if (kAfter == 1)
          after.template load_part<0, R::kFirstWords>(x + COUNT * 32 * W);
        else
          after.load(x + COUNT * 32 * W);
      }
    }
  }
  /// chunks[0 ..]: chunk i of the lane and those beside it, of which what the taps do not reach is left out.
  __device__ __forceinline__ void gather(typename R::Chunk (&chunks)[R::kChunks], int i, int lane) const {
    chunks[kBefore] = own[i];
#pragma unroll
    for (int n = 1; n <= kBefore; ++n) {
      const typename R::Chunk& previous = i > 0 ? own[i - 1] : before;
      const int reached = LEFT - (n - 1) * W;  // samples of this chunk
#pragma unroll
      for (int k = 0; k < kWords; ++k)
        if ((kWords - k - 1) * kPerWord<Type> < reached)
          chunks[kBefore - n].words[k] =
              __shfl_sync(~0u, lane >= 32 - n ? previous.words[k] : own[i].words[k], (lane - n) & 31);
        else
          chunks[kBefore - n].words[k] = 0;
    }
#pragma unroll
    for (int n = 1; n <= kAfter; ++n) {
      const typename R::Chunk& next = i < COUNT - 1 ? own[i + 1] : after;
      const int reached = TAPS - 1 - LEFT - (n - 1) * W;
#pragma unroll
      for (int k = 0; k < kWords; ++k)
        if (k * kPerWord<Type> < reached)
          chunks[kBefore + n].words[k] = __shfl_sync(~0u, lane < n ? next.words[k] : own[i].words[k], (lane + n) & 31);
        else
          chunks[kBefore + n].words[k] = 0;
    }
  }
  __device__ __forceinline__ void store(const ChannelsFirstForward& p, Stored<Type>* y, int lane,
                                        const float (&w)[TAPS][1], float bias) const {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      typename R::Chunk chunks[R::kChunks], result;
      gather(chunks, i, lane);
      float window[R::kWindow], sum[W];
      R::widen(chunks, window);
      correlate_window(sum, w, bias, window);
      if (ACTIVE) activate(sum, p.activation);
      result.narrow(sum);
      result.store(y + i * 32 * W);
    }
  }
};

template <class Type, int TAPS, int LEFT, bool ACTIVE, int UNROLL, int THREADS, int BLOCKS>
__global__ void __launch_bounds__(THREADS, BLOCKS) channels_first_forward(const ChannelsFirstForward p) {
  constexpr int W = kChunk<Type>;
  const unsigned thread = blockIdx.x * THREADS + threadIdx.x, unit = thread >> p.lane_bits;
  if (unit >= p.units) return;
  const int lanes = 1 << p.lane_bits, lane = thread & (lanes - 1);
  const unsigned row = p.segments(unit), b = p.channels(row);
  const int d = row - b * p.channel_count, begin = ((unit - row * p.segment_count) << p.lane_bits) * UNROLL;
  const int first = begin + lane;
  const long long from = static_cast<long long>(first) * W;
  const Stored<Type>* x =
      static_cast<const Stored<Type>*>(p.x.data) + (b * p.x.batch_stride + d * p.x.row_stride + from);
  Stored<Type>* y = static_cast<Stored<Type>*>(p.y.data) + (b * p.y.batch_stride + d * p.y.row_stride + from);
  float w[TAPS][1], bias[1];
  if (p.lane_bits == 5 && begin + UNROLL * 32 <= min(p.x_chunks, p.y_chunks)) {
    WarpWeights<Type, TAPS> weights;
    weights.load(p.weights, d, lane);
    WarpChunks<Type, TAPS, LEFT, ACTIVE, UNROLL> all;
    all.load(p, x, first, lane);
    weights.share(p.weights, w, bias[0]);
    all.store(p, y, lane, w, bias[0]);
  } else {
    ForwardChunks<Type, TAPS, LEFT, ACTIVE, UNROLL> all;
    all.load(p, x, first, lanes);
    p.weights.load<Type>(d, w, bias);
    all.store(p, y, first, lanes, w, bias[0]);
  }
}

}  // namespace ffc::cuda
