// What holds whatever the numbers are: impulse, linearity, shift, causality, Parseval, adjoints.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cases.h"
#include "compare.h"
#include "numbers.h"

namespace ffc::test {
namespace {

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}
double norm(const std::vector<double>& a) { return std::sqrt(dot(a, a)); }

// A case without gates and skip, in float64.
Case plain(Case c) {
  c.pregate = c.postgate = c.skip = false;
  c.problem.dtype = c.problem.filter_dtype = DType::f64;
  return c;
}
std::vector<Case> plain_cases() {
  std::vector<Case> list;
  for (const Case& c : sample_cases())
    if (c.problem.dtype == DType::f64) list.push_back(plain(c));
  return list;
}

TEST_CASE("an impulse brings out the filter, a filter of one tap delays the row") {
  for (std::int64_t n : {9, 300, 513})
    for (std::int64_t at : {std::int64_t{0}, std::int64_t{1}, n / 2, n - 1}) {
      Job job({{.batch = 1, .channels = 1, .length = n, .filter = n}});
      job.u->fill([&](auto, auto, std::int64_t i) { return i == at ? 1.0 : 0.0; });
      const std::vector<double> y = job.forward(), k = job.k->dense();
      for (std::int64_t i = 0; i < n; ++i) CHECK(std::fabs(y[i] - (i < at ? 0 : k[i - at])) < 4e-6);

      Job delay({{.batch = 1, .channels = 1, .length = n, .filter = n}});
      for (std::int64_t j = 0; j < n; ++j) delay.k->set(0, j, j == at ? 1 : 0);
      delay.seal();
      const std::vector<double> z = delay.forward(), u = delay.u->dense();
      for (std::int64_t i = 0; i < n; ++i) CHECK(std::fabs(z[i] - (i < at ? 0 : u[i - at])) < 4e-6);
    }
}

TEST_CASE("the output is linear in the row and in the taps") {
  for (const Case& c : plain_cases()) {
    INFO(describe(c));
    Job one(c, {.seed = 1}), two(c, {.seed = 2}), sum(c, {.seed = 1});
    const std::vector<double> u1 = one.u->dense(), u2 = two.u->dense();
    const Problem& p = c.problem;
    auto index = [&](std::int64_t b, std::int64_t h, std::int64_t i) { return (b * p.channels + h) * p.length + i; };
    for (auto* taps : {&two, &sum}) {  // the taps of the first for all
      const std::vector<double> k = one.k->dense();
      for (std::int64_t h = 0; h < p.channels; ++h)
        for (std::int64_t j = 0; j < p.filter; ++j) taps->k->set(h, j, k[h * p.filter + j]);
      if (!one.k_rev) continue;
      const std::vector<double> r = one.k_rev->dense();
      for (std::int64_t h = 0; h < p.channels; ++h)
        for (std::int64_t j = 0; j < p.filter_reverse; ++j) taps->k_rev->set(h, j, r[h * p.filter_reverse + j]);
    }
    sum.u->fill([&](auto b, auto h, auto i) { return 2 * u1[index(b, h, i)] - 3 * u2[index(b, h, i)]; });
    two.seal(), sum.seal();
    std::vector<double> mixed = one.forward();
    const std::vector<double> other = two.forward(), together = sum.forward();
    for (std::size_t i = 0; i < mixed.size(); ++i) mixed[i] = 2 * mixed[i] - 3 * other[i];
    CHECK(relative_error(together.data(), mixed.data(), static_cast<std::int64_t>(mixed.size())) < 1e-14);
  }
}

TEST_CASE("a delayed row gives a delayed output") {
  constexpr std::int64_t n = 700, shift = 137;
  const Case c{{.batch = 1, .channels = 1, .length = n, .filter = n, .dtype = DType::f64, .filter_dtype = DType::f64}};
  Job job(c), late(c);
  const std::vector<double> u = job.u->dense();
  late.u->fill([&](auto, auto, std::int64_t i) { return i < shift ? 0 : u[i - shift]; });
  const std::vector<double> y = job.forward(), z = late.forward();
  CHECK(relative_error(&z[shift], &y[0], n - shift) < 1e-14);

  // In a circle the row comes back at the start.
  for (std::int64_t size : {512, 521}) {
    Case round{{.batch = 2, .channels = 1, .length = size, .filter = size, .fft_size = size, .mode = Mode::circular}};
    Job whole(round), turned(round);
    const std::vector<double> v = whole.u->dense();
    turned.u->fill([&](auto b, auto, std::int64_t i) { return v[b * size + (i + size - shift) % size]; });
    std::vector<double> expected = whole.forward();
    const std::vector<double> got = turned.forward();
    for (int b = 0; b < 2; ++b)
      std::rotate(&expected[b * size], &expected[(b + 1) * size - shift], &expected[(b + 1) * size - 1] + 1);
    CHECK(relative_error(got.data(), expected.data(), 2 * size) < 1e-6);
  }
}

// Everything after a moment changes, a lot: what came before moves by rounding only, and taps past the row never
// matter.
TEST_CASE("the future does not reach the past") {
  for (std::int64_t n : {20, 300, 1025, 4096})
    for (std::int64_t moment : {std::int64_t{1}, n / 2, n - 1}) {
      Job job({{.batch = 2, .channels = 1, .length = n, .filter = n}, true, false, true});
      const std::vector<double> before = job.forward();
      Random random(7);
      for (std::int64_t i = moment; i < n; ++i) job.u->set(0, 0, i, 10 * random.normal());
      job.seal();
      const std::vector<double> after = job.forward();
      double change = 0, size = 0;
      for (std::int64_t i = 0; i < moment; ++i) change += std::pow(after[i] - before[i], 2);
      for (std::int64_t i = 0; i < n; ++i) size += after[i] * after[i];
      CHECK_MESSAGE(std::sqrt(change / size) < 1e-6, n, " ", moment);
      // The other row never moves at all.
      CHECK(std::vector<double>(after.begin() + n, after.end()) ==
            std::vector<double>(before.begin() + n, before.end()));
    }
}

// A circular filter whose spectrum has modulus 1 keeps the energy of every row: here a delay times a sign.
TEST_CASE("an all-pass filter keeps the energy of a row") {
  for (std::int64_t n : {512, 521, 768}) {
    Job job({{.batch = 3, .channels = 1, .length = n, .filter = n, .fft_size = n, .mode = Mode::circular}});
    for (std::int64_t j = 0; j < n; ++j) job.k->set(0, j, j == n / 3 ? -1 : 0);
    job.seal();
    const std::vector<double> y = job.forward(), u = job.u->dense();
    for (std::int64_t b = 0; b < 3; ++b) {
      const std::vector<double> yb(y.begin() + b * n, y.begin() + (b + 1) * n);
      const std::vector<double> ub(u.begin() + b * n, u.begin() + (b + 1) * n);
      CHECK(norm(yb) == doctest::Approx(norm(ub)).epsilon(1e-6));
    }
  }
}

// <A u, v> = <u, A' v>, and likewise for every other argument: y is linear in each.
TEST_CASE("gradients are adjoints of the forward pass") {
  for (const Case& sample : sample_cases()) {
    if (sample.problem.dtype != DType::f64) continue;
    Case c = sample;
    c.pregate = c.postgate = true;
    INFO(describe(c));
    Job job(c);
    const std::vector<double> y = job.forward();
    const reference::Gradients g = job.backward();
    const double left = dot(y, job.upstream()), scale = norm(y) * norm(job.upstream());
    const auto near = [&](double right) { return std::fabs(left - right) <= 1e-13 * scale; };
    CHECK(near(dot(job.u->dense(), g.du)));
    CHECK(near(dot(job.pregate->dense(), g.dpregate)));
    CHECK(near(dot(job.postgate->dense(), g.dpostgate)));
    double taps = dot(job.k->dense(), g.dk);
    if (job.k_rev) taps += dot(job.k_rev->dense(), g.dk_rev);
    if (job.skip) taps += dot(job.skip->dense(), g.dskip);
    CHECK(near(taps));
  }
}

}  // namespace
}  // namespace ffc::test
