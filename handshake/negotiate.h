// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_HANDSHAKE_NEGOTIATE_H_
#define PARLEY_HANDSHAKE_NEGOTIATE_H_

// What the two sides of a handshake agree on: pure functions of checked options and of a parsed
// message. No socket, no system call, no allocation; so tests and fuzzers ask the same questions
// that a handshake asks.
//
// Trust: the Hello and the Welcome are the peer's, parsed. Any of them gives an agreement that both
// our options and our caller can live with, or a refusal with its reason.
// Threads: pure functions.
//
//   const std::variant<Agreement, Refusal> answer = Negotiate(options, hello);
//   if (const auto* refusal = std::get_if<Refusal>(&answer)) return refusal->ToStatus();

#include <cstdint>
#include <variant>

#include "absl/status/status.h"
#include "parley/handshake/checked_options.h"
#include "parley/handshake/wire.h"

namespace parley {

struct Refusal {
  RefusalReason reason = RefusalReason::kMalformed;
  const char* sentence = "";  // a literal
  // The two numbers that the sentence is about, if it is about numbers.
  uint64_t asked = 0;
  uint64_t allowed = 0;

  // kResourceExhausted for sizes, kPermissionDenied for an identity, else kFailedPrecondition.
  absl::Status ToStatus() const;
};

// The accepting side's answer to a Hello. The peer's identity and the format are judged elsewhere.
std::variant<Agreement, Refusal> Negotiate(const CheckedAcceptOptions& options, const Hello& hello);

// The connecting side's offer. The format is a copy of the options'.
Hello MakeHello(const CheckedConnectOptions& options);

// Whether the connecting side can live with the answer to `hello`, which MakeHello made. OK;
// kInvalidArgument: the peer chose what was not offered; kResourceExhausted: beyond our limits.
absl::Status CheckAgreement(const CheckedConnectOptions& options, const Hello& hello,
                            const Agreement& agreement);

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_NEGOTIATE_H_
