// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/refusal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "parley/os/pidfd.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/testing_descriptors.h"
#include "parley/testing/filter.h"

namespace parley::internal {
namespace {

// A child that runs `body` with its end, watched by us.
struct Watched {
  pid_t pid = -1;
  UniqueFd pidfd;
  std::optional<RefusalWatch> watch;
};

Watched Start(const std::function<void(int socket)>& body) {
  Watched watched;
  auto sockets = MakeRefusalSockets();
  if (!sockets.ok()) return watched;
  watched.pid = ::fork();
  if (watched.pid == 0) {
    sockets->parent.Reset();
    body(sockets->worker.get());
    ::_exit(0);
  }
  sockets->worker.Reset();
  auto pidfd = OpenPidfd(watched.pid);
  if (!pidfd.ok()) return watched;
  watched.pidfd = *std::move(pidfd);
  auto watch = RefusalWatch::Start(std::move(sockets->parent), watched.pidfd.get());
  if (watch.ok()) watched.watch = *std::move(watch);
  return watched;
}

int StatusOf(const Watched& watched) {
  int status = 0;
  EXPECT_EQ(::waitpid(watched.pid, &status, 0), watched.pid);
  return status;
}

TEST(RefusalTest, TheKernelsNumberArrivesAndTheWorkerIsKilled) {
  const Watched watched = Start([](int socket) {
    const int notifications = testing::NotificationsOf(SYS_getppid);
    if (!SendLockDownWord(socket, {}, notifications).ok()) ::_exit(1);
    ::close(notifications);
    ::close(socket);
    ::syscall(SYS_getppid);
    ::_exit(2);
  });
  ASSERT_TRUE(watched.watch.has_value());
  const int status = StatusOf(watched);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  EXPECT_EQ(watched.watch->refused(), SYS_getppid);
}

TEST(RefusalTest, TheWordArrives) {
  const Watched watched = Start([](int socket) {
    const LockDownWord word = {
        .landlock_abi = 6, .landlock_covers_all_threads = true, .mdwe = true};
    if (!SendLockDownWord(socket, word, -1).ok()) ::_exit(1);
    ::usleep(300'000);
  });
  ASSERT_TRUE(watched.watch.has_value());
  EXPECT_EQ(StatusOf(watched), 0);
  ASSERT_TRUE(watched.watch->word().has_value());
  EXPECT_EQ(watched.watch->word()->landlock_abi, 6u);
  EXPECT_TRUE(watched.watch->word()->landlock_covers_all_threads);
  EXPECT_TRUE(watched.watch->word()->mdwe);
  EXPECT_EQ(watched.watch->refused(), std::nullopt);
}

// Each word as it was sent; one in which nothing is said says that nothing is there.
TEST(RefusalTest, EachPartOfTheWordArrives) {
  std::vector<LockDownWord> words = {{}};
  EXPECT_EQ(words[0], (LockDownWord{0, false, false}));
  for (const uint32_t abi : {0u, 1u, 6u, ~0u}) {
    for (const bool all : {false, true}) {
      for (const bool mdwe : {false, true}) words.push_back({abi, all, mdwe});
    }
  }
  for (const LockDownWord& word : words) {
    auto sockets = MakeRefusalSockets();
    ASSERT_TRUE(sockets.ok()) << sockets.status();
    ASSERT_TRUE(SendLockDownWord(sockets->worker.get(), word, -1).ok());
    const LockDownMessage taken = TakeLockDownMessage(sockets->parent.get());
    ASSERT_TRUE(taken.word.has_value());
    EXPECT_EQ(*taken.word, word) << word.landlock_abi;
    EXPECT_FALSE(taken.notifications.ok());
    EXPECT_FALSE(taken.lost);
    EXPECT_EQ(taken.fetch, -1);
  }
}

// Every other message, whatever was in memory: a byte less or more, a flag that means nothing, a
// number where none is.
TEST(RefusalTest, WhatIsNoWordIsNone) {
  const auto take = [](const std::vector<uint32_t>& words, size_t size_bytes) {
    auto sockets = MakeRefusalSockets();
    if (!sockets.ok()) return true;
    if (::send(sockets->worker.get(), words.data(), size_bytes, MSG_NOSIGNAL) < 0) return true;
    return TakeLockDownMessage(sockets->parent.get()).word.has_value();
  };
  const std::vector<uint32_t> word = {6, 3, ~0u, 0, 0, 0};
  EXPECT_TRUE(take(word, 16));
  for (size_t size_bytes = 1; size_bytes <= 24; ++size_bytes) {
    EXPECT_EQ(take(word, size_bytes), size_bytes == 16) << size_bytes;
    EXPECT_EQ(take({0, 0, 0, 0, 0, 0}, size_bytes), size_bytes == 16) << size_bytes;
  }
  for (uint32_t bit = 0; bit < 32; ++bit) {
    EXPECT_EQ(take({6, 1u << bit, ~0u, 0}, 16), bit < 3) << bit;
    EXPECT_FALSE(take({6, 3, ~0u, 1u << bit}, 16)) << bit;
  }
  auto sockets = MakeRefusalSockets();
  ASSERT_TRUE(sockets.ok()) << sockets.status();
  EXPECT_FALSE(TakeLockDownMessage(sockets->parent.get()).word.has_value());
}

// More of this process's user's on their way than it may have open, which is nobody's then. False:
// it did not come to that.
bool HaveTooManyOnTheirWay() {
  const rlimit few = {32, 32};
  if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return false;
  if (::setrlimit(RLIMIT_NOFILE, &few) != 0) return false;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) != 0) return false;
  for (int i = 0; i < 10; ++i) {
    if (testing::SendDescriptors(ends[0], std::array<int, 8>{}, MSG_DONTWAIT) < 0) {
      return errno == ETOOMANYREFS;
    }
  }
  return false;
}

// poll returns 0 at once from here on: its time is over.
void LetPollTimeOut() {
#ifdef SYS_poll
  constexpr uint32_t kPoll = SYS_poll;
#else
  constexpr uint32_t kPoll = SYS_ppoll;
#endif
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kPoll, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ppoll, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {5, filter};
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

// A worker whose refused calls nobody will hear of has not locked itself down.
TEST(RefusalTest, NotificationsThatCannotBeSentAndNobodyTakesAreAnError) {
  auto sockets = MakeRefusalSockets();
  ASSERT_TRUE(sockets.ok()) << sockets.status();
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (!HaveTooManyOnTheirWay()) ::_exit(1);
    LetPollTimeOut();
    const absl::Status status = SendLockDownWord(sockets->worker.get(), {}, 0);
    ::_exit(status.code() == absl::StatusCode::kDeadlineExceeded ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(TakeLockDownMessage(sockets->parent.get()).fetch, 0);
}

TEST(RefusalTest, AWorkerThatSendsNothingHasNoWordAndNoRefusal) {
  const Watched watched = Start([](int) {});
  ASSERT_TRUE(watched.watch.has_value());
  EXPECT_EQ(StatusOf(watched), 0);
  EXPECT_EQ(watched.watch->word(), std::nullopt);
  EXPECT_EQ(watched.watch->refused(), std::nullopt);
}

// Attack F1: whatever is sent in place of the notifications is no descriptor that we go on with.
TEST(RefusalTest, AnotherDescriptorThanNotificationsIsTheEndOfItsSender) {
  const Watched watched = Start([](int socket) {
    if (!SendLockDownWord(socket, {}, ::eventfd(1, EFD_CLOEXEC)).ok()) ::_exit(1);
    while (true) ::pause();
  });
  ASSERT_TRUE(watched.watch.has_value());
  const int status = StatusOf(watched);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  EXPECT_EQ(watched.watch->refused(), std::nullopt);
}

// A number in the worker instead of a descriptor: its notifications are taken out of it, and
// whatever else is there, or nothing, is the end of it.
TEST(RefusalTest, NotificationsAreTakenOutOfTheWorkerByTheirNumber) {
  enum class Under { kNotifications, kAnotherFile, kNothing };
  for (const Under under : {Under::kNotifications, Under::kAnotherFile, Under::kNothing}) {
    const Watched watched = Start([under](int socket) {
      const int notifications = testing::NotificationsOf(SYS_getppid);
      const int other = ::eventfd(1, EFD_CLOEXEC);
      const int number = under == Under::kNotifications ? notifications
                         : under == Under::kAnotherFile ? other
                                                        : 500;
      // kFetch and kMdwe, by another hand than SendLockDownWord's.
      const uint32_t word[] = {6, 6, static_cast<uint32_t>(number), 0};
      if (::send(socket, word, sizeof(word), MSG_NOSIGNAL) != sizeof(word)) ::_exit(1);
      // It closes its end once it has them.
      pollfd entry = {socket, 0, 0};
      ::poll(&entry, 1, 10'000);
      if ((entry.revents & POLLHUP) == 0) ::_exit(3);
      ::close(notifications);
      ::syscall(SYS_getppid);
      while (under != Under::kNotifications) ::pause();
      ::_exit(2);
    });
    ASSERT_TRUE(watched.watch.has_value());
    const int status = StatusOf(watched);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
    if (under == Under::kNotifications) {
      EXPECT_EQ(watched.watch->refused(), SYS_getppid);
    } else {
      EXPECT_EQ(watched.watch->refused(), std::nullopt);
    }
    ASSERT_TRUE(watched.watch->word().has_value());
    EXPECT_EQ(*watched.watch->word(), (LockDownWord{6, false, true}));
  }
}

// Lost on their way, for a full descriptor table here: refused calls would be answered, and nobody
// told.
TEST(RefusalTest, NotificationsThatAreLostAreTheEndOfTheWorker) {
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const Watched watched = Start([](int socket) {
    const int notifications = testing::NotificationsOf(SYS_getppid);
    ::usleep(200'000);
    if (!SendLockDownWord(socket, {3, true, false}, notifications).ok()) ::_exit(1);
    while (true) ::pause();
  });
  ASSERT_TRUE(watched.watch.has_value());
  rlimit low = before;
  low.rlim_cur = 3;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  const int status = StatusOf(watched);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  ASSERT_TRUE(watched.watch->word().has_value());
  EXPECT_EQ(*watched.watch->word(), (LockDownWord{3, true, false}));
}

// There is room for one: of two, the kernel says that some are lost.
TEST(RefusalTest, TwoDescriptorsAreTheEndOfTheirSender) {
  const Watched watched = Start([](int socket) {
    const int event = ::eventfd(1, EFD_CLOEXEC);
    if (testing::SendDescriptors(socket, std::array{event, event}, MSG_NOSIGNAL) < 0) ::_exit(1);
    while (true) ::pause();
  });
  ASSERT_TRUE(watched.watch.has_value());
  const int status = StatusOf(watched);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  EXPECT_EQ(watched.watch->word(), std::nullopt);
}

// Not before, and from then on.
TEST(RefusalTest, TheWordsDescriptorIsReadableOnceThereIsOne) {
  int go[2];
  ASSERT_EQ(::pipe2(go, O_CLOEXEC), 0);
  const UniqueFd reader(go[0]);
  const UniqueFd writer(go[1]);
  const Watched watched = Start([&reader](int socket) {
    char byte = 0;
    if (::read(reader.get(), &byte, 1) != 1) ::_exit(1);
    if (!SendLockDownWord(socket, {1, false, false}, -1).ok()) ::_exit(2);
    while (true) ::pause();
  });
  ASSERT_TRUE(watched.watch.has_value());
  pollfd entry = {watched.watch->word_fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&entry, 1, 20), 0);
  EXPECT_EQ(watched.watch->word(), std::nullopt);
  ASSERT_EQ(::write(writer.get(), "g", 1), 1);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(::poll(&entry, 1, 10'000), 1);
    ASSERT_TRUE(watched.watch->word().has_value());
    EXPECT_EQ(*watched.watch->word(), (LockDownWord{1, false, false}));
  }
  ::kill(watched.pid, SIGKILL);
  StatusOf(watched);
  EXPECT_EQ(watched.watch->refused(), std::nullopt);
}

TEST(RefusalTest, AWordThatNobodyTakesIsAnError) {
  auto sockets = MakeRefusalSockets();
  ASSERT_TRUE(sockets.ok()) << sockets.status();
  sockets->parent.Reset();
  const absl::Status status = SendLockDownWord(sockets->worker.get(), {}, -1);
  EXPECT_EQ(status.message(), "cannot report the lock-down to the parent: Broken pipe");
}

TEST(RefusalTest, PromiseP7ResourcesAFloodIsBounded) {
  auto sockets = MakeRefusalSockets();
  ASSERT_TRUE(sockets.ok()) << sockets.status();
  const uint32_t refusal[2] = {1, 0};
  int sent = 0;
  while (sent < 10'000 && ::send(sockets->worker.get(), refusal, sizeof(refusal),
                                 MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(refusal)) {
    ++sent;
  }
  EXPECT_GT(sent, 0);
  EXPECT_LT(sent, 100);
  EXPECT_EQ(errno, EAGAIN);
}

TEST(RefusalTest, NothingGoesBackAndBothEndsCloseOnExec) {
  auto sockets = MakeRefusalSockets();
  ASSERT_TRUE(sockets.ok()) << sockets.status();
  EXPECT_LT(::send(sockets->parent.get(), "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL), 0);
  EXPECT_NE(::fcntl(sockets->parent.get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(::fcntl(sockets->worker.get(), F_GETFD) & FD_CLOEXEC, 0);
}

}  // namespace
}  // namespace parley::internal
