// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_TESTING_PROC_H_
#define PARLEY_SANDBOX_TESTING_PROC_H_

// For this package's tests: a /proc of their own making, which says what no kernel here would.

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace parley::testing {

// Writes a file and the folders above it; false if it is not there.
inline bool WriteFile(const std::string& path, const std::string& text) {
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  return static_cast<bool>(std::ofstream(path) << text << std::flush);
}

// An empty and writable /proc for the rest of the calling process's life, which has one thread and
// keeps its user. False where namespaces or mounts are refused.
inline bool ReplaceProc() {
  const std::string user = std::to_string(::geteuid());
  const std::string group = std::to_string(::getegid());
  return ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && WriteFile("/proc/self/setgroups", "deny") &&
         WriteFile("/proc/self/uid_map", user + " " + user + " 1") &&
         WriteFile("/proc/self/gid_map", group + " " + group + " 1") &&
         ::mount("none", "/proc", "tmpfs", 0, "size=1m") == 0;
}

}  // namespace parley::testing

#endif  // PARLEY_SANDBOX_TESTING_PROC_H_
