// The chain as an operator of ONNX Runtime: tenpass::ChannelLocalChain, version 1. README.md describes it.
#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "chain.hpp"

namespace tenpass::clc {
namespace {

constexpr const char* kDomain = "tenpass";
constexpr const char* kName = "ChannelLocalChain";
constexpr std::uint32_t kOldestApi = 17;  // has all that is called below

// A model file may come from anyone: what it says fits an int, and so do the products that are made of it here. As a
// choice, many times what any network has.
constexpr std::int64_t kMost = 1 << 20;

int number(const std::string& what, std::int64_t value, std::int64_t least, std::int64_t most = kMost) {
  if (value < least || value > most) {
    throw std::invalid_argument(what + " is " + std::to_string(value) + ", not from " + std::to_string(least) +
                                " to " + std::to_string(most));
  }
  return static_cast<int>(value);
}

// The attributes, each with a value for every block.
struct Attributes {
  std::vector<int> groups_3x3, groups_1x1, strides, interlaced, relu_between, relu;

  // `get` gives the integers of the attribute of a name.
  template <typename Get>
  static Attributes read(const Get& get) {
    const auto numbers = [&](const char* name, std::int64_t least, std::int64_t most = kMost) {
      std::vector<int> values;
      for (const std::int64_t value : get(name)) {
        values.push_back(number("attribute " + std::string(name), value, least, most));
      }
      return values;
    };
    Attributes read{numbers("groups_3x3", 1),    numbers("groups_1x1", 0),      numbers("strides", 1),
                    numbers("interlaced", 0, 1), numbers("relu_between", 0, 1), numbers("relu", 0, 1)};
    for (const auto* values : {&read.groups_1x1, &read.strides, &read.interlaced, &read.relu_between, &read.relu}) {
      if (values->size() != read.groups_3x3.size()) {
        throw std::invalid_argument("its attributes must all have one value for each block");
      }
    }
    return read;
  }

  std::size_t blocks() const { return groups_3x3.size(); }
  // Inputs of block `index`: weights and bias of each of its convolutions.
  std::size_t inputs(std::size_t index) const { return groups_1x1[index] == 0 ? 2 : 4; }
};

// What `get` gives for the attribute `name`, which ONNX Runtime's own complaint leaves out.
template <typename Get>
auto attribute(const char* name, const Get& get) {
  try {
    return get(name);
  } catch (const Ort::Exception& error) {
    throw std::invalid_argument("attribute " + std::string(name) + ": " + error.what());
  }
}

// A constant input of the operator.
struct Weights {
  std::vector<std::int64_t> shape;
  const float* data;
};

Weights constant(const Ort::ConstKernelInfo& info, std::size_t index, std::size_t rank) {
  int is_constant = 0;
  const Ort::ConstValue value = info.GetTensorConstantInput(index, &is_constant);
  if (is_constant == 0) {
    throw std::invalid_argument("input " + std::to_string(index) + " must be an initializer of the model");
  }
  Weights weights{value.GetTensorTypeAndShapeInfo().GetShape(), value.GetTensorData<float>()};
  if (weights.shape.size() != rank) {
    throw std::invalid_argument("input " + std::to_string(index) + " must have " + std::to_string(rank) +
                                " dimensions, it has " + std::to_string(weights.shape.size()));
  }
  for (const auto size : weights.shape) number("a size of input " + std::to_string(index), size, 1);
  return weights;
}

void require_shape(const Weights& weights, std::vector<std::int64_t> wanted, std::size_t index) {
  if (weights.shape != wanted) {
    std::string text;
    for (const auto size : wanted) text += (text.empty() ? "" : ", ") + std::to_string(size);
    throw std::invalid_argument("input " + std::to_string(index) + " must have the shape (" + text + ")");
  }
}

// What the operator is told: its attributes and initializers.
struct Network {
  std::vector<Block> blocks;
  bool averaged = false;
  Linear linear;
};

bool flag(const Ort::ConstKernelInfo& info, const char* name) {
  const auto value = attribute(name, [&](const char* it) { return info.GetAttribute<std::int64_t>(it); });
  return number("attribute " + std::string(name), value, 0, 1) != 0;
}

Network read_network(const Ort::ConstKernelInfo& info) {
  Network network;
  network.averaged = flag(info, "averaged");
  const bool has_linear = flag(info, "linear");
  const auto attributes = Attributes::read([&](const char* name) {
    return attribute(name, [&](const char* it) { return info.GetAttributes<std::int64_t>(it); });
  });
  std::size_t wanted = has_linear ? 3 : 1;
  for (std::size_t i = 0; i < attributes.blocks(); ++i) wanted += attributes.inputs(i);
  if (info.GetInputCount() != wanted) {
    throw std::invalid_argument("its blocks need " + std::to_string(wanted) + " inputs, it has " +
                                std::to_string(info.GetInputCount()));
  }
  std::size_t input = 1;  // 0 is the image
  for (std::size_t i = 0; i < attributes.blocks(); input += attributes.inputs(i), ++i) {
    const Weights filter = constant(info, input, 4);
    const Weights filter_bias = constant(info, input + 1, 1);
    Block block;
    block.groups_3x3 = attributes.groups_3x3[i];
    block.groups_1x1 = attributes.groups_1x1[i];
    block.stride = attributes.strides[i];
    block.interlaced = attributes.interlaced[i] != 0;
    block.relu_between = attributes.relu_between[i] != 0;
    block.relu = attributes.relu[i] != 0;
    block.middle = block.out = static_cast<int>(filter.shape[0]);
    block.in = number("the channels of block " + std::to_string(i), filter.shape[1] * block.groups_3x3, 1);
    require_shape(filter, {block.middle, filter.shape[1], 3, 3}, input);
    require_shape(filter_bias, {block.middle}, input + 1);
    block.weights_3x3 = filter.data;
    block.bias_3x3 = filter_bias.data;
    if (block.groups_1x1 != 0) {
      const Weights pointwise = constant(info, input + 2, 4);
      const Weights pointwise_bias = constant(info, input + 3, 1);
      block.out = static_cast<int>(pointwise.shape[0]);
      require_shape(pointwise, {block.out, block.middle / block.groups_1x1, 1, 1}, input + 2);
      require_shape(pointwise_bias, {block.out}, input + 3);
      block.weights_1x1 = pointwise.data;
      block.bias_1x1 = pointwise_bias.data;
    }
    network.blocks.push_back(block);
  }
  if (has_linear) {
    const Weights weights = constant(info, input, 2);
    const Weights bias = constant(info, input + 1, 1);
    require_shape(weights, {bias.shape[0], network.blocks.empty() ? 0 : network.blocks.back().out}, input);
    network.linear = {static_cast<int>(bias.shape[0]), weights.data, bias.data};
  }
  return network;
}

class Kernel {
 public:
  explicit Kernel(const OrtKernelInfo* info) : Kernel(read_network(Ort::ConstKernelInfo(info))) {}
  explicit Kernel(const Network& network)
      : has_linear_(network.linear.out > 0),
        chain_(network.blocks, network.averaged, kernels(), network.linear) {}

  void Compute(OrtKernelContext* raw) {
    Ort::KernelContext context(raw);
    const Ort::ConstValue input = context.GetInput(0);
    const auto shape = input.GetTensorTypeAndShapeInfo().GetShape();
    if (shape.size() != 4 || shape[1] != chain_.in_channels() || shape[2] < 1 || shape[3] < 1) {
      throw std::invalid_argument("its first input must be (N, " + std::to_string(chain_.in_channels()) + ", H, W)");
    }
    const int height = number("the image's height", shape[2], 1);
    const int width = number("the image's width", shape[3], 1);
    std::vector<std::int64_t> out_shape = {shape[0], chain_.out_channels()};
    if (!has_linear_) out_shape.insert(out_shape.end(), {chain_.out_size(height), chain_.out_size(width)});
    Ort::UnownedValue output = context.GetOutput(0, out_shape.data(), out_shape.size());
    // Threads of the session, each with successive parts of the work.
    const ParallelFor parallel_for = [&](std::size_t parts, const std::function<void(std::size_t)>& work) {
      context.ParallelFor(
          [](void* data, std::size_t part) { (*static_cast<const std::function<void(std::size_t)>*>(data))(part); },
          parts, 0, const_cast<std::function<void(std::size_t)>*>(&work));
    };
    chain_.run(input.GetTensorData<float>(), number("the batch", shape[0], 0), height, width,
               output.GetTensorMutableData<float>(), parallel_for);
  }

 private:
  bool has_linear_;
  Chain chain_;
};

struct Operator : Ort::CustomOpBase<Operator, Kernel> {
  void* CreateKernel(const OrtApi&, const OrtKernelInfo* info) const { return new Kernel(info); }
  const char* GetName() const { return kName; }
  const char* GetExecutionProviderType() const { return "CPUExecutionProvider"; }

  // The image, then weights and biases.
  std::size_t GetInputTypeCount() const { return 2; }
  ONNXTensorElementDataType GetInputType(std::size_t) const { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
  OrtCustomOpInputOutputCharacteristic GetInputCharacteristic(std::size_t index) const {
    return index == 0 ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_VARIADIC;
  }
  int GetVariadicInputMinArity() const { return 2; }
  bool GetVariadicInputHomogeneity() const { return true; }

  std::size_t GetOutputTypeCount() const { return 1; }
  ONNXTensorElementDataType GetOutputType(std::size_t) const { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
  OrtCustomOpInputOutputCharacteristic GetOutputCharacteristic(std::size_t) const { return INPUT_OUTPUT_REQUIRED; }
};

}  // namespace
}  // namespace tenpass::clc

extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(OrtSessionOptions* options,
                                                                                const OrtApiBase* base) {
  const OrtApi* api = nullptr;
  for (std::uint32_t version = ORT_API_VERSION; api == nullptr && version >= tenpass::clc::kOldestApi; --version) {
    api = base->GetApi(version);
  }
  if (api == nullptr) {
    return base->GetApi(1)->CreateStatus(ORT_FAIL, "this ONNX Runtime is too old for tenpass's operators");
  }
  Ort::InitApi(api);
  static const tenpass::clc::Operator channel_local_chain;
  // Every session that is given it may outlive all others.
  static Ort::CustomOpDomain domain = [] {
    Ort::CustomOpDomain made(tenpass::clc::kDomain);
    made.Add(&channel_local_chain);
    return made;
  }();
  try {
    Ort::UnownedSessionOptions(options).Add(domain);
  } catch (const std::exception& error) {
    return api->CreateStatus(ORT_FAIL, error.what());
  }
  return nullptr;
}
