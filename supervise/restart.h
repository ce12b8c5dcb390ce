// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SUPERVISE_RESTART_H_
#define PARLEY_SUPERVISE_RESTART_H_

// A worker that is replaced when it ends: with a back-off, so many times in so long, and with an
// account of what the old one had not acknowledged.
//
//   RestartOptions options;
//   options.link.program.path = "/usr/libexec/resizer";   // calls WorkerMain, and
//                                                         // ReceiveNumbered in its body
//   options.delivery = Delivery::kAtLeastOnce;
//   auto worker = RestartingLink::Start(std::move(options), deadline);
//   absl::StatusOr<uint64_t> number = worker->Send(kTag, bytes, deadline);
//   absl::StatusOr<RestartEvent> event = worker->Receive(absl::MakeSpan(buffer), deadline);
//   // event->kind: a message, or that the worker was replaced, and why
//
// Each worker is an epoch of its own, with a channel of its own: nothing that an old one said is
// received after its successor has started. Messages to the worker are numbered. The worker
// acknowledges each when it has dealt with it (Acknowledge). What was sent and not acknowledged
// when a worker ends is undelivered:
//   kAtMostOnce   it is reported, and not sent again
//   kAtLeastOnce  it is kept and sent to the next worker, marked as a duplicate, for the old one
//                 may have dealt with it
//
// Trust: as WorkerLink. A worker acknowledges what it likes of what it was sent, in order; anything
// else is a broken protocol and ends it. A message that kills each worker is sent again until the
// limit of restarts: then Receive is an error for good.
// Threads: one at a time, which all workers die with; Interrupt from any.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/os/deadline.h"
#include "parley/supervise/worker_end.h"
#include "parley/supervise/worker_link.h"

namespace parley {

struct RestartPolicy {
  int max_restarts = 5;  // in any span of `within`
  absl::Duration within = absl::Minutes(1);
  // Before the first restart in a row, and twice as long before each next one.
  absl::Duration first_delay = absl::Milliseconds(10);
  absl::Duration max_delay = absl::Seconds(5);
  // A worker that has lived for so long ends the row.
  absl::Duration healthy_after = absl::Seconds(10);
};

enum class Delivery { kAtMostOnce, kAtLeastOnce };

struct RestartOptions {
  // What a message that is kept costs besides its bytes.
  static constexpr std::size_t kMessageCost = 64;

  WorkerLinkOptions link;  // of each worker; without a streamed input
  RestartPolicy policy;
  Delivery delivery = Delivery::kAtMostOnce;
  // Of messages that are kept for the next worker: each costs its bytes and kMessageCost.
  std::size_t max_kept_bytes = std::size_t{16} << 20;
  absl::Duration start_time = absl::Seconds(20);  // of each restart
};

struct RestartEvent {
  enum class Kind { kMessage, kRestarted };
  Kind kind = Kind::kMessage;
  uint32_t epoch = 1;  // of the message's sender, or of the new worker
  Record record = {};  // kMessage: its tag and size, as Receive's
  // kRestarted:
  std::optional<WorkerEnd> end;    // of the old one
  uint64_t undelivered = 0;        // messages that it had not acknowledged
  uint64_t first_undelivered = 0;  // the number of the first of them, as Send gave it
};

namespace internal {

// When a worker may be started again: pure, with the clock as an argument.
class RestartBudget {
 public:
  explicit RestartBudget(const RestartPolicy& policy) : policy_(policy) {}
  // Of a worker that has ended at `now_ns` after it had lived for `lived`: how long to wait before
  // the next one; nothing: there were too many.
  std::optional<absl::Duration> Next(int64_t now_ns, absl::Duration lived);

 private:
  RestartPolicy policy_;
  std::deque<int64_t> restarts_ns_;
  int row_ = 0;
};

}  // namespace internal

class RestartingLink {
 public:
  // The first worker. Errors as those of WorkerLink::Start; it is not tried again.
  static absl::StatusOr<RestartingLink> Start(RestartOptions options, Deadline deadline);
  RestartingLink(RestartingLink&&) noexcept;
  RestartingLink& operator=(RestartingLink&&) noexcept;
  ~RestartingLink();

  // Sends one message; the number under which it is accounted for. With kAtLeastOnce it is kept,
  // and goes later where there was no room in time or after an interrupt, or to the next worker.
  // Each call of Send or Receive sends at least one kept message for which there is room, and no
  // more once its deadline has passed. kResourceExhausted: max_kept_bytes, until Receive finds an
  // acknowledgement. With kAtMostOnce errors are those of Sender::Send; kUnavailable and
  // kOutOfRange: the worker has ended, and Receive replaces it.
  absl::StatusOr<uint64_t> Send(uint32_t tag, absl::Span<const std::byte> bytes, Deadline deadline);

  // The next message, or the news that the worker was replaced. What the latter takes goes on in
  // the next call where a deadline or an interrupt ends this one:
  //   1. The old worker has a second to end. What it still says is dropped. Then it is killed,
  //      which takes as long as the kernel needs for it, up to two seconds.
  //   2. The back-off.
  //   3. A start, which may take start_time whatever the deadline is: the new worker has met
  //      nothing hostile. It is begun before the deadline, or else by a call that comes after step
  //      2; so calls with expired deadlines get there, too.
  // kDeadlineExceeded: nothing yet; kUnavailable, for good: too many restarts, or a worker that
  // cannot be started, with the reason. `into` may be written to in any case.
  absl::StatusOr<RestartEvent> Receive(absl::Span<std::byte> into, Deadline deadline);

  // Ends the Receive that is under way, or else the next one, with kCancelled: whether it waits for
  // a message, for an old worker's end or in the back-off. A start is not ended; the next Receive
  // is. The one to use: link().Interrupt() is lost with its worker. From any thread while this
  // object stays where it is; not from a signal handler.
  void Interrupt() const;

  uint32_t epoch() const { return epoch_; }
  uint64_t unacknowledged() const { return next_number_ - first_unacknowledged_; }
  WorkerLink& link() { return *link_; }
  // As WorkerLink::End; nothing is started or sent after it.
  WorkerEnd End(Deadline deadline);

 private:
  // With kAtLeastOnce, for the next worker.
  struct Kept {
    uint32_t tag;
    uint32_t first_epoch;  // in which it was sent first; 0: not yet
    std::vector<std::byte> bytes;
  };

  struct Waking;

  RestartingLink(RestartOptions options, WorkerLink link, std::unique_ptr<Waking> waking);
  // `flags`: 0 or kDuplicate.
  absl::Status Put(uint64_t number, uint32_t tag, uint32_t flags, absl::Span<const std::byte> bytes,
                   Deadline deadline);
  // Of what is kept, sends what the present worker has not got: at least one message, some more
  // until `deadline`, each with a wait for room until `room`. False: the next one found none.
  bool Flush(Deadline deadline, Deadline room);
  bool Flushed() const { return sent_in_epoch_ == kept_.size(); }
  bool Replacing() const { return ends_by_.has_value() || restarting_.has_value(); }
  // Keeps what a send says of the worker's end: Receive replaces it then.
  absl::Status Noted(absl::Status sent);
  absl::StatusOr<Record> ReceiveAndFlush(absl::Span<std::byte> into, Deadline deadline);
  // Of a worker that has hung up.
  absl::StatusOr<WorkerEnd> AwaitEnd(absl::Span<std::byte> into, Deadline deadline);
  absl::StatusOr<RestartEvent> Restart(Deadline deadline);
  // Until `deadline`, or until `fd` is readable; -1: none. kCancelled: an interrupt.
  absl::Status Await(int fd, Deadline deadline);
  // What Receive says of an interrupt.
  absl::Status Interrupted(absl::Status cancelled);
  void TakeAcknowledgements();

  RestartOptions options_;
  internal::RestartBudget budget_;
  std::unique_ptr<Waking> waking_;
  std::optional<WorkerLink> link_;  // replaced with waking_->mutex
  uint32_t epoch_ = 1;
  uint64_t next_number_ = 1;
  uint64_t first_unacknowledged_ = 1;
  int64_t started_ns_ = 0;
  std::deque<Kept> kept_;          // from first_unacknowledged_ on; kAtMostOnce: none
  std::size_t sent_in_epoch_ = 0;  // of these, to the present worker
  std::size_t kept_bytes_ = 0;
  absl::Status final_;
  // A worker that takes no more: why, and until when it may say what it has left to say.
  absl::Status takes_no_more_;
  std::optional<Deadline> last_words_;
  // A worker that has hung up: until when it may end by itself.
  std::optional<Deadline> ends_by_;
  bool said_all_ = false;  // and its link's Receive has ended
  // Of a restart that is under way.
  std::optional<RestartEvent> restarting_;
  std::optional<Deadline> next_start_;
};

}  // namespace parley

#endif  // PARLEY_SUPERVISE_RESTART_H_
