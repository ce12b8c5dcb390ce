#include "parley/sandbox/refusal.h"

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "parley/os/errors.h"
#include "parley/sandbox/plain_code.h"

namespace parley::internal {
namespace {

struct RefusalWire {
  uint32_t number;
  uint32_t reserved;
};
static_assert(sizeof(RefusalWire) == 8);

// No kernel has more calls than this; beyond are x32's and somebody's jokes.
constexpr uint32_t kNumbers = 1024;
constexpr int kSysSeccomp = 1;  // SYS_SECCOMP of <asm/siginfo.h>

// Written once before the handler is installed.
int refusal_socket = -1;

// Runs in a worker that may be hijacked, on any thread: no lock, no heap, no errno kept, since
// nothing runs after it.
[[noreturn]] PARLEY_PLAIN_CODE void OnRefusal(int, siginfo_t* info, void*) {
  if (info->si_code == kSysSeccomp && refusal_socket >= 0) {
    const RefusalWire refusal = {static_cast<uint32_t>(info->si_syscall), 0};
    ::syscall(SYS_sendto, refusal_socket, &refusal, sizeof(refusal), MSG_DONTWAIT | MSG_NOSIGNAL,
              nullptr, 0);
  }
  // ptrace is on the list that kills, so this is the end, with SIGSYS as the cause. Without a
  // filter (a SIGSYS that somebody sent) it does nothing.
  ::syscall(SYS_ptrace, -1, 0, 0, 0);
  while (true) ::syscall(SYS_exit_group, 128 + SIGSYS);
}

// What rt_sigaction takes on x86-64 and on arm64.
struct KernelSigaction {
  void (*handler)(int, siginfo_t*, void*);
  unsigned long flags;  // NOLINT: the kernel's type
  void (*restorer)();
  uint64_t mask;
};
#if defined(__x86_64__) || defined(__aarch64__)
static_assert(sizeof(KernelSigaction) == 32);
#else
#error "what does rt_sigaction take on this architecture?"
#endif
constexpr unsigned long kSaRestorer = 0x04000000;  // NOLINT: the kernel's type

// Where a handler would go back to. Ours does not, but x86-64 wants an address.
PARLEY_PLAIN_CODE void NeverReturned() {}

}  // namespace

absl::StatusOr<RefusalSockets> MakeRefusalSockets() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return ErrnoStatus(errno, "make the refusal sockets");
  }
  RefusalSockets sockets = {UniqueFd(ends[0]), UniqueFd(ends[1])};
  // The kernel raises 1 to its minimum: what a flood of messages can cost us.
  const int min_bytes = 1;
  if (::setsockopt(sockets.worker.get(), SOL_SOCKET, SO_SNDBUF, &min_bytes, sizeof(min_bytes)) !=
          0 ||
      ::shutdown(sockets.parent.get(), SHUT_WR) != 0) {
    return ErrnoStatus(errno, "limit the refusal sockets");
  }
  return sockets;
}

std::optional<int> TakeRefusal(int parent_socket) {
  RefusalWire refusal;
  const ssize_t size_bytes =
      ::recv(parent_socket, &refusal, sizeof(refusal), MSG_DONTWAIT | MSG_TRUNC);
  if (size_bytes != sizeof(refusal)) return std::nullopt;
  // TRUST: a number for a table look-up; in range.
  if (refusal.reserved != 0 || refusal.number >= kNumbers) return std::nullopt;
  return static_cast<int>(refusal.number);
}

absl::Status InstallRefusalHandler(int socket) {
  refusal_socket = socket;
  // By the kernel's own interface: the thread sanitizer wraps sigaction and would run code of its
  // own before ours, under the filter.
  const KernelSigaction action = {
      .handler = OnRefusal,
      .flags = SA_SIGINFO | kSaRestorer,
      .restorer = NeverReturned,
      .mask = ~uint64_t{0},
  };
  if (::syscall(SYS_rt_sigaction, SIGSYS, &action, nullptr, sizeof(action.mask)) != 0) {
    return ErrnoStatus(errno, "handle SIGSYS");
  }
  // Blocked, it would end the process all the same, without its report.
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, SIGSYS);
  const int error = ::pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
  if (error != 0) return ErrnoStatus(error, "unblock SIGSYS");
  return absl::OkStatus();
}

}  // namespace parley::internal
