// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_DAMAGED_CAMPAIGN_H_
#define PARLEY_THUMB_DAMAGED_CAMPAIGN_H_

// Damaged files of all kinds through parley-thumb, in this process: pictures and facts of each, and
// undamaged ones among them. What is counted is what each did to its worker, and what is left
// behind in the host.
//
// Threads: one at a time.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace parley::thumb::testing {

struct CampaignOptions {
  uint64_t first_seed = 1;
  int files_of_each = 20;  // damaged ones of each undamaged
  int jobs = 2;
  double time_limit_seconds = 10;
  std::string worker;  // its program
};

// What a process holds, of which nothing may stay.
struct Held {
  std::size_t descriptors = 0;
  std::size_t shared_mappings = 0;
  std::size_t children = 0;  // zombies among them
  bool operator==(const Held&) const = default;
};
Held HeldNow();
// The same once it is `before` again, or after a minute: what peers could make slow to release is
// released in the background (os/disposal.h).
Held HeldAtRest(const Held& before);

struct CampaignResult {
  std::size_t damaged = 0;
  std::size_t undamaged = 0;
  // Kind of file ("h264.mp4") -> what became of the damaged ones ("made") -> how many.
  std::map<std::string, std::map<std::string, std::size_t>> outcomes;
  std::vector<std::string> faults;  // what may not be: each is a sentence
};

CampaignResult RunCampaign(const CampaignOptions& options);

}  // namespace parley::thumb::testing

#endif  // PARLEY_THUMB_DAMAGED_CAMPAIGN_H_
