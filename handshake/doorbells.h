#ifndef PARLEY_HANDSHAKE_DOORBELLS_H_
#define PARLEY_HANDSHAKE_DOORBELLS_H_

// The doorbells of a channel: made by the accepting side, adopted by the connecting side, and put
// into place by each when the handshake is complete.
//
// The order is that of docs/SPEC.md: first the ring on which the connecting side sends, then the
// other. With sockets the doorbell of the first ring that exists is the connection itself; with
// futexes no ring needs a descriptor.
//
// Trust: AdoptDoorbells takes descriptors from the accepting side, and checks what kind each is.
// Threads: before anything else uses the channel.
//
//   auto made = MakeDoorbells(welcome.doorbell, send, receive);          // accepting
//   ... send made->for_peer with the Welcome; after Mapped:
//   InstallMadeDoorbells(welcome.doorbell, std::move(made->own), &established);

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/handshake/options.h"
#include "parley/os/unique_fd.h"
#include "parley/ring/ring_types.h"
#include "parley/wait/doorbell.h"

namespace parley {

// Those that have descriptors of their own; the others come with Install.
struct Doorbells {
  Doorbell send;
  Doorbell receive;
};

struct MadeDoorbells {
  Doorbells own;
  std::vector<UniqueFd> for_peer;  // to be sent, in order
};

// Accepting side. `kind`: one of kDoorbell*. `send`, `receive`: seen from this side; a capacity of
// 0: there is no such ring. kResourceExhausted.
absl::StatusOr<MadeDoorbells> MakeDoorbells(uint32_t kind, const RingGeometry& send,
                                            const RingGeometry& receive);
// Puts them into a channel whose other members are there.
void InstallMadeDoorbells(uint32_t kind, Doorbells doorbells, Established* channel);

// Connecting side. `descriptors`: all that came with the Welcome after the regions.
// kInvalidArgument: more or fewer than needed, or of another kind.
absl::StatusOr<Doorbells> AdoptDoorbells(uint32_t kind, const RingGeometry& send,
                                         const RingGeometry& receive,
                                         absl::Span<UniqueFd> descriptors);
void InstallAdoptedDoorbells(uint32_t kind, Doorbells doorbells, Established* channel);

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_DOORBELLS_H_
