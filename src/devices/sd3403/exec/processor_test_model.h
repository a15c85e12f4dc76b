// For tests: the machine in plain loops, written from commands.def and types/arithmetic.h alone, and programs to
// compare it with the kernel "npu".
//
// Every program here loads the whole scratchpad from an input, computes, and stores the whole scratchpad: so what is
// compared is every byte that a command writes, and every byte that it should have left alone.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/aligned_bytes.h"
#include "devices/sd3403/exec/npu_kernel.h"
#include "devices/sd3403/isa/command.h"
#include "devices/sd3403/isa/stream_coding.h"
#include "types/arithmetic.h"
#include "types/exact_math.h"
#include "types/winograd.h"

namespace hai::sd3403::testing {

inline constexpr int64_t kSramBytes = 128 << 10;
inline constexpr int64_t kCacheBytes = 64 << 10;
inline constexpr int64_t kAccumulatorBytes = 256 << 10;

using Bytes = AlignedBytes;

class Model {
 public:
  std::vector<Bytes> images;
  Bytes sram = Bytes(kSramBytes);
  Bytes cache[2] = {Bytes(kCacheBytes), Bytes(kCacheBytes)};
  std::vector<int64_t> sums[2];

  // Queue by queue, each until it waits, in an order of its own: the last queue first.
  void run(const std::vector<Command>& commands) {
    std::map<int, std::vector<const Command*>> queues;
    for (const Command& c : commands) queues[c.core * 3 + static_cast<int>(queue_of(c.body))].push_back(&c);
    std::map<int64_t, int64_t> signals;
    std::map<int, size_t> next;
    for (size_t done = 0; done < commands.size();) {
      for (auto at = queues.rbegin(); at != queues.rend(); ++at) {
        size_t& i = next[at->first];
        for (; i < at->second.size(); ++i, ++done) {
          const Command& c = *at->second[i];
          if (const auto* wait = std::get_if<Wait>(&c.body)) {
            if (signals[wait->semaphore] < wait->count) break;
            signals[wait->semaphore] -= wait->count;
          }
          if (const auto* signal = std::get_if<Signal>(&c.body)) signals[signal->semaphore] += signal->count;
          core_ = c.core;
          std::visit([&](const auto& body) { execute(body); }, c.body);
        }
      }
    }
  }

 private:
  template <typename T>
  static T get(const std::byte* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  template <typename T>
  T table(int64_t address) const {
    return get<T>(cache[core_].data() + address);
  }
  std::byte* at(const Tile& tile, int64_t row, int64_t column, int64_t channel) {
    const int64_t in_ring = tile.ring_rows == 0 ? row : (tile.ring_first + row) % tile.ring_rows;
    return sram.data() + tile.address + in_ring * tile.row_stride + column * tile.pixel_stride +
           channel * element_bytes(tile.type);
  }
  static int32_t integer(const std::byte* p, int64_t type) {
    if (type == kI8) return get<int8_t>(p);
    if (type == kU8) return get<uint8_t>(p);
    return get<int16_t>(p);
  }
  static void put(std::byte* p, int64_t type, int32_t q) {
    std::memcpy(p, &q, static_cast<size_t>(element_bytes(type)));
  }
  static float real(int64_t bits) {
    const auto word = static_cast<uint32_t>(bits);
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
  }
  template <typename C>
  static hai_output_range range(const C& c) {
    return {static_cast<int32_t>(c.zero_point), static_cast<int32_t>(c.least), static_cast<int32_t>(c.greatest)};
  }
  static bool wide(int64_t a, int64_t b) { return a == kI16 || b == kI16; }

  template <typename Body>
  void execute(const Body&) {}

  void execute(const DmaLoad& c) {
    for (int64_t p = 0; p < c.planes; ++p) {
      for (int64_t r = 0; r < c.rows; ++r) {
        std::memcpy(sram.data() + c.destination + p * c.destination_plane_stride + r * c.destination_row_stride,
                    images[static_cast<size_t>(c.image)].data() + c.source + p * c.source_plane_stride +
                        r * c.source_row_stride,
                    static_cast<size_t>(c.row_bytes));
      }
    }
  }
  void execute(const DmaStore& c) {
    for (int64_t p = 0; p < c.planes; ++p) {
      for (int64_t r = 0; r < c.rows; ++r) {
        std::memcpy(images[static_cast<size_t>(c.image)].data() + c.destination + p * c.destination_plane_stride +
                        r * c.destination_row_stride,
                    sram.data() + c.source + p * c.source_plane_stride + r * c.source_row_stride,
                    static_cast<size_t>(c.row_bytes));
      }
    }
  }
  void execute(const WeightLoad& c) {
    const auto offset = get<uint32_t>(images[0].data() + c.entry);
    std::memcpy(cache[core_].data() + c.destination, images[0].data() + offset, static_cast<size_t>(c.expanded_bytes));
  }

  int64_t weight(const Convolve& c, int64_t o, int64_t r, int64_t k, int64_t i) const {
    const int64_t depth = c.connection == kDepthwise ? 1 : c.input_channels;
    const int64_t at = (((o / 16 * c.window_rows + r) * c.window_columns + k) * depth + i) * 16 + o % 16;
    if (c.weights == kWeightI8) return table<int8_t>(c.weight_address + at);
    if (c.weights == kWeightI16) return table<int16_t>(c.weight_address + 2 * at);
    const int pair = table<uint8_t>(c.weight_address + at / 2);
    const int nibble = at % 2 == 0 ? pair % 16 : pair / 16;
    return nibble < 8 ? nibble : nibble - 16;
  }

  // types/winograd.h a tile and channel at a time; sums of taps are kept as [tile][output channel][tap].
  void transformed(const Convolve& c) {
    const auto tile = static_cast<int>(transform_tile(c.transform));
    const int side = tile + 2;
    const int taps = side * side;
    const int64_t across = (c.output_columns + tile - 1) / tile;
    const int64_t down = (c.output_rows + tile - 1) / tile;
    std::vector<int64_t>& kept = sums[core_];
    kept.resize(static_cast<size_t>(down * across * c.output_channels * taps));
    if (c.first_sum != 0) std::fill(kept.begin(), kept.end(), 0);
    for (int64_t at = 0; at < down * across; ++at) {
      const int64_t y = at / across * tile;
      const int64_t x = at % across * tile;
      for (int64_t i = 0; i < c.input_channels; ++i) {
        int32_t d[36];
        for (int r = 0; r < side; ++r) {
          for (int k = 0; k < side; ++k) {
            const int64_t row = y - c.pad_top + r;
            const int64_t column = x - c.pad_left + k;
            const bool there = row >= 0 && row < c.input_rows && column >= 0 && column < c.input_columns;
            const int64_t q =
                there ? integer(this->at(input_tile(c), row, column, i), c.input_type) : c.input_zero_point;
            d[r * side + k] = static_cast<int32_t>(q - c.input_zero_point);
          }
        }
        hai_winograd_input_s32(tile, d);
        for (int t = 0; t < taps; ++t) {
          const int32_t v = hai_winograd_requantize(d[t], table<uint8_t>(c.tap_table + 2 * t));
          for (int64_t o = 0; o < c.output_channels; ++o) {
            const int64_t weight = c.weight_address + ((o / 16 * taps + t) * c.input_channels + i) * 16 + o % 16;
            kept[static_cast<size_t>((at * c.output_channels + o) * taps + t)] += v * table<int8_t>(weight);
          }
        }
      }
      for (int64_t o = 0; o < c.output_channels && c.last_sum != 0; ++o) {
        int64_t m[36];
        int64_t acc[16];
        for (int t = 0; t < taps; ++t) {
          m[t] = kept[static_cast<size_t>((at * c.output_channels + o) * taps + t)] *
                 (int64_t{1} << table<uint8_t>(c.tap_table + 2 * t + 1));
        }
        hai_winograd_output_s64(tile, m, acc);
        for (int64_t r = 0; r < std::min<int64_t>(tile, c.output_rows - y); ++r) {
          for (int64_t k = 0; k < std::min<int64_t>(tile, c.output_columns - x); ++k)
            finish(c, acc[r * tile + k], y + r, x + k, o);
        }
      }
    }
  }

  void execute(const Convolve& c) {
    if (c.transform != kDirect) return transformed(c);
    std::vector<int64_t>& kept = sums[core_];
    kept.resize(static_cast<size_t>(c.output_rows * c.output_columns * c.output_channels));
    size_t index = 0;
    for (int64_t y = 0; y < c.output_rows; ++y) {
      for (int64_t x = 0; x < c.output_columns; ++x) {
        for (int64_t o = 0; o < c.output_channels; ++o, ++index) {
          int64_t sum = c.first_sum != 0 ? 0 : kept[index];
          for (int64_t r = 0; r < c.window_rows; ++r) {
            for (int64_t k = 0; k < c.window_columns; ++k) {
              const int64_t row = y * c.stride_rows - c.pad_top + r * c.dilation_rows;
              const int64_t column = x * c.stride_columns - c.pad_left + k * c.dilation_columns;
              const bool there = row >= 0 && row < c.input_rows && column >= 0 && column < c.input_columns;
              for (int64_t i = 0; i < (c.connection == kDepthwise ? 1 : c.input_channels); ++i) {
                const int64_t channel = c.connection == kDepthwise ? o : i;
                const int64_t q =
                    there ? integer(at(input_tile(c), row, column, channel), c.input_type) : c.input_zero_point;
                sum += (q - c.input_zero_point) * (weight(c, o, r, k, i) - c.weight_zero_point);
              }
            }
          }
          kept[index] = sum;
          if (c.last_sum != 0) finish(c, sum, y, x, o);
        }
      }
    }
  }

  void finish(const Convolve& c, int64_t sum, int64_t y, int64_t x, int64_t o) {
    const bool i16 = c.input_type == kI16;
    const bool taps = c.transform != kDirect;
    const bool long_entry = i16 || taps;
    const int64_t entry = c.channel_table + o * (long_entry ? 16 : 8);
    sum += long_entry ? table<int64_t>(entry) : table<int32_t>(entry);
    const auto multiplier = table<float>(entry + (long_entry ? 8 : 4));
    std::byte* out = at(output_tile(c), y, x, o);
    if (c.output_type == kF32) {
      const float value = i16    ? static_cast<float>(static_cast<double>(sum) * static_cast<double>(multiplier))
                          : taps ? hai_winograd_real_sum(sum) * multiplier
                                 : static_cast<float>(sum) * multiplier;
      std::memcpy(out, &value, sizeof value);
      return;
    }
    const bool more = c.function == kTable || c.adds_residual != 0;
    const hai_output_range first = {static_cast<int32_t>(c.sum_zero_point), static_cast<int32_t>(c.sum_least),
                                    static_cast<int32_t>(c.sum_greatest)};
    int32_t q = i16    ? hai_requantize_i64(sum, multiplier, more ? first : range(c))
                   : taps ? hai_winograd_store(sum, multiplier, more ? first : range(c))
                          : hai_requantize_i32(static_cast<int32_t>(sum), multiplier, more ? first : range(c));
    if (c.function == kTable) {
      const int64_t entry_of = std::clamp<int64_t>(q - c.function_first, 0, c.function_entries - 1);
      q = table<int16_t>(c.function_table + 2 * entry_of);
    }
    if (c.adds_residual != 0) {
      q = hai_add(q, integer(at(residual_tile(c), y, x, o), c.residual_type), static_cast<int32_t>(c.addend_zero_point),
                  static_cast<int32_t>(c.residual_zero_point), real(c.addend_multiplier), real(c.residual_multiplier),
                  range(c));
    }
    put(out, c.output_type, q);
  }

  void execute(const Combine& c) {
    for (int64_t y = 0; y < c.rows; ++y) {
      for (int64_t x = 0; x < c.columns; ++x) {
        for (int64_t i = 0; i < c.channels; ++i) {
          const int32_t a = integer(at(left_tile(c), y, x, i), c.left_type);
          const bool two = c.arithmetic <= kMultiply;
          const int32_t b = two ? integer(at(right_tile(c), y, x, c.right_repeats != 0 ? 0 : i), c.right_type) : 0;
          put(at(output_tile(c), y, x, i), c.output_type, combined(c, a, b));
        }
      }
    }
  }
  int32_t combined(const Combine& c, int32_t a, int32_t b) const {
    const auto zero_a = static_cast<int32_t>(c.left_zero_point);
    const auto zero_b = static_cast<int32_t>(c.right_zero_point);
    const float m_a = real(c.left_multiplier);
    const float m_b = real(c.right_multiplier);
    const bool any_wide = wide(c.left_type, c.output_type) || (c.arithmetic <= kMultiply && c.right_type == kI16);
    switch (c.arithmetic) {
      case kAdd:
        return hai_add(a, b, zero_a, zero_b, m_a, m_b, range(c));
      case kSubtract:
        return hai_sub(a, b, zero_a, zero_b, m_a, m_b, range(c));
      case kMultiply:
        return any_wide ? hai_mul_wide(a, b, zero_a, zero_b, m_a, range(c))
                        : hai_mul(a, b, zero_a, zero_b, m_a, range(c));
      case kRescale:
        return any_wide ? hai_rescale_wide(a, zero_a, m_a, range(c)) : hai_rescale(a, zero_a, m_a, range(c));
      default:
        break;
    }
    const int64_t entry = std::clamp<int64_t>(a - c.function_first, 0, c.function_entries - 1);
    return integer(cache[core_].data() + c.function_table + entry * element_bytes(c.output_type), c.output_type);
  }

  void execute(const Pool& c) {
    for (int64_t y = 0; y < c.output_rows; ++y) {
      for (int64_t x = 0; x < c.output_columns; ++x) {
        for (int64_t i = 0; i < c.channels; ++i) pool(c, y, x, i);
      }
    }
  }
  void pool(const Pool& c, int64_t y, int64_t x, int64_t i) {
    int32_t greatest = c.input_type == kI8 ? -128 : c.input_type == kU8 ? 0 : -32768;
    int64_t sum = 0;
    int64_t count = 0;
    for (int64_t r = 0; r < c.window_rows; ++r) {
      for (int64_t k = 0; k < c.window_columns; ++k) {
        const int64_t row = y * c.stride_rows - c.pad_top + r;
        const int64_t column = x * c.stride_columns - c.pad_left + k;
        if (row < 0 || row >= c.input_rows || column < 0 || column >= c.input_columns) continue;
        const int32_t q = integer(at(input_tile(c), row, column, i), c.input_type);
        greatest = std::max(greatest, q);
        sum += q - c.input_zero_point;
        ++count;
      }
    }
    const bool any_wide = wide(c.input_type, c.output_type);
    int32_t q = greatest;
    if (c.pooling == kAverage) {
      if (c.counts_padding != 0) count = c.window_rows * c.window_columns;
      const auto multiplier = table<float>(c.multiplier_table + 4 * (count - c.multiplier_first));
      q = any_wide ? hai_requantize_i64(sum, multiplier, range(c))
                   : hai_requantize_i32(static_cast<int32_t>(sum), multiplier, range(c));
    } else if (c.multiplier != 0) {
      q = rescaled(greatest, c, any_wide);
    }
    put(at(output_tile(c), y, x, i), c.output_type, q);
  }
  template <typename C>
  static int32_t rescaled(int32_t q, const C& c, bool any_wide) {
    const auto zero = static_cast<int32_t>(c.input_zero_point);
    return any_wide ? hai_rescale_wide(q, zero, real(c.multiplier), range(c))
                    : hai_rescale(q, zero, real(c.multiplier), range(c));
  }

  void execute(const Resize& c) {
    for (int64_t y = 0; y < c.output_rows; ++y) {
      for (int64_t x = 0; x < c.output_columns; ++x) {
        for (int64_t i = 0; i < c.channels; ++i) resize(c, y, x, i);
      }
    }
  }
  void resize(const Resize& c, int64_t y, int64_t x, int64_t i) {
    const int64_t down = c.row_table + 8 * y;
    const int64_t across = c.column_table + 8 * x;
    const auto value = [&](int64_t row_at, int64_t column_at) {
      const auto row = std::min<int64_t>(table<uint16_t>(row_at), c.input_rows - 1);
      const auto column = std::min<int64_t>(table<uint16_t>(column_at), c.input_columns - 1);
      return integer(at(input_tile(c), row, column, i), c.input_type);
    };
    const bool any_wide = wide(c.input_type, c.output_type);
    int32_t q = value(down, across);
    if (c.interpolation == kLinear) {
      int64_t sum = 0;
      for (int64_t r = 0; r < 2; ++r) {
        for (int64_t k = 0; k < 2; ++k) {
          sum += int64_t{table<int16_t>(down + 4 + 2 * r)} * table<int16_t>(across + 4 + 2 * k) *
                 (value(down + 2 * r, across + 2 * k) - c.input_zero_point);
        }
      }
      q = any_wide ? hai_requantize_i64(sum, real(c.multiplier), range(c))
                   : hai_requantize_i32(static_cast<int32_t>(sum), real(c.multiplier), range(c));
    } else if (c.multiplier != 0) {
      q = rescaled(q, c, any_wide);
    }
    put(at(output_tile(c), y, x, i), c.output_type, q);
  }

  void execute(const Copy& c) {
    const int64_t bytes = element_bytes(c.output_type);
    const int64_t from_step = c.input_channel_stride == 0 ? bytes : c.input_channel_stride;
    const int64_t to_step = c.output_channel_stride == 0 ? bytes : c.output_channel_stride;
    const auto fill = static_cast<int32_t>(c.fill_value);
    for (int64_t y = 0; y < c.rows; ++y) {
      for (int64_t x = 0; x < c.columns; ++x) {
        for (int64_t i = 0; i < c.channels; ++i) {
          std::byte* to = at(output_tile(c), y, x, 0) + i * to_step;
          if (c.fills != 0) {
            std::memcpy(to, &fill, static_cast<size_t>(bytes));
          } else {
            std::memcpy(to, at(input_tile(c), y, x, 0) + i * from_step, static_cast<size_t>(bytes));
          }
        }
      }
    }
  }

  void execute(const WeightPack& c) {
    const int64_t pixels = c.rows * c.columns;
    const int64_t inputs = c.transposes != 0 ? c.channels : pixels;
    const int64_t outputs = c.transposes != 0 ? pixels : c.channels;
    std::byte* to = cache[core_].data() + c.destination;
    for (int64_t block = 0; block < outputs; block += 16) {
      for (int64_t k = 0; k < inputs; ++k) {
        for (int64_t o = block; o < block + 16; ++o, ++to) {
          const int64_t pixel = c.transposes != 0 ? o : k;
          const int64_t channel = c.transposes != 0 ? k : o;
          const auto value = [&] {
            return integer(at(input_tile(c), pixel / c.columns, pixel % c.columns, channel), c.input_type);
          };
          *to = static_cast<std::byte>(o >= outputs ? 0 : value() - (c.input_type == kU8 ? 128 : 0));
        }
      }
    }
  }

  void execute(const Softmax& c) {
    for (int64_t y = 0; y < c.rows; ++y) {
      for (int64_t x = 0; x < c.columns; ++x) {
        const auto q = [&](int64_t i) { return integer(at(input_tile(c), y, x, i), c.input_type); };
        int32_t largest = q(0);
        for (int64_t i = 1; i < c.channels; ++i) largest = std::max(largest, q(i));
        const auto e = [&](int64_t i) { return table<int32_t>(c.exponentials + 4 * (largest - q(i))); };
        int64_t sum = 0;
        for (int64_t i = 0; i < c.channels; ++i) sum += e(i);
        const float inverse = hai_softmax_inverse(sum, real(c.scale));
        for (int64_t i = 0; i < c.channels; ++i) {
          put(at(output_tile(c), y, x, i), c.output_type, hai_softmax_output(e(i), inverse, range(c)));
        }
      }
    }
  }

  void execute(const LayerNorm& c) {
    for (int64_t y = 0; y < c.rows; ++y) {
      for (int64_t x = 0; x < c.columns; ++x) {
        const auto q = [&](int64_t i) { return int64_t{integer(at(input_tile(c), y, x, i), c.input_type)}; };
        int64_t sum = 0;
        int64_t squares = 0;
        for (int64_t i = 0; i < c.channels; ++i) sum += q(i);
        for (int64_t i = 0; i < c.channels; ++i) squares += q(i) * q(i);
        const float inverse =
            hai_layer_norm_inverse(hai_layer_norm_variance(c.channels, sum, squares), table<double>(c.parameters));
        for (int64_t i = 0; i < c.channels; ++i) {
          const auto gain = table<float>(c.parameters + 8 + 8 * i);
          const auto offset = table<float>(c.parameters + 12 + 8 * i);
          put(at(output_tile(c), y, x, i), c.output_type,
              hai_layer_norm_output(static_cast<float>(c.channels * q(i) - sum), inverse, gain, offset, range(c)));
        }
      }
    }
  }

  size_t core_ = 0;
};

// The kernel "npu" over these commands: images 0 constants, 1 scratch, 2 an input, 3 an output.
struct Instance {
  std::vector<Command> commands;
  Bytes constants;
  int64_t scratch_bytes = 0;
  int64_t sram_bytes = kSramBytes;
  int64_t input_bytes = kSramBytes;
  int64_t output_bytes = kSramBytes;
  bool batched = false;
  Bytes raw_commands;  // in place of `commands` where not empty

  Result<std::unique_ptr<cpu::CpuKernel>> make(cpu::Isa isa) const {
    Bytes words = raw_commands;
    for (const Command& command : raw_commands.empty() ? commands : std::vector<Command>{}) {
      HAI_TRY(const CommandWord word, encode(command));
      const auto* bytes = reinterpret_cast<const std::byte*>(word.data());
      words.insert(words.end(), bytes, bytes + kWordBytes);
    }
    format::Instruction instruction;
    instruction.kernel = "npu";
    instruction.name = "test";
    instruction.attributes = {{"sram_bytes", sram_bytes},
                              {"cache_bytes", kCacheBytes},
                              {"accumulator_bytes", kAccumulatorBytes},
                              {"scratch_bytes", scratch_bytes},
                              {"layer_names", std::string("a b")}};
    const std::vector<Symbol> symbols = {{"N", 1, 4}};
    const Dim batch = batched ? Dim(1, 0) : Dim(1);
    std::vector<format::ProgramTensor> tensors(4);
    const Shape shapes[] = {{static_cast<int64_t>(words.size())},
                            {static_cast<int64_t>(constants.size())},
                            {batch, input_bytes},
                            {batch, output_bytes}};
    for (size_t i = 0; i < 4; ++i) {
      tensors[i].dtype = DataType::kU8;
      tensors[i].shape = shapes[i];
    }
    const format::ProgramTensor* inputs[] = {&tensors[0], &tensors[1], &tensors[2]};
    const format::ProgramTensor* outputs[] = {&tensors[3]};
    const TensorView views[] = {{DataType::kU8, {static_cast<int64_t>(words.size())}, words.data(), nullptr},
                                {DataType::kU8, {static_cast<int64_t>(constants.size())}, constants.data(), nullptr},
                                {}};
    cpu::ExecRegistry registry;
    register_exec(registry);
    return registry.find("npu")({instruction, inputs, outputs, views, symbols, isa});
  }

  Bytes run(const cpu::CpuKernel& kernel, const Bytes& input, int threads, int64_t batch = 1) const {
    Bytes output(static_cast<size_t>(output_bytes * batch), std::byte{0x5a});
    Bytes scratch(static_cast<size_t>(kernel.scratch_bytes(batch, threads)), std::byte{0xa5});
    ThreadPool pool(threads);
    const TensorView inputs[] = {{},
                                 {DataType::kU8,
                                  {static_cast<int64_t>(constants.size())},
                                  kernel.needs_constant(1) ? constants.data() : nullptr,
                                  nullptr},
                                 {DataType::kU8, {batch, input_bytes}, input.data(), nullptr}};
    const MutableTensorView outputs[] = {{DataType::kU8, {batch, output_bytes}, output.data(), nullptr}};
    kernel.run({inputs, outputs, scratch.data(), pool, batch});
    return output;
  }
};

// Gives the streams that `commands` load the checks that their bytes have, where their entries make sense.
inline void put_checks_right(std::span<const Command> commands, Bytes& constants) {
  const auto size = static_cast<int64_t>(constants.size());
  for (const Command& command : commands) {
    const auto* load = std::get_if<WeightLoad>(&command.body);
    if (load == nullptr || load->entry > size - kStreamEntryBytes) continue;
    uint32_t entry[4];
    std::memcpy(entry, constants.data() + load->entry, sizeof entry);
    if (entry[0] > size || entry[1] > size - entry[0]) continue;
    entry[3] = (entry[3] & 0xffU) | stream_check(std::span(constants).subspan(entry[0], entry[1])) << 8;
    std::memcpy(constants.data() + load->entry, entry, sizeof entry);
  }
}

inline Bytes random_bytes(int64_t count, std::mt19937& random) {
  Bytes out(static_cast<size_t>(count));
  for (std::byte& byte : out) byte = static_cast<std::byte>(random());
  return out;
}

// A program around compute commands: constants are laid down, the scratchpad loaded, and stored at the end.
class ProgramBuilder {
 public:
  explicit ProgramBuilder(uint32_t seed, uint8_t core = 0) : random(seed), core_(core) {}

  std::mt19937 random;

  int64_t uniform(int64_t least, int64_t greatest) {
    return std::uniform_int_distribution<int64_t>(least, greatest)(random);
  }
  bool chance(int percent) { return uniform(0, 99) < percent; }
  template <typename T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[uniform(0, static_cast<int64_t>(values.size()) - 1)];
  }
  int64_t real(double least, double greatest) {
    const double log = std::uniform_real_distribution<double>(std::log2(least), std::log2(greatest))(random);
    const auto value = static_cast<float>(std::exp2(log));
    uint32_t word;
    std::memcpy(&word, &value, sizeof word);
    return word;
  }
  int64_t zero_point(int64_t type) {
    return type == kI8 ? uniform(-128, 127) : type == kU8 ? uniform(0, 255) : uniform(-3000, 3000);
  }

  // Somewhere behind all tiles before it, with gaps and a ring at times.
  Tile tile(int64_t type, int64_t rows, int64_t columns, int64_t channels) {
    const int64_t element = element_bytes(type);
    Tile out;
    out.type = type;
    out.pixel_stride = channels * element + (chance(40) ? uniform(1, 7) * element : 0);
    out.row_stride = columns * out.pixel_stride + (chance(40) ? uniform(1, 9) * element : 0);
    if (chance(40)) {
      out.ring_rows = rows + uniform(0, 3);
      out.ring_first = uniform(0, out.ring_rows - 1);
    }
    out.address = (next_tile_ + element - 1) / element * element;
    next_tile_ = out.address + std::max(rows, out.ring_rows) * out.row_stride + uniform(0, 20);
    EXPECT_LE(next_tile_, kSramBytes) << "the test's own tiles do not fit";
    return out;
  }
  int64_t sram(int64_t bytes) {
    const int64_t at = (next_tile_ + 15) / 16 * 16;
    next_tile_ = at + bytes;
    return at;
  }

  // Puts a stream among the constants and loads it; returns its address in the cache.
  int64_t load(const Bytes& stream) {
    const auto offset = static_cast<uint32_t>(constants_.size());
    const auto bytes = static_cast<uint32_t>(stream.size());
    constants_.insert(constants_.end(), stream.begin(), stream.end());
    constants_.resize((constants_.size() + 15) / 16 * 16);
    WeightLoad load;
    load.entry = static_cast<int64_t>(constants_.size());
    load.destination = reserve_cache(bytes);
    load.expanded_bytes = bytes;
    const uint32_t entry[] = {offset, bytes, bytes, stream_form_word(kPlainStream, stream)};
    const auto* at = reinterpret_cast<const std::byte*>(entry);
    constants_.insert(constants_.end(), at, at + sizeof entry);
    loads_.push_back({core_, 0, 0, load});
    return load.destination;
  }
  // Room that nothing is loaded to.
  int64_t reserve_cache(int64_t bytes) {
    const int64_t at = next_cache_;
    next_cache_ += (bytes + 15) / 16 * 16;
    EXPECT_LE(next_cache_, kCacheBytes) << "the test's own weights do not fit";
    return at;
  }
  void compute(const CommandBody& body) { computes_.push_back({core_, 1, 0, body}); }

  Instance finish() const {
    Instance out;
    out.constants = constants_;
    const auto add = [&](const CommandBody& body) { out.commands.push_back({core_, 0, 0, body}); };
    DmaLoad all;
    all.image = 2;
    all.row_bytes = kSramBytes / 8;
    all.rows = 8;
    all.source_row_stride = all.destination_row_stride = all.row_bytes;
    add(all);
    out.commands.insert(out.commands.end(), loads_.begin(), loads_.end());
    add(Signal{0, 3, 1});
    add(End{0});
    add(Wait{1, 3, 1});
    out.commands.insert(out.commands.end(), computes_.begin(), computes_.end());
    add(Signal{1, 9, 2});
    add(End{1});
    add(Wait{2, 9, 2});
    DmaStore store;
    store.image = 3;
    store.row_bytes = kSramBytes;
    add(store);
    add(End{2});
    return out;
  }

 private:
  uint8_t core_;
  int64_t next_tile_ = 16;
  int64_t next_cache_ = 0;
  Bytes constants_ = Bytes(16);
  std::vector<Command> loads_, computes_;
};

// The same bytes from the kernel, on every instruction set and with one thread and two, as from the model.
inline void expect_like_model(const Instance& instance, std::mt19937& random, const std::string& what) {
  const Bytes input = random_bytes(instance.input_bytes, random);
  Model model;
  model.images = {instance.constants, Bytes(static_cast<size_t>(instance.scratch_bytes)), input,
                  Bytes(static_cast<size_t>(instance.output_bytes), std::byte{0x5a})};
  model.run(instance.commands);
  for (const cpu::Isa isa : cpu::available_isas()) {
    const auto kernel = instance.make(isa);
    ASSERT_TRUE(kernel.has_value()) << what << ": " << kernel.error().to_string();
    for (const int threads : {1, 2}) {
      const Bytes output = instance.run(**kernel, input, threads);
      const auto differs = std::mismatch(output.begin(), output.end(), model.images[3].begin());
      ASSERT_TRUE(differs.first == output.end())
          << what << ", " << cpu::isa_name(isa) << ", " << threads << " threads: byte "
          << differs.first - output.begin() << " is " << static_cast<int>(*differs.first) << ", not "
          << static_cast<int>(*differs.second);
    }
  }
}

}  // namespace hai::sd3403::testing
