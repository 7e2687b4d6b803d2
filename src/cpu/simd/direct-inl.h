// Sums over the taps, for a handful of taps or samples. With t the taps at lags [lowest, highest]:
//
//   y[i] = sum_lag t[lag] x[i - lag]     dx[i] = sum_lag t[lag] g[i + lag]     dt[lag] = sum_i g[i] x[i - lag]
// on rows copied between zeros, so that no index needs a check.
#if defined(FFC_CPU_SIMD_DIRECT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFC_CPU_SIMD_DIRECT_INL_H_
#undef FFC_CPU_SIMD_DIRECT_INL_H_
#else
#define FFC_CPU_SIMD_DIRECT_INL_H_
#endif

#include <algorithm>

#include "cpu/kernels.h"
#include "cpu/simd/rows-inl.h"
#include "cpu/simd/taps-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ffc::cpu {
namespace HWY_NAMESPACE {

// Rows between margins of zeros wide enough for every lag and for whole vectors past the end.
template <typename T>
struct PaddedRow {
  T* begin;    // of the buffer
  T* samples;  // x[0]
};

template <typename T>
HWY_INLINE PaddedRow<T> padded_row(const Shape<T>& s, T* buffer, std::int64_t before) {
  const std::int64_t size = padded_row_size(s);
  std::fill(buffer, buffer + before, T(0));
  std::fill(buffer + before + s.problem.length, buffer + size, T(0));
  return {buffer, buffer + before};
}

// out[i] = sum_j taps[j * step] * in[i + j], j < count
template <class D, typename T = hn::TFromD<D>>
HWY_NOINLINE void sliding_sums(D d, const T* taps, std::int64_t step, std::int64_t count, const T* in,
                               std::int64_t length, T* out) {
  const std::int64_t lanes = hn::Lanes(d);
  for (std::int64_t i = 0; i < length; i += 4 * lanes) {
    auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    for (std::int64_t j = 0; j < count; ++j) {
      const auto t = hn::Set(d, taps[j * step]);
      const T* at = in + i + j;
      s0 = hn::MulAdd(t, hn::LoadU(d, at), s0);
      s1 = hn::MulAdd(t, hn::LoadU(d, at + lanes), s1);
      s2 = hn::MulAdd(t, hn::LoadU(d, at + 2 * lanes), s2);
      s3 = hn::MulAdd(t, hn::LoadU(d, at + 3 * lanes), s3);
    }
    hn::StoreU(s0, d, out + i), hn::StoreU(s1, d, out + i + lanes);
    hn::StoreU(s2, d, out + i + 2 * lanes), hn::StoreU(s3, d, out + i + 3 * lanes);
  }
}

template <class D, typename T = hn::TFromD<D>>
struct Direct {
  static void prepare(const Shape<T>& s, const ConstTaps& k, const ConstTaps& k_rev, std::int64_t h, T* spectrum,
                      T* scratch) {
    T* taps = spectrum + kHeader;
    const Fold& f = s.fold;
    std::fill(spectrum, spectrum + s.spectrum_size, T(0));
    read_taps(s.problem, k, h, 0, f.positive, taps - f.lowest());
    if (!f.has_negative()) return;
    // The negative side in the order of its source, then to its lags.
    const std::int64_t count = f.negative_hi - f.negative_lo + 1;
    const std::int64_t first = std::min(f.negative_index(f.negative_lo), f.negative_index(f.negative_hi));
    read_taps(s.problem, f.from_reverse ? k_rev : k, h, first, count, scratch);
    for (std::int64_t lag = f.negative_lo; lag <= f.negative_hi; ++lag)
      taps[lag - f.lowest()] += scratch[f.negative_index(lag) - first];
  }

  template <typename Io>
  static void forward(const Shape<T>& s, const ForwardArguments& a, std::int64_t h, std::int64_t begin,
                      std::int64_t end, const T* spectrum, T* scratch) {
    const D d;
    const std::int64_t length = s.problem.length, highest = s.fold.highest();
    const T* taps = spectrum + kHeader;
    const PaddedRow<T> x = padded_row(s, scratch, highest);
    T* y = scratch + padded_row_size(s);
    for (std::int64_t b = begin; b < end; ++b) {
      load_row(d, row<Io>(a.u, b, h), row<Io>(a.pregate, b, h), length, x.samples);
      sliding_sums(d, taps + s.points - 1, -1, s.points, x.begin, length, y);
      Finish<T> finish;
      if (a.skip) finish.skip = static_cast<const T*>(a.skip)[h], finish.x = x.samples;
      finish_row(d, y, finish, row<Io>(a.postgate, b, h), length, row<Io>(a.y, b, h));
    }
  }

  template <typename Io>
  static void backward(const Shape<T>& s, const BackwardArguments& a, std::int64_t h, std::int64_t begin,
                       std::int64_t end, const T* spectrum, T* sums, T* scratch) {
    const D d;
    const std::int64_t length = s.problem.length, lowest = s.fold.lowest(), highest = s.fold.highest();
    const T* taps = spectrum + kHeader;
    const PaddedRow<T> x = padded_row(s, scratch, highest);
    const PaddedRow<T> g = padded_row(s, scratch + padded_row_size(s), -lowest);
    T* out = scratch + 2 * padded_row_size(s);
    double* dskip = reinterpret_cast<double*>(sums);
    double* dt = reinterpret_cast<double*>(sums + kHeader);
    *dskip = 0;
    std::fill(dt, dt + s.points, 0.0);
    for (std::int64_t b = begin; b < end; ++b) {
      load_row(d, row<Io>(a.u, b, h), row<Io>(a.pregate, b, h), length, x.samples);
      load_row(d, row<Io>(a.dy, b, h), row<Io>(a.postgate, b, h), length, g.samples);
      Finish<T> finish;
      if (a.skip) finish.skip = static_cast<const T*>(a.skip)[h];
      if (a.du.data || a.dpregate.data) {
        sliding_sums(d, taps, 1, s.points, g.begin, length, out);
        if (a.skip) finish.x = g.samples;
        if (a.du.data) finish_row(d, out, finish, row<Io>(a.pregate, b, h), length, row<Io>(a.du, b, h));
        if (a.dpregate.data) finish_row(d, out, finish, row<Io>(a.u, b, h), length, row<Io>(a.dpregate, b, h));
      }
      if (a.dpostgate.data) {
        sliding_sums(d, taps + s.points - 1, -1, s.points, x.begin, length, out);
        if (a.skip) finish.x = x.samples;
        finish_row(d, out, finish, row<Io>(a.dy, b, h), length, row<Io>(a.dpostgate, b, h));
      }
      if (a.dk.data || a.dk_rev.data)
        for (std::int64_t j = 0; j < s.points; ++j) dt[j] += dot(d, g.samples, x.samples - lowest - j, length);
      if (a.dskip) *dskip += dot_in_double(g.samples, x.samples, length);
    }
  }

  static void finish(const Shape<T>& s, const BackwardArguments& a, std::int64_t h, T* sums, std::int64_t slices) {
    double* dskip = reinterpret_cast<double*>(sums);
    double* dt = reinterpret_cast<double*>(sums + kHeader);
    for (std::int64_t slice = 1; slice < slices; ++slice) {
      const T* more = sums + slice * s.sums_size;
      *dskip += *reinterpret_cast<const double*>(more);
      for (std::int64_t j = 0; j < s.points; ++j) dt[j] += reinterpret_cast<const double*>(more + kHeader)[j];
    }
    const std::int64_t lowest = s.fold.lowest();
    write_gradients(s, a, h, *dskip, [&](std::int64_t lag) { return static_cast<T>(dt[lag - lowest]); });
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace ffc::cpu
HWY_AFTER_NAMESPACE();

#endif
