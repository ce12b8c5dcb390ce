// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/signaller.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/testing/filter.h"
#include "parley/testing/sanitizers.h"

namespace parley {
namespace {

using testing::InAProcessOfItsOwn;
using testing::Refuse;

constexpr absl::Duration kLong = absl::Seconds(30);

struct Counted : Signaller::Task {
  std::atomic<int> times{0};
  void SignalNow() override { times.fetch_add(1); }

  bool ComesTo(int wanted) {
    const Deadline give_up = Deadline::After(kLong);
    while (times.load() < wanted && !give_up.Expired()) std::this_thread::yield();
    return times.load() == wanted;
  }
};

// The first number of the table, both sides of a word's end, words alone and together, the last.
TEST(SignallerTest, EachNumberSignalsItsTaskOnceForEachPost) {
  auto signaller = *Signaller::Create();
  std::vector<Counted> tasks(Signaller::kMaxTasks);
  for (std::size_t number = 0; number < tasks.size(); ++number) {
    ASSERT_EQ(*signaller->Add(&tasks[number]), number);
  }
  const std::vector<std::vector<std::size_t>> rounds = {{0},        {1},
                                                        {0, 1},     {63},
                                                        {64},       {65},
                                                        {0, 64},    {63, 64, 65},
                                                        {127, 128}, {2, 3, 5, 62},
                                                        {4095},     {4032, 4095},
                                                        {0, 4095},  {64, 65, 66, 2047, 2048, 4094}};
  std::vector<int> expected(tasks.size(), 0);
  for (const auto& round : rounds) {
    for (const std::size_t number : round) {
      signaller->Post(number);
      ++expected[number];
    }
    for (const std::size_t number : round) {
      ASSERT_TRUE(tasks[number].ComesTo(expected[number])) << number;
    }
  }
  for (std::size_t number = 0; number < tasks.size(); ++number) {
    EXPECT_EQ(tasks[number].times.load(), expected[number]) << number;
    signaller->Remove(number);
  }
}

// What is posted while one is being signalled is not lost, and what is posted twice meanwhile is
// signalled once.
struct Gate : Signaller::Task {
  std::atomic<bool> entered{false};
  std::atomic<bool> open{false};
  std::atomic<int> times{0};
  void SignalNow() override {
    entered.store(true);
    while (!open.load()) std::this_thread::yield();
    times.fetch_add(1);
  }
};

TEST(SignallerTest, WhatIsPostedMeanwhileComesAfterIt) {
  auto signaller = *Signaller::Create();
  Gate gate;
  Counted same_word;
  Counted other_word;
  std::vector<Counted> between(64);
  ASSERT_EQ(*signaller->Add(&gate), 0u);
  ASSERT_EQ(*signaller->Add(&same_word), 1u);
  for (Counted& task : between) ASSERT_TRUE(signaller->Add(&task).ok());
  ASSERT_EQ(*signaller->Add(&other_word), 66u);
  signaller->Post(0);
  while (!gate.entered.load()) std::this_thread::yield();
  for (int i = 0; i < 3; ++i) {
    signaller->Post(1);
    signaller->Post(66);
    signaller->Post(0);
  }
  gate.open.store(true);
  EXPECT_TRUE(same_word.ComesTo(1));
  EXPECT_TRUE(other_word.ComesTo(1));
  // The last of a word: once it was signalled, so were the others.
  signaller->Post(66);
  EXPECT_TRUE(other_word.ComesTo(2));
  EXPECT_EQ(gate.times.load(), 2);
  EXPECT_EQ(same_word.times.load(), 1);
  for (const Counted& task : between) EXPECT_EQ(task.times.load(), 0);
}

TEST(SignallerTest, ThePlaceOfOneThatIsGoneIsFree) {
  auto signaller = *Signaller::Create();
  Counted gone;
  Counted stays;
  ASSERT_EQ(*signaller->Add(&gone), 0u);
  ASSERT_EQ(*signaller->Add(&stays), 1u);
  signaller->Remove(0);
  signaller->Post(0);
  signaller->Post(1);
  EXPECT_TRUE(stays.ComesTo(1));
  EXPECT_EQ(gone.times.load(), 0);
  Counted next;
  EXPECT_EQ(*signaller->Add(&next), 0u);
  signaller->Post(0);
  EXPECT_TRUE(next.ComesTo(1));
  EXPECT_EQ(gone.times.load(), 0);
}

TEST(SignallerTest, ATableThatIsFullSaysSo) {
  auto signaller = *Signaller::Create();
  Counted task;
  for (std::size_t number = 0; number < Signaller::kMaxTasks; ++number) {
    ASSERT_EQ(*signaller->Add(&task), number);
  }
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(signaller->Add(&task).status(),
              absl::ResourceExhaustedError("a Signaller has 4096 ends at most"));
  }
  signaller->Remove(4095);
  EXPECT_EQ(*signaller->Add(&task), 4095u);
  EXPECT_FALSE(signaller->Add(&task).ok());
}

std::set<std::string> Threads() {
  std::set<std::string> names;
  DIR* const tasks = ::opendir("/proc/self/task");
  if (tasks == nullptr) return names;
  while (const dirent* entry = ::readdir(tasks)) {
    if (entry->d_name[0] != '.') names.insert(entry->d_name);
  }
  ::closedir(tasks);
  return names;
}

std::string Blocked(const std::string& thread) {
  std::ifstream status("/proc/self/task/" + thread + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("SigBlk:", 0) == 0) return line.substr(8);
  }
  return "?";
}

// A signal of the process is for the caller's threads; and its own are as they were.
TEST(SignallerTest, ItsThreadBlocksAllSignalsAndTheCallersMaskIsAsItWas) {
  if (PARLEY_HAS_TSAN) GTEST_SKIP() << "its runtime starts threads of its own";
  sigset_t own;
  ::sigemptyset(&own);
  ::sigaddset(&own, SIGUSR2);
  sigset_t outer;
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &own, &outer), 0);
  const std::set<std::string> before = Threads();
  {
    auto signaller = *Signaller::Create();
    sigset_t after;
    ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &after), 0);
    for (int signal = 1; signal < 32; ++signal) {
      EXPECT_EQ(::sigismember(&after, signal), signal == SIGUSR2 ? 1 : 0) << signal;
    }
    std::vector<std::string> made;
    for (const std::string& thread : Threads()) {
      if (before.count(thread) == 0) made.push_back(thread);
    }
    ASSERT_EQ(made.size(), 1u);
    // Before it runs, the C library has blocked more than that.
    Counted task;
    signaller->Post(*signaller->Add(&task));
    ASSERT_TRUE(task.ComesTo(1));
    // All but KILL and STOP, and the two or three that the C library keeps to itself.
    const std::string blocked = Blocked(made[0]);
    EXPECT_EQ(std::stoull(blocked, nullptr, 16) | 0x3'8004'0100, ~uint64_t{0}) << blocked;
  }
  EXPECT_EQ(Threads(), before);  // joined
  ::pthread_sigmask(SIG_SETMASK, &outer, nullptr);
}

TEST(SignallerTest, WithoutAThreadOrAnEventfdItIsAnErrorAndTheMaskIsAsItWas) {
  if (PARLEY_HAS_TSAN) GTEST_SKIP() << "a child of a process with threads makes no threads there";
  const auto create = [](std::vector<testing::RefusedCall> refused, absl::StatusCode code,
                         const char* message) {
    return InAProcessOfItsOwn([&] {
      for (const testing::RefusedCall& call : refused) Refuse(call);
      const auto signaller = Signaller::Create();
      if (signaller.status().code() != code) return 1;
      if (signaller.status().message().find(message) == std::string::npos) return 2;
      sigset_t mask;
      ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
      return ::sigismember(&mask, SIGINT) == 0 ? 0 : 3;
    });
  };
  EXPECT_EQ(create({{SYS_clone3, ENOSYS}, {SYS_clone, EAGAIN}},
                   absl::StatusCode::kResourceExhausted, "cannot start a thread that signals"),
            0);
  EXPECT_EQ(
      create({{SYS_eventfd2, ENFILE}}, absl::StatusCode::kResourceExhausted, "create an eventfd"),
      0);
  EXPECT_EQ(
      create({{SYS_eventfd2, EPERM}}, absl::StatusCode::kPermissionDenied, "create an eventfd"), 0);
}

TEST(SignallerTest, ItsDescriptorIsWhatTheThreadPolls) {
  auto signaller = *Signaller::Create();
  pollfd entry = {signaller->eventfd(), POLLIN, 0};
  EXPECT_EQ(::poll(&entry, 1, 0), 0);
}

}  // namespace
}  // namespace parley
