// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_FILTER_COMPILER_H_
#define PARLEY_SANDBOX_FILTER_COMPILER_H_

// Makes the program that the kernel runs at each system call (classic BPF) from a list of rules.
// Internal to sandbox/: Policy::Compile settles a profile's rules and calls it.
//
// A worker compiles its own filter at lock-down, since the numbers of its descriptors are in it. So
// this takes 0.1 ms where libseccomp took 5 for the same list, and leaves no memory behind.
//
// The program: other architectures, and x32's numbers, kill. Then a binary search among the calls
// that have rules. Then, for the one that was found, the filters of its rules one after the other,
// 64 bits as two words; rules that begin with the same filter share it.
//
// Trust: depends on nothing that a peer wrote. Three others judge what comes out: the interpreter
// in bpf.h, the model of fuzz/sandbox_policy_fuzzer.cc, which knows no BPF, and libseccomp's own
// compiler (`FilterCompilerTest.AgreesWithLibseccompAboutEachProfile`).
// Threads: a pure function; any.
//
//   std::vector<sock_filter> program =
//       CompileFilter({{SYS_getpid, {}, SECCOMP_RET_ALLOW}}, AUDIT_ARCH_X86_64,
//                     SECCOMP_RET_KILL_PROCESS);

#include <linux/filter.h>

#include <cstdint>
#include <vector>

#include "parley/sandbox/profile.h"

namespace parley::internal {

struct FilterRule {
  uint32_t number = 0;                  // of the call
  std::vector<ArgumentFilter> filters;  // all of them hold, in any order
  uint32_t action = 0;                  // SECCOMP_RET_* with its data
};

// `arch`: this machine's AUDIT_ARCH_*. `unlisted`: the action where no rule holds. Of two rules of
// one call that hold for the same arguments the actions are the same. May be longer than the kernel
// takes (BPF_MAXINSNS).
std::vector<sock_filter> CompileFilter(std::vector<FilterRule> rules, uint32_t arch,
                                       uint32_t unlisted);

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_FILTER_COMPILER_H_
