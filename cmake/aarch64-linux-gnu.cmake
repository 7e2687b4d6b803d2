# Builds for AArch64 on another machine, and runs what is built under qemu-user.
# Debian: apt-get install g++-aarch64-linux-gnu qemu-user
#
#   cmake -S . -B build/neon -G Ninja --toolchain cmake/aarch64-linux-gnu.cmake -DFFC_BUILD_EXAMPLES=OFF
#   cmake --build build/neon && ctest --test-dir build/neon -L neon
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

set(sysroot /usr/aarch64-linux-gnu)
find_program(FFC_QEMU NAMES qemu-aarch64 qemu-aarch64-static)
if(FFC_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${FFC_QEMU} -L ${sysroot})
endif()

# Headers of this machine's own system must not be found: its C library's lie among them.
set(CMAKE_FIND_ROOT_PATH ${sysroot})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
