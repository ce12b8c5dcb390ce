// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_HOSTILE_INPUT_H_
#define PARLEY_SANDBOX_HOSTILE_INPUT_H_

// Bytes (or the descriptor, blob or reader that gives them) which may hijack whoever parses them:
// held closed until there is proof of confinement.
//
// Trust: the content is the attacker's. This type does not make it safer; it makes touching it
// outside of the sandbox fail to compile.
// Threads: as T.
//
//   HostileInput<SealedBlob> film(std::move(blob));
//   ... LockDown ...
//   Parse(film.Open(confined));

#include <string_view>
#include <utility>

#include "parley/os/check.h"
#include "parley/sandbox/confine.h"
#include "parley/sandbox/plain_code.h"

namespace parley {

template <typename T>
class HostileInput {
 public:
  explicit HostileInput(T input) : input_(std::move(input)) {}

  // Aborts for a proof with a sanitizer's exceptions, but in a build with a sanitizer: it is a bug
  // of the caller's, who locked down for a test and ships it.
  T& Open(const Confined& confined) & {
    Check(confined);
    return input_;
  }
  T Open(const Confined& confined) && {
    Check(confined);
    return std::move(input_);
  }

  // For input that is known to be ours (a test clip that this program made), or for a tool whose
  // user asked for no sandbox. `reason` is for the reader of the calling line.
  T& OpenWithoutConfinementBecause(std::string_view reason) {
    static_cast<void>(reason);
    return input_;
  }

 private:
  static void Check(const Confined& confined) {
    PARLEY_CHECK(internal::kSanitizer || !confined.profile().has_sanitizer_exceptions(),
                 "hostile input under a profile for sanitizers");
  }

  T input_;
};

}  // namespace parley

#endif  // PARLEY_SANDBOX_HOSTILE_INPUT_H_
