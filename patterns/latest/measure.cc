// SPDX-License-Identifier: Apache-2.0

// What latest values cost and whether each is whole, as JSON lines: a writer at full speed with
// readers for a time, then a read next to a memcpy for some sizes: of what another processor has
// written, and of what the reader's own has.
//
//   bazel run -c opt //patterns/latest:measure -- [SECONDS [READERS [BYTES]]]

#include <cstdint>
#include <cstdio>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/time/time.h"
#include "parley/patterns/latest/full_speed.h"

namespace parley::testing {
namespace {

int Measure(int seconds, int readers, uint64_t bytes) {
  int wrong = 0;
  const auto result =
      RunFullSpeed({.readers = readers, .value_bytes = bytes, .time = absl::Seconds(seconds)});
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
    return 1;
  }
  std::printf(
      "{\"seconds\":%d,\"readers\":%d,\"bytes\":%llu,\"written\":%llu,"
      "\"write_ns\":%.0f,\"write_alone_ns\":%.0f}\n",
      seconds, readers, static_cast<unsigned long long>(bytes),
      static_cast<unsigned long long>(result->written), result->write_ns, result->write_alone_ns);
  for (const FullSpeedResult::Reader& reader : result->readers) {
    std::printf("{\"reads\":%llu,\"overtaken\":%llu,\"wrong\":%llu,\"exit\":%d}\n",
                static_cast<unsigned long long>(reader.reads),
                static_cast<unsigned long long>(reader.overtaken),
                static_cast<unsigned long long>(reader.wrong), reader.exit_code);
    if (reader.wrong != 0 || reader.exit_code != 0) wrong = 1;
  }
  for (const bool apart : {true, false}) {
    for (const uint64_t size : {8u, 64u, 1024u, 4096u, 16384u, 65536u, 1u << 20, 4u << 20}) {
      const auto cost = MeasureReadCost(
          {.value_bytes = size, .rounds = size < (1u << 20) ? 4001 : 301, .apart = apart});
      if (absl::IsFailedPrecondition(cost.status())) continue;
      if (!cost.ok()) return 1;
      std::printf(
          "{\"bytes\":%llu,\"apart\":%s,\"read_p10_ns\":%.0f,\"memcpy_p10_ns\":%.0f,"
          "\"ratio_p10\":%.2f,\"read_p50_ns\":%.0f,\"memcpy_p50_ns\":%.0f,\"ratio_p50\":%.2f}\n",
          static_cast<unsigned long long>(size), apart ? "true" : "false", cost->read.p10_ns,
          cost->memcpy.p10_ns, cost->read.p10_ns / cost->memcpy.p10_ns, cost->read.p50_ns,
          cost->memcpy.p50_ns, cost->read.p50_ns / cost->memcpy.p50_ns);
    }
  }
  return wrong;
}

}  // namespace
}  // namespace parley::testing

int main(int argc, char** argv) {
  int seconds = 60;
  int readers = 8;
  uint64_t bytes = 4096;
  if ((argc > 1 && !absl::SimpleAtoi(argv[1], &seconds)) ||
      (argc > 2 && !absl::SimpleAtoi(argv[2], &readers)) ||
      (argc > 3 && !absl::SimpleAtoi(argv[3], &bytes)) || argc > 4) {
    std::fprintf(stderr, "usage: measure [SECONDS [READERS [BYTES]]]\n");
    return 2;
  }
  return parley::testing::Measure(seconds, readers, bytes);
}
