// A convolution to be tested: its inputs in fenced memory, the calls to the library, and the oracle's answers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cpu/reference/reference.h"
#include "flashfftconv/flashfftconv.h"
#include "memory.h"

namespace ffc::test {

enum class Arrangement {
  contiguous,
  spaced,             // gaps after each row and each batch
  transposed,         // batch and channel change places
  reversed,           // negative strides
  same_for_batch,     // batch stride 0: inputs only
  same_for_channels,  // channel stride 0: inputs only
};

struct Case {
  Problem problem;
  bool pregate = false, postgate = false, skip = false;
  Arrangement inputs = Arrangement::contiguous;
};
std::string describe(const Case& c);

struct Options {
  Arrangement inputs = Arrangement::contiguous;  // for cases that have no arrangement of their own
  Arrangement outputs = Arrangement::contiguous;
  Fence fence = Fence::margins;
  int workers = 1;
  ParallelFor parallel = {};
  bool prepared = false;  // a Filter in place of the taps
  std::uint64_t seed = 1;
};

/// Which gradients are asked for.
struct Wanted {
  bool du = true, dk = true, dk_rev = true, dpregate = true, dpostgate = true, dskip = true;
};

/// [batch, channels, length] in a buffer.
class RowsTensor {
 public:
  RowsTensor(const Problem& p, DType dtype, Arrangement arrangement, Fence fence, bool output);
  RowsOf<void*> rows() { return {buffer.at(origin_), batch_stride_, channel_stride_}; }
  ConstRows const_rows() { return {buffer.at(origin_), batch_stride_, channel_stride_}; }
  void fill(const std::function<double(std::int64_t b, std::int64_t h, std::int64_t i)>& value);
  void set(std::int64_t b, std::int64_t h, std::int64_t i, double value) { buffer.set(index(b, h, i), value); }
  std::vector<double> dense() const;

 private:
  std::int64_t index(std::int64_t b, std::int64_t h, std::int64_t i) const {
    return origin_ + b * batch_stride_ + h * channel_stride_ + i;
  }
  std::int64_t batch_, channels_, length_;
  std::int64_t batch_stride_ = 0, channel_stride_ = 0, origin_ = 0, elements_ = 0;

 public:
  Buffer buffer;

 private:
  Buffer allocate(const Problem& p, DType dtype, Arrangement arrangement, Fence fence);
};

/// [channels, count] in a buffer.
class TapsTensor {
 public:
  TapsTensor(std::int64_t channels, std::int64_t count, DType dtype, Arrangement arrangement, Fence fence, bool output);
  Taps taps() { return {buffer.at(0), stride_}; }
  ConstTaps const_taps() { return {buffer.at(0), stride_}; }
  void set(std::int64_t h, std::int64_t j, double value) { buffer.set(h * stride_ + j, value); }
  std::vector<double> dense() const;

 private:
  std::int64_t channels_, count_, stride_;

 public:
  Buffer buffer;
};

class Job {
 public:
  explicit Job(const Case& c, const Options& options = {});

  const Case& the_case() const { return case_; }
  const Plan& plan() const { return *plan_; }

  /// Inputs as the library sees them, rounded to their types. Change them through the tensors below, then `seal`.
  reference::Arrays arrays() const;
  std::vector<double> upstream() const { return dy->dense(); }
  void seal();

  /// Runs the library into memory full of NaN. The status must be ok and all other memory untouched.
  std::vector<double> forward();
  reference::Gradients backward(const Wanted& wanted = {});

  std::vector<double> expected() const;
  reference::Gradients expected_gradients() const;

  // Inputs and outputs; those that the case does not have are null.
  std::unique_ptr<RowsTensor> u, pregate, postgate, dy, y, du, dpregate, dpostgate;
  std::unique_ptr<TapsTensor> k, k_rev, dk, dk_rev, skip, dskip;

 private:
  const Filter* prepare(const Execution& execution);
  void check_intact() const;
  Execution execution(Buffer& workspace, Pass pass) const;
  Buffer make_workspace(Pass pass) const;

  Case case_;
  Options options_;
  Result<Plan> plan_;
  std::unique_ptr<Buffer> storage_;  // of the prepared filter
  std::unique_ptr<Filter> filter_;
};

}  // namespace ffc::test
