// Result<T>: a value or an Error; Status: success or an Error. Names follow std::expected (C++23), which gcc 12 lacks.
//
//   Result<Graph> parse(std::string_view text);
//   Status check(const Graph& graph) {
//     HAI_TRY(Graph other, parse(text));   // returns the error to the caller
//     HAI_TRY_STATUS(verify(other));
//     return {};
//   }
//
// HAI_CHECK(condition) aborts: for bugs of our own that no input can cause.
#pragma once

#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/error.h"

namespace hai {

[[noreturn]] void check_failed(const char* condition, const char* file, int line, const char* message);

template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit like std::expected
  Result(Error error)
      : state_(std::in_place_index<1>, std::move(error)) {
  }  // NOLINT: implicit so that `return make_error(...)` reads well

  bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  // Precondition: has_value(). Aborts otherwise: asking is the caller's duty.
  T& value() & { return require(), *std::get_if<0>(&state_); }
  const T& value() const& { return require(), *std::get_if<0>(&state_); }
  T&& value() && { return require(), std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  // Precondition: !has_value().
  const Error& error() const& { return *std::get_if<1>(&state_); }
  Error&& error() && { return std::move(*std::get_if<1>(&state_)); }

  template <typename U>
  T value_or(U&& fallback) const& {
    return has_value() ? value() : static_cast<T>(std::forward<U>(fallback));
  }

 private:
  void require() const {
    if (!has_value()) check_failed("Result::has_value()", __FILE__, __LINE__, error().message.c_str());
  }
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit, see above

  bool has_value() const noexcept { return !error_.has_value(); }
  explicit operator bool() const noexcept { return has_value(); }
  const Error& error() const& { return *error_; }
  Error&& error() && { return std::move(*error_); }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

#define HAI_CONCAT_INNER(a, b) a##b
#define HAI_CONCAT(a, b) HAI_CONCAT_INNER(a, b)

// HAI_TRY(auto x, f()): x = the value of f(), or return f()'s error from the enclosing function.
#define HAI_TRY(declaration, expression) HAI_TRY_NAMED(HAI_CONCAT(hai_try_, __LINE__), declaration, expression)
#define HAI_TRY_NAMED(name, declaration, expression)     \
  auto name = (expression);                              \
  if (!name.has_value()) return std::move(name).error(); \
  declaration = std::move(name).value()

// Same for a Status, or for a Result whose value does not matter.
#define HAI_TRY_STATUS(expression)                                                                     \
  do {                                                                                                 \
    if (auto hai_result = (expression); !hai_result.has_value()) return std::move(hai_result).error(); \
  } while (false)

#define HAI_CHECK(condition)                                                   \
  do {                                                                         \
    if (!(condition)) ::hai::check_failed(#condition, __FILE__, __LINE__, ""); \
  } while (false)

}  // namespace hai
