// SPDX-License-Identifier: Apache-2.0
#include "outfuzz/worker.h"

#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "outfuzz/protocol.h"
#include "parley/sandbox/profile.h"
#include "parley/supervise/worker_main.h"

namespace outfuzz {
namespace {

void RunOn(absl::Span<const std::byte> input, const WorkerTarget& target,
           parley::Channel& channel) {
  const auto exact = std::make_unique<uint8_t[]>(input.size());
  if (!input.empty()) std::memcpy(exact.get(), input.data(), input.size());
  target({exact.get(), input.size()}, channel);
}

absl::Status Serve(parley::ConfinedWorker& worker, const WorkerTarget& target) {
  std::vector<std::byte> buffer(worker.channel().receiver.max_message_bytes());
  while (true) {
    const auto message = worker.Receive(absl::MakeSpan(buffer));
    if (!message.ok()) return message.status();
    if (message->tag != kInputTag || message->size_bytes < kNumberBytes) {
      return absl::InternalError("no input");
    }
    const auto input = absl::MakeConstSpan(buffer).first(message->size_bytes);
    const std::vector<std::byte> number(input.begin(), input.begin() + kNumberBytes);
    RunOn(input.subspan(kNumberBytes), target, worker.channel());
    if (absl::Status sent = worker.Send(kRanTag, number); !sent.ok()) return sent;
  }
}

}  // namespace

int RunWorker(const WorkerTarget& target) {
  parley::WorkerMainOptions options;
  // No soft answers beyond a heap's: a call that a target makes is a finding.
  options.profile = [](const parley::Profile& channel) {
    return channel.WithHeap().WithSanitizerIfBuiltIn();
  };
  return parley::WorkerMain(
      options, [&target](parley::ConfinedWorker& worker) { return Serve(worker, target); });
}

}  // namespace outfuzz
