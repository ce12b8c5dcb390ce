// SPDX-License-Identifier: Apache-2.0
#include "parley/supervise/worker_link.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "parley/boundary/wire_copy.h"
#include "parley/handshake/peer_socket.h"
#include "parley/handshake/peer_trust_maker.h"
#include "parley/os/check.h"
#include "parley/os/errors.h"
#include "parley/os/poll.h"
#include "parley/ring/layout.h"
#include "parley/sandbox/memory_group.h"
#include "parley/sandbox/output_relay.h"
#include "parley/sandbox/plain_code.h"
#include "parley/supervise/link_messages.h"
#include "parley/supervise/link_wire.h"
#include "parley/supervise/worker_link_maker.h"

namespace parley {
namespace {

using internal::EndFacts;

// How often what the worker prints is passed on while nothing comes over the channel.
constexpr absl::Duration kSlice = absl::Milliseconds(100);
// For a process that was killed, or whose handshake failed, to be gone.
constexpr absl::Duration kGoodbye = absl::Seconds(2);
constexpr uint64_t kUsualRingBytes = uint64_t{64} << 10;
constexpr uint64_t kReadsOfUnknownSize = uint64_t{1} << 30;
constexpr uint64_t kReadsOfEachByte = 16;

RingRequest Ring(const RingRequest& asked) {
  RingRequest ring = asked;
  if (ring.capacity_bytes == 0) {
    const uint64_t two = 2 * (uint64_t{ring.max_message_bytes} + kRecordHeaderBytes);
    ring.capacity_bytes = std::max(kUsualRingBytes, std::bit_ceil(two));
  }
  if (ring.max_message_bytes == 0) {
    ring.max_message_bytes =
        static_cast<uint32_t>(std::min<uint64_t>(ring.capacity_bytes / 4, uint64_t{64} << 20));
  }
  return ring;
}

std::string NameOf(const WorkerProgram& program) {
  if (!program.name.empty()) return program.name;
  return program.path.substr(program.path.rfind('/') + 1);
}

absl::Status Because(const absl::Status& status, const std::string& what) {
  return absl::Status(status.code(), what);
}

}  // namespace

absl::StatusOr<InputSource> InputSource::FromFile(int fd) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return ErrnoStatus(errno, "look at the input");
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError("the input is no regular file");
  InputSource source;
  source.size_bytes = static_cast<uint64_t>(info.st_size);
  source.read = [fd](uint64_t offset, absl::Span<std::byte> into) -> absl::StatusOr<std::size_t> {
    constexpr auto kMaxOffset = uint64_t{1} << 62;
    if (offset >= kMaxOffset) return 0;
    while (true) {
      const ssize_t got = ::pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno != EINTR) return ErrnoStatus(errno, "read the input");
    }
  };
  return source;
}

struct WorkerLink::State {
  State(std::string name_of_it, Worker started, Channel shaken)
      : name(std::move(name_of_it)), worker(std::move(started)), channel(std::move(shaken)) {}

  // Ends the worker while all of this is there for the function that takes its output.
  ~State() { const Worker last = std::move(worker); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  std::string name;
  // Before the worker, whose end it waits for.
  std::optional<MemoryGroup> memory;
  uint64_t resident_bytes = 0;
  std::string no_resident_limit;
  Worker worker;
  Channel channel;
  InputSource source;
  uint64_t may_read_bytes = 0;
  bool read_too_much = false;
  bool in_read = false;  // InputSource::read is running
  int64_t relayed_until_ns = 0;
  EndFacts facts;
  std::vector<std::byte> answer;  // to a read
  std::size_t unsent_answer_bytes = 0;
  std::optional<uint64_t> job;  // of a pool: the number of the one that is under way
  std::optional<absl::Status> job_outcome;
  uint32_t epoch = 0;  // of a worker that is restarted; 0: of none
  uint64_t acknowledged = 0;
  uint64_t first_numbered = 0;  // of this epoch
  uint64_t last_numbered = 0;
  std::optional<WorkerEnd> ended;
  // An interrupt that has ended nothing yet. The wake of an end would not do for it: only a wait
  // asks that, and a worker that floods keeps Receive from one.
  std::atomic<bool> interrupted{false};
  std::atomic<bool> waits_to_send{false};  // so that an interrupt wakes the sender
  // One has ended a call. Its wake of either end may still be there, or come: from now on a wake
  // without `interrupted` is none. Before that it is our caller's, who woke the end by itself.
  bool was_interrupted = false;

  //   interrupter                            the link's thread, before it waits
  //     1. sets `interrupted`                  1. sets `waits_to_send`, if it is to send
  //     2. wakes the receiver                  2. asks `interrupted`
  //     3. `waits_to_send`: the sender, too    3. waits
  // One of the two sees the other. A wait of our caller's own for the sender is left alone: but for
  // an interrupt that found a call of ours waiting, and came to step 3 when that had ended.
  void Interrupt() {
    interrupted.store(true, std::memory_order_seq_cst);  // PAIRS WITH: TakeInterrupt
    channel.receiver.Interrupt();
    // PAIRS WITH: SendOrBeInterrupted.
    if (waits_to_send.load(std::memory_order_seq_cst)) channel.sender.Interrupt();
  }
  // True: there was one, and the present call ends with kCancelled.
  bool TakeInterrupt() {
    // PAIRS WITH: Interrupt.
    if (!interrupted.exchange(false, std::memory_order_seq_cst)) return false;
    was_interrupted = true;
    return true;
  }
  // After an end said kCancelled, which took its wake.
  bool WakeCounts() { return TakeInterrupt() || !was_interrupted; }

  void LimitResident(uint64_t limit_bytes);
  absl::Status OnOwn(const Record& record, absl::Span<const std::byte> message, Deadline deadline);
  absl::Status Answer(const internal::ReadRequest& request, Deadline deadline);
  // What is left to be said before anything else is heard; an error stays one. A worker that takes
  // no more, or to which nothing more is said, goes without its answer.
  absl::Status Settle(Deadline deadline);
  // A worker that ended may have had our end closed by End, at any time.
  absl::Status SendUnlessClosed(uint32_t tag, absl::Span<const std::byte> bytes,
                                Deadline deadline) {
    if (channel.sender.closed()) return absl::OutOfRangeError("nothing more is sent to the worker");
    return SendOrBeInterrupted(tag, bytes, deadline);
  }
  // An interrupt ends it where it waits for free space.
  absl::Status SendOrBeInterrupted(uint32_t tag, absl::Span<const std::byte> bytes,
                                   Deadline deadline);
  absl::Status Lied() {
    channel.receiver.Poison(Violation::kMetadataInvalid);
    return absl::DataLossError(absl::StrCat(name, " sent what is no message of a worker's"));
  }
  // After the process has ended, or at a kill: what is still to be read of its own words.
  void LookForItsWords();
  WorkerEnd Merge(const std::optional<ExitReport>& report) {
    if (facts.violation == Violation::kNone) facts.violation = channel.receiver.violation();
    if (facts.violation == Violation::kNone) facts.violation = channel.sender.violation();
    facts.last_line = worker.last_line();
    if (memory.has_value() && memory->Kills() > 0) facts.resident_bytes = resident_bytes;
    return internal::MergeEnd(name, report, facts);
  }
};

WorkerLink::WorkerLink(std::unique_ptr<State> state) : state_(std::move(state)) {}
WorkerLink::WorkerLink(WorkerLink&&) noexcept = default;
WorkerLink& WorkerLink::operator=(WorkerLink&&) noexcept = default;

SpawnOptions internal::SpawnOptionsOf(const WorkerLinkOptions& options, UniqueFd socket) {
  const WorkerProgram& program = options.program;
  SpawnOptions spawn;
  spawn.program = program.path;
  spawn.name = NameOf(program);
  spawn.arguments = program.arguments;
  spawn.environment = program.environment;
  if (kSanitizer) spawn.environment_from_ours = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"};
  spawn.descriptors.push_back(InheritedDescriptor::Give(std::move(socket), kSocketVariable));
  if (options.input != nullptr) {
    spawn.descriptors.push_back(InheritedDescriptor::Lend(options.input->fd(), kInputVariable));
  }
  spawn.limits = LimitsOf(options);
  spawn.output = program.output;
  spawn.namespaces = program.namespaces;
  spawn.nice = program.nice;
  return spawn;
}

ResourceLimits internal::LimitsOf(const WorkerLinkOptions& options) {
  ResourceLimits limits = options.program.limits;
  // Each ring's data are mapped twice.
  limits.address_space_bytes =
      options.program.memory_bytes + 2 * Ring(options.to_worker).capacity_bytes +
      2 * Ring(options.from_worker).capacity_bytes + options.from_worker.arena.bytes +
      (options.input != nullptr ? options.input->size_bytes() : 0);
  limits.file_size_bytes = 0;
  return limits;
}

void internal::HeldOutput::PassOn() {
  holds = false;
  if (!lines.empty()) sink(lines);
  lines.clear();
}

std::shared_ptr<internal::HeldOutput> internal::HoldOutput(WorkerProgram* program) {
  auto held = std::make_shared<HeldOutput>();
  held->sink =
      program->output != nullptr ? std::move(program->output) : WriteToStderrWithoutBlocking;
  // Bounded by what is relayed of a worker at all.
  program->output = [held](std::string_view lines) {
    if (held->holds) {
      held->lines += lines;
    } else {
      held->sink(lines);
    }
  };
  return held;
}

absl::Status internal::CheckLinkOptions(const WorkerLinkOptions& options) {
  if (options.input != nullptr && options.source.read != nullptr) {
    return absl::InvalidArgumentError(
        "WorkerLinkOptions: both `input` and `source` are set; allowed: one of them, or none");
  }
  if (options.program.path.empty()) {
    return absl::InvalidArgumentError("WorkerLinkOptions::program.path is empty");
  }
  if (options.to_worker.arena.bytes != 0) {
    return absl::InvalidArgumentError(
        "WorkerLinkOptions::to_worker.arena is set; allowed: an arena from the worker only");
  }
  return absl::OkStatus();
}

void WorkerLink::State::LimitResident(uint64_t limit_bytes) {
  static std::atomic<uint64_t> next_number{0};
  if (limit_bytes == 0) return;
  constexpr uint64_t kMax = uint64_t{1} << 62;
  absl::StatusOr<MemoryGroup> group =
      MemoryGroup::Create(absl::StrCat("worker-", ::getpid(), "-", next_number.fetch_add(1)),
                          static_cast<int64_t>(std::min(limit_bytes, kMax)));
  const absl::Status status = group.ok() ? group->Add(worker.pid()) : group.status();
  if (!status.ok()) {
    no_resident_limit = std::string(status.message());
    return;
  }
  memory.emplace(*std::move(group));
  resident_bytes = limit_bytes;
}

// Everything between a process that was started and a link that its user may have.
absl::StatusOr<WorkerLink> WorkerLinkMaker::Make(const WorkerLinkOptions& options, Worker worker,
                                                 PeerSocket socket, Deadline deadline,
                                                 internal::HeldOutput& output) {
  const std::string name = worker.name();
  AcceptOptions accept;
  accept.send = Ring(options.to_worker);
  accept.receive = Ring(options.from_worker);
  accept.limits.max_capacity_bytes =
      std::max(accept.send.capacity_bytes, accept.receive.capacity_bytes);
  accept.limits.max_message_bytes =
      std::max(accept.send.max_message_bytes, accept.receive.max_message_bytes);
  accept.limits.max_arena_bytes =
      std::max(accept.limits.max_arena_bytes, accept.receive.arena.bytes);
  accept.format = options.format;
  accept.peer_pidfd = worker.pidfd();
  // The handshake puts this into effect; nothing is signalled, received or waited for over the
  // channel before VerifyConfined has its answer, and without one the channel is never used.
  accept.trust = internal::PeerTrustMaker::ConfinedBy(
      absl::StrCat(name, ": verified by supervise before the channel's first use"));
  if (!options.format.empty()) {
    accept.check_format = [wanted = options.format](const std::string& format) {
      return format == wanted
                 ? absl::OkStatus()
                 : absl::InvalidArgumentError("it speaks another protocol than '" + wanted + "'");
    };
  }
  absl::StatusOr<Channel> channel =
      AcceptChannel(std::move(socket), accept, deadline, options.wait);
  if (!channel.ok()) return NotStarted(name, worker, channel.status(), output);
  const absl::StatusOr<ConfinementProof> proof = AwaitConfined(worker, deadline, options.wanted);
  if (!proof.ok()) {
    return absl::IsFailedPrecondition(proof.status())
               ? NotStarted(name, worker, proof.status(), output)
               : proof.status();
  }

  auto state = std::make_unique<WorkerLink::State>(name, std::move(worker), *std::move(channel));
  state->source = options.source;
  const bool streamed = options.source.read != nullptr;
  const uint64_t size_bytes = options.source.size_bytes;
  const bool known = size_bytes != InputSource::kUnknownSize;
  state->may_read_bytes = options.source.max_read_bytes;
  if (state->may_read_bytes == 0) {
    state->may_read_bytes =
        known ? kReadsOfEachByte * std::min(size_bytes, kReadsOfUnknownSize << 20) + (1 << 20)
              : kReadsOfUnknownSize;
  }
  state->LimitResident(options.program.resident_bytes);
  const internal::BeginWire begin = {.input_bytes = options.input != nullptr
                                                        ? options.input->size_bytes()
                                                    : streamed ? size_bytes
                                                               : 0,
                                     .input_kind = options.input != nullptr ? internal::kSealedInput
                                                   : streamed ? internal::kStreamedInput
                                                              : internal::kNoInput,
                                     .reserved = 0};
  const absl::Status begun =
      state->channel.sender.Send(internal::kBeginTag, WireBytes(begin), deadline);
  if (!begun.ok()) return begun;
  output.PassOn();
  return WorkerLink(std::move(state));
}

// The reason of a worker that is not there, as far as it can be had.
absl::Status WorkerLinkMaker::NotStarted(const std::string& name, Worker& worker,
                                         const absl::Status& status, internal::HeldOutput& output) {
  // It may have died of its own trouble, and said so. Nothing hostile has run in it yet.
  const absl::StatusOr<ExitReport> report = worker.Wait(Deadline::After(kGoodbye));
  if (!report.ok() || report->exit_code == internal::kExitRefused) {
    return Because(status,
                   absl::StrCat("no handshake with ", name, ": ", std::string(status.message())));
  }
  EndFacts facts;
  facts.last_line = worker.last_line();
  if (report->exit_code != internal::kExitNotSetUp) output.PassOn();
  return absl::UnavailableError(internal::MergeEnd(name, *report, facts).ToString() +
                                (report->exit_code == internal::kExitNotSetUp
                                     ? ""
                                     : absl::StrCat("; ", std::string(status.message()))));
}

absl::StatusOr<WorkerLink> WorkerLink::Start(WorkerLinkOptions options, Deadline deadline) {
  if (absl::Status status = internal::CheckLinkOptions(options); !status.ok()) return status;
  auto sockets = PeerSocket::Pair();
  if (!sockets.ok()) return sockets.status();
  const auto output = internal::HoldOutput(&options.program);
  absl::StatusOr<Worker> worker =
      Spawn(internal::SpawnOptionsOf(options, std::move(sockets->second).Release()));
  if (!worker.ok()) return worker.status();
  return WorkerLinkMaker::Make(options, *std::move(worker), std::move(sockets->first), deadline,
                               *output);
}

WorkerLink::~WorkerLink() = default;

void WorkerLink::State::LookForItsWords() {
  // The process can add nothing any more, and a copy of it that lives on, nothing that is looked
  // at: no more records than fit into the ring.
  PeekedMessage message;
  uint64_t left = channel.receiver.capacity_bytes() / kRecordHeaderBytes;
  while (!facts.said.has_value() && left-- > 0 &&
         channel.receiver.TryPeek(&message) == Outcome::kOk) {
    if (message.record.tag == internal::kFailedTag &&
        message.record.size_bytes <=
            internal::kMaxFailureTextBytes + sizeof(internal::FailedWire)) {
      std::vector<std::byte> bytes(message.record.size_bytes);
      message.view.CopyTo(0, absl::MakeSpan(bytes));
      facts.said = internal::ParseFailed(bytes);
    }
    channel.receiver.Release();
  }
}

absl::Status WorkerLink::State::Answer(const internal::ReadRequest& request, Deadline deadline) {
  internal::ReadAnswerWire header = {.offset = request.offset, .size_bytes = 0, .failed = 0};
  answer.resize(sizeof(header) + request.size_bytes);
  if (request.size_bytes > may_read_bytes) {
    read_too_much = true;
    return Settle(deadline);
  }
  may_read_bytes -= request.size_bytes;
  in_read = true;
  const absl::StatusOr<std::size_t> got =
      source.read(request.offset, absl::MakeSpan(answer).subspan(sizeof(header)));
  in_read = false;
  header.failed = got.ok() ? 0 : 1;
  header.size_bytes = got.ok() ? static_cast<uint32_t>(*got) : 0;
  PARLEY_CHECK(header.size_bytes <= request.size_bytes, "InputSource::read gave more than asked");
  const auto bytes = WireBytes(header);
  std::memcpy(answer.data(), bytes.data(), bytes.size());
  unsent_answer_bytes = sizeof(header) + header.size_bytes;
  return Settle(deadline);
}

absl::Status WorkerLink::State::SendOrBeInterrupted(uint32_t tag, absl::Span<const std::byte> bytes,
                                                    Deadline deadline) {
  Sender& sender = channel.sender;
  const Outcome outcome = sender.TrySend(tag, bytes);
  if (outcome == Outcome::kOk) return absl::OkStatus();
  if (outcome != Outcome::kWouldBlock) return sender.Send(tag, bytes, deadline);
  while (true) {
    // Else the interrupt is for the next call.
    const bool waits = !deadline.Expired();
    waits_to_send.store(waits, std::memory_order_seq_cst);  // PAIRS WITH: Interrupt
    const bool taken = waits && TakeInterrupt();
    absl::Status sent =
        taken ? absl::CancelledError("interrupted") : sender.Send(tag, bytes, deadline);
    waits_to_send.store(false, std::memory_order_seq_cst);  // PAIRS WITH: Interrupt
    if (taken || !absl::IsCancelled(sent)) return sent;
    if (waits ? WakeCounts() : !was_interrupted) return sent;
  }
}

absl::Status WorkerLink::State::Settle(Deadline deadline) {
  if (read_too_much) {
    return absl::ResourceExhaustedError(
        absl::StrCat(name, " has read more of its input than it may"));
  }
  if (facts.said.has_value()) {
    return absl::AbortedError(absl::StrCat(name, " gave up: ", std::string(facts.said->message())));
  }
  if (unsent_answer_bytes == 0) return absl::OkStatus();
  // Our caller fills a message of its own: after that.
  if (channel.sender.reserved()) return absl::OkStatus();
  if (!channel.sender.closed()) {
    const absl::Status sent = SendOrBeInterrupted(
        internal::kReadAnswerTag, absl::MakeConstSpan(answer).first(unsent_answer_bytes), deadline);
    // It waits for that: at the deadline, or an interrupt, it is kept for the next call.
    if (absl::IsDeadlineExceeded(sent) || absl::IsCancelled(sent)) return sent;
    // Any other end is the receiver's to tell, after what the worker has said.
  }
  unsent_answer_bytes = 0;
  return absl::OkStatus();
}

absl::Status WorkerLink::State::OnOwn(const Record& record, absl::Span<const std::byte> message,
                                      Deadline deadline) {
  if (record.tag == internal::kReadTag && source.read != nullptr) {
    const std::size_t max_bytes =
        channel.sender.max_message_bytes() - sizeof(internal::ReadAnswerWire);
    const auto request = internal::ParseRead(message, max_bytes);
    return request.has_value() ? Answer(*request, deadline) : Lied();
  }
  if (record.tag == internal::kJobDoneTag && job.has_value()) {
    job_outcome = internal::ParseJobDone(message, *job);
    if (!job_outcome.has_value()) return Lied();
    job.reset();
    return absl::OutOfRangeError("the job is done");
  }
  if (record.tag == internal::kAcknowledgedTag && epoch != 0 && last_numbered != 0) {
    const auto number = internal::ParseAcknowledged(
        message, epoch, std::max(acknowledged + 1, first_numbered), last_numbered);
    if (!number.has_value()) return Lied();
    acknowledged = *number;
    return absl::OkStatus();
  }
  if (record.tag == internal::kFailedTag) {
    facts.said = internal::ParseFailed(message);
    return facts.said.has_value() ? Settle(deadline) : Lied();
  }
  return Lied();
}

absl::StatusOr<Record> WorkerLink::Receive(absl::Span<std::byte> into, Deadline deadline) {
  State& state = *state_;
  PARLEY_CHECK(!state.in_read, "WorkerLink::Receive from within InputSource::read");
  if (absl::Status settled = state.Settle(deadline); !settled.ok()) return settled;
  while (true) {
    if (state.TakeInterrupt()) return absl::CancelledError("interrupted");
    const Deadline slice = Deadline::After(kSlice);
    if (slice.monotonic_ns() >= state.relayed_until_ns) {
      state.worker.RelayOutput();
      state.relayed_until_ns = slice.monotonic_ns() + absl::ToInt64Nanoseconds(kSlice);
    }
    const absl::StatusOr<Record> message = state.channel.receiver.Receive(into, deadline.Or(slice));
    if (absl::IsDeadlineExceeded(message.status()) && !deadline.Expired()) continue;
    if (absl::IsCancelled(message.status()) && !state.WakeCounts()) continue;
    if (!message.ok() || message->tag <= kMaxWorkerTag) return message;
    if (absl::Status status = state.OnOwn(*message, into.first(message->size_bytes), deadline);
        !status.ok()) {
      return status;
    }
    // A worker that goes on asking gets no more than the caller's time.
    if (deadline.Expired()) return absl::DeadlineExceededError("no message by the deadline");
  }
}

absl::Status WorkerLink::Send(uint32_t tag, absl::Span<const std::byte> bytes, Deadline deadline) {
  PARLEY_CHECK(tag <= kMaxWorkerTag, "WorkerLink::Send: a tag above kMaxWorkerTag");
  return state_->SendUnlessClosed(tag, bytes, deadline);
}

WorkerEnd WorkerLink::End(Deadline deadline) {
  State& state = *state_;
  if (state.ended.has_value()) return *state.ended;
  if (state.in_read) return Kill("it was ended while it read its input");
  state.channel.sender.Close();
  // What it still says is dropped, so that it is not stuck in a send.
  std::vector<std::byte> dropped(max_message_bytes());
  while (!deadline.Expired()) {
    const absl::StatusOr<Record> message = Receive(absl::MakeSpan(dropped), deadline);
    // An interrupt is for a Receive of our caller's.
    if (!message.ok() && !absl::IsCancelled(message.status())) break;
  }
  const bool lied = state.channel.receiver.violation() != Violation::kNone;
  if (lied) return Kill("it broke the protocol");
  absl::StatusOr<ExitReport> report = state.worker.Wait(deadline);
  if (!report.ok()) return Kill("it did not end in time");
  state.LookForItsWords();
  state.ended = state.Merge(*report);
  return *state.ended;
}

WorkerEnd WorkerLink::Kill(std::string why) {
  State& state = *state_;
  if (state.ended.has_value()) return *state.ended;
  state.facts.killed = std::move(why);
  state.worker.Kill();
  const absl::StatusOr<ExitReport> report = state.worker.Wait(Deadline::After(kGoodbye));
  state.LookForItsWords();
  state.ended = state.Merge(report.ok() ? std::optional<ExitReport>(*report) : std::nullopt);
  return *state.ended;
}

void WorkerLink::Poison(std::string what) {
  state_->facts.violation_text = std::move(what);
  state_->channel.receiver.Poison(Violation::kMetadataInvalid);
}

void WorkerLink::Interrupt() const { state_->Interrupt(); }

absl::Status WorkerLinkMaker::BeginJob(WorkerLink& link, uint64_t number, const SealedBlob* input,
                                       bool in_place, const std::string& request,
                                       Deadline deadline) {
  WorkerLink::State& state = *link.state_;
  const bool streamed = input != nullptr && !in_place;
  state.source = {};
  if (streamed) {
    state.source.size_bytes = input->size_bytes();
    state.source.read = [bytes = input->bytes()](uint64_t offset, absl::Span<std::byte> into) {
      const std::size_t size_bytes =
          offset >= bytes.size() ? 0 : std::min<std::size_t>(into.size(), bytes.size() - offset);
      if (size_bytes > 0) std::memcpy(into.data(), bytes.data() + offset, size_bytes);
      return absl::StatusOr<std::size_t>(size_bytes);
    };
    state.may_read_bytes = kReadsOfEachByte * input->size_bytes() + (1 << 20);
  }
  const internal::JobWire job = {.number = number,
                                 .input_bytes = input != nullptr ? input->size_bytes() : 0,
                                 .input_kind = input == nullptr ? internal::kNoInput
                                               : streamed       ? internal::kStreamedInput
                                                                : internal::kSealedInput,
                                 .request_bytes = static_cast<uint32_t>(request.size())};
  const auto header = WireBytes(job);
  std::vector<std::byte> message(header.begin(), header.end());
  for (const char c : request) message.push_back(static_cast<std::byte>(c));
  state.job = number;
  state.job_outcome.reset();
  return state.SendOrBeInterrupted(internal::kJobTag, message, deadline);
}

void WorkerLinkMaker::ForgetInterrupt(WorkerLink& link) {
  static_cast<void>(link.state_->TakeInterrupt());
}

std::optional<absl::Status> WorkerLinkMaker::JobOutcome(const WorkerLink& link) {
  return link.state_->job_outcome;
}

void WorkerLinkMaker::ExpectAcknowledgements(WorkerLink& link, uint32_t epoch) {
  link.state_->epoch = epoch;
}

absl::Status WorkerLinkMaker::SendNumbered(WorkerLink& link, uint64_t number,
                                           absl::Span<const std::byte> message, Deadline deadline) {
  WorkerLink::State& state = *link.state_;
  // Our caller fills a message of its own: after that.
  if (state.channel.sender.reserved()) return absl::DeadlineExceededError("a message is reserved");
  const absl::Status sent = state.SendUnlessClosed(internal::kNumberedTag, message, deadline);
  if (!sent.ok()) return sent;
  if (state.first_numbered == 0) state.first_numbered = number;
  state.last_numbered = number;
  return sent;
}

uint64_t WorkerLinkMaker::Acknowledged(const WorkerLink& link) { return link.state_->acknowledged; }

const std::string& WorkerLink::no_resident_limit() const { return state_->no_resident_limit; }
Channel& WorkerLink::channel() { return state_->channel; }
const Worker& WorkerLink::worker() const { return state_->worker; }
uint32_t WorkerLink::max_message_bytes() const {
  return state_->channel.receiver.max_message_bytes();
}

}  // namespace parley
