#include "events.hpp"

#include <unistd.h>

#include <nlohmann/json.hpp>

namespace tenpass {
namespace {

using Json = nlohmann::ordered_json;  // fields in the order of PROTOCOL.md

constexpr int kWireVersion = 1;
constexpr std::size_t kMaxMessageBytes = 2000;  // well within what the host takes in one line

#if defined(__arm__)
constexpr const char* kAbi = "armeabi-v7a";
#elif defined(__aarch64__)
constexpr const char* kAbi = "arm64-v8a";
#elif defined(__x86_64__)
constexpr const char* kAbi = "x86_64";
#else
#error "no name for this ABI"
#endif

// ASCII only, and no exception for a message or file name that is not UTF-8.
std::string one_line(const Json& event) {
  return event.dump(-1, ' ', true, Json::error_handler_t::replace) + '\n';
}

void write(std::ostream& out, const Json& event) {
  if (!(out << one_line(event) << std::flush)) {
    throw Failure(Status::unwritable, "cannot write to stdout");
  }
}

template <typename Value>
Json or_null(const std::optional<Value>& value) {
  return value ? Json(*value) : Json(nullptr);
}

}  // namespace

void Events::hello(const Engine& engine) {
  write(out_, Json{{"event", "hello"},
                   {"wire", kWireVersion},
                   {"runner", TENPASS_VERSION},
                   {"abi", kAbi},
                   {"pid", getpid()},
                   {"runtime", engine.name()},
                   {"runtime_version", engine.version()},
                   {"providers", engine.providers()}});
}

void Events::loaded(std::int64_t load_ns) { write(out_, Json{{"event", "loaded"}, {"load_ns", load_ns}}); }

void Events::pass(const Pass& pass) {
  write(out_, Json{{"event", "pass"},
                   {"phase", pass.phase},
                   {"index", pass.index},
                   {"ns", pass.ns},
                   {"cpu", or_null(pass.cpu)},
                   {"khz", or_null(pass.khz)}});
}

void Events::output(const OutputView& output) {
  write(out_, Json{{"event", "output"}, {"shape", output.shape}, {"bytes", output.bytes}});
}

void Events::end(int warmup, int passes, std::int64_t peak_rss_bytes) {
  write(out_, Json{{"event", "end"},
                   {"warmup", warmup},
                   {"passes", passes},
                   {"peak_rss_bytes", peak_rss_bytes}});
}

void Events::error(const Failure& failure) {
  const std::string message = std::string(failure.what()).substr(0, kMaxMessageBytes);
  out_.clear();
  out_ << one_line(Json{{"event", "error"}, {"status", status_name(failure.status())}, {"message", message}})
       << std::flush;
}

}  // namespace tenpass
