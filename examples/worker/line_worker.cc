// SPDX-License-Identifier: Apache-2.0

// The worker of the example in the README: counts the lines of a text that a stranger sent. It has
// no files, no sockets and no programs when it looks at the first byte.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "parley/boundary/wire_copy.h"
#include "parley/supervise/worker_main.h"

// README: from here
int main() {
  return parley::WorkerMain({}, [](parley::ConfinedWorker& worker) -> absl::Status {
    const auto text = worker.input().Bytes();  // the first look at hostile bytes
    if (!text.ok()) return text.status();
    const int64_t lines = std::count(text->begin(), text->end(), std::byte{'\n'});
    return worker.Send(0, parley::WireBytes(lines));
  });
}
// README: up to here
