// What is read and what is written: strides, fences, requested gradients, buffers full of NaN. (Job checks after every
// call that inputs, margins and gaps kept their bytes.)
#include <doctest/doctest.h>

#include <cmath>

#include "cases.h"
#include "compare.h"

namespace ffc::test {
namespace {

constexpr Arrangement kInputs[] = {Arrangement::contiguous,     Arrangement::spaced,
                                   Arrangement::transposed,     Arrangement::reversed,
                                   Arrangement::same_for_batch, Arrangement::same_for_channels};
constexpr Arrangement kOutputs[] = {Arrangement::contiguous, Arrangement::spaced, Arrangement::transposed,
                                    Arrangement::reversed};

bool is_nan_everywhere(const std::vector<double>& values) {
  for (double value : values)
    if (!std::isnan(value)) return false;
  return true;
}

TEST_CASE("rows may have any strides") {
  std::uint64_t seed = 100;
  for (const Case& c : sample_cases())
    for (Arrangement inputs : kInputs)
      for (Arrangement outputs : kOutputs) {
        // All pairs for a few cases, the diagonal for the rest.
        if (quick() && inputs != Arrangement::reversed && outputs != Arrangement::spaced) continue;
        if (c.problem.dtype != DType::f32 && static_cast<int>(inputs) % 4 != static_cast<int>(outputs)) continue;
        INFO(describe(c), ", arrangements ", static_cast<int>(inputs), " and ", static_cast<int>(outputs));
        Job job(c, {.inputs = inputs, .outputs = outputs, .workers = 2, .seed = ++seed});
        check_forward_result(job, job.forward());
        check_gradients(job, job.backward());
      }
}

TEST_CASE("nothing is read or written beyond a buffer's first and last byte") {
  std::uint64_t seed = 200;
  for (const Case& c : sample_cases())
    for (Fence fence : {Fence::page_after, Fence::page_before})
      for (bool prepared : {false, true}) {
        INFO(describe(c));
        Job job(c, {.fence = fence, .workers = 2, .prepared = prepared, .seed = ++seed});
        check_forward_result(job, job.forward());
        check_gradients(job, job.backward());
      }
}

// Lengths around a vector and around whole groups of vectors, where tails are handled.
TEST_CASE("tails of rows stay within their page") {
  for (DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16})
    for (std::int64_t length = 1; length < 71; length += quick() ? 7 : 1)
      for (std::int64_t filter : {std::int64_t{3}, length}) {
        Case c{{.batch = 1, .channels = 2, .length = length, .filter = filter, .dtype = dtype}, true, true, true};
        c.problem.filter_dtype = length % 2 ? dtype : DType::f32;
        Job job(c, {.fence = Fence::page_after, .seed = static_cast<std::uint64_t>(length)});
        check_forward_result(job, job.forward());
        check_gradients(job, job.backward());
      }
}

TEST_CASE("only the gradients asked for are written, and are the same whatever else is asked for") {
  for (const Case& small : sample_cases()) {
    Case c = small;
    c.pregate = c.postgate = c.skip = true;
    INFO(describe(c));
    Job job(c);
    const reference::Gradients all = job.backward();
    for (int mask = 0; mask < 64; mask += quick() ? 5 : 1) {
      const Wanted wanted{(mask & 1) != 0, (mask & 2) != 0,  (mask & 4) != 0,
                          (mask & 8) != 0, (mask & 16) != 0, (mask & 32) != 0};
      reference::Gradients some = job.backward(wanted);
      if (!wanted.du) CHECK(is_nan_everywhere(job.du->dense()));
      if (!wanted.dk) CHECK(is_nan_everywhere(job.dk->dense()));
      if (!wanted.dk_rev && job.dk_rev) CHECK(is_nan_everywhere(job.dk_rev->dense()));
      if (!wanted.dpregate) CHECK(is_nan_everywhere(job.dpregate->dense()));
      if (!wanted.dpostgate) CHECK(is_nan_everywhere(job.dpostgate->dense()));
      if (!wanted.dskip) CHECK(is_nan_everywhere(job.dskip->dense()));
      if (mask % 9 == 0) check_gradients(job, some);
      // The filter's gradients are the same sums whoever asks; rows may differ in rounding.
      if (wanted.dk) CHECK(some.dk == all.dk);
      if (wanted.dskip) CHECK(some.dskip == all.dskip);
    }
  }
}

TEST_CASE("dpregate and dpostgate without du, and gradients without their gates, are the definition's") {
  for (const Case& small : sample_cases()) {
    Case c = small;
    c.pregate = true, c.postgate = false;
    Job job(c);
    check_gradients(job, job.backward({false, false, false, true, false, false}));
    c.pregate = false, c.postgate = true;
    Job other(c);
    check_gradients(other, other.backward({false, false, false, false, true, false}));
  }
}

TEST_CASE("an empty batch has no rows, and zero gradients of taps and skip") {
  for (std::int64_t length : {5, 300, 700}) {
    Case c{{.batch = 0, .channels = 3, .length = length, .filter = length}, true, true, true};
    Job job(c);
    CHECK(job.forward().empty());
    const reference::Gradients g = job.backward();
    CHECK(g.dk == std::vector<double>(static_cast<std::size_t>(3 * length), 0.0));
    CHECK(g.dskip == std::vector<double>(3, 0.0));
  }
}

TEST_CASE("cropped taps have gradients of exactly zero") {
  Job job(
      {{.batch = 2, .length = 300, .filter = 500, .filter_reverse = 450, .mode = Mode::bidirectional}, false, false});
  const reference::Gradients g = job.backward();
  for (std::size_t j = 300; j < 500; ++j) CHECK(g.dk[j] == 0);
  for (std::size_t j = 299; j < 450; ++j) CHECK(g.dk_rev[j] == 0);
}

TEST_CASE("the workspace never decides about the result") {
  for (const Case& c : sample_cases()) {
    Job job(c);
    const std::vector<double> first = job.forward();
    const reference::Gradients gradients = job.backward();
    for (int turn = 0; turn < 2; ++turn) {
      CHECK(job.forward() == first);
      const reference::Gradients again = job.backward();
      CHECK(again.du == gradients.du);
      CHECK(again.dk == gradients.dk);
      CHECK(again.dk_rev == gradients.dk_rev);
      CHECK(again.dskip == gradients.dskip);
    }
  }
}

}  // namespace
}  // namespace ffc::test
