// Every operator, every sample that the NPU takes: compiled for it, loaded, run, and equal bit for bit to the
// reference, at batch 1 and a free batch of 3, on the machine of the product and on one with little memory.
//
// A sample counts only when an instruction of the NPU is in its program, so that nothing passes by running on the CPU;
// how many must is at the end. No two commands of different queues may touch the same bytes without an order.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "../end_to_end/loaded_graph.h"
#include "../end_to_end/npu_program.h"
#include "compare.h"
#include "devices/sd3403/lower/segment_builder.h"
#include "ops/op_schema.h"
#include "ops/sample_inputs.h"

namespace hai::conformance {
namespace {

using testing::LoadedGraph;

sd3403::Machine small_machine() {
  sd3403::Machine machine;
  machine.name = "small";
  machine.sram_bytes = 16384;
  machine.weight_cache_bytes = 4096;
  machine.accumulator_bytes = 2048;
  return machine;
}

// Whether the NPU ran it. `what` names it in failures.
bool runs_equal(const ops::SampleGraph& sample, int64_t batch, const sd3403::Machine& machine,
                const std::string& what) {
  compiler::CompileOptions options;
  options.device = "sd3403";
  options.sd3403.machine = machine;
  options.sd3403.partition.least_macs = 0;
  const auto want = ops::interpret(sample.graph, sample.inputs);
  EXPECT_TRUE(want) << what << ": " << want.error().to_string();
  const auto compiled = compiler::compile(sample.graph, options);
  // What is too large for the small machine may be nothing for the CPU either.
  if (!compiled && machine.name == "small" && !compiler::compile(sample.graph, {})) return false;
  EXPECT_TRUE(compiled) << what << ": " << compiled.error().to_string();
  if (!want || !compiled) return false;
  const auto programs = testing::npu_programs(compiled->file);
  EXPECT_EQ(testing::race_in(programs), "") << what;
  LoadedGraph loaded(compiled->file);
  EXPECT_EQ(loaded.error, "") << what;
  if (!loaded.error.empty()) return false;
  std::vector<ops::Tensor> got = testing::garbage_like(want->outputs);
  const std::string error = loaded.run({cpu::available_isas().back(), 2, batch}, sample.inputs, got);
  EXPECT_EQ(error, "") << what;
  for (size_t i = 0; error.empty() && i < got.size(); ++i) {
    const auto difference = first_difference(got[i], want->outputs[i], 0.0);
    EXPECT_FALSE(difference) << what << ", output " << i << ": " << difference.value_or("");
  }
  return !programs.empty();
}

// The sample, and what of it the NPU may take where its first axis is no batch of single samples: with one sample, and
// with an axis before the others.
std::vector<Sample> forms_of(const Sample& sample) {
  std::vector<Sample> forms = {sample, sample, sample};
  forms[1].name += ", one sample";
  forms[2].name += ", one more axis";
  const auto cut = [](ir::TensorType& type) {
    if (!type.shape.empty()) type.shape[0] = Dim(1);
  };
  for (SampleInput& input : forms[1].inputs) {
    if (!input.constant) cut(input.type);
  }
  for (auto& output : forms[1].outputs) {
    if (output) cut(*output);
  }
  const auto add = [](ir::TensorType& type) { type.shape.insert(type.shape.begin(), Dim(1)); };
  for (SampleInput& input : forms[2].inputs) {
    if (!input.constant) add(input.type);
  }
  for (auto& output : forms[2].outputs) {
    if (output && !output->shape.empty()) add(*output);
  }
  return forms;
}

TEST(NpuConformance, EverySampleThatTheNpuTakes) {
  std::map<std::string, int> ran;
  std::map<std::string, int> ran_small;
  for (const OpSchema* schema : all_op_schemas()) {
    const sd3403::NpuLowering* lowering = sd3403::LowerRegistry::instance().find(schema->name);
    if (lowering == nullptr) continue;
    for (const Sample& description : schema->samples(*schema)) {
      if (!description.op.empty() && description.op != schema->name) continue;
      for (const Sample& form : forms_of(description)) {
        const auto takes = [&](const Result<ops::SampleGraph>& sample) {
          return sample && sd3403::check_legality(lowering->legality, sample->graph, sample->graph.node(0));
        };
        const auto sample = ops::build_sample(*schema, form);
        if (!takes(sample)) continue;
        const std::string what = fmt::format("{}/{}", schema->name, form.name);
        ran[schema->name] += runs_equal(*sample, 1, {}, what) ? 1 : 0;
        const auto batched = ops::build_sample(*schema, form, {true, 3});
        if (takes(batched)) {
          ran_small[schema->name] +=
              runs_equal(*batched, 3, small_machine(), what + ", batch 3, small machine") ? 1 : 0;
        }
        break;
      }
    }
  }
  // dequantize needs a cast behind it: tests/end_to_end.
  const std::map<std::string, int> least = {
      {"conv2d", 650}, {"matmul", 50}, {"add", 15},         {"sub", 15},       {"mul", 15},
      {"rescale", 6},  {"concat", 4},  {"average_pool", 4}, {"max_pool", 4},   {"resize", 5},
      {"reshape", 1},  {"sigmoid", 3}, {"cast", 1},         {"dequantize", 0}, {"winograd_conv2d", 150}};
  int on_small = 0;
  for (const OpSchema* schema : all_op_schemas()) {
    if (sd3403::LowerRegistry::instance().find(schema->name) == nullptr) continue;
    const auto wanted = least.find(schema->name);
    EXPECT_GE(ran[schema->name], wanted == least.end() ? 2 : wanted->second) << schema->name;
    on_small += ran_small[schema->name];
  }
  EXPECT_GT(on_small, 600);
}

// Taps have sums of their own, so that weights may come in parts where a direct f16 window stays on the CPU.
TEST(NpuConformance, TilesOfF16MayBeDeeperThanWindows) {
  const OpSchema& schema = *find_op_schema("winograd_conv2d");
  for (const Sample& description : schema.samples(schema)) {
    if (description.name.rfind("beyond_windows", 0) != 0) continue;
    const auto sample = ops::build_sample(schema, description);
    ASSERT_TRUE(sample);
    EXPECT_TRUE(runs_equal(*sample, 1, {}, description.name)) << "on the CPU";
  }
}

}  // namespace
}  // namespace hai::conformance
