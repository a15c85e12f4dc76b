// Printing a graph in its text form (the grammar stands in text.h).
//
// Method: one pass: symbols, metadata, inputs, constants by id, nodes in topological order, outputs, states. What is
// printed parses back to an equal graph (that of Graph::compact()), so numbers are printed shortest-round-trip and
// every name that is not made of plain characters is quoted. A graph with a cycle cannot be ordered: its nodes print by
// id, so that a broken graph can still be looked at. It does not verify anything.
#include <fmt/format.h>

#include <cmath>
#include <span>

#include "ir/text.h"

namespace hai::ir {
namespace {

bool is_word_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_word(char c) { return is_word_start(c) || (c >= '0' && c <= '9'); }
bool is_name(char c) { return is_word(c) || c == '.' || c == '/' || c == ':' || c == '-'; }

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  out += '"';
}

// A name of a symbol, operator or attribute: bare when it reads as one word.
void append_word(std::string& out, std::string_view text) {
  bool plain = !text.empty() && is_word_start(text[0]);
  for (const char c : text) plain = plain && is_word(c);
  if (plain) {
    out += text;
  } else {
    append_quoted(out, text);
  }
}

void append_value_name(std::string& out, std::string_view text) {
  out += '%';
  bool plain = !text.empty() && is_word(text[0]);
  for (const char c : text) plain = plain && is_name(c);
  plain = plain && text.back() != ':';  // "%x: f32": the colon belongs to the declaration
  if (plain) {
    out += text;
  } else {
    append_quoted(out, text);
  }
}

// Always with a point, an exponent or a word, so that it reads back as a float.
template <typename T>
void append_float(std::string& out, T number) {
  if (std::isnan(number)) {
    out += "nan";
    return;
  }
  const std::string text = fmt::format("{}", number);
  out += text;
  if (text.find_first_of(".en") == std::string::npos) out += ".0";
}

template <typename List, typename AppendItem>
void append_list(std::string& out, const List& list, AppendItem append_item) {
  out += '[';
  bool first = true;
  for (const auto& item : list) {
    if (!first) out += ", ";
    first = false;
    append_item(item);
  }
  out += ']';
}

void append_int(std::string& out, int64_t number) { fmt::format_to(std::back_inserter(out), "{}", number); }

class Printer {
 public:
  Printer(const Graph& graph, const PrintOptions& options) : graph_(graph), options_(options) {}

  std::string run() {
    print_header();
    for (const ValueId input : graph_.inputs()) {
      out_ += "  input ";
      print_declaration(input);
      out_ += '\n';
    }
    for (ValueId id = 0; id < graph_.value_slots(); ++id) {
      const Value& value = graph_.value(id);
      if (value.alive && value.is_constant()) print_constant(id);
    }
    for (const NodeId id : node_order()) print_node(graph_.node(id));
    for (const ValueId output : graph_.outputs()) {
      out_ += "  output ";
      print_operand(output);
      out_ += '\n';
    }
    for (const State& state : graph_.states) print_state(state);
    out_ += "}\n";
    return std::move(out_);
  }

 private:
  std::vector<NodeId> node_order() const {
    auto order = graph_.ordered();
    if (order) return std::move(order).value();
    std::vector<NodeId> by_id;
    for (NodeId id = 0; id < graph_.node_slots(); ++id) {
      if (graph_.node(id).alive) by_id.push_back(id);
    }
    return by_id;
  }

  void print_header() {
    out_ += "graph ";
    append_quoted(out_, graph_.name);
    if (!graph_.symbols.empty()) {
      out_ += " (";
      for (size_t i = 0; i < graph_.symbols.size(); ++i) {
        if (i > 0) out_ += ", ";
        append_word(out_, graph_.symbols[i].name);
        fmt::format_to(std::back_inserter(out_), " in {}..{}", graph_.symbols[i].min, graph_.symbols[i].max);
      }
      out_ += ')';
    }
    out_ += " {\n";
    for (const auto& [key, text] : graph_.metadata) {
      out_ += "  metadata ";
      append_quoted(out_, key);
      out_ += " = ";
      append_quoted(out_, text);
      out_ += '\n';
    }
  }

  void print_dim(const Dim& dim) {
    if (!dim.is_symbolic()) {
      append_int(out_, dim.value);
      return;
    }
    if (dim.value != 1) fmt::format_to(std::back_inserter(out_), "{}*", dim.value);
    const auto index = static_cast<size_t>(dim.symbol);
    append_word(out_, index < graph_.symbols.size() ? std::string_view(graph_.symbols[index].name) : "?");
  }

  void print_type(const TensorType& type) {
    out_ += data_type_name(type.dtype);
    append_list(out_, type.shape, [this](const Dim& dim) { print_dim(dim); });
    if (!type.quantization) return;
    const Quantization& quantization = *type.quantization;
    out_ += " quant(";
    if (quantization.per_tensor() && quantization.block == 0 && quantization.scales.size() == 1 &&
        quantization.zero_points.size() == 1) {
      append_float(out_, quantization.scales[0]);
      fmt::format_to(std::back_inserter(out_), ", {})", quantization.zero_points[0]);
      return;
    }
    fmt::format_to(std::back_inserter(out_), "axis {}, ", quantization.axis);
    if (quantization.block != 0) fmt::format_to(std::back_inserter(out_), "block {}, ", quantization.block);
    out_ += "scales ";
    append_list(out_, quantization.scales, [this](float scale) { append_float(out_, scale); });
    out_ += ", zero_points ";
    append_list(out_, quantization.zero_points, [this](int32_t zero) { append_int(out_, zero); });
    out_ += ')';
  }

  void print_operand(ValueId id) {
    if (id == kNone) {
      out_ += "none";
    } else {
      append_value_name(out_, graph_.value(id).name);
    }
  }

  void print_declaration(ValueId id) {
    print_operand(id);
    out_ += ": ";
    print_type(graph_.value(id).type);
  }

  void print_constant(ValueId id) {
    out_ += "  const ";
    print_declaration(id);
    print_bytes(graph_.value(id).constant->bytes());
  }

  void print_state(const State& state) {
    out_ += "  state ";
    if (state.input < graph_.inputs().size()) {
      print_operand(graph_.inputs()[state.input]);
    } else {
      fmt::format_to(std::back_inserter(out_), "<input {}>", state.input);  // of a broken graph, which does not parse
    }
    if (state.output == State::kKept) {
      out_ += " -> kept";
    } else {
      fmt::format_to(std::back_inserter(out_), " -> output {}", state.output);
    }
    if (state.is_parameter) out_ += " parameter";
    if (state.initial == nullptr) {
      out_ += " = zeros\n";
    } else {
      print_bytes(state.initial->bytes());
    }
  }

  // " = hex"..."" to the end of the line.
  void print_bytes(std::span<const std::byte> bytes) {
    if (static_cast<int64_t>(bytes.size()) > options_.max_constant_bytes) {
      uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a: tells apart what a pass changed, promises nothing more
      for (const std::byte byte : bytes) hash = (hash ^ static_cast<uint64_t>(byte)) * 0x100000001b3U;
      fmt::format_to(std::back_inserter(out_), " = elided {} fnv1a:{:016x}\n", bytes.size(), hash);
      return;
    }
    static constexpr char kDigits[] = "0123456789abcdef";
    out_ += " = hex\"";
    const size_t start = out_.size();
    out_.resize(start + 2 * bytes.size());
    for (size_t i = 0; i < bytes.size(); ++i) {
      const auto byte = static_cast<size_t>(bytes[i]);
      out_[start + 2 * i] = kDigits[byte >> 4];
      out_[start + 2 * i + 1] = kDigits[byte & 15];
    }
    out_ += "\"\n";
  }

  void print_attribute(const Attribute& attribute) {
    if (const auto* integer = std::get_if<int64_t>(&attribute)) {
      append_int(out_, *integer);
    } else if (const auto* real = std::get_if<double>(&attribute)) {
      append_float(out_, *real);
    } else if (const auto* text = std::get_if<std::string>(&attribute)) {
      append_quoted(out_, *text);
    } else if (const auto* integers = std::get_if<std::vector<int64_t>>(&attribute)) {
      append_list(out_, *integers, [this](int64_t number) { append_int(out_, number); });
    } else if (const auto* reals = std::get_if<std::vector<double>>(&attribute)) {
      if (reals->empty()) out_ += "floats ";  // "[]" alone is the empty list of integers
      append_list(out_, *reals, [this](double number) { append_float(out_, number); });
    }
  }

  void print_node(const Node& node) {
    out_ += "  ";
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (i > 0) out_ += ", ";
      print_declaration(node.outputs[i]);
    }
    out_ += node.outputs.empty() ? "= " : " = ";
    append_word(out_, node.op);
    out_ += '(';
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (i > 0) out_ += ", ";
      print_operand(node.inputs[i]);
    }
    out_ += ')';
    if (!node.attributes.empty()) {
      out_ += " {";
      bool first = true;
      for (const auto& [key, attribute] : node.attributes) {
        if (!first) out_ += ", ";
        first = false;
        append_word(out_, key);
        out_ += " = ";
        print_attribute(attribute);
      }
      out_ += '}';
    }
    if (!node.name.empty()) {
      out_ += " @ ";
      append_quoted(out_, node.name);
    }
    out_ += '\n';
  }

  const Graph& graph_;
  const PrintOptions& options_;
  std::string out_;
};

}  // namespace

std::string print(const Graph& graph, const PrintOptions& options) { return Printer(graph, options).run(); }

}  // namespace hai::ir
