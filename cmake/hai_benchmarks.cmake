# Micro-benchmarks: bench/kernels/*.cpp -> build/bin/kernel_bench; bench/training/step_profile.cpp -> build/bin/step_profile.
# Not part of `all`: ninja kernel_bench step_profile.
find_package(benchmark QUIET)
file(GLOB kernel_bench_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/bench/kernels/*.cpp")
if(benchmark_FOUND AND kernel_bench_sources)
  add_executable(kernel_bench EXCLUDE_FROM_ALL ${kernel_bench_sources})
  target_link_libraries(kernel_bench PRIVATE hai_cpu_exec benchmark::benchmark)
endif()

add_executable(step_profile EXCLUDE_FROM_ALL "${CMAKE_SOURCE_DIR}/bench/training/step_profile.cpp")
target_link_libraries(step_profile PRIVATE hai_all)
