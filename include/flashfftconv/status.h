// How errors are reported: the library never throws across this boundary, prints or exits.
#pragma once

#include <optional>
#include <string>
#include <utility>

namespace ffc {

/// What kind of answer a call gave.
enum class StatusCode {
  ok,                ///< all is well
  invalid_argument,  ///< a size, stride, pointer or combination that no backend takes
  unsupported,       ///< well formed, but this build or machine cannot do it
  workspace,         ///< the workspace is missing, too small or misaligned
  internal,          ///< a failure of the machine: a launch that failed, a thread that could not start
};

/// Success, or what was wrong: the message names the argument, its value and what is allowed.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  /// Whether the call did what was asked.
  bool ok() const { return code_ == StatusCode::ok; }
  explicit operator bool() const { return ok(); }
  /// The kind of error, or ok.
  StatusCode code() const { return code_; }
  /// What was wrong, in words; empty if nothing was.
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::ok;
  std::string message_;
};

/// A value, or the status that explains its absence.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) {}

  explicit operator bool() const { return value_.has_value(); }
  /// Why there is no value; ok if there is one.
  const Status& status() const { return status_; }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace ffc
