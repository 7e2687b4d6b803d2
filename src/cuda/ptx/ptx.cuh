// One function an instruction; nothing else in the engine contains assembly. All run on sm_80 and later.
#pragma once

#include <cstdint>

namespace ffc::cuda {

using u32 = std::uint32_t;

__device__ __forceinline__ u32 shared_address(const void* p) { return static_cast<u32>(__cvta_generic_to_shared(p)); }

/// What lies at an address in shared memory.
template <class T>
__device__ __forceinline__ T& shared_at(u32 address) {
  return *static_cast<T*>(__cvta_shared_to_generic(address));
}

/// D[16, 8] = A[16, 16] B[16, 8], half in, half out, each sum rounded once. Lane 4g + t holds of A (g, 2t..), (g + 8,
/// 2t..), (g, 2t + 8..), (g + 8, 2t + 8..); of B (2t.., g), (2t + 8.., g); of D (g, 2t..), (g + 8, 2t..).
__device__ __forceinline__ void mma_16x8x16(u32& d0, u32& d1, u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm("{.reg .b32 z; mov.b32 z, 0; mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 "
      "{%0,%1},{%2,%3,%4,%5},{%6,%7},{z,z};}"
      : "=r"(d0), "=r"(d1)
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/// The same with the sums in fp32, not rounded: d0, d1 are (g, 2t), (g, 2t + 1), and d2, d3 eight rows on.
__device__ __forceinline__ void mma_16x8x16_wide(float& d0, float& d1, float& d2, float& d3, u32 a0, u32 a1, u32 a2,
                                                 u32 a3, u32 b0, u32 b1) {
  asm("{.reg .f32 z; mov.f32 z, 0f00000000; mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{z,z,z,z};}"
      : "=f"(d0), "=f"(d1), "=f"(d2), "=f"(d3)
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/// D[16, 8] = A[16, 8] B[8, 8].
__device__ __forceinline__ void mma_16x8x8(u32& d0, u32& d1, u32 a0, u32 a1, u32 b0) {
  asm("{.reg .b32 z; mov.b32 z, 0; mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%0,%1},{%2,%3},{%4},{z,z};}"
      : "=r"(d0), "=r"(d1)
      : "r"(a0), "r"(a1), "r"(b0));
}

/// D += A[16, 8] B[8, 8] in fp32.
__device__ __forceinline__ void mma_16x8x8_add(float& d0, float& d1, float& d2, float& d3, u32 a0, u32 a1, u32 b0) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};"
      : "+f"(d0), "+f"(d1), "+f"(d2), "+f"(d3)
      : "r"(a0), "r"(a1), "r"(b0));
}

/// An 8 x 8 matrix of halves, transposed within the warp.
__device__ __forceinline__ u32 transpose_8x8(u32 m) {
  u32 r;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(m));
  return r;
}

/// Four 8 x 8 matrices of halves, transposed: lane i gives the address of row i % 8 of matrix i / 8.
__device__ __forceinline__ void load_matrices_transposed(u32 (&m)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(address)
               : "memory");
}

/// Four 8 x 8 matrices of halves: lane i gives the address of row i % 8 of matrix i / 8. On sm_80 word by word.
__device__ __forceinline__ void store_matrices(const u32 (&m)[4], u32 address) {
#if __CUDA_ARCH__ >= 900
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0],{%1,%2,%3,%4};" ::"r"(address), "r"(m[0]), "r"(m[1]),
               "r"(m[2]), "r"(m[3])
               : "memory");
#else
  const int lane = threadIdx.x & 31;
#pragma unroll
  for (int i = 0; i < 4; ++i) shared_at<u32>(__shfl_sync(~0u, address, 8 * i + lane / 4) + 4 * (lane & 3)) = m[i];
#endif
}
/// The same of their transposes.
__device__ __forceinline__ void store_matrices_transposed(const u32 (&m)[4], u32 address) {
#if __CUDA_ARCH__ >= 900
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0],{%1,%2,%3,%4};" ::"r"(address), "r"(m[0]),
               "r"(m[1]), "r"(m[2]), "r"(m[3])
               : "memory");
#else
  store_matrices({transpose_8x8(m[0]), transpose_8x8(m[1]), transpose_8x8(m[2]), transpose_8x8(m[3])}, address);
#endif
}

/// 16 bytes to shared memory, asynchronously: the first `bytes` from device memory, then zeros. Of none, `from` may be
/// anything.
__device__ __forceinline__ void copy_async(u32 to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits for all groups of this thread's copies but the last `PENDING`.
template <int PENDING = 0>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

/// Kernels of one call overlap at their ends: the next one may start, once all blocks of this one have come here ..
__device__ __forceinline__ void let_next_kernel_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
/// .. and here waits until the one before has ended and what it wrote can be read. Every block must come here.
__device__ __forceinline__ void wait_for_kernel_before() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// 16 bytes of device memory that stay in the second-level cache when others go.
__device__ __forceinline__ uint4 load_lasting(const uint4* from) {
  std::uint64_t lasting;
  uint4 v;
  asm("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(lasting));
  asm volatile("ld.global.L2::cache_hint.v4.u32 {%0,%1,%2,%3},[%4],%5;"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from), "l"(lasting)
               : "memory");
  return v;
}

/// The barrier of all threads of a cluster's blocks, in two halves that every thread calls in turn: what it has written
/// before it came, to device memory too, the others see after they have waited, if they load it with the function
/// below.
__device__ __forceinline__ void cluster_arrive() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void cluster_wait() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ uint4 load_of_cluster(const uint4* from) {
  uint4 v;
  asm volatile("ld.global.cg.v4.u32 {%0,%1,%2,%3},[%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from)
               : "memory");
  return v;
}

/// The same value, of which the compiler does not know that it is. Within a loop, what is computed from it is computed
/// there, and not kept in registers across the loop; before a loop, it is kept, and not computed again.
template <class T>
__device__ __forceinline__ T opaque(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

/// An address that is computed once for all that is at constant distances from it, and not for every access anew; where
/// there is none, not at all.
template <class T>
__device__ __forceinline__ T base(T address) {
  if constexpr (sizeof(T) == 8)
    asm("" : "+l"(address));
  else
    asm("" : "+r"(address));
  return address;
}

/// The barrier `id` (1 to 15) of `threads` threads.
__device__ __forceinline__ void barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

}  // namespace ffc::cuda
