// SPDX-License-Identifier: Apache-2.0

// Each step of Spawn that can fail: it is named, with the kernel's own reason, and nothing is left.

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/exit_report.h"
#include "parley/sandbox/spawn.h"
#include "parley/sandbox/testing_spawn.h"
#include "parley/sandbox/testing_ways.h"
#include "parley/testing/filter.h"

namespace parley {
namespace {

using testing::AskFor;
using testing::HasSanitizer;
using testing::InAProcessOfItsOwn;
using testing::KernelMakesNamespaces;
using testing::kLong;
using testing::kWayNames;
using testing::kWays;
using testing::MakeWay;
using testing::Refuse;
using testing::RefusedCall;
using testing::Way;

// An error that nothing else has.
constexpr char kReason[] = "Invalid cross-device link";
constexpr uint32_t kError = EXDEV;

SpawnOptions OptionsOf(Way way) {
  SpawnOptions options;
  options.program = "/bin/true";
  options.name = "tester";
  AskFor(way, &options);
  return options;
}

int OpenDescriptors() {
  int open = 0;
  for (int fd = 0; fd < 200; ++fd) open += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return open;
}

int Mappings() {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);) {
    const bool file = line.find("/dev/zero (deleted)") != std::string::npos ||
                      line.find("memfd:") != std::string::npos;
    count += file ? 1 : 0;
  }
  return count;
}

std::string SignalMask() {
  std::ifstream status("/proc/thread-self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("SigBlk:", 0) == 0) return line;
  }
  return "?";
}

constexpr char kRuns[] = "runs";

// What comes of a start where one call fails; "" if it is `expected`, and nothing is left behind.
// Of `expected`, which may have several with a '|' between them.
bool IsOneOf(const std::string& expected, const std::string& said) {
  for (size_t at = 0; at <= expected.size();) {
    const size_t end = std::min(expected.find('|', at), expected.size());
    const std::string one = expected.substr(at, end - at);
    if (said == (one == kRuns ? one : "cannot " + one)) return true;
    at = end + 1;
  }
  return false;
}

std::string Wrong(Way way, const RefusedCall& refused, const std::string& expected,
                  void (*prepare)(SpawnOptions*)) {
  SpawnOptions options = OptionsOf(way);
  if (prepare != nullptr) prepare(&options);
  MakeWay(way);
  // Whatever is made once for all.
  const std::string mask = SignalMask();
  const int mappings = Mappings();
  const int descriptors = OpenDescriptors();
  Refuse(refused);
  {
    auto worker = Spawn(std::move(options));
    const std::string said =
        worker.ok() ? std::string(kRuns) : std::string(worker.status().message());
    if (!IsOneOf(expected, said)) return said;
    if (worker.ok()) {
      auto report = worker->Wait(Deadline::After(kLong));
      if (!report.ok()) return report.status().ToString();
      if (!report->clean()) return report->ToString();
      return "";  // the thread that watches ends a moment later
    }
  }
  if (::waitpid(-1, nullptr, WNOHANG | __WALL) != -1 || errno != ECHILD) return "a child is left";
  if (OpenDescriptors() != descriptors) return "a descriptor is left";
  if (Mappings() != mappings) return "something stays mapped";
  return SignalMask() == mask ? "" : "signals are blocked";
}

std::string Of(const std::string& step, const std::string& why = kReason) {
  return "start tester (/bin/true)" + step + ": " + why;
}

struct FailingStep {
  const char* name;
  RefusedCall refused;
  // Of each way, in order.
  std::string without, root, nobody, copy;
  void (*prepare)(SpawnOptions*) = nullptr;
};

FailingStep InEachWay(const char* name, const RefusedCall& refused, const std::string& said,
                      void (*prepare)(SpawnOptions*) = nullptr) {
  return {name, refused, said, said, said, said, prepare};
}

FailingStep Within(const char* name, const RefusedCall& refused, const std::string& said) {
  return {name, refused, kRuns, said, said, said};
}

FailingStep AsNobody(const char* name, const RefusedCall& refused, const std::string& said) {
  return {name, refused, kRuns, kRuns, said, said};
}

void BeRealTime(SpawnOptions*) {
  const sched_param priority = {.sched_priority = 10};
  ::sched_setscheduler(0, SCHED_FIFO, &priority);
}

void BeUrgent(SpawnOptions*) {
  ::syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_BE << IOPRIO_CLASS_SHIFT | 0);
}

void BeSpared(SpawnOptions*) {
  const UniqueFd file(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (::write(file.get(), "-900", 4) != 4) ::_exit(8);
}

void BeNice(SpawnOptions* options) { options->nice = 1; }

void OutliveUs(SpawnOptions* options) { options->dies_with_parent = false; }

std::vector<FailingStep> StepsOfTheChild() {
  const std::string ordinary = Of(", giving it an ordinary priority");
  const std::string privileges = Of(", dropping its privileges");
  const std::string namespaces = Of(", making its namespaces");
  const std::string life = Of(", tying its life to ours");
  const auto prctl = [](uint32_t option) { return RefusedCall{SYS_prctl, kError, 0, ~0u, option}; };
  const RefusedCall parent_asked = {SYS_getppid, kError};
  return {
      InEachWay("signals", {SYS_rt_sigprocmask, kError}, Of(", resetting its signals")),
      InEachWay("session", {SYS_setsid, kError}, Of(", giving it a session of its own")),
      InEachWay("policy", {SYS_sched_getscheduler, kError}, ordinary),
      InEachWay("real time", {SYS_sched_setscheduler, kError}, ordinary, BeRealTime),
      InEachWay("nice value", {SYS_getpriority, kError}, ordinary),
      InEachWay("other nice value", {SYS_setpriority, kError}, ordinary, BeNice),
      InEachWay("the same nice value", {SYS_setpriority, kError}, kRuns),
      InEachWay("disks", {SYS_ioprio_get, kError}, kRuns),
      InEachWay("urgent for disks", {SYS_ioprio_set, kError}, ordinary, BeUrgent),
      InEachWay("timers", prctl(PR_SET_TIMERSLACK),
                Of(", giving it an ordinary priority", "Invalid argument")),
      InEachWay("personality", {SYS_personality, kError}, kRuns),
      InEachWay("keyring", {SYS_keyctl, kError}, kRuns),
      InEachWay("new privileges", prctl(PR_SET_NO_NEW_PRIVS), privileges),
      InEachWay("ambient capabilities", prctl(PR_CAP_AMBIENT), privileges),
      InEachWay("bounding set", prctl(PR_CAPBSET_DROP), kRuns),
      InEachWay("capabilities", {SYS_capset, kError}, privileges),
      InEachWay("parent's end", prctl(PR_SET_PDEATHSIG), life),
      InEachWay("parent's end, outlived", prctl(PR_SET_PDEATHSIG), kRuns, OutliveUs),
      {"parent's number", parent_asked, Of(", tying its life to ours", "No such process"), kRuns,
       kRuns, kRuns},
      InEachWay("parent's number, outlived", parent_asked, kRuns, OutliveUs),
      InEachWay("numbers above", {SYS_fcntl, kError, 1, ~0u, F_DUPFD_CLOEXEC},
                Of(", placing its descriptors")),
      InEachWay("its own numbers", {SYS_dup3, kError}, Of(", placing its descriptors")),
      InEachWay("closing the rest", {SYS_close_range, kError}, kRuns),
      // A question has no new value.
      InEachWay("limits", {SYS_prlimit64, kError, 1, ~0u, RLIMIT_STACK},
                Of(", setting its resource limits")),
      InEachWay("directory", {SYS_chdir, kError}, Of(", entering its directory")),
      InEachWay("program", {SYS_execve, kError}, Of("")),
      InEachWay("program that nobody may execute", {SYS_execve, EACCES},
                Of("", "Permission denied")),
      {"clone",
       {SYS_clone, kError, 0, CLONE_PIDFD | CLONE_PARENT, CLONE_PIDFD},
       Of(""),
       namespaces,
       namespaces,
       namespaces},
      Within("the process in between",
             {SYS_clone, kError, 0, CLONE_FILES | CLONE_VFORK, CLONE_FILES | CLONE_VFORK},
             namespaces),
      Within("clone within", {SYS_clone, kError, 0, CLONE_PARENT, CLONE_PARENT}, namespaces),
      Within("entering", {SYS_setns, kError}, namespaces),
      Within("the network", {SYS_unshare, kError}, namespaces),
      // Ours; the holder asks for that of process 2, and ends with it, which a worker that is a
      // program of its own may be seen to do first.
      {"the worker's number",
       {SYS_pidfd_open, kError, 0, ~0u, 2},
       kRuns,
       Of(", making its namespaces", "Connection timed out"),
       Of(", making its namespaces", "Connection timed out") + "|" + Of("", "No child processes"),
       Of(", making its namespaces", "Connection timed out")},
      Within("our own number, too", {SYS_pidfd_open, kError}, namespaces),
      Within("a /proc of its own", {SYS_mount, kError}, kRuns),
      AsNobody("groups", {SYS_setgroups, kError}, namespaces),
      AsNobody("group", {SYS_setresgid, kError}, namespaces),
      AsNobody("user", {SYS_setresuid, kError}, namespaces),
      // Nobody needs that much; then it begins as a copy.
      InEachWay("list of locks", {SYS_set_robust_list, kError}, kRuns),
      // Nobody's by us, and if they cannot be, its own by the holder.
      Within("maps", {SYS_openat, kError, 2, O_ACCMODE, O_WRONLY},
             Of(", making its namespaces", "Operation not permitted")),
  };
}

void ExpectEach(const std::vector<FailingStep>& steps) {
  const bool can = KernelMakesNamespaces();
  for (const FailingStep& step : steps) {
    const std::string* const said[] = {&step.without, &step.root, &step.nobody, &step.copy};
    for (const Way way : kWays) {
      const auto at = static_cast<size_t>(way);
      if (way != Way::kWithout && !can) continue;
      if ((way == Way::kNobody || way == Way::kCopy) && ::geteuid() != 0) continue;
      const int code = InAProcessOfItsOwn([&step, way, expected = *said[at]] {
        const std::string wrong = Wrong(way, step.refused, expected, step.prepare);
        if (!wrong.empty()) std::fprintf(stderr, "%s\n", wrong.c_str());
        return wrong.empty() ? 0 : 1;
      });
      EXPECT_EQ(code, 0) << step.name << ", " << kWayNames[at];
    }
  }
}

TEST(StartFailuresTest, EachStepOfTheChildThatFailsIsNamed) {
  if (HasSanitizer()) GTEST_SKIP() << "its runtime makes the same calls";
  if (::geteuid() != 0) GTEST_SKIP() << "some of them are asked of root alone";
  ExpectEach(StepsOfTheChild());
}

TEST(StartFailuresTest, AnOomScoreThatCannotBeRaisedIsNamed) {
  if (HasSanitizer()) GTEST_SKIP() << "its runtime makes the same calls";
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const std::string said = Of(", giving it an ordinary priority");
  const int code = InAProcessOfItsOwn([&said] {
    const RefusedCall refused = {SYS_openat, kError, 2, O_ACCMODE, O_WRONLY};
    const std::string wrong = Wrong(Way::kWithout, refused, said, BeSpared);
    if (!wrong.empty()) std::fprintf(stderr, "%s\n", wrong.c_str());
    return wrong.empty() ? 0 : 1;
  });
  EXPECT_TRUE(code == 0 || code == 8) << code;
}

// What we do ourselves before and after.
TEST(StartFailuresTest, EachStepOfOursThatFailsIsNamed) {
  if (HasSanitizer()) GTEST_SKIP() << "its runtime makes the same calls";
  const std::string reason = std::string(": ") + kReason;
  const RefusedCall send_buffer = {SYS_setsockopt, kError, 2, ~0u, SO_SNDBUF};
  const RefusedCall stream = {SYS_socketpair, kError, 1, 0xf, SOCK_STREAM};
  ExpectEach({
      InEachWay("sockets", {SYS_socketpair, kError}, "make the refusal sockets" + reason),
      InEachWay("their size", send_buffer, "limit the refusal sockets" + reason),
      InEachWay("their direction", {SYS_shutdown, kError}, "limit the refusal sockets" + reason),
      InEachWay("its output", stream, "make the socket of a worker's output" + reason),
      InEachWay("its input", {SYS_openat, kError, 2, O_ACCMODE, O_RDWR}, "open /dev/null" + reason),
      InEachWay("its pidfd for the thread", {SYS_fcntl, kError, 2, ~0u, 3},
                "watch a worker's refused calls" + reason),
      InEachWay("the word's descriptor", {SYS_eventfd2, kError},
                "watch a worker's lock-down" + reason),
      InEachWay("the thread", testing::NoThread(kError),
                "start the thread that watches a worker's refused calls" + reason),
  });
}

}  // namespace
}  // namespace parley
