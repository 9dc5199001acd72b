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

std::string as_text(const Shape& shape) {
  std::string text;
  for (const auto size : shape) text += (text.empty() ? "" : ",") + std::to_string(size);
  return text;
}

}  // namespace

void require_readable(const std::string& path) {
  const ReadFile file = open_to_read(path);
  if (std::fgetc(file.get()) == EOF && std::ferror(file.get()) != 0) {
    throw failure(Status::unreadable, "read", path);
  }
}

std::vector<float> read_tensor(const std::string& path, const Shape& shape) {
  std::size_t elements = 1;
  for (const auto size : shape) elements *= static_cast<std::size_t>(size);
  const ReadFile file = open_to_read(path);
  std::vector<float> values(elements);
  const std::size_t bytes = std::fread(values.data(), 1, elements * sizeof(float), file.get());
  const bool more = bytes == elements * sizeof(float) && std::fgetc(file.get()) != EOF;
  if (std::ferror(file.get()) != 0) throw failure(Status::unreadable, "read", path);
  if (more || bytes != elements * sizeof(float)) {
    throw Failure(Status::bad_input, "'" + path + "' holds " + (more ? "more than " : "") +
                                         std::to_string(bytes) + " bytes, --shape " + as_text(shape) +
                                         " of float32 needs " + std::to_string(elements * sizeof(float)));
  }
  return values;
}

OutputFile::OutputFile(const std::string& path) : path_(path), file_(std::fopen(path.c_str(), "wb")) {
  if (!file_) throw failure(Status::unwritable, "write", path_);
}

void OutputFile::write(const OutputView& tensor) {
  if (std::fwrite(tensor.data, 1, tensor.bytes, file_.get()) != tensor.bytes) {
    throw failure(Status::unwritable, "write", path_);
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
