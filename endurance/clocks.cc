// SPDX-License-Identifier: Apache-2.0

// Clocks that jump while both ends wait for each other and shake hands.
//
// CLOCK_MONOTONIC never jumps, but it need not be the same for both: two containers on one machine
// can be days apart. CLOCK_REALTIME jumps when somebody sets it. Setting the machine's clock would
// be felt by all of its processes, so by default only these two have one that jumps
// (private_clock.h); with --set-clock it is the machine's.

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "parley/endurance/lane.h"
#include "parley/endurance/machine_clock.h"
#include "parley/endurance/pair.h"
#include "parley/endurance/parts.h"
#include "parley/endurance/private_clock.h"
#include "parley/endurance/shared.h"
#include "parley/endurance/survivor.h"
#include "parley/os/deadline.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080  // Linux 5.6
#endif

namespace parley::endurance {
namespace {

constexpr int64_t kAheadS = int64_t{100} * 24 * 3600;

// The children that are forked from now on have another CLOCK_MONOTONIC. Empty, or why not.
std::string EnterOtherTime() {
  const auto why = [] { return std::string("no other time namespace: ") + std::strerror(errno); };
  if (::unshare(CLONE_NEWTIME) != 0) return why();
  for (const char* clock : {"monotonic", "boottime"}) {
    std::ofstream offsets("/proc/self/timens_offsets");
    offsets << clock << " " << kAheadS << " 0" << std::endl;
    if (!offsets) return why();
  }
  return "";
}

// Lets them talk for the time that the options say, `step` again and again meanwhile.
template <typename Step>
void TalkOn(Lane& lane, Pair& pair, Step step) {
  if (pair.Talks(5)) MeasureBefore(lane, pair.survivors());
  const Deadline end = In(lane.options().time);
  lane.Expect(absl::ToInt64Milliseconds(lane.options().time));
  while (!end.Expired() && Fine(pair.survivors())) {
    step();
    lane.Progress(absl::ToInt64Milliseconds(lane.options().time - end.Remaining()));
  }
  lane.row().served_of = 5;
  if (!lane.failed() && pair.Talks(5)) lane.row().served = 5;
}

void RunApart(Lane& lane) {
  std::string why_not;
  PairSetup setup;
  setup.before_asker = [&] { why_not = EnterOtherTime(); };
  const int64_t began_ns = MonotonicNowNs();
  auto& askers_ns = *NewShared<std::atomic<int64_t>>();
  setup.prepare = [&] {
    Raise(askers_ns, MonotonicNowNs());
    return absl::OkStatus();
  };
  Pair pair(lane, setup);
  if (!why_not.empty()) return lane.Skip(why_not);
  TalkOn(lane, pair, [] { ::usleep(10'000); });
  lane.Figure("seconds between their clocks", (askers_ns.load() - began_ns) / 1'000'000'000);
  lane.row().count = pair.survivors()[0]->diary().closes.load();
  Conclude(lane, pair.survivors());
  if (askers_ns.load() - began_ns < (kAheadS - 60) * 1'000'000'000) {
    lane.Fail("the clocks were not apart");
  }
}

void RunPrivate(Lane& lane) {
  if (!ClockIsPrivate()) return lane.Skip("a sanitizer has clock functions of its own");
  auto& readings = *NewShared<std::atomic<int64_t>>();
  PairSetup setup;
  setup.prepare = [] {
    JumpAtEachReading(true);
    return ForbidRealtimeTimers();
  };
  setup.after_each = [&] { Raise(readings, Readings()); };
  Pair pair(lane, setup);
  TalkOn(lane, pair, [] { ::usleep(10'000); });
  lane.row().count = pair.survivors()[0]->diary().closes.load();
  Conclude(lane, pair.survivors());
  lane.Figure("readings of CLOCK_REALTIME by an end", readings.load());
}

void RunMachine(Lane& lane) {
  if (!lane.options().set_clock) {
    return lane.Skip("sets the machine's clock for all its processes: with --set-clock alone");
  }
  const MachineClock clock;
  if (absl::Status s = clock.Set(absl::ZeroDuration()); !s.ok()) {
    return lane.Skip(std::string(s.message()));
  }
  Pair pair(lane, {});
  int64_t furthest_s = 0;
  TalkOn(lane, pair, [&] {
    for (const int hours : {1, 0, -1, 0, 1, -1, 0}) {
      const absl::Status s = clock.Set(absl::Hours(hours));
      if (!s.ok()) lane.Fail(s.ToString());
      ++lane.row().count;
      furthest_s = std::max(furthest_s, absl::ToInt64Seconds(clock.Offset()));
      ::usleep(static_cast<useconds_t>(lane.Random(hours == 0 ? 20'000 : 4'000)));
    }
  });
  lane.Figure("furthest away in s", furthest_s);
  lane.Figure("set back to within us",
              absl::ToInt64Microseconds(absl::AbsDuration(clock.Offset())));
  Conclude(lane, pair.survivors());
  if (furthest_s < 3500) lane.Fail("the clock did not jump");
}

}  // namespace

std::vector<LaneSpec> ClockLanes(const Options&) {
  return {
      {"clocks", "monotonic clocks 100 days apart", "sessions", RunApart},
      {"clocks", "realtime jumps at each reading", "sessions", RunPrivate},
      {"clocks", "the machine's clock is set", "jumps", RunMachine, true},
  };
}

}  // namespace parley::endurance
