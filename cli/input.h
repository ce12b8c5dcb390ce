// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CLI_INPUT_H_
#define PARLEY_CLI_INPUT_H_

// Bytes that come in any pieces, read as lines and as exact lengths.
//
// Trust: the bytes are anybody's. Nothing is kept but one piece of 64 KiB.
// Threads: one at a time.
//
//   BufferedInput input(source);
//   absl::StatusOr<std::string> line = input.ReadLine(1024);
//   absl::Status whole = input.ReadExactly(absl::MakeSpan(frame));   // straight into it

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace parley::cli {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // At least one byte, and how many; 0: the end. An error is passed on as it is.
  virtual absl::StatusOr<size_t> Read(absl::Span<std::byte> into) = 0;
};

class BufferedInput {
 public:
  explicit BufferedInput(ByteSource& source) : source_(source), buffer_(kBufferBytes) {}

  // Without its newline. kOutOfRange: the end, and nothing before it; kDataLoss: more than
  // `max_bytes`, or the end in the middle of the line, unless `ended` is given, which then says
  // whether there was a newline.
  absl::StatusOr<std::string> ReadLine(size_t max_bytes, bool* ended = nullptr);
  // All of `into`. kOutOfRange: the end, and nothing before it; kDataLoss: the end in the middle.
  absl::Status ReadExactly(absl::Span<std::byte> into);
  // Whatever is there, at least a byte; 0: the end.
  absl::StatusOr<size_t> ReadSome(absl::Span<std::byte> into);
  // kDataLoss: the end before so many bytes.
  absl::Status Skip(uint64_t bytes);

  uint64_t taken_bytes() const { return taken_bytes_; }

 private:
  static constexpr size_t kBufferBytes = size_t{64} << 10;
  // False: the end.
  absl::StatusOr<bool> Fill();

  ByteSource& source_;
  std::vector<std::byte> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  uint64_t taken_bytes_ = 0;
};

}  // namespace parley::cli

#endif  // PARLEY_CLI_INPUT_H_
