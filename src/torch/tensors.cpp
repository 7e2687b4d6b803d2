#include "torch/tensors.h"

#include <sys/mman.h>

#include <cstdint>

#include "torch/cuda_stream.h"

namespace ffc::torch_binding {
namespace {

int64_t element_bytes(ScalarType type) {
  return type == ScalarType::Byte ? 1 : type == ScalarType::Double ? 8 : type == ScalarType::Float ? 4 : 2;
}

int32_t torch_type(ScalarType type) {
  switch (type) {
    case ScalarType::Half: return aoti_torch_dtype_float16();
    case ScalarType::BFloat16: return aoti_torch_dtype_bfloat16();
    case ScalarType::Float: return aoti_torch_dtype_float32();
    case ScalarType::Double: return aoti_torch_dtype_float64();
    default: return aoti_torch_dtype_uint8();
  }
}

Workspace aligned(const Tensor& t) {
  const auto address = reinterpret_cast<std::uintptr_t>(t.data_ptr());
  const std::uintptr_t start = (address + kWorkspaceAlignment - 1) / kWorkspaceAlignment * kWorkspaceAlignment;
  return {reinterpret_cast<void*>(start), static_cast<std::size_t>(t.numel()) - (start - address)};
}

// torch's own pool, so that its thread settings hold for us too.
void run_on_torch_threads(void*, int workers, void (*body)(void*, int), void* argument) {
  torch::stable::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) body(argument, static_cast<int>(worker));
  });
}

}  // namespace

DType dtype_of(const char* name, const Tensor& t) {
  switch (t.scalar_type()) {
    case ScalarType::Half: return DType::f16;
    case ScalarType::BFloat16: return DType::bf16;
    case ScalarType::Float: return DType::f32;
    case ScalarType::Double: return DType::f64;
    default: STD_TORCH_CHECK(false, name, " has a dtype that is not float16, bfloat16, float32 or float64");
  }
}

ScalarType scalar_type_of(DType dtype) {
  switch (dtype) {
    case DType::f16: return ScalarType::Half;
    case DType::bf16: return ScalarType::BFloat16;
    case DType::f32: return ScalarType::Float;
    case DType::f64: return ScalarType::Double;
  }
  return ScalarType::Float;
}

Place::Place(const char* name, const Tensor& t) : is_cuda_(t.is_cuda()), index_(is_cuda_ ? t.get_device_index() : 0) {
  STD_TORCH_CHECK(is_cuda_ || t.is_cpu(), name, " must be on the CPU or a CUDA device");
}

Tensor Place::empty(const int64_t* sizes, std::size_t dimensions, ScalarType type) const {
  std::array<int64_t, 3> strides;
  STD_TORCH_CHECK(dimensions <= strides.size(), "too many dimensions");
  int64_t elements = 1;
  for (std::size_t i = dimensions; i-- > 0; elements *= std::max<int64_t>(sizes[i], 1)) strides[i] = elements;
  AtenTensorHandle handle = nullptr;  // straight from the allocator: a call of aten::empty takes a microsecond more
  const auto error = aoti_torch_empty_strided(static_cast<int64_t>(dimensions), sizes, strides.data(), torch_type(type),
                                              is_cuda_ ? aoti_torch_device_type_cuda() : aoti_torch_device_type_cpu(),
                                              index_, &handle);
  STD_TORCH_CHECK(error == 0, "no memory for ", elements * element_bytes(type), " bytes on ",
                  is_cuda_ ? "CUDA " : "CPU ", index_);
  return Tensor(handle);
}

void* Place::stream() const { return is_cuda_ ? current_cuda_stream(index_) : nullptr; }

void check(const Status& status) { STD_TORCH_CHECK(status.ok(), status.message()); }

bool goes_to_torch(const Place& place, const Status& status) {
  return place.is_cuda() && status.code() == StatusCode::unsupported;
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

MaybeTensor scratch(const Place& place, std::size_t bytes) {
  if (bytes == 0) return std::nullopt;
  Tensor memory = place.empty(std::array{static_cast<int64_t>(bytes + kWorkspaceAlignment)}, ScalarType::Byte);
  return place.is_cuda() ? memory : on_huge_pages(std::move(memory));
}

Execution execution_of(const Place& place, const MaybeTensor& workspace) {
  return {.workspace = workspace ? aligned(*workspace) : Workspace{},
          .stream = place.stream(),
          .parallel = {.run = run_on_torch_threads}};
}

}  // namespace ffc::torch_binding
