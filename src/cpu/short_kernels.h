// The seam between the plan of short convolutions and its kernels, and the coordinates that both use.
//
// Samples are counted as in a causal convolution: output m reads samples m - (taps - 1) .. m,
//
//   z[m] = bias + sum_j weight[j] x[m - (taps - 1) + j]      y[i] = epilogue(z[i - padding_left + taps - 1])
//   dx[n] = sum_j weight[j] g[n + (taps - 1) - j]            dweight[j] = sum_m g[m] x[m - (taps - 1) + j]
//
// with x and g zero outside their ranges. A piece is a range of m and n of one sequence.
#pragma once

#include <algorithm>
#include <cstdint>

#include "flashfftconv/short_conv.h"

namespace ffc::cpu {

struct Piece {
  std::int64_t batch;   // b
  std::int64_t offset;  // of the sequence's first sample and first output in row b
  std::int64_t length;  // samples of the sequence
  std::int64_t state;   // its index among the states
  std::int64_t begin, end;
};

// What a plan fixes for all its executions. Channels come in groups: with the gate three of channels / 3, each a third
// of the channels; otherwise one of all.
struct ShortShape {
  ShortProblem problem;
  std::int64_t groups = 1, group_channels = 0;
  std::int64_t block = 1;  // channels of a group that a task takes
  std::int64_t width = 1;  // numbers of one sample in working memory: 1 in bhl; in blh the block in whole vectors
  std::int64_t tile = 0;   // samples of a piece
  std::int64_t weights_size = 0, array_size = 0;  // elements of working memory: a group's weights; samples of a piece

  std::int64_t blocks() const { return (group_channels + block - 1) / block; }
  // Numbers that a task sums up: dweight and dbias, groups x (taps + 1) x width.
  std::int64_t sums_size() const { return groups * (problem.taps + 1) * width; }
};

// Arrays of working memory: those of a forward pass, and with the gradient, of two groups at a time.
constexpr std::int64_t kForwardArrays = 2, kBackwardArrays = 4;
constexpr std::int64_t scratch_size(const ShortShape& s, Pass pass) {
  return s.groups * s.weights_size + (pass == Pass::forward ? kForwardArrays : kBackwardArrays) * s.array_size;
}

// Outputs and samples of a sequence, as m: [first_output, last_output), and the range that pieces cover.
constexpr std::int64_t first_output(const ShortProblem& p) { return p.taps - 1 - p.padding_left; }
constexpr std::int64_t last_output(const ShortProblem& p, std::int64_t length) { return length + p.padding_right; }
constexpr std::int64_t first_sample(const ShortProblem& p, bool has_state) {
  return has_state ? 1 - p.taps : std::min<std::int64_t>(0, first_output(p));
}

inline std::int64_t pieces(const ShortShape& s, bool has_state) {
  const ShortProblem& p = s.problem;
  if (p.sequences > 0) return (p.length + s.tile - 1) / s.tile;
  return p.batch * ((last_output(p, p.length) - first_sample(p, has_state) + s.tile - 1) / s.tile);
}

// Calls f(Piece) for piece `index`, or for its share of every sequence where sequences are packed: ranges between are
// tile long, and the first and last of a sequence take in what lies before and behind it.
template <class F>
void for_each_piece(const ShortShape& s, const std::int64_t* ends, bool has_state, std::int64_t index, F f) {
  const ShortProblem& p = s.problem;
  const std::int64_t first = first_sample(p, has_state);
  if (p.sequences == 0) {
    const std::int64_t a_row = pieces(s, has_state) / p.batch, b = index / a_row;
    const std::int64_t begin = first + index % a_row * s.tile;
    return f(Piece{b, 0, p.length, b, begin, std::min(begin + s.tile, last_output(p, p.length))});
  }
  const std::int64_t begin = index * s.tile, end = std::min(begin + s.tile, p.length);
  for (std::int64_t q = std::upper_bound(ends, ends + p.sequences + 1, begin) - ends - 1; q < p.sequences; ++q) {
    const std::int64_t start = ends[q], length = ends[q + 1] - start;
    if (start >= end) return;
    if (length == 0) continue;
    Piece piece{0, start, length, q, std::max<std::int64_t>(begin - start, 0), std::min(end - start, length)};
    if (piece.begin == 0) piece.begin = first;
    if (piece.end == length) piece.end = last_output(p, length);
    f(piece);
  }
}

// Kernels of one instruction set. T is the compute type. Strides have been resolved.
template <typename T>
struct ShortKernels {
  const char* target;
  int lanes;  // elements of T in a vector

  // y of pieces [begin, end), of one block of channels.
  void (*forward)(const ShortShape&, const ShortForwardArguments&, std::int64_t block, std::int64_t begin,
                  std::int64_t end, T* scratch);
  // dx and dinitial_state of the same; `sums` gets their share of dweight and dbias.
  void (*backward)(const ShortShape&, const ShortBackwardArguments&, std::int64_t block, std::int64_t begin,
                   std::int64_t end, double* sums, T* scratch);
  // dweight and dbias of a block from the sums of its slices, added in their order; overwrites the first.
  void (*finish)(const ShortShape&, const ShortBackwardArguments&, std::int64_t block, double* sums,
                 std::int64_t slices);
};

}  // namespace ffc::cpu
