// Micro-benchmarks of the CPU kernels: the register-only peak of each instruction set, then the convolutions of
// MobileNetV2 and ResNet-50 at 224 x 224, one thread, f32 and i8.
//
//   build/bin/kernel_bench --benchmark_filter='f32/avx512vnni'
//
// Each line prints GMAC/s and the share of the peak measured in the same process. Times are the least of several
// repetitions, since a busy machine only ever adds to them.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "devices/cpu/exec/aligned_buffer.h"
#include "devices/cpu/exec/exec_registry.h"
#include "devices/cpu/exec/kernel_dispatch.h"

HAI_DOT_KERNEL_FAMILY(peak_f32, float, (int64_t, int64_t*));
HAI_DOT_KERNEL_FAMILY(peak_i8, int32_t, (int64_t, int64_t*));

namespace hai::cpu {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double peak_macs_per_second(Isa isa, bool integer) {
  static std::map<std::pair<Isa, bool>, double> known;
  const auto [it, fresh] = known.try_emplace({isa, integer}, 0.0);
  if (!fresh) return it->second;
  for (int round = 0; round < 60; ++round) {
    int64_t macs = 0;
    const auto start = Clock::now();
    if (integer) {
      benchmark::DoNotOptimize(peak_i8_for(isa)(20000, &macs));
    } else {
      benchmark::DoNotOptimize(peak_f32_for(isa)(20000, &macs));
    }
    it->second = std::max(it->second, static_cast<double>(macs) / seconds_since(start));
  }
  return it->second;
}

struct Layer {
  const char* name;
  int64_t size, channels, outputs, kernel, stride;
  bool depthwise;
  bool residual;
};

constexpr Layer kLayers[] = {
    {"mobilenet_first", 224, 3, 32, 3, 2, false, false},
    {"mobilenet_dw_112_32", 112, 32, 32, 3, 1, true, false},
    {"mobilenet_1x1_112_32_16", 112, 32, 16, 1, 1, false, false},
    {"mobilenet_1x1_112_16_96", 112, 16, 96, 1, 1, false, false},
    {"mobilenet_dw_112_96_stride2", 112, 96, 96, 3, 2, true, false},
    {"mobilenet_1x1_56_96_24", 56, 96, 24, 1, 1, false, false},
    {"mobilenet_1x1_56_24_144", 56, 24, 144, 1, 1, false, false},
    {"mobilenet_dw_56_144", 56, 144, 144, 3, 1, true, false},
    {"mobilenet_1x1_56_144_24_residual", 56, 144, 24, 1, 1, false, true},
    {"mobilenet_1x1_28_192_32_residual", 28, 192, 32, 1, 1, false, true},
    {"mobilenet_dw_28_192", 28, 192, 192, 3, 1, true, false},
    {"mobilenet_1x1_14_64_384", 14, 64, 384, 1, 1, false, false},
    {"mobilenet_dw_14_384", 14, 384, 384, 3, 1, true, false},
    {"mobilenet_1x1_14_384_64_residual", 14, 384, 64, 1, 1, false, true},
    {"mobilenet_dw_14_576", 14, 576, 576, 3, 1, true, false},
    {"mobilenet_1x1_7_160_960", 7, 160, 960, 1, 1, false, false},
    {"mobilenet_dw_7_960", 7, 960, 960, 3, 1, true, false},
    {"mobilenet_1x1_7_960_320", 7, 960, 320, 1, 1, false, false},
    {"mobilenet_1x1_7_320_1280", 7, 320, 1280, 1, 1, false, false},
    {"resnet_first_7x7", 224, 3, 64, 7, 2, false, false},
    {"resnet_3x3_56_64", 56, 64, 64, 3, 1, false, false},
    {"resnet_1x1_56_64_256_residual", 56, 64, 256, 1, 1, false, true},
    {"resnet_1x1_56_256_64", 56, 256, 64, 1, 1, false, false},
    {"resnet_3x3_56_128_stride2", 56, 128, 128, 3, 2, false, false},
    {"resnet_1x1_56_256_512_stride2", 56, 256, 512, 1, 2, false, false},
    {"resnet_3x3_28_128", 28, 128, 128, 3, 1, false, false},
    {"resnet_1x1_28_512_128", 28, 512, 128, 1, 1, false, false},
    {"resnet_3x3_14_256", 14, 256, 256, 3, 1, false, false},
    {"resnet_1x1_14_256_1024_residual", 14, 256, 1024, 1, 1, false, true},
    {"resnet_3x3_7_512", 7, 512, 512, 3, 1, false, false},
    {"resnet_1x1_7_2048_512", 7, 2048, 512, 1, 1, false, false},
    {"unet_3x3_256_32", 256, 32, 32, 3, 1, false, false},
    {"yolo_3x3_160_16", 160, 16, 16, 3, 1, false, false},
    {"yolo_3x3_80_32", 80, 32, 32, 3, 1, false, false},
};

// One convolution with its buffers.
class LayerRun {
 public:
  LayerRun(const Layer& layer, bool integer, Isa isa) : integer_(integer), pool_(1) {
    const int64_t out = (layer.size - 1) / layer.stride + 1;
    const int64_t depth = layer.depthwise ? 1 : layer.channels;
    const int64_t bytes = integer ? 1 : 4;
    macs_ = out * out * layer.outputs * layer.kernel * layer.kernel * depth;
    const DataType type = integer ? DataType::kI8 : DataType::kF32;
    x_ = tensor(type, {1, layer.size, layer.size, layer.channels}, 0.02F);
    weights_ = tensor(type, {layer.outputs, layer.kernel, layer.kernel, depth}, 0.003F);
    y_ = tensor(type, {1, out, out, layer.outputs}, 0.05F);
    bias_ = tensor(integer ? DataType::kI32 : DataType::kF32, {layer.outputs}, 0.0F);
    fill(weights_data_, layer.outputs * layer.kernel * layer.kernel * depth * bytes);
    fill(bias_data_, layer.outputs * 4);
    fill(x_data_, layer.size * layer.size * layer.channels * bytes);
    fill(y_data_, out * out * layer.outputs * bytes);
    fill(residual_data_, out * out * layer.outputs * bytes);
    format::Instruction instruction;
    instruction.kernel = "conv2d";
    instruction.name = layer.name;
    const int64_t pad = layer.kernel / 2;
    instruction.attributes = {
        {"strides", std::vector<int64_t>{layer.stride, layer.stride}},
        {"pads", std::vector<int64_t>{pad, pad, (layer.stride == 2 ? pad - 1 + layer.kernel % 2 : pad), pad}},
        {"groups", layer.depthwise ? layer.channels : int64_t{1}}};
    const char* activation = layer.residual ? "residual_activation" : "activation";
    instruction.attributes[activation] = std::string("relu");
    if (integer && layer.residual) {
      instruction.attributes["pre_residual_scale"] = 0.04;
      instruction.attributes["pre_residual_zero_point"] = int64_t{0};
    }
    const Dims weight_dims{layer.outputs, layer.kernel, layer.kernel, depth};
    const format::ProgramTensor* inputs[] = {&x_, &weights_, &bias_, layer.residual ? &y_ : nullptr};
    const format::ProgramTensor* outputs[] = {&y_};
    const Quantization* scales = integer ? &*weights_.quantization : nullptr;
    const TensorView constants[] = {{},
                                    {type, weight_dims, weights_data_.data(), scales},
                                    {bias_.dtype, Dims{layer.outputs}, bias_data_.data(), nullptr},
                                    {}};
    auto made = ExecRegistry::instance().find("conv2d")({instruction, inputs, outputs, constants, {}, isa});
    if (!made) {
      error_ = made.error().to_string();
      return;
    }
    kernel_ = std::move(*made);
    scratch_ = *AlignedBuffer::zeros(kernel_->scratch_bytes(1, 1));
    views_[0] = {type, Dims{1, layer.size, layer.size, layer.channels}, x_data_.data(), nullptr};
    views_[3] = {type, Dims{1, out, out, layer.outputs}, layer.residual ? residual_data_.data() : nullptr, nullptr};
    out_ = {type, Dims{1, out, out, layer.outputs}, y_data_.data(), nullptr};
  }

  void run() { kernel_->run({views_, {&out_, 1}, scratch_.data(), pool_, 1}); }
  int64_t macs() const { return macs_; }
  const std::string& error() const { return error_; }

 private:
  static format::ProgramTensor tensor(DataType type, Shape shape, float scale) {
    format::ProgramTensor out;
    out.dtype = type;
    out.shape = std::move(shape);
    if (type == DataType::kI8) out.quantization = per_tensor_quantization(scale, 0);
    return out;
  }
  void fill(AlignedBuffer& buffer, int64_t bytes) {
    buffer = *AlignedBuffer::zeros(bytes);
    if (!integer_) {
      for (float& value : buffer.as<float>()) value = static_cast<float>(next() % 1000) / 500.0F - 1.0F;
    } else {
      for (int64_t i = 0; i < bytes; i += 4) buffer.data()[i] = static_cast<std::byte>(next());
    }
  }
  uint32_t next() { return state_ = state_ * 1664525U + 1013904223U; }

  bool integer_;
  uint32_t state_ = 1;
  ThreadPool pool_;
  int64_t macs_ = 0;
  format::ProgramTensor x_, weights_, y_, bias_;
  AlignedBuffer x_data_, weights_data_, bias_data_, y_data_, residual_data_, scratch_;
  std::unique_ptr<CpuKernel> kernel_;
  std::string error_;
  TensorView views_[4];
  MutableTensorView out_;
};

void layer_benchmark(benchmark::State& state, const Layer& layer, bool integer, Isa isa) {
  LayerRun run(layer, integer, isa);
  if (!run.error().empty()) {
    state.SkipWithError(run.error().c_str());
    return;
  }
  double least = 1e9;
  for (auto _ : state) {
    const auto start = Clock::now();
    run.run();
    const double seconds = seconds_since(start);
    least = std::min(least, seconds);
    state.SetIterationTime(seconds);
  }
  const double rate = static_cast<double>(run.macs()) / least;
  state.counters["least_us"] = least * 1e6;
  state.counters["GMAC/s"] = rate * 1e-9;
  state.counters["peak%"] = 100.0 * rate / peak_macs_per_second(isa, integer);
}

void peak_benchmark(benchmark::State& state, bool integer, Isa isa) {
  for (auto _ : state) benchmark::DoNotOptimize(peak_macs_per_second(isa, integer));
  state.counters["GMAC/s"] = peak_macs_per_second(isa, integer) * 1e-9;
}

void register_all() {
  for (const bool integer : {false, true}) {
    for (const Isa isa : available_isas()) {
      const std::string prefix = std::string(integer ? "i8/" : "f32/") + std::string(isa_name(isa)) + "/";
      benchmark::RegisterBenchmark((prefix + "peak").c_str(), peak_benchmark, integer, isa)->Iterations(1);
      for (const Layer& layer : kLayers) {
        benchmark::RegisterBenchmark((prefix + layer.name).c_str(), layer_benchmark, layer, integer, isa)
            ->UseManualTime()
            ->MinTime(0.1);
      }
    }
  }
}

}  // namespace
}  // namespace hai::cpu

int main(int argc, char** argv) {
  hai::cpu::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
