// SPDX-License-Identifier: Apache-2.0
#include "parley/wait_set/listener.h"

#include <poll.h>

#include <utility>

#include "absl/time/time.h"
#include "parley/os/deadline.h"

namespace parley {

absl::StatusOr<Registration> AddListener(WaitSet* set, ChannelListener* listener,
                                         std::function<void(absl::StatusOr<Channel>)> handler) {
  const auto descriptor = listener->descriptor();
  if (!descriptor.ok()) return descriptor.status();
  return set->AddDescriptor(*descriptor, POLLIN,
                            [listener, handler = std::move(handler)](const absl::Status&) {
                              listener->Tend();
                              // Last: the handler may end the listener.
                              if (listener->HasReady())
                                handler(listener->Accept(Deadline::AtMonotonicNs(0)));
                            });
}

}  // namespace parley
