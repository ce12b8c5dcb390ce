// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/spawn.h"

#include <fcntl.h>
#include <linux/ioprio.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/connected_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/pidfd.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/exit_report.h"
#include "parley/sandbox/testing_spawn.h"
#include "parley/sandbox/worker_maker.h"
#include "parley/testing/disposal_helpers.h"
#include "parley/testing/filter.h"
#include "parley/testing/slow_files.h"

namespace parley {
namespace {

using testing::HasSanitizer;
using testing::InAProcessOfItsOwn;
using testing::KernelMakesNamespaces;
using testing::kLong;
using testing::NamespacesAreExpected;
using testing::NextReply;
using testing::Refuse;
using testing::StartWorker;
using testing::WithoutNamespaces;
using testing::WorkerOptions;
using testing::WorkerPath;

// The rest of the line in `text` that starts with `key`, without leading blanks.
std::string Line(const std::string& text, const std::string& key) {
  const size_t at = text.find("\n" + key);
  if (at == std::string::npos) return "(none)";
  const size_t start = text.find_first_not_of(" \t", at + 1 + key.size());
  return text.substr(start, text.find('\n', start) - start);
}

std::string Text(const absl::Status& status) { return std::string(status.message()); }

bool HungUp(int socket) {
  pollfd entry = {socket, POLLIN, 0};
  ::poll(&entry, 1, 0);
  return (entry.revents & POLLHUP) != 0;
}

TEST(SpawnTest, ReportsTheExitCode) {
  UniqueFd replies;
  auto worker = Spawn(WorkerOptions({"exit_3"}, replies));
  ASSERT_TRUE(worker.ok()) << worker.status();
  auto report = worker->Wait(Deadline::After(kLong));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->exit_code, 3);
  EXPECT_EQ(report->signal, std::nullopt);
  EXPECT_FALSE(report->clean());
  EXPECT_EQ(report->ToString(),
            "tester (pid " + std::to_string(worker->pid()) + ") ended with exit code 3");
  EXPECT_GT(report->peak_memory_bytes, 0);
  // Again, from memory.
  auto again = worker->Wait(Deadline::AtMonotonicNs(0));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->exit_code, 3);
}

TEST(SpawnTest, PromiseP2TimeWaitKeepsItsDeadline) {
  UniqueFd replies;
  auto worker = Spawn(WorkerOptions({"sleep"}, replies));
  ASSERT_TRUE(worker.ok()) << worker.status();
  ASSERT_EQ(NextReply(replies.get()), "sleeping");
  const int64_t start_ns = MonotonicNowNs();
  auto report = worker->Wait(Deadline::After(absl::Milliseconds(50)));
  EXPECT_EQ(report.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(MonotonicNowNs() - start_ns, 5'000'000'000);
  worker->Kill();
  report = worker->Wait(Deadline::After(kLong));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->signal, SIGKILL);
  EXPECT_FALSE(report->killed_by_filter());
  EXPECT_NE(report->ToString().find("was killed by signal 9 (Killed)"), std::string::npos);
  worker->Kill();  // nothing left to kill
}

TEST(SpawnTest, DestructionLeavesNeitherZombieNorOrphan) {
  UniqueFd replies;
  pid_t pid = -1;
  {
    auto worker = Spawn(WorkerOptions({"sleep"}, replies));
    ASSERT_TRUE(worker.ok()) << worker.status();
    pid = worker->pid();
    ASSERT_EQ(NextReply(replies.get()), "sleeping");
    EXPECT_FALSE(ProcessHasEnded(worker->pidfd()));
  }
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
  EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
  EXPECT_TRUE(HungUp(replies.get()));
}

TEST(SpawnTest, AssigningAnotherWorkerEndsTheFirst) {
  UniqueFd first_replies;
  UniqueFd second_replies;
  auto worker = Spawn(WorkerOptions({"sleep"}, first_replies));
  ASSERT_TRUE(worker.ok()) << worker.status();
  auto second = Spawn(WorkerOptions({"sleep"}, second_replies));
  ASSERT_TRUE(second.ok()) << second.status();
  const pid_t first_pid = worker->pid();
  const pid_t second_pid = second->pid();
  *worker = *std::move(second);
  EXPECT_EQ(::kill(first_pid, 0), -1);
  EXPECT_EQ(worker->pid(), second_pid);
  EXPECT_FALSE(ProcessHasEnded(worker->pidfd()));
  EXPECT_FALSE(second->Wait(Deadline::AtMonotonicNs(0)).ok());  // NOLINT: the moved-from one
}

TEST(SpawnTest, AssigningAWorkerToItselfChangesNothing) {
  UniqueFd replies;
  auto worker = Spawn(WorkerOptions({"sleep"}, replies));
  ASSERT_TRUE(worker.ok()) << worker.status();
  ASSERT_EQ(NextReply(replies.get()), "sleeping");
  const pid_t pid = worker->pid();
  Worker& itself = *worker;
  *worker = std::move(itself);
  EXPECT_EQ(worker->pid(), pid);
  EXPECT_EQ(worker->name(), "tester");
  EXPECT_FALSE(ProcessHasEnded(worker->pidfd()));
  EXPECT_TRUE(absl::IsDeadlineExceeded(worker->Wait(Deadline::AtMonotonicNs(0)).status()));
}

TEST(SpawnTest, TheWorkerDiesWithItsParent) {
  UniqueFd replies;
  auto parent = Spawn(WorkerOptions({"spawn_and_vanish", WorkerPath()}, replies));
  ASSERT_TRUE(parent.ok()) << parent.status();
  ASSERT_EQ(NextReply(replies.get()), "sleeping");  // the grandchild's
  EXPECT_FALSE(HungUp(replies.get()));
  ASSERT_EQ(::send(replies.get(), "g", 1, MSG_NOSIGNAL), 1);
  ASSERT_TRUE(parent->Wait(Deadline::After(kLong)).ok());
  // It holds the socket's last other end.
  EXPECT_EQ(NextReply(replies.get()), "");
  EXPECT_TRUE(HungUp(replies.get()));
}

// Attack W8: the socket says nothing, the pidfd does; and what is left in the group is ended.
TEST(SpawnTest, W8DeathIsSeenWhileAGrandchildHoldsTheSocket) {
  UniqueFd replies;
  auto worker = Spawn(WorkerOptions({"leave_grandchild"}, replies));
  ASSERT_TRUE(worker.ok()) << worker.status();
  pollfd entry = {worker->pidfd(), POLLIN, 0};
  ASSERT_EQ(::poll(&entry, 1, 30'000), 1);
  // In a pid namespace the grandchild ends at the same moment.
  if (!worker->second_wall().pid) {
    EXPECT_FALSE(HungUp(replies.get()));
  }
  auto report = worker->Wait(Deadline::After(kLong));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->clean());
  EXPECT_EQ(NextReply(replies.get()), "");
  EXPECT_TRUE(HungUp(replies.get()));
}

// A process whose tracer is alive can't be reaped by anybody else.
TEST(SpawnTest, PromiseP2TimeATracedWorkerDelaysNeitherWaitNorDestruction) {
  UniqueFd replies;
  const int64_t start_ns = MonotonicNowNs();
  {
    auto worker = StartWorker(WorkerOptions({"traced"}, replies));
    ASSERT_TRUE(worker.ok()) << worker.status();
    const std::string traced = NextReply(replies.get());
    if (traced == "not traced") GTEST_SKIP() << "a child may not trace its parent here (Yama)";
    ASSERT_EQ(traced, "traced");
    worker->Kill();
    const int64_t wait_ns = MonotonicNowNs();
    auto report = worker->Wait(Deadline::After(absl::Milliseconds(500)));
    EXPECT_LT(MonotonicNowNs() - wait_ns, 5'000'000'000);
    if (report.ok()) {
      EXPECT_EQ(report->signal, SIGKILL);
    }
  }
  // The tracer would wait for 20 s.
  EXPECT_LT(MonotonicNowNs() - start_ns, 10'000'000'000);
}

// It has left the group and the session, and its parent has ended.
TEST(SpawnTest, ADaemonOfTheWorkersEndsWithIt) {
  for (const char* scenario : {"leave_daemon_and_sleep", "leave_daemon_and_end"}) {
    UniqueFd replies;
    auto worker = StartWorker(WorkerOptions({scenario}, replies));
    ASSERT_TRUE(worker.ok()) << worker.status();
    ASSERT_EQ(NextReply(replies.get()), "daemon");
    ASSERT_EQ(worker->second_wall().pid, NamespacesAreExpected());
    if (!worker->second_wall().pid) GTEST_SKIP() << worker->second_wall().ToString();
    if (scenario == std::string("leave_daemon_and_end")) {
      ASSERT_EQ(::send(replies.get(), "g", 1, MSG_NOSIGNAL), 1);
      auto report = worker->Wait(Deadline::After(kLong));
      ASSERT_TRUE(report.ok()) << report.status();
      EXPECT_TRUE(report->clean()) << report->ToString();
    } else {
      const Worker last = *std::move(worker);
    }
    EXPECT_TRUE(HungUp(replies.get())) << scenario;
  }
}

// Its number, and its group's, may be anybody's by then.
TEST(SpawnTest, AWorkerThatWasReapedByOthersIsSignalledNoMore) {
  const int code = InAProcessOfItsOwn([] {
    ::signal(SIGCHLD, SIG_IGN);
    UniqueFd replies;
    SpawnOptions options = WorkerOptions({"leave_grandchild"}, replies);
    options.namespaces.use = NamespaceOptions::Use::kNone;
    auto worker = Spawn(std::move(options));
    if (!worker.ok()) return 1;
    if (!worker->Wait(Deadline::After(kLong)).ok()) return 2;
    worker->Kill();
    ::usleep(50'000);
    const bool lives = !HungUp(replies.get());
    ::kill(-worker->pid(), SIGKILL);
    return lives ? 0 : 3;
  });
  EXPECT_EQ(code, 0);
}

TEST(SpawnTest, SurvivesIgnoredSigchld) {
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  struct sigaction before = {};
  ASSERT_EQ(::sigaction(SIGCHLD, &ignore, &before), 0);
  UniqueFd replies;
  auto worker = Spawn(WorkerOptions({"exit_3"}, replies));
  ASSERT_TRUE(worker.ok()) << worker.status();
  auto report = worker->Wait(Deadline::After(kLong));
  ::sigaction(SIGCHLD, &before, nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->exit_code, std::nullopt);
  EXPECT_FALSE(report->clean());
  EXPECT_NE(report->ToString().find("took its exit status"), std::string::npos);
}

// Attack F4: one without close-on-exec is open here all the time, as another library's might be.
// How many of `pages` the kernel has to do something about when they are written to.
int64_t FaultsOfWriting(char* pages, size_t count) {
  rusage before = {};
  rusage after = {};
  ::getrusage(RUSAGE_THREAD, &before);
  for (size_t i = 0; i < count; ++i) static_cast<volatile char*>(pages)[i * 4096] = 1;
  ::getrusage(RUSAGE_THREAD, &after);
  return after.ru_minflt - before.ru_minflt;
}

// That takes 20 to 40 us for each MiB of it, and more at our next write. A page that a copy had is
// known by its fault.
TEST(SpawnTest, PromiseP3WorkNoWorkerBeginsAsACopyOfItsParent) {
  if (HasSanitizer()) GTEST_SKIP() << "then it does";
  constexpr size_t kPages = 4096;
  void* const start =
      ::mmap(nullptr, kPages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(start, MAP_FAILED);
  ::madvise(start, kPages * 4096, MADV_NOHUGEPAGE);
  char* const pages = static_cast<char*>(start);
  ASSERT_GE(FaultsOfWriting(pages, kPages), int64_t{kPages});
  EXPECT_LT(FaultsOfWriting(pages, kPages), int64_t{kPages} / 8);
  // A copy is seen.
  ASSERT_EQ(InAProcessOfItsOwn([] { return 3; }), 3);
  ASSERT_GE(FaultsOfWriting(pages, kPages), int64_t{kPages});

  const bool expected = NamespacesAreExpected();  // asks by a fork
  FaultsOfWriting(pages, kPages);
  UniqueFd replies;
  auto worker = StartWorker(WorkerOptions({"sleep"}, replies));
  ASSERT_TRUE(worker.ok()) << worker.status();
  EXPECT_EQ(worker->second_wall().user, expected);
  EXPECT_LT(FaultsOfWriting(pages, kPages), int64_t{kPages} / 8)
      << worker->second_wall().ToString();
  for (const bool nobody : {true, false}) {
    SpawnOptions options;
    options.program = "/bin/true";  // which that user may execute, wherever the tests lie
    if (WithoutNamespaces()) options.namespaces.use = NamespaceOptions::Use::kNone;
    options.namespaces.root_becomes_nobody = nobody;
    auto other = Spawn(std::move(options));
    ASSERT_TRUE(other.ok()) << other.status();
    EXPECT_EQ(other->second_wall().nobody, expected && nobody && ::geteuid() == 0);
    EXPECT_LT(FaultsOfWriting(pages, kPages), int64_t{kPages} / 8)
        << other->second_wall().ToString();
  }
  ::munmap(start, kPages * 4096);
}

TEST(SpawnTest, PromiseP8NoSideDoorsNoDescriptorLeaks) {
  const UniqueFd leaky(::open("/dev/zero", O_RDONLY));  // NOLINT: that is the point
  const UniqueFd far(::fcntl(leaky.get(), F_DUPFD, 500));
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"list_descriptors"}, replies);
  options.descriptors.push_back(
      InheritedDescriptor::Give(UniqueFd(::open("/dev/full", O_RDONLY | O_CLOEXEC)), "FULL_FD"));
  options.descriptors.push_back(InheritedDescriptor::Lend(far.get(), "ZERO_FD"));
  options.stderr_to = OutputTo::kNull;
  auto worker = Spawn(std::move(options));
  ASSERT_TRUE(worker.ok()) << worker.status();
  const std::string list = NextReply(replies.get());
  // 3 is the reply socket, 6 the refusal socket and 7 the one to the holder of the namespaces.
  std::string expected =
      "0 /dev/null\n1 /dev/null\n2 /dev/null\n3 socket:\n4 /dev/full\n5 /dev/zero\n6 socket:\n";
  if (!WithoutNamespaces()) expected += "7 socket:\n";
  std::string without_inodes;
  bool skipping = false;
  for (const char c : list) {
    if (c == '[') skipping = true;
    if (!skipping) without_inodes.push_back(c);
    if (c == ']') skipping = false;
  }
  EXPECT_EQ(without_inodes, expected);
  EXPECT_GE(::fcntl(far.get(), F_GETFD), 0);  // lent, not given
}

TEST(SpawnTest, ALoanOfStderrGetsANumberOfItsOwn) {
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"list_descriptors"}, replies);
  const UniqueFd file(::open("/dev/full", O_RDWR | O_CLOEXEC));
  const UniqueFd saved(::dup(0));
  ASSERT_EQ(::dup2(file.get(), 0), 0);
  options.descriptors.push_back(InheritedDescriptor::Lend(0, "ZERO_FD"));
  auto worker = Spawn(std::move(options));
  ::dup2(saved.get(), 0);
  ASSERT_TRUE(worker.ok()) << worker.status();
  const std::string list = NextReply(replies.get());
  EXPECT_NE(list.find("0 /dev/null\n"), std::string::npos) << list;
  EXPECT_NE(list.find("\n4 /dev/full\n"), std::string::npos) << list;
}

TEST(SpawnTest, TheEnvironmentIsWhatWasGiven) {
  ::setenv("PARLEY_SECRET", "hunter2", 1);  // NOLINT(concurrency-mt-unsafe)
  ::setenv("PARLEY_WANTED", "yes", 1);      // NOLINT(concurrency-mt-unsafe)
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"environment"}, replies);
  options.environment = {{"PARLEY_ONE", "1=1"}};
  options.environment_from_ours = {"PARLEY_WANTED", "PARLEY_NOT_SET_ANYWHERE"};
  auto worker = Spawn(std::move(options));
  ASSERT_TRUE(worker.ok()) << worker.status();
  // The reply socket's variable was taken by then.
  EXPECT_EQ(NextReply(replies.get()),
            std::string("PARLEY_ONE=1=1\nPARLEY_WANTED=yes\nPARLEY_REFUSAL_FD=4\n") +
                (WithoutNamespaces() ? "" : "PARLEY_HOLDER_FD=5\n"));
}

TEST(SpawnTest, VariablesThatCannotBeAreRefused) {
  const std::string with_nul("A\0B", 3);
  for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{
           {"", "x"}, {"A=B", "x"}, {"=", "x"}, {with_nul, "x"}, {"A", with_nul}}) {
    UniqueFd replies;
    SpawnOptions options = WorkerOptions({"exit_3"}, replies);
    options.environment = {{name, value}};
    const absl::Status status = Spawn(std::move(options)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(Text(status), "not an environment variable for a worker: '" + name + "'");
  }
  UniqueFd replies;
  SpawnOptions twice = WorkerOptions({"exit_3"}, replies);
  twice.environment = {{"PARLEY_TEST_REPLY_FD", "9"}};
  EXPECT_EQ(Text(Spawn(std::move(twice)).status()),
            "environment variable given to the worker twice: PARLEY_TEST_REPLY_FD");
  SpawnOptions closed = WorkerOptions({"exit_3"}, replies);
  closed.descriptors.push_back(InheritedDescriptor::Give(UniqueFd(), "NOTHING_FD"));
  EXPECT_EQ(Text(Spawn(std::move(closed)).status()), "no descriptor to inherit as NOTHING_FD");
}

TEST(SpawnTest, SignalsSessionAndPrivilegesStartFresh) {
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  struct sigaction before = {};
  ASSERT_EQ(::sigaction(SIGUSR1, &ignore, &before), 0);
  sigset_t usr2;
  sigemptyset(&usr2);
  sigaddset(&usr2, SIGUSR2);
  sigset_t mask_before;
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &usr2, &mask_before), 0);
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"state"}, replies);
  options.nice = 3;
  auto worker = Spawn(std::move(options));
  sigset_t mask_after;
  ::pthread_sigmask(SIG_SETMASK, &mask_before, &mask_after);
  ::sigaction(SIGUSR1, &before, nullptr);
  ASSERT_TRUE(worker.ok()) << worker.status();
  EXPECT_EQ(sigismember(&mask_after, SIGUSR2), 1);  // ours is as it was
  EXPECT_EQ(sigismember(&mask_after, SIGTERM), 0);

  const std::string state = NextReply(replies.get());
  EXPECT_EQ(Line(state, "SigBlk:"), "0000000000000000");
  EXPECT_EQ(Line(state, "SigIgn:"), "0000000000000000");
  EXPECT_EQ(Line(state, "NoNewPrivs:"), "1");
  for (const char* set : {"CapInh:", "CapPrm:", "CapEff:", "CapAmb:"}) {
    EXPECT_EQ(Line(state, set), "0000000000000000") << set;
  }
  if (::geteuid() == 0) {
    EXPECT_EQ(Line(state, "CapBnd:"), "0000000000000000");
  }
  // By the worker's own count: it leads both.
  const std::string own =
      worker->second_wall().pid ? std::string("2") : std::to_string(worker->pid());
  EXPECT_EQ(Line(state, "Group:"), own);
  EXPECT_EQ(Line(state, "Session:"), own);
  errno = 0;
  EXPECT_EQ(Line(state, "Nice:"),
            std::to_string(std::min(std::max(::getpriority(PRIO_PROCESS, 0), 0) + 3,
                                    19)));  // the kernel's max
}

std::string StateOfAWorker(SpawnOptions (*change)(SpawnOptions) = nullptr) {
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"state"}, replies);
  if (change != nullptr) options = change(std::move(options));
  auto worker = StartWorker(std::move(options));
  EXPECT_TRUE(worker.ok()) << worker.status();
  return NextReply(replies.get());
}

// What a thread that spawns has for itself, and what its worker then has.
struct Importance {
  int policy;
  int nice;
  int io_class;
  int io_level;
  const char* nice_of_the_worker;
  bool io_is_kept;
};

// As of an audio program that spawns from its real-time thread.
TEST(SpawnTest, AnImportantParentHasAnOrdinaryWorker) {
  const Importance each[] = {
      {SCHED_FIFO, 0, IOPRIO_CLASS_BE, 0, "0", false},
      {SCHED_RR, 0, IOPRIO_CLASS_BE, 3, "0", false},
      {SCHED_OTHER, -5, IOPRIO_CLASS_RT, 7, "0", false},
      // More modest than it has to be, and so is its worker.
      {SCHED_BATCH, 4, IOPRIO_CLASS_BE, 4, "4", true},
      {SCHED_IDLE, 0, IOPRIO_CLASS_IDLE, 0, "0", true},
  };
  for (const Importance& one : each) {
    SCOPED_TRACE("policy " + std::to_string(one.policy) + ", io class " +
                 std::to_string(one.io_class) + ", level " + std::to_string(one.io_level));
    std::string state;
    bool allowed = true;
    std::thread important([&] {
      const bool real_time = one.policy == SCHED_FIFO || one.policy == SCHED_RR;
      const sched_param priority = {.sched_priority = real_time ? 10 : 0};
      allowed = ::sched_setscheduler(0, one.policy, &priority) == 0 &&
                ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), one.nice) == 0 &&
                ::syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
                          one.io_class << IOPRIO_CLASS_SHIFT | one.io_level) == 0;
      ::prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
      if (allowed) state = StateOfAWorker();
    });
    important.join();
    if (!allowed) {
      std::puts("not for this user: not tried");
      continue;
    }
    const bool modest = one.policy == SCHED_BATCH || one.policy == SCHED_IDLE;
    EXPECT_EQ(Line(state, "Policy:"), std::to_string(modest ? one.policy : SCHED_OTHER)) << state;
    EXPECT_EQ(Line(state, "Nice:"), one.nice_of_the_worker) << state;
    EXPECT_EQ(Line(state, "IoPriority:") == std::to_string(one.io_class), one.io_is_kept) << state;
    EXPECT_EQ(Line(state, "TimerSlack:"), "50000") << state;
  }
}

TEST(SpawnTest, AParentThatIsNeverKilledHasAWorkerThatIs) {
  const char* const path = "/proc/self/oom_score_adj";
  std::string before(16, '\0');
  const UniqueFd file(::open(path, O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(file.ok());
  before.resize(static_cast<size_t>(::read(file.get(), before.data(), before.size())));
  if (::pwrite(file.get(), "-900", 4, 0) != 4) GTEST_SKIP() << "needs the privilege to say so";
  const std::string state = StateOfAWorker();
  ASSERT_GT(::pwrite(file.get(), before.data(), before.size(), 0), 0);
  EXPECT_EQ(Line(state, "OomScore:"), "0") << state;
}

TEST(SpawnTest, AParentThatVolunteersHasAWorkerThatDoes) {
  // Without privileges there is no way back.
  const int code = InAProcessOfItsOwn([] {
    const UniqueFd file(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
    if (::write(file.get(), "700", 3) != 3) return 1;
    return Line(StateOfAWorker(), "OomScore:") == "700" ? 0 : 2;
  });
  EXPECT_EQ(code, 0);
}

TEST(SpawnTest, UmaskDirectoryPersonalityAndKeyringAreFresh) {
  const mode_t before = ::umask(0);
  const int personality_before = ::personality(0xffffffff);
  ::personality(ADDR_NO_RANDOMIZE);
  ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);
  const long ours = ::syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
  const std::string state = StateOfAWorker();
  const std::string elsewhere = StateOfAWorker([](SpawnOptions options) {
    options.working_directory = "/proc";
    return options;
  });
  ::umask(before);
  ::personality(static_cast<unsigned long>(personality_before));
  EXPECT_EQ(Line(state, "Umask:"), "0077") << state;
  EXPECT_EQ(Line(state, "Directory:"), "/") << state;
  // A clone has no working directory of its own choice.
  EXPECT_EQ(Line(elsewhere, "Directory:"), testing::Cloned() ? "/" : "/proc") << elsewhere;
  if (!HasSanitizer()) {
    EXPECT_EQ(Line(state, "Personality:"), "0") << state;
  }
  if (ours > 0) {
    EXPECT_NE(Line(state, "Keyring:"), std::to_string(ours)) << state;
  }
}

TEST(SpawnTest, PromiseP7ResourcesThereAreLimitsByDefault) {
  const std::string state = StateOfAWorker();
  for (const auto& [key, value] :
       std::vector<std::pair<const char*, const char*>>{{"Max open files", "64"},
                                                        {"Max file size", "1048576"},
                                                        {"Max cpu time", "86400"},
                                                        {"Max address space", "4294967296"},
                                                        {"Max locked memory", "65536"},
                                                        {"Max msgqueue size", "0"},
                                                        {"Max nice priority", "0"},
                                                        {"Max realtime priority", "0"}}) {
    if (HasSanitizer() && key == std::string("Max address space")) continue;
    const std::string line = Line(state, key);
    EXPECT_EQ(line.substr(0, line.find(' ')), value) << key;
  }
}

TEST(SpawnTest, ProcessesAreCountedWithinSinceLinux5Dot14) {
  for (const char* release :
       {"5.14.0", "5.14", "5.15.0-91-generic", "6.0.1", "6.1.0-13-amd64", "10.2.3", "5.100.0"}) {
    EXPECT_TRUE(internal::CountsProcessesWithin(release)) << release;
  }
  for (const char* release : {"5.13.19", "5.4.0-150-generic", "4.19.0", "2.6.78", "5", ""}) {
    EXPECT_FALSE(internal::CountsProcessesWithin(release)) << release;
  }
}

// What we may not raise is as we have it: asking for more is no error.
TEST(SpawnTest, PromiseP7ResourcesALimitOfOursBoundsTheWorkers) {
  const int code = InAProcessOfItsOwn([] {
    const rlimit low = {30, 30};
    if (::setrlimit(RLIMIT_NOFILE, &low) != 0) return 1;
    const std::string state = StateOfAWorker([](SpawnOptions options) {
      options.limits.open_files = 1000;
      return options;
    });
    return Line(state, "Max open files").substr(0, 3) == "30 " ? 0 : 2;
  });
  EXPECT_EQ(code, 0);
}

TEST(SpawnTest, PromiseP7ResourcesLimitsAreInForce) {
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"state"}, replies);
  options.limits.address_space_bytes = uint64_t{3} << 30;
  options.limits.cpu_seconds = 100;
  options.limits.file_size_bytes = uint64_t{1} << 20;
  options.limits.open_files = 33;
  options.limits.processes = 4000;
  auto worker = Spawn(std::move(options));
  ASSERT_TRUE(worker.ok()) << worker.status();
  const std::string state = NextReply(replies.get());
  const auto starts = [&state](const char* key, const std::string& value) {
    const std::string line = Line(state, key);
    EXPECT_EQ(line.substr(0, value.size() + 1), value + " ") << key;
  };
  starts("Max core file size", "0");
  starts("Max cpu time", "100");
  starts("Max file size", "1048576");
  starts("Max open files", "33");
  starts("Max processes", "4000");
  if (HasSanitizer()) {
    std::puts("the address space is not limited under a sanitizer");
  } else {
    starts("Max address space", "3221225472");
  }
}

TEST(SpawnTest, PromiseP7ResourcesCpuTimeRunsOut) {
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"burn_cpu"}, replies);
  options.limits.cpu_seconds = 1;
  auto worker = Spawn(std::move(options));
  ASSERT_TRUE(worker.ok()) << worker.status();
  auto report = worker->Wait(Deadline::After(kLong));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->signal, SIGXCPU);
  EXPECT_NE(report->ToString().find("was killed for using up its CPU time"), std::string::npos);
  // The kernel counts for the limit and for the report in different ways.
  EXPECT_GT(report->user_time + report->system_time, absl::Milliseconds(200));
}

TEST(SpawnTest, AFailedExecSaysWhatAndWhy) {
  SpawnOptions missing;
  missing.program = "/no/such/decoder";
  missing.name = "decoder";
  auto worker = Spawn(std::move(missing));
  EXPECT_EQ(worker.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Text(worker.status()),
            "cannot start decoder (/no/such/decoder): No such file or directory");
  SpawnOptions directory;
  directory.program = "/";
  EXPECT_EQ(Spawn(std::move(directory)).status().code(), absl::StatusCode::kPermissionDenied);
  // Nothing is left of either.
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(SpawnTest, AFailedStepIsNamed) {
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"exit_3"}, replies);
  options.descriptors.push_back(InheritedDescriptor::Lend(900, "CLOSED_FD"));
  auto worker = Spawn(std::move(options));
  ASSERT_FALSE(worker.ok());
  EXPECT_NE(Text(worker.status()).find("placing its descriptors: Bad file descriptor"),
            std::string::npos)
      << worker.status();
}

TEST(SpawnTest, AFullDescriptorTableIsAClearError) {
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit low = before;
  low.rlim_cur = 64;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"exit_3"}, replies);
  std::vector<UniqueFd> fill;
  while (true) {
    UniqueFd next(::dup(2));
    if (!next.ok()) break;
    fill.push_back(std::move(next));
  }
  // At each number of free places: an orderly error or a worker, never a leak.
  int started = 0;
  for (size_t free_places = 0; free_places < 24 && !fill.empty(); ++free_places) {
    UniqueFd more_replies;
    SpawnOptions attempt;
    attempt.program = WorkerPath();
    auto worker = Spawn(std::move(attempt));
    if (worker.ok()) {
      ++started;
    } else {
      EXPECT_EQ(worker.status().code(), absl::StatusCode::kResourceExhausted) << worker.status();
      EXPECT_NE(Text(worker.status()).find("ulimit -n"), std::string::npos) << worker.status();
    }
    fill.pop_back();
  }
  EXPECT_GT(started, 0);
  EXPECT_LT(started, 24);
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST(SpawnTest, ManyAtOnceFromManyThreads) {
  std::vector<std::thread> threads;
  std::atomic<int> clean{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&clean] {
      for (int round = 0; round < 5; ++round) {
        UniqueFd replies;
        auto worker = Spawn(WorkerOptions({"exit_3"}, replies));
        if (!worker.ok()) continue;
        auto report = worker->Wait(Deadline::After(kLong));
        if (report.ok() && report->exit_code == 3) ++clean;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(clean.load(), 20);
}

// ---- The second wall.

using Use = NamespaceOptions::Use;

TEST(SecondWallTest, RequiredItIsThereOrAnError) {
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"wall"}, replies);
  options.namespaces.use = Use::kRequired;
  auto worker = StartWorker(std::move(options));
  if (!KernelMakesNamespaces()) {
    EXPECT_NE(Text(worker.status()).find("making its namespaces: "), std::string::npos);
    GTEST_SKIP() << worker.status();
  }
  ASSERT_TRUE(worker.ok()) << worker.status();
  const SecondWall& wall = worker->second_wall();
  EXPECT_TRUE(wall.user && wall.pid && wall.mount && wall.network && wall.ipc && wall.uts &&
              wall.cgroup)
      << wall.ToString();
  const std::string text = NextReply(replies.get());
  EXPECT_EQ(Line(text, "Pid:"), "2");
  EXPECT_EQ(Line(text, "Parent:"), "0");
  if (wall.own_proc) {
    EXPECT_EQ(Line(text, "Processes:"), "2") << "itself and the holder";
  }
  EXPECT_NE(Line(text, "SetHostName:"), "0");
  EXPECT_NE(Line(text, "Mount:"), "0");
  EXPECT_EQ(Line(text, "NewUser:"), std::to_string(ENOSPC)) << "no user namespace within";
  EXPECT_EQ(Line(text, "KillAll:"), std::to_string(ESRCH)) << "it can signal nobody";
  EXPECT_EQ(text.find("eth"), std::string::npos) << text;
}

TEST(SecondWallTest, NoneMeansNone) {
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"wall"}, replies);
  options.namespaces.use = Use::kNone;
  auto worker = Spawn(std::move(options));
  ASSERT_TRUE(worker.ok()) << worker.status();
  EXPECT_EQ(worker->second_wall().ToString(), "no namespaces");
  EXPECT_EQ(Line(NextReply(replies.get()), "Pid:"), std::to_string(worker->pid()));
}

TEST(SecondWallTest, TheNetworkCanBeKept) {
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"sleep"}, replies);
  options.namespaces = {.use = Use::kWhereAvailable, .network = false};
  auto worker = Spawn(std::move(options));
  ASSERT_TRUE(worker.ok()) << worker.status();
  ASSERT_EQ(worker->second_wall().user, KernelMakesNamespaces());
  if (!worker->second_wall().user) GTEST_SKIP() << worker->second_wall().ToString();
  EXPECT_FALSE(worker->second_wall().network);
  const auto network = [](const std::string& process) {
    char target[64] = {};
    EXPECT_GT(::readlink(("/proc/" + process + "/ns/net").c_str(), target, sizeof(target) - 1), 0);
    return std::string(target);
  };
  if (::geteuid() == 0) {
    EXPECT_EQ(network(std::to_string(worker->pid())), network("self"));
  }
}

// As in a container: clone and unshare fail with this flag. In a process of its own.
template <typename Body>
int RunWhereNamespacesAreRefused(uint32_t refused, Body body) {
  return InAProcessOfItsOwn([refused, &body] {
    for (const uint32_t call : {uint32_t{SYS_clone}, uint32_t{SYS_unshare}}) {
      Refuse({.call = call, .mask = refused, .value = refused});
    }
    return body();
  });
}

TEST(SecondWallTest, WhereNoneCanBeMadeTheWorkerRunsAndSaysSo) {
  if (HasSanitizer()) GTEST_SKIP() << "a sanitizer's build makes none";
  const int code = RunWhereNamespacesAreRefused(CLONE_NEWUSER, [] {
    UniqueFd replies;
    SpawnOptions options = WorkerOptions({"exit_3"}, replies);
    options.namespaces.use = Use::kWhereAvailable;
    auto worker = Spawn(std::move(options));
    if (!worker.ok()) return 1;
    if (worker->second_wall().ToString() !=
        "no namespaces (making its namespaces: Operation not permitted)") {
      return 2;
    }
    auto report = worker->Wait(Deadline::After(kLong));
    if (!report.ok() || report->exit_code != 3) return 3;
    SpawnOptions required = WorkerOptions({"exit_3"}, replies);
    required.namespaces.use = Use::kRequired;
    auto refused = Spawn(std::move(required));
    return refused.status().code() == absl::StatusCode::kPermissionDenied ? 0 : 4;
  });
  EXPECT_EQ(code, 0);
}

TEST(SecondWallTest, WhereOneIsMissingTheOthersAreMade) {
  if (!KernelMakesNamespaces()) GTEST_SKIP() << "no namespaces here";
  const int code = RunWhereNamespacesAreRefused(CLONE_NEWNET, [] {
    UniqueFd replies;
    SpawnOptions options = WorkerOptions({"exit_3"}, replies);
    options.namespaces.use = Use::kWhereAvailable;
    auto worker = StartWorker(std::move(options));
    if (!worker.ok()) return 1;
    const SecondWall& wall = worker->second_wall();
    return wall.user && wall.pid && wall.mount && wall.ipc && !wall.network &&
                   wall.missing.find("Operation not permitted") != std::string::npos
               ? 0
               : 2;
  });
  EXPECT_EQ(code, 0);
}

// The files that only root may read are foreign to a root parent's worker.
TEST(SecondWallTest, RootIsNobodyInIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  if (!KernelMakesNamespaces()) GTEST_SKIP() << "no namespaces here";
  for (const bool nobody : {true, false}) {
    UniqueFd replies;
    SpawnOptions options = WorkerOptions({}, replies);
    options.program = "/bin/sh";
    options.arguments = {"-c", "{ id -u; cat /etc/shadow > /dev/null && echo reads; } >&3"};
    options.environment = {{"PATH", "/usr/bin:/bin"}};
    options.namespaces = {.use = Use::kRequired, .network = true, .root_becomes_nobody = nobody};
    auto worker = Spawn(std::move(options));
    ASSERT_TRUE(worker.ok()) << worker.status();
    EXPECT_EQ(worker->second_wall().nobody, nobody);
    std::string said;
    while (true) {
      const std::string next = NextReply(replies.get());
      if (next.empty()) break;
      said += next;
    }
    EXPECT_EQ(said, nobody ? "65534\n" : "0\nreads\n");
  }
}

TEST(SecondWallTest, AProgramThatNobodyMayExecuteRunsAsRoot) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  if (!KernelMakesNamespaces()) GTEST_SKIP() << "no namespaces here";
  const char* const folder = std::getenv("TEST_TMPDIR");  // NOLINT(concurrency-mt-unsafe)
  std::string path = std::string(folder == nullptr ? "/tmp" : folder) + "/program.XXXXXX";
  UniqueFd file(::mkostemp(path.data(), O_CLOEXEC));
  ASSERT_TRUE(file.ok());
  const std::string script = "#!/bin/sh\nexit 7\n";
  ASSERT_EQ(::write(file.get(), script.data(), script.size()), static_cast<ssize_t>(script.size()));
  ASSERT_EQ(::fchmod(file.get(), 0700), 0);
  SpawnOptions options;
  options.program = path;
  options.namespaces.use = Use::kRequired;
  file.Reset();  // what is open for writing is not executed
  auto worker = Spawn(std::move(options));
  ASSERT_TRUE(worker.ok()) << worker.status();
  EXPECT_FALSE(worker->second_wall().nobody);
  EXPECT_NE(worker->second_wall().ToString().find("65534 may not execute the program"),
            std::string::npos);
  auto report = worker->Wait(Deadline::After(kLong));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->exit_code, 7);
  ::unlink(path.c_str());
}

// Signals and their report are as without namespaces: the worker is not process 1 of its own.
TEST(SecondWallTest, SignalsEndItAsAnywhere) {
  for (const int number : {SIGTERM, SIGABRT, SIGXCPU, SIGUSR1}) {
    UniqueFd replies;
    auto worker = StartWorker(WorkerOptions({"raise", std::to_string(number)}, replies));
    ASSERT_TRUE(worker.ok()) << worker.status();
    auto report = worker->Wait(Deadline::After(kLong));
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->signal, number) << report->ToString();
  }
}

// By itself, without a call of ours.
TEST(SecondWallTest, ADaemonEndsWhenTheWorkerDoes) {
  UniqueFd replies;
  auto worker = StartWorker(WorkerOptions({"leave_daemon_and_end"}, replies));
  ASSERT_TRUE(worker.ok()) << worker.status();
  ASSERT_EQ(worker->second_wall().pid, NamespacesAreExpected());
  if (!worker->second_wall().pid) GTEST_SKIP() << worker->second_wall().ToString();
  ASSERT_EQ(NextReply(replies.get()), "daemon");
  ASSERT_EQ(::send(replies.get(), "g", 1, MSG_NOSIGNAL), 1);
  pollfd entry = {replies.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&entry, 1, 10'000), 1);
  EXPECT_TRUE(HungUp(replies.get()));
}

TEST(SecondWallTest, AWorkerThatOutlivesUsTakesItsDaemonsWithIt) {
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"leave_daemon_and_end"}, replies);
  options.dies_with_parent = false;
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    auto worker = Spawn(std::move(options));
    const bool within = worker.ok() && worker->second_wall().pid;
    ::_exit(!worker.ok() ? 1 : within ? 0 : 2);  // without the destructor
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  options.descriptors.clear();  // our copy of its end
  ASSERT_NE(WEXITSTATUS(status), 1);
  ASSERT_EQ(NextReply(replies.get()), "daemon");
  EXPECT_FALSE(HungUp(replies.get()));
  ASSERT_EQ(::send(replies.get(), "g", 1, MSG_NOSIGNAL), 1);
  ASSERT_EQ(WEXITSTATUS(status) == 0, NamespacesAreExpected());
  if (WEXITSTATUS(status) == 2) GTEST_SKIP() << "no namespaces here";
  pollfd entry = {replies.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&entry, 1, 10'000), 1);
  EXPECT_TRUE(HungUp(replies.get()));
}

std::string Read(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Children of this thread by name.
std::vector<pid_t> ChildrenNamed(const std::string& name) {
  std::vector<pid_t> found;
  std::istringstream children(Read("/proc/self/task/" + std::to_string(::gettid()) + "/children"));
  pid_t pid = 0;
  while (children >> pid) {
    if (Read("/proc/" + std::to_string(pid) + "/comm") == name + "\n") found.push_back(pid);
  }
  return found;
}

void RefuseToExecuteFiles() { Refuse({.call = SYS_execveat, .error = EACCES}); }

// A child has copies of our descriptors, and we wait for it until it executes its program. What
// another thread disposes of meanwhile is released by the child, for as long as the peer likes.
TEST(SpawnTest, AttackF12AReleaseInAChildKeepsNoParent) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd peer(ends[0]);
  ConnectedSocket ours((UniqueFd(ends[1])));
  AllowRights(ours.get());  // as before Linux 6.16
  ASSERT_TRUE(testing_support::SendWithDescriptor(
      peer.get(), testing_support::LingeringSocket(absl::Seconds(4)).get()));
  std::atomic<int> notifications = -1;
  std::atomic<int64_t> took_ns = -1;
  std::thread spawner([&] {
    notifications = testing::NotificationsOf(SYS_close_range);  // of this thread and its children
    if (notifications < 0) {
      took_ns = 0;
      return;
    }
    SpawnOptions options;
    options.program = "/bin/true";
    options.namespaces.use = NamespaceOptions::Use::kNone;
    const int64_t before_ns = MonotonicNowNs();
    const auto worker = Spawn(std::move(options));
    took_ns = MonotonicNowNs() - before_ns;
    EXPECT_TRUE(worker.ok()) << worker.status();
  });
  bool disposed = false;
  while (took_ns < 0) {
    pollfd entry = {notifications, POLLIN, 0};
    // Hung up, there is none, and on older kernels the question for it waits without end.
    if (::poll(&entry, 1, 10) != 1 || (entry.revents & POLLIN) == 0) continue;
    seccomp_notif asked = {};
    if (::ioctl(notifications, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) continue;
    // The parent asks with a range of nothing whether there is such a call.
    if (static_cast<uint32_t>(asked.data.args[0]) != ~0u && !std::exchange(disposed, true)) {
      ours.Reset();
      testing::AwaitDisposalHelpers();  // the child's is the last copy
    }
    seccomp_notif_resp go_on = {};
    go_on.id = asked.id;
    go_on.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    ::ioctl(notifications, SECCOMP_IOCTL_NOTIF_SEND, &go_on);
  }
  spawner.join();
  if (notifications < 0) GTEST_SKIP() << "no notifications of system calls here";
  const UniqueFd listener(notifications);
  EXPECT_TRUE(disposed);
  EXPECT_LT(took_ns, int64_t{3} * 1'000'000'000);
}

// How much it has mapped.
size_t MappedBytes(pid_t pid) {
  size_t pages = 0;
  std::istringstream(Read("/proc/" + std::to_string(pid) + "/statm")) >> pages;
  return pages * 4096;
}

// What is wrong about the holder of a worker's namespaces, which may map so much; "" if nothing.
std::string HeldOfOurs(size_t max_bytes) {
  UniqueFd replies;
  auto worker = Spawn(WorkerOptions({"sleep"}, replies));
  if (!worker.ok()) return worker.status().ToString();
  if (!worker->second_wall().pid) return worker->second_wall().ToString();
  if (NextReply(replies.get()) != "sleeping") return "the worker does not run";
  const std::vector<pid_t> holders = ChildrenNamed("parley-holder");
  if (holders.size() != 1) return std::to_string(holders.size()) + " holders";
  const std::string folder = "/proc/" + std::to_string(holders[0]);
  int descriptors = 0;
  for (int fd = 0; fd < 1000; ++fd) {
    char target[64];
    const std::string path = folder + "/fd/" + std::to_string(fd);
    if (::readlink(path.c_str(), target, sizeof(target)) > 0) ++descriptors;
  }
  if (descriptors > 3) return std::to_string(descriptors) + " descriptors";
  // It unmaps after we are let go.
  for (int i = 0; i < 200 && MappedBytes(holders[0]) > max_bytes; ++i) ::usleep(10'000);
  if (MappedBytes(holders[0]) > max_bytes) return Read(folder + "/maps");
  // Nothing but its number is shared with it: its end is the worker's.
  if (::kill(holders[0], SIGKILL) != 0) return "it cannot be killed";
  auto report = worker->Wait(Deadline::After(kLong));
  if (!report.ok() || report->signal != SIGKILL) return "the worker lives on";
  return ChildrenNamed("parley-holder").empty() ? "" : "it lives on";
}

#if defined(__aarch64__)
constexpr size_t kCopyPages = 8;
#else
constexpr size_t kCopyPages = 7;
#endif

// Neither our descriptors nor our memory, where it is a program and where it is a copy of us.
TEST(SecondWallTest, TheHolderKeepsNothingOfOurs) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may look at it";
  if (!NamespacesAreExpected()) GTEST_SKIP() << "no namespaces here";
  if (::sysconf(_SC_PAGESIZE) != 4096) GTEST_SKIP() << "it is a copy that keeps what was mapped";
  for (const bool copied : {false, true}) {
    const int code = InAProcessOfItsOwn([copied] {
      if (copied) RefuseToExecuteFiles();
      // A copy has two pages of code and five of stack, or six where a frame's address is its
      // lowest, and nothing of what lay above them, where the environment is.
      const std::string held = HeldOfOurs(copied ? kCopyPages * 4096 : 65536);
      std::fprintf(stderr, "%s", held.c_str());
      return held.empty() ? 0 : 1;
    });
    EXPECT_EQ(code, 0) << copied;
  }
}

// No handler of ours, of which it may have the code, is ever run in it.
TEST(SecondWallTest, TheHolderHasEverySignalBlocked) {
  if (!NamespacesAreExpected()) GTEST_SKIP() << "no namespaces here";
  for (const bool copied : {false, true}) {
    const int code = InAProcessOfItsOwn([copied] {
      if (copied) RefuseToExecuteFiles();
      UniqueFd replies;
      auto worker = Spawn(WorkerOptions({"sleep"}, replies));
      if (!worker.ok() || NextReply(replies.get()) != "sleeping") return 1;
      const std::vector<pid_t> holders = ChildrenNamed("parley-holder");
      if (holders.size() != 1) return 2;
      const std::string status = Read("/proc/" + std::to_string(holders[0]) + "/status");
      const uint64_t blocked = std::stoull(Line(status, "SigBlk:"), nullptr, 16);
      uint64_t expected = ~uint64_t{0};
      // What cannot be, and the two that libc keeps for itself.
      for (const int number : {SIGKILL, SIGSTOP, 32, 33})
        expected &= ~(uint64_t{1} << (number - 1));
      return (blocked & expected) == expected ? 0 : 3;
    });
    EXPECT_EQ(code, 0) << copied;
  }
}

// Its state, and the time that it has run.
std::string RanSoFar(pid_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid);
  const std::string schedule = Read(folder + "/schedstat");
  return Line(Read(folder + "/status"), "State:") + " " + schedule.substr(0, schedule.find(' '));
}

// Whether it sleeps for a while, and does not poll.
bool FallsAsleep(pid_t pid) {
  const Deadline deadline = Deadline::After(absl::Seconds(5));
  while (!deadline.Expired()) {
    const std::string before = RanSoFar(pid);
    ::usleep(50'000);
    if (before.substr(0, 1) == "S" && RanSoFar(pid) == before) return true;
  }
  return false;
}

// The worker's end of their socket is open, closed without a word, or closed after the answer.
TEST(SecondWallTest, PromiseP3WorkTheHolderSleepsWhateverBecomesOfItsSocket) {
  if (!NamespacesAreExpected()) GTEST_SKIP() << "no namespaces here";
  for (const char* scenario : {"sleep", "close_all_and_sleep", "stay_confined_alone"}) {
    for (const bool copied : {false, true}) {
      const int code = InAProcessOfItsOwn([scenario, copied] {
        if (copied) RefuseToExecuteFiles();
        UniqueFd replies;
        auto worker = Spawn(WorkerOptions({scenario}, replies));
        if (!worker.ok()) return 1;
        if (NextReply(replies.get()).empty()) return 2;
        const std::vector<pid_t> holders = ChildrenNamed("parley-holder");
        if (holders.size() != 1) return 3;
        return FallsAsleep(holders[0]) ? 0 : 4;
      });
      EXPECT_EQ(code, 0) << scenario << (copied ? ", copied" : "");
    }
  }
}

// What a worker, its holder and the process in between share with us for a moment.
int SharedMappings() {
  const std::string maps = Read("/proc/self/maps");
  int count = 0;
  for (size_t at = 0; (at = maps.find("/dev/zero (deleted)", at)) != std::string::npos; ++at) {
    ++count;
  }
  return count;
}

TEST(SecondWallTest, NothingThatWasSharedStaysMapped) {
  const int before = SharedMappings();
  for (int i = 0; i < 20; ++i) {
    UniqueFd replies;
    auto worker = Spawn(WorkerOptions({"exit_3"}, replies));
    ASSERT_TRUE(worker.ok()) << worker.status();
    EXPECT_EQ(SharedMappings(), before) << i;
  }
}

// At each number of pages that may still be mapped: an error, and nothing stays. The heap has what
// it needs.
TEST(SecondWallTest, WithoutAddressSpaceNothingStartsAndNothingStays) {
  if (HasSanitizer()) GTEST_SKIP() << "its shadow memory is mapped";
  const int code = InAProcessOfItsOwn([] {
    ::mallopt(M_MMAP_THRESHOLD, 64 << 20);
    ::mallopt(M_TRIM_THRESHOLD, 256 << 20);
    static_cast<void>(std::string(size_t{4} << 20, 'x'));
    const int shared = SharedMappings();
    rlimit before;
    if (::getrlimit(RLIMIT_AS, &before) != 0) return 1;
    int failed = 0;
    for (size_t pages = 0; pages < 60; ++pages) {
      SpawnOptions options;
      options.program = WorkerPath();
      rlimit low = before;
      low.rlim_cur = MappedBytes(::getpid()) + pages * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
      ::setrlimit(RLIMIT_AS, &low);
      {
        const auto worker = Spawn(std::move(options));
        ::setrlimit(RLIMIT_AS, &before);
        if (!worker.ok()) ++failed;
      }
      if (SharedMappings() != shared) return 3;
      if (::waitpid(-1, nullptr, WNOHANG) != -1 || errno != ECHILD) return 4;
    }
    return failed > 20 ? 0 : 2;
  });
  EXPECT_EQ(code, 0);
}

// Its workers start all the same. Only root's get namespaces: a copy of its memory would have to be
// open to others of its user for a moment.
TEST(SecondWallTest, AParentThatCannotBeDumpedHasWorkersToo) {
  const int code = InAProcessOfItsOwn([can = KernelMakesNamespaces()] {
    ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    UniqueFd replies;
    SpawnOptions options = WorkerOptions({"exit_3"}, replies);
    options.namespaces.use = Use::kWhereAvailable;
    auto worker = Spawn(std::move(options));
    if (!worker.ok()) return 1;
    auto report = worker->Wait(Deadline::After(kLong));
    if (!report.ok() || report->exit_code != 3) return 2;
    return worker->second_wall().user == (can && ::geteuid() == 0) ? 0 : 3;
  });
  EXPECT_EQ(code, 0);
}

void RefuseToMakeFiles() { Refuse({.call = SYS_memfd_create, .error = EPERM}); }

void WriteNoFiles() {
  const rlimit none = {0, 0};
  if (::setrlimit(RLIMIT_FSIZE, &none) != 0) ::_exit(9);
}

// The holder is then a copy of its parent, and all else is the same.
TEST(SecondWallTest, WhereNoFileMayBeWrittenOrExecutedTheHolderIsACopy) {
  const bool can = KernelMakesNamespaces();
  for (void (*const limit)() : {RefuseToExecuteFiles, RefuseToMakeFiles, WriteNoFiles}) {
    const int code = InAProcessOfItsOwn([limit, can] {
      limit();
      for (int i = 0; i < 2; ++i) {
        UniqueFd replies;
        SpawnOptions options = WorkerOptions({"exit_3"}, replies);
        options.namespaces.use = Use::kWhereAvailable;
        auto worker = Spawn(std::move(options));
        if (!worker.ok()) return 1;
        auto report = worker->Wait(Deadline::After(kLong));
        if (!report.ok() || report->exit_code != 3) return 2;
        if (worker->second_wall().pid != can) return 3;
      }
      return 0;
    });
    EXPECT_EQ(code, 0);
  }
}

// That passes, or others are to hear of it: no reason for a copy of the parent.
TEST(SecondWallTest, WithoutRoomForTheHoldersFileNothingStarts) {
  if (!KernelMakesNamespaces()) GTEST_SKIP() << "no namespaces here";
  if (::sysconf(_SC_PAGESIZE) != 4096) GTEST_SKIP() << "the holder is a copy, and has no file";
  for (const int error : {EMFILE, ENFILE, ENOMEM}) {
    const int code = InAProcessOfItsOwn([error] {
      Refuse({.call = SYS_memfd_create, .error = static_cast<uint32_t>(error)});
      UniqueFd replies;
      SpawnOptions options = WorkerOptions({"exit_3"}, replies);
      options.namespaces.use = Use::kWhereAvailable;
      const absl::Status status = Spawn(std::move(options)).status();
      // NOLINTNEXTLINE(concurrency-mt-unsafe)
      return Text(status).find(std::strerror(error)) != std::string::npos ? 0 : 1;
    });
    EXPECT_EQ(code, 0) << std::strerror(error);  // NOLINT(concurrency-mt-unsafe)
  }
}

// What the attempts before left in shared memory is no failure of the last one.
TEST(SecondWallTest, WhereNoneCanBeEnteredTheWorkerRunsAndSaysSo) {
  if (!KernelMakesNamespaces()) GTEST_SKIP() << "no namespaces here";
  const int code = InAProcessOfItsOwn([] {
    Refuse({.call = SYS_setns, .error = EPERM});
    UniqueFd replies;
    SpawnOptions options = WorkerOptions({"exit_3"}, replies);
    options.namespaces.use = Use::kWhereAvailable;
    auto worker = Spawn(std::move(options));
    if (!worker.ok()) return 1;
    if (worker->second_wall().ToString() !=
        "no namespaces (making its namespaces: Operation not permitted)") {
      return 2;
    }
    auto report = worker->Wait(Deadline::After(kLong));
    return report.ok() && report->exit_code == 3 ? 0 : 3;
  });
  EXPECT_EQ(code, 0);
}

// The holder shares its parent's mounts then, and leaves them alone. The worker is told so, by one
// that is a copy and by one that has executed its program since.
TEST(SecondWallTest, WithoutAMountNamespaceTheRootStays) {
  if (!KernelMakesNamespaces()) GTEST_SKIP() << "no namespaces here";
  for (const bool copied : {false, true}) {
    const int code = RunWhereNamespacesAreRefused(CLONE_NEWNS, [copied] {
      if (copied) RefuseToExecuteFiles();
      UniqueFd replies;
      SpawnOptions options = WorkerOptions({"inside", "require_empty_root"}, replies);
      options.namespaces.use = Use::kWhereAvailable;
      auto worker = Spawn(std::move(options));
      if (!worker.ok()) return 1;
      if (!worker->second_wall().pid || worker->second_wall().mount) return 2;
      const std::string reply = NextReply(replies.get());
      std::fprintf(stderr, "%s\n", reply.c_str());
      const std::string why = std::strerror(ENOSYS);  // NOLINT(concurrency-mt-unsafe)
      return reply == "cannot enter an empty root, which was required: " + why ? 0 : 3;
    });
    EXPECT_EQ(code, 0) << copied;
  }
}

// Why there is no root to enter is not lost where the holder executes its program. Each call of its
// has an error that nothing else has.
TEST(SecondWallTest, WithoutAnEmptyRootTheWorkerIsToldWhy) {
  if (!KernelMakesNamespaces()) GTEST_SKIP() << "no namespaces here";
  const std::string why = std::strerror(EXDEV);  // NOLINT(concurrency-mt-unsafe)
  for (const int call : {SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_move_mount, SYS_fchdir,
                         SYS_pivot_root, SYS_umount2}) {
    for (const bool copied : {false, true}) {
      const int code = InAProcessOfItsOwn([call, copied, &why] {
        Refuse({.call = static_cast<uint32_t>(call), .error = EXDEV});
        if (copied) RefuseToExecuteFiles();
        UniqueFd replies;
        SpawnOptions options = WorkerOptions({"inside", "require_empty_root"}, replies);
        options.namespaces.use = Use::kRequired;
        auto worker = Spawn(std::move(options));
        if (!worker.ok()) {
          std::fprintf(stderr, "%s\n", Text(worker.status()).c_str());
          return 1;
        }
        const std::string reply = NextReply(replies.get());
        return reply == "cannot enter an empty root, which was required: " + why ? 0 : 2;
      });
      EXPECT_EQ(code, 0) << call << copied;
    }
  }
}

// Orphans of the worker's are reaped by nobody but the kernel: none stays as a zombie.
TEST(SecondWallTest, OrphansWithinAreReaped) {
  if (!NamespacesAreExpected()) GTEST_SKIP() << "no namespaces here";
  for (const bool copied : {false, true}) {
    const int code = InAProcessOfItsOwn([copied] {
      if (copied) RefuseToExecuteFiles();
      UniqueFd replies;
      auto worker = Spawn(WorkerOptions({"leave_orphan_and_sleep"}, replies));
      if (!worker.ok() || NextReply(replies.get()) != "sleeping") return 1;
      const std::vector<pid_t> holders = ChildrenNamed("parley-holder");
      if (holders.size() != 1) return 2;
      const std::string number = std::to_string(holders[0]);
      const std::string path = "/proc/" + number + "/task/" + number + "/children";
      for (int i = 0; i < 500 && !Read(path).empty(); ++i) ::usleep(10'000);
      return Read(path).empty() ? 0 : 3;
    });
    EXPECT_EQ(code, 0) << copied;
  }
}

TEST(ExitReportTest, Sentences) {
  ExitReport report;
  report.name = "decoder";
  report.pid = 71;
  report.signal = SIGSYS;
  EXPECT_EQ(report.ToString(),
            "decoder (pid 71) was killed by the system call filter, for a call that it kills for "
            "at once");
  report.refused_call = "openat";
  EXPECT_EQ(report.ToString(),
            "decoder (pid 71) was killed by the system call filter: it called openat");
  EXPECT_TRUE(report.killed_by_filter());
  report.signal = std::nullopt;  // SIGCHLD ignored: nobody knows the exit status
  EXPECT_EQ(report.ToString(),
            "decoder (pid 71) was killed by the system call filter: it called openat");
  report.refused_call = std::nullopt;
  report.signal = SIGSEGV;
  EXPECT_FALSE(report.killed_by_filter());
  EXPECT_EQ(report.ToString(), "decoder (pid 71) was killed by signal 11 (Segmentation fault)");
  report.signal = SIGXFSZ;
  EXPECT_EQ(report.ToString(),
            "decoder (pid 71) was killed for writing more than its file size "
            "limit");
  report.signal = std::nullopt;
  report.exit_code = 0;
  EXPECT_EQ(report.ToString(), "decoder (pid 71) ended normally");
  EXPECT_TRUE(report.clean());
}

}  // namespace
}  // namespace parley
