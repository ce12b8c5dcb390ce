// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SUPERVISE_TESTING_LINK_H_
#define PARLEY_SUPERVISE_TESTING_LINK_H_

// For this package's tests: links with testing_worker, and what comes over them.

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/boundary/wire_copy.h"
#include "parley/os/deadline.h"
#include "parley/sandbox/memory_group.h"
#include "parley/supervise/testing_program.h"
#include "parley/supervise/worker_link.h"

namespace parley::testing {

inline WorkerLinkOptions LinkOptions(const std::string& what) {
  WorkerLinkOptions options;
  options.program = Program("testing_worker", what);
  options.format = "testing";
  return options;
}

inline absl::Span<const std::byte> BytesOf(const std::string& text) {
  return BytesOfWire(absl::MakeConstSpan(text.data(), text.size()));
}

inline std::string TextOf(absl::Span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += static_cast<char>(byte);
  return text;
}

struct Heard {
  absl::Status status;
  uint32_t tag = 0;
  std::string text;
};

inline Heard HearBy(WorkerLink& link, Deadline deadline) {
  std::vector<std::byte> buffer(link.max_message_bytes());
  const auto message = link.Receive(absl::MakeSpan(buffer), deadline);
  if (!message.ok()) return {message.status(), 0, ""};
  buffer.resize(message->size_bytes);
  return {absl::OkStatus(), message->tag, TextOf(buffer)};
}

// Until the worker's ring takes no more.
inline void FillTheRing(WorkerLink& link) {
  for (const std::size_t size_bytes : {std::size_t{1000}, std::size_t{1}}) {
    const std::vector<std::byte> bytes(size_bytes);
    while (link.Send(1, bytes, Deadline::AtMonotonicNs(0)).ok()) {
    }
  }
}

// When whoever calls this waits already; to be joined.
inline std::thread InterruptSoon(const WorkerLink& link) {
  return std::thread([&link] {
    absl::SleepFor(absl::Milliseconds(100));
    link.Interrupt();
  });
}

inline Heard Hear(WorkerLink& link) { return HearBy(link, Deadline::After(kLong)); }

// As long as it lives, no link of this process gets a memory control group: those that it would
// make are there, and cannot be removed. Where none can be made anyway there is nothing to do.
class NoMemoryGroups {
 public:
  NoMemoryGroups() {
    bool version_2 = false;
    const auto parent = MemoryGroupParent(&version_2);
    if (!parent.ok()) return;
    for (int i = 0; i < 200; ++i) {
      const std::string path =
          *parent + "/parley-worker-" + std::to_string(::getpid()) + "-" + std::to_string(i);
      for (const std::string& folder : {path, path + "/within"}) {
        if (::mkdir(folder.c_str(), 0755) == 0) made_.push_back(folder);
      }
    }
  }
  ~NoMemoryGroups() {
    for (auto folder = made_.rbegin(); folder != made_.rend(); ++folder) ::rmdir(folder->c_str());
  }
  NoMemoryGroups(const NoMemoryGroups&) = delete;
  NoMemoryGroups& operator=(const NoMemoryGroups&) = delete;

 private:
  std::vector<std::string> made_;
};

// Whether its process has ended, of itself, before a test that waits has failed.
inline bool HasEndedByItself(const WorkerLink& link) {
  pollfd entry = {link.worker().pidfd(), POLLIN, 0};
  return ::poll(&entry, 1, static_cast<int>(absl::ToInt64Milliseconds(kLong))) == 1;
}

}  // namespace parley::testing

#endif  // PARLEY_SUPERVISE_TESTING_LINK_H_
