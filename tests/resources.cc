// SPDX-License-Identifier: Apache-2.0
#include "parley/tests/resources.h"

#include <dirent.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include "gtest/gtest.h"
#include "parley/testing/sanitizers.h"

namespace parley {

bool IsSanitized() { return PARLEY_HAS_SANITIZER != 0; }

std::vector<int> OpenDescriptors() {
  std::vector<int> found;
  DIR* folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return found;
  while (const dirent* entry = ::readdir(folder)) {
    const int fd = static_cast<int>(std::strtol(entry->d_name, nullptr, 10));
    if (entry->d_name[0] != '.' && fd != ::dirfd(folder)) found.push_back(fd);
  }
  ::closedir(folder);
  return found;
}

std::string DescriptorName(int fd) {
  std::array<char, 256> name;
  const ssize_t length =
      ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), name.data(), name.size());
  return length < 0 ? "" : std::string(name.data(), static_cast<std::size_t>(length));
}

std::vector<std::string> Mappings() {
  std::vector<std::string> lines;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) lines.push_back(line);
  return lines;
}

int SharedMappings() {
  int count = 0;
  for (const std::string& line : Mappings()) {
    if (line.find("/memfd:") != std::string::npos) ++count;
  }
  return count;
}

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total_pages = 0;
  int64_t resident_pages = 0;
  statm >> total_pages >> resident_pages;
  return resident_pages * ::sysconf(_SC_PAGESIZE);
}

int64_t CpuTimeNs() {
  timespec now = {};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

Resources Resources::Now() {
  Resources now;
  now.descriptors = static_cast<int>(OpenDescriptors().size());
  now.shared_mappings = SharedMappings();
  if (!IsSanitized()) {
    now.mappings = static_cast<int>(Mappings().size());
    now.resident_bytes = ResidentBytes();
  }
  return now;
}

void ExpectNothingLeaked(const Resources& before) {
  const Resources now = Resources::Now();
  EXPECT_EQ(now.descriptors, before.descriptors);
  EXPECT_EQ(now.shared_mappings, before.shared_mappings);
  // The heap may have grown by a few pieces, not by one for each channel that there was.
  EXPECT_LE(now.mappings, before.mappings + 5);
  EXPECT_LE(now.resident_bytes, before.resident_bytes + 4 * 1024 * 1024);
}

}  // namespace parley
