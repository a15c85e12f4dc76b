# The headers that cost most, parsed once for the libraries that include them and once for all tests (whose code is placed
# in another way). Never in the ordinary tree, where a source that forgets an include must not compile.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)  # for ccache
endif()
file(WRITE "${HAI_GENERATED_DIR}/precompiled.cpp" "int main() {}\n")
add_library(hai_precompiled_for_libraries OBJECT "${HAI_GENERATED_DIR}/precompiled.cpp")
add_executable(hai_precompiled_for_programs EXCLUDE_FROM_ALL "${HAI_GENERATED_DIR}/precompiled.cpp")
set(headers <algorithm> <functional> <map> <memory> <optional> <random> <span> <string> <vector> <fmt/format.h>
            <nlohmann/json.hpp>)
target_precompile_headers(hai_precompiled_for_libraries PRIVATE ${headers})
target_precompile_headers(hai_precompiled_for_programs PRIVATE ${headers} <gtest/gtest.h>)
target_link_libraries(hai_precompiled_for_programs PRIVATE hai_gtest_main)
get_property(targets DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
foreach(target IN LISTS targets)
  get_target_property(kind ${target} TYPE)
  get_target_property(definitions ${target} COMPILE_DEFINITIONS)
  # A target with definitions of its own cannot share headers that were parsed without them.
  if(definitions OR target MATCHES "kernels|proto|schema|precompiled")
  elseif(kind STREQUAL "STATIC_LIBRARY" AND target MATCHES "^hai_" AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")  # gcc gains nothing
    target_precompile_headers(${target} REUSE_FROM hai_precompiled_for_libraries)
  elseif(kind STREQUAL "EXECUTABLE" AND target MATCHES "_test$")
    target_precompile_headers(${target} REUSE_FROM hai_precompiled_for_programs)
  endif()
endforeach()
