// SPDX-License-Identifier: Apache-2.0

// The worker of this package's tests: does what its arguments say, most of it hostile.
//
//   testing_worker SCENARIO [ARGUMENT [PROFILE]]
//
// Exit codes: 0 the scenario went as an honest worker wants, 70 a system call was not refused
// although it should have been, 71 set-up failed, 72 unknown scenario.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/ioprio.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/os/check.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/clone_wire.h"
#include "parley/sandbox/confine.h"
#include "parley/sandbox/hostile_input.h"
#include "parley/sandbox/inherited.h"
#include "parley/sandbox/policy.h"
#include "parley/sandbox/profile.h"
#include "parley/sandbox/profile_for_tests.h"
#include "parley/sandbox/spawn.h"
#include "parley/sandbox/template_main.h"
#include "parley/sandbox/testing_attacks.h"
#include "parley/sandbox/testing_descriptors.h"
#include "parley/testing/filter.h"

// What the compiler calls, and what the assert of <assert.h> does.
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,readability-redundant-declaration)
extern "C" [[noreturn]] void __stack_chk_fail();
extern "C" void __assert_fail(const char*, const char*, unsigned, const char*) noexcept;
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,readability-redundant-declaration)

namespace parley {
namespace {

constexpr int kNotRefused = 70;
constexpr int kSetUpFailed = 71;
constexpr int kUnknown = 72;

#if defined(__x86_64__)
constexpr uint32_t kNativeArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kNativeArchitecture = AUDIT_ARCH_AARCH64;
#endif

int reply_socket = -1;
int unnamed_fd = -1;  // open after lock-down, and in no profile

struct Socket {
  int fd;
};

void Reply(const std::string& text) {
  static_cast<void>(::send(reply_socket, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
}

Profile LiveProfile() {
  return Profile::Ring({reply_socket}).WithHeap().WithThreads().WithSanitizerIfBuiltIn();
}

// Only for scenarios whose next step ends the process.
Profile StrictProfile() { return Profile::Ring({reply_socket}).WithHeap().WithThreads(); }

Confined MustLockDown(const Profile& profile, std::vector<int> keep = {}) {
  keep.push_back(reply_socket);
  absl::StatusOr<Confined> confined =
      LockDown(Prepared::After(Socket{reply_socket}), profile, {.keep = std::move(keep)});
  if (!confined.ok()) {
    std::fprintf(stderr, "%s\n", std::string(confined.status().message()).c_str());
    ::_exit(kSetUpFailed);
  }
  return *std::move(confined);
}

std::string ReadAll(const char* path) {
  std::string text;
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  char part[4096];
  ssize_t size_bytes = 0;
  while ((size_bytes = ::read(file.get(), part, sizeof(part))) > 0) {
    text.append(part, static_cast<size_t>(size_bytes));
  }
  return text;
}

// ---- Hostile calls, each tried once after lock-down. A descriptor that they need is `fd`.

#if defined(__x86_64__)
long CallI386(long number) {
  long result = number;
  asm volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
  return result;
}
#endif

const std::map<std::string, std::function<long(int fd)>>& HostileCalls() {
  static uint32_t word = 0;
  static char memory[64];
  static char* const no_arguments[] = {nullptr};
  static const std::map<std::string, std::function<long(int)>> calls = {
#ifdef SYS_open
      {"open", [](int) { return ::syscall(SYS_open, "/etc/passwd", O_RDONLY); }},
#endif
      {"openat", [](int) { return ::syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY); }},
      {"fopen", [](int) { return std::fopen("/etc/passwd", "r") != nullptr ? 0L : -1L; }},
      {"stat", [](int) { return ::syscall(SYS_newfstatat, AT_FDCWD, "/etc", memory, 0); }},
      {"socket", [](int) { return long{::socket(AF_INET, SOCK_STREAM, 0)}; }},
      {"execve",
       [](int) { return ::syscall(SYS_execve, "/bin/true", no_arguments, no_arguments); }},
#ifdef SYS_fork
      {"fork", [](int) { return ::syscall(SYS_fork); }},
#endif
      {"libc_fork", [](int) { return long{::fork()}; }},
      {"clone", [](int) { return ::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0); }},
      {"thread",
       [](int) {
         pthread_t thread;
         errno = ::pthread_create(&thread, nullptr, [](void* p) { return p; }, nullptr);
         return errno == 0 ? 0L : -1L;
       }},
      {"clone3", [](int) { return ::syscall(SYS_clone3, memory, sizeof(memory)); }},
      {"io_uring_setup", [](int) { return ::syscall(SYS_io_uring_setup, 1, memory); }},
      {"userfaultfd", [](int) { return ::syscall(SYS_userfaultfd, 1); }},
      {"ptrace", [](int) { return ::syscall(SYS_ptrace, 0, 0, 0, 0); }},
      {"process_vm_readv",
       [](int) { return ::syscall(SYS_process_vm_readv, 1, nullptr, 0, nullptr, 0, 0); }},
      {"pidfd_getfd", [](int fd) { return ::syscall(SYS_pidfd_getfd, fd, 0, 0); }},
      {"kcmp", [](int) { return ::syscall(SYS_kcmp, 1, 1, 0, 0, 0); }},
      {"perf_event_open", [](int) { return ::syscall(SYS_perf_event_open, memory, 0, -1, -1, 0); }},
      {"setfl", [](int fd) { return long{::fcntl(fd, F_SETFL, 0)}; }},
      {"setown", [](int fd) { return long{::fcntl(fd, F_SETOWN, 1)}; }},
      {"setsig", [](int fd) { return long{::fcntl(fd, F_SETSIG, SIGKILL)}; }},
      {"setlease", [](int fd) { return long{::fcntl(fd, F_SETLEASE, F_RDLCK)}; }},
      {"notify", [](int fd) { return long{::fcntl(fd, F_NOTIFY, 1)}; }},
      {"setpipe_sz", [](int fd) { return long{::fcntl(fd, F_SETPIPE_SZ, 1 << 20)}; }},
      {"dupfd", [](int fd) { return long{::fcntl(fd, F_DUPFD, 50)}; }},
      {"fionbio", [](int fd) { return long{::ioctl(fd, FIONBIO, &word)}; }},
      {"fioasync", [](int fd) { return long{::ioctl(fd, FIOASYNC, &word)}; }},
      {"io_setup", [](int) { return ::syscall(SYS_io_setup, 1, memory); }},
      {"memfd_hugetlb", [](int) { return ::syscall(SYS_memfd_create, "x", 4u /* MFD_HUGETLB */); }},
      {"mount", [](int) { return ::syscall(SYS_mount, "x", "/", "tmpfs", 0, nullptr); }},
      {"futex_requeue",
       [](int) { return ::syscall(SYS_futex, &word, FUTEX_REQUEUE, 1, 1, &word, 0); }},
      {"futex_pi", [](int) { return ::syscall(SYS_futex, &word, FUTEX_LOCK_PI, 0, nullptr); }},
      {"mmap_exec",
       [](int) {
         return ::syscall(SYS_mmap, nullptr, 4096, PROT_READ | PROT_EXEC,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
       }},
      {"mprotect_exec",
       [](int) { return ::syscall(SYS_mprotect, memory, 4096, PROT_READ | PROT_EXEC); }},
      {"mmap_file",
       [](int fd) { return ::syscall(SYS_mmap, nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0); }},
      {"madvise_remove", [](int) { return ::syscall(SYS_madvise, memory, 4096, MADV_REMOVE); }},
      {"kill_parent", [](int) { return long{::kill(::getppid(), 0)}; }},
      {"write_elsewhere", [](int) { return ::syscall(SYS_write, unnamed_fd, memory, 1); }},
      {"send_descriptor",
       [](int fd) {
         msghdr message = {};
         return ::syscall(SYS_sendmsg, fd, &message, MSG_DONTWAIT);
       }},
      {"new_handler", [](int) { return ::syscall(SYS_rt_sigaction, SIGSYS, nullptr, nullptr, 8); }},
      {"unknown_number", [](int) { return ::syscall(999); }},
#if defined(__x86_64__)
      {"x32", [](int) { return ::syscall(0x40000000 + SYS_getpid); }},
      {"int80", [](int) { return CallI386(20); }},
#endif
  };
  return calls;
}

Profile ProfileNamed(const std::string& name);

// The exit code is the error with which the call failed, if it returned at all.
int TryHostileCall(const std::string& name, const std::string& profile) {
  const auto found = HostileCalls().find(name);
  if (found == HostileCalls().end()) return kUnknown;
  unnamed_fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  Profile strict = profile.empty() ? StrictProfile() : ProfileNamed(profile);
  [[maybe_unused]] const Confined confined =
      MustLockDown(profile.empty() && name == "clone3" ? LiveProfile() : strict, {unnamed_fd});
  const long result = found->second(reply_socket);
  // Not exit(): a sanitizer's last words may need more than the strict profile has.
  ::_exit(result == -1 ? errno : kNotRefused);
}

// ---- Honest work under each profile.

struct Doorbells {
  UniqueFd eventfd;
  int socket;
  void* word;  // shared memory
};

bool UseChannelCalls(const Doorbells& doorbells) {
  pollfd entry = {doorbells.socket, POLLIN, 0};
  const timespec moment = {0, 1'000'000};
  bool ok = ::ppoll(&entry, 1, &moment, nullptr) >= 0 && ::poll(&entry, 1, 1) >= 0;
  ok = ok && ::send(doorbells.socket, "r", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
  char drained[8];
  ok = ok && ::recv(doorbells.socket, drained, sizeof(drained), MSG_DONTWAIT) == -1 &&
       errno == EAGAIN;
  const uint64_t one = 1;
  ok = ok && ::write(doorbells.eventfd.get(), &one, sizeof(one)) == sizeof(one);
  uint64_t count = 0;
  const iovec part = {&count, sizeof(count)};
  ok = ok && ::preadv2(doorbells.eventfd.get(), &part, 1, -1, RWF_NOWAIT) == sizeof(count);
  // The futex doorbell's two calls, on shared memory.
  ok = ok && ::syscall(SYS_futex, doorbells.word, FUTEX_WAKE, 1, nullptr, nullptr, 0) == 0;
  ok = ok &&
       ::syscall(SYS_futex, doorbells.word, FUTEX_WAIT_BITSET, 0, &moment, nullptr, ~0u) == -1 &&
       errno == ETIMEDOUT;
  ok = ok && ::clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, nullptr) == 0;
  ok = ok && ::sched_yield() == 0;
  ok = ok && ::fcntl(doorbells.socket, F_GETFL) >= 0;
  ok = ok && ::fcntl(doorbells.socket, F_GET_SEALS) == -1 && errno == EINVAL;
  struct stat status;
  ok = ok && ::syscall(SYS_fstat, doorbells.socket, &status) == 0;
  timespec now;
  ok = ok && ::syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now) == 0;
  return ok && count == 1;
}

int LiveOnRing() {
  Doorbells doorbells = {
      UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), reply_socket,
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)};
  void* page = ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const int doorbell = doorbells.eventfd.get();
  [[maybe_unused]] const Confined confined = MustLockDown(
      Profile::Ring({reply_socket}).WithEventfd(doorbell).WithSanitizerIfBuiltIn(), {doorbell});
  if (!UseChannelCalls(doorbells)) return kSetUpFailed;
  if (::munmap(page, 4096) != 0) return kSetUpFailed;
  if (::shutdown(reply_socket, SHUT_RDWR) != 0 || ::close(reply_socket) != 0) return kSetUpFailed;
  return 0;
}

bool UseHeap() {
  // Many small blocks, so that the arena of a thread grows and shrinks.
  std::vector<std::vector<char>> blocks(100, std::vector<char>(50'000));
  blocks.clear();
  for (const size_t size_bytes : {size_t{100}, size_t{100'000}, size_t{50'000'000}}) {
    std::vector<std::unique_ptr<char[]>> large;
    for (int i = 0; i < 4; ++i) {
      large.push_back(std::make_unique<char[]>(size_bytes));
      std::memset(large.back().get(), i, size_bytes);
    }
  }
  void* const first = std::malloc(1 << 20);
  void* const grown = std::realloc(first, 64 << 20);
  std::free(grown != nullptr ? grown : first);
  return grown != nullptr;
}

int CompareInts(const void* a, const void* b) {
  return *static_cast<const int*>(a) - *static_cast<const int*>(b);
}

// What there is of the heap is used, by a profile that lets it change in no way; `pages` of it are
// taken before.
int LiveOnWhatIsThere(const std::string& pages) {
  std::vector<std::unique_ptr<char[]>> blocks;
  blocks.reserve(1000);
  const int before = std::atoi(pages.c_str()) * 4;  // NOLINT(cert-err34-c)
  for (int i = 0; i < before; ++i) blocks.push_back(std::make_unique<char[]>(1000));
  [[maybe_unused]] const Confined confined = MustLockDown(Profile::Ring({reply_socket}));
  for (int i = 0; i < 60; ++i) blocks.push_back(std::make_unique<char[]>(1000));
  blocks.clear();
  return 0;
}

int LiveOnHeap() {
  [[maybe_unused]] const Confined confined =
      MustLockDown(Profile::Ring({reply_socket}).WithHeap().WithSanitizerIfBuiltIn());
  std::vector<int> numbers(10'000, 5);
  std::qsort(numbers.data(), numbers.size(), sizeof(int), CompareInts);
  const time_t moment = 1'000'000'000;
  tm broken_down;
  if (::gmtime_r(&moment, &broken_down) == nullptr) return kSetUpFailed;
  return UseHeap() ? 0 : kSetUpFailed;
}

int LiveWithThreads() {
  std::mutex mutex;
  std::condition_variable changed;
  bool go = false;
  int finished = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      std::unique_lock<std::mutex> lock(mutex);
      changed.wait(lock, [&] { return go; });
      lock.unlock();
      const bool ok = UseHeap();
      lock.lock();
      if (ok) ++finished;
      changed.notify_all();
    });
  }
  [[maybe_unused]] const Confined confined = MustLockDown(LiveProfile());
  {
    std::unique_lock<std::mutex> lock(mutex);
    go = true;
    changed.notify_all();
    changed.wait(lock, [&] { return finished == 4; });
  }
  for (std::thread& thread : threads) thread.join();
  return confined.report().threads >= 5 ? 0 : kSetUpFailed;
}

// ---- S3, S4 and the state after lock-down.

int PollSlowly() {
  [[maybe_unused]] const Confined confined = MustLockDown(LiveProfile());
  Reply("polling");
  pollfd entry = {reply_socket, POLLIN, 0};
  const int ready = ::poll(&entry, 1, 1500);
  return ready == 0 ? 0 : kSetUpFailed;
}

int ThreadMadeBeforehandOpens() {
  std::atomic<bool> go{false};
  std::thread thread([&go] {
    while (!go.load()) ::sched_yield();
    ::syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
    ::_exit(kNotRefused);
  });
  [[maybe_unused]] const Confined confined = MustLockDown(StrictProfile());
  go.store(true);
  while (true) ::sched_yield();
}

// A thread with a filter of its own cannot be synchronised.
int ThreadWithOwnFilter() {
  std::atomic<pid_t> id{0};
  std::thread thread([&id] {
    sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog program = {1, allow};
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) ::_exit(kSetUpFailed);
    ::prctl(PR_SET_NAME, "stray thread", 0, 0, 0);
    id.store(::gettid());
    while (true) ::pause();
  });
  while (id.load() == 0) ::sched_yield();
  absl::StatusOr<Confined> confined =
      LockDown(Prepared::After(thread), LiveProfile(), {.keep = {reply_socket}});
  Reply(std::to_string(id.load()) + "\n" +
        (confined.ok() ? "confined" : std::string(confined.status().message())));
  ::_exit(0);
}

int ThreadWithCapabilities() {
  std::atomic<pid_t> id{0};
  std::thread thread([&id] {
    id.store(::gettid());
    while (true) ::pause();
  });
  while (id.load() == 0) ::sched_yield();
  absl::StatusOr<Confined> confined =
      LockDown(Prepared::After(thread), LiveProfile(), {.keep = {reply_socket}});
  Reply(std::to_string(id.load()) + "\n" +
        (confined.ok() ? "confined" : std::string(confined.status().message())));
  ::_exit(0);
}

int StayConfined() {
  std::thread idle([] {
    while (true) ::poll(nullptr, 0, 1000);
  });
  [[maybe_unused]] const Confined confined = MustLockDown(LiveProfile());
  Reply(confined.report().ToString());
  while (true) ::poll(nullptr, 0, 1000);
}

int LockDownAndSleep() {
  [[maybe_unused]] const Confined confined = MustLockDown(LiveProfile());
  Reply("confined");
  while (true) ::poll(nullptr, 0, 1000);
}

int StayConfinedAlone() {
  [[maybe_unused]] const Confined confined = MustLockDown(LiveProfile());
  Reply(confined.report().ToString());
  while (true) ::poll(nullptr, 0, 1000);
}

// ---- Workers that say that they are confined and are not.

constexpr char kClaim[] = "confined: filter on 1 thread(s), Landlock 7, MDWE";

int ClaimConfinement() {
  Reply(kClaim);
  while (true) ::poll(nullptr, 0, 1000);
}

// A filter on the first thread alone, and a thread that goes without.
int ClaimWithOneThread() {
  std::thread idle([] {
    while (true) ::poll(nullptr, 0, 1000);
  });
  sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program = {1, allow};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) return kSetUpFailed;
  return ClaimConfinement();
}

int ClaimWithChild() {
  if (::fork() == 0) {
    while (true) ::pause();
  }
  return StayConfinedAlone();
}

int DescriptorsAfterLockDown() {
  const int kept = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int forgotten = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int far = ::fcntl(forgotten, F_DUPFD_CLOEXEC, 25);  // within the limit of a worker
  if (kept < 0 || forgotten < 0 || far < 0) return kSetUpFailed;
  [[maybe_unused]] const Confined confined = MustLockDown(
      Profile::Ring({0, 1, 2, reply_socket, kept, forgotten, far}).WithSanitizerIfBuiltIn(),
      {kept});
  const auto is_open = [](int fd) { return ::fcntl(fd, F_GETFD) >= 0; };
  const bool right = is_open(0) && is_open(1) && is_open(2) && is_open(reply_socket) &&
                     is_open(kept) && !is_open(forgotten) && !is_open(far);
  return right ? 0 : kSetUpFailed;
}

// As if the filter let all files through: what is behind it?
int LookAtTheRoot() {
  const int changed = ::chdir("/usr");
  [[maybe_unused]] const Confined confined =
      MustLockDown(ProfileForTests::With(LiveProfile(), {{.call = "open", .filters = {}},
                                                         {.call = "openat", .filters = {}},
                                                         {.call = "getdents64", .filters = {}},
                                                         {.call = "newfstatat", .filters = {}}}));
  std::string text = "root " + std::to_string(confined.report().empty_root);
  for (const char* path : {"/etc/passwd", "/proc/self/status", "/usr", "bin", "../etc/passwd",
                           "/../etc/passwd", "/dev/null"}) {
    const long fd = ::syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    text += std::string(" ") + path + " " + std::to_string(fd >= 0 ? 0 : errno);
  }
  Reply(text + " " + std::to_string(changed));
  return 0;
}

int Dumpable() {
  [[maybe_unused]] const Confined confined =
      MustLockDown(Profile::Ring({reply_socket}).WithSanitizer());
  return ::prctl(PR_GET_DUMPABLE) == 0 ? 0 : kNotRefused;
}

int LiveWithoutFiles() {
  [[maybe_unused]] const Confined confined = MustLockDown(LiveProfile().WithFilesAbsent());
  // Under a sanitizer's profile, which comes first, the error is another one.
  const bool opened = std::fopen("/etc/passwd", "r") != nullptr;
  return opened || ::isatty(2) != 0 || errno != ENOTTY ? kNotRefused : 0;
}

int NotReported() {
  ::unsetenv("PARLEY_REFUSAL_FD");  // NOLINT(concurrency-mt-unsafe)
  [[maybe_unused]] const Confined confined = MustLockDown(StrictProfile());
  if (confined.report().reports_refusals) return kSetUpFailed;
  ::syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
  ::_exit(kNotRefused);
}

int OpensHostileInput() {
  HostileInput<std::string> input("bytes of an attacker");
  [[maybe_unused]] const Confined confined = MustLockDown(LiveProfile());
  return input.Open(confined).size() == 20 ? 0 : kSetUpFailed;
}

int Abort() {
  [[maybe_unused]] const Confined confined = MustLockDown(LiveProfile());
  std::abort();
}

// ---- Attacks on what meets a refused call; sandbox/testing_attacks.h.

int RunAttack(const std::string& name) {
  const std::map<std::string, testing::Attack (*)()> attacks = {
      {"move_code", testing::MoveCodeOverTheHandler},
      {"got_slot", testing::OverwriteTheGotSlot},
      {"second_thread", testing::RewriteTheStackFromASecondThread},
      {"interrupt", testing::InterruptFromASecondThread},
  };
  const auto found = attacks.find(name);
  if (found == attacks.end()) return kUnknown;
  const testing::Attack attack = found->second();
  [[maybe_unused]] const Confined confined = MustLockDown(StrictProfile());
  Reply("survived " + std::to_string(attack()));
  ::_exit(0);
}

int RunReadOnlyBytes() {
  const std::function<bool()> attack = testing::RunReadOnlyBytes();
  [[maybe_unused]] const Confined confined = MustLockDown(StrictProfile());
  Reply(attack() ? "ran" : "did not run");
  ::_exit(0);
}

// Escape sequences to whatever Spawn left on stderr.
int WriteToStderrsSocket() {
  [[maybe_unused]] const Confined confined = MustLockDown(Profile::Ring({reply_socket}));
  const bool sent = ::send(2, "\x1b[2J", 4, MSG_DONTWAIT | MSG_NOSIGNAL) == 4;
  Reply(sent ? "sent" : "did not send");
  ::_exit(0);
}

// ---- Ends that are no refused call, and libraries that print.

int Die(const std::string& kind) {
  // Under a sanitizer, which reports such things itself, by its own profile.
  const bool no_heap = kind == "double_free_without_heap";
  [[maybe_unused]] const Confined confined = MustLockDown(
      no_heap ? Profile::Ring({reply_socket}).WithSanitizerIfBuiltIn() : LiveProfile());
  if (kind == "double_free" || no_heap) {
    void* volatile block = std::malloc(100);
    void* volatile other = block;
    std::free(block);
    std::free(other);
  }
  if (kind == "smashed_stack") __stack_chk_fail();
  if (kind == "assert") __assert_fail("1 == 2", "file", 3, "function");
  if (kind == "exception") return std::vector<int>().at(1);  // nobody catches it
  if (kind == "check") PARLEY_CHECK(kind.empty(), "a check of ours");
  if (kind == "abort") std::abort();
  return kUnknown;
}

int BeChatty() {
  [[maybe_unused]] const Confined confined = MustLockDown(LiveProfile());
  // The first use of stdout, which stdio wants to know more about.
  bool ok = std::printf("a warning on stdout\n") > 0 && std::fflush(stdout) == 0;
  ok = ok && std::fprintf(stderr, "a warning on stderr\n") > 0;
  std::cerr << "and by a stream" << std::endl;
  std::perror("and an error");
  char byte = 0;
  ok = ok && ::isatty(2) == 0 && ::read(0, &byte, 1) == 0;
  return ok ? 0 : kSetUpFailed;
}

// stderr stays what it was, and is not the worker's to write to.
int KeepStderrUnnamed() {
  [[maybe_unused]] const Confined confined =
      MustLockDown(Profile::Ring({reply_socket}).WithHeap().WithThreads(), {2});
  const bool refused = ::write(2, "x", 1) == -1 && errno == EBADF;
  return refused ? 0 : kNotRefused;
}

// Three streams that the profile names, each by another addition, are still what they were.
int UseNamedStreams() {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0 || ::write(ends[1], "x", 1) != 1) return kSetUpFailed;
  const int event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  if (::dup2(ends[0], 0) != 0 || ::dup2(event, 1) != 1 || ::dup2(epoll, 2) != 2) {
    return kSetUpFailed;
  }
  [[maybe_unused]] const Confined confined =
      MustLockDown(LiveProfile().WithReadFrom(0).WithEventfd(1).WithEpoll(2));
  std::string seen;
  char byte = 0;
  if (::read(0, &byte, 1) != 1 || byte != 'x') seen += " the pipe";
  const uint64_t three = 3;
  uint64_t count = 0;
  const iovec part = {&count, sizeof(count)};
  if (::write(1, &three, sizeof(three)) != sizeof(three) ||
      ::preadv2(1, &part, 1, -1, RWF_NOWAIT) != sizeof(count) || count != 3) {
    seen += " the eventfd";
  }
  epoll_event event_of;
  if (::epoll_wait(2, &event_of, 1, 0) != 0) seen += " the epoll";
  Reply(seen.empty() ? "all there" : "not there:" + seen);
  return 0;
}

// ---- Inside of something that has a filter of its own.

// As a container engine that is older than the call: EPERM, or another error.
void RefuseAround(uint32_t number, uint32_t error, uint32_t argument = 0, uint32_t bits = 0) {
  testing::Refuse(
      {.call = number, .error = error, .argument = argument, .mask = bits, .value = bits});
}

// In the place of Spawn's holder of namespaces, one that has answered already: with an error (0 for
// success), with a part of one, or that is gone (0 bytes). Gives its end.
int AnswerAsHolder(int error, size_t size_bytes) {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0) ::_exit(kSetUpFailed);
  if (size_bytes > 0 && ::send(ends[1], &error, size_bytes, MSG_NOSIGNAL) < 0) {
    ::_exit(kSetUpFailed);
  }
  const std::string number = std::to_string(ends[0]);
  ::setenv("PARLEY_HOLDER_FD", number.c_str(), 1);  // NOLINT(concurrency-mt-unsafe)
  if (size_bytes == 0) ::shutdown(ends[1], SHUT_RDWR);
  return ends[1];
}

int LockDownInside(const std::string& around, const std::string& refused) {
  LockDownOptions options = {.keep = {reply_socket}};
  options.require_landlock = around.find("require_landlock") != std::string::npos;
  options.require_mdwe = around.find("require_mdwe") != std::string::npos;
  options.require_empty_root = around.find("require_empty_root") != std::string::npos;
  const auto has = [&around](const char* word) { return around.find(word) != std::string::npos; };
  if (has("landlock_eperm")) RefuseAround(SYS_landlock_create_ruleset, EPERM);
  if (has("landlock_enosys")) RefuseAround(SYS_landlock_create_ruleset, ENOSYS);
  if (has("mdwe_einval")) RefuseAround(SYS_prctl, EINVAL, 0, 64);  // PR_SET_MDWE is 65
  if (has("holder_succeeds")) options.keep.push_back(AnswerAsHolder(0, sizeof(int)));
  if (has("holder_eperm")) options.keep.push_back(AnswerAsHolder(EPERM, sizeof(int)));
  if (has("holder_short")) options.keep.push_back(AnswerAsHolder(0, 1));
  if (has("holder_gone")) options.keep.push_back(AnswerAsHolder(0, 0));
  if (has("close_range_eperm")) RefuseAround(SYS_close_range, EPERM);
  if (has("listener_einval")) RefuseAround(SYS_seccomp, EINVAL, 1, 8 /* NEW_LISTENER */);
  if (has("syslog_eperm")) RefuseAround(SYS_syslog, EPERM);
  if (has("seccomp_eperm")) RefuseAround(SYS_seccomp, EPERM);
  if (has("seccomp_enosys")) RefuseAround(SYS_seccomp, ENOSYS);
  std::thread idle;
  if (has("thread")) {
    idle = std::thread([] {
      while (true) ::poll(nullptr, 0, 1000);
    });
  }
  const int forgotten = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (has("stdin_is_a_socket")) ::dup2(reply_socket, 0);
  if (has("closed_streams")) {
    for (const int stream : {0, 1, 2}) ::close(stream);
    options.keep.push_back(0);
  }
  if (!refused.empty()) testing::RefuseByOrder(refused);
  absl::StatusOr<Confined> confined =
      LockDown(Prepared::After(Socket{reply_socket}),
               Profile::Ring({reply_socket, forgotten}).WithHeap().WithThreads(), options);
  Reply(confined.ok() ? confined->report().ToString() : std::string(confined.status().message()));
  if (!confined.ok()) {
    // Where it can be read, as before.
    std::fprintf(stderr, "%s\n", std::string(confined.status().message()).c_str());
    ::_exit(0);
  }
  if (::fcntl(forgotten, F_GETFD) >= 0) ::_exit(kNotRefused);
  for (const int stream : {1, 2}) {
    const bool written = ::write(stream, "x", 1) == 1;
    if (written == has("stdin_is_a_socket") || (!written && errno != EBADF)) ::_exit(kNotRefused);
  }
  if (has("syslog_eperm")) ::_exit(::syscall(SYS_syslog, 10, nullptr, 0) == -1 ? errno : 0);
  ::syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
  ::_exit(kNotRefused);
}

// ---- What stands behind the filter: a filter that allows too much, and the rest of LockDown.

int LookBehindTheFilter() {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  std::vector<Rule> rules = Profile::Ring({reply_socket}).rules();
  for (const char* call : {"openat", "mmap", "mprotect", "prctl", "brk", "kill", "getppid"}) {
    rules.push_back({.call = call, .filters = {}});
  }
  const Confined confined = MustLockDown(ProfileForTests::Of(std::move(rules)));
  std::string seen = confined.report().ToString();
  const auto note = [&seen](const char* what, bool done) {
    seen += std::string("\n") + what + ": " + (done ? "yes" : std::strerror(errno));
  };
  note("open", ::open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0);
  note("kill", ::kill(::getppid(), 0) == 0);
  void* const memory =
      ::mmap(nullptr, page, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  note("map executable", memory != MAP_FAILED);
  void* const plain =
      ::mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  note("make executable", ::mprotect(plain, page, PROT_READ | PROT_EXEC) == 0);
  // SAFETY: the page of this function; an address that is given to the kernel.
  const auto code = reinterpret_cast<uintptr_t>(&LookBehindTheFilter) & ~(page - 1);
  // NOLINTNEXTLINE(performance-no-int-to-ptr): as it is, so where it isn't sealed nothing changes
  note("change code", ::mprotect(reinterpret_cast<void*>(code), page, PROT_READ | PROT_EXEC) == 0);
  note("dumpable", ::prctl(PR_GET_DUMPABLE) != 0);
  Reply(seen);
  ::_exit(0);
}

// ---- Each number that there is, under one profile, in a process of its own.

Profile ProfileNamed(const std::string& name) {
  const Profile ring = Profile::Ring({reply_socket});
  const std::map<std::string, Profile> profiles = {
      {"ring", ring},
      {"eventfd", ring.WithEventfd(reply_socket)},
      {"epoll", ring.WithEpoll(reply_socket)},
      {"write", ring.WithWriteTo(reply_socket)},
      {"read", ring.WithReadFrom(reply_socket)},
      {"heap", ring.WithHeap()},
      {"threads", ring.WithThreads()},
      {"files_absent", ring.WithFilesAbsent()},
      {"sanitizer", ring.WithSanitizer()},
      {"all", ring.WithEventfd(reply_socket)
                  .WithWriteTo(reply_socket)
                  .WithReadFrom(reply_socket)
                  .WithHeap()
                  .WithThreads()
                  .WithFilesAbsent()},
  };
  const auto found = profiles.find(name);
  return found == profiles.end() ? ring : found->second;
}

// `policy`: that of `profile` as LockDown completes it, but for the abort of another process.
std::string SweepOne(const Profile& profile, const Policy& policy, uint32_t number,
                     uint64_t argument) {
  static auto* const tried = new (::mmap(nullptr, sizeof(std::atomic<bool>), PROT_READ | PROT_WRITE,
                                         MAP_SHARED | MAP_ANONYMOUS, -1, 0)) std::atomic<bool>;
  tried->store(false);
  const Policy::Verdict verdict = policy.AskRaw(
      kNativeArchitecture, number, {argument, argument, argument, argument, argument, argument});
  const pid_t pid = ::fork();
  if (pid < 0) return "cannot fork";
  if (pid == 0) {
    // Those are for the one lock-down of the whole process.
    ::unsetenv("PARLEY_REFUSAL_FD");  // NOLINT(concurrency-mt-unsafe)
    ::unsetenv("PARLEY_HOLDER_FD");   // NOLINT(concurrency-mt-unsafe)
    // What is allowed may wait, ppoll without a timeout for one.
    const bool may_wait = verdict.answer == Policy::Answer::kAllow;
    const itimerval soon = {{0, 0}, {may_wait ? 0 : 3, 500'000}};
    ::setitimer(ITIMER_REAL, &soon, nullptr);
    [[maybe_unused]] const Confined confined = MustLockDown(profile);
    tried->store(true);
    const long result =  // NOLINT: syscall's type
        ::syscall(number, argument, argument, argument, argument, argument, argument);
    ::_exit(result == -1 ? errno & 0x7f : 200);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  const std::string what = "call " + std::to_string(number) + " with " + std::to_string(argument) +
                           ": wait status " + std::to_string(status) + "\n";
  if (!tried->load()) return what + " (before the call)\n";
  switch (verdict.answer) {
    case Policy::Answer::kAllow:
      return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS ? what : "";
    case Policy::Answer::kErrno:
      return WIFEXITED(status) && WEXITSTATUS(status) == verdict.error ? "" : what;
    case Policy::Answer::kNotAsked:  // killed for by older kernels
      return WIFEXITED(status) && WEXITSTATUS(status) == 200 ? what : "";
    default:
      return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS ? "" : what;
  }
}

int Sweep(const std::string& name) {
  const Profile profile = ProfileNamed(name);
  Profile complete = profile.WithAbortOf(::getpid());
  for (const int stream : {0, 1, 2}) {
    complete = complete.WithStream(
        stream, profile.Names(stream) ? Profile::Stream::kNamed : Profile::Stream::kNull);
  }
  const absl::StatusOr<Policy> policy = Policy::Compile(complete, {});
  if (!policy.ok()) return kSetUpFailed;
#ifdef SYS_poll
  constexpr int kPoll = SYS_poll;
#else
  constexpr int kPoll = SYS_ppoll;
#endif
  std::string wrong;
  int swept = 0;
  for (uint32_t number = 0; number < 512; ++number) {
    wrong += SweepOne(profile, *policy, number, 0);
    ++swept;
  }
  for (const uint32_t number : {0x40000000u, 0x40000000u + 59, 0x40000208u, 1000u, 100'000u}) {
    wrong += SweepOne(profile, *policy, number, 0);
    ++swept;
  }
  for (const int number : {SYS_read, SYS_write, SYS_mmap, SYS_mprotect, SYS_sendto, kPoll,
                           SYS_fcntl, SYS_futex, SYS_madvise, SYS_clock_gettime}) {
    wrong += SweepOne(profile, *policy, static_cast<uint32_t>(number), ~uint64_t{0});
    ++swept;
  }
  const std::string said = wrong.empty() ? "swept " + std::to_string(swept) : wrong;
  Reply(said.substr(0, 2000));
  std::printf("%s: %s\n", name.c_str(), said.c_str());
  return wrong.empty() ? 0 : kNotRefused;
}

// ---- Before any lock-down: what Spawn made of us.

int ExitWith3() { return 3; }

int ListDescriptors() {
  std::string text;
  DIR* directory = ::opendir("/proc/self/fd");
  std::vector<int> numbers;
  while (const dirent* entry = ::readdir(directory)) {
    const int number = static_cast<int>(std::strtol(entry->d_name, nullptr, 10));
    if (entry->d_name[0] != '.' && number != ::dirfd(directory)) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  for (const int number : numbers) {
    char target[256] = {};
    const std::string path = "/proc/self/fd/" + std::to_string(number);
    if (::readlink(path.c_str(), target, sizeof(target) - 1) < 0) return kSetUpFailed;
    text += std::to_string(number) + " " + target + "\n";
  }
  Reply(text);
  return 0;
}

int ShowEnvironment() {
  std::string text;
  for (char** line = environ; *line != nullptr; ++line) text += std::string(*line) + "\n";
  Reply(text);
  return 0;
}

// What an important parent passes on.
std::string ShowInherited() {
  char directory[256] = {};
  if (::getcwd(directory, sizeof(directory)) == nullptr) return "";
  int death_signal = -1;
  ::prctl(PR_GET_PDEATHSIG, &death_signal, 0, 0, 0);
  return "\nPolicy: " + std::to_string(::sched_getscheduler(0)) +
         "\nOomScore: " + ReadAll("/proc/self/oom_score_adj") + "IoPriority: " +
         std::to_string(::syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) >> IOPRIO_CLASS_SHIFT) +
         "\nDirectory: " + directory + "\nDeathSignal: " + std::to_string(death_signal) +
         "\nGroups: " + std::to_string(::getgroups(0, nullptr)) +
         "\nTimerSlack: " + std::to_string(::prctl(PR_GET_TIMERSLACK)) +
         "\nPersonality: " + std::to_string(::personality(0xffffffff)) +
         "\nKeyring: " + std::to_string(::syscall(SYS_keyctl, 0, -3, 0)) + "\n";
}

// What the namespaces make of the system.
int ShowWall() {
  int processes = 0;
  DIR* directory = ::opendir("/proc");
  while (const dirent* entry = ::readdir(directory)) {
    if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') ++processes;
  }
  ::closedir(directory);
  const auto error = [](long answer) { return std::to_string(answer == 0 ? 0 : errno); };
  std::string text = "\nProcesses: " + std::to_string(processes);
  text += "\nPid: " + std::to_string(::getpid());
  text += "\nParent: " + std::to_string(::getppid());
  text += "\nUser: " + std::to_string(::getuid());
  text += "\nSetHostName: " + error(::sethostname("x", 1));
  text += "\nMount: " + error(::mount("none", "/tmp", "tmpfs", 0, nullptr));
  text += "\nNewUser: " + error(::syscall(SYS_unshare, CLONE_NEWUSER));
  text += "\nKillAll: " + error(::kill(-1, 0)) + "\n" + ReadAll("/proc/net/dev");
  Reply(text);
  return 0;
}

int ShowState() {
  Reply(ReadAll("/proc/self/status") + "\nGroup: " + std::to_string(::getpgrp()) + "\nSession: " +
        std::to_string(::getsid(0)) + "\nNice: " + std::to_string(::getpriority(PRIO_PROCESS, 0)) +
        "\n" + ReadAll("/proc/self/limits") + ShowInherited());
  return 0;
}

// What a clone has for itself, and what it has in common with others.
int ShowClone() {
  static int counter = 0;
  ++counter;
  uint64_t protector = 0;
#if defined(__x86_64__)
  asm volatile("movq %%fs:0x28, %0" : "=r"(protector));
#endif
  std::string random;
  // SAFETY: 16 bytes on this process's stack, which the auxiliary vector names.
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  const auto* const bytes = reinterpret_cast<const unsigned char*>(::getauxval(AT_RANDOM));
  for (int i = 0; i < 16; ++i) random += std::to_string(bytes[i]) + ".";
  // SAFETY: an address that is only compared.
  const auto here = reinterpret_cast<uintptr_t>(&random);
  uintptr_t stack_bytes = 0;
  uintptr_t guard_bytes = 0;
  uintptr_t below = 0;
  uintptr_t below_end = 0;
  bool is_guard = false;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uintptr_t start = 0;
    uintptr_t end = 0;
    char dash = 0;
    std::string rights;
    std::istringstream(line) >> std::hex >> start >> dash >> end >> rights;
    if (start <= here && here < end) {
      stack_bytes = end - start;
      if (is_guard && below_end == start) guard_bytes = below_end - below;
    }
    below = start;
    below_end = end;
    is_guard = rights == "---p";
  }
  void* robust = nullptr;
  size_t robust_bytes = 0;
  ::syscall(SYS_get_robust_list, 0, &robust, &robust_bytes);
  void* thread_id = nullptr;
  ::prctl(PR_GET_TID_ADDRESS, &thread_id, 0, 0, 0);
  // Refused to one that has some already.
  alignas(32) static char other[32] = {};
  const bool rseq = ::syscall(SYS_rseq, other, sizeof(other), 0, 0x53053053) != 0;
  cpu_set_t processors;
  // By the thread id that libc keeps.
  const int error = ::pthread_getaffinity_np(::pthread_self(), sizeof(processors), &processors);
  Reply("protector " + std::to_string(protector) + "\nrandom " + random + "\ncounter " +
        std::to_string(counter) + "\naffinity " + std::to_string(error) + "\npid " +
        std::to_string(::getpid()) + "\nthread " + std::to_string(::gettid()) +
        // SAFETY: libc's own word, which the kernel clears at the thread's end.
        "\nkept " + std::to_string(thread_id == nullptr ? 0 : *static_cast<pid_t*>(thread_id)) +
        "\nstack " + std::to_string(stack_bytes) + "\nguard " + std::to_string(guard_bytes) +
        "\nrobust " + std::to_string(robust != nullptr ? robust_bytes : 0) + "\nrseq " +
        std::to_string(rseq ? 1 : 0) + "\n");
  return 0;
}

int BurnCpu() {
  std::atomic<uint64_t> count{0};
  while (true) ++count;
}

int Sleep() {
  Reply("sleeping");
  while (true) ::pause();
}

// Its end of the socket to the holder of its namespaces, too, over which it has said nothing.
int CloseAllAndSleep() {
  for (int fd = 3; fd < 64; ++fd) {
    if (fd != reply_socket) ::close(fd);
  }
  return Sleep();
}

// Attack W8.
int LeaveGrandchild() {
  if (::fork() == 0) {
    while (true) ::pause();
  }
  ::_exit(0);
}

// ---- What is written to stderr.

void WriteToStderr(const std::string& text) {
  static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
}

int PrintEscapes() {
  WriteToStderr(
      "clear \x1b[2J and \x9b"
      "31m\tred\r\n\n\nhalf a li");
  WriteToStderr("ne");
  return 0;
}

int FloodStderr() {
  Reply("flooding");
  while (true) WriteToStderr("flood\n");
}

int PrintMuchAndReply() {
  for (int i = 0; i < 10'000; ++i) WriteToStderr(std::string(100, 'x') + "\n");
  Reply("printed");
  while (true) ::pause();
}

// All that can be done to a socket that is shared with us.
int AttackStderr() {
  WriteToStderr("\x1b]0;owned\x07\n");
  char typed[64] = {};
  const ssize_t read = ::recv(STDERR_FILENO, typed, sizeof(typed), MSG_DONTWAIT);
  const int shut = ::shutdown(STDERR_FILENO, SHUT_RDWR);
  Reply("read " + std::to_string(read) + " shut " + std::to_string(shut));
  return 0;
}

int SendDescriptorToStderr() {
  static_cast<void>(
      testing::SendDescriptors(STDERR_FILENO, std::array{reply_socket}, MSG_NOSIGNAL));
  WriteToStderr("sent\n");
  return 0;
}

// A child that no signal to our group reaches.
template <typename Body>
pid_t ForkAway(Body body) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::setsid();
  body();
  ::_exit(0);
}

// Leaves a process behind that has left our group and session, then sleeps, or ends.
void MakeDaemon() {
  ForkAway([] {
    ForkAway([] {
      Reply("daemon");
      ::sleep(20);  // what a test that fails leaves behind must end
    });
  });
}

// A process whose parent has ended, and that ends then.
int LeaveOrphanAndSleep() {
  const pid_t child = ForkAway([] { ForkAway([] { ::usleep(20'000); }); });
  ::waitpid(child, nullptr, 0);
  return Sleep();
}

int LeaveDaemonAndSleep() {
  MakeDaemon();
  while (true) ::pause();
}

int LeaveDaemonAndEnd() {
  MakeDaemon();
  char go = 0;
  static_cast<void>(::recv(reply_socket, &go, 1, 0));
  ::_exit(0);
}

// Traced by a child of its own, nobody else can reap this process before that child ends.
int TracedByItsChild() {
  const pid_t parent = ::getpid();
  // A clone is not, and Yama allows a parent only what it says.
  ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  ::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
  ForkAway([parent] {
    Reply(::ptrace(PTRACE_SEIZE, parent, nullptr, nullptr) == 0 ? "traced" : "not traced");
    ::alarm(20);  // what a test that fails leaves behind must end
    char end = 0;
    static_cast<void>(::recv(reply_socket, &end, 1, 0));
  });
  while (true) ::pause();
}

// Starts a worker of its own and ends without the destructor.
int SpawnAndVanish(const char* program) {
  SpawnOptions options;
  options.program = program;
  options.arguments = {"sleep"};
  options.environment_from_ours = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"};
  options.descriptors.push_back(InheritedDescriptor::Lend(reply_socket, "PARLEY_TEST_REPLY_FD"));
  absl::StatusOr<Worker> worker = Spawn(std::move(options));
  if (!worker.ok()) return kSetUpFailed;
  char go = 0;
  static_cast<void>(::recv(reply_socket, &go, 1, 0));
  ::_exit(0);
}

int Run(const std::string& scenario, const std::string& argument, const std::string& second,
        const char* program) {
  if (scenario == "try") return TryHostileCall(argument, second);
  if (scenario == "raise") return ::raise(std::atoi(argument.c_str()));  // NOLINT(cert-err34-c)
  if (scenario == "attack") return RunAttack(argument);
  if (scenario == "live_on_what_is_there") return LiveOnWhatIsThere(argument);
  if (scenario == "die") return Die(argument);
  if (scenario == "inside") return LockDownInside(argument, second);
  if (scenario == "sweep") return Sweep(argument);
  if (scenario == "template_refuses") return 0;  // nothing is left to refuse
  if (scenario == "spawn_and_vanish") return SpawnAndVanish(program);
  const std::map<std::string, int (*)()> scenarios = {
      {"live_on_ring", LiveOnRing},
      {"live_on_heap", LiveOnHeap},
      {"live_with_threads", LiveWithThreads},
      {"live_without_files", LiveWithoutFiles},
      {"poll_slowly", PollSlowly},
      {"thread_opens", ThreadMadeBeforehandOpens},
      {"thread_with_own_filter", ThreadWithOwnFilter},
      {"thread_with_capabilities", ThreadWithCapabilities},
      {"stay_confined", StayConfined},
      {"descriptors_after", DescriptorsAfterLockDown},
      {"dumpable", Dumpable},
      {"lock_down", LockDownAndSleep},
      {"print_escapes", PrintEscapes},
      {"flood_stderr", FloodStderr},
      {"print_much", PrintMuchAndReply},
      {"attack_stderr", AttackStderr},
      {"send_descriptor", SendDescriptorToStderr},
      {"look_at_root", LookAtTheRoot},
      {"wall", ShowWall},
      {"not_reported", NotReported},
      {"hostile_input", OpensHostileInput},
      {"abort", Abort},
      {"run_read_only_bytes", RunReadOnlyBytes},
      {"write_to_stderrs_socket", WriteToStderrsSocket},
      {"stay_confined_alone", StayConfinedAlone},
      {"claim_confinement", ClaimConfinement},
      {"claim_with_one_thread", ClaimWithOneThread},
      {"claim_with_child", ClaimWithChild},
      {"chatty", BeChatty},
      {"keep_stderr_unnamed", KeepStderrUnnamed},
      {"named_streams", UseNamedStreams},
      {"behind_the_filter", LookBehindTheFilter},
      {"exit_3", ExitWith3},
      {"list_descriptors", ListDescriptors},
      {"environment", ShowEnvironment},
      {"state", ShowState},
      {"burn_cpu", BurnCpu},
      {"show_clone", ShowClone},
      {"sleep", Sleep},
      {"close_all_and_sleep", CloseAllAndSleep},
      {"leave_grandchild", LeaveGrandchild},
      {"leave_orphan_and_sleep", LeaveOrphanAndSleep},
      {"leave_daemon_and_sleep", LeaveDaemonAndSleep},
      {"leave_daemon_and_end", LeaveDaemonAndEnd},
      {"traced", TracedByItsChild},
  };
  const auto found = scenarios.find(scenario);
  return found == scenarios.end() ? kUnknown : found->second();
}

// A template that answers each order by messages of these sizes: "16 3".
void LieAsATemplate(int host, const std::string& sizes) {
  const std::vector<char> zeros(100);
  static_cast<void>(::send(host, zeros.data(), 1, MSG_NOSIGNAL));
  std::vector<char> order(sizeof(internal::CloneOrder));
  while (::recv(host, order.data(), order.size(), 0) > 0) {
    std::istringstream words(sizes);
    for (size_t size_bytes = 0; words >> size_bytes;) {
      static_cast<void>(::send(host, zeros.data(), size_bytes, MSG_NOSIGNAL));
    }
  }
  ::_exit(0);
}

}  // namespace
}  // namespace parley

int main(int argc, char** argv) {
  const auto run = [argc, argv] {
    absl::StatusOr<parley::UniqueFd> reply = parley::TakeInheritedFd("PARLEY_TEST_REPLY_FD");
    if (!reply.ok() || argc < 2) return parley::kSetUpFailed;
    parley::reply_socket = reply->Release();
    const std::string argument = argc > 2 ? argv[2] : "";
    return parley::Run(argv[1], argument, argc > 3 ? argv[3] : "", argument.c_str());
  };
  absl::StatusOr<parley::UniqueFd> host =
      parley::TakeInheritedFd(parley::internal::kTemplateVariable);
  if (!host.ok()) return run();
  const std::string scenario = argc > 1 ? argv[1] : "";
  std::thread idle;
  if (scenario == "template_with_thread") {
    idle = std::thread([] {
      while (true) ::pause();
    });
    ::pthread_setname_np(idle.native_handle(), "idle");
  }
  if (scenario == "template_with_shared_memory") {
    const void* const shared =
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return parley::kSetUpFailed;
  }
  if (scenario == "template_refuses") parley::testing::RefuseByOrder(argc > 2 ? argv[2] : "");
  if (scenario == "template_lies") parley::LieAsATemplate(host->get(), argc > 2 ? argv[2] : "");
  // What returns has ended well.
  const absl::Status served = parley::ServeClones(*std::move(host), {}, [&run] {
    if (const int code = run(); code != 0) ::_exit(code);
  });
  std::fprintf(stderr, "%s\n", std::string(served.message()).c_str());
  ::_exit(parley::kSetUpFailed);
}
