// Filters prepared once.
#include <doctest/doctest.h>

#include <cstring>

#include "cases.h"
#include "compare.h"
#include "numbers.h"

namespace ffc::test {
namespace {

// A plan's filter of given taps, and the memory it needs.
struct Prepared {
  Buffer storage, workspace;
  Result<Filter> filter;
};
Prepared prepare(const Plan& plan, TapsTensor& k, TapsTensor* k_rev = nullptr) {
  Buffer storage(DType::f32, static_cast<std::int64_t>(plan.spectrum_bytes() / 4));
  Buffer workspace(DType::f32, static_cast<std::int64_t>(plan.workspace_bytes() / 4));
  FilterArguments a{.k = k.const_taps(), .storage = {storage.at(0), plan.spectrum_bytes()}};
  if (k_rev) a.k_rev = k_rev->const_taps();
  Result<Filter> filter = make_filter(plan, a, {.workspace = {workspace.at(0), plan.workspace_bytes()}});
  REQUIRE_MESSAGE(filter, filter.status().message());
  return {std::move(storage), std::move(workspace), std::move(filter)};
}

TEST_CASE("a prepared filter gives the same bits as its taps") {
  for (const Case& c : sample_cases()) {
    INFO(describe(c));
    Job with_taps(c, {.workers = 3}), with_filter(c, {.workers = 3, .prepared = true});
    CHECK(with_filter.forward() == with_taps.forward());
    const reference::Gradients a = with_taps.backward(), b = with_filter.backward();
    CHECK(a.du == b.du);
    CHECK(a.dk == b.dk);
    CHECK(a.dk_rev == b.dk_rev);
    CHECK(a.dpregate == b.dpregate);
    CHECK(a.dpostgate == b.dpostgate);
    CHECK(a.dskip == b.dskip);
  }
}

// "Usable with every plan that prepares filters alike; the batch may differ": a plan either takes the filter of another
// batch and is right, or refuses it. Wrong numbers are not among the choices.
TEST_CASE("the filter of a plan with another batch works or is refused") {
  for (DType dtype : {DType::f32, DType::f64, DType::bf16})
    for (std::int64_t size : {64, 256, 512, 640, 768, 1024})
      for (std::int64_t length : {size, size - 1, size / 2 + 1, size / 2})
        for (std::int64_t made_for : {1, 2, 5})
          for (std::int64_t used_by : {1, 2, 5}) {
            Case c{{.batch = used_by, .channels = 2, .length = length, .filter = size, .fft_size = size}};
            c.problem.mode = Mode::circular, c.problem.dtype = dtype;
            if (quick() && (size > 512 || dtype == DType::bf16)) continue;
            INFO(describe(c), ", filter of a plan for batch ", made_for);
            Job job(c);
            Problem other = c.problem;
            other.batch = made_for;
            const auto plan = make_plan(other, {}, {.workers = 1});
            REQUIRE(plan);
            Prepared p = prepare(*plan, *job.k);
            Buffer workspace(DType::f32, static_cast<std::int64_t>(job.plan().workspace_bytes() / 4));
            job.y->buffer.forget();
            const Status status =
                forward(job.plan(), {.u = job.u->const_rows(), .filter = &*p.filter, .y = job.y->rows()},
                        {.workspace = {workspace.at(0), job.plan().workspace_bytes()}});
            if (status)
              check_forward_result(job, job.y->dense());
            else
              CHECK(status.code() == StatusCode::invalid_argument);
          }
}

TEST_CASE("a causal filter made for one batch serves every batch") {
  for (std::int64_t length : {20, 300, 1000})
    for (std::int64_t batch : {1, 2, 7, 40}) {
      Job job({{.batch = batch, .channels = 2, .length = length, .filter = length}});
      const auto plan = make_plan({.batch = 1, .channels = 2, .length = length, .filter = length});
      REQUIRE(plan);
      Prepared p = prepare(*plan, *job.k);
      Buffer workspace(DType::f32, static_cast<std::int64_t>(job.plan().workspace_bytes() / 4));
      const Status status = forward(job.plan(), {.u = job.u->const_rows(), .filter = &*p.filter, .y = job.y->rows()},
                                    {.workspace = {workspace.at(0), job.plan().workspace_bytes()}});
      REQUIRE_MESSAGE(status, status.message());
      check_forward_result(job, job.y->dense());
    }
}

TEST_CASE("filters of other problems are refused") {
  const Problem base{
      .batch = 2, .channels = 2, .length = 300, .filter = 300, .filter_reverse = 200, .mode = Mode::bidirectional};
  Job job({base});
  std::vector<Problem> others(6, base);
  others[0].channels = 3;
  others[1].length = 301;
  others[2].filter = 299;
  others[3].filter_reverse = 201;
  others[4].reverse_lag = 0;
  others[5].dtype = DType::f64, others[5].filter_dtype = DType::f64;
  for (const Problem& other : others) {
    Job of_other({other});
    Prepared p = prepare(of_other.plan(), *of_other.k, of_other.k_rev.get());
    Buffer workspace(DType::f32, static_cast<std::int64_t>(job.plan().workspace_bytes(Pass::backward) / 4));
    const Execution how{.workspace = {workspace.at(0), job.plan().workspace_bytes(Pass::backward)}};
    const Status one = forward(job.plan(), {.u = job.u->const_rows(), .filter = &*p.filter, .y = job.y->rows()}, how);
    BackwardArguments b{.dy = job.dy->const_rows(), .u = job.u->const_rows(), .filter = &*p.filter};
    b.du = job.du->rows();
    const Status two = backward(job.plan(), b, how);
    for (const Status& status : {one, two}) {
      CHECK(status.code() == StatusCode::invalid_argument);
      CHECK(status.message().find("filter") != std::string::npos);
    }
  }
}

}  // namespace
}  // namespace ffc::test
