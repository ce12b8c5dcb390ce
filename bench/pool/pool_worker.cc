// SPDX-License-Identifier: Apache-2.0

// The worker of ./dev bench pool: makes a small picture of its input, or waits to be looked at.

#include <poll.h>

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/supervise/job_main.h"

namespace {

constexpr std::size_t kThumbnailBytes = std::size_t{64} * 64 * 3;

absl::Status Run(parley::Job& job) {
  const auto input = job.input().Bytes();
  if (!input.ok()) return input.status();
  std::vector<std::byte> picture(kThumbnailBytes);
  for (std::size_t i = 0; i < input->size(); ++i) picture[i % kThumbnailBytes] ^= (*input)[i];
  if (absl::Status sent = job.Send(0, picture); !sent.ok()) return sent;
  while (job.request() == "wait") ::poll(nullptr, 0, 1000);
  return absl::OkStatus();
}

}  // namespace

int main() { return parley::JobMain({}, Run); }
