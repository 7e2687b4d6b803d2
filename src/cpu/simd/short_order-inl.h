// Samples of a piece in working memory, and the sums over them, for both layouts. Element (line, channel) lies at
// line * width + channel, where a line is a sample: in bhl width is 1 and vectors run along the samples of one channel,
// in blh they run along the channels of one sample.
#if defined(FFC_CPU_SIMD_SHORT_ORDER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFC_CPU_SIMD_SHORT_ORDER_INL_H_
#undef FFC_CPU_SIMD_SHORT_ORDER_INL_H_
#else
#define FFC_CPU_SIMD_SHORT_ORDER_INL_H_
#endif

#include <algorithm>
#include <bit>

#include "cpu/short_kernels.h"
#include "cpu/simd/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ffc::cpu {
namespace HWY_NAMESPACE {

// Products that are summed one after another in the compute type: longer chains would cost digits.
inline constexpr std::int64_t kChain = 32;

// sum[v] = start + sum_j weight(j) in[v * vector_step + j * tap_step], j < taps
template <int kVectors, class D, class Weight, typename T = hn::TFromD<D>, class V = hn::Vec<D>>
HWY_INLINE void accumulate(D d, const T* in, std::int64_t vector_step, std::int64_t tap_step, std::int64_t taps,
                           Weight weight, V start, V (&sum)[kVectors]) {
  for (int v = 0; v < kVectors; ++v) sum[v] = start;
  for (std::int64_t first = 0; first < taps; first += kChain) {
    V part[kVectors];
    for (int v = 0; v < kVectors; ++v) part[v] = first == 0 ? sum[v] : hn::Zero(d);
    for (std::int64_t j = first; j < HWY_MIN(taps, first + kChain); ++j) {
      const V w = weight(j);
      for (int v = 0; v < kVectors; ++v)
        part[v] = hn::MulAdd(w, hn::LoadU(d, in + v * vector_step + j * tap_step), part[v]);
    }
    for (int v = 0; v < kVectors; ++v) sum[v] = first == 0 ? part[v] : hn::Add(sum[v], part[v]);
  }
}

// Taps of a block in their order or, for the adjoint, the other way round.
template <typename T>
struct BlockTaps {
  const T* first;
  std::int64_t step;  // width or -width
  std::int64_t count;
};

// One channel's samples or gradients in memory, or those of a block of channels.
template <typename Io>
struct Source {
  const Io* data;             // sample 0
  std::int64_t line_stride;   // from one sample to the next; 1 in bhl
  std::int64_t length;        // samples; zero before and behind
  std::int64_t channels;      // that are there
  const Io* state = nullptr;  // or what lies before: [channels, history]
  std::int64_t history = 0;
};

// One number of any type.
template <typename T, typename Io>
HWY_INLINE T load_one(const Io* from) {
  if constexpr (std::is_floating_point_v<Io>) {
    return static_cast<T>(*from);
  } else {
    const std::uint32_t bits = std::bit_cast<std::uint16_t>(*from);
    if constexpr (std::is_same_v<Io, hwy::bfloat16_t>) return static_cast<T>(std::bit_cast<float>(bits << 16));
    // The product rebiases the exponent, of subnormal numbers too.
    const std::uint32_t size = (bits & 0x7fff) << 13;
    const float finite = std::bit_cast<float>(size) * 0x1p112f;
    const float number = size > 0x7bffu << 13 ? std::bit_cast<float>(size | 0x7f800000) : finite;
    return static_cast<T>(bits & 0x8000 ? -number : number);
  }
}

HWY_INLINE std::int64_t lanes_of(Whole, std::int64_t lanes) { return lanes; }
HWY_INLINE std::int64_t lanes_of(Part part, std::int64_t) { return part.count; }

// total[lane] += v
template <class D>
HWY_INLINE void add_in_double(D d, hn::Vec<D> v, double* total) {
  HWY_ALIGN hn::TFromD<D> lanes[kLanesOf<D>];
  hn::Store(v, d, lanes);
  for (int i = 0; i < kLanesOf<D>; ++i) total[i] += static_cast<double>(lanes[i]);
}

// What the layouts have in common: samples [first, last) to working memory. `Order::copy` brings those of the row.
template <class Order, class D, typename Io, typename T = hn::TFromD<D>>
HWY_NOINLINE void load_samples(D d, const Source<Io>& from, std::int64_t first, std::int64_t last, std::int64_t width,
                               T* to) {
  const std::int64_t begin = HWY_MIN(HWY_MAX(first, std::int64_t{0}), last);
  const std::int64_t end = HWY_MAX(begin, HWY_MIN(last, from.length));
  std::fill(to, to + (begin - first) * width, T(0));
  if (from.state)
    for (std::int64_t n = HWY_MAX(first, -from.history); n < begin; ++n)
      for (std::int64_t c = 0; c < from.channels; ++c)
        to[(n - first) * width + c] = load_one<T>(from.state + (c + 1) * from.history + n);
  Order::copy(d, from, begin, end, width, to + (begin - first) * width);
  std::fill(to + (end - first) * width, to + (last - first) * width, T(0));
}

// bhl: vectors along the samples of a channel.
struct AlongSamples {
  // Element 0 of the sample `i` of row b, from `channel` on.
  template <typename Io, class Pointer>
  static HWY_INLINE auto at(const SequencesOf<Pointer>& x, std::int64_t b, std::int64_t channel, std::int64_t i) {
    using Element = std::conditional_t<std::is_same_v<Pointer, const void*>, const Io, Io>;
    return static_cast<Element*>(x.data) + b * x.batch_stride + channel * x.line_stride + i;
  }
  static HWY_INLINE std::int64_t line_stride(std::int64_t) { return 1; }

  template <class D, typename Io, typename T = hn::TFromD<D>>
  static HWY_INLINE void copy(D d, const Source<Io>& from, std::int64_t begin, std::int64_t end, std::int64_t, T* to) {
    for_each_vector(d, end - begin, [&](std::int64_t i, auto extent) HWY_ATTR {
      hn::StoreU(extent.load(d, from.data + begin + i), d, to + i);
    });
  }

  // Calls out(line, channel, extent, sum) for vectors of sum = start + sum_j taps[j] in[line + j], lines [0, lines).
  template <class D, class Out, typename T = hn::TFromD<D>>
  static HWY_INLINE void sums(D d, const BlockTaps<T>& taps, const T* start, const T* in, std::int64_t lines,
                              std::int64_t, std::int64_t, Out out) {
    using V = hn::Vec<D>;
    constexpr std::int64_t kLanes = kLanesOf<D>;
    const V first = start ? hn::Set(d, *start) : hn::Zero(d);
    const auto weight = [&](std::int64_t j) HWY_ATTR { return hn::Set(d, taps.first[j * taps.step]); };
    std::int64_t i = 0;
    for (; i + 4 * kLanes <= lines; i += 4 * kLanes) {
      V sum[4];
      accumulate<4>(d, in + i, kLanes, 1, taps.count, weight, first, sum);
      for (int v = 0; v < 4; ++v) out(i + v * kLanes, 0, Whole(), sum[v]);
    }
    for_each_vector(d, lines - i, [&](std::int64_t rest, auto extent) HWY_ATTR {
      V sum[1];
      accumulate<1>(d, in + i + rest, kLanes, 1, taps.count, weight, first, sum);
      out(i + rest, 0, extent, sum[0]);
    });
  }

  // total[j] += sum over lines of g[line] x[line + j], j < taps; total[taps] += sum of g.
  template <class D, typename T = hn::TFromD<D>>
  static HWY_INLINE void products(D d, const T* g, const T* x, std::int64_t lines, std::int64_t taps, std::int64_t,
                                  std::int64_t, double* total) {
    for (std::int64_t j = 0; j < taps; ++j) total[j] += dot(d, g, x + j, lines);
    total[taps] += sum_in_double(g, lines);
  }

  // The first `extent` lanes to the samples from `n` < 0 of a state's gradient [channels, history].
  template <class D, class Extent, typename Io>
  static HWY_INLINE void store_state(D d, Extent extent, hn::Vec<D> v, std::int64_t n, std::int64_t,
                                     std::int64_t history, Io* state) {
    extent.store(d, v, state + history + n);
  }
};

// blh: vectors along the channels of a sample.
struct AlongChannels {
  template <typename Io, class Pointer>
  static HWY_INLINE auto at(const SequencesOf<Pointer>& x, std::int64_t b, std::int64_t channel, std::int64_t i) {
    using Element = std::conditional_t<std::is_same_v<Pointer, const void*>, const Io, Io>;
    return static_cast<Element*>(x.data) + b * x.batch_stride + i * x.line_stride + channel;
  }
  static HWY_INLINE std::int64_t line_stride(std::int64_t stride) { return stride; }

  template <class D, typename Io, typename T = hn::TFromD<D>>
  static HWY_INLINE void copy(D d, const Source<Io>& from, std::int64_t begin, std::int64_t end, std::int64_t width,
                              T* to) {
    for (std::int64_t n = begin; n < end; ++n, to += width)
      for_each_vector(d, from.channels, [&](std::int64_t c, auto extent) HWY_ATTR {
        hn::StoreU(extent.load(d, from.data + n * from.line_stride + c), d, to + c);
      });
  }

  template <int kLines, class D, class Out, typename T = hn::TFromD<D>>
  static HWY_INLINE void sums_of(D d, const BlockTaps<T>& taps, const T* start, const T* in, std::int64_t line,
                                 std::int64_t width, std::int64_t channels, Out out) {
    for_each_vector(d, channels, [&](std::int64_t c, auto extent) HWY_ATTR {
      hn::Vec<D> sum[kLines];
      accumulate<kLines>(
          d, in + line * width + c, width, width, taps.count,
          [&](std::int64_t j) HWY_ATTR { return hn::LoadU(d, taps.first + j * taps.step + c); },
          start ? hn::LoadU(d, start + c) : hn::Zero(d), sum);
      for (int v = 0; v < kLines; ++v) out(line + v, c, extent, sum[v]);
    });
  }
  template <class D, class Out, typename T = hn::TFromD<D>>
  static HWY_INLINE void sums(D d, const BlockTaps<T>& taps, const T* start, const T* in, std::int64_t lines,
                              std::int64_t width, std::int64_t channels, Out out) {
    std::int64_t line = 0;
    for (; line + 4 <= lines; line += 4) sums_of<4>(d, taps, start, in, line, width, channels, out);
    for (; line < lines; ++line) sums_of<1>(d, taps, start, in, line, width, channels, out);
  }

  template <int kTaps, class D, typename T = hn::TFromD<D>>
  static HWY_INLINE void products_of(D d, const T* g, const T* x, std::int64_t lines, std::int64_t width,
                                     double* total) {
    for (std::int64_t first = 0; first < lines; first += kChain) {
      hn::Vec<D> sum[kTaps];
      for (int j = 0; j < kTaps; ++j) sum[j] = hn::Zero(d);
      for (std::int64_t line = first; line < HWY_MIN(lines, first + kChain); ++line) {
        const auto v = hn::LoadU(d, g + line * width);
        for (int j = 0; j < kTaps; ++j) sum[j] = hn::MulAdd(v, hn::LoadU(d, x + (line + j) * width), sum[j]);
      }
      for (int j = 0; j < kTaps; ++j) add_in_double(d, sum[j], total + j * width);
    }
  }
  template <class D, typename T = hn::TFromD<D>>
  static HWY_INLINE void products(D d, const T* g, const T* x, std::int64_t lines, std::int64_t taps,
                                  std::int64_t width, std::int64_t channels, double* total) {
    for (std::int64_t c = 0; c < channels; c += kLanesOf<D>) {
      std::int64_t j = 0;
      for (; j + 4 <= taps; j += 4) products_of<4>(d, g + c, x + j * width + c, lines, width, total + j * width + c);
      for (; j < taps; ++j) products_of<1>(d, g + c, x + j * width + c, lines, width, total + j * width + c);
      for (std::int64_t first = 0; first < lines; first += kChain) {
        auto sum = hn::Zero(d);
        for (std::int64_t line = first; line < HWY_MIN(lines, first + kChain); ++line)
          sum = hn::Add(sum, hn::LoadU(d, g + line * width + c));
        add_in_double(d, sum, total + taps * width + c);
      }
    }
  }

  template <class D, class Extent, typename Io>
  static HWY_INLINE void store_state(D d, Extent extent, hn::Vec<D> v, std::int64_t n, std::int64_t channel,
                                     std::int64_t history, Io* state) {
    HWY_ALIGN Io lanes[kLanesOf<D>];
    store_as(d, v, lanes);
    for (std::int64_t c = 0; c < lanes_of(extent, kLanesOf<D>); ++c) state[(channel + c + 1) * history + n] = lanes[c];
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace ffc::cpu
HWY_AFTER_NAMESPACE();

#endif
