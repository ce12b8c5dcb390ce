// SPDX-License-Identifier: Apache-2.0
#include "parley/cli/input.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace parley::cli {

absl::StatusOr<bool> BufferedInput::Fill() {
  if (begin_ < end_) return true;
  const absl::StatusOr<size_t> got = source_.Read(absl::MakeSpan(buffer_));
  if (!got.ok()) return got.status();
  begin_ = 0;
  end_ = *got;
  return *got > 0;
}

absl::StatusOr<std::string> BufferedInput::ReadLine(size_t max_bytes, bool* ended_by_newline) {
  std::string line;
  while (true) {
    const absl::StatusOr<bool> more = Fill();
    if (!more.ok()) return more.status();
    if (!*more) {
      if (line.empty()) return absl::OutOfRangeError("the end of the input");
      if (ended_by_newline == nullptr) {
        return absl::DataLossError("the input ends in the middle of a line");
      }
      *ended_by_newline = false;
      return line;
    }
    const auto* from = buffer_.data() + begin_;
    const auto* newline = std::find(from, from + (end_ - begin_), std::byte{'\n'});
    const size_t length = static_cast<size_t>(newline - from);
    if (line.size() + length > max_bytes) {
      return absl::DataLossError(absl::StrCat("a line of more than ", max_bytes, " bytes"));
    }
    // SAFETY: characters and bytes are the same size.
    line.append(reinterpret_cast<const char*>(from), length);
    const bool ended = begin_ + length < end_;
    begin_ += length + (ended ? 1 : 0);
    taken_bytes_ += length + (ended ? 1 : 0);
    if (ended && ended_by_newline != nullptr) *ended_by_newline = true;
    if (ended) return line;
  }
}

absl::StatusOr<size_t> BufferedInput::ReadSome(absl::Span<std::byte> into) {
  if (into.empty()) return size_t{0};
  if (begin_ == end_ && into.size() >= kBufferBytes) {
    const absl::StatusOr<size_t> got = source_.Read(into);
    if (got.ok()) taken_bytes_ += *got;
    return got;
  }
  const absl::StatusOr<bool> more = Fill();
  if (!more.ok()) return more.status();
  const size_t taken = *more ? std::min(into.size(), end_ - begin_) : 0;
  if (taken > 0) std::memcpy(into.data(), buffer_.data() + begin_, taken);
  begin_ += taken;
  taken_bytes_ += taken;
  return taken;
}

absl::Status BufferedInput::ReadExactly(absl::Span<std::byte> into) {
  const size_t wanted = into.size();
  while (!into.empty()) {
    const absl::StatusOr<size_t> got = ReadSome(into);
    if (!got.ok()) return got.status();
    if (*got == 0) {
      if (into.size() == wanted) return absl::OutOfRangeError("the end of the input");
      return absl::DataLossError(
          absl::StrCat("the input ends after ", wanted - into.size(), " of ", wanted, " bytes"));
    }
    into.remove_prefix(*got);
  }
  return absl::OkStatus();
}

absl::Status BufferedInput::Skip(uint64_t bytes) {
  std::array<std::byte, 4096> nowhere;
  while (bytes > 0) {
    const size_t now = static_cast<size_t>(std::min<uint64_t>(bytes, nowhere.size()));
    const absl::Status got = ReadExactly(absl::MakeSpan(nowhere).first(now));
    if (absl::IsOutOfRange(got)) return absl::DataLossError("the input ends where more is to come");
    if (!got.ok()) return got;
    bytes -= now;
  }
  return absl::OkStatus();
}

}  // namespace parley::cli
