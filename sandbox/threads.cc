// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/threads.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "parley/os/errors.h"
#include "parley/os/unique_fd.h"

namespace parley::internal {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// Short /proc files come in one read. Empty for a thread that has ended.
std::string ReadFile(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.ok()) return "";
  std::string text(8192, '\0');
  const ssize_t size_bytes = ::read(file.get(), text.data(), text.size());
  text.resize(size_bytes > 0 ? static_cast<size_t>(size_bytes) : 0);
  return text;
}

// The rest of the line that starts with `key`.
std::string_view Value(std::string_view status, std::string_view key) {
  const size_t at = status.find(key);
  if (at == std::string_view::npos) return {};
  const size_t start = status.find_first_not_of(" \t", at + key.size());
  if (start == std::string_view::npos) return {};
  return status.substr(start, status.find('\n', start) - start);
}

// The thread's number in its own pid namespace, which /proc may not be of: the last of the line.
pid_t OwnId(std::string_view status, pid_t listed) {
  const std::string_view ids = Value(status, "\nNSpid:");
  if (ids.empty()) return listed;  // a kernel without such namespaces
  const std::string last(ids.substr(ids.find_last_of(" \t") + 1));
  return static_cast<pid_t>(std::strtol(last.c_str(), nullptr, 10));
}

}  // namespace

absl::StatusOr<std::vector<Thread>> ListThreads() {
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir("/proc/self/task"));
  if (directory == nullptr) return ErrnoStatus(errno, "list this process's threads");
  std::vector<Thread> threads;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is this function's own
  while (const dirent* entry = ::readdir(directory.get())) {
    const auto id = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (id <= 0) continue;  // "." and ".."
    const std::string status = ReadFile("/proc/self/task/" + std::to_string(id) + "/status");
    if (status.empty()) continue;
    threads.push_back({.id = OwnId(status, id),
                       .name = std::string(Value(status, "Name:")),
                       .has_capabilities = Value(status, "\nCapPrm:").find_first_not_of('0') !=
                                           std::string_view::npos});
  }
  // There is one at least, which asks: no answer is not the answer that there are none.
  if (threads.empty()) {
    return absl::UnavailableError("cannot list this process's threads: /proc does not show them");
  }
  return threads;
}

std::string DescribeThread(const std::vector<Thread>& threads, pid_t id) {
  std::string text = "thread " + std::to_string(id);
  for (const Thread& thread : threads) {
    if (thread.id == id) text += " '" + thread.name + "'";
  }
  return text;
}

}  // namespace parley::internal
