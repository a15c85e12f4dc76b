// Parsing the text form of a graph (the grammar stands in text.h).
//
// Method: a hand-written scanner and a predictive parser without recursion: the grammar nests no deeper than a list in
// an attribute, so hostile nesting is a plain syntax error. Values must be declared before they are read, which also
// keeps cycles out. Every number is range-checked, every size is computed with overflow checks before memory is taken,
// and hexadecimal data is as long as its declared type. Comments run from '#' to the end of the line.
// Invariant: the result passes verify_structure(); any other text is an error with line and column.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/checked.h"
#include "ir/text.h"

namespace hai::ir {
namespace {

constexpr size_t kMaxListLength = size_t{1} << 24;

bool is_word_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) { return is_word_start(c) || is_digit(c); }
bool is_name(char c) { return is_word(c) || c == '.' || c == '/' || c == ':' || c == '-'; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// A number as written: an integer when it has neither point nor exponent and is no word (inf, nan).
struct Number {
  bool is_integer = false;
  int64_t integer = 0;
  double real = 0.0;
  std::string_view text;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Graph> run() {
    HAI_TRY_STATUS(parse_header());
    while (!accept('}')) {
      HAI_TRY_STATUS(parse_statement());
    }
    skip_space();
    if (at_ < text_.size()) return fail("the end of the text after the closing brace");
    HAI_TRY_STATUS(verify_structure(graph_));
    return std::move(graph_);
  }

 private:
  // --- scanning
  void skip_space() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#') {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        ++at_;
      } else {
        return;
      }
    }
  }

  std::string place(size_t offset) const {
    size_t line = 1;
    size_t column = 1;
    for (size_t i = 0; i < offset && i < text_.size(); ++i) {
      column = text_[i] == '\n' ? 1 : column + 1;
      if (text_[i] == '\n') ++line;
    }
    return "line " + std::to_string(line) + ", column " + std::to_string(column);
  }

  Error fail(std::string_view wanted) const {
    std::string found = at_ >= text_.size() ? "the end of the text" : "\"";
    if (at_ < text_.size()) {
      for (const char c : text_.substr(at_, 16)) {
        if (c == '\n') break;
        found += c >= 0x20 && c < 0x7f ? c : '?';
      }
      found += '"';
    }
    return make_error(StatusCode::kCorrupt, "I010", "{}: expected {}, found {}", place(at_), wanted, found);
  }

  Error fail_value(size_t offset, std::string_view what) const {
    return make_error(StatusCode::kCorrupt, "I011", "{}: {}", place(offset), what);
  }

  bool accept(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  Status expect(char c) {
    if (accept(c)) return {};
    return fail(std::string("'") + c + "'");
  }

  bool peek(char c) {
    skip_space();
    return at_ < text_.size() && text_[at_] == c;
  }

  bool accept_word(std::string_view word) {
    skip_space();
    if (text_.substr(at_, word.size()) != word) return false;
    const size_t end = at_ + word.size();
    if (end < text_.size() && is_word(text_[end])) return false;
    at_ = end;
    return true;
  }

  Status expect_word(std::string_view word) {
    if (accept_word(word)) return {};
    return fail(std::string("\"") + std::string(word) + "\"");
  }

  Result<std::string> parse_quoted() {
    if (!accept('"')) return fail("a quoted string");
    std::string out;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return out;
      }
      if (c != '\\') {
        out += c;
        ++at_;
        continue;
      }
      const char escape = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
      if (escape == '"' || escape == '\\') {
        out += escape;
        at_ += 2;
      } else if (escape == 'x' && at_ + 3 < text_.size() && hex_digit(text_[at_ + 2]) >= 0 &&
                 hex_digit(text_[at_ + 3]) >= 0) {
        out += static_cast<char>(hex_digit(text_[at_ + 2]) * 16 + hex_digit(text_[at_ + 3]));
        at_ += 4;
      } else {
        return fail("\\\", \\\\ or \\xNN after a backslash");
      }
    }
    return fail("a closing quotation mark");
  }

  Result<std::string> parse_word(std::string_view wanted) {
    if (peek('"')) return parse_quoted();
    if (at_ >= text_.size() || !is_word_start(text_[at_])) return fail(wanted);
    const size_t start = at_;
    while (at_ < text_.size() && is_word(text_[at_])) ++at_;
    return std::string(text_.substr(start, at_ - start));
  }

  Result<std::string> parse_value_name() {
    if (!accept('%')) return fail("a value (%name)");
    if (at_ < text_.size() && text_[at_] == '"') return parse_quoted();
    const size_t start = at_;
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    if (at_ > start && text_[at_ - 1] == ':') --at_;  // the colon of the declaration
    if (at_ == start) return fail("a name after %");
    return std::string(text_.substr(start, at_ - start));
  }

  Result<Number> parse_number(std::string_view wanted) {
    skip_space();
    const size_t start = at_;
    size_t end = at_;
    if (end < text_.size() && text_[end] == '-') ++end;
    if (end >= text_.size() || (!is_digit(text_[end]) && text_[end] != 'i' && text_[end] != 'n')) return fail(wanted);
    while (end < text_.size() &&
           (is_word(text_[end]) ||
            // ".." belongs to a range, and a sign only follows an exponent
            (text_[end] == '.' && !(end + 1 < text_.size() && text_[end + 1] == '.')) ||
            ((text_[end] == '-' || text_[end] == '+') && (text_[end - 1] == 'e' || text_[end - 1] == 'E')))) {
      ++end;
    }
    Number number;
    number.text = text_.substr(start, end - start);
    const char* first = number.text.data();
    const char* last = first + number.text.size();
    number.is_integer = number.text.find_first_of(".eEin") == std::string_view::npos;
    const auto parsed =
        number.is_integer ? std::from_chars(first, last, number.integer) : std::from_chars(first, last, number.real);
    if (parsed.ec == std::errc::result_out_of_range) return fail("a number in range");
    if (parsed.ec != std::errc() || parsed.ptr != last) return fail(wanted);
    if (number.is_integer) number.real = static_cast<double>(number.integer);
    at_ = end;
    return number;
  }

  Result<int64_t> parse_integer(int64_t low, int64_t high, std::string_view wanted) {
    skip_space();
    const size_t start = at_;
    HAI_TRY(const Number number, parse_number(wanted));
    if (!number.is_integer || number.integer < low || number.integer > high) {
      at_ = start;
      return fail(wanted);
    }
    return number.integer;
  }

  Result<float> parse_scale() {
    skip_space();
    const size_t start = at_;
    HAI_TRY(const Number number, parse_number("a scale"));
    float scale = 0.0F;  // parsed as f32: going through f64 would round twice
    const auto parsed = std::from_chars(number.text.data(), number.text.data() + number.text.size(), scale);
    if (parsed.ec != std::errc()) {
      at_ = start;
      return fail("a scale that fits f32");
    }
    return scale;
  }

  template <typename ParseItem>
  Status parse_list(ParseItem parse_item) {
    HAI_TRY_STATUS(expect('['));
    if (accept(']')) return {};
    size_t length = 0;
    do {
      if (++length > kMaxListLength) return fail("a list of at most 2^24 elements");
      HAI_TRY_STATUS(parse_item());
    } while (accept(','));
    return expect(']');
  }

  // --- the graph
  Status parse_header() {
    HAI_TRY_STATUS(expect_word("graph"));
    HAI_TRY(graph_.name, parse_quoted());
    if (accept('(')) {
      do {
        Symbol symbol;
        HAI_TRY(symbol.name, parse_word("a symbol's name"));
        HAI_TRY_STATUS(expect_word("in"));
        HAI_TRY(symbol.min, parse_integer(1, INT64_MAX, "the symbol's lower bound (at least 1)"));
        HAI_TRY_STATUS(expect('.'));
        HAI_TRY_STATUS(expect('.'));
        HAI_TRY(symbol.max, parse_integer(symbol.min, INT64_MAX, "an upper bound that is not below the lower one"));
        graph_.symbols.push_back(std::move(symbol));
      } while (accept(','));
      HAI_TRY_STATUS(expect(')'));
    }
    return expect('{');
  }

  Result<Dim> parse_dim() {
    skip_space();
    const size_t start = at_;
    Dim dim{1};
    if (at_ < text_.size() && is_digit(text_[at_])) {
      HAI_TRY(dim.value, parse_integer(0, INT64_MAX, "a dimension"));
      if (!accept('*')) return dim;
    }
    HAI_TRY(const std::string name, parse_word("a dimension: a number, a symbol or number*symbol"));
    for (size_t i = 0; i < graph_.symbols.size(); ++i) {
      if (graph_.symbols[i].name == name) {
        dim.symbol = static_cast<int32_t>(i);
        return dim;
      }
    }
    at_ = start;
    return fail("a symbol that the graph's first line declares");
  }

  Result<Quantization> parse_quantization() {
    HAI_TRY_STATUS(expect('('));
    Quantization quantization;
    if (!accept_word("axis")) {
      HAI_TRY(const float scale, parse_scale());
      HAI_TRY_STATUS(expect(','));
      HAI_TRY(const int64_t zero_point, parse_integer(INT32_MIN, INT32_MAX, "a zero point"));
      HAI_TRY_STATUS(expect(')'));
      return per_tensor_quantization(scale, static_cast<int32_t>(zero_point));
    }
    HAI_TRY(const int64_t axis, parse_integer(-1, kMaxRank - 1, "an axis"));
    quantization.axis = static_cast<int32_t>(axis);
    HAI_TRY_STATUS(expect(','));
    if (accept_word("block")) {
      HAI_TRY(quantization.block, parse_integer(1, INT64_MAX, "a block length"));
      HAI_TRY_STATUS(expect(','));
    }
    HAI_TRY_STATUS(expect_word("scales"));
    HAI_TRY_STATUS(parse_list([&]() -> Status {
      HAI_TRY(const float scale, parse_scale());
      quantization.scales.push_back(scale);
      return {};
    }));
    HAI_TRY_STATUS(expect(','));
    HAI_TRY_STATUS(expect_word("zero_points"));
    HAI_TRY_STATUS(parse_list([&]() -> Status {
      HAI_TRY(const int64_t zero_point, parse_integer(INT32_MIN, INT32_MAX, "a zero point"));
      quantization.zero_points.push_back(static_cast<int32_t>(zero_point));
      return {};
    }));
    HAI_TRY_STATUS(expect(')'));
    return quantization;
  }

  Result<TensorType> parse_type() {
    skip_space();
    const size_t start = at_;
    TensorType type;
    HAI_TRY(const std::string name, parse_word("an element type"));
    const auto dtype = data_type_from_name(name);
    if (!dtype) {
      at_ = start;
      return fail("an element type such as f32, i8 or bool");
    }
    type.dtype = *dtype;
    HAI_TRY_STATUS(parse_list([&]() -> Status {
      if (type.shape.size() >= static_cast<size_t>(kMaxRank)) return fail("at most 8 dimensions");
      HAI_TRY(const Dim dim, parse_dim());
      type.shape.push_back(dim);
      return {};
    }));
    if (accept_word("quant")) {
      HAI_TRY(type.quantization, parse_quantization());
    }
    return type;
  }

  struct Declaration {
    std::string name;
    TensorType type;
  };

  Result<Declaration> parse_declaration() {
    skip_space();
    const size_t start = at_;
    Declaration declaration;
    HAI_TRY(declaration.name, parse_value_name());
    if (declaration.name.empty() || graph_.find_value(declaration.name)) {
      return fail_value(start, "value %" + declaration.name + " is declared twice or has no name; names are unique");
    }
    HAI_TRY_STATUS(expect(':'));
    HAI_TRY(declaration.type, parse_type());
    return declaration;
  }

  Result<ValueId> parse_operand() {
    if (accept_word("none")) return ValueId{kNone};
    skip_space();
    const size_t start = at_;
    HAI_TRY(const std::string name, parse_value_name());
    const auto id = graph_.find_value(name);
    if (!id) {
      return fail_value(start, "value %" + name + " is not declared above; nodes stand after what they read");
    }
    return *id;
  }

  Status parse_constant() {
    skip_space();
    const size_t start = at_;
    HAI_TRY(Declaration declaration, parse_declaration());
    HAI_TRY_STATUS(expect('='));
    HAI_TRY(auto data, parse_bytes(declaration.type, start));
    graph_.add_constant(std::move(declaration.name), std::move(declaration.type), std::move(data));
    return {};
  }

  // hex"..." with as many digits as `type` needs; `start` is where the constant or state begins.
  Result<std::shared_ptr<const ConstantData>> parse_bytes(const TensorType& type, size_t start) {
    const auto count = element_count(type.shape);
    const auto bits = count ? checked_mul<int64_t>(count->value, bit_width(type.dtype)) : std::optional<int64_t>();
    if (!bits || count->is_symbolic()) return fail_value(start, "a constant's shape must be numbers that fit memory");
    if (accept_word("elided")) {
      return fail_value(start, "this constant was left out when the graph was printed; print it with all constants");
    }
    skip_space();
    if (text_.substr(at_, 4) != "hex\"") return fail("hex\"...\"");
    at_ += 4;
    const auto size = static_cast<size_t>(bytes_for(type.dtype, count->value));
    if (size > (text_.size() - at_) / 2) return fail("as many hexadecimal digits as the type needs");
    auto data = ConstantData::allocate(size);
    const auto bytes = data->mutable_bytes();
    for (size_t i = 0; i < size; ++i) {
      const int high = hex_digit(text_[at_]);
      const int low = hex_digit(text_[at_ + 1]);
      if (high < 0 || low < 0) return fail("a hexadecimal digit");
      bytes[i] = static_cast<std::byte>(high * 16 + low);
      at_ += 2;
    }
    if (at_ >= text_.size() || text_[at_] != '"') return fail("the end of the data: the type needs no more");
    ++at_;
    return std::shared_ptr<const ConstantData>(std::move(data));
  }

  // Which positions exist, and that types agree, is verify_structure()'s business.
  Status parse_state() {
    skip_space();
    const size_t start = at_;
    HAI_TRY(const ValueId id, parse_operand());
    const auto& inputs = graph_.inputs();
    State state;
    state.input = static_cast<size_t>(std::find(inputs.begin(), inputs.end(), id) - inputs.begin());
    if (state.input == inputs.size()) return fail_value(start, "a state is held by an input of the graph");
    HAI_TRY_STATUS(expect('-'));
    HAI_TRY_STATUS(expect('>'));
    if (accept_word("kept")) {
      state.output = State::kKept;
    } else {
      HAI_TRY_STATUS(expect_word("output"));
      HAI_TRY(const int64_t output, parse_integer(0, INT32_MAX, "the position of an output, counted from 0"));
      state.output = static_cast<size_t>(output);
    }
    state.is_parameter = accept_word("parameter");
    HAI_TRY_STATUS(expect('='));
    if (!accept_word("zeros")) {
      HAI_TRY(state.initial, parse_bytes(graph_.value(id).type, start));
    }
    graph_.states.push_back(std::move(state));
    return {};
  }

  Result<Attribute> parse_attribute() {
    if (peek('"')) {
      HAI_TRY(std::string text, parse_quoted());
      return Attribute(std::move(text));
    }
    bool all_integers = !accept_word("floats");
    if (!peek('[')) {
      HAI_TRY(const Number number, parse_number("an attribute: a number, a \"string\" or a [list]"));
      return number.is_integer ? Attribute(number.integer) : Attribute(number.real);
    }
    std::vector<int64_t> integers;
    std::vector<double> reals;
    HAI_TRY_STATUS(parse_list([&]() -> Status {
      HAI_TRY(const Number number, parse_number("a number"));
      all_integers = all_integers && number.is_integer;
      integers.push_back(number.integer);
      reals.push_back(number.real);
      return {};
    }));
    return all_integers ? Attribute(std::move(integers)) : Attribute(std::move(reals));
  }

  Status parse_attributes(Attributes& attributes) {
    if (!accept('{')) return {};
    do {
      skip_space();
      const size_t start = at_;
      HAI_TRY(std::string key, parse_word("an attribute's name"));
      HAI_TRY_STATUS(expect('='));
      HAI_TRY(Attribute attribute, parse_attribute());
      if (!attributes.emplace(std::move(key), std::move(attribute)).second) {
        return fail_value(start, "this attribute is given twice");
      }
    } while (accept(','));
    return expect('}');
  }

  Status parse_node() {
    std::vector<std::string> names;
    std::vector<TensorType> types;
    if (!peek('=')) {
      do {
        skip_space();
        const size_t start = at_;
        HAI_TRY(Declaration declaration, parse_declaration());
        for (const std::string& name : names) {
          if (name == declaration.name) return fail_value(start, "value %" + name + " is declared twice");
        }
        names.push_back(std::move(declaration.name));
        types.push_back(std::move(declaration.type));
      } while (accept(','));
    }
    HAI_TRY_STATUS(expect('='));
    HAI_TRY(std::string op, parse_word("an operator"));
    HAI_TRY_STATUS(expect('('));
    std::vector<ValueId> inputs;
    if (!accept(')')) {
      do {
        HAI_TRY(const ValueId id, parse_operand());
        inputs.push_back(id);
      } while (accept(','));
      HAI_TRY_STATUS(expect(')'));
    }
    Attributes attributes;
    HAI_TRY_STATUS(parse_attributes(attributes));
    std::string node_name;
    if (accept('@')) {
      HAI_TRY(node_name, parse_quoted());
    }
    graph_.add_node(std::move(op), std::move(inputs), std::move(types), std::move(attributes), std::move(node_name),
                    std::move(names));
    return {};
  }

  Status parse_statement() {
    if (peek('%') || peek('=')) return parse_node();
    if (accept_word("input")) {
      HAI_TRY(Declaration declaration, parse_declaration());
      graph_.add_input(std::move(declaration.name), std::move(declaration.type));
      return {};
    }
    if (accept_word("const")) return parse_constant();
    if (accept_word("state")) return parse_state();
    if (accept_word("output")) {
      HAI_TRY(const ValueId id, parse_operand());
      if (id == kNone) return fail("a value: an output is never none");
      graph_.add_output(id);
      return {};
    }
    if (accept_word("metadata")) {
      HAI_TRY(std::string key, parse_quoted());
      HAI_TRY_STATUS(expect('='));
      HAI_TRY(graph_.metadata[std::move(key)], parse_quoted());
      return {};
    }
    return fail("input, const, output, state, metadata, a node (%name: type = op(...)) or '}'");
  }

  std::string_view text_;
  size_t at_ = 0;
  Graph graph_;
};

}  // namespace

Result<Graph> parse(std::string_view text) { return Parser(text).run(); }

}  // namespace hai::ir
