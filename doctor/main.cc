// SPDX-License-Identifier: Apache-2.0

// `parley doctor` as a program of its own.

#include <string>
#include <vector>

#include "parley/doctor/doctor.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return parley::RunDoctor(arguments, {.path = parley::ThisProgram(argv[0]), .leading = {}});
}
