// States are found by name: NAME of a parameter, NAME/fisher and NAME/anchor of what is held.
//
// Sums are made in f64, since a Fisher information spans many powers of ten.
#include "training/elastic_weights.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace hai::training {
namespace {

constexpr std::string_view kFisher = "/fisher";

std::vector<float> values_of(Trainer& trainer, size_t state) {
  const auto bytes = trainer.state(state);
  std::vector<float> out(bytes.size() / sizeof(float));
  std::memcpy(out.data(), bytes.data(), out.size() * sizeof(float));
  return out;
}

void set_values(Trainer& trainer, size_t state, const std::vector<float>& values) {
  std::memcpy(trainer.state(state).data(), values.data(), values.size() * sizeof(float));
}

// The parameters that `fisher` measures.
std::vector<std::string> measured_by(const Trainer& fisher) {
  std::vector<std::string> out;
  for (size_t i = 0; i < fisher.state_count(); ++i) {
    const std::string& name = fisher.state_tensor(i).name;
    if (!fisher.is_parameter(i) && name.ends_with(kFisher)) out.push_back(name.substr(0, name.size() - kFisher.size()));
  }
  return out;
}

bool same_floats(const Trainer& trainer, const std::optional<size_t>& one, const Trainer& other, size_t index) {
  return one && trainer.state_tensor(*one).dtype == DataType::kF32 &&
         trainer.state_tensor(*one).shape == other.state_tensor(index).shape;
}

}  // namespace

Status set_ewc_strength(Trainer& trainer, double strength) {
  const auto state = trainer.find_state("ewc_strength");
  if (!state || trainer.state(*state).size() != sizeof(float)) {
    return make_error(StatusCode::kInvalidArgument, "E100",
                      "its training program pulls towards no earlier parameters; compile the model with --train ewc=1");
  }
  const auto number = static_cast<float>(strength);
  std::memcpy(trainer.state(*state).data(), &number, sizeof(number));
  return {};
}

Status begin_fisher(Trainer& trainer, Trainer& fisher) {
  const std::vector<std::string> measured = measured_by(fisher);
  bool fits = !measured.empty();
  for (const std::string& name : measured) {
    const size_t there = *fisher.find_state(name + std::string(kFisher));
    for (const std::string& state : {name, name + "/fisher", name + "/anchor"})
      fits = fits && same_floats(trainer, trainer.find_state(state), fisher, there);
  }
  size_t pulled = 0;
  for (size_t i = 0; i < trainer.state_count(); ++i) pulled += trainer.state_tensor(i).name.ends_with(kFisher) ? 1 : 0;
  if (!fits || pulled != measured.size()) {
    return make_error(StatusCode::kInvalidArgument, "E101",
                      "the file that measures has other parameters than the one that is trained; compile both from one "
                      "model, with the same trainable= and groups=, one with ewc=1, one with optimizer=fisher");
  }
  for (size_t i = 0; i < fisher.state_count(); ++i) {
    const std::string& name = fisher.state_tensor(i).name;
    if (!fisher.is_parameter(i)) {
      if (name.ends_with(kFisher)) std::ranges::fill(fisher.state(i), std::byte{0});
      continue;
    }
    const auto from = trainer.find_state(name);
    if (same_floats(trainer, from, fisher, i)) std::ranges::copy(trainer.state(*from), fisher.state(i).begin());
  }
  return {};
}

void consolidate(Trainer& trainer, Trainer& fisher, int64_t samples, double decay) {
  for (const std::string& name : measured_by(fisher)) {
    const std::vector<float> sums = values_of(fisher, *fisher.find_state(name + std::string(kFisher)));
    const std::vector<float> weights = values_of(trainer, *trainer.find_state(name));
    const size_t fisher_state = *trainer.find_state(name + "/fisher");
    const size_t anchor_state = *trainer.find_state(name + "/anchor");
    std::vector<float> held = values_of(trainer, fisher_state);
    std::vector<float> anchor = values_of(trainer, anchor_state);
    for (size_t i = 0; i < weights.size(); ++i) {
      const double old = decay * static_cast<double>(held[i]);
      const double now = static_cast<double>(sums[i]) / static_cast<double>(samples);
      const double total = old + now;
      const double pull = old * static_cast<double>(anchor[i]) + now * static_cast<double>(weights[i]);
      anchor[i] = total > 0 ? static_cast<float>(pull / total) : weights[i];
      held[i] = static_cast<float>(total);
    }
    set_values(trainer, fisher_state, held);
    set_values(trainer, anchor_state, anchor);
  }
}

}  // namespace hai::training
