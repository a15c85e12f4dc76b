// Decoding of programs and of the small sections from hostile FlatBuffers bytes.
//
// Method: FlatBuffers' own verifier with explicit limits, and what it leaves out: the base must be aligned (64),
// vectors of 8-byte elements must be aligned (8), and, since two offsets may point at the same bytes, what is unfolded
// may not be more than what is there: every decoded byte is charged to a budget of the section's size. An encoder that
// shares nothing (ours) stays below it; a few kilobytes can then never become gigabytes. Not here: the meaning of the
// numbers (program_verifier.cpp).
#include <cstring>

#include "format/codec.h"
#include "format/model_generated.h"
#include "format/program_generated.h"

namespace hai::format {
namespace {

constexpr flatbuffers::uoffset_t kMaxDepth = 8;
constexpr flatbuffers::uoffset_t kMaxTables = 1 << 21;

class Decoder {
 public:
  explicit Decoder(size_t budget_bytes) : budget_bytes_(budget_bytes) {}

  // False once anything was wrong; the values decoded after that are meaningless.
  bool good() const { return good_; }

  std::string text(const flatbuffers::String* source) {
    if (source == nullptr || !charge(source->size(), 1)) return {};
    return std::string(source->data(), source->size());
  }

  template <typename T>
  std::vector<T> numbers(const flatbuffers::Vector<T>* source) {
    if (!usable(source)) return {};
    std::vector<T> values(source->size());
    std::memcpy(values.data(), source->Data(), values.size() * sizeof(T));
    return values;
  }

  // A vector of tables or structs, one by one.
  template <typename Vector, typename F>
  void each(const Vector* source, F&& visit) {
    if (!usable(source)) return;
    for (flatbuffers::uoffset_t i = 0; good_ && i < source->size(); ++i) visit(*source->Get(i));
  }

 private:
  bool charge(size_t count, size_t element_bytes) {
    if (!good_ || count > budget_bytes_ / element_bytes) return good_ = false;
    budget_bytes_ -= count * element_bytes;
    return true;
  }

  template <typename Vector>
  bool usable(const Vector* source) {
    if (source == nullptr || source->size() == 0) return false;
    using Element = typename Vector::return_type;
    constexpr size_t kElementBytes = std::is_pointer_v<Element> ? pointee_bytes<Element>() : sizeof(Element);
    if (alignment_of_elements<Element>() == 8 && reinterpret_cast<uintptr_t>(source->Data()) % 8 != 0)
      return good_ = false;
    return charge(source->size(), kElementBytes);
  }

  template <typename Element>
  static constexpr size_t alignment_of_elements() {
    using Pointee = std::remove_cv_t<std::remove_pointer_t<Element>>;
    return std::is_pointer_v<Element> && !std::is_same_v<Pointee, fb::Dim> ? 4 : alignof(Pointee);
  }

  // Structs lie in the vector; tables are behind an offset of 4 bytes and begin with one of 4 bytes more.
  template <typename Element>
  static constexpr size_t pointee_bytes() {
    using Pointee = std::remove_cv_t<std::remove_pointer_t<Element>>;
    return std::is_same_v<Pointee, fb::Dim> ? sizeof(fb::Dim) : 2 * sizeof(flatbuffers::uoffset_t);
  }

  size_t budget_bytes_;
  bool good_ = true;
};

Attribute decode_attribute(Decoder& decoder, const fb::Attribute& source) {
  switch (source.kind()) {
    case fb::AttributeKind::Int:
      return source.int_value();
    case fb::AttributeKind::Float:
      return source.float_value();
    case fb::AttributeKind::String:
      return decoder.text(source.string_value());
    case fb::AttributeKind::Ints:
      return decoder.numbers(source.ints());
    case fb::AttributeKind::Floats:
      return decoder.numbers(source.floats());
  }
  return int64_t{0};
}

// Numbers that name something must be one that this version knows; the error says which.
struct UnknownNumber {
  const char* what = nullptr;
  int64_t value = 0;
};

ProgramTensor decode_tensor(Decoder& decoder, const fb::Tensor& source, UnknownNumber& unknown) {
  ProgramTensor tensor;
  tensor.name = decoder.text(source.name());
  if (source.dtype() >= kDataTypeCount) unknown = {"data type", source.dtype()};
  if (source.place() > static_cast<uint8_t>(TensorPlace::kState)) unknown = {"tensor place", source.place()};
  tensor.dtype = static_cast<DataType>(source.dtype());
  tensor.place = static_cast<TensorPlace>(source.place());
  tensor.index = source.index();
  tensor.offset_bytes = source.offset_bytes();
  decoder.each(source.shape(), [&](const fb::Dim& dim) {
    if (dim.symbol() < -1 || dim.symbol() > INT32_MAX) unknown = {"symbol", dim.symbol()};
    tensor.shape.emplace_back(dim.value(), static_cast<int32_t>(dim.symbol()));
  });
  if (const fb::Quantization* quantization = source.quantization()) {
    tensor.quantization =
        Quantization{decoder.numbers(quantization->scales()), decoder.numbers(quantization->zero_points()),
                     quantization->axis(), quantization->block()};
  }
  return tensor;
}

Instruction decode_instruction(Decoder& decoder, const fb::Instruction& source, UnknownNumber& unknown) {
  Instruction instruction;
  instruction.kernel = decoder.text(source.kernel());
  instruction.name = decoder.text(source.name());
  instruction.inputs = decoder.numbers(source.inputs());
  instruction.outputs = decoder.numbers(source.outputs());
  instruction.macs = source.macs();
  decoder.each(source.attributes(), [&](const fb::Attribute& attribute) {
    if (attribute.kind() > fb::AttributeKind::MAX)
      unknown = {"kind of attribute", static_cast<int64_t>(attribute.kind())};
    instruction.attributes.insert_or_assign(decoder.text(attribute.key()), decode_attribute(decoder, attribute));
  });
  return instruction;
}

// Common beginning: alignment and FlatBuffers' verifier.
template <typename Table>
Result<const Table*> verified_root(std::span<const std::byte> bytes, const char* identifier) {
  HAI_CHECK(reinterpret_cast<uintptr_t>(bytes.data()) % 64 == 0);
  const auto* base = reinterpret_cast<const uint8_t*>(bytes.data());
  flatbuffers::Verifier verifier(base, bytes.size(), kMaxDepth, kMaxTables);
  if (bytes.size() < 8 || !verifier.VerifyBuffer<Table>(identifier)) {
    return make_error(StatusCode::kCorrupt, "F022", "the structure of the section is damaged; get the file again");
  }
  return flatbuffers::GetRoot<Table>(base);
}

Error shared_bytes_error() {
  return make_error(StatusCode::kCorrupt, "F023",
                    "the section unfolds to more than its size or has a misaligned vector; get the file again");
}

}  // namespace

Result<Program> decode_program(std::span<const std::byte> bytes) {
  HAI_TRY(const fb::Program* source, verified_root<fb::Program>(bytes, fb::ProgramIdentifier()));
  Decoder decoder(bytes.size());
  UnknownNumber unknown;
  Program program;
  program.device = decoder.text(source->device());
  decoder.each(source->symbols(), [&](const fb::Symbol& symbol) {
    program.symbols.push_back({decoder.text(symbol.name()), symbol.min(), symbol.max()});
  });
  decoder.each(source->tensors(),
               [&](const fb::Tensor& tensor) { program.tensors.push_back(decode_tensor(decoder, tensor, unknown)); });
  decoder.each(source->instructions(), [&](const fb::Instruction& instruction) {
    program.instructions.push_back(decode_instruction(decoder, instruction, unknown));
  });
  program.inputs = decoder.numbers(source->inputs());
  program.outputs = decoder.numbers(source->outputs());
  decoder.each(source->states(), [&](const fb::State& state) {
    program.states.push_back({state.tensor(), state.offset_bytes(), state.is_parameter()});
  });
  program.per_sample_bytes = source->per_sample_bytes();
  program.fixed_bytes = source->fixed_bytes();
  program.arena_lower_bound_bytes = source->arena_lower_bound_bytes();
  if (!decoder.good()) return shared_bytes_error();
  if (unknown.what != nullptr) {
    return make_error(StatusCode::kUnsupported, "F024",
                      "the section has {} {}, which this version does not know; update HAI", unknown.what,
                      unknown.value);
  }
  return program;
}

Result<Preprocessing> decode_preprocessing(std::span<const std::byte> bytes) {
  HAI_TRY(const fb::Preprocessing* source, verified_root<fb::Preprocessing>(bytes, nullptr));
  Decoder decoder(bytes.size());
  Preprocessing result;
  result.input = decoder.text(source->input());
  result.width = source->width();
  result.height = source->height();
  result.color_order = static_cast<ColorOrder>(source->color_order());
  result.layout = static_cast<PictureLayout>(source->layout());
  result.resize_rule = static_cast<ResizeRule>(source->resize_rule());
  result.interpolation = static_cast<Interpolation>(source->interpolation());
  result.resize_size = source->resize_size();
  const std::vector<float> mean = decoder.numbers(source->mean());
  const std::vector<float> scale = decoder.numbers(source->scale());
  result.pad_value = source->pad_value();
  if (!decoder.good() || mean.size() != result.mean.size() || scale.size() != result.scale.size()) {
    return shared_bytes_error();
  }
  std::copy(mean.begin(), mean.end(), result.mean.begin());
  std::copy(scale.begin(), scale.end(), result.scale.begin());
  HAI_TRY_STATUS(verify_preprocessing(result));
  return result;
}

Result<Metadata> decode_metadata(std::span<const std::byte> bytes) {
  HAI_TRY(const fb::Metadata* source, verified_root<fb::Metadata>(bytes, nullptr));
  Decoder decoder(bytes.size());
  Metadata metadata;
  metadata.name = decoder.text(source->name());
  decoder.each(source->entries(), [&](const fb::MetadataEntry& entry) {
    std::string key = decoder.text(entry.key());
    metadata.entries.insert_or_assign(std::move(key), decoder.text(entry.value()));
  });
  if (!decoder.good()) return shared_bytes_error();
  HAI_TRY_STATUS(verify_metadata(metadata));
  return metadata;
}

}  // namespace hai::format
