// The part of QEMU's plugin interface that count.cpp uses, declared by hand from its public documentation ("QEMU TCG
// Plugins", API): Debian packages no header. The emulator that loads the plugin has the functions.
//
// TENPASS_PLUGIN_API is the interface's version: 1 in QEMU 7.2, 4 in QEMU 10.0 (toolchain/emulator.py asks the emulator
// which one it is). Of what is used here, version 3 changed how an instruction's bytes are had. An emulator that does
// not support the version refuses the plugin, and says so.
#pragma once

#include <cstddef>
#include <cstdint>

#ifndef TENPASS_PLUGIN_API
#error "TENPASS_PLUGIN_API is not set: build through toolchain/emulator.py"
#endif

#define TENPASS_PLUGIN_EXPORT __attribute__((visibility("default")))

extern "C" {

using qemu_plugin_id_t = std::uint64_t;
using qemu_plugin_meminfo_t = std::uint32_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

struct qemu_info_t {
  const char* target_name;
  struct {
    int min;
    int cur;
  } version;
  bool system_emulation;
  struct {  // in a union with nothing else
    int smp_vcpus;
    int max_vcpus;
  } system;
};

enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS = 0 };
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_RW = 3 };

using qemu_plugin_vcpu_tb_trans_cb_t = void (*)(qemu_plugin_id_t id, qemu_plugin_tb* tb);
using qemu_plugin_vcpu_udata_cb_t = void (*)(unsigned vcpu_index, void* userdata);
using qemu_plugin_vcpu_mem_cb_t = void (*)(unsigned vcpu_index, qemu_plugin_meminfo_t info, std::uint64_t vaddr,
                                           void* userdata);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_tb_trans_cb_t cb);
void qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_insn* insn, qemu_plugin_vcpu_udata_cb_t cb,
                                            qemu_plugin_cb_flags flags, void* userdata);
void qemu_plugin_register_vcpu_mem_cb(qemu_plugin_insn* insn, qemu_plugin_vcpu_mem_cb_t cb, qemu_plugin_cb_flags flags,
                                      qemu_plugin_mem_rw rw, void* userdata);

std::size_t qemu_plugin_tb_n_insns(const qemu_plugin_tb* tb);
qemu_plugin_insn* qemu_plugin_tb_get_insn(const qemu_plugin_tb* tb, std::size_t index);
std::uint64_t qemu_plugin_insn_vaddr(const qemu_plugin_insn* insn);
void* qemu_plugin_insn_haddr(const qemu_plugin_insn* insn);
std::size_t qemu_plugin_insn_size(const qemu_plugin_insn* insn);
#if TENPASS_PLUGIN_API < 3
const void* qemu_plugin_insn_data(const qemu_plugin_insn* insn);
#else
std::size_t qemu_plugin_insn_data(const qemu_plugin_insn* insn, void* destination, std::size_t size);
#endif
unsigned qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t info);

}  // extern "C"
