# Doctest's header, as the target ffc_doctest: the system's, that in FFC_DOCTEST_DIR, or Debian's package fetched and
# unpacked below the build folder, which needs no root.
find_path(FFC_DOCTEST_DIR doctest/doctest.h HINTS ${FFC_HIGHWAY_DIR} DOC "Folder that holds doctest/doctest.h")
if(NOT FFC_DOCTEST_DIR)
  set(fetched ${CMAKE_BINARY_DIR}/doctest)
  file(MAKE_DIRECTORY ${fetched})
  execute_process(COMMAND apt-get download doctest-dev WORKING_DIRECTORY ${fetched} RESULT_VARIABLE failed ERROR_VARIABLE why)
  file(GLOB package ${fetched}/doctest-dev_*.deb)
  if(failed OR NOT package)
    message(FATAL_ERROR "doctest (doctest/doctest.h) was not found and could not be fetched: ${why}\n"
      "Install doctest-dev, set FFC_DOCTEST_DIR to the folder that holds doctest/doctest.h, or set FFC_BUILD_TESTS to OFF.")
  endif()
  execute_process(COMMAND dpkg -x ${package} ${fetched} COMMAND_ERROR_IS_FATAL ANY)
  set(FFC_DOCTEST_DIR ${fetched}/usr/include CACHE PATH "Folder that holds doctest/doctest.h" FORCE)
endif()

add_library(ffc_doctest INTERFACE)
target_include_directories(ffc_doctest SYSTEM INTERFACE ${FFC_DOCTEST_DIR})
