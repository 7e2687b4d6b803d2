// What a plan asks of the device code of short depthwise convolutions: plain structs in, a CUDA error code out. Host
// types only; no CUDA header.
//
//   y[b, d, l] = act(bias[d] + sum_j w[d, j] x[b, d, l + j - left]),   x zero outside [0, L),   l in [0, Lout),
//   Lout = L + left + right - K + 1;   causal: left = K - 1, right = 0
//
// Nothing here allocates or synchronises. Strides are in elements; those of what is given have been resolved and are
// never kContiguous. Products and sums are fp32 and rounded once. The same call gives the same bits on every device.
// ffc::Layout and ffc::Sequences are written out because the kernels have types of these names.
#pragma once

#include <cstddef>
#include <cstdint>

#include "flashfftconv/short_conv.h"

namespace ffc::cuda {

enum class ShortActivation : std::int32_t { none, silu, gelu };  // gelu: x Phi(x), through erf

/// The problem. `dtype` is that of x, y, their gradients and states: f16, bf16 or f32. `weight_dtype` is that of
/// weight, bias and their gradients: the same or f32.
struct ShortShape {
  std::int64_t batch = 0, channels = 0;
  std::int64_t length = 0;           ///< L >= 1, of x
  std::int64_t taps = 0;             ///< K >= 1
  std::int64_t left = 0, right = 0;  ///< zeros before and after x, both >= 0; Lout >= 1
  ffc::Layout layout = ffc::Layout::bhl;
  ShortActivation activation = ShortActivation::none;
  DType dtype = DType::f16, weight_dtype = DType::f16;
  /// Packed sequences: batch is 1, left + right is K - 1, and sequence s is [borders[s], borders[s + 1]) of x and y;
  /// borders[0] = 0, borders[sequences] = L, rising. `borders` is [sequences + 1] in device memory. 0: no packing.
  std::int64_t sequences = 0;
  const std::int64_t* borders = nullptr;

  std::int64_t output_length() const { return length + left + right - taps + 1; }
  /// How many states there are: one a sequence.
  std::int64_t states() const { return sequences ? sequences : batch; }
};

/// [states, channels, K - 1] in both layouts, contiguous: the inputs before the first sample, oldest first.
using ShortState = void*;
using ConstShortState = const void*;

struct ShortForwardJob {
  ShortShape shape{};
  ConstSequences x{};  ///< L samples
  ConstWeight weight{};
  const void* bias = nullptr;               ///< [channels] or null
  ConstShortState initial_state = nullptr;  ///< null: zeros
  ffc::Sequences y{};                       ///< Lout samples
  ShortState final_state = nullptr;         ///< the last K - 1 inputs of each sequence; null: not wanted
};

/// Null outputs are not computed. With g = dy act'(pre), pre recomputed from x: dx[i] = sum_j w[j] g[i + left - j],
/// dweight[j] = sum_{b, l} g[l] x[l + j - left], dbias = sum_{b, l} g[l].
struct ShortBackwardJob {
  ShortShape shape{};
  ConstSequences x{};  ///< needed for dweight, and for everything under an activation
  ConstSequences dy{};
  ConstWeight weight{};
  const void* bias = nullptr;
  ConstShortState initial_state = nullptr;
  ConstShortState dfinal_state = nullptr;  ///< gradient of the final state; null: zero
  ffc::Sequences dx{};
  Weight dweight{};
  void* dbias = nullptr;                ///< [channels]
  ShortState dinitial_state = nullptr;  ///< gradient of the initial state
  void* workspace = nullptr;            ///< short_workspace_bytes(job), aligned to 16; free again when the work is done
};

/// The front end of Hyena, bhl: z is [batch, 3 D, L] with `shape.channels` = D, weight [3 D, K], bias [3 D] or null;
/// x0 = conv(z[:, :D]), v = conv(z[:, D:2D]) conv(z[:, 2D:]), each rounded once. Lout samples; no activation, packing
/// or states.
struct ShortGateJob {
  ShortShape shape{};
  ConstSequences z{};
  ConstWeight weight{};
  const void* bias = nullptr;
  ffc::Sequences x0{}, v{};
};

/// Gradients of the front end. Null outputs are not computed.
struct ShortGateBackwardJob {
  ShortShape shape{};
  ConstSequences z{};
  ConstWeight weight{};
  const void* bias = nullptr;
  ConstSequences dx0{}, dv{};
  ffc::Sequences dz{};        ///< [batch, 3 D, L]
  Weight dweight{};           ///< [3 D, K]
  void* dbias = nullptr;      ///< [3 D]
  void* workspace = nullptr;  ///< short_workspace_bytes(job), aligned to 16; free again when the work is done
};

/// cudaError_t as an int; 0 is success, and error_text of launch.h has the text of a failure. `stream` is a
/// cudaStream_t; the caller has made the stream's device the current one. Shapes have been checked by the caller.
int launch_short_forward(const ShortForwardJob& job, void* stream);
int launch_short_backward(const ShortBackwardJob& job, void* stream);
int launch_short_gate(const ShortGateJob& job, void* stream);
int launch_short_gate_backward(const ShortGateBackwardJob& job, void* stream);

/// Which outputs are wanted decides; pointers other than null are not followed.
std::size_t short_workspace_bytes(const ShortBackwardJob& job);
std::size_t short_workspace_bytes(const ShortGateBackwardJob& job);

/// The name of the kernel that does most of the work, as profilers know it, for logs and tests.
const char* short_kernel_name(const ShortForwardJob& job);
const char* short_kernel_name(const ShortBackwardJob& job);
const char* short_kernel_name(const ShortGateJob& job);
const char* short_kernel_name(const ShortGateBackwardJob& job);

}  // namespace ffc::cuda
