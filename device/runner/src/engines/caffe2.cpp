// Caffe2 (of pytorch 1.7.1), by its C++ API. A model is two files: the init net, which fills the weights, and the
// predict net, which is one pass.
//
// The predict net says the rest: its one input is the external input that the init net does not fill, and a net-level
// argument "input_shape", if there is one, is the shape which that must have. Which implementation a convolution
// uses is each operator's own field `engine`.
#include <caffe2/core/init.h>
#include <caffe2/core/net.h>
#include <caffe2/core/net_simple.h>
#include <caffe2/core/operator.h>
#include <caffe2/core/tensor.h>
#include <caffe2/core/workspace.h>

#include <cstring>
#include <fstream>
#include <set>

#include "engine.hpp"
#include "failure.hpp"
#include "profiled_passes.hpp"

namespace tenpass {
namespace {

constexpr const char* kVersion = "1.7.1";  // the headers only have 1.7.0
constexpr const char* kShapeArgument = "input_shape";

// Caffe2's messages go on with a backtrace, a line for each frame.
std::string first_line(const std::exception& error) {
  const auto* const own = dynamic_cast<const c10::Error*>(&error);
  const std::string text = own != nullptr ? own->what_without_backtrace() : error.what();
  return text.substr(0, text.find('\n'));
}

// Does `work`; what Caffe2 throws becomes a Failure of this status.
template <typename Work>
auto guarded(Status status, const std::string& what, Work&& work) {
  try {
    return work();
  } catch (const Failure&) {
    throw;
  } catch (const std::exception& error) {
    throw Failure(status, what + ": " + first_line(error));
  }
}

// Caffe2 takes its settings as a command line, once per process.
void initialize(int threads) {
  FLAGS_minloglevel = google::GLOG_FATAL;  // it logs before it has read its own flag
  std::vector<std::string> words = {"tenpass-caffe2", "--caffe2_log_level=3",
                                    "--caffe2_omp_num_threads=" + std::to_string(threads),
                                    "--caffe2_operator_max_engine_name_length=64"};  // it keeps 10 characters
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  int count = static_cast<int>(words.size());
  char** arguments = pointers.data();
  if (!caffe2::GlobalInit(&count, &arguments)) throw std::runtime_error("Caffe2 did not start");
}

caffe2::NetDef read_net(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Failure(Status::unreadable, "cannot read '" + path + "'");
  caffe2::NetDef net;
  if (!net.ParseFromIstream(&file)) throw Failure(Status::bad_model, "'" + path + "' is not a Caffe2 net");
  if (net.op_size() == 0) throw Failure(Status::bad_model, "'" + path + "' is a Caffe2 net without operators");
  return net;
}

class Caffe2 final : public Engine {
 public:
  std::string name() const override { return "caffe2"; }
  std::string version() const override { return kVersion; }
  std::vector<std::string> providers() const override { return {"CPU"}; }

  void load(const std::vector<std::string>& model_files, int threads, const std::string& provider) override {
    require_cpu(provider, "Caffe2");
    if (model_files.size() != 2) {
      throw Failure(Status::usage, "Caffe2 takes two --model, the init net and the predict net, not " +
                                       std::to_string(model_files.size()));
    }
    guarded(Status::runtime_missing, "cannot start Caffe2", [&] { initialize(threads); });
    const std::string& init_path = model_files[0];
    const std::string& predict_path = model_files[1];
    const caffe2::NetDef predict = read_net(predict_path);
    {
      const caffe2::NetDef init = read_net(init_path);
      const bool filled = guarded(Status::bad_model, "the init net '" + init_path + "' failed",
                                  [&] { return workspace_.RunNetOnce(init); });
      if (!filled) throw Failure(Status::bad_model, "the init net '" + init_path + "' failed");
    }  // the weights are now held once

    input_name_ = the_one_input(predict, predict_path);
    if (predict.external_output_size() != 1) {
      throw Failure(Status::bad_model, "'" + predict_path + "' has " +
                                           std::to_string(predict.external_output_size()) +
                                           " outputs; one is supported");
    }
    output_name_ = predict.external_output(0);
    for (const auto& argument : predict.arg()) {
      if (argument.name() == kShapeArgument) input_shape_.assign(argument.ints().begin(), argument.ints().end());
    }
    workspace_.CreateBlob(input_name_);
    net_ = guarded(Status::bad_model, "cannot load '" + predict_path + "'",
                   [&] { return caffe2::CreateNet(predict, &workspace_); });
    if (!net_) throw Failure(Status::bad_model, "cannot load '" + predict_path + "'");
  }

  void set_inputs(const std::vector<Tensor>& inputs) override {
    const Tensor& input = the_one_float32(inputs, "Caffe2");
    if (!input_shape_.empty() && input.shape != input_shape_) {
      throw Failure(Status::bad_input, "the model's input '" + input_name_ + "' takes " + as_text(input_shape_) +
                                           ", --shape says " + as_text(input.shape));
    }
    guarded(Status::bad_input, "cannot set the input", [&] {
      auto* const tensor = caffe2::BlobGetMutableTensor(workspace_.GetBlob(input_name_), input.shape,
                                                        at::dtype<float>().device(caffe2::CPU));
      std::memcpy(tensor->mutable_data<float>(), input.bytes.data(), input.bytes.size());
    });
  }

  void run() override {
    bool ran = false;
    try {
      ran = net_->Run();
    } catch (const std::exception& error) {
      throw Failure(Status::run_failed, "the network failed: " + first_line(error));
    }
    if (!ran) throw Failure(Status::run_failed, "the network failed, Caffe2 does not say why");
  }

  std::vector<OutputView> outputs() override {
    const caffe2::Blob* const blob = workspace_.GetBlob(output_name_);
    if (blob == nullptr || !caffe2::BlobIsTensorType(*blob, caffe2::CPU)) {
      throw Failure(Status::run_failed, "the network did not make its output '" + output_name_ + "'");
    }
    const auto& tensor = blob->Get<caffe2::Tensor>();
    if (!tensor.IsType<float>()) {
      throw Failure(Status::bad_model, "the network's output '" + output_name_ + "' is not a float32 tensor");
    }
    const auto sizes = tensor.sizes();
    return {{ElementType::float32, Shape(sizes.begin(), sizes.end()), tensor.raw_data(), tensor.nbytes()}};
  }

  // A simple net's pass is no more than its operators, one after the other (caffe2/core/net_simple.h).
  Profile profile(int passes, System& system, const std::string& /*folder*/) override {
    if (dynamic_cast<caffe2::SimpleNet*>(net_.get()) == nullptr) {
      throw Failure(Status::run_failed, "the time of an operator can be told in nets of the type simple alone");
    }
    const auto operators = net_->GetOperators();
    Profile profile{0, {}};
    for (const auto* op : operators) profile.nodes.push_back({op->debug_def().output(0), op_name(*op), 0});
    ProfiledPasses made(system);
    for (int pass = 0; pass < passes; ++pass) {
      made.make([&] {
        for (std::size_t index = 0; index < operators.size(); ++index) {
          const std::int64_t start = made.read();
          run_operator(*operators[index], profile.nodes[index].name);
          made.add(profile.nodes[index], start, made.read());
        }
      });
    }
    profile.total_ns = made.total_ns();
    return profile;
  }

 private:
  // Its type, of a convolution with its kernel, and, where the net asks for one, which implementation.
  static std::string op_name(const caffe2::OperatorBase& op) {
    const auto kernel = op.GetRepeatedArgument<int>("kernels");
    const bool is_grouped = op.GetSingleArgument<int>("group", 1) > 1;
    const bool is_known = op.type() == "Conv" && kernel.size() == 2;
    const std::string type = is_known ? convolution(op.type(), kernel[0], kernel[1], is_grouped) : op.type();
    return op.engine().empty() ? type : type + " (" + op.engine() + ")";
  }

  static void run_operator(caffe2::OperatorBase& op, const std::string& name) {
    const bool ran = guarded(Status::run_failed, "'" + name + "' failed", [&] { return op.Run(); });
    if (!ran) throw Failure(Status::run_failed, "'" + name + "' failed, Caffe2 does not say why");
  }

  // The external input that the init net has not filled.
  std::string the_one_input(const caffe2::NetDef& predict, const std::string& path) const {
    std::set<std::string> unfilled;
    for (const auto& name : predict.external_input()) {
      if (!workspace_.HasBlob(name)) unfilled.insert(name);
    }
    if (unfilled.size() != 1) {
      throw Failure(Status::bad_model, "'" + path + "' has " + std::to_string(unfilled.size()) +
                                           " inputs that the init net does not fill; one is supported");
    }
    return *unfilled.begin();
  }

  caffe2::Workspace workspace_;
  std::unique_ptr<caffe2::NetBase> net_;  // goes before the workspace that it points into
  std::string input_name_;
  std::string output_name_;
  Shape input_shape_;
};

}  // namespace

std::unique_ptr<Engine> make_engine() { return std::make_unique<Caffe2>(); }

}  // namespace tenpass
