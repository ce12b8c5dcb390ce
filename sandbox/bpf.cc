// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/bpf.h"

#include <array>
#include <bit>
#include <cstddef>

namespace parley::internal {
namespace {

bool Holds(uint16_t condition, uint32_t accumulator, uint32_t constant) {
  switch (condition) {
    case BPF_JEQ:
      return accumulator == constant;
    case BPF_JGT:
      return accumulator > constant;
    case BPF_JGE:
      return accumulator >= constant;
    default:  // BPF_JSET; the caller has ruled out the rest
      return (accumulator & constant) != 0;
  }
}

}  // namespace

uint32_t RunFilter(absl::Span<const sock_filter> program, const seccomp_data& call) {
  constexpr uint32_t kMalformed = SECCOMP_RET_KILL_PROCESS;
  // What the program can load: number, architecture, instruction pointer, arguments.
  const auto words = std::bit_cast<std::array<uint32_t, sizeof(call) / 4>>(call);
  uint32_t accumulator = 0;
  // Jumps only go forward, so the loop ends after at most program.size() steps.
  for (size_t at = 0; at < program.size(); ++at) {
    const sock_filter& instruction = program[at];
    switch (instruction.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (instruction.k % 4 != 0 || instruction.k > sizeof(call) - 4) return kMalformed;
        accumulator = words[instruction.k / 4];
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= instruction.k;
        break;
      case BPF_JMP | BPF_JA:
        if (instruction.k >= program.size()) return kMalformed;
        at += instruction.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
      case BPF_JMP | BPF_JGT | BPF_K:
      case BPF_JMP | BPF_JGE | BPF_K:
      case BPF_JMP | BPF_JSET | BPF_K:
        at += Holds(BPF_OP(instruction.code), accumulator, instruction.k) ? instruction.jt
                                                                          : instruction.jf;
        break;
      case BPF_RET | BPF_K:
        return instruction.k;
      default:
        return kMalformed;
    }
  }
  return kMalformed;
}

}  // namespace parley::internal
