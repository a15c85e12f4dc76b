// Bounds, types, queues and semaphores of a program.
//
// Method: every access is a box (access.h) whose last byte is held against its memory. Semaphores count and have one
// waiting queue each, so running the queues in any order reaches the same end (a Kahn network); whichever queue cannot
// go on then is deadlocked. Not here: addresses that come from data (position tables of resize, stream entries), which
// the machine checks as it runs.
#include "devices/sd3403/isa/program_verifier.h"

#include <fmt/format.h>

#include <array>
#include <map>
#include <vector>

#include "devices/sd3403/isa/access.h"

namespace hai::sd3403 {
namespace {

constexpr int kQueues = 3;

class CommandVerifier {
 public:
  CommandVerifier(const MemorySizes& memory, size_t number, const Command& command)
      : memory_(memory), number_(number), command_(command) {}

  // `accesses` is room that is used again.
  Status run(std::vector<Access>& accesses) const {
    HAI_TRY_STATUS(std::visit([&](const auto& body) { return types(body); }, command_.body));
    HAI_TRY_STATUS(std::visit([&](const auto& body) { return rings(body); }, command_.body));
    accesses.clear();
    accesses_of(command_, accesses);
    for (const Access& access : accesses) HAI_TRY_STATUS(bounds(access));
    return {};
  }

 private:
  Status refuse(std::string_view id, const std::string& what) const {
    return make_error(StatusCode::kInvalidArgument, id, "{}: {}", command_text(command_, number_), what);
  }

  struct Limit {
    int64_t bytes;
    std::string name;
  };
  Limit limit_of(const Access& access) const {
    switch (access.memory) {
      case Memory::kSram:
        return {memory_.sram_bytes, "the scratchpad"};
      case Memory::kCache:
        return {memory_.cache_bytes, "the weight cache"};
      case Memory::kAccumulators:
        return {memory_.accumulator_bytes, "the accumulators"};
      case Memory::kImage:
        break;
    }
    return {memory_.image_bytes[static_cast<size_t>(access.image)], fmt::format("image {}", access.image)};
  }

  Status bounds(const Access& access) const {
    if (access.memory == Memory::kImage && access.image >= static_cast<int64_t>(memory_.image_bytes.size())) {
      return refuse("N028", fmt::format("{}: there is no image {}; the program has {}", access.field, access.image,
                                        memory_.image_bytes.size()));
    }
    const int64_t unit = access.element_bytes;
    if (access.address % unit != 0 || access.row_stride % unit != 0 || access.pixel_stride % unit != 0) {
      return refuse("N027", fmt::format("{}: address {} and strides {} and {} must be multiples of {}", access.field,
                                        access.address, access.row_stride, access.pixel_stride, unit));
    }
    const Limit limit = limit_of(access);
    if (access.end() <= limit.bytes) return {};
    return refuse("N020", fmt::format("{} at address {:#x} reaches byte {} of {}, which has {}", access.field,
                                      access.address, access.end(), limit.name, limit.bytes));
  }

  Status ring(std::string_view field, const Tile& tile, int64_t rows) const {
    const bool fits =
        tile.ring_rows == 0 ? tile.ring_first == 0 : rows <= tile.ring_rows && tile.ring_first < tile.ring_rows;
    if (fits) return {};
    return refuse("N020", fmt::format("{}: {} rows from row {} do not fit a ring of {}", field, rows, tile.ring_first,
                                      tile.ring_rows));
  }

  template <typename Body>
  Status rings(const Body& c) const {
    if constexpr (requires { c.input_rows; }) {
      HAI_TRY_STATUS(ring("input", input_tile(c), c.input_rows));
      HAI_TRY_STATUS(ring("output", output_tile(c), c.output_rows));
    } else if constexpr (requires { c.transposes; }) {
      HAI_TRY_STATUS(ring("input", input_tile(c), c.rows));
    } else if constexpr (requires { c.rows, c.output_address; }) {
      if constexpr (requires { c.left_address; }) {
        HAI_TRY_STATUS(ring("left", left_tile(c), c.rows));
        HAI_TRY_STATUS(ring("right", right_tile(c), c.rows));
      } else {
        HAI_TRY_STATUS(ring("input", input_tile(c), c.rows));
      }
      HAI_TRY_STATUS(ring("output", output_tile(c), c.rows));
    }
    if constexpr (requires { c.residual_address; }) {
      HAI_TRY_STATUS(ring("residual", residual_tile(c), c.output_rows));
    }
    return {};
  }

  Status integers(std::string_view field, int64_t element) const {
    if (element <= kI16) return {};
    return refuse("N021", fmt::format("{} must be i8, u8 or i16", field));
  }
  Status bytes(std::string_view field, int64_t element) const {
    if (element <= kU8) return {};
    return refuse("N021", fmt::format("{} must be i8 or u8", field));
  }
  Status ordered(int64_t least, int64_t greatest) const {
    if (least <= greatest) return {};
    return refuse("N021", fmt::format("a least of {} is above the greatest, {}", least, greatest));
  }

  template <typename Body>
  Status types(const Body&) const {
    return {};  // nothing that could disagree; encode() has refused what is no command
  }

  Status types(const Convolve& c) const {
    const bool bytes = c.input_type == kI8 || c.input_type == kU8;
    const bool pairs = (bytes && (c.weights == kWeightI8 || c.weights == kWeightI4)) ||
                       (c.input_type == kI16 && (c.weights == kWeightI8 || c.weights == kWeightI16)) ||
                       (c.input_type == kF16 && c.weights == kWeightF16);
    if (!pairs)
      return refuse("N021",
                    "input_type and weights go together as i8 or u8 with i8 or i4, i16 with i8 or i16, f16 with f16");
    if (c.connection == kDepthwise && c.input_channels != c.output_channels) {
      return refuse("N021",
                    fmt::format("depthwise with {} input and {} output channels", c.input_channels, c.output_channels));
    }
    if (c.weight_zero_point != 0 && (c.connection == kDepthwise || c.weights >= kWeightI16))
      return refuse("N021", "weight_zero_point goes with dense convolutions of i8 or i4 weights");
    if (c.transform != kDirect) HAI_TRY_STATUS(transforms(c, bytes));
    if (c.input_pixel_stride == 0 && c.input_columns > 1)
      return refuse("N021", "input_pixel_stride is 0, but the pixels of a convolution follow each other");
    if (c.narrow_sums != 0 && c.input_type != kI16) return refuse("N021", "narrow_sums goes with i16 input");
    const bool real = c.output_type == kF32 || c.output_type == kF16;
    const bool result = c.input_type == kF16 ? real : c.output_type <= kI16 || c.output_type == kF32;
    if (!result) return refuse("N021", "output_type must be i8, u8, i16 or f32; of f16 input f16 or f32");
    const bool alone = c.function == kNoFunction && c.adds_residual == 0;
    if (c.output_type == kF32 && !alone) return refuse("N021", "an f32 output takes neither function nor residual");
    const bool half = c.output_type == kF16;
    if (c.function != kNoFunction && (c.function == kReal) != half)
      return refuse("N021", "function real goes with f16 output, a table or a curve with integers");
    if (has_table(c) && c.function_entries == 0) return refuse("N021", "a function with a table of no entries");
    if (c.adds_residual != 0 && half && c.residual_type != kF16) return refuse("N021", "residual_type must be f16");
    if (half) return {};  // bounds are bits
    if (c.adds_residual != 0) HAI_TRY_STATUS(integers("residual_type", c.residual_type));
    HAI_TRY_STATUS(ordered(c.least, c.greatest));
    return ordered(c.sum_least, c.sum_greatest);
  }

  Status transforms(const Convolve& c, bool bytes) const {
    const bool plain = c.window_rows == 3 && c.window_columns == 3 && c.stride_rows == 1 && c.stride_columns == 1 &&
                       c.dilation_rows == 1 && c.dilation_columns == 1;
    const bool weights = bytes ? c.weights == kWeightI8 : c.weights == kWeightF16;
    if (plain && weights && c.connection == kDense && c.weight_zero_point == 0) return {};
    return refuse(
        "N021",
        "a transform goes with a dense convolution of i8 or u8 and i8 weights without weight_zero_point, or of "
        "f16, a window of 3x3, strides and dilations of 1");
  }

  Status types(const Combine& c) const {
    if (c.left_type > kI16 || c.output_type > kI16) return real_types(c);
    if (c.arithmetic == kRealFunction) return refuse("N021", "arithmetic real is of f16");
    HAI_TRY_STATUS(integers("left_type", c.left_type));
    HAI_TRY_STATUS(integers("output_type", c.output_type));
    if (c.arithmetic <= kMultiply) HAI_TRY_STATUS(integers("right_type", c.right_type));
    if (c.arithmetic >= kLookUp && c.function_entries == 0) return refuse("N021", "a table of no entries");
    return ordered(c.least, c.greatest);
  }

  // f16 or f32 on either side.
  Status real_types(const Combine& c) const {
    if (c.arithmetic == kRescale) {
      const bool integer = c.output_type <= kI16;
      const bool fits = c.left_type <= kI16   ? c.output_type == kF32
                        : c.left_type == kF16 ? integer || c.output_type == kF16 || c.output_type == kF32
                                              : c.left_type == kF32 && c.output_type == kF16;
      if (!fits) return refuse("N021", "rescale goes from integers to f32, from f32 to f16, and from f16 anywhere");
      return integer ? ordered(c.least, c.greatest) : Status{};
    }
    const bool halves = c.left_type == kF16 && c.output_type == kF16;
    const bool pair = c.arithmetic <= kMultiply;
    if (halves && (pair ? c.right_type == kF16 : c.arithmetic == kRealFunction)) return {};
    return refuse("N021", "sums and products of f16 are f16, and so is a real function; tables are of integers");
  }

  Status types(const Pool& c) const {
    if (c.input_type == kF16 && c.output_type == kF16) return {};
    HAI_TRY_STATUS(integers("input_type", c.input_type));
    HAI_TRY_STATUS(integers("output_type", c.output_type));
    if (c.pooling == kAverage && c.multiplier_entries == 0) return refuse("N021", "a mean with no multipliers");
    if (c.pooling == kMaximum && c.multiplier == 0 && c.input_type != c.output_type)
      return refuse("N021", "a maximum without a multiplier has its input's type");
    return ordered(c.least, c.greatest);
  }

  Status types(const Resize& c) const {
    const bool halves = c.input_type == kF16 && c.output_type == kF16;
    if (halves && c.interpolation == kNearest && c.multiplier == 0) return {};
    HAI_TRY_STATUS(integers("input_type", c.input_type));
    HAI_TRY_STATUS(integers("output_type", c.output_type));
    const bool moves = c.interpolation == kNearest && c.multiplier == 0;
    if (moves && c.input_type != c.output_type)
      return refuse("N021", "nearest without a multiplier has its input's type");
    return ordered(c.least, c.greatest);
  }

  Status types(const Copy& c) const {
    if (c.fills != 0 || c.input_type == c.output_type) return {};
    return refuse("N021", "a copy has its input's type");
  }

  Status types(const WeightPack& c) const { return bytes("input_type", c.input_type); }

  Status types(const Softmax& c) const {
    HAI_TRY_STATUS(bytes("input_type", c.input_type));
    HAI_TRY_STATUS(bytes("output_type", c.output_type));
    return ordered(c.least, c.greatest);
  }

  Status types(const LayerNorm& c) const {
    HAI_TRY_STATUS(integers("input_type", c.input_type));
    HAI_TRY_STATUS(integers("output_type", c.output_type));
    return ordered(c.least, c.greatest);
  }

  const MemorySizes& memory_;
  size_t number_;
  const Command& command_;
};

// The commands of one queue of one core, by number.
using Queues = std::array<std::vector<size_t>, 2 * kQueues>;

std::string queue_text(size_t queue) {
  return fmt::format("the {} queue of core {}", queue_name(static_cast<QueueKind>(queue % kQueues)), queue / kQueues);
}

Status check_ends(std::span<const Command> commands, const Queues& queues) {
  for (size_t q = 0; q < queues.size(); ++q) {
    for (size_t i = 0; i < queues[q].size(); ++i) {
      const bool is_end = std::holds_alternative<End>(commands[queues[q][i]].body);
      if (is_end == (i + 1 == queues[q].size())) continue;
      return make_error(StatusCode::kInvalidArgument, "N022", "{}: {}",
                        command_text(commands[queues[q][i]], queues[q][i]),
                        is_end ? queue_text(q) + " goes on after its end" : queue_text(q) + " has no end");
    }
  }
  return {};
}

// Sums that are left in the accumulators are taken up by the next convolution of the core, over the same output.
Status check_sums(std::span<const Command> commands, const Queues& queues) {
  for (size_t q = 0; q < queues.size(); ++q) {
    const Convolve* open = nullptr;
    for (const size_t number : queues[q]) {
      const auto* c = std::get_if<Convolve>(&commands[number].body);
      if (c == nullptr) {
        if (open == nullptr || !std::holds_alternative<End>(commands[number].body)) continue;
        return make_error(StatusCode::kInvalidArgument, "N023", "{}: {} ends with sums in the accumulators",
                          command_text(commands[number], number), queue_text(q));
      }
      const bool continues = c->first_sum == 0;
      const bool same = open != nullptr && open->output_rows == c->output_rows &&
                        open->output_columns == c->output_columns && open->output_channels == c->output_channels &&
                        (open->input_type == kI16) == (c->input_type == kI16) &&
                        (open->input_type == kF16) == (c->input_type == kF16) && open->transform == c->transform &&
                        open->narrow_sums == c->narrow_sums;
      if (continues != (open != nullptr) || (continues && !same)) {
        return make_error(StatusCode::kInvalidArgument, "N023", "{}: first_sum is {}, but the accumulators hold {}",
                          command_text(commands[number], number), c->first_sum,
                          open == nullptr ? "nothing"
                          : same          ? "the sums before"
                                          : "sums of another output");
      }
      open = c->last_sum == 0 ? c : nullptr;
    }
  }
  return {};
}

Status check_semaphores(std::span<const Command> commands, const Queues& queues) {
  std::map<int64_t, size_t> waiting;
  for (size_t q = 0; q < queues.size(); ++q) {
    for (const size_t number : queues[q]) {
      const auto* wait = std::get_if<Wait>(&commands[number].body);
      if (wait == nullptr) continue;
      const auto [at, fresh] = waiting.emplace(wait->semaphore, q);
      if (fresh || at->second == q) continue;
      return make_error(StatusCode::kInvalidArgument, "N024",
                        "{}: semaphore {} is waited for by {} and by {}; each has one waiting queue",
                        command_text(commands[number], number), wait->semaphore, queue_text(at->second), queue_text(q));
    }
  }
  std::array<size_t, 2 * kQueues> next{};
  std::map<int64_t, int64_t> signals;
  for (bool moved = true; moved;) {
    moved = false;
    for (size_t q = 0; q < queues.size(); ++q) {
      for (; next[q] < queues[q].size(); ++next[q]) {
        const CommandBody& body = commands[queues[q][next[q]]].body;
        if (const auto* signal = std::get_if<Signal>(&body)) signals[signal->semaphore] += signal->count;
        if (const auto* wait = std::get_if<Wait>(&body)) {
          if (signals[wait->semaphore] < wait->count) break;
          signals[wait->semaphore] -= wait->count;
        }
        moved = true;
      }
    }
  }
  for (size_t q = 0; q < queues.size(); ++q) {
    if (next[q] == queues[q].size()) continue;
    const size_t number = queues[q][next[q]];
    const auto& wait = std::get<Wait>(commands[number].body);
    return make_error(StatusCode::kInvalidArgument, "N025",
                      "{}: {} waits for {} signals of semaphore {}, and {} are all that come: a deadlock",
                      command_text(commands[number], number), queue_text(q), wait.count, wait.semaphore,
                      signals[wait.semaphore]);
  }
  for (const auto& [semaphore, left] : signals) {
    if (left == 0) continue;
    for (size_t number = commands.size(); number-- > 0;) {
      const auto* signal = std::get_if<Signal>(&commands[number].body);
      if (signal == nullptr || signal->semaphore != semaphore) continue;
      return make_error(StatusCode::kInvalidArgument, "N026",
                        "{} is the last to signal semaphore {}, which is left with {} signals that nobody waits for",
                        command_text(commands[number], number), semaphore, left);
    }
  }
  return {};
}

}  // namespace

Status verify_commands(std::span<const Command> commands, const MemorySizes& memory) {
  Queues queues;
  std::vector<Access> accesses;
  for (size_t i = 0; i < commands.size(); ++i) {
    if (const auto word = encode(commands[i]); !word) return with_where(word.error(), fmt::format("command {}", i));
    HAI_TRY_STATUS(CommandVerifier(memory, i, commands[i]).run(accesses));
    const auto queue = static_cast<size_t>(queue_of(commands[i].body));
    queues[commands[i].core * kQueues + queue].push_back(i);
  }
  HAI_TRY_STATUS(check_ends(commands, queues));
  HAI_TRY_STATUS(check_sums(commands, queues));
  return check_semaphores(commands, queues);
}

}  // namespace hai::sd3403
