#include "parley/sandbox/confine.h"

#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "parley/os/errors.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/capabilities.h"
#include "parley/sandbox/empty_root.h"
#include "parley/sandbox/inherited.h"
#include "parley/sandbox/landlock.h"
#include "parley/sandbox/namespace_holder.h"
#include "parley/sandbox/policy.h"
#include "parley/sandbox/refusal.h"
#include "parley/sandbox/threads.h"
#include "parley/sandbox/warm_up.h"

// Newer than the headers of Debian 12.
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

namespace {
std::atomic<bool> leak_check_impossible{false};
}  // namespace

#if defined(__SANITIZE_ADDRESS__)
#define PARLEY_LEAK_CHECK 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PARLEY_LEAK_CHECK 1
#endif
#endif
#ifdef PARLEY_LEAK_CHECK
// The leak checker asks this at the end of the process. It needs clone and ptrace, which a confined
// process does not have.
extern "C" __attribute__((weak, used)) int __lsan_is_turned_off();
extern "C" int __lsan_is_turned_off() { return leak_check_impossible.load() ? 1 : 0; }
#endif

namespace parley {
namespace {

// Capabilities are per thread, and only the calling one's can be dropped from here.
absl::Status DropAllCapabilities(const std::vector<internal::Thread>& threads) {
  for (const internal::Thread& thread : threads) {
    if (thread.id == ::gettid() || !thread.has_capabilities) continue;
    return absl::FailedPreconditionError(
        "cannot lock down: " + internal::DescribeThread(threads, thread.id) +
        " has capabilities of its own; start the worker with Spawn, which drops them first");
  }
  if (const int error = internal::DropCapabilities(); error != 0) {
    return ErrnoStatus(error, "drop capabilities");
  }
  return absl::OkStatus();
}

absl::Status CloseAllExcept(std::vector<int> keep) {
  for (const int standard : {0, 1, 2}) keep.push_back(standard);
  std::sort(keep.begin(), keep.end());
  unsigned next = 0;
  const auto close_before = [&next](unsigned end) {
    return next >= end || ::syscall(SYS_close_range, next, end - 1, 0) == 0;
  };
  for (const int fd : keep) {
    if (fd < 0) continue;
    if (!close_before(static_cast<unsigned>(fd))) return ErrnoStatus(errno, "close descriptors");
    next = static_cast<unsigned>(fd) + 1;
  }
  if (!close_before(~0u)) return ErrnoStatus(errno, "close descriptors");
  return absl::OkStatus();
}

// Loads the filter into every thread, or into none.
absl::Status LoadOnAllThreads(const Policy& policy, const std::vector<internal::Thread>& threads) {
  std::vector<sock_filter> instructions = policy.program();  // the kernel's struct knows no const
  sock_fprog program = {};
  program.len = static_cast<unsigned short>(instructions.size());  // NOLINT: the struct's type
  program.filter = instructions.data();
  const long answer = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,  // NOLINT: syscall's type
                                SECCOMP_FILTER_FLAG_TSYNC, &program);
  if (answer == 0) return absl::OkStatus();
  if (answer < 0) return ErrnoStatus(errno, "load the system call filter");
  return absl::FailedPreconditionError(
      "cannot lock down: " + internal::DescribeThread(threads, static_cast<pid_t>(answer)) +
      " has a filter of its own");
}

}  // namespace

absl::StatusOr<Confined> LockDown(Prepared, const Profile& profile,
                                  const LockDownOptions& options) {
  internal::WarmUpLibc();
  ConfinementReport report;
  absl::StatusOr<Policy> policy = Policy::Compile(profile.WithAbortOf(::getpid()), {});
  if (!policy.ok()) return policy.status();
  absl::StatusOr<std::vector<internal::Thread>> threads = internal::ListThreads();
  if (!threads.ok()) return threads.status();
  report.threads = static_cast<int>(threads->size());
  if (absl::Status status = DropAllCapabilities(*threads); !status.ok()) return status;
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return ErrnoStatus(errno, "give up new privileges");
  }

  // Absent where somebody else than Spawn started us. Then nobody listens, and that is all.
  absl::StatusOr<UniqueFd> refusals = TakeInheritedFd(internal::kRefusalVariable);
  if (!refusals.ok() && !absl::IsNotFound(refusals.status())) return refusals.status();
  absl::StatusOr<UniqueFd> holder = TakeInheritedFd(internal::kHolderVariable);
  if (!holder.ok() && !absl::IsNotFound(holder.status())) return holder.status();
  std::vector<int> keep = options.keep;
  if (holder.ok()) keep.push_back(holder->get());
  // Open until the end: the handler's.
  const int refusal_socket = refusals.ok() ? refusals->Release() : -1;
  keep.push_back(refusal_socket);
  if (absl::Status status = CloseAllExcept(std::move(keep)); !status.ok()) return status;

  const int root_error = holder.ok() ? internal::EnterEmptyRoot(holder->get()) : ENOENT;
  report.empty_root = root_error == 0;
  if (options.require_empty_root && !report.empty_root) {
    return ErrnoStatus(root_error, "enter an empty root, which was required");
  }
  if (holder.ok()) holder->Reset();

  absl::StatusOr<int> landlock_abi = internal::DenyAllByLandlock();
  if (!landlock_abi.ok()) return landlock_abi.status();
  report.landlock_abi = *landlock_abi;
  report.landlock_covers_all_threads = *landlock_abi > 0 && report.threads == 1;
  if (options.require_landlock && !report.landlock_covers_all_threads) {
    return absl::UnimplementedError(
        report.landlock_abi == 0
            ? "this kernel has no Landlock, which was required"
            : "Landlock, which was required, does not bind threads made before");
  }
  report.mdwe = ::prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0;
  if (options.require_mdwe && !report.mdwe) {
    return absl::UnimplementedError(
        "this kernel cannot refuse new executable memory (MDWE), which was required");
  }
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
    return ErrnoStatus(errno, "close this process to others of its user");
  }

  report.reports_refusals = refusal_socket >= 0;
  if (absl::Status status = internal::InstallRefusalHandler(refusal_socket); !status.ok()) {
    return status;
  }
  leak_check_impossible.store(true);
  if (absl::Status status = LoadOnAllThreads(*policy, *threads); !status.ok()) return status;
  return Confined(report);
}

std::string ConfinementReport::ToString() const {
  std::string landlock = "no Landlock";
  if (landlock_abi > 0) {
    landlock = absl::StrFormat("Landlock %d%s", landlock_abi,
                               landlock_covers_all_threads ? "" : " (not on earlier threads)");
  }
  return absl::StrFormat("confined: filter on %d thread(s), %s, %s, %s", threads, landlock,
                         mdwe ? "MDWE" : "no MDWE",
                         empty_root ? "empty root" : "the system's root");
}

}  // namespace parley
