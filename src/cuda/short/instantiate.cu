// The one place where the kernels of short convolutions are instantiated: compiled once for every type of samples, with
// FFC_SHORT_TYPE its number among DType.
#include "cuda/short/any.cuh"
#include "cuda/short/channels_first_backward.cuh"
#include "cuda/short/channels_first_forward.cuh"
#include "cuda/short/channels_last_backward.cuh"
#include "cuda/short/channels_last_forward.cuh"
#include "cuda/short/gate.cuh"
#include "cuda/short/gate_backward.cuh"
#include "cuda/short/instances.h"
#include "cuda/short/kernel_address.h"
#include "cuda/short/sums.cuh"
#include "cuda/short/tuning.cuh"

namespace ffc::cuda {
namespace {

constexpr DType kType = static_cast<DType>(FFC_SHORT_TYPE);
using Type = std::conditional_t<kType == DType::f16, Half, std::conditional_t<kType == DType::bf16, BFloat, Single>>;

template <int TAPS, int PADDING, bool ACTIVE>
ShortKernel first_forward() {
  constexpr int kLeft = padding_of(TAPS, PADDING);
  constexpr Tuning t = first_forward_tuning(TAPS, kChunk<Type>, ACTIVE);
  return {kernel_address(&channels_first_forward<Type, TAPS, kLeft, ACTIVE, t.steps, t.threads, t.blocks>),
          "channels_first_forward",
          t.threads,
          0,
          t.steps,
          kChunk<Type>};
}
template <int TAPS, int PADDING, bool ACTIVE>
ShortKernel first_backward() {
  constexpr int kLeft = padding_of(TAPS, PADDING);
  constexpr Tuning t = first_backward_tuning(TAPS, ACTIVE);
  return {kernel_address(&channels_first_backward<Type, TAPS, kLeft, ACTIVE, t.steps, t.threads, t.blocks>),
          "channels_first_backward",
          t.threads,
          t.threads / 32 * (TAPS + 1) * 4,
          t.steps,
          kChunk<Type>};
}
template <int TAPS, bool ACTIVE>
ShortKernel last_forward() {
  constexpr Tuning t = last_forward_tuning(TAPS, kChunk<Type>);
  return {kernel_address(&channels_last_forward<Type, TAPS, ACTIVE, t.count, t.group, t.steps, t.threads, t.blocks>),
          "channels_last_forward",
          t.threads,
          0,
          t.steps,
          t.count};
}
template <int TAPS, bool ACTIVE>
ShortKernel last_backward() {
  constexpr Tuning t = last_backward_tuning(TAPS, kChunk<Type>, ACTIVE);
  return {kernel_address(&channels_last_backward<Type, TAPS, ACTIVE, t.count, t.steps, t.threads, t.blocks>),
          "channels_last_backward",
          t.threads,
          t.threads * t.count * (TAPS + 1) * 4,
          t.steps,
          t.count};
}

template <int TAPS, int PADDING>
ShortKernel gate() {
  constexpr int kLeft = padding_of(TAPS, PADDING);
  constexpr Tuning t = gate_tuning(Reach<Type, TAPS, kLeft>::kChunks);
  return {kernel_address(&gate_forward<Type, TAPS, kLeft, t.steps, t.threads, t.blocks>),
          "gate_forward",
          t.threads,
          0,
          t.steps,
          kChunk<Type>};
}

template <int TAPS, int PADDING>
ShortKernel gate_gradients() {
  constexpr int kLeft = padding_of(TAPS, PADDING);
  constexpr Tuning t = gate_backward_tuning();
  return {kernel_address(&gate_backward<Type, TAPS, kLeft, t.threads, t.blocks>),
          "gate_backward",
          t.threads,
          t.threads / 32 * (TAPS + 1) * 4,
          t.steps,
          kChunk<Type>};
}

template <int TAPS>
void add_taps(ShortKernels& k) {
  // Beside so many products the test for an activation is nothing, and compiling takes long.
  constexpr bool kMany = TAPS > 8;
  k.first_forward[TAPS - 1][0][0] = first_forward<TAPS, 0, kMany>();
  k.first_forward[TAPS - 1][0][1] = first_forward<TAPS, 0, true>();
  k.first_forward[TAPS - 1][1][0] = first_forward<TAPS, 1, kMany>();
  k.first_forward[TAPS - 1][1][1] = first_forward<TAPS, 1, true>();
  k.first_backward[TAPS - 1][0][0] = first_backward<TAPS, 0, false>();
  k.first_backward[TAPS - 1][0][1] = first_backward<TAPS, 0, true>();
  k.first_backward[TAPS - 1][1][0] = first_backward<TAPS, 1, false>();
  k.first_backward[TAPS - 1][1][1] = first_backward<TAPS, 1, true>();
  k.last_forward[TAPS - 1][0] = last_forward<TAPS, kMany>();
  k.last_forward[TAPS - 1][1] = last_forward<TAPS, true>();
  k.last_backward[TAPS - 1][0] = last_backward<TAPS, false>();
  k.last_backward[TAPS - 1][1] = last_backward<TAPS, true>();
  if constexpr (TAPS <= kGateTaps) {
    k.gate[TAPS - 1][0] = gate<TAPS, 0>();
    k.gate[TAPS - 1][1] = gate<TAPS, 1>();
    k.gate_backward[TAPS - 1][0] = gate_gradients<TAPS, 0>();
    k.gate_backward[TAPS - 1][1] = gate_gradients<TAPS, 1>();
  }
}

template <int... TAPS>
ShortKernels make(std::integer_sequence<int, TAPS...>) {
  ShortKernels k;
  (add_taps<TAPS + 1>(k), ...);
  k.any_output = {kernel_address(&any_correlate<Type, Type, Correlate::output>), "any_correlate"};
  k.any_gradient = {kernel_address(&any_correlate<Type, Type, Correlate::gradient>), "any_correlate"};
  k.any_dx[0] = k.any_output;
  k.any_dx[1] = {kernel_address(&any_correlate<Single, Type, Correlate::output>), "any_correlate"};
  constexpr int kScratch = (kTapGroup + 1) * 256 * 4;
  k.any_taps[0] = {kernel_address(&any_taps<Type, Type>), "any_taps", 256, kScratch};
  k.any_taps[1] = {kernel_address(&any_taps<Single, Type>), "any_taps", 256, kScratch};
  k.any_final_state = {kernel_address(&any_final_state<Type>), "any_final_state"};
  k.any_initial_gradient[0] = {kernel_address(&any_initial_gradient<Type, Type>), "any_initial_gradient"};
  k.any_initial_gradient[1] = {kernel_address(&any_initial_gradient<Single, Type>), "any_initial_gradient"};
  k.any_gate = {kernel_address(&any_gate<Type>), "any_gate"};
  k.any_gate_gradient = {kernel_address(&any_gate_gradient<Type>), "any_gate_gradient"};
  k.add_splits = {kernel_address(&add_splits<Type>), "add_splits", 32 * kSumRows, 32 * kSumRows * 4};
  return k;
}

}  // namespace

template <>
const ShortKernels& short_kernels<kType>() {
  static const ShortKernels kernels = make(std::make_integer_sequence<int, kTunedTaps>());
  return kernels;
}

}  // namespace ffc::cuda
