// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_DOCTOR_DOCTOR_H_
#define PARLEY_DOCTOR_DOCTOR_H_

// `parley doctor`: says in words, or as JSON, whether Parley works here, what is missing, what that
// costs and how to get it. A verb of a larger program, or a program of its own (main.cc).
//
// Exit codes: 0 channels and confined workers work; 1 channels do not; 2 wrong arguments; 3
// channels work and a worker cannot be confined, or not with the profile that was asked for.
//
// Threads: one at a time.
//
//   return RunDoctor({"--json"}, {.path = "/usr/bin/parley", .leading = {"doctor"}});

#include <string>
#include <vector>

#include "parley/doctor/examine.h"
#include "parley/doctor/worker_probe.h"

namespace parley {

// `arguments`: what follows the verb. Prints to stdout, errors to stderr.
int RunDoctor(const std::vector<std::string>& arguments, const SelfProgram& self);

// What RunDoctor prints.
std::string ToText(const Diagnosis& diagnosis);
std::string ToJson(const Diagnosis& diagnosis);

// The path of this program's file, to be started again: /proc/self/exe, or `otherwise` without it.
std::string ThisProgram(const std::string& otherwise);

}  // namespace parley

#endif  // PARLEY_DOCTOR_DOCTOR_H_
