// The files of a run. Messages name the file and the system's reason.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "tensor.hpp"

namespace tenpass {

// Throws Failure(unreadable) unless the first byte of the file, if it has any, can be read.
void require_readable(const std::string& path);

// A file of raw values, exactly as many as the shape says.
// Throws Failure(unreadable) or, if it holds more or fewer, Failure(bad_input).
Tensor read_tensor(const std::string& path, ElementType type, const Shape& shape);

// Opened before the work starts, so that an hour's run does not end on a wrong path.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path);  // Throws Failure(unwritable).

  // All of them, one after the other, or Failure(unwritable). To be called once.
  void write(const std::vector<OutputView>& tensors);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
};

// A folder in `parent`, gone with all that is in it when this is. Throws Failure(unwritable).
class ScratchFolder {
 public:
  explicit ScratchFolder(const std::string& parent);
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace tenpass
