// The front end of Hyena, bhl: of z [batch, 3 D, L]
//
//   x0 = c_0,   v = c_1 c_2,   c_k[b, d, l] = bias[k D + d] + sum_j w[k D + d, j] z[b, k D + d, l + j - left]
//
// in one pass: z is read once, x0 and v are written once. Threads and chunks as in channels_first_forward.cuh; a thread
// takes the same chunks of the three rows.
#pragma once

#include "cuda/short/any.cuh"
#include "cuda/short/channels_first_forward.cuh"

namespace ffc::cuda {

struct GateParameters {
  ChannelsFirstForward rows;  // x: z, y: v; channels: D
  ShortTensor x0;
};

template <class Type, int TAPS, int LEFT, int UNROLL, int THREADS, int BLOCKS>
__global__ void __launch_bounds__(THREADS, BLOCKS) gate_forward(const GateParameters g) {
  using R = Reach<Type, TAPS, LEFT>;
  constexpr int W = R::W;
  const ChannelsFirstForward& p = g.rows;
  const unsigned thread = blockIdx.x * THREADS + threadIdx.x, unit = thread >> p.lane_bits;
  if (unit >= p.units) return;
  const int lanes = 1 << p.lane_bits, lane = thread & (lanes - 1);
  const unsigned row = p.segments(unit), b = p.channels(row);
  const int d = row - b * p.channel_count;
  const int first = (unit - row * p.segment_count) * UNROLL * lanes + lane;
  const long long begin = static_cast<long long>(first) * W, part = p.channel_count * p.x.row_stride;
  const Stored<Type>* z =
      static_cast<const Stored<Type>*>(p.x.data) + (b * p.x.batch_stride + d * p.x.row_stride + begin);
  Stored<Type>* x0 = static_cast<Stored<Type>*>(g.x0.data) + (b * g.x0.batch_stride + d * g.x0.row_stride + begin);
  Stored<Type>* v = static_cast<Stored<Type>*>(p.y.data) + (b * p.y.batch_stride + d * p.y.row_stride + begin);

  typename R::Chunk chunks[3][UNROLL][R::kChunks];
  float w[3][TAPS][1], bias[3][1];
#pragma unroll
  for (int k = 0; k < 3; ++k)
#pragma unroll
    for (int i = 0; i < UNROLL; ++i) R::load(chunks[k][i], z + k * part + i * lanes * W, first + i * lanes, p.x_chunks);
#pragma unroll
  for (int k = 0; k < 3; ++k) p.weights.load<Type>(k * p.channel_count + d, w[k], bias[k]);
#pragma unroll
  for (int i = 0; i < UNROLL; ++i) {
    float sum[3][W];
#pragma unroll
    for (int k = 0; k < 3; ++k) {
      float window[R::kWindow];
      R::widen(chunks[k][i], window);
      correlate_window(sum[k], w[k], bias[k][0], window);
    }
#pragma unroll
    for (int o = 0; o < W; ++o) sum[1][o] *= sum[2][o];
    if (first + i * lanes >= p.y_chunks) continue;
    typename R::Chunk result;
    result.narrow(sum[0]);
    result.store(x0 + i * lanes * W);
    result.narrow(sum[1]);
    result.store(v + i * lanes * W);
  }
}

struct AnyGateParameters {
  CorrelateParameters rows;  // x: z, y: v; channels: D
  AnyTensor<void*> x0;
};

/// Sample by sample: the one of a thread, and c_k there.
struct GateSample {
  int b, d, l;

  __device__ __forceinline__ GateSample(const CorrelateParameters& p, long long thread)
      : b(static_cast<int>(thread / p.output_length / p.channels)),
        d(static_cast<int>(thread / p.output_length % p.channels)),
        l(static_cast<int>(thread % p.output_length)) {}
  template <class Type>
  __device__ __forceinline__ float sum(const CorrelateParameters& p, int k) const {
    const int row = k * p.channels + d;
    return correlate_at<Type, Type>(p, b, row, l, p.sequences.at(b, l)) + p.weights.bias_of<Type>(row);
  }
};

template <class Type>
__global__ void __launch_bounds__(256, 2) any_gate(const AnyGateParameters g) {
  const CorrelateParameters& p = g.rows;
  const long long thread = blockIdx.x * 256LL + threadIdx.x;
  if (thread >= p.outputs) return;
  const GateSample at(p, thread);
  static_cast<Stored<Type>*>(g.x0.data)[at.b * g.x0.batch + at.d * g.x0.channel + at.l] =
      narrow<Type>(at.sum<Type>(p, 0));
  static_cast<Stored<Type>*>(p.y.data)[at.b * p.y.batch + at.d * p.y.channel + at.l] =
      narrow<Type>(at.sum<Type>(p, 1) * at.sum<Type>(p, 2));
}

}  // namespace ffc::cuda
