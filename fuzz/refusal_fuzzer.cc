// Attacks the socket over which a confined worker names the call that its filter refused: any
// messages, any number of them, descriptors, an early end. The parent looks once.
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

// A right number, of 8 bytes and nothing else: below 1024, with four bytes of zeros behind it.
std::optional<int> ModelOf(const std::vector<std::byte>& message) {
  if (message.size() != 8) return std::nullopt;
  for (std::size_t i = 2; i < 8; ++i) {
    if (message[i] != std::byte{0}) return std::nullopt;
  }
  const int number = std::to_integer<int>(message[0]) + 256 * std::to_integer<int>(message[1]);
  return number < 1024 ? std::optional<int>(number) : std::nullopt;
}

void Run(testing::Script script) {
  auto sockets = internal::MakeRefusalSockets();
  PARLEY_CHECK(sockets.ok(), "the refusal sockets");
  std::optional<std::vector<std::byte>> first;
  for (int i = 0; i < kMaxSteps && !script.empty() && sockets->worker.ok(); ++i) {
    std::vector<std::byte> message;
    UniqueFd descriptor;
    switch (script.Take8() % 4) {
      case 0: {
        message.resize(8);
        message[0] = std::byte{script.Take8()};
        message[1] = std::byte{script.Take8()};
        const std::size_t at = script.Take8() % 8;
        message[at] |= std::byte{script.Take8()};
        break;
      }
      case 1:
        message = script.TakeBytes(script.Take8());
        break;
      case 2:
        message = script.TakeBytes(8);
        descriptor = MakeDescriptor(script, 4096);
        break;
      case 3:
        sockets->worker.Reset();
        continue;
    }
    if (Send(sockets->worker.get(), message, descriptor.ok() ? descriptor.get() : -1) && !first) {
      first = message;
    }
  }
  const std::optional<int> expected = first ? ModelOf(*first) : std::nullopt;
  PARLEY_CHECK(internal::TakeRefusal(sockets->parent.get()) == expected, "another call, or none");
}

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  parley::fuzz::LeavesNothing([&] { parley::fuzz::Run(parley::testing::Script(data, size)); });
  return 0;
}
