// NaN and infinity stay where they belong; magnitudes at the ends of float's range come out right.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include "cases.h"
#include "compare.h"

namespace ffc::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Rows that must not notice: the same up to rounding (a row may lose its partner in a pair, and with it its bits).
bool same(const std::vector<double>& got, const std::vector<double>& clean, std::int64_t row, std::int64_t length) {
  return relative_error(&got[row * length], &clean[row * length], length) <= 1e-6;
}
// No number pretends to be the answer where the definition has a product with a value that is not finite.
bool hides_nothing(const std::vector<double>& got, const std::vector<double>& exact, std::int64_t row,
                   std::int64_t length) {
  for (std::int64_t i = row * length; i < (row + 1) * length; ++i)
    if (!std::isfinite(exact[i]) && std::isfinite(got[i])) return false;
  return true;
}

std::vector<Case> float_cases() {
  std::vector<Case> list;
  for (const Case& c : sample_cases())
    if (c.problem.dtype == DType::f32) list.push_back(c);
  return list;
}

TEST_CASE("a sample that is not finite stays in its row") {
  for (Case c : float_cases())
    for (double bad : quick() ? std::vector{kNaN} : std::vector{kNaN, kInfinity, -kInfinity})
      for (const char* where : {"u", "pregate", "postgate", "dy"})
        for (std::int64_t b : {std::int64_t{0}, std::int64_t{1}, c.problem.batch - 1}) {
          c.pregate = c.postgate = c.skip = true;
          const Problem& p = c.problem;
          const std::int64_t h = p.channels - 1, length = p.length, at = length / 3;
          INFO(describe(c), ", ", std::string(where), " of row ", b, " has ", bad);
          Job job(c);
          const std::vector<double> clean = job.forward();
          const reference::Gradients clean_gradients = job.backward();
          RowsTensor* tensor = *where == 'u'     ? job.u.get()
                               : *where == 'd'   ? job.dy.get()
                               : where[1] == 'r' ? job.pregate.get()
                                                 : job.postgate.get();
          tensor->set(b, h, at, bad);
          job.seal();
          const std::vector<double> y = job.forward(), exact = job.expected();
          const reference::Gradients g = job.backward(), exact_gradients = job.expected_gradients();
          for (std::int64_t row = 0; row < p.batch * p.channels; ++row) {
            const bool its_own = row == b * p.channels + h;
            CHECK((its_own ? hides_nothing(y, exact, row, length) : same(y, clean, row, length)));
            for (auto of :
                 {&reference::Gradients::du, &reference::Gradients::dpregate, &reference::Gradients::dpostgate})
              CHECK((its_own ? hides_nothing(g.*of, exact_gradients.*of, row, length)
                             : same(g.*of, clean_gradients.*of, row, length)));
          }
          for (std::int64_t channel = 0; channel < p.channels; ++channel) {
            if (channel == h) {
              CHECK(hides_nothing(g.dk, exact_gradients.dk, h, p.filter));
              if (job.k_rev) CHECK(hides_nothing(g.dk_rev, exact_gradients.dk_rev, h, p.filter_reverse));
              CHECK(hides_nothing(g.dskip, exact_gradients.dskip, h, 1));
            } else {
              CHECK(same(g.dk, clean_gradients.dk, channel, p.filter));
              if (job.k_rev) CHECK(same(g.dk_rev, clean_gradients.dk_rev, channel, p.filter_reverse));
              CHECK(same(g.dskip, clean_gradients.dskip, channel, 1));
            }
          }
        }
}

TEST_CASE("a tap or skip that is not finite stays in its channel") {
  for (Case c : float_cases())
    for (double bad : {kNaN, kInfinity}) {
      c.skip = true;
      if (c.problem.channels == 1) c.problem.channels = 2;
      const Problem& p = c.problem;
      INFO(describe(c));
      for (bool in_skip : {false, true}) {
        Job job(c);
        const std::vector<double> clean = job.forward();
        const reference::Gradients clean_gradients = job.backward();
        (in_skip ? job.skip : job.k)->set(0, 0, bad);
        job.seal();
        const std::vector<double> y = job.forward(), exact = job.expected();
        const reference::Gradients g = job.backward();
        for (std::int64_t row = 0; row < p.batch * p.channels; ++row) {
          if (row % p.channels == 0)
            CHECK(hides_nothing(y, exact, row, p.length));
          else
            CHECK(same(y, clean, row, p.length));
        }
        CHECK(same(g.dk, clean_gradients.dk, 0, p.filter));  // which does not depend on the taps
        CHECK(same(g.dk, clean_gradients.dk, 1, p.filter));
      }
    }
}

// Each row of a pair, and each row of a batch, is judged by its own size.
TEST_CASE("rows of very different size each keep their own accuracy") {
  for (Case c : float_cases()) {
    if (c.problem.batch < 2) continue;
    for (double ratio : {300.0, 1e-4, 1e20, 3.0}) {
      INFO(describe(c), ", odd rows ", ratio, " times as large");
      Job job(c);
      const Problem& p = c.problem;
      for (auto* tensor : {&job.u, &job.dy}) {
        const std::vector<double> values = (*tensor)->dense();
        (*tensor)->fill([&](std::int64_t b, std::int64_t h, std::int64_t i) {
          return values[(b * p.channels + h) * p.length + i] * (b % 2           ? (ratio == 1e20 ? 1e10 : ratio)
                                                                : ratio == 1e20 ? 1e-10
                                                                                : 1);
        });
      }
      check_forward_result(job, job.forward());
      check_gradients(job, job.backward());
    }
  }
}

TEST_CASE("rows and taps at the ends of float's range") {
  const struct {
    double u, k, dy;
  } sizes[] = {{1e30, 1, 1},         {1e-30, 1, 1},       {1, 1e30, 1},         {1, 1e-30, 1},
               {1, 1, 1e30},         {1, 1, 1e-30},       {1e30, 1e-30, 1e-30}, {1e-30, 1e30, 1e30},
               {1e35, 1e-20, 1e-35}, {1e-37, 1e20, 1e37}, {1e18, 1e18, 1e18},   {1e-18, 1e-15, 1e-12}};
  for (const Case& sample : float_cases())
    for (const auto& size : sizes) {
      Case c = sample;
      c.pregate = c.postgate = c.skip = false;
      const Problem& p = c.problem;
      INFO(describe(c), ", u of ", size.u, ", taps of ", size.k, ", dy of ", size.dy);
      Job job(c);
      auto scale = [&](RowsTensor& rows, double by) {
        const std::vector<double> values = rows.dense();
        rows.fill([&](auto b, auto h, auto i) { return by * values[(b * p.channels + h) * p.length + i]; });
      };
      auto scale_taps = [&](TapsTensor& taps, std::int64_t count, double by) {
        const std::vector<double> values = taps.dense();
        for (std::int64_t h = 0; h < p.channels; ++h)
          for (std::int64_t j = 0; j < count; ++j) taps.set(h, j, by * values[h * count + j]);
      };
      scale(*job.u, size.u), scale(*job.dy, size.dy);
      scale_taps(*job.k, p.filter, size.k);
      if (job.k_rev) scale_taps(*job.k_rev, p.filter_reverse, size.k);
      job.seal();
      // A result is looked at where float can hold it; its size is about the product of its factors'.
      auto within = [](double value) { return value > 1e-33 && value < 1e35; };
      if (within(size.u * size.k)) check_forward_result(job, job.forward());
      for (bool dskip : {true, false}) {
        reference::Gradients g = job.backward({.dskip = dskip});
        if (!within(size.dy * size.k)) g.du.clear();
        if (!within(size.u * size.dy)) g.dk.clear(), g.dk_rev.clear(), g.dskip.clear();
        check_gradients(job, g);
      }
    }
}

TEST_CASE("the largest float survives, and zeros give zeros") {
  for (Case c : float_cases()) {
    c.pregate = c.postgate = c.skip = false;
    INFO(describe(c));
    const Problem& p = c.problem;
    Job job(c);
    job.u->fill([&](auto, auto, std::int64_t i) { return i == p.length / 2 ? std::numeric_limits<float>::max() : 0; });
    for (std::int64_t h = 0; h < p.channels; ++h) {
      for (std::int64_t j = 0; j < p.filter; ++j) job.k->set(h, j, j == 0 ? 0.5 : 0);
      for (std::int64_t j = 0; job.k_rev && j < p.filter_reverse; ++j) job.k_rev->set(h, j, 0);
    }
    job.seal();
    check_forward_result(job, job.forward());

    job.u->fill([](auto, auto, auto) { return 0; });
    for (double value : job.forward()) CHECK(value == 0);
    const reference::Gradients g = job.backward();
    for (double value : g.dk) CHECK(value == 0);
    job.dy->fill([](auto, auto, auto) { return 0; });
    for (double value : job.backward().du) CHECK(value == 0);
  }
}

}  // namespace
}  // namespace ffc::test
