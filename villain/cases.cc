// SPDX-License-Identifier: Apache-2.0
#include <iterator>

#include "parley/villain/case.h"

namespace parley::villain {

const std::vector<Case>& AllCases() {
  static const std::vector<Case> cases = [] {
    std::vector<Case> all;
    for (auto part :
         {&ControlCases,   &MemoryCases,  &BroadcastCases, &DescriptorCases, &WakingCases,
          &SandboxCases,   &JobCases,     &RingCases,      &FrameCases,      &WrapCases,
          &LatestCases,    &RequestCases, &FanOutCases,    &DenialCases,     &LeakCases,
          &HandshakeCases, &PayloadCases, &StreamCases,    &KernelCases,     &BoundCases}) {
      std::vector<Case> some = part();
      all.insert(all.end(), std::make_move_iterator(some.begin()),
                 std::make_move_iterator(some.end()));
    }
    return all;
  }();
  return cases;
}

}  // namespace parley::villain
