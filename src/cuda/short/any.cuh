// Short convolutions of any kind, sample by sample: any number of taps, padding, alignment, states, packed sequences,
// gradients through activations. What the other kernels do not take.
//
//   correlate   y[l] = act(bias + sum_j w[j] x[l + j - left]), or g[l] = dy[l] act'(bias + sum ..) as floats; with taps
//               reversed and left = K - 1 - left also dx from g
//   taps        sums[split][j][d] = sum_{b, l} g[l] x[l + j - left], and of g
//   states      the last K - 1 inputs of a sequence; the gradient of those before its first
#pragma once

#include "cuda/short/parameters.cuh"

namespace ffc::cuda {

/// Samples of any strides: [batch, channels, length].
template <class Pointer>
struct AnyTensor {
  Pointer data;
  long long batch, channel, sample;  // strides
};

/// Sequences of a row, and the state before each: [states, channels, K - 1].
struct Sequences {
  const std::int64_t* borders;  // null: one, all of the row
  int count, length;

  struct Range {
    int index, low, high;
  };
  __device__ __forceinline__ Range at(int b, int l) const {
    if (borders == nullptr) return {b, 0, length};
    int low = 0, high = count;  // borders[low] <= l < borders[high]
    while (high - low > 1) {
      const int middle = low + (high - low) / 2;
      (borders[middle] <= l ? low : high) = middle;
    }
    return {low, static_cast<int>(borders[low]), static_cast<int>(borders[high])};
  }
  __device__ __forceinline__ Range of(int state) const {
    if (borders == nullptr) return {state, 0, length};
    return {state, static_cast<int>(borders[state]), static_cast<int>(borders[state + 1])};
  }
};

struct CorrelateParameters {
  AnyTensor<const void*> x;
  AnyTensor<void*> y;
  AnyTensor<const void*> dy;  // for gradients; null data: none
  WeightsView weights;
  ShortActivation activation;
  int taps, left, channels;
  Sequences sequences;  // of x
  int output_length;
  const void* state;  // [states, channels, taps - 1] before the first inputs; null: zeros
  const void* last;   // [states, channels, taps - 1], added to the last outputs of each sequence; null: nothing
  bool channels_last;
  int edge;  // > 0: only the `edge` outputs around the first of each sequence, from -edge_before on
  int edge_before;
  int edge_count;     // sequences of a row
  long long outputs;  // threads with work
};

enum class Correlate { output, gradient };  // act(sum) as Type, or dy act'(sum) as a float

/// sum_j w[j] x[l + j - left] over a sequence [low, high), and over the state before it.
template <class In, class Type>
__device__ __forceinline__ float correlate_at(const CorrelateParameters& p, int b, int d, int l,
                                              const Sequences::Range& range) {
  const Stored<In>* x = static_cast<const Stored<In>*>(p.x.data) + (b * p.x.batch + d * p.x.channel);
  const long long weight = d * p.weights.weight.channel_stride;
  float sum = 0;
  const int begin = max(0, range.low - (l - p.left)), end = min(p.taps, range.high - (l - p.left));
  for (int j = begin; j < end; ++j)
    sum += weight_at<Type>(p.weights.weight.data, weight + j * p.weights.weight.tap_stride, p.weights.single) *
           wide<In>(x[(l + j - p.left) * p.x.sample]);
  if (p.state != nullptr) {
    const long long state = (static_cast<long long>(range.index) * p.channels + d) * (p.taps - 1);
    for (int j = max(0, begin - (p.taps - 1)); j < min(begin, p.taps); ++j)
      sum += weight_at<Type>(p.weights.weight.data, weight + j * p.weights.weight.tap_stride, p.weights.single) *
             wide<Type>(static_cast<const Stored<Type>*>(p.state)[state + (p.taps - 1) + (j - begin)]);
  }
  return sum;
}

/// In: the type of x; Type: of weights, states, dy and (but for gradients) y.
template <class In, class Type, Correlate MODE>
__global__ void __launch_bounds__(256) any_correlate(const CorrelateParameters p) {
  const long long thread = blockIdx.x * 256LL + threadIdx.x;
  if (thread >= p.outputs) return;
  const int count = p.edge ? p.edge * p.edge_count : p.output_length;
  int b, d, l;
  if (p.channels_last) {
    d = static_cast<int>(thread % p.channels);
    l = static_cast<int>(thread / p.channels % count), b = static_cast<int>(thread / p.channels / count);
  } else {
    l = static_cast<int>(thread % count);
    d = static_cast<int>(thread / count % p.channels), b = static_cast<int>(thread / count / p.channels);
  }
  if (p.edge) {
    const int sequence = l / p.edge;
    const int border = p.sequences.borders ? static_cast<int>(p.sequences.borders[sequence]) : 0;
    l = border + l % p.edge - p.edge_before;
    if (l < 0 || l >= p.output_length) return;
  }
  const Sequences::Range range = p.sequences.at(b, l);
  float v[1] = {correlate_at<In, Type>(p, b, d, l, range) + p.weights.bias_of<Type>(d)};
  if (p.last != nullptr) {
    const int end = p.sequences.borders ? range.high : p.output_length, at = l - (end - (p.taps - 1));
    if (at >= 0)
      v[0] += wide<Type>(static_cast<const Stored<Type>*>(
          p.last)[(static_cast<long long>(range.index) * p.channels + d) * (p.taps - 1) + at]);
  }
  const long long to = b * p.y.batch + d * p.y.channel + l * p.y.sample;
  if constexpr (MODE == Correlate::output) {
    activate(v, p.activation);
    static_cast<Stored<Type>*>(p.y.data)[to] = narrow<Type>(v[0]);
  } else {
    const float dy =
        wide<Type>(static_cast<const Stored<Type>*>(p.dy.data)[b * p.dy.batch + d * p.dy.channel + l * p.dy.sample]);
    to_slopes(v, p.activation);
    static_cast<float*>(p.y.data)[to] = dy * v[0];
  }
}

struct TapsParameters {
  AnyTensor<const void*> x, g;
  int taps, left, channels, batch, output_length;
  Sequences sequences;
  const void* state;
  float* sums;    // [splits][taps + 1][channels]
  int lane_bits;  // channels side by side in a block
  int tile;       // outputs of an item
  int tiles, splits, channel_blocks, tap_groups;
};

inline constexpr int kTapGroup = 8;

/// Shared memory: [kTapGroup + 1][256] floats.
template <class In, class Type>
__global__ void __launch_bounds__(256, 2) any_taps(const TapsParameters p) {
  extern __shared__ __align__(16) unsigned char shared[];
  float* scratch = reinterpret_cast<float*>(shared);
  const int lane = threadIdx.x & ((1 << p.lane_bits) - 1), row = threadIdx.x >> p.lane_bits;
  int block = blockIdx.x;
  const int d = ((block % p.channel_blocks) << p.lane_bits) + lane;
  block /= p.channel_blocks;
  const int first = block % p.tap_groups * kTapGroup, split = block / p.tap_groups;
  float sums[kTapGroup + 1];
#pragma unroll
  for (int j = 0; j <= kTapGroup; ++j) sums[j] = 0;
  if (d < p.channels) {
    const long long items = static_cast<long long>(p.batch) * p.tiles;
    for (long long item = split; item < items; item += p.splits) {
      const int b = static_cast<int>(item / p.tiles), begin = static_cast<int>(item % p.tiles) * p.tile;
      const Stored<Type>* x = static_cast<const Stored<Type>*>(p.x.data) + (b * p.x.batch + d * p.x.channel);
      const Stored<In>* g = static_cast<const Stored<In>*>(p.g.data) + (b * p.g.batch + d * p.g.channel);
      for (int l = begin + row; l < min(begin + p.tile, p.output_length); l += 256 >> p.lane_bits) {
        const float gradient = wide<In>(g[l * p.g.sample]);
        const Sequences::Range range = p.sequences.at(b, l);
        const Stored<Type>* state = static_cast<const Stored<Type>*>(p.state) +
                                    (static_cast<long long>(range.index) * p.channels + d) * (p.taps - 1);
#pragma unroll
        for (int j = 0; j < kTapGroup; ++j) {
          const int i = l + first + j - p.left, before = p.taps - 1 + i - range.low;
          if (first + j >= p.taps) continue;
          if (i >= range.low && i < range.high)
            sums[j] += gradient * wide<Type>(x[i * p.x.sample]);
          else if (p.state != nullptr && i < range.low && before >= 0)
            sums[j] += gradient * wide<Type>(state[before]);
        }
        sums[kTapGroup] += gradient;
      }
    }
  }
#pragma unroll
  for (int j = 0; j <= kTapGroup; ++j) scratch[j * 256 + threadIdx.x] = sums[j];
  for (int stride = 128; stride >> p.lane_bits > 0; stride /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < stride)
      for (int j = 0; j <= kTapGroup; ++j) scratch[j * 256 + threadIdx.x] += scratch[j * 256 + threadIdx.x + stride];
  }
  if (row != 0 || d >= p.channels) return;
  float* to = p.sums + static_cast<long long>(split) * (p.taps + 1) * p.channels + d;
  for (int j = 0; j < kTapGroup && first + j < p.taps; ++j)
    to[static_cast<long long>(first + j) * p.channels] = scratch[j * 256 + threadIdx.x];
  if (first == 0) to[static_cast<long long>(p.taps) * p.channels] = scratch[kTapGroup * 256 + threadIdx.x];
}

struct StateParameters {
  AnyTensor<const void*> x;  // or g
  WeightsView weights;
  int taps, left, channels;
  Sequences sequences;  // of x
  int output_length;
  const void* from;  // [states, channels, taps - 1]: initial state, or the final state's gradient; null: zeros
  void* to;
  long long outputs;
};

/// final[m] = input K - 1 places before the end of the sequence + m, which may lie in the initial state.
template <class Type>
__global__ void __launch_bounds__(256) any_final_state(const StateParameters p) {
  const long long thread = blockIdx.x * 256LL + threadIdx.x;
  if (thread >= p.outputs) return;
  const int m = static_cast<int>(thread % (p.taps - 1)), d = static_cast<int>(thread / (p.taps - 1) % p.channels);
  const int state = static_cast<int>(thread / (p.taps - 1) / p.channels);
  const Sequences::Range range = p.sequences.of(state);
  const int length = range.high - range.low, at = length - (p.taps - 1) + m;  // from the first input of the sequence
  Stored<Type> v{};
  if (at >= 0) {
    const int b = p.sequences.borders ? 0 : state;
    v = static_cast<const Stored<Type>*>(p.x.data)[b * p.x.batch + d * p.x.channel + (range.low + at) * p.x.sample];
  } else if (p.from != nullptr) {
    v = static_cast<const Stored<Type>*>(p.from)[thread + length];
  }
  static_cast<Stored<Type>*>(p.to)[thread] = v;
}

/// dinitial[m] = sum_j w[j] g[i + left - j] at i = m - (K - 1), before the first input of the sequence, and the
/// gradient of the final state where that reaches so far back.
template <class In, class Type>
__global__ void __launch_bounds__(256) any_initial_gradient(const StateParameters p) {
  const long long thread = blockIdx.x * 256LL + threadIdx.x;
  if (thread >= p.outputs) return;
  const int m = static_cast<int>(thread % (p.taps - 1)), d = static_cast<int>(thread / (p.taps - 1) % p.channels);
  const int state = static_cast<int>(thread / (p.taps - 1) / p.channels);
  const Sequences::Range range = p.sequences.of(state);
  const int b = p.sequences.borders ? 0 : state;
  const int high = p.sequences.borders ? range.high : p.output_length;
  float sum = 0;
  for (int j = 0; j < p.taps; ++j) {
    const int l = range.low + m - (p.taps - 1) + p.left - j;
    if (l < range.low || l >= high) continue;
    sum += weight_at<Type>(p.weights.weight.data, d * p.weights.weight.channel_stride + j * p.weights.weight.tap_stride,
                           p.weights.single) *
           wide<In>(static_cast<const Stored<In>*>(
               p.x.data)[b * p.x.batch + d * p.x.channel + static_cast<long long>(l) * p.x.sample]);
  }
  const int length = range.high - range.low;
  if (p.from != nullptr && m >= length) sum += wide<Type>(static_cast<const Stored<Type>*>(p.from)[thread - length]);
  static_cast<Stored<Type>*>(p.to)[thread] = narrow<Type>(sum);
}

}  // namespace ffc::cuda
