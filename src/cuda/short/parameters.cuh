// What the kernels of short convolutions are given.
#pragma once

#include "cuda/short/samples.cuh"
#include "cuda/short/short_launch.h"

namespace ffc::cuda {

/// n / divisor for n < 2^31, 0 < divisor < 2^31. With 2^(s-1) < divisor <= 2^s, multiplier = ceil(2^(31+s) / divisor)
/// exceeds the quotient by less than 2^s / 2^(31+s), which n < 2^31 does not bring up to 1 / divisor.
struct Divisor {
  unsigned multiplier = 0, shift = 0;

  Divisor() = default;
  explicit Divisor(std::int64_t divisor) {
    unsigned s = 0;
    while ((std::int64_t{1} << s) < divisor) ++s;
    shift = 31 + s;
    multiplier = static_cast<unsigned>(((std::uint64_t{1} << shift) + divisor - 1) / divisor);
  }
  __device__ __forceinline__ unsigned operator()(unsigned n) const {
    return static_cast<unsigned>(static_cast<unsigned long long>(n) * multiplier >> shift);
  }
};

/// A tensor of either layout, the last axis adjacent. row_stride: from channel to channel in bhl, from sample to sample
/// in blh.
struct ShortTensor {
  void* data = nullptr;
  std::int64_t batch_stride = 0, row_stride = 0;
};
struct ConstShortTensor {
  const void* data = nullptr;
  std::int64_t batch_stride = 0, row_stride = 0;
};

/// COUNT adjacent samples, in words where they fill words.
template <class Type, int COUNT, bool WORDS = COUNT % kPerWord<Type> == 0>
struct Some : SampleVector<Type, COUNT> {};
template <class Type, int COUNT>
struct Some<Type, COUNT, false> {
  Stored<Type> samples[COUNT];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int c = 0; c < COUNT; ++c) samples[c] = 0;
  }
  __device__ __forceinline__ void load(const Stored<Type>* from) {
#pragma unroll
    for (int c = 0; c < COUNT; ++c) samples[c] = __ldg(from + c);
  }
  __device__ __forceinline__ void widen(float* to) const {
#pragma unroll
    for (int c = 0; c < COUNT; ++c) to[c] = wide<Type>(samples[c]);
  }
};

/// weight(d, j), bias(d).
struct WeightsView {
  ConstWeight weight;
  const void* bias;
  bool single;    // fp32; else the samples' type
  bool adjacent;  // [channels, taps] without gaps; these and the bias aligned to 16 bytes

  /// to[j][c] = weight(d + c, j), bias_to[c] = bias(d + c); d is a multiple of COUNT.
  template <class Type, int TAPS, int COUNT>
  __device__ __forceinline__ void load(int d, float (&to)[TAPS][COUNT], float (&bias_to)[COUNT]) const {
    if (single)
      load_as<Single>(d, to, bias_to);
    else
      load_as<Type>(d, to, bias_to);
  }
  template <class Weight, int TAPS, int COUNT>
  __device__ __forceinline__ void load_as(int d, float (&to)[TAPS][COUNT], float (&bias_to)[COUNT]) const {
    using Element = Stored<Weight>;
    if (adjacent) {  // all loads before the first use
      const Element* from = static_cast<const Element*>(weight.data) + static_cast<long long>(d) * TAPS;
      Some<Weight, COUNT> taps[TAPS], biases;
#pragma unroll
      for (int i = 0; i < TAPS; ++i) taps[i].load(from + i * COUNT);
      biases.clear();
      if (bias) biases.load(static_cast<const Element*>(bias) + d);
      float in_order[TAPS * COUNT];
#pragma unroll
      for (int i = 0; i < TAPS; ++i) taps[i].widen(in_order + i * COUNT);
#pragma unroll
      for (int i = 0; i < TAPS * COUNT; ++i) to[i % TAPS][i / TAPS] = in_order[i];
      biases.widen(bias_to);
      return;
    }
#pragma unroll
    for (int c = 0; c < COUNT; ++c) {
      const Element* from = static_cast<const Element*>(weight.data) + (d + c) * weight.channel_stride;
#pragma unroll
      for (int j = 0; j < TAPS; ++j) to[j][c] = wide<Weight>(__ldg(from + j * weight.tap_stride));
      bias_to[c] = bias ? wide<Weight>(__ldg(static_cast<const Element*>(bias) + d + c)) : 0;
    }
  }
  template <class Type>
  __device__ __forceinline__ float bias_of(int d) const {
    return bias ? weight_at<Type>(bias, d, single) : 0;
  }
};

/// The weights and the bias of a channel that a whole warp has in common: lane j keeps weight(d, j), lane TAPS the
/// bias.
template <class Type, int TAPS>
struct WarpWeights {
  static_assert(TAPS < 32);
  u32 bits;  // as stored

  __device__ __forceinline__ void load(const WeightsView& view, int d, int lane) {
    const bool tap = lane < TAPS || view.bias == nullptr;  // the other lanes load what nobody reads
    const void* data = tap ? view.weight.data : view.bias;
    const long long at = tap ? d * view.weight.channel_stride + min(lane, TAPS - 1) * view.weight.tap_stride : d;
    if (kPerWord<Type> == 1 || view.single)
      bits = __ldg(static_cast<const u32*>(data) + at);
    else
      bits = __ldg(static_cast<const std::uint16_t*>(data) + at);
  }
  __device__ __forceinline__ void share(const WeightsView& view, float (&to)[TAPS][1], float& bias) const {
    float own = __uint_as_float(bits);
    if constexpr (kPerWord<Type> == 2)
      if (!view.single) own = Type::wide(bits).x;
#pragma unroll
    for (int j = 0; j < TAPS; ++j) to[j][0] = __shfl_sync(~0u, own, j);
    bias = __shfl_sync(~0u, own, TAPS);
    if (view.bias == nullptr) bias = 0;
  }
};

/// bhl: a row in chunks of 16 bytes; `lanes` neighbouring threads share a segment of UNROLL * lanes chunks.
struct ChannelsFirstForward {
  ConstShortTensor x;
  ShortTensor y;
  WeightsView weights;
  ShortActivation activation;
  int x_chunks, y_chunks;  // of a row
  int lane_bits;           // lanes = 1 << lane_bits
  unsigned units;          // segments of all rows
  Divisor segments, channels;
  int segment_count, channel_count;
};
struct ChannelsFirstBackward {
  ConstShortTensor x, dy;
  ShortTensor dx;
  WeightsView weights;
  ShortActivation activation;
  float* sums;  // [splits][TAPS + 1][channels], the last of each the bias's; null: not wanted
  int x_chunks, y_chunks;
  int lane_bits;
  int items, items_per_split;  // an item is a segment of one row of the block's channel
  Divisor segments, splits;
  int segment_count, split_count, channel_count;
};

/// blh: COUNT adjacent channels a thread; `lanes` neighbouring threads lie side by side along the channels, and each
/// walks along a run of samples.
struct ChannelsLastForward {
  ConstShortTensor x;
  ShortTensor y;
  WeightsView weights;
  ShortActivation activation;
  int length, output_length, left;
  int vectors;  // of COUNT channels
  int lane_bits;
  int run;  // samples
  Divisor vector_blocks, run_blocks;
  int vector_block_count, run_block_count;
};
struct ChannelsLastBackward {
  ConstShortTensor x, dy;
  ShortTensor dx;
  WeightsView weights;
  ShortActivation activation;
  float* sums;  // as above, a split for each block along the samples and batches
  int length, output_length, left;
  int vectors;
  int lane_bits;
  int run;
  Divisor vector_blocks, run_blocks;
  int vector_block_count, run_block_count, channel_count;
};

/// dweight, dbias from sums[splits][taps + 1][channels].
struct SumsParameters {
  const float* sums;
  int splits, taps, channels;
  Weight dweight;
  void* dbias;
  bool single;
  int channel_blocks;
};

}  // namespace ffc::cuda
