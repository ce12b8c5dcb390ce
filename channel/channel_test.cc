// SPDX-License-Identifier: Apache-2.0
#include "parley/channel/channel.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/violation.h"
#include "parley/channel/hostile_access.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/connected_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/disposal.h"
#include "parley/os/unique_fd.h"
#include "parley/ring/layout.h"
#include "parley/sealing/file_registry.h"
#include "parley/sealing/guarded_range.h"
#include "parley/testing/slow_files.h"
#include "parley/wait/layout.h"
#include "parley/wait/memory_barrier.h"
#include "parley/wait/signaller.h"
#include "parley/wait/wait_options.h"

namespace parley {
namespace {

Deadline In(int milliseconds) { return Deadline::After(absl::Milliseconds(milliseconds)); }

int64_t ProcessorTimeNs() {
  timespec now;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

absl::Span<const std::byte> Bytes(const std::string& text) {
  return absl::MakeConstSpan(reinterpret_cast<const std::byte*>(text.data()), text.size());
}

// Both ends in this process; each with a set of held memory of its own.
struct Ends {
  FileRegistry registry_a;
  FileRegistry registry_b;
  Channel a;  // accepting
  Channel b;  // connecting
};

enum class Kind { kSocket, kEventfd, kFutex, kAsymmetricFences, kFutexAsymmetricFences };

bool IsFutex(Kind kind) { return kind == Kind::kFutex || kind == Kind::kFutexAsymmetricFences; }

std::unique_ptr<Ends> MakeEnds(Kind kind, const WaitOptions& wait = {},
                               RingRequest ring = {4096, 1024}) {
  const bool eventfd = kind == Kind::kEventfd || kind == Kind::kAsymmetricFences;
  auto ends = std::make_unique<Ends>();
  AcceptOptions accept;
  accept.registry = &ends->registry_a;
  if (eventfd) accept.trust = PeerTrust::Because("both ends are this test");
  accept.send = ring;
  accept.receive = ring;
  ConnectOptions connect;
  connect.registry = &ends->registry_b;
  if (eventfd) connect.trust = PeerTrust::Because("both ends are this test");
  if (IsFutex(kind)) {
    accept.doorbell = DoorbellKind::kFutex;
    connect.doorbell = DoorbellKind::kFutex;
  }
  if (kind == Kind::kAsymmetricFences || kind == Kind::kFutexAsymmetricFences) {
    accept.fences = FenceMode::kAsymmetric;
    connect.fences = FenceMode::kAsymmetric;
  }
  auto pair = PeerSocket::Pair();
  absl::StatusOr<Channel> b = absl::UnknownError("");
  std::thread other([&] { b = ConnectChannel(std::move(pair->second), connect, In(5000), wait); });
  auto a = AcceptChannel(std::move(pair->first), accept, In(5000), wait);
  other.join();
  EXPECT_TRUE(a.ok()) << a.status();
  EXPECT_TRUE(b.ok()) << b.status();
  ends->a = *std::move(a);
  ends->b = *std::move(b);
  return ends;
}

struct ChannelTest : ::testing::TestWithParam<Kind> {
  std::unique_ptr<Ends> ends = MakeEnds(GetParam());
  std::vector<std::byte> buffer = std::vector<std::byte>(1024);

  // Into memory of its own: two threads may receive, each at its end.
  absl::StatusOr<std::string> Receive(Receiver& receiver, Deadline deadline) {
    std::vector<std::byte> into(buffer.size());
    auto record = receiver.Receive(absl::MakeSpan(into), deadline);
    if (!record.ok()) return record.status();
    return std::string(reinterpret_cast<const char*>(into.data()), record->size_bytes);
  }
};

INSTANTIATE_TEST_SUITE_P(Doorbells, ChannelTest,
                         ::testing::Values(Kind::kSocket, Kind::kEventfd, Kind::kFutex,
                                           Kind::kAsymmetricFences, Kind::kFutexAsymmetricFences),
                         [](const auto& kind) {
                           switch (kind.param) {
                             case Kind::kSocket:
                               return "Socket";
                             case Kind::kEventfd:
                               return "Eventfd";
                             case Kind::kFutex:
                               return "Futex";
                             case Kind::kAsymmetricFences:
                               return "AsymmetricFences";
                             case Kind::kFutexAsymmetricFences:
                               return "FutexAsymmetricFences";
                           }
                           return "";
                         });

TEST_P(ChannelTest, BothDirections) {
  EXPECT_EQ(ends->a.id, ends->b.id);
  EXPECT_TRUE(ends->a.sender.Send(1, Bytes("ping"), In(1000)).ok());
  EXPECT_EQ(*Receive(ends->b.receiver, In(1000)), "ping");
  EXPECT_TRUE(ends->b.sender.Send(2, Bytes("pong"), In(1000)).ok());
  EXPECT_EQ(*Receive(ends->a.receiver, In(1000)), "pong");
  EXPECT_EQ(ends->a.receiver.stats().messages, 1u);
  EXPECT_EQ(ends->a.receiver.stats().bytes, 16u);  // 8 for the header, and padded
}

TEST_P(ChannelTest, PromiseP2TimeEachWaitKeepsItsDeadline) {
  int64_t start_ns = MonotonicNowNs();
  EXPECT_EQ(Receive(ends->b.receiver, In(50)).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(MonotonicNowNs() - start_ns, 50'000'000);
  while (ends->a.sender.TrySend(1, Bytes(std::string(1000, 'x'))) == Outcome::kOk) {
  }
  start_ns = MonotonicNowNs();
  EXPECT_EQ(ends->a.sender.Send(1, Bytes(std::string(1000, 'x')), In(50)).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(MonotonicNowNs() - start_ns, 50'000'000);
  EXPECT_EQ(ends->a.sender.AwaitDrained(In(10)).code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_P(ChannelTest, ASleepingReceiverIsWoken) {
  std::thread peer([&] {
    for (int i = 0; i < 50; ++i) {
      ::usleep(2000);
      EXPECT_EQ(ends->a.sender.Send(1, Bytes(std::to_string(i)), In(5000)), absl::OkStatus());
    }
  });
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(*Receive(ends->b.receiver, In(5000)), std::to_string(i));
  }
  peer.join();
  EXPECT_GT(ends->b.receiver.stats().sleeps, 0u);
  EXPECT_GT(ends->b.receiver.stats().wakeups, 0u);
  // At most one ring for each sleep: none for messages that nobody waits for.
  EXPECT_LE(ends->a.sender.stats().signals, ends->b.receiver.stats().sleeps + 1);
}

TEST_P(ChannelTest, ASleepingSenderIsWokenWhenThereIsFreeSpace) {
  constexpr int kMessages = 500;
  std::thread peer([&] {
    for (int i = 0; i < kMessages; ++i) {
      if (i % 50 == 0) ::usleep(2000);
      EXPECT_TRUE(Receive(ends->b.receiver, In(5000)).ok());
    }
  });
  std::vector<std::byte> payload(900);
  for (int i = 0; i < kMessages; ++i) {
    auto room = ends->a.sender.Reserve(900, In(5000));
    ASSERT_TRUE(room.ok()) << room.status();
    std::memcpy(room->data(), payload.data(), payload.size());
    ends->a.sender.Commit(1, 900);
  }
  EXPECT_TRUE(ends->a.sender.AwaitDrained(In(5000)).ok());
  peer.join();
}

// Being pinned is how low latency is asked for; the peer may be on another processor.
TEST_P(ChannelTest, AnEndThatIsPinnedToOneProcessorOfSeveralSpins) {
  if (::sysconf(_SC_NPROCESSORS_ONLN) < 2) GTEST_SKIP() << "there is one processor";
  cpu_set_t before;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(before), &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(::sched_getcpu()), &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
  ends = MakeEnds(GetParam(), WaitOptions::LowestLatency());
  EXPECT_EQ(Receive(ends->b.receiver, In(5)).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(::sched_setaffinity(0, sizeof(before), &before), 0);
  // Three in the spin, each of a twentieth of it, which make way for a peer on the same processor;
  // and at the deadline the last poll is one of a sleep, which ends at once.
  EXPECT_LE(ends->b.receiver.stats().sleeps, 4u);
}

// Under SCHED_FIFO a spin on the processor that the peer needs would keep it away for the whole
// spin, which is a second long. The peer may have a lower priority, and some work to do.
TEST_P(ChannelTest, RealTimeEndsOnOneProcessorMakeWayForEachOther) {
  const int processor = ::sched_getcpu();
  struct Pair {
    int rounds, our_priority;
    absl::Duration work;
  };
  for (const Pair& pair :
       {Pair{300, 1, absl::ZeroDuration()}, Pair{20, 2, absl::Microseconds(200)}}) {
    ends = MakeEnds(GetParam(), WaitOptions::LowestLatency());
    std::atomic<bool> real_time = true;
    const auto go_ahead = [&](int priority) {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(static_cast<std::size_t>(processor), &one);
      const sched_param parameters = {.sched_priority = priority};
      if (::sched_setaffinity(0, sizeof(one), &one) != 0 ||
          ::sched_setscheduler(0, SCHED_FIFO, &parameters) != 0) {
        real_time = false;
      }
      return real_time.load();
    };
    const Deadline deadline = In(800);  // less than one spin
    std::thread peer([&] {
      if (!go_ahead(1)) return;
      for (int i = 0; i < pair.rounds; ++i) {
        const auto text = Receive(ends->b.receiver, deadline);
        if (!real_time) return;
        ASSERT_TRUE(text.ok()) << i << ": " << text.status();
        for (const absl::Time end = absl::Now() + pair.work; absl::Now() < end;) {
        }
        ASSERT_TRUE(ends->b.sender.Send(1, Bytes(*text), deadline).ok());
      }
    });
    std::thread ours([&] {
      if (!go_ahead(pair.our_priority)) return;
      for (int i = 0; i < pair.rounds; ++i) {
        ASSERT_TRUE(ends->a.sender.Send(1, Bytes(std::to_string(i)), deadline).ok());
        const auto text = Receive(ends->a.receiver, deadline);
        if (!real_time) return;
        ASSERT_TRUE(text.ok()) << i << ": " << text.status();
        ASSERT_EQ(*text, std::to_string(i));
      }
    });
    peer.join();
    ours.join();
    if (!real_time) GTEST_SKIP() << "SCHED_FIFO needs the privilege to ask for it";
  }
}

// Each end sleeps in turn, with no spin: a lost wake-up would cost the whole deadline.
TEST_P(ChannelTest, ManyRoundTripsLoseNoWakeUp) {
  WaitOptions no_spin;
  no_spin.max_spin = absl::ZeroDuration();
  ends = MakeEnds(GetParam(), no_spin);
  constexpr int kRounds = 3000;
  std::thread peer([&] {
    std::vector<std::byte> into(1024);
    for (int i = 0; i < kRounds; ++i) {
      auto record = ends->b.receiver.Receive(absl::MakeSpan(into), In(20'000));
      ASSERT_TRUE(record.ok()) << record.status();
      ASSERT_TRUE(
          ends->b.sender.Send(1, absl::MakeConstSpan(into).first(record->size_bytes), In(20'000))
              .ok());
    }
  });
  for (int i = 0; i < kRounds; ++i) {
    ASSERT_TRUE(ends->a.sender.Send(1, Bytes(std::to_string(i)), In(20'000)).ok());
    auto text = Receive(ends->a.receiver, In(20'000));
    ASSERT_TRUE(text.ok()) << text.status();
    ASSERT_EQ(*text, std::to_string(i));
  }
  peer.join();
}

TEST_P(ChannelTest, SenderAndReceiverInTwoThreadsOfEachSide) {
  constexpr int kMessages = 5000;
  const auto send = [&](Sender& sender) {
    for (int i = 0; i < kMessages; ++i) {
      ASSERT_TRUE(sender.Send(1, Bytes(std::to_string(i)), In(20'000)).ok());
    }
    sender.Close();
  };
  const auto receive = [&](Receiver& receiver) {
    std::vector<std::byte> into(1024);
    for (int i = 0; i < kMessages; ++i) {
      auto record = receiver.Receive(absl::MakeSpan(into), In(20'000));
      ASSERT_TRUE(record.ok()) << record.status();
      ASSERT_EQ(std::string(reinterpret_cast<const char*>(into.data()), record->size_bytes),
                std::to_string(i));
    }
    EXPECT_EQ(receiver.Receive(absl::MakeSpan(into), In(20'000)).status().code(),
              absl::StatusCode::kOutOfRange);
  };
  std::thread threads[] = {
      std::thread([&] { send(ends->a.sender); }), std::thread([&] { receive(ends->a.receiver); }),
      std::thread([&] { send(ends->b.sender); }), std::thread([&] { receive(ends->b.receiver); })};
  for (std::thread& t : threads) t.join();
}

TEST_P(ChannelTest, CloseDeliversEverythingThenEnds) {
  EXPECT_TRUE(ends->a.sender.Send(1, Bytes("one"), In(1000)).ok());
  EXPECT_EQ(ends->a.sender.TryStage(1, Bytes("two")), Outcome::kOk);
  ends->a.sender.Close();
  ends->a = Channel();  // and the process goes away
  EXPECT_EQ(*Receive(ends->b.receiver, In(1000)), "one");
  EXPECT_EQ(*Receive(ends->b.receiver, In(1000)), "two");
  EXPECT_EQ(Receive(ends->b.receiver, In(1000)).status().code(), absl::StatusCode::kOutOfRange);
}

TEST_P(ChannelTest, AReceiverThatClosesEndsTheSender) {
  ends->b.receiver.Close();
  absl::Status status;
  for (int i = 0; i < 100 && status.ok(); ++i) {
    status = ends->a.sender.Send(1, Bytes(std::string(1000, 'x')), In(1000));
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange) << status;
}

TEST_P(ChannelTest, ACloseWakesASleeper) {
  std::thread peer([&] {
    ::usleep(50'000);
    ends->a.sender.Close();
  });
  int64_t start_ns = MonotonicNowNs();
  EXPECT_EQ(Receive(ends->b.receiver, In(20'000)).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_LT(MonotonicNowNs() - start_ns, int64_t{10} * 1'000'000'000);
  peer.join();
  // And one that waits for room.
  while (ends->b.sender.TrySend(1, Bytes(std::string(1000, 'x'))) == Outcome::kOk) {
  }
  std::thread taker([&] {
    ::usleep(50'000);
    ends->a.receiver.Close();
  });
  start_ns = MonotonicNowNs();
  EXPECT_EQ(ends->b.sender.Send(1, Bytes(std::string(1000, 'x')), In(20'000)).code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_LT(MonotonicNowNs() - start_ns, int64_t{10} * 1'000'000'000);
  taker.join();
}

TEST_P(ChannelTest, DeathWithoutCloseDeliversWhatWasSentThenSaysSo) {
  EXPECT_TRUE(ends->a.sender.Send(1, Bytes("last"), In(1000)).ok());
  ends->a = Channel();
  EXPECT_EQ(*Receive(ends->b.receiver, In(1000)), "last");
  EXPECT_EQ(Receive(ends->b.receiver, In(1000)).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Receive(ends->b.receiver, In(1000)).status().code(), absl::StatusCode::kUnavailable);
  absl::Status status;
  for (int i = 0; i < 100 && status.ok(); ++i) {
    status = ends->b.sender.Send(1, Bytes(std::string(1000, 'x')), In(1000));
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
}

// Also where its socket cannot be closed yet: descriptors may lie in its queue, and there is no
// helper that could close it (os/disposal.h).
TEST_P(ChannelTest, AttackF12AnEndIsSeenWhoeverKeepsUsFromClosing) {
  EXPECT_EQ(testing_support::RunInChild([&] {
              ends = MakeEnds(GetParam());
              AllowRights(HostileAccess::ConnectionOf(ends->a.sender));  // as before Linux 6.16
              testing_support::FailSystemCall(SYS_clone, EAGAIN);
              ends->a = Channel();
              EXPECT_EQ(TendDisposal().parked, 1u);
              EXPECT_EQ(Receive(ends->b.receiver, In(20'000)).status().code(),
                        absl::StatusCode::kUnavailable);
            }),
            "ok");
}

TEST_P(ChannelTest, DeathWakesASleeper) {
  std::thread peer([&] {
    ::usleep(50'000);
    ends->a = Channel();
  });
  const int64_t start_ns = MonotonicNowNs();
  EXPECT_EQ(Receive(ends->b.receiver, In(20'000)).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_LT(MonotonicNowNs() - start_ns, int64_t{10} * 1'000'000'000);
  peer.join();
}

// A spin of up to a second sees a death, and a poisoned channel, all the same.
TEST_P(ChannelTest, ALongSpinKeepsTheDeadlineAndSeesTheEnd) {
  ends = MakeEnds(GetParam(), WaitOptions::LowestLatency());
  const int64_t start_ns = MonotonicNowNs();
  EXPECT_EQ(Receive(ends->a.receiver, In(20)).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(MonotonicNowNs() - start_ns, 20'000'000);
  std::thread other([&] {
    absl::SleepFor(absl::Milliseconds(20));
    ends->b = Channel();
  });
  EXPECT_EQ(Receive(ends->a.receiver, In(900)).status().code(), absl::StatusCode::kUnavailable);
  other.join();
}

TEST_P(ChannelTest, PeekSeesInPlaceAndReleaseGivesBack) {
  EXPECT_TRUE(ends->a.sender.Send(4, Bytes("frame"), In(1000)).ok());
  auto peeked = ends->b.receiver.Peek(In(1000));
  ASSERT_TRUE(peeked.ok());
  EXPECT_EQ(peeked->record.tag, 4u);
  std::vector<std::byte> copy(peeked->view.size_bytes());
  peeked->view.CopyTo(0, absl::MakeSpan(copy));
  EXPECT_EQ(std::memcmp(copy.data(), "frame", 5), 0);
  ends->b.receiver.Release();
  EXPECT_TRUE(ends->a.sender.AwaitDrained(In(1000)).ok());
}

TEST_P(ChannelTest, AnEventLoopPollsTheDescriptor) {
  if (IsFutex(GetParam())) GTEST_SKIP() << "nothing to poll";
  ASSERT_TRUE(ends->b.receiver.PrepareToWait());
  std::thread peer([&] {
    ::usleep(20'000);
    EXPECT_TRUE(ends->a.sender.Send(1, Bytes("event"), In(1000)).ok());
  });
  pollfd entry = {ends->b.receiver.descriptor(), POLLIN, 0};
  ASSERT_EQ(::poll(&entry, 1, 10'000), 1);
  EXPECT_TRUE(ends->b.receiver.FinishWait().ok());
  Record record;
  EXPECT_EQ(ends->b.receiver.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kOk);
  peer.join();
  EXPECT_TRUE(ends->b.receiver.PrepareToWait());
  EXPECT_EQ(::poll(&entry, 1, 0), 0);
  EXPECT_TRUE(ends->a.sender.Send(1, Bytes("x"), In(1000)).ok());
  EXPECT_FALSE(ends->b.receiver.PrepareToWait());

  int sent = 1;  // the "x" above
  while (ends->a.sender.TrySend(1, Bytes(std::string(1000, 'x'))) == Outcome::kOk) ++sent;
  ASSERT_TRUE(ends->a.sender.PrepareToWait(1000));
  pollfd room = {ends->a.sender.descriptor(), POLLIN, 0};
  ASSERT_EQ(::poll(&room, 1, 0), 0);
  for (int i = 0; i < sent / 2; ++i) EXPECT_TRUE(Receive(ends->b.receiver, In(1000)).ok());
  ASSERT_EQ(::poll(&room, 1, 10'000), 1);
  EXPECT_TRUE(ends->a.sender.FinishWait(1000).ok());
  EXPECT_EQ(ends->a.sender.TrySend(1, Bytes(std::string(1000, 'x'))), Outcome::kOk);
}

// With a timer, say: the peer did not ring, so it is no flood.
TEST_P(ChannelTest, AnEventLoopThatPollsWithoutAWakeUpBlamesNobody) {
  if (IsFutex(GetParam())) GTEST_SKIP() << "nothing to poll";
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(ends->b.receiver.PrepareToWait());
    ASSERT_TRUE(ends->b.receiver.FinishWait().ok()) << i;
  }
  EXPECT_EQ(ends->b.receiver.stats().wakeups, 0u);
  EXPECT_TRUE(ends->a.sender.Send(1, Bytes("fine"), In(1000)).ok());
  EXPECT_EQ(*Receive(ends->b.receiver, In(1000)), "fine");
}

// --- the peer lies ----------------------------------------------------------------------------

TEST_P(ChannelTest, PromiseP6ContainmentAViolationEndsThisChannelOnly) {
  auto other = MakeEnds(GetParam());
  HostileAccess::Control(ends->a.sender).StoreRelease64(kTailOffset, ~uint64_t{0});
  HostileAccess::DoorbellOf(ends->a.sender).Signal();
  const auto got = Receive(ends->b.receiver, In(1000));
  EXPECT_EQ(got.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(std::string(got.status().message()).find("position out of range"), std::string::npos);
  EXPECT_EQ(ends->b.receiver.violation(), Violation::kProducerPositionOutOfRange);
  EXPECT_EQ(ends->b.receiver.stats().violations, 1u);
  // The other end of the same channel is poisoned as well, with the same reason, and for good.
  EXPECT_EQ(ends->b.sender.TrySend(1, Bytes("x")), Outcome::kPoisoned);
  EXPECT_EQ(ends->b.sender.violation(), Violation::kProducerPositionOutOfRange);
  // Another channel is not.
  EXPECT_TRUE(other->a.sender.Send(1, Bytes("fine"), In(1000)).ok());
  EXPECT_EQ(*Receive(other->b.receiver, In(1000)), "fine");
}

TEST_P(ChannelTest, AttackW3ADoorbellFloodIsThrottledThenAViolation) {
  WaitOptions wait;
  wait.throttles = 8;
  wait.spurious_refill = absl::Hours(1);
  ends = MakeEnds(GetParam(), wait);
  std::atomic<bool> stop{false};
  std::thread flood([&] {
    while (!stop.load(std::memory_order_relaxed)) {  // RELAXED: only ends the test
      HostileAccess::DoorbellOf(ends->a.sender).Signal();
    }
  });
  const auto got = Receive(ends->b.receiver, In(20'000));
  stop.store(true, std::memory_order_relaxed);  // RELAXED: only ends the test
  flood.join();
  EXPECT_EQ(got.status().code(), absl::StatusCode::kDataLoss) << got.status();
  EXPECT_EQ(ends->b.receiver.violation(), Violation::kDoorbellFlood);
  EXPECT_LE(ends->b.receiver.stats().wakeups, 64u + 8u + 1u);
  EXPECT_EQ(ends->b.receiver.stats().throttles, 8u);
}

// A consumer that takes the smallest records one by one and rings for each, while we wait for room
// for the largest: it is listened to less often, and it is no violation.
TEST_P(ChannelTest, PromiseP3WorkAPeerCannotWakeUsForEachByteItTakes) {
  ends = MakeEnds(GetParam(), {}, {1 << 20, (1 << 20) - 8});
  int records = 0;
  while (ends->a.sender.TrySend(1, {}) == Outcome::kOk) ++records;
  std::vector<std::byte> into(1 << 20);
  std::thread peer([&] {
    Record record;
    for (int i = 0; i < records; ++i) {
      ASSERT_EQ(ends->b.receiver.TryReceive(absl::MakeSpan(into), &record), Outcome::kOk);
      HostileAccess::DoorbellOf(ends->b.receiver).Signal();
    }
  });
  std::vector<std::byte> largest((1 << 20) - 8);
  const absl::Status sent = ends->a.sender.Send(1, largest, In(20'000));
  peer.join();
  EXPECT_TRUE(sent.ok()) << sent;
  EXPECT_LT(ends->a.sender.stats().wakeups, static_cast<uint64_t>(records) / 16);
}

// An honest peer's ring may come when its message was taken already. As long as messages come, that
// is no flood, however often it happens.
TEST_P(ChannelTest, LateSignalsOfAPeerThatMakesProgressAreNoFlood) {
  Record record;
  for (int i = 0; i < 300; ++i) {
    HostileAccess::DoorbellOf(ends->a.sender).Signal();
    const auto none = Receive(ends->b.receiver, In(1));
    ASSERT_EQ(none.status().code(), absl::StatusCode::kDeadlineExceeded) << none.status() << i;
    ASSERT_EQ(ends->a.sender.TrySend(1, Bytes("x")), Outcome::kOk);
    ASSERT_EQ(ends->b.receiver.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kOk);
  }
  EXPECT_EQ(ends->b.receiver.stats().throttles, 0u);
}

TEST_P(ChannelTest, SignalsForSleepsThatDidNotTakePlaceDoNotPileUp) {
  if (IsFutex(GetParam())) GTEST_SKIP() << "nothing to poll";
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(ends->b.receiver.PrepareToWait());
    ASSERT_TRUE(ends->a.sender.Send(1, Bytes("x"), In(1000)).ok());
    ASSERT_TRUE(Receive(ends->b.receiver, In(1000)).ok());
    // And the other way, where the doorbell may be the connection itself.
    ASSERT_TRUE(ends->a.receiver.PrepareToWait());
    ASSERT_TRUE(ends->b.sender.Send(1, Bytes("x"), In(1000)).ok());
    ASSERT_TRUE(Receive(ends->a.receiver, In(1000)).ok());
  }
  for (auto& [sender, receiver] : {std::pair(&ends->a.sender, &ends->b.receiver),
                                   std::pair(&ends->b.sender, &ends->a.receiver)}) {
    EXPECT_EQ(sender->stats().signals, 1000u);
    EXPECT_EQ(Receive(*receiver, In(50)).status().code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_LE(receiver->stats().spurious_wakeups, 1u);
  }
}

TEST_P(ChannelTest, AttackW9AWaitingLieCostsOneSignalPerLieAndOperation) {
  for (int i = 0; i < 100; ++i) {
    // "I wait" for ever, without a new epoch: one ring in all.
    HostileAccess::Control(ends->b.receiver).StoreRelease64(kReceiveEpochOffset, 77);
    EXPECT_EQ(ends->a.sender.TrySend(1, Bytes("x")), Outcome::kOk);
    EXPECT_TRUE(Receive(ends->b.receiver, In(1000)).ok());
  }
  EXPECT_LE(ends->a.sender.stats().signals, 2u);
}

// An honest peer that has nothing to say and calls what it may call: the old budget made a flood of
// it after 129 calls.
TEST_P(ChannelTest, AnHonestPeerThatIsIdleIsNoFlood) {
  std::atomic<bool> stop{false};
  std::atomic<int> rounds{0};
  std::thread idle([&] {
    while (!stop.load() || rounds.load() < 200) {
      ends->a.sender.Publish();
      if (!IsFutex(GetParam())) {
        EXPECT_TRUE(ends->a.receiver.PrepareToWait());
        EXPECT_FALSE(ends->a.sender.PrepareToWait(8));
      }
      EXPECT_TRUE(ends->a.sender.AwaitDrained(In(0)).ok());
      ends->a.receiver.Release();
      ++rounds;
    }
  });
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(Receive(ends->b.receiver, In(5)).status().code(),
              absl::StatusCode::kDeadlineExceeded);
  }
  stop.store(true);
  idle.join();
  EXPECT_EQ(ends->b.receiver.violation(), Violation::kNone);
  EXPECT_EQ(ends->b.receiver.stats().wakeups, 0u);
  EXPECT_EQ(ends->a.sender.stats().signals, 0u);
  EXPECT_EQ(ends->a.sender.TrySend(1, Bytes("still there")), Outcome::kOk);
  EXPECT_EQ(*Receive(ends->b.receiver, In(1000)), "still there");
}

// A violation or a death that one end finds wakes the other end of the same side at once; it slept
// to its deadline.
TEST_P(ChannelTest, WhatOneEndFindsWakesTheOther) {
  const Deadline start = In(0);
  std::thread receiver([&] {
    EXPECT_EQ(Receive(ends->b.receiver, In(20'000)).status().code(), absl::StatusCode::kDataLoss);
  });
  ::usleep(50'000);
  HostileAccess::Control(ends->a.receiver).StoreRelease64(kHeadOffset, uint64_t{1} << 40);
  while (ends->b.sender.TrySend(1, Bytes(std::string(1000, 'x'))) == Outcome::kOk) {
  }
  EXPECT_EQ(ends->b.sender.violation(), Violation::kConsumerPositionOutOfRange);
  receiver.join();
  EXPECT_LT(In(0).monotonic_ns() - start.monotonic_ns(), 5'000'000'000);
}

TEST_P(ChannelTest, AnInterruptEndsTheWaitOrTheNextOne) {
  const Deadline start = In(0);
  for (int i = 0; i < 3; ++i) {
    std::thread other([&] {
      ::usleep(i == 0 ? 0 : 20'000);
      ends->b.receiver.Interrupt();
    });
    EXPECT_EQ(Receive(ends->b.receiver, In(20'000)).status().code(), absl::StatusCode::kCancelled);
    other.join();
  }
  while (ends->a.sender.TrySend(1, Bytes(std::string(1000, 'x'))) == Outcome::kOk) {
  }
  std::thread other([&] { ends->a.sender.Interrupt(); });
  EXPECT_EQ(ends->a.sender.Send(1, Bytes(std::string(1000, 'x')), In(20'000)).code(),
            absl::StatusCode::kCancelled);
  other.join();
  // It counts once, and costs nothing else.
  EXPECT_TRUE(Receive(ends->b.receiver, In(1000)).ok());
  EXPECT_EQ(ends->b.receiver.violation(), Violation::kNone);
  EXPECT_LT(In(0).monotonic_ns() - start.monotonic_ns(), 15'000'000'000);
}

// However many come, asleep or in an event loop: none is a wake-up of the peer's. With an eventfd
// they were, and a few hundred ended the channel as a flood.
TEST_P(ChannelTest, InterruptsOfOurOwnAreNoFlood) {
  // Of a futex each ends a slice of the sleep.
  const int interrupts = IsFutex(GetParam()) ? 10 : 300;
  Receiver& receiver = ends->b.receiver;
  while (ends->b.sender.TrySend(1, Bytes(std::string(1000, 'x'))) == Outcome::kOk) {
  }
  const auto expect_cancelled = [&](auto interrupt, auto wait) {
    std::atomic<int> ended{0};
    std::thread other([&] {
      for (int i = 0; i < interrupts; ++i) {
        ::usleep(100);
        interrupt();
        while (ended.load() <= i) std::this_thread::yield();
      }
    });
    for (int i = 0; i < interrupts; ++i) {
      EXPECT_EQ(wait().code(), absl::StatusCode::kCancelled);
      ++ended;
    }
    other.join();
  };
  expect_cancelled([&] { receiver.Interrupt(); },
                   [&] { return Receive(receiver, In(20'000)).status(); });
  expect_cancelled(
      [&] { ends->b.sender.Interrupt(); },
      [&] { return ends->b.sender.Send(1, Bytes(std::string(1000, 'x')), In(20'000)); });
  for (int i = 0; i < interrupts && !IsFutex(GetParam()); ++i) {
    ASSERT_TRUE(receiver.PrepareToWait());
    receiver.Interrupt();
    EXPECT_EQ(receiver.FinishWait().code(), absl::StatusCode::kCancelled);
  }
  for (const WaitStats& stats : {receiver.stats(), ends->b.sender.stats()}) {
    EXPECT_EQ(stats.wakeups, 0u);
    EXPECT_EQ(stats.throttles, 0u);
  }
}

std::atomic<const Receiver*> interrupted_by_signal{nullptr};

TEST_P(ChannelTest, AnInterruptFromASignalHandler) {
  interrupted_by_signal.store(&ends->b.receiver);
  struct sigaction action = {};
  struct sigaction before = {};
  action.sa_handler = [](int) { interrupted_by_signal.load()->Interrupt(); };
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  const pthread_t self = ::pthread_self();
  std::thread other([&] {
    ::usleep(30'000);
    ::pthread_kill(self, SIGUSR1);
  });
  EXPECT_EQ(Receive(ends->b.receiver, In(20'000)).status().code(), absl::StatusCode::kCancelled);
  other.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_P(ChannelTest, AnInterruptReachesAnEventLoop) {
  if (IsFutex(GetParam())) GTEST_SKIP() << "nothing to poll";
  ASSERT_GE(ends->b.receiver.descriptor(), 0);
  ASSERT_TRUE(ends->b.receiver.PrepareToWait());
  pollfd entry = {ends->b.receiver.descriptor(), POLLIN, 0};
  EXPECT_EQ(::poll(&entry, 1, 0), 0);
  ends->b.receiver.Interrupt();
  EXPECT_EQ(::poll(&entry, 1, 10'000), 1);
  EXPECT_EQ(ends->b.receiver.FinishWait().code(), absl::StatusCode::kCancelled);
  ASSERT_TRUE(ends->b.receiver.PrepareToWait());
  EXPECT_EQ(::poll(&entry, 1, 0), 0);
}

// A caller that never waits learns of a death as well: both ends got kWouldBlock for ever.
TEST_P(ChannelTest, TryCallsAloneLearnOfADeath) {
  Record record;
  ASSERT_EQ(ends->a.sender.TrySend(1, Bytes("last")), Outcome::kOk);
  while (ends->b.sender.TrySend(1, Bytes(std::string(1000, 'x'))) == Outcome::kOk) {
  }
  ends->a = Channel();
  ASSERT_EQ(ends->b.receiver.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kOk);
  const Deadline give_up = In(20'000);
  Outcome received = Outcome::kWouldBlock;
  Outcome sent = Outcome::kWouldBlock;
  while ((received == Outcome::kWouldBlock || sent == Outcome::kWouldBlock) && !give_up.Expired()) {
    received = ends->b.receiver.TryReceive(absl::MakeSpan(buffer), &record);
    sent = ends->b.sender.TrySend(1, Bytes(std::string(1000, 'x')));
  }
  EXPECT_EQ(received, Outcome::kClosed);
  EXPECT_EQ(sent, Outcome::kClosed);
  EXPECT_TRUE(ends->b.receiver.peer_gone() && ends->b.sender.peer_gone());
  EXPECT_EQ(Receive(ends->b.receiver, In(0)).status().code(), absl::StatusCode::kUnavailable);
}

// A consumer that takes 8 bytes and signals, again and again.
class Trickle {
 public:
  explicit Trickle(Receiver& receiver)
      : thread_([this, &receiver] {
          uint64_t head = 0;
          while (!stop_.load()) {
            HostileAccess::Control(receiver).StoreRelease64(kHeadOffset, head += 8);
            HostileAccess::DoorbellOf(receiver).Signal();
            ::usleep(20);
          }
        }) {}
  void Stop() {
    stop_.store(true);
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// An event loop that waits for much
// more was woken 11,000 times a second.
TEST_P(ChannelTest, AttackW13AnEventLoopIsNotWokenForEachByte) {
  if (IsFutex(GetParam())) GTEST_SKIP() << "nothing to poll";
  ends = MakeEnds(GetParam(), {}, {1 << 20, (1 << 20) - 8});
  while (ends->a.sender.TrySend(1, {}) == Outcome::kOk) {
  }
  ASSERT_GE(ends->a.sender.descriptor(), 0);
  Trickle peer(ends->b.receiver);
  const int64_t start_ns = In(0).monotonic_ns();
  int polls = 0;
  const std::size_t largest = (1 << 20) - 8;
  while (In(0).monotonic_ns() - start_ns < 1'000'000'000) {
    if (!ends->a.sender.PrepareToWait(largest)) break;
    pollfd entry = {ends->a.sender.descriptor(), POLLIN, 0};
    ::poll(&entry, 1, 100);
    ++polls;
    ASSERT_TRUE(ends->a.sender.FinishWait(largest).ok());
  }
  peer.Stop();
  // 64 at once, 250 more in the second, 64 throttles of a millisecond, and one each 16 ms after
  // that (each may come twice, with its timer).
  EXPECT_LT(polls, 64 + 250 + 2 * (64 + 60));
  EXPECT_GT(ends->a.sender.stats().throttles, 0u);
}

// The same with both ends in the loop: the receiver's end drained what was for the throttled one,
// for nothing, 28,000 times a second.
TEST_P(ChannelTest, AttackW13AnEventLoopOfBothEndsIsNotWokenForEachByte) {
  if (IsFutex(GetParam())) GTEST_SKIP() << "nothing to poll";
  ends = MakeEnds(GetParam(), {}, {1 << 20, (1 << 20) - 8});
  while (ends->a.sender.TrySend(1, {}) == Outcome::kOk) {
  }
  ASSERT_GE(ends->a.sender.descriptor(), 0);
  ASSERT_GE(ends->a.receiver.descriptor(), 0);
  Trickle peer(ends->b.receiver);
  const int64_t start_ns = In(0).monotonic_ns();
  int polls = 0;
  const std::size_t largest = (1 << 20) - 8;
  while (In(0).monotonic_ns() - start_ns < 1'000'000'000) {
    if (!ends->a.sender.PrepareToWait(largest)) break;
    if (!ends->a.receiver.PrepareToWait()) break;
    std::array<pollfd, 2> entries = {
        {{ends->a.sender.descriptor(), POLLIN, 0}, {ends->a.receiver.descriptor(), POLLIN, 0}}};
    ::poll(entries.data(), entries.size(), 100);
    ++polls;
    ASSERT_TRUE(ends->a.receiver.FinishWait().ok());
    ASSERT_TRUE(ends->a.sender.FinishWait(largest).ok());
  }
  // What the peer says after all that arrives, and is no flood.
  buffer.resize(ends->a.receiver.max_message_bytes());
  EXPECT_EQ(ends->b.sender.TrySend(1, Bytes("x")), Outcome::kOk);
  EXPECT_EQ(*Receive(ends->a.receiver, In(10'000)), "x");
  peer.Stop();
  EXPECT_LT(polls, 64 + 250 + 4 * (64 + 60));
  EXPECT_EQ(ends->a.sender.violation(), Violation::kNone);
}

// Into a connection as before Linux 6.16: the channel's end took the three seconds of the file's
// last close (villain: slow-release-wake-up, without the newest kernels' help).
TEST(ChannelSignalTest, AttackF12TheEndOfAChannelReleasesNoneOfThePeersFiles) {
  auto ends = MakeEnds(Kind::kSocket);
  for (auto [from, to] : {std::pair(&ends->a, &ends->b), std::pair(&ends->b, &ends->a)}) {
    static_cast<void>(AllowRights(HostileAccess::ConnectionOf(to->sender)));
    ASSERT_TRUE(testing_support::SendWithDescriptor(
        HostileAccess::ConnectionOf(from->sender),
        testing_support::LingeringSocket(absl::Seconds(3)).get()));
  }
  const int64_t start_ns = In(0).monotonic_ns();
  ends->b = Channel();
  ends->a = Channel();
  EXPECT_LT(In(0).monotonic_ns() - start_ns, 1'000'000'000);
}

// An epoll entry for each of many copies of the socket makes each signal walk them. The cost is
// what is judged: the channel ends, and by then it took no more than the budget and the call that
// crossed it.
TEST(ChannelSignalTest, AttackW11ACrowdOnTheDoorbellIsAViolation) {
  WaitOptions wait;
  auto ends = MakeEnds(Kind::kSocket, wait);
  const UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  rlimit limit = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit before = limit;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  std::vector<UniqueFd> crowd;
  while (crowd.size() < 60'000) {
    UniqueFd copy(::fcntl(HostileAccess::ConnectionOf(ends->a.sender), F_DUPFD_CLOEXEC, 10));
    epoll_event event = {};
    event.events = EPOLLIN | EPOLLET;
    if (!copy.ok() || ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, copy.get(), &event) != 0) break;
    crowd.push_back(std::move(copy));
  }
  // The undefined behaviour sanitizer looks at types through a pipe.
  crowd.resize(crowd.size() - std::min<std::size_t>(crowd.size(), 8));
  OwnMemory attacker = HostileAccess::Control(ends->a.receiver);
  int64_t longest_ns = 0;
  int64_t total_ns = 0;
  Outcome outcome = Outcome::kOk;
  std::vector<std::byte> into(1024);
  Record record;
  for (uint64_t epoch = 1; epoch <= 20'000 && outcome != Outcome::kPoisoned; ++epoch) {
    attacker.StoreRelease64(kReceiveEpochOffset, epoch);
    const int64_t before_ns = ProcessorTimeNs();
    outcome = ends->b.sender.TrySend(1, Bytes("x"));
    const int64_t took_ns = ProcessorTimeNs() - before_ns;
    longest_ns = std::max(longest_ns, took_ns);
    total_ns += took_ns;
    while (ends->a.receiver.TryReceive(absl::MakeSpan(into), &record) == Outcome::kOk) {
    }
    // The attacker empties its queue, so that each signal is sent.
    static_cast<void>(HostileAccess::DoorbellOf(ends->a.receiver).Drain());
  }
  const std::size_t members = crowd.size();
  crowd.clear();
  ::setrlimit(RLIMIT_NOFILE, &before);
  if (longest_ns < 300'000)
    GTEST_SKIP() << "only " << members << " entries, " << longest_ns << " ns";
  EXPECT_EQ(outcome, Outcome::kPoisoned);
  EXPECT_EQ(ends->b.sender.violation(), Violation::kSignalsTooExpensive);
  EXPECT_LE(total_ns, 50'000'000 + longest_ns) << members << " entries";
  std::printf("%zu entries: %.2f ms for the longest call, %.1f ms in all\n", members,
              static_cast<double>(longest_ns) / 1e6, static_cast<double>(total_ns) / 1e6);
}

// The caller makes no signalling call of its own: its thread's sends are counted by the kernel's
// answer to a filter that forbids them.
TEST(ChannelSignalTest, ASignallerSignalsForTheCaller) {
  WaitOptions wait = WaitOptions::LowestPower();
  auto signaller = Signaller::Create();
  ASSERT_TRUE(signaller.ok());
  wait.signaller = *signaller;
  auto ends = MakeEnds(Kind::kSocket, wait);
  std::thread caller([&] {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendto, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter = {std::size(program), program};
    ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
    for (int i = 0; i < 200; ++i) {
      ::usleep(500);
      ASSERT_EQ(ends->a.sender.TrySend(1, Bytes("x")), Outcome::kOk);
    }
  });
  std::vector<std::byte> into(1024);
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(ends->b.receiver.Receive(absl::MakeSpan(into), In(10'000)).ok());
  }
  caller.join();
  EXPECT_GT(ends->a.sender.stats().signals, 0u);
  EXPECT_GT(ends->b.receiver.stats().sleeps, 0u);
}

// The connection and two local eventfds, or four shared ones: three and five, where it was four and
// seven. A peer of another process has a pidfd besides.
TEST_P(ChannelTest, PromiseP7ResourcesDescriptorsOfADuplexChannel) {
  const bool eventfd = GetParam() == Kind::kEventfd || GetParam() == Kind::kAsymmetricFences;
  const std::size_t expected = IsFutex(GetParam()) ? 1 : eventfd ? 5 : 3;
  EXPECT_EQ(DescriptorsOf(ends->a).all.size(), expected);
  EXPECT_EQ(DescriptorsOf(ends->b).all.size(), expected);
  if (IsFutex(GetParam())) return;
  EXPECT_GE(ends->b.receiver.descriptor(), 0);  // an epoll and a timer, for an event loop
  EXPECT_EQ(DescriptorsOf(ends->b).all.size(), expected + 2);
}

TEST_P(ChannelTest, AHigherLayerMayPoison) {
  ends->b.receiver.Poison(Violation::kMetadataInvalid);
  EXPECT_EQ(Receive(ends->b.receiver, In(1000)).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ends->b.sender.TrySend(1, Bytes("x")), Outcome::kPoisoned);
  EXPECT_EQ(ends->b.receiver.violation(), Violation::kMetadataInvalid);
}

// "A side that has seen a violation never reads the peer's words of this channel again": a new
// epoch of the peer's, which would be answered with a ring, is not even seen.
TEST_P(ChannelTest, PromiseP6ContainmentAfterAViolationThePeersEpochIsNotReadAgain) {
  absl::Span<std::byte> room;
  ASSERT_EQ(ends->b.sender.TrySend(1, Bytes("x")), Outcome::kOk);
  PeekedMessage message;
  ASSERT_EQ(ends->a.receiver.TryPeek(&message), Outcome::kOk);
  ASSERT_EQ(ends->a.sender.TryReserve(8, &room), Outcome::kOk);
  ends->a.receiver.Poison(Violation::kMetadataInvalid);
  HostileAccess::Control(ends->b.receiver).StoreRelease64(kReceiveEpochOffset, 4711);
  HostileAccess::Control(ends->b.sender).StoreRelease64(kSendEpochOffset, 4711);
  ends->a.sender.Commit(1, 8);
  ends->a.sender.Publish();
  ends->a.receiver.Release();
  if (!IsFutex(GetParam())) {
    EXPECT_FALSE(ends->a.sender.PrepareToWait(8));
    EXPECT_FALSE(ends->a.receiver.PrepareToWait());
  }
  EXPECT_EQ(ends->a.sender.AwaitDrained(In(1000)).code(), absl::StatusCode::kDataLoss);
  ends->a.sender.Close();
  ends->a.receiver.Close();
  EXPECT_EQ(ends->a.sender.stats().signals, 0u);
  EXPECT_EQ(ends->a.receiver.stats().signals, 0u);
}

// A filter that comes after the handshake takes the barrier away: wake-ups may be missed, so this
// side sleeps in short slices, keeps its deadlines, and gets every message.
TEST(ChannelFenceTest, ABarrierThatIsDeniedLaterCostsNoMessageAndNoDeadline) {
  if (!SystemWideBarrierWorks()) GTEST_SKIP() << "this kernel has no membarrier GLOBAL_EXPEDITED";
  WaitOptions no_spin;
  no_spin.max_spin = absl::ZeroDuration();
  auto ends = MakeEnds(Kind::kAsymmetricFences, no_spin);
  constexpr int kMessages = 2000;
  std::thread denied([&] {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter = {std::size(program), program};
    ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
    ASSERT_FALSE(SystemWideBarrierWorks());
    std::vector<std::byte> into(1024);
    for (int i = 0; i < kMessages; ++i) {
      auto record = ends->b.receiver.Receive(absl::MakeSpan(into), In(5000));
      ASSERT_TRUE(record.ok()) << record.status();
      ASSERT_EQ(record->tag, static_cast<uint32_t>(i));
      ASSERT_TRUE(ends->b.sender.Send(record->tag, Bytes("back"), In(5000)).ok());
    }
    const Deadline start = In(0);
    EXPECT_EQ(ends->b.receiver.Receive(absl::MakeSpan(into), In(50)).status().code(),
              absl::StatusCode::kDeadlineExceeded);
    const int64_t took_ns = In(0).monotonic_ns() - start.monotonic_ns();
    EXPECT_GE(took_ns, 49'000'000);
    EXPECT_LT(took_ns, 2'000'000'000);
    EXPECT_EQ(ends->b.receiver.violation(), Violation::kNone);
  });
  std::vector<std::byte> into(1024);
  for (int i = 0; i < kMessages; ++i) {
    ASSERT_TRUE(ends->a.sender.Send(static_cast<uint32_t>(i), Bytes("there"), In(5000)).ok());
    ASSERT_TRUE(ends->a.receiver.Receive(absl::MakeSpan(into), In(5000)).ok());
  }
  denied.join();
}

// --- the futex doorbell -------------------------------------------------------------------------

// `a` attacks `b`, which waits on words of a's region and counts its rings in its own.
struct ChannelFutexTest : ::testing::Test {
  // The budget as it is at once, so that the bounds hold however slow the machine is.
  static WaitOptions NoRefill() {
    WaitOptions wait;
    wait.spurious_refill = absl::Hours(1);
    wait.throttle_refill = absl::Hours(1);
    return wait;
  }
  std::unique_ptr<Ends> ends = MakeEnds(Kind::kFutex, NoRefill());
  std::vector<std::byte> buffer = std::vector<std::byte>(1024);
  std::atomic<bool> stop{false};

  // The word on which b's receiver sleeps.
  std::byte* SleptOn(std::size_t offset = kDataSignalsOffset) {
    return HostileAccess::Control(ends->a.sender).Writable(offset, 8).data();
  }
  // The word that b's sender counts in, as a has it.
  const std::byte* CountedIn() {
    return HostileAccess::PeerControl(ends->a.sender)
        .ViewOf(kDataSignalsOffset, 8)
        .BytesThatThePeerMayRewriteAtAnyTime();
  }
  static long FutexCall(const std::byte* word, int operation, uint32_t value,
                        const void* fourth = nullptr, const void* second_word = nullptr) {
    return ::syscall(SYS_futex, word, operation, value, fourth, second_word,
                     FUTEX_BITSET_MATCH_ANY);
  }
  absl::Status ReceiveAtB(int milliseconds) {
    return ends->b.receiver.Receive(absl::MakeSpan(buffer), In(milliseconds)).status();
  }
  void Until(const std::function<void()>& attack) {
    while (!stop.load(std::memory_order_relaxed)) attack();  // RELAXED: only ends the test
  }
  void Stop() { stop.store(true, std::memory_order_relaxed); }  // RELAXED: only ends the test
};

TEST_F(ChannelFutexTest, ThereIsNothingToPoll) {
  // A child of a fork has no regions, and would die of that.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EQ(ends->b.receiver.descriptor(), -1);
  EXPECT_EQ(ends->b.sender.descriptor(), -1);
  EXPECT_DEATH(ends->b.receiver.PrepareToWait(), "no descriptor to poll");
  EXPECT_DEATH(ends->b.sender.PrepareToWait(1), "no descriptor to poll");
  EXPECT_DEATH(static_cast<void>(ends->b.receiver.FinishWait()), "no descriptor to poll");
  EXPECT_TRUE(DescriptorsOf(ends->b).eventfds.empty());
  EXPECT_LE(DescriptorsOf(ends->b).all.size(), 2u);  // the connection, and the peer's pidfd
}

TEST_F(ChannelFutexTest, AttackW5BareWakeUpsAreThrottledThenAViolation) {
  std::thread attack([&] { Until([&] { FutexCall(SleptOn(), FUTEX_WAKE, INT32_MAX); }); });
  const absl::Status got = ReceiveAtB(20'000);
  Stop();
  attack.join();
  EXPECT_EQ(got.code(), absl::StatusCode::kDataLoss) << got;
  EXPECT_EQ(ends->b.receiver.violation(), Violation::kDoorbellFlood);
  EXPECT_LE(ends->b.receiver.stats().wakeups, 64u + 64u + 1u);
}

// A word that is never the one expected lets nobody sleep. Where it is in time for that, it counts
// as a wake-up; else it is a sleep like any other.
TEST_F(ChannelFutexTest, AttackW5AFlippedWordMakesNoBusyLoop) {
  std::thread attack([&] {
    uint64_t value = 0;
    Until([&] {
      HostileAccess::Control(ends->a.sender).StoreRelease64(kDataSignalsOffset, ++value);
    });
  });
  const absl::Status got = ReceiveAtB(1'000);
  Stop();
  attack.join();
  EXPECT_TRUE(got.code() == absl::StatusCode::kDataLoss ||
              got.code() == absl::StatusCode::kDeadlineExceeded)
      << got;
  EXPECT_LE(ends->b.receiver.stats().wakeups, 64u + 64u + 1u);
  EXPECT_LE(ends->b.receiver.stats().sleeps, 64u + 64u + 1u + 50u + 10u);
}

// Our thread is put to sleep on another word, where nobody wakes it; the message comes anyway.
TEST_F(ChannelFutexTest, AttackW5ARequeuedSleeperLosesASliceAndNoMore) {
  absl::Status sent = absl::UnknownError("");
  std::thread attack([&] {
    while (FutexCall(SleptOn(), FUTEX_REQUEUE, 0,
                     // NOLINTNEXTLINE(performance-no-int-to-ptr): the call takes a number there
                     reinterpret_cast<void*>(INT32_MAX),  // SAFETY: int
                     SleptOn(2048)) < 1) {
    }
    sent = ends->a.sender.Send(1, Bytes("x"), In(1'000));
  });
  const int64_t start_ns = MonotonicNowNs();
  const absl::Status got = ReceiveAtB(20'000);
  attack.join();
  EXPECT_TRUE(sent.ok()) << sent;
  EXPECT_TRUE(got.ok()) << got;
  EXPECT_LT(MonotonicNowNs() - start_ns, int64_t{5} * 1'000'000'000);
}

TEST_F(ChannelFutexTest, AttackW5ASleeperThatIsNeverWokenLosesASliceAndNoMore) {
  std::thread attack([&] {
    absl::SleepFor(absl::Milliseconds(50));
    // A record without a ring, as Sender would not: the header, then the tail.
    const OwnMemory control = HostileAccess::Control(ends->a.sender);
    const uint64_t header = 0;
    OwnMemory data = HostileAccess::Data(ends->a.sender);
    std::memcpy(data.Writable(0, 8).data(), &header, sizeof(header));
    OwnMemory(control).StoreRelease64(kTailOffset, 8);
  });
  const int64_t start_ns = MonotonicNowNs();
  const absl::Status got = ReceiveAtB(20'000);
  attack.join();
  EXPECT_TRUE(got.ok()) << got;
  EXPECT_LT(MonotonicNowNs() - start_ns, int64_t{5} * 1'000'000'000);
}

// Hundreds sleep on the word that we count in: each ring wakes one, not all.
TEST_F(ChannelFutexTest, AttackW5ForeignSleepersOnOurWordAreWokenOneByOne) {
  constexpr int kWaiters = 200;
  constexpr int kRings = 10;
  std::atomic<int> woken{0};
  std::vector<std::thread> waiters;
  for (int i = 0; i < kWaiters; ++i) {
    waiters.emplace_back([&] {
      if (FutexCall(CountedIn(), FUTEX_WAIT_BITSET, 0) == 0) woken.fetch_add(1);
    });
  }
  absl::SleepFor(absl::Milliseconds(300));
  OwnMemory attacker = HostileAccess::Control(ends->a.receiver);
  for (int i = 1; i <= kRings; ++i) {
    attacker.StoreRelease64(kReceiveEpochOffset, static_cast<uint64_t>(i));
    EXPECT_EQ(ends->b.sender.TrySend(1, {}), Outcome::kOk);
  }
  absl::SleepFor(absl::Milliseconds(300));
  EXPECT_EQ(ends->b.sender.stats().signals, static_cast<uint64_t>(kRings));
  EXPECT_GE(woken.load(), 1);
  EXPECT_LE(woken.load(), kRings);
  // Those that came too late to sleep are gone by now.
  while (FutexCall(CountedIn(), FUTEX_WAKE, INT32_MAX) > 0) {
  }
  for (std::thread& waiter : waiters) waiter.join();
}

// Whoever has our words mapped can't write there.
TEST_F(ChannelFutexTest, AttackW5OperationsThatWouldWriteOurWordFail) {
  EXPECT_EQ(FutexCall(CountedIn(), FUTEX_LOCK_PI, 0), -1);
  EXPECT_EQ(FutexCall(CountedIn(), FUTEX_UNLOCK_PI, 0), -1);
  static uint32_t other = 0;
  EXPECT_EQ(::syscall(SYS_futex, &other, FUTEX_WAKE_OP, 0, 0, CountedIn(),
                      FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 0)),
            -1);
}

// Its socket tells of it, and so does its pidfd; nothing else would.
TEST_F(ChannelFutexTest, AttackW8ADeathIsNoticedWithinSlicesThoughWakeUpsGoOn) {
  std::thread peer([&] {
    for (int i = 0; i < 30; ++i) {
      absl::SleepFor(absl::Milliseconds(2));
      FutexCall(SleptOn(), FUTEX_WAKE, 1);
    }
    ends->a = Channel();
  });
  const int64_t start_ns = MonotonicNowNs();
  const absl::Status got = ReceiveAtB(20'000);
  peer.join();
  EXPECT_EQ(got.code(), absl::StatusCode::kUnavailable) << got;
  EXPECT_LT(MonotonicNowNs() - start_ns, int64_t{5} * 1'000'000'000);
}

TEST(ChannelSocketTest, RubbishOnTheSocketIsAViolation) {
  auto ends = MakeEnds(Kind::kSocket);
  const int socket = HostileAccess::ConnectionOf(ends->a.sender);
  ASSERT_EQ(::send(socket, "rubbish", 7, 0), 7);
  absl::Status status;
  std::vector<std::byte> into(1024);
  // It arrives on whichever ring's doorbell that socket is.
  while (ends->b.sender.TrySend(1, Bytes(std::string(1000, 'x'))) == Outcome::kOk) {
  }
  status = ends->b.sender.Send(1, Bytes(std::string(1000, 'x')), In(2000));
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_EQ(ends->b.sender.violation(), Violation::kUnexpectedMessage);
}

// --- sizes: no number of the peer's meets a check of ours ---------------------------------------

// Both ends with the given options, one of them on a thread.
std::pair<absl::StatusOr<Channel>, absl::StatusOr<Channel>> Connected(AcceptOptions accept,
                                                                      ConnectOptions connect) {
  static FileRegistry accepting_registry;
  static FileRegistry connecting_registry;
  accept.registry = &accepting_registry;
  connect.registry = &connecting_registry;
  auto pair = PeerSocket::Pair();
  absl::StatusOr<Channel> b = absl::UnknownError("");
  std::thread other([&] { b = ConnectChannel(std::move(pair->second), connect, In(5000)); });
  absl::StatusOr<Channel> a = AcceptChannel(std::move(pair->first), accept, In(5000));
  other.join();
  return {std::move(a), std::move(b)};
}

TEST(ChannelSizesTest, PromiseP9AbortIsOursAMessageLengthWithAnOpenCapacityMeetsADefaultClient) {
  AcceptOptions accept;
  accept.send.max_message_bytes = 100'000;
  auto [a, b] = Connected(accept, {});
  ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  EXPECT_EQ(a->sender.max_message_bytes(), 100'000u);
  EXPECT_EQ(a->sender.TrySend(1, std::vector<std::byte>(100'000)), Outcome::kOk);
}

TEST(ChannelSizesTest, PromiseP9AbortIsOursNoRequestLeavesUsWithoutSpaceForSmallMessages) {
  for (const uint32_t requested : {0u, 1u, 63u, 64u}) {
    auto pair = PeerSocket::Pair();
    Hello hello;
    hello.roles = kRoleSends | kRoleReceives;
    hello.doorbells = kDoorbellSocket;
    hello.send = hello.receive = {std::max<uint64_t>(4096, PageBytes()), requested};
    ASSERT_TRUE(pair->second.Send(EncodeHello(hello)).ok());
    AcceptOptions options;
    FileRegistry registry;
    options.registry = &registry;
    const auto channel = AcceptChannel(std::move(pair->first), options, In(50));
    EXPECT_EQ(channel.status().code(), requested < 64 ? absl::StatusCode::kInvalidArgument
                                                      : absl::StatusCode::kDeadlineExceeded)
        << channel.status();
  }
  ConnectOptions smallest;
  smallest.send = smallest.receive = {4096, 64};
  auto [a, b] = Connected({}, smallest);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->sender.TrySend(1, std::vector<std::byte>(8)), Outcome::kOk);
  EXPECT_EQ(a->sender.TrySend(1, std::vector<std::byte>(65)), Outcome::kTooLong);
  absl::Span<std::byte> room;
  EXPECT_EQ(a->sender.TryReserve(65, &room), Outcome::kTooLong);
  EXPECT_EQ(a->sender.TryStage(1, std::vector<std::byte>(65)), Outcome::kTooLong);
  const absl::Status sent = a->sender.Send(1, std::vector<std::byte>(65), In(5000));
  EXPECT_EQ(sent.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(sent.message().find("which is 64"), std::string::npos) << sent;
  EXPECT_EQ(a->sender.Reserve(65, In(5000)).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(a->sender.violation(), Violation::kNone);
}

// As README's client and the chat connect: with default options, to a listener that accepts rings
// without space for a message.
TEST(ChannelSizesTest, PromiseP9AbortIsOursAListenerThatAcceptsNoMessagesGetsNoChannel) {
  for (const uint32_t accepted : {0u, 1u, 63u}) {
    auto pair = PeerSocket::Pair();
    Welcome welcome;
    welcome.roles = kRoleSends | kRoleReceives;
    welcome.doorbell = kDoorbellSocket;
    welcome.send = welcome.receive = {4096, accepted};
    ASSERT_TRUE(pair->first.Send(EncodeWelcome(welcome)).ok());
    const auto channel = ConnectChannel(std::move(pair->second), {}, In(5000));
    EXPECT_EQ(channel.status().code(), absl::StatusCode::kInvalidArgument) << channel.status();
  }
}

TEST(ChannelSizesTest, ImpossibleOptionsAreErrorsWhereTheyAreGiven) {
  const std::string name = "@parley-sizes-" + std::to_string(::getpid());
  AcceptOptions accept;
  accept.send = {4096, 1};
  EXPECT_EQ(ChannelListener::Listen(name, accept).status().code(),
            absl::StatusCode::kInvalidArgument);
  ServerLimits limits;
  limits.max_pending = 0;
  EXPECT_EQ(ChannelListener::Listen(name, {}, limits).status().code(),
            absl::StatusCode::kInvalidArgument);
  limits = {};
  limits.handshake_time = absl::ZeroDuration();
  EXPECT_EQ(ChannelListener::Listen(name, {}, limits).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(ChannelListener::Listen(name, {}).ok());
  ConnectOptions connect;
  connect.receive = {4097, 0};
  EXPECT_EQ(ConnectChannel(name, connect, In(1000)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ChannelDirectionTest, OneWayChannelsHaveOneEnd) {
  FileRegistry registry_a;
  FileRegistry registry_b;
  AcceptOptions accept;
  accept.registry = &registry_a;
  accept.direction = Direction::kReceiveOnly;
  ConnectOptions connect;
  connect.registry = &registry_b;
  connect.direction = Direction::kSendOnly;
  connect.format = "f32";
  auto pair = PeerSocket::Pair();
  absl::StatusOr<Channel> b = absl::UnknownError("");
  std::thread other([&] { b = ConnectChannel(std::move(pair->second), connect, In(5000)); });
  auto a = AcceptChannel(std::move(pair->first), accept, In(5000));
  other.join();
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_FALSE(a->sender);
  EXPECT_TRUE(a->receiver);
  EXPECT_TRUE(b->sender);
  EXPECT_FALSE(b->receiver);
  EXPECT_EQ(a->peer_format, "f32");
  const std::array<std::byte, 8> bytes = {};
  std::array<std::byte, 8> into;
  absl::Span<std::byte> space;
  Record record;
  PeekedMessage peeked;
  Sender& no_sender = a->sender;
  EXPECT_DEATH(no_sender.TrySend(1, bytes), "no sending direction");
  EXPECT_DEATH(no_sender.Send(1, bytes, In(10)).IgnoreError(), "no sending direction");
  EXPECT_DEATH(no_sender.TryReserve(8, &space), "no sending direction");
  EXPECT_DEATH(no_sender.Reserve(8, In(10)).IgnoreError(), "no sending direction");
  EXPECT_DEATH(no_sender.Close(), "no sending direction");
  Receiver& no_receiver = b->receiver;
  EXPECT_DEATH(no_receiver.TryReceive(absl::MakeSpan(into), &record), "no receiving direction");
  EXPECT_DEATH(no_receiver.Receive(absl::MakeSpan(into), In(10)).IgnoreError(),
               "no receiving direction");
  EXPECT_DEATH(no_receiver.TryPeek(&peeked), "no receiving direction");
  EXPECT_DEATH(no_receiver.Peek(In(10)).IgnoreError(), "no receiving direction");
  EXPECT_DEATH(no_receiver.Close(), "no receiving direction");
  EXPECT_EQ(DescriptorsOf(*a).eventfds.size(), 1u);  // this process's own, for Interrupt
  EXPECT_GE(DescriptorsOf(*a).all.size(), 2u);
}

TEST(ChannelDirectionTest, DescriptorsAreOpenAndOnceEach) {
  FileRegistry registry_a;
  FileRegistry registry_b;
  AcceptOptions accept;
  accept.registry = &registry_a;
  accept.trust = PeerTrust::Because("both ends are this test");
  ConnectOptions connect;
  connect.registry = &registry_b;
  connect.trust = PeerTrust::Because("both ends are this test");
  auto pair = PeerSocket::Pair();
  absl::StatusOr<Channel> b = absl::UnknownError("");
  std::thread other([&] { b = ConnectChannel(std::move(pair->second), connect, In(5000)); });
  auto a = AcceptChannel(std::move(pair->first), accept, In(5000));
  other.join();
  ASSERT_TRUE(a.ok() && b.ok());
  const ChannelDescriptors descriptors = DescriptorsOf(*b);
  EXPECT_EQ(descriptors.eventfds.size(), 4u);  // two rings, two ends each
  int last = -1;
  for (const int fd : descriptors.all) {
    EXPECT_GT(fd, last);
    EXPECT_GE(::fcntl(fd, F_GETFD), 0) << fd;
    last = fd;
  }
  for (const int fd : descriptors.eventfds) {
    EXPECT_EQ(std::count(descriptors.all.begin(), descriptors.all.end(), fd), 1);
  }
}

}  // namespace
}  // namespace parley
