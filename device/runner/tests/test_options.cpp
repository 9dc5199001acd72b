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
  CHECK(options.input == "i");
  CHECK(options.output == "o");
  CHECK(options.shape == Shape{1, 3, 4, 4});
  CHECK(options.threads == 1);
  CHECK(options.warmup == 1);
  CHECK(options.passes == 10);
  CHECK(options.settle_ms == 0);
  CHECK_FALSE(options.counters);
  CHECK(options.profile_passes == 0);
  CHECK(options.deadline_seconds == 0);
  CHECK_FALSE(options.cpu_mask);
}

TEST_CASE("every option is read") {
  const Options options = least_and({"--model", "n", "--threads", "4", "--cpus", "0xF0", "--warmup", "0",
                                     "--passes", "7", "--settle-ms", "50", "--counters", "--profile-passes", "3",
                                     "--deadline-seconds", "60"});
  CHECK(options.models == std::vector<std::string>{"m", "n"});
  CHECK(options.threads == 4);
  CHECK(options.cpu_mask == 0xF0);
  CHECK(options.warmup == 0);
  CHECK(options.passes == 7);
  CHECK(options.settle_ms == 50);
  CHECK(options.counters);
  CHECK(options.profile_passes == 3);
  CHECK(options.deadline_seconds == 60);
}

TEST_CASE("all 64 bits of a mask count") {
  CHECK(least_and({"--cpus", "0xffffffffffffffff"}).cpu_mask == ~std::uint64_t{0});
}

TEST_CASE("an unknown option, a stray word or a value out of range is a usage error") {
  CHECK(refusal({"--verbose"}) == Status::usage);
  CHECK(refusal({"stray"}) == Status::usage);
  CHECK(refusal({"--input", "twice"}) == Status::usage);
  CHECK(refusal({"--threads", "0"}) == Status::usage);
  CHECK(refusal({"--threads", "many"}) == Status::usage);
  CHECK(refusal({"--settle-ms", "-1"}) == Status::usage);
  CHECK(refusal({"--passes", "0"}) == Status::usage);
  CHECK(refusal({"--passes", "1.5"}) == Status::usage);
  CHECK(refusal({"--warmup", "-1"}) == Status::usage);
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
  for (const std::string shape : {"", ",", "0", "1,-3", "1,x", "1,,2", "1,2,", "1x3", "1, 3", "99999999999",
                                  "65536,65536,65536,65536"}) {
    CAPTURE(shape);
    CHECK_THROWS_AS(parse({"--model", "m", "--input", "i", "--output", "o", "--shape", shape}, help), Failure);
  }
}

TEST_CASE("help names every option and is not an error") {
  std::ostringstream help;
  CHECK_FALSE(parse({"--help"}, help));
  for (const std::string option : {"--model", "--input", "--shape", "--output", "--threads", "--cpus", "--warmup",
                             "--passes", "--counters", "--profile-passes", "--deadline-seconds"}) {
    CAPTURE(option);
    CHECK(help.str().find(option) != std::string::npos);
  }
}

}  // namespace tenpass::test
