# Highway's headers, as the target ffc_highway: the system's, those in FFC_HIGHWAY_DIR, or Debian's package fetched and
# unpacked below the build folder, which needs no root. Nothing of Highway is linked: the choice of instruction set is ours.
find_path(FFC_HIGHWAY_DIR hwy/highway.h DOC "Folder that holds hwy/highway.h")
if(NOT FFC_HIGHWAY_DIR)
  set(fetched ${CMAKE_BINARY_DIR}/highway)
  file(MAKE_DIRECTORY ${fetched})
  execute_process(COMMAND apt-get download libhwy-dev WORKING_DIRECTORY ${fetched} RESULT_VARIABLE failed ERROR_VARIABLE why)
  file(GLOB package ${fetched}/libhwy-dev_*.deb)
  if(failed OR NOT package)
    message(FATAL_ERROR "Highway (hwy/highway.h) was not found and could not be fetched: ${why}\n"
      "Install libhwy-dev 1.0.3 or newer, or set FFC_HIGHWAY_DIR to the folder that holds hwy/highway.h.")
  endif()
  execute_process(COMMAND dpkg -x ${package} ${fetched} COMMAND_ERROR_IS_FATAL ANY)
  set(FFC_HIGHWAY_DIR ${fetched}/usr/include CACHE PATH "Folder that holds hwy/highway.h" FORCE)
endif()

add_library(ffc_highway INTERFACE)
target_include_directories(ffc_highway SYSTEM INTERFACE ${FFC_HIGHWAY_DIR})
# AVX-512, AVX2, NEON and portable code; what lies between them is not worth its size. HWY_SSE4, HWY_SSSE3, HWY_SVE*.
target_compile_definitions(ffc_highway INTERFACE
  "HWY_DISABLED_TARGETS=(HWY_SSE4|HWY_SSSE3|HWY_SVE|HWY_SVE2|HWY_SVE_256|HWY_SVE2_128|HWY_AVX3_DL)")
