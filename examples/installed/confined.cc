// SPDX-License-Identifier: Apache-2.0

// Starts a worker that inherits nothing, and says how it ended; built against an installed Parley.
//
//   confined PROGRAM

#include <iostream>
#include <utility>

#include "absl/time/time.h"
#include "parley/os/deadline.h"
#include "parley/sandbox/spawn.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: confined PROGRAM\n";
    return 2;
  }
  parley::SpawnOptions options;
  options.program = argv[1];
  options.stderr_to = parley::OutputTo::kNull;
  auto worker = parley::Spawn(std::move(options));
  if (!worker.ok()) {
    std::cerr << "confined: " << worker.status().message() << '\n';
    return 1;
  }
  auto report = worker->Wait(parley::Deadline::After(absl::Seconds(10)));
  std::cout << (report.ok() ? report->ToString() : std::string(report.status().message())) << '\n';
  return report.ok() ? 0 : 1;
}
