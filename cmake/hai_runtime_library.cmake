# libhai_runtime.so: the rooms base, types, format, cpu_exec and runtime behind the C ABI of include/hai/hai.h, nothing else
# (cpu_train_exec, the kernels that only training runs, stays out); libhai_training.so: the same with training.
get_target_property(runtime_type hai_runtime TYPE)

# What a device carries is kept small (the limit is 2 MB stripped): all but the kernels and the loops around them in
# devices/cpu/exec is cold code that checks, decodes and reports, and -Os more than halves it.
if(NOT HAI_SANITIZE)
  foreach(room base types format rebuild runtime training)
    get_target_property(room_type hai_${room} TYPE)
    if(NOT room_type STREQUAL "INTERFACE_LIBRARY")
      target_compile_options(hai_${room} PRIVATE $<$<CONFIG:Release>:-Os>)
    endif()
  endforeach()
  set_source_files_properties(${HAI_OPS_CPU_EXEC_SOURCES} PROPERTIES COMPILE_OPTIONS "$<$<CONFIG:Release>:-Os>")
endif()
if(NOT runtime_type STREQUAL "INTERFACE_LIBRARY")
  set(HAI_RUNTIME_SONAME 0)
  file(CONFIGURE OUTPUT "${HAI_GENERATED_DIR}/hai_runtime_exports.map" CONTENT "{ global: hai_*; local: *; };\n")
  file(CONFIGURE OUTPUT "${HAI_GENERATED_DIR}/hai_runtime_library.c" CONTENT
       "/* Generated: the library's code comes from the rooms' archives. */\ntypedef int hai_runtime_library;\n")
  function(hai_shared_library name)  # of the rooms' archives ARGN, those with the C interfaces first
    add_library(hai_${name}_shared SHARED "${HAI_GENERATED_DIR}/hai_runtime_library.c")
    set_target_properties(hai_${name}_shared PROPERTIES OUTPUT_NAME hai_${name} VERSION ${PROJECT_VERSION}
                          SOVERSION ${HAI_RUNTIME_SONAME} LINKER_LANGUAGE CXX LINK_DEPENDS "${HAI_GENERATED_DIR}/hai_runtime_exports.map")
    target_link_libraries(hai_${name}_shared PRIVATE ${ARGN})
    target_link_options(hai_${name}_shared PRIVATE -Wl,--gc-sections "-Wl,--version-script=${HAI_GENERATED_DIR}/hai_runtime_exports.map")
    if(NOT HAI_SANITIZE)
      target_link_options(hai_${name}_shared PRIVATE -Wl,-z,defs)
    endif()
    if(HAI_INSTALL_DEVELOPMENT)
      install(TARGETS hai_${name}_shared LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
    endif()
  endfunction()
  hai_shared_library(runtime -Wl,--whole-archive hai_runtime -Wl,--no-whole-archive hai_cpu_exec)
  # With training (hai_train.h): all of the runtime library and more, so a program links one of the two.
  hai_shared_library(training -Wl,--whole-archive hai_training hai_runtime -Wl,--no-whole-archive hai_cpu_train_exec hai_cpu_exec)
endif()
if(HAI_INSTALL_DEVELOPMENT AND EXISTS "${CMAKE_SOURCE_DIR}/include/hai")
  install(DIRECTORY "${CMAKE_SOURCE_DIR}/include/hai" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h*")
endif()
if(HAI_INSTALL_DEVELOPMENT)
  file(CONFIGURE OUTPUT "${HAI_GENERATED_DIR}/hai.pc" @ONLY CONTENT "prefix=\${pcfiledir}/../..
Name: hai
Description: Runs compiled neural networks (.hai files)
Version: @PROJECT_VERSION@
Cflags: -I\${prefix}/@CMAKE_INSTALL_INCLUDEDIR@
Libs: -L\${prefix}/@CMAKE_INSTALL_LIBDIR@ -lhai_runtime
")
  install(FILES "${HAI_GENERATED_DIR}/hai.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endif()
