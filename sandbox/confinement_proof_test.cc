// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/confinement_proof.h"

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
#include "parley/sandbox/testing_spawn.h"

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
  EXPECT_GE(proof->threads(), 2);
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

}  // namespace
}  // namespace parley
