// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FUZZ_MUTATED_H_
#define PARLEY_FUZZ_MUTATED_H_

// What the fuzzers of a handshake's two sides have in common: messages that are nearly right, and
// errors that are documented.
//
// Trust: this is the attacker.
// Threads: one.
//
//   Send(Mutated(script, EncodeHello(hello)));

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iostream>
#include <vector>

#include "absl/status/status.h"
#include "parley/os/check.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {

// Up to three bytes changed, or the length.
inline std::vector<std::byte> Mutated(testing::Script& script, std::vector<std::byte> message) {
  for (int i = script.Take8() % 4; i > 0; --i) {
    const std::size_t at = script.Take8() % message.size();
    message[at] = std::byte{script.Take8()};
  }
  const uint8_t length = script.Take8();
  if (length >= 250) message.resize(message.size() + 250 - length - 1);
  if (length >= 240 && length < 250) message.resize(message.size() + length - 239);
  return message;
}

inline void ExpectTyped(const absl::Status& status,
                        std::initializer_list<absl::StatusCode> documented) {
  const bool known =
      std::find(documented.begin(), documented.end(), status.code()) != documented.end();
  if (!known) std::cerr << status << std::endl;
  PARLEY_CHECK(known, "an error that is not typed as documented");
}

}  // namespace parley::fuzz

#endif  // PARLEY_FUZZ_MUTATED_H_
