// The C interface (include/hai/hai.h) over Model and Session.
//
// Method: every function that can fail runs inside guarded() (c_api_guard.h): no exception leaves. What is
// returned by pointer is made once, with the handle, and points into the verified file's decoded form. Not here: any
// decision about models or runs; this file only translates.
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/file.h"
#include "devices/cpu/exec/isa.h"
#include "hai/hai.h"
#include "runtime/c_api_guard.h"
#include "runtime/c_api_views.h"
#include "runtime/session.h"

using hai::Error;
using hai::make_error;
using hai::Result;
using hai::Status;
using hai::StatusCode;
using hai::runtime::copy_versioned;
using hai::runtime::guarded;
using hai::runtime::Model;
using hai::runtime::require;
using hai::runtime::Session;
using hai::runtime::SessionOptions;

struct hai_session {
  std::unique_ptr<Session> session;
  std::vector<hai_layer_profile> profile;
  std::string trace, faults;
};

namespace {

thread_local std::string last_error_text;
thread_local bool last_error_lost = false;

Status tensor_dims(const hai::format::Interface& interface, const std::vector<hai::format::ProgramTensor>& tensors,
                   size_t index, int64_t batch, int64_t* dims, int32_t* rank) {
  if (index >= tensors.size()) {
    return make_error(StatusCode::kOutOfRange, "A005", "tensor {} of {} was asked for", index, tensors.size());
  }
  const int64_t min = interface.symbols.empty() ? 1 : interface.symbols[0].min;
  const int64_t max = interface.symbols.empty() ? 1 : interface.symbols[0].max;
  if (batch < min || batch > max) {
    return make_error(StatusCode::kOutOfRange, "A006", "batch {} is outside {}..{}", batch, min, max);
  }
  const hai::Shape& shape = tensors[index].shape;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i].symbol > 0) {
      return make_error(StatusCode::kInvalidArgument, "A007", "dimension {} of '{}' is free; compile the model for it",
                        i, tensors[index].name);
    }
    dims[i] = shape[i].is_symbolic() ? shape[i].value * batch : shape[i].value;
  }
  *rank = static_cast<int32_t>(shape.size());
  return {};
}

Result<SessionOptions> read_options(const hai_session_options* given) {
  hai_session_options raw = HAI_SESSION_OPTIONS_INIT;
  if (given != nullptr) HAI_TRY_STATUS(copy_versioned(raw, given, "hai_session_options"));
  SessionOptions options;
  if (raw.device != nullptr) options.device = raw.device;
  if (raw.isa != nullptr) options.isa = raw.isa;
  options.threads = raw.threads;
  options.max_batch = raw.max_batch;
  options.profile = raw.profile != 0;
  options.trace_events = raw.trace_events;
  if (raw.inject != nullptr) options.inject = raw.inject;
  return options;
}

std::span<const hai_tensor> span_of(const hai_tensor* tensors, size_t count) {
  return {tensors, tensors == nullptr ? 0 : count};
}

}  // namespace

namespace hai::runtime {

void keep_last_error(const Error& error) noexcept {
  try {
    last_error_text = error.to_string();
    last_error_lost = false;
  } catch (...) {
    last_error_lost = true;
  }
}

void lose_last_error() noexcept { last_error_lost = true; }

Result<hai_model*> wrap(Result<std::shared_ptr<Model>> model) {
  if (!model) return std::move(model).error();
  auto handle = std::make_unique<hai_model>();
  handle->model = std::move(model).value();
  handle->view.fill(handle->model->file());
  return handle.release();
}

}  // namespace hai::runtime

extern "C" {

const char* hai_last_error(void) {
  return last_error_lost ? "memory ran out; use a smaller model or batch, or give the process more memory [HAI-A008]"
                         : last_error_text.c_str();
}

// --- models ---

hai_status hai_model_load(const char* path, hai_model** model) {
  if (model != nullptr) *model = nullptr;
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(path, "path"));
    HAI_TRY_STATUS(require(model, "model"));
    HAI_TRY(*model, hai::runtime::wrap(Model::load_file(path)));
    return {};
  });
}

hai_status hai_model_load_memory(const void* bytes, size_t size_bytes, hai_model** model) {
  if (model != nullptr) *model = nullptr;
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(bytes, "bytes"));
    HAI_TRY_STATUS(require(model, "model"));
    HAI_TRY(*model, hai::runtime::wrap(
                        Model::load(hai::memory_source({static_cast<const std::byte*>(bytes), size_bytes}), "memory")));
    return {};
  });
}

void hai_model_release(hai_model* model) { delete model; }

hai_status hai_model_verify(const hai_model* model) {
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(model, "model"));
    return model->model->file().verify_all();
  });
}

size_t hai_model_input_count(const hai_model* model) { return model == nullptr ? 0 : model->view.inputs.size(); }
const hai_tensor_info* hai_model_input(const hai_model* model, size_t index) {
  return index < hai_model_input_count(model) ? &model->view.inputs[index] : nullptr;
}
size_t hai_model_output_count(const hai_model* model) { return model == nullptr ? 0 : model->view.outputs.size(); }
const hai_tensor_info* hai_model_output(const hai_model* model, size_t index) {
  return index < hai_model_output_count(model) ? &model->view.outputs[index] : nullptr;
}
size_t hai_model_symbol_count(const hai_model* model) { return model == nullptr ? 0 : model->view.symbols.size(); }
const hai_symbol* hai_model_symbol(const hai_model* model, size_t index) {
  return index < hai_model_symbol_count(model) ? &model->view.symbols[index] : nullptr;
}

hai_status hai_model_input_dims(const hai_model* model, size_t index, int64_t batch, int64_t dims[HAI_MAX_RANK],
                                int32_t* rank) {
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(model, "model"));
    HAI_TRY_STATUS(require(dims, "dims"));
    HAI_TRY_STATUS(require(rank, "rank"));
    const auto& interface = model->model->file().interface();
    return tensor_dims(interface, interface.inputs, index, batch, dims, rank);
  });
}

hai_status hai_model_output_dims(const hai_model* model, size_t index, int64_t batch, int64_t dims[HAI_MAX_RANK],
                                 int32_t* rank) {
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(model, "model"));
    HAI_TRY_STATUS(require(dims, "dims"));
    HAI_TRY_STATUS(require(rank, "rank"));
    const auto& interface = model->model->file().interface();
    return tensor_dims(interface, interface.outputs, index, batch, dims, rank);
  });
}

const char* hai_model_name(const hai_model* model) {
  return model == nullptr ? "" : model->model->file().metadata().name.c_str();
}
size_t hai_model_metadata_count(const hai_model* model) {
  return model == nullptr ? 0 : model->view.metadata_keys.size();
}
const char* hai_model_metadata_key(const hai_model* model, size_t index) {
  return index < hai_model_metadata_count(model) ? model->view.metadata_keys[index] : nullptr;
}
const char* hai_model_metadata_value(const hai_model* model, const char* key) {
  if (model == nullptr || key == nullptr) return nullptr;
  const auto& entries = model->model->file().metadata().entries;
  const auto found =
      std::find_if(entries.begin(), entries.end(), [key](const auto& entry) { return entry.first == key; });
  return found == entries.end() ? nullptr : found->second.c_str();
}
size_t hai_model_program_count(const hai_model* model) {
  return model == nullptr ? 0 : model->model->file().devices().size();
}
const char* hai_model_program_device(const hai_model* model, size_t index) {
  return index < hai_model_program_count(model) ? model->model->file().devices()[index].c_str() : nullptr;
}
const char* hai_model_quantization_report(const hai_model* model) {
  return model == nullptr || model->model->file().report().empty() ? nullptr : model->model->file().report().c_str();
}
const hai_preprocessing* hai_model_preprocessing(const hai_model* model) {
  return model == nullptr || !model->view.preprocessing ? nullptr : &*model->view.preprocessing;
}
size_t hai_model_section_count(const hai_model* model) { return model == nullptr ? 0 : model->view.sections.size(); }
const hai_section_info* hai_model_section(const hai_model* model, size_t index) {
  return index < hai_model_section_count(model) ? &model->view.sections[index] : nullptr;
}
const char* hai_model_sha256(const hai_model* model) { return model == nullptr ? "" : model->view.digest.c_str(); }
uint64_t hai_model_file_size(const hai_model* model) {
  return model == nullptr ? 0 : static_cast<uint64_t>(model->model->file().container().file_bytes);
}

// --- sessions ---

hai_status hai_session_create(hai_model* model, const hai_session_options* options, hai_session** session) {
  if (session != nullptr) *session = nullptr;
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(model, "model"));
    HAI_TRY_STATUS(require(session, "session"));
    HAI_TRY(const SessionOptions parsed, read_options(options));
    auto handle = std::make_unique<hai_session>();
    HAI_TRY(handle->session, Session::create(model->model, parsed));
    handle->profile.resize(handle->session->profile().size());
    *session = handle.release();
    return {};
  });
}

void hai_session_release(hai_session* session) { delete session; }

hai_status hai_session_run(hai_session* session, const hai_tensor* inputs, size_t input_count,
                           const hai_tensor* outputs, size_t output_count) {
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(session, "session"));
    return session->session->run(span_of(inputs, input_count), span_of(outputs, output_count));
  });
}

size_t hai_session_output_count(const hai_session* session) {
  return session == nullptr ? 0 : session->session->output_count();
}

hai_status hai_session_output_type(const hai_session* session, const hai_tensor* inputs, size_t input_count,
                                   size_t index, int32_t* dtype, int64_t dims[HAI_MAX_RANK], int32_t* rank) {
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(session, "session"));
    HAI_TRY_STATUS(require(dtype, "dtype"));
    HAI_TRY_STATUS(require(dims, "dims"));
    HAI_TRY_STATUS(require(rank, "rank"));
    const Session& target = *session->session;
    if (index >= target.output_count()) {
      return make_error(StatusCode::kOutOfRange, "A009", "output {} of {} was asked for", index, target.output_count());
    }
    HAI_TRY(const int64_t batch, target.batch_of(span_of(inputs, input_count)));
    const hai::Dims result = target.output_dims(index, batch);
    std::copy(result.size.begin(), result.size.begin() + result.rank, dims);
    *rank = result.rank;
    *dtype = static_cast<int32_t>(target.output(index).dtype);
    return {};
  });
}

hai_status hai_session_set_profiling(hai_session* session, int32_t enabled) {
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(session, "session"));
    session->session->set_profiling(enabled != 0);
    return {};
  });
}

hai_status hai_session_profile(hai_session* session, const hai_layer_profile** layers, size_t* count) {
  if (layers != nullptr) *layers = nullptr;
  if (count != nullptr) *count = 0;
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(session, "session"));
    HAI_TRY_STATUS(require(layers, "layers"));
    HAI_TRY_STATUS(require(count, "count"));
    const Session& source = *session->session;
    const int64_t batch = std::max<int64_t>(1, source.last_batch());
    for (size_t i = 0; i < session->profile.size(); ++i) {
      const auto& label = source.labels()[i];
      const auto& times = source.profile()[i];
      session->profile[i] = {label.name.c_str(),
                             label.kernel.c_str(),
                             times.calls,
                             times.total_ns,
                             times.min_ns,
                             label.macs_per_sample * batch,
                             label.bytes_fixed + label.bytes_per_sample * batch};
    }
    *layers = session->profile.data();
    *count = session->profile.size();
    return {};
  });
}

hai_status hai_session_trace_json(hai_session* session, const char** json) {
  if (json != nullptr) *json = nullptr;
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(session, "session"));
    HAI_TRY_STATUS(require(json, "json"));
    session->trace = session->session->trace();
    *json = session->trace.c_str();
    return {};
  });
}

hai_status hai_session_fault_report(hai_session* session, const char** json) {
  if (json != nullptr) *json = nullptr;
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(session, "session"));
    HAI_TRY_STATUS(require(json, "json"));
    session->faults = session->session->fault_report();
    *json = session->faults.c_str();
    return {};
  });
}

hai_status hai_session_write_trace(hai_session* session, const char* path) {
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(session, "session"));
    HAI_TRY_STATUS(require(path, "path"));
    const std::string text = session->session->trace();
    return hai::write_file_atomically(path, std::as_bytes(std::span(text)));
  });
}

hai_status hai_session_memory(const hai_session* session, hai_memory_info* info) {
  return guarded([&]() -> Status {
    HAI_TRY_STATUS(require(session, "session"));
    HAI_TRY_STATUS(require(info, "info"));
    hai_memory_info result = HAI_MEMORY_INFO_INIT;
    HAI_TRY_STATUS(copy_versioned(result, info, "hai_memory_info"));
    const Session& source = *session->session;
    const int64_t lower = source.program().arena_lower_bound_bytes;
    result = {result.struct_size,     source.packed_bytes(),  source.arena_bytes(), lower,
              source.scratch_bytes(), source.capacity_batch()};
    std::memcpy(info, &result, std::min(result.struct_size, sizeof(result)));
    return {};
  });
}

const char* hai_session_device(const hai_session* session) {
  return session == nullptr ? "" : session->session->device().c_str();
}
const char* hai_session_isa(const hai_session* session) {
  return session == nullptr ? "" : hai::cpu::isa_name(session->session->isa()).data();  // literals: they end with NUL
}
int32_t hai_session_thread_count(const hai_session* session) {
  return session == nullptr ? 0 : session->session->thread_count();
}

}  // extern "C"
