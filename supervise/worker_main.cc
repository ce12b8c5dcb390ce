// SPDX-License-Identifier: Apache-2.0
#include "parley/supervise/worker_main.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/time/time.h"
#include "parley/boundary/wire_copy.h"
#include "parley/handshake/connector.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_trust.h"
#include "parley/os/check.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/clone_wire.h"
#include "parley/sandbox/inherited.h"
#include "parley/sandbox/template_main.h"
#include "parley/supervise/link_wire.h"

namespace parley {
namespace {

// For a host that is busy. One that has gone is noticed at once.
constexpr absl::Duration kHandshakeTime = absl::Seconds(60);
constexpr absl::Duration kLastWords = absl::Seconds(10);

bool HostHasLeft(const absl::Status& status) {
  return absl::IsOutOfRange(status) || absl::IsUnavailable(status);
}

absl::StatusOr<std::optional<SealedBlob>> TakeInput() {
  absl::StatusOr<UniqueFd> fd = TakeInheritedFd(internal::kInputVariable);
  if (absl::IsNotFound(fd.status())) return std::nullopt;
  if (!fd.ok()) return fd.status();
  // How large it may be was the host's decision.
  absl::StatusOr<SealedBlob> blob = SealedBlob::Adopt(*std::move(fd), ~uint64_t{0} >> 2);
  if (!blob.ok()) return blob.status();
  return *std::move(blob);
}

// All of this is before the lock-down, so that it can be printed.
int NotSetUp(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return internal::kExitNotSetUp;
}

}  // namespace

absl::StatusOr<std::size_t> WorkerInput::ReadAt(uint64_t offset, absl::Span<std::byte> into) {
  if (streamed_ && !read_) return worker_->ReadFromHost(offset, into);
  const absl::StatusOr<absl::Span<const std::byte>> bytes = Bytes();
  if (!bytes.ok()) return bytes.status();
  if (offset >= bytes->size()) return 0;
  const std::size_t size_bytes = std::min(into.size(), bytes->size() - offset);
  if (size_bytes > 0) std::memcpy(into.data(), bytes->data() + offset, size_bytes);
  return size_bytes;
}

absl::StatusOr<absl::Span<const std::byte>> WorkerInput::Bytes() {
  constexpr std::size_t kStepBytes = std::size_t{1} << 20;
  if (sealed_.has_value()) return sealed_->bytes();
  while (streamed_ && !read_) {
    const std::size_t have_bytes = whole_.size();
    if (size_bytes_ != kUnknownSize) whole_.reserve(size_bytes_);
    whole_.resize(have_bytes + kStepBytes);
    const absl::StatusOr<std::size_t> got =
        worker_->ReadFromHost(have_bytes, absl::MakeSpan(whole_).subspan(have_bytes));
    whole_.resize(have_bytes + (got.ok() ? *got : 0));  // asked again it goes on from here
    if (!got.ok()) return got.status();
    read_ = *got == 0;
  }
  return absl::MakeConstSpan(whole_);
}

absl::Status ConfinedWorker::Send(uint32_t tag, absl::Span<const std::byte> bytes) {
  PARLEY_CHECK(tag <= kMaxWorkerTag, "ConfinedWorker::Send: a tag above kMaxWorkerTag");
  return channel_.sender.Send(tag, bytes, Deadline::Never());
}

absl::StatusOr<absl::Span<std::byte>> ConfinedWorker::Reserve(std::size_t size_bytes) {
  return channel_.sender.Reserve(size_bytes, Deadline::Never());
}

void ConfinedWorker::Commit(uint32_t tag, std::size_t used_bytes) {
  PARLEY_CHECK(tag <= kMaxWorkerTag, "ConfinedWorker::Commit: a tag above kMaxWorkerTag");
  channel_.sender.Commit(tag, used_bytes);
}

absl::StatusOr<Record> ConfinedWorker::ReceiveAny(absl::Span<std::byte> into) {
  if (waiting_.empty()) return channel_.receiver.Receive(into, Deadline::Never());
  const Waiting& first = waiting_.front();
  Record record;
  record.tag = first.tag;
  record.size_bytes = static_cast<uint32_t>(first.bytes.size());
  if (!first.bytes.empty()) std::memcpy(into.data(), first.bytes.data(), first.bytes.size());
  waiting_.pop_front();
  return record;
}

absl::StatusOr<Record> ConfinedWorker::Receive(absl::Span<std::byte> into) {
  const absl::StatusOr<Record> record = ReceiveAny(into);
  if (record.ok() && record->tag > kMaxWorkerTag) {
    return absl::InternalError("the host sent what this worker does not know");
  }
  return record;
}

absl::StatusOr<NumberedRecord> ConfinedWorker::ReceiveNumbered(absl::Span<std::byte> into) {
  const absl::StatusOr<Record> record = ReceiveAny(absl::MakeSpan(buffer_));
  if (!record.ok()) return record.status();
  const auto message = absl::MakeConstSpan(buffer_).first(record->size_bytes);
  internal::NumberedWire wire;
  if (record->tag != internal::kNumberedTag || !ReadWire(message, &wire)) {
    return absl::InternalError("the host sent no numbered message");
  }
  const auto bytes = message.subspan(sizeof(wire));
  PARLEY_CHECK(bytes.size() <= into.size(), "ReceiveNumbered: a buffer below max_message_bytes");
  if (!bytes.empty()) std::memcpy(into.data(), bytes.data(), bytes.size());
  NumberedRecord numbered;
  numbered.record = *record;
  numbered.record.tag = wire.tag;
  numbered.record.size_bytes = static_cast<uint32_t>(bytes.size());
  numbered.number = wire.number;
  numbered.epoch = wire.epoch;
  numbered.duplicate = (wire.flags & internal::kDuplicate) != 0;
  return numbered;
}

absl::Status ConfinedWorker::Acknowledge(const NumberedRecord& message) {
  const internal::AcknowledgedWire wire = {
      .number = message.number, .epoch = message.epoch, .reserved = 0};
  return channel_.sender.Send(internal::kAcknowledgedTag, WireBytes(wire), Deadline::Never());
}

absl::StatusOr<std::size_t> ConfinedWorker::ReadFromHost(uint64_t offset,
                                                         absl::Span<std::byte> into) {
  if (into.empty()) return 0;
  const std::size_t max_bytes =
      channel_.receiver.max_message_bytes() - sizeof(internal::ReadAnswerWire);
  const internal::ReadRequestWire request = {
      .offset = offset,
      .size_bytes = static_cast<uint32_t>(std::min(into.size(), max_bytes)),
      .reserved = 0};
  absl::Status sent =
      channel_.sender.Send(internal::kReadTag, WireBytes(request), Deadline::Never());
  if (!sent.ok()) return sent;
  while (true) {
    const absl::StatusOr<Record> record =
        channel_.receiver.Receive(absl::MakeSpan(buffer_), Deadline::Never());
    if (!record.ok()) return record.status();
    const auto bytes = absl::MakeConstSpan(buffer_).first(record->size_bytes);
    if (record->tag != internal::kReadAnswerTag) {
      waiting_.push_back({record->tag, {bytes.begin(), bytes.end()}});
      continue;
    }
    internal::ReadAnswerWire answer;
    const auto data = bytes.subspan(std::min(bytes.size(), sizeof(answer)));
    if (!ReadWire(bytes, &answer) || answer.size_bytes != data.size() ||
        data.size() > into.size() || answer.offset != offset) {
      return absl::InternalError("the host's answer is none");
    }
    if (answer.failed != 0) return absl::DataLossError("the host cannot read the input");
    if (!data.empty()) std::memcpy(into.data(), data.data(), data.size());
    return data.size();
  }
}

void ConfinedWorker::SetInput(uint32_t kind, uint64_t size_bytes,
                              std::optional<SealedBlob> sealed) {
  input_.size_bytes_ = size_bytes;
  input_.sealed_ = std::move(sealed);
  input_.streamed_ = kind == internal::kStreamedInput;
  input_.read_ = false;
  input_.whole_ = {};
}

absl::Status ConfinedWorker::Begin(std::optional<SealedBlob> sealed) {
  const absl::StatusOr<Record> record = ReceiveAny(absl::MakeSpan(buffer_));
  if (!record.ok()) return record.status();
  internal::BeginWire begin;
  if (record->tag != internal::kBeginTag ||
      !ReadWire(absl::MakeConstSpan(buffer_).first(record->size_bytes), &begin) ||
      (begin.input_kind == internal::kSealedInput) != sealed.has_value()) {
    return absl::InternalError("the host did not begin");
  }
  SetInput(begin.input_kind, begin.input_bytes, std::move(sealed));
  return absl::OkStatus();
}

// One worker's life, or one clone's, after warm_up.
class WorkerProcess {
 public:
  WorkerProcess(const WorkerMainOptions& options,
                const std::function<absl::Status(ConfinedWorker&)>& body)
      : options_(options), body_(body) {}

  // Does not return after the lock-down.
  absl::Status Run() {
    absl::StatusOr<std::optional<SealedBlob>> input = TakeInput();
    if (!input.ok()) return input.status();
    ConnectOptions connect;
    connect.format = options_.format;
    // The host decides; it pays for what it makes.
    connect.limits = {.max_capacity_bytes = kMaxCapacityBytes,
                      .max_message_bytes = uint32_t{1} << 30,
                      .max_arena_bytes = uint64_t{1} << 34};
    connect.trust = PeerTrust::Because("the host that started this worker");
    absl::StatusOr<Channel> channel =
        ConnectInheritedChannel(connect, Deadline::After(kHandshakeTime), options_.wait);
    // The host has the reason, and says it.
    if (IsRefusal(channel.status())) ::_exit(internal::kExitRefused);
    if (!channel.ok()) return channel.status();

    const ChannelDescriptors descriptors = DescriptorsOf(*channel);
    Profile profile = Profile::Ring(descriptors.all);
    for (const int fd : descriptors.eventfds) profile = profile.WithEventfd(fd);
    profile = options_.profile != nullptr ? options_.profile(profile) : profile.ForCodec();
    LockDownOptions lock_down = options_.lock_down;
    lock_down.keep.insert(lock_down.keep.end(), descriptors.all.begin(), descriptors.all.end());
    absl::StatusOr<Confined> confined =
        LockDown(Prepared::After(*input, *channel), profile, lock_down);
    if (!confined.ok()) return confined.status();
    RunConfined(*std::move(confined), *std::move(channel), *std::move(input));
  }

 private:
  [[noreturn]] void RunConfined(Confined confined, Channel channel,
                                std::optional<SealedBlob> input) {
    ConfinedWorker worker(std::move(confined), std::move(channel));
    absl::Status status = worker.Begin(std::move(input));
    bool out_of_memory = false;
    try {
      if (status.ok()) status = body_(worker);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
    if (out_of_memory) ::_exit(internal::kExitOutOfMemory);
    if (!status.ok() && !HostHasLeft(status)) {
      worker.channel_.sender.DropReserved();
      if (!worker.channel_.sender.closed()) SendFailed(worker.channel_.sender, status);
      worker.channel_.sender.Close();
      ::_exit(internal::kExitBodyFailed);
    }
    worker.channel_.sender.Close();
    ::_exit(0);
  }

  static void SendFailed(Sender& sender, const absl::Status& status) {
    const std::string_view text(status.message().data(), status.message().size());
    const std::size_t room_bytes = sender.max_message_bytes() - sizeof(internal::FailedWire);
    const std::size_t text_bytes =
        std::min({text.size(), room_bytes, internal::kMaxFailureTextBytes});
    const internal::FailedWire failed = {.code = static_cast<uint32_t>(status.code()),
                                         .text_bytes = static_cast<uint32_t>(text_bytes)};
    std::vector<std::byte> message(sizeof(failed) + text_bytes);
    const auto header = WireBytes(failed);
    std::memcpy(message.data(), header.data(), header.size());
    if (text_bytes > 0) std::memcpy(message.data() + sizeof(failed), text.data(), text_bytes);
    static_cast<void>(sender.Send(internal::kFailedTag, message, Deadline::After(kLastWords)));
  }

  const WorkerMainOptions& options_;
  const std::function<absl::Status(ConfinedWorker&)>& body_;
};

int WorkerMain(const WorkerMainOptions& options,
               const std::function<absl::Status(ConfinedWorker&)>& body) {
  absl::Status status = options.warm_up != nullptr ? options.warm_up() : absl::OkStatus();
  absl::StatusOr<UniqueFd> template_socket = TakeInheritedFd(internal::kTemplateVariable);
  if (status.ok() && template_socket.ok()) {
    status = ServeClones(*std::move(template_socket), options.in_clone, [&options, &body] {
      ::_exit(NotSetUp(WorkerProcess(options, body).Run()));
    });
  } else if (status.ok()) {
    status = WorkerProcess(options, body).Run();
  }
  return NotSetUp(status);
}

}  // namespace parley
