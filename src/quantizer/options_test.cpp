// Options from JSON: every field, and every way to get one wrong.
#include "quantizer/options.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

namespace hai::quantizer {
namespace {

std::string error_of(std::string_view text) {
  const auto options = options_from_json(text);
  return options.has_value() ? "none" : options.error().id;
}

TEST(Options, EmptyTextAndAnEmptyObjectAreTheDefaults) {
  for (const std::string_view text : {"", "{}"}) {
    const auto options = options_from_json(text);
    ASSERT_TRUE(options.has_value()) << options.error().to_string();
    EXPECT_EQ(options->observer, Observer::kMse);
    EXPECT_EQ(options->precision, Precision{});
    EXPECT_TRUE(options->bias_correction);
    EXPECT_FALSE(options->adaround);
  }
}

TEST(Options, EveryFieldIsRead) {
  const auto options = options_from_json(R"({"observer": "kl", "percentile": 99.5, "symmetric": true,
    "bias_correction": false, "precision": "w4a8", "layers": {"a": "float", "b": {"weight_bits": 8,
    "activation_bits": 16}}, "keep_float": ["c", "d"], "largest_scales": true, "equalize": true, "widen": false,
    "smooth": true,
    "adaround": {"iterations": 7, "batch_rows": 13, "learning_rate": 0.5, "regularization": 0.25, "max_rows": 19},
    "sparsity": 0.3, "self_check": false, "sample_memory_bytes": 1000, "threads": 2, "seed": 77, "force": true})");
  ASSERT_TRUE(options.has_value()) << options.error().to_string();
  EXPECT_EQ(options->observer, Observer::kKl);
  EXPECT_EQ(options->percentile, 99.5);
  EXPECT_TRUE(options->symmetric);
  EXPECT_FALSE(options->bias_correction);
  EXPECT_EQ(options->precision, (Precision{4, 8, false}));
  EXPECT_TRUE(options->layers.at("a").is_float);
  EXPECT_EQ(options->layers.at("b"), (Precision{8, 16, false}));
  EXPECT_EQ(options->keep_float, (std::vector<std::string>{"c", "d"}));
  EXPECT_TRUE(options->largest_scales);
  EXPECT_TRUE(options->equalize);
  EXPECT_FALSE(options->widen);
  EXPECT_TRUE(options->smooth);
  EXPECT_TRUE(options->adaround);
  EXPECT_EQ(options->adaround_options, (AdaRoundOptions{7, 13, 0.5, 0.25, 19}));
  EXPECT_EQ(options->sparsity, 0.3);
  EXPECT_FALSE(options->self_check);
  EXPECT_EQ(options->sample_memory_bytes, 1000);
  EXPECT_EQ(options->threads, 2);
  EXPECT_EQ(options->seed, 77U);
  EXPECT_TRUE(options->force);
}

TEST(Options, WrongTypesAndRangesAreErrors) {
  for (const std::string_view text : {R"({"observer": "zz"})",
                                      R"({"observer": 1})",
                                      R"({"percentile": 49})",
                                      R"({"percentile": 100.1})",
                                      R"({"percentile": "99"})",
                                      R"({"symmetric": 1})",
                                      R"({"symmetric": "true"})",
                                      R"({"layers": []})",
                                      R"({"keep_float": "a"})",
                                      R"({"keep_float": [1]})",
                                      R"({"threads": 1.5})",
                                      R"({"threads": -1})",
                                      R"({"threads": 1025})",
                                      R"({"seed": 18446744073709551615})",
                                      R"({"max_drop": 0})",
                                      R"({"max_drop": -1})",
                                      R"({"max_drop": 100.01})",
                                      R"({"max_drop": "1"})",
                                      R"({"max_drop": true})",
                                      R"({"max_drop": null})",
                                      R"({"max_drop": [1]})",
                                      R"({"winograd": true})",
                                      R"({"winograd": "F4"})",
                                      R"({"winograd": ""})",
                                      R"({"winograd": null})",
                                      R"({"winograd": ["all"]})",
                                      R"({"winograd": 4})",
                                      R"({"winograd_loss_db": -1})",
                                      R"({"winograd_loss_db": 200.5})",
                                      R"({"winograd_loss_db": "3"})",
                                      R"({"sparsity": 1})",
                                      R"({"sparsity": -0.1})",
                                      R"({"precision": 8})",
                                      R"({"adaround": 3})",
                                      R"({"adaround": {"iterations": -1}})",
                                      R"({"precision": {"weight_bits": "8"}})",
                                      R"({"threads": null})"}) {
    EXPECT_EQ(error_of(text), "Q050") << text;
  }
}

TEST(Options, NumbersThatAreNotFiniteAreNamedWithTheirRange) {
  for (const std::string_view number : {"NaN", "Infinity", "-Infinity", "nan", "inf", "1e999", "-1e999"}) {
    for (const auto& [name, range] : std::vector<std::pair<std::string, std::string>>{
             {"percentile", "[50, 100]"}, {"sparsity", "[0, 1)"}, {"max_drop", "(0, 100]"}, {"threads", "[0, 1024]"}}) {
      const auto options = options_from_json(fmt::format("{{\"{}\": {}}}", name, number));
      ASSERT_FALSE(options.has_value()) << name << number;
      EXPECT_EQ(options.error().id, "Q050");
      EXPECT_NE(options.error().message.find("\"" + name + "\" is no finite number"), std::string::npos);
      EXPECT_NE(options.error().message.find(range), std::string::npos) << options.error().message;
    }
    EXPECT_EQ(error_of(fmt::format("{{\"adaround\": {{\"learning_rate\":{}}}}}", number)), "Q050");
    EXPECT_EQ(error_of(fmt::format("{{\"keep_float\": [{}]}}", number)), "Q050");
    EXPECT_EQ(error_of(fmt::format("{{\"layers\": {{\"a\": {}}}}}", number)), "Q050");
    EXPECT_EQ(error_of(fmt::format("{{\"percentile\": {}, \"percentile\": 99}}", number)), "Q049");
  }
  const auto names = options_from_json(R"({"keep_float": ["NaN", "a\"1e999", "\\", "Infinity"], "seed": 3})");
  ASSERT_TRUE(names.has_value()) << names.error().to_string();
  EXPECT_EQ(names->keep_float, (std::vector<std::string>{"NaN", "a\"1e999", "\\", "Infinity"}));
  for (const std::string_view text : {"{\"seed\": 1\"", "{\"a\\", "\"", "{\"seed\": 1e}", "NaN", "{NaN: 1}"})
    EXPECT_EQ(error_of(text), "Q056") << text;
}

TEST(Options, F16IsAPrecision) {
  const auto options = options_from_json(R"({"precision": "f16", "layers": {"a": "w16a16", "b": "f16"}})");
  ASSERT_TRUE(options.has_value()) << options.error().to_string();
  EXPECT_TRUE(options->precision.is_half);
  EXPECT_FALSE(options->layers.at("a").is_half);
  EXPECT_EQ(to_string(options->layers.at("b")), "f16");
  EXPECT_FALSE(options->precision.weight_only());
}

TEST(Options, AGoalAndAPrecisionExcludeEachOther) {
  const auto options = options_from_json(R"({"max_drop": 0.5, "layers": {"a": "w8a8"}})");
  ASSERT_TRUE(options.has_value()) << options.error().to_string();
  EXPECT_EQ(options->max_drop, 0.5);
  EXPECT_EQ(error_of(R"({"max_drop": 0.5, "precision": "w8a8"})"), "Q058");
}

TEST(Options, WinogradGoesWithNothingThatLearnsWeights) {
  EXPECT_EQ(error_of(R"({"winograd": "all", "adaround": true})"), "Q076");
  EXPECT_EQ(error_of(R"({"winograd": "auto", "adaround": {"iterations": 0}})"), "Q076");
  EXPECT_EQ(error_of(R"({"winograd": "auto", "max_drop": 1})"), "Q076");
  for (const std::string_view name : {"off", "auto", "all"}) {
    const auto options = options_from_json(fmt::format("{{\"winograd\": \"{}\"}}", name));
    ASSERT_TRUE(options.has_value()) << options.error().to_string();
    EXPECT_EQ(winograd_name(options->winograd), name);
  }
  EXPECT_EQ(options_from_json(R"({"winograd": "off", "adaround": true})")->winograd, Winograd::kOff);
}

TEST(Options, ALayerHasOnePrecision) {
  EXPECT_EQ(error_of(R"({"layers": {"a": "w8a8", "b": "float"}, "keep_float": ["b", "a"]})"), "Q048");
  EXPECT_EQ(error_of(R"({"keep_float": ["a"], "layers": {"a": "w4"}})"), "Q048");
  EXPECT_TRUE(options_from_json(R"({"layers": {"a": "w8a8", "b": "float"}, "keep_float": ["b", "c"]})").has_value());
}

TEST(Options, UnknownNamesAreErrorsThatListTheKnown) {
  EXPECT_EQ(error_of(R"({"obserwer": "mse"})"), "Q057");
  EXPECT_NE(options_from_json(R"({"obserwer": "mse"})").error().message.find("observer"), std::string::npos);
  EXPECT_EQ(error_of(R"({"adaround": {"steps": 3}})"), "Q054");
  EXPECT_EQ(error_of(R"({"precision": {"bits": 8}})"), "Q052");
  EXPECT_EQ(error_of(R"({"precision": "w3a8"})"), "Q051");
  EXPECT_EQ(error_of(R"({"layers": {"a": "w3a8"}})"), "Q051");
}

TEST(Options, WidthsThatDoNotGoTogetherAreErrors) {
  EXPECT_EQ(error_of(R"({"precision": {"weight_bits": 16, "activation_bits": 8}})"), "Q053");
  EXPECT_EQ(error_of(R"({"precision": {"weight_bits": 5}})"), "Q053");
}

TEST(Options, WhatIsNoObjectIsAnError) {
  for (const std::string_view text : {"[]", "3", "{", "nonsense", "{\"a\": }", "\xff\xfe", "{\"threads\": 1} x"})
    EXPECT_EQ(error_of(text), "Q056") << text;
  const std::string deep = "{\"layers\": " + std::string(100000, '[') + std::string(100000, ']') + "}";
  EXPECT_EQ(error_of(deep), "Q056");
  EXPECT_EQ(error_of(std::string((size_t{16} << 20) + 1, ' ')), "Q055");
}

TEST(Precision, NamesGoThereAndBack) {
  for (const std::string_view name : {"w8a8", "w4a8", "w8a16", "w16a16", "w8", "w4", "float"}) {
    const auto precision = parse_precision(name);
    ASSERT_TRUE(precision.has_value());
    EXPECT_EQ(to_string(*precision), name);
  }
  EXPECT_EQ(to_string(*parse_precision("int4")), "w4a8");
  EXPECT_TRUE(parse_precision("w4")->weight_only());
}

}  // namespace
}  // namespace hai::quantizer
