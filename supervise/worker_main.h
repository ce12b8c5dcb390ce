// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SUPERVISE_WORKER_MAIN_H_
#define PARLEY_SUPERVISE_WORKER_MAIN_H_

// The worker's side of supervise/worker_link.h: the whole `main` of a program that does one thing
// with hostile input.
//
//   int main() {
//     return parley::WorkerMain({}, [](parley::ConfinedWorker& worker) -> absl::Status {
//       const auto film = worker.input().Bytes();       // the first look at hostile bytes
//       if (!film.ok()) return film.status();
//       return worker.Send(kTag, Decode(*film));
//     });
//   }
//
// In this order: warm_up; where the host wants a template, clones wait here (and what follows
// happens in each of them); takes the input, maps it and does not look at it; shakes hands; locks
// down; waits for the host, which asks the kernel whether that is so; runs the body. The body gets
// a ConfinedWorker, which exists in a confined process alone, and with it the input.
//
// The body may fail (its status's text is in the host's report), run out of memory (std::bad_alloc
// is reported as that), crash or make a call that the filter refuses: each is a WorkerEnd of its
// own. No destructor runs after it: nothing of what a hostile input has touched runs for longer
// than it must.
//
// Trust: the host's word is good. The input is the attacker's, and so is this process from the
// first look at it.
// Threads: the calling one. Threads that warm_up has made are confined with it, where the profile
// has WithThreads; none can be made afterwards. A template has none.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/sandbox/confine.h"
#include "parley/sandbox/profile.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/wait/wait_options.h"

namespace parley {

class ConfinedWorker;

struct WorkerMainOptions {
  // The protocol's name, as in WorkerLinkOptions.
  std::string format;
  // Before the lock-down, with all that an ordinary process has: opens libraries and tables, takes
  // the first steps that want files. An error ends the worker, and the host reports its text.
  std::function<absl::Status()> warm_up;
  // In a clone of a template, before the lock-down: where libraries that warm_up has used hold
  // random numbers of their own, draws new ones (sandbox/template_main.h says what else is fresh).
  std::function<void()> in_clone;
  // What the body may ask of the kernel: given the profile of the channel, gives the one to lock
  // down with. By default Profile::ForCodec.
  std::function<Profile(const Profile&)> profile;
  LockDownOptions lock_down;  // `keep` is added to what the channel needs
  WaitOptions wait;
};

// A message of a host that restarts its worker (supervise/restart.h).
struct NumberedRecord {
  Record record = {};
  uint64_t number = 0;     // over all workers
  uint32_t epoch = 0;      // of this worker: 1 is the first
  bool duplicate = false;  // an earlier worker may have dealt with it
};

// The input that the host has for this worker. Hostile.
class WorkerInput {
 public:
  static constexpr uint64_t kUnknownSize = ~uint64_t{0};

  // As the host says; kUnknownSize for a stream without a known end.
  uint64_t size_bytes() const { return size_bytes_; }
  // Copies what lies at `offset` to the front of `into`; how much it was: less than asked for where
  // the input ends, or where the host's answer is shorter; 0 at the end.
  absl::StatusOr<std::size_t> ReadAt(uint64_t offset, absl::Span<std::byte> into);
  // All of it, where it lies: of a sealed input in the host's pages. A streamed one is read into
  // memory of this process at the first call. Valid as long as the worker; in a pool, until the job
  // ends.
  absl::StatusOr<absl::Span<const std::byte>> Bytes();

 private:
  friend class ConfinedWorker;
  explicit WorkerInput(ConfinedWorker* worker) : worker_(worker) {}

  ConfinedWorker* worker_;
  uint64_t size_bytes_ = 0;
  std::optional<SealedBlob> sealed_;
  bool streamed_ = false;
  bool read_ = false;
  std::vector<std::byte> whole_;
};

// What a body has: a process that is locked down, and verified by its host.
class ConfinedWorker {
 public:
  ConfinedWorker(const ConfinedWorker&) = delete;
  ConfinedWorker& operator=(const ConfinedWorker&) = delete;

  const Confined& confined() const { return confined_; }
  WorkerInput& input() { return input_; }

  // One message to the host, when there is room: for as long as the host lives. tag <=
  // kMaxWorkerTag.
  absl::Status Send(uint32_t tag, absl::Span<const std::byte> bytes);
  // The same in place: fill what Reserve gives, then Commit.
  absl::StatusOr<absl::Span<std::byte>> Reserve(std::size_t size_bytes);
  void Commit(uint32_t tag, std::size_t used_bytes);
  // The next message of the host's; `into` has at least channel().receiver.max_message_bytes().
  // kOutOfRange: there will be none.
  absl::StatusOr<Record> Receive(absl::Span<std::byte> into);

  // The same of a host that restarts its worker: its message goes to the front of `into`.
  // Acknowledge says that all up to `number` were dealt with, and need not be sent to another
  // worker.
  absl::StatusOr<NumberedRecord> ReceiveNumbered(absl::Span<std::byte> into);
  absl::Status Acknowledge(const NumberedRecord& message);

  Channel& channel() { return channel_; }

 private:
  friend class WorkerProcess;
  friend class WorkerInput;
  friend class JobLoop;
  ConfinedWorker(Confined confined, Channel channel)
      : confined_(std::move(confined)),
        channel_(std::move(channel)),
        buffer_(channel_.receiver.max_message_bytes()),
        input_(this) {}
  // The next record, whatever it is.
  absl::StatusOr<Record> ReceiveAny(absl::Span<std::byte> into);
  absl::StatusOr<std::size_t> ReadFromHost(uint64_t offset, absl::Span<std::byte> into);
  absl::Status Begin(std::optional<SealedBlob> sealed);
  void SetInput(uint32_t kind, uint64_t size_bytes, std::optional<SealedBlob> sealed);

  struct Waiting {
    uint32_t tag;
    std::vector<std::byte> bytes;
  };

  Confined confined_;
  Channel channel_;
  std::vector<std::byte> buffer_;
  std::deque<Waiting> waiting_;  // came while an answer was waited for
  WorkerInput input_;
};

// Does not return after the lock-down: the process ends with exit code 0 where the body gave OK or
// the host has left. Before it, prints the reason why the worker could not be set up and gives the
// exit code for `main`.
int WorkerMain(const WorkerMainOptions& options,
               const std::function<absl::Status(ConfinedWorker& worker)>& body);

}  // namespace parley

#endif  // PARLEY_SUPERVISE_WORKER_MAIN_H_
