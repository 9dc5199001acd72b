#include "events.hpp"

#include <unistd.h>

#include <nlohmann/json.hpp>

namespace tenpass {
namespace {

using Json = nlohmann::ordered_json;  // fields in the order of PROTOCOL.md

constexpr int kWireVersion = 6;
constexpr std::int64_t kHold_ns = 250'000'000;
constexpr std::size_t kUsuallyHeld = 1000;
constexpr std::size_t kSpansInAnEvent = 1000;
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

template <typename Value>
Json or_null(const std::optional<Value>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json as_json(const Counts& counts) {
  Json values = Json::object();
  for (const auto& [name, value] : counts.values) values[name] = value;
  return {{"enabled_ns", counts.enabled_ns}, {"running_ns", counts.running_ns}, {"counts", values}};
}

Json as_json(const Pass& pass) {
  return {{"event", "pass"},
          {"phase", pass.phase},
          {"index", pass.index},
          {"ns", pass.ns},
          {"cpu_ns", or_null(pass.cpu_ns)},
          {"wait_ns", or_null(pass.wait_ns)},
          {"cpu", or_null(pass.cpu)},
          {"khz", or_null(pass.khz)},
          {"millicelsius", or_null(pass.millicelsius)},
          {"counters", pass.counts ? as_json(*pass.counts) : Json(nullptr)}};
}

}  // namespace

void Events::write(const Json& event) {
  write_passes();
  if (!(out_ << one_line(event) << std::flush)) throw Failure(Status::unwritable, "cannot write to stdout");
}

void Events::write_passes() {
  for (const auto& pass : held_) out_ << one_line(as_json(pass));
  if (!held_.empty() && !(out_ << std::flush)) throw Failure(Status::unwritable, "cannot write to stdout");
  held_.clear();
  held_ns_ = 0;
}

void Events::hello(const Engine& engine, const Machine& machine) {
  write(Json{{"event", "hello"},
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

void Events::loaded(std::int64_t load_ns) { write(Json{{"event", "loaded"}, {"load_ns", load_ns}}); }

void Events::hold_passes() {
  hold_ns_ = kHold_ns;
  held_.reserve(kUsuallyHeld);
}

void Events::pass(const Pass& pass) {
  held_.push_back(pass);
  held_ns_ += pass.ns;
  if (held_ns_ >= hold_ns_) write_passes();
}

void Events::output(const std::vector<OutputView>& outputs) {
  Json tensors = Json::array();
  std::size_t bytes = 0;
  for (const auto& output : outputs) {
    tensors.push_back({{"type", type_name(output.type)}, {"shape", output.shape}});
    bytes += output.bytes;
  }
  write(Json{{"event", "output"}, {"tensors", tensors}, {"bytes", bytes}});
}

void Events::profile(int passes, const Profile& profile, bool with_spans) {
  std::vector<Json> spans;
  for (std::size_t node = 0; with_spans && node < profile.nodes.size(); ++node) {
    for (const Span& span : profile.nodes[node].spans) {
      if (spans.empty() || spans.back().size() == kSpansInAnEvent) spans.push_back(Json::array());
      spans.back().push_back({node, span.pass, span.from, span.to});
    }
  }
  write(Json{{"event", "profile"},
                   {"passes", passes},
                   {"total_ns", profile.total_ns},
                   {"nodes", profile.nodes.size()},
                   {"spans", spans.size()}});
  std::size_t index = 0;
  for (const auto& node : profile.nodes) {
    write(Json{{"event", "node"},
                     {"index", index++},
                     {"name", shortened(node.name)},
                     {"op", shortened(node.op)},
                     {"total_ns", node.total_ns},
                     {"provider", node.provider ? Json(shortened(*node.provider)) : Json(nullptr)}});
  }
  for (std::size_t place = 0; place < spans.size(); ++place) {
    write(Json{{"event", "spans"}, {"index", place}, {"spans", spans[place]}});
  }
}

void Events::end(int warmup, std::optional<bool> settled, int passes, std::int64_t peak_rss_bytes, std::uint64_t cpu_mask) {
  write(Json{{"event", "end"},
                   {"warmup", warmup},
                   {"settled", or_null(settled)},
                   {"passes", passes},
                   {"peak_rss_bytes", peak_rss_bytes},
                   {"cpu_mask", cpu_mask}});
}

void Events::error(const Failure& failure) {
  const std::string message = shortened(failure.what());
  out_.clear();
  for (const auto& pass : held_) out_ << one_line(as_json(pass));
  out_ << one_line(Json{{"event", "error"}, {"status", status_name(failure.status())}, {"message", message}})
       << std::flush;
}

}  // namespace tenpass
