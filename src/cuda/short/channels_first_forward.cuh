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

  /// Words, 1, 2 or 4, that hold so many samples.
  static constexpr int words_of(int samples) {
    const int words = (samples + kPerWord<Type> - 1) / kPerWord<Type>;
    return words > 2 ? 4 : words;
  }
  /// What the taps reach of the first chunk before and of the last one after: its last and its first words.
  static constexpr int kLastWords = words_of(kBefore ? W - kFirst : W);
  static constexpr int kFirstWords = words_of(kAfter ? TAPS - 1 - LEFT - (kAfter - 1) * W : W);

  /// What is known of a chunk when the code is compiled: that it lies in the row, and not first or not last.
  struct Known {
    bool inside = false, not_first = false, not_last = false;
  };
  /// Chunks chunk - kBefore .. of a row of `count` chunks; zeros outside. `here`: where chunk `chunk` lies.
  __device__ __forceinline__ static void load(Chunk (&to)[kChunks], const Stored<Type>* here, int chunk, int count,
                                              Known known = {}) {
#pragma unroll
    for (int n = 0; n < kChunks; ++n) {
      const Stored<Type>* from = here + (n - kBefore) * W;
      const int at = chunk + n - kBefore;
      const bool begun = known.inside && (n >= kBefore || known.not_first),
                 before_end = known.inside && (n <= kBefore || known.not_last);
      to[n].clear();
      if (begun        ? !before_end && at >= count
          : before_end ? at < 0
                       : static_cast<unsigned>(at) >= static_cast<unsigned>(count))
        continue;
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
/// COUNT chunks of y, `stride` chunks from one to the next; x and y: where chunk `first` lies. INSIDE: all of them lie
/// in both rows, so that only what lies beside the first and the last needs a test.
template <class Type, int TAPS, int LEFT, bool ACTIVE, int COUNT, bool INSIDE>
struct ForwardChunks {
  using R = Reach<Type, TAPS, LEFT>;
  static constexpr int W = R::W;
  typename R::Chunk chunks[COUNT][R::kChunks];

  __device__ __forceinline__ void load(const ChannelsFirstForward& p, const Stored<Type>* x, int first, int stride) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i)
      R::load(chunks[i], x + i * stride * W, first + i * stride, p.x_chunks, {INSIDE, i > 0, i < COUNT - 1});
  }
  __device__ __forceinline__ void store(const ChannelsFirstForward& p, Stored<Type>* y, int first, int stride,
                                        const float (&w)[TAPS][1], float bias) const {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      float window[R::kWindow], sum[W];
      R::widen(chunks[i], window);
      correlate_window(sum, w, bias, window);
      if (ACTIVE) activate(sum, p.activation);
      typename R::Chunk result;
      result.narrow(sum);
      if (INSIDE || first + i * stride < p.y_chunks) result.store(y + i * stride * W);
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
    ForwardChunks<Type, TAPS, LEFT, ACTIVE, UNROLL, true> all;
    all.load(p, x, first, 32);
    p.weights.load<Type>(d, w, bias);
    all.store(p, y, first, 32, w, bias[0]);
  } else {
    p.weights.load<Type>(d, w, bias);
#pragma unroll 1
    for (int i = 0; i < UNROLL; i += 2) {
      ForwardChunks<Type, TAPS, LEFT, ACTIVE, 2, false> two;
      two.load(p, x + i * lanes * W, first + i * lanes, lanes);
      two.store(p, y + i * lanes * W, first + i * lanes, lanes, w, bias[0]);
    }
  }
}

}  // namespace ffc::cuda
