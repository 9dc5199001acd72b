#include "options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
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
constexpr std::int64_t kMaxInputBytes = std::numeric_limits<std::int32_t>::max();  // of each: 2 GB
constexpr std::size_t kMaxInputs = 256;  // a choice
constexpr std::size_t kMaxRank = 16;  // a choice
constexpr std::size_t kMaxZones = 256;  // a choice
constexpr const char* kScalar = "scalar";

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

// "3:100,7:1000": zones 3 and 7, where a unit is 100 and 1000 thousandths of a degree.
std::vector<ThermalZone> parse_zones(const std::string& text) {
  constexpr std::size_t kMostDigits = 4;
  const auto number = [&](const std::string& part) {
    if (part.empty() || part.size() > kMostDigits || part.find_first_not_of("0123456789") != std::string::npos) {
      throw Failure(Status::usage, "--zones takes at most " + std::to_string(kMaxZones) +
                                       " thermal zones, each with the thousandths of a degree that its unit is, such "
                                       "as 0:1000,3:100, not '" + text + "'");
    }
    return std::stoi(part);
  };
  std::vector<ThermalZone> zones;
  std::istringstream parts(text + ',');
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t colon = std::min(part.find(':'), part.size());
    zones.push_back({number(part.substr(0, colon)), number(part.substr(std::min(colon + 1, part.size())))});
    if (zones.back().millicelsius == 0 || zones.size() > kMaxZones) number("");
  }
  return zones;
}

ElementType parse_type(const std::string& text) {
  if (const auto type = type_named(text)) return *type;
  std::string all;
  for (const auto& name : type_names()) all += (all.empty() ? "" : ", ") + name;
  throw Failure(Status::usage, "--type takes one of " + all + ", not '" + text + "'");
}

// "1,3,224,224" as sizes; a tensor of which one is 0 has no elements.
Shape parse_shape(const std::string& text, ElementType type) {
  Shape shape;
  if (text == kScalar) return shape;
  const std::int64_t most = kMaxInputBytes / static_cast<std::int64_t>(element_bytes(type));
  std::int64_t elements = 1;
  std::istringstream parts(text + ",");
  for (std::string part; std::getline(parts, part, ',');) {
    const bool number = !part.empty() && part.size() <= 10 &&
                        part.find_first_not_of("0123456789") == std::string::npos;
    const std::int64_t size = number ? std::stoll(part) : -1;
    if (size < 0 || size > most / elements || shape.size() == kMaxRank) {
      throw Failure(Status::usage, "--shape takes at most " + std::to_string(kMaxRank) +
                                       " sizes from 0 on, such as 1,3,224,224, in all at most " +
                                       std::to_string(most) + " elements of " + type_name(type) + ", or " + kScalar +
                                       ", not '" + text + "'");
    }
    if (size > 0) elements *= size;  // the others' product is in bounds even so
    shape.push_back(size);
  }
  return shape;
}

// Each --input with its own --type and --shape; without any --type, all are of float32.
std::vector<Input> parse_inputs(const std::vector<std::string>& paths, const std::vector<std::string>& types,
                                const std::vector<std::string>& shapes) {
  const bool typed = !types.empty();
  if (shapes.size() != paths.size() || (typed && types.size() != paths.size()) || paths.size() > kMaxInputs) {
    throw Failure(Status::usage, "each --input needs its --shape and, unless all are of float32, its --type, and at most " +
                                     std::to_string(kMaxInputs) + " are taken; there are " +
                                     std::to_string(paths.size()) + " --input, " + std::to_string(shapes.size()) +
                                     " --shape, " + std::to_string(types.size()) + " --type");
  }
  std::vector<Input> inputs;
  for (std::size_t index = 0; index < paths.size(); ++index) {
    const ElementType type = typed ? parse_type(types[index]) : ElementType::float32;
    inputs.push_back({paths[index], type, parse_shape(shapes[index], type)});
  }
  return inputs;
}

}  // namespace

std::optional<Options> parse_options(int argc, const char* const* argv, std::ostream& help) {
  Options options;
  std::vector<std::string> inputs, types, shapes;
  std::string mask, zones;
  CLI::App app{"Times passes of a network; speaks JSON lines on stdout (see PROTOCOL.md)."};

  app.add_option("--model", options.models, "model file; given once per file that the runtime needs")
      ->required()
      ->allow_extra_args(false);
  app.add_option("--input", inputs, "input tensor: raw little-endian values, C order; once per input of the model")
      ->required()
      ->allow_extra_args(false);
  app.add_option("--type", types, "what its elements are, such as int64; all are float32 if it is never given")
      ->allow_extra_args(false);
  app.add_option("--shape", shapes, "its shape, such as 1,3,224,224, or scalar; once per --input")
      ->required()
      ->allow_extra_args(false);
  app.add_option("--output", options.output, "where the output tensors are written, one after the other, in that form")
      ->required();
  app.add_option("--provider", options.provider, "the runtime's execution provider: cpu, xnnpack or nnapi")
      ->check(CLI::IsMember(kProviders));
  app.add_option("--threads", options.threads, "threads of the runtime, ours included")
      ->check(CLI::Range(1, kMaxThreads));
  app.add_option("--cpus", mask, "CPUs to run on, as a mask such as 0x3; default: as the kernel likes");
  app.add_option("--zones", zones, "thermal zones to read, each with its unit in thousandths of a degree: 0:1000,3:100");
  app.add_option("--warmup", options.warmup, "passes before the timed ones")->check(CLI::Range(0, kMaxPasses));
  app.add_option("--more-warmup", options.more_warmup, "at most so many more, until their times have settled")
      ->check(CLI::Range(0, kMaxPasses));
  app.add_option("--passes", options.passes, "timed passes")->check(CLI::Range(1, kMaxPasses));
  app.add_option("--settle-ms", options.settle_ms, "sleep before each pass, outside the clock")
      ->check(CLI::Range(0, kMaxSettleMs));
  app.add_flag("--repeatable", options.repeatable, "on a clock that counts instructions: nothing that differs from run to run");
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
  if (!zones.empty()) options.zones = parse_zones(zones);
  options.inputs = parse_inputs(inputs, types, shapes);
  return options;
}

}  // namespace tenpass
