// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/testing_spawn.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include "absl/types/span.h"
#include "parley/os/deadline.h"
#include "parley/os/poll.h"
#include "parley/sandbox/plain_code.h"
#include "parley/sandbox/worker_template.h"

namespace parley::testing {

std::string WorkerPath() {
  const char* runfiles = std::getenv("TEST_SRCDIR");      // NOLINT(concurrency-mt-unsafe)
  const char* workspace = std::getenv("TEST_WORKSPACE");  // NOLINT(concurrency-mt-unsafe)
  if (runfiles == nullptr || workspace == nullptr)
    return std::filesystem::absolute("sandbox/testing_worker");
  return std::string(runfiles) + "/" + workspace + "/sandbox/testing_worker";
}

SpawnOptions WorkerOptions(std::vector<std::string> arguments, UniqueFd& replies) {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
  replies.Reset(ends[0]);
  SpawnOptions options;
  options.program = WorkerPath();
  options.name = "tester";
  options.arguments = std::move(arguments);
  if (WithoutNamespaces()) options.namespaces.use = NamespaceOptions::Use::kNone;
  options.environment_from_ours = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"};
  options.descriptors.push_back(
      InheritedDescriptor::Give(UniqueFd(ends[1]), "PARLEY_TEST_REPLY_FD"));
  return options;
}

bool WithoutNamespaces() {
  return std::getenv("PARLEY_TEST_NO_NAMESPACES") != nullptr;  // NOLINT(concurrency-mt-unsafe)
}

namespace {

bool WriteTo(const char* path, const std::string& text) {
  const UniqueFd file(::open(path, O_WRONLY | O_CLOEXEC));
  return ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// In a process of its own: 0 if all of it went.
int MakeAllNamespaces() {
  const std::string user = std::to_string(::geteuid());
  const std::string group = std::to_string(::getegid());
  if (::unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS |
                CLONE_NEWCGROUP | CLONE_NEWNET) != 0) {
    return 1;
  }
  if (!WriteTo("/proc/self/setgroups", "deny") ||
      !WriteTo("/proc/self/uid_map", user + " " + user + " 1") ||
      !WriteTo("/proc/self/gid_map", group + " " + group + " 1")) {
    return 2;
  }
  // Some systems let everybody make them, and take the privileges in them away.
  if (::sethostname("x", 1) != 0) return 3;
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(::getpid() == 1 ? 0 : 4);
  int status = 0;
  return ::waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 5;
}

}  // namespace

bool KernelMakesNamespaces() {
  if (HasSanitizer()) return false;
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(MakeAllNamespaces());
  int status = 0;
  return ::waitpid(pid, &status, 0) == pid && status == 0;
}

bool NamespacesAreExpected() { return !WithoutNamespaces() && KernelMakesNamespaces(); }

bool Cloned() {
  if (HasSanitizer()) return false;                     // there are no templates
  return std::getenv("PARLEY_TEST_CLONED") != nullptr;  // NOLINT(concurrency-mt-unsafe)
}

absl::StatusOr<Worker> StartWorker(SpawnOptions options) {
  return Cloned() ? StartClone(std::move(options)) : Spawn(std::move(options));
}

absl::StatusOr<Worker> StartClone(SpawnOptions options) {
  CloneOptions clone;
  clone.name = options.name;
  clone.descriptors = std::move(options.descriptors);
  clone.limits = options.limits;
  clone.namespaces = options.namespaces;
  clone.output = options.output;
  options.descriptors.clear();
  auto warm = WorkerTemplate::Start(std::move(options), Deadline::After(kLong));
  if (!warm.ok()) return warm.status();
  return warm->Clone(std::move(clone), Deadline::After(kLong));
}

std::string NextReply(int replies) {
  pollfd entry = {replies, POLLIN, 0};
  absl::StatusOr<int> ready = PollUntil(absl::MakeSpan(&entry, 1), Deadline::After(kLong));
  if (!ready.ok() || *ready == 0) return "";
  std::string text(65536, '\0');
  const ssize_t size_bytes = ::recv(replies, text.data(), text.size(), MSG_DONTWAIT);
  text.resize(size_bytes > 0 ? static_cast<size_t>(size_bytes) : 0);
  return text;
}

bool HasSanitizer() { return internal::kSanitizer; }

}  // namespace parley::testing
