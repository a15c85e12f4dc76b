# Libraries of the system. Nothing is ever downloaded here: ./dev installs what is missing, and an error names it.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

function(hai_find_library out package)
  find_library(HAI_LIBRARY_${out} NAMES ${ARGN})
  if(NOT HAI_LIBRARY_${out})
    message(FATAL_ERROR "library ${ARGN} not found: install ${package} (./dev does it)")
  endif()
  mark_as_advanced(HAI_LIBRARY_${out})
endfunction()

# libcrypto gives SHA-256. Static: the few objects needed are linked in, and a device needs no OpenSSL.
hai_find_library(crypto libssl-dev libcrypto.a)
add_library(hai_crypto INTERFACE)
target_link_libraries(hai_crypto INTERFACE "${HAI_LIBRARY_crypto}")

# libdeflate stores weights smaller. Static: the runtime takes its decoder alone, 11 KB.
hai_find_library(deflate libdeflate-dev libdeflate.a)
add_library(hai_compression INTERFACE)
target_link_libraries(hai_compression INTERFACE "${HAI_LIBRARY_deflate}")

# Pictures: the system's shared libraries on a host; static when cross compiling, so that an emulator needs no root file system.
add_library(hai_pictures INTERFACE)
if(CMAKE_CROSSCOMPILING)
  hai_find_library(turbojpeg libturbojpeg0-dev libturbojpeg.a)
  hai_find_library(png libpng-dev libpng.a)
  hai_find_library(z zlib1g-dev libz.a)
else()
  hai_find_library(turbojpeg libturbojpeg0-dev turbojpeg)
  hai_find_library(png libpng-dev png)
  hai_find_library(z zlib1g-dev z)
endif()
target_link_libraries(hai_pictures INTERFACE "${HAI_LIBRARY_turbojpeg}" "${HAI_LIBRARY_png}" "${HAI_LIBRARY_z}" m)

# The protobuf lite runtime: static in programs. Debian's archive is not position independent, so Python's module takes the shared one.
hai_find_library(protobuf_static libprotobuf-dev libprotobuf-lite.a)
add_library(hai_protobuf INTERFACE)
if(CMAKE_CROSSCOMPILING)
  target_link_libraries(hai_protobuf INTERFACE "${HAI_LIBRARY_protobuf_static}" Threads::Threads)
else()
  hai_find_library(protobuf_shared libprotobuf-dev protobuf-lite)
  target_link_libraries(
    hai_protobuf INTERFACE
    "$<IF:$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>,${HAI_LIBRARY_protobuf_static},${HAI_LIBRARY_protobuf_shared}>"
    Threads::Threads)
endif()

find_program(HAI_FLATC flatc)
find_program(HAI_PROTOC protoc)

# The Python that has the onnx wheel (its onnx-ml.proto is compiled) and nanobind.
if(NOT HAI_PYTHON)
  if(SKBUILD)  # pip's build: the Python that the package is built for
    set(default_python "${Python_EXECUTABLE}")
  elseif(DEFINED ENV{HAI_PYTHON})
    set(default_python "$ENV{HAI_PYTHON}")
  elseif(EXISTS "${CMAKE_SOURCE_DIR}/.venv/bin/python")
    set(default_python "${CMAKE_SOURCE_DIR}/.venv/bin/python")
  else()
    find_program(default_python NAMES python3 NO_CACHE)
  endif()
  set(HAI_PYTHON "${default_python}" CACHE FILEPATH "Python with the packages onnx and nanobind" FORCE)
endif()

if(HAI_BUILD_TESTS)
  if(CMAKE_CROSSCOMPILING)
    set(INSTALL_GTEST OFF CACHE INTERNAL "")
    add_subdirectory(/usr/src/googletest "${CMAKE_BINARY_DIR}/googletest" EXCLUDE_FROM_ALL)
    target_compile_options(gtest PRIVATE -w)
    target_compile_options(gtest_main PRIVATE -w)
    add_library(hai_gtest_main INTERFACE)
    target_link_libraries(hai_gtest_main INTERFACE gtest gtest_main)
  else()
    find_package(GTest REQUIRED)
    add_library(hai_gtest_main INTERFACE)
    target_link_libraries(hai_gtest_main INTERFACE GTest::gtest GTest::gtest_main)
  endif()
endif()
