// The kernel table of one instruction set and compute type.
#if defined(FFC_CPU_SIMD_TABLE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFC_CPU_SIMD_TABLE_INL_H_
#undef FFC_CPU_SIMD_TABLE_INL_H_
#else
#define FFC_CPU_SIMD_TABLE_INL_H_
#endif

#include "cpu/simd/direct-inl.h"
#include "cpu/simd/spectral-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ffc::cpu {
namespace HWY_NAMESPACE {

// Calls Family::operation<Io>(arguments ...) for the family of the algorithm and the element type of the rows.
#define FFC_WITH_ROW_TYPE(shape, operation, ...)                                                  \
  do {                                                                                            \
    if constexpr (std::is_same_v<T, double>) {                                                    \
      Family::template operation<double>(shape, __VA_ARGS__);                                     \
    } else {                                                                                      \
      switch ((shape).problem.dtype) {                                                            \
        case DType::f16: Family::template operation<hwy::float16_t>(shape, __VA_ARGS__); break;   \
        case DType::bf16: Family::template operation<hwy::bfloat16_t>(shape, __VA_ARGS__); break; \
        default: Family::template operation<float>(shape, __VA_ARGS__); break;                    \
      }                                                                                           \
    }                                                                                             \
  } while (false)

template <typename T>
struct Entries {
  using D = hn::ScalableTag<T>;

  static void prepare(const Shape<T>& s, const ConstTaps& k, const ConstTaps& k_rev, std::int64_t h, T* spectrum,
                      T* scratch) {
    if (s.algorithm == Algorithm::direct)
      Direct<D>::prepare(s, k, k_rev, h, spectrum, scratch);
    else
      Spectral<D>::prepare(s, k, k_rev, h, spectrum, scratch);
  }
  template <class Family>
  static void forward_of(const Shape<T>& s, const ForwardArguments& a, std::int64_t h, std::int64_t begin,
                         std::int64_t end, const T* spectrum, T* scratch) {
    FFC_WITH_ROW_TYPE(s, forward, a, h, begin, end, spectrum, scratch);
  }
  static void forward(const Shape<T>& s, const ForwardArguments& a, std::int64_t h, std::int64_t begin,
                      std::int64_t end, const T* spectrum, T* scratch) {
    if (s.algorithm == Algorithm::direct)
      forward_of<Direct<D>>(s, a, h, begin, end, spectrum, scratch);
    else
      forward_of<Spectral<D>>(s, a, h, begin, end, spectrum, scratch);
  }
  template <class Family>
  static void backward_of(const Shape<T>& s, const BackwardArguments& a, std::int64_t h, std::int64_t begin,
                          std::int64_t end, const T* spectrum, T* sums, T* scratch) {
    FFC_WITH_ROW_TYPE(s, backward, a, h, begin, end, spectrum, sums, scratch);
  }
  static void backward(const Shape<T>& s, const BackwardArguments& a, std::int64_t h, std::int64_t begin,
                       std::int64_t end, const T* spectrum, T* sums, T* scratch) {
    if (s.algorithm == Algorithm::direct)
      backward_of<Direct<D>>(s, a, h, begin, end, spectrum, sums, scratch);
    else
      backward_of<Spectral<D>>(s, a, h, begin, end, spectrum, sums, scratch);
  }
  static void finish(const Shape<T>& s, const BackwardArguments& a, std::int64_t h, T* sums, std::int64_t slices) {
    if (s.algorithm == Algorithm::direct)
      Direct<D>::finish(s, a, h, sums, slices);
    else
      Spectral<D>::finish(s, a, h, sums, slices);
  }
};
#undef FFC_WITH_ROW_TYPE

template <typename T>
const Kernels<T>* kernels_here(const char* target) {
  static const Kernels<T> table = {target,
                                   static_cast<int>(kLanesOf<hn::ScalableTag<T>>),
                                   &Entries<T>::prepare,
                                   &Entries<T>::forward,
                                   &Entries<T>::backward,
                                   &Entries<T>::finish};
  return &table;
}

}  // namespace HWY_NAMESPACE
}  // namespace ffc::cpu
HWY_AFTER_NAMESPACE();

#endif
