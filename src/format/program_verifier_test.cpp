// verify_program: each rule has a program that breaks only it.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "format/test_model.h"

namespace hai::format {
namespace {

constexpr int64_t kWeightsBytes = 64 + 13 * 4;

struct Case {
  const char* name;
  std::function<void(Program&)> change;
  const char* id;
};

void PrintTo(const Case& value, std::ostream* out) { *out << value.name; }

class ProgramVerifierTest : public ::testing::TestWithParam<Case> {};

TEST_P(ProgramVerifierTest, Refuses) {
  Program program = testing::make_test_program(false);
  ASSERT_TRUE(verify_program(program, kWeightsBytes));
  GetParam().change(program);
  const Status status = verify_program(program, kWeightsBytes);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().id, GetParam().id) << status.error().to_string();
}

// A second intermediate in the arena: u = scale(t), y = add(u, x).
void add_intermediate(Program& p, int64_t offset_bytes) {
  p.tensors.push_back(testing::make_tensor("u", p.tensors[2].shape, TensorPlace::kPerSample, 0, offset_bytes));
  Instruction middle = p.instructions[0];
  middle.inputs = {2, 1};
  middle.outputs = {4};
  p.instructions.insert(p.instructions.begin() + 1, middle);
  p.instructions[2].inputs = {4, 2};
}

const Case kCases[] = {
    {"no_device", [](Program& p) { p.device.clear(); }, "F032"},
    {"negative_arena", [](Program& p) { p.per_sample_bytes = -64; }, "F032"},
    {"huge_arena", [](Program& p) { p.fixed_bytes = INT64_MAX; }, "F032"},
    {"two_symbols", [](Program& p) { p.symbols.push_back({"M", 1, 2}); }, "F032"},
    {"symbol_bounds", [](Program& p) { p.symbols[0].min = 0; }, "F032"},
    {"symbol_order", [](Program& p) { p.symbols[0].min = 17; }, "F032"},
    {"symbol_huge", [](Program& p) { p.symbols[0].max = INT64_MAX; }, "F032"},
    {"symbol_unnamed", [](Program& p) { p.symbols[0].name.clear(); }, "F032"},
    {"rank", [](Program& p) { p.tensors[2].shape.assign(9, Dim(1)); }, "F030"},
    {"negative_dim", [](Program& p) { p.tensors[2].shape[1].value = -1; }, "F030"},
    {"symbol_number", [](Program& p) { p.tensors[2].shape[0].symbol = 1; }, "F030"},
    {"symbol_twice", [](Program& p) { p.tensors[2].shape[1].symbol = 0; }, "F030"},
    {"overflow", [](Program& p) { p.tensors[2].shape = {Dim(int64_t{1} << 40), Dim(int64_t{1} << 40)}; }, "F030"},
    {"overflow_at_batch", [](Program& p) { p.tensors[2].shape[1] = Dim(int64_t{1} << 44); }, "F030"},
    {"quantized_float", [](Program& p) { p.tensors[2].quantization = per_tensor_quantization(1.0F, 0); }, "F030"},
    {"scale_zero",
     [](Program& p) {
       p.tensors[2].dtype = DataType::kI8;
       p.tensors[2].quantization = per_tensor_quantization(0.0F, 0);
     },
     "F030"},
    {"scale_nan",
     [](Program& p) {
       p.tensors[2].dtype = DataType::kI8;
       p.tensors[2].quantization = per_tensor_quantization(NAN, 0);
     },
     "F030"},
    {"zero_point",
     [](Program& p) {
       p.tensors[2].dtype = DataType::kI8;
       p.tensors[2].quantization = per_tensor_quantization(1.0F, 128);
     },
     "F030"},
    {"scales_missing",
     [](Program& p) {
       p.tensors[2].dtype = DataType::kI8;
       p.tensors[2].quantization = Quantization{};
     },
     "F030"},
    {"scales_of_axis",
     [](Program& p) {
       p.tensors[2].dtype = DataType::kI8;
       p.tensors[2].quantization = Quantization{std::vector<float>(12, 1.0F), std::vector<int32_t>(12, 0), 1, 0};
     },
     "F030"},
    {"axis_beyond_rank",
     [](Program& p) {
       p.tensors[2].dtype = DataType::kI8;
       p.tensors[2].quantization = Quantization{{1.0F}, {0}, 7, 0};
     },
     "F030"},
    {"axis_symbolic",
     [](Program& p) {
       p.tensors[2].dtype = DataType::kI8;
       p.tensors[2].quantization = Quantization{{1.0F}, {0}, 0, 0};
     },
     "F030"},
    {"constant_beyond_weights", [](Program& p) { p.tensors[1].offset_bytes = 128; }, "F030"},
    {"constant_misaligned", [](Program& p) { p.tensors[1].offset_bytes = 32; }, "F030"},
    {"constant_negative", [](Program& p) { p.tensors[1].offset_bytes = -64; }, "F030"},
    {"constant_symbolic", [](Program& p) { p.tensors[1].shape = p.tensors[0].shape; }, "F030"},
    {"beyond_region", [](Program& p) { p.tensors[2].offset_bytes = 64; }, "F030"},
    {"misaligned", [](Program& p) { p.tensors[2].offset_bytes = 4, p.per_sample_bytes = 256; }, "F030"},
    {"offset_overflow", [](Program& p) { p.tensors[2].offset_bytes = INT64_MAX - 63; }, "F030"},
    {"fixed_with_batch", [](Program& p) { p.tensors[2].place = TensorPlace::kFixed, p.fixed_bytes = 4096; }, "F030"},
    {"value_on_device", [](Program& p) { p.tensors[2].place = TensorPlace::kValue; }, "F030"},
    {"alias_out_of_range", [](Program& p) { p.tensors[2].place = TensorPlace::kAlias, p.tensors[2].index = 9; },
     "F030"},
    {"alias_of_itself", [](Program& p) { p.tensors[2].place = TensorPlace::kAlias, p.tensors[2].index = 2; }, "F030"},
    {"alias_of_other_size", [](Program& p) { p.tensors[2].place = TensorPlace::kAlias, p.tensors[2].index = 1; },
     "F030"},
    {"input_number", [](Program& p) { p.inputs[0] = 77; }, "F030"},
    {"input_is_constant", [](Program& p) { p.inputs.push_back(1); }, "F030"},
    {"input_unlisted", [](Program& p) { p.inputs.clear(); }, "F030"},
    {"input_unnamed", [](Program& p) { p.tensors[0].name.clear(); }, "F030"},
    {"output_number", [](Program& p) { p.outputs.push_back(77); }, "F032"},
    {"output_is_intermediate", [](Program& p) { p.outputs.push_back(2); }, "F030"},
    {"output_unwritten",
     [](Program& p) {
       p.tensors.push_back(testing::make_tensor("z", {Dim(1)}, TensorPlace::kOutput, 1));
       p.outputs.push_back(4);
     },
     "F032"},
    {"no_kernel", [](Program& p) { p.instructions[0].kernel.clear(); }, "F031"},
    {"writes_nothing", [](Program& p) { p.instructions[0].outputs.clear(); }, "F031"},
    {"negative_macs", [](Program& p) { p.instructions[0].macs = -1; }, "F031"},
    {"reads_no_tensor", [](Program& p) { p.instructions[0].inputs[0] = 4; }, "F031"},
    {"writes_no_tensor", [](Program& p) { p.instructions[0].outputs[0] = kNoTensor; }, "F031"},
    {"writes_constant", [](Program& p) { p.instructions[0].outputs[0] = 1; }, "F031"},
    {"writes_input", [](Program& p) { p.instructions[0].outputs[0] = 0; }, "F031"},
    {"reads_before_write", [](Program& p) { std::swap(p.instructions[0], p.instructions[1]); }, "F031"},
    {"writes_twice", [](Program& p) { p.instructions.push_back(p.instructions[1]); }, "F031"},
    {"overwrites_live", [](Program& p) { add_intermediate(p, 0); }, "F031"},
    {"overwrites_half",
     [](Program& p) {
       p.per_sample_bytes = 256;
       p.tensors[2].shape[1] = Dim(32);
       add_intermediate(p, 64);
     },
     "F031"},
};
INSTANTIATE_TEST_SUITE_P(Rules, ProgramVerifierTest, ::testing::ValuesIn(kCases),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(ProgramVerifierTest, InPlaceIsAllowedWhereTheInputEnds) {
  Program program = testing::make_test_program(false);
  add_intermediate(program, 0);
  program.instructions[2].inputs = {4, 0};  // t is not needed any more
  const Status status = verify_program(program, kWeightsBytes);
  EXPECT_TRUE(status) << status.error().to_string();
}

TEST(ProgramVerifierTest, DisjointLiveTensors) {
  Program program = testing::make_test_program(false);
  program.per_sample_bytes = 128;
  add_intermediate(program, 64);
  EXPECT_TRUE(verify_program(program, kWeightsBytes));
}

TEST(ProgramVerifierTest, APortableGraphMayReturnInputsAndConstants) {
  Program program = testing::make_test_program(true);
  program.outputs = {0, 3, 3, 1};
  EXPECT_TRUE(verify_program(program, kWeightsBytes));
  program.tensors[3].place = TensorPlace::kPerSample;
  EXPECT_FALSE(verify_program(program, kWeightsBytes));
}

}  // namespace
}  // namespace hai::format
