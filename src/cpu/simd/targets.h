// Included once by each .cpp of this folder, after its instruction sets: the choice between them at run time, for the
// table FFC_KERNELS that FFC_KERNELS_HERE makes.
#include <cstdlib>
#include <cstring>
#include <string>

#include "cpu/chosen.h"

namespace ffc::cpu {
namespace {

struct Target {
  const char* name;
  bool supported;
  const FFC_KERNELS* (*kernels)(const char*);
};

// Best first. Detection is the compiler's: what it may emit for the target must be what the machine has.
const Target* targets(int& count) {
  static const Target list[] = {
#if HWY_TARGETS & HWY_AVX3
      {"avx512",
       __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd"),
       &N_AVX3::FFC_KERNELS_HERE},
#endif
#if HWY_TARGETS & HWY_AVX2
      {"avx2",
       __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
           __builtin_cpu_supports("f16c"),
       &N_AVX2::FFC_KERNELS_HERE},
#endif
#if HWY_TARGETS & HWY_NEON
      {"neon", true, &N_NEON::FFC_KERNELS_HERE},
#endif
#if HWY_TARGETS & HWY_EMU128
      {"scalar", true, &N_EMU128::FFC_KERNELS_HERE},
#endif
#if HWY_TARGETS & HWY_SCALAR
      {"scalar", true, &N_SCALAR::FFC_KERNELS_HERE},
#endif
  };
  count = sizeof(list) / sizeof(list[0]);
  return list;
}

// The best one where no name is given; an empty name is none, as scripts clear a variable.
const FFC_KERNELS* find(const char* name) {
  int count;
  const Target* list = targets(count);
  for (int i = 0; i < count; ++i)
    if (list[i].supported && (!name || !*name || !std::strcmp(list[i].name, name)))
      return list[i].kernels(list[i].name);
  return nullptr;
}

}  // namespace

template <>
const FFC_KERNELS* chosen() {
  static const FFC_KERNELS* chosen = find(std::getenv("FFC_CPU_TARGET"));
  return chosen;
}

template <>
const char* target_names<FFC_KERNELS>() {
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
