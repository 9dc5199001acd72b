#include "files.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "failure.hpp"

namespace tenpass {
namespace {

struct CloseRead {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using ReadFile = std::unique_ptr<std::FILE, CloseRead>;

Failure failure(Status status, const char* what, const std::string& path) {
  return {status, std::string("cannot ") + what + " '" + path + "': " + std::strerror(errno)};
}

ReadFile open_to_read(const std::string& path) {
  ReadFile file(std::fopen(path.c_str(), "rb"));
  if (!file) throw failure(Status::unreadable, "open", path);
  return file;
}

}  // namespace

void require_readable(const std::string& path) {
  const ReadFile file = open_to_read(path);
  if (std::fgetc(file.get()) == EOF && std::ferror(file.get()) != 0) {
    throw failure(Status::unreadable, "read", path);
  }
}

Tensor read_tensor(const std::string& path, ElementType type, const Shape& shape) {
  const std::size_t wanted = tensor_bytes(type, shape);
  const ReadFile file = open_to_read(path);
  Tensor tensor{type, shape, std::vector<char>(wanted)};
  const std::size_t bytes = std::fread(tensor.bytes.data(), 1, wanted, file.get());
  const bool more = bytes == wanted && std::fgetc(file.get()) != EOF;
  if (std::ferror(file.get()) != 0) throw failure(Status::unreadable, "read", path);
  if (more || bytes != wanted) {
    throw Failure(Status::bad_input, "'" + path + "' holds " + (more ? "more than " : "") +
                                         std::to_string(bytes) + " bytes, " + as_text(type, shape) + " needs " +
                                         std::to_string(wanted));
  }
  return tensor;
}

OutputFile::OutputFile(const std::string& path) : path_(path), file_(std::fopen(path.c_str(), "wb")) {
  if (!file_) throw failure(Status::unwritable, "write", path_);
}

void OutputFile::write(const std::vector<OutputView>& tensors) {
  for (const auto& tensor : tensors) {
    if (tensor.bytes == 0) continue;  // there may be no data to point to
    if (std::fwrite(tensor.data, 1, tensor.bytes, file_.get()) != tensor.bytes) {
      throw failure(Status::unwritable, "write", path_);
    }
  }
  // What was buffered goes out here: a full device may show itself only now.
  if (std::fclose(file_.release()) != 0) throw failure(Status::unwritable, "write", path_);
}

ScratchFolder::ScratchFolder(const std::string& parent) : path_(parent + "/tenpass-XXXXXX") {
  if (mkdtemp(path_.data()) == nullptr) throw failure(Status::unwritable, "write below", parent);
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;  // what cannot be removed is left
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace tenpass
