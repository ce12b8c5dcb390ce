// SPDX-License-Identifier: Apache-2.0

// testing_hostile_receiver PATH: a receiver of `parley send --y4m --fan-out` that returns what it
// has not, and never what it has. It takes records, so that it is sent more.

#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/boundary/own_memory.h"
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/cli/stream_protocol.h"
#include "parley/frames/frame_wire.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/arena_layout.h"

int main(int argc, char** argv) {
  using namespace parley;  // NOLINT(google-build-using-namespace): of a test's program
  if (argc != 2) return 2;
  ConnectOptions connect;
  connect.direction = Direction::kReceiveOnly;
  connect.format = cli::ChannelFormat(cli::StreamKind::kY4m);
  connect.broadcast_kinds = {kSectionFrames};
  absl::StatusOr<Channel> channel = absl::UnavailableError("");
  for (int i = 0; i < 500 && !channel.ok(); ++i) {
    channel = ConnectChannel(argv[1], connect, Deadline::After(absl::Seconds(5)));
    if (!channel.ok()) ::usleep(20'000);
  }
  if (!channel.ok()) return 1;
  OwnMemory words =
      HostileAccess::Control(channel->receiver).Part(kFrameReturnsOffset, sizeof(FrameReturnsWire));
  std::array<std::byte, 4096> message;
  for (uint64_t count = 1;; ++count) {
    const auto got =
        channel->receiver.Receive(absl::MakeSpan(message), Deadline::After(absl::Milliseconds(1)));
    if (!got.ok() && !absl::IsDeadlineExceeded(got.status())) return 0;
    if (got.ok() && got->tag == cli::kTagEnd) return 0;
    for (uint32_t id = 0; id < kMaxFrames; ++id) {
      words.StoreRelease64(FrameReturnOffset(id), ~count % 64 + 64);
    }
    words.StoreRelease64(0, count);
  }
}
