// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SUPERVISE_WORKER_LINK_H_
#define PARLEY_SUPERVISE_WORKER_LINK_H_

// The host's side of one confined worker, from its start to its end: process, channel, input,
// limits and report in one object. The worker's side is supervise/worker_main.h.
//
//   absl::StatusOr<WorkerLink> link =
//       WorkerLink::Start({.program = {.path = path}, .input = &film}, deadline);
//   if (!link.ok()) return link.status();       // names the step, the program and the reason
//   std::vector<std::byte> buffer(link->max_message_bytes());
//   while (true) {
//     absl::StatusOr<Record> message = link->Receive(absl::MakeSpan(buffer), deadline);
//     if (absl::IsOutOfRange(message.status())) break;   // it has said everything
//     if (!message.ok()) break;                          // End() says what became of it
//     Use(message->tag, absl::MakeConstSpan(buffer).first(message->size_bytes));
//   }
//   WorkerEnd end = link->End(Deadline::After(absl::Seconds(2)));
//
// Start, in this order:
//   1. Starts the program with one end of a socketpair and, if there is one, the sealed input; with
//      its limits, in namespaces where they can be made (sandbox/spawn.h). Or clones it from a
//      template (sandbox/worker_template.h).
//   2. Shakes hands. The worker maps its memory and is warmed up; nothing hostile has run in it.
//   3. Waits for the worker to lock itself down, and asks the kernel whether it did
//      (sandbox/confinement_proof.h). A worker that did not is ended here, with a sentence.
//   4. Only then the channel exists for the caller, and the worker is told to begin: WorkerMain
//      opens the input at that message and not before.
//
// Trust: the worker is hostile from step 4 on. It can stay silent (deadlines), end (End says how),
// lie (kDataLoss) or send any content. It may have eventfds of ours, because it was verified to be
// unable to make them block.
// Threads: one at a time, the one that called Start or one that is outlived by it: the worker dies
// with the thread that started it.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/os/deadline.h"
#include "parley/sandbox/confinement_proof.h"
#include "parley/sandbox/spawn.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/supervise/worker_end.h"
#include "parley/wait/wait_options.h"

namespace parley {

// A program that calls WorkerMain, and what it may use up.
struct WorkerProgram {
  std::string path = {};
  std::string name = {};                    // for reports; the path's last part if empty
  std::vector<std::string> arguments = {};  // argv[1] and on
  std::vector<std::pair<std::string, std::string>> environment = {};
  // Address space of code, libraries, stacks and heap; room for the rings and the input is added.
  uint64_t memory_bytes = uint64_t{2} << 30;
  // Resident memory, where a control group can be made for it (sandbox/memory_group.h): of what it
  // allocates after its lock-down. 0: no limit but the other one. Costs up to tens of milliseconds
  // at the start.
  uint64_t resident_bytes = 0;
  // The rest. `address_space_bytes` and `file_size_bytes` are set from here: nothing is written.
  ResourceLimits limits = {};
  NamespaceOptions namespaces = {};
  int nice = 0;
  // Takes what the worker prints: printable lines, bounded; as SpawnOptions::output.
  std::function<void(std::string_view lines)> output = {};
};

// An input that is read piece by piece, when the worker asks: for what is too large to be held in
// memory, or whose end is not known.
struct InputSource {
  static constexpr uint64_t kUnknownSize = ~uint64_t{0};

  uint64_t size_bytes = kUnknownSize;
  // Copies what lies at `offset` to the front of `into`; how much it was, 0 at the end. Called from
  // within Receive, so that it should not block for long; it must not receive. Empty: there is no
  // such input.
  std::function<absl::StatusOr<std::size_t>(uint64_t offset, absl::Span<std::byte> into)> read;
  // A worker that has read more than this in all is ended: it decides how often it reads what.
  // 0: sixteen times the size, or 1 GiB where that is not known.
  uint64_t max_read_bytes = 0;

  // A regular file, by pread; `fd` outlives the link.
  static absl::StatusOr<InputSource> FromFile(int fd);
};

struct WorkerLinkOptions {
  WorkerProgram program = {};
  // The rings. Zeros: 64 KiB, and messages of up to a quarter of that; a message length alone gets
  // a ring for two of them. Limits of both sides follow from these.
  RingRequest to_worker = {};
  RingRequest from_worker = {};
  // The protocol's name, which the worker has to give as well (WorkerMainOptions::format).
  std::string format = {};
  // The hostile input: one of the two, or none. Outlives the link.
  const SealedBlob* input = nullptr;
  InputSource source = {};
  ConfinementWanted wanted = {};
  WaitOptions wait = {};
};

class WorkerLink {
 public:
  // Errors name the step and the reason, also the one that the worker gave for not being set up. No
  // process is left then. kPermissionDenied: the worker did not confine itself.
  static absl::StatusOr<WorkerLink> Start(WorkerLinkOptions options, Deadline deadline);

  WorkerLink(WorkerLink&&) noexcept;
  WorkerLink& operator=(WorkerLink&&) noexcept;
  // Kills the worker if it still runs.
  ~WorkerLink();

  // The next message of the worker's, copied to the front of `into`, which has at least
  // max_message_bytes(). Serves the worker's reads of a streamed input, and passes on what it
  // prints, meanwhile. Errors as those of Receiver::Receive; kAborted: it gave up and said why;
  // kResourceExhausted: it has read more of its input than it may.
  absl::StatusOr<Record> Receive(absl::Span<std::byte> into, Deadline deadline);
  // One message. tag <= kMaxWorkerTag. Errors as those of Sender::Send; kOutOfRange after End, too.
  absl::Status Send(uint32_t tag, absl::Span<const std::byte> bytes, Deadline deadline);

  // Says that nothing more will be sent to the worker; drops what it still says; waits for its end
  // until `deadline`, and kills it then. Then it is gone, and asked again gives the same answer.
  WorkerEnd End(Deadline deadline);
  // Ends it now. `why` is for the report: "it said nothing for 10s".
  WorkerEnd Kill(std::string why);
  // Ends with kCancelled the Receive that is under way, or the Send that waits for free space; or
  // else the next Receive, whatever lies ready for it, or the next Send that would wait. No message
  // is lost. From any thread and from a signal handler, while the link exists. After the first one
  // an Interrupt of an end of channel() ends no call of the link's.
  void Interrupt() const;
  // Marks a violation that a layer above the channel has found, for the report; ends the channel.
  void Poison(std::string what);

  // For what Receive and Send lack: try calls, peeking, event loops, frames. With a streamed input
  // its receiver is the link's alone.
  Channel& channel();
  const Worker& worker() const;
  uint32_t max_message_bytes() const;
  // Why resident_bytes is not in force, if it was asked for.
  const std::string& no_resident_limit() const;

 private:
  friend class WorkerLinkMaker;
  struct State;
  explicit WorkerLink(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace parley

#endif  // PARLEY_SUPERVISE_WORKER_LINK_H_
