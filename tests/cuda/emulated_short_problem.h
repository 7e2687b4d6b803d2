// A short convolution for the kernels on emulated threads (emulated/device.h): its tensors, in poisoned memory, what
// must come out, as direct sums in float64, and how far off it may be.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cuda/short/choice.h"
#include "cuda/short/samples.cuh"

namespace ffc::cuda {

using Values = std::vector<double>;

inline double wide_of(DType type, const void* p) {
  if (type == DType::f32) return *static_cast<const float*>(p);
  const std::uint16_t bits = *static_cast<const std::uint16_t*>(p);
  return type == DType::f16 ? wide<Half>(bits) : wide<BFloat>(bits);
}
inline void narrow_to(DType type, double v, void* p) {
  const float f = static_cast<float>(v);
  if (type == DType::f32)
    *static_cast<float*>(p) = f;
  else
    *static_cast<std::uint16_t*>(p) = type == DType::f16 ? narrow<Half>(f) : narrow<BFloat>(f);
}

// Elements of a type in memory that is poisoned around them, `offset` elements off an aligned address.
struct Memory {
  static constexpr int kMargin = 32;
  DType type;
  std::int64_t count;
  int offset;
  std::vector<unsigned char> bytes;

  Memory(DType t, std::int64_t n, int off = 0)
      : type(t), count(n), offset(off), bytes((n + 2 * kMargin + off + 16) * size_of(t), 0xcd) {}
  unsigned char* data() {
    auto at = (reinterpret_cast<std::uintptr_t>(bytes.data()) + 63) / 64 * 64;  // within the first margin
    return reinterpret_cast<unsigned char*>(at) + offset * size_of(type);
  }
  double at(std::int64_t i) { return wide_of(type, data() + i * size_of(type)); }
  void set(std::int64_t i, double v) { narrow_to(type, v, data() + i * size_of(type)); }
  void fill(std::mt19937& random, double scale = 1) {
    std::normal_distribution<double> normal;
    for (std::int64_t i = 0; i < count; ++i) set(i, scale * normal(random));
  }
  bool margins_untouched() {
    const unsigned char* first = data();
    for (const unsigned char* p = bytes.data(); p < first; ++p)
      if (*p != 0xcd) return false;
    for (const unsigned char* p = first + count * size_of(type); p < bytes.data() + bytes.size(); ++p)
      if (*p != 0xcd) return false;
    return true;
  }
  bool untouched() {
    const unsigned char* first = data();
    return margins_untouched() && std::all_of(first, first + count * size_of(type), [](int b) { return b == 0xcd; });
  }
  // Bit for bit, around the elements too.
  bool same_as(Memory& other) {
    return std::memcmp(data(), other.data(), count * size_of(type)) == 0 && margins_untouched();
  }
};

// What a launch may write besides its outputs: so many bytes, filled with what no sum may start from.
struct Workspace {
  std::size_t bytes;
  std::vector<float> floats;

  explicit Workspace(std::size_t size) : bytes(size), floats((size + 15) / 16 * 4 + 8, 1e30f) {}
  void* data() {
    void* at = floats.data();
    std::size_t room = floats.size() * sizeof(float);
    return bytes ? std::align(16, bytes, at, room) : nullptr;
  }
  bool end_untouched() {
    const float* end = floats.data() + floats.size();
    const float* from = bytes ? static_cast<const float*>(data()) + (bytes + 3) / 4 : floats.data();
    return std::all_of(from, end, [](float v) { return v == 1e30f; });
  }
};

struct Case {
  DType dtype = DType::f16, weight_dtype = DType::f16;
  ffc::Layout layout = ffc::Layout::bhl;
  int batch = 2, channels = 8, length = 40, taps = 4, left = 3, right = 0;
  ShortActivation activation = ShortActivation::none;
  bool bias = true, states = false;
  int offset = 0;  // of x, y, .., in elements
  int gap = 0;     // between rows
  std::vector<std::int64_t> borders{};
  bool taps_last = true;          // weight [channels, taps], else [taps, channels]
  const char* forward = nullptr;  // the kernel that must take it
  const char* backward = nullptr;
};

inline double act(double v, ShortActivation kind) {
  if (kind == ShortActivation::silu) return v / (1 + std::exp(-v));
  if (kind == ShortActivation::gelu) return 0.5 * v * (1 + std::erf(v / std::sqrt(2.)));
  return v;
}
inline double act_slope(double v, ShortActivation kind) {
  const double h = 1e-5;
  return kind == ShortActivation::none ? 1 : (act(v + h, kind) - act(v - h, kind)) / (2 * h);
}

// All tensors of a case, and what they ought to be.
struct Problem {
  Case c;
  ShortShape shape;
  int out, state_count;
  Memory x, y, dy, dx, weight, dweight, bias, dbias, initial, final, dinitial, dfinal;

  std::int64_t rows(int length) const {
    return c.layout == ffc::Layout::bhl ? std::int64_t(c.channels) * (length + c.gap)
                                        : std::int64_t(length) * (c.channels + c.gap);
  }
  std::int64_t index(int length, int b, int d, int l) const {
    return b * rows(length) + (c.layout == ffc::Layout::bhl ? std::int64_t(d) * (length + c.gap) + l
                                                            : std::int64_t(l) * (c.channels + c.gap) + d);
  }
  std::int64_t weight_index(int d, int j) const { return c.taps_last ? d * c.taps + j : j * c.channels + d; }

  explicit Problem(const Case& given)
      : c(given),
        shape{.batch = c.batch,
              .channels = c.channels,
              .length = c.length,
              .taps = c.taps,
              .left = c.left,
              .right = c.right,
              .layout = c.layout,
              .activation = c.activation,
              .dtype = c.dtype,
              .weight_dtype = c.weight_dtype},
        out(static_cast<int>(shape.output_length())),
        state_count(c.borders.empty() ? c.batch : static_cast<int>(c.borders.size()) - 1),
        x(c.dtype, c.batch * rows(c.length), c.offset),
        y(c.dtype, c.batch * rows(out), c.offset),
        dy(c.dtype, c.batch * rows(out), c.offset),
        dx(c.dtype, c.batch * rows(c.length), c.offset),
        weight(c.weight_dtype, c.channels * c.taps),
        dweight(c.weight_dtype, c.channels * c.taps),
        bias(c.weight_dtype, c.channels),
        dbias(c.weight_dtype, c.channels),
        initial(c.dtype, std::int64_t(state_count) * c.channels * (c.taps - 1)),
        final(initial),
        dinitial(initial),
        dfinal(initial) {
    std::mt19937 random(17 * c.taps + c.length);
    for (Memory* m : {&x, &dy, &initial, &dfinal}) m->fill(random);
    weight.fill(random, 1 / std::sqrt(double(c.taps))), bias.fill(random);
    if (!c.borders.empty()) shape.sequences = state_count, shape.borders = c.borders.data();
  }

  ShortForwardJob forward_job() {
    ShortForwardJob job{.shape = shape};
    job.x = {x.data(), rows(c.length), c.layout == ffc::Layout::bhl ? c.length + c.gap : c.channels + c.gap};
    job.y = {y.data(), rows(out), c.layout == ffc::Layout::bhl ? out + c.gap : c.channels + c.gap};
    job.weight = {weight.data(), c.taps_last ? c.taps : 1, c.taps_last ? 1 : c.channels};
    job.bias = c.bias ? bias.data() : nullptr;
    if (c.states) job.initial_state = initial.data(), job.final_state = final.data();
    return job;
  }
  ShortBackwardJob backward_job() {
    const ShortForwardJob forward = forward_job();
    ShortBackwardJob job{.shape = shape, .x = forward.x, .weight = forward.weight, .bias = forward.bias};
    job.dy = {dy.data(), forward.y.batch_stride, forward.y.line_stride};
    job.dx = {dx.data(), forward.x.batch_stride, forward.x.line_stride};
    job.dweight = {dweight.data(), forward.weight.channel_stride, forward.weight.tap_stride};
    job.dbias = c.bias ? dbias.data() : nullptr;
    if (c.states)
      job.initial_state = initial.data(), job.dfinal_state = dfinal.data(), job.dinitial_state = dinitial.data();
    return job;
  }

  struct Range {
    int index, low, high;
  };
  Range range(int b, int l) const {
    if (c.borders.empty()) return {b, 0, c.length};
    for (int s = 0; s < state_count; ++s)
      if (l < c.borders[s + 1]) return {s, int(c.borders[s]), int(c.borders[s + 1])};
    return {};
  }
  std::int64_t state_index(int s, int d, int m) const { return (std::int64_t(s) * c.channels + d) * (c.taps - 1) + m; }

  // Calls body(tap, input index or -1, state index or -1) for every tap of an output that reaches something.
  template <class Body>
  void reach(int b, int d, int l, Body&& body) const {
    const Range r = range(b, l);
    for (int j = 0; j < c.taps; ++j) {
      const int i = l + j - c.left;
      if (i >= r.low && i < r.high)
        body(j, index(c.length, b, d, i), std::int64_t{-1});
      else if (c.states && i < r.low && i - r.low >= -(c.taps - 1))
        body(j, std::int64_t{-1}, state_index(r.index, d, c.taps - 1 + i - r.low));
    }
  }
  double sum(int b, int d, int l) {
    double s = c.bias ? bias.at(d) : 0;
    reach(b, d, l, [&](int j, std::int64_t input, std::int64_t state) {
      s += weight.at(weight_index(d, j)) * (input >= 0 ? x.at(input) : initial.at(state));
    });
    return s;
  }

  // Where sequence s of row b lies.
  void check_final(Memory& got) {
    for (int s = 0; s < state_count; ++s)
      for (int d = 0; d < c.channels; ++d)
        for (int m = 0; m < c.taps - 1; ++m) CHECK(got.at(state_index(s, d, m)) == exact_final(s, d, m));
  }
  double exact_final(int s, int d, int m) {
    const int low = c.borders.empty() ? 0 : int(c.borders[s]),
              high = c.borders.empty() ? c.length : int(c.borders[s + 1]);
    const int at = high - low - (c.taps - 1) + m;
    return at >= 0 ? x.at(index(c.length, c.borders.empty() ? s : 0, d, low + at))
                   : initial.at(state_index(s, d, c.taps - 1 + at));
  }
};

// The error of what came out, beside that of the exact answer rounded to its type.
struct Error {
  DType type;
  double off = 0, rounded = 0, norm = 0;

  explicit Error(DType t) : type(t) {}
  void add(double got, double exact) {
    unsigned char memory[4];
    narrow_to(type, exact, memory);
    const double nearest = wide_of(type, memory);
    off += std::isnan(got) ? INFINITY : (got - exact) * (got - exact);
    rounded += (nearest - exact) * (nearest - exact), norm += exact * exact;
  }
  bool small(double single = 3e-7) const {
    return std::sqrt(off) <= 1.05 * std::sqrt(rounded) + single * std::sqrt(norm);
  }
};

inline std::string text_of(const Case& c) {
  return std::string(name_of(c.dtype)) + " " + name_of(c.weight_dtype) +
         (c.layout == ffc::Layout::bhl ? " bhl " : " blh ") + std::to_string(c.batch) + " x " +
         std::to_string(c.channels) + " x " + std::to_string(c.length) + " taps " + std::to_string(c.taps) + " left " +
         std::to_string(c.left) + " right " + std::to_string(c.right) + " act " + std::to_string(int(c.activation)) +
         " offset " + std::to_string(c.offset) + " gap " + std::to_string(c.gap) + " states " +
         std::to_string(c.states) + " sequences " + std::to_string(c.borders.size());
}

}  // namespace ffc::cuda
