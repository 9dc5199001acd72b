// ncnn, by its C++ API. A model is three files: the network's layers (.param), its weights (.bin), and the ports, which
// say what ncnn does not keep (export/ncnn/ports.py writes them): a line "precision fp32" or "precision fp16", and one
// for each input and output in the order of the model's, such as
//
//   input in0 float32 1,3,224,224 0
//   output out0 float32 1,1000 none
//
// with its name in ncnn, its type, its shape and which of its axes is ncnn's batch.
#include <net.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

#include "engine.hpp"
#include "failure.hpp"
#include "profiled_passes.hpp"

namespace tenpass {
namespace {

constexpr std::size_t kMostAxes = 4;  // of a Mat, the batch apart
constexpr std::size_t kWordBytes = 4;  // of each value: a float32 or an int32

struct Slot {
  std::string name;
  ElementType type = ElementType::float32;
  Shape shape;
  std::optional<std::size_t> batch_axis;
  int blob = -1;
};

struct Ports {
  bool half_precision = false;
  std::vector<Slot> inputs, outputs;
};

Shape parse_shape(const std::string& text) {
  Shape shape;
  if (text == "scalar") return shape;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) shape.push_back(std::stoll(part));
  return shape;
}

Slot parse_slot(std::istringstream& words) {
  Slot slot;
  std::string type, shape, axis;
  words >> slot.name >> type >> shape >> axis;
  const auto known = type_named(type);
  if (!words || !known) throw std::runtime_error("a port is not as it should be");
  slot.type = *known;
  slot.shape = parse_shape(shape);
  if (axis != "none") slot.batch_axis = std::stoul(axis);
  if (slot.shape.size() > kMostAxes + (slot.batch_axis ? 1 : 0) ||
      (slot.batch_axis && *slot.batch_axis >= slot.shape.size())) {
    throw std::runtime_error("the port " + slot.name + " has another number of axes than ncnn takes");
  }
  return slot;
}

Ports read_ports(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Failure(Status::unreadable, "cannot read '" + path + "'");
  Ports ports;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string first, second;
    words >> first;
    if (first == "precision" && words >> second) {
      ports.half_precision = second == "fp16";
    } else if (first == "input") {
      ports.inputs.push_back(parse_slot(words));
    } else if (first == "output") {
      ports.outputs.push_back(parse_slot(words));
    } else {
      throw std::runtime_error("'" + path + "' is no list of ports");
    }
  }
  if (ports.outputs.empty()) throw std::runtime_error("'" + path + "' has no outputs");
  return ports;
}

// The sizes that a Mat has: those of the shape but the batch's, one at least.
Shape sizes_of(const Slot& slot) {
  Shape sizes = slot.shape;
  if (slot.batch_axis) sizes.erase(sizes.begin() + static_cast<std::ptrdiff_t>(*slot.batch_axis));
  if (sizes.empty()) sizes.push_back(1);
  return sizes;
}

int batches_of(const Slot& slot) { return slot.batch_axis ? static_cast<int>(slot.shape[*slot.batch_axis]) : 1; }

ncnn::Mat empty_mat(const Slot& slot) {
  std::vector<int> reversed;
  for (const auto size : sizes_of(slot)) reversed.insert(reversed.begin(), static_cast<int>(size));
  const int n = batches_of(slot);
  ncnn::Mat mat;
  switch (reversed.size()) {
    case 1: mat.create(reversed[0], kWordBytes, 1, n); break;
    case 2: mat.create(reversed[0], reversed[1], kWordBytes, 1, n); break;
    case 3: mat.create(reversed[0], reversed[1], reversed[2], kWordBytes, 1, n); break;
    default: mat.create(reversed[0], reversed[1], reversed[2], reversed[3], kWordBytes, 1, n); break;
  }
  return mat;
}

// Where the values of a Mat lie, which pads its channels, in the order of the axes without the batch's: calls
// `part(pointer, how many)`.
template <typename Part>
void each_part(const ncnn::Mat& batch, Part&& part) {
  const std::size_t plane = static_cast<std::size_t>(batch.w) * batch.h * batch.d;
  for (int channel = 0; channel < batch.c; ++channel) {
    part(static_cast<char*>(batch.data) + batch.cstep * channel * batch.elemsize, plane);
  }
}

// Between a tensor in C order and a Mat: `copy(in the tensor, in the Mat, bytes)` for each run of values. The batch's
// axis may lie between others.
template <typename Copy>
void between(char* tensor, const ncnn::Mat& mat, const Slot& slot, Copy&& copy) {
  const std::size_t axis = slot.batch_axis.value_or(0);
  std::size_t inner = 1;
  for (std::size_t index = slot.batch_axis ? axis + 1 : 0; index < slot.shape.size(); ++index) {
    inner *= static_cast<std::size_t>(slot.shape[index]);
  }
  const std::size_t batches = static_cast<std::size_t>(batches_of(slot));
  for (std::size_t batch = 0; batch < batches; ++batch) {
    std::size_t done = 0;  // values of this batch
    each_part(mat.batch(static_cast<int>(batch)), [&](char* values, std::size_t count) {
      while (count > 0) {
        const std::size_t run = std::min(count, inner - done % inner);
        const std::size_t place = (done / inner * batches + batch) * inner + done % inner;
        copy(tensor + place * kWordBytes, values, run * kWordBytes);
        values += run * kWordBytes;
        done += run;
        count -= run;
      }
    });
  }
}

// What ncnn computes with: numbers of four bytes.
std::vector<char> as_words(const Tensor& tensor) {
  if (tensor.type != ElementType::int64) return tensor.bytes;
  std::vector<char> words(tensor.bytes.size() / 2);
  for (std::size_t index = 0; index < words.size() / 4; ++index) {
    std::int64_t value = 0;
    std::memcpy(&value, tensor.bytes.data() + index * 8, 8);
    const auto narrow = static_cast<std::int32_t>(value);
    if (narrow != value) throw Failure(Status::bad_input, "an input has integers that do not fit 32 bits");
    std::memcpy(words.data() + index * 4, &narrow, 4);
  }
  return words;
}

// The layers of a .param that are convolutions, by name, each with its kernel: "type name inputs outputs BLOBS KEY=VALUE", where
// key 1 is its width, and 11 its height if that is another (ncnn's operators.md).
std::map<std::string, std::string> convolutions_of(const std::string& path) {
  std::map<std::string, std::string> found;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string type, name, word;
    words >> type >> name;
    if (type != "Convolution" && type != "ConvolutionDepthWise") continue;
    int width = 0, height = 0;
    while (words >> word) {
      if (word.rfind("1=", 0) == 0) width = std::atoi(word.c_str() + 2);
      if (word.rfind("11=", 0) == 0) height = std::atoi(word.c_str() + 3);
    }
    if (width > 0) found[name] = convolution(type, height > 0 ? height : width, width);
  }
  return found;
}

class Ncnn final : public Engine {
 public:
  std::string name() const override { return "ncnn"; }
  std::string version() const override { return NCNN_VERSION_STRING; }
  std::vector<std::string> providers() const override { return {"CPU"}; }

  void load(const std::vector<std::string>& model_files, int threads, const std::string& provider) override {
    require_cpu(provider, "ncnn");
    if (model_files.size() != 3) {
      throw Failure(Status::usage, "ncnn takes three --model, its .param, its .bin and the ports, not " +
                                       std::to_string(model_files.size()));
    }
    ports_ = read_ports(model_files[2]);
    convolutions_ = convolutions_of(model_files[0]);
    net_.opt.num_threads = threads;
    net_.opt.lightmode = true;
    net_.opt.use_packing_layout = true;
    net_.opt.use_winograd_convolution = true;
    net_.opt.use_sgemm_convolution = true;
    net_.opt.use_fp16_packed = ports_.half_precision;
    net_.opt.use_fp16_storage = ports_.half_precision;
    net_.opt.use_fp16_arithmetic = ports_.half_precision;
    net_.opt.use_bf16_packed = false;
    net_.opt.use_bf16_storage = false;
    net_.opt.use_int8_inference = false;
    net_.opt.use_vulkan_compute = false;
    if (net_.load_param(model_files[0].c_str()) != 0 || net_.load_model(model_files[1].c_str()) != 0) {
      throw Failure(Status::bad_model, "ncnn cannot load '" + model_files[0] + "'; it says why on stderr");
    }
    find_blobs(ports_.inputs, net_.input_names(), net_.input_indexes());
    find_blobs(ports_.outputs, net_.output_names(), net_.output_indexes());
    made_.resize(ports_.outputs.size());
  }

  void set_inputs(const std::vector<Tensor>& inputs) override {
    if (inputs.size() != ports_.inputs.size()) {
      throw Failure(Status::bad_input, "the model has " + std::to_string(ports_.inputs.size()) +
                                           " inputs, --input is given for " + std::to_string(inputs.size()));
    }
    for (std::size_t index = 0; index < inputs.size(); ++index) {
      const Tensor& given = inputs[index];
      const Slot& wanted = ports_.inputs[index];
      if (given.type != wanted.type || given.shape != wanted.shape) {
        throw Failure(Status::bad_input, "the model's input '" + wanted.name + "' takes " +
                                             as_text(wanted.type, wanted.shape) + ", --type and --shape say " +
                                             as_text(given.type, given.shape));
      }
      given_.push_back(empty_mat(wanted));
      std::vector<char> words = as_words(given);
      between(words.data(), given_.back(), wanted,
              [](const char* from, char* to, std::size_t bytes) { std::memcpy(to, from, bytes); });
    }
  }

  void prepare_run() override {
    for (auto& mat : made_) mat.release();
  }

  void run() override {
    auto extractor = started();
    for (std::size_t index = 0; index < made_.size(); ++index) {
      if (extractor.extract(ports_.outputs[index].blob, made_[index]) != 0) {
        throw Failure(Status::run_failed, "the network failed, ncnn does not say why");
      }
    }
  }

  std::vector<OutputView> outputs() override {
    values_.assign(made_.size(), {});
    std::vector<OutputView> views;
    for (std::size_t index = 0; index < made_.size(); ++index) {
      const Slot& slot = ports_.outputs[index];
      const ncnn::Mat& mat = made_[index];
      require_like(mat, slot);
      values_[index].resize(tensor_bytes(ElementType::float32, slot.shape));
      between(values_[index].data(), mat, slot,
              [](char* to, const char* from, std::size_t bytes) { std::memcpy(to, from, bytes); });
      views.push_back({ElementType::float32, slot.shape, values_[index].data(), values_[index].size()});
    }
    return views;
  }

  // Layer by layer: each is made to give its first output when those before it have been computed, and no more.
  Profile profile(int passes, System& system, const std::string& /*folder*/) override {
    Profile profile{0, {}};
    std::vector<int> first_outputs;
    for (const auto* layer : net_.layers()) {
      if (layer->tops.empty() || layer->type == "Input") continue;
      const auto known = convolutions_.find(layer->name);
      profile.nodes.push_back({layer->name, known == convolutions_.end() ? layer->type : known->second, 0});
      first_outputs.push_back(layer->tops.front());
    }
    ProfiledPasses made(system);
    for (int pass = 0; pass < passes; ++pass) {
      auto extractor = started();
      made.make([&] {
        for (std::size_t index = 0; index < first_outputs.size(); ++index) {
          ncnn::Mat kept_apart;
          const std::int64_t start = made.read();
          if (extractor.extract(first_outputs[index], kept_apart, 1) != 0) {
            throw Failure(Status::run_failed, "'" + profile.nodes[index].name + "' failed, ncnn does not say why");
          }
          made.add(profile.nodes[index], start, made.read());
        }
      });
    }
    profile.total_ns = made.total_ns();
    return profile;
  }

 private:
  static void find_blobs(std::vector<Slot>& slots, const std::vector<const char*>& names,
                         const std::vector<int>& indexes) {
    for (auto& slot : slots) {
      const auto found = std::find(names.begin(), names.end(), slot.name);
      if (found == names.end()) throw Failure(Status::bad_model, "the network has no '" + slot.name + "'");
      slot.blob = indexes[static_cast<std::size_t>(found - names.begin())];
    }
  }

  // ncnn may leave out axes of size 1; the others must be those of the shape.
  static void require_like(const ncnn::Mat& mat, const Slot& slot) {
    const Shape all{mat.c, mat.d, mat.h, mat.w};
    Shape found{all.end() - std::clamp(mat.dims, 1, 4), all.end()};
    if (mat.dims == 3) found = {mat.c, mat.h, mat.w};
    Shape wanted = sizes_of(slot), bare = found;
    for (auto* const sizes : {&wanted, &bare}) sizes->erase(std::remove(sizes->begin(), sizes->end(), 1), sizes->end());
    if (mat.dims == 0 || mat.elempack != 1 || mat.elemsize != kWordBytes || mat.n != batches_of(slot) || wanted != bare) {
      throw Failure(Status::run_failed, "the network's output '" + slot.name + "' is " + as_text(found) + " times " +
                                            std::to_string(mat.n) + " in ncnn, and " + as_text(slot.shape) +
                                            " in the model");
    }
  }

  ncnn::Extractor started() const {
    auto extractor = net_.create_extractor();
    for (std::size_t index = 0; index < given_.size(); ++index) {
      extractor.input(ports_.inputs[index].blob, given_[index]);
    }
    return extractor;
  }

  ncnn::Net net_;  // goes last: the tensors' memory may be its own
  Ports ports_;
  std::map<std::string, std::string> convolutions_;
  std::vector<ncnn::Mat> given_, made_;
  std::vector<std::vector<char>> values_;
};

}  // namespace

std::unique_ptr<Engine> make_engine() { return std::make_unique<Ncnn>(); }

}  // namespace tenpass
