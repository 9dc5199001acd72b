#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "events.hpp"
#include "fakes.hpp"
#include "run.hpp"
#include "temporary_folder.hpp"

namespace tenpass::test {
namespace {

using Json = nlohmann::json;

// One call of the whole program with a fake engine and a fake system, on real files.
struct Program {
  TemporaryFolder folder;
  Log log = new_log();
  FakeSystem system{log};
  LoggedOutput out{log};
  std::function<void(FakeEngine&)> prepare;
  MakeEngine make_engine = [this] {
    log.push_back("make_engine");
    auto engine = std::make_unique<FakeEngine>(log);
    if (prepare) prepare(*engine);
    return engine;
  };
  std::string model = folder.with_text("model", "any");
  std::string input = folder.with_floats("input", {1, 2, 3, 4, 5, 6});
  std::string output = folder.path("output");
  std::vector<Json> events;

  int run_with(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words{"runner", "--model", model, "--input", input,
                                   "--shape", "1,6", "--output", output};
    words.insert(words.end(), more.begin(), more.end());
    std::vector<const char*> argv;
    for (const auto& word : words) argv.push_back(word.c_str());
    const int status = run(static_cast<int>(argv.size()), argv.data(), make_engine, system, out);
    std::istringstream lines(out.text());
    for (std::string line; std::getline(lines, line);) events.push_back(Json::parse(line));
    return status;
  }

  std::vector<std::string> event_names() const {
    std::vector<std::string> names;
    for (const auto& event : events) names.push_back(event["event"]);
    return names;
  }

  // One error, of that status, at the end, and the protocol's exit status for it.
  void check_failed(int exit_status, const std::string& status, int expected_exit) const {
    CHECK(exit_status == expected_exit);
    const auto names = event_names();
    REQUIRE_FALSE(names.empty());
    CHECK(names.back() == "error");
    CHECK(std::count(names.begin(), names.end(), "error") == 1);
    CHECK(std::count(names.begin(), names.end(), "end") == 0);
    CHECK(events.back()["status"] == status);
    CHECK_FALSE(events.back()["message"].get<std::string>().empty());
    CHECK(events.back().size() == 3);
  }
};

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE_FIXTURE(Program, "a good run tells its story in order") {
  CHECK(run_with({"--warmup", "2", "--passes", "3"}) == 0);
  CHECK(event_names() == Names{"hello", "loaded", "pass", "pass", "pass", "pass", "pass", "output", "end"});
  CHECK(events[0]["wire"] == 6);
  CHECK(events[0]["pid"] == getpid());
  CHECK(events[0]["runtime"] == "fake");
  CHECK(events[0]["runtime_version"] == "1.2.3");
  CHECK(events[0]["providers"] == Json{"FakeProvider"});
  CHECK(events[0]["machine"] == "armv7l");
  CHECK(events[0]["cpu_features"] == Json{"neon"});
  CHECK(events[0]["counters_error"].is_null());
  CHECK(events[1]["load_ns"] == 1014);
  CHECK(out.text().find(R"({"event":"output","tensors":[{"type":"float32","shape":[1,6]}],"bytes":24})") !=
        std::string::npos);
  CHECK(events[8] == Json{{"event", "end"}, {"warmup", 2}, {"settled", nullptr}, {"passes", 3}, {"peak_rss_bytes", 4096}, {"cpu_mask", 15}});
}

TEST_CASE_FIXTURE(Program, "warm-ups are kept apart from timed passes, each counted from 0") {
  CHECK(run_with({"--warmup", "2", "--passes", "3"}) == 0);
  Names told;
  for (const auto& event : events) {
    if (event["event"] == "pass") told.push_back(event["phase"].get<std::string>() + event["index"].dump());
  }
  CHECK(told == Names{"warmup0", "warmup1", "timed0", "timed1", "timed2"});
  CHECK(std::count(log.begin(), log.end(), "run") == 5);
}

TEST_CASE_FIXTURE(Program, "each event has left before the work goes on") {
  CHECK(run_with({"--warmup", "0", "--passes", "1"}) == 0);
  CHECK(log == Log{"make_engine", "event", "now", "load", "now", "event", "set_inputs", "begin", "prepare",
                   "wait", "cpu_ns", "start", "now", "run", "now", "stop", "cpu_ns", "wait", "cpu", "khz", "celsius", "counts", "event", "end", "mask",
                   "event", "event"});
}

TEST_CASE_FIXTURE(Program, "passes to warm up go on until they have settled, and the end says whether they did") {
  CHECK(run_with({"--warmup", "0", "--more-warmup", "2", "--passes", "1"}) == 0);
  CHECK(event_names() == Names{"hello", "loaded", "pass", "pass", "pass", "output", "end"});
  CHECK(events.back()["warmup"] == 2);
  CHECK(events.back()["settled"] == false);  // this clock runs faster and faster
}

TEST_CASE_FIXTURE(Program, "to be repeatable is said before the runtime is made, and passes are told of once all are over") {
  CHECK(run_with({"--warmup", "1", "--passes", "2", "--repeatable"}) == 0);
  REQUIRE(log.size() > 2);
  CHECK(log[0] == "repeatable");
  CHECK(log[1] == "make_engine");
  const auto end = std::find(log.begin(), log.end(), "end");
  CHECK(std::count(log.begin(), end, "event") == 2);  // hello and loaded
  CHECK(event_names() == Names{"hello", "loaded", "pass", "pass", "pass", "output", "end"});
}

TEST_CASE_FIXTURE(Program, "passes that were held back are told of before a failure is") {
  prepare = [](FakeEngine& engine) { engine.fail_in_run = 3; };
  run_with({"--warmup", "1", "--passes", "2", "--repeatable"});
  CHECK(event_names() == Names{"hello", "loaded", "pass", "pass", "error"});
}

TEST_CASE_FIXTURE(Program, "the output file holds the output tensor") {
  CHECK(run_with() == 0);
  std::ifstream file(output, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  REQUIRE(bytes.size() == 24);
  CHECK(reinterpret_cast<const float*>(bytes.data())[5] == 6.0F);
}

TEST_CASE_FIXTURE(Program, "several tensors go in and come out in their order, each as it is") {
  const std::string flag = folder.with_text("flag", std::string(1, '\1'));
  const std::string ids = folder.with_values<std::int64_t>("ids", {7, -8});
  std::vector<Tensor> taken;
  FakeEngine* made = nullptr;
  prepare = [&](FakeEngine& engine) { made = &engine; };
  out.on_line = [&] { taken = made->tensors; };
  CHECK(run_with({"--type", "float32", "--input", flag, "--type", "bool", "--shape", "scalar", "--input", ids, "--type",
                  "int64", "--shape", "2,1"}) == 0);
  REQUIRE(taken.size() == 3);
  CHECK(taken[1].type == ElementType::boolean);
  CHECK(taken[1].shape.empty());
  CHECK(taken[2].type == ElementType::int64);
  CHECK(taken[2].shape == Shape{2, 1});
  CHECK(out.text().find(R"("tensors":[{"type":"float32","shape":[1,6]},{"type":"bool","shape":[]},)"
                        R"({"type":"int64","shape":[2,1]}],"bytes":41})") != std::string::npos);
  std::ifstream file(output, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  REQUIRE(bytes.size() == 24 + 1 + 16);
  CHECK(bytes[24] == 1);
  std::int64_t last = 0;
  std::memcpy(&last, bytes.data() + 33, 8);
  CHECK(last == -8);
}

TEST_CASE_FIXTURE(Program, "more outputs than the wire takes have failed to run") {
  prepare = [](FakeEngine& engine) { engine.more_outputs.resize(kMaxOutputs); };
  check_failed(run_with(), "run_failed", 13);
  CHECK(events.back()["message"].get<std::string>().find("257 outputs") != std::string::npos);
}

TEST_CASE_FIXTURE(Program, "an output of more dimensions than the wire takes has failed to run") {
  prepare = [](FakeEngine& engine) {
    engine.more_outputs = {{ElementType::int8, Shape(kMaxOutputRank + 1, 1), {'x'}}};
  };
  check_failed(run_with(), "run_failed", 13);
  CHECK(events.back()["message"].get<std::string>().find("17 dimensions") != std::string::npos);
}

TEST_CASE_FIXTURE(Program, "the engine gets the provider, the CPU's where none is named") {
  std::string provider;
  prepare = [&](FakeEngine& engine) { engine.on_load = [&] { provider = engine.used_provider; }; };
  CHECK(run_with() == 0);
  CHECK(provider == "cpu");
  CHECK(run_with({"--provider", "nnapi"}) == 0);
  CHECK(provider == "nnapi");
}

TEST_CASE_FIXTURE(Program, "a provider that the engine lacks is a failure of its own") {
  prepare = [](FakeEngine& engine) { engine.on_load = [] { require_cpu("xnnpack", "the fake"); }; };
  check_failed(run_with(), "no_provider", 17);
  CHECK(events.back()["message"] == "the fake has no execution provider xnnpack, only the CPU");
}

TEST_CASE_FIXTURE(Program, "an engine of one float32 input takes none of another type") {
  prepare = [](FakeEngine& engine) {
    engine.on_set_inputs = [] { the_one_float32({{ElementType::int8, {1}, {'x'}}}, "the fake"); };
  };
  check_failed(run_with(), "bad_input", 12);
  CHECK(events.back()["message"] == "the fake takes an input of float32, not of int8");
}

TEST_CASE_FIXTURE(Program, "an engine of one float32 input takes no second") {
  prepare = [](FakeEngine& engine) {
    engine.on_set_inputs = [] { the_one_float32(std::vector<Tensor>(2), "the fake"); };
  };
  check_failed(run_with(), "bad_input", 12);
  CHECK(events.back()["message"] == "the fake takes one --input, not 2");
}

TEST_CASE_FIXTURE(Program, "the engine gets all model files and the threads") {
  const std::string second = folder.with_text("second", "any");
  std::vector<std::string> files;
  int threads = 0;
  std::unique_ptr<FakeEngine> made;
  prepare = [&](FakeEngine& engine) {
    engine.on_load = [&] {
      files = engine.model_files;
      threads = engine.used_threads;
    };
  };
  CHECK(run_with({"--model", second, "--threads", "3"}) == 0);
  CHECK(files == Names{model, second});
  CHECK(threads == 3);
}

TEST_CASE_FIXTURE(Program, "the process is pinned, and its deadline set, before the runtime can make threads") {
  CHECK(run_with({"--cpus", "0x5", "--deadline-seconds", "9"}) == 0);
  CHECK(log[0] == "pin");
  CHECK(log[1] == "make_engine");
  CHECK(system.pinned_to == 5);
  CHECK(system.deadline_seconds == 9);
}

TEST_CASE_FIXTURE(Program, "the end tells where the process was let run") {
  CHECK(run_with({"--cpus", "0x5"}) == 0);
  CHECK(events.back()["cpu_mask"] == 5);
}

TEST_CASE_FIXTURE(Program, "counters are opened before the runtime can make threads, where they are asked for") {
  CHECK(run_with({"--counters"}) == 0);
  CHECK(log[0] == "open_counters");
  CHECK(log[1] == "make_engine");
  log.clear();
  CHECK(run_with() == 0);
  CHECK(std::count(log.begin(), log.end(), "open_counters") == 0);
}

TEST_CASE_FIXTURE(Program, "counters that cannot be opened are no failure: hello says why") {
  system.counters_error = "not allowed";
  CHECK(run_with({"--counters"}) == 0);
  CHECK(events[0]["counters_error"] == "not allowed");
  CHECK(events[2]["counters"].is_null());
}

TEST_CASE_FIXTURE(Program, "a profile follows the output: its passes whole, then each node in order") {
  CHECK(run_with({"--passes", "1", "--profile-passes", "3"}) == 0);
  CHECK(event_names() == Names{"hello", "loaded", "pass", "pass", "output", "profile", "node", "node", "end"});
  CHECK(events[5]["passes"] == 3);
  CHECK(events[5]["total_ns"].get<int>() > 0);
  CHECK(events[5]["nodes"] == 2);
  CHECK(events[5]["spans"] == 0);
  CHECK(events[6] == Json{{"event", "node"}, {"index", 0}, {"name", "conv1"}, {"op", "Conv"}, {"total_ns", 170},
                          {"provider", "FakeProvider"}});
  CHECK(events[7] == Json{{"event", "node"}, {"index", 1}, {"name", "fc"}, {"op", "Gemm"}, {"total_ns", 80},
                          {"provider", nullptr}});
}

TEST_CASE_FIXTURE(Program, "where a run is repeatable, the spans of the nodes follow them, 1000 in an event") {
  prepare = [](FakeEngine& engine) {
    engine.nodes[0].spans.assign(999, {1, 3, 5});
    engine.nodes[1].spans.assign(1500, {2, 7, 8});
  };
  CHECK(run_with({"--passes", "1", "--profile-passes", "3", "--repeatable"}) == 0);
  CHECK(event_names() == Names{"hello", "loaded", "pass", "pass", "output", "profile", "node", "node", "spans", "spans", "spans", "end"});
  CHECK(events[5]["spans"] == 3);
  std::vector<std::size_t> sizes;
  for (std::size_t at = 8; at < 11; ++at) {
    CHECK(events[at]["index"] == at - 8);
    sizes.push_back(events[at]["spans"].size());
  }
  CHECK(sizes == std::vector<std::size_t>{1000, 1000, 499});
  CHECK(events[8]["spans"][998] == Json{0, 1, 3, 5});
  CHECK(events[8]["spans"][999] == Json{1, 2, 7, 8});
}

TEST_CASE_FIXTURE(Program, "a profile comes after all that the timed passes leave, in the output's folder") {
  int passes = 0;
  std::string where;
  FakeEngine* made = nullptr;
  make_engine = [&] {
    auto engine = std::make_unique<FakeEngine>(log);
    made = engine.get();
    return engine;
  };
  out.on_line = [&] {  // the engine is gone when the program has ended
    passes = made->profiled_passes;
    where = made->profile_folder;
  };
  CHECK(run_with({"--profile-passes", "2"}) == 0);
  CHECK(passes == 2);
  CHECK(where + "/output" == output);
  const auto at = [&](const char* what) { return std::find(log.begin(), log.end(), what) - log.begin(); };
  CHECK(at("mask") < at("profile"));
  CHECK(std::count(log.begin(), log.begin() + at("profile"), "run") == 11);
}

TEST_CASE_FIXTURE(Program, "a profile that fails has failed to run") {
  prepare = [](FakeEngine& engine) { engine.fail_in_profile = true; };
  check_failed(run_with({"--profile-passes", "1"}), "run_failed", 13);
  CHECK(events.back()["message"] == "the nodes could not be timed: no profile");
}

TEST_CASE_FIXTURE(Program, "a profile of more nodes than the wire takes has failed to run") {
  prepare = [](FakeEngine& engine) { engine.nodes.resize(kMaxNodes + 1); };
  check_failed(run_with({"--profile-passes", "1"}), "run_failed", 13);
  CHECK(events.back()["message"].get<std::string>().find("65537 nodes") != std::string::npos);
}

TEST_CASE_FIXTURE(Program, "without a mask and a deadline neither is set") {
  CHECK(run_with() == 0);
  CHECK_FALSE(system.pinned_to);
  CHECK(system.deadline_seconds == 0);
}

TEST_CASE_FIXTURE(Program, "an unknown option is a usage error, before anything else happens") {
  check_failed(run_with({"--fast"}), "usage", 2);
  CHECK(event_names() == Names{"error"});
  CHECK(log == Log{"event"});
}

TEST_CASE_FIXTURE(Program, "a refused mask ends the run before the runtime is loaded") {
  system.refuse_mask = true;
  check_failed(run_with({"--cpus", "0x8"}), "affinity", 15);
  CHECK(log == Log{"pin", "event"});
}

TEST_CASE_FIXTURE(Program, "a runtime that cannot be loaded is missing") {
  make_engine = []() -> std::unique_ptr<Engine> { throw std::runtime_error("libfake.so: not found"); };
  check_failed(run_with(), "runtime_missing", 16);
}

TEST_CASE_FIXTURE(Program, "a missing model or input is unreadable and named") {
  model = folder.path("none.onnx");
  check_failed(run_with(), "unreadable", 10);
  CHECK(events.back()["message"].get<std::string>().find("none.onnx") != std::string::npos);
  CHECK(event_names() == Names{"hello", "error"});
}

TEST_CASE_FIXTURE(Program, "an input of the wrong size is bad input, known before the model is loaded") {
  input = folder.with_floats("short", {1, 2, 3});
  check_failed(run_with(), "bad_input", 12);
  CHECK(event_names() == Names{"hello", "error"});
}

TEST_CASE_FIXTURE(Program, "an output that cannot be written is known before the model is loaded") {
  output = folder.path("no/such/folder");
  check_failed(run_with(), "unwritable", 14);
  CHECK(event_names() == Names{"hello", "error"});
}

TEST_CASE_FIXTURE(Program, "an output that does not fit ends the run without an output event") {
  output = "/dev/full";
  check_failed(run_with({"--passes", "1"}), "unwritable", 14);
  CHECK(event_names() == Names{"hello", "loaded", "pass", "pass", "error"});
}

TEST_CASE_FIXTURE(Program, "a model that the engine refuses is a bad model, named in the message") {
  prepare = [](FakeEngine& engine) { engine.on_load = [] { throw std::runtime_error("not protobuf"); }; };
  check_failed(run_with(), "bad_model", 11);
  CHECK(events.back()["message"] == "cannot load '" + model + "': not protobuf");
}

TEST_CASE_FIXTURE(Program, "an engine may say itself which failure it is") {
  prepare = [](FakeEngine& engine) {
    engine.on_load = [] { throw Failure(Status::usage, "one --model, not 2"); };
  };
  check_failed(run_with(), "usage", 2);
  CHECK(events.back()["message"] == "one --model, not 2");
}

TEST_CASE_FIXTURE(Program, "a shape that does not fit the model is bad input") {
  prepare = [](FakeEngine& engine) { engine.on_set_inputs = [] { throw std::runtime_error("rank 4"); }; };
  check_failed(run_with(), "bad_input", 12);
  CHECK(event_names() == Names{"hello", "loaded", "error"});
}

TEST_CASE_FIXTURE(Program, "an engine that fails in a pass ends the run there") {
  prepare = [](FakeEngine& engine) { engine.fail_in_run = 3; };
  check_failed(run_with(), "run_failed", 13);
  CHECK(event_names() == Names{"hello", "loaded", "pass", "pass", "error"});
  CHECK(events.back()["message"] == "the network failed: no more\nmemory");
}

TEST_CASE_FIXTURE(Program, "a long message, and bytes that are no text, still make one line of the wire") {
  prepare = [](FakeEngine& engine) {
    engine.on_load = [] { throw std::runtime_error("\xff\xfe" + std::string(100'000, 'x')); };
  };
  check_failed(run_with(), "bad_model", 11);
  CHECK(events.back()["message"].get<std::string>().size() < 3000);
}

TEST_CASE_FIXTURE(Program, "a stdout that takes nothing more ends the run") {
  out.setstate(std::ios::badbit);
  CHECK(run_with() == 14);
  CHECK(std::count(log.begin(), log.end(), "run") == 0);
}

TEST_CASE_FIXTURE(Program, "help is printed and is no failure") {
  std::ostringstream help;
  const char* argv[]{"runner", "--help"};
  CHECK(run(2, argv, make_engine, system, help) == 0);
  CHECK(help.str().find("--deadline-seconds") != std::string::npos);
  CHECK(log.empty());
}

}  // namespace tenpass::test
