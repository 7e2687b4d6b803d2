// Complex vectors and the butterflies on them, for the instruction set being compiled.
#if defined(FFC_CPU_SIMD_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFC_CPU_SIMD_VECTOR_INL_H_
#undef FFC_CPU_SIMD_VECTOR_INL_H_
#else
#define FFC_CPU_SIMD_VECTOR_INL_H_
#endif

#include "hwy/cache_control.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ffc::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
inline constexpr int kLanesOf = static_cast<int>(hn::MaxLanes(D()));

// Two arrays of real and imaginary parts.
template <typename T>
struct Field {
  T* re;
  T* im;
  Field operator+(std::int64_t offset) const { return {re + offset, im + offset}; }
};

template <class V>
struct Complex {
  V re, im;
};

template <class D, typename T = hn::TFromD<D>>
HWY_INLINE Complex<hn::Vec<D>> load(D d, const Field<T>& x, std::int64_t at) {
  return {hn::Load(d, x.re + at), hn::Load(d, x.im + at)};
}
template <class D, class V, typename T = hn::TFromD<D>>
HWY_INLINE void store(D d, const Complex<V>& v, const Field<T>& x, std::int64_t at) {
  hn::Store(v.re, d, x.re + at);
  hn::Store(v.im, d, x.im + at);
}
template <class D, typename T = hn::TFromD<D>>
HWY_INLINE Complex<hn::Vec<D>> broadcast(D d, const T* pair) {
  return {hn::Set(d, pair[0]), hn::Set(d, pair[1])};
}

// a b
template <class V>
HWY_INLINE Complex<V> multiply(const Complex<V>& a, const Complex<V>& b) {
  return {hn::NegMulAdd(a.im, b.im, hn::Mul(a.re, b.re)), hn::MulAdd(a.re, b.im, hn::Mul(a.im, b.re))};
}
// a conj(b)
template <class V>
HWY_INLINE Complex<V> multiply_conjugate(const Complex<V>& a, const Complex<V>& b) {
  return {hn::MulAdd(a.im, b.im, hn::Mul(a.re, b.re)), hn::MulSub(a.im, b.re, hn::Mul(a.re, b.im))};
}

// (a, b) -> (a + w b, a - w b): z^(m/2) = w and -w. The second is 2 a minus the first: six operations in all.
template <class V>
HWY_INLINE void split(Complex<V>& a, Complex<V>& b, const Complex<V>& w, V two) {
  const V re = hn::NegMulAdd(w.im, b.im, hn::MulAdd(w.re, b.re, a.re));
  const V im = hn::MulAdd(w.im, b.re, hn::MulAdd(w.re, b.im, a.im));
  b = {hn::MulSub(two, a.re, re), hn::MulSub(two, a.im, im)};
  a = {re, im};
}
// (a, b) -> (a + i w b, a - i w b)
template <class V>
HWY_INLINE void split_turned(Complex<V>& a, Complex<V>& b, const Complex<V>& w, V two) {
  const V re = hn::NegMulAdd(w.im, b.re, hn::NegMulAdd(w.re, b.im, a.re));
  const V im = hn::NegMulAdd(w.im, b.im, hn::MulAdd(w.re, b.re, a.im));
  b = {hn::MulSub(two, a.re, re), hn::MulSub(two, a.im, im)};
  a = {re, im};
}
// Twice the inverse of split: (a, b) -> (a + b, conj(w) (a - b))
template <class V>
HWY_INLINE void join(Complex<V>& a, Complex<V>& b, const Complex<V>& w) {
  const Complex<V> d = {hn::Sub(a.re, b.re), hn::Sub(a.im, b.im)};
  a = {hn::Add(a.re, b.re), hn::Add(a.im, b.im)};
  b = multiply_conjugate(d, w);
}
// A radix-4 node: two binary splits. w1 = e(a / 4), w2 = e(a / 2).
template <class V>
HWY_INLINE void split4(Complex<V>& a, Complex<V>& b, Complex<V>& c, Complex<V>& d, const Complex<V>& w1,
                       const Complex<V>& w2, V two) {
  split(a, c, w2, two);
  split(b, d, w2, two);
  split(a, b, w1, two);
  split_turned(c, d, w1, two);
}
// Four times its inverse; w3 = w1 w2. Factors last: 28 operations where two joins of joins take 32.
template <class V>
HWY_INLINE void join4(Complex<V>& a, Complex<V>& b, Complex<V>& c, Complex<V>& d, const Complex<V>& w1,
                      const Complex<V>& w2, const Complex<V>& w3) {
  const Complex<V> s0 = {hn::Add(a.re, b.re), hn::Add(a.im, b.im)}, d0 = {hn::Sub(a.re, b.re), hn::Sub(a.im, b.im)};
  const Complex<V> s1 = {hn::Add(c.re, d.re), hn::Add(c.im, d.im)}, d1 = {hn::Sub(c.re, d.re), hn::Sub(c.im, d.im)};
  a = {hn::Add(s0.re, s1.re), hn::Add(s0.im, s1.im)};
  b = multiply_conjugate(Complex<V>{hn::Add(d0.re, d1.im), hn::Sub(d0.im, d1.re)}, w1);
  c = multiply_conjugate(Complex<V>{hn::Sub(s0.re, s1.re), hn::Sub(s0.im, s1.im)}, w2);
  d = multiply_conjugate(Complex<V>{hn::Sub(d0.re, d1.im), hn::Add(d0.im, d1.re)}, w3);
}

// (a, b) -> their lanes in turn: a0 b0 a1 b1 .. The highest bit of the lane's number becomes the vector's, the vector's
// the lane's lowest.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void zip(D d, V& a, V& b) {
#if HWY_TARGET == HWY_SCALAR
  static_cast<void>(d), static_cast<void>(a), static_cast<void>(b);
#elif HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  // One permutation of two sources, which Highway 1.0 has no name for.
  static_cast<void>(d);
  V low, high;
  if constexpr (sizeof(hn::TFromD<D>) == 4) {
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i last = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    low.raw = _mm512_permutex2var_ps(a.raw, first, b.raw);
    high.raw = _mm512_permutex2var_ps(a.raw, last, b.raw);
  } else {
    const __m512i first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const __m512i last = _mm512_add_epi64(first, _mm512_set1_epi64(4));
    low.raw = _mm512_permutex2var_pd(a.raw, first, b.raw);
    high.raw = _mm512_permutex2var_pd(a.raw, last, b.raw);
  }
  a = low, b = high;
#elif HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
  const V low = hn::InterleaveLower(d, a, b), high = hn::InterleaveUpper(d, a, b);
  a = hn::ConcatLowerLower(d, high, low), b = hn::ConcatUpperUpper(d, high, low);
#else
  const V low = hn::InterleaveLower(d, a, b), high = hn::InterleaveUpper(d, a, b);
  a = low, b = high;
#endif
}
// The way back.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void unzip(D d, V& a, V& b) {
#if HWY_TARGET == HWY_SCALAR
  static_cast<void>(d), static_cast<void>(a), static_cast<void>(b);
#else
  const V even = hn::ConcatEven(d, b, a), odd = hn::ConcatOdd(d, b, a);
  a = even, b = odd;
#endif
}
template <class D, class V>
HWY_INLINE void zip(D d, Complex<V>& a, Complex<V>& b) {
  zip(d, a.re, b.re);
  zip(d, a.im, b.im);
}
template <class D, class V>
HWY_INLINE void unzip(D d, Complex<V>& a, Complex<V>& b) {
  unzip(d, a.re, b.re);
  unzip(d, a.im, b.im);
}

}  // namespace HWY_NAMESPACE
}  // namespace ffc::cpu
HWY_AFTER_NAMESPACE();

#endif
