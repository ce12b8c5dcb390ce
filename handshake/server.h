// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_HANDSHAKE_SERVER_H_
#define PARLEY_HANDSHAKE_SERVER_H_

// Accepts peers at a listener, many handshakes at once: a bad peer costs a slot for a bounded time
// and delays nobody.
//
// Trust: peers connect as often as they like, stop anywhere, send rubbish, leave. What that costs
// is bounded for each user id and in total (ServerLimits):
// * Whom the policy refuses, it refuses at accept, before a slot is taken.
// * A user has so many slots. When they or all are taken, the oldest peer that has said nothing
//   goes, not the newcomer.
// * Memory and descriptors that were given to a peer which did not finish stay charged to us until
//   it gives them up: so many of one user, and in total, a quarter of which is for users that have
//   none. They are remembered for `given_up_time` at least, and for as long as the descriptors lie
//   in the peer's queue.
// * Connections that come to nothing have a budget of processor time, a tenth of what passes.
//   Without it there are pauses between them, of at most 20 ms: a peer that connects without end
//   costs that tenth, or, where it makes each refusal cost more than 2 ms, one refusal in 20 ms.
//   Who waits behind a queue full of strangers is soon there. Memory that is made for whom the
//   policy admits is charged too, and can cost more than that (SECURITY.md).
// A peer is timed out only where nothing of it waits to be read: when our caller was away, what
// came in time counts.
// Threads: one at a time.
//
//   absl::StatusOr<Listener> listener = Listener::Bind(path);
//   absl::StatusOr<CheckedAcceptOptions> checked = CheckedAcceptOptions::Make(options);
//   Server server(*std::move(listener), *std::move(checked));
//   absl::StatusOr<std::shared_ptr<Session>> peer =
//       server.Accept(Deadline::After(absl::Minutes(1)));
//
//   // In a loop of one's own: whenever server.descriptor() is readable
//   server.Tend();
//   while (server.HasReady()) Use(*server.Accept(Deadline::After(absl::ZeroDuration())));

#include <sys/types.h>

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/handshake/acceptor.h"
#include "parley/handshake/checked_options.h"
#include "parley/handshake/failure_budget.h"
#include "parley/handshake/listener.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/handshake/server_limits.h"
#include "parley/handshake/session.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"

namespace parley {

// kInvalidArgument says which field is impossible, and what is allowed.
absl::Status CheckServerLimits(const ServerLimits& limits);

class Server {
 public:
  // `limits` passed CheckServerLimits.
  Server(Listener listener, CheckedAcceptOptions options, ServerLimits limits = {});
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // The next peer that completes its handshake, in the order in which they do. Bad peers do not end
  // this call, nor does trouble of our own (descriptors, memory), which costs the peer. At the
  // deadline kDeadlineExceeded, or the trouble that there was.
  absl::StatusOr<std::shared_ptr<Session>> Accept(Deadline deadline);

  // What Accept does without waiting, for about a millisecond: takes connections, takes handshakes
  // further, ends those that are timed out or whose peer is dead. What is complete is kept for
  // Accept, up to max_pending. For loops that do other things: without it, or Accept, half-made
  // channels stay.
  void Tend();
  bool HasReady() const { return !ready_.empty(); }
  // Readable (POLLIN) when Tend has something to do, or Accept something to return. Two
  // descriptors, made with the first call. kResourceExhausted.
  absl::StatusOr<int> descriptor();

  // How many handshakes failed so far, and why the last one did; for logs, at the caller's rate.
  uint64_t failures() const { return failures_; }
  const absl::Status& last_failure() const { return last_failure_; }

 private:
  struct Pending {
    Acceptor acceptor;
    uid_t uid;
    Deadline deadline;
    int64_t cpu_ns = 0;  // what it took so far
    // Its Accepted waits until others are through: what it would be refused for.
    std::optional<RefusalReason> deferred_for = std::nullopt;
  };
  // A handshake that was given up after the peer was given memory.
  struct GivenUp {
    PeerSocket socket;
    uid_t uid;
    uint64_t bytes;
    Deadline remembered_until;
  };
  struct Outstanding {
    int live = 0;
    int given_up = 0;
    uint64_t bytes = 0;
  };
  // Why one can't have memory now: its user has too much out (kUnfinished), or all have (kBusy).
  // It passes where live ones are in the way; what was given up doesn't.
  struct Obstacle {
    RefusalReason reason;
    bool passes;
  };
  // As long as a round runs, which asks our caller's own policy and format check.
  class RoundMark {
   public:
    explicit RoundMark(bool* in_round);
    ~RoundMark() { *in_round_ = false; }
    RoundMark(const RoundMark&) = delete;
    RoundMark& operator=(const RoundMark&) = delete;

   private:
    bool* const in_round_;
  };

  void Round(Deadline wait_until, Deadline work_until);
  bool AdvanceOne(std::list<Pending>::iterator pending);
  void Drop(std::list<Pending>::iterator pending, std::optional<RefusalReason> reason,
            absl::Status why);
  void TakeConnections();
  void TakeOne(PeerSocket socket);
  bool MakeRoom(uid_t uid);
  void RefuseAtOnce(PeerSocket socket, RefusalReason reason, absl::Status why);
  void ForgetGivenUp();
  // Of each user, and of all.
  struct Sums {
    std::map<uid_t, Outstanding> of_user;
    Outstanding of_all;
  };
  Sums SumUp() const;
  std::optional<Obstacle> InTheWayOf(uid_t uid, const Sums& sums) const;
  // Charges what it took in this step, and before.
  void CountFailure(absl::Status why, int64_t earlier_cpu_ns);
  void Watch(int fd, bool active);
  void SetTimer();

  Listener listener_;
  const CheckedAcceptOptions options_;
  const ServerLimits limits_;
  bool in_round_ = false;
  std::list<Pending> pending_;
  std::list<GivenUp> given_up_;
  std::list<std::shared_ptr<Session>> ready_;
  absl::Status trouble_;  // of our own, since Accept was called
  internal::FailureBudget budget_;
  int64_t step_began_cpu_ns_ = 0;  // of the thread that is in a round, for one peer
  int64_t next_accept_ns_ = 0;
  UniqueFd epoll_;
  UniqueFd timer_;
  uint64_t failures_ = 0;
  absl::Status last_failure_;
};

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_SERVER_H_
