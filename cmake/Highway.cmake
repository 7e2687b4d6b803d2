# Highway's headers, as the target ffc_highway. Nothing of Highway is linked: the choice of instruction set is ours.
include(${CMAKE_CURRENT_LIST_DIR}/DebianHeaders.cmake)
find_debian_headers(FFC_HIGHWAY_DIR hwy/highway.h libhwy-dev " 1.0.3 or newer")

add_library(ffc_highway INTERFACE)
target_include_directories(ffc_highway SYSTEM INTERFACE ${FFC_HIGHWAY_DIR})
# AVX-512, AVX2, NEON and portable code; what lies between them is not worth its size. HWY_SSE4, HWY_SSSE3, HWY_SVE*.
target_compile_definitions(ffc_highway INTERFACE
  "HWY_DISABLED_TARGETS=(HWY_SSE4|HWY_SSSE3|HWY_SVE|HWY_SVE2|HWY_SVE_256|HWY_SVE2_128|HWY_AVX3_DL)")
