# hai_toolkit's native module _core (python/**/*.cpp, nanobind). build/python/hai_toolkit becomes the package as an installed
# wheel has it: the module, its stub, and links to the Python sources, so that edits are live. ./dev puts build/python on the
# path of .venv; `pip install .` installs the same files through scikit-build-core.
set(Python_EXECUTABLE "${HAI_PYTHON}")
find_package(Python 3.11 REQUIRED COMPONENTS Interpreter Development.Module)
execute_process(COMMAND "${Python_EXECUTABLE}" -m nanobind --cmake_dir OUTPUT_STRIP_TRAILING_WHITESPACE
                OUTPUT_VARIABLE nanobind_ROOT RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "${Python_EXECUTABLE} has no package nanobind: run ./dev build, or set HAI_PYTHON")
endif()
find_package(nanobind CONFIG REQUIRED)

file(GLOB_RECURSE binding_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/python/*.cpp")
set(package_dir "${CMAKE_BINARY_DIR}/python/hai_toolkit")
add_custom_target(hai_python ALL
  COMMAND ${CMAKE_COMMAND} "-DFROM=${CMAKE_SOURCE_DIR}/python/hai_toolkit" "-DTO=${package_dir}"
          -P "${CMAKE_SOURCE_DIR}/cmake/link_python_package.cmake"
  VERBATIM)
if(binding_sources)
  nanobind_add_module(_core NB_STATIC NB_SUPPRESS_WARNINGS ${binding_sources})
  target_compile_options(nanobind-static PRIVATE -w)
  set_target_properties(_core PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${package_dir}")
  target_link_libraries(_core PRIVATE hai_all)
  target_link_options(_core PRIVATE -Wl,--gc-sections)
  nanobind_add_stub(_core_stub MODULE _core OUTPUT "${package_dir}/_core.pyi" PYTHON_PATH "${package_dir}" DEPENDS _core)
  add_dependencies(hai_python _core _core_stub)
  install(TARGETS _core LIBRARY DESTINATION hai_toolkit COMPONENT python EXCLUDE_FROM_ALL)
  install(FILES "${package_dir}/_core.pyi" DESTINATION hai_toolkit COMPONENT python EXCLUDE_FROM_ALL)
endif()
