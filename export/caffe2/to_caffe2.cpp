// Caffe2's part of an export, on this machine: ONNX to Caffe2's two nets, and a pass through those.
//
//   to_caffe2 convert MODEL.onnx INIT.pb PREDICT.pb N,C,H,W [ENGINE]
//   to_caffe2 run INIT.pb PREDICT.pb INPUT.f32 N,C,H,W OUTPUT.f32
//
// The nets are written by Caffe2's own Caffe2Backend. Added to the predict net are its name, the shape of its input
// (a net-level argument "input_shape", which Caffe2 passes over and our runner checks), and, with ENGINE, that engine
// on each 3x3 depthwise convolution; the operators of a pass are printed, one a line ("Conv", or "Conv:ENGINE").
// `run` prints the output's shape. Tensors are raw little-endian float32 in C order. Exit status: 0; 1 with a line on
// stderr if anything fails.
#include <caffe2/core/init.h>
#include <caffe2/core/net.h>
#include <caffe2/core/tensor.h>
#include <caffe2/core/workspace.h>
#include <caffe2/onnx/backend.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using Shape = std::vector<std::int64_t>;

constexpr const char* kUsage =
    "usage: to_caffe2 convert MODEL.onnx INIT.pb PREDICT.pb N,C,H,W [ENGINE]\n"
    "       to_caffe2 run INIT.pb PREDICT.pb INPUT.f32 N,C,H,W OUTPUT.f32\n";

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  if (!file || !content) throw std::runtime_error("cannot read " + path);
  return content.str();
}

void write_file(const std::string& path, const void* data, std::size_t bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

void write_net(const std::string& path, const caffe2::NetDef& net) {
  std::string bytes;
  if (!net.SerializeToString(&bytes)) throw std::runtime_error("cannot serialise " + path);
  write_file(path, bytes.data(), bytes.size());
}

caffe2::NetDef read_net(const std::string& path) {
  caffe2::NetDef net;
  if (!net.ParseFromString(read_file(path))) throw std::runtime_error(path + " is not a Caffe2 net");
  return net;
}

Shape parse_shape(const std::string& text) {
  Shape shape;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) shape.push_back(std::stoll(part));
  return shape;
}

// The shape of the weights that each output of the init net holds.
std::map<std::string, Shape> filled_shapes(const caffe2::NetDef& init) {
  std::map<std::string, Shape> shapes;
  for (const auto& filler : init.op()) {
    for (const auto& argument : filler.arg()) {
      if (argument.name() == "shape" && filler.output_size() == 1) {
        shapes[filler.output(0)] = Shape(argument.ints().begin(), argument.ints().end());
      }
    }
  }
  return shapes;
}

bool all_are(const google::protobuf::RepeatedField<google::protobuf::int64>& values, std::int64_t wanted) {
  for (const auto value : values) {
    if (value != wanted) return false;
  }
  return true;
}

// One filter of 3x3 per channel, and a channel for each: the weights are (C, 1, 3, 3), the groups C.
bool is_depthwise_3x3(const caffe2::OperatorDef& op, const std::map<std::string, Shape>& shapes) {
  if (op.type() != "Conv" || op.input_size() < 2) return false;
  const auto weights = shapes.find(op.input(1));
  if (weights == shapes.end() || weights->second.size() != 4) return false;
  const Shape& shape = weights->second;
  std::int64_t groups = 1;
  bool dilated = false;
  for (const auto& argument : op.arg()) {
    if (argument.name() == "group") groups = argument.i();
    if (argument.name() == "dilations") dilated = !all_are(argument.ints(), 1);
  }
  return !dilated && shape == Shape{groups, 1, 3, 3};
}

void convert(const std::string& model, const std::string& init_path, const std::string& predict_path,
             const Shape& input_shape, const std::string& engine) {
  caffe2::onnx::Caffe2Backend backend;
  const std::unique_ptr<caffe2::onnx::Caffe2BackendRep> nets(backend.Prepare(read_file(model), "CPU", {}));
  caffe2::NetDef& predict = nets->pred_net();
  predict.set_name("predict");
  auto* const shape = predict.add_arg();
  shape->set_name("input_shape");
  for (const auto size : input_shape) shape->add_ints(size);
  if (!engine.empty()) {
    const auto shapes = filled_shapes(nets->init_net());
    for (auto& op : *predict.mutable_op()) {
      if (is_depthwise_3x3(op, shapes)) op.set_engine(engine);
    }
  }
  caffe2::NetDef init = nets->init_net();
  // Caffe2 gives them in a hash table's order, which changes from run to run: the same network is to be the same file.
  std::sort(init.mutable_external_output()->begin(), init.mutable_external_output()->end());
  write_net(init_path, init);
  write_net(predict_path, predict);
  for (const auto& op : predict.op()) {
    std::cout << op.type() << (op.engine().empty() ? "" : ":" + op.engine()) << '\n';
  }
}

void run(const std::string& init_path, const std::string& predict_path, const std::string& input_path,
         const Shape& input_shape, const std::string& output_path) {
  caffe2::Workspace workspace;
  if (!workspace.RunNetOnce(read_net(init_path))) throw std::runtime_error("the init net failed");
  const caffe2::NetDef predict = read_net(predict_path);

  caffe2::Tensor input(input_shape, caffe2::CPU);
  const std::string values = read_file(input_path);
  auto* const target = input.mutable_data<float>();
  if (values.size() != input.nbytes()) throw std::runtime_error(input_path + " does not fit the input's shape");
  std::copy(values.begin(), values.end(), reinterpret_cast<char*>(target));
  for (const auto& name : predict.external_input()) {
    if (!workspace.HasBlob(name)) caffe2::BlobSetTensor(workspace.CreateBlob(name), input.Clone());
  }

  const auto net = caffe2::CreateNet(predict, &workspace);
  if (!net || !net->Run()) throw std::runtime_error("the predict net failed");
  const auto& output = workspace.GetBlob(predict.external_output(0))->Get<caffe2::Tensor>();
  if (!output.IsType<float>()) throw std::runtime_error("the output is not float32");
  write_file(output_path, output.raw_data(), output.nbytes());
  for (int axis = 0; axis < output.dim(); ++axis) std::cout << (axis > 0 ? "," : "") << output.size(axis);
  std::cout << '\n';
}

// Quiet, and on one thread: the same sums in the same order each time.
void start_caffe2() {
  FLAGS_minloglevel = google::GLOG_FATAL;  // Caffe2 complains of the CPU before it has read its own flag
  char program[] = "to_caffe2", quiet[] = "--caffe2_log_level=3", one_thread[] = "--caffe2_omp_num_threads=1";
  char* words[] = {program, quiet, one_thread, nullptr};
  int count = 3;
  char** arguments = words;
  if (!caffe2::GlobalInit(&count, &arguments)) throw std::runtime_error("Caffe2 did not start");
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  try {
    start_caffe2();
    if ((words.size() == 5 || words.size() == 6) && words[0] == "convert") {
      convert(words[1], words[2], words[3], parse_shape(words[4]), words.size() == 6 ? words[5] : "");
    } else if (words.size() == 6 && words[0] == "run") {
      run(words[1], words[2], words[3], parse_shape(words[4]), words[5]);
    } else {
      std::cerr << kUsage;
      return 1;
    }
  } catch (const c10::Error& error) {  // its what() goes on with a backtrace
    std::cerr << error.what_without_backtrace() << '\n';
    return 1;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
