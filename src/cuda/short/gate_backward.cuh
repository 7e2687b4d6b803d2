// Gradients through the front end of Hyena (gate.cuh), bhl: with c_k the three convolutions of z,
//
//   g_0 = dx0,   g_1 = dv c_2,   g_2 = dv c_1
//
// and dz, dweight, dbias from g_k as in channels_first_backward.cuh. A thread takes the same chunk of the three rows;
// it computes c_1 and c_2 over its window of dv again, from z. A block has one channel of x0 and v, and a share of its
// rows. Shared memory: [warps][TAPS + 1] floats.
#pragma once

#include "cuda/short/channels_first_backward.cuh"
#include "cuda/short/gate.cuh"

namespace ffc::cuda {

struct GateBackwardParameters {
  ChannelsFirstBackward rows;  // x: z, dx: dz, dy: dv; channels: D, but 3 D of the sums
  ConstShortTensor dx0;
};

template <class Type, int TAPS, int LEFT, int THREADS, int BLOCKS>
__global__ void __launch_bounds__(THREADS, BLOCKS) gate_backward(const GateBackwardParameters g) {
  using R = Reach<Type, TAPS, TAPS - 1 - LEFT>;
  using Inputs = Reach<Type, 2 * TAPS - 1, TAPS - 1>;
  constexpr int W = R::W;
  extern __shared__ __align__(16) unsigned char shared[];
  float* scratch = reinterpret_cast<float*>(shared);
  const ChannelsFirstBackward& p = g.rows;
  const int d = p.splits(blockIdx.x), split = blockIdx.x - d * p.split_count;
  const int lane = threadIdx.x & ((1 << p.lane_bits) - 1), group = threadIdx.x >> p.lane_bits;
  const int begin = split * p.items_per_split, end = min(begin + p.items_per_split, p.items);
  const long long z_part = p.channel_count * p.x.row_stride, dz_part = p.channel_count * p.dx.row_stride;
  const Stored<Type>* z = static_cast<const Stored<Type>*>(p.x.data) + d * p.x.row_stride;
  const Stored<Type>* dv = static_cast<const Stored<Type>*>(p.dy.data) + d * p.dy.row_stride;
  const Stored<Type>* dx0 = static_cast<const Stored<Type>*>(g.dx0.data) + d * g.dx0.row_stride;
  Stored<Type>* dz = static_cast<Stored<Type>*>(p.dx.data) + d * p.dx.row_stride;
  const bool want_sums = p.sums != nullptr;
  const int dz_chunks = p.dx.data ? p.x_chunks : 0;

  float w[3][TAPS][1], bias[3][1], sums[3][TAPS + 1];
#pragma unroll
  for (int k = 0; k < 3; ++k) {
    p.weights.load<Type>(k * p.channel_count + d, w[k], bias[k]);
#pragma unroll
    for (int j = 0; j <= TAPS; ++j) sums[k][j] = 0;
  }
  for (int item = begin + group; item < end; item += THREADS >> p.lane_bits) {
    const int b = p.segments(item), chunk = ((item - b * p.segment_count) << p.lane_bits) + lane;
    const long long at = static_cast<long long>(chunk) * W;
    const Stored<Type>* z_here = z + (b * p.x.batch_stride + at);
    Stored<Type>* dz_here = dz + (b * p.dx.batch_stride + at);
    typename R::Chunk of_x0[R::kChunks], of_v[R::kChunks], first[1], gated[2][Inputs::kChunks];
    R::load(of_v, dv + (b * p.dy.batch_stride + at), chunk, p.y_chunks);
    R::load(of_x0, dx0 + (b * g.dx0.batch_stride + at), chunk, p.y_chunks);
    Reach<Type, 1, 0>::load(first, z_here, chunk, p.x_chunks);
#pragma unroll
    for (int k = 0; k < 2; ++k) Inputs::load(gated[k], z_here + (k + 1) * z_part, chunk, p.x_chunks);

    float window[R::kWindow], own[W];
    R::widen(of_x0, window);
    first[0].widen(own);
    if (chunk < dz_chunks) input_gradient<R>(w[0], window).store(dz_here);
    if (want_sums) add_products<R>(sums[0], own, window);
    float samples[2][Inputs::kWindow];
#pragma unroll
    for (int k = 0; k < 2; ++k) Inputs::widen(gated[k], samples[k]);
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      float other[R::kWindow];
      correlate_window(other, w[2 - k], bias[2 - k][0], samples[1 - k]);
      R::widen(of_v, window);
#pragma unroll
      for (int m = 0; m < R::kWindow; ++m) window[m] = in_output<R>(chunk, m, p.y_chunks) ? window[m] * other[m] : 0;
      if (chunk < dz_chunks) input_gradient<R>(w[k + 1], window).store(dz_here + (k + 1) * dz_part);
      if (want_sums) add_products<R>(sums[k + 1], samples[k] + Inputs::kReach, window);
    }
  }
  if (!want_sums) return;
  const int channels = 3 * p.channel_count;
#pragma unroll
  for (int k = 0; k < 3; ++k) {
    __syncthreads();  // the sums before have been read
    add_block<THREADS>(sums[k], scratch,
                       p.sums + (static_cast<long long>(split) * (TAPS + 1) * channels + k * p.channel_count + d),
                       channels);
  }
}

struct AnyGateGradientParameters {
  CorrelateParameters rows;  // x: z; channels: D
  AnyTensor<const void*> dx0, dv;
  float* g;  // [batch, 3 D, output length]
};

/// g_0, g_1, g_2, sample by sample.
template <class Type>
__global__ void __launch_bounds__(256, 2) any_gate_gradient(const AnyGateGradientParameters g) {
  const CorrelateParameters& p = g.rows;
  const long long thread = blockIdx.x * 256LL + threadIdx.x;
  if (thread >= p.outputs) return;
  const GateSample at(p, thread);
  auto gradient = [&](const AnyTensor<const void*>& t) {
    return wide<Type>(static_cast<const Stored<Type>*>(t.data)[at.b * t.batch + at.d * t.channel + at.l]);
  };
  const long long part = static_cast<long long>(p.channels) * p.output_length;
  float* to = g.g + (3LL * at.b * part + static_cast<long long>(at.d) * p.output_length + at.l);
  const float dv = gradient(g.dv);
  to[0] = gradient(g.dx0), to[part] = dv * at.sum<Type>(p, 2), to[2 * part] = dv * at.sum<Type>(p, 1);
}

}  // namespace ffc::cuda
