#include "parley/sandbox/policy.h"

#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>
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

struct ReleaseFilter {
  void operator()(void* filter) const { ::seccomp_release(filter); }
};
using Filter = std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, ReleaseFilter>;

uint32_t Action(Policy::Answer answer) {
  return answer == Policy::Answer::kReport ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS;
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
  return SCMP_ACT_KILL_PROCESS;
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

absl::Status AddRule(const Filter& filter, const Rule& rule, uint32_t default_action) {
  const int number = ::seccomp_syscall_resolve_name(rule.call);
  // Unknown to this libseccomp (__NR_SCMP_ERROR) or missing on this architecture (other negative
  // numbers): then the default action meets it, which never allows.
  if (number < 0) return absl::OkStatus();
  const uint32_t action = Action(rule);
  if (action == default_action) return absl::OkStatus();  // libseccomp refuses such a rule
  std::vector<scmp_arg_cmp> comparisons;
  for (const ArgumentFilter& argument : rule.filters) comparisons.push_back(Comparison(argument));
  const int error = ::seccomp_rule_add_exact_array(
      filter.get(), action, number, static_cast<unsigned>(comparisons.size()), comparisons.data());
  if (error == 0 || error == -EEXIST) return absl::OkStatus();
  return ErrnoStatus(-error, std::string("add the filter rule for ") + rule.call);
}

absl::StatusOr<std::vector<sock_filter>> Export(const Filter& filter) {
  UniqueFd file(::memfd_create("parley-filter", MFD_CLOEXEC));
  if (!file.ok()) return ErrnoStatus(errno, "create a memfd for the filter");
  const int error = ::seccomp_export_bpf(filter.get(), file.get());
  if (error != 0) return ErrnoStatus(-error, "compile the filter");
  struct stat status;
  if (::fstat(file.get(), &status) != 0) return ErrnoStatus(errno, "measure the filter");
  const size_t size_bytes = static_cast<size_t>(status.st_size);
  std::vector<sock_filter> program(size_bytes / sizeof(sock_filter));
  const ssize_t got_bytes = ::pread(file.get(), program.data(), size_bytes, 0);
  if (got_bytes < 0) return ErrnoStatus(errno, "read the filter");
  if (static_cast<size_t>(got_bytes) != program.size() * sizeof(sock_filter) || program.empty() ||
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
  const uint32_t default_action = Action(options.unlisted);
  const Filter filter(::seccomp_init(default_action));
  if (filter == nullptr) return ErrnoStatus(ENOMEM, "start a filter");
  // Foreign architectures and x32: no report, the handler could not tell the call apart.
  const int error =
      ::seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  if (error != 0) return ErrnoStatus(-error, "set the answer to foreign architectures");
  for (const Rule& rule : *rules) {
    if (absl::Status status = AddRule(filter, rule, default_action); !status.ok()) return status;
  }
  absl::StatusOr<std::vector<sock_filter>> program = Export(filter);
  if (!program.ok()) return program.status();
  return Policy(*std::move(program));
}

Policy::Verdict Policy::AskRaw(uint32_t audit_arch, uint32_t number,
                               const Arguments& arguments) const {
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
    case SECCOMP_RET_TRAP:
      return {Answer::kReport};
    default:
      return {Answer::kKill};
  }
}

Policy::Verdict Policy::Ask(const std::string& call, const Arguments& arguments) const {
  const int number = ::seccomp_syscall_resolve_name(call.c_str());
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
