// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/scale/footprint.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace parley::bench {

Footprint FootprintNow() {
  Footprint now;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    const auto bytes = [&line](const char* name) -> int64_t {
      if (!line.starts_with(name)) return 0;
      return std::strtoll(line.substr(line.find(':') + 1).c_str(), nullptr, 10) * 1024;
    };
    now.rss_bytes += bytes("VmRSS:");
    now.shmem_bytes += bytes("RssShmem:");
    now.anon_bytes += bytes("RssAnon:");
  }
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) ++now.mappings;
  maps.close();
  status.close();
  const std::filesystem::directory_iterator open("/proc/self/fd");
  now.descriptors = std::distance(begin(open), end(open)) - 1;  // less the iterator's own
  return now;
}

}  // namespace parley::bench
