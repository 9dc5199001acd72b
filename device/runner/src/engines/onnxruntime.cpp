// ONNX Runtime by its C API, from the libonnxruntime.so of the bundle.
//
// The library is opened at run time, so that one runner works with every release from kOldestApi on, and says
// itself that the library is missing. Spinning of the intra-op threads between operators is left as the
// library has it by default, but with XNNPACK, which has threads of its own.
#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>
#include <onnxruntime_session_options_config_keys.h>

#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "engine.hpp"
#include "failure.hpp"
#include "files.hpp"
#include "profiled_passes.hpp"

namespace tenpass {
namespace {

constexpr const char* kLibrary = "libonnxruntime.so";
constexpr const char* kOperators = "libtenpass_clc.so";  // our own, in the same folder
constexpr std::uint32_t kOldestApi = 14;  // has all that is called below

// What ONNX Runtime calls the providers that may be asked for.
const std::map<std::string, std::string> kProviderNames{{"cpu", "CPUExecutionProvider"},
                                                        {"xnnpack", "XnnpackExecutionProvider"},
                                                        {"nnapi", "NnapiExecutionProvider"}};

void* open_library() {
  // Recent releases start a thread that uploads telemetry.
  setenv("ORT_DISABLE_TELEMETRY", "1", 1);
  // Never closed: its threads and static objects live as long as the process.
  void* const library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw Failure(Status::runtime_missing, dlerror());
  return library;
}

template <typename Function>
Function* function(void* library, const char* name) {
  const auto found = reinterpret_cast<Function*>(dlsym(library, name));
  if (found == nullptr) throw Failure(Status::runtime_missing, dlerror());
  return found;
}

// The newest API that both the headers and the library know.
const OrtApi* newest_api(const OrtApiBase& base) {
  for (std::uint32_t version = ORT_API_VERSION; version >= kOldestApi; --version) {
    if (const OrtApi* api = base.GetApi(version)) return api;
  }
  throw Failure(Status::runtime_missing,
                std::string(kLibrary) + " " + base.GetVersionString() + " is too old for this runner");
}

constexpr std::pair<ONNXTensorElementDataType, ElementType> kElementTypes[] = {
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, ElementType::float32},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, ElementType::float16},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE, ElementType::float64},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8, ElementType::int8},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, ElementType::uint8},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16, ElementType::int16},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16, ElementType::uint16},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, ElementType::int32},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32, ElementType::uint32},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, ElementType::int64},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64, ElementType::uint64},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, ElementType::boolean},
};

// An input or output of the model. A negative size stands for any; no sizes are those of a scalar, or of a tensor of
// which the model does not say how many dimensions it has: the API does not tell these apart.
struct Slot {
  std::string name;
  ElementType type;
  Shape shape;

  bool takes(const Shape& given) const {
    const auto fits = [](std::int64_t size, std::int64_t wanted) { return wanted < 0 || size == wanted; };
    return shape.empty() || std::equal(given.begin(), given.end(), shape.begin(), shape.end(), fits);
  }

  bool has_one_shape() const {
    return !shape.empty() && std::all_of(shape.begin(), shape.end(), [](std::int64_t size) { return size >= 0; });
  }
};

// `what` is "input" or "output".
Slot as_slot(const std::string& what, const std::string& name, const Ort::TypeInfo& info) {
  const std::string which = "the model's " + what + " '" + name + "'";
  if (info.GetONNXType() != ONNX_TYPE_TENSOR) {
    throw Failure(Status::bad_model, which + " is no tensor (a sequence, a map or optional); only tensors are taken");
  }
  const auto tensor = info.GetTensorTypeAndShapeInfo();
  const auto known = std::find_if(std::begin(kElementTypes), std::end(kElementTypes),
                                  [&](const auto& pair) { return pair.first == tensor.GetElementType(); });
  if (known == std::end(kElementTypes)) {
    const bool text = tensor.GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING;
    throw Failure(Status::bad_model, which + (text ? " holds strings" : " is of a type that is not of numpy's") +
                                         "; only tensors of numbers and bools are taken");
  }
  return {name, known->second, tensor.GetShape()};
}

ONNXTensorElementDataType runtimes_own(ElementType type) {
  return std::find_if(std::begin(kElementTypes), std::end(kElementTypes),
                      [&](const auto& pair) { return pair.second == type; })
      ->first;
}

// "2 (a: int64 (1, any), b: float32 ())"
std::string as_text(const std::vector<Slot>& slots) {
  std::string text;
  for (const auto& slot : slots) text += (text.empty() ? "" : ", ") + slot.name + ": " + as_text(slot.type, slot.shape);
  return std::to_string(slots.size()) + " (" + text + ")";
}

std::vector<const char*> names_of(const std::vector<Slot>& slots) {
  std::vector<const char*> names;
  for (const auto& slot : slots) names.push_back(slot.name.c_str());
  return names;
}

std::vector<Ort::Value> without_values(std::size_t count) {
  std::vector<Ort::Value> values;
  while (values.size() < count) values.emplace_back(nullptr);
  return values;
}

// Between which readings of the clock a node ran.
struct NodeEvent {
  std::int64_t start;
  std::int64_t stop;
};

// What of a node's time is its own: nodes inside an If, a Loop or a Scan end before it does, and began since it began.
// `ended` are the events so far that are not inside another one's.
std::vector<NodeEvent> own_parts(std::vector<NodeEvent>& ended, const NodeEvent& event) {
  std::vector<NodeEvent> parts;
  std::int64_t stop = event.stop;
  for (; !ended.empty() && ended.back().start >= event.start; ended.pop_back()) {
    parts.push_back({ended.back().stop, stop});
    stop = ended.back().start;
  }
  parts.push_back({event.start, stop});
  ended.push_back(event);
  return parts;
}

// The operator type in an event's `args`; of a convolution on the CPU with its kernel, by the shapes of its inputs: what it
// convolves, and (outputs, inputs of a group, height, width). Other providers have orders of their own.
std::string op_name(const nlohmann::json& args) {
  const std::string op = args.at("op_name");
  if ((op != "Conv" && op != "FusedConv") || args.value("provider", "") != kProviderNames.at("cpu")) return op;
  std::vector<std::vector<std::int64_t>> shapes;
  for (const auto& input : args.value("input_type_shape", nlohmann::json::array())) {
    for (const auto& [type, shape] : input.items()) shapes.push_back(shape.get<std::vector<std::int64_t>>());
  }
  if (shapes.size() < 2 || shapes[0].size() != 4 || shapes[1].size() != 4) return op;
  return convolution(op, shapes[1][2], shapes[1][3], shapes[0][1] != shapes[1][1]);
}

// The times of the nodes from what ONNX Runtime's profiler has written: an array of events, a node's in the order in
// which nodes end, and after those of one pass an event "model_run". Their microseconds are the numbers of readings. The
// first pass is left out: it gets the memory that the others reuse. Nodes inside others count for themselves, and not in
// those.
std::vector<NodeTime> node_times(const std::string& path, int passes, const ProfiledPasses& made) {
  std::ifstream file(path);
  const auto events = nlohmann::json::parse(file);
  constexpr std::string_view kSuffix = "_kernel_time";
  std::vector<NodeTime> nodes;
  std::map<std::tuple<std::string, std::string, std::string>, std::size_t> positions;
  std::vector<NodeEvent> ended;
  int runs = 0;
  for (const auto& event : events) {
    std::string name = event.at("name");
    if (name == "model_run") {
      ++runs;
      ended.clear();
    }
    if (runs == 0 || runs > passes || event.at("cat") != "Node" || name.size() < kSuffix.size() ||
        name.compare(name.size() - kSuffix.size(), kSuffix.size(), kSuffix) != 0) {
      continue;
    }
    name.resize(name.size() - kSuffix.size());
    const auto& args = event.at("args");
    const std::string op = op_name(args);
    const auto [position, is_new] = positions.try_emplace({name, op, args.at("node_index")}, nodes.size());
    if (is_new) {
      const std::string provider = args.value("provider", "");
      nodes.push_back({name, op, 0, provider.empty() ? std::nullopt : std::optional(provider)});
    }
    const std::int64_t start = event.at("ts"), readings = event.at("dur");
    for (const NodeEvent& part : own_parts(ended, {start, start + readings})) {
      made.add(nodes[position->second], static_cast<std::size_t>(runs) - 1, part.start, part.stop);
    }
  }
  if (runs != passes + 1) {
    throw Failure(Status::run_failed, "the runtime's profiler kept " + std::to_string(runs) + " passes of " +
                                          std::to_string(passes + 1) + "; ask for fewer --profile-passes");
  }
  return nodes;
}

class OnnxRuntime final : public Engine {
 public:
  OnnxRuntime() : library_(open_library()), base_(*function<const OrtApiBase*()>(library_, "OrtGetApiBase")()) {
    Ort::InitApi(newest_api(base_));
    env_ = Ort::Env(ORT_LOGGING_LEVEL_WARNING, "tenpass");
  }

  std::string name() const override { return "onnxruntime"; }
  std::string version() const override { return base_.GetVersionString(); }
  std::vector<std::string> providers() const override { return Ort::GetAvailableProviders(); }

  void load(const std::vector<std::string>& model_files, int threads, const std::string& provider) override {
    if (model_files.size() != 1) {
      throw Failure(Status::usage,
                    "ONNX Runtime takes one --model, not " + std::to_string(model_files.size()));
    }
    model_file_ = model_files.front();
    threads_ = threads;
    provider_ = provider;
    require_provider();
    session_ = Ort::Session(env_, model_file_.c_str(), session_options());

    Ort::AllocatorWithDefaultOptions allocator;
    for (std::size_t index = 0; index < session_.GetInputCount(); ++index) {
      const std::string name = session_.GetInputNameAllocated(index, allocator).get();
      inputs_.push_back(as_slot("input", name, session_.GetInputTypeInfo(index)));
    }
    for (std::size_t index = 0; index < session_.GetOutputCount(); ++index) {
      const std::string name = session_.GetOutputNameAllocated(index, allocator).get();
      outputs_.push_back(as_slot("output", name, session_.GetOutputTypeInfo(index)));
    }
    input_names_ = names_of(inputs_);
    output_names_ = names_of(outputs_);
    output_values_ = without_values(outputs_.size());
  }

  void set_inputs(const std::vector<Tensor>& inputs) override {
    if (inputs.size() != inputs_.size()) {
      throw Failure(Status::bad_input, "the model's inputs are " + as_text(inputs_) + ", --input is given for " +
                                           std::to_string(inputs.size()));
    }
    Ort::AllocatorWithDefaultOptions allocator;
    for (std::size_t index = 0; index < inputs.size(); ++index) {
      const Tensor& given = inputs[index];
      const Slot& wanted = inputs_[index];
      if (given.type != wanted.type || !wanted.takes(given.shape)) {
        throw Failure(Status::bad_input, "the model's input '" + wanted.name + "' (number " +
                                             std::to_string(index + 1) + ") takes " +
                                             as_text(wanted.type, wanted.shape) + ", --type and --shape say " +
                                             as_text(given.type, given.shape));
      }
      // In memory of the runtime's own, which is aligned as its kernels like it.
      input_values_.push_back(
          Ort::Value::CreateTensor(allocator, given.shape.data(), given.shape.size(), runtimes_own(given.type)));
      if (given.bytes.empty()) continue;  // there may be no memory to point to
      std::memcpy(input_values_.back().GetTensorMutableRawData(), given.bytes.data(), given.bytes.size());
    }
  }

  // Where the model does not say which shape an output has, it may depend on the data, and the next run's be another.
  void prepare_run() override {
    for (std::size_t index = 0; index < outputs_.size(); ++index) {
      if (!outputs_[index].has_one_shape()) output_values_[index] = Ort::Value{nullptr};
    }
  }

  // The first run makes the output tensors, those that follow write into them, but for those given back meanwhile.
  void run() override {
    session_.Run(run_options_, input_names_.data(), input_values_.data(), input_values_.size(), output_names_.data(),
                 output_values_.data(), output_values_.size());
  }

  std::vector<OutputView> outputs() override {
    std::vector<OutputView> views;
    for (std::size_t index = 0; index < outputs_.size(); ++index) {
      const Ort::Value& value = output_values_[index];
      const Slot& slot = outputs_[index];
      if (!value.HasValue() || !value.IsTensor()) {
        throw Failure(Status::run_failed, "the network did not make its output '" + slot.name + "'");
      }
      const auto info = value.GetTensorTypeAndShapeInfo();
      views.push_back({slot.type, info.GetShape(), value.GetTensorRawData(),
                       info.GetElementCount() * element_bytes(slot.type)});
    }
    return views;
  }

  // In a session of its own: a profiler costs time, also in passes that nobody asks it about.
  Profile profile(int passes, System& system, const std::string& folder) override {
    output_values_ = without_values(outputs_.size());
    session_ = Ort::Session{nullptr};  // first, so that the weights are held once
    const ScratchFolder scratch(folder);
    auto options = session_options();
    options.EnableProfiling((scratch.path() + "/profile").c_str());
    session_ = Ort::Session(env_, model_file_.c_str(), options);
    run();  // gets the memory, and is left out
    ProfiledPasses made(system, static_cast<std::int64_t>(session_.GetProfilingStartTimeNs()));
    for (int pass = 0; pass < passes; ++pass) {
      prepare_run();
      made.make([&] { run(); });
    }
    Ort::AllocatorWithDefaultOptions allocator;
    return {made.total_ns(), node_times(session_.EndProfilingAllocated(allocator).get(), passes, made)};
  }

 private:
  void require_provider() const {
    const auto has = providers();
    if (std::find(has.begin(), has.end(), kProviderNames.at(provider_)) != has.end()) return;
    std::string all;
    for (const auto& name : has) all += (all.empty() ? "" : ", ") + name;
    throw Failure(Status::no_provider, std::string(kLibrary) + " " + version() + " has no " +
                                           kProviderNames.at(provider_) + "; it has " + all);
  }

  Ort::SessionOptions session_options() const {
    Ort::SessionOptions options;  // with no provider appended, all is the CPU's
    options.SetIntraOpNumThreads(threads_);
    if (provider_ == "xnnpack") {
      // As ONNX Runtime's documentation recommends (XNNPACK Execution Provider, "Recommended configuration"), so that
      // its threads and XNNPACK's do not keep each other from the cores.
      options.AppendExecutionProvider("XNNPACK", {{"intra_op_num_threads", std::to_string(threads_)}});
      options.AddConfigEntry(kOrtSessionOptionsConfigAllowIntraOpSpinning, "0");
      options.SetIntraOpNumThreads(1);
    } else if (provider_ == "nnapi") {
      // Not one of those that are appended by name (nnapi_provider_factory.h; 0: no flags).
      using Append = OrtStatus*(OrtSessionOptions*, std::uint32_t);
      Ort::ThrowOnError(function<Append>(library_, "OrtSessionOptionsAppendExecutionProvider_Nnapi")(options, 0));
    }
    options.SetInterOpNumThreads(1);
    options.SetExecutionMode(ORT_SEQUENTIAL);
    options.SetGraphOptimizationLevel(ORT_ENABLE_ALL);
    options.RegisterCustomOpsLibrary(kOperators);
    return options;
  }

  void* library_;
  const OrtApiBase& base_;
  Ort::Env env_{nullptr};
  Ort::Session session_{nullptr};
  Ort::RunOptions run_options_{nullptr};
  std::string model_file_;
  int threads_ = 1;
  std::string provider_;
  std::vector<Slot> inputs_;
  std::vector<Slot> outputs_;
  std::vector<const char*> input_names_;  // these point into the slots
  std::vector<const char*> output_names_;
  std::vector<Ort::Value> input_values_;
  std::vector<Ort::Value> output_values_;
};

}  // namespace

std::unique_ptr<Engine> make_engine() { return std::make_unique<OnnxRuntime>(); }

}  // namespace tenpass
