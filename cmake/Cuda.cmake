# Decides whether the CUDA engine is built (FFC_WITH_CUDA), and provides add_cuda_engine(target).
#
#   FFC_CUDA  auto: where CMake finds a CUDA compiler of version 13 or newer; on: an error elsewhere; off: never
set(FFC_CUDA auto CACHE STRING "Build the CUDA engine: auto, on or off")
set_property(CACHE FFC_CUDA PROPERTY STRINGS auto on off)
set(FFC_CUDA_ARCHITECTURES "80-real;90-real;90-virtual" CACHE STRING
  "What the CUDA engine is compiled for, as CMAKE_CUDA_ARCHITECTURES takes it; newer GPUs run the virtual one")

option(FFC_CUDA_NO_SPILLS "Fail if a kernel of the CUDA engine spills registers or uses local memory" OFF)

set(ffc_cuda_oldest 13)

# Sets `variable` to what keeps the engine from being built, empty if nothing does.
function(ffc_find_cuda variable)
  if(FFC_SANITIZE OR CMAKE_CROSSCOMPILING)
    set(${variable} "sanitizers and cross compilation are for host code" PARENT_SCOPE)
    return()
  endif()
  if(CMAKE_VERSION VERSION_LESS 3.28)
    set(${variable} "CMake ${CMAKE_VERSION} does not know C++20 in CUDA sources; 3.28 does" PARENT_SCOPE)
    return()
  endif()
  include(CheckLanguage)
  set(CMAKE_MESSAGE_LOG_LEVEL WARNING)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    set(${variable} "no CUDA compiler was found; put nvcc into PATH or its file name into CUDACXX" PARENT_SCOPE)
    return()
  endif()
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --version OUTPUT_VARIABLE text ERROR_QUIET)
  string(REGEX MATCH "release ([0-9]+\\.[0-9]+)" found "${text}")
  if(NOT found OR CMAKE_MATCH_1 VERSION_LESS ffc_cuda_oldest)
    set(${variable} "${CMAKE_CUDA_COMPILER} is CUDA ${CMAKE_MATCH_1}; ${ffc_cuda_oldest} or newer is needed" PARENT_SCOPE)
  endif()
endfunction()

set(FFC_WITH_CUDA OFF)
string(TOLOWER "${FFC_CUDA}" ffc_cuda_wanted)
if(NOT ffc_cuda_wanted MATCHES "^(auto|on|off)$")
  message(FATAL_ERROR "FFC_CUDA is ${FFC_CUDA}; it must be auto, on or off")
endif()
if(NOT ffc_cuda_wanted STREQUAL "off")
  ffc_find_cuda(ffc_cuda_missing)
  if(NOT ffc_cuda_missing)
    set(FFC_WITH_CUDA ON)
    if(NOT CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES ${FFC_CUDA_ARCHITECTURES})
    endif()
    enable_language(CUDA)
    set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)  # a project that adds this one links them too
    find_package(CUDAToolkit ${ffc_cuda_oldest} REQUIRED)
    unset(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL)
  elseif(ffc_cuda_wanted STREQUAL "on")
    message(FATAL_ERROR "FFC_CUDA is ${FFC_CUDA}, but ${ffc_cuda_missing}")
  endif()
endif()
if(FFC_WITH_CUDA)
  message(STATUS "CUDA engine: for ${FFC_CUDA_ARCHITECTURES}")
elseif(ffc_cuda_missing)
  message(STATUS "CUDA engine: not built, ${ffc_cuda_missing}")
else()
  message(STATUS "CUDA engine: not built, FFC_CUDA is ${FFC_CUDA}")
endif()

# Adds the engine to a library of host code: its plan, its launch point, and each row of the table of sizes as sources of
# its own (instantiate_forward.cu, .._backward.cu, of rows aligned to 16 bytes and of any; instantiate_filter.cu), so that
# all cores compile at a time; likewise each type of samples of short convolutions.
#
# At level 2 of 0 to 10 (5 is what it does by itself) ptxas makes these kernels spill nothing, and at level 5 the others
# (sm_90, CUDA 13.0; forward_8192 would do without, but is 2 % faster): what it spills depends on all that a source
# holds. docs/PERFORMANCE.md has what it gained.
set(ffc_cuda_lower_level forward_256 forward_1024 forward_any_1024 forward_8192 forward_any_8192)
foreach(points 512 1024 2048 4096 8192)
  list(APPEND ffc_cuda_lower_level backward_${points} backward_any_${points})
endforeach()

function(add_cuda_engine target)
  set(folder ${PROJECT_SOURCE_DIR}/src/cuda)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${folder}/sizes.h)
  file(READ ${folder}/sizes.h table)
  string(REGEX MATCHALL "{[0-9]+, *[0-9]+, *[0-9]+, *[0-9]+}" rows "${table}")
  list(LENGTH rows count)
  if(count EQUAL 0)
    message(FATAL_ERROR "no row of the table was found in ${folder}/sizes.h")
  endif()
  math(EXPR last "${count} - 1")
  foreach(row RANGE ${last})
    list(GET rows ${row} size)
    string(REGEX MATCH "[0-9]+" points "${size}")
    foreach(kernels forward forward_any backward backward_any filter)
      set(source ${PROJECT_BINARY_DIR}/cuda/${kernels}_${points}.cu)
      string(REGEX MATCH "^[a-z]+" pass ${kernels})
      string(COMPARE EQUAL ${pass} ${kernels} aligned)
      file(CONFIGURE OUTPUT ${source} CONTENT
        "#define FFC_SIZE_ROW ${row}\n#define FFC_ALIGNED ${aligned}\n#include \"cuda/instantiate_${pass}.cu\"\n")
      target_sources(${target} PRIVATE ${source})
      set(options "")
      if(${kernels}_${points} IN_LIST ffc_cuda_lower_level)
        list(APPEND options "-Xptxas=--register-usage-level=2")
        list(REMOVE_ITEM ffc_cuda_lower_level ${kernels}_${points})
      endif()
      if(FFC_CUDA_NO_SPILLS)
        list(APPEND options "-Xptxas=--warn-on-spills,--warn-on-local-memory-usage,--warning-as-error")
      endif()
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${options}")
    endforeach()
  endforeach()
  if(ffc_cuda_lower_level)
    message(FATAL_ERROR "ffc_cuda_lower_level names sources that there are not: ${ffc_cuda_lower_level}")
  endif()
  foreach(type 0 1 2)  # of DType: f16, bf16, f32
    set(source ${PROJECT_BINARY_DIR}/cuda/short_${type}.cu)
    file(CONFIGURE OUTPUT ${source} CONTENT "#define FFC_SHORT_TYPE ${type}\n#include \"cuda/short/instantiate.cu\"\n")
    target_sources(${target} PRIVATE ${source})
    set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS
      "-Xptxas=--warn-on-spills,--warn-on-local-memory-usage,--warning-as-error")
  endforeach()
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp ${folder}/*.cu ${folder}/short/*.cu)
  list(REMOVE_ITEM sources ${folder}/instantiate_forward.cu ${folder}/instantiate_backward.cu
    ${folder}/instantiate_filter.cu ${folder}/short/instantiate.cu)
  target_sources(${target} PRIVATE ${sources})
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr> $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall>)
  set_target_properties(${target} PROPERTIES
    CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON CUDA_EXTENSIONS OFF
    CUDA_RUNTIME_LIBRARY Static CUDA_ARCHITECTURES "${FFC_CUDA_ARCHITECTURES}")
  string(REPLACE ";" ", " architectures "${FFC_CUDA_ARCHITECTURES}")
  target_compile_definitions(${target} PRIVATE FFC_CUDA=1 "FFC_CUDA_ARCHITECTURES=\"${architectures}\"")
  # Named, because a project without CUDA sources of its own links the runtime too.
  target_link_libraries(${target} PRIVATE CUDA::cudart_static)
endfunction()
