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
#include <string_view>

#include "parley/os/check.h"

namespace parley::fuzz {

struct Footprint {
  int descriptors = 0;
  int shared_mappings = 0;

  static Footprint Now() {
    Footprint now;
    // Lowest numbers are used first, so a leak shows below this. One system call.
    std::array<pollfd, 200> entries;
    for (std::size_t i = 0; i < entries.size(); ++i) entries[i] = {static_cast<int>(i), 0, 0};
    PARLEY_CHECK(::poll(entries.data(), entries.size(), 0) >= 0, "poll");
    for (const pollfd& entry : entries) now.descriptors += (entry.revents & POLLNVAL) == 0;

    const int maps = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    PARLEY_CHECK(maps >= 0, "/proc is needed");
    std::array<char, 1 << 14> text;
    ssize_t got = 0;
    // The kernel gives whole lines with each read.
    while ((got = ::read(maps, text.data(), text.size())) > 0) {
      const std::string_view piece(text.data(), static_cast<std::size_t>(got));
      for (auto at = piece.find("memfd:"); at != std::string_view::npos;
           at = piece.find("memfd:", at + 1)) {
        ++now.shared_mappings;
      }
    }
    ::close(maps);
    return now;
  }

  void ExpectSameNow() const {
    const Footprint now = Now();
    PARLEY_CHECK(now.descriptors == descriptors, "a descriptor was left open");
    PARLEY_CHECK(now.shared_mappings == shared_mappings, "shared memory was left mapped");
  }
};

// Runs one input. What the one before left is what this one began with: one look for each input,
// since a look costs more than many an input.
template <typename Body>
void LeavesNothing(Body body) {
  static const Footprint at_first = Footprint::Now();
  body();
  at_first.ExpectSameNow();
}

}  // namespace parley::fuzz

#endif  // PARLEY_FUZZ_FOOTPRINT_H_
