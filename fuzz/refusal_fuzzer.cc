// SPDX-License-Identifier: Apache-2.0

// Attacks the socket over which a worker says that it has locked itself down: any messages, any
// number of them, descriptors, an early end. The parent looks once.
//
// Input: steps: one byte each (modulo 4), followed by what it needs.

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "parley/fuzz/descriptor_fixtures.h"
#include "parley/fuzz/footprint.h"
#include "parley/os/check.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/refusal.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

constexpr int kMaxSteps = 40;

bool Send(int fd, const std::vector<std::byte>& message, int descriptor) {
  std::vector<std::byte> bytes = message;
  iovec data = {bytes.data(), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control = {};
  msghdr header = {};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  if (descriptor >= 0) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &descriptor, sizeof(int));
  }
  return ::sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

// The version of Landlock, then three flags, the number that the third one is about, and a reserved
// word: 16 bytes and nothing else.
constexpr std::size_t kWordBytes = 16;
bool IsWord(const std::vector<std::byte>& message) {
  if (message.size() != kWordBytes || message[4] > std::byte{7}) return false;
  for (const std::size_t reserved : {5u, 6u, 7u, 12u, 13u, 14u, 15u}) {
    if (message[reserved] != std::byte{0}) return false;
  }
  return true;
}
uint32_t NumberAt(const std::vector<std::byte>& message, std::size_t at) {
  uint32_t number = 0;
  for (std::size_t i = 4; i-- > 0;) {
    number = number << 8 | std::to_integer<uint32_t>(message[at + i]);
  }
  return number;
}
std::optional<internal::LockDownWord> ModelOf(const std::vector<std::byte>& message) {
  if (!IsWord(message)) return std::nullopt;
  internal::LockDownWord word;
  word.landlock_abi = NumberAt(message, 0);
  word.landlock_covers_all_threads = (message[4] & std::byte{1}) != std::byte{0};
  word.mdwe = (message[4] & std::byte{2}) != std::byte{0};
  return word;
}
int FetchOf(const std::vector<std::byte>& message) {
  const bool fetch = IsWord(message) && (message[4] & std::byte{4}) != std::byte{0};
  return fetch ? static_cast<int>(NumberAt(message, 8)) : -1;
}

void Run(testing::Script script) {
  auto sockets = internal::MakeRefusalSockets();
  PARLEY_CHECK(sockets.ok(), "the refusal sockets");
  std::optional<std::vector<std::byte>> first;
  bool with_descriptor = false;
  for (int i = 0; i < kMaxSteps && !script.empty() && sockets->worker.ok(); ++i) {
    std::vector<std::byte> message;
    UniqueFd descriptor;
    switch (script.Take8() % 4) {
      case 0: {
        message.resize(kWordBytes);
        message[0] = std::byte{script.Take8()};
        message[1] = std::byte{script.Take8()};
        const std::size_t at = script.Take8() % kWordBytes;
        message[at] |= std::byte{script.Take8()};
        break;
      }
      case 1:
        message = script.TakeBytes(script.Take8());
        break;
      case 2:
        message = script.TakeBytes(kWordBytes);
        descriptor = MakeDescriptor(script, 4096);
        break;
      case 3:
        sockets->worker.Reset();
        continue;
    }
    if (Send(sockets->worker.get(), message, descriptor.ok() ? descriptor.get() : -1) && !first) {
      first = message;
      with_descriptor = descriptor.ok();
    }
  }
  const internal::LockDownMessage got = internal::TakeLockDownMessage(sockets->parent.get());
  PARLEY_CHECK(got.word == (first ? ModelOf(*first) : std::nullopt), "another word, or none");
  PARLEY_CHECK(got.fetch == (first ? FetchOf(*first) : -1), "another number, or none");
  PARLEY_CHECK(got.notifications.ok() == with_descriptor && !got.lost, "another descriptor");
}

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  parley::fuzz::LeavesNothing([&] { parley::fuzz::Run(parley::testing::Script(data, size)); });
  return 0;
}
