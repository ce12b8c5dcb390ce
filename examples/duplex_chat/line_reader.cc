// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/duplex_chat/line_reader.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace parley {

void LineReader::Read() {
  std::array<char, 4096> bytes;
  const ssize_t got = ::read(fd_, bytes.data(), bytes.size());
  if (got > 0) {
    buffer_.append(bytes.data(), static_cast<std::size_t>(got));
  } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
    at_end_ = true;  // or there is no such descriptor: nothing will come
  }
}

std::optional<std::string> LineReader::TakeLine() {
  if (cut_ && !buffer_.empty()) {
    // The end of the line whose last piece was taken before its end was read: not an empty line.
    if (buffer_.front() == '\n') buffer_.erase(0, 1);
    cut_ = false;
  }
  const std::size_t end = buffer_.find('\n');
  const std::size_t size_bytes = std::min({end, buffer_.size(), max_bytes_});
  const bool whole = end != std::string::npos || size_bytes == max_bytes_;
  if (!whole && (!at_end_ || buffer_.empty())) return std::nullopt;
  cut_ = size_bytes == max_bytes_ && end != size_bytes;
  std::string line = buffer_.substr(0, size_bytes);
  buffer_.erase(0, size_bytes + (end == size_bytes ? 1 : 0));
  return line;
}

}  // namespace parley
