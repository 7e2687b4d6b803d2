// Backward, blh, COUNT adjacent channels a thread:
//
//   dx[i] = sum_j w[j] g[i + left - j],   dw[j] = sum_{b, i} x[i] g[i + left - j],   dbias = sum_{b, l} g[l]
//   g = dy, or dy act'(pre) with pre[l] = bias + sum_j w[j] x[l + j - left]
//
// A thread walks along a run of samples i of x with rows i + left - (TAPS - 1) .. i + left of g as floats in registers:
// row r lies in slot r mod TAPS, and STEP, a multiple of TAPS, rows are gone through one after another so that slots
// are constants. A row is loaded STEP rows before it is needed. The sums stay in registers over the run. Under an
// activation the thread has rows i .. i + TAPS - 1 of x too, which give row i + left of g, and begins a step early to
// have the rows of g before. The block then adds up the sums of one channel. Shared memory: [TAPS + 1][rows of
// threads][lanes * COUNT] floats.
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

/// Rows of COUNT channels on the way from memory, STEP ahead of their use.
template <class Type, int COUNT, int STEP>
struct Stream {
  SampleVector<Type, COUNT> rows[STEP];
  const Stored<Type>* next;
  int limit;  // rows outside [0, limit) are zeros

  __device__ __forceinline__ Stream(const Stored<Type>* first, int end) : next(first), limit(end) {}
  /// The next row, which is row `at`.
  __device__ __forceinline__ void fetch(SampleVector<Type, COUNT>& row, int at, long long stride) {
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
__global__ void __launch_bounds__(THREADS, BLOCKS) channels_last_backward(const ChannelsLastBackward p) {
  static_assert(STEP % TAPS == 0);
  constexpr int kNewest = TAPS - 1, kEarly = TAPS > 1 ? TAPS - 1 : 1;
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
    const int first = ACTIVE ? at.begin - STEP : at.begin, dx_end = p.dx.data ? min(at.end, p.length) : 0;
    Stored<Type>* dx =
        static_cast<Stored<Type>*>(p.dx.data) + (at.b * p.dx.batch_stride + at.d + first * p.dx.row_stride);

    SampleVector<Type, COUNT> early[kEarly];  // of g, or of x
    // Rows of g and x at the first step, and how far x is ahead.
    constexpr int kLead = ACTIVE ? TAPS - 1 : 0, kHeld = kLead + 1;
    const int g_first = first + p.left - (ACTIVE ? 0 : TAPS - 1);
    Stream<Type, COUNT, STEP> g_stream(dy + g_first * p.dy.row_stride, min(p.output_length, at.end + p.left));
    Stream<Type, COUNT, STEP> x_stream(x + first * p.x.row_stride,
                                       ACTIVE || want_sums ? min(p.length, at.end + kLead) : 0);
#pragma unroll
    for (int j = 0; j < TAPS - 1; ++j) {
      if constexpr (ACTIVE)
        x_stream.fetch(early[j], first + j, p.x.row_stride);
      else
        g_stream.fetch(early[j], g_first + j, p.dy.row_stride);
    }
    g_stream.begin(first + p.left, p.dy.row_stride);
    x_stream.begin(first + kLead, p.x.row_stride);
    float w[TAPS][COUNT], bias[COUNT], g[TAPS][COUNT], samples[kHeld][COUNT];
    p.weights.load<Type>(at.d, w, bias);
#pragma unroll
    for (int j = 0; j < TAPS - 1; ++j) {
      if constexpr (ACTIVE) {
        early[j].widen(samples[j]);
#pragma unroll
        for (int c = 0; c < COUNT; ++c) g[j][c] = 0;
      } else {
        early[j].widen(g[j]);
        // Rows before any newest: every row of g counts once for the bias, in the run where it is the newest.
        if (at.begin == 0) {
#pragma unroll
          for (int c = 0; c < COUNT; ++c) sums[TAPS][c] += g[j][c];
        }
      }
    }

    for (int base = first; base < at.end; base += STEP) {
#pragma unroll
      for (int i = 0; i < STEP; ++i) {
        float (&newest)[COUNT] = g[(i + kNewest) % TAPS];
        g_stream.take(i, newest, base + i + STEP + p.left, p.dy.row_stride);
        x_stream.take(i, samples[(i + kLead) % kHeld], base + i + STEP + kLead, p.x.row_stride);
        if constexpr (ACTIVE) {
          const int l = base + i + p.left;
          const bool exists = static_cast<unsigned>(l) < static_cast<unsigned>(p.output_length);
          float slopes[COUNT];
#pragma unroll
          for (int c = 0; c < COUNT; ++c) {
            slopes[c] = bias[c];
#pragma unroll
            for (int j = 0; j < TAPS; ++j) slopes[c] += w[j][c] * samples[(i + j) % TAPS][c];
          }
          to_slopes(slopes, p.activation);
#pragma unroll
          for (int c = 0; c < COUNT; ++c) newest[c] = exists ? newest[c] * slopes[c] : 0;
        }
        const bool early_row = ACTIVE && base + i < at.begin, own = !early_row && base + i < at.end;
        float sum[COUNT];
#pragma unroll
        for (int c = 0; c < COUNT; ++c) {
          const float sample = samples[i % kHeld][c], x_here = ACTIVE && !own ? 0 : sample;
          sum[c] = 0;
#pragma unroll
          for (int j = 0; j < TAPS; ++j) {
            const float of_tap = g[(i + kNewest - j) % TAPS][c];
            sum[c] += w[j][c] * of_tap;
            sums[j][c] += x_here * of_tap;
          }
          if (!ACTIVE || own || (early_row && at.begin == 0)) sums[TAPS][c] += newest[c];
        }
        SampleVector<Type, COUNT> result;
        result.narrow(sum);
        if (!early_row && base + i < dx_end) result.store(dx);
        dx += p.dx.row_stride;
      }
    }
  }
  if (want_sums) add_columns<THREADS>(p, sums, reinterpret_cast<float*>(shared));
}

}  // namespace ffc::cuda
