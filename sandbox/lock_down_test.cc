// SPDX-License-Identifier: Apache-2.0

// What LockDown makes of a process, seen from outside and from behind its filter; how other ends
// than a refused call are reported; what surrounds it and refuses a part of it.

#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/exit_report.h"
#include "parley/sandbox/spawn.h"
#include "parley/sandbox/testing_spawn.h"
#include "parley/testing/filter.h"

namespace parley {
namespace {

using testing::HasSanitizer;
using testing::kLong;
using testing::NextReply;
using testing::RefusedCall;
using testing::StartWorker;
using testing::WorkerOptions;

struct Outcome {
  std::string reply;
  ExitReport report;
  std::string last_line;  // of what it printed
};

Outcome RunWith(SpawnOptions options, const UniqueFd& replies) {
  absl::StatusOr<Worker> worker = StartWorker(std::move(options));
  if (!worker.ok()) return {std::string(worker.status().message()), {}, ""};
  auto report = worker->Wait(Deadline::After(kLong));
  return {NextReply(replies.get()), report.ok() ? *report : ExitReport(), worker->last_line()};
}

Outcome RunAndListen(std::vector<std::string> arguments) {
  UniqueFd replies;
  SpawnOptions options = WorkerOptions(std::move(arguments), replies);
  return RunWith(std::move(options), replies);
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// ---- Reports are of what happened.

class EndTest : public ::testing::TestWithParam<const char*> {};

// Each prints before it aborts, and prints with calls of its own.
TEST_P(EndTest, AnEndByLibcIsSeenAsAnAbort) {
  if (HasSanitizer()) GTEST_SKIP() << "a sanitizer ends the process in its own way";
  const Outcome outcome = RunAndListen({"die", GetParam()});
  EXPECT_EQ(outcome.report.signal, SIGABRT) << outcome.report.ToString();
  EXPECT_EQ(outcome.report.refused_call, std::nullopt) << outcome.report.ToString();
  EXPECT_FALSE(outcome.report.killed_by_filter());
}

INSTANTIATE_TEST_SUITE_P(Ends, EndTest,
                         ::testing::Values("double_free", "double_free_without_heap",
                                           "smashed_stack", "assert", "exception", "check",
                                           "abort"),
                         [](const auto& end) { return std::string(end.param); });

TEST(LockDownTest, ALibraryThatPrintsIsNoHijack) {
  const Outcome outcome = RunAndListen({"chatty"});
  if (HasSanitizer()) GTEST_SKIP() << "the sanitizer's profile names stderr";
  EXPECT_TRUE(outcome.report.clean()) << outcome.report.ToString();
}

// How many threads of ours watch a worker's refused calls.
int Watchers() {
  int count = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "comm");
    std::string name;
    std::getline(file, name);
    count += name == "parley refusals";
  }
  return count;
}

// The notification descriptor of a worker that ended hangs up for good: the thread that watches it
// has to end, not to poll it without end.
TEST(LockDownTest, PromiseP3WorkNobodyWatchesAWorkerThatHasEnded) {
  const int before = Watchers();
  for (int i = 0; i < 3; ++i) {
    const Outcome outcome = RunAndListen({"live_on_heap"});
    EXPECT_TRUE(outcome.report.clean()) << outcome.report.ToString();
  }
  const Deadline deadline = Deadline::After(kLong);
  while (Watchers() > before && !deadline.Expired()) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_LE(Watchers(), before);  // one of an earlier test's may have ended meanwhile
}

TEST(LockDownTest, AStreamThatIsKeptAndNotNamedCannotBeWritten) {
  if (HasSanitizer()) GTEST_SKIP() << "the sanitizer's profile names stderr";
  const Outcome outcome = RunAndListen({"keep_stderr_unnamed"});
  EXPECT_TRUE(outcome.report.clean()) << outcome.report.ToString();
}

TEST(LockDownTest, AStreamThatIsNamedStaysWhatItWas) {
  EXPECT_EQ(RunAndListen({"named_streams"}).reply, "all there");
}

TEST(LockDownTest, AFileSizeLimitOfZeroIsNoObstacle) {
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"live_on_heap"}, replies);
  options.limits.file_size_bytes = 0;
  const Outcome outcome = RunWith(std::move(options), replies);
  EXPECT_TRUE(outcome.report.clean()) << outcome.report.ToString();
}

// GLIBC_TUNABLES, as an administrator or a distribution sets it: malloc gives hints, or wants pages
// of hugetlbfs.
TEST(LockDownTest, AHeapThatWantsHugePagesLives) {
  for (const char* tunable : {"glibc.malloc.hugetlb=1", "glibc.malloc.hugetlb=2"}) {
    UniqueFd replies;
    SpawnOptions options = WorkerOptions({"live_on_heap"}, replies);
    options.environment = {{"GLIBC_TUNABLES", tunable}};
    const Outcome outcome = RunWith(std::move(options), replies);
    EXPECT_TRUE(outcome.report.clean()) << tunable << ": " << outcome.report.ToString();
  }
}

TEST(LockDownTest, WithSigchldIgnoredTheRefusalIsReadAllTheSame) {
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  struct sigaction before = {};
  ASSERT_EQ(::sigaction(SIGCHLD, &ignore, &before), 0);
  const Outcome outcome = RunAndListen({"try", "openat"});
  ::sigaction(SIGCHLD, &before, nullptr);
  EXPECT_EQ(outcome.report.refused_call, "openat") << outcome.report.ToString();
  EXPECT_TRUE(outcome.report.killed_by_filter());
  EXPECT_TRUE(Has(outcome.report.ToString(), "it called openat")) << outcome.report.ToString();
}

// A worker that would outlive the notifications has none.
TEST(LockDownTest, AWorkerThatMayOutliveUsIsKilledByTheKernel) {
  if (testing::Cloned()) GTEST_SKIP() << "a clone never outlives us";
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"try", "openat"}, replies);
  options.dies_with_parent = false;
  const Outcome outcome = RunWith(std::move(options), replies);
  EXPECT_EQ(outcome.report.signal, SIGSYS) << outcome.report.ToString();
  EXPECT_EQ(outcome.report.refused_call, std::nullopt);
}

// ---- Something around us refuses a part. Each inner worker then tries openat.

void ExpectConfinedInside(const char* around, const std::string& said) {
  if (HasSanitizer()) GTEST_SKIP() << "not with the profile of a sanitizer";
  const Outcome outcome = RunAndListen({"inside", around});
  EXPECT_TRUE(Has(outcome.reply, said)) << around << ": " << outcome.reply;
  EXPECT_EQ(outcome.report.refused_call, "openat") << outcome.report.ToString();
}

void ExpectErrorInside(const char* around, const std::string& said) {
  if (HasSanitizer()) GTEST_SKIP() << "not with the profile of a sanitizer";
  const Outcome outcome = RunAndListen({"inside", around});
  EXPECT_TRUE(Has(outcome.reply, said)) << around << ": " << outcome.reply;
  EXPECT_EQ(outcome.report.exit_code, 0) << outcome.report.ToString();
}

TEST(LockDownTest, LandlockIsOptionalForAnOlderEngineToo) {
  ExpectConfinedInside("landlock_eperm", "no Landlock");
  ExpectConfinedInside("landlock_enosys", "no Landlock");
}

TEST(LockDownTest, WhatIsRequiredAndMissingIsAnError) {
  ExpectErrorInside("landlock_eperm require_landlock", "no Landlock, which was required");
  ExpectErrorInside("thread require_landlock", "which was required");
  ExpectErrorInside("mdwe_einval require_mdwe", "(MDWE), which was required");
  ExpectConfinedInside("mdwe_einval", "no MDWE");
}

// Run in the namespaces that Spawn made for it, or without any.
Outcome RunInside(const char* around, NamespaceOptions::Use use) {
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"inside", around}, replies);
  options.namespaces.use = use;
  return RunWith(std::move(options), replies);
}

TEST(LockDownTest, AnEmptyRootThatIsRequiredAndMissingIsAnError) {
  if (HasSanitizer()) GTEST_SKIP() << "not with the profile of a sanitizer";
  const Outcome without = RunInside("require_empty_root", NamespaceOptions::Use::kNone);
  EXPECT_EQ(without.reply,
            "cannot enter an empty root, which was required: No such file or directory");
  EXPECT_EQ(without.report.exit_code, 0) << without.report.ToString();
  const Outcome optional = RunInside("nothing", NamespaceOptions::Use::kNone);
  EXPECT_TRUE(Has(optional.reply, ", the system's root, ")) << optional.reply;
  EXPECT_EQ(optional.report.refused_call, "openat") << optional.report.ToString();
}

// Who makes the empty root says how it went; whatever else comes is no empty root.
TEST(LockDownTest, TheRootIsEmptyIfItsHolderSaysSo) {
  ExpectErrorInside("holder_eperm require_empty_root", "required: Operation not permitted");
  ExpectErrorInside("holder_short require_empty_root", "required: Broken pipe");
  ExpectErrorInside("holder_gone require_empty_root", "required: Broken pipe");
  ExpectConfinedInside("holder_eperm", ", the system's root, ");
  ExpectConfinedInside("holder_gone", ", the system's root, ");
  ExpectConfinedInside("holder_succeeds require_empty_root", ", empty root, ");
}

// Once the notifications got number 0 and could not be moved: the worker hung for good, unreported.
TEST(LockDownTest, S10AFreeStandardNumberIsNoPlaceForTheNotifications) {
  ExpectConfinedInside("closed_streams", "refused calls are named");
}

TEST(LockDownTest, DescriptorsAreClosedWithoutCloseRangeToo) {
  ExpectConfinedInside("close_range_eperm", "confined:");
}

long LandlockAbi() {  // NOLINT: syscall's type
  return ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

// Each step that can fail, by one call that is refused around us: what is said of it, by the status
// and, on a stderr that is as it was, by the worker; or what is confined without it.
struct FailingStep {
  const char* name;
  RefusedCall refused;
  std::string said;  // "confined": it goes on, and that is in the report
  std::string report;
  const char* around = "";
};

std::vector<FailingStep> FailingSteps() {
  const auto because = [](const char* what) {
    return std::string("cannot ") + what + ": Invalid cross-device link";
  };
  const auto prctl = [](uint32_t option) { return RefusedCall{SYS_prctl, EXDEV, 0, ~0u, option}; };
  const std::string confined = "confined";
  const std::string filter = "cannot load the system call filter: ";
  return {
      {"tasks",
       {SYS_openat, EXDEV, 2, O_DIRECTORY, O_DIRECTORY},
       because("list this process's threads"),
       ""},
      {"status",
       {SYS_openat, EXDEV, 2, O_DIRECTORY, 0},
       "cannot list this process's threads: /proc does not show them",
       ""},
      {"capset", {SYS_capset, EXDEV}, because("drop capabilities"), ""},
      {"ambient", prctl(PR_CAP_AMBIENT), because("drop capabilities"), ""},
      {"bounding set", prctl(PR_CAPBSET_DROP), confined, ""},
      {"privileges", prctl(PR_SET_NO_NEW_PRIVS), because("give up new privileges"), ""},
#ifdef SYS_dup2
      {"streams", {SYS_dup2, EXDEV}, because("put /dev/null on the standard streams"), ""},
#endif
      {"/dev/null", {SYS_openat, EXDEV, 2, O_ACCMODE, O_RDWR}, confined, ""},
      {"neither", {SYS_openat, EXDEV, 2, O_ACCMODE, O_RDWR}, confined, "", "stdin_is_a_socket"},
      {"close", {SYS_close_range, EXDEV}, because("close descriptors"), ""},
      {"close one by one", {SYS_close_range, EPERM}, confined, ""},
      {"close by an old kernel", {SYS_close_range, ENOSYS}, confined, ""},
      {"Landlock's version",
       {SYS_landlock_create_ruleset, EXDEV, 2, ~0u, 1},
       because("ask for Landlock's version"),
       ""},
      {"no Landlock", {SYS_landlock_create_ruleset, EOPNOTSUPP}, confined, ", no Landlock, "},
      {"ruleset",
       {SYS_landlock_create_ruleset, EXDEV, 2, ~0u, 0},
       because("make a Landlock ruleset"),
       ""},
      {"entering it", {SYS_landlock_restrict_self, EXDEV}, because("enter a Landlock ruleset"), ""},
      {"MDWE", prctl(65), confined, ", no MDWE, "},
      // A clone has what its template has sealed.
      {"mseal", {462, EXDEV}, confined, testing::Cloned() ? ", " : ", code not sealed, "},
      {"abort",
       {SYS_rt_sigaction, EXDEV, 0, ~0u, SIGABRT},
       because("reset this process's signals"),
       ""},
      {"CPU time",
       {SYS_rt_sigaction, EXDEV, 0, ~0u, SIGXCPU},
       because("reset this process's signals"),
       ""},
      {"filter", {SYS_seccomp, EXDEV}, filter + "Invalid cross-device link", ""},
      {"filter refused",
       {SYS_seccomp, EPERM},
       filter + "seccomp(2) is refused here, by a filter around this process (an old container "
                "engine?)",
       ""},
      {"filter refused, too",
       {SYS_seccomp, EACCES},
       filter + "seccomp(2) is refused here, by a filter around this process (an old container "
                "engine?)",
       ""},
      {"filter missing",
       {SYS_seccomp, ENOSYS},
       filter + "this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER), or something around "
                "this process says so",
       ""},
      {"filter missing, too",
       {SYS_seccomp, EINVAL},
       filter + "this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER), or something around "
                "this process says so",
       ""},
      {"filter too long",
       {SYS_seccomp, ENOMEM},
       filter + "the filters of this process, with those around it, are too long for the kernel, "
                "or it is out of memory",
       ""},
      {"report", {SYS_sendmsg, EXDEV}, because("report the lock-down to the parent"), ""},
      {"dump", prctl(PR_SET_DUMPABLE), because("close this process to others of its user"), ""},
  };
}

TEST(LockDownTest, EachStepThatFailsIsNamed) {
  if (HasSanitizer()) GTEST_SKIP() << "not with the profile of a sanitizer";
  if (LandlockAbi() <= 0) GTEST_SKIP() << "a kernel without Landlock has fewer steps";
  for (const FailingStep& step : FailingSteps()) {
    const RefusedCall& refused = step.refused;
    const Outcome outcome = RunAndListen({"inside", step.around, testing::OrderOf(refused)});
    if (step.said != "confined") {
      EXPECT_EQ(outcome.reply, step.said) << step.name;
      EXPECT_EQ(outcome.report.exit_code, 0) << step.name << ": " << outcome.report.ToString();
      // What comes once the streams are settled goes nowhere.
      const bool late = step.name == std::string("report") || step.name == std::string("dump");
      EXPECT_EQ(outcome.last_line, late ? "" : step.said) << step.name;
      continue;
    }
    EXPECT_TRUE(Has(outcome.reply, "confined: filter on 1 thread(s), ")) << outcome.reply;
    EXPECT_TRUE(Has(outcome.reply, step.report)) << step.name << ": " << outcome.reply;
    EXPECT_EQ(outcome.report.refused_call.has_value() || outcome.report.signal == SIGSYS, true)
        << step.name << ": " << outcome.report.ToString();
  }
}

TEST(LockDownTest, ARootThatCannotBeEnteredIsNamed) {
  if (!testing::NamespacesAreExpected()) GTEST_SKIP() << "no namespaces here";
  // The order to empty it is one byte.
  for (const RefusedCall& refused :
       {RefusedCall{SYS_chdir, EXDEV}, RefusedCall{SYS_sendto, EXDEV, 2, ~0u, 1}}) {
    EXPECT_EQ(RunAndListen({"inside", "require_empty_root", testing::OrderOf(refused)}).reply,
              "cannot enter an empty root, which was required: Invalid cross-device link");
  }
}

TEST(LockDownTest, ARefusedSeccompSaysSo) {
  ExpectErrorInside("seccomp_eperm", "seccomp(2) is refused here");
  ExpectErrorInside("seccomp_enosys", "no seccomp filters");
}

// The kernel gives a worker the error of a filter around it before it notifies anybody.
TEST(LockDownTest, S10AnErrorOfAFilterAroundUsGivesNoCallBack) {
  if (HasSanitizer()) GTEST_SKIP() << "not with the profile of a sanitizer";
  const Outcome outcome = RunAndListen({"inside", "syslog_eperm"});
  EXPECT_TRUE(Has(outcome.reply, "refused calls are named")) << outcome.reply;
  EXPECT_EQ(outcome.report.signal, SIGSYS) << outcome.report.ToString();
}

TEST(LockDownTest, WithoutNotificationsTheKernelKills) {
  if (HasSanitizer()) GTEST_SKIP() << "not with the profile of a sanitizer";
  const Outcome outcome = RunAndListen({"inside", "listener_einval"});
  EXPECT_TRUE(Has(outcome.reply, "refused calls are not named")) << outcome.reply;
  EXPECT_EQ(outcome.report.signal, SIGSYS) << outcome.report.ToString();
  EXPECT_EQ(outcome.report.refused_call, std::nullopt);
}

// ---- What stands behind the filter, each asked of the kernel by this test as well.

template <typename Try>
bool InAChild(Try attempt) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(attempt() ? 0 : 1);
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool HasMdwe() {
  return InAChild([] { return ::prctl(65 /* PR_SET_MDWE */, 1, 0, 0, 0) == 0; });
}
bool HasMseal() { return ::syscall(462 /* mseal */, 0, 0, 0) == 0; }

// Each wall that this kernel has may be required.
TEST(LockDownTest, WhatIsRequiredAndThereIsNoError) {
  if (LandlockAbi() > 0) ExpectConfinedInside("require_landlock", ", Landlock ");
  if (HasMdwe()) ExpectConfinedInside("require_mdwe", ", MDWE, ");
}

TEST(LockDownTest, BehindTheFilterStandTheOtherWalls) {
  if (HasSanitizer()) GTEST_SKIP() << "a sanitizer's runtime does not live under that profile";
  UniqueFd replies;
  SpawnOptions options = WorkerOptions({"behind_the_filter"}, replies);
  options.namespaces.use = NamespaceOptions::Use::kNone;  // or there is no file to be refused
  const Outcome outcome = RunWith(std::move(options), replies);
  const std::string& seen = outcome.reply;
  ASSERT_TRUE(Has(seen, "confined:")) << seen << outcome.report.ToString();
  if (LandlockAbi() > 0) {
    EXPECT_TRUE(Has(seen, ", Landlock ")) << seen;
    EXPECT_TRUE(Has(seen, "\nopen: Permission denied")) << seen;
    if (LandlockAbi() >= 6) {
      EXPECT_TRUE(Has(seen, "\nkill: Operation not permitted")) << seen;
    }
  } else {
    EXPECT_TRUE(Has(seen, ", no Landlock")) << seen;
  }
  EXPECT_EQ(Has(seen, ", MDWE"), HasMdwe()) << seen;
  if (HasMdwe()) {
    EXPECT_TRUE(Has(seen, "\nmap executable: Permission denied")) << seen;
    EXPECT_TRUE(Has(seen, "\nmake executable: Permission denied")) << seen;
  }
  EXPECT_EQ(Has(seen, ", code sealed"), HasMseal()) << seen;
  if (HasMseal()) {
    EXPECT_TRUE(Has(seen, "\nchange code: Operation not permitted")) << seen;
  } else {
    EXPECT_TRUE(Has(seen, "\nchange code: yes")) << seen;
  }
  EXPECT_FALSE(Has(seen, "\ndumpable: yes")) << seen;
}

std::string ReadStatus(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Not by Spawn, which drops them before.
TEST(LockDownTest, CapabilitiesAreGoneSeenFromOutside) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs a user with capabilities to drop";
  if (HasSanitizer()) GTEST_SKIP() << "a sanitizer's own thread may keep some";
  UniqueFd replies;
  const SpawnOptions options = WorkerOptions({"stay_confined_alone"}, replies);
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    const int reply_socket = ::fcntl(options.descriptors[0].fd(), F_DUPFD, 50);
    const std::string number = std::to_string(reply_socket);
    ::setenv("PARLEY_TEST_REPLY_FD", number.c_str(), 1);  // NOLINT(concurrency-mt-unsafe)
    ::execl(options.program.c_str(), "tester", "stay_confined_alone", nullptr);
    ::_exit(127);
  }
  EXPECT_TRUE(Has(NextReply(replies.get()), "confined:"));
  const std::string status = ReadStatus(pid);
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
    EXPECT_TRUE(Has(status, std::string("\n") + set + ":\t0000000000000000\n")) << status;
  }
  EXPECT_TRUE(Has(status, "\nNoNewPrivs:\t1\n")) << status;
  EXPECT_TRUE(Has(status, "\nSeccomp:\t2\n")) << status;
  ::kill(pid, SIGKILL);
  EXPECT_EQ(::waitpid(pid, nullptr, 0), pid);
}

}  // namespace
}  // namespace parley
