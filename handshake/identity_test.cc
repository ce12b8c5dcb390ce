// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/identity.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/handshake/identify_peer.h"
#include "parley/handshake/listener.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/pidfd.h"
#include "parley/os/unique_fd.h"
#include "parley/testing/slow_files.h"

namespace parley {
namespace {

TEST(IdentityTest, OfAPairOfOurOwnItIsUs) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
  const UniqueFd mine(fds[0]);
  const UniqueFd theirs(fds[1]);
  const auto peer = IdentifyPeer(mine.get());
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ(peer->pid, ::getpid());
  EXPECT_EQ(peer->uid, ::geteuid());
  EXPECT_EQ(peer->gid, ::getegid());
  EXPECT_TRUE(peer->own_pair);
  EXPECT_FALSE(peer->pidfd.ok());
}

TEST(IdentityTest, OfAPairItIsWhoWeWereWhenWeMadeIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root";
  EXPECT_EQ(testing_support::RunInChild([] {
              ASSERT_EQ(::setresgid(4712, 4712, 4712), 0);
              ASSERT_EQ(::setresuid(4711, 4711, 4711), 0);
              const auto pair = PeerSocket::Pair();
              const auto peer = IdentifyPeer(pair->first.fd());
              ASSERT_TRUE(peer.ok()) << peer.status();
              EXPECT_EQ(peer->uid, 4711u);
              EXPECT_EQ(peer->gid, 4712u);
            }),
            "ok");
}

TEST(IdentityTest, WhatIsNoSocketHasNoPeer) {
  EXPECT_FALSE(IdentifyPeer(-1).ok());
  const UniqueFd pipe_end(::dup(STDIN_FILENO));
  EXPECT_FALSE(IdentifyPeer(pipe_end.get()).ok());
}

TEST(PeerPolicyTest, EachAdmitsWhomItNames) {
  PeerIdentity peer;
  peer.pid = 4711;
  peer.uid = ::geteuid();
  peer.gid = 1002;
  EXPECT_TRUE(PeerPolicy::Anyone().Admits(peer));
  EXPECT_TRUE(PeerPolicy::SameUser().Admits(peer));
  EXPECT_TRUE(PeerPolicy::Gid(1002).Admits(peer));
  EXPECT_FALSE(PeerPolicy::Gid(1003).Admits(peer));
  EXPECT_TRUE(PeerPolicy::Uid(peer.uid).Admits(peer));
  ++peer.uid;
  EXPECT_FALSE(PeerPolicy::SameUser().Admits(peer));
  EXPECT_TRUE(PeerPolicy::Anyone().Admits(peer));
}

TEST(PeerPolicyTest, AndAdmitsWhomBothAdmit) {
  PeerIdentity peer;
  peer.uid = 4711;
  peer.gid = 1002;
  EXPECT_TRUE(PeerPolicy::Gid(1002).And(PeerPolicy::Uid(4711)).Admits(peer));
  EXPECT_FALSE(PeerPolicy::Gid(1003).And(PeerPolicy::Uid(4711)).Admits(peer));
  EXPECT_FALSE(PeerPolicy::Gid(1002).And(PeerPolicy::Uid(4712)).Admits(peer));
  EXPECT_FALSE(PeerPolicy::Anyone().And(PeerPolicy::Uid(4712)).Admits(peer));
}

TEST(PeerPolicyTest, TheSocketFileIsOpenToThoseWhoAreNamed) {
  EXPECT_EQ(PeerPolicy::SameUser().socket_file_mode(), 0600u);
  EXPECT_EQ(PeerPolicy::Anyone().socket_file_mode(), 0600u);
  EXPECT_EQ(PeerPolicy::Uid(::geteuid()).socket_file_mode(), 0600u);
  EXPECT_EQ(PeerPolicy::Uid(::geteuid() + 1).socket_file_mode(), 0666u);
  EXPECT_EQ(PeerPolicy::Gid(7).socket_file_mode(), 0666u);
  EXPECT_EQ(PeerPolicy::Gid(7).And(PeerPolicy::Anyone()).socket_file_mode(), 0666u);
}

// A number is not enough: the process has to be the one of the pidfd, and to live.
TEST(PeerPolicyTest, APidIsThatOfALivingProcess) {
  PeerIdentity peer;
  peer.pid = ::getpid();
  EXPECT_FALSE(PeerPolicy::Pid(*OpenPidfd(::getpid())).Admits(peer));  // not certain who it is
  peer.pidfd = *OpenPidfd(::getpid());
  EXPECT_TRUE(PeerPolicy::Pid(*OpenPidfd(::getpid())).Admits(peer));
  EXPECT_FALSE(PeerPolicy::Pid(*OpenPidfd(::getppid())).Admits(peer));
  EXPECT_FALSE(PeerPolicy::Pid(UniqueFd()).Admits(peer));

  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  peer.pid = child;
  peer.pidfd = *OpenPidfd(child);
  const PeerPolicy policy = PeerPolicy::Pid(*OpenPidfd(child));
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_FALSE(policy.Admits(peer));
}

TEST(PeerPolicyTest, TheSameUserIsJudgedWhenThePeerComes) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root";
  EXPECT_EQ(testing_support::RunInChild([] {
              const PeerPolicy policy = PeerPolicy::SameUser();
              const PeerPolicy or_root = PeerPolicy::SameUserOrRoot();
              PeerIdentity peer;
              EXPECT_TRUE(policy.Admits(peer));
              ASSERT_EQ(::setresuid(4711, 4711, 4711), 0);
              EXPECT_FALSE(policy.Admits(peer));  // root, and we are not
              EXPECT_TRUE(or_root.Admits(peer));
              peer.uid = 4711;
              EXPECT_TRUE(policy.Admits(peer));
              EXPECT_TRUE(or_root.Admits(peer));
              peer.uid = 4712;
              EXPECT_FALSE(or_root.Admits(peer));
            }),
            "ok");
}

// In a user namespace all users that it does not know look like one, as do we until we are mapped.
TEST(PeerPolicyTest, AttackH9TheIdOfAllThoseWithoutOneIsNobodys) {
  PeerIdentity nobody;
  nobody.uid = 65534;
  nobody.gid = 65534;
  EXPECT_TRUE(PeerPolicy::Uid(65534).Admits(nobody));  // here it is a user like others
  EXPECT_TRUE(PeerPolicy::Gid(65534).Admits(nobody));
  if (testing_support::RunInChild([] { EXPECT_EQ(::unshare(CLONE_NEWUSER), 0); }) != "ok") {
    GTEST_SKIP() << "no user namespaces here";
  }
  EXPECT_EQ(testing_support::RunInChild([&] {
              ASSERT_EQ(::unshare(CLONE_NEWUSER), 0);
              ASSERT_EQ(::geteuid(), 65534u);  // not mapped
              EXPECT_FALSE(PeerPolicy::SameUser().Admits(nobody));
              EXPECT_FALSE(PeerPolicy::SameUserOrRoot().Admits(nobody));
              EXPECT_FALSE(PeerPolicy::Uid(65534).Admits(nobody));
              EXPECT_FALSE(PeerPolicy::Gid(65534).Admits(nobody));
              EXPECT_TRUE(PeerPolicy::Anyone().Admits(nobody));
            }),
            "ok");
}

// --- who is called dead

std::string AbstractName(const char* what) {
  return "@parley_identity_" + std::to_string(::getpid()) + what;
}

// Answers each message, until the other end is closed.
[[noreturn]] void Serve(const PeerSocket& socket) {
  std::array<std::byte, 8> bytes;
  while (true) {
    const auto got = socket.Receive(absl::MakeSpan(bytes), Deadline::After(absl::Seconds(20)));
    if (!got.ok() || !socket.Send(absl::MakeConstSpan(bytes).first(*got)).ok()) ::_exit(0);
  }
}

[[noreturn]] void AcceptAndServe(Listener& listener) {
  while (true) {
    auto socket = listener.TryAccept();
    if (socket.ok() && *socket) Serve(**socket);
    ::usleep(1000);
  }
}

// The peer answers, so whatever process descriptor we have must not say that it has ended.
void ExpectAliveAndNotCalledDead(const PeerSocket& socket) {
  const auto peer = IdentifyPeer(socket.fd(), -1, socket.origin());
  ASSERT_TRUE(peer.ok()) << peer.status();
  const std::array<std::byte, 1> ping = {std::byte{1}};
  std::array<std::byte, 8> answer;
  ASSERT_TRUE(socket.Send(ping).ok());
  EXPECT_TRUE(socket.Receive(absl::MakeSpan(answer), Deadline::After(absl::Seconds(10))).ok());
  EXPECT_FALSE(peer->pidfd.ok() && ProcessHasEnded(peer->pidfd.get()));
}

TEST(IdentityTest, ADaemonThatForkedAfterListenIsNotCalledDead) {
  const std::string name = AbstractName("daemon");
  const pid_t launcher = ::fork();
  if (launcher == 0) {
    auto listener = Listener::Bind(name);
    if (!listener.ok()) ::_exit(1);
    if (::fork() != 0) ::_exit(0);
    AcceptAndServe(*listener);
  }
  ASSERT_EQ(::waitpid(launcher, nullptr, 0), launcher);
  auto socket = ConnectTo(name, Deadline::After(absl::Seconds(5)));
  ASSERT_TRUE(socket.ok()) << socket.status();
  ExpectAliveAndNotCalledDead(*socket);
}

// The old one hands its listening socket on, and ends while its successor serves.
TEST(IdentityTest, AnUpgradedMasterThatInheritedTheSocketIsNotCalledDead) {
  const std::string name = AbstractName("upgrade");
  const pid_t old_master = ::fork();
  if (old_master == 0) {
    auto listener = Listener::Bind(name);
    if (!listener.ok()) ::_exit(1);
    if (::fork() == 0) AcceptAndServe(*listener);
    ::pause();
  }
  auto socket = ConnectTo(name, Deadline::After(absl::Milliseconds(1)));
  for (const Deadline soon = Deadline::After(absl::Seconds(5)); !socket.ok() && !soon.Expired();) {
    ::usleep(1000);
    socket = ConnectTo(name, Deadline::After(absl::Seconds(1)));
  }
  ASSERT_TRUE(socket.ok()) << socket.status();
  ExpectAliveAndNotCalledDead(*socket);
  const auto peer = IdentifyPeer(socket->fd(), -1, socket->origin());
  ::kill(old_master, SIGKILL);
  ASSERT_EQ(::waitpid(old_master, nullptr, 0), old_master);
  EXPECT_FALSE(peer->pidfd.ok() && ProcessHasEnded(peer->pidfd.get()));
  ExpectAliveAndNotCalledDead(*socket);
}

TEST(IdentityTest, ALauncherThatMadeThePairAndLeftIsNotThePeer) {
  int ours[2] = {-1, -1};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ours), 0);
  const pid_t launcher = ::fork();
  if (launcher == 0) {
    int pair[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) ::_exit(1);
    if (!testing_support::SendWithDescriptor(ours[1], pair[0])) ::_exit(2);
    ::close(pair[0]);
    if (::fork() != 0) ::_exit(0);
    Serve(*PeerSocket::Adopt(UniqueFd(pair[1])));
  }
  ASSERT_EQ(::waitpid(launcher, nullptr, 0), launcher);
  auto channel = PeerSocket::Adopt(UniqueFd(ours[0]));
  ASSERT_TRUE(channel.ok());
  std::array<std::byte, 8> bytes;
  auto got =
      channel->ReceiveWithDescriptors(absl::MakeSpan(bytes), 1, Deadline::After(absl::Seconds(5)));
  ASSERT_TRUE(got.ok() && got->descriptors.size() == 1) << got.status();
  auto socket = PeerSocket::Adopt(std::move(got->descriptors[0]));
  ASSERT_TRUE(socket.ok());
  ExpectAliveAndNotCalledDead(*socket);
  ::close(ours[1]);
}

// The control: where it is certain, its death is seen although an heir keeps the socket open.
TEST(IdentityTest, WhoConnectedIsKnownAndItsDeathIsSeen) {
  const std::string name = AbstractName("client");
  auto listener = Listener::Bind(name);
  ASSERT_TRUE(listener.ok());
  const pid_t client = ::fork();
  if (client == 0) {
    auto socket = ConnectTo(name, Deadline::After(absl::Seconds(5)));
    while (socket.ok()) ::pause();
    ::_exit(1);
  }
  std::optional<PeerSocket> socket;
  for (const Deadline soon = Deadline::After(absl::Seconds(5)); !socket && !soon.Expired();) {
    socket = *listener->TryAccept();
    ::usleep(1000);
  }
  ASSERT_TRUE(socket.has_value());
  const auto peer = IdentifyPeer(socket->fd(), -1, socket->origin());
  ASSERT_TRUE(peer.ok());
  EXPECT_EQ(peer->pid, client);
  ::kill(client, SIGKILL);
  ASSERT_EQ(::waitpid(client, nullptr, 0), client);
  if (!peer->pidfd.ok()) GTEST_SKIP() << "this kernel has no SO_PEERPIDFD";
  EXPECT_TRUE(ProcessHasEnded(peer->pidfd.get()));
}

// --- what the kernel says, and what it refuses to say --------------------------------------------

constexpr int kSoPeerPidfd = 77;  // SO_PEERPIDFD, Linux 6.5

// Asked without the code under test.
bool KernelTellsThePidfd(int socket) {
  int pidfd = -1;
  socklen_t length = sizeof(pidfd);
  if (::getsockopt(socket, SOL_SOCKET, kSoPeerPidfd, &pidfd, &length) != 0) return false;
  ::close(pidfd);
  return true;
}

TEST(IdentityTest, NobodyIsKnownAtFirst) {
  const PeerIdentity nobody;
  EXPECT_EQ(nobody.pid, 0);
  EXPECT_EQ(nobody.uid, 0u);
  EXPECT_EQ(nobody.gid, 0u);
  EXPECT_FALSE(nobody.pidfd.ok());
  EXPECT_FALSE(nobody.own_pair);
}

// A process that has connected to us, and pauses.
struct Client {
  std::optional<Listener> listener;
  pid_t pid = -1;
  std::optional<PeerSocket> socket;

  explicit Client(const std::string& name) {
    listener.emplace(*Listener::Bind(name));
    pid = ::fork();
    if (pid == 0) {
      auto connected = ConnectTo(name, Deadline::After(absl::Seconds(5)));
      while (connected.ok()) ::pause();
      ::_exit(1);
    }
    for (const Deadline soon = Deadline::After(absl::Seconds(5)); !socket && !soon.Expired();) {
      socket = *listener->TryAccept();
      ::usleep(1000);
    }
  }
  ~Client() {
    ::kill(pid, SIGKILL);
    EXPECT_EQ(::waitpid(pid, nullptr, 0), pid);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
};

TEST(IdentityTest, OnlyAnAcceptedConnectionHasAPidfdFromTheKernel) {
  const Client client(AbstractName("origins"));
  ASSERT_TRUE(client.socket.has_value());
  if (!KernelTellsThePidfd(client.socket->fd())) GTEST_SKIP() << "this kernel has no SO_PEERPIDFD";
  using Origin = PeerSocket::Origin;
  for (const Origin origin :
       {Origin::kGiven, Origin::kInherited, Origin::kAccepted, Origin::kConnected}) {
    const auto peer = IdentifyPeer(client.socket->fd(), -1, origin);
    ASSERT_TRUE(peer.ok()) << peer.status();
    EXPECT_EQ(peer->pid, client.pid);
    EXPECT_EQ(peer->uid, ::geteuid());
    EXPECT_EQ(peer->gid, ::getegid());
    EXPECT_FALSE(peer->own_pair);
    EXPECT_EQ(peer->pidfd.ok(), origin == Origin::kAccepted);
    if (!peer->pidfd.ok()) continue;
    EXPECT_TRUE(PeerPolicy::Pid(*OpenPidfd(client.pid)).Admits(*peer));
    EXPECT_NE(::fcntl(peer->pidfd.get(), F_GETFD) & FD_CLOEXEC, 0);
  }
}

TEST(IdentityTest, AConnectionOfOurOwnProcessHasNoPidfd) {
  const std::string name = AbstractName("own");
  auto listener = Listener::Bind(name);
  const auto client = ConnectTo(name, Deadline::After(absl::Seconds(5)));
  ASSERT_TRUE(listener.ok() && client.ok());
  const auto server = listener->TryAccept();
  ASSERT_TRUE(server.ok() && *server);
  const auto peer = IdentifyPeer((*server)->fd(), -1, (*server)->origin());
  ASSERT_TRUE(peer.ok());
  EXPECT_TRUE(peer->own_pair);
  EXPECT_FALSE(peer->pidfd.ok());
}

// The caller's is duplicated, whatever the origin and its number.
TEST(IdentityTest, AKnownPidfdIsKept) {
  EXPECT_EQ(testing_support::RunInChild([] {
              auto pair = PeerSocket::Pair();
              UniqueFd parent = *OpenPidfd(::getppid());
              ASSERT_EQ(::dup2(parent.get(), 0), 0);
              for (const int number : {parent.get(), 0}) {
                const auto peer =
                    IdentifyPeer(pair->first.fd(), number, PeerSocket::Origin::kGiven);
                ASSERT_TRUE(peer.ok() && peer->pidfd.ok()) << peer.status();
                EXPECT_GT(peer->pidfd.get(), 2);
                EXPECT_NE(peer->pidfd.get(), number);
                EXPECT_NE(::fcntl(peer->pidfd.get(), F_GETFD) & FD_CLOEXEC, 0);
                EXPECT_TRUE(PeerPolicy::Pid(*OpenPidfd(::getppid())).Admits(*peer));
              }
              // One that cannot be kept is an error: a death that is not seen would stay.
              const auto none = IdentifyPeer(pair->first.fd(), 1'000'000);
              EXPECT_NE(none.status().ToString().find("keep the peer's process descriptor"),
                        std::string::npos)
                  << none.status();
              testing_support::FailSystemCall(SYS_fcntl, EMFILE);
              EXPECT_EQ(IdentifyPeer(pair->first.fd(), 0).status().code(),
                        absl::StatusCode::kResourceExhausted);
            }),
            "ok");
}

// Want of descriptors or memory passes, and is an error. A kernel that does not know the question,
// or a peer that is gone, leaves no pidfd.
TEST(IdentityTest, WhyThereIsNoPidfdMatters) {
  const Client client(AbstractName("errors"));
  ASSERT_TRUE(client.socket.has_value());
  for (const int error : {EMFILE, ENFILE, ENOMEM, ENOPROTOOPT, ESRCH, EINVAL, ENODATA}) {
    const bool passes = error == EMFILE || error == ENFILE || error == ENOMEM;
    EXPECT_EQ(testing_support::RunInChild([&] {
                testing_support::FailSystemCallWhere(SYS_getsockopt, 2, kSoPeerPidfd, error);
                const auto peer =
                    IdentifyPeer(client.socket->fd(), -1, PeerSocket::Origin::kAccepted);
                EXPECT_EQ(peer.ok(), !passes) << peer.status();
                if (passes) {
                  EXPECT_EQ(peer.status().code(), absl::StatusCode::kResourceExhausted);
                } else {
                  EXPECT_EQ(peer->pid, client.pid);
                  EXPECT_FALSE(peer->pidfd.ok());
                }
              }),
              "ok")
        << error;
  }
}

TEST(PeerPolicyTest, AProcessThatEndedOrIsNoneIsNotAdmitted) {
  // Not reaped yet: it has its number still.
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  PeerIdentity peer;
  peer.pid = child;
  peer.pidfd = *OpenPidfd(child);
  const PeerPolicy policy = PeerPolicy::Pid(*OpenPidfd(child));
  siginfo_t info = {};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(policy.Admits(peer));
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_FALSE(policy.Admits(peer));
  // No process descriptors at all.
  peer.pidfd = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  EXPECT_FALSE(PeerPolicy::Pid(UniqueFd(::eventfd(0, EFD_CLOEXEC))).Admits(peer));
  EXPECT_FALSE(PeerPolicy::Pid(*OpenPidfd(::getpid())).Admits(peer));
}

// Without /proc the number that every system has for those without an id is nobody's, and all
// others are somebody's.
TEST(PeerPolicyTest, AttackH9WithoutProcTheUsualNumberIsNobodys) {
  EXPECT_EQ(testing_support::RunInChild([] {
              testing_support::FailSystemCall(SYS_openat, EACCES);
              PeerIdentity peer;
              peer.uid = 65534;
              peer.gid = 65534;
              EXPECT_FALSE(PeerPolicy::Uid(65534).Admits(peer));
              EXPECT_FALSE(PeerPolicy::Gid(65534).Admits(peer));
              peer.uid = 4711;
              peer.gid = 4712;
              EXPECT_TRUE(PeerPolicy::Uid(4711).Admits(peer));
              EXPECT_TRUE(PeerPolicy::Gid(4712).Admits(peer));
            }),
            "ok");
}

// In a namespace that has some ids, from 0 on, the others still look like one.
TEST(PeerPolicyTest, AttackH9TheIdOfThoseWithoutOneIsNobodysWhereSomeAreMapped) {
  const std::string map = "0 " + std::to_string(::geteuid()) + " 1";
  const auto enter = [&] {
    if (::unshare(CLONE_NEWUSER) != 0) return false;
    const UniqueFd file(::open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC));
    return ::write(file.get(), map.data(), map.size()) == static_cast<ssize_t>(map.size());
  };
  if (testing_support::RunInChild([&] { EXPECT_TRUE(enter()); }) != "ok") {
    GTEST_SKIP() << "no user namespaces here";
  }
  EXPECT_EQ(testing_support::RunInChild([&] {
              ASSERT_TRUE(enter());
              PeerIdentity peer;
              peer.uid = 65534;
              EXPECT_FALSE(PeerPolicy::Uid(65534).Admits(peer));
              peer.uid = 0;
              EXPECT_TRUE(PeerPolicy::SameUser().Admits(peer));
              EXPECT_TRUE(PeerPolicy::Uid(0).Admits(peer));
              peer.uid = 4711;
              EXPECT_TRUE(PeerPolicy::Uid(4711).Admits(peer));
            }),
            "ok");
}

TEST(PeerPolicyTest, BothModesOfAConjunctionCount) {
  const PeerPolicy other = PeerPolicy::Uid(::geteuid() + 1);
  EXPECT_EQ(PeerPolicy::Anyone().And(other).socket_file_mode(), 0666u);
  EXPECT_EQ(other.And(PeerPolicy::Anyone()).socket_file_mode(), 0666u);
  EXPECT_EQ(PeerPolicy::SameUser().And(PeerPolicy::Anyone()).socket_file_mode(), 0600u);
  EXPECT_EQ(PeerPolicy::Predicate([](const PeerIdentity&) { return true; }).socket_file_mode(),
            0600u);
  EXPECT_EQ(PeerPolicy::SameUserOrRoot().socket_file_mode(), 0600u);
}

}  // namespace
}  // namespace parley
