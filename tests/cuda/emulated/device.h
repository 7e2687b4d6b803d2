// A block of CUDA threads on the CPU, so that the engine's device code can be tested without a GPU: every thread is a
// coroutine, and the instructions by which threads exchange values (cuda/ptx/ptx.cuh beside this file, and the warp
// intrinsics below) make it wait for the others. What the kernels compute is the same, but for the order of additions
// in a tensor core.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#define __device__
#define __host__
#define __global__
#define __grid_constant__
#define __forceinline__ inline
#define __shared__
#define __align__(bytes)
#define __launch_bounds__(...)

struct uint2 {
  unsigned x, y;
};
struct uint4 {
  unsigned x, y, z, w;
};
struct float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }

namespace emulated {

struct Index {
  int x = 0;
};
extern Index thread_index, block_index, block_size, grid_size;

/// Runs `kernel` for every thread of every block, one block, or cluster of so many blocks, after another.
void launch(int blocks, int threads, const std::function<void()>& kernel, int blocks_of_cluster = 1);

/// Waits until all 32 lanes of the warp are here; until `threads` threads have come to barrier `id`.
void warp_barrier();
void block_barrier(int id, int threads);
/// The barrier of a cluster's threads in halves.
void cluster_arrive();
void cluster_wait();

/// 256 bytes of each lane of the warp, to hand values over.
void* lane_slot(int lane);
int lane();

/// The value of every lane.
template <class T>
struct All {
  T of[32];
};
template <class T>
All<T> all_lanes(T value) {
  static_assert(sizeof(T) <= 256, "a lane's slot");
  std::memcpy(lane_slot(lane()), &value, sizeof value);
  warp_barrier();
  All<T> all;
  for (int i = 0; i < 32; ++i) std::memcpy(&all.of[i], lane_slot(i), sizeof(T));
  warp_barrier();
  return all;
}

}  // namespace emulated

#define threadIdx emulated::thread_index
#define blockIdx emulated::block_index
#define blockDim emulated::block_size
#define gridDim emulated::grid_size

namespace ffc::cuda {
extern unsigned char shared[232448];
}

// ---- intrinsics

inline int __ffs(unsigned bits) { return __builtin_ffs(static_cast<int>(bits)); }
inline void __syncwarp() { emulated::warp_barrier(); }
inline void __syncthreads() { emulated::block_barrier(0, emulated::block_size.x); }

template <class T>
T __shfl_sync(unsigned, T value, int from) {
  return emulated::all_lanes(value).of[from & 31];
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulated::all_lanes(value).of[emulated::lane() ^ mask];
}
template <class T>
T __reduce_max_sync(unsigned, T value) {
  T largest = value;
  for (T v : emulated::all_lanes(value).of) largest = v > largest ? v : largest;
  return largest;
}
template <class T>
T __reduce_add_sync(unsigned, T value) {
  T sum = 0;
  for (T v : emulated::all_lanes(value).of) sum += v;
  return sum;
}
inline unsigned __ballot_sync(unsigned, bool value) {
  unsigned bits = 0;
  const emulated::All<bool> all = emulated::all_lanes(value);
  for (int i = 0; i < 32; ++i) bits |= static_cast<unsigned>(all.of[i]) << i;
  return bits;
}
inline bool __any_sync(unsigned mask, bool value) { return __ballot_sync(mask, value) != 0; }

template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
void __stcs(T* p, T value) {
  *p = value;
}

inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const std::uint64_t both = static_cast<std::uint64_t>(b) << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) result |= static_cast<unsigned>(both >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  return result;
}
inline unsigned __float_as_uint(float a) {
  unsigned bits;
  std::memcpy(&bits, &a, 4);
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float a;
  std::memcpy(&a, &bits, 4);
  return a;
}
inline float __int_as_float(int bits) { return __uint_as_float(static_cast<unsigned>(bits)); }
inline int __float2int_rn(float a) { return static_cast<int>(std::nearbyint(a)); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float a) { return std::exp(a); }
inline void __sincosf(float a, float* s, float* c) { *s = std::sin(a), *c = std::cos(a); }
inline int min(int a, int b) { return a < b ? a : b; }
template <class T>
T max(T a, T b) {
  return a > b ? a : b;
}
