// SPDX-License-Identifier: Apache-2.0

// The calls on a connected socket, with the kernel's answers chosen and counted.

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "parley/os/connected_socket.h"
#include "parley/os/disposal.h"
#include "parley/os/unique_fd.h"
#include "parley/testing/disposal_helpers.h"
#include "parley/testing/slow_files.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83  // Linux 6.16
#endif

namespace {

// How the next calls of recvmsg fail, in reverse; those after them are the kernel's.
std::vector<int> errors;
int looks = 0;
msghdr last_look = {};
bool endless = false;  // each receive finds a message of one byte
int receives = 0;

}  // namespace

// Both before the C library's, for all of this program.
extern "C" ssize_t recvmsg(int socket, msghdr* header, int flags) {
  ++looks;
  last_look = *header;
  if (!errors.empty()) {
    errno = errors.back();
    errors.pop_back();
    return -1;
  }
  return ::syscall(SYS_recvmsg, socket, header, flags);
}
extern "C" ssize_t recv(int socket, void* into, std::size_t size_bytes, int flags) {
  ++receives;
  if (endless) return 1;
  return ::syscall(SYS_recvfrom, socket, into, size_bytes, flags, nullptr, nullptr);
}

namespace parley {
namespace {

using testing_support::FailSystemCall;
using testing_support::RunInChild;
using testing_support::SendWithDescriptor;

struct Pair {
  UniqueFd peer;
  UniqueFd ours;
  Pair() {
    int fds[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    peer.Reset(fds[0]);
    ours.Reset(fds[1]);
  }
  void Queue(const std::string& bytes) {
    ASSERT_EQ(::send(peer.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
};

bool KernelKnowsPassRights() {
  Pair pair;
  int on = -1;
  socklen_t length = sizeof(on);
  return ::getsockopt(pair.ours.get(), SOL_SOCKET, SO_PASSRIGHTS, &on, &length) == 0;
}

// Until what is closed elsewhere is closed.
void AwaitHelpers() { testing::AwaitDisposalHelpers(); }

bool IsOpen(const UniqueFd& peer) { return ::send(peer.get(), "x", 1, MSG_NOSIGNAL) == 1; }

TEST(PeekNextTest, EachAnswerOfTheKernels) {
  const struct {
    std::vector<int> errors;  // in reverse
    NextMessage next;
    int looks;
  } rows[] = {
      {{}, NextMessage::kPlain, 1},
      {{EINTR}, NextMessage::kPlain, 2},
      {{ECONNRESET}, NextMessage::kPlain, 2},
      {{EINTR, EINTR, ECONNRESET}, NextMessage::kPlain, 4},
      {{EINTR, EINTR, EINTR, EINTR}, NextMessage::kNone, 4},  // and no more than that
      {{EAGAIN}, NextMessage::kNone, 1},
      {{EAGAIN, ECONNRESET}, NextMessage::kNone, 2},
      {{ENOTCONN}, NextMessage::kEnd, 1},
      {{EBADF}, NextMessage::kEnd, 1},
      {{EPIPE, ECONNRESET}, NextMessage::kEnd, 2},
  };
  Pair pair;
  pair.Queue("hello");
  for (const auto& row : rows) {
    errors = row.errors;
    looks = 0;
    EXPECT_EQ(PeekNext(pair.ours.get()), row.next) << &row - rows;
    EXPECT_EQ(looks, row.looks) << &row - rows;
    EXPECT_EQ(last_look.msg_iovlen, 1u);
    EXPECT_EQ(last_look.msg_controllen, 0u);
  }
  errors.clear();
  char bytes[8];
  EXPECT_EQ(::recv(pair.ours.get(), bytes, sizeof(bytes), 0), 5);  // nothing was taken
}

// Whatever an earlier call left in errno.
TEST(PeekNextTest, AnEmptyMessageIsTheEnd) {
  for (const int error : {0, EAGAIN, EINTR, ECONNRESET}) {
    Pair pair;
    pair.Queue("");
    errno = error;
    EXPECT_EQ(PeekNext(pair.ours.get()), NextMessage::kEnd) << error;
  }
}

TEST(PeekNextTest, AResetDoesNotHideWhatWasSentBeforeIt) {
  Pair pair;
  pair.Queue("hello");
  ASSERT_EQ(::send(pair.ours.get(), "unread", 6, 0), 6);
  pair.peer.Reset();
  EXPECT_EQ(PeekNext(pair.ours.get()), NextMessage::kPlain);
  char bytes[8];
  EXPECT_EQ(::recv(pair.ours.get(), bytes, sizeof(bytes), 0), 5);
  EXPECT_EQ(PeekNext(pair.ours.get()), NextMessage::kEnd);
}

TEST(StopReceivingTest, PromiseP3WorkAtMost320Receives) {
  Pair pair;
  receives = 0;
  StopReceiving(pair.ours.get());
  EXPECT_EQ(receives, 2) << "the end, and once more";
  Pair other;
  ASSERT_TRUE(!KernelKnowsPassRights() || RefuseRights(other.ours.get()));
  endless = true;
  receives = 0;
  StopReceiving(other.ours.get());
  endless = false;
  EXPECT_EQ(receives, 320);
}

// What lies in the queue is dropped, empty messages or not; so what we sent last arrives.
TEST(StopReceivingTest, TheQueueIsEmptyAfterwards) {
  const std::vector<std::string> full(278, "x");
  const std::vector<std::vector<std::string>> queues = {
      {}, {"x"}, {"", "x"}, {"x", "", "y"}, {"", "x", "", "y", "", "z"}, full};
  for (const bool refuses : {false, true}) {
    if (refuses && !KernelKnowsPassRights()) continue;
    for (const auto& queue : queues) {
      Pair pair;
      ASSERT_TRUE(!refuses || RefuseRights(pair.ours.get()));
      for (const std::string& message : queue) {
        if (::send(pair.peer.get(), message.data(), message.size(), MSG_DONTWAIT) < 0) break;
      }
      ASSERT_EQ(::send(pair.ours.get(), "last", 4, 0), 4);
      StopReceiving(pair.ours.get());
      EXPECT_FALSE(IsOpen(pair.peer));
      pair.ours.Reset();
      char bytes[8];
      EXPECT_EQ(::recv(pair.peer.get(), bytes, sizeof(bytes), 0), 4) << queue.size();
    }
  }
}

TEST(StopReceivingTest, NothingIsReceivedFromWhatIsNoConnection) {
  receives = 0;
  StopReceiving(-1);
  EXPECT_EQ(receives, 0);
}

TEST(RightsTest, TheAnswerIsWhetherTheKernelKnowsThem) {
  const bool known = KernelKnowsPassRights();
  Pair pair;
  EXPECT_FALSE(RefusesRights(pair.ours.get()));
  EXPECT_EQ(RefuseRights(pair.ours.get()), known);
  EXPECT_EQ(RefusesRights(pair.ours.get()), known);
  EXPECT_EQ(SendWithDescriptor(pair.peer.get(), STDOUT_FILENO), !known);
  EXPECT_EQ(AllowRights(pair.ours.get()), known);
  EXPECT_FALSE(RefusesRights(pair.ours.get()));
  EXPECT_TRUE(SendWithDescriptor(pair.peer.get(), STDOUT_FILENO));
  EXPECT_FALSE(RefuseRights(-1));
  EXPECT_FALSE(AllowRights(-1));
  EXPECT_FALSE(RefusesRights(-1));
}

// Only AF_UNIX sockets carry descriptors.
TEST(RightsTest, WhichSocketsNeedALookBeforeEachReceive) {
  Pair pair;
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd reading(ends[0]);
  const UniqueFd writing(ends[1]);
  const UniqueFd tcp(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_FALSE(MayBringRights(-1));
  EXPECT_FALSE(MayBringRights(reading.get()));
  EXPECT_FALSE(MayBringRights(tcp.get()));
  EXPECT_TRUE(MayBringRights(pair.ours.get()));
  const bool refuses = RefuseRights(pair.ours.get());
  EXPECT_EQ(MayBringRights(pair.ours.get()), !refuses);
}

using Close = void (*)(UniqueFd);

class ClosingTest : public ::testing::TestWithParam<Close> {};
void CloseConnected(UniqueFd socket) { ConnectedSocket(std::move(socket)).Reset(); }

INSTANTIATE_TEST_SUITE_P(Each, ClosingTest, ::testing::Values(CloseConnected, CloseListening),
                         [](const auto& each) {
                           return each.index == 0 ? "Connected" : "Listening";
                         });

TEST_P(ClosingTest, ErrnoIsKeptWhateverIsClosed) {
  const auto errno_after = [&](UniqueFd fd) {
    errno = 4711;
    GetParam()(std::move(fd));
    return errno;
  };
  EXPECT_EQ(errno_after(UniqueFd()), 4711);
  Pair pair;
  EXPECT_EQ(errno_after(std::move(pair.ours)), 4711);
  AwaitHelpers();
  EXPECT_FALSE(IsOpen(pair.peer));
  EXPECT_EQ(errno_after(UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))), 4711);
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd writing(ends[1]);
  EXPECT_EQ(errno_after(UniqueFd(ends[0])), 4711);  // no socket: each question is an error
}

// Elsewhere where descriptors may be queued, in place where none can be.
TEST_P(ClosingTest, WhereItIsClosed) {
  for (const bool refuses : {false, true}) {
    if (refuses && !KernelKnowsPassRights()) continue;
    EXPECT_EQ(RunInChild([&] {
                Pair pair;
                ASSERT_TRUE(!refuses || RefuseRights(pair.ours.get()));
                FailSystemCall(SYS_clone, EAGAIN);
                GetParam()(std::move(pair.ours));
                EXPECT_EQ(TendDisposal().parked, refuses ? 0u : 1u);
                // One that listens has no peer; a copy of it may go on listening elsewhere.
                EXPECT_EQ(IsOpen(pair.peer), !refuses && GetParam() == CloseListening);
              }),
              "ok");
  }
}

TEST_P(ClosingTest, AProcessWithoutHelpersClosesInPlace) {
  EXPECT_EQ(RunInChild([&] {
              Pair pair;
              DisposeInPlaceFromNow();
              FailSystemCall(SYS_clone, EAGAIN);
              GetParam()(std::move(pair.ours));
              EXPECT_EQ(TendDisposal().parked, 0u);
              EXPECT_FALSE(IsOpen(pair.peer));
            }),
            "ok");
}

// Where no helper is to be had: what was said last arrives, and the end after it, at once.
TEST(ConnectedSocketTest, ThePeerOfOneThatIsParkedSeesTheEndAfterWhatWasSaid) {
  for (const bool moved : {false, true}) {
    EXPECT_EQ(RunInChild([&] {
                Pair pair;
                ASSERT_TRUE(SendWithDescriptor(pair.peer.get(), STDOUT_FILENO));
                ASSERT_EQ(::send(pair.ours.get(), "last", 4, 0), 4);
                ConnectedSocket socket(std::move(pair.ours));
                if (moved) {
                  ConnectedSocket another;
                  another = std::move(socket);
                  socket = ConnectedSocket(std::move(another));
                }
                FailSystemCall(SYS_clone, EAGAIN);
                errno = 4711;
                socket.Reset();
                EXPECT_EQ(errno, 4711);
                EXPECT_FALSE(socket.ok());
                EXPECT_EQ(TendDisposal().parked, 1u);
                char bytes[8];
                EXPECT_EQ(::recv(pair.peer.get(), bytes, sizeof(bytes), 0), 4);
                EXPECT_EQ(::recv(pair.peer.get(), bytes, sizeof(bytes), 0), 0);
                EXPECT_FALSE(IsOpen(pair.peer));
              }),
              "ok");
  }
}

// A forked child's copy ends without effect on its parent's connection.
TEST(ConnectedSocketTest, InAForkedChildAConnectionThatIsParkedGoesOn) {
  EXPECT_EQ(RunInChild([&] {
              Pair pair;
              ConnectedSocket socket(std::move(pair.ours));
              const pid_t child = ::fork();
              if (child == 0) {
                FailSystemCall(SYS_clone, EAGAIN);
                socket.Reset();
                ::_exit(TendDisposal().parked == 1 ? 0 : 1);
              }
              int status = -1;
              ASSERT_EQ(::waitpid(child, &status, 0), child);
              EXPECT_EQ(status, 0);
              EXPECT_TRUE(IsOpen(pair.peer));
              socket.Reset();
              AwaitHelpers();
              EXPECT_FALSE(IsOpen(pair.peer));
            }),
            "ok");
}

TEST(ConnectedSocketTest, AMoveClosesWhatWasThereAndTakesTheOther) {
  Pair first;
  Pair second;
  const int number = second.ours.get();
  ConnectedSocket socket(std::move(first.ours));
  ConnectedSocket other(std::move(second.ours));
  EXPECT_TRUE(socket.ok());
  socket = std::move(other);
  EXPECT_EQ(socket.get(), number);
  EXPECT_FALSE(other.ok());  // NOLINT(bugprone-use-after-move): it is empty
  AwaitHelpers();
  EXPECT_FALSE(IsOpen(first.peer));
  EXPECT_TRUE(IsOpen(second.peer));

  ConnectedSocket& same = socket;
  socket = std::move(same);
  EXPECT_EQ(socket.get(), number);
  EXPECT_TRUE(IsOpen(second.peer));

  UniqueFd released = socket.Release();
  EXPECT_EQ(released.get(), number);
  EXPECT_FALSE(socket.ok());
  ConnectedSocket last(std::move(released));
  last.Reset();
  EXPECT_FALSE(last.ok());
  EXPECT_EQ(last.get(), -1);
  AwaitHelpers();
  EXPECT_FALSE(IsOpen(second.peer));
}

}  // namespace
}  // namespace parley
