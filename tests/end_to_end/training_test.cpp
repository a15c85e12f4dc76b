// Training programs: compiled, run step by step, saved, and held against the references, which run the same graph in
// f64.
//
// What is compared with another framework is in python/tests/test_training.py; here everything is our own.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "compiler/compile.h"
#include "compiler/portable_graph.h"
#include "compiler/training.h"
#include "format/model.h"
#include "passes/testing/graph_builder.h"
#include "training/elastic_weights.h"
#include "training/held_states.h"
#include "training/replay_buffer.h"
#include "training/schedule.h"
#include "training/trainer.h"

namespace hai {
namespace {

using passes::testing::GraphBuilder;

// x [N, 2] -> 16 tanh -> 16 relu -> 2 classes, batch 1..64; both hidden biases are zeros, so they are equal bytes.
ir::Graph mlp() {
  GraphBuilder b;
  b.graph.name = "mlp";
  b.graph.symbols = {{"batch", 1, 64}};
  const auto x = b.input({Dim(1, 0), Dim(2)});
  auto y = b.node("matmul", {x, b.constant({2, 16}), b.constant({16}, 0, 0)});
  y = b.node("tanh", {y});
  y = b.node("matmul", {y, b.constant({16, 16}, -0.4F, 0.4F), b.constant({16}, 0, 0)});
  y = b.node("relu", {y});
  y = b.node("matmul", {y, b.constant({16, 2}, -0.5F, 0.5F), b.constant({2}, 0, 0)});
  b.graph.add_output(y);
  return std::move(b.graph);
}

// Two classes that no line parts: the sign of the product of the coordinates.
struct Task {
  std::vector<float> x;
  std::vector<float> t;
  explicit Task(int64_t count, uint32_t seed = 3) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> unit(-1, 1);
    for (int64_t i = 0; i < count; ++i) {
      const float a = unit(random);
      const float b = unit(random);
      x.insert(x.end(), {a, b});
      t.insert(t.end(), {a * b > 0 ? 1.0F : 0.0F, a * b > 0 ? 0.0F : 1.0F});
    }
  }
  int64_t count() const { return static_cast<int64_t>(x.size() / 2); }
  // More columns behind the shares of classes: zeros and ones, as masks and weights are.
  void widen(int64_t columns) {
    std::vector<float> rows;
    for (int64_t i = 0; i < count(); ++i) {
      for (int64_t k = 0; k < columns; ++k)
        rows.push_back(k < 2 ? t[static_cast<size_t>(2 * i + k)] : (k == 2 || (i + k) % 3 > 0 ? 1.0F : 0.0F));
    }
    t = std::move(rows);
  }
};

hai_tensor view(std::vector<float>& values, std::vector<int64_t> dims) {
  hai_tensor tensor = {};
  tensor.dtype = HAI_F32;
  tensor.rank = static_cast<int32_t>(dims.size());
  std::copy(dims.begin(), dims.end(), tensor.dims);
  tensor.data = values.data();
  tensor.size_bytes = values.size() * sizeof(float);
  return tensor;
}

compiler::CompiledModel compiled(ir::Graph graph, const std::string& training) {
  compiler::CompileOptions options;
  options.training = compiler::parse_training(training).value();
  auto model = compiler::compile(std::move(graph), options);
  EXPECT_TRUE(model) << model.error().to_string();
  return std::move(model).value();
}

std::shared_ptr<runtime::Model> loaded(const format::ModelFile& file) {
  const std::string path = ::testing::TempDir() + "training_test.hai";
  EXPECT_TRUE(format::write_model_file(path, file));
  auto model = runtime::Model::load_file(path);
  EXPECT_TRUE(model) << model.error().to_string();
  return std::move(model).value();
}

std::unique_ptr<training::Trainer> trainer_for(const format::ModelFile& file, int threads = 1) {
  training::TrainerOptions options;
  options.threads = threads;
  auto trainer = training::Trainer::create(loaded(file), options);
  EXPECT_TRUE(trainer) << trainer.error().to_string();
  return std::move(trainer).value();
}

double step(training::Trainer& trainer, Task& task, double rate) {
  const auto columns = static_cast<int64_t>(task.t.size()) / task.count();
  const hai_tensor inputs[] = {view(task.x, {task.count(), 2}), view(task.t, {task.count(), columns})};
  const auto result = trainer.step(inputs, rate);
  EXPECT_TRUE(result) << result.error().to_string();
  EXPECT_TRUE(result->applied);
  return result->loss;
}

std::vector<std::vector<float>> states_of(training::Trainer& trainer) {
  std::vector<std::vector<float>> out;
  for (size_t i = 0; i < trainer.state_count(); ++i) {
    const auto bytes = trainer.state(i);
    out.emplace_back(bytes.size() / sizeof(float));
    std::memcpy(out.back().data(), bytes.data(), bytes.size());
  }
  return out;
}

TEST(Training, LearnsWhatALineCannotPart) {
  for (const char* options :
       {"optimizer=adam", "optimizer=adamw,weight_decay=0.01,clip_norm=1", "optimizer=sgd,momentum=0.9,nesterov=1"}) {
    const auto trainer = trainer_for(compiled(mlp(), options).file);
    Task task(64);
    const double first = step(*trainer, task, 0.03);
    double last = first;
    for (int i = 0; i < 400; ++i) last = step(*trainer, task, 0.03);
    EXPECT_GT(first, 0.5) << options;
    EXPECT_LT(last, 0.05) << options;
    EXPECT_EQ(trainer->steps(), 401);
  }
}

// Every state after five steps beside the reference's, which runs the very graph in f64-accumulating references.
TEST(Training, StatesAreThoseOfTheReference) {
  for (const char* text : {"optimizer=adamw,weight_decay=0.1,clip_norm=0.5", "optimizer=sgd,momentum=0.8,loss=mse",
                           "optimizer=sgd,loss=huber,delta=0.3,trainable=last:2", "optimizer=adam,loss=focal",
                           "optimizer=sgd,loss=dice,trainable=bias", "optimizer=adam,loss=bce,trainable=head",
                           "optimizer=adam,label_smoothing=0.1", "optimizer=adamw,accumulate=2,ema=0.9,clip_norm=0.5",
                           "optimizer=sgd,momentum=0.9,nesterov=1,accumulate=3,weight_decay=0.1,groups=*:rate=0.5",
                           "optimizer=sgd,class_mask=1,sample_weights=1,distill=mse",
                           "optimizer=sgd,distill=kd,temperature=3", "optimizer=adam,ema=0.5,ewc=1"}) {
    const ir::Graph graph = mlp();
    const auto model = compiled(graph, text);
    const auto trainer = trainer_for(model.file);
    ir::Graph step_graph = compiler::from_portable(model.file).value();
    const auto options = compiler::parse_training(text).value();
    const auto parameters = compiler::choose_parameters(step_graph, options).value();
    ASSERT_TRUE(passes::make_training_graph(step_graph, options, parameters));
    Task task(13);
    std::vector<ops::Tensor> inputs;
    for (const ir::ValueId id : step_graph.inputs()) {
      const ir::TensorType& type = step_graph.value(id).type;
      Dims dims = resolve(type.shape, std::vector<int64_t>{13});
      inputs.push_back(ops::Tensor::zeros(type.dtype, dims));
    }
    for (const ir::State& state : step_graph.states) {
      if (!state.initial) continue;
      std::memcpy(inputs[state.input].mutable_view().data, state.initial->bytes().data(),
                  state.initial->bytes().size());
    }
    std::memcpy(inputs[0].mutable_view().data, task.x.data(), task.x.size() * 4);
    task.widen(passes::target_type(step_graph, options.loss, step_graph.outputs()[0]).shape[1].value);
    std::memcpy(inputs[1].mutable_view().data, task.t.data(), task.t.size() * 4);
    const float rate = 0.05F;
    std::memcpy(inputs[2].mutable_view().data, &rate, 4);
    for (int64_t number = 1; number <= 5; ++number) {
      if (step_graph.value(step_graph.inputs()[3]).name == "step")
        std::memcpy(inputs[3].mutable_view().data, &number, 8);
      const auto outputs = ops::interpret(step_graph, inputs);
      ASSERT_TRUE(outputs) << outputs.error().to_string();
      for (const ir::State& state : step_graph.states) {
        if (state.output != ir::State::kKept) inputs[state.input] = outputs->outputs[state.output];
      }
      step(*trainer, task, 0.05);
    }
    const auto states = states_of(*trainer);
    ASSERT_EQ(states.size(), step_graph.states.size());
    for (size_t i = 0; i < states.size(); ++i) {
      const auto* expected = reinterpret_cast<const float*>(inputs[step_graph.states[i].input].view().data);
      for (size_t k = 0; k < states[i].size(); ++k) {
        // Five steps of f32 beside references that round once a node; Adam divides small by small.
        ASSERT_NEAR(states[i][k], expected[k], 2e-4F * std::max(1.0F, std::abs(expected[k])))
            << text << " " << trainer->state_tensor(i).name << " element " << k;
      }
    }
  }
}

TEST(Training, BitsDoNotDependOnThreads) {
  const auto model = compiled(mlp(), "optimizer=adam,clip_norm=0.7");
  const auto one = trainer_for(model.file, 1);
  const auto three = trainer_for(model.file, 3);
  Task task(37);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(step(*one, task, 0.02), step(*three, task, 0.02));
  EXPECT_EQ(states_of(*one), states_of(*three));
}

// Two hidden biases of zeros are equal bytes in the file; they must not become one parameter.
TEST(Training, EqualParametersStayTwo) {
  const auto trainer = trainer_for(compiled(mlp(), "optimizer=sgd").file);
  Task task(32);
  for (int i = 0; i < 10; ++i) step(*trainer, task, 0.5);
  size_t parameters = 0;
  std::vector<std::vector<float>> biases;
  for (size_t i = 0; i < trainer->state_count(); ++i) {
    parameters += trainer->is_parameter(i) ? 1 : 0;
    if (states_of(*trainer)[i].size() == 16) biases.push_back(states_of(*trainer)[i]);
  }
  EXPECT_EQ(parameters, 6U);
  ASSERT_EQ(biases.size(), 2U);
  EXPECT_NE(biases[0], biases[1]);
}

TEST(Training, ANumberThatIsNotFiniteChangesNothing) {
  for (const char* options : {"optimizer=adam", "optimizer=sgd,momentum=0.9,clip_norm=1"}) {
    const auto trainer = trainer_for(compiled(mlp(), options).file);
    Task task(8);
    step(*trainer, task, 0.1);
    const auto before = states_of(*trainer);
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 3e38F}) {
      Task broken = task;
      broken.t[3] = bad;
      const hai_tensor inputs[] = {view(broken.x, {8, 2}), view(broken.t, {8, 2})};
      const auto result = trainer->step(inputs, 0.1);
      ASSERT_TRUE(result) << result.error().to_string();
      EXPECT_FALSE(result->applied) << bad;
      EXPECT_EQ(states_of(*trainer), before) << bad;
    }
    EXPECT_EQ(trainer->steps(), 1);
    EXPECT_EQ(trainer->refused_steps(), 3);
    step(*trainer, task, 0.1);
    EXPECT_NE(states_of(*trainer), before);
  }
}

// Two steps on halves are one on the whole, but for the order of sums; nothing moves before the second.
TEST(Training, AccumulatedGradientsAreThoseOfTheWholeBatch) {
  const auto whole = trainer_for(compiled(mlp(), "optimizer=adam,clip_norm=0.3").file);
  const auto parts = trainer_for(compiled(mlp(), "optimizer=adam,clip_norm=0.3,accumulate=2").file);
  Task task(32);
  Task first(16);
  Task second(16);
  std::copy_n(task.x.begin(), 32, first.x.begin());
  std::copy_n(task.t.begin(), 32, first.t.begin());
  std::copy_n(task.x.begin() + 32, 32, second.x.begin());
  std::copy_n(task.t.begin() + 32, 32, second.t.begin());
  const auto weights = [](training::Trainer& trainer) {
    std::vector<std::vector<float>> out;
    const auto all = states_of(trainer);
    for (size_t i = 0; i < all.size(); ++i) {
      if (trainer.is_parameter(i)) out.push_back(all[i]);
    }
    return out;
  };
  for (int i = 0; i < 5; ++i) {
    const auto before = weights(*parts);
    step(*parts, first, 0.02);
    EXPECT_EQ(weights(*parts), before);
    Task broken = second;
    broken.t[5] = std::numeric_limits<float>::quiet_NaN();
    const auto all = states_of(*parts);
    const hai_tensor inputs[] = {view(broken.x, {16, 2}), view(broken.t, {16, 2})};
    EXPECT_FALSE(parts->step(inputs, 0.02)->applied);
    EXPECT_EQ(states_of(*parts), all);  // a refused step adds nothing to the sums
    step(*parts, second, 0.02);
    step(*whole, task, 0.02);
    const auto a = weights(*whole);
    const auto b = weights(*parts);
    ASSERT_EQ(a.size(), b.size());
    for (size_t p = 0; p < a.size(); ++p) {
      // Adam divides small by small: roundings of 1e-7 in gradients can be steps of 1e-5.
      for (size_t k = 0; k < a[p].size(); ++k) ASSERT_NEAR(a[p][k], b[p][k], 2e-5F) << i << " " << p;
    }
  }
  EXPECT_EQ(parts->steps(), 10);
  EXPECT_EQ(parts->refused_steps(), 5);
}

TEST(Training, AveragesOfTheWeightsAreWhatIsSaved) {
  const auto model = compiled(mlp(), "optimizer=sgd,ema=0.5");
  const auto trainer = trainer_for(model.file);
  ASSERT_TRUE(trainer->has_averages());
  const std::string name = trainer->state_tensor(0).name;
  const size_t average = *trainer->find_state(name + "/ema");
  EXPECT_EQ(states_of(*trainer)[0], states_of(*trainer)[average]);
  Task task(16);
  step(*trainer, task, 0.5);
  const auto states = states_of(*trainer);
  EXPECT_NE(states[0], states[average]);
  const auto saved = [&](training::SavedWeights which) {
    return states_of(*trainer_for(trainer->trained_model(which).value()))[0];
  };
  EXPECT_EQ(saved(training::SavedWeights::kLast), states[0]);
  EXPECT_EQ(saved(training::SavedWeights::kAverage), states[average]);
  const auto plain = trainer_for(compiled(mlp(), "optimizer=sgd").file);
  EXPECT_EQ(plain->trained_model(training::SavedWeights::kAverage).error().id, "E016");
}

TEST(Training, ElasticWeightsAreSumsOfFisherInformations) {
  const auto trainer = trainer_for(compiled(mlp(), "optimizer=adam,ewc=1").file);
  const auto fisher = trainer_for(compiled(mlp(), "optimizer=fisher").file);
  const auto plain = trainer_for(compiled(mlp(), "optimizer=adam").file);
  EXPECT_EQ(training::set_ewc_strength(*plain, 1).error().id, "E100");
  EXPECT_EQ(training::begin_fisher(*plain, *fisher).error().id, "E101");
  ASSERT_TRUE(training::set_ewc_strength(*trainer, 3));
  const std::string name = trainer->state_tensor(0).name;
  const auto values = [&](training::Trainer& of, const std::string& state) {
    const auto bytes = of.state(*of.find_state(state));
    std::vector<float> out(bytes.size() / sizeof(float));
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
  };
  Task task(16);
  std::vector<std::vector<float>> weights, sums;
  for (const int samples : {4, 5}) {
    step(*trainer, task, 0.1);
    ASSERT_TRUE(training::begin_fisher(*trainer, *fisher));
    for (int i = 0; i < samples; ++i) {
      Task one(1, static_cast<uint32_t>(i));
      step(*fisher, one, 0);
    }
    weights.push_back(values(*trainer, name));
    sums.push_back(values(*fisher, name + "/fisher"));
    EXPECT_EQ(values(*fisher, name), weights.back());  // what measures does not move
    training::consolidate(*trainer, *fisher, samples, 0.5);
    EXPECT_EQ(values(*trainer, name), weights.back());
  }
  const auto held = values(*trainer, name + "/fisher");
  const auto anchor = values(*trainer, name + "/anchor");
  int64_t moved = 0;
  for (size_t i = 0; i < held.size(); ++i) {
    const double old = 0.5 * static_cast<double>(sums[0][i]) / 4;
    const double now = static_cast<double>(sums[1][i]) / 5;
    EXPECT_NEAR(held[i], old + now, 1e-6 * (old + now)) << i;  // two roundings to f32
    if (old + now == 0) continue;
    const double wanted =
        (old * static_cast<double>(weights[0][i]) + now * static_cast<double>(weights[1][i])) / (old + now);
    EXPECT_NEAR(anchor[i], wanted, 1e-6 * std::abs(wanted) + 1e-7) << i;
    moved += weights[0][i] != weights[1][i] ? 1 : 0;
  }
  EXPECT_GT(moved, 16);
}

TEST(Training, WhatIsHeldStaysAndTheOptimizerForgets) {
  const auto model = compiled(mlp(), "optimizer=adamw,ema=0.9");
  const auto names = nlohmann::json::parse(model.file.metadata.at("head_parameters")).get<std::set<std::string>>();
  const auto trainer = trainer_for(model.file);
  const auto before = states_of(*trainer);
  std::set<std::string> parameters;
  for (size_t i = 0; i < trainer->state_count(); ++i) {
    if (trainer->is_parameter(i)) parameters.insert(trainer->state_tensor(i).name);
  }
  ASSERT_EQ(parameters.size(), 6U);
  ASSERT_EQ(names.size(), 2U);  // weights and bias of the last product
  EXPECT_TRUE(std::ranges::includes(parameters, names));

  Task task(16);
  {
    training::HeldStates held(*trainer, names);
    EXPECT_EQ(held.count(), 4U * 4U);  // parameter, two moments, average
    for (int i = 0; i < 3; ++i) {
      step(*trainer, task, 0.1);
      held.put_back();
    }
  }
  const auto after = states_of(*trainer);
  for (size_t i = 0; i < after.size(); ++i) {
    const std::string& name = trainer->state_tensor(i).name;
    const std::string owner = trainer->is_parameter(i) ? name : name.substr(0, name.rfind('/'));
    EXPECT_EQ(after[i] == before[i], !names.contains(owner)) << name;
  }

  trainer->forget_optimizer();
  EXPECT_EQ(trainer->steps(), 0);
  const auto forgotten = states_of(*trainer);
  for (size_t i = 0; i < after.size(); ++i) {
    const std::string& name = trainer->state_tensor(i).name;
    const bool moment = name.ends_with("/m") || name.ends_with("/v");
    EXPECT_EQ(forgotten[i], moment ? std::vector<float>(after[i].size()) : after[i]) << name;
  }
  step(*trainer, task, 0.1);
  for (size_t i = 0; i < after.size(); ++i) EXPECT_NE(states_of(*trainer)[i], forgotten[i]) << i;
}

TEST(Training, TheSavedModelAnswersAsTheTrainedOneAndTrainsOn) {
  const auto model = compiled(mlp(), "optimizer=sgd");
  const auto trainer = trainer_for(model.file);
  Task task(16);
  for (int i = 0; i < 30; ++i) step(*trainer, task, 0.3);
  std::vector<float> predictions(32);
  const hai_tensor inputs[] = {view(task.x, {16, 2}), view(task.t, {16, 2})};
  const std::string path = ::testing::TempDir() + "trained.hai";
  const Status saved = trainer->save(path);
  ASSERT_TRUE(saved) << saved.error().to_string();
  const hai_tensor wanted[] = {view(predictions, {16, 2})};
  const auto last = trainer->step(inputs, 0.0, wanted);
  ASSERT_TRUE(last);

  auto again = runtime::Model::load_file(path);
  ASSERT_TRUE(again) << again.error().to_string();
  EXPECT_EQ(again.value()->file().metadata().entries.at("trained_steps"), "30");
  runtime::SessionOptions options;
  options.threads = 1;
  const auto session = runtime::Session::create(again.value(), options);
  ASSERT_TRUE(session) << session.error().to_string();
  std::vector<float> answers(32);
  const hai_tensor outputs[] = {view(answers, {16, 2})};
  ASSERT_TRUE((*session)->run(std::span(inputs).first(1), outputs));
  for (size_t i = 0; i < answers.size(); ++i) EXPECT_NEAR(answers[i], predictions[i], 1e-5F) << i;  // order of sums

  const auto resumed = training::Trainer::create(again.value(), {});
  ASSERT_TRUE(resumed) << resumed.error().to_string();
  EXPECT_NEAR((*resumed)->step(inputs, 0.1).value().loss, last->loss, 1e-6);
  const auto graph = compiler::from_portable(format::read_model_file(path).value());
  ASSERT_TRUE(graph) << graph.error().to_string();
  EXPECT_TRUE(compiler::compile(*graph));
}

// Convolutions with batch norms and activations, and a branch.
ir::Graph cnn() {
  GraphBuilder b;
  b.graph.name = "cnn";
  b.graph.symbols = {{"batch", 1, 16}};
  const auto x = b.input({Dim(1, 0), Dim(17), Dim(13), Dim(3)});
  const auto block = [&](ir::ValueId in, std::vector<int64_t> weights, bool relu) {
    const int64_t channels = weights[0];
    auto y = b.node("conv2d", {in, b.constant(std::move(weights), -0.3F, 0.3F)},
                    {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
    y = b.node("batch_norm", {y, b.constant({channels}, 0.5F, 1.5F), b.constant({channels}), b.constant({channels}),
                              b.constant({channels}, 0.5F, 2.0F)});
    return relu ? b.node("relu6", {y}) : y;
  };
  auto y = block(x, {8, 3, 3, 3}, true);
  const auto z = block(block(y, {8, 3, 3, 8}, true), {8, 3, 3, 8}, false);
  y = b.node("silu", {b.node("add", {y, z})});
  y = b.node("reduce_mean", {y}, {{"axes", std::vector<int64_t>{1, 2}}, {"keep_dims", int64_t{0}}});
  b.graph.add_output(b.node("matmul", {y, b.constant({8, 4}), b.constant({4})}));
  return std::move(b.graph);
}

TEST(Training, RecomputedActivationsChangeNoBit) {
  compiler::CompileOptions options;
  options.training = compiler::parse_training("optimizer=sgd,momentum=0.9").value();
  const auto whole = compiler::compile(cnn(), options);
  ASSERT_TRUE(whole) << whole.error().to_string();
  const int64_t needed = whole->report.training.memory_bytes;
  options.training->memory_bytes = needed - 1;
  const auto small = compiler::compile(cnn(), options);
  ASSERT_TRUE(small) << small.error().to_string();
  EXPECT_LT(small->report.training.memory_bytes, needed * 9 / 10);
  EXPECT_GE(small->report.training.recomputed, 2);
  options.training->memory_bytes = 1000;
  const auto none = compiler::compile(cnn(), options);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().id, "K034");
  EXPECT_NE(none.error().message.find(std::to_string(small->report.training.memory_bytes)), std::string::npos);

  const auto one = trainer_for(whole->file);
  const auto two = trainer_for(small->file);
  std::mt19937 random(5);
  std::vector<float> x(size_t{7} * 17 * 13 * 3);
  std::vector<float> t(size_t{7} * 4, 0.0F);
  for (float& v : x) v = std::uniform_real_distribution<float>(-1, 1)(random);
  for (size_t i = 0; i < 7; ++i) t[i * 4 + i % 4] = 1.0F;
  const hai_tensor inputs[] = {view(x, {7, 17, 13, 3}), view(t, {7, 4})};
  for (int i = 0; i < 10; ++i) {
    const auto a = one->step(inputs, 0.1);
    const auto b = two->step(inputs, 0.1);
    ASSERT_TRUE(a && b);
    EXPECT_EQ(a->loss, b->loss);
  }
  EXPECT_EQ(states_of(*one), states_of(*two));
}

TEST(Training, BadOptionsAreNamed) {
  const auto refused = [](const char* text) {
    const auto options = compiler::parse_training(text);
    if (!options) return options.error().id;
    compiler::CompileOptions compile_options;
    compile_options.training = *options;
    const auto model = compiler::compile(mlp(), compile_options);
    return model ? std::string("none") : model.error().id;
  };
  EXPECT_EQ(refused("lr=1"), "K030");
  EXPECT_EQ(refused("optimizer"), "K030");
  EXPECT_EQ(refused("momentum=fast"), "K031");
  EXPECT_EQ(refused("momentum=nan"), "K031");
  EXPECT_EQ(refused("nesterov=2"), "K031");
  EXPECT_EQ(refused("memory=lots"), "K031");
  EXPECT_EQ(refused("memory=-5MB"), "K031");
  EXPECT_EQ(refused("memory=10TB"), "K031");
  EXPECT_EQ(refused("memory=1KB"), "K034");
  EXPECT_EQ(refused("loss=mse,loss=mse"), "K032");
  EXPECT_EQ(refused("optimizer=adamw,momentum=0.9"), "K037");
  EXPECT_EQ(refused("optimizer=sgd,beta1=0.8"), "K037");
  EXPECT_EQ(refused("loss=mse,label_smoothing=0.1"), "K037");
  EXPECT_EQ(refused("optimizer=sgd,nesterov=1"), "K038");
  EXPECT_EQ(refused("loss=hinge"), "P520");
  EXPECT_EQ(refused("loss=huber,delta=0"), "P521");
  EXPECT_EQ(refused("trainable=some"), "P530");
  EXPECT_EQ(refused("trainable=last:0"), "P530");
  EXPECT_EQ(refused("trainable=name:nothing"), "P531");
  EXPECT_EQ(refused("optimizer=lion"), "P540");
  EXPECT_EQ(refused("output=logits"), "P541");
  EXPECT_EQ(refused("optimizer=sgd,momentum=1"), "O540");
  EXPECT_EQ(refused("accumulate=0"), "P547");
  EXPECT_EQ(refused("accumulate=1.5"), "K031");
  EXPECT_EQ(refused("ema=1"), "P547");
  EXPECT_EQ(refused("optimizer=fisher,ema=0.9"), "P548");
  EXPECT_EQ(refused("groups=head"), "P549");
  EXPECT_EQ(refused("groups=head:rate=-1"), "P549");
  EXPECT_EQ(refused("groups=nothing*:rate=2"), "P550");
  EXPECT_EQ(refused("groups=*:frozen"), "P551");
  EXPECT_EQ(refused("loss=mse,class_mask=1"), "P526");
  EXPECT_EQ(refused("distill=rkd"), "P527");
  EXPECT_EQ(refused("class_mask=1,label_smoothing=0.1"), "P528");
  EXPECT_EQ(refused("temperature=0"), "P521");
  EXPECT_EQ(refused(""), "none");
}

TEST(Training, BadTensorsAreNamed) {
  const auto trainer = trainer_for(compiled(mlp(), "").file);
  Task task(4);
  const hai_tensor x = view(task.x, {4, 2});
  const hai_tensor t = view(task.t, {4, 2});
  const hai_tensor short_t = view(task.t, {3, 2});
  const auto id = [&](std::vector<hai_tensor> inputs, double rate) {
    const auto result = trainer->step(inputs, rate);
    return result ? std::string("none") : result.error().id;
  };
  EXPECT_EQ(id({x}, 0.1), "E011");
  EXPECT_EQ(id({x, t, t}, 0.1), "E011");
  EXPECT_EQ(id({x, short_t}, 0.1), "R025");
  EXPECT_EQ(id({x, t}, -1), "E013");
  EXPECT_EQ(id({x, t}, std::nan("")), "E013");
  EXPECT_EQ(id({x, t}, 0.1), "none");
  EXPECT_EQ(trainer->steps(), 1);
}

TEST(Training, AModelWithoutATrainingProgramSaysSo) {
  const auto model = compiler::compile(mlp());
  ASSERT_TRUE(model);
  const auto trainer = training::Trainer::create(loaded(model->file), {});
  ASSERT_FALSE(trainer);
  EXPECT_EQ(trainer.error().id, "F073");
}

TEST(ReplayBuffer, ItsBytesAreAllOfIt) {
  for (const auto policy : {training::ReplayPolicy::kReservoir, training::ReplayPolicy::kBalanced}) {
    auto buffer = training::ReplayBuffer::create(9, policy, 3).value();
    const auto offer = [](training::ReplayBuffer& to, int64_t key) {
      to.offer({key, key % 4 == 0 ? 1 : 2, std::vector<std::byte>(5, std::byte(key)), {static_cast<float>(key), 0.5F}});
    };
    for (int64_t key = 0; key < 50; ++key) offer(buffer, key);
    auto again = training::ReplayBuffer::parse(buffer.serialize()).value();
    for (int64_t key = 50; key < 90; ++key) {
      offer(buffer, key);
      offer(again, key);
      EXPECT_EQ(buffer.draw(4), again.draw(4));
    }
    const std::string bytes = buffer.serialize();
    EXPECT_EQ(bytes, again.serialize());
    // Whatever is read from a damaged file is refused or is some buffer; lengths never lead out of the bytes.
    for (size_t at = 0; at < bytes.size(); ++at) {
      EXPECT_FALSE(training::ReplayBuffer::parse(std::string_view(bytes).substr(0, at)));
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ 0x80);
      const auto read = training::ReplayBuffer::parse(damaged);
      if (read) {
        EXPECT_EQ(read->serialize(), damaged);
      }
    }
  }
  EXPECT_EQ(training::ReplayBuffer::create(0, training::ReplayPolicy::kReservoir, 1).error().id, "E040");
}

TEST(Schedule, FollowsItsFormula) {
  training::Schedule cosine{"cosine", 0.1, 110, 10, 0.1};
  ASSERT_TRUE(training::check_schedule(cosine));
  EXPECT_NEAR(training::learning_rate_at(cosine, 1), 0.1 / 11, 1e-15);
  EXPECT_NEAR(training::learning_rate_at(cosine, 10), 1.0 / 11, 1e-15);
  EXPECT_NEAR(training::learning_rate_at(cosine, 11), 0.1, 1e-15);
  EXPECT_NEAR(training::learning_rate_at(cosine, 61), 0.055, 1e-12);
  EXPECT_NEAR(training::learning_rate_at(cosine, 111), 0.01, 1e-12);
  EXPECT_NEAR(training::learning_rate_at(cosine, 999), 0.01, 1e-12);
  training::Schedule steps{"step", 1.0};
  steps.every = 5;
  EXPECT_NEAR(training::learning_rate_at(steps, 5), 1.0, 1e-15);
  EXPECT_NEAR(training::learning_rate_at(steps, 6), 0.1, 1e-15);
  EXPECT_NEAR(training::learning_rate_at(steps, 11), 0.01, 1e-15);
  steps.kind = "linear";
  EXPECT_EQ(training::check_schedule(steps).error().id, "E001");
  cosine.total_steps = 10;
  EXPECT_EQ(training::check_schedule(cosine).error().id, "E002");
}

}  // namespace
}  // namespace hai
