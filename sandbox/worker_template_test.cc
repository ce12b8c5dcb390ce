// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/worker_template.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/pidfd.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/clone_wire.h"
#include "parley/sandbox/exit_report.h"
#include "parley/sandbox/spawn.h"
#include "parley/sandbox/testing_spawn.h"
#include "parley/sandbox/unreaped.h"
#include "parley/testing/filter.h"

namespace parley {
namespace {

using testing::HasSanitizer;
using testing::kLong;
using testing::NextReply;
using testing::RefusedCall;

class WorkerTemplateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (HasSanitizer()) GTEST_SKIP() << "no templates in a build with a sanitizer";
  }
};

// `own`: how many descriptors the template has before the socket to us.
absl::StatusOr<WorkerTemplate> Warm(std::vector<std::string> arguments, int own = 0) {
  UniqueFd replies;
  SpawnOptions options = testing::WorkerOptions(std::move(arguments), replies);
  options.descriptors.clear();
  for (int i = 0; i < own; ++i) {
    options.descriptors.push_back(InheritedDescriptor::Give(
        UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)), "OWN_" + std::to_string(i)));
  }
  return WorkerTemplate::Start(std::move(options), Deadline::After(kLong));
}

CloneOptions Options(UniqueFd& replies) {
  SpawnOptions like = testing::WorkerOptions({}, replies);
  CloneOptions options;
  options.name = "clone";
  options.descriptors = std::move(like.descriptors);
  options.namespaces = like.namespaces;
  return options;
}

// "key value" lines.
std::map<std::string, std::string> Fields(const std::string& text) {
  std::map<std::string, std::string> fields;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t at = line.find(' ');
    if (at != std::string::npos) fields[line.substr(0, at)] = line.substr(at + 1);
  }
  return fields;
}

// Processes of ours, zombies among them.
int Children() {
  std::ifstream file("/proc/self/task/" + std::to_string(::gettid()) + "/children");
  int count = 0;
  for (std::string pid; file >> pid;) ++count;
  return count;
}

// What a holder and we have in common for a moment, and is unmapped then.
int SharedMappings() {
  std::ifstream file("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.find("/dev/zero (deleted)") != std::string::npos) ++count;
  }
  return count;
}

TEST_F(WorkerTemplateTest, AClonesStateIsItsOwn) {
  auto warm = Warm({"show_clone"});
  ASSERT_TRUE(warm.ok()) << warm.status();
  std::vector<std::map<std::string, std::string>> clones;
  for (int i = 0; i < 3; ++i) {
    UniqueFd replies;
    auto clone = warm->Clone(Options(replies), Deadline::After(kLong));
    ASSERT_TRUE(clone.ok()) << clone.status();
    clones.push_back(Fields(NextReply(replies.get())));
    auto report = clone->Wait(Deadline::After(kLong));
    ASSERT_TRUE(report.ok() && report->clean()) << report->ToString();
  }
  for (size_t i = 0; i < 2; ++i) {
#if defined(__x86_64__)
    EXPECT_NE(clones[i]["protector"], clones[i + 1]["protector"]);
#endif
    EXPECT_NE(clones[i]["random"], clones[i + 1]["random"]);
    // Nothing that one has written is seen by the next.
    EXPECT_EQ(clones[i]["counter"], "1");
    // libc knows which thread it is.
    EXPECT_EQ(clones[i]["affinity"], "0");
    EXPECT_EQ(clones[i]["pid"], clones[i]["thread"]);
    EXPECT_EQ(clones[i]["kept"], clones[i]["thread"]);
    // What the kernel knows of the thread, as of any: its list of locks, its restartable sequences.
    EXPECT_EQ(clones[i]["robust"], "24");
    EXPECT_EQ(clones[i]["rseq"], "1");
  }
  EXPECT_EQ(warm->clones(), 3u);
}

TEST_F(WorkerTemplateTest, PromiseP8NoSideDoorsNoDescriptorOrVariableOfAnotherClone) {
  for (const char* scenario : {"list_descriptors", "environment"}) {
    auto warm = Warm({scenario});
    ASSERT_TRUE(warm.ok()) << warm.status();
    UniqueFd kept[2];
    std::string said[2];
    for (int i = 0; i < 2; ++i) {
      UniqueFd secret(::open("/etc/hostname", O_RDONLY | O_CLOEXEC));
      CloneOptions options = Options(kept[i]);
      if (i == 0) {
        options.descriptors.push_back(InheritedDescriptor::Give(std::move(secret), "SECRET"));
      }
      auto clone = warm->Clone(std::move(options), Deadline::After(kLong));
      ASSERT_TRUE(clone.ok()) << clone.status();
      said[i] = NextReply(kept[i].get());
    }
    const char* secret = scenario == std::string("environment") ? "SECRET" : "hostname";
    EXPECT_NE(said[0].find(secret), std::string::npos) << said[0];
    EXPECT_EQ(said[1].find(secret), std::string::npos) << said[1];
    // Nothing of the template's: its socket, its own refusal socket, its host's pidfd.
    EXPECT_EQ(said[1].find("PARLEY_TEMPLATE"), std::string::npos) << said[1];
    EXPECT_EQ(said[1].find("pidfd"), std::string::npos) << said[1];
  }
}

TEST_F(WorkerTemplateTest, PromiseP7ResourcesLimitsAreInForceInEachClone) {
  auto warm = Warm({"state"});
  ASSERT_TRUE(warm.ok()) << warm.status();
  for (const uint64_t files : {uint64_t{20}, uint64_t{30}}) {
    UniqueFd replies;
    CloneOptions options = Options(replies);
    options.limits.open_files = files;
    options.limits.address_space_bytes = files << 24;
    options.limits.cpu_seconds = files;
    options.limits.file_size_bytes = 0;
    auto clone = warm->Clone(std::move(options), Deadline::After(kLong));
    ASSERT_TRUE(clone.ok()) << clone.status();
    const std::string state = NextReply(replies.get());
    const auto limit = [&state](const std::string& name) {
      const size_t at = state.find(name);
      if (at == std::string::npos) return std::string("none");
      std::istringstream line(state.substr(at + name.size()));
      std::string soft;
      line >> soft;
      return soft;
    };
    EXPECT_EQ(limit("Max open files"), std::to_string(files)) << state;
    EXPECT_EQ(limit("Max address space"), std::to_string(files << 24)) << state;
    EXPECT_EQ(limit("Max cpu time"), std::to_string(files)) << state;
    EXPECT_EQ(limit("Max file size"), "0") << state;
    EXPECT_EQ(limit("Max core file size"), "0") << state;
    // In a session of its own, and without a capability.
    EXPECT_NE(state.find("CapEff:\t0000000000000000"), std::string::npos) << state;
    EXPECT_NE(state.find("CapBnd:\t0000000000000000"), std::string::npos) << state;
    EXPECT_NE(state.find("NoNewPrivs:\t1"), std::string::npos) << state;
  }
}

TEST_F(WorkerTemplateTest, ItsNamespacesAreItsOwn) {
  if (testing::WithoutNamespaces()) GTEST_SKIP() << "they were not asked for";
  auto warm = Warm({"wall"});
  ASSERT_TRUE(warm.ok()) << warm.status();
  UniqueFd idle_replies;
  auto idle = warm->Clone(Options(idle_replies), Deadline::After(kLong));
  ASSERT_TRUE(idle.ok()) << idle.status();
  ASSERT_EQ(idle->second_wall().pid, testing::KernelMakesNamespaces());
  if (!idle->second_wall().pid) GTEST_SKIP() << idle->second_wall().missing;
  // Holder and worker, and no sister.
  const auto wall = NextReply(idle_replies.get());
  EXPECT_NE(wall.find("\nPid: 2\n"), std::string::npos) << wall;
  EXPECT_NE(wall.find("\nParent: 0\n"), std::string::npos) << wall;
  if (idle->second_wall().own_proc) {
    EXPECT_NE(wall.find("\nProcesses: 2\n"), std::string::npos) << wall;
  }
  EXPECT_EQ(wall.find("\nMount: 0\n"), std::string::npos) << wall;
  EXPECT_EQ(wall.find("\nNewUser: 0\n"), std::string::npos) << wall;
}

// Its template has sealed it; each clone says so for itself.
TEST_F(WorkerTemplateTest, ACloneHasTheOtherWallsAndSealedCode) {
  auto warm = Warm({"behind_the_filter"});
  ASSERT_TRUE(warm.ok()) << warm.status();
  const bool has_mseal = ::syscall(462 /* mseal */, 0, 0, 0) == 0;
  for (int i = 0; i < 2; ++i) {
    UniqueFd replies;
    CloneOptions options = Options(replies);
    options.namespaces.use = NamespaceOptions::Use::kNone;  // or there is no file to be refused
    auto clone = warm->Clone(std::move(options), Deadline::After(kLong));
    ASSERT_TRUE(clone.ok()) << clone.status();
    const std::string seen = NextReply(replies.get());
    EXPECT_EQ(seen.find(", code sealed") != std::string::npos, has_mseal) << seen;
    EXPECT_NE(
        seen.find(has_mseal ? "\nchange code: Operation not permitted" : "\nchange code: yes"),
        std::string::npos)
        << seen;
  }
}

// That is known before a clone runs (program_probe_test.cc), unless it has changed since: then one
// clone is an error, and not run a second time over its sockets.
TEST_F(WorkerTemplateTest, WhereNoFileMayBeExecutedTheHolderOfACloneIsACopy) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    testing::Refuse({.call = SYS_execveat, .error = EACCES});
    auto warm = Warm({"show_clone"});
    if (!warm.ok()) ::_exit(1);
    UniqueFd replies;
    auto clone = warm->Clone(Options(replies), Deadline::After(kLong));
    if (absl::IsAborted(clone.status())) {
      clone = warm->Clone(Options(replies), Deadline::After(kLong));
    }
    if (!clone.ok()) {
      std::fprintf(stderr, "%s\n", clone.status().ToString().c_str());
      ::_exit(2);
    }
    auto report = clone->Wait(Deadline::After(kLong));
    if (!report.ok() || !report->clean()) ::_exit(3);
    if (Fields(NextReply(replies.get()))["counter"] != "1") ::_exit(4);
    pollfd closed = {replies.get(), POLLIN, 0};
    ::poll(&closed, 1, 20'000);
    char byte = 0;
    ::_exit(::recv(replies.get(), &byte, 1, MSG_DONTWAIT) == 0 ? 0 : 5);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(WorkerTemplateTest, AThreadOrSharedMemoryIsRefusedWithASentence) {
  const absl::Status thread = Warm({"template_with_thread"}).status();
  EXPECT_NE(std::string(thread.message()).find("more than one thread"), std::string::npos)
      << thread;
  EXPECT_NE(std::string(thread.message()).find(" 'idle'"), std::string::npos) << thread;
  EXPECT_EQ(std::string(thread.message()).find("'testing_worker'"), std::string::npos) << thread;
  const absl::Status memory = Warm({"template_with_shared_memory"}).status();
  EXPECT_NE(std::string(memory.message()).find("has shared memory"), std::string::npos) << memory;
}

TEST_F(WorkerTemplateTest, WhenTheTemplateEndsItsClonesGoOn) {
  auto warm = Warm({"lock_down"});
  ASSERT_TRUE(warm.ok()) << warm.status();
  UniqueFd replies;
  auto clone = warm->Clone(Options(replies), Deadline::After(kLong));
  ASSERT_TRUE(clone.ok()) << clone.status();
  EXPECT_EQ(NextReply(replies.get()), "confined");
  ASSERT_EQ(::kill(warm->process().pid(), SIGKILL), 0);
  UniqueFd none;
  const absl::Status status = warm->Clone(Options(none), Deadline::After(kLong)).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_TRUE(
      absl::IsDeadlineExceeded(clone->Wait(Deadline::After(absl::Milliseconds(50))).status()));
}

// Killed at any moment of a clone's making, the template leaves no process of ours behind, living
// or not.
TEST_F(WorkerTemplateTest, PromiseP7ResourcesATemplateThatDiesInTheMiddleLeavesNothing) {
  const int before = Children();
  int failed = 0;
  for (int i = 0; i < 60; ++i) {
    auto warm = Warm({"lock_down"});
    ASSERT_TRUE(warm.ok()) << warm.status();
    const pid_t pid = warm->process().pid();
    std::thread killer([pid, i] {
      absl::SleepFor(absl::Microseconds(20 * i));
      ::kill(pid, SIGKILL);
    });
    {
      UniqueFd replies;
      auto clone = warm->Clone(Options(replies), Deadline::After(kLong));
      failed += clone.ok() ? 0 : 1;
      killer.join();
    }
  }
  EXPECT_GT(failed, 0);
  EXPECT_LE(Children(), before);
}

// Refused to the template and to its clones.
struct FailingStep {
  const char* name;
  RefusedCall refused;
  // What the error says of a clone in namespaces, and of one without; "": it runs.
  std::string within, without;
};

FailingStep OfEither(const char* name, const RefusedCall& refused, const std::string& said) {
  return {name, refused, said, said};
}

// Each step of the template's, of the process in between and of the clone's that can fail: the host
// learns at once that it did and which it was, and nothing is left.
std::vector<FailingStep> FailingSteps() {
  const auto of = [](const char* step) {
    return std::string("cannot clone clone") + step + ": Invalid cross-device link";
  };
  const std::string namespaces = of(", making its namespaces");
  const std::string session = of(", giving it a session of its own");
  const std::string privileges = of(", dropping its privileges");
  const std::string life = of(", tying its life to ours");
  // User and groups change for a root that becomes nobody.
  const std::string nobody = ::geteuid() == 0 ? namespaces : "";
  const auto prctl = [](uint32_t option) { return RefusedCall{SYS_prctl, EXDEV, 0, ~0u, option}; };
  return {
      {"enter", {SYS_setns, EXDEV}, namespaces, ""},
      {"process in between", {SYS_clone, EXDEV, 0, CLONE_VM, CLONE_VM}, of(""), ""},
      {"clone", {SYS_clone, EXDEV, 0, CLONE_VM, 0}, namespaces, of("")},
      OfEither("session", {SYS_setsid, EXDEV}, session),
      {"groups", {SYS_setgroups, EXDEV}, nobody, ""},
      {"group", {SYS_setresgid, EXDEV}, nobody, ""},
      {"user", {SYS_setresuid, EXDEV}, nobody, ""},
      OfEither("privileges", prctl(PR_SET_NO_NEW_PRIVS), privileges),
      OfEither("ambient capabilities", prctl(PR_CAP_AMBIENT), privileges),
      OfEither("capabilities", {SYS_capset, EXDEV}, privileges),
      OfEither("bounding set", prctl(PR_CAPBSET_DROP), ""),
      OfEither("parent", prctl(PR_SET_PDEATHSIG), life),
      OfEither("parent's end", {SYS_ppoll, EXDEV},
               "cannot clone clone, tying its life to ours: No such process"),
      {"a /proc of its own", {SYS_mount, EXDEV}, "", ""},
      OfEither("close the rest", {SYS_close_range, EXDEV}, ""),
      OfEither("thread id", prctl(PR_GET_TID_ADDRESS), ""),
      OfEither("locks", {SYS_get_robust_list, EXDEV}, ""),
      OfEither("guard", {SYS_mprotect, EXDEV}, ""),
      OfEither("size of the stack", {SYS_prlimit64, EXDEV, 2, ~0u, 0}, ""),
  };
}

absl::StatusOr<WorkerTemplate> WarmAndRefused(const RefusedCall& refused, int own = 0) {
  return Warm({"template_refuses", testing::OrderOf(refused)}, own);
}

TEST_F(WorkerTemplateTest, EachStepThatFailsIsNamed) {
  const bool can = testing::NamespacesAreExpected();
  for (const FailingStep& step : FailingSteps()) {
    auto warm = WarmAndRefused(step.refused);
    ASSERT_TRUE(warm.ok()) << step.name << ": " << warm.status();
    const int children = Children();
    for (const bool within : {false, true}) {
      if (within && !can) continue;
      UniqueFd replies;
      CloneOptions options = Options(replies);
      options.namespaces.use =
          within ? NamespaceOptions::Use::kRequired : NamespaceOptions::Use::kNone;
      auto clone = warm->Clone(std::move(options), Deadline::After(kLong));
      const std::string& said = within ? step.within : step.without;
      if (said.empty()) {
        ASSERT_TRUE(clone.ok()) << step.name << ": " << clone.status();
        const SecondWall& wall = clone->second_wall();
        if (step.refused.call == SYS_mount) {
          EXPECT_FALSE(wall.own_proc);
        }
        auto report = clone->Wait(Deadline::After(kLong));
        EXPECT_TRUE(report.ok() && report->clean()) << step.name;
        continue;
      }
      EXPECT_EQ(std::string(clone.status().message()), said) << step.name;
      EXPECT_EQ(Children(), children) << step.name;
    }
  }
}

// A host that asks for what can be had gets a clone in the namespaces that are left.
TEST_F(WorkerTemplateTest, WhatCannotBeEnteredIsMissingAndNamed) {
  if (!testing::NamespacesAreExpected()) GTEST_SKIP() << "no namespaces here";
  auto warm = WarmAndRefused({SYS_setns, EXDEV});
  ASSERT_TRUE(warm.ok()) << warm.status();
  for (int i = 0; i < 2; ++i) {  // what was found not to work is not tried again
    UniqueFd replies;
    CloneOptions options = Options(replies);
    options.namespaces.use = NamespaceOptions::Use::kWhereAvailable;
    auto clone = warm->Clone(std::move(options), Deadline::After(kLong));
    ASSERT_TRUE(clone.ok()) << clone.status();
    const std::string why = "making its namespaces: Invalid cross-device link";
    EXPECT_EQ(clone->second_wall().ToString(),
              absl::StrCat("no namespaces (", why, "; ", why, "; ", why, "; ", why, ")"));
  }
}

// What a clone does once it has said that it runs ends it by an exit code, and nothing of it goes
// over descriptors that have got other numbers meanwhile.
TEST_F(WorkerTemplateTest, AStepThatFailsLaterEndsTheClone) {
  const std::vector<std::pair<RefusedCall, int>> steps = {
      {{SYS_prlimit64, EPERM, 1, ~0u, RLIMIT_MEMLOCK}, 209},
      {{SYS_dup3, EPERM}, 208},
      {{SYS_fcntl, EPERM, 1, ~0u, F_DUPFD_CLOEXEC}, 208},
      {{SYS_getrandom, EPERM, 1, ~0u, 16}, 200},
#if defined(__x86_64__)  // elsewhere the stack protector's value is the library's, not the thread's
      {{SYS_getrandom, EPERM, 1, ~0u, 8}, 200},
#endif
  };
  for (const auto& [refused, code] : steps) {
    // The number of the template's socket is that of the clone's second one, then of its third.
    for (const int own : {0, 1}) {
      auto warm = WarmAndRefused(refused, own);
      ASSERT_TRUE(warm.ok()) << warm.status();
      for (int i = 0; i < 2; ++i) {
        UniqueFd replies;
        auto clone = warm->Clone(Options(replies), Deadline::After(kLong));
        ASSERT_TRUE(clone.ok()) << clone.status();
        auto report = clone->Wait(Deadline::After(kLong));
        ASSERT_TRUE(report.ok()) << report.status();
        EXPECT_EQ(report->exit_code, code) << refused.call << ": " << report->ToString();
        EXPECT_EQ(NextReply(replies.get()).size(), 0u);
      }
    }
  }
}

// Before it is warm: its own last line says why.
TEST_F(WorkerTemplateTest, ATemplateThatCannotGetReadySaysWhy) {
  const std::vector<std::pair<RefusedCall, std::string>> steps = {
      {{SYS_sendto, EXDEV}, "cannot get ready: Invalid cross-device link"},
      {{SYS_openat, EXDEV, 2, O_DIRECTORY, O_DIRECTORY},
       "cannot list this process's threads: Invalid cross-device link"},
      {{SYS_openat, EXDEV, 2, O_DIRECTORY, 0},
       "cannot list this process's threads: /proc does not show them"},
  };
  for (const auto& [refused, said] : steps) {
    const absl::Status status = WarmAndRefused(refused).status();
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    const std::string text(status.message());
    EXPECT_EQ(text.substr(0, text.find('(')), "the template tester ");
    EXPECT_EQ(text.substr(text.find(')')), ") ended with exit code 71: " + said);
  }
}

struct FailingHostStep {
  const char* name;
  RefusedCall refused;
  std::string said;  // "": there is a clone
  bool template_ends;
  bool within;  // with namespaces alone
};

std::vector<FailingHostStep> FailingHostSteps(pid_t us) {
  const std::string why = ": Invalid cross-device link";
  const std::string of = "cannot clone clone" + why;
  const std::string gone = "clone clone: its template has ended or does not listen";
  const std::string too_many =
      "cannot clone clone: Too many open files; this process is at its descriptor limit (ulimit "
      "-n): raise it or close some";
  // Else the holder is a copy, and no file of its program is made.
  const bool holder_has_program = ::sysconf(_SC_PAGESIZE) == 4096;
  const auto own = static_cast<uint32_t>(us);
  return {
      {"nothing", {SYS_getcwd, EXDEV}, "", false, false},
      {"sockets",
       {SYS_socketpair, EXDEV, 1, 0xf, SOCK_SEQPACKET},
       "cannot make the refusal sockets" + why,
       false,
       false},
      {"output",
       {SYS_socketpair, EXDEV, 1, 0xf, SOCK_STREAM},
       "cannot make the socket of a worker's output" + why,
       false,
       false},
      {"our pidfd", {SYS_pidfd_open, EXDEV, 0, ~0u, own}, of, false, false},
      {"a place", {SYS_fcntl, EXDEV, 2, ~0u, 0}, of, false, false},
      {"order", {SYS_sendmsg, EXDEV}, gone, true, false},
      {"queue", {SYS_sendmsg, EAGAIN}, gone, true, false},
      {"thread's pidfd",
       {SYS_fcntl, EXDEV, 2, ~0u, 3},
       "cannot watch a worker's refused calls" + why,
       false,
       false},
      {"eventfd", {SYS_eventfd2, EXDEV}, "cannot watch a worker's lock-down" + why, false, false},
      {"thread", testing::NoThread(EXDEV),
       "cannot start the thread that watches a worker's refused calls" + why, false, false},
      {"holder",
       {SYS_clone, EXDEV, 0, CLONE_NEWUSER, CLONE_NEWUSER},
       "cannot clone clone, making its namespaces" + why,
       false,
       true},
      {"network",
       {SYS_unshare, EXDEV},
       "cannot clone clone, making its namespaces" + why,
       false,
       true},
      {"page", {SYS_memfd_create, EMFILE}, holder_has_program ? too_many : "", false, true},
  };
}

// With a filter around its host, made before it.
TEST_F(WorkerTemplateTest, EachStepOfItsHostThatFailsIsNamed) {
  const bool can = testing::NamespacesAreExpected();
  const std::vector<FailingHostStep> steps = FailingHostSteps(0);
  for (size_t i = 0; i < steps.size(); ++i) {
    for (const bool within : {false, true}) {
      if ((within && !can) || (!within && steps[i].within)) continue;
      const int code = testing::InAProcessOfItsOwn([i, within] {
        const FailingHostStep step = FailingHostSteps(::getpid())[i];
        auto warm = Warm({"exit_3"});
        if (!warm.ok()) return 1;
        const int children = Children();
        UniqueFd replies;
        CloneOptions options = Options(replies);
        options.namespaces.use =
            within ? NamespaceOptions::Use::kRequired : NamespaceOptions::Use::kNone;
        testing::Refuse(step.refused);
        std::string said;
        {
          auto clone = warm->Clone(std::move(options), Deadline::After(kLong));
          said = std::string(clone.status().message());
        }
        if (said != step.said) {
          std::fprintf(stderr, "%s\n", said.c_str());
          return 2;
        }
        pollfd ended = {warm->process().pidfd(), POLLIN, 0};
        ::poll(&ended, 1, step.template_ends ? 10'000 : 0);
        if ((ended.revents != 0) != step.template_ends) return 3;
        return Children() <= children ? 0 : 4;
      });
      EXPECT_EQ(code, 0) << steps[i].name << (within ? " within" : "");
    }
  }
}

// Once it ran on, with nobody to end it. Without namespaces, whose holder asks for one as well.
TEST_F(WorkerTemplateTest, PromiseP7ResourcesACloneForWhichThereIsNoPidfdIsEnded) {
  const int code = testing::InAProcessOfItsOwn([] {
    auto warm = Warm({"sleep"});
    if (!warm.ok()) return 1;
    const int children = Children();
    UniqueFd replies;
    CloneOptions options = Options(replies);
    options.namespaces.use = NamespaceOptions::Use::kNone;
    // But for our own number: where any bit of it is another.
    for (uint32_t bit = 0; bit < 22; ++bit) {
      const uint32_t own = static_cast<uint32_t>(::getpid()) & (1u << bit);
      testing::Refuse({SYS_pidfd_open, ENFILE, 0, 1u << bit, own ^ (1u << bit)});
    }
    const absl::Status status = warm->Clone(std::move(options), Deadline::After(kLong)).status();
    if (!absl::IsResourceExhausted(status)) {
      std::fprintf(stderr, "%s\n", status.ToString().c_str());
      return 2;
    }
    return Children() == children ? 0 : 3;
  });
  EXPECT_EQ(code, 0);
}

TEST_F(WorkerTemplateTest, PromiseP2TimeATemplateThatDoesNotAnswerIsEnded) {
  auto warm = Warm({"exit_3"});
  ASSERT_TRUE(warm.ok()) << warm.status();
  const int children = Children();
  ASSERT_EQ(::kill(warm->process().pid(), SIGSTOP), 0);
  UniqueFd replies;
  const absl::Status status =
      warm->Clone(Options(replies), Deadline::After(absl::Milliseconds(20))).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(status.message(), "the template tester did not answer in time");
  pollfd ended = {warm->process().pidfd(), POLLIN, 0};
  EXPECT_EQ(::poll(&ended, 1, 10'000), 1);
  EXPECT_EQ(Children(), children);
}

// It is our program and says what it says; what is none of it ends it.
TEST_F(WorkerTemplateTest, WhatIsNoAnswerEndsTheTemplate) {
  static_assert(sizeof(internal::CloneAnswer) == 16 && sizeof(internal::CloneStarted) == 12);
  const std::string none = "a template's message is none";
  const std::string late = "the template tester did not answer in time";
  for (const auto& [sizes, said] : std::vector<std::pair<std::string, std::string>>{{"16 3", none},
                                                                                    {"16 11", none},
                                                                                    {"16 13", none},
                                                                                    {"16 15", none},
                                                                                    {"16 17", none},
                                                                                    {"16 64", none},
                                                                                    {"16 16", none},
                                                                                    {"12 12", none},
                                                                                    {"16", late}}) {
    auto warm = Warm({"template_lies", sizes});
    ASSERT_TRUE(warm.ok()) << warm.status();
    UniqueFd replies;
    CloneOptions options = Options(replies);
    options.namespaces.use = NamespaceOptions::Use::kNone;
    const bool waits = said == late;
    const Deadline deadline = Deadline::After(waits ? absl::Milliseconds(100) : kLong);
    const absl::Status status = warm->Clone(std::move(options), deadline).status();
    EXPECT_EQ(status.message(), said) << sizes;
    pollfd ended = {warm->process().pidfd(), POLLIN, 0};
    EXPECT_EQ(::poll(&ended, 1, 10'000), 1) << sizes;
  }
}

std::string StackOf(uint64_t asked_bytes) {
  UniqueFd none;
  SpawnOptions options = testing::WorkerOptions({"show_clone"}, none);
  options.descriptors.clear();
  options.limits.stack_bytes = asked_bytes;
  auto warm = WorkerTemplate::Start(std::move(options), Deadline::After(kLong));
  if (!warm.ok()) return warm.status().ToString();
  UniqueFd replies;
  CloneOptions clone_options = Options(replies);
  auto clone = warm->Clone(std::move(clone_options), Deadline::After(kLong));
  if (!clone.ok()) return clone.status().ToString();
  auto fields = Fields(NextReply(replies.get()));
  return fields["stack"] + " above " + fields["guard"];
}

TEST_F(WorkerTemplateTest, ACloneHasTheStackThatItsTemplateMayHaveAndAGuard) {
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  constexpr uint64_t kMiB = 1 << 20;
  const std::vector<std::pair<uint64_t, uint64_t>> each = {{8 * kMiB, 8 * kMiB},
                                                           {200 * 1024, kMiB},
                                                           {3 * kMiB + 5000, 3 * kMiB},
                                                           {100 * kMiB, 64 * kMiB}};
  for (const auto& [asked, got] : each) {
    EXPECT_EQ(StackOf(asked), std::to_string(got - page) + " above " + std::to_string(page))
        << asked;
  }
}

// Then a clone that has failed is gone before it can be looked at.
TEST_F(WorkerTemplateTest, WithSigchldIgnoredAFailedCloneIsAnErrorAllTheSame) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::signal(SIGCHLD, SIG_IGN);
    auto warm = WarmAndRefused({SYS_setsid, EPERM});
    if (!warm.ok()) ::_exit(1);
    for (int i = 0; i < 50; ++i) {
      UniqueFd replies;
      CloneOptions options = Options(replies);
      if (i % 2 == 0) options.namespaces.use = NamespaceOptions::Use::kNone;
      auto clone = warm->Clone(std::move(options), Deadline::After(kLong));
      if (!absl::IsPermissionDenied(clone.status())) ::_exit(2);
    }
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

TEST_F(WorkerTemplateTest, EachCloneHasTheNamespacesThatItsOwnOptionsAskFor) {
  if (!testing::NamespacesAreExpected()) GTEST_SKIP() << "no namespaces here";
  auto warm = Warm({"exit_3"});
  ASSERT_TRUE(warm.ok()) << warm.status();
  using Use = NamespaceOptions::Use;
  for (const Use use : {Use::kNone, Use::kRequired, Use::kNone, Use::kWhereAvailable}) {
    UniqueFd replies;
    CloneOptions options = Options(replies);
    options.namespaces.use = use;
    auto clone = warm->Clone(std::move(options), Deadline::After(kLong));
    ASSERT_TRUE(clone.ok()) << clone.status();
    EXPECT_EQ(clone->second_wall().pid, use != Use::kNone);
    EXPECT_EQ(clone->second_wall().missing, "");
  }
}

// What the header allows works; one more is an error, and the template goes on.
TEST_F(WorkerTemplateTest, OptionsThatCannotBeAreRefused) {
  auto warm = Warm({"exit_3"});
  ASSERT_TRUE(warm.ok()) << warm.status();
  const auto clone = [&warm](int descriptors, size_t name_bytes) {
    UniqueFd replies;
    CloneOptions options = Options(replies);
    for (int i = 1; i < descriptors; ++i) {
      std::string name = "X" + std::to_string(i);
      name.resize(name_bytes, 'X');
      options.descriptors.push_back(
          InheritedDescriptor::Give(UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)), name));
    }
    return warm->Clone(std::move(options), Deadline::After(kLong)).status();
  };
  EXPECT_TRUE(clone(8, 31).ok()) << clone(8, 31);
  EXPECT_TRUE(absl::IsInvalidArgument(clone(9, 31))) << clone(9, 31);
  EXPECT_TRUE(absl::IsInvalidArgument(clone(20, 31))) << clone(20, 31);
  EXPECT_TRUE(absl::IsInvalidArgument(clone(2, 32))) << clone(2, 32);
  EXPECT_TRUE(clone(1, 0).ok());
}

// At each number of free places: an error that says so or a worker, and nothing is left of one that
// could not be made.
TEST_F(WorkerTemplateTest, AFullDescriptorTableIsAClearError) {
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  auto warm = Warm({"exit_3"});
  ASSERT_TRUE(warm.ok()) << warm.status();
  const int children = Children();
  rlimit low = before;
  low.rlim_cur = 64;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  std::vector<UniqueFd> fill;
  for (int next = ::dup(2); next >= 0; next = ::dup(2)) fill.emplace_back(next);
  int started = 0;
  std::vector<absl::Status> failures;
  for (size_t free_places = 0; free_places < 30 && !fill.empty(); ++free_places) {
    CloneOptions options;
    options.name = "clone";
    auto clone = warm->Clone(std::move(options), Deadline::After(kLong));
    if (clone.ok()) {
      ++started;
      EXPECT_TRUE(clone->Wait(Deadline::After(kLong)).ok());
    } else {
      failures.push_back(clone.status());
    }
    fill.pop_back();
  }
  fill.clear();
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_GT(started, 0);
  EXPECT_GT(failures.size(), 0u);
  for (const absl::Status& failure : failures) {
    EXPECT_TRUE(absl::IsResourceExhausted(failure)) << failure;
  }
  EXPECT_EQ(Children(), children);
}

// A process that could not be reaped at its owner's end, since it was traced say, is reaped at the
// next start of another one, whichever way that is.
TEST_F(WorkerTemplateTest, EachStartReapsWhatWasLeftBefore) {
  auto warm = Warm({"exit_3"});
  ASSERT_TRUE(warm.ok()) << warm.status();
  for (const bool cloned : {true, false}) {
    const pid_t left = ::fork();
    if (left == 0) {
      while (true) ::pause();
    }
    auto pidfd = OpenPidfd(left);
    ASSERT_TRUE(pidfd.ok()) << pidfd.status();
    const int number = pidfd->get();
    internal::ReapLater(*std::move(pidfd));
    ASSERT_EQ(::kill(left, SIGKILL), 0);
    pollfd ended = {number, POLLIN, 0};
    ASSERT_EQ(::poll(&ended, 1, 30'000), 1);
    if (cloned) {
      UniqueFd replies;
      ASSERT_TRUE(warm->Clone(Options(replies), Deadline::After(kLong)).ok());
    } else {
      ASSERT_TRUE(Warm({"exit_3"}).ok());
    }
    EXPECT_EQ(::waitpid(left, nullptr, WNOHANG), -1) << cloned;
  }
}

TEST_F(WorkerTemplateTest, ManyClonesLeaveNeitherDescriptorNorProcess) {
  auto warm = Warm({"exit_3"});
  ASSERT_TRUE(warm.ok()) << warm.status();
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  const auto before = descriptors();
  const int children = Children();
  const int mappings = SharedMappings();
  for (int i = 0; i < 50; ++i) {
    UniqueFd replies;
    auto clone = warm->Clone(Options(replies), Deadline::After(kLong));
    ASSERT_TRUE(clone.ok()) << clone.status();
    auto report = clone->Wait(Deadline::After(kLong));
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->exit_code, 3) << report->ToString();
  }
  // Each holder has left our memory before we go on.
  EXPECT_EQ(SharedMappings(), mappings);
  // The threads that watch for refused calls end by themselves.
  const Deadline deadline = Deadline::After(kLong);
  while (descriptors() > before && !deadline.Expired()) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_LE(descriptors(), before);
  EXPECT_LE(Children(), children);
}

}  // namespace
}  // namespace parley
