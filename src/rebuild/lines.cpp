// Lines as a program of device "rebuild", and back.
//
// Method: an instruction "form", then "range", "raise" and "layer" in this order, numbered by their position among
// their kind. Each writes a tensor of no bytes, since an instruction must write something; constants are tensors, so
// that the program's verifier has checked where they lie. Scales are three lists of equal length. Reading trusts
// nothing beyond that verifier: kinds of attributes, numbers of lines, tensors and instructions, types, shapes, and
// what would be written.
#include "rebuild/lines.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/checked.h"

namespace hai::rebuild {

Error malformed(const std::string& line, std::string_view what) {
  return make_error(StatusCode::kCorrupt, "E110",
                    "how its integers are rebuilt (line \"{}\"): {}; compile the model again", line, what);
}

namespace {

using format::Attributes;
using format::Instruction;
using format::Program;
using format::ProgramTensor;
using format::TensorPlace;

constexpr size_t kMostLines = 1 << 16;
constexpr int64_t kMostStages = 16;

class Encoder {
 public:
  Program run(const Lines& lines) {
    program_.device = "rebuild";
    add("form", "form", {}, {{"runs_integers", int64_t{0}}});
    for (const RangeLine& line : lines.ranges) add_range(line);
    for (const RaiseLine& line : lines.raises) add_raise(line);
    for (const LayerLine& line : lines.layers) add_layer(line);
    return std::move(program_);
  }

 private:
  uint32_t add_constant(const Parameter& parameter) {
    program_.tensors.push_back(
        {parameter.name, DataType::kF32, parameter.shape, {}, TensorPlace::kConstant, 0, parameter.offset_bytes});
    return static_cast<uint32_t>(program_.tensors.size() - 1);
  }

  void add(std::string kernel, std::string name, std::vector<uint32_t> inputs, Attributes attributes) {
    const auto written = static_cast<uint32_t>(program_.tensors.size());
    program_.tensors.push_back(
        {"line." + std::to_string(written), DataType::kI8, {Dim(0)}, {}, TensorPlace::kFixed, 0, 0});
    program_.instructions.push_back(
        {std::move(kernel), std::move(name), std::move(inputs), {written}, std::move(attributes), 0});
  }

  static std::vector<int64_t> numbers(const std::vector<uint32_t>& of) { return {of.begin(), of.end()}; }

  static void add_scales(Attributes& attributes, const std::vector<Scale>& scales) {
    std::vector<int64_t> ranges;
    std::vector<int64_t> wide;
    std::vector<double> fixed;
    for (const Scale& scale : scales) {
      ranges.push_back(scale.range);
      wide.push_back(scale.wide ? 1 : 0);
      fixed.push_back(scale.fixed);
    }
    attributes["scale_ranges"] = std::move(ranges);
    attributes["scale_wide"] = std::move(wide);
    attributes["scale_fixed"] = std::move(fixed);
  }

  void add_range(const RangeLine& line) {
    std::vector<int64_t> points;
    for (const PointSite& point : line.points)
      points.insert(points.end(), {point.instruction, point.before_residual ? 1 : 0, point.wide ? 1 : 0});
    add("range", line.value, {},
        {{"symmetric", int64_t{line.symmetric}},
         {"point", int64_t{line.point}},
         {"narrow", numbers(line.narrow_tensors)},
         {"wide", numbers(line.wide_tensors)},
         {"points", std::move(points)}});
  }

  void add_raise(const RaiseLine& line) {
    Attributes attributes{{"range", line.range},
                          {"wide", int64_t{line.wide}},
                          {"kind", static_cast<int64_t>(line.kind)},
                          {"layer", line.layer}};
    add_scales(attributes, line.inputs);
    add("raise", "raise." + std::to_string(program_.instructions.size()), {}, std::move(attributes));
  }

  void add_layer(const LayerLine& line) {
    std::vector<uint32_t> inputs = {add_constant(line.weights)};
    for (const Parameter& bias : line.bias) inputs.push_back(add_constant(bias));
    std::vector<int64_t> kinds;
    std::vector<double> epsilons;
    for (const Stage& stage : line.stages) {
      kinds.push_back(static_cast<int64_t>(stage.kind));
      epsilons.push_back(stage.epsilon);
      for (const Parameter& constant : stage.constants) inputs.push_back(add_constant(constant));
    }
    Attributes attributes{{"has_bias", static_cast<int64_t>(line.bias.size())},
                          {"stages", std::move(kinds)},
                          {"epsilons", std::move(epsilons)},
                          {"channels", line.channels},
                          {"inner", line.inner},
                          {"weight_bits", line.weight_bits},
                          {"bias_limit", line.bias_limit},
                          {"weight_tensor", int64_t{line.weight_tensor}},
                          {"bias_tensor", int64_t{line.bias_tensor}}};
    add_scales(attributes, {line.input, line.output});
    add("layer", line.name, std::move(inputs), std::move(attributes));
  }

  Program program_;
};

// The attributes of one instruction, each of the kind that is asked for.
class Reader {
 public:
  explicit Reader(const Instruction& instruction) : instruction_(instruction) {}

  template <typename T>
  Status take(const char* name, T& out) const {
    const auto found = instruction_.attributes.find(name);
    const T* value = found == instruction_.attributes.end() ? nullptr : std::get_if<T>(&found->second);
    if (value == nullptr) return malformed(instruction_.name, fmt::format("{} is missing or of another kind", name));
    out = *value;
    return {};
  }

  Status take_number(const char* name, int64_t least, int64_t most, int64_t& out) const {
    HAI_TRY_STATUS(take(name, out));
    if (out < least || out > most) {
      return malformed(instruction_.name, fmt::format("{} is {}, not in [{}, {}]", name, out, least, most));
    }
    return {};
  }

  Status take_flag(const char* name, bool& out) const {
    int64_t number = 0;
    HAI_TRY_STATUS(take_number(name, 0, 1, number));
    out = number == 1;
    return {};
  }

  Status take_scales(size_t ranges, std::vector<Scale>& out) const {
    std::vector<int64_t> from;
    std::vector<int64_t> wide;
    std::vector<double> fixed;
    HAI_TRY_STATUS(take("scale_ranges", from));
    HAI_TRY_STATUS(take("scale_wide", wide));
    HAI_TRY_STATUS(take("scale_fixed", fixed));
    if (from.size() != wide.size() || from.size() != fixed.size() || from.size() > kMostLines)
      return malformed(instruction_.name, "its lists of scales have different lengths");
    for (size_t i = 0; i < from.size(); ++i) {
      const bool known = from[i] >= Scale::kFixed && from[i] < static_cast<int64_t>(ranges);
      if (!known || wide[i] < 0 || wide[i] > 1 || !std::isfinite(fixed[i]) || fixed[i] < 0)
        return malformed(instruction_.name, "a scale of no range, or no finite number");
      out.push_back({from[i], wide[i] == 1, fixed[i]});
    }
    return {};
  }

 private:
  const Instruction& instruction_;
};

class Decoder {
 public:
  Decoder(const Program& program, const Program& integer) : program_(program), integer_(integer) {}

  Result<Lines> run() {
    if (program_.device != "rebuild" || !program_.symbols.empty() || program_.instructions.size() > kMostLines ||
        program_.instructions.empty() || program_.instructions[0].kernel != "form")
      return malformed("", "it is no such list");
    bool flag = false;
    HAI_TRY_STATUS(Reader(program_.instructions[0]).take_flag("runs_integers", flag));
    for (const Instruction& instruction : program_.instructions) {
      if (instruction.kernel == "range") lines_.ranges.emplace_back();
      if (instruction.kernel == "layer") lines_.layers.emplace_back();
    }
    const size_t ranges = lines_.ranges.size();
    const size_t layers = lines_.layers.size();
    lines_.ranges.clear();
    lines_.layers.clear();
    for (size_t i = 1; i < program_.instructions.size(); ++i) {
      const Instruction& instruction = program_.instructions[i];
      if (instruction.kernel == "range") {
        HAI_TRY_STATUS(read_range(instruction));
      } else if (instruction.kernel == "raise") {
        HAI_TRY_STATUS(read_raise(instruction, ranges, layers));
      } else if (instruction.kernel == "layer") {
        HAI_TRY_STATUS(read_layer(instruction, ranges));
      } else {
        return make_error(StatusCode::kUnsupported, "E113",
                          "its integers are rebuilt by a function \"{}\" that this version does not know; update HAI",
                          instruction.kernel);
      }
    }
    HAI_TRY_STATUS(check_written());
    return std::move(lines_);
  }

 private:
  Status read_tensors(const Instruction& instruction, const char* name, DataType dtype, std::vector<uint32_t>& out) {
    std::vector<int64_t> numbers;
    HAI_TRY_STATUS(Reader(instruction).take(name, numbers));
    for (const int64_t number : numbers) {
      const bool known = number >= 0 && number < static_cast<int64_t>(integer_.tensors.size());
      const ProgramTensor* tensor = known ? &integer_.tensors[static_cast<size_t>(number)] : nullptr;
      if (tensor == nullptr || tensor->dtype != dtype || !tensor->quantization || !tensor->quantization->per_tensor() ||
          tensor->place == TensorPlace::kConstant) {
        return malformed(instruction.name,
                         fmt::format("tensor {} is no activation of {} with a scale", number, data_type_name(dtype)));
      }
      out.push_back(static_cast<uint32_t>(number));
    }
    return {};
  }

  Status read_points(const Instruction& instruction, RangeLine& line) {
    std::vector<int64_t> numbers;
    HAI_TRY_STATUS(Reader(instruction).take("points", numbers));
    if (numbers.size() % 3 != 0) return malformed(instruction.name, "its list of rounding points");
    for (size_t i = 0; i < numbers.size(); i += 3) {
      const bool known = numbers[i] >= 0 && numbers[i] < static_cast<int64_t>(integer_.instructions.size()) &&
                         (numbers[i + 1] | numbers[i + 2] | 1) == 1;
      if (!known) return malformed(instruction.name, "a rounding point of no instruction");
      const auto number = static_cast<uint32_t>(numbers[i]);
      const PointSite point{number, numbers[i + 1] == 1, numbers[i + 2] == 1};
      const Attributes& attributes = integer_.instructions[number].attributes;
      const char* scale = point.before_residual ? "pre_residual_scale" : "conv_scale";
      const auto found = attributes.find(scale);
      if (found == attributes.end() || !std::holds_alternative<double>(found->second))
        return malformed(instruction.name, fmt::format("instruction {} has no {}", number, scale));
      line.points.push_back(point);
    }
    return {};
  }

  Status read_range(const Instruction& instruction) {
    const Reader reader(instruction);
    RangeLine line;
    line.value = instruction.name;
    HAI_TRY_STATUS(reader.take_flag("symmetric", line.symmetric));
    HAI_TRY_STATUS(reader.take_flag("point", line.point));
    HAI_TRY_STATUS(read_tensors(instruction, "narrow", DataType::kI8, line.narrow_tensors));
    HAI_TRY_STATUS(read_tensors(instruction, "wide", DataType::kI16, line.wide_tensors));
    HAI_TRY_STATUS(read_points(instruction, line));
    lines_.ranges.push_back(std::move(line));
    return {};
  }

  Status read_raise(const Instruction& instruction, size_t ranges, size_t layers) {
    const Reader reader(instruction);
    RaiseLine line;
    int64_t kind = 0;
    HAI_TRY_STATUS(reader.take_number("range", 0, static_cast<int64_t>(ranges) - 1, line.range));
    HAI_TRY_STATUS(reader.take_flag("wide", line.wide));
    HAI_TRY_STATUS(reader.take_number("kind", 0, 2, kind));
    line.kind = static_cast<RaiseLine::Kind>(kind);
    const int64_t least = line.kind == RaiseLine::Kind::kLayer ? 0 : -1;
    HAI_TRY_STATUS(reader.take_number("layer", least, static_cast<int64_t>(layers) - 1, line.layer));
    HAI_TRY_STATUS(reader.take_scales(ranges, line.inputs));
    lines_.raises.push_back(std::move(line));
    return {};
  }

  // The next operand of a layer's instruction, a float constant.
  Status read_parameter(const Instruction& instruction, size_t& at, Parameter& out) {
    if (at >= instruction.inputs.size()) return malformed(instruction.name, "a parameter is missing");
    const uint32_t number = instruction.inputs[at++];
    const ProgramTensor* tensor = number == format::kNoTensor ? nullptr : &program_.tensors[number];
    if (tensor == nullptr || tensor->place != TensorPlace::kConstant || tensor->dtype != DataType::kF32)
      return malformed(instruction.name, "a parameter is no constant of f32");
    out = {tensor->name, tensor->offset_bytes, tensor->shape};
    return {};
  }

  Status read_stages(const Instruction& instruction, size_t& at, LayerLine& line) {
    std::vector<int64_t> kinds;
    std::vector<double> epsilons;
    HAI_TRY_STATUS(Reader(instruction).take("stages", kinds));
    HAI_TRY_STATUS(Reader(instruction).take("epsilons", epsilons));
    if (kinds.size() != epsilons.size() || kinds.size() > kMostStages)
      return malformed(instruction.name, "its list of what is folded");
    for (size_t i = 0; i < kinds.size(); ++i) {
      if (kinds[i] < 0 || kinds[i] > 5 || !std::isfinite(epsilons[i]) || epsilons[i] < 0)
        return malformed(instruction.name, "what is folded is nothing that this version knows");
      Stage stage{static_cast<Stage::Kind>(kinds[i]), epsilons[i], {}};
      const bool norm = stage.kind == Stage::Kind::kBatchNorm;
      stage.constants.resize(norm ? 4 : 1);
      for (Parameter& constant : stage.constants) {
        HAI_TRY_STATUS(read_parameter(instruction, at, constant));
        const int64_t count = element_count(constant.shape)->value;
        if (count != line.channels && (norm || count != 1))
          return malformed(instruction.name, fmt::format("{} has not a number a channel", constant.name));
      }
      line.stages.push_back(std::move(stage));
    }
    return {};
  }

  Status check_layer_tensor(const LayerLine& line, uint32_t number, DataType dtype, int64_t count) const {
    const bool known = number < integer_.tensors.size();
    const ProgramTensor* tensor = known ? &integer_.tensors[number] : nullptr;
    if (tensor != nullptr && tensor->place == TensorPlace::kConstant && tensor->dtype == dtype &&
        element_count(tensor->shape)->value == count && tensor->quantization &&
        static_cast<int64_t>(tensor->quantization->scales.size()) == line.channels) {
      return {};
    }
    return malformed(line.name, fmt::format("tensor {} is no constant of {} {} with {} scales", number, count,
                                            data_type_name(dtype), line.channels));
  }

  Status read_layer(const Instruction& instruction, size_t ranges) {
    const Reader reader(instruction);
    LayerLine line;
    line.name = instruction.name;
    size_t at = 0;
    bool has_bias = false;
    int64_t weight_tensor = 0;
    int64_t bias_tensor = 0;
    const auto tensors = static_cast<int64_t>(integer_.tensors.size());
    HAI_TRY_STATUS(reader.take_flag("has_bias", has_bias));
    HAI_TRY_STATUS(reader.take_number("channels", 1, int64_t{1} << 31, line.channels));
    HAI_TRY_STATUS(reader.take_number("inner", 1, int64_t{1} << 31, line.inner));
    HAI_TRY_STATUS(reader.take_number("weight_bits", 8, 16, line.weight_bits));
    HAI_TRY_STATUS(reader.take_number("weight_tensor", 0, tensors - 1, weight_tensor));
    HAI_TRY_STATUS(reader.take_number("bias_tensor", 0, tensors - 1, bias_tensor));
    HAI_TRY_STATUS(reader.take("bias_limit", line.bias_limit));
    line.weight_tensor = static_cast<uint32_t>(weight_tensor);
    line.bias_tensor = static_cast<uint32_t>(bias_tensor);
    std::vector<Scale> scales;
    HAI_TRY_STATUS(reader.take_scales(ranges, scales));
    const bool limited = line.bias_limit >= 1 && line.bias_limit <= 0x1p52;
    if (scales.size() != 2 || !limited || (line.weight_bits != 8 && line.weight_bits != 16))
      return malformed(line.name, "its widths or scales");
    line.input = scales[0];
    line.output = scales[1];
    HAI_TRY_STATUS(read_parameter(instruction, at, line.weights));
    if (has_bias) HAI_TRY_STATUS(read_parameter(instruction, at, line.bias.emplace_back()));
    HAI_TRY_STATUS(read_stages(instruction, at, line));
    if (at != instruction.inputs.size()) return malformed(line.name, "it names parameters that nothing reads");
    const int64_t count = element_count(line.weights.shape)->value;
    const bool fits = count > 0 && count % line.inner == 0 && count / line.inner % line.channels == 0 &&
                      (line.bias.empty() || element_count(line.bias[0].shape)->value == line.channels);
    if (!fits) return malformed(line.name, "its parameters do not fit its channels");
    HAI_TRY_STATUS(
        check_layer_tensor(line, line.weight_tensor, line.weight_bits == 8 ? DataType::kI8 : DataType::kI16, count));
    const bool wide_bias =
        line.bias_tensor < integer_.tensors.size() && integer_.tensors[line.bias_tensor].dtype == DataType::kI64;
    HAI_TRY_STATUS(
        check_layer_tensor(line, line.bias_tensor, wide_bias ? DataType::kI64 : DataType::kI32, line.channels));
    if (!wide_bias && line.bias_limit > 0x1p31 - 1) return malformed(line.name, "its bias may leave 32 bits");
    lines_.layers.push_back(std::move(line));
    return {};
  }

  // What is written must be no parameter, nor be written twice: then the order of the layers is of no consequence.
  Status check_written() const {
    struct Stretch {
      int64_t begin;
      int64_t end;
      bool written;
    };
    std::vector<Stretch> stretches;
    const auto read = [&](const Parameter& of) {
      const int64_t bytes = bytes_for(DataType::kF32, element_count(of.shape)->value);
      stretches.push_back({of.offset_bytes, of.offset_bytes + bytes, false});
    };
    for (const LayerLine& line : lines_.layers) {
      read(line.weights);
      for (const Parameter& bias : line.bias) read(bias);
      for (const Stage& stage : line.stages) {
        for (const Parameter& constant : stage.constants) read(constant);
      }
      for (const uint32_t number : {line.weight_tensor, line.bias_tensor}) {
        const ProgramTensor& tensor = integer_.tensors[number];
        const int64_t bytes = bytes_for(tensor.dtype, element_count(tensor.shape)->value);
        stretches.push_back({tensor.offset_bytes, tensor.offset_bytes + bytes, true});
      }
    }
    std::sort(stretches.begin(), stretches.end(), [](const Stretch& a, const Stretch& b) { return a.begin < b.begin; });
    int64_t end = 0;
    int64_t written_end = 0;
    for (const Stretch& stretch : stretches) {
      if (stretch.begin < (stretch.written ? end : written_end))
        return malformed("", "a layer would be written over a parameter or another layer");
      end = std::max(end, stretch.end);
      if (stretch.written) written_end = std::max(written_end, stretch.end);
    }
    return {};
  }

  const Program& program_;
  const Program& integer_;
  Lines lines_;
};

}  // namespace

std::string low_state(const std::string& value) { return value + "/low"; }
std::string high_state(const std::string& value) { return value + "/high"; }

bool runs_integers(const Program& program) {
  if (program.instructions.empty()) return false;
  const Attributes& attributes = program.instructions[0].attributes;
  const auto found = attributes.find("runs_integers");
  const int64_t* flag = found == attributes.end() ? nullptr : std::get_if<int64_t>(&found->second);
  return flag != nullptr && *flag == 1;
}

void set_runs_integers(Program& program, bool integers) {
  if (!program.instructions.empty()) program.instructions[0].attributes["runs_integers"] = int64_t{integers};
}

Program encode(const Lines& lines) { return Encoder().run(lines); }

Result<Lines> decode(const Program& program, const Program& integer) { return Decoder(program, integer).run(); }

}  // namespace hai::rebuild
