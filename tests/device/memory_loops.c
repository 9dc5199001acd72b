// Loops that read and write memory on a 32-bit Arm core, each between two marks: once to warm up and once to count. They are
// patterns of tinymembench and ramlat, whose figures for many chips are published (sbc-bench), written anew.
// Prints a line for each: its name, and how many lines of 64 bytes (or loads) it takes.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "marks.h"

enum { bytes = 4 << 20, line_bytes = 64, loads = 20000 };
static char *from, *to;

#define BARRIER __asm__ volatile("" ::: "memory")
#define LOADED "memory", "cc", "d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"

static void read_one_stream(void) {
  char *at = from, *end = from + bytes;
  __asm__ volatile("1: vldm %0!, {d0-d7}\n cmp %0, %1\n blo 1b" : "+&r"(at) : "r"(end) : LOADED);
}

static void read_two_streams(void) {
  char *at = from, *other = from + bytes / 2, *end = from + bytes / 2;
  __asm__ volatile(
      "1: vld1.32 {d0-d3}, [%0]!\n vld1.32 {d4-d7}, [%1]!\n vld1.32 {d0-d3}, [%0]!\n vld1.32 {d4-d7}, [%1]!\n"
      "cmp %0, %2\n blo 1b" : "+&r"(at), "+&r"(other) : "r"(end) : LOADED);
}

static void read_two_streams_with_pld(void) {
  char *at = from, *other = from + bytes / 2, *end = from + bytes / 2;
  __asm__ volatile(
      "1: pld [%0, #512]\n vld1.32 {d0-d3}, [%0]!\n pld [%1, #512]\n vld1.32 {d4-d7}, [%1]!\n"
      "vld1.32 {d0-d3}, [%0]!\n vld1.32 {d4-d7}, [%1]!\n cmp %0, %2\n blo 1b"
      : "+&r"(at), "+&r"(other) : "r"(end) : LOADED);
}

static void fill(void) {
  char *at = from, *end = from + bytes;
  __asm__ volatile("1: vst1.32 {d0-d3}, [%0]!\n vst1.32 {d4-d7}, [%0]!\n cmp %0, %1\n blo 1b"
                   : "+&r"(at) : "r"(end) : "memory", "cc");
}

#define STORE(word) at[word] = 1; BARRIER
static void fill_shuffled_in_16_bytes(void) {
  for (uint64_t* at = (uint64_t*)from; (char*)at < from + bytes; at += 8) {
    STORE(1); STORE(0); STORE(3); STORE(2); STORE(5); STORE(4); STORE(7); STORE(6);
  }
}
static void fill_shuffled_in_32_bytes(void) {
  for (uint64_t* at = (uint64_t*)from; (char*)at < from + bytes; at += 8) {
    STORE(3); STORE(0); STORE(2); STORE(1); STORE(7); STORE(4); STORE(6); STORE(5);
  }
}

static void copy(void) {
  char *at = from, *other = to, *end = from + bytes;
  __asm__ volatile(
      "1: vld1.32 {d0-d3}, [%0]!\n vld1.32 {d4-d7}, [%0]!\n vst1.32 {d0-d3}, [%1]!\n vst1.32 {d4-d7}, [%1]!\n"
      "cmp %0, %2\n blo 1b" : "+&r"(at), "+&r"(other) : "r"(end) : LOADED);
}

// Pointers in a ring through memory, in an order drawn from a seed.
static char* starts[4];
static volatile uintptr_t last;

static void make_ring(unsigned kilobytes) {
  const unsigned count = kilobytes * 1024 / line_bytes;
  unsigned* order = malloc(count * sizeof *order);
  for (unsigned at = 0; at < count; ++at) order[at] = at;
  uint32_t state = 12345;
  for (unsigned at = count - 1; at > 0; --at) {
    state = state * 1664525 + 1013904223;
    const unsigned other = (state >> 8) % at, mine = order[at];
    order[at] = order[other];
    order[other] = mine;
  }
  for (unsigned at = 0; at < count; ++at) *(char**)(from + line_bytes * order[at]) = from + line_bytes * order[(at + 1) % count];
  for (unsigned chase = 0; chase < 4; ++chase) starts[chase] = from + line_bytes * order[chase * (count / 4)];
  free(order);
}

static void chase_one(void) {
  char* one = starts[0];
  for (int load = 0; load < loads; ++load) one = *(char**)one;
  last = (uintptr_t)one;
}

static void chase_two(void) {
  char *one = starts[0], *two = starts[2];
  for (int load = 0; load < loads; ++load) one = *(char**)one, two = *(char**)two;
  last = (uintptr_t)one + (uintptr_t)two;
}

static void chase_four(void) {
  char *one = starts[0], *two = starts[1], *three = starts[2], *four = starts[3];
  for (int load = 0; load < loads; ++load) one = *(char**)one, two = *(char**)two, three = *(char**)three, four = *(char**)four;
  last = (uintptr_t)one + (uintptr_t)two + (uintptr_t)three + (uintptr_t)four;
}

static void run(const char* name, void (*loop)(void), int units) {
  for (int again = 0; again < 2; ++again) {
    tenpass_mark_begin();
    loop();
    tenpass_mark_end();
  }
  printf("%s %d\n", name, units);
}

int main(void) {
  from = aligned_alloc(4096, 4 * bytes);
  to = aligned_alloc(4096, bytes);
  memset(from, 1, 4 * bytes);
  memset(to, 1, bytes);
  const int lines = bytes / line_bytes;
  run("read", read_one_stream, lines);
  run("read-two", read_two_streams, lines);
  run("read-two-pld", read_two_streams_with_pld, lines);
  run("fill", fill, lines);
  run("fill-shuffled-16", fill_shuffled_in_16_bytes, lines);
  run("fill-shuffled-32", fill_shuffled_in_32_bytes, lines);
  run("copy", copy, lines);
  const unsigned sizes[] = {16, 128, 4096};
  for (unsigned at = 0; at < sizeof sizes / sizeof *sizes; ++at) {
    char name[32];
    make_ring(sizes[at]);
    void (*const chases[])(void) = {chase_one, chase_two, chase_four};
    for (int chase = 0; chase < 3; ++chase) {
      sprintf(name, "chase-%d-%uk", 1 << chase, sizes[at]);
      run(name, chases[chase], loads);
    }
  }
  return 0;
}
