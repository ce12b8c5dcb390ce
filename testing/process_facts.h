// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_TESTING_PROCESS_FACTS_H_
#define PARLEY_TESTING_PROCESS_FACTS_H_

// For tests: what the kernel says of another process, and waiting until it does.

#include <dirent.h>
#include <sys/types.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <string>

#include "absl/time/time.h"
#include "parley/os/deadline.h"

namespace parley::testing {

// Whether `condition` is true within eight seconds.
template <typename Condition>
bool Eventually(const Condition& condition) {
  const Deadline deadline = Deadline::After(absl::Seconds(8));
  while (!condition()) {
    if (deadline.Expired()) return false;
    ::usleep(500);
  }
  return true;
}

// Empty where it may not be asked.
inline std::set<int> DescriptorsOf(pid_t pid) {
  std::set<int> descriptors;
  DIR* const directory = ::opendir(("/proc/" + std::to_string(pid) + "/fd").c_str());
  if (directory == nullptr) return descriptors;
  while (const dirent* entry = ::readdir(directory)) {
    if (entry->d_name[0] != '.') descriptors.insert(std::stoi(entry->d_name));
  }
  ::closedir(directory);
  return descriptors;
}

// The line `name` of its status; empty where there is none.
inline std::string StatusOf(pid_t pid, const std::string& name) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(name + ":\t", 0) == 0) return line.substr(name.size() + 2);
  }
  return "";
}

}  // namespace parley::testing

#endif  // PARLEY_TESTING_PROCESS_FACTS_H_
