// SPDX-License-Identifier: Apache-2.0

// Attacks the host's side of the messages of a worker and of a pool's job (supervise/): any bytes
// as a read request, as the reason of a worker that gives up, as the outcome of a job.
//
// Input: one byte, which message (modulo 3); eight bytes, the number of the job that is under way;
// the message.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/os/check.h"
#include "parley/supervise/link_messages.h"

namespace parley::fuzz {
namespace {

constexpr std::size_t kMaxAnswerBytes = 1000;
constexpr std::size_t kMaxTextBytes = 400;

// Little-endian, as it lies there.
uint64_t Number(absl::Span<const std::byte> bytes, std::size_t at, std::size_t size_bytes) {
  uint64_t number = 0;
  for (std::size_t i = size_bytes; i > 0; --i) {
    number = number << 8 | std::to_integer<uint64_t>(bytes[at + i - 1]);
  }
  return number;
}

bool Printable(const absl::Status& status) {
  const std::string text(status.message());
  return text.size() <= kMaxTextBytes &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

void CheckRead(absl::Span<const std::byte> message) {
  const auto request = internal::ParseRead(message, kMaxAnswerBytes);
  const bool good = message.size() == 16 && Number(message, 12, 4) == 0 &&
                    Number(message, 8, 4) >= 1 && Number(message, 8, 4) <= kMaxAnswerBytes;
  PARLEY_CHECK(request.has_value() == good, "a read is taken if it is one");
  if (!good) return;
  PARLEY_CHECK(request->offset == Number(message, 0, 8), "the offset is the worker's");
  PARLEY_CHECK(request->size_bytes == Number(message, 8, 4), "the size is the worker's");
}

// The text's length stands behind the code, and is that of the rest.
bool TextIsRight(absl::Span<const std::byte> message, std::size_t at) {
  return message.size() >= at + 8 && Number(message, at, 4) <= 16 &&
         Number(message, at + 4, 4) == message.size() - at - 8 &&
         message.size() - at - 8 <= kMaxTextBytes;
}

void CheckFailed(absl::Span<const std::byte> message) {
  const auto failed = internal::ParseFailed(message);
  const bool good = TextIsRight(message, 0) && Number(message, 0, 4) != 0;
  PARLEY_CHECK(failed.has_value() == good, "a reason is taken if it is one");
  if (!good) return;
  PARLEY_CHECK(!failed->ok() && Printable(*failed), "a reason can be shown anywhere");
}

void CheckJobDone(absl::Span<const std::byte> message, uint64_t number) {
  const auto done = internal::ParseJobDone(message, number);
  const bool good = TextIsRight(message, 8) && Number(message, 0, 8) == number;
  PARLEY_CHECK(done.has_value() == good, "an outcome is taken if it is that of the job");
  if (!good) return;
  PARLEY_CHECK(done->ok() == (Number(message, 8, 4) == 0), "the code is the worker's");
  PARLEY_CHECK(Printable(*done), "an outcome can be shown anywhere");
}

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 9) return 0;
  // SAFETY: any object may be looked at as std::byte.
  const absl::Span<const std::byte> input(reinterpret_cast<const std::byte*>(data), size);
  const absl::Span<const std::byte> message = input.subspan(9);
  switch (data[0] % 3) {
    case 0:
      parley::fuzz::CheckRead(message);
      break;
    case 1:
      parley::fuzz::CheckFailed(message);
      break;
    default:
      parley::fuzz::CheckJobDone(message, parley::fuzz::Number(input, 1, 8));
      break;
  }
  return 0;
}
