#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "failure.hpp"
#include "options.hpp"

namespace tenpass::test {
namespace {

const std::vector<std::string> kLeast{"--model", "m", "--input", "i", "--shape", "1,3,4,4", "--output", "o"};

std::optional<Options> parse(std::vector<std::string> words, std::ostream& help) {
  words.insert(words.begin(), "runner");
  std::vector<const char*> argv;
  for (const auto& word : words) argv.push_back(word.c_str());
  return parse_options(static_cast<int>(argv.size()), argv.data(), help);
}

Options least_and(const std::vector<std::string>& more) {
  auto words = kLeast;
  words.insert(words.end(), more.begin(), more.end());
  std::ostringstream help;
  return parse(words, help).value();
}

Status refusal(const std::vector<std::string>& more) {
  try {
    least_and(more);
  } catch (const Failure& failure) {
    return failure.status();
  }
  FAIL("not refused");
  return Status::run_failed;
}

}  // namespace

TEST_CASE("what is not said has the protocol's default") {
  const Options options = least_and({});
  CHECK(options.models == std::vector<std::string>{"m"});
  CHECK(options.output == "o");
  REQUIRE(options.inputs.size() == 1);
  CHECK(options.inputs[0].path == "i");
  CHECK(options.inputs[0].type == ElementType::float32);
  CHECK(options.inputs[0].shape == Shape{1, 3, 4, 4});
  CHECK(options.provider == "cpu");
  CHECK(options.threads == 1);
  CHECK(options.warmup == 1);
  CHECK(options.more_warmup == 0);
  CHECK(options.passes == 10);
  CHECK(options.settle_ms == 0);
  CHECK_FALSE(options.repeatable);
  CHECK_FALSE(options.counters);
  CHECK(options.profile_passes == 0);
  CHECK(options.deadline_seconds == 0);
  CHECK_FALSE(options.cpu_mask);
}

TEST_CASE("every option is read") {
  const Options options = least_and({"--model", "n", "--threads", "4", "--cpus", "0xF0", "--warmup", "0",
                                     "--passes", "7", "--settle-ms", "50", "--more-warmup", "3", "--repeatable", "--counters", "--profile-passes", "3",
                                     "--deadline-seconds", "60", "--provider", "xnnpack"});
  CHECK(options.models == std::vector<std::string>{"m", "n"});
  CHECK(options.provider == "xnnpack");
  CHECK(options.threads == 4);
  CHECK(options.cpu_mask == 0xF0);
  CHECK(options.warmup == 0);
  CHECK(options.more_warmup == 3);
  CHECK(options.repeatable);
  CHECK(options.passes == 7);
  CHECK(options.settle_ms == 50);
  CHECK(options.counters);
  CHECK(options.profile_passes == 3);
  CHECK(options.deadline_seconds == 60);
}

TEST_CASE("several inputs each have a type and a shape, in the order of the call") {
  const Options options = least_and({"--type", "int64", "--input", "j", "--type", "bool", "--shape", "scalar",
                                     "--input", "k", "--shape", "7", "--type", "float16"});
  REQUIRE(options.inputs.size() == 3);
  CHECK(options.inputs[0].type == ElementType::int64);
  CHECK(options.inputs[0].shape == Shape{1, 3, 4, 4});
  CHECK(options.inputs[1].path == "j");
  CHECK(options.inputs[1].type == ElementType::boolean);
  CHECK(options.inputs[1].shape.empty());
  CHECK(options.inputs[2].path == "k");
  CHECK(options.inputs[2].type == ElementType::float16);
  CHECK(options.inputs[2].shape == Shape{7});
}

TEST_CASE("without a type all inputs are of float32") {
  const Options options = least_and({"--input", "j", "--shape", "2"});
  REQUIRE(options.inputs.size() == 2);
  CHECK(options.inputs[0].type == ElementType::float32);
  CHECK(options.inputs[1].type == ElementType::float32);
}

TEST_CASE("every element type has its name and its size") {
  CHECK(type_names() == std::vector<std::string>{"float32", "float16", "float64", "int8", "uint8", "int16", "uint16",
                                                 "int32", "uint32", "int64", "uint64", "bool"});
  std::vector<std::size_t> bytes;
  for (const auto& name : type_names()) {
    CAPTURE(name);
    REQUIRE(type_named(name));
    CHECK(type_name(*type_named(name)) == name);
    bytes.push_back(element_bytes(*type_named(name)));
  }
  CHECK(bytes == std::vector<std::size_t>{4, 2, 8, 1, 1, 2, 2, 4, 4, 8, 8, 1});
  CHECK_FALSE(type_named("bfloat16"));
  CHECK_FALSE(type_named(""));
}

TEST_CASE("an input without its shape or type, or of an unknown type, is a usage error") {
  CHECK(refusal({"--input", "j"}) == Status::usage);
  CHECK(refusal({"--shape", "1"}) == Status::usage);
  CHECK(refusal({"--type", "int8", "--input", "j", "--shape", "1"}) == Status::usage);
  CHECK(refusal({"--type", "int8", "--type", "int8"}) == Status::usage);
  for (const std::string type : {"", "float", "bfloat16", "string", "Float32", "int4"}) {
    CAPTURE(type);
    CHECK(refusal({"--type", type}) == Status::usage);
  }
}

TEST_CASE("an input is bounded by its bytes, not by its elements") {
  const auto shaped = [](const std::string& type, const std::string& shape) {
    std::ostringstream help;
    return parse({"--model", "m", "--input", "i", "--output", "o", "--type", type, "--shape", shape}, help);
  };
  CHECK_NOTHROW(shaped("uint8", "2147483647"));
  CHECK_THROWS_AS(shaped("uint8", "2147483648"), Failure);
  CHECK_NOTHROW(shaped("float64", "268435455"));
  CHECK_THROWS_AS(shaped("float64", "268435456"), Failure);
  CHECK_NOTHROW(shaped("int8", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"));
  CHECK_THROWS_AS(shaped("int8", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"), Failure);
}

TEST_CASE("a size may be 0, wherever it stands: then there are no elements") {
  for (const std::string shape : {"0", "0,3", "1,0,3", "1,8,0", "0,0"}) {
    CAPTURE(shape);
    const Options options = least_and({"--input", "j", "--shape", shape});
    CHECK(tensor_bytes(ElementType::float32, options.inputs[1].shape) == 0);
  }
}

TEST_CASE("thermal zones are numbers with their units") {
  CHECK(least_and({}).zones.empty());
  const auto zones = least_and({"--zones", "3:100,17:1000"}).zones;
  REQUIRE(zones.size() == 2);
  CHECK((zones[0].number == 3 && zones[0].millicelsius == 100));
  CHECK((zones[1].number == 17 && zones[1].millicelsius == 1000));
  for (const std::string text : {"3", "3:", ":1", "3:0", "3:1,", ",3:1", "3:1:1", "a:1", "-1:1", "3:12345", "3:1;4:1"}) {
    CAPTURE(text);
    CHECK(refusal({"--zones", text}) == Status::usage);
  }
}

TEST_CASE("all 64 bits of a mask count") {
  CHECK(least_and({"--cpus", "0xffffffffffffffff"}).cpu_mask == ~std::uint64_t{0});
}

TEST_CASE("an unknown option, a stray word or a value out of range is a usage error") {
  CHECK(refusal({"--verbose"}) == Status::usage);
  CHECK(refusal({"stray"}) == Status::usage);
  CHECK(refusal({"--output", "twice"}) == Status::usage);
  CHECK(refusal({"--provider", "gpu"}) == Status::usage);
  CHECK(refusal({"--provider", "XNNPACK"}) == Status::usage);
  CHECK(refusal({"--threads", "0"}) == Status::usage);
  CHECK(refusal({"--threads", "many"}) == Status::usage);
  CHECK(refusal({"--settle-ms", "-1"}) == Status::usage);
  CHECK(refusal({"--passes", "0"}) == Status::usage);
  CHECK(refusal({"--passes", "1.5"}) == Status::usage);
  CHECK(refusal({"--warmup", "-1"}) == Status::usage);
  CHECK(refusal({"--more-warmup", "-1"}) == Status::usage);
  CHECK(refusal({"--counters=instructions"}) == Status::usage);
  CHECK(refusal({"--profile-passes", "-1"}) == Status::usage);
  CHECK(refusal({"--deadline-seconds", "0"}) == Status::usage);
  for (const std::string mask : {"0x", "0x0", "3", "0xg", "-0x1", "0x1ffffffffffffffff"}) {
    CAPTURE(mask);
    CHECK(refusal({"--cpus", mask}) == Status::usage);
  }
}

TEST_CASE("a missing option or a shape that cannot be is a usage error") {
  std::ostringstream help;
  CHECK_THROWS_AS(parse({}, help), Failure);
  CHECK_THROWS_AS(parse({"--model", "m", "--input", "i", "--shape", "1"}, help), Failure);
  for (const std::string shape : {"", ",", "0,", "1,-3", "1,x", "1,,2", "1,2,", "1x3", "1, 3", "99999999999",
                                  "65536,65536,65536,65536", "0,65536,65536", "-0", "scalar,1", "Scalar"}) {
    CAPTURE(shape);
    CHECK_THROWS_AS(parse({"--model", "m", "--input", "i", "--output", "o", "--shape", shape}, help), Failure);
  }
}

TEST_CASE("help names every option and is not an error") {
  std::ostringstream help;
  CHECK_FALSE(parse({"--help"}, help));
  for (const std::string option : {"--model", "--input", "--type", "--shape", "--output", "--provider", "--threads", "--cpus", "--warmup", "--more-warmup",
                             "--passes", "--counters", "--profile-passes", "--deadline-seconds"}) {
    CAPTURE(option);
    CHECK(help.str().find(option) != std::string::npos);
  }
}

}  // namespace tenpass::test
