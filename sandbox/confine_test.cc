// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/confine.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/exit_report.h"
#include "parley/sandbox/hostile_input.h"
#include "parley/sandbox/landlock.h"
#include "parley/sandbox/profile.h"
#include "parley/sandbox/spawn.h"
#include "parley/sandbox/testing_descriptors.h"
#include "parley/sandbox/testing_spawn.h"

namespace parley {
namespace {

using testing::HasSanitizer;
using testing::kLong;
using testing::NextReply;
using testing::StartWorker;
using testing::WorkerOptions;

// The wrong order does not compile: no proof from nowhere or twice, no input without proof, no
// lock-down before set-up, no set-up of nothing.
static_assert(!std::is_default_constructible_v<Confined>);
static_assert(!std::is_constructible_v<Confined, ConfinementReport>);
static_assert(!std::is_copy_constructible_v<Confined>);
static_assert(!std::is_default_constructible_v<Prepared>);
static_assert(!std::is_copy_constructible_v<Prepared>);
template <typename T>
concept OpensWithoutProof = requires(T input) { input.Open(); };
template <typename T>
concept OpensWithProof = requires(T input, const Confined& proof) { input.Open(proof); };
static_assert(!OpensWithoutProof<HostileInput<int>>);
static_assert(OpensWithProof<HostileInput<int>>);
static_assert(!std::is_convertible_v<HostileInput<int>, int>);
static_assert(std::is_invocable_v<decltype(LockDown), Prepared, Profile, LockDownOptions>);
static_assert(!std::is_invocable_v<decltype(LockDown), Profile, LockDownOptions>);
static_assert(!std::is_invocable_v<decltype(LockDown), Prepared&, Profile, LockDownOptions>,
              "LockDown consumes the proof of set-up");

absl::StatusOr<ExitReport> RunToEnd(std::vector<std::string> arguments) {
  UniqueFd replies;
  absl::StatusOr<Worker> worker = StartWorker(WorkerOptions(std::move(arguments), replies));
  if (!worker.ok()) return worker.status();
  return worker->Wait(Deadline::After(kLong));
}

void ExpectClean(const char* scenario) {
  auto report = RunToEnd({scenario});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->clean()) << report->ToString();
}

// ---- Each way out is closed, and the parent says which one was tried.

// In a container, whose filter may answer such a call with an error, the kernel ends the worker
// without a word (Profile::UnderAnotherFilter).
bool NamedHere(const std::string& call) {
  const bool filter_around = ::prctl(PR_GET_SECCOMP) != 0;
  return !filter_around || (call != "fionbio" && call != "fioasync" && call != "unknown_number");
}

struct Escape {
  const char* call;
  std::optional<std::string> refused;  // absent: on the list that kills without a report
};

class EscapeTest : public ::testing::TestWithParam<Escape> {};

TEST_P(EscapeTest, PromiseP8NoSideDoors) {
  auto report = RunToEnd({"try", GetParam().call});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->killed_by_filter()) << report->ToString();
  const std::optional<std::string> named =
      NamedHere(GetParam().call) ? GetParam().refused : std::nullopt;
  EXPECT_EQ(report->refused_call, named) << report->ToString();
}

// The kernel counts the descriptors that a user's processes have on their way through sockets, and
// lets nobody of that user send one while they are more than it may have open. So others, who need
// not mean harm, could keep each worker from handing over what reports its refused calls.
TEST(ConfineTest, S17WhatOthersHaveOnTheirWayKeepsNoWorkerFromLockingDown) {
  std::vector<std::pair<UniqueFd, UniqueFd>> queues;
  for (int queued = 0; queued < 512; queued += 16) {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    queues.emplace_back(UniqueFd(ends[0]), UniqueFd(ends[1]));
    ASSERT_EQ(testing::SendDescriptors(ends[0], std::array<int, 16>{}, MSG_DONTWAIT), 1);
  }
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"try", "openat"}, replies);
  options.namespaces.root_becomes_nobody = false;  // who would be another user
  auto worker = StartWorker(std::move(options));
  ASSERT_TRUE(worker.ok()) << worker.status();
  const auto report = worker->Wait(Deadline::After(kLong));
  ASSERT_TRUE(report.ok()) << report.status();
  if (!HasSanitizer()) {
    EXPECT_EQ(report->refused_call, "openat") << report->ToString();
  }
}

// Those that are reported, and those that kill at once.
std::vector<Escape> Reported() {
  return {
#ifdef SYS_open
      {"open", "open"},
#endif
      {"openat", "openat"},
      {"fopen", "openat"},
      {"stat", "newfstatat"},
      {"socket", "socket"},
      {"execve", "execve"},
#ifdef SYS_fork
      {"fork", "fork"},
#endif
      {"libc_fork", "clone"},
      {"clone", "clone"},
      // clone3 is answered with ENOSYS; glibc falls back to clone, with all signals blocked.
      {"thread", "clone"},
      {"setfl", "fcntl"},
      {"setown", "fcntl"},
      {"setsig", "fcntl"},
      {"setlease", "fcntl"},
      {"notify", "fcntl"},
      {"setpipe_sz", "fcntl"},
      {"dupfd", "fcntl"},
      {"fionbio", "ioctl"},
      {"fioasync", "ioctl"},
      {"memfd_hugetlb", "memfd_create"},
      {"futex_requeue", "futex"},
      {"futex_pi", "futex"},
      {"mmap_exec", "mmap"},
      {"mprotect_exec", "mprotect"},
      {"mmap_file", "mmap"},
      {"madvise_remove", "madvise"},
      {"kill_parent", "getppid"},
      {"write_elsewhere", "write"},
      {"send_descriptor", "sendmsg"},
      {"new_handler", "rt_sigaction"},
      {"unknown_number", "system call 999"},
  };
}

std::vector<Escape> KilledAtOnce() {
  return {
      {"io_uring_setup", {}},
      {"userfaultfd", {}},
      {"ptrace", {}},
      {"process_vm_readv", {}},
      {"pidfd_getfd", {}},
      {"kcmp", {}},
      {"io_setup", {}},
      {"perf_event_open", {}},
      {"mount", {}},
#if defined(__x86_64__)
      {"x32", {}},
      {"int80", {}},
#endif
  };
}

std::string NameOf(const ::testing::TestParamInfo<Escape>& escape) { return escape.param.call; }

INSTANTIATE_TEST_SUITE_P(S1AndS2, EscapeTest, ::testing::ValuesIn(Reported()), NameOf);
INSTANTIATE_TEST_SUITE_P(S2KilledAtOnce, EscapeTest, ::testing::ValuesIn(KilledAtOnce()), NameOf);

// What the additions of a profile make of an escape: the error with which it fails, softly.
struct Softer {
  std::set<std::string> profiles;
  std::set<std::string> calls;
  int exit_code;
};

std::optional<int> SofterAnswer(const std::string& profile, const std::string& call) {
  const std::vector<Softer> softer = {
      {{"files_absent", "all"}, {"open", "openat", "fopen", "stat"}, ENOENT},
      {{"sanitizer"},
       {"open", "openat", "fopen", "stat", "fork", "libc_fork", "clone", "thread"},
       EPERM},
      // A sanitizer's runtime sets handlers: the profile of test builds allows it.
      {{"sanitizer"}, {"new_handler"}, 70},
  };
  for (const Softer& row : softer) {
    if (row.profiles.count(profile) + row.calls.count(call) == 2) return row.exit_code;
  }
  return std::nullopt;
}

// The whole list under each profile. The answers are those of the list above and of the table of
// softer ones, and not the profile's own word.
class ProfileEscapeTest : public ::testing::TestWithParam<const char*> {};

TEST_P(ProfileEscapeTest, PromiseP8NoSideDoorsInAnyProfile) {
  if (HasSanitizer()) GTEST_SKIP() << "a sanitizer's runtime needs more than a profile has";
  const std::string profile = GetParam();
  std::vector<Escape> escapes = Reported();
  for (const Escape& escape : KilledAtOnce()) escapes.push_back(escape);
  for (const Escape& escape : escapes) {
    const std::string call = escape.call;
    auto report = RunToEnd({"try", call, profile});
    ASSERT_TRUE(report.ok()) << report.status();
    if (const std::optional<int> softer = SofterAnswer(profile, call); softer.has_value()) {
      EXPECT_EQ(report->exit_code, softer) << call << ": " << report->ToString();
      continue;
    }
    EXPECT_TRUE(report->killed_by_filter()) << call << ": " << report->ToString();
    const std::optional<std::string> named = NamedHere(call) ? escape.refused : std::nullopt;
    EXPECT_EQ(report->refused_call, named) << call << ": " << report->ToString();
  }
}

INSTANTIATE_TEST_SUITE_P(S2, ProfileEscapeTest,
                         ::testing::Values("ring", "eventfd", "epoll", "write", "read", "heap",
                                           "threads", "files_absent", "sanitizer", "all"),
                         [](const auto& profile) { return std::string(profile.param); });

TEST(ConfineTest, Clone3IsAnsweredAsUnknown) {
  auto report = RunToEnd({"try", "clone3"});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->exit_code, ENOSYS) << report->ToString();
}

// ---- A hijacked worker does not survive a refused call, and its parent names the call.

struct Outcome {
  std::string reply;
  ExitReport report;
};

Outcome RunAndListen(std::vector<std::string> arguments) {
  UniqueFd replies;
  absl::StatusOr<Worker> worker = StartWorker(WorkerOptions(std::move(arguments), replies));
  if (!worker.ok()) return {std::string(worker.status().message()), {}};
  auto report = worker->Wait(Deadline::After(kLong));
  return {NextReply(replies.get()), report.ok() ? *report : ExitReport()};
}

class SurvivalTest : public ::testing::TestWithParam<const char*> {};

TEST_P(SurvivalTest, S10NoWayAroundTheEndAfterARefusedCall) {
  if (HasSanitizer()) GTEST_SKIP() << "a sanitizer's own checks meet the attack first";
  // Two of the attacks are races.
  for (int i = 0; i < 4; ++i) {
    const Outcome outcome = RunAndListen({"attack", GetParam()});
    EXPECT_EQ(outcome.reply, "");
    EXPECT_TRUE(outcome.report.killed_by_filter()) << outcome.report.ToString();
    EXPECT_EQ(outcome.report.refused_call, "openat") << outcome.report.ToString();
    if (HasFailure()) break;
  }
}

INSTANTIATE_TEST_SUITE_P(S10, SurvivalTest,
                         ::testing::Values("move_code", "got_slot", "second_thread"),
                         [](const auto& attack) { return std::string(attack.param); });

// A worker may abort at any moment; a signal of its own never gives the refused call back to it.
TEST(ConfineTest, S10ASignalOfItsOwnOnlyEndsIt) {
  for (int i = 0; i < 4; ++i) {
    const Outcome outcome = RunAndListen({"attack", "interrupt"});
    EXPECT_EQ(outcome.reply, "");
    EXPECT_TRUE(outcome.report.refused_call == "openat" || outcome.report.signal == SIGABRT)
        << outcome.report.ToString();
  }
}

TEST(ConfineTest, S11ReadOnlyBytesAreNeverRun) {
  const Outcome outcome = RunAndListen({"run_read_only_bytes"});
  EXPECT_EQ(outcome.reply, "did not run") << outcome.report.ToString();
}

TEST(ConfineTest, S12AConfinedWorkerHasNoHandOnItsParentsStderr) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"write_to_stderrs_socket"}, replies);
  const UniqueFd saved(::fcntl(2, F_DUPFD_CLOEXEC, 3));
  ASSERT_EQ(::dup2(theirs.get(), 2), 2);
  auto worker = StartWorker(std::move(options));
  ::dup2(saved.get(), 2);
  ASSERT_TRUE(worker.ok()) << worker.status();
  auto report = worker->Wait(Deadline::After(kLong));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->refused_call, "sendto") << report->ToString();
  char byte = 0;
  EXPECT_EQ(::recv(ours.get(), &byte, 1, MSG_DONTWAIT), -1) << "the worker wrote to our stderr";
}

// ---- Honest workers live.

TEST(ConfineTest, TheRingProfileCarriesAChannel) { ExpectClean("live_on_ring"); }
TEST(ConfineTest, TheHeapProfileCarriesMalloc) { ExpectClean("live_on_heap"); }
TEST(ConfineTest, TheThreadsProfileCarriesThreadsMadeBefore) { ExpectClean("live_with_threads"); }
TEST(ConfineTest, FilesCanBeAbsentForALibrary) { ExpectClean("live_without_files"); }
TEST(ConfineTest, HostileInputOpensWithProof) { ExpectClean("hostile_input"); }

TEST(ConfineTest, AnAbortIsSeenAsOne) {
  auto report = RunToEnd({"abort"});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->signal, SIGABRT) << report->ToString();
}

TEST(ConfineTest, S3StoppedAndContinuedDuringAWait) {
  UniqueFd replies;
  auto worker = StartWorker(WorkerOptions({"poll_slowly"}, replies));
  ASSERT_TRUE(worker.ok()) << worker.status();
  ASSERT_EQ(NextReply(replies.get()), "polling");
  for (int i = 0; i < 3; ++i) {
    ::usleep(100'000);
    ASSERT_EQ(::kill(worker->pid(), SIGSTOP), 0);
    ::usleep(50'000);
    ASSERT_EQ(::kill(worker->pid(), SIGCONT), 0);
  }
  auto report = worker->Wait(Deadline::After(kLong));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->clean()) << report->ToString();
}

// ---- S4: all threads or none.

TEST(ConfineTest, S4AThreadMadeBeforeIsConfinedToo) {
  auto report = RunToEnd({"thread_opens"});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->killed_by_filter()) << report->ToString();
  EXPECT_EQ(report->refused_call, "openat");
}

void ExpectRefusalOfThread(const std::string& reply, const std::string& why) {
  const size_t end_of_id = reply.find('\n');
  ASSERT_NE(end_of_id, std::string::npos) << reply;
  EXPECT_NE(reply.find("thread " + reply.substr(0, end_of_id) + " '"), std::string::npos) << reply;
  EXPECT_NE(reply.find(why), std::string::npos) << reply;
}

TEST(ConfineTest, S4AThreadThatCannotBeConfinedIsNamed) {
  UniqueFd replies;
  auto worker = StartWorker(WorkerOptions({"thread_with_own_filter"}, replies));
  ASSERT_TRUE(worker.ok()) << worker.status();
  const std::string reply = NextReply(replies.get());
  ExpectRefusalOfThread(reply, "has a filter of its own");
  ASSERT_TRUE(worker->Wait(Deadline::After(kLong)).ok());
}

TEST(ConfineTest, S4AThreadThatKeepsCapabilitiesIsNamed) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs a user with capabilities to keep";
  if (HasSanitizer()) GTEST_SKIP() << "a sanitizer's own thread may be found first";
  UniqueFd replies;
  const SpawnOptions options = WorkerOptions({"thread_with_capabilities"}, replies);
  // Not by Spawn, which would have dropped them.
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    const int reply_socket = ::fcntl(options.descriptors[0].fd(), F_DUPFD, 50);
    // A child of its own.
    const std::string number = std::to_string(reply_socket);
    ::setenv("PARLEY_TEST_REPLY_FD", number.c_str(), 1);  // NOLINT(concurrency-mt-unsafe)
    ::execl(options.program.c_str(), "tester", "thread_with_capabilities", nullptr);
    ::_exit(127);
  }
  ExpectRefusalOfThread(NextReply(replies.get()), "has capabilities of its own");
  EXPECT_EQ(::waitpid(pid, nullptr, 0), pid);
}

// ---- The state after lock-down.

std::string Read(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

TEST(ConfineTest, EveryThreadIsUnderTheFilterWithoutPrivileges) {
  UniqueFd replies;
  auto worker = StartWorker(WorkerOptions({"stay_confined"}, replies));
  ASSERT_TRUE(worker.ok()) << worker.status();
  const std::string report = NextReply(replies.get());
  EXPECT_EQ(report.find("confined: filter on "), 0u) << report;
  const std::string tasks = "/proc/" + std::to_string(worker->pid()) + "/task/";
  int seen = 0;
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    const std::string status = Read(task.path().string() + "/status");
    if (status.empty()) continue;
    ++seen;
    EXPECT_NE(status.find("\nSeccomp:\t2\n"), std::string::npos) << status;
    EXPECT_NE(status.find("\nNoNewPrivs:\t1\n"), std::string::npos) << status;
    EXPECT_NE(status.find("\nCapPrm:\t0000000000000000\n"), std::string::npos) << status;
  }
  EXPECT_GE(seen, 2);
}

TEST(ConfineTest, WithoutAHeapWhatIsThereCanBeUsedAndFreed) {
  if (HasSanitizer()) GTEST_SKIP() << "its runtime has a heap of its own";
  // However much malloc had left: it asks for 132 KiB at a time.
  for (int pages = 0; pages < 34; ++pages) {
    const auto report = RunToEnd({"live_on_what_is_there", std::to_string(pages)});
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_TRUE(report->clean()) << pages << " " << report->ToString();
  }
}

TEST(ConfineTest, OnlyKeptDescriptorsStayOpen) { ExpectClean("descriptors_after"); }
// With a filter that lets files through, as a bug behind an allowed call might.
TEST(ConfineTest, BehindTheFilterThereIsNoFile) {
  UniqueFd replies;
  auto worker = StartWorker(WorkerOptions({"look_at_root"}, replies));
  ASSERT_TRUE(worker.ok()) << worker.status();
  const std::string seen = NextReply(replies.get());
  ASSERT_EQ(worker->second_wall().mount, testing::NamespacesAreExpected());
  if (!worker->second_wall().mount) {
    // Landlock alone, where it is there.
    EXPECT_EQ(seen.find("root 0 "), 0u) << seen;
    GTEST_SKIP() << worker->second_wall().ToString();
  }
  const std::string none = " " + std::to_string(ENOENT);
  EXPECT_EQ(seen, "root 1 /etc/passwd" + none + " /proc/self/status" + none + " /usr" + none +
                      " bin" + none + " ../etc/passwd" + none + " /../etc/passwd" + none +
                      " /dev/null" + none + " 0");
}

TEST(ConfineTest, NotDumpable) { ExpectClean("dumpable"); }

TEST(ConfineTest, WithoutAListenerTheCallIsRefusedAllTheSame) {
  auto report = RunToEnd({"not_reported"});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->killed_by_filter()) << report->ToString();
  EXPECT_EQ(report->refused_call, std::nullopt);
}

TEST(LandlockTest, DeniesFilesAndSignalsWhereTheKernelHasIt) {
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    const absl::StatusOr<int> abi = internal::DenyAllByLandlock();
    if (!abi.ok()) ::_exit(1);
    if (*abi == 0) ::_exit(77);
    if (::open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES) ::_exit(2);
    if (::open("/tmp/parley_landlock_test", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) >= 0) ::_exit(3);
    if (*abi >= 6 && (::kill(::getppid(), 0) == 0 || errno != EPERM)) ::_exit(4);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "this kernel has no Landlock";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace parley
