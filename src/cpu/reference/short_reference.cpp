#include "cpu/reference/short_reference.h"

#include <cmath>
#include <cstddef>

namespace ffc::reference {
namespace {

using Index = std::int64_t;

// Where output i of a row reads: the sequence that it belongs to.
struct Sequence {
  Index state, begin, end;
};

std::vector<Sequence> sequences_of(const ShortProblem& p, const ShortArrays& a, Index b) {
  if (p.sequences == 0) return {{b, 0, p.length}};
  std::vector<Sequence> list;
  for (Index q = 0; q < p.sequences; ++q) list.push_back({q, a.ends[q], a.ends[q + 1]});
  return list;
}

// Calls visit(output, tap, sample, state) for every product of channel h: `sample` indexes x, or is -1 and `state`
// indexes the states.
template <class Visit>
void for_each_product(const ShortProblem& p, const ShortArrays& a, Index b, Index h, Visit visit) {
  for (const Sequence& s : sequences_of(p, a, b)) {
    const Index outputs = s.end - s.begin + p.padding_left + p.padding_right - p.taps + 1;
    for (Index i = 0; i < outputs; ++i)
      for (Index j = 0; j < p.taps; ++j) {
        const Index n = i + j - p.padding_left;
        if (n >= 0 && n < s.end - s.begin)
          visit(s.begin + i, j, (b * p.channels + h) * p.length + s.begin + n, Index{-1});
        else if (n < 0 && !a.state.empty())
          visit(s.begin + i, j, Index{-1}, (s.state * p.channels + h) * (p.taps - 1) + p.taps - 1 + n);
      }
  }
}

template <typename Real>
std::vector<Real> sums(const ShortProblem& p, const ShortArrays& a, Index b, Index h) {
  std::vector<Real> z(static_cast<std::size_t>(p.output_length()), a.bias.empty() ? Real(0) : Real(a.bias[h]));
  for_each_product(p, a, b, h, [&](Index i, Index j, Index n, Index m) {
    z[i] += Real(a.weight[h * p.taps + j]) * Real(n >= 0 ? a.x[n] : a.state[m]);
  });
  return z;
}

template <typename Real>
Real value(Epilogue epilogue, Real z) {
  if (epilogue == Epilogue::silu) return z / (1 + std::exp(-z));
  if (epilogue == Epilogue::gelu) return z * std::erfc(-z / std::sqrt(Real(2))) / 2;
  return z;
}

template <typename Real>
Real slope(Epilogue epilogue, Real z) {
  if (epilogue == Epilogue::silu) {
    const Real s = 1 / (1 + std::exp(-z));
    return s * (1 + z * (1 - s));
  }
  if (epilogue == Epilogue::gelu)
    return std::erfc(-z / std::sqrt(Real(2))) / 2 + z * std::exp(-z * z / 2) / std::sqrt(2 * std::acos(Real(-1)));
  return 1;
}

}  // namespace

template <typename Real>
std::vector<double> short_forward(const ShortProblem& p, const ShortArrays& a) {
  std::vector<double> y;
  const Index third = p.channels / 3;
  for (Index b = 0; b < p.batch; ++b)
    for (Index h = 0; h < p.output_channels(); ++h) {
      std::vector<Real> z = sums<Real>(p, a, b, h);
      if (p.epilogue == Epilogue::gate && h >= third) {
        const std::vector<Real> other = sums<Real>(p, a, b, h + third);
        for (std::size_t i = 0; i < z.size(); ++i) z[i] *= other[i];
      }
      for (const Real sum : z) y.push_back(static_cast<double>(value(p.epilogue, sum)));
    }
  return y;
}

template <typename Real>
ShortGradients short_backward(const ShortProblem& p, const ShortArrays& a, const std::vector<double>& dy) {
  const Index third = p.channels / 3, outputs = p.output_length();
  std::vector<Real> dx(a.x.size(), 0), dweight(a.weight.size(), 0), dstate(a.state.size(), 0);
  std::vector<Real> dbias(static_cast<std::size_t>(p.channels), 0);
  for (Index b = 0; b < p.batch; ++b)
    for (Index h = 0; h < p.channels; ++h) {
      // The gradient of the sums: of a product of two, the other one.
      const bool gated = p.epilogue == Epilogue::gate && h >= third;
      const Index out = gated && h >= 2 * third ? h - third : h;
      const std::vector<Real> z = sums<Real>(p, a, b, gated ? (h >= 2 * third ? h - third : h + third) : h);
      std::vector<Real> g(z.size());
      for (Index i = 0; i < outputs; ++i)
        g[i] = Real(dy[(b * p.output_channels() + out) * outputs + i]) * (gated ? z[i] : slope(p.epilogue, z[i]));
      for_each_product(p, a, b, h, [&](Index i, Index j, Index n, Index m) {
        const Index tap = h * p.taps + j;
        Real& into = n >= 0 ? dx[static_cast<std::size_t>(n)] : dstate[static_cast<std::size_t>(m)];
        into += Real(a.weight[tap]) * g[i];
        dweight[tap] += Real(n >= 0 ? a.x[n] : a.state[m]) * g[i];
      });
      for (const Real value : g) dbias[h] += value;
    }
  auto doubles = [](const std::vector<Real>& v) { return std::vector<double>(v.begin(), v.end()); };
  return {doubles(dx), doubles(dweight), doubles(dbias), doubles(dstate)};
}

std::vector<double> final_state(const ShortProblem& p, const ShortArrays& a) {
  std::vector<double> out;
  const Index history = p.taps - 1;
  for (Index row = 0; row < p.states(); ++row) {
    const Index b = p.sequences ? 0 : row;
    const Sequence s = sequences_of(p, a, b)[p.sequences ? row : 0];
    for (Index h = 0; h < p.channels; ++h)
      for (Index n = s.end - history; n < s.end; ++n)
        if (n >= s.begin)
          out.push_back(a.x[(b * p.channels + h) * p.length + n]);
        else
          out.push_back(a.state.empty() ? 0 : a.state[(row * p.channels + h) * history + history + n - s.begin]);
  }
  return out;
}

template std::vector<double> short_forward<double>(const ShortProblem&, const ShortArrays&);
template std::vector<double> short_forward<long double>(const ShortProblem&, const ShortArrays&);
template ShortGradients short_backward<double>(const ShortProblem&, const ShortArrays&, const std::vector<double>&);
template ShortGradients short_backward<long double>(const ShortProblem&, const ShortArrays&,
                                                    const std::vector<double>&);

}  // namespace ffc::reference
