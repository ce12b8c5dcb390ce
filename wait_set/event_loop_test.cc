// SPDX-License-Identifier: Apache-2.0

// Built without exceptions and without type information.

#include "parley/wait_set/event_loop.h"

#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>
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
#include "parley/sealing/file_registry.h"
#include "parley/testing/channel_pair.h"
#include "parley/wait_set/async_channel.h"
#include "parley/wait_set/task.h"

namespace {
std::atomic<uint64_t> allocations{0};
}  // namespace

// Counts what is allocated in this program.
void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);  // RELAXED: a count
  if (void* const memory = std::malloc(size)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace parley {
namespace {

using testing::ChannelPair;
using Ran = WaitSet::Ran;

Deadline In(int ms) { return Deadline::After(absl::Milliseconds(ms)); }
Deadline Generous() { return In(20'000); }

absl::Span<const std::byte> Bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::unique_ptr<EventLoop> MakeLoop() {
  auto loop = EventLoop::Create();
  EXPECT_TRUE(loop.ok()) << loop.status();
  return *std::move(loop);
}

std::unique_ptr<ChannelPair> MakePair() {
  auto pair = ChannelPair::Create({});
  EXPECT_TRUE(pair.ok()) << pair.status();
  return *std::move(pair);
}

AsyncChannel MakeAsync(EventLoop* loop, Channel channel) {
  auto made = AsyncChannel::Create(loop, std::move(channel));
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

// --- tasks ---------------------------------------------------------------------------------------

Task<int> Twice(int number) { co_return 2 * number; }

Task<void> Count(int times, int* sum) {
  for (int i = 0; i < times; ++i) *sum += co_await Twice(1);
}

TEST(TaskTest, ALoopOverTasksThatEndAtOnceNeedsNoStack) {
  auto loop = MakeLoop();
  int sum = 0;
  loop->Spawn(Count(1'000'000, &sum));
  EXPECT_EQ(sum, 2'000'000);
  EXPECT_EQ(loop->tasks(), 0u);
}

TEST(TaskTest, ATaskThatIsNeverAwaitedIsDestroyed) {
  int sum = 0;
  {
    const Task<void> task = Count(1, &sum);
  }
  EXPECT_EQ(sum, 0);
}

// --- ends of channels ----------------------------------------------------------------------------

Task<void> Echo(AsyncChannel channel, int* echoed, absl::Status* end) {
  while (true) {
    const absl::StatusOr<Message> message = co_await channel.receiver.Next(Generous());
    if (!message.ok()) {
      *end = message.status();
      co_return;
    }
    const absl::Status sent =
        co_await channel.sender.Send(message->tag, message->bytes, Generous());
    if (!sent.ok()) {
      *end = sent;
      co_return;
    }
    ++*echoed;
  }
}

TEST(EventLoopTest, EachChannelIsServedAsIfItHadAThread) {
  constexpr int kChannels = 20;
  constexpr int kMessages = 50;
  auto loop = MakeLoop();
  std::vector<std::unique_ptr<ChannelPair>> pairs;
  std::vector<int> echoed(kChannels);
  std::vector<absl::Status> ends(kChannels);
  for (std::size_t i = 0; i < kChannels; ++i) {
    pairs.push_back(MakePair());
    loop->Spawn(
        Echo(MakeAsync(loop.get(), std::move(pairs[i]->accepting())), &echoed[i], &ends[i]));
  }
  EXPECT_EQ(loop->tasks(), std::size_t{kChannels});
  std::thread peer([&] {
    std::vector<std::byte> buffer(1024);
    for (int round = 0; round < kMessages; ++round) {
      for (auto& pair : pairs) {
        Channel& channel = pair->connecting();
        EXPECT_TRUE(channel.sender.Send(1, Bytes("hello"), Generous()).ok());
        EXPECT_TRUE(channel.receiver.Receive(absl::MakeSpan(buffer), Generous()).ok());
      }
    }
    for (auto& pair : pairs) pair->connecting().sender.Close();
  });
  EXPECT_EQ(loop->Run(Generous()), Ran::kHandlers);
  peer.join();
  EXPECT_EQ(loop->tasks(), 0u);
  for (std::size_t i = 0; i < kChannels; ++i) {
    EXPECT_EQ(echoed[i], kMessages);
    EXPECT_EQ(ends[i].code(), absl::StatusCode::kOutOfRange) << ends[i];
  }
}

TEST(EventLoopTest, DeathIsAnErrorValue) {
  auto loop = MakeLoop();
  auto pair = MakePair();
  int echoed = 0;
  absl::Status end;
  loop->Spawn(Echo(MakeAsync(loop.get(), std::move(pair->accepting())), &echoed, &end));
  pair->connecting() = Channel();
  EXPECT_EQ(loop->Run(Generous()), Ran::kHandlers);
  EXPECT_EQ(end.code(), absl::StatusCode::kUnavailable) << end;
}

Task<void> SendMany(AsyncSender* sender, int count, absl::Status* last) {
  const std::string message(1000, 'x');
  for (int i = 0; i < count; ++i) {
    *last = co_await sender->Send(7, Bytes(message), Generous());
    if (!last->ok()) co_return;
  }
}

TEST(EventLoopTest, SendingWaitsForFreeSpace) {
  constexpr int kMessages = 500;
  auto loop = MakeLoop();
  auto pair = MakePair();
  AsyncChannel channel = MakeAsync(loop.get(), std::move(pair->accepting()));
  absl::Status last;
  std::thread peer([&] {
    std::vector<std::byte> buffer(1024);
    absl::Status received;
    for (int i = 0; i < kMessages && received.ok(); ++i) {
      received = pair->connecting().receiver.Receive(absl::MakeSpan(buffer), Generous()).status();
    }
    EXPECT_TRUE(received.ok()) << received;
  });
  loop->Spawn(SendMany(&channel.sender, kMessages, &last));
  EXPECT_EQ(loop->Run(Generous()), Ran::kHandlers);
  peer.join();
  EXPECT_TRUE(last.ok()) << last;
  // Too long is an answer, not a wait.
  const std::string long_message(5000, 'x');
  loop->Spawn([](AsyncSender* sender, const std::string* bytes, absl::Status* end) -> Task<void> {
    *end = co_await sender->Send(1, Bytes(*bytes), Generous());
  }(&channel.sender, &long_message, &last));
  EXPECT_EQ(last.code(), absl::StatusCode::kInvalidArgument);
}

// What the peer does then does not reach an end that we closed.
TEST(EventLoopTest, ACloseEndsTheSendThatWaits) {
  auto loop = MakeLoop();
  auto pair = MakePair();
  AsyncChannel channel = MakeAsync(loop.get(), std::move(pair->accepting()));
  absl::Status last;
  loop->Spawn(SendMany(&channel.sender, 500, &last));
  ASSERT_EQ(loop->tasks(), 1u);  // there is no room
  channel.sender.plain().Close();
  std::vector<std::byte> buffer(1024);
  while (pair->connecting().receiver.Receive(absl::MakeSpan(buffer), Generous()).ok()) {
  }
  EXPECT_EQ(loop->Run(Generous()), Ran::kHandlers);
  EXPECT_EQ(last.code(), absl::StatusCode::kCancelled) << last;
}

Task<void> AwaitOne(AsyncReceiver* receiver, Deadline deadline, absl::Status* end) {
  *end = (co_await receiver->Next(deadline)).status();
}

TEST(EventLoopTest, ADeadlineIsKept) {
  auto loop = MakeLoop();
  auto pair = MakePair();
  AsyncChannel channel = MakeAsync(loop.get(), std::move(pair->accepting()));
  absl::Status end;
  for (const int ms : {0, 5}) {
    end = absl::OkStatus();
    loop->Spawn(AwaitOne(&channel.receiver, In(ms), &end));
    EXPECT_EQ(loop->Run(Generous()), Ran::kHandlers);
    EXPECT_EQ(end.code(), absl::StatusCode::kDeadlineExceeded) << end;
  }
  ASSERT_EQ(pair->connecting().sender.TrySend(1, {}), Outcome::kOk);
  loop->Spawn(AwaitOne(&channel.receiver, In(0), &end));
  EXPECT_TRUE(end.ok()) << end;
}

// --- lifetimes -----------------------------------------------------------------------------------

TEST(EventLoopTest, APortThatEndsResumesItsCoroutineWithAnError) {
  auto loop = MakeLoop();
  auto pair = MakePair();
  std::optional<AsyncChannel> channel = MakeAsync(loop.get(), std::move(pair->accepting()));
  absl::Status end;
  loop->Spawn(AwaitOne(&channel->receiver, Generous(), &end));
  loop->set().RunOnce(In(1));
  channel.reset();
  EXPECT_EQ(loop->tasks(), 1u);
  EXPECT_EQ(loop->Run(Generous()), Ran::kHandlers);
  EXPECT_EQ(end.code(), absl::StatusCode::kCancelled) << end;
}

TEST(EventLoopTest, ALoopThatEndsResumesAllWithAnError) {
  auto loop = MakeLoop();
  auto pair = MakePair();
  auto other = MakePair();
  AsyncChannel channel = MakeAsync(loop.get(), std::move(pair->accepting()));
  absl::Status end;
  absl::Status slept;
  absl::Status again;
  int echoed = 0;
  absl::Status echo_end;
  loop->Spawn(
      [](EventLoop* l, AsyncReceiver* r, absl::Status* first, absl::Status* second) -> Task<void> {
        *first = co_await l->Sleep(Generous());
        *second = (co_await r->Next(Generous())).status();
      }(loop.get(), &channel.receiver, &slept, &again));
  loop->Spawn(AwaitOne(&channel.receiver, Generous(), &end));
  loop->Spawn(Echo(MakeAsync(loop.get(), std::move(other->accepting())), &echoed, &echo_end));
  EXPECT_EQ(loop->tasks(), 3u);
  loop->set().RunOnce(In(1));
  loop.reset();
  for (const absl::Status& status : {end, slept, again, echo_end}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
  }
  // The end outlives its loop, and is what it was for everything else.
  ASSERT_EQ(pair->connecting().sender.TrySend(1, Bytes("hello")), Outcome::kOk);
  std::vector<std::byte> buffer(1024);
  EXPECT_TRUE(channel.receiver.plain().Receive(absl::MakeSpan(buffer), Generous()).ok());
}

// Waits for something that is no loop's, for ever.
Task<void> Stuck(std::shared_ptr<int> held) {
  co_await std::suspend_always();
  *held = 0;
}

Task<void> AwaitStuck(std::shared_ptr<int> held) { co_await Stuck(std::move(held)); }

TEST(EventLoopTest, WhatTheEndCannotFinishIsDestroyed) {
  auto held = std::make_shared<int>(7);
  auto loop = MakeLoop();
  loop->Spawn(AwaitStuck(held));
  EXPECT_EQ(held.use_count(), 2);
  EXPECT_EQ(loop->tasks(), 1u);
  loop.reset();
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(*held, 7);
}

TEST(EventLoopTest, ACoroutineDestroysItsOwnEndWhileAnotherAwaitsTheLoop) {
  auto loop = MakeLoop();
  auto pair = MakePair();
  absl::Status end;
  auto channel =
      std::make_unique<AsyncChannel>(MakeAsync(loop.get(), std::move(pair->accepting())));
  loop->Spawn([](std::unique_ptr<AsyncChannel>* c, absl::Status* e) -> Task<void> {
    *e = (co_await (*c)->receiver.Next(Generous())).status();
    c->reset();  // in the handler of its own registration
  }(&channel, &end));
  ASSERT_EQ(pair->connecting().sender.TrySend(1, {}), Outcome::kOk);
  EXPECT_EQ(loop->Run(Generous()), Ran::kHandlers);
  EXPECT_TRUE(end.ok());
  EXPECT_EQ(channel, nullptr);
}

TEST(EventLoopTest, SleepersWakeInOrder) {
  auto loop = MakeLoop();
  std::vector<int> order;
  const int64_t now_ns = MonotonicNowNs();
  for (const int ms : {9, 3, 6}) {
    loop->Spawn([](EventLoop* l, Deadline until, std::vector<int>* o, int n) -> Task<void> {
      EXPECT_TRUE((co_await l->Sleep(until)).ok());
      EXPECT_TRUE(until.Expired());
      o->push_back(n);
    }(loop.get(), Deadline::AtMonotonicNs(now_ns + ms * 1'000'000), &order, ms));
  }
  EXPECT_EQ(loop->Run(Generous()), Ran::kHandlers);
  EXPECT_EQ(order, (std::vector<int>{3, 6, 9}));
}

// --- fairness and cost ---------------------------------------------------------------------------

Task<void> TakeForEver(AsyncReceiver* receiver, int* taken) {
  while (true) {
    const absl::StatusOr<Message> message = co_await receiver->Next(Generous());
    if (!message.ok()) co_return;
    ++*taken;
  }
}

// A coroutine whose peer always has a message ready never waits: it must let go all the same.
TEST(EventLoopTest, AttackW15APeerThatAlwaysHasAMessageGetsOneTurn) {
  auto loop = MakeLoop();
  auto busy = MakePair();
  auto quiet = MakePair();
  AsyncChannel first = MakeAsync(loop.get(), std::move(busy->accepting()));
  AsyncChannel second = MakeAsync(loop.get(), std::move(quiet->accepting()));
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(busy->connecting().sender.TrySend(1, {}), Outcome::kOk);
  }
  int taken = 0;
  absl::Status end = absl::UnknownError("");
  loop->Spawn(TakeForEver(&first.receiver, &taken));
  EXPECT_EQ(taken, EventLoop::kMaxAtOnce);
  loop->Spawn(AwaitOne(&second.receiver, Generous(), &end));
  ASSERT_EQ(quiet->connecting().sender.TrySend(1, {}), Outcome::kOk);
  while (!end.ok()) loop->set().RunOnce(Generous());
  EXPECT_LE(taken, 4 * EventLoop::kMaxAtOnce);
}

TEST(EventLoopTest, AnAwaitAllocatesNothing) {
  auto loop = MakeLoop();
  auto pair = MakePair();
  int echoed = 0;
  absl::Status end;
  loop->Spawn(Echo(MakeAsync(loop.get(), std::move(pair->accepting())), &echoed, &end));
  std::vector<std::byte> buffer(1024);
  const auto round_trips = [&](int count) {
    Record record;
    for (int i = 0; i < count; ++i) {
      ASSERT_EQ(pair->connecting().sender.TrySend(1, {}), Outcome::kOk);
      const int before = echoed;
      while (echoed == before) loop->set().RunOnce(Generous());
      ASSERT_EQ(pair->connecting().receiver.TryReceive(absl::MakeSpan(buffer), &record),
                Outcome::kOk);
    }
  };
  round_trips(100);  // what grows has grown
  const uint64_t before = allocations.load();
  round_trips(1000);
  EXPECT_EQ(allocations.load() - before, 0u);
  loop.reset();  // and the channel's end, before the pair
}

// --- listening -----------------------------------------------------------------------------------

Task<void> AcceptThree(EventLoop* loop, AsyncListener* listener, int* echoed,
                       std::vector<absl::Status>* ends) {
  for (int i = 0; i < 3; ++i) {
    auto channel = co_await listener->Accept(Generous());
    if (!channel.ok()) co_return;
    loop->Spawn(
        Echo(MakeAsync(loop, *std::move(channel)), echoed, &(*ends)[static_cast<std::size_t>(i)]));
  }
}

TEST(EventLoopTest, AListenerIsAwaited) {
  auto loop = MakeLoop();
  const std::string name = "@parley-event-loop-" + std::to_string(::getpid());
  auto plain = ChannelListener::Listen(name, {});
  ASSERT_TRUE(plain.ok()) << plain.status();
  auto listener = AsyncListener::Create(loop.get(), *std::move(plain));
  ASSERT_TRUE(listener.ok()) << listener.status();
  int echoed = 0;
  std::vector<absl::Status> ends(3);
  loop->Spawn(AcceptThree(loop.get(), &*listener, &echoed, &ends));
  std::thread peer([&] {
    FileRegistry registry;
    ConnectOptions options;
    options.registry = &registry;
    for (int i = 0; i < 3; ++i) {
      auto channel = ConnectChannel(name, options, Generous());
      ASSERT_TRUE(channel.ok()) << channel.status();
      std::vector<std::byte> buffer(channel->receiver.max_message_bytes());
      EXPECT_TRUE(channel->sender.Send(1, Bytes("hello"), Generous()).ok());
      EXPECT_TRUE(channel->receiver.Receive(absl::MakeSpan(buffer), Generous()).ok());
      channel->sender.Close();
    }
  });
  EXPECT_EQ(loop->Run(Generous()), Ran::kHandlers);
  peer.join();
  EXPECT_EQ(echoed, 3);
}

TEST(EventLoopDeathTest, TwoCoroutinesOnOneEndAbort) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  absl::Status end;  // which the coroutine writes when the loop ends
  auto loop = MakeLoop();
  auto pair = MakePair();
  AsyncChannel channel = MakeAsync(loop.get(), std::move(pair->accepting()));
  loop->Spawn(AwaitOne(&channel.receiver, Generous(), &end));
  EXPECT_DEATH(loop->Spawn(AwaitOne(&channel.receiver, Generous(), &end)), "one coroutine");
}

}  // namespace
}  // namespace parley
