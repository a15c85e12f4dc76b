// The peak of a machine: each thread of the pool runs the same loop at once, and the quickest of some tries is taken,
// since others that use the machine only ever add time.
//
// A try lasts about a millisecond: long beside waking a thread, short beside a time slice. Buffers are written once
// before they are read, so that their pages exist; what is read is what lies in the cache after the first round.
#include "devices/cpu/exec/machine_peak.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "devices/cpu/exec/aligned_buffer.h"
#include "devices/cpu/exec/kernel_dispatch.h"

HAI_DOT_KERNEL_FAMILY(peak_f32, float, (int64_t, int64_t*));
HAI_DOT_KERNEL_FAMILY(peak_i8, int32_t, (int64_t, int64_t*));
HAI_KERNEL_FAMILY(read_bandwidth, float, (const float*, int64_t, int64_t));

namespace hai::cpu {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kTries = 32;
constexpr double kTrySeconds = 1e-3;
constexpr std::array<int64_t, 6> kWorkingSets = {16 << 10, 128 << 10, 512 << 10, 2 << 20, 8 << 20, 64 << 20};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// `work(thread index, rounds)` on every thread; the highest rate of `units_of(rounds)` a second over all threads.
template <typename Work, typename Units>
double highest_rate(ThreadPool& pool, const Work& work, const Units& units_of) {
  const int threads = pool.thread_count();
  int64_t rounds = 1;
  for (double seconds = 0; rounds < (int64_t{1} << 40); rounds *= 2) {
    const auto start = Clock::now();
    work(0, rounds);
    seconds = seconds_since(start);
    if (seconds >= kTrySeconds / 2) break;
  }
  double best = 0;
  for (int i = 0; i < kTries; ++i) {
    const auto start = Clock::now();
    pool.parallel(threads, [&](int64_t index, int) { work(index, rounds); });
    best = std::max(best, static_cast<double>(threads) * units_of(rounds) / seconds_since(start));
  }
  return best;
}

}  // namespace

ArithmeticPeak measure_arithmetic_peak(Isa isa, ThreadPool& pool) {
  ArithmeticPeak out;
  out.isa = isa;
  const auto f32 = peak_f32_for(isa);
  const auto i8 = peak_i8_for(isa);
  const auto f32_work = [&](int64_t, int64_t rounds) {
    int64_t macs = 0;
    f32(rounds, &macs);
  };
  const auto i8_work = [&](int64_t, int64_t rounds) {
    int64_t macs = 0;
    i8(rounds, &macs);
  };
  int64_t f32_a_round = 0;
  int64_t i8_a_round = 0;
  f32(1, &f32_a_round);
  i8(1, &i8_a_round);
  const auto units = [](int64_t a_round) {
    return [a_round](int64_t rounds) { return static_cast<double>(rounds) * static_cast<double>(a_round); };
  };
  out.f32_macs_per_s = highest_rate(pool, f32_work, units(f32_a_round));
  out.i8_macs_per_s = highest_rate(pool, i8_work, units(i8_a_round));
  return out;
}

Result<std::vector<ReadBandwidth>> measure_read_bandwidths(Isa isa, ThreadPool& pool) {
  const int64_t threads = pool.thread_count();
  const int64_t most = kWorkingSets.back();
  HAI_TRY(AlignedBuffer memory, AlignedBuffer::zeros(most * threads));
  const auto read = read_bandwidth_for(isa);
  std::vector<ReadBandwidth> out;
  for (const int64_t bytes : kWorkingSets) {
    const int64_t count = bytes / static_cast<int64_t>(sizeof(float));
    const auto work = [&](int64_t index, int64_t rounds) {
      read(reinterpret_cast<const float*>(memory.data() + index * most), count, rounds);
    };
    const auto units = [bytes](int64_t rounds) { return static_cast<double>(rounds) * static_cast<double>(bytes); };
    out.push_back({bytes, highest_rate(pool, work, units)});
  }
  return out;
}

}  // namespace hai::cpu
