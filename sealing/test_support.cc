// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/test_support.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/testing/filter.h"

namespace parley::testing_support {
namespace {

// -1 for "not within the time".
int WaitStatus(pid_t pid, absl::Duration at_most) {
  const Deadline deadline = Deadline::After(at_most);
  int status = 0;
  while (::waitpid(pid, &status, WNOHANG) == 0) {
    if (deadline.Expired()) return -1;
    ::usleep(1000);
  }
  return status;
}

}  // namespace

std::string RunInChild(const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    for (const int number : {SIGSEGV, SIGBUS, SIGXFSZ, SIGABRT}) ::signal(number, SIG_DFL);
    body();
    std::fflush(nullptr);
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  const int status = WaitStatus(child, absl::Seconds(10));
  if (status == -1) {
    ::kill(child, SIGKILL);
    return "wedged";
  }
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  return WEXITSTATUS(status) == 0 ? "ok" : "failed";
}

Footprint FootprintNow() {
  Footprint now;
  if (DIR* directory = ::opendir("/proc/self/fd"); directory != nullptr) {
    while (::readdir(directory) != nullptr) ++now.descriptors;
    ::closedir(directory);
  }
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line); ++now.mappings) {
    if (line.find("memfd:") != std::string::npos) ++now.memfd_mappings;
  }
  return now;
}

namespace {

// The sum of a line of /proc/self/smaps over all mappings of memfds.
uint64_t SumOfMemfds(std::string_view name) {
  uint64_t kib = 0;
  bool of_memfd = false;
  std::ifstream smaps("/proc/self/smaps");
  for (std::string line; std::getline(smaps, line);) {
    // A mapping's own line begins with its addresses, the ones about it with a capital.
    if (!line.empty() && std::isupper(static_cast<unsigned char>(line[0])) == 0) {
      of_memfd = line.find("memfd:") != std::string::npos;
    }
    if (of_memfd && line.starts_with(name)) kib += std::stoull(line.substr(name.size()));
  }
  return kib * 1024;
}

}  // namespace

uint64_t HugeMappedBytes() { return SumOfMemfds("ShmemPmdMapped:"); }
uint64_t MappedBytes() { return SumOfMemfds("Rss:"); }

std::string LeakOf(const std::function<void()>& body) {
  constexpr int kTimes = 40;
  body();  // whatever is allocated once
  const Footprint before = FootprintNow();
  for (int i = 0; i < kTimes; ++i) body();
  const Footprint after = FootprintNow();
  if (after.descriptors != before.descriptors) {
    return std::to_string(after.descriptors - before.descriptors) + " descriptors";
  }
  if (after.memfd_mappings != before.memfd_mappings) {
    return std::to_string(after.memfd_mappings - before.memfd_mappings) + " memfd mappings";
  }
  if (after.mappings - before.mappings >= kTimes) {
    return std::to_string(after.mappings - before.mappings) + " mappings";
  }
  return "nothing";
}

UniqueFd RawMemfd(size_t size_bytes, unsigned extra_flags) {
  UniqueFd fd(::memfd_create("raw", MFD_CLOEXEC | MFD_ALLOW_SEALING | extra_flags));
  if (fd.ok() && ::ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0) fd.Reset();
  return fd;
}

void FillRaw(int fd, size_t size_bytes) {
  for (size_t at = 0; at < size_bytes; at += 4096) {
    ASSERT_EQ(::pwrite(fd, "x", 1, static_cast<off_t>(at)), 1);
  }
}

void SealRaw(int fd, unsigned seals) { ASSERT_EQ(::fcntl(fd, F_ADD_SEALS, seals), 0); }

InodeLockHolder::InodeLockHolder(int fd) {
  int ready[2];
  if (::pipe2(ready, O_CLOEXEC) != 0) return;
  pid_ = ::fork();
  if (pid_ == 0) {
    void* const page =
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const int faults = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC));
    uffdio_api api = {};
    api.api = UFFD_API;
    uffdio_register range = {};
    // SAFETY: userfaultfd takes addresses as integers.
    range.range.start = reinterpret_cast<uintptr_t>(page);
    range.range.len = 4096;
    range.mode = UFFDIO_REGISTER_MODE_MISSING;
    const bool armed = faults >= 0 && ::ioctl(faults, UFFDIO_API, &api) == 0 &&
                       ::ioctl(faults, UFFDIO_REGISTER, &range) == 0;
    if (::write(ready[1], armed ? "y" : "n", 1) != 1 || !armed) ::_exit(1);
    while (true) {  // should anything ever deliver the page
      ::syscall(SYS_pwrite64, fd, page, 100, 0);
      ::usleep(100);
    }
  }
  ::close(ready[1]);
  char answer = 'n';
  ok_ = ::read(ready[0], &answer, 1) == 1 && answer == 'y';
  ::close(ready[0]);
  if (ok_) ::usleep(200'000);  // until it is inside of its pwrite
}

void InodeLockHolder::Stop() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

namespace {}  // namespace

void FailSystemCall(long number, int error) {
  testing::Refuse({.call = static_cast<uint32_t>(number), .error = static_cast<uint32_t>(error)});
}

void FailSystemCallWhere(long number, int argument, uint32_t value, int error) {
  testing::Refuse({.call = static_cast<uint32_t>(number),
                   .error = static_cast<uint32_t>(error),
                   .argument = static_cast<uint32_t>(argument),
                   .mask = ~uint32_t{0},
                   .value = value});
}

void RefuseSystemCall(long number, int argument, unsigned bits) {
  const auto offset = static_cast<uint32_t>(offsetof(seccomp_data, args) +
                                            sizeof(uint64_t) * static_cast<size_t>(argument));
  std::array<sock_filter, 6> program = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset),  // the low half: little-endian test machines
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter = {program.size(), program.data()};
  ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

}  // namespace parley::testing_support
