// The PyTorch operators: check the tensors, view them as plain structs, call the core. LibTorch's stable ABI: one
// binary for every torch >= 2.10. Shapes: u, gates, dy [B, H, L]; k [H, Lk]; k_rev [H, Lr]; skip [H]. Callers (ops.py)
// have raised ValueError and TypeError for what a user can get wrong; the checks here keep direct calls of the
// operators safe. CUDA tensors that no engine of this build and machine takes go to the operators `.._by_fft`, which
// fft_fallback.py implements.
#include <torch/csrc/stable/library.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "flashfftconv/flashfftconv.h"
#include "torch/plan_cache.h"
#include "torch/tensors.h"

namespace {

using namespace ffc::torch_binding;

// Tensors as the core sees them: samples adjacent, any other strides as they are. Copies are kept alive while it runs.
// An absent or empty tensor is a null pointer. Every question to a tensor is a call into torch: each is asked once.
class Arguments {
 public:
  Arguments(const Tensor& u, const Place& place, const ffc::Problem& p) : like_(u), place_(place), problem_(p) {}

  ffc::ConstRows rows(const char* name, const MaybeTensor& t) { return t ? rows(name, *t) : ffc::ConstRows(); }
  ffc::ConstRows rows(const char* name, const Tensor& t) {
    const auto sizes = t.sizes();
    STD_TORCH_CHECK(sizes.size() == 3 && sizes[0] == problem_.batch && sizes[1] == problem_.channels &&
                        sizes[2] == problem_.length && t.scalar_type() == like_.scalar_type() && place_.holds(t),
                    name, " must have the shape, dtype and device of u");
    const Tensor& kept = adjacent(t);
    const auto strides = kept.strides();
    return {kept.data_ptr(), stride(sizes[0], strides[0]), stride(sizes[1], strides[1])};
  }
  ffc::ConstTaps taps(const char* name, const MaybeTensor& t) { return t ? taps(name, *t) : ffc::ConstTaps(); }
  ffc::ConstTaps taps(const char* name, const Tensor& t) {
    const auto sizes = t.sizes();
    STD_TORCH_CHECK(sizes.size() == 2 && sizes[0] == problem_.channels && place_.holds(t) &&
                        dtype_of(name, t) == problem_.filter_dtype,
                    name, " must be [channels of u, taps], on the device of u and of the dtype of k");
    const Tensor& kept = adjacent(t);
    return {kept.data_ptr(), stride(sizes[0], kept.stride(0))};
  }
  const void* skip(const MaybeTensor& t) {
    if (!t) return nullptr;
    STD_TORCH_CHECK(t->dim() == 1 && t->size(0) == problem_.channels && place_.holds(*t) &&
                        dtype_of("skip", *t) == ffc::compute_type(problem_.dtype),
                    "skip must be [channels of u], float64 for a float64 u and float32 otherwise");
    return adjacent(*t).data_ptr();
  }

 private:
  static int64_t stride(int64_t size, int64_t given) { return size > 1 ? given : 0; }
  const Tensor& adjacent(const Tensor& t) {
    const auto sizes = t.sizes(), strides = t.strides();
    if (sizes.back() <= 1 || strides.back() == 1) return t;
    STD_TORCH_CHECK(count_ < copies_.size(), "too many tensors");
    return copies_[count_++].emplace(torch::stable::contiguous(t));
  }
  const Tensor& like_;
  const Place& place_;
  const ffc::Problem& problem_;
  std::array<std::optional<Tensor>, 8> copies_;
  std::size_t count_ = 0;
};

ffc::Problem problem_of(const Tensor& u, int64_t filter, int64_t filter_reverse, ffc::DType filter_dtype, int64_t mode,
                        int64_t fft_size, int64_t k_rev_lag) {
  const auto sizes = u.sizes();
  STD_TORCH_CHECK(sizes.size() == 3, "u must be [batch, channels, length]");
  STD_TORCH_CHECK(mode >= 0 && mode <= 2, "mode must be 0 (circular), 1 (causal) or 2 (bidirectional)");
  STD_TORCH_CHECK(k_rev_lag == 0 || k_rev_lag == 1, "k_rev_lag must be 0 or 1");
  return {.batch = sizes[0],
          .channels = sizes[1],
          .length = sizes[2],
          .filter = filter,
          .filter_reverse = filter_reverse,
          .fft_size = fft_size,
          .reverse_lag = static_cast<int>(k_rev_lag),
          .mode = static_cast<ffc::Mode>(mode),
          .dtype = dtype_of("u", u),
          .filter_dtype = filter_dtype};
}

ffc::Result<ffc::Plan> find_plan(const ffc::Problem& problem, const Place& place) {
  const int workers = place.is_cuda() ? 0 : static_cast<int>(torch::stable::get_num_threads());
  CachedPlan found = cached_plan(problem, place.device(), workers);
  // FFC_LOG=1 shows every plan when it is made; Python says where (log.py).
  if (found.is_new && std::getenv("FFC_LOG"))
    call<0>("flashfftconv::log",
            found.plan ? found.plan->describe() : "by torch.fft: " + found.plan.status().message());
  return std::move(found.plan);
}

ffc::Plan plan_of(const ffc::Problem& problem, const Place& place) {
  ffc::Result<ffc::Plan> plan = find_plan(problem, place);
  check(plan.status());
  return *plan;
}

Tensor new_rows(const Place& place, const ffc::Problem& p) {
  Tensor rows = place.empty(std::array{p.batch, p.channels, p.length}, scalar_type_of(p.dtype));
  return place.is_cuda() ? rows : on_huge_pages(std::move(rows));
}

Tensor long_conv(const Tensor& u, const Tensor& k, const MaybeTensor& k_rev, const MaybeTensor& pregate,
                 const MaybeTensor& postgate, const MaybeTensor& skip, int64_t mode, int64_t fft_size,
                 int64_t k_rev_lag) {
  STD_TORCH_CHECK(k.dim() == 2, "k must be [channels, taps]");
  const ffc::Problem problem =
      problem_of(u, k.size(1), k_rev ? k_rev->size(1) : 0, dtype_of("k", k), mode, fft_size, k_rev_lag);
  const Place place("u", u);
  const ffc::Result<ffc::Plan> plan = find_plan(problem, place);
  if (goes_to_torch(place, plan.status()))
    return torch::stable::detail::to<Tensor>(
        call<1>("flashfftconv::long_conv_by_fft", u, k, k_rev, pregate, postgate, skip, mode, fft_size, k_rev_lag)[0]);
  check(plan.status());
  Arguments view(u, place, problem);
  Tensor y = new_rows(place, problem);
  const MaybeTensor workspace = scratch(place, plan->workspace_bytes(ffc::Pass::forward));
  check(ffc::forward(*plan,
                     {.u = view.rows("u", u),
                      .k = view.taps("k", k),
                      .k_rev = view.taps("k_rev", k_rev),
                      .pregate = view.rows("pregate", pregate),
                      .postgate = view.rows("postgate", postgate),
                      .skip = view.skip(skip),
                      .y = y.data_ptr()},
                     execution_of(place, workspace)));
  return y;
}

// Which gradients are wanted, as bits in the order in which they are returned. The others come back undefined, which
// is None in Python: an empty tensor takes a microsecond to make and to hand over.
enum Wanted : int64_t { kDu = 1, kDk = 2, kDkRev = 4, kDpregate = 8, kDpostgate = 16, kDskip = 32 };

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

Gradients gradients_by_fft(const Tensor& dy, const Tensor& u, const Tensor& k, const MaybeTensor& k_rev,
                           const MaybeTensor& pregate, const MaybeTensor& postgate, const MaybeTensor& skip,
                           int64_t mode, int64_t fft_size, int64_t k_rev_lag, int64_t wanted) {
  const auto stack = call<6>("flashfftconv::long_conv_backward_by_fft", dy, u, k, k_rev, pregate, postgate, skip, mode,
                             fft_size, k_rev_lag, wanted);
  auto gradient = [&](int i) { return torch::stable::detail::to<Tensor>(stack[i]); };
  return {gradient(0), gradient(1), gradient(2), gradient(3), gradient(4), gradient(5)};
}

Gradients long_conv_backward(const Tensor& dy, const Tensor& u, const Tensor& k, const MaybeTensor& k_rev,
                             const MaybeTensor& pregate, const MaybeTensor& postgate, const MaybeTensor& skip,
                             int64_t mode, int64_t fft_size, int64_t k_rev_lag, int64_t wanted) {
  STD_TORCH_CHECK(k.dim() == 2, "k must be [channels, taps]");
  const ffc::Problem problem =
      problem_of(u, k.size(1), k_rev ? k_rev->size(1) : 0, dtype_of("k", k), mode, fft_size, k_rev_lag);
  const Place place("u", u);
  const ffc::Result<ffc::Plan> plan = find_plan(problem, place);
  if (goes_to_torch(place, plan ? plan->supports(ffc::Pass::backward) : plan.status()))
    return gradients_by_fft(dy, u, k, k_rev, pregate, postgate, skip, mode, fft_size, k_rev_lag, wanted);
  check(plan.status());
  Arguments view(u, place, problem);
  auto rows = [&](int64_t bit) { return wanted & bit ? new_rows(place, problem) : Tensor(); };
  auto taps = [&](int64_t bit, int64_t count) {
    return wanted & bit && count
               ? place.empty(std::array{problem.channels, count}, scalar_type_of(problem.filter_dtype))
               : Tensor();
  };
  Tensor du = rows(kDu), dk = taps(kDk, problem.filter), dk_rev = taps(kDkRev, problem.filter_reverse),
         dpregate = rows(kDpregate), dpostgate = rows(kDpostgate), dskip;
  if (wanted & kDskip)
    dskip = place.empty(std::array{problem.channels}, scalar_type_of(ffc::compute_type(problem.dtype)));
  auto pointer = [](const Tensor& t) { return t.defined() ? t.data_ptr() : nullptr; };
  const MaybeTensor workspace = scratch(place, plan->workspace_bytes(ffc::Pass::backward));
  check(ffc::backward(*plan,
                      {.dy = view.rows("dy", dy),
                       .u = view.rows("u", u),
                       .k = view.taps("k", k),
                       .k_rev = view.taps("k_rev", k_rev),
                       .pregate = view.rows("pregate", pregate),
                       .postgate = view.rows("postgate", postgate),
                       .skip = view.skip(skip),
                       .du = pointer(du),
                       .dk = pointer(dk),
                       .dk_rev = pointer(dk_rev),
                       .dpregate = pointer(dpregate),
                       .dpostgate = pointer(dpostgate),
                       .dskip = pointer(dskip)},
                      execution_of(place, workspace)));
  return {du, dk, dk_rev, dpregate, dpostgate, dskip};
}

// ---- a filter prepared once: bytes that only long_conv_prepared reads. On a CPU a key of the problem and then the
// spectrum. On a GPU, whose memory cannot be read without waiting for it, the spectrum and then as many bytes as the
// key's digest says: a spectrum of another problem is refused by its size.

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

int64_t digest_of(const Key& key) {
  constexpr std::uint64_t kPrime = 0x9e3779b97f4a7c15;  // spreads the bits of small numbers
  std::uint64_t digest = 0;
  for (int64_t part : key) digest = (digest ^ static_cast<std::uint64_t>(part)) * kPrime;
  return static_cast<int64_t>(digest >> 52);
}

int64_t prepared_bytes(const Place& place, const ffc::Plan& plan, const Key& key) {
  return static_cast<int64_t>(plan.spectrum_bytes()) + (place.is_cuda() ? digest_of(key) : kKeyBytes);
}

ffc::Workspace spectrum_in(const Place& place, const Tensor& t) {
  const int64_t before = place.is_cuda() ? 0 : kKeyBytes;
  return {static_cast<char*>(t.data_ptr()) + before, static_cast<std::size_t>(t.numel() - before)};
}

Tensor prepare_filter(const Tensor& u, const Tensor& k, const MaybeTensor& k_rev, int64_t mode, int64_t fft_size,
                      int64_t k_rev_lag) {
  STD_TORCH_CHECK(k.dim() == 2, "k must be [channels, taps]");
  const ffc::Problem problem =
      problem_of(u, k.size(1), k_rev ? k_rev->size(1) : 0, dtype_of("k", k), mode, fft_size, k_rev_lag);
  const Place place("u", u);
  const ffc::Plan plan = plan_of(problem, place);
  Arguments view(u, place, problem);
  const Key key = key_of(problem);
  Tensor spectrum = place.empty(std::array{prepared_bytes(place, plan, key)}, ScalarType::Byte);
  if (!place.is_cuda()) std::memcpy(spectrum.data_ptr(), key.data(), kKeyBytes);
  const MaybeTensor workspace = scratch(place, plan.workspace_bytes(ffc::Pass::forward));
  check(ffc::make_filter(
            plan, {.k = view.taps("k", k), .k_rev = view.taps("k_rev", k_rev), .storage = spectrum_in(place, spectrum)},
            execution_of(place, workspace))
            .status());
  return spectrum;
}

Tensor long_conv_prepared(const Tensor& u, const Tensor& spectrum, int64_t filter, int64_t filter_reverse,
                          const MaybeTensor& pregate, const MaybeTensor& postgate, const MaybeTensor& skip,
                          int64_t mode, int64_t fft_size, int64_t k_rev_lag) {
  const ffc::Problem problem = problem_of(u, filter, filter_reverse, ffc::DType::f32, mode, fft_size, k_rev_lag);
  const Place place("u", u);
  const ffc::Plan plan = plan_of(problem, place);
  const Key key = key_of(problem);
  STD_TORCH_CHECK(place.holds(spectrum) && spectrum.scalar_type() == ScalarType::Byte && spectrum.dim() == 1 &&
                      spectrum.is_contiguous() && spectrum.numel() == prepared_bytes(place, plan, key) &&
                      (place.is_cuda() || std::memcmp(spectrum.data_ptr(), key.data(), kKeyBytes) == 0),
                  "spectrum was not prepared for this problem by prepare_filter");
  STD_TORCH_CHECK(reinterpret_cast<std::uintptr_t>(spectrum.data_ptr()) % ffc::kWorkspaceAlignment == 0,
                  "spectrum is not aligned to ", ffc::kWorkspaceAlignment, " bytes");
  const ffc::Filter prepared(plan, spectrum_in(place, spectrum).data);
  Arguments view(u, place, problem);
  Tensor y = new_rows(place, problem);
  const MaybeTensor workspace = scratch(place, plan.workspace_bytes(ffc::Pass::forward));
  check(ffc::forward(plan,
                     {.u = view.rows("u", u),
                      .filter = &prepared,
                      .pregate = view.rows("pregate", pregate),
                      .postgate = view.rows("postgate", postgate),
                      .skip = view.skip(skip),
                      .y = y.data_ptr()},
                     execution_of(place, workspace)));
  return y;
}

// ---- the plan in words, without tensors: any sizes may be asked about. `device` is a CUDA ordinal, or -1: the CPU.

ffc::Problem described(int64_t batch, int64_t channels, int64_t length, int64_t filter, int64_t filter_reverse,
                       int64_t mode, int64_t fft_size, int64_t k_rev_lag, int64_t dtype, int64_t filter_dtype) {
  return {.batch = batch,
          .channels = channels,
          .length = length,
          .filter = filter,
          .filter_reverse = filter_reverse,
          .fft_size = fft_size,
          .reverse_lag = static_cast<int>(k_rev_lag),
          .mode = static_cast<ffc::Mode>(mode),
          .dtype = static_cast<ffc::DType>(dtype),
          .filter_dtype = static_cast<ffc::DType>(filter_dtype)};
}

std::string describe(int64_t batch, int64_t channels, int64_t length, int64_t filter, int64_t filter_reverse,
                     int64_t mode, int64_t fft_size, int64_t k_rev_lag, int64_t dtype, int64_t filter_dtype,
                     int64_t device) {
  return plan_of(
             described(batch, channels, length, filter, filter_reverse, mode, fft_size, k_rev_lag, dtype, filter_dtype),
             Place(device))
      .describe();
}

// Why no engine of this build and machine runs a pass, or an empty text if one does.
std::string why_not(int64_t batch, int64_t channels, int64_t length, int64_t filter, int64_t filter_reverse,
                    int64_t mode, int64_t fft_size, int64_t k_rev_lag, int64_t dtype, int64_t filter_dtype,
                    int64_t device, bool backward) {
  const ffc::Result<ffc::Plan> plan = find_plan(
      described(batch, channels, length, filter, filter_reverse, mode, fft_size, k_rev_lag, dtype, filter_dtype),
      Place(device));
  const ffc::Status status = plan ? plan->supports(backward ? ffc::Pass::backward : ffc::Pass::forward) : plan.status();
  if (status.code() != ffc::StatusCode::unsupported) check(status);
  return status.message();
}

std::string target() { return cpu_target(); }
std::string cuda_engine(int64_t device) { return describe_cuda(static_cast<int>(device)); }

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
      "int k_rev_lag, int dtype, int filter_dtype=2, int device=-1) -> str");
  m.def(
      "why_not(int batch, int channels, int length, int filter, int filter_reverse, int mode, int fft_size, "
      "int k_rev_lag, int dtype, int filter_dtype=2, int device=-1, bool backward=False) -> str");
  m.def("cpu_target() -> str");
  m.def("cuda_engine(int device) -> str");
  // Implemented in Python: fft_fallback.py and log.py
  m.def(
      "long_conv_by_fft(Tensor u, Tensor k, Tensor? k_rev, Tensor? pregate, Tensor? postgate, Tensor? skip, int mode, "
      "int fft_size, int k_rev_lag) -> Tensor");
  m.def(
      "long_conv_backward_by_fft(Tensor dy, Tensor u, Tensor k, Tensor? k_rev, Tensor? pregate, Tensor? postgate, "
      "Tensor? skip, int mode, int fft_size, int k_rev_lag, int wanted) -> (Tensor, Tensor, Tensor, Tensor, Tensor, "
      "Tensor)");
  m.def("log(str text) -> ()");
}

#define FFC_KERNELS(m)                                          \
  m.impl("long_conv", TORCH_BOX(&long_conv));                   \
  m.impl("long_conv_backward", TORCH_BOX(&long_conv_backward)); \
  m.impl("prepare_filter", TORCH_BOX(&prepare_filter));         \
  m.impl("long_conv_prepared", TORCH_BOX(&long_conv_prepared))

STABLE_TORCH_LIBRARY_IMPL(flashfftconv, CPU, m) { FFC_KERNELS(m); }
STABLE_TORCH_LIBRARY_IMPL(flashfftconv, CUDA, m) { FFC_KERNELS(m); }

STABLE_TORCH_LIBRARY_IMPL(flashfftconv, CompositeExplicitAutograd, m) {
  m.impl("describe", TORCH_BOX(&describe));
  m.impl("why_not", TORCH_BOX(&why_not));
  m.impl("cpu_target", TORCH_BOX(&target));
  m.impl("cuda_engine", TORCH_BOX(&cuda_engine));
}
