// SPDX-License-Identifier: Apache-2.0

// SIGSTOP and SIGCONT on both ends, again and again, while they shake hands and wait for each
// other. A stopped process returns from nothing, so a wait of its own may last until it goes on;
// apart from that no deadline may be missed, and not a message may be lost.

#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "parley/endurance/lane.h"
#include "parley/endurance/pair.h"
#include "parley/endurance/parts.h"
#include "parley/endurance/survivor.h"
#include "parley/os/deadline.h"

namespace parley::endurance {
namespace {

constexpr int64_t kLongUs = 50'000;

// How long this one stays stopped: mostly short, now and then longer than any deadline in there.
int64_t RandomStopUs(Lane& lane) {
  const int64_t kind = lane.Random(19);
  if (kind < 13) return lane.Random(2'000);
  if (kind < 19) return lane.Random(20'000);
  return kLongUs + lane.Random(150'000);
}

void StopSomebody(Lane& lane, Survivors& survivors, int64_t us) {
  const int64_t whom = lane.Random(2);
  std::vector<Survivor*> stopped;
  if (whom != 1) stopped.push_back(survivors[0].get());
  if (whom != 0) stopped.push_back(survivors[1].get());
  for (Survivor* s : stopped) ::kill(s->process().pid(), SIGSTOP);
  ::usleep(static_cast<useconds_t>(us));
  for (Survivor* s : stopped) {
    s->diary().notes.held_until_ns.store(MonotonicNowNs());
    ::kill(s->process().pid(), SIGCONT);
    ++lane.row().count;
  }
  ::usleep(static_cast<useconds_t>(lane.Random(lane.Random(1) == 0 ? 300 : 5'000)));
}

void RunStorm(Lane& lane, bool eventfd) {
  PairSetup setup;
  setup.eventfd = eventfd;
  Pair pair(lane, setup);
  Survivors& survivors = pair.survivors();
  if (pair.Talks(5)) MeasureBefore(lane, survivors);
  const Deadline end = In(lane.options().time);
  lane.Expect(absl::ToInt64Milliseconds(lane.options().time));
  int64_t long_stops = 0;
  while (!end.Expired() && Fine(survivors)) {
    const int64_t us = RandomStopUs(lane);
    if (us >= kLongUs) ++long_stops;
    StopSomebody(lane, survivors, us);
    lane.Progress(absl::ToInt64Milliseconds(lane.options().time - end.Remaining()));
  }
  lane.row().served_of = 5;
  if (!lane.failed() && pair.Talks(5)) lane.row().served = 5;
  lane.Figure("longer than 50 ms", long_stops);
  Conclude(lane, survivors);
  if (lane.row().count == 0) lane.Fail("nobody was stopped");
}

}  // namespace

std::vector<LaneSpec> StopLanes(const Options&) {
  std::vector<LaneSpec> lanes;
  for (const bool eventfd : {false, true}) {
    lanes.push_back({"stops", eventfd ? "both ends, eventfd" : "both ends, socket", "stops",
                     [eventfd](Lane& lane) { RunStorm(lane, eventfd); }});
  }
  return lanes;
}

}  // namespace parley::endurance
