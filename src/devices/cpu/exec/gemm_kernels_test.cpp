// The matrix-product micro-kernels of every instruction set of this machine against plain loops: every row count, odd
// column counts and steps, segments with gaps, accumulation. Operands have exactly their bytes, so that the address
// sanitizer sees any read past them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "devices/cpu/exec/aligned_buffer.h"
#include "devices/cpu/exec/product_kernels.h"
#include "types/arithmetic.h"

namespace hai::cpu {
namespace {

struct Problem {
  int32_t rows, cols;
  int64_t segments, steps;
};

std::vector<Problem> problems(const hai_gemm_kernel& kernel) {
  std::vector<Problem> out;
  for (int32_t rows = 1; rows <= kernel.mr; ++rows) {
    for (const int32_t cols : {1, kernel.nr / 2, kernel.nr - 1, kernel.nr}) {
      if (cols >= 1) out.push_back({rows, cols, 1 + rows % 3, 1 + (rows * 7 + cols) % 19});
    }
  }
  return out;
}

// The left operand: one heap block a segment, so that nothing lies behind its last step.
struct LeftOperand {
  LeftOperand(const Problem& p, int64_t step_bytes, std::mt19937& random, bool floats) {
    stride = p.steps * step_bytes + 3 * step_bytes;
    for (int64_t s = 0; s < p.segments; ++s) {
      const auto bytes = static_cast<size_t>((p.rows - 1) * stride + p.steps * step_bytes);
      auto block = std::make_unique<std::byte[]>(bytes);
      for (size_t i = 0; i < bytes; ++i) block[i] = static_cast<std::byte>(random() & 0xff);
      if (floats) {
        for (size_t i = 0; i + 4 <= bytes; i += 4) {
          const float value = static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 500.0F;
          std::memcpy(&block[i], &value, 4);
        }
      }
      pointers.push_back(block.get());
      blocks.push_back(std::move(block));
    }
  }
  int64_t stride;
  std::vector<std::unique_ptr<std::byte[]>> blocks;
  std::vector<const void*> pointers;
};

hai_gemm_operands operands(const Problem& p, const LeftOperand& left, const AlignedBuffer& panel) {
  return {left.pointers.data(), p.segments, p.steps, left.stride, panel.data(), p.rows, p.cols};
}

TEST(GemmKernels, F32MatchesPlainLoops) {
  for (const Isa isa : available_isas()) {
    const hai_gemm_kernel& kernel = *gemm_f32_for(isa)();
    std::mt19937 random(7);
    for (const Problem& p : problems(kernel)) {
      const LeftOperand left(p, 4, random, true);
      AlignedBuffer panel = *AlignedBuffer::zeros(p.segments * p.steps * kernel.nr * 4);
      for (float& weight : panel.as<float>()) weight = static_cast<float>(random() % 200) / 100.0F - 1.0F;
      AlignedBuffer bias = *AlignedBuffer::zeros(kernel.nr * 4);
      for (float& value : bias.as<float>()) value = static_cast<float>(random() % 200) / 100.0F - 1.0F;
      const float guard = 12345.0F;
      const int64_t out_stride = p.cols + 2;
      std::vector<float> out(static_cast<size_t>(p.rows * out_stride), guard);
      const hai_gemm_f32_tile tile = {
          operands(p, left, panel), bias.as<float>().data(), -3.0F, 5.0F, 0, out.data(), out_stride};
      kernel.run_f32(&tile);
      for (int32_t m = 0; m < p.rows; ++m) {
        for (int32_t n = 0; n < out_stride; ++n) {
          const float got = out[static_cast<size_t>(m * out_stride + n)];
          if (n >= p.cols) {
            ASSERT_EQ(got, guard) << kernel.name << " wrote column " << n << " of " << p.cols;
            continue;
          }
          double want = static_cast<double>(bias.as<float>()[static_cast<size_t>(n)]);
          for (int64_t s = 0; s < p.segments; ++s) {
            const auto* row = reinterpret_cast<const float*>(
                static_cast<const std::byte*>(left.pointers[static_cast<size_t>(s)]) + m * left.stride);
            for (int64_t k = 0; k < p.steps; ++k) {
              want += static_cast<double>(row[k]) *
                      static_cast<double>(panel.as<float>()[static_cast<size_t>((s * p.steps + k) * kernel.nr + n)]);
            }
          }
          want = std::min(5.0, std::max(-3.0, want));
          // 57 terms of at most 2, each rounded once or twice to 24 bits.
          ASSERT_NEAR(static_cast<double>(got), want, 57 * 4 * 6e-8 * 4)
              << kernel.name << " rows " << p.rows << " cols " << p.cols << " element " << m << ", " << n;
        }
      }
    }
  }
}

// One value of the left operand in the kernel's own type.
int64_t left_value(const hai_gemm_kernel& kernel, const std::byte* row, int64_t k) {
  switch (kernel.left) {
    case HAI_GEMM_LEFT_U8:
      return reinterpret_cast<const uint8_t*>(row)[k];
    case HAI_GEMM_LEFT_S8:
      return reinterpret_cast<const int8_t*>(row)[k];
    default: {
      int16_t value = 0;
      std::memcpy(&value, row + 2 * k, 2);
      return value;
    }
  }
}

// Keeps 16-bit operands inside what packing makes of 8-bit numbers.
void limit_to_packed(const hai_gemm_kernel& kernel, LeftOperand& left, int64_t bytes) {
  if (kernel.left != HAI_GEMM_LEFT_S16) return;
  for (auto& block : left.blocks) {
    for (int64_t i = 0; i + 2 <= bytes; i += 2) {
      const auto value = static_cast<int16_t>(static_cast<int>(block[static_cast<size_t>(i)]) - (i % 4 == 0 ? 255 : 0));
      std::memcpy(&block[static_cast<size_t>(i)], &value, 2);
    }
  }
}

TEST(GemmKernels, IntegersAreExact) {
  for (const Isa isa : available_isas()) {
    const hai_gemm_kernel& kernel = *gemm_s8_s8_s32_for(isa)();
    const int64_t element = kernel.left == HAI_GEMM_LEFT_S16 ? 2 : 1;
    std::mt19937 random(11);
    for (const Problem& p : problems(kernel)) {
      LeftOperand left(p, element * kernel.k_group, random, false);
      limit_to_packed(kernel, left, (p.rows - 1) * left.stride + p.steps * element * kernel.k_group);
      AlignedBuffer panel = *AlignedBuffer::zeros(p.segments * p.steps * kernel.nr * kernel.k_group);
      for (int8_t& weight : panel.as<int8_t>()) weight = static_cast<int8_t>(random() & 0xff);
      const auto columns = static_cast<size_t>(kernel.nr);
      std::vector<int32_t> bias(columns), sums(columns * static_cast<size_t>(kernel.mr), 1000);
      std::vector<float> multiplier(columns);
      for (size_t n = 0; n < columns; ++n) {
        bias[n] = static_cast<int32_t>(random() % 20000) - 10000;
        multiplier[n] = 0.0001F * static_cast<float>(1 + random() % 50);
      }
      const hai_output_range range = {-5, -100, 90};
      const int64_t out_stride = p.cols + 3;
      std::vector<uint8_t> out(static_cast<size_t>(p.rows * out_stride), 0xee);
      hai_gemm_i8_tile raw = {};
      raw.in = operands(p, left, panel);
      raw.sums = sums.data();
      raw.accumulate = 1;
      kernel.run_i8(&raw);
      hai_gemm_i8_tile stored = {};
      stored.in = raw.in;
      stored.out = out.data();
      stored.out_stride = out_stride;
      stored.bias = bias.data();
      stored.multiplier = multiplier.data();
      stored.lo = static_cast<float>(range.lo - range.zero_point);
      stored.hi = static_cast<float>(range.hi - range.zero_point);
      stored.zero_point = range.zero_point;
      kernel.run_i8(&stored);
      for (int32_t m = 0; m < p.rows; ++m) {
        for (int32_t n = 0; n < out_stride; ++n) {
          const auto at = static_cast<size_t>(m * out_stride + n);
          if (n >= p.cols) {
            ASSERT_EQ(out[at], 0xee) << kernel.name << " wrote column " << n << " of " << p.cols;
            continue;
          }
          int64_t sum = 0;
          for (int64_t s = 0; s < p.segments; ++s) {
            const std::byte* row =
                static_cast<const std::byte*>(left.pointers[static_cast<size_t>(s)]) + m * left.stride;
            for (int64_t k = 0; k < p.steps * kernel.k_group; ++k) {
              const int64_t step = s * p.steps + k / kernel.k_group;
              const int64_t column = (step * kernel.nr + n) * kernel.k_group + k % kernel.k_group;
              sum += left_value(kernel, row, k) * panel.as<int8_t>()[static_cast<size_t>(column)];
            }
          }
          const auto column = static_cast<size_t>(n);
          ASSERT_EQ(sums[static_cast<size_t>(m) * columns + column], sum + 1000)
              << kernel.name << " rows " << p.rows << " cols " << p.cols << " element " << m << ", " << n;
          const int32_t want = hai_requantize_i32(static_cast<int32_t>(sum + bias[column]), multiplier[column], range);
          ASSERT_EQ(static_cast<int8_t>(out[at]), want)
              << kernel.name << " rows " << p.rows << " cols " << p.cols << " element " << m << ", " << n;
        }
      }
    }
  }
}

// Whole ranges of 16 bits, with few and with many steps before 32-bit sums are put aside.
template <typename Weight>
void check_wide(const hai_gemm_kernel& kernel, int64_t most_steps) {
  std::mt19937 random(13);
  for (Problem p : problems(kernel)) {
    p.steps += 40;
    const LeftOperand left(p, 2 * kernel.k_group, random, false);
    if (p.rows % 3 == 0) {  // the largest sums there are
      for (const auto& block : left.blocks) {
        for (int64_t i = 0; i < (p.rows - 1) * left.stride + p.steps * 2 * kernel.k_group; i += 2) {
          constexpr int16_t kLeast = INT16_MIN;
          std::memcpy(&block[static_cast<size_t>(i)], &kLeast, 2);
        }
      }
    }
    AlignedBuffer panel =
        *AlignedBuffer::zeros(p.segments * p.steps * kernel.nr * kernel.k_group * static_cast<int64_t>(sizeof(Weight)));
    for (Weight& weight : panel.as<Weight>()) {
      weight = p.rows % 3 == 0 ? std::numeric_limits<Weight>::min() : static_cast<Weight>(random());
    }
    const auto columns = static_cast<size_t>(kernel.nr);
    std::vector<int64_t> sums(columns * static_cast<size_t>(kernel.mr), 77);
    hai_gemm_s16_tile tile = {};
    tile.in = operands(p, left, panel);
    tile.sums = sums.data();
    tile.most_steps = most_steps;
    kernel.run_s16(&tile);
    for (int32_t m = 0; m < p.rows; ++m) {
      for (int32_t n = 0; n < p.cols; ++n) {
        int64_t sum = 0;
        for (int64_t s = 0; s < p.segments; ++s) {
          const std::byte* row = static_cast<const std::byte*>(left.pointers[static_cast<size_t>(s)]) + m * left.stride;
          for (int64_t k = 0; k < p.steps * kernel.k_group; ++k) {
            const int64_t step = s * p.steps + k / kernel.k_group;
            const int64_t column = (step * kernel.nr + n) * kernel.k_group + k % kernel.k_group;
            sum += left_value(kernel, row, k) * panel.as<Weight>()[static_cast<size_t>(column)];
          }
        }
        ASSERT_EQ(sums[static_cast<size_t>(m) * columns + static_cast<size_t>(n)], sum)
            << kernel.name << " rows " << p.rows << " cols " << p.cols << " element " << m << ", " << n
            << " most_steps " << most_steps;
      }
    }
  }
}

TEST(GemmKernels, WideIntegersAreExact) {
  for (const Isa isa : available_isas()) {
    for (const int64_t most_steps : {1, 7, 127}) {
      check_wide<int8_t>(*gemm_s16_s8_for(isa)(), most_steps);
      check_wide<int16_t>(*gemm_s16_s16_for(isa)(), most_steps);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

// A set with dot products uses the kernels of the set that it extends where those have no use for dot products.
std::string_view extended_name(Isa isa) {
  switch (isa) {
    case Isa::kAvx2Vnni:
      return isa_name(Isa::kAvx2);
    case Isa::kAvx512Vnni:
      return isa_name(Isa::kAvx512);
    case Isa::kNeonDot:
    case Isa::kNeonI8mm:
      return isa_name(Isa::kNeon);
    default:
      return isa_name(isa);
  }
}

TEST(GemmKernels, NamesAreContracts) {
  for (const Isa isa : available_isas()) {
    for (const hai_gemm_kernel* kernel :
         {gemm_f32_for(isa)(), gemm_s8_s8_s32_for(isa)(), gemm_s16_s8_for(isa)(), gemm_s16_s16_for(isa)()}) {
      const std::string tile = "_" + std::to_string(kernel->mr) + "x" + std::to_string(kernel->nr);
      const std::string name = kernel->name;
      const bool own = name.find("__" + std::string(isa_name(isa)) + tile) != std::string::npos;
      const bool extended = name.find("__" + std::string(extended_name(isa)) + tile) != std::string::npos;
      EXPECT_TRUE(own || extended) << name << " for " << isa_name(isa);
    }
  }
}

}  // namespace
}  // namespace hai::cpu
