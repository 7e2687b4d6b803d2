# What `cmake --install` installs for C++ users: the headers, the static library, and how CMake (find_package) and
# pkg-config find them. Both are relocatable: they look from where they lie.
include(CMakePackageConfigHelpers)

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/flashfftconv)
install(DIRECTORY include/flashfftconv DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT cpp FILES_MATCHING PATTERN "*.h")
install(TARGETS flashfftconv EXPORT flashfftconv ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cpp)
install(EXPORT flashfftconv NAMESPACE flashfftconv:: FILE flashfftconv-targets.cmake
  DESTINATION ${config_dir} COMPONENT cpp)

# Users link the CUDA runtime that the engine was built with; it is theirs to have, the library does not carry it.
set(FFC_CUDA_DEPENDENCY "")
set(pc_cuda "")
if(FFC_WITH_CUDA)
  set(FFC_CUDA_DEPENDENCY "find_dependency(CUDAToolkit ${CUDAToolkit_VERSION_MAJOR})")
  set(pc_cuda " -L${CUDAToolkit_LIBRARY_DIR} -lcudart_static -ldl -lrt")
endif()
configure_package_config_file(cmake/flashfftconv-config.cmake.in flashfftconv-config.cmake
  INSTALL_DESTINATION ${config_dir})
write_basic_package_version_file(flashfftconv-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/flashfftconv-config.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/flashfftconv-config-version.cmake DESTINATION ${config_dir} COMPONENT cpp)

# From the folder of the .pc file to the prefix, where the library's folder lies below it.
set(pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
  set(pc_prefix ${CMAKE_INSTALL_PREFIX})
  set(pc_libdir ${CMAKE_INSTALL_LIBDIR})
else()
  file(RELATIVE_PATH up /${pc_dir} /)
  set(pc_prefix "\${pcfiledir}/${up}")
  set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
endif()
set(pc_includedir ${CMAKE_INSTALL_INCLUDEDIR})
if(NOT IS_ABSOLUTE ${CMAKE_INSTALL_INCLUDEDIR})
  set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file(cmake/flashfftconv.pc.in flashfftconv.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/flashfftconv.pc DESTINATION ${pc_dir} COMPONENT cpp)
