// Which instruction sets this build has kernels for, which this machine can run, and which one to use.
//
// x86-64: CPUID for the instructions and XGETBV for the registers that the operating system saves; without the latter
// an AVX instruction faults although CPUID names it. Arm64: the hardware capabilities that Linux hands to each process.
// The answers are taken once and never change. HAI_CPU is read at each call of selected_isa(), so that a test can set
// it.
#include "devices/cpu/exec/isa.h"

#include <array>
#include <cstdlib>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace hai::cpu {
namespace {

constexpr std::array<std::string_view, kIsaCount> kNames = {"scalar",     "avx2", "avx2vnni", "avx512",
                                                            "avx512vnni", "neon", "neondot",  "neoni8mm"};

struct Availability {
  std::array<bool, kIsaCount> has{};
  std::array<Isa, kIsaCount> listed{};
  size_t count = 0;
};

#if defined(__x86_64__)

struct CpuidLeaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuidLeaf cpuid(uint32_t leaf, uint32_t subleaf) {
  CpuidLeaf out;
  if (__get_cpuid_count(leaf, subleaf, &out.eax, &out.ebx, &out.ecx, &out.edx) == 0) return {};
  return out;
}

// XCR0: which register files the operating system saves. Precondition: OSXSAVE is set.
uint64_t saved_registers() {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

constexpr bool bit(uint32_t word, int position) { return ((word >> position) & 1U) != 0; }

void detect(Availability& out) {
  const CpuidLeaf one = cpuid(1, 0);
  const CpuidLeaf seven = cpuid(7, 0);
  const CpuidLeaf seven_one = seven.eax >= 1 ? cpuid(7, 1) : CpuidLeaf{};
  const bool os_xsave = bit(one.ecx, 27);
  const uint64_t saved = os_xsave ? saved_registers() : 0;
  const bool saves_ymm = (saved & 0x6U) == 0x6U;
  const bool saves_zmm = (saved & 0xe6U) == 0xe6U;

  const bool avx2 = saves_ymm && bit(one.ecx, 28) && bit(one.ecx, 12) && bit(one.ecx, 29) && bit(seven.ebx, 5);
  const bool avx512 = avx2 && saves_zmm && bit(seven.ebx, 16) && bit(seven.ebx, 17) && bit(seven.ebx, 30) &&
                      bit(seven.ebx, 31);  // F, DQ, BW, VL
  out.has[static_cast<size_t>(Isa::kAvx2)] = avx2;
  out.has[static_cast<size_t>(Isa::kAvx2Vnni)] = avx2 && bit(seven_one.eax, 4);
  out.has[static_cast<size_t>(Isa::kAvx512)] = avx512;
  out.has[static_cast<size_t>(Isa::kAvx512Vnni)] = avx512 && bit(seven.ecx, 11) && bit(seven.ecx, 1);  // VNNI, VBMI
#if defined(HAI_EMULATE_AVX512)
  // A build for tests: kernels of these sets are plain C (tests/emulation).
  for (const Isa isa : {Isa::kAvx2Vnni, Isa::kAvx512, Isa::kAvx512Vnni}) out.has[static_cast<size_t>(isa)] = avx2;
#endif
}

#elif defined(__aarch64__)

void detect(Availability& out) {
  constexpr unsigned long kAsimd = 1UL << 1;
  constexpr unsigned long kDotProduct = 1UL << 20;
  constexpr unsigned long kI8mm = 1UL << 13;
  const unsigned long first = getauxval(AT_HWCAP);
  const unsigned long second = getauxval(AT_HWCAP2);
  const bool neon = (first & kAsimd) != 0;
  const bool dot = neon && (first & kDotProduct) != 0;
  out.has[static_cast<size_t>(Isa::kNeon)] = neon;
  out.has[static_cast<size_t>(Isa::kNeonDot)] = dot;
  out.has[static_cast<size_t>(Isa::kNeonI8mm)] = dot && (second & kI8mm) != 0;
}

#else
#error "HAI's CPU device knows x86-64 and Arm64"
#endif

const Availability& availability() {
  static const Availability kAvailability = [] {
    Availability out;
    out.has[static_cast<size_t>(Isa::kScalar)] = true;
    detect(out);
    for (int i = 0; i < kIsaCount; ++i) {
      if (out.has[static_cast<size_t>(i)]) out.listed[out.count++] = static_cast<Isa>(i);
    }
    return out;
  }();
  return kAvailability;
}

std::string listed_names() {
  std::string out;
  for (const Isa isa : available_isas()) {
    if (!out.empty()) out += ", ";
    out += isa_name(isa);
  }
  return out;
}

}  // namespace

std::string_view isa_name(Isa isa) { return kNames[static_cast<size_t>(isa)]; }

bool isa_compiled(Isa isa) {
  if (isa == Isa::kScalar) return true;
#if defined(__x86_64__)
  return isa <= Isa::kAvx512Vnni;
#else
  return isa >= Isa::kNeon;
#endif
}

bool isa_available(Isa isa) { return availability().has[static_cast<size_t>(isa)]; }

std::span<const Isa> available_isas() { return {availability().listed.data(), availability().count}; }

Result<Isa> selected_isa() {
  const char* forced = std::getenv("HAI_CPU");
  if (forced == nullptr || *forced == '\0') return available_isas().back();
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    if (isa_name(isa) != forced) continue;
    if (isa_available(isa)) return isa;
    return make_error(StatusCode::kUnsupported, "C001",
                      "HAI_CPU={} asks for an instruction set that {} does not have; choose one of: {}, or unset "
                      "HAI_CPU for the best of them",
                      forced, isa_compiled(isa) ? "this machine" : "this build", listed_names());
  }
  return make_error(StatusCode::kInvalidArgument, "C002",
                    "HAI_CPU={} names no instruction set; choose one of: {}, or unset HAI_CPU for the best of them",
                    forced, listed_names());
}

}  // namespace hai::cpu
