// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_VILLAIN_ATTACK_H_
#define PARLEY_VILLAIN_ATTACK_H_

// The attacks against somebody else's peer, whatever it is built on, as long as it speaks the
// handshake of docs/SPEC.md. What happens inside of it cannot be seen, so the verdict rests on what
// the kernel says of its process, and on whether it serves an honest peer afterwards.
//
// Trust: the peer is under test, the attacker hostile; neither can stop the watchdog.
// Threads: one; the process that calls this has one thread.
//
//   Target target;
//   target.connect = "/run/user/1000/viewer.sock";
//   AttackAll(target, cases, Print);

#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "parley/villain/case.h"
#include "parley/villain/supervisor.h"

namespace parley::villain {

// One of the three is set.
struct Target {
  std::string connect;            // it listens there: attacked as the accepting side
  std::string listen;             // it connects there, again and again
  std::vector<std::string> exec;  // started for each case, with its socket in PARLEY_SOCKET
  std::string format;             // what the honest peer offers
  absl::Duration patience = absl::Seconds(5);
  // With `exec`: the codes with which the program ends when all is well with it, whatever its peer
  // did. Any other is a failure, and so is a sanitizer's report in what it printed.
  std::vector<int> good_exits = {0};
};

// Whether the case can be tried on such a target at all.
bool Applies(const Case& the_case, const Target& target);

// 0: no case failed, and at least one attack was mounted; else 1 and why. A target on which nothing
// can be mounted has shown nothing.
int AttackExitStatus(const std::vector<Result>& results, std::string* why);

// The first line of a sanitizer's report in what a program printed; empty if there is none.
std::string SanitizerReport(const std::string& printed);

// Each result as soon as it is there.
void AttackAll(const Target& target, const std::vector<const Case*>& cases,
               const std::function<void(const Result&)>& on_result);

}  // namespace parley::villain

#endif  // PARLEY_VILLAIN_ATTACK_H_
