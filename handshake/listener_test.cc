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

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
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
  EXPECT_EQ(RunInChild([&] {
              auto listener = Listener::Bind(Path("a"));
              ASSERT_TRUE(listener.ok());
              auto client = ConnectTo(Path("a"), Soon());
              ASSERT_TRUE(client.ok());
              rlimit before = {};
              ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
              const rlimit none = {0, before.rlim_max};
              ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
              EXPECT_EQ(listener->TryAccept().status().code(),
                        absl::StatusCode::kResourceExhausted);
              EXPECT_EQ(ConnectTo(Path("a"), Soon()).status().code(),
                        absl::StatusCode::kResourceExhausted);
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

}  // namespace
}  // namespace parley
