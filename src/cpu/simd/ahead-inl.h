// Memory that will be wanted soon, asked for while a transform is under way: what comes from far takes as long as a
// row's arithmetic, and a root that reads or writes four places at a time gives the processor nothing to foresee.
#if defined(FFC_CPU_SIMD_AHEAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFC_CPU_SIMD_AHEAD_INL_H_
#undef FFC_CPU_SIMD_AHEAD_INL_H_
#else
#define FFC_CPU_SIMD_AHEAD_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ffc::cpu {
namespace HWY_NAMESPACE {

class Ahead {
 public:
  // `count` elements of `element` bytes; null: nothing.
  void add(const void* row, std::int64_t element, std::int64_t count) {
    if (row) rows_[count_++] = {static_cast<const char*>(row), element, count};
  }
  // Elements [at, at + points) of every row, as far as it goes: into the second cache, the first is full of the field.
  HWY_INLINE void operator()(std::int64_t at, std::int64_t points) const {
    for (int i = 0; i < count_; ++i) {
      const Row& row = rows_[i];
      const std::int64_t end = HWY_MIN(at + points, row.count) * row.element;
      for (std::int64_t byte = at * row.element; byte < end; byte += kLine) __builtin_prefetch(row.data + byte, 0, 2);
    }
  }

 private:
  static constexpr std::int64_t kLine = 64;
  struct Row {
    const char* data;
    std::int64_t element, count;
  };
  Row rows_[16];  // a pair's four inputs and three gradients, and two filters' taps
  int count_ = 0;
};

}  // namespace HWY_NAMESPACE
}  // namespace ffc::cpu
HWY_AFTER_NAMESPACE();

#endif
