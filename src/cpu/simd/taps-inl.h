// Where rows and taps of a job lie, and the filter's gradient on its way out.
#if defined(FFC_CPU_SIMD_TAPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFC_CPU_SIMD_TAPS_INL_H_
#undef FFC_CPU_SIMD_TAPS_INL_H_
#else
#define FFC_CPU_SIMD_TAPS_INL_H_
#endif

#include "cpu/kernels.h"
#include "cpu/simd/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ffc::cpu {
namespace HWY_NAMESPACE {

// Row (b, h), or null where there are no rows. Strides have been resolved.
template <typename Io>
HWY_INLINE const Io* row(const ConstRows& rows, std::int64_t b, std::int64_t h) {
  return rows.data ? static_cast<const Io*>(rows.data) + b * rows.batch_stride + h * rows.channel_stride : nullptr;
}
template <typename Io>
HWY_INLINE Io* row(const Rows& rows, std::int64_t b, std::int64_t h) {
  return rows.data ? static_cast<Io*>(rows.data) + b * rows.batch_stride + h * rows.channel_stride : nullptr;
}

// The taps of channel h, or null where there are none.
HWY_INLINE const char* taps_of(const Problem& p, const ConstTaps& taps, std::int64_t h) {
  return taps.data ? static_cast<const char*>(taps.data) + h * taps.channel_stride * size_of(p.filter_dtype) : nullptr;
}

// Taps [first, first + count) of channel h.
template <typename T>
HWY_INLINE void read_taps(const Problem& p, const ConstTaps& taps, std::int64_t h, std::int64_t first,
                          std::int64_t count, T* to) {
  read_array(hn::ScalableTag<T>(), p.filter_dtype, taps_of(p, taps, h) + first * size_of(p.filter_dtype), count, to);
}

// Writes value(j) to taps [0, count) of channel h, a piece at a time.
template <typename T, class Value>
HWY_INLINE void write_taps(const Problem& p, const Taps& taps, std::int64_t h, std::int64_t count, Value value) {
  constexpr std::int64_t kPiece = 512;
  HWY_ALIGN T piece[kPiece];
  for (std::int64_t first = 0; first < count; first += kPiece) {
    const std::int64_t n = HWY_MIN(kPiece, count - first);
    for (std::int64_t j = 0; j < n; ++j) piece[j] = value(first + j);
    auto* to = static_cast<char*>(taps.data) + (h * taps.channel_stride + first) * size_of(p.filter_dtype);
    write_array(hn::ScalableTag<T>(), piece, n, p.filter_dtype, to);
  }
}

// dk, dk_rev and dskip of channel h, where gradient(lag) is that of t[lag]: the adjoint of the fold.
template <typename T, class Gradient>
void write_gradients(const Shape<T>& s, const BackwardArguments& a, std::int64_t h, double dskip, Gradient gradient) {
  const Problem& p = s.problem;
  const Fold& f = s.fold;
  auto negative = [&](std::int64_t j) {
    const std::int64_t lag = f.sign * (j - f.base);
    return lag >= f.negative_lo && lag <= f.negative_hi ? gradient(lag) : T(0);
  };
  if (a.dskip) static_cast<T*>(a.dskip)[h] = static_cast<T>(dskip);
  if (a.dk.data) {
    const bool wraps = f.has_negative() && !f.from_reverse;
    write_taps<T>(p, a.dk, h, p.filter,
                  [&](std::int64_t j) { return (j < f.positive ? gradient(j) : T(0)) + (wraps ? negative(j) : T(0)); });
  }
  if (a.dk_rev.data) write_taps<T>(p, a.dk_rev, h, p.filter_reverse, negative);
}

}  // namespace HWY_NAMESPACE
}  // namespace ffc::cpu
HWY_AFTER_NAMESPACE();

#endif
