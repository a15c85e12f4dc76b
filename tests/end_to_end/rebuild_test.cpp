// INT8 that is rebuilt after a training against what the compiler makes: equal parameters and ranges, equal bytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "compiler/compile.h"
#include "compiler/training.h"
#include "format/model.h"
#include "quantizer/quantizer.h"
#include "quantizer/test_network.h"
#include "quantizer/test_samples.h"
#include "rebuild/rebuild.h"
#include "training/rebuilder.h"
#include "training/trainer.h"

namespace hai {
namespace {

using quantizer::testing::NetworkBuilder;
using quantizer::testing::samples_of;

constexpr int64_t kSize = 9;
constexpr int64_t kClasses = 3;
constexpr const char* kTrainable = "last:5";

class Network : public NetworkBuilder {
 public:
  explicit Network(uint32_t seed) : NetworkBuilder(seed) { graph.symbols = {{"batch", 1, 8}}; }

  ir::ValueId norm(ir::ValueId x, int64_t channels, const std::string& name) {
    std::uniform_real_distribution<float> positive(0.5F, 1.5F);
    std::normal_distribution<float> normal(0.0F, 0.2F);
    std::vector<ir::ValueId> inputs = {x};
    const int64_t dims[] = {channels};
    for (const char* part : {".gamma", ".beta", ".mean", ".variance"}) {
      const bool centre = part[1] == 'b' || part[1] == 'm';
      std::vector<float> values(static_cast<size_t>(channels));
      for (float& value : values) value = centre ? normal(random) : positive(random);
      inputs.push_back(ops::add_constant_f32(graph, name + part, dims, values));
    }
    return op("batch_norm", inputs, {}, name + ".norm");
  }

  ir::ValueId depthwise(ir::ValueId x, int64_t channels, const std::string& name) {
    std::normal_distribution<float> normal(0.0F, 0.4F);
    std::vector<float> weights(static_cast<size_t>(channels * 9));
    for (float& value : weights) value = normal(random);
    const int64_t dims[] = {channels, 3, 3, 1};
    const ir::ValueId w = ops::add_constant_f32(graph, name + ".w", dims, weights);
    return op("conv2d", {x, w}, {{"pads", std::vector<int64_t>{1, 1, 1, 1}}, {"groups", channels}}, name);
  }
};

// Two frozen layers; then an inverted residual block with batch norms, a layer whose function is a table, and a pooled
// classifier.
ir::Graph network(uint32_t seed) {
  Network b(seed);
  const ir::ValueId x = b.graph.add_input("x", {DataType::kF32, {Dim(1, 0), Dim(kSize), Dim(kSize), Dim(3)}, {}});
  const ir::ValueId stem = b.op("relu6", {b.conv(x, 3, 8, 3, "stem")});
  const ir::ValueId front = b.op("relu", {b.conv(stem, 8, 8, 3, "front")});
  const ir::ValueId wide = b.op("relu6", {b.norm(b.conv(front, 8, 12, 1, "expand"), 12, "expand")});
  const ir::ValueId mixed = b.op("relu6", {b.norm(b.depthwise(wide, 12, "depthwise"), 12, "depthwise")});
  const ir::ValueId narrow = b.norm(b.conv(mixed, 12, 8, 1, "project"), 8, "project");
  const ir::ValueId sum = b.op("add", {front, narrow});
  const ir::ValueId last = b.op("silu", {b.norm(b.conv(sum, 8, 10, 1, "last"), 10, "last")});
  const ir::ValueId pooled =
      b.op("reduce_mean", {last}, {{"axes", std::vector<int64_t>{1, 2}}, {"keep_dims", int64_t{0}}});
  std::normal_distribution<float> normal(0.0F, 0.4F);
  std::vector<float> weights(10 * kClasses);
  for (float& value : weights) value = normal(b.random);
  const int64_t w_dims[] = {10, kClasses};
  const int64_t b_dims[] = {kClasses};
  const ir::ValueId w = ops::add_constant_f32(b.graph, "classifier.w", w_dims, weights);
  const ir::ValueId bias = ops::add_constant_f32(b.graph, "classifier.b", b_dims, std::vector<float>(kClasses, 0.1F));
  b.graph.add_output(b.op("matmul", {pooled, w, bias}, {}, "classifier"));
  return std::move(b.graph);
}

struct Compiled {
  compiler::CompiledModel model;
  std::shared_ptr<const compiler::WholeModel> whole;
};

// `widen`: 16 bits where calibration asks for them, which is a choice of the compiler alone.
Compiled compile(const ir::Graph& graph, bool widen = true) {
  const std::string training = "optimizer=adamw,ema=0.9";
  quantizer::QuantizeOptions options;
  options.trainable = kTrainable;
  options.widen = widen;
  auto quantized = quantizer::quantize(graph, samples_of({1, kSize, kSize, 3}, 12), options);
  EXPECT_TRUE(quantized) << quantized.error().to_string();
  for (const std::string& warning : quantized->warnings)
    EXPECT_EQ(warning.find("rebuil"), std::string::npos) << warning;
  compiler::CompileOptions compile;
  compile.training = compiler::parse_training(training + ",trainable=" + kTrainable).value();
  compile.whole = quantized->whole;
  auto model = compiler::compile(std::move(quantized->graph), compile);
  EXPECT_TRUE(model) << model.error().to_string();
  for (const std::string& warning : model->report.warnings) ADD_FAILURE() << warning;
  return {std::move(*model), quantized->whole};
}

// A trainer with the bytes of its model, which must outlive it.
struct Loaded {
  std::vector<std::byte> bytes;
  std::unique_ptr<training::Trainer> trainer;
  training::Trainer* operator->() const { return trainer.get(); }
  training::Trainer& operator*() const { return *trainer; }
};

Loaded trainer_of(const format::ModelFile& file) {
  Loaded out;
  auto bytes = format::serialize(file);
  EXPECT_TRUE(bytes) << bytes.error().to_string();
  out.bytes = std::move(*bytes);
  auto model = runtime::Model::load(memory_source(out.bytes), "model");
  EXPECT_TRUE(model) << model.error().to_string();
  training::TrainerOptions options;
  options.threads = 1;
  auto trainer = training::Trainer::create(*model, options);
  EXPECT_TRUE(trainer) << trainer.error().to_string();
  out.trainer = std::move(*trainer);
  return out;
}

std::vector<float> pictures(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> unit(-1, 1);
  std::vector<float> values(static_cast<size_t>(count * kSize * kSize * 3));
  for (float& value : values) value = unit(random);
  return values;
}

hai_tensor view(std::vector<float>& values, std::initializer_list<int64_t> dims) {
  hai_tensor tensor = {};
  tensor.dtype = HAI_F32;
  tensor.rank = static_cast<int32_t>(dims.size());
  std::copy(dims.begin(), dims.end(), tensor.dims);
  tensor.data = values.data();
  tensor.size_bytes = values.size() * sizeof(float);
  return tensor;
}

void train(training::Trainer& trainer, int steps) {
  for (int step = 0; step < steps; ++step) {
    std::vector<float> x = pictures(8, static_cast<uint32_t>(step));
    std::vector<float> target(8 * kClasses, 0.0F);
    for (size_t i = 0; i < 8; ++i) target[i * kClasses + (i + static_cast<size_t>(step)) % kClasses] = 1.0F;
    const hai_tensor inputs[] = {view(x, {8, kSize, kSize, 3}), view(target, {8, kClasses})};
    const auto result = trainer.step(inputs, 0.02);
    ASSERT_TRUE(result) << result.error().to_string();
    ASSERT_TRUE(result->applied);
  }
}

std::vector<std::byte> weights_of(const format::ModelFile& file) {
  std::vector<std::byte> bytes(static_cast<size_t>(file.weights_bytes()));
  for (const format::WeightPiece& piece : file.weights)
    std::copy(piece.bytes.begin(), piece.bytes.end(), bytes.begin() + piece.offset_bytes);
  return bytes;
}

// Two programs with all that they compute with: constants by their bytes, wherever they lie.
void expect_same_program(const format::Program& a, const format::ModelFile& file_a, const format::Program& b,
                         const format::ModelFile& file_b) {
  EXPECT_TRUE(a.instructions == b.instructions);
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  const std::vector<std::byte> bytes_a = weights_of(file_a);
  const std::vector<std::byte> bytes_b = weights_of(file_b);
  for (size_t i = 0; i < a.tensors.size(); ++i) {
    format::ProgramTensor tensor = b.tensors[i];
    if (tensor.place == format::TensorPlace::kConstant) {
      const auto size = static_cast<size_t>(bytes_for(tensor.dtype, element_count(tensor.shape)->value));
      EXPECT_EQ(std::memcmp(bytes_a.data() + a.tensors[i].offset_bytes, bytes_b.data() + tensor.offset_bytes, size), 0)
          << tensor.name;
      tensor.offset_bytes = a.tensors[i].offset_bytes;
    }
    EXPECT_TRUE(a.tensors[i] == tensor) << tensor.name;
  }
}

TEST(Rebuild, UntouchedParametersGiveTheCompilersBytes) {
  const Compiled compiled = compile(network(5));
  const format::ModelFile& file = compiled.model.file;
  ASSERT_TRUE(file.standby && file.observers && file.rebuild);
  EXPECT_EQ(compiled.model.report.training.rebuilt_layers, 5);
  const Loaded trainer = trainer_of(file);
  auto rebuilder = training::Rebuilder::create(*trainer);
  ASSERT_TRUE(rebuilder) << rebuilder.error().to_string();
  auto rebuilt = (*rebuilder)->rebuild_with(compiled.whole->seen);
  ASSERT_TRUE(rebuilt) << rebuilt.error().to_string();
  EXPECT_TRUE(rebuilt->programs[0] == *file.standby);
  EXPECT_TRUE(*rebuilt->standby == file.programs[0]);
  EXPECT_TRUE(weights_of(*rebuilt) == weights_of(file));
  EXPECT_TRUE(format::verify_model(*rebuilt));
}

TEST(Rebuild, AfterATrainingItIsWhatTheCompilerMakesOfTheSameParameters) {
  const ir::Graph graph = network(5);
  const Compiled compiled = compile(graph, false);
  const Loaded trainer = trainer_of(compiled.model.file);
  train(*trainer, 12);
  // The compiler's way: the trained parameters in the network that was imported.
  ir::Graph trained = graph;
  size_t changed = 0;
  for (size_t i = 0; i < trainer->state_count(); ++i) {
    if (!trainer->is_parameter(i) && !trainer->state_tensor(i).name.ends_with("mean") &&
        !trainer->state_tensor(i).name.ends_with("variance"))
      continue;
    const auto value = trained.find_value(trainer->state_tensor(i).name);
    ASSERT_TRUE(value) << trainer->state_tensor(i).name;
    trained.value(*value).constant = ir::ConstantData::copy_of(trainer->state(i));
    ++changed;
  }
  EXPECT_GE(changed, 22U);
  const Compiled again = compile(trained, false);
  EXPECT_NE(again.whole->seen[0].high, compiled.whole->seen[0].high);
  auto rebuilder = training::Rebuilder::create(*trainer);
  ASSERT_TRUE(rebuilder) << rebuilder.error().to_string();
  auto rebuilt = (*rebuilder)->rebuild_with(again.whole->seen);
  ASSERT_TRUE(rebuilt) << rebuilt.error().to_string();
  expect_same_program(rebuilt->programs[0], *rebuilt, *again.model.file.standby, again.model.file);
}

// The pictures that the compiler calibrated with, batch by batch.
std::vector<float> calibration_pictures(int from, int count) {
  std::vector<float> values;
  for (int i = 0; i < count; ++i) {
    const ops::Tensor one =
        quantizer::testing::random_tensor({1, kSize, kSize, 3}, static_cast<uint32_t>(100 + from + i));
    const TensorView view = one.view();
    values.insert(values.end(), data_of<float>(view), data_of<float>(view) + view.count());
  }
  return values;
}

TEST(Rebuild, ObserversSeeWhatCalibrationSaw) {
  const Compiled compiled = compile(network(5));
  const Loaded trainer = trainer_of(compiled.model.file);
  const auto observe = [&](std::initializer_list<std::pair<int, int>> batches) {
    auto rebuilder = training::Rebuilder::create(*trainer);
    EXPECT_TRUE(rebuilder) << rebuilder.error().to_string();
    EXPECT_EQ((*rebuilder)->rebuild().error().id, "E115");  // nothing was seen yet
    for (const auto& [from, count] : batches) {
      std::vector<float> x = calibration_pictures(from, count);
      const hai_tensor input = view(x, {count, kSize, kSize, 3});
      const Status status = (*rebuilder)->observe(std::span(&input, 1));
      EXPECT_TRUE(status) << status.error().to_string();
    }
    return (*rebuilder)->seen();
  };
  const auto whole = observe({{0, 8}, {8, 4}});
  const auto parts = observe({{3, 5}, {8, 4}, {0, 2}, {2, 1}});
  ASSERT_EQ(whole.size(), compiled.whole->seen.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(whole[i].low, parts[i].low);
    EXPECT_EQ(whole[i].high, parts[i].high);
    // The frozen part is in INT8 here and was f32 in calibration, which held some of the samples back: not the same
    // ranges, but close to them.
    const rebuild::Observed& then = compiled.whole->seen[i];
    const float width = std::max(0.0F, then.high) - std::min(0.0F, then.low);
    EXPECT_NEAR(std::max(0.0F, then.high), whole[i].high, 0.2F * width) << compiled.whole->lines.ranges[i].value;
    EXPECT_NEAR(std::min(0.0F, then.low), whole[i].low, 0.2F * width) << compiled.whole->lines.ranges[i].value;
  }
}

// The rebuilt model answers like the f32 one, and a training goes on from its file as from the other.
TEST(Rebuild, WhatIsRebuiltRunsAndIsTrainedOn) {
  const Compiled compiled = compile(network(5));
  const Loaded trainer = trainer_of(compiled.model.file);
  train(*trainer, 12);
  auto rebuilder = training::Rebuilder::create(*trainer, training::SavedWeights::kAverage);
  ASSERT_TRUE(rebuilder) << rebuilder.error().to_string();
  std::vector<float> x = pictures(8, 77);
  const hai_tensor input = view(x, {8, kSize, kSize, 3});
  ASSERT_TRUE((*rebuilder)->observe(std::span(&input, 1)));
  auto integer = (*rebuilder)->rebuild();
  auto floating = trainer->trained_model(training::SavedWeights::kAverage);
  ASSERT_TRUE(integer && floating);
  std::vector<float> answers[2];
  const format::ModelFile* files[] = {&*integer, &*floating};
  for (size_t i = 0; i < 2; ++i) {
    const auto bytes = format::serialize(*files[i]);
    ASSERT_TRUE(bytes);
    auto model = runtime::Model::load(memory_source(*bytes), "model");
    ASSERT_TRUE(model);
    auto session = runtime::Session::create(*model, {});
    ASSERT_TRUE(session) << session.error().to_string();
    answers[i].resize(8 * kClasses);
    const hai_tensor output = view(answers[i], {8, kClasses});
    ASSERT_TRUE((*session)->run(std::span(&input, 1), std::span(&output, 1)));
  }
  double signal = 0;
  double noise = 0;
  for (size_t i = 0; i < answers[0].size(); ++i) {
    signal += static_cast<double>(answers[1][i]) * static_cast<double>(answers[1][i]);
    noise += std::pow(static_cast<double>(answers[0][i]) - static_cast<double>(answers[1][i]), 2);
  }
  EXPECT_GT(noise, 0.0);
  EXPECT_GT(10 * std::log10(signal / noise), 15.0);  // five layers more of 8 bits, 8 to 12 channels each

  const Loaded again = trainer_of(*integer);
  ASSERT_TRUE(training::can_rebuild(*again));
  train(*again, 2);
  auto once_more = training::Rebuilder::create(*again);
  ASSERT_TRUE(once_more) << once_more.error().to_string();
  ASSERT_TRUE((*once_more)->observe(std::span(&input, 1)));
  const auto second = (*once_more)->rebuild();
  ASSERT_TRUE(second) << second.error().to_string();
  EXPECT_TRUE(*second->standby == *integer->standby);
  EXPECT_FALSE(weights_of(*second) == weights_of(*integer));
}

TEST(Rebuild, NumbersThatAreNotFiniteAreRefused) {
  const Compiled compiled = compile(network(5));
  const Loaded trainer = trainer_of(compiled.model.file);
  auto rebuilder = training::Rebuilder::create(*trainer);
  ASSERT_TRUE(rebuilder);
  std::vector<rebuild::Observed> seen = compiled.whole->seen;
  seen[1].high = std::numeric_limits<float>::infinity();
  EXPECT_EQ((*rebuilder)->rebuild_with(seen).error().id, "E111");
  seen.pop_back();
  EXPECT_EQ((*rebuilder)->rebuild_with(seen).error().id, "E116");
  const auto weights = trainer->find_state("project.w");
  ASSERT_TRUE(weights);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(trainer->state(*weights).data(), &nan, sizeof(nan));
  EXPECT_EQ((*rebuilder)->rebuild_with(compiled.whole->seen).error().id, "E111");
}

TEST(Rebuild, AModelWithoutItSaysWhatToDo) {
  Compiled compiled = compile(network(5));
  format::ModelFile file = compiled.model.file;
  file.observers.reset();
  EXPECT_EQ(format::verify_model(file).error().id, "F079");
  file.standby.reset();
  file.rebuild.reset();
  const Loaded trainer = trainer_of(file);
  EXPECT_FALSE(training::can_rebuild(*trainer));
  EXPECT_EQ(training::Rebuilder::create(*trainer).error().id, "E114");
}

TEST(Rebuild, AMalformedSectionIsRefused) {
  const Compiled compiled = compile(network(5));
  const format::ModelFile& file = compiled.model.file;
  const auto first = [&](const std::string& kernel) {
    const auto& all = file.rebuild->instructions;
    const auto found = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.kernel == kernel; });
    return static_cast<size_t>(found - all.begin());
  };
  const size_t range = first("range");
  const size_t raise = first("raise");
  const size_t layer = first("layer");
  struct Change {
    size_t instruction;
    std::string attribute;
    format::Attribute value;
  };
  const int64_t tensors = static_cast<int64_t>(file.standby->tensors.size());
  const std::vector<Change> changes = {
      {0, "runs_integers", int64_t{2}},
      {range, "symmetric", 1.0},
      {range, "narrow", std::vector<int64_t>{tensors}},
      {range, "narrow", std::vector<int64_t>{-1}},
      {range, "wide", std::vector<int64_t>{0}},
      {range, "points", std::vector<int64_t>{0, 0}},
      {range, "points", std::vector<int64_t>{int64_t{1} << 40, 0, 0}},
      {raise, "range", int64_t{1000}},
      {raise, "kind", int64_t{3}},
      {raise, "layer", int64_t{1000}},
      {raise, "scale_wide", std::vector<int64_t>{1}},
      {layer, "channels", int64_t{0}},
      {layer, "channels", int64_t{7}},
      {layer, "inner", int64_t{1} << 40},
      {layer, "weight_bits", int64_t{4}},
      {layer, "weight_bits", int64_t{12}},
      {layer, "weight_tensor", int64_t{0}},
      {layer, "bias_tensor", tensors},
      {layer, "bias_limit", std::numeric_limits<double>::quiet_NaN()},
      {layer, "stages", std::vector<int64_t>{6}},
      {layer, "epsilons", std::vector<double>{-1.0}},
      {layer, "has_bias", int64_t{0}},
      {layer, "scale_fixed", std::vector<double>{1.0}},
  };
  for (const Change& change : changes) {
    format::Program program = *file.rebuild;
    program.instructions[change.instruction].attributes[change.attribute] = change.value;
    const auto lines = rebuild::decode(program, *file.standby);
    ASSERT_FALSE(lines) << change.attribute;
    EXPECT_EQ(lines.error().id, "E110") << change.attribute;
    program = *file.rebuild;
    program.instructions[change.instruction].attributes.erase(change.attribute);
    EXPECT_EQ(rebuild::decode(program, *file.standby).error().id, "E110") << change.attribute;
  }
  format::Program program = *file.rebuild;
  program.instructions[range].kernel = "histogram";
  EXPECT_EQ(rebuild::decode(program, *file.standby).error().id, "E113");
  program = *file.rebuild;
  program.instructions[layer].inputs.clear();
  EXPECT_EQ(rebuild::decode(program, *file.standby).error().id, "E110");
  program = *file.rebuild;  // the same layer twice
  program.instructions.push_back(program.instructions[layer]);
  EXPECT_EQ(rebuild::decode(program, *file.standby).error().id, "E110");
  EXPECT_EQ(rebuild::decode(*file.rebuild, file.programs[0]).error().id, "E110");  // lines of another program
}

// Numbers changed at random are refused, or give some integers; nothing is read or written beyond what there is.
TEST(Rebuild, RandomChangesDoNoHarm) {
  const Compiled compiled = compile(network(5));
  const format::ModelFile& file = compiled.model.file;
  std::mt19937 random(3);
  int refused = 0;
  for (int round = 0; round < 400; ++round) {
    format::Program program = *file.rebuild;
    format::Instruction& instruction = program.instructions[random() % program.instructions.size()];
    if (instruction.attributes.empty()) continue;
    auto attribute = instruction.attributes.begin();
    std::advance(attribute, random() % instruction.attributes.size());
    const int64_t numbers[] = {-1, 0, 1, 2, 7, 64, int64_t{1} << 31, INT64_MAX, INT64_MIN};
    const int64_t number = numbers[random() % std::size(numbers)];
    if (auto* one = std::get_if<int64_t>(&attribute->second)) *one = number;
    if (auto* real = std::get_if<double>(&attribute->second)) *real = static_cast<double>(number);
    if (auto* list = std::get_if<std::vector<int64_t>>(&attribute->second); list != nullptr && !list->empty())
      (*list)[random() % list->size()] = number;
    if (auto* list = std::get_if<std::vector<double>>(&attribute->second); list != nullptr && !list->empty())
      (*list)[random() % list->size()] = static_cast<double>(number);
    const auto lines = rebuild::decode(program, *file.standby);
    refused += lines ? 0 : 1;
    if (!lines) continue;
    std::vector<std::byte> weights = weights_of(file);
    format::Program integer = *file.standby;
    const Status status = rebuild::run(*lines, compiled.whole->seen, weights, integer);
    EXPECT_TRUE(status || status.error().code == StatusCode::kOutOfRange);
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace hai
