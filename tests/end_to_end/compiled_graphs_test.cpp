// Random networks through compile(), the file format and the runtime, against the reference interpreter.
//
// Integers are equal bit for bit, whatever passes are off; f32 is within the tolerance that the conformance suite
// states for one operator, times the depth of these networks.
#include <gtest/gtest.h>

#include "compiler/compile.h"
#include "hai/hai.h"
#include "passes/testing/graph_builder.h"
#include "passes/testing/random_graph.h"

namespace hai {
namespace {

using passes::testing::expect_same;
using passes::testing::random_float_graph;
using passes::testing::random_inputs;
using passes::testing::random_integer_graph;

constexpr double kTolerance = 1e-4;

// What the runtime answers.
class Running {
 public:
  explicit Running(const compiler::CompiledModel& compiled) {
    auto bytes = format::serialize(compiled.file);
    EXPECT_TRUE(bytes) << bytes.error().to_string();
    bytes_ = std::move(*bytes);
    EXPECT_EQ(hai_model_load_memory(bytes_.data(), bytes_.size(), &model_), HAI_OK) << hai_last_error();
    hai_session_options options = HAI_SESSION_OPTIONS_INIT;
    options.threads = 2;
    EXPECT_EQ(hai_session_create(model_, &options, &session_), HAI_OK) << hai_last_error();
  }
  ~Running() {
    hai_session_release(session_);
    hai_model_release(model_);
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  void run(const std::vector<ops::Tensor>& inputs, std::vector<ops::Tensor>& outputs) {
    const auto describe = [](const TensorView& view) {
      hai_tensor tensor{};
      tensor.dtype = static_cast<int32_t>(view.dtype);
      tensor.rank = view.dims.rank;
      std::copy_n(view.dims.size.begin(), view.dims.rank, tensor.dims);
      tensor.data = const_cast<std::byte*>(view.data);
      tensor.size_bytes = static_cast<size_t>(view.size_bytes());
      return tensor;
    };
    std::vector<hai_tensor> in;
    std::vector<hai_tensor> out;
    for (const ops::Tensor& tensor : inputs) in.push_back(describe(tensor.view()));
    for (const ops::Tensor& tensor : outputs) out.push_back(describe(tensor.view()));
    EXPECT_EQ(hai_session_run(session_, in.data(), in.size(), out.data(), out.size()), HAI_OK) << hai_last_error();
  }

 private:
  std::vector<std::byte> bytes_;
  hai_model* model_ = nullptr;
  hai_session* session_ = nullptr;
};

void expect_device_equals_reference(const ir::Graph& graph, const compiler::CompileOptions& options, uint32_t seed,
                                    std::initializer_list<int64_t> batches) {
  const auto compiled = compiler::compile(graph, options);
  ASSERT_TRUE(compiled) << compiled.error().to_string();
  Running device(*compiled);
  if (::testing::Test::HasFailure()) return;
  for (const int64_t batch : batches) {
    const auto inputs = random_inputs(graph, seed, batch);
    const auto expected = ops::interpret(graph, inputs);
    ASSERT_TRUE(expected) << expected.error().to_string();
    std::vector<ops::Tensor> outputs = expected->outputs;
    for (ops::Tensor& output : outputs) std::fill(output.storage.begin(), output.storage.end(), std::byte{0x5a});
    device.run(inputs, outputs);
    for (size_t i = 0; i < outputs.size(); ++i) {
      expect_same(expected->outputs[i].view(), outputs[i].view(), kTolerance, graph.value(graph.outputs()[i]).name);
      ASSERT_FALSE(::testing::Test::HasFailure()) << "output " << i << ", batch " << batch;
    }
  }
}

TEST(CompiledGraphs, IntegersAreEqual) {
  for (uint32_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE(seed);
    expect_device_equals_reference(random_integer_graph(seed), {}, seed, {1, 3, 16});
    if (HasFailure()) return;
  }
}

TEST(CompiledGraphs, FloatsAreClose) {
  for (uint32_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE(seed);
    expect_device_equals_reference(random_float_graph(seed), {}, seed, {1, 5});
    if (HasFailure()) return;
  }
}

TEST(CompiledGraphs, EachPassOffInTurn) {
  for (const std::string& name : compiler::pass_names()) {
    if (name == "fuse_quantization") continue;  // not optional
    compiler::CompileOptions options;
    options.disabled_passes = {name};
    for (uint32_t seed = 400; seed < 415; ++seed) {
      SCOPED_TRACE(name + " off, seed " + std::to_string(seed));
      expect_device_equals_reference(random_integer_graph(seed), options, seed, {2});
      expect_device_equals_reference(random_float_graph(seed), options, seed, {2});
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace hai
