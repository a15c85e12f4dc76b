// Runs the examples of docs/reference/arithmetic.md against types/arithmetic.h: the page and the code state the same
// integers.
//
// Lines of ```examples blocks read `function key=value ... -> result`. The results on the page came from an independent
// model, so this is no comparison of the code with itself.
#include "types/arithmetic.h"
#include "types/fixed_point.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "types/exact_math.h"
#include "types/unary_functions.h"
#include "types/winograd.h"

namespace {

struct Example {
  std::string line;
  std::string function;
  std::map<std::string, std::string> arguments;
  std::string expected;

  double real(const std::string& key) const {
    const auto it = arguments.find(key);
    EXPECT_NE(it, arguments.end()) << line << ": no " << key;
    return it == arguments.end() ? 0.0 : std::strtod(it->second.c_str(), nullptr);
  }
  float f32(const std::string& key) const { return static_cast<float>(real(key)); }
  int64_t integer(const std::string& key) const {
    const auto it = arguments.find(key);
    EXPECT_NE(it, arguments.end()) << line << ": no " << key;
    return it == arguments.end() ? 0 : std::strtoll(it->second.c_str(), nullptr, 10);
  }
  int32_t i32(const std::string& key) const { return static_cast<int32_t>(integer(key)); }
  std::vector<double> reals(const std::string& key) const {
    std::vector<double> values;
    std::stringstream stream(arguments.at(key).substr(1));
    std::string word;
    while (std::getline(stream, word, ',')) values.push_back(std::strtod(word.c_str(), nullptr));
    return values;
  }
  std::vector<int32_t> list(const std::string& key) const {
    std::vector<int32_t> values;
    for (const double value : reals(key)) values.push_back(static_cast<int32_t>(value));
    return values;
  }
  hai_output_range range() const { return {i32("zero"), i32("lo"), i32("hi")}; }
};

std::vector<Example> read_examples() {
  const char* root = std::getenv("HAI_SOURCE_DIR");  // set by ctest; by hand, run from the root of the tree
  std::ifstream file(std::string(root != nullptr ? root : ".") + "/docs/reference/arithmetic.md");
  std::vector<Example> examples;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("```", 0) == 0) {
      inside = line == "```examples";
    } else if (inside) {
      Example example;
      example.line = line;
      const size_t arrow = line.find(" -> ");
      std::stringstream words(line.substr(0, arrow));
      words >> example.function;
      for (std::string word; words >> word;) {
        const size_t equals = word.find('=');
        example.arguments[word.substr(0, equals)] = word.substr(equals + 1);
      }
      example.expected = arrow == std::string::npos ? "" : line.substr(arrow + 4);
      examples.push_back(std::move(example));
    }
  }
  return examples;
}

double result_of_softmax(const Example& e, size_t index) {
  const std::vector<int32_t> x = e.list("x");
  const int32_t largest = *std::max_element(x.begin(), x.end());
  int64_t sum = 0;
  for (const int32_t q : x) sum += hai_softmax_table_entry(largest - q, e.f32("s_x"));
  const int32_t numerator = hai_softmax_table_entry(largest - x[index], e.f32("s_x"));
  return hai_softmax_output(numerator, hai_softmax_inverse(sum, e.f32("s_y")), e.range());
}

double result_of_layer_norm(const Example& e, size_t index) {
  const std::vector<int32_t> x = e.list("x");
  const auto n = static_cast<int64_t>(x.size());
  int64_t sum = 0;
  int64_t squares = 0;
  for (const int32_t q : x) {
    sum += q;
    squares += int64_t{q} * q;
  }
  const float inverse = hai_layer_norm_inverse(hai_layer_norm_variance(n, sum, squares),
                                               hai_layer_norm_epsilon(e.real("epsilon"), n, e.f32("s_x")));
  const auto parameter = [&](const std::string& key) {
    return hai_layer_norm_parameter(static_cast<float>(e.reals(key)[index]), e.f32("s_y"));
  };
  return hai_layer_norm_output(static_cast<float>(n * x[index] - sum), inverse, parameter("gain"), parameter("bias"),
                               e.range());
}

int64_t centred_sum(const Example& e) {
  int64_t acc = 0;
  for (const int32_t q : e.list("x")) acc += q - e.i32("zero_x");
  return acc;
}

double average(const Example& e) {
  const int64_t count = e.arguments.count("count") != 0 ? e.integer("count") : static_cast<int64_t>(e.list("x").size());
  return hai_requantize_i32(static_cast<int32_t>(centred_sum(e)),
                            hai_multiplier_average(e.f32("s_x"), e.f32("s_y"), count), e.range());
}

double dot(const Example& e) {
  const std::vector<int32_t> x = e.list("x");
  const std::vector<int32_t> w = e.list("w");
  int32_t acc = e.i32("bias");
  for (size_t i = 0; i < x.size(); ++i) acc += (x[i] - e.i32("zero_x")) * w[i];
  return acc;
}

double dot_wide(const Example& e) {
  const std::vector<int32_t> x = e.list("x");
  const std::vector<int32_t> w = e.list("w");
  auto acc = static_cast<int64_t>(e.real("bias"));
  for (size_t i = 0; i < x.size(); ++i) acc += int64_t{x[i] - e.i32("zero_x")} * w[i];
  return static_cast<double>(acc);
}

double winograd_tap(const Example& e) {
  std::vector<int32_t> d = e.list("d");
  hai_winograd_input_s32(e.i32("tile"), d.data());
  return d[static_cast<size_t>(e.i32("tap"))];
}

// By the sums that devices add up, modulo 2^32.
double dot_varying(const Example& e) {
  const std::vector<int32_t> a = e.list("a");
  const std::vector<int32_t> b = e.list("b");
  uint32_t products = 0;
  uint32_t sum_a = 0;
  uint32_t sum_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    products += static_cast<uint32_t>(a[i]) * static_cast<uint32_t>(b[i]);
    sum_a += static_cast<uint32_t>(a[i]);
    sum_b += static_cast<uint32_t>(b[i]);
  }
  const auto zero_a = static_cast<uint32_t>(e.i32("zero_a"));
  const auto zero_b = static_cast<uint32_t>(e.i32("zero_b"));
  const auto k = static_cast<uint32_t>(a.size());
  return static_cast<int32_t>(static_cast<uint32_t>(e.i32("bias")) + products - zero_b * sum_a - zero_a * sum_b +
                              k * zero_a * zero_b);
}

double resize(const Example& e) {
  std::vector<int32_t> d = e.list("x");
  for (int32_t& q : d) q -= e.i32("zero_x");
  const int32_t row = e.i32("w_row");
  const int32_t column = e.i32("w_col");
  const int32_t upper = (HAI_RESIZE_ONE - column) * d[0] + column * d[1];
  const int32_t lower = (HAI_RESIZE_ONE - column) * d[2] + column * d[3];
  const float m = hai_multiplier_average(e.f32("s_x"), e.f32("s_y"), int64_t{HAI_RESIZE_ONE} * HAI_RESIZE_ONE);
  return hai_requantize_i32((HAI_RESIZE_ONE - row) * upper + row * lower, m, e.range());
}

double min_or_max(const Example& e) {
  const int32_t a = hai_rescale(e.i32("a"), e.i32("zero_a"), e.f32("m_a"), e.range());
  const int32_t b = hai_rescale(e.i32("b"), e.i32("zero_b"), e.f32("m_b"), e.range());
  return e.function == "min" ? std::min(a, b) : std::max(a, b);
}

double prelu(const Example& e) {
  if (e.i32("a") >= e.i32("zero_a")) return hai_rescale(e.i32("a"), e.i32("zero_a"), e.f32("m_a"), e.range());
  return hai_mul(e.i32("a"), e.i32("b"), e.i32("zero_a"), e.i32("zero_b"), e.f32("m_product"), e.range());
}

double unary(const Example& e) {
  const auto function = hai::find_unary_function(e.arguments.at("function"));
  EXPECT_TRUE(function) << e.line;
  return hai::unary_integer(function.value_or(0), 0.0, 0.0, e.i32("q"), e.f32("s_x"), e.i32("zero_x"), e.f32("s_y"),
                            e.range());
}

double exact(const Example& e) {
  const auto function = hai::find_unary_function(e.arguments.at("function"));
  return hai::unary_f64(function.value_or(0), e.real("x"), 0.0, 0.0);
}

double requantize_wide(const Example& e) { return hai_requantize_i64(e.integer("acc"), e.f32("m"), e.range()); }

double add_or_sub(const Example& e) {
  const auto function = e.function == "add" ? hai_add : hai_sub;
  return function(e.i32("a"), e.i32("b"), e.i32("zero_a"), e.i32("zero_b"), e.f32("m_a"), e.f32("m_b"), e.range());
}

double product(const Example& e) {
  const auto function = e.function == "mul" ? hai_mul : hai_mul_wide;
  return function(e.i32("a"), e.i32("b"), e.i32("zero_a"), e.i32("zero_b"), e.f32("m"), e.range());
}

double rescale(const Example& e) {
  const auto function = e.function == "rescale" ? hai_rescale : hai_rescale_wide;
  return function(e.i32("q"), e.i32("zero_x"), e.f32("m"), e.range());
}

double sum(const Example& e) {
  return hai_requantize_i32(static_cast<int32_t>(centred_sum(e)), hai_multiplier_ratio(e.f32("s_x"), e.f32("s_y")),
                            e.range());
}

double multiplier(const Example& e) {
  if (e.function == "multiplier_product") {
    return static_cast<double>(hai_multiplier_product(e.f32("s_x"), e.f32("s_w"), e.f32("s_y")));
  }
  if (e.function == "multiplier_ratio") {
    return static_cast<double>(hai_multiplier_ratio(e.f32("s_x"), e.f32("s_y")));
  }
  return static_cast<double>(hai_multiplier_average(e.f32("s_x"), e.f32("s_y"), e.integer("count")));
}

using Function = std::function<double(const Example&)>;

const std::map<std::string, Function>& functions() {
  static const std::map<std::string, Function> table = {
      {"round_half_even", [](const Example& e) { return static_cast<double>(hai_round_half_even_f32(e.f32("x"))); }},
      {"store_f32", [](const Example& e) { return hai_store_f32(e.f32("x"), e.range()); }},
      {"store_f64", [](const Example& e) { return hai_store_f64(e.real("x"), e.range()); }},
      {"multiplier_product", multiplier},
      {"multiplier_ratio", multiplier},
      {"multiplier_average", multiplier},
      {"usable", [](const Example& e) { return hai_multiplier_usable(e.f32("m")); }},
      {"requantize_i32", [](const Example& e) { return hai_requantize_i32(e.i32("acc"), e.f32("m"), e.range()); }},
      {"requantize_i64", requantize_wide},
      {"mean_fixed_point",
       [](const Example& e) {
         const hai_fixed_point m =
             hai_fixed_point_of_mean(e.f32("s_x"), e.f32("s_y"), static_cast<int64_t>(e.list("x").size()));
         return hai_requantize_fixed_point(static_cast<int32_t>(centred_sum(e)), m, e.range());
       }},
      {"requantize_fixed_point",
       [](const Example& e) {
         return hai_requantize_fixed_point(e.i32("acc"), hai_fixed_point_of(e.f32("s_x"), e.f32("s_w"), e.f32("s_y")),
                                           e.range());
       }},
      {"dot", dot},
      {"dot_wide", dot_wide},
      {"dot_varying", dot_varying},
      {"bound",
       [](const Example& e) { return hai_store_f64(e.real("real") / static_cast<double>(e.f32("scale")), e.range()); }},
      {"winograd_input", winograd_tap},
      {"winograd_requantize", [](const Example& e) { return hai_winograd_requantize(e.i32("v"), e.i32("shift")); }},
      {"winograd_round_f16", [](const Example& e) { return static_cast<double>(hai_winograd_round_f16(e.f32("v"))); }},
      {"winograd_store",
       [](const Example& e) { return hai_winograd_store(static_cast<int64_t>(e.real("acc")), e.f32("m"), e.range()); }},
      {"add", add_or_sub},
      {"sub", add_or_sub},
      {"mul", product},
      {"mul_wide", product},
      {"rescale", rescale},
      {"rescale_wide", rescale},
      {"min", min_or_max},
      {"max", min_or_max},
      {"prelu", prelu},
      {"average", average},
      {"sum", sum},
      {"unary", unary},
      {"exact", exact},
      {"softmax_table", [](const Example& e) { return hai_softmax_table_entry(e.i32("distance"), e.f32("s_x")); }},
      {"resize", resize},
      {"quantize", [](const Example& e) { return hai_quantize(e.f32("x"), e.f32("scale"), e.range()); }},
      {"dequantize",
       [](const Example& e) { return static_cast<double>(hai_dequantize(e.i32("q"), e.f32("scale"), e.i32("zero"))); }},
  };
  return table;
}

// Whose results are rows, element by element.
const std::map<std::string, double (*)(const Example&, size_t)>& functions_of_rows() {
  static const std::map<std::string, double (*)(const Example&, size_t)> table = {{"softmax", result_of_softmax},
                                                                                  {"layer_norm", result_of_layer_norm}};
  return table;
}

TEST(Arithmetic, ExamplesOfTheReferencePage) {
  const std::vector<Example> examples = read_examples();
  ASSERT_GT(examples.size(), 80U) << "docs/reference/arithmetic.md is missing or has no examples";
  std::map<std::string, int> used;
  for (const Example& example : examples) {
    ++used[example.function];
    const auto of_rows = functions_of_rows().find(example.function);
    if (of_rows != functions_of_rows().end()) {
      std::string got;
      for (size_t i = 0; i < example.list("x").size(); ++i) {
        got += (i == 0 ? "[" : ",") + std::to_string(static_cast<int>(of_rows->second(example, i)));
      }
      EXPECT_EQ(got + "]", example.expected) << example.line;
      continue;
    }
    const auto it = functions().find(example.function);
    ASSERT_NE(it, functions().end()) << "no such function: " << example.line;
    EXPECT_EQ(it->second(example), std::strtod(example.expected.c_str(), nullptr)) << example.line;
  }
  for (const auto& [name, function] : functions()) EXPECT_GT(used[name], 0) << name << " has no example";
  for (const auto& [name, function] : functions_of_rows()) EXPECT_GT(used[name], 0) << name << " has no example";
}

// The clamp of the stored integer and the table of the function are the same where scales are equal.
TEST(Arithmetic, ReluWithEqualScalesIsAClamp) {
  const hai_output_range range{-37, -128, 127};
  const auto relu = hai::find_unary_function("relu");
  ASSERT_TRUE(relu);
  for (int32_t q = -128; q <= 127; ++q) {
    EXPECT_EQ(hai::unary_integer(*relu, 0.0, 0.0, q, 0.0371F, -37, 0.0371F, range), std::max(q, -37));
  }
}

}  // namespace
