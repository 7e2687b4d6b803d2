// Backward, bhl, rows of whole chunks of 16 bytes:
//
//   dx[i] = sum_j w[j] g[i + LEFT - j],   dw[j] = sum_{b, i} x[i] g[i + LEFT - j],   dbias = sum_{b, l} g[l]
//   g = dy, or dy act'(pre) with pre[l] = bias + sum_j w[j] x[l + j - LEFT]
//
// Both take the same window of g around a chunk of x: window[m] = g[W c - (TAPS - 1 - LEFT) + m]. Under an activation
// every thread computes all of its window, from x[W c - (TAPS - 1)] to x[W c + W - 1 + TAPS - 1]. A block has one
// channel and a share of its rows; a thread keeps its sums over all of them, the block adds them up once at its end.
// Shared memory: [warps][TAPS + 1] floats.
#pragma once

#include "cuda/short/channels_first_forward.cuh"

namespace ffc::cuda {

/// Adds up `sums` over the block; sum j goes to to[j * stride].
template <int THREADS, int COUNT>
__device__ __forceinline__ void add_block(float (&sums)[COUNT], float* scratch, float* to, int stride) {
#pragma unroll
  for (int j = 0; j < COUNT; ++j)
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) sums[j] += __shfl_xor_sync(~0u, sums[j], mask);
  const int warp = threadIdx.x / 32;
  if (threadIdx.x % 32 == 0) {
#pragma unroll
    for (int j = 0; j < COUNT; ++j) scratch[warp * COUNT + j] = sums[j];
  }
  __syncthreads();
  if (threadIdx.x < COUNT) {
    float sum = 0;
    for (int i = 0; i < THREADS / 32; ++i) sum += scratch[i * COUNT + threadIdx.x];
    to[static_cast<long long>(threadIdx.x) * stride] = sum;
  }
}

/// The chunk of dx that a window of g gives.
template <class R, int TAPS>
__device__ __forceinline__ typename R::Chunk input_gradient(const float (&w)[TAPS][1],
                                                            const float (&window)[R::kWindow]) {
  float sum[R::W];
#pragma unroll
  for (int o = 0; o < R::W; ++o) {
    sum[o] = 0;
#pragma unroll
    for (int j = 0; j < TAPS; ++j) sum[o] += w[j][0] * window[o + TAPS - 1 - j];
  }
  typename R::Chunk result;
  result.narrow(sum);
  return result;
}
/// Adds what a chunk of x, at `samples`, and the window of g give to the sums of the taps and of the bias.
template <class R, int VALUES>
__device__ __forceinline__ void add_products(float (&sums)[VALUES], const float* samples,
                                             const float (&window)[R::kWindow]) {
  constexpr int kTaps = VALUES - 1;
#pragma unroll
  for (int o = 0; o < R::W; ++o) {
#pragma unroll
    for (int j = 0; j < kTaps; ++j) sums[j] += samples[o] * window[o + kTaps - 1 - j];
    sums[kTaps] += window[o + R::kReach];  // the chunk's own g
  }
}
/// Outside y there is no g, whatever x is: whether element m of the window around a chunk lies in y.
template <class R>
__device__ __forceinline__ bool in_output(int chunk, int m, int y_chunks) {
  const int at = chunk + (R::kFirst + m) / R::W - R::kBefore;
  return static_cast<unsigned>(at) < static_cast<unsigned>(y_chunks);
}

template <class Type, int TAPS, int LEFT, bool ACTIVE, int UNROLL, int THREADS, int BLOCKS>
__global__ void __launch_bounds__(THREADS, BLOCKS) channels_first_backward(const ChannelsFirstBackward p) {
  using R = Reach<Type, TAPS, TAPS - 1 - LEFT>;
  using Inputs = std::conditional_t<ACTIVE, Reach<Type, 2 * TAPS - 1, TAPS - 1>, Reach<Type, 1, 0>>;
  constexpr int W = R::W;
  extern __shared__ __align__(16) unsigned char shared[];
  const int d = p.splits(blockIdx.x), split = blockIdx.x - d * p.split_count;
  const int lanes = 1 << p.lane_bits, lane = threadIdx.x & (lanes - 1), group = threadIdx.x >> p.lane_bits;
  const int begin = split * p.items_per_split, end = min(begin + p.items_per_split, p.items);
  const Stored<Type>* x = static_cast<const Stored<Type>*>(p.x.data) + d * p.x.row_stride;
  const Stored<Type>* dy = static_cast<const Stored<Type>*>(p.dy.data) + d * p.dy.row_stride;
  Stored<Type>* dx = static_cast<Stored<Type>*>(p.dx.data) + d * p.dx.row_stride;
  const bool want_sums = p.sums != nullptr;
  const int x_chunks = ACTIVE || want_sums ? p.x_chunks : 0, dx_chunks = p.dx.data ? p.x_chunks : 0;

  float w[TAPS][1], bias[1], sums[TAPS + 1];
  p.weights.load<Type>(d, w, bias);
#pragma unroll
  for (int j = 0; j <= TAPS; ++j) sums[j] = 0;

  for (int item = begin + group; item < end; item += THREADS >> p.lane_bits) {
    const int b = p.segments(item);
    const int first = (item - b * p.segment_count) * UNROLL * lanes + lane;
    const long long at_first = static_cast<long long>(first) * W;
    const Stored<Type>* dy_here = dy + (b * p.dy.batch_stride + at_first);
    const Stored<Type>* x_here = x + (b * p.x.batch_stride + at_first);
    Stored<Type>* dx_here = dx + (b * p.dx.batch_stride + at_first);
    typename R::Chunk g[UNROLL][R::kChunks], inputs[UNROLL][Inputs::kChunks];
#pragma unroll
    for (int i = 0; i < UNROLL; ++i) {
      R::load(g[i], dy_here + i * lanes * W, first + i * lanes, p.y_chunks);
      Inputs::load(inputs[i], x_here + i * lanes * W, first + i * lanes, x_chunks);
    }
#pragma unroll
    for (int i = 0; i < UNROLL; ++i) {
      const int chunk = first + i * lanes;
      float window[R::kWindow], samples[Inputs::kWindow];
      R::widen(g[i], window);
      Inputs::widen(inputs[i], samples);
      if constexpr (ACTIVE) {
        float slopes[R::kWindow];
        correlate_window(slopes, w, bias[0], samples);
        to_slopes(slopes, p.activation);
#pragma unroll
        for (int m = 0; m < R::kWindow; ++m) window[m] = in_output<R>(chunk, m, p.y_chunks) ? window[m] * slopes[m] : 0;
      }
      if (chunk < dx_chunks) input_gradient<R>(w, window).store(dx_here + i * lanes * W);
      if (want_sums) add_products<R>(sums, samples + Inputs::kReach, window);
    }
  }
  if (want_sums)
    add_block<THREADS>(sums, reinterpret_cast<float*>(shared),
                       p.sums + (static_cast<long long>(split) * (TAPS + 1) * p.channel_count + d), p.channel_count);
}

}  // namespace ffc::cuda
