#include <doctest/doctest.h>

#include <cstring>
#include <fstream>
#include <iterator>

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
  const Tensor tensor = read_tensor(folder.with_floats("in", values), ElementType::float32, {1, 2, 3});
  CHECK(tensor.type == ElementType::float32);
  CHECK(tensor.shape == Shape{1, 2, 3});
  REQUIRE(tensor.bytes.size() == 24);
  CHECK(std::memcmp(tensor.bytes.data(), values.data(), 24) == 0);
}

TEST_CASE("a scalar is one element, of any type") {
  const TemporaryFolder folder;
  const auto path = folder.with_values<std::int64_t>("in", {-2});
  CHECK(read_tensor(path, ElementType::int64, {}).bytes.size() == 8);
  CHECK(read_tensor(folder.with_text("bool", "x"), ElementType::boolean, {}).bytes.size() == 1);
  CHECK(refusal([&] { read_tensor(path, ElementType::int32, {}); }) == Status::bad_input);
}

TEST_CASE("a tensor without elements is an empty file") {
  const TemporaryFolder folder;
  CHECK(read_tensor(folder.with_text("empty", ""), ElementType::float32, {1, 0, 3}).bytes.empty());
  const std::string more = folder.with_text("more", "1234");
  CHECK(refusal([&] { read_tensor(more, ElementType::float32, {1, 0, 3}); }) == Status::bad_input);
}

TEST_CASE("a file of a size that is not its type's says so in words") {
  const TemporaryFolder folder;
  const auto path = folder.with_text("in", "123456");
  CHECK_THROWS_WITH_AS(read_tensor(path, ElementType::int64, {1, 2}),
                       ("'" + path + "' holds 6 bytes, int64 (1, 2) needs 16").c_str(), Failure);
  CHECK_THROWS_WITH_AS(read_tensor(path, ElementType::float16, {2}),
                       ("'" + path + "' holds more than 4 bytes, float16 (2) needs 4").c_str(), Failure);
}

TEST_CASE("outputs are written one after the other") {
  const TemporaryFolder folder;
  const std::vector<float> floats{1.5F, -2};
  const std::vector<std::int64_t> integers{7};
  OutputFile(folder.path("out")).write({{ElementType::float32, {2}, floats.data(), 8},
                                        {ElementType::uint8, {0, 4}, nullptr, 0},
                                        {ElementType::int64, {}, integers.data(), 8}});
  std::ifstream file(folder.path("out"), std::ios::binary);
  const std::string written(std::istreambuf_iterator<char>(file), {});
  REQUIRE(written.size() == 16);
  CHECK(std::memcmp(written.data(), floats.data(), 8) == 0);
  CHECK(std::memcmp(written.data() + 8, integers.data(), 8) == 0);
}

TEST_CASE("a tensor file of another size is bad input") {
  const TemporaryFolder folder;
  const auto path = folder.with_floats("in", {1, 2, 3, 4});
  CHECK(refusal([&] { read_tensor(path, ElementType::float32, {5}); }) == Status::bad_input);
  CHECK(refusal([&] { read_tensor(path, ElementType::float32, {3}); }) == Status::bad_input);
  CHECK(refusal([&] { read_tensor(folder.with_text("odd", "12345"), ElementType::float32, {1}); }) == Status::bad_input);
  CHECK(refusal([&] { read_tensor(folder.with_text("empty", ""), ElementType::float32, {1}); }) == Status::bad_input);
}

TEST_CASE("a missing file or a folder is unreadable") {
  const TemporaryFolder folder;
  CHECK(refusal([&] { read_tensor(folder.path("none"), ElementType::float32, {1}); }) == Status::unreadable);
  CHECK(refusal([&] { read_tensor(folder.path(""), ElementType::float32, {1}); }) == Status::unreadable);
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
  CHECK(refusal([&] { full.write({{ElementType::float32, {100'000}, values.data(), values.size() * 4}}); }) == Status::unwritable);
  OutputFile full_at_the_end("/dev/full");
  CHECK(refusal([&] { full_at_the_end.write({{ElementType::float32, {1}, values.data(), 4}}); }) == Status::unwritable);
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
