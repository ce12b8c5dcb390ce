// SPDX-License-Identifier: Apache-2.0

// The worker of the pool's tests: does what a job's request says, most of it hostile.

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/boundary/wire_copy.h"
#include "parley/os/deadline.h"
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

}  // namespace
}  // namespace parley

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  parley::WorkerMainOptions options;
  options.warm_up = [&what] {
    return what == "not_warm" ? absl::NotFoundError("no tables") : absl::OkStatus();
  };
  return parley::JobMain(options, parley::Run);
}
