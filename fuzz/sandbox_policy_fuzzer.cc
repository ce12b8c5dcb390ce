// SPDX-License-Identifier: Apache-2.0

// Attacks Policy::Compile and what comes out of it: profiles put together in any way, or of any
// rules at all, are compiled, and the program is asked about any system call.
//
// Three must agree: Policy::AskRaw; an interpreter of the program, below, written from the kernel's
// description of classic BPF; and a model that knows no BPF, only the list of rules. Besides, the
// program is one that the kernel takes, and no named profile, however combined, allows what the
// second list below forbids, read as the kernel reads arguments: many are cut to 32 bits.
//
// Input: kind of profile, its additions or rules, then questions; see Run.

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cinttypes>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/os/check.h"
#include "parley/sandbox/policy.h"
#include "parley/sandbox/profile.h"
#include "parley/sandbox/profile_for_tests.h"
#include "parley/sandbox/system_call_name.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

using testing::Script;
using Answer = Policy::Answer;

constexpr int kMaxAdditions = 8;
constexpr int kMaxRules = 24;
constexpr int kMaxQuestions = 64;

#if defined(__x86_64__)
constexpr uint32_t kNative = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kNative = AUDIT_ARCH_AARCH64;
#else
#error "which AUDIT_ARCH is this?"
#endif

struct Call {
  uint32_t arch = kNative;
  uint32_t number = 0;
  Policy::Arguments arguments = {};
};

// --- The first opinion: classic BPF as the kernel's documentation has it, one field at a time.

// Would the kernel take it? Whole, every jump inside, every load a word of seccomp_data, the last
// instruction a return.
void ExpectLoadable(const std::vector<sock_filter>& program) {
  const std::size_t size = program.size();
  PARLEY_CHECK(size > 0 && size <= 4096, "a program that is empty or too long");
  for (std::size_t at = 0; at < size; ++at) {
    const sock_filter& i = program[at];
    switch (BPF_CLASS(i.code)) {
      case BPF_LD:
        PARLEY_CHECK(i.code == (BPF_LD | BPF_W | BPF_ABS) && i.k % 4 == 0 && i.k <= 60, "a load");
        break;
      case BPF_JMP:
        if (BPF_OP(i.code) == BPF_JA) {
          PARLEY_CHECK(i.k < size - at - 1, "a jump out of the program");
        } else {
          PARLEY_CHECK(at + 1 + i.jt < size && at + 1 + i.jf < size, "a jump out of the program");
        }
        break;
      default:
        break;
    }
  }
  PARLEY_CHECK(BPF_CLASS(program.back().code) == BPF_RET, "the last instruction is no return");
}

uint32_t WordAt(const Call& call, uint32_t offset) {
  if (offset == 0) return call.number;
  if (offset == 4) return call.arch;
  if (offset == 8 || offset == 12) return 0;  // the instruction pointer
  const uint64_t argument = call.arguments[(offset - 16) / 8];
  return static_cast<uint32_t>(offset % 8 == 0 ? argument : argument >> 32);
}

Policy::Verdict Interpret(const std::vector<sock_filter>& program, const Call& call) {
  uint32_t a = 0;
  std::size_t at = 0;
  while (true) {
    const sock_filter& i = program[at++];
    switch (BPF_CLASS(i.code)) {
      case BPF_LD:
        a = WordAt(call, i.k);
        break;
      case BPF_ALU:
        PARLEY_CHECK(i.code == (BPF_ALU | BPF_AND | BPF_K), "arithmetic that is no AND");
        a &= i.k;
        break;
      case BPF_JMP: {
        if (BPF_OP(i.code) == BPF_JA) {
          at += i.k;
          break;
        }
        PARLEY_CHECK(BPF_SRC(i.code) == BPF_K, "a comparison with a register");
        bool holds = false;
        if (BPF_OP(i.code) == BPF_JEQ) holds = a == i.k;
        if (BPF_OP(i.code) == BPF_JGT) holds = a > i.k;
        if (BPF_OP(i.code) == BPF_JGE) holds = a >= i.k;
        if (BPF_OP(i.code) == BPF_JSET) holds = (a & i.k) != 0;
        at += holds ? i.jt : i.jf;
        break;
      }
      case BPF_RET:
        switch (i.k & 0xffff0000u) {
          case SECCOMP_RET_ALLOW:
            return {Answer::kAllow};
          case SECCOMP_RET_ERRNO:
            return {Answer::kErrno, static_cast<int>(i.k & 0xffff)};
          case SECCOMP_RET_USER_NOTIF:
            return {Answer::kReport};
          default:
            return {Answer::kKill};
        }
      default:
        PARLEY_CHECK(false, "an instruction that no filter needs");
    }
  }
}

// --- The second opinion: the rules alone.

constexpr uint32_t kNumbers = 1024;

// Name and number of each call, without asking for a name's number as the compiler does.
uint32_t NumberOf(const std::string& name) {
  static const std::map<std::string, uint32_t> numbers = [] {
    std::map<std::string, uint32_t> all;
    for (uint32_t i = 0; i < kNumbers; ++i) all[SystemCallName(static_cast<int>(i))] = i;
    return all;
  }();
  const auto found = numbers.find(name);
  return found == numbers.end() ? kNumbers : found->second;
}

bool Holds(const ArgumentFilter& filter, const Policy::Arguments& arguments) {
  const uint64_t argument = arguments[filter.index];
  if (filter.op == ArgumentFilter::Op::kAtMost) return argument <= filter.value;
  return (argument & filter.mask) == filter.value;
}

Policy::Verdict FirstThatHolds(const std::vector<Rule>& rules, Answer unlisted, const Call& call) {
  if (call.arch != kNative) return {Answer::kKill};
#if defined(__x86_64__)
  // x32's numbers; -1, "no call" to ptrace, is not one of them.
  if (call.number >= 0x4000'0000 && call.number != 0xffff'ffff) return {Answer::kKill};
#endif
  for (const Rule& rule : rules) {
    if (call.number >= kNumbers || NumberOf(rule.call) != call.number) continue;
    bool all = true;
    for (const ArgumentFilter& filter : rule.filters) all &= Holds(filter, call.arguments);
    if (!all) continue;
    switch (rule.answer) {
      case Rule::Answer::kAllow:
        return {Answer::kAllow};
      case Rule::Answer::kErrno:
        return {Answer::kErrno, rule.error};
      case Rule::Answer::kKill:
        return {Answer::kKill};
    }
  }
  return {unlisted};
}

// x86-64's uretprobe and uprobe.
bool IsNotAsked(const Call& call) {
  return call.arch == AUDIT_ARCH_X86_64 && (call.number == 335 || call.number == 336);
}

// --- What no worker may ever do, whatever its profile was put together from.

bool IsForbidden(const Call& call) {
  if (call.arch != kNative) return true;
  const auto low = [&](std::size_t i) { return static_cast<uint32_t>(call.arguments[i]); };
  const auto wide = [&](std::size_t i) { return call.arguments[i]; };
  switch (call.number) {
    case SYS_ptrace:
    case SYS_process_vm_readv:
    case SYS_process_vm_writev:
    case SYS_pidfd_getfd:
    case SYS_kcmp:
    case SYS_perf_event_open:
    case SYS_io_uring_setup:
    case SYS_io_uring_enter:
    case SYS_io_uring_register:
    case SYS_io_setup:
    case SYS_io_submit:
    case SYS_userfaultfd:
    case SYS_bpf:
    case SYS_mount:
    case SYS_unshare:
    case SYS_setns:
    case SYS_memfd_create:
    case SYS_execve:
    case SYS_execveat:
    case SYS_clone:
    case SYS_clone3:
    case SYS_openat:
    case SYS_socket:
    case SYS_connect:
    case SYS_bind:
    case SYS_accept4:
    case SYS_sendmsg:
    case SYS_recvmsg:
    case SYS_dup:
    case SYS_dup3:
    case SYS_ioctl:
    case SYS_kill:
    case SYS_tkill:
    case SYS_seccomp:
    case SYS_process_madvise:
    case SYS_shmat:
    case SYS_pkey_mprotect:
    case SYS_vmsplice:
    case SYS_splice:
    case SYS_keyctl:
    case SYS_truncate:
    case SYS_ftruncate:
    case SYS_fallocate:
      return true;
    case SYS_fcntl: {
      const uint32_t command = low(1);
      return command != F_GETFD && command != F_GETFL && command != F_GET_SEALS;
    }
    case SYS_futex: {
      const uint32_t operation = low(1) & ~uint32_t{FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME};
      return operation != FUTEX_WAIT && operation != FUTEX_WAKE && operation != FUTEX_WAIT_BITSET &&
             operation != FUTEX_WAKE_BITSET;
    }
    case SYS_sendto:
      return wide(4) != 0 || (low(3) & MSG_DONTWAIT) == 0 || (low(3) & MSG_NOSIGNAL) == 0;
    case SYS_recvfrom:
      return (low(3) & MSG_DONTWAIT) == 0;
    case SYS_mremap:
      return true;
    case SYS_epoll_ctl:
      return low(1) != EPOLL_CTL_MOD;
#ifdef SYS_poll
    case SYS_poll:
#endif
    case SYS_ppoll:
      return low(1) > 64;
    case SYS_mmap:
      return (low(2) & PROT_EXEC) != 0 || (low(3) & MAP_SHARED) != 0 ||
             (low(3) & MAP_ANONYMOUS) == 0 || (low(3) & MAP_HUGETLB) != 0;
    case SYS_mprotect:
      return (low(2) & PROT_EXEC) != 0;
    case SYS_madvise:
      return low(2) == MADV_REMOVE || low(2) == MADV_DOFORK || low(2) == MADV_MERGEABLE;
    case SYS_prctl:
      return low(0) != PR_GET_DUMPABLE;
    case SYS_tgkill:
      return low(2) != SIGABRT;
    case SYS_clock_gettime: {
      const auto clock = static_cast<int32_t>(low(0));
      return clock < 0 || clock > 11;
    }
    default:
      return call.number >= 0x4000'0000;
  }
}

// --- The script.

class Run {
 public:
  explicit Run(Script script) : script_(script) {
    const uint8_t kind = script_.Take8();
    named_ = (kind & 1) == 0;
    unlisted_ = (kind & 2) == 0 ? Answer::kReport : Answer::kKill;
  }

  void Everything() {
    const Profile profile = named_ ? Named() : OfAnyRules();
    const absl::StatusOr<Policy> policy = Policy::Compile(profile, {.unlisted = unlisted_});
    if (!policy.ok()) {
      PARLEY_CHECK(!named_, "a named profile was not compiled");
      PARLEY_CHECK(policy.status().code() == absl::StatusCode::kInternal ||
                       policy.status().code() == absl::StatusCode::kInvalidArgument,
                   "an error that is not typed as documented");
      return;
    }
    ExpectLoadable(policy->program());
    for (int i = 0; i < kMaxQuestions && (i == 0 || !script_.empty()); ++i) {
      Ask(*policy, profile.rules(), Question(profile.rules()));
    }
  }

 private:
  Profile Named() {
    Profile profile = Profile::Ring({3, 4});
    for (int i = script_.Take8() % (kMaxAdditions + 1); i > 0; --i) {
      const uint8_t what = script_.Take8();
      // Descriptors and process ids are the parent's; -1 is what it has where there is none.
      const int number = (what & 0x80) != 0 ? static_cast<int>(script_.Take32()) : what >> 3;
      switch (what % 8) {
        case 0:
          profile = profile.WithEventfd(number);
          break;
        case 1:
          profile = profile.WithWriteTo(number);
          break;
        case 2:
          profile = profile.WithReadFrom(number);
          break;
        case 3:
          profile = profile.WithHeap();
          break;
        case 4:
          profile = profile.WithThreads();
          break;
        case 5:
          profile = profile.WithFilesAbsent();
          break;
        case 6:
          profile = profile.WithSanitizer();
          break;
        case 7:
          profile = profile.WithAbortOf(number);
          break;
      }
    }
    return profile;
  }

  static constexpr std::array<const char*, 12> kNames = {
      "read",   "write",  "mmap",   "futex",  "ioctl",        "getpid",
      "tgkill", "openat", "clone3", "ptrace", "no such call", "s390_runtime_instr"};

  Profile OfAnyRules() {
    std::vector<Rule> rules;
    for (int i = script_.Take8() % (kMaxRules + 1); i > 0; --i) {
      const uint8_t shape = script_.Take8();
      Rule rule;
      rule.call = kNames[script_.Take8() % kNames.size()];
      rule.answer = static_cast<Rule::Answer>(shape % 3);
      if (rule.answer == Rule::Answer::kErrno) rule.error = script_.Take16() % 4096;
      for (int f = shape / 3 % 4; f > 0; --f) {
        ArgumentFilter filter;
        const uint8_t kind = script_.Take8();
        filter.index = kind % 6u;
        filter.op = (kind & 0x40) != 0 ? ArgumentFilter::Op::kAtMost : ArgumentFilter::Op::kEqual;
        if ((kind & 0x80) != 0 && filter.op == ArgumentFilter::Op::kEqual) {
          filter.mask = Number();
          filter.value = Number() & filter.mask;
        } else {
          filter.value = Number();
        }
        rule.filters.push_back(filter);
      }
      rules.push_back(rule);
    }
    return ProfileForTests::Of(std::move(rules));
  }

  // Small, near a boundary of 32 or 64 bits, or anything.
  uint64_t Number() {
    const uint8_t kind = script_.Take8();
    if (kind < 128) return kind % 64;
    switch (kind % 6) {
      case 0:
        return ~uint64_t{0} - kind % 3;
      case 1:
        return (uint64_t{1} << 32) - 1 + kind % 3;
      case 2:
        return uint64_t{1} << (kind % 64);
      case 3:
        return uint64_t{script_.Take8()} << 32 | script_.Take8();
      case 4:
        return script_.Take32();
      default:
        return script_.Take64();
    }
  }

  Call Question(const std::vector<Rule>& rules) {
    Call call;
    const uint8_t kind = script_.Take8();
    if ((kind & 0x0f) == 0x0f) call.arch = (kind & 0x10) != 0 ? AUDIT_ARCH_I386 : script_.Take32();
    const Rule* about = nullptr;
    if ((kind & 0x40) != 0 || rules.empty()) {
      call.number = (kind & 0x20) != 0 ? script_.Take32() : script_.Take16() % 512u;
      if ((kind & 0xa0) == 0x80) call.number |= 0x4000'0000;
    } else {
      about = &rules[script_.Take16() % rules.size()];
      call.number = NumberOf(about->call);
    }
    // Nothing but zeros, what a rule asks for, or what is beside it.
    if (about != nullptr) {
      for (const ArgumentFilter& filter : about->filters) {
        call.arguments[filter.index] = filter.value;
      }
    }
    for (int i = script_.Take8() % 4; i > 0; --i) {
      const uint8_t change = script_.Take8();
      uint64_t& argument = call.arguments[change % 6];
      switch (change / 6 % 5) {
        case 0:
          argument = Number();
          break;
        case 1:
          ++argument;
          break;
        case 2:
          --argument;
          break;
        case 3:
          argument ^= uint64_t{1} << (script_.Take8() % 64);
          break;
        case 4:
          argument ^= Number();
          break;
      }
    }
    return call;
  }

  // For whoever has to find out why.
  static void Describe(const std::vector<Rule>& rules, const Call& call,
                       const Policy::Verdict& verdict, const Policy::Verdict& expected) {
    for (const Rule& rule : rules) {
      std::fprintf(stderr, "%s answer %d error %d:", rule.call, static_cast<int>(rule.answer),
                   rule.error);
      for (const ArgumentFilter& f : rule.filters) {
        std::fprintf(stderr, " (%u & %#" PRIx64 ") %s %#" PRIx64, f.index, f.mask,
                     f.op == ArgumentFilter::Op::kEqual ? "==" : "<=", f.value);
      }
      std::fprintf(stderr, "\n");
    }
    std::fprintf(stderr, "asked: architecture %#x, call %#x", call.arch, call.number);
    for (const uint64_t argument : call.arguments) std::fprintf(stderr, " %#" PRIx64, argument);
    std::fprintf(stderr, "\nanswer %d error %d, expected %d error %d\n",
                 static_cast<int>(verdict.answer), verdict.error, static_cast<int>(expected.answer),
                 expected.error);
  }

  void Ask(const Policy& policy, const std::vector<Rule>& rules, const Call& call) {
    const Policy::Verdict verdict = policy.AskRaw(call.arch, call.number, call.arguments);
    if (IsNotAsked(call)) {
      PARLEY_CHECK(verdict.answer == Answer::kNotAsked, "new kernels ask no filter about this");
      return;
    }
    PARLEY_CHECK(verdict == Interpret(policy.program(), call),
                 "AskRaw is not what the kernel does");
    const Policy::Verdict expected = FirstThatHolds(rules, unlisted_, call);
    if (verdict != expected) Describe(rules, call, verdict, expected);
    PARLEY_CHECK(verdict == expected, "the filter is not what its rules say");
    if (named_) {
      PARLEY_CHECK(verdict.answer != Answer::kAllow || !IsForbidden(call),
                   "a profile allows what none may allow");
    }
  }

  Script script_;
  bool named_ = true;
  Answer unlisted_ = Answer::kReport;
};

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  parley::fuzz::Run(parley::testing::Script(data, size)).Everything();
  return 0;
}
