// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_DOCTOR_EXAMINE_H_
#define PARLEY_DOCTOR_EXAMINE_H_

// What this kernel, container or sandbox allows, asked by the code that the product uses: memory is
// made and sealed as a region's is, a message goes through a channel, a worker is confined.
//
// Trust: no peer; the kernel's answers, and those of a filter around this process.
// Threads: one at a time; starts one for a moment, and a few processes.
// Time: about 50 ms, and each wait in it ends after 10 s.
//
//   const Diagnosis diagnosis = Examine(self);
//   if (!diagnosis.channels_work) return 1;

#include <string>
#include <string_view>
#include <vector>

#include "parley/doctor/feature.h"
#include "parley/doctor/worker_probe.h"

namespace parley {

enum class State {
  kWorks,
  kLimited,  // there, and less than a program with several peers or workers wants
  kMissing,
};

struct Finding {
  const Feature* feature = nullptr;
  State state = State::kMissing;
  std::string found;  // "version 7"; where it is missing, what was tried and what the answer was
};

struct Diagnosis {
  std::string system;  // "Linux 6.1.0 (x86_64), user 1000"
  std::vector<Finding> findings;
  // Whether everything is there that one, or the other, needs.
  bool channels_work = false;
  bool workers_work = false;

  const Finding& Of(std::string_view id) const;
};

Diagnosis Examine(const SelfProgram& self);

}  // namespace parley

#endif  // PARLEY_DOCTOR_EXAMINE_H_
