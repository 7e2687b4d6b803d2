#include "cpu/reference/reference.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace ffc::reference {
namespace {

using Index = std::int64_t;

// The definitions. A mode is the list of its products: output i gets tap j times input n. Calls forward_tap(i, j, n)
// for those of k and reverse_tap(i, j, n) for those of k_rev, both for every output, tap and input of one row.

// y[i] = sum_j k[j] x[i - j], x zero before its start
template <class ForwardTap>
void causal(const Problem& p, ForwardTap forward_tap) {
  for (Index i = 0; i < p.length; ++i)
    for (Index j = 0; j < std::min(p.filter, i + 1); ++j) forward_tap(i, j, i - j);
}

// y[i] = sum_j k[j] x[(i - j) mod N], x and k zero-extended to N, y cropped to the input's length
template <class ForwardTap>
void circular(const Problem& p, ForwardTap forward_tap) {
  for (Index i = 0; i < p.length; ++i)
    for (Index j = 0; j < p.filter; ++j) {
      const Index n = i >= j ? i - j : i - j + p.fft_size;
      if (n < p.length) forward_tap(i, j, n);
    }
}

// y[i] = sum_j k[j] x[i - j] + sum_j k_rev[j] x[i + j + reverse_lag], x zero outside its row
template <class ForwardTap, class ReverseTap>
void bidirectional(const Problem& p, ForwardTap forward_tap, ReverseTap reverse_tap) {
  causal(p, forward_tap);
  for (Index i = 0; i < p.length; ++i)
    for (Index j = 0; j < p.filter_reverse && i + j + p.reverse_lag < p.length; ++j)
      reverse_tap(i, j, i + j + p.reverse_lag);
}

template <class ForwardTap, class ReverseTap>
void for_each_product(const Problem& p, ForwardTap forward_tap, ReverseTap reverse_tap) {
  switch (p.mode) {
    case Mode::causal: return causal(p, forward_tap);
    case Mode::circular: return circular(p, forward_tap);
    case Mode::bidirectional: return bidirectional(p, forward_tap, reverse_tap);
  }
}

// Elements [at, at + count) of an array as Real; an absent array is `otherwise` everywhere.
template <typename Real>
std::vector<Real> slice(const std::vector<double>& from, Index at, Index count, double otherwise) {
  std::vector<Real> out(static_cast<std::size_t>(count), static_cast<Real>(otherwise));
  if (!from.empty())
    for (Index i = 0; i < count; ++i) out[i] = static_cast<Real>(from[at + i]);
  return out;
}

// What one row of one channel is made of.
template <typename Real>
struct Row {
  std::vector<Real> u, pregate, postgate, k, k_rev, x;
  Real skip;

  Row(const Problem& p, const Arrays& a, Index b, Index h) {
    const Index at = (b * p.channels + h) * p.length;
    u = slice<Real>(a.u, at, p.length, 0);
    pregate = slice<Real>(a.pregate, at, p.length, 1);
    postgate = slice<Real>(a.postgate, at, p.length, 1);
    k = slice<Real>(a.k, h * p.filter, p.filter, 0);
    k_rev = slice<Real>(a.k_rev, h * p.filter_reverse, p.filter_reverse, 0);
    skip = slice<Real>(a.skip, h, 1, 0)[0];
    x = u;
    for (Index i = 0; i < p.length; ++i) x[i] = pregate[i] * u[i];
  }

  // conv(x, t) + skip x
  std::vector<Real> convolved(const Problem& p) const {
    std::vector<Real> c(x.size(), 0);
    for_each_product(
        p, [&](Index i, Index j, Index n) { c[i] += k[j] * x[n]; },
        [&](Index i, Index j, Index n) { c[i] += k_rev[j] * x[n]; });
    for (Index i = 0; i < p.length; ++i) c[i] += skip * x[i];
    return c;
  }
};

}  // namespace

template <typename Real>
std::vector<double> forward(const Problem& p, const Arrays& a) {
  std::vector<double> y(static_cast<std::size_t>(p.batch * p.channels * p.length));
  for (Index b = 0; b < p.batch; ++b)
    for (Index h = 0; h < p.channels; ++h) {
      const Row<Real> row(p, a, b, h);
      const std::vector<Real> c = row.convolved(p);
      for (Index i = 0; i < p.length; ++i)
        y[(b * p.channels + h) * p.length + i] = static_cast<double>(row.postgate[i] * c[i]);
    }
  return y;
}

template <typename Real>
Gradients backward(const Problem& p, const Arrays& a, const std::vector<double>& dy) {
  const std::size_t rows = static_cast<std::size_t>(p.batch * p.channels * p.length);
  Gradients out;
  out.du.resize(rows), out.dpregate.resize(rows), out.dpostgate.resize(rows);
  for (Index h = 0; h < p.channels; ++h) {
    std::vector<Real> dk(static_cast<std::size_t>(p.filter), 0);
    std::vector<Real> dk_rev(static_cast<std::size_t>(p.filter_reverse), 0);
    Real dskip = 0;
    for (Index b = 0; b < p.batch; ++b) {
      const Row<Real> row(p, a, b, h);
      const Index at = (b * p.channels + h) * p.length;
      const std::vector<Real> upstream = slice<Real>(dy, at, p.length, 0);
      std::vector<Real> g = upstream;  // the gradient of the sum: postgate dy
      for (Index i = 0; i < p.length; ++i) g[i] = row.postgate[i] * upstream[i];
      std::vector<Real> dx(row.x.size(), 0);
      for_each_product(
          p, [&](Index i, Index j, Index n) { dx[n] += row.k[j] * g[i], dk[j] += row.x[n] * g[i]; },
          [&](Index i, Index j, Index n) { dx[n] += row.k_rev[j] * g[i], dk_rev[j] += row.x[n] * g[i]; });
      for (Index i = 0; i < p.length; ++i) dx[i] += row.skip * g[i], dskip += row.x[i] * g[i];
      const std::vector<Real> c = row.convolved(p);
      for (Index i = 0; i < p.length; ++i) {
        out.du[at + i] = static_cast<double>(row.pregate[i] * dx[i]);
        out.dpregate[at + i] = static_cast<double>(row.u[i] * dx[i]);
        out.dpostgate[at + i] = static_cast<double>(upstream[i] * c[i]);
      }
    }
    out.dk.insert(out.dk.end(), dk.begin(), dk.end());
    out.dk_rev.insert(out.dk_rev.end(), dk_rev.begin(), dk_rev.end());
    out.dskip.push_back(static_cast<double>(dskip));
  }
  return out;
}

template std::vector<double> forward<double>(const Problem&, const Arrays&);
template std::vector<double> forward<long double>(const Problem&, const Arrays&);
template Gradients backward<double>(const Problem&, const Arrays&, const std::vector<double>&);
template Gradients backward<long double>(const Problem&, const Arrays&, const std::vector<double>&);

}  // namespace ffc::reference
