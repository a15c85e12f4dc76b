// Every operator, every sample: inference against the reference, and the CPU device on every instruction set of this
// machine against the reference, with 1 and 2 threads, at batch 1 and (where the sample allows) a free batch of 3.
//
// Integers must be equal; floats within the sample's tolerance of the largest reference value. A failure names
// operator, sample, instruction set, shapes, seed and first different element, and the command that reruns just it.
// What the CPU device refuses by name is no failure here: the operator matrix (`hai ops --matrix --check`) watches for
// holes.
#include <gtest/gtest.h>
#include <algorithm>

#include "compare.h"
#include "cpu_node.h"
#include "devices/cpu/exec/isa.h"
#include "importers/onnx/import_registry.h"
#include "ops/build.h"
#include "ops/op_schema.h"
#include "ops/sample_inputs.h"

namespace hai::conformance {
namespace {

struct Case {
  const OpSchema* schema;
  Sample sample;
};

std::string case_name(const Case& test_case) {
  std::string name = test_case.schema->name + "_" + test_case.sample.name;
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

// gtest prints this after the name of a parameterised test.
[[maybe_unused]] void PrintTo(const Case& test_case, std::ostream* stream) {
  *stream << test_case.schema->name << "/" << test_case.sample.name;
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const OpSchema* schema : all_op_schemas()) {
    if (schema->samples == nullptr) continue;
    for (Sample& sample : schema->samples(*schema)) {
      if (sample.op.empty() || sample.op == schema->name) cases.push_back({schema, std::move(sample)});
    }
  }
  return cases;
}

std::string shapes_of(const ops::SampleGraph& sample) {
  std::string text;
  for (const ops::Tensor& input : sample.inputs) {
    text += fmt::format(" {}{}", data_type_name(input.dtype), to_string(input.dims));
  }
  return text;
}

std::string report(const Case& test_case, const ops::SampleGraph& sample, std::string_view device,
                   std::string_view what) {
  return fmt::format(
      "{}/{} on {}: {}\n  inputs:{}  seed {}\n  rerun: build/bin/tests/tests_conformance_test "
      "--gtest_filter='*.*/{}'",
      test_case.schema->name, test_case.sample.name, device, what, shapes_of(sample), test_case.sample.seed,
      case_name(test_case));
}

class Conformance : public testing::TestWithParam<Case> {};

// Inference and reference agree when the reference writes every element of the inferred outputs: run it over two
// different fillings and compare.
TEST_P(Conformance, ReferenceFillsWhatInferenceSays) {
  const Case& test_case = GetParam();
  auto sample = ops::build_sample(*test_case.schema, test_case.sample);
  ASSERT_TRUE(sample) << sample.error().to_string();
  const auto verified = ops::verify(sample->graph);
  ASSERT_TRUE(verified) << verified.error().to_string();
  const ir::Node& node = sample->graph.node(0);
  std::vector<TensorView> inputs;
  size_t next = 0;
  for (const ir::ValueId id : node.inputs) {
    if (id == ir::kNone) {
      inputs.emplace_back();
      continue;
    }
    const ir::Value& value = sample->graph.value(id);
    const Quantization* quantization = value.type.quantization ? &*value.type.quantization : nullptr;
    TensorView view = value.constant ? TensorView{value.type.dtype, resolve(value.type.shape, {}),
                                                  value.constant->bytes().data(), nullptr}
                                     : sample->inputs[next++].view();
    view.quantization = quantization;
    inputs.push_back(view);
  }
  if (!test_case.schema->inputs.empty() && !test_case.schema->inputs.back().variadic) {
    inputs.resize(test_case.schema->inputs.size());
  }
  std::vector<std::vector<ops::Tensor>> runs;
  for (const int filling : {0x55, 0xaa}) {
    std::vector<ops::Tensor> outputs;
    for (const ir::ValueId id : node.outputs) {
      const ir::TensorType& type = sample->graph.value(id).type;
      const std::vector<int64_t> symbols(sample->graph.symbols.size(), 1);
      outputs.push_back(ops::Tensor::zeros(type.dtype, resolve(type.shape, symbols), type.quantization));
      std::fill(outputs.back().storage.begin(), outputs.back().storage.end(), static_cast<std::byte>(filling));
    }
    std::vector<MutableTensorView> views;
    for (ops::Tensor& output : outputs) views.push_back(output.mutable_view());
    const auto status = test_case.schema->reference(*test_case.schema, {inputs, views, node});
    ASSERT_TRUE(status) << report(test_case, *sample, "the reference", status.error().to_string());
    runs.push_back(std::move(outputs));
  }
  for (size_t i = 0; i < runs[0].size(); ++i) {
    const auto difference = first_difference(runs[0][i], runs[1][i], 0.0);  // not bytes: odd nibbles leave half a byte
    EXPECT_FALSE(difference) << report(
        test_case, *sample, "the reference",
        fmt::format("output {} of {} has elements that nothing wrote: {}", i, to_string(runs[0][i].dims), *difference));
  }
}

void run_everywhere(const Case& test_case, const ops::SampleGraph& sample, int64_t batch) {
  const auto want = ops::interpret(sample.graph, sample.inputs);
  ASSERT_TRUE(want) << report(test_case, sample, "the reference", want.error().to_string());
  CollectingContext lowered(sample.graph);
  const ir::Node& node = sample.graph.node(0);
  const cpu::CpuLowering* lowering = cpu::LowerRegistry::instance().find(node.op);
  if (lowering == nullptr || !lowering->supports(sample.graph, node)) return;
  const auto status = lowered.lower_all();
  ASSERT_TRUE(status) << report(test_case, sample, "cpu (lowering)", status.error().to_string());
  for (const cpu::Isa isa : cpu::available_isas()) {
    for (const int threads : {1, 2}) {
      const std::string device = fmt::format("cpu {} with {} threads, batch {}", cpu::isa_name(isa), threads, batch);
      CpuRun run(sample.graph, lowered, isa, threads);
      const auto got = run.run(sample.inputs, batch);
      ASSERT_TRUE(got) << report(test_case, sample, device, got.error().to_string());
      for (size_t i = 0; i < got->size(); ++i) {
        const auto difference = first_difference((*got)[i], want->outputs[i], test_case.sample.tolerance);
        ASSERT_FALSE(difference) << report(test_case, sample, device, fmt::format("output {}: {}", i, *difference));
      }
    }
  }
}

TEST_P(Conformance, CpuMatchesTheReference) {
  const Case& test_case = GetParam();
  auto sample = ops::build_sample(*test_case.schema, test_case.sample);
  ASSERT_TRUE(sample) << sample.error().to_string();
  run_everywhere(test_case, *sample, 1);
  if (HasFatalFailure()) return;
  const bool own_symbol = !sample->graph.symbols.empty();
  auto batched = ops::build_sample(*test_case.schema, test_case.sample, {!own_symbol, 3});
  if (batched) run_everywhere(test_case, *batched, 3);
}

INSTANTIATE_TEST_SUITE_P(Ops, Conformance, testing::ValuesIn(all_cases()),
                         [](const testing::TestParamInfo<Case>& param) { return case_name(param.param); });

TEST(Schemas, SayEverythingTheirReadersNeed) {
  for (const OpSchema* schema : all_op_schemas()) {
    EXPECT_GE(schema->doc.size(), 20U) << schema->name << ": a schema documents its formula";
    EXPECT_FALSE(schema->outputs.empty()) << schema->name;
    for (const OperandSpec& operand : schema->inputs) {
      EXPECT_FALSE(operand.doc.empty()) << schema->name << ": operand " << operand.name;
      EXPECT_TRUE(!operand.variadic || &operand == &schema->inputs.back()) << schema->name;
    }
    for (const OperandSpec& operand : schema->outputs) {
      EXPECT_FALSE(operand.doc.empty()) << schema->name << ": result " << operand.name;
    }
    for (const AttributeSpec& attribute : schema->attributes) {
      EXPECT_FALSE(attribute.doc.empty()) << schema->name << ": attribute " << attribute.name;
    }
    EXPECT_NE(schema->infer, nullptr) << schema->name;
    EXPECT_NE(schema->reference, nullptr) << schema->name;
    EXPECT_NE(schema->cost, nullptr) << schema->name;
    ASSERT_NE(schema->samples, nullptr) << schema->name;
    std::vector<std::string> names;
    for (const Sample& sample : schema->samples(*schema)) names.push_back(sample.name);
    EXPECT_FALSE(names.empty()) << schema->name << " has no samples";
    std::sort(names.begin(), names.end());
    EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end())
        << schema->name << ": two samples of one name";
  }
}

// The types that models carry at run time: a refusal of one of these is a hole, unless it is named here.
TEST(Schemas, TheCpuTakesEverySampleOfF32And8Bits) {
  const auto usual = [](const ir::TensorType& type) {
    const bool stored = (type.dtype == DataType::kI8 || type.dtype == DataType::kU8) && type.quantization &&
                        type.quantization->per_tensor();
    return stored || type.dtype == DataType::kF32;
  };
  int taken = 0;
  for (const Case& test_case : all_cases()) {
    const auto sample = ops::build_sample(*test_case.schema, test_case.sample);
    ASSERT_TRUE(sample) << sample.error().to_string();
    const ir::Node& node = sample->graph.node(0);
    bool all_usual = true;
    for (const ir::ValueId id : node.inputs) {
      if (id != ir::kNone && !sample->graph.is_input(id)) continue;  // weights have types of their own
      all_usual = all_usual && (id == ir::kNone || usual(sample->graph.value(id).type));
    }
    for (const ir::ValueId id : node.outputs) all_usual = all_usual && usual(sample->graph.value(id).type);
    if (!all_usual) continue;
    const cpu::CpuLowering* lowering = cpu::LowerRegistry::instance().find(node.op);
    ASSERT_NE(lowering, nullptr) << node.op << " has no lowering on cpu";
    const Status status = lowering->supports(sample->graph, node);
    EXPECT_TRUE(status) << report(test_case, *sample, "cpu", status.error().to_string());
    ++taken;
  }
  EXPECT_GT(taken, 500);
}

TEST(Schemas, OnnxNamesHaveConverters) {
  onnx_import::ImportRegistry registry;
  onnx_import::register_all_importers(registry);
  onnx_import::register_basic_operators(registry);
  onnx_import::register_composed_operators(registry);
  for (const OpSchema* schema : all_op_schemas()) {
    for (const std::string_view name : schema->onnx_names) {
      EXPECT_NE(registry.find("", name), nullptr) << schema->name << " says that ONNX's " << name << " becomes it";
    }
  }
}

}  // namespace
}  // namespace hai::conformance
