// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/refusal.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "parley/os/errors.h"

namespace parley::internal {
namespace {

struct WordWire {
  uint32_t landlock_abi;
  uint32_t flags;
  int32_t notifications;  // with kFetch: their number in the worker
  uint32_t reserved;
};
static_assert(sizeof(WordWire) == 16);
constexpr uint32_t kAllThreads = 1;
constexpr uint32_t kMdwe = 2;
// The notifications could not be sent, and are to be taken out of the worker.
constexpr uint32_t kFetch = 4;
// For the parent's thread to do so.
constexpr int kFetchedWithinMs = 10'000;

uint32_t Flags(const LockDownWord& word) {
  return (word.landlock_covers_all_threads ? kAllThreads : 0) | (word.mdwe ? kMdwe : 0);
}

LockDownWord Word(uint32_t landlock_abi, uint32_t flags) {
  return {.landlock_abi = landlock_abi,
          .landlock_covers_all_threads = (flags & kAllThreads) != 0,
          .mdwe = (flags & kMdwe) != 0};
}

uint64_t Packed(const LockDownWord& word) {
  return uint64_t{word.landlock_abi} << 32 | Flags(word);
}

constexpr int kNoRefusal = std::numeric_limits<int>::min();
constexpr uint64_t kNoWord = ~uint64_t{0};

}  // namespace

struct RefusalWatch::Shared {
  // Written before the worker is killed, read after it has ended.
  std::atomic<int> refused{kNoRefusal};
  std::atomic<uint64_t> word{kNoWord};
  // Readable once there is a word.
  UniqueFd said;

  void Say(uint64_t packed) {
    word.store(packed);
    const uint64_t one = 1;
    static_cast<void>(!::write(said.get(), &one, sizeof(one)));
  }
};

namespace {

// What the thread owns.
struct Watch {
  std::shared_ptr<RefusalWatch::Shared> shared;
  UniqueFd socket;
  UniqueFd pidfd;

  void Kill() const { ::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0); }
};

// What poll says of `fd` when it has become readable, hung up or failed; 0 if the worker's end came
// first.
int EventsBeforeTheEnd(int fd, int pidfd) {
  pollfd entries[] = {{fd, POLLIN, 0}, {pidfd, POLLIN, 0}};
  while (::poll(entries, 2, -1) < 0) {
    if (errno != EINTR && errno != ENOMEM) return 0;
  }
  return entries[0].revents;
}

bool IsNotifications(int fd) {
  std::array<char, 64> target = {};
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  // The file itself is not asked anything: it may be one that does not answer.
  const ssize_t size_bytes = ::readlink(path.c_str(), target.data(), target.size());
  constexpr std::string_view kExpected = "anon_inode:seccomp notify";
  // Without /proc the first question will show it.
  return size_bytes < 0 ||
         std::string_view(target.data(), static_cast<size_t>(size_bytes)) == kExpected;
}

void Run(Watch watch) {
  if (EventsBeforeTheEnd(watch.socket.get(), watch.pidfd.get()) == 0) return;
  LockDownMessage message = TakeLockDownMessage(watch.socket.get());
  if (message.fetch >= 0) {
    message.notifications.Reset(
        static_cast<int>(::syscall(SYS_pidfd_getfd, watch.pidfd.get(), message.fetch, 0)));
    message.lost = !message.notifications.ok();
  }
  watch.socket.Reset();
  if (message.word.has_value()) watch.shared->Say(Packed(*message.word));
  const UniqueFd& notifications = message.notifications;
  if (!notifications.ok() && !message.lost) return;
  // Lost for want of a free descriptor: refused calls would be answered and nobody notified.
  if (message.lost || !IsNotifications(notifications.get())) {
    watch.Kill();
    return;
  }
  while (const int events = EventsBeforeTheEnd(notifications.get(), watch.pidfd.get())) {
    // Hung up: the filter has no process any more, and stays so. The worker has ended.
    if ((events & (POLLIN | POLLHUP)) == POLLHUP) return;
    // Larger than the structure: a newer kernel may write more.
    alignas(seccomp_notif) std::array<char, 512> room = {};
    // Does not wait: poll has said that there is one, and nobody else takes any. One that was
    // withdrawn meanwhile is ENOENT.
    if (::ioctl(notifications.get(), SECCOMP_IOCTL_NOTIF_RECV, room.data()) != 0) {
      if (errno == ENOENT || errno == EINTR) continue;
      watch.Kill();  // it cannot be watched any more
      return;
    }
    seccomp_notif notification;
    std::memcpy(&notification, room.data(), sizeof(notification));
    watch.shared->refused.store(notification.data.nr);
    // Before the descriptor is closed, which would answer the call with ENOSYS.
    watch.Kill();
    return;
  }
}

void* RunThread(void* argument) {
  // SAFETY: given by Start, which gave it up.
  const std::unique_ptr<Watch> watch(static_cast<Watch*>(argument));
  ::prctl(PR_SET_NAME, "parley refusals", 0, 0, 0);
  Run(std::move(*watch));
  return nullptr;
}

// No signal of ours is delivered to the thread.
int StartThread(Watch* watch) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const int error = ::pthread_create(&thread, nullptr, RunThread, watch);
  if (error == 0) ::pthread_detach(thread);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return error;
}

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

absl::Status SendLockDownWord(int socket, const LockDownWord& word, int notifications) {
  WordWire wire = {word.landlock_abi, Flags(word), -1, 0};
  iovec part = {&wire, sizeof(wire)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (notifications >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &notifications, sizeof(notifications));
  }
  const auto send = [&] {
    return ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(wire);
  };
  if (send()) return absl::OkStatus();
  // Other processes of this user have more descriptors on their way than we may have open: so none
  // of ours may go.
  if (errno != ETOOMANYREFS) return ErrnoStatus(errno, "report the lock-down to the parent");
  wire.flags |= kFetch;
  wire.notifications = notifications;
  message.msg_control = nullptr;
  message.msg_controllen = 0;
  if (!send()) return ErrnoStatus(errno, "report the lock-down to the parent");
  // It closes its end once it has them.
  pollfd entry = {socket, 0, 0};
  while (::poll(&entry, 1, kFetchedWithinMs) < 0 && errno == EINTR) {
  }
  return (entry.revents & POLLHUP) != 0
             ? absl::OkStatus()
             : absl::DeadlineExceededError("the parent did not take the notifications");
}

LockDownMessage TakeLockDownMessage(int parent_socket) {
  WordWire wire;
  iovec part = {&wire, sizeof(wire)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_LEN(sizeof(int));  // no second one fits
  const ssize_t size_bytes =
      ::recvmsg(parent_socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
  LockDownMessage taken;
  if (size_bytes < 0) return taken;
  taken.lost = (message.msg_flags & MSG_CTRUNC) != 0;
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
      header->cmsg_len == CMSG_LEN(sizeof(int))) {
    int number = -1;
    std::memcpy(&number, CMSG_DATA(header), sizeof(number));
    taken.notifications.Reset(number);
  }
  // TRUST: an answer to a question of the parent's, by a worker without hostile input as yet.
  if (size_bytes == sizeof(wire) && (wire.flags & ~(kAllThreads | kMdwe | kFetch)) == 0 &&
      wire.reserved == 0) {
    taken.word = Word(wire.landlock_abi, wire.flags);
    if ((wire.flags & kFetch) != 0) taken.fetch = wire.notifications;
  }
  return taken;
}

absl::StatusOr<RefusalWatch> RefusalWatch::Start(UniqueFd parent_socket, int pidfd) {
  UniqueFd own_pidfd(::fcntl(pidfd, F_DUPFD_CLOEXEC, 3));
  if (!own_pidfd.ok()) return ErrnoStatus(errno, "watch a worker's refused calls");
  auto shared = std::make_shared<Shared>();
  shared->said.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!shared->said.ok()) return ErrnoStatus(errno, "watch a worker's lock-down");
  auto watch =
      std::make_unique<Watch>(Watch{shared, std::move(parent_socket), std::move(own_pidfd)});
  if (const int error = StartThread(watch.get()); error != 0) {
    return ErrnoStatus(error, "start the thread that watches a worker's refused calls");
  }
  static_cast<void>(watch.release());  // the thread's
  return RefusalWatch(std::move(shared));
}

std::optional<int> RefusalWatch::refused() const {
  const int number = shared_->refused.load();
  return number == kNoRefusal ? std::nullopt : std::optional<int>(number);
}

std::optional<LockDownWord> RefusalWatch::word() const {
  const uint64_t word = shared_->word.load();
  if (word == kNoWord) return std::nullopt;
  return Word(static_cast<uint32_t>(word >> 32), static_cast<uint32_t>(word));
}

int RefusalWatch::word_fd() const { return shared_->said.get(); }

}  // namespace parley::internal
