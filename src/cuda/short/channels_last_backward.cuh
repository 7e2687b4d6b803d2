// Backward without activation, blh, COUNT adjacent channels a thread:
//
//   dx[i] = sum_j w[j] g[i + left - j],   dw[j] = sum_{b, i} x[i] g[i + left - j],   dbias = sum_{b, l} g[l],   g = dy
//
// A thread walks along a run of samples i of x with rows i + left - (TAPS - 1) .. i + left of g in registers, as the
// forward pass does with x; its sums stay in registers over the run. The block then adds up those of one channel.
// Shared memory: [TAPS + 1][rows of threads][lanes * COUNT] floats.
#pragma once

#include "cuda/short/channels_last_forward.cuh"

namespace ffc::cuda {

/// Adds up sums[value][channel] of the threads that share channels; value j of channel d + c goes to to[j * stride +
/// c].
template <int THREADS, int VALUES, int COUNT, class Parameters>
__device__ __forceinline__ void add_columns(const Parameters& p, const float (&sums)[VALUES][COUNT], float* scratch) {
#pragma unroll
  for (int j = 0; j < VALUES; ++j)
#pragma unroll
    for (int c = 0; c < COUNT; ++c) scratch[(j * THREADS + threadIdx.x) * COUNT + c] = sums[j][c];
  __syncthreads();
  const int outer = p.vector_blocks(blockIdx.x), vector_block = blockIdx.x - outer * p.vector_block_count;
  const int width_bits = p.lane_bits + (COUNT == 8 ? 3 : COUNT == 4 ? 2 : COUNT == 2 ? 1 : 0);
  const int width = 1 << width_bits, rows = THREADS >> p.lane_bits;
  for (int at = threadIdx.x; at < VALUES << width_bits; at += THREADS) {
    const int j = at >> width_bits, column = at & (width - 1), d = (vector_block << width_bits) + column;
    if (d >= p.channel_count) continue;
    float sum = 0;
    for (int row = 0; row < rows; ++row) sum += scratch[j * THREADS * COUNT + (row << width_bits) + column];
    p.sums[(static_cast<long long>(outer) * VALUES + j) * p.channel_count + d] = sum;
  }
}

template <class Type, int TAPS, int COUNT, int STEP, int THREADS, int BLOCKS>
__global__ void __launch_bounds__(THREADS, BLOCKS) channels_last_backward(const ChannelsLastBackward p) {
  static_assert(STEP % TAPS == 0);
  extern __shared__ __align__(16) unsigned char shared[];
  // i runs to the last row of x, and until the last row of g has been the newest of a window.
  const Place at = place_of<COUNT, THREADS>(p, max(p.length, p.output_length - p.left));
  const bool want_sums = p.sums != nullptr;
  float sums[TAPS + 1][COUNT];
#pragma unroll
  for (int j = 0; j <= TAPS; ++j)
#pragma unroll
    for (int c = 0; c < COUNT; ++c) sums[j][c] = 0;

  if (at.d >= 0 && at.begin < at.end) {
    const Stored<Type>* x = static_cast<const Stored<Type>*>(p.x.data) + (at.b * p.x.batch_stride + at.d);
    const Stored<Type>* dy = static_cast<const Stored<Type>*>(p.dy.data) + (at.b * p.dy.batch_stride + at.d);
    Stored<Type>* dx =
        static_cast<Stored<Type>*>(p.dx.data) + (at.b * p.dx.batch_stride + at.d + at.begin * p.dx.row_stride);
    const int dx_end = p.dx.data ? min(at.end, p.length) : 0;

    Samples<Type, COUNT> early[TAPS > 1 ? TAPS - 1 : 1];
    Stream<Type, COUNT, STEP> g_stream(dy, p.dy.row_stride, at.begin + p.left - (TAPS - 1),
                                       min(p.output_length, at.end + p.left));
    Stream<Type, COUNT, STEP> x_stream(x, p.x.row_stride, at.begin, want_sums ? min(p.length, at.end) : 0);
#pragma unroll
    for (int j = 0; j < TAPS - 1; ++j) g_stream.fetch(early[j]);
    g_stream.begin();
    x_stream.begin();
    float w[TAPS][COUNT], g[TAPS][COUNT];
    load_weights<Type>(p.weights, at.d, w);
#pragma unroll
    for (int j = 0; j < TAPS - 1; ++j) {
      early[j].widen(g[j]);
      // Rows before any newest: every row of g counts once for the bias, in the run where it is the newest.
      if (at.begin == 0) {
#pragma unroll
        for (int c = 0; c < COUNT; ++c) sums[TAPS][c] += g[j][c];
      }
    }

    for (int base = at.begin; base < at.end; base += STEP) {
#pragma unroll
      for (int i = 0; i < STEP; ++i) {
        constexpr int kNewest = TAPS - 1;
        g_stream.take(i, g[(i + kNewest) % TAPS]);
        float samples[COUNT], sum[COUNT];
        x_stream.take(i, samples);
#pragma unroll
        for (int c = 0; c < COUNT; ++c) {
          sum[c] = 0;
#pragma unroll
          for (int j = 0; j < TAPS; ++j) {
            const float of_tap = g[(i + kNewest - j) % TAPS][c];
            sum[c] += w[j][c] * of_tap;
            sums[j][c] += samples[c] * of_tap;
          }
          sums[TAPS][c] += g[(i + kNewest) % TAPS][c];
        }
        Samples<Type, COUNT> result;
        result.narrow(sum);
        if (base + i < dx_end) result.store(dx);
        dx += p.dx.row_stride;
      }
    }
  }
  if (want_sums) add_columns<THREADS>(p, sums, reinterpret_cast<float*>(shared));
}

}  // namespace ffc::cuda
