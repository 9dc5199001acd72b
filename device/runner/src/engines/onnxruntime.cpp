// ONNX Runtime by its C API, from the libonnxruntime.so of the bundle.
//
// The library is opened at run time, so that one runner works with every release from kOldestApi on, and says
// itself that the library is missing. Spinning of the intra-op threads between operators is left as the
// library has it by default.
#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "engine.hpp"
#include "failure.hpp"
#include "files.hpp"

namespace tenpass {
namespace {

constexpr const char* kLibrary = "libonnxruntime.so";
constexpr const char* kOperators = "libtenpass_clc.so";  // our own, in the same folder
constexpr std::uint32_t kOldestApi = 14;  // has all that is called below

const OrtApiBase& open_library() {
  // Recent releases start a thread that uploads telemetry.
  setenv("ORT_DISABLE_TELEMETRY", "1", 1);
  // Never closed: its threads and static objects live as long as the process.
  void* const library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw Failure(Status::runtime_missing, dlerror());
  using GetApiBase = const OrtApiBase* (*)();
  const auto get_api_base = reinterpret_cast<GetApiBase>(dlsym(library, "OrtGetApiBase"));
  if (get_api_base == nullptr) throw Failure(Status::runtime_missing, dlerror());
  return *get_api_base();
}

// The newest API that both the headers and the library know.
const OrtApi* newest_api(const OrtApiBase& base) {
  for (std::uint32_t version = ORT_API_VERSION; version >= kOldestApi; --version) {
    if (const OrtApi* api = base.GetApi(version)) return api;
  }
  throw Failure(Status::runtime_missing,
                std::string(kLibrary) + " " + base.GetVersionString() + " is too old for this runner");
}

std::string as_text(const Shape& shape) {
  std::string text = "(";
  for (const auto size : shape) {
    if (text.size() > 1) text += ", ";
    text += size < 0 ? "any" : std::to_string(size);
  }
  return text + ")";
}

// A negative size in the model stands for any.
bool fits(const Shape& shape, const Shape& model_shape) {
  return std::equal(shape.begin(), shape.end(), model_shape.begin(), model_shape.end(),
                    [](std::int64_t size, std::int64_t wanted) { return wanted < 0 || size == wanted; });
}

void require_float_tensor(const Ort::TypeInfo& type, const char* what, const std::string& name) {
  if (type.GetONNXType() != ONNX_TYPE_TENSOR ||
      type.GetTensorTypeAndShapeInfo().GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {
    throw Failure(Status::bad_model,
                  std::string("the model's ") + what + " '" + name + "' is not a float32 tensor");
  }
}

// The times of the nodes from what ONNX Runtime's profiler has written: an array of events, a node's in the order in
// which nodes end and in whole microseconds, and after those of one pass an event "model_run". The first pass is left
// out: it gets the memory that the others reuse.
std::vector<NodeTime> node_times(const std::string& path, int passes) {
  std::ifstream file(path);
  const auto events = nlohmann::json::parse(file);
  constexpr std::string_view kSuffix = "_kernel_time";
  std::vector<NodeTime> nodes;
  std::map<std::pair<std::string, std::string>, std::size_t> positions;
  int runs = 0;
  for (const auto& event : events) {
    std::string name = event.at("name");
    if (name == "model_run") ++runs;
    if (runs == 0 || event.at("cat") != "Node" || name.size() < kSuffix.size() ||
        name.compare(name.size() - kSuffix.size(), kSuffix.size(), kSuffix) != 0) {
      continue;
    }
    name.resize(name.size() - kSuffix.size());
    const std::string op = event.at("args").at("op_name");
    if (op == "If" || op == "Loop" || op == "Scan") {
      throw Failure(Status::run_failed, "the network's node '" + name + "' (" + op +
                                            ") holds others: their times cannot be told apart");
    }
    const auto [position, is_new] = positions.try_emplace({name, event.at("args").at("node_index")}, nodes.size());
    if (is_new) nodes.push_back({name, op, 0});
    nodes[position->second].total_ns += event.at("dur").get<std::int64_t>() * 1000;
  }
  if (runs != passes + 1) {
    throw Failure(Status::run_failed, "the runtime's profiler kept " + std::to_string(runs) + " passes of " +
                                          std::to_string(passes + 1) + "; ask for fewer --profile-passes");
  }
  return nodes;
}

class OnnxRuntime final : public Engine {
 public:
  OnnxRuntime() : base_(open_library()) {
    Ort::InitApi(newest_api(base_));
    env_ = Ort::Env(ORT_LOGGING_LEVEL_WARNING, "tenpass");
  }

  std::string name() const override { return "onnxruntime"; }
  std::string version() const override { return base_.GetVersionString(); }
  std::vector<std::string> providers() const override { return Ort::GetAvailableProviders(); }

  void load(const std::vector<std::string>& model_files, int threads) override {
    if (model_files.size() != 1) {
      throw Failure(Status::usage,
                    "ONNX Runtime takes one --model, not " + std::to_string(model_files.size()));
    }
    model_file_ = model_files.front();
    threads_ = threads;
    session_ = Ort::Session(env_, model_file_.c_str(), session_options());

    if (session_.GetInputCount() != 1 || session_.GetOutputCount() != 1) {
      throw Failure(Status::bad_model, "the model has " + std::to_string(session_.GetInputCount()) +
                                           " inputs and " + std::to_string(session_.GetOutputCount()) +
                                           " outputs; one of each is supported");
    }
    Ort::AllocatorWithDefaultOptions allocator;
    input_name_ = session_.GetInputNameAllocated(0, allocator).get();
    output_name_ = session_.GetOutputNameAllocated(0, allocator).get();
    require_float_tensor(session_.GetInputTypeInfo(0), "input", input_name_);
    require_float_tensor(session_.GetOutputTypeInfo(0), "output", output_name_);
  }

  void set_input(const Shape& shape, const std::vector<float>& values) override {
    const auto type = session_.GetInputTypeInfo(0);
    const Shape model_shape = type.GetTensorTypeAndShapeInfo().GetShape();
    if (!fits(shape, model_shape)) {
      throw Failure(Status::bad_input,
                    "the model takes " + as_text(model_shape) + ", --shape says " + as_text(shape));
    }
    // In memory of the runtime's own, which is aligned as its kernels like it.
    Ort::AllocatorWithDefaultOptions allocator;
    input_ = Ort::Value::CreateTensor<float>(allocator, shape.data(), shape.size());
    std::copy(values.begin(), values.end(), input_.GetTensorMutableData<float>());
  }

  // The first run makes the output tensor, those that follow write into it.
  void run() override {
    const char* const input_name = input_name_.c_str();
    const char* const output_name = output_name_.c_str();
    session_.Run(run_options_, &input_name, &input_, 1, &output_name, &output_, 1);
  }

  OutputView output() override {
    const auto info = output_.GetTensorTypeAndShapeInfo();
    return {info.GetShape(), output_.GetTensorData<float>(), info.GetElementCount() * sizeof(float)};
  }

  // In a session of its own: a profiler costs time, also in passes that nobody asks it about.
  Profile profile(int passes, System& system, const std::string& folder) override {
    output_ = Ort::Value{nullptr};
    session_ = Ort::Session{nullptr};  // first, so that the weights are held once
    const ScratchFolder scratch(folder);
    auto options = session_options();
    options.EnableProfiling((scratch.path() + "/profile").c_str());
    session_ = Ort::Session(env_, model_file_.c_str(), options);
    run();  // gets the memory, and is left out
    const std::int64_t start_ns = system.now_ns();
    for (int pass = 0; pass < passes; ++pass) run();
    const std::int64_t total_ns = system.now_ns() - start_ns;
    Ort::AllocatorWithDefaultOptions allocator;
    return {total_ns, node_times(session_.EndProfilingAllocated(allocator).get(), passes)};
  }

 private:
  Ort::SessionOptions session_options() const {
    Ort::SessionOptions options;  // no provider appended: the CPU's
    options.SetIntraOpNumThreads(threads_);
    options.SetInterOpNumThreads(1);
    options.SetExecutionMode(ORT_SEQUENTIAL);
    options.SetGraphOptimizationLevel(ORT_ENABLE_ALL);
    options.RegisterCustomOpsLibrary(kOperators);
    return options;
  }

  const OrtApiBase& base_;
  Ort::Env env_{nullptr};
  Ort::Session session_{nullptr};
  Ort::RunOptions run_options_{nullptr};
  std::string model_file_;
  int threads_ = 1;
  std::string input_name_;
  std::string output_name_;
  Ort::Value input_{nullptr};
  Ort::Value output_{nullptr};
};

}  // namespace

std::unique_ptr<Engine> make_engine() { return std::make_unique<OnnxRuntime>(); }

}  // namespace tenpass
