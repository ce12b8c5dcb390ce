// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FUZZ_RING_RUN_H_
#define PARLEY_FUZZ_RING_RUN_H_

// What the fuzzers of the ring's ends have in common: two scripted regions, an attacker who writes
// into the peer's before the calls and between their single fetches, and the loop of steps, after
// each of which the model must agree.
//
// Trust: the script is the attacker.
// Threads: one.
//
//   class Run : public RingRun { Step, ExpectAsModel, Strike };
//   extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
//     return RunRecordRing<Run>(data, size);
//   }

#include <cstddef>
#include <cstdint>

#include "parley/fuzz/ring_attacker.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {

class RingRun {
 public:
  RingRun(const RingRun&) = delete;
  RingRun& operator=(const RingRun&) = delete;
  virtual ~RingRun() = default;

  void Everything(int max_steps) {
    for (int i = 0; i < max_steps && !script_.empty(); ++i) {
      Step(script_.Take8());
      ExpectAsModel();
    }
  }

 protected:
  // `mode`, bit 1: each fetch gets a fresh value and there are no bytes at all.
  RingRun(testing::Script script, uint8_t mode, AttackedRing ring)
      : script_(script),
        mine_(ring.capacity),
        theirs_(ring.capacity),
        attacker_(&theirs_, &mine_, ring) {
    theirs_.before_fetch = [this](const testing::Fetch& fetch) {
      if (strikes_) Strike();
      attacker_.NoteFetch(fetch);
    };
    if ((mode & 1) == 0) return;
    theirs_.fresh_word = [this](const testing::Fetch& fetch) {
      return attacker_.FreshWord(script_, fetch);
    };
  }

  virtual void Step(uint8_t op) = 0;
  virtual void ExpectAsModel() = 0;
  virtual void Strike() = 0;  // one hostile write

  testing::Script script_;
  testing::ScriptedRegion mine_;
  testing::ScriptedRegion theirs_;
  RingAttacker attacker_;
  bool strikes_ = false;  // within this step's calls as well
};

// Input: capacity, longest message, mode, then the steps. Run is a RingRun, made of a script, the
// mode, the capacity and the longest message.
template <typename Run>
int RunRecordRing(const uint8_t* data, std::size_t size) {
  testing::Script script(data, size);
  const uint64_t capacity = uint64_t{4096} << (script.Take8() % 2);
  const uint16_t max_message = script.Take16();
  const uint8_t mode = script.Take8();
  Run(script, mode, capacity, static_cast<uint32_t>(max_message % (capacity - 8 + 1)))
      .Everything(Run::kMaxSteps);
  return 0;
}

}  // namespace parley::fuzz

#endif  // PARLEY_FUZZ_RING_RUN_H_
