// SPDX-License-Identifier: Apache-2.0
// The examples in the headers of supervise/, each in a function that has what it takes for granted,
// and each main() in a namespace of its own.

#include <cstddef>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/supervise/job_main.h"
#include "parley/supervise/link_template.h"
#include "parley/supervise/pool.h"
#include "parley/supervise/restart.h"
#include "parley/supervise/worker_end.h"
#include "parley/supervise/worker_link.h"
#include "parley/supervise/worker_main.h"

namespace parley {
namespace {

using ConstBytes = absl::Span<const std::byte>;

constexpr uint32_t kTag = 7;
constexpr uint32_t kThumbnail = 8;
ConstBytes Decode(ConstBytes film) { return film; }
template <typename Request>
ConstBytes MakeThumbnail(ConstBytes picture, const Request& /*request*/) {
  return picture;
}

namespace of_job_main {
#include "tests/header_examples/supervise/job_main_0.inc"
}  // namespace of_job_main

namespace of_worker_main {
#include "tests/header_examples/supervise/worker_main_0.inc"
}  // namespace of_worker_main

[[maybe_unused]] void Mains() {
  of_job_main::main();
  of_worker_main::main();
}

[[maybe_unused]] void LinkTemplateExample(WorkerLinkOptions options, Deadline deadline) {
#include "tests/header_examples/supervise/link_template_0.inc"
}

[[maybe_unused]] void PoolExample(absl::StatusOr<SealedBlob> blob, Deadline deadline) {
#include "tests/header_examples/supervise/pool_0.inc"
}

[[maybe_unused]] void RestartExample(ConstBytes bytes, std::vector<std::byte> buffer,
                                     Deadline deadline) {
#include "tests/header_examples/supervise/restart_0.inc"
}

[[maybe_unused]] void WorkerEndExample(WorkerLink& link) {
#include "tests/header_examples/supervise/worker_end_0.inc"
}

[[maybe_unused]] absl::Status WorkerLinkExample(const std::string& path, const SealedBlob& film,
                                                Deadline deadline) {
  const auto Use = [](uint32_t /*tag*/, ConstBytes /*bytes*/) {};
#include "tests/header_examples/supervise/worker_link_0.inc"
  return absl::OkStatus();
}

}  // namespace
}  // namespace parley
