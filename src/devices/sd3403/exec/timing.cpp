// From the times of commands to what they come to per layer.
//
// Where an arithmetic unit idles before a command, the idle time that its queue spent at a wait belongs to what the
// wait was for (the command whose end released it), the rest to issue. So for each core that computes, busy and stalled
// time come to the length of the program, exactly.
#include "devices/sd3403/exec/timing.h"

#include <fmt/format.h>

#include <algorithm>

#include "devices/sd3403/exec/queue_simulation.h"
#include "devices/sd3403/exec/stream.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kMostSum = int64_t{1} << 61;  // sums stop here instead of overflowing
void add(int64_t& sum, int64_t more) { sum = std::min(sum + more, kMostSum); }
void add_times(int64_t more, int64_t times, int64_t& sum) {
  add(sum, more > kMostSum / std::max<int64_t>(times, 1) ? kMostSum : more * times);
}

// A layer's index by its number; layers are few and commands of one follow each other.
class Layers {
 public:
  LayerTime& of(int64_t number) {
    if (places_.size() <= static_cast<size_t>(number)) places_.resize(static_cast<size_t>(number) + 1, -1);
    int64_t& place = places_[static_cast<size_t>(number)];
    if (place < 0) {
      place = static_cast<int64_t>(layers_.size());
      layers_.push_back({});
      layers_.back().layer = number;
    }
    return layers_[static_cast<size_t>(place)];
  }
  std::vector<LayerTime> take() {
    std::sort(layers_.begin(), layers_.end(), [](const LayerTime& a, const LayerTime& b) { return a.layer < b.layer; });
    return std::move(layers_);
  }

 private:
  std::vector<int64_t> places_;
  std::vector<LayerTime> layers_;
};

StallOn stall_on(std::span<const Command> commands, int64_t cause) {
  if (cause < 0) return StallOn::kIssue;
  const CommandBody& body = commands[static_cast<size_t>(cause)].body;
  if (std::holds_alternative<DmaLoad>(body)) return StallOn::kActivations;
  if (std::holds_alternative<WeightLoad>(body)) return StallOn::kWeights;
  return std::holds_alternative<DmaStore>(body) ? StallOn::kStores : StallOn::kArithmetic;
}

int64_t arithmetic_end(std::span<const Command> commands, const QueueSimulation& simulation, size_t core) {
  int64_t end = 0;
  for (const size_t number : simulation.queue(core, QueueKind::kCompute)) {
    if (info_of(commands[number].body).queue == QueueKind::kCompute) end = simulation.times[number].end;
  }
  return end;
}

// Adds the time of one core to its layers. False: the core computes nothing.
bool add_core(std::span<const Command> commands, const QueueSimulation& simulation, size_t core, Layers& layers) {
  int64_t done = 0;  // until where the core's time is accounted for
  std::array<int64_t, kStallCount> waited{};
  int64_t last = -1;
  const auto account = [&](LayerTime& layer, int64_t start, int64_t end) {
    int64_t idle = start - done;
    for (size_t i = 0; i < kStallCount; ++i) {
      const int64_t part = std::min(idle, waited[i]);
      add(layer.stall_core_ticks[i], part);
      idle -= part;
    }
    add(layer.stall_core_ticks[static_cast<size_t>(StallOn::kIssue)], idle);
    add(layer.core_ticks, end - done);
    waited = {};
    done = end;
  };
  for (const size_t number : simulation.queue(core, QueueKind::kCompute)) {
    const CommandTime& time = simulation.times[number];
    if (std::holds_alternative<Wait>(commands[number].body)) {
      const int64_t idle = time.end - std::max(time.start, done);  // the unit may still have been at work
      if (idle > 0) add(waited[static_cast<size_t>(stall_on(commands, time.released_by))], idle);
    } else if (info_of(commands[number].body).queue == QueueKind::kCompute) {
      last = commands[number].layer;
      LayerTime& layer = layers.of(last);
      add(layer.busy_core_ticks, time.end - time.start);
      account(layer, time.start, time.end);
    }
  }
  if (last < 0) return false;
  const int64_t other = arithmetic_end(commands, simulation, 1 - core);
  // Until the end of the program: the other core's work, then stores that nothing is left to hide behind.
  waited[static_cast<size_t>(StallOn::kArithmetic)] = std::max<int64_t>(other - done, 0);
  waited[static_cast<size_t>(StallOn::kStores)] = std::max<int64_t>(simulation.end_ticks - std::max(done, other), 0);
  account(layers.of(last), simulation.end_ticks, simulation.end_ticks);
  return true;
}

void add_command(const Command& command, const CommandCycles& cost, const CommandTime& time, LayerTime& layer) {
  ++layer.commands;
  add(layer.products[static_cast<size_t>(cost.product_kind)], cost.products);
  add(layer.values, cost.values);
  add(layer.adds, cost.adds);
  const bool weights = std::holds_alternative<WeightLoad>(command.body);
  add(weights ? layer.ddr_weight_bytes_read : layer.ddr_activation_bytes_read, cost.ddr_read_bytes);
  add(layer.ddr_bytes_written, cost.ddr_written_bytes);
  add(layer.ddr_bus_bytes, cost.ddr_bus_bytes);
  add(layer.sram_bytes_read, cost.sram_read_bytes);
  add(layer.sram_bytes_written, cost.sram_written_bytes);
  add(layer.cache_bytes, cost.cache_read_bytes + cost.cache_written_bytes);
  add(layer.line_bytes, cost.line_bytes);
  add(layer.sum_bytes, cost.sum_bytes);
  if (cost.ddr_ticks != 0) add(layer.transfer_ticks, time.bytes_end - time.start);
  if (weights) add(layer.decode_ticks, cost.decode_cycles * kTicksPerCycle);
}

Result<std::vector<CommandCycles>> costs_of(std::span<const Command> commands, std::span<const std::byte> constants,
                                            const Machine& machine) {
  std::vector<CommandCycles> costs;
  costs.reserve(commands.size());
  for (size_t i = 0; i < commands.size(); ++i) {
    const Command& command = commands[i];
    if (std::holds_alternative<std::monostate>(command.body) || command.core >= machine.cores) {
      return make_error(StatusCode::kInvalidArgument, "N082",
                        "command {} is for core {}; machine {} has {}: compile the model for this machine", i,
                        command.core, machine.name, machine.cores);
    }
    int64_t stream_bytes = -1;
    if (const auto* weights = std::get_if<WeightLoad>(&command.body)) {
      const auto entry = read_stream_entry(constants, weights->entry, weights->expanded_bytes);
      if (!entry) return with_where(entry.error(), fmt::format("command {}", i));
      stream_bytes = entry->bytes;
    }
    costs.push_back(cycles_of(machine, command, stream_bytes));
  }
  return costs;
}

}  // namespace

void add_layer(const LayerTime& layer, int64_t times, LayerTime& sum) {
  constexpr int64_t LayerTime::* kSums[] = {
      &LayerTime::core_ticks,        &LayerTime::busy_core_ticks,
      &LayerTime::transfer_ticks,    &LayerTime::decode_ticks,
      &LayerTime::commands,          &LayerTime::values,
      &LayerTime::ddr_bytes_written, &LayerTime::ddr_activation_bytes_read,
      &LayerTime::ddr_bus_bytes,     &LayerTime::ddr_weight_bytes_read,
      &LayerTime::sram_bytes_read,   &LayerTime::sram_bytes_written,
      &LayerTime::cache_bytes,       &LayerTime::line_bytes,
      &LayerTime::sum_bytes,         &LayerTime::adds,
  };
  for (int64_t LayerTime::* member : kSums) add_times(layer.*member, times, sum.*member);
  for (size_t i = 0; i < kStallCount; ++i) add_times(layer.stall_core_ticks[i], times, sum.stall_core_ticks[i]);
  for (size_t i = 0; i < kProductKinds; ++i) add_times(layer.products[i], times, sum.products[i]);
}

int64_t LayerTime::stall_ticks() const {
  int64_t sum = 0;
  for (const int64_t ticks : stall_core_ticks) sum += ticks;
  return sum;
}

int64_t LayerTime::all_products() const {
  int64_t sum = 0;
  for (const int64_t count : products) add(sum, count);
  return sum;
}

int64_t Timeline::cycles() const { return (end_ticks + kTicksPerCycle - 1) / kTicksPerCycle; }
double Timeline::seconds() const {
  return static_cast<double>(end_ticks) / static_cast<double>(kTicksPerCycle) / (machine.clock_mhz * 1e6);
}
double Timeline::frames_a_second() const { return end_ticks == 0 ? 0.0 : static_cast<double>(passes) / seconds(); }
double Timeline::cycles_of_layer(const LayerTime& layer) const {
  return static_cast<double>(layer.core_ticks) / static_cast<double>(kTicksPerCycle * cores);
}
double Timeline::utilisation(const LayerTime& layer) const {
  const double possible = cycles_of_layer(layer) * static_cast<double>(peak_products(machine));
  return possible == 0.0 ? 0.0 : static_cast<double>(layer.all_products()) / possible;
}

Result<Timeline> time_program(std::span<const Command> commands, std::span<const std::byte> constants,
                              const Machine& machine) {
  HAI_TRY(const std::vector<CommandCycles> costs, costs_of(commands, constants, machine));
  const BrokenParts none;
  QueueSimulation simulation(commands, costs, machine, none);
  HAI_TRY_STATUS(simulation.run());
  Timeline out;
  out.machine = machine;
  out.end_ticks = simulation.end_ticks;
  out.ddr_busy_ticks = simulation.ddr_busy_ticks;
  Layers layers;
  int64_t cores = 0;
  for (size_t core = 0; core < 2; ++core) cores += add_core(commands, simulation, core, layers) ? 1 : 0;
  for (size_t i = 0; i < commands.size(); ++i) {
    if (info_of(commands[i].body).queue == QueueKind::kAny) continue;
    add_command(commands[i], costs[i], simulation.times[i], layers.of(commands[i].layer));
  }
  out.cores = std::max<int64_t>(cores, 1);
  out.layers = layers.take();
  if (cores == 0 && !out.layers.empty()) {  // transfers alone
    LayerTime& layer = out.layers.back();
    layer.core_ticks = layer.stall_core_ticks[static_cast<size_t>(StallOn::kActivations)] = simulation.end_ticks;
  }
  for (const LayerTime& layer : out.layers) add_layer(layer, 1, out.total);
  out.total.layer = -1;
  out.commands = std::move(simulation.times);
  return out;
}

Result<Timeline> time_until_stopped(std::span<const Command> commands, std::span<const std::byte> constants,
                                    const Machine& machine, const BrokenParts& broken) {
  HAI_TRY(const std::vector<CommandCycles> costs, costs_of(commands, constants, machine));
  QueueSimulation simulation(commands, costs, machine, broken);
  HAI_TRY_STATUS(simulation.run());
  simulation.end_unfinished();
  Timeline out;
  out.machine = machine;
  out.end_ticks = simulation.end_ticks;
  out.ddr_busy_ticks = simulation.ddr_busy_ticks;
  out.commands = std::move(simulation.times);
  return out;
}

void stop_at(Timeline& timeline, int64_t ticks) {
  if (ticks >= timeline.end_ticks) return;
  timeline.end_ticks = ticks;
  timeline.ddr_busy_ticks = std::min(timeline.ddr_busy_ticks, ticks);
  timeline.layers.clear();
  timeline.total = {};
  for (CommandTime& time : timeline.commands) {
    if (!time.begun()) continue;
    if (time.start >= ticks) time.issued = -1;
    for (int64_t CommandTime::* at : {&CommandTime::issued, &CommandTime::start, &CommandTime::end,
                                      &CommandTime::bytes_end, &CommandTime::decode_start})
      time.*at = std::min(time.*at, ticks);
  }
}

Result<Standstill> time_standstill(std::span<const Command> commands, std::span<const std::byte> constants,
                                   const Machine& machine, const BrokenParts& broken) {
  HAI_TRY(const std::vector<CommandCycles> costs, costs_of(commands, constants, machine));
  QueueSimulation simulation(commands, costs, machine, broken);
  HAI_TRY_STATUS(simulation.run());
  const auto cycle = [](int64_t ticks) { return (ticks + kTicksPerCycle - 1) / kTicksPerCycle; };
  Standstill out;
  out.last_cycle = cycle(simulation.end_ticks);
  for (const std::optional<size_t>& command : simulation.stands()) {
    out.places.emplace_back();
    if (!command) continue;
    const CommandTime& time = simulation.times[*command];
    const bool waits = std::holds_alternative<Wait>(commands[*command].body);
    out.places.back() = {*command, cycle(waits ? time.start : time.issued)};
  }
  return out;
}

}  // namespace hai::sd3403
