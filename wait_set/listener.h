// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_SET_LISTENER_H_
#define PARLEY_WAIT_SET_LISTENER_H_

// A ChannelListener in a WaitSet: takes handshakes further, and hands over each channel that is
// complete.
//
// Trust: what peers that connect can cost is bounded by the listener (handshake/server.h); here
// they get one turn in a round, of a millisecond, as every registration.
// Threads: that of the set.
//
//   absl::StatusOr<Registration> registration =
//       AddListener(set, &listener, [&](absl::StatusOr<Channel> channel) {
//         if (channel.ok()) Serve(*std::move(channel));
//       });

#include <functional>

#include "absl/status/statusor.h"
#include "parley/channel/channel.h"
#include "parley/wait_set/wait_set.h"

namespace parley {

// `listener` outlives the registration. `handler` gets one channel in a round, or why one that was
// agreed on could not be made (no memory, no descriptors); it may end both, the registration first.
// kResourceExhausted.
absl::StatusOr<Registration> AddListener(WaitSet* set, ChannelListener* listener,
                                         std::function<void(absl::StatusOr<Channel>)> handler);

}  // namespace parley

#endif  // PARLEY_WAIT_SET_LISTENER_H_
