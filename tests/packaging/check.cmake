# cmake -D KIND=install|find_package|subdirectory|pkg_config .. -P check.cmake: one way to the library, tried from outside.
# WORK is an empty folder of ours; what is installed moves once, so that nothing may depend on where that was done.
set(prefix ${WORK}/moved)

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

if(KIND STREQUAL install)
  file(REMOVE_RECURSE ${WORK})
  run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/first --component cpp)
  file(RENAME ${WORK}/first ${prefix})
  # No folder of the machine that built it may be left in what a user reads.
  file(GLOB_RECURSE texts ${prefix}/*.cmake ${prefix}/*.pc)
  foreach(text ${texts})
    file(READ ${text} content)
    foreach(folder ${SOURCE} ${BUILD} ${WORK})
      string(FIND "${content}" "${folder}" found)
      if(NOT found EQUAL -1)
        message(FATAL_ERROR "${text} mentions ${folder}")
      endif()
    endforeach()
  endforeach()
elseif(KIND STREQUAL pkg_config)
  file(GLOB_RECURSE pc ${prefix}/flashfftconv.pc)
  cmake_path(GET pc PARENT_PATH pc_dir)
  set(ENV{PKG_CONFIG_PATH} ${pc_dir})
  execute_process(COMMAND ${PKG_CONFIG} --cflags --libs flashfftconv OUTPUT_VARIABLE flags
    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  run(${COMPILER} -std=c++20 ${SOURCE}/tests/packaging/client/main.cpp -o ${WORK}/by_pkg_config ${flags})
  run(${WORK}/by_pkg_config)
else()
  set(folder ${WORK}/by_${KIND})
  set(options -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_PREFIX_PATH=${prefix})
  if(KIND STREQUAL subdirectory)
    # One instruction set, not optimised, without CUDA: only the way to the library is tried.
    set(options -DFFC_SOURCE=${SOURCE} -DFFC_HIGHWAY_DIR=${HIGHWAY} -DCMAKE_CXX_COMPILER=${COMPILER} -DFFC_CUDA=off
      -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS=-DHWY_COMPILE_ONLY_STATIC)
  endif()
  run(${CMAKE_COMMAND} -S ${SOURCE}/tests/packaging/client -B ${folder} -G ${GENERATOR} ${options})
  run(${CMAKE_COMMAND} --build ${folder})
  run(${folder}/client)
endif()
