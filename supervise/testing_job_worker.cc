// SPDX-License-Identifier: Apache-2.0

// The worker of the pool's tests: does what a job's request says, most of it hostile.

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/channel.h"
#include "parley/os/deadline.h"
#include "parley/sandbox/profile.h"
#include "parley/supervise/job_main.h"
#include "parley/supervise/link_wire.h"

namespace parley {
namespace {

// What one job leaves for the next one in the same process.
int jobs_seen = 0;

[[noreturn]] void StayForEver() {
  while (true) ::poll(nullptr, 0, 1000);
}

absl::Status SendText(Job& job, const std::string& text) {
  return job.Send(1, BytesOfWire(absl::MakeConstSpan(text.data(), text.size())));
}

void SendDone(Job& job, uint64_t number, uint32_t code) {
  const internal::JobDoneWire done = {.number = number, .code = code, .text_bytes = 0};
  static_cast<void>(job.worker().channel().sender.Send(internal::kJobDoneTag, WireBytes(done),
                                                       Deadline::Never()));
}

using Body = absl::Status (*)(Job&);

const std::map<std::string, Body>& Bodies() {
  static const std::map<std::string, Body> bodies = {
      {"input",
       [](Job& job) {
         const auto bytes = job.input().Bytes();
         if (!bytes.ok()) return bytes.status();
         std::string text;
         for (const std::byte byte : *bytes) text += static_cast<char>(byte);
         return SendText(job, text);
       }},
      {"size", [](Job& job) { return SendText(job, std::to_string(job.input().size_bytes())); }},
      // How much a message holds in either direction.
      {"rings",
       [](Job& job) {
         const Channel& channel = job.worker().channel();
         return SendText(job, std::to_string(channel.receiver.max_message_bytes()) + " " +
                                  std::to_string(channel.sender.max_message_bytes()));
       }},
      // One message for each answer, however often the host gives one.
      {"read_for_ever",
       [](Job& job) -> absl::Status {
         std::vector<std::byte> some(job.worker().channel().receiver.max_message_bytes());
         while (true) {
           const auto got = job.input().ReadAt(0, absl::MakeSpan(some));
           if (!got.ok()) return got.status();
           if (absl::Status sent = SendText(job, ""); !sent.ok()) return sent;
         }
       }},
      // Asks the host for bytes, whether it has a stream or not.
      {"ask",
       [](Job& job) -> absl::Status {
         const internal::ReadRequestWire request = {.offset = 0, .size_bytes = 1, .reserved = 0};
         static_cast<void>(job.worker().channel().sender.Send(
             internal::kReadTag, WireBytes(request), Deadline::Never()));
         StayForEver();
       }},
      // With its input for a reason.
      {"fail_with",
       [](Job& job) {
         const auto bytes = job.input().Bytes();
         if (!bytes.ok()) return bytes.status();
         std::string text;
         for (const std::byte byte : *bytes) text += static_cast<char>(byte);
         return absl::DataLossError(text);
       }},
      // As a worker that is no pool's.
      {"give_up",
       [](Job& job) -> absl::Status {
         const internal::FailedWire failed = {.code = 13, .text_bytes = 6};
         const auto header = WireBytes(failed);
         std::vector<std::byte> message(header.begin(), header.end());
         for (const char c : std::string("enough")) message.push_back(static_cast<std::byte>(c));
         static_cast<void>(
             job.worker().channel().sender.Send(internal::kFailedTag, message, Deadline::Never()));
         StayForEver();
       }},
      {"seen", [](Job& job) { return SendText(job, std::to_string(jobs_seen)); }},
      {"pid", [](Job& job) { return SendText(job, std::to_string(::getpid())); }},
      {"fail", [](Job&) { return absl::InvalidArgumentError("no\x1bpicture"); }},
      {"abort", [](Job&) -> absl::Status { std::abort(); }},
      {"refused",
       [](Job&) -> absl::Status {
         static_cast<void>(::chdir("/") + 1);
         return absl::OkStatus();
       }},
      {"exit", [](Job&) -> absl::Status { ::_exit(0); }},
      {"hang", [](Job&) -> absl::Status { StayForEver(); }},
      {"burn",
       [](Job&) -> absl::Status {
         std::atomic<uint64_t> count{0};
         while (true) ++count;
       }},
      {"memory",
       [](Job&) -> absl::Status {
         std::vector<std::unique_ptr<char[]>> blocks;
         while (blocks.size() < 10'000) {
           // Untouched: the limit on address space is what ends it, and no time.
           blocks.push_back(std::make_unique_for_overwrite<char[]>(size_t{16} << 20));
         }
         return absl::InternalError("there is no limit");
       }},
      // Touched, which address space alone does not bound.
      {"resident",
       [](Job& job) -> absl::Status {
         constexpr size_t kBytes = size_t{128} << 20;
         const std::vector<char> block(kBytes, 'x');
         return SendText(job, std::string(1, block[kBytes / 2]));
       }},
      {"pictures",
       [](Job& job) -> absl::Status {
         // 100 x 1000 each, as the host reads it, in eight bytes.
         for (int i = 0; i < 1000; ++i) {
           if (absl::Status sent = SendText(job, "100x1000"); !sent.ok()) return sent;
         }
         return absl::OkStatus();
       }},
      {"one_picture", [](Job& job) { return SendText(job, "65535x65535"); }},
      {"flood",
       [](Job& job) -> absl::Status {
         while (true) {
           if (absl::Status sent = SendText(job, std::string(4000, 'x')); !sent.ok()) return sent;
         }
       }},
      {"reserve_and_fail",
       [](Job& job) {
         const auto room = job.worker().Reserve(100);
         return room.ok() ? absl::DataLossError("it is no film") : room.status();
       }},
      {"many_empty",
       [](Job& job) -> absl::Status {
         while (true) {
           if (absl::Status sent = SendText(job, ""); !sent.ok()) return sent;
         }
       }},
      {"another_number",
       [](Job& job) -> absl::Status {
         SendDone(job, ~uint64_t{0}, 0);
         StayForEver();
       }},
      {"twice",
       [](Job& job) -> absl::Status {
         SendDone(job, 1, 0);
         SendDone(job, 1, 0);
         SendDone(job, 2, 0);
         StayForEver();
       }},
  };
  return bodies;
}

absl::Status Run(Job& job) {
  ++jobs_seen;
  const auto found = Bodies().find(job.request());
  return found == Bodies().end() ? absl::NotFoundError("no such request") : found->second(job);
}

// One more file, of no bytes, so that a test sees how often this happened.
void Count(const std::string& path) {
  ::close(
      ::open((path + std::to_string(::getpid())).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
}

}  // namespace
}  // namespace parley

// Its first argument says how it starts; its second how the files begin that count its starts, or
// that make it fail.
int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const char* const path = argc > 2 ? argv[2] : "";
  parley::WorkerMainOptions options;
  options.warm_up = [&what, path] {
    if (what == "counted" || what == "not_warm_counted") parley::Count(path);
    if (what == "slow") ::poll(nullptr, 0, 300);
    if (what == "with_a_thread") std::thread([] { parley::StayForEver(); }).detach();
    if (what == "fails_twice") {
      // Each time one of the files is gone, until none is left.
      for (const char* end : {"1", "2"}) {
        if (::unlink((std::string(path) + end).c_str()) == 0) return absl::NotFoundError("not yet");
      }
    }
    const bool cold = what == "not_warm" || what == "not_warm_counted";
    return cold ? absl::NotFoundError("no tables") : absl::OkStatus();
  };
  if (what == "with_a_thread") {
    options.profile = [](const parley::Profile& p) { return p.ForCodec().WithThreads(); };
  }
  if (what == "dies_as_a_clone") options.in_clone = [] { ::_exit(5); };
  return parley::JobMain(options, parley::Run);
}
