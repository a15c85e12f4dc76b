// HAI runtime, C++ interface: header only, over the C interface of hai.h. C++17, no exceptions of its own.
//
//   auto model = hai::api::Model::load("net.hai");
//   if (!model) { std::fprintf(stderr, "%s\n", model.error().message.c_str()); return 1; }
//   auto session = model->session();
//   auto input = model->make_input(0);            // zeros, of the type and shape the model wants
//   ... fill input->as<float>() ...
//   auto outputs = session->run({*input});        // Result<std::vector<Tensor>>
//   const float* scores = (*outputs)[0].as<float>();
//
// Everything that can fail returns Result<T> (has_value(), value(), error()), Status for those without a value. Handles
// are released by their destructors and can be moved; ownership and thread rules are those of hai.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "hai/hai.h"

namespace hai::api {

struct Error {
  hai_status code = HAI_OK;
  std::string message;
};

// A value or an Error. Asking for the one that is not there aborts.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit by design
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT
  bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }
  T& value() & { return *get(std::get_if<0>(&state_)); }
  const T& value() const& { return *get(std::get_if<0>(&state_)); }
  T&& value() && { return std::move(*get(std::get_if<0>(&state_))); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const { return *get(std::get_if<1>(&state_)); }

 private:
  template <typename P>
  static P* get(P* pointer) {
    if (pointer == nullptr) std::abort();
    return pointer;
  }
  std::variant<T, Error> state_;
};

struct Ok {};
using Status = Result<Ok>;

inline Error last_error(hai_status code) { return Error{code, hai_last_error()}; }
inline Status to_status(hai_status code) { return code == HAI_OK ? Status(Ok{}) : Status(last_error(code)); }

template <typename T>
struct dtype_of;  // the hai_dtype of a C++ type
template <>
struct dtype_of<double> : std::integral_constant<int32_t, HAI_F64> {};
template <>
struct dtype_of<float> : std::integral_constant<int32_t, HAI_F32> {};
template <>
struct dtype_of<int64_t> : std::integral_constant<int32_t, HAI_I64> {};
template <>
struct dtype_of<int32_t> : std::integral_constant<int32_t, HAI_I32> {};
template <>
struct dtype_of<int16_t> : std::integral_constant<int32_t, HAI_I16> {};
template <>
struct dtype_of<int8_t> : std::integral_constant<int32_t, HAI_I8> {};
template <>
struct dtype_of<uint64_t> : std::integral_constant<int32_t, HAI_U64> {};
template <>
struct dtype_of<uint32_t> : std::integral_constant<int32_t, HAI_U32> {};
template <>
struct dtype_of<uint16_t> : std::integral_constant<int32_t, HAI_U16> {};
template <>
struct dtype_of<uint8_t> : std::integral_constant<int32_t, HAI_U8> {};
template <>
struct dtype_of<bool> : std::integral_constant<int32_t, HAI_BOOL> {};

// Bytes of a dense tensor; nibbles round up to a whole byte.
inline size_t tensor_bytes(int32_t dtype, const std::vector<int64_t>& dims) {
  size_t count = 1;
  for (const int64_t dim : dims) count *= static_cast<size_t>(dim);
  return (count * static_cast<size_t>(hai_dtype_bits(dtype)) + 7) / 8;
}

// A dense row-major tensor that owns its memory, zero when made.
class Tensor {
 public:
  Tensor() = default;
  Tensor(int32_t dtype, std::vector<int64_t> dims)
      : dtype_(dtype), dims_(std::move(dims)), bytes_(tensor_bytes(dtype_, dims_)) {}

  int32_t dtype() const { return dtype_; }
  const std::vector<int64_t>& dims() const { return dims_; }
  size_t size_bytes() const { return bytes_.size(); }
  void* data() { return bytes_.data(); }
  const void* data() const { return bytes_.data(); }
  // Null when T is not the element type.
  template <typename T>
  T* as() {
    return dtype_of<T>::value == dtype_ ? reinterpret_cast<T*>(bytes_.data()) : nullptr;
  }
  template <typename T>
  const T* as() const {
    return dtype_of<T>::value == dtype_ ? reinterpret_cast<const T*>(bytes_.data()) : nullptr;
  }
  template <typename T>
  size_t count() const {
    return bytes_.size() / sizeof(T);
  }

 private:
  int32_t dtype_ = HAI_F32;
  std::vector<int64_t> dims_;
  std::vector<unsigned char> bytes_;
};

// A view of the caller's memory, for runs without a copy.
inline hai_tensor view(int32_t dtype, const std::vector<int64_t>& dims, void* data, size_t size_bytes) {
  hai_tensor tensor{};
  tensor.dtype = dtype;
  tensor.rank = static_cast<int32_t>(dims.size() <= HAI_MAX_RANK ? dims.size() : HAI_MAX_RANK + 1);
  for (size_t i = 0; i < dims.size() && i < HAI_MAX_RANK; ++i) tensor.dims[i] = dims[i];
  tensor.data = data;
  tensor.size_bytes = size_bytes;
  return tensor;
}
inline hai_tensor view(const Tensor& tensor) {  // inputs are not written: hai.h
  return view(tensor.dtype(), tensor.dims(), const_cast<void*>(tensor.data()), tensor.size_bytes());
}
template <typename T>
hai_tensor view(const T* data, const std::vector<int64_t>& dims) {
  return view(dtype_of<T>::value, dims, const_cast<T*>(data), tensor_bytes(dtype_of<T>::value, dims));
}

struct SessionOptions {
  std::string device;        // empty: the first device the file has a program for
  std::string isa;           // empty: HAI_CPU, else the best this machine has
  int32_t threads = 0;       // 0: one for each CPU this process may use
  int64_t max_batch = 0;     // 0: memory grows with the largest batch seen
  bool profile = false;      // time every layer
  int32_t trace_events = 0;  // capacity of the trace ring
  // Faults that a simulated device is to show (docs/how_to/npu.md); none may hold a ';'.
  std::vector<std::string> inject;
};

class Session {
 public:
  // Outputs in new memory. The batch is that of the inputs' first dimensions.
  Result<std::vector<Tensor>> run(const std::vector<Tensor>& inputs) {
    std::vector<hai_tensor> views;
    views.reserve(inputs.size());
    for (const Tensor& input : inputs) views.push_back(view(input));
    return run(views);
  }
  Result<std::vector<Tensor>> run(const std::vector<hai_tensor>& inputs) {
    std::vector<Tensor> outputs;
    std::vector<hai_tensor> views;
    const size_t count = hai_session_output_count(handle_.get());
    for (size_t i = 0; i < count; ++i) {
      std::array<int64_t, HAI_MAX_RANK> dims{};
      int32_t rank = 0;
      int32_t dtype = 0;
      const hai_status code =
          hai_session_output_type(handle_.get(), inputs.data(), inputs.size(), i, &dtype, dims.data(), &rank);
      if (code != HAI_OK) return last_error(code);
      outputs.emplace_back(dtype, std::vector<int64_t>(dims.begin(), dims.begin() + rank));
    }
    for (const Tensor& output : outputs) views.push_back(view(output));
    const Status status = run_into(inputs, views);
    if (!status) return status.error();
    return outputs;
  }
  // Outputs in the caller's memory, nothing copied, nothing allocated after the first run.
  Status run_into(const std::vector<hai_tensor>& inputs, const std::vector<hai_tensor>& outputs) {
    return to_status(hai_session_run(handle_.get(), inputs.data(), inputs.size(), outputs.data(), outputs.size()));
  }

  Status set_profiling(bool enabled) { return to_status(hai_session_set_profiling(handle_.get(), enabled ? 1 : 0)); }
  Result<std::vector<hai_layer_profile>> profile() {
    const hai_layer_profile* layers = nullptr;
    size_t count = 0;
    const hai_status code = hai_session_profile(handle_.get(), &layers, &count);
    if (code != HAI_OK) return last_error(code);
    return std::vector<hai_layer_profile>(layers, layers + count);
  }
  Status write_trace(const std::string& path) {
    return to_status(hai_session_write_trace(handle_.get(), path.c_str()));
  }
  // JSON: what became of the injected faults in the last run (hai_session_fault_report).
  Result<std::string> fault_report() {
    const char* json = nullptr;
    const hai_status code = hai_session_fault_report(handle_.get(), &json);
    if (code != HAI_OK) return last_error(code);
    return std::string(json);
  }
  Result<hai_memory_info> memory() const {
    hai_memory_info info = HAI_MEMORY_INFO_INIT;
    const hai_status code = hai_session_memory(handle_.get(), &info);
    if (code != HAI_OK) return last_error(code);
    return info;
  }
  std::string device() const { return hai_session_device(handle_.get()); }
  std::string isa() const { return hai_session_isa(handle_.get()); }
  int32_t thread_count() const { return hai_session_thread_count(handle_.get()); }
  hai_session* handle() const { return handle_.get(); }

 private:
  friend class Model;
  struct Release {
    void operator()(hai_session* handle) const { hai_session_release(handle); }
  };
  explicit Session(hai_session* handle) : handle_(handle) {}
  std::unique_ptr<hai_session, Release> handle_;
};

class Model {
 public:
  static Result<Model> load(const std::string& path) {
    hai_model* handle = nullptr;
    const hai_status code = hai_model_load(path.c_str(), &handle);
    if (code != HAI_OK) return last_error(code);
    return Model(handle);
  }
  // The memory stays the caller's and must outlive the model.
  static Result<Model> load(const void* bytes, size_t size_bytes) {
    hai_model* handle = nullptr;
    const hai_status code = hai_model_load_memory(bytes, size_bytes, &handle);
    if (code != HAI_OK) return last_error(code);
    return Model(handle);
  }

  Result<Session> session(const SessionOptions& options = SessionOptions()) const {
    hai_session_options raw = HAI_SESSION_OPTIONS_INIT;
    raw.device = options.device.empty() ? nullptr : options.device.c_str();
    raw.isa = options.isa.empty() ? nullptr : options.isa.c_str();
    raw.threads = options.threads;
    raw.max_batch = options.max_batch;
    raw.profile = options.profile ? 1 : 0;
    raw.trace_events = options.trace_events;
    std::string inject;
    for (const std::string& fault : options.inject) inject += (inject.empty() ? "" : ";") + fault;
    raw.inject = options.inject.empty() ? nullptr : inject.c_str();
    hai_session* handle = nullptr;
    const hai_status code = hai_session_create(handle_.get(), &raw, &handle);
    if (code != HAI_OK) return last_error(code);
    return Session(handle);
  }

  Status verify() const { return to_status(hai_model_verify(handle_.get())); }
  std::string name() const { return hai_model_name(handle_.get()); }
  size_t input_count() const { return hai_model_input_count(handle_.get()); }
  size_t output_count() const { return hai_model_output_count(handle_.get()); }
  // Precondition: index in range.
  const hai_tensor_info& input(size_t index) const { return *hai_model_input(handle_.get(), index); }
  const hai_tensor_info& output(size_t index) const { return *hai_model_output(handle_.get(), index); }
  const hai_preprocessing* preprocessing() const { return hai_model_preprocessing(handle_.get()); }
  // Null when absent.
  const char* metadata(const std::string& key) const { return hai_model_metadata_value(handle_.get(), key.c_str()); }

  // A zero tensor for input `index` at this batch.
  Result<Tensor> make_input(size_t index, int64_t batch = 1) const {
    std::array<int64_t, HAI_MAX_RANK> dims{};
    int32_t rank = 0;
    const hai_status code = hai_model_input_dims(handle_.get(), index, batch, dims.data(), &rank);
    if (code != HAI_OK) return last_error(code);
    return Tensor(input(index).dtype, std::vector<int64_t>(dims.begin(), dims.begin() + rank));
  }
  hai_model* handle() const { return handle_.get(); }

 private:
  struct Release {
    void operator()(hai_model* handle) const { hai_model_release(handle); }
  };
  explicit Model(hai_model* handle) : handle_(handle) {}
  std::unique_ptr<hai_model, Release> handle_;
};

}  // namespace hai::api
