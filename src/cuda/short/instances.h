// The kernels of short convolutions for one type of samples: compiled in instantiate.cu, once a type; launched in
// launch.cu.
#pragma once

#include <cstdint>

#include "flashfftconv/types.h"

namespace ffc::cuda {

/// Numbers of taps that have kernels of their own.
inline constexpr int kTunedTaps = 16;

/// Of Hyena's gate, which keeps weights of three rows, and in its gradients sums.
inline constexpr int kGateTaps = 8;

/// Paddings on the left that bhl has kernels for: K - 1 (causal) and (K - 1) / 2 (centred).
inline constexpr int kPaddings = 2;
constexpr int padding_of(int taps, int padding) { return padding == 0 ? taps - 1 : (taps - 1) / 2; }

struct ShortKernel {
  const void* function = nullptr;
  const char* name = "";
  int threads = 256;
  int shared_bytes = 0;
  int steps = 1;  ///< bhl: chunks of a thread; blh: rows of a run, backward: between two tests for its end
  int count = 1;  ///< samples of a thread's access
};

struct ShortKernels {
  ShortKernel first_forward[kTunedTaps][kPaddings][2];  // [taps - 1][padding][no activation, any]
  ShortKernel first_backward[kTunedTaps][kPaddings][2];
  ShortKernel last_forward[kTunedTaps][2];
  ShortKernel last_backward[kTunedTaps][2];
  ShortKernel any_output, any_gradient, any_final_state;
  ShortKernel any_dx[2], any_taps[2], any_initial_gradient[2];  // [g of the samples' type, floats]
  ShortKernel gate[kGateTaps][kPaddings], any_gate;
  ShortKernel gate_backward[kGateTaps][kPaddings], any_gate_gradient;
  ShortKernel add_splits;
};

/// One function a type, each in its own object file.
template <DType TYPE>
const ShortKernels& short_kernels();

}  // namespace ffc::cuda
