// Running a plan: forward, backward, and a filter whose spectrum is computed once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "flashfftconv/plan.h"

namespace ffc {

/// A stride that follows from the shape of a contiguous tensor.
constexpr std::int64_t kContiguous = INT64_MIN;

/// Rows [batch, channels, length]: samples adjacent, any strides (in elements) of batch and channel, 0 and negative
/// too.
template <typename Pointer>
struct RowsOf {
  Pointer data = nullptr;                     ///< sample 0 of row (0, 0)
  std::int64_t batch_stride = kContiguous;    ///< elements from row (b, h) to row (b + 1, h)
  std::int64_t channel_stride = kContiguous;  ///< elements from row (b, h) to row (b, h + 1)

  RowsOf() = default;
  RowsOf(Pointer pointer, std::int64_t batch = kContiguous, std::int64_t channel = kContiguous)
      : data(pointer), batch_stride(batch), channel_stride(channel) {}
};
using Rows = RowsOf<void*>;
using ConstRows = RowsOf<const void*>;

/// Taps [channels, filter]: adjacent within a channel, any stride of the channel.
template <typename Pointer>
struct TapsOf {
  Pointer data = nullptr;                     ///< tap 0 of channel 0
  std::int64_t channel_stride = kContiguous;  ///< elements from channel h to channel h + 1

  TapsOf() = default;
  TapsOf(Pointer pointer, std::int64_t channel = kContiguous) : data(pointer), channel_stride(channel) {}
};
using Taps = TapsOf<void*>;
using ConstTaps = TapsOf<const void*>;

/// Memory of the caller's.
struct Workspace {
  void* data = nullptr;   ///< its first byte
  std::size_t bytes = 0;  ///< its size
};

/// Calls body(argument, worker) once for every worker in [0, workers), at the same time or one after another, and
/// returns when all have returned. A null `run` stands for the library's own threads.
struct ParallelFor {
  void (*run)(void* context, int workers, void (*body)(void* argument, int worker),
              void* argument) = nullptr;  ///< or null
  void* context = nullptr;                ///< handed to `run`
};

/// How an execution runs: where its scratch memory is, on which stream or threads.
struct Execution {
  /// plan.workspace_bytes(pass), aligned to kWorkspaceAlignment. On a GPU it is in use until `stream` has done the
  /// work, on a CPU until the call returns.
  Workspace workspace{};
  void* stream = nullptr;  ///< cudaStream_t on a GPU, ignored on a CPU
  ParallelFor parallel{};  ///< threads of a CPU execution
};

class Filter;

/// Null gates and skip are absent (1, 1 and 0). `filter` stands for k and k_rev.
struct ForwardArguments {
  ConstRows u{};                   ///< [batch, channels, length]
  ConstTaps k{};                   ///< [channels, filter]
  ConstTaps k_rev{};               ///< [channels, filter_reverse], bidirectional mode only
  const Filter* filter = nullptr;  ///< instead of k and k_rev
  ConstRows pregate{};             ///< [batch, channels, length]
  ConstRows postgate{};            ///< [batch, channels, length]
  const void* skip = nullptr;      ///< [channels], of compute_type(dtype)
  Rows y{};                        ///< [batch, channels, length]
};

/// Gradients whose pointers are null are not computed. With g = postgate * dy and W(g, x)[lag] = sum_{b,i} g[i]
/// x[i-lag]: dx = corr(g, t) + skip g; du = pregate dx; dpregate = u dx; dpostgate = dy (conv(x, t) + skip x); dk =
/// W(g, x) at its lags; dskip = sum_{b,i} g x.
struct BackwardArguments {
  ConstRows dy{};                  ///< [batch, channels, length]
  ConstRows u{};                   ///< [batch, channels, length]
  ConstTaps k{};                   ///< [channels, filter]
  ConstTaps k_rev{};               ///< [channels, filter_reverse], bidirectional mode only
  const Filter* filter = nullptr;  ///< instead of k and k_rev
  ConstRows pregate{};             ///< [batch, channels, length]
  ConstRows postgate{};            ///< [batch, channels, length]
  const void* skip = nullptr;      ///< [channels], of compute_type(dtype)
  Rows du{};                       ///< [batch, channels, length]
  Taps dk{};                       ///< [channels, filter]
  Taps dk_rev{};                   ///< [channels, filter_reverse]
  Rows dpregate{};                 ///< [batch, channels, length]
  Rows dpostgate{};                ///< [batch, channels, length]
  void* dskip = nullptr;           ///< [channels], of compute_type(dtype)
};

/// What make_filter prepares, and where to.
struct FilterArguments {
  ConstTaps k{};      ///< [channels, filter]
  ConstTaps k_rev{};  ///< [channels, filter_reverse], bidirectional mode only
  /// plan.spectrum_bytes(), aligned to kWorkspaceAlignment; kept alive by the caller as long as the filter is used.
  Workspace storage{};
};

/// A filter made ready once: for inference, where taps do not change between calls. Usable with every plan of the same
/// problem but for the batch and the type of the taps: channels, length, taps, mode, fft_size, lag, type of the rows
/// and device must agree.
class Filter {
 public:
  /// The plan it was made with.
  const Plan& plan() const { return plan_; }
  /// The caller's storage.
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

/// Prepares the taps into the caller's storage. Needs a workspace as a forward pass does.
Result<Filter> make_filter(const Plan& plan, const FilterArguments& arguments, const Execution& execution = {});

}  // namespace ffc
