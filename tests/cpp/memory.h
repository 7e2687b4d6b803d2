// Memory in which a stray write or read shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "flashfftconv/types.h"

namespace ffc::test {

/// What lies around a buffer: bytes whose change is noticed, or a page that stops the program when it is touched.
enum class Fence { margins, page_after, page_before };

/// Elements of one type, filled with NaN (every byte 0xff) at first. What is neither `own`ed nor `set` later than the
/// last `seal` must keep its bytes: margins, gaps between rows, and inputs.
class Buffer {
 public:
  Buffer(DType dtype, std::int64_t elements, Fence fence = Fence::margins);
  ~Buffer();
  Buffer(Buffer&&) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer& operator=(Buffer&&) = delete;

  void* at(std::int64_t element) { return data_ + element * static_cast<std::int64_t>(size_of(dtype_)); }
  const void* at(std::int64_t element) const { return data_ + element * static_cast<std::int64_t>(size_of(dtype_)); }
  double get(std::int64_t element) const;
  void set(std::int64_t element, double value);
  DType dtype() const { return dtype_; }
  std::int64_t elements() const { return elements_; }

  /// The library may write this element.
  void own(std::int64_t element);
  /// NaN again where the library may write.
  void forget();
  /// Remembers the bytes as they are.
  void seal();
  /// Whether all bytes that nobody owns are as they were sealed.
  bool intact() const;

 private:
  std::byte* owned(std::int64_t element) {
    return owned_.data() + (data_ - region_) + element * static_cast<std::int64_t>(size_of(dtype_));
  }

  DType dtype_;
  std::int64_t elements_;
  std::size_t mapped_ = 0;        // bytes from mmap, 0: the vector below
  std::byte* mapping_ = nullptr;  // start of the mapping
  std::vector<std::byte> storage_, sealed_, owned_;
  std::byte* region_ = nullptr;  // all bytes that may be looked at
  std::size_t region_bytes_ = 0;
  std::byte* data_ = nullptr;  // element 0
};

}  // namespace ffc::test
