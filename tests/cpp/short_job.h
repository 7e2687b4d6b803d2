// A short convolution to be tested: its inputs in fenced memory, the calls to the library, and the oracle's answers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cpu/reference/short_reference.h"
#include "flashfftconv/flashfftconv.h"
#include "memory.h"

namespace ffc::test {

struct ShortCase {
  ShortProblem problem;
  bool bias = false, state = false, spaced = false;
};
std::string describe(const ShortCase& c);

/// The problems of the table python/flashfftconv/short_cases.txt, and those of them that `run` names.
const std::vector<ShortCase>& short_cases();
const std::vector<ShortCase>& short_samples();

struct ShortOptions {
  Fence fence = Fence::margins;
  int workers = 1;
  ParallelFor parallel = {};
  std::uint64_t seed = 1;
};

/// [batch, channels, samples] in a buffer, in the problem's layout.
class LayoutTensor {
 public:
  LayoutTensor(const ShortProblem& p, std::int64_t channels, std::int64_t samples, bool spaced, Fence fence,
               bool output);
  Sequences sequences() { return {buffer.at(0), batch_stride_, line_stride_}; }
  ConstSequences const_sequences() { return {buffer.at(0), batch_stride_, line_stride_}; }
  void set(std::int64_t b, std::int64_t h, std::int64_t i, double value) { buffer.set(index(b, h, i), value); }
  /// In the order batch, channel, sample.
  std::vector<double> dense() const;

 private:
  std::int64_t index(std::int64_t b, std::int64_t h, std::int64_t i) const {
    return b * batch_stride_ + (bhl_ ? h * line_stride_ + i : i * line_stride_ + h);
  }
  bool bhl_;
  std::int64_t batch_, channels_, samples_, line_stride_, batch_stride_;

 public:
  Buffer buffer;
};

class ShortJob {
 public:
  explicit ShortJob(const ShortCase& c, const ShortOptions& options = {});

  const ShortPlan& plan() const { return *plan_; }
  const ShortCase& the_case() const { return case_; }

  /// Inputs as the library sees them, rounded to their types. Change them through the tensors below, then `seal`.
  reference::ShortArrays arrays() const;
  void seal();

  /// Runs the library into memory full of NaN. The status must be ok and all other memory untouched.
  std::vector<double> forward();
  reference::ShortGradients backward();
  ShortForwardArguments forward_arguments();
  ShortBackwardArguments backward_arguments();
  std::vector<double> final_state() const { return dense(*state_after); }

  std::vector<double> expected() const;
  reference::ShortGradients expected_gradients() const;

  std::unique_ptr<LayoutTensor> x, dy, y, dx;
  std::unique_ptr<Buffer> weight, bias, state, dweight, dbias, dstate, state_after;  // null: the case has none
  std::vector<std::int64_t> ends;

 private:
  std::vector<double> dense(const Buffer& buffer) const;
  void check_intact() const;

  ShortCase case_;
  ShortOptions options_;
  Result<ShortPlan> plan_;
};

}  // namespace ffc::test
