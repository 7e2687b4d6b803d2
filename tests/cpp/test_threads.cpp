// Any number of workers, whoever runs them, gives the same bits.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "cases.h"
#include "compare.h"

namespace ffc::test {
namespace {

using Body = void (*)(void*, int);

struct Results {
  std::vector<double> y;
  reference::Gradients g;
  bool operator==(const Results& o) const {
    return y == o.y && g.du == o.g.du && g.dk == o.g.dk && g.dk_rev == o.g.dk_rev && g.dpregate == o.g.dpregate &&
           g.dpostgate == o.g.dpostgate && g.dskip == o.g.dskip;
  }
};
Results run(const Case& c, const Options& options) {
  Job job(c, options);
  Results out;
  out.y = job.forward();
  out.g = job.backward();
  return out;
}

void run_in_order(void* context, int workers, Body body, void* argument) {
  ++*static_cast<std::atomic<int>*>(context);
  for (int worker = 0; worker < workers; ++worker) body(argument, worker);
}
void run_backwards(void* context, int workers, Body body, void* argument) {
  ++*static_cast<std::atomic<int>*>(context);
  for (int worker = workers; worker-- > 0;) body(argument, worker);
}
void run_on_threads(void* context, int workers, Body body, void* argument) {
  ++*static_cast<std::atomic<int>*>(context);
  std::vector<std::thread> threads;
  for (int worker = 0; worker < workers; ++worker) threads.emplace_back(body, argument, worker);
  for (std::thread& thread : threads) thread.join();
}

// Small problems, for which one worker is enough, and large ones of every algorithm: many channels, and many rows of
// few; the last has tasks for more workers than there are ranges of tasks.
std::vector<Case> worth_sharing() {
  std::vector<Case> list = {
      {{.batch = 8, .channels = 7, .length = 2000, .filter = 2000}, true, false, true},
      {{.batch = 51, .channels = 1, .length = 2000, .filter = 1800}, false, true, false},
      {{.batch = 40, .channels = 3, .length = 3000, .filter = 20}, true, true, true},
      {{.batch = 90, .channels = 1, .length = 3000, .filter = 9}, false, false, true},
      {{.batch = 33, .channels = 1, .length = 2048, .filter = 2048, .fft_size = 2048, .mode = Mode::circular}, true},
      {{.batch = 3, .channels = 11, .length = 1900, .filter = 2048, .fft_size = 2048, .mode = Mode::circular}},
      {{.batch = 21, .channels = 2, .length = 2500, .filter = 90, .filter_reverse = 2500, .mode = Mode::bidirectional}},
      {{.batch = 6, .channels = 80, .length = 1000, .filter = 1000}},
  };
  for (std::size_t i = quick() ? 0 : list.size(); i-- > 0;) {
    list.push_back(list[i]);
    list.back().problem.dtype = i % 2 ? DType::f64 : DType::bf16;
  }
  list.insert(list.end(), sample_cases().begin(), sample_cases().end());
  return list;
}

TEST_CASE("the same bits for any number of workers") {
  int most = 0;
  for (const Case& c : worth_sharing()) {
    INFO(describe(c));
    const Results one = run(c, {.workers = 1});
    for (int workers : {2, 3, 7, 64, 200}) {
      const auto plan = make_plan(c.problem, {}, {.workers = workers});
      REQUIRE(plan);
      CHECK(plan->workers() <= workers);
      most = std::max(most, plan->workers());
      if (plan->workers() > 1) CHECK(run(c, {.workers = workers}) == one);
    }
  }
  CHECK(most > 64);
}

TEST_CASE("the same bits whoever runs the workers") {
  std::atomic<int> calls{0};
  int shared = 0;
  for (const Case& c : worth_sharing()) {
    INFO(describe(c));
    const auto plan = make_plan(c.problem, {}, {.workers = 5});
    REQUIRE(plan);
    if (plan->workers() == 1) continue;
    ++shared;
    const Results one = run(c, {.workers = 1});
    for (auto how : {&run_in_order, &run_backwards, &run_on_threads}) {
      calls = 0;
      CHECK(run(c, {.workers = 5, .parallel = {how, &calls}}) == one);
      CHECK_MESSAGE(calls > 0, "the caller's parallel-for was not used");
    }
  }
  CHECK(shared >= 7);
}

TEST_CASE("right-angle results do not depend on the batch") {
  const Case one{{.batch = 1, .channels = 1, .length = 777, .filter = 777}};
  Case many = one;
  many.problem.batch = 9;
  Job job(one), jobs(many);
  for (std::int64_t i = 0; i < 777; ++i) jobs.u->set(4, 0, i, job.u->dense()[static_cast<std::size_t>(i)]);
  for (std::int64_t j = 0; j < 777; ++j) jobs.k->set(0, j, job.k->dense()[static_cast<std::size_t>(j)]);
  jobs.seal();
  const std::vector<double> y = job.forward(), all = jobs.forward();
  CHECK(std::vector<double>(all.begin() + 4 * 777, all.begin() + 5 * 777) == y);
}

// One plan, one filter, one input, many threads: each with its workspace and outputs.
TEST_CASE("a plan may be executed by several threads at a time") {
  for (const Case& c : worth_sharing()) {
    if (c.problem.dtype == DType::f16) continue;
    INFO(describe(c));
    Job job(c, {.workers = 2});
    const std::vector<double> expected = job.forward();
    const reference::Gradients gradients = job.backward();
    const Plan& plan = job.plan();
    constexpr int kThreads = 4;
    std::vector<std::string> failures(kThreads);
    auto work = [&](int number) {
      const Problem& p = c.problem;
      Buffer workspace(DType::f32, static_cast<std::int64_t>(plan.workspace_bytes(Pass::backward) / 4));
      Buffer forward_space(DType::f32, static_cast<std::int64_t>(plan.workspace_bytes(Pass::forward) / 4));
      RowsTensor y(p, p.dtype, Arrangement::contiguous, Fence::margins, true);
      TapsTensor dk(p.channels, p.filter, p.filter_dtype, Arrangement::contiguous, Fence::margins, true);
      for (int turn = 0; turn < 3; ++turn) {
        ForwardArguments f{.u = job.u->const_rows(), .k = job.k->const_taps(), .y = y.rows()};
        BackwardArguments b{.dy = job.dy->const_rows(), .u = job.u->const_rows(), .k = job.k->const_taps()};
        b.dk = dk.taps();
        if (job.k_rev) f.k_rev = b.k_rev = job.k_rev->const_taps();
        if (job.pregate) f.pregate = b.pregate = job.pregate->const_rows();
        if (job.postgate) f.postgate = b.postgate = job.postgate->const_rows();
        if (job.skip) f.skip = b.skip = job.skip->buffer.at(0);
        const Status one = forward(plan, f, {.workspace = {forward_space.at(0), plan.workspace_bytes(Pass::forward)}});
        const Status two = backward(plan, b, {.workspace = {workspace.at(0), plan.workspace_bytes(Pass::backward)}});
        if (!one || !two) failures[number] = one.message() + two.message();
        if (y.dense() != expected || dk.dense() != gradients.dk) failures[number] = "other bits";
      }
    };
    std::vector<std::thread> threads;
    for (int number = 0; number < kThreads; ++number) threads.emplace_back(work, number);
    for (std::thread& thread : threads) thread.join();
    for (const std::string& failure : failures) CHECK(failure == "");
  }
}

// The library's threads do not follow into a forked child; the work must get done all the same.
TEST_CASE("a forked child computes too") {
  const Case c = {{.batch = 8, .channels = 8, .length = 2000, .filter = 2000}};
  const std::vector<double> before = run(c, {.workers = 4}).y;
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);  // a child that waits for ever is killed
    _exit(run(c, {.workers = 4}).y == before ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("plans may be made by several threads at a time") {
  std::vector<std::thread> threads;
  std::atomic<int> made{0};
  for (int number = 0; number < 4; ++number)
    threads.emplace_back([&] {
      for (std::int64_t length = 200; length < 1200; length += 100)
        if (make_plan({.length = length, .filter = length})) ++made;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(made == 40);
}

}  // namespace
}  // namespace ffc::test
