#include "parley/sandbox/refusal.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"

namespace parley::internal {
namespace {

void Send(int socket, const void* bytes, size_t size_bytes) {
  ASSERT_EQ(::send(socket, bytes, size_bytes, MSG_DONTWAIT | MSG_NOSIGNAL),
            static_cast<ssize_t>(size_bytes));
}

TEST(RefusalTest, OneNumberArrives) {
  auto sockets = MakeRefusalSockets();
  ASSERT_TRUE(sockets.ok()) << sockets.status();
  const uint32_t refusal[2] = {257, 0};
  Send(sockets->worker.get(), refusal, sizeof(refusal));
  EXPECT_EQ(TakeRefusal(sockets->parent.get()), 257);
}

TEST(RefusalTest, PromiseP2TimeASilentOrEndedWorkerIsNotWaitedFor) {
  auto sockets = MakeRefusalSockets();
  ASSERT_TRUE(sockets.ok()) << sockets.status();
  EXPECT_EQ(TakeRefusal(sockets->parent.get()), std::nullopt);
  sockets->worker.Reset();
  EXPECT_EQ(TakeRefusal(sockets->parent.get()), std::nullopt);
}

TEST(RefusalTest, WhatIsNotANumberInRangeIsDropped) {
  const uint32_t too_large[2] = {1024, 0};
  const uint32_t negative[2] = {0xffffffffu, 0};
  const uint32_t reserved[2] = {257, 1};
  const uint32_t too_long[3] = {257, 0, 0};
  const struct {
    const void* bytes;
    size_t size_bytes;
  } lies[] = {{too_large, 8}, {negative, 8}, {reserved, 8},
              {too_long, 12}, {too_long, 4}, {too_long, 0}};
  for (const auto& lie : lies) {
    auto sockets = MakeRefusalSockets();
    ASSERT_TRUE(sockets.ok()) << sockets.status();
    Send(sockets->worker.get(), lie.bytes, lie.size_bytes);
    EXPECT_EQ(TakeRefusal(sockets->parent.get()), std::nullopt) << lie.size_bytes;
  }
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

// Attack F1.
TEST(RefusalTest, ADescriptorIsNeverInstalled) {
  auto sockets = MakeRefusalSockets();
  ASSERT_TRUE(sockets.ok()) << sockets.status();
  uint32_t refusal[2] = {257, 0};
  iovec part = {refusal, sizeof(refusal)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int passed = 2;
  std::memcpy(CMSG_DATA(header), &passed, sizeof(passed));
  ASSERT_EQ(::sendmsg(sockets->worker.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL), 8);
  const UniqueFd before(::dup(2));
  const int next_free = ::dup(2);
  ::close(next_free);
  EXPECT_EQ(TakeRefusal(sockets->parent.get()), 257);
  const UniqueFd after(::dup(2));
  EXPECT_EQ(after.get(), next_free);
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
