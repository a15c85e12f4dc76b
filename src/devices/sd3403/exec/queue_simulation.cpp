// The event loop.
//
// Method: events in a heap by time, then by the order in which they were made; external memory beside it, as the bytes
// that the first command of each channel has left. With n channels flowing each advances by 1/n; in twelfths of a tick
// that is whole for up to 4 channels, so nothing is rounded but the end of a transfer, up to the next tick. Every
// command makes a constant number of events: O(n log n), and the heap holds a few dozen.
#include "devices/sd3403/exec/queue_simulation.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace hai::sd3403 {
namespace {

constexpr int64_t kShares = 12;  // a multiple of 1, 2, 3 and 4
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
constexpr int64_t kLongest = int64_t{1} << 60;  // ticks; a step beyond it still fits 64 bits

int64_t ticks_of(double cycles) { return static_cast<int64_t>(cycles) * kTicksPerCycle; }

}  // namespace

QueueSimulation::QueueSimulation(std::span<const Command> commands, std::span<const CommandCycles> costs,
                                 const Machine& machine, const BrokenParts& broken)
    : times(commands.size()),
      commands_(commands),
      costs_(costs),
      broken_(broken),
      issue_ticks_(ticks_of(machine.issue_cycles)),
      semaphore_ticks_(ticks_of(machine.semaphore_cycles)),
      in_flight_(static_cast<int64_t>(machine.dma_in_flight)),
      channels_a_core_(static_cast<int64_t>(machine.dma_channels)),
      place_(commands.size()) {
  for (size_t i = 0; i < commands.size(); ++i) {
    Queue& queue = queues_[queue_of_command(i)];
    place_[i] = queue.numbers.size();
    queue.numbers.push_back(i);
  }
  for (Queue& queue : queues_) queue.finished.resize(queue.numbers.size());
  signalled_by_.fill(-1);
}

size_t QueueSimulation::queue_of_command(size_t number) const {
  return commands_[number].core * kKinds + static_cast<size_t>(queue_of(commands_[number].body));
}

size_t QueueSimulation::channel_of(size_t number) const {
  const CommandBody& body = commands_[number].body;
  int64_t channel = 0;
  if (const auto* load = std::get_if<DmaLoad>(&body)) channel = load->channel;
  if (const auto* store = std::get_if<DmaStore>(&body)) channel = store->channel;
  if (const auto* weights = std::get_if<WeightLoad>(&body)) channel = weights->channel;
  return commands_[number].core * size_t{2} + static_cast<size_t>(channel < channels_a_core_ ? channel : 0);
}

void QueueSimulation::push(int64_t time, EventKind kind, size_t subject, int64_t count, int64_t cause) {
  events_.push({time, sequence_++, kind, subject, count, cause});
}

Status QueueSimulation::run() {
  for (size_t q = 0; q < kQueues; ++q) read_next(q);
  for (;;) {
    const int64_t event = events_.empty() ? kNever : events_.top().time;
    const int64_t next = std::min(event, memory_next());
    if (next == kNever) break;
    if (next > kLongest) {
      return make_error(StatusCode::kOutOfRange, "N083",
                        "the program runs longer than {} cycles, which is as far as time is counted; a command asks "
                        "for absurdly much, or the machine is absurdly slow",
                        kLongest / kTicksPerCycle);
    }
    advance_memory(next);
    if (event != next) continue;
    const Event taken = events_.top();
    events_.pop();
    take_event(taken);
  }
  end_ticks = now_;
  return broken_.any() ? Status() : check_end();
}

// When the first transfer ends, if none begins.
int64_t QueueSimulation::memory_next() const {
  int64_t flowing = 0;
  int64_t least = kNever;
  for (const Channel& channel : channels_) {
    if (!channel.flows) continue;
    ++flowing;
    least = std::min(least, channel.left);
  }
  return flowing == 0 ? kNever : now_ + (least * flowing + kShares - 1) / kShares;
}

void QueueSimulation::advance_memory(int64_t to) {
  int64_t flowing = 0;
  for (const Channel& channel : channels_) flowing += channel.flows ? 1 : 0;
  const int64_t passed = to - now_;
  now_ = to;
  if (flowing == 0) return;
  ddr_busy_ticks += passed;
  for (Channel& channel : channels_) {
    if (channel.flows) channel.left -= passed * kShares / flowing;
  }
  for (size_t i = 0; i < kChannels; ++i) {
    if (channels_[i].flows && channels_[i].left <= 0) bytes_done(i);
  }
}

void QueueSimulation::take_event(const Event& event) {
  switch (event.kind) {
    case EventKind::kIssued:
      queues_[event.subject].holds = true;
      times[queues_[event.subject].numbers[queues_[event.subject].next]].start = now_;
      try_command(event.subject);
      break;
    case EventKind::kFirstByte: {
      Channel& channel = channels_[event.subject];
      const size_t number = channel.taken.front();
      times[number].start = now_;
      channel.flows = true;
      channel.left = costs_[number].ddr_ticks * kShares;
      break;
    }
    case EventKind::kArithmeticDone: {
      Arithmetic& unit = arithmetic_[event.subject];
      const auto number = static_cast<size_t>(unit.runs);
      unit.runs = -1;
      times[number].end = now_;
      if (unit.next >= 0) {
        const auto next = static_cast<size_t>(unit.next);
        unit.next = -1;
        start_arithmetic(event.subject, next);
      }
      finish(number);
      try_command(queue_of_command(number));
      break;
    }
    case EventKind::kDecoded:
      finish_transfer(event.subject);
      break;
    case EventKind::kSignal:
      signals_[event.subject] += event.count;
      signalled_by_[event.subject] = event.cause;
      for (size_t q = 0; q < kQueues; ++q) try_command(q);
      break;
  }
}

void QueueSimulation::read_next(size_t queue) {
  Queue& q = queues_[queue];
  q.holds = false;
  if (q.next < q.numbers.size()) push(now_ + issue_ticks_, EventKind::kIssued, queue);
}

// Goes on with the command that a queue holds, if it can.
void QueueSimulation::try_command(size_t queue) {
  Queue& q = queues_[queue];
  if (!q.holds) return;
  const size_t number = q.numbers[q.next];
  const CommandBody& body = commands_[number].body;
  bool goes_on = true;
  if (const auto* wait = std::get_if<Wait>(&body)) {
    goes_on = take_wait(*wait, number);
  } else if (std::holds_alternative<Signal>(body)) {
    take_signal(queue);
  } else if (std::holds_alternative<End>(body)) {
    times[number].issued = times[number].end = now_;
    finish(number);
  } else {
    goes_on =
        queue % kKinds == static_cast<size_t>(QueueKind::kCompute) ? take_arithmetic(number) : take_transfer(number);
  }
  if (!goes_on) return;
  ++q.next;
  read_next(queue);
}

bool QueueSimulation::take_wait(const Wait& wait, size_t number) {
  const auto semaphore = static_cast<size_t>(wait.semaphore);
  if (signals_[semaphore] < wait.count) return false;
  signals_[semaphore] -= wait.count;
  times[number].issued = times[number].end = now_;
  if (now_ > times[number].start) times[number].released_by = signalled_by_[semaphore];
  finish(number);
  return true;
}

void QueueSimulation::take_signal(size_t queue) {
  Queue& q = queues_[queue];
  const size_t number = q.numbers[q.next];
  times[number].issued = now_;
  q.signals.push(q.next);
  finish(number);  // a signal that has not left holds up no later one: settle() lets them leave in their order
}

bool QueueSimulation::take_transfer(size_t number) {
  const size_t index = channel_of(number);
  Channel& channel = channels_[index];
  if (channel.in_flight >= in_flight_) return false;
  ++channel.in_flight;
  times[number].issued = now_;
  times[number].channel = static_cast<int64_t>(index % 2);
  channel.taken.push(number);
  if (channel.taken.size() == 1) expect_first_byte(index);
  return true;
}

void QueueSimulation::expect_first_byte(size_t channel) {
  const size_t number = channels_[channel].taken.front();
  if (broken_.hangs(number)) return;  // nor does any behind it begin
  const int64_t ready = times[number].issued + costs_[number].latency_cycles * kTicksPerCycle;
  push(std::max(now_, ready), EventKind::kFirstByte, channel);
}

bool QueueSimulation::take_arithmetic(size_t number) {
  const size_t core = commands_[number].core;
  Arithmetic& unit = arithmetic_[core];
  if (unit.next >= 0) return false;
  times[number].issued = now_;
  if (unit.runs >= 0) {
    unit.next = static_cast<int64_t>(number);
  } else {
    start_arithmetic(core, number);
  }
  return true;
}

void QueueSimulation::start_arithmetic(size_t core, size_t number) {
  arithmetic_[core].runs = static_cast<int64_t>(number);
  times[number].start = now_;
  if (broken_.hangs(number)) return;
  push(now_ + costs_[number].cycles * kTicksPerCycle, EventKind::kArithmeticDone, core);
}

// The last byte of a channel's first command has come; the next one's may flow.
void QueueSimulation::bytes_done(size_t index) {
  Channel& channel = channels_[index];
  const size_t number = channel.taken.front();
  channel.taken.pop();
  channel.flows = false;
  times[number].bytes_end = now_;
  if (!channel.taken.empty()) expect_first_byte(index);
  if (!std::holds_alternative<WeightLoad>(commands_[number].body)) {
    finish_transfer(number);
    return;
  }
  int64_t& free = decoder_free_[commands_[number].core];
  times[number].decode_start = std::max(times[number].start, free);
  free = std::max(now_, times[number].decode_start + costs_[number].decode_cycles * kTicksPerCycle);
  push(free, EventKind::kDecoded, number);
}

void QueueSimulation::finish_transfer(size_t number) {
  times[number].end = now_;
  --channels_[channel_of(number)].in_flight;
  finish(number);
  const size_t first = commands_[number].core * kKinds;
  for (size_t q = first; q < first + kKinds; ++q) try_command(q);
}

void QueueSimulation::finish(size_t number) {
  const size_t queue = queue_of_command(number);
  Queue& q = queues_[queue];
  q.finished[place_[number]] = true;
  if (info_of(commands_[number].body).queue != QueueKind::kAny) q.last_done = static_cast<int64_t>(number);
  settle(queue);
}

// Sees how far everything is done, and lets signals leave that have waited for it.
void QueueSimulation::settle(size_t queue) {
  Queue& q = queues_[queue];
  while (q.done < q.numbers.size() && q.finished[q.done]) ++q.done;
  while (!q.signals.empty() && q.signals.front() <= q.done) {
    const size_t number = q.numbers[q.signals.front()];
    q.signals.pop();
    times[number].end = now_;
    send(std::get<Signal>(commands_[number].body), q.last_done);
  }
}

void QueueSimulation::send(const Signal& signal, int64_t cause) {
  if (broken_.is_stuck(signal.semaphore)) return;
  push(now_ + semaphore_ticks_, EventKind::kSignal, static_cast<size_t>(signal.semaphore), signal.count, cause);
}

std::vector<std::optional<size_t>> QueueSimulation::stands() const {
  std::vector<std::optional<size_t>> out;
  for (const int64_t semaphore : broken_.stuck_semaphores) {
    out.emplace_back();
    for (const Queue& q : queues_) {
      if (q.next == q.numbers.size()) continue;
      const auto* wait = std::get_if<Wait>(&commands_[q.numbers[q.next]].body);
      if (wait != nullptr && wait->semaphore == semaphore) out.back() = q.numbers[q.next];
    }
  }
  // Behind one that hangs on its channel or unit, another has been taken but has not begun.
  for (const size_t number : broken_.hung_commands) {
    const bool first = std::any_of(channels_.begin(), channels_.end(), [&](const Channel& channel) {
      return !channel.taken.empty() && channel.taken.front() == number;
    });
    const bool runs = std::any_of(arithmetic_.begin(), arithmetic_.end(),
                                  [&](const Arithmetic& unit) { return unit.runs == static_cast<int64_t>(number); });
    out.push_back(first || runs ? std::optional(number) : std::nullopt);
  }
  return out;
}

void QueueSimulation::end_unfinished() {
  std::vector<bool> begun(times.size(), false);
  for (size_t core = 0; core < arithmetic_.size(); ++core) {
    if (arithmetic_[core].runs >= 0) begun[static_cast<size_t>(arithmetic_[core].runs)] = true;
  }
  for (const Channel& channel : channels_) {
    if (channel.taken.empty()) continue;  // else the first hangs before its first byte, and the channel with it
    const size_t number = channel.taken.front();
    begun[number] = true;
    times[number].start = times[number].issued;
    times[number].bytes_end = times[number].decode_start = end_ticks;
  }
  for (const Queue& q : queues_) {
    for (size_t place = 0; place < q.numbers.size(); ++place) {
      const size_t number = q.numbers[place];
      if (q.finished[place]) continue;
      const bool waits = std::holds_alternative<Wait>(commands_[number].body) && q.holds && q.next == place;
      if (waits) times[number].issued = times[number].start;
      if (waits || begun[number]) {
        times[number].end = end_ticks;
      } else {
        times[number].issued = -1;
      }
    }
  }
}

Status QueueSimulation::check_end() const {
  for (const Queue& q : queues_) {
    if (q.next == q.numbers.size()) continue;
    // Engines finish whatever they have taken, so nothing but a wait is left held.
    const size_t number = q.numbers[q.next];
    const auto& wait = std::get<Wait>(commands_[number].body);
    return make_error(StatusCode::kInvalidArgument, "N080",
                      "{} waits for {} signals of semaphore {}, {} have come and nothing runs any more: a deadlock",
                      command_text(commands_[number], number), wait.count, wait.semaphore,
                      signals_[static_cast<size_t>(wait.semaphore)]);
  }
  for (size_t number = commands_.size(); number-- > 0;) {
    const auto* signal = std::get_if<Signal>(&commands_[number].body);
    if (signal == nullptr || signals_[static_cast<size_t>(signal->semaphore)] == 0) continue;
    return make_error(StatusCode::kInvalidArgument, "N081",
                      "{} signals semaphore {}, which is left with {} signals that nobody waits for",
                      command_text(commands_[number], number), signal->semaphore,
                      signals_[static_cast<size_t>(signal->semaphore)]);
  }
  return {};
}

}  // namespace hai::sd3403
