// The transform of tables.h on vectors: root, radix-4 levels, and the stages inside vectors with the product between.
//
//   forward   x(z) mod z^M = e(shift)  ->  its value at every root, in the order of the tree's leaves
//   inverse   M times the inverse, the same way back
// A block that fits the first cache goes down, through the product and up again before the next one is touched.
#if defined(FFC_CPU_SIMD_TRANSFORM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFC_CPU_SIMD_TRANSFORM_INL_H_
#undef FFC_CPU_SIMD_TRANSFORM_INL_H_
#else
#define FFC_CPU_SIMD_TRANSFORM_INL_H_
#endif

#include <type_traits>

#include "cpu/simd/ahead-inl.h"
#include "cpu/simd/vector-inl.h"
#include "cpu/tables.h"

HWY_BEFORE_NAMESPACE();
namespace ffc::cpu {
namespace HWY_NAMESPACE {

// Which ways a field goes.
enum Ways { kDown = 1, kUp = 2, kDownUp = 3 };

// ---- root: x = sum over its R parts, a dense R x R matrix; e[c][j] = e(j (shift + c) / R). The rows may lie where the
// field will: all parts of a point are read before one is written.

template <int R, bool kComplex, class D, typename T = hn::TFromD<D>>
HWY_NOINLINE void root_down(D d, const T* matrix, std::int64_t part, const T* re, const T* im, Field<T> out) {
  using V = hn::Vec<D>;
  for (std::int64_t i = 0; i < part; i += hn::Lanes(d)) {
    V a[R], b[R];
    HWY_UNROLL(16)
    for (int j = 0; j < R; ++j) {
      a[j] = hn::Load(d, re + j * part + i);
      if constexpr (kComplex) b[j] = hn::Load(d, im + j * part + i);
    }
    HWY_UNROLL(16)
    for (int c = 0; c < R; ++c) {
      V x = a[0], y = kComplex ? b[0] : hn::Zero(d);
      HWY_UNROLL(16)
      for (int j = 1; j < R; ++j) {
        const Complex<V> w = broadcast(d, matrix + 2 * (c * R + j));
        x = hn::MulAdd(w.re, a[j], x);
        y = hn::MulAdd(w.im, a[j], y);
        if constexpr (kComplex) {
          x = hn::NegMulAdd(w.im, b[j], x);
          y = hn::MulAdd(w.re, b[j], y);
        }
      }
      store(d, Complex<V>{x, y}, out, c * part + i);
    }
  }
}

// In place; the imaginary part only if asked for (otherwise `x.im` is left as it is).
template <int R, bool kComplex, class D, typename T = hn::TFromD<D>>
HWY_NOINLINE void root_up(D d, const T* matrix, std::int64_t part, Field<T> x) {
  using V = hn::Vec<D>;
  for (std::int64_t i = 0; i < part; i += hn::Lanes(d)) {
    Complex<V> a[R];
    HWY_UNROLL(16)
    for (int c = 0; c < R; ++c) a[c] = load(d, x, c * part + i);
    HWY_UNROLL(16)
    for (int j = 0; j < R; ++j) {
      V re = a[0].re, im = a[0].im;
      if (j == 0) {
        HWY_UNROLL(16)
        for (int c = 1; c < R; ++c) {
          re = hn::Add(re, a[c].re);
          if constexpr (kComplex) im = hn::Add(im, a[c].im);
        }
      } else {
        const Complex<V> first = broadcast(d, matrix + 2 * j);
        re = hn::MulAdd(first.im, a[0].im, hn::Mul(first.re, a[0].re));
        if constexpr (kComplex) im = hn::MulSub(first.re, a[0].im, hn::Mul(first.im, a[0].re));
        HWY_UNROLL(16)
        for (int c = 1; c < R; ++c) {
          const Complex<V> w = broadcast(d, matrix + 2 * (c * R + j));
          re = hn::MulAdd(w.im, a[c].im, hn::MulAdd(w.re, a[c].re, re));
          if constexpr (kComplex) im = hn::NegMulAdd(w.im, a[c].re, hn::MulAdd(w.re, a[c].im, im));
        }
      }
      hn::Store(re, d, x.re + j * part + i);
      if constexpr (kComplex) hn::Store(im, d, x.im + j * part + i);
    }
  }
}

// The commonest root on real rows, R = 4: e(j (s + c) / 4) = e(j s / 4) i^(j c), so a twist by the first row of the
// matrix and a butterfly: 16 operations down and 21 up where the dense matrix takes 24 and 27. Where a row comes from
// and goes to is the caller's, so that it need not pass through memory once more:
//   source(i, whole)        the vector of samples i ..      sink(i, whole, vector)    the same on the way out
//   source.whole(part)      the number of i < part for which all four vectors lie inside the row: those get a true
//                           `whole`, a constant
// The source is returned, with what it gathered.

// Samples in memory of the transform's own.
template <class D>
struct OwnRow {
  using T = hn::TFromD<D>;
  T* x;
  std::int64_t whole(std::int64_t part) const { return part; }
  template <class Flag>
  HWY_INLINE hn::Vec<D> operator()(std::int64_t i, Flag) const {
    return hn::Load(D(), x + i);
  }
  template <class Flag>
  HWY_INLINE void operator()(std::int64_t i, Flag, hn::Vec<D> v) const {
    hn::Store(v, D(), x + i);
  }
};

template <class D, class Source, typename T = hn::TFromD<D>>
HWY_NOINLINE Source real_root4_down(D d, const T* matrix, std::int64_t part, Source source, Field<T> out) {
  const auto w1 = broadcast(d, matrix + 2), w2 = broadcast(d, matrix + 4), w3 = broadcast(d, matrix + 6);
  const auto step = [&](std::int64_t i, auto whole) HWY_ATTR {
    const auto x0 = source(i, whole), x1 = source(part + i, whole), x2 = source(2 * part + i, whole),
               x3 = source(3 * part + i, whole);
    const auto even = hn::MulAdd(x2, w2.re, x0),
               odd = hn::NegMulAdd(x2, w2.re, x0);  // re of x0 +- w2 x2; im: +- w2.im x2
    const auto m = hn::Mul(x1, w1.re), n = hn::Mul(x1, w1.im);
    const auto sum_re = hn::MulAdd(x3, w3.re, m), sum_im = hn::MulAdd(x3, w3.im, n);  // w1 x1 + w3 x3
    const auto dif_re = hn::NegMulAdd(x3, w3.re, m), dif_im = hn::NegMulAdd(x3, w3.im, n);
    hn::Store(hn::Add(even, sum_re), d, out.re + i);
    hn::Store(hn::MulAdd(x2, w2.im, sum_im), d, out.im + i);
    hn::Store(hn::Sub(odd, dif_im), d, out.re + part + i);
    hn::Store(hn::NegMulAdd(x2, w2.im, dif_re), d, out.im + part + i);
    hn::Store(hn::Sub(even, sum_re), d, out.re + 2 * part + i);
    hn::Store(hn::MulSub(x2, w2.im, sum_im), d, out.im + 2 * part + i);
    hn::Store(hn::Add(odd, dif_im), d, out.re + 3 * part + i);
    hn::Store(hn::NegMulSub(x2, w2.im, dif_re), d, out.im + 3 * part + i);
  };
  std::int64_t i = 0;
  for (const std::int64_t whole = source.whole(part); i < whole; i += hn::Lanes(d)) step(i, std::true_type());
  for (; i < part; i += hn::Lanes(d)) step(i, std::false_type());
  return source;
}
template <class D, class Sink, typename T = hn::TFromD<D>>
HWY_NOINLINE void real_root4_up(D d, const T* matrix, std::int64_t part, Field<T> x, Sink sink) {
  const auto w1 = broadcast(d, matrix + 2), w2 = broadcast(d, matrix + 4), w3 = broadcast(d, matrix + 6);
  const auto step = [&](std::int64_t i, auto whole) HWY_ATTR {
    const auto a = load(d, x, i), b = load(d, x, part + i), c = load(d, x, 2 * part + i), e = load(d, x, 3 * part + i);
    const auto ac_re = hn::Add(a.re, c.re), ac_im = hn::Add(a.im, c.im), be_re = hn::Add(b.re, e.re),
               be_im = hn::Add(b.im, e.im);
    const auto am_re = hn::Sub(a.re, c.re), am_im = hn::Sub(a.im, c.im), bm_re = hn::Sub(b.re, e.re),
               bm_im = hn::Sub(b.im, e.im);
    sink(i, whole, hn::Add(ac_re, be_re));
    sink(part + i, whole, hn::MulAdd(w1.re, hn::Add(am_re, bm_im), hn::Mul(w1.im, hn::Sub(am_im, bm_re))));
    sink(2 * part + i, whole, hn::MulAdd(w2.re, hn::Sub(ac_re, be_re), hn::Mul(w2.im, hn::Sub(ac_im, be_im))));
    sink(3 * part + i, whole, hn::MulAdd(w3.re, hn::Sub(am_re, bm_im), hn::Mul(w3.im, hn::Add(am_im, bm_re))));
  };
  std::int64_t i = 0;
  for (const std::int64_t whole = sink.whole(part); i < whole; i += hn::Lanes(d)) step(i, std::true_type());
  for (; i < part; i += hn::Lanes(d)) step(i, std::false_type());
}

// Calls Call<R>::run(arguments ...) for the root of the table.
template <template <int> class Call, typename... Arguments>
HWY_INLINE void with_root(int root, Arguments... arguments) {
  switch (root) {
    case 3: Call<3>::run(arguments...); break;
    case 4: Call<4>::run(arguments...); break;
    case 5: Call<5>::run(arguments...); break;
    case 6: Call<6>::run(arguments...); break;
    case 7: Call<7>::run(arguments...); break;
    case 8: Call<8>::run(arguments...); break;
  }
}
template <int R>
struct RootDown {
  template <class D, typename T>
  static HWY_INLINE void run(D d, const T* matrix, std::int64_t part, const T* re, const T* im, Field<T> out) {
    if (!im && R == 4)
      real_root4_down(d, matrix, part, OwnRow<D>{const_cast<T*>(re)}, out);
    else if (im)
      root_down<R, true>(d, matrix, part, re, im, out);
    else
      root_down<R, false>(d, matrix, part, re, im, out);
  }
};
template <int R>
struct RootUp {
  template <class D, typename T>
  static HWY_INLINE void run(D d, const T* matrix, std::int64_t part, Field<T> x, bool complex) {
    if (!complex && R == 4)
      real_root4_up(d, matrix, part, x, OwnRow<D>{x.re});
    else if (complex)
      root_up<R, true>(d, matrix, part, x);
    else
      root_up<R, false>(d, matrix, part, x);
  }
};

// ---- radix-4 levels: `nodes` nodes of `size` points, one after another

template <class D, typename T = hn::TFromD<D>>
HWY_NOINLINE void level_down(D d, Field<T> x, std::int64_t size, std::int64_t nodes, const T* HWY_RESTRICT w) {
  const std::int64_t q = size / 4;
  const auto two = hn::Set(d, T(2));
  for (std::int64_t node = 0; node < nodes; ++node, w += Tables<T>::kNode, x = x + size) {
    const auto w1 = broadcast(d, w), w2 = broadcast(d, w + 2);
    for (std::int64_t i = 0; i < q; i += hn::Lanes(d)) {
      auto a = load(d, x, i), b = load(d, x, q + i), c = load(d, x, 2 * q + i), e = load(d, x, 3 * q + i);
      split4(a, b, c, e, w1, w2, two);
      store(d, a, x, i), store(d, b, x, q + i), store(d, c, x, 2 * q + i), store(d, e, x, 3 * q + i);
    }
  }
}

template <class D, typename T = hn::TFromD<D>>
HWY_NOINLINE void level_up(D d, Field<T> x, std::int64_t size, std::int64_t nodes, const T* HWY_RESTRICT w) {
  const std::int64_t q = size / 4;
  for (std::int64_t node = 0; node < nodes; ++node, w += Tables<T>::kNode, x = x + size) {
    const auto w1 = broadcast(d, w), w2 = broadcast(d, w + 2), w3 = broadcast(d, w + 4);
    for (std::int64_t i = 0; i < q; i += hn::Lanes(d)) {
      auto a = load(d, x, i), b = load(d, x, q + i), c = load(d, x, 2 * q + i), e = load(d, x, 3 * q + i);
      join4(a, b, c, e, w1, w2, w3);
      store(d, a, x, i), store(d, b, x, q + i), store(d, c, x, 2 * q + i), store(d, e, x, 3 * q + i);
    }
  }
}

// ---- inside vectors: a packet is `last` vectors of `last` blocks. Zips bring the lanes' upper bits to the vectors'
// numbers for the first of the two stages, then the lower ones for the last; a lane is then a block, or a child of a
// block.
//   float, 16 lanes (bits l3 l2 l1 l0, vectors v1 v0): zip twice, vectors are (l3, l2), radix 4, lanes are l1 l0 v0 v1;
//   zip twice, vectors are (l1, l0), radix 4.   8 lanes: zip once, vectors are (v1, l2), radix 2; zip twice, radix 4.

// Four vectors: their bit 0 against the lanes, then their bit 1.
template <class D, class V>
HWY_INLINE void zip_low(D d, Complex<V> (&x)[4]) {
  zip(d, x[0], x[1]);
  zip(d, x[2], x[3]);
}
template <class D, class V>
HWY_INLINE void zip_high(D d, Complex<V> (&x)[4]) {
  zip(d, x[0], x[2]);
  zip(d, x[1], x[3]);
}
template <class D, class V>
HWY_INLINE void unzip_low(D d, Complex<V> (&x)[4]) {
  unzip(d, x[0], x[1]);
  unzip(d, x[2], x[3]);
}
template <class D, class V>
HWY_INLINE void unzip_high(D d, Complex<V> (&x)[4]) {
  unzip(d, x[0], x[2]);
  unzip(d, x[1], x[3]);
}

// A twiddle of the first stage: the same in every 128 bits.
template <class D, typename T = hn::TFromD<D>>
HWY_INLINE Complex<hn::Vec<D>> load_repeated(D d, const T* w) {
#if HWY_TARGET == HWY_SCALAR
  return {hn::Load(d, w), hn::Load(d, w)};
#else
  return {hn::LoadDup128(d, w), hn::LoadDup128(d, w + 16 / sizeof(T))};
#endif
}

// `last` vectors of a field, down to the leaves and back. w: the packet's twiddles (tables.h).
template <class D>
struct Packet {
  using T = hn::TFromD<D>;
  using V = hn::Vec<D>;
  static constexpr int kLanes = kLanesOf<D>, kLast = HWY_MIN(kLanes, 4), kFirst = kLanes / kLast;
  static constexpr int kRepeated = 2 * 16 / sizeof(T);  // elements of a repeated twiddle
  static constexpr int kFirstSize = Tables<T>::first_size(kFirst, kLanes);

  static HWY_INLINE void down(D d, Complex<V> (&x)[kLast], const T* w) {
    const V two = hn::Set(d, T(2));
    if constexpr (kLast == 4) {
      zip_low(d, x);
      if constexpr (kFirst == 4) {
        zip_high(d, x);
        split4(x[0], x[2], x[1], x[3], load_repeated(d, w), load_repeated(d, w + kRepeated), two);
        zip_low(d, x);
      } else if constexpr (kFirst == 2) {
        split(x[0], x[1], load_repeated(d, w), two);
        split(x[2], x[3], load_repeated(d, w + kRepeated), two);
        zip_low(d, x);
      }
      zip_high(d, x);
      split4(x[0], x[2], x[1], x[3], last_twiddle(d, w, 0), last_twiddle(d, w, 1), two);
    } else if constexpr (kLast == 2) {
      zip(d, x[0], x[1]);
      split(x[0], x[1], last_twiddle(d, w, 0), two);
    }
  }

  static HWY_INLINE void up(D d, Complex<V> (&x)[kLast], const T* w) {
    if constexpr (kLast == 4) {
      const auto w1 = last_twiddle(d, w, 0), w2 = last_twiddle(d, w, 1);
      join4(x[0], x[2], x[1], x[3], w1, w2, multiply(w1, w2));
      unzip_high(d, x);
      if constexpr (kFirst == 4) {
        unzip_low(d, x);
        join4(x[0], x[2], x[1], x[3], load_repeated(d, w), load_repeated(d, w + kRepeated),
              load_repeated(d, w + 2 * kRepeated));
        unzip_high(d, x);
      } else if constexpr (kFirst == 2) {
        unzip_low(d, x);
        join(x[0], x[1], load_repeated(d, w));
        join(x[2], x[3], load_repeated(d, w + kRepeated));
      }
      unzip_low(d, x);
    } else if constexpr (kLast == 2) {
      join(x[0], x[1], last_twiddle(d, w, 0));
      unzip(d, x[0], x[1]);
    }
  }

 private:
  static HWY_INLINE Complex<V> last_twiddle(D d, const T* w, int which) {
    const T* at = w + kFirstSize + 2 * which * kLanes;
    return {hn::Load(d, at), hn::Load(d, at + kLanes)};
  }
};

// The product of spectra, given to Descent as the leaf of the tree: for each vector at `at`, it gets the fields' values
// there and may change them.
//   struct Product { void operator()(D d, std::int64_t at, Complex<V> (&values)[kFields]) const; };

// What goes down and up the tree together.
template <class D, int kFields, class Product>
class Descent {
  using T = hn::TFromD<D>;
  using V = hn::Vec<D>;
  static constexpr int kLanes = kLanesOf<D>, kLast = Packet<D>::kLast;
  static constexpr std::int64_t kPacketPoints = std::int64_t{kLast} * kLanes;
  // A third of a first cache of 48 KiB for the data, half of one of 32; spectra and twiddles share the rest.
  static constexpr std::int64_t kBlockPoints = 16384 / (2 * sizeof(T) * kFields);

 public:
  Descent(D d, const Tables<T>& tables, const Field<T> (&fields)[kFields], const Ways (&ways)[kFields], Product product,
          const Ahead& ahead)
      : d_(d), tables_(tables), product_(product), ahead_(ahead) {
    for (int f = 0; f < kFields; ++f) fields_[f] = fields[f], ways_[f] = ways[f];
  }

  // From below the root to the leaves and back.
  HWY_NOINLINE void run() { visit(0, 0, tables_.size.root, tables_.size.points / tables_.size.root); }

 private:
  void visit(int level, std::int64_t node, std::int64_t count, std::int64_t size) {
    if (level == tables_.size.levels || count * size <= kBlockPoints) return block(level, node, count, size);
    for (std::int64_t n = node; n < node + count; ++n) {
      down(level, n, 1, size);
      visit(level + 1, 4 * n, 4, size / 4);
      up(level, n, 1, size);
    }
  }

  void block(int level, std::int64_t node, std::int64_t count, std::int64_t size) {
    // The nodes of the last level are packets, where those have four vectors.
    const bool in_packets = kLast == 4 && level < tables_.size.levels;
    const int bottom = tables_.size.levels - (in_packets ? 1 : 0);
    std::int64_t n = node, c = count, s = size;
    for (int l = level; l < bottom; ++l, n *= 4, c *= 4, s /= 4) down(l, n, c, s);
    const std::int64_t begin = node * size, end = begin + count * size;
    if (in_packets) {
      const T* twiddles = &tables_.levels[bottom][Tables<T>::kNode * (begin / kPacketPoints)];
      for (std::int64_t at = begin; at < end; at += kPacketPoints, twiddles += Tables<T>::kNode)
        packet<kLast == 4>(at, twiddles);
    } else {
      for (std::int64_t at = begin; at < end; at += kPacketPoints) packet<false>(at, nullptr);
    }
    for (int l = bottom; l-- > level;) {
      n /= 4, c /= 4, s *= 4;
      up(l, n, c, s);
    }
  }

  HWY_INLINE void down(int level, std::int64_t node, std::int64_t count, std::int64_t size) {
    for (int f = 0; f < kFields; ++f)
      if (ways_[f] & kDown)
        level_down(d_, fields_[f] + node * size, size, count, &tables_.levels[level][Tables<T>::kNode * node]);
  }
  HWY_INLINE void up(int level, std::int64_t node, std::int64_t count, std::int64_t size) {
    for (int f = 0; f < kFields; ++f)
      if (ways_[f] & kUp)
        level_up(d_, fields_[f] + node * size, size, count, &tables_.levels[level][Tables<T>::kNode * node]);
  }

  // The last level, if kLevel (its node's twiddles v), and the stages inside vectors, the product between, in
  // registers.
  template <bool kLevel>
  HWY_INLINE void packet(std::int64_t at, const T* v) {
    ahead_(at, kPacketPoints);
    const T* w = tables_.packets.data() + at / kPacketPoints * tables_.packet_size;  // empty for vectors of one lane
    Complex<V> x[kFields][kLast];
    HWY_UNROLL(16)
    for (int f = 0; f < kFields; ++f) {
      HWY_UNROLL(16)
      for (int j = 0; j < kLast; ++j) x[f][j] = load(d_, fields_[f], at + j * kLanes);
      if (ways_[f] & kDown) {
        if constexpr (kLevel)
          split4(x[f][0], x[f][1], x[f][2], x[f][3], broadcast(d_, v), broadcast(d_, v + 2), hn::Set(d_, T(2)));
        Packet<D>::down(d_, x[f], w);
      }
    }
    HWY_UNROLL(16)
    for (int j = 0; j < kLast; ++j) {
      Complex<V> values[kFields];
      HWY_UNROLL(16)
      for (int f = 0; f < kFields; ++f) values[f] = x[f][j];
      product_(d_, at + j * kLanes, values);
      HWY_UNROLL(16)
      for (int f = 0; f < kFields; ++f) x[f][j] = values[f];
    }
    HWY_UNROLL(16)
    for (int f = 0; f < kFields; ++f) {
      if (ways_[f] & kUp) {
        Packet<D>::up(d_, x[f], w);
        if constexpr (kLevel)
          join4(x[f][0], x[f][1], x[f][2], x[f][3], broadcast(d_, v), broadcast(d_, v + 2), broadcast(d_, v + 4));
      }
      HWY_UNROLL(16)
      for (int j = 0; j < kLast; ++j) store(d_, x[f][j], fields_[f], at + j * kLanes);
    }
  }

  D d_;
  const Tables<T>& tables_;
  Field<T> fields_[kFields];
  Ways ways_[kFields];
  Product product_;
  const Ahead& ahead_;
};

}  // namespace HWY_NAMESPACE
}  // namespace ffc::cpu
HWY_AFTER_NAMESPACE();

#endif
