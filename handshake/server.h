#ifndef PARLEY_HANDSHAKE_SERVER_H_
#define PARLEY_HANDSHAKE_SERVER_H_

// Accepts peers at a listener, many handshakes at once: a bad peer costs a slot for a bounded time
// and delays nobody.
//
// Trust: peers connect as often as they like, stop anywhere, send rubbish, leave. Each is refused
// on its own; at most `max_pending` handshakes are under way, each for at most `handshake_time`; a
// peer beyond that is told "busy".
// Threads: one at a time.
//
//   absl::StatusOr<Listener> listener = Listener::Bind(path);
//   absl::StatusOr<CheckedAcceptOptions> checked = CheckedAcceptOptions::Make(options);
//   Server server(*std::move(listener), *std::move(checked));
//   absl::StatusOr<Established> peer = server.Accept(Deadline::After(absl::Minutes(1)));

#include <sys/types.h>

#include <cstdint>
#include <list>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "parley/handshake/acceptor.h"
#include "parley/handshake/checked_options.h"
#include "parley/handshake/listener.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"

namespace parley {

struct ServerLimits {
  int max_pending = 16;  // 1 to 4096
  absl::Duration handshake_time = absl::Seconds(5);
  // Of a socket file; 0: as the policy needs it (PeerPolicy::socket_file_mode).
  mode_t socket_file_mode = 0;
};

// kInvalidArgument says which field is impossible, and what is allowed.
absl::Status CheckServerLimits(const ServerLimits& limits);

class Server {
 public:
  // `limits` passed CheckServerLimits.
  Server(Listener listener, CheckedAcceptOptions options, ServerLimits limits = {});
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // The next peer that completes its handshake, in the order in which they do. Bad peers do not end
  // this call. kDeadlineExceeded; anything else is trouble of our own (descriptors, memory) and may
  // be retried.
  absl::StatusOr<Established> Accept(Deadline deadline);

  // How many handshakes failed so far, and why the last one did; for logs, at the caller's rate.
  uint64_t failures() const { return failures_; }
  const absl::Status& last_failure() const { return last_failure_; }

 private:
  struct Pending {
    Acceptor acceptor;
    Deadline deadline;
  };
  absl::Status TakeConnections();
  void DropTimedOut();
  void CountFailure(absl::Status why);

  Listener listener_;
  const CheckedAcceptOptions options_;
  const ServerLimits limits_;
  std::list<Pending> pending_;
  uint64_t failures_ = 0;
  absl::Status last_failure_;
};

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_SERVER_H_
