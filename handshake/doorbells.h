// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_HANDSHAKE_DOORBELLS_H_
#define PARLEY_HANDSHAKE_DOORBELLS_H_

// The doorbells of a channel: made by the accepting side, adopted by the connecting side, and put
// into place by each when the handshake is complete. Only eventfds need descriptors, in the order
// of docs/SPEC.md: those of the ring on which the connecting side sends, then those of the other.
//
// Trust: AdoptDoorbells takes descriptors from the accepting side, and checks what kind each is.
// Threads: before anything else uses the channel.
//
//   auto made = MakeDoorbells(welcome.doorbell, send, receive);          // accepting
//   ... send made->for_peer with the Descriptors; after Mapped:
//   status = InstallDoorbells(welcome.doorbell, std::move(made->own), session.get());

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/handshake/session.h"
#include "parley/os/unique_fd.h"
#include "parley/ring/ring_types.h"
#include "parley/wait/doorbell.h"

namespace parley {

// Those that have descriptors of their own; the others come with InstallDoorbells.
struct Doorbells {
  std::unique_ptr<Doorbell> send;
  std::unique_ptr<Doorbell> receive;
};

struct MadeDoorbells {
  Doorbells own;
  std::vector<UniqueFd> for_peer;  // to be sent, in order
};

// Accepting side. `kind`: one of kDoorbell*. `send`, `receive`: seen from this side; a capacity of
// 0: there is no such ring. kResourceExhausted.
absl::StatusOr<MadeDoorbells> MakeDoorbells(uint32_t kind, const RingGeometry& send,
                                            const RingGeometry& receive);

// Connecting side. `descriptors`: all that came with the Descriptors after the regions.
// kInvalidArgument: more or fewer than needed, or of another kind.
absl::StatusOr<Doorbells> AdoptDoorbells(uint32_t kind, const RingGeometry& send,
                                         const RingGeometry& receive,
                                         absl::Span<UniqueFd> descriptors);

// Both: makes those that need no descriptor from the peer, and puts all of them in place,
// where the termination wakes them. kResourceExhausted: no descriptor left.
absl::Status InstallDoorbells(uint32_t kind, Doorbells doorbells, Session* session);

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_DOORBELLS_H_
