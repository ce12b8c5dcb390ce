// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_HANDSHAKE_SERVER_LIMITS_H_
#define PARLEY_HANDSHAKE_SERVER_LIMITS_H_

// The maximum that a listener spends on peers whose handshakes are not finished; server.h says what
// a peer can do with it.
//
// Trust: limits are ours.
// Threads: values.

#include <sys/types.h>

#include <cstdint>

#include "absl/time/time.h"

namespace parley {

struct ServerLimits {
  int max_pending = 16;          // handshakes under way; 1 to 4096
  int max_pending_of_user = 12;  // of these
  absl::Duration handshake_time = absl::Seconds(5);
  // Handshakes with memory that the peer was given and has not finished with, or has given up. One
  // more than these bytes allow is let in, whatever its size. A quarter of what all may have is for
  // users that have none.
  int max_unfinished = 64;
  int max_unfinished_of_user = 24;
  uint64_t max_unfinished_bytes = uint64_t{512} << 20;
  uint64_t max_unfinished_bytes_of_user = uint64_t{128} << 20;
  absl::Duration given_up_time = absl::Minutes(1);
  // Of a socket file; 0: as the policy needs it (PeerPolicy::socket_file_mode).
  mode_t socket_file_mode = 0;
};

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_SERVER_LIMITS_H_
