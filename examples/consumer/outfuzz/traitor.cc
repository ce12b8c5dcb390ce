// SPDX-License-Identifier: Apache-2.0

// A worker whose target is in an attacker's hands: the first byte of an input says what it does
// with the channel. For supervisor_test.

#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "outfuzz/icon.h"
#include "outfuzz/protocol.h"
#include "outfuzz/worker.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/os/deadline.h"
#include "parley/ring/layout.h"

namespace {

using parley::HostileAccess;

[[noreturn]] void StayForEver() {
  while (true) absl::SleepFor(absl::Seconds(1));
}

void Say(parley::Channel& channel, uint32_t tag, absl::Span<const std::byte> bytes) {
  static_cast<void>(channel.sender.Send(tag, bytes, parley::Deadline::After(absl::Seconds(10))));
}

void SayRan(parley::Channel& channel, uint64_t number) {
  Say(channel, outfuzz::kRanTag, parley::WireBytes(number));
}

void Act(absl::Span<const uint8_t> input, parley::Channel& channel) {
  if (input.empty()) return;
  const uint64_t published = HostileAccess::Published(channel.sender);
  const uint64_t mask = channel.sender.capacity_bytes() - 1;
  switch (input[0]) {
    case 'I':  // an icon
      outfuzz::DecodeIcon(input);
      return;
    case 'a':
      std::abort();
    case 'e':
      ::_exit(0);
    case 'h':
      StayForEver();
    case 's':
      static_cast<void>(::chdir("/") + 1);
      return;
    case 'n':  // an answer to an input that does not exist
      SayRan(channel, ~uint64_t{0});
      return StayForEver();
    case 't':
      Say(channel, 77, {});
      return StayForEver();
    case 'z':
      Say(channel, outfuzz::kRanTag, {});
      return StayForEver();
    case 'j':
      HostileAccess::Control(channel.sender)
          .StoreRelease64(parley::kTailOffset, published + 64 * mask);
      HostileAccess::DoorbellOf(channel.sender).Signal();
      return StayForEver();
    case 'l':
      HostileAccess::Data(channel.sender).StoreRelaxed64(published & mask, 0xffff'fff0);
      HostileAccess::Control(channel.sender).StoreRelease64(parley::kTailOffset, published + 64);
      HostileAccess::DoorbellOf(channel.sender).Signal();
      return StayForEver();
    case 'u':  // its head: the inputs that it claims to have taken
      HostileAccess::Control(channel.receiver)
          .StoreRelease64(parley::kHeadOffset, uint64_t{1} << 62);
      HostileAccess::DoorbellOf(channel.receiver).Signal();
      return StayForEver();
    case 'f':
      while (true) HostileAccess::DoorbellOf(channel.sender).Signal();
    case 'c':
      channel.sender.Close();
      return StayForEver();
    case 'r':
      channel.receiver.Close();
      return StayForEver();
    case 'x':
      for (int fd = 3; fd < 64; ++fd) ::close(fd);
      return StayForEver();
    default:
      return;
  }
}

}  // namespace

int main() { return outfuzz::RunWorker(Act); }
