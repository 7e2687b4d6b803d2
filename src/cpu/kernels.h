// The seam between the engine (plain C++, src/cpu/*.cpp) and its kernels, which are compiled once per instruction set
// (src/cpu/simd): plain structs in, plain numbers out.
#pragma once

#include <cstddef>
#include <cstdint>

#include "algo/fold.h"
#include "cpu/tables.h"
#include "flashfftconv/execute.h"

namespace ffc::cpu {

enum class Algorithm {
  direct,       // sums over the taps: a handful of taps or samples
  right_angle,  // one real row a transform, arithmetic modulo z^M = i
  pairs,        // circular with N = M: two rows of a channel as one complex sequence, modulo z^M = 1
};

// What a plan fixes for all its executions.
template <typename T>
struct Shape {
  Problem problem;
  Fold fold;
  Algorithm algorithm = Algorithm::direct;
  const Tables<T>* tables = nullptr;  // null for direct
  std::int64_t points = 0;            // M; for direct the number of lags, fold.span()

  // Elements of T: a prepared filter of one channel; scratch of one worker; sums of one channel and slice.
  std::int64_t spectrum_size = 0;
  std::int64_t scratch_forward = 0, scratch_backward = 0;
  std::int64_t sums_size = 0;
};

// A spectrum and the sums begin with a few numbers about themselves.
inline constexpr std::int64_t kHeader = 32;

// Sizes of the arrays above, which kernels and engine must agree on: multiples of kGap elements, with a gap behind.
inline constexpr std::int64_t kGap = 32;
constexpr std::int64_t array_size(std::int64_t points) { return (points + 2 * kGap - 1) / kGap * kGap; }
// From an array of M points to the next one that is used with it. Large ones lie some 256 elements from a multiple of
// 4 KiB: at a multiple they would share few ways of the cache, and a little beside one a load would wait for the store
// to the other array of some steps before, which has the same last 12 bits of address.
constexpr std::int64_t array_stride(std::int64_t points) {
  return array_size(points) + (points < 1024 ? 0 : 256 - kGap);
}
// A row of the direct algorithm, with room on both sides.
template <typename T>
constexpr std::int64_t padded_row_size(const Shape<T>& s) {
  return array_size(s.problem.length + s.fold.highest() - s.fold.lowest() + 4 * kGap);
}
template <typename T>
void set_sizes(Shape<T>& s) {
  if (s.algorithm == Algorithm::direct) {
    s.spectrum_size = array_size(kHeader + s.points);
    s.scratch_forward = 2 * padded_row_size(s);
    s.scratch_backward = 3 * padded_row_size(s);
    s.sums_size = array_size(kHeader + 2 * s.points);  // one double a tap
  } else {
    const std::int64_t row = array_stride(s.points);
    s.spectrum_size = kHeader + 2 * row;
    s.scratch_forward = 4 * row;   // two rows or taps, one field
    s.scratch_backward = 8 * row;  // two rows of x and g, two fields
    s.sums_size = kHeader + 2 * row;
  }
}

// Kernels of one instruction set. T is the compute type.
template <typename T>
struct Kernels {
  const char* target;
  int lanes;  // elements of T in a vector

  // Taps of channel h -> prepared filter (right-angle and pairs: the spectrum in stage order; direct: taps by lag).
  void (*prepare)(const Shape<T>&, const ConstTaps& k, const ConstTaps& k_rev, std::int64_t h, T* spectrum, T* scratch);
  // y of rows (b, h), b in [begin, end).
  void (*forward)(const Shape<T>&, const ForwardArguments&, std::int64_t h, std::int64_t begin, std::int64_t end,
                  const T* spectrum, T* scratch);
  // Row gradients of the same rows; `sums` gets their share of the filter's and skip's gradients.
  void (*backward)(const Shape<T>&, const BackwardArguments&, std::int64_t h, std::int64_t begin, std::int64_t end,
                   const T* spectrum, T* sums, T* scratch);
  // dk, dk_rev and dskip of channel h from the sums of all its slices, added in their order; overwrites the first.
  void (*finish)(const Shape<T>&, const BackwardArguments&, std::int64_t h, T* sums, std::int64_t slices);
};

}  // namespace ffc::cpu
