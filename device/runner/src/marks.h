// Marks around what an emulator is to count and to time (device/emulator/): one instruction each that does nothing. No
// counter of the CPU and no clock is touched, so that what lies between is the same with and without one who looks.
// C and C++; the runner has them around each pass, and any other program may have them around what matters in it. A point
// lies between the two: what was counted up to there is told of, too.
//
// On Arm they are hints that no extension has given a meaning (Arm ARM, DDI 0487, C6.2 HINT and F5.1 NOP: "unallocated
// hints behave as NOP"); on x86 a NOP with an address as operand, which it does not access (Intel SDM, volume 2, NOP).
#pragma once

static inline void tenpass_mark_begin(void) {
#if defined(__aarch64__)
  __asm__ volatile("hint #0x70" ::: "memory");
#elif defined(__thumb__)
  __asm__ volatile(".inst.w 0xf3af8070" ::: "memory");
#elif defined(__arm__)
  __asm__ volatile(".inst 0xe320f070" ::: "memory");
#elif defined(__x86_64__)
  __asm__ volatile("nopl 0x74656e70(%%rax)" ::: "memory");
#else
#error "no mark is known for this architecture"
#endif
}

static inline void tenpass_mark_end(void) {
#if defined(__aarch64__)
  __asm__ volatile("hint #0x71" ::: "memory");
#elif defined(__thumb__)
  __asm__ volatile(".inst.w 0xf3af8071" ::: "memory");
#elif defined(__arm__)
  __asm__ volatile(".inst 0xe320f071" ::: "memory");
#elif defined(__x86_64__)
  __asm__ volatile("nopl 0x74656e71(%%rax)" ::: "memory");
#else
#error "no mark is known for this architecture"
#endif
}

static inline void tenpass_mark_point(void) {
#if defined(__aarch64__)
  __asm__ volatile("hint #0x72" ::: "memory");
#elif defined(__thumb__)
  __asm__ volatile(".inst.w 0xf3af8072" ::: "memory");
#elif defined(__arm__)
  __asm__ volatile(".inst 0xe320f072" ::: "memory");
#elif defined(__x86_64__)
  __asm__ volatile("nopl 0x74656e72(%%rax)" ::: "memory");
#else
#error "no mark is known for this architecture"
#endif
}
