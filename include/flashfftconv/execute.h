// Running a plan: forward, backward, and a filter whose spectrum is computed once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "flashfftconv/plan.h"

namespace ffc {

/// A stride that follows from the shape of a contiguous tensor.
constexpr std::int64_t kContiguous = INT64_MIN;

/// Rows [batch, channels, length]: samples adjacent, any strides (in elements) of batch and channel, 0 and negative too.
template <typename Pointer>
struct RowsOf {
  Pointer data = nullptr;
  std::int64_t batch_stride = kContiguous;
  std::int64_t channel_stride = kContiguous;

  RowsOf() = default;
  RowsOf(Pointer pointer, std::int64_t batch = kContiguous, std::int64_t channel = kContiguous)
      : data(pointer), batch_stride(batch), channel_stride(channel) {}
};
using Rows = RowsOf<void*>;
using ConstRows = RowsOf<const void*>;

/// Taps [channels, filter]: adjacent within a channel, any stride of the channel.
template <typename Pointer>
struct TapsOf {
  Pointer data = nullptr;
  std::int64_t channel_stride = kContiguous;

  TapsOf() = default;
  TapsOf(Pointer pointer, std::int64_t channel = kContiguous) : data(pointer), channel_stride(channel) {}
};
using Taps = TapsOf<void*>;
using ConstTaps = TapsOf<const void*>;

/// Memory of the caller's.
struct Workspace {
  void* data = nullptr;
  std::size_t bytes = 0;
};

/// Calls body(argument, worker) once for every worker in [0, workers), at the same time or one after another, and
/// returns when all have returned. A null `run` stands for the library's own threads.
struct ParallelFor {
  void (*run)(void* context, int workers, void (*body)(void* argument, int worker), void* argument) = nullptr;
  void* context = nullptr;
};

struct Execution {
  Workspace workspace{};
  void* stream = nullptr;  ///< cudaStream_t on a GPU, ignored on a CPU
  ParallelFor parallel{};
};

class Filter;

/// Null gates and skip are absent (1, 1 and 0). `filter` stands for k and k_rev.
struct ForwardArguments {
  ConstRows u{};
  ConstTaps k{};
  ConstTaps k_rev{};
  const Filter* filter = nullptr;
  ConstRows pregate{};
  ConstRows postgate{};
  const void* skip = nullptr;  ///< [channels], of compute_type(dtype)
  Rows y{};
};

/// Gradients whose pointers are null are not computed. With g = postgate * dy and W(g, x)[lag] = sum_{b,i} g[i] x[i-lag]:
/// dx = corr(g, t) + skip g; du = pregate dx; dpregate = u dx; dpostgate = dy (conv(x, t) + skip x); dk = W(g, x) at its
/// lags; dskip = sum_{b,i} g x.
struct BackwardArguments {
  ConstRows dy{};
  ConstRows u{};
  ConstTaps k{};
  ConstTaps k_rev{};
  const Filter* filter = nullptr;
  ConstRows pregate{};
  ConstRows postgate{};
  const void* skip = nullptr;
  Rows du{};
  Taps dk{};
  Taps dk_rev{};
  Rows dpregate{};
  Rows dpostgate{};
  void* dskip = nullptr;  ///< [channels], of compute_type(dtype)
};

struct FilterArguments {
  ConstTaps k{};
  ConstTaps k_rev{};
  Workspace storage{};  ///< plan.spectrum_bytes(), kept alive by the caller as long as the filter is used
};

/// A filter made ready once: for inference, where taps do not change between calls. Usable with every plan that prepares
/// filters alike: same channels, taps, mode, types and transform; the batch may differ.
class Filter {
 public:
  const Plan& plan() const { return plan_; }
  const void* spectrum() const { return spectrum_; }
  Filter(Plan plan, const void* spectrum) : plan_(std::move(plan)), spectrum_(spectrum) {}

 private:
  Plan plan_;
  const void* spectrum_;
};

/// y from u and the filter. Allocates nothing and, on a GPU, does not synchronise.
Status forward(const Plan& plan, const ForwardArguments& arguments, const Execution& execution = {});

/// The gradients asked for.
Status backward(const Plan& plan, const BackwardArguments& arguments, const Execution& execution = {});

/// Prepares the taps into the caller's storage.
Result<Filter> make_filter(const Plan& plan, const FilterArguments& arguments, const Execution& execution = {});

}  // namespace ffc
