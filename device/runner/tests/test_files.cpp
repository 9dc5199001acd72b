#include <doctest/doctest.h>

#include "failure.hpp"
#include "files.hpp"
#include "temporary_folder.hpp"

namespace tenpass::test {
namespace {

template <typename Work>
Status refusal(Work&& work) {
  try {
    work();
  } catch (const Failure& failure) {
    return failure.status();
  }
  FAIL("not refused");
  return Status::run_failed;
}

}  // namespace

TEST_CASE("a tensor is read as it was written") {
  const TemporaryFolder folder;
  const std::vector<float> values{1.0F, -2.5F, 0.0F, 3e38F, 1e-40F, 7.0F};
  CHECK(read_tensor(folder.with_floats("in", values), {1, 2, 3}) == values);
}

TEST_CASE("a tensor file of another size is bad input") {
  const TemporaryFolder folder;
  const auto path = folder.with_floats("in", {1, 2, 3, 4});
  CHECK(refusal([&] { read_tensor(path, {5}); }) == Status::bad_input);
  CHECK(refusal([&] { read_tensor(path, {3}); }) == Status::bad_input);
  CHECK(refusal([&] { read_tensor(folder.with_text("odd", "12345"), {1}); }) == Status::bad_input);
  CHECK(refusal([&] { read_tensor(folder.with_text("empty", ""), {1}); }) == Status::bad_input);
}

TEST_CASE("a missing file or a folder is unreadable") {
  const TemporaryFolder folder;
  CHECK(refusal([&] { read_tensor(folder.path("none"), {1}); }) == Status::unreadable);
  CHECK(refusal([&] { read_tensor(folder.path(""), {1}); }) == Status::unreadable);
  CHECK(refusal([&] { require_readable(folder.path("none")); }) == Status::unreadable);
  CHECK(refusal([&] { require_readable(folder.path("")); }) == Status::unreadable);
  CHECK_NOTHROW(require_readable(folder.with_text("empty", "")));
}

TEST_CASE("an output that cannot be made, or does not fit on its device, is unwritable") {
  const TemporaryFolder folder;
  CHECK(refusal([&] { OutputFile{folder.path("no/such/folder")}; }) == Status::unwritable);
  CHECK(refusal([&] { OutputFile{folder.path("")}; }) == Status::unwritable);
  const std::vector<float> values(100'000, 1.0F);
  OutputFile full("/dev/full");
  CHECK(refusal([&] { full.write({{100'000}, values.data(), values.size() * 4}); }) == Status::unwritable);
  OutputFile full_at_the_end("/dev/full");
  CHECK(refusal([&] { full_at_the_end.write({{1}, values.data(), 4}); }) == Status::unwritable);
}

TEST_CASE("a scratch folder goes with all that is in it, and needs a folder to be in") {
  const TemporaryFolder folder;
  std::string path;
  {
    const ScratchFolder scratch(folder.path(""));
    path = scratch.path();
    std::ofstream(path + "/left") << "something";
    CHECK(std::filesystem::exists(path + "/left"));
  }
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK(refusal([&] { ScratchFolder{folder.path("none")}; }) == Status::unwritable);
}

}  // namespace tenpass::test
