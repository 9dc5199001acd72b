// Marks around a pass, for an emulator that counts what lies between them (device/emulator/): one instruction each that
// does nothing. No counter of the CPU and no clock is touched, so that a pass is the same with and without one who looks.
//
// On Arm they are hints that no extension has given a meaning (Arm ARM, DDI 0487, C6.2 HINT and F5.1 NOP: "unallocated
// hints behave as NOP"); on x86 a NOP with an address as operand, which it does not access (Intel SDM, volume 2, NOP).
#pragma once

namespace tenpass {

inline void mark_pass_begin() {
#if defined(__aarch64__)
  asm volatile("hint #0x70" ::: "memory");
#elif defined(__thumb__)
  asm volatile(".inst.w 0xf3af8070" ::: "memory");
#elif defined(__arm__)
  asm volatile(".inst 0xe320f070" ::: "memory");
#elif defined(__x86_64__)
  asm volatile("nopl 0x74656e70(%%rax)" ::: "memory");
#else
#error "no mark is known for this architecture"
#endif
}

inline void mark_pass_end() {
#if defined(__aarch64__)
  asm volatile("hint #0x71" ::: "memory");
#elif defined(__thumb__)
  asm volatile(".inst.w 0xf3af8071" ::: "memory");
#elif defined(__arm__)
  asm volatile(".inst 0xe320f071" ::: "memory");
#elif defined(__x86_64__)
  asm volatile("nopl 0x74656e71(%%rax)" ::: "memory");
#else
#error "no mark is known for this architecture"
#endif
}

}  // namespace tenpass
