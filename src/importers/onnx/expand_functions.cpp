// Model-local functions: inlined before anything is converted.
//
// Method: repeated passes over the node list; each call is replaced by the function's nodes with fresh names for what
// they write, the call's own names for inputs and outputs, and the call's attributes where the body refers to them.
// Functions that call themselves are refused; depth and size are limited. Functions have no subgraphs to rename here: a
// body that has one is refused.
#include "importers/onnx/expand_functions.h"

#include <fmt/format.h>

#include <unordered_map>

namespace hai::onnx_import {
namespace {

constexpr int kMaxDepth = 32;
constexpr size_t kMaxNodes = 50000;

using Functions = std::map<std::pair<std::string, std::string>, const OnnxFunction*>;

Result<OnnxNode> instantiate(const OnnxNode& body, const OnnxNode& call, const OnnxFunction& function,
                             const std::unordered_map<std::string, std::string>& names, const std::string& prefix) {
  OnnxNode node = body;
  node.name = prefix + body.label();
  const auto rename = [&](std::string& name) {
    if (name.empty()) return;
    const auto it = names.find(name);
    name = it != names.end() ? it->second : prefix + name;
  };
  for (std::string& input : node.inputs) rename(input);
  for (std::string& output : node.outputs) rename(output);
  for (auto it = node.attributes.begin(); it != node.attributes.end();) {
    if (std::holds_alternative<std::shared_ptr<OnnxGraph>>(it->second)) {
      return make_error(StatusCode::kUnsupported, "X065",
                        "function \"{}\" has a node \"{}\" with a graph of its own, which is not supported; inline the "
                        "model's functions (onnx.inliner) before importing",
                        function.name, body.label());
    }
    const auto* opaque = std::get_if<OnnxOpaque>(&it->second);
    if (opaque == nullptr || opaque->kind.empty() || opaque->kind[0] != '@') {
      ++it;
      continue;
    }
    const std::string key = opaque->kind.substr(1);
    const auto given = call.attributes.find(key);
    const auto fallback = function.defaults.find(key);
    if (given != call.attributes.end()) {
      it->second = given->second;
      ++it;
    } else if (fallback != function.defaults.end()) {
      it->second = fallback->second;
      ++it;
    } else {
      it = node.attributes.erase(it);
    }
  }
  return node;
}

Status expand_call(const OnnxNode& call, const OnnxFunction& function, size_t number, std::vector<OnnxNode>& out) {
  const std::string prefix = fmt::format("{}.{}/", call.label(), number);
  std::unordered_map<std::string, std::string> names;
  for (size_t i = 0; i < function.inputs.size(); ++i) {
    names[function.inputs[i]] = i < call.inputs.size() ? call.inputs[i] : std::string();
  }
  for (size_t i = 0; i < function.outputs.size() && i < call.outputs.size(); ++i) {
    if (names.count(function.outputs[i]) != 0) {
      return make_error(
          StatusCode::kUnsupported, "X066",
          "function \"{}\" returns its input \"{}\", which is not supported; inline the model's functions "
          "(onnx.inliner) before importing",
          function.name, function.outputs[i]);
    }
    if (!call.outputs[i].empty()) names[function.outputs[i]] = call.outputs[i];
  }
  for (const OnnxNode& body : function.nodes) {
    HAI_TRY(OnnxNode node, instantiate(body, call, function, names, prefix));
    out.push_back(std::move(node));
  }
  return {};
}

// Functions that call each other in a circle: what is left when those that call nothing open are taken away in turn.
Status check_recursion(const OnnxModel& model, const Functions& functions) {
  std::map<const OnnxFunction*, size_t> open_calls;
  std::map<const OnnxFunction*, std::vector<const OnnxFunction*>> callers;
  std::vector<const OnnxFunction*> done;
  for (const OnnxFunction& function : model.functions) {
    for (const OnnxNode& node : function.nodes) {
      const auto it = functions.find({node.domain, node.op_type});
      if (it == functions.end()) continue;
      ++open_calls[&function];
      callers[it->second].push_back(&function);
    }
    if (open_calls[&function] == 0) done.push_back(&function);
  }
  for (size_t i = 0; i < done.size(); ++i) {
    for (const OnnxFunction* caller : callers[done[i]]) {
      if (--open_calls[caller] == 0) done.push_back(caller);
    }
  }
  for (const auto& [function, calls] : open_calls) {
    if (calls == 0) continue;
    return make_error(StatusCode::kCorrupt, "X068", "function \"{}\" calls itself, directly or through others",
                      function->name);
  }
  return {};
}

}  // namespace

Status expand_functions(OnnxModel& model) {
  if (model.functions.empty()) return {};
  Functions functions;
  for (const OnnxFunction& function : model.functions) functions[{function.domain, function.name}] = &function;
  HAI_TRY_STATUS(check_recursion(model, functions));
  for (int depth = 0;; ++depth) {
    std::vector<OnnxNode> expanded;
    bool changed = false;
    for (OnnxNode& node : model.graph.nodes) {
      const auto it = functions.find({node.domain, node.op_type});
      if (it == functions.end()) {
        expanded.push_back(std::move(node));
        continue;
      }
      changed = true;
      HAI_TRY_STATUS(expand_call(node, *it->second, expanded.size(), expanded));
      if (depth >= kMaxDepth || expanded.size() > kMaxNodes) {
        return make_error(StatusCode::kUnsupported, "X067",
                          "function \"{}\": functions are nested deeper than {} or make more than {} nodes",
                          it->second->name, kMaxDepth, kMaxNodes);
      }
    }
    model.graph.nodes = std::move(expanded);
    if (!changed) return {};
  }
}

}  // namespace hai::onnx_import
