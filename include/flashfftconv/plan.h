// What is to be computed (Problem) and how it will be done (Plan).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "flashfftconv/status.h"
#include "flashfftconv/types.h"

namespace ffc {

class BackendPlan;

/// One long convolution, for every batch b, channel h and sample i:
///
///     x = pregate * u
///     y[b, h, i] = postgate[b, h, i] * (sum_lag t[h, lag] x[b, h, i - lag] + skip[h] x[b, h, i])
///
/// with u, y and gates [batch, channels, length], k [channels, filter], k_rev [channels, filter_reverse], skip
/// [channels].
struct Problem {
  std::int64_t batch = 1;           ///< >= 0
  std::int64_t channels = 1;        ///< >= 0
  std::int64_t length = 0;          ///< samples a row, >= 1
  std::int64_t filter = 0;          ///< taps of k a channel, >= 1
  std::int64_t filter_reverse = 0;  ///< taps of k_rev a channel: >= 1 in bidirectional mode, 0 elsewhere
  std::int64_t fft_size = 0;        ///< N of circular mode, >= length and >= filter; 0 elsewhere
  int reverse_lag = 1;              ///< k_rev[j] acts at lag -(j + reverse_lag): 1 (pad and flip) or 0 (H3)
  Mode mode = Mode::causal;         ///< which lags the sum runs over
  DType dtype = DType::f32;         ///< of u, y, gates and their gradients
  DType filter_dtype = DType::f32;  ///< of k, k_rev and their gradients; skip is of compute_type(dtype)
};

/// The two ways through a convolution.
enum class Pass { forward, backward };

/// What a plan may use.
struct PlanOptions {
  int workers = 0;  ///< threads that execute may use at a time on a CPU; 0: as many as the machine has
};

/// Immutable; may be copied freely and shared between threads.
class Plan {
 public:
  /// What it computes.
  const Problem& problem() const;
  /// Where.
  Device device() const;

  /// Bytes of scratch memory, aligned to kWorkspaceAlignment, that one execution needs.
  std::size_t workspace_bytes(Pass pass = Pass::forward) const;

  /// Bytes of storage that a Filter of this plan needs, aligned likewise.
  std::size_t spectrum_bytes() const;

  /// Whether this pass can run: a GPU engine may have a forward pass of sizes whose backward pass it lacks.
  Status supports(Pass pass) const;

  /// Threads that an execution uses at most; 0 on a GPU.
  int workers() const;

  /// Algorithm, transform size, stages, workspace and the reason for the choice, in words.
  std::string describe() const;

  /// For the library's own use.
  const BackendPlan& backend() const { return *backend_; }
  explicit Plan(std::shared_ptr<const BackendPlan> backend) : backend_(std::move(backend)) {}

 private:
  std::shared_ptr<const BackendPlan> backend_;
};

/// Of workspaces and of a filter's storage, in bytes.
constexpr std::size_t kWorkspaceAlignment = 64;

/// Checks the problem and decides how to solve it. The status says what is unsupported, and why.
Result<Plan> make_plan(const Problem& problem, Device device = {}, PlanOptions options = {});

}  // namespace ffc
