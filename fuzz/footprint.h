// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FUZZ_FOOTPRINT_H_
#define PARLEY_FUZZ_FOOTPRINT_H_

// What this process holds: descriptors and mappings of shared memory. Compared before and after
// each input, so that a leak is found with the first input that leaks.
//
// Trust: nothing from outside.
// Threads: one, with no other thread opening files.
//
//   LeavesNothing([&] { Run(script).Everything(); });

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <string_view>

#include "parley/os/check.h"

namespace parley::fuzz {

// Lowest numbers are used first, so a leak shows below this. One system call.
inline int OpenDescriptors() {
  std::array<pollfd, 200> entries;
  for (std::size_t i = 0; i < entries.size(); ++i) entries[i] = {static_cast<int>(i), 0, 0};
  PARLEY_CHECK(::poll(entries.data(), entries.size(), 0) >= 0, "poll");
  int open = 0;
  for (const pollfd& entry : entries) open += (entry.revents & POLLNVAL) == 0;
  return open;
}

inline int SharedMappings() {
  const int maps = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  PARLEY_CHECK(maps >= 0, "/proc is needed");
  std::array<char, 1 << 14> text;
  ssize_t got = 0;
  int mappings = 0;
  // The kernel gives whole lines with each read.
  while ((got = ::read(maps, text.data(), text.size())) > 0) {
    const std::string_view piece(text.data(), static_cast<std::size_t>(got));
    for (auto at = piece.find("memfd:"); at != std::string_view::npos;
         at = piece.find("memfd:", at + 1)) {
      ++mappings;
    }
  }
  ::close(maps);
  return mappings;
}

// Runs one input. Descriptors are counted afresh, since libFuzzer may have started its symbolizer;
// mappings, which take longer, are as the input before left them.
template <typename Body>
void LeavesNothing(Body body) {
  static const int mappings = SharedMappings();
  const int descriptors = OpenDescriptors();
  body();
  PARLEY_CHECK(OpenDescriptors() == descriptors, "a descriptor was left open");
  PARLEY_CHECK(SharedMappings() == mappings, "shared memory was left mapped");
}

}  // namespace parley::fuzz

#endif  // PARLEY_FUZZ_FOOTPRINT_H_
