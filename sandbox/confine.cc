// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/confine.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "parley/os/disposal.h"
#include "parley/os/errors.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/capabilities.h"
#include "parley/sandbox/empty_root.h"
#include "parley/sandbox/inherited.h"
#include "parley/sandbox/landlock.h"
#include "parley/sandbox/namespace_holder.h"
#include "parley/sandbox/policy.h"
#include "parley/sandbox/refusal.h"
#include "parley/sandbox/seal_code.h"
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

// Where close_range is missing (before Linux 5.9), or refused by a filter that is older than it.
absl::Status CloseOneByOneExcept(const std::vector<int>& keep) {
  struct CloseDirectory {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir("/proc/self/fd"));
  if (directory == nullptr) return ErrnoStatus(errno, "list this process's descriptors");
  std::vector<int> open;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is this function's own
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_name[0] != '.') open.push_back(std::atoi(entry->d_name));
  }
  for (const int fd : open) {
    if (fd == ::dirfd(directory.get()) || std::binary_search(keep.begin(), keep.end(), fd))
      continue;
    ::close(fd);
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
  const auto failed = [&keep] {
    if (errno == ENOSYS || errno == EPERM) return CloseOneByOneExcept(keep);
    return ErrnoStatus(errno, "close descriptors");
  };
  for (const int fd : keep) {
    if (fd < 0) continue;
    if (!close_before(static_cast<unsigned>(fd))) return failed();
    next = static_cast<unsigned>(fd) + 1;
  }
  if (!close_before(~0u)) return failed();
  return absl::OkStatus();
}

// How a thread is named that could not be synchronised, or why there is no filter at all.
absl::Status FilterError(int error) {
  switch (error) {
    case EPERM:
    case EACCES:
      return absl::PermissionDeniedError(
          "cannot load the system call filter: seccomp(2) is refused here, by a filter around this "
          "process (an old container engine?)");
    case ENOSYS:
    case EINVAL:
      return absl::UnimplementedError(
          "cannot load the system call filter: this kernel has no seccomp filters "
          "(CONFIG_SECCOMP_FILTER), or something around this process says so");
    case ENOMEM:
      return absl::ResourceExhaustedError(
          "cannot load the system call filter: the filters of this process, with those around it, "
          "are too long for the kernel, or it is out of memory");
    default:
      return ErrnoStatus(error, "load the system call filter");
  }
}

long LoadFilter(const Policy& policy, unsigned long flags) {  // NOLINT: syscall's types
  std::vector<sock_filter> instructions = policy.program();   // the kernel's struct knows no const
  sock_fprog program = {};
  program.len = static_cast<unsigned short>(instructions.size());  // NOLINT: the struct's type
  program.filter = instructions.data();
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

// Whether this thread has a filter: a container's, a service's. Where such a filter answers a call
// with an error, the kernel gives that error and notifies nobody, and the call's caller lives on.
// An answer that kills comes before any other.
bool HasFilterAround() { return ::prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 0; }

// The filter that notifies, if somebody is to be notified, and the one to be laid under it where
// this process has a filter already.
struct Policies {
  std::optional<Policy> notifies;
  std::optional<Policy> under;
};

absl::StatusOr<Policies> CompileFor(const Profile& profile, bool notify) {
  Policies policies;
  if (!notify) return policies;
  absl::StatusOr<Policy> notifies = Policy::Compile(profile, {.unlisted = Policy::Answer::kReport});
  if (!notifies.ok()) return notifies.status();
  policies.notifies = *std::move(notifies);
  if (!HasFilterAround()) return policies;
  absl::StatusOr<Policy> under = Policy::Compile(profile.UnderAnotherFilter(), {});
  if (!under.ok()) return under.status();
  policies.under = *std::move(under);
  return policies;
}

// Loads the filter into every thread, or into none. The descriptor of its notifications; not ok()
// for a filter that kills at once.
absl::StatusOr<UniqueFd> LoadOnAllThreads(const Profile& profile, const Policies& policies,
                                          const std::vector<internal::Thread>& threads) {
  const bool is_laid =
      !policies.under.has_value() || LoadFilter(*policies.under, SECCOMP_FILTER_FLAG_TSYNC) == 0;
  if (policies.notifies.has_value() && is_laid) {
    UniqueFd notifications(static_cast<int>(
        LoadFilter(*policies.notifies, SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH |
                                           SECCOMP_FILTER_FLAG_NEW_LISTENER)));
    if (notifications.ok()) return notifications;
    // Older than Linux 5.7, not allowed by what is around us, or somebody around us has
    // notifications of his own (EBUSY): there can be only one. Or a thread cannot be synchronised
    // (ESRCH), whose number the second try gives.
  }
  absl::StatusOr<Policy> policy = Policy::Compile(profile, {.unlisted = Policy::Answer::kKill});
  if (!policy.ok()) return policy.status();
  const long answer = LoadFilter(*policy, SECCOMP_FILTER_FLAG_TSYNC);  // NOLINT: syscall's type
  if (answer == 0) return UniqueFd();
  if (answer < 0) return FilterError(errno);
  return absl::FailedPreconditionError(
      "cannot lock down: " + internal::DescribeThread(threads, static_cast<pid_t>(answer)) +
      " has a filter of its own");
}

// A signal that the worker can cause itself at any moment must have no handler: one that interrupts
// a refused call before the parent has read the notification would withdraw it.
absl::Status NoHandlersForOwnSignals() {
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  for (const int number : {SIGABRT, SIGXCPU}) {
    if (::sigaction(number, &standard, nullptr) != 0) {
      return ErrnoStatus(errno, "reset this process's signals");
    }
  }
  return absl::OkStatus();
}

bool IsNullDevice(int fd) {
  struct stat status;
  return ::fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3);
}

// The end of a pipe from which there is nothing to read, and to which nothing can be written.
UniqueFd DeadEnd() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return UniqueFd();
  const UniqueFd writer(ends[1]);
  return UniqueFd(ends[0]);
}

// Puts /dev/null on each standard stream that nobody asked to keep, or a dead end where there is no
// such device. None of the three numbers is free afterwards: the notifications would get it, and
// could not be moved off it under the filter. Until Settle is called the destructor puts back what
// was there, so that a failure of lock-down can be printed.
class QuietStreams {
 public:
  // /dev/null is opened before the files are gone.
  QuietStreams() : quiet_(::open("/dev/null", O_RDWR | O_CLOEXEC)) {
    // In a root of its own a worker has perhaps no such file, and its stdin since Spawn.
    if (!quiet_.ok() && IsNullDevice(0)) {
      quiet_.Reset(::fcntl(0, F_DUPFD_CLOEXEC, kFirstNumber));
    }
    is_null_device_ = quiet_.ok() && IsNullDevice(quiet_.get());
    if (!is_null_device_) quiet_ = DeadEnd();
  }
  QuietStreams(const QuietStreams&) = delete;
  QuietStreams& operator=(const QuietStreams&) = delete;
  ~QuietStreams() {
    int stream = 0;
    for (const UniqueFd& before : before_) {
      if (before.ok()) ::dup2(before.get(), stream);
      ++stream;
    }
  }

  // The profile with its part of it.
  absl::StatusOr<Profile> Put(Profile profile, const std::vector<int>& keep) {
    for (const int stream : {0, 1, 2}) {
      const bool named = profile.Names(stream);
      const bool kept = named || std::find(keep.begin(), keep.end(), stream) != keep.end();
      const Profile::Stream quiet =
          !kept && is_null_device_ ? Profile::Stream::kNull : Profile::Stream::kNone;
      profile = profile.WithStream(stream, named ? Profile::Stream::kNamed : quiet);
      if (kept && ::fcntl(stream, F_GETFD) >= 0) continue;
      before_[static_cast<std::size_t>(stream)].Reset(
          ::fcntl(stream, F_DUPFD_CLOEXEC, kFirstNumber));
      // Without close-on-exec: nothing can be executed any more.
      if (::dup2(quiet_.get(), stream) < 0) {
        return ErrnoStatus(errno, "put /dev/null on the standard streams");
      }
    }
    return profile;
  }

  // What must stay open until Settle.
  std::vector<int> descriptors() const {
    return {quiet_.get(), before_[0].get(), before_[1].get(), before_[2].get()};
  }

  void Settle() {
    for (UniqueFd& before : before_) before.Reset();
    quiet_.Reset();
  }

 private:
  static constexpr int kFirstNumber = 3;
  UniqueFd quiet_;
  bool is_null_device_ = false;
  std::array<UniqueFd, 3> before_;
};

}  // namespace

absl::StatusOr<Confined> LockDown(Prepared, const Profile& profile,
                                  const LockDownOptions& options) {
  internal::WarmUpLibc();
  const std::vector<Rule>& rules = profile.rules();
  const bool has_heap = std::any_of(rules.begin(), rules.end(), [](const Rule& rule) {
    return std::string_view(rule.call) == "brk";
  });
  if (!has_heap) internal::KeepHeap();
  ConfinementReport report;
  absl::StatusOr<std::vector<internal::Thread>> threads = internal::ListThreads();
  if (!threads.ok()) return threads.status();
  report.threads = static_cast<int>(threads->size());
  if (absl::Status status = DropAllCapabilities(*threads); !status.ok()) return status;
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return ErrnoStatus(errno, "give up new privileges");
  }

  // Absent where somebody else than Spawn started us. Then nobody is notified, and that is all.
  absl::StatusOr<UniqueFd> parent = TakeInheritedFd(internal::kRefusalVariable);
  if (!parent.ok() && !absl::IsNotFound(parent.status())) return parent.status();
  absl::StatusOr<UniqueFd> holder = TakeInheritedFd(internal::kHolderVariable);
  if (!holder.ok() && !absl::IsNotFound(holder.status())) return holder.status();
  const int parent_socket = parent.ok() ? parent->get() : -1;
  QuietStreams streams;
  absl::StatusOr<Profile> complete = streams.Put(profile, options.keep);
  if (!complete.ok()) return complete.status();
  *complete = complete->WithAbortOf(::getpid()).WithoutDump();
  // Closed again below, and nothing can put another socket under its number.
  if (parent_socket >= 0) *complete = complete->WithSendmsgOf(parent_socket);
  std::vector<int> keep = options.keep;
  keep.push_back(parent_socket);
  for (const int fd : streams.descriptors()) keep.push_back(fd);
  if (holder.ok()) keep.push_back(holder->get());
  if (absl::Status status = CloseAllExcept(std::move(keep)); !status.ok()) return status;

  // The holder and the kernel take as long for it as what follows, none of which needs a file.
  int root_error = holder.ok() ? internal::AskForEmptyRoot(holder->get()) : ENOENT;

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
  report.code_is_sealed = internal::SealCode();
  if (absl::Status status = NoHandlersForOwnSignals(); !status.ok()) return status;

  const absl::StatusOr<Policies> policies = CompileFor(*complete, parent_socket >= 0);
  if (!policies.ok()) return policies.status();

  if (root_error == 0) root_error = internal::AwaitEmptyRoot(holder->get());
  report.empty_root = root_error == 0;
  if (options.require_empty_root && !report.empty_root) {
    return ErrnoStatus(root_error, "enter an empty root, which was required");
  }
  if (holder.ok()) holder->Reset();

  leak_check_impossible.store(true);
  DisposeInPlaceFromNow();  // a helper is a clone
  absl::StatusOr<UniqueFd> notifications = LoadOnAllThreads(*complete, *policies, *threads);
  if (!notifications.ok()) return notifications.status();
  streams.Settle();
  report.reports_refusals = notifications->ok();
  if (parent_socket >= 0) {
    const internal::LockDownWord word = {
        .landlock_abi = static_cast<uint32_t>(report.landlock_abi),
        .landlock_covers_all_threads = report.landlock_covers_all_threads,
        .mdwe = report.mdwe,
    };
    const absl::Status sent = internal::SendLockDownWord(parent_socket, word, notifications->get());
    if (!sent.ok()) return sent;
    parent->Reset();
  }
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
    return ErrnoStatus(errno, "close this process to others of its user");
  }
  return Confined(report, *std::move(complete));
}

std::string ConfinementReport::ToString() const {
  std::string landlock = "no Landlock";
  if (landlock_abi > 0) {
    landlock = absl::StrFormat("Landlock %d%s", landlock_abi,
                               landlock_covers_all_threads ? "" : " (not on earlier threads)");
  }
  return absl::StrFormat(
      "confined: filter on %d thread(s), %s, %s, %s, %s, %s", threads, landlock,
      mdwe ? "MDWE" : "no MDWE", empty_root ? "empty root" : "the system's root",
      code_is_sealed ? "code sealed" : "code not sealed",
      reports_refusals ? "refused calls are named" : "refused calls are not named");
}

}  // namespace parley
