// QueueSimulation: the queues, DMA channels, arithmetic units and external memory of a machine, event by event.
//
// The rules of time (those that docs/reference/sd3403.md does not fix are assumptions):
// - A queue reads its commands in order, issue_cycles each, and goes on while what it has started runs.
// - An arithmetic unit runs one command at a time; its queue is at most one command ahead of it.
// - A DMA channel takes dma_in_flight commands of its core's load and store queues (then the queue stands still); each
//   has its latency from when it is taken, so latencies overlap; bytes flow in the order of taking. A channel that the
//   machine does not have is channel 0.
// - External memory serves all channels whose bytes flow, in equal shares.
// - A WeightLoad is done when its bytes have come and the core's decoder has expanded them; decoding goes on while
// bytes
//   come, one stream at a time.
// - A signal leaves when every command before it in its queue is done and arrives semaphore_cycles later.
#pragma once

#include <array>
#include <optional>
#include <queue>
#include <span>
#include <vector>

#include "base/result.h"
#include "devices/sd3403/exec/run_order.h"
#include "devices/sd3403/exec/timeline.h"

namespace hai::sd3403 {

class QueueSimulation {
 public:
  static constexpr size_t kKinds = 3;  // load, compute, store
  static constexpr size_t kQueues = 2 * kKinds;
  static constexpr size_t kChannels = 4;  // two a core

  // `costs` has an entry a command. Preconditions: those of time_program(); cores that the machine has.
  QueueSimulation(std::span<const Command> commands, std::span<const CommandCycles> costs, const Machine& machine,
                  const BrokenParts& broken);

  // With broken parts everything that can be done is done, and stands() says what is not.
  Status run();
  // As RunOrder::stands. Of a command that hangs: it has been taken, and what comes before it on its engine is done.
  std::vector<std::optional<size_t>> stands() const;

  // After a run that broken parts have stopped: what has begun lasts until the end, what has not has issued -1.
  void end_unfinished();

  std::vector<CommandTime> times;  // by number of command
  int64_t end_ticks = 0;
  int64_t ddr_busy_ticks = 0;
  std::span<const size_t> queue(size_t core, QueueKind kind) const {
    return queues_[core * kKinds + static_cast<size_t>(kind)].numbers;
  }

 private:
  enum class EventKind : uint8_t { kIssued, kFirstByte, kArithmeticDone, kDecoded, kSignal };
  struct Event {
    int64_t time;
    int64_t sequence;  // events of one time in the order in which they were made
    EventKind kind;
    size_t subject;  // queue, channel, core, command or semaphore
    int64_t count;   // of kSignal
    int64_t cause;   // of kSignal: the command whose end let it leave
    bool operator>(const Event& other) const {
      return time != other.time ? time > other.time : sequence > other.sequence;
    }
  };
  struct Queue {
    std::vector<size_t> numbers;
    size_t next = 0;             // the command that it reads or holds
    bool holds = false;          // has read it, and cannot go on
    size_t done = 0;             // all before this one are
    std::vector<bool> finished;  // by place
    std::queue<size_t> signals;  // places of signals that have not left
    int64_t last_done = -1;      // the command that ended last
  };
  struct Channel {
    std::queue<size_t> taken;  // commands, the first has bytes flowing or will have
    int64_t in_flight = 0;
    bool flows = false;
    int64_t left = 0;  // of the first: shares of a tick of external memory
  };
  struct Arithmetic {
    int64_t runs = -1, next = -1;
  };

  size_t queue_of_command(size_t number) const;
  size_t channel_of(size_t number) const;
  void push(int64_t time, EventKind kind, size_t subject, int64_t count = 0, int64_t cause = -1);
  void advance_memory(int64_t to);
  int64_t memory_next() const;
  void take_event(const Event& event);
  void read_next(size_t queue);
  void try_command(size_t queue);
  bool take_wait(const Wait& wait, size_t number);
  void take_signal(size_t queue);
  bool take_transfer(size_t number);
  bool take_arithmetic(size_t number);
  void start_arithmetic(size_t core, size_t number);
  void expect_first_byte(size_t channel);
  void bytes_done(size_t channel);
  void finish_transfer(size_t number);
  void finish(size_t number);
  void settle(size_t queue);
  void send(const Signal& signal, int64_t cause);
  Status check_end() const;

  std::span<const Command> commands_;
  std::span<const CommandCycles> costs_;
  const BrokenParts& broken_;
  int64_t issue_ticks_, semaphore_ticks_, in_flight_, channels_a_core_;
  std::array<Queue, kQueues> queues_;
  std::array<Channel, kChannels> channels_;
  std::array<Arithmetic, 2> arithmetic_;
  std::array<int64_t, 2> decoder_free_{};
  std::vector<size_t> place_;  // of each command in its queue
  std::array<int64_t, 64> signals_{};
  std::array<int64_t, 64> signalled_by_{};
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  int64_t sequence_ = 0;
  int64_t now_ = 0;
};

}  // namespace hai::sd3403
