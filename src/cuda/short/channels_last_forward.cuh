// Forward, blh, COUNT adjacent channels a thread: y[l] = act(bias + sum_j w[j] x[l + j - left]).
//
// A thread takes a short run of samples, ROWS of them, and loads all rows of x that they need at once. It then goes
// through them, the last TAPS as floats in registers: row r lies in slot r mod TAPS. Rows that two runs need come from
// L1 for one of the two if they lie in one block.
#pragma once

#include "cuda/short/parameters.cuh"

namespace ffc::cuda {

/// Where a thread of a blh kernel is: COUNT channels from `d` on (none if d < 0), run [begin, end) of row b.
struct Place {
  int b, d, begin, end;
};
template <int COUNT, int THREADS, class Parameters>
__device__ __forceinline__ Place place_of(const Parameters& p, int length) {
  const int lane = threadIdx.x & ((1 << p.lane_bits) - 1), row = threadIdx.x >> p.lane_bits;
  const int outer = p.vector_blocks(blockIdx.x), vector_block = blockIdx.x - outer * p.vector_block_count;
  const int b = p.run_blocks(outer), run_block = outer - b * p.run_block_count;
  const int vector = (vector_block << p.lane_bits) + lane;
  const int begin = (run_block * (THREADS >> p.lane_bits) + row) * p.run;
  return {b, vector < p.vectors ? vector * COUNT : -1, begin, min(begin + p.run, length)};
}

/// GROUP channels at a time are computed, so that the weights and the window of the others take no registers meanwhile.
/// A row of y takes the place of the first row of x that it needs.
template <class Type, int TAPS, bool ACTIVE, int COUNT, int GROUP, int ROWS, int THREADS, int BLOCKS>
__global__ void __launch_bounds__(THREADS, BLOCKS) channels_last_forward(const ChannelsLastForward p) {
  const Place at = place_of<COUNT, THREADS>(p, p.output_length);  // p.run is ROWS
  if (at.d < 0 || at.begin >= at.end) return;
  const int first = at.begin - p.left, outputs = at.end - at.begin;
  const Stored<Type>* x =
      static_cast<const Stored<Type>*>(p.x.data) + (at.b * p.x.batch_stride + at.d + first * p.x.row_stride);
  Stored<Type>* y = static_cast<Stored<Type>*>(p.y.data) + (at.b * p.y.batch_stride + at.d + at.begin * p.y.row_stride);

  // Outputs [begin, begin + ROWS) need rows [first, first + kRead).
  constexpr int kRead = ROWS + TAPS - 1;
  SampleVector<Type, COUNT> rows[kRead];
  if (first >= 0 && first + kRead <= p.length) {
#pragma unroll
    for (int i = 0; i < kRead; ++i) rows[i].load(x + i * p.x.row_stride);
  } else {
#pragma unroll
    for (int i = 0; i < kRead; ++i) {
      rows[i].clear();
      if (static_cast<unsigned>(first + i) < static_cast<unsigned>(p.length)) rows[i].load(x + i * p.x.row_stride);
    }
  }
#pragma unroll
  for (int group = 0; group < COUNT; group += GROUP) {
    float w[TAPS][GROUP], bias[GROUP], window[TAPS][GROUP];
    p.weights.load<Type>(at.d + group, w, bias);
#pragma unroll
    for (int j = 0; j < TAPS - 1; ++j) rows[j].template widen_part<GROUP>(group, window[j]);
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      rows[i + TAPS - 1].template widen_part<GROUP>(group, window[(i + TAPS - 1) % TAPS]);
      float sum[GROUP];
#pragma unroll
      for (int c = 0; c < GROUP; ++c) {
        sum[c] = bias[c];
#pragma unroll
        for (int j = 0; j < TAPS; ++j) sum[c] += w[j][c] * window[(i + j) % TAPS][c];
      }
      if (ACTIVE) activate(sum, p.activation);
      rows[i].narrow_part(group, sum);
      if (group + GROUP < COUNT) continue;
      if (i < outputs) rows[i].store(y + i * p.y.row_stride);
    }
  }
}

}  // namespace ffc::cuda
