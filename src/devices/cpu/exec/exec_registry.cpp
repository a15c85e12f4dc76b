// The table of CPU kernels, and the checked access to an instruction's attributes.
//
// An instruction comes from a file that anyone may have written: an attribute may be missing, of another kind or out of
// range. Each access states what the kernel can take; everything else becomes an error that names kernel and layer.
#include "devices/cpu/exec/exec_registry.h"

#include <cmath>

#include "devices/cpu/exec/kernel_place.h"

// Defined in devices/cpu/train, null in programs that do without it. Hidden: no other library can stand in for it.
extern "C" __attribute__((weak, visibility("hidden"))) void hai_register_train_exec(hai::cpu::ExecRegistry& registry);

namespace hai::cpu {

std::string place_of(const format::Instruction& instruction) {
  return fmt::format("{} '{}'", instruction.kernel, instruction.name);
}

namespace {

std::string place(const KernelContext& context) { return place_of(context.instruction); }

const format::Attribute* find_attribute(const KernelContext& context, std::string_view key) {
  const auto it = context.instruction.attributes.find(key);
  return it == context.instruction.attributes.end() ? nullptr : &it->second;
}

Error wrong_kind(const KernelContext& context, std::string_view key, std::string_view wanted) {
  return with_where(make_error(StatusCode::kCorrupt, "C010",
                               "attribute '{}' must be {}; compile the model again with this version", key, wanted),
                    place(context));
}

Error outside(const KernelContext& context, std::string_view key, int64_t value, int64_t min, int64_t max) {
  return with_where(
      make_error(StatusCode::kOutOfRange, "C011", "attribute '{}' is {}, allowed are {} to {}", key, value, min, max),
      place(context));
}

Result<std::vector<int64_t>> checked_ints(const KernelContext& context, std::string_view key,
                                          const format::Attribute& attribute, int64_t min, int64_t max) {
  const auto* values = std::get_if<std::vector<int64_t>>(&attribute);
  if (values == nullptr) return wrong_kind(context, key, "a list of integers");
  for (const int64_t value : *values) {
    if (value < min || value > max) return outside(context, key, value, min, max);
  }
  return *values;
}

}  // namespace

Result<int64_t> KernelContext::int_attribute(std::string_view key, int64_t fallback, int64_t min, int64_t max) const {
  const format::Attribute* attribute = find_attribute(*this, key);
  if (attribute == nullptr) return fallback;
  const auto* value = std::get_if<int64_t>(attribute);
  if (value == nullptr) return wrong_kind(*this, key, "an integer");
  if (*value < min || *value > max) return outside(*this, key, *value, min, max);
  return *value;
}

Result<double> KernelContext::float_attribute(std::string_view key, double fallback) const {
  const format::Attribute* attribute = find_attribute(*this, key);
  if (attribute == nullptr) return fallback;
  if (const auto* integer = std::get_if<int64_t>(attribute)) return static_cast<double>(*integer);
  const auto* value = std::get_if<double>(attribute);
  if (value == nullptr || std::isnan(*value)) return wrong_kind(*this, key, "a number");
  return *value;
}

Result<std::string> KernelContext::string_attribute(std::string_view key, std::string_view fallback) const {
  const format::Attribute* attribute = find_attribute(*this, key);
  if (attribute == nullptr) return std::string(fallback);
  const auto* value = std::get_if<std::string>(attribute);
  if (value == nullptr) return wrong_kind(*this, key, "a string");
  return *value;
}

Result<std::vector<int64_t>> KernelContext::ints_attribute(std::string_view key, size_t expected_count, int64_t min,
                                                           int64_t max) const {
  const format::Attribute* attribute = find_attribute(*this, key);
  if (attribute == nullptr) return wrong_kind(*this, key, "given");
  HAI_TRY(std::vector<int64_t> values, checked_ints(*this, key, *attribute, min, max));
  if (values.size() != expected_count) {
    return wrong_kind(*this, key, fmt::format("a list of {} integers, not of {}", expected_count, values.size()));
  }
  return values;
}

Result<std::vector<int64_t>> KernelContext::ints_attribute_or(std::string_view key, std::vector<int64_t> fallback,
                                                              int64_t min, int64_t max) const {
  const format::Attribute* attribute = find_attribute(*this, key);
  if (attribute == nullptr) return fallback;
  return checked_ints(*this, key, *attribute, min, max);
}

Result<std::vector<double>> KernelContext::floats_attribute_or(std::string_view key,
                                                               std::vector<double> fallback) const {
  const format::Attribute* attribute = find_attribute(*this, key);
  if (attribute == nullptr) return fallback;
  const auto* values = std::get_if<std::vector<double>>(attribute);
  if (values == nullptr) return wrong_kind(*this, key, "a list of numbers");
  for (const double value : *values) {
    if (std::isnan(value)) return wrong_kind(*this, key, "a list of numbers");
  }
  return *values;
}

Error KernelContext::refuse(std::string_view what) const {
  return with_where(make_error(StatusCode::kUnsupported, "C012", "{}", what), place(*this));
}

void ExecRegistry::add(std::string kernel, MakeKernel make) {
  const bool added = makers_.emplace(std::move(kernel), make).second;
  HAI_CHECK(added);
}

MakeKernel ExecRegistry::find(std::string_view kernel) const {
  const auto it = makers_.find(kernel);
  return it == makers_.end() ? nullptr : it->second;
}

std::vector<std::string_view> ExecRegistry::names() const {
  std::vector<std::string_view> out;
  out.reserve(makers_.size());
  for (const auto& [name, make] : makers_) out.emplace_back(name);
  return out;
}

void register_cpu_kernels(ExecRegistry& registry) {
  register_all_exec(registry);
  if (hai_register_train_exec != nullptr) hai_register_train_exec(registry);
}

const ExecRegistry& ExecRegistry::instance() {
  static const ExecRegistry kRegistry = [] {
    ExecRegistry registry;
    register_cpu_kernels(registry);
    return registry;
  }();
  return kRegistry;
}

}  // namespace hai::cpu
