// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/filter_compiler.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/bpf.h"
#include "parley/sandbox/policy.h"
#include "parley/sandbox/profile.h"

namespace parley::internal {
namespace {

constexpr uint32_t kUnlisted = SECCOMP_RET_USER_NOTIF;
constexpr uint32_t kNumbers = 600;  // above all calls of today's kernels

using Program = std::vector<sock_filter>;

uint32_t Ask(const Program& program, uint32_t arch, uint32_t number,
             const Policy::Arguments& arguments) {
  seccomp_data call = {};
  call.nr = static_cast<int>(number);
  call.arch = arch;
  std::copy(arguments.begin(), arguments.end(), call.args);
  return RunFilter(program, call);
}

// ---- libseccomp's compiler, for the same rules.

struct ReleaseFilter {
  void operator()(void* filter) const { ::seccomp_release(filter); }
};
using Filter = std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, ReleaseFilter>;

// What it knows without asking the kernel, and no rule of ours gives.
constexpr uint32_t kUnlistedStandIn = SCMP_ACT_TRAP;
constexpr uint32_t kKillStandIn = SCMP_ACT_KILL_THREAD;

scmp_arg_cmp Comparison(const ArgumentFilter& filter) {
  scmp_arg_cmp comparison = {};
  comparison.arg = filter.index;
  if (filter.op == ArgumentFilter::Op::kAtMost) {
    comparison.op = SCMP_CMP_LE;
    comparison.datum_a = filter.value;
  } else {
    comparison.op = SCMP_CMP_MASKED_EQ;
    comparison.datum_a = filter.mask;
    comparison.datum_b = filter.value;
  }
  return comparison;
}

uint32_t StandInFor(const Rule& rule) {
  switch (rule.answer) {
    case Rule::Answer::kAllow:
      return SCMP_ACT_ALLOW;
    case Rule::Answer::kErrno:
      return SCMP_ACT_ERRNO(static_cast<uint32_t>(rule.error));
    case Rule::Answer::kKill:
      break;
  }
  return kKillStandIn;
}

// It must not be given a rule that an earlier one leaves nothing to say (sandbox/policy.cc).
bool IsDecidedBefore(const std::vector<Rule>& rules, size_t at) {
  for (size_t i = 0; i < at; ++i) {
    if (std::string(rules[i].call) != rules[at].call) continue;
    if (rules[i].filters.empty() || rules[i].filters == rules[at].filters) return true;
  }
  return false;
}

Program ByLibseccomp(const std::vector<Rule>& rules) {
  const Filter filter(::seccomp_init(kUnlistedStandIn));
  EXPECT_NE(filter, nullptr);
  EXPECT_EQ(::seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, kKillStandIn), 0);
  for (size_t i = 0; i < rules.size(); ++i) {
    const int number = ::seccomp_syscall_resolve_name(rules[i].call);
    if (number < 0 || IsDecidedBefore(rules, i)) continue;
    std::vector<scmp_arg_cmp> comparisons;
    for (const ArgumentFilter& one : rules[i].filters) comparisons.push_back(Comparison(one));
    const int error = ::seccomp_rule_add_exact_array(filter.get(), StandInFor(rules[i]), number,
                                                     static_cast<unsigned>(comparisons.size()),
                                                     comparisons.data());
    EXPECT_TRUE(error == 0 || error == -EEXIST) << rules[i].call << " " << error;
  }
  Program program(BPF_MAXINSNS + 1);
  int ends[2] = {-1, -1};
  EXPECT_EQ(::pipe2(ends, 0), 0);
  const UniqueFd from(ends[0]);
  UniqueFd to(ends[1]);
  EXPECT_GT(::fcntl(to.get(), F_SETPIPE_SZ, 1 << 17), 0);
  EXPECT_EQ(::seccomp_export_bpf(filter.get(), to.get()), 0);
  to.Reset();
  const ssize_t size_bytes =
      ::read(from.get(), program.data(), program.size() * sizeof(sock_filter));
  EXPECT_GT(size_bytes, 0);
  program.resize(static_cast<size_t>(size_bytes) / sizeof(sock_filter));
  for (sock_filter& instruction : program) {
    if (instruction.code != (BPF_RET | BPF_K)) continue;
    if (instruction.k == kUnlistedStandIn) instruction.k = kUnlisted;
    if (instruction.k == kKillStandIn) instruction.k = SECCOMP_RET_KILL_PROCESS;
  }
  return program;
}

// Arguments that meet all of a rule's filters, and such as just miss one.
std::vector<Policy::Arguments> QuestionsAbout(const Rule& rule) {
  Policy::Arguments meets = {};
  for (const ArgumentFilter& filter : rule.filters) meets[filter.index] = filter.value;
  std::vector<Policy::Arguments> questions = {meets};
  for (const ArgumentFilter& filter : rule.filters) {
    const uint64_t value = filter.value;
    for (const uint64_t other :
         {value + 1, value - 1, value ^ (uint64_t{1} << 32), value | ~filter.mask,
          value ^ (filter.mask & (~filter.mask + 1)), ~uint64_t{0}, uint64_t{0}, ~value}) {
      questions.push_back(meets);
      questions.back()[filter.index] = other;
    }
  }
  return questions;
}

std::vector<std::pair<std::string, Profile>> Profiles() {
  const Profile ring = Profile::Ring({4, 7, 9, 11});
  return {
      {"ring", ring},
      {"heap", ring.WithHeap()},
      {"codec", ring.WithEventfd(5).WithEventfd(6).ForCodec()},
      {"all", ring.WithEventfd(5)
                  .WithEpoll(6)
                  .WithWriteTo(2)
                  .WithReadFrom(3)
                  .WithHeap()
                  .WithThreads()
                  .WithFilesAbsent()
                  .WithAbortOf(71)
                  .WithoutDump()
                  .WithSendmsgOf(8)
                  .WithStream(0, Profile::Stream::kNull)
                  .WithStream(1, Profile::Stream::kNone)},
      {"sanitizer", ring.WithSanitizer()},
      {"under another filter", ring.WithHeap().UnderAnotherFilter()},
  };
}

// Two compilers that have no code in common, asked about each call and what its rules just allow
// and just refuse.
TEST(FilterCompilerTest, AgreesWithLibseccompAboutEachProfile) {
  const uint32_t arch = ::seccomp_arch_native();
  for (const auto& [name, profile] : Profiles()) {
    const auto policy = Policy::Compile(profile, {.unlisted = Policy::Answer::kReport});
    ASSERT_TRUE(policy.ok()) << policy.status();
    const Program& ours = policy->program();
    const Program theirs = ByLibseccomp(profile.rules());
    size_t asked = 0;
    const auto compare = [&](uint32_t of_arch, uint32_t number,
                             const Policy::Arguments& arguments) {
      ++asked;
      const uint32_t expected = Ask(theirs, of_arch, number, arguments);
      ASSERT_EQ(Ask(ours, of_arch, number, arguments), expected) << name << ", call " << number;
    };
    for (uint32_t number = 0; number < kNumbers; ++number) {
      compare(arch, number, {});
      compare(arch, number | 0x4000'0000, {});
      compare(AUDIT_ARCH_I386, number, {});
    }
    for (const uint32_t number : {0x3fff'ffffu, 0x4000'0000u, 0x8000'0000u, 0xffff'ffffu}) {
      compare(arch, number, {});
    }
    for (const Rule& rule : profile.rules()) {
      const int number = ::seccomp_syscall_resolve_name(rule.call);
      if (number < 0) continue;
      for (const Policy::Arguments& arguments : QuestionsAbout(rule)) {
        compare(arch, static_cast<uint32_t>(number), arguments);
      }
    }
    EXPECT_GT(asked, size_t{3} * kNumbers + profile.rules().size());
    // The kernel translates each at every lock-down.
    EXPECT_LT(ours.size(), theirs.size() + theirs.size() / 4) << name;
  }
}

// A test reaches 255 instructions, and here lie thousands between.
TEST(FilterCompilerTest, AnyNumberOfRulesIsReached) {
  constexpr uint32_t kCalls = 300;
  constexpr uint64_t kValues = 40;
  std::vector<FilterRule> rules;
  for (uint32_t call = 0; call < kCalls; ++call) {
    for (uint64_t value = 0; value < kValues; ++value) {
      const ArgumentFilter first = {.index = 0, .value = value};
      const ArgumentFilter second = {.index = 5, .op = ArgumentFilter::Op::kAtMost, .value = call};
      rules.push_back({2 * call, {second, first}, SECCOMP_RET_ERRNO | call});
    }
  }
  for (const uint32_t arch : {AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64}) {
    const Program program = CompileFilter(rules, arch, kUnlisted);
    for (uint32_t number = 0; number < 2 * kCalls; ++number) {
      const uint32_t call = number / 2;
      const bool listed = number % 2 == 0;
      for (const uint64_t value : {uint64_t{0}, kValues / 2, kValues - 1, kValues}) {
        const uint32_t expected = listed && value < kValues ? SECCOMP_RET_ERRNO | call : kUnlisted;
        EXPECT_EQ(Ask(program, arch, number, {value, 0, 0, 0, 0, call}), expected) << number;
        EXPECT_EQ(Ask(program, arch, number, {value, 0, 0, 0, 0, call + 1}), kUnlisted) << number;
      }
    }
  }
}

TEST(FilterCompilerTest, WithoutRulesNothingIsListed) {
  const Program program = CompileFilter({}, AUDIT_ARCH_X86_64, kUnlisted);
  EXPECT_EQ(Ask(program, AUDIT_ARCH_X86_64, 0, {}), kUnlisted);
  EXPECT_EQ(Ask(program, AUDIT_ARCH_X86_64, 0xffff'ffff, {}), kUnlisted);
  EXPECT_EQ(Ask(program, AUDIT_ARCH_X86_64, 0x4000'0000, {}), SECCOMP_RET_KILL_PROCESS);
  EXPECT_EQ(Ask(program, AUDIT_ARCH_AARCH64, 0, {}), SECCOMP_RET_KILL_PROCESS);
}

// A value that the mask cannot leave is met by nothing, and no bits at all by everything.
TEST(FilterCompilerTest, MasksMeanWhatTheySay) {
  const auto answer = [](uint64_t mask, uint64_t value, uint64_t argument) {
    const Program program =
        CompileFilter({{7, {{.index = 2, .mask = mask, .value = value}}, SECCOMP_RET_ALLOW}},
                      AUDIT_ARCH_X86_64, kUnlisted);
    return Ask(program, AUDIT_ARCH_X86_64, 7, {0, 0, argument}) == SECCOMP_RET_ALLOW;
  };
  EXPECT_FALSE(answer(1, 2, 2));
  EXPECT_FALSE(answer(1, uint64_t{1} << 40, uint64_t{1} << 40));
  EXPECT_FALSE(answer(0, 1, 1));
  EXPECT_TRUE(answer(0, 0, ~uint64_t{0}));
  EXPECT_TRUE(answer(uint64_t{1} << 40, uint64_t{1} << 40, ~uint64_t{0}));
  EXPECT_FALSE(answer(uint64_t{1} << 40, uint64_t{1} << 40, 0xffff'ffff));
}

}  // namespace
}  // namespace parley::internal
