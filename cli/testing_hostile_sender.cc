// SPDX-License-Identifier: Apache-2.0

// testing_hostile_sender PATH: a sender with many receivers that sends one of them, without end,
// what it has taken back already.

#include <cstdint>

#include "absl/time/time.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/channel.h"
#include "parley/cli/fan_out.h"
#include "parley/cli/stream_protocol.h"
#include "parley/frames/frame_wire.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/arena_layout.h"
#include "parley/shm/broadcast.h"

int main(int argc, char** argv) {
  using namespace parley;  // NOLINT(google-build-using-namespace): of a test's program
  if (argc != 2) return 2;
  AcceptOptions accept = cli::AcceptStream(cli::StreamKind::kLines);
  auto broadcast = Broadcast::Create({FramesSection(ArenaFor(1, 4096))});
  if (!broadcast.ok()) return 1;
  accept.broadcast = *broadcast;
  accept.send = {.capacity_bytes = uint64_t{16} << 20, .max_message_bytes = 4096};
  auto listener = ChannelListener::Listen(argv[1], accept);
  if (!listener.ok()) return 1;
  auto channel = listener->Accept(Deadline::After(absl::Seconds(30)));
  if (!channel.ok()) return 1;
  // As fast as can be, so that its ring is never empty. No line of the table has any of these
  // generations.
  for (uint64_t generation = 1;;) {
    const auto record = WireBytes(FrameSentWire{0, 0, generation, 0, 64});
    const Outcome outcome = channel->sender.TryStage(cli::kTagBytes | cli::kTagInArena, record);
    if (outcome == Outcome::kOk) {
      ++generation;
    } else if (outcome == Outcome::kWouldBlock) {
      channel->sender.Publish();
    } else {
      return 0;
    }
  }
}
