// Rows in and out of the compute type: conversion, gates, skip and scaling, fused. float16 and bfloat16 are rounded to
// nearest, ties to even, on every instruction set.
#if defined(FFC_CPU_SIMD_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFC_CPU_SIMD_ROWS_INL_H_
#undef FFC_CPU_SIMD_ROWS_INL_H_
#else
#define FFC_CPU_SIMD_ROWS_INL_H_
#endif

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "cpu/simd/vector-inl.h"
#include "flashfftconv/types.h"

HWY_BEFORE_NAMESPACE();
namespace ffc::cpu {
namespace HWY_NAMESPACE {

// ---- one vector

// float16 -> float where Highway does it in portable code, which takes infinities and NaN for numbers.
template <class D>
HWY_INLINE hn::Vec<D> float16_from_bits(D d, const hwy::float16_t* from) {
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<std::uint16_t, D> dh;
  const auto bits = hn::PromoteTo(du, hn::LoadU(dh, reinterpret_cast<const std::uint16_t*>(from)));
  const auto size = hn::And(bits, hn::Set(du, 0x7fffu)), shifted = hn::ShiftLeft<13>(size);
  // The product rebiases the exponent, of subnormal numbers too.
  const auto finite = hn::BitCast(du, hn::Mul(hn::BitCast(d, shifted), hn::Set(d, 0x1p112f)));
  const auto infinite = hn::Or(shifted, hn::Set(du, 0x7f800000u));
  const auto out = hn::IfThenElse(hn::Gt(size, hn::Set(du, 0x7bffu)), infinite, finite);
  return hn::BitCast(d, hn::Or(out, hn::ShiftLeft<16>(hn::Xor(bits, size))));
}

template <class D, typename Io>
HWY_INLINE hn::Vec<D> load_as(D d, const Io* from) {
  if constexpr (std::is_same_v<Io, hn::TFromD<D>>) {
    return hn::LoadU(d, from);
  } else {
#if HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR
    if constexpr (std::is_same_v<Io, hwy::float16_t>) return float16_from_bits(d, from);
#endif
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<Io, D>(), from));
  }
}

// float -> bfloat16 bits in the low half: round to nearest even; a NaN stays one.
template <class DU, class V>
HWY_INLINE hn::Vec<DU> bfloat16_bits(DU du, V v) {
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fffu))));
  const auto quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(du, 0x40u));
  return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, rounded);
}

// float -> float16 bits in the low half, likewise; from 65520 on it is infinite.
template <class D, class DU, class V>
HWY_INLINE hn::Vec<DU> float16_bits(D d, DU du, V v) {
  const auto bits = hn::BitCast(du, v);
  const auto sign = hn::And(bits, hn::Set(du, 0x80000000u));
  const auto size = hn::Xor(bits, sign);
  // normal: rebias the exponent by 112, round at bit 13
  const auto odd = hn::And(hn::ShiftRight<13>(size), hn::Set(du, 1u));
  const auto normal = hn::ShiftRight<13>(hn::Add(hn::Sub(size, hn::Set(du, (112u << 23) - 0xfffu)), odd));
  // subnormal: adding 1/2 leaves multiples of 2^-24 in the low bits, rounded by the addition
  const auto half = hn::Set(d, 0.5f);
  const auto subnormal = hn::Sub(hn::BitCast(du, hn::Add(hn::BitCast(d, size), half)), hn::BitCast(du, half));
  auto out = hn::IfThenElse(hn::Lt(size, hn::Set(du, 113u << 23)), subnormal, normal);
  out = hn::IfThenElse(hn::Gt(size, hn::Set(du, 0x477fefffu)), hn::Set(du, 0x7c00u), out);
  out = hn::IfThenElse(hn::Gt(size, hn::Set(du, 0x7f800000u)), hn::Set(du, 0x7e00u), out);
  return hn::Or(out, hn::ShiftRight<16>(sign));
}

template <class D, class V, typename Io>
HWY_INLINE void store_as(D d, V v, Io* to) {
  if constexpr (std::is_same_v<Io, hn::TFromD<D>>) {
    hn::StoreU(v, d, to);
  } else {
    const hn::RebindToUnsigned<D> du;
    const hn::Rebind<std::uint16_t, D> dh;
    hn::Vec<decltype(du)> bits;
    if constexpr (std::is_same_v<Io, hwy::float16_t>)
      bits = float16_bits(d, du, v);
    else
      bits = bfloat16_bits(du, v);
    hn::StoreU(hn::TruncateTo(dh, bits), dh, reinterpret_cast<std::uint16_t*>(to));
  }
}

// The first `count` < Lanes(d) elements of a row's end.
template <class D, typename Io>
HWY_INLINE hn::Vec<D> load_some(D d, const Io* from, std::int64_t count) {
  HWY_ALIGN Io buffer[kLanesOf<D>] = {};
  std::memcpy(buffer, from, count * sizeof(Io));
  return load_as(d, buffer);
}
template <class D, class V, typename Io>
HWY_INLINE void store_some(D d, V v, Io* to, std::int64_t count) {
  HWY_ALIGN Io buffer[kLanesOf<D>];
  store_as(d, v, buffer);
  std::memcpy(to, buffer, count * sizeof(Io));
}
// How a piece of a row is read and written: a whole vector, or the last samples.
struct Whole {
  template <class D, typename Io>
  HWY_INLINE hn::Vec<D> load(D d, const Io* from) const {
    return load_as(d, from);
  }
  template <class D, class V, typename Io>
  HWY_INLINE void store(D d, V v, Io* to) const {
    store_as(d, v, to);
  }
};
struct Part {
  std::int64_t count;
  template <class D, typename Io>
  HWY_INLINE hn::Vec<D> load(D d, const Io* from) const {
    return load_some(d, from, count);
  }
  template <class D, class V, typename Io>
  HWY_INLINE void store(D d, V v, Io* to) const {
    store_some(d, v, to, count);
  }
};

// Calls piece(i, Whole or Part) for the vectors of samples [0, length).
template <class D, class Piece>
HWY_INLINE void for_each_vector(D d, std::int64_t length, Piece piece) {
  const std::int64_t lanes = hn::Lanes(d);
  std::int64_t i = 0;
  for (; i + lanes <= length; i += lanes) piece(i, Whole());
  if (i < length) piece(i, Part{length - i});
}

// ---- whole rows

template <typename T>
struct RowSize {
  T largest;    // max |x|
  bool finite;  // no sample is infinite or NaN
};

// Collects the size of a row while it passes. Bits of |x| compare as integers like the numbers, and those of infinities
// and NaN above all others.
template <class D>
class Measure {
  using T = hn::TFromD<D>;
  using DI = hn::RebindToSigned<D>;

 public:
  explicit Measure(D) : largest_(hn::Zero(DI())) {}
  HWY_INLINE void add(hn::Vec<D> v) { largest_ = hn::Max(largest_, hn::BitCast(DI(), hn::Abs(v))); }
  HWY_INLINE RowSize<T> size() const {
    const T largest = std::bit_cast<T>(hn::GetLane(hn::MaxOfLanes(DI(), largest_)));
    return {largest, std::isfinite(largest)};
  }

 private:
  hn::Vec<DI> largest_;
};

template <class D, typename T = hn::TFromD<D>>
HWY_INLINE RowSize<T> measure_row(D d, const T* x, std::int64_t length) {
  Measure<D> measure(d);
  for_each_vector(d, length, [&](std::int64_t i, auto part) HWY_ATTR { measure.add(part.load(d, x + i)); });
  return measure.size();
}

// x = u * gate (gate null: u) in the compute type.
template <class D, typename Io, typename T = hn::TFromD<D>>
HWY_NOINLINE RowSize<T> load_row(D d, const Io* u, const Io* gate, std::int64_t length, T* HWY_RESTRICT x) {
  Measure<D> measure(d);
  for_each_vector(d, length, [&](std::int64_t i, auto part) HWY_ATTR {
    auto v = part.load(d, u + i);
    if (gate) v = hn::Mul(v, part.load(d, gate + i));
    measure.add(v);
    part.store(d, v, x + i);
  });
  return measure.size();
}

// 2^exponent, within the normal range.
template <typename T>
HWY_INLINE T power_of_two(int exponent) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  return std::bit_cast<T>(static_cast<Bits>(exponent + std::numeric_limits<T>::max_exponent - 1)
                          << (std::numeric_limits<T>::digits - 1));
}

// A power of two apart from which numbers are of ordinary size; 0 where they are so already, unless `always`.
template <typename T>
HWY_INLINE int exponent_of(const RowSize<T>& size, bool always) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  if (!size.finite || size.largest == 0) return 0;
  const int biased = static_cast<int>(std::bit_cast<Bits>(size.largest) >> (std::numeric_limits<T>::digits - 1));
  const int most = std::numeric_limits<T>::max_exponent - 4;
  int exponent = biased - (std::numeric_limits<T>::max_exponent - 1) - 2;  // largest in [4, 8) times 2^exponent
  exponent = HWY_MAX(-most, HWY_MIN(most, exponent));
  return always || exponent < -32 || exponent > 32 ? exponent : 0;
}

template <class D, typename T = hn::TFromD<D>>
HWY_INLINE void scale_row(D d, int exponent, std::int64_t length, T* HWY_RESTRICT x) {
  if (exponent == 0) return;
  const auto factor = hn::Set(d, power_of_two<T>(-exponent));
  for_each_vector(d, length, [&](std::int64_t i, auto part) HWY_ATTR {
    part.store(d, hn::Mul(part.load(d, x + i), factor), x + i);
  });
}

// value = sum * 2^exponent * weight + skip * x * 2^x_exponent
template <typename T>
struct Finish {
  int exponent = 0;
  T weight = 1;
  T skip = 0;
  const T* x = nullptr;  // null: no skip term
  int x_exponent = 0;

  // A power of two that is not small is applied in two halves, each within range.
  bool in_halves() const { return exponent / 2 < -32 || exponent / 2 > 32; }
};

// out = gate * value (gate null: value).
template <class D, typename Io, typename T = hn::TFromD<D>>
HWY_NOINLINE void finish_row(D d, const T* sum, const Finish<T>& f, const Io* gate, std::int64_t length, Io* out) {
  const int half = f.exponent / 2;
  const bool halves = f.in_halves();
  const auto scale1 = hn::Set(d, f.weight * power_of_two<T>(halves ? half : f.exponent)),
             scale2 = hn::Set(d, power_of_two<T>(f.exponent - half));
  const auto skip = hn::Set(d, f.skip), up = hn::Set(d, power_of_two<T>(f.x_exponent));
  // What is absent is decided outside the loop.
  const auto run = [&](auto with_skip, auto with_gate) HWY_ATTR {
    for_each_vector(d, length, [&](std::int64_t i, auto part) HWY_ATTR {
      auto v = hn::Mul(part.load(d, sum + i), scale1);
      if (halves) v = hn::Mul(v, scale2);
      if constexpr (with_skip) v = hn::MulAdd(skip, hn::Mul(part.load(d, f.x + i), up), v);
      if constexpr (with_gate) v = hn::Mul(v, part.load(d, gate + i));
      part.store(d, v, out + i);
    });
  };
  const std::true_type yes;
  const std::false_type no;
  if (f.x && gate)
    run(yes, yes);
  else if (f.x)
    run(yes, no);
  else if (gate)
    run(no, yes);
  else
    run(no, no);
}

// ---- rows that go through a transform's root as they are read or written (transform-inl.h: source and sink)

// The number of i < part, a multiple of the lanes, for which vectors at i, part + i .. 3 part + i lie inside the row.
template <class D>
HWY_INLINE std::int64_t whole_vectors(D d, std::int64_t part, std::int64_t length) {
  const std::int64_t lanes = hn::Lanes(d);
  return HWY_MIN(part, HWY_MAX(std::int64_t{0}, length - 3 * part) / lanes * lanes);
}

// x = u * gate (gate null: u) in the compute type, zeros past the row's end.
template <class D, typename Io>
class RowReader {
 public:
  RowReader(D d, const Io* u, const Io* gate, std::int64_t length) : u_(u), gate_(gate), length_(length), measure_(d) {}
  std::int64_t whole(std::int64_t part) const { return whole_vectors(D(), part, length_); }
  template <class Flag>
  HWY_INLINE hn::Vec<D> operator()(std::int64_t i, Flag whole) {
    if (whole || i + static_cast<std::int64_t>(hn::Lanes(D())) <= length_) return read(i, Whole());
    return i < length_ ? read(i, Part{length_ - i}) : hn::Zero(D());
  }
  // Of the samples read.
  HWY_INLINE auto size() const { return measure_.size(); }

 private:
  template <class Extent>
  HWY_INLINE hn::Vec<D> read(std::int64_t i, Extent part) {
    auto v = part.load(D(), u_ + i);
    if (gate_) v = hn::Mul(v, part.load(D(), gate_ + i));
    measure_.add(v);
    return v;
  }
  const Io* u_;
  const Io* gate_;
  std::int64_t length_;
  Measure<D> measure_;
};

// out = gate * factor * value. kStreamed: past the caches (out aligned to a vector, Io the compute type); a fence must
// follow before another thread is told of it.
template <class D, typename Io, bool kGated, bool kStreamed = false>
class RowWriter {
  using T = hn::TFromD<D>;

 public:
  RowWriter(D d, T factor, const Io* gate, std::int64_t length, Io* out)
      : factor_(hn::Set(d, factor)), gate_(gate), length_(length), out_(out) {}
  std::int64_t whole(std::int64_t part) const { return whole_vectors(D(), part, length_); }
  template <class Flag>
  HWY_INLINE void operator()(std::int64_t i, Flag whole, hn::Vec<D> v) const {
    if (whole || i + static_cast<std::int64_t>(hn::Lanes(D())) <= length_)
      write(i, Whole(), v);
    else if (i < length_)
      write(i, Part{length_ - i}, v);
  }

 private:
  template <class Extent>
  HWY_INLINE void write(std::int64_t i, Extent part, hn::Vec<D> value) const {
    auto v = hn::Mul(value, factor_);
    if constexpr (kGated) v = hn::Mul(v, part.load(D(), gate_ + i));
    if constexpr (kStreamed && std::is_same_v<Extent, Whole>)
      hn::Stream(v, D(), out_ + i);
    else
      part.store(D(), v, out_ + i);
  }
  hn::Vec<D> factor_;
  const Io* gate_;
  std::int64_t length_;
  Io* out_;
};

// sum of a[i] b[i]: 16 terms a lane in the compute type, in double beyond.
template <class D, typename T = hn::TFromD<D>>
HWY_INLINE double dot(D d, const T* a, const T* b, std::int64_t length) {
  const std::int64_t block = 16 * static_cast<std::int64_t>(hn::Lanes(d));
  double total = 0;
  for (std::int64_t start = 0; start < length; start += block) {
    const std::int64_t end = HWY_MIN(length, start + block);
    auto sum = hn::Zero(d);
    for_each_vector(d, end - start, [&](std::int64_t i, auto part) HWY_ATTR {
      sum = hn::MulAdd(part.load(d, a + start + i), part.load(d, b + start + i), sum);
    });
    total += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum)));
  }
  return total;
}

// The same for one number a row, skip's gradient, in double, where products of floats are exact: what one row is off by
// would add up over a batch of rows that are alike, whose sum may be small.
template <typename T>
HWY_INLINE double dot_in_double(const T* a, const T* b, std::int64_t length) {
  constexpr int kSums = 16;  // side by side, so that they fill vectors
  double sums[kSums] = {};
  std::int64_t i = 0;
  for (; i + kSums <= length; i += kSums)
    for (int j = 0; j < kSums; ++j) sums[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
  for (int j = 0; i + j < length; ++j) sums[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

// The sum of g[i] in double, side by side likewise.
template <typename T>
HWY_INLINE double sum_in_double(const T* g, std::int64_t length) {
  constexpr int kSums = 16;
  double sums[kSums] = {};
  std::int64_t i = 0;
  for (; i + kSums <= length; i += kSums)
    for (int j = 0; j < kSums; ++j) sums[j] += static_cast<double>(g[i + j]);
  for (int j = 0; i + j < length; ++j) sums[j] += static_cast<double>(g[i + j]);
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

// ---- arrays of any type

// Elements [0, count) into the compute type. Types of another width than the compute type's go through float.
template <class D, typename T = hn::TFromD<D>>
HWY_NOINLINE void read_array(D d, DType dtype, const void* from, std::int64_t count, T* to) {
  if constexpr (std::is_same_v<T, float>) {
    switch (dtype) {
      case DType::f16:
        load_row(d, static_cast<const hwy::float16_t*>(from), static_cast<const hwy::float16_t*>(nullptr), count, to);
        return;
      case DType::bf16:
        load_row(d, static_cast<const hwy::bfloat16_t*>(from), static_cast<const hwy::bfloat16_t*>(nullptr), count, to);
        return;
      case DType::f32: std::memcpy(to, from, count * sizeof(float)); return;
      case DType::f64:
        for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(static_cast<const double*>(from)[i]);
        return;
    }
  } else {
    if (dtype == DType::f64) {
      std::memcpy(to, from, count * sizeof(double));
      return;
    }
    const hn::ScalableTag<float> df;
    constexpr std::int64_t kPiece = 256;
    HWY_ALIGN float piece[kPiece];
    for (std::int64_t i = 0; i < count; i += kPiece) {
      const std::int64_t n = HWY_MIN(kPiece, count - i);
      read_array(df, dtype, static_cast<const char*>(from) + i * size_of(dtype), n, piece);
      for (std::int64_t j = 0; j < n; ++j) to[i + j] = piece[j];
    }
  }
}

// A float on the way to 16 bits: toward zero, the last bit set if anything was lost. Rounding that to nearest gives
// what rounding the double itself would, never a second rounding of a first.
inline float float_with_odd_end(double value) {
  const float near = static_cast<float>(value);
  if (static_cast<double>(near) == value || near != near) return near;
  const bool beyond = std::abs(static_cast<double>(near)) > std::abs(value);
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(near) - (beyond ? 1 : 0)) | 1);
}

template <class D, typename T = hn::TFromD<D>>
HWY_NOINLINE void write_array(D d, const T* from, std::int64_t count, DType dtype, void* to) {
  if constexpr (std::is_same_v<T, float>) {
    const Finish<float> plain;
    switch (dtype) {
      case DType::f16:
        finish_row(d, from, plain, static_cast<const hwy::float16_t*>(nullptr), count,
                   static_cast<hwy::float16_t*>(to));
        return;
      case DType::bf16:
        finish_row(d, from, plain, static_cast<const hwy::bfloat16_t*>(nullptr), count,
                   static_cast<hwy::bfloat16_t*>(to));
        return;
      case DType::f32: std::memcpy(to, from, count * sizeof(float)); return;
      case DType::f64:
        for (std::int64_t i = 0; i < count; ++i) static_cast<double*>(to)[i] = static_cast<double>(from[i]);
        return;
    }
  } else {
    if (dtype == DType::f64) {
      std::memcpy(to, from, count * sizeof(double));
      return;
    }
    const hn::ScalableTag<float> df;
    constexpr std::int64_t kPiece = 256;
    HWY_ALIGN float piece[kPiece];
    for (std::int64_t i = 0; i < count; i += kPiece) {
      const std::int64_t n = HWY_MIN(kPiece, count - i);
      for (std::int64_t j = 0; j < n; ++j)
        piece[j] = dtype == DType::f32 ? static_cast<float>(from[i + j]) : float_with_odd_end(from[i + j]);
      write_array(df, piece, n, dtype, static_cast<char*>(to) + i * size_of(dtype));
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace ffc::cpu
HWY_AFTER_NAMESPACE();

#endif
