// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_PRINTABLE_H_
#define PARLEY_SANDBOX_PRINTABLE_H_

// A worker's output as text that can be shown anywhere: lines of printable ASCII.
//
// Trust: every byte is the worker's. Escape sequences, other control characters and bytes beyond
// ASCII become \xNN, so that no terminal or log reader acts on them, and each line begins with the
// worker's name, so that it cannot pass for one of ours.
// Threads: not thread-safe.
//
//   PrintableLines lines("decoder");
//   lines.Add("half a li", out);   // nothing yet
//   lines.Add("ne\x1b[2J\n", out); // "[decoder] half a line\x1b[2J\n", with four letters for ESC

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace parley::internal {

class PrintableLines {
 public:
  // A longer line is broken in two.
  static constexpr size_t kMaxLineBytes = 512;

  explicit PrintableLines(std::string name) : name_(std::move(name)) {}

  // Appends each line that `raw` completes. Empty ones are left out.
  void Add(std::string_view raw, std::string& text);
  // Appends what is left of a line.
  void Flush(std::string& text);

 private:
  std::string name_;
  std::string line_;
};

}  // namespace parley::internal

namespace parley {

// `raw` as printable ASCII on one line, of at most `max_bytes`: for a worker's own words in a
// sentence of ours.
std::string Printable(std::string_view raw, size_t max_bytes);

}  // namespace parley

#endif  // PARLEY_SANDBOX_PRINTABLE_H_
