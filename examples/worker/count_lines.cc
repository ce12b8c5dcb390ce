// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/worker/count_lines.h"

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/boundary/wire_copy.h"
#include "parley/os/deadline.h"
#include "parley/supervise/worker_link.h"

// README: from here
absl::StatusOr<int64_t> CountLines(const std::string& worker, const parley::SealedBlob& text) {
  const auto deadline = parley::Deadline::After(absl::Seconds(10));
  parley::WorkerLinkOptions options;
  options.program.path = worker;
  options.input = &text;
  auto link = parley::WorkerLink::Start(std::move(options), deadline);
  if (!link.ok()) return link.status();  // names the step and the reason
  std::vector<std::byte> buffer(link->max_message_bytes());
  int64_t lines = -1;
  const auto message = link->Receive(absl::MakeSpan(buffer), deadline);
  if (message.ok()) static_cast<void>(parley::ReadWire(buffer, &lines));
  const parley::WorkerEnd end = link->End(deadline);  // a crash, a refused call, its own words
  if (!end.done() || lines < 0) return absl::UnavailableError(end.ToString());
  return lines;
}
// README: up to here
