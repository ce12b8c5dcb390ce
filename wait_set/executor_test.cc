// SPDX-License-Identifier: Apache-2.0

// What a loop does with coroutines that are many, that are destroyed where they wait, that outlive
// it, or that never wait; and what it says where the kernel refuses.

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/channel/channel.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"
#include "parley/testing/channel_pair.h"
#include "parley/testing/filter.h"
#include "parley/wait_set/async_channel.h"
#include "parley/wait_set/event_loop.h"
#include "parley/wait_set/listener.h"
#include "parley/wait_set/task.h"

namespace parley {
namespace {

using internal::AwaiterLink;
using internal::Executor;
using testing::ChannelPair;
using testing::ChannelPairOptions;
using testing::InAProcessOfItsOwn;
using testing::Refuse;
using Ran = WaitSet::Ran;

Deadline In(int ms) { return Deadline::After(absl::Milliseconds(ms)); }
Deadline Now() { return Deadline::AtMonotonicNs(0); }
Deadline Generous() { return In(20'000); }

std::unique_ptr<EventLoop> MakeLoop() { return *EventLoop::Create(); }

std::unique_ptr<ChannelPair> MakePair(const ChannelPairOptions& options = {}) {
  auto pair = ChannelPair::Create(options);
  EXPECT_TRUE(pair.ok()) << pair.status();
  return *std::move(pair);
}

// --- lists --------------------------------------------------------------------------------------

// Next to lists of the library, by random steps.
TEST(AwaiterLinkTest, AgreesWithALibrarysList) {
  std::mt19937 random(3);
  std::array<AwaiterLink, 2> heads;
  std::array<AwaiterLink, 12> links;
  std::array<std::list<AwaiterLink*>, 2> models;
  for (int step = 0; step < 5'000; ++step) {
    AwaiterLink* const link = &links[random() % links.size()];
    const std::size_t which = random() % 2;
    for (auto& model : models) model.remove(link);
    if (random() % 3 == 0) {
      link->Unlink();
      ASSERT_TRUE(link->alone());
    } else {
      link->LinkBefore(&heads[which]);
      models[which].push_back(link);
    }
    for (std::size_t i = 0; i < 2; ++i) {
      ASSERT_EQ(heads[i].alone(), models[i].empty());
      const AwaiterLink* at = &heads[i];
      for (const AwaiterLink* const expected : models[i]) {
        ASSERT_EQ(at->next, expected);
        ASSERT_EQ(expected->previous, at);
        ASSERT_FALSE(expected->alone());
        at = expected;
      }
      ASSERT_EQ(at->next, &heads[i]);
      ASSERT_EQ(heads[i].previous, at);
    }
  }
}

// --- many ---------------------------------------------------------------------------------------

// Lets the others have their turn: ready by the next round.
class Yield : public internal::Awaiter {
 public:
  explicit Yield(Executor* executor) : executor_(executor) {}
  ~Yield() = default;
  bool await_ready() const { return executor_->closing(); }
  void await_suspend(std::coroutine_handle<> handle) {
    executor_->Suspend(this, handle, nullptr);
    executor_->Schedule(this, absl::AbortedError("yielded"));
  }
  absl::Status await_resume() { return status(); }

 private:
  Executor* const executor_;
};

Task<void> YieldOnce(Executor* executor, int* resumed) {
  const absl::Status status = co_await Yield(executor);
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  ++*resumed;
}

Task<void> SleepOnce(EventLoop* loop, Deadline until, int* resumed) {
  const absl::Status status = co_await loop->Sleep(until);
  EXPECT_TRUE(status.ok()) << status;
  ++*resumed;
}

// 256 in a round, and none is forgotten.
TEST(ExecutorTest, AStormIsTakenInSlices) {
  for (const bool sleepers : {false, true}) {
    auto loop = MakeLoop();
    int resumed = 0;
    for (int i = 0; i < 600; ++i) {
      loop->Spawn(sleepers ? SleepOnce(loop.get(), Now(), &resumed)
                           : YieldOnce(loop->executor().get(), &resumed));
    }
    EXPECT_EQ(loop->tasks(), 600u);
    for (const int expected : {256, 512, 600}) {
      EXPECT_EQ(loop->set().RunOnce(Generous()), Ran::kHandlers);
      EXPECT_EQ(resumed, expected) << sleepers;
    }
    EXPECT_EQ(loop->tasks(), 0u);
    EXPECT_EQ(loop->Run(Generous()), Ran::kHandlers);
  }
}

// --- the end of Run -----------------------------------------------------------------------------

Task<void> YieldForEver(Executor* executor, int* turns) {
  while (true) {
    const absl::Status status = co_await Yield(executor);
    if (executor->closing()) co_return;
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
    ++*turns;
  }
}

Task<void> SleepForEver(EventLoop* loop) {
  static_cast<void>(co_await loop->Sleep(Deadline::Never()));
}

TEST(ExecutorTest, RunEndsAtItsDeadline) {
  auto loop = MakeLoop();
  loop->Spawn(SleepForEver(loop.get()));
  for (int i = 0; i < 2; ++i) {
    const Deadline deadline = In(10);
    EXPECT_EQ(loop->Run(deadline), Ran::kDeadline);
    EXPECT_TRUE(deadline.Expired());
    EXPECT_EQ(loop->tasks(), 1u);
  }
}

// A coroutine whose peer always has a message ready always has something to do.
TEST(ExecutorTest, PromiseP2TimeRunKeepsItsDeadlineThoughSomethingIsAlwaysReady) {
  auto loop = MakeLoop();
  int turns = 0;
  loop->Spawn(YieldForEver(loop->executor().get(), &turns));
  const Deadline deadline = In(10);
  EXPECT_EQ(loop->Run(deadline), Ran::kDeadline);
  EXPECT_TRUE(deadline.Expired());
  EXPECT_GT(turns, 0);
  // A deadline that has passed is one round, and a round has an end.
  const int before = turns;
  EXPECT_EQ(loop->Run(Now()), Ran::kDeadline);
  EXPECT_GT(turns, before);
  EXPECT_LE(turns, before + 256);
}

TEST(ExecutorTest, RunEndsWithTheLastTaskThoughItsDeadlineHasPassed) {
  auto loop = MakeLoop();
  int resumed = 0;
  loop->Spawn(YieldOnce(loop->executor().get(), &resumed));
  EXPECT_EQ(loop->Run(Now()), Ran::kHandlers);
  EXPECT_EQ(resumed, 1);
  EXPECT_EQ(loop->Run(Now()), Ran::kHandlers);  // none is left
}

TEST(ExecutorTest, RunEndsByAnInterrupt) {
  auto loop = MakeLoop();
  loop->Spawn(SleepForEver(loop.get()));
  loop->set().Interrupt();
  EXPECT_EQ(loop->Run(Generous()), Ran::kInterrupted);
  EXPECT_EQ(loop->Run(In(1)), Ran::kDeadline);
}

// --- frames that are destroyed where they wait --------------------------------------------------

// Belongs to whoever holds its handle, and starts at once.
struct Held {
  struct promise_type {
    Held get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    [[noreturn]] void unhandled_exception() noexcept { std::abort(); }
  };
  std::coroutine_handle<promise_type> handle;
};

Held HeldSleep(EventLoop* loop, Deadline until, int* resumed) {
  static_cast<void>(co_await loop->Sleep(until));
  ++*resumed;
}

Held HeldNext(AsyncReceiver* receiver, int* resumed) {
  const auto message = co_await receiver->Next(Generous());
  EXPECT_TRUE(message.ok());
  ++*resumed;
}

Held HeldYield(Executor* executor, int* resumed) {
  static_cast<void>(co_await Yield(executor));
  ++*resumed;
}

TEST(ExecutorTest, AFrameThatIsDestroyedIsForgotten) {
  enum { kSleeps, kIsReady, kAwaits };
  for (const int what : {kSleeps, kIsReady, kAwaits}) {
    SCOPED_TRACE(what);
    auto loop = MakeLoop();
    auto pair = MakePair();
    auto channel = AsyncChannel::Create(loop.get(), std::move(pair->accepting()));
    ASSERT_TRUE(channel.ok());
    int resumed = 0;
    int others = 0;
    loop->Spawn(YieldOnce(loop->executor().get(), &others));
    const Held held = what == kSleeps    ? HeldSleep(loop.get(), In(1), &resumed)
                      : what == kIsReady ? HeldYield(loop->executor().get(), &resumed)
                                         : HeldNext(&channel->receiver, &resumed);
    loop->Spawn(YieldOnce(loop->executor().get(), &others));
    loop->Spawn(SleepOnce(loop.get(), In(5), &others));
    held.handle.destroy();
    if (what == kAwaits) {
      ASSERT_EQ(pair->connecting().sender.TrySend(1, {}), Outcome::kOk);
    }
    EXPECT_EQ(loop->Run(Generous()), Ran::kHandlers);
    EXPECT_EQ(others, 3);
    EXPECT_EQ(loop->set().RunOnce(Now()), Ran::kDeadline);
    EXPECT_EQ(resumed, 0);
    // The end that was awaited can be awaited again.
    if (what != kAwaits) continue;
    const Held next = HeldNext(&channel->receiver, &resumed);
    EXPECT_EQ(resumed, 1);
    next.handle.destroy();
  }
}

Held HeldTwice(Executor* executor, int* resumed) {
  internal::SleepAwaiter first(executor, Now());  // which outlives its await
  static_cast<void>(co_await first);
  ++*resumed;
  static_cast<void>(co_await internal::SleepAwaiter(executor, Deadline::Never()));
  ++*resumed;
}

TEST(ExecutorTest, AnAwaitThatIsOverResumesNobody) {
  auto loop = MakeLoop();
  int resumed = 0;
  const Held held = HeldTwice(loop->executor().get(), &resumed);
  EXPECT_EQ(loop->set().RunOnce(Generous()), Ran::kHandlers);
  EXPECT_EQ(loop->set().RunOnce(Now()), Ran::kDeadline);
  EXPECT_EQ(resumed, 1);
  held.handle.destroy();
}

// --- ports that end -----------------------------------------------------------------------------

Task<void> AwaitOne(AsyncReceiver* receiver, absl::Status* end) {
  *end = (co_await receiver->Next(Generous())).status();
}

// The one that comes to lie where it lay has nothing of it.
TEST(ExecutorTest, APortThatEndedIsNotTakenForTheNextOne) {
  auto loop = MakeLoop();
  std::array<std::unique_ptr<ChannelPair>, 2> pairs = {MakePair(), MakePair()};
  std::array<std::optional<AsyncReceiver>, 2> receivers;
  std::array<absl::Status, 2> ends = {absl::UnknownError(""), absl::UnknownError("")};
  for (std::size_t i = 0; i < 2; ++i) {
    receivers[0].reset();
    auto made = AsyncReceiver::Create(loop.get(), std::move(pairs[i]->accepting().receiver));
    ASSERT_TRUE(made.ok());
    receivers[0] = *std::move(made);
    loop->Spawn(AwaitOne(&*receivers[0], &ends[i]));
  }
  // The first is resumed by the next round, when the second has long been awaited.
  while (loop->tasks() == 2) loop->set().RunOnce(Generous());
  EXPECT_EQ(ends[0].code(), absl::StatusCode::kCancelled);
  ASSERT_EQ(pairs[1]->connecting().sender.TrySend(1, {}), Outcome::kOk);
  EXPECT_EQ(loop->Run(In(10'000)), Ran::kHandlers);
  EXPECT_TRUE(ends[1].ok()) << ends[1];
}

// --- loops that end -----------------------------------------------------------------------------

TEST(ExecutorTest, ALoopThatEndedHasNoSetAndSuspendsNobody) {
  auto loop = MakeLoop();
  const std::shared_ptr<Executor> executor = loop->executor();
  auto pair = MakePair();
  auto channel = AsyncChannel::Create(loop.get(), std::move(pair->accepting()));
  ASSERT_TRUE(channel.ok());
  EXPECT_EQ(executor->set(), &loop->set());
  EXPECT_FALSE(executor->closing());
  loop.reset();
  EXPECT_EQ(executor->set(), nullptr);
  EXPECT_TRUE(executor->closing());
  ASSERT_EQ(pair->connecting().sender.TrySend(1, {}), Outcome::kOk);
  absl::Status received;
  absl::Status sent;
  absl::Status slept;
  const Held held = [](AsyncChannel* c, Executor* e, absl::Status* r, absl::Status* s,
                       absl::Status* z) -> Held {
    *r = (co_await c->receiver.Next(Generous())).status();
    *s = co_await c->sender.Send(1, {}, Generous());
    *z = co_await internal::SleepAwaiter(e, Generous());
  }(&*channel, executor.get(), &received, &sent, &slept);
  EXPECT_TRUE(held.handle.done());
  held.handle.destroy();
  for (const absl::Status& status : {received, sent, slept}) {
    EXPECT_EQ(status, absl::CancelledError("the loop has ended"));
  }
}

// --- turns --------------------------------------------------------------------------------------

Task<void> TakeForEver(AsyncReceiver* receiver, int* taken) {
  while (true) {
    const absl::StatusOr<Message> message = co_await receiver->Next(Generous());
    if (!message.ok()) co_return;
    ++*taken;
  }
}

// A port that always has something ready has a whole turn each time, and no more.
TEST(ExecutorTest, EachTurnIsAWholeOne) {
  auto loop = MakeLoop();
  auto pair = MakePair();
  auto channel = AsyncChannel::Create(loop.get(), std::move(pair->accepting()));
  ASSERT_TRUE(channel.ok());
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(pair->connecting().sender.TrySend(1, {}), Outcome::kOk);
  }
  int taken = 0;
  loop->Spawn(TakeForEver(&channel->receiver, &taken));
  EXPECT_EQ(taken, EventLoop::kMaxAtOnce);
  for (int i = 0; i < 5; ++i) {
    const int before = taken;
    while (taken == before) loop->set().RunOnce(Generous());
    EXPECT_GE(taken - before, EventLoop::kMaxAtOnce);
    EXPECT_LE(taken - before, EventLoop::kMaxAtOnce + 1);
  }
  EXPECT_EQ(Message().tag, 0u);
  EXPECT_TRUE(Message().bytes.empty());
}

// --- refusals -----------------------------------------------------------------------------------

TEST(ExecutorTest, ALoopThatCannotBeMadeIsAnError) {
  EXPECT_EQ(InAProcessOfItsOwn([] {
              Refuse({SYS_epoll_create1, EMFILE});
              return static_cast<int>(EventLoop::Create().status().code());
            }),
            static_cast<int>(absl::StatusCode::kResourceExhausted));
}

TEST(ExecutorTest, WhatCannotBePolledIsAnError) {
  auto loop = MakeLoop();
  ChannelPairOptions options;
  options.futex = true;
  for (const int end : {0, 1, 2}) {
    auto pair = MakePair(options);
    Channel& channel = pair->accepting();
    const absl::Status status =
        end == 0   ? AsyncReceiver::Create(loop.get(), std::move(channel.receiver)).status()
        : end == 1 ? AsyncSender::Create(loop.get(), std::move(channel.sender)).status()
                   : AsyncChannel::Create(loop.get(), std::move(channel)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << end;
  }
}

// The one end could be added, the other one not: neither is.
TEST(ExecutorTest, AChannelWithOneEndThatCannotBePolledIsAnError) {
  for (const bool sender : {false, true}) {
    EXPECT_EQ(InAProcessOfItsOwn([&] {
                auto loop = MakeLoop();
                auto pair = MakePair();
                Channel& channel = pair->accepting();
                Waitable* const port =
                    sender ? channel.sender.waitable(0) : channel.receiver.waitable();
                // What wakes that end alone.
                const auto fd = static_cast<uint32_t>(port->polled()[1].fd);
                Refuse({SYS_epoll_ctl, ENOSPC, 2, ~0u, fd});
                return static_cast<int>(
                    AsyncChannel::Create(loop.get(), std::move(channel)).status().code());
              }),
              static_cast<int>(absl::StatusCode::kResourceExhausted))
        << sender;
  }
}

TEST(ExecutorTest, AListenerThatCannotBePolledIsAnError) {
  for (const bool made : {false, true}) {  // its own descriptor was made before, or cannot be
    for (const bool async : {false, true}) {
      EXPECT_EQ(InAProcessOfItsOwn([&] {
                  auto loop = MakeLoop();
                  const std::string name = "@parley-executor-" + std::to_string(::getpid());
                  auto listener = ChannelListener::Listen(name, {});
                  if (!listener.ok()) return -1;
                  if (made) {
                    if (!listener->descriptor().ok()) return -2;
                    Refuse({SYS_epoll_ctl, ENOSPC});
                  } else {
                    Refuse({SYS_epoll_create1, EMFILE});
                  }
                  if (async) {
                    return static_cast<int>(
                        AsyncListener::Create(loop.get(), *std::move(listener)).status().code());
                  }
                  return static_cast<int>(
                      AddListener(&loop->set(), &*listener, [](absl::StatusOr<Channel>) {})
                          .status()
                          .code());
                }),
                static_cast<int>(absl::StatusCode::kResourceExhausted))
          << made << async;
    }
  }
}

}  // namespace
}  // namespace parley
