// Forward, blh, COUNT adjacent channels a thread: y[l] = act(bias + sum_j w[j] x[l + j - left]).
//
// A thread walks along a run of samples with the last TAPS of them as floats in registers: row r lies in slot r mod
// TAPS, and STEP, a multiple of TAPS, rows are written out one after another so that slots are constants. A row is
// loaded STEP rows before it is needed: STEP loads of every thread are under way at any time.
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

/// Rows of COUNT channels on the way from memory, STEP ahead of their use.
template <class Type, int COUNT, int STEP>
struct Stream {
  Samples<Type, COUNT> rows[STEP];
  const Stored<Type>* next;
  int limit;  // rows outside [0, limit) are zeros

  __device__ __forceinline__ Stream(const Stored<Type>* first, int end) : next(first), limit(end) {}
  /// The next row, which is row `at`.
  __device__ __forceinline__ void fetch(Samples<Type, COUNT>& row, int at, long long stride) {
    row.clear();
    if (static_cast<unsigned>(at) < static_cast<unsigned>(limit)) row.load(next);
    next += stride;
  }
  __device__ __forceinline__ void begin(int at, long long stride) {
#pragma unroll
    for (int i = 0; i < STEP; ++i) fetch(rows[i], at + i, stride);
  }
  /// Row i of the step as floats; the row a step later, row `at`, is on its way then.
  __device__ __forceinline__ void take(int i, float (&to)[COUNT], int at, long long stride) {
    rows[i].widen(to);
    fetch(rows[i], at, stride);
  }
};

template <class Type, int TAPS, bool ACTIVE, int COUNT, int STEP, int THREADS, int BLOCKS>
__global__ void __launch_bounds__(THREADS, BLOCKS) channels_last_forward(const ChannelsLastForward p) {
  static_assert(STEP % TAPS == 0);
  const Place at = place_of<COUNT, THREADS>(p, p.output_length);
  if (at.d < 0 || at.begin >= at.end) return;
  const Stored<Type>* x = static_cast<const Stored<Type>*>(p.x.data) + (at.b * p.x.batch_stride + at.d);
  Stored<Type>* y = static_cast<Stored<Type>*>(p.y.data) + (at.b * p.y.batch_stride + at.d + at.begin * p.y.row_stride);

  // Outputs [begin, end) need rows [begin - left, end - left + TAPS - 1).
  const int first = at.begin - p.left;
  Samples<Type, COUNT> early[TAPS > 1 ? TAPS - 1 : 1];
  Stream<Type, COUNT, STEP> stream(x + first * p.x.row_stride, min(p.length, at.end - p.left + TAPS - 1));
#pragma unroll
  for (int j = 0; j < TAPS - 1; ++j) stream.fetch(early[j], first + j, p.x.row_stride);
  stream.begin(first + TAPS - 1, p.x.row_stride);
  float w[TAPS][COUNT], bias[COUNT], window[TAPS][COUNT];
  p.weights.load<Type>(at.d, w, bias);
#pragma unroll
  for (int j = 0; j < TAPS - 1; ++j) early[j].widen(window[j]);

  for (int base = at.begin; base < at.end; base += STEP) {
#pragma unroll
    for (int i = 0; i < STEP; ++i) {
      stream.take(i, window[(i + TAPS - 1) % TAPS], base + i + STEP + TAPS - 1 - p.left, p.x.row_stride);
      float sum[COUNT];
#pragma unroll
      for (int c = 0; c < COUNT; ++c) {
        sum[c] = bias[c];
#pragma unroll
        for (int j = 0; j < TAPS; ++j) sum[c] += w[j][c] * window[(i + j) % TAPS][c];
      }
      if (ACTIVE) activate(sum, p.activation);
      Samples<Type, COUNT> result;
      result.narrow(sum);
      if (base + i < at.end) result.store(y);
      y += p.y.row_stride;
    }
  }
}

}  // namespace ffc::cuda
