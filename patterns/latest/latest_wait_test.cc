// SPDX-License-Identifier: Apache-2.0

// How a wait for a newer value sleeps, by a clock of this program's own.

#include <dlfcn.h>
#include <poll.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/channel/channel.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"
#include "parley/patterns/latest/latest.h"
#include "parley/patterns/latest/layout.h"
#include "parley/shm/broadcast.h"
#include "parley/testing/channel_pair.h"

namespace {

constexpr int64_t kUs = 1000;
constexpr int64_t kSecondNs = 1'000'000'000;

struct Sleep {
  int64_t at_ns;  // since the clock was stopped
  int64_t length_ns;
};

// While `stopped`: each question for the time takes a microsecond, a sleep takes what it is given,
// and nothing else takes any.
struct Clock {
  bool stopped = false;
  int64_t now_ns = 1000 * kSecondNs;  // as of a machine that has been on for a while
  int answer = 0;                     // of each sleep: how many descriptors are ready; -1: an error
  std::vector<Sleep> sleeps;
  std::vector<pollfd> polled;  // by the last one
};
Clock our;

template <typename Function>
Function Real(const char* name) {
  // SAFETY: dlsym gives functions as void*; the caller's type is that of the C library's header.
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

// Both before the C library's, for all of this program.
extern "C" {

int clock_gettime(clockid_t clock, timespec* now) noexcept {
  static const auto real = Real<int (*)(clockid_t, timespec*)>("clock_gettime");
  if (!our.stopped || clock != CLOCK_MONOTONIC) return real(clock, now);
  our.now_ns += kUs;
  *now = {our.now_ns / kSecondNs, our.now_ns % kSecondNs};
  return 0;
}

int ppoll(pollfd* entries, nfds_t count, const timespec* limit, const sigset_t* mask) {
  static const auto real =
      Real<int (*)(pollfd*, nfds_t, const timespec*, const sigset_t*)>("ppoll");
  if (!our.stopped) return real(entries, count, limit, mask);
  const int64_t length_ns = limit->tv_sec * kSecondNs + limit->tv_nsec;
  our.sleeps.push_back({our.now_ns - Clock().now_ns, length_ns});
  our.polled.assign(entries, entries + count);
  if (our.answer <= 0) our.now_ns += length_ns;
  if (our.answer < 0) errno = ENOMEM;
  return our.answer;
}

}  // extern "C"

namespace parley {
namespace {

using testing::ChannelPair;

class LatestWaitTest : public ::testing::Test {
 protected:
  LatestWaitTest() {
    const auto geometry = LatestGeometry::Make({.max_value_bytes = 64});
    broadcast_ = *Broadcast::Create({geometry->section()});
    AcceptOptions accept;
    accept.direction = Direction::kNone;
    accept.broadcast = broadcast_;
    ConnectOptions connect;
    connect.direction = Direction::kNone;
    connect.broadcast_kinds = {kSectionLatest};
    pair_ = *ChannelPair::CreateByHandshake(accept, connect);
  }

  // A read that waits for `time`, and its answer.
  absl::Status Read(absl::Duration time, const LatestReaderOptions& options = {}, int answer = 0) {
    auto reader = LatestReader::Create(pair_->connecting().session, options);
    EXPECT_TRUE(reader.ok()) << reader.status();
    std::vector<std::byte> into(reader->max_value_bytes());
    our = {};
    our.answer = answer;
    our.stopped = true;
    const auto value = reader->Read(absl::MakeSpan(into), Deadline::After(time));
    our.stopped = false;
    return value.status();
  }

  std::shared_ptr<Broadcast> broadcast_;
  std::unique_ptr<ChannelPair> pair_;
};

// What the clock's own microseconds may add up to between two questions.
constexpr int64_t kNear = 6 * kUs;

TEST_F(LatestWaitTest, AnEighthOfTheWaitFromFiftyMicrosecondsToTheLimit) {
  struct Row {
    LatestReaderOptions options;
    int64_t spin_ns;
    int64_t max_ns;
  };
  for (const Row& row :
       {Row{{}, 20 * kUs, 1000 * kUs}, Row{{.spin = absl::ZeroDuration()}, 0, 1000 * kUs},
        Row{{.spin = absl::Microseconds(300), .max_sleep = absl::Milliseconds(5)},
            300 * kUs,
            5000 * kUs},
        Row{{.max_sleep = absl::Microseconds(50)}, 20 * kUs, 50 * kUs}}) {
    EXPECT_TRUE(absl::IsDeadlineExceeded(Read(absl::Milliseconds(100), row.options)));
    ASSERT_GT(our.sleeps.size(), 10u);
    EXPECT_GE(our.sleeps.front().at_ns, row.spin_ns);
    EXPECT_LE(our.sleeps.front().at_ns, row.spin_ns + 2 * kNear);
    int64_t longest_ns = 0;
    for (std::size_t i = 0; i + 1 < our.sleeps.size(); ++i) {  // the last ends at the deadline
      const Sleep& sleep = our.sleeps[i];
      const int64_t wanted_ns = std::clamp(sleep.at_ns / 8, 50 * kUs, row.max_ns);
      EXPECT_NEAR(static_cast<double>(sleep.length_ns), static_cast<double>(wanted_ns),
                  static_cast<double>(kNear));
      longest_ns = std::max(longest_ns, sleep.length_ns);
    }
    EXPECT_NEAR(static_cast<double>(longest_ns), static_cast<double>(row.max_ns),
                static_cast<double>(kNear));
    EXPECT_NEAR(static_cast<double>(our.now_ns - Clock().now_ns), 100e6,
                static_cast<double>(2 * kNear));
  }
}

// There is no use in looking again at once.
TEST_F(LatestWaitTest, BesideAWriterThatIsAtItTheSleepComesFirst) {
  OwnMemory section = *broadcast_->TakeSection(kSectionLatest);
  section.StoreRelease64(LatestGeometry::kVersionOffset, 1);
  EXPECT_TRUE(absl::IsAborted(Read(absl::Milliseconds(10))));
  ASSERT_FALSE(our.sleeps.empty());
  EXPECT_LE(our.sleeps.front().at_ns, kNear);
}

// Nothing but the end of the connection and of the peer's process ends a sleep early.
TEST_F(LatestWaitTest, TheEndOfTheWriterEndsTheWait) {
  EXPECT_TRUE(absl::IsUnavailable(Read(absl::Seconds(10), {}, 1)));
  EXPECT_EQ(our.sleeps.size(), 1u);
  ASSERT_EQ(our.polled.size(), 2u);
  EXPECT_EQ(our.polled[0].fd, pair_->connecting().session->connection());
  EXPECT_EQ(our.polled[0].events, POLLRDHUP);
  EXPECT_EQ(our.polled[1].fd, pair_->connecting().session->peer().pidfd.get());
  EXPECT_EQ(our.polled[1].events, POLLIN);
  EXPECT_TRUE(absl::IsUnavailable(Read(absl::Seconds(10), {}, 2)));
  EXPECT_EQ(our.sleeps.size(), 1u);
}

TEST_F(LatestWaitTest, AnErrorOfTheSleepIsNotTheEndOfTheWriter) {
  EXPECT_TRUE(absl::IsDeadlineExceeded(Read(absl::Milliseconds(10), {}, -1)));
  EXPECT_GT(our.sleeps.size(), 1u);
}

TEST_F(LatestWaitTest, AnEndThatWasSeenBeforeIsEnough) {
  pair_->connecting().session->termination().SetPeerGone();
  EXPECT_TRUE(absl::IsUnavailable(Read(absl::Seconds(10))));
  EXPECT_TRUE(our.sleeps.empty());
}

}  // namespace
}  // namespace parley
