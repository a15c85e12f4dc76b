# Cross build for Arm64 on an x86-64 Debian: g++-aarch64-linux-gnu, tests under qemu's user mode.
# HAI_ARM64_SYSROOT holds the few arm64 libraries and shared headers; .ci/arm64_sysroot.sh makes it.
# The environment variable QEMU_CPU names the CPU that qemu shows: cortex-a72 has no dot product, neoverse-n1 has it, max has
# i8mm too.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

get_filename_component(hai_root "${CMAKE_CURRENT_LIST_DIR}" DIRECTORY)
set(HAI_ARM64_SYSROOT "${hai_root}/.cache/arm64-sysroot" CACHE PATH "Folder with arm64 libraries and headers")
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES HAI_ARM64_SYSROOT)
if(NOT EXISTS "${HAI_ARM64_SYSROOT}/usr/include")
  message(FATAL_ERROR "no arm64 libraries in ${HAI_ARM64_SYSROOT}: run .ci/arm64_sysroot.sh first")
endif()

set(CMAKE_C_STANDARD_INCLUDE_DIRECTORIES "${HAI_ARM64_SYSROOT}/usr/include" "${HAI_ARM64_SYSROOT}/usr/include/aarch64-linux-gnu")
set(CMAKE_CXX_STANDARD_INCLUDE_DIRECTORIES ${CMAKE_C_STANDARD_INCLUDE_DIRECTORIES})
set(CMAKE_FIND_ROOT_PATH "${HAI_ARM64_SYSROOT}" /usr/aarch64-linux-gnu)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -L /usr/aarch64-linux-gnu)
