// SPDX-License-Identifier: Apache-2.0
#include "parley/endurance/parts.h"

#include <algorithm>

namespace parley::endurance {

std::vector<LaneSpec> LanesOf(const std::vector<std::string>& parts, const Options& options) {
  std::vector<LaneSpec> all;
  for (const auto make : {KillLanes, StopLanes, DescriptorLanes, MemoryLanes, ClockLanes}) {
    for (LaneSpec& lane : make(options)) {
      if (parts.empty() || std::find(parts.begin(), parts.end(), lane.part) != parts.end()) {
        all.push_back(std::move(lane));
      }
    }
  }
  return all;
}

}  // namespace parley::endurance
