// The PyTorch operators: check the tensors, view them as plain structs, call the core. LibTorch's stable ABI: one
// binary for every torch >= 2.10. Shapes: u, gates, dy [B, H, L]; k [H, Lk]; k_rev [H, Lr]; skip [H]. Callers (ops.py)
// have raised ValueError and TypeError for what a user can get wrong; the checks here keep direct calls of the
// operators safe.
#include <sys/mman.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <tuple>

#include "flashfftconv/flashfftconv.h"
#include "torch/fresh.h"
#include "torch/plan_cache.h"

namespace {

using ffc::torch_binding::fresh;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using MaybeTensor = std::optional<Tensor>;

ffc::DType dtype_of(const char* name, const Tensor& t) {
  switch (t.scalar_type()) {
    case ScalarType::Half: return ffc::DType::f16;
    case ScalarType::BFloat16: return ffc::DType::bf16;
    case ScalarType::Float: return ffc::DType::f32;
    case ScalarType::Double: return ffc::DType::f64;
    default: STD_TORCH_CHECK(false, name, " has a dtype that is not float16, bfloat16, float32 or float64");
  }
}

ScalarType scalar_type_of(ffc::DType dtype) {
  switch (dtype) {
    case ffc::DType::f16: return ScalarType::Half;
    case ffc::DType::bf16: return ScalarType::BFloat16;
    case ffc::DType::f32: return ScalarType::Float;
    case ffc::DType::f64: return ScalarType::Double;
  }
  return ScalarType::Float;
}

// Samples must be adjacent; any other strides are taken as they are.
Tensor adjacent(const Tensor& t) {
  const int64_t last = t.dim() - 1;
  return t.size(last) <= 1 || t.stride(last) == 1 ? t : torch::stable::contiguous(t);
}

int64_t rows_stride(const Tensor& t, int64_t dim) { return t.size(dim) > 1 ? t.stride(dim) : 0; }

// Tensors as the core sees them, kept alive while it runs. An absent or empty tensor is a null pointer.
class Arguments {
 public:
  Arguments(const Tensor& u, const ffc::Problem& p) : like_(u), problem_(p) {}

  ffc::ConstRows rows(const char* name, const MaybeTensor& t) {
    if (!t) return {};
    STD_TORCH_CHECK(t->dim() == 3 && t->size(0) == problem_.batch && t->size(1) == problem_.channels &&
                        t->size(2) == problem_.length && t->scalar_type() == like_.scalar_type() && t->is_cpu(),
                    name, " must have the shape, dtype and device of u");
    const Tensor& kept = keep(adjacent(*t));
    return {kept.data_ptr(), rows_stride(kept, 0), rows_stride(kept, 1)};
  }
  ffc::ConstTaps taps(const char* name, const MaybeTensor& t) {
    if (!t) return {};
    STD_TORCH_CHECK(
        t->dim() == 2 && t->size(0) == problem_.channels && t->is_cpu() && dtype_of(name, *t) == problem_.filter_dtype,
        name, " must be [channels of u, taps], on the device of u and of the dtype of k");
    const Tensor& kept = keep(adjacent(*t));
    return {kept.data_ptr(), rows_stride(kept, 0)};
  }
  const void* skip(const MaybeTensor& t) {
    if (!t) return nullptr;
    STD_TORCH_CHECK(t->dim() == 1 && t->size(0) == problem_.channels && t->is_cpu() &&
                        dtype_of("skip", *t) == ffc::compute_type(problem_.dtype),
                    "skip must be [channels of u], float64 for a float64 u and float32 otherwise");
    return keep(torch::stable::contiguous(*t)).data_ptr();
  }

 private:
  const Tensor& keep(Tensor t) {
    STD_TORCH_CHECK(count_ < kept_.size(), "too many tensors");
    kept_[count_] = std::move(t);
    return *kept_[count_++];
  }
  const Tensor& like_;
  const ffc::Problem& problem_;
  std::array<std::optional<Tensor>, 8> kept_;
  std::size_t count_ = 0;
};

ffc::Problem problem_of(const Tensor& u, int64_t filter, int64_t filter_reverse, ffc::DType filter_dtype, int64_t mode,
                        int64_t fft_size, int64_t k_rev_lag) {
  STD_TORCH_CHECK(u.dim() == 3, "u must be [batch, channels, length]");
  STD_TORCH_CHECK(u.is_cpu(), "u must be on the CPU");
  STD_TORCH_CHECK(mode >= 0 && mode <= 2, "mode must be 0 (circular), 1 (causal) or 2 (bidirectional)");
  STD_TORCH_CHECK(k_rev_lag == 0 || k_rev_lag == 1, "k_rev_lag must be 0 or 1");
  return {.batch = u.size(0),
          .channels = u.size(1),
          .length = u.size(2),
          .filter = filter,
          .filter_reverse = filter_reverse,
          .fft_size = fft_size,
          .reverse_lag = static_cast<int>(k_rev_lag),
          .mode = static_cast<ffc::Mode>(mode),
          .dtype = dtype_of("u", u),
          .filter_dtype = filter_dtype};
}

void check(const ffc::Status& status) { STD_TORCH_CHECK(status.ok(), status.message()); }

ffc::Plan plan_of(const ffc::Problem& problem) {
  const int workers = static_cast<int>(torch::stable::get_num_threads());
  ffc::Result<ffc::Plan> plan = ffc::torch_binding::cached_plan(problem, workers);
  check(plan.status());
  return *plan;
}

// Fresh memory of many megabytes costs a page fault per 4 KiB when first written, as much as the convolution itself;
// where the system grants huge pages on request, one per 2 MiB.
Tensor on_huge_pages(Tensor t) {
#ifdef MADV_HUGEPAGE
  constexpr std::uintptr_t kPage = 4096;
  constexpr std::size_t kWorthwhile = 1 << 20;
  const std::size_t bytes = static_cast<std::size_t>(t.numel()) * t.element_size();
  if (bytes >= kWorthwhile) {
    const std::uintptr_t begin = (reinterpret_cast<std::uintptr_t>(t.data_ptr()) + kPage - 1) / kPage * kPage;
    const std::uintptr_t end = (reinterpret_cast<std::uintptr_t>(t.data_ptr()) + bytes) / kPage * kPage;
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // advice only: a refusal changes nothing
  }
#endif
  return t;
}

Tensor scratch(std::size_t bytes) {
  return on_huge_pages(fresh(std::array{static_cast<int64_t>(bytes + ffc::kWorkspaceAlignment)}, ScalarType::Byte));
}
ffc::Workspace aligned(const Tensor& t) {
  const auto address = reinterpret_cast<std::uintptr_t>(t.data_ptr());
  const std::uintptr_t start =
      (address + ffc::kWorkspaceAlignment - 1) / ffc::kWorkspaceAlignment * ffc::kWorkspaceAlignment;
  return {reinterpret_cast<void*>(start), static_cast<std::size_t>(t.numel()) - (start - address)};
}

// torch's own pool, so that its thread settings hold for us too.
void run_on_torch_threads(void*, int workers, void (*body)(void*, int), void* argument) {
  torch::stable::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) body(argument, static_cast<int>(worker));
  });
}

ffc::Execution execution_of(const Tensor& workspace) {
  return {.workspace = aligned(workspace), .parallel = {.run = run_on_torch_threads}};
}

Tensor new_rows(const Tensor& u) {
  return on_huge_pages(fresh(std::array{u.size(0), u.size(1), u.size(2)}, u.scalar_type()));
}

Tensor long_conv(const Tensor& u, const Tensor& k, const MaybeTensor& k_rev, const MaybeTensor& pregate,
                 const MaybeTensor& postgate, const MaybeTensor& skip, int64_t mode, int64_t fft_size,
                 int64_t k_rev_lag) {
  STD_TORCH_CHECK(k.dim() == 2, "k must be [channels, taps]");
  const ffc::Problem problem =
      problem_of(u, k.size(1), k_rev ? k_rev->size(1) : 0, dtype_of("k", k), mode, fft_size, k_rev_lag);
  const ffc::Plan plan = plan_of(problem);
  Arguments view(u, problem);
  Tensor y = new_rows(u);
  Tensor workspace = scratch(plan.workspace_bytes(ffc::Pass::forward));
  check(ffc::forward(plan,
                     {.u = view.rows("u", u),
                      .k = view.taps("k", k),
                      .k_rev = view.taps("k_rev", k_rev),
                      .pregate = view.rows("pregate", pregate),
                      .postgate = view.rows("postgate", postgate),
                      .skip = view.skip(skip),
                      .y = y.data_ptr()},
                     execution_of(workspace)));
  return y;
}

// Which gradients are wanted, as bits in the order in which they are returned; the others come back empty.
enum Wanted : int64_t { kDu = 1, kDk = 2, kDkRev = 4, kDpregate = 8, kDpostgate = 16, kDskip = 32 };

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

Gradients long_conv_backward(const Tensor& dy, const Tensor& u, const Tensor& k, const MaybeTensor& k_rev,
                             const MaybeTensor& pregate, const MaybeTensor& postgate, const MaybeTensor& skip,
                             int64_t mode, int64_t fft_size, int64_t k_rev_lag, int64_t wanted) {
  STD_TORCH_CHECK(k.dim() == 2, "k must be [channels, taps]");
  const ffc::Problem problem =
      problem_of(u, k.size(1), k_rev ? k_rev->size(1) : 0, dtype_of("k", k), mode, fft_size, k_rev_lag);
  const ffc::Plan plan = plan_of(problem);
  Arguments view(u, problem);
  auto rows = [&](int64_t bit) { return wanted & bit ? new_rows(u) : fresh(std::array{int64_t{0}}, u.scalar_type()); };
  auto taps = [&](int64_t bit, const MaybeTensor& t) {
    return wanted & bit && t ? fresh(std::array{t->size(0), t->size(1)}, t->scalar_type())
                             : fresh(std::array{int64_t{0}}, k.scalar_type());
  };
  const ScalarType skip_type = scalar_type_of(ffc::compute_type(problem.dtype));
  Tensor du = rows(kDu), dk = taps(kDk, k), dk_rev = taps(kDkRev, k_rev), dpregate = rows(kDpregate),
         dpostgate = rows(kDpostgate), dskip = fresh(std::array{wanted & kDskip ? problem.channels : 0}, skip_type);
  auto pointer = [&](int64_t bit, const Tensor& t) { return wanted & bit ? t.data_ptr() : nullptr; };
  Tensor workspace = scratch(plan.workspace_bytes(ffc::Pass::backward));
  check(ffc::backward(plan,
                      {.dy = view.rows("dy", dy),
                       .u = view.rows("u", u),
                       .k = view.taps("k", k),
                       .k_rev = view.taps("k_rev", k_rev),
                       .pregate = view.rows("pregate", pregate),
                       .postgate = view.rows("postgate", postgate),
                       .skip = view.skip(skip),
                       .du = pointer(kDu, du),
                       .dk = pointer(kDk, dk),
                       .dk_rev = pointer(kDkRev, dk_rev),
                       .dpregate = pointer(kDpregate, dpregate),
                       .dpostgate = pointer(kDpostgate, dpostgate),
                       .dskip = pointer(kDskip, dskip)},
                      execution_of(workspace)));
  return {du, dk, dk_rev, dpregate, dpostgate, dskip};
}

// ---- a filter prepared once: bytes that only long_conv_prepared reads, a key of the problem and then the spectrum

using Key = std::array<int64_t, 8>;
constexpr int64_t kKeyBytes = sizeof(Key);
static_assert(kKeyBytes % ffc::kWorkspaceAlignment == 0);

// All that the spectrum depends on: the batch and the filter's dtype are free.
Key key_of(const ffc::Problem& p) {
  return {p.channels,
          p.length,
          p.filter,
          p.filter_reverse,
          p.fft_size,
          p.reverse_lag,
          static_cast<int64_t>(p.mode),
          static_cast<int64_t>(p.dtype)};
}

// The spectrum's bytes behind the key.
ffc::Workspace behind_key(const Tensor& t) {
  return {static_cast<char*>(t.data_ptr()) + kKeyBytes, static_cast<std::size_t>(t.numel() - kKeyBytes)};
}

Tensor prepare_filter(const Tensor& u, const Tensor& k, const MaybeTensor& k_rev, int64_t mode, int64_t fft_size,
                      int64_t k_rev_lag) {
  STD_TORCH_CHECK(k.dim() == 2, "k must be [channels, taps]");
  const ffc::Problem problem =
      problem_of(u, k.size(1), k_rev ? k_rev->size(1) : 0, dtype_of("k", k), mode, fft_size, k_rev_lag);
  const ffc::Plan plan = plan_of(problem);
  Arguments view(u, problem);
  Tensor spectrum = fresh(std::array{kKeyBytes + static_cast<int64_t>(plan.spectrum_bytes())}, ScalarType::Byte);
  const Key key = key_of(problem);
  std::memcpy(spectrum.data_ptr(), key.data(), kKeyBytes);
  Tensor workspace = scratch(plan.workspace_bytes(ffc::Pass::forward));
  check(ffc::make_filter(plan,
                         {.k = view.taps("k", k), .k_rev = view.taps("k_rev", k_rev), .storage = behind_key(spectrum)},
                         execution_of(workspace))
            .status());
  return spectrum;
}

Tensor long_conv_prepared(const Tensor& u, const Tensor& spectrum, int64_t filter, int64_t filter_reverse,
                          const MaybeTensor& pregate, const MaybeTensor& postgate, const MaybeTensor& skip,
                          int64_t mode, int64_t fft_size, int64_t k_rev_lag) {
  const ffc::Problem problem = problem_of(u, filter, filter_reverse, ffc::DType::f32, mode, fft_size, k_rev_lag);
  const ffc::Plan plan = plan_of(problem);
  const Key key = key_of(problem);
  STD_TORCH_CHECK(spectrum.is_cpu() && spectrum.scalar_type() == ScalarType::Byte && spectrum.dim() == 1 &&
                      spectrum.is_contiguous() &&
                      spectrum.numel() == kKeyBytes + static_cast<int64_t>(plan.spectrum_bytes()) &&
                      std::memcmp(spectrum.data_ptr(), key.data(), kKeyBytes) == 0,
                  "spectrum was not prepared for this problem by prepare_filter");
  STD_TORCH_CHECK(reinterpret_cast<std::uintptr_t>(spectrum.data_ptr()) % ffc::kWorkspaceAlignment == 0,
                  "spectrum is not aligned to ", ffc::kWorkspaceAlignment, " bytes");
  const ffc::Filter prepared(plan, behind_key(spectrum).data);
  Arguments view(u, problem);
  Tensor y = new_rows(u);
  Tensor workspace = scratch(plan.workspace_bytes(ffc::Pass::forward));
  check(ffc::forward(plan,
                     {.u = view.rows("u", u),
                      .filter = &prepared,
                      .pregate = view.rows("pregate", pregate),
                      .postgate = view.rows("postgate", postgate),
                      .skip = view.skip(skip),
                      .y = y.data_ptr()},
                     execution_of(workspace)));
  return y;
}

// The plan in words, without tensors: any sizes may be asked about.
std::string describe(int64_t batch, int64_t channels, int64_t length, int64_t filter, int64_t filter_reverse,
                     int64_t mode, int64_t fft_size, int64_t k_rev_lag, int64_t dtype) {
  const ffc::Problem problem{.batch = batch,
                             .channels = channels,
                             .length = length,
                             .filter = filter,
                             .filter_reverse = filter_reverse,
                             .fft_size = fft_size,
                             .reverse_lag = static_cast<int>(k_rev_lag),
                             .mode = static_cast<ffc::Mode>(mode),
                             .dtype = static_cast<ffc::DType>(dtype)};
  return plan_of(problem).describe();
}

std::string cpu_target() { return ffc::torch_binding::cpu_target(); }

}  // namespace

STABLE_TORCH_LIBRARY(flashfftconv, m) {
  m.def(
      "long_conv(Tensor u, Tensor k, Tensor? k_rev, Tensor? pregate, Tensor? postgate, Tensor? skip, int mode, "
      "SymInt fft_size, int k_rev_lag) -> Tensor");
  m.def(
      "long_conv_backward(Tensor dy, Tensor u, Tensor k, Tensor? k_rev, Tensor? pregate, Tensor? postgate, Tensor? "
      "skip, "
      "int mode, SymInt fft_size, int k_rev_lag, int wanted) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def("prepare_filter(Tensor u, Tensor k, Tensor? k_rev, int mode, SymInt fft_size, int k_rev_lag) -> Tensor");
  m.def(
      "long_conv_prepared(Tensor u, Tensor spectrum, SymInt filter, SymInt filter_reverse, Tensor? pregate, "
      "Tensor? postgate, Tensor? skip, int mode, SymInt fft_size, int k_rev_lag) -> Tensor");
  m.def(
      "describe(int batch, int channels, int length, int filter, int filter_reverse, int mode, int fft_size, "
      "int k_rev_lag, int dtype) -> str");
  m.def("cpu_target() -> str");
}

STABLE_TORCH_LIBRARY_IMPL(flashfftconv, CPU, m) {
  m.impl("long_conv", TORCH_BOX(&long_conv));
  m.impl("long_conv_backward", TORCH_BOX(&long_conv_backward));
  m.impl("prepare_filter", TORCH_BOX(&prepare_filter));
  m.impl("long_conv_prepared", TORCH_BOX(&long_conv_prepared));
}

STABLE_TORCH_LIBRARY_IMPL(flashfftconv, CompositeExplicitAutograd, m) {
  m.impl("describe", TORCH_BOX(&describe));
  m.impl("cpu_target", TORCH_BOX(&cpu_target));
}
