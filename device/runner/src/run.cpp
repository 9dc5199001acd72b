#include "run.hpp"

#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <utility>

#include "events.hpp"
#include "failure.hpp"
#include "files.hpp"
#include "options.hpp"
#include "timed_loop.hpp"

namespace tenpass {
namespace {

// Does `work`; whatever it throws that is not a Failure yet becomes one of this status.
template <typename Work>
auto phase(Status status, const std::string& what, Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const Failure&) {
    throw;
  } catch (const std::exception& error) {
    throw Failure(status, what + ": " + error.what());
  }
}

Profile profile(const Options& options, Engine& engine, System& system) {
  const std::string folder = std::filesystem::path(options.output).parent_path().string();
  auto profile = phase(Status::run_failed, "the nodes could not be timed", [&] {
    return engine.profile(options.profile_passes, system, folder.empty() ? "." : folder);
  });
  if (profile.nodes.size() > kMaxNodes) {
    throw Failure(Status::run_failed, "the network has " + std::to_string(profile.nodes.size()) +
                                          " nodes; the time of at most " + std::to_string(kMaxNodes) +
                                          " can be told");
  }
  return profile;
}

std::vector<Tensor> read_inputs(const std::vector<Input>& inputs) {
  std::vector<Tensor> tensors;
  for (const auto& input : inputs) tensors.push_back(read_tensor(input.path, input.type, input.shape));
  return tensors;
}

// Throws Failure(run_failed) for more than the wire can tell of.
void require_tellable(const std::vector<OutputView>& outputs) {
  for (const auto& output : outputs) {
    if (outputs.size() > kMaxOutputs || output.shape.size() > kMaxOutputRank) {
      throw Failure(Status::run_failed, "the network has " + std::to_string(outputs.size()) + " outputs, one of " +
                                            std::to_string(output.shape.size()) + " dimensions; at most " +
                                            std::to_string(kMaxOutputs) + " of at most " +
                                            std::to_string(kMaxOutputRank) + " are taken");
    }
  }
}

void measure(const Options& options, const MakeEngine& make_engine, System& system, Events& events) {
  if (options.deadline_seconds > 0) system.end_after(options.deadline_seconds);
  // All before the runtime gets memory and makes its threads.
  if (options.repeatable) system.be_repeatable();
  if (options.cpu_mask) system.pin_to(*options.cpu_mask);
  system.watch_zones(options.zones);
  const auto counters_error = options.counters ? system.open_counters() : std::nullopt;

  const auto engine = phase(Status::runtime_missing, "cannot start the runtime", make_engine);
  events.hello(*engine, {system.machine(), system.cpu_features(), counters_error});

  for (const auto& model : options.models) require_readable(model);
  const auto inputs =
      phase(Status::bad_input, "cannot hold the inputs", [&] { return read_inputs(options.inputs); });
  OutputFile output_file(options.output);

  const std::int64_t start_ns = system.now_ns();
  phase(Status::bad_model, "cannot load '" + options.models.front() + "'",
        [&] { engine->load(options.models, options.threads, options.provider); });
  const std::int64_t load_ns = system.now_ns() - start_ns;
  events.loaded(load_ns);

  phase(Status::bad_input, "cannot set the inputs", [&] { engine->set_inputs(inputs); });
  WarmUp warmed_up{};
  const auto outputs = phase(Status::run_failed, "the network failed", [&] {
    if (options.repeatable) events.hold_passes();
    system.begin_passes();
    warmed_up = warm_up(options.warmup, options.more_warmup, options.settle_ms, *engine, system, events);
    timed_loop("timed", options.passes, options.settle_ms, *engine, system, events);
    system.end_passes();
    return engine->outputs();
  });
  require_tellable(outputs);

  const std::uint64_t cpu_mask = system.cpu_mask();
  const std::int64_t peak_rss_bytes = system.peak_rss_bytes();
  output_file.write(outputs);
  events.output(outputs);
  if (options.profile_passes > 0) {
    events.profile(options.profile_passes, profile(options, *engine, system), options.repeatable);
  }
  events.end(warmed_up.passes, warmed_up.settled, options.passes, peak_rss_bytes, cpu_mask);
}

}  // namespace

int run(int argc, const char* const* argv, const MakeEngine& make_engine, System& system, std::ostream& out) {
  Events events(out);
  try {
    phase(Status::run_failed, "the runner failed", [&] {
      if (const auto options = parse_options(argc, argv, out)) measure(*options, make_engine, system, events);
    });
    return 0;
  } catch (const Failure& failure) {
    if (!out) std::cerr << "error: " << failure.what() << '\n';  // there is no other way left
    events.error(failure);
    return failure.exit_status();
  }
}

}  // namespace tenpass
