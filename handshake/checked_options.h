// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_HANDSHAKE_CHECKED_OPTIONS_H_
#define PARLEY_HANDSHAKE_CHECKED_OPTIONS_H_

// Options that were checked where they were given, by rules that depend on no peer. What the
// handshake works with; so no message of a peer's can meet an impossible option of ours.
//
// Trust: everything in here is ours.
// Threads: values.
// Errors: kInvalidArgument names the field and says what is allowed.
//
//   absl::StatusOr<CheckedAcceptOptions> checked = CheckedAcceptOptions::Make(options);
//   if (!checked.ok()) return checked.status();   // "AcceptOptions::send.max_message_bytes is ..."

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/handshake/options.h"
#include "parley/handshake/wire.h"

namespace parley {

// The terms for one direction, all numbers possible and within the limits.
struct DirectionTerms {
  bool exists = false;
  // What was asked for; zeros where the caller leaves it open.
  DirectionSpec asked = {};
  // What this side chooses where nobody asks.
  DirectionSpec chosen = {};
  // What the system's page allows.
  uint64_t min_capacity_bytes = 0;
  // Where this side sends: the smallest ring and the shortest limit that its caller relies on.
  uint64_t floor_capacity_bytes = 0;
  uint32_t floor_message_bytes = 0;
  // Where this side receives: the longest limit that its caller has buffers for.
  uint32_t ceiling_message_bytes = 0;
};

class CheckedAcceptOptions {
 public:
  // Registers this process for barriers (wait/memory_barrier.h) where options.fences is
  // kAsymmetric.
  static absl::StatusOr<CheckedAcceptOptions> Make(AcceptOptions options);

  const AcceptOptions& get() const { return options_; }
  const AcceptOptions* operator->() const { return &options_; }
  const DirectionTerms& send() const { return send_; }
  const DirectionTerms& receive() const { return receive_; }
  // This side makes a barrier before it sleeps if the peer skips its fences.
  bool may_make_barrier() const { return may_make_barrier_; }
  // This side is registered, and skips its fences if the peer makes the barrier.
  bool may_skip_fences() const { return may_skip_fences_; }
  // The peer is trusted, and eventfds can be drained here (os/eventfd.h).
  bool may_use_eventfds() const { return may_use_eventfds_; }

 private:
  explicit CheckedAcceptOptions(AcceptOptions options) : options_(std::move(options)) {}
  AcceptOptions options_;
  DirectionTerms send_;
  DirectionTerms receive_;
  bool may_make_barrier_ = false;
  bool may_skip_fences_ = false;
  bool may_use_eventfds_ = false;
};

class CheckedConnectOptions {
 public:
  // Registers this process for barriers where options.fences says so.
  static absl::StatusOr<CheckedConnectOptions> Make(ConnectOptions options);

  const ConnectOptions& get() const { return options_; }
  const ConnectOptions* operator->() const { return &options_; }
  const DirectionTerms& send() const { return send_; }
  const DirectionTerms& receive() const { return receive_; }
  bool may_make_barrier() const { return may_make_barrier_; }
  bool may_skip_fences() const { return may_skip_fences_; }
  // The peer is trusted, and eventfds can be drained here (os/eventfd.h).
  bool may_use_eventfds() const { return may_use_eventfds_; }

 private:
  explicit CheckedConnectOptions(ConnectOptions options) : options_(std::move(options)) {}
  ConnectOptions options_;
  DirectionTerms send_;
  DirectionTerms receive_;
  bool may_make_barrier_ = false;
  bool may_skip_fences_ = false;
  bool may_use_eventfds_ = false;
};

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_CHECKED_OPTIONS_H_
