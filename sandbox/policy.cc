// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/policy.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <memory>
#include <type_traits>

#include "parley/os/errors.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/bpf.h"

namespace parley {
namespace {

// x86-64's, of Linux 6.11 and 6.18.
constexpr uint32_t kUretprobe = 335;
constexpr uint32_t kUprobe = 336;

struct ReleaseFilter {
  void operator()(void* filter) const { ::seccomp_release(filter); }
};
using Filter = std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, ReleaseFilter>;

// libseccomp asks the kernel whether it has an action, and has no filter where seccomp is missing
// or refused. A policy is compiled anywhere, so it is given actions that it knows without asking,
// and PutActions puts ours in their place.
constexpr uint32_t kUnlistedStandIn = SCMP_ACT_TRAP;
constexpr uint32_t kKillStandIn = SCMP_ACT_KILL_THREAD;

void PutActions(std::vector<sock_filter>& program, Policy::Answer unlisted) {
  const uint32_t ours =
      unlisted == Policy::Answer::kReport ? SECCOMP_RET_USER_NOTIF : SECCOMP_RET_KILL_PROCESS;
  for (sock_filter& instruction : program) {
    if (instruction.code != (BPF_RET | BPF_K)) continue;
    if (instruction.k == kUnlistedStandIn) instruction.k = ours;
    if (instruction.k == kKillStandIn) instruction.k = SECCOMP_RET_KILL_PROCESS;
  }
}

uint32_t Action(const Rule& rule) {
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

scmp_arg_cmp Comparison(const ArgumentFilter& filter) {
  scmp_arg_cmp comparison = {};
  comparison.arg = filter.index;
  if (filter.op == ArgumentFilter::Op::kAtMost) {
    comparison.op = SCMP_CMP_LE;
    comparison.datum_a = filter.value;
  } else if (filter.mask == ~uint64_t{0}) {
    comparison.op = SCMP_CMP_EQ;
    comparison.datum_a = filter.value;
  } else {
    comparison.op = SCMP_CMP_MASKED_EQ;
    comparison.datum_a = filter.mask;
    comparison.datum_b = filter.value;
  }
  return comparison;
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

// The rules without those that another one leaves nothing to say. libseccomp must not see two
// answers for the same arguments: it lets a wider rule replace a narrower one that came before it,
// and takes no rule whose answer is the default, so that a later one would hold. Nor must it see
// the same answer twice: of two limits of one argument, 2.5.4 loses what only the wider one allows.
absl::StatusOr<std::vector<Rule>> Settled(const std::vector<Rule>& rules) {
  std::vector<Rule> settled;
  for (const Rule& rule : rules) {
    bool decided = false;
    for (const Rule& earlier : settled) {
      if (std::strcmp(earlier.call, rule.call) != 0) continue;
      decided = decided || earlier.filters.empty() || earlier.filters == rule.filters;
      if (!decided && Action(earlier) != Action(rule) && Overlap(earlier, rule)) {
        return absl::InvalidArgumentError(std::string("two rules for ") + rule.call +
                                          " have different answers for some arguments");
      }
      decided = decided || (Action(earlier) == Action(rule) && Implies(rule, earlier));
    }
    if (decided) continue;
    std::erase_if(settled, [&](const Rule& earlier) {
      return std::strcmp(earlier.call, rule.call) == 0 && Implies(earlier, rule);
    });
    settled.push_back(rule);
  }
  return settled;
}

absl::Status AddRule(const Filter& filter, const Rule& rule) {
  const int number = ::seccomp_syscall_resolve_name(rule.call);
  // Unknown to this libseccomp (__NR_SCMP_ERROR) or missing on this architecture (other negative
  // numbers): then the default action meets it, which never allows.
  if (number < 0) return absl::OkStatus();
  const uint32_t action = Action(rule);
  std::vector<scmp_arg_cmp> comparisons;
  for (const ArgumentFilter& argument : rule.filters) comparisons.push_back(Comparison(argument));
  const int error = ::seccomp_rule_add_exact_array(
      filter.get(), action, number, static_cast<unsigned>(comparisons.size()), comparisons.data());
  if (error == 0 || error == -EEXIST) return absl::OkStatus();
  return ErrnoStatus(-error, std::string("add the filter rule for ") + rule.call);
}

absl::StatusOr<std::vector<sock_filter>> Export(const Filter& filter) {
  // Sockets and no file, for which a worker may have no allowance (RLIMIT_FSIZE), nor a pipe, which
  // is small where this user has many.
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return ErrnoStatus(errno, "make sockets for the filter");
  }
  const UniqueFd from(ends[0]);
  UniqueFd to(ends[1]);
  // One instruction more than the kernel takes, so that a longer one is noticed.
  std::vector<sock_filter> program(BPF_MAXINSNS + 1);
  const size_t room_bytes = program.size() * sizeof(sock_filter);
  // The kernel counts its own structures too; it doubles what is asked for.
  const int wanted_bytes = static_cast<int>(2 * room_bytes);
  int given_bytes = 0;
  socklen_t size = sizeof(given_bytes);
  if (::setsockopt(to.get(), SOL_SOCKET, SO_SNDBUF, &wanted_bytes, sizeof(wanted_bytes)) != 0 ||
      ::getsockopt(to.get(), SOL_SOCKET, SO_SNDBUF, &given_bytes, &size) != 0) {
    return ErrnoStatus(errno, "make sockets for the filter");
  }
  if (given_bytes < wanted_bytes) {
    return absl::ResourceExhaustedError(
        "cannot compile the filter: sockets hold too little here (net.core.wmem_max)");
  }
  const int error = ::seccomp_export_bpf(filter.get(), to.get());
  if (error != 0) return ErrnoStatus(-error, "compile the filter");
  to.Reset();
  const ssize_t got_bytes = ::read(from.get(), program.data(), room_bytes);
  if (got_bytes < 0) return ErrnoStatus(errno, "read the filter");
  const size_t size_bytes = static_cast<size_t>(got_bytes);
  program.resize(size_bytes / sizeof(sock_filter));
  if (size_bytes != program.size() * sizeof(sock_filter) || program.empty() ||
      program.size() > BPF_MAXINSNS) {
    return absl::InternalError("cannot compile the filter: its size is wrong");
  }
  return program;
}

}  // namespace

absl::StatusOr<Policy> Policy::Compile(const Profile& profile, Options options) {
  if (options.unlisted != Answer::kReport && options.unlisted != Answer::kKill) {
    return absl::InvalidArgumentError("a policy's unlisted calls are reported or killed");
  }
  const absl::StatusOr<std::vector<Rule>> rules = Settled(profile.rules());
  if (!rules.ok()) return rules.status();
  const Filter filter(::seccomp_init(kUnlistedStandIn));
  if (filter == nullptr) return absl::ResourceExhaustedError("no memory to compile a filter");
  // Foreign architectures and x32: no report, whose number would mean another call.
  const int error = ::seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, kKillStandIn);
  if (error != 0) return ErrnoStatus(-error, "set the answer to foreign architectures");
  for (const Rule& rule : *rules) {
    if (absl::Status status = AddRule(filter, rule); !status.ok()) return status;
  }
  absl::StatusOr<std::vector<sock_filter>> program = Export(filter);
  if (!program.ok()) return program.status();
  PutActions(*program, options.unlisted);
  return Policy(*std::move(program));
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
