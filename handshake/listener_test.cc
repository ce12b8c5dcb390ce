// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/listener.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/connected_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/disposal.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/test_support.h"
#include "parley/testing/slow_files.h"

namespace parley {
namespace {

using testing_support::FailSystemCall;
using testing_support::LingeringSocket;
using testing_support::RunInChild;
using testing_support::SendWithDescriptor;

Deadline Soon() { return Deadline::After(absl::Seconds(5)); }

// A folder for sockets, short enough for their names, removed at the end.
struct ListenerTest : ::testing::Test {
  std::string folder = "/tmp/parley_listener_XXXXXX";

  ListenerTest() { EXPECT_NE(::mkdtemp(folder.data()), nullptr); }
  ~ListenerTest() override { EXPECT_EQ(::rmdir(folder.c_str()), 0) << "something was left in it"; }
  ListenerTest(const ListenerTest&) = delete;
  ListenerTest& operator=(const ListenerTest&) = delete;

  std::string Path(const char* name) const { return folder + "/" + name; }
};

bool Exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// A socket file without a listener.
void LeaveStaleFile(const std::string& path) {
  const std::string moved = path + "x";
  {
    auto dead = Listener::Bind(path);
    ASSERT_TRUE(dead.ok()) << dead.status();
    ASSERT_EQ(::rename(path.c_str(), moved.c_str()), 0);  // so that it is not removed
  }
  ASSERT_EQ(::rename(moved.c_str(), path.c_str()), 0);
}

TEST_F(ListenerTest, MovingOneGivesUpTheOtherAndItsFile) {
  auto first = Listener::Bind(Path("first"));
  auto second = Listener::Bind(Path("second"));
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->name(), Path("first"));
  *first = *std::move(second);
  EXPECT_EQ(first->name(), Path("second"));
  EXPECT_FALSE(Exists(Path("first")));
  EXPECT_TRUE(ConnectTo(Path("second"), Soon()).ok());
  // To itself, by a road that no compiler sees through: nothing happens.
  Listener* const same = &*first;
  *first = std::move(*same);
  EXPECT_TRUE(ConnectTo(Path("second"), Soon()).ok());
}

TEST_F(ListenerTest, AnAbstractNameThatIsTakenIsAnError) {
  const std::string name = "@parley_listener_" + std::to_string(::getpid());
  auto first = Listener::Bind(name);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = Listener::Bind(name);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists) << second.status();
  EXPECT_TRUE(ConnectTo(name, Soon()).ok());
}

TEST_F(ListenerTest, PromiseP2AnyoneMayLockTheFolderAndBindStillEnds) {
  LeaveStaleFile(Path("a"));
  const UniqueFd other(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(::flock(other.get(), LOCK_EX), 0);
  const absl::Time before = absl::Now();
  auto listener = Listener::Bind(Path("a"));
  EXPECT_TRUE(listener.ok()) << listener.status();
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(900));  // it was waited for
  EXPECT_LE(absl::Now() - before, absl::Seconds(5));
}

TEST_F(ListenerTest, AStaleFileThatCantBeRemovedIsAnError) {
  LeaveStaleFile(Path("a"));
#ifdef SYS_unlink
  EXPECT_EQ(RunInChild([&] {
              FailSystemCall(SYS_unlink, EPERM);
              const absl::Status status = Listener::Bind(Path("a")).status();
              EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << status;
              EXPECT_NE(status.ToString().find("remove the stale socket"), std::string::npos);
            }),
            "ok");
#endif
  EXPECT_TRUE(Listener::Bind(Path("a")).ok());
}

TEST_F(ListenerTest, AFullDescriptorTableIsAnErrorAndTheListenerGoesOn) {
  EXPECT_EQ(
      RunInChild([&] {
        auto listener = Listener::Bind(Path("a"));
        ASSERT_TRUE(listener.ok());
        auto client = ConnectTo(Path("a"), Soon());
        ASSERT_TRUE(client.ok());
        rlimit before = {};
        ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
        const rlimit none = {0, before.rlim_max};
        ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
        EXPECT_EQ(listener->TryAccept().status().code(), absl::StatusCode::kResourceExhausted);
        EXPECT_EQ(ConnectTo(Path("a"), Soon()).status().code(),
                  absl::StatusCode::kResourceExhausted);
        EXPECT_EQ(Listener::Bind(Path("b")).status().code(), absl::StatusCode::kResourceExhausted);
        ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
        auto server = listener->TryAccept();
        EXPECT_TRUE(server.ok() && *server);
      }),
      "ok");
}

mode_t ModeOf(const std::string& path) {
  struct stat info = {};
  EXPECT_EQ(::lstat(path.c_str(), &info), 0);
  return info.st_mode & 0777;
}

TEST_F(ListenerTest, TheFilesModeIsTheOneAskedForWhateverTheUmask) {
  for (const mode_t umask : {0000u, 0022u, 0077u, 0277u, 0777u}) {
    for (const mode_t mode : {0600u, 0660u, 0666u}) {
      const mode_t before = ::umask(umask);
      auto listener = Listener::Bind(Path("a"), mode);
      ::umask(before);
      ASSERT_TRUE(listener.ok()) << listener.status();
      EXPECT_EQ(ModeOf(Path("a")), mode) << umask;
    }
  }
  EXPECT_EQ(ModeOf(Path("")), 0700u);
}

// With and without exit: neither a child's copy nor a moved one removes the file.
TEST_F(ListenerTest, AForkedChildDoesNotRemoveTheFileOfItsParent) {
  auto listener = Listener::Bind(Path("a"));
  ASSERT_TRUE(listener.ok());
  EXPECT_EQ(RunInChild([&] {
              Listener moved = *std::move(listener);
              moved = *Listener::Bind(Path("b"));
            }),
            "ok");
  EXPECT_TRUE(Exists(Path("a")));
  EXPECT_FALSE(Exists(Path("b")));
  EXPECT_TRUE(ConnectTo(Path("a"), Soon()).ok());
}

// A caller that tries again and again waits for the next connection, not for a descriptor.
TEST_F(ListenerTest, PromiseP3WorkWithAFullTableAConnectionIsTakenAndClosed) {
  EXPECT_EQ(
      RunInChild([&] {
        auto listener = Listener::Bind(Path("a"));
        ASSERT_TRUE(listener.ok());
        auto client = ConnectTo(Path("a"), Soon());
        ASSERT_TRUE(client.ok());
        std::vector<UniqueFd> table;
        do {
          table.emplace_back(::dup(listener->fd()));
          const rlimit few = {200, 200};
          ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
        } while (table.back().ok());
        EXPECT_EQ(listener->TryAccept().status().code(), absl::StatusCode::kResourceExhausted);
        // Nobody is in the queue any more, and the client was not left waiting.
        const auto next = listener->TryAccept();
        EXPECT_TRUE(next.ok() && !*next) << next.status();
        std::array<std::byte, 8> bytes;
        EXPECT_EQ(client->TryReceive(absl::MakeSpan(bytes)).status().code(),
                  absl::StatusCode::kUnavailable);
        // The spare descriptor is there again for the next one.
        table.pop_back();
        table.pop_back();
        const auto second = ConnectTo(Path("a"), Soon());
        ASSERT_TRUE(second.ok()) << second.status();
        EXPECT_EQ(listener->TryAccept().status().code(), absl::StatusCode::kResourceExhausted);
      }),
      "ok");
}

// A message that is queued before accept: refused by the kernel, or never released here.
TEST_F(ListenerTest, AttackF12NothingIsReleasedByAcceptCloseOrTheListenersEnd) {
  for (const bool old_kernel : {false, true}) {
    EXPECT_EQ(RunInChild([&] {
                std::array<UniqueFd, 3> slow;
                for (UniqueFd& fd : slow) fd = LingeringSocket(absl::Seconds(3));
                if (old_kernel) FailSystemCall(SYS_setsockopt, ENOPROTOOPT);
                std::optional<Listener> listener(*Listener::Bind(Path("a")));
                std::vector<UniqueFd> attackers;
                for (UniqueFd& fd : slow) {
                  attackers.emplace_back(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
                  sockaddr_un name = {};
                  name.sun_family = AF_UNIX;
                  // SAFETY: the sockets API takes every address family through this type.
                  const auto* any = reinterpret_cast<const sockaddr*>(&name);
                  std::strncpy(name.sun_path, Path("a").c_str(), sizeof(name.sun_path) - 1);
                  ASSERT_EQ(::connect(attackers.back().get(), any, sizeof(name)), 0);
                  const bool sent = SendWithDescriptor(attackers.back().get(), fd.get());
                  EXPECT_TRUE(sent || !old_kernel);
                  if (sent) fd.Reset();  // the one in the queue is the last
                }
                const absl::Time before = absl::Now();
                {
                  auto socket = listener->TryAccept();
                  ASSERT_TRUE(socket.ok() && *socket) << socket.status();
                  std::array<std::byte, 8> bytes;
                  const auto got = (*socket)->TryReceive(absl::MakeSpan(bytes));
                  if (old_kernel) {
                    EXPECT_EQ(got.status().code(), absl::StatusCode::kInvalidArgument);
                  }
                }
                {
                  const auto socket = listener->TryAccept();  // closed unread
                  ASSERT_TRUE(socket.ok() && *socket);
                }
                listener.reset();  // with one in its queue
                EXPECT_LE(absl::Now() - before, absl::Seconds(1));
              }),
              "ok")
        << old_kernel;
  }
}

TEST_F(ListenerTest, AFileThatIsGoneAgainAtOnceIsAnError) {
  EXPECT_EQ(RunInChild([&] {
              FailSystemCall(SYS_newfstatat, ENOENT);
              const absl::Status status = Listener::Bind(Path("a")).status();
              EXPECT_NE(status.ToString().find("look at the new socket"), std::string::npos)
                  << status;
            }),
            "ok");
  EXPECT_EQ(::unlink(Path("a").c_str()), 0);  // nobody could tell whose it was
}

TEST_F(ListenerTest, PromiseP2AListenerThatNeverAcceptsCostsTheDeadline) {
  auto listener = Listener::Bind(Path("a"));
  ASSERT_TRUE(listener.ok());
  std::vector<PeerSocket> waiting;
  absl::Status status;
  while (status.ok() && waiting.size() < 1000) {
    auto socket = ConnectTo(Path("a"), Deadline::After(absl::Milliseconds(50)));
    status = socket.status();
    if (socket.ok()) waiting.push_back(*std::move(socket));
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
}

// --- each step that can fail, each move ----------------------------------------------------------

bool Says(const absl::Status& status, const char* sentence) {
  return status.ToString().find(sentence) != std::string::npos;
}

TEST_F(ListenerTest, ANameHas1To107BytesAndNoneIsZero) {
  for (const std::string& bad : {std::string(), std::string("@"), std::string(108, 'x'),
                                 "@" + std::string(107, 'x'), std::string("a\0b", 3)}) {
    for (const absl::Status& status :
         {Listener::Bind(bad).status(), ConnectTo(bad, Soon()).status()}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad.size() << status;
      EXPECT_TRUE(Says(status, "1 to 107 bytes")) << bad.size() << status;
    }
  }
  std::string abstract = "@parley_listener_long_" + std::to_string(::getpid());
  abstract.resize(107, 'x');
  std::string path = Path("long");
  path.resize(107, 'x');
  for (const std::string& longest : {abstract, path}) {
    const auto listener = Listener::Bind(longest);
    ASSERT_TRUE(listener.ok()) << listener.status();
    EXPECT_EQ(listener->name(), longest);
    EXPECT_TRUE(ConnectTo(longest, Soon()).ok());
  }
}

TEST_F(ListenerTest, AFolderThatIsNotThereIsNotFound) {
  const absl::Status status = Listener::Bind(Path("none/a")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
  EXPECT_TRUE(Says(status, "make the socket")) << status;
  EXPECT_EQ(ConnectTo(Path("none"), Soon()).status().code(), absl::StatusCode::kNotFound);
}

// Each call that a Bind makes fails, with an error that says which; what it made is gone again.
TEST_F(ListenerTest, EachStepOfABindThatFailsIsNamed) {
  const struct {
    long call;
    int error;
    absl::StatusCode code;
    const char* sentence;
  } kCases[] = {
      {SYS_socket, ENFILE, absl::StatusCode::kResourceExhausted, "create a socket"},
      {SYS_newfstatat, EACCES, absl::StatusCode::kPermissionDenied, "look at"},
      {SYS_fchmod, EPERM, absl::StatusCode::kPermissionDenied, "set a socket's mode"},
      {SYS_bind, ENOMEM, absl::StatusCode::kResourceExhausted, "make the socket"},
      {SYS_listen, ENOBUFS, absl::StatusCode::kResourceExhausted, "listen on"},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(RunInChild([&] {
                FailSystemCall(c.call, c.error);
                const absl::Status status = Listener::Bind(Path("a")).status();
                EXPECT_EQ(status.code(), c.code) << status;
                EXPECT_TRUE(Says(status, c.sentence)) << status;
              }),
              "ok")
        << c.sentence;
    EXPECT_FALSE(Exists(Path("a"))) << c.sentence;
  }
}

// Only where the umask took something away is the mode set by the file's number, for which a file
// has to be opened.
TEST_F(ListenerTest, TheModeThatCannotBeSetIsAnError) {
  for (const bool taken_away : {false, true}) {
    EXPECT_EQ(RunInChild([&] {
                ::umask(taken_away ? 0277 : 0);
                FailSystemCall(SYS_openat, EMFILE);
                const absl::Status status = Listener::Bind(Path("a")).status();
                EXPECT_EQ(status.code(),
                          taken_away ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kOk)
                    << status;
                EXPECT_TRUE(status.ok() || Says(status, "set the mode of the socket")) << status;
              }),
              "ok");
    EXPECT_FALSE(Exists(Path("a")));
  }
}

// With room for so many descriptors more: it listens, or says what is missing and leaves the file.
TEST_F(ListenerTest, WhateverRoomThereIsAStaleFileIsReplacedOrLeft) {
  int bound = 0;
  for (rlim_t room = 0; room <= 4; ++room) {
    LeaveStaleFile(Path("a"));
    const std::string ended = RunInChild([&] {
      ::umask(0);
      rlimit limit = {};
      ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
      rlimit tight = limit;
      {
        const UniqueFd lowest(::fcntl(0, F_DUPFD_CLOEXEC, 0));
        tight.rlim_cur = static_cast<rlim_t>(lowest.get()) + room;
      }
      ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
      const auto listener = Listener::Bind(Path("a"));
      ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
      EXPECT_TRUE(Exists(Path("a")));
      if (listener.ok()) return;
      EXPECT_EQ(listener.status().code(), absl::StatusCode::kResourceExhausted)
          << listener.status();
    });
    EXPECT_EQ(ended, "ok") << room;
    if (!Exists(Path("a"))) ++bound;  // its Listener has removed it
    ::unlink(Path("a").c_str());
  }
  EXPECT_GT(bound, 0);
}

// What an earlier call left in errno is not the probe's answer.
TEST_F(ListenerTest, OneThatListensIsFoundWhateverErrnoWas) {
  auto first = Listener::Bind(Path("a"));
  ASSERT_TRUE(first.ok());
  for (const int before : {0, ECONNREFUSED, ENOENT, EADDRINUSE}) {
    errno = before;
    const absl::Status status = Listener::Bind(Path("a")).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
    EXPECT_TRUE(Says(status, "another process is listening on")) << status;
  }
  EXPECT_TRUE(ConnectTo(Path("a"), Soon()).ok());
}

// Whoever answers in any way but "nobody is here" listens, and its file stays.
TEST_F(ListenerTest, OnlyAFileThatRefusesConnectionsIsStale) {
  const struct {
    int error;
    bool stale;
  } kCases[] = {{ECONNREFUSED, true}, {ENOENT, true},  {EAGAIN, false},
                {EPROTOTYPE, false},  {EACCES, false}, {EPERM, false}};
  for (const auto& c : kCases) {
    LeaveStaleFile(Path("a"));
    EXPECT_EQ(RunInChild([&] {
                FailSystemCall(SYS_connect, c.error);
                const absl::Status status = Listener::Bind(Path("a")).status();
                EXPECT_EQ(status.code(),
                          c.stale ? absl::StatusCode::kOk : absl::StatusCode::kAlreadyExists)
                    << status;
              }),
              "ok")
        << c.error;
    EXPECT_EQ(Exists(Path("a")), !c.stale) << c.error;
    ::unlink(Path("a").c_str());
  }
}

TEST_F(ListenerTest, AListenerWithAFullQueueOrOfAnotherTypeIsSomebody) {
  auto full = Listener::Bind(Path("full"));
  ASSERT_TRUE(full.ok());
  std::vector<PeerSocket> waiting;
  absl::Status status;
  while (status.ok() && waiting.size() < 1000) {
    auto socket = ConnectTo(Path("full"), Deadline::AtMonotonicNs(0));
    status = socket.status();
    if (socket.ok()) waiting.push_back(*std::move(socket));
  }
  // A deadline that is over already is no wait for ever.
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_EQ(Listener::Bind(Path("full")).status().code(), absl::StatusCode::kAlreadyExists);

  const UniqueFd stream(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  std::strncpy(name.sun_path, Path("stream").c_str(), sizeof(name.sun_path) - 1);
  // SAFETY: the sockets API takes every address family through this type.
  ASSERT_EQ(::bind(stream.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
  ASSERT_EQ(::listen(stream.get(), 1), 0);
  EXPECT_EQ(Listener::Bind(Path("stream")).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(::unlink(Path("stream").c_str()), 0);
}

TEST_F(ListenerTest, AStaleFileThatSomebodyElseRemovedMeanwhileIsNoError) {
#ifdef SYS_unlink
  LeaveStaleFile(Path("a"));
  EXPECT_EQ(RunInChild([&] {
              FailSystemCall(SYS_unlink, ENOENT);
              // It is there, so what comes next finds it; but nothing is said of removing it.
              const absl::Status status = Listener::Bind(Path("a")).status();
              EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
            }),
            "ok");
  EXPECT_EQ(::unlink(Path("a").c_str()), 0);
#endif
}

// The lock that keeps two that start at once apart is that of the folder which the name says, also
// where it says none; the wait for it sleeps.
TEST_F(ListenerTest, TheFolderOfARelativeNameIsLocked) {
  ASSERT_EQ(::mkdir(Path("d").c_str(), 0700), 0);
  const struct {
    std::string locked;
    const char* name;
  } kCases[] = {{folder, "a"}, {Path("d"), "d/a"}};
  for (const auto& c : kCases) {
    const UniqueFd other(::open(c.locked.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_EQ(::flock(other.get(), LOCK_EX), 0);
    EXPECT_EQ(RunInChild([&] {
                ASSERT_EQ(::chdir(folder.c_str()), 0);
                rusage used_before = {};
                ASSERT_EQ(::getrusage(RUSAGE_THREAD, &used_before), 0);
                const absl::Time before = absl::Now();
                EXPECT_TRUE(Listener::Bind(c.name).ok());
                EXPECT_GE(absl::Now() - before, absl::Milliseconds(900));
                rusage used = {};
                ASSERT_EQ(::getrusage(RUSAGE_THREAD, &used), 0);
                EXPECT_GE(used.ru_nvcsw - used_before.ru_nvcsw, 3);
              }),
              "ok")
        << c.name;
  }
  EXPECT_EQ(::rmdir(Path("d").c_str()), 0);
}

TEST_F(ListenerTest, EachErrorOfAnAcceptIsNobodyOrAnError) {
  for (const int error : {EMFILE, ENFILE, ENOMEM, ENOBUFS}) {
    EXPECT_EQ(RunInChild([&] {
                auto listener = Listener::Bind(Path("a"));
                FailSystemCall(SYS_accept4, error);
                const auto got = listener->TryAccept();
                EXPECT_EQ(got.status().code(), absl::StatusCode::kResourceExhausted)
                    << got.status();
                EXPECT_TRUE(Says(got.status(), "accept a connection")) << got.status();
              }),
              "ok")
        << error;
  }
  for (const int error : {EAGAIN, EINTR, ECONNABORTED, EPROTO, EPERM}) {
    EXPECT_EQ(RunInChild([&] {
                auto listener = Listener::Bind(Path("a"));
                FailSystemCall(SYS_accept4, error);
                const auto got = listener->TryAccept();
                EXPECT_TRUE(got.ok() && !*got) << got.status();
              }),
              "ok")
        << error;
  }
}

TEST_F(ListenerTest, EachStepOfAConnectThatFailsIsNamed) {
  auto listener = Listener::Bind(Path("a"));
  ASSERT_TRUE(listener.ok());
  const struct {
    long call;
    int error;
    const char* sentence;
  } kCases[] = {
      {SYS_socket, ENFILE, "create a socket"},
      {SYS_setsockopt, ENOMEM, "limit the time to connect"},
      {SYS_connect, EACCES, "is the other program running?"},
      {SYS_connect, EAGAIN, "does not accept connections in time"},
      {SYS_connect, EINTR, "does not accept connections in time"},
      {SYS_fcntl, ENOMEM, "make a socket non-blocking"},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(RunInChild([&] {
                FailSystemCall(c.call, c.error);
                const auto got = ConnectTo(Path("a"), Deadline::After(absl::Milliseconds(20)));
                EXPECT_TRUE(Says(got.status(), c.sentence)) << got.status();
              }),
              "ok")
        << c.sentence;
  }
}

TEST_F(ListenerTest, BothEndsOfAConnectionNeverWaitUnasked) {
  auto listener = Listener::Bind(Path("a"));
  const auto client = ConnectTo(Path("a"), Soon());
  ASSERT_TRUE(listener.ok() && client.ok());
  const auto server = listener->TryAccept();
  ASSERT_TRUE(server.ok() && *server);
  for (const PeerSocket* socket : {&*client, &**server}) {
    EXPECT_NE(::fcntl(socket->fd(), F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(::fcntl(socket->fd(), F_GETFD) & FD_CLOEXEC, 0);
  }
  EXPECT_EQ(client->origin(), PeerSocket::Origin::kConnected);
  EXPECT_EQ((*server)->origin(), PeerSocket::Origin::kAccepted);
}

// By the kernel, where it can: before anybody has accepted it.
TEST_F(ListenerTest, AConnectionRefusesDescriptorsBeforeItIsAccepted) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
  const UniqueFd one(fds[0]);
  const UniqueFd other(fds[1]);
  if (!RefuseRights(one.get())) GTEST_SKIP() << "this kernel has no SO_PASSRIGHTS";
  auto listener = Listener::Bind(Path("a"));
  auto client = ConnectTo(Path("a"), Soon());
  ASSERT_TRUE(listener.ok() && client.ok());
  EXPECT_FALSE(SendWithDescriptor(client->fd(), one.get()));
  const auto server = listener->TryAccept();
  ASSERT_TRUE(server.ok() && *server);
  EXPECT_TRUE(RefusesRights((*server)->fd()));
}

TEST_F(ListenerTest, AFileThatAnotherListenerPutThereStays) {
  auto first = Listener::Bind(Path("a"));
  ASSERT_TRUE(first.ok());
  ASSERT_EQ(::rename(Path("a").c_str(), Path("old").c_str()), 0);
  auto second = Listener::Bind(Path("a"));
  ASSERT_TRUE(second.ok()) << second.status();
  first = absl::UnknownError("gone");
  EXPECT_TRUE(ConnectTo(Path("a"), Soon()).ok());
  EXPECT_TRUE(Exists(Path("old")));
  EXPECT_EQ(::unlink(Path("old").c_str()), 0);
}

// What was moved away removes nothing; where it went to, all is as it was, also over an abstract
// name and over one that was moved away itself.
TEST_F(ListenerTest, AMovedOneAcceptsAndOwnsItsFile) {
  std::optional<Listener> target(
      *Listener::Bind("@parley_listener_moved_" + std::to_string(::getpid())));
  for (int round = 0; round < 3; ++round) {
    {
      auto source = Listener::Bind(Path("a"));
      ASSERT_TRUE(source.ok()) << source.status();
      Listener between = *std::move(source);
      if (round == 2) {
        Listener away = *std::move(target);
        *target = std::move(between);  // NOLINT(bugprone-use-after-move): what is tried
      } else {
        *target = std::move(between);
      }
    }
    EXPECT_EQ(target->name(), Path("a"));
    ASSERT_TRUE(Exists(Path("a"))) << round;
    auto client = ConnectTo(Path("a"), Soon());
    ASSERT_TRUE(client.ok()) << client.status();
    const auto server = target->TryAccept();
    EXPECT_TRUE(server.ok() && *server) << server.status();
    *target = *Listener::Bind(Path(round == 0 ? "b" : "c"));
    EXPECT_FALSE(Exists(Path("a")));
  }
  target.reset();
  EXPECT_FALSE(Exists(Path("b")));
  EXPECT_FALSE(Exists(Path("c")));
}

// A full table once more, for one that was moved over another which had been moved away: the spare
// descriptor came along, and is made anew each time.
TEST_F(ListenerTest, PromiseP3WorkAMovedOneHasItsSpareDescriptor) {
  EXPECT_EQ(RunInChild([&] {
              auto made = Listener::Bind(Path("a"));
              ASSERT_TRUE(made.ok());
              Listener between = *std::move(made);
              *made = std::move(between);  // NOLINT(bugprone-use-after-move): what is tried
              Listener* const listener = &*made;
              std::vector<PeerSocket> clients;
              clients.push_back(*ConnectTo(Path("a"), Soon()));
              std::vector<UniqueFd> table;
              do {
                table.emplace_back(::dup(listener->fd()));
                const rlimit few = {200, 200};
                ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
              } while (table.back().ok());
              table.pop_back();  // the one that failed
              for (int round = 0; round < 3; ++round) {
                EXPECT_EQ(listener->TryAccept().status().code(),
                          absl::StatusCode::kResourceExhausted);
                EXPECT_EQ(::dup(listener->fd()), -1);  // there is no room but the spare one's
                std::array<std::byte, 8> bytes;
                EXPECT_EQ(clients.back().Receive(absl::MakeSpan(bytes), Soon()).status().code(),
                          absl::StatusCode::kUnavailable)
                    << round;
                const auto next = listener->TryAccept();
                EXPECT_TRUE(next.ok() && !*next) << next.status();
                table.pop_back();  // for the next client alone
                auto client = ConnectTo(Path("a"), Soon());
                ASSERT_TRUE(client.ok()) << client.status();
                clients.push_back(*std::move(client));
              }
            }),
            "ok");
}

// Where no helper can be made, what should be closed is parked; with 64 of them nobody is let in.
TEST_F(ListenerTest, PromiseP7ResourcesWithAllPlacesParkedNobodyIsLetIn) {
  EXPECT_EQ(RunInChild([&] {
              auto listener = Listener::Bind(Path("a"));
              ASSERT_TRUE(listener.ok());
              FailSystemCall(SYS_clone, EAGAIN);
              std::vector<PeerSocket> sockets;  // none is closed before the end
              for (std::size_t parked = 0; parked <= kMaxParkedDescriptors; ++parked) {
                if (parked > 0) DisposeOf(UniqueFd(::dup(0)));
                ASSERT_EQ(TendDisposal().parked, parked);
                if (parked + 2 < kMaxParkedDescriptors) continue;
                sockets.push_back(*ConnectTo(Path("a"), Soon()));
                auto got = listener->TryAccept();
                if (parked < kMaxParkedDescriptors) {
                  ASSERT_TRUE(got.ok() && *got) << got.status();
                  sockets.push_back(**std::move(got));
                } else {
                  EXPECT_EQ(got.status().code(), absl::StatusCode::kResourceExhausted)
                      << got.status();
                  EXPECT_TRUE(Says(got.status(), "can't be closed yet")) << got.status();
                }
              }
            }),
            "ok");
}

}  // namespace
}  // namespace parley
