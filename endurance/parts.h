// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_ENDURANCE_PARTS_H_
#define PARLEY_ENDURANCE_PARTS_H_

// What there is to endure.

#include <string>
#include <vector>

#include "parley/endurance/lane.h"
#include "parley/endurance/options.h"

namespace parley::endurance {

// SIGKILL at random points: for half of options.kills the connecting side dies and the accepting
// side lives on, for the other half it is the other way round.
std::vector<LaneSpec> KillLanes(const Options& options);
// SIGSTOP and SIGCONT on both ends during waits and handshakes.
std::vector<LaneSpec> StopLanes(const Options& options);
// RLIMIT_NOFILE reached while peers come and go.
std::vector<LaneSpec> DescriptorLanes(const Options& options);
// Memory control groups at their limit.
std::vector<LaneSpec> MemoryLanes(const Options& options);
// Clocks that jump.
std::vector<LaneSpec> ClockLanes(const Options& options);

inline constexpr const char* kPartNames[] = {"kills", "stops", "descriptors", "memory", "clocks"};
// Of these parts; empty: of all.
std::vector<LaneSpec> LanesOf(const std::vector<std::string>& parts, const Options& options);

}  // namespace parley::endurance

#endif  // PARLEY_ENDURANCE_PARTS_H_
