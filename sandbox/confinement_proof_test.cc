// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/confinement_proof.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/spawn.h"
#include "parley/sandbox/testing_proc.h"
#include "parley/sandbox/testing_spawn.h"
#include "parley/testing/filter.h"

namespace parley {
namespace {

using testing::kLong;
using testing::NextReply;
using testing::StartWorker;
using testing::WorkerOptions;

static_assert(!std::is_default_constructible_v<ConfinementProof>);
static_assert(!std::is_copy_constructible_v<ConfinementProof>);

std::string Text(const absl::Status& status) { return std::string(status.message()); }

struct Running {
  UniqueFd replies;
  absl::StatusOr<Worker> worker;
  std::string said;
};

Running Start(std::vector<std::string> arguments) {
  Running running;
  running.worker = StartWorker(WorkerOptions(std::move(arguments), running.replies));
  if (running.worker.ok()) running.said = NextReply(running.replies.get());
  return running;
}

void ExpectGap(const char* scenario, const std::string& gap) {
  const Running running = Start({scenario});
  ASSERT_TRUE(running.worker.ok()) << running.worker.status();
  EXPECT_EQ(running.said.substr(0, 9), "confined:") << running.said;
  const auto proof = VerifyConfined(*running.worker);
  EXPECT_EQ(proof.status().code(), absl::StatusCode::kPermissionDenied) << proof.status();
  EXPECT_NE(Text(proof.status()).find("tester (pid "), std::string::npos) << proof.status();
  EXPECT_NE(Text(proof.status()).find(gap), std::string::npos) << proof.status();
}

TEST(ConfinementProofTest, AConfinedWorkerIsKnownByTheKernelsWord) {
  const Running running = Start({"stay_confined"});
  ASSERT_TRUE(running.worker.ok()) << running.worker.status();
  const auto proof = VerifyConfined(*running.worker);
  ASSERT_TRUE(proof.ok()) << proof.status();
  EXPECT_EQ(proof->pid(), running.worker->pid());
  if (testing::HasSanitizer()) {
    EXPECT_GE(proof->threads(), 2);
  } else {
    EXPECT_EQ(proof->threads(), 2);
  }
}

TEST(ConfinementProofTest, AWorkerThatSaysSoAndIsNotIsNamed) {
  ExpectGap("claim_confinement", "has no system call filter");
}

TEST(ConfinementProofTest, OneThreadWithoutAFilterIsEnough) {
  ExpectGap("claim_with_one_thread", "has no system call filter");
}

TEST(ConfinementProofTest, AChildMadeBeforeIsEnough) {
  ExpectGap("claim_with_child", "it has a child, process ");
}

TEST(ConfinementProofTest, AwaitingSeesLockDownHappen) {
  UniqueFd replies;
  auto worker = StartWorker(WorkerOptions({"stay_confined"}, replies));
  ASSERT_TRUE(worker.ok()) << worker.status();
  const auto proof = AwaitConfined(*worker, Deadline::After(kLong));
  EXPECT_TRUE(proof.ok()) << proof.status();
}

TEST(ConfinementProofTest, PromiseP2TimeAwaitingKeepsItsDeadline) {
  const Running running = Start({"claim_confinement"});
  ASSERT_TRUE(running.worker.ok()) << running.worker.status();
  const int64_t before_ns = MonotonicNowNs();
  const auto proof = AwaitConfined(*running.worker, Deadline::After(absl::Milliseconds(50)));
  EXPECT_EQ(proof.status().code(), absl::StatusCode::kPermissionDenied) << proof.status();
  EXPECT_GE(MonotonicNowNs() - before_ns, 50'000'000);
  EXPECT_LT(MonotonicNowNs() - before_ns, 2'000'000'000);
}

TEST(ConfinementProofTest, AnEndedWorkerIsNotConfined) {
  Running running = Start({"exit_3"});
  ASSERT_TRUE(running.worker.ok()) << running.worker.status();
  EXPECT_EQ(AwaitConfined(*running.worker, Deadline::After(kLong)).status().code(),
            absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(running.worker->Wait(Deadline::After(kLong)).ok());
  EXPECT_EQ(VerifyConfined(*running.worker).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(ConfinementProofTest, WhatTheKernelDoesNotShowIsTheWorkersWordOfBefore) {
  const Running alone = Start({"stay_confined_alone"});
  ASSERT_TRUE(alone.worker.ok()) << alone.worker.status();
  // Sent after the filter was loaded, by our own code; received by a thread of ours.
  const Deadline soon = Deadline::After(kLong);
  while (!alone.worker->lock_down_word().has_value() && !soon.Expired()) {
  }
  ASSERT_TRUE(alone.worker->lock_down_word().has_value());
  // The thread sanitizer's runtime has a thread, which was made before.
  const bool landlock = alone.said.find(", Landlock ") != std::string::npos &&
                        alone.said.find("(not on earlier threads)") == std::string::npos;
  const bool mdwe = alone.said.find(", MDWE") != std::string::npos;
  EXPECT_EQ(VerifyConfined(*alone.worker, {.landlock = true}).ok(), landlock) << alone.said;
  EXPECT_EQ(VerifyConfined(*alone.worker, {.mdwe = true}).ok(), mdwe) << alone.said;
  // With a thread that was made before, Landlock does not bind all.
  const Running threaded = Start({"stay_confined"});
  ASSERT_TRUE(threaded.worker.ok()) << threaded.worker.status();
  const auto proof = VerifyConfined(*threaded.worker, {.landlock = true});
  EXPECT_EQ(proof.status().code(), absl::StatusCode::kPermissionDenied) << proof.status();
}

constexpr char kConfined[] =
    "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
    "CapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n"
    "Seccomp_filters:\t2\n";

std::string With(const std::string& line, const std::string& other) {
  std::string text = kConfined;
  text.replace(text.find(line), line.size(), other);
  return text;
}

// In a container each process has a filter: one more than around us is asked for.
TEST(ConfinementProofTest, EachGapOfAThread) {
  using internal::ConfinementGap;
  EXPECT_EQ(ConfinementGap(kConfined, 0), std::nullopt);
  EXPECT_EQ(ConfinementGap(kConfined, 1), std::nullopt);
  EXPECT_NE(ConfinementGap(kConfined, 2), std::nullopt);
  EXPECT_NE(ConfinementGap(kConfined, 3), std::nullopt);
  EXPECT_NE(ConfinementGap(With("Seccomp:\t2", "Seccomp:\t0"), 0), std::nullopt);
  EXPECT_NE(ConfinementGap(With("Seccomp:\t2", "Seccomp:\t1"), 0), std::nullopt);
  EXPECT_NE(ConfinementGap(With("NoNewPrivs:\t1", "NoNewPrivs:\t0"), 0), std::nullopt);
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"}) {
    const std::string none = std::string(set) + ":\t0000000000000000";
    EXPECT_NE(ConfinementGap(With(none, std::string(set) + ":\t0000000000000001"), 0),
              std::nullopt);
    EXPECT_NE(ConfinementGap(With(none, "Other:\t0"), 0), std::nullopt);
  }
  EXPECT_NE(ConfinementGap("", 0), std::nullopt);
  // A name that looks like a line: the kernel escapes line ends in names.
  EXPECT_NE(ConfinementGap("Name:\tSeccomp:\t2\nSeccomp:\t0\n", 0), std::nullopt);
  EXPECT_EQ(internal::FilterCount(kConfined), 2);
  EXPECT_EQ(internal::FilterCount(With("Seccomp:\t2", "Seccomp:\t0")), 0);
  EXPECT_EQ(internal::FilterCount(With("Seccomp_filters:\t2\n", "")), -1);
}

TEST(ConfinementProofTest, EachGapIsSaid) {
  using internal::ConfinementGap;
  EXPECT_EQ(ConfinementGap(With("Seccomp:\t2", "Seccomp:\t0"), 0), "has no system call filter");
  EXPECT_EQ(ConfinementGap(kConfined, 2),
            "has no system call filter but those around this process");
  EXPECT_EQ(ConfinementGap(With("Seccomp_filters:\t2", "Seccomp_filters:\t1"), 1),
            "has no system call filter but those around this process");
  EXPECT_EQ(ConfinementGap(With("Seccomp_filters:\t2\n", ""), 5), std::nullopt)
      << "a kernel that does not count them";
  EXPECT_EQ(ConfinementGap(With("NoNewPrivs:\t1", "NoNewPrivs:\t0"), 0), "may gain new privileges");
  EXPECT_EQ(ConfinementGap(With("NoNewPrivs:\t1\n", ""), 0), "may gain new privileges");
  EXPECT_EQ(ConfinementGap(With("CapEff:\t0000000000000000", "CapEff:\t0000000000000400"), 0),
            "has capabilities (CapEff 0000000000000400)");
  EXPECT_EQ(ConfinementGap(With("CapEff:\t0000000000000000\n", ""), 0),
            "has capabilities (CapEff )");
  for (const auto& [text, count] : std::vector<std::pair<std::string, int>>{
           {"3", 3}, {"0", 0}, {"12", 12}, {"3x", -1}, {"x", -1}, {"", -1}, {"-1", -1}}) {
    EXPECT_EQ(internal::FilterCount("\nSeccomp:\t2\nSeccomp_filters:\t" + text + "\n"), count)
        << text;
  }
}

// ---- By a /proc that we make.

struct Shown {
  const char* name;
  // /proc/thread-self/status, and of the worker's threads by number: status and children.
  std::string ours;
  std::vector<std::vector<std::string>> threads;
  std::string said;  // "": confined
};

TEST(ConfinementProofTest, WhatProcShowsIsJudged) {
  if (testing::HasSanitizer()) GTEST_SKIP() << "its runtime asks /proc, too";
  const std::string none = "Name:\tx\nSeccomp:\t0\n";
  const std::string uncounted = "Name:\tx\nSeccomp:\t2\n";
  const std::string one_around = "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n";
  const std::string two_around = "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t2\n";
  const std::string who = "tester (pid @) is not confined: ";
  const std::string unknown = "cannot tell whether tester (pid @) is confined: ";
  const std::vector<Shown> each = {
      {"confined", none, {{"7", kConfined, ""}}, ""},
      {"two threads", none, {{"7", kConfined, ""}, {"8", kConfined, ""}}, ""},
      {"one filter around", one_around, {{"7", kConfined, ""}}, ""},
      {"none but those around",
       two_around,
       {{"7", kConfined, ""}},
       who + "thread 7 has no system call filter but those around this process"},
      {"no filter",
       none,
       {{"7", kConfined, ""}, {"8", "Name:\tx\nSeccomp:\t0\n", ""}},
       who + "thread 8 has no system call filter"},
      {"a child", none, {{"7", kConfined, "77 78 "}}, who + "it has a child, process 77"},
      {"a thread's child",
       none,
       {{"7", kConfined, ""}, {"8", kConfined, "79 "}},
       who + "it has a child, process 79"},
      {"nothing of us", "", {{"7", kConfined, ""}}, unknown + "/proc is not there"},
      {"ours not counted",
       uncounted,
       {{"7", kConfined, ""}},
       unknown + "this kernel does not count filters, and we have one"},
      {"nothing of it", none, {}, unknown + "/proc does not show it"},
      // As one that has just ended.
      {"no status", none, {{"7", kConfined, ""}, {"8", "", ""}}, ""},
  };
  for (const Shown& one : each) {
    const int code = testing::InAProcessOfItsOwn([&one] {
      UniqueFd replies;
      auto options = WorkerOptions({"sleep"}, replies);
      options.namespaces.use = NamespaceOptions::Use::kNone;
      auto worker = Spawn(std::move(options));
      if (!worker.ok() || NextReply(replies.get()) != "sleeping") return 1;
      // The thread that watches may not be there to unshare: so in a process of its own.
      const pid_t asking = ::fork();
      if (asking == 0) {
        if (!testing::ReplaceProc()) ::_exit(77);
        const std::string number = std::to_string(worker->pid());
        if (!one.ours.empty()) testing::WriteFile("/proc/thread-self/status", one.ours);
        for (const std::vector<std::string>& thread : one.threads) {
          const std::string folder = "/proc/" + number + "/task/" + thread[0];
          testing::WriteFile(folder + "/status", thread[1]);
          testing::WriteFile(folder + "/children", thread[2]);
        }
        const auto proof = VerifyConfined(*worker);
        std::string expected = one.said;
        if (const size_t at = expected.find('@'); at != std::string::npos) {
          expected.replace(at, 1, number);
        }
        const std::string said(proof.status().message());
        if (said != expected) std::fprintf(stderr, "%s\n", said.c_str());
        if (said != expected) ::_exit(2);
        if (proof.ok() && proof->threads() != static_cast<int>(one.threads.size())) ::_exit(3);
        ::_exit(0);
      }
      int status = 0;
      if (::waitpid(asking, &status, 0) != asking) return 4;
      return WEXITSTATUS(status);
    });
    if (code == 77) GTEST_SKIP() << "nothing may be mounted here";
    EXPECT_EQ(code, 0) << one.name;
  }
}

}  // namespace
}  // namespace parley
