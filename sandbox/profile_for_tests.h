// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_PROFILE_FOR_TESTS_H_
#define PARLEY_SANDBOX_PROFILE_FOR_TESTS_H_

// A profile of any rules, for tests of the compiler. A dependency of its own, for tests alone:
// elsewhere a profile is put together from the named ones.
//
// Trust: the test's.
// Threads: any.
//
//   const Profile profile = ProfileForTests::Of({{.call = "read", .filters = {}}});

#include <utility>
#include <vector>

#include "parley/sandbox/profile.h"

namespace parley {

class ProfileForTests {
 public:
  static Profile Of(std::vector<Rule> rules) {
    Profile profile;
    profile.Add(std::move(rules));
    return profile;
  }
  // `profile` and these besides.
  static Profile With(Profile profile, std::vector<Rule> rules) {
    profile.Add(std::move(rules));
    return profile;
  }
};

}  // namespace parley

#endif  // PARLEY_SANDBOX_PROFILE_FOR_TESTS_H_
