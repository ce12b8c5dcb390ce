// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_WAITING_STUDY_H_
#define PARLEY_BENCH_WAITING_STUDY_H_

// "Waiting for many": what a WaitSet costs with ten active channels among many, and what a peer
// that floods one of them costs the ten.
//
// Three processes: the server, which has the WaitSet; a client with all channels; one that floods.
//
// Threads: one at a time.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace parley::bench {

struct WaitingOptions {
  // Where descriptors do not allow a number, the largest that they allow takes its place.
  std::vector<std::size_t> channels = {10, 1'000, 10'000};
  int passes = 5;
  int rounds = 201;  // of each pass, for each number of channels
  // Of round trips: windows of each condition in a pass, by turns, and how long each is.
  int windows = 8;
  double window_s = 0.25;
  std::size_t among = 1'000;  // how many are registered beside a flood
  // Server and client at a real-time priority, on a processor each: for a machine that has other
  // work, which would be most of a p99. The flood stays where it is scheduled. Root only.
  bool realtime = false;
};

// What the flooding process does meanwhile.
enum class Flood {
  kNone,       // sleeps
  kElsewhere,  // signals a socket of its own: takes the same processor time
  kSignals,    // signals one of our channels without data; connects again where it is dropped
  kMessages,   // fills one of our channels with messages
};
const char* ToString(Flood flood);

struct WaitingResult {
  // Per number of channels: of each pass, the median of a message that is there already, in ns: the
  // wait, the handler, the message, ready to wait again.
  struct Ready {
    std::size_t channels = 0;
    std::vector<double> ns;
  };
  // Per condition: of each pass, round trips of the ten, which sleep, by turns.
  struct RoundTrips {
    std::size_t channels = 0;
    Flood flood = Flood::kNone;
    std::vector<double> p50_ns;
    std::vector<double> p99_ns;
    std::vector<double> count;
  };
  std::vector<Ready> ready;
  std::vector<RoundTrips> round_trips;
  std::vector<std::string> failed;  // what, and why
};

WaitingResult MeasureWaiting(const WaitingOptions& options);

std::string ToJson(const WaitingResult& result, const std::string& commit);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_WAITING_STUDY_H_
