// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/confinement_proof.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/os/pidfd.h"
#include "parley/os/poll.h"
#include "parley/os/unique_fd.h"

namespace parley {
namespace {

// A worker that makes threads while it is asked is not confined: none can be made afterwards.
constexpr int kMaxRounds = 100;
constexpr absl::Duration kBetween = absl::Milliseconds(5);
// For a program that confines itself by other means than LockDown, and says no word.
constexpr absl::Duration kForTheWord = absl::Milliseconds(100);

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

// The rest of the line that starts with `key`; empty without one.
std::string_view Value(std::string_view status, std::string_view key) {
  const std::string line = absl::StrCat("\n", std::string(key), ":");
  const size_t at = status.find(line);
  if (at == std::string_view::npos) return {};
  const size_t start = status.find_first_not_of(" \t", at + line.size());
  if (start == std::string_view::npos) return {};
  return status.substr(start, status.find('\n', start) - start);
}

std::set<pid_t> Threads(const std::string& tasks) {
  std::set<pid_t> threads;
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(tasks.c_str()));
  if (directory == nullptr) return threads;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is this function's own
  while (const dirent* entry = ::readdir(directory.get())) {
    const auto id = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (id > 0) threads.insert(id);
  }
  return threads;
}

// What is wrong with one thread; nullopt also if it has ended.
std::optional<std::string> GapOf(const std::string& task, pid_t thread, int filters_around) {
  const std::string status = ReadFile(task + "/status");
  if (status.empty()) return std::nullopt;
  std::optional<std::string> gap = internal::ConfinementGap(status, filters_around);
  if (gap.has_value()) return absl::StrCat("thread ", thread, " ", *gap);
  // Missing in kernels without CONFIG_PROC_CHILDREN.
  const std::string children = ReadFile(task + "/children");
  if (children.empty()) return std::nullopt;
  return absl::StrCat("it has a child, process ", children.substr(0, children.find(' ')));
}

}  // namespace

int internal::FilterCount(std::string_view status) {
  if (Value(status, "Seccomp") != "2") return 0;
  const std::string_view text = Value(status, "Seccomp_filters");
  int count = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  return error == std::errc() && end == text.data() + text.size() ? count : -1;
}

std::optional<std::string> internal::ConfinementGap(std::string_view status, int filters_around) {
  const int filters = FilterCount(status);
  if (filters == 0 || (filters > 0 && filters <= filters_around)) {
    return filters == 0 ? "has no system call filter"
                        : "has no system call filter but those around this process";
  }
  if (Value(status, "NoNewPrivs") != "1") return "may gain new privileges";
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"}) {
    const std::string_view value = Value(status, set);
    if (value.empty() || value.find_first_not_of('0') != std::string_view::npos) {
      return absl::StrCat("has capabilities (", set, " ", std::string(value), ")");
    }
  }
  return std::nullopt;
}

absl::StatusOr<ConfinementProof> VerifyConfined(const Worker& worker,
                                                const ConfinementWanted& wanted) {
  const std::string who = absl::StrCat(worker.name(), " (pid ", worker.pid(), ")");
  const auto not_confined = [&who](const std::string& why) {
    return absl::PermissionDeniedError(who + " is not confined: " + why);
  };
  const auto unknown = [&who](const std::string& why) {
    return absl::UnavailableError("cannot tell whether " + who + " is confined: " + why);
  };
  const std::string ours = ReadFile("/proc/thread-self/status");
  if (ours.empty()) return unknown("/proc is not there");
  const int filters_around = internal::FilterCount(ours);
  if (filters_around < 0) return unknown("this kernel does not count filters, and we have one");

  const std::string tasks = absl::StrCat("/proc/", worker.pid(), "/task");
  std::set<pid_t> asked;
  for (int round = 0; round < kMaxRounds; ++round) {
    const std::set<pid_t> threads = Threads(tasks);
    if (worker.pidfd() < 0 || ProcessHasEnded(worker.pidfd())) {
      return absl::FailedPreconditionError(who + " has ended");
    }
    if (threads.empty()) return unknown("/proc does not show it");
    if (std::includes(asked.begin(), asked.end(), threads.begin(), threads.end())) {
      const std::optional<internal::LockDownWord> word = worker.lock_down_word();
      const bool landlock = word.has_value() && word->landlock_covers_all_threads;
      if (wanted.landlock && !landlock) return not_confined("it is without Landlock");
      if (wanted.mdwe && !(word.has_value() && word->mdwe)) {
        return not_confined("it may make memory executable (no MDWE)");
      }
      return ConfinementProof(worker.pid(), static_cast<int>(threads.size()));
    }
    for (const pid_t thread : threads) {
      const auto gap = GapOf(absl::StrCat(tasks, "/", thread), thread, filters_around);
      // Of a worker that ends meanwhile the files may say anything.
      if (gap.has_value() && !ProcessHasEnded(worker.pidfd())) return not_confined(*gap);
    }
    asked = threads;
  }
  return not_confined("it goes on making threads");
}

absl::StatusOr<ConfinementProof> AwaitConfined(const Worker& worker, Deadline deadline,
                                               const ConfinementWanted& wanted) {
  // The word costs one poll to wait for, where each question costs a file for each thread. One that
  // does not come, or is none, leaves it at the questions.
  pollfd first[] = {{worker.pidfd(), POLLIN, 0}, {worker.lock_down_fd(), POLLIN, 0}};
  const Deadline moment = Deadline::After(kForTheWord);
  if (worker.lock_down_fd() >= 0) {
    static_cast<void>(PollUntil(absl::MakeSpan(first), deadline.Or(moment)));
  }
  while (true) {
    absl::StatusOr<ConfinementProof> proof = VerifyConfined(worker, wanted);
    if (proof.ok() || !absl::IsPermissionDenied(proof.status()) || deadline.Expired()) return proof;
    pollfd entries[] = {{worker.pidfd(), POLLIN, 0},
                        {first[1].revents == 0 ? worker.lock_down_fd() : -1, POLLIN, 0}};
    static_cast<void>(PollUntil(absl::MakeSpan(entries), deadline.Or(Deadline::After(kBetween))));
    if (entries[1].revents != 0) first[1].revents = entries[1].revents;
  }
}

}  // namespace parley
