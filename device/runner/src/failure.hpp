// What can end a run early, and the exit status of each (PROTOCOL.md, "Failure").
#pragma once

#include <stdexcept>
#include <string>

namespace tenpass {

enum class Status {
  usage = 2,
  unreadable = 10,
  bad_model = 11,
  bad_input = 12,
  run_failed = 13,
  unwritable = 14,
  affinity = 15,
  runtime_missing = 16,
  no_provider = 17,
};

inline const char* status_name(Status status) {
  switch (status) {
    case Status::usage: return "usage";
    case Status::unreadable: return "unreadable";
    case Status::bad_model: return "bad_model";
    case Status::bad_input: return "bad_input";
    case Status::run_failed: return "run_failed";
    case Status::unwritable: return "unwritable";
    case Status::affinity: return "affinity";
    case Status::runtime_missing: return "runtime_missing";
    case Status::no_provider: return "no_provider";
  }
  return "run_failed";
}

class Failure : public std::runtime_error {
 public:
  Failure(Status status, const std::string& message) : std::runtime_error(message), status_(status) {}

  Status status() const { return status_; }
  int exit_status() const { return static_cast<int>(status_); }

 private:
  Status status_;
};

}  // namespace tenpass
