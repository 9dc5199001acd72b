// ncnn_networks NETWORK.param ...: runs networks of ncnn as its own benchmark does: weights of zero, an input of 0.01,
// one thread. Each passes twice, and both passes are marked: the first finds the caches cold, the second is the one that
// counts. Prints each network's name when it is done.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

#include "allocator.h"
#include "cpu.h"
#include "datareader.h"
#include "marks.h"
#include "net.h"

namespace {

class Zeros : public ncnn::DataReader {
 public:
  int scan(const char*, void*) const override { return 0; }
  size_t read(void* to, size_t size_bytes) const override {
    std::memset(to, 0, size_bytes);
    return size_bytes;
  }
};

ncnn::UnlockedPoolAllocator blobs;
ncnn::PoolAllocator workspace;

// What the file says of its input: its line has 0=WIDTH 1=HEIGHT 2=CHANNELS.
ncnn::Mat input_of(const std::string& path) {
  int width = 0, height = 0, channels = 0;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    if (!(words >> word) || word != "Input") continue;
    while (words >> word) {
      std::sscanf(word.c_str(), "0=%d", &width);
      std::sscanf(word.c_str(), "1=%d", &height);
      std::sscanf(word.c_str(), "2=%d", &channels);
    }
    break;
  }
  if (width <= 0 || height <= 0 || channels <= 0) return ncnn::Mat();
  ncnn::Mat input(width, height, channels);
  input.fill(0.01f);
  return input;
}

bool pass(const ncnn::Net& net, const ncnn::Mat& input) {
  ncnn::Mat output;
  tenpass_mark_begin();
  ncnn::Extractor extractor = net.create_extractor();
  extractor.input(net.input_names()[0], input);
  const int status = extractor.extract(net.output_names()[0], output);
  tenpass_mark_end();
  return status == 0;
}

bool run(const std::string& path) {
  blobs.clear();
  workspace.clear();
  ncnn::Net net;
  net.opt.lightmode = true;
  net.opt.num_threads = 1;
  net.opt.use_int8_arithmetic = true;
  net.opt.blob_allocator = &blobs;
  net.opt.workspace_allocator = &workspace;
  Zeros zeros;
  if (net.load_param(path.c_str()) != 0 || net.load_model(zeros) != 0) return false;
  const ncnn::Mat input = input_of(path);
  return !input.empty() && pass(net, input) && pass(net, input);
}

}  // namespace

int main(int argc, char** argv) {
  blobs.set_size_compare_ratio(0.0f);
  workspace.set_size_compare_ratio(0.5f);
  ncnn::set_omp_dynamic(0);
  ncnn::set_omp_num_threads(1);
  for (int place = 1; place < argc; place++) {
    if (!run(argv[place])) {
      std::fprintf(stderr, "%s cannot be run\n", argv[place]);
      return 1;
    }
    std::printf("%s\n", argv[place]);
    std::fflush(stdout);
  }
}
