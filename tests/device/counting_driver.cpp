// Lets a test drive the headers of device/emulator/ without an emulator:
//     counting_driver caches L1I L1D L2     each SIZE_BYTES WAYS LINE_BYTES; "i FIRST LAST" or "d FIRST LAST" a line on
//                                           stdin (an access to bytes, in decimal); misses of L1I, L1D and L2 on stdout
//     counting_driver a32|t32|a64           an instruction's bits a line on stdin, in hexadecimal; "simd", "begin",
//                                           "end", "point" or "other" on stdout
#include <cstdint>
#include <iostream>
#include <string>

#include "arm_instructions.hpp"
#include "cache.hpp"

using namespace tenpass;

int caches(char** numbers) {
  const auto level = [&](const char* name, int first) {
    return Cache(name, std::stoull(numbers[first]), std::stoull(numbers[first + 1]), std::stoull(numbers[first + 2]));
  };
  try {
    Hierarchy hierarchy(level("l1i", 0), level("l1d", 3), level("l2", 6));
    char kind = 0;
    std::uint64_t first = 0, last = 0;
    while (std::cin >> kind >> first >> last) kind == 'i' ? hierarchy.fetch(first, last) : hierarchy.access(first, last);
    std::cout << hierarchy.misses.l1i << ' ' << hierarchy.misses.l1d << ' ' << hierarchy.misses.l2 << '\n';
  } catch (const std::invalid_argument& error) {
    std::cout << error.what() << '\n';
    return 1;
  }
  return 0;
}

int instructions(Encoding encoding) {
  std::uint32_t bits = 0;
  while (std::cin >> std::hex >> bits) {
    const Mark mark = mark_of(encoding, bits);
    std::cout << (mark == Mark::pass_begin     ? "begin"
                  : mark == Mark::pass_end     ? "end"
                  : mark == Mark::point        ? "point"
                  : is_simd(encoding, bits) ? "simd"
                                               : "other")
              << '\n';
  }
  return 0;
}

int main(int, char** arguments) {
  const std::string what = arguments[1];
  if (what == "caches") return caches(arguments + 2);
  return instructions(what == "a32" ? Encoding::a32 : what == "t32" ? Encoding::t32 : Encoding::a64);
}
