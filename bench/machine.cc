// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/machine.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <ctime>
#include <fstream>
#include <string>

namespace parley::bench {
namespace {

std::string FirstLine(const std::string& path, const std::string& otherwise) {
  std::ifstream file(path);
  std::string line;
  return std::getline(file, line) ? line : otherwise;
}

// The value of the first line "key : value" of /proc/cpuinfo.
std::string CpuInfo(const std::string& key) {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind(key, 0) != 0) continue;
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "";
}

std::string Caches() {
  std::string text;
  for (int i = 0; i < 5; ++i) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/";
    const std::string level = FirstLine(folder + "level", "");
    if (level.empty()) break;
    if (FirstLine(folder + "type", "") == "Instruction") continue;
    if (!text.empty()) text += ", ";
    text += "L" + level + " " + FirstLine(folder + "size", "?") + " (processors " +
            FirstLine(folder + "shared_cpu_list", "?") + ")";
  }
  return text.empty() ? "unknown" : text;
}

std::string Memory() {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page = ::sysconf(_SC_PAGESIZE);
  return std::to_string((static_cast<long long>(pages) * page) >> 30) + " GiB";
}

std::string Today() {
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  ::gmtime_r(&now, &utc);
  std::array<char, 64> text = {};
  static_cast<void>(std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &utc));
  return text.data();
}

}  // namespace

std::vector<std::pair<std::string, std::string>> DescribeMachine() {
  utsname names = {};
  ::uname(&names);
  const bool is_virtual = CpuInfo("flags").find("hypervisor") != std::string::npos;
  const std::string cpu = CpuInfo("model name");
  return {
      {"date", Today()},
      {"processor", (cpu.empty() ? names.machine : cpu) + (is_virtual ? " (virtual)" : "")},
      {"processors", std::to_string(::sysconf(_SC_NPROCESSORS_ONLN))},
      {"caches", Caches()},
      {"memory", Memory()},
      {"governor", FirstLine("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
                             is_virtual ? "the host's" : "none")},
      {"clock source",
       FirstLine("/sys/devices/system/clocksource/clocksource0/current_clocksource", "unknown")},
      {"huge pages for shared memory",
       FirstLine("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "none")},
      {"kernel", std::string(names.sysname) + " " + names.release + " " + names.machine},
      {"compiler",
#if defined(__clang__)
       "clang " __clang_version__
#else
       "g++ " __VERSION__
#endif
      },
      {"load at the start", FirstLine("/proc/loadavg", "unknown")},
  };
}

}  // namespace parley::bench
