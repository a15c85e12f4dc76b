// sgd_update and adam_update on the CPU, f32: scalars once a step in f64, then chunks on the session's threads.
// In place is fine (a state's new value takes the place of the old one). Where the guard refuses the step, states stay
// as they are and separate outputs become copies.
#include <cmath>
#include <cstring>

#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_chunks.h"
#include "devices/cpu/train/optimizer_scalars.h"
#include "types/optimizer_step.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_sgd_update_f32, void,
                  (const ::hai_sgd_scalars*, const float*, const float*, const float*, float*, float*, int64_t));
HAI_KERNEL_FAMILY(hai_adam_update_f32, void,
                  (const ::hai_adam_scalars*, const float*, const float*, const float*, const float*, float*, float*,
                   float*, int64_t));

// The attributes that both have.
struct Common {
  double weight_decay = 0;
  double clip_norm = 0;
  double learning_rate_scale = 1;
};

Result<double> bounded(const KernelContext& context, std::string_view key, double fallback, double below) {
  HAI_TRY(const double number, context.float_attribute(key, fallback));
  if (std::isfinite(number) && number >= 0 && number < below) return number;
  return context.refuse(fmt::format("{} is {}; at least 0 and below {} is valid", key, number, below));
}

constexpr double kAny = 1e30;

Result<Common> common_of(const KernelContext& context) {
  Common common;
  HAI_TRY(common.weight_decay, bounded(context, "weight_decay", 0, kAny));
  HAI_TRY(common.clip_norm, bounded(context, "clip_norm", 0, kAny));
  HAI_TRY(common.learning_rate_scale, bounded(context, "learning_rate_scale", 1, kAny));
  return common;
}

// Operands before `scalars` and all outputs are tensors like the first, those from there on f32 numbers but for `step`.
Status check_operands(const KernelContext& context, size_t scalars, size_t step) {
  const format::ProgramTensor& parameter = *context.inputs[0];
  const auto check_tensor = [&](const format::ProgramTensor& tensor) -> Status {
    HAI_TRY_STATUS(require_dtype(context, tensor, {DataType::kF32}));
    return require_same_shape(context, parameter, tensor);
  };
  for (size_t i = 0; i < context.inputs.size(); ++i) {
    if (context.inputs[i] == nullptr) continue;
    if (i < scalars) {
      HAI_TRY_STATUS(check_tensor(*context.inputs[i]));
      continue;
    }
    HAI_TRY_STATUS(require_dtype(context, *context.inputs[i], {i == step ? DataType::kI64 : DataType::kF32}));
    if (!context.inputs[i]->shape.empty()) return context.refuse("its numbers must be scalars");
  }
  for (const format::ProgramTensor* output : context.outputs) HAI_TRY_STATUS(check_tensor(*output));
  return {};
}

// What a step is, from the run's numbers; false: the guard refused it and outputs are what they were.
class Update : public CpuKernel {
 public:
  bool needs_constant(size_t) const override { return true; }

 protected:
  Update(const Common& common, size_t moments, size_t learning_rate, size_t guard)
      : common_(common), moments_(moments), learning_rate_(learning_rate), guard_(guard) {}

  double learning_rate(const RunContext& context) const {
    return *data_of<float>(context.inputs[learning_rate_]) * common_.learning_rate_scale;
  }
  bool begin(const RunContext& context, double& scale) const {
    const bool guarded = context.inputs.size() > guard_ && context.inputs[guard_].data != nullptr;
    const double guard = guarded ? static_cast<double>(*data_of<float>(context.inputs[guard_])) : 0.0;
    scale = hai_clip_scale(guard, common_.clip_norm);
    if (hai_step_is_sound(guard) != 0) return true;
    for (size_t i = 0; i < context.outputs.size(); ++i) {
      const std::byte* from = context.inputs[i == 0 ? 0 : moments_ + i - 1].data;
      const auto bytes = static_cast<size_t>(context.outputs[i].count()) * sizeof(float);
      if (bytes > 0 && from != context.outputs[i].data) std::memcpy(context.outputs[i].data, from, bytes);
    }
    return false;
  }

  Common common_;
  size_t moments_;
  size_t learning_rate_;
  size_t guard_;
};

class SgdUpdate final : public Update {
 public:
  SgdUpdate(const Common& common, double momentum, bool nesterov, Isa isa)
      : Update(common, 2, 3, 4), momentum_(momentum), nesterov_(nesterov), kernel_(hai_sgd_update_f32_for(isa)) {}
  void run(const RunContext& context) const override {
    double scale = 1;
    if (!begin(context, scale)) return;
    const ::hai_sgd_scalars scalars = {static_cast<float>(learning_rate(context)), static_cast<float>(scale),
                                       static_cast<float>(common_.weight_decay), static_cast<float>(momentum_),
                                       nesterov_ ? 1 : 0};
    const auto* w = data_of<float>(context.inputs[0]);
    const auto* g = data_of<float>(context.inputs[1]);
    const bool moment = context.outputs.size() > 1;
    const auto* m = moment ? data_of<float>(context.inputs[2]) : nullptr;
    auto* new_w = data_of<float>(context.outputs[0]);
    auto* new_m = moment ? data_of<float>(context.outputs[1]) : nullptr;
    for_chunks(context.threads, context.outputs[0].count(), kElementChunk, [&](int64_t from, int64_t end) {
      kernel_(&scalars, w + from, g + from, moment ? m + from : nullptr, new_w + from, moment ? new_m + from : nullptr,
              end - from);
    });
  }

 private:
  double momentum_;
  bool nesterov_;
  hai_sgd_update_f32_function kernel_;
};

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  bool decoupled = false;
};

class AdamUpdate final : public Update {
 public:
  AdamUpdate(const Common& common, const AdamOptions& options, Isa isa)
      : Update(common, 2, 4, 6), options_(options), kernel_(hai_adam_update_f32_for(isa)) {}
  void run(const RunContext& context) const override {
    double scale = 1;
    if (!begin(context, scale)) return;
    const ::hai_adam_scalars scalars = scalars_of(context, scale);
    const auto* w = data_of<float>(context.inputs[0]);
    const auto* g = data_of<float>(context.inputs[1]);
    const auto* m = data_of<float>(context.inputs[2]);
    const auto* v = data_of<float>(context.inputs[3]);
    auto* new_w = data_of<float>(context.outputs[0]);
    auto* new_m = data_of<float>(context.outputs[1]);
    auto* new_v = data_of<float>(context.outputs[2]);
    for_chunks(context.threads, context.outputs[0].count(), kElementChunk, [&](int64_t from, int64_t end) {
      kernel_(&scalars, w + from, g + from, m + from, v + from, new_w + from, new_m + from, new_v + from, end - from);
    });
  }

 private:
  ::hai_adam_scalars scalars_of(const RunContext& context, double scale) const {
    const double rate = learning_rate(context);
    const auto step = static_cast<double>(*data_of<int64_t>(context.inputs[5]));
    ::hai_adam_scalars scalars = {};
    scalars.scale = static_cast<float>(scale);
    scalars.coupled_decay = options_.decoupled ? 0.0F : static_cast<float>(common_.weight_decay);
    scalars.kept_weight = options_.decoupled ? static_cast<float>(1 - rate * common_.weight_decay) : 1.0F;
    scalars.beta1 = static_cast<float>(options_.beta1);
    scalars.rest1 = static_cast<float>(1 - options_.beta1);
    scalars.beta2 = static_cast<float>(options_.beta2);
    scalars.rest2 = static_cast<float>(1 - options_.beta2);
    scalars.corrected_rate = static_cast<float>(rate / (1 - std::pow(options_.beta1, step)));
    scalars.inverse_root_correction2 = static_cast<float>(1 / std::sqrt(1 - std::pow(options_.beta2, step)));
    scalars.epsilon = static_cast<float>(options_.epsilon);
    return scalars;
  }

  AdamOptions options_;
  hai_adam_update_f32_function kernel_;
};

Result<std::unique_ptr<CpuKernel>> make_sgd(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts_between(context, 2, 5, context.outputs.size()));
  if (context.inputs.size() < 4 || context.inputs[3] == nullptr) return context.refuse("it has no learning rate");
  HAI_TRY_STATUS(check_operands(context, 3, SIZE_MAX));
  HAI_TRY(const Common common, common_of(context));
  HAI_TRY(const double momentum, bounded(context, "momentum", 0, 1));
  HAI_TRY(const int64_t nesterov, context.int_attribute("nesterov", 0, 0, 1));
  const size_t outputs = context.inputs[2] != nullptr ? 2 : 1;
  if (context.outputs.size() != outputs || (momentum > 0 && outputs == 1))
    return context.refuse("its momentum and its outputs do not fit together");
  return std::unique_ptr<CpuKernel>(std::make_unique<SgdUpdate>(common, momentum, nesterov != 0, context.isa));
}

Result<std::unique_ptr<CpuKernel>> make_adam(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts_between(context, 6, 7, 3));
  HAI_TRY_STATUS(check_operands(context, 4, 5));
  HAI_TRY(const Common common, common_of(context));
  AdamOptions options;
  HAI_TRY(options.beta1, bounded(context, "beta1", options.beta1, 1));
  HAI_TRY(options.beta2, bounded(context, "beta2", options.beta2, 1));
  HAI_TRY(options.epsilon, bounded(context, "epsilon", options.epsilon, kAny));
  HAI_TRY(const int64_t decoupled, context.int_attribute("decoupled", 0, 0, 1));
  options.decoupled = decoupled != 0;
  return std::unique_ptr<CpuKernel>(std::make_unique<AdamUpdate>(common, options, context.isa));
}

}  // namespace

void register_optimizer_update_train_exec(ExecRegistry& registry);
void register_optimizer_update_train_exec(ExecRegistry& registry) {
  registry.add("sgd_update", make_sgd);
  registry.add("adam_update", make_adam);
}

}  // namespace hai::cpu
