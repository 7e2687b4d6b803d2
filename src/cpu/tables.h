// Twiddle factors of one transform, made in double and rounded once.
//
// The transform reduces a polynomial x(z) modulo z^M = e(shift), e(a) = exp(2 pi i a), along a tree. A node of m points
// holds x modulo z^m = e(a); its children, for a radix R, hold it modulo z^(m/R) = e((a + c) / R). Every node's
// twiddles are constants of the node, so no level above the vectors loads a twiddle per point. Children of the root
// come in the order c = 0, 1, .., those of a radix-4 node in the order c = 0, 2, 1, 3 of two binary splits.
//   shift 1/4: right-angle, z^M = i.   shift 0: circular, z^M = 1.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "algo/sizes.h"

namespace ffc::cpu {

template <typename T>
struct Aligned {
  using value_type = T;
  static constexpr std::align_val_t kAlignment{128};
  Aligned() = default;
  template <typename U>
  Aligned(const Aligned<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kAlignment)); }
  void deallocate(T* p, std::size_t) { ::operator delete(p, kAlignment); }
  template <typename U>
  bool operator==(const Aligned<U>&) const {
    return true;
  }
};
template <typename T>
using AlignedVector = std::vector<T, Aligned<T>>;

template <typename T>
struct Tables {
  TransformSize size;
  int lanes = 0;
  double shift = 0;
  int first = 0;  // inside a vector's worth of points: radix `first` (1, 2 or 4), then radix `last`
  int last = 0;   // min(lanes, 4)

  // [c][j][re, im], c, j < root: e(j (shift + c) / root)
  AlignedVector<T> root;
  // a level: [node][kNode]: e(a / 4) as re, im, then e(a / 2) and e(3 a / 4)
  static constexpr int kNode = 6;
  std::vector<AlignedVector<T>> levels;
  // [group of `lanes` blocks][vectors][lane = block]: the first stage's twiddles, then the last's of child 0
  AlignedVector<T> lane;
  // [child of the first stage][4]: what turns child 0's twiddles of the last stage into the child's
  AlignedVector<T> child;

  int lane_vectors() const { return stage_vectors(first) + stage_vectors(last); }
  static constexpr int stage_vectors(int radix) { return radix == 4 ? 4 : radix == 2 ? 2 : 0; }
};

// Shared between the plans that use the same size.
template <typename T>
std::shared_ptr<const Tables<T>> make_tables(TransformSize size, int lanes, double shift);

}  // namespace ffc::cpu
