#include "parley/handshake/identity.h"

#include <sys/socket.h>
#include <unistd.h>

#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"

namespace parley {
namespace {

TEST(FileRegistryTest, OfAPairOfOurOwnItIsUs) {
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

TEST(FileRegistryTest, WhatIsNoSocketHasNoPeer) {
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
  EXPECT_TRUE(PeerPolicy::Pid(4711).Admits(peer));
  EXPECT_FALSE(PeerPolicy::Pid(4712).Admits(peer));
  EXPECT_TRUE(PeerPolicy::Uid(peer.uid).Admits(peer));
  ++peer.uid;
  EXPECT_FALSE(PeerPolicy::SameUser().Admits(peer));
  EXPECT_TRUE(PeerPolicy::Anyone().Admits(peer));
}

TEST(PeerPolicyTest, AndAdmitsWhomBothAdmit) {
  PeerIdentity peer;
  peer.pid = 4711;
  peer.gid = 1002;
  EXPECT_TRUE(PeerPolicy::Gid(1002).And(PeerPolicy::Pid(4711)).Admits(peer));
  EXPECT_FALSE(PeerPolicy::Gid(1003).And(PeerPolicy::Pid(4711)).Admits(peer));
  EXPECT_FALSE(PeerPolicy::Gid(1002).And(PeerPolicy::Pid(4712)).Admits(peer));
  EXPECT_FALSE(PeerPolicy::Anyone().And(PeerPolicy::Pid(4712)).Admits(peer));
}

}  // namespace
}  // namespace parley
