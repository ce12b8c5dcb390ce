// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_TESTS_RESOURCES_H_
#define PARLEY_TESTS_RESOURCES_H_

// What this process holds, by the kernel's word, to show that nothing leaks.

#include <cstdint>
#include <string>
#include <vector>

namespace parley {

// Whether a sanitizer's own memory, threads and system calls are in the way of counting.
bool IsSanitized();

// The open descriptors, without the one used for looking.
std::vector<int> OpenDescriptors();
// What /proc says that the descriptor is: "socket:[123]".
std::string DescriptorName(int fd);
// The lines of /proc/self/maps.
std::vector<std::string> Mappings();
// Mappings of memfds.
int SharedMappings();
int64_t ResidentBytes();
int64_t CpuTimeNs();

// Numbers to compare before and after.
struct Resources {
  int descriptors = 0;
  int shared_mappings = 0;
  int mappings = 0;            // 0 where sanitized
  int64_t resident_bytes = 0;  // 0 where sanitized
  static Resources Now();
};
// Fails the test if there is more now than before.
void ExpectNothingLeaked(const Resources& before);

}  // namespace parley

#endif  // PARLEY_TESTS_RESOURCES_H_
