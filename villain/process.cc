// SPDX-License-Identifier: Apache-2.0
#include "parley/villain/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/time/time.h"
#include "parley/os/check.h"
#include "parley/os/pidfd.h"
#include "parley/os/poll.h"

namespace parley::villain {
namespace {

std::string ProcPath(pid_t pid, const char* name) {
  return "/proc/" + std::to_string(pid) + "/" + name;
}

// The children of this process, by the kernel's list.
std::vector<pid_t> ChildrenOfThis() {
  std::vector<pid_t> children;
  std::ifstream list("/proc/self/task/" + std::to_string(::getpid()) + "/children");
  for (pid_t pid = 0; list >> pid;) children.push_back(pid);
  return children;
}

}  // namespace

Footprint FootprintOf(pid_t pid) {
  Footprint result;
  if (DIR* directory = ::opendir(ProcPath(pid, "fd").c_str()); directory != nullptr) {
    for (const dirent* entry = ::readdir(directory); entry != nullptr;
         entry = ::readdir(directory)) {
      if (entry->d_name[0] != '.') ++result.descriptors;
    }
    ::closedir(directory);
  }
  std::ifstream maps(ProcPath(pid, "maps"));
  for (std::string line; std::getline(maps, line);) {
    if (line.find("memfd:") != std::string::npos) ++result.memfd_mappings;
  }
  std::ifstream status(ProcPath(pid, "status"));
  for (std::string line; std::getline(status, line);) {
    std::istringstream fields(line);
    std::string name;
    int64_t value = 0;
    fields >> name >> value;
    if (name == "VmSize:") result.mapped_kb = value;
    if (name == "VmRSS:") result.resident_kb = value;
    if (name == "VmHWM:") result.peak_resident_kb = value;
    if (name == "voluntary_ctxt_switches:") result.wake_ups = value;
  }
  std::ifstream stat(ProcPath(pid, "stat"));
  std::string line;
  std::getline(stat, line);
  if (const std::size_t name_end = line.rfind(')'); name_end != std::string::npos) {
    std::istringstream fields(line.substr(name_end + 1));
    std::string skipped;
    for (int i = 0; i < 11; ++i) fields >> skipped;
    int64_t user = 0;
    int64_t system = 0;
    fields >> user >> system;
    result.cpu_ms = (user + system) * 1000 / ::sysconf(_SC_CLK_TCK);
  }
  return result;
}

std::vector<pid_t> ProcessesBeside(const std::vector<pid_t>& groups) {
  std::vector<pid_t> found;
  for (const pid_t pid : ChildrenOfThis()) {
    std::ifstream stat(ProcPath(pid, "stat"));
    std::string line;
    std::getline(stat, line);
    const std::size_t name_end = line.rfind(')');
    if (name_end == std::string::npos) continue;
    std::istringstream fields(line.substr(name_end + 1));
    char state = 0;
    pid_t parent = 0;
    pid_t its_group = 0;
    fields >> state >> parent >> its_group;
    const bool known = std::find(groups.begin(), groups.end(), its_group) != groups.end();
    if (!known && state != 'Z' && state != 'X') found.push_back(pid);
  }
  return found;
}

Process::Process(const std::function<int(Gate& gate)>& body) {
  std::fflush(nullptr);
  std::array<int, 2> pipe;
  PARLEY_CHECK(::pipe2(pipe.data(), O_CLOEXEC) == 0, "pipe");
  UniqueFd childs(pipe[0]);
  gate_.Reset(pipe[1]);
  output_.Reset(::memfd_create("villain-output", MFD_CLOEXEC));
  PARLEY_CHECK(output_.ok(), "memfd_create");
  pid_ = ::fork();
  PARLEY_CHECK(pid_ >= 0, "fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::setpgid(0, 0);
    const rlimit none = {0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGPIPE, SIGINT, SIGTERM}) {
      ::signal(number, SIG_DFL);
    }
    ::dup2(output_.get(), STDOUT_FILENO);
    ::dup2(output_.get(), STDERR_FILENO);
    output_.Reset();
    gate_.Reset();
    Gate gate(std::move(childs));
    // An exception ends this process: a test that forked it would go on in two.
    ::_exit([&]() noexcept { return body(gate); }());
  }
  ::setpgid(pid_, pid_);
  auto pidfd = OpenPidfd(pid_);
  PARLEY_CHECK(pidfd.ok(), "pidfd_open");
  pidfd_ = *std::move(pidfd);
}

Process::~Process() {
  if (reaped_) return;
  KillGroup();
  static_cast<void>(Reap(Deadline::After(absl::Seconds(10))));
}

void Process::OpenGate() const {
  const char go = 'g';
  // A process that is gone needs no gate; SIGPIPE is ignored by the supervisor.
  static_cast<void>(!::write(gate_.get(), &go, 1));
}

void Process::KillGroup() const {
  // The group's number stays ours until its leader is reaped.
  if (!reaped_) ::kill(-pid_, SIGKILL);
}

std::optional<int> Process::Reap(Deadline deadline) {
  if (reaped_) return status_;
  pollfd entry = {pidfd_.get(), POLLIN, 0};
  const auto ready = PollUntil(absl::MakeSpan(&entry, 1), deadline);
  if (!ready.ok() || *ready == 0) return std::nullopt;
  // What is left of its group goes first, while nobody else can have the number.
  ::kill(-pid_, SIGKILL);
  // It has ended, but for a moment it may not be ready to be reaped.
  const Deadline moment = Deadline::After(absl::Seconds(5));
  while (::waitpid(pid_, &status_, WNOHANG) != pid_) {
    if (moment.Expired()) return std::nullopt;
    ::usleep(200);
  }
  reaped_ = true;
  return status_;
}

int64_t Process::printed_bytes() const {
  struct stat facts = {};
  return ::fstat(output_.get(), &facts) == 0 ? facts.st_size : 0;
}

std::string Process::printed() const {
  // Both ends of what may be long.
  constexpr int64_t kPart = 256 << 10;
  const int64_t size = printed_bytes();
  std::string text(static_cast<std::size_t>(std::min(size, 2 * kPart)), '\0');
  const auto read = [&](int64_t to, int64_t from) {
    const auto length = static_cast<std::size_t>(std::min(kPart, size - from));
    return ::pread(output_.get(), text.data() + to, length, static_cast<off_t>(from));
  };
  if (size > 0) static_cast<void>(read(0, 0));
  if (size > kPart) static_cast<void>(read(kPart, std::max(kPart, size - kPart)));
  return text;
}

void Gate::Wait() const {
  char go = 0;
  if (::read(pipe_.get(), &go, 1) != 1) ::_exit(120);
}

bool ReapEverything(Deadline deadline) {
  while (true) {
    for (const pid_t child : ChildrenOfThis()) ::kill(child, SIGKILL);
    pid_t reaped = 0;
    do {
      reaped = ::waitpid(-1, nullptr, WNOHANG);
    } while (reaped > 0);
    if (reaped < 0) return true;
    if (deadline.Expired()) return false;
    const timespec pause = {0, 2'000'000};
    ::nanosleep(&pause, nullptr);
  }
}

std::string WaitStatusText(int status) {
  return WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                             : "exit " + std::to_string(WEXITSTATUS(status));
}

}  // namespace parley::villain
