// An ONNX model as the importer sees it: decoded from protobuf (read_model.h), checked for form, nothing converted yet.
//
// Names are as in the file. Tensors are constants of the core's types; what ONNX has and HAI has not (strings, sparse
// tensors, 8-bit floats, sequences) is refused while reading, by name.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ir/graph.h"

namespace hai::onnx_import {

struct OnnxTensor {
  DataType dtype = DataType::kF32;
  std::vector<int64_t> dims;
  std::shared_ptr<const ir::ConstantData> data;
};

struct OnnxGraph;

// A kind that no converter reads (sparse tensors, type protos, references of functions): kept so that its presence can
// be told.
struct OnnxOpaque {
  std::string kind;
};

using OnnxAttribute = std::variant<OnnxOpaque, int64_t, float, std::string, std::vector<int64_t>, std::vector<float>,
                                   std::vector<std::string>, OnnxTensor, std::shared_ptr<OnnxGraph>>;

struct OnnxNode {
  std::string op_type;
  std::string domain;  // "" for the standard operators, also where the file says "ai.onnx"
  std::string name;
  std::vector<std::string> inputs;  // "" where an optional input is left out
  std::vector<std::string> outputs;
  std::map<std::string, OnnxAttribute, std::less<>> attributes;
  // How messages call it: its name, or where it has none its first output.
  std::string label() const;
};

struct OnnxDim {
  int64_t value = -1;  // -1: unknown or symbolic
  std::string symbol;  // dim_param
};

struct OnnxInput {
  std::string name;
  DataType dtype = DataType::kF32;
  bool has_shape = false;
  std::vector<OnnxDim> dims;
};

struct OnnxGraph {
  std::string name;
  std::vector<OnnxNode> nodes;
  std::vector<OnnxInput> inputs;  // initializers that are also listed as inputs are left out
  std::vector<std::string> outputs;
  std::map<std::string, OnnxTensor, std::less<>> initializers;
};

// A function that the model brings along: its body replaces the node that calls it.
struct OnnxFunction {
  std::string name;
  std::string domain;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  std::vector<OnnxNode> nodes;
  std::map<std::string, OnnxAttribute, std::less<>> defaults;
};

struct OnnxModel {
  OnnxGraph graph;
  std::vector<OnnxFunction> functions;
  std::map<std::string, int64_t, std::less<>> opsets;  // domain -> version
  std::map<std::string, std::string> metadata;
};

}  // namespace hai::onnx_import
