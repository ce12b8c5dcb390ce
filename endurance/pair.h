// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_ENDURANCE_PAIR_H_
#define PARLEY_ENDURANCE_PAIR_H_

// Two survivors that talk to each other all the time: one connects, asks 200 things, closes and
// connects again; the other accepts and answers. Most of their deadlines are short ones.
//
//   Pair pair(lane, {.eventfd = true});
//   if (pair.Talks(5)) { MeasureBefore(lane, pair.survivors()); ... }

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "parley/endurance/lane.h"
#include "parley/endurance/survivor.h"

namespace parley::endurance {

struct PairSetup {
  bool eventfd = false;
  // In the lane, before it starts the end that connects, which is the last one to be started.
  std::function<void()> before_asker = [] {};
  // In each of the two processes, before anything else.
  std::function<absl::Status()> prepare = [] { return absl::OkStatus(); };
  // And after each conversation.
  std::function<void()> after_each = [] {};
};

class Pair {
 public:
  Pair(Lane& lane, const PairSetup& setup);

  Survivors& survivors() { return survivors_; }
  // True once `count` more conversations went from beginning to end.
  bool Talks(int64_t count);

 private:
  Lane& lane_;
  Survivors survivors_;  // the one that connects is the first, and comes to rest first
};

}  // namespace parley::endurance

#endif  // PARLEY_ENDURANCE_PAIR_H_
