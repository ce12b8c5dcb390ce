// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/policy.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <map>

#include "absl/types/span.h"
#include "parley/os/errors.h"
#include "parley/sandbox/bpf.h"
#include "parley/sandbox/filter_compiler.h"

namespace parley {
namespace {

// x86-64's, of Linux 6.11 and 6.18.
constexpr uint32_t kUretprobe = 335;
constexpr uint32_t kUprobe = 336;

uint32_t Action(const Rule& rule) {
  switch (rule.answer) {
    case Rule::Answer::kAllow:
      return SECCOMP_RET_ALLOW;
    case Rule::Answer::kErrno:
      return SECCOMP_RET_ERRNO | (static_cast<uint32_t>(rule.error) & SECCOMP_RET_DATA);
    case Rule::Answer::kKill:
      break;
  }
  return SECCOMP_RET_KILL_PROCESS;
}

// No value meets both.
bool ExcludeEachOther(const ArgumentFilter& a, const ArgumentFilter& b) {
  if (a.index != b.index) return false;
  const bool a_range = a.op == ArgumentFilter::Op::kAtMost;
  const bool b_range = b.op == ArgumentFilter::Op::kAtMost;
  if (a_range && b_range) return false;
  // A value that is at least `value`, whatever the bits outside of the mask are.
  if (a_range) return b.value > a.value;
  if (b_range) return a.value > b.value;
  return ((a.value ^ b.value) & a.mask & b.mask) != 0;
}

// Whether there are arguments that meet the filters of both.
bool Overlap(const Rule& a, const Rule& b) {
  for (const ArgumentFilter& one : a.filters) {
    for (const ArgumentFilter& other : b.filters) {
      if (ExcludeEachOther(one, other)) return false;
    }
  }
  return true;
}

// Every value that meets `a` meets `b`.
bool Implies(const ArgumentFilter& a, const ArgumentFilter& b) {
  if (a.index != b.index) return false;
  const bool a_range = a.op == ArgumentFilter::Op::kAtMost;
  if (b.op == ArgumentFilter::Op::kAtMost)
    return (a_range ? a.value : a.value | ~a.mask) <= b.value;
  if (!a_range) return (b.mask & ~a.mask) == 0 && (a.value & b.mask) == b.value;
  // The bits that `b` looks at are zero in all numbers up to the limit.
  return b.value == 0 && std::countr_zero(b.mask) >= 64 - std::countl_zero(a.value);
}

// Everything that meets `a` meets `b`, so that `a` says nothing where the answers are the same.
bool Implies(const Rule& a, const Rule& b) {
  return std::all_of(b.filters.begin(), b.filters.end(), [&](const ArgumentFilter& wanted) {
    return std::any_of(a.filters.begin(), a.filters.end(),
                       [&](const ArgumentFilter& given) { return Implies(given, wanted); });
  });
}

// The rules of one call without those that another one leaves nothing to say, so that no two have
// different answers for the same arguments.
absl::StatusOr<std::vector<const Rule*>> Settled(absl::Span<const Rule* const> rules) {
  std::vector<const Rule*> settled;
  for (const Rule* const rule : rules) {
    bool decided = false;
    for (const Rule* const earlier : settled) {
      decided = decided || earlier->filters.empty() || earlier->filters == rule->filters;
      if (!decided && Action(*earlier) != Action(*rule) && Overlap(*earlier, *rule)) {
        return absl::InvalidArgumentError(std::string("two rules for ") + rule->call +
                                          " have different answers for some arguments");
      }
      decided = decided || (Action(*earlier) == Action(*rule) && Implies(*rule, *earlier));
    }
    if (decided) continue;
    std::erase_if(settled, [&](const Rule* earlier) { return Implies(*earlier, *rule); });
    settled.push_back(rule);
  }
  return settled;
}

// By their numbers, each in its rules' order. Without those for calls that this libseccomp does not
// know, or this architecture does not have (negative numbers): the answer to unlisted ones, which
// never allows, is the answer to these.
std::map<uint32_t, std::vector<const Rule*>> ByNumber(const std::vector<Rule>& rules) {
  std::map<uint32_t, std::vector<const Rule*>> by_number;
  for (const Rule& rule : rules) {
    const int number = ::seccomp_syscall_resolve_name(rule.call);
    if (number >= 0) by_number[static_cast<uint32_t>(number)].push_back(&rule);
  }
  return by_number;
}

}  // namespace

absl::StatusOr<Policy> Policy::Compile(const Profile& profile, Options options) {
  if (options.unlisted != Answer::kReport && options.unlisted != Answer::kKill) {
    return absl::InvalidArgumentError("a policy's unlisted calls are reported or killed");
  }
  std::vector<internal::FilterRule> rules;
  for (const auto& [number, of_one_call] : ByNumber(profile.rules())) {
    const absl::StatusOr<std::vector<const Rule*>> settled = Settled(of_one_call);
    if (!settled.ok()) return settled.status();
    for (const Rule* const rule : *settled) {
      rules.push_back({number, rule->filters, Action(*rule)});
    }
  }
  const uint32_t unlisted =
      options.unlisted == Answer::kReport ? SECCOMP_RET_USER_NOTIF : SECCOMP_RET_KILL_PROCESS;
  std::vector<sock_filter> program =
      internal::CompileFilter(std::move(rules), ::seccomp_arch_native(), unlisted);
  if (program.size() > BPF_MAXINSNS) {
    return absl::InvalidArgumentError(
        "a profile is too long for the kernel: " + std::to_string(program.size()) +
        " instructions of " + std::to_string(BPF_MAXINSNS));
  }
  return Policy(std::move(program));
}

bool Policy::PassesEveryFilter(uint32_t audit_arch, uint32_t number) {
  return audit_arch == AUDIT_ARCH_X86_64 && (number == kUretprobe || number == kUprobe);
}

Policy::Verdict Policy::AskRaw(uint32_t audit_arch, uint32_t number,
                               const Arguments& arguments) const {
  if (PassesEveryFilter(audit_arch, number)) return {Answer::kNotAsked};
  seccomp_data call = {};
  call.nr = static_cast<int>(number);
  call.arch = audit_arch;
  std::copy(arguments.begin(), arguments.end(), call.args);
  const uint32_t answer = internal::RunFilter(program_, call);
  switch (answer & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ALLOW:
      return {Answer::kAllow};
    case SECCOMP_RET_ERRNO:
      return {Answer::kErrno, static_cast<int>(answer & SECCOMP_RET_DATA)};
    case SECCOMP_RET_USER_NOTIF:
      return {Answer::kReport};
    default:
      return {Answer::kKill};
  }
}

Policy::Verdict Policy::Ask(const std::string& call, const Arguments& arguments) const {
  // Newer than this libseccomp.
  const bool probe = call == "uretprobe" || call == "uprobe";
  const int number = probe ? static_cast<int>(call == "uprobe" ? kUprobe : kUretprobe)
                           : ::seccomp_syscall_resolve_name(call.c_str());
  if (number < 0) return {Answer::kKill};
  return AskRaw(::seccomp_arch_native(), static_cast<uint32_t>(number), arguments);
}

absl::Status Policy::WriteTo(int fd) const {
  std::vector<char> bytes(program_.size() * sizeof(sock_filter));
  std::memcpy(bytes.data(), program_.data(), bytes.size());
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t written_bytes = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (written_bytes < 0 && errno == EINTR) continue;
    if (written_bytes < 0) return ErrnoStatus(errno, "write the filter");
    done += static_cast<size_t>(written_bytes);
  }
  return absl::OkStatus();
}

}  // namespace parley
