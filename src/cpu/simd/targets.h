// Included once by each kernels_*.cpp, after its instruction sets: the choice between them at run time, for the type
// FFC_COMPUTE_TYPE.
#include <cstdlib>
#include <cstring>
#include <string>

namespace ffc::cpu {
namespace {

struct Target {
  const char* name;
  bool supported;
  const Kernels<FFC_COMPUTE_TYPE>* (*kernels)(const char*);
};

// Best first. Detection is the compiler's: what it may emit for the target must be what the machine has.
const Target* targets(int& count) {
  static const Target list[] = {
#if HWY_TARGETS & HWY_AVX3
      {"avx512",
       __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd"),
       &N_AVX3::kernels_here<FFC_COMPUTE_TYPE>},
#endif
#if HWY_TARGETS & HWY_AVX2
      {"avx2",
       __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
           __builtin_cpu_supports("f16c"),
       &N_AVX2::kernels_here<FFC_COMPUTE_TYPE>},
#endif
#if HWY_TARGETS & HWY_NEON
      {"neon", true, &N_NEON::kernels_here<FFC_COMPUTE_TYPE>},
#endif
#if HWY_TARGETS & HWY_EMU128
      {"scalar", true, &N_EMU128::kernels_here<FFC_COMPUTE_TYPE>},
#endif
#if HWY_TARGETS & HWY_SCALAR
      {"scalar", true, &N_SCALAR::kernels_here<FFC_COMPUTE_TYPE>},
#endif
  };
  count = sizeof(list) / sizeof(list[0]);
  return list;
}

// The best one where no name is given; an empty name is none, as scripts clear a variable.
const Kernels<FFC_COMPUTE_TYPE>* find(const char* name) {
  int count;
  const Target* list = targets(count);
  for (int i = 0; i < count; ++i)
    if (list[i].supported && (!name || !*name || !std::strcmp(list[i].name, name)))
      return list[i].kernels(list[i].name);
  return nullptr;
}

}  // namespace

template <>
const Kernels<FFC_COMPUTE_TYPE>* chosen_kernels() {
  static const Kernels<FFC_COMPUTE_TYPE>* chosen = find(std::getenv("FFC_CPU_TARGET"));
  return chosen;
}

template <>
const char* target_names<FFC_COMPUTE_TYPE>() {
  static const std::string names = [] {
    std::string all;
    int count;
    const Target* list = targets(count);
    for (int i = 0; i < count; ++i)
      if (list[i].supported) all += (all.empty() ? "" : ", ") + std::string(list[i].name);
    return all;
  }();
  return names.c_str();
}

}  // namespace ffc::cpu
