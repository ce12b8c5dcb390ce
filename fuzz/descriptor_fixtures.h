// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FUZZ_DESCRIPTOR_FIXTURES_H_
#define PARLEY_FUZZ_DESCRIPTOR_FIXTURES_H_

// Every kind of descriptor that a hostile process hands over, made as a script says: memfds of all
// sizes, seals and holes, and everything that is none.
//
// Trust: this is the attacker.
// Threads: one.
//
//   UniqueFd fd = MakeDescriptor(script, 4096 + 65536);

#include <cstdint>

#include "parley/os/unique_fd.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {

// A memfd about as long as `file_bytes`, and what an adopter may find out about it.
struct ForeignMemfd {
  UniqueFd fd;
  uint64_t size_bytes = 0;
  unsigned seals = 0;          // what is sealed in the end
  bool pages_missing = false;  // inside its size
  bool hole_hidden = false;    // by as many pages beyond it
  bool huge_pages = false;
};
ForeignMemfd MakeMemfd(testing::Script& script, uint64_t file_bytes);

// Anything; a memfd about as often as not. Never a descriptor that is not ok: where the system
// lacks the kind, it is an eventfd.
UniqueFd MakeDescriptor(testing::Script& script, uint64_t file_bytes);

// Where a sealing was given up, the helper that was killed has a descriptor until it has ended.
void AwaitSealHelpers();

}  // namespace parley::fuzz

#endif  // PARLEY_FUZZ_DESCRIPTOR_FIXTURES_H_
