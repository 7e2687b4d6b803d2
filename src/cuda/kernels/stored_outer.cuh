// A warp's constants of the outer transform in shared memory, for kernels whose registers are full: those of a
// direction are read when its turn comes, 16 bytes at a time.
#pragma once

#include "cuda/kernels/outer.cuh"

namespace ffc::cuda {

/// The constants of a direction in registers, with the names that they have in OuterTables.
template <class Outer>
struct HeldOuter {
  static constexpr bool kTurned = Outer::kTurned, kFolded = Outer::kFolded;
  static constexpr int U = Outer::U;
  struct Turns {
    const uint4* stored;
    __device__ __forceinline__ Phases get(int n5) const {
      const uint4 two = stored[32 * (n5 / 2)];
      return n5 % 2 == 0 ? Phases{two.x, two.y} : Phases{two.z, two.w};
    }
  };
  Stacked first, last;
  Phases between_forward[U], between_back[U], second_forward[U], second_back[U];
  Turns forward, inverse;
  u32 zero;

  __device__ __forceinline__ Phases between_inverse(int i) const { return between_back[i]; }
  __device__ __forceinline__ Phases second_inverse(int i) const { return second_back[i]; }
};

/// `Outer`: tables that lie in shared memory, the same for all warps.
template <class Outer>
struct StoredOuter {
  using At = typename Outer::LayoutType;
  using Held = HeldOuter<Outer>;
  static constexpr int U = Outer::U;
  static constexpr bool kSecond = At::O == 64;
  static constexpr int kStageBytes = 32 * sizeof(Phases), kSecondBytes = kSecond ? U * 32 * sizeof(uint4) : 0;
  static constexpr int kDirectionBytes = kStageBytes + kSecondBytes;
  static constexpr int kWarpBytes = 2 * kDirectionBytes, kBytes = At::W * kWarpBytes;

  unsigned char* forward_of_warp;
  unsigned char* inverse_of_warp;
  uint4* turns_forward;  // [n5 / 2][lane]
  uint4* turns_inverse;

  /// `memory`: kBytes of shared memory. Barriers; one must follow.
  __device__ __forceinline__ StoredOuter(unsigned char* memory, const Outer& outer, int warp, int lane)
      : forward_of_warp(memory + warp * kWarpBytes),
        inverse_of_warp(forward_of_warp + kDirectionBytes),
        turns_forward(reinterpret_cast<uint4*>(outer.forward.stored)),
        turns_inverse(reinterpret_cast<uint4*>(outer.inverse.stored)) {
    stage(forward_of_warp, lane) = {outer.first.c, outer.first.s};
    stage(inverse_of_warp, lane) = {outer.last.c, outer.last.s};
    if constexpr (kSecond)
#pragma unroll
      for (int i = 0; i < U; ++i) {
        second(forward_of_warp, i, lane) = both(outer.between_forward[i], outer.second_forward[i]);
        second(inverse_of_warp, i, lane) = both(outer.between_inverse(i), outer.second_inverse(i));
      }
    // The turns of two n5 side by side.
    __syncthreads();
    if (threadIdx.x >= 32) return;
    for (uint4* const turns : {turns_forward, turns_inverse}) {
      Phases held[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) held[i] = reinterpret_cast<const Phases*>(turns)[32 * i + lane];
      __syncwarp();
#pragma unroll
      for (int q = 0; q < 4; ++q) turns[32 * q + lane] = both(held[2 * q], held[2 * q + 1]);
    }
  }
  __device__ __forceinline__ Held forward(u32 zero, int lane) const {
    Held held;
    held.zero = zero;
    held.first = stacked(stage(forward_of_warp, lane), zero);
    if constexpr (kSecond)
#pragma unroll
      for (int i = 0; i < U; ++i)
        get(second(forward_of_warp, i, lane), held.between_forward[i], held.second_forward[i]);
    held.forward = {turns_forward + lane};
    return held;
  }
  __device__ __forceinline__ Held inverse(u32 zero, int lane) const {
    Held held;
    held.zero = zero;
    held.last = stacked(stage(inverse_of_warp, lane), zero);
    if constexpr (kSecond)
#pragma unroll
      for (int i = 0; i < U; ++i) get(second(inverse_of_warp, i, lane), held.between_back[i], held.second_back[i]);
    held.inverse = {turns_inverse + lane};
    return held;
  }

 private:
  __device__ static __forceinline__ uint4 both(Phases a, Phases b) { return make_uint4(a.c, a.s, b.c, b.s); }
  __device__ static __forceinline__ void get(uint4 v, Phases& a, Phases& b) { a = {v.x, v.y}, b = {v.z, v.w}; }
  __device__ static __forceinline__ Phases& stage(unsigned char* direction, int lane) {
    return reinterpret_cast<Phases*>(direction)[lane];
  }
  __device__ static __forceinline__ uint4& second(unsigned char* direction, int i, int lane) {
    return reinterpret_cast<uint4*>(direction + kStageBytes)[32 * i + lane];
  }
};

}  // namespace ffc::cuda
