// A warp's constants of the outer transform in shared memory, for kernels whose registers are full: those of a
// direction are read back when its turn comes.
#pragma once

#include "cuda/kernels/outer.cuh"

namespace ffc::cuda {

/// FORWARD: of both directions; else of the inverse alone.
template <class Outer, bool FORWARD>
struct StoredOuter {
  using At = typename Outer::LayoutType;
  static constexpr int U = Outer::U;
  static constexpr bool kSecond = At::O == 64;
  static constexpr int kStageBytes = 32 * sizeof(Phases), kSecondBytes = kSecond ? U * 32 * sizeof(uint4) : 0;
  static constexpr int kDirectionBytes = kStageBytes + kSecondBytes;
  static constexpr int kWarpBytes = (FORWARD ? 2 : 1) * kDirectionBytes, kBytes = At::W * kWarpBytes;

  unsigned char* inverse;  // of this warp
  unsigned char* forward;

  __device__ __forceinline__ StoredOuter(unsigned char* memory, int warp)
      : inverse(memory + warp * kWarpBytes), forward(inverse + kDirectionBytes) {}
  __device__ __forceinline__ void set(const Outer& outer, int lane) const {
    stage(inverse, lane) = {outer.last.c, outer.last.s};
    if constexpr (FORWARD) stage(forward, lane) = {outer.first.c, outer.first.s};
    if constexpr (kSecond)
#pragma unroll
      for (int i = 0; i < U; ++i) {
        second(inverse, i, lane) = both(outer.between_inverse[i], outer.second_inverse[i]);
        if constexpr (FORWARD) second(forward, i, lane) = both(outer.between_forward[i], outer.second_forward[i]);
      }
  }
  __device__ __forceinline__ void get_forward(Outer& outer, int lane) const {
    static_assert(FORWARD, "stored");
    outer.first = stacked(stage(forward, lane), outer.zero);
    if constexpr (kSecond)
#pragma unroll
      for (int i = 0; i < U; ++i) get(second(forward, i, lane), outer.between_forward[i], outer.second_forward[i]);
  }
  __device__ __forceinline__ void get_inverse(Outer& outer, int lane) const {
    outer.last = stacked(stage(inverse, lane), outer.zero);
    if constexpr (kSecond)
#pragma unroll
      for (int i = 0; i < U; ++i) get(second(inverse, i, lane), outer.between_inverse[i], outer.second_inverse[i]);
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
