// SPDX-License-Identifier: Apache-2.0
// A worker of parley-thumb's that any file can take over: one that begins with "hijack KIND" says
// what it does then. All others are decoded as ever.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/av/byte_source.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/hostile_access.h"
#include "parley/ring/layout.h"
#include "parley/supervise/job_main.h"
#include "parley/thumb/make_thumbnail.h"
#include "parley/thumb/media_file.h"
#include "parley/thumb/request.h"
#include "parley/thumb/result_writer.h"
#include "parley/thumb/thumb_wire.h"

namespace parley::thumb {
namespace {

constexpr char kEscapes[] = "\x1b]0;owned\x07\x1b[2J\x1b[31mparley-thumb: all is well\r\n";

[[noreturn]] void StayForEver() {
  while (true) absl::SleepFor(absl::Seconds(1));
}

absl::Status SendHeader(Job& job, uint32_t width, uint32_t height, uint32_t channels) {
  return job.Send(kPictureTag, WireBytes(PictureWire{width, height, channels, 0}));
}

absl::Status SendPixels(Job& job, std::size_t size_bytes) {
  return job.Send(kPixelsTag, std::vector<std::byte>(size_bytes, std::byte{0x55}));
}

absl::Status Hijacked(Job& job, const std::string& kind) {
  Sender& sender = job.worker().channel().sender;
  if (kind == "header-lie") static_cast<void>(SendHeader(job, ~0u, ~0u, 4));
  if (kind == "too-large") static_cast<void>(SendHeader(job, 257, 1, 3));
  if (kind == "missing-pixels") return SendHeader(job, 8, 8, 3);
  if (kind == "too-many-pixels") {
    static_cast<void>(SendHeader(job, 8, 8, 3));
    static_cast<void>(SendPixels(job, 193));
  }
  if (kind == "pixels-first") static_cast<void>(SendPixels(job, 1));
  if (kind == "facts-instead") static_cast<void>(job.Send(kFileTag, WireBytes(FileWire{})));
  if (kind == "escape-in-facts") {
    FileWire wire = {};
    std::copy_n(kEscapes, 31, wire.container.begin());
    static_cast<void>(job.Send(kFileTag, WireBytes(wire)));
  }
  if (kind == "escape-in-reason") return absl::InvalidArgumentError(kEscapes);
  if (kind == "nothing") return absl::OkStatus();
  if (kind == "exit") ::_exit(0);
  if (kind == "death") __builtin_trap();
  if (kind == "open-file") static_cast<void>(::open("/etc/passwd", O_RDONLY | O_CLOEXEC));
  if (kind == "open-file") static_cast<void>(::chdir("/") + 1);
  if (kind == "burn") {
    std::atomic<uint64_t> count{0};
    while (true) ++count;
  }
  if (kind == "memory") {
    std::vector<std::vector<char>> blocks;
    while (true) blocks.emplace_back(std::size_t{16} << 20, 'x');
  }
  if (kind == "flood") {
    static_cast<void>(SendHeader(job, 1, 1, 3));
    while (true) static_cast<void>(SendPixels(job, 0));
  }
  if (kind == "stderr") {
    for (int i = 0; i < 100'000; ++i) {
      static_cast<void>(::write(STDERR_FILENO, kEscapes, sizeof(kEscapes) - 1) + 1);
    }
    return absl::InvalidArgumentError("it has said enough");
  }
  if (kind == "index-jump") {
    HostileAccess::Control(sender).StoreRelease64(
        kTailOffset, HostileAccess::Published(sender) + 3 * sender.capacity_bytes());
    HostileAccess::DoorbellOf(sender).Signal();
  }
  StayForEver();  // "silence", and what the host has to end
}

absl::Status Run(Job& job) {
  const absl::StatusOr<ThumbRequest> request = DecodeRequest(job.request());
  if (!request.ok()) return request.status();
  const absl::StatusOr<absl::Span<const std::byte>> bytes = job.input().Bytes();
  if (!bytes.ok()) return bytes.status();
  std::string text;
  for (const std::byte byte : bytes->first(std::min<std::size_t>(bytes->size(), 60))) {
    text += static_cast<char>(byte);
  }
  const std::string hijack = "hijack ";
  if (text.compare(0, hijack.size(), hijack) == 0) return Hijacked(job, text.substr(hijack.size()));
  av::SpanSource source(*bytes);
  const absl::StatusOr<ThumbResult> result = MakeThumbnail(source, *request);
  if (!result.ok()) return result.status();
  return SendResult(
      *result, job.worker().channel().sender.max_message_bytes(),
      [&job](uint32_t tag, absl::Span<const std::byte> message) { return job.Send(tag, message); });
}

}  // namespace
}  // namespace parley::thumb

int main() {
  parley::WorkerMainOptions options;
  options.format = parley::thumb::kThumbProtocol;
  options.warm_up = [] {
    parley::thumb::WarmUpLibav();
    return absl::OkStatus();
  };
  // A clone of it floods standard error before it is confined, too.
  options.in_clone = [] {
    for (int i = 0; i < 200; ++i) {
      static_cast<void>(
          ::write(STDERR_FILENO, parley::thumb::kEscapes, sizeof(parley::thumb::kEscapes) - 1) + 1);
    }
  };
  return parley::JobMain(options, parley::thumb::Run);
}
