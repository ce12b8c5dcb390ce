// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_DAMAGE_H_
#define PARLEY_THUMB_DAMAGE_H_

// Damages a file, the same way for the same seed: what its headers say of sizes, lengths, palettes
// and places, or any of its bytes.
//
// Threads: pure functions; any.

#include <cstdint>
#include <string>

namespace parley::thumb::testing {

// Another string of bytes. `file` is not empty.
std::string Damaged(const std::string& file, uint64_t seed);

}  // namespace parley::thumb::testing

#endif  // PARLEY_THUMB_DAMAGE_H_
