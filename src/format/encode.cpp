// Encoding of programs and of the small sections as FlatBuffers.
//
// Deterministic: tables are built in the order of the program, maps in the order of their keys, nothing is shared, and
// FlatBuffers pads with zeros. Scalars of attributes are always stored, since a field equal to its default is left out
// otherwise and -0.0 is equal to 0.0.
#include <cstring>

#include "format/codec.h"
#include "format/model_generated.h"
#include "format/program_generated.h"

namespace hai::format {
namespace {

using Builder = flatbuffers::FlatBufferBuilder;
template <typename T>
using Offset = flatbuffers::Offset<T>;

std::vector<std::byte> take_bytes(const Builder& builder) {
  std::vector<std::byte> bytes(builder.GetSize());
  std::memcpy(bytes.data(), builder.GetBufferPointer(), bytes.size());
  return bytes;
}

Offset<fb::Quantization> encode(Builder& builder, const std::optional<Quantization>& quantization) {
  if (!quantization) return 0;
  const auto scales = builder.CreateVector(quantization->scales);
  const auto zero_points = builder.CreateVector(quantization->zero_points);
  return fb::CreateQuantization(builder, scales, zero_points, quantization->axis, quantization->block);
}

Offset<fb::Tensor> encode(Builder& builder, const ProgramTensor& tensor) {
  std::vector<fb::Dim> dims;
  dims.reserve(tensor.shape.size());
  for (const Dim& dim : tensor.shape) dims.emplace_back(dim.value, dim.symbol);
  const auto name = builder.CreateString(tensor.name);
  const auto shape = builder.CreateVectorOfStructs(dims);
  const auto quantization = encode(builder, tensor.quantization);
  return fb::CreateTensor(builder, name, static_cast<uint8_t>(tensor.dtype), static_cast<uint8_t>(tensor.place),
                          tensor.index, tensor.offset_bytes, shape, quantization);
}

struct AttributeEncoder {
  Builder& builder;
  Offset<flatbuffers::String> key;

  Offset<fb::Attribute> operator()(int64_t value) const {
    return fb::CreateAttribute(builder, key, fb::AttributeKind::Int, value);
  }
  Offset<fb::Attribute> operator()(double value) const {
    return fb::CreateAttribute(builder, key, fb::AttributeKind::Float, 0, value);
  }
  Offset<fb::Attribute> operator()(const std::string& value) const {
    const auto text = builder.CreateString(value);
    return fb::CreateAttribute(builder, key, fb::AttributeKind::String, 0, 0, text);
  }
  Offset<fb::Attribute> operator()(const std::vector<int64_t>& value) const {
    const auto ints = builder.CreateVector(value);
    return fb::CreateAttribute(builder, key, fb::AttributeKind::Ints, 0, 0, 0, ints);
  }
  Offset<fb::Attribute> operator()(const std::vector<double>& value) const {
    const auto floats = builder.CreateVector(value);
    return fb::CreateAttribute(builder, key, fb::AttributeKind::Floats, 0, 0, 0, 0, floats);
  }
};

Offset<fb::Instruction> encode(Builder& builder, const Instruction& instruction) {
  std::vector<Offset<fb::Attribute>> attributes;
  attributes.reserve(instruction.attributes.size());
  builder.ForceDefaults(true);
  for (const auto& [key, value] : instruction.attributes) {
    attributes.push_back(std::visit(AttributeEncoder{builder, builder.CreateString(key)}, value));
  }
  builder.ForceDefaults(false);
  const auto kernel = builder.CreateString(instruction.kernel);
  const auto name = builder.CreateString(instruction.name);
  const auto inputs = builder.CreateVector(instruction.inputs);
  const auto outputs = builder.CreateVector(instruction.outputs);
  const auto all = builder.CreateVector(attributes);
  return fb::CreateInstruction(builder, kernel, name, inputs, outputs, all, instruction.macs);
}

}  // namespace

std::vector<std::byte> encode_program(const Program& program) {
  Builder builder(4096);
  std::vector<Offset<fb::Symbol>> symbols;
  for (const Symbol& symbol : program.symbols) {
    symbols.push_back(fb::CreateSymbol(builder, builder.CreateString(symbol.name), symbol.min, symbol.max));
  }
  std::vector<Offset<fb::Tensor>> tensors;
  tensors.reserve(program.tensors.size());
  for (const ProgramTensor& tensor : program.tensors) tensors.push_back(encode(builder, tensor));
  std::vector<Offset<fb::Instruction>> instructions;
  instructions.reserve(program.instructions.size());
  for (const Instruction& instruction : program.instructions) instructions.push_back(encode(builder, instruction));
  const auto device = builder.CreateString(program.device);
  const auto all_symbols = builder.CreateVector(symbols);
  const auto all_tensors = builder.CreateVector(tensors);
  const auto all_instructions = builder.CreateVector(instructions);
  const auto inputs = builder.CreateVector(program.inputs);
  const auto outputs = builder.CreateVector(program.outputs);
  std::vector<Offset<fb::State>> states;
  states.reserve(program.states.size());
  for (const ProgramState& state : program.states)
    states.push_back(fb::CreateState(builder, state.tensor, state.is_parameter, state.offset_bytes));
  const auto all_states = states.empty() ? 0 : builder.CreateVector(states);
  fb::FinishProgramBuffer(builder, fb::CreateProgram(builder, device, all_symbols, all_tensors, all_instructions,
                                                     inputs, outputs, program.per_sample_bytes, program.fixed_bytes,
                                                     program.arena_lower_bound_bytes, all_states));
  return take_bytes(builder);
}

std::vector<std::byte> encode_preprocessing(const Preprocessing& preprocessing) {
  Builder builder(512);
  const auto input = builder.CreateString(preprocessing.input);
  const auto mean = builder.CreateVector(preprocessing.mean.data(), preprocessing.mean.size());
  const auto scale = builder.CreateVector(preprocessing.scale.data(), preprocessing.scale.size());
  builder.Finish(fb::CreatePreprocessing(
      builder, input, preprocessing.width, preprocessing.height, static_cast<uint8_t>(preprocessing.color_order),
      static_cast<uint8_t>(preprocessing.layout), static_cast<uint8_t>(preprocessing.resize_rule),
      static_cast<uint8_t>(preprocessing.interpolation), preprocessing.resize_size, mean, scale,
      preprocessing.pad_value));
  return take_bytes(builder);
}

std::vector<std::byte> encode_metadata(const Metadata& metadata) {
  Builder builder(1024);
  std::vector<Offset<fb::MetadataEntry>> entries;
  entries.reserve(metadata.entries.size());
  for (const auto& [key, value] : metadata.entries) {
    const auto key_text = builder.CreateString(key);
    const auto value_text = builder.CreateString(value);
    entries.push_back(fb::CreateMetadataEntry(builder, key_text, value_text));
  }
  const auto name = builder.CreateString(metadata.name);
  const auto all = builder.CreateVector(entries);
  builder.Finish(fb::CreateMetadata(builder, name, all));
  return take_bytes(builder);
}

}  // namespace hai::format
