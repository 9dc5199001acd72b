#include "options.hpp"

#include <CLI/CLI.hpp>
#include <limits>
#include <sstream>
#include <string>

#include "failure.hpp"

namespace tenpass {
namespace {

constexpr int kMaxThreads = 256;
constexpr int kMaxPasses = 1'000'000;
constexpr int kMaxSettleMs = 60'000;
constexpr int kMaxProfilePasses = 100;  // a choice: runtimes keep all events of all passes in memory
constexpr int kMaxDeadlineSeconds = 7 * 24 * 3600;
constexpr std::int64_t kMaxElements = std::numeric_limits<std::int32_t>::max() / 4;  // of float32: 2 GB

// "0x3" as a number. The 0x is asked for, so that nobody's 11 means CPUs 0 and 1 here and 0, 1 and 3 there.
std::uint64_t parse_mask(const std::string& text) {
  const bool prefixed = text.rfind("0x", 0) == 0 && text.size() > 2;
  if (!prefixed || text.size() > 2 + 16 ||
      text.find_first_not_of("0123456789abcdefABCDEF", 2) != std::string::npos) {
    throw Failure(Status::usage, "--cpus takes a mask such as 0x3 (CPUs 0 and 1), not '" + text + "'");
  }
  const std::uint64_t mask = std::stoull(text.substr(2), nullptr, 16);
  if (mask == 0) throw Failure(Status::usage, "--cpus " + text + " names no CPU");
  return mask;
}

// "1,3,224,224" as sizes.
Shape parse_shape(const std::string& text) {
  Shape shape;
  std::int64_t elements = 1;
  std::istringstream parts(text + ",");
  for (std::string part; std::getline(parts, part, ',');) {
    const bool number = !part.empty() && part.size() <= 10 &&
                        part.find_first_not_of("0123456789") == std::string::npos;
    const std::int64_t size = number ? std::stoll(part) : 0;
    if (size < 1 || size > kMaxElements / elements) {
      throw Failure(Status::usage, "--shape takes sizes such as 1,3,224,224, in all at most " +
                                       std::to_string(kMaxElements) + " elements, not '" + text + "'");
    }
    elements *= size;
    shape.push_back(size);
  }
  return shape;
}

}  // namespace

std::optional<Options> parse_options(int argc, const char* const* argv, std::ostream& help) {
  Options options;
  std::string shape;
  std::string mask;
  CLI::App app{"Times passes of a network; speaks JSON lines on stdout (see PROTOCOL.md)."};

  app.add_option("--model", options.models, "model file; given once per file that the runtime needs")
      ->required()
      ->allow_extra_args(false);
  app.add_option("--input", options.input, "input tensor: raw little-endian float32, C order")->required();
  app.add_option("--shape", shape, "shape of the input, such as 1,3,224,224")->required();
  app.add_option("--output", options.output, "where the output tensor is written, in the same form")->required();
  app.add_option("--threads", options.threads, "threads of the runtime, ours included")
      ->check(CLI::Range(1, kMaxThreads));
  app.add_option("--cpus", mask, "CPUs to run on, as a mask such as 0x3; default: as the kernel likes");
  app.add_option("--warmup", options.warmup, "passes before the timed ones")->check(CLI::Range(0, kMaxPasses));
  app.add_option("--passes", options.passes, "timed passes")->check(CLI::Range(1, kMaxPasses));
  app.add_option("--settle-ms", options.settle_ms, "sleep before each pass, outside the clock")
      ->check(CLI::Range(0, kMaxSettleMs));
  app.add_flag("--counters", options.counters, "count instructions, cycles and more around each pass");
  app.add_option("--profile-passes", options.profile_passes, "passes after the timed ones that time each node")
      ->check(CLI::Range(0, kMaxProfilePasses));
  app.add_option("--deadline-seconds", options.deadline_seconds, "end by SIGALRM after so many whole seconds")
      ->check(CLI::Range(1, kMaxDeadlineSeconds));

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    help << app.help();
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    throw Failure(Status::usage, error.what());
  }
  if (!mask.empty()) options.cpu_mask = parse_mask(mask);
  options.shape = parse_shape(shape);
  return options;
}

}  // namespace tenpass
