// The PyTorch operators of short convolutions, as binding.cpp has those of long ones. Shapes: x [B, D, L] or [B, L, D]
// by layout; weight [D, K]; bias [D]; initial_state [states, D, K - 1]; cu_seqlens int64 [states + 1]. CUDA tensors
// that no engine of this build takes go to the operators `.._by_torch`, which short_fallback.py implements.
#include <torch/csrc/stable/library.h>

#include <array>
#include <optional>
#include <string>
#include <tuple>

#include "flashfftconv/flashfftconv.h"
#include "torch/tensors.h"

namespace {

using namespace ffc::torch_binding;

ffc::ShortProblem problem_of(const Tensor& x, const Tensor& weight, const MaybeTensor& cu_seqlens, int64_t padding_left,
                             int64_t padding_right, int64_t epilogue, int64_t layout) {
  STD_TORCH_CHECK(x.dim() == 3, "x must have three dimensions");
  STD_TORCH_CHECK(weight.dim() == 2, "weight must be [channels, taps]");
  STD_TORCH_CHECK(layout == 0 || layout == 1, "layout must be 0 (bhl) or 1 (blh)");
  STD_TORCH_CHECK(epilogue >= 0 && epilogue <= 3, "epilogue must be 0 (none), 1 (silu), 2 (gelu) or 3 (gate)");
  const bool bhl = layout == 0;
  if (cu_seqlens)
    STD_TORCH_CHECK(cu_seqlens->dim() == 1 && cu_seqlens->size(0) >= 2 && cu_seqlens->scalar_type() == ScalarType::Long,
                    "cu_seqlens must be int64, [sequences + 1], of at least one sequence");
  return {.batch = x.size(0),
          .channels = x.size(bhl ? 1 : 2),
          .length = x.size(bhl ? 2 : 1),
          .taps = weight.size(1),
          .padding_left = padding_left,
          .padding_right = padding_right,
          .sequences = cu_seqlens ? cu_seqlens->size(0) - 1 : 0,
          .layout = static_cast<ffc::Layout>(layout),
          .epilogue = static_cast<ffc::Epilogue>(epilogue),
          .dtype = dtype_of("x", x),
          .weight_dtype = dtype_of("weight", weight)};
}

// Tensors as the core sees them, kept alive while it runs.
class Arguments {
 public:
  Arguments(const Place& place, const ffc::ShortProblem& problem) : place_(place), problem_(problem) {}

  // [batch, channels, samples] or [batch, samples, channels], the last index adjacent.
  ffc::ConstSequences rows(const char* name, const Tensor& t, int64_t channels, int64_t samples) {
    const bool bhl = problem_.layout == ffc::Layout::bhl;
    STD_TORCH_CHECK(t.dim() == 3 && t.size(0) == problem_.batch && t.size(1) == (bhl ? channels : samples) &&
                        t.size(2) == (bhl ? samples : channels) && place_.holds(t) &&
                        dtype_of(name, t) == problem_.dtype,
                    name, " must be [", problem_.batch, ", ", bhl ? channels : samples, ", ", bhl ? samples : channels,
                    "], of the dtype and device of x");
    const Tensor& kept = keep(t.size(2) <= 1 || t.stride(2) == 1 ? t : torch::stable::contiguous(t));
    return {kept.data_ptr(), kept.stride(0), kept.stride(1)};
  }
  ffc::ConstWeight weight(const Tensor& t) {
    STD_TORCH_CHECK(t.size(0) == problem_.channels && place_.holds(t), "weight must be [", problem_.channels,
                    ", taps], on the device of x");
    return {keep(t).data_ptr(), t.stride(0), t.stride(1)};
  }
  const void* bias(const MaybeTensor& t) {
    if (!t) return nullptr;
    STD_TORCH_CHECK(t->dim() == 1 && t->size(0) == problem_.channels && place_.holds(*t) &&
                        dtype_of("bias", *t) == problem_.weight_dtype,
                    "bias must be [", problem_.channels, "], of the dtype and device of weight");
    return keep(torch::stable::contiguous(*t)).data_ptr();
  }
  const void* state(const MaybeTensor& t) {
    if (!t) return nullptr;
    STD_TORCH_CHECK(t->dim() == 3 && t->size(0) == problem_.states() && t->size(1) == problem_.channels &&
                        t->size(2) == problem_.taps - 1 && place_.holds(*t) &&
                        dtype_of("initial_state", *t) == problem_.dtype,
                    "initial_state must be [", problem_.states(), ", ", problem_.channels, ", ", problem_.taps - 1,
                    "], of the dtype and device of x");
    return problem_.taps == 1 ? nullptr : keep(torch::stable::contiguous(*t)).data_ptr();
  }
  const std::int64_t* ends(const MaybeTensor& t) {
    if (!t) return nullptr;
    STD_TORCH_CHECK(place_.holds(*t), "cu_seqlens must be on the device of x");
    return static_cast<const std::int64_t*>(keep(torch::stable::contiguous(*t)).data_ptr());
  }

 private:
  const Tensor& keep(Tensor t) {
    STD_TORCH_CHECK(count_ < kept_.size(), "too many tensors");
    kept_[count_] = std::move(t);
    return *kept_[count_++];
  }
  const Place& place_;
  const ffc::ShortProblem& problem_;
  std::array<std::optional<Tensor>, 6> kept_;
  std::size_t count_ = 0;
};

ffc::Result<ffc::ShortPlan> plan_of(const ffc::ShortProblem& problem, const Place& place) {
  const int workers = place.is_cuda() ? 0 : static_cast<int>(torch::stable::get_num_threads());
  return ffc::make_short_plan(problem, place.device(), {.workers = workers});
}

Tensor new_rows(const Place& place, const ffc::ShortProblem& p, int64_t channels, int64_t samples, ScalarType type) {
  const bool bhl = p.layout == ffc::Layout::bhl;
  Tensor rows = place.empty(std::array{p.batch, bhl ? channels : samples, bhl ? samples : channels}, type);
  return place.is_cuda() ? rows : on_huge_pages(std::move(rows));
}

// The gate's kernels on a GPU begin with zeros.
bool has_gate_with_state(const Place& place, const ffc::ShortProblem& p, const MaybeTensor& initial_state) {
  return place.is_cuda() && p.epilogue == ffc::Epilogue::gate && initial_state;
}

Tensor short_conv(const Tensor& x, const Tensor& weight, const MaybeTensor& bias, const MaybeTensor& initial_state,
                  const MaybeTensor& cu_seqlens, int64_t padding_left, int64_t padding_right, int64_t epilogue,
                  int64_t layout) {
  const ffc::ShortProblem p = problem_of(x, weight, cu_seqlens, padding_left, padding_right, epilogue, layout);
  const Place place("x", x);
  const ffc::Result<ffc::ShortPlan> plan = plan_of(p, place);
  if (has_gate_with_state(place, p, initial_state) || goes_to_torch(place, plan.status()))
    return torch::stable::detail::to<Tensor>(call<1>("flashfftconv::short_conv_by_torch", x, weight, bias,
                                                     initial_state, cu_seqlens, padding_left, padding_right, epilogue,
                                                     layout)[0]);
  check(plan.status());
  Arguments view(place, p);
  Tensor y = new_rows(place, p, p.output_channels(), p.output_length(), x.scalar_type());
  const MaybeTensor workspace = scratch(place, plan->workspace_bytes(ffc::Pass::forward));
  check(ffc::short_conv(*plan,
                        {.x = view.rows("x", x, p.channels, p.length),
                         .weight = view.weight(weight),
                         .bias = view.bias(bias),
                         .initial_state = view.state(initial_state),
                         .cu_seqlens = view.ends(cu_seqlens),
                         .y = {y.data_ptr()}},
                        execution_of(place, workspace)));
  return y;
}

// Which gradients are wanted, as bits in the order in which they are returned; the others come back empty.
enum Wanted : int64_t { kDx = 1, kDweight = 2, kDbias = 4, kDstate = 8 };

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor>;

Gradients short_conv_backward(const Tensor& dy, const Tensor& x, const Tensor& weight, const MaybeTensor& bias,
                              const MaybeTensor& initial_state, const MaybeTensor& cu_seqlens, int64_t padding_left,
                              int64_t padding_right, int64_t epilogue, int64_t layout, int64_t wanted) {
  const ffc::ShortProblem p = problem_of(x, weight, cu_seqlens, padding_left, padding_right, epilogue, layout);
  const Place place("x", x);
  const ffc::Result<ffc::ShortPlan> plan = plan_of(p, place);
  if (has_gate_with_state(place, p, initial_state) || goes_to_torch(place, plan.status())) {
    const auto stack = call<4>("flashfftconv::short_conv_backward_by_torch", dy, x, weight, bias, initial_state,
                               cu_seqlens, padding_left, padding_right, epilogue, layout, wanted);
    auto gradient = [&](int i) { return torch::stable::detail::to<Tensor>(stack[i]); };
    return {gradient(0), gradient(1), gradient(2), gradient(3)};
  }
  check(plan.status());
  STD_TORCH_CHECK(!(wanted & kDstate) || initial_state, "the gradient of initial_state is wanted, but it is absent");
  Arguments view(place, p);
  const std::array<int64_t, 1> none{0};
  const ScalarType type = x.scalar_type(), weight_type = weight.scalar_type();
  Tensor dx = wanted & kDx ? new_rows(place, p, p.channels, p.length, type) : place.empty(none, type);
  Tensor dweight =
      wanted & kDweight ? place.empty(std::array{p.channels, p.taps}, weight_type) : place.empty(none, weight_type);
  Tensor dbias = place.empty(std::array{wanted & kDbias ? p.channels : 0}, weight_type);
  Tensor dstate =
      wanted & kDstate ? place.empty(std::array{p.states(), p.channels, p.taps - 1}, type) : place.empty(none, type);
  auto pointer = [&](int64_t bit, const Tensor& t) { return wanted & bit ? t.data_ptr() : nullptr; };
  const MaybeTensor workspace = scratch(place, plan->workspace_bytes(ffc::Pass::backward));
  check(ffc::short_conv_backward(*plan,
                                 {.dy = view.rows("dy", dy, p.output_channels(), p.output_length()),
                                  .x = view.rows("x", x, p.channels, p.length),
                                  .weight = view.weight(weight),
                                  .bias = view.bias(bias),
                                  .initial_state = view.state(initial_state),
                                  .cu_seqlens = view.ends(cu_seqlens),
                                  .dx = {pointer(kDx, dx)},
                                  .dweight = {pointer(kDweight, dweight)},
                                  .dbias = pointer(kDbias, dbias),
                                  .dinitial_state = p.taps > 1 ? pointer(kDstate, dstate) : nullptr},
                                 execution_of(place, workspace)));
  return {dx, dweight, dbias, dstate};
}

// The plan in words, or why no engine of this build and machine has one. `device` is a CUDA ordinal, or -1: the CPU.
std::tuple<bool, std::string> describe_short(int64_t batch, int64_t channels, int64_t length, int64_t taps,
                                             int64_t padding_left, int64_t padding_right, int64_t sequences,
                                             int64_t epilogue, int64_t layout, int64_t dtype, int64_t weight_dtype,
                                             int64_t device) {
  const ffc::Result<ffc::ShortPlan> plan = plan_of({.batch = batch,
                                                    .channels = channels,
                                                    .length = length,
                                                    .taps = taps,
                                                    .padding_left = padding_left,
                                                    .padding_right = padding_right,
                                                    .sequences = sequences,
                                                    .layout = static_cast<ffc::Layout>(layout),
                                                    .epilogue = static_cast<ffc::Epilogue>(epilogue),
                                                    .dtype = static_cast<ffc::DType>(dtype),
                                                    .weight_dtype = static_cast<ffc::DType>(weight_dtype)},
                                                   Place(device));
  if (plan) return {true, plan->describe()};
  if (plan.status().code() != ffc::StatusCode::unsupported) check(plan.status());
  return {false, plan.status().message()};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(flashfftconv, m) {
  m.def(
      "short_conv(Tensor x, Tensor weight, Tensor? bias, Tensor? initial_state, Tensor? cu_seqlens, "
      "SymInt padding_left, SymInt padding_right, int epilogue, int layout) -> Tensor");
  m.def(
      "short_conv_backward(Tensor dy, Tensor x, Tensor weight, Tensor? bias, Tensor? initial_state, Tensor? "
      "cu_seqlens, "
      "SymInt padding_left, SymInt padding_right, int epilogue, int layout, int wanted) -> (Tensor, Tensor, Tensor, "
      "Tensor)");
  m.def(
      "describe_short(int batch, int channels, int length, int taps, int padding_left, int padding_right, "
      "int sequences, int epilogue, int layout, int dtype, int weight_dtype, int device=-1) -> (bool, str)");
  // Implemented in Python: short_fallback.py
  m.def(
      "short_conv_by_torch(Tensor x, Tensor weight, Tensor? bias, Tensor? initial_state, Tensor? cu_seqlens, "
      "int padding_left, int padding_right, int epilogue, int layout) -> Tensor");
  m.def(
      "short_conv_backward_by_torch(Tensor dy, Tensor x, Tensor weight, Tensor? bias, Tensor? initial_state, Tensor? "
      "cu_seqlens, int padding_left, int padding_right, int epilogue, int layout, int wanted) -> (Tensor, Tensor, "
      "Tensor, Tensor)");
}

#define FFC_KERNELS(m)                          \
  m.impl("short_conv", TORCH_BOX(&short_conv)); \
  m.impl("short_conv_backward", TORCH_BOX(&short_conv_backward))

STABLE_TORCH_LIBRARY_IMPL(flashfftconv, CPU, m) { FFC_KERNELS(m); }
STABLE_TORCH_LIBRARY_IMPL(flashfftconv, CUDA, m) { FFC_KERNELS(m); }

STABLE_TORCH_LIBRARY_IMPL(flashfftconv, CompositeExplicitAutograd, m) {
  m.impl("describe_short", TORCH_BOX(&describe_short));
}
