// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_DUPLEX_CHAT_LINE_READER_H_
#define PARLEY_EXAMPLES_DUPLEX_CHAT_LINE_READER_H_

// Lines from a descriptor that an event loop polls.
//
// Trust: reads only what this process's user types. Holds one line and one read at most.
// Threads: one at a time.
//
//   LineReader reader(STDIN_FILENO, 1000);
//   std::optional<std::string> line = reader.TakeLine();
//   if (!line && !reader.at_end()) { ... poll for POLLIN ...; reader.Read(); }

#include <cstddef>
#include <optional>
#include <string>

namespace parley {

class LineReader {
 public:
  // A line longer than `max_bytes` comes in pieces of that length.
  LineReader(int fd, std::size_t max_bytes) : fd_(fd), max_bytes_(max_bytes) {}

  // Once, after a poll said that there is something; may wait otherwise.
  void Read();
  // The next line without its end, if all of it was read. The last one may lack an end.
  std::optional<std::string> TakeLine();
  // Nothing will come any more but the lines that TakeLine still returns.
  bool at_end() const { return at_end_; }

 private:
  const int fd_;
  const std::size_t max_bytes_;
  std::string buffer_;
  bool at_end_ = false;
  bool cut_ = false;  // the last piece taken was full, and its line's end not among what was read
};

}  // namespace parley

#endif  // PARLEY_EXAMPLES_DUPLEX_CHAT_LINE_READER_H_
