// Activations and their derivatives on vectors. float: within a few 1e-8 of the exact value.
//
//   silu(z) = z s, s = 1 / (1 + exp(-z));  silu'(z) = s (1 + z (1 - s))
//   gelu(z) = z P, P = (1 + erf(z / sqrt(2))) / 2;  gelu'(z) = P + z exp(-z^2 / 2) / sqrt(2 pi)
#if defined(FFC_CPU_SIMD_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFC_CPU_SIMD_ACTIVATION_INL_H_
#undef FFC_CPU_SIMD_ACTIVATION_INL_H_
#else
#define FFC_CPU_SIMD_ACTIVATION_INL_H_
#endif

#include <cmath>

#include "cpu/simd/vector-inl.h"
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ffc::cpu {
namespace HWY_NAMESPACE {

template <class D, class V = hn::Vec<D>>
HWY_INLINE V sigmoid(D d, V z) {
  const V one = hn::Set(d, 1);
  // Far below 0 the exponential would leave its range; z times the result is beneath notice there.
  const V least = hn::Set(d, sizeof(hn::TFromD<D>) == 4 ? -100 : -700);
  const V e = hn::Exp(d, hn::Neg(hn::Max(z, least)));
  return hn::IfThenZeroElse(hn::Lt(z, least), hn::Div(one, hn::Add(one, e)));
}

template <class V>
struct Normal {
  V share;    // P(z), the share of a normal distribution below z
  V density;  // exp(-z^2 / 2)
};

// With a = |z|: P(-a) = exp(-a^2 / 2) s p(s), s = 4 / (4 + a), where p is smooth: the polynomial is the weighted
// least-squares fit at Chebyshev points of (0, 1), relative error 4.6e-8 with these rounded coefficients.
template <class D>
HWY_INLINE Normal<hn::Vec<D>> normal(D d, hn::Vec<D> z) {
  using T = hn::TFromD<D>;
  const auto half = hn::Set(d, T(0.5)), a = hn::Abs(z);
  Normal<hn::Vec<D>> out;
  out.density = hn::Exp(d, hn::Neg(hn::Mul(half, hn::Mul(z, z))));
  if constexpr (sizeof(T) == 4) {
    constexpr float kFit[] = {0.0997355655f, 0.0997365415f,  0.0934627876f, 0.0816472843f,  0.0587071665f,
                              0.0645958036f, -0.0334529504f, 0.09752886f,   -0.0820237845f, 0.0200627353f};
    const auto four = hn::Set(d, 4.0f), s = hn::Div(four, hn::Add(four, a));
    auto p = hn::Set(d, kFit[9]);
    for (int i = 8; i >= 0; --i) p = hn::MulAdd(p, s, hn::Set(d, kFit[i]));
    const auto below = hn::Mul(out.density, hn::Mul(s, p));
    out.share = hn::IfThenElse(hn::Lt(z, hn::Zero(d)), below, hn::Sub(hn::Set(d, 1.0f), below));
  } else {
    HWY_ALIGN T lanes[kLanesOf<D>];  // no fit reaches this precision for less
    hn::Store(z, d, lanes);
    for (T& lane : lanes) lane = std::erfc(-lane * T(0.70710678118654752440)) / 2;
    out.share = hn::Load(d, lanes);
  }
  return out;
}

struct NoActivation {
  template <class D, class V>
  static HWY_INLINE V value(D, V z) {
    return z;
  }
};

struct Silu {
  template <class D, class V>
  static HWY_INLINE V value(D d, V z) {
    return hn::Mul(z, sigmoid(d, z));
  }
  template <class D, class V>
  static HWY_INLINE V slope(D d, V z) {
    const V one = hn::Set(d, 1), s = sigmoid(d, z);
    return hn::Mul(s, hn::MulAdd(z, hn::Sub(one, s), one));
  }
};

struct Gelu {
  template <class D, class V>
  static HWY_INLINE V value(D d, V z) {
    return hn::Mul(z, normal(d, z).share);
  }
  template <class D, class V>
  static HWY_INLINE V slope(D d, V z) {
    using T = hn::TFromD<D>;
    const auto n = normal(d, z);
    return hn::MulAdd(hn::Mul(z, hn::Set(d, T(0.39894228040143267794))), n.density, n.share);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace ffc::cpu
HWY_AFTER_NAMESPACE();

#endif
