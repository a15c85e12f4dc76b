// Making the steps of a program, and running them.
//
// Besides what the program verifier checks: nothing writes to constants or inputs; a command does not write what it
// reads (but element by element in place) nor one byte twice, so that values do not depend on how it is computed;
// streams exist; and a run is not absurdly long, since strides of zero let a few words ask for centuries.
#include "devices/sd3403/exec/processor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <tuple>

#include "base/checked.h"
#include "devices/sd3403/exec/convolve.h"
#include "devices/sd3403/exec/stream.h"
#include "devices/sd3403/isa/access.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kLine = 64;
constexpr double kMostWork = 0x1p42;                 // products and bytes of a run: minutes
constexpr int64_t kMostExpanded = int64_t{1} << 32;  // bytes that all coded streams expand to
// A small file must not ask for much memory: they may also expand to 64 times the constants, or to 64 MiB more.
constexpr int64_t kMostExpansion = 64;
constexpr int64_t kExpansionFloor = int64_t{64} << 20;
constexpr int64_t kMostScratch = int64_t{1} << 32;

double work_of(const Command& command, std::vector<Access>& accesses) {
  double work = 0.0;
  accesses.clear();
  accesses_of(command, accesses);
  for (const Access& access : accesses) work += static_cast<double>(access.moved_bytes);
  if (const auto* c = std::get_if<Convolve>(&command.body)) {
    const int64_t taps = c->transform == kDirect ? taps_of(*c) : 1;  // sums of a transform are those of taps
    work += static_cast<double>(sums_of(*c)) * static_cast<double>(c->output_channels) * static_cast<double>(taps) *
            static_cast<double>(depth_of(*c));
  }
  if (const auto* c = std::get_if<Pool>(&command.body)) {
    work += static_cast<double>(c->output_rows * c->output_columns) * static_cast<double>(c->channels) *
            static_cast<double>(c->window_rows * c->window_columns);
  }
  return work;
}

// Elements of a tile that is written do not lie on each other: sorted by stride, each dimension steps over the ones
// before it.
Status check_apart(const Tile& tile, int64_t rows, int64_t columns, int64_t channels, int64_t channel_stride) {
  const int64_t element = element_bytes(tile.type);
  using Axis = std::pair<int64_t, int64_t>;  // stride, count
  std::array<Axis, 3> axes{Axis{channel_stride == 0 ? element : channel_stride, channels},
                           Axis{tile.pixel_stride, columns}, Axis{tile.row_stride, rows}};
  std::sort(axes.begin(), axes.end());
  int64_t extent = element;
  for (const auto& [stride, count] : axes) {
    if (count == 1) continue;
    if (stride < extent) {
      return make_error(StatusCode::kInvalidArgument, "N073",
                        "elements of the output lie on each other: a stride of {} over {} bytes", stride, extent);
    }
    extent += (count - 1) * stride;
  }
  return {};
}

Status check_output(const CommandBody& body) {
  if (const auto* c = std::get_if<Convolve>(&body)) {
    if (c->last_sum == 0) return {};
    return check_apart(output_tile(*c), c->output_rows, c->output_columns, c->output_channels, 0);
  }
  if (const auto* c = std::get_if<Combine>(&body)) {
    return check_apart(output_tile(*c), c->rows, c->columns, c->channels, 0);
  }
  if (const auto* c = std::get_if<Pool>(&body)) {
    return check_apart(output_tile(*c), c->output_rows, c->output_columns, c->channels, 0);
  }
  if (const auto* c = std::get_if<Resize>(&body)) {
    return check_apart(output_tile(*c), c->output_rows, c->output_columns, c->channels, 0);
  }
  if (const auto* c = std::get_if<Copy>(&body)) {
    return check_apart(output_tile(*c), c->rows, c->columns, c->channels, c->output_channel_stride);
  }
  if (const auto* c = std::get_if<Softmax>(&body)) {
    return check_apart(output_tile(*c), c->rows, c->columns, c->channels, 0);
  }
  if (const auto* c = std::get_if<LayerNorm>(&body)) {
    return check_apart(output_tile(*c), c->rows, c->columns, c->channels, 0);
  }
  return {};
}

bool same_place(const Tile& a, const Tile& b) {
  return a.address == b.address && a.row_stride == b.row_stride && a.pixel_stride == b.pixel_stride &&
         a.ring_rows == b.ring_rows && a.ring_first == b.ring_first && element_bytes(a.type) == element_bytes(b.type);
}

// Whether the operand of this name may lie where the result does: it is read element by element before it is written.
bool in_place(const CommandBody& body, std::string_view field) {
  if (const auto* c = std::get_if<Convolve>(&body)) {
    return field == "residual" && same_place(residual_tile(*c), output_tile(*c));
  }
  if (const auto* c = std::get_if<Combine>(&body)) {
    if (field == "left") return same_place(left_tile(*c), output_tile(*c));
    return field == "right" && c->right_repeats == 0 && same_place(right_tile(*c), output_tile(*c));
  }
  return false;
}

Status check_overlap(const CommandBody& body, std::span<const Access> accesses) {
  for (const Access& written : accesses) {
    if (!written.writes || written.memory != Memory::kSram) continue;
    for (const Access& read : accesses) {
      if (read.writes || !may_touch(read, written) || in_place(body, read.field)) continue;
      return make_error(StatusCode::kInvalidArgument, "N074", "the output lies on what is read: {}", read.field);
    }
  }
  return {};
}

std::byte* next_block(std::byte*& at, int64_t bytes) {
  std::byte* out = at;
  at += align_up(bytes, kLine);
  return out;
}

}  // namespace

class Processor::Maker {
 public:
  Maker(Processor& target, std::span<const Command> commands, int64_t first_output,
        std::span<const std::byte> constants, const MemorySizes& memory, cpu::Isa isa)
      : target_(target),
        commands_(commands),
        first_output_(first_output),
        constants_(constants),
        isa_(isa),
        cache_bytes_(memory.cache_bytes),
        caches_{WeightCache(memory.cache_bytes), WeightCache(memory.cache_bytes)},
        convolutions_(commands, isa) {}

  // `refused`: where a command is refused, its number.
  Status run(const BrokenParts& broken, std::optional<size_t>* refused) {
    for (const size_t number : run_order(commands_, broken).commands) {
      const Status made = add(number);
      if (!made) {
        if (refused != nullptr) *refused = number;
        return with_where(made.error(), command_text(commands_[number], number));
      }
    }
    target_.packed_bytes_ = convolutions_.packed_bytes();
    return {};
  }

 private:
  Status add(size_t number) {
    const Command& command = commands_[number];
    HAI_TRY_STATUS(check_output(command.body));
    target_.work_ += work_of(command, accesses_);
    if (target_.work_ > kMostWork) {
      return make_error(StatusCode::kUnsupported, "N072", "a run has more than {} products and bytes to move",
                        kMostWork);
    }
    HAI_TRY_STATUS(check_overlap(command.body, accesses_));
    if (const auto* load = std::get_if<WeightLoad>(&command.body)) return load_weights(command.core, *load);
    if (const auto* load = std::get_if<DmaLoad>(&command.body)) {
      target_.reads_constants_ = target_.reads_constants_ || load->image == 0;
    }
    if (const auto* pack = std::get_if<WeightPack>(&command.body)) {
      caches_[command.core].load_packed({pack->destination, packed_inputs(*pack), packed_outputs(*pack),
                                         pack->transposes != 0, pack->input_type == kU8 ? uint8_t{0x80} : uint8_t{0}},
                                        pack_bytes(*pack));
      target_.packed_cache_bytes_ = cache_bytes_;
    }
    if (const auto* store = std::get_if<DmaStore>(&command.body)) HAI_TRY_STATUS(check_store(*store));
    const StepSources sources{caches_[command.core], isa_};
    HAI_TRY(StepPointer step, std::holds_alternative<Convolve>(command.body)
                                  ? convolutions_.make(number, command, caches_[command.core])
                                  : std::visit([&](const auto& body) { return step_of(body, sources); }, command.body));
    if (step == nullptr) return {};
    target_.step_bytes_ = std::max(target_.step_bytes_, align_up(step->scratch_bytes(), kLine));
    target_.common_bytes_ = std::max(target_.common_bytes_, step->common_bytes());
    int64_t& sums = target_.accumulator_bytes_[command.core];
    sums = std::max(sums, step->accumulator_bytes());
    target_.steps_.push_back({command.core, static_cast<uint32_t>(number), std::move(step)});
    return {};
  }

  // Waits and signals have done their part in the order.
  template <typename Body>
  static Result<StepPointer> step_of(const Body& body, const StepSources& sources) {
    if constexpr (requires { make_step(body, sources); }) {
      return make_step(body, sources);
    } else {
      return StepPointer();
    }
  }

  Status check_store(const DmaStore& store) const {
    if (store.image == 1 || store.image >= first_output_) return {};
    return make_error(StatusCode::kInvalidArgument, "N075", "image {} is an input, and inputs are not written",
                      store.image);
  }

  Status load_weights(size_t core, const WeightLoad& load) {
    HAI_TRY(const StreamEntry entry, read_stream_entry(constants_, load.entry, load.expanded_bytes));
    const auto stored = constants_.subspan(static_cast<size_t>(entry.offset), static_cast<size_t>(entry.bytes));
    const auto number = static_cast<int64_t>(streams_.size());
    const auto [at, fresh] =
        streams_.emplace(std::tuple(entry.offset, entry.bytes, entry.expanded_bytes, entry.form, entry.check), number);
    if (fresh) HAI_TRY_STATUS(check_stream(entry, stored));
    if (entry.form == kPlainStream) {
      caches_[core].load(load.destination, at->second, stored);
      return {};
    }
    if (fresh) {
      expanded_bytes_ += entry.expanded_bytes;
      const int64_t most =
          std::min(kMostExpanded, kExpansionFloor + kMostExpansion * static_cast<int64_t>(constants_.size()));
      if (expanded_bytes_ > most) {
        return make_error(StatusCode::kUnsupported, "N072", "streams of {} bytes of constants expand to more than {}",
                          constants_.size(), most);
      }
      std::vector<std::byte> expanded(static_cast<size_t>(entry.expanded_bytes));
      HAI_TRY_STATUS(expand_stream(stored, expanded));
      expanded_.emplace(at->second, std::move(expanded));
    }
    caches_[core].load(load.destination, at->second, expanded_.at(at->second));
    return {};
  }

  Processor& target_;
  std::span<const Command> commands_;
  int64_t first_output_;
  std::span<const std::byte> constants_;
  cpu::Isa isa_;
  int64_t cache_bytes_;
  std::array<WeightCache, 2> caches_;
  ConvolveMaker convolutions_;
  std::map<std::tuple<int64_t, int64_t, int64_t, int64_t, uint32_t>, int64_t> streams_;  // their numbers
  std::map<int64_t, std::vector<std::byte>> expanded_;
  int64_t expanded_bytes_ = 0;
  std::vector<Access> accesses_;
};

Result<Processor> Processor::make(std::span<const Command> commands, const MemorySizes& memory, int64_t first_output,
                                  std::span<const std::byte> constants, cpu::Isa isa, const BrokenParts& broken,
                                  std::optional<size_t>* refused) {
  HAI_CHECK(memory.image_bytes.size() >= 2 && memory.image_bytes[0] == static_cast<int64_t>(constants.size()));
  HAI_TRY_STATUS(verify_commands(commands, memory));
  Processor out;
  out.sram_bytes_ = memory.sram_bytes;
  out.scratch_image_bytes_ = memory.image_bytes[1];
  HAI_TRY_STATUS(Maker(out, commands, first_output, constants, memory, isa).run(broken, refused));
  if (out.scratch_bytes(1) > kMostScratch) {
    return make_error(StatusCode::kUnsupported, "N072", "a run needs {} bytes of scratch, more than {}",
                      out.scratch_bytes(1), kMostScratch);
  }
  return out;
}

int64_t Processor::scratch_bytes(int thread_count) const {
  int64_t total = thread_count * step_bytes_;
  for (const int64_t bytes : {sram_bytes_ + kLine, scratch_image_bytes_, accumulator_bytes_[0], accumulator_bytes_[1],
                              packed_cache_bytes_, packed_cache_bytes_, common_bytes_}) {
    total += align_up(bytes, kLine);
  }
  return total;
}

size_t Processor::steps_until(size_t command) const {
  const auto at = std::find_if(steps_.begin(), steps_.end(), [&](const Entry& e) { return e.number == command; });
  return static_cast<size_t>(at - steps_.begin()) + (at == steps_.end() ? 0 : 1);
}

void Processor::run(std::span<const ImageBytes> images, std::byte* scratch, ThreadPool& threads,
                    std::span<const MemoryFlip> flips) const {
  std::array<ImageBytes, 64> all{};  // as many as a command can name
  std::copy(images.begin(), images.end(), all.begin());
  std::byte* at = scratch;
  std::byte* sram = next_block(at, sram_bytes_ + kLine);
  std::byte* image = next_block(at, scratch_image_bytes_);
  const std::array<std::byte*, 2> sums{next_block(at, accumulator_bytes_[0]), next_block(at, accumulator_bytes_[1])};
  const std::array<std::byte*, 2> packed{next_block(at, packed_cache_bytes_), next_block(at, packed_cache_bytes_)};
  std::byte* common = next_block(at, common_bytes_);
  std::memset(sram, 0, static_cast<size_t>(sram_bytes_ + kLine));
  std::memset(image, 0, static_cast<size_t>(scratch_image_bytes_));
  all[1] = {image, image};
  const auto flip = [&](size_t steps) {
    for (const MemoryFlip& f : flips) {
      if (f.after_steps == steps) all[f.image].write[f.byte] ^= std::byte{1} << f.bit;
    }
  };
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Entry& entry = steps_[i];
    if (!flips.empty()) flip(i);
    entry.step->run({all, sram, sums[entry.core], packed[entry.core], common, at, step_bytes_, threads});
  }
  flip(steps_.size());
}

}  // namespace hai::sd3403
