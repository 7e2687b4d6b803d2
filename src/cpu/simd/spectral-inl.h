// Convolutions through the transform. Per row: load (gate, convert, scale) -> root -> down the tree -> product with the
// filter's spectrum -> up the tree -> root -> finish (scale, skip, gate, convert).
//
//   right-angle  one real row as x + 0 i modulo z^M = i; the real part of the result is the convolution
//   pairs        rows b and b + 1 as x1 + i x2 modulo z^M = 1; real and imaginary part are their convolutions. A row
//   that is
//                not finite would spoil its partner: it travels as zeros and is written as NaN.
#if defined(FFC_CPU_SIMD_SPECTRAL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFC_CPU_SIMD_SPECTRAL_INL_H_
#undef FFC_CPU_SIMD_SPECTRAL_INL_H_
#else
#define FFC_CPU_SIMD_SPECTRAL_INL_H_
#endif

#include <algorithm>
#include <initializer_list>

#include "cpu/kernels.h"
#include "cpu/simd/taps-inl.h"
#include "cpu/simd/transform-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ffc::cpu {
namespace HWY_NAMESPACE {

// ---- products of spectra

struct Nothing {
  template <class D, class V, std::size_t kFields>
  HWY_INLINE void operator()(D, std::int64_t, Complex<V> (&)[kFields]) const {}
};

// Z *= H, or conj(H): convolution and its adjoint.
template <typename T, bool kConjugate>
struct FilterProduct {
  Field<const T> filter;
  template <class D, class V>
  HWY_INLINE void operator()(D d, std::int64_t at, Complex<V> (&z)[1]) const {
    const Complex<V> h = load(d, filter, at);
    z[0] = kConjugate ? multiply_conjugate(z[0], h) : multiply(z[0], h);
  }
};

// Z = X, G: sums += weight G conj X;  X *= H;  G *= conj H.
template <typename T>
struct GradientProduct {
  Field<const T> filter;
  Field<T> sums;
  T weight;
  bool want_sums;
  template <class D, class V>
  HWY_INLINE void operator()(D d, std::int64_t at, Complex<V> (&z)[2]) const {
    if (want_sums) {
      const Complex<V> c = multiply_conjugate(z[1], z[0]);
      const V w = hn::Set(d, weight);
      const Complex<V> s = load(d, sums, at);
      store(d, Complex<V>{hn::MulAdd(w, c.re, s.re), hn::MulAdd(w, c.im, s.im)}, sums, at);
    }
    const Complex<V> h = load(d, filter, at);
    z[0] = multiply(z[0], h);
    z[1] = multiply_conjugate(z[1], h);
  }
};

template <class D, class Product, int kFields, typename T = hn::TFromD<D>>
HWY_INLINE void descend(D d, const Tables<T>& tables, const Field<T> (&fields)[kFields], const Ways (&ways)[kFields],
                        Product product, const Ahead& ahead) {
  Descent<D, kFields, Product>(d, tables, fields, ways, product, ahead).run();
}

template <class D, typename T = hn::TFromD<D>>
struct Spectral {
  using ConstField = Field<const T>;

  static Field<T> field(const Shape<T>& s, T* at) { return {at, at + array_stride(s.points)}; }
  static ConstField const_field(const Shape<T>& s, const T* at) { return {at, at + array_stride(s.points)}; }
  static T weight(const Shape<T>& s) { return T(1) / static_cast<T>(s.points); }  // the inverse's missing 1/M
  static void zero_tail(const Shape<T>& s, T* x) { std::fill(x + s.problem.length, x + s.points, T(0)); }
  static void root_forward(const Shape<T>& s, const T* re, const T* im, Field<T> out) {
    with_root<RootDown>(s.tables->size.root, D(), s.tables->root.data(), s.points / s.tables->size.root, re, im, out);
  }
  static void root_inverse(const Shape<T>& s, Field<T> x, bool complex) {
    with_root<RootUp>(s.tables->size.root, D(), s.tables->root.data(), s.points / s.tables->size.root, x, complex);
  }

  // ---- the filter: h[n] = t[n] - i t[n - M] of the fold, or the circular taps themselves; header: its exponent

  static void prepare(const Shape<T>& s, const ConstTaps& k, const ConstTaps& k_rev, std::int64_t h, T* spectrum,
                      T* scratch) {
    const Problem& p = s.problem;
    const Fold& f = s.fold;
    const bool pairs = s.algorithm == Algorithm::pairs, folded = !pairs && f.has_negative();
    const Field<T> out = field(s, spectrum + kHeader);
    std::fill(spectrum, spectrum + kHeader, T(0));
    for (T* part : {out.re, out.im})
      std::fill(part + s.points, part + array_stride(s.points), T(0));  // no byte undefined
    const bool as_they_are = !folded && p.filter_dtype == (sizeof(T) == 4 ? DType::f32 : DType::f64);
    if (!as_they_are || !enter<T>(s, reinterpret_cast<const T*>(taps_of(p, k, h)), nullptr, f.positive, out)) {
      T* re = scratch;
      T* im = folded ? scratch + array_stride(s.points) : nullptr;
      std::fill(re, re + s.points, T(0));
      read_taps(p, k, h, 0, pairs ? p.filter : f.positive, re);
      if (folded) fold_negative(s, f.from_reverse ? k_rev : k, h, re, im, spectrum + kHeader);
      spectrum[0] = static_cast<T>(scale_filter(s, re, im));
      root_forward(s, re, im, out);
    }
    descend(D(), *s.tables, {out}, {kDown}, Nothing(), Ahead());
  }

  // im[M + lag] = -t[lag] for lag < 0; lag 0 (H3's convention) joins t[0].
  static void fold_negative(const Shape<T>& s, const ConstTaps& source, std::int64_t h, T* re, T* im, T* scratch) {
    const Fold& f = s.fold;
    const std::int64_t count = f.negative_hi - f.negative_lo + 1;
    const std::int64_t first = std::min(f.negative_index(f.negative_lo), f.negative_index(f.negative_hi));
    read_taps(s.problem, source, h, first, count, scratch);
    std::fill(im, im + s.points, T(0));
    for (std::int64_t lag = f.negative_lo; lag <= f.negative_hi; ++lag) {
      const T tap = scratch[f.negative_index(lag) - first];
      if (lag == 0)
        re[0] += tap;
      else
        im[s.points + lag] = -tap;
    }
  }

  static int scale_filter(const Shape<T>& s, T* re, T* im) {
    const D d;
    RowSize<T> size = measure_row(d, re, s.points);
    if (im) {
      const RowSize<T> other = measure_row(d, im, s.points);
      size = {std::max(size.largest, other.largest), size.finite && other.finite};
    }
    const int exponent = exponent_of(size, false);
    scale_row(d, exponent, s.points, re);
    if (im) scale_row(d, exponent, s.points, im);
    return exponent;
  }

  // ---- rows

  // One or two rows of x = gate u, scaled; the second of a pair may be missing.
  struct Loaded {
    T* rows[2] = {nullptr, nullptr};
    int exponents[2] = {0, 0};
    bool finite[2] = {true, true};
    bool all_finite() const { return finite[0] && finite[1]; }
  };

  template <typename Io>
  static Loaded load_rows(const Shape<T>& s, const ConstRows& u, const ConstRows& gate, std::int64_t b, int count,
                          std::int64_t h, T* scratch) {
    const D d;
    const bool pairs = s.algorithm == Algorithm::pairs;
    Loaded x;
    for (int i = 0; i < (pairs ? 2 : 1); ++i) {
      T* to = x.rows[i] = scratch + i * array_stride(s.points);
      if (i >= count) {
        std::fill(to, to + s.points, T(0));
        continue;
      }
      const RowSize<T> size = load_row(d, row<Io>(u, b + i, h), row<Io>(gate, b + i, h), s.problem.length, to);
      x.finite[i] = size.finite;
      x.exponents[i] = exponent_of(size, pairs);
      zero_tail(s, to);
    }
    return x;
  }

  static void scale_rows(const Shape<T>& s, Loaded& x) {
    for (int i = 0; i < 2 && x.rows[i]; ++i) {
      if (s.algorithm == Algorithm::pairs && !x.finite[i]) std::fill(x.rows[i], x.rows[i] + s.points, T(0));
      scale_row(D(), x.exponents[i], s.problem.length, x.rows[i]);
    }
  }

  // Row i of a result field: its real or imaginary part; NaN where the input was not finite.
  static const T* result(const Shape<T>& s, Field<T> z, const Loaded& x, int i) {
    T* out = i == 0 ? z.re : z.im;
    if (s.algorithm == Algorithm::pairs && !x.finite[i])
      std::fill(out, out + s.problem.length, std::numeric_limits<T>::quiet_NaN());
    return out;
  }

  static Finish<T> finish_of(const Shape<T>& s, const T* spectrum, const Loaded& x, int i, const void* skip,
                             std::int64_t h) {
    Finish<T> f;
    f.exponent = x.exponents[i] + static_cast<int>(spectrum[0]);
    f.weight = weight(s);
    if (skip) f.skip = static_cast<const T*>(skip)[h], f.x = x.rows[i], f.x_exponent = x.exponents[i];
    return f;
  }

  // ---- into the transform and out of it

  // Whether rows pass the root as they are read and written. Short ones, which nobody asks for ahead, do not: a loop
  // that does nothing else asks for all of its cache lines at once, which counts for more when they come from far.
  static constexpr std::int64_t kShort = 200;
  static bool passes_root(const Shape<T>& s) {
    return s.algorithm == Algorithm::right_angle && s.tables->size.root == 4 && s.points > kShort;
  }
  static std::int64_t part(const Shape<T>& s) { return s.points / s.tables->size.root; }

  // z = x = gate u, of `length` samples, below the root, x kept nowhere. False where that cannot be: with another root,
  // and for a row that has to be scaled, which shows when it has been read.
  template <typename Io>
  static bool enter(const Shape<T>& s, const Io* u, const Io* gate, std::int64_t length, Field<T> z) {
    if (!passes_root(s)) return false;
    const D d;
    const RowReader<D, Io> row(d, u, gate, length);
    const auto size = real_root4_down(d, s.tables->root.data(), part(s), row, z).size();
    return exponent_of(size, false) == 0;
  }

  // Whether a row goes past the caches to memory: one that is too long for the second cache, so that nobody will find
  // it there. Its lines are then not fetched before they are written.
  template <typename Io>
  static bool streams(const Shape<T>& s, const Io* out) {
    constexpr std::int64_t kBytes = 256 << 10;
    return std::is_same_v<Io, T> && s.problem.length * static_cast<std::int64_t>(sizeof(T)) >= kBytes &&
           reinterpret_cast<std::uintptr_t>(out) % (sizeof(T) * kLanesOf<D>) == 0;
  }
  template <bool kGated, typename Io>
  static void write_root(const Shape<T>& s, Field<T> z, T factor, const Io* gate, Io* out) {
    const D d;
    const T* matrix = s.tables->root.data();
    const std::int64_t length = s.problem.length;
    if constexpr (std::is_same_v<Io, T>)
      if (streams(s, out)) {
        real_root4_up(d, matrix, part(s), z, RowWriter<D, Io, kGated, true>(d, factor, gate, length, out));
        hwy::FlushStream();
        return;
      }
    real_root4_up(d, matrix, part(s), z, RowWriter<D, Io, kGated>(d, factor, gate, length, out));
  }

  // What comes out of z, rows b + i, i < count, to one or two outputs, each with its gate. A single one is written as
  // it leaves the root; for two the row is kept, because reading and writing at six places at a time costs more.
  struct Output {
    ConstRows gate;
    Rows out;
  };
  template <typename Io>
  static void leave(const Shape<T>& s, Field<T> z, const Loaded& x, std::int64_t b, int count, std::int64_t h,
                    const T* spectrum, const void* skip, const Output* outputs, int exits) {
    const D d;
    const Finish<T> f = finish_of(s, spectrum, x, 0, skip, h);
    if (passes_root(s) && exits == 1 && !skip && !f.in_halves()) {
      const T factor = f.weight * power_of_two<T>(f.exponent);
      const Io* gate = row<Io>(outputs->gate, b, h);
      Io* out = row<Io>(outputs->out, b, h);
      gate ? write_root<true>(s, z, factor, gate, out) : write_root<false>(s, z, factor, gate, out);
      return;
    }
    root_inverse(s, z, s.algorithm == Algorithm::pairs);
    for (int i = 0; i < count; ++i) {
      const T* values = result(s, z, x, i);
      for (int e = 0; e < exits; ++e)
        finish_row(d, values, finish_of(s, spectrum, x, i, skip, h), row<Io>(outputs[e].gate, b + i, h),
                   s.problem.length, row<Io>(outputs[e].out, b + i, h));
    }
  }

  // ---- what rows b .. b + count - 1 of channel h write, and what their turn's successor reads: the rows after them,
  // or the first ones of the next channel and its taps. For rows whose fetching takes longer than the asking for it,
  // and that are still in the second cache when their turn comes.
  static bool looks_ahead(const Shape<T>& s) {
    constexpr std::int64_t kLongest = 65536 * sizeof(float);
    return s.points > kShort && s.points * static_cast<std::int64_t>(sizeof(T)) <= kLongest;
  }

  template <typename Io, class RowsType>
  static void add_rows(const Shape<T>& s, const RowsType& rows, std::int64_t b, int count, std::int64_t h,
                       Ahead& ahead) {
    for (int i = 0; i < count; ++i) ahead.add(row<Io>(rows, b + i, h), sizeof(Io), s.problem.length);
  }
  template <typename Io>
  static void add_written(const Shape<T>& s, const Rows& rows, std::int64_t b, int count, std::int64_t h,
                          Ahead& ahead) {
    if (!streams(s, row<Io>(rows, b, h))) add_rows<Io>(s, rows, b, count, h, ahead);
  }
  template <typename Io, class Arguments>
  static void add_next(const Shape<T>& s, const Arguments& a, std::initializer_list<ConstRows> inputs, std::int64_t b,
                       int count, std::int64_t h, Ahead& ahead) {
    const Problem& p = s.problem;
    b += count;
    if (b >= p.batch) {
      b = 0, ++h;
      if (h == p.channels) return;
      ahead.add(taps_of(p, a.k, h), size_of(p.filter_dtype), p.filter);
      ahead.add(taps_of(p, a.k_rev, h), size_of(p.filter_dtype), p.filter_reverse);
    }
    count = static_cast<int>(std::min<std::int64_t>(count, p.batch - b));
    for (const ConstRows& rows : inputs) add_rows<Io>(s, rows, b, count, h, ahead);
  }
  template <typename Io>
  static Ahead look_ahead(const Shape<T>& s, const ForwardArguments& a, std::int64_t b, int count, std::int64_t h) {
    Ahead ahead;
    if (!looks_ahead(s)) return ahead;
    add_written<Io>(s, a.y, b, count, h, ahead);
    add_rows<Io>(s, a.postgate, b, count, h, ahead);
    add_next<Io>(s, a, {a.u, a.pregate}, b, count, h, ahead);
    return ahead;
  }
  template <typename Io>
  static Ahead look_ahead(const Shape<T>& s, const BackwardArguments& a, std::int64_t b, int count, std::int64_t h) {
    Ahead ahead;
    if (!looks_ahead(s)) return ahead;
    for (const Rows& rows : {a.du, a.dpregate, a.dpostgate}) add_written<Io>(s, rows, b, count, h, ahead);
    add_next<Io>(s, a, {a.u, a.pregate, a.dy, a.postgate}, b, count, h, ahead);
    return ahead;
  }

  template <typename Io>
  static void forward(const Shape<T>& s, const ForwardArguments& a, std::int64_t h, std::int64_t begin,
                      std::int64_t end, const T* spectrum, T* scratch) {
    const D d;
    const bool pairs = s.algorithm == Algorithm::pairs;
    const ConstField filter = const_field(s, spectrum + kHeader);
    const Field<T> z = field(s, scratch);
    T* const rows =
        a.skip ? scratch + 2 * array_stride(s.points) : z.re;  // kept for the skip term, else transformed in place
    for (std::int64_t b = begin; b < end; b += pairs ? 2 : 1) {
      const int count = pairs && b + 1 < end ? 2 : 1;
      Loaded x;
      if (a.skip || !enter(s, row<Io>(a.u, b, h), row<Io>(a.pregate, b, h), s.problem.length, z)) {
        x = load_rows<Io>(s, a.u, a.pregate, b, count, h, rows);
        scale_rows(s, x);
        root_forward(s, x.rows[0], x.rows[1], z);
      }
      descend(d, *s.tables, {z}, {kDownUp}, FilterProduct<T, false>{filter}, look_ahead<Io>(s, a, b, count, h));
      const Output y{a.postgate, a.y};
      leave<Io>(s, z, x, b, count, h, spectrum, a.skip, &y, 1);
    }
  }

  // ---- backward

  struct Wanted {
    bool rows, taps, postgate;  // dx; dk or dk_rev; dpostgate
    bool x, g;                  // transforms of
    explicit Wanted(const BackwardArguments& a)
        : rows(a.du.data || a.dpregate.data),
          taps(a.dk.data || a.dk_rev.data),
          postgate(a.dpostgate.data),
          x(taps || postgate),
          g(taps || rows) {}
  };

  template <typename Io>
  static void backward(const Shape<T>& s, const BackwardArguments& a, std::int64_t h, std::int64_t begin,
                       std::int64_t end, const T* spectrum, T* sums, T* scratch) {
    *reinterpret_cast<double*>(sums) = 0;
    std::fill(sums + kHeader, sums + s.sums_size, T(0));
    const int step = s.algorithm == Algorithm::pairs ? 2 : 1;
    for (std::int64_t b = begin; b < end; b += step) {
      const int count = static_cast<int>(std::min<std::int64_t>(step, end - b));
      backward_rows<Io>(s, a, h, b, count, spectrum, sums, scratch);
    }
  }

  // Rows b .. b + count - 1, at most a pair.
  template <typename Io>
  static void backward_rows(const Shape<T>& s, const BackwardArguments& a, std::int64_t h, std::int64_t b, int count,
                            const T* spectrum, T* sums, T* scratch) {
    const std::int64_t size = array_stride(s.points), length = s.problem.length;
    const Wanted want(a);
    const Field<T> zx = field(s, scratch + 4 * size), zg = field(s, scratch + 6 * size);
    Loaded x, g;
    int exponent = 0;  // of x and g together
    const bool entered = !a.skip && !a.dskip &&
                         (!want.x || enter(s, row<Io>(a.u, b, h), row<Io>(a.pregate, b, h), length, zx)) &&
                         (!want.g || enter(s, row<Io>(a.dy, b, h), row<Io>(a.postgate, b, h), length, zg));
    if (!entered) {
      x = load_rows<Io>(s, a.u, a.pregate, b, count, h, scratch);
      g = load_rows<Io>(s, a.dy, a.postgate, b, count, h, scratch + 2 * size);
      if (want.taps && !share_exponents(x, g, count)) {
        // A partner of another magnitude: in one sum they would share a scale, so each goes alone.
        for (int i = 0; i < count; ++i) backward_rows<Io>(s, a, h, b + i, 1, spectrum, sums, scratch);
        return;
      }
      if (a.dskip)
        for (int i = 0; i < count; ++i)
          *reinterpret_cast<double*>(sums) += dot_in_double(g.rows[i], x.rows[i], s.problem.length);
      if (want.taps && s.algorithm == Algorithm::pairs && !(x.all_finite() && g.all_finite()))
        sums[kHeader] = std::numeric_limits<T>::quiet_NaN();
      exponent = x.exponents[0] + g.exponents[0];
      scale_rows(s, x);
      scale_rows(s, g);
      if (want.x) root_forward(s, x.rows[0], x.rows[1], zx);
      if (want.g) root_forward(s, g.rows[0], g.rows[1], zg);
    }
    multiply_spectra(s, want, exponent, zx, zg, spectrum, sums, look_ahead<Io>(s, a, b, count, h));
    if (want.rows) {
      Output outputs[2];
      int exits = 0;
      if (a.du.data) outputs[exits++] = {a.pregate, a.du};
      if (a.dpregate.data) outputs[exits++] = {a.u, a.dpregate};
      leave<Io>(s, zg, g, b, count, h, spectrum, a.skip, outputs, exits);
    }
    if (want.postgate) {
      const Output dpostgate{a.dy, a.dpostgate};
      leave<Io>(s, zx, x, b, count, h, spectrum, a.skip, &dpostgate, 1);
    }
  }

  // The gradient of the taps sums conj(X) G over a pair: both products must carry one power of two. Exponents one apart
  // are made equal, at the price of one bit of the smaller row.
  static bool share_exponents(Loaded& x, Loaded& g, int count) {
    if (count < 2) return true;
    for (Loaded* rows : {&x, &g}) {
      int& a = rows->exponents[0];
      int& b = rows->exponents[1];
      if (a - b > 1 || b - a > 1) return false;
      a = b = std::max(a, b);
    }
    return true;
  }

  // zx = X H, zg = G conj(H), up to the root; sums += G conj(X) 2^exponent. Only what is wanted.
  static void multiply_spectra(const Shape<T>& s, const Wanted& want, int exponent, Field<T> zx, Field<T> zg,
                               const T* spectrum, T* sums, const Ahead& ahead) {
    const D d;
    const ConstField filter = const_field(s, spectrum + kHeader);
    if (want.x && want.g) {
      const GradientProduct<T> product{filter, field(s, sums + kHeader), std::ldexp(T(1), exponent), want.taps};
      descend(d, *s.tables, {zx, zg}, {want.postgate ? kDownUp : kDown, want.rows ? kDownUp : kDown}, product, ahead);
    } else if (want.x) {
      descend(d, *s.tables, {zx}, {kDownUp}, FilterProduct<T, false>{filter}, ahead);
    } else if (want.g) {
      descend(d, *s.tables, {zg}, {kDownUp}, FilterProduct<T, true>{filter}, ahead);
    }
  }

  static void finish(const Shape<T>& s, const BackwardArguments& a, std::int64_t h, T* sums, std::int64_t slices) {
    const D d;
    const Wanted want(a);
    double* dskip = reinterpret_cast<double*>(sums);
    const Field<T> c = field(s, sums + kHeader);
    for (std::int64_t slice = 1; slice < slices; ++slice) {
      T* more = sums + slice * s.sums_size;
      *dskip += *reinterpret_cast<const double*>(more);
      if (want.taps)
        for (std::int64_t i = 0; i < 2 * array_stride(s.points); ++i) c.re[i] += more[kHeader + i];
    }
    if (want.taps) {
      descend(d, *s.tables, {c}, {kUp}, Nothing(), Ahead());
      root_inverse(s, c, s.fold.has_negative());
    }
    const T w = weight(s);
    if (s.algorithm == Algorithm::pairs || !s.fold.has_negative()) {
      write_real_gradients(s, a, h, *dskip, w, c.re);
      return;
    }
    write_gradients(s, a, h, *dskip,
                    [&](std::int64_t lag) { return lag >= 0 ? w * c.re[lag] : -w * c.im[s.points + lag]; });
  }

  // Lag j at index j: pairs, where taps act modulo M, and filters without negative lags. Cropped taps get zeros.
  static void write_real_gradients(const Shape<T>& s, const BackwardArguments& a, std::int64_t h, double dskip, T w,
                                   T* re) {
    const Problem& p = s.problem;
    if (a.dskip) static_cast<T*>(a.dskip)[h] = static_cast<T>(dskip);
    if (!a.dk.data) return;
    const std::int64_t count = s.algorithm == Algorithm::pairs ? p.filter : s.fold.positive;
    Finish<T> scaled;
    scaled.weight = w;
    finish_row(D(), re, scaled, static_cast<const T*>(nullptr), count, re);
    auto* to = static_cast<char*>(a.dk.data) + h * a.dk.channel_stride * size_of(p.filter_dtype);
    write_array(D(), re, count, p.filter_dtype, to);
    std::memset(to + count * size_of(p.filter_dtype), 0, (p.filter - count) * size_of(p.filter_dtype));
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace ffc::cpu
HWY_AFTER_NAMESPACE();

#endif
