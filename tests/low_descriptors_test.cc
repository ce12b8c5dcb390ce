// SPDX-License-Identifier: Apache-2.0

// A program that was started without standard descriptors (`program 0<&- >&- 2>&-`): nothing that
// Parley makes or receives gets one of their numbers, so no log line goes into a channel.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/channel/channel.h"
#include "parley/os/deadline.h"
#include "parley/os/pidfd.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/file_registry.h"
#include "parley/sealing/sealed_blob.h"

namespace parley {
namespace {

Deadline Soon() { return Deadline::After(absl::Seconds(10)); }

// 0, or the line that failed. Nothing is written: there is nowhere to write to.
#define PARLEY_STEP(condition) \
  if (!(condition)) return __LINE__

bool NoneIsOpen() {
  for (int fd = 0; fd < UniqueFd::kFirst; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) return false;
  }
  return true;
}

// Both ends of a channel, over a listener's socket, with each kind of doorbell, and messages
// between attempts to log.
int UseChannel(const std::string& name, bool eventfd) {
  FileRegistry accepting_registry;
  FileRegistry connecting_registry;
  AcceptOptions accept;
  accept.registry = &accepting_registry;
  if (eventfd) accept.trust = PeerTrust::Because("both ends are this test");
  ConnectOptions connect;
  connect.registry = &connecting_registry;
  if (eventfd) connect.trust = PeerTrust::Because("both ends are this test");
  auto listener = ChannelListener::Listen(name, accept);
  PARLEY_STEP(listener.ok());
  absl::StatusOr<Channel> theirs = absl::UnknownError("");
  std::thread other([&] { theirs = ConnectChannel(name, connect, Soon()); });
  absl::StatusOr<Channel> ours = listener->Accept(Soon());
  other.join();
  PARLEY_STEP(ours.ok() && theirs.ok());
  PARLEY_STEP(NoneIsOpen());
  for (const int fd : DescriptorsOf(*ours).all) PARLEY_STEP(fd >= UniqueFd::kFirst);
  for (const int fd : DescriptorsOf(*theirs).all) PARLEY_STEP(fd >= UniqueFd::kFirst);
  std::vector<std::byte> buffer(theirs->receiver.max_message_bytes());
  for (int i = 0; i < 3; ++i) {
    PARLEY_STEP(::write(2, "a log line\n", 11) == -1);
    const std::array<std::byte, 5> message = {};
    PARLEY_STEP(ours->sender.Send(7, absl::MakeConstSpan(message), Soon()).ok());
    auto record = theirs->receiver.Receive(absl::MakeSpan(buffer), Soon());
    PARLEY_STEP(record.ok() && record->tag == 7 && record->size_bytes == 5);
    PARLEY_STEP(NoneIsOpen());
  }
  return 0;
}

int MakeEverything(const std::string& folder) {
  PARLEY_STEP(NoneIsOpen());
  const auto pidfd = OpenPidfd(::getpid());
  PARLEY_STEP(pidfd.ok() && pidfd->get() >= UniqueFd::kFirst);
  const std::array<std::byte, 9> content = {};
  const auto blob = SealedBlob::Create(absl::MakeConstSpan(content));
  PARLEY_STEP(blob.ok() && blob->fd() >= UniqueFd::kFirst);
  const auto duplicate = blob->DuplicateFd();
  PARLEY_STEP(duplicate.ok() && duplicate->get() >= UniqueFd::kFirst);
  PARLEY_STEP(NoneIsOpen());
  for (const bool eventfd : {false, true}) {
    const int line = UseChannel(folder + (eventfd ? "/e" : "/s"), eventfd);
    if (line != 0) return line;
  }
  return 0;
}

TEST(LowDescriptorsTest, AProgramWithoutStandardDescriptorsKeepsThemFree) {
  const std::string folder = ::testing::TempDir();
  std::array<int, 2> ends = {};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    for (int fd = 0; fd < UniqueFd::kFirst; ++fd) ::close(fd);
    const int line = MakeEverything(folder);
    ::_exit(::write(ends[1], &line, sizeof(line)) == sizeof(line) ? 0 : 1);
  }
  ::close(ends[1]);
  int line = -1;
  EXPECT_EQ(::read(ends[0], &line, sizeof(line)), static_cast<ssize_t>(sizeof(line)));
  EXPECT_EQ(line, 0) << "the step in this line failed";
  ::close(ends[0]);
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace parley
