# Code generated from schemas: FlatBuffers for the .hai file (src/format/*.fbs), protobuf for ONNX.
file(GLOB schemas CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/format/*.fbs")
add_library(hai_format_schema INTERFACE)
target_include_directories(hai_format_schema SYSTEM INTERFACE "${HAI_GENERATED_DIR}/flatbuffers")
if(schemas)
  if(NOT HAI_FLATC)
    message(FATAL_ERROR "flatc not found: install flatbuffers-compiler (./dev does it)")
  endif()
  set(headers "")
  foreach(schema IN LISTS schemas)
    get_filename_component(name "${schema}" NAME_WE)
    set(header "${HAI_GENERATED_DIR}/flatbuffers/format/${name}_generated.h")
    add_custom_command(
      OUTPUT "${header}"
      COMMAND "${HAI_FLATC}" --cpp --cpp-std c++17 --scoped-enums --gen-mutable -I "${CMAKE_SOURCE_DIR}/src/format"
              -o "${HAI_GENERATED_DIR}/flatbuffers/format" "${schema}"
      DEPENDS ${schemas}
      COMMENT "flatc ${name}.fbs"
      VERBATIM)
    list(APPEND headers "${header}")
  endforeach()
  add_custom_target(hai_format_schema_headers DEPENDS ${headers})
  add_dependencies(hai_format_schema hai_format_schema_headers)
endif()

# ONNX: the schema comes from the installed wheel of the project's Python, so that no copy of it is kept here.
add_library(hai_onnx_schema INTERFACE)
file(GLOB onnx_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/importers/onnx/*.cpp")
if(onnx_sources)
  if(NOT HAI_PROTOC)
    message(FATAL_ERROR "protoc not found: install protobuf-compiler (./dev does it)")
  endif()
  execute_process(
    COMMAND "${HAI_PYTHON}" -c "import importlib.util as u, os; s = u.find_spec('onnx'); print(os.path.join(os.path.dirname(s.origin), 'onnx-ml.proto') if s else '')"
    OUTPUT_VARIABLE onnx_proto OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(failed OR NOT EXISTS "${onnx_proto}")
    message(FATAL_ERROR "HAI_PYTHON (${HAI_PYTHON}) has no package 'onnx', whose onnx-ml.proto the importer needs: run ./dev build, "
                        "or configure with -DHAI_PYTHON=<python with onnx>")
  endif()
  set(proto_dir "${HAI_GENERATED_DIR}/protobuf/onnx")
  add_custom_command(
    OUTPUT "${proto_dir}/onnx-ml.pb.cc" "${proto_dir}/onnx-ml.pb.h"
    COMMAND ${CMAKE_COMMAND} -E make_directory "${proto_dir}"
    COMMAND ${CMAKE_COMMAND} -E copy "${onnx_proto}" "${proto_dir}/onnx-ml.proto"
    COMMAND "${HAI_PROTOC}" "--proto_path=${proto_dir}" "--cpp_out=lite:${proto_dir}" onnx-ml.proto
    DEPENDS "${onnx_proto}"
    COMMENT "protoc onnx-ml.proto"
    VERBATIM)
  add_library(hai_onnx_proto STATIC "${proto_dir}/onnx-ml.pb.cc")
  target_compile_options(hai_onnx_proto PRIVATE -w)
  target_include_directories(hai_onnx_proto SYSTEM INTERFACE "${HAI_GENERATED_DIR}/protobuf")
  target_link_libraries(hai_onnx_proto PUBLIC hai_protobuf)
  target_link_libraries(hai_onnx_schema INTERFACE hai_onnx_proto)
endif()
