// For tests: a compiled network whose program can be changed, and runs of it with faults, through the public interface.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "compiler/compile.h"
#include "devices/sd3403/isa/command.h"
#include "devices/sd3403/simulator/install.h"
#include "format/model.h"
#include "hai/hai.hpp"
#include "ops/interpreter.h"

namespace hai::testing {

inline const bool kNpuInstalled = sd3403::install_simulator();

// A file as bytes, with the model that reads them.
class NpuFile {
 public:
  explicit NpuFile(const format::ModelFile& file) : file_(file) { write(); }

  const std::string& error() const { return error_; }

  // The program's first instruction "npu".
  format::Instruction& instruction() {
    for (format::Program& program : file_.programs) {
      for (format::Instruction& one : program.instructions) {
        if (one.kernel == "npu") return one;
      }
    }
    ADD_FAILURE() << "the network has nothing on the NPU";
    return file_.programs.at(0).instructions.at(0);
  }
  // The bytes of its commands (operand 0) or of its constants (1), to be changed.
  std::vector<std::byte> bytes(size_t operand) {
    const format::ProgramTensor& tensor = tensor_of(operand);
    for (const format::WeightPiece& piece : file_.weights) {
      if (piece.offset_bytes == tensor.offset_bytes) return {piece.bytes.begin(), piece.bytes.end()};
    }
    ADD_FAILURE() << "no bytes for operand " << operand;
    return {};
  }
  void set_bytes(size_t operand, std::vector<std::byte> bytes) {
    const format::ProgramTensor& tensor = tensor_of(operand);
    own_.push_back(std::move(bytes));
    for (format::WeightPiece& piece : file_.weights) {
      if (piece.offset_bytes == tensor.offset_bytes) piece.bytes = own_.back();
    }
    write();
  }
  std::vector<sd3403::Command> commands() {
    const int64_t count = element_count(tensor_of(0).shape)->value;
    const std::vector<std::byte> words = bytes(0);
    return sd3403::decode_words(std::span(words).first(static_cast<size_t>(count))).value();
  }
  // As many as there were.
  void set_commands(std::span<const sd3403::Command> commands) {
    std::vector<std::byte> words = bytes(0);
    const std::vector<std::byte> encoded = sd3403::encode_words(commands);
    std::copy(encoded.begin(), encoded.end(), words.begin());
    set_bytes(0, std::move(words));
  }

  api::Result<api::Model> model() const { return api::Model::load(file_bytes_.data(), file_bytes_.size()); }
  api::Result<api::Session> session(std::vector<std::string> inject = {}, int threads = 1) const {
    auto model = this->model();
    if (!model.has_value()) return model.error();
    api::SessionOptions options;
    options.device = "sd3403";
    options.threads = threads;
    options.inject = std::move(inject);
    return model->session(options);
  }

 private:
  const format::ProgramTensor& tensor_of(size_t operand) {
    const format::Instruction& npu = instruction();
    for (const format::Program& program : file_.programs) {
      for (const format::Instruction& one : program.instructions) {
        if (&one == &npu) return program.tensors[npu.inputs[operand]];
      }
    }
    return file_.programs.at(0).tensors.at(0);
  }
  void write() {
    auto bytes = format::serialize(file_);
    if (bytes) {
      file_bytes_ = std::move(*bytes);
    } else {
      error_ = bytes.error().to_string();
    }
  }

  format::ModelFile file_;
  std::vector<std::vector<std::byte>> own_;
  std::vector<std::byte> file_bytes_;
  std::string error_;
};

// Inputs for one sample, each byte from the seed; 0: all zero.
inline std::vector<api::Tensor> inputs_of(const NpuFile& file, uint32_t seed, int64_t batch = 1) {
  std::vector<api::Tensor> inputs;
  std::mt19937 random(seed);
  const auto model = file.model();
  for (size_t i = 0; model.has_value() && i < model->input_count(); ++i) {
    auto input = model->make_input(i, batch);
    if (!input.has_value()) break;
    auto* bytes = static_cast<unsigned char*>(input->data());
    for (size_t k = 0; seed != 0 && k < input->size_bytes(); ++k) bytes[k] = static_cast<unsigned char>(random());
    inputs.push_back(std::move(*input));
  }
  return inputs;
}

// One run with faults: what became of them, its outputs where it gave any, else the error.
struct FaultRun {
  nlohmann::json faults;
  std::vector<api::Tensor> outputs;
  std::string error;

  std::string verdict(size_t fault = 0) const { return faults.at(fault).at("verdict"); }
};

inline FaultRun run_with(const NpuFile& file, std::vector<std::string> inject, const std::vector<api::Tensor>& inputs) {
  FaultRun out;
  auto session = file.session(std::move(inject));
  if (!session.has_value()) {
    out.error = session.error().message;
    return out;
  }
  auto outputs = session->run(inputs);
  if (outputs.has_value()) {
    out.outputs = std::move(*outputs);
  } else {
    out.error = outputs.error().message;
  }
  const auto report = session->fault_report();
  if (report.has_value()) out.faults = nlohmann::json::parse(*report);
  return out;
}

}  // namespace hai::testing
