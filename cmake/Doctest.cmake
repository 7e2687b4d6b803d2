# Doctest's header, as the target ffc_doctest.
include(${CMAKE_CURRENT_LIST_DIR}/DebianHeaders.cmake)
find_debian_headers(FFC_DOCTEST_DIR doctest/doctest.h doctest-dev ", set FFC_BUILD_TESTS to OFF")

add_library(ffc_doctest INTERFACE)
target_include_directories(ffc_doctest SYSTEM INTERFACE ${FFC_DOCTEST_DIR})
