// SPDX-License-Identifier: Apache-2.0
#if PARLEY_BENCH_HAVE_ICEORYX

#include "parley/bench/competitors/roudi.h"

#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <fstream>
#include <string>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/os/deadline.h"
#include "parley/os/errors.h"
#include "parley/os/poll.h"
#include "parley/os/unique_fd.h"

namespace parley::bench {
namespace {

// Enough chunks of each size for a queue each way.
constexpr char kConfiguration[] = R"([general]
version = 1

[[segment]]

[[segment.mempool]]
size = 128
count = 1200

[[segment.mempool]]
size = 1024
count = 1200

[[segment.mempool]]
size = 4096
count = 400

[[segment.mempool]]
size = 16384
count = 100

[[segment.mempool]]
size = 65536
count = 60

[[segment.mempool]]
size = 262144
count = 60

[[segment.mempool]]
size = 1048576
count = 40

[[segment.mempool]]
size = 4194304
count = 40
)";

[[noreturn]] void Become(const char* configuration, int output) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // so that it tidies up even if we are killed
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  ::setsid();  // an interrupt at the terminal is for us, who end it in our turn
  ::execl(Roudi::kPath, Roudi::kPath, "-c", configuration, nullptr);
  ::_exit(127);
}

// Reads until the daemon says that it is ready.
bool AwaitReady(int output, std::string* said) {
  const Deadline deadline = Deadline::After(absl::Seconds(20));
  while (said->find("ready") == std::string::npos) {
    pollfd polled = {output, POLLIN, 0};
    const auto some = PollUntil(absl::MakeSpan(&polled, 1), deadline);
    if (!some.ok() || *some == 0) return false;
    std::array<char, 4096> bytes;
    const ssize_t got = ::read(output, bytes.data(), bytes.size());
    if (got <= 0) return false;
    said->append(bytes.data(), static_cast<std::size_t>(got));
  }
  return true;
}

}  // namespace

absl::Status Roudi::EnsureRunning() {
  if (pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG) == 0) return absl::OkStatus();
  return Start();
}

absl::Status Roudi::Start() {
  pid_ = -1;
  if (folder_.empty()) {
    std::string folder = "/tmp/parley-bench-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) return ErrnoStatus(errno, "make a folder");
    folder_ = folder;
  }
  owner_ = ::getpid();
  const std::string configuration = folder_ + "/roudi.toml";
  std::ofstream(configuration) << kConfiguration;
  std::array<int, 2> ends = {-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return ErrnoStatus(errno, "make a pipe");
  const UniqueFd output(ends[0]);
  UniqueFd input(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return ErrnoStatus(errno, "start a process");
  if (pid == 0) Become(configuration.c_str(), input.get());
  pid_ = pid;
  input.Reset();
  std::string said;
  if (AwaitReady(output.get(), &said)) return absl::OkStatus();
  return absl::UnavailableError("iox-roudi did not come up: " + said.substr(0, 300));
}

Roudi::~Roudi() {
  if (owner_ != ::getpid()) return;
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
    const Deadline deadline = Deadline::After(absl::Seconds(10));
    pid_t ended = 0;
    while ((ended = ::waitpid(pid_, nullptr, WNOHANG)) == 0 && !deadline.Expired()) {
      ::usleep(20'000);
    }
    if (ended == 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  // The sockets of measured processes that were killed: their names begin with our number.
  const std::string pattern = "/tmp/parley-bench-" + std::to_string(owner_) + "-*";
  glob_t left = {};
  if (::glob(pattern.c_str(), 0, nullptr, &left) == 0) {
    for (std::size_t i = 0; i < left.gl_pathc; ++i) ::unlink(left.gl_pathv[i]);
  }
  ::globfree(&left);
  ::unlink((folder_ + "/roudi.toml").c_str());
  ::rmdir(folder_.c_str());
}

}  // namespace parley::bench

#endif  // PARLEY_BENCH_HAVE_ICEORYX
