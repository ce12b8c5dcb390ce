// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_DOCTOR_FEATURE_H_
#define PARLEY_DOCTOR_FEATURE_H_

// What of the system Parley uses: for each feature what its lack costs and how to get it. The table
// of docs/WHERE.md is made from this list, and a test compares the two.
//
// Threads: immutable; any.
//
//   for (const Feature& feature : Features()) Print(feature.title, feature.cost);

#include <span>
#include <string>
#include <string_view>

namespace parley {

enum class Need {
  kChannel,   // no channel without it
  kWorker,    // no confined worker without it
  kOptional,  // used where it is there
};

struct Feature {
  std::string_view id;  // for programs: stays what it is
  std::string_view title;
  Need need;
  std::string_view since;   // "Linux 5.1", or "" for what no version decides
  std::string_view cost;    // of its lack
  std::string_view remedy;  // how to get it
};

// In the order in which they are reported.
std::span<const Feature> Features();

// Aborts for an id that there is not.
const Feature& FeatureNamed(std::string_view id);

// The list as a table in Markdown: docs/WHERE.md has it between two marks.
std::string FeatureTable();

}  // namespace parley

#endif  // PARLEY_DOCTOR_FEATURE_H_
