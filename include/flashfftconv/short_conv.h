// Short depthwise convolutions: a few taps a channel, in front of the long ones. Same manners as plan.h and execute.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "flashfftconv/execute.h"
#include "flashfftconv/plan.h"
#include "flashfftconv/status.h"
#include "flashfftconv/types.h"

namespace ffc {

class ShortBackendPlan;

/// Which index of x and y has its elements adjacent.
enum class Layout : std::int32_t {
  bhl,  ///< [batch, channels, length]: samples of a channel
  blh,  ///< [batch, length, channels]: channels of a sample
};

/// As in Python.
constexpr const char* name_of(Layout layout) { return layout == Layout::bhl ? "bhl" : "blh"; }

/// What becomes of the sums z before they are written.
enum class Epilogue : std::int32_t {
  none,  ///< y = z
  silu,  ///< y = z / (1 + exp(-z))
  gelu,  ///< y = z / 2 (1 + erf(z / sqrt(2)))
  gate,  ///< Hyena's: of three thirds of the channels, y = [z0, z1 * z2]
};

/// As in Python.
constexpr const char* name_of(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::none: return "none";
    case Epilogue::silu: return "silu";
    case Epilogue::gelu: return "gelu";
    case Epilogue::gate: return "gate";
  }
  return "unknown";
}

/// One short convolution, for every batch b, channel h and output i in [0, output_length):
///
///     z[b, h, i] = bias[h] + sum_j weight[h, j] x[b, h, i + j - padding_left],  0 <= j < taps
///     y = epilogue(z)
///
/// as torch's conv1d with groups = channels: x is 0 before its start and past its end. Causal, with an output as long
/// as the input: padding_left = taps - 1, padding_right = 0; then initial_state may stand for the taps - 1 samples
/// before the start. `sequences` > 0: the row (batch 1) is that many sequences one after another, each convolved by
/// itself.
struct ShortProblem {
  std::int64_t batch = 1;              ///< >= 0
  std::int64_t channels = 1;           ///< of x, >= 0; a multiple of 3 with Epilogue::gate
  std::int64_t length = 0;             ///< samples of x a channel, >= 1
  std::int64_t taps = 0;               ///< of weight a channel, >= 1
  std::int64_t padding_left = 0;       ///< zeros before x, >= 0
  std::int64_t padding_right = 0;      ///< zeros after x, >= 0
  std::int64_t sequences = 0;          ///< packed in a row; then padding_left + padding_right = taps - 1
  Layout layout = Layout::bhl;         ///< of x, y and their gradients
  Epilogue epilogue = Epilogue::none;  ///< activation or gate
  DType dtype = DType::f32;            ///< of x, y, initial_state and their gradients
  DType weight_dtype = DType::f32;     ///< of weight, bias and their gradients

  /// Outputs a channel.
  constexpr std::int64_t output_length() const { return length + padding_left + padding_right - taps + 1; }
  /// Channels of y.
  constexpr std::int64_t output_channels() const { return epilogue == Epilogue::gate ? channels / 3 * 2 : channels; }
  /// Sequences that have a state: those of cu_seqlens, or the batch.
  constexpr std::int64_t states() const { return sequences > 0 ? sequences : batch; }
};

/// Immutable; may be copied freely and shared between threads.
class ShortPlan {
 public:
  /// What it computes.
  const ShortProblem& problem() const;
  /// Where.
  Device device() const;
  /// Bytes of scratch memory, aligned to kWorkspaceAlignment, that one execution needs.
  std::size_t workspace_bytes(Pass pass = Pass::forward) const;
  /// Threads that an execution uses at most; 0 on a GPU.
  int workers() const;
  /// What runs it, and how, in words.
  std::string describe() const;

  /// For the library's own use.
  const ShortBackendPlan& backend() const { return *backend_; }
  explicit ShortPlan(std::shared_ptr<const ShortBackendPlan> backend) : backend_(std::move(backend)) {}

 private:
  std::shared_ptr<const ShortBackendPlan> backend_;
};

/// Checks the problem and decides how to solve it. The status says what is unsupported, and why.
Result<ShortPlan> make_short_plan(const ShortProblem& problem, Device device = {}, PlanOptions options = {});

/// [batch, channels, length] in layout bhl, [batch, length, channels] in blh: the last index adjacent, any strides (in
/// elements) of the others. A line is what is adjacent: a channel of bhl, a sample of blh.
template <typename Pointer>
struct SequencesOf {
  Pointer data = nullptr;                   ///< the first element
  std::int64_t batch_stride = kContiguous;  ///< elements from one batch to the next
  std::int64_t line_stride = kContiguous;   ///< elements from one line to the next

  SequencesOf() = default;
  SequencesOf(Pointer pointer, std::int64_t batch = kContiguous, std::int64_t line = kContiguous)
      : data(pointer), batch_stride(batch), line_stride(line) {}
};
using Sequences = SequencesOf<void*>;
using ConstSequences = SequencesOf<const void*>;

/// Weights [channels, taps], any strides in elements.
template <typename Pointer>
struct WeightOf {
  Pointer data = nullptr;                     ///< tap 0 of channel 0
  std::int64_t channel_stride = kContiguous;  ///< elements from channel h to channel h + 1
  std::int64_t tap_stride = 1;                ///< elements from tap j to tap j + 1

  WeightOf() = default;
  WeightOf(Pointer pointer, std::int64_t channel = kContiguous, std::int64_t tap = 1)
      : data(pointer), channel_stride(channel), tap_stride(tap) {}
};
using Weight = WeightOf<void*>;
using ConstWeight = WeightOf<const void*>;

/// Null bias, states and cu_seqlens are absent. States are [states, channels, taps - 1] in either layout, contiguous:
/// the last samples, the latest at the end.
struct ShortForwardArguments {
  ConstSequences x{};                        ///< [batch, channels, length]
  ConstWeight weight{};                      ///< [channels, taps]
  const void* bias = nullptr;                ///< [channels], of weight_dtype
  const void* initial_state = nullptr;       ///< the samples before x; causal padding only
  const std::int64_t* cu_seqlens = nullptr;  ///< [sequences + 1]: 0, the end of each sequence, the last at length
  Sequences y{};                             ///< [batch, output_channels, output_length]
  void* final_state = nullptr;               ///< the last taps - 1 samples of initial_state and x; causal padding only
};

/// Gradients whose pointers are null are not computed. With g = epilogue'(z) dy: dx[n] = sum_j weight[j]
/// g[n - j + padding_left]; dweight[j] = sum_{b,i} g[i] x[i + j - padding_left]; dbias = sum_{b,i} g. That of a final
/// state is the caller's to add to the samples that it holds.
struct ShortBackwardArguments {
  ConstSequences dy{};                       ///< [batch, output_channels, output_length]
  ConstSequences x{};                        ///< [batch, channels, length]
  ConstWeight weight{};                      ///< [channels, taps]
  const void* bias = nullptr;                ///< [channels], of weight_dtype
  const void* initial_state = nullptr;       ///< as in the forward pass
  const std::int64_t* cu_seqlens = nullptr;  ///< as in the forward pass
  Sequences dx{};                            ///< [batch, channels, length]
  Weight dweight{};                          ///< [channels, taps]
  void* dbias = nullptr;                     ///< [channels]
  void* dinitial_state = nullptr;            ///< [states, channels, taps - 1]
};

/// y, and the state that the next call of a stream begins with. Allocates nothing and, on a GPU, does not synchronise;
/// cu_seqlens lies on the plan's device, and only a CPU checks what it holds.
Status short_conv(const ShortPlan& plan, const ShortForwardArguments& arguments, const Execution& execution = {});

/// The gradients asked for.
Status short_conv_backward(const ShortPlan& plan, const ShortBackwardArguments& arguments,
                           const Execution& execution = {});

}  // namespace ffc
