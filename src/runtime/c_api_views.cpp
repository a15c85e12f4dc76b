// The plain C structures of a model, and what the C interface says about types, states and devices.
//
// All of it is made once: with a model's handle, or, for devices, on first use. Numbers of C enumerations equal those
// of the C++ ones, which files hold and which are never changed; the assertions below keep it so.
#include "runtime/c_api_views.h"

#include <sched.h>

#include <array>
#include <map>
#include <mutex>
#include <string_view>

#include "devices/cpu/exec/isa.h"
#include "runtime/devices.h"
#include "types/data_type.h"

namespace hai::runtime {
namespace {

static_assert(HAI_F64 == static_cast<int>(DataType::kF64) && HAI_BOOL == static_cast<int>(DataType::kBool) &&
              HAI_I8 == static_cast<int>(DataType::kI8) && HAI_U8 == static_cast<int>(DataType::kU8) &&
              HAI_BOOL + 1 == kDataTypeCount);
static_assert(HAI_INTERNAL == static_cast<int>(StatusCode::kInternal) &&
              HAI_CORRUPT == static_cast<int>(StatusCode::kCorrupt) && HAI_IO == static_cast<int>(StatusCode::kIo));
static_assert(HAI_COLOR_GRAY == static_cast<int>(ColorOrder::kGray) &&
              HAI_LAYOUT_NHWC == static_cast<int>(PictureLayout::kNhwc) &&
              HAI_RESIZE_STRETCH == static_cast<int>(ResizeRule::kStretch) &&
              HAI_RESIZE_LETTERBOX_TOP_LEFT == static_cast<int>(ResizeRule::kLetterboxTopLeft) &&
              HAI_INTERPOLATION_BICUBIC == static_cast<int>(Interpolation::kBicubic));
static_assert(HAI_MAX_RANK == kMaxRank);

std::vector<hai_dim> dims_of(const format::ProgramTensor& tensor) {
  std::vector<hai_dim> dims;
  dims.reserve(tensor.shape.size());
  for (const Dim& dim : tensor.shape) dims.push_back({dim.value, dim.symbol});
  return dims;
}

hai_tensor_info info_of(const format::ProgramTensor& tensor, const std::vector<hai_dim>& dims) {
  hai_tensor_info info{};
  info.name = tensor.name.c_str();
  info.dtype = static_cast<int32_t>(tensor.dtype);
  info.rank = static_cast<int32_t>(dims.size());
  info.dims = dims.data();
  info.quantization_axis = -1;
  if (tensor.quantization) {
    info.quantization_axis = tensor.quantization->axis;
    info.scale_count = static_cast<int32_t>(tensor.quantization->scales.size());
    info.scales = tensor.quantization->scales.data();
    info.zero_points = tensor.quantization->zero_points.data();
  }
  return info;
}

hai_preprocessing preprocessing_of(const Preprocessing& source) {
  hai_preprocessing result{};
  result.input = source.input.c_str();
  result.width = source.width;
  result.height = source.height;
  result.color_order = static_cast<int32_t>(source.color_order);
  result.layout = static_cast<int32_t>(source.layout);
  result.resize_rule = static_cast<int32_t>(source.resize_rule);
  result.interpolation = static_cast<int32_t>(source.interpolation);
  result.resize_size = source.resize_size;
  std::copy(source.mean.begin(), source.mean.end(), result.mean);
  std::copy(source.scale.begin(), source.scale.end(), result.scale);
  result.pad_value = source.pad_value;
  return result;
}

// The cpu, as this machine has it.
struct CpuDevice {
  std::string isa;
  std::string isas;
  hai_device_info info{};

  CpuDevice() {
    if (const auto selected = cpu::selected_isa()) isa = cpu::isa_name(*selected);
    for (const cpu::Isa available : cpu::available_isas()) {
      isas += (isas.empty() ? "" : ",") + std::string(cpu::isa_name(available));
    }
    info.name = "cpu";
    info.description = "the processor of this machine";
    info.isa = isa.c_str();
    info.isas = isas.c_str();
    cpu_set_t set;
    CPU_ZERO(&set);
    info.thread_count = ::sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
  }
};

}  // namespace

void ModelView::fill(const format::ModelReader& file) {
  const format::Interface& interface = file.interface();
  for (const Symbol& symbol : interface.symbols) symbols.push_back({symbol.name.c_str(), symbol.min, symbol.max});
  dims_.reserve(interface.inputs.size() + interface.outputs.size());  // addresses must stay
  for (const format::ProgramTensor& tensor : interface.inputs) {
    inputs.push_back(info_of(tensor, dims_.emplace_back(dims_of(tensor))));
  }
  for (const format::ProgramTensor& tensor : interface.outputs) {
    outputs.push_back(info_of(tensor, dims_.emplace_back(dims_of(tensor))));
  }
  for (const auto& [key, value] : file.metadata().entries) metadata_keys.push_back(key.c_str());
  if (file.preprocessing()) preprocessing = preprocessing_of(*file.preprocessing());
  digest = to_hex(file.container().digest);
  for (const format::Section& section : file.container().sections) section_digests_.push_back(to_hex(section.digest));
  for (size_t i = 0; i < section_digests_.size(); ++i) {
    const format::Section& section = file.container().sections[i];
    const bool compressed = section.is(format::SectionKind::kCompressedWeights);
    // Names of kinds are literals. NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage)
    sections.push_back({format::section_kind_name(section.kind).data(), section.name.c_str(), section.required ? 1 : 0,
                        static_cast<uint64_t>(section.offset_bytes), static_cast<uint64_t>(section.size_bytes),
                        section_digests_[i].c_str(),
                        static_cast<uint64_t>(compressed ? file.weights_bytes() : section.size_bytes)});
  }
}

}  // namespace hai::runtime

extern "C" {

const char* hai_status_name(hai_status status) {
  return hai::status_code_name(static_cast<hai::StatusCode>(status)).data();  // literals: they end with NUL
}

const char* hai_version(void) { return HAI_VERSION; }

const char* hai_dtype_name(int32_t dtype) {
  return dtype < 0 || dtype >= hai::kDataTypeCount ? "?"
                                                   : hai::data_type_name(static_cast<hai::DataType>(dtype)).data();
}

int32_t hai_dtype_bits(int32_t dtype) {
  return dtype < 0 || dtype >= hai::kDataTypeCount ? 0 : hai::bit_width(static_cast<hai::DataType>(dtype));
}

size_t hai_device_count(void) { return hai::runtime::devices().size(); }

const hai_device_info* hai_device(size_t index) {
  static const hai::runtime::CpuDevice cpu;
  if (index == 0) return &cpu.info;
  // Programs of other devices run on the instruction sets of this one. Their entries stay for good, as their addresses
  // do.
  static std::mutex mutex;
  static std::map<std::string_view, hai_device_info> others;
  const auto known = hai::runtime::devices();
  if (index >= known.size()) return nullptr;
  const std::lock_guard lock(mutex);
  hai_device_info& info = others[known[index].name];
  info = cpu.info;
  info.name = known[index].name.data();  // literals: they end with NUL
  info.description = known[index].description.data();
  return &info;
}

}  // extern "C"
