// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_ENDURANCE_SURVIVOR_H_
#define PARLEY_ENDURANCE_SURVIVOR_H_

// A process that must outlive what happens to its peers: it keeps a diary in memory that it shares
// with its lane, comes to rest when it is asked to, and is measured from outside then.
//
// Threads: one in each of the two processes.
//
//   Survivor survivor(lane, [&](Diary& diary) {
//     diary.Ready();
//     while (!diary.Over()) { diary.RestIfAsked(); ... }
//   });

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "parley/endurance/lane.h"
#include "parley/endurance/options.h"
#include "parley/os/deadline.h"
#include "parley/villain/notes.h"
#include "parley/villain/process.h"

namespace parley::endurance {

inline Deadline In(absl::Duration time) { return Deadline::After(time); }
// Within it whatever is to happen has happened, on any machine.
inline Deadline Patience() { return In(absl::Seconds(30)); }

struct Diary {
  villain::Notes notes;
  std::atomic<uint32_t> rest_wanted;
  std::atomic<uint32_t> resting;
  std::atomic<uint32_t> over;
  std::atomic<int64_t> sessions;       // channels that came to be
  std::atomic<int64_t> failures;       // handshakes that came to nothing
  std::atomic<int64_t> messages;       // with the right content
  std::atomic<int64_t> deaths;         // sessions ended by the peer's death
  std::atomic<int64_t> closes;         // sessions ended in order
  std::atomic<int64_t> timeouts;       // waits that ended at their deadline
  std::atomic<int64_t> refusals;       // calls that failed for want of something, with a clear word
  std::atomic<int64_t> max_notice_ns;  // from a peer's death to the end of the call

  void Ready() { notes.stage.store(villain::Stage::kReady); }
  bool Over() const { return over.load() != 0; }
  bool RestWanted() const { return rest_wanted.load() != 0; }
  // Stays until the lane has looked.
  void Rest();
  // An answer that no call may give, or wrong data.
  void Wrong(const std::string& what);
};

// Does what the fault says, if there is one. Once in each session.
void Misbehave(Fault fault, Diary& diary);

class Survivor {
 public:
  // Waits until it is ready.
  Survivor(Lane& lane, const std::function<void(Diary&)>& body);

  Diary& diary() { return *diary_; }
  villain::Process& process() { return process_; }
  bool Alive() const;
  // False, and the lane has failed, if it died, did wrong, was late or is stuck in a call.
  bool Fine();
  // Brings it to rest and measures it.
  villain::Footprint AtRest();
  void Resume();
  // Lets it end; the lane fails if it does not by itself.
  void Finish();

 private:
  Lane& lane_;
  Diary* const diary_;
  villain::Process process_;
  uint64_t calls_seen_ = 0;
  int64_t calls_moved_ns_;
};

using Survivors = std::vector<std::unique_ptr<Survivor>>;

// All of them are fine.
bool Fine(const Survivors& survivors);
void MeasureBefore(Lane& lane, const Survivors& survivors);
// Measures, compares, ends the survivors and fills in the row's columns and the common figures.
void Conclude(Lane& lane, const Survivors& survivors);

}  // namespace parley::endurance

#endif  // PARLEY_ENDURANCE_SURVIVOR_H_
