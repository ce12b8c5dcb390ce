// SPDX-License-Identifier: Apache-2.0

// The worker of this package's tests: does what its first argument says, most of it hostile.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/handshake/peer_trust.h"
#include "parley/os/deadline.h"
#include "parley/ring/layout.h"
#include "parley/sandbox/clone_wire.h"
#include "parley/sandbox/inherited.h"
#include "parley/sandbox/profile.h"
#include "parley/sandbox/template_main.h"
#include "parley/supervise/link_wire.h"
#include "parley/supervise/worker_main.h"

namespace parley {
namespace {

using Body = std::function<absl::Status(ConfinedWorker&)>;

absl::Span<const std::byte> BytesOf(const std::string& text) {
  return BytesOfWire(absl::MakeConstSpan(text.data(), text.size()));
}

[[noreturn]] void StayForEver() {
  while (true) ::poll(nullptr, 0, 1000);
}

void SendRaw(ConfinedWorker& worker, uint32_t tag, absl::Span<const std::byte> bytes) {
  static_cast<void>(worker.channel().sender.Send(tag, bytes, Deadline::Never()));
}

absl::Status Echo(ConfinedWorker& worker) {
  std::vector<std::byte> buffer(worker.channel().receiver.max_message_bytes());
  while (true) {
    const auto message = worker.Receive(absl::MakeSpan(buffer));
    if (!message.ok()) return message.status();
    const auto bytes = absl::MakeConstSpan(buffer).first(message->size_bytes);
    if (absl::Status sent = worker.Send(message->tag, bytes); !sent.ok()) return sent;
  }
}

absl::Status SendSum(ConfinedWorker& worker, absl::Span<const std::byte> bytes) {
  uint64_t sum = bytes.size();
  for (const std::byte byte : bytes) sum = sum * 31 + static_cast<uint8_t>(byte);
  return worker.Send(1, WireBytes(sum));
}

absl::Status Sum(ConfinedWorker& worker) {
  const auto bytes = worker.input().Bytes();
  return bytes.ok() ? SendSum(worker, *bytes) : bytes.status();
}

// In pieces, from the end to the start, with messages of the host in between.
absl::Status SumInPieces(ConfinedWorker& worker) {
  const uint64_t size_bytes = worker.input().size_bytes();
  std::vector<std::byte> whole(size_bytes);
  for (uint64_t end = size_bytes; end > 0;) {
    const uint64_t start = end - std::min<uint64_t>(end, 777);
    for (uint64_t at = start; at < end;) {
      const auto got = worker.input().ReadAt(at, absl::MakeSpan(whole).subspan(at, end - at));
      if (!got.ok()) return got.status();
      if (*got == 0) return absl::DataLossError("the input ended early");
      at += *got;
    }
    end = start;
  }
  std::byte beyond[1];
  const auto none = worker.input().ReadAt(size_bytes + 5, absl::MakeSpan(beyond));
  if (!none.ok() || *none != 0) return absl::DataLossError("something lies beyond the end");
  if (absl::Status sent = SendSum(worker, whole); !sent.ok()) return sent;
  return Echo(worker);
}

// As much at a time as one answer holds.
absl::Status ReadForEver(ConfinedWorker& worker) {
  std::vector<std::byte> some(worker.channel().receiver.max_message_bytes());
  while (true) {
    const auto got = worker.input().ReadAt(0, absl::MakeSpan(some));
    if (!got.ok()) return got.status();
  }
}

absl::Status AskForTooMuch(ConfinedWorker& worker) {
  const internal::ReadRequestWire request = {.offset = 0, .size_bytes = ~0u, .reserved = 0};
  SendRaw(worker, internal::kReadTag, WireBytes(request));
  StayForEver();
}

// Ten bytes of the input at 5, and what ReadAt says of an empty span.
absl::Status SendPiece(ConfinedWorker& worker) {
  const auto nothing = worker.input().ReadAt(0, {});
  if (!nothing.ok() || *nothing != 0) return absl::DataLossError("something was read into nothing");
  std::vector<std::byte> piece(10);
  const auto got = worker.input().ReadAt(5, absl::MakeSpan(piece));
  if (!got.ok()) return got.status();
  return worker.Send(1, absl::MakeConstSpan(piece).first(*got));
}

// Asks the host as a hijacked worker may, and sends back what it answers, byte for byte.
absl::Status AskFor(ConfinedWorker& worker, uint64_t offset, uint32_t size_bytes) {
  const internal::ReadRequestWire request = {
      .offset = offset, .size_bytes = size_bytes, .reserved = 0};
  SendRaw(worker, internal::kReadTag, WireBytes(request));
  std::vector<std::byte> answer(worker.channel().receiver.max_message_bytes());
  const auto record = worker.channel().receiver.Receive(absl::MakeSpan(answer), Deadline::Never());
  if (!record.ok()) return record.status();
  return worker.Send(record->tag == internal::kReadAnswerTag ? 1 : 2,
                     absl::MakeConstSpan(answer).first(record->size_bytes));
}

absl::Status EchoInPlace(ConfinedWorker& worker) {
  std::vector<std::byte> buffer(worker.channel().receiver.max_message_bytes());
  while (true) {
    const auto message = worker.Receive(absl::MakeSpan(buffer));
    if (!message.ok()) return message.status();
    const auto room = worker.Reserve(message->size_bytes + 100);
    if (!room.ok()) return room.status();
    std::copy_n(buffer.begin(), message->size_bytes, room->begin());
    worker.Commit(message->tag, message->size_bytes);
  }
}

void SendFailed(ConfinedWorker& worker, uint32_t tag, uint32_t text_bytes) {
  const auto header = WireBytes(internal::FailedWire{.code = 3, .text_bytes = text_bytes});
  std::vector<std::byte> message(header.begin(), header.end());
  message.resize(header.size() + text_bytes, std::byte{'x'});
  SendRaw(worker, tag, message);
}

void Acknowledge(ConfinedWorker& worker, uint64_t number, uint32_t epoch) {
  const internal::AcknowledgedWire wire = {.number = number, .epoch = epoch, .reserved = 0};
  SendRaw(worker, internal::kAcknowledgedTag, WireBytes(wire));
}

absl::Status UseUpTheMemory(ConfinedWorker&) {
  std::vector<std::unique_ptr<char[]>> blocks;
  while (true) {
    blocks.push_back(std::make_unique<char[]>(size_t{64} << 20));
    if (blocks.size() > 10'000) return absl::InternalError("there is no limit");
  }
}

absl::Status JumpAhead(ConfinedWorker& worker) {
  HostileAccess::Control(worker.channel().sender).StoreRelease64(kTailOffset, ~uint64_t{0} - 7);
  HostileAccess::DoorbellOf(worker.channel().sender).Signal();
  StayForEver();
}

// The tag says what is done with a message: 1 answered and acknowledged, 2 answered only, 3 fatal,
// 4 fatal to a worker that is the first to see it, 5 answered, with a lie for an acknowledgement; 6
// a reason to give up, 7 the one before it is acknowledged, 8 the number that it contains, 9 a
// reason to hang up and to end a while later, 10 acknowledged only, 11 taken and no more, 12 a
// reason to hang up and to stay.
absl::Status DealWithNumbered(ConfinedWorker& worker) {
  std::vector<std::byte> buffer(worker.channel().receiver.max_message_bytes());
  while (true) {
    auto message = worker.ReceiveNumbered(absl::MakeSpan(buffer));
    if (!message.ok()) return message.status();
    const uint32_t tag = message->record.tag;
    if (tag == 3 || (tag == 4 && !message->duplicate)) std::abort();
    std::string answer = std::to_string(message->number) + (message->duplicate ? " again " : " ");
    for (uint32_t i = 0; i < message->record.size_bytes; ++i) {
      answer += static_cast<char>(buffer[i]);
    }
    if (tag != 10 && tag != 11) {
      if (absl::Status sent = worker.Send(1, BytesOf(answer)); !sent.ok()) return sent;
    }
    if (tag == 2 || tag == 11) continue;
    if (tag == 5) message->number += 10;
    if (tag == 6) return absl::InternalError("it is enough");
    if (tag == 7) --message->number;
    if (tag == 8) message->number = std::to_integer<uint64_t>(buffer[0]);
    if (tag == 9) {
      worker.channel().sender.Close();
      ::poll(nullptr, 0, 50);
      return absl::OkStatus();
    }
    if (tag == 12) {
      worker.channel().sender.Close();
      StayForEver();
    }
    if (absl::Status sent = worker.Acknowledge(*message); !sent.ok()) return sent;
  }
}

const std::map<std::string, Body>& Bodies() {
  static const std::map<std::string, Body> bodies = {
      {"echo", Echo},
      {"sum", Sum},
      {"sum_in_pieces", SumInPieces},
      {"read_for_ever", ReadForEver},
      {"ask_for_too_much", AskForTooMuch},
      {"out_of_memory", UseUpTheMemory},
      {"jump_ahead", JumpAhead},
      {"numbered", DealWithNumbered},
      {"acknowledge_first",
       [](ConfinedWorker& worker) {
         Acknowledge(worker, 1, 1);
         return DealWithNumbered(worker);
       }},
      {"acknowledge_nothing",
       [](ConfinedWorker& worker) -> absl::Status {
         Acknowledge(worker, 1, 0);
         StayForEver();
       }},
      // Each message into five bytes.
      {"numbered_into_five",
       [](ConfinedWorker& worker) -> absl::Status {
         std::array<std::byte, 5> five = {};
         while (true) {
           const auto message = worker.ReceiveNumbered(absl::MakeSpan(five));
           if (!message.ok()) return message.status();
           const auto bytes = absl::MakeConstSpan(five).first(message->record.size_bytes);
           if (absl::Status sent = worker.Send(message->record.tag, bytes); !sent.ok()) return sent;
         }
       }},
      {"echo_in_place", EchoInPlace},
      {"own_tag",
       [](ConfinedWorker& worker) { return worker.Send(kMaxWorkerTag + 1, BytesOf("x")); }},
      {"own_tag_in_place",
       [](ConfinedWorker& worker) {
         const auto room = worker.Reserve(1);
         worker.Commit(kMaxWorkerTag + 1, 1);
         return room.status();
       }},
      {"size",
       [](ConfinedWorker& worker) {
         return worker.Send(1, WireBytes(worker.input().size_bytes()));
       }},
      {"piece", SendPiece},
      {"piece_of_the_whole",
       [](ConfinedWorker& worker) {
         const auto whole = worker.input().Bytes();
         return whole.ok() ? SendPiece(worker) : whole.status();
       }},
      {"ask", [](ConfinedWorker& worker) { return AskFor(worker, 7, 5); }},
      {"ask_for_all_that_fits",
       [](ConfinedWorker& worker) {
         return AskFor(worker, 0,
                       worker.channel().receiver.max_message_bytes() -
                           static_cast<uint32_t>(sizeof(internal::ReadAnswerWire)));
       }},
      {"ask_for_one_more",
       [](ConfinedWorker& worker) {
         return AskFor(worker, 0,
                       worker.channel().receiver.max_message_bytes() -
                           static_cast<uint32_t>(sizeof(internal::ReadAnswerWire)) + 1);
       }},
      {"ask_often",
       [](ConfinedWorker& worker) -> absl::Status {
         const internal::ReadRequestWire request = {.offset = 0, .size_bytes = 1, .reserved = 0};
         for (int i = 0; i < 50; ++i) SendRaw(worker, internal::kReadTag, WireBytes(request));
         StayForEver();
       }},
      {"ask_and_take_nothing",
       [](ConfinedWorker& worker) -> absl::Status {
         const internal::ReadRequestWire request = {.offset = 0, .size_bytes = 8192, .reserved = 0};
         while (true) SendRaw(worker, internal::kReadTag, WireBytes(request));
       }},
      // Once the host has said that nothing more comes.
      {"ask_at_the_end",
       [](ConfinedWorker& worker) -> absl::Status {
         std::vector<std::byte> buffer(worker.channel().receiver.max_message_bytes());
         while (worker.Receive(absl::MakeSpan(buffer)).ok()) {
         }
         const auto got = worker.input().ReadAt(0, absl::MakeSpan(buffer));
         return absl::IsOutOfRange(got.status()) ? absl::OkStatus()
                                                 : absl::InternalError("it was answered");
       }},
      {"reserve_and_fail",
       [](ConfinedWorker& worker) {
         const auto room = worker.Reserve(100);
         return room.ok() ? absl::InternalError("it is enough") : room.status();
       }},
      {"ask_and_take_no_answer",
       [](ConfinedWorker& worker) -> absl::Status {
         worker.channel().receiver.Close();
         const internal::ReadRequestWire request = {.offset = 0, .size_bytes = 1, .reserved = 0};
         SendRaw(worker, internal::kReadTag, WireBytes(request));
         SendRaw(worker, 1, BytesOf("said after"));
         StayForEver();
       }},
      {"give_up_and_go_on",
       [](ConfinedWorker& worker) -> absl::Status {
         SendFailed(worker, internal::kFailedTag, 1);
         SendRaw(worker, 1, BytesOf("said after"));
         StayForEver();
       }},
      {"take_nothing",
       [](ConfinedWorker& worker) -> absl::Status {
         worker.channel().receiver.Close();
         for (int i = 0; i < 2; ++i) SendRaw(worker, 1, BytesOf("said after"));
         StayForEver();
       }},
      {"much",
       [](ConfinedWorker& worker) -> absl::Status {
         for (int i = 0; i < 100; ++i) {
           absl::Status sent = worker.Send(1, BytesOf(std::string(4000, 'x')));
           if (!sent.ok()) return sent;
         }
         return absl::OkStatus();
       }},
      {"fail_briefly", [](ConfinedWorker&) { return absl::InternalError("x"); }},
      {"fail_silently", [](ConfinedWorker&) { return absl::InternalError(""); }},
      {"say_three_things_and_fail",
       [](ConfinedWorker& worker) -> absl::Status {
         for (int i = 0; i < 3; ++i) SendRaw(worker, 1, BytesOf("a message"));
         return absl::InternalError("it is enough");
       }},
      {"fail_with_too_much",
       [](ConfinedWorker& worker) -> absl::Status {
         SendFailed(worker, internal::kFailedTag, internal::kMaxFailureTextBytes + 1);
         StayForEver();
       }},
      {"say_what_is_like_a_failure",
       [](ConfinedWorker& worker) -> absl::Status {
         SendFailed(worker, 1, 1);
         ::_exit(7);
       }},
      {"format",
       [](ConfinedWorker& worker) {
         return worker.Send(1, BytesOf(worker.channel().peer_format));
       }},
      {"print_in_body",
       [](ConfinedWorker&) -> absl::Status {
         static_cast<void>(::write(2, "during the work\n", 16) + 1);
         StayForEver();
       }},
      {"exit_two", [](ConfinedWorker&) -> absl::Status { ::_exit(2); }},
      {"nothing", [](ConfinedWorker&) { return absl::OkStatus(); }},
      {"fail",
       [](ConfinedWorker&) {
         return absl::InvalidArgumentError("this is \x1b[2J no \n film" + std::string(1000, 'x'));
       }},
      {"abort", [](ConfinedWorker&) -> absl::Status { std::abort(); }},
      {"crash",
       [](ConfinedWorker&) -> absl::Status {
         volatile int* volatile nowhere = nullptr;
         *nowhere = 1;
         return absl::OkStatus();
       }},
      {"socket",
       [](ConfinedWorker&) -> absl::Status {
         static_cast<void>(::chdir("/") + 1);
         return absl::OkStatus();
       }},
      {"exit", [](ConfinedWorker&) -> absl::Status { ::_exit(7); }},
      {"stay", [](ConfinedWorker&) -> absl::Status { StayForEver(); }},
      {"burn",
       [](ConfinedWorker&) -> absl::Status {
         std::atomic<uint64_t> count{0};
         while (true) ++count;
       }},
      {"unknown_tag",
       [](ConfinedWorker& worker) -> absl::Status {
         SendRaw(worker, kMaxTag - 100, {});
         StayForEver();
       }},
      {"failed_without_reason",
       [](ConfinedWorker& worker) -> absl::Status {
         const internal::FailedWire failed = {.code = 0, .text_bytes = 0};
         SendRaw(worker, internal::kFailedTag, WireBytes(failed));
         StayForEver();
       }},
      {"answer_of_a_job",
       [](ConfinedWorker& worker) -> absl::Status {
         const internal::JobDoneWire done = {.number = 1, .code = 0, .text_bytes = 0};
         SendRaw(worker, internal::kJobDoneTag, WireBytes(done));
         StayForEver();
       }},
      {"flood",
       [](ConfinedWorker& worker) -> absl::Status {
         const std::string line(1000, 'x');
         while (true) SendRaw(worker, 1, BytesOf(line));
       }},
      {"what_is_open",
       [](ConfinedWorker& worker) -> absl::Status {
         std::string open;
         for (int fd = 0; fd < 200; ++fd) {
           // Only what the profile names may be asked about, and that is all that may be open.
           if (worker.confined().profile().Names(fd)) open += std::to_string(fd) + " ";
         }
         return worker.Send(1, BytesOf(open));
       }},
  };
  return bodies;
}

// Shakes hands as an honest worker, and forgets to lock itself down.
int ForgetLockDown() {
  ConnectOptions connect;
  connect.limits = {.max_capacity_bytes = kMaxCapacityBytes,
                    .max_message_bytes = uint32_t{1} << 30,
                    .max_arena_bytes = uint64_t{1} << 34};
  connect.trust = PeerTrust::Because("the host that started this worker");
  auto channel = ConnectInheritedChannel(connect, Deadline::After(absl::Seconds(10)));
  if (!channel.ok()) return 2;
  std::vector<std::byte> buffer(channel->receiver.max_message_bytes());
  const auto begin = channel->receiver.Receive(absl::MakeSpan(buffer), Deadline::Never());
  // Told to begin without having been verified: what must not happen.
  if (begin.ok()) std::fprintf(stderr, "was told to begin\n");
  StayForEver();
}

}  // namespace
}  // namespace parley

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "forget_lock_down" || what == "no_handshake") {
    const auto run = [&what] {
      if (what != "no_handshake") return parley::ForgetLockDown();
      std::fprintf(stderr, "it does not like this host\n");
      return 5;
    };
    auto host = parley::TakeInheritedFd(parley::internal::kTemplateVariable);
    if (!host.ok()) return run();
    return parley::ServeClones(*std::move(host), {}, [&run] { ::_exit(run()); }).ok() ? 0 : 1;
  }
  parley::WorkerMainOptions options;
  options.format = "testing";
  if (what == "warm_up_fails") {
    options.warm_up = [] { return absl::NotFoundError("the codec's tables are not there"); };
  }
  if (what == "print") {
    options.warm_up = [] {
      std::fprintf(stderr, "one line\n\x1b[2Jand another\n");
      return absl::OkStatus();
    };
  }
  if (what == "print_late" || what == "exit_two") {
    // In each worker, a clone or not, when the host has its channel already.
    options.profile = [](const parley::Profile& profile) {
      std::fprintf(stderr, "the last line\n");
      return profile.ForCodec();
    };
  }
  if (what == "print_in_body") {
    options.profile = [](const parley::Profile& p) { return p.ForCodec().WithWriteTo(2); };
  }
  if (what == "no_lock_down") {
    // Landlock has no hold on a thread that was there before.
    options.lock_down.require_landlock = true;
    options.warm_up = [] {
      std::thread([] { parley::StayForEver(); }).detach();
      return absl::OkStatus();
    };
  }
  const auto found = parley::Bodies().find(what);
  return parley::WorkerMain(
      options, found != parley::Bodies().end() ? found->second : [](parley::ConfinedWorker&) {
        return absl::OkStatus();
      });
}
