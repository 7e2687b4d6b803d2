// Every case against the oracle.
#include <doctest/doctest.h>

#include <map>
#include <string>

#include "cases.h"
#include "compare.h"

namespace ffc::test {
namespace {

void check_case(const Case& c, const Options& options = {}) {
  INFO(describe(c));
  Job job(c, options);
  check_forward_result(job, job.forward());
  // A backward pass that skips what a model without a skip term does not ask for takes a shorter way.
  check_gradients(job, job.backward({.dskip = c.skip || options.seed % 3 == 0}));
}

TEST_CASE("forward and backward agree with the definition") {
  std::uint64_t seed = 0;
  for (const Case& c : cases()) check_case(c, {.seed = ++seed});
}

TEST_CASE("long rows agree with the definition") {
  for (const Case& c : long_cases()) check_case(c, {.workers = 2});
}

// Random problems: what nobody thought of.
TEST_CASE("random problems agree with the definition") {
  Options options;
  for (int turn = 0; turn < (quick() ? 60 : 400); ++turn) {
    std::uint64_t state = static_cast<std::uint64_t>(turn) * 0x9e3779b97f4a7c15u + 99;
    auto below = [&](std::int64_t limit) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      return static_cast<std::int64_t>(state % static_cast<std::uint64_t>(limit));
    };
    below(2), below(2);
    Problem p;
    p.batch = 1 + below(6), p.channels = 1 + below(3);
    p.length = 1 + below(below(2) ? 40 : 600);
    p.filter = 1 + below(2 * p.length);
    p.mode = static_cast<Mode>(below(3));
    if (p.mode == Mode::circular) {
      p.fft_size = p.length + below(p.length + 1);
      if (p.filter > p.fft_size) p.filter = 1 + below(p.fft_size);
    } else if (p.mode == Mode::bidirectional) {
      p.filter_reverse = 1 + below(2 * p.length), p.reverse_lag = static_cast<int>(below(2));
    }
    p.dtype = static_cast<DType>(below(4)), p.filter_dtype = static_cast<DType>(below(4));
    options.workers = 1 + static_cast<int>(below(4));
    options.prepared = below(2) != 0;
    options.inputs = static_cast<Arrangement>(below(6)), options.outputs = static_cast<Arrangement>(below(4));
    options.seed = static_cast<std::uint64_t>(turn);
    check_case({p, below(2) != 0, below(2) != 0, below(2) != 0}, options);
  }
}

// A table that misses an algorithm would prove nothing about it.
TEST_CASE("the cases reach every algorithm, root and a tree several levels deep") {
  if (quick()) return;
  std::map<std::string, int> seen;
  for (const std::vector<Case>* list : {&cases(), &long_cases()})
    for (const Case& c : *list) {
      const auto plan = make_plan(c.problem, {}, {.workers = 1});
      REQUIRE(plan);
      const std::string text = plan->describe();
      for (const char* what : {"direct sums", "right-angle transform of", "pairs of rows", "root 3", "root 4", "root 5",
                               "root 6", "root 7", "root 8", "x 4 x 4"})
        if (text.find(what) != std::string::npos) ++seen[what];
    }
  for (const char* what : {"direct sums", "right-angle transform of", "pairs of rows", "root 3", "root 4", "root 5",
                           "root 6", "root 7", "root 8", "x 4 x 4"})
    CHECK_MESSAGE(seen[what] > 0, std::string(what));
}

}  // namespace
}  // namespace ffc::test
