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
  // [packet of `last` blocks][packet_size], for each packet: the first stage's twiddles, each as 128 bits of re and 128
  // of im that repeat along the vector (radix 4: e(a / 4), e(a / 2), e(3 a / 4); radix 2: e(a / 2) of its two pairs of
  // vectors); the last stage's, each as a vector of re and one of im (radix 4: e(a / 4), e(a / 2); radix 2: e(a / 2)).
  AlignedVector<T> packets;
  std::int64_t packet_size = 0;

  // Elements of a packet before the last stage's vectors, which are aligned.
  static constexpr int first_size(int first, int lanes) {
    const int twiddles = first == 4 ? 3 : first == 2 ? 2 : 0, repeated = 2 * 16 / static_cast<int>(sizeof(T));
    return (twiddles * repeated + lanes - 1) / lanes * lanes;
  }
};

// Shared between the plans that use the same size.
template <typename T>
std::shared_ptr<const Tables<T>> make_tables(TransformSize size, int lanes, double shift);

}  // namespace ffc::cpu
