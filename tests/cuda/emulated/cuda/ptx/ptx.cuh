// The functions of src/cuda/ptx/ptx.cuh, for a block of threads on the CPU.
#pragma once

#include <cstdint>
#include <cstring>

#include "cuda_fp16.h"
#include "device.h"

namespace ffc::cuda {

using u32 = std::uint32_t;

inline void let_next_kernel_start() {}
inline void wait_for_kernel_before() {}

inline u32 shared_address(const void* p) { return static_cast<u32>(static_cast<const unsigned char*>(p) - shared); }

template <class T>
T& shared_at(u32 address) {
  return *reinterpret_cast<T*>(shared + address);
}

namespace emulation {
inline float element(u32 word, int i) {
  return static_cast<float>(__ushort_as_half(static_cast<unsigned short>(word >> 16 * (i & 1))));
}
inline u32 pair(float a, float b) {
  const __half2 h = __floats2half2_rn(a, b);
  u32 word;
  std::memcpy(&word, &h, 4);
  return word;
}
struct Operands {
  u32 a[4], b[2];
};
// This lane's rows g and g + 8 of D = A B of depth 8 or 16, from the registers of all lanes.
inline void product(float (&d)[2][2], const Operands& own, int depth) {
  const emulated::All<Operands> all = emulated::all_lanes(own);
  const int g = emulated::lane() >> 2, t = emulated::lane() & 3;
  auto a = [&](int row, int k) { return element(all.of[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2], k); };
  auto b = [&](int k, int column) { return element(all.of[column * 4 + k % 8 / 2].b[k / 8], k); };
  for (int row = 0; row < 2; ++row)
    for (int column = 0; column < 2; ++column) {
      d[row][column] = 0;
      for (int k = 0; k < depth; ++k) d[row][column] += a(g + 8 * row, k) * b(k, 2 * t + column);
    }
}
inline void product(u32& d0, u32& d1, const Operands& own, int depth) {
  float d[2][2];
  product(d, own, depth);
  d0 = pair(d[0][0], d[0][1]), d1 = pair(d[1][0], d[1][1]);
}
}  // namespace emulation

inline void mma_16x8x16(u32& d0, u32& d1, u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  emulation::product(d0, d1, {{a0, a1, a2, a3}, {b0, b1}}, 16);
}
inline void mma_16x8x16_wide(float& d0, float& d1, float& d2, float& d3, u32 a0, u32 a1, u32 a2, u32 a3, u32 b0,
                             u32 b1) {
  float d[2][2];
  emulation::product(d, {{a0, a1, a2, a3}, {b0, b1}}, 16);
  d0 = d[0][0], d1 = d[0][1], d2 = d[1][0], d3 = d[1][1];
}
inline void mma_16x8x8(u32& d0, u32& d1, u32 a0, u32 a1, u32 b0) {
  emulation::product(d0, d1, {{a0, a1, 0, 0}, {b0, 0}}, 8);
}

inline void mma_16x8x8_add(float& d0, float& d1, float& d2, float& d3, u32 a0, u32 a1, u32 b0) {
  float d[2][2];
  emulation::product(d, {{a0, a1, 0, 0}, {b0, 0}}, 8);
  d0 += d[0][0], d1 += d[0][1], d2 += d[1][0], d3 += d[1][1];
}

inline u32 transpose_8x8(u32 m) {
  const emulated::All<u32> all = emulated::all_lanes(m);
  const int g = emulated::lane() >> 2, t = emulated::lane() & 3;
  auto at = [&](int row, int column) { return emulation::element(all.of[row * 4 + column / 2], column); };
  return emulation::pair(at(2 * t, g), at(2 * t + 1, g));
}

inline void load_matrices_transposed(u32 (&m)[4], u32 address) {
  const emulated::All<u32> all = emulated::all_lanes(address);
  const int g = emulated::lane() >> 2, t = emulated::lane() & 3;
  for (int i = 0; i < 4; ++i) {
    std::uint16_t halves[2];
    for (int j = 0; j < 2; ++j) std::memcpy(&halves[j], shared + all.of[8 * i + 2 * t + j] + 2 * g, 2);
    m[i] = halves[0] | static_cast<u32>(halves[1]) << 16;
  }
}

inline void store_matrices(const u32 (&m)[4], u32 address) {
  const emulated::All<u32> all = emulated::all_lanes(address);
  const int g = emulated::lane() >> 2, t = emulated::lane() & 3;
  for (int i = 0; i < 4; ++i) std::memcpy(shared + all.of[8 * i + g] + 4 * t, &m[i], 4);
}
inline void store_matrices_transposed(const u32 (&m)[4], u32 address) {
  store_matrices({transpose_8x8(m[0]), transpose_8x8(m[1]), transpose_8x8(m[2]), transpose_8x8(m[3])}, address);
}

inline void copy_async(u32 to, const void* from, int bytes) {
  std::memset(shared + to, 0, 16);
  if (bytes) std::memcpy(shared + to, from, bytes);
}
inline void copy_async_commit() {}
template <int PENDING = 0>
inline void copy_async_wait() {}

template <class T>
T opaque(T value) {
  return value;
}
template <class T>
T base(T address) {
  return address;
}
inline void barrier(int id, int threads) { emulated::block_barrier(id, threads); }
inline void cluster_arrive() { emulated::cluster_arrive(); }
inline void cluster_wait() { emulated::cluster_wait(); }
inline uint4 load_of_cluster(const uint4* from) { return *from; }
inline uint4 load_lasting(const uint4* from) { return *from; }

}  // namespace ffc::cuda
