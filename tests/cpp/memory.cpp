#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>
#include <utility>

#include "flashfftconv/plan.h"
#include "numbers.h"

namespace ffc::test {
namespace {

constexpr std::byte kPoison{0xff};  // NaN in every type
constexpr std::size_t kMargin = 4 * kWorkspaceAlignment;

std::size_t round_up(std::size_t value, std::size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

Buffer::Buffer(DType dtype, std::int64_t elements, Fence fence) : dtype_(dtype), elements_(elements) {
  const std::size_t bytes = static_cast<std::size_t>(elements) * size_of(dtype);
  if (fence == Fence::margins) {
    region_bytes_ = bytes + 2 * kMargin;
    storage_.resize(region_bytes_ + kWorkspaceAlignment);
    const std::size_t skew = reinterpret_cast<std::uintptr_t>(storage_.data()) % kWorkspaceAlignment;
    region_ = storage_.data() + (skew ? kWorkspaceAlignment - skew : 0);
    data_ = region_ + kMargin;
  } else {
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    region_bytes_ = round_up(bytes ? bytes : 1, page);
    mapped_ = region_bytes_ + 2 * page;
    void* mapping = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) throw std::runtime_error("mmap failed");
    mapping_ = static_cast<std::byte*>(mapping);
    region_ = mapping_ + page;
    if (mprotect(region_, region_bytes_, PROT_READ | PROT_WRITE)) throw std::runtime_error("mprotect failed");
    data_ = fence == Fence::page_before ? region_ : region_ + region_bytes_ - bytes;
  }
  std::memset(region_, static_cast<int>(kPoison), region_bytes_);
  owned_.assign(region_bytes_, std::byte{0});
  seal();
}

Buffer::Buffer(Buffer&& other) noexcept
    : dtype_(other.dtype_),
      elements_(other.elements_),
      mapped_(std::exchange(other.mapped_, 0)),
      mapping_(other.mapping_),
      storage_(std::move(other.storage_)),
      sealed_(std::move(other.sealed_)),
      owned_(std::move(other.owned_)),
      region_(other.region_),
      region_bytes_(other.region_bytes_),
      data_(other.data_) {}

Buffer::~Buffer() {
  if (mapped_) munmap(mapping_, mapped_);
}

double Buffer::get(std::int64_t element) const { return decode(dtype_, at(element)); }
void Buffer::set(std::int64_t element, double value) { encode(dtype_, value, at(element)); }
void Buffer::own(std::int64_t element) { std::memset(owned(element), 1, size_of(dtype_)); }
void Buffer::seal() { sealed_.assign(region_, region_ + region_bytes_); }

void Buffer::forget() {
  for (std::size_t i = 0; i < region_bytes_; ++i)
    if (owned_[i] != std::byte{0}) region_[i] = kPoison;
}

bool Buffer::intact() const {
  for (std::size_t i = 0; i < region_bytes_; ++i)
    if (owned_[i] == std::byte{0} && region_[i] != sealed_[i]) return false;
  return true;
}

}  // namespace ffc::test
