// Short convolutions on pieces (coordinates: cpu/short_kernels.h). A piece is brought to the compute type in working
// memory, with what lies before and behind it; the sums over it are finished and written as they come.
#if defined(FFC_CPU_SIMD_SHORT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFC_CPU_SIMD_SHORT_INL_H_
#undef FFC_CPU_SIMD_SHORT_INL_H_
#else
#define FFC_CPU_SIMD_SHORT_INL_H_
#endif

#include <algorithm>

#include "cpu/short_kernels.h"
#include "cpu/simd/activation-inl.h"
#include "cpu/simd/short_order-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ffc::cpu {
namespace HWY_NAMESPACE {

// A block of channels: its weights in the compute type, tap j at weight(group) + j * width, the bias behind the taps.
template <class D, typename T = hn::TFromD<D>>
struct Block {
  const ShortShape& s;
  std::int64_t first, channels;  // of each group
  T* memory;                     // weights of the groups
  T* arrays;                     // s.array_size each

  template <class Arguments>
  Block(const ShortShape& shape, const Arguments& a, std::int64_t block, T* scratch)
      : s(shape),
        first(block * shape.block),
        channels(std::min(shape.block, shape.group_channels - first)),
        memory(scratch),
        arrays(scratch + shape.groups * shape.weights_size) {
    switch (s.problem.weight_dtype) {
      case DType::f16: read<hwy::float16_t>(a.weight, a.bias); break;
      case DType::bf16: read<hwy::bfloat16_t>(a.weight, a.bias); break;
      case DType::f32: read<float>(a.weight, a.bias); break;
      case DType::f64: read<double>(a.weight, a.bias); break;
    }
  }

  template <typename W>
  void read(const ConstWeight& weight, const void* bias) {
    const std::int64_t taps = s.problem.taps, w = s.width;
    for (std::int64_t group = 0; group < s.groups; ++group) {
      T* to = memory + group * s.weights_size;
      std::fill(to, to + (taps + 1) * w, T(0));
      for (std::int64_t c = 0; c < channels; ++c) {
        const std::int64_t h = channel(group) + c;
        const W* from = static_cast<const W*>(weight.data) + h * weight.channel_stride;
        for (std::int64_t j = 0; j < taps; ++j) to[j * w + c] = load_one<T>(from + j * weight.tap_stride);
        if (bias) to[taps * w + c] = load_one<T>(static_cast<const W*>(bias) + h);
      }
    }
  }

  std::int64_t channel(std::int64_t group) const { return group * s.group_channels + first; }
  T* array(int number) const { return arrays + number * s.array_size; }
  const T* bias(std::int64_t group) const { return memory + group * s.weights_size + s.problem.taps * s.width; }
  BlockTaps<T> taps(std::int64_t group) const { return {memory + group * s.weights_size, s.width, s.problem.taps}; }
  BlockTaps<T> flipped_taps(std::int64_t group) const {
    return {memory + group * s.weights_size + (s.problem.taps - 1) * s.width, -s.width, s.problem.taps};
  }
};

template <class D, class Order, typename Io>
struct Short {
  using T = hn::TFromD<D>;

  // Samples [first, last) of x, of a block's channels in a group.
  template <class Arguments>
  static const T* load_x(const Block<D>& k, const Arguments& a, const Piece& piece, std::int64_t group,
                         std::int64_t first, std::int64_t last, int array) {
    const ShortProblem& p = k.s.problem;
    const std::int64_t channel = k.channel(group), history = p.taps - 1;
    Source<Io> from{Order::template at<Io>(a.x, piece.batch, channel, piece.offset),
                    Order::line_stride(a.x.line_stride), piece.length, k.channels};
    if (a.initial_state) {
      from.state = static_cast<const Io*>(a.initial_state) + (piece.state * p.channels + channel) * history;
      from.history = history;
    }
    load_samples<Order>(D(), from, first, last, k.s.width, k.array(array));
    return k.array(array);
  }

  // Calls out(line, channel, extent, z) for the sums of lines [0, lines) of x.
  template <class Out>
  static HWY_INLINE void convolve(const Block<D>& k, std::int64_t group, const T* x, std::int64_t lines, Out out) {
    Order::sums(D(), k.taps(group), k.bias(group), x, lines, k.s.width, k.channels, out);
  }

  // ---- forward

  template <class Activation>
  static void forward_piece(const Block<D>& k, const ShortForwardArguments& a, const Piece& piece) {
    const D d;
    const ShortProblem& p = k.s.problem;
    const std::int64_t begin = std::max(piece.begin, first_output(p));
    const std::int64_t end = std::min(piece.end, last_output(p, piece.length)), w = k.s.width;
    if (begin >= end) return;
    const std::int64_t stride = Order::line_stride(a.y.line_stride), out_index = piece.offset + begin - first_output(p);
    auto x_of = [&](std::int64_t group) { return load_x(k, a, piece, group, begin - (p.taps - 1), end, 0); };
    Io* y = Order::template at<Io>(a.y, piece.batch, k.first, out_index);
    convolve(k, 0, x_of(0), end - begin, [&](std::int64_t line, std::int64_t c, auto extent, auto z) HWY_ATTR {
      extent.store(d, Activation::value(d, z), y + line * stride + c);
    });
    if (p.epilogue != Epilogue::gate) return;
    T* gate = k.array(1);
    convolve(k, 1, x_of(1), end - begin,
             [&](std::int64_t line, std::int64_t c, auto, auto z) HWY_ATTR { hn::StoreU(z, d, gate + line * w + c); });
    y = Order::template at<Io>(a.y, piece.batch, k.s.group_channels + k.first, out_index);
    convolve(k, 2, x_of(2), end - begin, [&](std::int64_t line, std::int64_t c, auto extent, auto z) HWY_ATTR {
      extent.store(d, hn::Mul(z, hn::LoadU(d, gate + line * w + c)), y + line * stride + c);
    });
  }

  template <class Activation>
  static void forward(const Block<D>& k, const ShortForwardArguments& a, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for_each_piece(k.s, a.cu_seqlens, a.initial_state, i,
                     [&](const Piece& piece) { forward_piece<Activation>(k, a, piece); });
  }

  // ---- backward

  // What a piece's samples [begin, end) need: outputs [begin, end + taps - 1) and samples [begin - (taps - 1), ..).
  struct Range {
    std::int64_t begin, end;             // of the samples
    std::int64_t first_line, last_line;  // of the outputs that there are, counted from `begin`
    std::int64_t own_lines;              // outputs before this one belong to this piece
    Range(const ShortProblem& p, const Piece& piece)
        : begin(piece.begin),
          end(piece.end),
          first_line(std::max(begin, first_output(p)) - begin),
          last_line(std::max(first_line, std::min(end + p.taps - 1, last_output(p, piece.length)) - begin)),
          own_lines(std::min(end - begin, last_line)) {}
  };

  static const T* load_x(const Block<D>& k, const ShortBackwardArguments& a, const Piece& piece, std::int64_t group,
                         int array) {
    const std::int64_t history = k.s.problem.taps - 1;
    return load_x(k, a, piece, group, piece.begin - history, piece.end + history, array);
  }
  // Gradients of outputs [begin, end + taps - 1), of the output channels from `channel` on.
  static T* load_dy(const Block<D>& k, const ShortBackwardArguments& a, const Piece& piece, std::int64_t channel,
                    int array) {
    const ShortProblem& p = k.s.problem;
    const std::int64_t shift = first_output(p), length = last_output(p, piece.length) - shift;
    const Source<Io> from{Order::template at<Io>(a.dy, piece.batch, channel, piece.offset),
                          Order::line_stride(a.dy.line_stride), length, k.channels};
    load_samples<Order>(D(), from, piece.begin - shift, piece.end + p.taps - 1 - shift, k.s.width, k.array(array));
    return k.array(array);
  }

  // dx, dinitial_state and the sums of a group from x and g, the gradient of its sums z.
  static void differentiate(const Block<D>& k, const ShortBackwardArguments& a, const Piece& piece, const Range& range,
                            std::int64_t group, const T* x, const T* g, double* sums) {
    const D d;
    const ShortProblem& p = k.s.problem;
    const std::int64_t w = k.s.width, channel = k.channel(group), history = p.taps - 1;
    auto adjoint = [&](std::int64_t first, std::int64_t last, auto out) HWY_ATTR {
      if (first < last)
        Order::sums(d, k.flipped_taps(group), static_cast<const T*>(nullptr), g + (first - range.begin) * w,
                    last - first, w, k.channels, out);
    };
    if (a.dx.data) {
      const std::int64_t first = std::max<std::int64_t>(range.begin, 0), last = std::min(range.end, piece.length);
      const std::int64_t stride = Order::line_stride(a.dx.line_stride);
      Io* dx = Order::template at<Io>(a.dx, piece.batch, channel, piece.offset + first);
      adjoint(first, last, [&](std::int64_t line, std::int64_t c, auto extent, auto v) HWY_ATTR {
        extent.store(d, v, dx + line * stride + c);
      });
    }
    if (a.dinitial_state) {
      Io* state = static_cast<Io*>(a.dinitial_state) + (piece.state * p.channels + channel) * history;
      adjoint(range.begin, std::min<std::int64_t>(range.end, 0),
              [&](std::int64_t line, std::int64_t c, auto extent, auto v)
                  HWY_ATTR { Order::store_state(d, extent, v, range.begin + line, c, history, state); });
    }
    if ((a.dweight.data || a.dbias) && range.first_line < range.own_lines)
      Order::products(d, g + range.first_line * w, x + range.first_line * w, range.own_lines - range.first_line, p.taps,
                      w, k.channels, sums + group * (p.taps + 1) * w);
  }

  // Calls out(pointer to g, z) with the sums of those outputs that there are.
  template <class Out>
  static HWY_INLINE void recompute(const Block<D>& k, const Range& range, std::int64_t group, const T* x, T* g,
                                   Out out) {
    const std::int64_t w = k.s.width, first = range.first_line;
    convolve(k, group, x + first * w, range.last_line - first,
             [&](std::int64_t line, std::int64_t c, auto, auto z) HWY_ATTR { out(g + (first + line) * w + c, z); });
  }

  template <class Activation>
  static void backward_piece(const Block<D>& k, const ShortBackwardArguments& a, const Piece& piece, double* sums) {
    const D d;
    const Range range(k.s.problem, piece);
    const T* x = load_x(k, a, piece, 0, 0);
    T* g = load_dy(k, a, piece, k.first, 1);
    if constexpr (!std::is_same_v<Activation, NoActivation>)
      recompute(k, range, 0, x, g,
                [&](T* at, auto z) HWY_ATTR { hn::StoreU(hn::Mul(hn::LoadU(d, at), Activation::slope(d, z)), d, at); });
    differentiate(k, a, piece, range, 0, x, g, sums);
    if (k.s.problem.epilogue != Epilogue::gate) return;
    // y = z1 z2: the gradient of each is dy times the other.
    const T *x1 = load_x(k, a, piece, 1, 0), *x2 = load_x(k, a, piece, 2, 2);
    g = load_dy(k, a, piece, k.s.group_channels + k.first, 1);
    T* g1 = k.array(3);
    std::copy(g, g + (range.end - range.begin + k.s.problem.taps - 1) * k.s.width, g1);
    const auto times = [&](T* at, auto z) HWY_ATTR { hn::StoreU(hn::Mul(hn::LoadU(d, at), z), d, at); };
    recompute(k, range, 2, x2, g1, times);
    recompute(k, range, 1, x1, g, times);
    differentiate(k, a, piece, range, 1, x1, g1, sums);
    differentiate(k, a, piece, range, 2, x2, g, sums);
  }

  template <class Activation>
  static void backward(const Block<D>& k, const ShortBackwardArguments& a, std::int64_t begin, std::int64_t end,
                       double* sums) {
    std::fill(sums, sums + k.s.sums_size(), 0.0);
    for (std::int64_t i = begin; i < end; ++i)
      for_each_piece(k.s, a.cu_seqlens, a.initial_state, i,
                     [&](const Piece& piece) { backward_piece<Activation>(k, a, piece, sums); });
  }
};

// Calls pass(Short<..>(), activation) for the layout, the type of the rows and the activation.
template <class D, class Pass>
HWY_INLINE void with_types(const ShortProblem& p, Pass pass) {
  auto activation = [&](auto kind) {
    switch (p.epilogue) {
      case Epilogue::silu: return pass(kind, Silu());
      case Epilogue::gelu: return pass(kind, Gelu());
      default: return pass(kind, NoActivation());
    }
  };
  auto type = [&](auto order) {
    using Order = decltype(order);
    if constexpr (std::is_same_v<hn::TFromD<D>, double>)
      return activation(Short<D, Order, double>());
    else {
      switch (p.dtype) {
        case DType::f16: return activation(Short<D, Order, hwy::float16_t>());
        case DType::bf16: return activation(Short<D, Order, hwy::bfloat16_t>());
        default: return activation(Short<D, Order, float>());
      }
    }
  };
  if (p.layout == Layout::bhl)
    type(AlongSamples());
  else
    type(AlongChannels());
}

template <typename T>
struct ShortEntries {
  using D = hn::ScalableTag<T>;

  static void forward(const ShortShape& s, const ShortForwardArguments& a, std::int64_t block, std::int64_t begin,
                      std::int64_t end, T* scratch) {
    const Block<D> k(s, a, block, scratch);
    with_types<D>(s.problem, [&](auto kind, auto activation) {
      decltype(kind)::template forward<decltype(activation)>(k, a, begin, end);
    });
  }
  static void backward(const ShortShape& s, const ShortBackwardArguments& a, std::int64_t block, std::int64_t begin,
                       std::int64_t end, double* sums, T* scratch) {
    const Block<D> k(s, a, block, scratch);
    with_types<D>(s.problem, [&](auto kind, auto activation) {
      decltype(kind)::template backward<decltype(activation)>(k, a, begin, end, sums);
    });
  }
  static void finish(const ShortShape& s, const ShortBackwardArguments& a, std::int64_t block, double* sums,
                     std::int64_t slices) {
    const ShortProblem& p = s.problem;
    const std::int64_t size = s.sums_size();
    for (std::int64_t slice = 1; slice < slices; ++slice)
      for (std::int64_t i = 0; i < size; ++i) sums[i] += sums[slice * size + i];
    const std::int64_t first = block * s.block, channels = std::min(s.block, s.group_channels - first);
    for (std::int64_t group = 0; group < s.groups; ++group)
      for (std::int64_t c = 0; c < channels; ++c) {
        const double* total = sums + group * (p.taps + 1) * s.width + c;
        const std::int64_t h = group * s.group_channels + first + c;
        for (std::int64_t j = 0; a.dweight.data && j < p.taps; ++j)
          write_element(p.weight_dtype, total[j * s.width], a.dweight.data,
                        h * a.dweight.channel_stride + j * a.dweight.tap_stride);
        if (a.dbias) write_element(p.weight_dtype, total[p.taps * s.width], a.dbias, h);
      }
  }

 private:
  static void write_element(DType dtype, double value, void* to, std::int64_t at) {
    write_array(hn::ScalableTag<double>(), &value, 1, dtype,
                static_cast<char*>(to) + at * static_cast<std::int64_t>(size_of(dtype)));
  }
};

template <typename T>
const ShortKernels<T>* short_kernels_here(const char* target) {
  static const ShortKernels<T> table = {target, static_cast<int>(kLanesOf<hn::ScalableTag<T>>),
                                        &ShortEntries<T>::forward, &ShortEntries<T>::backward,
                                        &ShortEntries<T>::finish};
  return &table;
}

}  // namespace HWY_NAMESPACE
}  // namespace ffc::cpu
HWY_AFTER_NAMESPACE();

#endif
