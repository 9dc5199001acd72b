#include "events.hpp"

#include <unistd.h>

#include <nlohmann/json.hpp>

namespace tenpass {
namespace {

using Json = nlohmann::ordered_json;  // fields in the order of PROTOCOL.md

constexpr int kWireVersion = 4;
constexpr std::size_t kMaxTextBytes = 2000;  // well within what the host takes in one line

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

std::string shortened(const std::string& text) { return text.substr(0, kMaxTextBytes); }

void write(std::ostream& out, const Json& event) {
  if (!(out << one_line(event) << std::flush)) {
    throw Failure(Status::unwritable, "cannot write to stdout");
  }
}

template <typename Value>
Json or_null(const std::optional<Value>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json as_json(const Counts& counts) {
  Json values = Json::object();
  for (const auto& [name, value] : counts.values) values[name] = value;
  return {{"enabled_ns", counts.enabled_ns}, {"running_ns", counts.running_ns}, {"counts", values}};
}

}  // namespace

void Events::hello(const Engine& engine, const Machine& machine) {
  write(out_, Json{{"event", "hello"},
                   {"wire", kWireVersion},
                   {"runner", TENPASS_VERSION},
                   {"abi", kAbi},
                   {"pid", getpid()},
                   {"runtime", engine.name()},
                   {"runtime_version", engine.version()},
                   {"providers", engine.providers()},
                   {"machine", machine.name},
                   {"cpu_features", machine.cpu_features},
                   {"counters_error", or_null(machine.counters_error)}});
}

void Events::loaded(std::int64_t load_ns) { write(out_, Json{{"event", "loaded"}, {"load_ns", load_ns}}); }

void Events::pass(const Pass& pass) {
  write(out_, Json{{"event", "pass"},
                   {"phase", pass.phase},
                   {"index", pass.index},
                   {"ns", pass.ns},
                   {"cpu_ns", or_null(pass.cpu_ns)},
                   {"cpu", or_null(pass.cpu)},
                   {"khz", or_null(pass.khz)},
                   {"millicelsius", or_null(pass.millicelsius)},
                   {"counters", pass.counts ? as_json(*pass.counts) : Json(nullptr)}});
}

void Events::output(const std::vector<OutputView>& outputs) {
  Json tensors = Json::array();
  std::size_t bytes = 0;
  for (const auto& output : outputs) {
    tensors.push_back({{"type", type_name(output.type)}, {"shape", output.shape}});
    bytes += output.bytes;
  }
  write(out_, Json{{"event", "output"}, {"tensors", tensors}, {"bytes", bytes}});
}

void Events::profile(int passes, const Profile& profile) {
  write(out_, Json{{"event", "profile"},
                   {"passes", passes},
                   {"total_ns", profile.total_ns},
                   {"nodes", profile.nodes.size()}});
  std::size_t index = 0;
  for (const auto& node : profile.nodes) {
    write(out_, Json{{"event", "node"},
                     {"index", index++},
                     {"name", shortened(node.name)},
                     {"op", shortened(node.op)},
                     {"total_ns", node.total_ns},
                     {"provider", node.provider ? Json(shortened(*node.provider)) : Json(nullptr)}});
  }
}

void Events::end(int warmup, std::optional<bool> settled, int passes, std::int64_t peak_rss_bytes, std::uint64_t cpu_mask) {
  write(out_, Json{{"event", "end"},
                   {"warmup", warmup},
                   {"settled", or_null(settled)},
                   {"passes", passes},
                   {"peak_rss_bytes", peak_rss_bytes},
                   {"cpu_mask", cpu_mask}});
}

void Events::error(const Failure& failure) {
  const std::string message = shortened(failure.what());
  out_.clear();
  out_ << one_line(Json{{"event", "error"}, {"status", status_name(failure.status())}, {"message", message}})
       << std::flush;
}

}  // namespace tenpass
