// A staged run gives every value that the whole graph gives, whatever it may keep in memory.
#include "quantizer/staged_run.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "ops/build.h"

namespace hai::quantizer {
namespace {

// Two inputs, a branch that comes back late, a free batch.
ir::Graph make_graph() {
  ir::Graph graph;
  graph.symbols.push_back({"N", 1, 4});
  const Shape shape = {Dim(1, 0), 5, 7, 3};
  ir::ValueId x = graph.add_input("x", {DataType::kF32, shape, {}});
  const ir::ValueId late = graph.add_input("late", {DataType::kF32, shape, {}});
  const auto op = [&](const char* name, std::vector<ir::ValueId> inputs, const char* result) {
    ops::AppendOptions options;
    options.output_names = {result};
    return *ops::append_value(graph, name, std::move(inputs), {}, std::move(options));
  };
  const ir::ValueId first = op("sigmoid", {x}, "first");
  x = op("tanh", {first}, "second");
  x = op("sigmoid", {x}, "third");
  x = op("add", {x, first}, "fourth");
  x = op("mul", {x, late}, "fifth");
  graph.add_output(op("sigmoid", {x}, "sixth"));
  return graph;
}

std::vector<std::vector<ops::Tensor>> make_samples() {
  std::mt19937 random(17);
  std::vector<std::vector<ops::Tensor>> samples;
  for (const int64_t batch : {1, 2, 1}) {
    std::vector<ops::Tensor>& sample = samples.emplace_back();
    for (int i = 0; i < 2; ++i) {
      sample.push_back(ops::Tensor::zeros(DataType::kF32, Dims{batch, 5, 7, 3}));
      const MutableTensorView view = sample.back().mutable_view();
      for (int64_t k = 0; k < view.count(); ++k) data_of<float>(view)[k] = static_cast<float>(random() % 100) / 50 - 1;
    }
  }
  return samples;
}

TEST(StagedRun, EqualsTheWholeGraph) {
  const ir::Graph graph = make_graph();
  const auto samples = make_samples();
  int64_t reads = 0;
  const EachSample each = [&](const std::function<Status(const std::vector<ops::Tensor>&)>& use) -> Status {
    ++reads;
    for (const auto& sample : samples) HAI_TRY_STATUS(use(sample));
    return {};
  };
  for (const int64_t memory : {int64_t{0}, int64_t{3000}, int64_t{1} << 20}) {
    StagedRun run(graph, each, 1, memory);
    for (const char* name : {"x", "first", "second", "third", "fourth", "fourth", "late", "fifth", "sixth"}) {
      const ir::ValueId value = *graph.find_value(name);
      int64_t seen = 0;
      const Status status = run.visit(value, [&](int64_t index, const TensorView& tensor) -> Status {
        EXPECT_EQ(index, seen++);
        ops::InterpretOptions options;
        options.keep_all = true;
        const auto& sample = samples[static_cast<size_t>(index)];
        const auto whole = ops::interpret(graph, sample, options);
        EXPECT_TRUE(whole.has_value());
        const ops::Tensor& want =
            graph.is_input(value) ? sample[name == std::string("late") ? 1 : 0] : whole->all.at(value);
        EXPECT_EQ(tensor.dims, want.dims);
        for (int64_t k = 0; k < tensor.count(); ++k) {
          // The device's functions are within a few units in the last place of the reference's.
          EXPECT_NEAR(data_of<float>(tensor)[k], data_of<float>(want.view())[k], 1e-5F) << name << " " << k;
        }
        return {};
      });
      ASSERT_TRUE(status.has_value()) << name << ": " << status.error().to_string();
      EXPECT_EQ(seen, 3) << name;
    }
  }
  EXPECT_GT(reads, 9);
}

TEST(StagedRun, ErrorsOfTheVisitorEndTheRun) {
  const ir::Graph graph = make_graph();
  const auto samples = make_samples();
  const EachSample each = [&](const std::function<Status(const std::vector<ops::Tensor>&)>& use) -> Status {
    for (const auto& sample : samples) HAI_TRY_STATUS(use(sample));
    return {};
  };
  StagedRun run(graph, each, 1, 1 << 20);
  int64_t calls = 0;
  const Status status = run.visit(*graph.find_value("third"), [&](int64_t, const TensorView&) -> Status {
    ++calls;
    return make_error(StatusCode::kInvalidArgument, "Q095", "enough");
  });
  EXPECT_FALSE(status.has_value());
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace hai::quantizer
