// Fuzz target: the verifier and the simulator. Bytes choose commands and their fields; queues get their ends and
// semaphores the signals that they lack, so that much is accepted. Whatever the processor accepts must run inside of
// images that have exactly their sizes, give the same bytes twice, and be timed; with a part broken, values and time
// must stop at the same command.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/aligned_bytes.h"
#include "base/checked.h"
#include "devices/sd3403/exec/processor.h"
#include "devices/sd3403/exec/stream.h"
#include "devices/sd3403/exec/timing.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace hai::sd3403 {
namespace {

constexpr double kMostWork = 1e7;  // of a program that is run
constexpr size_t kMostOfProgram = 48;
constexpr int64_t kStreams = 8;
constexpr int64_t kStreamBytes = 2048;
constexpr int64_t kTensorBytes = 8192;

void require(bool holds) {
  if (!holds) std::abort();
}

class Reader {
 public:
  Reader(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  bool done() const { return at_ == end_; }
  int64_t byte() { return done() ? 0 : *at_++; }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
};

// What makes a command likely to be accepted where the bytes leave it alone.
int64_t usual(const FieldInfo& field) {
  if (field.kind == "real") return 0x3c000000;
  if (field.name == "first_sum" || field.name == "last_sum") return 1;
  if (field.name == "greatest" || field.name == "sum_greatest") return 100;
  if (field.name == "pixel_stride" || field.name.ends_with("_pixel_stride")) return 64;
  if (field.name.ends_with("_row_stride")) return 1024;
  if (field.name == "output_address") return 32768;
  if (field.name == "image") return 2;
  if (field.name == "function_entries" || field.name == "multiplier_entries") return 1;
  return nearest_to_zero(field.least, field.greatest);
}

int64_t field_value(const FieldInfo& field, Reader& in) {
  const int64_t how = in.byte();
  int64_t value = usual(field);
  if (how >= 250) {
    for (int i = 0; i < 4; ++i) value = value << 8 | in.byte();
  } else if (how >= 235) {
    value = 16 * (in.byte() | in.byte() << 8);
  } else if (how >= 200) {
    value = in.byte();
  } else if (how >= 190) {
    value -= in.byte();
  }
  return std::clamp(value, field.least, field.greatest);
}

std::vector<Command> commands_of(Reader& in) {
  std::vector<Command> out;
  std::array<int64_t, 64> balance{};
  std::array<int64_t, 64> waiting{};  // the core and queue that waits, plus 1
  while (!in.done() && out.size() < kMostOfProgram) {
    const CommandInfo& info = commands()[static_cast<size_t>(in.byte()) % commands().size()];
    if (info.opcode == Opcode::kEnd) continue;
    Command command;
    command.core = static_cast<uint8_t>(in.byte() & 1);
    std::vector<int64_t> values;
    for (const FieldInfo& field : info.fields) values.push_back(field_value(field, in));
    command.body = *make_body(info.name, values);
    if (auto* load = std::get_if<WeightLoad>(&command.body)) {
      load->entry = load->entry / 16 % kStreams * 16;
      if (load->expanded_bytes < 256) load->expanded_bytes = kStreamBytes;
    }
    if (auto* store = std::get_if<DmaStore>(&command.body); store != nullptr && store->image == 2) store->image = 3;
    if (const auto* signal = std::get_if<Signal>(&command.body))
      balance[static_cast<size_t>(signal->semaphore)] += signal->count;
    if (const auto* wait = std::get_if<Wait>(&command.body)) {
      balance[static_cast<size_t>(wait->semaphore)] -= wait->count;
      waiting[static_cast<size_t>(wait->semaphore)] = 3 * command.core + wait->queue + 1;
    }
    out.push_back(command);
  }
  for (size_t s = 0; s < balance.size(); ++s) {
    const auto semaphore = static_cast<int64_t>(s);
    for (; balance[s] < 0; balance[s] += std::min<int64_t>(-balance[s], 255))
      out.insert(out.begin(), {0, 0, 0, Signal{0, semaphore, std::min<int64_t>(-balance[s], 255)}});
    const int64_t queue = std::max<int64_t>(waiting[s] - 1, 0);
    for (; balance[s] > 0; balance[s] -= std::min<int64_t>(balance[s], 255)) {
      out.push_back(
          {static_cast<uint8_t>(queue / 3), 0, 0, Wait{queue % 3, semaphore, std::min<int64_t>(balance[s], 255)}});
    }
  }
  for (int64_t queue = 0; queue < 6; ++queue) out.push_back({static_cast<uint8_t>(queue / 3), 0, 0, End{queue % 3}});
  return out;
}

// Entries, and plain streams of a pattern with some finite multipliers.
AlignedBytes constants_of(uint8_t pattern) {
  AlignedBytes out(static_cast<size_t>(kStreams * (16 + kStreamBytes)));
  for (int64_t i = 0; i < kStreams; ++i) {
    const auto offset = static_cast<uint32_t>(16 * kStreams + i * kStreamBytes);
    const auto stream = std::span(out).subspan(offset, static_cast<size_t>(kStreamBytes));
    const float multiplier = 0.01F;
    for (size_t k = 0; k < stream.size(); ++k) stream[k] = static_cast<std::byte>(k * pattern % 3);
    for (size_t k = 4; k + 4 <= stream.size() && i % 2 == 0; k += 8) std::memcpy(&stream[k], &multiplier, 4);
    const uint32_t entry[] = {offset, static_cast<uint32_t>(kStreamBytes), static_cast<uint32_t>(kStreamBytes),
                              stream_form_word(kPlainStream, stream)};
    std::memcpy(out.data() + 16 * i, entry, sizeof entry);
  }
  return out;
}

std::vector<std::byte> run(const Processor& processor, const AlignedBytes& constants) {
  AlignedBytes input(static_cast<size_t>(kTensorBytes));
  for (size_t i = 0; i < input.size(); ++i) input[i] = static_cast<std::byte>(i * 37 % 251);
  std::vector<std::byte> output(static_cast<size_t>(kTensorBytes), std::byte{0x5a});
  AlignedBytes scratch(static_cast<size_t>(processor.scratch_bytes(1)), std::byte{0xa5});
  ThreadPool threads(1);
  const ImageBytes images[] = {
      {constants.data(), nullptr}, {}, {input.data(), nullptr}, {output.data(), output.data()}};
  processor.run(images, scratch.data(), threads);
  return output;
}

void check_broken(std::span<const Command> commands, std::span<const std::byte> constants, const BrokenParts& broken) {
  const RunOrder order = run_order(commands, broken);
  const auto still = time_standstill(commands, constants, {}, broken);
  if (!still) return;  // longer than time is counted
  for (size_t i = 0; i < order.stands.size(); ++i) {
    // What stands is told by the program alone; only a channel of two queues is told by time.
    if (order.stands[i] && still->places[i]) require(*order.stands[i] == still->places[i]->command);
  }
}

void check(const uint8_t* data, size_t size) {
  Reader in(data, size);
  const auto isa = cpu::available_isas()[static_cast<size_t>(in.byte()) % cpu::available_isas().size()];
  const AlignedBytes constants = constants_of(static_cast<uint8_t>(in.byte()));
  const int64_t part = in.byte();
  const std::vector<Command> program = commands_of(in);
  const MemorySizes memory{
      {static_cast<int64_t>(constants.size()), 4096, kTensorBytes, kTensorBytes}, 1 << 16, 1 << 14, 1 << 16};
  const auto processor = Processor::make(program, memory, 3, constants, isa);
  if (!processor) {
    require(!processor.error().message.empty());
    return;
  }
  const auto timed = time_program(program, constants, {});
  require(timed.has_value() || timed.error().id == "N083");
  check_broken(program, constants, {.stuck_semaphores = {part % 64}, .hung_commands = {}});
  check_broken(program, constants,
               {.stuck_semaphores = {}, .hung_commands = {static_cast<size_t>(part) % program.size()}});
  if (processor->work() > kMostWork) return;
  require(run(*processor, constants) == run(*processor, constants));
}

}  // namespace
}  // namespace hai::sd3403

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  hai::sd3403::check(data, size);
  return 0;
}
