// Which kernel takes a problem, and how the problem is spread over its threads: host code that fills in the kernels'
// parameters. It depends on nothing but the problem, so that sums are formed in the same order on every device.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "cuda/short/instances.h"
#include "cuda/short/parameters.cuh"

namespace ffc::cuda {

/// Blocks, of 128 threads (bhl, backward) or 256 (any_taps), that keep a large GPU busy, with some to spare for the
/// last ones to even out.
inline constexpr std::int64_t kManyBlocks = 5280;
/// Threads of blh, backward, which hold more registers: some four times what a large GPU runs at a time.
inline constexpr std::int64_t kManyThreads = 200'000;
/// Bytes of sums that a backward pass of blh may take however small x is.
inline constexpr std::size_t kFewSums = 64 << 20;
/// Rows of a run at least: weights are loaded, and rows before it, once a run.
inline constexpr std::int64_t kShortestRun = 16;

constexpr std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// The smallest b, up to `most`, with 1 << b >= n.
constexpr int bits_for(std::int64_t n, int most) {
  int b = 0;
  while (b < most && (std::int64_t{1} << b) < n) ++b;
  return b;
}

inline WeightsView weights_of(const ShortShape& shape, const ConstWeight& weight, const void* bias) {
  auto aligned = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; };
  return {weight, bias, shape.weight_dtype == DType::f32,
          weight.channel_stride == shape.taps && weight.tap_stride == 1 && aligned(weight.data) && aligned(bias)};
}

inline ShortTensor tensor_of(const ffc::Sequences& t) { return {t.data, t.batch_stride, t.line_stride}; }
inline ConstShortTensor tensor_of(const ConstSequences& t) { return {t.data, t.batch_stride, t.line_stride}; }

/// Whether samples lie in aligned chunks of `count`: rows of bhl, channels of blh.
template <class Tensor>
bool in_chunks(const ShortShape& s, const Tensor& t, int count) {
  const auto bytes = static_cast<std::uintptr_t>(count * size_of(s.dtype));
  return reinterpret_cast<std::uintptr_t>(t.data) % bytes == 0 && (s.batch == 1 || t.batch_stride % count == 0) &&
         t.line_stride % count == 0;
}

/// Tuned kernels take zeros for what is before the first sample, one sequence a row.
inline bool is_plain(const ShortShape& s) { return s.taps <= kTunedTaps && s.left < s.taps && s.sequences == 0; }

inline int padding_index(const ShortShape& s) {
  for (int i = 0; i < kPaddings; ++i)
    if (s.left == padding_of(static_cast<int>(s.taps), i)) return i;
  return -1;
}

template <class BackwardJob>
bool wants_sums(const BackwardJob& job) {
  return job.dweight.data || job.dbias;
}

/// How a row of so many chunks is cut in bhl: into `count` segments, each of the kernel's steps of 1 << lane_bits
/// threads.
struct Segments {
  int lane_bits;
  std::int64_t count;

  Segments(std::int64_t chunks, const ShortKernel& kernel)
      : lane_bits(bits_for(ceil_divide(chunks, kernel.steps), 5)),
        count(ceil_divide(chunks, std::int64_t{kernel.steps} << lane_bits)) {}
};
inline Segments forward_segments(const ShortShape& s, const ShortKernel& kernel) {
  return {s.output_length() / kernel.count, kernel};
}
inline Segments backward_segments(const ShortShape& s, const ShortKernel& kernel) {
  return {std::max(s.length, s.output_length()) / kernel.count, kernel};
}

/// Whether the kernels of bhl can count what a problem has: forward the threads in 32 bits and the units, which a
/// Divisor takes, below 2^31; backward the items of a channel in an int, with room for a split beyond the last.
inline bool counts_forward(const ShortShape& s, const ShortKernel& kernel) {
  const Segments segments = forward_segments(s, kernel);
  const std::int64_t units = s.batch * s.channels * segments.count;
  return units <= std::int64_t{1} << 31 && units << segments.lane_bits <= std::int64_t{1} << 32;
}
inline bool counts_backward(const ShortShape& s, const ShortKernel& kernel) {
  return s.batch * backward_segments(s, kernel).count <= std::int64_t{1} << 30;
}
/// Whether any_correlate can count the outputs around the beginnings of sequences, in an int.
inline bool counts_edges(const ShortShape& s) { return s.sequences * (s.taps - 1) <= INT32_MAX; }

inline ChannelsFirstForward fill(const ShortForwardJob& job, const ShortKernel& kernel, std::int64_t& blocks) {
  const ShortShape& s = job.shape;
  ChannelsFirstForward p{};
  p.x = tensor_of(job.x), p.y = tensor_of(job.y), p.weights = weights_of(s, job.weight, job.bias),
  p.activation = s.activation;
  p.x_chunks = static_cast<int>(s.length / kernel.count);
  p.y_chunks = static_cast<int>(s.output_length() / kernel.count);
  const Segments segments = forward_segments(s, kernel);
  p.lane_bits = segments.lane_bits;
  p.segment_count = static_cast<int>(segments.count), p.segments = Divisor(segments.count);
  p.channel_count = static_cast<int>(s.channels), p.channels = Divisor(s.channels);
  const std::int64_t units = s.batch * s.channels * p.segment_count;
  p.units = static_cast<unsigned>(units);
  blocks = ceil_divide(units << p.lane_bits, kernel.threads);
  return p;
}

inline ChannelsFirstBackward fill_first(const ShortBackwardJob& job, const ShortKernel& kernel, std::int64_t& blocks) {
  const ShortShape& s = job.shape;
  ChannelsFirstBackward p{};
  p.x = tensor_of(job.x), p.dy = tensor_of(job.dy), p.dx = tensor_of(job.dx),
  p.weights = weights_of(s, job.weight, job.bias);
  p.activation = s.activation;
  p.sums = wants_sums(job) ? static_cast<float*>(job.workspace) : nullptr;
  p.x_chunks = static_cast<int>(s.length / kernel.count);
  p.y_chunks = static_cast<int>(s.output_length() / kernel.count);
  const Segments segments = backward_segments(s, kernel);
  p.lane_bits = segments.lane_bits;
  p.segment_count = static_cast<int>(segments.count), p.segments = Divisor(segments.count);
  p.channel_count = static_cast<int>(s.channels);
  p.items = static_cast<int>(s.batch * p.segment_count);
  // As many items a block as leave blocks enough; each thread of it takes as many as the others.
  std::int64_t per_split = kernel.threads >> p.lane_bits;
  while (per_split < p.items && s.channels * ceil_divide(p.items, 2 * per_split) >= kManyBlocks) per_split *= 2;
  p.items_per_split = static_cast<int>(per_split);
  p.split_count = std::max(1, static_cast<int>(ceil_divide(p.items, per_split))), p.splits = Divisor(p.split_count);
  blocks = s.channels * p.split_count;
  return p;
}

/// Fills in what forward and backward of blh share. A run has up to about `longest` rows, in whole steps; fewer where
/// there would be too few runs for all threads.
template <class Parameters>
void fill_runs(Parameters& p, const ShortShape& s, const ShortKernel& kernel, std::int64_t rows, std::int64_t longest,
               std::int64_t& blocks) {
  p.length = static_cast<int>(s.length), p.output_length = static_cast<int>(s.output_length());
  p.left = static_cast<int>(s.left);
  p.vectors = static_cast<int>(s.channels / kernel.count);
  p.lane_bits = bits_for(p.vectors, 5);
  p.vector_block_count = static_cast<int>(ceil_divide(p.vectors, std::int64_t{1} << p.lane_bits));
  p.vector_blocks = Divisor(p.vector_block_count);
  const int rows_of_block = kernel.threads >> p.lane_bits;
  auto blocks_with = [&](std::int64_t run) {
    return s.batch * p.vector_block_count * ceil_divide(rows, run * rows_of_block);
  };
  std::int64_t run = kernel.steps * ceil_divide(longest, kernel.steps);
  auto half = [&] { return kernel.steps * ceil_divide(run / 2, kernel.steps); };
  while (half() < run && half() >= kShortestRun && blocks_with(run) * kernel.threads < kManyThreads) run = half();
  p.run = static_cast<int>(run);
  p.run_block_count = static_cast<int>(ceil_divide(rows, run * rows_of_block)),
  p.run_blocks = Divisor(p.run_block_count);
  blocks = blocks_with(run);
}

inline ChannelsLastForward fill_last(const ShortForwardJob& job, const ShortKernel& kernel, std::int64_t& blocks) {
  const ShortShape& s = job.shape;
  ChannelsLastForward p{};
  p.x = tensor_of(job.x), p.y = tensor_of(job.y), p.weights = weights_of(s, job.weight, job.bias),
  p.activation = s.activation;
  fill_runs(p, s, kernel, s.output_length(), kernel.steps, blocks);  // one step
  return p;
}
inline ChannelsLastBackward fill_last(const ShortBackwardJob& job, const ShortKernel& kernel, std::int64_t& blocks) {
  const ShortShape& s = job.shape;
  ChannelsLastBackward p{};
  p.x = tensor_of(job.x), p.dy = tensor_of(job.dy), p.dx = tensor_of(job.dx),
  p.weights = weights_of(s, job.weight, job.bias);
  p.activation = s.activation;
  p.sums = wants_sums(job) ? static_cast<float*>(job.workspace) : nullptr;
  p.channel_count = static_cast<int>(s.channels);
  fill_runs(p, s, kernel, std::max(s.length, s.output_length() - s.left), 256, blocks);
  return p;
}

/// Bytes of the sums of so many splits.
inline std::size_t sums_size(std::int64_t splits, std::int64_t taps, std::int64_t channels) {
  return (static_cast<std::size_t>(splits) * (taps + 1) * channels * sizeof(float) + 15) / 16 * 16;
}

/// Splits of blh: a batch has one at least, however short its rows are.
inline std::int64_t splits_last(const ShortBackwardJob& job, const ShortKernel& kernel) {
  std::int64_t blocks = 0;
  return job.shape.batch * fill_last(job, kernel, blocks).run_block_count;
}
/// Whether the sums of blh would take more memory than x, or under an activation than the gradient before it as floats,
/// which the general kernels keep; the splits of those are few.
inline bool too_many_sums(const ShortBackwardJob& job, const ShortKernel& kernel) {
  const ShortShape& s = job.shape;
  const std::int64_t bytes_of_row = s.activation == ShortActivation::none
                                        ? s.length * static_cast<std::int64_t>(size_of(s.dtype))
                                        : s.output_length() * static_cast<std::int64_t>(sizeof(float));
  const auto most = std::max(kFewSums, static_cast<std::size_t>(s.batch * s.channels * bytes_of_row));
  return wants_sums(job) && sums_size(splits_last(job, kernel), s.taps, s.channels) > most;
}

}  // namespace ffc::cuda
