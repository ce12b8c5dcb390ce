// SPDX-License-Identifier: Apache-2.0

// The host of a worker that gets jobs, the two ends of requests, and one that makes a file of a
// stream, as users of supervise/, patterns/request and `parley recv` have them.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/boundary/violation.h"
#include "parley/channel/channel.h"
#include "parley/cli/stream_protocol.h"
#include "parley/cli/stream_receiver.h"
#include "parley/media/format.h"
#include "parley/os/deadline.h"
#include "parley/patterns/request/request.h"
#include "parley/sandbox/start_process.h"
#include "parley/sandbox/worker_maker.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/supervise/converse.h"
#include "parley/supervise/worker_link.h"
#include "parley/supervise/worker_link_maker.h"
#include "parley/villain/victims.h"

namespace parley::villain {
namespace {

Deadline InMs(int64_t ms) { return Deadline::After(absl::Milliseconds(ms)); }

pid_t PidOf(int pidfd) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(pidfd));
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("Pid:", 0) == 0) return static_cast<pid_t>(std::stol(line.substr(4)));
  }
  return -1;
}

bool IsPrintable(const std::string& text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  }
  return true;
}

// The attacker as a worker that Spawn has started; it takes off what it may not have by itself.
absl::StatusOr<WorkerLink> LinkTo(Victim& victim) {
  auto socket = PeerSocket::Adopt(std::move(victim.socket));
  if (!socket.ok()) return socket.status();
  internal::StartedProcess process;
  process.pid = PidOf(victim.peer_pidfd);
  process.pidfd.Reset(::fcntl(victim.peer_pidfd, F_DUPFD_CLOEXEC, 3));
  Worker worker = WorkerMaker::Make("worker", std::move(process), std::nullopt, std::nullopt);
  WorkerLinkOptions options;
  options.program.path = "/worker";
  const auto output = internal::HoldOutput(&options.program);
  const Deadline deadline = Deadline::After(victim.setup.handshake);
  Call call(victim.notes, "WorkerLink", deadline, CallKind::kSetUp);
  return WorkerLinkMaker::Make(options, std::move(worker), *std::move(socket), deadline, *output);
}

// How a job's result that is the worker's end looks to the one who watches.
End EndOf(const JobResult& result, WorkerLink& link) {
  switch (result.outcome) {
    case JobResult::Outcome::kOutOfTime:
      return End::kTimedOut;
    case JobResult::Outcome::kTooMuchOutput:
      return End::kPoisoned;
    case JobResult::Outcome::kWorkerEnded:
      break;
    default:
      return End::kWrong;
  }
  if (link.channel().receiver.violation() != Violation::kNone) {
    return End::kPoisoned;
  }
  return absl::StrContains(result.what, "has read more") ? End::kPoisoned : End::kStreamEnded;
}

}  // namespace

void RunJobs(Victim& victim) {
  absl::StatusOr<WorkerLink> link = LinkTo(victim);
  if (!link.ok()) {
    victim.notes.Finish(End::kRefused, link.status().ToString());
    return;
  }
  JobOptions job;
  const std::vector<std::byte> input(kVictimInputBytes, std::byte{1});
  auto blob = SealedBlob::Create(input);
  if (!blob.ok()) {
    victim.notes.Finish(End::kWrong, blob.status().ToString());
    return;
  }
  job.input = std::make_shared<const SealedBlob>(*std::move(blob));
  job.request = "picture";
  JobLimits limits;
  limits.wall_time = absl::Milliseconds(kVictimJobMs);
  limits.output_bytes = 1'000'000;
  for (uint64_t number = 1; victim.notes.enough.load() == 0; ++number) {
    JobResult result;
    {
      Call call(victim.notes, "a job", InMs(kVictimJobMs), CallKind::kSetUp);
      result = internal::Converse(*link, number, job, limits, false);
    }
    if (!IsPrintable(result.what)) {
      victim.notes.Finish(End::kWrong, "control characters in what is said of a job");
      return;
    }
    if (result.done() || result.outcome == JobResult::Outcome::kFailed) continue;
    const End end = EndOf(result, *link);
    Call call(victim.notes, "Kill", InMs(2000), CallKind::kSetUp);
    static_cast<void>(link->Kill(result.what));
    victim.notes.Finish(end, result.what);
    return;
  }
  victim.notes.Finish(End::kServed, "until the end of the attack");
}

namespace {

// Nothing while the session goes on.
std::optional<End> EndOf(const absl::Status& status) {
  if (status.ok() || absl::IsDeadlineExceeded(status)) return std::nullopt;
  if (absl::IsDataLoss(status)) return End::kPoisoned;
  if (absl::IsUnavailable(status)) return End::kPeerGone;
  if (absl::IsOutOfRange(status)) return End::kStreamEnded;
  return End::kWrong;
}

void Serve(Victim& victim, RequestServer& server) {
  std::vector<std::byte> into(server.max_request_bytes());
  while (victim.notes.enough.load() == 0) {
    absl::StatusOr<Request> request;
    {
      Call call(victim.notes, "Take", InMs(30));
      request = server.Take(absl::MakeSpan(into), call.deadline());
    }
    if (request.ok()) {
      victim.notes.messages.fetch_add(1);
      const auto answer = absl::MakeConstSpan(into).first(
          std::min(request->size_bytes, server.max_response_bytes()));
      absl::Status sent = absl::DeadlineExceededError("");
      // It stays to be answered, and nothing else is done before.
      while (absl::IsDeadlineExceeded(sent) && victim.notes.enough.load() == 0) {
        Call call(victim.notes, "Respond", InMs(30));
        sent = server.Respond(request->id, kRequestDone, answer, call.deadline());
      }
      if (absl::IsDeadlineExceeded(sent)) break;
      if (const auto end = EndOf(sent)) return victim.notes.Finish(*end, sent.ToString());
    } else if (const auto end = EndOf(request.status())) {
      return victim.notes.Finish(*end, request.status().ToString());
    }
  }
  victim.notes.Finish(End::kServed, "until the end of the attack");
}

void Ask(Victim& victim, RequestClient& client) {
  const std::vector<std::byte> question(100, std::byte{2});
  std::vector<std::byte> into(client.max_response_bytes());
  while (victim.notes.enough.load() == 0) {
    absl::StatusOr<Response> response;
    {
      Call call(victim.notes, "RequestClient::Call", InMs(30));
      response = client.Call(3, question, absl::MakeSpan(into), call.deadline());
    }
    if (response.ok()) {
      victim.notes.messages.fetch_add(2);
    } else if (absl::IsResourceExhausted(response.status())) {
      ::usleep(5000);  // the server holds all places; it can do no more
    } else if (const auto end = EndOf(response.status())) {
      return victim.notes.Finish(*end, response.status().ToString());
    }
  }
  victim.notes.Finish(End::kServed, "until the end of the attack");
}

absl::StatusOr<Channel> Accept(Victim& victim, uint64_t ring_bytes, uint32_t message_bytes) {
  auto socket = PeerSocket::Adopt(std::move(victim.socket));
  if (!socket.ok()) return socket.status();
  AcceptOptions options;
  options.send = {ring_bytes, message_bytes};
  options.receive = {ring_bytes, message_bytes};
  options.peer_pidfd = victim.peer_pidfd;
  Call call(victim.notes, "AcceptChannel", Deadline::After(victim.setup.handshake),
            CallKind::kSetUp);
  return AcceptChannel(*std::move(socket), options, call.deadline());
}

}  // namespace

void RunRequests(Victim& victim) {
  absl::StatusOr<Channel> channel = Accept(victim, 8192, 2048);
  if (!channel.ok()) return victim.notes.Finish(End::kRefused, channel.status().ToString());
  constexpr RequestOptions kRequests = {.max_outstanding = kVictimRequests};
  if (victim.setup.kind == VictimKind::kRequestServer) {
    auto server = RequestServer::Create(*std::move(channel), kRequests);
    if (!server.ok()) return victim.notes.Finish(End::kWrong, server.status().ToString());
    Serve(victim, *server);
  } else {
    auto client = RequestClient::Create(*std::move(channel), kRequests);
    if (!client.ok()) return victim.notes.Finish(End::kWrong, client.status().ToString());
    Ask(victim, *client);
  }
}

std::string WrongFile(const std::string& kind, const std::string& file, uint64_t lines) {
  const auto times = [&](const std::string& text) {
    uint64_t count = 0;
    for (std::size_t at = file.find(text); at != std::string::npos; at = file.find(text, at + 1)) {
      ++count;
    }
    return count;
  };
  if (kind == "lines" && times("\n") > lines) return "a line that nobody sent";
  if (kind == "y4m" && times("YUV4MPEG2 ") > 1) return "a second header in a file";
  if (kind == "nut" && times("nut/multimedia container") > 1) return "a second header in a file";
  return "";
}

void RunStream(Victim& victim) {
  absl::StatusOr<Channel> channel = Accept(victim, 1 << 18, 1 << 17);
  if (!channel.ok()) return victim.notes.Finish(End::kRefused, channel.status().ToString());
  std::string file;
  cli::StreamReceiver stream(*cli::StreamKindFromName(victim.setup.stream), FormatLimits{},
                             uint64_t{1} << 20, [&file](absl::Span<const std::byte> bytes) {
                               for (const std::byte byte : bytes)
                                 file.push_back(static_cast<char>(byte));
                               return absl::OkStatus();
                             });
  std::vector<std::byte> into(channel->receiver.max_message_bytes());
  absl::Status status;
  while (status.ok() && victim.notes.enough.load() == 0) {
    absl::StatusOr<Record> record;
    {
      Call call(victim.notes, "Receive", InMs(30));
      record = channel->receiver.Receive(absl::MakeSpan(into), call.deadline());
    }
    if (record.ok()) {
      victim.notes.messages.fetch_add(1);
      Call call(victim.notes, "OnMessage", InMs(30));
      status = stream.OnMessage(record->tag, absl::MakeConstSpan(into).first(record->size_bytes));
    } else if (!absl::IsDeadlineExceeded(record.status())) {
      status = record.status();
    }
  }
  const uint64_t lines = victim.setup.stream == "lines" ? stream.messages() : 0;
  const std::string wrong = WrongFile(victim.setup.stream, file, lines);
  if (!wrong.empty()) return victim.notes.Finish(End::kWrong, wrong);
  if (absl::IsDataLoss(status)) channel->receiver.Poison(Violation::kMetadataInvalid);
  const std::optional<End> end = EndOf(status);
  victim.notes.Finish(end.value_or(End::kServed), status.ToString());
}

}  // namespace parley::villain
