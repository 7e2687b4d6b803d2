// Every mode as one thing: taps at lags. y[i] = sum_lag t[lag] x[i - lag] over |lag| < length, and
//
//     t[lag] = k[lag]                                     lag in [0, positive)
//            + source[base + sign * lag]                  lag in [negative_lo, negative_hi]
//
// causal: no second line. circular, size N: source k, index N + lag. bidirectional: source k_rev, index -lag -
// reverse_lag. Taps at |lag| >= length touch no sample: they are cropped, and their gradient is exactly zero.
//
// In a right-angle transform of M >= length points (arithmetic modulo z^M = i) the filter is h[n] = t[n] - i t[n - M],
// and the gradient C of h gives back dt[n] = Re C[n], dt[n - M] = -Im C[n].
#pragma once

#include <algorithm>
#include <cstdint>

#include "flashfftconv/plan.h"

namespace ffc {

struct Fold {
  std::int64_t positive = 0;
  std::int64_t negative_lo = 0, negative_hi = -1;  // empty unless lo <= hi
  std::int64_t base = 0, sign = 0;
  bool from_reverse = false;

  bool has_negative() const { return negative_lo <= negative_hi; }
  std::int64_t negative_index(std::int64_t lag) const { return base + sign * lag; }
  /// The smallest and largest lag with a tap.
  std::int64_t lowest() const { return has_negative() ? negative_lo : 0; }
  std::int64_t highest() const { return std::max(positive - 1, has_negative() ? negative_hi : positive - 1); }
  std::int64_t span() const { return highest() - lowest() + 1; }
};

inline Fold make_fold(const Problem& p) {
  Fold f;
  f.positive = std::min(p.filter, p.length);
  if (p.mode == Mode::circular) {
    f.negative_lo = -(std::min(p.length, p.fft_size) - 1);
    f.negative_hi = p.filter - 1 - p.fft_size;
    f.base = p.fft_size, f.sign = 1;
  } else if (p.mode == Mode::bidirectional) {
    f.negative_lo = -std::min(p.filter_reverse - 1 + p.reverse_lag, p.length - 1);
    f.negative_hi = -p.reverse_lag;
    f.base = -p.reverse_lag, f.sign = -1;
    f.from_reverse = true;
  }
  return f;
}

}  // namespace ffc
