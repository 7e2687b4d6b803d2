// Every refusal: its code, and that its message names the argument and the value.
#include <doctest/doctest.h>

#include <functional>
#include <limits>
#include <string>

#include "compare.h"

namespace ffc::test {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

void check_refused(const Status& status, StatusCode code, std::initializer_list<const char*> words) {
  CHECK_FALSE(status);
  CHECK(status.code() == code);
  for (const char* word : words)
    CHECK_MESSAGE(status.message().find(word) != std::string::npos, "'", status.message(), "' does not say '",
                  std::string(word), "'");
}

TEST_CASE("problems that make no sense are refused, with the argument and its value") {
  const Problem good{.batch = 2, .channels = 3, .length = 16, .filter = 8};
  REQUIRE(make_plan(good));
  auto refused = [&](const std::function<void(Problem&)>& change, std::initializer_list<const char*> words) {
    Problem p = good;
    change(p);
    const auto plan = make_plan(p);
    CHECK_FALSE(plan);
    check_refused(plan.status(), StatusCode::invalid_argument, words);
  };
  refused([](Problem& p) { p.batch = -7; }, {"batch", "-7", "at least 0"});
  refused([](Problem& p) { p.channels = -2; }, {"channels", "-2", "at least 0"});
  refused([](Problem& p) { p.length = 0; }, {"length", "0", "at least 1"});
  refused([](Problem& p) { p.length = -5; }, {"length", "-5", "at least 1"});
  refused([](Problem& p) { p.filter = 0; }, {"filter", "0", "at least 1"});
  refused([](Problem& p) { p.filter = -3; }, {"filter", "-3", "at least 1"});
  refused([](Problem& p) { p.filter_reverse = -4; }, {"filter_reverse", "-4", "at least 0"});
  refused([](Problem& p) { p.batch = 1LL << 40, p.length = 1LL << 40; }, {"1099511627776", "64 bits"});
  refused([](Problem& p) { p.length = kMost; }, {"length", "9223372036854775807"});
  refused([](Problem& p) { p.filter = kMost; }, {"filter", "9223372036854775807"});
  refused([](Problem& p) { p.channels = kMost; }, {"channels", "9223372036854775807"});
  refused([](Problem& p) { p.batch = 0, p.channels = 1LL << 40, p.length = 1LL << 40; }, {"1099511627776", "64 bits"});
  refused([](Problem& p) { p.mode = Mode::bidirectional, p.filter_reverse = kMost; },
          {"filter_reverse", "9223372036854775807"});
  refused([](Problem& p) { p.mode = Mode::circular; }, {"fft_size", "0", "at least 1"});
  refused([](Problem& p) { p.mode = Mode::circular, p.fft_size = -16; }, {"fft_size", "-16"});
  refused([](Problem& p) { p.mode = Mode::circular, p.fft_size = 15; }, {"length", "16", "fft_size", "15"});
  refused([](Problem& p) { p.mode = Mode::circular, p.fft_size = 16, p.filter = 17; },
          {"filter", "17", "fft_size", "16"});
  refused([](Problem& p) { p.fft_size = 32; }, {"fft_size", "32", "circular", "causal"});
  refused([](Problem& p) { p.mode = Mode::bidirectional; }, {"k_rev", "0", "at least 1"});
  refused([](Problem& p) { p.mode = Mode::bidirectional, p.filter_reverse = 1, p.fft_size = 5; },
          {"fft_size", "5", "bidirectional"});
  refused([](Problem& p) { p.mode = Mode::bidirectional, p.filter_reverse = 2, p.reverse_lag = 2; },
          {"reverse_lag", "2", "0 or 1"});
  refused([](Problem& p) { p.mode = Mode::bidirectional, p.filter_reverse = 2, p.reverse_lag = -1; },
          {"reverse_lag", "-1"});
  refused([](Problem& p) { p.filter_reverse = 6; }, {"k_rev", "6", "bidirectional", "causal"});
  refused([](Problem& p) { p.mode = Mode::circular, p.fft_size = 16, p.filter_reverse = 6; },
          {"k_rev", "6", "circular"});
  refused([](Problem& p) { p.dtype = static_cast<DType>(9); }, {"dtype", "9", "f16", "bf16", "f32", "f64"});
  refused([](Problem& p) { p.filter_dtype = static_cast<DType>(-1); }, {"filter_dtype", "-1", "f16"});
  refused([](Problem& p) { p.mode = static_cast<Mode>(5); }, {"mode", "5", "circular", "causal", "bidirectional"});
}

TEST_CASE("devices and options that make no sense are refused") {
  const Problem good{.length = 16, .filter = 8};
  check_refused(make_plan(good, {DeviceKind::cuda, 3}).status(), StatusCode::unsupported, {"CUDA", "3"});
  check_refused(make_plan(good, {DeviceKind::cpu, 1}).status(), StatusCode::invalid_argument, {"device", "1"});
  check_refused(make_plan(good, {}, {.workers = -2}).status(), StatusCode::invalid_argument,
                {"workers", "-2", "at least 0"});
  // A vast number of workers costs no more than there are rows.
  const auto plan = make_plan(good, {}, {.workers = std::numeric_limits<int>::max()});
  REQUIRE(plan);
  CHECK(plan->workers() == 1);
  CHECK(make_plan(good, {}, {.workers = 0}));
}

TEST_CASE("sizes beyond every memory are refused or planned, never misplanned") {
  for (std::int64_t length = 1; length < (1LL << 60); length *= 8) {
    const auto plan = make_plan({.batch = 1, .channels = 1, .length = length, .filter = 1});
    if (plan)
      CHECK(plan->workspace_bytes() > 0);
    else
      CHECK(plan.status().message() != "");
  }
  for (std::int64_t channels = 1; channels < (1LL << 60); channels *= 8) {
    const auto plan = make_plan({.batch = 1, .channels = channels, .length = 40, .filter = 40}, {}, {.workers = 2});
    if (plan)
      CHECK(plan->spectrum_bytes() / 4 / static_cast<std::size_t>(channels) >= 40);
    else
      CHECK(plan.status().message() != "");
  }
}

// Runs a good execution once, and then with one thing wrong.
struct Calls {
  explicit Calls(const Problem& p)
      : job({p}), space(DType::f32, static_cast<std::int64_t>(bytes(Pass::backward) / 4 + 64)) {}
  std::size_t bytes(Pass pass) const { return job.plan().workspace_bytes(pass); }
  ForwardArguments forward_arguments() {
    ForwardArguments a{.u = job.u->const_rows(), .k = job.k->const_taps(), .y = job.y->rows()};
    if (job.k_rev) a.k_rev = job.k_rev->const_taps();
    return a;
  }
  BackwardArguments backward_arguments() {
    BackwardArguments a{.dy = job.dy->const_rows(), .u = job.u->const_rows(), .k = job.k->const_taps()};
    if (job.k_rev) a.k_rev = job.k_rev->const_taps();
    a.du = job.du->rows();
    return a;
  }
  Execution how(Pass pass) { return {.workspace = {space.at(0), bytes(pass)}}; }
  Status run(const ForwardArguments& a) { return forward(job.plan(), a, how(Pass::forward)); }
  Status run(const BackwardArguments& a) { return backward(job.plan(), a, how(Pass::backward)); }

  Job job;
  Buffer space;
};

TEST_CASE("arguments that are missing or do not belong are refused") {
  const StatusCode invalid = StatusCode::invalid_argument;
  Calls causal({.batch = 2, .length = 300, .filter = 300});
  Calls both({.batch = 2, .length = 300, .filter = 300, .filter_reverse = 9, .mode = Mode::bidirectional});
  CHECK(causal.run(causal.forward_arguments()));
  CHECK(both.run(both.backward_arguments()));

  ForwardArguments f = causal.forward_arguments();
  f.u = {};
  check_refused(causal.run(f), invalid, {"u is null"});
  f = causal.forward_arguments(), f.y = {};
  check_refused(causal.run(f), invalid, {"y is null"});
  f = causal.forward_arguments(), f.k = {};
  check_refused(causal.run(f), invalid, {"k is null"});
  f = causal.forward_arguments(), f.k_rev = f.k;
  check_refused(causal.run(f), invalid, {"k_rev", "bidirectional"});
  f = both.forward_arguments(), f.k_rev = {};
  check_refused(both.run(f), invalid, {"k_rev is null"});

  BackwardArguments b = causal.backward_arguments();
  b.dy = {};
  check_refused(causal.run(b), invalid, {"dy is null"});
  b = causal.backward_arguments(), b.u = {};
  check_refused(causal.run(b), invalid, {"u is null"});
  b = causal.backward_arguments(), b.k = {};
  check_refused(causal.run(b), invalid, {"k is null"});
  b = causal.backward_arguments(), b.dpregate = causal.job.du->rows();
  check_refused(causal.run(b), invalid, {"dpregate", "pregate is null"});
  b = causal.backward_arguments(), b.dpostgate = causal.job.du->rows();
  check_refused(causal.run(b), invalid, {"dpostgate", "postgate is null"});
  b = causal.backward_arguments(), b.dk_rev = causal.job.dk->taps();
  check_refused(causal.run(b), invalid, {"dk_rev", "bidirectional"});
  b = both.backward_arguments(), b.k_rev = {};
  check_refused(both.run(b), invalid, {"k_rev is null"});

  Buffer storage(DType::f32, static_cast<std::int64_t>(causal.job.plan().spectrum_bytes() / 4));
  const Workspace room{storage.at(0), causal.job.plan().spectrum_bytes()};
  const auto filter =
      make_filter(causal.job.plan(), {.k = causal.job.k->const_taps(), .storage = room}, causal.how(Pass::forward));
  REQUIRE(filter);
  f = causal.forward_arguments(), f.filter = &*filter;
  check_refused(causal.run(f), invalid, {"filter", "taps"});
  b = causal.backward_arguments(), b.filter = &*filter;
  check_refused(causal.run(b), invalid, {"filter", "taps"});
  check_refused(make_filter(causal.job.plan(), {.storage = room}, causal.how(Pass::forward)).status(), invalid,
                {"k is null"});

  // Nothing was written by any of the refused calls.
  CHECK(causal.job.y->buffer.intact());
}

TEST_CASE("a workspace that is missing, too small or misaligned is refused before anything is written") {
  for (std::int64_t length : {20, 300}) {
    Calls c({.batch = 2, .length = length, .filter = length});
    c.job.y->buffer.forget();
    for (Pass pass : {Pass::forward, Pass::backward}) {
      const std::size_t bytes = c.bytes(pass);
      REQUIRE(bytes > 0);
      auto run = [&](Workspace workspace) {
        const Execution how{.workspace = workspace};
        return pass == Pass::forward ? forward(c.job.plan(), c.forward_arguments(), how)
                                     : backward(c.job.plan(), c.backward_arguments(), how);
      };
      const std::string alignment = std::to_string(kWorkspaceAlignment);
      const std::string need = std::to_string(bytes), less = std::to_string(bytes - 1);
      check_refused(run({}), StatusCode::workspace, {"workspace", "null", need.c_str()});
      check_refused(run({c.space.at(0), bytes - 1}), StatusCode::workspace, {"workspace", less.c_str(), need.c_str()});
      check_refused(run({c.space.at(1), bytes}), StatusCode::workspace, {"workspace", "aligned", alignment.c_str()});
      for (double value : c.job.y->dense()) CHECK(value != value);
      CHECK(run({c.space.at(0), bytes}));
      if (pass == Pass::forward) c.job.y->buffer.forget();
    }
    const std::size_t bytes = c.job.plan().spectrum_bytes();
    Buffer storage(DType::f32, static_cast<std::int64_t>(bytes / 4 + 64));
    auto prepare = [&](Workspace room, Workspace scratch) {
      return make_filter(c.job.plan(), {.k = c.job.k->const_taps(), .storage = room}, {.workspace = scratch}).status();
    };
    const Workspace scratch{c.space.at(0), c.bytes(Pass::forward)};
    check_refused(prepare({}, scratch), StatusCode::workspace, {"storage", "null"});
    check_refused(prepare({storage.at(0), bytes - 4}, scratch), StatusCode::workspace, {"storage", "bytes"});
    check_refused(prepare({storage.at(3), bytes}, scratch), StatusCode::workspace, {"storage", "aligned"});
    check_refused(prepare({storage.at(0), bytes}, {}), StatusCode::workspace, {"workspace", "null"});
    CHECK(prepare({storage.at(0), bytes}, scratch));
  }
}

TEST_CASE("a plan describes itself and may be copied") {
  const auto plan =
      make_plan({.batch = 3, .channels = 5, .length = 1000, .filter = 1000, .dtype = DType::bf16}, {}, {.workers = 2});
  REQUIRE(plan);
  const Plan copy = *plan;
  CHECK(copy.describe() == plan->describe());
  CHECK(copy.problem().length == 1000);
  CHECK(copy.device().kind == DeviceKind::cpu);
  for (const char* word :
       {"causal", "[3, 5, 1000]", "1000 taps", "bfloat16", "right-angle", "workspace", "why", "stages"})
    CHECK_MESSAGE(plan->describe().find(word) != std::string::npos, std::string(word));
}

}  // namespace
}  // namespace ffc::test
